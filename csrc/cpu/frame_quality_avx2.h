// frame_quality of uint8 rows with AVX2. The sums stay in vectors over many rows.
#pragma once

#include "../quality.h"
#include "clones.h"

#ifdef WMSCORE_AVX2
#include <cstdint>
#include <cstring>

namespace wmscore {

// The sums of values that need 16 bits, squared: of value = 256 high + low, Σhigh², Σhigh low and
// Σlow², which vpmaddwd takes two at a time in 32 bits.
struct Squares {
  __m256i high_high, high_low, low_low;
};

WMSCORE_AVX2 inline __m256i add_products(__m256i sum, __m256i left, __m256i right) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(left, right));
}

WMSCORE_AVX2 inline void add_squares(Squares& sums, __m256i high, __m256i low) {
  sums.high_high = add_products(sums.high_high, high, high);
  sums.high_low = add_products(sums.high_low, high, low);
  sums.low_low = add_products(sums.low_low, low, low);
}

WMSCORE_AVX2 inline __m256i load(const void* data) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(data));
}

// All bits of the first `count` of 16 lanes, or of all.
WMSCORE_AVX2 inline __m256i first_lanes(int32_t count) {
  alignas(32) static constexpr int16_t kLanes[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                     8, 9, 10, 11, 12, 13, 14, 15};
  return _mm256_cmpgt_epi16(_mm256_set1_epi16(static_cast<int16_t>(count < 16 ? count : 16)),
                            load(kLanes));
}

template <typename Lane>
WMSCORE_AVX2 inline int64_t take_lanes(__m256i& vector) {
  alignas(32) Lane lanes[32 / sizeof(Lane)];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), vector);
  int64_t sum = 0;
  for (const Lane lane : lanes) sum += lane;
  vector = _mm256_setzero_si256();
  return sum;
}

// The row functions of Rows<uint8_t> (frame_quality.cpp). Rows of luma are readable 32 values past
// `count`.
class Avx2Rows {
 public:
  using Luma = uint16_t;

  WMSCORE_AVX2 Avx2Rows() { std::memset(static_cast<void*>(this), 0, sizeof *this); }

  WMSCORE_AVX2 void colours(const uint8_t* const* rgb, int32_t count, Luma* luma, int64_t* sums) {
    // No lane of 32 bits may overflow before it is emptied: a Laplacian adds 2 * 1020² to it.
    constexpr int32_t kMostPixels = 16 * 1024;
    const int32_t rounded = (count + 31) / 32 * 32;
    if (pixels_ + rounded > kMostPixels) finish(sums);
    pixels_ += rounded;

    const __m256i zero = _mm256_setzero_si256();
    low_bytes_ = high_bytes_ = zero;
    int32_t i = 0;
    for (; i + 32 <= count; i += 32)
      add_colours(load(rgb[0] + i), load(rgb[1] + i), load(rgb[2] + i), luma + i);
    if (i < count) {
      alignas(32) uint8_t tail[3][32] = {};
      for (int k = 0; k < 3; ++k) std::memcpy(tail[k], rgb[k] + i, count - i);
      add_colours(load(tail[0]), load(tail[1]), load(tail[2]), luma + i);
      sums[kLow] -= 3 * (rounded - count);  // the zeros that fill the vector
    }
    low_ = _mm256_add_epi64(low_, _mm256_sad_epu8(low_bytes_, zero));
    high_ = _mm256_add_epi64(high_, _mm256_sad_epu8(high_bytes_, zero));
  }

  WMSCORE_AVX2 void change(const uint8_t* frame, const uint8_t* previous, int32_t count, int64_t*) {
    int32_t i = 0;
    for (; i + 32 <= count; i += 32) add_change(load(frame + i), load(previous + i));
    if (i < count) {
      alignas(32) uint8_t tail[2][32] = {};
      std::memcpy(tail[0], frame + i, count - i);
      std::memcpy(tail[1], previous + i, count - i);
      add_change(load(tail[0]), load(tail[1]));
    }
  }

