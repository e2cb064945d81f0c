#include <algorithm>
#include <tuple>

#include "../pool.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> label_pool(const Tensor& features, const Tensor& labels,
                                      const Tensor& ids) {
  const wmscore::Pool pool = wmscore::pool_of(features, labels, ids);
  const auto element = wmscore::element_of(features);
  const int64_t frames = features.size(0);
  const int64_t bands = wmscore_label_pool_bands(pool);
  const Tensor sums = torch::stable::new_empty(features, {frames, bands, pool.count, pool.channels},
                                               wmscore::ScalarType::Double);
  const Tensor counts = torch::stable::new_empty(ids, {frames, bands, pool.count});
  Tensor means = torch::stable::new_empty(features, {frames, pool.count, pool.channels},
                                          wmscore::mean_type(features));
  Tensor pixels = torch::stable::new_empty(ids, {frames, pool.count});
  double* const of_bands = static_cast<double*>(sums.mutable_data_ptr());
  int64_t* const counts_of_bands = static_cast<int64_t*>(counts.mutable_data_ptr());
  // A thread should have at least 32 k values to do.
  const int64_t values =
      std::max<int64_t>({1, pool.channels * pool.rows * pool.columns, pool.height * pool.width});
  torch::stable::parallel_for(
      0, frames * bands, std::max<int64_t>(1, 32768 / values), [&](int64_t first, int64_t last) {
        wmscore_label_pool_cpu(element, pool, first, last, of_bands, counts_of_bands);
      });
  wmscore_label_pool_means_cpu(element, pool, 0, frames, of_bands, counts_of_bands,
                               means.mutable_data_ptr(),
                               static_cast<int64_t*>(pixels.mutable_data_ptr()));
  return {means, pixels};
}

}  // namespace

void label_pool_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&label_pool);
  boxed(stack, inputs, outputs);
}
