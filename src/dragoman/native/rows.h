/* Loops over rows of float32 that several kernels share. */
#ifndef DRAGOMAN_ROWS_H
#define DRAGOMAN_ROWS_H

#include <stdlib.h>
#include "numbers.h"

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#define omp_get_num_threads() 1
#define omp_get_max_threads() 1
#endif

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* The error function, within 2e-7 (Abramowitz and Stegun 1964, 7.1.26). */
INLINE float erf_of(float x) {
    float size = fabsf(x), t = 1.0f / (1.0f + 0.3275911f * size);
    float sum = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    return copysignf(1.0f - sum * exponential(-size * size), x);
}

INLINE float dot(const float *a, const float *b, long size) {
    float sum = 0;
    for (long i = 0; i < size; i++) sum += a[i] * b[i];
    return sum;
}

#define LANES 16

#ifdef __AVX512F__
INLINE __mmask16 lanes_left(long left) { return left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1); }
#endif

INLINE void *room_for(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, bytes + 64) ? NULL : memory;
}

/* The largest number; what is not a number is passed over. */
INLINE float largest(const float *x, long size) {
    long i = 0;
    float top = -INFINITY;
#ifdef __AVX512F__
    __m512 tops = _mm512_set1_ps(top); /* of two, the second is taken if either is not a number */
    for (; i + LANES <= size; i += LANES) tops = _mm512_max_ps(_mm512_loadu_ps(x + i), tops);
    top = _mm512_reduce_max_ps(tops);
#endif
    for (; i < size; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* LayerNorm, or RMSNorm where there is no shift. */
INLINE void norm_row(const float *x, long size, const float *gain, const float *shift, float epsilon, float *out) {
    float mean = 0, square = 0;
    if (shift) {
        for (long i = 0; i < size; i++) mean += x[i];
        mean /= size;
    }
    for (long i = 0; i < size; i++) square += (x[i] - mean) * (x[i] - mean);
    float scale = 1.0f / sqrtf(square / size + epsilon);
    if (shift) {
        for (long i = 0; i < size; i++) out[i] = (x[i] - mean) * scale * gain[i] + shift[i];
    } else {
        for (long i = 0; i < size; i++) out[i] = x[i] * scale * gain[i];
    }
}

/* The part of `count` that belongs to this thread of a team. */
INLINE void my_share(long count, long *first, long *end) {
    long thread = omp_get_thread_num(), team = omp_get_num_threads();
    *first = count * thread / team;
    *end = count * (thread + 1) / team;
}

#endif
