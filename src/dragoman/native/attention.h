/* Attention in answering: of rows that read the same steps, all at once, and of a row that reads steps of its own.
   What products are of, and what keys and values are kept as, says the header that comes before. */
#ifndef DRAGOMAN_ATTENTION_H
#define DRAGOMAN_ATTENTION_H

#define GROUP 6 /* rows that read together */
#define FOUR 4  /* steps whose scores are added up together */
#define PARTS 4 /* sums of a score */
#define WIDE 4   /* times 16 numbers of values that are read together */

/* Steps that several rows read: what belongs to one head after the other, as they are read. */
typedef struct {
    Kept *kept; /* of each head keys [head width][whole steps], with scores of 16 steps side by side, then values
                   [whole steps][head width] */
    long steps, whole;
    const Kept *ahead; /* what is read after these, asked for meanwhile */
} Heard;

INLINE long whole_steps(long steps) { return (steps + LANES - 1) / LANES * LANES; }

/* Numbers of keys and values of `steps` steps. */
INLINE long room_of_heard(long steps, long width) { return 2 * whole_steps(steps) * width; }

INLINE Heard heard_at(Kept *place, long steps) { return (Heard){place, steps, whole_steps(steps), place}; }

#ifdef HAS_PRODUCTS

INLINE void keep_row(const float *x, long size, Kept *out) {
    for (long i = 0; i < size; i += 16) {
        __mmask16 real = lanes_left(size - i);
        put_kept(out + i, real, fitting(_mm512_maskz_loadu_ps(real, x + i)));
    }
}

/* Rows become columns: 16 numbers of each of 16 rows. */
INLINE void turn_over(__m512 *x) {
    __m512 pairs[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) { /* column i % 4 of each four rows */
        __m512d low = _mm512_castps_pd(pairs[i / 4 * 4 + i % 4 / 2]), high = _mm512_castps_pd(pairs[i / 4 * 4 + i % 4 / 2 + 2]);
        x[i] = _mm512_castpd_ps(i % 2 ? _mm512_unpackhi_pd(low, high) : _mm512_unpacklo_pd(low, high));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512 first = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x44), second = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x44);
        __m512 third = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xee), fourth = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xee);
        pairs[i] = _mm512_shuffle_f32x4(first, second, 0x88);
        pairs[i + 4] = _mm512_shuffle_f32x4(first, second, 0xdd);
        pairs[i + 8] = _mm512_shuffle_f32x4(third, fourth, 0x88);
        pairs[i + 12] = _mm512_shuffle_f32x4(third, fourth, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) x[i] = pairs[i];
}

/* Keep keys and values, side by side in rows that lie `stride` apart. */
static void remember(const float *rows, long stride, long width, long heads, Heard heard) {
    long head_width = width / heads;
    Kept *keys = heard.kept;
    for (long from = 0; from < width; from += head_width, keys += 2 * heard.whole * head_width) {
        for (long i = 0; i < head_width; i += LANES)
            for (long t = 0; t < heard.whole; t += LANES) {
                long wide = head_width - i < LANES ? head_width - i : LANES;
                __m512 x[LANES];
#pragma GCC unroll 16
                for (int r = 0; r < LANES; r++)
                    x[r] = t + r < heard.steps ? fitting(_mm512_maskz_loadu_ps(lanes_left(wide), rows + (t + r) * stride + from + i))
                                               : _mm512_setzero_ps();
                turn_over(x);
#pragma GCC unroll 16
                for (int r = 0; r < LANES; r++)
                    if (r < wide) put_kept(keys + (i + r) * heard.whole + t, 0xffff, x[r]);
            }
        for (long t = 0; t < heard.steps; t++)
            keep_row(rows + t * stride + width + from, head_width, keys + (heard.whole + t) * head_width);
    }
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

/* Ask for what lies as far ahead as this does in what is read now. */
INLINE void ask_ahead(Heard heard, const Kept *here) { __builtin_prefetch(heard.ahead + (here - heard.kept)); }

/* Scores of `rows` queries of one head, [rows][whole steps], in several sums that go on side by side. */
INLINE void score_group(const float *query, long stride, const Kept *keys, Heard heard, long head_width,
                        const int rows, float *scores) {
    __m512 scale = _mm512_set1_ps(1.0f / sqrtf((float)head_width));
    for (long t = 0; t < heard.whole; t += LANES) {
        __m512 sum[GROUP * PARTS];
#pragma GCC unroll 24
        for (int r = 0; r < rows * PARTS; r++) sum[r] = _mm512_setzero_ps();
        long i = 0;
        for (; i + PARTS <= head_width; i += PARTS)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++) {
                const Kept *at = keys + (i + p) * heard.whole + t;
                __m512 key = take_kept(at, 0xffff);
                ask_ahead(heard, at);
#pragma GCC unroll 6
                for (int r = 0; r < rows; r++)
                    sum[r * PARTS + p] = _mm512_fmadd_ps(_mm512_set1_ps(query[r * stride + i + p]), key, sum[r * PARTS + p]);
            }
        for (; i < head_width; i++) {
            __m512 key = take_kept(keys + i * heard.whole + t, 0xffff);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++)
                sum[r * PARTS] = _mm512_fmadd_ps(_mm512_set1_ps(query[r * stride + i]), key, sum[r * PARTS]);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
            for (int p = 1; p < PARTS; p++) sum[r * PARTS] = _mm512_add_ps(sum[r * PARTS], sum[r * PARTS + p]);
            _mm512_storeu_ps(scores + r * heard.whole + t, _mm512_mul_ps(sum[r * PARTS], scale));
        }
    }
}

