// Failures and recoveries of curves. A warp has 32 rollouts, of each of which one lane follows the
// curve of one axis after the other. Tiles of 32 rollouts and 32 steps come through shared memory,
// so that reads are whole lines whichever side follows which; the next tile is on its way while one
// is looked at. What is undefined or lost at which step, over all axes, is marked by bits in shared
// memory, or in scratch where steps are many.
#include <cmath>
#include <cstring>

#include "../crossing.h"
#include "blocks.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::CrossingInput;
using wmscore::FoundCrossings;
using wmscore::ScoreCurves;
using wmscore::widen;

constexpr int kSide = 32;  // of a tile: lanes of a warp, and bits of a word
constexpr int kWarpsOfBlock = 4;
constexpr int64_t kMostSharedWords = 16;  // of marks of one kind: of 512 steps
constexpr int kMarks = 3;                 // steps that exist, that are judged, that are lost

enum class Layout { kVectors, kSteps, kRollouts };  // which loads have whole lines

template <typename T>
using Real = decltype(widen(T{}));

template <typename T>
constexpr int kPitch = kSide + 16 / static_cast<int>(sizeof(Real<T>));  // no conflicts of banks

template <typename T>
__device__ const T* row_of(const CrossingInput& side, int64_t axis, int64_t rollout) {
  return static_cast<const T*>(side.data) + axis * side.axis + rollout * side.rollout;
}

__device__ int64_t value_of(const CrossingInput& side, int64_t axis, int64_t rollout) {
  return side.data == nullptr ? 1 : *row_of<int64_t>(side, axis, rollout);
}

// Where a warp is: its first rollout, how many it has, and the axis and first step of a tile.
struct Place {
  int64_t rollout;
  int rows;
  int64_t axis;
  int64_t step;
};

// Scores of one tile on their way to shared memory; NaN where there is none.
template <typename T, Layout kLayout>
class Tile;

// 16 bytes at a time: strides and steps are multiples of that.
template <typename T>
class Tile<T, Layout::kVectors> {
 public:
  __device__ void load(const ScoreCurves& curves, const Place& place, int lane) {
    const T* const rows = row_of<T>(curves.scores, place.axis, place.rollout) + place.step;
    const int step = lane % kOfRow * kValues;
    const bool is_inside = place.step + step < curves.steps;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int row = i * kRows + lane / kOfRow;
      is_there_[i] = is_inside && row < place.rows;
      if (is_there_[i]) {
        loaded_[i] = *reinterpret_cast<const uint4*>(rows + row * curves.scores.rollout + step);
      }
    }
  }

  __device__ void store(Real<T>* tile, int lane) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      T values[kValues];
      memcpy(values, &loaded_[i], sizeof values);
      alignas(16) Real<T> wide[kValues];
#pragma unroll
      for (int k = 0; k < kValues; ++k) {
        wide[k] = is_there_[i] ? widen(values[k]) : static_cast<Real<T>>(NAN);
      }
      Real<T>* const place =
          tile + (i * kRows + lane / kOfRow) * kPitch<T> + lane % kOfRow * kValues;
#pragma unroll
      for (int k = 0; k < kValues; k += 16 / static_cast<int>(sizeof(Real<T>))) {
        uint4 chunk;
        memcpy(&chunk, wide + k, sizeof chunk);
        *reinterpret_cast<uint4*>(place + k) = chunk;
      }
    }
  }

 private:
  static constexpr int kValues = 16 / static_cast<int>(sizeof(T));  // of a load
  static constexpr int kOfRow = kSide / kValues;                    // lanes that read one row
  static constexpr int kRows = kSide / kOfRow;
  static constexpr int kLoads = kSide / kRows;
  uint4 loaded_[kLoads] = {};
  bool is_there_[kLoads] = {};
};

// One by one, lanes side by side along steps or along rollouts.
template <typename T, Layout kLayout>
class Tile {
 public:
  __device__ void load(const ScoreCurves& curves, const Place& place, int lane) {
    const T* const rows = row_of<T>(curves.scores, place.axis, place.rollout);
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      const int row = kLayout == Layout::kSteps ? i : lane;
      const int64_t step = place.step + (kLayout == Layout::kSteps ? lane : i);
      const bool is_there = row < place.rows && step < curves.steps;
      loaded_[i] = is_there ? widen(rows[row * curves.scores.rollout + step * curves.scores.step])
                            : static_cast<Real<T>>(NAN);
    }
  }

  __device__ void store(Real<T>* tile, int lane) const {
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      tile[kLayout == Layout::kSteps ? i * kPitch<T> + lane : lane * kPitch<T> + i] = loaded_[i];
    }
  }

 private:
  Real<T> loaded_[kSide] = {};
};

