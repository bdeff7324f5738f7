/* Attention of short sequences, one head of one row at a time, all of it in the cache, sums in float32.
   Shapes: B rows, H heads, T queries, S keys, E width of a head. Nothing is kept for the way back but what
   went in: weights are computed again, dropout is drawn again. */
#pragma once
#include <stdlib.h>
#include "numbers.h"

#define LANES 16
typedef float vector __attribute__((vector_size(64), aligned(64)));
#define LOW_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

/* (B, H, T, E) somewhere in memory, in bfloat16 or float32: strides in numbers, the last one is 1. */
typedef struct {
    void *data;
    long row, head, step;
} View;

typedef struct {
    View query, keys, values, written, pull; /* pull: the gradient of what was written */
    View of_query, of_keys, of_values;
    const uint8_t *mask; /* 1 = may be read, with strides of rows, heads, queries and keys; or none */
    long mask_strides[4];
    long rows, heads, steps, key_steps, width;
    long is_low, is_causal;
    uint64_t seed;
    uint32_t dropped_levels;
    float scale;
} Attention;

/* What a thread works in; P, R and F are T, S and E rounded up to whole vectors. */
typedef struct {
    float *query_TF, *keys_SF, *turned_FR, *values_SF, *pull_TF, *weights_TR, *factors_TR, *slope_TR, *out;
    long P, R, F;
    float *whole;
} Desk;

static inline long whole(long count) { return (count + LANES - 1) / LANES * LANES; }

static Desk desk_for(const Attention *a) {
    Desk d = {.P = whole(a->steps), .R = whole(a->key_steps), .F = whole(a->width)};
    long longest = d.P > d.R ? d.P : d.R;
    long sizes[9] = {d.P * d.F, d.R * d.F, d.F * d.R, d.R * d.F, d.P * d.F,
                     d.P * d.R, d.P * d.R, d.P * d.R, longest * d.F};
    float **parts[9] = {&d.query_TF, &d.keys_SF,    &d.turned_FR,  &d.values_SF, &d.pull_TF,
                        &d.weights_TR, &d.factors_TR, &d.slope_TR, &d.out};
    long total = 0;
    for (int i = 0; i < 9; i++) total += sizes[i];
    d.whole = aligned_alloc(64, total * sizeof(float));
    memset(d.whole, 0, total * sizeof(float));
    for (long i = 0, from = 0; i < 9; from += sizes[i++]) *parts[i] = d.whole + from;
    return d;
}

static void fetch(const Attention *a, View view, long row, long head, long steps, long F, float scale, float *to) {
    long from = row * view.row + head * view.head;
    for (long t = 0; t < steps; t++, to += F, from += view.step) {
        if (a->is_low)
            for (long e = 0; e < a->width; e++) to[e] = widened(((const uint16_t *)view.data)[from + e]) * scale;
        else
            for (long e = 0; e < a->width; e++) to[e] = ((const float *)view.data)[from + e] * scale;
    }
}

static void store(const Attention *a, View view, long row, long head, long steps, long F, float *x) {
    long to = row * view.row + head * view.head;
    for (long t = 0; t < steps; t++, x += F, to += view.step) {
        if (a->is_low)
            narrow(x, a->width, (uint16_t *)view.data + to);
        else
            memcpy((float *)view.data + to, x, a->width * sizeof *x);
    }
}

/* to (E, R) = x (T, E) turned, sixteen by sixteen. */
static void turn(const float *x, long F, long R, float *to) {
    for (long t = 0; t < R; t += LANES)
        for (long e = 0; e < F; e += LANES) {
            vector part[LANES], other[LANES];
            for (int i = 0; i < LANES; i++) part[i] = *(const vector *)(x + (t + i) * F + e);
#pragma GCC unroll 4
            for (int half = LANES / 2; half; half /= 2) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES / 2; i++) {
                    other[2 * i] = __builtin_shufflevector(part[i], part[i + 8], LOW_HALVES);
                    other[2 * i + 1] = __builtin_shufflevector(part[i], part[i + 8], HIGH_HALVES);
                }
                memcpy(part, other, sizeof part);
            }
            for (int i = 0; i < LANES; i++) *(vector *)(to + (e + i) * R + t) = part[i];
        }
}

/* c (M, N) = a (M, K), whose strides are given, times b (K, N); N is whole vectors. */
static inline __attribute__((always_inline)) void multiply_some(const float *a, long row_step, long step,
                                                                const float *b, long N, long K, float *c,
                                                                int rows, int vectors) {
    vector sum[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) sum[i][j] = (vector){0};
    for (long k = 0; k < K; k++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            vector column = *(const vector *)(b + k * N + j * LANES);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) sum[i][j] += a[i * row_step + k * step] * column;
        }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) *(vector *)(c + i * N + j * LANES) = sum[i][j];
}

static void multiply(const float *a, long row_step, long step, const float *b, long M, long N, long K, float *c) {
    long m = 0;
    for (; m + 4 <= M; m += 4) {
        long n = 0;
        for (; n + 4 * LANES <= N; n += 4 * LANES)
            multiply_some(a + m * row_step, row_step, step, b + n, N, K, c + m * N + n, 4, 4);
        for (; n + 2 * LANES <= N; n += 2 * LANES)
            multiply_some(a + m * row_step, row_step, step, b + n, N, K, c + m * N + n, 4, 2);
        for (; n < N; n += LANES)
            multiply_some(a + m * row_step, row_step, step, b + n, N, K, c + m * N + n, 4, 1);
    }
    for (; m < M; m++)
        for (long n = 0; n < N; n += LANES)
            multiply_some(a + m * row_step, row_step, step, b + n, N, K, c + m * N + n, 1, 1);
}

