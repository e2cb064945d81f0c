// What CUDA bindings share: the stream that torch works on, and the check after a launch.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/headeronly/util/shim_utils.h>

namespace wmscore {

inline void* current_stream(int32_t device) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return stream;
}

inline void check_launch(int32_t error) { STD_CUDA_CHECK(static_cast<cudaError_t>(error)); }

}  // namespace wmscore