// Of each lane's rollout, which of a tile's steps are valid: any byte but 0, as in torch.
__device__ uint32_t valid_steps(const ScoreCurves& curves, const Place& place, int lane) {
  const uint8_t* const rows = row_of<uint8_t>(curves.valid, place.axis, place.rollout);
  const int64_t step = place.step + lane;
  uint32_t own = 0;
#pragma unroll 8
  for (int row = 0; row < kSide; ++row) {
    const bool is_valid = row < place.rows && step < curves.steps &&
                          rows[row * curves.valid.rollout + step * curves.valid.step] != 0;
    const uint32_t steps = __ballot_sync(0xffffffffu, is_valid);
    if (row == lane) own = steps;
  }
  return own;
}

// Thresholds of one curve. Where high scores fail, all is compared with its sign changed.
template <typename T, bool kFlat>
class Thresholds {
 public:
  __device__ Thresholds(const ScoreCurves& curves, int64_t axis, int64_t rollout)
      : curves_(curves),
        recover_(curves.recover.data != nullptr ? curves.recover : curves.threshold),
        limits_(row_of<T>(curves.threshold, axis, rollout)),
        backs_(row_of<T>(recover_, axis, rollout)),
        sign_(curves.above ? -1 : 1) {
    limit_ = limit(0);
    back_ = sign_ * widen(backs_[0]);
  }

  // A row of a tile, `count` steps of it, as bits; `least` takes the smallest margin.
  __device__ wmscore::StepBits<uint32_t> compare(const Real<T>* row, int64_t first, int count,
                                                 Real<T>& least) const {
    wmscore::StepBits<uint32_t> bits = {0, 0, 0};
    if constexpr (kFlat) {
      if (!(limit_ == limit_ && back_ == back_)) return bits;
      constexpr int kValues = 16 / static_cast<int>(sizeof(Real<T>));
#pragma unroll
      for (int i = 0; i < kSide; i += kValues) {
        alignas(16) Real<T> values[kValues];
        const uint4 chunk = *reinterpret_cast<const uint4*>(row + i);
        memcpy(values, &chunk, sizeof chunk);
#pragma unroll
        for (int k = 0; k < kValues; ++k) add(values[k], limit_, back_, i + k, bits, least);
      }
    } else {
      for (int i = 0; i < count; ++i) {
        const Real<T> low = limit(first + i);
        const Real<T> high = sign_ * widen(backs_[(first + i) * recover_.step]);
        if (low == low && high == high) add(row[i], low, high, i, bits, least);
      }
    }
    bits.passes &= ~bits.fails;
    return bits;
  }

  __device__ Real<T> margin(Real<T> score, int64_t step) const {
    return sign_ * score - (kFlat ? limit_ : limit(step));
  }

 private:
  __device__ Real<T> limit(int64_t step) const {
    return sign_ * widen(limits_[step * curves_.threshold.step]);
  }

  __device__ void add(Real<T> value, Real<T> low, Real<T> high, int place,
                      wmscore::StepBits<uint32_t>& bits, Real<T>& least) const {
    const Real<T> score = sign_ * value;
    const uint32_t bit = 1u << place;
    if (score < low) bits.fails |= bit;
    if (score >= high) bits.passes |= bit;
    if (score == score) bits.defined |= bit;
    const Real<T> margin = score - low;
    least = fmin(margin, least);  // which leaves NaN out
  }

  const ScoreCurves& curves_;
  const CrossingInput recover_;
  const T* limits_;
  const T* backs_;
  Real<T> sign_, limit_, back_;
};

