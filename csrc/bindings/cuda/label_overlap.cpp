#include "../overlap.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

wmscore::LabelResults label_overlap(const Tensor& preds, const Tensor& target,
                                    const Tensor& preds_ids, const Tensor& target_ids,
                                    std::optional<Tensor> target_index) {
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::LabelTensors tensors =
      wmscore::labels_of(preds, target, preds_ids, target_ids, target_index);
  const wmscore::LabelMaps& maps = tensors.maps;
  const int64_t frames = maps.rows * maps.steps;
  if (frames * maps.height * maps.width == 0) return wmscore::new_results(preds, maps, true, true);
  const bool is_sliced = wmscore_label_overlap_slices(maps) > 1;
  wmscore::LabelResults results =
      wmscore::new_results(preds, maps, wmscore_label_overlap_adds(maps), is_sliced);
  const int64_t scratch = is_sliced ? frames * (maps.preds_objects + maps.target_objects) : 0;
  Tensor extents = torch::stable::new_zeros(preds, {scratch, 7}, wmscore::ScalarType::Long);
  wmscore::check_launch(wmscore_label_overlap_cuda(
      maps, static_cast<int64_t*>(extents.mutable_data_ptr()), wmscore::counts_of(results),
      wmscore::current_stream(preds.get_device_index())));
  return results;
}

}  // namespace

void label_overlap_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_overlap);
  boxed(stack, inputs, outputs);
}
