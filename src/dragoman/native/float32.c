/* Answering with products of float32. */
#include "float32.h"

#include "answering.h"
