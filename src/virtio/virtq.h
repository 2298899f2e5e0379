/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueue, device side (VIRTIO 1.2 section 2.7).
 *
 * The ring is shared with a guest that may write anything at any time. Each descriptor is copied once, the copy is
 * checked and used; every walk is bounded by the ring's or table's size; what is wrong gives a negative errno and makes
 * the queue `broken`: pop says the same from then on, push does nothing, until the queue is started anew.
 *
 * Our devices use chains in the order in which they came. So the used index alone says where a queue stands: whoever
 * starts a queue (a first time, after a change of memory, after a crash) goes on from there, and chains that were popped
 * but never pushed come again.
 *
 * A device's handler:
 *
 *	do {
 *		virtq_kicks_off(q);
 *		while (virtq_pop(q, &chain, iov, ARRAY_SIZE(iov)) > 0) {
 *			... chain.iov[0 .. n_out) is readable, chain.iov[n_out .. n_out + n_in) writable
 *			virtq_push(q, &chain, bytes_written);
 *		}
 *		virtq_flush(q);
 *	} while (virtq_kicks_on(q));
 *
 * A device that must stop half-way (back-pressure, its share of a turn) leaves kicks off and comes back by itself.
 */
#pragma once

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/gmem.h"

#define VIRTQ_SIZE_MAX 32768u
#define VIRTQ_CHAIN_MAX 1024u /* descriptors looked at for one chain, empty ones and both tables counted */

/**
 * struct virtq_setup - what a front end says about a queue before it starts
 * @size:	entries, a power of two
 * @desc, @avail, @used: addresses of the front end's
 * @features:	negotiated bits; VIRTIO_RING_F_EVENT_IDX and VIRTIO_RING_F_INDIRECT_DESC matter here
 * @call_fd:	eventfd that interrupts the guest, non-blocking, or -1; borrowed
 * @err_fd:	eventfd that is written once when the queue breaks, or -1; borrowed
 */
struct virtq_setup {
	uint32_t size;
	uint64_t desc, avail, used;
	uint64_t features;
	int call_fd, err_fd;
};

/**
 * struct virtq - one queue
 * @next_avail:	index of the next entry to pop
 * @avail_seen:	the driver's index when last read
 * @next_used:	index of the next used entry to write
 * @published:	used index that the driver sees
 * @notified:	used index when the driver was last considered for an interrupt
 * @broken:	0, or the negative errno that broke it
 */
struct virtq {
	struct gmem *mem;
	const uint8_t *desc; /* struct vring_desc each */
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size_mask;
	uint16_t next_avail, avail_seen, next_used, published, notified;
	bool started, event_idx, indirect;
	int broken;
	int call_fd, err_fd;
	uint64_t n_chains, n_calls; /* popped; interrupts sent */
};

#define VIRTQ_NULL { .call_fd = -1, .err_fd = -1 }

/**
 * struct virtq_chain - one popped chain
 * @head:	its name in the used ring
 * @n_out, @n_in: entries of iov that the device reads, and after them those that it writes
 * @out_bytes, @in_bytes: their sums
 */
struct virtq_chain {
	struct iovec *iov;
	uint16_t head;
	unsigned n_out, n_in;
	uint32_t out_bytes, in_bytes;
};

/* Start at the used index found in memory. 0, -EINVAL (size, alignment), -EFAULT (not in guest memory). Resets `broken`. */
int virtq_start(struct virtq *q, struct gmem *mem, const struct virtq_setup *setup);
/* Forget the memory. Later calls do nothing (pop: 0). Returns the index to tell as vring base: everything before it is used. */
uint16_t virtq_stop(struct virtq *q);

/*
 * Next chain: 1; none: 0; a negative errno when the queue is (or becomes) broken. Entries go into iov[room], which stays
 * the caller's; a descriptor takes one, or one more where it crosses from region to region; empty ones take none.
 * -E2BIG (more entries than room, more descriptors than VIRTQ_CHAIN_MAX), -EPROTO (index jump, loop, nested or misused
 * indirect table, readable after writable), -EFAULT (outside of memory), -EMSGSIZE (more than 4 GiB - 1 in sum).
 */
int virtq_pop(struct virtq *q, struct virtq_chain *chain, struct iovec *iov, unsigned room);
/* Put back the last n chains popped and not pushed. */
void virtq_unpop(struct virtq *q, unsigned n);
/* Chains waiting, at most the ring's size; 0 when broken. Reads the driver's index anew. */
unsigned virtq_waiting(struct virtq *q);

/* Write a used entry, in the order of pops. The driver sees it after virtq_publish(). `written` is cut to in_bytes. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t written);
/* Show all pushed entries. */
void virtq_publish(struct virtq *q);
/* Interrupt the guest, if entries were published since the last time and the driver wants to know. */
void virtq_notify(struct virtq *q);
static inline void virtq_flush(struct virtq *q)
{
	virtq_publish(q);
	virtq_notify(q);
}

/* Entries published that the driver was not considered for an interrupt for: virtq_notify() may wait while they are few. */
static inline uint16_t virtq_unnotified(const struct virtq *q)
{
	return (uint16_t)(q->published - q->notified);
}

/* Another eventfd to interrupt with; used once at once, since an interrupt may have gone to the old one unseen. */
void virtq_set_call(struct virtq *q, int call_fd);

/* Ask the driver not to kick while we look anyway. A hint: kicks may still come. */
void virtq_kicks_off(struct virtq *q);
/* Ask for kicks from now on. True: chains came meanwhile, look again. */
bool virtq_kicks_on(struct virtq *q);

/* Mark as broken from outside: a chain that is well-formed but nonsense to the device. Returns err. */
int virtq_break(struct virtq *q, int err);

/* Copy from the readable (to the writable) part, starting `offset` bytes into it. Returns the bytes copied, <= size. */
size_t virtq_chain_read(const struct virtq_chain *chain, size_t offset, void *data, size_t size);
size_t virtq_chain_write(const struct virtq_chain *chain, size_t offset, const void *data, size_t size);
