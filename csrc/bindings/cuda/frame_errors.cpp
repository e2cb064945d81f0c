#include "../frames.h"
#include "launch.h"
#include "layout.h"

namespace {

using wmscore::Tensor;

Tensor frame_errors(const Tensor& preds, const Tensor& target) {
  wmscore::check_pair(preds, target);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::Element element = wmscore::element_of(preds);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t pixels = preds.size(2) * preds.size(3);
  const auto sum_type =
      element == wmscore::Element::kUint8 ? wmscore::ScalarType::Long : wmscore::ScalarType::Double;
  if (images * channels * pixels == 0)
    return torch::stable::new_zeros(preds, {images, channels, 6}, sum_type);

  const bool interleaved =
      wmscore::is_interleaved_rgb(preds) && wmscore::is_interleaved_rgb(target);
  const Tensor flat_preds =
      interleaved || wmscore::is_planar(preds) ? preds : torch::stable::contiguous(preds);
  const Tensor flat_target =
      interleaved || wmscore::is_planar(target) ? target : torch::stable::contiguous(target);

  Tensor sums = torch::stable::new_empty(preds, {images, channels, 6}, sum_type);
  const int64_t chunks = wmscore_frame_errors_chunks(pixels);
  const int64_t scratch = chunks > 1 ? images * channels * chunks * 6 : 0;
  Tensor partials = torch::stable::new_empty(preds, {scratch}, sum_type);
  wmscore::check_launch(wmscore_frame_errors_cuda(
      element, wmscore::view_of(flat_preds), wmscore::view_of(flat_target), images, channels,
      pixels, partials.mutable_data_ptr(), sums.mutable_data_ptr(),
      wmscore::current_stream(preds.get_device_index())));
  return sums;
}

}  // namespace

void frame_errors_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_errors);
  boxed(stack, inputs, outputs);
}
