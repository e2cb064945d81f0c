// What frames say about their own quality, in one read, the same bits in each run: a thread walks
// down a band of rows, a few columns wide, with the luma of the row above in registers; a warp sums
// 32 of these in a fixed order, and a second kernel sums the warps of a frame. How a frame is cut
// depends on its size alone, so its result does not depend on the batch around it or on the device.
#include <cuda_runtime.h>

#include "../half.h"
#include "../kernels.h"
#include "../quality.h"
#include "blocks.h"

namespace {

using namespace wmscore;  // the columns of the sums

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMostRows = 32;  // of a band

// Columns that one thread walks down.
template <typename T>
constexpr int kColumns = 4;
template <>
constexpr int kColumns<uint8_t> = 16;
static_assert(kColumns<uint8_t> % kGrid == 0 && kGrid % kColumns<double> == 0);
static_assert(3LL * 255 * 255 * kColumns<uint8_t> * kMostRows * 32 <= 0xffffffffLL,
              "a warp's squared change must fit 32 bits");
static_assert(2LL * 65280 * kColumns<uint8_t> * kMostRows * 32 <= 0xffffffffLL,
              "a warp's absolute steps must fit 32 bits");

// How frames of one size are cut: bands of `rows` rows into groups of kColumns columns.
struct Cut {
  int64_t height, width, rows, groups, bands;

  template <typename T>
  static Cut of(int64_t height, int64_t width) {
    Cut cut{height, width, kMostRows, (width + kColumns<T> - 1) / kColumns<T>, 0};
    // Bands read two rows above again: high ones, as long as there is work for four warps.
    while (cut.rows > kGrid && (height + cut.rows - 1) / cut.rows * cut.groups < 128) cut.rows /= 2;
    cut.bands = (height + cut.rows - 1) / cut.rows;
    return cut;
  }

  __host__ __device__ int64_t slices() const { return (bands * groups + 31) / 32; }
};

__device__ inline void add_square(unsigned long long& sum, int value) {
  sum += static_cast<unsigned long long>(static_cast<long long>(value) * value);
}

__device__ inline void add_square(double& sum, double value) { sum += value * value; }

__device__ inline void add_distance(unsigned int& sum, int from, int to) {
  sum = __sad(from, to, sum);
}

__device__ inline void add_distance(double& sum, double from, double to) { sum += fabs(from - to); }

// The pixels of one row in one thread; those from `valid` on are 0.
template <typename T>
struct Pixels {
  using Luma = double;
  double channel[3][kColumns<T>];

  __device__ void luma(double (&out)[kColumns<T>]) const {
#pragma unroll
    for (int i = 0; i < kColumns<T>; ++i)
      out[i] = kLumaRed * channel[0][i] + kLumaGreen * channel[1][i] + kLumaBlue * channel[2][i];
  }
};

template <>
struct Pixels<uint8_t> {
  using Luma = int;
  unsigned int channel[3][4];  // four pixels to a word

  __device__ void luma(int (&out)[16]) const {
    constexpr unsigned int kWeights = kLumaRed | kLumaGreen << 8 | kLumaBlue << 16;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const unsigned int red_green = __byte_perm(channel[0][k], channel[1][k], 0x5140);
      const unsigned int red_green_after = __byte_perm(channel[0][k], channel[1][k], 0x7362);
      const unsigned int blue = channel[2][k];
      out[4 * k] = __dp4a(__byte_perm(red_green, blue, 0x0410), kWeights, 0u);
      out[4 * k + 1] = __dp4a(__byte_perm(red_green, blue, 0x0532), kWeights, 0u);
      out[4 * k + 2] = __dp4a(__byte_perm(red_green_after, blue, 0x0610), kWeights, 0u);
      out[4 * k + 3] = __dp4a(__byte_perm(red_green_after, blue, 0x0732), kWeights, 0u);
    }
  }
};

// Running sums in one thread.
template <typename T>
struct Sums {
  using Narrow = double;
  using Total = double;
  double value[kQualityColumns] = {};
  double gradient = 0, laplacian = 0;

