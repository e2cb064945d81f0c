// Inner products of the fields of a group, a block of pixels at a time: the block of each field is
// read once, widened into the closest cache, and multiplied there with all the others.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "../response.h"
#include "clones.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Clips;
using wmscore::Element;
using wmscore::Half;
using wmscore::kMostScripts;
using wmscore::Overlap;
using wmscore::Responses;

constexpr int64_t kBandPixels = 1 << 16;    // of a large frame, so that threads can share it out
constexpr int64_t kBlockBytes = 32 * 1024;  // all fields of a block together
constexpr int64_t kLeastPixels = 64;        // of a block, however many channels there are
constexpr int64_t kApart = 16;              // values; lines of a block are padded to it
constexpr int64_t kMostFields = 2 * kMostScripts;

// uint8 values are multiplied as int16 and added up as int32; a block is too short for it to
// overflow. All others are double.
template <typename T>
using WideOf = std::conditional_t<std::is_same_v<T, uint8_t>, int16_t, double>;
template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, uint8_t>, int32_t, double>;

// All bits or none, of a pixel.
template <typename T>
using MarkOf = std::conditional_t<std::is_same_v<T, uint8_t>, int16_t, int64_t>;

// Products of each two of four lines, of two lines, and of four lines with two others. Loops over
// int16 become multiply-and-add-pairs (vpmaddwd), which the compiler does not see where it is told
// to vectorise; loops over double are vectorised only where it is told to. Functions of their own,
// in which all sums stay in registers.
#define WMSCORE_ADD_LINES(Wide, Sum, LOOP)                                                   \
  WMSCORE_CLONES void add_four(const Wide* a, const Wide* b, const Wide* c, const Wide* d,   \
                               int32_t count, Sum* sums) {                                   \
    Sum aa = 0, ab = 0, ac = 0, ad = 0, bb = 0, bc = 0, bd = 0, cc = 0, cd = 0, dd = 0;      \
    LOOP(aa, ab, ac, ad, bb, bc, bd, cc, cd, dd)                                             \
    for (int32_t i = 0; i < count; ++i) {                                                    \
      aa += a[i] * a[i];                                                                     \
      ab += a[i] * b[i];                                                                     \
      ac += a[i] * c[i];                                                                     \
      ad += a[i] * d[i];                                                                     \
      bb += b[i] * b[i];                                                                     \
      bc += b[i] * c[i];                                                                     \
      bd += b[i] * d[i];                                                                     \
      cc += c[i] * c[i];                                                                     \
      cd += c[i] * d[i];                                                                     \
      dd += d[i] * d[i];                                                                     \
    }                                                                                        \
    const Sum all[] = {aa, ab, ac, ad, bb, bc, bd, cc, cd, dd};                              \
    std::copy(all, all + 10, sums);                                                          \
  }                                                                                          \
  WMSCORE_CLONES void add_two(const Wide* a, const Wide* b, int32_t count, Sum* sums) {      \
    Sum aa = 0, ab = 0, bb = 0;                                                              \
    LOOP(aa, ab, bb)                                                                         \
    for (int32_t i = 0; i < count; ++i) {                                                    \
      aa += a[i] * a[i];                                                                     \
      ab += a[i] * b[i];                                                                     \
      bb += b[i] * b[i];                                                                     \
    }                                                                                        \
    const Sum all[] = {aa, ab, bb};                                                          \
    std::copy(all, all + 3, sums);                                                           \
  }                                                                                          \
  WMSCORE_CLONES void add_across(const Wide* a, const Wide* b, const Wide* c, const Wide* d, \
                                 const Wide* x, const Wide* y, int32_t count, Sum* sums) {   \
    Sum ax = 0, ay = 0, bx = 0, by = 0, cx = 0, cy = 0, dx = 0, dy = 0;                      \
    LOOP(ax, ay, bx, by, cx, cy, dx, dy)                                                     \
    for (int32_t i = 0; i < count; ++i) {                                                    \
      ax += a[i] * x[i];                                                                     \
      ay += a[i] * y[i];                                                                     \
      bx += b[i] * x[i];                                                                     \
      by += b[i] * y[i];                                                                     \
      cx += c[i] * x[i];                                                                     \
      cy += c[i] * y[i];                                                                     \
      dx += d[i] * x[i];                                                                     \
      dy += d[i] * y[i];                                                                     \
    }                                                                                        \
    const Sum all[] = {ax, ay, bx, by, cx, cy, dx, dy};                                      \
    std::copy(all, all + 8, sums);                                                           \
  }
