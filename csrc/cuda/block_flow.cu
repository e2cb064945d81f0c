// Block matching on a device, in one launch: a block of threads takes a few image blocks of one row
// and has their pixels, and all that they are compared with, in shared memory, as many channels at
// a time as fit. A thread sums the differences at four displacements that are neighbours: bytes
// four at a time, floats in one order, so that the sums have the bits of the torch function. Then a
// warp chooses among the displacements of an image block.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "blocks.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::Bfloat16;
using wmscore::BlockMatching;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;
using wmscore::kBlockCosts;
using wmscore::kThreads;
using wmscore::kWarps;

constexpr int kFar = 1 << 29;
constexpr int kPad = 4;    // columns of the frame beside its blocks that are in shared memory
constexpr int kQuad = 4;   // displacements of a thread, and pixels of a word
constexpr int kMoves = 6;  // of the frame itself: up, left, right, down, down left, down right
constexpr size_t kShared = 40 * 1024;

template <typename T>
using PixelOf = std::conditional_t<std::is_same_v<T, uint8_t>, uint8_t,
                                   std::conditional_t<std::is_same_v<T, double>, double, float>>;
template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, uint8_t>, unsigned int, PixelOf<T>>;
template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// How frames of one size are cut, and what is where in shared memory.
struct Plan {
  int blocks;     // of a block of threads, neighbours
  int groups;     // of these in a row
  int block;      // side of an image block
  int side;       // of the square of displacements
  int quads;      // of displacements in a row of it
  int now_step;   // from row to row of the frame's pixels
  int then_step;  // and of those that they are compared with
  int channels;   // in shared memory at a time

  __host__ __device__ int now_rows() const { return block + 2; }
  __host__ __device__ int then_rows() const { return block + side - 1; }
  __host__ __device__ int now_pixels() const { return now_rows() * now_step; }  // of a channel
  __host__ __device__ int then_pixels() const { return then_rows() * then_step; }
  __host__ __device__ int of_block() const { return side * quads * kQuad; }  // sums
  // Of differences and of the frame itself, in whole quads: pixels come after them.
  __host__ __device__ int sums() const {
    return (blocks * (of_block() + kMoves) + kQuad - 1) / kQuad * kQuad;
  }
  __host__ __device__ int threads_of_block() const { return side * quads; }

  template <typename T>
  size_t bytes() const {
    return sums() * sizeof(SumOf<T>) +
           static_cast<size_t>(channels) * (now_pixels() + then_pixels()) * sizeof(PixelOf<T>);
  }

  template <typename T>
  static Plan of(const BlockMatching& task) {
    Plan plan = {};
    plan.block = static_cast<int>(task.block);
    plan.side = static_cast<int>(2 * task.radius + 1);
    plan.quads = (plan.side + kQuad - 1) / kQuad;
    const int columns = static_cast<int>(task.width / task.block);
    int most = kThreads / plan.threads_of_block();
    plan.channels = 1;
    for (most = most < 1 ? 1 : most;; --most) {
      plan.groups = (columns + most - 1) / most;
      plan.blocks = (columns + plan.groups - 1) / plan.groups;  // as many in each
      plan.now_step = plan.blocks * plan.block + 2 * kPad;
      plan.then_step = plan.blocks * plan.block + (plan.quads + 1) * kQuad;
      if (most == 1 || plan.bytes<T>() <= kShared) break;
    }
    while (plan.channels < task.channels) {
      ++plan.channels;
      if (plan.bytes<T>() <= kShared) continue;
      --plan.channels;
      break;
    }
    return plan;
  }
};

// What a block of threads has.
struct Place {
  int64_t image;
  int row;     // of image blocks
  int column;  // of the first of them
  int count;
  int top;  // their first pixel
  int left;
  int start_y;  // the first displacement
  int start_x;
};

__device__ inline int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

// How many pixels of a block at `place` are in a frame of that length.
__device__ inline int inside(int place, int block, int length) {
  return clamp(length - place, 0, block) - clamp(-place, 0, block);
}

