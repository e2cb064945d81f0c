// Error sums of two stacks of frames inside and outside a region, in one read of each.
#include <algorithm>
#include <utility>

#include "error_sums.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Frames;
using wmscore::gather;
using wmscore::Half;
using wmscore::kStatistics;
using wmscore::Region;

constexpr int64_t kBandPixels = 1 << 18;  // of a large image, so that threads can share it out
constexpr int64_t kBlock = 512;           // pixels taken at a time: they stay in the closest cache

template <typename T>
WMSCORE_INLINE const T* plane_of(const Frames& frames, int64_t image, int64_t channel) {
  return static_cast<const T*>(frames.data) + image * frames.image + channel * frames.channel;
}

// Differences of uint8 are whole: above 1.5 is above 1.
WMSCORE_INLINE int32_t whole_limit(double threshold) {
  return static_cast<int32_t>(std::min(threshold, 255.0));
}

// Marks the pixels inside the region with 1 and the others with 0; returns how many are inside.
template <typename T, typename Wide, typename Partial>
WMSCORE_INLINE int32_t mark_block(const Frames& target, const Region& region, int64_t image,
                                  int64_t channels, int64_t start, int32_t count, Partial limit,
                                  Wide* target_block, Wide* previous_block, uint8_t* inside) {
  const bool needs_move = region.has_previous;
  std::fill(inside, inside + count, static_cast<uint8_t>(!needs_move));
  for (int64_t channel = 0; needs_move && channel < channels; ++channel) {
    const T* t = plane_of<T>(target, image, channel) + start * target.pixel;
    const T* q = plane_of<T>(region.previous, image, channel) + start * region.previous.pixel;
    const Wide* now = gather(t, target.pixel, count, target_block);
    const Wide* before = gather(q, region.previous.pixel, count, previous_block);
    for (int32_t i = 0; i < count; ++i) {
      inside[i] |= std::abs(static_cast<Partial>(now[i]) - static_cast<Partial>(before[i])) > limit;
    }
  }
  if (region.has_mask) {
    const uint8_t* mask = plane_of<uint8_t>(region.mask, image, 0) + start;
    for (int32_t i = 0; i < count; ++i) inside[i] &= mask[i] != 0;
  }
  int32_t pixels = 0;
  for (int32_t i = 0; i < count; ++i) pixels += inside[i];
  return pixels;
}

// The pixels start <= i < end of one image; `sums` is [channels, 2, 6]. Returns how many of them
// are inside.
template <typename T, typename Sum>
WMSCORE_INLINE int64_t add_blocks(const Frames& preds, const Frames& target, const Region& region,
                                  int64_t image, int64_t channels, int64_t start, int64_t end,
                                  Sum* sums) {
  using Wide = decltype(wmscore::widen(std::declval<T>()));
  using Partial = std::conditional_t<std::is_same_v<T, uint8_t>, int32_t, double>;
  const Partial limit = std::is_same_v<T, uint8_t> ? whole_limit(region.threshold)
                                                   : static_cast<Partial>(region.threshold);
  uint8_t inside[kBlock];
  Wide preds_block[kBlock], target_block[kBlock];
  Wide preds_side[kBlock], target_side[kBlock];
  int64_t pixels = 0;
  for (; start < end; start += kBlock) {
    const int32_t count = static_cast<int32_t>(std::min(kBlock, end - start));
    const int32_t marked = mark_block<T>(target, region, image, channels, start, count, limit,
                                         target_block, preds_block, inside);
    pixels += marked;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const Wide* p = gather(plane_of<T>(preds, image, channel) + start * preds.pixel, preds.pixel,
                             count, preds_block);
      const Wide* t = gather(plane_of<T>(target, image, channel) + start * target.pixel,
                             target.pixel, count, target_block);
      for (int side = 0; side < 2; ++side) {
        Sum* const of_side = sums + (channel * 2 + side) * kStatistics;
        const int32_t members = side == 0 ? marked : count - marked;
        if (members == count) {
          wmscore::add_pixels<Partial>(p, t, count, of_side);
        } else if (members > 0) {  // zeros add nothing; chosen, not multiplied: 0 * NaN is NaN
          const uint8_t wanted = side == 0;
          for (int32_t i = 0; i < count; ++i) {
            const Wide preds_value = p[i], target_value = t[i];
            preds_side[i] = inside[i] == wanted ? preds_value : Wide(0);
            target_side[i] = inside[i] == wanted ? target_value : Wide(0);
          }
          wmscore::add_pixels<Partial>(preds_side, target_side, count, of_side);
        }
      }
    }
  }
  return pixels;
}

