// What the kernels of first_crossing share: failures and recoveries of a curve, told from words of
// bits, one for each step.
#pragma once

#include "half.h"
#include "kernels.h"

// What is called must become part of the kernel: on a CPU, counting bits is one instruction only in
// a function that is compiled for the processors that have it.
#if defined(__CUDACC__)
#define WMSCORE_PART __host__ __device__ inline
#elif defined(__GNUC__)
#define WMSCORE_PART inline __attribute__((always_inline))
#else
#define WMSCORE_PART inline
#endif

namespace wmscore {

WMSCORE_PART int count_bits(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}

WMSCORE_PART int count_bits(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

// Of a word that is not 0.
WMSCORE_PART int lowest_bit(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

WMSCORE_PART int lowest_bit(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

// Of a word that is not 0.
WMSCORE_PART int highest_bit(uint32_t word) {
#ifdef __CUDA_ARCH__
  return 31 - __clz(static_cast<int>(word));
#else
  return 31 - __builtin_clz(word);
#endif
}

WMSCORE_PART int highest_bit(uint64_t word) {
#ifdef __CUDA_ARCH__
  return 63 - __clzll(static_cast<long long>(word));
#else
  return 63 - __builtin_clzll(word);
#endif
}

// The bits from which on `length` >= 1 in a row are set.
template <typename Word>
WMSCORE_PART Word runs_of(Word word, int64_t length) {
  if (length > static_cast<int64_t>(sizeof(Word) * 8)) return 0;
  for (int done = 1; done < length;) {
    const int more = 2 * done <= length ? done : static_cast<int>(length) - done;
    word &= word >> more;
    done += more;
  }
  return word;
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

  WMSCORE_PART Word& operator[](int64_t i) const { return words[i * pitch]; }

  // The steps first <= t < last, counted from 0.
  WMSCORE_PART void add(int64_t first, int64_t last) const {
    constexpr int64_t kBits = sizeof(Word) * 8;
    for (int64_t i = first / kBits; i * kBits < last; ++i) {
      Word inside = ~Word{0};
      if (i * kBits < first) inside &= ~Word{0} << (first - i * kBits);
      if (last - i * kBits < kBits) inside &= ~(~Word{0} << (last - i * kBits));
      (*this)[i] |= inside;
    }
  }
};

// One curve, a word of steps after the other; a Count holds the number of steps.
template <typename Word, typename Count>
class CurveScan {
 public:
  static constexpr int kBits = sizeof(Word) * 8;

  // `lost` takes the steps of failures, if `marks`.
  WMSCORE_PART CurveScan(int64_t patience, int64_t recovery_patience, bool marks,
                         StepSet<Word> lost)
      : patience_(clamped(patience)),
        recovery_patience_(clamped(recovery_patience)),
        marks_(marks),
        lost_(lost) {}

  // The steps from `base` on.
  WMSCORE_PART void add(const StepBits<Word>& bits, Count base) {
    // A step that neither fails nor passes is as the one before it: a failing one carries through
    // the held steps that follow it, as the carry of a sum does.
    const Word held = ~(bits.fails | bits.passes);
    const Word entering = (bits.fails << 1 | Word{is_failing_}) & held;
    const Word failing_or_held = bits.fails | (held & ~static_cast<Word>(entering + held));
    is_failing_ = (failing_or_held >> (kBits - 1)) != 0;
    const Word failing = failing_or_held & bits.defined;
    const Word passing = bits.defined & ~failing_or_held;
    failing_ += count_bits(failing);
    follow(failing, passing, bits.defined, failing_or_held, base);
    defined_ += count_bits(bits.defined);
  }

  // After the last word. Values of `curves` are `pitch` apart.
  WMSCORE_PART void finish(Count steps, int64_t* curves, int64_t pitch) {
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

  WMSCORE_PART Count first() const { return first_; }
  WMSCORE_PART Count defined() const { return defined_; }

 private:
  WMSCORE_PART static Count clamped(int64_t patience) {
    constexpr int64_t kMost = 0x7fffffff;  // more steps than a curve has
    return static_cast<Count>(patience < 1 ? 1 : patience > kMost ? kMost : patience);
  }

  // Looks for runs that are long enough: of failing steps, or in a failure of passing ones. A run
  // that is long enough without the steps it holds is so with them, which are found at once.
  WMSCORE_PART void follow(Word failing, Word passing, Word defined, Word failing_or_held,
                           Count base) {
    Word long_runs = 0;
    bool is_found = false;  // long_runs
    for (int place = 0; place < kBits;) {
      const Word rest = ~Word{0} << place;
      Word wanted = (is_down_ ? passing : failing) & rest;
      Word others = (is_down_ ? failing : passing) & rest;
      const Count needed = is_down_ ? recovery_patience_ : patience_;
      if (run_ == 0) {
        if (wanted == 0) return;
        if (others != 0) {
          // On to the run that is long enough, or to the one at the end of the word.
          if (!is_found) {
            long_runs =
                runs_of(is_down_ ? static_cast<Word>(~failing_or_held) : failing_or_held, needed);
          }
          is_found = true;
          const Word ahead = long_runs & rest;
          const Word skipped = ahead == 0 ? others : others & ~(~Word{0} << lowest_bit(ahead));
          if (skipped != 0) {
            place = highest_bit(skipped) + 1;
            if (place == kBits) return;
            wanted &= ~Word{0} << place;
            others &= ~Word{0} << place;
            if (wanted == 0) return;
          }
        }
        place = lowest_bit(wanted);
        others &= ~Word{0} << place;
        run_begin_ = base + place + 1;
        run_defined_ = defined_ + count_bits(static_cast<Word>(defined & ~(~Word{0} << place)));
      }
      const int end = others == 0 ? kBits : lowest_bit(others);
      const Word before = end == kBits ? ~Word{0} : ~(~Word{0} << end);
      run_ += count_bits(static_cast<Word>(wanted & before));
      if (run_ >= needed) {
        turn();
        is_found = false;
        run_ = 0;
      } else if (end < kBits) {
        run_ = 0;
      }
      place = end;
    }
  }

  WMSCORE_PART void turn() {
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

  Count patience_, recovery_patience_;
  bool marks_;
  StepSet<Word> lost_;
  bool is_failing_ = false;  // the last step, or the one that it holds from
  bool is_down_ = false;     // in a failure
  Count run_ = 0, run_begin_ = 0, run_defined_ = 0;
  Count first_ = 0, recovery_ = 0, recovered_ = 0, last_failure_ = 0, last_recovery_ = 0;
  Count failures_ = 0, defined_ = 0, failing_ = 0, lost_steps_ = 0;
  Count begin_defined_ = 0, back_defined_ = 0;  // defined steps before
};

}  // namespace wmscore
