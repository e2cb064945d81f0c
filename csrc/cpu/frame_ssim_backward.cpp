// Gradients of SSIM, contrast-structure and squared error of one band of rows of two planes.
//
// Each position of the window has a gradient with respect to its four moments: four maps. The
// gradient of a pixel is the sum of the maps over the windows that contain it, weighted as in the
// window: the same blur, over the maps with a margin of zeros. Rows stream through: those of both
// frames make a row of maps, and those of maps a row of gradients.
#include <algorithm>
#include <cstdint>
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

constexpr int64_t kBandRows = 128;
constexpr int kMaxSteps = 12;  // with twice the window's reach whole blocks of 8
constexpr int kMaxReach = kGaussianWindow - 1;
constexpr int kMaxMapSteps = kMaxSteps + kMaxReach;

template <typename Real>
constexpr int kMaxSpan = span_of<Real>(kMaxSteps, 2 * kMaxReach);

// Lives on the stack. The rings hold the rows that a window spans, and one more; passes along a
// row may go one vector too far.
template <typename T, typename Real>
struct Workspace {
  static constexpr int kRows = kGaussianWindow + 1;
  Vector<Real> lanes[kMoments][kMaxSpan<Real> + 1] = {};
  Vector<Real> blurred[kRows][kMoments][kMaxMapSteps + 1];
  Vector<Real> pixels[kRows][2][kMaxSteps];  // s and d
  Vector<Real> maps[2][kMoments][kMaxMapSteps + 1] = {};
  Vector<Real> blurred_maps[kRows][kMoments][kMaxSteps + 1];
  Vector<Real> sums[2][kMoments][kMaxSteps];
  Vector<Real> is_position[kMaxMapSteps];  // 1 where the window fits, 0 elsewhere
  Real line[2][kLanes<Real> * kMaxSteps];
  Wide<T> preds[kBlock];
  Wide<T> target[kBlock];
};

// From the moments of a row of positions to its maps, in place.
template <typename Real>
WMSCORE_INLINE void to_maps(Vector<Real> (&moments)[kMoments][kMaxMapSteps + 1],
                            const Vector<Real>* is_position, int steps,
                            const Constants<Real>& constants, Real of_ssim, Real of_cs) {
  for (int j = 0; j < steps; ++j) {
    const Vector<Real> shifted_s = moments[0][j], mean_d = moments[1][j];
    const Vector<Real> mean_s = shifted_s + constants.shift;
    const Vector<Real> var_s = moments[2][j] - shifted_s * shifted_s;
    Vector<Real> mean_d_squared;
    square<Real>(mean_d, mean_d_squared);
    const Vector<Real> var_d = moments[3][j] - mean_d_squared;
    const Vector<Real> by_brightness = 1 / (mean_s * mean_s + mean_d * mean_d + constants.c1);
    const Vector<Real> by_contrast = 1 / (var_s + var_d + constants.c2);
    const Vector<Real> luminance = 1 - 2 * mean_d * mean_d * by_brightness;
    const Vector<Real> contrast_structure = 1 - 2 * var_d * by_contrast;

    const Vector<Real> of_luminance = is_position[j] * (4 * of_ssim) * contrast_structure * mean_d *
                                      by_brightness * by_brightness;
    const Vector<Real> of_mean_s = of_luminance * mean_s * mean_d;
    const Vector<Real> of_mean_d = -of_luminance * (mean_s * mean_s + constants.c1);
    const Vector<Real> of_contrast =
        is_position[j] * (of_ssim * luminance + of_cs) * 2 * by_contrast * by_contrast;
    const Vector<Real> of_var_s = of_contrast * var_d;
    const Vector<Real> of_var_d = -of_contrast * (var_s + constants.c2);
    moments[0][j] = of_mean_s - 2 * shifted_s * of_var_s;
    moments[1][j] = of_mean_d - 2 * mean_d * of_var_d;
    moments[2][j] = of_var_s;
    moments[3][j] = of_var_d;
  }
}

// What lane i of vector j holds goes to column i * steps + j.
template <typename Real>
WMSCORE_INLINE void from_lanes(const Vector<Real>* lanes, int steps, Real* line) {
  for (int j = 0; j < steps; ++j) {
    for (int i = 0; i < kLanes<Real>; ++i) line[i * steps + j] = lanes[j][i];
  }
}

// `count` pixels from column `start`, which may lie outside of the frame: zeros there.
template <typename T>
WMSCORE_INLINE const Wide<T>* padded_pixels_of(const Rows<T>& rows, int64_t y, int64_t start,
                                               int count, int64_t width, Wide<T>* scratch) {
  const int64_t first = std::max<int64_t>(0, start);
  const int64_t last = std::min(width, start + count);
  const int before = static_cast<int>(first - start), inside = static_cast<int>(last - first);
  const Wide<T>* pixels = pixels_of(rows, y, first, inside, scratch + before);
  if (inside == count) return pixels;
  if (pixels != scratch + before) std::copy_n(pixels, inside, scratch + before);
  std::fill_n(scratch, before, Wide<T>(0));
  std::fill(scratch + before + inside, scratch + count, Wide<T>(0));
  return scratch;
}