__device__ inline int down_of(int move) { return move == 0 ? -1 : move >= 3 ? 1 : 0; }

__device__ inline int right_of(int move) {
  return move == 1 || move == 4 ? -1 : move == 2 || move == 5 ? 1 : 0;
}

// --- to shared memory ----------------------------------------------------------------------------

// Four pixels from column x on, zeros outside the frame.
__device__ inline unsigned int word_at(const uint8_t* row, int64_t pixel, int x, int width) {
  if (x <= -kQuad || x >= width) return 0;
  if (pixel == 1) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(row) + x;
    const int offset = static_cast<int>(address % 4);
    if (x >= offset && x - offset + (offset > 0 ? 8 : 4) <= width) {
      const unsigned int* const from = reinterpret_cast<const unsigned int*>(address - offset);
      return offset > 0 ? __byte_perm(from[0], from[1], 0x3210u + 0x1111u * offset) : from[0];
    }
  }
  unsigned int word = 0;
#pragma unroll
  for (int k = 0; k < kQuad; ++k) {
    const bool is_there = x + k >= 0 && x + k < width;
    if (is_there) word |= static_cast<unsigned int>(row[(x + k) * pixel]) << (8 * k);
  }
  return word;
}

// Rows [channels, rows, step] from pixel (top, left) on; a warp takes a row.
template <typename T>
__device__ void stage(const BlockMatching& task, const Images& images, const T* frame, int channels,
                      int rows, int step, int top, int left, PixelOf<T>* to) {
  const int lane = threadIdx.x % 32;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  for (int i = threadIdx.x / 32; i < channels * rows; i += kWarps) {
    const int c = i / rows, y = top + i - c * rows;
    const bool is_there = y >= 0 && y < height;
    const T* const row = frame + c * images.channel + (is_there ? y : 0) * images.row;
    if constexpr (std::is_same_v<T, uint8_t>) {
      unsigned int* const words = reinterpret_cast<unsigned int*>(to + i * step);
      for (int w = lane; w < step / kQuad; w += 32)
        words[w] = is_there ? word_at(row, images.pixel, left + kQuad * w, width) : 0;
    } else {
      for (int k = lane; k < step; k += 32) {
        const int x = left + k;
        to[i * step + k] =
            is_there && x >= 0 && x < width ? wmscore::widen(row[x * images.pixel]) : PixelOf<T>(0);
      }
    }
  }
}

// --- sums ----------------------------------------------------------------------------------------

// sum + |a - b| of four bytes, in one instruction.
__device__ inline unsigned int add_distance(unsigned int a, unsigned int b, unsigned int sum) {
#ifdef __CUDA_ARCH__
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
  return sum;
#else
  return sum + __vsadu4(a, b);
#endif
}

// Ones in the bytes of a word at column x that are in the frame.
__device__ inline unsigned int mask_of(int x, int width) {
  const unsigned long long ones = 0xffffffffull;
  const unsigned int right_of_start = static_cast<unsigned int>(ones << (8 * clamp(-x, 0, kQuad)));
  const unsigned int left_of_end =
      static_cast<unsigned int>(ones >> (8 * clamp(kQuad - (width - x), 0, kQuad)));
  return right_of_start & left_of_end;
}

