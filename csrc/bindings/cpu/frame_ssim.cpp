#include <algorithm>
#include <vector>

#include "../frames.h"

namespace {

using wmscore::Element;
using wmscore::Images;
using wmscore::Plane;
using wmscore::Tensor;

constexpr int64_t kStatistics = 3;
constexpr int64_t kThreadPixels = 16384;  // work for a thread to be worth its start

int64_t half_of(int64_t side) { return (side + 1) / 2; }

Element halved(Element element) {
  return element == Element::kUint8     ? Element::kUint16
         : element == Element::kFloat64 ? Element::kFloat64
                                        : Element::kFloat32;
}

int64_t size_of(Element element) {
  return element == Element::kUint16 ? 2 : element == Element::kFloat64 ? 8 : 4;
}

struct Job {
  Element element;
  int64_t element_size;
  Images preds;
  Images target;
  int64_t channels;
  int64_t height;
  int64_t width;
  double data_range;
  bool uniform;
  int64_t scales;
  double* out;  // [planes, scales, 3]

  Plane plane_of(const Images& images, int64_t plane) const {
    const int64_t offset = plane / channels * images.image + plane % channels * images.channel;
    return {static_cast<const char*>(images.data) + offset * element_size, images.row,
            images.pixel};
  }

  double* row_of(int64_t plane, int64_t scale) const {
    return out + (plane * scales + scale) * kStatistics;
  }

  // Of the second level; the others are smaller.
  int64_t level_bytes() const {
    return half_of(height) * half_of(width) * size_of(halved(element));
  }
};

// What the sums of a plane's bands, in their order, come to.
void finish(const Job& job, int64_t height, int64_t width, const double* sums, double* out) {
  const int64_t bands = wmscore_frame_ssim_bands(height, job.uniform);
  std::fill_n(out, kStatistics, 0.0);
  for (int64_t k = 0; k < bands * kStatistics; ++k) out[k % kStatistics] += sums[k];
  const int64_t reach = job.uniform ? 6 : 10;
  const double positions = static_cast<double>((height - reach) * (width - reach));
  for (int64_t k = 0; k < 2; ++k) out[k] = 1 - out[k] / positions;
}

// One scale: bands of all planes share the threads.
void run_one_scale(const Job& job, int64_t planes) {
  const int64_t bands = wmscore_frame_ssim_bands(job.height, job.uniform);
  std::vector<double> sums(planes * bands * kStatistics);
  const int64_t band_pixels = std::max<int64_t>(1, job.height * job.width / bands);
  torch::stable::parallel_for(0, planes * bands, std::max<int64_t>(1, kThreadPixels / band_pixels),
                              [&](int64_t first, int64_t last) {
                                for (int64_t unit = first; unit < last; ++unit) {
                                  wmscore_frame_ssim_cpu(
                                      job.element, job.plane_of(job.preds, unit / bands),
                                      job.plane_of(job.target, unit / bands), job.height, job.width,
                                      job.data_range, job.uniform, 0, unit % bands, nullptr,
                                      nullptr, &sums[unit * kStatistics]);
                                }
                              });
  for (int64_t plane = 0; plane < planes; ++plane)
    finish(job, job.height, job.width, &sums[plane * bands * kStatistics], job.row_of(plane, 0));
}

// Several scales of one plane. `levels` holds two levels of the pyramids of both frames, `sums` the
// bands of a level; for_bands(count, body) calls body(first, last) for parts of 0..count.
template <typename ForBands>
void run_plane(const Job& job, int64_t plane, char* levels, double* sums,
               const ForBands& for_bands) {
  const Element coarse = halved(job.element);
  Plane preds = job.plane_of(job.preds, plane);
  Plane target = job.plane_of(job.target, plane);
  int64_t height = job.height, width = job.width;
  for (int64_t scale = 0; scale < job.scales; ++scale) {
    const bool is_last = scale + 1 == job.scales;
    char* const next = levels + scale % 2 * 2 * job.level_bytes();
    char* const next_target = next + job.level_bytes();
    const int64_t bands = wmscore_frame_ssim_bands(height, job.uniform);
    for_bands(bands, [&](int64_t first, int64_t last) {
      for (int64_t band = first; band < last; ++band) {
        wmscore_frame_ssim_cpu(scale == 0 ? job.element : coarse, preds, target, height, width,
                               job.data_range, job.uniform, static_cast<int32_t>(scale), band,
                               is_last ? nullptr : next, is_last ? nullptr : next_target,
                               sums + band * kStatistics);
      }
    });
    finish(job, height, width, sums, job.row_of(plane, scale));
    height = half_of(height);
    width = half_of(width);
    preds = {next, width, 1};
    target = {next_target, width, 1};
  }
}

// Threads take whole planes, or where those are few the bands of each.
void run_scales(const Job& job, int64_t planes) {
  const int64_t bands = wmscore_frame_ssim_bands(job.height, job.uniform);
  if (planes < torch::stable::get_num_threads() && bands > 1) {
    std::vector<char> levels(4 * job.level_bytes());
    std::vector<double> sums(bands * kStatistics);
    for (int64_t plane = 0; plane < planes; ++plane) {
      run_plane(job, plane, levels.data(), sums.data(), [](int64_t count, const auto& body) {
        torch::stable::parallel_for(0, count, 1, body);
      });
    }
    return;
  }
  torch::stable::parallel_for(
      0, planes, std::max<int64_t>(1, kThreadPixels / (job.height * job.width)),
      [&](int64_t first, int64_t last) {
        std::vector<char> levels(4 * job.level_bytes());
        std::vector<double> sums(bands * kStatistics);
        for (int64_t plane = first; plane < last; ++plane) {
          run_plane(job, plane, levels.data(), sums.data(),
                    [](int64_t count, const auto& body) { body(0, count); });
        }
      });
}

Tensor frame_ssim(const Tensor& preds, const Tensor& target, double data_range, bool uniform,
                  int64_t scales) {
  wmscore::check_pair(preds, target);
  const int64_t window = uniform ? 7 : 11;
  STD_TORCH_CHECK(scales >= 1 && scales <= 5 && data_range > 0, "scales or data_range");
  STD_TORCH_CHECK(std::min(preds.size(2), preds.size(3)) > (window - 1) << (scales - 1),
                  "frames are too small for the window");
  const Tensor out = torch::stable::new_empty(
      preds, {preds.size(0), preds.size(1), scales, kStatistics}, wmscore::ScalarType::Double);
  const Job job{wmscore::element_of(preds),
                static_cast<int64_t>(preds.element_size()),
                wmscore::images_of(preds),
                wmscore::images_of(target),
                preds.size(1),
                preds.size(2),
                preds.size(3),
                data_range,
                uniform,
                scales,
                static_cast<double*>(out.mutable_data_ptr())};
  const int64_t planes = preds.size(0) * preds.size(1);
  if (scales == 1) {
    run_one_scale(job, planes);
  } else {
    run_scales(job, planes);
  }
  return out;
}

}  // namespace

void frame_ssim_cpu(StableIValue* stack, uint64_t inputs, uint64_t outputs) {
  constexpr auto boxed = TORCH_BOX(&frame_ssim);
  boxed(stack, inputs, outputs);
}
