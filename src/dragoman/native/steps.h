/* One step of a Transformer decoder. */
#ifndef DRAGOMAN_STEPS_H
#define DRAGOMAN_STEPS_H

#include "transformer.h"

#ifdef HAS_PRODUCTS

typedef struct {
    int64_t rows, steps;            /* `steps` were taken before this one */
    float *x;                       /* [rows, width], in and out */
    const Kept *const *past;        /* [steps + 1]: of each step, keys and values [layers, its rows, 2 width] */
    const int64_t *past_rows;       /* [steps + 1]: the rows that each step had */
    const int32_t *slots;           /* [rows, slots_stride]: which of these rows led to each row of now */
    int64_t slots_stride;
    const int64_t *sources;         /* [rows]: the source of each; rows of one lie side by side */
    const Kept *memory;             /* of each source, of each layer: what `keep_memory` has left */
    const int64_t *first, *lengths; /* [sources]: where each source begins there, in numbers, and its steps */
    const float *cosines, *sines;   /* [head width / 2] of this step, or NULL */
    float *looks;                   /* [rows, looks_stride], zeros, or NULL */
    int64_t looks_stride;
} Step;

/* Ask for what a row will read, but for what the row before it reads as well. */
INLINE void ask_for(const Stack *stack, const Step *step, long number, long row) {
    const int32_t *slots = step->slots + row * step->slots_stride, *before = slots - step->slots_stride;
    for (long t = 0; t < step->steps; t++)
        if (slots[t] != before[t]) {
            const Kept *at = step->past[t] + (number * step->past_rows[t] + slots[t]) * 2 * stack->width;
            for (long i = 0; i < 2 * stack->width; i += 32) __builtin_prefetch(at + i);
        }
}

static void hear(const Stack *stack, const Step *step, long number, long first, long rows, Room *room) {
    long width = stack->width, now = step->steps;
    for (long r = 0; r < rows; r++) {
        float *row = room->wide + r * 3 * width;
        if (step->cosines) {
            turn(row, width, stack->heads, step->cosines, step->sines);
            turn(row + width, width, stack->heads, step->cosines, step->sines);
        }
        Kept *kept = (Kept *)step->past[now] + (number * step->past_rows[now] + first + r) * 2 * width;
        keep_row(row + width, 2 * width, kept);
        if (r + 1 < rows) ask_for(stack, step, number, first + r + 1);
        const int32_t *slots = step->slots + (first + r) * step->slots_stride;
        for (long t = 0; t < now; t++)
            room->at[t] = step->past[t] + (number * step->past_rows[t] + slots[t]) * 2 * width;
        room->at[now] = kept;
        attend_own(row, room->at, now + 1, width, stack->heads, room->scores, room->normed + r * width);
    }
}

INLINE Kept *kept_of(const Step *step, long source, long number, long width) {
    return (Kept *)step->memory + step->first[source] + number * room_of_heard(step->lengths[source], width);
}

static void look(const Stack *stack, const Step *step, long number, long first, long rows, Room *room) {
    long width = stack->width, end = first + rows;
    float share = 1.0f / (stack->heads * stack->layers);
    for (long r = first, next; r < end; r = next) {
        long source = step->sources[r], length = step->lengths[source];
        for (next = r + 1; next < end && step->sources[next] == source;) next++;
        Heard heard = heard_at(kept_of(step, source, number, width), length);
        if (next < end) heard.ahead = kept_of(step, step->sources[next], number, width);
        float *looks = step->looks ? step->looks + r * step->looks_stride : NULL;
        attend_together(room->wide + (r - first) * width, width, next - r, heard, width, stack->heads, room->scores,
                        room->normed + (r - first) * width, looks, step->looks_stride, share);
    }
}

/* Not inlined: sums are taken in one order, whoever asks. */
static __attribute__((noinline)) void step_rows(const Stack *stack, const Step *step, long first, long rows, Room *room) {
    long width = stack->width;
    float *x = step->x + first * width;
    for (long number = 0; number < stack->layers; number++) {
        const Layer *layer = stack->layer + number;
        const float *read = before(stack, &layer->hear_norm, x, rows, room);
        map_rows(&layer->hear, read, width, width, rows, room->steps, room->wide, 3 * width, 0);
        hear(stack, step, number, first, rows, room);
        map_rows(&layer->heard, room->normed, width, width, rows, room->steps, x, width, ADD);
        after(stack, &layer->hear_norm, x, rows);
        read = before(stack, &layer->read_norm, x, rows, room);
        map_rows(&layer->query, read, width, width, rows, room->steps, room->wide, width, 0);
        look(stack, step, number, first, rows, room);
        map_rows(&layer->read, room->normed, width, width, rows, room->steps, x, width, ADD);
        after(stack, &layer->read_norm, x, rows);
        feed_forward(stack, layer, x, rows, room);
    }
    after_all(stack, x, rows);
}

#endif
#endif
