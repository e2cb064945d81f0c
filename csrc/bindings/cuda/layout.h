// The layouts that CUDA kernels on frames read as they are.
#pragma once

#include "../frames.h"

namespace wmscore {

inline bool is_planar(const Tensor& frames) {
  return has_flat_rows(frames) && pixel_stride(frames) == 1;
}

inline bool is_interleaved_rgb(const Tensor& frames) {
  return has_flat_rows(frames) && pixel_stride(frames) == 3 && frames.size(1) == 3 &&
         frames.stride(1) == 1;
}

}  // namespace wmscore