template <typename T, Layout kLayout, bool kFlat>
__global__ void __launch_bounds__(kWarpsOfBlock* kSide)
    scan_curves(ScoreCurves curves, uint32_t* scratch, FoundCrossings found) {
  const int lane = threadIdx.x % kSide, warp = threadIdx.x / kSide;
  const int64_t words = (curves.steps + kSide - 1) / kSide;
  const int64_t warps = (curves.rollouts + kSide - 1) / kSide;
  const int64_t pitch = curves.axes * curves.rollouts;
  Real<T>* const margins = static_cast<Real<T>*>(found.margins);
  constexpr int kTile = kSide * kPitch<T>;
  Real<T>* const tile = reinterpret_cast<Real<T>*>(dynamic_shared) + warp * kTile;
  uint32_t* const shared_marks =
      reinterpret_cast<uint32_t*>(reinterpret_cast<Real<T>*>(dynamic_shared) +
                                  kWarpsOfBlock * kTile) +
      warp * (kMarks * words * kSide);

  for (int64_t item = static_cast<int64_t>(blockIdx.x) * kWarpsOfBlock + warp; item < warps;
       item += static_cast<int64_t>(gridDim.x) * kWarpsOfBlock) {
    uint32_t* const marks =
        (scratch == nullptr ? shared_marks : scratch + item * (kMarks * words * kSide)) + lane;
    const wmscore::StepSet<uint32_t> exists{marks, kSide};
    const wmscore::StepSet<uint32_t> judged{marks + words * kSide, kSide};
    const wmscore::StepSet<uint32_t> lost{marks + 2 * words * kSide, kSide};
    for (int64_t word = 0; word < words; ++word) exists[word] = judged[word] = lost[word] = 0;

    Place place = {item * kSide, kSide, 0, 0};
    if (curves.rollouts - place.rollout < kSide) {
      place.rows = static_cast<int>(curves.rollouts - place.rollout);
    }
    // A lane without a rollout of its own follows the last one, and says nothing.
    const int64_t rollout = place.rollout + (lane < place.rows ? lane : place.rows - 1);
    wmscore::Earliest<int32_t> failed, lasting;
    Tile<T, kLayout> next;
    next.load(curves, place, lane);
    for (int64_t axis = 0; axis < curves.axes; ++axis) {
      const bool is_gated = curves.gated == nullptr || curves.gated[axis];
      const Thresholds<T, kFlat> thresholds(curves, axis, rollout);
      const T* const scores = row_of<T>(curves.scores, axis, rollout);
      wmscore::CurveScan<uint32_t, int32_t> curve_scan(
          value_of(curves.patience, axis, rollout),
          value_of(curves.recovery_patience, axis, rollout), is_gated, lost);
      Real<T> least = INFINITY;
      for (int64_t word = 0; word < words; ++word) {
        const int64_t base = word * kSide;
        next.store(tile, lane);
        const Place here = {place.rollout, place.rows, axis, base};
        const bool is_last = word + 1 == words;
        if (!is_last || axis + 1 < curves.axes) {
          place.axis = is_last ? axis + 1 : axis;
          place.step = is_last ? 0 : base + kSide;
          next.load(curves, place, lane);
        }
        const int64_t left = curves.steps - base;
        const int count = left < kSide ? static_cast<int>(left) : kSide;
        uint32_t inside = 0xffffffffu >> (kSide - count);
        if (curves.valid.data != nullptr) {
          inside =
              axis > 0 && curves.valid.axis == 0 ? exists[word] : valid_steps(curves, here, lane);
        }
        exists[word] |= inside;
        __syncwarp();
        const Real<T>* const row = tile + lane * kPitch<T>;
        Real<T> of_word = least;
        wmscore::StepBits<uint32_t> bits = thresholds.compare(row, base, count, of_word);
        if ((bits.defined & ~inside) == 0) {
          least = of_word;
        } else {  // few words have steps that are defined but not valid
          bits.fails &= inside;
          bits.passes &= inside;
          bits.defined &= inside;
          for (uint32_t rest = bits.defined; rest != 0; rest &= rest - 1) {
            const int step = wmscore::lowest_bit(rest);
            least = fmin(thresholds.margin(row[step], base + step), least);
          }
        }
        if (is_gated) judged[word] |= bits.defined;
        curve_scan.add(bits, static_cast<int32_t>(base));
        __syncwarp();  // the next tile takes the place of this one
      }
      if (lane >= place.rows) continue;
      const int64_t cell = axis * curves.rollouts + rollout;
      curve_scan.finish(static_cast<int32_t>(curves.steps), found.curves + cell, pitch);
      if (is_gated) {
        failed.add(curve_scan.first(), static_cast<int32_t>(axis));
        lasting.add(curve_scan.lasting(), static_cast<int32_t>(axis));
      }
      const int64_t step = curve_scan.first();
      Real<T> at_first = static_cast<Real<T>>(NAN);
      if (step > 0) {
        at_first = thresholds.margin(widen(scores[(step - 1) * curves.scores.step]), step - 1);
      }
      margins[cell] = at_first;
      margins[pitch + cell] = curve_scan.defined() > 0 ? least : static_cast<Real<T>>(NAN);
    }
    if (lane >= place.rows) continue;
    int64_t values[wmscore::kRolloutColumns] = {
        0, 0, 0, 0, failed.step, failed.axis, lasting.step, lasting.axis};
    for (int64_t word = 0; word < words; ++word) {
      const uint32_t there = exists[word], seen = judged[word];
      values[0] += wmscore::count_bits(there);
      if (there != 0) values[1] = word * kSide + wmscore::highest_bit(there) + 1;
      values[2] += wmscore::count_bits(seen);
      values[3] += wmscore::count_bits(seen & ~lost[word]);
    }
#pragma unroll
    for (int k = 0; k < wmscore::kRolloutColumns; ++k) {
      found.of_rollouts[k * curves.rollouts + rollout] = values[k];
    }
  }
}

