#include <tuple>

#include "../frames.h"
#include "launch.h"
#include "ssim.h"

namespace {

using wmscore::Tensor;

std::tuple<Tensor, Tensor> frame_ssim_backward(const Tensor& gradient, const Tensor& preds,
                                               const Tensor& target, double data_range,
                                               bool uniform, int64_t scales) {
  wmscore::check_ssim(preds, target, data_range, uniform, scales);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::Element element = wmscore::element_of(preds);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  STD_TORCH_CHECK(element != wmscore::Element::kUint8, "integers have no gradient");
  STD_TORCH_CHECK(gradient.scalar_type() == wmscore::ScalarType::Double &&
                      gradient.device() == preds.device() &&
                      gradient.numel() == images * channels * scales * 3,
                  "gradient must be float64 [N, C, scales, 3], on the device of the frames");
  Tensor of_preds = torch::stable::new_empty(preds, {images, channels, height, width});
  Tensor of_target = torch::stable::new_empty(preds, {images, channels, height, width});
  if (images * channels == 0) return {of_preds, of_target};

  const Tensor near_preds = wmscore::with_near_rows(preds);
  const Tensor near_target = wmscore::with_near_rows(target);
  const Tensor of_result = torch::stable::contiguous(gradient);
  const int64_t bytes =
      wmscore_frame_ssim_backward_scratch(element, images, channels, height, width, scales);
  Tensor scratch = torch::stable::new_empty(preds, {bytes}, wmscore::ScalarType::Byte);
  wmscore::check_launch(wmscore_frame_ssim_backward_cuda(
      element, wmscore::images_of(near_preds), wmscore::images_of(near_target), images, channels,
      height, width, data_range, uniform, scales,
      static_cast<const double*>(of_result.const_data_ptr()), scratch.mutable_data_ptr(),
      of_preds.mutable_data_ptr(), of_target.mutable_data_ptr(),
      wmscore::current_stream(preds.get_device_index())));
  return {of_preds, of_target};
}

}  // namespace

void frame_ssim_backward_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_ssim_backward);
  boxed(stack, inputs, outputs);
}
