// Block matching: for each row of blocks, the rows that it is compared with are packed beside each
// other with zeros around the frame; then each block sums its differences at several displacements
// of one row at a time, which are neighbours in memory, and chooses.
//
// Sums of floats add up their terms in one order whatever the vectors are, and sums of integers are
// exact, so that the result has the bits of the torch function.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "vectors.h"

namespace {

using wmscore::Bfloat16;
using wmscore::BlockMatching;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;
using wmscore::kBlockCosts;
using wmscore::kLanes;
using wmscore::Vector;

constexpr int64_t kFar = int64_t{1} << 29;
constexpr int64_t kGroup = 16;  // displacements of one row are summed in groups of so many
constexpr int64_t kSlack = 48;  // that may be read after a packed row
constexpr int64_t kMostSide = 33;
constexpr int64_t kMostBlock = 32;
constexpr int64_t kMostStride = 48;
constexpr int64_t kMoves[6][2] = {{-1, 0}, {0, -1}, {0, 1}, {1, 0}, {1, -1}, {1, 1}};

template <typename T>
using PackedOf = decltype(wmscore::widen(std::declval<T>()));
template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, uint8_t>, int32_t, PackedOf<T>>;
template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Rows of all channels, [channels, rows, step], the first at pixel (top, left) of a frame.
template <typename P>
struct Packed {
  std::vector<P> data;
  int64_t rows;
  int64_t columns;
  int64_t step;
  int64_t top;
  int64_t left;

  Packed(int64_t channels, int64_t rows, int64_t columns)
      : data(channels * rows * (columns + kSlack)),
        rows(rows),
        columns(columns),
        step(columns + kSlack),
        top(0),
        left(0) {}

  WMSCORE_INLINE const P* at(int64_t channel, int64_t y, int64_t x) const {
    return data.data() + (channel * rows + y - top) * step + x - left;
  }
};

// Zeros outside the frame.
template <typename T>
WMSCORE_INLINE void pack(const Images& images, int64_t offset, const BlockMatching& task,
                         int64_t top, int64_t left, Packed<PackedOf<T>>& packed) {
  using P = PackedOf<T>;
  packed.top = top;
  packed.left = left;
  const int64_t first = std::min(packed.columns, std::max<int64_t>(0, -left));
  const int64_t last =
      std::max(first, std::min(packed.columns, std::max<int64_t>(0, task.width - left)));
  const int64_t pixel = images.pixel;
  P* to = packed.data.data();
  for (int64_t c = 0; c < task.channels; ++c) {
    for (int64_t y = top; y < top + packed.rows; ++y, to += packed.step) {
      if (y < 0 || y >= task.height) {
        std::fill(to, to + packed.step, P(0));
        continue;
      }
      const T* const from = static_cast<const T*>(images.data) + offset + c * images.channel +
                            y * images.row + left * pixel;
      std::fill(to, to + first, P(0));
      if (pixel == 1) {
        for (int64_t x = first; x < last; ++x) to[x] = wmscore::widen(from[x]);
      } else {
        for (int64_t x = first; x < last; ++x) to[x] = wmscore::widen(from[x * pixel]);
      }
      std::fill(to + last, to + packed.step, P(0));
    }
  }
}

WMSCORE_INLINE int32_t distance(uint8_t a, uint8_t b) { return std::abs(int32_t{a} - int32_t{b}); }
WMSCORE_INLINE float distance(float a, float b) { return std::fabs(a - b); }
WMSCORE_INLINE double distance(double a, double b) { return std::fabs(a - b); }

// A block at (top, left) and what it is compared with.
template <typename P>
struct Match {
  const Packed<P>& now;
  const Packed<P>& then;
  const BlockMatching& task;
  int64_t top;
  int64_t left;
  int64_t start_y;  // of the search: displacement (0, 0) of it is (start_y, start_x)
  int64_t start_x;
  int64_t side;
  int64_t stride;  // of the sums of one row of displacements

  // How many of the block's rows (or columns), displaced by `move`, lie inside the frame.
  static WMSCORE_INLINE int64_t inside(int64_t first, int64_t move, int64_t block, int64_t length) {
    const int64_t place = first + move;
    return std::max<int64_t>(0, std::min(place + block, length) - std::max<int64_t>(0, place));
  }

