/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user back end: an echo device on a loop, an honest front end, and messages that none would send (S02). */
#include "../../lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "ring_driver.h"
#include "virtio/vhost_user.h"
#include "virtio/vhost_user_protocol.h"

#define DEVICE_FEATURE 5
#define N_QUEUES 2u

struct echo {
	struct vhost_user vu;
	unsigned n_started, n_stopped, n_disconnected;
	bool running[N_QUEUES];
	int error;
	struct loop *loop;
	struct ring_driver front;
};

static struct echo *echo_of(struct vhost_user *vu)
{
	return container_of(vu, struct echo, vu);
}

/* Write back what each chain carries. */
static void echo_kicked(struct vhost_user *vu, unsigned queue)
{
	struct virtq *q = vhost_user_ring(vu, queue);
	struct virtq_chain chain;
	struct iovec iov[8];
	uint8_t data[256];

	do {
		virtq_kicks_off(q);
		while (virtq_pop(q, &chain, iov, ARRAY_SIZE(iov)) > 0) {
			size_t n = virtq_chain_read(&chain, 0, data, sizeof(data));

			virtq_push(q, &chain, (uint32_t)virtq_chain_write(&chain, 0, data, n));
		}
		virtq_flush(q);
	} while (virtq_kicks_on(q));
}

static void echo_started(struct vhost_user *vu, unsigned queue)
{
	struct echo *e = echo_of(vu);

	assert_false(e->running[queue]);
	assert_non_null(vhost_user_ring(vu, queue));
	e->running[queue] = true;
	e->n_started++;
	echo_kicked(vu, queue);
}

static void echo_stopped(struct vhost_user *vu, unsigned queue)
{
	struct echo *e = echo_of(vu);

	assert_true(e->running[queue]);
	assert_null(vhost_user_ring(vu, queue));
	e->running[queue] = false;
	e->n_stopped++;
}

static void echo_disconnected(struct vhost_user *vu, int error)
{
	struct echo *e = echo_of(vu);

	assert_false(e->running[0] || e->running[1]);
	e->error = error;
	e->n_disconnected++;
}

static const struct vhost_user_ops echo_ops = {
	.features = 1ull << DEVICE_FEATURE,
	.n_queues = N_QUEUES,
	.started = echo_started,
	.kicked = echo_kicked,
	.stopped = echo_stopped,
	.disconnected = echo_disconnected,
};

static void turn(void *context)
{
	struct echo *e = context;

	assert_int_equal(loop_turn(e->loop, 0), 0);
}

