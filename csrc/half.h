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

// To the nearest, ties to even.
WMSCORE_HOST_DEVICE inline void narrow(float value, float& out) { out = value; }

WMSCORE_HOST_DEVICE inline void narrow(double value, double& out) { out = value; }

WMSCORE_HOST_DEVICE inline void narrow(float value, Bfloat16& out) {
  const uint32_t bits = bits_from_float(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
  out.bits = static_cast<uint16_t>(is_nan ? 0x7fc0u : rounded >> 16);
}

WMSCORE_HOST_DEVICE inline void narrow(float value, Half& out) {
#ifdef __CUDA_ARCH__
  out.bits = __half_as_ushort(__float2half_rn(value));
#else
  const uint32_t sign = bits_from_float(value) >> 16 & 0x8000u;
  const uint32_t magnitude = bits_from_float(value) & 0x7fffffffu;
  uint32_t bits;
  if (magnitude > 0x7f800000u) {
    bits = 0x7e00u;  // NaN
  } else if (magnitude >= 0x477ff000u) {
    bits = 0x7c00u;  // 65520 and more: infinite
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 leaves multiples of 2^-24 in the last bits of the sum.
    bits = bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    bits = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
  out.bits = static_cast<uint16_t>(sign | bits);
#endif
}

}  // namespace wmscore
