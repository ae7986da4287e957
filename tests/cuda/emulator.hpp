// What an emulated kernel sees of the emulator, see emulator.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace emulator {

extern int now, block, threads;  // the thread that runs, its block, and threads of a block
extern bool eager;               // whether asynchronous copies land at once

[[noreturn]] void fail(const char* what);
void block_barrier();
void warp_barrier();

// Poisons a shared array when the first thread of a block comes to its declaration.
void declare_shared(void* array, std::size_t nbytes);

// Shares a value of each lane with its warp: all[i] is the value of lane i until the next call.
template <class T>
const T* exchange(const T& value) {
  static T slots[1024];
  warp_barrier();  // the others have read what they got from the last exchange
  slots[now] = value;
  warp_barrier();
  return slots + now / 32 * 32;
}

// Asynchronous copies of 16 bytes (zeros unless keep), in groups of each thread.
void copy_async(void* to, const void* from, bool keep);
void copy_commit();
void copy_wait(int left);  // lands the copies of all groups but the latest `left`

// As ldmatrix .x4 and mma.sync in PTX. Sums go upwards along k.
void ldmatrix(unsigned* d, const void* row, bool transposed);
void mma_f16(float* c, const unsigned* a, const unsigned* b);   // m16n8k16
void mma_tf32(float* c, const unsigned* a, const unsigned* b);  // m16n8k8: the lower 13 bits do not count

int main_of(void (*kernel)(void**), int argc, char** argv);

}  // namespace emulator
