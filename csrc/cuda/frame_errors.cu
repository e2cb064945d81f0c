// Error sums of two stacks of frames, in one read of each, the same bits in each run: a block sums
// one chunk of pixels in a fixed order, and a second kernel sums the chunks in order. The chunks
// depend on the size of a frame alone, so a frame's result does not depend on the batch around it
// or on the device.
#include <type_traits>

#include "blocks.h"
#include "error_sums.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Colours;
using wmscore::Element;
using wmscore::Frames;
using wmscore::Group;
using wmscore::Half;
using wmscore::kChunkPixels;
using wmscore::kStatistics;
using wmscore::kThreads;
using wmscore::launch;
using wmscore::Sums;

template <typename T, int kChannels>
__device__ void add_group(const Group<T, kChannels>& preds, const Group<T, kChannels>& target,
                          Sums<T> (&sums)[kChannels]) {
  T p[kChannels * Group<T, kChannels>::kPixels];
  T t[kChannels * Group<T, kChannels>::kPixels];
  memcpy(p, preds.quads, sizeof p);
  memcpy(t, target.quads, sizeof t);
#pragma unroll
  for (int i = 0; i < kChannels * Group<T, kChannels>::kPixels; ++i)
    sums[i % kChannels].add(p[i], t[i]);
}

__device__ inline void add_group(const Group<uint8_t, 1>& preds, const Group<uint8_t, 1>& target,
                                 Sums<uint8_t> (&sums)[1]) {
  sums[0].add_word(preds.quads[0].x, target.quads[0].x);
  sums[0].add_word(preds.quads[0].y, target.quads[0].y);
  sums[0].add_word(preds.quads[0].z, target.quads[0].z);
  sums[0].add_word(preds.quads[0].w, target.quads[0].w);
}

__device__ inline void add_group(const Group<uint8_t, 3>& preds, const Group<uint8_t, 3>& target,
                                 Sums<uint8_t> (&sums)[3]) {
  unsigned int p[12];
  unsigned int t[12];
  memcpy(p, preds.quads, sizeof p);
  memcpy(t, target.quads, sizeof t);
#pragma unroll
  for (int i = 0; i < 12; i += 3) {
    const Colours preds_colours(p[i], p[i + 1], p[i + 2]);
    const Colours target_colours(t[i], t[i + 1], t[i + 2]);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      sums[k].add_word(preds_colours.channel[k], target_colours.channel[k]);
  }
}

// Streams of kChannels interleaved channels: the planes of planar frames (kChannels = 1, several
// streams in an image) or the images of interleaved ones (one stream in an image). Writes [stream,
// channel, chunk, 6].
template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads)
    sum_chunks(Frames preds, Frames target, int64_t streams_per_image, int64_t streams,
               int64_t pixels, int64_t chunks, typename Sums<T>::Total* out) {
  using Partial = typename Sums<T>::Partial;
  constexpr int kGroupPixels = Group<T, kChannels>::kPixels;
  for (int64_t item = blockIdx.x; item < streams * chunks; item += gridDim.x) {
    const int64_t stream = item / chunks;
    const int64_t chunk = item - stream * chunks;
    const int64_t image = stream / streams_per_image;
    const int64_t channel = stream - image * streams_per_image;
    const int64_t start = chunk * kChunkPixels;
    const int count =
        static_cast<int>(pixels - start < kChunkPixels ? pixels - start : kChunkPixels);
    const T* p = static_cast<const T*>(preds.data) + image * preds.image + channel * preds.channel +
                 start * kChannels;
    const T* t = static_cast<const T*>(target.data) + image * target.image +
                 channel * target.channel + start * kChannels;

    Sums<T> sums[kChannels];
    const bool aligned =
        (reinterpret_cast<uintptr_t>(p) | reinterpret_cast<uintptr_t>(t)) % 16 == 0;
    const int groups = aligned ? count / kGroupPixels : 0;
    for (int group = threadIdx.x; group < groups; group += kThreads) {
      const int64_t offset = static_cast<int64_t>(group) * kGroupPixels * kChannels;
      add_group(Group<T, kChannels>(p + offset), Group<T, kChannels>(t + offset), sums);
    }
    // What is left over, or all of it where 16 bytes cannot be read at once.
    for (int pixel = groups * kGroupPixels + threadIdx.x; pixel < count; pixel += kThreads) {
#pragma unroll
      for (int k = 0; k < kChannels; ++k)
        sums[k].add(p[pixel * kChannels + k], t[pixel * kChannels + k]);
    }

    Partial values[kChannels * kStatistics];
#pragma unroll
    for (int k = 0; k < kChannels * kStatistics; ++k)
      values[k] = sums[k / kStatistics].value[k % kStatistics];
    const Partial total = wmscore::reduce_block(values);
    if (threadIdx.x < kChannels * kStatistics) {
      const int64_t row = stream * kChannels + threadIdx.x / kStatistics;
      out[(row * chunks + chunk) * kStatistics + threadIdx.x % kStatistics] = total;
    }
  }
}

template <typename T, int kChannels>
cudaError_t run(const Frames& preds, const Frames& target, int64_t images, int64_t channels,
                int64_t pixels, void* partials, void* sums, void* stream) {
  using Total = typename Sums<T>::Total;
  const int64_t rows = images * channels;
  const int64_t streams = rows / kChannels;
  const int64_t chunks = wmscore_frame_errors_chunks(pixels);
  Total* const totals = static_cast<Total*>(sums);
  Total* const of_chunks = chunks > 1 ? static_cast<Total*>(partials) : totals;
  const cudaError_t error =
      launch(sum_chunks<T, kChannels>, streams * chunks, stream, preds, target,
             channels / kChannels, streams, pixels, chunks, of_chunks);
  if (error != cudaSuccess || chunks == 1) return error;
  return launch(wmscore::sum_partials<kStatistics, Total>, rows, stream, of_chunks, rows, chunks,
                totals);
}

template <typename T>
cudaError_t run(const Frames& preds, const Frames& target, int64_t images, int64_t channels,
                int64_t pixels, void* partials, void* sums, void* stream) {
  const bool planar = preds.pixel == 1 && target.pixel == 1;
  const auto function = planar ? run<T, 1> : run<T, 3>;
  return function(preds, target, images, channels, pixels, partials, sums, stream);
}

}  // namespace

int64_t wmscore_frame_errors_chunks(int64_t pixels) {
  return (pixels + kChunkPixels - 1) / kChunkPixels;
}

int32_t wmscore_frame_errors_cuda(Element element, Frames preds, Frames target, int64_t images,
                                  int64_t channels, int64_t pixels, void* partials, void* sums,
                                  void* stream) {
  switch (element) {
    case Element::kUint8:
      return run<uint8_t>(preds, target, images, channels, pixels, partials, sums, stream);
    case Element::kFloat16:
      return run<Half>(preds, target, images, channels, pixels, partials, sums, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(preds, target, images, channels, pixels, partials, sums, stream);
    case Element::kFloat32:
      return run<float>(preds, target, images, channels, pixels, partials, sums, stream);
    case Element::kFloat64:
      return run<double>(preds, target, images, channels, pixels, partials, sums, stream);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
