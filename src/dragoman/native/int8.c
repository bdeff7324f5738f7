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

/* Attention of a source to itself: queries, keys and values lie side by side. */
static void hear_source(const Stack *stack, const Read *read, float *rows, long steps, Room *room, float *out) {
    long width = stack->width, waves = width / stack->heads / 2;
    for (long t = 0; read->cosines && t < steps; t++) {
        float *row = rows + t * 3 * width;
        turn(row, width, stack->heads, read->cosines + t * waves, read->sines + t * waves);
        turn(row + width, width, stack->heads, read->cosines + t * waves, read->sines + t * waves);
    }
    Heard heard = heard_at(room->kept, steps, width);
    remember(rows + width, 3 * width, width, heard, room->row);
    attend_together(rows, 3 * width, steps, heard, width, stack->heads, room->scores, out, NULL, 0, 0);
}

static void read_sources(const Stack *stack, const Read *read, long first, long end, Room *room) {
    long width = stack->width, start = read->first[first], rows = read->first[end] - start;
    float *x = read->x + start * width;
    for (const Layer *layer = stack->layer; layer < stack->layer + stack->layers; layer++) {
        const float *heard = before(stack, &layer->hear_norm, x, rows, room);
        map_rows(&layer->hear, heard, width, width, rows, room->steps, room->wide, 3 * width, 0);
        for (long n = first; n < end; n++)
            hear_source(stack, read, room->wide + (read->first[n] - start) * 3 * width,
                        read->first[n + 1] - read->first[n], room, room->normed + (read->first[n] - start) * width);
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

/* Keep keys and values of all layers, [source steps, layers, 2 width], as steps read them: `first` says where each
   source begins in `kept`, in numbers. Returns 0 where there is no memory. */
int keep_memory(const float *projected, int64_t sources, const int64_t *first, const int64_t *lengths, int64_t layers,
                int64_t width, half *kept) {
    half *room = room_for(width * sizeof(half));
    for (long n = 0; room && n < sources; projected += lengths[n++] * layers * 2 * width)
        for (long number = 0; number < layers; number++) {
            half *place = kept + first[n] + number * room_of_heard(lengths[n], width);
            Heard heard = heard_at(place, lengths[n], width);
            remember(projected + number * 2 * width, layers * 2 * width, width, heard, room);
        }
    free(room);
    return room != NULL;
}

typedef struct {
    int64_t rows, steps;            /* `steps` were taken before this one */
    float *x;                       /* [rows, width], in and out */
    const half *const *past;        /* [steps + 1]: of each step, keys and values [layers, its rows, 2 width] */
    const int64_t *past_rows;       /* [steps + 1]: the rows that each step had */
    const int32_t *slots;           /* [rows, steps]: which of these rows led to each row of now */
    const int64_t *sources;         /* [rows]: the source of each; rows of one lie side by side */
    const half *memory;             /* of each source, of each layer: what `keep_memory` has left */
    const int64_t *first, *lengths; /* [sources]: where each source begins there, in numbers, and its steps */
    const float *cosines, *sines;   /* [head width / 2] of this step, or NULL */
    float *looks;                   /* [rows, looks_stride], zeros, or NULL */
    int64_t looks_stride;
} Step;

/* Ask for what a row will read, but for what the row before it reads as well. */
INLINE void ask_for(const Stack *stack, const Step *step, long number, long row) {
    const int32_t *slots = step->slots + row * step->steps, *before = slots - step->steps;
    for (long t = 0; t < step->steps; t++)
        if (slots[t] != before[t]) {
            const half *at = step->past[t] + (number * step->past_rows[t] + slots[t]) * 2 * stack->width;
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
        half *kept = (half *)step->past[now] + (number * step->past_rows[now] + first + r) * 2 * width;
        halve(row + width, 2 * width, kept);
        if (r + 1 < rows) ask_for(stack, step, number, first + r + 1);
        const int32_t *slots = step->slots + (first + r) * now;
        for (long t = 0; t < now; t++)
            room->at[t] = step->past[t] + (number * step->past_rows[t] + slots[t]) * 2 * width;
        room->at[now] = kept;
        attend_own(row, room->at, now + 1, width, stack->heads, room->scores, room->normed + r * width);
    }
}

INLINE half *kept_of(const Step *step, long source, long number, long width) {
    return (half *)step->memory + step->first[source] + number * room_of_heard(step->lengths[source], width);
}

static void look(const Stack *stack, const Step *step, long number, long first, long rows, Room *room) {
    long width = stack->width, end = first + rows;
    float share = 1.0f / (stack->heads * stack->layers);
    for (long r = first, next; r < end; r = next) {
        long source = step->sources[r], length = step->lengths[source];
        for (next = r + 1; next < end && step->sources[next] == source;) next++;
        Heard heard = heard_at(kept_of(step, source, number, width), length, width);
        if (next < end) heard.ahead = kept_of(step, step->sources[next], number, width);
        float *looks = step->looks ? step->looks + r * step->looks_stride : NULL;
        attend_together(room->wide + (r - first) * width, width, next - r, heard, width, stack->heads, room->scores,
                        room->normed + (r - first) * width, looks, step->looks_stride, share);
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
    for (long r = 0; r < step->rows; r++) {
        long length = step->lengths[step->sources[r]];
        most = length > most ? length : most;
    }
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
