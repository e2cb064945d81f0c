// HaarPSI of two stacks of frames in one pass: rows stream through rings of a few rows, and nothing
// of a plane's size is kept. A window of 8 x 8 consists of four of 4 x 4, and so on, so that all
// responses are differences of sums that are themselves made of four smaller ones.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "../haarpsi.h"
#include "../kernels.h"
#include "clones.h"

namespace {

using wmscore::Bfloat16;
using wmscore::Element;
using wmscore::Half;
using wmscore::Images;

constexpr int kStatistics = 2;

// Pixels of the plane that are worked on together; their rings stay in the second-level cache.
constexpr int kTileRows = 128;
constexpr int kTileColumns = 256;

constexpr int kBefore = wmscore::kHaarpsiBefore;
constexpr int kAfter = wmscore::kHaarpsiAfter;
constexpr int kStride = kTileColumns + kBefore + kAfter + 1;

// The newest rows of a map. Column x of a row is the plane's column left - kBefore + x of a tile
// that starts at `left`.
struct Ring {
  static constexpr int kRows = 8;  // a power of 2, and no fewer than a window needs
  static_assert(kRows > kBefore + kAfter && kStride % 8 == 0);
  alignas(32) float rows[kRows][kStride];

  float* operator[](int64_t y) { return rows[y & (kRows - 1)]; }
};

// The sums over windows of 1, 2 x 2 and 4 x 4 pixels that start at a pixel.
struct Luma {
  Ring box1, box2, box4;
};

// Two frames: preds and target.
struct Rings {
  Luma luma[2];
  Ring i[2], q[2];
  Ring chroma_loss;
};

// The plane, a frame that is halved or not, and a tile of it.
struct Plane {
  int64_t frame_height, frame_width;
  int64_t height, width;
  bool subsample;
  int64_t tiles_across, tiles;

