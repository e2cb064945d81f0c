#include <algorithm>

#include "../present.h"

namespace {

using wmscore::Tensor;

wmscore::PresentResults label_present(const Tensor& labels, std::optional<Tensor> valid) {
  const wmscore::LabelTensor tensor = wmscore::label_map_of(labels, valid);
  const wmscore::LabelMap& map = tensor.map;
  wmscore::PresentResults results = wmscore::new_present(labels);
  const wmscore::PresentLabels present = wmscore::present_of(results);
  // A thread should have at least 256 k pixels to do.
  const int64_t grain = std::max<int64_t>(1, 262144 / std::max<int64_t>(1, map.pixels));
  torch::stable::parallel_for(0, map.rows * map.steps, grain, [&](int64_t first, int64_t last) {
    wmscore_label_present_cpu(map, first, last, present);
  });
  return results;
}

}  // namespace

void label_present_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_present);
  boxed(stack, inputs, outputs);
}
