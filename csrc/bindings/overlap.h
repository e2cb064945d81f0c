// What the bindings of label_overlap share.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <tuple>

#include "labels.h"

namespace wmscore {

// The pointers of LabelMaps, and what keeps them alive.
struct LabelTensors {
  Tensor preds;
  Tensor target;
  Tensor preds_ids;
  Tensor target_ids;
  std::optional<Tensor> index;
  LabelMaps maps;
};

inline Tensor with_adjacent_pixels(const Tensor& labels) {
  const bool is_flat = has_flat_rows(labels) && pixel_stride(labels) == 1;
  return is_flat ? labels : torch::stable::contiguous(labels);
}

// Maps of any strides: copied only where the pixels of a frame do not follow each other.
inline LabelTensors labels_of(const Tensor& preds, const Tensor& target, const Tensor& preds_ids,
                              const Tensor& target_ids, std::optional<Tensor> index) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(preds.dim() == 4 && target.dim() == 4, "labels must be [B, T, H, W]");
  for (int64_t d = 1; d < 4; ++d) {
    STD_TORCH_CHECK(preds.size(d) == target.size(d), "labels must have the same [T, H, W]");
  }
  STD_TORCH_CHECK(preds.scalar_type() == target.scalar_type(), "labels must have one dtype");
  STD_TORCH_CHECK(preds.device() == target.device(), "labels must be on one device");
  for (const Tensor* ids : {&preds_ids, &target_ids}) {
    STD_TORCH_CHECK(ids->dim() == 2 && ids->size(0) == preds.size(0) &&
                        ids->size(1) <= kMostObjects && ids->scalar_type() == ScalarType::Long &&
                        ids->device() == preds.device(),
                    "ids must be int64 [B, objects], on the device of the labels");
  }
  STD_TORCH_CHECK(index ? index->dim() == 1 && index->size(0) == preds.size(0) &&
                              index->scalar_type() == ScalarType::Long &&
                              index->device() == preds.device()
                        : preds.size(0) == target.size(0),
                  "target_index must be int64 [B], on the device of the labels");
  if (index) index = torch::stable::contiguous(*index);
  LabelTensors tensors = {with_adjacent_pixels(preds),
                          with_adjacent_pixels(target),
                          torch::stable::contiguous(preds_ids),
                          torch::stable::contiguous(target_ids),
                          index,
                          {}};
  tensors.maps = {view_of(tensors.preds),
                  view_of(tensors.target),
                  label_bytes(preds),
                  preds.size(0),
                  preds.size(1),
                  preds.size(2),
                  preds.size(3),
                  target.size(0),
                  index ? static_cast<const int64_t*>(index->const_data_ptr()) : nullptr,
                  static_cast<const int64_t*>(tensors.preds_ids.const_data_ptr()),
                  static_cast<const int64_t*>(tensors.target_ids.const_data_ptr()),
                  preds_ids.size(1),
                  target_ids.size(1)};
  return tensors;
}

// The results: joint, target_shapes, preds_shapes, stray.
using LabelResults = std::tuple<Tensor, Tensor, Tensor, Tensor>;

inline LabelCounts counts_of(LabelResults& results) {
  return {static_cast<int32_t*>(std::get<0>(results).mutable_data_ptr()),
          static_cast<int64_t*>(std::get<1>(results).mutable_data_ptr()),
          static_cast<int64_t*>(std::get<2>(results).mutable_data_ptr()),
          static_cast<int64_t*>(std::get<3>(results).mutable_data_ptr())};
}

inline LabelResults new_results(const Tensor& preds, const LabelMaps& maps, bool zero_joint = false,
                                bool zero_rest = false) {
  const int64_t rows = maps.rows, steps = maps.steps;
  const int64_t reference = maps.target_objects, generated = maps.preds_objects;
  const auto create = [&](bool zero, std::initializer_list<int64_t> shape, ScalarType type) {
    return zero ? torch::stable::new_zeros(preds, shape, type)
                : torch::stable::new_empty(preds, shape, type);
  };
  return {create(zero_joint, {rows, steps, reference + 1, generated + 1}, ScalarType::Int),
          create(zero_rest, {rows, steps, reference, 6}, ScalarType::Long),
          create(zero_rest, {rows, steps, generated, 6}, ScalarType::Long),
          create(zero_rest, {rows, steps, std::min(reference, generated)}, ScalarType::Long)};
}

}  // namespace wmscore
