// What the CPU and the CUDA kernel of assignment share: the costs, and which of two columns is
// next.
#pragma once

#include <cstdint>

#include "kernels.h"

#ifdef __CUDACC__
#define WMSCORE_ASSIGNMENT_INLINE __host__ __device__ __forceinline__
#else
#define WMSCORE_ASSIGNMENT_INLINE inline
#endif

namespace wmscore {

// What one of `cost`'s values means: less is better, and infinity forbids.
template <typename T>
WMSCORE_ASSIGNMENT_INLINE double cost_of(T value, bool maximize, double infinity) {
  const double cost = maximize ? -static_cast<double>(value) : static_cast<double>(value);
  return cost - cost == 0 ? cost : infinity;  // the difference is NaN for what is not finite
}

// Of columns equally near, the one of the highest rank is next: the last free one of the list of
// those left, else the first. `place` is that in the list; all ranks of a list differ.
WMSCORE_ASSIGNMENT_INLINE int rank_of(bool is_free, int place, int cols) {
  return is_free ? cols + 1 + place : cols - place;
}

}  // namespace wmscore
