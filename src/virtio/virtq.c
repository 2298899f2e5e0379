/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking and filling a split ring whose other side is hostile.
 *
 * Double fetches are the classic fault here: a field is checked, changed by another CPU of the guest, and used. So nothing
 * below reads a field of the ring twice: fetch_*() copies, with a compiler barrier after it, and all that follows works
 * on the copy. The pointers to the three parts of the ring are made once, at the start, for their whole length.
 *
 * Barriers, and the driver's half that each pairs with (Linux: drivers/virtio/virtio_ring.c):
 *
 *	A	acquire after reading avail->idx	entry and descriptors were written before it (virtio_wmb)
 *	B	release before writing used->idx	the entry is seen before the index (virtio_rmb)
 *	C	full between writing used->idx and reading used_event or flags
 *						driver: writes used_event or flags, full barrier, reads used->idx
 *	D	full between writing avail_event or flags and reading avail->idx
 *						driver: writes avail->idx, full barrier, reads avail_event or flags
 *
 * C and D are the two halves of "either I see what you did, or you see that I want to be told": without them both sides
 * can go to sleep.
 */
#include "virtio/virtq.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define barrier() __asm__ volatile("" ::: "memory")

static uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

/* One copy of a descriptor, in our byte order, that can no longer change. Indirect tables need not be aligned. */
static struct vring_desc fetch_desc(const uint8_t *table, unsigned i)
{
	struct vring_desc d;

	memcpy(&d, table + i * sizeof(d), sizeof(d));
	barrier();
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

static unsigned ring_size(const struct virtq *q)
{
	return q->size_mask + 1u;
}

/* Where the driver says from which used index on it wants an interrupt: after the last entry of the available ring. */
static uint16_t *used_event(const struct virtq *q)
{
	return &q->avail->ring[ring_size(q)];
}

/* Where we say from which available index on we want a kick: after the last entry of the used ring. */
static uint16_t *avail_event(const struct virtq *q)
{
	return (uint16_t *)(void *)&q->used->ring[ring_size(q)];
}

static void interrupt(struct virtq *q)
{
	uint64_t one = 1;

	q->n_calls++;
	if (q->call_fd >= 0)
		(void)!write(q->call_fd, &one, sizeof(one)); /* full counter: the guest has been told often enough */
}

int virtq_break(struct virtq *q, int err)
{
	uint64_t one = 1;

	if (q->broken)
		return q->broken;
	q->broken = err;
	if (q->err_fd >= 0)
		(void)!write(q->err_fd, &one, sizeof(one));
	return err;
}

static bool aligned(const void *p, uintptr_t alignment)
{
	return ((uintptr_t)p & (alignment - 1)) == 0;
}

int virtq_start(struct virtq *q, struct gmem *mem, const struct virtq_setup *setup)
{
	uint64_t n = setup->size;

	if (n == 0 || n > VIRTQ_SIZE_MAX || (n & (n - 1)) != 0)
		return -EINVAL;
	*q = (struct virtq){ .mem = mem, .size_mask = (uint16_t)(n - 1), .call_fd = setup->call_fd, .err_fd = setup->err_fd };
	q->desc = gmem_at_user(mem, setup->desc, n * sizeof(struct vring_desc));
	q->avail = gmem_at_user(mem, setup->avail, sizeof(struct vring_avail) + (n + 1) * sizeof(uint16_t));
	q->used = gmem_at_user(mem, setup->used, sizeof(struct vring_used) + n * sizeof(struct vring_used_elem) + sizeof(uint16_t));
	if (!q->desc || !q->avail || !q->used)
		return -EFAULT;
	if (!aligned(q->desc, 16) || !aligned(q->avail, 2) || !aligned(q->used, 4))
		return -EINVAL;
	q->event_idx = setup->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	q->indirect = setup->features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	q->next_used = load16(&q->used->idx);
	q->next_avail = q->avail_seen = q->published = q->notified = q->next_used;
	store16(&q->used->flags, 0);
	q->started = true;
	if (q->published != 0)
		interrupt(q); /* whoever served this ring before may have died between publishing and interrupting */
	return 0;
}

uint16_t virtq_stop(struct virtq *q)
{
	uint16_t base = q->published;

	*q = (struct virtq)VIRTQ_NULL;
	return base;
}

/*
 * Read the driver's index; what lies between ours and it is waiting. No honest driver has more chains out than the ring
 * has entries, nor takes back one that we have popped.
 */
static int refresh(struct virtq *q)
{
	uint16_t seen = le16toh(__atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE)); /* A */
	uint16_t outstanding = (uint16_t)(seen - q->published), popped = (uint16_t)(q->next_avail - q->published);

	if (outstanding > ring_size(q) || outstanding < popped)
		return virtq_break(q, -EPROTO);
	q->avail_seen = seen;
	return 0;
}

unsigned virtq_waiting(struct virtq *q)
{
	if (!q->started || q->broken || refresh(q) < 0)
		return 0;
	return (uint16_t)(q->avail_seen - q->next_avail);
}

/**
 * struct walk - a chain being collected
 * @sum:	bytes of both directions
 * @n_seen:	descriptors looked at: empty ones cost the guest nothing, but they cost us
 */
struct walk {
	struct virtq *q;
	struct virtq_chain *chain;
	unsigned room, n_seen;
	uint64_t sum;
};

