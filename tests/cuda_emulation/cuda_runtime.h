// A stand-in for CUDA's header that runs a .cu file on the CPU, one block after the other, each
// thread of it a fibre. It shows that a kernel's indices, shuffles and barriers are right, and
// nothing about its speed, its memory model or the compiler. A barrier that not every thread
// reaches aborts with a message, and a run under -fsanitize=address finds an access out of bounds.
//
//   g++ -x c++ -std=c++17 -shared -fPIC -I tests/cuda_emulation csrc/cuda/<op>.cu -o <op>.so
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ thread_local  // static, since blocks run one at a time; or extern, see below
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

struct alignas(8) float2 {
  float x, y;
};

inline float2 make_float2(float x, float y) { return {x, y}; }

struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};

struct alignas(8) uint2 {
  unsigned int x, y;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaError_t = int;
using cudaStream_t = void*;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr cudaError_t cudaErrorInvalidValue = 1;
inline constexpr cudaError_t cudaErrorInvalidConfiguration = 9;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

namespace emulation {

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Fibre {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state = State::kReady;
  dim3 thread;
  int rank = 0;
};

struct Block {
  std::vector<Fibre> fibres;
  std::vector<uint64_t> exchanged;  // one value of each thread: what shuffles read
  std::vector<uint64_t> factors;    // two of each thread: what matrix products read
  ucontext_t scheduler;
  Fibre* current = nullptr;
  const std::function<void()>* body = nullptr;
};

inline Block block;

inline void entry() {
  (*block.body)();
  block.current->state = State::kDone;
}

inline void wait(State state) {
  Fibre* const self = block.current;
  self->state = state;
  swapcontext(&self->context, &block.scheduler);
}

// Opens the barrier for threads [first, last) if all that still run have reached it.
inline bool open(size_t first, size_t last, State barrier) {
  for (size_t i = first; i < last; ++i) {
    if (block.fibres[i].state != barrier && block.fibres[i].state != State::kDone) return false;
  }
  bool opened = false;
  for (size_t i = first; i < last; ++i) {
    if (block.fibres[i].state != barrier) continue;
    block.fibres[i].state = State::kReady;
    opened = true;
  }
  return opened;
}

inline void run_block(const std::function<void()>& body) {
  constexpr size_t kStack = 128 * 1024;
  const size_t threads = static_cast<size_t>(blockDim.x) * blockDim.y * blockDim.z;
  block.body = &body;
  block.fibres.resize(threads);
  block.exchanged.assign((threads + 31) / 32 * 32, 0);
  block.factors.assign((threads + 31) / 32 * 64, 0);
  for (size_t i = 0; i < threads; ++i) {
    Fibre& fibre = block.fibres[i];
    if (!fibre.stack) fibre.stack.reset(new char[kStack]);
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = kStack;
    fibre.context.uc_link = &block.scheduler;
    makecontext(&fibre.context, entry, 0);
    fibre.state = State::kReady;
    fibre.rank = static_cast<int>(i);
    fibre.thread = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
  }
  for (;;) {
    bool progress = false;
    bool done = true;
    for (Fibre& fibre : block.fibres) {
      if (fibre.state == State::kReady) {
        block.current = &fibre;
        threadIdx = fibre.thread;
        swapcontext(&block.scheduler, &fibre.context);
        progress = true;
      }
      done = done && fibre.state == State::kDone;
    }
    if (done) return;
    for (size_t warp = 0; warp < threads; warp += 32) {
      progress |= open(warp, warp + 32 < threads ? warp + 32 : threads, State::kAtWarpBarrier);
    }
    progress |= open(0, threads, State::kAtBlockBarrier);
    if (!progress) {
      std::fprintf(stderr,
                   "emulated kernel: some threads wait at a barrier that the others never reach\n");
      std::abort();
    }
  }
}

}  // namespace emulation

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

// What a kernel that declares `extern __shared__ unsigned char dynamic_shared[];` gets: NaN at
// first, in as many bytes as every device has.
alignas(16) inline thread_local unsigned char dynamic_shared[99 * 1024];

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return static_cast<size_t>(bytes) <= sizeof dynamic_shared ? cudaSuccess : cudaErrorInvalidValue;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const dim3 grid = config->gridDim;
  const dim3 threads = config->blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 ||
      grid.z > 65535 || threads.x * threads.y * threads.z == 0 ||
      threads.x * threads.y * threads.z > 1024 ||
      config->dynamicSmemBytes > sizeof dynamic_shared) {
    return cudaErrorInvalidConfiguration;
  }
  ::gridDim = grid;
  ::blockDim = threads;
  const std::function<void()> body = [&] { kernel(static_cast<Parameters>(arguments)...); };
  for (unsigned int z = 0; z < grid.z; ++z) {
    for (unsigned int y = 0; y < grid.y; ++y) {
      for (unsigned int x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        std::memset(dynamic_shared, 0xff, config->dynamicSmemBytes);
        emulation::run_block(body);
      }
    }
  }
  return cudaSuccess;
}

