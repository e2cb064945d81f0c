#include <tuple>

#include "../features.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> feature_distance_backward(const Tensor& gradient, const Tensor& preds,
                                                     const Tensor& target,
                                                     std::optional<Tensor> index,
                                                     std::optional<Tensor> weight, bool normalize,
                                                     bool spatial, bool of_preds, bool of_target) {
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::FeatureTensors tensors =
      wmscore::features_of(preds, target, index, weight, normalize);
  wmscore::check_gradient(gradient, preds, spatial);
  const int64_t count = preds.size(0);
  const Tensor flat_gradient = torch::stable::contiguous(gradient);
  const Tensor preds_gradient = wmscore::new_gradient(preds, of_preds ? count : 0);
  const Tensor target_gradient = wmscore::new_gradient(preds, of_target ? count : 0);
  const wmscore::FeatureGradients gradients = {
      of_preds ? wmscore::view_of(preds_gradient) : wmscore::Frames{},
      of_target ? wmscore::view_of(target_gradient) : wmscore::Frames{}};
  wmscore::check_launch(wmscore_feature_distance_backward_cuda(
      wmscore::element_of(preds), tensors.maps, count,
      static_cast<const double*>(flat_gradient.const_data_ptr()), spatial, gradients,
      wmscore::current_stream(preds.get_device_index())));
  return {preds_gradient, target_gradient};
}

}  // namespace

void feature_distance_backward_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&feature_distance_backward);
  boxed(stack, inputs, outputs);
}
