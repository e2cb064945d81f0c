// Error sums of two stacks of frames inside and outside a region, in one read of each, the same
// bits in each run: a block sums one chunk of an image's pixels in a fixed order, and a second
// kernel sums the chunks in order. Each thread keeps a bit for each of its pixels, inside or not,
// in registers while it goes through the channels.
#include <cuda_runtime.h>

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
using wmscore::reduce_block;
using wmscore::Region;
using wmscore::Sums;

constexpr int kSides = 2;  // inside, outside
constexpr int kPixelsPerThread = kChunkPixels / kThreads;
static_assert(kPixelsPerThread <= 64, "a thread's pixels must fit the bits of a word");

// What a change must exceed. Differences of uint8 are whole: above 1.5 is above 1. float64 for all
// others, so that nothing rounds to the other side.
template <typename T>
struct Limit {
  double value;

  explicit Limit(double threshold) : value(threshold) {}

  __device__ bool is_exceeded(T target, T previous) const {
    return fabs(static_cast<double>(wmscore::widen(target)) -
                static_cast<double>(wmscore::widen(previous))) > value;
  }
};

template <>
struct Limit<uint8_t> {
  unsigned int bytes;

  explicit Limit(double threshold)
      : bytes(0x01010101u * static_cast<unsigned int>(threshold < 255.0 ? threshold : 255.0)) {}

  // 255 in each byte that exceeds it.
  __device__ unsigned int exceeding(unsigned int target, unsigned int previous) const {
    return __vcmpgtu4(__vabsdiffu4(target, previous), bytes);
  }

  __device__ bool is_exceeded(uint8_t target, uint8_t previous) const {
    return (exceeding(target, previous) & 0xffu) != 0;
  }
};

// Four bytes, 0 or not 0 in their lowest bit, to four bits; and four bits to bytes of 0 and 255.
__device__ inline unsigned int bits_of(unsigned int bytes) {
  return (bytes & 0x01010101u) * 0x01020408u >> 24;
}

__device__ inline unsigned int bytes_of(unsigned int bits) {
  return ((bits & 0xfu) * 0x00204081u & 0x01010101u) * 0xffu;
}

// The pixels of a group that move: bit i for pixel i.
template <typename T, int kChannels>
__device__ unsigned int moving(const Group<T, kChannels>& target,
                               const Group<T, kChannels>& previous, const Limit<T>& limit) {
  T now[kChannels * Group<T, kChannels>::kPixels];
  T before[kChannels * Group<T, kChannels>::kPixels];
  memcpy(now, target.quads, sizeof now);
  memcpy(before, previous.quads, sizeof before);
  unsigned int bits = 0;
#pragma unroll
  for (int i = 0; i < kChannels * Group<T, kChannels>::kPixels; ++i)
    bits |= static_cast<unsigned int>(limit.is_exceeded(now[i], before[i])) << i / kChannels;
  return bits;
}

__device__ inline unsigned int moving(const Group<uint8_t, 1>& target,
                                      const Group<uint8_t, 1>& previous,
                                      const Limit<uint8_t>& limit) {
  const uint4 now = target.quads[0];
  const uint4 before = previous.quads[0];
  return bits_of(limit.exceeding(now.x, before.x)) |
         bits_of(limit.exceeding(now.y, before.y)) << 4 |
         bits_of(limit.exceeding(now.z, before.z)) << 8 |
         bits_of(limit.exceeding(now.w, before.w)) << 12;
}

__device__ inline unsigned int moving(const Group<uint8_t, 3>& target,
                                      const Group<uint8_t, 3>& previous,
                                      const Limit<uint8_t>& limit) {
  unsigned int now[12];
  unsigned int before[12];
  memcpy(now, target.quads, sizeof now);
  memcpy(before, previous.quads, sizeof before);
  unsigned int bits = 0;
#pragma unroll
  for (int i = 0; i < 12; i += 3) {
    const Colours colours(limit.exceeding(now[i], before[i]),
                          limit.exceeding(now[i + 1], before[i + 1]),
                          limit.exceeding(now[i + 2], before[i + 2]));
    bits |= bits_of(colours.channel[0] | colours.channel[1] | colours.channel[2]) << i / 3 * 4;
  }
  return bits;
}