  __device__ void add_colours(const Pixels<T>& pixels, int valid) {
#pragma unroll
    for (int i = 0; i < kColumns<T>; ++i) {
      if (i >= valid) break;
      const double r = pixels.channel[0][i], g = pixels.channel[1][i], b = pixels.channel[2][i];
      value[kRed] += r;
      value[kGreen] += g;
      value[kBlue] += b;
      value[kRedRed] += r * r;
      value[kGreenGreen] += g * g;
      value[kBlueBlue] += b * b;
      value[kRedGreen] += r * g;
      value[kGreenBlue] += g * b;
      value[kBlueRed] += b * r;
      value[kChroma] += fabs(r - g) + fabs(g - b) + fabs(b - r);
      value[kLow] += (r <= 0) + (g <= 0) + (b <= 0);
      value[kHigh] += (r >= 1) + (g >= 1) + (b >= 1);
    }
  }

  __device__ void add_change(const Pixels<T>& pixels, const Pixels<T>& previous) {
#pragma unroll
    for (int i = 0; i < 3 * kColumns<T>; ++i) {
      const double difference = pixels.channel[i / kColumns<T>][i % kColumns<T>] -
                                previous.channel[i / kColumns<T>][i % kColumns<T>];
      value[kAbsoluteChange] += fabs(difference);
      value[kSquaredChange] += difference * difference;
    }
  }

  __device__ void finish() {
    value[kChroma] /= 2;  // it was summed as twice max - min
    value[kGradient] = gradient;
    value[kLaplacian] = laplacian;
  }
};

template <>
struct Sums<uint8_t> {
  using Narrow = unsigned int;
  using Total = long long;
  unsigned int value[kQualityColumns] = {};
  unsigned long long gradient = 0, laplacian = 0;

  __device__ void add_colours(const Pixels<uint8_t>& pixels, int valid) {
    constexpr unsigned int kOnes = 0x01010101u;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const unsigned int word = pixels.channel[c][k];
        const unsigned int next = pixels.channel[(c + 1) % 3][k];
        value[kRed + c] = __dp4a(word, kOnes, value[kRed + c]);
        value[kRedRed + c] = __dp4a(word, word, value[kRedRed + c]);
        value[kRedGreen + c] = __dp4a(word, next, value[kRedGreen + c]);
        value[kChroma] += __vsadu4(word, next);
        value[kLow] = __dp4a(zero_bytes(word), kOnes, value[kLow]);
        value[kHigh] = __dp4a(zero_bytes(~word), kOnes, value[kHigh]);
      }
    }
    value[kLow] -= 128 * 3 * (16 - valid);  // the zeros that fill the group
  }

  __device__ void add_change(const Pixels<uint8_t>& pixels, const Pixels<uint8_t>& previous) {
#pragma unroll
    for (int i = 0; i < 12; ++i) {
      const unsigned int word = pixels.channel[i / 4][i % 4];
      const unsigned int before = previous.channel[i / 4][i % 4];
      const unsigned int distance = __vabsdiffu4(word, before);
      value[kAbsoluteChange] += __vsadu4(word, before);
      value[kSquaredChange] = __dp4a(distance, distance, value[kSquaredChange]);
    }
  }

  // 128 in each byte that is 0, 0 in the others.
  __device__ static unsigned int zero_bytes(unsigned int word) {
    const unsigned int carry = (word & 0x7f7f7f7fu) + 0x7f7f7f7fu;
    return ~(carry | word) & 0x80808080u;
  }

  __device__ void finish() {
    // A thread's chroma, summed as twice max - min, is even; clipped values were counted by 128.
    value[kChroma] /= 2;
    value[kLow] /= 128;
    value[kHigh] /= 128;
  }
};

// How kColumns pixels are read; `valid` of them are there. Where kWhole, all are. kBlocks run on a
// multiprocessor at a time: 4 leave a thread 128 registers, 3 leave it 168, 2 leave it 255.
template <typename T>
struct Strided {
  static constexpr bool kWhole = false;
  static constexpr int kBlocks = 3;

