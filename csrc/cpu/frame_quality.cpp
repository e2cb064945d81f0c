// What frames say about their own quality, in one read: a band of rows is walked in strips of
// columns, with the luma of three rows at hand.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "../half.h"
#include "../kernels.h"
#include "../quality.h"
#include "clones.h"
#include "frame_quality_avx2.h"

namespace {

using namespace wmscore;  // the columns of the sums

// Columns taken at a time: channels, their predecessors and three rows of luma stay in the
// first-level cache.
template <typename T>
constexpr int32_t kStrip = 256;
template <>
constexpr int32_t kStrip<uint8_t> = 1024;
static_assert(kStrip<uint8_t> % kGrid == 0 && kStrip<double> % kGrid == 0);
static_assert(kStrip<uint8_t> / 32 * 3 <= 255, "Avx2Rows counts clipped values in bytes");
static_assert(kStrip<uint8_t> * 255 * 255 * 2 <= INT32_MAX, "a row's sums must fit 32 bits");

// Sums over one row of a strip, in plain C++. Values are uint8 or float or double.
template <typename T>
class Rows {
  static constexpr bool kIsInteger = std::is_same_v<T, uint8_t>;

 public:
  using Luma = std::conditional_t<kIsInteger, uint16_t, double>;
  using Sum = std::conditional_t<kIsInteger, int64_t, double>;

  // All columns of one pixel alone; writes the luma.
  WMSCORE_INLINE void colours(const T* const* rgb, int32_t count, Luma* luma, Sum* sums) {
    const T *red = rgb[0], *green = rgb[1], *blue = rgb[2];
    constexpr Value kTop = kIsInteger ? 255 : 1;
    Value r_sum = 0, g_sum = 0, b_sum = 0, rr = 0, gg = 0, bb = 0, rg = 0, gb = 0, br = 0,
          chroma = 0;
    int32_t low = 0, high = 0;
#pragma omp simd reduction(+ : r_sum, g_sum, b_sum, rr, gg, bb, rg, gb, br, chroma, low, high)
    for (int32_t i = 0; i < count; ++i) {
      const Value r = red[i], g = green[i], b = blue[i];
      r_sum += r;
      g_sum += g;
      b_sum += b;
      rr += r * r;
      gg += g * g;
      bb += b * b;
      rg += r * g;
      gb += g * b;
      br += b * r;
      // Twice max - min of the three.
      chroma += std::abs(r - g) + std::abs(g - b) + std::abs(b - r);
      low += (r <= 0) + (g <= 0) + (b <= 0);
      high += (r >= kTop) + (g >= kTop) + (b >= kTop);
      luma[i] = static_cast<Luma>(kLumaRed * r + kLumaGreen * g + kLumaBlue * b);
    }
    const Value of_row[] = {r_sum, g_sum, b_sum, rr, gg, bb, rg, gb, br, chroma / 2};
    for (int k = 0; k <= kChroma; ++k) sums[k] += of_row[k];
    sums[kLow] += low;
    sums[kHigh] += high;
  }

  // One channel against the frame before.
  WMSCORE_INLINE void change(const T* frame, const T* previous, int32_t count, Sum* sums) {
    Value absolute = 0, squared = 0;
#pragma omp simd reduction(+ : absolute, squared)
    for (int32_t i = 0; i < count; ++i) {
      const Value difference = static_cast<Value>(frame[i]) - static_cast<Value>(previous[i]);
      absolute += std::abs(difference);
      squared += difference * difference;
    }
    sums[kAbsoluteChange] += absolute;
    sums[kSquaredChange] += squared;
  }

  // Steps from each of `count` pixels to the next; the first pixel opens a cell of the grid.
  WMSCORE_INLINE void across(const Luma* row, int32_t count, Sum* sums) {
    Sum border = 0;
    const Sum all = steps(row, row + 1, count, sums);
    for (int32_t i = kGrid - 1; i < count; i += kGrid) border += std::abs(step(row[i], row[i + 1]));
    sums[kBorder] += border;
    // Not a difference of sums: that leaves rounding errors where all steps are at borders.
    if constexpr (kIsInteger) {
      sums[kInner] += all - border;
    } else {
      for (int32_t i = 0; i < count; i += kGrid) {
        Sum inner = 0;
        for (int32_t j = i; j < std::min(i + kGrid - 1, count); ++j)
          inner += std::abs(step(row[j], row[j + 1]));
        sums[kInner] += inner;
      }
    }
  }

