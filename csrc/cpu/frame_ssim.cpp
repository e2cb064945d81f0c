// SSIM, contrast-structure and squared error of one band of rows of two planes, and those rows at
// half the size.
//
// A strip of columns is cut into as many segments as a vector has lanes, and lane i walks along
// segment i. The neighbours of a column are then the vectors before and after: both passes of the
// separable window load whole aligned vectors, each of them once for two results, and add
// symmetric pixels before they multiply. The rows that the window spans stay in the L1 cache.
//
// Moments are those of the sum and of the difference of both frames, as in the torch function: the
// difference of similar frames is small, and with it every rounding error.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "ssim_window.h"
#include "vectors.h"

namespace {

using namespace wmscore;
using namespace wmscore::ssim;

constexpr int64_t kBandRows = 128;  // even, so that a band halves to whole rows
constexpr int kMoments = 4;         // of s, d, s^2, d^2
constexpr int kMaxSteps = 14;       // columns of a segment: keeps the ring of rows at 21 KiB
constexpr int kBlock = 1024;        // pixels gathered at a time; even

// A segment and the reach of the window, in whole blocks of a transposition.
template <typename Real>
constexpr int span_of(int steps, int window) {
  return (steps + window - 1 + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
}

template <typename Real>
constexpr int kMaxSpan = span_of<Real>(kMaxSteps, kGaussianWindow);

// Lives on the stack. Where a segment has an odd number of columns the horizontal pass goes one
// too far: there is room for one more.
template <typename T, typename Real>
struct Workspace {
  Vector<Real> lanes[kMoments][kMaxSpan<Real> + 1] = {};
  Vector<Real> ring[kGaussianWindow + 1][kMoments][kMaxSteps + 1];
  Vector<Real> moments[2][kMoments][kMaxSteps];
  Vector<Real> weight[kMaxSteps];  // 2 for a position of the strip, 0 for none
  Wide<T> preds[kBlock];
  Wide<T> target[kBlock];
};

template <typename T>
struct Rows {
  const T* data;
  int64_t row;
  int64_t pixel;

  explicit Rows(const Plane& plane)
      : data(static_cast<const T*>(plane.data)), row(plane.row), pixel(plane.pixel) {}
};

// `count` pixels side by side from column `start` of row y: where they are, or in `scratch`.
template <typename T>
WMSCORE_INLINE const Wide<T>* pixels_of(const Rows<T>& rows, int64_t y, int64_t start, int count,
                                        Wide<T>* scratch) {
  const T* data = rows.data + y * rows.row + start * rows.pixel;
  if constexpr (std::is_same_v<T, Wide<T>>) {
    if (rows.pixel == 1) return data;
  }
  if (rows.pixel == 1) {
    for (int i = 0; i < count; ++i) scratch[i] = widen(data[i]);
  } else if (rows.pixel == 3) {  // interleaved RGB: a constant stride becomes shuffles
    for (int i = 0; i < count; ++i) scratch[i] = widen(data[3 * i]);
  } else {
    for (int i = 0; i < count; ++i) scratch[i] = widen(data[rows.pixel * i]);
  }
  return scratch;
}

// ---- from pixels to lanes ------------------------------------------------------------------

template <typename Real>
using Lanes = Vector<Real> (&)[kMoments][kMaxSpan<Real> + 1];

template <typename Real>
WMSCORE_INLINE void store_moments(const Vector<Real>& sum, const Vector<Real>& difference, int j,
                                  Lanes<Real> lanes) {
  lanes[0][j] = sum;
  lanes[1][j] = difference;
  lanes[2][j] = sum * sum;
  lanes[3][j] = difference * difference;
}

// Column j of segment i, i * steps + j of the strip, goes to lane i of vector j.
WMSCORE_INLINE void to_lanes(const uint8_t* x, const uint8_t* y, int steps, int span,
                             const Constants<float>&, Lanes<float> lanes) {
  for (int j = 0; j < span; j += 8) {
    UShorts8 pairs[8];  // a byte of x, then one of y
    for (int i = 0; i < 8; ++i) {
      Bytes16 p, t;
      load_half(p, x + i * steps + j);
      load_half(t, y + i * steps + j);
      pairs[i] = reinterpret_cast<UShorts8>(
          __builtin_shufflevector(p, t, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    }
    transpose(pairs);
    for (int i = 0; i < 8; ++i) {
      const Shorts8 p = reinterpret_cast<Shorts8>(pairs[i] & 255);
      const Shorts8 t = reinterpret_cast<Shorts8>(pairs[i] >> 8);
      store_moments<float>(__builtin_convertvector(p + t - 255, Vector<float>),
                           __builtin_convertvector(p - t, Vector<float>), j + i, lanes);
    }
  }
}

WMSCORE_INLINE void to_lanes(const uint16_t* x, const uint16_t* y, int steps, int span,
                             const Constants<float>& constants, Lanes<float> lanes) {
  for (int j = 0; j < span; j += 8) {
    UShorts8 p[8], t[8];
    for (int i = 0; i < 8; ++i) {
      load(p[i], x + i * steps + j);
      load(t[i], y + i * steps + j);
    }
    transpose(p);
    transpose(t);
    for (int i = 0; i < 8; ++i) {  // both convert exactly, and so do sum and difference
      const Vector<float> preds = __builtin_convertvector(p[i], Vector<float>);
      const Vector<float> target = __builtin_convertvector(t[i], Vector<float>);
      store_moments<float>(preds + target - constants.shift, preds - target, j + i, lanes);
    }
  }
}

template <typename Real>
WMSCORE_INLINE void to_lanes(const Real* x, const Real* y, int steps, int span,
                             const Constants<Real>& constants, Lanes<Real> lanes) {
  for (int j = 0; j < span; j += kLanes<Real>) {
    Vector<Real> p[kLanes<Real>], t[kLanes<Real>];
    for (int i = 0; i < kLanes<Real>; ++i) load(p[i], x + i * steps + j);
    transpose(p);
    for (int i = 0; i < kLanes<Real>; ++i) load(t[i], y + i * steps + j);
    transpose(t);
    for (int i = 0; i < kLanes<Real>; ++i) {
      const Vector<Real> preds = p[i] * constants.scale, target = t[i] * constants.scale;
      store_moments<Real>(preds + target - constants.shift, preds - target, j + i, lanes);
    }
  }
}

// ---- the window ----------------------------------------------------------------------------

// Vectors one after the other, or at one place of several rows.
template <typename Real>
struct Column {
  const Vector<Real>* vectors;
  WMSCORE_INLINE const Vector<Real>& operator()(int k) const { return vectors[k]; }
};

template <typename Real>
struct Across {
  const Vector<Real>* const* rows;
  int place;
  WMSCORE_INLINE const Vector<Real>& operator()(int k) const { return rows[k][place]; }
};

// Two results of the window that are next to each other, from kWindow + 1 vectors.
template <int kWindow, typename Real, typename At>
WMSCORE_INLINE void blur_two(const Real* taps, const At& at, Vector<Real>& first,
                             Vector<Real>& second) {
  Vector<Real> low = at(1), high = at(kWindow - 1);
  Vector<Real> a = taps[0] * (at(0) + high);
  Vector<Real> b = taps[0] * (low + at(kWindow));
  for (int k = 1; k < kWindow / 2; ++k) {
    const Vector<Real> next_low = at(k + 1), next_high = at(kWindow - 1 - k);
    a += taps[k] * (low + next_high);
    b += taps[k] * (next_low + high);
    low = next_low;
    high = next_high;
  }
  first = a + taps[kWindow / 2] * low;
  second = b + taps[kWindow / 2] * high;
}

// Adds what the positions of a row lack of 1, for SSIM and for contrast-structure.
template <typename Real>
WMSCORE_INLINE void add_deficits(const Vector<Real> (&moments)[kMoments][kMaxSteps],
                                 const Vector<Real>* weight, int steps,
                                 const Constants<Real>& constants, Vector<Real>& ssim,
                                 Vector<Real>& contrast_structure) {
  for (int j = 0; j < steps; ++j) {
    const Vector<Real> mean_s = moments[0][j] + constants.shift;
    const Vector<Real> mean_d_squared = moments[1][j] * moments[1][j];
    const Vector<Real> var_s = moments[2][j] - moments[0][j] * moments[0][j];
    const Vector<Real> var_d = moments[3][j] - mean_d_squared;
    const Vector<Real> brightness = mean_s * mean_s + mean_d_squared + constants.c1;
    const Vector<Real> contrast = var_s + var_d + constants.c2;
    const Vector<Real> share = weight[j] / (brightness * contrast);  // one division for both
    const Vector<Real> of_luminance = mean_d_squared * contrast * share;
    const Vector<Real> of_contrast = var_d * brightness * share;
    contrast_structure += of_contrast;
    ssim += of_luminance + of_contrast - of_luminance * of_contrast;
  }
}

// The deficits of the output rows [first, last), summed.
template <int kWindow, typename T, typename Real>
WMSCORE_INLINE void add_similarity(const Rows<T>& preds, const Rows<T>& target, int64_t width,
                                   int64_t first, int64_t last, const Constants<Real>& constants,
                                   Workspace<T, Real>& work, double& ssim,
                                   double& contrast_structure) {
  constexpr int kRing = kWindow + 1;
  Real taps[kWindow / 2 + 1];
  std::copy_n(constants.taps, kWindow / 2 + 1, taps);
  const int64_t outputs = width - kWindow + 1;
  for (int64_t start = 0; start < outputs; start += kLanes<Real> * kMaxSteps) {
    const int count =
        static_cast<int>(std::min<int64_t>(kLanes<Real> * kMaxSteps, outputs - start));
    const int steps = (count + kLanes<Real> - 1) / kLanes<Real>;
    const int span = span_of<Real>(steps, kWindow);
    const int columns = count + kWindow - 1;
    const int reach = (kLanes<Real> - 1) * steps + span;  // of the last segment
    static_assert((kLanes<Real> - 1) * kMaxSteps + kMaxSpan<Real> <= kBlock);
    std::fill_n(work.preds, reach, Wide<T>(0));
    std::fill_n(work.target, reach, Wide<T>(0));
    for (int j = 0; j < steps; ++j) {
      for (int i = 0; i < kLanes<Real>; ++i) work.weight[j][i] = i * steps + j < count ? 2 : 0;
    }
    double totals[2][kLanes<Real>] = {};
    for (int64_t row = first; row < last + kWindow - 1; ++row) {
      const Wide<T>* x = pixels_of(preds, row, start, columns, work.preds);
      const Wide<T>* y = pixels_of(target, row, start, columns, work.target);
      if (start + reach > width) {  // the last segment must not read past the frame
        if (x != work.preds) std::copy_n(x, columns, work.preds);
        if (y != work.target) std::copy_n(y, columns, work.target);
        x = work.preds;
        y = work.target;
      }
      to_lanes(x, y, steps, span, constants, work.lanes);
      auto& blurred = work.ring[(row - first) % kRing];
      for (int m = 0; m < kMoments; ++m) {
        for (int j = 0; j < steps; j += 2) {
          blur_two<kWindow>(taps, Column<Real>{work.lanes[m] + j}, blurred[m][j],
                            blurred[m][j + 1]);
        }
      }
      // Two output rows at a time, or the last one alone.
      const int64_t newest = row - first - (kWindow - 1);
      const bool is_last = row + 1 == last + kWindow - 1;
      if (newest < 0 || (newest % 2 == 0 && !is_last)) continue;
      const int64_t top = newest / 2 * 2;
      for (int m = 0; m < kMoments; ++m) {
        const Vector<Real>* rows[kRing];
        for (int k = 0; k < kRing; ++k)
          rows[k] = work.ring[std::min(top + k, row - first) % kRing][m];
        for (int j = 0; j < steps; ++j) {
          blur_two<kWindow>(taps, Across<Real>{rows, j}, work.moments[0][m][j],
                            work.moments[1][m][j]);
        }
      }
      Vector<Real> sums[2] = {};
      for (int64_t r = top; r <= newest; ++r)
        add_deficits(work.moments[r - top], work.weight, steps, constants, sums[0], sums[1]);
      for (int i = 0; i < kLanes<Real>; ++i) {
        totals[0][i] += sums[0][i];
        totals[1][i] += sums[1][i];
      }
    }
    for (const double total : totals[0]) ssim += total;
    for (const double total : totals[1]) contrast_structure += total;
  }
}

// ---- the other sums, and the next scale ----------------------------------------------------

// Sum of squared errors of the rows [first, last), exact for integers.
template <typename T, typename Real>
WMSCORE_INLINE double squared_error(const Rows<T>& preds, const Rows<T>& target, int64_t width,
                                    int64_t first, int64_t last, Workspace<T, Real>& work) {
  using Partial = std::conditional_t<std::is_integral_v<T>,
                                     std::conditional_t<sizeof(T) == 1, int32_t, int64_t>, double>;
  std::conditional_t<std::is_integral_v<T>, int64_t, double> total = 0;
  for (int64_t row = first; row < last; ++row) {
    for (int64_t start = 0; start < width; start += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, width - start));
      const Wide<T>* x = pixels_of(preds, row, start, count, work.preds);
      const Wide<T>* y = pixels_of(target, row, start, count, work.target);
      Partial sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < count; ++i) {
        const Partial error = static_cast<Partial>(x[i]) - static_cast<Partial>(y[i]);
        sum += error * error;
      }
      total += sum;
    }
  }
  return static_cast<double>(total);
}

// Rows [first, last) of one plane to rows [first / 2, ...) of the next scale: sums of 2 x 2 integer
// pixels, means of others. At the end of an odd side the edge counts twice.
template <typename T, typename Real, typename Half>
WMSCORE_INLINE void halve(const Rows<T>& rows, int64_t height, int64_t width, int64_t first,
                          int64_t last, Workspace<T, Real>& work, Half* halved) {
  using Sum = std::conditional_t<std::is_integral_v<T>, uint32_t, Real>;
  constexpr Sum kShare = std::is_integral_v<T> ? Sum(1) : Sum(0.25);
  for (int64_t row = first; row < last; row += 2) {
    Half* const out = halved + row / 2 * ((width + 1) / 2);
    for (int64_t start = 0; start < width; start += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, width - start));
      const Wide<T>* a = pixels_of(rows, row, start, count, work.preds);
      const Wide<T>* b = pixels_of(rows, std::min(row + 1, height - 1), start, count, work.target);
      for (int i = 0; i < count / 2; ++i) {
        const Sum sum = Sum(a[2 * i]) + Sum(a[2 * i + 1]) + Sum(b[2 * i]) + Sum(b[2 * i + 1]);
        out[start / 2 + i] = static_cast<Half>(sum * kShare);
      }
      if (count % 2) {
        const Sum sum = Sum(a[count - 1]) + Sum(b[count - 1]);
        out[(start + count) / 2] = static_cast<Half>(2 * sum * kShare);
      }
    }
  }
}

