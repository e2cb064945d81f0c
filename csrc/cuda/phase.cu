// Global motion on a device. Orientation works on tiles whose luma is read once into shared memory;
// of the other three a block takes one pair of frames, so that results depend on nothing but the
// pair, and sums have one order.
#include <cuda_runtime.h>

#include "../kernels.h"
#include "../phase.h"
#include "blocks.h"

namespace {

using namespace wmscore;  // the constants of phase.h

constexpr int kTileRows = 16, kTileColumns = 64, kHalo = 2;
constexpr int kSharedColumns = kTileColumns + 2 * kHalo;
constexpr int kSharedRows = kTileRows + 2 * kHalo;

template <typename P, typename T>
__device__ T luma_at(const P* image, const Images& frames, bool is_rgb, int64_t y, int64_t x) {
  const T scale = sizeof(P) == 1 ? T(1) : T(255);
  const P* data = image + y * frames.row + x * frames.pixel;
  const T red = static_cast<T>(widen(data[0])) * scale;
  if (!is_rgb) return red;
  const T green = static_cast<T>(widen(data[frames.channel])) * scale;
  const T blue = static_cast<T>(widen(data[2 * frames.channel])) * scale;
  return static_cast<T>(kLevelRed) * red + static_cast<T>(kLevelGreen) * green +
         static_cast<T>(kLevelBlue) * blue;
}

template <typename P, typename T>
__global__ void __launch_bounds__(kThreads)
    orient(Images frames, int64_t images, bool is_rgb, int64_t height, int64_t width, bool window,
           T* fields, T* lumas) {
  __shared__ T tile[kSharedRows][kSharedColumns];
  const int64_t across = (width + kTileColumns - 1) / kTileColumns;
  const int64_t tiles = (height + kTileRows - 1) / kTileRows * across;
  for (int64_t item = blockIdx.x; item < images * tiles; item += gridDim.x) {
    const int64_t n = item / tiles;
    const int64_t top = (item - n * tiles) / across * kTileRows;
    const int64_t left = (item - n * tiles) % across * kTileColumns;
    const P* const image = static_cast<const P*>(frames.data) + n * frames.image;
    for (int i = threadIdx.x; i < kSharedRows * kSharedColumns; i += kThreads) {
      const int64_t y = clamp_index(top + i / kSharedColumns - kHalo, height);
      const int64_t x = clamp_index(left + i % kSharedColumns - kHalo, width);
      tile[i / kSharedColumns][i % kSharedColumns] = luma_at<P, T>(image, frames, is_rgb, y, x);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows * kTileColumns; i += kThreads) {
      const int row = i / kTileColumns, column = i % kTileColumns;
      const int64_t y = top + row, x = left + column;
      if (y >= height || x >= width) continue;
      T west = tile[row + 2][column + 1], east = tile[row + 2][column + 3];
      T north = tile[row + 1][column + 2], south = tile[row + 3][column + 2];
      T weight = 1;
      if (window) {
        weight = hann<T>(y, height) * hann<T>(x, width);
      } else {  // the frame is periodic
        if (x == 0) west = luma_at<P, T>(image, frames, is_rgb, y, width - 1);
        if (x == width - 1) east = luma_at<P, T>(image, frames, is_rgb, y, 0);
        if (y == 0) north = luma_at<P, T>(image, frames, is_rgb, height - 1, x);
        if (y == height - 1) south = luma_at<P, T>(image, frames, is_rgb, 0, x);
      }
      const T gx = (east - west) / 2, gy = (south - north) / 2;
      const T soft = static_cast<T>(kSoftEdge);
      const T scale = weight / sqrt(gx * gx + gy * gy + soft * soft);
      T smooth = 0;
      constexpr int kTaps[5] = {1, 4, 6, 4, 1};
#pragma unroll
      for (int k = 0; k < 5; ++k) {
        const T* const line = &tile[row + k][column];
        const T sum = line[0] + 4 * line[1] + 6 * line[2] + 4 * line[3] + line[4];
        smooth += kTaps[k] * sum;
      }
      const int64_t pixel = (n * height + y) * width + x;
      T* const field = fields + 2 * pixel;
      field[0] = gx * scale;
      field[1] = gy * scale;
      lumas[pixel] = smooth / 256;
    }
    __syncthreads();  // the next tile is written to the same place
  }
}

template <typename T>
struct Power {
  T re, im, size;
};

template <typename T>
__device__ Power<T> power_at(const T* a, const T* b, int64_t at) {
  const T ar = a[2 * at], ai = a[2 * at + 1], br = b[2 * at], bi = b[2 * at + 1];
  const T re = br * ar + bi * ai, im = bi * ar - br * ai;
  const T root = sqrt(sqrt(re * re + im * im));
  const T scale = root == 0 ? T(0) : T(1) / root;
  return {re * scale, im * scale, root};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    cross(const T* spectra, const T* followings, int64_t pairs, int64_t height, int64_t width,
          T* powers, T* totals) {
  const int64_t half = width / 2 + 1;
  for (int64_t n = blockIdx.x; n < pairs; n += gridDim.x) {
    const T* const a = spectra + n * height * width * 2;
    const T* const b = followings + n * height * width * 2;
    T* const power = powers + n * height * half * 2;
    double total[1] = {};
    for (int64_t i = threadIdx.x; i < height * half; i += kThreads) {
      const int64_t y = i / half, x = i - y * half;
      const bool is_alone = x == 0 || 2 * x == width;  // -f has its own turn as another row
      const int64_t mirror = (y == 0 ? 0 : height - y) * width + (x == 0 ? 0 : width - x);
      const Power<T> one = power_at(a, b, y * width + x), other = power_at(a, b, mirror);
      const T gauss = exp(-static_cast<T>(kLowPass) *
                          (squared_frequency<T>(y, height) + squared_frequency<T>(x, width)));
      power[2 * i] = gauss * (one.re + other.re) / 2;
      power[2 * i + 1] = gauss * (one.im - other.im) / 2;
      total[0] += gauss * (is_alone ? one.size : one.size + other.size);
    }
    const double sum = reduce_block(total);
    if (threadIdx.x == 0) totals[n] = static_cast<T>(sum);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    find_peaks(const T* surfaces, int64_t count, int64_t height, int64_t width, int64_t reach_y,
               int64_t reach_x, int64_t* shifts, T* values) {
  __shared__ T scores[kThreads];
  __shared__ int64_t places[kThreads];
  const T part = static_cast<T>(kTie * 4 / (height * height + width * width));
  for (int64_t n = blockIdx.x; n < count; n += gridDim.x) {
    const T* const surface = surfaces + n * height * width;
    T best = -static_cast<T>(INFINITY);
    int64_t place = 0;
    for (int64_t i = threadIdx.x; i < height * width; i += kThreads) {
      const int64_t y = i / width, x = i - y * width;
      const int64_t dy = y < (height + 1) / 2 ? y : y - height;
      const int64_t dx = x < (width + 1) / 2 ? x : x - width;
      const bool within_reach = dy <= reach_y && -dy <= reach_y && dx <= reach_x && -dx <= reach_x;
      const T score = surface[i] * (1 - static_cast<T>(dy * dy + dx * dx) * part);
      if (within_reach && score > best) {
        best = score;
        place = i;
      }
    }
    scores[threadIdx.x] = best;
    places[threadIdx.x] = place;
    for (int step = kThreads / 2; step > 0; step /= 2) {
      __syncthreads();
      if (static_cast<int>(threadIdx.x) < step) {
        const int other = threadIdx.x + step;
        const bool is_first =
            scores[other] == scores[threadIdx.x] && places[other] < places[threadIdx.x];
        if (scores[other] > scores[threadIdx.x] || is_first) {
          scores[threadIdx.x] = scores[other];
          places[threadIdx.x] = places[other];
        }
      }
    }
    if (threadIdx.x == 0) {
      const int64_t y = places[0] / width, x = places[0] % width;
      shifts[2 * n] = y < (height + 1) / 2 ? y : y - height;
      shifts[2 * n + 1] = x < (width + 1) / 2 ? x : x - width;
      values[n] = surface[places[0]];
    }
    __syncthreads();  // the next surface's scores are written to the same place
  }
}

// Six points of one row of the following frame, interpolated across.
template <typename T>
__device__ T across_row(const T* row, const Taps<T>& taps, int64_t x, int64_t width) {
  T value = 0;
#pragma unroll
  for (int k = 0; k < 6; ++k) value += taps.weight[k] * row[clamp_index(x + taps.first + k, width)];
  return value;
}

// This thread's part of the sums of one round. A thread walks down a strip of rows in one column
// with six interpolated rows in registers, so that a pixel costs six loads and not 36.
template <bool kWeigh, typename T>
__device__ void refine_strips(const T* luma, const T* following, int64_t height, int64_t width,
                              const SharedSide& rows, const SharedSide& columns, double y, double x,
                              T spread, T brighter, T slack, double (&sums)[kRefineSums]) {
  const Taps<T> down = Taps<T>::of(y), across = Taps<T>::of(x);
  const int64_t all_columns = columns.last - columns.first, all_rows = rows.last - rows.first;
  if (all_columns <= 0 || all_rows <= 0) return;
  int64_t strips = (kThreads + all_columns - 1) / all_columns;
  if (strips > all_rows) strips = all_rows;
  const int64_t strip_rows = (all_rows + strips - 1) / strips;
  for (int64_t item = threadIdx.x; item < all_columns * strips; item += kThreads) {
    const int64_t column = columns.first + item % all_columns;
    const int64_t first = rows.first + item / all_columns * strip_rows;
    const int64_t last = first + strip_rows < rows.last ? first + strip_rows : rows.last;
    if (first >= last) continue;
    const T of_column = columns.window<T>(column);
    const auto sampled = [&](int64_t row) {
      return across_row(following + clamp_index(row, height) * width, across,
                        column + columns.shift, width);
    };
    const int64_t offset = rows.shift + down.first;
    T lines[6];
#pragma unroll
    for (int k = 0; k < 5; ++k) lines[k + 1] = sampled(first + offset + k);
    const T* here = luma + first * width + column;
    T above = here[-width], centre = here[0];
    for (int64_t row = first; row < last; ++row, here += width) {
#pragma unroll
      for (int k = 0; k < 5; ++k) lines[k] = lines[k + 1];
      lines[5] = sampled(row + offset + 5);
      T value = 0;
#pragma unroll
      for (int k = 0; k < 6; ++k) value += down.weight[k] * lines[k];
      const T below = here[width];
      const T residual = value - centre - brighter;
      T weight = rows.window<T>(row) * of_column;
      if (kWeigh) {
        const T gy = (below - above) / 2, gx = (here[1] - here[-1]) / 2;
        const T bound = static_cast<T>(kTukey) * spread + slack * sqrt(gy * gy + gx * gx) +
                        static_cast<T>(1e-9);
        const T share = residual / bound;
        const T left = 1 - share * share;
        const T stays = left < 0 ? T(0) : left;  // NaN stays
        weight *= stays * stays;
        sums[kYY] += weight * gy * gy;
        sums[kXX] += weight * gx * gx;
        sums[kYX] += weight * gy * gx;
        sums[kY] += weight * gy * residual;
        sums[kX] += weight * gx * residual;
      }
      sums[kResidual] += weight * residual;
      sums[kAbsolute] += weight * fabs(residual);
      sums[kKept] += weight;
      above = centre;
      centre = below;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    refine(const T* lumas, const T* followings, const int64_t* shifts, int64_t pairs,
           int64_t height, int64_t width, double* results) {
  __shared__ double totals[kRefineSums];
  for (int64_t n = blockIdx.x; n < pairs; n += gridDim.x) {
    const T* const luma = lumas + n * height * width;
    const T* const following = followings + n * height * width;
    const SharedSide rows = SharedSide::of(height, shifts[2 * n]);
    const SharedSide columns = SharedSide::of(width, shifts[2 * n + 1]);
    double y = 0, x = 0, all = 0, brighter = 0;
    for (int turn = -1; turn < kRefineRounds; ++turn) {
      double sums[kRefineSums] = {};
      if (turn < 0) {
        refine_strips<false, T>(luma, following, height, width, rows, columns, 0, 0, 0, 0, 0, sums);
      } else {
        const T spread = static_cast<T>(ratio(totals[kAbsolute], totals[kKept]));
        brighter += ratio(totals[kResidual], totals[kKept]);
        refine_strips<true, T>(luma, following, height, width, rows, columns, y, x, spread,
                               static_cast<T>(brighter), static_cast<T>(slack_of(turn)), sums);
      }
      const double total = reduce_block(sums);  // all have read the last totals when it returns
      if (threadIdx.x < kRefineSums) totals[threadIdx.x] = total;
      __syncthreads();
      if (turn < 0)
        all = totals[kKept];
      else
        take_step(totals, y, x);  // every thread the same
    }
    if (threadIdx.x == 0) {
      results[3 * n] = static_cast<double>(shifts[2 * n]) + y;
      results[3 * n + 1] = static_cast<double>(shifts[2 * n + 1]) + x;
      results[3 * n + 2] = ratio(totals[kKept], all);
    }
    __syncthreads();  // the next pair writes the totals again
  }
}

template <typename P, typename T>
int32_t launch_orient(const Images& frames, int64_t images, bool is_rgb, int64_t height,
                      int64_t width, bool window, void* field, void* luma, void* stream) {
  const int64_t tiles =
      (height + kTileRows - 1) / kTileRows * ((width + kTileColumns - 1) / kTileColumns);
  return launch(orient<P, T>, images * tiles, stream, frames, images, is_rgb, height, width, window,
                static_cast<T*>(field), static_cast<T*>(luma));
}

template <typename T>
int32_t launch_refine(const void* luma, const void* following, const int64_t* shift, int64_t pairs,
                      int64_t height, int64_t width, double* result, void* stream) {
  return launch(refine<T>, pairs, stream, static_cast<const T*>(luma),
                static_cast<const T*>(following), shift, pairs, height, width, result);
}

template <typename T>
int32_t launch_cross(const void* spectrum, const void* following, int64_t pairs, int64_t height,
                     int64_t width, void* power, void* total, void* stream) {
  return launch(cross<T>, pairs, stream, static_cast<const T*>(spectrum),
                static_cast<const T*>(following), pairs, height, width, static_cast<T*>(power),
                static_cast<T*>(total));
}

template <typename T>
int32_t launch_peaks(const void* surface, int64_t count, int64_t height, int64_t width,
                     int64_t reach_y, int64_t reach_x, int64_t* shift, void* value, void* stream) {
  return launch(find_peaks<T>, count, stream, static_cast<const T*>(surface), count, height, width,
                reach_y, reach_x, shift, static_cast<T*>(value));
}

}  // namespace

int32_t wmscore_edge_orientation_cuda(Element element, Images frames, int64_t images,
                                      int64_t channels, int64_t height, int64_t width, bool window,
                                      void* field, void* luma, void* stream) {
  const auto run = [&](auto function) {
    return function(frames, images, channels == 3, height, width, window, field, luma, stream);
  };
  switch (element) {
    case Element::kUint8:
      return run(launch_orient<uint8_t, float>);
    case Element::kFloat16:
      return run(launch_orient<Half, float>);
    case Element::kBfloat16:
      return run(launch_orient<Bfloat16, float>);
    case Element::kFloat32:
      return run(launch_orient<float, float>);
    case Element::kFloat64:
      return run(launch_orient<double, double>);
    default:
      return cudaErrorInvalidValue;
  }
}

int32_t wmscore_cross_power_cuda(bool is_double, const void* spectrum, const void* following,
                                 int64_t pairs, int64_t height, int64_t width, void* power,
                                 void* total, void* stream) {
  const auto run = is_double ? launch_cross<double> : launch_cross<float>;
  return run(spectrum, following, pairs, height, width, power, total, stream);
}

int32_t wmscore_correlation_peak_cuda(bool is_double, const void* surface, int64_t surfaces,
                                      int64_t height, int64_t width, int64_t reach_y,
                                      int64_t reach_x, int64_t* shift, void* value, void* stream) {
  const auto run = is_double ? launch_peaks<double> : launch_peaks<float>;
  return run(surface, surfaces, height, width, reach_y, reach_x, shift, value, stream);
}

int32_t wmscore_shift_refine_cuda(bool is_double, const void* luma, const void* following,
                                  const int64_t* shift, int64_t pairs, int64_t height,
                                  int64_t width, double* result, void* stream) {
  const auto run = is_double ? launch_refine<double> : launch_refine<float>;
  return run(luma, following, shift, pairs, height, width, result, stream);
}