static void echo_init(struct echo *e, int *ret_front_fd)
{
	int fds[2];

	*e = (struct echo){ .front.fd = -1 };
	assert_int_equal(gmem_catch_sigbus(), 0);
	assert_int_equal(loop_new(&e->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	memcpy(e->vu.config, "configuration", 13);
	e->vu.config_size = 13;
	assert_int_equal(vhost_user_init(&e->vu, e->loop, fds[0], &echo_ops), 0);
	*ret_front_fd = fds[1];
}

static struct ring_driver_spec echo_spec(struct echo *e)
{
	return (struct ring_driver_spec){
		.features = 1ull << DEVICE_FEATURE | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.n_queues = N_QUEUES,
		.turn = turn,
		.context = e,
	};
}

static void echo_connect(struct echo *e)
{
	struct ring_driver_spec spec = echo_spec(e);
	int fd;

	echo_init(e, &fd);
	assert_int_equal(ring_driver_connect(&e->front, fd, &spec), 0);
}

static void echo_deinit(struct echo *e)
{
	if (e->front.fd >= 0)
		ring_driver_disconnect(&e->front);
	vhost_user_deinit(&e->vu);
	loop_free(e->loop);
}

static void exchange(struct echo *e, unsigned queue)
{
	struct driver_ring *r = &e->front.ring[queue];
	char *out = driver_ram_alloc(&e->front.ram, 64, 8), *in = driver_ram_alloc(&e->front.ram, 64, 8);
	uint32_t written;

	memcpy(out, "hello", 5); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	memset(in, 0, 64);
	assert_int_equal(driver_ring_put(r, out, 5, in, 64, e), 0);
	driver_ring_kick(r);
	assert_ptr_equal(driver_ring_wait(r, &written, 5000), e);
	assert_int_equal(written, 5);
	assert_memory_equal(in, "hello", 5);
}

static void test_life(void **state)
{
	struct echo e;
	char config[20];
	uint32_t base;

	echo_connect(&e);
	assert_int_equal(e.n_started, N_QUEUES);
	assert_true(vhost_user_has_feature(&e.vu, DEVICE_FEATURE));
	assert_true(vhost_user_has_feature(&e.vu, VIRTIO_F_VERSION_1));
	assert_int_equal(ring_driver_get_config(&e.front, config, sizeof(config)), 0);
	assert_memory_equal(config, "configuration\0\0\0\0\0\0", 20);
	for (unsigned i = 0; i < 300; i++)
		exchange(&e, i % N_QUEUES);
	assert_int_equal(ring_driver_stop_queue(&e.front, 0, &base), 0);
	assert_int_equal(base, 150);
	assert_int_equal(e.n_stopped, 1);
	assert_null(vhost_user_ring(&e.vu, 0));
	exchange(&e, 1);
	/* What was made available while it stood still is served at the start, without a kick. */
	{
		char *out = driver_ram_alloc(&e.front.ram, 64, 8);

		assert_int_equal(driver_ring_put(&e.front.ring[0], out, 5, NULL, 0, &e), 0);
		driver_ring_publish(&e.front.ring[0]);
		assert_int_equal(ring_driver_start_queue(&e.front, 0), 0);
		assert_ptr_equal(driver_ring_wait(&e.front.ring[0], NULL, 5000), &e);
	}
	ring_driver_disconnect(&e.front);
	while (e.n_disconnected == 0)
		turn(&e);
	assert_int_equal(e.error, 0);
	assert_int_equal(e.n_started, e.n_stopped);
	echo_deinit(&e);
}

/* New memory table, disable and enable, features again: around each, stopped and started; no chain is lost. */
static void test_changes_while_running(void **state)
{
	struct vhost_user_vring_state off = { .index = 1, .num = 0 }, on = { .index = 1, .num = 1 };
	struct echo e;

	echo_connect(&e);
	exchange(&e, 0);
	assert_int_equal(ring_driver_share_memory(&e.front), 0);
	assert_int_equal(ring_driver_sync(&e.front), 0);
	assert_int_equal(e.n_stopped, N_QUEUES);
	assert_int_equal(e.n_started, 2 * N_QUEUES);
	exchange(&e, 0);
	exchange(&e, 1);
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_VRING_ENABLE, 0, &off, sizeof(off), NULL, 0), 0);
	assert_int_equal(ring_driver_sync(&e.front), 0);
	assert_false(e.running[1]);
	assert_true(e.running[0]);
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_VRING_ENABLE, 0, &on, sizeof(on), NULL, 0), 0);
	exchange(&e, 1);
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_RESET_OWNER, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(ring_driver_sync(&e.front), 0);
	assert_false(e.running[0] || e.running[1]);
	echo_deinit(&e);
}

static void test_acknowledgements(void **state)
{
	struct vhost_user_vring_state enable = { .index = 0, .num = 1 };
	struct vhost_user_config config = { .size = 0 };
	uint64_t result;
	struct echo e;

	echo_connect(&e);
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_NEED_REPLY, &enable, sizeof(enable), NULL, 0), 0);
	assert_int_equal(ring_driver_receive(&e.front, VHOST_USER_SET_VRING_ENABLE, &result, sizeof(result)), 0);
	assert_int_equal(result, 0);
	/* Refused, not fatal. */
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_CONFIG, VHOST_USER_NEED_REPLY, &config, sizeof(config), NULL, 0), 0);
	assert_int_equal(ring_driver_receive(&e.front, VHOST_USER_SET_CONFIG, &result, sizeof(result)), 0);
	assert_int_equal(result, 1);
	exchange(&e, 0);
	/* Fatal, and said. */
	enable.index = 99;
	assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_NEED_REPLY, &enable, sizeof(enable), NULL, 0), 0);
	assert_int_equal(ring_driver_receive(&e.front, VHOST_USER_SET_VRING_ENABLE, &result, sizeof(result)), 0);
	assert_int_equal(result, 1);
	assert_true(ring_driver_sync(&e.front) < 0);
	assert_int_equal(e.error, -EPROTO);
	echo_deinit(&e);
}

