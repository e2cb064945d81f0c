// What the HaarPSI kernels share: its constants, the colour matrix and the similarity of responses.
#pragma once

#include <cstdint>

#include "half.h"

// Vectors must not be passed through a call: how that is done depends on the processor.
#if defined(__GNUC__) && !defined(__CUDACC__)
#define WMSCORE_HAARPSI inline __attribute__((always_inline))
#else
#define WMSCORE_HAARPSI WMSCORE_HOST_DEVICE inline
#endif

namespace wmscore {

// Planes are kept in units of 1000 / 1024 of a level, so that for uint8 frames the matrix, whose
// entries are thousandths, and all sums over windows up to 8 x 8 at full size and up to 4 x 4 at
// half size are exact in float.
constexpr float kHaarpsiUnit = 1000.0f / 1024.0f;  // of luma and chroma, per level
constexpr float kHaarpsiThousandth = 1.0f / 1024.0f;

// C = 30 in the units of a Haar response that is a plain sum: the response of scale s, which the
// definition divides by 2^s, or four times the mean of 2 x 2.
constexpr float haarpsi_c(float divisor) {
  return 30.0f * (kHaarpsiUnit * divisor) * (kHaarpsiUnit * divisor);
}
constexpr float kHaarpsiFineC = haarpsi_c(2.0f);
constexpr float kHaarpsiMiddleC = haarpsi_c(4.0f);
constexpr float kHaarpsiChromaC = haarpsi_c(4.0f);
constexpr double kHaarpsiWeight = 1.0 / (8.0 * kHaarpsiUnit);  // of a plain sum at scale 3

// How far values reach before and after the pixel that they are for: the window of 8 x 8.
constexpr int kHaarpsiBefore = 3;
constexpr int kHaarpsiAfter = 4;

// F is float or a vector of floats.

template <typename F>
struct Yiq {
  F y, i, q;
};

template <typename F>
WMSCORE_HAARPSI Yiq<F> yiq_of(F red, F green, F blue) {
  constexpr float k = kHaarpsiThousandth;
  return {299.0f * k * red + 587.0f * k * green + 114.0f * k * blue,
          596.0f * k * red - 274.0f * k * green - 322.0f * k * blue,
          211.0f * k * red - 523.0f * k * green + 312.0f * k * blue};
}

// The responses of a window from the sums of its quarters, up to their sign.
template <typename F>
struct Haar {
  F vertical, horizontal;
};

template <typename F>
WMSCORE_HAARPSI Haar<F> haar_of(F top_left, F top_right, F bottom_left, F bottom_right) {
  return {(bottom_left + bottom_right) - (top_left + top_right),
          (top_right + bottom_right) - (top_left + bottom_left)};
}

// sigmoid(4.2) - sigmoid(4.2 s) for s = 1 - twice / 2, twice in 0..2: a product that is exactly 0
// for s = 1 and within 4e-7 of the value, relatively, everywhere. The polynomial in v = twice - 1
// is the Chebyshev interpolation of degree 13 of (sigmoid(4.2) - sigmoid(2.1 - 2.1 v)) / (v + 1).
template <typename F>
WMSCORE_HAARPSI F sigmoid_loss(F twice) {
  const F v = twice - 1.0f;
  F p = 5.7624115e-05f * v + 1.933923e-05f;
  p = p * v - 3.495927e-04f;
  p = p * v - 4.2611716e-04f;
  p = p * v + 5.570688e-04f;
  p = p * v + 2.0321766e-03f;
  p = p * v + 2.071055e-03f;
  p = p * v - 2.120636e-03f;
  p = p * v - 1.0866197e-02f;
  p = p * v - 1.5003374e-02f;
  p = p * v + 4.7668964e-03f;
  p = p * v + 5.7765856e-02f;
  p = p * v + 1.0978609e-01f;
  p = p * v + 9.432279e-02f;
  return twice * p;
}

// The loss at one pixel of a map whose similarity is the mean of two: magnitude a1 is compared with
// b1, and a2 with b2. 1 - (2 a b + C) / (a² + b² + C) = (a - b)² / (a² + b² + C), and the fractions
// are added before they are divided.
template <typename F>
WMSCORE_HAARPSI F haarpsi_loss(F a1, F b1, float c1, F a2, F b2, float c2) {
  const F difference1 = a1 - b1;
  const F difference2 = a2 - b2;
  const F energy1 = a1 * a1 + b1 * b1 + c1;
  const F energy2 = a2 * a2 + b2 * b2 + c2;
  return sigmoid_loss<F>(
      (difference1 * difference1 * energy2 + difference2 * difference2 * energy1) /
      (energy1 * energy2));
}

}  // namespace wmscore
