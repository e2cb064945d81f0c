// What bindings of ops on frames share: a torch tensor [N, C, H, W] as the plain pointers of
// kernels.h.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include "../kernels.h"

namespace wmscore {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Element element_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Byte:
      return Element::kUint8;
    case ScalarType::Half:
      return Element::kFloat16;
    case ScalarType::BFloat16:
      return Element::kBfloat16;
    case ScalarType::Float:
      return Element::kFloat32;
    case ScalarType::Double:
      return Element::kFloat64;
    default:
      STD_TORCH_CHECK(false, "frames must be uint8 or floating, got ",
                      torch::headeronly::toString(tensor.scalar_type()));
  }
}

// A backstop: Python has worded these errors for the user already.
inline void check_pair(const Tensor& preds, const Tensor& target) {
  STD_TORCH_CHECK(preds.dim() == 4 && target.dim() == 4, "frames must be [N, C, H, W]");
  for (int64_t d = 0; d < 4; ++d) {
    STD_TORCH_CHECK(preds.size(d) == target.size(d), "preds and target must have one shape");
  }
  STD_TORCH_CHECK(preds.scalar_type() == target.scalar_type(),
                  "preds and target must have one dtype");
  STD_TORCH_CHECK(preds.device() == target.device(), "preds and target must be on one device");
}

// Whether pixel y * W + x lies at (y * W + x) * stride for one stride. The stride of a side of
// length 1 or 0 means nothing.
inline bool has_flat_rows(const Tensor& frames) {
  return frames.size(2) <= 1 || frames.size(3) <= 1 ||
         frames.stride(2) == frames.size(3) * frames.stride(3);
}

inline int64_t pixel_stride(const Tensor& frames) {
  return frames.size(3) > 1 ? frames.stride(3) : frames.size(2) > 1 ? frames.stride(2) : 1;
}

// `frames` itself, or a copy where its rows do not follow each other. The view lives as long as the
// tensor.
inline Tensor with_flat_rows(const Tensor& frames) {
  return has_flat_rows(frames) ? frames : torch::stable::contiguous(frames);
}

inline Frames view_of(const Tensor& frames) {
  return {frames.const_data_ptr(), frames.stride(0), frames.stride(1), pixel_stride(frames)};
}

// Frames of any strides. The view lives as long as the tensor.
inline Images images_of(const Tensor& frames) {
  return {frames.const_data_ptr(), frames.stride(0), frames.stride(1), frames.stride(2),
          frames.stride(3)};
}

}  // namespace wmscore
