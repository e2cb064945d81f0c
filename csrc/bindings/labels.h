// What bindings of ops on label maps share.
#pragma once

#include "frames.h"

namespace wmscore {

inline int32_t label_bytes(const Tensor& labels) {
  switch (labels.scalar_type()) {
    case ScalarType::Byte:
      return 1;
    case ScalarType::Short:
      return 2;
    case ScalarType::Int:
      return 4;
    case ScalarType::Long:
      return 8;
    default:
      STD_TORCH_CHECK(false, "labels must be uint8, int16, int32 or int64, got ",
                      torch::headeronly::toString(labels.scalar_type()));
  }
}

}  // namespace wmscore
