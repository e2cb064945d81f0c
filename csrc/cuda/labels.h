// Labels 16 bytes at a time, their runs, and tables from labels to slots.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "../kernels.h"

namespace wmscore {

// 16 bytes of labels of one thread.
template <typename T>
struct Labels {
  static constexpr int kPixels = 16 / sizeof(T);
  static constexpr int kOfWord = sizeof(T) < 4 ? 4 / sizeof(T) : 1;  // labels that a word holds

  unsigned int words[4] = {};

  // The labels of `count` pixels, zeros after them.
  __device__ void load(const T* data, int count, bool aligned) {
    if (aligned && count >= kPixels) {
      const uint4 quad = *reinterpret_cast<const uint4*>(data);
      words[0] = quad.x, words[1] = quad.y, words[2] = quad.z, words[3] = quad.w;
      return;
    }
    words[0] = words[1] = words[2] = words[3] = 0;
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      if (k >= count) continue;
      const auto bits = static_cast<std::make_unsigned_t<T>>(data[k]);
      if constexpr (sizeof(T) == 8) {
        words[2 * k] = static_cast<unsigned int>(bits);
        words[2 * k + 1] = static_cast<unsigned int>(bits >> 32);
      } else {
        words[k / kOfWord] |= static_cast<unsigned int>(bits) << (k % kOfWord * 8 * sizeof(T));
      }
    }
  }

  __device__ bool is_background() const { return (words[0] | words[1] | words[2] | words[3]) == 0; }

  // Of a pixel that is not known to the compiler: by selects, for registers have no index.
  __device__ T at(int pixel) const {
    if constexpr (sizeof(T) == 8) {
      const uint64_t low = pixel == 0 ? words[0] : words[2];
      const uint64_t high = pixel == 0 ? words[1] : words[3];
      return static_cast<T>(high << 32 | low);
    } else {
      const int place = pixel / kOfWord;
      const unsigned int pair = place & 1 ? words[1] : words[0];
      const unsigned int other = place & 1 ? words[3] : words[2];
      const unsigned int word = place & 2 ? other : pair;
      return static_cast<T>(word >> (pixel % kOfWord * 8 * sizeof(T)));
    }
  }
};

// Bit k: pixel k > 0 differs from the one before it, in either map.
template <typename T>
__device__ unsigned int changes(const Labels<T>& a, const Labels<T>& b) {
  if constexpr (sizeof(T) == 8) {
    const bool changed = a.words[0] != a.words[2] || a.words[1] != a.words[3] ||
                         b.words[0] != b.words[2] || b.words[1] != b.words[3];
    return static_cast<unsigned int>(changed) << 1;
  } else {
    constexpr int kBits = 8 * sizeof(T);
    constexpr int kOfWord = Labels<T>::kOfWord;
    unsigned int bits = 0;
    unsigned int a_before = 0, b_before = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      unsigned int a_shifted = a_before, b_shifted = b_before;
      if constexpr (kBits < 32) {
        a_shifted = a.words[w] << kBits | a_before >> (32 - kBits);
        b_shifted = b.words[w] << kBits | b_before >> (32 - kBits);
      }
      const unsigned int differs = (a.words[w] ^ a_shifted) | (b.words[w] ^ b_shifted);
      a_before = a.words[w];
      b_before = b.words[w];
      unsigned int of_word;
      if constexpr (kOfWord == 4) {
        // The highest bit of each byte that is not 0; a product gathers the four.
        const unsigned int high = (((differs & 0x7f7f7f7fu) + 0x7f7f7f7fu) | differs) & 0x80808080u;
        of_word = ((high >> 7) * 0x01020408u) >> 24 & 0xfu;
      } else if constexpr (kOfWord == 2) {
        of_word = (differs & 0xffffu ? 1u : 0u) | (differs >> 16 ? 2u : 0u);
      } else {
        of_word = differs ? 1u : 0u;
      }
      bits |= of_word << (w * kOfWord);
    }
    return bits & ~1u;
  }
}

