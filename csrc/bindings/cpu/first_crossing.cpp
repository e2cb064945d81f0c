#include <algorithm>

#include "../crossing.h"

namespace {

using wmscore::MaybeTensor;
using wmscore::Tensor;

wmscore::CrossingTensors first_crossing(const Tensor& scores, const Tensor& threshold,
                                        const Tensor& patience, MaybeTensor recover_threshold,
                                        MaybeTensor recovery_patience, MaybeTensor valid,
                                        MaybeTensor gated, bool above) {
  const wmscore::ScoreCurves curves = wmscore::curves_of(
      scores, threshold, patience, recover_threshold, recovery_patience, valid, gated, above);
  wmscore::CrossingTensors results = wmscore::new_crossings(scores);
  const wmscore::FoundCrossings found = wmscore::found_of(results);
  // A thread should have at least 64 k steps to look at.
  const int64_t grain = std::max<int64_t>(1, 65536 / (curves.axes * curves.steps));
  torch::stable::parallel_for(0, curves.rollouts, grain, [&](int64_t first, int64_t last) {
    wmscore_first_crossing_cpu(wmscore::element_of(scores), curves, first, last, found);
  });
  return results;
}

}  // namespace

void first_crossing_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&first_crossing);
  boxed(stack, inputs, outputs);
}
