// Error sums of two stacks of frames, in one read of each.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Frames;
using wmscore::Half;

constexpr int kStatistics = 6;

// Pixels taken at a time: both blocks stay in the first-level cache.
template <typename T>
constexpr int64_t kBlock = 1024;
template <>
constexpr int64_t kBlock<uint8_t> = 4096;
static_assert(kBlock<uint8_t> * 255 * 255 <= INT32_MAX, "the sums of one block must fit 32 bits");

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

#ifdef WMSCORE_AVX2
WMSCORE_AVX2 inline __m256i add_squares(__m256i sum, __m256i low, __m256i high) {
  return _mm256_add_epi32(
      sum, _mm256_add_epi32(_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high)));
}

template <typename Lane>
WMSCORE_AVX2 inline int64_t add_lanes(__m256i vector) {
  alignas(32) Lane lanes[32 / sizeof(Lane)];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), vector);
  int64_t sum = 0;
  for (const Lane lane : lanes) sum += lane;
  return sum;
}

// Whole vectors of 32 pixels; returns how many pixels it took. Absolute differences and sums are
// one instruction each (vpsadbw), squares are multiply-and-add-pairs (vpmaddwd): compilers find
// neither in the loop above and stay at a sixth of this speed.
WMSCORE_AVX2 int32_t add_vectors(const uint8_t* preds, const uint8_t* target, int32_t count,
                                 int64_t* sums) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i squared = zero, absolute = zero, preds_sum = zero, target_sum = zero;
  __m256i preds_energy = zero, target_energy = zero;
  int32_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i p = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(preds + i));
    const __m256i t = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(target + i));
    absolute = _mm256_add_epi64(absolute, _mm256_sad_epu8(p, t));
    preds_sum = _mm256_add_epi64(preds_sum, _mm256_sad_epu8(p, zero));
    target_sum = _mm256_add_epi64(target_sum, _mm256_sad_epu8(t, zero));
    const __m256i p_low = _mm256_unpacklo_epi8(p, zero), p_high = _mm256_unpackhi_epi8(p, zero);
    const __m256i t_low = _mm256_unpacklo_epi8(t, zero), t_high = _mm256_unpackhi_epi8(t, zero);
    squared =
        add_squares(squared, _mm256_sub_epi16(p_low, t_low), _mm256_sub_epi16(p_high, t_high));
    preds_energy = add_squares(preds_energy, p_low, p_high);
    target_energy = add_squares(target_energy, t_low, t_high);
  }
  sums[0] += add_lanes<int32_t>(squared);
  sums[1] += add_lanes<int64_t>(absolute);
  sums[2] += add_lanes<int64_t>(preds_sum);
  sums[3] += add_lanes<int64_t>(target_sum);
  sums[4] += add_lanes<int32_t>(preds_energy);
  sums[5] += add_lanes<int32_t>(target_energy);
  return i;
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

// The pixels of one block side by side and wide enough to compute with: where they are, or in
// `block`.
template <typename T, typename Wide>
WMSCORE_INLINE const Wide* gather(const T* data, int64_t stride, int64_t count, Wide* block) {
  if constexpr (std::is_same_v<T, Wide>) {
    if (stride == 1) return data;
  }
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) block[i] = wmscore::widen(data[i]);
  } else if (stride == 3) {  // interleaved RGB: a constant stride becomes shuffles
    for (int64_t i = 0; i < count; ++i) block[i] = wmscore::widen(data[3 * i]);
  } else {
    for (int64_t i = 0; i < count; ++i) block[i] = wmscore::widen(data[stride * i]);
  }
  return block;
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