inline void __syncthreads() { emulation::wait(emulation::State::kAtBlockBarrier); }

inline void __syncwarp(unsigned int = 0xffffffffu) {
  emulation::wait(emulation::State::kAtWarpBarrier);
}

// The value that lane `source` of this warp passes to the same call.
template <typename T>
T exchange(T value, int source) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const int rank = emulation::block.current->rank;
  std::memcpy(&emulation::block.exchanged[rank], &value, sizeof value);
  __syncwarp();
  std::memcpy(&value, &emulation::block.exchanged[rank / 32 * 32 + source], sizeof value);
  __syncwarp();
  return value;
}

inline int lane() { return emulation::block.current->rank % 32; }

template <typename T>
T __shfl_down_sync(unsigned int, T value, int delta) {
  return exchange(value, lane() + delta < 32 ? lane() + delta : lane());
}

template <typename T>
T __shfl_xor_sync(unsigned int, T value, int mask) {
  return exchange(value, lane() ^ mask);
}

template <typename T>
T __shfl_sync(unsigned int, T value, int source) {
  return exchange(value, source % 32);
}

inline unsigned int __ballot_sync(unsigned int, bool predicate) {
  const int rank = emulation::block.current->rank;
  emulation::block.exchanged[rank] = predicate;
  __syncwarp();
  unsigned int lanes = 0;
  for (int i = 0; i < 32; ++i) {
    lanes |= static_cast<unsigned int>(emulation::block.exchanged[rank / 32 * 32 + i]) << i;
  }
  __syncwarp();
  return lanes;
}

inline unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned int result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned int>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  }
  return result;
}

inline unsigned int __dp4a(unsigned int a, unsigned int b, unsigned int c) {
  for (int i = 0; i < 32; i += 8) c += (a >> i & 0xff) * (b >> i & 0xff);
  return c;
}

inline unsigned int __vabsdiffu4(unsigned int a, unsigned int b) {
  unsigned int result = 0;
  for (int i = 0; i < 32; i += 8) {
    const int difference = static_cast<int>(a >> i & 0xff) - static_cast<int>(b >> i & 0xff);
    result |= static_cast<unsigned int>(std::abs(difference)) << i;
  }
  return result;
}

inline unsigned int __vsadu4(unsigned int a, unsigned int b) {
  return __dp4a(__vabsdiffu4(a, b), 0x01010101u, 0);
}

inline unsigned int __sad(int a, int b, unsigned int c) {
  return c + static_cast<unsigned int>(std::abs(static_cast<int64_t>(a) - b));
}

inline unsigned int __vcmpgtu4(unsigned int a, unsigned int b) {
  unsigned int result = 0;
  for (int i = 0; i < 32; i += 8) {
    if ((a >> i & 0xff) > (b >> i & 0xff)) result |= 0xffu << i;
  }
  return result;
}

inline int __popc(unsigned int value) { return __builtin_popcount(value); }
// Fibres change places at barriers only.
template <typename T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}

template <typename T>
T atomicMin(T* address, T value) {
  const T old = *address;
  *address = std::min(old, value);
  return old;
}

template <typename T>
T atomicMax(T* address, T value) {
  const T old = *address;
  *address = std::max(old, value);
  return old;
}

template <typename T>
T atomicOr(T* address, T value) {
  const T old = *address;
  *address = old | value;
  return old;
}

template <typename T>
T atomicCAS(T* address, T expected, T value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

inline int __ffs(int value) { return __builtin_ffs(value); }

inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }

// Rounded by themselves, never fused with a sum.
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }

// What mma.m8n8k4.f64 and mma.m8n8k16.u8 do, sums += a b': lane l passes part l % 4 of row l / 4 of
// a and of b, and has the sums in row l / 4 and columns 2 (l % 4) and the next.
template <typename Value, typename Sum, typename AddProduct>
void emulated_mma(Value a, Value b, Sum (&sums)[2], AddProduct add) {
  uint64_t* const first = &emulation::block.factors[emulation::block.current->rank / 32 * 64];
  std::memcpy(&first[lane()], &a, sizeof a);
  std::memcpy(&first[32 + lane()], &b, sizeof b);
  __syncwarp();
  for (int i = 0; i < 2; ++i) {
    for (int k = 0; k < 4; ++k) {
      std::memcpy(&a, &first[lane() / 4 * 4 + k], sizeof a);
      std::memcpy(&b, &first[32 + (lane() % 4 * 2 + i) * 4 + k], sizeof b);
      sums[i] = add(a, b, sums[i]);
    }
  }
  __syncwarp();
}
