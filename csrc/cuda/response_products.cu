// Inner products of the fields of a group, on tensor cores: eight fields by the pixels of a step
// are a fragment of a matrix product, and also that of its transpose, so that a value is loaded
// once for all its products, and a lane keeps two sums for each two tiles of eight fields. uint8 is
// multiplied and added in integers, all others in double.
//
// A block sums one chunk of an item's pixels (an item is a group at a step), 16 bytes of a line at
// a time; a warp takes eight such pieces, multiplies them, and while they are near looks at them
// again for what does not depend on the script. A second kernel adds the chunks in order. Chunks
// depend on the size of a frame alone, so an item's result does not depend on those around it.
#include <cstring>
#include <type_traits>

#include "../response.h"
#include "blocks.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Clips;
using wmscore::Element;
using wmscore::Half;
using wmscore::kThreads;
using wmscore::kWarps;
using wmscore::Overlap;
using wmscore::Responses;

constexpr int kTile = 8;  // fields
constexpr int kCells = kTile * kTile;
constexpr int kSegment = 8;                 // pieces of 16 bytes that a warp takes at a time
constexpr int kChunk = 512;                 // pieces that a block sums
constexpr int kStatistics = 2;              // still pixels, what preds do there
constexpr unsigned int kAll = 0xffffffffu;  // bytes

template <typename T>
constexpr int kPiece = 16 / static_cast<int>(sizeof(T));  // values in one

// What a lane holds of a fragment, its sums, and how many steps they can take.
template <typename T>
struct Products {
  using Value = double;
  using Sum = double;
  static constexpr int kSteps = kPiece<T>;  // of a piece: one value each
  static constexpr int kMostSteps = 1 << 30;
};

template <>
struct Products<uint8_t> {
  using Value = unsigned int;  // four values
  using Sum = unsigned int;
  static constexpr int kSteps = 4;
  static constexpr int kMostSteps = 4096;
  static_assert(kMostSteps * 16LL * 255 * 255 <= 0xffffffffLL, "sums must fit 32 bits");
};

// sums += a b', of 8 x 8: lane l holds row l / 4 of a and of b, there the part l % 4 of the
// columns, and of the sums those in row l / 4 and columns 2 (l % 4) and the next.
__device__ inline void multiply(unsigned int a, unsigned int b, unsigned int (&sums)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.u8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+r"(sums[0]), "+r"(sums[1])
      : "r"(a), "r"(b));
#else
  emulated_mma(a, b, sums, __dp4a);
#endif
}

__device__ inline void multiply(double a, double b, double (&sums)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(sums[0]), "+d"(sums[1])
      : "d"(a), "d"(b));
#else
  emulated_mma(a, b, sums, [](double x, double y, double sum) { return sum + x * y; });
#endif
}

// The fields of one item, in shared memory.
template <typename T>
struct Item {
  const T* start[2 * wmscore::kMostScripts];  // of channel 0; null where absent
  int64_t channel[2];                         // strides of preds and of target
  int64_t line[2];
  int scripts;
  int channels;
  int preds, target;  // fields that are present
  int width;          // of a line
  int across;         // pieces of a line
  int64_t pieces;     // of the item

  // By all threads.
  __device__ void read(const Responses& task, int64_t item) {
    const Overlap overlap = wmscore::overlap_of(task, item);
    const int fields = 2 * static_cast<int>(task.scripts);
    for (int i = threadIdx.x; i < 2 * wmscore::kMostScripts; i += kThreads)
      start[i] = i < fields ? wmscore::start_of<T>(task, item, i, overlap) : nullptr;
    __syncthreads();
    if (threadIdx.x == 0) {
      channel[0] = task.preds.channel;
      channel[1] = task.target.channel;
      line[0] = task.preds.line;
      line[1] = task.target.line;
      scripts = fields / 2;
      channels = static_cast<int>(task.channels);
      preds = target = 0;
      for (int i = 0; i < scripts; ++i) {
        preds += start[i] != nullptr;
        target += start[scripts + i] != nullptr;
      }
      // Lines that follow each other are one.
      const bool is_flat = line[0] == overlap.width && line[1] == overlap.width;
      width = static_cast<int>(is_flat ? overlap.pixels() : overlap.width);
      across = (width + kPiece<T> - 1) / kPiece<T>;
      pieces = preds + target > 0 ? across * (is_flat ? 1 : overlap.height) : 0;
    }
    __syncthreads();
  }

  __device__ const T* at(int field, int64_t y, int x) const {
    const T* const data = field < 2 * wmscore::kMostScripts ? start[field] : nullptr;
    return data ? data + y * line[field >= scripts] + x : nullptr;
  }
};

