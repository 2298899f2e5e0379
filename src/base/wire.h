/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor over bytes from outside, with a sticky error: reads after an error give zero and move nothing, so that a
 * parser is a straight line of reads and one check at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
	uint8_t *start;
	size_t size, at;
	bool bad; /* a read or write went past the end */
};

/* Borrow `size` bytes; for reading only, when they are const. */
struct wire wire_reader(const void *data, size_t size);
struct wire wire_writer(void *data, size_t size);
size_t wire_left(const struct wire *w);

uint8_t wire_u8(struct wire *w);
uint16_t wire_be16(struct wire *w);
uint16_t wire_le16(struct wire *w);
uint32_t wire_le32(struct wire *w);
uint64_t wire_le64(struct wire *w);
/* The next n bytes in place, or NULL (and bad). */
const uint8_t *wire_take(struct wire *w, size_t n);

void wire_put_u8(struct wire *w, uint8_t v);
void wire_put_le16(struct wire *w, uint16_t v);
void wire_put_le32(struct wire *w, uint32_t v);
void wire_put_le64(struct wire *w, uint64_t v);
void wire_put(struct wire *w, const void *data, size_t n);
