/* Answering with products of 8-bit integers. */
#include "int8.h"

#include "answering.h"
