/* What a training step does beside the large products of float32: see the headers. */
#include "lstm.h"
#include "numbers.h"
#include "passes.h"
#include "product.h"
#include "short_attention.h"

/* Whether the processor multiplies bfloat16. */
int multiplies_bf16(void) {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}
