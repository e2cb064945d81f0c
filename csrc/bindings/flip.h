// What the bindings of frame_flip share.
#pragma once

#include "frames.h"

namespace wmscore {

// A backstop: Python has worded these errors for the user already.
inline void check_flip(const Tensor& preds, const Tensor& target, double pixels_per_degree) {
  check_pair(preds, target);
  STD_TORCH_CHECK(preds.size(1) == 3 && preds.size(2) > 0 && preds.size(3) > 0,
                  "frames must be [N, 3, H, W] with at least one pixel");
  STD_TORCH_CHECK(pixels_per_degree >= 1 && pixels_per_degree <= 200,
                  "pixels_per_degree must be in 1..200");
}

}  // namespace wmscore
