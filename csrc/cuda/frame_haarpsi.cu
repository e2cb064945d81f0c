// HaarPSI of two stacks of frames, straight from their elements: a block keeps one tile of both
// planes in shared memory and sums it, and a second kernel sums the tiles of a frame in order. The
// tiles depend on the size of a frame alone, so a frame's result is the same bits in each run and
// in each batch.
#include <cuda_runtime.h>

#include <type_traits>

#include "../haarpsi.h"
#include "../kernels.h"
#include "blocks.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;
using wmscore::kThreads;
using wmscore::kWarps;

constexpr int kStatistics = 2;
constexpr int kTile = 32;  // pixels of the plane on each side
constexpr int kTileRowsPerThread = kTile / kWarps;

constexpr int kBefore = wmscore::kHaarpsiBefore;
constexpr int kAfter = wmscore::kHaarpsiAfter;

// Sides of what a tile needs, each of which starts kBefore pixels before the tile, but for chroma,
// which starts with it: luma, its sums over 2 x 2 and 4 x 4, I and Q.
constexpr int kSide1 = kTile + kBefore + kAfter;
constexpr int kSide2 = kSide1 - 1;
constexpr int kSide4 = kSide2 - 2;
constexpr int kSideChroma = kTile + 1;

// A value of preds and one of target.
using Pair = float2;

// The sums over 2 x 2 and 4 x 4 take the place of I and Q once these have been compared.
constexpr int kBoxes = kSide2 * kSide2 + kSide4 * kSide4;
constexpr int kChroma = 2 * kSideChroma * kSideChroma;

struct Shared {
  Pair luma[kSide1 * kSide1];
  Pair rest[kBoxes > kChroma ? kBoxes : kChroma];
};

// The plane, a frame that is halved or not, cut into tiles.
struct Plane {
  int64_t frame_height, frame_width;
  int64_t height, width;
  bool subsample;
  int64_t tiles_across, tiles;
};

Plane plane_of(int64_t height, int64_t width, bool subsample) {
  Plane plane = {height, width, height, width, subsample, 0, 0};
  if (subsample) {
    plane.height = (height + 1) / 2;
    plane.width = (width + 1) / 2;
  }
  plane.tiles_across = (plane.width + kTile - 1) / kTile;
  plane.tiles = (plane.height + kTile - 1) / kTile * plane.tiles_across;
  return plane;
}

template <typename T>
__device__ float level_of(T value) {
  return (std::is_same<T, uint8_t>::value ? 1.0f : 255.0f) *
         static_cast<float>(wmscore::widen(value));
}

// The plane's value at (y, x), inside it, in levels; outside the frame pixels count as 0.
template <typename T>
__device__ float read(const T* channel, const Images& images, const Plane& plane, int64_t y,
                      int64_t x) {
  if (!plane.subsample) return level_of(channel[y * images.row + x * images.pixel]);
  const T* const pixel = channel + 2 * (y * images.row + x * images.pixel);
  const bool right = 2 * x + 1 < plane.frame_width;
  const bool below = 2 * y + 1 < plane.frame_height;
  float sum = level_of(pixel[0]);
  if (right) sum += level_of(pixel[images.pixel]);
  if (below) sum += level_of(pixel[images.row]);
  if (right && below) sum += level_of(pixel[images.row + images.pixel]);
  return 0.25f * sum;
}

template <typename T, int kChannels>
__device__ wmscore::Yiq<float> read_yiq(const T* frame, const Images& images, const Plane& plane,
                                        int64_t y, int64_t x) {
  const float first = read(frame, images, plane, y, x);
  if (kChannels == 1) return {wmscore::kHaarpsiUnit * first, 0.0f, 0.0f};
  return wmscore::yiq_of(first, read(frame + images.channel, images, plane, y, x),
                         read(frame + 2 * images.channel, images, plane, y, x));
}

__device__ inline Pair operator+(Pair a, Pair b) { return make_float2(a.x + b.x, a.y + b.y); }