// Rows first <= y < last of a block, all channels in shared memory, against what is `there` at
// kCount displacements, the first of which is `shift` bytes into a word. `x` is the column of the
// first pixel of the block at the first displacement.
template <int kCount, bool kClipped>
__device__ __forceinline__ void add_words(const Plan& plan, int channels, int first, int last,
                                          const uint8_t* here, const uint8_t* there,
                                          int there_pixels, int there_step, int shift, int x,
                                          int width, unsigned int (&sums)[kCount]) {
  for (int w = 0; w < plan.block / kQuad; ++w) {
    unsigned int masks[kCount];
#pragma unroll
    for (int k = 0; k < kCount; ++k)
      masks[k] = kClipped ? mask_of(x + kQuad * w + k, width) : 0xffffffffu;
    for (int c = 0; c < channels; ++c) {
      const unsigned int* a = reinterpret_cast<const unsigned int*>(
          here + c * plan.now_pixels() + first * plan.now_step + kQuad * w);
      const unsigned int* b = reinterpret_cast<const unsigned int*>(there + c * there_pixels +
                                                                    first * there_step + kQuad * w);
#pragma unroll 4
      for (int y = first; y < last; ++y) {
        const unsigned int own = *a, low = b[0], high = b[1];
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
          const unsigned int other = __byte_perm(low, high, 0x3210u + 0x1111u * (shift + k));
          // What lies outside the frame is 0 there.
          sums[k] = add_distance(own & masks[k], other, sums[k]);
        }
        a += plan.now_step / kQuad;
        b += there_step / kQuad;
      }
    }
  }
}

template <typename Real>
__device__ void load_quad(Real* values, const Real* from) {
#pragma unroll
  for (int k = 0; k < static_cast<int>(kQuad * sizeof(Real) / 16); ++k) {
    const uint4 word = reinterpret_cast<const uint4*>(from)[k];
    memcpy(reinterpret_cast<char*>(values) + 16 * k, &word, sizeof word);
  }
}

// The same of floats, one pixel after the other; `there` is not aligned where kCount is 1.
template <int kCount, bool kClipped, typename Real>
__device__ __forceinline__ void add_pixels(const Plan& plan, int channels, int first, int last,
                                           const Real* here, const Real* there, int there_pixels,
                                           int there_step, int x, int width, Real (&sums)[kCount]) {
  for (int c = 0; c < channels; ++c) {
    const Real* a = here + c * plan.now_pixels() + first * plan.now_step;
    const Real* b = there + c * there_pixels + first * there_step;
    for (int y = first; y < last; ++y, a += plan.now_step, b += there_step) {
      Real others[2 * kQuad];
      if constexpr (kCount == kQuad) load_quad(others, b);
      for (int i = 0; i < plan.block; i += kQuad) {
        Real own[kQuad];
        load_quad(own, a + i);
        if constexpr (kCount == kQuad) {
          load_quad(others + kQuad, b + i + kQuad);
        } else {
#pragma unroll
          for (int k = 0; k < kQuad; ++k) others[k] = b[i + k];
        }
#pragma unroll
        for (int j = 0; j < kQuad; ++j) {
#pragma unroll
          for (int k = 0; k < kCount; ++k) {
            const Real difference = fabs(own[j] - others[j + k]);
            const int place = x + i + j + k;
            // Chosen, not multiplied: 0 * NaN is NaN.
            sums[k] += !kClipped || (place >= 0 && place < width) ? difference : Real(0);
          }
        }
#pragma unroll
        for (int k = 0; k < kQuad; ++k) others[k] = others[kQuad + k];
      }
    }
  }
}

