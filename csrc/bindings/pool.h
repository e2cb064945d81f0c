// What the bindings of label_pool share: its tensors as the pointers of kernels.h.
#pragma once

#include "labels.h"

namespace wmscore {

// The view lives as long as the tensors.
inline Pool pool_of(const Tensor& features, const Tensor& labels, const Tensor& ids) {
  // A backstop: Python has worded these errors for the user already.
  STD_TORCH_CHECK(features.dim() == 4 && labels.dim() == 3 && ids.dim() == 2,
                  "features must be [F, C, h, w], labels [F, H, W] and ids [F, N]");
  STD_TORCH_CHECK(labels.size(0) == features.size(0) && ids.size(0) == features.size(0),
                  "features, labels and ids must have as many frames");
  STD_TORCH_CHECK(labels.device() == features.device() && ids.device() == features.device(),
                  "features, labels and ids must be on one device");
  STD_TORCH_CHECK(ids.scalar_type() == ScalarType::Long && ids.size(1) <= 255,
                  "ids must be int64, at most 255 for each frame");
  STD_TORCH_CHECK(features.size(2) * features.size(3) > 0 || labels.size(1) * labels.size(2) == 0,
                  "features must have a cell for the pixels of labels");
  return {images_of(features),
          features.size(1),
          features.size(2),
          features.size(3),
          {labels.const_data_ptr(), labels.stride(0), labels.stride(1), labels.stride(2),
           label_bytes(labels)},
          labels.size(1),
          labels.size(2),
          static_cast<const int64_t*>(ids.const_data_ptr()),
          ids.stride(0),
          ids.stride(1),
          ids.size(1)};
}

inline ScalarType mean_type(const Tensor& features) {
  return features.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

}  // namespace wmscore