// The sum of four values kStep apart in a square of kSide.
template <int kStep, int kSide>
__device__ Pair box(const Pair* from) {
  return (from[0] + from[kStep * kSide]) + (from[kStep] + from[kStep * kSide + kStep]);
}

// All of a square's sums of four values kStep apart.
template <int kStep, int kSide>
__device__ void add_boxes(const Pair* from, Pair* boxes) {
  constexpr int kBoxSide = kSide - kStep;
  for (int i = threadIdx.x; i < kBoxSide * kBoxSide; i += kThreads)
    boxes[i] = box<kStep, kSide>(from + i / kBoxSide * kSide + i % kBoxSide);
}

// The magnitudes of both frames' responses at (y, x) of the tile, of windows that consist of four
// sums over kStep x kStep pixels in a square of kSide.
struct Responses {
  Pair vertical, horizontal;
};

template <int kStep, int kSide>
__device__ Responses respond(const Pair* boxes, int y, int x) {
  const Pair* const top = boxes + (y + kBefore + 1 - kStep) * kSide + x + kBefore + 1 - kStep;
  const Pair* const bottom = top + kStep * kSide;
  const Pair top_left = top[0], top_right = top[kStep];
  const Pair bottom_left = bottom[0], bottom_right = bottom[kStep];
  const wmscore::Haar<float> preds =
      wmscore::haar_of(top_left.x, top_right.x, bottom_left.x, bottom_right.x);
  const wmscore::Haar<float> target =
      wmscore::haar_of(top_left.y, top_right.y, bottom_left.y, bottom_right.y);
  return {make_float2(fabsf(preds.vertical), fabsf(target.vertical)),
          make_float2(fabsf(preds.horizontal), fabsf(target.horizontal))};
}

__device__ inline float compare(Pair first, float first_c, Pair second, float second_c) {
  return wmscore::haarpsi_loss(first.x, first.y, first_c, second.x, second.y, second_c);
}

