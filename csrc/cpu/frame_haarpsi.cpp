// HaarPSI of two stacks of frames in one pass: rows stream through rings of a few rows, and nothing
// of a plane's size is kept. A window of 8 x 8 consists of four of 4 x 4, and so on, so that all
// responses are differences of sums that are themselves made of four smaller ones.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../haarpsi.h"
#include "../kernels.h"
#include "clones.h"
#include "vectors.h"

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

// Vectors are written out: compilers would run the first and the last pixels of every row one by
// one. The functions that take and return them by value are all inlined.
using Vector = wmscore::Vector<float>;
constexpr int kLanes = wmscore::kLanes<float>;
typedef int32_t Lanes __attribute__((vector_size(sizeof(Vector))));

WMSCORE_INLINE Vector load(const float* data) {
  Vector vector;
  wmscore::load(vector, data);
  return vector;
}

WMSCORE_INLINE void store(Vector vector, float* data) { std::memcpy(data, &vector, sizeof vector); }

WMSCORE_INLINE Vector magnitude(Vector value) {
  return reinterpret_cast<Vector>(reinterpret_cast<Lanes>(value) & 0x7fffffff);
}

WMSCORE_INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// Room for the columns of a tile, its margins, and what whole vectors read beyond them.
constexpr int kStride = kTileColumns + 3 * kLanes;
static_assert(kBefore + kAfter < kLanes);

// The newest kRows rows of a map of both frames. Column x is the plane's column left - kBefore + x
// of a tile that starts at `left`; the map is 0 outside the plane.
template <int kRows>
struct Ring {
  static_assert((kRows & (kRows - 1)) == 0);
  struct Row {
    alignas(32) float of[2][kStride];  // preds, target
  };
  Row rows[kRows];

  Row& operator[](int64_t y) { return rows[y & (kRows - 1)]; }
};

struct Rings {
  // Luma: sums over windows of 1, 2 x 2 and 4 x 4 pixels that start at a pixel.
  Ring<8> box1, box2, box4;
  Ring<2> i, q;
  alignas(32) float chroma_loss[8][kStride];  // of column left + x
  static_assert(kBefore + kAfter < 8);
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

// Row y of the plane with the margins of a tile, in the units of haarpsi.h. Columns outside the
// plane are left as they are.
template <typename T, int kChannels>
WMSCORE_INLINE void read_plane(const T* frame, const Images& images, const Plane& plane,
                               const Tile& tile, int64_t y, float* luma, float* i, float* q) {
  if (y < 0 || y >= plane.height) {
    for (float* const row : {luma, i, q}) std::memset(row, 0, sizeof(float) * kStride);
    return;
  }
  const int64_t first = std::max<int64_t>(0, tile.left - kBefore);
  const int64_t last = std::min(plane.width, tile.left + tile.columns + kAfter);
  const int before = static_cast<int>(first - (tile.left - kBefore));
  const int count = static_cast<int>(last - first);
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
      const auto yiq = wmscore::yiq_of(levels[0][x], levels[1][x], levels[2][x]);
      luma[x] = yiq.y;
      i[x] = yiq.i;
      q[x] = yiq.q;
    }
  }
}

// Sums of four sums that lie kSide apart, from column x.
template <int kSide>
WMSCORE_INLINE Vector box(const float* top, const float* bottom, int x) {
  return (load(top + x) + load(bottom + x)) + (load(top + x + kSide) + load(bottom + x + kSide));
}

// A row of windows from two rows of those of half the size.
template <int kSide, typename Row>
WMSCORE_INLINE void add_boxes(const Row& top, const Row& bottom, int columns, Row& boxes) {
  for (int x = 0; x < columns + kBefore + kAfter; x += kLanes) {
    for (int frame = 0; frame < 2; ++frame)
      store(box<kSide>(top.of[frame], bottom.of[frame], x), boxes.of[frame] + x);
  }
}

// The loss of chroma at each pixel of a row, from this row and the next one.
template <typename Row>
WMSCORE_INLINE void compare_chroma(const Row& i, const Row& next_i, const Row& q, const Row& next_q,
                                   int columns, float* loss) {
  constexpr float kC = wmscore::kHaarpsiChromaC;
  for (int x = 0; x < columns; x += kLanes) {
    Vector means[2][2];  // times 4
    for (int frame = 0; frame < 2; ++frame) {
      means[0][frame] = magnitude(box<1>(i.of[frame], next_i.of[frame], kBefore + x));
      means[1][frame] = magnitude(box<1>(q.of[frame], next_q.of[frame], kBefore + x));
    }
    store(wmscore::haarpsi_loss<Vector>(means[0][0], means[0][1], kC, means[1][0], means[1][1], kC),
          loss + x);
  }
}