  WMSCORE_AVX2 void across(const Luma* row, int32_t count, int64_t*) {
    // The step from pixel 7 to pixel 8 crosses the grid; low bytes come before high ones.
    alignas(32) static constexpr uint8_t kAtBorder[32] = {0, 0,   0, 0, 0,   0, 0, 255, 0, 0,  0,
                                                          0, 0,   0, 0, 255, 0, 0, 0,   0, 0,  0,
                                                          0, 255, 0, 0, 0,   0, 0, 0,   0, 255};
    const __m256i at_border = load(kAtBorder);
    __m256i border = zero(), all = zero();
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i bytes = add_steps(load(row + i), load(row + i + 1), count - i);
      all = _mm256_add_epi64(all, _mm256_sad_epu8(bytes, zero()));
      border =
          _mm256_add_epi64(border, _mm256_sad_epu8(_mm256_and_si256(bytes, at_border), zero()));
    }
    border_ = _mm256_add_epi64(border_, border);
    inner_ = _mm256_add_epi64(inner_, _mm256_sub_epi64(all, border));
  }

  WMSCORE_AVX2 void down(const Luma* above, const Luma* row, int32_t count, bool is_border,
                         int64_t*) {
    __m256i all = zero();
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i bytes = add_steps(load(above + i), load(row + i), count - i);
      all = _mm256_add_epi64(all, _mm256_sad_epu8(bytes, zero()));
    }
    __m256i& sum = is_border ? border_ : inner_;
    sum = _mm256_add_epi64(sum, all);
  }

  WMSCORE_AVX2 void laplacian(const Luma* above, const Luma* row, const Luma* below, int32_t count,
                              int64_t*) {
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i centre = load(row + i);
      const __m256i left = load(row + i - 1), right = load(row + i + 1);
      const __m256i up = load(above + i), down = load(below + i);
      // Of 18 bits and a sign: the high bytes' part exactly, and from the value modulo 2^16 the
      // rest.
      const __m256i high = four_minus(high_bytes(centre), high_bytes(left), high_bytes(right),
                                      high_bytes(up), high_bytes(down));
      const __m256i value = four_minus(centre, left, right, up, down);
      const __m256i low = _mm256_sub_epi16(value, _mm256_slli_epi16(high, 8));
      const __m256i mask = first_lanes(count - i);
      add_squares(laplacian_, _mm256_and_si256(high, mask), _mm256_and_si256(low, mask));
    }
  }

  // Moves the sums out of the vectors.
  WMSCORE_AVX2 void finish(int64_t* sums) {
    for (int k = 0; k < 3; ++k) sums[kRed + k] += take_lanes<int64_t>(channels_[k]);
    for (int k = 0; k < 6; ++k) sums[kRedRed + k] += take_lanes<int32_t>(products_[k]);
    sums[kChroma] += take_lanes<int64_t>(chroma_) / 2;
    sums[kLow] += take_lanes<int64_t>(low_);
    sums[kHigh] += take_lanes<int64_t>(high_);
    sums[kGradient] += take_squares(gradient_);
    sums[kLaplacian] += take_squares(laplacian_);
    sums[kBorder] += take_bytes(border_);
    sums[kInner] += take_bytes(inner_);
    sums[kAbsoluteChange] += take_lanes<int64_t>(absolute_change_);
    sums[kSquaredChange] += take_lanes<int32_t>(squared_change_);
    pixels_ = 0;
  }

 private:
  WMSCORE_AVX2 static __m256i zero() { return _mm256_setzero_si256(); }

  WMSCORE_AVX2 static __m256i high_bytes(__m256i values) { return _mm256_srli_epi16(values, 8); }

  WMSCORE_AVX2 static __m256i four_minus(__m256i centre, __m256i left, __m256i right, __m256i up,
                                         __m256i down) {
    const __m256i neighbours =
        _mm256_add_epi16(_mm256_add_epi16(left, right), _mm256_add_epi16(up, down));
    return _mm256_sub_epi16(_mm256_slli_epi16(centre, 2), neighbours);
  }

  // 16 pixels of each channel in 16 bits: their products, and their luma.
  WMSCORE_AVX2 __m256i add_pixels(__m256i red, __m256i green, __m256i blue) {
    products_[0] = add_products(products_[0], red, red);
    products_[1] = add_products(products_[1], green, green);
    products_[2] = add_products(products_[2], blue, blue);
    products_[3] = add_products(products_[3], red, green);
    products_[4] = add_products(products_[4], green, blue);
    products_[5] = add_products(products_[5], blue, red);
    return _mm256_add_epi16(
        _mm256_add_epi16(_mm256_mullo_epi16(red, _mm256_set1_epi16(kLumaRed)),
                         _mm256_mullo_epi16(green, _mm256_set1_epi16(kLumaGreen))),
        _mm256_mullo_epi16(blue, _mm256_set1_epi16(kLumaBlue)));
  }

  WMSCORE_AVX2 void add_colours(__m256i red, __m256i green, __m256i blue, Luma* luma) {
    const __m256i values[] = {red, green, blue};
    const __m256i full = _mm256_set1_epi8(-1);
    for (int k = 0; k < 3; ++k) {
      channels_[k] = _mm256_add_epi64(channels_[k], _mm256_sad_epu8(values[k], zero()));
      chroma_ = _mm256_add_epi64(chroma_, _mm256_sad_epu8(values[k], values[(k + 1) % 3]));
      low_bytes_ = _mm256_sub_epi8(low_bytes_, _mm256_cmpeq_epi8(values[k], zero()));
      high_bytes_ = _mm256_sub_epi8(high_bytes_, _mm256_cmpeq_epi8(values[k], full));
    }
    const __m256i first =
        add_pixels(_mm256_unpacklo_epi8(red, zero()), _mm256_unpacklo_epi8(green, zero()),
                   _mm256_unpacklo_epi8(blue, zero()));
    const __m256i second =
        add_pixels(_mm256_unpackhi_epi8(red, zero()), _mm256_unpackhi_epi8(green, zero()),
                   _mm256_unpackhi_epi8(blue, zero()));
    // unpack works within halves of 128 bits: pixels 0..7 and 16..23, 8..15 and 24..31.
    __m256i* const out = reinterpret_cast<__m256i*>(luma);
    _mm256_storeu_si256(out, _mm256_permute2x128_si256(first, second, 0x20));
    _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(first, second, 0x31));
  }

  WMSCORE_AVX2 void add_change(__m256i frame, __m256i previous) {
    absolute_change_ = _mm256_add_epi64(absolute_change_, _mm256_sad_epu8(frame, previous));
    const __m256i distance =
        _mm256_or_si256(_mm256_subs_epu8(frame, previous), _mm256_subs_epu8(previous, frame));
    const __m256i first = _mm256_unpacklo_epi8(distance, zero());
    const __m256i second = _mm256_unpackhi_epi8(distance, zero());
    squared_change_ = add_products(add_products(squared_change_, first, first), second, second);
  }

  // Squares of |from - to| of the first `count` of 16 pixels; returns the absolute values' bytes,
  // 8 low, 8 high, 8 low, 8 high.
  WMSCORE_AVX2 __m256i add_steps(__m256i from, __m256i to, int32_t count) {
    const __m256i step =
        _mm256_and_si256(_mm256_sub_epi16(_mm256_max_epu16(from, to), _mm256_min_epu16(from, to)),
                         first_lanes(count));
    const __m256i high = high_bytes(step);
    const __m256i low = _mm256_and_si256(step, _mm256_set1_epi16(255));
    add_squares(gradient_, high, low);
    return _mm256_packus_epi16(low, high);
  }

  WMSCORE_AVX2 static int64_t take_squares(Squares& sums) {
    return 65536 * take_lanes<int32_t>(sums.high_high) + 512 * take_lanes<int32_t>(sums.high_low) +
           take_lanes<int32_t>(sums.low_low);
  }

  // Sums of low bytes in the even lanes and of high ones in the odd lanes.
  WMSCORE_AVX2 static int64_t take_bytes(__m256i& vector) {
    __m256i high = _mm256_unpackhi_epi64(vector, zero());
    __m256i low = _mm256_unpacklo_epi64(vector, zero());
    vector = zero();
    return 256 * take_lanes<int64_t>(high) + take_lanes<int64_t>(low);
  }

  __m256i channels_[3], products_[6], chroma_, low_, high_, border_, inner_, absolute_change_,
      squared_change_, low_bytes_, high_bytes_;
  Squares gradient_, laplacian_;
  int32_t pixels_;
};

}  // namespace wmscore
#endif
