// FLIP of pairs of frames, without an intermediate in device memory, the same bits in each run: a
// block takes one tile, filters it in shared memory, one frame after the other, and sums its errors
// in a fixed order; a second kernel sums the tiles in order. The tiles depend on the size of a
// frame alone, so a frame's result does not depend on the batch around it or on the device.
#include <cuda_runtime.h>

#include <type_traits>

#include "../flip.h"
#include "../kernels.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FlipFilters;
using wmscore::FlipTaps;
using wmscore::Half;
using wmscore::Images;
using wmscore::Seen;

// Pixels that a thread computes at a time, in a line: each sample that it reads serves all of them.
constexpr int kRun = 4;
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 16;
constexpr int kThreads = kTileWidth * kTileHeight / kRun;
constexpr int kWarps = kThreads / 32;
static_assert(kTileHeight % kRun == 0 && kTileWidth % kRun == 0, "runs must not cross a border");

constexpr int kPlanes = 3;   // y, cx, cz
constexpr int kColumns = 4;  // results of the filters down the columns, at a time

// A tile and what its filters reach, in shared memory. The pitch is odd: then threads whose runs
// are side by side and on four rows read from 32 banks.
struct Layout {
  int width, height, pitch;

  __host__ __device__ explicit Layout(int reach)
      : width(kTileWidth + 2 * reach),
        height(kTileHeight + 2 * reach),
        pitch(width + (width + 1) % 2) {}

  __host__ __device__ int plane() const { return height * pitch; }
  __host__ __device__ int column() const { return kTileHeight * pitch; }
  __host__ __device__ int floats() const { return kPlanes * plane() + kColumns * column(); }
};

constexpr int kTable = 256;  // floats behind the layout: linear values of uint8

// Samples k before and k after each of the kRun pixels from `centre`, `stride` floats apart: one
// read for each side and step.
struct Runs {
  const float* centre;
  int stride;
  float before[kRun], after[kRun];

  __device__ Runs(const float* centre, int stride) : centre(centre), stride(stride) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) before[i] = after[i] = centre[i * stride];
  }

  __device__ void step(int k) {
#pragma unroll
    for (int i = kRun - 1; i > 0; --i) before[i] = before[i - 1];
    before[0] = centre[-k * stride];
#pragma unroll
    for (int i = 0; i < kRun - 1; ++i) after[i] = after[i + 1];
    after[kRun - 1] = centre[(kRun - 1 + k) * stride];
  }
};

// Adds a symmetric filter of the pixels.
__device__ void add_filtered(const float* centre, int stride, const FlipTaps& taps, int reach,
                             float (&sum)[kRun]) {
  Runs runs(centre, stride);
#pragma unroll
  for (int i = 0; i < kRun; ++i) sum[i] += taps[0] * runs.before[i];
#pragma unroll 4
  for (int k = 1; k <= reach; ++k) {
    runs.step(k);
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] += taps[k] * (runs.before[i] + runs.after[i]);
  }
}

// Adds both derivatives of the pixels. The taps of the second sum to 0; subtracting the centre
// makes that exact where all is flat: features enter the error by their root, which would magnify
// what rounding leaves.
__device__ void add_derivatives(const float* centre, int stride, const FlipFilters& filters,
                                float (&edge)[kRun], float (&point)[kRun]) {
  Runs runs(centre, stride);
  float twice[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) twice[i] = 2.0f * runs.before[i];
#pragma unroll 4
  for (int k = 1; k <= filters.feature_reach; ++k) {
    runs.step(k);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      edge[i] += filters.edge[k] * (runs.before[i] - runs.after[i]);
      point[i] += filters.point[k] * (runs.before[i] + runs.after[i] - twice[i]);
    }
  }
}

__device__ void write_run(const float (&values)[kRun], float* out, int pitch) {
#pragma unroll
  for (int i = 0; i < kRun; ++i) out[i * pitch] = values[i];
}

template <typename T>
__device__ float linear_of(T value, const float* table) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    return table[value];
  } else {
    return wmscore::linear_of_srgb(wmscore::clamp01(static_cast<float>(wmscore::widen(value))));
  }
}

__device__ int64_t clamp_index(int64_t index, int64_t size) {
  return index < 0 ? 0 : index < size ? index : size - 1;
}

