#include <tuple>

#include "../flow.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> block_flow(const Tensor& frames, const Tensor& following, int64_t block,
                                      int64_t radius, std::optional<Tensor> start) {
  const torch::stable::accelerator::DeviceGuard guard(frames.get_device_index());
  wmscore::FlowTensors all = wmscore::flow_tensors(frames, following, block, radius, start);
  if (all.blocks == 0) return {all.displacements, all.costs};
  wmscore::check_launch(wmscore_block_flow_cuda(
      wmscore::element_of(frames), all.task,
      static_cast<int32_t*>(all.displacements.mutable_data_ptr()), all.costs.mutable_data_ptr(),
      wmscore::current_stream(frames.get_device_index())));
  return {all.displacements, all.costs};
}

}  // namespace

void block_flow_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&block_flow);
  boxed(stack, inputs, outputs);
}
