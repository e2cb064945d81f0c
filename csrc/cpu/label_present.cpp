// Which labels there are, by runs. Threads share the marks of a row: whoever meets a label first
// sets its byte, and in whatever order, the result is the same.
#include <algorithm>

#include "../kernels.h"
#include "label_runs.h"

namespace {

using wmscore::kLargestId;
using wmscore::LabelMap;
using wmscore::PresentLabels;

void lower(int64_t* place, int64_t value) {
  int64_t old = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(place, &old, value, true, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
}

void raise(int64_t* place, int64_t value) {
  int64_t old = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (value > old && !__atomic_compare_exchange_n(place, &old, value, true, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
}

// The labels of one row, as far as one thread reads them.
class Marks {
 public:
  explicit Marks(bool* present) : present_(reinterpret_cast<unsigned char*>(present)) {}

  template <typename T>
  WMSCORE_INLINE void add(T label) {
    if (static_cast<uint64_t>(label) - 1 < kLargestId) {
      unsigned char* const mark = present_ + label;
      if (__atomic_load_n(mark, __ATOMIC_RELAXED) != 0) return;  // and its thread knows the extreme
      __atomic_store_n(mark, 1, __ATOMIC_RELAXED);
    }
    low_ = std::min(low_, static_cast<int64_t>(label));
    high_ = std::max(high_, static_cast<int64_t>(label));
  }

  void store(int64_t* extremes) const {
    lower(extremes, low_);
    raise(extremes + 1, high_);
  }

 private:
  unsigned char* present_;
  int64_t low_ = 0, high_ = 0;
};

template <typename T>
void mark_frames(const LabelMap& map, int64_t first, int64_t last, const PresentLabels& result) {
  const wmscore::Runs<T, false> runs;
  while (first < last) {
    const int64_t row = first / map.steps;
    const int64_t end = std::min(last, (row + 1) * map.steps);
    Marks marks(result.present + row * (kLargestId + 1));
    for (; first < end; ++first) {
      if (map.valid && !map.valid[first]) continue;
      const int64_t step = first - row * map.steps;
      const T* const frame = static_cast<const T*>(map.labels.data) + row * map.labels.image +
                             step * map.labels.channel;
      runs.visit(frame, frame, map.pixels,
                 [&](int64_t start, int64_t) { marks.add(frame[start]); });
    }
    marks.store(result.extremes + row * 2);
  }
}

}  // namespace

void wmscore_label_present_cpu(LabelMap map, int64_t first, int64_t last, PresentLabels result) {
  if (map.pixels == 0) return;
  switch (map.bytes) {
    case 1:
      return mark_frames<uint8_t>(map, first, last, result);
    case 2:
      return mark_frames<int16_t>(map, first, last, result);
    case 4:
      return mark_frames<int32_t>(map, first, last, result);
    default:
      return mark_frames<int64_t>(map, first, last, result);
  }
}