#define WMSCORE_PRAGMA(text) _Pragma(#text)
#define WMSCORE_AS_IT_IS(...)
#define WMSCORE_IN_VECTORS(...) WMSCORE_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
WMSCORE_ADD_LINES(int16_t, int32_t, WMSCORE_AS_IT_IS)
WMSCORE_ADD_LINES(double, double, WMSCORE_IN_VECTORS)

// The fields of one item that are present, those of preds first, and an empty one if their number
// is odd.
template <typename T>
struct Fields {
  const T* start[kMostFields];
  int32_t place[kMostFields];
  int32_t preds = 0, target = 0, lines = 0;

  Fields(const Responses& task, int64_t item, const Overlap& overlap) {
    for (int64_t i = 0; i < 2 * task.scripts; ++i) {
      const T* const data = wmscore::start_of<T>(task, item, i, overlap);
      if (!data) continue;
      start[preds + target] = data;
      place[preds + target] = static_cast<int32_t>(i);
      ++(i < task.scripts ? preds : target);
    }
    lines = (count() + 1) / 2 * 2;
  }

  int32_t count() const { return preds + target; }
};

template <typename T>
class Bands {
 public:
  using Wide = WideOf<T>;
  using Sum = SumOf<T>;
  using Mark = MarkOf<T>;
  using Total = std::conditional_t<std::is_same_v<T, uint8_t>, int64_t, double>;

  explicit Bands(const Responses& task) : task_(task) {}

  // `sums` is zero at first.
  WMSCORE_INLINE void add(int64_t item, int64_t band, double* sums) {
    const Overlap overlap = wmscore::overlap_of(task_, item);
    const int64_t first = band * kBandPixels;
    const int64_t last = std::min(overlap.pixels(), first + kBandPixels);
    const Fields<T> fields(task_, item, overlap);
    if (first >= last || fields.count() == 0) return;
    // Lines that are a power of two apart would share their places in the cache.
    constexpr int64_t kBetween = 64 / sizeof(Wide);
    capacity_ = (kValues / fields.lines - kBetween) / kApart * kApart;
    line_ = capacity_ + kBetween;
    const int64_t channels = std::max<int64_t>(1, task_.channels);
    most_pixels_ = std::max(kLeastPixels, capacity_ / channels / kApart * kApart);
    most_channels_ = std::max<int64_t>(1, std::min(channels, capacity_ / most_pixels_));
    std::fill(totals_, totals_ + kMostFields * (kMostFields + 1) / 2, Total(0));
    still_ = 0;
    spread_ = 0;
    for (int64_t start = first; start < last; start += most_pixels_)
      add_block(fields, overlap, start, std::min(last - start, most_pixels_));
    store(fields, sums);
  }

 private:
  static constexpr bool kIsWhole = std::is_same_v<T, uint8_t>;

  WMSCORE_INLINE void add_block(const Fields<T>& fields, const Overlap& overlap, int64_t start,
                                int64_t pixels) {
    // Of a block with too many channels to be kept, those of target are taken twice.
    const bool is_whole = most_channels_ >= task_.channels;
    pixels_ = pixels;
    padded_ = (pixels + kApart - 1) / kApart * kApart;
    if (fields.count() < fields.lines)
      std::fill(line(fields.count()), line(fields.count()) + most_channels_ * padded_, Wide(0));
    for (int64_t i = 0; i < padded_; ++i) is_still_[i] = i < pixels && fields.target > 0 ? -1 : 0;
    for (int64_t channel = 0; channel < task_.channels; channel += most_channels_) {
      const int64_t channels = std::min(most_channels_, task_.channels - channel);
      fill(fields, fields.preds, fields.count(), overlap, start, channel, channels);
      if (fields.target > 1) mark(fields, channels);
    }
    int64_t still = 0;
    for (int64_t i = 0; i < padded_; ++i) still -= is_still_[i];
    still_ += still;
    for (int64_t channel = 0; channel < task_.channels; channel += most_channels_) {
      const int64_t channels = std::min(most_channels_, task_.channels - channel);
      fill(fields, 0, is_whole ? fields.preds : fields.count(), overlap, start, channel, channels);
      if (still > 0 && fields.preds > 0) add_spread(fields, channels);
      multiply(fields, static_cast<int32_t>(channels * padded_));
    }
  }