  WMSCORE_INLINE int64_t rows_inside(int64_t i) const {
    return inside(top, start_y + i, task.block, task.height);
  }
  WMSCORE_INLINE int64_t columns_inside(int64_t j) const {
    return inside(left, start_x + j, task.block, task.width);
  }

  WMSCORE_INLINE bool is_whole() const {
    return top + start_y >= 0 && top + start_y + side - 1 + task.block <= task.height &&
           left + start_x >= 0 && left + start_x + side - 1 + task.block <= task.width;
  }
};

// Sums of floats at all displacements, in registers. If kClipped, of the pixels inside the frame:
// `mask` has ones in the bits of the columns of `then` that are.
template <typename Real, int kRows, bool kClipped>
WMSCORE_INLINE void sum_rows(const Match<Real>& match, const Real* mask, int64_t i, Real* sums) {
  constexpr int kVectors = static_cast<int>(kGroup) / kLanes<Real>;
  const BlockMatching& task = match.task;
  for (int64_t j = 0; j < match.side; j += kGroup) {
    Vector<Real> sum[kRows][kVectors] = {};
    const Real* const of_columns = mask + (match.left + match.start_x + j - match.then.left);
    for (int64_t c = 0; c < task.channels; ++c) {
      const Real* here = match.now.at(c, match.top, match.left);
      const Real* there =
          match.then.at(c, match.top + match.start_y + i, match.left + match.start_x + j);
      for (int64_t y = 0; y < task.block; ++y, here += match.now.step, there += match.then.step) {
        bool is_inside[kRows];
        for (int r = 0; r < kRows; ++r) {
          const int64_t place = match.top + y + match.start_y + i + r;
          is_inside[r] = place >= 0 && place < task.height;
        }
        for (int64_t x = 0; x < task.block; ++x) {
          for (int r = 0; r < kRows; ++r) {
            if (kClipped && !is_inside[r]) continue;
            for (int v = 0; v < kVectors; ++v) {
              Vector<Real> other, inside;
              wmscore::load(other, there + r * match.then.step + x + v * kLanes<Real>);
              Vector<Real> difference = here[x] - other;
              difference = difference < 0 ? -difference : difference;
              if (kClipped) {
                wmscore::load(inside, of_columns + x + v * kLanes<Real>);
                // Chosen, not multiplied: 0 * NaN is NaN.
                difference = inside != 0 ? difference : Vector<Real>{};
              }
              sum[r][v] += difference;
            }
          }
        }
      }
    }
    for (int r = 0; r < kRows; ++r)
      std::memcpy(sums + (i + r) * match.stride + j, sum[r], sizeof sum[r]);
  }
}

template <typename Real, bool kClipped>
WMSCORE_INLINE void sum_floats(const Match<Real>& match, const Real* mask, Real* sums) {
  constexpr int kRows = 3;  // additions wait for each other: several rows at a time
  int64_t i = 0;
  for (; i + kRows <= match.side; i += kRows) sum_rows<Real, kRows, kClipped>(match, mask, i, sums);
  for (; i < match.side; ++i) sum_rows<Real, 1, kClipped>(match, mask, i, sums);
}

// The rows of the block that, displaced by row i of the search, lie inside the frame.
struct Rows {
  int64_t first;
  int64_t last;
};

WMSCORE_INLINE Rows rows_of(const Match<uint8_t>& match, int64_t i) {
  const int64_t place = match.top + match.start_y + i;
  const int64_t first = std::min(match.task.block, std::max<int64_t>(0, -place));
  return {first, std::max(first, std::min(match.task.block, match.task.height - place))};
}

// Sums of bytes at all displacements, over the rows inside the frame and all columns, those outside
// being zeros.
WMSCORE_INLINE void sum_bytes(const Match<uint8_t>& match, int32_t* sums) {
  for (int64_t i = 0; i < match.side; ++i, sums += match.stride) {
    const Rows rows = rows_of(match, i);
    for (int64_t j = 0; j < match.side; j += kGroup) {
      int32_t sum[kGroup] = {};
      for (int64_t c = 0; c < match.task.channels; ++c) {
        for (int64_t y = match.top + rows.first; y < match.top + rows.last; ++y) {
          const uint8_t* const here = match.now.at(c, y, match.left);
          const uint8_t* const there =
              match.then.at(c, y + match.start_y + i, match.left + match.start_x + j);
          for (int64_t x = 0; x < match.task.block; ++x)
            for (int64_t k = 0; k < kGroup; ++k) sum[k] += distance(here[x], there[x + k]);
        }
      }
      std::copy(sum, sum + kGroup, sums + j);
    }
  }
}

#if defined(WMSCORE_AVX2) && !defined(WMSCORE_PORTABLE)
#define WMSCORE_BYTES_IN_VECTORS
constexpr int64_t kMostWords = 256;  // differences whose sum fits 16 bits

// The same: an instruction sums four differences at each of 16 displacements.
template <int kBlock>
WMSCORE_AVX2 void sum_bytes_avx2(const Match<uint8_t>& match, int32_t* sums) {
  const int64_t channels = match.task.channels;
  const int64_t block = kBlock > 0 ? kBlock : match.task.block;
  const int64_t rows_at_once = std::min(block, kMostWords / block);
  const int64_t now_step = match.now.step, then_step = match.then.step;
  for (int64_t i = 0; i < match.side; ++i) {
    const Rows inside = rows_of(match, i);
    for (int64_t j = 0; j < match.side; j += kGroup) {
      __m256i low = _mm256_setzero_si256(), high = low;
      for (int64_t c = 0; c < channels; ++c) {
        const uint8_t* here = match.now.at(c, match.top + inside.first, match.left);
        const uint8_t* there = match.then.at(c, match.top + inside.first + match.start_y + i,
                                             match.left + match.start_x + j);
        for (int64_t y = inside.first; y < inside.last; y += rows_at_once) {
          __m256i words = _mm256_setzero_si256();
          const int64_t rows = std::min(rows_at_once, inside.last - y);
          for (int64_t row = 0; row < rows; ++row, here += now_step, there += then_step) {
            for (int64_t x = 0; x < block; x += 8) {
              const __m256i bytes = _mm256_inserti128_si256(
                  _mm256_castsi128_si256(
                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(there + x))),
                  _mm_loadu_si128(reinterpret_cast<const __m128i*>(there + x + 8)), 1);
              const __m256i own = _mm256_broadcastq_epi64(
                  _mm_loadl_epi64(reinterpret_cast<const __m128i*>(here + x)));
              words = _mm256_add_epi16(words, _mm256_mpsadbw_epu8(bytes, own, 0));
              if (x + 4 < block)
                words = _mm256_add_epi16(words, _mm256_mpsadbw_epu8(bytes, own, 055));
            }
          }
          low = _mm256_add_epi32(low, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words)));
          high = _mm256_add_epi32(high, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1)));
        }
      }
      int32_t* const to = sums + i * match.stride + j;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), low);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), high);
    }
  }
}

