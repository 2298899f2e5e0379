/* SPDX-License-Identifier: Apache-2.0 */
/* The device's side of a ring against an honest driver (tests/lib/ring_driver) and against scribbles on its memory (S02). */
#include "../../lib/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "ring_driver.h"
#include "virtio/virtq.h"

#define SIZE 16u
#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

struct bench {
	struct driver_ram ram;
	struct driver_ring driver;
	struct gmem mem;
	struct virtq q;
	struct virtq_setup setup;
	uint8_t *data; /* one page of the guest's */
	struct iovec iov[64];
	struct virtq_chain chain;
};

static void bench_init(struct bench *b, uint16_t size, uint64_t features)
{
	struct gmem_share share = { .gpa = DRIVER_RAM_GPA, .user = DRIVER_RAM_USER, .size = 4u << 20 };

	*b = (struct bench){ .q = VIRTQ_NULL };
	assert_int_equal(driver_ram_init(&b->ram, 4u << 20), 0);
	assert_int_equal(driver_ring_init(&b->driver, &b->ram, size, features), 0);
	share.fd = b->ram.fd;
	assert_int_equal(gmem_set(&b->mem, &share, 1), 0);
	b->data = driver_ram_alloc(&b->ram, 65536, 4096);
	b->setup = (struct virtq_setup){
		.size = size,
		.desc = driver_ram_user(&b->ram, b->driver.desc),
		.avail = driver_ram_user(&b->ram, b->driver.avail),
		.used = driver_ram_user(&b->ram, b->driver.used),
		.features = features,
		.call_fd = b->driver.call_fd,
		.err_fd = -1,
	};
	assert_int_equal(virtq_start(&b->q, &b->mem, &b->setup), 0);
}

static void bench_deinit(struct bench *b)
{
	virtq_stop(&b->q);
	gmem_deinit(&b->mem);
	driver_ring_deinit(&b->driver);
	driver_ram_deinit(&b->ram);
}

static int pop(struct bench *b)
{
	return virtq_pop(&b->q, &b->chain, b->iov, ARRAY_SIZE(b->iov));
}

static unsigned calls(struct bench *b)
{
	uint64_t count;

	return read(b->driver.call_fd, &count, sizeof(count)) == sizeof(count) ? (unsigned)count : 0;
}

static void put(struct bench *b, uint32_t out, uint32_t in, void *token)
{
	assert_int_equal(driver_ring_put(&b->driver, out ? b->data : NULL, out, in ? b->data + 4096 : NULL, in, token), 0);
	driver_ring_publish(&b->driver);
}

static void exchange(uint64_t features)
{
	struct bench b;
	uint32_t written;
	char text[64];

	bench_init(&b, SIZE, features);
	assert_int_equal(pop(&b), 0);
	for (unsigned round = 0; round < 5 * SIZE; round++) {
		memcpy(b.data, "question", 8);
		put(&b, 8, 100, &b);
		assert_int_equal(virtq_waiting(&b.q), 1);
		assert_int_equal(pop(&b), 1);
		assert_int_equal(b.chain.n_out, 1);
		assert_int_equal(b.chain.n_in, 1);
		assert_int_equal(b.chain.out_bytes, 8);
		assert_int_equal(b.chain.in_bytes, 100);
		assert_int_equal(virtq_chain_read(&b.chain, 2, text, sizeof(text)), 6);
		assert_memory_equal(text, "estion", 6);
		assert_int_equal(virtq_chain_write(&b.chain, 0, "answer", 6), 6);
		assert_int_equal(pop(&b), 0);
		assert_null(driver_ring_take(&b.driver, &written));
		virtq_push(&b.q, &b.chain, 6);
		assert_null(driver_ring_take(&b.driver, &written));
		virtq_flush(&b.q);
		assert_ptr_equal(driver_ring_take(&b.driver, &written), &b);
		assert_int_equal(written, 6);
		assert_memory_equal(b.data + 4096, "answer", 6);
	}
	bench_deinit(&b);
}

