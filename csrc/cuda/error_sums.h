// What the frame_errors kernels share: running sums of a thread, and pixels 16 bytes at a time.
#pragma once

#include <cuda_runtime.h>

#include "../half.h"
#include "../kernels.h"

namespace wmscore {

// Squared error, absolute error, sum of preds, sum of target, energy of preds, energy of target.
constexpr int kStatistics = 6;

// What one block sums: a chunk of this many pixels, or the last one of an image.
constexpr int kChunkPixels = 16384;
static_assert(kChunkPixels * 255LL * 255LL <= 0xffffffffLL, "a chunk's sums must fit 32 bits");
static_assert(kChunkPixels % 16 == 0, "a chunk must keep the alignment of its plane");

// Running sums of one channel in one thread.
template <typename T>
struct Sums {
  using Partial = double;
  using Total = double;
  double value[kStatistics] = {};

  __device__ void add(T preds, T target) {
    const double p = widen(preds);
    const double t = widen(target);
    const double difference = p - t;
    value[0] += difference * difference;
    value[1] += fabs(difference);
    value[2] += p;
    value[3] += t;
    value[4] += p * p;
    value[5] += t * t;
  }
};

template <>
struct Sums<uint8_t> {
  using Partial = unsigned int;
  using Total = long long;
  unsigned int value[kStatistics] = {};

  // Four pixels of one channel in each word. A byte of 0 in both adds nothing.
  __device__ void add_word(unsigned int p, unsigned int t) {
    constexpr unsigned int kOnes = 0x01010101u;
    const unsigned int difference = __vabsdiffu4(p, t);
    value[0] = __dp4a(difference, difference, value[0]);
    value[1] = __dp4a(difference, kOnes, value[1]);
    value[2] = __dp4a(p, kOnes, value[2]);
    value[3] = __dp4a(t, kOnes, value[3]);
    value[4] = __dp4a(p, p, value[4]);
    value[5] = __dp4a(t, t, value[5]);
  }

  __device__ void add(uint8_t preds, uint8_t target) { add_word(preds, target); }
};

// 16 bytes of each of kChannels interleaved channels: whole pixels, in one thread.
template <typename T, int kChannels>
struct Group {
  static constexpr int kPixels = 16 / sizeof(T);
  uint4 quads[kChannels];

  __device__ explicit Group(const T* data) {
    const uint4* source = reinterpret_cast<const uint4*>(data);
#pragma unroll
    for (int k = 0; k < kChannels; ++k) quads[k] = source[k];
  }
};

// Three words of r g b r | g b r g | b r g b to one word of each channel.
struct Colours {
  unsigned int channel[3];

  __device__ Colours(unsigned int a, unsigned int b, unsigned int c) {
    channel[0] = __byte_perm(__byte_perm(a, b, 0x0630), c, 0x5210);
    channel[1] = __byte_perm(__byte_perm(a, b, 0x0741), c, 0x6210);
    channel[2] = __byte_perm(__byte_perm(a, b, 0x0052), c, 0x7410);
  }
};

}  // namespace wmscore