  // Steps from the row above.
  WMSCORE_INLINE void down(const Luma* above, const Luma* row, int32_t count, bool is_border,
                           Sum* sums) {
    sums[is_border ? kBorder : kInner] += steps(above, row, count, sums);
  }

  // Of pixels that have all four neighbours.
  WMSCORE_INLINE void laplacian(const Luma* above, const Luma* row, const Luma* below,
                                int32_t count, Sum* sums) {
    Sum squared = 0;
#pragma omp simd reduction(+ : squared)
    for (int32_t i = 0; i < count; ++i) {
      const Sum value =
          4 * static_cast<Sum>(row[i]) - row[i - 1] - row[i + 1] - above[i] - below[i];
      squared += value * value;
    }
    sums[kLaplacian] += squared;
  }

  WMSCORE_INLINE void finish(Sum*) {}

 private:
  using Value = std::conditional_t<kIsInteger, int32_t, double>;

  WMSCORE_INLINE static Sum step(Luma from, Luma to) {
    return static_cast<Sum>(to) - static_cast<Sum>(from);
  }

  // Adds the squares and returns the absolute values.
  WMSCORE_INLINE Sum steps(const Luma* from, const Luma* to, int32_t count, Sum* sums) {
    Sum squared = 0, absolute = 0;
#pragma omp simd reduction(+ : squared, absolute)
    for (int32_t i = 0; i < count; ++i) {
      const Sum value = step(from[i], to[i]);
      squared += value * value;
      absolute += std::abs(value);
    }
    sums[kGradient] += squared;
    return absolute;
  }
};

template <typename T>
using Wide = decltype(widen(std::declval<T>()));

// `count` values of one channel side by side and wide enough to compute with: where they are, or
// in `block`.
template <typename T>
WMSCORE_INLINE const Wide<T>* gather(const T* data, int64_t stride, int32_t count, Wide<T>* block) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    if (stride == 1) return data;
  }
  if (stride == 1) {
    for (int32_t i = 0; i < count; ++i) block[i] = widen(data[i]);
  } else if (stride == 3) {  // interleaved RGB: a constant stride becomes shuffles
    for (int32_t i = 0; i < count; ++i) block[i] = widen(data[3 * i]);
  } else {
    for (int32_t i = 0; i < count; ++i) block[i] = widen(data[stride * i]);
  }
  return block;
}

template <typename T>
WMSCORE_INLINE const T* row_of(const Images& frames, int64_t image, int64_t y) {
  return static_cast<const T*>(frames.data) + image * frames.image + y * frames.row;
}

template <typename Luma, typename T>
WMSCORE_INLINE Luma luma_of(const T* red, int64_t channel) {
  const auto r = widen(red[0]), g = widen(red[channel]), b = widen(red[2 * channel]);
  using Value = std::conditional_t<std::is_same_v<T, uint8_t>, int32_t, double>;
  return static_cast<Luma>(kLumaRed * static_cast<Value>(r) + kLumaGreen * static_cast<Value>(g) +
                           kLumaBlue * static_cast<Value>(b));
}

// Rows start <= y < end of one frame. Row y brings the steps from row y - 1 and the Laplacian of
// row y - 1.
template <typename T, typename RowSums, typename Sum>
WMSCORE_INLINE void add_band(const Images& frames, const Images& previous, int64_t image,
                             int64_t width, int64_t start, int64_t end, Sum* sums) {
  using Luma = typename RowSums::Luma;
  constexpr int32_t kStripWidth = kStrip<T>;
  constexpr int32_t kLeft = 32 / sizeof(Luma);   // the pixel left of the strip, and alignment
  constexpr int32_t kRight = 64 / sizeof(Luma);  // what vectors may read past the strip
  Wide<T> block[3][kStripWidth];
  Wide<T> previous_block[kStripWidth];
  alignas(32) Luma buffers[3][kLeft + kStripWidth + kRight] = {};
  RowSums rows;
  for (int64_t x = 0; x < width; x += kStripWidth) {
    const int32_t count = static_cast<int32_t>(std::min<int64_t>(kStripWidth, width - x));
    const bool has_left = x > 0;
    const bool has_right = x + count < width;
    for (int64_t y = std::max<int64_t>(0, start - 2); y < end; ++y) {
      Luma* const luma = buffers[y % 3] + kLeft;
      const Luma* const above = buffers[(y + 2) % 3] + kLeft;
      const Luma* const above_that = buffers[(y + 1) % 3] + kLeft;
      const T* const pixels = row_of<T>(frames, image, y) + x * frames.pixel;
      if (has_left) luma[-1] = luma_of<Luma>(pixels - frames.pixel, frames.channel);
      if (y < start) {  // its sums belong to the band above
        for (int32_t i = 0; i < count; ++i)
          luma[i] = luma_of<Luma>(pixels + i * frames.pixel, frames.channel);
      } else {
        const Wide<T>* rgb[3];
        for (int k = 0; k < 3; ++k)
          rgb[k] = gather(pixels + k * frames.channel, frames.pixel, count, block[k]);
        rows.colours(rgb, count, luma, sums);
        if (previous.data != nullptr) {
          const T* const before = row_of<T>(previous, image, y) + x * previous.pixel;
          for (int k = 0; k < 3; ++k)
            rows.change(
                rgb[k],
                gather(before + k * previous.channel, previous.pixel, count, previous_block), count,
                sums);
        }
      }
      if (has_right) luma[count] = luma_of<Luma>(pixels + count * frames.pixel, frames.channel);
      if (y < start) continue;
      rows.across(luma, has_right ? count : count - 1, sums);
      if (y >= 1) rows.down(above, luma, count, y % kGrid == 0, sums);
      if (y >= 2) {
        const int32_t first = has_left ? 0 : 1;
        rows.laplacian(above_that + first, above + first, luma + first,
                       (has_right ? count : count - 1) - first, sums);
      }
    }
  }
  rows.finish(sums);
}

