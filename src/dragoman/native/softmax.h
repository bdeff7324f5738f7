/* The logarithm of a sum of exponentials, in one pass: sums are of e^(x - top), the top so far, and shrink whenever that
   grows. */
#ifndef DRAGOMAN_SOFTMAX_H
#define DRAGOMAN_SOFTMAX_H

#include "rows.h"

#define STRIPE 64

typedef struct {
    float top, sums[LANES];
} Summed;

INLINE Summed nothing_summed(void) { return (Summed){-INFINITY, {0}}; }

/* Add up to STRIPE numbers; returns the largest of them. */
INLINE float add_stripe(Summed *summed, const float *x, long count) {
    float bound = largest(x, count);
    long i = 0;
    if (bound > summed->top) {
        float share = exponential(summed->top - bound);
        for (long l = 0; l < LANES; l++) summed->sums[l] *= share;
        summed->top = bound;
    }
    float from = summed->top > -INFINITY ? summed->top : 0.0f; /* a difference of infinities would be no number */
    for (; i + LANES <= count; i += LANES)
        for (long l = 0; l < LANES; l++) summed->sums[l] += exponential(x[i + l] - from);
    for (long l = 0; i < count; i++, l++) summed->sums[l] += exponential(x[i] - from);
    return bound;
}

INLINE float normaliser_of(const Summed *summed) {
    float sum = 0;
    for (long l = 0; l < LANES; l++) sum += summed->sums[l];
    return summed->top + logf(sum);
}

#endif
