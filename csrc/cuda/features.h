// Feature vectors of two maps on a device: a team of threads takes one position and holds both of
// its vectors in registers, so that each map is read once.
//
// RowTeam: 1 to 32 lanes of a warp, for maps whose channels follow each other; a lane reads 16
// bytes at once. PlaneTeam: the threads of one lane number in up to 16 warps, for all other maps;
// lanes are positions, so that contiguous maps are read in whole lines, whatever their size.
//
// With lengths |p| and |t| (plus epsilon) and the ratio r = |p| / |t|, the difference of unit
// vectors is (p - r t) / |p|. For equal vectors r is 1 and p - r t is 0, whether or not the
// compiler fuses product and difference.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "../kernels.h"
#include "blocks.h"

namespace wmscore {

constexpr double kFeatureEpsilon = 1e-10;  // added to lengths

constexpr int64_t kMostChannels = 1 << 30;  // what threads count in 32 bits

template <typename T>
using FeatureReal = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Bits that one instruction loads.
template <size_t kBytes>
struct WordOf;
template <>
struct WordOf<2> {
  using Type = uint16_t;
};
template <>
struct WordOf<4> {
  using Type = unsigned int;
};
template <>
struct WordOf<8> {
  using Type = uint2;
};
template <>
struct WordOf<16> {
  using Type = uint4;
};

template <typename T, int kElements>
using Word = typename WordOf<sizeof(T) * kElements>::Type;

// Elements of a vector in registers: as they were read, or one of them, which may as well be wide.
template <typename T, int kElements>
struct Piece {
  Word<T, kElements> word = {};

  __device__ void read(const T* data) { word = *reinterpret_cast<const Word<T, kElements>*>(data); }

  __device__ void unpack(FeatureReal<T> (&values)[kElements]) const {
    T elements[kElements];
    memcpy(elements, &word, sizeof word);
#pragma unroll
    for (int e = 0; e < kElements; ++e) values[e] = widen(elements[e]);
  }
};

template <typename T>
struct Piece<T, 1> {
  FeatureReal<T> value = 0;

  __device__ void read(const T* data) { value = widen(*data); }

  __device__ void unpack(FeatureReal<T> (&values)[1]) const { values[0] = value; }
};

// The compiler forgets what it knows of a pointer, and so computes none from it ahead of time.
template <typename T>
__device__ void hide([[maybe_unused]] const T*& pointer) {
#ifdef __CUDA_ARCH__
  asm volatile("" : "+l"(pointer));
#endif
}

template <typename Real>
struct RowTeam {
  static constexpr int kMostThreads = kThreads;
  int lanes;  // a power of two

  __device__ int positions() const { return kThreads / lanes; }
  __device__ int position() const { return threadIdx.x / lanes; }
  __device__ int member() const { return threadIdx.x % lanes; }

  // The same bits in each member: a sum of two does not depend on their order.
  template <int kCount>
  __device__ void add(Real (&values)[kCount]) const {
    for (int step = lanes / 2; step > 0; step /= 2) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) values[k] += __shfl_xor_sync(0xffffffffu, values[k], step);
    }
  }
};

template <typename Real>
struct PlaneTeam {
  static constexpr int kMostWarps = 16;
  static constexpr int kMostThreads = 32 * kMostWarps;
  int warps;

  __device__ int positions() const { return 32; }
  __device__ int position() const { return threadIdx.x % 32; }
  __device__ int member() const { return threadIdx.x / 32; }

  template <int kCount>
  __device__ void add(Real (&values)[kCount]) const {
    __shared__ Real of_warp[kMostWarps][kCount][32];
    const int lane = position();
#pragma unroll
    for (int k = 0; k < kCount; ++k) of_warp[member()][k][lane] = values[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      values[k] = 0;
      for (int w = 0; w < warps; ++w) values[k] += of_warp[w][k][lane];
    }
    __syncthreads();  // the next call writes of_warp again
  }
};

