#include <algorithm>
#include <optional>

#include "../../quality.h"
#include "../quality.h"

namespace {

using wmscore::kQualityColumns;
using wmscore::Tensor;

template <typename Sum>
void add_bands(const Tensor& of_bands, int64_t images, int64_t bands, Tensor& sums) {
  const Sum* source = static_cast<const Sum*>(of_bands.const_data_ptr());
  Sum* target = static_cast<Sum*>(sums.mutable_data_ptr());
  for (int64_t n = 0; n < images; ++n, target += kQualityColumns) {
    std::fill(target, target + kQualityColumns, Sum(0));
    for (int64_t band = 0; band < bands; ++band, source += kQualityColumns)
      for (int k = 0; k < kQualityColumns; ++k) target[k] += source[k];
  }
}

Tensor frame_quality(const Tensor& frames, const std::optional<Tensor>& previous) {
  wmscore::check_quality(frames, previous);
  const wmscore::Element element = wmscore::element_of(frames);
  const wmscore::Images view = wmscore::rgb_of(frames);
  const wmscore::Images previous_view = previous ? wmscore::rgb_of(*previous) : wmscore::Images{};
  const int64_t images = frames.size(0);
  const int64_t height = frames.size(2);
  const int64_t width = frames.size(3);
  const int64_t bands = wmscore_frame_quality_bands(height, width);
  const auto sum_type = wmscore::quality_type(element);

  Tensor of_bands = torch::stable::new_empty(frames, {images, bands, kQualityColumns}, sum_type);
  void* const out = of_bands.mutable_data_ptr();
  // A thread should have at least 8 k pixels to do.
  const int64_t band_pixels = std::max<int64_t>(1, height * width / bands);
  torch::stable::parallel_for(0, images * bands, std::max<int64_t>(1, 8192 / band_pixels),
                              [&](int64_t first, int64_t last) {
                                wmscore_frame_quality_cpu(element, view, previous_view, height,
                                                          width, first, last, out);
                              });
  Tensor sums = torch::stable::new_empty(frames, {images, kQualityColumns}, sum_type);
  if (element == wmscore::Element::kUint8) {
    add_bands<int64_t>(of_bands, images, bands, sums);
  } else {
    add_bands<double>(of_bands, images, bands, sums);
  }
  return sums;
}

}  // namespace

void frame_quality_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_quality);
  boxed(stack, inputs, outputs);
}
