// frame_quality of uint8 rows with AVX2. The sums stay in vectors over many rows.
#pragma once

#include "../quality.h"
#include "clones.h"

#ifdef WMSCORE_AVX2
#include <cstdint>
#include <cstring>

namespace wmscore {

// Squares of values too wide for vpmaddwd, from two halves: (scale high + low)² summed as Σhigh²,
// Σhigh low and Σlow².
struct Squares {
  __m256i high_high, high_low, low_low;
};

WMSCORE_AVX2 inline __m256i add_product(__m256i sum, __m256i left, __m256i right) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(left, right));
}

WMSCORE_AVX2 inline void add_squares(Squares& sums, __m256i high, __m256i low) {
  sums.high_high = add_product(sums.high_high, high, high);
  sums.high_low = add_product(sums.high_low, high, low);
  sums.low_low = add_product(sums.low_low, low, low);
}

WMSCORE_AVX2 inline __m256i load(const void* data) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(data));
}

// The first `count` < 16 lanes, and zeros.
WMSCORE_AVX2 inline __m256i first_lanes(__m256i values, int32_t count) {
  alignas(32) static constexpr int16_t kLanes[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                     8, 9, 10, 11, 12, 13, 14, 15};
  return _mm256_and_si256(
      values, _mm256_cmpgt_epi16(_mm256_set1_epi16(static_cast<int16_t>(count)), load(kLanes)));
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
    // No lane of 32 bits may overflow before it is emptied: 16 Laplacians add 2 * 1024² to one.
    constexpr int32_t kMostPixels = 16 * 1000;
    const int32_t rounded = (count + 31) / 32 * 32;
    if (pixels_ + rounded > kMostPixels) finish(sums);
    pixels_ += rounded;

    const int32_t whole = count / 32 * 32;
    add_bytes(rgb[0], rgb[1], rgb[2], whole);
    add_products(rgb[0], rgb[1], rgb[2], whole, luma);
    if (whole < count) {
      alignas(32) uint8_t tail[3][32] = {};
      for (int k = 0; k < 3; ++k) std::memcpy(tail[k], rgb[k] + whole, count - whole);
      add_bytes(tail[0], tail[1], tail[2], 32);
      add_products(tail[0], tail[1], tail[2], 32, luma + whole);
      sums[kLow] -= 3 * (rounded - count);  // the zeros that fill the vector
    }
  }

  WMSCORE_AVX2 void change(const uint8_t* frame, const uint8_t* previous, int32_t count, int64_t*) {
    const int32_t whole = count / 32 * 32;
    add_change(frame, previous, whole);
    if (whole < count) {
      alignas(32) uint8_t tail[2][32] = {};
      std::memcpy(tail[0], frame + whole, count - whole);
      std::memcpy(tail[1], previous + whole, count - whole);
      add_change(tail[0], tail[1], 32);
    }
  }

  WMSCORE_AVX2 void across(const Luma* row, int32_t count, int64_t*) {
    // The step from pixel 7 to pixel 8 crosses the grid; low bytes come before high ones.
    alignas(32) static constexpr uint8_t kAtBorder[32] = {0, 0,   0, 0, 0,   0, 0, 255, 0, 0,  0,
                                                          0, 0,   0, 0, 255, 0, 0, 0,   0, 0,  0,
                                                          0, 255, 0, 0, 0,   0, 0, 0,   0, 255};
    const __m256i at_border = load(kAtBorder);
    Squares squares = gradient_;
    __m256i border = zero(), all = zero();
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i step = absolute(load(row + i), load(row + i + 1));
      const __m256i bytes =
          add_step(i + 16 <= count ? step : first_lanes(step, count - i), squares);
      all = add_bytes(all, bytes);
      border = add_bytes(border, _mm256_and_si256(bytes, at_border));
    }
    gradient_ = squares;
    border_ = _mm256_add_epi64(border_, border);
    inner_ = _mm256_add_epi64(inner_, _mm256_sub_epi64(all, border));
  }

  WMSCORE_AVX2 void down(const Luma* above, const Luma* row, int32_t count, bool is_border,
                         int64_t*) {
    Squares squares = gradient_;
    __m256i all = zero();
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i step = absolute(load(above + i), load(row + i));
      all =
          add_bytes(all, add_step(i + 16 <= count ? step : first_lanes(step, count - i), squares));
    }
    gradient_ = squares;
    __m256i& sum = is_border ? border_ : inner_;
    sum = _mm256_add_epi64(sum, all);
  }

  WMSCORE_AVX2 void laplacian(const Luma* above, const Luma* row, const Luma* below, int32_t count,
                              int64_t*) {
    Squares squares = laplacian_;
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i centre = load(row + i);
      const __m256i left = load(row + i - 1), right = load(row + i + 1);
      const __m256i up = load(above + i), down = load(below + i);
      // Four times the centre less its neighbours has 18 bits and a sign. Part of it is 1024 times
      // the high byte of the centre less that of the neighbours' average; from the value modulo
      // 2^16 follows the rest, which is at most 1024 away from 0 however the average is rounded.
      const __m256i average =
          _mm256_avg_epu16(_mm256_avg_epu16(left, right), _mm256_avg_epu16(up, down));
      __m256i high = _mm256_sub_epi16(high_bytes(centre), high_bytes(average));
      const __m256i value = _mm256_sub_epi16(
          _mm256_sub_epi16(_mm256_slli_epi16(centre, 2), _mm256_add_epi16(left, right)),
          _mm256_add_epi16(up, down));
      __m256i low = _mm256_sub_epi16(value, _mm256_slli_epi16(high, 10));
      if (i + 16 > count) {
        high = first_lanes(high, count - i);
        low = first_lanes(low, count - i);
      }
      add_squares(squares, high, low);
    }
    laplacian_ = squares;
  }

  // Moves the sums out of the vectors.
  WMSCORE_AVX2 void finish(int64_t* sums) {
    for (int k = 0; k < 3; ++k) sums[kRed + k] += take_lanes<int64_t>(channels_[k]);
    for (int k = 0; k < 6; ++k) sums[kRedRed + k] += take_lanes<int32_t>(products_[k]);
    sums[kChroma] += take_lanes<int64_t>(chroma_) / 2;
    sums[kLow] += take_lanes<int64_t>(low_);
    sums[kHigh] += take_lanes<int64_t>(high_);
    sums[kGradient] += take_squares(gradient_, 256);
    sums[kLaplacian] += take_squares(laplacian_, 1024);
    sums[kBorder] += take_bytes(border_);
    sums[kInner] += take_bytes(inner_);
    sums[kAbsoluteChange] += take_lanes<int64_t>(absolute_change_);
    sums[kSquaredChange] += take_lanes<int32_t>(squared_change_);
    pixels_ = 0;
  }

 private:
  WMSCORE_AVX2 static __m256i zero() { return _mm256_setzero_si256(); }

  WMSCORE_AVX2 static __m256i high_bytes(__m256i values) { return _mm256_srli_epi16(values, 8); }

  WMSCORE_AVX2 static __m256i absolute(__m256i from, __m256i to) {
    return _mm256_sub_epi16(_mm256_max_epu16(from, to), _mm256_min_epu16(from, to));
  }

  WMSCORE_AVX2 static __m256i add_bytes(__m256i sum, __m256i bytes) {
    return _mm256_add_epi64(sum, _mm256_sad_epu8(bytes, zero()));
  }

  // What single bytes say: sums, chroma, clipping.
  WMSCORE_AVX2 void add_bytes(const uint8_t* red, const uint8_t* green, const uint8_t* blue,
                              int32_t count) {
    const __m256i full = _mm256_set1_epi8(-1);
    __m256i r_sum = channels_[0], g_sum = channels_[1], b_sum = channels_[2], chroma = chroma_;
    __m256i low = zero(), high = zero();  // in bytes: a strip adds less than 255 to one
    for (int32_t i = 0; i < count; i += 32) {
      const __m256i r = load(red + i), g = load(green + i), b = load(blue + i);
      r_sum = add_bytes(r_sum, r);
      g_sum = add_bytes(g_sum, g);
      b_sum = add_bytes(b_sum, b);
      chroma = _mm256_add_epi64(
          chroma, _mm256_add_epi64(_mm256_sad_epu8(r, g),
                                   _mm256_add_epi64(_mm256_sad_epu8(g, b), _mm256_sad_epu8(b, r))));
      low = _mm256_sub_epi8(low, _mm256_add_epi8(_mm256_cmpeq_epi8(r, zero()),
                                                 _mm256_add_epi8(_mm256_cmpeq_epi8(g, zero()),
                                                                 _mm256_cmpeq_epi8(b, zero()))));
      high = _mm256_sub_epi8(high, _mm256_add_epi8(_mm256_cmpeq_epi8(r, full),
                                                   _mm256_add_epi8(_mm256_cmpeq_epi8(g, full),
                                                                   _mm256_cmpeq_epi8(b, full))));
    }
    channels_[0] = r_sum;
    channels_[1] = g_sum;
    channels_[2] = b_sum;
    chroma_ = chroma;
    low_ = add_bytes(low_, low);
    high_ = add_bytes(high_, high);
  }

  // 16 pixels of each channel in 16 bits: adds their products, returns their luma.
  WMSCORE_AVX2 static __m256i add_pixels(__m256i* products, __m256i red, __m256i green,
                                         __m256i blue) {
    products[0] = add_product(products[0], red, red);
    products[1] = add_product(products[1], green, green);
    products[2] = add_product(products[2], blue, blue);
    products[3] = add_product(products[3], red, green);
    products[4] = add_product(products[4], green, blue);
    products[5] = add_product(products[5], blue, red);
    return _mm256_add_epi16(
        _mm256_add_epi16(_mm256_mullo_epi16(red, _mm256_set1_epi16(kLumaRed)),
                         _mm256_mullo_epi16(green, _mm256_set1_epi16(kLumaGreen))),
        _mm256_mullo_epi16(blue, _mm256_set1_epi16(kLumaBlue)));
  }

  WMSCORE_AVX2 void add_products(const uint8_t* red, const uint8_t* green, const uint8_t* blue,
                                 int32_t count, Luma* luma) {
    __m256i products[6];
    for (int k = 0; k < 6; ++k) products[k] = products_[k];
    for (int32_t i = 0; i < count; i += 16) {
      const __m256i values =
          add_pixels(products, widen_bytes(red + i), widen_bytes(green + i), widen_bytes(blue + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(luma + i), values);
    }
    for (int k = 0; k < 6; ++k) products_[k] = products[k];
  }

  WMSCORE_AVX2 static __m256i widen_bytes(const uint8_t* data) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
  }

  WMSCORE_AVX2 void add_change(const uint8_t* frame, const uint8_t* previous, int32_t count) {
    __m256i absolute = absolute_change_, squared = squared_change_;
    for (int32_t i = 0; i < count; i += 32) {
      const __m256i x = load(frame + i), p = load(previous + i);
      const __m256i distance = _mm256_sub_epi8(_mm256_max_epu8(x, p), _mm256_min_epu8(x, p));
      const __m256i first = _mm256_unpacklo_epi8(distance, zero());
      const __m256i second = _mm256_unpackhi_epi8(distance, zero());
      absolute = add_bytes(absolute, distance);
      squared = add_product(add_product(squared, first, first), second, second);
    }
    absolute_change_ = absolute;
    squared_change_ = squared;
  }

  // Adds the squares of 16 absolute steps and returns their bytes: 8 low, 8 high, 8 low, 8 high.
  WMSCORE_AVX2 static __m256i add_step(__m256i step, Squares& squares) {
    const __m256i high = high_bytes(step);
    const __m256i low = _mm256_and_si256(step, _mm256_set1_epi16(255));
    add_squares(squares, high, low);
    return _mm256_packus_epi16(low, high);
  }

  // Of values of `scale` high + low.
  WMSCORE_AVX2 static int64_t take_squares(Squares& sums, int64_t scale) {
    return scale * scale * take_lanes<int32_t>(sums.high_high) +
           2 * scale * take_lanes<int32_t>(sums.high_low) + take_lanes<int32_t>(sums.low_low);
  }

  // Sums of low bytes in the even lanes and of high ones in the odd lanes.
  WMSCORE_AVX2 static int64_t take_bytes(__m256i& vector) {
    __m256i high = _mm256_unpackhi_epi64(vector, zero());
    __m256i low = _mm256_unpacklo_epi64(vector, zero());
    vector = zero();
    return 256 * take_lanes<int64_t>(high) + take_lanes<int64_t>(low);
  }

  __m256i channels_[3], products_[6], chroma_, low_, high_, border_, inner_, absolute_change_,
      squared_change_;
  Squares gradient_, laplacian_;
  int32_t pixels_;
};

}  // namespace wmscore
#endif
