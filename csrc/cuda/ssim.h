// What the SSIM kernels share: the windows, how a plane is cut into tiles, and the blur of four
// maps over the rows of a tile.
//
// A tile is as many columns as its block has threads. It takes one group of kSize rows after the
// other, in two steps: first a thread to a column, which has the last rows in registers and blurs
// downwards; then, through shared memory, a thread to kSize neighbours of one row, which it blurs
// across. So a pixel is read and squared once.
//
// s = x + y and d = x - y say the same as x and y, but frames that are nearly equal, where
// precision counts, have a small difference. The window is applied as the identity plus a filter of
// second differences, which is the same filter: the mean of what is flat is exact then and its
// variance exactly zero, and E[v^2] - E[v]^2 in float32 does not drown in rounding where frames are
// nearly flat. It costs a tenth more than the weights themselves.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>
#include <utility>

#include "../half.h"
#include "../kernels.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace wmscore::ssim {

struct Gaussian {
  static constexpr int kReach = 5;
  static constexpr int kSize = 2 * kReach + 1;

  // exp(-k^2 / (2 * 1.5^2)), not normalised
  static __host__ __device__ constexpr double weight(int k) {
    constexpr double kWeights[kReach + 1] = {1,
                                             0.8007374029168081,
                                             0.4111122905071874,
                                             0.1353352832366127,
                                             0.02856550078455038,
                                             0.003865920139472807};
    return kWeights[k];
  }
};

struct Uniform {
  static constexpr int kReach = 3;
  static constexpr int kSize = 2 * kReach + 1;

  static __host__ __device__ constexpr double weight(int) { return 1; }
};

// The window's weights at distance 0, 1, ..., which sum to 1, and the same filter less the identity
// as one of second differences v(k - 1) - 2 v(k) + v(k + 1).
template <typename Real, typename Window>
struct Taps {
  Real plain[Window::kReach + 1] = {};
  Real bend[Window::kReach] = {};

  __host__ __device__ constexpr Taps() {
    double sum = Window::weight(0);
    for (int k = 1; k <= Window::kReach; ++k) sum += 2 * Window::weight(k);
    for (int k = 0; k <= Window::kReach; ++k) plain[k] = static_cast<Real>(Window::weight(k) / sum);
    for (int k = 0; k < Window::kReach; ++k) {
      double beyond = 0;
      for (int j = k + 1; j <= Window::kReach; ++j) beyond += (j - k) * Window::weight(j);
      bend[k] = static_cast<Real>(beyond / sum);
    }
  }
};

__host__ __device__ constexpr int distance(int a, int b) { return a < b ? b - a : a - b; }

// A product that is rounded, never fused with a sum: equal factors give equal products.
__device__ inline float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double multiply(double a, double b) { return __dmul_rn(a, b); }

// a * b + c, rounded once. In words, or the compiler shares the product of two sums with equal taps
// and adds twice.
__device__ inline float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double fused(double a, double b, double c) { return fma(a, b, c); }

// Of a normal number, to 1 ulp.
__device__ inline float reciprocal(float value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
#else
  return 1 / value;
#endif
}
__device__ inline double reciprocal(double value) { return 1 / value; }

// Hides from the compiler how a value came about. It would else compute values again for which
// there are registers, and keep others for which there are none.
__device__ inline void keep([[maybe_unused]] float& value) {
#ifdef __CUDA_ARCH__
  asm("" : "+f"(value));
#endif
}
__device__ inline void keep([[maybe_unused]] double& value) {
#ifdef __CUDA_ARCH__
  asm("" : "+d"(value));
#endif
}
__device__ inline void keep([[maybe_unused]] int& value) {
#ifdef __CUDA_ARCH__
  asm volatile("" : "+r"(value));
#endif
}

// What is blurred: s or d, and its square. Or their means over windows.
template <typename Real>
struct alignas(2 * sizeof(Real)) Moments {
  Real value;
  Real energy;
};

