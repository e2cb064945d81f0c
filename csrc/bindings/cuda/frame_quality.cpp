#include "../../quality.h"
#include "../quality.h"
#include "launch.h"

namespace {

using wmscore::kQualityColumns;
using wmscore::Tensor;

Tensor frame_quality(const Tensor& frames, const std::optional<Tensor>& previous) {
  wmscore::check_quality(frames, previous);
  const torch::stable::accelerator::DeviceGuard guard(frames.get_device_index());
  const wmscore::Element element = wmscore::element_of(frames);
  const int64_t images = frames.size(0);
  const int64_t height = frames.size(2);
  const int64_t width = frames.size(3);
  const auto sum_type = wmscore::quality_type(element);
  if (images * height * width == 0)
    return torch::stable::new_zeros(frames, {images, kQualityColumns}, sum_type);

  Tensor sums = torch::stable::new_empty(frames, {images, kQualityColumns}, sum_type);
  const int64_t slices = wmscore_frame_quality_slices(element, height, width);
  const int64_t scratch = slices > 1 ? images * slices * kQualityColumns : 0;
  Tensor partials = torch::stable::new_empty(frames, {scratch}, sum_type);
  wmscore::check_launch(wmscore_frame_quality_cuda(
      element, wmscore::rgb_of(frames), previous ? wmscore::rgb_of(*previous) : wmscore::Images{},
      images, height, width, partials.mutable_data_ptr(), sums.mutable_data_ptr(),
      wmscore::current_stream(frames.get_device_index())));
  return sums;
}

}  // namespace

void frame_quality_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_quality);
  boxed(stack, inputs, outputs);
}
