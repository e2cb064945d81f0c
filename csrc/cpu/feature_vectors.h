// Feature vectors of two maps, some positions at a time, wide enough to compute with and in the
// closest caches while the kernels go over them more than once.
//
// There are two layouts with one interface. `Rows`: the channels of a position follow each other
// (channels-last maps, embeddings), and lanes are channels. `Tiles`: anything else, gathered so
// that positions follow each other, and lanes are positions.
//
// With lengths |p| and |t| (plus epsilon) and the ratio r = |p| / |t|, the difference of unit
// vectors is (p - r t) / |p|. For equal vectors r is 1 and p - r t is 0, whether or not the
// compiler fuses product and difference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "../half.h"
#include "../kernels.h"
#include "clones.h"
#include "vectors.h"

namespace wmscore {

constexpr double kFeatureEpsilon = 1e-10;  // added to lengths

template <typename T>
using FeatureReal = std::conditional_t<std::is_same_v<T, double>, double, float>;

constexpr int kRowsAtOnce = 8;            // positions of Rows: their square roots overlap
constexpr int64_t kLeastRow = 16;         // channels: shorter vectors are gathered into tiles
constexpr int64_t kBlockBytes = 1 << 17;  // of both maps' tiles that are gathered at once
constexpr int64_t kMostBlock = 1024;      // positions
constexpr int64_t kRowsAhead = 4;

template <typename Real>
WMSCORE_INLINE Real sum_lanes(const Vector<Real>& vector) {
  Real sum = 0;
  for (int k = 0; k < kLanes<Real>; ++k) sum += vector[k];
  return sum;
}

template <typename Real>
WMSCORE_INLINE void store(Real* data, const Vector<Real>& vector) {
  std::memcpy(data, &vector, sizeof vector);
}

// The channels of a position follow each other.
template <typename T>
class Rows {
 public:
  using Real = FeatureReal<T>;
  static constexpr int kPositions = kRowsAtOnce;

  explicit Rows(int64_t channels) : channels_(channels) {
    if (!std::is_same_v<T, Real>) scratch_.resize(2 * kPositions * channels);
  }

  // The positions start <= i < start + count, count <= kPositions, of maps at `preds` and `target`.
  WMSCORE_INLINE void load(const Features& maps, const T* preds, const T* target, int64_t start,
                           int64_t, int count) {
    count_ = count;
    for (int k = 0; k < count; ++k) {
      preds_[k] = widen_row(preds + (start + k) * maps.preds.pixel, k);
      target_[k] = widen_row(target + (start + k) * maps.target.pixel, kPositions + k);
    }
  }

  WMSCORE_INLINE void add_squares(Real* of_preds, Real* of_target) const {
    for (int k = 0; k < count_; ++k) {
      const Real* p = preds_[k];
      const Real* t = target_[k];
      Vector<Real> p_sums[2] = {}, t_sums[2] = {};
      int64_t c = 0;
      for (; c + 2 * kWidth <= channels_; c += 2 * kWidth) {
        for (int u = 0; u < 2; ++u) {
          Vector<Real> x, y;
          wmscore::load(x, p + c + u * kWidth);
          wmscore::load(y, t + c + u * kWidth);
          p_sums[u] += x * x;
          t_sums[u] += y * y;
        }
      }
      Real p_sum = 0, t_sum = 0;
      for (; c < channels_; ++c) {
        p_sum += p[c] * p[c];
        t_sum += t[c] * t[c];
      }
      of_preds[k] = p_sum + sum_lanes<Real>(p_sums[0] + p_sums[1]);
      of_target[k] = t_sum + sum_lanes<Real>(t_sums[0] + t_sums[1]);
    }
  }

  // Σ w (p - r t)².
  WMSCORE_INLINE void add_errors(const Real* ratio, const Real* weight, Real* sums) const {
    for (int k = 0; k < count_; ++k) {
      const Real* p = preds_[k];
      const Real* t = target_[k];
      const Real r = ratio[k];
      Vector<Real> partial[2] = {};
      int64_t c = 0;
      for (; c + 2 * kWidth <= channels_; c += 2 * kWidth) {
        for (int u = 0; u < 2; ++u) {
          Vector<Real> x, y, w;
          wmscore::load(x, p + c + u * kWidth);
          wmscore::load(y, t + c + u * kWidth);
          wmscore::load(w, weight + c + u * kWidth);
          const Vector<Real> d = x - r * y;
          partial[u] += w * d * d;
        }
      }
      Real sum = 0;
      for (; c < channels_; ++c) {
        const Real d = p[c] - r * t[c];
        sum += weight[c] * d * d;
      }
      sums[k] = sum + sum_lanes<Real>(partial[0] + partial[1]);
    }
  }