// Where a piece lies: values first <= i < last count of the 16 bytes from (y, x). The last piece of
// a line begins earlier, so that it is whole; it is not where the line is shorter.
template <typename T>
struct Place {
  int64_t y = 0;
  int x = 0, first = 0, last = 0;

  Place() = default;

  __device__ Place(const Item<T>& item, int64_t piece, int64_t end) {
    if (piece >= end) return;
    y = static_cast<unsigned int>(piece) / static_cast<unsigned int>(item.across);
    const int start = static_cast<int>(piece - y * item.across) * kPiece<T>;
    const int latest = item.width - kPiece<T>;
    x = latest < 0 ? 0 : start < latest ? start : latest;
    first = start - x;
    last = latest < 0 ? item.width : kPiece<T>;
  }

  __device__ bool has(int i) const { return i >= first && i < last; }
};

// 16 bytes from any address of a value.
template <typename T>
__device__ uint4 load_whole(const T* data) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  if (address % 16 == 0) return *reinterpret_cast<const uint4*>(data);
  // Whole words from below the first value to within the last ones, which come one by one: no word
  // reaches past them.
  const unsigned int* const words = reinterpret_cast<const unsigned int*>(address & ~uintptr_t{3});
  unsigned int word[5] = {words[0], words[1], words[2], words[3], 0};
  if constexpr (sizeof(T) < 4) {
    const int before = static_cast<int>(address % 4);
    if (before > 0) {
      const T* const rest = reinterpret_cast<const T*>(words + 4);
      for (int i = 0; i < before / static_cast<int>(sizeof(T)); ++i) {
        unsigned int bits = 0;
        memcpy(&bits, rest + i, sizeof(T));
        word[4] |= bits << (8 * sizeof(T) * i);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
        word[i] = word[i] >> (8 * before) | word[i + 1] << (32 - 8 * before);
    }
  }
  return {word[0], word[1], word[2], word[3]};
}

// A piece, with zeros in place of values that do not count and of a field that is absent.
template <typename T>
__device__ uint4 load_piece(const T* data, const Place<T>& place) {
  if (!data || place.first >= place.last) return {0, 0, 0, 0};
  if (place.first == 0 && place.last == kPiece<T>) return load_whole(data);
  T values[kPiece<T>] = {};
#pragma unroll
  for (int i = 0; i < kPiece<T>; ++i) {
    if (place.has(i)) values[i] = data[i];
  }
  uint4 result;
  memcpy(&result, values, sizeof result);
  return result;
}

template <typename T>
__device__ typename Products<T>::Value value_of(const uint4& piece, int i) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    return i == 0 ? piece.x : i == 1 ? piece.y : i == 2 ? piece.z : piece.w;
  } else {
    T values[kPiece<T>];
    memcpy(values, &piece, sizeof piece);
    return static_cast<double>(wmscore::widen(values[i]));
  }
}

// The sums of a warp: kTiles tiles of fields, or one that holds each of up to four fields twice,
// where the second stands for other pixels (kCopies = 2).
template <typename T, int kTiles, int kCopies>
class Warp {
 public:
  static constexpr int kPairs = kTiles * (kTiles + 1) / 2;
  using Sum = typename Products<T>::Sum;

  // `totals` is [kPairs, kCells], the warp's own, zero at first.
  __device__ explicit Warp(double* totals) : totals_(totals) {}

  // Pieces first <= i < first + kSegment, those from `end` on not.
  __device__ void add(const Item<T>& item, int64_t first, int64_t end) {
    constexpr int kRounds = kSegment / (4 * kCopies);
    const int lane = threadIdx.x % 32;
    const int slot = kCopies == 2 ? lane / 4 % 4 : lane / 4;
    const int copy = kCopies == 2 ? lane / 16 : 0;
    const T* data[kRounds][kTiles];
    Place<T> place[kRounds];
    for (int round = 0; round < kRounds; ++round)
      place[round] = Place<T>(item, first + (round * kCopies + copy) * 4 + lane % 4, end);
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
        data[round][tile] = item.at(tile * kTile + slot, place[round].y, place[round].x);
    }
    for (int channel = 0; channel < item.channels; ++channel) {
      uint4 piece[kRounds][kTiles];
#pragma unroll
      for (int round = 0; round < kRounds; ++round) {
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          piece[round][tile] = load_piece(data[round][tile], place[round]);
          if (data[round][tile])
            data[round][tile] += item.channel[tile * kTile + slot >= item.scripts];
        }
      }
      steps_ += kRounds * Products<T>::kSteps;
      if (steps_ > Products<T>::kMostSteps) flush();
#pragma unroll
      for (int round = 0; round < kRounds; ++round) multiply_all(piece[round]);
    }
  }

  __device__ void flush() {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        totals_[pair * kCells + 2 * lane + i] += static_cast<double>(sums_[pair][i]);
        sums_[pair][i] = 0;
      }
    }
    steps_ = kSegment / (4 * kCopies) * Products<T>::kSteps;
  }

 private:
  __device__ void multiply_all(const uint4 (&piece)[kTiles]) {
#pragma unroll
    for (int step = 0; step < Products<T>::kSteps; ++step) {
      typename Products<T>::Value value[kTiles];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) value[tile] = value_of<T>(piece[tile], step);
      int pair = 0;
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
#pragma unroll
        for (int j = i; j < kTiles; ++j) multiply(value[i], value[j], sums_[pair++]);
      }
    }
  }

  double* totals_;
  Sum sums_[kPairs][2] = {};
  int steps_ = 0;
};

