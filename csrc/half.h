// float16 and bfloat16 as their bits, widened to float exactly.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define WMSCORE_HOST_DEVICE __host__ __device__
#else
#define WMSCORE_HOST_DEVICE
#endif

namespace wmscore {

struct Half {
  uint16_t bits;
};

struct Bfloat16 {
  uint16_t bits;
};

WMSCORE_HOST_DEVICE inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

WMSCORE_HOST_DEVICE inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

WMSCORE_HOST_DEVICE inline uint8_t widen(uint8_t value) { return value; }

WMSCORE_HOST_DEVICE inline uint16_t widen(uint16_t value) { return value; }

WMSCORE_HOST_DEVICE inline double widen(double value) { return value; }

WMSCORE_HOST_DEVICE inline float widen(float value) { return value; }

WMSCORE_HOST_DEVICE inline float widen(Bfloat16 value) {
  return float_from_bits(static_cast<uint32_t>(value.bits) << 16);
}

WMSCORE_HOST_DEVICE inline float widen(Half value) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(value.bits));
#else
  // No branch, so that the loop around it vectorises. No subnormal float, so that the processor's
  // flush-to-zero mode cannot change the result: 2^-14 (1 + m / 1024) - 2^-14 = 2^-24 m.
  constexpr uint32_t kBias = (127u - 15u) << 23;
  constexpr uint32_t kOne = 1u << 23;
  const uint32_t magnitude = (value.bits & 0x7fffu) << 13;
  const uint32_t normal = magnitude + kBias;
  const uint32_t subnormal =
      bits_from_float(float_from_bits(normal + kOne) - float_from_bits(kBias + kOne));
  const uint32_t is_subnormal = 0u - static_cast<uint32_t>(magnitude < kOne);
  const uint32_t is_special =
      0u - static_cast<uint32_t>(magnitude >= 31u * kOne);  // infinite or NaN
  const uint32_t bits =
      ((normal & ~is_subnormal) | (subnormal & is_subnormal)) + (kBias & is_special);
  return float_from_bits(bits | (static_cast<uint32_t>(value.bits) & 0x8000u) << 16);
#endif
}

}  // namespace wmscore
