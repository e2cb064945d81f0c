// Failures and recoveries of curves: 64 steps are compared at a time, and become words of bits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../crossing.h"
#include "clones.h"

namespace {

using wmscore::CrossingInput;
using wmscore::CurveScan;
using wmscore::Earliest;
using wmscore::FoundCrossings;
using wmscore::ScoreCurves;
using wmscore::StepSet;
using wmscore::widen;

constexpr int kSteps = 64;         // of a word
constexpr int64_t kRollouts = 64;  // that are looked at together,
constexpr int64_t kMarks = 1024;   // as far as they have no more words of marks of one kind
using Bits = wmscore::StepBits<uint64_t>;

// Bit i is set where byte i is 1 rather than 0.
inline uint64_t pack(const uint8_t (&bytes)[kSteps]) {
  uint64_t word = 0;
  for (int i = 0; i < kSteps; i += 8) {
    uint64_t eight;
    std::memcpy(&eight, bytes + i, sizeof eight);
    word |= (eight * 0x0102040810204080u >> 56) << i;
  }
  return word;
}

// 64 scores, NaN where there is none, and their thresholds; `least` takes the smallest margin.
// Above means that high scores fail: both sides change their sign.
template <typename Real>
void compare(const Real* scores, const Real* limits, const Real* backs, bool above, Bits& bits,
             Real& least) {
  const Real sign = above ? -1 : 1;
  uint8_t fails[kSteps], passes[kSteps], defined[kSteps];
  Real margins[kSteps];
  for (int i = 0; i < kSteps; ++i) {
    const Real score = sign * scores[i], limit = sign * limits[i], back = sign * backs[i];
    const bool is_defined = (score == score) & (limit == limit) & (back == back);
    defined[i] = is_defined;
    fails[i] = is_defined & (score < limit);
    passes[i] = is_defined & (score >= back) & !(score < limit);
    margins[i] = score - limit;
  }
  bits = {pack(fails), pack(passes), pack(defined)};
  for (int i = 0; i < kSteps; ++i) {
    if (defined[i] && margins[i] < least) least = margins[i];
  }
}

#ifdef WMSCORE_AVX2
template <typename Real>
struct Lanes;

template <>
struct Lanes<float> {
  using Vector = __m256;
  static constexpr int kCount = 8;
  WMSCORE_AVX2 static WMSCORE_INLINE Vector all(float x) { return _mm256_set1_ps(x); }
  WMSCORE_AVX2 static WMSCORE_INLINE Vector load(const float* x) { return _mm256_loadu_ps(x); }
  WMSCORE_AVX2 static WMSCORE_INLINE void store(float* x, Vector v) { _mm256_storeu_ps(x, v); }
  template <int kWhat>
  WMSCORE_AVX2 static WMSCORE_INLINE uint64_t bits(Vector a, Vector b) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, kWhat)));
  }
  WMSCORE_AVX2 static WMSCORE_INLINE Vector difference(Vector a, Vector b) {
    return _mm256_sub_ps(a, b);
  }
  // `b` where `a` is NaN.
  WMSCORE_AVX2 static WMSCORE_INLINE Vector smaller(Vector a, Vector b) {
    return _mm256_min_ps(a, b);
  }
};

template <>
struct Lanes<double> {
  using Vector = __m256d;
  static constexpr int kCount = 4;
  WMSCORE_AVX2 static WMSCORE_INLINE Vector all(double x) { return _mm256_set1_pd(x); }
  WMSCORE_AVX2 static WMSCORE_INLINE Vector load(const double* x) { return _mm256_loadu_pd(x); }
  WMSCORE_AVX2 static WMSCORE_INLINE void store(double* x, Vector v) { _mm256_storeu_pd(x, v); }
  template <int kWhat>
  WMSCORE_AVX2 static WMSCORE_INLINE uint64_t bits(Vector a, Vector b) {
    return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, kWhat)));
  }
  WMSCORE_AVX2 static WMSCORE_INLINE Vector difference(Vector a, Vector b) {
    return _mm256_sub_pd(a, b);
  }
  WMSCORE_AVX2 static WMSCORE_INLINE Vector smaller(Vector a, Vector b) {
    return _mm256_min_pd(a, b);
  }
};

// The same with thresholds that hold for all 64, for scores of which the low ones fail, or (kAbove)
// the high ones. The margin of an undefined step is NaN and no minimum.
template <typename Real, bool kAbove>
WMSCORE_AVX2 void compare_avx2(const Real* scores, Real limit, Real back, Bits& bits, Real& least) {
  using V = Lanes<Real>;
  const typename V::Vector low = V::all(limit), high = V::all(back);
  typename V::Vector minimum = V::all(least);
  uint64_t fails = 0, passes = 0, defined = 0;
#pragma GCC unroll 16
  for (int i = 0; i < kSteps; i += V::kCount) {
    const typename V::Vector score = V::load(scores + i);
    fails |= V::template bits<kAbove ? _CMP_GT_OQ : _CMP_LT_OQ>(score, low) << i;
    passes |= V::template bits<kAbove ? _CMP_LE_OQ : _CMP_GE_OQ>(score, high) << i;
    defined |= V::template bits<_CMP_ORD_Q>(score, score) << i;
    minimum = V::smaller(kAbove ? V::difference(low, score) : V::difference(score, low), minimum);
  }
  bits = {fails, passes & ~fails, defined};
  Real of_lanes[V::kCount];
  V::store(of_lanes, minimum);
  for (int i = 0; i < V::kCount; ++i) least = of_lanes[i] < least ? of_lanes[i] : least;
}
#endif

