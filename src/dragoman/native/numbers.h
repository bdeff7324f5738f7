/* Numbers of half the width, an exponential and its kin that compilers make vectors of, and draws that a seed says. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define DRAWS 4 /* of 16 bits, from each number of 64 */

static inline float widened(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}

/* To the nearest, ties to even; what is not a number stays so, as the middle of its bits is kept. */
static inline uint16_t narrowed(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(x != x ? bits >> 16 | 0x40 : rounded);
}

static inline void narrow(const float *x, long count, uint16_t *to) {
    long i = 0;
#if defined(__AVX512BF16__)
    for (; i + 16 <= count; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
#endif
    for (; i < count; i++) to[i] = narrowed(x[i]);
}

/* e^x, relative error below 2e-7 (polynomial of Cephes' expf); 0 where float has no such number, what is larger than
   e^88 is e^88, what is not a number stays so. The parts of log 2 are taken off one by one: sums keep their order. */
static inline float exponential(float x) {
    x = x < -88.0f ? -88.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float whole = nearbyintf(x * 1.44269504f);
    float rest = __builtin_fmaf(whole, 2.12194440e-4f, __builtin_fmaf(whole, -0.693359375f, x));
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)whole + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return sum * scale;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
static inline float hyperbolic(float x) { return 1.0f - 2.0f / (1.0f + exponential(2.0f * x)); }

/* SplitMix64 (Steele et al. 2014): number `counter` of the stream that this seed begins. */
static inline uint64_t drawn(uint64_t seed, uint64_t counter) {
    uint64_t z = seed + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* What to multiply elements with, `count` of them from a multiple of DRAWS on: `scale`, or 0 where dropped. */
static inline void draw(uint64_t seed, uint64_t first_counter, long count, uint32_t dropped_levels,
                        float scale, float *factors) {
    uint16_t levels[64];
    for (long from = 0; from < count; from += 64) {
        uint64_t numbers[64 / DRAWS];
        for (int i = 0; i < 64 / DRAWS; i++) numbers[i] = drawn(seed, first_counter + from / DRAWS + i);
        memcpy(levels, numbers, sizeof levels);
        long here = count - from < 64 ? count - from : 64;
        for (long i = 0; i < here; i++) factors[from + i] = levels[i] >= dropped_levels ? scale : 0.0f;
    }
}

static inline uint64_t counters_of(long columns) { return (columns + DRAWS - 1) / DRAWS; }
