// Counts of two label maps by runs: where neither label changes, nothing is done but to look.
#include <algorithm>
#include <cstring>
#include <limits>

#include "../kernels.h"
#include "clones.h"

namespace {

using wmscore::Frames;
using wmscore::kLargestId;
using wmscore::kMostObjects;
using wmscore::LabelCounts;
using wmscore::LabelMaps;

constexpr int64_t kWordPixels = 64;  // a bit each
constexpr int64_t kBlockWords = 64;  // looked at before they are counted

// The pixels of one slot in one frame. Sums of x are kept twice as large: a run's is then whole.
struct Shape {
  int64_t count = 0;
  int64_t sum_y = 0;
  int64_t twice_sum_x = 0;
  int32_t top = 0, bottom = 0, right = 0;
  int32_t left = std::numeric_limits<int32_t>::max();

  // Rows come in order.
  void add(int32_t y, int32_t start, int32_t stop) {
    const int64_t length = stop - start;
    if (count == 0) top = y;
    bottom = y + 1;
    left = std::min(left, start);
    right = std::max(right, stop);
    count += length;
    sum_y += length * y;
    twice_sum_x += length * (static_cast<int64_t>(start) + stop - 1);
  }

  void store(int64_t* values) const {
    values[0] = sum_y;
    values[1] = twice_sum_x / 2;
    values[2] = top;
    values[3] = count > 0 ? left : 0;
    values[4] = bottom;
    values[5] = right;
  }
};

// The slot of each label that its type can hold and that may be an id.
template <typename T>
class SlotTable {
 public:
  void set(const int64_t* ids, int64_t objects) {
    for (int64_t n = 0; n < objects_; ++n) fill(ids_[n], 0);
    ids_ = ids;
    objects_ = objects;
    for (int64_t n = 0; n < objects; ++n) fill(ids[n], static_cast<uint8_t>(n + 1));
  }

  uint8_t slot(T label) const {
    if constexpr (sizeof(T) == 1) return slots_[label];
    return static_cast<uint64_t>(label) <= kLargestId ? slots_[label] : 0;
  }

 private:
  static constexpr int64_t kSize = sizeof(T) == 1 ? 256 : kLargestId + 1;

  void fill(int64_t id, uint8_t slot) {
    if (id > 0 && id < kSize) slots_[id] = slot;
  }

  uint8_t slots_[kSize] = {};
  const int64_t* ids_ = nullptr;
  int64_t objects_ = 0;
};

// Bit i of word w: pixel w * 64 + i differs from the one before it, in either map.
template <typename T>
void find_changes(const T* preds, const T* target, int64_t words, uint64_t* changes) {
  for (int64_t w = 0; w < words; ++w, preds += kWordPixels, target += kWordPixels) {
    uint64_t bits = 0;
    for (int i = 0; i < kWordPixels; ++i) {
      const bool changed = (preds[i] != preds[i - 1]) | (target[i] != target[i - 1]);
      bits |= static_cast<uint64_t>(changed) << i;
    }
    changes[w] = bits;
  }
}

#ifdef WMSCORE_AVX2
template <typename T>
WMSCORE_AVX2 inline __m256i equal(__m256i a, __m256i b) {
  if constexpr (sizeof(T) == 1) return _mm256_cmpeq_epi8(a, b);
  if constexpr (sizeof(T) == 2) return _mm256_cmpeq_epi16(a, b);
  if constexpr (sizeof(T) == 4) return _mm256_cmpeq_epi32(a, b);
  return _mm256_cmpeq_epi64(a, b);
}

template <typename T>
WMSCORE_AVX2 inline __m256i stays(const T* preds, const T* target) {
  const auto load = reinterpret_cast<const __m256i*>(preds);
  const auto before = reinterpret_cast<const __m256i*>(preds - 1);
  const auto target_load = reinterpret_cast<const __m256i*>(target);
  const auto target_before = reinterpret_cast<const __m256i*>(target - 1);
  return _mm256_and_si256(
      equal<T>(_mm256_loadu_si256(load), _mm256_loadu_si256(before)),
      equal<T>(_mm256_loadu_si256(target_load), _mm256_loadu_si256(target_before)));
}

template <typename T>
WMSCORE_AVX2 void find_changes_avx2(const T* preds, const T* target, int64_t words,
                                    uint64_t* changes) {
  constexpr int kLanes = 32 / sizeof(T);
  for (int64_t w = 0; w < words; ++w, preds += kWordPixels, target += kWordPixels) {
    uint64_t same = 0;
    if constexpr (sizeof(T) == 2) {  // no instruction gathers the bits of 16-bit lanes
      for (int i = 0; i < kWordPixels; i += 32) {
        const __m256i packed = _mm256_packs_epi16(stays(preds + i, target + i),
                                                  stays(preds + i + 16, target + i + 16));
        const __m256i in_order = _mm256_permute4x64_epi64(packed, 0xd8);
        same |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(in_order))) << i;
      }
    } else {
      for (int i = 0; i < kWordPixels; i += kLanes) {
        const __m256i lanes = stays(preds + i, target + i);
        uint32_t bits;
        if constexpr (sizeof(T) == 1) bits = _mm256_movemask_epi8(lanes);
        if constexpr (sizeof(T) == 4) bits = _mm256_movemask_ps(_mm256_castsi256_ps(lanes));
        if constexpr (sizeof(T) == 8) bits = _mm256_movemask_pd(_mm256_castsi256_pd(lanes));
        same |= static_cast<uint64_t>(bits) << i;
      }
    }
    changes[w] = ~same;
  }
}
#endif

