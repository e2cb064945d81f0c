// Labels carried by likeness of features, on a device, in two launches.
//
// The first packs features as unit vectors, [channels, columns] for each row, so that the second
// reads words of 16 bytes whatever the strides were, and no borders: rows of memory have `radius`
// zeros on their left and enough on their right.
//
// In the second a block takes a tile of positions. Its warps share the rows of all frames of memory
// that the tile sees. A warp compares the whole tile with one row at a time: a lane has kAcross
// neighbouring positions and multiplies them with kOffsets columns each, from shared memory, where
// all rows of the tile read one run of memory; and it keeps the most alike ones in registers. In
// the end the warps' lists are merged. No cosine goes to device memory, and all are added up over
// the channels in one order, so that equal vectors have equal cosines.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "blocks.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;
using wmscore::kThreads;
using wmscore::kWarps;
using wmscore::Propagation;

constexpr int kNowhere = 0x7fffffff;
constexpr int kChunk = 16;  // channels in shared memory at a time
constexpr int kHeld = 64;   // or so many of the tile, where there are no more

template <typename T>
using RealOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename Real>
constexpr int kAcross = 16 / static_cast<int>(sizeof(Real));  // positions of a lane: one word
template <typename Real>
constexpr int kOffsets = 2 * kAcross<Real>;  // columns that each is compared with in one pass

// The columns of the widest tile.
template <typename Real>
constexpr int kMostColumns = 8 * kAcross<Real>;

__host__ __device__ inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

template <typename Real>
__device__ Real infinity() {
  return static_cast<Real>(INFINITY);
}

// --- packing
// --------------------------------------------------------------------------------------

// A block for 32 columns of one packed row; a warp has each kWarps-th channel.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pack(Propagation task, bool of_memory, int step, RealOf<T>* packed) {
  using Real = RealOf<T>;
  __shared__ Real squares[kWarps][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Images images = of_memory ? task.memory : task.query;
  const int margin = of_memory ? static_cast<int>(task.radius) : 0;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  const int channels = static_cast<int>(task.channels);
  const int pieces = (step + 31) / 32;
  const int64_t rows = task.batch * height * (of_memory ? task.memories : 1);
  for (int64_t block = blockIdx.x; block < rows * pieces; block += gridDim.x) {
    const int64_t row = block / pieces;
    const int column = static_cast<int>(block - row * pieces) * 32 + lane;
    const int64_t frame = row / height;
    const int y = static_cast<int>(row - frame * height), x = column - margin;
    const bool exists = x >= 0 && x < width;
    int64_t start = frame * images.image;
    if (of_memory) {
      if (task.usable != nullptr && !task.usable[frame]) continue;  // the same for all threads
      const int64_t item = frame / task.memories;
      start = item * task.memory_batch + (frame - item * task.memories) * images.image;
    }
    const T* const from = static_cast<const T*>(images.data) + start + y * images.row +
                          (exists ? x : 0) * images.pixel;
    Real square = 0;
#pragma unroll 4
    for (int c = warp; c < channels; c += kWarps) {
      const Real value = exists ? wmscore::widen(from[c * images.channel]) : Real(0);
      square += value * value;
    }
    squares[warp][lane] = square;
    __syncthreads();
    square = 0;
    for (int w = 0; w < kWarps; ++w) square += squares[w][lane];
    __syncthreads();  // the next piece writes them again
    const Real root = sqrt(square);
    const Real length = root + 0 * root;  // NaN where it overflowed
    const Real divisor = length == 0 ? Real(1) : length;
    Real* const to = packed + row * channels * step + column;
    if (column >= step) continue;
#pragma unroll 4
    for (int c = warp; c < channels; c += kWarps) {
      const Real value = exists ? wmscore::widen(from[c * images.channel]) : Real(0);
      to[static_cast<int64_t>(c) * step] = exists ? value / divisor : Real(0);
    }
  }
}

// --- comparing
// ------------------------------------------------------------------------------------

// A word of 16 bytes.
template <typename Real>
__device__ void load_word(Real* values, const Real* from) {
  const uint4 word = *reinterpret_cast<const uint4*>(from);
  memcpy(values, &word, sizeof word);
}

template <typename Real>
__device__ void copy_word(Real* to, const Real* from) {
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
}

// The kSize most alike positions of a position, in order.
template <typename Real, int kSize>
struct Neighbours {
  Real cosines[kSize];
  int places[kSize];

