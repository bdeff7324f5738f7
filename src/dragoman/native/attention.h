/* Attention in answering: of rows that read the same steps, all at once, and of a row that reads steps of its own.
   Keys and values are kept as float16: what limits attention is how fast they are read. */
#ifndef DRAGOMAN_ATTENTION_H
#define DRAGOMAN_ATTENTION_H

#include "int8.h"

#define GROUP 6 /* rows that read together */
#define FOUR 4  /* steps whose scores are added up together */

typedef uint16_t half;

/* Steps that several rows read. */
typedef struct {
    half *keys;   /* [width][whole steps]: scores of 16 steps are summed side by side */
    half *values; /* [steps][width] */
    long steps, whole;
    const half *ahead; /* what is read after these, asked for meanwhile */
} Heard;

INLINE long whole_steps(long steps) { return (steps + LANES - 1) / LANES * LANES; }

/* Numbers of keys and values of `steps` steps. */
INLINE long room_of_heard(long steps, long width) { return 2 * whole_steps(steps) * width; }

INLINE Heard heard_at(half *place, long steps, long width) {
    long whole = whole_steps(steps);
    return (Heard){place, place + whole * width, steps, whole, place};
}

#ifdef __AVX512VNNI__

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

/* Keep keys and values, side by side in rows that lie `stride` apart; `room` takes a row of keys. */
static void remember(const float *rows, long stride, long width, Heard heard, half *room) {
    for (long t = 0; t < heard.steps; t++, rows += stride) {
        halve(rows, width, room);
        for (long i = 0; i < width; i++) heard.keys[i * heard.whole + t] = room[i];
        halve(rows + width, width, heard.values + t * width);
    }
    for (long i = 0; i < width; i++)
        for (long t = heard.steps; t < heard.whole; t++) heard.keys[i * heard.whole + t] = 0;
}

/* scores [steps], with room for whole lanes: their softmax, not yet divided by what is returned. */
INLINE float exponentials(float *scores, long steps) {
    long whole = whole_steps(steps);
    for (long t = steps; t < whole; t++) scores[t] = -INFINITY;
    float top = largest(scores, whole), sum = 0;
    for (long t = 0; t < whole; t += LANES)
        for (long l = t; l < t + LANES; l++) sum += scores[l] = exponential(scores[l] - top);
    return sum;
}

/* Scores of `rows` queries of one head, [rows][whole steps]. */
INLINE void score_group(const float *query, long stride, const half *keys, Heard heard, long head_width,
                        const int rows, float *scores) {
    __m512 scale = _mm512_set1_ps(1.0f / sqrtf((float)head_width));
    for (long t = 0; t < heard.whole; t += LANES) {
        __m512 sum[GROUP];
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
        for (long i = 0; i < head_width; i++) {
            __m512 key = from_half(keys + i * heard.whole + t, 0xffff);
            __builtin_prefetch(heard.ahead + (keys - heard.keys) + i * heard.whole + t);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(query[r * stride + i]), key, sum[r]);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
            _mm512_storeu_ps(scores + r * heard.whole + t, _mm512_mul_ps(sum[r], scale));
    }
}

