// Gradients of SSIM, contrast-structure and squared error with respect to both frames. Each
// position of the window has a gradient with respect to its four moments: four maps. The gradient
// of a pixel is the sum of the maps over the windows that contain it, weighted as in the window:
// the same blur, over maps with a margin of zeros.
//
// A tile computes the moments of its windows again (ssim.h says how), and from a group of rows of
// maps, blurred across and then downwards, a group of rows of gradients; nothing but these goes to
// memory. Scales follow from coarse to fine, each adding the next coarser one's gradient.
#include "ssim.h"

namespace {

using namespace wmscore;
using namespace wmscore::ssim;

// What to tune on a device: see "CUDA notes" in benchmarks/README.md.
constexpr int kMostThreads = 128;
constexpr int kMostGroups = 12;  // of a tile; one of them is spent on the margin
template <typename Real>
constexpr int kBlocks = 3;  // that fit a multiprocessor: 168 registers to a thread
template <>
constexpr int kBlocks<double> = 2;

constexpr int kStatistics = 3;
constexpr int kMostScales = 5;
constexpr int kHalveThreads = 256;

// The gradient with respect to the mean of s or d over a window, and to that of its square.
template <typename Real>
using Maps = Moments<Real>;

// The last kSize rows of one column of the maps.
template <typename Real, typename Window>
struct MapColumn {
  static constexpr int kSize = Window::kSize;

  Maps<Real> rows[kSize] = {};

  // Weighted over the rows that end with row i.
  __device__ Maps<Real> sums(int i) const {
    constexpr Taps<Real, Window> kTaps;
    Maps<Real> sums = {};
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const Maps<Real>& row = rows[(i + 1 + k) % kSize];
      const Real tap = kTaps.plain[distance(k, Window::kReach)];
      sums.value = fused(tap, row.value, sums.value);
      sums.energy = fused(tap, row.energy, sums.energy);
    }
    return sums;
  }
};

// From entries kSize apart.
template <typename Real, typename Window>
__device__ void blur_maps_across(const Maps<Real>* row, Maps<Real> (&sums)[Window::kSize]) {
  constexpr Taps<Real, Window> kTaps;
  constexpr int kSize = Window::kSize;
#pragma unroll
  for (int i = 0; i < 2 * kSize - 1; ++i) {
    const Maps<Real> entry = row[i * kSize];
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      if (i < k || i >= k + kSize) continue;
      const Real tap = kTaps.plain[distance(i - k, Window::kReach)];
      sums[k].value = i == k ? tap * entry.value : fused(tap, entry.value, sums[k].value);
      sums[k].energy = i == k ? tap * entry.energy : fused(tap, entry.energy, sums[k].energy);
    }
  }
}

// From the moments at one position to the maps, in place.
template <typename Real>
__device__ void differentiate(Moments<Real>& sum, Moments<Real>& difference,
                              const Scaling<Real>& scaling, Real of_ssim,
                              Real of_contrast_structure) {
  const Real mean_sum = sum.value + scaling.shift;
  const Real mean_difference = difference.value;
  const Real sum_variance = sum.energy - multiply(sum.value, sum.value);
  const Real variance = difference.energy - multiply(mean_difference, mean_difference);
  const Real bright = mean_sum * mean_sum + scaling.c1;
  const Real by_brightness = reciprocal(bright + mean_difference * mean_difference);
  const Real by_contrast = reciprocal(sum_variance + variance + scaling.c2);
  const Real luminance = 1 - 2 * mean_difference * mean_difference * by_brightness;
  const Real contrast_structure = 1 - 2 * variance * by_contrast;

  const Real of_luminance =
      4 * of_ssim * contrast_structure * mean_difference * by_brightness * by_brightness;
  const Real of_contrast =
      2 * (of_ssim * luminance + of_contrast_structure) * by_contrast * by_contrast;
  const Real of_sum_variance = of_contrast * variance;
  const Real of_variance = -of_contrast * (sum_variance + scaling.c2);
  sum = {of_luminance * mean_sum * mean_difference - 2 * sum.value * of_sum_variance,
         of_sum_variance};
  difference = {-of_luminance * bright - 2 * mean_difference * of_variance, of_variance};
}

// The gradients of one scale's frames, contiguous planes. Null where there are none.
template <typename T>
struct Gradients {
  T* preds;
  T* target;
};

