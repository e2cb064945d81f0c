#include "../flip.h"
#include "launch.h"

namespace {

using wmscore::Tensor;

Tensor frame_flip(const Tensor& preds, const Tensor& target, double pixels_per_degree) {
  wmscore::check_flip(preds, target, pixels_per_degree);
  const torch::stable::accelerator::DeviceGuard guard(preds.get_device_index());
  const int64_t images = preds.size(0);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  Tensor means = torch::stable::new_empty(preds, {images}, wmscore::ScalarType::Double);
  if (images == 0) return means;

  const int64_t tiles = wmscore_frame_flip_tiles(height, width);
  Tensor partials = torch::stable::new_empty(preds, {images, tiles}, wmscore::ScalarType::Double);
  wmscore::check_launch(wmscore_frame_flip_cuda(
      wmscore::element_of(preds), wmscore::images_of(preds), wmscore::images_of(target), images,
      height, width, pixels_per_degree, static_cast<double*>(partials.mutable_data_ptr()),
      static_cast<double*>(means.mutable_data_ptr()),
      wmscore::current_stream(preds.get_device_index())));
  return means;
}

}  // namespace

void frame_flip_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_flip);
  boxed(stack, inputs, outputs);
}
