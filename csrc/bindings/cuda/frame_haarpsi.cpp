#include "../frames.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

Tensor frame_haarpsi(const Tensor& preds, const Tensor& target, bool subsample) {
  wmscore::check_pair(preds, target);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  STD_TORCH_CHECK(channels == 1 || channels == 3, "frames must have 1 or 3 channels");
  STD_TORCH_CHECK(height > 0 && width > 0, "frames must have at least one pixel");

  Tensor sums = torch::stable::new_empty(preds, {images, 2}, wmscore::ScalarType::Double);
  if (images == 0) return sums;
  const int64_t tiles = wmscore_frame_haarpsi_tiles(height, width, subsample);
  Tensor partials = torch::stable::new_empty(preds, {tiles > 1 ? images * tiles * 2 : 0},
                                             wmscore::ScalarType::Double);
  wmscore::check_launch(wmscore_frame_haarpsi_cuda(
      wmscore::element_of(preds), wmscore::images_of(preds), wmscore::images_of(target), images,
      channels, height, width, subsample, static_cast<double*>(partials.mutable_data_ptr()),
      static_cast<double*>(sums.mutable_data_ptr()),
      wmscore::current_stream(preds.get_device_index())));
  return sums;
}

}  // namespace

void frame_haarpsi_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_haarpsi);
  boxed(stack, inputs, outputs);
}
