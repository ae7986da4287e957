// The types and functions of CUDA that kernels use, for the emulator, and those of gacer_tune/kernels/cuda/device.cuh
// that are instructions of the GPU (its second part is used as it is).
#pragma once
#include <cmath>

#include "emulator.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
using uint = unsigned int;
using uchar = unsigned char;
using ushort = unsigned short;

struct Thread {
  struct X {
    operator int() const { return emulator::now; }
  } x;
};
struct Block {
  struct X {
    operator int() const { return emulator::block; }
  } x;
};
inline Thread threadIdx;
inline Block blockIdx;

inline void __syncthreads() { emulator::block_barrier(); }

// The other number if one is none, as CUDA has it.
template <class T>
T max(T x, T y) {
  return x != x || x < y ? y : x;
}
template <class T>
T min(T x, T y) {
  return x != x || y < x ? y : x;
}

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
#define CUDART_INF_F __builtin_inff()
#define CUDART_INF __builtin_inf()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_NAN __builtin_nan("")
inline float __int_as_float(int value) { return emulator_bits<float>(value); }
inline int __float_as_int(float value) { return emulator_bits<int>(value); }
inline unsigned __float_as_uint(float value) { return emulator_bits<unsigned>(value); }
inline float __uint_as_float(unsigned value) { return emulator_bits<float>(value); }

inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

// Warp shuffles; all 32 lanes take part.
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::exchange(value)[(emulator::now % 32) ^ mask];
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = unsigned(emulator::now) % 32;
  return emulator::exchange(value)[lane + delta < 32 ? lane + delta : lane];
}
template <class T>
T __shfl_sync(unsigned, T value, int source) {
  return emulator::exchange(value)[source % 32];
}
inline void __syncwarp(unsigned = ~0u) { emulator::warp_barrier(); }

// The functions of device.cuh that are instructions.
inline void gt_copy_async(void* shared, const void* global, bool keep) { emulator::copy_async(shared, global, keep); }
inline void gt_commit() { emulator::copy_commit(); }
template <int left>
void gt_wait() {
  emulator::copy_wait(left);
}
inline void gt_ldmatrix(unsigned* d, const void* row) { emulator::ldmatrix(d, row, false); }
inline void gt_ldmatrix_trans(unsigned* d, const void* row) { emulator::ldmatrix(d, row, true); }
inline void gt_mma_f16(float* c, const unsigned* a, const unsigned* b) { emulator::mma_f16(c, a, b); }
inline void gt_mma_tf32(float* c, const unsigned* a, const unsigned* b) { emulator::mma_tf32(c, a, b); }
inline unsigned gt_tf32(unsigned bits) {  // to nearest, ties away from zero
  return std::isfinite(__uint_as_float(bits)) ? (bits + 0x1000u) & 0xffffe000u : bits;
}
inline void gt_sync_warp() { emulator::warp_barrier(); }

#define GACER_EMULATED
