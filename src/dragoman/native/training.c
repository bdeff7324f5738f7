/* What a training step does: see the headers. */
#include "lstm.h"
#include "numbers.h"
#include "passes.h"
#include "product.h"
#include "short_attention.h"

/* Whether products of our own are for this processor: of bfloat16 (`is_low`), of float32. */
int multiplies(long is_low) {
#if defined(__AVX512BF16__)
    return 1;
#elif defined(__AVX512F__)
    return !is_low;
#else
    return 0;
#endif
}
