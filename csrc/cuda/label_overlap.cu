// Counts of two label maps. A block takes a frame, or a slice of one where there are few frames,
// and counts in shared memory; background is what remains, and is never counted.
#include <algorithm>

#include "blocks.h"
#include "labels.h"

#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared[];
#endif

namespace {

using wmscore::Frames;
using wmscore::kMostObjects;
using wmscore::kThreads;
using wmscore::kWarps;
using wmscore::LabelCounts;
using wmscore::LabelMaps;
using wmscore::SlotTable;
using wmscore::walk;

constexpr int64_t kSlicePixels = 16384;     // a slice has at least as many
constexpr int64_t kBlocks = 1024;           // frames are sliced where there would be fewer
constexpr int64_t kMostSum = 0xffffffffLL;  // of coordinates in a slice
constexpr size_t kMostShared = 96 * 1024;   // bytes of a block on every device
constexpr size_t kAlwaysAllowed = 48 * 1024;

// What is known of an object, all of it growing from 0: pixels, sum of y, sum of x, then the box as
// height - top, width - left, bottom, right.
constexpr int kValues = 7;
constexpr int kSums = 3;
enum Value { kCount, kSumY, kSumX, kAbove, kBefore, kBottom, kRight };

// Where a box is looked for a second time, and what is found there.
struct Near {
  int top, left, bottom, right;
  unsigned int found;
};

struct Sizes {
  int reference, generated, common;
  int cells;  // of the joint histogram

  __host__ __device__ explicit Sizes(const LabelMaps& maps)
      : reference(static_cast<int>(maps.target_objects)),
        generated(static_cast<int>(maps.preds_objects)),
        common(reference < generated ? reference : generated),
        cells((reference + 1) * (generated + 1)) {}
};

// The shared memory of a block: extents of the objects of target and then of preds, tables, places
// to look at, and the joint histogram, which is left in device memory where it does not fit.
template <typename T>
struct Shared {
  unsigned int* extents;
  SlotTable<T> preds_table;
  SlotTable<T> target_table;
  Near* near;
  int* control;  // pixels that are listed; first and last row to look at
  int* joint;

  static constexpr int kControl = 4;

  static size_t bytes(const Sizes& sizes) {
    return sizeof(int) * (kValues * (sizes.reference + sizes.generated) +
                          2 * SlotTable<T>::kEntries + kControl) +
           sizeof(Near) * sizes.common;
  }

  __device__ explicit Shared(const Sizes& sizes) {
    unsigned int* place = reinterpret_cast<unsigned int*>(dynamic_shared);
    extents = place;
    place += kValues * (sizes.reference + sizes.generated);
    preds_table.entries = place;
    place += SlotTable<T>::kEntries;
    target_table.entries = place;
    place += SlotTable<T>::kEntries;
    control = reinterpret_cast<int*>(place);
    place += kControl;
    near = reinterpret_cast<Near*>(place);
    joint = reinterpret_cast<int*>(near + sizes.common);
  }

  __device__ void clear(const Sizes& sizes, bool has_joint) const {
    const int words =
        static_cast<int>(reinterpret_cast<int*>(near) - reinterpret_cast<int*>(extents));
    for (int i = threadIdx.x; i < words; i += kThreads) extents[i] = 0;
    for (int i = threadIdx.x; has_joint && i < sizes.cells; i += kThreads) joint[i] = 0;
  }
};

// The frame and the slice of one block.
template <typename T>
struct Slice {
  int64_t frame, row;
  const T* preds;
  const T* target;
  int begin, end;  // pixels; none where the row has no target
  bool is_first;

  __device__ Slice(const LabelMaps& maps, int64_t item, int64_t slices, int64_t slice_pixels) {
    frame = item / slices;
    row = frame / maps.steps;
    const int64_t step = frame - row * maps.steps;
    const int64_t slice = item - frame * slices;
    const int64_t of_target = maps.index ? maps.index[row] : row;
    const bool is_there = of_target >= 0 && of_target < maps.targets;
    preds = at(maps.preds, row, step);
    target = is_there ? at(maps.target, of_target, step) : nullptr;
    const int64_t pixels = maps.height * maps.width;
    const int64_t start = slice * slice_pixels;
    begin = static_cast<int>(start);
    end = static_cast<int>(!is_there                       ? start
                           : start + slice_pixels < pixels ? start + slice_pixels
                                                           : pixels);
    is_first = slice == 0;
  }

