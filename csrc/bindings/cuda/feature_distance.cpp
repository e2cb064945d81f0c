#include "../features.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

Tensor feature_distance(const Tensor& preds, const Tensor& target, std::optional<Tensor> index,
                        std::optional<Tensor> weight, bool normalize, bool spatial) {
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::FeatureTensors tensors =
      wmscore::features_of(preds, target, index, weight, normalize);
  const wmscore::Features& maps = tensors.maps;
  const int64_t count = preds.size(0);
  const auto real = preds.scalar_type() == wmscore::ScalarType::Double ? wmscore::ScalarType::Double
                                                                       : wmscore::ScalarType::Float;
  Tensor result = spatial ? torch::stable::new_empty(preds, {count, preds.size(2), preds.size(3)},
                                                     wmscore::ScalarType::Double)
                          : torch::stable::new_empty(preds, {count}, wmscore::ScalarType::Double);
  Tensor distances = torch::stable::new_empty(preds, {spatial ? 0 : count * maps.pixels}, real);
  wmscore::check_launch(wmscore_feature_distance_cuda(
      wmscore::element_of(preds), maps, count, spatial, distances.mutable_data_ptr(),
      static_cast<double*>(result.mutable_data_ptr()),
      wmscore::current_stream(preds.get_device_index())));
  return result;
}

}  // namespace

void feature_distance_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&feature_distance);
  boxed(stack, inputs, outputs);
}
