/* Products of bfloat16 (`is_low`) or float32 with sums in float32, and what is done to their results while they are in
   the cache. Rows are read in words of 32 bits: pairs of bfloat16, as the processor's vdpbf16ps takes them, or
   single numbers. A result is the same whatever the number of threads: each of its elements is summed by one of
   them, in one order. */
#pragma once
#include <stdlib.h>
#include "numbers.h"

#define TILE_ROWS 6   /* 6 x 64 sums fill 24 of 32 registers */
#define TILE 64       /* columns */
#define BLOCK_ROWS 48 /* rows that share what is read of the other factor */
#define AHEAD 24      /* rows that are asked for before they are turned: their columns lie far apart */
#define DEPTH 128     /* words that are summed before the next tile: 64 columns of them fill a first cache */

/* What becomes of each sum: + bias, ReLU, dropout, closed where `gate` is not positive. */
typedef struct {
    const float *bias;
    long relu;
    uint64_t seed;
    uint32_t dropped_levels; /* 0: no dropout */
    float scale;             /* of what is not dropped, and of what passes the gate */
    const void *gate; /* of the type of the factors */
    float *wide; /* either this is written ... */
    uint16_t *low; /* ... or this */
    long adds; /* to what stands in `wide` */
} Finish;

static inline long least(long a, long b) { return a < b ? a : b; }

#if defined(__AVX512F__)

static inline __attribute__((always_inline)) __m512 add_products(__m512 sum, __m512i row, __m512i column, int is_low) {
#if defined(__AVX512BF16__)
    if (is_low) return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)column);
#endif
    return _mm512_fmadd_ps((__m512)row, (__m512)column, sum);
}