template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// How pixels become s and d. Floats are divided by the data range; integers, which may be sums of
// several pixels, stay what they are. s is zero at mid-grey, where its square rounds least.
template <typename Real>
struct Scaling {
  Real inverse_range;  // of floats
  int middle;          // of integers: what is taken off x + y
  Real shift;          // what s lacks of x + y, in units of d
  Real c1;             // 2 C1 and 2 C2, in units of d^2
  Real c2;
};

// For pixels whose data range is `range`. `white` is the largest integer.
template <typename Real>
Scaling<Real> make_scaling(bool is_integer, double range, double white) {
  constexpr double kK1 = 0.01;
  constexpr double kK2 = 0.03;
  constexpr double kLeast = 1e-37;  // what a float can divide by
  const double unit = is_integer ? range : 1;
  const double c1 = 2 * kK1 * kK1 * unit * unit;
  const double c2 = 2 * kK2 * kK2 * unit * unit;
  return {static_cast<Real>(1 / range), is_integer ? static_cast<int>(white) : 0,
          is_integer ? static_cast<Real>(white) : 1, static_cast<Real>(c1 > kLeast ? c1 : kLeast),
          static_cast<Real>(c2 > kLeast ? c2 : kLeast)};
}

// A pixel as it is loaded: bytes come as words anyway.
template <typename T>
using Loaded = std::conditional_t<std::is_integral_v<T>, int, T>;

template <typename Pixel, typename Real>
__device__ Real sum_of(Pixel x, Pixel y, const Scaling<Real>& scaling) {
  if constexpr (std::is_integral_v<Pixel>) {
    return static_cast<Real>(x + y - scaling.middle);
  } else {
    return (widen(x) + widen(y)) * scaling.inverse_range - scaling.shift;
  }
}

template <typename Pixel, typename Real>
__device__ Real difference_of(Pixel x, Pixel y, const Scaling<Real>& scaling) {
  if constexpr (std::is_integral_v<Pixel>) {
    return static_cast<Real>(x - y);
  } else {
    return (widen(x) - widen(y)) * scaling.inverse_range;
  }
}

// A map in one column: its last kSize rows. Row i of a group takes the place of the row kSize
// before it. Every index is a constant once the caller's loop is unrolled, so all of this is in
// registers.
template <typename Real, typename Window>
struct Trace {
  static constexpr int kReach = Window::kReach;
  static constexpr int kSize = Window::kSize;

  Real value[kSize] = {};
  Real bend[kSize] = {};  // second differences, around each row
  Real step = 0;          // from the last row but one to the last

  __device__ void push(int i, Real next) {
    const int last = (i + kSize - 1) % kSize;
    const Real onward = next - value[last];
    bend[last] = onward - step;
    keep(bend[last]);
    step = onward;
    value[i] = next;
  }

  __device__ void resume() { step = value[kSize - 1] - value[kSize - 2]; }

  // Over the window that ends with row i.
  __device__ Real mean(int i) const {
    constexpr Taps<Real, Window> kTaps;
    Real sum = kTaps.bend[kReach - 1] * bend[(i + 2) % kSize];
#pragma unroll
    for (int k = 2; k < kSize - 1; ++k)
      sum = fused(kTaps.bend[distance(k, kReach)], bend[(i + 1 + k) % kSize], sum);
    return sum + value[(i + 1 + kReach) % kSize];
  }
};

// s or d, and its square.
template <typename Real, typename Window>
struct Column {
  Trace<Real, Window> value;
  Trace<Real, Window> energy;

  __device__ void push(int i, Real next) {
    keep(next);
    value.push(i, next);
    energy.push(i, multiply(next, next));
  }

  // Before each group: computes again what is not worth a register between them.
  __device__ void resume() {
#pragma unroll
    for (int i = Window::kSize - Window::kReach; i < Window::kSize; ++i)
      energy.value[i] = multiply(value.value[i], value.value[i]);
    value.resume();
    energy.resume();
  }

  __device__ Moments<Real> means(int i) const { return {value.mean(i), energy.mean(i)}; }
};