// kPixels bools at an address that is a multiple of kPixels.
template <int kPixels>
__device__ unsigned int masked(const uint8_t* mask) {
  static_assert(kPixels == 2 || kPixels == 4 || kPixels == 8 || kPixels == 16, "whole vectors");
  if constexpr (kPixels == 2) {
    const unsigned int pair = *reinterpret_cast<const uint16_t*>(mask);
    return bits_of(pair);
  } else {
    unsigned int words[kPixels / 4];
    if constexpr (kPixels == 16) {
      const uint4 quad = *reinterpret_cast<const uint4*>(mask);
      memcpy(words, &quad, sizeof words);
    } else if constexpr (kPixels == 8) {
      const uint2 pair = *reinterpret_cast<const uint2*>(mask);
      memcpy(words, &pair, sizeof words);
    } else {
      words[0] = *reinterpret_cast<const unsigned int*>(mask);
    }
    unsigned int bits = 0;
#pragma unroll
    for (int i = 0; i < kPixels / 4; ++i) bits |= bits_of(words[i]) << 4 * i;
    return bits;
  }
}

template <typename T, int kChannels>
__device__ void add_group(const Group<T, kChannels>& preds, const Group<T, kChannels>& target,
                          unsigned int inside, Sums<T> (&sums)[kChannels][kSides]) {
  T p[kChannels * Group<T, kChannels>::kPixels];
  T t[kChannels * Group<T, kChannels>::kPixels];
  memcpy(p, preds.quads, sizeof p);
  memcpy(t, target.quads, sizeof t);
#pragma unroll
  for (int i = 0; i < kChannels * Group<T, kChannels>::kPixels; ++i) {
    if (inside >> i / kChannels & 1u) {
      sums[i % kChannels][0].add(p[i], t[i]);
    } else {
      sums[i % kChannels][1].add(p[i], t[i]);
    }
  }
}

__device__ inline void add_word(unsigned int preds, unsigned int target, unsigned int inside,
                                Sums<uint8_t> (&sums)[kSides]) {
  sums[0].add_word(preds & inside, target & inside);
  sums[1].add_word(preds & ~inside, target & ~inside);
}

__device__ inline void add_group(const Group<uint8_t, 1>& preds, const Group<uint8_t, 1>& target,
                                 unsigned int inside, Sums<uint8_t> (&sums)[1][kSides]) {
  add_word(preds.quads[0].x, target.quads[0].x, bytes_of(inside), sums[0]);
  add_word(preds.quads[0].y, target.quads[0].y, bytes_of(inside >> 4), sums[0]);
  add_word(preds.quads[0].z, target.quads[0].z, bytes_of(inside >> 8), sums[0]);
  add_word(preds.quads[0].w, target.quads[0].w, bytes_of(inside >> 12), sums[0]);
}

__device__ inline void add_group(const Group<uint8_t, 3>& preds, const Group<uint8_t, 3>& target,
                                 unsigned int inside, Sums<uint8_t> (&sums)[3][kSides]) {
  unsigned int p[12];
  unsigned int t[12];
  memcpy(p, preds.quads, sizeof p);
  memcpy(t, target.quads, sizeof t);
#pragma unroll
  for (int i = 0; i < 12; i += 3) {
    const Colours preds_colours(p[i], p[i + 1], p[i + 2]);
    const Colours target_colours(t[i], t[i + 1], t[i + 2]);
    const unsigned int bytes = bytes_of(inside >> i / 3 * 4);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      add_word(preds_colours.channel[k], target_colours.channel[k], bytes, sums[k]);
  }
}

// One chunk of one image, as one block sees it: streams of kChannels interleaved channels, the
// planes of planar frames (kChannels = 1) or the one stream of interleaved RGB.
template <typename T, int kChannels>
struct Chunk {
  static constexpr int kGroupPixels = Group<T, kChannels>::kPixels;

  const T* preds;
  const T* target;
  const T* previous;
  const uint8_t* mask;
  bool has_mask, has_previous;
  int64_t preds_stream, target_stream, previous_stream;
  int streams;
  int count;   // pixels
  int groups;  // of 16 bytes; the pixels after them are taken one by one

