// What the bindings of label_present share.
#pragma once

#include <optional>
#include <tuple>

#include "labels.h"

namespace wmscore {

// The pointers of a LabelMap, and what keeps them alive.
struct LabelTensor {
  Tensor labels;
  std::optional<Tensor> valid;
  LabelMap map;
};

inline LabelTensor label_map_of(const Tensor& labels, std::optional<Tensor> valid) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(labels.dim() == 4, "labels must be [B, T, H, W]");
  STD_TORCH_CHECK(
      !valid || (valid->dim() == 2 && valid->size(0) == labels.size(0) &&
                 valid->size(1) == labels.size(1) && valid->scalar_type() == ScalarType::Bool &&
                 valid->device() == labels.device()),
      "valid must be bool [B, T], on the device of the labels");
  if (valid) valid = torch::stable::contiguous(*valid);
  LabelTensor tensor = {with_adjacent_pixels(labels), valid, {}};
  tensor.map = {view_of(tensor.labels),
                label_bytes(labels),
                labels.size(0),
                labels.size(1),
                labels.size(2) * labels.size(3),
                valid ? static_cast<const bool*>(valid->const_data_ptr()) : nullptr};
  return tensor;
}

// The results: present, extremes.
using PresentResults = std::tuple<Tensor, Tensor>;

inline PresentResults new_present(const Tensor& labels) {
  return {torch::stable::new_zeros(labels, {labels.size(0), kLargestId + 1}, ScalarType::Bool),
          torch::stable::new_zeros(labels, {labels.size(0), 2}, ScalarType::Long)};
}

inline PresentLabels present_of(PresentResults& results) {
  return {static_cast<bool*>(std::get<0>(results).mutable_data_ptr()),
          static_cast<int64_t*>(std::get<1>(results).mutable_data_ptr())};
}

}  // namespace wmscore
