// What the kernels of first_crossing share: failures and recoveries of a curve, told from words of
// bits, one for each step.
#pragma once

#include "half.h"
#include "kernels.h"

namespace wmscore {

WMSCORE_HOST_DEVICE inline int count_bits(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}

WMSCORE_HOST_DEVICE inline int count_bits(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

// Of a word that is not 0.
WMSCORE_HOST_DEVICE inline int lowest_bit(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

WMSCORE_HOST_DEVICE inline int lowest_bit(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

// What each step of a word says: below the threshold, at or above the one to recover at, defined.
// The first two hold at defined steps only, and never both.
template <typename Word>
struct StepBits {
  Word fails;
  Word passes;
  Word defined;
};

// Bits of sets of steps, `pitch` words apart: the kernel's own scratch.
template <typename Word>
struct StepSet {
  Word* words;
  int64_t pitch;

  WMSCORE_HOST_DEVICE Word& operator[](int64_t i) const { return words[i * pitch]; }

  // The steps first <= t < last, counted from 0.
  WMSCORE_HOST_DEVICE void add(int64_t first, int64_t last) const {
    constexpr int64_t kBits = sizeof(Word) * 8;
    for (int64_t i = first / kBits; i * kBits < last; ++i) {
      Word inside = ~Word{0};
      if (i * kBits < first) inside &= ~Word{0} << (first - i * kBits);
      if (last - i * kBits < kBits) inside &= ~(~Word{0} << (last - i * kBits));
      (*this)[i] |= inside;
    }
  }
};

// One curve, a word of steps after the other.
template <typename Word>
class CurveScan {
 public:
  static constexpr int kBits = sizeof(Word) * 8;

  // `lost` takes the steps of failures, if `marks`.
  WMSCORE_HOST_DEVICE CurveScan(int64_t patience, int64_t recovery_patience, bool marks,
                                StepSet<Word> lost)
      : patience_(patience < 1 ? 1 : patience),
        recovery_patience_(recovery_patience < 1 ? 1 : recovery_patience),
        marks_(marks),
        lost_(lost) {}

  // The steps from `base` on.
  WMSCORE_HOST_DEVICE void add(const StepBits<Word>& bits, int64_t base) {
    // A step that neither fails nor passes is as the one before it: a failing one carries through
    // the held steps that follow it, as the carry of a sum does.
    const Word held = ~(bits.fails | bits.passes);
    const Word entering = (bits.fails << 1 | Word{is_failing_}) & held;
    const Word failing_or_held = bits.fails | (held & ~static_cast<Word>(entering + held));
    is_failing_ = (failing_or_held >> (kBits - 1)) != 0;
    const Word failing = failing_or_held & bits.defined;
    const Word passing = bits.defined & ~failing_or_held;
    failing_ += count_bits(failing);
    follow(failing, passing, bits.defined, base);
    defined_ += count_bits(bits.defined);
  }

  // After the last word. Values of `curves` are `pitch` apart.
  WMSCORE_HOST_DEVICE void finish(int64_t steps, int64_t* curves, int64_t pitch) {
    if (is_down_) {
      lost_steps_ += defined_ - begin_defined_;
      if (marks_) lost_.add(last_failure_ - 1, steps);
    } else if (failures_ == 1) {
      recovered_ = defined_ - back_defined_;
    }
    const int64_t values[kCrossingColumns] = {
        first_,    recovery_, recovered_, last_failure_, last_recovery_,
        failures_, defined_,  failing_,   lost_steps_,   is_down_ ? 0 : run_};
    for (int k = 0; k < kCrossingColumns; ++k) curves[k * pitch] = values[k];
  }

  WMSCORE_HOST_DEVICE int64_t first() const { return first_; }
  WMSCORE_HOST_DEVICE int64_t defined() const { return defined_; }

 private:
  // Looks for a run that is long enough: of failing steps, or in a failure of passing ones.
  WMSCORE_HOST_DEVICE void follow(Word failing, Word passing, Word defined, int64_t base) {
    for (int place = 0; place < kBits;) {
      const Word rest = ~Word{0} << place;
      const Word wanted = (is_down_ ? passing : failing) & rest;
      Word others = (is_down_ ? failing : passing) & rest;
      if (run_ == 0) {
        if (wanted == 0) return;
        place = lowest_bit(wanted);
        others &= ~Word{0} << place;
        run_begin_ = base + place + 1;
        run_defined_ = defined_ + count_bits(static_cast<Word>(defined & ~(~Word{0} << place)));
      }
      const int end = others == 0 ? kBits : lowest_bit(others);
      const Word before = end == kBits ? ~Word{0} : ~(~Word{0} << end);
      run_ += count_bits(static_cast<Word>(wanted & before));
      if (run_ >= (is_down_ ? recovery_patience_ : patience_)) {
        turn();
        run_ = 0;
      } else if (end < kBits) {
        run_ = 0;
      }
      place = end;
    }
  }

  WMSCORE_HOST_DEVICE void turn() {
    is_down_ = !is_down_;
    if (is_down_) {
      ++failures_;
      if (failures_ == 1) first_ = run_begin_;
      if (failures_ == 2) recovered_ = run_defined_ - back_defined_;
      last_failure_ = run_begin_;
      last_recovery_ = 0;
      begin_defined_ = run_defined_;
    } else {
      if (failures_ == 1) {
        recovery_ = run_begin_;
        back_defined_ = run_defined_;
      }
      last_recovery_ = run_begin_;
      lost_steps_ += run_defined_ - begin_defined_;
      if (marks_) lost_.add(last_failure_ - 1, run_begin_ - 1);
    }
  }

  int64_t patience_, recovery_patience_;
  bool marks_;
  StepSet<Word> lost_;
  bool is_failing_ = false;  // the last step, or the one that it holds from
  bool is_down_ = false;     // in a failure
  int64_t run_ = 0, run_begin_ = 0, run_defined_ = 0;
  int64_t first_ = 0, recovery_ = 0, recovered_ = 0, last_failure_ = 0, last_recovery_ = 0;
  int64_t failures_ = 0, defined_ = 0, failing_ = 0, lost_steps_ = 0;
  int64_t begin_defined_ = 0, back_defined_ = 0;  // defined steps before
};

}  // namespace wmscore
