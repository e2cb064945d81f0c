#include <algorithm>

#include "../flip.h"

namespace {

using wmscore::Tensor;

Tensor frame_flip(const Tensor& preds, const Tensor& target, double pixels_per_degree) {
  wmscore::check_flip(preds, target, pixels_per_degree);
  const wmscore::Element element = wmscore::element_of(preds);
  const wmscore::Images preds_view = wmscore::images_of(preds);
  const wmscore::Images target_view = wmscore::images_of(target);
  const int64_t images = preds.size(0);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  const int64_t bands = wmscore_frame_flip_bands(height);

  Tensor sums = torch::stable::new_empty(preds, {images, bands}, wmscore::ScalarType::Double);
  double* const sums_data = static_cast<double*>(sums.mutable_data_ptr());
  // A thread should have at least 4096 pixels to do: a tenth of a millisecond.
  const int64_t band_pixels = std::max<int64_t>(1, height / bands * width);
  torch::stable::parallel_for(0, images * bands, std::max<int64_t>(1, 4096 / band_pixels),
                              [&](int64_t first, int64_t last) {
                                wmscore_frame_flip_cpu(element, preds_view, target_view, height,
                                                       width, pixels_per_degree, first, last,
                                                       sums_data);
                              });

  Tensor means = torch::stable::new_empty(preds, {images}, wmscore::ScalarType::Double);
  double* const means_data = static_cast<double*>(means.mutable_data_ptr());
  for (int64_t n = 0; n < images; ++n) {
    double sum = 0;
    for (int64_t b = 0; b < bands; ++b) sum += sums_data[n * bands + b];
    means_data[n] = sum / (static_cast<double>(height) * static_cast<double>(width));
  }
  return means;
}

}  // namespace

void frame_flip_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_flip);
  boxed(stack, inputs, outputs);
}
