// Distances of feature vectors: one launch for the distance at each position (features.h says how)
// and one for their means. The former are float for float maps, as they were computed, a small part
// of what is read. No sum depends on other maps of the batch or on the run.
#include "features.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FeatureReal;
using wmscore::Features;
using wmscore::Half;
using wmscore::kThreads;
using wmscore::Lengths;
using wmscore::Vectors;

// Writes to `distances`, or where that is null to `map`.
template <typename T, int kElements, int kPieces, typename Team>
__global__ void __launch_bounds__(Team::kMostThreads)
    measure(Features maps, int64_t positions, Team team, FeatureReal<T>* distances, double* map) {
  using Real = FeatureReal<T>;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * team.positions();
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * team.positions(); first < positions;
       first += stride) {
    // Threads without a position do as the last one does: all of a warp must reach the sums.
    const int64_t own = first + team.position();
    const int64_t position = own < positions ? own : positions - 1;
    const int64_t image = position / maps.pixels;
    const int64_t pixel = position - image * maps.pixels;
    const Vectors<T, kElements, kPieces> vectors(maps, image, pixel, team.member(),
                                                 blockDim.x / team.positions());
    const Lengths<Real> lengths(vectors, team, maps.normalize);
    Real sums[1] = {};
    vectors.for_each([&](int, const auto& p, const auto& t, const auto& w) {
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        const Real d = p[e] - lengths.ratio * t[e];
        sums[0] += w[e] * d * d;
      }
    });
    team.add(sums);
    if (own >= positions || team.member() != 0) continue;
    const Real distance = vectors.has_target ? sums[0] * lengths.inverse * lengths.inverse
                                             : static_cast<Real>(nanf(""));
    if (distances != nullptr) {
      distances[own] = distance;
    } else {
      map[own] = distance;
    }
  }
}

template <typename T, int kElements, int kPieces, typename Team>
struct Measure {
  static constexpr auto function = measure<T, kElements, kPieces, Team>;
};

// The mean of each row, by a warp for each or a block for each.
template <typename Real, int kRowThreads>
__global__ void __launch_bounds__(kThreads)
    average(const Real* distances, int64_t rows, int64_t pixels, double* means) {
  constexpr int kRows = kThreads / kRowThreads;
  const int member = threadIdx.x % kRowThreads;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kRows; first < rows;
       first += static_cast<int64_t>(gridDim.x) * kRows) {
    const int64_t row = first + threadIdx.x / kRowThreads;
    double sums[1] = {};
    for (int64_t i = member; row < rows && i < pixels; i += kRowThreads)
      sums[0] += static_cast<double>(distances[row * pixels + i]);
    double sum;
    if constexpr (kRowThreads == kThreads) {
      sum = wmscore::reduce_block(sums);
    } else {
      wmscore::RowTeam<double>{kRowThreads}.add(sums);
      sum = sums[0];
    }
    if (row < rows && member == 0) means[row] = sum / static_cast<double>(pixels);
  }
}

template <typename T>
cudaError_t run(const Features& maps, int64_t count, bool spatial, void* scratch, double* result,
                void* stream) {
  constexpr int kPlanes = std::is_same_v<T, double> ? 12 : 32;  // what registers hold
  using Real = FeatureReal<T>;
  constexpr int64_t kMostOfWarp = 1024;
  Real* const distances = spatial ? nullptr : static_cast<Real*>(scratch);
  const bool has_rows = wmscore::has_rows(maps.preds) && wmscore::has_rows(maps.target);
  const cudaError_t error = wmscore::start_team<Measure, T, kPlanes>(
      maps, count * maps.pixels, has_rows, wmscore::is_aligned<T>(maps), stream, distances, result);
  if (error != cudaSuccess || spatial || count == 0) return error;
  const bool by_warps = maps.pixels <= kMostOfWarp;
  const int64_t rows_per_block = by_warps ? kThreads / 32 : 1;
  return wmscore::launch(by_warps ? average<Real, 32> : average<Real, kThreads>,
                         (count + rows_per_block - 1) / rows_per_block, stream, distances, count,
                         maps.pixels, result);
}

}  // namespace

int32_t wmscore_feature_distance_cuda(Element element, Features maps, int64_t count, bool spatial,
                                      void* distances, double* result, void* stream) {
  switch (element) {
    case Element::kFloat16:
      return run<Half>(maps, count, spatial, distances, result, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(maps, count, spatial, distances, result, stream);
    case Element::kFloat32:
      return run<float>(maps, count, spatial, distances, result, stream);
    case Element::kFloat64:
      return run<double>(maps, count, spatial, distances, result, stream);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      break;
  }
  return cudaErrorInvalidValue;
}