#ifdef WMSCORE_AVX2
using wmscore::ByteSums;
using wmscore::RgbTile;

static_assert(kBandPixels <= ByteSums::kMostPixels);

constexpr int64_t kMostChannels = 4;

struct SideSums {
  ByteSums inside, outside;
};

// The planes of a few pixels: where they are, or taken apart.
struct Planes {
  const uint8_t* data;
  int64_t stride;

  const uint8_t* operator[](int64_t channel) const { return data + channel * stride; }
};

WMSCORE_AVX2 Planes planes_of(const Frames& frames, int64_t image, int64_t start, int32_t count,
                              RgbTile& tile) {
  const uint8_t* data = plane_of<uint8_t>(frames, image, 0) + start * frames.pixel;
  if (frames.pixel == 1) return {data, frames.channel};
  tile.fill<true>(data, count);
  return {tile.plane[0], RgbTile::kPixels};
}

// As mark_block, with bytes of 255 and 0, for whole vectors. `mask` and `previous` may be null.
WMSCORE_AVX2 int32_t mark_vectors(const uint8_t* mask, const Planes& target, const Planes* previous,
                                  int64_t channels, __m256i limit, int32_t count, uint8_t* inside) {
  const __m256i zero = _mm256_setzero_si256();
  int32_t pixels = 0;
  for (int32_t i = 0; i < count; i += 32) {
    __m256i stays = zero;
    if (previous) {
      __m256i excess = zero;
      for (int64_t channel = 0; channel < channels; ++channel) {
        const __m256i now = wmscore::load(target[channel] + i);
        const __m256i before = wmscore::load((*previous)[channel] + i);
        const __m256i change =
            _mm256_or_si256(_mm256_subs_epu8(now, before), _mm256_subs_epu8(before, now));
        excess = _mm256_or_si256(excess, _mm256_subs_epu8(change, limit));
      }
      stays = _mm256_cmpeq_epi8(excess, zero);
    }
    if (mask) {
      stays = _mm256_or_si256(stays, _mm256_cmpeq_epi8(wmscore::load(mask + i), zero));
    }
    const __m256i moves = _mm256_cmpeq_epi8(stays, zero);
    wmscore::store(inside + i, moves);
    pixels += __builtin_popcount(static_cast<uint32_t>(_mm256_movemask_epi8(moves)));
  }
  return pixels;
}

// As add_blocks, for a number of pixels that is a multiple of 32 and at most
// ByteSums::kMostPixels, and at most kMostChannels.
WMSCORE_AVX2 int64_t add_vectors(const Frames& preds, const Frames& target, const Region& region,
                                 int64_t image, int64_t channels, int64_t start, int64_t end,
                                 int64_t* sums) {
  SideSums vectors[kMostChannels];
  for (int64_t channel = 0; channel < channels; ++channel) {
    vectors[channel].inside.clear();
    vectors[channel].outside.clear();
  }
  const uint8_t* const mask = region.has_mask ? plane_of<uint8_t>(region.mask, image, 0) : nullptr;
  const __m256i limit = _mm256_set1_epi8(static_cast<char>(whole_limit(region.threshold)));
  RgbTile preds_tile, target_tile, previous_tile;
  alignas(32) uint8_t inside[RgbTile::kPixels];
  int64_t pixels = 0;
  for (; start < end; start += RgbTile::kPixels) {
    const int32_t count = static_cast<int32_t>(std::min<int64_t>(RgbTile::kPixels, end - start));
    const Planes p = planes_of(preds, image, start, count, preds_tile);
    const Planes t = planes_of(target, image, start, count, target_tile);
    Planes q = {};
    if (region.has_previous) q = planes_of(region.previous, image, start, count, previous_tile);
    pixels += mark_vectors(mask ? mask + start : nullptr, t, region.has_previous ? &q : nullptr,
                           channels, limit, count, inside);
    for (int64_t channel = 0; channel < channels; ++channel) {
      SideSums sides = vectors[channel];
      for (int32_t i = 0; i < count; i += 32) {
        const __m256i mark = wmscore::load(inside + i);
        const __m256i preds_bytes = wmscore::load(p[channel] + i);
        const __m256i target_bytes = wmscore::load(t[channel] + i);
        const int32_t bits = _mm256_movemask_epi8(mark);
        if (bits == 0) {
          sides.outside.add(preds_bytes, target_bytes);
        } else if (bits == -1) {
          sides.inside.add(preds_bytes, target_bytes);
        } else {
          sides.inside.add(_mm256_and_si256(mark, preds_bytes),
                           _mm256_and_si256(mark, target_bytes));
          sides.outside.add(_mm256_andnot_si256(mark, preds_bytes),
                            _mm256_andnot_si256(mark, target_bytes));
        }
      }
      vectors[channel] = sides;
    }
  }
  for (int64_t channel = 0; channel < channels; ++channel) {
    vectors[channel].inside.add_to(sums + channel * 2 * kStatistics);
    vectors[channel].outside.add_to(sums + (channel * 2 + 1) * kStatistics);
  }
  return pixels;
}

