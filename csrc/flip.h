// FLIP (Andersson et al. 2020): its filters and the formulas of one pixel, which the kernels share.
// wmscore/ops/frame_flip.py says the same in float64 and plain torch.
#pragma once

#include <cmath>
#include <cstdint>

#include "half.h"

// Formulas of one pixel have no branch and are inlined, so that the loop around them vectorises.
#ifdef __CUDACC__
#define WMSCORE_PIXEL __host__ __device__ __forceinline__
#else
#define WMSCORE_PIXEL inline __attribute__((always_inline))
#endif

namespace wmscore {

constexpr int kFlipReach = 28;  // pixels to one side of the widest filter, at 200 per degree

// One half of a filter with its centre: tap k is for the offset k. The other half is the same, or
// the same with the other sign (FlipFilters::edge).
using FlipTaps = float[kFlipReach + 1];

struct FlipFilters {
  int32_t reach;          // of all filters
  int32_t chroma_reach;   // of red_green
  int32_t feature_reach;  // of smooth, edge and point, and of brightness, which is narrower
  // Contrast sensitivity. Blue-yellow is the sum of two filters, each separable.
  FlipTaps brightness;
  FlipTaps red_green;
  FlipTaps blue_yellow[2];
  // A Gaussian and its first two derivatives.
  FlipTaps smooth;
  FlipTaps edge;
  FlipTaps point;
  float largest_difference;  // of two colours, see flip_error
};

// Brightness, red-green and blue-yellow: linear in linear RGB.
struct Opponent {
  float y, cx, cz;
};

// CIELAB with Hunt's adjustment: colours fade in the dark.
struct HuntLab {
  float lightness, a, b;
};

// What the eye makes of a pixel: its colour, and how much of an edge and of a point it is.
struct Seen {
  HuntLab lab;
  float edge, point;
};

// Powers. On a device its library has them; on a CPU the library's do not vectorise.

// log2 of a positive, normal number, to 2^-23 of the larger of the result and 1.
WMSCORE_PIXEL float fast_log2(float x) {
  constexpr uint32_t kHalfRoot = 0x3f3504f3u;  // sqrt(1/2)
  const uint32_t shifted = bits_from_float(x) - kHalfRoot;
  const int32_t exponent = static_cast<int32_t>(shifted) >> 23;
  const float mantissa = float_from_bits((shifted & 0x7fffffu) + kHalfRoot);
  // ln m = 2 artanh s, |s| <= 0.172, and its series up to s^9.
  const float s = (mantissa - 1.0f) / (mantissa + 1.0f);
  const float t = s * s;
  const float series = 1.0f + t * (1.0f / 3 + t * (1.0f / 5 + t * (1.0f / 7 + t * (1.0f / 9))));
  constexpr float kTwoOverLn2 = 2.885390082f;
  return static_cast<float>(exponent) + kTwoOverLn2 * s * series;
}

// 2^x for |x| < 126.
WMSCORE_PIXEL float fast_exp2(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: its last bit is worth 1
  const float shifted = x + kRound;
  const float f = (x - (shifted - kRound)) * 0.6931471806f;  // |f| <= 0.347
  const float series =
      1.0f +
      f * (1.0f +
           f * (1.0f / 2 +
                f * (1.0f / 6 +
                     f * (1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720 + f * (1.0f / 5040)))))));
  return float_from_bits(bits_from_float(series) + (bits_from_float(shifted) << 23));
}

// x^exponent for x > 0 and an exponent in (0, 3); 0 for x = 0.
WMSCORE_PIXEL float power(float x, float exponent) {
#ifdef __CUDA_ARCH__
  return powf(x, exponent);
#else
  constexpr float kTiny = 1e-12f;  // far below a difference that counts
  const float positive = x < kTiny ? kTiny : x;
  const float result = fast_exp2(exponent * fast_log2(positive));
  return x < kTiny ? 0.0f : result;
#endif
}

// For x in [2^-10, 2].
WMSCORE_PIXEL float cube_root(float x) {
#ifdef __CUDA_ARCH__
  return cbrtf(x);
#else
  // x^(-1/3) to 4 %, since the bits of a float are nearly a logarithm; then Newton's steps without
  // a division, which take the error e to 2 e^2.
  const float third = static_cast<float>(static_cast<int32_t>(bits_from_float(x))) * (1.0f / 3);
  float r = float_from_bits(static_cast<uint32_t>(static_cast<int32_t>(1419967116.0f - third)));
  r *= 4.0f / 3 - (x * r) * (r * r) * (1.0f / 3);
  r *= 4.0f / 3 - (x * r) * (r * r) * (1.0f / 3);
  r *= 4.0f / 3 - (x * r) * (r * r) * (1.0f / 3);
  return x * (r * r);
#endif
}

