/* Linear maps of 8 bits: weights have a scale an output, inputs a scale a row, found when the row comes. Keys and
   values are kept as float16: what limits attention is how fast they are read. */
#ifndef DRAGOMAN_INT8_H
#define DRAGOMAN_INT8_H

#include "rows.h"

#define BLOCK 64 /* outputs that are computed together; weights are padded to whole blocks */
#define TILE 6   /* rows that are computed together */
#define RELU 1
#define ADD 2 /* to what is there */

typedef struct {
    const uint8_t *packed; /* [blocks][inputs / 4][BLOCK][4], weights + 128 */
    const float *scales, *bias;
    int64_t inputs, outputs; /* inputs: a multiple of 4, padded with zeros */
} Linear;

typedef struct {
    int8_t *steps; /* rows in 8 bits */
    float *scales;
    int32_t *sums; /* of the steps of each row, times 128: what weights + 128 give too much */
} Steps;

INLINE int take_steps(long rows, long padded, Steps *to) {
    *to = (Steps){room_for(rows * padded), room_for(rows * sizeof(float)), room_for(rows * sizeof(int32_t))};
    return to->steps && to->scales && to->sums;
}

INLINE void leave_steps(Steps steps) {
    free(steps.steps);
    free(steps.scales);
    free(steps.sums);
}

typedef uint16_t Kept; /* keys and values */

#ifdef __AVX512VNNI__
#define HAS_PRODUCTS

INLINE __m512 fitting(__m512 x) { /* what is not a number stays so */
    return _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), x));
}

INLINE void put_kept(Kept *at, __mmask16 real, __m512 x) {
    _mm256_mask_storeu_epi16(at, real, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

INLINE __m512 take_kept(const Kept *x, __mmask16 real) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(real, x)); }

/* A row with anything that is not a number becomes nothing but such. */
INLINE void prepare_row(const float *x, long size, long padded, Steps to, long row) {
    __m512 tops = _mm512_setzero_ps(), total = tops;
    for (long i = 0; i < size; i += 16) {
        __m512 part = _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes_left(size - i), x + i));
        tops = _mm512_max_ps(tops, part);
        total = _mm512_add_ps(total, part);
    }
    float scale = _mm512_reduce_max_ps(tops) * (1.0f / 127), trace = _mm512_reduce_add_ps(total);
    scale = scale > 1e-30f ? scale : 1e-30f;
    __m512 inverse = _mm512_set1_ps(1.0f / scale);
    __m512i sum = _mm512_setzero_si512();
    int8_t *steps = to.steps + row * padded;
    for (long i = 0; i < size; i += 16) {
        __mmask16 real = lanes_left(size - i);
        __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(real, x + i), inverse));
        sum = _mm512_add_epi32(sum, whole);
        _mm512_mask_cvtsepi32_storeu_epi8(steps + i, real, whole);
    }
    for (long i = size; i < padded; i++) steps[i] = 0;
    to.scales[row] = isnan(trace) ? trace : scale;
    to.sums[row] = 128 * _mm512_reduce_add_epi32(sum);
}

/* One tile: `rows` rows from `row` on times one block of outputs. */
INLINE void tile(const Linear *map, Steps x, long row, long block, const int rows, float *out, long stride, int how) {
    const int8_t *steps = x.steps + row * map->inputs;
    const float *scales = x.scales + row;
    const int32_t *sums = x.sums + row;
    __m512i sum[TILE][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) sum[r][c] = _mm512_setzero_si512();
    const uint8_t *weights = map->packed + block * map->inputs * BLOCK;
    for (long k = 0; k < map->inputs; k += 4, weights += 4 * BLOCK) {
        __m512i weight[4];
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) weight[c] = _mm512_loadu_si512(weights + 64 * c);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, steps + r * map->inputs + k, 4);
            __m512i step = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++) sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], weight[c], step);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        long first = block * BLOCK + 16 * c;
        if (first >= map->outputs) break;
        __mmask16 real = lanes_left(map->outputs - first);
        __m512 scale = _mm512_loadu_ps(map->scales + first), bias = _mm512_loadu_ps(map->bias + first);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512i exact = _mm512_sub_epi32(sum[r][c], _mm512_set1_epi32(sums[r]));
            __m512 scaled = _mm512_mul_ps(scale, _mm512_set1_ps(scales[r]));
            __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), scaled, bias);
            float *at = out + r * stride + first;
            if (how & RELU) value = _mm512_max_ps(_mm512_setzero_ps(), value);
            if (how & ADD) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(real, at));
            _mm512_mask_storeu_ps(at, real, value);
        }
    }
}

#endif

#endif
