// Mean features of objects on a device. A warp takes a part of a frame's cells and up to kGroup
// channels, in tiles of some cells for each lane. For one object of the tile after the other it
// counts the object's pixels in each cell and adds up the cells so weighted, so that a feature is
// read once for each object that has a pixel in its cell, and not at all where there is none.
//
// Planes (any strides): lanes are cells; four channels at a time are summed over the warp. Rows
// (channels that follow each other): lanes are channels.
//
// Sums go to the warp's own place in device memory, so no order of warps matters: one thread adds
// them, atomically only because that does not wait for what was there.
#include <cmath>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "../label_slots.h"
#include "blocks.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Half;
using wmscore::kThreads;
using wmscore::kWarps;
using wmscore::LabelImages;
using wmscore::Pool;

constexpr int kGroup = 32;            // channels of a warp
constexpr int kAtOnce = 4;            // channels summed at once
constexpr int kNone = 0x7fffff;       // no object: above all places
constexpr int64_t kExactPart = 2048;  // cells that are pixels
constexpr int64_t kWidePart = 512;    // cells of more or fewer pixels

using Long = unsigned long long;

// As wmscore::Slots, in shared memory, filled by a block.
struct Table {
  Long ids[wmscore::Slots::kSize];
  int places[wmscore::Slots::kSize];

  // Ids that are the same claim one entry, and the first place gets it.
  __device__ void fill(const int64_t* own, int64_t step, int count) {
    for (int i = threadIdx.x; i < wmscore::Slots::kSize; i += kThreads) {
      ids[i] = 0;
      places[i] = kNone;
    }
    __syncthreads();
    for (int n = threadIdx.x; n < count; n += kThreads) {
      const Long id = static_cast<Long>(own[n * step]);
      if (id == 0) continue;
      unsigned int i = wmscore::Slots::start_of(static_cast<int64_t>(id));
      for (;; i = (i + 1) % wmscore::Slots::kSize) {
        const Long found = atomicCAS(&ids[i], Long{0}, id);
        if (found == 0 || found == id) break;
      }
      atomicMin(&places[i], n);
    }
    __syncthreads();
  }

  __device__ int find(int64_t label) const {
    const Long id = static_cast<Long>(label);
    if (id == 0) return kNone;
    unsigned int i = wmscore::Slots::start_of(label);
    while (ids[i] != 0 && ids[i] != id) i = (i + 1) % wmscore::Slots::kSize;
    return places[i];
  }
};

__device__ int64_t read_label(const LabelImages& labels, int64_t offset) {
  switch (labels.bytes) {
    case 1:
      return static_cast<const uint8_t*>(labels.data)[offset];
    case 2:
      return static_cast<const int16_t*>(labels.data)[offset];
    case 4:
      return static_cast<const int32_t*>(labels.data)[offset];
    default:
      return static_cast<const int64_t*>(labels.data)[offset];
  }
}

__device__ int first_of_cell(int64_t cell, int64_t width, int64_t cells) {
  const uint64_t numerator = static_cast<uint64_t>(cell * width + cells - 1);
  // A division of 64 bits takes several times as long.
  if (numerator >> 32 == 0)
    return static_cast<int>(static_cast<uint32_t>(numerator) / static_cast<uint32_t>(cells));
  return static_cast<int>(numerator / static_cast<uint64_t>(cells));
}

__device__ int warp_min(int value) {
  for (int step = 16; step > 0; step /= 2) {
    const int other = __shfl_xor_sync(0xffffffffu, value, step);
    value = other < value ? other : value;
  }
  return value;
}

// The cells of a lane that are a pixel each: cell i is tile + 32 * i + lane.
template <int kCells>
struct ExactCells {
  int slots[kCells];

  __device__ void read(const Pool& pool, const Table& table, int64_t frame, const int (&y)[kCells],
                       const int (&x)[kCells], const bool (&exists)[kCells]) {
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      const LabelImages& labels = pool.labels;
      const int64_t offset = frame * labels.image + y[i] * labels.row + x[i] * labels.pixel;
      slots[i] = exists[i] ? table.find(read_label(labels, offset)) : kNone;
    }
  }

  // The pixels of one object in each cell; returns which object comes next.
  __device__ int take(const Pool&, const Table&, int64_t, int slot, int (&pixels)[kCells]) const {
    int next = kNone;
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      pixels[i] = slots[i] == slot;
      if (slots[i] > slot && slots[i] < next) next = slots[i];
    }
    return next;
  }
};

