/* Transformers for answering: what encoder and decoder share, linear maps first. Numbers but weights are float32. */
#ifndef DRAGOMAN_TRANSFORMER_H
#define DRAGOMAN_TRANSFORMER_H

#include "attention.h"

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
    const Kept **at; /* keys and values of the steps that a row hears */
    Kept *kept;      /* those of a source that is encoded */
    Steps steps;
} Room;

INLINE long widest(const Stack *stack) {
    long parts = stack->activation >= ACT_SWIGLU ? 2 : 1, inner = parts * stack->inner, three = 3 * stack->width;
    return inner > three ? inner : three;
}

INLINE int take_room(const Stack *stack, long rows, long most_steps, Room *room) {
    long wide = widest(stack);
    room->wide = room_for(rows * wide * sizeof(float));
    room->normed = room_for(rows * stack->width * sizeof(float));
    room->scores = room_for(GROUP * whole_steps(most_steps) * sizeof(float));
    room->at = room_for(most_steps * sizeof(Kept *));
    room->kept = room_for(room_of_heard(most_steps, stack->width) * sizeof(Kept));
    int ready = take_steps(rows, wide + 4, &room->steps);
    return ready && room->wide && room->normed && room->scores && room->at && room->kept;
}

INLINE void leave_room(Room *room) {
    free(room->wide);
    free(room->normed);
    free(room->scores);
    free(room->at);
    free(room->kept);
    leave_steps(room->steps);
}

#ifdef HAS_PRODUCTS

/* Map prepared rows, for the blocks of outputs from `first` to before `end`. */
static void multiply(const Linear *map, Steps x, long rows, long first, long end, float *out, long stride, int how) {
    for (long block = first; block < end; block++) {
        for (long r = 0; r < rows; r += TILE) {
            float *to = out + r * stride;
#define CASE(n) case n: tile(map, x, r, block, n, to, stride, how); break;
            switch (rows - r) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
                default: tile(map, x, r, block, TILE, to, stride, how);
            }
#undef CASE
        }
    }
}

INLINE long blocks_of(const Linear *map) { return (map->outputs + BLOCK - 1) / BLOCK; }

static void map_rows(const Linear *map, const float *x, long stride, long size, long rows, Steps steps, float *out,
                     long out_stride, int how) {
    for (long r = 0; r < rows; r++) prepare_row(x + r * stride, size, map->inputs, steps, r);
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

/* The norm after all layers, where norms come first. */
static void after_all(const Stack *stack, float *x, long rows) {
    if (!stack->norm_first) return;
    for (long r = 0; r < rows; r++) {
        float *row = x + r * stack->width;
        norm_row(row, stack->width, stack->last.gain, stack->last.shift, stack->epsilon, row);
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
