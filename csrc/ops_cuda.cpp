// The CUDA kernels, one line each: wmscore::<op> runs <op>_cuda, which bindings/cuda/<op>.cpp
// defines. The schemas are in Python (wmscore/ops).
#include <torch/csrc/stable/library.h>

// clang-format off
#define WMSCORE_CUDA_OPS(OP) \
  OP(assignment) \
  OP(block_flow) \
  OP(correlation_peak) \
  OP(cross_power) \
  OP(edge_orientation) \
  OP(feature_distance) \
  OP(feature_distance_backward) \
  OP(first_crossing) \
  OP(frame_errors) \
  OP(frame_flip) \
  OP(frame_haarpsi) \
  OP(frame_quality) \
  OP(frame_region_errors) \
  OP(frame_ssim) \
  OP(frame_ssim_backward) \
  OP(label_overlap) \
  OP(label_pool) \
  OP(label_present) \
  OP(label_propagate) \
  OP(response_products) \
  OP(shift_refine)
// clang-format on

#define DECLARE(op) void op##_cuda(StableIValue* stack, uint64_t inputs, uint64_t outputs);
WMSCORE_CUDA_OPS(DECLARE)

STABLE_TORCH_LIBRARY_IMPL(wmscore, CUDA, m) {
#define REGISTER(op) m.impl(#op, &op##_cuda);
  WMSCORE_CUDA_OPS(REGISTER)
}
