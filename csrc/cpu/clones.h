// One source for the baseline processor and for AVX2, chosen when the program runs.
#pragma once

// Compiled twice by the compiler itself; the loader picks.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    __GNUC__ >= 12
#define WMSCORE_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define WMSCORE_CLONES
#endif

// What a clone calls must become part of it, or it stays compiled for the baseline.
#if defined(__GNUC__)
#define WMSCORE_INLINE inline __attribute__((always_inline))
#else
#define WMSCORE_INLINE inline
#endif

// Where intrinsics are worth writing: a function marked WMSCORE_AVX2, called if has_avx2().
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WMSCORE_AVX2 __attribute__((target("avx2")))

namespace wmscore {

inline bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}

}  // namespace wmscore
#endif