// One member's part of both vectors at a position. Piece i of `members` threads has the channels
// (i * members + member) * kElements and the next ones; up to kPieces of them are held, and where
// kPieces is 0 they are read again each time.
template <typename T, int kElements, int kPieces>
class Vectors {
 public:
  using Real = FeatureReal<T>;

  __device__ Vectors(const Features& maps, int64_t image, int64_t pixel, int member, int members)
      : maps_(maps),
        channels_(static_cast<int>(maps.channels)),
        first_(member * kElements),
        step_(members * kElements) {
    int64_t other = maps.index == nullptr ? image : maps.index[image];
    has_target = other >= 0 && other < maps.targets;
    preds_ = static_cast<const T*>(maps.preds.data) + image * maps.preds.image +
             pixel * maps.preds.pixel;
    target_ = static_cast<const T*>(maps.target.data) + other * maps.target.image +
              pixel * maps.target.pixel;
    if (!has_target) target_ = nullptr;
    if constexpr (kPieces > 0) {
      // Pointers that move on: the addresses of all pieces would not fit into the registers.
      const T* p = preds_ + first_ * maps.preds.channel;
      const T* t = target_ + first_ * maps.target.channel;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const bool exists = channel(i) < channels_;
        if (exists) held_preds_[i].read(p);
        if (exists && has_target) held_target_[i].read(t);
        p += step_ * maps.preds.channel;
        t += step_ * maps.target.channel;
        hide(p);
        hide(t);
      }
    }
  }

  // Calls visit(channel, p, t, w) for each piece, values of kElements channels.
  template <typename Visit>
  __device__ void for_each(const Visit& visit) const {
    if constexpr (kPieces > 0) {
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const int c = channel(i);
        if (c < channels_) call(visit, c, held_preds_[i], held_target_[i]);
      }
    } else {
      for (int c = first_; c < channels_; c += step_) {
        Piece<T, kElements> preds;
        Piece<T, kElements> target;
        preds.read(preds_ + c * maps_.preds.channel);
        if (has_target) target.read(target_ + c * maps_.target.channel);
        call(visit, c, preds, target);
      }
    }
  }

  bool has_target;

 private:
  __device__ int channel(int piece) const { return piece * step_ + first_; }

  template <typename Visit>
  __device__ void call(const Visit& visit, int c, const Piece<T, kElements>& preds,
                       const Piece<T, kElements>& target) const {
    Real p[kElements];
    Real t[kElements];
    Real w[kElements];
    preds.unpack(p);
    target.unpack(t);
    read_weight(c, w);
    visit(c, p, t, w);
  }

  __device__ void read_weight(int c, Real (&w)[kElements]) const {
    constexpr int kAtOnce = kElements == 1 ? 1 : 16 / static_cast<int>(sizeof(Real));
    const Real* const weight = static_cast<const Real*>(maps_.weight);
#pragma unroll
    for (int e = 0; e < kElements; e += kAtOnce) {
      Real values[kAtOnce];
      if (weight == nullptr) {
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) values[k] = 1;
      } else {
        const auto word = *reinterpret_cast<const Word<Real, kAtOnce>*>(weight + c + e);
        memcpy(values, &word, sizeof values);
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) w[e + k] = values[k];
    }
  }

  const Features& maps_;
  const T* preds_;
  const T* target_;
  int channels_;
  int first_;
  int step_;
  Piece<T, kElements> held_preds_[kPieces > 0 ? kPieces : 1];
  Piece<T, kElements> held_target_[kPieces > 0 ? kPieces : 1];
};

// Lengths without epsilon (NaN where they overflowed), and what makes differences of them.
template <typename Real>
struct Lengths {
  Real preds = 0;
  Real target = 0;
  Real inverse = 1;  // 1 / (|p| + epsilon)
  Real ratio = 1;

