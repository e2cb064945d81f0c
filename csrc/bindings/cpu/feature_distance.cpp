#include <algorithm>

#include "../features.h"

namespace {

using wmscore::Tensor;

Tensor feature_distance(const Tensor& preds, const Tensor& target, std::optional<Tensor> index,
                        std::optional<Tensor> weight, bool normalize, bool spatial) {
  const wmscore::FeatureTensors tensors =
      wmscore::features_of(preds, target, index, weight, normalize);
  const wmscore::Features& maps = tensors.maps;
  const int64_t count = preds.size(0);
  const int64_t bands = wmscore_feature_distance_bands(maps.channels, maps.pixels);
  Tensor distances =
      spatial ? torch::stable::new_empty(preds, {count, preds.size(2), preds.size(3)},
                                         wmscore::ScalarType::Double)
              : torch::stable::new_empty(preds, {count, bands}, wmscore::ScalarType::Double);
  double* const data = static_cast<double*>(distances.mutable_data_ptr());
  // A thread should have at least 32 k values to do.
  const int64_t grain =
      std::max<int64_t>(1, 32768 / std::max<int64_t>(1, maps.channels * maps.pixels));
  torch::stable::parallel_for(0, count * bands, grain, [&](int64_t first, int64_t last) {
    wmscore_feature_distance_cpu(wmscore::element_of(preds), maps, first, last,
                                 spatial ? nullptr : data, spatial ? data : nullptr);
  });
  if (spatial) return distances;
  Tensor means = torch::stable::new_empty(preds, {count}, wmscore::ScalarType::Double);
  double* const out = static_cast<double*>(means.mutable_data_ptr());
  for (int64_t image = 0; image < count; ++image) {
    double sum = 0;
    for (int64_t band = 0; band < bands; ++band) sum += data[image * bands + band];
    out[image] = sum / static_cast<double>(maps.pixels);
  }
  return means;
}

}  // namespace

void feature_distance_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&feature_distance);
  boxed(stack, inputs, outputs);
}