template <typename T>
const T* row_of(const CrossingInput& side, int64_t axis, int64_t rollout) {
  return static_cast<const T*>(side.data) + axis * side.axis + rollout * side.rollout;
}

// 64 values of a row from step `first` on, where they follow each other already, or copied to
// `room`; `missing` past the end.
template <typename T, typename Real>
const Real* values_of(const T* row, int64_t stride, int64_t first, int64_t steps, Real missing,
                      Real (&room)[kSteps]) {
  const int64_t count = std::min<int64_t>(kSteps, steps - first);
  if constexpr (std::is_same_v<T, Real>) {
    if (stride == 1 && count == kSteps) return row + first;
  }
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) room[i] = widen(row[first + i]);
  } else {
    for (int64_t i = 0; i < count; ++i) room[i] = widen(row[(first + i) * stride]);
  }
  for (int64_t i = count; i < kSteps; ++i) room[i] = missing;
  return room;
}

// Any byte but 0 is true, as in torch.
uint64_t valid_bits(const uint8_t* row, int64_t stride, int64_t first, int64_t steps) {
  const int64_t count = std::min<int64_t>(kSteps, steps - first);
  uint8_t bytes[kSteps] = {};
  if (stride == 1) {
    std::memcpy(bytes, row + first, count);
  } else {
    for (int64_t i = 0; i < count; ++i) bytes[i] = row[(first + i) * stride];
  }
  for (uint8_t& byte : bytes) byte = byte != 0;
  return pack(bytes);
}

// One axis of one rollout, read a word of steps at a time.
template <typename T, typename Real, bool kAvx2>
class Curve {
 public:
  WMSCORE_INLINE Curve(const ScoreCurves& curves, int64_t axis, int64_t rollout)
      : curves_(curves),
        recover_(curves.recover.data ? curves.recover : curves.threshold),
        scores_(row_of<T>(curves.scores, axis, rollout)),
        limits_(row_of<T>(curves.threshold, axis, rollout)),
        backs_(row_of<T>(recover_, axis, rollout)) {
    is_flat_ = curves.threshold.step == 0 && recover_.step == 0;
    limit_ = widen(limits_[0]);
    // Where a threshold is NaN, no step is defined.
    is_known_ = !is_flat_ || (limit_ == limit_ && widen(backs_[0]) == widen(backs_[0]));
  }

  WMSCORE_INLINE Bits read(int64_t first, Real& least) const {
    Bits bits = {0, 0, 0};
    if (!is_known_) return bits;
    Real room[kSteps];
    const Real* const scores = values_of<T, Real>(scores_, curves_.scores.step, first,
                                                  curves_.steps, static_cast<Real>(NAN), room);
#ifdef WMSCORE_AVX2
    if constexpr (kAvx2) {
      if (is_flat_) {
        const Real back = widen(backs_[0]);
        if (curves_.above) {
          compare_avx2<Real, true>(scores, limit_, back, bits, least);
        } else {
          compare_avx2<Real, false>(scores, limit_, back, bits, least);
        }
        return bits;
      }
    }
#endif
    Real limit_room[kSteps], back_room[kSteps];
    const Real* const limits =
        values_of<T, Real>(limits_, curves_.threshold.step, first, curves_.steps, 0, limit_room);
    const Real* const backs =
        values_of<T, Real>(backs_, recover_.step, first, curves_.steps, 0, back_room);
    compare<Real>(scores, limits, backs, curves_.above, bits, least);
    return bits;
  }

  WMSCORE_INLINE Real margin(int64_t step) const {
    const Real score = widen(scores_[step * curves_.scores.step]);
    const Real limit = widen(limits_[step * curves_.threshold.step]);
    return curves_.above ? limit - score : score - limit;
  }

 private:
  const ScoreCurves& curves_;
  const CrossingInput recover_;
  const T* scores_;
  const T* limits_;
  const T* backs_;
  Real limit_;
  bool is_flat_, is_known_;
};

int64_t value_of(const CrossingInput& side, int64_t axis, int64_t rollout) {
  return side.data ? *row_of<int64_t>(side, axis, rollout) : 1;
}