template <typename T, typename Window>
__global__ void __launch_bounds__(kMostThreads, kBlocks<RealOf<T>>)
    spread_gradient(Pair pair, Tiling tiling, Scaling<RealOf<T>> scaling, int64_t images,
                    unsigned int channels, const double* of_result, int64_t result_step,
                    double error_unit, Gradients<RealOf<T>> coarse, Gradients<T> gradients) {
  using Real = RealOf<T>;
  constexpr int kSize = Window::kSize;
  constexpr int kMargin = kSize - 1;
  static_assert(shared_bytes<Real, Window>(kMostThreads) <= kMostShared);
  const int thread = threadIdx.x;
  const Tasks<Window> tasks(blockDim.x);
  const int task_row = thread / tasks.across;
  const int task_column = thread % tasks.across * kSize;
  const bool has_task = task_row < kSize;
  Moments<Real>* const sums = reinterpret_cast<Moments<Real>*>(dynamic_shared);
  Moments<Real>* const differences = sums + tasks.columns * kSize;
  const int first_of_task = task_column * kSize + task_row;

  const int tile = static_cast<int>(blockIdx.x / channels);
  const int channel = static_cast<int>(blockIdx.x % channels);
  const int64_t first_row = static_cast<int64_t>(tile / tiling.across) * tiling.rows;
  const int64_t first_column = static_cast<int64_t>(tile % tiling.across) * tiling.columns;
  const bool is_top = first_row == 0;
  const int64_t below = pair.height - first_row;
  const int own_rows = static_cast<int>(below < tiling.rows ? below : tiling.rows);
  const int64_t own_column = first_column + thread;
  const bool owns_column = thread < tiling.columns && own_column < pair.width;

  // Columns of the maps, and of the pixels that the windows there begin with, start kMargin to the
  // left of the tile. Pixels outside of the plane count for nothing, as the maps are zero there.
  const int64_t outer = own_column - kMargin;
  const int64_t column_read = outer < 0 ? 0 : outer < pair.width ? outer : pair.width - 1;
  const int64_t task_outer = first_column - kMargin + task_column;
  const int64_t positions_across = pair.width - kMargin;
  const int64_t positions_down = pair.height - kMargin;
  const double positions =
      static_cast<double>(positions_across) * static_cast<double>(positions_down);

  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const int64_t plane = image * channels + channel;
    const double* const of_plane = of_result + plane * result_step;
    const Real of_ssim = static_cast<Real>(of_plane[0] / positions);
    const Real of_contrast_structure = static_cast<Real>(of_plane[1] / positions);
    const Real of_error = static_cast<Real>(of_plane[2] * error_unit);

    Column<Real, Window> sum;
    Column<Real, Window> difference;
    MapColumn<Real, Window> of_sum;
    MapColumn<Real, Window> of_difference;
    Cursor<T> cursor(pair, image, channel, is_top ? 0 : first_row - kMargin, column_read);
    {
      Loaded<T> x[kMargin] = {};
      Loaded<T> y[kMargin] = {};
      if (!is_top) cursor.read(x, y, 0, kMargin);
#pragma unroll
      for (int i = 0; i < kMargin; ++i) {
        sum.push(i + 1, sum_of(x[i], y[i], scaling));
        difference.push(i + 1, difference_of(x[i], y[i], scaling));
      }
    }
    // Of the pixels whose gradients these are. Rows are counted from the first row of maps.
    Cursor<T> own_cursor(pair, image, channel, first_row - kMargin,
                         owns_column ? own_column : column_read);

    for (int row = 0; row < own_rows + kMargin; row += kSize) {
      Loaded<T> x[kSize];
      Loaded<T> y[kSize];
      const int64_t rows_left = below - row;
      cursor.read(x, y, 0, static_cast<int>(rows_left < kSize ? rows_left : kSize));
      sum.resume();
      difference.resume();
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        sum.push(i, sum_of(x[i], y[i], scaling));
        difference.push(i, difference_of(x[i], y[i], scaling));
        sums[thread * kSize + i] = sum.means(i);
        differences[thread * kSize + i] = difference.means(i);
      }
      __syncthreads();

      const int64_t position_row = first_row - kMargin + row + task_row;
      Maps<Real> sum_maps[kSize] = {};
      Maps<Real> difference_maps[kSize] = {};
      if (has_task && position_row >= 0 && position_row < positions_down) {
        blur_across<Real, Window>(sums + first_of_task, sum_maps);
        blur_across<Real, Window>(differences + first_of_task, difference_maps);
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          differentiate(sum_maps[k], difference_maps[k], scaling, of_ssim, of_contrast_structure);
          const bool is_position = task_outer + k >= 0 && task_outer + k < positions_across;
          if (!is_position) sum_maps[k] = difference_maps[k] = {};
        }
      }
      __syncthreads();
      if (has_task) {
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          sums[first_of_task + k * kSize] = sum_maps[k];
          differences[first_of_task + k * kSize] = difference_maps[k];
        }
      }
      __syncthreads();
      if (has_task) {
        blur_maps_across<Real, Window>(sums + first_of_task, sum_maps);
        blur_maps_across<Real, Window>(differences + first_of_task, difference_maps);
      }
      __syncthreads();
      if (has_task) {
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          sums[first_of_task + k * kSize] = sum_maps[k];
          differences[first_of_task + k * kSize] = difference_maps[k];
        }
      }
      const int end = own_rows + kMargin - row;
      own_cursor.read(x, y, kMargin - row, owns_column ? end : 0);
      __syncthreads();

