// SSIM, contrast-structure and squared error of frames at several scales. One launch for each scale
// scores its tiles (ssim.h says how) and writes the halved frames of the next one; a last launch
// adds the tiles up in order, so the result has the same bits in each run.
#include "ssim.h"

namespace {

using namespace wmscore;
using namespace wmscore::ssim;

// What to tune on a device: see "CUDA notes" in benchmarks/README.md.
template <typename Real>
struct Tuning {
  static constexpr int kMostThreads = 256;
  static constexpr int kBlocks = 2;      // that fit a multiprocessor: 128 registers to a thread
  static constexpr int kMostGroups = 6;  // of a tile: more of them read fewer rows twice
};
template <>
struct Tuning<double> {
  static constexpr int kMostThreads = 128;
  static constexpr int kBlocks = 2;
  static constexpr int kMostGroups = 6;
};

constexpr int kStatistics = 3;
constexpr int kMostScales = 5;  // sums of 4^5 bytes would not fit 16 bits
constexpr int kFinishThreads = 128;

// Both frames of the next scale: planes of ceil(height / 2) x ceil(width / 2) that follow each
// other. None at the last scale.
struct Halved {
  void* preds;
  void* target;
};

// Writes the halved pixels of rows [first_row, last_row) and columns [first_column, last_column) of
// one plane; no more columns than the block has threads.
template <typename T>
__device__ void halve_tile(const Pair& pair, int64_t image, int64_t channel, int64_t plane,
                           int64_t first_row, int64_t last_row, int64_t first_column,
                           int64_t last_column, const Halved& halved) {
  const int thread = threadIdx.x;
  const int columns = static_cast<int>(last_column - first_column);
  const int rows_at_once = static_cast<int>(blockDim.x) / columns;
  if (thread >= rows_at_once * columns) return;
  const int64_t column = first_column + thread % columns;
  int64_t row = first_row + thread / columns;
  const int64_t height = (pair.height + 1) / 2;
  const int64_t width = (pair.width + 1) / 2;
  const bool has_right = 2 * column + 1 < pair.width;
  const int64_t preds_right = has_right ? pair.preds.pixel : 0;
  const int64_t target_right = has_right ? pair.target.pixel : 0;
  Cursor<T> pixel(pair, image, channel, 2 * row, 2 * column);
  int64_t i = (plane * height + row) * width + column;
  for (; row < last_row; row += rows_at_once) {
    const bool has_lower = 2 * row + 1 < pair.height;
    static_cast<HalvedOf<T>*>(halved.preds)[i] =
        static_cast<HalvedOf<T>>(halve(pixel.preds, has_lower ? pixel.preds_row : 0, preds_right));
    static_cast<HalvedOf<T>*>(halved.target)[i] = static_cast<HalvedOf<T>>(
        halve(pixel.target, has_lower ? pixel.target_row : 0, target_right));
    pixel.preds += 2LL * rows_at_once * pixel.preds_row;
    pixel.target += 2LL * rows_at_once * pixel.target_row;
    i += rows_at_once * width;
  }
}

// What the formula needs of the moments of s.
template <typename Real>
struct Denominators {
  Real brightness;
  Real contrast;

