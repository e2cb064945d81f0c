// Every kernel's signature: pointers, sizes and a stream. No torch, no CUDA and no Python header,
// so that a kernel compiles in a second and can be called from a test or from another framework.
#pragma once

#include <cstdint>

namespace wmscore {

enum class Element : int32_t { kUint8, kFloat16, kBfloat16, kFloat32, kFloat64, kUint16 };

// Frames [N, C, H, W] whose rows follow each other: pixel i = y * W + x of image n, channel c is
// data[n * image + c * channel + i * pixel]. Strides count elements. Contiguous frames have pixel
// 1, channels-last ones have channel 1 and pixel C; an expanded batch has image 0.
struct Frames {
  const void* data;
  int64_t image;
  int64_t channel;
  int64_t pixel;
};

// Frames [N, C, H, W] of any strides: row y of image n, channel c starts at
// data[n * image + c * channel + y * row], and its pixels are `pixel` elements apart.
struct Images {
  const void* data;
  int64_t image;
  int64_t channel;
  int64_t row;
  int64_t pixel;
};

// One channel of one frame: pixel x of row y is data[y * row + x * pixel].
struct Plane {
  const void* data;
  int64_t row;
  int64_t pixel;
};

// Which pixels of frames are inside: where `mask` [N, H, W] is set, one byte each and pixel 1 (its
// channel is unused), and where any channel of |target - previous| exceeds `threshold` >= 0. What
// is not there does not restrict.
struct Region {
  Frames mask;
  Frames previous;
  double threshold;
  bool has_mask;
  bool has_previous;
};

// Problems of linear sum assignment: the cost of row i with column j of problem p is
// data[p * problem + i * row + j * col], float or double. Masks [problems, rows] and [problems,
// cols] say which members exist; null stands for all. Sides are at most kLongestSide.
constexpr int64_t kLongestSide = 1024;
struct AssignmentProblems {
  const void* data;
  int64_t problem;
  int64_t row;
  int64_t col;
  int64_t rows;
  int64_t cols;
  const bool* use_rows;
  const bool* use_cols;
};

// Two stacks of feature maps to compare: preds [N, channels, ...] and target [targets, channels,
// ...], of `pixels` positions each. The target of preds n is n, or index[n], which may be out of
// range. `weight` has a value for each channel, float or (for maps of double) double; null stands
// for ones.
struct Features {
  Frames preds;
  Frames target;
  int64_t channels;
  int64_t pixels;
  int64_t targets;
  const int64_t* index;
  const void* weight;
  bool normalize;
};

// Two stacks of gradients, [N, channels, ...] each, of the type of the maps; no data where a
// gradient is not wanted. That of target has a map for each of preds.
struct FeatureGradients {
  Frames preds;
  Frames target;
};

// Label maps to compare: preds [rows, steps, height, width] and target [targets, steps, height,
// width], whose image is a row, whose channel is a step, and which have pixel 1. A label has
// `bytes` of 1 (unsigned), 2, 4 or 8 (signed). The target of row n is n, or index[n], which may be
// out of range. The ids are [rows, objects]; object n has slot n + 1, and what is not listed has
// slot 0.
struct LabelMaps {
  Frames preds;
  Frames target;
  int64_t bytes;
  int64_t rows;
  int64_t steps;
  int64_t height;
  int64_t width;
  int64_t targets;
  const int64_t* index;
  const int64_t* preds_ids;
  const int64_t* target_ids;
  int64_t preds_objects;   // at most 255
  int64_t target_objects;  // likewise
};

// A label map [rows, steps, pixels], in the layout of those of LabelMaps, and which steps to look
// at, [rows, steps]; null stands for all.
struct LabelMap {
  Frames labels;
  int64_t bytes;
  int64_t rows;
  int64_t steps;
  int64_t pixels;
  const bool* valid;
};

// Of each row, zeros at first: which of the labels 1..kLargestId there are, [rows, kLargestId + 1],
// and the smallest and largest of all labels and 0, [rows, 2].
struct PresentLabels {
  bool* present;
  int64_t* extremes;
};

// What is counted, of each frame: pixels by slot of target and of preds, [target_objects + 1,
// preds_objects + 1]; sum of y, sum of x, top, left, bottom, right of each object, [objects, 6];
// and stray pixels, [min(target_objects, preds_objects)].
struct LabelCounts {
  int32_t* joint;
  int64_t* target_shapes;
  int64_t* preds_shapes;
  int64_t* stray;
};

constexpr int64_t kLargestId = 32767;
constexpr int64_t kMostObjects = 255;

// Label maps [N, H, W] of any strides: integers of 1 byte (unsigned), 2, 4 or 8 bytes (signed).
struct LabelImages {
  const void* data;
  int64_t image;
  int64_t row;
  int64_t pixel;
  int32_t bytes;
};

// Features [frames, channels, rows, columns] to pool over label maps of height x width, whose pixel
// (y, x) reads the cell (y * rows / height, x * columns / width). Object n < `count` <= 255 of
// frame f is ids[f * ids_frame + n * ids_step], 0 for none.
struct Pool {
  Images features;
  int64_t channels;
  int64_t rows;
  int64_t columns;
  LabelImages labels;
  int64_t height;
  int64_t width;
  const int64_t* ids;
  int64_t ids_frame;
  int64_t ids_step;
  int64_t count;
};

// Frames whose labels are sought, query [batch, channels, height, width], and frames that have
// them, memory [batch, memories, channels, height, width] with labels [batch, memories, classes,
// height, width], float or (for features of double) double. The frames of memory of one item of the
// batch are memory.image elements apart, those of two items memory_batch; likewise for labels.
// `usable` [batch, memories] says which of memory there are; null stands for all. 0 <= radius < the
// larger side (or 0), 1 <= topk <= 16.
struct Propagation {
  Images query;
  Images memory;
  int64_t memory_batch;
  Images labels;
  int64_t labels_batch;
  const bool* usable;
  int64_t batch;
  int64_t memories;
  int64_t channels;
  int64_t classes;
  int64_t height;
  int64_t width;
  int64_t radius;
  int64_t topk;
  double temperature;
};

// Frames [rows, steps, channels, height, width] of any strides: line y of a channel starts at
// data[n * row + t * step + c * channel + y * line], and its pixels are `pixel` elements apart.
struct Clips {
  const void* data;
  int64_t rows;
  int64_t row;
  int64_t step;
  int64_t channel;
  int64_t line;
  int64_t pixel;
};

// The fields of response_products: of script k < `scripts` of group g at step t, the frames of rows
// preds_rows[g * scripts + k] of preds and target_rows[g * scripts + k] of target, absent where
// these are out of range or present[(g * scripts + k) * steps + t] is false. Pixel (y + dy, x + dx)
// of preds meets (y, x) of target, (dy, dx) being the two values at shift[(g * steps + t) * 2].
// `present` and `shift` may be null: all, and (0, 0).
constexpr int64_t kMostScripts = 16;
struct Responses {
  Clips preds;
  Clips target;
  int64_t groups;
  int64_t scripts;  // 1..kMostScripts
  int64_t steps;
  int64_t channels;
  int64_t height;  // height * width < 2^31
  int64_t width;
  const int64_t* preds_rows;
  const int64_t* target_rows;
  const bool* present;
  const int64_t* shift;
  double still;
};

// Frames [batch, steps, channels, height, width] and those that follow them, whose blocks of
// `block` x `block` pixels are sought within `radius` of `start` [batch, steps, 2], (dy, dx), or of
// 0 where that is null. Frames of one item of the batch are frames.image elements apart, those of
// two items frames_batch; likewise for following. 4 <= block <= 32, a multiple of 4; 1 <= radius
// <= 16.
struct BlockMatching {
  Images frames;
  int64_t frames_batch;
  Images following;
  int64_t following_batch;
  const int64_t* start;
  int64_t batch;
  int64_t steps;
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t block;
  int64_t radius;
};

// A tensor [axes, rollouts, steps] of any strides, 0 along a side that it does not change along.
struct CrossingInput {
  const void* data;
  int64_t axis;
  int64_t rollout;
  int64_t step;
};

// Curves of scores, of the type of the thresholds; `patience` has no steps and int64 values,
// `valid` is bool. No data stands for: recover, the threshold; recovery_patience, 1; valid, all
// steps; gated [axes], all axes.
struct ScoreCurves {
  CrossingInput scores;
  CrossingInput threshold;
  CrossingInput recover;
  CrossingInput patience;
  CrossingInput recovery_patience;
  CrossingInput valid;
  const bool* gated;
  int64_t axes;
  int64_t rollouts;
  int64_t steps;
  bool above;
};

constexpr int kCrossingColumns = 10;  // see Crossings in wmscore/ops/first_crossing.py
constexpr int kRolloutColumns = 8;    // see RolloutCrossings there

// What is found: int64 [kCrossingColumns, axes, rollouts]; float or (for scores of double) double
// [2, axes, rollouts]; int64 [kRolloutColumns, rollouts].
struct FoundCrossings {
  int64_t* curves;
  void* margins;
  int64_t* of_rollouts;
};

constexpr int64_t kBlockCosts = 16;  // columns of the costs, see wmscore/ops/block_flow.py

}  // namespace wmscore

