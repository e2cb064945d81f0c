#include <algorithm>
#include <vector>

#include "../frames.h"

namespace {

using wmscore::Tensor;

Tensor frame_haarpsi(const Tensor& preds, const Tensor& target, bool subsample) {
  wmscore::check_pair(preds, target);
  const wmscore::Element element = wmscore::element_of(preds);
  const wmscore::Images preds_view = wmscore::images_of(preds);
  const wmscore::Images target_view = wmscore::images_of(target);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t height = preds.size(2);
  const int64_t width = preds.size(3);
  STD_TORCH_CHECK(channels == 1 || channels == 3, "frames must have 1 or 3 channels");
  STD_TORCH_CHECK(height > 0 && width > 0, "frames must have at least one pixel");

  const int64_t tiles = wmscore_frame_haarpsi_cpu_tiles(height, width, subsample);
  std::vector<double> partials(images * tiles * 2);
  // A thread should have at least 4 k pixels to do.
  const int64_t pixels_per_tile = height * width / (subsample ? 4 * tiles : tiles);
  const int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, pixels_per_tile));
  torch::stable::parallel_for(0, images * tiles, grain, [&](int64_t first, int64_t last) {
    wmscore_frame_haarpsi_cpu(element, preds_view, target_view, channels, height, width, subsample,
                              first, last, partials.data());
  });

  Tensor sums = torch::stable::new_empty(preds, {images, 2}, wmscore::ScalarType::Double);
  double* const out = static_cast<double*>(sums.mutable_data_ptr());
  std::fill(out, out + images * 2, 0.0);
  for (int64_t item = 0; item < images * tiles; ++item) {
    for (int k = 0; k < 2; ++k) out[item / tiles * 2 + k] += partials[item * 2 + k];
  }
  return sums;
}

}  // namespace

void frame_haarpsi_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_haarpsi);
  boxed(stack, inputs, outputs);
}