// Pixels of a lane that do not depend on the script, and what preds do there.
template <typename T>
struct Still {
  static constexpr int kPixels = kPiece<T> >= 4 ? kPiece<T> / 4 : 1;  // of a lane
  int count = 0;
  double spread = 0;

  __device__ void add(const Item<T>& item, int64_t first, int64_t end, double limit) {
    const int offset = threadIdx.x % 4 * kPixels;
    const Place<T> place(item, first + threadIdx.x % 32 / 4, end);
#pragma unroll
    for (int i = offset; i < offset + kPixels; ++i) {
      if (i < kPiece<T> && place.has(i) && is_still(item, place.y, place.x + i, limit)) {
        ++count;
        spread += spread_at(item, place.y, place.x + i);
      }
    }
  }

 private:
  static __device__ bool is_still(const Item<T>& item, int64_t y, int x, double limit) {
    if (item.target == 0) return false;
    bool still = true;
    for (int channel = 0; channel < item.channels; ++channel) {
      double largest = -HUGE_VAL, smallest = HUGE_VAL;
      for (int k = 0; k < item.scripts; ++k) {
        const T* const data = item.at(item.scripts + k, y, x);
        if (!data) continue;
        const double value = wmscore::widen(data[channel * item.channel[1]]);
        largest = value > largest ? value : largest;
        smallest = value < smallest ? value : smallest;
        still = still && value == value;
      }
      still = still && largest - smallest <= limit;
    }
    return still;
  }

  static __device__ double spread_at(const Item<T>& item, int64_t y, int x) {
    double result = 0;
    for (int channel = 0; channel < item.channels; ++channel) {
      const int64_t offset = channel * item.channel[0];
      double first = 0, mean = 0;
      bool is_first = true;
      for (int k = 0; k < item.scripts; ++k) {
        const T* const data = item.at(k, y, x);
        if (!data) continue;
        const double value = wmscore::widen(data[offset]);
        if (is_first) first = value;  // so that equal ones differ by 0
        is_first = false;
        mean += value - first;
      }
      mean /= item.preds;
      for (int k = 0; k < item.scripts; ++k) {
        const T* const data = item.at(k, y, x);
        if (!data) continue;
        const double apart = (wmscore::widen(data[offset]) - first) - mean;
        result += apart * apart;
      }
    }
    return result;
  }
};

// Four pixels of a lane in each word. The spread is that of whole numbers, times their count.
template <>
struct Still<uint8_t> {
  int count = 0;
  unsigned long long spread = 0;

  __device__ void add(const Item<uint8_t>& item, int64_t first, int64_t end, double threshold) {
    if (item.target == 0) return;
    const int offset = threadIdx.x % 4 * 4;
    const Place<uint8_t> place(item, first + threadIdx.x % 32 / 4, end);
    unsigned int still = 0;  // bytes
#pragma unroll
    for (int i = 0; i < 4; ++i) still |= place.has(offset + i) ? 0xffu << (8 * i) : 0u;
    if (still == 0) return;
    const unsigned int valid = still;
    const int x = place.x + offset;
    const unsigned int limit = static_cast<unsigned int>(threshold < 255.0 ? threshold : 255.0);
    for (int channel = 0; channel < item.channels && still != 0; ++channel)
      still &= ~moving(item, place.y, x, channel, valid, limit);
    if (still == 0) return;
    count += __popc(still) / 8;
    for (int channel = 0; channel < item.channels && item.preds > 0; ++channel)
      spread += spread_at(item, place.y, x, channel, still);
  }

