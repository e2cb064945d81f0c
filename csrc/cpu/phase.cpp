// Global motion: orientation of edges, cross power, peak and sub-pixel refinement, a frame or a
// pair of frames at a time.
#include "../phase.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "../kernels.h"
#include "clones.h"

namespace {

using namespace wmscore;  // the constants of phase.h

template <typename P, typename T>
WMSCORE_INLINE void luma_row(const P* data, const Images& frames, int64_t channels, int64_t width,
                             T scale, T* luma) {
  if (channels == 1) {
    for (int64_t x = 0; x < width; ++x)
      luma[x] = static_cast<T>(widen(data[x * frames.pixel])) * scale;
    return;
  }
  const P *red = data, *green = data + frames.channel, *blue = data + 2 * frames.channel;
  const auto add = [&](int64_t stride) {
    for (int64_t x = 0; x < width; ++x) {
      luma[x] = static_cast<T>(kLevelRed) * (static_cast<T>(widen(red[x * stride])) * scale) +
                static_cast<T>(kLevelGreen) * (static_cast<T>(widen(green[x * stride])) * scale) +
                static_cast<T>(kLevelBlue) * (static_cast<T>(widen(blue[x * stride])) * scale);
    }
  };
  if (frames.pixel == 1)
    add(1);  // known to be 1, so that it vectorises
  else
    add(frames.pixel);
}

template <typename T>
WMSCORE_INLINE void orient(T gx, T gy, T weight, T* field) {
  const T soft = static_cast<T>(kSoftEdge);
  const T scale = weight / std::sqrt(gx * gx + gy * gy + soft * soft);
  field[0] = gx * scale;
  field[1] = gy * scale;
}

template <typename P, typename T>
WMSCORE_INLINE void orient_frames(const Images& frames, int64_t channels, int64_t height,
                                  int64_t width, bool window, int64_t first, int64_t last,
                                  T* fields, T* lumas) {
  const T scale = sizeof(P) == 1 ? T(1) : T(255);
  std::vector<T> plane(height * width), line(width + 4), weights(width, T(1));
  if (window) {
    for (int64_t x = 0; x < width; ++x) weights[x] = static_cast<T>(hann<double>(x, width));
  }
  for (int64_t n = first; n < last; ++n) {
    for (int64_t y = 0; y < height; ++y) {
      luma_row<P, T>(static_cast<const P*>(frames.data) + n * frames.image + y * frames.row, frames,
                     channels, width, scale, &plane[y * width]);
    }
    T* const field = fields + n * height * width * 2;
    T* const luma = lumas + n * height * width;
    for (int64_t y = 0; y < height; ++y) {
      const auto row = [&](int64_t at) { return &plane[clamp_index(at, height) * width]; };
      const T* const here = row(y);
      const T* above = row(y - 1);
      const T* below = row(y + 1);
      if (!window && y == 0) above = row(height - 1);
      if (!window && y == height - 1) below = row(0);
      const T of_row = window ? static_cast<T>(hann<double>(y, height)) : T(1);
      T* const out = field + y * width * 2;
      const auto edge = [&](int64_t x, int64_t left, int64_t right) {
        orient((here[right] - here[left]) / 2, (below[x] - above[x]) / 2, of_row * weights[x],
               out + 2 * x);
      };
      for (int64_t x = 1; x < width - 1; ++x) edge(x, x - 1, x + 1);
      const int64_t end = width - 1;
      edge(0, window ? 0 : end, std::min<int64_t>(1, end));
      if (end > 0) edge(end, end - 1, window ? end : 0);

      const T *up2 = row(y - 2), *up1 = row(y - 1), *down1 = row(y + 1), *down2 = row(y + 2);
      for (int64_t x = 0; x < width; ++x) {
        line[x + 2] = (up2[x] + 4 * up1[x] + 6 * here[x] + 4 * down1[x] + down2[x]) / 16;
      }
      line[0] = line[1] = line[2];
      line[width + 2] = line[width + 3] = line[width + 1];
      T* const smooth = luma + y * width;
      for (int64_t x = 0; x < width; ++x) {
        smooth[x] =
            (line[x] + 4 * line[x + 1] + 6 * line[x + 2] + 4 * line[x + 3] + line[x + 4]) / 16;
      }
    }
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_ORIENT(name, P, T)                                                                \
  WMSCORE_CLONES void name(const Images& frames, int64_t channels, int64_t height, int64_t width, \
                           bool window, int64_t first, int64_t last, void* field, void* luma) {   \
    orient_frames<P, T>(frames, channels, height, width, window, first, last,                     \
                        static_cast<T*>(field), static_cast<T*>(luma));                           \
  }
WMSCORE_ORIENT(orient_uint8, uint8_t, float)
WMSCORE_ORIENT(orient_float16, Half, float)
WMSCORE_ORIENT(orient_bfloat16, Bfloat16, float)
WMSCORE_ORIENT(orient_float32, float, float)
WMSCORE_ORIENT(orient_float64, double, double)

// Partly whitened products of a run of frequencies, and their sizes.
template <typename T>
struct Line {
  std::vector<T> re, im, size;

  explicit Line(int64_t length) : re(length), im(length), size(length) {}

  WMSCORE_INLINE void fill(const T* a, const T* b, int64_t count, int64_t start = 0) {
    T *const to_re = &re[start], *const to_im = &im[start], *const to_size = &size[start];
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const T ar = a[2 * i], ai = a[2 * i + 1], br = b[2 * i], bi = b[2 * i + 1];
      const T across = br * ar + bi * ai, along = bi * ar - br * ai;
      const T root = std::sqrt(std::sqrt(across * across + along * along));
      const T scale = root == 0 ? T(0) : T(1) / root;
      to_re[i] = across * scale;
      to_im[i] = along * scale;
      to_size[i] = root;
    }
  }
};

// Of the frequencies 0 < kx < width / 2 both f and -f are read here once; of the others, -f has its
// own turn as another ky.
template <typename T>
WMSCORE_INLINE void power_of_pairs(const T* spectra, const T* followings, int64_t height,
                                   int64_t width, int64_t first, int64_t last, T* powers,
                                   T* totals) {
  const int64_t half = width / 2 + 1;
  std::vector<T> along(half), turns(half, T(1));  // whether -f counts here
  turns[0] = 0;
  if (width % 2 == 0) turns[half - 1] = 0;
  for (int64_t x = 0; x < half; ++x)
    along[x] = std::exp(-static_cast<T>(kLowPass) * squared_frequency<T>(x, width));
  Line<T> one(half), other(half);  // at kx; at -kx, the last one first
  for (int64_t n = first; n < last; ++n) {
    const T* const a = spectra + n * height * width * 2;
    const T* const b = followings + n * height * width * 2;
    T* const power = powers + n * height * half * 2;
    double total = 0;
    for (int64_t y = 0; y < height; ++y) {
      const T of_row = std::exp(-static_cast<T>(kLowPass) * squared_frequency<T>(y, height));
      const int64_t here = 2 * y * width;
      const int64_t mirror = 2 * (y == 0 ? 0 : height - y) * width;
      const int64_t end = mirror + 2 * (width - half + 1);
      one.fill(a + here, b + here, half);
      other.fill(a + end, b + end, half - 1);
      other.fill(a + mirror, b + mirror, 1, half - 1);
      const T *const re = one.re.data(), *const im = one.im.data(), *const size = one.size.data();
      const T* const other_re = other.re.data() + half - 1;
      const T* const other_im = other.im.data() + half - 1;
      const T* const other_size = other.size.data() + half - 1;
      T* const out = power + y * half * 2;
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t x = 0; x < half; ++x) {
        const T gauss = of_row * along[x];
        out[2 * x] = gauss * (re[x] + other_re[-x]) / 2;
        out[2 * x + 1] = gauss * (im[x] - other_im[-x]) / 2;
        sum += gauss * (size[x] + turns[x] * other_size[-x]);
      }
      total += sum;
    }
    totals[n] = static_cast<T>(total);
  }
}

#define WMSCORE_POWER(name, T)                                                                   \
  WMSCORE_CLONES void name(const void* spectra, const void* followings, int64_t height,          \
                           int64_t width, int64_t first, int64_t last, void* powers,             \
                           void* totals) {                                                       \
    power_of_pairs<T>(static_cast<const T*>(spectra), static_cast<const T*>(followings), height, \
                      width, first, last, static_cast<T*>(powers), static_cast<T*>(totals));     \
  }
WMSCORE_POWER(power_float32, float)
WMSCORE_POWER(power_float64, double)

template <typename T>
WMSCORE_INLINE void find_peaks(const T* surfaces, int64_t height, int64_t width, int64_t reach_y,
                               int64_t reach_x, int64_t first, int64_t last, int64_t* shifts,
                               T* values) {
  const T part = static_cast<T>(kTie * 4 / (height * height + width * width));
  for (int64_t n = first; n < last; ++n) {
    const T* const surface = surfaces + n * height * width;
    T best = -std::numeric_limits<T>::infinity();
    int64_t at_y = 0, at_x = 0;
    const auto visit = [&](int64_t y, int64_t start, int64_t stop) {
      const int64_t dy = y < (height + 1) / 2 ? y : y - height;
      for (int64_t x = start; x < stop; ++x) {
        const int64_t dx = x < (width + 1) / 2 ? x : x - width;
        const T score = surface[y * width + x] * (1 - static_cast<T>(dy * dy + dx * dx) * part);
        if (score > best) {
          best = score;
          at_y = y;
          at_x = x;
        }
      }
    };
    for (int64_t y = 0; y < height; ++y) {
      const int64_t dy = y < (height + 1) / 2 ? y : height - y;
      if (dy > reach_y) continue;
      const int64_t right = std::min((width + 1) / 2, reach_x + 1);  // -width / 2 is negative
      visit(y, 0, right);
      visit(y, std::max(right, std::max((width + 1) / 2, width - reach_x)), width);
    }
    shifts[2 * n] = at_y < (height + 1) / 2 ? at_y : at_y - height;
    shifts[2 * n + 1] = at_x < (width + 1) / 2 ? at_x : at_x - width;
    values[n] = surface[at_y * width + at_x];
  }
}

// One pass over the overlap; without `weigh`, all pixels count wholly and no step is prepared.
template <bool kWeigh, typename T>
WMSCORE_INLINE void refine_pass(const T* luma, const T* following, int64_t height, int64_t width,
                                const SharedSide& rows, const SharedSide& columns, const T* wx,
                                double y, double x, T spread, T offset, T slack, T* line,
                                double* sums) {
  constexpr int64_t kPad = 4;
  const Taps<T> down = Taps<T>::of(y), across = Taps<T>::of(x);
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const T* from[6];
    for (int k = 0; k < 6; ++k) {
      from[k] = following + clamp_index(row + rows.shift + down.first + k, height) * width;
    }
    for (int64_t i = 0; i < width; ++i) {
      T value = 0;
      for (int k = 0; k < 6; ++k) value += down.weight[k] * from[k][i];
      line[kPad + i] = value;
    }
    for (int64_t i = 0; i < kPad; ++i) {
      line[i] = line[kPad];
      line[kPad + width + i] = line[kPad + width - 1];
    }
    const T* const here = luma + row * width;
    const T* const sample = line + kPad + columns.shift + across.first;
    const T of_row = rows.window<T>(row);
    T yy = 0, xx = 0, yx = 0, of_y = 0, of_x = 0, offsets = 0, absolute = 0, kept = 0;
#pragma omp simd reduction(+ : yy, xx, yx, of_y, of_x, offsets, absolute, kept)
    for (int64_t i = columns.first; i < columns.last; ++i) {
      T value = 0;
      for (int k = 0; k < 6; ++k) value += across.weight[k] * sample[i + k];
      const T residual = value - here[i] - offset;
      T weight = of_row * wx[i];
      const T size = std::abs(residual);
      if (kWeigh) {
        const T gy = (here[i + width] - here[i - width]) / 2;
        const T gx = (here[i + 1] - here[i - 1]) / 2;
        const T bound = static_cast<T>(kTukey) * spread + slack * std::sqrt(gy * gy + gx * gx) +
                        static_cast<T>(1e-9);
        const T share = residual / bound;
        const T left = 1 - share * share;
        const T stays = left < 0 ? 0 : left;  // NaN stays
        weight *= stays * stays;
        yy += weight * gy * gy;
        xx += weight * gx * gx;
        yx += weight * gy * gx;
        of_y += weight * gy * residual;
        of_x += weight * gx * residual;
      }
      offsets += weight * residual;
      absolute += weight * size;
      kept += weight;
    }
    const T of_line[kRefineSums] = {yy, xx, yx, of_y, of_x, offsets, absolute, kept};
    for (int k = 0; k < kRefineSums; ++k) sums[k] += of_line[k];
  }
}

