#include <tuple>

#include "../pool.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> label_pool(const Tensor& features, const Tensor& labels,
                                      const Tensor& ids) {
  const torch::stable::accelerator::DeviceGuard guard(features.get_device_index());
  const wmscore::Pool pool = wmscore::pool_of(features, labels, ids);
  const int64_t frames = features.size(0);
  const int64_t parts = wmscore_label_pool_parts(pool);
  const Tensor sums = torch::stable::new_empty(features, {frames, parts, pool.count, pool.channels},
                                               wmscore::ScalarType::Double);
  const Tensor counts = torch::stable::new_empty(ids, {frames, parts, pool.count});
  Tensor means = torch::stable::new_empty(features, {frames, pool.count, pool.channels},
                                          wmscore::mean_type(features));
  Tensor pixels = torch::stable::new_empty(ids, {frames, pool.count});
  wmscore::check_launch(wmscore_label_pool_cuda(
      wmscore::element_of(features), pool, frames, static_cast<double*>(sums.mutable_data_ptr()),
      static_cast<int64_t*>(counts.mutable_data_ptr()), means.mutable_data_ptr(),
      static_cast<int64_t*>(pixels.mutable_data_ptr()),
      wmscore::current_stream(features.get_device_index())));
  return {means, pixels};
}

}  // namespace

void label_pool_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_pool);
  boxed(stack, inputs, outputs);
}
