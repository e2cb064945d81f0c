// Mean features of objects, in one read of features and labels: labels are cut into runs of one
// object, and features are summed run by run, or where cells are larger than pixels, cell by cell
// with the object's pixels as weights.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "../half.h"
#include "../kernels.h"
#include "../label_slots.h"
#include "clones.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::first_of_cell;
using wmscore::Half;
using wmscore::LabelImages;
using wmscore::Pool;
using wmscore::Slots;

constexpr int64_t kBandPixels = 1 << 18;
constexpr int64_t kLeastRow = 8;  // channels worth to be lanes
constexpr int kLanes = 8;

// The pixels start <= x < end of a row belong to one object.
struct Run {
  int64_t start;
  int64_t end;
  int slot;
};

template <typename L>
WMSCORE_INLINE int64_t end_of_run(const L* row, int64_t start, int64_t width) {
  constexpr int64_t kBlock = 32 / sizeof(L);
  const L label = row[start];
  int64_t x = start + 1;
  for (; x + kBlock <= width; x += kBlock) {
    L differs = 0;
    for (int64_t i = 0; i < kBlock; ++i) differs |= static_cast<L>(row[x + i] ^ label);
    if (differs != 0) break;
  }
  while (x < width && row[x] == label) ++x;
  return x;
}

// Returns how many runs a row has; runs that belong to no object are left out.
template <typename L>
WMSCORE_INLINE int64_t find_runs(const void* data, int64_t offset, int64_t pixel, int64_t width,
                                 const Slots& slots, void* scratch, Run* runs) {
  const L* row = static_cast<const L*>(data) + offset;
  if (pixel != 1) {
    L* const copy = static_cast<L*>(scratch);
    for (int64_t x = 0; x < width; ++x) copy[x] = row[x * pixel];
    row = copy;
  }
  int64_t count = 0;
  L known = 0;
  int slot = Slots::kNone;
  for (int64_t x = 0; x < width;) {
    const int64_t end = end_of_run(row, x, width);
    if (row[x] != known) {
      known = row[x];
      slot = slots.find(static_cast<int64_t>(known));
    }
    if (slot != Slots::kNone) runs[count++] = {x, end, slot};
    x = end;
  }
  return count;
}

#define WMSCORE_RUNS(name, L)                                                                 \
  WMSCORE_CLONES int64_t name(const void* data, int64_t offset, int64_t pixel, int64_t width, \
                              const Slots& slots, void* scratch, Run* runs) {                 \
    return find_runs<L>(data, offset, pixel, width, slots, scratch, runs);                    \
  }
WMSCORE_RUNS(runs_of_1, uint8_t)
WMSCORE_RUNS(runs_of_2, int16_t)
WMSCORE_RUNS(runs_of_4, int32_t)
WMSCORE_RUNS(runs_of_8, int64_t)

// Sums in lanes, so that they do not wait for each other; bytes of up to kBlock pixels at a time.
template <typename T>
WMSCORE_INLINE double sum_row(const T* data, int64_t pixel, int64_t count) {
  using Lane = std::conditional_t<std::is_same_v<T, uint8_t>, int32_t, double>;
  constexpr int64_t kBlock = 1 << 16;
  double sum = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = std::min(count, start + kBlock);
    Lane lanes[kLanes] = {};
    int64_t i = start;
    if (pixel == 1) {
      for (; i + kLanes <= end; i += kLanes)
        for (int k = 0; k < kLanes; ++k) lanes[k] += static_cast<Lane>(wmscore::widen(data[i + k]));
    } else {
      for (; i + kLanes <= end; i += kLanes)
        for (int k = 0; k < kLanes; ++k)
          lanes[k] += static_cast<Lane>(wmscore::widen(data[(i + k) * pixel]));
    }
    for (int k = 0; i < end; ++i, ++k)
      lanes[k] += static_cast<Lane>(wmscore::widen(data[i * pixel]));
    Lane of_block = 0;
    for (const Lane lane : lanes) of_block += lane;
    sum += static_cast<double>(of_block);
  }
  return sum;
}