  __device__ static Pixels<T> read(const T* data, const Images& frames, int valid) {
    Pixels<T> pixels;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
#pragma unroll
      for (int i = 0; i < kColumns<T>; ++i) {
        const int64_t offset = c * frames.channel + i * frames.pixel;
        pixels.channel[c][i] = i < valid ? static_cast<double>(widen(data[offset])) : 0;
      }
    }
    return pixels;
  }
};

template <>
struct Strided<uint8_t> {
  static constexpr bool kWhole = false;
  static constexpr int kBlocks = 2;

  __device__ static Pixels<uint8_t> read(const uint8_t* data, const Images& frames, int valid) {
    Pixels<uint8_t> pixels = {};
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const uint8_t* next = data + c * frames.channel;
#pragma unroll
      for (int i = 0; i < 16; ++i, next += frames.pixel) {
        const unsigned int byte = i < valid ? *next : 0;
        pixels.channel[c][i / 4] |= byte << (8 * (i % 4));
      }
    }
    return pixels;
  }
};

// 16 bytes of each channel at addresses that 16 divides.
struct Planar {
  static constexpr bool kWhole = true;
  static constexpr int kBlocks = 4;

  __device__ static Pixels<uint8_t> read(const uint8_t* data, const Images& frames, int) {
    Pixels<uint8_t> pixels;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const uint4 quad = *reinterpret_cast<const uint4*>(data + c * frames.channel);
      memcpy(pixels.channel[c], &quad, sizeof quad);
    }
    return pixels;
  }
};

// 48 bytes of interleaved channels at an address that 16 divides.
struct Interleaved {
  static constexpr bool kWhole = true;
  static constexpr int kBlocks = 4;

  __device__ static Pixels<uint8_t> read(const uint8_t* data, const Images&, int) {
    uint4 quads[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) quads[k] = reinterpret_cast<const uint4*>(data)[k];
    unsigned int words[12];
    memcpy(words, quads, sizeof words);
    Pixels<uint8_t> pixels;
#pragma unroll
    for (int k = 0; k < 4; ++k) {  // r g b r | g b r g | b r g b
      const unsigned int a = words[3 * k], b = words[3 * k + 1], c = words[3 * k + 2];
      pixels.channel[0][k] = __byte_perm(__byte_perm(a, b, 0x0630), c, 0x5210);
      pixels.channel[1][k] = __byte_perm(__byte_perm(a, b, 0x0741), c, 0x6210);
      pixels.channel[2][k] = __byte_perm(__byte_perm(a, b, 0x0052), c, 0x7410);
    }
    return pixels;
  }
};

template <typename T>
__device__ typename Pixels<T>::Luma luma_at(const T* data, const Images& frames) {
  using Luma = typename Pixels<T>::Luma;
  return kLumaRed * static_cast<Luma>(widen(data[0])) +
         kLumaGreen * static_cast<Luma>(widen(data[frames.channel])) +
         kLumaBlue * static_cast<Luma>(widen(data[2 * frames.channel]));
}

