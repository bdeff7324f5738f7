/* Answering with products of 8-bit integers: linear maps, Transformer encoders, steps of Transformer decoders. */
#include "transformer.h"

#ifdef __AVX512VNNI__
int has_int8(void) { return 1; }

/* Map x [rows, size] to out [rows, outputs]; returns 0 where there is no memory. */
int linear(const Linear *map, const float *x, int64_t rows, int64_t size, float *out) {
    Steps steps = {room_for(rows * map->inputs), room_for(rows * sizeof(float)), room_for(rows * sizeof(int32_t))};
    int ready = steps.steps && steps.scales && steps.sums;
    if (ready) {
        for (long r = 0; r < rows; r++) quantise_row(x + r * size, size, map->inputs, steps, r);
#pragma omp parallel if (rows * map->inputs * map->outputs > 4000000)
        {
            long first, end;
            my_share(blocks_of(map), &first, &end);
            multiply(map, steps, rows, first, end, out, map->outputs, 0);
        }
    }
    free(steps.steps);
    free(steps.scales);
    free(steps.sums);
    return ready;
}

typedef struct {
    int64_t sources;
    const int64_t *first; /* [sources + 1], where the steps of each source begin */
    float *x;             /* [steps, width], in and out */
    const float *cosines, *sines; /* [longest, head width / 2], or NULL */
} Read;

static void read_sources(const Stack *stack, const Read *read, long first, long end, Room *room) {
    long width = stack->width, start = read->first[first], rows = read->first[end] - start;
    float *x = read->x + start * width;
    for (const Layer *layer = stack->layer; layer < stack->layer + stack->layers; layer++) {
        const float *heard = before(stack, &layer->hear_norm, x, rows, room);
        map_rows(&layer->hear, heard, width, width, rows, room->steps, room->wide, 3 * width, 0);
        for (long n = first; n < end; n++) {
            float *source = room->wide + (read->first[n] - start) * 3 * width;
            long steps = read->first[n + 1] - read->first[n], waves = width / stack->heads / 2;
            for (long t = 0; t < steps; t++) {
                float *row = source + t * 3 * width;
                if (read->cosines) {
                    turn(stack, row, read->cosines + t * waves, read->sines + t * waves);
                    turn(stack, row + width, read->cosines + t * waves, read->sines + t * waves);
                }
                half *kept = room->kept + (read->first[n] - start + t) * 2 * width;
                halve(row + width, 2 * width, kept);
                room->at[t] = kept;
            }
            for (long t = 0; t < steps; t++)
                attend(stack, source + t * 3 * width, room->at, steps, room->scores,
                       room->normed + (read->first[n] - start + t) * width, NULL, 0);
        }
        map_rows(&layer->heard, room->normed, width, width, rows, room->steps, x, width, ADD);
        after(stack, &layer->hear_norm, x, rows);
        feed_forward(stack, layer, x, rows, room);
    }
    if (stack->norm_first)
        for (long r = 0; r < rows; r++)
            norm_row(x + r * width, width, stack->last.gain, stack->last.shift, stack->epsilon, x + r * width);
}

/* Read sources whose steps lie one after another, without padding; returns 0 where there is no memory. */
int encode(const Stack *stack, const Read *read) {
    long steps = read->first[read->sources], longest = 0;
    int ready = 1;
    for (long n = 0; n < read->sources; n++) {
        long length = read->first[n + 1] - read->first[n];
        longest = length > longest ? length : longest;
    }
#pragma omp parallel if (steps > 64) reduction(& : ready)
    {
        Room room;
        long first, end;
        my_share(read->sources, &first, &end);
        ready = take_room(stack, read->first[end] - read->first[first], longest, &room);
        if (ready && end > first) read_sources(stack, read, first, end, &room);
        leave_room(&room);
    }
    return ready;
}

typedef struct {
    int64_t rows, beams, steps;     /* `steps` were taken before this one */
    float *x;                       /* [rows, width], in and out */
    const half *const *past;        /* [steps + 1]: of each step, keys and values [layers, its rows, 2 width] */
    const int64_t *past_rows;       /* [steps + 1]: the rows that each step had */
    const int32_t *slots;           /* [rows, steps]: which of these rows led to each row of now */
    const half *memory;             /* [source steps, layers, 2 width]: keys and values */
    const int64_t *first, *lengths; /* [sources]: where each source begins there, and its steps */
    const float *cosines, *sines;   /* [head width / 2] of this step, or NULL */
    float *looks;                   /* [rows, looks_stride], zeros, or NULL */
    int64_t looks_stride;
} Step;

static void hear(const Stack *stack, const Step *step, long number, long first, long rows, Room *room) {
    long width = stack->width, now = step->steps;
    for (long r = 0; r < rows; r++) {
        float *row = room->wide + r * 3 * width;
        if (step->cosines) {
            turn(stack, row, step->cosines, step->sines);
            turn(stack, row + width, step->cosines, step->sines);
        }
        half *kept = (half *)step->past[now] + (number * step->past_rows[now] + first + r) * 2 * width;
        halve(row + width, 2 * width, kept);
        const int32_t *slots = step->slots + (first + r) * now;
        for (long t = 0; t < now; t++)
            room->at[t] = step->past[t] + (number * step->past_rows[t] + slots[t]) * 2 * width;
        room->at[now] = kept;
        attend(stack, row, room->at, now + 1, room->scores, room->normed + r * width, NULL, 0);
    }
}

static void look(const Stack *stack, const Step *step, long number, long first, long rows, Room *room) {
    long width = stack->width, filled = -1;
    float share = 1.0f / (stack->heads * stack->layers);
    for (long r = 0; r < rows; r++) {
        long source = (first + r) / step->beams, length = step->lengths[source];
        if (source != filled)
            for (long t = 0; t < length; t++)
                room->at[t] = step->memory + ((step->first[source] + t) * stack->layers + number) * 2 * width;
        filled = source;
        float *looks = step->looks ? step->looks + (first + r) * step->looks_stride : NULL;
        attend(stack, room->wide + r * width, room->at, length, room->scores, room->normed + r * width, looks, share);
    }
}

static void step_rows(const Stack *stack, const Step *step, long first, long rows, Room *room) {
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
    if (stack->norm_first)
        for (long r = 0; r < rows; r++)
            norm_row(x + r * width, width, stack->last.gain, stack->last.shift, stack->epsilon, x + r * width);
}

/* Take one step with all rows; returns 0 where there is no memory. */
int take_step(const Stack *stack, const Step *step) {
    long most = step->steps + 1;
    int ready = 1;
    for (long n = 0; n < step->rows / step->beams; n++) most = step->lengths[n] > most ? step->lengths[n] : most;
#pragma omp parallel if (step->rows >= 16) reduction(& : ready)
    {
        Room room;
        long first, end;
        my_share(step->rows, &first, &end);
        ready = take_room(stack, end - first, most, &room);
        if (ready && end > first) step_rows(stack, step, first, end - first, &room);
        leave_room(&room);
    }
    return ready;
}
#else
int has_int8(void) { return 0; }
#endif