  static __device__ const T* at(const Frames& labels, int64_t row, int64_t step) {
    return static_cast<const T*>(labels.data) + row * labels.image + step * labels.channel;
  }
};

// Of a thread: the pixels of one object since it last met another one. Background between them does
// not matter, so an object is handed over about once.
class Extent {
 public:
  __device__ void add(unsigned int object, unsigned int* extents, const LabelMaps& maps, int y,
                      int x, int length) {
    if (object == 0) return;
    if (object != object_) {
      hand_over(extents, maps);
      object_ = object;
      count_ = sum_y_ = sum_x_ = 0;
      top_ = y;
      left_ = x;
      right_ = 0;
    }
    const unsigned int many = static_cast<unsigned int>(length);
    count_ += many;
    sum_y_ += many * static_cast<unsigned int>(y);
    sum_x_ += many * static_cast<unsigned int>(x) + many * (many - 1) / 2;
    bottom_ = y + 1;  // rows come in order
    left_ = x < left_ ? x : left_;
    right_ = x + length > right_ ? x + length : right_;
  }

  __device__ void hand_over(unsigned int* extents, const LabelMaps& maps) const {
    if (object_ == 0) return;
    unsigned int* const values = extents + kValues * (object_ - 1);
    atomicAdd(&values[kCount], count_);
    atomicAdd(&values[kSumY], sum_y_);
    atomicAdd(&values[kSumX], sum_x_);
    atomicMax(&values[kAbove], static_cast<unsigned int>(maps.height) - top_);
    atomicMax(&values[kBefore], static_cast<unsigned int>(maps.width) - left_);
    atomicMax(&values[kBottom], static_cast<unsigned int>(bottom_));
    atomicMax(&values[kRight], static_cast<unsigned int>(right_));
  }

 private:
  unsigned int object_ = 0, count_ = 0, sum_y_ = 0, sum_x_ = 0;
  int top_ = 0, left_ = 0, bottom_ = 0, right_ = 0;
};

// The same of both maps, and of one pair of slots.
template <typename T>
class Counter {
 public:
  __device__ Counter(const LabelMaps& maps, const Sizes& sizes, const Shared<T>& shared, int* joint,
                     bool joint_is_shared)
      : maps_(maps),
        shared_(shared),
        preds_extents_(shared.extents + kValues * sizes.reference),
        joint_(joint),
        joint_is_shared_(joint_is_shared),
        stride_(static_cast<unsigned int>(sizes.generated + 1)) {}

  __device__ void operator()(T preds, T target, int y, int x, int length) {
    if (preds != last_preds_ || target != last_target_) {
      last_preds_ = preds;
      last_target_ = target;
      preds_slot_ = shared_.preds_table.slot(preds);
      target_slot_ = shared_.target_table.slot(target);
    }
    const unsigned int cell = target_slot_ * stride_ + preds_slot_;
    if (cell == 0) return;
    if (cell != cell_) {
      hand_over();
      cell_ = cell;
      count_ = 0;
    }
    count_ += length;
    of_preds_.add(preds_slot_, preds_extents_, maps_, y, x, length);
    of_target_.add(target_slot_, shared_.extents, maps_, y, x, length);
  }

  // Returns how many pixels this thread has counted.
  __device__ int finish() {
    hand_over();
    of_preds_.hand_over(preds_extents_, maps_);
    of_target_.hand_over(shared_.extents, maps_);
    return listed_;
  }

 private:
  __device__ void hand_over() {
    if (cell_ == 0) return;
    if (joint_is_shared_) {
      atomicAdd(&shared_.joint[cell_], count_);
    } else {
      atomicAdd(&joint_[cell_], count_);
    }
    listed_ += count_;
  }

  const LabelMaps& maps_;
  const Shared<T>& shared_;
  unsigned int* preds_extents_;
  int* joint_;
  bool joint_is_shared_;
  unsigned int stride_;
  T last_preds_ = 0, last_target_ = 0;  // background, which has slot 0
  unsigned int preds_slot_ = 0, target_slot_ = 0, cell_ = 0;
  int count_ = 0, listed_ = 0;
  Extent of_preds_, of_target_;
};

// Of a thread: the pixels of one object near its reference.
template <typename T>
class Finder {
 public:
  __device__ Finder(const Sizes& sizes, const Shared<T>& shared)
      : shared_(shared), common_(static_cast<unsigned int>(sizes.common)) {}

