// What the forward and the backward pass of SSIM share on a CPU: rows of pixels, their way into the
// lanes of vectors, and the window.
//
// A strip of columns is cut into as many segments as a vector has lanes, and lane i walks along
// segment i. The neighbours of a column are then the vectors before and after: both passes of the
// separable window load whole aligned vectors, each of them once for two results, and add
// symmetric pixels before they multiply.
//
// Moments are those of the sum and of the difference of both frames, as in the torch function: the
// difference of similar frames is small, and with it every rounding error. Each lane may take a
// constant off its sums and its differences, so that their squares are small where it is flat; and
// the difference, on whose variance all depends, is blurred so that flat regions are exact
// (blur_two): of E[d^2] - E[d]^2 for flat d = 255 plain float32 leaves an error of 7e-5 in SSIM.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "ssim_window.h"
#include "vectors.h"

namespace wmscore::ssim {

constexpr int kMoments = 4;   // of s, d, s^2, d^2
constexpr int kBlock = 1024;  // pixels gathered at a time; even

// A segment and the reach of the window, in whole blocks of a transposition.
template <typename Real>
constexpr int span_of(int steps, int reach) {
  return (steps + reach + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
}

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

// Rows [first, last) of one plane to rows [first / 2, ...) of the next scale: sums of 2 x 2 integer
// pixels, means of others. At the end of an odd side the edge counts twice. `above` and `below` are
// scratch of kBlock pixels.
template <typename T, typename Half>
WMSCORE_INLINE void halve(const Rows<T>& rows, int64_t height, int64_t width, int64_t first,
                          int64_t last, Wide<T>* above, Wide<T>* below, Half* halved) {
  using Sum = std::conditional_t<std::is_integral_v<T>, uint32_t, RealOf<T>>;
  constexpr Sum kShare = std::is_integral_v<T> ? Sum(1) : Sum(0.25);
  for (int64_t row = first; row < last; row += 2) {
    Half* const out = halved + row / 2 * ((width + 1) / 2);
    for (int64_t start = 0; start < width; start += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, width - start));
      const Wide<T>* a = pixels_of(rows, row, start, count, above);
      const Wide<T>* b = pixels_of(rows, std::min(row + 1, height - 1), start, count, below);
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

// ---- from pixels to lanes ------------------------------------------------------------------

template <typename Real>
struct Shift {
  Vector<Real> sum, difference;
};

// lanes[m] is moment m; `Lanes` is an array of arrays of vectors.
template <typename Real, typename Lanes>
WMSCORE_INLINE void store_moments(const Vector<Real>& preds, const Vector<Real>& target,
                                  const Shift<Real>& shift, int j, Lanes& lanes) {
  const Vector<Real> sum = preds + target - shift.sum;
  const Vector<Real> difference = preds - target - shift.difference;
  lanes[0][j] = sum;
  lanes[1][j] = difference;
  lanes[2][j] = sum * sum;
  lanes[3][j] = difference * difference;
}

// Column j of segment i, i * steps + j of the strip, goes to lane i of vector j.
template <typename Lanes>
WMSCORE_INLINE void to_lanes(const uint8_t* x, const uint8_t* y, int steps, int span,
                             const Constants<float>&, const Shift<float>& shift, Lanes& lanes) {
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
      store_moments<float>(__builtin_convertvector(p, Vector<float>),
                           __builtin_convertvector(t, Vector<float>), shift, j + i, lanes);
    }
  }
}

template <typename Lanes>
WMSCORE_INLINE void to_lanes(const uint16_t* x, const uint16_t* y, int steps, int span,
                             const Constants<float>&, const Shift<float>& shift, Lanes& lanes) {
  for (int j = 0; j < span; j += 8) {
    UShorts8 p[8], t[8];
    for (int i = 0; i < 8; ++i) {
      load(p[i], x + i * steps + j);
      load(t[i], y + i * steps + j);
    }
    transpose(p);
    transpose(t);
    for (int i = 0; i < 8; ++i) {
      const Vector<float> preds = __builtin_convertvector(p[i], Vector<float>);
      const Vector<float> target = __builtin_convertvector(t[i], Vector<float>);
      store_moments<float>(preds, target, shift, j + i, lanes);
    }
  }
}

template <typename Real, typename Lanes>
WMSCORE_INLINE void to_lanes(const Real* x, const Real* y, int steps, int span,
                             const Constants<Real>& constants, const Shift<Real>& shift,
                             Lanes& lanes) {
  for (int j = 0; j < span; j += kLanes<Real>) {
    Vector<Real> p[kLanes<Real>], t[kLanes<Real>];
    for (int i = 0; i < kLanes<Real>; ++i) load(p[i], x + i * steps + j);
    transpose(p);
    for (int i = 0; i < kLanes<Real>; ++i) load(t[i], y + i * steps + j);
    transpose(t);
    for (int i = 0; i < kLanes<Real>; ++i) {
      store_moments<Real>(p[i] * constants.scale, t[i] * constants.scale, shift, j + i, lanes);
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

// Two results of the window that are next to each other, from kWindow + 1 vectors. With kFlat what
// differs from the centre is weighted instead of the vectors themselves: slower by half, but the
// mean of equal vectors is exact.
template <int kWindow, bool kFlat, typename Real, typename At>
WMSCORE_INLINE void blur_two(const Real* taps, const At& at, Vector<Real>& first,
                             Vector<Real>& second) {
  constexpr int kHalf = kWindow / 2;
  const Vector<Real> centre_a = at(kHalf), centre_b = at(kHalf + 1);
  const Vector<Real> off_a = kFlat ? centre_a + centre_a : Vector<Real>{};
  const Vector<Real> off_b = kFlat ? centre_b + centre_b : Vector<Real>{};
  const auto bend = [](const Vector<Real>& pair, const Vector<Real>& off)
                        __attribute__((always_inline)) { return kFlat ? pair - off : pair; };
  Vector<Real> low = at(1), high = at(kWindow - 1);
  Vector<Real> a = taps[0] * bend(at(0) + high, off_a);
  Vector<Real> b = taps[0] * bend(low + at(kWindow), off_b);
  for (int k = 1; k < kHalf; ++k) {
    const Vector<Real> next_low = at(k + 1), next_high = at(kWindow - 1 - k);
    a += taps[k] * bend(low + next_high, off_a);
    b += taps[k] * bend(next_low + high, off_b);
    low = next_low;
    high = next_high;
  }
  const Real centre = kFlat ? Real(1) : taps[kHalf];
  first = a + centre * centre_a;
  second = b + centre * centre_b;
}

// The window along a row of `steps` results of moment m. An odd number goes one too far: there must
// be room.
template <int kWindow, typename Real>
WMSCORE_INLINE void blur_along(const Real* taps, int m, const Vector<Real>* in, int steps,
                               Vector<Real>* out) {
  if (m % 2 == 1) {
    for (int j = 0; j < steps; j += 2)
      blur_two<kWindow, true>(taps, Column<Real>{in + j}, out[j], out[j + 1]);
  } else {
    for (int j = 0; j < steps; j += 2)
      blur_two<kWindow, false>(taps, Column<Real>{in + j}, out[j], out[j + 1]);
  }
}

// The window down kWindow + 1 rows, to two rows.
template <int kWindow, typename Real>
WMSCORE_INLINE void blur_down(const Real* taps, int m, const Vector<Real>* const* rows, int steps,
                              Vector<Real>* first, Vector<Real>* second) {
  if (m % 2 == 1) {
    for (int j = 0; j < steps; ++j)
      blur_two<kWindow, true>(taps, Across<Real>{rows, j}, first[j], second[j]);
  } else {
    for (int j = 0; j < steps; ++j)
      blur_two<kWindow, false>(taps, Across<Real>{rows, j}, first[j], second[j]);
  }
}

// The square of a mean, rounded like the squares of pixels are: a product that is fused into the
// subtraction from them would not cancel.
template <typename Real>
WMSCORE_INLINE void square(const Vector<Real>& mean, Vector<Real>& squared) {
  squared = mean * mean;
#if defined(__GNUC__)
  asm("" : "+m"(squared));
#endif
}

}  // namespace wmscore::ssim
