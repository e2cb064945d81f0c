// FLIP of pairs of frames, each pixel read once (and once more at the borders of bands and strips).
//
// A band of rows is cut into strips of columns. Of each strip, a ring of rows holds the opponent
// colours of both frames: as many rows as the filters reach. For each row, the ring is filtered
// down the columns, the few rows that result are filtered along themselves, and the error of each
// pixel follows. All of it stays in the caches.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "../flip.h"
#include "../kernels.h"
#include "clones.h"

// Vectors go from function to function, but all of them become one.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::FlipFilters;
using wmscore::FlipTaps;
using wmscore::Half;
using wmscore::Images;
using wmscore::kFlipReach;

constexpr int64_t kBandRows = 64;  // fixed, so that the sums do not depend on the threads
constexpr int kStrip = 256;        // columns of a strip, at most

// Columns that are filtered together, so that a tap is loaded once for all and no sum waits for
// itself. Where several filters share their pixels, half a block has sums enough.
constexpr int kLanes = 8;
constexpr int kVectors = 4;
constexpr int kHalf = kVectors / 2;
constexpr int kBlock = kLanes * kVectors;
constexpr int kRow = (kStrip + 2 * kFlipReach + kBlock - 1) / kBlock * kBlock;

using Vector = float __attribute__((vector_size(sizeof(float) * kLanes)));

WMSCORE_INLINE Vector load(const float* data) {
  Vector vector;
  std::memcpy(&vector, data, sizeof vector);
  return vector;
}

WMSCORE_INLINE void store(float* data, const Vector& vector) {
  std::memcpy(data, &vector, sizeof vector);
}

enum Plane { kY, kCx, kCz, kPlanes };
using PlaneRows = float[kPlanes][kRow];

// Rows of one frame, filtered down the columns.
enum Column { kSeenY, kSeenCx, kWideCz, kNarrowCz, kSmooth, kEdge, kPoint, kColumns };
using ColumnRows = float[kColumns][kRow];

// A row of one frame, filtered both ways: opponent colours and squared lengths of the gradients;
// then what is seen of them.
struct Filtered {
  float colour[3][kStrip], edge[kStrip], point[kStrip];
};

struct Work {
  PlaneRows ring[2][2 * kFlipReach + 1];  // of preds, of target
  ColumnRows columns;
  Filtered filtered[2];
  float linear[3][kStrip + 2 * kFlipReach];
};

const float* linear_of_uint8() {
  static const std::unique_ptr<const float[]> table = [] {
    auto values = std::make_unique<float[]>(256);
    for (int i = 0; i < 256; ++i) {
      const double value = i / 255.0;
      values[i] = static_cast<float>(value <= 0.04045 ? value / 12.92
                                                      : std::pow((value + 0.055) / 1.055, 2.4));
    }
    return values;
  }();
  return table.get();
}

// `count` pixels to linear RGB. Returns 0, or NaN if one of them is: the powers of a CPU, which
// work on bits, do not keep it.
template <typename T>
WMSCORE_INLINE float linearize(const T* data, int64_t stride, int count, const float* table,
                               float* out) {
  float poison = 0;
  if constexpr (std::is_same_v<T, uint8_t>) {
    for (int i = 0; i < count; ++i) out[i] = table[data[i * stride]];
  } else {
    if (stride == 1) {
      for (int i = 0; i < count; ++i) out[i] = static_cast<float>(wmscore::widen(data[i]));
    } else {
      for (int i = 0; i < count; ++i) out[i] = static_cast<float>(wmscore::widen(data[i * stride]));
    }
#pragma omp simd reduction(+ : poison)
    for (int i = 0; i < count; ++i) {
      const float value = wmscore::clamp01(out[i]);
      poison += value - value;
      out[i] = wmscore::linear_of_srgb(value);
    }
  }
  return poison;
}