  __device__ void operator()(T label, T, int y, int x, int length) {
    if (label != last_label_) {
      last_label_ = label;
      last_slot_ = shared_.preds_table.slot(label);
      if (last_slot_ > common_) last_slot_ = 0;
      if (last_slot_ > 0) box_ = shared_.near[last_slot_ - 1];
    }
    if (last_slot_ == 0 || y < box_.top || y >= box_.bottom) return;
    if (last_slot_ != slot_) {
      finish();
      slot_ = last_slot_;
      found_ = 0;
    }
    const int left = x > box_.left ? x : box_.left;
    const int right = x + length < box_.right ? x + length : box_.right;
    if (right > left) found_ += static_cast<unsigned int>(right - left);
  }

  __device__ void finish() {
    if (slot_ > 0 && found_ > 0) atomicAdd(&shared_.near[slot_ - 1].found, found_);
  }

 private:
  Shared<T> shared_;
  unsigned int common_;
  T last_label_ = 0;
  unsigned int last_slot_ = 0, slot_ = 0, found_ = 0;
  Near box_ = {};
};

// From the extents of all objects in shared memory: where to look for the pixels of each that are
// near its reference. Most boxes tell at once that all or none are, and then there is no box.
// `found` starts with the pixels that need no look.
template <typename T>
__device__ void find_boxes(const LabelMaps& maps, const Sizes& sizes, const Shared<T>& shared) {
  if (threadIdx.x == 0) {
    shared.control[1] = static_cast<int>(maps.height);
    shared.control[2] = 0;
  }
  __syncthreads();
  const int height = static_cast<int>(maps.height), width = static_cast<int>(maps.width);
  for (int n = threadIdx.x; n < sizes.common; n += kThreads) {
    const unsigned int* t = shared.extents + kValues * n;
    const unsigned int* p = shared.extents + kValues * (sizes.reference + n);
    Near near = {};
    if (t[kCount] > 0 && p[kCount] > 0) {
      const int top = height - static_cast<int>(t[kAbove]), bottom = static_cast<int>(t[kBottom]);
      const int left = width - static_cast<int>(t[kBefore]), right = static_cast<int>(t[kRight]);
      const int p_top = height - static_cast<int>(p[kAbove]);
      const int p_left = width - static_cast<int>(p[kBefore]);
      const int p_bottom = static_cast<int>(p[kBottom]), p_right = static_cast<int>(p[kRight]);
      const int tall = bottom - top, wide = right - left;
      near.top = p_top > top - tall ? p_top : top - tall;
      near.bottom = p_bottom < bottom + tall ? p_bottom : bottom + tall;
      near.left = p_left > left - wide ? p_left : left - wide;
      near.right = p_right < right + wide ? p_right : right + wide;
      if (near.top == p_top && near.bottom == p_bottom && near.left == p_left &&
          near.right == p_right) {
        near = Near{0, 0, 0, 0, p[kCount]};
      } else if (near.top >= near.bottom || near.left >= near.right) {
        near = Near{};
      } else {
        atomicMin(&shared.control[1], near.top);
        atomicMax(&shared.control[2], near.bottom);
      }
    }
    shared.near[n] = near;
  }
  __syncthreads();
}

// Looks at what the boxes left open, within the slice.
template <typename T>
__device__ void look(const LabelMaps& maps, const Sizes& sizes, const Shared<T>& shared,
                     const Slice<T>& slice) {
  const int64_t top = shared.control[1], bottom = shared.control[2];
  int64_t begin = top * maps.width / 16 * 16, end = bottom * maps.width;
  if (begin < slice.begin) begin = slice.begin;
  if (end > slice.end) end = slice.end;
  if (begin < end) {
    Finder<T> finder(sizes, shared);
    walk<T, false, kWarps>(slice.preds, slice.preds, static_cast<int>(begin), static_cast<int>(end),
                           static_cast<int>(maps.width), finder);
    finder.finish();
  }
  __syncthreads();
}

template <typename Extent>
__device__ int64_t shape_value(const LabelMaps& maps, const Extent* values, int column) {
  if (values[kCount] == 0) return 0;
  switch (column) {
    case 0:
      return static_cast<int64_t>(values[kSumY]);
    case 1:
      return static_cast<int64_t>(values[kSumX]);
    case 2:
      return maps.height - static_cast<int64_t>(values[kAbove]);
    case 3:
      return maps.width - static_cast<int64_t>(values[kBefore]);
    case 4:
      return static_cast<int64_t>(values[kBottom]);
    default:
      return static_cast<int64_t>(values[kRight]);
  }
}

template <typename Extent>
__device__ void store_shapes(const LabelMaps& maps, const Sizes& sizes, const Extent* extents,
                             int64_t frame, const LabelCounts& counts) {
  const int objects = sizes.reference + sizes.generated;
  int64_t* const of_target = counts.target_shapes + frame * sizes.reference * 6;
  int64_t* const of_preds = counts.preds_shapes + frame * sizes.generated * 6;
  for (int i = threadIdx.x; i < objects * 6; i += kThreads) {
    const int64_t value = shape_value(maps, extents + i / 6 * kValues, i % 6);
    if (i < sizes.reference * 6) {
      of_target[i] = value;
    } else {
      of_preds[i - sizes.reference * 6] = value;
    }
  }
}

// All of a frame where it is one slice; else what the slices add up, and look_again does the rest.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    count_slices(LabelMaps maps, int64_t slices, int64_t slice_pixels, bool joint_is_shared,
                 LabelCounts counts, unsigned long long* extents) {
  const Sizes sizes(maps);
  const Shared<T> shared(sizes);
  const int64_t items = maps.rows * maps.steps * slices;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Slice<T> slice(maps, item, slices, slice_pixels);
    int* const joint = counts.joint + slice.frame * sizes.cells;
    shared.clear(sizes, joint_is_shared);
    __syncthreads();
    for (int n = threadIdx.x; n < sizes.generated; n += kThreads)
      shared.preds_table.insert(maps.preds_ids[slice.row * sizes.generated + n], n + 1u);
    for (int n = threadIdx.x; n < sizes.reference; n += kThreads)
      shared.target_table.insert(maps.target_ids[slice.row * sizes.reference + n], n + 1u);
    __syncthreads();

    Counter<T> counter(maps, sizes, shared, joint, joint_is_shared);
    walk<T, true, kWarps>(slice.preds, slice.target, slice.begin, slice.end,
                          static_cast<int>(maps.width), counter);
    int listed = counter.finish();
    for (int step = 16; step > 0; step /= 2) listed += __shfl_down_sync(0xffffffffu, listed, step);
    if (threadIdx.x % 32 == 0) atomicAdd(&shared.control[0], listed);
    __syncthreads();

    const int background = slice.end - slice.begin - shared.control[0];
    if (!joint_is_shared) {
      if (threadIdx.x == 0) atomicAdd(&joint[0], background);
    } else {
      for (int i = threadIdx.x; i < sizes.cells; i += kThreads) {
        const int count = i == 0 ? background : shared.joint[i];
        if (slices == 1) {
          joint[i] = count;
        } else if (count != 0) {
          atomicAdd(&joint[i], count);
        }
      }
    }
    if (slices == 1) {
      store_shapes(maps, sizes, shared.extents, slice.frame, counts);
      find_boxes(maps, sizes, shared);
      look(maps, sizes, shared, slice);
      for (int n = threadIdx.x; n < sizes.common; n += kThreads) {
        const unsigned int count = shared.extents[kValues * (sizes.reference + n) + kCount];
        counts.stray[slice.frame * sizes.common + n] = count - shared.near[n].found;
      }
    } else {
      const int values = kValues * (sizes.reference + sizes.generated);
      unsigned long long* const of_frame = extents + slice.frame * values;
      for (int i = threadIdx.x; i < values; i += kThreads) {
        const unsigned long long value = shared.extents[i];
        if (value == 0) continue;
        if (i % kValues < kSums) {
          atomicAdd(&of_frame[i], value);
        } else {
          atomicMax(&of_frame[i], value);
        }
      }
    }
    __syncthreads();  // the next item clears what this one has read
  }
}

