// The sums that the frame_errors kernels share, and the pixels of frames side by side for them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"

namespace wmscore {

// Squared error, absolute error, sum of preds, sum of target, energy of preds, energy of target.
constexpr int kStatistics = 6;

// One block, widened before it is subtracted. Partial is exact for uint8; for floats, adding block
// by block also keeps the rounding error of a large plane small.
template <typename Partial, typename T, typename Sum>
WMSCORE_INLINE void add_pixels(const T* preds, const T* target, int32_t count, Sum* sums) {
  Partial squared = 0, absolute = 0, preds_sum = 0, target_sum = 0, preds_energy = 0,
          target_energy = 0;
#pragma omp simd reduction(+ : squared, absolute, preds_sum, target_sum, preds_energy, \
                               target_energy)
  for (int32_t i = 0; i < count; ++i) {
    const Partial p = preds[i];
    const Partial t = target[i];
    const Partial difference = p - t;
    squared += difference * difference;
    absolute += std::abs(difference);
    preds_sum += p;
    target_sum += t;
    preds_energy += p * p;
    target_energy += t * t;
  }
  const Partial partial[] = {squared, absolute, preds_sum, target_sum, preds_energy, target_energy};
  for (int k = 0; k < kStatistics; ++k) sums[k] += partial[k];
}

// The pixels of one block side by side and wide enough to compute with: where they are, or in
// `block`.
template <typename T, typename Wide>
WMSCORE_INLINE const Wide* gather(const T* data, int64_t stride, int64_t count, Wide* block) {
  if constexpr (std::is_same_v<T, Wide>) {
    if (stride == 1) return data;
  }
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) block[i] = widen(data[i]);
  } else if (stride == 3) {  // interleaved RGB: a constant stride becomes shuffles
    for (int64_t i = 0; i < count; ++i) block[i] = widen(data[3 * i]);
  } else {
    for (int64_t i = 0; i < count; ++i) block[i] = widen(data[stride * i]);
  }
  return block;
}

inline bool is_interleaved_rgb(const Frames& frames, int64_t channels) {
  return channels == 3 && frames.channel == 1 && frames.pixel == 3;
}

#ifdef WMSCORE_AVX2
WMSCORE_AVX2 inline int64_t add_longs(__m256i vector) {
  const __m128i half =
      _mm_add_epi64(_mm256_castsi256_si128(vector), _mm256_extracti128_si256(vector, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
}

WMSCORE_AVX2 inline int64_t add_unsigned_ints(__m256i vector) {
  const __m256i even = _mm256_and_si256(vector, _mm256_set1_epi64x(UINT32_MAX));
  return add_longs(_mm256_add_epi64(even, _mm256_srli_epi64(vector, 32)));
}

WMSCORE_AVX2 inline __m256i load(const uint8_t* data) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
}

WMSCORE_AVX2 inline void store(uint8_t* data, __m256i vector) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(data), vector);
}

// Running sums of one uint8 plane, 32 pixels at a time. Absolute differences and sums are one
// instruction each (vpsadbw), products are multiply-and-add-pairs (vpmaddwd): compilers find
// neither in the loop above and stay at a sixth of this speed.
struct ByteSums {
  static constexpr int32_t kMostPixels = 1 << 18;  // fewer than overflow a lane of 32 bits
  static_assert(kMostPixels / 32 * 4 * int64_t{255 * 255} <= UINT32_MAX);

  __m256i product, absolute, preds_sum, target_sum, preds_energy, target_energy;

  WMSCORE_AVX2 void clear() {
    product = absolute = preds_sum = target_sum = preds_energy = target_energy =
        _mm256_setzero_si256();
  }

  WMSCORE_AVX2 void add(__m256i p, __m256i t) {
    const __m256i zero = _mm256_setzero_si256();
    absolute = _mm256_add_epi64(absolute, _mm256_sad_epu8(p, t));
    preds_sum = _mm256_add_epi64(preds_sum, _mm256_sad_epu8(p, zero));
    target_sum = _mm256_add_epi64(target_sum, _mm256_sad_epu8(t, zero));
    const __m256i p_low = _mm256_unpacklo_epi8(p, zero), p_high = _mm256_unpackhi_epi8(p, zero);
    const __m256i t_low = _mm256_unpacklo_epi8(t, zero), t_high = _mm256_unpackhi_epi8(t, zero);
    product = add_products(product, p_low, t_low, p_high, t_high);
    preds_energy = add_products(preds_energy, p_low, p_low, p_high, p_high);
    target_energy = add_products(target_energy, t_low, t_low, t_high, t_high);
  }

