#include <tuple>

#include "../region.h"
#include "launch.h"
#include "layout.h"

namespace {

using wmscore::Tensor;

Tensor as_planar(const Tensor& frames) {
  return wmscore::is_planar(frames) ? frames : torch::stable::contiguous(frames);
}

std::tuple<Tensor, Tensor> frame_region_errors(const Tensor& preds, const Tensor& target,
                                               std::optional<Tensor> mask,
                                               std::optional<Tensor> previous, double threshold) {
  wmscore::check_pair(preds, target);
  wmscore::check_region(target, mask, previous);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::Element element = wmscore::element_of(preds);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t pixels = preds.size(2) * preds.size(3);
  const auto sum_type =
      element == wmscore::Element::kUint8 ? wmscore::ScalarType::Long : wmscore::ScalarType::Double;
  const auto count_type = wmscore::ScalarType::Long;
  if (images * pixels == 0) {
    return {torch::stable::new_zeros(preds, {images, channels, 2, 6}, sum_type),
            torch::stable::new_zeros(preds, {images, 2}, count_type)};
  }

  const bool interleaved = wmscore::is_interleaved_rgb(preds) &&
                           wmscore::is_interleaved_rgb(target) &&
                           (!previous || wmscore::is_interleaved_rgb(*previous));
  const Tensor flat_preds = interleaved ? preds : as_planar(preds);
  const Tensor flat_target = interleaved ? target : as_planar(target);
  if (previous && !interleaved) previous = as_planar(*previous);
  if (mask) mask = wmscore::with_flat_pixels(*mask);

  Tensor sums = torch::stable::new_empty(preds, {images, channels, 2, 6}, sum_type);
  Tensor counts = torch::stable::new_empty(preds, {images, 2}, count_type);
  const int64_t chunks = wmscore_frame_region_errors_chunks(pixels);
  const int64_t scratch = chunks > 1 ? images * chunks : 0;
  Tensor partials = torch::stable::new_empty(preds, {scratch * channels * 12}, sum_type);
  Tensor partial_counts = torch::stable::new_empty(preds, {scratch * 2}, count_type);
  wmscore::check_launch(wmscore_frame_region_errors_cuda(
      element, wmscore::view_of(flat_preds), wmscore::view_of(flat_target),
      wmscore::region_of(mask, previous, threshold), images, channels, pixels,
      partials.mutable_data_ptr(), static_cast<int64_t*>(partial_counts.mutable_data_ptr()),
      sums.mutable_data_ptr(), static_cast<int64_t*>(counts.mutable_data_ptr()),
      wmscore::current_stream(preds.get_device_index())));
  return {sums, counts};
}

}  // namespace

void frame_region_errors_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_region_errors);
  boxed(stack, inputs, outputs);
}