  __device__ Chunk(const Frames& preds_frames, const Frames& target_frames, const Region& region,
                   int64_t image, int64_t channels, int64_t start, int64_t pixels)
      : preds(at(preds_frames, image, start)),
        target(at(target_frames, image, start)),
        previous(region.has_previous ? at(region.previous, image, start) : nullptr),
        mask(region.has_mask
                 ? static_cast<const uint8_t*>(region.mask.data) + image * region.mask.image + start
                 : nullptr),
        has_mask(region.has_mask),
        has_previous(region.has_previous),
        preds_stream(preds_frames.channel),
        target_stream(target_frames.channel),
        previous_stream(region.previous.channel),
        streams(static_cast<int>(channels / kChannels)),
        count(static_cast<int>(pixels - start < kChunkPixels ? pixels - start : kChunkPixels)) {
    uintptr_t addresses = reinterpret_cast<uintptr_t>(preds) | reinterpret_cast<uintptr_t>(target);
    int64_t strides = preds_stream | target_stream;
    if (has_previous) {
      addresses |= reinterpret_cast<uintptr_t>(previous);
      strides |= previous_stream;
    }
    if (streams > 1) addresses |= static_cast<uintptr_t>(strides) * sizeof(T);
    const bool aligned =
        addresses % 16 == 0 && (!has_mask || reinterpret_cast<uintptr_t>(mask) % kGroupPixels == 0);
    groups = aligned ? count / kGroupPixels : 0;
  }

  static __device__ const T* at(const Frames& frames, int64_t image, int64_t start) {
    return static_cast<const T*>(frames.data) + image * frames.image + start * kChannels;
  }

  // Whether the pixels of a group are inside: bit i for pixel i.
  __device__ unsigned int group_inside(int group, const Limit<T>& limit) const {
    const int offset = group * kGroupPixels * kChannels;
    unsigned int inside = (1u << kGroupPixels) - 1u;
    if (has_previous) {
      inside = 0;
      for (int stream = 0; stream < streams; ++stream) {
        const Group<T, kChannels> now(target + stream * target_stream + offset);
        const Group<T, kChannels> before(previous + stream * previous_stream + offset);
        inside |= moving(now, before, limit);
      }
    }
    if (has_mask) inside &= masked<kGroupPixels>(mask + group * kGroupPixels);
    return inside;
  }

  __device__ bool pixel_inside(int pixel, const Limit<T>& limit) const {
    bool inside = true;
    if (has_previous) {
      inside = false;
      for (int stream = 0; stream < streams; ++stream) {
        const T* now = target + stream * target_stream + pixel * kChannels;
        const T* before = previous + stream * previous_stream + pixel * kChannels;
#pragma unroll
        for (int k = 0; k < kChannels; ++k) inside |= limit.is_exceeded(now[k], before[k]);
      }
    }
    if (has_mask) inside &= mask[pixel] != 0;
    return inside;
  }
};

// Writes [image, channel, chunk, 2, 6] and, to `counts`, the pixels of [image, chunk, 2].
template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads)
    sum_chunks(Frames preds, Frames target, Region region, Limit<T> limit, int64_t images,
               int64_t channels, int64_t pixels, int64_t chunks, typename Sums<T>::Total* out,
               long long* counts) {
  using Partial = typename Sums<T>::Partial;
  constexpr int kGroupPixels = Group<T, kChannels>::kPixels;
  constexpr int kValues = kChannels * kSides * kStatistics;
  for (int64_t item = blockIdx.x; item < images * chunks; item += gridDim.x) {
    const int64_t image = item / chunks;
    const int64_t index = item - image * chunks;
    const Chunk<T, kChannels> chunk(preds, target, region, image, channels, index * kChunkPixels,
                                    pixels);
    const int first_single = chunk.groups * kGroupPixels;

    uint64_t groups_inside = 0;
    uint64_t singles_inside = 0;
    int shift = 0;
    for (int group = threadIdx.x; group < chunk.groups; group += kThreads, shift += kGroupPixels)
      groups_inside |= static_cast<uint64_t>(chunk.group_inside(group, limit)) << shift;
    shift = 0;
    for (int pixel = first_single + threadIdx.x; pixel < chunk.count; pixel += kThreads, ++shift)
      singles_inside |= static_cast<uint64_t>(chunk.pixel_inside(pixel, limit)) << shift;

    const int of_thread[1] = {__popcll(groups_inside) + __popcll(singles_inside)};
    const int inside = reduce_block(of_thread);
    if (threadIdx.x == 0) {
      counts[item * kSides] = inside;
      counts[item * kSides + 1] = chunk.count - inside;
    }

    for (int stream = 0; stream < chunk.streams; ++stream) {
      const T* p = chunk.preds + stream * chunk.preds_stream;
      const T* t = chunk.target + stream * chunk.target_stream;
      Sums<T> sums[kChannels][kSides];
      uint64_t bits = groups_inside;
      for (int group = threadIdx.x; group < chunk.groups; group += kThreads) {
        const int offset = group * kGroupPixels * kChannels;
        add_group(Group<T, kChannels>(p + offset), Group<T, kChannels>(t + offset),
                  static_cast<unsigned int>(bits), sums);
        bits >>= kGroupPixels;
      }
      bits = singles_inside;
      for (int pixel = first_single + threadIdx.x; pixel < chunk.count; pixel += kThreads) {
#pragma unroll
        for (int k = 0; k < kChannels; ++k) {
          const T preds_value = p[pixel * kChannels + k];
          const T target_value = t[pixel * kChannels + k];
          if (bits & 1u) {
            sums[k][0].add(preds_value, target_value);
          } else {
            sums[k][1].add(preds_value, target_value);
          }
        }
        bits >>= 1;
      }

      Partial values[kValues];
#pragma unroll
      for (int k = 0; k < kValues; ++k)
        values[k] =
            sums[k / (kSides * kStatistics)][k / kStatistics % kSides].value[k % kStatistics];
      const Partial total = reduce_block(values);
      if (threadIdx.x < kValues) {
        constexpr int kRow = kSides * kStatistics;
        const int64_t row = image * channels + stream * kChannels + threadIdx.x / kRow;
        out[(row * chunks + index) * kRow + threadIdx.x % kRow] = total;
      }
    }
  }
}

