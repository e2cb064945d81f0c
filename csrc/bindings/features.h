// What the bindings of feature_distance and of its gradient share.
#pragma once

#include <optional>

#include "frames.h"

namespace wmscore {

// The pointers of Features, and what keeps them alive.
struct FeatureTensors {
  Tensor preds;
  Tensor target;
  std::optional<Tensor> index;
  std::optional<Tensor> weight;
  Features maps;
};

// Maps of any strides: copied only where their rows do not follow each other.
inline FeatureTensors features_of(const Tensor& preds, const Tensor& target,
                                  std::optional<Tensor> index, std::optional<Tensor> weight,
                                  bool normalize) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(preds.dim() == 4 && target.dim() == 4, "maps must be [N, C, H, W]");
  for (int64_t d = 1; d < 4; ++d) {
    STD_TORCH_CHECK(preds.size(d) == target.size(d), "maps must have the same [C, H, W]");
  }
  STD_TORCH_CHECK(element_of(preds) != Element::kUint8, "maps must be floating");
  STD_TORCH_CHECK(preds.scalar_type() == target.scalar_type(), "maps must have one dtype");
  STD_TORCH_CHECK(preds.device() == target.device(), "maps must be on one device");
  STD_TORCH_CHECK(index ? index->dim() == 1 && index->size(0) == preds.size(0) &&
                              index->scalar_type() == ScalarType::Long &&
                              index->device() == preds.device()
                        : preds.size(0) == target.size(0),
                  "index must be int64 [N], on the device of the maps");
  const auto real =
      preds.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  if (index) index = torch::stable::contiguous(*index);
  if (weight) {
    STD_TORCH_CHECK(weight->dim() == 1 && weight->size(0) == preds.size(1) &&
                        weight->device() == preds.device(),
                    "weight must be [C], on the device of the maps");
    weight = torch::stable::contiguous(torch::stable::to(*weight, real));
  }
  FeatureTensors tensors = {with_flat_rows(preds), with_flat_rows(target), index, weight, {}};
  tensors.maps = {view_of(tensors.preds),
                  view_of(tensors.target),
                  preds.size(1),
                  preds.size(2) * preds.size(3),
                  target.size(0),
                  index ? static_cast<const int64_t*>(index->const_data_ptr()) : nullptr,
                  weight ? weight->const_data_ptr() : nullptr,
                  normalize};
  return tensors;
}

// As torch's is_contiguous(memory_format=channels_last), which says nothing of sides of length 1.
inline bool is_channels_last(const Tensor& maps) {
  int64_t expected = 1;
  for (const int64_t d : {1, 3, 2, 0}) {
    if (maps.size(d) != 1 && maps.stride(d) != expected) return false;
    expected *= maps.size(d);
  }
  return true;
}

inline bool is_contiguous(const Tensor& maps) {
  int64_t expected = 1;
  for (const int64_t d : {3, 2, 1, 0}) {
    if (maps.size(d) != 1 && maps.stride(d) != expected) return false;
    expected *= maps.size(d);
  }
  return true;
}

// For the gradient of `count` maps: channels-last where the maps are, else contiguous.
inline Tensor new_gradient(const Tensor& maps, int64_t count) {
  const int64_t channels = maps.size(1), height = maps.size(2), width = maps.size(3);
  if (maps.numel() == 0 || is_contiguous(maps) || !is_channels_last(maps))
    return torch::stable::new_empty(maps, {count, channels, height, width});
  const Tensor last = torch::stable::new_empty(maps, {count, height, width, channels});
  return torch::stable::transpose(torch::stable::transpose(last, 1, 3), 2, 3);
}

inline void check_gradient(const Tensor& gradient, const Tensor& preds, bool spatial) {
  const int64_t values = preds.size(0) * (spatial ? preds.size(2) * preds.size(3) : 1);
  STD_TORCH_CHECK(gradient.scalar_type() == ScalarType::Double &&
                      gradient.device() == preds.device() && gradient.numel() == values,
                  "gradient must be float64 [N] or [N, H, W], on the device of the maps");
}

}  // namespace wmscore