  // Σ w (p - r t) p and Σ w (p - r t) t.
  WMSCORE_INLINE void add_products(const Real* ratio, const Real* weight, Real* with_preds,
                                   Real* with_target) const {
    for (int k = 0; k < count_; ++k) {
      const Real* p = preds_[k];
      const Real* t = target_[k];
      const Real r = ratio[k];
      Vector<Real> p_sums = {}, t_sums = {};
      int64_t c = 0;
      for (; c + kWidth <= channels_; c += kWidth) {
        Vector<Real> x, y, w;
        wmscore::load(x, p + c);
        wmscore::load(y, t + c);
        wmscore::load(w, weight + c);
        const Vector<Real> d = w * (x - r * y);
        p_sums += d * x;
        t_sums += d * y;
      }
      Real p_sum = 0, t_sum = 0;
      for (; c < channels_; ++c) {
        const Real d = weight[c] * (p[c] - r * t[c]);
        p_sum += d * p[c];
        t_sum += d * t[c];
      }
      with_preds[k] = p_sum + sum_lanes<Real>(p_sums);
      with_target[k] = t_sum + sum_lanes<Real>(t_sums);
    }
  }

  // scale (w (p - r t) - along p), or along t if `of_target`, at `out`.
  WMSCORE_INLINE void write(bool of_target, const Real* ratio, const Real* weight,
                            const Real* scale, const Real* along, const Frames& frames, T* out,
                            int64_t start) const {
    for (int k = 0; k < count_; ++k) {
      const Real* p = preds_[k];
      const Real* t = target_[k];
      const Real* own = of_target ? t : p;
      const Real r = ratio[k], s = scale[k], a = along[k];
      T* row = out + (start + k) * frames.pixel;
      for (int64_t c = 0; c < channels_; ++c)
        narrow(s * (weight[c] * (p[c] - r * t[c]) - a * own[c]), row[c]);
    }
  }

 private:
  static constexpr int kWidth = kLanes<Real>;

  WMSCORE_INLINE const Real* widen_row(const T* data, int place) {
    if constexpr (std::is_same_v<T, Real>) {
      return data;
    } else {
      Real* const row = scratch_.data() + place * channels_;
      for (int64_t c = 0; c < channels_; ++c) row[c] = widen(data[c]);
      return row;
    }
  }

  int64_t channels_;
  int count_ = 0;
  const Real* preds_[kPositions];
  const Real* target_[kPositions];
  std::vector<Real> scratch_;
};

// Any strides. A block of positions is gathered at once, so that maps are read in long runs: tile
// after tile, each [channels, kPositions].
template <typename T>
class Tiles {
 public:
  using Real = FeatureReal<T>;
  static constexpr int kPositions = 2 * kLanes<Real>;

  Tiles(int64_t channels, int64_t pixels) : channels_(channels) {
    const int64_t tile_bytes =
        2 * kPositions * static_cast<int64_t>(sizeof(Real)) * (channels > 0 ? channels : 1);
    block_ = kBlockBytes / tile_bytes * kPositions;
    if (block_ > kMostBlock) block_ = kMostBlock;
    if (block_ > pixels) block_ = (pixels + kPositions - 1) / kPositions * kPositions;
    if (block_ < kPositions) block_ = kPositions;
    step_ = block_ + kPositions;  // a power of two would put all channels in a few cache sets
    scratch_.resize(2 * step_ * channels);
    squares_.resize(2 * block_);
  }

