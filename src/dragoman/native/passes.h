/* Single passes over rows of numbers: norms, dropout around a sum, softmax with its gradient. */
#pragma once
#include <stdlib.h>
#include "numbers.h"

#define SHARES 16 /* of the rows, summed each by itself: sums are the same whatever the number of threads */

/* LayerNorm (is_centred) or RMSNorm of float32; writes the type of either result that is given. */
void norm(const float *x, long rows, long width, const float *weight, const float *bias, long is_centred,
          float epsilon, float *means, float *factors, float *wide, uint16_t *low) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++) {
        const float *restrict in = x + r * width;
        float mean = 0.0f, square = 0.0f;
        if (is_centred) {
            for (long d = 0; d < width; d++) mean += in[d];
            mean /= width;
        }
        for (long d = 0; d < width; d++) square += (in[d] - mean) * (in[d] - mean);
        float factor = 1.0f / sqrtf(square / width + epsilon);
        means[r] = mean, factors[r] = factor;
        if (low)
            for (long d = 0; d < width; d++)
                low[r * width + d] = narrowed((in[d] - mean) * factor * weight[d] + (bias ? bias[d] : 0.0f));
        else
            for (long d = 0; d < width; d++)
                wide[r * width + d] = (in[d] - mean) * factor * weight[d] + (bias ? bias[d] : 0.0f);
    }
}

static void norm_backward_row(const float *x, const float *pull, const float *weight, long width,
                              long is_centred, float mean, float factor, float *of_x,
                              float *restrict of_weight, float *restrict of_bias) {
    float sum = 0.0f, along = 0.0f;
    for (long d = 0; d < width; d++) {
        float normed = (x[d] - mean) * factor, slope = pull[d] * weight[d];
        of_weight[d] += pull[d] * normed;
        of_bias[d] += pull[d];
        sum += slope;
        along += slope * normed;
    }
    sum = is_centred ? sum / width : 0.0f;
    along /= width;
    for (long d = 0; d < width; d++) {
        float slope = pull[d] * weight[d] - sum - (x[d] - mean) * factor * along;
        of_x[d] = slope * factor;
    }
}

/* `pull` is the gradient of what `norm` wrote; `room` is (SHARES, 2, width). */
void norm_backward(const float *x, const void *pull, long pull_is_low, long rows, long width,
                   const float *weight, long is_centred, const float *means, const float *factors,
                   float *of_x, float *of_weight, float *of_bias, float *room) {
    long share = (rows + SHARES - 1) / SHARES;
    memset(room, 0, SHARES * 2 * width * sizeof *room);
#pragma omp parallel
    {
        float *wide = malloc(width * sizeof *wide);
#pragma omp for schedule(static)
        for (long n = 0; n < SHARES; n++)
            for (long r = n * share; r < (n + 1) * share && r < rows; r++) {
                const float *row = (const float *)pull + r * width;
                if (pull_is_low) {
                    for (long d = 0; d < width; d++) wide[d] = widened(((const uint16_t *)pull)[r * width + d]);
                    row = wide;
                }
                norm_backward_row(x + r * width, row, weight, width, is_centred, means[r], factors[r],
                                  of_x + r * width,
                                  room + 2 * n * width, room + (2 * n + 1) * width);
            }
        free(wide);
    }
    for (long d = 0; d < width; d++) of_weight[d] = 0.0f;
    for (long n = 0; n < SHARES; n++)
        for (long d = 0; d < width; d++) of_weight[d] += room[2 * n * width + d];
    if (!of_bias) return;
    for (long d = 0; d < width; d++) of_bias[d] = 0.0f;
    for (long n = 0; n < SHARES; n++)
        for (long d = 0; d < width; d++) of_bias[d] += room[(2 * n + 1) * width + d];
}

/* Factors of dropout for (rows, width), scale or zero. */
void draw_factors(long rows, long width, uint64_t seed, uint32_t dropped_levels, float scale, float *factors) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++)
        draw(seed, r * counters_of(width), width, dropped_levels, scale, factors + r * width);
}

/* out = dropout(x) + residual (or nothing), in float32 or bfloat16 either. */
void drop_and_add(const void *x, long x_is_low, const float *residual, long rows, long width, uint64_t seed,
                  uint32_t dropped_levels, float scale, void *out, long out_is_low) {
#pragma omp parallel for schedule(static)
    for (long r = 0; r < rows; r++)
        for (long from = 0; from < width; from += 64) {
            float factors[64], part[64];
            long count = width - from < 64 ? width - from : 64, place = r * width + from;
            draw(seed, r * counters_of(width) + from / DRAWS, count, dropped_levels, scale, factors);
            if (x_is_low)
                for (long d = 0; d < count; d++) part[d] = widened(((const uint16_t *)x)[place + d]) * factors[d];
            else
                for (long d = 0; d < count; d++) part[d] = ((const float *)x)[place + d] * factors[d];
            if (residual)
                for (long d = 0; d < count; d++) part[d] += residual[place + d];
            if (out_is_low)
                narrow(part, count, (uint16_t *)out + place);
            else
                memcpy((float *)out + place, part, count * sizeof *part);
        }
}

static void read_logits(const void *logits, long is_low, long from, long count, const float *bias, float *to) {
    if (is_low)
        for (long v = 0; v < count; v++) to[v] = widened(((const uint16_t *)logits)[from + v]);
    else
        memcpy(to, (const float *)logits + from, count * sizeof *to);
    if (bias)
        for (long v = 0; v < count; v++) to[v] += bias[v];
}

/* Logarithms of the normalisers, and logits of the targets; where `pulls`, each row of logits becomes
   softmax - (1 - smoothing) at the target. */
void softmax_pull(void *logits, long is_low, long rows, long symbols, const float *bias, const int64_t *targets,
                  float smoothing, long pulls, float *log_normalisers, float *target_logits) {
#pragma omp parallel
    {
        float *row = malloc(symbols * sizeof *row);
#pragma omp for schedule(static)
        for (long r = 0; r < rows; r++) {
            read_logits(logits, is_low, r * symbols, symbols, bias, row);
            float most = row[0], total = 0.0f;
            for (long v = 1; v < symbols; v++) most = row[v] > most ? row[v] : most;
            target_logits[r] = row[targets[r]];
            for (long v = 0; v < symbols; v++) {
                row[v] = exponential(row[v] - most);
                total += row[v];
            }
            log_normalisers[r] = most + logf(total);
            if (!pulls) continue;
            float share = 1.0f / total, gold = row[targets[r]] * share - (1.0f - smoothing);
            if (is_low) {
                uint16_t *out = (uint16_t *)logits + r * symbols;
                for (long v = 0; v < symbols; v++) row[v] *= share;
                narrow(row, symbols, out);
                out[targets[r]] = narrowed(gold);
            } else {
                float *out = (float *)logits + r * symbols;
                for (long v = 0; v < symbols; v++) out[v] = row[v] * share;
                out[targets[r]] = gold;
            }
        }
        free(row);
    }
}
