// Runs the CUDA C of kernels on the CPU, block after block, exactly as far as results go.
//
// The threads of a block are fibers. Each runs until it waits at a barrier (of the block or of its warp), then the next
// one does. A kernel is run twice, on equal operands, and must leave the same bytes both times: in the first run
// threads and blocks go upwards and an asynchronous copy lands as late as it may, in the second they go downwards and
// it lands at once. A missing barrier or wait gives other bytes in one of them. Shared memory holds 0xff bytes when a
// block starts. Accesses out of bounds and misaligned ones are caught by g++'s sanitizers.
#include "emulator.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>

namespace emulator {

void fail(const char* what) {
  std::fflush(stdout);
  std::fprintf(stderr, "emulator: %s\n", what);
  std::_Exit(3);
}

struct Fiber {
  void* sp = nullptr;
  bool done = false;
  unsigned block_barriers = 0, warp_barriers = 0;  // passed by this thread
};

struct Run {  // what is the same for all threads of the block that runs
  std::vector<Fiber> fibers;
  std::vector<char*> stacks;
  void* scheduler = nullptr;
  bool moved = false;  // some thread went on since the scheduler looked
  std::set<void*> shared;
  void (*kernel)(void**) = nullptr;
  void** arguments = nullptr;
};

static Run run;
int now = 0, block = 0, threads = 0;
bool eager = false;  // in the second run
constexpr std::size_t STACK = 256 << 10;

// Saves the registers that a call keeps, stores the stack pointer in *from, goes on where `to` was left.
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.globl emulator_switch
emulator_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

static void yield() { emulator_switch(&run.fibers[now].sp, run.scheduler); }

static void thread_main() {
  run.kernel(run.arguments);
  run.fibers[now].done = true;
  yield();
}

static void* fresh_stack(char* stack) {
  auto top = reinterpret_cast<void**>((reinterpret_cast<std::uintptr_t>(stack) + STACK) & ~std::uintptr_t(15));
  *--top = nullptr;  // the return address of thread_main, which never returns
  *--top = reinterpret_cast<void*>(&thread_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}

// Waits until all threads of [first, last) have passed as many barriers as this one (counted by `passed`).
static void barrier(unsigned Fiber::*passed, int first, int last) {
  const unsigned mine = ++(run.fibers[now].*passed);
  run.moved = true;
  for (;;) {
    bool all = true;
    for (int t = first; t < last; ++t) all = all && run.fibers[t].*passed >= mine;
    if (all) return;
    yield();
  }
}

void block_barrier() { barrier(&Fiber::block_barriers, 0, threads); }

void warp_barrier() {
  if (threads % 32) fail("a warp is not whole");
  barrier(&Fiber::warp_barriers, now / 32 * 32, now / 32 * 32 + 32);
}

// Runs the threads of a warp as far as they go without the others of the block; true if some went on at all.
static bool run_warp(int warp) {
  bool moved = false;
  do {
    run.moved = false;
    for (int i = 0; i < 32; ++i) {
      now = warp * 32 + (eager ? 31 - i : i);
      if (now >= threads || run.fibers[now].done) continue;
      emulator_switch(&run.scheduler, run.fibers[now].sp);
      run.moved = run.moved || run.fibers[now].done;
    }
    moved = moved || run.moved;
  } while (run.moved);
  return moved;
}

static void run_block() {
  run.shared.clear();
  for (std::size_t t = 0; t < run.fibers.size(); ++t) run.fibers[t] = Fiber{fresh_stack(run.stacks[t])};
  for (bool left = true; left;) {
    bool moved = false;
    const int warps = (threads + 31) / 32;
    for (int i = 0; i < warps; ++i) moved = run_warp(eager ? warps - 1 - i : i) || moved;
    left = false;
    for (const auto& fiber : run.fibers) left = left || !fiber.done;
    if (left && !moved) fail("threads wait at a barrier that others of the block never reach");
  }
}

void declare_shared(void* array, std::size_t nbytes) {
  if (run.shared.insert(array).second) std::memset(array, 0xff, nbytes);
}

struct Operand {
  const char* file;
  char* memory;
  std::vector<char> before, after;
};

// Memory of just these bytes, which lies `skew` bytes behind a multiple of 16.
static char* allocated(std::size_t nbytes, std::size_t skew) {
  char* memory = static_cast<char*>(std::malloc(nbytes + skew + !(nbytes + skew)));
  if (reinterpret_cast<std::uintptr_t>(memory) % 16) fail("malloc aligns to less than 16 bytes");
  return memory + skew;
}

static Operand operand(const char* name, std::size_t skew) {
  std::FILE* file = std::fopen(name, "rb");
  std::fseek(file, 0, SEEK_END);
  std::vector<char> bytes(std::size_t(std::ftell(file)));
  std::rewind(file);
  if (std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) fail("an operand cannot be read");
  std::fclose(file);
  char* memory = allocated(bytes.size(), skew);
  if (bytes.size()) std::memcpy(memory, bytes.data(), bytes.size());
  return {name, memory, bytes, bytes};
}

static void written(const Operand& operand) {
  std::FILE* file = std::fopen(operand.file, "wb");
  std::fwrite(operand.memory, 1, operand.before.size(), file);
  std::fclose(file);
}

static void pass(bool second, int blocks) {
  eager = second;
  for (int b = 0; b < blocks; ++b) {
    block = eager ? blocks - 1 - b : b;
    run_block();
  }
}

// Usage: program THREADS LO HI (FILE SKEW)...; each file holds an operand's bytes, which are replaced by those
// afterwards.
int main_of(void (*kernel)(void**), int argc, char** argv) {
  static int lo = std::atoi(argv[2]), hi = std::atoi(argv[3]);
  std::vector<Operand> operands;
  for (int i = 4; i < argc; i += 2) operands.push_back(operand(argv[i], std::size_t(std::atoi(argv[i + 1]))));
  std::vector<void*> arguments;
  for (auto& one : operands) arguments.push_back(one.memory);
  arguments.push_back(&lo);
  arguments.push_back(&hi);
  run.kernel = kernel;
  run.arguments = arguments.data();
  threads = std::atoi(argv[1]);
  run.fibers.resize(std::size_t(threads));
  for (int t = 0; t < threads; ++t) run.stacks.push_back(static_cast<char*>(std::malloc(STACK)));
  pass(false, hi - lo);
  for (auto& one : operands) {
    one.after.assign(one.memory, one.memory + one.before.size());
    std::copy(one.before.begin(), one.before.end(), one.memory);
  }
  pass(true, hi - lo);
  for (auto& one : operands) {
    if (!std::equal(one.after.begin(), one.after.end(), one.memory)) {
      fail("the result depends on the order of threads or on when asynchronous copies land");
    }
    written(one);
  }
  return 0;
}

}  // namespace emulator