// The cells of a lane that are rectangles of pixels, which are gone over for each object.
template <int kCells>
struct WideCells {
  int top[kCells], bottom[kCells], left[kCells], right[kCells];

  __device__ void read(const Pool& pool, const Table&, int64_t, const int (&y)[kCells],
                       const int (&x)[kCells], const bool (&exists)[kCells]) {
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      top[i] = first_of_cell(y[i], pool.height, pool.rows);
      bottom[i] = exists[i] ? first_of_cell(y[i] + 1, pool.height, pool.rows) : top[i];
      left[i] = first_of_cell(x[i], pool.width, pool.columns);
      right[i] = first_of_cell(x[i] + 1, pool.width, pool.columns);
    }
  }

  __device__ int take(const Pool& pool, const Table& table, int64_t frame, int slot,
                      int (&pixels)[kCells]) const {
    int next = kNone;
    int64_t known = 0;
    int place = kNone;
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      pixels[i] = 0;
      for (int y = top[i]; y < bottom[i]; ++y) {
        const LabelImages& labels = pool.labels;
        int64_t offset = frame * labels.image + y * labels.row + left[i] * labels.pixel;
        for (int x = left[i]; x < right[i]; ++x, offset += labels.pixel) {
          const int64_t label = read_label(labels, offset);
          if (label != known) {
            known = label;
            place = table.find(label);
          }
          pixels[i] += place == slot;
          if (place > slot && place < next) next = place;
        }
      }
    }
    return next;
  }
};

// Adds to each of kAtOnce sums over the warp; lane 8 k then has the k-th.
template <typename Sum>
__device__ Sum reduce(const Sum (&sums)[kAtOnce]) {
  static_assert(kAtOnce == 4);
  const int lane = threadIdx.x % 32;
  // Each half of the warp passes on the two sums that the other half is to have, and so on.
  const bool high = lane & 16, odd = lane & 8;
  Sum pair[2];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const Sum kept = high ? sums[k + 2] : sums[k], passed = high ? sums[k] : sums[k + 2];
    pair[k] = kept + __shfl_xor_sync(0xffffffffu, passed, 16);
  }
  const Sum kept = odd ? pair[1] : pair[0], passed = odd ? pair[0] : pair[1];
  Sum sum = kept + __shfl_xor_sync(0xffffffffu, passed, 8);
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

// Bytes of single pixels are added up as integers, everything else in double, where bytes are exact
// as well.
template <typename T, bool kExact>
using SumOf = std::conditional_t<std::is_same_v<T, uint8_t> && kExact, int, double>;

// Lanes are cells.
template <typename T, bool kExact, int kCells>
__device__ void add_planes(const Pool& pool, const T* frame, const int64_t (&offsets)[kCells],
                           const int (&pixels)[kCells], int first, int last, double* sums) {
  using Sum = SumOf<T, kExact>;
  const int lane = threadIdx.x % 32;
  const int64_t step = pool.features.channel;
  for (int c = first; c < last; c += kAtOnce) {
    Sum partial[kAtOnce] = {};
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      if (pixels[i] == 0) continue;
      const T* const data = frame + offsets[i] + c * step;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        if (c + k >= last) continue;
        const Sum value = static_cast<Sum>(wmscore::widen(data[k * step]));
        partial[k] += kExact ? value : static_cast<Sum>(pixels[i]) * value;
      }
    }
    const Sum total = reduce(partial);
    if (lane % 8 == 0 && c + lane / 8 < last)
      atomicAdd(&sums[c + lane / 8], static_cast<double>(total));
  }
}

