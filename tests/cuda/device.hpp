// The types and functions of CUDA that kernels use, for the emulator, and those of gacer_tune/kernels/cuda/device.cuh
// that are instructions of the GPU (its second part is used as it is).
#pragma once
#include <algorithm>

#include "emulator.hpp"

using std::max;
using std::min;

// A number of 16 bits that is only stored: arithmetic on it does not compile, because kernels compute in float.
struct half {
  std::uint16_t bits;
  half() = default;
  explicit half(float value) {
    const _Float16 rounded = static_cast<_Float16>(value);  // to nearest, ties to even
    std::memcpy(&bits, &rounded, 2);
  }
  explicit operator float() const {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return static_cast<float>(value);
  }
};
using __half = half;
inline float __half2float(half value) { return float(value); }
inline half __float2half(float value) { return half(value); }

// Copied by functions: g++ checks the alignment of what member functions are called on, not of plain copies.
template <class T, std::size_t ALIGN>
struct alignas(ALIGN) Two {
  T x, y;
  Two() = default;
  Two(T x, T y) : x(x), y(y) {}
  Two(const Two& from) : x(from.x), y(from.y) {}
  Two& operator=(const Two& from) { return x = from.x, y = from.y, *this; }
};
template <class T, std::size_t ALIGN>
struct alignas(ALIGN) Four {
  T x, y, z, w;
  Four() = default;
  Four(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
  Four(const Four& from) : x(from.x), y(from.y), z(from.z), w(from.w) {}
  Four& operator=(const Four& from) { return x = from.x, y = from.y, z = from.z, w = from.w, *this; }
};
#define EMULATOR_VECTORS(T, NAME)                                                       \
  using NAME##2 = Two<T, 2 * sizeof(T)>;                                                \
  using NAME##4 = Four<T, (sizeof(T) > 4 ? 16 : 4 * sizeof(T))>;                        \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                            \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTORS(half, half)
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
EMULATOR_VECTORS(signed char, char)
EMULATOR_VECTORS(unsigned char, uchar)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(unsigned short, ushort)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(long long, longlong)
EMULATOR_VECTORS(unsigned long long, ulonglong)

template <class To, class From>
To emulator_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}
inline float __int_as_float(int value) { return emulator_bits<float>(value); }
inline int __float_as_int(float value) { return emulator_bits<int>(value); }
inline unsigned __float_as_uint(float value) { return emulator_bits<unsigned>(value); }
inline float __uint_as_float(unsigned value) { return emulator_bits<float>(value); }

// Warp shuffles; all 32 lanes take part.
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::exchange(value)[(emulator::run.now % 32) ^ mask];
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = unsigned(emulator::run.now) % 32;
  return emulator::exchange(value)[lane + delta < 32 ? lane + delta : lane];
}
template <class T>
T __shfl_sync(unsigned, T value, int source) {
  return emulator::exchange(value)[source % 32];
}
inline void __syncwarp(unsigned = ~0u) { emulator::warp_barrier(); }

