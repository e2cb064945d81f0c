#include "../assignment.h"

#include <algorithm>

namespace {

using wmscore::Tensor;

Tensor assignment(const Tensor& cost, bool maximize, std::optional<Tensor> use_rows,
                  std::optional<Tensor> use_cols) {
  const wmscore::AssignmentTensors tensors = wmscore::problems_of(cost, use_rows, use_cols);
  const int64_t count = cost.size(0), rows = cost.size(1), cols = cost.size(2);
  Tensor match = torch::stable::new_empty(cost, {count, rows}, wmscore::ScalarType::Long);
  int64_t* const data = static_cast<int64_t*>(match.mutable_data_ptr());
  // Each row looks at about all costs once; a thread should have at least 32 k of these to do.
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, rows * rows * cols));
  torch::stable::parallel_for(0, count, grain, [&](int64_t first, int64_t last) {
    wmscore_assignment_cpu(wmscore::element_of(cost), tensors.problems, maximize, first, last,
                           data);
  });
  return match;
}

}  // namespace

void assignment_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&assignment);
  boxed(stack, inputs, outputs);
}
