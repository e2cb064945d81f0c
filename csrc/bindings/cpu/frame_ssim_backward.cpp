#include <algorithm>
#include <tuple>
#include <vector>

#include "../frames.h"

namespace {

using wmscore::Element;
using wmscore::Images;
using wmscore::Plane;
using wmscore::Tensor;

constexpr int64_t kStatistics = 3;

struct Level {
  Element element;
  Plane preds, target;
  int64_t height, width;
  char *of_preds, *of_target;
};

std::tuple<Tensor, Tensor> frame_ssim_backward(const Tensor& gradient, const Tensor& preds,
                                               const Tensor& target, double data_range,
                                               bool uniform, int64_t scales) {
  wmscore::check_pair(preds, target);
  const Element element = wmscore::element_of(preds);
  const int64_t window = uniform ? 7 : 11;
  STD_TORCH_CHECK(element != Element::kUint8, "integers have no gradient");
  STD_TORCH_CHECK(scales >= 1 && scales <= 5 && data_range > 0, "scales or data_range");
  STD_TORCH_CHECK(std::min(preds.size(2), preds.size(3)) > (window - 1) << (scales - 1),
                  "frames are too small for the window");
  const int64_t channels = preds.size(1), height = preds.size(2), width = preds.size(3);
  const int64_t planes = preds.size(0) * channels;
  STD_TORCH_CHECK(gradient.scalar_type() == wmscore::ScalarType::Double &&
                      gradient.numel() == planes * scales * kStatistics,
                  "gradient must be float64 [N, C, scales, 3]");
  const Tensor flat_gradient = torch::stable::contiguous(gradient);
  const double* of_means = static_cast<const double*>(flat_gradient.const_data_ptr());
  const auto shape = preds.sizes();
  Tensor of_preds = torch::stable::new_empty(preds, shape);
  Tensor of_target = torch::stable::new_empty(preds, shape);
  char* const preds_out = static_cast<char*>(of_preds.mutable_data_ptr());
  char* const target_out = static_cast<char*>(of_target.mutable_data_ptr());
  const Images preds_view = wmscore::images_of(preds), target_view = wmscore::images_of(target);
  const int64_t size = static_cast<int64_t>(preds.element_size());

  const Element coarse = element == Element::kFloat64 ? Element::kFloat64 : Element::kFloat32;
  const int64_t coarse_size = coarse == Element::kFloat64 ? 8 : 4;
  // Of each coarser level: both frames and both gradients.
  int64_t pyramid_bytes = 0;
  for (int64_t k = 1, h = height, w = width; k < scales; ++k) {
    h = (h + 1) / 2;
    w = (w + 1) / 2;
    pyramid_bytes += 4 * h * w * coarse_size;
  }
  const auto plane_of = [&](const Images& images, int64_t plane) -> Plane {
    const int64_t offset = plane / channels * images.image + plane % channels * images.channel;
    return {static_cast<const char*>(images.data) + offset * size, images.row, images.pixel};
  };
  const auto run_plane = [&](int64_t plane, char* scratch, const auto& for_bands) {
    std::vector<Level> levels(scales);
    levels[0] = {element,
                 plane_of(preds_view, plane),
                 plane_of(target_view, plane),
                 height,
                 width,
                 preds_out + plane * height * width * size,
                 target_out + plane * height * width * size};
    for (int64_t k = 1; k < scales; ++k) {
      const Level& fine = levels[k - 1];
      const int64_t h = (fine.height + 1) / 2, w = (fine.width + 1) / 2;
      const int64_t bytes = h * w * coarse_size;
      levels[k] = {coarse, {scratch, w, 1},     {scratch + bytes, w, 1}, h,
                   w,      scratch + 2 * bytes, scratch + 3 * bytes};
      wmscore_halve_cpu(fine.element, fine.preds, fine.height, fine.width, scratch);
      wmscore_halve_cpu(fine.element, fine.target, fine.height, fine.width, scratch + bytes);
      scratch += 4 * bytes;
    }
    for (int64_t k = scales - 1; k >= 0; --k) {
      const Level& level = levels[k];
      const bool is_last = k == scales - 1;
      for_bands(wmscore_frame_ssim_backward_bands(level.height), [&](int64_t first, int64_t last) {
        for (int64_t band = first; band < last; ++band) {
          wmscore_frame_ssim_backward_cpu(
              level.element, level.preds, level.target, level.height, level.width, data_range,
              uniform, of_means + (plane * scales + k) * kStatistics,
              is_last ? nullptr : levels[k + 1].of_preds,
              is_last ? nullptr : levels[k + 1].of_target, band, level.of_preds, level.of_target);
        }
      });
    }
  };

  // Threads take whole planes, or where those are few the bands of each.
  if (planes < torch::stable::get_num_threads() && wmscore_frame_ssim_backward_bands(height) > 1) {
    std::vector<char> scratch(pyramid_bytes);
    for (int64_t plane = 0; plane < planes; ++plane) {
      run_plane(plane, scratch.data(), [](int64_t bands, const auto& body) {
        torch::stable::parallel_for(0, bands, 1, body);
      });
    }
  } else {
    const int64_t least = std::max<int64_t>(1, 8192 / (height * width));
    torch::stable::parallel_for(0, planes, least, [&](int64_t first, int64_t last) {
      std::vector<char> scratch(pyramid_bytes);
      for (int64_t plane = first; plane < last; ++plane)
        run_plane(plane, scratch.data(), [](int64_t bands, const auto& body) { body(0, bands); });
    });
  }
  return {of_preds, of_target};
}

}  // namespace

void frame_ssim_backward_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_ssim_backward);
  boxed(stack, inputs, outputs);
}
