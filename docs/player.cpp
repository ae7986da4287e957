// Runs an artifact for CUDA once from C++: no Python, no compiler. TVM's runtime does the launches, in one CUDA graph.
//
//   g++ -std=c++17 player.cpp -I$TVM_FFI/include -I$CUDA/include -L$TVM_FFI/lib -ltvm_ffi -L$CUDA/lib64 -lcudart -lcuda
//   LD_PRELOAD="libtvm_runtime.so libtvm_runtime_cuda.so" ./a.out OUT < inputs > outputs
//
// Inputs are read from stdin and outputs written to stdout as plain bytes, in the order of the lines of plan.txt.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

static void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

static void check(CUresult result) {
  if (result != CUDA_SUCCESS) throw std::runtime_error("CUDA driver: error " + std::to_string(result));
}

// A stream that runs on parts [first, behind) of eight of the multiprocessors only: in a green context, which stays.
static cudaStream_t partial(unsigned first, unsigned behind, int priority) {
  static CUdevResource groups[8];
  static unsigned count = 0;
  CUdevice device;
  check(cuDeviceGet(&device, 0));
  if (count == 0) {  // the driver rounds the size of a group up, so the largest may give too few
    CUdevResource whole;
    check(cuDeviceGetDevResource(device, &whole, CU_DEV_RESOURCE_TYPE_SM));
    for (unsigned size = whole.sm.smCount / 8; size > 0 && count < 8; --size) {
      count = 8;
      check(cuDevSmResourceSplitByCount(groups, &count, &whole, nullptr, 0, size));
    }
  }
  CUdevResourceDesc description;
  CUgreenCtx context;
  CUstream stream;
  check(cuDevResourceGenerateDesc(&description, groups + first, behind - first));
  check(cuGreenCtxCreate(&context, description, device, CU_GREEN_CTX_DEFAULT_STREAM));
  check(cuGreenCtxStreamCreate(&stream, context, CU_STREAM_NON_BLOCKING, priority));
  return stream;
}

// Bytes of a tensor in weights.safetensors: 8 bytes of length, a JSON header, then the data.
static std::string tensor(const std::string& file, const std::string& name) {
  uint64_t length;
  std::memcpy(&length, file.data(), 8);
  const std::string header = file.substr(8, length);
  const size_t entry = header.find('"' + name + '"'), offsets = header.find("data_offsets", entry);
  if (entry == std::string::npos || offsets == std::string::npos) throw std::runtime_error("no weight " + name);
  uint64_t begin, end;
  char comma;
  std::istringstream(header.substr(header.find('[', offsets) + 1)) >> begin >> comma >> end;
  return file.substr(8 + length + begin, end - begin);
}

static std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

int main(int, char** arguments) {
  const std::string folder = arguments[1], weights = content(folder + "/weights.safetensors");
  std::istringstream plan(content(folder + "/plan.txt"));
  ffi::Module module = ffi::Module::LoadFromFile(folder + "/module.so");
  char* memory = nullptr;
  std::vector<cudaStream_t> streams;
  std::vector<int> priorities;
  std::vector<cudaEvent_t> events;
  std::vector<std::pair<char*, size_t>> outputs;
  std::vector<std::vector<std::string>> operations;
  for (std::string line; std::getline(plan, line);) {
    std::istringstream text(line);
    std::vector<std::string> words{std::istream_iterator<std::string>(text), {}};
    const std::string& kind = words[0];
    if (kind == "memory") {
      check(cudaMalloc(reinterpret_cast<void**>(&memory), std::stoull(words[1])));
    } else if (kind == "streams") {
      streams.resize(std::stoul(words[1]));
      priorities.resize(streams.size());
      for (auto& stream : streams) check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    } else if (kind == "priority") {  // CUDA counts downwards from 0
      const size_t stream = std::stoul(words[1]);
      priorities[stream] = -std::stoi(words[2]);
      check(cudaStreamDestroy(streams[stream]));
      check(cudaStreamCreateWithPriority(&streams[stream], cudaStreamNonBlocking, priorities[stream]));
    } else if (kind == "parts") {
      const size_t stream = std::stoul(words[1]);
      check(cudaStreamDestroy(streams[stream]));
      streams[stream] = partial(std::stoul(words[2]), std::stoul(words[3]), priorities[stream]);
    } else if (kind == "weight") {
      const std::string data = tensor(weights, words[2]);
      check(cudaMemcpy(memory + std::stoull(words[1]), data.data(), data.size(), cudaMemcpyHostToDevice));
    } else if (kind == "input") {
      std::string data(std::stoull(words[2]), 0);
      std::cin.read(data.data(), static_cast<std::streamsize>(data.size()));
      check(cudaMemcpy(memory + std::stoull(words[1]), data.data(), data.size(), cudaMemcpyHostToDevice));
    } else if (kind == "output") {
      outputs.emplace_back(memory + std::stoull(words[1]), std::stoull(words[2]));
    } else {
      operations.push_back(words);
    }
  }
  auto event = [&](size_t number) {
    while (events.size() <= number) check(cudaEventCreateWithFlags(&events.emplace_back(), cudaEventDisableTiming));
    return events[number];
  };
  auto launch = [&](const std::vector<std::string>& words, cudaStream_t stream) {
    std::vector<ffi::Any> values;
    for (size_t i = 5; i < words.size(); ++i) values.emplace_back(static_cast<void*>(memory + std::stoull(words[i])));
    values.emplace_back(std::stoll(words[3]));
    values.emplace_back(std::stoll(words[4]));
    std::vector<ffi::AnyView> views(values.begin(), values.end());
    ffi::Any result;
    TVMFFIEnvSetStream(kDLCUDA, 0, stream, nullptr);
    module->GetFunction(words[2]).value().CallPacked(views.data(), static_cast<int32_t>(views.size()), &result);
  };
  // Once without a graph: code is loaded at the first launch of a kernel, which a capture forbids.
  for (const auto& words : operations)
    if (words[0] == "launch") launch(words, streams[0]);
  check(cudaStreamSynchronize(streams[0]));
  cudaGraph_t graph;
  cudaGraphExec_t instance;
  check(cudaStreamBeginCapture(streams[0], cudaStreamCaptureModeThreadLocal));
  for (const auto& words : operations) {
    cudaStream_t stream = streams[std::stoul(words[1])];
    if (words[0] == "launch") launch(words, stream);
    if (words[0] == "record") check(cudaEventRecord(event(std::stoul(words[2])), stream));
    if (words[0] == "wait") check(cudaStreamWaitEvent(stream, event(std::stoul(words[2])), 0));
  }
  check(cudaStreamEndCapture(streams[0], &graph));
  check(cudaGraphInstantiate(&instance, graph, cudaGraphInstantiateFlagUseNodePriority));
  check(cudaGraphLaunch(instance, streams[0]));  // again and again, with new inputs, for a server
  check(cudaStreamSynchronize(streams[0]));
  for (const auto& [address, nbytes] : outputs) {
    std::string data(nbytes, 0);
    check(cudaMemcpy(data.data(), address, nbytes, cudaMemcpyDeviceToHost));
    std::cout.write(data.data(), static_cast<std::streamsize>(nbytes));
  }
  return 0;
}