static void test_exchange(void **state)
{
	exchange(0);
	exchange(INDIRECT);
	exchange(EVENT_IDX);
	exchange(INDIRECT | EVENT_IDX);
}

/* A chain of any shape: many descriptors, empty ones among them. */
static void test_long_chain(void **state)
{
	struct driver_buffer buffers[12];
	struct bench b;

	for (unsigned features = 0; features < 2; features++) {
		bench_init(&b, SIZE, features ? INDIRECT : 0);
		for (unsigned i = 0; i < 12; i++)
			buffers[i] = (struct driver_buffer){ b.data + 100 * i, i % 4 };
		assert_int_equal(driver_ring_add(&b.driver, buffers, 8, 4, &b), 0);
		driver_ring_publish(&b.driver);
		assert_int_equal(pop(&b), 1);
		assert_int_equal(b.chain.n_out, 6);
		assert_int_equal(b.chain.n_in, 3);
		assert_int_equal(b.chain.out_bytes, 12);
		assert_int_equal(b.chain.in_bytes, 6);
		virtq_push(&b.q, &b.chain, 1000);
		virtq_flush(&b.q);
		{
			uint32_t written;

			assert_ptr_equal(driver_ring_take(&b.driver, &written), &b);
			assert_int_equal(written, 6); /* never more than there was room for */
		}
		bench_deinit(&b);
	}
}

