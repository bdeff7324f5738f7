/* What a search asks of every row of logits: their normaliser, and the largest of them. */
#include "rows.h"

#define STRIPE 64

/* One pass: sums are of e^(x - top), the top so far, and shrink whenever that grows. */
static float normaliser(const float *x, long size, float *bounds) {
    float top = -INFINITY, sums[LANES] = {0}, sum = 0;
    for (long first = 0; first < size; first += STRIPE, bounds++) {
        long end = first + STRIPE <= size ? first + STRIPE : size, i = first;
        *bounds = largest(x + first, end - first);
        if (*bounds > top) {
            float share = exponential(top - *bounds);
            for (long l = 0; l < LANES; l++) sums[l] *= share;
            top = *bounds;
        }
        float from = top > -INFINITY ? top : 0.0f; /* as long as nothing is larger, a difference would be no number */
        for (; i + LANES <= end; i += LANES)
            for (long l = 0; l < LANES; l++) sums[l] += exponential(x[i + l] - from);
        for (long l = 0; i < end; i++, l++) sums[l] += exponential(x[i] - from);
    }
    for (long l = 0; l < LANES; l++) sum += sums[l];
    return top + logf(sum);
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