// One frame at a time, of one row of preds after the other.
template <typename T>
class FrameCounter {
 public:
  explicit FrameCounter(const LabelMaps& maps)
      : maps_(maps),
        slots_(maps.preds_objects + 1),
        common_(std::min(maps.target_objects, maps.preds_objects)) {
#ifdef WMSCORE_AVX2
    if (wmscore::has_avx2()) find_changes_ = find_changes_avx2<T>;
#endif
  }

  void set_row(int64_t row) {
    preds_table_.set(maps_.preds_ids + row * maps_.preds_objects, maps_.preds_objects);
    target_table_.set(maps_.target_ids + row * maps_.target_objects, maps_.target_objects);
  }

  void count(const T* preds, const T* target, int32_t* joint) {
    const int64_t pixels = maps_.height * maps_.width;
    std::fill(preds_shapes_, preds_shapes_ + maps_.preds_objects + 1, Shape());
    std::fill(target_shapes_, target_shapes_ + maps_.target_objects + 1, Shape());
    std::fill(joint, joint + (maps_.target_objects + 1) * slots_, 0);
    joint_ = joint;
    listed_ = 0;
    y_ = 0;
    row_end_ = maps_.width;
    if (pixels == 0) return;
    int64_t start = 0;  // of the run
    int64_t i = 1;
    uint64_t changes[kBlockWords];
    while (i + kWordPixels <= pixels) {
      const int64_t words = std::min(kBlockWords, (pixels - i) / kWordPixels);
      find_changes_(preds + i, target + i, words, changes);
      for (int64_t w = 0; w < words; ++w, i += kWordPixels) {
        for (uint64_t bits = changes[w]; bits != 0; bits &= bits - 1) {
          const int64_t stop = i + __builtin_ctzll(bits);
          add_run(preds[start], target[start], start, stop);
          start = stop;
        }
      }
    }
    for (; i < pixels; ++i) {
      if (preds[i] == preds[i - 1] && target[i] == target[i - 1]) continue;
      add_run(preds[start], target[start], start, i);
      start = i;
    }
    add_run(preds[start], target[start], start, pixels);
    joint[0] = static_cast<int32_t>(pixels - listed_);
  }

  // Of the frame that was counted last.
  void store(const T* preds, const int64_t* ids, int64_t* target_shapes, int64_t* preds_shapes,
             int64_t* stray) const {
    for (int64_t n = 0; n < maps_.target_objects; ++n)
      target_shapes_[n + 1].store(target_shapes + 6 * n);
    for (int64_t n = 0; n < maps_.preds_objects; ++n)
      preds_shapes_[n + 1].store(preds_shapes + 6 * n);
    for (int64_t n = 0; n < common_; ++n)
      stray[n] = stray_pixels(preds, n + 1, static_cast<T>(ids[n]));
  }