  template <typename V, typename Team>
  __device__ Lengths(const V& vectors, const Team& team, bool normalize) {
    if (!normalize) return;
    Real squares[2] = {};
    vectors.for_each([&](int, const auto& p, const auto& t, const auto&) {
#pragma unroll
      for (int e = 0; e < static_cast<int>(sizeof p / sizeof p[0]); ++e) {
        squares[0] += p[e] * p[e];
        squares[1] += t[e] * t[e];
      }
    });
    team.add(squares);
    preds = root(squares[0]);
    target = root(squares[1]);
    const Real length = preds + static_cast<Real>(kFeatureEpsilon);
    inverse = 1 / length;
    ratio = length / (target + static_cast<Real>(kFeatureEpsilon));
  }

 private:
  __device__ static Real root(Real square) {
    const Real length = sqrt(square);
    return length + 0 * length;
  }
};

// Starts the kernel for these maps: `Kernel<...>::function` takes the maps, the number of
// positions, the team and `arguments`.
template <template <typename, int, int, typename> class Kernel, typename T, int kPlanes,
          typename... Arguments>
cudaError_t start_team(const Features& maps, int64_t positions, bool has_rows, bool is_aligned,
                       void* stream, Arguments... arguments) {
  using Real = FeatureReal<T>;
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  constexpr int kRowPieces = 4;
  constexpr int kFewPlanes = 8;
  constexpr int kMostWarps = PlaneTeam<Real>::kMostWarps;
  if (positions == 0) return cudaSuccess;
  if (maps.channels > kMostChannels) return cudaErrorInvalidValue;
  if (has_rows) {
    const int64_t pieces = is_aligned ? maps.channels / kWide : maps.channels;
    int lanes = 1;
    while (lanes < 32 && lanes * kRowPieces < pieces) lanes *= 2;
    const bool holds = is_aligned && pieces <= kRowPieces * 32;
    const auto kernel = holds        ? Kernel<T, kWide, kRowPieces, RowTeam<Real>>::function
                        : is_aligned ? Kernel<T, kWide, 0, RowTeam<Real>>::function
                                     : Kernel<T, 1, 0, RowTeam<Real>>::function;
    const int64_t blocks = (positions * lanes + kThreads - 1) / kThreads;
    return launch(kernel, blocks, stream, maps, positions, RowTeam<Real>{lanes}, arguments...);
  }
  const int64_t channels = maps.channels;
  const bool few = channels <= kFewPlanes * kMostWarps;
  const bool holds = channels <= kPlanes * kMostWarps;
  const int64_t of_warp = few ? kFewPlanes : kPlanes;
  const int64_t warps = (channels + of_warp - 1) / of_warp;
  const int used = warps < 1 ? 1 : warps > kMostWarps ? kMostWarps : static_cast<int>(warps);
  const auto kernel = few     ? Kernel<T, 1, kFewPlanes, PlaneTeam<Real>>::function
                      : holds ? Kernel<T, 1, kPlanes, PlaneTeam<Real>>::function
                              : Kernel<T, 1, 0, PlaneTeam<Real>>::function;
  return launch_threads(kernel, (positions + 31) / 32, 32 * used, stream, maps, positions,
                        PlaneTeam<Real>{used}, arguments...);
}

inline bool has_rows(const Frames& maps) { return maps.data == nullptr || maps.channel == 1; }

// Whether each vector can be read, or written, in words of 16 bytes.
template <typename T>
bool is_aligned(const Frames& maps, int64_t channels, int64_t pixels) {
  constexpr int64_t kWide = 16 / static_cast<int64_t>(sizeof(T));
  return reinterpret_cast<uintptr_t>(maps.data) % 16 == 0 && channels % kWide == 0 &&
         (pixels == 1 || maps.pixel % kWide == 0) && maps.image % kWide == 0;
}

template <typename T>
bool is_aligned(const Features& maps) {
  return is_aligned<T>(maps.preds, maps.channels, maps.pixels) &&
         is_aligned<T>(maps.target, maps.channels, maps.pixels) &&
         reinterpret_cast<uintptr_t>(maps.weight) % 16 == 0;
}

}  // namespace wmscore
