// Labels carried by likeness of features: for each row of query positions, row after row of memory
// is compared with it, four positions with a run of vectors at a time, and each position keeps its
// most alike ones. All cosines add up their channels in one order, so equal vectors have equal
// ones.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "vectors.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;
using wmscore::kLanes;
using wmscore::Propagation;
using wmscore::Vector;

constexpr int kQueries = 4;  // positions compared at once
constexpr int kMostNeighbours = 16;

template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Memory columns that some of kQueries positions see, in whole vectors of either type.
int64_t span_of(const Propagation& task) {
  return round_up(2 * task.radius + kQueries, kLanes<float>);
}

bool is_usable(const Propagation& task, int64_t item, int64_t frame) {
  return task.usable == nullptr || task.usable[item * task.memories + frame];
}

// One row of features to [channels, step], `margin` zeros first and zeros after.
template <typename T>
WMSCORE_INLINE void pack_row(const T* row, const Images& images, int64_t channels, int64_t width,
                             int64_t margin, int64_t step, RealOf<T>* out, RealOf<T>* lengths) {
  using Real = RealOf<T>;
  const int64_t pixel = images.pixel;
  std::fill(lengths, lengths + width, Real(0));
  for (int64_t c = 0; c < channels; ++c) {
    const T* const from = row + c * images.channel;
    Real* const to = out + c * step;
    std::fill(to, to + margin, Real(0));
    std::fill(to + margin + width, to + step, Real(0));
    if (pixel == 1) {
      for (int64_t x = 0; x < width; ++x) to[margin + x] = wmscore::widen(from[x]);
    } else {
      for (int64_t x = 0; x < width; ++x) to[margin + x] = wmscore::widen(from[x * pixel]);
    }
    for (int64_t x = 0; x < width; ++x) lengths[x] += to[margin + x] * to[margin + x];
  }
  for (int64_t x = 0; x < width; ++x) {
    const Real root = std::sqrt(lengths[x]);
    const Real length = root + 0 * root;  // NaN where it overflowed
    lengths[x] = length == 0 ? Real(1) : length;
  }
  for (int64_t c = 0; c < channels; ++c) {
    Real* const to = out + c * step + margin;
    for (int64_t x = 0; x < width; ++x) to[x] /= lengths[x];
  }
}

template <typename T>
WMSCORE_INLINE void pack(const Propagation& task, bool of_memory, int64_t first, int64_t last,
                         void* packed) {
  using Real = RealOf<T>;
  const Images& images = of_memory ? task.memory : task.query;
  const int64_t step = wmscore_label_propagate_step(task, of_memory);
  std::vector<Real> lengths(task.width);
  for (int64_t item = first; item < last; ++item) {
    const int64_t frame = item / task.height, y = item % task.height;
    int64_t start = frame * images.image;
    if (of_memory) {
      const int64_t of_batch = frame / task.memories, own = frame % task.memories;
      if (!is_usable(task, of_batch, own)) continue;
      start = of_batch * task.memory_batch + own * images.image;
    }
    pack_row(static_cast<const T*>(images.data) + start + y * images.row, images, task.channels,
             task.width, of_memory ? task.radius : 0, step,
             static_cast<Real*>(packed) + item * task.channels * step, lengths.data());
  }
}

// Products of kQueries positions with kVectors vectors of memory positions, over all channels.
template <typename Real, int kVectors>
WMSCORE_INLINE void multiply(const Real* query, int64_t query_step, const Real* memory,
                             int64_t memory_step, int64_t channels, Real* out, int64_t out_step) {
  Vector<Real> sums[kQueries][kVectors] = {};
  for (int64_t c = 0; c < channels; ++c, query += query_step, memory += memory_step) {
    Vector<Real> m[kVectors];
    for (int v = 0; v < kVectors; ++v) wmscore::load(m[v], memory + v * kLanes<Real>);
    for (int q = 0; q < kQueries; ++q)
      for (int v = 0; v < kVectors; ++v) sums[q][v] += query[q] * m[v];
  }
  for (int q = 0; q < kQueries; ++q)
    for (int v = 0; v < kVectors; ++v)
      std::memcpy(out + q * out_step + v * kLanes<Real>, &sums[q][v], sizeof sums[q][v]);
}

