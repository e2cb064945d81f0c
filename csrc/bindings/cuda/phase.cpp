#include "../phase.h"

#include "launch.h"

namespace {

using torch::stable::new_empty;
using torch::stable::accelerator::DeviceGuard;
using wmscore::ScalarType;
using wmscore::Tensor;

std::tuple<Tensor, Tensor> edge_orientation(const Tensor& frames, bool window) {
  wmscore::check_oriented(frames);
  const DeviceGuard guard(frames.get_device_index());
  const int64_t images = frames.size(0), height = frames.size(2), width = frames.size(3);
  const ScalarType type = wmscore::oriented_type(frames);
  Tensor field = new_empty(frames, {images, height, width, 2}, type);
  Tensor luma = new_empty(frames, {images, height, width}, type);
  if (images == 0) return {field, luma};
  wmscore::check_launch(wmscore_edge_orientation_cuda(
      wmscore::element_of(frames), wmscore::images_of(frames), images, frames.size(1), height,
      width, window, field.mutable_data_ptr(), luma.mutable_data_ptr(),
      wmscore::current_stream(frames.get_device_index())));
  return {field, luma};
}

std::tuple<Tensor, Tensor> cross_power(const Tensor& spectrum, const Tensor& following) {
  const bool is_double = wmscore::check_planes(spectrum, following, 4);
  const DeviceGuard guard(spectrum.get_device_index());
  const Tensor a = torch::stable::contiguous(spectrum), b = torch::stable::contiguous(following);
  const int64_t pairs = a.size(0), height = a.size(1), width = a.size(2);
  Tensor power = new_empty(a, {pairs, height, width / 2 + 1, 2}, a.scalar_type());
  Tensor total = new_empty(a, {pairs}, a.scalar_type());
  if (pairs == 0) return {power, total};
  wmscore::check_launch(
      wmscore_cross_power_cuda(is_double, a.const_data_ptr(), b.const_data_ptr(), pairs, height,
                               width, power.mutable_data_ptr(), total.mutable_data_ptr(),
                               wmscore::current_stream(spectrum.get_device_index())));
  return {power, total};
}

std::tuple<Tensor, Tensor> correlation_peak(const Tensor& surface, int64_t reach_y,
                                            int64_t reach_x) {
  const bool is_double = wmscore::check_planes(surface, surface, 3);
  const DeviceGuard guard(surface.get_device_index());
  const Tensor flat = torch::stable::contiguous(surface);
  const int64_t count = flat.size(0), height = flat.size(1), width = flat.size(2);
  Tensor shift = new_empty(flat, {count, 2}, ScalarType::Long);
  Tensor value = new_empty(flat, {count}, flat.scalar_type());
  if (count == 0) return {shift, value};
  wmscore::check_launch(wmscore_correlation_peak_cuda(
      is_double, flat.const_data_ptr(), count, height, width, reach_y, reach_x,
      static_cast<int64_t*>(shift.mutable_data_ptr()), value.mutable_data_ptr(),
      wmscore::current_stream(surface.get_device_index())));
  return {shift, value};
}

Tensor shift_refine(const Tensor& luma, const Tensor& following, const Tensor& shift) {
  const bool is_double = wmscore::check_planes(luma, following, 3);
  wmscore::check_shift(shift, luma);
  const DeviceGuard guard(luma.get_device_index());
  const Tensor a = torch::stable::contiguous(luma), b = torch::stable::contiguous(following);
  const Tensor whole = torch::stable::contiguous(shift);
  const int64_t pairs = a.size(0);
  Tensor result = new_empty(a, {pairs, 3}, ScalarType::Double);
  if (pairs == 0) return result;
  wmscore::check_launch(wmscore_shift_refine_cuda(
      is_double, a.const_data_ptr(), b.const_data_ptr(),
      static_cast<const int64_t*>(whole.const_data_ptr()), pairs, a.size(1), a.size(2),
      static_cast<double*>(result.mutable_data_ptr()),
      wmscore::current_stream(luma.get_device_index())));
  return result;
}

}  // namespace

#define WMSCORE_BOXED(op)                                                  \
  void op##_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs) { \
    constexpr auto boxed = TORCH_BOX(&op);                                 \
    boxed(stack, inputs, outputs);                                         \
  }
WMSCORE_BOXED(edge_orientation)
WMSCORE_BOXED(cross_power)
WMSCORE_BOXED(correlation_peak)
WMSCORE_BOXED(shift_refine)
