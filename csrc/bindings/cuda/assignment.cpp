#include "../assignment.h"

#include "launch.h"

namespace {

using wmscore::Tensor;

Tensor assignment(const Tensor& cost, bool maximize, std::optional<Tensor> use_rows,
                  std::optional<Tensor> use_cols) {
  const torch::stable::accelerator::DeviceGuard guard(cost.get_device_index());
  const wmscore::AssignmentTensors tensors = wmscore::problems_of(cost, use_rows, use_cols);
  Tensor match =
      torch::stable::new_empty(cost, {cost.size(0), cost.size(1)}, wmscore::ScalarType::Long);
  wmscore::check_launch(wmscore_assignment_cuda(wmscore::element_of(cost), tensors.problems,
                                                cost.size(0), maximize,
                                                static_cast<int64_t*>(match.mutable_data_ptr()),
                                                wmscore::current_stream(cost.get_device_index())));
  return match;
}

}  // namespace

void assignment_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&assignment);
  boxed(stack, inputs, outputs);
}