// The same across: a map in 2 * kSize - 1 neighbours, taken in turn, and its means over the kSize
// windows in them.
template <typename Real, typename Window>
struct Sweep {
  static constexpr int kReach = Window::kReach;
  static constexpr int kSize = Window::kSize;

  Real value[2 * kSize - 1];
  Real mean[kSize];
  Real step = 0;

  __device__ void take(int i, Real next) {
    constexpr Taps<Real, Window> kTaps;
    value[i] = next;
    if (i == 0) return;
    const Real onward = next - value[i - 1];
    const Real bend = onward - step;  // around i - 1
    step = onward;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {  // the window that starts at k
      if (i < k + 2 || i >= k + kSize) continue;
      const Real tap = kTaps.bend[distance(i - 1 - k, kReach)];
      mean[k] = i == k + 2 ? tap * bend : fused(tap, bend, mean[k]);
      if (i == k + kSize - 1) mean[k] += value[k + kReach];
    }
  }
};

// From entries kSize apart.
template <typename Real, typename Window>
__device__ void blur_across(const Moments<Real>* row, Moments<Real> (&means)[Window::kSize]) {
  Sweep<Real, Window> value;
  Sweep<Real, Window> energy;
#pragma unroll
  for (int i = 0; i < 2 * Window::kSize - 1; ++i) {
    const Moments<Real> entry = row[i * Window::kSize];
    value.take(i, entry.value);
    energy.take(i, entry.energy);
  }
#pragma unroll
  for (int k = 0; k < Window::kSize; ++k) means[k] = {value.mean[k], energy.mean[k]};
}

// Frames of one scale. Their row strides fit an int.
struct Pair {
  Images preds;
  Images target;
  int64_t height;
  int64_t width;
};

inline Pair contiguous_pair(const void* preds, const void* target, int64_t channels, int64_t height,
                            int64_t width) {
  const int64_t area = height * width;
  return {{preds, channels * area, area, width, 1},
          {target, channels * area, area, width, 1},
          height,
          width};
}

// One column of a pair's plane, from one row on.
template <typename T>
struct Cursor {
  const T* preds;
  const T* target;
  int preds_row;
  int target_row;

  __device__ Cursor(const Pair& pair, int64_t image, int64_t channel, int64_t row, int64_t column)
      : preds(static_cast<const T*>(pair.preds.data) + image * pair.preds.image +
              channel * pair.preds.channel + row * pair.preds.row + column * pair.preds.pixel),
        target(static_cast<const T*>(pair.target.data) + image * pair.target.image +
               channel * pair.target.channel + row * pair.target.row + column * pair.target.pixel),
        preds_row(static_cast<int>(pair.preds.row)),
        target_row(static_cast<int>(pair.target.row)) {}

  // The next kCount rows; zeros for those before `first` and from `last` on, which are not read.
  template <int kCount>
  __device__ void read(Loaded<T> (&x)[kCount], Loaded<T> (&y)[kCount], int first, int last) {
    // Or the products of all strides would be kept from one call to the next.
    keep(preds_row);
    keep(target_row);
    if (first <= 0 && last >= kCount) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        x[i] = preds[static_cast<int64_t>(preds_row) * i];
        y[i] = target[static_cast<int64_t>(target_row) * i];
      }
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        x[i] = {};
        y[i] = {};
        if (i < first || i >= last) continue;
        x[i] = preds[static_cast<int64_t>(preds_row) * i];
        y[i] = target[static_cast<int64_t>(target_row) * i];
      }
    }
    preds += static_cast<int64_t>(preds_row) * kCount;
    target += static_cast<int64_t>(target_row) * kCount;
  }
};

// A pixel of the next scale: the sum of 2 x 2 integers, the mean of 2 x 2 others. `below` and
// `right` lead to the neighbours; 0 at the end of an odd side, where the edge counts twice.
template <typename T>
__device__ auto halve(const T* upper, int64_t below, int64_t right) {
  const T* const lower = upper + below;
  if constexpr (std::is_integral_v<T>) {
    return (static_cast<unsigned int>(upper[0]) + upper[right]) +
           (static_cast<unsigned int>(lower[0]) + lower[right]);
  } else {
    return ((widen(upper[0]) + widen(upper[right])) + (widen(lower[0]) + widen(lower[right]))) *
           static_cast<RealOf<T>>(0.25);
  }
}

