#include <algorithm>

#include "../overlap.h"

namespace {

using wmscore::Tensor;

wmscore::LabelResults label_overlap(const Tensor& preds, const Tensor& target,
                                    const Tensor& preds_ids, const Tensor& target_ids,
                                    std::optional<Tensor> target_index) {
  const wmscore::LabelTensors tensors =
      wmscore::labels_of(preds, target, preds_ids, target_ids, target_index);
  const wmscore::LabelMaps& maps = tensors.maps;
  wmscore::LabelResults results = wmscore::new_results(preds, maps);
  const wmscore::LabelCounts counts = wmscore::counts_of(results);
  // A thread should have at least 64 k pixels to do.
  const int64_t grain =
      std::max<int64_t>(1, 65536 / std::max<int64_t>(1, maps.height * maps.width));
  torch::stable::parallel_for(0, maps.rows * maps.steps, grain, [&](int64_t first, int64_t last) {
    wmscore_label_overlap_cpu(maps, first, last, counts);
  });
  return results;
}

}  // namespace

void label_overlap_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_overlap);
  boxed(stack, inputs, outputs);
}
