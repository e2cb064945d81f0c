// Which object of a frame a label belongs to, and which label pixels read which feature cell.
#pragma once

#include <cstdint>

#include "half.h"

namespace wmscore {

constexpr int kMostIds = 255;  // of one frame

// The first position x of `width` with x * cells / width >= cell: the positions of a cell are those
// from its own to the next one's.
WMSCORE_HOST_DEVICE inline int64_t first_of_cell(int64_t cell, int64_t width, int64_t cells) {
  return (cell * width + cells - 1) / cells;
}

// A table from ids to their places among the ids of a frame, the first one where there are two.
// There is none for 0.
class Slots {
 public:
  static constexpr int kNone = -1;
  static constexpr int kSize = 1024;  // at most a quarter is taken

  WMSCORE_HOST_DEVICE static unsigned int start_of(int64_t id) {
    const uint64_t mixed = static_cast<uint64_t>(id) * 0x9e3779b97f4a7c15u;  // Fibonacci hashing
    return static_cast<unsigned int>(mixed >> 54);
  }

  WMSCORE_HOST_DEVICE void clear(int first, int step) {
    for (int i = first; i < kSize; i += step) ids_[i] = 0;
  }

  WMSCORE_HOST_DEVICE void add(const int64_t* ids, int64_t step, int count) {
    for (int n = 0; n < count; ++n) {
      const int64_t id = ids[n * step];
      if (id == 0) continue;
      unsigned int i = start_of(id);
      while (ids_[i] != 0 && ids_[i] != id) i = (i + 1) % kSize;
      if (ids_[i] == id) continue;
      ids_[i] = id;
      places_[i] = static_cast<uint8_t>(n);
    }
  }

  WMSCORE_HOST_DEVICE int find(int64_t id) const {
    if (id == 0) return kNone;
    unsigned int i = start_of(id);
    while (ids_[i] != 0 && ids_[i] != id) i = (i + 1) % kSize;
    return ids_[i] == 0 ? kNone : places_[i];
  }

 private:
  int64_t ids_[kSize];
  uint8_t places_[kSize];
};

}  // namespace wmscore
