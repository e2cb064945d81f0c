#include <algorithm>
#include <tuple>

#include "../flow.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> block_flow(const Tensor& frames, const Tensor& following, int64_t block,
                                      int64_t radius, std::optional<Tensor> start) {
  wmscore::FlowTensors all = wmscore::flow_tensors(frames, following, block, radius, start);
  if (all.blocks == 0) return {all.displacements, all.costs};
  const wmscore::Element element = wmscore::element_of(frames);
  const int64_t items = all.task.batch * all.task.steps * all.block_rows;
  int32_t* const displacements = static_cast<int32_t*>(all.displacements.mutable_data_ptr());
  void* const costs = all.costs.mutable_data_ptr();
  // A thread should have at least 2 M differences to sum.
  const int64_t side = 2 * radius + 1;
  const int64_t work = all.task.channels * block * all.task.width * side * side;
  torch::stable::parallel_for(
      0, items, std::max<int64_t>(1, (2 << 20) / work), [&](int64_t first, int64_t last) {
        wmscore_block_flow_cpu(element, all.task, first, last, displacements, costs);
      });
  return {all.displacements, all.costs};
}

}  // namespace

void block_flow_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&block_flow);
  boxed(stack, inputs, outputs);
}