  __device__ void clear() {
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      cosines[k] = -infinity<Real>();
      places[k] = kNowhere;
    }
  }

  // `is_before(k)` says whether the new one goes before the k-th.
  template <typename IsBefore>
  __device__ void insert(Real cosine, int place, const IsBefore& is_before) {
#pragma unroll
    for (int k = kSize - 1; k >= 0; --k) {
      const bool here = is_before(k);
      const bool above = k > 0 && is_before(k > 0 ? k - 1 : 0);
      cosines[k] = above ? cosines[k > 0 ? k - 1 : 0] : here ? cosine : cosines[k];
      places[k] = above ? places[k > 0 ? k - 1 : 0] : here ? place : places[k];
    }
  }

  // Of places that come in order, equal cosines stay in it.
  __device__ void offer(Real cosine, int place, bool& is_nan) {
    if (cosine <= cosines[kSize - 1]) return;
    is_nan = is_nan || cosine != cosine;
    insert(cosine, place, [&](int k) { return cosine > cosines[k]; });
  }

  // Of any place.
  __device__ void merge(Real cosine, int place) {
    insert(cosine, place, [&](int k) {
      return cosine > cosines[k] || (cosine == cosines[k] && place < places[k]);
    });
  }
};

// Where things are in shared memory: first what is compared, then, over it, the lists of half of
// the warps, then the weights of the tile's positions.
template <typename Real, int kSize, int kGroups>
struct Layout {
  static constexpr int kPositions = 32 * kAcross<Real>;
  static constexpr int kColumns = kGroups * kAcross<Real>;
  static constexpr int kRows = 32 / kGroups;
  static constexpr int kSpan = kColumns + kOffsets<Real>;  // of memory, in one pass
  static constexpr int kQueryValues = kHeld * kPositions;
  static constexpr int kMemoryValues = kChunk * kSpan;  // of one warp
  static constexpr size_t kCompared = (kQueryValues + kWarps * kMemoryValues) * sizeof(Real);
  static constexpr size_t kListValues = kSize * kPositions;  // of one warp
  static constexpr size_t kMerged = kWarps / 2 * kListValues * (sizeof(Real) + sizeof(int));
  static constexpr size_t kMixed =
      kListValues * (sizeof(int64_t) + sizeof(Real)) + 2 * kPositions * sizeof(Real);
  static constexpr size_t kBytes = kCompared > kMerged ? (kCompared > kMixed ? kCompared : kMixed)
                                   : kMerged > kMixed  ? kMerged
                                                       : kMixed;
};

// One tile, its place and what it sees.
struct Tile {
  int64_t item;  // of the batch
  int top;
  int left;
  int first_row;  // of memory
  int rows;
};

// Copies channels first <= c < last of the tile's positions, all threads of the block.
template <typename Real, typename L>
__device__ void stage_query(const Propagation& task, const Tile& tile, const Real* packed, int step,
                            int first, int last, Real* query) {
  constexpr int kGroups = L::kColumns / kAcross<Real>;
  const int height = static_cast<int>(task.height), channels = static_cast<int>(task.channels);
  for (int i = threadIdx.x; i < (last - first) * 32; i += kThreads) {
    const int c = i / 32, lane = i % 32;
    int y = tile.top + lane / kGroups;
    y = y < height ? y : height - 1;  // it has no result
    const int64_t row = tile.item * height + y;
    copy_word(query + i * kAcross<Real>, packed + (row * channels + first + c) * step + tile.left +
                                             lane % kGroups * kAcross<Real>);
  }
}

// Copies the same channels of a run of memory, all lanes of the warp.
template <typename Real, typename L>
__device__ void stage_memory(const Real* run, int step, int channels, Real* memory) {
  constexpr int kWords = L::kSpan / kAcross<Real>;
  for (int i = threadIdx.x % 32; i < channels * kWords; i += 32) {
    const int c = i / kWords, word = i - c * kWords;
    copy_word(memory + i * kAcross<Real>,
              run + static_cast<int64_t>(c) * step + word * kAcross<Real>);
  }
}

