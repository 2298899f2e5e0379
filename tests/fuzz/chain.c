/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split ring in memory that the input writes, served by a device that does what the input says (S01, S02).
 *
 * Memory is two regions, neighbours for the guest from address 0 on, apart for us. The ring's parts lie at fixed places in
 * the first page. The input: ring size and features, then records: an operation, its operands.
 */
#include "input.h"

#include <linux/virtio_ring.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/own.h"
#include "virtio/virtq.h"

#define REGION 65536u
#define USER 0x100000u
#define DESC 0u
#define AVAIL 0x400u
#define USED 0x600u
#define SIZE_MAX_LOG 5u /* 32 entries fill 0 .. 0x200 */
#define ROOM 48u

enum operation {
	WRITE, /* u16 where, u8 how much, bytes */
	OFFER, /* u8 head: made available as an honest driver would */
	POP,
	PUSH, /* u16 bytes written */
	FLUSH,
	KICKS,
	UNPOP, /* u8 */
	RESTART,
	N_OPERATIONS,
};

struct fuzz {
	struct fuzz_input in;
	uint8_t *ram; /* what the driver sees */
	struct gmem mem;
	struct virtq q;
	struct virtq_setup setup;
	struct virtq_chain held[1u << SIZE_MAX_LOG];
	unsigned n_held;
};

static void do_write(struct fuzz *f)
{
	uint16_t at = fuzz_u16(&f->in) & 0xfff;
	uint8_t bytes[256], n = fuzz_u8(&f->in);

	n = (uint8_t)fuzz_take(&f->in, bytes, n);
	memcpy(f->ram + at, bytes, n);
}

static void do_offer(struct fuzz *f)
{
	struct vring_avail *avail = (void *)(f->ram + AVAIL);
	uint16_t i = __atomic_load_n(&avail->idx, __ATOMIC_RELAXED);

	avail->ring[i & (f->setup.size - 1)] = fuzz_u8(&f->in);
	__atomic_store_n(&avail->idx, (uint16_t)(i + 1), __ATOMIC_RELEASE);
}

/* Every entry lies in one of the regions, readable ones first, and the sums are theirs. Touch all of it. */
static void check_chain(struct fuzz *f, const struct virtq_chain *c)
{
	uint64_t out = 0, in = 0;

	fuzz_check(c->n_out + c->n_in <= ROOM);
	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		const struct iovec *v = &c->iov[i];
		bool inside = false;

		for (unsigned k = 0; k < f->mem.n_regions; k++) {
			size_t at = (size_t)((uint8_t *)v->iov_base - f->mem.region[k].host);

			inside |= at < REGION && v->iov_len <= REGION - at;
		}
		fuzz_check(inside && v->iov_len > 0);
		if (i < c->n_out)
			out += v->iov_len;
		else
			in += v->iov_len;
	}
	fuzz_check(out == c->out_bytes && in == c->in_bytes);
}

static void do_pop(struct fuzz *f)
{
	static uint8_t data[2 * REGION];
	struct iovec iov[ROOM];
	struct virtq_chain c;
	int r;

	if (f->n_held == f->setup.size)
		return;
	r = virtq_pop(&f->q, &c, iov, ROOM);
	fuzz_check(r <= 1 && (r >= 0 || f->q.broken == r));
	if (r <= 0)
		return;
	check_chain(f, &c);
	fuzz_check(virtq_chain_read(&c, 0, data, sizeof(data)) <= c.out_bytes);
	fuzz_check(virtq_chain_write(&c, c.in_bytes / 2, data, sizeof(data)) <= c.in_bytes - c.in_bytes / 2);
	fuzz_check(virtq_chain_read(&c, (size_t)c.out_bytes + 1, data, sizeof(data)) == 0);
	c.iov = NULL;
	f->held[f->n_held++] = c;
}

static void do_push(struct fuzz *f)
{
	if (f->n_held == 0)
		return;
	virtq_push(&f->q, &f->held[0], fuzz_u16(&f->in));
	f->n_held--;
	memmove(f->held, f->held + 1, f->n_held * sizeof(f->held[0]));
}

static void do_unpop(struct fuzz *f)
{
	unsigned n = fuzz_u8(&f->in);

	n = MIN(n, f->n_held);
	virtq_unpop(&f->q, n);
	f->n_held -= n;
}

static void do_restart(struct fuzz *f)
{
	virtq_stop(&f->q);
	f->n_held = 0;
	fuzz_check(virtq_start(&f->q, &f->mem, &f->setup) == 0);
}

static void do_kicks(struct fuzz *f)
{
	virtq_kicks_off(&f->q);
	fuzz_check(virtq_waiting(&f->q) <= f->setup.size);
	(void)virtq_kicks_on(&f->q);
}

static void do_flush(struct fuzz *f)
{
	virtq_flush(&f->q);
}

static void (*const operations[N_OPERATIONS])(struct fuzz *f) = {
	[WRITE] = do_write, [OFFER] = do_offer, [POP] = do_pop,	    [PUSH] = do_push,
	[FLUSH] = do_flush, [KICKS] = do_kicks, [UNPOP] = do_unpop, [RESTART] = do_restart,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { .in = { data, size }, .q = VIRTQ_NULL };
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	const struct gmem_share shares[] = {
		{ .gpa = 0, .user = USER, .size = REGION, .fd = fd },
		{ .gpa = REGION, .user = USER + 4 * REGION, .size = REGION, .offset = REGION, .fd = fd },
	};

	fuzz_check(fd >= 0 && ftruncate(fd, 2 * REGION) == 0);
	f.ram = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fuzz_check(f.ram != MAP_FAILED && gmem_set(&f.mem, shares, 2) == 0);
	f.setup = (struct virtq_setup){
		.size = 1u << fuzz_u8(&f.in) % (SIZE_MAX_LOG + 1),
		.desc = USER + DESC,
		.avail = USER + AVAIL,
		.used = USER + USED,
		.features = (uint64_t)fuzz_u8(&f.in) << VIRTIO_RING_F_INDIRECT_DESC,
		.call_fd = -1,
		.err_fd = -1,
	};
	do_restart(&f);
	while (f.in.size > 0)
		operations[fuzz_u8(&f.in) % N_OPERATIONS](&f);
	virtq_stop(&f.q);
	gmem_deinit(&f.mem);
	munmap(f.ram, 2 * REGION);
	return 0;
}