template <typename T>
WMSCORE_INLINE void refine_pairs(const T* lumas, const T* followings, const int64_t* shifts,
                                 int64_t height, int64_t width, int64_t first, int64_t last,
                                 double* results) {
  std::vector<T> line(width + 8), wx(width);
  for (int64_t n = first; n < last; ++n) {
    const T* const luma = lumas + n * height * width;
    const T* const following = followings + n * height * width;
    const SharedSide rows = SharedSide::of(height, shifts[2 * n]);
    const SharedSide columns = SharedSide::of(width, shifts[2 * n + 1]);
    for (int64_t i = columns.first; i < columns.last; ++i) wx[i] = columns.window<T>(i);
    double y = 0, x = 0, offset = 0;
    double sums[kRefineSums] = {};
    refine_pass<false, T>(luma, following, height, width, rows, columns, wx.data(), 0, 0, 0, 0, 0,
                          line.data(), sums);
    const double all = sums[kKept];
    for (int turn = 0; turn < kRefineRounds; ++turn) {
      const T spread = static_cast<T>(ratio(sums[kAbsolute], sums[kKept]));
      offset += ratio(sums[kResidual], sums[kKept]);
      std::fill(sums, sums + kRefineSums, 0.0);
      refine_pass<true, T>(luma, following, height, width, rows, columns, wx.data(), y, x, spread,
                           static_cast<T>(offset), static_cast<T>(slack_of(turn)), line.data(),
                           sums);
      take_step(sums, y, x);
    }
    results[3 * n] = static_cast<double>(shifts[2 * n]) + y;
    results[3 * n + 1] = static_cast<double>(shifts[2 * n + 1]) + x;
    results[3 * n + 2] = ratio(sums[kKept], all);
  }
}

