/* Products of bfloat16 with sums in float32, and what is done to their results while they are in the cache.
   Rows are read in pairs of numbers (uint32_t), as the processor's vdpbf16ps takes them. A result is the same
   whatever the number of threads: each of its elements is summed by one of them, in one order. */
#pragma once
#include <stdlib.h>
#include "numbers.h"

#define TILE_ROWS 6   /* 6 x 64 sums fill 24 of 32 registers */
#define TILE 64       /* columns */
#define BLOCK_ROWS 48 /* rows that share what is read of the other factor */
#define AHEAD 24      /* rows that are asked for before they are turned: their columns lie far apart */
#define DEPTH 128     /* pairs that are summed before the next tile: 64 columns of them fill a first cache */

/* What becomes of each sum: + bias, ReLU, dropout, closed where `gate` is not positive. */
typedef struct {
    const float *bias;
    long relu;
    uint64_t seed;
    uint32_t dropped_levels; /* 0: no dropout */
    float scale;             /* of what is not dropped, and of what passes the gate */
    const uint16_t *gate;
    float *wide; /* either this is written ... */
    uint16_t *low; /* ... or this */
    long adds; /* to what stands in `wide` */
} Finish;

static inline long least(long a, long b) { return a < b ? a : b; }

#if defined(__AVX512BF16__)