// Bytes of frames as most files have them.
WMSCORE_INLINE void add_rgb(const uint8_t* data, int64_t count, double* sums) {
  constexpr int64_t kBlock = 1 << 16;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = std::min(count, start + kBlock);
    int32_t red = 0, green = 0, blue = 0;
    for (int64_t i = start; i < end; ++i) {
      red += data[3 * i];
      green += data[3 * i + 1];
      blue += data[3 * i + 2];
    }
    sums[0] += red;
    sums[1] += green;
    sums[2] += blue;
  }
}

// Adds a row of features [channels, columns] over each run to its object's sums.
template <typename T>
WMSCORE_INLINE void add_runs(const Pool& pool, const void* data, int64_t offset, const Run* runs,
                             int64_t count, double* sums) {
  const T* const row = static_cast<const T*>(data) + offset;
  const int64_t channels = pool.channels, step = pool.features.channel;
  const int64_t pixel = pool.features.pixel;
  for (const Run* run = runs; run < runs + count; ++run) {
    double* const own = sums + run->slot * channels;
    const T* const start = row + run->start * pixel;
    const int64_t size = run->end - run->start;
    if constexpr (std::is_same_v<T, uint8_t>) {
      if (channels == 3 && step == 1 && pixel == 3) {
        add_rgb(start, size, own);
        continue;
      }
    }
    if (step == 1 && channels >= kLeastRow) {
      for (int64_t i = 0; i < size; ++i) {
        const T* const vector = start + i * pixel;
        for (int64_t c = 0; c < channels; ++c)
          own[c] += static_cast<double>(wmscore::widen(vector[c]));
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) own[c] += sum_row(start + c * step, pixel, size);
    }
  }
}

// The pixels of one object in the cells of a row; none outside first <= x < last.
struct Weights {
  int slot;
  int64_t first;
  int64_t last;
  std::vector<double> of_cell;
};

// Adds a row of features, weighted. Chosen, not multiplied: 0 * NaN is NaN.
template <typename T>
WMSCORE_INLINE void add_weighted(const Pool& pool, const void* data, int64_t offset,
                                 const Weights& weights, double* sums) {
  const T* const row = static_cast<const T*>(data) + offset;
  const int64_t channels = pool.channels, step = pool.features.channel;
  const int64_t pixel = pool.features.pixel, first = weights.first, last = weights.last;
  const double* const weight = weights.of_cell.data();
  double* const own = sums + weights.slot * channels;
  if (step == 1 && channels >= kLeastRow) {
    for (int64_t x = first; x < last; ++x) {
      const double w = weight[x];
      const T* const vector = row + x * pixel;
      if (w == 0) continue;
      for (int64_t c = 0; c < channels; ++c)
        own[c] += w * static_cast<double>(wmscore::widen(vector[c]));
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    const T* const plane = row + c * step;
    double lanes[kLanes] = {};
    int64_t x = first;
    for (; x + kLanes <= last; x += kLanes) {
      for (int k = 0; k < kLanes; ++k) {
        const double w = weight[x + k];
        const double product = w * static_cast<double>(wmscore::widen(plane[(x + k) * pixel]));
        lanes[k] += w == 0 ? 0 : product;
      }
    }
    for (int k = 0; x < last; ++x, ++k) {
      const double w = weight[x];
      if (w != 0) lanes[k] += w * static_cast<double>(wmscore::widen(plane[x * pixel]));
    }
    for (const double lane : lanes) own[c] += lane;
  }
}

// The attribute takes no template, hence functions for each type.
#define WMSCORE_ADD(name, T)                                                              \
  WMSCORE_CLONES void runs_##name(const Pool& pool, const void* data, int64_t offset,     \
                                  const Run* runs, int64_t count, double* sums) {         \
    add_runs<T>(pool, data, offset, runs, count, sums);                                   \
  }                                                                                       \
  WMSCORE_CLONES void weighted_##name(const Pool& pool, const void* data, int64_t offset, \
                                      const Weights& weights, double* sums) {             \
    add_weighted<T>(pool, data, offset, weights, sums);                                   \
  }
