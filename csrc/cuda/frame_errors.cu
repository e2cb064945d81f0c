// Error sums of two stacks of frames, in one read of each, the same bits in each run: a block sums
// one chunk of pixels in a fixed order, and a second kernel sums the chunks in order. The chunks
// depend on the size of a frame alone, so a frame's result does not depend on the batch around it
// or on the device.
#include <cuda_runtime.h>

#include <type_traits>

#include "../half.h"
#include "../kernels.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Frames;
using wmscore::Half;

constexpr int kStatistics = 6;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kChunkPixels = 16384;
static_assert(kChunkPixels * 255LL * 255LL <= 0xffffffffLL, "a chunk's sums must fit 32 bits");
static_assert(kChunkPixels % 16 == 0, "a chunk must keep the alignment of its plane");

// Running sums of one channel in one thread.
template <typename T>
struct Sums {
  using Partial = double;
  using Total = double;
  double value[kStatistics] = {};

  __device__ void add(T preds, T target) {
    const double p = wmscore::widen(preds);
    const double t = wmscore::widen(target);
    const double difference = p - t;
    value[0] += difference * difference;
    value[1] += fabs(difference);
    value[2] += p;
    value[3] += t;
    value[4] += p * p;
    value[5] += t * t;
  }
};

template <>
struct Sums<uint8_t> {
  using Partial = unsigned int;
  using Total = long long;
  unsigned int value[kStatistics] = {};

  // Four pixels of one channel in each word. A byte of 0 in both adds nothing.
  __device__ void add_word(unsigned int p, unsigned int t) {
    constexpr unsigned int kOnes = 0x01010101u;
    const unsigned int difference = __vabsdiffu4(p, t);
    value[0] = __dp4a(difference, difference, value[0]);
    value[1] = __dp4a(difference, kOnes, value[1]);
    value[2] = __dp4a(p, kOnes, value[2]);
    value[3] = __dp4a(t, kOnes, value[3]);
    value[4] = __dp4a(p, p, value[4]);
    value[5] = __dp4a(t, t, value[5]);
  }

  __device__ void add(uint8_t preds, uint8_t target) { add_word(preds, target); }
};

// 16 bytes of each of kChannels interleaved channels: whole pixels, in one thread.
template <typename T, int kChannels>
struct Group {
  static constexpr int kPixels = 16 / sizeof(T);
  uint4 quads[kChannels];

  __device__ explicit Group(const T* data) {
    const uint4* source = reinterpret_cast<const uint4*>(data);
#pragma unroll
    for (int k = 0; k < kChannels; ++k) quads[k] = source[k];
  }
};

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

// Three words of r g b r | g b r g | b r g b to one word of each channel.
struct Colours {
  unsigned int channel[3];

  __device__ Colours(unsigned int a, unsigned int b, unsigned int c) {
    channel[0] = __byte_perm(__byte_perm(a, b, 0x0630), c, 0x5210);
    channel[1] = __byte_perm(__byte_perm(a, b, 0x0741), c, 0x6210);
    channel[2] = __byte_perm(__byte_perm(a, b, 0x0052), c, 0x7410);
  }
};

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
    const Partial total = reduce_block(values);
    if (threadIdx.x < kChannels * kStatistics) {
      const int64_t row = stream * kChannels + threadIdx.x / kStatistics;
      out[(row * chunks + chunk) * kStatistics + threadIdx.x % kStatistics] = total;
    }
  }
}

// [rows, chunks, 6] to [rows, 6].
template <typename Total>
__global__ void __launch_bounds__(kThreads)
    sum_partials(const Total* partials, int64_t rows, int64_t chunks, Total* out) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    Total values[kStatistics] = {};
    for (int64_t chunk = threadIdx.x; chunk < chunks; chunk += kThreads) {
#pragma unroll
      for (int k = 0; k < kStatistics; ++k)
        values[k] += partials[(row * chunks + chunk) * kStatistics + k];
    }
    const Total total = reduce_block(values);
    if (threadIdx.x < kStatistics) out[row * kStatistics + threadIdx.x] = total;
  }
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, void* stream,
                   Arguments... arguments) {
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernels stride over the rest
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // clear it: it is returned
  return error;
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
  return launch(sum_partials<Total>, rows, stream, of_chunks, rows, chunks, totals);
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
