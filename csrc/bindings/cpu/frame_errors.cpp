#include <algorithm>

#include "../frames.h"

namespace {

using wmscore::Tensor;

Tensor frame_errors(const Tensor& preds, const Tensor& target) {
  wmscore::check_pair(preds, target);
  const Tensor flat_preds = wmscore::with_flat_rows(preds);
  const Tensor flat_target = wmscore::with_flat_rows(target);
  const wmscore::Element element = wmscore::element_of(preds);
  const wmscore::Frames preds_view = wmscore::view_of(flat_preds);
  const wmscore::Frames target_view = wmscore::view_of(flat_target);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t pixels = preds.size(2) * preds.size(3);

  const auto sum_type =
      element == wmscore::Element::kUint8 ? wmscore::ScalarType::Long : wmscore::ScalarType::Double;
  Tensor sums = torch::stable::new_empty(preds, {images, channels, 6}, sum_type);
  void* const out = sums.mutable_data_ptr();
  // A thread should have at least 32 k pixels to do, and whole images where channels share cache
  // lines.
  const bool planar = preds_view.pixel == 1 && target_view.pixel == 1;
  const int64_t planes = planar ? 1 : channels;
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, planes * pixels));
  torch::stable::parallel_for(
      0, channels > 0 ? images * channels / planes : 0, grain, [&](int64_t first, int64_t last) {
        wmscore_frame_errors_cpu(element, preds_view, target_view, channels, pixels, first * planes,
                                 last * planes, out);
      });
  return sums;
}

}  // namespace

void frame_errors_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_errors);
  boxed(stack, inputs, outputs);
}
