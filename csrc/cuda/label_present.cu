// Which labels there are. A block takes some steps of a row, or a slice of a frame where there are
// few, and marks bits in shared memory; each bit that is set then sets its byte in device memory.
// Blocks of one row may set the same byte, to the same value.
#include <algorithm>

#include "blocks.h"
#include "labels.h"

namespace {

using wmscore::kLargestId;
using wmscore::kThreads;
using wmscore::LabelMap;
using wmscore::Labels;
using wmscore::PresentLabels;

constexpr int64_t kBlockPixels = 16384;    // of a block at least, where a row has as many
constexpr int64_t kBlocks = 1024;          // as long as there are as many blocks
constexpr int64_t kMostSlice = 1LL << 30;  // pixels, so that they fit an int
constexpr int kBatch = 4;                  // loads of a thread on their way at a time

template <typename T>
constexpr int kWords = sizeof(T) == 1 ? 8 : (kLargestId + 1) / 32;

// Of a thread: labels that it has met, marked for its block.
template <typename T>
class Marker {
 public:
  __device__ explicit Marker(unsigned int* bits) : bits_(bits) {}

  __device__ void add(T label) {
    if (label == last_) return;
    last_ = label;
    using Bits = std::make_unsigned_t<T>;
    low_word_ = static_cast<unsigned int>(static_cast<Bits>(label));
    if constexpr (sizeof(T) == 1) low_word_ *= 0x01010101u;
    if constexpr (sizeof(T) == 2) low_word_ *= 0x00010001u;
    high_word_ = low_word_;
    if constexpr (sizeof(T) == 8) high_word_ = static_cast<unsigned int>(label >> 32);
    if (static_cast<uint64_t>(label) <= kLargestId) {  // which no negative one is
      const unsigned int id = static_cast<unsigned int>(label);
      const unsigned int bit = 1u << id % 32;
      if ((bits_[id / 32] & bit) == 0) atomicOr(&bits_[id / 32], bit);
    } else {
      low_ = label < low_ ? label : low_;
      high_ = label > high_ ? label : high_;
    }
  }

  __device__ void add(const Labels<T>& labels) {
    const unsigned int differs = (labels.words[0] ^ low_word_) | (labels.words[1] ^ high_word_) |
                                 (labels.words[2] ^ low_word_) | (labels.words[3] ^ high_word_);
    if (differs == 0 || labels.is_background()) return;
    for (unsigned int starts = wmscore::changes(labels, labels) | 1u; starts != 0;
         starts &= starts - 1) {
      add(labels.at(__ffs(static_cast<int>(starts)) - 1));
    }
  }

  // Of the labels that have no bit, and 0.
  __device__ int64_t low() const { return low_; }
  __device__ int64_t high() const { return high_; }

 private:
  unsigned int* bits_;
  T last_ = 0;                                 // background
  unsigned int low_word_ = 0, high_word_ = 0;  // as many of it as four bytes hold, or its halves
  T low_ = 0, high_ = 0;
};

// The labels of `count` pixels: 16 bytes at a time, and what remains at both ends one by one.
template <typename T>
__device__ void mark(const T* labels, int count, Marker<T>& marker) {
  constexpr int kPixels = Labels<T>::kPixels;
  const int thread = static_cast<int>(threadIdx.x);
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(labels) % 16);
  int lead = (16 - past) % 16 / static_cast<int>(sizeof(T));
  if (lead > count) lead = count;
  const T* const body = labels + lead;
  const int groups = (count - lead) / kPixels;
  const int rest = count - lead - groups * kPixels;
  if (thread < lead) marker.add(labels[thread]);
  if (thread < rest) marker.add(body[groups * kPixels + thread]);
  for (int first = thread; first < groups; first += kBatch * kThreads) {
    Labels<T> batch[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int group = first + k * kThreads;
      if (group < groups) batch[k].load(body + group * kPixels, kPixels, true);
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) marker.add(batch[k]);
  }
}

