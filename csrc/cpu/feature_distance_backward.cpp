// Gradients of the distances of feature vectors, in one read of each map.
//
// With unit vectors x = p / |p| and y = t / |t|, e = x - y and D = Σ w e², the gradient of p is
// 2 (w e - x Σ w e x) / |p|, and 0 where p is 0 and has no direction; that of t likewise.
#include "feature_vectors.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FeatureGradients;
using wmscore::FeatureReal;
using wmscore::Features;
using wmscore::Frames;
using wmscore::Half;
using wmscore::Rows;
using wmscore::Tiles;

template <typename T>
WMSCORE_INLINE T* map_of(const Frames& frames, int64_t image) {
  return static_cast<T*>(const_cast<void*>(frames.data)) + image * frames.image;
}

// The positions first <= i < last of one map.
template <typename T, typename Vectors>
WMSCORE_INLINE void differentiate(const Features& maps, Vectors& vectors, int64_t image,
                                  int64_t other, const FeatureReal<T>* weight,
                                  const double* gradient, bool spatial, int64_t first, int64_t last,
                                  const FeatureGradients& gradients) {
  using Real = FeatureReal<T>;
  constexpr int kPositions = Vectors::kPositions;
  Real preds_squares[kPositions] = {}, target_squares[kPositions] = {};
  Real inverse[kPositions], ratio[kPositions];
  Real with_preds[kPositions] = {}, with_target[kPositions] = {};
  Real scale[kPositions] = {}, along[kPositions] = {};
  const T* preds = map_of<const T>(maps.preds, image);
  const T* target = map_of<const T>(maps.target, other);
  for (int64_t start = first; start < last; start += kPositions) {
    const int count = static_cast<int>(last - start < kPositions ? last - start : kPositions);
    vectors.load(maps, preds, target, start, last, count);
    if (maps.normalize) vectors.add_squares(preds_squares, target_squares);
    wmscore::compare_lengths(maps.normalize, kPositions, preds_squares, target_squares, inverse,
                             ratio);
    if (maps.normalize) vectors.add_products(ratio, weight, with_preds, with_target);
    Real of_distance[kPositions];
    for (int i = 0; i < count; ++i) {
      of_distance[i] =
          static_cast<Real>(spatial ? gradient[image * maps.pixels + start + i]
                                    : gradient[image] / static_cast<double>(maps.pixels));
    }
    for (int side = 0; side < 2; ++side) {
      const bool of_target = side == 1;
      const Frames& frames = of_target ? gradients.target : gradients.preds;
      if (frames.data == nullptr) continue;
      for (int i = 0; i < count; ++i) {
        // 1 / |t| = r / |p|.
        const Real own_inverse = of_target ? inverse[i] * ratio[i] : inverse[i];
        const Real length = std::sqrt(of_target ? target_squares[i] : preds_squares[i]);
        const bool has_gradient = !maps.normalize || length != 0;
        const Real factor = (of_target ? -2 : 2) * of_distance[i];
        scale[i] = (has_gradient ? inverse[i] * own_inverse : 0) * factor;  // of NaN, NaN
        along[i] = maps.normalize && has_gradient
                       ? (of_target ? with_target[i] : with_preds[i]) * own_inverse / length
                       : 0;
      }
      vectors.write(of_target, ratio, weight, scale, along, frames, map_of<T>(frames, image),
                    start);
    }
  }
}

template <typename T>
WMSCORE_INLINE void fill(const Frames& frames, int64_t image, int64_t channels, int64_t first,
                         int64_t last, FeatureReal<T> value) {
  if (frames.data == nullptr) return;
  for (int64_t c = 0; c < channels; ++c) {
    T* const out = map_of<T>(frames, image) + c * frames.channel;
    for (int64_t i = first; i < last; ++i) wmscore::narrow(value, out[i * frames.pixel]);
  }
}

template <typename T, typename Vectors>
WMSCORE_INLINE void differentiate_bands(const Features& maps, Vectors& vectors,
                                        const double* gradient, bool spatial, int64_t first,
                                        int64_t last, const FeatureGradients& gradients) {
  const auto weight = wmscore::weight_of<T>(maps);
  const int64_t band = wmscore::feature_band(maps.channels);
  const int64_t bands = wmscore_feature_distance_bands(maps.channels, maps.pixels);
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / bands;
    const int64_t start = item % bands * band;
    const int64_t end = maps.pixels - start < band ? maps.pixels : start + band;
    const int64_t other = wmscore::target_of(maps, image);
    if (other >= 0) {
      differentiate<T>(maps, vectors, image, other, weight.data(), gradient, spatial, start, end,
                       gradients);
    } else {
      fill<T>(gradients.preds, image, maps.channels, start, end, std::nanf(""));
      fill<T>(gradients.target, image, maps.channels, start, end, std::nanf(""));
    }
  }
}

template <typename T>
WMSCORE_INLINE void run(const Features& maps, const double* gradient, bool spatial, int64_t first,
                        int64_t last, const FeatureGradients& gradients) {
  const bool has_rows = wmscore::has_rows(maps) &&
                        (gradients.preds.data == nullptr || gradients.preds.channel == 1) &&
                        (gradients.target.data == nullptr || gradients.target.channel == 1);
  if (has_rows) {
    Rows<T> rows(maps.channels);
    differentiate_bands<T>(maps, rows, gradient, spatial, first, last, gradients);
  } else {
    Tiles<T> tiles(maps.channels, maps.pixels);
    differentiate_bands<T>(maps, tiles, gradient, spatial, first, last, gradients);
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_DIFFERENTIATE(name, T)                                                       \
  WMSCORE_CLONES void name(const Features& maps, const double* gradient, bool spatial,       \
                           int64_t first, int64_t last, const FeatureGradients& gradients) { \
    run<T>(maps, gradient, spatial, first, last, gradients);                                 \
  }
WMSCORE_DIFFERENTIATE(differentiate_float16, Half)
WMSCORE_DIFFERENTIATE(differentiate_bfloat16, Bfloat16)
WMSCORE_DIFFERENTIATE(differentiate_float32, float)
WMSCORE_DIFFERENTIATE(differentiate_float64, double)

}  // namespace

void wmscore_feature_distance_backward_cpu(Element element, Features maps, const double* gradient,
                                           bool spatial, int64_t first, int64_t last,
                                           FeatureGradients gradients) {
  switch (element) {
    case Element::kFloat16:
      return differentiate_float16(maps, gradient, spatial, first, last, gradients);
    case Element::kBfloat16:
      return differentiate_bfloat16(maps, gradient, spatial, first, last, gradients);
    case Element::kFloat32:
      return differentiate_float32(maps, gradient, spatial, first, last, gradients);
    case Element::kFloat64:
      return differentiate_float64(maps, gradient, spatial, first, last, gradients);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      return;
  }
}