// The magnitudes of the responses at column x of windows that consist of four sums over kSide x
// kSide pixels, two of them at the row `top` and two at `bottom`.
template <int kSide>
WMSCORE_INLINE wmscore::Haar<Vector> respond(const float* top, const float* bottom, int x) {
  const int left = x + kBefore + 1 - kSide;
  const int right = x + kBefore + 1;
  const auto haar = wmscore::haar_of<Vector>(load(top + left), load(top + right),
                                             load(bottom + left), load(bottom + right));
  return {magnitude(haar.vertical), magnitude(haar.horizontal)};
}

// Adds row y, all of whose windows have come.
template <int kChannels>
WMSCORE_INLINE void add_row(Rings& rings, int64_t y, int columns, double* sums) {
  constexpr float kFineC = wmscore::kHaarpsiFineC;
  constexpr float kMiddleC = wmscore::kHaarpsiMiddleC;
  const auto& top1 = rings.box1[y];
  const auto& bottom1 = rings.box1[y + 1];
  const auto& top2 = rings.box2[y - 1];
  const auto& bottom2 = rings.box2[y + 1];
  const auto& top4 = rings.box4[y - 3];
  const auto& bottom4 = rings.box4[y + 1];
  const float* const chroma_loss = rings.chroma_loss[y % 8];
  constexpr Lanes kLane = {0, 1, 2, 3, 4, 5, 6, 7};
  constexpr Vector kZero = {};
  Vector weights = {}, losses = {};
  for (int x = 0; x < columns; x += kLanes) {
    const auto p1 = respond<1>(top1.of[0], bottom1.of[0], x);
    const auto t1 = respond<1>(top1.of[1], bottom1.of[1], x);
    const auto p2 = respond<2>(top2.of[0], bottom2.of[0], x);
    const auto t2 = respond<2>(top2.of[1], bottom2.of[1], x);
    const auto p4 = respond<4>(top4.of[0], bottom4.of[0], x);
    const auto t4 = respond<4>(top4.of[1], bottom4.of[1], x);
    const Vector vertical = larger(p4.vertical, t4.vertical);
    const Vector horizontal = larger(p4.horizontal, t4.horizontal);
    const Vector weight = vertical + horizontal;
    Vector loss =
        vertical * wmscore::haarpsi_loss<Vector>(p1.vertical, t1.vertical, kFineC, p2.vertical,
                                                 t2.vertical, kMiddleC) +
        horizontal * wmscore::haarpsi_loss<Vector>(p1.horizontal, t1.horizontal, kFineC,
                                                   p2.horizontal, t2.horizontal, kMiddleC);
    if constexpr (kChannels == 3) loss += 0.5f * weight * load(chroma_loss + x);
    const Lanes inside = kLane < columns - x;
    weights += inside ? weight : kZero;
    losses += inside ? loss : kZero;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    sums[0] += weights[lane];
    sums[1] += losses[lane];
  }
}

template <typename T, int kChannels>
WMSCORE_INLINE void add_tile(const T* const (&frames)[2], const Images (&images)[2],
                             const Plane& plane, const Tile& tile, Rings& rings, double* sums) {
  const int columns = tile.columns;
  const int64_t start = tile.top - kBefore;
  double totals[kStatistics] = {};
  for (int64_t y = start; y < tile.bottom + kAfter; ++y) {
    for (int frame = 0; frame < 2; ++frame) {
      read_plane<T, kChannels>(frames[frame], images[frame], plane, tile, y,
                               rings.box1[y].of[frame], rings.i[y].of[frame], rings.q[y].of[frame]);
    }
    // What y completes: it is the last row of these windows.
    if (y > start) add_boxes<1>(rings.box1[y - 1], rings.box1[y], columns, rings.box2[y - 1]);
    if (y > start + 2)
      add_boxes<2>(rings.box2[y - 3], rings.box2[y - 1], columns, rings.box4[y - 3]);
    if (kChannels == 3 && y > tile.top) {
      compare_chroma(rings.i[y - 1], rings.i[y], rings.q[y - 1], rings.q[y], columns,
                     rings.chroma_loss[(y - 1) % 8]);
    }
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
    // Sets the columns outside the plane to 0, where they stay while the columns are the same.
    if (item == first || plane.tiles_across > 1) std::memset(&rings, 0, sizeof rings);
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
    case Element::kUint16:
      return;  // of pyramids only
  }
}