// The most alike positions of a query position, in order; of equal ones the first that came.
template <typename Real>
struct Neighbours {
  Real cosines[kMostNeighbours];
  int64_t places[kMostNeighbours];  // (frame * height + y) * width + x
  int count;
  bool is_nan;

  // That a cosine must exceed.
  WMSCORE_INLINE Real least(int topk) const {
    return count < topk ? -std::numeric_limits<Real>::infinity() : cosines[topk - 1];
  }

  WMSCORE_INLINE void insert(Real cosine, int64_t place, int topk) {
    int i = count < topk ? count++ : topk - 1;
    for (; i > 0 && cosines[i - 1] < cosine; --i) {
      cosines[i] = cosines[i - 1];
      places[i] = places[i - 1];
    }
    cosines[i] = cosine;
    places[i] = place;
  }

  // Offers `size` cosines of places that follow each other.
  WMSCORE_INLINE void offer(const Real* values, int64_t size, int64_t place, int topk) {
    Real limit = least(topk);
    int any = 0;
    for (int64_t i = 0; i < size; ++i) any |= !(values[i] <= limit);  // NaN too
    if (any == 0) return;
    for (int64_t i = 0; i < size; ++i) {
      if (values[i] <= limit) continue;
      if (values[i] != values[i]) {
        is_nan = true;
      } else {
        insert(values[i], place + i, topk);
        limit = least(topk);
      }
    }
  }
};

// Compares a row of query, packed, with a row of memory.
template <typename Real>
WMSCORE_INLINE void compare_rows(const Propagation& task, const Real* query, const Real* memory,
                                 int64_t place, Real* cosines, Neighbours<Real>* neighbours) {
  constexpr int kMostVectors = 3;
  const int64_t query_step = wmscore_label_propagate_step(task, false);
  const int64_t memory_step = wmscore_label_propagate_step(task, true);
  const int64_t span = span_of(task), width = task.width, radius = task.radius;
  const int topk = static_cast<int>(task.topk);
  for (int64_t start = 0; start < width; start += kQueries) {
    const Real* const q = query + start;
    for (int64_t i = 0; i < span;) {
      const int64_t vectors = std::min<int64_t>(kMostVectors, (span - i) / kLanes<Real>);
      const Real* const m = memory + start + i;
      Real* const to = cosines + i;
      if (vectors == 3) {
        multiply<Real, 3>(q, query_step, m, memory_step, task.channels, to, span);
      } else if (vectors == 2) {
        multiply<Real, 2>(q, query_step, m, memory_step, task.channels, to, span);
      } else {
        multiply<Real, 1>(q, query_step, m, memory_step, task.channels, to, span);
      }
      i += vectors * kLanes<Real>;
    }
    for (int64_t k = 0; k < std::min<int64_t>(kQueries, width - start); ++k) {
      const int64_t x = start + k;
      const int64_t left = std::max<int64_t>(0, x - radius);
      const int64_t right = std::min(width - 1, x + radius);
      // Column i of the span is memory column start + i - radius.
      neighbours[x].offer(cosines + k * span + left - start + radius, right - left + 1,
                          place + left, topk);
    }
  }
}

template <typename Real>
WMSCORE_INLINE void mix_row(const Propagation& task, int64_t item, Neighbours<Real>* neighbours,
                            Real* totals, Real* labels, Real* similarity) {
  const int64_t width = task.width, pixels = task.height * width;
  const Images& images = task.labels;
  const Real temperature = static_cast<Real>(task.temperature);
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  const int64_t b = item / task.height, y = item % task.height;
  for (int64_t x = 0; x < width; ++x) {
    Neighbours<Real>& own = neighbours[x];
    if (own.is_nan) own.count = 0;
    Real total = 0, sum = 0;
    const Real largest = own.cosines[0];
    for (int k = 0; k < own.count; ++k) {
      const Real weight = std::exp((own.cosines[k] - largest) / temperature);
      total += weight;
      sum += weight * own.cosines[k];
      own.cosines[k] = weight;
      const int64_t place = own.places[k], frame = place / pixels;
      own.places[k] =
          frame * images.image + place % pixels / width * images.row + place % width * images.pixel;
    }
    totals[x] = total;
    const Real mean = sum / total;
    similarity[b * pixels + y * width + x] =
        own.count == 0 ? nan : std::min(Real(1), std::max(Real(-1), mean));
  }
  const Real* plane = static_cast<const Real*>(images.data) + b * task.labels_batch;
  Real* out = labels + b * task.classes * pixels + y * width;
  for (int64_t l = 0; l < task.classes; ++l, plane += images.channel, out += pixels) {
    for (int64_t x = 0; x < width; ++x) {
      const Neighbours<Real>& own = neighbours[x];
      Real sum = 0;
      for (int k = 0; k < own.count; ++k) sum += own.cosines[k] * plane[own.places[k]];
      out[x] = own.count == 0 ? nan : sum / totals[x];  // divided last: all ones give 1
    }
  }
}

