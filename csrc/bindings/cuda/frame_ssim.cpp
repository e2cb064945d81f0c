#include "../frames.h"
#include "launch.h"
#include "ssim.h"

namespace {

using wmscore::Tensor;

Tensor frame_ssim(const Tensor& preds, const Tensor& target, double data_range, bool uniform,
                  int64_t scales) {
  wmscore::check_ssim(preds, target, data_range, uniform, scales);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const wmscore::Element element = wmscore::element_of(preds);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  Tensor result =
      torch::stable::new_empty(preds, {images, channels, scales, 3}, wmscore::ScalarType::Double);
  if (images * channels == 0) return result;

  const Tensor near_preds = wmscore::with_near_rows(preds);
  const Tensor near_target = wmscore::with_near_rows(target);
  const int64_t bytes =
      wmscore_frame_ssim_scratch(element, images, channels, height, width, uniform, scales);
  Tensor scratch = torch::stable::new_empty(preds, {bytes}, wmscore::ScalarType::Byte);
  wmscore::check_launch(wmscore_frame_ssim_cuda(
      element, wmscore::images_of(near_preds), wmscore::images_of(near_target), images, channels,
      height, width, data_range, uniform, scales, scratch.mutable_data_ptr(),
      static_cast<double*>(result.mutable_data_ptr()),
      wmscore::current_stream(preds.get_device_index())));
  return result;
}

}  // namespace

void frame_ssim_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_ssim);
  boxed(stack, inputs, outputs);
}
