#include "../response.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

wmscore::ResponseResults response_products(const Tensor& preds, const Tensor& target,
                                           const Tensor& preds_rows, const Tensor& target_rows,
                                           std::optional<Tensor> present,
                                           std::optional<Tensor> shift, double still) {
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::ResponseTensors tensors =
      wmscore::responses_of(preds, target, preds_rows, target_rows, present, shift, still, true);
  const wmscore::Responses& task = tensors.task;
  const wmscore::Element element = wmscore::element_of(preds);
  wmscore::ResponseResults results = wmscore::new_results(preds, task);
  if (task.groups * task.steps == 0) return results;
  Tensor partials = torch::stable::new_empty(
      preds, {wmscore_response_products_scratch(element, task)}, wmscore::ScalarType::Byte);
  wmscore::check_launch(
      wmscore_response_products_cuda(element, task, partials.mutable_data_ptr(),
                                     static_cast<double*>(std::get<0>(results).mutable_data_ptr()),
                                     static_cast<double*>(std::get<1>(results).mutable_data_ptr()),
                                     wmscore::current_stream(preds.get_device_index())));
  return results;
}

}  // namespace

void response_products_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&response_products);
  boxed(stack, inputs, outputs);
}
