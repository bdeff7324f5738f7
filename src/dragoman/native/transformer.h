/* Transformers of 8 bits, for answering: what encoder and decoder share. Numbers but weights are float32. */
#ifndef DRAGOMAN_TRANSFORMER_H
#define DRAGOMAN_TRANSFORMER_H

#include "int8.h"

enum { ACT_RELU, ACT_GELU, ACT_SWIGLU, ACT_GEGLU };

typedef struct {
    const float *gain, *shift; /* no shift: RMSNorm */
} Norm;

typedef struct {
    Norm hear_norm, read_norm, feed_norm;
    Linear hear, heard, query, read, feed, fed; /* into and out of attention to itself, to the memory; feed-forward */
} Layer;

typedef struct {
    int64_t layers, width, heads, inner, norm_first, activation;
    float epsilon;
    const Layer *layer;
    Norm last; /* after all layers, if the norms come first */
} Stack;

/* Room of one thread. */
typedef struct {
    float *wide, *normed, *scores;
    const uint16_t **at; /* keys and values of the steps that a row hears */
    uint16_t *kept;      /* those of sources that are encoded */
    Steps steps;
} Room;

INLINE void *room_for(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, bytes + 64) ? NULL : memory;
}

INLINE long widest(const Stack *stack) {
    long parts = stack->activation >= ACT_SWIGLU ? 2 : 1, inner = parts * stack->inner, three = 3 * stack->width;
    return inner > three ? inner : three;
}

INLINE int take_room(const Stack *stack, long rows, long most_steps, Room *room) {
    long wide = widest(stack);
    room->wide = room_for(rows * wide * sizeof(float));
    room->normed = room_for(rows * stack->width * sizeof(float));
    room->scores = room_for((most_steps + LANES) * sizeof(float));
    room->at = room_for(most_steps * sizeof(uint16_t *));
    room->kept = room_for(rows * 2 * stack->width * sizeof(uint16_t));
    room->steps.steps = room_for(rows * (wide + 4));
    room->steps.scales = room_for(rows * sizeof(float));
    room->steps.sums = room_for(rows * sizeof(int32_t));
    return room->wide && room->normed && room->scores && room->at && room->kept && room->steps.steps &&
           room->steps.scales && room->steps.sums;
}

INLINE void leave_room(Room *room) {
    free(room->wide);
    free(room->normed);
    free(room->scores);
    free(room->at);
    free(room->kept);
    free(room->steps.steps);
    free(room->steps.scales);
    free(room->steps.sums);
}

#ifdef __AVX512VNNI__

static void map_rows(const Linear *map, const float *x, long stride, long size, long rows, Steps steps, float *out,
                     long out_stride, int how) {
    for (long r = 0; r < rows; r++) quantise_row(x + r * stride, size, map->inputs, steps, r);
    multiply(map, steps, rows, 0, blocks_of(map), out, out_stride, how);
}

/* What a sublayer reads: the rows themselves, or their norms. */
static const float *before(const Stack *stack, const Norm *norm, const float *x, long rows, Room *room) {
    if (!stack->norm_first) return x;
    for (long r = 0; r < rows; r++)
        norm_row(x + r * stack->width, stack->width, norm->gain, norm->shift, stack->epsilon,
                 room->normed + r * stack->width);
    return room->normed;
}

static void after(const Stack *stack, const Norm *norm, float *x, long rows) {
    if (stack->norm_first) return;
    for (long r = 0; r < rows; r++) {
        float *row = x + r * stack->width;
        norm_row(row, stack->width, norm->gain, norm->shift, stack->epsilon, row);
    }
}

/* Keys and values are kept as float16: what limits attention is how fast they are read. */
typedef uint16_t half;

INLINE void halve(const float *x, long size, half *out) {
    const __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
    for (long i = 0; i < size; i += 16) {
        __mmask16 real = lanes_left(size - i);
        __m512 part = _mm512_maskz_loadu_ps(real, x + i);
        part = _mm512_max_ps(least, _mm512_min_ps(most, part)); /* what is not a number stays so */
        _mm256_mask_storeu_epi16(out + i, real, _mm512_cvtps_ph(part, _MM_FROUND_TO_NEAREST_INT));
    }
}

