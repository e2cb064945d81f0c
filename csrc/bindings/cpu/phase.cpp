#include "../phase.h"

#include <algorithm>

namespace {

using torch::stable::new_empty;
using wmscore::ScalarType;
using wmscore::Tensor;

// A thread should have at least 16 k pixels to do.
template <typename Work>
void share_out(int64_t items, int64_t pixels, const Work& work) {
  torch::stable::parallel_for(0, items, std::max<int64_t>(1, 16384 / pixels), work);
}

std::tuple<Tensor, Tensor> edge_orientation(const Tensor& frames, bool window) {
  wmscore::check_oriented(frames);
  const int64_t images = frames.size(0), height = frames.size(2), width = frames.size(3);
  const ScalarType type = wmscore::oriented_type(frames);
  Tensor field = new_empty(frames, {images, height, width, 2}, type);
  Tensor luma = new_empty(frames, {images, height, width}, type);
  const wmscore::Element element = wmscore::element_of(frames);
  const wmscore::Images view = wmscore::images_of(frames);
  const int64_t channels = frames.size(1);
  void* const field_data = field.mutable_data_ptr();
  void* const luma_data = luma.mutable_data_ptr();
  share_out(images, height * width, [&](int64_t first, int64_t last) {
    wmscore_edge_orientation_cpu(element, view, channels, height, width, window, first, last,
                                 field_data, luma_data);
  });
  return {field, luma};
}

std::tuple<Tensor, Tensor> cross_power(const Tensor& spectrum, const Tensor& following) {
  const bool is_double = wmscore::check_planes(spectrum, following, 4);
  const Tensor a = torch::stable::contiguous(spectrum), b = torch::stable::contiguous(following);
  const int64_t pairs = a.size(0), height = a.size(1), width = a.size(2);
  Tensor power = new_empty(a, {pairs, height, width / 2 + 1, 2}, a.scalar_type());
  Tensor total = new_empty(a, {pairs}, a.scalar_type());
  void* const power_data = power.mutable_data_ptr();
  void* const total_data = total.mutable_data_ptr();
  share_out(pairs, height * width, [&](int64_t first, int64_t last) {
    wmscore_cross_power_cpu(is_double, a.const_data_ptr(), b.const_data_ptr(), height, width, first,
                            last, power_data, total_data);
  });
  return {power, total};
}

std::tuple<Tensor, Tensor> correlation_peak(const Tensor& surface, int64_t reach_y,
                                            int64_t reach_x) {
  const bool is_double = wmscore::check_planes(surface, surface, 3);
  const Tensor flat = torch::stable::contiguous(surface);
  const int64_t count = flat.size(0), height = flat.size(1), width = flat.size(2);
  Tensor shift = new_empty(flat, {count, 2}, ScalarType::Long);
  Tensor value = new_empty(flat, {count}, flat.scalar_type());
  int64_t* const shift_data = static_cast<int64_t*>(shift.mutable_data_ptr());
  void* const value_data = value.mutable_data_ptr();
  share_out(count, height * width, [&](int64_t first, int64_t last) {
    wmscore_correlation_peak_cpu(is_double, flat.const_data_ptr(), height, width, reach_y, reach_x,
                                 first, last, shift_data, value_data);
  });
  return {shift, value};
}

Tensor shift_refine(const Tensor& luma, const Tensor& following, const Tensor& shift) {
  const bool is_double = wmscore::check_planes(luma, following, 3);
  wmscore::check_shift(shift, luma);
  const Tensor a = torch::stable::contiguous(luma), b = torch::stable::contiguous(following);
  const Tensor whole = torch::stable::contiguous(shift);
  const int64_t pairs = a.size(0), height = a.size(1), width = a.size(2);
  Tensor result = new_empty(a, {pairs, 3}, ScalarType::Double);
  double* const result_data = static_cast<double*>(result.mutable_data_ptr());
  share_out(pairs, 8 * height * width, [&](int64_t first, int64_t last) {
    wmscore_shift_refine_cpu(is_double, a.const_data_ptr(), b.const_data_ptr(),
                             static_cast<const int64_t*>(whole.const_data_ptr()), height, width,
                             first, last, result_data);
  });
  return result;
}

}  // namespace

#define WMSCORE_BOXED(op)                                                 \
  void op##_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) { \
    constexpr auto boxed = TORCH_BOX(&op);                                \
    boxed(stack, inputs, outputs);                                        \
  }
WMSCORE_BOXED(edge_orientation)
WMSCORE_BOXED(cross_power)
WMSCORE_BOXED(correlation_peak)
WMSCORE_BOXED(shift_refine)