template <typename T, int kChannels>
cudaError_t run(const Frames& preds, const Frames& target, const Region& region, int64_t images,
                int64_t channels, int64_t pixels, void* partials, int64_t* partial_counts,
                void* sums, int64_t* counts, void* stream) {
  using Total = typename Sums<T>::Total;
  const int64_t chunks = wmscore_frame_region_errors_chunks(pixels);
  Total* const totals = static_cast<Total*>(sums);
  long long* const total_counts = reinterpret_cast<long long*>(counts);
  Total* const of_chunks = chunks > 1 ? static_cast<Total*>(partials) : totals;
  long long* const counts_of_chunks =
      chunks > 1 ? reinterpret_cast<long long*>(partial_counts) : total_counts;
  cudaError_t error = launch(sum_chunks<T, kChannels>, images * chunks, stream, preds, target,
                             region, Limit<T>(region.threshold), images, channels, pixels, chunks,
                             of_chunks, counts_of_chunks);
  if (error != cudaSuccess || chunks == 1) return error;
  error = launch(wmscore::sum_partials<kSides, long long>, images, stream, counts_of_chunks, images,
                 chunks, total_counts);
  const int64_t rows = images * channels;
  if (error != cudaSuccess || rows == 0) return error;
  return launch(wmscore::sum_partials<kSides * kStatistics, Total>, rows, stream, of_chunks, rows,
                chunks, totals);
}

template <typename T>
cudaError_t run(const Frames& preds, const Frames& target, const Region& region, int64_t images,
                int64_t channels, int64_t pixels, void* partials, int64_t* partial_counts,
                void* sums, int64_t* counts, void* stream) {
  const auto function = preds.pixel == 1 ? run<T, 1> : run<T, 3>;
  return function(preds, target, region, images, channels, pixels, partials, partial_counts, sums,
                  counts, stream);
}

}  // namespace

int64_t wmscore_frame_region_errors_chunks(int64_t pixels) {
  return (pixels + kChunkPixels - 1) / kChunkPixels;
}

int32_t wmscore_frame_region_errors_cuda(Element element, Frames preds, Frames target,
                                         Region region, int64_t images, int64_t channels,
                                         int64_t pixels, void* partials, int64_t* partial_counts,
                                         void* sums, int64_t* counts, void* stream) {
#define WMSCORE_RUN(T)                                                                            \
  run<T>(preds, target, region, images, channels, pixels, partials, partial_counts, sums, counts, \
         stream)
  switch (element) {
    case Element::kUint8:
      return WMSCORE_RUN(uint8_t);
    case Element::kFloat16:
      return WMSCORE_RUN(Half);
    case Element::kBfloat16:
      return WMSCORE_RUN(Bfloat16);
    case Element::kFloat32:
      return WMSCORE_RUN(float);
    case Element::kFloat64:
      return WMSCORE_RUN(double);
    case Element::kUint16:  // of pyramids only
      break;
  }
#undef WMSCORE_RUN
  return cudaErrorInvalidValue;
}