// The shapes and the stray pixels of frames of several slices, once these are counted.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    look_again(LabelMaps maps, int64_t slices, int64_t slice_pixels, LabelCounts counts,
               const unsigned long long* extents) {
  const Sizes sizes(maps);
  const Shared<T> shared(sizes);
  const int values = kValues * (sizes.reference + sizes.generated);
  const int64_t items = maps.rows * maps.steps * slices;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Slice<T> slice(maps, item, slices, slice_pixels);
    const unsigned long long* const of_frame = extents + slice.frame * values;
    shared.clear(sizes, false);
    __syncthreads();
    for (int i = threadIdx.x; i < values; i += kThreads)
      shared.extents[i] = static_cast<unsigned int>(of_frame[i]);  // sums may not fit: not used
    for (int n = threadIdx.x; n < sizes.generated; n += kThreads)
      shared.preds_table.insert(maps.preds_ids[slice.row * sizes.generated + n], n + 1u);
    __syncthreads();

    if (slice.is_first) store_shapes(maps, sizes, of_frame, slice.frame, counts);
    find_boxes(maps, sizes, shared);
    // What needs no look is the same in all slices: the first one tells.
    for (int n = threadIdx.x; !slice.is_first && n < sizes.common; n += kThreads)
      shared.near[n].found = 0;
    __syncthreads();
    look(maps, sizes, shared, slice);
    for (int n = threadIdx.x; n < sizes.common; n += kThreads) {
      int64_t change = -static_cast<int64_t>(shared.near[n].found);
      if (slice.is_first) change += shared.extents[kValues * (sizes.reference + n) + kCount];
      if (change != 0) {
        atomicAdd(
            reinterpret_cast<unsigned long long*>(counts.stray + slice.frame * sizes.common + n),
            static_cast<unsigned long long>(change));
      }
    }
    __syncthreads();
  }
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t pixels_of_slice(const LabelMaps& maps) {
  const int64_t pixels = maps.height * maps.width;
  const int64_t wanted = ceil_div(kBlocks, std::max<int64_t>(1, maps.rows * maps.steps));
  const int64_t slices = std::max<int64_t>(1, std::min(wanted, ceil_div(pixels, kSlicePixels)));
  const int64_t most = kMostSum / std::max(maps.height, maps.width) / 16 * 16;
  return std::min(most, ceil_div(ceil_div(pixels, slices), 16) * 16);
}