  Denominators() = default;
  __device__ Denominators(const Moments<Real>& sum, const Scaling<Real>& scaling) {
    const Real bright = sum.value + scaling.shift;
    brightness = fused(bright, bright, scaling.c1);
    contrast = sum.energy - multiply(sum.value, sum.value) + scaling.c2;
  }
};

// Half of 1 - ssim and half of 1 - cs at one position.
template <typename Real>
__device__ void dissimilarity(const Denominators<Real>& denominators,
                              const Moments<Real>& difference, Real& ssim,
                              Real& contrast_structure) {
  const Real offset = multiply(difference.value, difference.value);
  const Real variance = difference.energy - offset;
  const Real luminance = offset * reciprocal(denominators.brightness + offset);
  const Real contrast = variance * reciprocal(denominators.contrast + variance);
  contrast_structure = contrast;
  ssim = fused(luminance, fused(static_cast<Real>(-2), contrast, static_cast<Real>(1)), contrast);
}

// What squared errors are summed in: integers exactly.
template <typename T>
using ErrorSum =
    std::conditional_t<std::is_same_v<T, uint8_t>, unsigned int,
                       std::conditional_t<std::is_integral_v<T>, unsigned long long, RealOf<T>>>;

template <typename Sum, typename Pixel, typename Real>
__device__ Sum squared_error(Pixel x, Pixel y, [[maybe_unused]] Real difference_energy) {
  if constexpr (std::is_integral_v<Pixel>) {
    const auto difference = static_cast<unsigned int>(x - y);
    return difference * difference;
  } else {
    return difference_energy;
  }
}

// partials is [planes, tiles, 3]: sums of the dissimilarities and of squared errors. A tile has the
// positions of the window that start in its rows and columns, and of those rows the pixels
// kSize - 1 below, where the windows end; the first tile of a plane has the rows above too.
template <typename T, typename Window>
__global__ void __launch_bounds__(Tuning<RealOf<T>>::kMostThreads, Tuning<RealOf<T>>::kBlocks)
    score_tiles(Pair pair, Tiling tiling, Scaling<RealOf<T>> scaling, int64_t images,
                unsigned int channels, Halved halved, double* partials) {
  using Real = RealOf<T>;
  constexpr int kSize = Window::kSize;
  constexpr int kMargin = kSize - 1;
  static_assert(shared_bytes<Real, Window>(Tuning<Real>::kMostThreads) <= kMostShared);
  const int thread = threadIdx.x;
  const Tasks<Window> tasks(blockDim.x);
  const int task_row = thread / tasks.across;
  const int task_column = thread % tasks.across * kSize;
  Moments<Real>* const sums = reinterpret_cast<Moments<Real>*>(dynamic_shared);
  Moments<Real>* const differences = sums + tasks.columns * kSize;

  // The channels of a tile follow each other: those of interleaved frames share what they read.
  const int tiles = tiling.across * tiling.down;
  const int tile = static_cast<int>(blockIdx.x / channels);
  const int channel = static_cast<int>(blockIdx.x % channels);
  const bool is_top = tile < tiling.across;
  const bool is_bottom = tile >= tiles - tiling.across;
  const bool is_right = tile % tiling.across == tiling.across - 1;
  const int64_t first_row = static_cast<int64_t>(tile / tiling.across) * tiling.rows;
  const int64_t first_column = static_cast<int64_t>(tile % tiling.across) * tiling.columns;

  for (int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    const int64_t plane = image * channels + channel;
    if (halved.preds != nullptr) {
      const int64_t end_row = is_bottom ? pair.height : first_row + tiling.rows;
      const int64_t end_column = is_right ? pair.width : first_column + tiling.columns;
      halve_tile<T>(pair, image, channel, plane, (first_row + 1) / 2, (end_row + 1) / 2,
                    (first_column + 1) / 2, (end_column + 1) / 2, halved);
    }

    // What is left of the plane from here, as far as the tile can use it.
    const int64_t right = pair.width - first_column;
    const int64_t below = pair.height - first_row;
    const int most_rows = tiling.rows + kMargin;
    const int columns = static_cast<int>(right < blockDim.x ? right : blockDim.x);
    int rows_left = static_cast<int>(below < most_rows ? below : most_rows);
    const int task_count = columns - kMargin - task_column;  // of kSize outputs, those that exist

    // A thread to the right of the plane reads the last column. Nothing comes of it.
    Cursor<T> cursor(pair, image, channel, first_row,
                     first_column + (thread < columns ? thread : columns - 1));
    Column<Real, Window> sum;
    Column<Real, Window> difference;
    Real ssim = 0;
    Real contrast_structure = 0;
    ErrorSum<T> error = 0;
    {
      Loaded<T> x[kMargin];
      Loaded<T> y[kMargin];
      cursor.read(x, y, 0, kMargin);
#pragma unroll
      for (int i = 0; i < kMargin; ++i) {
        sum.push(i + 1, sum_of(x[i], y[i], scaling));
        difference.push(i + 1, difference_of(x[i], y[i], scaling));
        error += squared_error<ErrorSum<T>>(x[i], y[i], difference.energy.value[i + 1]);
      }
      if (!is_top) error = 0;
    }
    rows_left -= kMargin;

    Loaded<T> x[kSize];
    Loaded<T> y[kSize];
    cursor.read(x, y, 0, rows_left);
    while (rows_left > 0) {
      sum.resume();
      difference.resume();
      ErrorSum<T> group_error = 0;
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        sum.push(i, sum_of(x[i], y[i], scaling));
        difference.push(i, difference_of(x[i], y[i], scaling));
        group_error += squared_error<ErrorSum<T>>(x[i], y[i], difference.energy.value[i]);
        sums[thread * kSize + i] = sum.means(i);
        differences[thread * kSize + i] = difference.means(i);
      }
      error += group_error;
      __syncthreads();

      if (task_row < kSize && task_row < rows_left) {
        const int first = task_column * kSize + task_row;
        Moments<Real> means[kSize];
        Denominators<Real> denominators[kSize];
        blur_across<Real, Window>(sums + first, means);
#pragma unroll
        for (int k = 0; k < kSize; ++k) denominators[k] = {means[k], scaling};
        blur_across<Real, Window>(differences + first, means);
        Real group_ssim = 0;
        Real group_contrast_structure = 0;
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          Real of_ssim;
          Real of_contrast_structure;
          dissimilarity(denominators[k], means[k], of_ssim, of_contrast_structure);
          if (k < task_count) {
            group_ssim += of_ssim;
            group_contrast_structure += of_contrast_structure;
          }
        }
        ssim += group_ssim;
        contrast_structure += group_contrast_structure;
      }

      rows_left -= kSize;
      if (rows_left > 0) cursor.read(x, y, 0, rows_left);  // on its way during the barrier
      __syncthreads();
    }

