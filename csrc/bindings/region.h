// What bindings of frame_region_errors share: the optional tensors that say where the region is.
#pragma once

#include <optional>

#include "frames.h"

namespace wmscore {

// A backstop: Python has worded these errors for the user already.
inline void check_region(const Tensor& target, const std::optional<Tensor>& mask,
                         const std::optional<Tensor>& previous) {
  if (mask) {
    STD_TORCH_CHECK(mask->dim() == 3 && mask->size(0) == target.size(0) &&
                        mask->size(1) == target.size(2) && mask->size(2) == target.size(3),
                    "mask must be [N, H, W] like the frames");
    STD_TORCH_CHECK(mask->scalar_type() == ScalarType::Bool, "mask must be bool");
    STD_TORCH_CHECK(mask->device() == target.device(), "mask must be on the device of the frames");
  }
  if (previous) check_pair(*previous, target);
}

// The mask as [N, 1, H, W] whose pixels follow each other, copied where they do not.
inline Tensor with_flat_pixels(const Tensor& mask) {
  const Tensor frames = torch::stable::unsqueeze(mask, 1);
  const bool is_flat = has_flat_rows(frames) && pixel_stride(frames) == 1;
  return is_flat ? frames : torch::stable::contiguous(frames);
}

// The views live as long as the tensors.
inline Region region_of(const std::optional<Tensor>& mask, const std::optional<Tensor>& previous,
                        double threshold) {
  return {mask ? view_of(*mask) : Frames{}, previous ? view_of(*previous) : Frames{}, threshold,
          mask.has_value(), previous.has_value()};
}

}  // namespace wmscore
