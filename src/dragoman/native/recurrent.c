/* What recurrent layers do after their products: gates, cells and hidden states of one step. */
#include "numbers.h"

/* All arrays are [rows, gates x width] or [rows, width]; `seen` is the share of the input, `held` that of the state. */

void rnn(const float *seen, const float *held, int64_t rows, int64_t width, float *hidden) {
    for (int64_t i = 0; i < rows * width; i++) hidden[i] = hyperbolic(seen[i] + held[i]);
}

/* Gates in torch's order: reset, update, new (Cho et al. 2014). */
void gru(const float *seen, const float *held, int64_t rows, int64_t width, const float *before, float *hidden) {
    for (int64_t r = 0; r < rows; r++, seen += 3 * width, held += 3 * width, before += width, hidden += width)
        for (int64_t i = 0; i < width; i++) {
            float reset = sigmoid(seen[i] + held[i]), update = sigmoid(seen[i + width] + held[i + width]);
            float fresh = hyperbolic(seen[i + 2 * width] + reset * held[i + 2 * width]);
            hidden[i] = (1.0f - update) * fresh + update * before[i];
        }
}

/* Gates in torch's order: input, forget, cell, output (Hochreiter and Schmidhuber 1997). */
void lstm(const float *seen, const float *held, int64_t rows, int64_t width, const float *before, float *cell,
          float *hidden) {
    for (int64_t r = 0; r < rows; r++, seen += 4 * width, held += 4 * width) {
        for (int64_t i = 0; i < width; i++) {
            float in = sigmoid(seen[i] + held[i]), kept = sigmoid(seen[i + width] + held[i + width]);
            float fresh = hyperbolic(seen[i + 2 * width] + held[i + 2 * width]);
            float out = sigmoid(seen[i + 3 * width] + held[i + 3 * width]);
            float now = kept * before[r * width + i] + in * fresh;
            cell[r * width + i] = now;
            hidden[r * width + i] = out * hyperbolic(now);
        }
    }
}