static void test_batch_and_unpop(void **state)
{
	struct virtq_chain chains[SIZE];
	struct bench b;
	uint32_t written;
	int tokens[SIZE];

	bench_init(&b, SIZE, 0);
	for (unsigned i = 0; i < SIZE; i++)
		put(&b, 0, 10, &tokens[i]);
	assert_int_equal(virtq_waiting(&b.q), SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(virtq_pop(&b.q, &chains[i], b.iov, 64), 1);
	assert_int_equal(pop(&b), 0);
	virtq_unpop(&b.q, 3);
	assert_int_equal(virtq_waiting(&b.q), 3);
	for (unsigned i = 0; i < SIZE - 3; i++)
		virtq_push(&b.q, &chains[i], i);
	virtq_flush(&b.q);
	assert_int_equal(calls(&b), 1);
	for (unsigned i = 0; i < SIZE - 3; i++) {
		assert_ptr_equal(driver_ring_take(&b.driver, &written), &tokens[i]);
		assert_int_equal(written, MIN(i, 10));
	}
	assert_null(driver_ring_take(&b.driver, NULL));
	assert_int_equal(pop(&b), 1);
	assert_int_equal(b.chain.head, chains[SIZE - 3].head);
	virtq_unpop(&b.q, 100); /* no further back than what was pushed */
	assert_int_equal(virtq_waiting(&b.q), 3);
	bench_deinit(&b);
}

/* A queue that is stopped with chains in hand gives them again when it starts anew (crash, change of memory). */
static void test_resume(void **state)
{
	struct bench b;
	int tokens[4];

	bench_init(&b, SIZE, EVENT_IDX);
	for (unsigned i = 0; i < 4; i++)
		put(&b, 5, 0, &tokens[i]);
	assert_int_equal(pop(&b), 1);
	virtq_push(&b.q, &b.chain, 0);
	virtq_publish(&b.q);
	assert_int_equal(pop(&b), 1);
	assert_int_equal(virtq_stop(&b.q), 1);
	assert_int_equal(pop(&b), 0);
	assert_int_equal(calls(&b), 0);
	assert_int_equal(virtq_start(&b.q, &b.mem, &b.setup), 0);
	assert_int_equal(calls(&b), 1); /* published by the one before, never told */
	for (unsigned i = 1; i < 4; i++) {
		assert_int_equal(pop(&b), 1);
		virtq_push(&b.q, &b.chain, 0);
	}
	assert_int_equal(pop(&b), 0);
	virtq_flush(&b.q);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(driver_ring_take(&b.driver, NULL), &tokens[i]);
	bench_deinit(&b);
}

static void serve_one(struct bench *b)
{
	assert_int_equal(pop(b), 1);
	virtq_push(&b->q, &b->chain, 0);
	virtq_flush(&b->q);
	assert_non_null(driver_ring_take(&b->driver, NULL));
}

static void test_interrupts_flags(void **state)
{
	struct bench b;

	bench_init(&b, SIZE, 0);
	put(&b, 1, 0, &b);
	serve_one(&b);
	assert_int_equal(calls(&b), 1);
	b.driver.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	put(&b, 1, 0, &b);
	serve_one(&b);
	assert_int_equal(calls(&b), 0);
	virtq_notify(&b.q);
	assert_int_equal(calls(&b), 0);
	bench_deinit(&b);
}

static void test_interrupts_event_idx(void **state)
{
	struct bench b;

	bench_init(&b, SIZE, EVENT_IDX);
	*driver_ring_used_event(&b.driver) = 2; /* tell me about the third */
	for (unsigned i = 1; i <= 2 * 65536; i += i < 8 ? 1 : 4) { /* and past the wrap of the index, once more */
		put(&b, 1, 0, &b);
		serve_one(&b);
		assert_int_equal(calls(&b), b.driver.used_idx == 3 ? 1 : 0);
		if (i > 8)
			for (unsigned k = 1; k < 4; k++) {
				put(&b, 1, 0, &b);
				serve_one(&b);
				assert_int_equal(calls(&b), b.driver.used_idx == 3 ? 1 : 0);
			}
	}
	bench_deinit(&b);
}

static void test_kicks_flags(void **state)
{
	struct bench b;

	bench_init(&b, SIZE, 0);
	put(&b, 1, 0, &b);
	assert_true(driver_ring_kick(&b.driver));
	virtq_kicks_off(&b.q);
	assert_false(driver_ring_kick(&b.driver));
	assert_true(virtq_kicks_on(&b.q)); /* there is one already */
	serve_one(&b);
	assert_false(virtq_kicks_on(&b.q));
	assert_true(driver_ring_kick(&b.driver));
	bench_deinit(&b);
}

static void test_kicks_event_idx(void **state)
{
	struct bench b;

	bench_init(&b, SIZE, EVENT_IDX);
	for (unsigned i = 0; i < 3 * SIZE; i++) {
		assert_false(virtq_kicks_on(&b.q));
		put(&b, 1, 0, &b);
		assert_true(driver_ring_kick(&b.driver));
		virtq_kicks_off(&b.q);
		put(&b, 1, 0, &b);
		assert_false(driver_ring_kick(&b.driver)); /* avail_event is behind */
		serve_one(&b);
		assert_true(virtq_kicks_on(&b.q));
		serve_one(&b);
	}
	bench_deinit(&b);
}

static void test_refused_starts(void **state)
{
	struct bench b;
	struct virtq_setup s;
	const uint32_t sizes[] = { 0, 3, 15, 17, 65536, 0x80000000u, UINT32_MAX };

	bench_init(&b, SIZE, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		s = b.setup;
		s.size = sizes[i];
		assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EINVAL);
		assert_int_equal(pop(&b), 0);
	}
	s = b.setup;
	s.desc += 8;
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EINVAL);
	s = b.setup;
	s.avail += 1;
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EINVAL);
	s = b.setup;
	s.used += 2;
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EINVAL);
	s = b.setup;
	s.desc = DRIVER_RAM_USER + (4u << 20) - 16; /* only its beginning is in memory */
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EFAULT);
	s = b.setup;
	s.used = UINT64_MAX - 3;
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EFAULT);
	s = b.setup;
	s.avail = 0;
	assert_int_equal(virtq_start(&b.q, &b.mem, &s), -EFAULT);
	bench_deinit(&b);
}

/* One faulty chain: what is scribbled over an honest one of two out and one in buffers, and what pop says to it. */
struct fault {
	const char *name;
	void (*scribble)(struct bench *b);
	int expect;
	uint64_t features;
};

