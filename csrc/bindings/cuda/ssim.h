// What the CUDA bindings of frame_ssim and of its gradient share.
#pragma once

#include <algorithm>
#include <limits>

#include "../frames.h"

namespace wmscore {

inline void check_ssim(const Tensor& preds, const Tensor& target, double data_range, bool uniform,
                       int64_t scales) {
  check_pair(preds, target);
  const int64_t window = uniform ? 7 : 11;
  STD_TORCH_CHECK(scales >= 1 && scales <= 5 && data_range > 0, "scales or data_range");
  STD_TORCH_CHECK(std::min(preds.size(2), preds.size(3)) > (window - 1) << (scales - 1),
                  "frames are too small for the window");
}

// `frames` itself, or a copy where its rows are further apart than the kernels can step.
inline Tensor with_near_rows(const Tensor& frames) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  return frames.stride(2) <= kMost ? frames : torch::stable::contiguous(frames);
}

}  // namespace wmscore