template <typename T>
size_t shared_bytes(const LabelMaps& maps, bool* joint_is_shared) {
  const Sizes sizes(maps);
  const size_t bytes = Shared<T>::bytes(sizes);
  const size_t with_joint = bytes + sizeof(int) * sizes.cells;
  *joint_is_shared = with_joint <= kMostShared;
  return *joint_is_shared ? with_joint : bytes;
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, size_t shared, void* stream,
                   Arguments... arguments) {
  constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid; the kernels stride over the rest
  if (shared > kAlwaysAllowed) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) {
      cudaGetLastError();  // clear it: it is returned
      return error;
    }
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // clear it: it is returned
  return error;
}

template <typename T>
cudaError_t run(const LabelMaps& maps, int64_t* extents, const LabelCounts& counts, void* stream) {
  const int64_t slice_pixels = pixels_of_slice(maps);
  const int64_t slices = wmscore_label_overlap_slices(maps);
  const int64_t blocks = maps.rows * maps.steps * slices;
  unsigned long long* const of_frames = reinterpret_cast<unsigned long long*>(extents);
  bool joint_is_shared;
  const size_t shared = shared_bytes<T>(maps, &joint_is_shared);
  const cudaError_t error = launch(count_slices<T>, blocks, shared, stream, maps, slices,
                                   slice_pixels, joint_is_shared, counts, of_frames);
  if (error != cudaSuccess || slices == 1) return error;
  return launch(look_again<T>, blocks, Shared<T>::bytes(Sizes(maps)), stream, maps, slices,
                slice_pixels, counts, of_frames);
}

}  // namespace

int64_t wmscore_label_overlap_slices(LabelMaps maps) {
  return ceil_div(maps.height * maps.width, pixels_of_slice(maps));
}

bool wmscore_label_overlap_adds(LabelMaps maps) {
  bool joint_is_shared;
  if (maps.bytes == 1) {
    shared_bytes<uint8_t>(maps, &joint_is_shared);
  } else {
    shared_bytes<int64_t>(maps, &joint_is_shared);
  }
  return wmscore_label_overlap_slices(maps) > 1 || !joint_is_shared;
}

int32_t wmscore_label_overlap_cuda(LabelMaps maps, int64_t* extents, LabelCounts counts,
                                   void* stream) {
  switch (maps.bytes) {
    case 1:
      return run<uint8_t>(maps, extents, counts, stream);
    case 2:
      return run<int16_t>(maps, extents, counts, stream);
    case 4:
      return run<int32_t>(maps, extents, counts, stream);
    case 8:
      return run<int64_t>(maps, extents, counts, stream);
    default:
      return cudaErrorInvalidValue;
  }
}