// Adds `channels` channels in shared memory to sums [blocks, of_block()] and own sums [blocks,
// kMoves] after them, which start from 0 if `is_first`.
template <typename T>
__device__ void add_channels(const BlockMatching& task, const Plan& plan, const Place& place,
                             int channels, bool is_first, const PixelOf<T>* now,
                             const PixelOf<T>* then, SumOf<T>* all_sums) {
  using Sum = SumOf<T>;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  const int threads = plan.side * plan.quads;
  SumOf<T>* const own_sums = all_sums + plan.blocks * plan.of_block();
  for (int item = threadIdx.x; item < place.count * threads; item += kThreads) {
    const int block = item / threads, of_block = item - block * threads;
    const int i = of_block / plan.quads, quad = of_block - i * plan.quads;
    const int y = place.top + place.start_y + i;
    const int x = place.left + block * plan.block + place.start_x + quad * kQuad;
    const int first = clamp(-y, 0, plan.block), last = clamp(height - y, 0, plan.block);
    const auto* const here = now + plan.now_step + kPad + block * plan.block;
    const auto* const there = then + i * plan.then_step + block * plan.block + quad * kQuad;
    Sum* const to = all_sums + block * plan.of_block() + of_block * kQuad;
    Sum sums[kQuad];
#pragma unroll
    for (int k = 0; k < kQuad; ++k) sums[k] = is_first ? Sum(0) : to[k];
    const bool is_whole = x >= 0 && x + kQuad - 1 + plan.block <= width;
    if constexpr (std::is_same_v<T, uint8_t>) {
      if (is_whole) {
        add_words<kQuad, false>(plan, channels, first, last, here, there, plan.then_pixels(),
                                plan.then_step, 0, x, width, sums);
      } else {
        add_words<kQuad, true>(plan, channels, first, last, here, there, plan.then_pixels(),
                               plan.then_step, 0, x, width, sums);
      }
    } else {
      if (is_whole) {
        add_pixels<kQuad, false, Sum>(plan, channels, first, last, here, there, plan.then_pixels(),
                                      plan.then_step, x, width, sums);
      } else {
        add_pixels<kQuad, true, Sum>(plan, channels, first, last, here, there, plan.then_pixels(),
                                     plan.then_step, x, width, sums);
      }
    }
#pragma unroll
    for (int k = 0; k < kQuad; ++k) to[k] = sums[k];
  }
  // From the last thread on, which has nothing else to do.
  for (int item = kThreads - 1 - static_cast<int>(threadIdx.x); item < place.count * kMoves;
       item += kThreads) {
    const int block = item / kMoves, move = item % kMoves;
    const int down = down_of(move), right = right_of(move);
    const int y = place.top + down, x = place.left + block * plan.block + right;
    const int first = clamp(-y, 0, plan.block), last = clamp(height - y, 0, plan.block);
    const auto* const here = now + plan.now_step + kPad + block * plan.block;
    Sum sums[1] = {is_first ? Sum(0) : own_sums[item]};
    if constexpr (std::is_same_v<T, uint8_t>) {
      const int back = right < 0 ? kQuad : 0;  // to the word that it starts in
      add_words<1, true>(plan, channels, first, last, here, here + down * plan.now_step - back,
                         plan.now_pixels(), plan.now_step, right + back, x, width, sums);
    } else {
      add_pixels<1, true, Sum>(plan, channels, first, last, here,
                               here + down * plan.now_step + right, plan.now_pixels(),
                               plan.now_step, x, width, sums);
    }
    own_sums[item] = sums[0];
  }
}

// --- choice --------------------------------------------------------------------------------------

// A cost that may be the least. Of bytes a fraction, so that equal ones are equal; no pixels stand
// for infinity.
template <typename Sum>
struct Cost {
  Sum mean;

  __device__ static Cost of(Sum sum, int pixels, int least, int channels) {
    const Sum mean = sum / static_cast<Sum>(static_cast<int64_t>(pixels) * channels);
    const Sum none = static_cast<Sum>(INFINITY);
    return {2 * pixels >= least && mean < none ? mean : none};
  }

  __device__ bool exists() const { return mean < static_cast<Sum>(INFINITY); }
  __device__ bool operator<(const Cost& other) const { return mean < other.mean; }
  __device__ Cost from(int offset) const { return {__shfl_xor_sync(0xffffffffu, mean, offset)}; }
  __device__ Sum value(int) const { return exists() ? mean : static_cast<Sum>(NAN); }
};

template <>
struct Cost<unsigned int> {
  unsigned int sum;
  unsigned int pixels;

  __device__ static Cost of(unsigned int sum, int pixels, int least, int) {
    const bool counts = 2 * pixels >= least;
    return {counts ? sum : 1, counts ? static_cast<unsigned int>(pixels) : 0};
  }

