// What the bindings of label_propagate share: its tensors as the pointers of kernels.h.
#pragma once

#include <algorithm>
#include <optional>

#include "frames.h"

namespace wmscore {

// The pointers of a Propagation, and what keeps them alive.
struct PropagationTensors {
  Tensor labels;
  std::optional<Tensor> usable;
  Propagation task;
};

inline ScalarType real_type(const Tensor& features) {
  return features.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline PropagationTensors propagation_of(const Tensor& query, const Tensor& memory,
                                         const Tensor& memory_labels, int64_t radius, int64_t topk,
                                         double temperature, std::optional<Tensor> usable) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(query.dim() == 4 && memory.dim() == 5 && memory_labels.dim() == 5,
                  "query must be [B, C, h, w], memory [B, M, C, h, w], labels [B, M, L, h, w]");
  STD_TORCH_CHECK(
      element_of(query) != Element::kUint8 && memory.scalar_type() == query.scalar_type(),
      "query and memory must be of one floating dtype");
  STD_TORCH_CHECK(memory.device() == query.device() && memory_labels.device() == query.device(),
                  "query, memory and labels must be on one device");
  STD_TORCH_CHECK(memory.size(0) == query.size(0) && memory.size(2) == query.size(1) &&
                      memory.size(3) == query.size(2) && memory.size(4) == query.size(3),
                  "memory must have the batch, channels and size of query");
  for (const int64_t d : {0, 1, 3, 4}) {
    STD_TORCH_CHECK(memory_labels.size(d) == memory.size(d),
                    "labels must have the batch, frames and size of memory");
  }
  STD_TORCH_CHECK(radius >= 0 && topk >= 1 && topk <= 16 && temperature > 0,
                  "radius must be at least 0, topk 1..16 and temperature positive");
  STD_TORCH_CHECK(memory.size(1) * query.size(2) * query.size(3) < (int64_t{1} << 31),
                  "memory must have less than 2^31 positions");
  if (usable) {
    STD_TORCH_CHECK(usable->dim() == 2 && usable->size(0) == memory.size(0) &&
                        usable->size(1) == memory.size(1) &&
                        usable->scalar_type() == ScalarType::Bool &&
                        usable->device() == query.device(),
                    "use_memory must be bool [B, M], on the device of query");
    usable = torch::stable::contiguous(*usable);
  }
  PropagationTensors tensors = {torch::stable::to(memory_labels, real_type(query)), usable, {}};
  const int64_t side = std::max(query.size(2), query.size(3));
  const auto frames_of = [](const Tensor& x) {
    return Images{x.const_data_ptr(), x.stride(1), x.stride(2), x.stride(3), x.stride(4)};
  };
  tensors.task = {images_of(query),
                  frames_of(memory),
                  memory.stride(0),
                  frames_of(tensors.labels),
                  tensors.labels.stride(0),
                  usable ? static_cast<const bool*>(usable->const_data_ptr()) : nullptr,
                  query.size(0),
                  memory.size(1),
                  query.size(1),
                  memory_labels.size(2),
                  query.size(2),
                  query.size(3),
                  std::max<int64_t>(0, std::min(radius, side - 1)),
                  topk,
                  temperature};
  return tensors;
}

}  // namespace wmscore