/* S02: memory truncated while in use ends this connection, with the process alive. */
static void test_truncated_memory(void **state)
{
	struct echo e;

	echo_connect(&e);
	exchange(&e, 0);
	assert_int_equal(driver_ring_put(&e.front.ring[0], e.front.ram.base + (8u << 20), 100, NULL, 0, &e), 0);
	driver_ring_publish(&e.front.ring[0]);
	assert_int_equal(ftruncate(e.front.ram.fd, 4u << 20), 0);
	driver_ring_kick(&e.front.ring[0]);
	while (e.n_disconnected == 0)
		turn(&e);
	assert_int_equal(e.error, -EFAULT);
	echo_deinit(&e);
}

/* S02: a queue that its driver broke is left alone, kicks and all; the other queue goes on; a restart mends it. */
static void test_broken_queue(void **state)
{
	struct driver_ring *r;
	uint64_t queue = 0, count = 0;
	struct echo e;

	echo_connect(&e);
	r = &e.front.ring[0];
	{
		_cleanup_close_ int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		assert_int_equal(ring_driver_send(&e.front, VHOST_USER_SET_VRING_ERR, 0, &queue, sizeof(queue), &err, 1), 0);
		assert_int_equal(ring_driver_sync(&e.front), 0);
		r->avail_idx = 10000;
		driver_ring_publish(r);
		count = 1;
		assert_int_equal(write(r->kick_fd, &count, sizeof(count)), sizeof(count));
		turn(&e);
		assert_int_equal(read(err, &count, sizeof(count)), sizeof(count));
		assert_int_equal(count, 1);
	}
	assert_int_equal(e.vu.queue[0].ring.broken, -EPROTO);
	assert_int_equal(e.vu.queue[0].kick.fd, -1);
	exchange(&e, 1);
	r->avail_idx = r->kicked_idx = 0;
	driver_ring_publish(r);
	assert_int_equal(ring_driver_stop_queue(&e.front, 0, NULL), 0);
	assert_int_equal(ring_driver_start_queue(&e.front, 0), 0);
	exchange(&e, 0);
	echo_deinit(&e);
}

/* A message that ends the connection. fds: 'm' the front end's memory, 'e' an eventfd, 'p' a pipe, 'f' a file. */
struct bad {
	const char *name;
	uint32_t request, flags, size;
	uint64_t payload[10];
	const char *fds;
};

#define NUM(index, n) { (uint64_t)(n) << 32 | (index) }