template <typename T, Layout kLayout, bool kFlat>
cudaError_t start(const ScoreCurves& curves, uint32_t* scratch, const FoundCrossings& found,
                  void* stream) {
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernel strides over the rest
  const int64_t words = (curves.steps + kSide - 1) / kSide;
  const bool is_shared = words <= kMostSharedWords;
  const int64_t of_warp = kSide * kPitch<T> * static_cast<int64_t>(sizeof(Real<T>)) +
                          (is_shared ? kMarks * words * kSide * 4 : 0);
  const int64_t blocks = (curves.rollouts + kSide * kWarpsOfBlock - 1) / (kSide * kWarpsOfBlock);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(kWarpsOfBlock * kSide);
  config.stream = static_cast<cudaStream_t>(stream);
  config.dynamicSmemBytes = static_cast<size_t>(of_warp * kWarpsOfBlock);
  if (config.dynamicSmemBytes > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(scan_curves<T, kLayout, kFlat>,
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(config.dynamicSmemBytes));
    if (error != cudaSuccess) return error;
  }
  const cudaError_t error = cudaLaunchKernelEx(&config, scan_curves<T, kLayout, kFlat>, curves,
                                               is_shared ? nullptr : scratch, found);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

template <typename T, bool kFlat>
cudaError_t choose(const ScoreCurves& curves, uint32_t* scratch, const FoundCrossings& found,
                   void* stream) {
  const CrossingInput& scores = curves.scores;
  constexpr int64_t kSize = sizeof(T);
  const bool is_aligned = reinterpret_cast<uintptr_t>(scores.data) % 16 == 0 &&
                          scores.axis * kSize % 16 == 0 && scores.rollout * kSize % 16 == 0 &&
                          curves.steps * kSize % 16 == 0;
  if (scores.step == 1 && is_aligned) {
    return start<T, Layout::kVectors, kFlat>(curves, scratch, found, stream);
  }
  if (scores.rollout == 1 && scores.step > 1) {
    return start<T, Layout::kRollouts, kFlat>(curves, scratch, found, stream);
  }
  return start<T, Layout::kSteps, kFlat>(curves, scratch, found, stream);
}

template <typename T>
cudaError_t run(const ScoreCurves& curves, uint32_t* scratch, const FoundCrossings& found,
                void* stream) {
  const bool is_flat =
      curves.threshold.step == 0 && (curves.recover.data == nullptr || curves.recover.step == 0);
  return is_flat ? choose<T, true>(curves, scratch, found, stream)
                 : choose<T, false>(curves, scratch, found, stream);
}

}  // namespace

int64_t wmscore_first_crossing_scratch(int64_t rollouts, int64_t steps) {
  const int64_t words = (steps + kSide - 1) / kSide;
  if (words <= kMostSharedWords) return 0;
  return (rollouts + kSide - 1) / kSide * (kMarks * words * kSide);
}

int32_t wmscore_first_crossing_cuda(wmscore::Element element, ScoreCurves curves, uint32_t* scratch,
                                    FoundCrossings found, void* stream) {
  switch (element) {
    case wmscore::Element::kFloat16:
      return run<wmscore::Half>(curves, scratch, found, stream);
    case wmscore::Element::kBfloat16:
      return run<wmscore::Bfloat16>(curves, scratch, found, stream);
    case wmscore::Element::kFloat32:
      return run<float>(curves, scratch, found, stream);
    case wmscore::Element::kFloat64:
      return run<double>(curves, scratch, found, stream);
    default:
      return cudaErrorInvalidValue;
  }
}
