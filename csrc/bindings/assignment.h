// What the bindings of assignment share.
#pragma once

#include <optional>

#include "frames.h"

namespace wmscore {

// The pointers of AssignmentProblems, and what keeps them alive.
struct AssignmentTensors {
  std::optional<Tensor> use_rows;
  std::optional<Tensor> use_cols;
  AssignmentProblems problems;
};

inline std::optional<Tensor> contiguous_mask(std::optional<Tensor> mask, const Tensor& cost,
                                             int64_t side) {
  if (!mask) return mask;
  STD_TORCH_CHECK(mask->dim() == 2 && mask->size(0) == cost.size(0) &&
                      mask->size(1) == cost.size(side) && mask->scalar_type() == ScalarType::Bool &&
                      mask->device() == cost.device(),
                  "masks must be bool [P, N] and [P, M], on the device of the costs");
  return torch::stable::contiguous(*mask);
}

inline AssignmentTensors problems_of(const Tensor& cost, std::optional<Tensor> use_rows,
                                     std::optional<Tensor> use_cols) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(cost.dim() == 3, "cost must be [P, N, M]");
  STD_TORCH_CHECK(cost.size(1) <= kLongestSide && cost.size(2) <= kLongestSide,
                  "cost has too many rows or columns");
  const Element element = element_of(cost);
  STD_TORCH_CHECK(element == Element::kFloat32 || element == Element::kFloat64,
                  "cost must be float32 or float64");
  AssignmentTensors tensors = {
      contiguous_mask(use_rows, cost, 1), contiguous_mask(use_cols, cost, 2), {}};
  const auto data = [](const std::optional<Tensor>& mask) {
    return mask ? static_cast<const bool*>(mask->const_data_ptr()) : nullptr;
  };
  tensors.problems = {cost.const_data_ptr(),  cost.stride(0),        cost.stride(1),
                      cost.stride(2),         cost.size(1),          cost.size(2),
                      data(tensors.use_rows), data(tensors.use_cols)};
  return tensors;
}

}  // namespace wmscore
