// What the bindings of block_flow share.
#pragma once

#include <optional>

#include "frames.h"

namespace wmscore {

struct FlowTensors {
  BlockMatching task;
  Tensor start;  // contiguous; lives as long as the task
  Tensor displacements;
  Tensor costs;
  int64_t block_rows;
  int64_t blocks;  // of all frames
};

// A step of [B, T, C, H, W] frames.
inline Images steps_of(const Tensor& frames) {
  return {frames.const_data_ptr(), frames.stride(1), frames.stride(2), frames.stride(3),
          frames.stride(4)};
}

// The task and what becomes of it. Checks are a backstop: Python has worded these errors for the
// user already.
inline FlowTensors flow_tensors(const Tensor& frames, const Tensor& following, int64_t block,
                                int64_t radius, const std::optional<Tensor>& start) {
  STD_TORCH_CHECK(frames.dim() == 5 && following.dim() == 5, "frames must be [B, T, C, H, W]");
  for (int64_t d = 0; d < 5; ++d) {
    STD_TORCH_CHECK(frames.size(d) == following.size(d),
                    "frames and following must have one shape");
  }
  STD_TORCH_CHECK(frames.scalar_type() == following.scalar_type(),
                  "frames and following must have one dtype");
  STD_TORCH_CHECK(frames.device() == following.device(),
                  "frames and following must be on one device");
  const int64_t batch = frames.size(0), steps = frames.size(1), channels = frames.size(2);
  const int64_t height = frames.size(3), width = frames.size(4);
  STD_TORCH_CHECK(channels >= 1 && channels <= 4096, "frames must have 1..4096 channels");
  STD_TORCH_CHECK(height < 1 << 28 && width < 1 << 28, "sides must be below 2^28");
  STD_TORCH_CHECK(block >= 4 && block <= 32 && block % 4 == 0,
                  "block must be a multiple of 4 in 4..32");
  STD_TORCH_CHECK(radius >= 1 && radius <= 16, "radius must be 1..16");
  Tensor starts = torch::stable::new_empty(frames, {0}, ScalarType::Long);
  if (start) {
    STD_TORCH_CHECK(start->dim() == 3 && start->size(0) == batch && start->size(1) == steps &&
                        start->size(2) == 2,
                    "start must be [B, T, 2]");
    STD_TORCH_CHECK(start->scalar_type() == ScalarType::Long, "start must be int64");
    STD_TORCH_CHECK(start->device() == frames.device(), "start must be on the device of frames");
    starts = torch::stable::contiguous(*start);
  }
  const int64_t* const from =
      start ? static_cast<const int64_t*>(starts.const_data_ptr()) : nullptr;
  const auto real =
      frames.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const int64_t rows = height / block, columns = width / block;
  return {{steps_of(frames), frames.stride(0), steps_of(following), following.stride(0), from,
           batch, steps, channels, height, width, block, radius},
          starts,
          torch::stable::new_empty(frames, {batch, steps, rows, columns, 2}, ScalarType::Int),
          torch::stable::new_empty(frames, {batch, steps, rows, columns, kBlockCosts}, real),
          rows,
          batch * steps * rows * columns};
}

}  // namespace wmscore
