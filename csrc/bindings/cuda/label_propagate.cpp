#include <tuple>

#include "../propagate.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> label_propagate(const Tensor& query, const Tensor& memory,
                                           const Tensor& memory_labels, int64_t radius,
                                           int64_t topk, double temperature,
                                           std::optional<Tensor> use_memory) {
  const torch::stable::accelerator::DeviceGuard guard(query.get_device_index());
  const wmscore::PropagationTensors tensors =
      wmscore::propagation_of(query, memory, memory_labels, radius, topk, temperature, use_memory);
  const wmscore::Propagation& task = tensors.task;
  const auto real = wmscore::real_type(query);
  Tensor labels =
      torch::stable::new_empty(query, {task.batch, task.classes, task.height, task.width}, real);
  Tensor similarity = torch::stable::new_empty(query, {task.batch, task.height, task.width}, real);
  const int64_t rows = task.batch * task.height;
  const auto new_packed = [&](bool of_memory, int64_t frames) {
    const int64_t step = wmscore_label_propagate_cuda_step(task, of_memory);
    return torch::stable::new_empty(query, {rows * frames, task.channels, step}, real);
  };
  const Tensor packed_query = new_packed(false, 1), packed_memory = new_packed(true, task.memories);
  wmscore::check_launch(wmscore_label_propagate_cuda(
      wmscore::element_of(query), task, packed_query.mutable_data_ptr(),
      packed_memory.mutable_data_ptr(), labels.mutable_data_ptr(), similarity.mutable_data_ptr(),
      wmscore::current_stream(query.get_device_index())));
  return {labels, similarity};
}

}  // namespace

void label_propagate_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_propagate);
  boxed(stack, inputs, outputs);
}
