// What the lanes of a warp do together, and asynchronous copies.
#include <vector>

#include "emulator.hpp"

namespace emulator {

struct Copy {
  void* to;
  const void* from;
  bool keep;
};

struct Copies {
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};
static std::vector<Copies> copies(1024);  // of each thread

static void land(const Copy& copy) {
  if (copy.keep) {
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

static bool aligned(const void* place) { return reinterpret_cast<std::uintptr_t>(place) % 16 == 0; }

void copy_async(void* to, const void* from, bool keep) {
  if (!aligned(to) || !aligned(from)) fail("misaligned asynchronous copy");  // the source also where it is not read
  if (eager) {
    land({to, from, keep});
  } else {
    copies[now].open.push_back({to, from, keep});
  }
}

void copy_commit() {
  auto& mine = copies[now];
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
}

void copy_wait(int left) {
  auto& groups = copies[now].groups;
  while (int(groups.size()) > left) {
    for (const auto& copy : groups.front()) land(copy);
    groups.erase(groups.begin());
  }
}

// The eight rows of 8 16-bit numbers of matrix m lie where lanes 8 m to 8 m + 7 point to.
void ldmatrix(unsigned* d, const void* row, bool transposed) {
  const void* const* rows = exchange(row);
  const int lane = now % 32;
  for (int m = 0; m < 4; ++m) {
    std::uint16_t pair[2];
    for (int i = 0; i < 2; ++i) {
      const int r = transposed ? lane % 4 * 2 + i : lane / 4, c = transposed ? lane / 4 : lane % 4 * 2 + i;
      if (!aligned(rows[8 * m + r])) fail("misaligned row of a matrix");
      pair[i] = static_cast<const std::uint16_t*>(rows[8 * m + r])[c];
    }
    std::memcpy(d + m, pair, 4);
  }
}

struct Fragment {
  unsigned a[4], b[2];
};

static Fragment fragment(const unsigned* a, const unsigned* b) {
  return {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
}

static float half_of(unsigned word, int which) {
  const auto bits = std::uint16_t(which ? word >> 16 : word);
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return float(value);
}

static float tf32_of(unsigned word) {
  word &= 0xffffe000u;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

// c (16, 8) += a (16, K) b (K, 8); a_of(all, r, k) and b_of(all, k, c) find the elements in the fragments of all lanes.
template <int K, class A, class B>
static void mma(float* c, const Fragment& mine, const A& a_of, const B& b_of) {
  const Fragment* all = exchange(mine);
  const int lane = now % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < K; ++k) c[i] += a_of(all, row, k) * b_of(all, k, column);
  }
}

void mma_f16(float* c, const unsigned* a, const unsigned* b) {
  mma<16>(
      c, fragment(a, b),
      [](const Fragment* all, int r, int k) {
        return half_of(all[r % 8 * 4 + k % 8 / 2].a[r / 8 + k / 8 * 2], k % 2);
      },
      [](const Fragment* all, int k, int c) { return half_of(all[c * 4 + k % 8 / 2].b[k / 8], k % 2); });
}

void mma_tf32(float* c, const unsigned* a, const unsigned* b) {
  mma<8>(
      c, fragment(a, b),
      [](const Fragment* all, int r, int k) { return tf32_of(all[r % 8 * 4 + k % 4].a[r / 8 + k / 4 * 2]); },
      [](const Fragment* all, int k, int c) { return tf32_of(all[c * 4 + k % 4].b[k / 4]); });
}

}  // namespace emulator