namespace emulator {

struct Copy {
  void* to;
  const void* from;
  int nbytes, filled;  // bytes copied, and of those how many come from `from`: the rest is 0
};

struct Copies {
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};
inline std::vector<Copies> copies(1024);  // of each thread

inline void land(const Copy& copy) {
  std::memset(copy.to, 0, std::size_t(copy.nbytes));
  std::memcpy(copy.to, copy.from, std::size_t(copy.filled));
}

inline void copy_async(const Copy& copy) {
  if (reinterpret_cast<std::uintptr_t>(copy.to) % unsigned(copy.nbytes)) fail("asynchronous copy to a misaligned place");
  if (copy.filled && reinterpret_cast<std::uintptr_t>(copy.from) % unsigned(copy.nbytes)) {
    fail("asynchronous copy from a misaligned place");
  }
  if (run.eager) {
    land(copy);
  } else {
    copies[run.now].open.push_back(copy);
  }
}

inline void copy_commit() {
  auto& mine = copies[run.now];
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
}

// Lands the copies of all groups but the latest `left`.
inline void copy_wait(int left) {
  auto& groups = copies[run.now].groups;
  while (int(groups.size()) > left) {
    for (const auto& copy : groups.front()) land(copy);
    groups.erase(groups.begin());
  }
}

struct Fragment {
  unsigned words[10];
};

// The eight rows of 8 16-bit numbers of matrix m lie where lanes 8 m to 8 m + 7 point to.
inline void ldmatrix(unsigned* out, const void* row, int matrices, bool transposed) {
  const void* const* rows = exchange(row);
  const int lane = run.now % 32;
  for (int m = 0; m < matrices; ++m) {
    std::uint16_t pair[2];
    for (int i = 0; i < 2; ++i) {
      const int r = transposed ? lane % 4 * 2 + i : lane / 4, c = transposed ? lane / 4 : lane % 4 * 2 + i;
      if (reinterpret_cast<std::uintptr_t>(rows[8 * m + r]) % 16) fail("ldmatrix of a misaligned row");
      pair[i] = static_cast<const std::uint16_t*>(rows[8 * m + r])[c];
    }
    std::memcpy(out + m, pair, 4);
  }
}

inline float half_of(unsigned word, int which) {
  half value;
  value.bits = std::uint16_t(which ? word >> 16 : word);
  return float(value);
}

inline float tf32_of(unsigned word) {  // the hardware reads the upper 19 bits
  return emulator_bits<float>(word & 0xffffe000u);
}

// d (16, 8) += a (16, K) b (K, 8), one after the other along k; fragments as PTX lays them out.
// a(r, k), b(k, c): the words of all lanes give the elements.
template <int K, class A, class B>
void mma(float* d, const Fragment& mine, const A& a, const B& b) {
  const Fragment* all = exchange(mine);
  const int lane = run.now % 32;
  for (int i = 0; i < 4; ++i) {
    const int r = lane / 4 + i / 2 * 8, c = lane % 4 * 2 + i % 2;
    float sum = d[i];
    for (int k = 0; k < K; ++k) sum += a(all, r, k) * b(all, k, c);
    d[i] = sum;
  }
}

inline void mma_f16(float* d, const void* a, const void* b) {
  Fragment mine;
  std::memcpy(mine.words, a, 16);
  std::memcpy(mine.words + 4, b, 8);
  mma<16>(
      d, mine,
      [](const Fragment* all, int r, int k) {
        return half_of(all[r % 8 * 4 + k % 8 / 2].words[r / 8 + k / 8 * 2], k % 2);
      },
      [](const Fragment* all, int k, int c) { return half_of(all[c * 4 + k % 8 / 2].words[4 + k / 8], k % 2); });
}

inline void mma_tf32(float* d, const void* a, const void* b) {
  Fragment mine;
  std::memcpy(mine.words, a, 16);
  std::memcpy(mine.words + 4, b, 8);
  mma<8>(
      d, mine,
      [](const Fragment* all, int r, int k) { return tf32_of(all[r % 8 * 4 + k % 4].words[r / 8 + k / 4 * 2]); },
      [](const Fragment* all, int k, int c) { return tf32_of(all[c * 4 + k % 4].words[4 + k / 4]); });
}

inline unsigned to_tf32(unsigned bits) {  // to nearest, ties away from zero
  return std::isfinite(emulator_bits<float>(bits)) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

}  // namespace emulator

inline void gt_copy_async(void* shared, const void* global, bool keep) {
  emulator::copy_async({shared, global, 16, keep ? 16 : 0});
}
inline void gt_commit() { emulator::copy_commit(); }
template <int left>
void gt_wait() {
  emulator::copy_wait(left);
}
inline void gt_ldmatrix(unsigned* d, const void* row) { emulator::ldmatrix(d, row, 4, false); }
inline void gt_ldmatrix_trans(unsigned* d, const void* row) { emulator::ldmatrix(d, row, 4, true); }
inline void gt_mma_f16(float* c, const unsigned* a, const unsigned* b) { emulator::mma_f16(c, a, b); }
inline void gt_mma_tf32(float* c, const unsigned* a, const unsigned* b) { emulator::mma_tf32(c, a, b); }
inline unsigned gt_tf32(unsigned bits) { return emulator::to_tf32(bits); }
inline void gt_sync_warp() { emulator::warp_barrier(); }

#define GACER_EMULATED