INLINE void read_group(const float *scores, const float *shares, const half *values, Heard heard, long width,
                       __mmask16 real, const int rows, float *out, long stride) {
    __m512 sum[GROUP];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (long t = 0; t < heard.steps; t++) {
        __m512 value = from_half(values + t * width, real);
        __builtin_prefetch(heard.ahead + (values - heard.keys) + t * width);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
            sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(scores[r * heard.whole + t]), value, sum[r]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        _mm512_mask_storeu_ps(out + r * stride, real, _mm512_mul_ps(sum[r], _mm512_set1_ps(shares[r])));
}

INLINE void attend_group(const float *query, long stride, Heard heard, long width, long heads, const int rows,
                         float *scores, float *out, float *looks, long looks_stride, float look) {
    long head_width = width / heads;
    for (long from = 0; from < width; from += head_width) {
        float shares[GROUP];
        score_group(query + from, stride, heard.keys + from * heard.whole, heard, head_width, rows, scores);
        for (int r = 0; r < rows; r++) shares[r] = 1.0f / exponentials(scores + r * heard.whole, heard.steps);
        for (long i = 0; i < head_width; i += 16)
            read_group(scores, shares, heard.values + from + i, heard, width, lanes_left(head_width - i), rows,
                       out + from + i, width);
        for (int r = 0; looks && r < rows; r++)
            for (long t = 0; t < heard.steps; t++)
                looks[r * looks_stride + t] += look * shares[r] * scores[r * heard.whole + t];
    }
}

/* Answer queries that lie `stride` apart from the same steps, to out [rows, width]; scores has room for GROUP rows.
   `looks`, if there are any, get the weights, times `look`. */
static void attend_together(const float *query, long stride, long rows, Heard heard, long width, long heads,
                            float *scores, float *out, float *looks, long looks_stride, float look) {
    for (long r = 0; r < rows; r += GROUP) {
        const float *from = query + r * stride;
        float *to = out + r * width, *seen = looks ? looks + r * looks_stride : NULL;
#define CASE(n) case n: attend_group(from, stride, heard, width, heads, n, scores, to, seen, looks_stride, look); break;
        switch (rows - r) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
            default: attend_group(from, stride, heard, width, heads, GROUP, scores, to, seen, looks_stride, look);
        }
#undef CASE
    }
}

/* The sums of four vectors. */
INLINE __m128 sums_of(const __m512 *x) {
    __m512 first = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    __m512 last = _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(first), _mm512_castps_pd(last));
    __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(first), _mm512_castps_pd(last));
    __m512 both = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(both), _mm512_extractf32x8_ps(both, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/* Scores of one head of one query, four steps at a time; there is room for whole lanes of them. */
INLINE void score_own(const float *query, const half *const *keys, long from, long steps, long head_width,
                      float *scores) {
    __m128 scale = _mm_set1_ps(1.0f / sqrtf((float)head_width));
    for (long t = 0; t < steps; t += FOUR) {
        __m512 sum[FOUR] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (long i = 0; i < head_width; i += 16) {
            __mmask16 real = lanes_left(head_width - i);
            __m512 part = _mm512_maskz_loadu_ps(real, query + from + i);
#pragma GCC unroll 4
            for (int n = 0; n < FOUR; n++) {
                const half *key = keys[t + n < steps ? t + n : steps - 1];
                sum[n] = _mm512_fmadd_ps(part, from_half(key + from + i, real), sum[n]);
            }
        }
        _mm_storeu_ps(scores + t, _mm_mul_ps(sums_of(sum), scale));
    }
}

/* Answer one query from `steps` keys, with their values `width` further on. */
static void attend_own(const float *query, const half *const *keys, long steps, long width, long heads, float *scores,
                       float *out) {
    long head_width = width / heads;
    for (long from = 0; from < width; from += head_width) {
        score_own(query, keys, from, steps, head_width, scores);
        __m512 share = _mm512_set1_ps(1.0f / exponentials(scores, steps));
        for (long i = 0; i < head_width; i += 16) {
            __mmask16 real = lanes_left(head_width - i);
            __m512 sum = _mm512_setzero_ps();
            for (long t = 0; t < steps; t++)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(scores[t]), from_half(keys[t] + width + from + i, real), sum);
            _mm512_mask_storeu_ps(out + from + i, real, _mm512_mul_ps(sum, share));
        }
    }
}

/* Turn pairs of the first and the second half of each head (Su et al. 2021). */
static void turn(float *x, long width, long heads, const float *cosines, const float *sines) {
    long half = width / heads / 2;
    for (long h = 0; h < heads; h++, x += 2 * half)
        for (long i = 0; i < half; i++) {
            float first = x[i], second = x[i + half];
            x[i] = first * cosines[i] - second * sines[i];
            x[i + half] = second * cosines[i] + first * sines[i];
        }
}

#endif
#endif
