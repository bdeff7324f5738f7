/* What a search asks of every row of logits: their normaliser, the largest of them, and what goes on best. */
#include "softmax.h"

#define MOST 64

static float normaliser(const float *x, long size, float *bounds) {
    Summed summed = nothing_summed();
    for (long first = 0; first < size; first += STRIPE)
        *bounds++ = add_stripe(&summed, x + first, first + STRIPE <= size ? STRIPE : size - first);
    return normaliser_of(&summed);
}

/* normalisers [rows]: the logarithm of the sum of exponentials of each row; bounds [rows, stripes]: the largest of
   each 64 of a row. */
void normalise(const float *logits, int64_t rows, int64_t size, float *normalisers, float *bounds) {
    long stripes = (size + STRIPE - 1) / STRIPE;
#pragma omp parallel for if (rows * size > 65536)
    for (int64_t row = 0; row < rows; row++)
        normalisers[row] = normaliser(logits + row * size, size, bounds + row * stripes);
}

/* Put a value that is larger than the last of a sorted list in its place: after those that equal it. */
INLINE void insert(float value, int64_t id, float *values, int64_t *ids, long count) {
    long place = count - 1;
    for (; place > 0 && value > values[place - 1]; place--) {
        values[place] = values[place - 1];
        ids[place] = ids[place - 1];
    }
    values[place] = value;
    ids[place] = id;
}

/* The largest of a row, of which none but the first `count` numbers need be looked at that are below `least`. */
static void search(const float *x, long size, long count, const float *bounds, float least, float *values,
                   int64_t *ids) {
    for (long i = 0; i < count; i++) {
        values[i] = -INFINITY;
        ids[i] = i;
        if (x[i] > -INFINITY) insert(x[i], i, values, ids, i + 1);
    }
    for (long first = count / STRIPE * STRIPE; first < size; first += STRIPE) {
        long end = first + STRIPE <= size ? first + STRIPE : size;
        float bound = bounds ? bounds[first / STRIPE] : largest(x + first, end - first);
        if (bound >= least && bound > values[count - 1]) {
            for (long i = first < count ? count : first; i < end; i++)
                if (x[i] >= least && x[i] > values[count - 1]) insert(x[i], i, values, ids, count);
        }
    }
}

static void top_of_row(const float *x, long size, long count, const float *bounds, float *values, int64_t *ids) {
    float least = -INFINITY;
    if (bounds) { /* as many stripes have a number like that */
        for (long i = 0; i < count; i++) values[i] = -INFINITY;
        for (long first = 0; first < size; first += STRIPE, bounds++)
            if (*bounds > values[count - 1]) insert(*bounds, 0, values, ids, count);
        bounds -= (size + STRIPE - 1) / STRIPE;
        least = values[count - 1];
    }
    search(x, size, count, bounds, least, values, ids);
    if (values[count - 1] < least) search(x, size, count, bounds, -INFINITY, values, ids); /* it is gone since */
}

/* values and ids [rows, count]: the largest of each row, largest first, of equal ones the lowest ids first. What is
   not a number counts as minus infinity. `bounds`, if not NULL: no number of these 64 is larger. */
void top(const float *logits, int64_t rows, int64_t size, int64_t count, const float *bounds, float *values,
         int64_t *ids) {
    long stripes = (size + STRIPE - 1) / STRIPE;
#pragma omp parallel for if (rows * size > 65536)
    for (int64_t row = 0; row < rows; row++)
        top_of_row(logits + row * size, size, count, bounds ? bounds + row * stripes : NULL, values + row * count,
                   ids + row * count);
}

/* Which row of a source goes on with which token. Each array has room for as many as are wanted. */
typedef struct { int64_t *tokens, *parents; double *log_probs, *totals; } continuations;

/* Put a continuation in its place: after those whose totals equal its own. */
INLINE void put(double total, double log_prob, int64_t token, int64_t parent, continuations found, long place) {
    for (; place > 0 && total > found.totals[place - 1]; place--) {
        found.totals[place] = found.totals[place - 1];
        found.log_probs[place] = found.log_probs[place - 1];
        found.tokens[place] = found.tokens[place - 1];
        found.parents[place] = found.parents[place - 1];
    }
    found.totals[place] = total;
    found.log_probs[place] = log_prob;
    found.tokens[place] = token;
    found.parents[place] = parent;
}

static void continue_source(const float *logits, long rows, long size, long count, const float *bounds,
                            const double *normalisers, const double *totals, long wanted, continuations found) {
    long stripes = (size + STRIPE - 1) / STRIPE, have = 0;
    for (long row = 0; row < rows; row++) {
        float values[MOST];
        int64_t ids[MOST];
        int is_live = totals[row] > -INFINITY;
        if (is_live)
            top_of_row(logits + row * size, size, count, bounds ? bounds + row * stripes : NULL, values, ids);
        for (long i = 0; i < count; i++) {
            volatile double log_prob = is_live ? (double)values[i] - normalisers[row] : -INFINITY;
            double total = is_live ? totals[row] + log_prob : -INFINITY;
            if (have < wanted)
                put(total, log_prob, is_live ? ids[i] : i, row, found, have++);
            else if (total > found.totals[wanted - 1])
                put(total, log_prob, ids[i], row, found, wanted - 1);
            else if (is_live)
                break; /* what follows in this row is no better */
        }
    }
}

/* The best continuations of the rows of each source: of each row its `count` largest logits, at most MOST, less the
   row's normaliser, added to its total; of all of them the `wanted` best, of equal ones the first rows and largest
   logits first. A row whose total is minus infinity has none: its place is filled, with totals of minus infinity,
   where there are not enough others. logits [sources, rows, size], normalisers and totals [sources, rows], bounds as
   for `top`; what is found [sources, wanted], where wanted <= rows * count. */
void continue_rows(const float *logits, int64_t sources, int64_t rows, int64_t size, int64_t count,
                   const float *bounds, const double *normalisers, const double *totals, int64_t wanted,
                   int64_t *tokens, int64_t *parents, double *log_probs, double *new_totals) {
    long stripes = (size + STRIPE - 1) / STRIPE;
#pragma omp parallel for if (sources * rows * size > 65536)
    for (int64_t source = 0; source < sources; source++) {
        long first = source * rows, at = source * wanted;
        continuations found = {tokens + at, parents + at, log_probs + at, new_totals + at};
        continue_source(logits + first * size, rows, size, count, bounds ? bounds + first * stripes : NULL,
                        normalisers + first, totals + first, wanted, found);
    }
}