static const struct bad bad_messages[] = {
	{ "unknown request", 99, 0, 0 },
	{ "request 0", 0, 0, 0 },
	{ "huge request", UINT32_MAX, 0, 0 },
	{ "not served", 6, 0, 8 },
	{ "version 3", VHOST_USER_GET_FEATURES, 2, 0 },
	{ "a reply", VHOST_USER_GET_FEATURES, VHOST_USER_REPLY, 0 },
	{ "payload too large", VHOST_USER_GET_FEATURES, 0, 8 },
	{ "payload too small", VHOST_USER_SET_FEATURES, 0, 4 },
	{ "fd that nobody wants", VHOST_USER_GET_FEATURES, 0, 0, { 0 }, "e" },
	{ "features not offered", VHOST_USER_SET_FEATURES, 0, 8, { 1ull << 63 } },
	{ "protocol features not offered", VHOST_USER_SET_PROTOCOL_FEATURES, 0, 8, { 1ull << 1 } },
	{ "queue number 0", VHOST_USER_SET_VRING_NUM, 0, 8, NUM(0, 0) },
	{ "queue number 3", VHOST_USER_SET_VRING_NUM, 0, 8, NUM(0, 3) },
	{ "queue number 65536", VHOST_USER_SET_VRING_NUM, 0, 8, NUM(0, 65536) },
	{ "queue number of no queue", VHOST_USER_SET_VRING_NUM, 0, 8, NUM(2, 128) },
	{ "base above 16 bits", VHOST_USER_SET_VRING_BASE, 0, 8, NUM(0, 65536) },
	{ "base of no queue", VHOST_USER_SET_VRING_BASE, 0, 8, NUM(UINT32_MAX, 0) },
	{ "get base of no queue", VHOST_USER_GET_VRING_BASE, 0, 8, NUM(16, 0) },
	{ "enable 2", VHOST_USER_SET_VRING_ENABLE, 0, 8, NUM(0, 2) },
	{ "kick without fd", VHOST_USER_SET_VRING_KICK, 0, 8, { 0 } },
	{ "kick with no-fd bit and fd", VHOST_USER_SET_VRING_KICK, 0, 8, { 0x100 }, "e" },
	{ "kick polled", VHOST_USER_SET_VRING_KICK, 0, 8, { 0x100 } },
	{ "kick with two fds", VHOST_USER_SET_VRING_KICK, 0, 8, { 0 }, "ee" },
	{ "kick with reserved bits", VHOST_USER_SET_VRING_KICK, 0, 8, { 1ull << 32 }, "e" },
	{ "kick by pipe", VHOST_USER_SET_VRING_KICK, 0, 8, { 0 }, "p" },
	{ "call into a pipe", VHOST_USER_SET_VRING_CALL, 0, 8, { 0 }, "p" },
	{ "call into a file", VHOST_USER_SET_VRING_CALL, 0, 8, { 0 }, "m" },
	{ "error into a file", VHOST_USER_SET_VRING_ERR, 0, 8, { 0 }, "m" },
	{ "call of no queue", VHOST_USER_SET_VRING_CALL, 0, 8, { 2 }, "e" },
	{ "rings outside of memory", VHOST_USER_SET_VRING_ADDR, 0, 40, { 0, 0x1000, 0x2000, 0x3000, 0 } },
	{ "rings not aligned", VHOST_USER_SET_VRING_ADDR, 0, 40,
	  { 0, DRIVER_RAM_USER + 1, DRIVER_RAM_USER + 0x2001, DRIVER_RAM_USER + 0x4001, 0 } },
	{ "rings of no queue", VHOST_USER_SET_VRING_ADDR, 0, 40, { 3 } },
	{ "memory: no region for the fd", VHOST_USER_SET_MEM_TABLE, 0, 8, { 0 }, "m" },
	{ "memory: no fd", VHOST_USER_SET_MEM_TABLE, 0, 40, { 1, 0, 4096, 0, 0 } },
	{ "memory: more than the payload has", VHOST_USER_SET_MEM_TABLE, 0, 40, { 2, 0, 4096, 0, 0 }, "mm" },
	{ "memory: count wraps", VHOST_USER_SET_MEM_TABLE, 0, 40, { 0xffffffff, 0, 4096, 0, 0 }, "m" },
	{ "memory: nine fds", VHOST_USER_SET_MEM_TABLE, 0, 72, { 8, 0, 4096, 0, 0 }, "mmmmmmmmm" },
	{ "memory: beyond the file", VHOST_USER_SET_MEM_TABLE, 0, 40, { 1, 0, 1ull << 40, 0, 0 }, "m" },
	{ "memory: address wraps", VHOST_USER_SET_MEM_TABLE, 0, 40, { 1, UINT64_MAX, 4096, 0, 0 }, "m" },
	{ "memory: a pipe", VHOST_USER_SET_MEM_TABLE, 0, 40, { 1, 0, 4096, 0, 0 }, "p" },
	{ "memory: rings are no longer in it", VHOST_USER_SET_MEM_TABLE, 0, 40, { 1, 0, 4096, 0, 0 }, "m" },
	{ "config: too much", VHOST_USER_GET_CONFIG, 0, 12, { 257ull << 32, 0 } },
	{ "config: offset wraps", VHOST_USER_GET_CONFIG, 0, 16, { 4ull << 32 | 0xfffffffe, 0 } },
	{ "config: size and payload differ", VHOST_USER_GET_CONFIG, 0, 12, { 4ull << 32, 0 } },
};