#define WMSCORE_REFINE(name, T)                                                              \
  WMSCORE_CLONES void name(const void* lumas, const void* followings, const int64_t* shifts, \
                           int64_t height, int64_t width, int64_t first, int64_t last,       \
                           double* results) {                                                \
    refine_pairs<T>(static_cast<const T*>(lumas), static_cast<const T*>(followings), shifts, \
                    height, width, first, last, results);                                    \
  }
WMSCORE_REFINE(refine_float32, float)
WMSCORE_REFINE(refine_float64, double)

}  // namespace

void wmscore_edge_orientation_cpu(Element element, Images frames, int64_t channels, int64_t height,
                                  int64_t width, bool window, int64_t first, int64_t last,
                                  void* field, void* luma) {
  switch (element) {
    case Element::kUint8:
      return orient_uint8(frames, channels, height, width, window, first, last, field, luma);
    case Element::kFloat16:
      return orient_float16(frames, channels, height, width, window, first, last, field, luma);
    case Element::kBfloat16:
      return orient_bfloat16(frames, channels, height, width, window, first, last, field, luma);
    case Element::kFloat32:
      return orient_float32(frames, channels, height, width, window, first, last, field, luma);
    case Element::kFloat64:
      return orient_float64(frames, channels, height, width, window, first, last, field, luma);
    case Element::kUint16:
      return;  // of pyramids only
  }
}

void wmscore_cross_power_cpu(bool is_double, const void* spectrum, const void* following,
                             int64_t height, int64_t width, int64_t first, int64_t last,
                             void* power, void* total) {
  const auto run = is_double ? power_float64 : power_float32;
  run(spectrum, following, height, width, first, last, power, total);
}

void wmscore_correlation_peak_cpu(bool is_double, const void* surface, int64_t height,
                                  int64_t width, int64_t reach_y, int64_t reach_x, int64_t first,
                                  int64_t last, int64_t* shift, void* value) {
  if (is_double)
    find_peaks(static_cast<const double*>(surface), height, width, reach_y, reach_x, first, last,
               shift, static_cast<double*>(value));
  else
    find_peaks(static_cast<const float*>(surface), height, width, reach_y, reach_x, first, last,
               shift, static_cast<float*>(value));
}

void wmscore_shift_refine_cpu(bool is_double, const void* luma, const void* following,
                              const int64_t* shift, int64_t height, int64_t width, int64_t first,
                              int64_t last, double* result) {
  const auto run = is_double ? refine_float64 : refine_float32;
  run(luma, following, shift, height, width, first, last, result);
}