// Columns first - reach .. last + reach of one row to opponent colours; the border repeats.
template <typename T>
WMSCORE_INLINE float read_row(const Images& frames, int64_t image, int64_t row, int64_t width,
                              int64_t first, int columns, const float* table,
                              float (&linear)[3][kStrip + 2 * kFlipReach], PlaneRows& out) {
  const int64_t begin = std::max<int64_t>(first, 0);
  const int64_t end = std::min<int64_t>(first + columns, width);
  const int count = static_cast<int>(end - begin);
  const int left = static_cast<int>(begin - first);
  float poison = 0;
  for (int c = 0; c < 3; ++c) {
    const T* data = static_cast<const T*>(frames.data) + image * frames.image + c * frames.channel +
                    row * frames.row + begin * frames.pixel;
    poison += linearize(data, frames.pixel, count, table, linear[c]);
  }
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const wmscore::Opponent colour =
        wmscore::opponent_of_linear(linear[0][i], linear[1][i], linear[2][i]);
    out[kY][left + i] = colour.y;
    out[kCx][left + i] = colour.cx;
    out[kCz][left + i] = colour.cz;
  }
  const int padded = (columns + kBlock - 1) / kBlock * kBlock;
  for (float (&plane)[kRow] : out) {
    std::fill(plane, plane + left, plane[left]);
    std::fill(plane + left + count, plane + padded, plane[left + count - 1]);
  }
  return poison;
}

// The rows above and below the current one, [reach + 1] each; [0] is the row itself.
struct Neighbours {
  const PlaneRows* above[kFlipReach + 1];
  const PlaneRows* below[kFlipReach + 1];
};

// Columns x .. x + kBlock of one plane with one symmetric filter.
WMSCORE_INLINE void filter_down(const Neighbours& rows, Plane plane, int x, const FlipTaps& taps,
                                int reach, float* out) {
  Vector sum[kVectors];
  for (int v = 0; v < kVectors; ++v)
    sum[v] = taps[0] * load(&(*rows.above[0])[plane][x + v * kLanes]);
  for (int k = 1; k <= reach; ++k) {
    const float* above = &(*rows.above[k])[plane][x];
    const float* below = &(*rows.below[k])[plane][x];
    for (int v = 0; v < kVectors; ++v)
      sum[v] += taps[k] * (load(above + v * kLanes) + load(below + v * kLanes));
  }
  for (int v = 0; v < kVectors; ++v) store(out + x + v * kLanes, sum[v]);
}

// Half a block of one plane with two symmetric filters.
WMSCORE_INLINE void filter_down(const Neighbours& rows, Plane plane, int x,
                                const FlipTaps (&taps)[2], int reach, float* out0, float* out1) {
  Vector sum0[kHalf], sum1[kHalf];
  for (int v = 0; v < kHalf; ++v) {
    const Vector centre = load(&(*rows.above[0])[plane][x + v * kLanes]);
    sum0[v] = taps[0][0] * centre;
    sum1[v] = taps[1][0] * centre;
  }
  for (int k = 1; k <= reach; ++k) {
    const float* above = &(*rows.above[k])[plane][x];
    const float* below = &(*rows.below[k])[plane][x];
    for (int v = 0; v < kHalf; ++v) {
      const Vector both = load(above + v * kLanes) + load(below + v * kLanes);
      sum0[v] += taps[0][k] * both;
      sum1[v] += taps[1][k] * both;
    }
  }
  for (int v = 0; v < kHalf; ++v) {
    store(out0 + x + v * kLanes, sum0[v]);
    store(out1 + x + v * kLanes, sum1[v]);
  }
}

// Half a block of brightness with its four filters.
WMSCORE_INLINE void filter_brightness_down(const Neighbours& rows, int x,
                                           const FlipFilters& filters, ColumnRows& out) {
  Vector centre[kHalf], seen[kHalf], smooth[kHalf], edge[kHalf] = {}, point[kHalf] = {};
  for (int v = 0; v < kHalf; ++v) {
    centre[v] = load(&(*rows.above[0])[kY][x + v * kLanes]);
    seen[v] = filters.brightness[0] * centre[v];
    smooth[v] = filters.smooth[0] * centre[v];
  }
  for (int k = 1; k <= filters.feature_reach; ++k) {
    const float* above = &(*rows.above[k])[kY][x];
    const float* below = &(*rows.below[k])[kY][x];
    for (int v = 0; v < kHalf; ++v) {
      const Vector a = load(above + v * kLanes), b = load(below + v * kLanes);
      const Vector both = a + b;
      seen[v] += filters.brightness[k] * both;
      smooth[v] += filters.smooth[k] * both;
      edge[v] += filters.edge[k] * (a - b);
      // The taps of `point` sum to 0. Subtracting the centre makes that exact where all is flat:
      // features enter the error by their root, which would magnify what rounding leaves.
      point[v] += filters.point[k] * (both - 2.0f * centre[v]);
    }
  }
  for (int v = 0; v < kHalf; ++v) {
    const int i = x + v * kLanes;
    store(&out[kSeenY][i], seen[v]);
    store(&out[kSmooth][i], smooth[v]);
    store(&out[kEdge][i], edge[v]);
    store(&out[kPoint][i], point[v]);
  }
}