  WMSCORE_INLINE Wide* line(int32_t field) { return block_ + field * line_; }

  // Widens some channels of the fields first <= i < last.
  WMSCORE_INLINE void fill(const Fields<T>& fields, int32_t first, int32_t last,
                           const Overlap& overlap, int64_t start, int64_t channel,
                           int64_t channels) {
    for (int32_t i = first; i < last; ++i) {
      const Clips& clips = i < fields.preds ? task_.preds : task_.target;
      const bool is_flat = clips.line == overlap.width * clips.pixel;
      const int64_t width = is_flat ? overlap.pixels() : overlap.width;
      for (int64_t k = 0; k < channels; ++k) {
        const T* const data = fields.start[i] + (channel + k) * clips.channel;
        Wide* const to = line(i) + k * padded_;
        int64_t done = 0;
        int64_t y = start / width, x = start - y * width;
        while (done < pixels_) {
          const int64_t count = std::min(pixels_ - done, width - x);
          const T* const from = data + y * clips.line + x * clips.pixel;
          fetch(from + most_pixels_ * clips.pixel, count * clips.pixel);
          widen(from, clips.pixel, count, to + done);
          done += count;
          ++y;
          x = 0;
        }
        std::fill(to + pixels_, to + padded_, Wide(0));
      }
    }
  }

  // Asks for what is read with the next block: there are too many streams to be foreseen.
  static WMSCORE_INLINE void fetch([[maybe_unused]] const T* data, [[maybe_unused]] int64_t count) {
#ifdef __GNUC__
    const char* const bytes = reinterpret_cast<const char*>(data);
    for (int64_t i = 0; i < count * int64_t{sizeof(T)}; i += 64)
      __builtin_prefetch(bytes + i, 0, 2);
#endif
  }

  static WMSCORE_INLINE void widen(const T* data, int64_t pixel, int64_t count, Wide* to) {
    if (pixel == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = wmscore::widen(data[i]);
    } else if (pixel == 3) {  // interleaved RGB: a constant stride becomes shuffles
      for (int64_t i = 0; i < count; ++i) to[i] = wmscore::widen(data[3 * i]);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = wmscore::widen(data[pixel * i]);
    }
  }

  // Takes the mark off pixels where a channel of target depends on the script.
  WMSCORE_INLINE void mark(const Fields<T>& fields, int64_t channels) {
    const Wide limit =
        kIsWhole ? static_cast<Wide>(std::min(task_.still, 255.0)) : static_cast<Wide>(task_.still);
    for (int64_t k = 0; k < channels; ++k) {
      const Wide* const first = line(fields.preds) + k * padded_;
      std::copy(first, first + padded_, largest_);
      std::copy(first, first + padded_, smallest_);
      for (int32_t field = 1; field < fields.target; ++field) {
        const Wide* const values = line(fields.preds + field) + k * padded_;
        for (int64_t i = 0; i < padded_; ++i) {
          const Wide value = values[i], above = largest_[i], below = smallest_[i];
          largest_[i] = value > above ? value : above;
          smallest_[i] = value < below ? value : below;
        }
      }
      for (int64_t i = 0; i < padded_; ++i)
        is_still_[i] = largest_[i] - smallest_[i] <= limit ? is_still_[i] : 0;
      if constexpr (!kIsWhole) {  // a comparison does not see NaN
        for (int32_t field = 0; field < fields.target; ++field) {
          const Wide* const values = line(fields.preds + field) + k * padded_;
          for (int64_t i = 0; i < padded_; ++i)
            is_still_[i] = values[i] == values[i] ? is_still_[i] : 0;
        }
      }
    }
  }