static void loop_to_self(struct bench *b) { b->driver.desc[1].next = 1; b->driver.desc[1].flags |= VRING_DESC_F_NEXT; }
static void loop_to_head(struct bench *b) { b->driver.desc[2].next = 0; b->driver.desc[2].flags |= VRING_DESC_F_NEXT; }
static void loop_of_empty(struct bench *b)
{
	for (unsigned i = 0; i < SIZE; i++)
		b->driver.desc[i] = (struct vring_desc){ .flags = VRING_DESC_F_NEXT, .next = (uint16_t)((i + 1) % SIZE) };
}
static void next_outside(struct bench *b) { b->driver.desc[0].next = SIZE; }
static void next_far_outside(struct bench *b) { b->driver.desc[0].next = 0xffff; }
static void head_outside(struct bench *b) { b->driver.avail->ring[0] = SIZE; }
static void index_jump(struct bench *b) { b->driver.avail->idx = SIZE + 1; }
static void index_back(struct bench *b) { b->driver.avail->idx = 0xffff; }
static void address_zero(struct bench *b) { b->driver.desc[1].addr = 0; }
static void address_end(struct bench *b) { b->driver.desc[1].addr = DRIVER_RAM_GPA + (4u << 20) - 7; }
static void address_wrap(struct bench *b) { b->driver.desc[1].addr = UINT64_MAX - 3; }
static void address_user(struct bench *b) { b->driver.desc[1].addr = DRIVER_RAM_USER; }
static void length_huge(struct bench *b) { b->driver.desc[1].len = UINT32_MAX - 8; }
static void lengths_overflow(struct bench *b)
{
	for (unsigned i = 0; i < SIZE; i++)
		b->driver.desc[i] = (struct vring_desc){
			.addr = DRIVER_RAM_GPA, .len = 4u << 20, .flags = VRING_DESC_F_NEXT, .next = (uint16_t)(i + 1),
		};
	b->driver.desc[2].len = UINT32_MAX;
}
static void read_after_write(struct bench *b) { b->driver.desc[0].flags |= VRING_DESC_F_WRITE; }
static void indirect_not_agreed(struct bench *b)
{
	b->driver.desc[0] = (struct vring_desc){ .addr = DRIVER_RAM_GPA, .len = 16, .flags = VRING_DESC_F_INDIRECT };
}

/* With indirect descriptors the honest chain is descriptor 0, its table of three entries is tables[0]. */
static void table_loop(struct bench *b) { b->driver.tables[0][2].flags |= VRING_DESC_F_NEXT; b->driver.tables[0][2].next = 0; }
static void table_next_outside(struct bench *b) { b->driver.tables[0][1].next = 3; }
static void table_nested(struct bench *b) { b->driver.tables[0][1].flags = VRING_DESC_F_INDIRECT; }
static void table_nested_in_itself(struct bench *b) { b->driver.tables[0][0] = b->driver.desc[0]; }
static void table_empty(struct bench *b) { b->driver.desc[0].len = 0; }
static void table_odd_length(struct bench *b) { b->driver.desc[0].len = 17; }
static void table_huge(struct bench *b) { b->driver.desc[0].len = 0xfffffff0u; }
static void table_outside(struct bench *b) { b->driver.desc[0].addr = DRIVER_RAM_GPA + (4u << 20) - 32; }
static void table_wrap(struct bench *b) { b->driver.desc[0].addr = UINT64_MAX - 15; }
static void table_and_next(struct bench *b) { b->driver.desc[0].flags |= VRING_DESC_F_NEXT; }
static void table_of_ring(struct bench *b) /* the table is the ring itself */
{
	b->driver.desc[0].addr = driver_ram_gpa(&b->ram, b->driver.desc);
	b->driver.desc[0].len = SIZE * 16;
}

