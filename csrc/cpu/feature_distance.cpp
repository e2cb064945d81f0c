// Distances of feature vectors, in one read of each map.
#include "feature_vectors.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FeatureReal;
using wmscore::Features;
using wmscore::Half;
using wmscore::Rows;
using wmscore::Tiles;

// The positions first <= i < last of one map; returns the sum of their distances.
template <typename T, typename Vectors>
WMSCORE_INLINE double measure(const Features& maps, Vectors& vectors, const T* preds,
                              const T* target, const FeatureReal<T>* weight, int64_t first,
                              int64_t last, double* map) {
  using Real = FeatureReal<T>;
  constexpr int kPositions = Vectors::kPositions;
  Real preds_squares[kPositions] = {}, target_squares[kPositions] = {};
  Real inverse[kPositions], ratio[kPositions], errors[kPositions] = {};
  double sums[kPositions] = {};  // of every kPositions-th position: one sum would wait for itself
  for (int64_t start = first; start < last; start += kPositions) {
    const int count = static_cast<int>(last - start < kPositions ? last - start : kPositions);
    vectors.load(maps, preds, target, start, last, count);
    if (maps.normalize) vectors.add_squares(preds_squares, target_squares);
    wmscore::compare_lengths(maps.normalize, kPositions, preds_squares, target_squares, inverse,
                             ratio);
    vectors.add_errors(ratio, weight, errors);
    for (int i = 0; i < kPositions; ++i) errors[i] *= inverse[i] * inverse[i];
    if (map != nullptr) {
      for (int i = 0; i < count; ++i) map[start + i] = errors[i];
    } else if (count == kPositions) {
      for (int i = 0; i < kPositions; ++i) sums[i] += errors[i];
    } else {
      for (int i = 0; i < count; ++i) sums[i] += errors[i];
    }
  }
  double sum = 0;
  for (const double of_some : sums) sum += of_some;
  return sum;
}

template <typename T, typename Vectors>
WMSCORE_INLINE void measure_bands(const Features& maps, Vectors& vectors, int64_t first,
                                  int64_t last, double* sums, double* map) {
  const auto weight = wmscore::weight_of<T>(maps);
  const int64_t band = wmscore::feature_band(maps.channels);
  const int64_t bands = wmscore_feature_distance_bands(maps.channels, maps.pixels);
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / bands;
    const int64_t start = item % bands * band;
    const int64_t end = maps.pixels - start < band ? maps.pixels : start + band;
    const int64_t other = wmscore::target_of(maps, image);
    double* const own_map = map == nullptr ? nullptr : map + image * maps.pixels;
    double sum = std::nan("");
    if (other >= 0) {
      sum =
          measure(maps, vectors, static_cast<const T*>(maps.preds.data) + image * maps.preds.image,
                  static_cast<const T*>(maps.target.data) + other * maps.target.image,
                  weight.data(), start, end, own_map);
    } else if (own_map != nullptr) {
      for (int64_t i = start; i < end; ++i) own_map[i] = sum;
    }
    if (sums != nullptr) sums[item] = sum;
  }
}

template <typename T>
WMSCORE_INLINE void run(const Features& maps, int64_t first, int64_t last, double* sums,
                        double* map) {
  if (wmscore::has_rows(maps)) {
    Rows<T> rows(maps.channels);
    measure_bands<T>(maps, rows, first, last, sums, map);
  } else {
    Tiles<T> tiles(maps.channels, maps.pixels);
    measure_bands<T>(maps, tiles, first, last, sums, map);
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_MEASURE(name, T)                                                            \
  WMSCORE_CLONES void name(const Features& maps, int64_t first, int64_t last, double* sums, \
                           double* map) {                                                   \
    run<T>(maps, first, last, sums, map);                                                   \
  }
WMSCORE_MEASURE(measure_float16, Half)
WMSCORE_MEASURE(measure_bfloat16, Bfloat16)
WMSCORE_MEASURE(measure_float32, float)
WMSCORE_MEASURE(measure_float64, double)

}  // namespace

int64_t wmscore_feature_distance_bands(int64_t channels, int64_t pixels) {
  const int64_t band = wmscore::feature_band(channels);
  return pixels <= band ? 1 : (pixels + band - 1) / band;
}

void wmscore_feature_distance_cpu(Element element, Features maps, int64_t first, int64_t last,
                                  double* sums, double* map) {
  switch (element) {
    case Element::kFloat16:
      return measure_float16(maps, first, last, sums, map);
    case Element::kBfloat16:
      return measure_bfloat16(maps, first, last, sums, map);
    case Element::kFloat32:
      return measure_float32(maps, first, last, sums, map);
    case Element::kFloat64:
      return measure_float64(maps, first, last, sums, map);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      return;
  }
}