  // What preds do where pixels are marked: of whole numbers, times their count.
  WMSCORE_INLINE void add_spread(const Fields<T>& fields, int64_t channels) {
    constexpr int64_t kPart = kIsWhole ? 128 : 1024;  // squares of 16 * 255 fit an int32
    for (int64_t k = 0; k < channels; ++k) {
      for (int64_t start = 0; start < padded_; start += kPart) {
        const int32_t count = static_cast<int32_t>(std::min(kPart, padded_ - start));
        add_part(fields, k * padded_ + start, is_still_ + start, count);
      }
    }
  }

  WMSCORE_INLINE void add_part(const Fields<T>& fields, int64_t offset, const Mark* is_still,
                               int32_t count) {
    if constexpr (kIsWhole) {
      int16_t sum[128] = {};
      int32_t energy = 0;
      for (int32_t field = 0; field < fields.preds; ++field) {
        const int16_t* const values = line(field) + offset;
        int32_t squares = 0;
        for (int32_t i = 0; i < count; ++i) {
          const int16_t value = values[i] & is_still[i];
          sum[i] = static_cast<int16_t>(sum[i] + value);
          squares += value * value;
        }
        energy += squares;
      }
      int32_t squares = 0;
      for (int32_t i = 0; i < count; ++i) squares += sum[i] * sum[i];
      spread_ += int64_t{fields.preds} * energy - squares;
    } else {
      double mean[1024] = {};
      const double* const first = line(0) + offset;  // from it, so that equal ones differ by 0
      for (int32_t field = 1; field < fields.preds; ++field) {
        const double* const values = line(field) + offset;
        for (int32_t i = 0; i < count; ++i) mean[i] += values[i] - first[i];
      }
      for (int32_t i = 0; i < count; ++i) mean[i] /= fields.preds;
      for (int32_t field = 0; field < fields.preds; ++field) {
        const double* const values = line(field) + offset;
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int32_t i = 0; i < count; ++i) {
          const double apart = (values[i] - first[i]) - mean[i];
          squares += is_still[i] ? apart * apart : 0;  // chosen, not multiplied: 0 * NaN is NaN
        }
        spread_ += squares;
      }
    }
  }

  WMSCORE_INLINE void multiply(const Fields<T>& fields, int32_t count) {
    Sum sums[10];
    Total* total = totals_;
    for (int32_t i = 0; i < fields.lines; i += 4) {
      const Wide* const a = line(i);
      const Wide* const b = line(i + 1);
      if (i + 2 == fields.lines) {
        add_two(a, b, count, sums);
        for (int k = 0; k < 3; ++k) *total++ += sums[k];
        break;
      }
      const Wide* const c = line(i + 2);
      const Wide* const d = line(i + 3);
      add_four(a, b, c, d, count, sums);
      for (int k = 0; k < 10; ++k) *total++ += sums[k];
      for (int32_t j = i + 4; j < fields.lines; j += 2) {
        add_across(a, b, c, d, line(j), line(j + 1), count, sums);
        for (int k = 0; k < 8; ++k) *total++ += sums[k];
      }
    }
  }

  // Totals in the order of `multiply` to those of kernels.h.
  WMSCORE_INLINE void store(const Fields<T>& fields, double* sums) const {
    const Total* total = totals_;
    const int64_t all = 2 * task_.scripts;
    const auto put = [&](int32_t i, int32_t j) {
      const Total value = *total++;
      if (j < fields.count())
        sums[wmscore::place_of(fields.place[i], fields.place[j], all)] = static_cast<double>(value);
    };
    for (int32_t i = 0; i < fields.lines; i += 4) {
      const int32_t end = std::min(i + 4, fields.lines);
      for (int32_t a = i; a < end; ++a)
        for (int32_t b = a; b < end; ++b) put(a, b);
      for (int32_t j = i + 4; j < fields.lines; j += 2) {
        for (int32_t a = i; a < end; ++a)
          for (int32_t b = j; b < j + 2; ++b) put(a, b);
      }
    }
    double* const rest = sums + all * (all + 1) / 2;
    rest[0] = static_cast<double>(still_);
    rest[1] = static_cast<double>(spread_);
  }

  static constexpr int64_t kValues = kBlockBytes / sizeof(Wide);
  Responses task_;
  int64_t capacity_ = 0, line_ = 0;              // values of a line, and to the next one
  int64_t most_pixels_ = 0, most_channels_ = 0;  // of a block
  int64_t pixels_ = 0, padded_ = 0;              // of the present one
  int64_t still_ = 0;
  Total spread_ = 0;
  Total totals_[kMostFields * (kMostFields + 1) / 2];
  alignas(64) Wide block_[kValues];
  alignas(64) Wide largest_[kValues / 2];
  alignas(64) Wide smallest_[kValues / 2];
  alignas(64) Mark is_still_[kValues / 2];
};