bool has_vectors(const Frames& frames, int64_t channels) {
  return frames.pixel == 1 || wmscore::is_interleaved_rgb(frames, channels);
}
#endif

template <typename T, typename Sum>
WMSCORE_INLINE void add_bands(const Frames& preds, const Frames& target, const Region& region,
                              int64_t channels, int64_t pixels, int64_t first, int64_t last,
                              Sum* sums, int64_t* counts) {
  const int64_t bands = wmscore_frame_region_errors_bands(pixels);
  const int64_t values = channels * 2 * kStatistics;
  std::fill(sums + first * values, sums + last * values, Sum(0));
#ifdef WMSCORE_AVX2
  const bool in_vectors = std::is_same_v<T, uint8_t> && wmscore::has_avx2() &&
                          channels <= kMostChannels && has_vectors(preds, channels) &&
                          has_vectors(target, channels) &&
                          (!region.has_previous || has_vectors(region.previous, channels));
#endif
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / bands;
    int64_t start = (item - image * bands) * kBandPixels;
    const int64_t end = std::min(pixels, start + kBandPixels);
    const int64_t size = end - start;
    int64_t inside = 0;
#ifdef WMSCORE_AVX2
    if constexpr (std::is_same_v<T, uint8_t>) {
      if (in_vectors) {
        const int64_t whole = start + size / 32 * 32;
        inside +=
            add_vectors(preds, target, region, image, channels, start, whole, sums + item * values);
        start = whole;
      }
    }
#endif
    inside +=
        add_blocks<T>(preds, target, region, image, channels, start, end, sums + item * values);
    counts[2 * item] = inside;
    counts[2 * item + 1] = size - inside;
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_ADD_BANDS(name, T, Sum)                                                         \
  WMSCORE_CLONES void name(const Frames& preds, const Frames& target, const Region& region,     \
                           int64_t channels, int64_t pixels, int64_t first, int64_t last,       \
                           void* sums, int64_t* counts) {                                       \
    add_bands<T>(preds, target, region, channels, pixels, first, last, static_cast<Sum*>(sums), \
                 counts);                                                                       \
  }
WMSCORE_ADD_BANDS(add_uint8, uint8_t, int64_t)
WMSCORE_ADD_BANDS(add_float16, Half, double)
WMSCORE_ADD_BANDS(add_bfloat16, Bfloat16, double)
WMSCORE_ADD_BANDS(add_float32, float, double)
WMSCORE_ADD_BANDS(add_float64, double, double)

}  // namespace

int64_t wmscore_frame_region_errors_bands(int64_t pixels) {
  return std::max<int64_t>(1, (pixels + kBandPixels - 1) / kBandPixels);
}

void wmscore_frame_region_errors_cpu(Element element, Frames preds, Frames target, Region region,
                                     int64_t channels, int64_t pixels, int64_t first, int64_t last,
                                     void* sums, int64_t* counts) {
  switch (element) {
    case Element::kUint8:
      return add_uint8(preds, target, region, channels, pixels, first, last, sums, counts);
    case Element::kFloat16:
      return add_float16(preds, target, region, channels, pixels, first, last, sums, counts);
    case Element::kBfloat16:
      return add_bfloat16(preds, target, region, channels, pixels, first, last, sums, counts);
    case Element::kFloat32:
      return add_float32(preds, target, region, channels, pixels, first, last, sums, counts);
    case Element::kFloat64:
      return add_float64(preds, target, region, channels, pixels, first, last, sums, counts);
    case Element::kUint16:
      return;  // of pyramids only
  }
}
