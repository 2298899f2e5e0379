/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait: queues of small chunks out of one bounded pool.
 *
 * A connection owns chunks only while something of it waits, so a table of many thousand quiet connections costs nothing
 * here. The pool is one reservation of address space; pages appear with use and go back to the system when the pool has
 * run empty. Not more than the box's limit can wait in all.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define POOL_CHUNK 4096u
#define POOL_NONE UINT32_MAX

/**
 * struct pool - all chunks of a box
 * @high:	chunks from here on were never used since the pool was last empty
 */
struct pool {
	uint8_t *base;
	uint32_t *next;
	uint32_t n_chunks, n_used, free, high;
};

/**
 * struct queue - bytes in order, in a chain of chunks
 * @start:	offset of the first byte in the first chunk
 */
struct queue {
	uint32_t head, tail;
	uint32_t start, bytes;
};
#define QUEUE_NULL { .head = POOL_NONE, .tail = POOL_NONE }

int pool_init(struct pool *p, size_t bytes);
void pool_deinit(struct pool *p);

/* Append all of it, or nothing: -ENOBUFS. */
int queue_add(struct pool *p, struct queue *q, const struct iovec *iov, unsigned n, size_t skip, size_t bytes);
int queue_add_bytes(struct pool *p, struct queue *q, const void *data, size_t size);
/* The first bytes, at most max, in place: entries of iov filled. */
unsigned queue_peek(const struct pool *p, const struct queue *q, struct iovec *iov, unsigned room, size_t max);
/* Copy out without removing, from `offset`: bytes copied. */
size_t queue_copy(const struct pool *p, const struct queue *q, size_t offset, void *data, size_t size);
void queue_drop(struct pool *p, struct queue *q, size_t bytes);
void queue_clear(struct pool *p, struct queue *q);