  __device__ bool exists() const { return pixels > 0; }
  __device__ bool operator<(const Cost& other) const {
    return static_cast<unsigned long long>(sum) * other.pixels <
           static_cast<unsigned long long>(other.sum) * pixels;
  }
  __device__ Cost from(int offset) const {
    return {__shfl_xor_sync(0xffffffffu, sum, offset),
            __shfl_xor_sync(0xffffffffu, pixels, offset)};
  }
  __device__ float value(int channels) const {
    return exists()
               ? static_cast<float>(static_cast<double>(sum) /
                                    static_cast<double>(static_cast<int64_t>(pixels) * channels))
               : NAN;
  }
};

// One image block, all lanes of a warp.
template <typename Sum, typename Real>
__device__ void choose(const BlockMatching& task, const Plan& plan, const Place& place, int block,
                       const Sum* sums, const Sum* own_sums, int32_t* displacement, Real* costs) {
  const int lane = threadIdx.x % 32;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  const int channels = static_cast<int>(task.channels);
  const int side = plan.side, radius = side / 2, all = plan.block * plan.block;
  const int top = place.top + place.start_y;
  const int left = place.left + block * plan.block + place.start_x;
  const auto cost_at = [&](int i, int j) {
    const int pixels = inside(top + i, plan.block, height) * inside(left + j, plan.block, width);
    return Cost<Sum>::of(sums[i * plan.quads * kQuad + j], pixels, all, channels);
  };
  const Cost<Sum> none = Cost<Sum>::of(0, 0, all, 1);

  Cost<Sum> best = none;
  int rank = 0x7fffffff;  // in the order in which equal ones are chosen
  for (int candidate = lane; candidate < side * side; candidate += 32) {
    const int i = candidate / side, j = candidate - i * side;
    const int away = (i - radius) * (i - radius) + (j - radius) * (j - radius);
    const Cost<Sum> cost = cost_at(i, j);
    const int own_rank = away * side * side + candidate;
    if (cost < best || (!(best < cost) && own_rank < rank)) {
      best = cost;
      rank = own_rank;
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Cost<Sum> cost = best.from(offset);
    const int other_rank = __shfl_xor_sync(0xffffffffu, rank, offset);
    if (cost < best || (!(best < cost) && other_rank < rank)) {
      best = cost;
      rank = other_rank;
    }
  }
  const int chosen = rank % (side * side), row = chosen / side, column = chosen - row * side;

  Cost<Sum> second = none;
  for (int candidate = lane; candidate < side * side; candidate += 32) {
    const int i = candidate / side, j = candidate - i * side;
    if (i >= row - 1 && i <= row + 1 && j >= column - 1 && j <= column + 1) continue;
    const Cost<Sum> cost = cost_at(i, j);
    if (cost < second) second = cost;
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Cost<Sum> cost = second.from(offset);
    if (cost < second) second = cost;
  }

  if (lane < kBlockCosts) {
    Cost<Sum> cost = second;
    if (lane < 9) {
      const int i = row + lane / 3 - 1, j = column + lane % 3 - 1;
      const bool is_there = best.exists() && i >= 0 && i < side && j >= 0 && j < side;
      cost = is_there ? cost_at(i, j) : none;
    } else if (lane > 9) {
      const int move = lane - 10;
      const int down = down_of(move), right = right_of(move);
      const int pixels = inside(place.top + down, plan.block, height) *
                         inside(place.left + block * plan.block + right, plan.block, width);
      cost = Cost<Sum>::of(own_sums[move], pixels, 0, channels);
    }
    costs[lane] = cost.value(channels);
  } else if (lane < kBlockCosts + 2) {
    const int move = lane == kBlockCosts ? place.start_y + row : place.start_x + column;
    displacement[lane - kBlockCosts] = best.exists() ? move : 0;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, sizeof(RealOf<T>) == 8 ? 2 : 4)
    match_blocks(BlockMatching task, Plan plan, int32_t* displacements, RealOf<T>* costs) {
  const int rows = static_cast<int>(task.height / plan.block);
  const int columns = static_cast<int>(task.width / plan.block);
  const int64_t items = task.batch * task.steps * rows * plan.groups;
  SumOf<T>* const sums = reinterpret_cast<SumOf<T>*>(dynamic_shared);
  PixelOf<T>* const now = reinterpret_cast<PixelOf<T>*>(sums + plan.sums());
  PixelOf<T>* const then = now + plan.channels * plan.now_pixels();
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int64_t of_row = item / plan.groups;
    Place place;
    place.image = of_row / rows;
    place.row = static_cast<int>(of_row - place.image * rows);
    place.column = static_cast<int>(item - of_row * plan.groups) * plan.blocks;
    place.count = clamp(columns - place.column, 0, plan.blocks);
    place.top = (static_cast<int>(task.height) - rows * plan.block) / 2 + place.row * plan.block;
    place.left =
        (static_cast<int>(task.width) - columns * plan.block) / 2 + place.column * plan.block;
    int start[2] = {0, 0};
    if (task.start != nullptr) {
#pragma unroll
      for (int axis = 0; axis < 2; ++axis) {
        const int64_t value = task.start[2 * place.image + axis];
        start[axis] = static_cast<int>(value < -kFar ? -kFar : value > kFar ? kFar : value);
      }
    }
    place.start_y = start[0] - plan.side / 2;
    place.start_x = start[1] - plan.side / 2;
    const int64_t batch = place.image / task.steps, step = place.image - batch * task.steps;
    const T* const frame = static_cast<const T*>(task.frames.data) + batch * task.frames_batch +
                           step * task.frames.image;
    const T* const following = static_cast<const T*>(task.following.data) +
                               batch * task.following_batch + step * task.following.image;
    for (int c = 0; c < task.channels; c += plan.channels) {
      const int channels = clamp(static_cast<int>(task.channels) - c, 0, plan.channels);
      stage<T>(task, task.frames, frame + c * task.frames.channel, channels, plan.now_rows(),
               plan.now_step, place.top - 1, place.left - kPad, now);
      stage<T>(task, task.following, following + c * task.following.channel, channels,
               plan.then_rows(), plan.then_step, place.top + place.start_y,
               place.left + place.start_x, then);
      __syncthreads();
      add_channels<T>(task, plan, place, channels, c == 0, now, then, sums);
      __syncthreads();
    }
    const SumOf<T>* const own_sums = sums + plan.blocks * plan.of_block();
    for (int block = threadIdx.x / 32; block < place.count; block += kWarps) {
      const int64_t at = of_row * columns + place.column + block;
      choose(task, plan, place, block, sums + block * plan.of_block(), own_sums + block * kMoves,
             displacements + 2 * at, costs + kBlockCosts * at);
    }
    __syncthreads();  // the next item writes the sums again
  }
}

template <typename T>
cudaError_t run(const BlockMatching& task, int32_t* displacements, void* costs, void* stream) {
  const Plan plan = Plan::of<T>(task);
  const int64_t items = task.batch * task.steps * (task.height / task.block) * plan.groups;
  constexpr int64_t kMostBlocks = 0x7fffffff;
  const auto kernel = match_blocks<T>;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(items < kMostBlocks ? items : kMostBlocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  config.dynamicSmemBytes = plan.bytes<T>();
  cudaError_t error = cudaSuccess;
  if (config.dynamicSmemBytes > 48 * 1024) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(config.dynamicSmemBytes));
  }
  if (error == cudaSuccess) {
    error = cudaLaunchKernelEx(&config, kernel, task, plan, displacements,
                               static_cast<RealOf<T>*>(costs));
  }
  cudaGetLastError();  // clear it: it is returned
  return error;
}

}  // namespace

int32_t wmscore_block_flow_cuda(Element element, BlockMatching task, int32_t* displacements,
                                void* costs, void* stream) {
  switch (element) {
    case Element::kUint8:
      return run<uint8_t>(task, displacements, costs, stream);
    case Element::kFloat16:
      return run<Half>(task, displacements, costs, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(task, displacements, costs, stream);
    case Element::kFloat32:
      return run<float>(task, displacements, costs, stream);
    case Element::kFloat64:
      return run<double>(task, displacements, costs, stream);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
