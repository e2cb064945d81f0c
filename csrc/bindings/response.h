// What the bindings of response_products share: its tensors as the pointers of kernels.h.
#pragma once

#include <optional>
#include <tuple>

#include "frames.h"

namespace wmscore {

// The pointers of Responses, and what keeps them alive.
struct ResponseTensors {
  Tensor preds;
  Tensor target;
  Tensor preds_rows;
  Tensor target_rows;
  std::optional<Tensor> present;
  std::optional<Tensor> shift;
  Responses task;
};

inline Clips clips_of(const Tensor& frames) {
  return {frames.const_data_ptr(), frames.size(0),   frames.stride(0), frames.stride(1),
          frames.stride(2),        frames.stride(3), frames.stride(4)};
}

// Where `adjacent`, frames whose pixels do not follow each other in a line are copied.
inline ResponseTensors responses_of(const Tensor& preds, const Tensor& target,
                                    const Tensor& preds_rows, const Tensor& target_rows,
                                    std::optional<Tensor> present, std::optional<Tensor> shift,
                                    double still, bool adjacent) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(preds.dim() == 5 && target.dim() == 5, "frames must be [B, T, C, H, W]");
  for (int64_t d = 1; d < 5; ++d) {
    STD_TORCH_CHECK(preds.size(d) == target.size(d), "frames must have the same [T, C, H, W]");
  }
  STD_TORCH_CHECK(preds.scalar_type() == target.scalar_type(), "frames must have one dtype");
  STD_TORCH_CHECK(preds.device() == target.device(), "frames must be on one device");
  STD_TORCH_CHECK(preds.size(3) * preds.size(4) < (int64_t{1} << 31),
                  "frames must have fewer than 2^31 pixels");
  for (const Tensor* rows : {&preds_rows, &target_rows}) {
    STD_TORCH_CHECK(rows->dim() == 2 && rows->size(0) == preds_rows.size(0) &&
                        rows->size(1) == preds_rows.size(1) && rows->size(1) >= 1 &&
                        rows->size(1) <= kMostScripts && rows->scalar_type() == ScalarType::Long &&
                        rows->device() == preds.device(),
                    "rows must be int64 [G, K], on the device of the frames");
  }
  const int64_t groups = preds_rows.size(0), scripts = preds_rows.size(1);
  const int64_t steps = preds.size(1);
  if (present) {
    STD_TORCH_CHECK(present->dim() == 3 && present->size(0) == groups &&
                        present->size(1) == scripts && present->size(2) == steps &&
                        present->scalar_type() == ScalarType::Bool &&
                        present->device() == preds.device(),
                    "present must be bool [G, K, T], on the device of the frames");
    present = torch::stable::contiguous(*present);
  }
  if (shift) {
    STD_TORCH_CHECK(shift->dim() == 3 && shift->size(0) == groups && shift->size(1) == steps &&
                        shift->size(2) == 2 && shift->scalar_type() == ScalarType::Long &&
                        shift->device() == preds.device(),
                    "shift must be int64 [G, T, 2], on the device of the frames");
    shift = torch::stable::contiguous(*shift);
  }
  const auto in_lines = [&](const Tensor& frames) {
    return !adjacent || frames.size(4) <= 1 || frames.stride(4) == 1
               ? frames
               : torch::stable::contiguous(frames);
  };
  ResponseTensors tensors = {in_lines(preds),
                             in_lines(target),
                             torch::stable::contiguous(preds_rows),
                             torch::stable::contiguous(target_rows),
                             present,
                             shift,
                             {}};
  tensors.task = {clips_of(tensors.preds),
                  clips_of(tensors.target),
                  groups,
                  scripts,
                  steps,
                  preds.size(2),
                  preds.size(3),
                  preds.size(4),
                  static_cast<const int64_t*>(tensors.preds_rows.const_data_ptr()),
                  static_cast<const int64_t*>(tensors.target_rows.const_data_ptr()),
                  present ? static_cast<const bool*>(present->const_data_ptr()) : nullptr,
                  shift ? static_cast<const int64_t*>(shift->const_data_ptr()) : nullptr,
                  still};
  return tensors;
}

// The results: products and statistics.
using ResponseResults = std::tuple<Tensor, Tensor>;

inline ResponseResults new_results(const Tensor& preds, const Responses& task) {
  const int64_t groups = task.groups, steps = task.steps, fields = 2 * task.scripts;
  return {torch::stable::new_empty(preds, {groups, steps, fields, fields}, ScalarType::Double),
          torch::stable::new_empty(preds, {groups, steps, 3}, ScalarType::Double)};
}

}  // namespace wmscore