WMSCORE_ADD(uint8, uint8_t)
WMSCORE_ADD(float16, Half)
WMSCORE_ADD(bfloat16, Bfloat16)
WMSCORE_ADD(float32, float)
WMSCORE_ADD(float64, double)

// What to call for the types of features and labels.
struct Functions {
  decltype(&runs_of_1) find;
  decltype(&runs_uint8) add_runs;
  decltype(&weighted_uint8) add_weighted;
};

Functions functions_of(Element element, int32_t bytes) {
  const auto find = bytes == 1   ? runs_of_1
                    : bytes == 2 ? runs_of_2
                    : bytes == 4 ? runs_of_4
                                 : runs_of_8;
  switch (element) {
    case Element::kUint8:
      return {find, runs_uint8, weighted_uint8};
    case Element::kFloat16:
      return {find, runs_float16, weighted_float16};
    case Element::kBfloat16:
      return {find, runs_bfloat16, weighted_bfloat16};
    case Element::kFloat32:
      return {find, runs_float32, weighted_float32};
    case Element::kFloat64:
    case Element::kUint16:  // no features
      break;
  }
  return {find, runs_float64, weighted_float64};
}

// The objects of one row of cells, with their pixels in each of them.
class RowWeights {
 public:
  explicit RowWeights(const Pool& pool) : pool_(pool), place_(pool.count, -1) {
    for (int64_t x = 0; x < pool.columns; ++x) {
      const int64_t end = first_of_cell(x + 1, pool.width, pool.columns);
      for (int64_t i = first_of_cell(x, pool.width, pool.columns); i < end; ++i) cell_.push_back(x);
      ends_.push_back(end);
    }
  }

  void add(const Run& run) {
    if (place_[run.slot] < 0) {
      if (used_ == objects_.size())
        objects_.push_back({0, 0, 0, std::vector<double>(pool_.columns)});
      place_[run.slot] = static_cast<int>(used_);
      objects_[used_].slot = run.slot;
      objects_[used_].first = pool_.columns;
      objects_[used_++].last = 0;
    }
    Weights& object = objects_[place_[run.slot]];
    int64_t cell = cell_[run.start];
    object.first = std::min(object.first, cell);
    for (int64_t x = run.start; x < run.end; ++cell) {
      const int64_t end = std::min(run.end, ends_[cell]);
      object.of_cell[cell] += static_cast<double>(end - x);
      x = end;
    }
    object.last = std::max(object.last, cell);
  }

  // Calls visit(weights) for each object and forgets them.
  template <typename Visit>
  void take(const Visit& visit) {
    for (size_t i = 0; i < used_; ++i) {
      Weights& object = objects_[i];
      visit(object);
      std::fill(object.of_cell.begin() + object.first, object.of_cell.begin() + object.last, 0.0);
      place_[object.slot] = -1;
    }
    used_ = 0;
  }

 private:
  const Pool& pool_;
  std::vector<int> place_;     // of a slot among `objects_`
  std::vector<int64_t> cell_;  // of a pixel
  std::vector<int64_t> ends_;  // of a cell: the pixel after its last one
  std::vector<Weights> objects_;
  size_t used_ = 0;
};

int64_t band_rows(const Pool& pool) {
  const int64_t of_cell = pool.rows > 0 ? (pool.height + pool.rows - 1) / pool.rows : 0;
  const int64_t of_row = std::max<int64_t>({1, pool.columns, of_cell * pool.width});
  return std::max<int64_t>(1, kBandPixels / of_row);
}

// What one thread needs to go over rows.
class Rows {
 public:
  Rows(Element element, const Pool& pool)
      : pool_(pool),
        functions_(functions_of(element, pool.labels.bytes)),
        is_exact_(pool.rows == pool.height && pool.columns == pool.width),
        weights_(pool),
        labels_(pool.width),
        runs_(pool.width) {}

  void set_frame(int64_t frame) {
    if (frame == frame_) return;
    frame_ = frame;
    slots_.clear(0, 1);
    slots_.add(pool_.ids + frame * pool_.ids_frame, pool_.ids_step, static_cast<int>(pool_.count));
  }

