// What the bindings of first_crossing share.
#pragma once

#include <optional>
#include <tuple>

#include "frames.h"

namespace wmscore {

using MaybeTensor = std::optional<Tensor>;

// A side of length 1 is read again and again. `sides` may have no steps.
inline CrossingInput strided_of(const Tensor& tensor, const Tensor& scores, int64_t sides) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(tensor.dim() == sides && tensor.device() == scores.device(),
                  "thresholds, patience and valid must have the sides of the scores");
  int64_t strides[3] = {0, 0, 0};
  for (int64_t d = 0; d < sides; ++d) {
    STD_TORCH_CHECK(tensor.size(d) == 1 || tensor.size(d) == scores.size(d),
                    "thresholds, patience and valid must have the sides of the scores, or 1");
    strides[d] = tensor.size(d) == 1 ? 0 : tensor.stride(d);
  }
  return {tensor.const_data_ptr(), strides[0], strides[1], strides[2]};
}

inline CrossingInput strided_of(const MaybeTensor& tensor, const Tensor& scores, int64_t sides,
                                ScalarType type) {
  if (!tensor) return {nullptr, 0, 0, 0};
  STD_TORCH_CHECK(tensor->scalar_type() == type, "an argument of first_crossing has a wrong dtype");
  return strided_of(*tensor, scores, sides);
}

// The view lives as long as the tensors, of which `gated` is made contiguous.
inline ScoreCurves curves_of(const Tensor& scores, const Tensor& threshold, const Tensor& patience,
                             const MaybeTensor& recover_threshold,
                             const MaybeTensor& recovery_patience, const MaybeTensor& valid,
                             MaybeTensor& gated, bool above) {
  STD_TORCH_CHECK(scores.dim() == 3 && scores.size(0) > 0 && scores.size(2) > 0,
                  "scores must be [A, B, T]");
  STD_TORCH_CHECK(element_of(scores) != Element::kUint8, "scores must be floating");
  STD_TORCH_CHECK(
      !gated || (gated->dim() == 1 && gated->size(0) == scores.size(0) &&
                 gated->scalar_type() == ScalarType::Bool && gated->device() == scores.device()),
      "gated must be bool [A], on the device of the scores");
  if (gated) gated = torch::stable::contiguous(*gated);
  const ScalarType type = scores.scalar_type();
  return {strided_of(scores, scores, 3),
          strided_of(threshold, scores, 3, type),
          strided_of(recover_threshold, scores, 3, type),
          strided_of(patience, scores, 2, ScalarType::Long),
          strided_of(recovery_patience, scores, 2, ScalarType::Long),
          strided_of(valid, scores, 3, ScalarType::Bool),
          gated ? static_cast<const bool*>(gated->const_data_ptr()) : nullptr,
          scores.size(0),
          scores.size(1),
          scores.size(2),
          above};
}

// The results: of curves, their margins, of rollouts.
using CrossingTensors = std::tuple<Tensor, Tensor, Tensor>;

inline CrossingTensors new_crossings(const Tensor& scores) {
  const int64_t axes = scores.size(0), rollouts = scores.size(1);
  const bool is_double = scores.scalar_type() == ScalarType::Double;
  return {torch::stable::new_empty(scores, {kCrossingColumns, axes, rollouts}, ScalarType::Long),
          torch::stable::new_empty(scores, {2, axes, rollouts},
                                   is_double ? ScalarType::Double : ScalarType::Float),
          torch::stable::new_empty(scores, {kRolloutColumns, rollouts}, ScalarType::Long)};
}

inline FoundCrossings found_of(CrossingTensors& tensors) {
  return {static_cast<int64_t*>(std::get<0>(tensors).mutable_data_ptr()),
          std::get<1>(tensors).mutable_data_ptr(),
          static_cast<int64_t*>(std::get<2>(tensors).mutable_data_ptr())};
}

}  // namespace wmscore
