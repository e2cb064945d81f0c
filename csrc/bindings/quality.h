// What the bindings of frame_quality share.
#pragma once

#include <optional>

#include "frames.h"

namespace wmscore {

// A backstop: Python has worded these errors for the user already.
inline void check_quality(const Tensor& frames, const std::optional<Tensor>& previous) {
  STD_TORCH_CHECK(frames.dim() == 4 && (frames.size(1) == 1 || frames.size(1) == 3),
                  "frames must be [N, C, H, W] with C = 1 or C = 3");
  if (!previous) return;
  STD_TORCH_CHECK(previous->dim() == 4, "previous must be [N, C, H, W]");
  for (int64_t d = 0; d < 4; ++d) {
    STD_TORCH_CHECK(frames.size(d) == previous->size(d), "frames and previous must have one shape");
  }
  STD_TORCH_CHECK(frames.scalar_type() == previous->scalar_type(),
                  "frames and previous must have one dtype");
  STD_TORCH_CHECK(frames.device() == previous->device(),
                  "frames and previous must be on one device");
}

// A frame of one channel counts as three equal ones.
inline Images rgb_of(const Tensor& frames) {
  Images images = images_of(frames);
  if (frames.size(1) == 1) images.channel = 0;
  return images;
}

inline ScalarType quality_type(Element element) {
  return element == Element::kUint8 ? ScalarType::Long : ScalarType::Double;
}

}  // namespace wmscore