// The sum of differences with the block beside, which lies inside the frame too.
WMSCORE_AVX2 int32_t sum_beside(const Match<uint8_t>& match, int64_t down, int64_t right) {
  const int64_t block = match.task.block, step = match.now.step;
  __m128i sum = _mm_setzero_si128();
  for (int64_t c = 0; c < match.task.channels; ++c) {
    const uint8_t* here = match.now.at(c, match.top, match.left);
    const uint8_t* there = here + down * step + right;
    for (int64_t y = 0; y < block; ++y, here += step, there += step) {
      int64_t x = 0;
      for (; x + 8 <= block; x += 8) {
        const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(here + x));
        const __m128i b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(there + x));
        sum = _mm_add_epi32(sum, _mm_sad_epu8(a, b));
      }
      if (x < block) {
        int32_t a, b;
        std::memcpy(&a, here + x, sizeof a);
        std::memcpy(&b, there + x, sizeof b);
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_cvtsi32_si128(a), _mm_cvtsi32_si128(b)));
      }
    }
  }
  return _mm_cvtsi128_si32(sum);
}
#endif

// Takes off the sums what columns outside the frame, being zeros, have added: the block's values.
WMSCORE_INLINE void take_off_outside(const Match<uint8_t>& match, int32_t* sums) {
  const int64_t block = match.task.block, place = match.left + match.start_x;
  if (place >= 0 && place + match.side - 1 + block <= match.task.width) return;
  Rows of_columns = {0, 0};
  int32_t columns[kMostBlock + 1] = {};  // sums of the block's columns left of one, over those rows
  for (int64_t i = 0; i < match.side; ++i, sums += match.stride) {
    const Rows rows = rows_of(match, i);
    if (rows.first != of_columns.first || rows.last != of_columns.last) {
      of_columns = rows;
      std::fill(columns, columns + kMostBlock + 1, 0);
      for (int64_t c = 0; c < match.task.channels; ++c) {
        for (int64_t y = rows.first; y < rows.last; ++y) {
          const uint8_t* const here = match.now.at(c, match.top + y, match.left);
          for (int64_t x = 0; x < block; ++x) columns[x + 1] += here[x];
        }
      }
      for (int64_t x = 0; x < block; ++x) columns[x + 1] += columns[x];
    }
    for (int64_t j = 0; j < match.side; ++j) {
      const int64_t first = std::min(block, std::max<int64_t>(0, -place - j));
      const int64_t last = std::max(first, std::min(block, match.task.width - place - j));
      sums[j] -= columns[first] + columns[block] - columns[last];
    }
  }
}