WMSCORE_PIXEL float clamp01(float x) {
  const float positive = x < 0.0f ? 0.0f : x;  // in this order a NaN stays
  return positive > 1.0f ? 1.0f : positive;
}

// sRGB in [0, 1] to linear.
WMSCORE_PIXEL float linear_of_srgb(float value) {
  const float dark = value * (1.0f / 12.92f);
  const float bright = power((value + 0.055f) * (1.0f / 1.055f), 2.4f);
  return value <= 0.04045f ? dark : bright;
}

WMSCORE_PIXEL Opponent opponent_of_linear(float r, float g, float b) {
  // The rows of linear RGB to XYZ, where white (D65) is (1, 1, 1), and their differences.
  constexpr double kX[] = {10135552. / 23359437, 8788810. / 23359437, 4435075. / 23359437};
  constexpr double kY[] = {2613072. / 12288897, 8788810. / 12288897, 887015. / 12288897};
  constexpr double kZ[] = {1425312. / 80288307, 8788810. / 80288307, 70074185. / 80288307};
  constexpr float kCx[] = {float(kX[0] - kY[0]), float(kX[1] - kY[1]), float(kX[2] - kY[2])};
  constexpr float kCz[] = {float(kY[0] - kZ[0]), float(kY[1] - kZ[1]), float(kY[2] - kZ[2])};
  return {float(kY[0]) * r + float(kY[1]) * g + float(kY[2]) * b,
          kCx[0] * r + kCx[1] * g + kCx[2] * b, kCz[0] * r + kCz[1] * g + kCz[2] * b};
}

WMSCORE_PIXEL float lab_curve(float t) {
  constexpr float kDelta = 6.0f / 29;
  constexpr float kKnee = kDelta * kDelta * kDelta;
  const float dark = t * (1 / (3 * kDelta * kDelta)) + 4.0f / 29;
  const float bright = cube_root(t < kKnee ? kKnee : t);
  return t > kKnee ? bright : dark;
}

// A product that no sum absorbs. Where the difference of two products is taken, one of them would
// otherwise be rounded and the other one not, and equal pixels would differ. (A CPU kernel stores
// them first.)
WMSCORE_PIXEL float rounded_product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

WMSCORE_PIXEL HuntLab hunt_lab(float r, float g, float b) {
  const Opponent linear = opponent_of_linear(r, g, b);
  const float x = lab_curve(linear.y + linear.cx);
  const float y = lab_curve(linear.y);
  const float z = lab_curve(linear.y - linear.cz);
  const float lightness = 116.0f * y - 16.0f;
  return {lightness, rounded_product(lightness, 5.0f * (x - y)),
          rounded_product(lightness, 2.0f * (y - z))};
}

// From a filtered colour, of which only what a display can show counts, and from the squared
// lengths of the gradients of the two detectors.
WMSCORE_PIXEL Seen seen_of(const Opponent& colour, float edge_squared, float point_squared) {
  // The inverse of linear RGB to XYZ, for (y + cx, y, y - cz): its rows sum to 1.
  const float y = colour.y, cx = colour.cx, cz = colour.cz;
  return {hunt_lab(clamp01(y + 3.0803419882804604f * cx + 0.5429430187916752f * cz),
                   clamp01(y - 0.9211783961651235f * cx - 0.04524841246994758f * cz),
                   clamp01(y + 0.05288129287554324f * cx - 1.1511299132483668f * cz)),
          sqrtf(edge_squared), sqrtf(point_squared)};
}

// HyAB distance to the power of 0.7.
WMSCORE_PIXEL float colour_difference(const HuntLab& preds, const HuntLab& target) {
  const float a = preds.a - target.a, b = preds.b - target.b;
  return power(fabsf(preds.lightness - target.lightness) + sqrtf(a * a + b * b), 0.7f);
}