#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        of_sum.rows[i] = sums[thread * kSize + i];
        of_difference.rows[i] = differences[thread * kSize + i];
        if (!owns_column || row + i < kMargin || i >= end) continue;
        const Maps<Real> of_s_and_square = of_sum.sums(i);
        const Maps<Real> of_d_and_square = of_difference.sums(i);
        const Real s = sum_of(x[i], y[i], scaling);
        const Real d = difference_of(x[i], y[i], scaling);
        const Real of_s = of_s_and_square.value + 2 * s * of_s_and_square.energy;
        const Real of_d = of_d_and_square.value + 2 * d * (of_d_and_square.energy + of_error);
        Real of_preds = (of_s + of_d) * scaling.inverse_range;
        Real of_target = (of_s - of_d) * scaling.inverse_range;
        const int64_t own_row = first_row + row + i - kMargin;
        if (coarse.preds != nullptr) {
          // A pixel of the last row or column of an odd side went into its mean twice.
          const int64_t height = (pair.height + 1) / 2;
          const int64_t width = (pair.width + 1) / 2;
          const bool twice_down = own_row % 2 == 0 && own_row + 1 == pair.height;
          const bool twice_across = own_column % 2 == 0 && own_column + 1 == pair.width;
          const Real share = static_cast<Real>(0.25) * (1 + twice_down) * (1 + twice_across);
          const int64_t parent = (plane * height + own_row / 2) * width + own_column / 2;
          of_preds += share * coarse.preds[parent];
          of_target += share * coarse.target[parent];
        }
        const int64_t pixel = (plane * pair.height + own_row) * pair.width + own_column;
        narrow(of_preds, gradients.preds[pixel]);
        narrow(of_target, gradients.target[pixel]);
      }
      __syncthreads();
    }
  }
}

// Both frames at half the size, contiguous planes.
template <typename T>
__global__ void __launch_bounds__(kHalveThreads)
    halve_frames(Pair pair, int64_t images, int64_t channels, HalvedOf<T>* preds,
                 HalvedOf<T>* target) {
  const int64_t height = (pair.height + 1) / 2;
  const int64_t width = (pair.width + 1) / 2;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kHalveThreads + threadIdx.x;
  const int64_t row = pixel / width % height;
  const int64_t column = pixel % width;
  const int64_t channel = pixel / width / height;
  if (channel >= channels) return;
  const bool has_lower = 2 * row + 1 < pair.height;
  const bool has_right = 2 * column + 1 < pair.width;
  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const Cursor<T> upper(pair, image, channel, 2 * row, 2 * column);
    const int64_t i = image * channels * height * width + pixel;
    preds[i] =
        halve(upper.preds, has_lower ? upper.preds_row : 0, has_right ? pair.preds.pixel : 0);
    target[i] =
        halve(upper.target, has_lower ? upper.target_row : 0, has_right ? pair.target.pixel : 0);
  }
}

struct Call {
  int64_t images;
  int64_t channels;
  double data_range;
  bool uniform;
  int64_t scales;
  const double* of_result;
  void* stream;
};

template <typename T, typename Window>
cudaError_t spread(const Call& call, const Pair& pair, int64_t scale,
                   const Gradients<RealOf<T>>& coarse, const Gradients<T>& gradients) {
  constexpr int kMargin = Window::kSize - 1;
  const Tiling tiling = make_tiling(pair.height, pair.width, Window::kSize, 2 * kMargin, kMargin,
                                    kMostThreads, kMostGroups);
  return launch(spread_gradient<T, Window>, tiling.tiles() * call.channels, call.images,
                tiling.threads, shared_bytes<RealOf<T>, Window>(tiling.threads), call.stream, pair,
                tiling, make_scaling<RealOf<T>>(false, call.data_range, 1), call.images,
                call.channels, call.of_result + scale * kStatistics, call.scales * kStatistics,
                call.data_range * call.data_range, coarse, gradients);
}