WMSCORE_INLINE void sum_match(const Match<uint8_t>& match, bool in_vectors, const uint8_t*,
                              int32_t* sums) {
#ifdef WMSCORE_BYTES_IN_VECTORS
  const int64_t block = match.task.block;
  const auto in_avx2 = block == 8    ? sum_bytes_avx2<8>
                       : block == 16 ? sum_bytes_avx2<16>
                                     : sum_bytes_avx2<0>;
  if (in_vectors) {
    in_avx2(match, sums);
  } else {
    sum_bytes(match, sums);
  }
#else
  (void)in_vectors;
  sum_bytes(match, sums);
#endif
  take_off_outside(match, sums);
}

template <typename Real>
WMSCORE_INLINE void sum_match(const Match<Real>& match, bool, const Real* mask, Real* sums) {
  if (match.is_whole()) {
    sum_floats<Real, false>(match, mask, sums);
  } else {
    sum_floats<Real, true>(match, mask, sums);
  }
}

WMSCORE_INLINE int32_t none_of(int32_t) { return std::numeric_limits<int32_t>::max(); }
template <typename Real>
WMSCORE_INLINE Real none_of(Real) {
  return std::numeric_limits<Real>::infinity();
}

WMSCORE_INLINE int32_t least_of(const int32_t* keys, int64_t count) {
  int32_t least = none_of(int32_t{});
  for (int64_t i = 0; i < count; ++i) least = std::min(least, keys[i]);
  return least;
}

template <typename Real>
WMSCORE_INLINE Real least_of(const Real* keys, int64_t count) {  // a multiple of kGroup
  Vector<Real> least, some;
  wmscore::load(least, keys);
  for (int64_t i = kLanes<Real>; i < count; i += kLanes<Real>) {
    wmscore::load(some, keys + i);
    least = some < least ? some : least;
  }
  Real result = least[0];
  for (int k = 1; k < kLanes<Real>; ++k) result = std::min<Real>(result, least[k]);
  return result;
}

// Chooses among keys, [side, stride], those that do not count being none_of, and writes the
// displacement and the first ten costs: mean_of(key).
template <typename Key, typename Real, typename MeanOf>
WMSCORE_INLINE void choose(Key* keys, int64_t side, int64_t stride, int64_t start_y,
                           int64_t start_x, const MeanOf& mean_of, int32_t* displacement,
                           Real* costs) {
  const Key none = none_of(Key{});
  const Key least = least_of(keys, side * stride);
  if (least == none) {
    displacement[0] = displacement[1] = 0;
    std::fill(costs, costs + 10, std::numeric_limits<Real>::quiet_NaN());
    return;
  }
  const int64_t radius = side / 2;
  int64_t nearest = std::numeric_limits<int64_t>::max(), row = 0, column = 0;
  for (int64_t i = 0; i < side; ++i) {
    const Key* const of_row = keys + i * stride;
    int any = 0;
    for (int64_t j = 0; j < stride; ++j) any |= of_row[j] == least;
    if (any == 0) continue;
    for (int64_t j = 0; j < side; ++j) {
      const int64_t away = (i - radius) * (i - radius) + (j - radius) * (j - radius);
      if (of_row[j] == least && away < nearest) {
        nearest = away;
        row = i;
        column = j;
      }
    }
  }
  displacement[0] = static_cast<int32_t>(start_y + row);
  displacement[1] = static_cast<int32_t>(start_x + column);
  for (int64_t i = -1; i <= 1; ++i) {
    for (int64_t j = -1; j <= 1; ++j) {
      const bool is_there = row + i >= 0 && row + i < side && column + j >= 0 && column + j < side;
      Key key = none;
      if (is_there) std::swap(key, keys[(row + i) * stride + column + j]);
      *costs++ = key == none ? std::numeric_limits<Real>::quiet_NaN() : mean_of(key);
    }
  }
  const Key second = least_of(keys, side * stride);
  *costs = second == none ? std::numeric_limits<Real>::quiet_NaN() : mean_of(second);
}