template <typename T>
WMSCORE_INLINE void run_band(const Plane& preds_plane, const Plane& target_plane, int64_t height,
                             int64_t width, double data_range, bool uniform, int level,
                             int64_t band, void* halved_preds, void* halved_target, double* sums) {
  using Real = RealOf<T>;
  using Half = std::conditional_t<std::is_integral_v<T>, uint16_t, Real>;
  const Rows<T> preds(preds_plane), target(target_plane);
  const Constants<Real> constants(std::is_integral_v<T>, data_range, uniform, level);
  Workspace<T, Real> work;
  const int64_t outputs = height - (uniform ? kUniformWindow : kGaussianWindow) + 1;
  const int64_t first = band * kBandRows;
  const int64_t last = std::min(outputs, first + kBandRows);
  const int64_t last_row = last == outputs ? height : last;  // of what only this band reads

  sums[0] = sums[1] = 0;
  if (uniform) {
    add_similarity<kUniformWindow>(preds, target, width, first, last, constants, work, sums[0],
                                   sums[1]);
  } else {
    add_similarity<kGaussianWindow>(preds, target, width, first, last, constants, work, sums[0],
                                    sums[1]);
  }
  const double pixels = std::is_integral_v<T> ? std::ldexp(1.0, 2 * level) : 1.0;
  sums[2] = squared_error(preds, target, width, first, last_row, work) / (pixels * pixels);
  if (halved_preds != nullptr) {
    halve(preds, height, width, first, last_row, work, static_cast<Half*>(halved_preds));
    halve(target, height, width, first, last_row, work, static_cast<Half*>(halved_target));
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_RUN_BAND(name, T)                                                                  \
  WMSCORE_CLONES void name(const Plane& preds, const Plane& target, int64_t height, int64_t width, \
                           double data_range, bool uniform, int level, int64_t band,               \
                           void* halved_preds, void* halved_target, double* sums) {                \
    run_band<T>(preds, target, height, width, data_range, uniform, level, band, halved_preds,      \
                halved_target, sums);                                                              \
  }
WMSCORE_RUN_BAND(run_uint8, uint8_t)
WMSCORE_RUN_BAND(run_uint16, uint16_t)
WMSCORE_RUN_BAND(run_float16, Half)
WMSCORE_RUN_BAND(run_bfloat16, Bfloat16)
WMSCORE_RUN_BAND(run_float32, float)
WMSCORE_RUN_BAND(run_float64, double)

}  // namespace

int64_t wmscore_frame_ssim_bands(int64_t height, bool uniform) {
  const int64_t outputs = height - (uniform ? kUniformWindow : kGaussianWindow) + 1;
  return (outputs + kBandRows - 1) / kBandRows;
}

void wmscore_frame_ssim_cpu(Element element, Plane preds, Plane target, int64_t height,
                            int64_t width, double data_range, bool uniform, int32_t level,
                            int64_t band, void* halved_preds, void* halved_target, double* sums) {
  const auto run = element == Element::kUint8      ? run_uint8
                   : element == Element::kUint16   ? run_uint16
                   : element == Element::kFloat16  ? run_float16
                   : element == Element::kBfloat16 ? run_bfloat16
                   : element == Element::kFloat32  ? run_float32
                                                   : run_float64;
  run(preds, target, height, width, data_range, uniform, level, band, halved_preds, halved_target,
      sums);
}