template <typename T>
cudaError_t halve_pair(const Call& call, const Pair& pair, const Pair& next) {
  using Value = RealOf<T>;
  const int64_t blocks = divide_up(call.channels * next.height * next.width, kHalveThreads);
  return launch(halve_frames<T>, blocks, call.images, kHalveThreads, 0, call.stream, pair,
                call.images, call.channels, static_cast<Value*>(const_cast<void*>(next.preds.data)),
                static_cast<Value*>(const_cast<void*>(next.target.data)));
}

// Of one frame's planes, or of its gradient's, in scratch.
int64_t plane_bytes(int64_t planes, int64_t height, int64_t width, size_t size) {
  return divide_up(planes * height * width * size, 16) * 16;
}

template <typename T>
cudaError_t run(const Call& call, const Pair& frames, char* scratch,
                const Gradients<T>& gradients) {
  using Real = RealOf<T>;
  Pair pairs[kMostScales] = {frames};
  Gradients<Real> coarse[kMostScales] = {};
  for (int64_t scale = 1; scale < call.scales; ++scale) {
    const Pair& fine = pairs[scale - 1];
    Pair& pair = pairs[scale];
    pair = contiguous_pair(nullptr, nullptr, call.channels, (fine.height + 1) / 2,
                           (fine.width + 1) / 2);
    const int64_t bytes =
        plane_bytes(call.images * call.channels, pair.height, pair.width, sizeof(Real));
    const auto take = [&] { return static_cast<void*>(std::exchange(scratch, scratch + bytes)); };
    pair.preds.data = take();
    pair.target.data = take();
    coarse[scale] = {static_cast<Real*>(take()), static_cast<Real*>(take())};
    const cudaError_t error =
        scale == 1 ? halve_pair<T>(call, fine, pair) : halve_pair<Real>(call, fine, pair);
    if (error != cudaSuccess) return error;
  }
  for (int64_t scale = call.scales - 1; scale > 0; --scale) {
    const auto function = call.uniform ? spread<Real, Uniform> : spread<Real, Gaussian>;
    const Gradients<Real> coarser = scale + 1 < call.scales ? coarse[scale + 1] : Gradients<Real>{};
    const cudaError_t error = function(call, pairs[scale], scale, coarser, coarse[scale]);
    if (error != cudaSuccess) return error;
  }
  const auto function = call.uniform ? spread<T, Uniform> : spread<T, Gaussian>;
  return function(call, frames, 0, call.scales > 1 ? coarse[1] : Gradients<Real>{}, gradients);
}

}  // namespace

int64_t wmscore_frame_ssim_backward_scratch(Element element, int64_t images, int64_t channels,
                                            int64_t height, int64_t width, int64_t scales) {
  const size_t size = element == Element::kFloat64 ? sizeof(double) : sizeof(float);
  int64_t bytes = 0;
  for (int64_t scale = 1; scale < scales; ++scale) {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
    bytes += 4 * plane_bytes(images * channels, height, width, size);
  }
  return bytes;
}

int32_t wmscore_frame_ssim_backward_cuda(Element element, Images preds, Images target,
                                         int64_t images, int64_t channels, int64_t height,
                                         int64_t width, double data_range, bool uniform,
                                         int64_t scales, const double* of_result, void* scratch,
                                         void* of_preds, void* of_target, void* stream) {
  if (scales > kMostScales) return cudaErrorInvalidValue;
  const Call call = {images, channels, data_range, uniform, scales, of_result, stream};
  const Pair frames = {preds, target, height, width};
  const auto start = [&](auto pixel) {
    using T = decltype(pixel);
    return run<T>(call, frames, static_cast<char*>(scratch),
                  {static_cast<T*>(of_preds), static_cast<T*>(of_target)});
  };
  switch (element) {
    case Element::kFloat16:
      return start(Half());
    case Element::kBfloat16:
      return start(Bfloat16());
    case Element::kFloat32:
      return start(float());
    case Element::kFloat64:
      return start(double());
    case Element::kUint8:  // integers have no gradient
    case Element::kUint16:
      break;
  }
  return cudaErrorInvalidValue;
}