  // Adds one row of cells.
  void add(int64_t row, double* sums, int64_t* counts) {
    const wmscore::Images& features = pool_.features;
    const int64_t cells = frame_ * features.image + row * features.row;
    const int64_t last = first_of_cell(row + 1, pool_.height, pool_.rows);
    for (int64_t y = first_of_cell(row, pool_.height, pool_.rows); y < last; ++y) {
      const LabelImages& labels = pool_.labels;
      const int64_t count =
          functions_.find(labels.data, frame_ * labels.image + y * labels.row, labels.pixel,
                          pool_.width, slots_, labels_.data(), runs_.data());
      for (int64_t i = 0; i < count; ++i) {
        counts[runs_[i].slot] += runs_[i].end - runs_[i].start;
        if (!is_exact_) weights_.add(runs_[i]);
      }
      if (is_exact_) functions_.add_runs(pool_, features.data, cells, runs_.data(), count, sums);
    }
    weights_.take([&](const Weights& weights) {
      functions_.add_weighted(pool_, features.data, cells, weights, sums);
    });
  }

 private:
  const Pool& pool_;
  Functions functions_;
  bool is_exact_;
  RowWeights weights_;
  std::vector<int64_t> labels_;  // a row that is not contiguous, of any type
  std::vector<Run> runs_;
  Slots slots_;
  int64_t frame_ = -1;
};

template <typename Real>
void divide(const Pool& pool, int64_t bands, int64_t first, int64_t last, const double* sums,
            const int64_t* counts, Real* means, int64_t* pixels) {
  const int64_t channels = pool.channels, count = pool.count;
  std::vector<double> totals(channels);
  Slots slots;
  for (int64_t frame = first; frame < last; ++frame) {
    const int64_t* const ids = pool.ids + frame * pool.ids_frame;
    slots.clear(0, 1);
    slots.add(ids, pool.ids_step, static_cast<int>(count));
    for (int64_t n = 0; n < count; ++n) {
      Real* const own = means + (frame * count + n) * channels;
      const int slot = slots.find(ids[n * pool.ids_step]);
      int64_t total = 0;
      std::fill(totals.begin(), totals.end(), 0.0);
      for (int64_t band = 0; slot != Slots::kNone && band < bands; ++band) {
        const int64_t item = (frame * bands + band) * count + slot;
        total += counts[item];
        for (int64_t c = 0; c < channels; ++c) totals[c] += sums[item * channels + c];
      }
      pixels[frame * count + n] = total;
      for (int64_t c = 0; c < channels; ++c) {
        own[c] = total == 0 ? static_cast<Real>(std::nan(""))
                            : static_cast<Real>(totals[c] / static_cast<double>(total));
      }
    }
  }
}

}  // namespace

int64_t wmscore_label_pool_bands(Pool pool) {
  const int64_t rows = band_rows(pool);
  return std::max<int64_t>(1, (pool.rows + rows - 1) / rows);
}

void wmscore_label_pool_cpu(Element element, Pool pool, int64_t first, int64_t last, double* sums,
                            int64_t* counts) {
  const int64_t bands = wmscore_label_pool_bands(pool), band = band_rows(pool);
  Rows rows(element, pool);
  for (int64_t item = first; item < last; ++item) {
    double* const own_sums = sums + item * pool.count * pool.channels;
    int64_t* const own_counts = counts + item * pool.count;
    std::fill(own_sums, own_sums + pool.count * pool.channels, 0.0);
    std::fill(own_counts, own_counts + pool.count, 0);
    rows.set_frame(item / bands);
    const int64_t start = item % bands * band;
    for (int64_t row = start; row < std::min(pool.rows, start + band); ++row)
      rows.add(row, own_sums, own_counts);
  }
}

void wmscore_label_pool_means_cpu(Element element, Pool pool, int64_t first, int64_t last,
                                  const double* sums, const int64_t* counts, void* means,
                                  int64_t* pixels) {
  const int64_t bands = wmscore_label_pool_bands(pool);
  if (element == Element::kFloat64) {
    divide(pool, bands, first, last, sums, counts, static_cast<double*>(means), pixels);
  } else {
    divide(pool, bands, first, last, sums, counts, static_cast<float*>(means), pixels);
  }
}