static void run_bad(const struct bad *bad)
{
	int fds[16], n = 0, pipes[2];
	_cleanup_close_ int event = eventfd(0, EFD_CLOEXEC);
	struct echo e;
	int r;

	echo_connect(&e);
	assert_int_equal(pipe(pipes), 0);
	for (const char *c = bad->fds; c && *c; c++)
		fds[n++] = *c == 'm' ? e.front.ram.fd : *c == 'e' ? event : pipes[1];
	assert_int_equal(ring_driver_send(&e.front, bad->request, bad->flags, bad->payload, bad->size, fds, (size_t)n), 0);
	r = ring_driver_sync(&e.front);
	if (r != -ENODATA && r != -EPIPE && r != -ECONNRESET)
		print_error("%s: the connection goes on\n", bad->name);
	assert_true(r == -ENODATA || r == -EPIPE || r == -ECONNRESET);
	while (e.n_disconnected == 0)
		turn(&e);
	assert_int_equal(e.n_disconnected, 1);
	assert_true(e.error < 0);
	assert_int_equal(e.n_started, e.n_stopped);
	echo_deinit(&e);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_bad_messages(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad_messages); i++)
		run_bad(&bad_messages[i]);
}

/* Header and payload trickle in byte by byte; many messages arrive at once; the front end leaves half-way. */
static void test_pieces(void **state)
{
	struct vhost_user_header header = { VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, 8 };
	uint8_t message[20] = { 0 };
	struct echo e;
	uint64_t answer;

	echo_connect(&e);
	memcpy(message, &header, sizeof(header));
	for (unsigned i = 0; i < sizeof(message); i++) {
		assert_int_equal(send(e.front.fd, message + i, 1, 0), 1);
		turn(&e);
	}
	assert_int_equal(ring_driver_receive(&e.front, VHOST_USER_GET_VRING_BASE, &answer, 8), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ring_driver_send(&e.front, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ring_driver_receive(&e.front, VHOST_USER_GET_FEATURES, &answer, 8), 0);
	assert_int_equal(send(e.front.fd, message, 15, 0), 15);
	turn(&e);
	ring_driver_disconnect(&e.front);
	turn(&e);
	assert_int_equal(e.n_disconnected, 1);
	assert_true(e.error < 0);
	echo_deinit(&e);
}

/* A front end that asks and never reads is cut off instead of being buffered for. */
static void test_replies_not_read(void **state)
{
	struct echo e;

	echo_connect(&e);
	io_set_nonblock(e.front.fd, true);
	for (unsigned i = 0; i < 100000 && e.n_disconnected == 0; i++) {
		ring_driver_send(&e.front, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0);
		turn(&e);
	}
	assert_int_equal(e.n_disconnected, 1);
	assert_int_equal(e.error, -EAGAIN);
	echo_deinit(&e);
}

/* No fd of a connection outlives it. */
static void test_no_fd_leaks(void **state)
{
	int before = dup(0), after;

	close(before);
	for (unsigned i = 0; i < ARRAY_SIZE(bad_messages); i++)
		run_bad(&bad_messages[i]);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_changes_while_running),
		cmocka_unit_test(test_acknowledgements),
		cmocka_unit_test(test_truncated_memory),
		cmocka_unit_test(test_broken_queue),
		cmocka_unit_test(test_bad_messages),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_replies_not_read),
		cmocka_unit_test(test_no_fd_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