 private:
  static __device__ unsigned int load(const uint8_t* data, unsigned int valid) {
    if (!data) return 0;
    if (valid == kAll && reinterpret_cast<uintptr_t>(data) % 4 == 0)
      return *reinterpret_cast<const unsigned int*>(data);
    unsigned int word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (valid >> (8 * i) & 1u) word |= static_cast<unsigned int>(data[i]) << (8 * i);
    }
    return word;
  }

  // 255 in the bytes whose largest and smallest value differ by more than `limit`.
  static __device__ unsigned int moving(const Item<uint8_t>& item, int64_t y, int x, int channel,
                                        unsigned int valid, unsigned int limit) {
    const int64_t offset = channel * item.channel[1];
    unsigned int first = 0, differing = 0;
    bool is_first = true;
    unsigned int largest[4] = {}, smallest[4] = {255, 255, 255, 255};
    for (int k = 0; k < item.scripts; ++k) {
      const uint8_t* const data = item.at(item.scripts + k, y, x);
      if (!data) continue;
      const unsigned int word = load(data + offset, valid);
      if (is_first) first = word;
      is_first = false;
      differing |= word ^ first;
      if (limit == 0) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const unsigned int value = word >> (8 * i) & 255u;
        largest[i] = value > largest[i] ? value : largest[i];
        smallest[i] = value < smallest[i] ? value : smallest[i];
      }
    }
    unsigned int result = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool moves =
          limit == 0 ? (differing >> (8 * i) & 255u) != 0 : largest[i] > smallest[i] + limit;
      result |= moves ? 0xffu << (8 * i) : 0u;
    }
    return result;
  }

  static __device__ unsigned int spread_at(const Item<uint8_t>& item, int64_t y, int x, int channel,
                                           unsigned int still) {
    const int64_t offset = channel * item.channel[0];
    unsigned int sum[4] = {}, energy[4] = {};
    for (int k = 0; k < item.scripts; k += 4) {
      unsigned int word[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint8_t* const data = k + i < item.scripts ? item.at(k + i, y, x) : nullptr;
        word[i] = data ? load(data + offset, still) & still : 0;
      }
      // From a word of each field to one of each pixel.
      const unsigned int a = __byte_perm(word[0], word[1], 0x5140);
      const unsigned int b = __byte_perm(word[0], word[1], 0x7362);
      const unsigned int c = __byte_perm(word[2], word[3], 0x5140);
      const unsigned int d = __byte_perm(word[2], word[3], 0x7362);
      const unsigned int pixel[4] = {__byte_perm(a, c, 0x5410), __byte_perm(a, c, 0x7632),
                                     __byte_perm(b, d, 0x5410), __byte_perm(b, d, 0x7632)};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[i] = __dp4a(pixel[i], 0x01010101u, sum[i]);
        energy[i] = __dp4a(pixel[i], pixel[i], energy[i]);
      }
    }
    unsigned int result = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      result += static_cast<unsigned int>(item.preds) * energy[i] - sum[i] * sum[i];
    return result;
  }
};

__host__ __device__ constexpr int values_of(int tiles) {
  return tiles * (tiles + 1) / 2 * kCells + kStatistics;
}

// Writes [item, chunk, values_of(kTiles)].
template <typename T, int kTiles, int kCopies>
__global__ void __launch_bounds__(kThreads, kTiles == 1 ? 3 : 2)
    sum_chunks(Responses task, int64_t items, int64_t chunks, double* out) {
  constexpr int kSums = values_of(kTiles) - kStatistics;
  __shared__ Item<T> item;
  __shared__ double totals[kWarps][kSums];
  const int warp = threadIdx.x / 32;
  for (int64_t index = blockIdx.x; index < items * chunks; index += gridDim.x) {
    const int64_t of_item = index / chunks;
    item.read(task, of_item);
    for (int i = threadIdx.x; i < kWarps * kSums; i += kThreads) totals[i / kSums][i % kSums] = 0;
    __syncthreads();
    const int64_t start = (index - of_item * chunks) * kChunk;
    const int64_t end = start + kChunk < item.pieces ? start + kChunk : item.pieces;
    Warp<T, kTiles, kCopies> sums(totals[warp]);
    Still<T> still;
    for (int64_t first = start + warp * kSegment; first < end; first += kWarps * kSegment) {
      sums.add(item, first, end);
      still.add(item, first, end, task.still);
      __syncwarp();  // products need all lanes
    }
    sums.flush();
    double* const values = out + index * values_of(kTiles);
    const double statistics[kStatistics] = {static_cast<double>(still.count),
                                            static_cast<double>(still.spread)};
    const double total = wmscore::reduce_block(statistics);  // and waits for all warps
    if (threadIdx.x < kStatistics) values[kSums + threadIdx.x] = total;
    for (int i = threadIdx.x; i < kSums; i += kThreads) {
      double sum = 0;
      for (int w = 0; w < kWarps; ++w) sum += totals[w][i];
      values[i] = sum;
    }
    __syncthreads();  // the next item writes over them
  }
}

