// Error sums of two stacks of frames, in one read of each.
#include <algorithm>
#include <utility>

#include "error_sums.h"

namespace {

using wmscore::add_pixels;
using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Frames;
using wmscore::gather;
using wmscore::Half;
using wmscore::kStatistics;

// Pixels taken at a time: both blocks stay in the first-level cache.
template <typename T>
constexpr int64_t kBlock = 1024;
template <>
constexpr int64_t kBlock<uint8_t> = 4096;
static_assert(kBlock<uint8_t> * 255 * 255 <= INT32_MAX, "the sums of one block must fit 32 bits");

#ifdef WMSCORE_AVX2
using wmscore::ByteSums;
using wmscore::RgbTile;

// Whole vectors of 32 pixels; returns how many pixels it took.
WMSCORE_AVX2 int32_t add_vectors(const uint8_t* preds, const uint8_t* target, int32_t count,
                                 int64_t* sums) {
  ByteSums vectors;
  vectors.clear();
  int32_t i = 0;
  for (; i + 32 <= count; i += 32) vectors.add(wmscore::load(preds + i), wmscore::load(target + i));
  vectors.add_to(sums);
  return i;
}

// The same for the three planes of interleaved RGB frames; `sums` is [3, 6].
WMSCORE_AVX2 int32_t add_rgb_vectors(const uint8_t* preds, const uint8_t* target, int32_t count,
                                     int64_t* sums) {
  ByteSums vectors[3];
  for (ByteSums& plane : vectors) plane.clear();
  RgbTile preds_tile, target_tile;
  const int32_t whole = count / 32 * 32;
  for (int32_t start = 0; start < whole; start += RgbTile::kPixels) {
    const int32_t size = std::min(RgbTile::kPixels, whole - start);
    preds_tile.fill<false>(preds + 3 * start, size);
    target_tile.fill<false>(target + 3 * start, size);
    for (int k = 0; k < 3; ++k) {
      ByteSums plane = vectors[k];
      for (int32_t i = 0; i < size; i += 32) {
        plane.add(wmscore::load(preds_tile.plane[k] + i), wmscore::load(target_tile.plane[k] + i));
      }
      vectors[k] = plane;
    }
  }
  for (int k = 0; k < 3; ++k) vectors[k].add_to(sums + k * kStatistics);
  return whole;
}

// Whole images of interleaved RGB.
WMSCORE_AVX2 void add_rgb_images(const Frames& preds, const Frames& target, int64_t pixels,
                                 int64_t first_image, int64_t last_image, int64_t* sums) {
  std::fill(sums + first_image * 3 * kStatistics, sums + last_image * 3 * kStatistics, 0);
  for (int64_t image = first_image; image < last_image; ++image) {
    const uint8_t* p = static_cast<const uint8_t*>(preds.data) + image * preds.image;
    const uint8_t* t = static_cast<const uint8_t*>(target.data) + image * target.image;
    int64_t* const of_image = sums + image * 3 * kStatistics;
    int64_t done = 0;
    while (pixels - done >= 32) {
      const int64_t most = std::min<int64_t>(pixels - done, ByteSums::kMostPixels);
      done += add_rgb_vectors(p + 3 * done, t + 3 * done, static_cast<int32_t>(most), of_image);
    }
    for (int k = 0; k < 3; ++k) {
      uint8_t preds_block[32], target_block[32];
      const int32_t rest = static_cast<int32_t>(pixels - done);
      add_pixels<int32_t>(gather(p + 3 * done + k, 3, rest, preds_block),
                          gather(t + 3 * done + k, 3, rest, target_block), rest,
                          of_image + k * kStatistics);
    }
  }
}
#endif

WMSCORE_INLINE void add_block(const uint8_t* preds, const uint8_t* target, int32_t count,
                              int64_t* sums) {
  int32_t done = 0;
#ifdef WMSCORE_AVX2
  if (wmscore::has_avx2()) done = add_vectors(preds, target, count, sums);
#endif
  add_pixels<int32_t>(preds + done, target + done, count - done, sums);
}

template <typename T>
WMSCORE_INLINE void add_block(const T* preds, const T* target, int32_t count, double* sums) {
  add_pixels<double>(preds, target, count, sums);
}

template <typename T, typename Sum>
WMSCORE_INLINE void add_planes(const Frames& preds, const Frames& target, int64_t channels,
                               int64_t pixels, int64_t first, int64_t last, Sum* sums) {
  using Wide = decltype(wmscore::widen(std::declval<T>()));
  Wide preds_block[kBlock<Wide>];
  Wide target_block[kBlock<Wide>];
  std::fill(sums + first * kStatistics, sums + last * kStatistics, Sum(0));
  const bool planar = preds.pixel == 1 && target.pixel == 1;
  while (first < last) {
    // Interleaved channels share cache lines: visit them together, block by block.
    const int64_t image = first / channels;
    const int64_t end = planar ? first + 1 : std::min(last, (image + 1) * channels);
    for (int64_t start = 0; start < pixels; start += kBlock<Wide>) {
      const int64_t count = std::min(kBlock<Wide>, pixels - start);
      for (int64_t plane = first; plane < end; ++plane) {
        const int64_t channel = plane - image * channels;
        const T* p =
            static_cast<const T*>(preds.data) + image * preds.image + channel * preds.channel;
        const T* t =
            static_cast<const T*>(target.data) + image * target.image + channel * target.channel;
        add_block(gather(p + start * preds.pixel, preds.pixel, count, preds_block),
                  gather(t + start * target.pixel, target.pixel, count, target_block),
                  static_cast<int32_t>(count), sums + plane * kStatistics);
      }
    }
    first = end;
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_ADD_PLANES(name, T, Sum)                                                  \
  WMSCORE_CLONES void name(const Frames& preds, const Frames& target, int64_t channels,   \
                           int64_t pixels, int64_t first, int64_t last, void* sums) {     \
    add_planes<T>(preds, target, channels, pixels, first, last, static_cast<Sum*>(sums)); \
  }
WMSCORE_ADD_PLANES(add_uint8, uint8_t, int64_t)
WMSCORE_ADD_PLANES(add_float16, Half, double)
WMSCORE_ADD_PLANES(add_bfloat16, Bfloat16, double)
WMSCORE_ADD_PLANES(add_float32, float, double)
WMSCORE_ADD_PLANES(add_float64, double, double)

}  // namespace

void wmscore_frame_errors_cpu(Element element, Frames preds, Frames target, int64_t channels,
                              int64_t pixels, int64_t first, int64_t last, void* sums) {
  switch (element) {
    case Element::kUint8:
#ifdef WMSCORE_AVX2
      if (wmscore::has_avx2() && first % 3 == 0 && last % 3 == 0 &&
          wmscore::is_interleaved_rgb(preds, channels) &&
          wmscore::is_interleaved_rgb(target, channels)) {
        return add_rgb_images(preds, target, pixels, first / 3, last / 3,
                              static_cast<int64_t*>(sums));
      }
#endif
      return add_uint8(preds, target, channels, pixels, first, last, sums);
    case Element::kFloat16:
      return add_float16(preds, target, channels, pixels, first, last, sums);
    case Element::kBfloat16:
      return add_bfloat16(preds, target, channels, pixels, first, last, sums);
    case Element::kFloat32:
      return add_float32(preds, target, channels, pixels, first, last, sums);
    case Element::kFloat64:
      return add_float64(preds, target, channels, pixels, first, last, sums);
    case Element::kUint16:
      return;  // of pyramids only
  }
}