// Sums to the means that count.
template <typename P, typename Sum, typename Key>
WMSCORE_INLINE void divide(const Match<P>& match, const Sum* sums, Key* keys) {
  const int64_t block = match.task.block, channels = match.task.channels;
  Key columns[kMostSide];
  for (int64_t j = 0; j < match.side; ++j) columns[j] = static_cast<Key>(match.columns_inside(j));
  const Key least = static_cast<Key>(block * block), none = none_of(Key{});
  for (int64_t i = 0; i < match.side; ++i) {
    const Key rows = static_cast<Key>(match.rows_inside(i));
    for (int64_t j = 0; j < match.side; ++j) {
      const Key pixels = rows * columns[j];
      const Key mean = static_cast<Key>(sums[i * match.stride + j]) / (pixels * channels);
      keys[i * match.stride + j] = 2 * pixels >= least && mean < none ? mean : none;
    }
    std::fill(keys + i * match.stride + match.side, keys + (i + 1) * match.stride, none);
  }
}

// The costs of the frame with itself.
template <typename P, typename Sum, typename Key, typename Real>
WMSCORE_INLINE void own_costs(const Match<P>& match, bool in_vectors, Real* costs) {
  const BlockMatching& task = match.task;
  const int64_t block = task.block;
  for (int k = 0; k < 6; ++k) {
    const int64_t down = kMoves[k][0], right = kMoves[k][1];
    const int64_t first_y = std::max<int64_t>(0, -match.top - down);
    const int64_t last_y = std::min(block, task.height - match.top - down);
    const int64_t first_x = std::max<int64_t>(0, -match.left - right);
    const int64_t last_x = std::min(block, task.width - match.left - right);
    const int64_t pixels = (last_y - first_y) * (last_x - first_x);
    Sum sum = 0;
    bool is_done = false;
#ifdef WMSCORE_BYTES_IN_VECTORS
    if constexpr (std::is_same_v<P, uint8_t>) {
      if (in_vectors && pixels == block * block) {
        sum = sum_beside(match, down, right);
        is_done = true;
      }
    }
#endif
    for (int64_t c = 0; !is_done && c < task.channels; ++c) {
      for (int64_t y = first_y; y < last_y; ++y) {
        const P* const here = match.now.at(c, match.top + y, match.left);
        const P* const there = here + down * match.now.step + right;
        for (int64_t x = first_x; x < last_x; ++x) sum += distance(here[x], there[x]);
      }
    }
    const Key mean = static_cast<Key>(sum) / static_cast<Key>(pixels * task.channels);
    costs[k] =
        mean < none_of(Key{}) ? static_cast<Real>(mean) : std::numeric_limits<Real>::quiet_NaN();
  }
}

