/* What an LSTM does between its products, one step of all rows at a time. Gates in torch's order: input, forget,
   cell, output. Shapes: B rows, D width. */
#pragma once
#include "numbers.h"

/* gates (B, 4D): sums in, opened out. */
void lstm_step(float *gates, const float *before, long rows, long width, float *cell, uint16_t *hidden) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        float *in = gates + row * 4 * width, *kept = in + width, *fresh = kept + width, *out = fresh + width;
        float *restrict now = cell + row * width, written[64];
        const float *restrict old = before + row * width;
        for (long i = 0; i < 2 * width; i++) in[i] = sigmoid(in[i]);
        for (long i = 0; i < width; i++) fresh[i] = hyperbolic(fresh[i]);
        for (long i = 0; i < width; i++) out[i] = sigmoid(out[i]);
        for (long i = 0; i < width; i++) now[i] = kept[i] * old[i] + in[i] * fresh[i];
        for (long from = 0; from < width; from += 64) {
            long count = width - from < 64 ? width - from : 64;
            for (long i = 0; i < count; i++) written[i] = out[from + i] * hyperbolic(now[from + i]);
            narrow(written, count, hidden + row * width + from);
        }
    }
}

/* From the pull on what was written (bfloat16) and on the state after (float32) to that on the sums of the gates
   (bfloat16); `pull_cell` becomes that on the cell before. */
void lstm_step_backward(const float *gates, const float *before, const float *cell, const uint16_t *pull,
                        const float *pull_state, float *pull_cell, long rows, long width, uint16_t *of_gates) {
#pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const float *restrict in = gates + row * 4 * width, *restrict kept = in + width;
        const float *restrict fresh = kept + width, *restrict out = fresh + width;
        for (long from = 0; from < width; from += 64) {
            long count = width - from < 64 ? width - from : 64, at = row * width + from;
            float of[4][64];
            for (long i = 0; i < count; i++) {
                float a = in[from + i], f = kept[from + i], g = fresh[from + i], o = out[from + i];
                float shown = hyperbolic(cell[at + i]), of_hidden = widened(pull[at + i]) + pull_state[at + i];
                float of_cell = pull_cell[at + i] + of_hidden * o * (1.0f - shown * shown);
                of[0][i] = of_cell * g * a * (1.0f - a);
                of[1][i] = of_cell * before[at + i] * f * (1.0f - f);
                of[2][i] = of_cell * a * (1.0f - g * g);
                of[3][i] = of_hidden * shown * o * (1.0f - o);
                pull_cell[at + i] = of_cell * f;
            }
            for (long gate = 0; gate < 4; gate++)
                narrow(of[gate], count, of_gates + row * 4 * width + gate * width + from);
        }
    }
}
