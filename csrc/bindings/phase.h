// What the bindings of global motion share.
#pragma once

#include <tuple>

#include "frames.h"

namespace wmscore {

// A backstop, here and below: Python has worded these errors for the user already.
inline void check_oriented(const Tensor& frames) {
  STD_TORCH_CHECK(frames.dim() == 4 && (frames.size(1) == 1 || frames.size(1) == 3) &&
                      frames.size(2) > 0 && frames.size(3) > 0,
                  "frames must be [N, C, H, W] with 1 or 3 channels and at least one pixel");
}

// Whether both are double; they are float otherwise.
inline bool check_planes(const Tensor& first, const Tensor& second, int64_t dims) {
  STD_TORCH_CHECK(first.dim() == dims && second.dim() == dims, "tensors must have ", dims, " dims");
  for (int64_t d = 0; d < dims; ++d) {
    STD_TORCH_CHECK(first.size(d) == second.size(d) && (d == 0 || first.size(d) > 0),
                    "tensors must have one shape with at least one pixel");
  }
  STD_TORCH_CHECK(first.scalar_type() == second.scalar_type(), "tensors must have one dtype");
  STD_TORCH_CHECK(first.device() == second.device(), "tensors must be on one device");
  const bool is_double = first.scalar_type() == ScalarType::Double;
  STD_TORCH_CHECK(is_double || first.scalar_type() == ScalarType::Float,
                  "tensors must be float32 or float64");
  return is_double;
}

inline void check_shift(const Tensor& shift, const Tensor& luma) {
  STD_TORCH_CHECK(shift.scalar_type() == ScalarType::Long && shift.dim() == 2 &&
                      shift.size(0) == luma.size(0) && shift.size(1) == 2 &&
                      shift.device() == luma.device(),
                  "shift must be int64 [N, 2] on the device of luma");
}

inline ScalarType oriented_type(const Tensor& frames) {
  return frames.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

}  // namespace wmscore