/* What is hidden gets a score that makes its weight zero, unless all is hidden: scaled_dot.HIDDEN_SCORE. */
static void hide(const Attention *a, long row, long head, long t, float *scores) {
    if (a->mask) {
        const long *by = a->mask_strides;
        const uint8_t *mask = a->mask + row * by[0] + head * by[1] + t * by[2];
        for (long s = 0; s < a->key_steps; s++) scores[s] += mask[s * by[3]] ? 0.0f : -1e9f;
    }
    if (a->is_causal)
        for (long s = a->key_steps - a->steps + t + 1; s < a->key_steps; s++)
            if (!a->mask || scores[s] > -5e8f) scores[s] += -1e9f;
}

static void softmax_in_place(float *scores, long count) {
    float most = scores[0], total = 0.0f;
    for (long s = 1; s < count; s++) most = scores[s] > most ? scores[s] : most;
    for (long s = 0; s < count; s++) {
        scores[s] = exponential(scores[s] - most);
        total += scores[s];
    }
    float share = 1.0f / total;
    for (long s = 0; s < count; s++) scores[s] *= share;
}

/* Weights before dropout, and what dropout multiplies them with. */
static void weigh(const Attention *a, Desk *d, long row, long head) {
    fetch(a, a->query, row, head, a->steps, d->F, 1.0f / sqrtf((float)a->width), d->query_TF);
    fetch(a, a->keys, row, head, a->key_steps, d->F, 1.0f, d->keys_SF);
    fetch(a, a->values, row, head, a->key_steps, d->F, 1.0f, d->values_SF);
    turn(d->keys_SF, d->F, d->R, d->turned_FR);
    multiply(d->query_TF, d->F, 1, d->turned_FR, a->steps, d->R, a->width, d->weights_TR);
    uint64_t counters = counters_of(d->R); /* as if all blocks were whole, as in scaled_dot.py */
    for (long t = 0; t < a->steps; t++) {
        hide(a, row, head, t, d->weights_TR + t * d->R);
        softmax_in_place(d->weights_TR + t * d->R, a->key_steps);
        if (a->dropped_levels)
            draw(a->seed, ((row * a->heads + head) * d->P + t) * counters, a->key_steps, a->dropped_levels,
                 a->scale, d->factors_TR + t * d->R);
    }
}

static void attend_head(const Attention *a, Desk *d, long row, long head) {
    weigh(a, d, row, head);
    if (a->dropped_levels)
        for (long i = 0; i < a->steps * d->R; i++) d->weights_TR[i] *= d->factors_TR[i];
    multiply(d->weights_TR, d->R, 1, d->values_SF, a->steps, d->F, a->key_steps, d->out);
    store(a, a->written, row, head, a->steps, d->F, d->out);
}

/* The slope of the scores, from that of what was read: through dropout and softmax. */
static void slope_of_scores(const Attention *a, Desk *d) {
    for (long t = 0; t < a->steps; t++) {
        float *slope = d->slope_TR + t * d->R, *weight = d->weights_TR + t * d->R, mean = 0.0f;
        float *factor = d->factors_TR + t * d->R;
        if (a->dropped_levels)
            for (long s = 0; s < a->key_steps; s++) slope[s] *= factor[s];
        for (long s = 0; s < a->key_steps; s++) mean += slope[s] * weight[s];
        for (long s = 0; s < a->key_steps; s++) slope[s] = weight[s] * (slope[s] - mean);
    }
}

static void attend_head_backward(const Attention *a, Desk *d, long row, long head) {
    weigh(a, d, row, head);
    fetch(a, a->pull, row, head, a->steps, d->F, 1.0f, d->pull_TF);
    turn(d->values_SF, d->F, d->R, d->turned_FR);
    multiply(d->pull_TF, d->F, 1, d->turned_FR, a->steps, d->R, a->width, d->slope_TR);
    slope_of_scores(a, d);
    if (a->dropped_levels)
        for (long i = 0; i < a->steps * d->R; i++) d->weights_TR[i] *= d->factors_TR[i];
    multiply(d->weights_TR, 1, d->R, d->pull_TF, a->key_steps, d->F, a->steps, d->out);
    store(a, a->of_values, row, head, a->key_steps, d->F, d->out);
    multiply(d->slope_TR, d->R, 1, d->keys_SF, a->steps, d->F, a->key_steps, d->out);
    for (long i = 0; i < a->steps * d->F; i++) d->out[i] *= 1.0f / sqrtf((float)a->width);
    store(a, a->of_query, row, head, a->steps, d->F, d->out);
    multiply(d->slope_TR, 1, d->R, d->query_TF, a->key_steps, d->F, a->steps, d->out);
    store(a, a->of_keys, row, head, a->key_steps, d->F, d->out);
}

static void attend_all(const Attention *a, void (*head)(const Attention *, Desk *, long, long)) {
#pragma omp parallel
    {
        Desk d = desk_for(a);
#pragma omp for schedule(dynamic, 4)
        for (long i = 0; i < a->rows * a->heads; i++) head(a, &d, i / a->heads, i % a->heads);
        free(d.whole);
    }
}

void short_attention(const Attention *a) { attend_all(a, attend_head); }

void short_attention_backward(const Attention *a) { attend_all(a, attend_head_backward); }
