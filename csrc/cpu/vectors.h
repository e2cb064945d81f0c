// Vectors of 32 bytes: one AVX2 register, or what the compiler makes of it elsewhere. They are
// passed by reference, because how they are passed by value depends on the processor.
#pragma once

#include <cstdint>
#include <cstring>

#include "clones.h"

namespace wmscore {

template <typename Real>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(32)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(32)));
};
template <typename Real>
using Vector = typename VectorOf<Real>::Type;

template <typename Real>
constexpr int kLanes = 32 / static_cast<int>(sizeof(Real));

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef int16_t Shorts8 __attribute__((vector_size(16)));
typedef uint16_t UShorts8 __attribute__((vector_size(16)));
typedef uint64_t ULongs2 __attribute__((vector_size(16)));

template <typename V>
WMSCORE_INLINE void load(V& vector, const void* data) {
  std::memcpy(&vector, data, sizeof vector);
}

// 8 bytes and 8 zeros; by way of a number, since a part of a vector would go through memory.
WMSCORE_INLINE void load_half(Bytes16& vector, const uint8_t* data) {
  uint64_t bytes;
  std::memcpy(&bytes, data, sizeof bytes);
  vector = reinterpret_cast<Bytes16>(ULongs2{bytes, 0});
}

// Lane i of vector j goes to lane j of vector i.
WMSCORE_INLINE void transpose(Vector<float> (&v)[8]) {
  Vector<float> a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    b[i + 2] = __builtin_shufflevector(a[i + 1], a[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    b[i + 3] = __builtin_shufflevector(a[i + 1], a[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    v[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

WMSCORE_INLINE void transpose(Vector<double> (&v)[4]) {
  Vector<double> a[4];
  for (int i = 0; i < 4; i += 2) {
    a[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 4, 2, 6);
    a[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 1, 5, 3, 7);
  }
  for (int i = 0; i < 2; ++i) {
    v[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 4, 5);
    v[i + 2] = __builtin_shufflevector(a[i], a[i + 2], 2, 3, 6, 7);
  }
}

WMSCORE_INLINE void transpose(UShorts8 (&v)[8]) {
  for (int stage = 0; stage < 3; ++stage) {  // each one merges the first half with the second
    UShorts8 merged[8];
    for (int i = 0; i < 4; ++i) {
      merged[2 * i] = __builtin_shufflevector(v[i], v[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      merged[2 * i + 1] = __builtin_shufflevector(v[i], v[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; ++i) v[i] = merged[i];
  }
}

}  // namespace wmscore