// One group of columns of one band. Row y brings the steps from row y - 1 and the Laplacian of row
// y - 1; the two rows above the band are read for their luma.
template <typename T, typename Layout>
__device__ void add_group(const Images& frames, const Images& previous, const Cut& cut,
                          int64_t image, int64_t band, int64_t group, Sums<T>& sums) {
  using Luma = typename Pixels<T>::Luma;
  constexpr int kCount = kColumns<T>;
  const int64_t x = group * kCount;
  const int64_t start = band * cut.rows;
  const int64_t end = start + cut.rows < cut.height ? start + cut.rows : cut.height;
  const int64_t first = start >= 2 ? start - 2 : 0;
  const bool has_left = x > 0;
  const bool has_right = x + kCount < cut.width;
  const bool ends_cell = (x + kCount) % kGrid == 0;
  const int valid = Layout::kWhole || has_right ? kCount : static_cast<int>(cut.width - x);
  const T* data = static_cast<const T*>(frames.data) + image * frames.image + first * frames.row +
                  x * frames.pixel;
  const T* before = static_cast<const T*>(previous.data);
  if (before != nullptr)
    before += image * previous.image + start * previous.row + x * previous.pixel;

  Luma above[kCount];
  Layout::read(data, frames, valid).luma(above);  // the first row: steps down to it of 0
  Luma unfinished[kCount] = {};  // the Laplacian of the row above, less the step down from it
  for (int64_t y = first; y < end; ++y, data += frames.row) {
    const bool is_own = y >= start;
    const Pixels<T> pixels = Layout::read(data, frames, valid);
    if (is_own) {
      sums.add_colours(pixels, valid);
      if (before != nullptr) {
        sums.add_change(pixels, Layout::read(before, previous, valid));
        before += previous.row;
      }
    }
    Luma luma[kCount];
    pixels.luma(luma);
    if (!Layout::kWhole) {
#pragma unroll
      for (int i = 1; i < kCount; ++i) luma[i] = i < valid ? luma[i] : luma[i - 1];
    }
    // Beside the frame, the same as at its edge: steps of 0.
    const Luma left = has_left ? luma_at(data - frames.pixel, frames) : luma[0];
    const Luma right = has_right ? luma_at(data + kCount * frames.pixel, frames) : luma[kCount - 1];
    auto gradient = sums.gradient;
    auto laplacian = sums.laplacian;
    typename Sums<T>::Narrow inner = 0, border = 0, down_sum = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const Luma next = i + 1 < kCount ? luma[i + 1] : right;
      const Luma across = next - luma[i];
      add_square(gradient, across);
      if (i % kGrid == kGrid - 1 || (kCount < kGrid && i == kCount - 1 && ends_cell))
        add_distance(border, luma[i], next);
      else
        add_distance(inner, luma[i], next);

      const Luma down = luma[i] - above[i];
      if (Layout::kWhole || i < valid) {
        add_square(gradient, down);
        add_distance(down_sum, above[i], luma[i]);
      }
      const bool is_inside = (i > 0 || has_left) && (has_right || i + 1 < valid);
      add_square(laplacian, is_inside ? unfinished[i] + down : Luma(0));
      unfinished[i] = across - (luma[i] - (i > 0 ? luma[i - 1] : left)) - down;
      above[i] = luma[i];
    }
    // Chosen once for a row: a condition on each term would cost more than the term.
    if (is_own) {
      sums.gradient = gradient;
      if (y >= 2) sums.laplacian = laplacian;
      sums.value[kInner] += inner;
      sums.value[kBorder] += border;
      if (y % kGrid == 0)
        sums.value[kBorder] += down_sum;
      else
        sums.value[kInner] += down_sum;
    }
  }
}

template <typename V>
__device__ V add_lanes(V value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Writes [images, slices, columns]; a warp takes one slice.
template <typename T, typename Layout>
__global__ void __launch_bounds__(kThreads, Layout::kBlocks)
    sum_slices(Images frames, Images previous, Cut cut, int64_t images,
               typename Sums<T>::Total* out) {
  const int lane = threadIdx.x % 32;
  const int64_t slices = cut.slices();
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
       item < images * slices; item += warps) {
    const int64_t image = item / slices;
    const int64_t task = (item - image * slices) * 32 + lane;
    const int64_t band = task / cut.groups;
    Sums<T> sums;
    if (band < cut.bands)
      add_group<T, Layout>(frames, previous, cut, image, band, task - band * cut.groups, sums);
    sums.finish();
    typename Sums<T>::Total mine = 0;  // lane k keeps column k
#pragma unroll
    for (int k = 0; k < kQualityColumns; ++k) {
      typename Sums<T>::Total total;
      if (k == kGradient) {
        total = add_lanes(sums.gradient);
      } else if (k == kLaplacian) {
        total = add_lanes(sums.laplacian);
      } else {
        total = add_lanes(sums.value[k]);
      }
      if (lane == k) mine = total;
    }
    if (lane < kQualityColumns) out[item * kQualityColumns + lane] = mine;
  }
}

