// What the kernels of response_products share: which fields and which pixels an item has.
#pragma once

#include "half.h"
#include "kernels.h"

namespace wmscore {

// The pixels of target that meet one of preds, and where these are.
struct Overlap {
  int64_t top = 0, left = 0, height = 0, width = 0;
  int64_t dy = 0, dx = 0;

  WMSCORE_HOST_DEVICE int64_t pixels() const { return height * width; }
};

WMSCORE_HOST_DEVICE inline void overlap_side(int64_t by, int64_t length, int64_t& start,
                                             int64_t& size, int64_t& shift) {
  shift = by < -length ? -length : by > length ? length : by;
  start = shift < 0 ? -shift : 0;
  size = length - (shift < 0 ? -shift : shift);
}

// Of item = group * steps + step.
WMSCORE_HOST_DEVICE inline Overlap overlap_of(const Responses& task, int64_t item) {
  Overlap overlap;
  const int64_t dy = task.shift ? task.shift[2 * item] : 0;
  const int64_t dx = task.shift ? task.shift[2 * item + 1] : 0;
  overlap_side(dy, task.height, overlap.top, overlap.height, overlap.dy);
  overlap_side(dx, task.width, overlap.left, overlap.width, overlap.dx);
  return overlap;
}

// The row of field i < 2 * scripts, the first `scripts` of them of preds; -1 where it is absent.
WMSCORE_HOST_DEVICE inline int64_t row_of(const Responses& task, int64_t item, int64_t field) {
  const int64_t group = item / task.steps, step = item - group * task.steps;
  const bool of_preds = field < task.scripts;
  const int64_t place = group * task.scripts + (of_preds ? field : field - task.scripts);
  if (task.present && !task.present[place * task.steps + step]) return -1;
  const int64_t row = (of_preds ? task.preds_rows : task.target_rows)[place];
  const int64_t rows = (of_preds ? task.preds : task.target).rows;
  return row >= 0 && row < rows ? row : -1;
}

// Where the overlap begins in channel 0 of field i; null where the field is absent.
template <typename T>
WMSCORE_HOST_DEVICE const T* start_of(const Responses& task, int64_t item, int64_t field,
                                      const Overlap& overlap) {
  const int64_t row = row_of(task, item, field);
  if (row < 0) return nullptr;
  const bool of_preds = field < task.scripts;
  const Clips& clips = of_preds ? task.preds : task.target;
  const int64_t y = overlap.top + (of_preds ? overlap.dy : 0);
  const int64_t x = overlap.left + (of_preds ? overlap.dx : 0);
  return static_cast<const T*>(clips.data) + row * clips.row + item % task.steps * clips.step +
         y * clips.line + x * clips.pixel;
}

// Of the products of fields i <= j < fields, in order.
WMSCORE_HOST_DEVICE inline int64_t place_of(int64_t i, int64_t j, int64_t fields) {
  return i * fields - i * (i - 1) / 2 + (j - i);
}

}  // namespace wmscore