// Calls visit(preds, target, y, x, length) for the runs of the pixels begin <= i < end of a frame
// that are not background in both maps; no run is longer than a group or leaves its row. Each warp
// takes one part after the other, so that what a thread meets next lies a few rows below. Without
// kPair there is one map, and target is 0. `begin` is a multiple of 16.
template <typename T, bool kPair, int kWarps, typename Visit>
__device__ void walk(const T* preds, const T* target, int begin, int end, int width,
                     Visit&& visit) {
  constexpr int kPixels = Labels<T>::kPixels;
  uintptr_t addresses = reinterpret_cast<uintptr_t>(preds);
  if (kPair) addresses |= reinterpret_cast<uintptr_t>(target);
  const bool aligned = addresses % 16 == 0;  // begin keeps it
  const int groups = (end - begin + kPixels - 1) / kPixels;
  const int of_warp = ((groups + kWarps - 1) / kWarps + 31) / 32 * 32;
  const int first = static_cast<int>(threadIdx.x) / 32 * of_warp;
  const int last = first + of_warp < groups ? first + of_warp : groups;

  Labels<T> p, t, next_p, next_t;
  int group = first + static_cast<int>(threadIdx.x) % 32;
  if (group < last) {
    const int i = begin + group * kPixels;
    p.load(preds + i, end - i, aligned);
    if (kPair) t.load(target + i, end - i, aligned);
  }
  for (; group < last; group += 32, p = next_p, t = next_t) {
    const int i = begin + group * kPixels;
    if (group + 32 < last) {  // on its way while this one is worked on
      const int j = i + 32 * kPixels;
      next_p.load(preds + j, end - j, aligned);
      if (kPair) next_t.load(target + j, end - j, aligned);
    }
    if (p.is_background() && (!kPair || t.is_background())) continue;
    int y = static_cast<int>(static_cast<unsigned int>(i) / static_cast<unsigned int>(width));
    int x = i - y * width;
    unsigned int starts = changes(p, kPair ? t : p) | 1u;
    for (int64_t k = width - x; k < kPixels; k += width) starts |= 1u << k;
    while (starts != 0) {
      const int start = __ffs(static_cast<int>(starts)) - 1;
      starts &= starts - 1;
      const int stop = starts != 0 ? __ffs(static_cast<int>(starts)) - 1 : kPixels;
      const T of_preds = p.at(start);
      const T of_target = kPair ? t.at(start) : T(0);
      if ((of_preds | of_target) != 0) visit(of_preds, of_target, y, x, stop - start);
      x += stop - start;
      if (x == width) {
        x = 0;
        ++y;
      }
    }
  }
}

// Slots of ids, in shared memory. Bytes have an entry each; of the others, an id lies at its last
// bits or at the next place that was free. Entries are id << 8 | slot (slot alone for bytes), 0 is
// free; of equal ids the largest slot stays, in whatever order threads come.
template <typename T>
struct SlotTable {
  static constexpr int kEntries = sizeof(T) == 1 ? 256 : 1024;
  static_assert(kEntries > kMostObjects, "a search must end");

  unsigned int* entries;

  __device__ void insert(int64_t id, unsigned int slot) const {
    if (id <= 0 || id > (sizeof(T) == 1 ? 255 : kLargestId)) return;
    if constexpr (sizeof(T) == 1) {
      atomicMax(&entries[id], slot);
    } else {
      const unsigned int key = static_cast<unsigned int>(id);
      const unsigned int entry = key << 8 | slot;
      for (unsigned int place = key % kEntries;; place = (place + 1) % kEntries) {
        const unsigned int old = atomicCAS(&entries[place], 0u, entry);
        if (old == 0) return;
        if (old >> 8 == key) {
          atomicMax(&entries[place], entry);
          return;
        }
      }
    }
  }

  __device__ unsigned int slot(T label) const {
    if constexpr (sizeof(T) == 1) {
      return entries[label];
    } else {
      if (label <= 0 || label > static_cast<T>(kLargestId)) return 0;
      const unsigned int key = static_cast<unsigned int>(label);
      for (unsigned int place = key % kEntries;; place = (place + 1) % kEntries) {
        const unsigned int entry = entries[place];
        if (entry == 0) return 0;
        if (entry >> 8 == key) return entry & 0xffu;
      }
    }
  }
};

}  // namespace wmscore