extern "C" {

// The column of each row, [problems, rows], or -1. Solves the problems first <= p < last.
void wmscore_assignment_cpu(wmscore::Element element, wmscore::AssignmentProblems problems,
                            bool maximize, int64_t first, int64_t last, int64_t* match);

// The same for `count` problems, on a device. Returns a cudaError_t.
int32_t wmscore_assignment_cuda(wmscore::Element element, wmscore::AssignmentProblems problems,
                                int64_t count, bool maximize, int64_t* match, void* stream);

// The displacement of each block, [batch, steps, height / block, width / block, 2], and its costs,
// [..., kBlockCosts], float or (for frames of double) double, of the rows of blocks first <= n *
// (height / block) + row < last, n = item * steps + step.
void wmscore_block_flow_cpu(wmscore::Element element, wmscore::BlockMatching task, int64_t first,
                            int64_t last, int32_t* displacements, void* costs);

// The same for all blocks, on a device, where there is at least one and sides are below 2^28.
// Returns a cudaError_t.
int32_t wmscore_block_flow_cuda(wmscore::Element element, wmscore::BlockMatching task,
                                int32_t* displacements, void* costs, void* stream);

// Failures and recoveries of the curves of the rollouts first <= b < last.
void wmscore_first_crossing_cpu(wmscore::Element element, wmscore::ScoreCurves curves,
                                int64_t first, int64_t last, wmscore::FoundCrossings found);

// The same for all rollouts, on a device, where there is at least one and steps are fewer than
// 2^31 - 32. `scratch` has wmscore_first_crossing_scratch(rollouts, steps) words. Returns a
// cudaError_t.
int64_t wmscore_first_crossing_scratch(int64_t rollouts, int64_t steps);
int32_t wmscore_first_crossing_cuda(wmscore::Element element, wmscore::ScoreCurves curves,
                                    uint32_t* scratch, wmscore::FoundCrossings found, void* stream);

// Sums over the pixels of one plane: squared error, absolute error, sum of preds, sum of target,
// energy of preds, energy of target. `sums` is [planes, 6], int64 for uint8 frames and double for
// the others. Computes the planes first <= n * channels + c < last, so that a caller can share the
// planes out.
void wmscore_frame_errors_cpu(wmscore::Element element, wmscore::Frames preds,
                              wmscore::Frames target, int64_t channels, int64_t pixels,
                              int64_t first, int64_t last, void* sums);

// The same for all planes, on a device. Both frames are planar (pixel 1) or both interleaved RGB
// (channel 1, pixel 3, channels 3). A plane is cut into wmscore_frame_errors_chunks(pixels) >= 1
// chunks; `partials` is scratch of [planes, chunks, 6], unused when there is one. Returns a
// cudaError_t.
int64_t wmscore_frame_errors_chunks(int64_t pixels);
int32_t wmscore_frame_errors_cuda(wmscore::Element element, wmscore::Frames preds,
                                  wmscore::Frames target, int64_t images, int64_t channels,
                                  int64_t pixels, void* partials, void* sums, void* stream);

// One band of rows of one plane at one level of its pyramid; there are wmscore_frame_ssim_bands
// >= 1 of them. Writes three sums: of 1 - ssim and of 1 - cs over the positions of the window, and
// of squared errors, in units of the frames at level 0. Sides are at least the window's.
//
// Where `halved_preds` and `halved_target` are given, the band's rows of the next level go there:
// contiguous planes of ceil(height / 2) x ceil(width / 2), uint16 for integers (sums of 4^level
// pixels) and float or double for the others (means).
int64_t wmscore_frame_ssim_bands(int64_t height, bool uniform);
void wmscore_frame_ssim_cpu(wmscore::Element element, wmscore::Plane preds, wmscore::Plane target,
                            int64_t height, int64_t width, double data_range, bool uniform,
                            int32_t level, int64_t band, void* halved_preds, void* halved_target,
                            double* sums);

// Both gradients of one band of rows of one plane at one level, the sums of its three results above
// (as means) having the gradients `of_means`. There are wmscore_frame_ssim_backward_bands of them.
// `coarse_preds` and `coarse_target` are the next level's gradients, contiguous, float or double,
// or null at the last one. The gradients have the type of the frames and are contiguous planes.
int64_t wmscore_frame_ssim_backward_bands(int64_t height);
void wmscore_frame_ssim_backward_cpu(wmscore::Element element, wmscore::Plane preds,
                                     wmscore::Plane target, int64_t height, int64_t width,
                                     double data_range, bool uniform, const double* of_means,
                                     const void* coarse_preds, const void* coarse_target,
                                     int64_t band, void* of_preds, void* of_target);

// A plane of floating pixels at half the size, as above.
void wmscore_halve_cpu(wmscore::Element element, wmscore::Plane plane, int64_t height,
                       int64_t width, void* halved);

// What frames say about their own quality: the sums of wmscore::QualityColumn (quality.h) over each
// of them. Frames have three channels; one of a single channel passes it three times (channel 0).
// `previous` holds the frames before, or no data: the columns of change are then 0. A frame is cut
// into wmscore_frame_quality_bands(height, width) >= 1 bands of rows, and `sums` is [frames, bands,
// wmscore::kQualityColumns], int64 for uint8 frames and double for the others. Computes the bands
// first <= n * bands + band < last.
int64_t wmscore_frame_quality_bands(int64_t height, int64_t width);
void wmscore_frame_quality_cpu(wmscore::Element element, wmscore::Images frames,
                               wmscore::Images previous, int64_t height, int64_t width,
                               int64_t first, int64_t last, void* sums);

// The same for `count` >= 1 frames of at least one pixel, on a device. `sums` is [frames, columns].
// A frame is cut into wmscore_frame_quality_slices(element, height, width) >= 1 slices; `partials`
// is scratch of [frames, slices, columns], unused when there is one. Returns a cudaError_t.
int64_t wmscore_frame_quality_slices(wmscore::Element element, int64_t height, int64_t width);
int32_t wmscore_frame_quality_cuda(wmscore::Element element, wmscore::Images frames,
                                   wmscore::Images previous, int64_t count, int64_t height,
                                   int64_t width, void* partials, void* sums, void* stream);

// HaarPSI's sum of weights and weighted loss of each frame. A frame (after halving, if `subsample`)
// is cut into wmscore_frame_haarpsi_cpu_tiles tiles, which depend on its size alone; `partials` is
// [images, tiles, 2], to be summed over the tiles in order. Computes the tiles first <= n * tiles +
// tile < last. Frames have 1 or 3 channels.
int64_t wmscore_frame_haarpsi_cpu_tiles(int64_t height, int64_t width, bool subsample);
void wmscore_frame_haarpsi_cpu(wmscore::Element element, wmscore::Images preds,
                               wmscore::Images target, int64_t channels, int64_t height,
                               int64_t width, bool subsample, int64_t first, int64_t last,
                               double* partials);

// The same for all frames, summed into `sums`, [images, 2], on a device. `partials` is scratch of
// [images, wmscore_frame_haarpsi_tiles(...), 2], unused when there is one tile. Returns a
// cudaError_t.
int64_t wmscore_frame_haarpsi_tiles(int64_t height, int64_t width, bool subsample);
int32_t wmscore_frame_haarpsi_cuda(wmscore::Element element, wmscore::Images preds,
                                   wmscore::Images target, int64_t images, int64_t channels,
                                   int64_t height, int64_t width, bool subsample, double* partials,
                                   double* sums, void* stream);

// Sums of the FLIP errors of sRGB frames [N, 3, height, width] at 1..200 pixels per degree. Rows
// are summed in bands: `sums` is [images, wmscore_frame_flip_bands(height)]. Computes the bands
// first <= n * bands + b < last.
int64_t wmscore_frame_flip_bands(int64_t height);
void wmscore_frame_flip_cpu(wmscore::Element element, wmscore::Images preds, wmscore::Images target,
                            int64_t height, int64_t width, double pixels_per_degree, int64_t first,
                            int64_t last, double* sums);

// Their mean, on a device: `means` is [images]. A frame is cut into tiles; `partials` is scratch of
// [images, wmscore_frame_flip_tiles(height, width)]. Returns a cudaError_t.
int64_t wmscore_frame_flip_tiles(int64_t height, int64_t width);
int32_t wmscore_frame_flip_cuda(wmscore::Element element, wmscore::Images preds,
                                wmscore::Images target, int64_t images, int64_t height,
                                int64_t width, double pixels_per_degree, double* partials,
                                double* means, void* stream);

// The same sums inside and outside a region, and the pixels of each. Images are cut into
// wmscore_frame_region_errors_bands(pixels) >= 1 bands, which do not depend on threads; this
// computes the bands first <= n * bands + b < last. `sums` is [images, bands, channels, 2, 6],
// `counts` is [images, bands, 2].
int64_t wmscore_frame_region_errors_bands(int64_t pixels);
void wmscore_frame_region_errors_cpu(wmscore::Element element, wmscore::Frames preds,
                                     wmscore::Frames target, wmscore::Region region,
                                     int64_t channels, int64_t pixels, int64_t first, int64_t last,
                                     void* sums, int64_t* counts);

// The same for all images, on a device, where there is at least one pixel. Frames and `previous`
// are all planar (pixel 1) or all interleaved RGB (channel 1, pixel 3, channels 3); the pixels of
// the mask follow each other. An image is cut into wmscore_frame_region_errors_chunks(pixels) >= 1
// chunks; `partials` is scratch of [images, channels, chunks, 2, 6] and `partial_counts` of
// [images, chunks, 2], both unused when there is one. `sums` is [images, channels, 2, 6], `counts`
// is [images, 2]. Returns a cudaError_t.
int64_t wmscore_frame_region_errors_chunks(int64_t pixels);
int32_t wmscore_frame_region_errors_cuda(wmscore::Element element, wmscore::Frames preds,
                                         wmscore::Frames target, wmscore::Region region,
                                         int64_t images, int64_t channels, int64_t pixels,
                                         void* partials, int64_t* partial_counts, void* sums,
                                         int64_t* counts, void* stream);

// All planes at all scales on a device: `result` is [images, channels, scales, 3], means of ssim
// and of cs, and squared errors. `scratch` has wmscore_frame_ssim_scratch(...) bytes, aligned
// to 16. Row strides fit an int. Returns a cudaError_t.
int64_t wmscore_frame_ssim_scratch(wmscore::Element element, int64_t images, int64_t channels,
                                   int64_t height, int64_t width, bool uniform, int64_t scales);
int32_t wmscore_frame_ssim_cuda(wmscore::Element element, wmscore::Images preds,
                                wmscore::Images target, int64_t images, int64_t channels,
                                int64_t height, int64_t width, double data_range, bool uniform,
                                int64_t scales, void* scratch, double* result, void* stream);

// Both gradients of the same, the result having the gradient `of_result`. They are contiguous, of
// the type of the frames.
int64_t wmscore_frame_ssim_backward_scratch(wmscore::Element element, int64_t images,
                                            int64_t channels, int64_t height, int64_t width,
                                            int64_t scales);
int32_t wmscore_frame_ssim_backward_cuda(wmscore::Element element, wmscore::Images preds,
                                         wmscore::Images target, int64_t images, int64_t channels,
                                         int64_t height, int64_t width, double data_range,
                                         bool uniform, int64_t scales, const double* of_result,
                                         void* scratch, void* of_preds, void* of_target,
                                         void* stream);

// Distances of feature vectors, summed over positions. A map is cut into
// wmscore_feature_distance_bands(channels, pixels) >= 1 bands, which do not depend on threads; this
// computes the bands first <= n * bands + b < last. Writes `sums`, [N, bands], or where `map` is
// not null the distance at each position, [N, pixels].
int64_t wmscore_feature_distance_bands(int64_t channels, int64_t pixels);
void wmscore_feature_distance_cpu(wmscore::Element element, wmscore::Features maps, int64_t first,
                                  int64_t last, double* sums, double* map);

// Their gradients, in the same bands. The mean distance of preds n has the gradient gradient[n], or
// if `spatial` the distance at each position gradient[n * pixels + i].
void wmscore_feature_distance_backward_cpu(wmscore::Element element, wmscore::Features maps,
                                           const double* gradient, bool spatial, int64_t first,
                                           int64_t last, wmscore::FeatureGradients gradients);

// Both for `count` maps of preds, on a device. `distances` is scratch of [count, pixels], float or
// (for maps of double) double, unused if `spatial`; `result` is [count], the means, or [count,
// pixels]. Return a cudaError_t.
int32_t wmscore_feature_distance_cuda(wmscore::Element element, wmscore::Features maps,
                                      int64_t count, bool spatial, void* distances, double* result,
                                      void* stream);
int32_t wmscore_feature_distance_backward_cuda(wmscore::Element element, wmscore::Features maps,
                                               int64_t count, const double* gradient, bool spatial,
                                               wmscore::FeatureGradients gradients, void* stream);

// Counts of the frames first <= row * steps + step < last.
void wmscore_label_overlap_cpu(wmscore::LabelMaps maps, int64_t first, int64_t last,
                               wmscore::LabelCounts counts);

// Labels of the frames first <= row * steps + step < last. Calls on frames of one row may run at
// once.
void wmscore_label_present_cpu(wmscore::LabelMap map, int64_t first, int64_t last,
                               wmscore::PresentLabels result);

// Sums of features over each object's pixels, exact for uint8, and the pixels. A frame is cut into
// wmscore_label_pool_bands(pool) >= 1 bands of rows, which depend on sizes alone; this computes the
// bands first <= f * bands + b < last. `sums` is [frames, bands, count, channels], `counts` is
// [frames, bands, count]; of an id that is there twice the first place has all.
int64_t wmscore_label_pool_bands(wmscore::Pool pool);
void wmscore_label_pool_cpu(wmscore::Element element, wmscore::Pool pool, int64_t first,
                            int64_t last, double* sums, int64_t* counts);

// Their means, [frames, count, channels], float or (for features of double) double, NaN without a
// pixel, and the pixels, [frames, count], of the frames first <= f < last.
void wmscore_label_pool_means_cpu(wmscore::Element element, wmscore::Pool pool, int64_t first,
                                  int64_t last, const double* sums, const int64_t* counts,
                                  void* means, int64_t* pixels);

// Both for all frames, on a device. A frame is cut into wmscore_label_pool_parts(pool) >= 1 parts;
// `sums` and `counts` are scratch of [frames, parts, count, channels] and [frames, parts, count].
// Sides fit an int. Returns a cudaError_t.
int64_t wmscore_label_pool_parts(wmscore::Pool pool);
int32_t wmscore_label_pool_cuda(wmscore::Element element, wmscore::Pool pool, int64_t frames,
                                double* sums, int64_t* counts, void* means, int64_t* pixels,
                                void* stream);

// Unit vectors of features, float or double, in rows [channels, step] of their own for each row of
// each frame: `packed` is that of query, batch frames, or of memory, batch * memories frames with
// zeros around each row. wmscore_label_propagate_step says how long a row of one channel is. Packs
// the rows first <= frame * height + y < last.
int64_t wmscore_label_propagate_step(wmscore::Propagation task, bool of_memory);
void wmscore_label_propagate_pack_cpu(wmscore::Element element, wmscore::Propagation task,
                                      bool of_memory, int64_t first, int64_t last, void* packed);

// Labels [batch, classes, height, width] and similarity [batch, height, width] of the rows first <=
// b * height + y < last of query, from both packed.
void wmscore_label_propagate_cpu(wmscore::Element element, wmscore::Propagation task,
                                 const void* query, const void* memory, int64_t first, int64_t last,
                                 void* labels, void* similarity);

// The same for all frames, on a device, where there is at least one pixel and sides are at most
// 2^24. A frame is cut into wmscore_label_overlap_slices(maps) >= 1 slices; if there is more than
// one, `extents` is scratch of [frames, target_objects + preds_objects, 7], and it and
// `counts.stray` must be zero at first. So must `counts.joint` where wmscore_label_overlap_adds.
// Returns a cudaError_t.
int64_t wmscore_label_overlap_slices(wmscore::LabelMaps maps);
bool wmscore_label_overlap_adds(wmscore::LabelMaps maps);
int32_t wmscore_label_overlap_cuda(wmscore::LabelMaps maps, int64_t* extents,
                                   wmscore::LabelCounts counts, void* stream);

// The same for all frames, on a device, where there is at least one pixel. Returns a cudaError_t.
int32_t wmscore_label_present_cuda(wmscore::LabelMap map, wmscore::PresentLabels result,
                                   void* stream);

// All of it on a device, the query and memory packed into scratch of [batch, height, channels,
// query step] and [batch, memories, height, channels, memory step], which
// wmscore_label_propagate_cuda_step says, aligned to 16. Returns a cudaError_t.
int64_t wmscore_label_propagate_cuda_step(wmscore::Propagation task, bool of_memory);
int32_t wmscore_label_propagate_cuda(wmscore::Element element, wmscore::Propagation task,
                                     void* packed_query, void* packed_memory, void* labels,
                                     void* similarity, void* stream);

// Sums of one item, which is a group at a step, over one of its wmscore_response_products_bands >=
// 1 bands of pixels, which do not depend on threads. `sums` is [items, bands,
// wmscore_response_products_values(scripts)]: products of fields i <= j in order, then pixels that
// are still and what preds do there. Computes the bands first <= item * bands + band < last.
int64_t wmscore_response_products_values(int64_t scripts);
int64_t wmscore_response_products_bands(int64_t height, int64_t width);
void wmscore_response_products_cpu(wmscore::Element element, wmscore::Responses task, int64_t first,
                                   int64_t last, double* sums);

// The results, [items, 2 * scripts, 2 * scripts] and [items, 3], of the items first <= item < last.
void wmscore_response_products_finish_cpu(wmscore::Element element, wmscore::Responses task,
                                          int64_t first, int64_t last, const double* sums,
                                          double* products, double* statistics);

// Both for all items, on a device; pixels are 1 element apart. `partials` is scratch of
// wmscore_response_products_scratch(...) bytes, aligned to 16. Returns a cudaError_t.
int64_t wmscore_response_products_scratch(wmscore::Element element, wmscore::Responses task);
int32_t wmscore_response_products_cuda(wmscore::Element element, wmscore::Responses task,
                                       void* partials, double* products, double* statistics,
                                       void* stream);
// Orientation of the edges of each frame, [N, height, width, 2], and its smoothed luma, [N, height,
// width], both float or (for double frames) double. Frames have 1 or 3 channels and at least one
// pixel. Computes the frames first <= n < last.
void wmscore_edge_orientation_cpu(wmscore::Element element, wmscore::Images frames,
                                  int64_t channels, int64_t height, int64_t width, bool window,
                                  int64_t first, int64_t last, void* field, void* luma);
int32_t wmscore_edge_orientation_cuda(wmscore::Element element, wmscore::Images frames,
                                      int64_t images, int64_t channels, int64_t height,
                                      int64_t width, bool window, void* field, void* luma,
                                      void* stream);

// The half spectrum [N, height, width / 2 + 1, 2] of the correlation of two contiguous spectra [N,
// height, width, 2], and the sum of its size [N], float or double. CUDA functions compute all pairs
// and return a cudaError_t, here and below.
void wmscore_cross_power_cpu(bool is_double, const void* spectrum, const void* following,
                             int64_t height, int64_t width, int64_t first, int64_t last,
                             void* power, void* total);
int32_t wmscore_cross_power_cuda(bool is_double, const void* spectrum, const void* following,
                                 int64_t pairs, int64_t height, int64_t width, void* power,
                                 void* total, void* stream);

// Where contiguous surfaces [N, height, width] are largest, [N, 2], and how large, [N].
void wmscore_correlation_peak_cpu(bool is_double, const void* surface, int64_t height,
                                  int64_t width, int64_t reach_y, int64_t reach_x, int64_t first,
                                  int64_t last, int64_t* shift, void* value);
int32_t wmscore_correlation_peak_cuda(bool is_double, const void* surface, int64_t surfaces,
                                      int64_t height, int64_t width, int64_t reach_y,
                                      int64_t reach_x, int64_t* shift, void* value, void* stream);

// Shifts to a fraction of a pixel and the share of the weight that was kept, [N, 3], of contiguous
// smoothed luma [N, height, width] and whole shifts [N, 2].
void wmscore_shift_refine_cpu(bool is_double, const void* luma, const void* following,
                              const int64_t* shift, int64_t height, int64_t width, int64_t first,
                              int64_t last, double* result);
int32_t wmscore_shift_refine_cuda(bool is_double, const void* luma, const void* following,
                                  const int64_t* shift, int64_t pairs, int64_t height,
                                  int64_t width, double* result, void* stream);

}  // extern "C"