// Error of a pixel; `largest_difference` is that of two colours.
WMSCORE_PIXEL float flip_error(const Seen& preds, const Seen& target, float largest_difference) {
  constexpr float kKnee = 0.4f, kErrorAtKnee = 0.95f;
  const float share = colour_difference(preds.lab, target.lab) / largest_difference;
  const float small = share * (kErrorAtKnee / kKnee);
  const float large = kErrorAtKnee + (share - kKnee) * ((1 - kErrorAtKnee) / (1 - kKnee));
  const float colour = share < kKnee ? small : large;
  const float edge = fabsf(preds.edge - target.edge);
  const float point = fabsf(preds.point - target.point);
  const float feature = sqrtf((edge > point ? edge : point) * 0.7071067812f);
  return power(colour, 1.0f - feature);
}

// Half of Σ a sqrt(π / b) exp(-π² x² / b) in float64, up to a factor.
inline void gaussian_taps(double a, double b, double pixels_per_degree, int reach, double* taps) {
  constexpr double kPi = 3.14159265358979323846;
  for (int k = 0; k <= reach; ++k) {
    const double x = k / pixels_per_degree;
    taps[k] = std::sqrt(a * std::sqrt(kPi / b)) * std::exp(-kPi * kPi * x * x / b);
  }
}

inline double sum_of_halves(const double* taps, int reach) {
  double sum = 0;
  for (int k = 1; k <= reach; ++k) sum += taps[k];
  return taps[0] + 2 * sum;
}

// A filter that sums to 1, without the taps that float32 does not feel. Returns its reach.
inline int32_t unit_taps(double a, double b, double pixels_per_degree, int reach, FlipTaps& out) {
  double taps[kFlipReach + 1] = {};
  gaussian_taps(a, b, pixels_per_degree, reach, taps);
  const double sum = sum_of_halves(taps, reach);
  int32_t last = 0;
  for (int k = 0; k <= reach; ++k) {
    out[k] = static_cast<float>(taps[k] / sum);
    if (taps[k] > 1e-9 * taps[0]) last = k;
  }
  return last;
}

// Needs 1 <= pixels_per_degree <= 200.
inline FlipFilters flip_filters(double pixels_per_degree) {
  constexpr double kPi = 3.14159265358979323846;
  FlipFilters filters = {};
  const int reach =
      static_cast<int>(std::ceil(3 * std::sqrt(0.04 / (2 * kPi * kPi)) * pixels_per_degree));
  const double deviation = 0.082 / 2 * pixels_per_degree;
  const int feature_reach = static_cast<int>(std::ceil(3 * deviation));
  filters.reach = reach;
  filters.feature_reach = feature_reach;
  unit_taps(1.0, 0.0047, pixels_per_degree, reach, filters.brightness);
  filters.chroma_reach = unit_taps(1.0, 0.0053, pixels_per_degree, reach, filters.red_green);

  double wide[kFlipReach + 1] = {}, narrow[kFlipReach + 1] = {};
  gaussian_taps(34.1, 0.04, pixels_per_degree, reach, wide);
  gaussian_taps(13.5, 0.025, pixels_per_degree, reach, narrow);
  // Over both dims the two products sum to 1.
  const double length = std::hypot(sum_of_halves(wide, reach), sum_of_halves(narrow, reach));
  for (int k = 0; k <= reach; ++k) {
    filters.blue_yellow[0][k] = static_cast<float>(wide[k] / length);
    filters.blue_yellow[1][k] = static_cast<float>(narrow[k] / length);
  }

  double smooth[kFlipReach + 1] = {}, edge[kFlipReach + 1] = {}, point[kFlipReach + 1] = {};
  double edge_half = 0, positive = 0, negative = 0;
  for (int k = 0; k <= feature_reach; ++k) {
    const double ratio = k / deviation;
    smooth[k] = std::exp(-ratio * ratio / 2);
    edge[k] = k * smooth[k];
    point[k] = (ratio * ratio - 1) * smooth[k];
    edge_half += edge[k];
    (point[k] > 0 ? positive : negative) += (k == 0 ? 1 : 2) * std::fabs(point[k]);
  }
  const double sum = sum_of_halves(smooth, feature_reach);
  for (int k = 0; k <= feature_reach; ++k) {
    filters.smooth[k] = static_cast<float>(smooth[k] / sum);
    filters.edge[k] = static_cast<float>(edge[k] / edge_half);
    filters.point[k] = static_cast<float>(point[k] / (point[k] > 0 ? positive : negative));
  }
  // Green and blue are the two colours of sRGB that are furthest apart.
  filters.largest_difference =
      colour_difference(hunt_lab(0.0f, 1.0f, 0.0f), hunt_lab(0.0f, 0.0f, 1.0f));
  return filters;
}

}  // namespace wmscore
