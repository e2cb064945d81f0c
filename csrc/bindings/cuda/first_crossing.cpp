#include "../crossing.h"
#include "launch.h"

namespace {

using wmscore::MaybeTensor;
using wmscore::Tensor;

wmscore::CrossingTensors first_crossing(const Tensor& scores, const Tensor& threshold,
                                        const Tensor& patience, MaybeTensor recover_threshold,
                                        MaybeTensor recovery_patience, MaybeTensor valid,
                                        MaybeTensor gated, bool above) {
  const torch::stable::accelerator::DeviceGuard guard(scores.get_device_index());
  const wmscore::ScoreCurves curves = wmscore::curves_of(
      scores, threshold, patience, recover_threshold, recovery_patience, valid, gated, above);
  wmscore::CrossingTensors results = wmscore::new_crossings(scores);
  if (curves.rollouts == 0) return results;
  const int64_t words = wmscore_first_crossing_scratch(curves.rollouts, curves.steps);
  Tensor scratch = torch::stable::new_empty(scores, {words}, wmscore::ScalarType::Int);
  wmscore::check_launch(wmscore_first_crossing_cuda(
      wmscore::element_of(scores), curves, static_cast<uint32_t*>(scratch.mutable_data_ptr()),
      wmscore::found_of(results), wmscore::current_stream(scores.get_device_index())));
  return results;
}

}  // namespace

void first_crossing_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&first_crossing);
  boxed(stack, inputs, outputs);
}
