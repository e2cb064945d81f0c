// SSIM, contrast-structure and squared error of one band of rows of two planes, and those rows at
// half the size.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "ssim_pass.h"
#include "ssim_window.h"
#include "vectors.h"

namespace {

using namespace wmscore;
using namespace wmscore::ssim;

constexpr int64_t kBandRows = 128;  // even, so that a band halves to whole rows
constexpr int kMaxSteps = 14;       // columns of a segment: keeps the ring of rows at 21 KiB

template <typename Real>
constexpr int kMaxSpan = span_of<Real>(kMaxSteps, kGaussianWindow - 1);

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

// Adds what the positions of a row lack of 1, for SSIM and for contrast-structure.
template <typename Real>
WMSCORE_INLINE void add_deficits(const Vector<Real> (&moments)[kMoments][kMaxSteps],
                                 const Vector<Real>* weight, int steps,
                                 const Constants<Real>& constants, const Shift<Real>& shift,
                                 Vector<Real>& ssim, Vector<Real>& contrast_structure) {
  for (int j = 0; j < steps; ++j) {
    const Vector<Real> mean_s = moments[0][j] + shift.sum;
    const Vector<Real> mean_d = moments[1][j] + shift.difference;
    const Vector<Real> mean_d_squared = mean_d * mean_d;
    const Vector<Real> var_s = moments[2][j] - moments[0][j] * moments[0][j];
    Vector<Real> shifted_d_squared;
    square<Real>(moments[1][j], shifted_d_squared);
    const Vector<Real> var_d = moments[3][j] - shifted_d_squared;
    const Vector<Real> brightness = mean_s * mean_s + mean_d_squared + constants.c1;
    const Vector<Real> contrast = var_s + var_d + constants.c2;
    const Vector<Real> share = weight[j] / (brightness * contrast);  // one division for both
    const Vector<Real> of_luminance = mean_d_squared * contrast * share;
    const Vector<Real> of_contrast = var_d * brightness * share;
    contrast_structure += of_contrast;
    ssim += of_luminance + of_contrast - of_luminance * of_contrast;
  }
}

// The pixel in the middle of each segment, in a row in the middle of the band.
template <typename T, typename Real>
WMSCORE_INLINE Shift<Real> shift_of(const Rows<T>& preds, const Rows<T>& target, int64_t row,
                                    int64_t start, int columns, int steps,
                                    const Constants<Real>& constants, Wide<T>* x_scratch,
                                    Wide<T>* y_scratch) {
  const Wide<T>* x = pixels_of(preds, row, start, columns, x_scratch);
  const Wide<T>* y = pixels_of(target, row, start, columns, y_scratch);
  Shift<Real> shift;
  for (int i = 0; i < kLanes<Real>; ++i) {
    const int middle = std::min(i * steps + (steps + kGaussianWindow) / 2, columns - 1);
    const Real p = static_cast<Real>(x[middle]) * constants.scale;
    const Real t = static_cast<Real>(y[middle]) * constants.scale;
    shift.sum[i] = p + t;
    shift.difference[i] = p - t;
  }
  return shift;
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
    const int span = span_of<Real>(steps, kWindow - 1);
    const int columns = count + kWindow - 1;
    const int reach = (kLanes<Real> - 1) * steps + span;  // of the last segment
    static_assert((kLanes<Real> - 1) * kMaxSteps + kMaxSpan<Real> <= kBlock);
    std::fill_n(work.preds, reach, Wide<T>(0));
    std::fill_n(work.target, reach, Wide<T>(0));
    for (int j = 0; j < steps; ++j) {
      for (int i = 0; i < kLanes<Real>; ++i) work.weight[j][i] = i * steps + j < count ? 2 : 0;
    }
    const Shift<Real> shift = shift_of(preds, target, (first + last + kWindow - 1) / 2, start,
                                       columns, steps, constants, work.preds, work.target);
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
      to_lanes(x, y, steps, span, constants, shift, work.lanes);
      auto& blurred = work.ring[(row - first) % kRing];
      for (int m = 0; m < kMoments; ++m)
        blur_along<kWindow>(taps, m, work.lanes[m], steps, blurred[m]);
      // Two output rows at a time, or the last one alone.
      const int64_t newest = row - first - (kWindow - 1);
      const bool is_last = row + 1 == last + kWindow - 1;
      if (newest < 0 || (newest % 2 == 0 && !is_last)) continue;
      const int64_t top = newest / 2 * 2;
      int slots[kRing];
      for (int k = 0; k < kRing; ++k) slots[k] = static_cast<int>((top + k) % kRing);
      if (newest == top) slots[kRing - 1] = slots[kRing - 2];  // there is no second row
      for (int m = 0; m < kMoments; ++m) {
        const Vector<Real>* rows[kRing];
        for (int k = 0; k < kRing; ++k) rows[k] = work.ring[slots[k]][m];
        blur_down<kWindow>(taps, m, rows, steps, work.moments[0][m], work.moments[1][m]);
      }
      Vector<Real> sums[2] = {};
      for (int64_t r = top; r <= newest; ++r)
        add_deficits(work.moments[r - top], work.weight, steps, constants, shift, sums[0], sums[1]);
      for (int i = 0; i < kLanes<Real>; ++i) {
        totals[0][i] += sums[0][i];
        totals[1][i] += sums[1][i];
      }
    }
    for (const double total : totals[0]) ssim += total;
    for (const double total : totals[1]) contrast_structure += total;
  }
}

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
    halve(preds, height, width, first, last_row, work.preds, work.target,
          static_cast<Half*>(halved_preds));
    halve(target, height, width, first, last_row, work.preds, work.target,
          static_cast<Half*>(halved_target));
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
