// Blocks of threads: how they add up in one order, and how they are launched.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace wmscore {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Sums `values` over the block's threads, always in one order; thread k < kCount gets the k-th
// total.
template <typename V, int kCount>
__device__ V reduce_block(const V (&values)[kCount]) {
  static_assert(kCount <= kThreads, "one thread writes one total");
  __shared__ V of_warp[kWarps][kCount];
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    V value = values[k];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) of_warp[warp][k] = value;
  }
  __syncthreads();
  V total = 0;
  if (threadIdx.x < kCount) {
    for (int w = 0; w < kWarps; ++w) total += of_warp[w][threadIdx.x];
  }
  __syncthreads();  // the next call writes of_warp again
  return total;
}

// [rows, chunks, kCount] to [rows, kCount], always in one order.
template <int kCount, typename Total>
__global__ void __launch_bounds__(kThreads)
    sum_partials(const Total* partials, int64_t rows, int64_t chunks, Total* out) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    Total values[kCount] = {};
    for (int64_t chunk = threadIdx.x; chunk < chunks; chunk += kThreads) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) values[k] += partials[(row * chunks + chunk) * kCount + k];
    }
    const Total total = reduce_block(values);
    if (threadIdx.x < kCount) out[row * kCount + threadIdx.x] = total;
  }
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch_threads(void (*kernel)(Parameters...), int64_t blocks, int threads, void* stream,
                           Arguments... arguments) {
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernels stride over the rest
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(threads);
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

template <int kBlockThreads = kThreads, typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, void* stream,
                   Arguments... arguments) {
  return launch_threads(kernel, blocks, kBlockThreads, stream, arguments...);
}

}  // namespace wmscore
