#include <algorithm>
#include <tuple>

#include "../propagate.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> label_propagate(const Tensor& query, const Tensor& memory,
                                           const Tensor& memory_labels, int64_t radius,
                                           int64_t topk, double temperature,
                                           std::optional<Tensor> use_memory) {
  const wmscore::PropagationTensors tensors =
      wmscore::propagation_of(query, memory, memory_labels, radius, topk, temperature, use_memory);
  const wmscore::Propagation& task = tensors.task;
  const auto element = wmscore::element_of(query);
  const auto real = wmscore::real_type(query);
  Tensor labels =
      torch::stable::new_empty(query, {task.batch, task.classes, task.height, task.width}, real);
  Tensor similarity = torch::stable::new_empty(query, {task.batch, task.height, task.width}, real);
  const int64_t rows = task.batch * task.height;
  if (rows * task.width == 0) return {labels, similarity};
  const auto pack = [&](bool of_memory) {
    const int64_t all = of_memory ? rows * task.memories : rows;
    const int64_t values = task.channels * wmscore_label_propagate_step(task, of_memory);
    const Tensor packed = torch::stable::new_empty(query, {all, values}, real);
    void* const data = packed.mutable_data_ptr();
    // A thread should have at least 32 k values to do.
    torch::stable::parallel_for(0, all, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, values)),
                                [&](int64_t first, int64_t last) {
                                  wmscore_label_propagate_pack_cpu(element, task, of_memory, first,
                                                                   last, data);
                                });
    return packed;
  };
  const Tensor packed_query = pack(false), packed_memory = pack(true);
  const void* const query_data = packed_query.const_data_ptr();
  const void* const memory_data = packed_memory.const_data_ptr();
  void* const labels_data = labels.mutable_data_ptr();
  void* const similarity_data = similarity.mutable_data_ptr();
  torch::stable::parallel_for(0, rows, 1, [&](int64_t first, int64_t last) {
    wmscore_label_propagate_cpu(element, task, query_data, memory_data, first, last, labels_data,
                                similarity_data);
  });
  return {labels, similarity};
}

}  // namespace

void label_propagate_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_propagate);
  boxed(stack, inputs, outputs);
}