INLINE __m512 from_half(const half *x, __mmask16 real) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(real, x)); }

/* scores [steps], filled up to whole lanes: their softmax, not yet divided by what is returned. */
INLINE float exponentials(float *scores, long steps) {
    long whole = (steps + LANES - 1) / LANES * LANES;
    float top = largest(scores, steps), sum = 0;
    for (long t = steps; t < whole; t++) scores[t] = -INFINITY;
    for (long t = 0; t < whole; t += LANES)
        for (long l = t; l < t + LANES; l++) sum += scores[l] = exponential(scores[l] - top);
    return sum;
}

/* Answer one query from `steps` keys, with their values `width` further on; `looks` gets the weights, scaled. */
static void attend(const Stack *stack, const float *query, const half *const *keys, long steps, float *scores,
                   float *out, float *looks, float look) {
    long head_width = stack->width / stack->heads, values = stack->width;
    float scale = 1.0f / sqrtf((float)head_width);
    for (long from = 0; from < stack->width; from += head_width) {
        for (long t = 0; t < steps; t++) {
            __m512 sum = _mm512_setzero_ps();
            for (long i = 0; i < head_width; i += 16) {
                __mmask16 real = lanes_left(head_width - i);
                __m512 part = _mm512_maskz_loadu_ps(real, query + from + i);
                sum = _mm512_fmadd_ps(part, from_half(keys[t] + from + i, real), sum);
            }
            scores[t] = scale * _mm512_reduce_add_ps(sum);
        }
        float share = 1.0f / exponentials(scores, steps);
        for (long i = 0; i < head_width; i += 16) {
            __mmask16 real = lanes_left(head_width - i);
            __m512 sum = _mm512_setzero_ps();
            for (long t = 0; t < steps; t++) {
                __m512 weight = _mm512_set1_ps(scores[t] * share);
                sum = _mm512_fmadd_ps(weight, from_half(keys[t] + values + from + i, real), sum);
            }
            _mm512_mask_storeu_ps(out + from + i, real, sum);
        }
        if (looks)
            for (long t = 0; t < steps; t++) looks[t] += look * share * scores[t];
    }
}

/* Turn pairs of the first and the second half of each head (Su et al. 2021). */
static void turn(const Stack *stack, float *x, const float *cosines, const float *sines) {
    long half = stack->width / stack->heads / 2;
    for (long h = 0; h < stack->heads; h++, x += 2 * half)
        for (long i = 0; i < half; i++) {
            float first = x[i], second = x[i + half];
            x[i] = first * cosines[i] - second * sines[i];
            x[i + half] = second * cosines[i] + first * sines[i];
        }
}

static void activate(const Stack *stack, float *inner, long rows, long stride) {
    long size = stack->inner;
    for (long r = 0; r < rows; r++, inner += stride) {
        const float *value = inner + size;
        switch (stack->activation) {
            case ACT_GELU:
                for (long i = 0; i < size; i++) inner[i] *= 0.5f * (1.0f + erf_of(inner[i] * 0.70710678f));
                break;
            case ACT_SWIGLU:
                for (long i = 0; i < size; i++) inner[i] *= value[i] / (1.0f + exponential(-inner[i]));
                break;
            case ACT_GEGLU:
                for (long i = 0; i < size; i++) inner[i] *= value[i] * 0.5f * (1.0f + erf_of(inner[i] * 0.70710678f));
                break;
        }
    }
}

static void feed_forward(const Stack *stack, const Layer *layer, float *x, long rows, Room *room) {
    long width = stack->width, wide = layer->feed.outputs;
    const float *read = before(stack, &layer->feed_norm, x, rows, room);
    int how = stack->activation == ACT_RELU ? RELU : 0;
    map_rows(&layer->feed, read, width, width, rows, room->steps, room->wide, wide, how);
    activate(stack, room->wide, rows, wide);
    map_rows(&layer->fed, room->wide, wide, stack->inner, rows, room->steps, x, width, ADD);
    after(stack, &layer->feed_norm, x, rows);
}

#endif
#endif