  // As Rows::load; a band of positions is loaded in order, from its start to `end`.
  WMSCORE_INLINE void load(const Features& maps, const T* preds, const T* target, int64_t start,
                           int64_t end, int count) {
    count_ = count;
    if (next_ == 0) {
      const int64_t rest = end - start;
      const int64_t size = rest < block_ ? rest : block_;
      gather(maps.preds, preds, start, size, maps.pixels, scratch_.data(), squares_.data());
      gather(maps.target, target, start, size, maps.pixels, scratch_.data() + step_ * channels_,
             squares_.data() + block_);
      tiles_ = (size + kPositions - 1) / kPositions;
    }
    preds_squares_ = squares_.data() + next_ * kPositions;
    preds_ = scratch_.data() + next_ * kPositions;
    target_ = preds_ + step_ * channels_;
    next_ = next_ + 1 == tiles_ ? 0 : next_ + 1;
  }

  WMSCORE_INLINE void add_squares(Real* of_preds, Real* of_target) const {
    for (int u = 0; u < kPositions; u += kWidth) {  // whole vectors, as they are read next
      Vector<Real> x, y;
      wmscore::load(x, preds_squares_ + u);
      wmscore::load(y, preds_squares_ + block_ + u);
      store(of_preds + u, x);
      store(of_target + u, y);
    }
  }

  WMSCORE_INLINE void add_errors(const Real* ratio, const Real* weight, Real* sums) const {
    Vector<Real> r[2], partial[2] = {};
    for (int u = 0; u < 2; ++u) wmscore::load(r[u], ratio + u * kWidth);
    for (int64_t c = 0; c < channels_; ++c) {
      for (int u = 0; u < 2; ++u) {
        Vector<Real> x, y;
        wmscore::load(x, preds_ + c * step_ + u * kWidth);
        wmscore::load(y, target_ + c * step_ + u * kWidth);
        const Vector<Real> d = x - r[u] * y;
        partial[u] += weight[c] * d * d;
      }
    }
    for (int u = 0; u < 2; ++u) store(sums + u * kWidth, partial[u]);
  }

  WMSCORE_INLINE void add_products(const Real* ratio, const Real* weight, Real* with_preds,
                                   Real* with_target) const {
    Vector<Real> r[2], p_sums[2] = {}, t_sums[2] = {};
    for (int u = 0; u < 2; ++u) wmscore::load(r[u], ratio + u * kWidth);
    for (int64_t c = 0; c < channels_; ++c) {
      for (int u = 0; u < 2; ++u) {
        Vector<Real> x, y;
        wmscore::load(x, preds_ + c * step_ + u * kWidth);
        wmscore::load(y, target_ + c * step_ + u * kWidth);
        const Vector<Real> d = weight[c] * (x - r[u] * y);
        p_sums[u] += d * x;
        t_sums[u] += d * y;
      }
    }
    for (int u = 0; u < 2; ++u) {
      store(with_preds + u * kWidth, p_sums[u]);
      store(with_target + u * kWidth, t_sums[u]);
    }
  }

  WMSCORE_INLINE void write(bool of_target, const Real* ratio, const Real* weight,
                            const Real* scale, const Real* along, const Frames& frames, T* out,
                            int64_t start) const {
    const Real* own = of_target ? target_ : preds_;
    T* at = out + start * frames.pixel;
    for (int64_t c = 0; c < channels_; ++c, at += frames.channel) {
      const int64_t first = c * step_;
      Real values[kPositions];
      for (int i = 0; i < kPositions; ++i) {
        const Real d = preds_[first + i] - ratio[i] * target_[first + i];
        values[i] = scale[i] * (weight[c] * d - along[i] * own[first + i]);
      }
      if (frames.pixel == 1 && count_ == kPositions) {
        for (int i = 0; i < kPositions; ++i) narrow(values[i], at[i]);
      } else {
        for (int i = 0; i < count_; ++i) narrow(values[i], at[i * frames.pixel]);
      }
    }
  }

 private:
  static constexpr int kWidth = kLanes<Real>;