template <typename Real, typename L>
__device__ void multiply(const Real* query, const Real* memory, int channels,
                         Real (&sums)[kAcross<Real>][kOffsets<Real>]) {
  constexpr int kQ = kAcross<Real>, kD = kOffsets<Real>;
  const int lane = threadIdx.x % 32;
  const Real* q_row = query + lane * kQ;
  const Real* m_row = memory + lane % (L::kColumns / kQ) * kQ;
#pragma unroll 4
  for (int c = 0; c < channels; ++c, q_row += L::kPositions, m_row += L::kSpan) {
    Real q[kQ], m[kQ + kD];
    load_word(q, q_row);
#pragma unroll
    for (int i = 0; i < kQ + kD; i += kQ) load_word(m + i, m_row + i);
#pragma unroll
    for (int i = 0; i < kQ; ++i) {
#pragma unroll
      for (int j = 0; j < kD; ++j) sums[i][j] += q[i] * m[i + j];
    }
  }
}

// The most alike positions of the tile's, those of lane's i-th position in lists[i] of warp 0; the
// first cosine is infinite where any was NaN.
template <typename Real, int kSize, int kGroups>
__device__ void compare(const Propagation& task, const Tile& tile, const Real* packed_query,
                        int query_step, const Real* packed_memory, int memory_step,
                        Neighbours<Real, kSize> (&lists)[kAcross<Real>]) {
  using L = Layout<Real, kSize, kGroups>;
  constexpr int kQ = kAcross<Real>, kD = kOffsets<Real>;
  Real* const query = reinterpret_cast<Real*>(dynamic_shared);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Real* const memory = query + L::kQueryValues + warp * L::kMemoryValues;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  const int channels = static_cast<int>(task.channels), radius = static_cast<int>(task.radius);
  const bool is_held = channels <= kHeld;
  const int y = tile.top + lane / kGroups, x = tile.left + lane % kGroups * kQ;
  bool is_nan[kQ] = {};
#pragma unroll
  for (int i = 0; i < kQ; ++i) lists[i].clear();
  if (is_held) {
    stage_query<Real, L>(task, tile, packed_query, query_step, 0, channels, query);
    __syncthreads();
  }
  const int all = static_cast<int>(task.memories) * tile.rows;
  // All warps take as many turns, since they load the tile's channels together where it is not
  // held.
  for (int turn = 0; turn < all; turn += kWarps) {
    const int item = turn + warp;
    const int frame = item / tile.rows, row = tile.first_row + item - frame * tile.rows;
    const int64_t of_memory = tile.item * task.memories + frame;
    const bool is_there = item < all && (task.usable == nullptr || task.usable[of_memory]);
    const Real* const run = packed_memory + (of_memory * height + row) * channels * memory_step;
    const bool sees = is_there && y < height && (row > y ? row - y : y - row) <= radius;
    for (int offset = 0; offset <= 2 * radius; offset += kD) {
      // What all of the tile's columns see to the left or to the right of the frame.
      if (tile.left + L::kColumns - 1 + offset + kD - 1 < radius) continue;
      if (tile.left + offset - radius >= width) break;
      Real sums[kQ][kD] = {};
      for (int c = 0; c < channels; c += kChunk) {
        const int last = c + kChunk < channels ? c + kChunk : channels;
        if (!is_held) {
          __syncthreads();
          stage_query<Real, L>(task, tile, packed_query, query_step, c, last, query);
          __syncthreads();
        }
        if (!is_there) continue;
        __syncwarp();
        stage_memory<Real, L>(run + static_cast<int64_t>(c) * memory_step + tile.left + offset,
                              memory_step, last - c, memory);
        __syncwarp();
        multiply<Real, L>(query + (is_held ? c * L::kPositions : 0), memory, last - c, sums);
      }
      if (!sees) continue;
      const int place = (frame * height + row) * width;
#pragma unroll
      for (int i = 0; i < kQ; ++i) {
#pragma unroll
        for (int j = 0; j < kD; ++j) {
          const int column = x + i + offset + j - radius;
          const bool inside = offset + j <= 2 * radius && column >= 0 && column < width;
          lists[i].offer(inside ? sums[i][j] : -infinity<Real>(), place + column, is_nan[i]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kQ; ++i) {
    if (is_nan[i]) lists[i].cosines[0] = infinity<Real>();
  }
  Real* const cosines = reinterpret_cast<Real*>(dynamic_shared);
  int* const places = reinterpret_cast<int*>(cosines + kWarps / 2 * L::kListValues);
  for (int half = kWarps / 2; half > 0; half /= 2) {
    __syncthreads();
    const int at = (warp - half) * static_cast<int>(L::kListValues) + lane;
#pragma unroll
    for (int i = 0; i < kQ; ++i) {
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        if (warp < half || warp >= 2 * half) continue;
        cosines[at + (i * kSize + k) * 32] = lists[i].cosines[k];
        places[at + (i * kSize + k) * 32] = lists[i].places[k];
      }
    }
    __syncthreads();
    if (warp >= half) continue;
    const int of_other = warp * static_cast<int>(L::kListValues) + lane;
#pragma unroll
    for (int i = 0; i < kQ; ++i) {
      for (int k = 0; k < kSize; ++k) {
        const int from = of_other + (i * kSize + k) * 32;
        lists[i].merge(cosines[from], places[from]);
      }
    }
  }
  __syncthreads();
}

template <typename Real, int kSize, int kGroups>
__global__ void __launch_bounds__(kThreads, kSize <= 5 ? 2 : 1)
    propagate(Propagation task, const Real* packed_query, int query_step, const Real* packed_memory,
              int memory_step, Real* labels, Real* similarity) {
  using L = Layout<Real, kSize, kGroups>;
  constexpr int kQ = kAcross<Real>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int height = static_cast<int>(task.height), width = static_cast<int>(task.width);
  const int radius = static_cast<int>(task.radius), topk = static_cast<int>(task.topk);
  const int tiles_across = (width + L::kColumns - 1) / L::kColumns;
  const int tiles = tiles_across * ((height + L::kRows - 1) / L::kRows);
  const int64_t pixels = static_cast<int64_t>(height) * width;
  const Real temperature = static_cast<Real>(task.temperature);
  for (int64_t block = blockIdx.x; block < task.batch * tiles; block += gridDim.x) {
    Tile tile;
    tile.item = block / tiles;
    const int own = static_cast<int>(block - tile.item * tiles);
    tile.top = own / tiles_across * L::kRows;
    tile.left = (own - own / tiles_across * tiles_across) * L::kColumns;
    tile.first_row = tile.top > radius ? tile.top - radius : 0;
    const int bottom = tile.top + L::kRows - 1 + radius;
    tile.rows = (bottom < height ? bottom : height - 1) - tile.first_row + 1;
    __syncthreads();  // the last tile's weights are still read
    Neighbours<Real, kSize> lists[kQ];
    compare<Real, kSize, kGroups>(task, tile, packed_query, query_step, packed_memory, memory_step,
                                  lists);
    // [kSize, positions] each, and the sums of the weights; a position without any has NaN.
    int64_t* const offsets = reinterpret_cast<int64_t*>(dynamic_shared);
    Real* const weights = reinterpret_cast<Real*>(offsets + L::kListValues);
    Real* const totals = weights + L::kListValues;
    if (warp == 0) {
#pragma unroll
      for (int i = 0; i < kQ; ++i) {
        const int position = lane * kQ + i;
        const Real largest = lists[i].cosines[0];
        Real total = 0, sum = 0;
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          const Real cosine = lists[i].cosines[k];
          const bool counts = k < topk && cosine > -infinity<Real>();
          const Real weight = counts ? exp((cosine - largest) / temperature) : Real(0);
          total += weight;
          sum += counts ? weight * cosine : Real(0);
          weights[k * L::kPositions + position] = weight;
          const int place = lists[i].places[k];
          const int row = place / width, frame = row / height;
          offsets[k * L::kPositions + position] =
              counts ? frame * task.labels.image + (row - frame * height) * task.labels.row +
                           (place - row * width) * task.labels.pixel
                     : -1;
        }
        // A cosine of infinity stands for NaN; without any neighbour it is 0 / 0.
        const Real mean = largest < infinity<Real>() ? sum / total : static_cast<Real>(nanf(""));
        totals[position] = mean == mean ? total : mean;
        const int y = tile.top + lane / kGroups, x = tile.left + lane % kGroups * kQ + i;
        if (y < height && x < width) {
          similarity[tile.item * pixels + static_cast<int64_t>(y) * width + x] = mean > 1 ? Real(1)
                                                                                 : mean < -1
                                                                                     ? Real(-1)
                                                                                     : mean;
        }
      }
    }
    __syncthreads();
    constexpr int kAtOnce = kThreads / L::kPositions;  // labels
    static_assert(kThreads % L::kPositions == 0);
    const int position = threadIdx.x % L::kPositions;
    const int y = tile.top + position / L::kColumns, x = tile.left + position % L::kColumns;
    if (y >= height || x >= width) continue;
    const Real total = totals[position];
    const Real* const of_item =
        static_cast<const Real*>(task.labels.data) + tile.item * task.labels_batch;
    for (int64_t l = threadIdx.x / L::kPositions; l < task.classes; l += kAtOnce) {
      const Real* const plane = of_item + l * task.labels.channel;
      Real sum = 0;
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        const int64_t offset = offsets[k * L::kPositions + position];
        if (offset >= 0 && total == total)
          sum += weights[k * L::kPositions + position] * plane[offset];
      }
      // Divided last: where all labels are 1, so is the mix.
      labels[(tile.item * task.classes + l) * pixels + static_cast<int64_t>(y) * width + x] =
          sum / total;
    }
  }
}

template <typename Real, int kSize, int kGroups>
cudaError_t start(const Propagation& task, const void* query, int64_t query_step,
                  const void* memory, int64_t memory_step, void* labels, void* similarity,
                  void* stream) {
  using L = Layout<Real, kSize, kGroups>;
  const auto kernel = propagate<Real, kSize, kGroups>;
  const int64_t tiles =
      (task.width + L::kColumns - 1) / L::kColumns * ((task.height + L::kRows - 1) / L::kRows);
  constexpr int64_t kMostBlocks = 0x7fffffff;
  const int64_t blocks = task.batch * tiles;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = L::kBytes;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(L::kBytes));
  if (error == cudaSuccess) {
    error = cudaLaunchKernelEx(&config, kernel, Propagation(task), static_cast<const Real*>(query),
                               static_cast<int>(query_step), static_cast<const Real*>(memory),
                               static_cast<int>(memory_step), static_cast<Real*>(labels),
                               static_cast<Real*>(similarity));
  }
  cudaGetLastError();  // clear it: it is returned
  return error;
}