/* Take one data descriptor into the chain. */
static int walk_add(struct walk *w, const struct vring_desc *d)
{
	struct virtq_chain *chain = w->chain;
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint64_t at = d->addr, left = d->len, got;

	if (!writable && chain->n_in > 0)
		return -EPROTO;
	w->sum += left;
	if (w->sum > UINT32_MAX)
		return -EMSGSIZE;
	while (left > 0) {
		void *p = gmem_part(w->q->mem, at, left, &got);

		if (!p)
			return -EFAULT;
		if (chain->n_out + chain->n_in == w->room)
			return -E2BIG;
		chain->iov[chain->n_out + chain->n_in] = (struct iovec){ .iov_base = p, .iov_len = got };
		if (writable) {
			chain->n_in++;
			chain->in_bytes += (uint32_t)got;
		} else {
			chain->n_out++;
			chain->out_bytes += (uint32_t)got;
		}
		at += got;
		left -= got;
	}
	return 0;
}

/*
 * Follow `next` through a table of n, from its entry i. 0 at the end of the chain; 1 at an indirect descriptor, which is
 * allowed only where there is a place for it, and only as the last.
 */
static int walk_table(struct walk *w, const uint8_t *table, unsigned n, unsigned i, struct vring_desc *ret_indirect)
{
	for (unsigned steps = 0; steps < n; steps++) {
		struct vring_desc d = fetch_desc(table, i);
		int r;

		if (w->n_seen++ == VIRTQ_CHAIN_MAX)
			return -E2BIG;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!ret_indirect || d.flags & VRING_DESC_F_NEXT)
				return -EPROTO;
			*ret_indirect = d;
			return 1;
		}
		r = walk_add(w, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		if (d.next >= n)
			return -EPROTO;
		i = d.next;
	}
	return -EPROTO; /* more steps than entries: a loop */
}

static int walk_indirect(struct walk *w, const struct vring_desc *d)
{
	uint32_t n = d->len / sizeof(struct vring_desc);
	const uint8_t *table;

	if (!w->q->indirect || n == 0 || d->len % sizeof(struct vring_desc) != 0 || n > VIRTQ_SIZE_MAX)
		return -EPROTO;
	table = gmem_at(w->q->mem, d->addr, d->len);
	if (!table)
		return -EFAULT;
	return walk_table(w, table, n, 0, NULL);
}

static int walk_chain(struct walk *w)
{
	struct vring_desc indirect;
	int r = walk_table(w, w->q->desc, ring_size(w->q), w->chain->head, &indirect);

	return r > 0 ? walk_indirect(w, &indirect) : r;
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain, struct iovec *iov, unsigned room)
{
	struct walk w = { .q = q, .chain = chain, .room = room };
	int r;

	if (!q->started || q->broken)
		return q->broken;
	if (q->next_avail == q->avail_seen) {
		r = refresh(q);
		if (r < 0)
			return r;
		if (q->next_avail == q->avail_seen)
			return 0;
	}
	*chain = (struct virtq_chain){ .iov = iov, .head = load16(&q->avail->ring[q->next_avail & q->size_mask]) };
	if (chain->head > q->size_mask)
		return virtq_break(q, -EPROTO);
	r = walk_chain(&w);
	if (r < 0)
		return virtq_break(q, r);
	q->next_avail++;
	q->n_chains++;
	return 1;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	uint16_t outstanding = (uint16_t)(q->next_avail - q->next_used);

	if (!q->started)
		return;
	n = n < outstanding ? n : outstanding;
	q->next_avail = (uint16_t)(q->next_avail - n);
	q->n_chains -= n;
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t written)
{
	struct vring_used_elem *elem;

	if (!q->started || q->broken)
		return;
	elem = &q->used->ring[q->next_used & q->size_mask];
	elem->id = htole32(chain->head);
	elem->len = htole32(written < chain->in_bytes ? written : chain->in_bytes);
	q->next_used++;
}

void virtq_publish(struct virtq *q)
{
	if (!q->started || q->broken || q->published == q->next_used)
		return;
	__atomic_store_n(&q->used->idx, htole16(q->next_used), __ATOMIC_RELEASE); /* B */
	q->published = q->next_used;
}

static bool wants_interrupt(struct virtq *q)
{
	uint16_t old = q->notified;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* C */
	q->notified = q->published;
	if (q->event_idx)
		return vring_need_event(load16(used_event(q)), q->published, old);
	return !(load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

void virtq_notify(struct virtq *q)
{
	if (q->started && !q->broken && q->notified != q->published && wants_interrupt(q))
		interrupt(q);
}

void virtq_set_call(struct virtq *q, int call_fd)
{
	q->call_fd = call_fd;
	if (q->started)
		interrupt(q);
}

/* With EVENT_IDX nothing is written: an avail_event that is behind draws no kick, until the index has gone all around. */
void virtq_kicks_off(struct virtq *q)
{
	if (q->started && !q->broken && !q->event_idx)
		store16(&q->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool virtq_kicks_on(struct virtq *q)
{
	if (!q->started || q->broken)
		return false;
	if (q->event_idx)
		store16(avail_event(q), q->next_avail);
	else
		store16(&q->used->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* D */
	return virtq_waiting(q) > 0;
}

static size_t copy_iov(struct iovec *iov, unsigned n, size_t offset, uint8_t *data, size_t size, bool to_iov)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < size; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - offset;
		part = part < size - done ? part : size - done;
		if (to_iov)
			memcpy((uint8_t *)iov[i].iov_base + offset, data + done, part);
		else
			memcpy(data + done, (uint8_t *)iov[i].iov_base + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *chain, size_t offset, void *data, size_t size)
{
	size_t n = copy_iov(chain->iov, chain->n_out, offset, data, size, false);

	barrier(); /* what the caller checks is this copy */
	return n;
}

size_t virtq_chain_write(const struct virtq_chain *chain, size_t offset, const void *data, size_t size)
{
	return copy_iov(chain->iov + chain->n_out, chain->n_in, offset, (uint8_t *)(uintptr_t)data, size, true);
}