  // (p - t)^2 = p^2 + t^2 - 2 p t, exact in integers and two instructions less.
  WMSCORE_AVX2 void add_to(int64_t* sums) const {
    const int64_t p_energy = add_unsigned_ints(preds_energy);
    const int64_t t_energy = add_unsigned_ints(target_energy);
    sums[0] += p_energy + t_energy - 2 * add_unsigned_ints(product);
    sums[1] += add_longs(absolute);
    sums[2] += add_longs(preds_sum);
    sums[3] += add_longs(target_sum);
    sums[4] += p_energy;
    sums[5] += t_energy;
  }

 private:
  WMSCORE_AVX2 static __m256i add_products(__m256i sum, __m256i a, __m256i b, __m256i c,
                                           __m256i d) {
    return _mm256_add_epi32(sum,
                            _mm256_add_epi32(_mm256_madd_epi16(a, b), _mm256_madd_epi16(c, d)));
  }
};

// A few pixels of interleaved RGB frames as three planes. So few that reading the next ones
// overlaps with summing these.
struct RgbTile {
  static constexpr int32_t kPixels = 128;
  alignas(32) uint8_t plane[3][kPixels];

  // `count` pixels, a multiple of 32 and at most kPixels. Unless they must be in order, each 32 of
  // them are mixed up, always in the same way, but in another way for each channel.
  template <bool kInOrder>
  WMSCORE_AVX2 void fill(const uint8_t* data, int32_t count) {
    // At each byte i the three vectors hold the three channels, rotated by i % 3 places.
    const __m256i one = pattern<kInOrder>(kEveryThird + 1), two = pattern<kInOrder>(kEveryThird);
    const __m256i any = _mm256_or_si256(one, two);
    for (int32_t i = 0; i < count; i += 32, data += 96) {
      __m256i red = kInOrder ? load_lanes(data) : load(data);
      __m256i green = kInOrder ? load_lanes(data + 16) : load(data + 64);
      __m256i blue = kInOrder ? load_lanes(data + 32) : load(data + 32);
      swap_where(two, red, green);
      swap_where(any, green, blue);
      swap_where(one, red, green);
      if constexpr (kInOrder) {
        red = sort(red, _mm_setr_epi8(0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14, 1, 4, 7, 10, 13));
        green = sort(green, _mm_setr_epi8(1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14));
        blue = sort(blue, _mm_setr_epi8(2, 5, 8, 11, 14, 1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15));
      }
      store(plane[0] + i, red);
      store(plane[1] + i, green);
      store(plane[2] + i, blue);
    }
  }

 private:
  static constexpr uint8_t kOn = 255;
  static constexpr uint8_t kEveryThird[] = {0, 0, kOn, 0, 0, kOn, 0, 0, kOn, 0, 0, kOn,
                                            0, 0, kOn, 0, 0, kOn, 0, 0, kOn, 0, 0, kOn,
                                            0, 0, kOn, 0, 0, kOn, 0, 0, kOn, 0, 0, kOn};

  // Bytes 0..15 and 48..63: 16 pixels to each half of a vector.
  WMSCORE_AVX2 static __m256i load_lanes(const uint8_t* data) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 48)), 1);
  }

  template <bool kInOrder>
  WMSCORE_AVX2 static __m256i pattern(const uint8_t* bytes) {
    return kInOrder ? _mm256_broadcastsi128_si256(
                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)))
                    : load(bytes);
  }

  WMSCORE_AVX2 static void swap_where(__m256i mask, __m256i& a, __m256i& b) {
    const __m256i difference = _mm256_and_si256(_mm256_xor_si256(a, b), mask);
    a = _mm256_xor_si256(a, difference);
    b = _mm256_xor_si256(b, difference);
  }

  WMSCORE_AVX2 static __m256i sort(__m256i vector, __m128i order) {
    return _mm256_shuffle_epi8(vector, _mm256_broadcastsi128_si256(order));
  }
};
#endif

}  // namespace wmscore