template <typename T>
cudaError_t run(const Propagation& task, void* query, void* memory, void* labels, void* similarity,
                void* stream) {
  using Real = RealOf<T>;
  if (task.batch * task.height * task.width == 0) return cudaSuccess;
  if (task.memories * (task.height + 2 * task.radius) * task.width > kNowhere - 1 ||
      task.channels > (1 << 30)) {
    return cudaErrorInvalidValue;
  }
  const int64_t query_step = wmscore_label_propagate_cuda_step(task, false);
  const int64_t memory_step = wmscore_label_propagate_cuda_step(task, true);
  const int64_t rows = task.batch * task.height;
  cudaError_t error = wmscore::launch(pack<T>, rows * ((query_step + 31) / 32), stream, task, false,
                                      query_step, static_cast<Real*>(query));
  if (error == cudaSuccess && task.memories > 0) {
    error = wmscore::launch(pack<T>, rows * task.memories * ((memory_step + 31) / 32), stream, task,
                            true, memory_step, static_cast<Real*>(memory));
  }
  if (error != cudaSuccess) return error;
  // Narrow frames would leave half of a wide tile without positions.
  const bool narrow = task.width <= 4 * kAcross<Real>;
  const int64_t k = task.topk;
  const auto kernel = k <= 1    ? (narrow ? start<Real, 1, 4> : start<Real, 1, 8>)
                      : k <= 5  ? (narrow ? start<Real, 5, 4> : start<Real, 5, 8>)
                      : k <= 10 ? (narrow ? start<Real, 10, 4> : start<Real, 10, 8>)
                                : (narrow ? start<Real, 16, 4> : start<Real, 16, 8>);
  return kernel(task, query, query_step, memory, memory_step, labels, similarity, stream);
}

}  // namespace

int64_t wmscore_label_propagate_cuda_step(Propagation task, bool of_memory) {
  // Enough for both types and tiles.
  const int64_t columns = round_up(task.width, kMostColumns<float>);
  return of_memory ? columns + round_up(2 * task.radius + 1, kOffsets<float>) : columns;
}

int32_t wmscore_label_propagate_cuda(Element element, Propagation task, void* packed_query,
                                     void* packed_memory, void* labels, void* similarity,
                                     void* stream) {
  switch (element) {
    case Element::kFloat16:
      return run<Half>(task, packed_query, packed_memory, labels, similarity, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(task, packed_query, packed_memory, labels, similarity, stream);
    case Element::kFloat32:
      return run<float>(task, packed_query, packed_memory, labels, similarity, stream);
    case Element::kFloat64:
      return run<double>(task, packed_query, packed_memory, labels, similarity, stream);
    case Element::kUint8:  // features are floating
    case Element::kUint16:
      break;
  }
  return cudaErrorInvalidValue;
}
