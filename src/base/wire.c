/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <string.h>

struct wire wire_reader(const void *data, size_t size)
{
	union {
		const void *in;
		uint8_t *out;
	} bytes = { .in = data }; /* readers never write through it */

	return (struct wire){ .start = bytes.out, .size = size };
}

struct wire wire_writer(void *data, size_t size)
{
	return (struct wire){ .start = data, .size = size };
}

size_t wire_left(const struct wire *w)
{
	return w->bad ? 0 : w->size - w->at;
}

static uint8_t *advance(struct wire *w, size_t n)
{
	uint8_t *p;

	if (w->bad || w->size - w->at < n) {
		w->bad = true;
		return NULL;
	}
	p = w->start + w->at;
	w->at += n;
	return p;
}

const uint8_t *wire_take(struct wire *w, size_t n)
{
	return advance(w, n);
}

static uint64_t get(struct wire *w, unsigned n, bool big)
{
	const uint8_t *p = advance(w, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << 8 * (big ? n - 1 - i : i);
	return v;
}

static void put(struct wire *w, uint64_t v, unsigned n)
{
	uint8_t *p = advance(w, n);

	for (unsigned i = 0; p && i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

uint8_t wire_u8(struct wire *w)
{
	return (uint8_t)get(w, 1, false);
}

uint16_t wire_be16(struct wire *w)
{
	return (uint16_t)get(w, 2, true);
}

uint16_t wire_le16(struct wire *w)
{
	return (uint16_t)get(w, 2, false);
}

uint32_t wire_le32(struct wire *w)
{
	return (uint32_t)get(w, 4, false);
}

uint64_t wire_le64(struct wire *w)
{
	return get(w, 8, false);
}

void wire_put_u8(struct wire *w, uint8_t v)
{
	put(w, v, 1);
}

void wire_put_le16(struct wire *w, uint16_t v)
{
	put(w, v, 2);
}

void wire_put_le32(struct wire *w, uint32_t v)
{
	put(w, v, 4);
}

void wire_put_le64(struct wire *w, uint64_t v)
{
	put(w, v, 8);
}

void wire_put(struct wire *w, const void *data, size_t n)
{
	uint8_t *p = advance(w, n);

	if (p && n)
		memcpy(p, data, n);
}
