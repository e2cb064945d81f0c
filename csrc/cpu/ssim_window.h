// The window of SSIM and its constants, in the arithmetic of a kernel.
#pragma once

#include <cmath>
#include <type_traits>
#include <utility>

#include "../half.h"

namespace wmscore::ssim {

constexpr int kGaussianWindow = 11;
constexpr int kUniformWindow = 7;
constexpr double kSigma = 1.5;
constexpr double kK1 = 0.01;
constexpr double kK2 = 0.03;

// Pixels of T wide enough to compute with, and what to compute with.
template <typename T>
using Wide = decltype(widen(std::declval<T>()));
template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Integers are taken as they are, other pixels in units of the data range. `shift` is the middle of
// the range of the sum of two pixels; `c1` and `c2` are twice those of the formula.
template <typename Real>
struct Constants {
  Real taps[kGaussianWindow / 2 + 1];  // from the end of the window to its centre
  Real scale, shift, c1, c2;

  // At `level` 0 an integer pixel is a pixel, at level k the sum of 4^k of them.
  Constants(bool is_integer, double data_range, bool uniform, int level) : taps{} {
    const int half = (uniform ? kUniformWindow : kGaussianWindow) / 2;
    double weights[kGaussianWindow / 2 + 1];
    double total = 0;
    for (int k = 0; k <= half; ++k) {
      const double offset = half - k;
      weights[k] = uniform ? 1 : std::exp(-offset * offset / (2 * kSigma * kSigma));
      total += k < half ? 2 * weights[k] : weights[k];
    }
    // Once rounded they must still sum to 1: a flat frame would have a variance otherwise.
    double rest = 1;
    for (int k = 0; k < half; ++k) {
      taps[k] = static_cast<Real>(weights[k] / total);
      rest -= 2 * static_cast<double>(taps[k]);
    }
    taps[half] = static_cast<Real>(rest);
    const double pixels = is_integer ? std::ldexp(1.0, 2 * level) : 1;
    const double range = is_integer ? data_range * pixels : 1;
    scale = is_integer ? Real(1) : static_cast<Real>(1 / data_range);
    shift = is_integer ? static_cast<Real>(255 * pixels) : Real(1);
    // Their product must stay a normal number, whatever the range that was asked for.
    c1 = static_cast<Real>(std::fmax(2 * kK1 * range * kK1 * range, 1e-18));
    c2 = static_cast<Real>(std::fmax(2 * kK2 * range * kK2 * range, 1e-18));
  }
};

}  // namespace wmscore::ssim