// The tile at (top, left) and what its filters reach to opponent colours; the border repeats.
template <typename T>
__device__ void read_tile(const Images& frames, int64_t image, int64_t top, int64_t left,
                          int64_t height, int64_t width, int reach, const Layout& layout,
                          const float* table, float* planes) {
  const T* data = static_cast<const T*>(frames.data) + image * frames.image;
  for (int i = threadIdx.x; i < layout.width * layout.height; i += kThreads) {
    const int row = i / layout.width;
    const int column = i - row * layout.width;
    const T* pixel = data + clamp_index(top + row - reach, height) * frames.row +
                     clamp_index(left + column - reach, width) * frames.pixel;
    const wmscore::Opponent colour = wmscore::opponent_of_linear(
        linear_of(pixel[0], table), linear_of(pixel[frames.channel], table),
        linear_of(pixel[2 * frames.channel], table));
    float* out = planes + row * layout.pitch + column;
    out[0] = colour.y;
    out[layout.plane()] = colour.cx;
    out[2 * layout.plane()] = colour.cz;
  }
}

// The columns of brightness: as it is seen, smooth, and both derivatives.
__device__ void filter_brightness_down(const FlipFilters& filters, const Layout& layout,
                                       const float* planes, float* columns) {
  for (int i = threadIdx.x; i < layout.width * (kTileHeight / kRun); i += kThreads) {
    const int row = i / layout.width * kRun;
    const int at = row * layout.pitch + i % layout.width;
    const float* centre = planes + filters.reach * layout.pitch + at;
    float seen[kRun] = {}, smooth[kRun] = {}, edge[kRun] = {}, point[kRun] = {};
    add_filtered(centre, layout.pitch, filters.brightness, filters.feature_reach, seen);
    add_filtered(centre, layout.pitch, filters.smooth, filters.feature_reach, smooth);
    add_derivatives(centre, layout.pitch, filters, edge, point);
    write_run(seen, columns + at, layout.pitch);
    write_run(smooth, columns + layout.column() + at, layout.pitch);
    write_run(edge, columns + 2 * layout.column() + at, layout.pitch);
    write_run(point, columns + 3 * layout.column() + at, layout.pitch);
  }
}

// The columns of both colours: red-green, and the two terms of blue-yellow.
__device__ void filter_colour_down(const FlipFilters& filters, const Layout& layout,
                                   const float* planes, float* columns) {
  for (int i = threadIdx.x; i < layout.width * (kTileHeight / kRun); i += kThreads) {
    const int row = i / layout.width * kRun;
    const int at = row * layout.pitch + i % layout.width;
    const float* cx = planes + layout.plane() + filters.reach * layout.pitch + at;
    const float* cz = cx + layout.plane();
    float red_green[kRun] = {}, wide[kRun] = {}, narrow[kRun] = {};
    add_filtered(cx, layout.pitch, filters.red_green, filters.chroma_reach, red_green);
    add_filtered(cz, layout.pitch, filters.blue_yellow[0], filters.reach, wide);
    add_filtered(cz, layout.pitch, filters.blue_yellow[1], filters.reach, narrow);
    write_run(red_green, columns + at, layout.pitch);
    write_run(wide, columns + layout.column() + at, layout.pitch);
    write_run(narrow, columns + 2 * layout.column() + at, layout.pitch);
  }
}

template <typename T>
__device__ void see_tile(const Images& frames, int64_t image, int64_t top, int64_t left,
                         int64_t height, int64_t width, const FlipFilters& filters,
                         const Layout& layout, const float* table, float* planes, float* columns,
                         Seen (&seen)[kRun]) {
  read_tile<T>(frames, image, top, left, height, width, filters.reach, layout, table, planes);
  __syncthreads();
  filter_brightness_down(filters, layout, planes, columns);
  __syncthreads();
  const float* centre = columns + threadIdx.x / (kTileWidth / kRun) * layout.pitch +
                        threadIdx.x % (kTileWidth / kRun) * kRun + filters.reach;
  float y[kRun] = {}, edge_x[kRun] = {}, edge_y[kRun] = {}, point_x[kRun] = {}, point_y[kRun] = {};
  add_filtered(centre, 1, filters.brightness, filters.feature_reach, y);
  add_derivatives(centre + layout.column(), 1, filters, edge_x, point_x);
  add_filtered(centre + 2 * layout.column(), 1, filters.smooth, filters.feature_reach, edge_y);
  add_filtered(centre + 3 * layout.column(), 1, filters.smooth, filters.feature_reach, point_y);
  __syncthreads();
  filter_colour_down(filters, layout, planes, columns);
  __syncthreads();  // also before the next frame is read
  float cx[kRun] = {}, cz[kRun] = {};
  add_filtered(centre, 1, filters.red_green, filters.chroma_reach, cx);
  add_filtered(centre + layout.column(), 1, filters.blue_yellow[0], filters.reach, cz);
  add_filtered(centre + 2 * layout.column(), 1, filters.blue_yellow[1], filters.reach, cz);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    seen[i] = wmscore::seen_of({y[i], cx[i], cz[i]}, edge_x[i] * edge_x[i] + edge_y[i] * edge_y[i],
                               point_x[i] * point_x[i] + point_y[i] * point_y[i]);
  }
}

