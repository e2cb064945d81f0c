// Runs of label maps: where no label changes, nothing is done but to look.
#pragma once

#include <algorithm>
#include <cstdint>

#include "clones.h"

namespace wmscore {

constexpr int64_t kWordPixels = 64;  // a bit each
constexpr int64_t kBlockWords = 64;  // looked at before they are visited

// Bit i of word w: pixel w * 64 + i differs from the one before it, in either map. Without kPair
// there is one map.
template <typename T, bool kPair>
void find_changes(const T* a, const T* b, int64_t words, uint64_t* changes) {
  for (int64_t w = 0; w < words; ++w, a += kWordPixels, b += kPair ? kWordPixels : 0) {
    uint64_t bits = 0;
    for (int i = 0; i < kWordPixels; ++i) {
      bool changed = a[i] != a[i - 1];
      if constexpr (kPair) changed |= b[i] != b[i - 1];
      bits |= static_cast<uint64_t>(changed) << i;
    }
    changes[w] = bits;
  }
}

#ifdef WMSCORE_AVX2
template <typename T>
WMSCORE_AVX2 inline __m256i stays(const T* labels) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels - 1));
  if constexpr (sizeof(T) == 1) return _mm256_cmpeq_epi8(a, b);
  if constexpr (sizeof(T) == 2) return _mm256_cmpeq_epi16(a, b);
  if constexpr (sizeof(T) == 4) return _mm256_cmpeq_epi32(a, b);
  return _mm256_cmpeq_epi64(a, b);
}

template <typename T, bool kPair>
WMSCORE_AVX2 inline __m256i stays(const T* a, const T* b) {
  if constexpr (kPair) return _mm256_and_si256(stays(a), stays(b));
  return stays(a);
}

template <typename T, bool kPair>
WMSCORE_AVX2 void find_changes_avx2(const T* a, const T* b, int64_t words, uint64_t* changes) {
  constexpr int kLanes = 32 / sizeof(T);
  for (int64_t w = 0; w < words; ++w, a += kWordPixels, b += kPair ? kWordPixels : 0) {
    uint64_t same = 0;
    if constexpr (sizeof(T) == 2) {  // no instruction gathers the bits of 16-bit lanes
      for (int i = 0; i < kWordPixels; i += 32) {
        const __m256i packed = _mm256_packs_epi16(stays<T, kPair>(a + i, b + i),
                                                  stays<T, kPair>(a + i + 16, b + i + 16));
        const __m256i in_order = _mm256_permute4x64_epi64(packed, 0xd8);
        same |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(in_order))) << i;
      }
    } else {
      for (int i = 0; i < kWordPixels; i += kLanes) {
        const __m256i lanes = stays<T, kPair>(a + i, b + i);
        uint32_t bits;
        if constexpr (sizeof(T) == 1) bits = _mm256_movemask_epi8(lanes);
        if constexpr (sizeof(T) == 4) bits = _mm256_movemask_ps(_mm256_castsi256_ps(lanes));
        if constexpr (sizeof(T) == 8) bits = _mm256_movemask_pd(_mm256_castsi256_pd(lanes));
        same |= static_cast<uint64_t>(bits) << i;
      }
    }
    changes[w] = ~same;
  }
}
#endif

template <typename T, bool kPair>
class Runs {
 public:
  Runs() {
#ifdef WMSCORE_AVX2
    if (has_avx2()) find_changes_ = find_changes_avx2<T, kPair>;
#endif
  }

  // Calls visit(start, stop) for each run of at least one pixel, in order. Runs cross the ends of
  // rows.
  template <typename Visit>
  WMSCORE_INLINE void visit(const T* a, const T* b, int64_t pixels, Visit&& visit) const {
    int64_t start = 0;  // of the run
    int64_t i = 1;
    uint64_t changes[kBlockWords];
    while (i + kWordPixels <= pixels) {
      const int64_t words = std::min(kBlockWords, (pixels - i) / kWordPixels);
      find_changes_(a + i, kPair ? b + i : b, words, changes);
      for (int64_t w = 0; w < words; ++w, i += kWordPixels) {
        for (uint64_t bits = changes[w]; bits != 0; bits &= bits - 1) {
          const int64_t stop = i + __builtin_ctzll(bits);
          visit(start, stop);
          start = stop;
        }
      }
    }
    for (; i < pixels; ++i) {
      if (a[i] == a[i - 1] && (!kPair || b[i] == b[i - 1])) continue;
      visit(start, i);
      start = i;
    }
    visit(start, pixels);
  }

 private:
  void (*find_changes_)(const T*, const T*, int64_t, uint64_t*) = find_changes<T, kPair>;
};

}  // namespace wmscore