// Writes [image, tile, 2].
template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads)
    sum_tiles(Images preds, Images target, Plane plane, int64_t images, double* out) {
  __shared__ Shared shared;
  Pair* const i = shared.rest;
  Pair* const q = shared.rest + kSideChroma * kSideChroma;
  Pair* const boxes2 = shared.rest;
  Pair* const boxes4 = shared.rest + kSide2 * kSide2;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;

  for (int64_t item = blockIdx.x; item < images * plane.tiles; item += gridDim.x) {
    const int64_t image = item / plane.tiles;
    const int64_t index = item - image * plane.tiles;
    const int64_t top = index / plane.tiles_across * kTile;
    const int64_t left = index % plane.tiles_across * kTile;
    const T* const p = static_cast<const T*>(preds.data) + image * preds.image;
    const T* const t = static_cast<const T*>(target.data) + image * target.image;

    for (int k = threadIdx.x; k < kSide1 * kSide1; k += kThreads) {
      const int row = k / kSide1;
      const int column = k % kSide1;
      const int64_t y = top + row - kBefore;
      const int64_t x = left + column - kBefore;
      wmscore::Yiq<float> of_preds = {}, of_target = {};
      if (y >= 0 && y < plane.height && x >= 0 && x < plane.width) {
        of_preds = read_yiq<T, kChannels>(p, preds, plane, y, x);
        of_target = read_yiq<T, kChannels>(t, target, plane, y, x);
      }
      shared.luma[k] = make_float2(of_preds.y, of_target.y);
      if (kChannels == 3 && row >= kBefore && column >= kBefore && row < kBefore + kSideChroma &&
          column < kBefore + kSideChroma) {
        const int place = (row - kBefore) * kSideChroma + column - kBefore;
        i[place] = make_float2(of_preds.i, of_target.i);
        q[place] = make_float2(of_preds.q, of_target.q);
      }
    }
    __syncthreads();

    float chroma_loss[kTileRowsPerThread] = {};
    if (kChannels == 3) {
#pragma unroll
      for (int k = 0; k < kTileRowsPerThread; ++k) {
        const int place = (warp + k * kWarps) * kSideChroma + lane;
        const Pair sum_i = box<1, kSideChroma>(i + place);
        const Pair sum_q = box<1, kSideChroma>(q + place);
        chroma_loss[k] =
            compare(make_float2(fabsf(sum_i.x), fabsf(sum_i.y)), wmscore::kHaarpsiChromaC,
                    make_float2(fabsf(sum_q.x), fabsf(sum_q.y)), wmscore::kHaarpsiChromaC);
      }
      __syncthreads();
    }
    add_boxes<1, kSide1>(shared.luma, boxes2);
    __syncthreads();
    add_boxes<2, kSide2>(boxes2, boxes4);
    __syncthreads();

    float weights = 0, losses = 0;
#pragma unroll
    for (int k = 0; k < kTileRowsPerThread; ++k) {
      const int y = warp + k * kWarps;
      if (top + y >= plane.height || left + lane >= plane.width) continue;
      const Responses fine = respond<1, kSide1>(shared.luma, y, lane);
      const Responses middle = respond<2, kSide2>(boxes2, y, lane);
      const Responses coarse = respond<4, kSide4>(boxes4, y, lane);
      const float vertical = fmaxf(coarse.vertical.x, coarse.vertical.y);
      const float horizontal = fmaxf(coarse.horizontal.x, coarse.horizontal.y);
      const float weight = vertical + horizontal;
      weights += weight;
      losses += vertical * compare(fine.vertical, wmscore::kHaarpsiFineC, middle.vertical,
                                   wmscore::kHaarpsiMiddleC);
      losses += horizontal * compare(fine.horizontal, wmscore::kHaarpsiFineC, middle.horizontal,
                                     wmscore::kHaarpsiMiddleC);
      losses += 0.5f * weight * chroma_loss[k];
    }
    const double values[kStatistics] = {
        (kChannels == 3 ? 1.5 : 1.0) * wmscore::kHaarpsiWeight * weights,
        wmscore::kHaarpsiWeight * losses};
    const double total =
        wmscore::reduce_block(values);  // after which shared memory may be written again
    if (threadIdx.x < kStatistics) out[item * kStatistics + threadIdx.x] = total;
  }
}

template <typename T>
cudaError_t run(const Images& preds, const Images& target, int64_t images, int64_t channels,
                const Plane& plane, double* partials, double* sums, void* stream) {
  double* const of_tiles = plane.tiles > 1 ? partials : sums;
  const auto kernel = channels == 3 ? sum_tiles<T, 3> : sum_tiles<T, 1>;
  const cudaError_t error =
      wmscore::launch(kernel, images * plane.tiles, stream, preds, target, plane, images, of_tiles);
  if (error != cudaSuccess || plane.tiles == 1) return error;
  return wmscore::launch(wmscore::sum_partials<kStatistics, double>, images, stream, of_tiles,
                         images, plane.tiles, sums);
}

}  // namespace

int64_t wmscore_frame_haarpsi_tiles(int64_t height, int64_t width, bool subsample) {
  return plane_of(height, width, subsample).tiles;
}

int32_t wmscore_frame_haarpsi_cuda(Element element, Images preds, Images target, int64_t images,
                                   int64_t channels, int64_t height, int64_t width, bool subsample,
                                   double* partials, double* sums, void* stream) {
  const Plane plane = plane_of(height, width, subsample);
  switch (element) {
    case Element::kUint8:
      return run<uint8_t>(preds, target, images, channels, plane, partials, sums, stream);
    case Element::kFloat16:
      return run<Half>(preds, target, images, channels, plane, partials, sums, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(preds, target, images, channels, plane, partials, sums, stream);
    case Element::kFloat32:
      return run<float>(preds, target, images, channels, plane, partials, sums, stream);
    case Element::kFloat64:
      return run<double>(preds, target, images, channels, plane, partials, sums, stream);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