static const struct fault faults[] = {
	{ "loop to itself", loop_to_self, -EPROTO },
	{ "loop to the head", loop_to_head, -EPROTO },
	{ "loop of empty descriptors", loop_of_empty, -EPROTO },
	{ "next outside", next_outside, -EPROTO },
	{ "next far outside", next_far_outside, -EPROTO },
	{ "head outside", head_outside, -EPROTO },
	{ "index jump", index_jump, -EPROTO },
	{ "index back", index_back, -EPROTO },
	{ "address 0", address_zero, -EFAULT },
	{ "address at the end", address_end, -EFAULT },
	{ "address wraps", address_wrap, -EFAULT },
	{ "address of the front end's", address_user, -EFAULT },
	{ "length beyond memory", length_huge, -EFAULT },
	{ "lengths above 4 GiB", lengths_overflow, -EMSGSIZE },
	{ "readable after writable", read_after_write, -EPROTO },
	{ "indirect not negotiated", indirect_not_agreed, -EPROTO },
	{ "table: loop", table_loop, -EPROTO, INDIRECT },
	{ "table: next outside", table_next_outside, -EPROTO, INDIRECT },
	{ "table: nested", table_nested, -EPROTO, INDIRECT },
	{ "table: nested in itself", table_nested_in_itself, -EPROTO, INDIRECT },
	{ "table: empty", table_empty, -EPROTO, INDIRECT },
	{ "table: odd length", table_odd_length, -EPROTO, INDIRECT },
	{ "table: huge", table_huge, -EPROTO, INDIRECT },
	{ "table: outside", table_outside, -EFAULT, INDIRECT },
	{ "table: wraps", table_wrap, -EFAULT, INDIRECT },
	{ "table: and next", table_and_next, -EPROTO, INDIRECT },
	{ "table: the ring itself", table_of_ring, -EPROTO, INDIRECT },
};

static void run_fault(const struct fault *f)
{
	struct driver_buffer buffers[3];
	struct bench b;
	int r;

	bench_init(&b, SIZE, f->features);
	for (unsigned i = 0; i < 3; i++)
		buffers[i] = (struct driver_buffer){ b.data + 64 * i, 8 };
	assert_int_equal(driver_ring_add(&b.driver, buffers, 2, 1, &b), 0);
	driver_ring_publish(&b.driver);
	f->scribble(&b);
	r = pop(&b);
	if (r != f->expect)
		print_error("%s:\n", f->name);
	assert_int_equal(r, f->expect);
	/* Broken for good: mending the ring does not help, and the driver gets nothing any more. */
	b.driver.desc[0] = (struct vring_desc){ .addr = DRIVER_RAM_GPA, .len = 1 };
	b.driver.avail->idx = 1;
	b.driver.avail->ring[0] = 0;
	assert_int_equal(pop(&b), f->expect);
	assert_int_equal(virtq_waiting(&b.q), 0);
	b.chain = (struct virtq_chain){ .head = 0 };
	virtq_push(&b.q, &b.chain, 0);
	virtq_flush(&b.q);
	assert_false(virtq_kicks_on(&b.q));
	assert_int_equal(b.driver.used->idx, 0);
	assert_int_equal(virtq_start(&b.q, &b.mem, &b.setup), 0);
	assert_int_equal(pop(&b), 1); /* until the driver is reset */
	bench_deinit(&b);
}

static void test_faults(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		run_fault(&faults[i]);
}

static void test_too_long_for_caller(void **state)
{
	struct driver_buffer buffers[5];
	struct bench b;

	bench_init(&b, SIZE, 0);
	for (unsigned i = 0; i < 5; i++)
		buffers[i] = (struct driver_buffer){ b.data, 1 };
	assert_int_equal(driver_ring_add(&b.driver, buffers, 5, 0, &b), 0);
	driver_ring_publish(&b.driver);
	assert_int_equal(virtq_pop(&b.q, &b.chain, b.iov, 4), -E2BIG);
	bench_deinit(&b);
}