static inline __attribute__((always_inline)) void tile(const uint32_t *const *a, long word_step, long words,
                                                       const uint32_t *b, float *sums, int is_first, int is_low) {
    __m512 sum[TILE_ROWS][4];
#pragma GCC unroll 6
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[i][j] = is_first ? _mm512_setzero_ps() : _mm512_load_ps(sums + i * TILE + j * 16);
    for (long k = 0; k < words; k++, b += TILE) {
        __m512i column[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) column[j] = _mm512_loadu_si512(b + j * 16);
#pragma GCC unroll 6
        for (int i = 0; i < TILE_ROWS; i++) {
            __m512i row = _mm512_set1_epi32((int)a[i][k * word_step]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) sum[i][j] = add_products(sum[i][j], row, column[j], is_low);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm512_store_ps(sums + i * TILE + j * 16, sum[i][j]);
}

/* sums[48][64] = rows of a times one packed panel of 64 columns. */
static inline __attribute__((always_inline)) void sum_words(const uint32_t *a, long row_step, long word_step,
                                                            long rows, long words, const uint32_t *panel,
                                                            float *sums, int is_low) {
    for (long from = 0; from < words; from += DEPTH) {
        long count = least(DEPTH, words - from);
        for (long m = 0; m < rows; m += TILE_ROWS) {
            const uint32_t *row[TILE_ROWS];
            for (int i = 0; i < TILE_ROWS; i++)
                row[i] = a + least(m + i, rows - 1) * row_step + from * word_step;
            tile(row, word_step, count, panel + from * TILE, sums + m * TILE, from == 0, is_low);
        }
    }
}

static void sum_block(const uint32_t *a, long row_step, long word_step, long rows, long words, const uint32_t *panel,
                      float *sums, long is_low) {
    if (is_low)
        sum_words(a, row_step, word_step, rows, words, panel, sums, 1);
    else
        sum_words(a, row_step, word_step, rows, words, panel, sums, 0);
}

static void finish_row(const Finish *f, float *restrict sum, long row, long first, long count, long columns,
                       long is_low) {
    long place = row * columns + first;
    float factors[TILE], scale = f->scale;
    const float *restrict bias = f->bias + first;
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
    if (f->gate && is_low) {
        const int16_t *gate = (const int16_t *)f->gate + place;
        for (long j = 0; j < count; j++) sum[j] *= gate[j] > 0 ? scale : 0.0f;
    } else if (f->gate) {
        const float *gate = (const float *)f->gate + place;
        for (long j = 0; j < count; j++) sum[j] *= gate[j] > 0.0f ? scale : 0.0f;
    }
    if (f->low)
        narrow(sum, count, low);
    else if (f->adds)
        for (long j = 0; j < count; j++) wide[j] += sum[j];
    else
        memcpy(wide, sum, count * sizeof *sum);
}

static void finish_block(const Finish *f, float *sums, long first_row, long rows, long first, long columns,
                         long is_low) {
    for (long m = 0; m < rows; m++)
        finish_row(f, sums + m * TILE, first_row + m, first, least(TILE, columns - first), columns, is_low);
}

/* The word that holds two numbers in bfloat16, or the first of them as it is. */
static inline uint32_t word_of(float first, float second, long is_low) {
    uint32_t word;
    memcpy(&word, &first, 4);
    return is_low ? narrowed(first) | (uint32_t)narrowed(second) << 16 : word;
}

/* A panel of 64 columns for each 64 outputs of a weight (outputs, inputs): [words of inputs][outputs]. */
void pack_outputs(const float *weight, long is_low, long outputs, long inputs, uint32_t *packed) {
    long size = is_low ? 2 : 1, words = inputs / size, panels = (outputs + TILE - 1) / TILE;
#pragma omp parallel for schedule(static)
    for (long panel = 0; panel < panels; panel++) {
        uint32_t *to = packed + panel * words * TILE, turned[TILE][16];
        long count = least(TILE, outputs - panel * TILE);
        memset(turned, 0, sizeof turned);
        for (long from = 0; from < words; from += 16) {
            long here = least(16, words - from);
            for (long n = 0; n < count; n++) {
                const float *row = weight + (panel * TILE + n) * inputs + size * from;
                if (is_low)
                    for (long p = 0; p < here; p++) turned[n][p] = word_of(row[2 * p], row[2 * p + 1], 1);
                else
                    memcpy(turned[n], row, here * sizeof *row);
            }
            for (long p = 0; p < here; p++)
                for (long n = 0; n < TILE; n++) to[(from + p) * TILE + n] = turned[n][p];
        }
    }
}

/* A panel for each 64 inputs of a weight: [words of outputs][inputs]. */
void pack_inputs(const float *weight, long is_low, long outputs, long inputs, uint32_t *packed) {
    long size = is_low ? 2 : 1, words = (outputs + size - 1) / size, panels = (inputs + TILE - 1) / TILE;
#pragma omp parallel for schedule(static)
    for (long panel = 0; panel < panels; panel++) {
        long count = least(TILE, inputs - panel * TILE);
        for (long p = 0; p < words; p++) {
            uint32_t *to = packed + (panel * words + p) * TILE;
            const float *first = weight + size * p * inputs + panel * TILE;
            if (is_low && 2 * p + 1 < outputs)
                for (long n = 0; n < count; n++) to[n] = word_of(first[n], first[n + inputs], 1);
            else
                for (long n = 0; n < count; n++) to[n] = word_of(first[n], 0.0f, is_low);
            for (long n = count; n < TILE; n++) to[n] = 0;
        }
    }
}

/* Two rows side by side in pairs, `count` columns; with their sums, if asked. */
static inline void pair_rows(const uint16_t *even, const uint16_t *odd, long count, uint32_t *restrict to,
                             float *restrict column_sums) {
    if (odd)
        for (long n = 0; n < count; n++) to[n] = even[n] | (uint32_t)odd[n] << 16;
    else
        for (long n = 0; n < count; n++) to[n] = even[n];
    if (column_sums) {
        for (long n = 0; n < count; n++) column_sums[n] += widened(even[n]);
        if (odd)
            for (long n = 0; n < count; n++) column_sums[n] += widened(odd[n]);
    }
}

/* Rows (rows, columns), one after another or two at a time. */
typedef struct {
    const void *data;
    long is_low, rows, columns;
} Rows;

/* Word `number` of each of some columns, the rest zero up to `whole`. */
static inline void take_words(const Rows *x, long number, long first, long count, long whole, uint32_t *restrict to,
                              float *restrict column_sums) {
    if (x->is_low) {
        const uint16_t *even = (const uint16_t *)x->data + 2 * number * x->columns + first;
        pair_rows(even, 2 * number + 1 < x->rows ? even + x->columns : NULL, count, to, column_sums);
    } else {
        const float *row = (const float *)x->data + number * x->columns + first;
        memcpy(to, row, count * sizeof *row);
        for (long n = 0; column_sums && n < count; n++) column_sums[n] += row[n];
    }
    for (long n = count; n < whole; n++) to[n] = 0;
}

/* Ask for a place and `numbers` further on. */
static inline void ask_for_row(const Rows *x, long row, long first, long numbers) {
    long size = x->is_low ? sizeof(uint16_t) : sizeof(float);
    const char *at = (const char *)x->data + (row * x->columns + first) * size;
    for (long i = 0; i < numbers * size; i += 64) __builtin_prefetch(at + i);
    __builtin_prefetch(at + numbers * size - 1);
}

/* (rows, width) x packed (width, columns), finished. `width` is even where numbers come in pairs. */
void product(const void *x, long is_low, long rows, long width, const uint32_t *packed, long columns,
             const Finish *f) {
    long blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, words = is_low ? width / 2 : width;
#pragma omp parallel for schedule(dynamic)
    for (long block = 0; block < blocks; block++) {
        float sums[BLOCK_ROWS * TILE] __attribute__((aligned(64)));
        long first_row = block * BLOCK_ROWS, count = least(BLOCK_ROWS, rows - first_row);
        const uint32_t *a = (const uint32_t *)x + first_row * words;
        for (long first = 0; first < columns; first += TILE) {
            sum_block(a, words, 1, count, words, packed + first * words, sums, is_low);
            finish_block(f, sums, first_row, count, first, columns, is_low);
        }
    }
}

/* Gradients of a weight (outputs, inputs) and of a bias, where one is given, from those of the outputs.
   `room` has as many words as rows have of inputs rounded up to whole tiles. */
void weight_gradient(const void *gradient, const void *x, long is_low, long rows, long outputs, long inputs,
                     uint32_t *room, float *of_bias, const Finish *f) {
    Rows pull = {gradient, is_low, rows, outputs}, in = {x, is_low, rows, inputs};
    long words = is_low ? (rows + 1) / 2 : rows, blocks = (outputs + BLOCK_ROWS - 1) / BLOCK_ROWS;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (long p = 0; p < words; p++)
            for (long first = 0; first < inputs; first += TILE)
                take_words(&in, p, first, least(TILE, inputs - first), TILE,
                           room + (first / TILE * words + p) * TILE, NULL);
        uint32_t *turned = aligned_alloc(64, words * BLOCK_ROWS * sizeof *turned);
        float sums[BLOCK_ROWS * TILE] __attribute__((aligned(64)));
#pragma omp for schedule(dynamic)
        for (long block = 0; block < blocks; block++) {
            long first_row = block * BLOCK_ROWS, count = least(BLOCK_ROWS, outputs - first_row);
            float column_sums[BLOCK_ROWS] = {0};
            for (long p = 0; p < words; p++) {
                ask_for_row(&pull, (is_low ? 2 * p : p) + AHEAD, first_row, BLOCK_ROWS);
                if (is_low) ask_for_row(&pull, 2 * p + 1 + AHEAD, first_row, BLOCK_ROWS);
                take_words(&pull, p, first_row, count, BLOCK_ROWS, turned + p * BLOCK_ROWS,
                           of_bias ? column_sums : NULL);
            }
            if (of_bias)
                for (long n = 0; n < count; n++)
                    of_bias[first_row + n] = column_sums[n] + (f->adds ? of_bias[first_row + n] : 0.0f);
            for (long first = 0; first < inputs; first += TILE) {
                sum_block(turned, 1, BLOCK_ROWS, count, words, room + first * words, sums, is_low);
                finish_block(f, sums, first_row, count, first, inputs, is_low);
            }
        }
        free(turned);
    }
}
#endif