template <typename T, bool kAvx2>
WMSCORE_INLINE void scan(const ScoreCurves& curves, int64_t first, int64_t last,
                         const FoundCrossings& found) {
  using Real = decltype(widen(T{}));
  const int64_t words = (curves.steps + kSteps - 1) / kSteps;
  const int64_t pitch = curves.axes * curves.rollouts;
  Real* const margins = static_cast<Real*>(found.margins);
  const uint64_t tail =
      curves.steps % kSteps == 0 ? ~uint64_t{0} : ~(~uint64_t{0} << curves.steps % kSteps);
  // Some rollouts of one axis, then the same of the next: rows that follow each other are read, and
  // results written, one after the other.
  const int64_t together = std::min<int64_t>(kRollouts, std::max<int64_t>(1, kMarks / words));
  std::vector<uint64_t> room(3 * words * together);
  Earliest<int64_t> failed[kRollouts], lasting[kRollouts];
  for (int64_t begin = first; begin < last; begin += together) {
    const int64_t end = std::min(last, begin + together);
    std::fill(room.begin(), room.end(), 0);
    std::fill_n(failed, end - begin, Earliest<int64_t>{});
    std::fill_n(lasting, end - begin, Earliest<int64_t>{});
    for (int64_t axis = 0; axis < curves.axes; ++axis) {
      const bool is_gated = !curves.gated || curves.gated[axis];
      for (int64_t rollout = begin; rollout < end; ++rollout) {
        uint64_t *const exists = room.data() + 3 * words * (rollout - begin),
                        *const judged = exists + words, *const lost = judged + words;
        const Curve<T, Real, kAvx2> curve(curves, axis, rollout);
        const uint8_t* const valid =
            curves.valid.data ? row_of<uint8_t>(curves.valid, axis, rollout) : nullptr;
        CurveScan<uint64_t, int64_t> curve_scan(value_of(curves.patience, axis, rollout),
                                                value_of(curves.recovery_patience, axis, rollout),
                                                is_gated, StepSet<uint64_t>{lost, 1});
        Real least = std::numeric_limits<Real>::infinity();
        for (int64_t word = 0; word < words; ++word) {
          const int64_t base = word * kSteps;
          uint64_t inside = word + 1 < words ? ~uint64_t{0} : tail;
          if (valid) inside &= valid_bits(valid, curves.valid.step, base, curves.steps);
          exists[word] |= inside;
          Real of_word = least;
          Bits bits = curve.read(base, of_word);
          if ((bits.defined & ~inside) == 0) {
            least = of_word;
          } else {  // few words have steps that are defined but not valid
            bits.fails &= inside;
            bits.passes &= inside;
            bits.defined &= inside;
            for (uint64_t rest = bits.defined; rest != 0; rest &= rest - 1) {
              const Real margin = curve.margin(base + wmscore::lowest_bit(rest));
              if (margin < least) least = margin;
            }
          }
          if (is_gated) judged[word] |= bits.defined;
          curve_scan.add(bits, base);
        }
        const int64_t place = axis * curves.rollouts + rollout;
        curve_scan.finish(curves.steps, found.curves + place, pitch);
        if (is_gated) {
          failed[rollout - begin].add(curve_scan.first(), axis);
          lasting[rollout - begin].add(curve_scan.lasting(), axis);
        }
        const int64_t step = curve_scan.first();
        margins[place] = step > 0 ? curve.margin(step - 1) : static_cast<Real>(NAN);
        margins[pitch + place] = curve_scan.defined() > 0 ? least : static_cast<Real>(NAN);
      }
    }
    for (int64_t rollout = begin; rollout < end; ++rollout) {
      const uint64_t *const exists = room.data() + 3 * words * (rollout - begin),
                            *const judged = exists + words, *const lost = judged + words;
      const Earliest<int64_t>&first = failed[rollout - begin], &last = lasting[rollout - begin];
      int64_t values[wmscore::kRolloutColumns] = {0,          0,          0,         0,
                                                  first.step, first.axis, last.step, last.axis};
      for (int64_t word = 0; word < words; ++word) {
        values[0] += wmscore::count_bits(exists[word]);
        if (exists[word]) values[1] = (word + 1) * kSteps - __builtin_clzll(exists[word]);
        values[2] += wmscore::count_bits(judged[word]);
        values[3] += wmscore::count_bits(judged[word] & ~lost[word]);
      }
      for (int k = 0; k < wmscore::kRolloutColumns; ++k) {
        found.of_rollouts[k * curves.rollouts + rollout] = values[k];
      }
    }
  }
}

#ifdef WMSCORE_AVX2
template <typename T>
WMSCORE_AVX2 void scan_avx2(const ScoreCurves& curves, int64_t first, int64_t last,
                            const FoundCrossings& found) {
  scan<T, true>(curves, first, last, found);
}
#endif

template <typename T>
void run(const ScoreCurves& curves, int64_t first, int64_t last, const FoundCrossings& found) {
#ifdef WMSCORE_AVX2
  if (wmscore::has_avx2()) return scan_avx2<T>(curves, first, last, found);
#endif
  scan<T, false>(curves, first, last, found);
}

}  // namespace

void wmscore_first_crossing_cpu(wmscore::Element element, ScoreCurves curves, int64_t first,
                                int64_t last, FoundCrossings found) {
  switch (element) {
    case wmscore::Element::kFloat16:
      return run<wmscore::Half>(curves, first, last, found);
    case wmscore::Element::kBfloat16:
      return run<wmscore::Bfloat16>(curves, first, last, found);
    case wmscore::Element::kFloat32:
      return run<float>(curves, first, last, found);
    default:
      return run<double>(curves, first, last, found);
  }
}
