#include <algorithm>
#include <tuple>

#include "../features.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> feature_distance_backward(const Tensor& gradient, const Tensor& preds,
                                                     const Tensor& target,
                                                     std::optional<Tensor> index,
                                                     std::optional<Tensor> weight, bool normalize,
                                                     bool spatial, bool of_preds, bool of_target) {
  const wmscore::FeatureTensors tensors =
      wmscore::features_of(preds, target, index, weight, normalize);
  wmscore::check_gradient(gradient, preds, spatial);
  const wmscore::Features& maps = tensors.maps;
  const int64_t count = preds.size(0);
  const Tensor flat_gradient = torch::stable::contiguous(gradient);
  const double* const of_result = static_cast<const double*>(flat_gradient.const_data_ptr());
  const Tensor preds_gradient = wmscore::new_gradient(preds, of_preds ? count : 0);
  const Tensor target_gradient = wmscore::new_gradient(preds, of_target ? count : 0);
  const wmscore::FeatureGradients gradients = {
      of_preds ? wmscore::view_of(preds_gradient) : wmscore::Frames{},
      of_target ? wmscore::view_of(target_gradient) : wmscore::Frames{}};
  if (maps.channels == 0) return {preds_gradient, target_gradient};
  const int64_t bands = wmscore_feature_distance_bands(maps.channels, maps.pixels);
  const int64_t grain =
      std::max<int64_t>(1, 32768 / std::max<int64_t>(1, maps.channels * maps.pixels));
  torch::stable::parallel_for(0, count * bands, grain, [&](int64_t first, int64_t last) {
    wmscore_feature_distance_backward_cpu(wmscore::element_of(preds), maps, of_result, spatial,
                                          first, last, gradients);
  });
  return {preds_gradient, target_gradient};
}

}  // namespace

void feature_distance_backward_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&feature_distance_backward);
  boxed(stack, inputs, outputs);
}
