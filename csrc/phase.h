// What the kernels of global motion agree on, with wmscore/ops/phase.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "half.h"

namespace wmscore {

constexpr float kLevelRed = 77.f / 256, kLevelGreen = 150.f / 256, kLevelBlue = 29.f / 256;
constexpr double kSoftEdge = 0.05;  // levels
constexpr double kPi = 3.14159265358979323846;
constexpr double kLowPass = 1 / (2 * 0.2 * 0.2);  // of a squared frequency in cycles per pixel
constexpr double kTie = 1e-4;
constexpr int kRefineRounds = 8;
constexpr int64_t kRefineMargin = 3;  // pixels
constexpr double kTukey = 3.75;
constexpr double kFirstSlack = 0.25, kLastSlack = 0.05;  // pixels
constexpr double kRefineDamping = 1e-4;
constexpr double kLongestStep = 0.7, kFarthest = 1.5;  // pixels

// The square of the frequency k / side at a place, -side / 2 <= k < side / 2.
template <typename T>
WMSCORE_HOST_DEVICE inline T squared_frequency(int64_t place, int64_t side) {
  const T frequency = static_cast<T>(place < (side + 1) / 2 ? place : place - side) / side;
  return frequency * frequency;
}

// sin² of the Hann window without its zeros, at place 0 <= i < length.
template <typename T>
WMSCORE_HOST_DEVICE inline T hann(int64_t place, int64_t length) {
  const T wave = sin(static_cast<T>(kPi) * (place + 1) / (length + 1));
  return wave * wave;
}

WMSCORE_HOST_DEVICE inline double ratio(double over, double under) {
  return under == 0 ? 0 : over / under;
}

WMSCORE_HOST_DEVICE inline double within(double value, double bound) {
  return value < -bound ? -bound : value > bound ? bound : value;  // NaN stays
}

WMSCORE_HOST_DEVICE inline int64_t clamp_index(int64_t index, int64_t side) {
  return index < 0 ? 0 : index < side ? index : side - 1;
}

// One axis of the part that two frames share: places first..last - 1 of the first one.
struct SharedSide {
  int64_t shift, start, length, first, last;

  WMSCORE_HOST_DEVICE static SharedSide of(int64_t side, int64_t shift) {
    SharedSide axis;
    // Beyond the frame there is no overlap, however far.
    axis.shift = shift < -side ? -side : shift > side ? side : shift;
    axis.start = axis.shift < 0 ? -axis.shift : 0;
    axis.length = side - (axis.shift < 0 ? -axis.shift : axis.shift);
    axis.first = kRefineMargin + axis.start;
    axis.last = side - kRefineMargin - (axis.shift > 0 ? axis.shift : 0);
    if (axis.last < axis.first) axis.last = axis.first;
    return axis;
  }

  template <typename T>
  WMSCORE_HOST_DEVICE T window(int64_t place) const {
    return hann<T>(place - start, length);
  }
};

// Where a step of a fraction of a pixel reads: six points from `first` on.
template <typename T>
struct Taps {
  int64_t first;
  T weight[6];

  WMSCORE_HOST_DEVICE static Taps of(double step) {
    Taps taps;
    const double whole = step == step ? floor(step) : 0;
    taps.first = static_cast<int64_t>(whole) - 2;
    const double part = step - whole;
    for (int k = -2; k < 4; ++k) {
      double weight = 1;
      for (int other = -2; other < 4; ++other) {
        if (other != k) weight = weight * (part - other) / (k - other);
      }
      taps.weight[k + 2] = static_cast<T>(weight);
    }
    return taps;
  }
};

// Weighted sums of one round: of products of the gradient (y, x) and the residual, of the residual
// and its size, and of the weight itself.
enum RefineSum : int { kYY, kXX, kYX, kY, kX, kResidual, kAbsolute, kKept, kRefineSums };

WMSCORE_HOST_DEVICE inline void take_step(const double* sums, double& y, double& x) {
  const double damping = kRefineDamping * (sums[kYY] + sums[kXX]);
  const double yy = sums[kYY] + damping, xx = sums[kXX] + damping, yx = sums[kYX];
  const double determinant = yy * xx - yx * yx;
  const double by_y = ratio(yx * sums[kX] - xx * sums[kY], determinant);
  const double by_x = ratio(yx * sums[kY] - yy * sums[kX], determinant);
  y = within(y + within(by_y, kLongestStep), kFarthest);
  x = within(x + within(by_x, kLongestStep), kFarthest);
}

WMSCORE_HOST_DEVICE inline double slack_of(int turn) {
  const double slack = kFirstSlack / (1 << turn);
  return slack > kLastSlack ? slack : kLastSlack;
}

}  // namespace wmscore