// What the pixels of the next scale are stored as.
template <typename T>
using HalvedOf = std::conditional_t<std::is_integral_v<T>, uint16_t, RealOf<T>>;

// How a plane is cut into tiles. It depends on the size of a frame alone, so a frame's result does
// not depend on the batch around it or on the device.
struct Tiling {
  int threads;  // of a block: the columns that a tile reads
  int groups;   // of kSize rows that it reads, but for the margin
  int rows;     // from tile to tile
  int columns;
  int across;  // tiles of a plane
  int down;

  int64_t tiles() const { return static_cast<int64_t>(across) * down; }
};

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tiles for `rows` x `columns` outputs; of `threads` columns and `groups * size` rows that it
// reads, a tile has the outputs of `margin` columns and `overlap` rows less. The blocks are those
// that leave the fewest threads idle, the narrower of two that are equal.
inline Tiling make_tiling(int64_t rows, int64_t columns, int size, int margin, int overlap,
                          int most_threads, int most_groups) {
  Tiling tiling = {};
  int64_t least = 0;
  for (int threads = 32; threads <= most_threads; threads += 32) {
    const int64_t across = divide_up(columns, threads - margin);
    if (least != 0 && across * threads >= least) continue;
    least = across * threads;
    tiling.threads = threads;
    tiling.columns = threads - margin;
    tiling.across = static_cast<int>(across);
  }
  tiling.down = static_cast<int>(divide_up(rows, most_groups * size - overlap));
  tiling.groups = static_cast<int>(divide_up(divide_up(rows, tiling.down) + overlap, size));
  tiling.rows = tiling.groups * size - overlap;
  tiling.down = static_cast<int>(divide_up(rows, tiling.rows));
  return tiling;
}

// How the threads of a block share the outputs of a group of rows: a task is kSize neighbours of
// one row. Shared memory has [columns, kSize rows], an odd number of rows, so that threads in turn
// use different banks both for their columns and, but at the end of a row, for their tasks.
template <typename Window>
struct Tasks {
  static constexpr int kSize = Window::kSize;
  int across;   // in one row
  int columns;  // that tasks read

  __host__ __device__ constexpr explicit Tasks(int threads)
      : across(threads / kSize), columns(kSize * across + kSize - 1) {
    if (columns < threads) columns = threads;
  }
};

// For s and for d.
template <typename Real, typename Window>
__host__ __device__ constexpr size_t shared_bytes(int threads) {
  return 2 * Tasks<Window>(threads).columns * Window::kSize * sizeof(Moments<Real>);
}

// Sums each of `values` over the block's threads in one order; thread k < kCount gets the k-th.
template <int kMostThreads, int kCount>
__device__ double reduce_block(const double (&values)[kCount]) {
  __shared__ double of_warp[kMostThreads / 32][kCount];
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    double value = values[k];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][k] = value;
  }
  __syncthreads();
  double total = 0;
  if (threadIdx.x < kCount) {
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; ++warp)
      total += of_warp[warp][threadIdx.x];
  }
  __syncthreads();  // the next call writes of_warp again
  return total;
}

constexpr size_t kMostShared = 48 * 1024 - 512;  // bytes of a block; the rest is for sums
constexpr int64_t kMostGridX = 0x7fffffff;
constexpr int64_t kMostGridY = 0xffff;  // kernels stride over the rest

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t across, int64_t down, int threads,
                   size_t shared, void* stream, Arguments... arguments) {
  if (across > kMostGridX) return cudaErrorInvalidConfiguration;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(across),
                        static_cast<unsigned int>(down < kMostGridY ? down : kMostGridY));
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

}  // namespace wmscore::ssim