// [images, slices, columns] to [images, columns]: a block takes one frame, a lane one column.
template <typename Total>
__global__ void __launch_bounds__(kThreads)
    sum_partials(const Total* partials, int64_t images, int64_t slices, Total* out) {
  static_assert(kQualityColumns <= 32, "a warp must hold the columns");
  __shared__ Total of_warp[kWarps][32];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    Total sum = 0;
    if (lane < kQualityColumns) {
      const Total* const source = partials + image * slices * kQualityColumns + lane;
#pragma unroll 8
      for (int64_t slice = warp; slice < slices; slice += kWarps)
        sum += source[slice * kQualityColumns];
    }
    of_warp[warp][lane] = sum;
    __syncthreads();
    if (threadIdx.x < kQualityColumns) {
      Total total = 0;
      for (int w = 0; w < kWarps; ++w) total += of_warp[w][threadIdx.x];
      out[image * kQualityColumns + threadIdx.x] = total;
    }
    __syncthreads();  // the next frame writes of_warp again
  }
}

template <typename T, typename Layout>
cudaError_t run(const Images& frames, const Images& previous, int64_t images, int64_t height,
                int64_t width, void* partials, void* sums, void* stream) {
  using Total = typename Sums<T>::Total;
  const Cut cut = Cut::of<T>(height, width);
  const int64_t slices = cut.slices();
  Total* const totals = static_cast<Total*>(sums);
  Total* const of_slices = slices > 1 ? static_cast<Total*>(partials) : totals;
  const cudaError_t error =
      wmscore::launch<kThreads>(sum_slices<T, Layout>, (images * slices + kWarps - 1) / kWarps,
                                stream, frames, previous, cut, images, of_slices);
  if (error != cudaSuccess || slices == 1) return error;
  return wmscore::launch<kThreads>(sum_partials<Total>, images, stream, of_slices, images, slices,
                                   totals);
}

bool is_aligned(const Images& frames, int64_t channel) {
  return (reinterpret_cast<uintptr_t>(frames.data) | frames.image | frames.row | channel) % 16 == 0;
}

bool is_planar(const Images& frames) {
  return frames.pixel == 1 && is_aligned(frames, frames.channel);
}

bool is_interleaved(const Images& frames) {
  return frames.pixel == 3 && frames.channel == 1 && is_aligned(frames, 0);
}

cudaError_t run_uint8(const Images& frames, const Images& previous, int64_t images, int64_t height,
                      int64_t width, void* partials, void* sums, void* stream) {
  const bool has_previous = previous.data != nullptr;
  auto* function = run<uint8_t, Strided<uint8_t>>;
  if (width % kColumns<uint8_t> == 0) {
    if (is_planar(frames) && (!has_previous || is_planar(previous)))
      function = run<uint8_t, Planar>;
    else if (is_interleaved(frames) && (!has_previous || is_interleaved(previous)))
      function = run<uint8_t, Interleaved>;
  }
  return function(frames, previous, images, height, width, partials, sums, stream);
}

}  // namespace

int64_t wmscore_frame_quality_slices(Element element, int64_t height, int64_t width) {
  return element == Element::kUint8 ? Cut::of<uint8_t>(height, width).slices()
                                    : Cut::of<double>(height, width).slices();
}

int32_t wmscore_frame_quality_cuda(Element element, Images frames, Images previous, int64_t count,
                                   int64_t height, int64_t width, void* partials, void* sums,
                                   void* stream) {
  switch (element) {
    case Element::kUint8:
      return run_uint8(frames, previous, count, height, width, partials, sums, stream);
    case Element::kFloat16:
      return run<Half, Strided<Half>>(frames, previous, count, height, width, partials, sums,
                                      stream);
    case Element::kBfloat16:
      return run<Bfloat16, Strided<Bfloat16>>(frames, previous, count, height, width, partials,
                                              sums, stream);
    case Element::kFloat32:
      return run<float, Strided<float>>(frames, previous, count, height, width, partials, sums,
                                        stream);
    case Element::kFloat64:
      return run<double, Strided<double>>(frames, previous, count, height, width, partials, sums,
                                          stream);
    case Element::kUint16:  // of pyramids only
      break;
  }
  return cudaErrorInvalidValue;
}