/* Thousands of empty descriptors cost the guest nothing; looking at them must not cost us more than so much. */
static void test_empty_descriptors(void **state)
{
	struct bench b;

	for (unsigned n = VIRTQ_CHAIN_MAX; n <= VIRTQ_CHAIN_MAX + 1; n++) {
		bench_init(&b, 4096, 0);
		for (unsigned i = 0; i < n; i++)
			b.driver.desc[i] = (struct vring_desc){ .flags = i + 1 < n ? VRING_DESC_F_NEXT : 0, .next = (uint16_t)(i + 1) };
		b.driver.avail->idx = 1;
		assert_int_equal(pop(&b), n <= VIRTQ_CHAIN_MAX ? 1 : -E2BIG);
		bench_deinit(&b);
	}
}

/* A driver that claims more chains than its ring has, by moving the index while some are in the device's hands. */
static void test_index_jump_with_chains_out(void **state)
{
	struct bench b;

	bench_init(&b, SIZE, 0);
	put(&b, 1, 0, &b);
	assert_int_equal(pop(&b), 1);
	b.driver.avail->idx = SIZE + 1;
	assert_int_equal(pop(&b), -EPROTO);
	virtq_start(&b.q, &b.mem, &b.setup);
	b.driver.avail->idx = 2;
	assert_int_equal(pop(&b), 1);
	assert_int_equal(pop(&b), 1);
	b.driver.avail->idx = 1; /* takes one back */
	assert_int_equal(pop(&b), -EPROTO);
	bench_deinit(&b);
}

/* The chain that was popped stays as it was checked, whatever the driver writes over it afterwards. */
static void test_changed_after_check(void **state)
{
	struct bench b;
	char text[8];

	bench_init(&b, SIZE, INDIRECT);
	memcpy(b.data, "original", 8);
	put(&b, 8, 8, &b);
	assert_int_equal(pop(&b), 1);
	memset(b.driver.desc, 0xff, SIZE * sizeof(struct vring_desc));
	memset(b.driver.tables[0], 0xff, 2 * sizeof(struct vring_desc));
	assert_int_equal(virtq_chain_read(&b.chain, 0, text, 8), 8);
	assert_memory_equal(text, "original", 8);
	assert_int_equal(virtq_chain_write(&b.chain, 4, "0123456789", 10), 4);
	bench_deinit(&b);
}

/* A buffer over the border of two regions comes as two entries. */
static void test_buffer_over_regions(void **state)
{
	struct bench b;
	struct gmem_share shares[2];

	bench_init(&b, SIZE, 0);
	virtq_stop(&b.q);
	for (unsigned i = 0; i < 2; i++)
		shares[i] = (struct gmem_share){
			.gpa = DRIVER_RAM_GPA + i * (2u << 20), .user = DRIVER_RAM_USER + i * (2u << 20),
			.size = 2u << 20, .offset = i * (2u << 20), .fd = b.ram.fd,
		};
	assert_int_equal(gmem_set(&b.mem, shares, 2), 0);
	assert_int_equal(virtq_start(&b.q, &b.mem, &b.setup), 0);
	b.data = b.ram.base + (2u << 20) - 6;
	memcpy(b.data, "overborder", 10);
	put(&b, 10, 0, &b);
	assert_int_equal(pop(&b), 1);
	assert_int_equal(b.chain.n_out, 2);
	assert_int_equal(b.chain.iov[0].iov_len, 6);
	assert_int_equal(b.chain.iov[1].iov_len, 4);
	{
		char text[10];

		assert_int_equal(virtq_chain_read(&b.chain, 0, text, 10), 10);
		assert_memory_equal(text, "overborder", 10);
	}
	bench_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_batch_and_unpop),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_interrupts_flags),
		cmocka_unit_test(test_interrupts_event_idx),
		cmocka_unit_test(test_kicks_flags),
		cmocka_unit_test(test_kicks_event_idx),
		cmocka_unit_test(test_refused_starts),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_too_long_for_caller),
		cmocka_unit_test(test_empty_descriptors),
		cmocka_unit_test(test_index_jump_with_chains_out),
		cmocka_unit_test(test_changed_after_check),
		cmocka_unit_test(test_buffer_over_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
