/* Greedy search as one call: all steps of all sources, none of which waits for another. */
#ifndef DRAGOMAN_WRITING_H
#define DRAGOMAN_WRITING_H

#include "softmax.h"
#include "steps.h"

typedef struct {
    const Linear *head;           /* to the scores of all symbols */
    const float *table;           /* [symbols, width], times `scale` what a symbol enters with */
    const float *positions;       /* [stride, width], or NULL */
    const float *cosines, *sines; /* [stride, head width / 2], or NULL */
    float scale;
    int64_t begins, ends;         /* symbols */
    const int64_t *never;         /* symbols that are not written */
    int64_t nevers, sources;
    const Kept *memory;           /* these as in `Step` */
    const int64_t *first, *lengths;
    const int64_t *longest;       /* [sources]: symbols of an answer, at least 1, at most `stride` */
    int64_t stride;
    int64_t *symbols;             /* [sources, stride] */
    double *log_probs, *totals;   /* [sources, stride], [sources] */
    int64_t *written;             /* [sources]: symbols of each answer; 0 where there are no probabilities */
} Writing;

#ifdef HAS_PRODUCTS

typedef struct {
    Summed summed;
    float best;
    int64_t symbol;
} Chosen;

/* Sources that are still being answered, and what their last steps have left. */
typedef struct {
    long rows;
    int64_t *sources, *last;
    int32_t *slots;
    Kept **past;
    int64_t *past_rows;
    float *x, *scores;
    Chosen *chosen;
} Writers;

INLINE int take_writers(const Stack *stack, const Writing *writing, long thread, long team, Writers *to) {
    long rows = (writing->sources - thread + team - 1) / team, stride = writing->stride;
    *to = (Writers){rows, room_for(rows * sizeof(int64_t)), room_for(rows * sizeof(int64_t)),
                    room_for(rows * stride * sizeof(int32_t)), calloc(stride, sizeof(Kept *)),
                    room_for(stride * sizeof(int64_t)), room_for(rows * stack->width * sizeof(float)),
                    room_for(rows * BLOCK * sizeof(float)), room_for(rows * sizeof(Chosen))};
    if (!to->sources || !to->last || !to->slots || !to->past || !to->past_rows || !to->x || !to->scores || !to->chosen)
        return 0;
    for (long r = 0; r < rows; r++) {
        to->sources[r] = thread + r * team;
        to->last[r] = writing->begins;
        writing->written[to->sources[r]] = 0;
        writing->totals[to->sources[r]] = 0;
    }
    return 1;
}

INLINE void leave_writers(const Writing *writing, Writers *writers) {
    for (long t = 0; writers->past && t < writing->stride; t++) free(writers->past[t]);
    free(writers->sources);
    free(writers->last);
    free(writers->slots);
    free(writers->past);
    free(writers->past_rows);
    free(writers->x);
    free(writers->scores);
    free(writers->chosen);
}

static void enter(const Writing *writing, long width, long t, const Writers *writers) {
    for (long r = 0; r < writers->rows; r++) {
        const float *from = writing->table + writers->last[r] * width;
        float *x = writers->x + r * width;
        for (long i = 0; i < width; i++) x[i] = from[i] * writing->scale;
        __asm__ volatile("" ::: "memory"); /* no product and sum as one: search by single steps rounds twice */
        for (long i = 0; writing->positions && i < width; i++) x[i] += writing->positions[t * width + i];
    }
}

/* Choose the best symbol of each row, of equal ones the first, block by block of the scores, which are never there
   all at once. */
static void choose(const Writing *writing, long width, const Writers *writers, Steps steps) {
    const Linear *head = writing->head;
    for (long r = 0; r < writers->rows; r++) {
        prepare_row(writers->x + r * width, width, head->inputs, steps, r);
        writers->chosen[r] = (Chosen){nothing_summed(), -INFINITY, 0};
    }
    for (long block = 0; block < blocks_of(head); block++) {
        long from = block * BLOCK, count = head->outputs - from < BLOCK ? head->outputs - from : BLOCK;
        multiply(head, steps, writers->rows, block, block + 1, writers->scores - from, BLOCK, 0);
        for (long r = 0; r < writers->rows; r++) {
            float *scores = writers->scores + r * BLOCK, bound = -INFINITY;
            Chosen *chosen = writers->chosen + r;
            float before = add_stripe(&chosen->summed, scores, count);
            if (!(before > chosen->best)) continue;
            for (long n = 0; n < writing->nevers; n++)
                if (writing->never[n] >= from && writing->never[n] < from + count)
                    scores[writing->never[n] - from] = -INFINITY;
            bound = largest(scores, count);
            if (!(bound > chosen->best)) continue;
            chosen->best = bound;
            for (long i = count - 1; i >= 0; i--)
                if (scores[i] == bound) chosen->symbol = from + i;
        }
    }
}

/* Write down what was chosen after `t` steps; rows that have ended leave. */
static void go_on(const Writing *writing, long t, Writers *writers) {
    long rows = 0, stride = writing->stride;
    for (long r = 0; r < writers->rows; r++) {
        const Chosen *chosen = writers->chosen + r;
        int64_t source = writers->sources[r], at = source * stride + t;
        double normaliser = normaliser_of(&chosen->summed);
        if (!isfinite(normaliser) || !(chosen->best > -INFINITY)) {
            writing->written[source] = 0;
            continue;
        }
        writing->symbols[at] = chosen->symbol;
        writing->log_probs[at] = (double)chosen->best - normaliser;
        writing->totals[source] += writing->log_probs[at];
        writing->written[source] = t + 1;
        if (chosen->symbol == writing->ends || t + 1 == writing->longest[source]) continue;
        writers->sources[rows] = source;
        writers->last[rows] = chosen->symbol;
        memmove(writers->slots + rows * stride, writers->slots + r * stride, t * sizeof(int32_t));
        writers->slots[rows++ * stride + t] = r;
    }
    writers->rows = rows;
}

static long longest_of(const int64_t *lengths, long count) {
    long longest = 0;
    for (long n = 0; n < count; n++) longest = lengths[n] > longest ? lengths[n] : longest;
    return longest;
}

/* Answer every source whose number is `thread` and a multiple of `team`; returns 0 where there is no memory. */
static int write_share(const Stack *stack, const Writing *writing, long thread, long team) {
    long width = stack->width, waves = width / stack->heads / 2;
    long read = longest_of(writing->lengths, writing->sources), most = writing->stride > read ? writing->stride : read;
    Writers writers;
    Room room;
    int ready = take_writers(stack, writing, thread, team, &writers);
    ready &= take_room(stack, writers.rows, most, &room);
    for (long t = 0; ready && writers.rows; t++) {
        writers.past[t] = room_for(stack->layers * writers.rows * 2 * width * sizeof(Kept));
        if (!(ready = writers.past[t] != NULL)) break;
        writers.past_rows[t] = writers.rows;
        enter(writing, width, t, &writers);
        const float *cosines = writing->cosines ? writing->cosines + t * waves : NULL;
        const float *sines = writing->sines ? writing->sines + t * waves : NULL;
        Step step = {writers.rows, t, writers.x, (const Kept *const *)writers.past, writers.past_rows, writers.slots,
                     writing->stride, writers.sources, writing->memory, writing->first, writing->lengths, cosines, sines,
                     NULL, 0};
        step_rows(stack, &step, 0, writers.rows, &room);
        choose(writing, width, &writers, room.steps);
        go_on(writing, t, &writers);
    }
    leave_room(&room);
    leave_writers(writing, &writers);
    return ready;
}

#endif
#endif
