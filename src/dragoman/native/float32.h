/* Linear maps of float32, by the same names as those of 8 bits. Each sum is taken in the order of the inputs: what comes
   out for a row never depends on the rows beside it. */
#ifndef DRAGOMAN_FLOAT32_H
#define DRAGOMAN_FLOAT32_H

#include "rows.h"

#define BLOCK 64 /* outputs that are computed together; weights are padded to whole blocks */
#define TILE 6   /* rows that are computed together */
#define RELU 1
#define ADD 2 /* to what is there */

typedef struct {
    const float *packed; /* [blocks][inputs][BLOCK] */
    const float *scales, *bias; /* no scales */
    int64_t inputs, outputs;
} Linear;

typedef struct {
    float *steps;
} Steps;

INLINE int take_steps(long rows, long padded, Steps *to) {
    to->steps = room_for(rows * padded * sizeof(float));
    return to->steps != NULL;
}

INLINE void leave_steps(Steps steps) { free(steps.steps); }

typedef float Kept; /* keys and values */

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define HAS_PRODUCTS

INLINE __m512 fitting(__m512 x) { return x; }
INLINE void put_kept(Kept *at, __mmask16 real, __m512 x) { _mm512_mask_storeu_ps(at, real, x); }
INLINE __m512 take_kept(const Kept *x, __mmask16 real) { return _mm512_maskz_loadu_ps(real, x); }

INLINE void prepare_row(const float *x, long size, long padded, Steps to, long row) {
    memcpy(to.steps + row * padded, x, size * sizeof(float));
}

/* One tile: `rows` rows from `row` on times one block of outputs. */
INLINE void tile(const Linear *map, Steps x, long row, long block, const int rows, float *out, long stride, int how) {
    const float *steps = x.steps + row * map->inputs;
    __m512 sum[TILE][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) sum[r][c] = _mm512_setzero_ps();
    const float *weights = map->packed + block * map->inputs * BLOCK;
    for (long k = 0; k < map->inputs; k++, weights += BLOCK) {
        __m512 weight[4];
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) weight[c] = _mm512_loadu_ps(weights + 16 * c);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512 step = _mm512_set1_ps(steps[r * map->inputs + k]);
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++) sum[r][c] = _mm512_fmadd_ps(step, weight[c], sum[r][c]);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        long first = block * BLOCK + 16 * c;
        if (first >= map->outputs) break;
        __mmask16 real = lanes_left(map->outputs - first);
        __m512 bias = _mm512_loadu_ps(map->bias + first);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512 value = _mm512_add_ps(sum[r][c], bias);
            float *at = out + r * stride + first;
            if (how & RELU) value = _mm512_max_ps(_mm512_setzero_ps(), value);
            if (how & ADD) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(real, at));
            _mm512_mask_storeu_ps(at, real, value);
        }
    }
}

#endif

#endif