/* What `rows` queries read of `wide` times 16 numbers of values. */
INLINE void read_group(const float *scores, const float *shares, const Kept *values, Heard heard, long head_width,
                       __mmask16 real, const int rows, const int wide, float *out, long stride) {
    __m512 sum[GROUP * WIDE];
#pragma GCC unroll 24
    for (int r = 0; r < rows * wide; r++) sum[r] = _mm512_setzero_ps();
    for (long t = 0; t < heard.steps; t++) {
        const Kept *at = values + t * head_width;
#pragma GCC unroll 4
        for (int c = 0; c < wide; c++) {
            __m512 value = take_kept(at + LANES * c, real);
            if (c % 2 == 0) ask_ahead(heard, at + LANES * c);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++)
                sum[r * wide + c] = _mm512_fmadd_ps(_mm512_set1_ps(scores[r * heard.whole + t]), value, sum[r * wide + c]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < wide; c++)
            _mm512_mask_storeu_ps(out + r * stride + LANES * c, real, _mm512_mul_ps(sum[r * wide + c], _mm512_set1_ps(shares[r])));
}

INLINE void attend_group(const float *query, long stride, Heard heard, long width, long heads, const int rows,
                         float *scores, float *out, float *looks, long looks_stride, float look) {
    long head_width = width / heads;
    const Kept *keys = heard.kept;
    for (long from = 0; from < width; from += head_width, keys += 2 * heard.whole * head_width) {
        const Kept *values = keys + heard.whole * head_width;
        float shares[GROUP], *to = out + from;
        score_group(query + from, stride, keys, heard, head_width, rows, scores);
        for (int r = 0; r < rows; r++) shares[r] = 1.0f / exponentials(scores + r * heard.whole, heard.steps);
        long i = 0;
        for (; i + WIDE * LANES <= head_width; i += WIDE * LANES)
            read_group(scores, shares, values + i, heard, head_width, 0xffff, rows, WIDE, to + i, width);
        for (; i < head_width; i += LANES)
            read_group(scores, shares, values + i, heard, head_width, lanes_left(head_width - i), rows, 1, to + i, width);
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
INLINE void score_own(const float *query, const Kept *const *keys, long from, long steps, long head_width,
                      float *scores) {
    __m128 scale = _mm_set1_ps(1.0f / sqrtf((float)head_width));
    for (long t = 0; t < steps; t += FOUR) {
        __m512 sum[FOUR] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (long i = 0; i < head_width; i += 16) {
            __mmask16 real = lanes_left(head_width - i);
            __m512 part = _mm512_maskz_loadu_ps(real, query + from + i);
#pragma GCC unroll 4
            for (int n = 0; n < FOUR; n++) {
                const Kept *key = keys[t + n < steps ? t + n : steps - 1];
                sum[n] = _mm512_fmadd_ps(part, take_kept(key + from + i, real), sum[n]);
            }
        }
        _mm_storeu_ps(scores + t, _mm_mul_ps(sums_of(sum), scale));
    }
}

/* Answer one query from `steps` keys, with their values `width` further on. */
static void attend_own(const float *query, const Kept *const *keys, long steps, long width, long heads, float *scores,
                       float *out) {
    long head_width = width / heads;
    for (long from = 0; from < width; from += head_width) {
        score_own(query, keys, from, steps, head_width, scores);
        __m512 share = _mm512_set1_ps(1.0f / exponentials(scores, steps));
        for (long i = 0; i < head_width; i += 16) {
            __mmask16 real = lanes_left(head_width - i);
            __m512 sum = _mm512_setzero_ps();
            for (long t = 0; t < steps; t++)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(scores[t]), take_kept(keys[t] + width + from + i, real), sum);
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