  // Also sums the squares at each position. The last tile may be short: what it holds after `size`
  // positions is read by nobody.
  WMSCORE_INLINE void gather(const Frames& frames, const T* map, int64_t start, int64_t size,
                             int64_t pixels, Real* block, Real* squares) const {
    std::fill(squares, squares + block_, Real(0));
    const int64_t channels = channels_, step = frames.channel, pixel = frames.pixel;
    // Rows of contiguous pixels are read in whole tiles, as far as the map goes.
    const int64_t readable = (channels - 1) * step + pixels - kPositions;
    const T* row = map + start * pixel;
    for (int64_t c = 0; c < channels; ++c, row += step, block += step_) {
      const int64_t whole = pixel == 1 ? std::min(size, readable - c * step - start + 1) : 0;
      Real* to = block;
      int64_t i = 0;
      for (; i < whole; i += kPositions, to += kPositions) {
        // Rows are often a page apart, where the processor foresees nothing.
        __builtin_prefetch(row + i + kRowsAhead * step);
        if constexpr (std::is_same_v<T, Real>) {
          put(row + i, to, squares + i);
        } else {
          Real wide[kPositions];
          for (int k = 0; k < kPositions; ++k) wide[k] = widen(row[i + k]);
          put(wide, to, squares + i);
        }
      }
      for (; i < size; i += kPositions, to += kPositions) {
        Real wide[kPositions] = {};
        if (size - i >= kPositions) {
          for (int k = 0; k < kPositions; ++k) wide[k] = widen(row[(i + k) * pixel]);
        } else {
          for (int64_t k = 0; k < size - i; ++k) wide[k] = widen(row[(i + k) * pixel]);
        }
        put(wide, to, squares + i);
      }
    }
  }

  WMSCORE_INLINE static void put(const Real* from, Real* to, Real* squares) {
    Vector<Real> low, high, low_sum, high_sum;
    wmscore::load(low, from);
    wmscore::load(high, from + kWidth);
    wmscore::load(low_sum, squares);
    wmscore::load(high_sum, squares + kWidth);
    low_sum += low * low;
    high_sum += high * high;
    store(to, low);
    store(to + kWidth, high);
    store(squares, low_sum);
    store(squares + kWidth, high_sum);
  }

  int64_t channels_;
  int64_t block_ = 0;  // positions
  int64_t step_ = 0;   // from channel to channel
  int64_t tiles_ = 0;
  int64_t next_ = 0;  // tile of the block
  int count_ = 0;
  const Real* preds_ = nullptr;
  const Real* target_ = nullptr;
  const Real* preds_squares_ = nullptr;
  std::vector<Real> scratch_;
  std::vector<Real> squares_;  // of preds, of target
};

// 1 / (length + epsilon) and the ratio of the lengths. A length that overflowed becomes NaN.
template <typename Real>
WMSCORE_INLINE void compare_lengths(bool normalize, int count, const Real* preds_squares,
                                    const Real* target_squares, Real* inverse, Real* ratio) {
  for (int i = 0; i < count; ++i) {
    const Real p = std::sqrt(preds_squares[i]), t = std::sqrt(target_squares[i]);
    const Real p_length = p + 0 * p + static_cast<Real>(kFeatureEpsilon);
    const Real t_length = t + 0 * t + static_cast<Real>(kFeatureEpsilon);
    inverse[i] = normalize ? 1 / p_length : 1;
    ratio[i] = normalize ? p_length / t_length : 1;
  }
}

inline bool has_rows(const Features& maps) {
  const bool follow = maps.preds.channel == 1 && maps.target.channel == 1;
  const bool is_long = maps.channels >= kLeastRow || maps.pixels == 1;
  return (follow && is_long) || maps.channels == 0;
}

// Which map of target belongs to a map of preds; -1 for none.
inline int64_t target_of(const Features& maps, int64_t image) {
  if (maps.index == nullptr) return image;
  const int64_t target = maps.index[image];
  return target >= 0 && target < maps.targets ? target : -1;
}

template <typename T>
std::vector<FeatureReal<T>> weight_of(const Features& maps) {
  using Real = FeatureReal<T>;
  if (maps.weight == nullptr) return std::vector<Real>(maps.channels, Real(1));
  const Real* weight = static_cast<const Real*>(maps.weight);
  return std::vector<Real>(weight, weight + maps.channels);
}

// Positions of a band: a multiple of every block, and enough work for a thread.
inline int64_t feature_band(int64_t channels) {
  constexpr int64_t kBandValues = 1 << 18;
  const int64_t positions = kBandValues / (channels > 0 ? channels : 1);
  return positions < kMostBlock ? kMostBlock : positions / kMostBlock * kMostBlock;
}

}  // namespace wmscore