static inline __attribute__((always_inline)) void tile(const uint32_t *const *a, long pair_step, long pairs,
                                                       const uint32_t *b, float *sums, int is_first) {
    __m512 sum[TILE_ROWS][4];
#pragma GCC unroll 6
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[i][j] = is_first ? _mm512_setzero_ps() : _mm512_load_ps(sums + i * TILE + j * 16);
    for (long k = 0; k < pairs; k++, b += TILE) {
        __m512bh column[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) column[j] = (__m512bh)_mm512_loadu_si512(b + j * 16);
#pragma GCC unroll 6
        for (int i = 0; i < TILE_ROWS; i++) {
            __m512bh row = (__m512bh)_mm512_set1_epi32((int)a[i][k * pair_step]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], row, column[j]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm512_store_ps(sums + i * TILE + j * 16, sum[i][j]);
}

/* sums[48][64] = rows of a, read in pairs, times one packed panel of 64 columns. */
static inline __attribute__((always_inline)) void sum_block(const uint32_t *a, long row_step, long pair_step,
                                                            long rows, long pairs, const uint32_t *panel,
                                                            float *sums) {
    for (long from = 0; from < pairs; from += DEPTH) {
        long count = least(DEPTH, pairs - from);
        for (long m = 0; m < rows; m += TILE_ROWS) {
            const uint32_t *row[TILE_ROWS];
            for (int i = 0; i < TILE_ROWS; i++)
                row[i] = a + least(m + i, rows - 1) * row_step + from * pair_step;
            tile(row, pair_step, count, panel + from * TILE, sums + m * TILE, from == 0);
        }
    }
}

static void finish_row(const Finish *f, float *restrict sum, long row, long first, long count, long columns) {
    long place = row * columns + first;
    float factors[TILE], scale = f->scale;
    const float *restrict bias = f->bias + first;
    const uint16_t *restrict gate = f->gate + place;
    float *restrict wide = f->wide + place;
    uint16_t *restrict low = f->low + place;
    if (f->bias)
        for (long j = 0; j < count; j++) sum[j] += bias[j];
    if (f->relu)
        for (long j = 0; j < count; j++) sum[j] = sum[j] > 0.0f ? sum[j] : 0.0f;
    if (f->dropped_levels) {
        draw(f->seed, row * counters_of(columns) + first / DRAWS, count, f->dropped_levels, scale, factors);
        for (long j = 0; j < count; j++) sum[j] *= factors[j];
    }
    if (f->gate)
        for (long j = 0; j < count; j++) sum[j] *= (int16_t)gate[j] > 0 ? scale : 0.0f;
    if (f->low)
        narrow(sum, count, low);
    else if (f->adds)
        for (long j = 0; j < count; j++) wide[j] += sum[j];
    else
        memcpy(wide, sum, count * sizeof *sum);
}

static void finish_block(const Finish *f, float *sums, long first_row, long rows, long first, long columns) {
    for (long m = 0; m < rows; m++)
        finish_row(f, sums + m * TILE, first_row + m, first, least(TILE, columns - first), columns);
}

/* A panel of 64 columns for each 64 outputs of a weight (outputs, inputs): [pairs of inputs][outputs]. */
void pack_outputs(const float *weight, long outputs, long inputs, uint32_t *packed) {
    long pairs = inputs / 2, panels = (outputs + TILE - 1) / TILE;
#pragma omp parallel for schedule(static)
    for (long panel = 0; panel < panels; panel++) {
        uint32_t *to = packed + panel * pairs * TILE, turned[TILE][16];
        long count = least(TILE, outputs - panel * TILE);
        memset(turned, 0, sizeof turned);
        for (long from = 0; from < pairs; from += 16) {
            long here = least(16, pairs - from);
            for (long n = 0; n < count; n++) {
                const float *row = weight + (panel * TILE + n) * inputs + 2 * from;
                for (long p = 0; p < here; p++)
                    turned[n][p] = narrowed(row[2 * p]) | (uint32_t)narrowed(row[2 * p + 1]) << 16;
            }
            for (long p = 0; p < here; p++)
                for (long n = 0; n < TILE; n++) to[(from + p) * TILE + n] = turned[n][p];
        }
    }
}

/* A panel for each 64 inputs of a weight: [pairs of outputs][inputs]. */
void pack_inputs(const float *weight, long outputs, long inputs, uint32_t *packed) {
    long pairs = (outputs + 1) / 2, panels = (inputs + TILE - 1) / TILE;
#pragma omp parallel for schedule(static)
    for (long panel = 0; panel < panels; panel++) {
        long count = least(TILE, inputs - panel * TILE);
        for (long p = 0; p < pairs; p++) {
            uint32_t *to = packed + (panel * pairs + p) * TILE;
            const float *even = weight + 2 * p * inputs + panel * TILE;
            const float *odd = 2 * p + 1 < outputs ? even + inputs : NULL;
            for (long n = 0; n < count; n++) to[n] = narrowed(even[n]);
            if (odd)
                for (long n = 0; n < count; n++) to[n] |= (uint32_t)narrowed(odd[n]) << 16;
            for (long n = count; n < TILE; n++) to[n] = 0;
        }
    }
}

/* Two rows side by side in pairs, `count` columns, the rest zero up to `whole`; with their sums, if asked. */
static inline void pair_rows(const uint16_t *even, const uint16_t *odd, long count, long whole,
                             uint32_t *restrict to, float *restrict column_sums) {
    if (odd)
        for (long n = 0; n < count; n++) to[n] = even[n] | (uint32_t)odd[n] << 16;
    else
        for (long n = 0; n < count; n++) to[n] = even[n];
    for (long n = count; n < whole; n++) to[n] = 0;
    if (column_sums) {
        for (long n = 0; n < count; n++) column_sums[n] += widened(even[n]);
        if (odd)
            for (long n = 0; n < count; n++) column_sums[n] += widened(odd[n]);
    }
}

/* (rows, width) x packed (width, columns), finished. `width` is even. */
void product(const uint16_t *x, long rows, long width, const uint32_t *packed, long columns, const Finish *f) {
    long blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, pairs = width / 2;
#pragma omp parallel for schedule(dynamic)
    for (long block = 0; block < blocks; block++) {
        float sums[BLOCK_ROWS * TILE] __attribute__((aligned(64)));
        long first_row = block * BLOCK_ROWS, count = least(BLOCK_ROWS, rows - first_row);
        const uint32_t *a = (const uint32_t *)(x + first_row * width);
        for (long first = 0; first < columns; first += TILE) {
            sum_block(a, pairs, 1, count, pairs, packed + first * pairs, sums);
            finish_block(f, sums, first_row, count, first, columns);
        }
    }
}

/* Gradients of a weight (outputs, inputs) and of a bias, where one is given, from those of the outputs.
   `room` has rows rounded up to pairs x inputs rounded up to whole tiles. */
void weight_gradient(const uint16_t *gradient, const uint16_t *x, long rows, long outputs, long inputs,
                     uint32_t *room, float *of_bias, const Finish *f) {
    long pairs = (rows + 1) / 2, blocks = (outputs + BLOCK_ROWS - 1) / BLOCK_ROWS;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (long p = 0; p < pairs; p++)
            for (long first = 0; first < inputs; first += TILE) {
                const uint16_t *even = x + 2 * p * inputs + first;
                pair_rows(even, 2 * p + 1 < rows ? even + inputs : NULL, least(TILE, inputs - first), TILE,
                          room + (first / TILE * pairs + p) * TILE, NULL);
            }
        uint32_t *turned = aligned_alloc(64, pairs * BLOCK_ROWS * sizeof *turned);
        float sums[BLOCK_ROWS * TILE] __attribute__((aligned(64)));
#pragma omp for schedule(dynamic)
        for (long block = 0; block < blocks; block++) {
            long first_row = block * BLOCK_ROWS, count = least(BLOCK_ROWS, outputs - first_row);
            float column_sums[BLOCK_ROWS] = {0};
            for (long p = 0; p < pairs; p++) {
                const uint16_t *even = gradient + 2 * p * outputs + first_row;
                for (int ahead = AHEAD; ahead < AHEAD + 2; ahead++) {
                    __builtin_prefetch(even + ahead * outputs);
                    __builtin_prefetch(even + ahead * outputs + BLOCK_ROWS - 1);
                }
                pair_rows(even, 2 * p + 1 < rows ? even + outputs : NULL, count, BLOCK_ROWS,
                          turned + p * BLOCK_ROWS, of_bias ? column_sums : NULL);
            }
            if (of_bias)
                for (long n = 0; n < count; n++)
                    of_bias[first_row + n] = column_sums[n] + (f->adds ? of_bias[first_row + n] : 0.0f);
            for (long first = 0; first < inputs; first += TILE) {
                sum_block(turned, 1, BLOCK_ROWS, count, pairs, room + first * pairs, sums);
                finish_block(f, sums, first_row, count, first, inputs);
            }
        }
        free(turned);
    }
}
#endif