// Lanes are channels; the cells are those of all lanes.
template <typename T, bool kExact>
__device__ void add_rows(const T* frame, int64_t offset, int pixels, int first, int last,
                         double* sums) {
  using Sum = SumOf<T, kExact>;
  const int channel = first + static_cast<int>(threadIdx.x % 32);
  Sum sum = 0;
#pragma unroll 8
  for (int i = 0; i < 32; ++i) {
    const int weight = __shfl_sync(0xffffffffu, pixels, i);
    const int64_t cell = __shfl_sync(0xffffffffu, offset, i);
    if (weight == 0 || channel >= last) continue;
    const Sum value = static_cast<Sum>(wmscore::widen(frame[cell + channel]));
    sum += kExact ? value : static_cast<Sum>(weight) * value;
  }
  if (channel < last) atomicAdd(&sums[channel], static_cast<double>(sum));
}

template <typename T, bool kExact, bool kRows>
__global__ void __launch_bounds__(kThreads)
    add_parts(Pool pool, int64_t frames, int parts, int groups, double* sums, int64_t* counts) {
  constexpr int kCells = kRows ? 1 : kExact ? 8 : 4;
  constexpr int kPart = static_cast<int>(kExact ? kExactPart : kWidePart);
  __shared__ Table table;
  const int units = parts * groups;
  const int blocks = (units + kWarps - 1) / kWarps;  // of a frame
  const int lane = threadIdx.x % 32;
  const int cells = static_cast<int>(pool.rows * pool.columns);
  const int columns = static_cast<int>(pool.columns);
  const int channels = static_cast<int>(pool.channels), count = static_cast<int>(pool.count);
  for (int64_t block = blockIdx.x; block < frames * blocks; block += gridDim.x) {
    const int64_t frame = block / blocks;
    __syncthreads();  // the last one's table is still read
    table.fill(pool.ids + frame * pool.ids_frame, pool.ids_step, count);
    const int unit = static_cast<int>(block - frame * blocks) * kWarps + threadIdx.x / 32;
    if (unit >= units) continue;
    const int part = unit / groups, group = unit - part * groups;
    const int first = group * kGroup, last = first + kGroup < channels ? first + kGroup : channels;
    double* const own_sums = sums + (frame * parts + part) * count * channels;
    int64_t* const own_counts = counts + (frame * parts + part) * count;
    for (int n = 0; n < count; ++n) {
      if (first + lane < last) own_sums[static_cast<int64_t>(n) * channels + first + lane] = 0;
    }
    for (int n = lane; n < count && group == 0; n += 32) own_counts[n] = 0;
    __syncwarp();
    const T* const features =
        static_cast<const T*>(pool.features.data) + frame * pool.features.image;
    const int end = part + 1 < parts ? (part + 1) * kPart : cells;
    for (int tile = part * kPart; tile < end; tile += 32 * kCells) {
      int y[kCells], x[kCells];
      bool exists[kCells];
      int64_t offsets[kCells];
#pragma unroll
      for (int i = 0; i < kCells; ++i) {
        const int cell = tile + 32 * i + lane;
        exists[i] = cell < end;
        y[i] = exists[i] ? cell / columns : 0;
        x[i] = exists[i] ? cell - y[i] * columns : 0;
        offsets[i] = y[i] * pool.features.row + x[i] * pool.features.pixel;
      }
      std::conditional_t<kExact, ExactCells<kCells>, WideCells<kCells>> own;
      own.read(pool, table, frame, y, x, exists);
      int pixels[kCells];
      int slot = warp_min(own.take(pool, table, frame, -1, pixels));
      while (slot < kNone) {
        const int next = warp_min(own.take(pool, table, frame, slot, pixels));
        double* const of_slot = own_sums + static_cast<int64_t>(slot) * channels;
        if constexpr (kRows) {
          add_rows<T, kExact>(features, offsets[0], pixels[0], first, last, of_slot);
        } else {
          add_planes<T, kExact>(pool, features, offsets, pixels, first, last, of_slot);
        }
        if (group == 0) {
          int total = 0;
#pragma unroll
          for (int i = 0; i < kCells; ++i) total += pixels[i];
          for (int step = 16; step > 0; step /= 2)
            total += __shfl_xor_sync(0xffffffffu, total, step);
          if (lane == 0)
            atomicAdd(reinterpret_cast<Long*>(&own_counts[slot]), static_cast<Long>(total));
        }
        slot = next;
      }
    }
  }
}

