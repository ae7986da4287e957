// What kernels call on the device. It is put in front of the source of each kernel.
//
// The first part are instructions of the processor; an emulator that defines GACER_EMULATED brings its own ones with
// the same meaning. The second part is made of plain C++ over the first.
#ifndef GACER_EMULATED
#include <cuda_fp16.h>

__device__ __forceinline__ unsigned gt_shared_address(const void* shared) {
  return (unsigned)__cvta_generic_to_shared(shared);
}

// Starts copying 16 bytes, both sides aligned to 16, to shared memory: zeros where !keep, and `global` is not read.
__device__ __forceinline__ void gt_copy_async(void* shared, const void* global, bool keep) {
  int nbytes = keep ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(gt_shared_address(shared)), "l"(global),
               "r"(nbytes) : "memory");
}

// Closes the group of the copies this thread has started since the last group.
__device__ __forceinline__ void gt_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `left` groups of this thread are under way.
template <int left>
__device__ __forceinline__ void gt_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// Four 8x8 matrices of 2-byte elements; lane l gives the address of row l % 8 (16 bytes) of matrix l / 8.
// d[i]: elements (lane / 4, 2 * (lane % 4)) and the next one of matrix i.
__device__ __forceinline__ void gt_ldmatrix(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(gt_shared_address(row)) : "memory");
}

// The same of the transposed matrices: elements (2 * (lane % 4), lane / 4) and the one below.
__device__ __forceinline__ void gt_ldmatrix_trans(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(gt_shared_address(row)) : "memory");
}

// c (16x8, float32) += a (16x16, float16) b (16x8, float16); g = lane / 4, t = lane % 4:
// a[0]: (g, 2t), (g, 2t + 1); a[1]: row g + 8; a[2]: column + 8; a[3]: both. b[0]: (2t, g), (2t + 1, g); b[1]: row + 8.
// c[0], c[1]: (g, 2t), (g, 2t + 1); c[2], c[3]: row g + 8.
__device__ __forceinline__ void gt_mma_f16(float* c, const unsigned* a, const unsigned* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c (16x8, float32) += a (16x8, tf32) b (8x8, tf32): a[0]: (g, t); a[1]: row g + 8; a[2]: column t + 4; a[3]: both.
// b[0]: (t, g); b[1]: row t + 4. c as above.
__device__ __forceinline__ void gt_mma_tf32(float* c, const unsigned* a, const unsigned* b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The bits of a float32 rounded to tf32 (10 bits of mantissa, to nearest, ties away from zero).
__device__ __forceinline__ unsigned gt_tf32(unsigned bits) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

__device__ __forceinline__ void gt_sync_warp() { __syncwarp(); }
#endif  // GACER_EMULATED

struct alignas(16) GtBytes16 {
  unsigned words[4];
};

__device__ __forceinline__ bool gt_aligned(const void* pointer) { return ((size_t)pointer & 15) == 0; }

// What gt_copy_async does, from a place that may not be aligned: element by element, and at once. T is 2 or 4 bytes.
template <typename T>
__device__ __forceinline__ void gt_copy(void* shared, const T* global, bool keep) {
#pragma unroll 1
  for (int i = 0; i < 16 / (int)sizeof(T); ++i) ((T*)shared)[i] = keep ? global[i] : T(0.0f);
}

// `count` neighbours as float32, 16 bytes at a time where they are aligned.
template <int count, typename T>
__device__ __forceinline__ void gt_load(float* d, const T* s) {
  constexpr int step = 16 / (int)sizeof(T);
  if (count % step == 0 && gt_aligned(s)) {
#pragma unroll
    for (int i = 0; i < count; i += step) {
      GtBytes16 bytes = *(const GtBytes16*)(s + i);
#pragma unroll
      for (int j = 0; j < step; ++j)
        if (i + j < count) d[i + j] = (float)((const T*)&bytes)[j];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < count; ++i) d[i] = (float)s[i];
}

// The opposite: float32 rounded to T.
template <int count, typename T>
__device__ __forceinline__ void gt_store(T* d, const float* s) {
  constexpr int step = 16 / (int)sizeof(T);
  if (count % step == 0 && gt_aligned(d)) {
#pragma unroll
    for (int i = 0; i < count; i += step) {
      GtBytes16 bytes;
#pragma unroll
      for (int j = 0; j < step; ++j)
        if (i + j < count) ((T*)&bytes)[j] = (T)s[i + j];
      *(GtBytes16*)(d + i) = bytes;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < count; ++i) d[i] = (T)s[i];
}

// 16 bytes, both sides aligned.
__device__ __forceinline__ void gt_read(void* d, const void* s) { *(GtBytes16*)d = *(const GtBytes16*)s; }

// sums[j] += a[k] * b(k, j) for k = 0, 1, 2, 3 in this order; by_rows: b(k, j) is b[4 * k + j], else b[4 * j + k].
template <bool by_rows>
__device__ __forceinline__ void gt_multiply(float* sums, const float* a, const float* b) {
#pragma unroll
  for (int k = 0; k < 4; ++k)
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[j] = fmaf(a[k], b[by_rows ? 4 * k + j : 4 * j + k], sums[j]);
}

// 16 bytes of T in shared memory from float32.
template <typename T>
__device__ __forceinline__ void gt_put(void* shared, const float* s) {
  GtBytes16 bytes;
#pragma unroll
  for (int i = 0; i < 16 / (int)sizeof(T); ++i) ((T*)&bytes)[i] = (T)s[i];
  *(GtBytes16*)shared = bytes;
}

// Two neighbours in shared memory, aligned to 8 bytes.
__device__ __forceinline__ void gt_put_pair(void* shared, const float* s) {
  float2 pair;
  pair.x = s[0];
  pair.y = s[1];
  *(float2*)shared = pair;
}