template <typename T>
WMSCORE_INLINE void add_bands(const Responses& task, int64_t first, int64_t last, double* sums) {
  const int64_t bands = wmscore_response_products_bands(task.height, task.width);
  const int64_t values = wmscore_response_products_values(task.scripts);
  std::fill(sums + first * values, sums + last * values, 0.0);
  Bands<T> work(task);
  for (int64_t i = first; i < last; ++i) work.add(i / bands, i % bands, sums + i * values);
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_ADD_BANDS(name, T)                                                             \
  WMSCORE_CLONES void name(const Responses& task, int64_t first, int64_t last, double* sums) { \
    add_bands<T>(task, first, last, sums);                                                     \
  }
WMSCORE_ADD_BANDS(add_uint8, uint8_t)
WMSCORE_ADD_BANDS(add_float16, Half)
WMSCORE_ADD_BANDS(add_bfloat16, Bfloat16)
WMSCORE_ADD_BANDS(add_float32, float)
WMSCORE_ADD_BANDS(add_float64, double)

}  // namespace

int64_t wmscore_response_products_values(int64_t scripts) {
  return scripts * (2 * scripts + 1) + 2;
}

int64_t wmscore_response_products_bands(int64_t height, int64_t width) {
  return std::max<int64_t>(1, (height * width + kBandPixels - 1) / kBandPixels);
}

void wmscore_response_products_cpu(Element element, Responses task, int64_t first, int64_t last,
                                   double* sums) {
  switch (element) {
    case Element::kUint8:
      return add_uint8(task, first, last, sums);
    case Element::kFloat16:
      return add_float16(task, first, last, sums);
    case Element::kBfloat16:
      return add_bfloat16(task, first, last, sums);
    case Element::kFloat32:
      return add_float32(task, first, last, sums);
    case Element::kFloat64:
      return add_float64(task, first, last, sums);
    case Element::kUint16:
      return;  // of pyramids only
  }
}

void wmscore_response_products_finish_cpu(Element element, Responses task, int64_t first,
                                          int64_t last, const double* sums, double* products,
                                          double* statistics) {
  const int64_t bands = wmscore_response_products_bands(task.height, task.width);
  const int64_t values = wmscore_response_products_values(task.scripts);
  const int64_t fields = 2 * task.scripts;
  for (int64_t item = first; item < last; ++item) {
    const auto total = [&](int64_t value) {
      double sum = 0;
      for (int64_t band = 0; band < bands; ++band)
        sum += sums[(item * bands + band) * values + value];
      return sum;
    };
    double* const matrix = products + item * fields * fields;
    for (int64_t i = 0; i < fields; ++i) {
      for (int64_t j = i; j < fields; ++j) {
        matrix[i * fields + j] = matrix[j * fields + i] = total(wmscore::place_of(i, j, fields));
      }
    }
    int64_t present = 0;
    for (int64_t k = 0; k < task.scripts; ++k) present += wmscore::row_of(task, item, k) >= 0;
    const bool is_times_count = element == Element::kUint8 && present > 0;
    double* const rest = statistics + 3 * item;
    rest[0] = static_cast<double>(wmscore::overlap_of(task, item).pixels());
    rest[1] = total(values - 2);
    rest[2] = total(values - 1) / (is_times_count ? static_cast<double>(present) : 1);
  }
}
