#include <algorithm>

#include "../response.h"

namespace {

using wmscore::Tensor;

wmscore::ResponseResults response_products(const Tensor& preds, const Tensor& target,
                                           const Tensor& preds_rows, const Tensor& target_rows,
                                           std::optional<Tensor> present,
                                           std::optional<Tensor> shift, double still) {
  const wmscore::ResponseTensors tensors =
      wmscore::responses_of(preds, target, preds_rows, target_rows, present, shift, still, false);
  const wmscore::Responses& task = tensors.task;
  const wmscore::Element element = wmscore::element_of(preds);
  wmscore::ResponseResults results = wmscore::new_results(preds, task);
  auto* const products = static_cast<double*>(std::get<0>(results).mutable_data_ptr());
  auto* const statistics = static_cast<double*>(std::get<1>(results).mutable_data_ptr());
  const int64_t items = task.groups * task.steps;
  const int64_t bands = wmscore_response_products_bands(task.height, task.width);
  const int64_t values = wmscore_response_products_values(task.scripts);
  const Tensor sums =
      torch::stable::new_empty(preds, {items, bands, values}, wmscore::ScalarType::Double);
  auto* const sums_data = static_cast<double*>(sums.mutable_data_ptr());
  // A thread should have at least 64 k values to do.
  const int64_t size = 2 * task.scripts * task.channels * task.height * task.width / bands;
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, size));
  torch::stable::parallel_for(0, items * bands, grain, [&](int64_t first, int64_t last) {
    wmscore_response_products_cpu(element, task, first, last, sums_data);
  });
  wmscore_response_products_finish_cpu(element, task, 0, items, sums_data, products, statistics);
  return results;
}

}  // namespace

void response_products_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&response_products);
  boxed(stack, inputs, outputs);
}
