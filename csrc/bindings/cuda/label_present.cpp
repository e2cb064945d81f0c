#include "../present.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

wmscore::PresentResults label_present(const Tensor& labels, std::optional<Tensor> valid) {
  const torch::stable::accelerator::DeviceGuard guard(labels.get_device_index());
  const wmscore::LabelTensor tensor = wmscore::label_map_of(labels, valid);
  const wmscore::LabelMap& map = tensor.map;
  wmscore::PresentResults results = wmscore::new_present(labels);
  if (map.rows * map.steps * map.pixels == 0) return results;
  wmscore::check_launch(wmscore_label_present_cuda(
      map, wmscore::present_of(results), wmscore::current_stream(labels.get_device_index())));
  return results;
}

}  // namespace

void label_present_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_present);
  boxed(stack, inputs, outputs);
}