    const bool owns_column = thread < (is_right ? columns : tiling.columns);
    const double values[kStatistics] = {ssim, contrast_structure,
                                        owns_column ? static_cast<double>(error) : 0};
    const double total = reduce_block<Tuning<Real>::kMostThreads>(values);
    if (thread < kStatistics) partials[(plane * tiles + tile) * kStatistics + thread] = total;
  }
}

// One scale in the last launch.
struct Part {
  const double* partials;
  int64_t tiles;
  double positions;   // of the window in a plane
  double error_unit;  // of the partial sums
};

struct Parts {
  Part of_scale[kMostScales];
};

// A warp to each of [planes, scales].
__global__ void __launch_bounds__(kFinishThreads)
    finish(Parts parts, int64_t planes, int64_t scales, double* result) {
  constexpr int kWarps = kFinishThreads / 32;
  const int lane = threadIdx.x % 32;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
       row < planes * scales; row += static_cast<int64_t>(gridDim.x) * kWarps) {
    const Part& part = parts.of_scale[row % scales];
    const double* const partials = part.partials + row / scales * part.tiles * kStatistics;
    double sums[kStatistics] = {};
    for (int64_t tile = lane; tile < part.tiles; tile += 32) {
#pragma unroll
      for (int k = 0; k < kStatistics; ++k) sums[k] += partials[tile * kStatistics + k];
    }
#pragma unroll
    for (int k = 0; k < kStatistics; ++k) {
      for (int step = 16; step > 0; step /= 2)
        sums[k] += __shfl_down_sync(0xffffffffu, sums[k], step);
    }
    if (lane == 0) {
      result[row * kStatistics + 0] = 1 - 2 * sums[0] / part.positions;
      result[row * kStatistics + 1] = 1 - 2 * sums[1] / part.positions;
      result[row * kStatistics + 2] = sums[2] * part.error_unit;
    }
  }
}

struct Level {
  Element element;
  int64_t height;
  int64_t width;
  double unit;  // a pixel of 1, in units of the frames: less than that of sums
  Tiling tiling;
};

Level make_level(Element element, int64_t height, int64_t width, double unit, bool uniform) {
  const int size = uniform ? Uniform::kSize : Gaussian::kSize;
  const int64_t rows = height - size + 1;
  const int64_t columns = width - size + 1;
  const auto tiling = [&](auto tuning) {
    return make_tiling(rows, columns, size, size - 1, 0, tuning.kMostThreads, tuning.kMostGroups);
  };
  return {element, height, width, unit,
          element == Element::kFloat64 ? tiling(Tuning<double>()) : tiling(Tuning<float>())};
}

bool is_integer(Element element) {
  return element == Element::kUint8 || element == Element::kUint16;
}

Level next_level(const Level& level, bool uniform) {
  const bool integer = is_integer(level.element);
  const Element element = integer                              ? Element::kUint16
                          : level.element == Element::kFloat64 ? Element::kFloat64
                                                               : Element::kFloat32;
  return make_level(element, (level.height + 1) / 2, (level.width + 1) / 2,
                    integer ? level.unit / 4 : level.unit, uniform);
}