// Adds columns x .. x + kBlock of one row with one symmetric filter; row[0] is the centre of
// column 0.
WMSCORE_INLINE void filter_along(const float* row, int x, const FlipTaps& taps, int reach,
                                 Vector (&sum)[kVectors]) {
  for (int v = 0; v < kVectors; ++v) sum[v] += taps[0] * load(row + x + v * kLanes);
  for (int k = 1; k <= reach; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      const float* centre = row + x + v * kLanes;
      sum[v] += taps[k] * (load(centre - k) + load(centre + k));
    }
  }
}

// The same with both derivatives.
WMSCORE_INLINE void filter_features_along(const float* row, int x, const FlipFilters& filters,
                                          Vector (&edge)[kVectors], Vector (&point)[kVectors]) {
  for (int k = 1; k <= filters.feature_reach; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      const float* centre = row + x + v * kLanes;
      const Vector a = load(centre - k), b = load(centre + k);
      edge[v] += filters.edge[k] * (a - b);
      point[v] += filters.point[k] * (a + b - 2.0f * load(centre));
    }
  }
}

WMSCORE_INLINE void filter_rows_along(const ColumnRows& rows, int x, const FlipFilters& filters,
                                      Filtered& out) {
  const int reach = filters.reach;
  Vector y[kVectors] = {}, cx[kVectors] = {}, cz[kVectors] = {};
  filter_along(rows[kSeenY] + reach, x, filters.brightness, filters.feature_reach, y);
  filter_along(rows[kSeenCx] + reach, x, filters.red_green, filters.chroma_reach, cx);
  filter_along(rows[kWideCz] + reach, x, filters.blue_yellow[0], reach, cz);
  filter_along(rows[kNarrowCz] + reach, x, filters.blue_yellow[1], reach, cz);
  for (int v = 0; v < kVectors; ++v) {
    store(out.colour[0] + x + v * kLanes, y[v]);
    store(out.colour[1] + x + v * kLanes, cx[v]);
    store(out.colour[2] + x + v * kLanes, cz[v]);
  }

  Vector edge_y[kVectors] = {}, point_y[kVectors] = {};
  filter_along(rows[kEdge] + reach, x, filters.smooth, filters.feature_reach, edge_y);
  filter_along(rows[kPoint] + reach, x, filters.smooth, filters.feature_reach, point_y);
  Vector edge_x[kVectors] = {}, point_x[kVectors] = {};
  filter_features_along(rows[kSmooth] + reach, x, filters, edge_x, point_x);
  for (int v = 0; v < kVectors; ++v) {
    store(out.edge + x + v * kLanes, edge_x[v] * edge_x[v] + edge_y[v] * edge_y[v]);
    store(out.point + x + v * kLanes, point_x[v] * point_x[v] + point_y[v] * point_y[v]);
  }
}

// Functions of one pixel, and not the bodies of the loops below: GCC vectorises no loop whose body
// has structs of its own.
WMSCORE_INLINE void see_pixel(Filtered& row, int x) {
  const wmscore::Seen seen = wmscore::seen_of(
      {row.colour[0][x], row.colour[1][x], row.colour[2][x]}, row.edge[x], row.point[x]);
  row.colour[0][x] = seen.lab.lightness;
  row.colour[1][x] = seen.lab.a;
  row.colour[2][x] = seen.lab.b;
  row.edge[x] = seen.edge;
  row.point[x] = seen.point;
}

WMSCORE_INLINE float pixel_error(const Filtered& preds, const Filtered& target, int x,
                                 float largest_difference) {
  return wmscore::flip_error(
      {{preds.colour[0][x], preds.colour[1][x], preds.colour[2][x]}, preds.edge[x], preds.point[x]},
      {{target.colour[0][x], target.colour[1][x], target.colour[2][x]},
       target.edge[x],
       target.point[x]},
      largest_difference);
}

WMSCORE_INLINE double sum_errors(Filtered& preds, Filtered& target, int columns,
                                 float largest_difference) {
  // Stored before they are compared: see rounded_product.
  for (Filtered* row : {&preds, &target}) {
#pragma omp simd
    for (int x = 0; x < columns; ++x) see_pixel(*row, x);
  }
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int x = 0; x < columns; ++x) sum += pixel_error(preds, target, x, largest_difference);
  return sum;
}