 private:
  WMSCORE_INLINE void add_run(T preds, T target, int64_t start, int64_t stop) {
    const int64_t p = preds_table_.slot(preds);
    const int64_t t = target_table_.slot(target);
    if ((p | t) == 0) return;
    joint_[t * slots_ + p] += static_cast<int32_t>(stop - start);
    listed_ += stop - start;
    while (start < stop) {
      while (start >= row_end_) {
        ++y_;
        row_end_ += maps_.width;
      }
      const int64_t row_start = row_end_ - maps_.width;
      const int64_t end = std::min(stop, row_end_);
      const int32_t left = static_cast<int32_t>(start - row_start);
      const int32_t right = static_cast<int32_t>(end - row_start);
      if (p > 0) preds_shapes_[p].add(y_, left, right);
      if (t > 0) target_shapes_[t].add(y_, left, right);
      start = end;
    }
  }

  // Most objects need no second look: their box tells.
  int64_t stray_pixels(const T* preds, int64_t slot, T label) const {
    const Shape& p = preds_shapes_[slot];
    const Shape& t = target_shapes_[slot];
    if (p.count == 0 || t.count == 0) return p.count;
    const int64_t tall = t.bottom - t.top, wide = t.right - t.left;
    const int64_t near_top = t.top - tall, near_bottom = t.bottom + tall;
    const int64_t near_left = t.left - wide, near_right = t.right + wide;
    if (p.top >= near_top && p.bottom <= near_bottom && p.left >= near_left &&
        p.right <= near_right) {
      return 0;
    }
    const int64_t top = std::max<int64_t>(p.top, near_top);
    const int64_t bottom = std::min<int64_t>(p.bottom, near_bottom);
    const int64_t left = std::max<int64_t>(p.left, near_left);
    const int64_t right = std::min<int64_t>(p.right, near_right);
    int64_t near = 0;
    for (int64_t y = top; y < bottom; ++y) {
      const T* const row = preds + y * maps_.width;
      int32_t of_row = 0;
      for (int64_t x = left; x < right; ++x) of_row += row[x] == label;
      near += of_row;
    }
    return p.count - near;
  }

  LabelMaps maps_;
  int64_t slots_;
  int64_t common_;
  void (*find_changes_)(const T*, const T*, int64_t, uint64_t*) = find_changes<T>;
  SlotTable<T> preds_table_;
  SlotTable<T> target_table_;
  Shape preds_shapes_[kMostObjects + 1];
  Shape target_shapes_[kMostObjects + 1];
  int32_t* joint_ = nullptr;
  int64_t listed_ = 0;
  int32_t y_ = 0;
  int64_t row_end_ = 0;
};

template <typename T>
const T* frame_of(const Frames& labels, int64_t row, int64_t step) {
  return static_cast<const T*>(labels.data) + row * labels.image + step * labels.channel;
}

template <typename T>
void count_frames(const LabelMaps& maps, int64_t first, int64_t last, const LabelCounts& counts) {
  const int64_t reference = maps.target_objects, generated = maps.preds_objects;
  const int64_t common = std::min(reference, generated);
  const int64_t cells = (reference + 1) * (generated + 1);
  FrameCounter<T> counter(maps);
  int64_t row = -1;
  for (int64_t item = first; item < last; ++item) {
    const int64_t step = item % maps.steps;
    if (item / maps.steps != row) {
      row = item / maps.steps;
      counter.set_row(row);
    }
    int32_t* const joint = counts.joint + item * cells;
    int64_t* const target_shapes = counts.target_shapes + item * reference * 6;
    int64_t* const preds_shapes = counts.preds_shapes + item * generated * 6;
    int64_t* const stray = counts.stray + item * common;
    const int64_t of_target = maps.index ? maps.index[row] : row;
    if (of_target < 0 || of_target >= maps.targets) {
      std::fill(joint, joint + cells, 0);
      std::fill(target_shapes, target_shapes + reference * 6, 0);
      std::fill(preds_shapes, preds_shapes + generated * 6, 0);
      std::fill(stray, stray + common, 0);
      continue;
    }
    const T* const preds = frame_of<T>(maps.preds, row, step);
    counter.count(preds, frame_of<T>(maps.target, of_target, step), joint);
    counter.store(preds, maps.preds_ids + row * generated, target_shapes, preds_shapes, stray);
  }
}

}  // namespace

void wmscore_label_overlap_cpu(LabelMaps maps, int64_t first, int64_t last, LabelCounts counts) {
  switch (maps.bytes) {
    case 1:
      return count_frames<uint8_t>(maps, first, last, counts);
    case 2:
      return count_frames<int16_t>(maps, first, last, counts);
    case 4:
      return count_frames<int32_t>(maps, first, last, counts);
    default:
      return count_frames<int64_t>(maps, first, last, counts);
  }
}
