/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/own.h"

#define KEEP_CHUNKS 64u /* do not bother the kernel for less than this when the pool runs empty */

int pool_init(struct pool *p, size_t bytes)
{
	*p = (struct pool){ .n_chunks = (uint32_t)MIN(bytes / POOL_CHUNK, (size_t)UINT32_MAX - 1), .free = POOL_NONE };
	p->base = mmap(NULL, (size_t)p->n_chunks * POOL_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	if (p->base == MAP_FAILED) {
		p->base = NULL;
		return -errno;
	}
	p->next = calloc(p->n_chunks, sizeof(*p->next));
	if (!p->next) {
		pool_deinit(p);
		return -ENOMEM;
	}
	return 0;
}

void pool_deinit(struct pool *p)
{
	if (p->base)
		munmap(p->base, (size_t)p->n_chunks * POOL_CHUNK);
	free(p->next);
	*p = (struct pool){ .free = POOL_NONE };
}

static uint8_t *chunk_at(const struct pool *p, uint32_t chunk)
{
	return p->base + (size_t)chunk * POOL_CHUNK;
}

static uint32_t chunk_get(struct pool *p)
{
	uint32_t chunk = p->free;

	if (chunk != POOL_NONE)
		p->free = p->next[chunk];
	else
		chunk = p->high++;
	p->next[chunk] = POOL_NONE;
	p->n_used++;
	return chunk;
}

static void chunk_put(struct pool *p, uint32_t chunk)
{
	p->next[chunk] = p->free;
	p->free = chunk;
	if (--p->n_used > 0 || p->high <= KEEP_CHUNKS)
		return;
	(void)madvise(chunk_at(p, KEEP_CHUNKS), (size_t)(p->high - KEEP_CHUNKS) * POOL_CHUNK, MADV_DONTNEED);
	p->free = POOL_NONE;
	p->high = 0;
}

/* Room left in the last chunk. */
static uint32_t tail_room(const struct queue *q)
{
	uint32_t used = (q->start + q->bytes) % POOL_CHUNK;

	if (q->tail == POOL_NONE)
		return 0;
	return used ? POOL_CHUNK - used : 0;
}

static void append(struct pool *p, struct queue *q, const uint8_t *data, size_t size)
{
	while (size) {
		uint32_t room = tail_room(q), n;

		if (!room) {
			uint32_t chunk = chunk_get(p);

			if (q->tail == POOL_NONE) {
				q->head = chunk;
				q->start = 0;
			} else {
				p->next[q->tail] = chunk;
			}
			q->tail = chunk;
			room = POOL_CHUNK;
		}
		n = (uint32_t)MIN(size, (size_t)room);
		memcpy(chunk_at(p, q->tail) + (POOL_CHUNK - room), data, n);
		q->bytes += n;
		data += n;
		size -= n;
	}
}

int queue_add(struct pool *p, struct queue *q, const struct iovec *iov, unsigned n, size_t skip, size_t bytes)
{
	size_t room = (size_t)(p->n_chunks - p->n_used) * POOL_CHUNK + tail_room(q);

	if (bytes > room || bytes > UINT32_MAX - POOL_CHUNK - q->bytes)
		return -ENOBUFS;
	for (unsigned i = 0; i < n && bytes; i++) {
		size_t part;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - skip, bytes);
		append(p, q, (const uint8_t *)iov[i].iov_base + skip, part);
		skip = 0;
		bytes -= part;
	}
	return 0;
}

int queue_add_bytes(struct pool *p, struct queue *q, const void *data, size_t size)
{
	union {
		const void *in;
		void *out;
	} bytes = { .in = data }; /* only read */
	struct iovec iov = { .iov_base = bytes.out, .iov_len = size };

	return queue_add(p, q, &iov, 1, 0, size);
}

unsigned queue_peek(const struct pool *p, const struct queue *q, struct iovec *iov, unsigned room, size_t max)
{
	uint32_t chunk = q->head, at = q->start;
	size_t left = MIN((size_t)q->bytes, max);
	unsigned n = 0;

	while (left && n < room) {
		size_t part = MIN((size_t)(POOL_CHUNK - at), left);

		iov[n++] = (struct iovec){ .iov_base = chunk_at(p, chunk) + at, .iov_len = part };
		left -= part;
		at = 0;
		chunk = p->next[chunk];
	}
	return n;
}

size_t queue_copy(const struct pool *p, const struct queue *q, size_t offset, void *data, size_t size)
{
	uint32_t chunk = q->head, at = q->start;
	size_t left = q->bytes, done = 0;

	while (left && done < size) {
		size_t part = MIN((size_t)(POOL_CHUNK - at), left), skip = MIN(offset, part), n = MIN(part - skip, size - done);

		memcpy((uint8_t *)data + done, chunk_at(p, chunk) + at + skip, n);
		done += n;
		offset -= skip;
		left -= part;
		at = 0;
		chunk = p->next[chunk];
	}
	return done;
}

void queue_drop(struct pool *p, struct queue *q, size_t bytes)
{
	bytes = MIN(bytes, (size_t)q->bytes);
	while (bytes) {
		uint32_t n = (uint32_t)MIN((size_t)(POOL_CHUNK - q->start), bytes), chunk = q->head;

		q->start += n;
		q->bytes -= n;
		bytes -= n;
		if (q->start < POOL_CHUNK && q->bytes)
			continue;
		q->head = p->next[chunk];
		q->start = 0;
		if (!q->bytes)
			q->head = q->tail = POOL_NONE;
		chunk_put(p, chunk);
	}
}

void queue_clear(struct pool *p, struct queue *q)
{
	queue_drop(p, q, q->bytes);
}