int64_t rows_in_band(int64_t width) {
  // Two rows above are read again: few, and yet enough bands in a large frame for many threads.
  constexpr int64_t kBandPixels = 1 << 17;
  return std::max<int64_t>(2 * kGrid, kBandPixels / std::max<int64_t>(1, width));
}

template <typename T, typename RowSums, typename Sum>
WMSCORE_INLINE void add_bands(const Images& frames, const Images& previous, int64_t height,
                              int64_t width, int64_t first, int64_t last, Sum* sums) {
  std::fill(sums + first * kQualityColumns, sums + last * kQualityColumns, Sum(0));
  const int64_t bands = wmscore_frame_quality_bands(height, width);
  const int64_t rows = rows_in_band(width);
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / bands;
    const int64_t start = (item - image * bands) * rows;
    add_band<T, RowSums>(frames, previous, image, width, start, std::min(start + rows, height),
                         sums + item * kQualityColumns);
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_ADD_BANDS(attribute, name, T, RowSums, Sum)                                        \
  attribute void name(const Images& frames, const Images& previous, int64_t height, int64_t width, \
                      int64_t first, int64_t last, void* sums) {                                   \
    add_bands<T, RowSums>(frames, previous, height, width, first, last, static_cast<Sum*>(sums));  \
  }
#ifdef WMSCORE_AVX2
WMSCORE_ADD_BANDS(WMSCORE_AVX2, add_uint8_avx2, uint8_t, Avx2Rows, int64_t)
#endif
WMSCORE_ADD_BANDS(WMSCORE_CLONES, add_uint8, uint8_t, Rows<uint8_t>, int64_t)
WMSCORE_ADD_BANDS(WMSCORE_CLONES, add_float16, Half, Rows<float>, double)
WMSCORE_ADD_BANDS(WMSCORE_CLONES, add_bfloat16, Bfloat16, Rows<float>, double)
WMSCORE_ADD_BANDS(WMSCORE_CLONES, add_float32, float, Rows<float>, double)
WMSCORE_ADD_BANDS(WMSCORE_CLONES, add_float64, double, Rows<double>, double)

}  // namespace

int64_t wmscore_frame_quality_bands(int64_t height, int64_t width) {
  const int64_t rows = rows_in_band(width);
  return std::max<int64_t>(1, (height + rows - 1) / rows);
}

void wmscore_frame_quality_cpu(Element element, Images frames, Images previous, int64_t height,
                               int64_t width, int64_t first, int64_t last, void* sums) {
  switch (element) {
    case Element::kUint8:
#ifdef WMSCORE_AVX2
      if (has_avx2()) return add_uint8_avx2(frames, previous, height, width, first, last, sums);
#endif
      return add_uint8(frames, previous, height, width, first, last, sums);
    case Element::kFloat16:
      return add_float16(frames, previous, height, width, first, last, sums);
    case Element::kBfloat16:
      return add_bfloat16(frames, previous, height, width, first, last, sums);
    case Element::kFloat32:
      return add_float32(frames, previous, height, width, first, last, sums);
    case Element::kFloat64:
      return add_float64(frames, previous, height, width, first, last, sums);
    case Element::kUint16:
      return;  // of pyramids only
  }
}