// The gradient of a row, to which that of the coarser level adds its share.
template <typename T, typename Real>
WMSCORE_INLINE void write_row(const Real* line, Real scale, int64_t row, int64_t start, int count,
                              int64_t height, int64_t width, const Real* coarse, T* out) {
  out += row * width + start;
  if (coarse == nullptr) {
    for (int i = 0; i < count; ++i) narrow(line[i] * scale, out[i]);
    return;
  }
  // A pixel of the last row or column of an odd side went into its mean twice.
  coarse += row / 2 * ((width + 1) / 2);
  const Real share = height % 2 && row == height - 1 ? Real(0.5) : Real(0.25);
  for (int i = 0; i < count; ++i) {
    const int64_t x = start + i;
    const Real twice = width % 2 && x == width - 1 ? Real(2) : Real(1);
    narrow(line[i] * scale + coarse[x / 2] * share * twice, out[i]);
  }
}

template <int kWindow, typename T, typename Real>
WMSCORE_INLINE void run_window(const Rows<T>& preds, const Rows<T>& target, int64_t height,
                               int64_t width, const Constants<Real>& constants,
                               const double* of_means, double data_range, const Real* coarse_preds,
                               const Real* coarse_target, int64_t first, int64_t last,
                               Workspace<T, Real>& work, T* of_preds, T* of_target) {
  constexpr int kReach = kWindow - 1;
  constexpr int kRing = kWindow + 1;
  Real taps[kWindow / 2 + 1];
  std::copy_n(constants.taps, kWindow / 2 + 1, taps);
  const Shift<Real> shift = {Vector<Real>{} + constants.shift, {}};
  const int64_t position_rows = height - kReach, position_columns = width - kReach;
  const double positions = static_cast<double>(position_rows * position_columns);
  const Real of_ssim = static_cast<Real>(of_means[0] / positions);
  const Real of_cs = static_cast<Real>(of_means[1] / positions);
  const Real of_error = static_cast<Real>(of_means[2] * data_range * data_range);

  for (int64_t start = 0; start < width; start += kLanes<Real> * kMaxSteps) {
    const int count = static_cast<int>(std::min<int64_t>(kLanes<Real> * kMaxSteps, width - start));
    const int steps = (count + kLanes<Real> - 1) / kLanes<Real>;
    const int map_steps = steps + kReach;
    const int span = span_of<Real>(steps, 2 * kReach);
    const int columns = (kLanes<Real> - 1) * steps + span;
    static_assert((kLanes<Real> - 1) * kMaxSteps + kMaxSpan<Real> <= kBlock);
    for (int j = 0; j < map_steps; ++j) {
      for (int i = 0; i < kLanes<Real>; ++i) {
        const int64_t column = start + i * steps + j - kReach;
        work.is_position[j][i] = column >= 0 && column < position_columns;
      }
    }
    // Two rows of maps at a time, of the windows that begin there; the first ones may lie before
    // the frame. Bands begin at even rows and the reach is even, so pairs do not straddle its edge.
    int64_t next_row = std::max<int64_t>(0, first - kReach);
    for (int64_t top = first - kReach; top < last; top += 2) {
      const int64_t newest = std::min(top + kWindow, height - 1);
      for (; next_row <= newest; ++next_row) {
        const Wide<T>* x =
            padded_pixels_of(preds, next_row, start - kReach, columns, width, work.preds);
        const Wide<T>* y =
            padded_pixels_of(target, next_row, start - kReach, columns, width, work.target);
        to_lanes(x, y, steps, span, constants, shift, work.lanes);
        for (int m = 0; m < kMoments; ++m)
          blur_along<kWindow>(taps, m, work.lanes[m], map_steps, work.blurred[next_row % kRing][m]);
        for (int m = 0; m < 2; ++m)
          std::copy_n(work.lanes[m] + kReach, steps, work.pixels[next_row % kRing][m]);
      }
      if (top >= 0) {
        for (int m = 0; m < kMoments; ++m) {
          const Vector<Real>* rows[kRing];
          for (int k = 0; k < kRing; ++k)
            rows[k] = work.blurred[std::min(top + k, newest) % kRing][m];
          blur_down<kWindow>(taps, m, rows, map_steps, work.maps[0][m], work.maps[1][m]);
        }
      }
      for (int r = 0; r < 2; ++r) {
        auto& out = work.blurred_maps[(top + r - first + kReach) % kRing];
        if (top + r < 0 || top + r >= position_rows) {
          for (int m = 0; m < kMoments; ++m) std::fill_n(out[m], steps, Vector<Real>{});
          continue;
        }
        to_maps(work.maps[r], work.is_position, map_steps, constants, of_ssim, of_cs);
        for (int m = 0; m < kMoments; ++m)
          blur_along<kWindow>(taps, 0, work.maps[r][m], steps, out[m]);
      }
      if (top < first) continue;
      for (int m = 0; m < kMoments; ++m) {
        const Vector<Real>* rows[kRing];
        for (int k = 0; k < kRing; ++k) rows[k] = work.blurred_maps[(top - first + k) % kRing][m];
        blur_down<kWindow>(taps, 0, rows, steps, work.sums[0][m], work.sums[1][m]);
      }
      for (int64_t row = top; row < std::min(top + 2, last); ++row) {
        auto& sums = work.sums[row - top];
        const auto& pixels = work.pixels[row % kRing];
        for (int j = 0; j < steps; ++j) {
          const Vector<Real> of_s = sums[0][j] + 2 * pixels[0][j] * sums[2][j];
          const Vector<Real> of_d = sums[1][j] + 2 * pixels[1][j] * (sums[3][j] + of_error);
          sums[0][j] = of_s + of_d;
          sums[1][j] = of_s - of_d;
        }
        from_lanes(sums[0], steps, work.line[0]);
        from_lanes(sums[1], steps, work.line[1]);
        write_row(work.line[0], constants.scale, row, start, count, height, width, coarse_preds,
                  of_preds);
        write_row(work.line[1], constants.scale, row, start, count, height, width, coarse_target,
                  of_target);
      }
    }
  }
}

