/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzzers whose input is a program of operations: an invariant check, and the input as a stream of decisions. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* An invariant of the code under test; unlike assert() it is never compiled out. */
#define fuzz_check(condition)                                                                       \
	do {                                                                                        \
		if (!(condition)) {                                                                 \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort();                                                                    \
		}                                                                                   \
	} while (0)

/* The input as a stream of decisions; zeros once it has run out. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

static inline size_t fuzz_take(struct fuzz_input *in, void *ret, size_t n)
{
	size_t got = n < in->size ? n : in->size;

	memset(ret, 0, n);
	if (got > 0)
		memcpy(ret, in->data, got);
	in->data += got;
	in->size -= got;
	return got;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t v;

	fuzz_take(in, &v, sizeof(v));
	return v;
}