// Scratch in pieces of whole 16 bytes.
int64_t padded(int64_t bytes) { return divide_up(bytes, 16) * 16; }

int64_t partials_bytes(const Level& level, int64_t planes) {
  return padded(planes * level.tiling.tiles() * kStatistics * sizeof(double));
}

int64_t plane_bytes(const Level& level, int64_t planes) {
  const int64_t size = level.element == Element::kUint16    ? 2
                       : level.element == Element::kFloat64 ? 8
                                                            : 4;
  return padded(planes * level.height * level.width * size);
}

template <typename T, typename Window>
cudaError_t score(const Pair& pair, const Level& level, int64_t images, int64_t channels,
                  double data_range, const Halved& halved, double* partials, void* stream) {
  const Tiling& tiling = level.tiling;
  const auto scaling =
      make_scaling<RealOf<T>>(std::is_integral_v<T>, data_range / level.unit, 255 / level.unit);
  return launch(score_tiles<T, Window>, tiling.tiles() * channels, images, tiling.threads,
                shared_bytes<RealOf<T>, Window>(tiling.threads), stream, pair, tiling, scaling,
                images, channels, halved, partials);
}

template <typename T, typename... Arguments>
cudaError_t score(bool uniform, const Arguments&... arguments) {
  return uniform ? score<T, Uniform>(arguments...) : score<T, Gaussian>(arguments...);
}

template <typename... Arguments>
cudaError_t score(Element element, const Arguments&... arguments) {
  switch (element) {
    case Element::kUint8:
      return score<uint8_t>(arguments...);
    case Element::kUint16:
      return score<uint16_t>(arguments...);
    case Element::kFloat16:
      return score<Half>(arguments...);
    case Element::kBfloat16:
      return score<Bfloat16>(arguments...);
    case Element::kFloat32:
      return score<float>(arguments...);
    case Element::kFloat64:
      return score<double>(arguments...);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

int64_t wmscore_frame_ssim_scratch(Element element, int64_t images, int64_t channels,
                                   int64_t height, int64_t width, bool uniform, int64_t scales) {
  const int64_t planes = images * channels;
  Level level = make_level(element, height, width, 1, uniform);
  int64_t bytes = partials_bytes(level, planes);
  for (int64_t scale = 1; scale < scales; ++scale) {
    level = next_level(level, uniform);
    bytes += partials_bytes(level, planes) + 2 * plane_bytes(level, planes);
  }
  return bytes;
}

int32_t wmscore_frame_ssim_cuda(Element element, Images preds, Images target, int64_t images,
                                int64_t channels, int64_t height, int64_t width, double data_range,
                                bool uniform, int64_t scales, void* scratch, double* result,
                                void* stream) {
  if (scales > kMostScales) return cudaErrorInvalidValue;
  const int64_t planes = images * channels;
  const int size = uniform ? Uniform::kSize : Gaussian::kSize;
  char* free = static_cast<char*>(scratch);
  const auto take = [&free](int64_t bytes) { return std::exchange(free, free + bytes); };

  Pair pair = {preds, target, height, width};
  Level level = make_level(element, height, width, 1, uniform);
  Parts parts = {};
  for (int64_t scale = 0; scale < scales; ++scale) {
    double* const partials = reinterpret_cast<double*>(take(partials_bytes(level, planes)));
    const double positions =
        static_cast<double>(level.height - size + 1) * static_cast<double>(level.width - size + 1);
    const double error_unit =
        is_integer(level.element) ? level.unit * level.unit : data_range * data_range;
    parts.of_scale[scale] = {partials, level.tiling.tiles(), positions, error_unit};
    const bool is_last = scale + 1 == scales;
    const Level next = is_last ? Level{} : next_level(level, uniform);
    Halved halved = {};
    if (!is_last) halved = {take(plane_bytes(next, planes)), take(plane_bytes(next, planes))};
    const cudaError_t error = score(level.element, uniform, pair, level, images, channels,
                                    data_range, halved, partials, stream);
    if (error != cudaSuccess) return error;
    pair = contiguous_pair(halved.preds, halved.target, channels, next.height, next.width);
    level = next;
  }
  const int64_t blocks = divide_up(planes * scales, kFinishThreads / 32);
  return launch(finish, blocks < kMostGridX ? blocks : kMostGridX, 1, kFinishThreads, 0, stream,
                parts, planes, scales, result);
}