template <typename P, typename Sum, typename Real>
WMSCORE_INLINE void match_block(const Match<P>& match, const P* mask, Sum* sums, double* keys,
                                int32_t* displacement, Real* costs) {
  bool in_vectors = false;
#ifdef WMSCORE_BYTES_IN_VECTORS
  in_vectors = wmscore::has_avx2();
#endif
  const int64_t side = match.side, stride = match.stride;
  sum_match(match, in_vectors, mask, sums);
  if constexpr (!std::is_same_v<P, uint8_t>) {
    divide(match, sums, sums);
    const auto mean_of = [](Real mean) { return mean; };
    choose(sums, side, stride, match.start_y, match.start_x, mean_of, displacement, costs);
    own_costs<P, Sum, Real>(match, false, costs + 10);
  } else {
    if (match.is_whole()) {  // all of as many pixels: the sums decide
      const int64_t pixels = match.task.block * match.task.block * match.task.channels;
      for (int64_t i = 0; i < side; ++i)
        std::fill(sums + i * stride + side, sums + (i + 1) * stride, none_of(int32_t{}));
      const auto mean_of = [&](int32_t sum) {
        return static_cast<float>(sum / static_cast<double>(pixels));
      };
      choose(sums, side, stride, match.start_y, match.start_x, mean_of, displacement, costs);
    } else {
      divide(match, sums, keys);
      const auto mean_of = [](double mean) { return static_cast<float>(mean); };
      choose(keys, side, stride, match.start_y, match.start_x, mean_of, displacement, costs);
    }
    own_costs<P, Sum, double>(match, in_vectors, costs + 10);
  }
}

template <typename T>
WMSCORE_INLINE void match_rows(const BlockMatching& task, int64_t first, int64_t last,
                               int32_t* displacements, RealOf<T>* costs) {
  using P = PackedOf<T>;
  const int64_t block = task.block, radius = task.radius;
  const int64_t rows = task.height / block, columns = task.width / block;
  const int64_t top = (task.height - rows * block) / 2, left = (task.width - columns * block) / 2;
  const int64_t side = 2 * radius + 1, stride = (side + kGroup - 1) / kGroup * kGroup;
  Packed<P> now(task.channels, block + 2, columns * block + 2);
  Packed<P> then(task.channels, block + 2 * radius, columns * block + 2 * radius);
  std::vector<P> mask(then.step);
  alignas(32) SumOf<T> sums[kMostSide * kMostStride];
  alignas(32) double keys[kMostSide * kMostStride];
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / rows, y = top + item % rows * block;
    const int64_t of_batch = image / task.steps, step = image % task.steps;
    int64_t start[2] = {0, 0};
    for (int axis = 0; task.start != nullptr && axis < 2; ++axis)
      start[axis] = std::min(kFar, std::max(-kFar, task.start[2 * image + axis]));
    start[0] -= radius;
    start[1] -= radius;
    pack<T>(task.frames, of_batch * task.frames_batch + step * task.frames.image, task, y - 1,
            left - 1, now);
    pack<T>(task.following, of_batch * task.following_batch + step * task.following.image, task,
            y + start[0], left + start[1], then);
    for (int64_t x = 0; x < then.step; ++x)
      mask[x] = then.left + x >= 0 && then.left + x < task.width;
    for (int64_t column = 0; column < columns; ++column) {
      const Match<P> match = {now,      then,     task, y,     left + column * block,
                              start[0], start[1], side, stride};
      const int64_t place = item * columns + column;
      match_block(match, mask.data(), sums, keys, displacements + 2 * place,
                  costs + kBlockCosts * place);
    }
  }
}

// The attribute takes no template, hence one function for each type.
#define WMSCORE_MATCH(name, T)                                                       \
  WMSCORE_CLONES void name(const BlockMatching& task, int64_t first, int64_t last,   \
                           int32_t* displacements, void* costs) {                    \
    match_rows<T>(task, first, last, displacements, static_cast<RealOf<T>*>(costs)); \
  }
WMSCORE_MATCH(match_uint8, uint8_t)
WMSCORE_MATCH(match_float16, Half)
WMSCORE_MATCH(match_bfloat16, Bfloat16)
WMSCORE_MATCH(match_float32, float)
WMSCORE_MATCH(match_float64, double)

}  // namespace

void wmscore_block_flow_cpu(Element element, BlockMatching task, int64_t first, int64_t last,
                            int32_t* displacements, void* costs) {
  switch (element) {
    case Element::kUint8:
      return match_uint8(task, first, last, displacements, costs);
    case Element::kFloat16:
      return match_float16(task, first, last, displacements, costs);
    case Element::kBfloat16:
      return match_bfloat16(task, first, last, displacements, costs);
    case Element::kFloat32:
      return match_float32(task, first, last, displacements, costs);
    case Element::kFloat64:
      return match_float64(task, first, last, displacements, costs);
    case Element::kUint16:  // of pyramids only
      return;
  }
}