// How a row is divided: a block has `steps` of them, or a part of one.
struct Division {
  int64_t steps;
  int64_t groups;  // of steps, in a row
  int64_t slices;  // of a frame
  int64_t slice_pixels;
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    mark_rows(LabelMap map, Division division, PresentLabels result) {
  __shared__ unsigned int bits[kWords<T>];
  const int64_t of_row = division.groups * division.slices;
  for (int64_t item = blockIdx.x; item < map.rows * of_row; item += gridDim.x) {
    for (int w = threadIdx.x; w < kWords<T>; w += kThreads) bits[w] = 0;
    __syncthreads();

    const int64_t row = item / of_row;
    const int64_t group = (item - row * of_row) / division.slices;
    const int64_t slice = item - row * of_row - group * division.slices;
    const int64_t begin = slice * division.slice_pixels;
    const int64_t rest = map.pixels - begin;
    const int count = static_cast<int>(rest < division.slice_pixels ? rest : division.slice_pixels);
    const int64_t first = group * division.steps;
    const int64_t last = first + division.steps < map.steps ? first + division.steps : map.steps;
    Marker<T> marker(bits);
    for (int64_t step = first; step < last; ++step) {
      if (map.valid != nullptr && !map.valid[row * map.steps + step]) continue;
      mark(static_cast<const T*>(map.labels.data) + row * map.labels.image +
               step * map.labels.channel + begin,
           count, marker);
    }
    __syncthreads();

    int64_t low = marker.low(), high = marker.high();
    bool* const present = result.present + row * (kLargestId + 1);
    for (int w = threadIdx.x; w < kWords<T>; w += kThreads) {
      for (unsigned int left = bits[w]; left != 0; left &= left - 1) {
        const int id = w * 32 + __ffs(static_cast<int>(left)) - 1;
        if (id == 0) continue;
        present[id] = true;
        high = id > high ? id : high;
      }
    }
    for (int step = 16; step > 0; step /= 2) {
      const int64_t other_low = __shfl_down_sync(0xffffffffu, low, step);
      const int64_t other_high = __shfl_down_sync(0xffffffffu, high, step);
      low = other_low < low ? other_low : low;
      high = other_high > high ? other_high : high;
    }
    if (threadIdx.x % 32 == 0) {
      long long* const extremes = reinterpret_cast<long long*>(result.extremes + row * 2);
      if (low < 0) atomicMin(&extremes[0], static_cast<long long>(low));
      if (high > 0) atomicMax(&extremes[1], static_cast<long long>(high));
    }
    __syncthreads();  // the next item clears what this one has read
  }
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

Division divide(const LabelMap& map) {
  const int64_t frames = map.rows * map.steps;
  Division division;
  division.steps = std::max<int64_t>(1, std::min(kBlockPixels / map.pixels, frames / kBlocks));
  division.groups = ceil_div(map.steps, division.steps);
  const int64_t wanted = std::min(ceil_div(kBlocks, frames), ceil_div(map.pixels, kBlockPixels));
  const int64_t slices = std::max(wanted, ceil_div(map.pixels, kMostSlice));
  division.slice_pixels = ceil_div(ceil_div(map.pixels, slices), 16) * 16;
  division.slices = ceil_div(map.pixels, division.slice_pixels);
  return division;
}

template <typename T>
cudaError_t run(const LabelMap& map, const PresentLabels& result, void* stream) {
  const Division division = divide(map);
  return wmscore::launch(mark_rows<T>, map.rows * division.groups * division.slices, stream, map,
                         division, result);
}

}  // namespace

int32_t wmscore_label_present_cuda(LabelMap map, PresentLabels result, void* stream) {
  switch (map.bytes) {
    case 1:
      return run<uint8_t>(map, result, stream);
    case 2:
      return run<int16_t>(map, result, stream);
    case 4:
      return run<int32_t>(map, result, stream);
    case 8:
      return run<int64_t>(map, result, stream);
    default:
      return cudaErrorInvalidValue;
  }
}
