/* Stands for NVIDIA's driver and runtime where there are none: kernels are not run, their launches are printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef DRIVER
struct config {
  unsigned grid[3], block[3], shared;
  void *stream;
};

int cuModuleLoadData(void **module, const void *image) {
  printf("load %.4s\n", (const char *)image);
  *module = (void *)image;
  return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  (void)module;
  *function = strdup(name);
  return 0;
}
/* The test's kernels all take two pointers and a range. */
int cuLaunchKernelEx(const struct config *c, void *function, void **args, void **extra) {
  (void)extra;
  printf("launch %s grid %u block %u shared %u stream %ld pointers %ld %ld range %d %d\n", (char *)function, c->grid[0],
         c->block[0], c->shared, (long)c->stream, *(long *)args[0], *(long *)args[1], *(int *)args[2], *(int *)args[3]);
  fflush(stdout);
  return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  printf("attribute %s %d %d\n", (char *)function, attribute, value);
  return 0;
}
int cuModuleUnload(void *module) { return module == NULL; }
int cuGetErrorName(int error, const char **text) { return *text = "stub", error == -1; }
int cuGetErrorString(int error, const char **text) { return *text = "stub", error == -1; }
int cuDeviceGetName(char *name, int length, int device) { return name[0] = 0, length + device == -1; }
int cuTensorMapEncodeTiled(void) { return 1; }
#else
int cudaGetDevice(int *device) { return *device = 0; }
#define NONE(name) int name(void) { return 0; }
NONE(cudaDeviceGetAttribute) NONE(cudaEventCreate) NONE(cudaEventDestroy) NONE(cudaEventElapsedTime)
NONE(cudaEventRecord) NONE(cudaEventSynchronize) NONE(cudaFree) NONE(cudaFreeHost) NONE(cudaGetDeviceCount)
NONE(cudaGetDeviceProperties) NONE(cudaGetErrorName) NONE(cudaGetErrorString) NONE(cudaGetLastError)
NONE(cudaGraphDestroy) NONE(cudaGraphExecDestroy) NONE(cudaGraphInstantiate) NONE(cudaGraphLaunch) NONE(cudaMalloc)
NONE(cudaMallocHost) NONE(cudaMemGetInfo) NONE(cudaMemcpyAsync) NONE(cudaMemcpyPeerAsync) NONE(cudaPeekAtLastError)
NONE(cudaSetDevice) NONE(cudaStreamBeginCapture) NONE(cudaStreamCreate) NONE(cudaStreamCreateWithFlags)
NONE(cudaStreamDestroy) NONE(cudaStreamEndCapture) NONE(cudaStreamSynchronize) NONE(cudaStreamWaitEvent)
#endif