  Plane(int64_t frame_height, int64_t frame_width, bool subsample)
      : frame_height(frame_height),
        frame_width(frame_width),
        height(subsample ? (frame_height + 1) / 2 : frame_height),
        width(subsample ? (frame_width + 1) / 2 : frame_width),
        subsample(subsample),
        tiles_across((width + kTileColumns - 1) / kTileColumns),
        tiles((height + kTileRows - 1) / kTileRows * tiles_across) {}
};

struct Tile {
  int64_t top, bottom, left;
  int columns;
};

// Levels of one channel, `scale` for each.
template <typename T>
WMSCORE_INLINE void read_row(const T* row, int count, float scale, float* levels) {
  for (int x = 0; x < count; ++x) levels[x] = scale * static_cast<float>(wmscore::widen(row[x]));
}

// The same of the means of 2 x 2 pixels; what lies outside the frame counts as 0.
template <typename T>
WMSCORE_INLINE void read_halved_row(const T* upper, const T* lower, int pixels, int count,
                                    float scale, float* levels) {
  const float quarter = 0.25f * scale;
  const int whole = std::min(count, pixels / 2);
  for (int x = 0; x < whole; ++x) {
    levels[x] = quarter *
                static_cast<float>(wmscore::widen(upper[2 * x]) + wmscore::widen(upper[2 * x + 1]) +
                                   wmscore::widen(lower[2 * x]) + wmscore::widen(lower[2 * x + 1]));
  }
  if (whole < count) {
    levels[whole] = quarter * static_cast<float>(wmscore::widen(upper[2 * whole]) +
                                                 wmscore::widen(lower[2 * whole]));
  }
}

// `count` pixels side by side: where they are, or in `block`.
template <typename T>
WMSCORE_INLINE const T* side_by_side(const T* row, int64_t stride, int count, T* block) {
  if (stride == 1) return row;
  if (stride == 3) {  // interleaved RGB: a constant stride becomes shuffles
    for (int x = 0; x < count; ++x) block[x] = row[3 * x];
  } else {
    for (int x = 0; x < count; ++x) block[x] = row[stride * x];
  }
  return block;
}

// Row y of one channel of a frame, `count` columns of the plane from `first`.
template <typename T>
WMSCORE_INLINE void read_channel(const T* channel, const Images& images, const Plane& plane,
                                 int64_t y, int64_t first, int count, float* levels) {
  constexpr float kScale = std::is_same_v<T, uint8_t> ? 1.0f : 255.0f;
  T upper[2 * kStride], lower[2 * kStride];
  if (!plane.subsample) {
    const T* const row = channel + y * images.row + first * images.pixel;
    return read_row(side_by_side(row, images.pixel, count, upper), count, kScale, levels);
  }
  const int pixels = static_cast<int>(std::min<int64_t>(2 * count, plane.frame_width - 2 * first));
  const T* const row = channel + 2 * y * images.row + 2 * first * images.pixel;
  const T* const first_row = side_by_side(row, images.pixel, pixels, upper);
  const T* second_row = lower;
  if (2 * y + 1 < plane.frame_height) {
    second_row = side_by_side(row + images.row, images.pixel, pixels, lower);
  } else {
    std::fill(lower, lower + pixels, T{});
  }
  read_halved_row(first_row, second_row, pixels, count, kScale, levels);
}

// Row y of the plane with the margins of a tile, in the units of haarpsi.h; 0 outside the plane.
template <typename T, int kChannels>
WMSCORE_INLINE void read_plane(const T* frame, const Images& images, const Plane& plane,
                               const Tile& tile, int64_t y, float* luma, float* i, float* q) {
  const int columns = tile.columns + kBefore + kAfter;
  const int64_t first = std::max<int64_t>(0, tile.left - kBefore);
  const int64_t last = std::min(plane.width, tile.left + tile.columns + kAfter);
  const int before = static_cast<int>(first - (tile.left - kBefore));
  const int count = y < 0 || y >= plane.height ? 0 : static_cast<int>(last - first);
  const auto clear_margins = [&](float* row) {
    std::fill(row, row + before, 0.0f);
    std::fill(row + before + count, row + columns, 0.0f);
  };
  clear_margins(luma);
  if constexpr (kChannels == 3) {
    clear_margins(i);
    clear_margins(q);
  }
  if (count == 0) return;
  float levels[kChannels][kStride];
  for (int k = 0; k < kChannels; ++k)
    read_channel(frame + k * images.channel, images, plane, y, first, count, levels[k]);
  luma += before;
  if constexpr (kChannels == 1) {
    for (int x = 0; x < count; ++x) luma[x] = wmscore::kHaarpsiUnit * levels[0][x];
  } else {
    i += before;
    q += before;
    for (int x = 0; x < count; ++x) {
      const wmscore::Yiq yiq = wmscore::yiq_of(levels[0][x], levels[1][x], levels[2][x]);
      luma[x] = yiq.y;
      i[x] = yiq.i;
      q[x] = yiq.q;
    }
  }
}

// Sums of four sums that lie kSide apart.
template <int kSide>
WMSCORE_INLINE void add_boxes(const float* __restrict top, const float* __restrict bottom,
                              int count, float* __restrict boxes) {
  for (int x = 0; x < count; ++x)
    boxes[x] = (top[x] + bottom[x]) + (top[x + kSide] + bottom[x + kSide]);
}

WMSCORE_INLINE float box2(const float* top, const float* bottom, int x) {
  return (top[x] + bottom[x]) + (top[x + 1] + bottom[x + 1]);
}

// The loss of chroma at each pixel of row y, whose I and Q and those of the next row have come.
WMSCORE_INLINE void compare_chroma(Rings& rings, int64_t y, int columns) {
  const float* i[2][2];
  const float* q[2][2];
  for (int frame = 0; frame < 2; ++frame) {
    for (int row = 0; row < 2; ++row) {
      i[frame][row] = rings.i[frame][y + row] + kBefore;
      q[frame][row] = rings.q[frame][y + row] + kBefore;
    }
  }
  float* __restrict const loss = rings.chroma_loss[y];
  for (int x = 0; x < columns; ++x) {
    loss[x] = wmscore::haarpsi_loss(box2(i[0][0], i[0][1], x), box2(i[1][0], i[1][1], x),
                                    wmscore::kHaarpsiChromaC, box2(q[0][0], q[0][1], x),
                                    box2(q[1][0], q[1][1], x), wmscore::kHaarpsiChromaC);
  }
}

// The response at column x of windows that consist of four sums of kSide x kSide, one row of them
// at `top` and one at `bottom`.
template <int kSide>
WMSCORE_INLINE wmscore::Haar response(const float* top, const float* bottom, int x) {
  const int left = x + kBefore + 1 - kSide;
  const int right = x + kBefore + 1;
  return wmscore::haar_of(top[left], top[right], bottom[left], bottom[right]);
}

WMSCORE_INLINE float larger(float a, float b) { return a > b ? a : b; }

// Adds row y, all of whose windows have come.
template <int kChannels>
WMSCORE_INLINE void add_row(Rings& rings, int64_t y, int columns, double* sums) {
  const float* top[2][3];
  const float* bottom[2][3];
  for (int frame = 0; frame < 2; ++frame) {
    Luma& luma = rings.luma[frame];
    top[frame][0] = luma.box1[y];
    top[frame][1] = luma.box2[y - 1];
    top[frame][2] = luma.box4[y - 3];
    bottom[frame][0] = luma.box1[y + 1];
    bottom[frame][1] = luma.box2[y + 1];
    bottom[frame][2] = luma.box4[y + 1];
  }
  const float* const chroma_loss = rings.chroma_loss[y];
  float weight = 0, loss = 0;
#pragma omp simd reduction(+ : weight, loss)
  for (int x = 0; x < columns; ++x) {
    const wmscore::Haar p1 = response<1>(top[0][0], bottom[0][0], x);
    const wmscore::Haar t1 = response<1>(top[1][0], bottom[1][0], x);
    const wmscore::Haar p2 = response<2>(top[0][1], bottom[0][1], x);
    const wmscore::Haar t2 = response<2>(top[1][1], bottom[1][1], x);
    const wmscore::Haar p4 = response<4>(top[0][2], bottom[0][2], x);
    const wmscore::Haar t4 = response<4>(top[1][2], bottom[1][2], x);
    const float vertical = larger(fabsf(p4.vertical), fabsf(t4.vertical));
    const float horizontal = larger(fabsf(p4.horizontal), fabsf(t4.horizontal));
    weight += vertical + horizontal;
    loss += vertical * wmscore::haarpsi_loss(p1.vertical, t1.vertical, wmscore::kHaarpsiFineC,
                                             p2.vertical, t2.vertical, wmscore::kHaarpsiMiddleC);
    loss +=
        horizontal * wmscore::haarpsi_loss(p1.horizontal, t1.horizontal, wmscore::kHaarpsiFineC,
                                           p2.horizontal, t2.horizontal, wmscore::kHaarpsiMiddleC);
    if constexpr (kChannels == 3) loss += 0.5f * (vertical + horizontal) * chroma_loss[x];
  }
  sums[0] += weight;
  sums[1] += loss;
}

template <typename T, int kChannels>
WMSCORE_INLINE void add_tile(const T* const (&frames)[2], const Images (&images)[2],
                             const Plane& plane, const Tile& tile, Rings& rings, double* sums) {
  const int columns = tile.columns;
  double totals[kStatistics] = {};
  for (int64_t y = tile.top - kBefore; y < tile.bottom + kAfter; ++y) {
    for (int frame = 0; frame < 2; ++frame) {
      Luma& luma = rings.luma[frame];
      read_plane<T, kChannels>(frames[frame], images[frame], plane, tile, y, luma.box1[y],
                               rings.i[frame][y], rings.q[frame][y]);
      // What y completes: it is the last row of these windows.
      if (y >= tile.top - kBefore + 1)
        add_boxes<1>(luma.box1[y - 1], luma.box1[y], columns + 6, luma.box2[y - 1]);
      if (y >= tile.top - kBefore + 3)
        add_boxes<2>(luma.box2[y - 3], luma.box2[y - 1], columns + 4, luma.box4[y - 3]);
    }
    if (kChannels == 3 && y > tile.top) compare_chroma(rings, y - 1, columns);
    if (y >= tile.top + kAfter) add_row<kChannels>(rings, y - kAfter, columns, totals);
  }
  sums[0] = (kChannels == 3 ? 1.5 : 1.0) * wmscore::kHaarpsiWeight * totals[0];
  sums[1] = wmscore::kHaarpsiWeight * totals[1];
}

template <typename T, int kChannels>
WMSCORE_INLINE void add_tiles(const Images& preds, const Images& target, const Plane& plane,
                              int64_t first, int64_t last, double* partials) {
  const Images images[2] = {preds, target};
  Rings rings;
  for (int64_t item = first; item < last; ++item) {
    const int64_t image = item / plane.tiles;
    const int64_t index = item - image * plane.tiles;
    const int64_t down = index / plane.tiles_across;
    Tile tile;
    tile.top = down * kTileRows;
    tile.bottom = std::min(plane.height, tile.top + kTileRows);
    tile.left = (index - down * plane.tiles_across) * kTileColumns;
    tile.columns = static_cast<int>(std::min<int64_t>(kTileColumns, plane.width - tile.left));
    const T* const frames[2] = {static_cast<const T*>(preds.data) + image * preds.image,
                                static_cast<const T*>(target.data) + image * target.image};
    add_tile<T, kChannels>(frames, images, plane, tile, rings, partials + item * kStatistics);
  }
}

// The attribute takes no template, hence one function for each type and number of channels.
#define WMSCORE_ADD_TILES(name, T, kChannels)                                             \
  WMSCORE_CLONES void name(const Images& preds, const Images& target, const Plane& plane, \
                           int64_t first, int64_t last, double* partials) {               \
    add_tiles<T, kChannels>(preds, target, plane, first, last, partials);                 \
  }
WMSCORE_ADD_TILES(luma_uint8, uint8_t, 1)
WMSCORE_ADD_TILES(luma_float16, Half, 1)
WMSCORE_ADD_TILES(luma_bfloat16, Bfloat16, 1)
WMSCORE_ADD_TILES(luma_float32, float, 1)
WMSCORE_ADD_TILES(luma_float64, double, 1)
WMSCORE_ADD_TILES(rgb_uint8, uint8_t, 3)
WMSCORE_ADD_TILES(rgb_float16, Half, 3)
WMSCORE_ADD_TILES(rgb_bfloat16, Bfloat16, 3)
WMSCORE_ADD_TILES(rgb_float32, float, 3)
WMSCORE_ADD_TILES(rgb_float64, double, 3)

}  // namespace

int64_t wmscore_frame_haarpsi_cpu_tiles(int64_t height, int64_t width, bool subsample) {
  return Plane(height, width, subsample).tiles;
}

void wmscore_frame_haarpsi_cpu(Element element, Images preds, Images target, int64_t channels,
                               int64_t height, int64_t width, bool subsample, int64_t first,
                               int64_t last, double* partials) {
  const Plane plane(height, width, subsample);
  const bool rgb = channels == 3;
  const auto run = [&](auto* luma_kernel, auto* rgb_kernel) {
    (rgb ? rgb_kernel : luma_kernel)(preds, target, plane, first, last, partials);
  };
  switch (element) {
    case Element::kUint8:
      return run(luma_uint8, rgb_uint8);
    case Element::kFloat16:
      return run(luma_float16, rgb_float16);
    case Element::kBfloat16:
      return run(luma_bfloat16, rgb_bfloat16);
    case Element::kFloat32:
      return run(luma_float32, rgb_float32);
    case Element::kFloat64:
      return run(luma_float64, rgb_float64);
  }
}