template <typename Real>
WMSCORE_INLINE void propagate(const Propagation& task, const Real* query, const Real* memory,
                              int64_t first, int64_t last, Real* labels, Real* similarity) {
  const int64_t height = task.height;
  const int64_t query_row = task.channels * wmscore_label_propagate_step(task, false);
  const int64_t memory_row = task.channels * wmscore_label_propagate_step(task, true);
  std::vector<Neighbours<Real>> neighbours(task.width);
  std::vector<Real> totals(task.width), cosines(kQueries * span_of(task));
  for (int64_t item = first; item < last; ++item) {
    const int64_t b = item / height, y = item % height;
    for (Neighbours<Real>& own : neighbours) {
      own.count = 0;
      own.is_nan = false;
    }
    for (int64_t m = 0; m < task.memories; ++m) {
      if (!is_usable(task, b, m)) continue;
      const int64_t bottom = std::min(height - 1, y + task.radius);
      for (int64_t row = std::max<int64_t>(0, y - task.radius); row <= bottom; ++row) {
        compare_rows(task, query + item * query_row,
                     memory + ((b * task.memories + m) * height + row) * memory_row,
                     (m * height + row) * task.width, cosines.data(), neighbours.data());
      }
    }
    mix_row(task, item, neighbours.data(), totals.data(), labels, similarity);
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_PACK(name, T)                                                                    \
  WMSCORE_CLONES void name(const Propagation& task, bool of_memory, int64_t first, int64_t last, \
                           void* packed) {                                                       \
    pack<T>(task, of_memory, first, last, packed);                                               \
  }
WMSCORE_PACK(pack_float16, Half)
WMSCORE_PACK(pack_bfloat16, Bfloat16)
WMSCORE_PACK(pack_float32, float)
WMSCORE_PACK(pack_float64, double)

#define WMSCORE_PROPAGATE(name, Real)                                                         \
  WMSCORE_CLONES void name(const Propagation& task, const void* query, const void* memory,    \
                           int64_t first, int64_t last, void* labels, void* similarity) {     \
    propagate(task, static_cast<const Real*>(query), static_cast<const Real*>(memory), first, \
              last, static_cast<Real*>(labels), static_cast<Real*>(similarity));              \
  }
WMSCORE_PROPAGATE(propagate_float32, float)
WMSCORE_PROPAGATE(propagate_float64, double)

}  // namespace

int64_t wmscore_label_propagate_step(Propagation task, bool of_memory) {
  const int64_t positions = round_up(task.width, kQueries);
  const int64_t needed = of_memory ? positions - kQueries + span_of(task) : positions;
  const int64_t step = round_up(needed, kLanes<float>);
  // A power of two would put all channels in a few cache sets.
  return step % 64 == 0 ? step + kLanes<float> : step;
}

void wmscore_label_propagate_pack_cpu(Element element, Propagation task, bool of_memory,
                                      int64_t first, int64_t last, void* packed) {
  switch (element) {
    case Element::kFloat16:
      return pack_float16(task, of_memory, first, last, packed);
    case Element::kBfloat16:
      return pack_bfloat16(task, of_memory, first, last, packed);
    case Element::kFloat32:
      return pack_float32(task, of_memory, first, last, packed);
    case Element::kFloat64:
      return pack_float64(task, of_memory, first, last, packed);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      return;
  }
}

void wmscore_label_propagate_cpu(Element element, Propagation task, const void* query,
                                 const void* memory, int64_t first, int64_t last, void* labels,
                                 void* similarity) {
  const auto propagate = element == Element::kFloat64 ? propagate_float64 : propagate_float32;
  propagate(task, query, memory, first, last, labels, similarity);
}