// A block for each object of each frame.
template <typename Real>
__global__ void __launch_bounds__(kThreads)
    divide(Pool pool, int64_t frames, int parts, const double* sums, const int64_t* counts,
           Real* means, int64_t* pixels) {
  __shared__ int slot;
  const int64_t channels = pool.channels, count = pool.count;
  for (int64_t block = blockIdx.x; block < frames * count; block += gridDim.x) {
    const int64_t frame = block / count;
    const int n = static_cast<int>(block - frame * count);
    const int64_t* const ids = pool.ids + frame * pool.ids_frame;
    const int64_t id = ids[n * pool.ids_step];
    __syncthreads();  // the last one's slot is still read
    if (threadIdx.x == 0) slot = id == 0 ? kNone : n;
    __syncthreads();
    for (int i = threadIdx.x; i < n && id != 0; i += kThreads) {
      if (ids[i * pool.ids_step] == id) atomicMin(&slot, i);
    }
    __syncthreads();
    const int own = slot;
    int64_t total = 0;
    for (int part = 0; part < parts && own != kNone; ++part)
      total += counts[(frame * parts + part) * count + own];
    if (threadIdx.x == 0) pixels[block] = total;
    for (int64_t c = threadIdx.x; c < channels; c += kThreads) {
      double sum = 0;
      for (int part = 0; part < parts && total > 0; ++part)
        sum += sums[((frame * parts + part) * count + own) * channels + c];
      means[block * channels + c] = total == 0
                                        ? static_cast<Real>(nan(""))
                                        : static_cast<Real>(sum / static_cast<double>(total));
    }
  }
}

bool is_exact(const Pool& pool) { return pool.rows == pool.height && pool.columns == pool.width; }

template <typename T>
cudaError_t run(const Pool& pool, int64_t frames, double* sums, int64_t* counts, void* means,
                int64_t* pixels, void* stream) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  constexpr int64_t kMostCells = int64_t{1} << 30;
  if (pool.rows * pool.columns > kMostCells || pool.height * pool.width > kMostCells ||
      pool.channels > kMostCells) {
    return cudaErrorInvalidValue;
  }
  if (frames * pool.count == 0) return cudaSuccess;
  const int64_t parts = wmscore_label_pool_parts(pool);
  const int64_t of_channels = (pool.channels + kGroup - 1) / kGroup;
  const int64_t groups = of_channels < 1 ? 1 : of_channels;
  const int64_t blocks = frames * ((parts * groups + kWarps - 1) / kWarps);
  const bool has_rows = pool.features.channel == 1 && pool.channels >= kGroup / 2;
  const auto kernel = is_exact(pool)
                          ? (has_rows ? add_parts<T, true, true> : add_parts<T, true, false>)
                          : (has_rows ? add_parts<T, false, true> : add_parts<T, false, false>);
  const cudaError_t error =
      wmscore::launch(kernel, blocks, stream, pool, frames, parts, groups, sums, counts);
  if (error != cudaSuccess) return error;
  return wmscore::launch(divide<Real>, frames * pool.count, stream, pool, frames, parts, sums,
                         counts, static_cast<Real*>(means), pixels);
}

}  // namespace

int64_t wmscore_label_pool_parts(Pool pool) {
  const int64_t part = is_exact(pool) ? kExactPart : kWidePart;
  const int64_t parts = (pool.rows * pool.columns + part - 1) / part;
  return parts < 1 ? 1 : parts;
}

int32_t wmscore_label_pool_cuda(Element element, Pool pool, int64_t frames, double* sums,
                                int64_t* counts, void* means, int64_t* pixels, void* stream) {
  switch (element) {
    case Element::kUint8:
      return run<uint8_t>(pool, frames, sums, counts, means, pixels, stream);
    case Element::kFloat16:
      return run<Half>(pool, frames, sums, counts, means, pixels, stream);
    case Element::kBfloat16:
      return run<Bfloat16>(pool, frames, sums, counts, means, pixels, stream);
    case Element::kFloat32:
      return run<float>(pool, frames, sums, counts, means, pixels, stream);
    case Element::kFloat64:
      return run<double>(pool, frames, sums, counts, means, pixels, stream);
    case Element::kUint16:  // no features
      break;
  }
  return cudaErrorInvalidValue;
}