template <typename T>
WMSCORE_INLINE void run_band(const Plane& preds_plane, const Plane& target_plane, int64_t height,
                             int64_t width, double data_range, bool uniform, const double* of_means,
                             const void* coarse_preds, const void* coarse_target, int64_t band,
                             void* of_preds, void* of_target) {
  using Real = RealOf<T>;
  const Rows<T> preds(preds_plane), target(target_plane);
  const Constants<Real> constants(false, data_range, uniform, 0);
  Workspace<T, Real> work;
  const int64_t first = band * kBandRows;
  const int64_t last = std::min(height, first + kBandRows);
  if (uniform) {
    run_window<kUniformWindow>(preds, target, height, width, constants, of_means, data_range,
                               static_cast<const Real*>(coarse_preds),
                               static_cast<const Real*>(coarse_target), first, last, work,
                               static_cast<T*>(of_preds), static_cast<T*>(of_target));
  } else {
    run_window<kGaussianWindow>(preds, target, height, width, constants, of_means, data_range,
                                static_cast<const Real*>(coarse_preds),
                                static_cast<const Real*>(coarse_target), first, last, work,
                                static_cast<T*>(of_preds), static_cast<T*>(of_target));
  }
}

template <typename T>
WMSCORE_INLINE void halve_plane(const Plane& plane, int64_t height, int64_t width, void* halved) {
  Wide<T> above[kBlock], below[kBlock];
  halve(Rows<T>(plane), height, width, 0, height, above, below, static_cast<RealOf<T>*>(halved));
}

// The attribute takes no template, hence functions for each type.
#define WMSCORE_BACKWARD(name, T)                                                                \
  WMSCORE_CLONES void run_##name(                                                                \
      const Plane& preds, const Plane& target, int64_t height, int64_t width, double data_range, \
      bool uniform, const double* of_means, const void* coarse_preds, const void* coarse_target, \
      int64_t band, void* of_preds, void* of_target) {                                           \
    run_band<T>(preds, target, height, width, data_range, uniform, of_means, coarse_preds,       \
                coarse_target, band, of_preds, of_target);                                       \
  }                                                                                              \
  WMSCORE_CLONES void halve_##name(const Plane& plane, int64_t height, int64_t width,            \
                                   void* halved) {                                               \
    halve_plane<T>(plane, height, width, halved);                                                \
  }
WMSCORE_BACKWARD(float16, Half)
WMSCORE_BACKWARD(bfloat16, Bfloat16)
WMSCORE_BACKWARD(float32, float)
WMSCORE_BACKWARD(float64, double)

}  // namespace

int64_t wmscore_frame_ssim_backward_bands(int64_t height) {
  return (height + kBandRows - 1) / kBandRows;
}

void wmscore_frame_ssim_backward_cpu(Element element, Plane preds, Plane target, int64_t height,
                                     int64_t width, double data_range, bool uniform,
                                     const double* of_means, const void* coarse_preds,
                                     const void* coarse_target, int64_t band, void* of_preds,
                                     void* of_target) {
  const auto run = element == Element::kFloat16    ? run_float16
                   : element == Element::kBfloat16 ? run_bfloat16
                   : element == Element::kFloat32  ? run_float32
                                                   : run_float64;
  run(preds, target, height, width, data_range, uniform, of_means, coarse_preds, coarse_target,
      band, of_preds, of_target);
}

void wmscore_halve_cpu(Element element, Plane plane, int64_t height, int64_t width, void* halved) {
  const auto run = element == Element::kFloat16    ? halve_float16
                   : element == Element::kBfloat16 ? halve_bfloat16
                   : element == Element::kFloat32  ? halve_float32
                                                   : halve_float64;
  run(plane, height, width, halved);
}
