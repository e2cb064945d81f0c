// Gradients of the distances of feature vectors, in one read of each map (features.h says how).
//
// With unit vectors x = p / |p| and y = t / |t|, e = x - y and D = Σ w e², the gradient of p is
// 2 (w e - x Σ w e x) / |p|, and 0 where p is 0 and has no direction; that of t likewise.
#include "features.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FeatureGradients;
using wmscore::FeatureReal;
using wmscore::Features;
using wmscore::Frames;
using wmscore::Half;
using wmscore::Lengths;
using wmscore::narrow;
using wmscore::Vectors;
using wmscore::Word;

template <typename T>
__device__ T* vector_of(const Frames& frames, int64_t image, int64_t pixel) {
  return static_cast<T*>(const_cast<void*>(frames.data)) + image * frames.image +
         pixel * frames.pixel;
}

template <typename T, int kElements>
__device__ void write(const FeatureReal<T> (&values)[kElements], T* vector, int64_t offset) {
  T elements[kElements];
#pragma unroll
  for (int e = 0; e < kElements; ++e) narrow(values[e], elements[e]);
  Word<T, kElements> word;
  memcpy(&word, elements, sizeof word);
  *reinterpret_cast<Word<T, kElements>*>(vector + offset) = word;
}

// scale (w (p - r t) - along v), where v is p or t.
template <typename Real>
struct Side {
  Real scale;
  Real along;

  // `length` and `inverse` of v; `inner` is Σ w (p - r t) v.
  __device__ Side(bool normalize, Real factor, Real length, Real inverse, Real inner) {
    const bool has_gradient = !normalize || length != 0;
    scale = (has_gradient ? inverse : 0) * factor;  // of NaN, NaN
    along = normalize && has_gradient ? inner * inverse / length : 0;
  }
};

template <typename T, int kElements, int kPieces, typename Team>
__global__ void __launch_bounds__(Team::kMostThreads)
    differentiate(Features maps, int64_t positions, Team team, const double* gradient, bool spatial,
                  FeatureGradients gradients) {
  using Real = FeatureReal<T>;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * team.positions();
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * team.positions(); first < positions;
       first += stride) {
    const int64_t own = first + team.position();
    const int64_t position = own < positions ? own : positions - 1;
    const int64_t image = position / maps.pixels;
    const int64_t pixel = position - image * maps.pixels;
    const Vectors<T, kElements, kPieces> vectors(maps, image, pixel, team.member(),
                                                 blockDim.x / team.positions());
    const Lengths<Real> lengths(vectors, team, maps.normalize);
    Real inner[2] = {};
    if (maps.normalize) {
      vectors.for_each([&](int, const auto& p, const auto& t, const auto& w) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          const Real d = w[e] * (p[e] - lengths.ratio * t[e]);
          inner[0] += d * p[e];
          inner[1] += d * t[e];
        }
      });
      team.add(inner);
    }
    if (own >= positions) continue;
    const Real of_distance = static_cast<Real>(
        spatial ? gradient[position] : gradient[image] / static_cast<double>(maps.pixels));
    const Real factor =
        vectors.has_target ? 2 * of_distance * lengths.inverse : static_cast<Real>(nanf(""));
    const Side<Real> preds(maps.normalize, factor, lengths.preds, lengths.inverse, inner[0]);
    const Side<Real> target(maps.normalize, -factor, lengths.target,
                            lengths.inverse * lengths.ratio, inner[1]);
    T* const of_preds = vector_of<T>(gradients.preds, image, pixel);
    T* const of_target = vector_of<T>(gradients.target, image, pixel);
    vectors.for_each([&](int c, const auto& p, const auto& t, const auto& w) {
      Real d[kElements];
      Real values[kElements];
#pragma unroll
      for (int e = 0; e < kElements; ++e) d[e] = w[e] * (p[e] - lengths.ratio * t[e]);
      if (gradients.preds.data != nullptr) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) values[e] = preds.scale * (d[e] - preds.along * p[e]);
        write<T, kElements>(values, of_preds, c * gradients.preds.channel);
      }
      if (gradients.target.data != nullptr) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) values[e] = target.scale * (d[e] - target.along * t[e]);
        write<T, kElements>(values, of_target, c * gradients.target.channel);
      }
    });
  }
}

template <typename T, int kElements, int kPieces, typename Team>
struct Differentiate {
  static constexpr auto function = differentiate<T, kElements, kPieces, Team>;
};

template <typename T>
cudaError_t run(const Features& maps, int64_t count, const double* gradient, bool spatial,
                const FeatureGradients& gradients, void* stream) {
  constexpr int kPlanes = std::is_same_v<T, double> ? 10 : 24;  // what registers hold
  const bool has_rows = wmscore::has_rows(maps.preds) && wmscore::has_rows(maps.target) &&
                        wmscore::has_rows(gradients.preds) && wmscore::has_rows(gradients.target);
  const bool is_aligned = wmscore::is_aligned<T>(maps) &&
                          wmscore::is_aligned<T>(gradients.preds, maps.channels, maps.pixels) &&
                          wmscore::is_aligned<T>(gradients.target, maps.channels, maps.pixels);
  return wmscore::start_team<Differentiate, T, kPlanes>(
      maps, count * maps.pixels, has_rows, is_aligned, stream, gradient, spatial, gradients);
}

}  // namespace

int32_t wmscore_feature_distance_backward_cuda(Element element, Features maps, int64_t count,
                                               const double* gradient, bool spatial,
                                               FeatureGradients gradients, void* stream) {
  switch (element) {
    case Element::kFloat16:
      return run<Half>(maps, count, gradient, spatial, gradients, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(maps, count, gradient, spatial, gradients, stream);
    case Element::kFloat32:
      return run<float>(maps, count, gradient, spatial, gradients, stream);
    case Element::kFloat64:
      return run<double>(maps, count, gradient, spatial, gradients, stream);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      break;
  }
  return cudaErrorInvalidValue;
}