// Sums `value` over the block's threads, always in one order; thread 0 gets the total.
__device__ double reduce_block(double value) {
  __shared__ double of_warp[kWarps];
  for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  if (threadIdx.x == 0) {
    for (int w = 0; w < kWarps; ++w) total += of_warp[w];
  }
  __syncthreads();  // the next call writes of_warp again
  return total;
}

__host__ __device__ int64_t tiles_of(int64_t size, int64_t side) {
  return (size + side - 1) / side;
}

// Writes [image, tile].
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_tiles(Images preds, Images target, int64_t images, int64_t height, int64_t width,
              FlipFilters filters, double* out) {
  const Layout layout(filters.reach);
  float* const planes = reinterpret_cast<float*>(dynamic_shared);
  float* const columns = planes + kPlanes * layout.plane();
  float* const table = columns + kColumns * layout.column();
  if (std::is_same_v<T, uint8_t>) {
    for (int i = threadIdx.x; i < kTable; i += kThreads)
      table[i] = wmscore::linear_of_srgb(static_cast<float>(i) / 255.0f);
    __syncthreads();
  }
  const int64_t across = tiles_of(width, kTileWidth);
  const int64_t tiles = tiles_of(height, kTileHeight) * across;
  for (int64_t item = blockIdx.x; item < images * tiles; item += gridDim.x) {
    const int64_t image = item / tiles;
    const int64_t tile = item - image * tiles;
    const int64_t top = tile / across * kTileHeight;
    const int64_t left = tile % across * kTileWidth;
    Seen of_preds[kRun], of_target[kRun];
    see_tile<T>(preds, image, top, left, height, width, filters, layout, table, planes, columns,
                of_preds);
    see_tile<T>(target, image, top, left, height, width, filters, layout, table, planes, columns,
                of_target);
    const int64_t y = top + threadIdx.x / (kTileWidth / kRun);
    const int64_t x = left + threadIdx.x % (kTileWidth / kRun) * kRun;
    double sum = 0;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const float error =
          wmscore::flip_error(of_preds[i], of_target[i], filters.largest_difference);
      if (y < height && x + i < width) sum += error;
    }
    const double total = reduce_block(sum);
    if (threadIdx.x == 0) out[item] = total;
  }
}

// [images, tiles] to the mean over the pixels, [images].
__global__ void __launch_bounds__(kThreads)
    mean_of_tiles(const double* sums, int64_t images, int64_t tiles, double pixels, double* out) {
  for (int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    double sum = 0;
    for (int64_t tile = threadIdx.x; tile < tiles; tile += kThreads)
      sum += sums[image * tiles + tile];
    const double total = reduce_block(sum);
    if (threadIdx.x == 0) out[image] = total / pixels;
  }
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, size_t shared_bytes, void* stream,
                   Arguments... arguments) {
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernels stride over the rest
  constexpr size_t kAlwaysAllowed = 48 * 1024;
  if (shared_bytes > kAlwaysAllowed) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) {
      cudaGetLastError();  // clear it: it is returned
      return error;
    }
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

template <typename T>
cudaError_t run(const Images& preds, const Images& target, int64_t images, int64_t height,
                int64_t width, double pixels_per_degree, double* partials, double* means,
                void* stream) {
  const FlipFilters filters = wmscore::flip_filters(pixels_per_degree);
  const int64_t tiles = wmscore_frame_flip_tiles(height, width);
  const size_t shared_bytes = (Layout(filters.reach).floats() + kTable) * sizeof(float);
  const cudaError_t error = launch(sum_tiles<T>, images * tiles, shared_bytes, stream, preds,
                                   target, images, height, width, filters, partials);
  if (error != cudaSuccess) return error;
  return launch(mean_of_tiles, images, 0, stream, partials, images, tiles,
                static_cast<double>(height) * static_cast<double>(width), means);
}

}  // namespace

int64_t wmscore_frame_flip_tiles(int64_t height, int64_t width) {
  return tiles_of(height, kTileHeight) * tiles_of(width, kTileWidth);
}

int32_t wmscore_frame_flip_cuda(Element element, Images preds, Images target, int64_t images,
                                int64_t height, int64_t width, double pixels_per_degree,
                                double* partials, double* means, void* stream) {
  const auto run_as = [&](auto function) {
    return function(preds, target, images, height, width, pixels_per_degree, partials, means,
                    stream);
  };
  switch (element) {
    case Element::kUint8:
      return run_as(run<uint8_t>);
    case Element::kFloat16:
      return run_as(run<Half>);
    case Element::kBfloat16:
      return run_as(run<Bfloat16>);
    case Element::kFloat32:
      return run_as(run<float>);
    case Element::kFloat64:
      return run_as(run<double>);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
