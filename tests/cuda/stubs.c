/* Stands for NVIDIA's driver and runtime where there are none. Launches are printed; where their pointers are those of
   memory that was allocated here, byte i of the second is that of the first and one more, for i in the range. */
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
  const long first = *(long *)args[0], second = *(long *)args[1];
  const int lo = *(int *)args[2], hi = *(int *)args[3], real = first > 1 << 20;
  printf("launch %s grid %u block %u shared %u stream %ld pointers %ld %ld range %d %d\n", (char *)function, c->grid[0],
         c->block[0], c->shared, (long)c->stream, real ? 0 : first, real ? 0 : second, lo, hi);
  fflush(stdout);
  for (int i = lo; real && i < hi; ++i) ((char *)second)[i] = ((char *)first)[i] + 1;
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
#define REFUSED(name) int name(void) { return 801; }
REFUSED(cuDeviceGet) REFUSED(cuDeviceGetDevResource) REFUSED(cuDevSmResourceSplitByCount)
REFUSED(cuDevResourceGenerateDesc) REFUSED(cuGreenCtxCreate) REFUSED(cuGreenCtxStreamCreate)
#else
static long streams, events;
static int said(const char *what, long one, long other) {
  printf("%s %ld %ld\n", what, one, other);
  return fflush(stdout);
}
int cudaGetDevice(int *device) { return *device = 0; }
int cudaMalloc(void **memory, size_t nbytes) { return (*memory = memset(malloc(nbytes), 0xEE, nbytes)) == NULL; }
int cudaMemcpy(void *to, const void *from, size_t nbytes, int kind) { return memcpy(to, from, nbytes) != to || !kind; }
int cudaStreamCreateWithPriority(long *stream, unsigned flags, int priority) {
  return said("stream", *stream = ++streams, priority) + (flags != 1);
}
int cudaStreamCreateWithFlags(long *stream, unsigned flags) { return cudaStreamCreateWithPriority(stream, flags, 0); }
int cudaEventCreateWithFlags(long *event, unsigned flags) { return *event = ++events, flags != 2; }
int cudaEventRecord(long event, long stream) { return said("record", event, stream); }
int cudaStreamWaitEvent(long stream, long event, unsigned flags) { return said("wait", event, stream) + flags; }
int cudaStreamBeginCapture(long stream, int mode) { return said("capture", stream, mode); }
int cudaStreamEndCapture(long stream, long *graph) { return said("captured", stream, *graph = 7); }
int cudaGraphInstantiate(long *instance, long graph, unsigned long long flags) {
  return said("instantiate", graph, (long)flags) + !(*instance = 8);
}
int cudaGraphLaunch(long instance, long stream) { return said("run", instance, stream); }
#define NONE(name) int name(void) { return 0; }
NONE(cudaDeviceGetAttribute) NONE(cudaEventCreate) NONE(cudaEventDestroy) NONE(cudaEventElapsedTime)
NONE(cudaEventSynchronize) NONE(cudaFree) NONE(cudaFreeHost) NONE(cudaGetDeviceCount)
NONE(cudaGetDeviceProperties) NONE(cudaGetErrorName) NONE(cudaGetErrorString) NONE(cudaGetLastError)
NONE(cudaGraphDestroy) NONE(cudaGraphExecDestroy)
NONE(cudaMallocHost) NONE(cudaMemGetInfo) NONE(cudaMemcpyAsync) NONE(cudaMemcpyPeerAsync) NONE(cudaPeekAtLastError)
NONE(cudaSetDevice) NONE(cudaStreamCreate) NONE(cudaStreamDestroy) NONE(cudaStreamSynchronize)
#endif
