/* All that Transformers answer with: linear maps, encoders, steps of decoders and all their steps at once. */
#include "writing.h"

#ifdef HAS_PRODUCTS
int has_products(void) { return 1; }

/* Map x [rows, size] to out [rows, outputs]; returns 0 where there is no memory. */
int linear(const Linear *map, const float *x, int64_t rows, int64_t size, float *out) {
    Steps steps;
    int ready = take_steps(rows, map->inputs, &steps);
    if (ready) {
        for (long r = 0; r < rows; r++) prepare_row(x + r * size, size, map->inputs, steps, r);
#pragma omp parallel if (rows * map->inputs * map->outputs > 4000000)
        {
            long first, end;
            my_share(blocks_of(map), &first, &end);
            multiply(map, steps, rows, first, end, out, map->outputs, 0);
        }
    }
    leave_steps(steps);
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
    Heard heard = heard_at(room->kept, steps);
    remember(rows + width, 3 * width, width, stack->heads, heard);
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
    after_all(stack, x, rows);
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
   source begins in `kept`, in numbers. */
void keep_memory(const float *projected, int64_t sources, const int64_t *first, const int64_t *lengths, int64_t layers,
                 int64_t width, int64_t heads, Kept *kept) {
    for (long n = 0; n < sources; projected += lengths[n++] * layers * 2 * width)
        for (long number = 0; number < layers; number++) {
            Kept *place = kept + first[n] + number * room_of_heard(lengths[n], width);
            remember(projected + number * 2 * width, layers * 2 * width, width, heads, heard_at(place, lengths[n]));
        }
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

/* Write the answers to all sources, by threads that each have their own; returns 0 where there is no memory. */
int write_greedily(const Stack *stack, const Writing *writing) {
    int ready = 1;
#pragma omp parallel if (writing->sources >= 8) reduction(& : ready)
    ready = write_share(stack, writing, omp_get_thread_num(), omp_get_num_threads());
    return ready;
}
#else
int has_products(void) { return 0; }
#endif