// The rows [top, bottom) of the columns [left, left + columns) of one image.
template <typename T>
WMSCORE_INLINE double sum_strip(const Images& preds, const Images& target, int64_t image,
                                int64_t height, int64_t width, int64_t top, int64_t bottom,
                                int64_t left, int columns, const FlipFilters& filters,
                                const float* table, Work& work) {
  const int reach = filters.reach;
  const int slots = 2 * reach + 1;
  const Images* frames[] = {&preds, &target};
  double sum = 0;
  int64_t next = std::max<int64_t>(0, top - reach);  // the row to read
  for (int64_t y = top; y < bottom; ++y) {
    for (; next <= std::min(y + reach, height - 1); ++next) {
      for (int i = 0; i < 2; ++i) {
        sum += read_row<T>(*frames[i], image, next, width, left - reach, columns + 2 * reach, table,
                           work.linear, work.ring[i][next % slots]);
      }
    }
    for (int i = 0; i < 2; ++i) {
      Neighbours rows;
      for (int k = 0; k <= reach; ++k) {
        rows.above[k] = &work.ring[i][std::max<int64_t>(y - k, 0) % slots];
        rows.below[k] = &work.ring[i][std::min(y + k, height - 1) % slots];
      }
      for (int x = 0; x < columns + 2 * reach; x += kBlock) {
        filter_down(rows, kCx, x, filters.red_green, filters.chroma_reach, work.columns[kSeenCx]);
        for (int half = x; half < x + kBlock; half += kBlock / 2) {
          filter_brightness_down(rows, half, filters, work.columns);
          filter_down(rows, kCz, half, filters.blue_yellow, reach, work.columns[kWideCz],
                      work.columns[kNarrowCz]);
        }
      }
      for (int x = 0; x < columns; x += kBlock)
        filter_rows_along(work.columns, x, filters, work.filtered[i]);
    }
    sum += sum_errors(work.filtered[0], work.filtered[1], columns, filters.largest_difference);
  }
  return sum;
}

template <typename T>
WMSCORE_INLINE void sum_bands(const Images& preds, const Images& target, int64_t height,
                              int64_t width, const FlipFilters& filters, const float* table,
                              int64_t first, int64_t last, Work& work, double* sums) {
  const int64_t bands = wmscore_frame_flip_bands(height);
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / bands;
    const int64_t top = item % bands * kBandRows;
    const int64_t bottom = std::min(top + kBandRows, height);
    double sum = 0;
    for (int64_t left = 0; left < width; left += kStrip) {
      const int columns = static_cast<int>(std::min<int64_t>(kStrip, width - left));
      sum += sum_strip<T>(preds, target, image, height, width, top, bottom, left, columns, filters,
                          table, work);
    }
    sums[item] = sum;
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_SUM_BANDS(name, T)                                                        \
  WMSCORE_CLONES void name(const Images& preds, const Images& target, int64_t height,     \
                           int64_t width, const FlipFilters& filters, const float* table, \
                           int64_t first, int64_t last, Work& work, double* sums) {       \
    sum_bands<T>(preds, target, height, width, filters, table, first, last, work, sums);  \
  }
WMSCORE_SUM_BANDS(sum_uint8, uint8_t)
WMSCORE_SUM_BANDS(sum_float16, Half)
WMSCORE_SUM_BANDS(sum_bfloat16, Bfloat16)
WMSCORE_SUM_BANDS(sum_float32, float)
WMSCORE_SUM_BANDS(sum_float64, double)

}  // namespace

int64_t wmscore_frame_flip_bands(int64_t height) { return (height + kBandRows - 1) / kBandRows; }

void wmscore_frame_flip_cpu(Element element, Images preds, Images target, int64_t height,
                            int64_t width, double pixels_per_degree, int64_t first, int64_t last,
                            double* sums) {
  const FlipFilters filters = wmscore::flip_filters(pixels_per_degree);
  const float* const table = linear_of_uint8();
  const auto work = std::make_unique<Work>();
  const auto sum = [&](auto function) {
    function(preds, target, height, width, filters, table, first, last, *work, sums);
  };
  switch (element) {
    case Element::kUint8:
      return sum(sum_uint8);
    case Element::kFloat16:
      return sum(sum_float16);
    case Element::kBfloat16:
      return sum(sum_bfloat16);
    case Element::kFloat32:
      return sum(sum_float32);
    case Element::kFloat64:
      return sum(sum_float64);
    case Element::kUint16:
      return;  // of pyramids only
  }
}