__global__ void __launch_bounds__(kThreads)
    add_chunks(Responses task, bool is_whole, int64_t items, int64_t chunks, int tiles, int copies,
               const double* partials, double* products, double* statistics) {
  const int fields = 2 * static_cast<int>(task.scripts);
  const int values = values_of(tiles);
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const double* const own = partials + item * chunks * values;
    for (int place = threadIdx.x; place < fields * fields; place += kThreads) {
      const int i = place / fields, j = place % fields;
      const int low = i < j ? i : j, high = i < j ? j : i;
      const int tile = low / kTile, other = high / kTile;
      const int pair = tile * tiles - tile * (tile - 1) / 2 + (other - tile);
      const int cell = pair * kCells + low % kTile * kTile + high % kTile;
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        sum += own[chunk * values + cell];
        if (copies == 2) sum += own[chunk * values + cell + 4 * kTile + 4];
      }
      // Where one is absent, the other may be NaN.
      const bool is_there =
          wmscore::row_of(task, item, i) >= 0 && wmscore::row_of(task, item, j) >= 0;
      products[item * fields * fields + place] = is_there ? sum : 0;
    }
    if (threadIdx.x < kStatistics) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk)
        sum += own[(chunk + 1) * values - kStatistics + threadIdx.x];
      int preds = 0;
      for (int k = 0; k < fields / 2; ++k) preds += wmscore::row_of(task, item, k) >= 0;
      const bool is_times_count = is_whole && threadIdx.x == 1 && preds > 0;
      statistics[3 * item + 1 + threadIdx.x] = is_times_count ? sum / preds : sum;
    }
    if (threadIdx.x == 0) {
      statistics[3 * item] = static_cast<double>(wmscore::overlap_of(task, item).pixels());
    }
  }
}

int tiles_of(const Responses& task) {
  return (2 * static_cast<int>(task.scripts) + kTile - 1) / kTile;
}

int copies_of(const Responses& task) { return task.scripts <= 2 ? 2 : 1; }

int64_t chunks_of(const Responses& task, int piece) {
  const int64_t pieces = task.height * ((task.width + piece - 1) / piece);
  return pieces > kChunk ? (pieces + kChunk - 1) / kChunk : 1;
}

template <typename T>
cudaError_t run(const Responses& task, double* partials, double* products, double* statistics,
                void* stream) {
  const int64_t items = task.groups * task.steps;
  const int64_t chunks = chunks_of(task, kPiece<T>);
  const int tiles = tiles_of(task), copies = copies_of(task);
  const auto kernel = copies == 2  ? sum_chunks<T, 1, 2>
                      : tiles == 1 ? sum_chunks<T, 1, 1>
                      : tiles == 2 ? sum_chunks<T, 2, 1>
                      : tiles == 3 ? sum_chunks<T, 3, 1>
                                   : sum_chunks<T, 4, 1>;
  const cudaError_t error =
      wmscore::launch(kernel, items * chunks, stream, task, items, chunks, partials);
  if (error != cudaSuccess) return error;
  return wmscore::launch(add_chunks, items, stream, task, std::is_same_v<T, uint8_t>, items, chunks,
                         tiles, copies, partials, products, statistics);
}

}  // namespace

int64_t wmscore_response_products_scratch(Element element, Responses task) {
  const int piece = element == Element::kUint8     ? kPiece<uint8_t>
                    : element == Element::kFloat32 ? kPiece<float>
                    : element == Element::kFloat64 ? kPiece<double>
                                                   : kPiece<Half>;
  return task.groups * task.steps * chunks_of(task, piece) * values_of(tiles_of(task)) *
         static_cast<int64_t>(sizeof(double));
}

int32_t wmscore_response_products_cuda(Element element, Responses task, void* partials,
                                       double* products, double* statistics, void* stream) {
  double* const sums = static_cast<double*>(partials);
  switch (element) {
    case Element::kUint8:
      return run<uint8_t>(task, sums, products, statistics, stream);
    case Element::kFloat16:
      return run<Half>(task, sums, products, statistics, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(task, sums, products, statistics, stream);
    case Element::kFloat32:
      return run<float>(task, sums, products, statistics, stream);
    case Element::kFloat64:
      return run<double>(task, sums, products, statistics, stream);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
