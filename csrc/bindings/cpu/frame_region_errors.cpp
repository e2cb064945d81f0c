#include <algorithm>
#include <tuple>

#include "../region.h"

namespace {

using wmscore::Tensor;

// [images, bands, values] to [images, values], in order.
template <typename T>
void add_bands(const void* bands_data, int64_t images, int64_t bands, int64_t values, void* data) {
  const T* from = static_cast<const T*>(bands_data);
  T* to = static_cast<T*>(data);
  std::fill(to, to + images * values, T(0));
  for (int64_t image = 0; image < images; ++image, to += values) {
    for (int64_t band = 0; band < bands; ++band, from += values) {
      for (int64_t k = 0; k < values; ++k) to[k] += from[k];
    }
  }
}

std::tuple<Tensor, Tensor> frame_region_errors(const Tensor& preds, const Tensor& target,
                                               std::optional<Tensor> mask,
                                               std::optional<Tensor> previous, double threshold) {
  wmscore::check_pair(preds, target);
  wmscore::check_region(target, mask, previous);
  const Tensor flat_preds = wmscore::with_flat_rows(preds);
  const Tensor flat_target = wmscore::with_flat_rows(target);
  if (mask) mask = wmscore::with_flat_pixels(*mask);
  if (previous) previous = wmscore::with_flat_rows(*previous);
  const wmscore::Region region = wmscore::region_of(mask, previous, threshold);
  const wmscore::Element element = wmscore::element_of(preds);
  const wmscore::Frames preds_view = wmscore::view_of(flat_preds);
  const wmscore::Frames target_view = wmscore::view_of(flat_target);
  const int64_t images = preds.size(0);
  const int64_t channels = preds.size(1);
  const int64_t pixels = preds.size(2) * preds.size(3);
  const int64_t bands = wmscore_frame_region_errors_bands(pixels);

  const bool is_whole = element == wmscore::Element::kUint8;
  const auto sum_type = is_whole ? wmscore::ScalarType::Long : wmscore::ScalarType::Double;
  Tensor sums = torch::stable::new_empty(preds, {images, channels, 2, 6}, sum_type);
  Tensor counts = torch::stable::new_empty(preds, {images, 2}, wmscore::ScalarType::Long);
  const int64_t scratch = bands > 1 ? images * bands : 0;
  Tensor band_sums = torch::stable::new_empty(preds, {scratch, channels, 2, 6}, sum_type);
  Tensor band_counts = torch::stable::new_empty(preds, {scratch, 2}, wmscore::ScalarType::Long);
  void* const sums_data = (bands > 1 ? band_sums : sums).mutable_data_ptr();
  int64_t* const counts_data =
      static_cast<int64_t*>((bands > 1 ? band_counts : counts).mutable_data_ptr());
  // A thread should have at least 32 k pixels of all channels to do.
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, channels * pixels));
  torch::stable::parallel_for(0, images * bands, grain, [&](int64_t first, int64_t last) {
    wmscore_frame_region_errors_cpu(element, preds_view, target_view, region, channels, pixels,
                                    first, last, sums_data, counts_data);
  });
  if (bands > 1) {
    const auto add = is_whole ? add_bands<int64_t> : add_bands<double>;
    add(sums_data, images, bands, channels * 2 * 6, sums.mutable_data_ptr());
    add_bands<int64_t>(counts_data, images, bands, 2, counts.mutable_data_ptr());
  }
  return {sums, counts};
}

}  // namespace

void frame_region_errors_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_region_errors);
  boxed(stack, inputs, outputs);
}
