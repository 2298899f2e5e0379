/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back end with a small device, and a front end that sends what the input says (S01).
 *
 * The input: whether an honest handshake comes first, then records: an operation, its operands. Afterwards the front end
 * hangs up, and nothing may be left: each queue started is stopped, one disconnect, no fd open.
 */
#include "input.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "ring_driver.h"
#include "virtio/vhost_user.h"
#include "virtio/vhost_user_protocol.h"

#define N_QUEUES 2u
#define RAM (1u << 16)
#define OPERATIONS_MAX 200u

enum operation {
	MESSAGE, /* u8 request, u8 flags, u8 fds, u8 size, payload: a right header */
	BYTES,	 /* u8 n, bytes: whatever */
	SCRIBBLE, /* u16 where, u8 n, bytes: into shared memory */
	KICK,	 /* u8 queue */
	OFFER,	 /* u8 queue, u16 where, u8 size */
	TURN,
	N_OPERATIONS,
};

struct fuzz {
	struct fuzz_input in;
	struct loop *loop;
	struct vhost_user vu;
	struct ring_driver front;
	int running[N_QUEUES];
	int n_disconnected;
};

static void on_kicked(struct vhost_user *vu, unsigned queue)
{
	struct virtq *q = vhost_user_ring(vu, queue);
	struct virtq_chain chain;
	struct iovec iov[16];
	uint8_t data[64];
	unsigned n = 0;

	virtq_kicks_off(q);
	while (n++ < 64 && virtq_pop(q, &chain, iov, ARRAY_SIZE(iov)) > 0) {
		size_t size = virtq_chain_read(&chain, 0, data, sizeof(data));

		virtq_push(q, &chain, (uint32_t)virtq_chain_write(&chain, 0, data, size));
	}
	virtq_flush(q);
	(void)virtq_kicks_on(q);
}

static void on_started(struct vhost_user *vu, unsigned queue)
{
	struct fuzz *f = container_of(vu, struct fuzz, vu);

	fuzz_check(f->running[queue]++ == 0 && f->n_disconnected == 0);
	on_kicked(vu, queue);
}

static void on_stopped(struct vhost_user *vu, unsigned queue)
{
	struct fuzz *f = container_of(vu, struct fuzz, vu);

	fuzz_check(--f->running[queue] == 0);
}

static void on_disconnected(struct vhost_user *vu, int error)
{
	struct fuzz *f = container_of(vu, struct fuzz, vu);

	fuzz_check(f->running[0] == 0 && f->running[1] == 0 && f->n_disconnected++ == 0);
}

static const struct vhost_user_ops ops = {
	.features = 0xff,
	.n_queues = N_QUEUES,
	.started = on_started,
	.kicked = on_kicked,
	.stopped = on_stopped,
	.disconnected = on_disconnected,
};

static void turn(void *context)
{
	struct fuzz *f = context;

	fuzz_check(loop_turn(f->loop, 0) == 0);
}

/* Two bits for each of up to four fds: none, memory, an eventfd, the socket itself. */
static size_t choose_fds(struct fuzz *f, uint8_t choice, int *ret)
{
	const int kinds[] = { -1, f->front.ram.fd, f->front.ring[choice & 1].kick_fd, f->front.fd };
	size_t n = 0;

	for (unsigned i = 0; i < 4; i++, choice >>= 2)
		if (choice & 3)
			ret[n++] = kinds[choice & 3];
	return n;
}

static void do_message(struct fuzz *f)
{
	uint8_t request = fuzz_u8(&f->in), flags = fuzz_u8(&f->in), choice = fuzz_u8(&f->in), payload[256];
	size_t size = fuzz_u8(&f->in);
	int fds[4];
	size_t n = choose_fds(f, choice, fds);

	fuzz_take(&f->in, payload, size);
	(void)ring_driver_send(&f->front, request % 32, flags & (VHOST_USER_NEED_REPLY | VHOST_USER_REPLY), payload, size, fds, n);
	turn(f);
}

static void do_bytes(struct fuzz *f)
{
	uint8_t bytes[256], n = fuzz_u8(&f->in);

	n = (uint8_t)fuzz_take(&f->in, bytes, n);
	(void)send(f->front.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn(f);
}

static void do_scribble(struct fuzz *f)
{
	uint16_t at = fuzz_u16(&f->in);
	uint8_t bytes[256], n = fuzz_u8(&f->in);

	n = (uint8_t)fuzz_take(&f->in, bytes, n);
	memcpy(f->front.ram.base + MIN(at, RAM - 256u), bytes, n);
	turn(f);
}

static void do_kick(struct fuzz *f)
{
	uint64_t one = 1;

	(void)!write(f->front.ring[fuzz_u8(&f->in) % N_QUEUES].kick_fd, &one, sizeof(one));
	turn(f);
}

static void do_offer(struct fuzz *f)
{
	struct driver_ring *r = &f->front.ring[fuzz_u8(&f->in) % N_QUEUES];
	uint16_t at = fuzz_u16(&f->in);
	uint8_t size = fuzz_u8(&f->in);

	if (r->n_free >= 2 && r->free < r->size)
		(void)driver_ring_put(r, f->front.ram.base + MIN(at, RAM - 256u), size, f->front.ram.base, size, f);
	driver_ring_kick(r);
	turn(f);
}

static void do_turn(struct fuzz *f)
{
	uint8_t replies[512];

	turn(f);
	(void)!recv(f->front.fd, replies, sizeof(replies), MSG_DONTWAIT);
}

static void (*const operations[N_OPERATIONS])(struct fuzz *f) = {
	[MESSAGE] = do_message, [BYTES] = do_bytes, [SCRIBBLE] = do_scribble, [KICK] = do_kick, [OFFER] = do_offer, [TURN] = do_turn,
};

static void run(struct fuzz *f)
{
	struct ring_driver_spec spec = {
		.features = ~0ull, .n_queues = N_QUEUES, .queue_size = 8, .ram_size = RAM, .turn = turn, .context = f,
	};
	int fds[2];

	fuzz_check(loop_new(&f->loop) == 0);
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	fuzz_check(vhost_user_init(&f->vu, f->loop, fds[0], &ops) == 0);
	if (fuzz_u8(&f->in) & 1)
		fuzz_check(ring_driver_connect(&f->front, fds[1], &spec) == 0);
	else
		fuzz_check(ring_driver_open(&f->front, fds[1], &spec) == 0);
	io_set_nonblock(f->front.fd, true);
	for (unsigned i = 0; i < OPERATIONS_MAX && f->in.size > 0 && f->n_disconnected == 0; i++)
		operations[fuzz_u8(&f->in) % N_OPERATIONS](f);
	ring_driver_disconnect(&f->front);
	for (unsigned i = 0; i < 10 && f->n_disconnected == 0; i++)
		turn(f);
	fuzz_check(f->n_disconnected == 1);
	vhost_user_deinit(&f->vu);
	loop_free(f->loop);
}

static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz f;
	int before = lowest_free_fd();

	fuzz_check(gmem_catch_sigbus() == 0);
	f = (struct fuzz){ .in = { data, size } };
	run(&f);
	fuzz_check(f.running[0] == 0 && f.running[1] == 0);
	fuzz_check(lowest_free_fd() == before);
	return 0;
}
