// Every kernel's signature: pointers, sizes and a stream. No torch, no CUDA and no Python header,
// so that a kernel compiles in a second and can be called from a test or from another framework.
#pragma once

#include <cstdint>

namespace wmscore {

enum class Element : int32_t { kUint8, kFloat16, kBfloat16, kFloat32, kFloat64 };

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

}  // namespace wmscore

extern "C" {

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

}  // extern "C"
