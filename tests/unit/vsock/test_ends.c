/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T07: how streams end. Whatever the order in which bytes, ends and resets come, with however little room: every byte that
 * one side has sent arrives before the end that it sent after them, and nothing comes after that end but a reset.
 */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_guest.h"

#define PORT 0x10001u
#define OP(x) VIRTIO_VSOCK_OP_##x
#define BYTES 700000u

static struct guest guest;
static uint8_t pattern[BYTES];

struct pair {
	int listener, fd;
};

static struct pair start(struct guest *g, uint32_t room, int host_buffer)
{
	struct pair p;
	uint16_t port;

	for (uint32_t i = 0; i < BYTES; i++)
		pattern[i] = (uint8_t)(i * 31 + i / 4096);
	guest_start(g, true, NULL);
	guest_open_tsi(g);
	g->room = room;
	p.listener = host_listen(&port);
	if (host_buffer) /* inherited by what is accepted */
		assert_int_equal(setsockopt(p.listener, SOL_SOCKET, SO_RCVBUF, &host_buffer, sizeof(host_buffer)), 0);
	guest_connect(g, PORT, port);
	p.fd = host_accept(g, p.listener);
	return p;
}

static void stop(struct guest *g, struct pair *p)
{
	if (p->fd >= 0)
		close(p->fd);
	close(p->listener);
	guest_stop(g);
}

/* As much as the kernel takes without the device's reading anything: how much. */
static uint32_t host_fill(int fd)
{
	uint32_t done = 0;

	while (done < BYTES) {
		ssize_t n = send(fd, pattern + done, BYTES - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
		done += (uint32_t)n;
	}
	assert_true(done > 100000);
	return done;
}

static void abort_fd(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(fd);
}

static void give_credit(struct guest *g)
{
	guest_stream(g, OP(CREDIT_UPDATE), PORT, TSI_PORT_STREAM, NULL, 0);
}

/* The guest reads until something that is no payload; room comes back in steps. Returns how many bytes there were. */
static uint32_t guest_drains(struct guest *g, uint32_t step)
{
	uint32_t got = 0, told = 0;

	for (;;) {
		assert_true(guest_receive(g, true));
		if (g->last.op == OP(CREDIT_REQUEST) || g->last.op == OP(CREDIT_UPDATE)) {
			if (g->last.op == OP(CREDIT_REQUEST))
				give_credit(g);
			continue;
		}
		if (g->last.op != OP(RW))
			return got;
		assert_true(got + g->n_data <= BYTES);
		assert_memory_equal(g->data, pattern + got, g->n_data);
		got += g->n_data;
		g->forwarded += g->n_data;
		if (got - told >= step) {
			give_credit(g);
			told = got;
		}
	}
}

static void expect_end(struct guest *g)
{
	assert_int_equal(g->last.op, OP(SHUTDOWN));
	assert_int_equal(g->last.flags, PACKET_SHUTDOWN_SEND);
}

/* Room for a little, for all, and for more than there are receive buffers. */
static const uint32_t rooms[] = { 20000, GUEST_ROOM, 4 * GUEST_ROOM };

static void end_waits_for_the_last_byte(void **state)
{
	struct guest *g = &guest;

	for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		struct pair p = start(g, rooms[i], 0);
		uint32_t sent = host_fill(p.fd);

		close(p.fd);
		p.fd = -1;
		for (int k = 0; k < 5; k++) /* everything stalls for want of credit, or of buffers, with the end behind it */
			guest_turn(g);
		assert_int_equal(guest_drains(g, rooms[i] / 4), sent);
		expect_end(g);
		guest_expect_silence(g);
		stop(g, &p);
	}
}

/* What arrived before the reset is to be read, as with TCP. */
static void reset_waits_for_what_has_arrived(void **state)
{
	struct guest *g = &guest;

	for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		struct pair p = start(g, rooms[i], 0);

		assert_int_equal(send(p.fd, pattern, 100000, 0), 100000); /* fits into the receiving kernel's buffer */
		abort_fd(p.fd);
		p.fd = -1;
		for (int k = 0; k < 5; k++)
			guest_turn(g);
		assert_int_equal(guest_drains(g, rooms[i] / 4), 100000);
		assert_int_equal(g->last.op, OP(RST));
		stop(g, &p);
	}
}

/* End, then reset: in that order, with the bytes ahead of both. */
static void late_reset_comes_after_the_end(void **state)
{
	struct guest *g = &guest;
	struct pair p = start(g, GUEST_ROOM, 0);

	assert_int_equal(send(p.fd, pattern, 50000, 0), 50000);
	assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
	assert_int_equal(guest_drains(g, 10000), 50000);
	expect_end(g);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "unread", 6);
	while (poll(&(struct pollfd){ .fd = p.fd, .events = POLLIN }, 1, 0) == 0)
		guest_turn(g);
	close(p.fd); /* with something unread: a reset */
	p.fd = -1;
	assert_int_equal(le32toh(guest_expect_message(g, TSI_RESET, PORT).error), EPIPE);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	stop(g, &p);
}

/* The guest writes to a peer that is gone: what the peer sent before is read all the same. */
static void broken_pipe_does_not_lose_what_was_sent(void **state)
{
	struct guest *g = &guest;
	struct pair p = start(g, GUEST_ROOM, 0);

	assert_int_equal(send(p.fd, pattern, 100000, 0), 100000);
	abort_fd(p.fd);
	p.fd = -1;
	for (int i = 0; i < 3; i++)
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "more", 4);
	assert_int_equal(guest_drains(g, 10000), 100000);
	assert_int_equal(g->last.op, OP(RST));
	stop(g, &p);
}

/* The guest has ended its half first: the other one goes on, to its last byte. */
static void half_closed_guest_reads_on(void **state)
{
	struct guest *g = &guest;
	struct pair p = start(g, 20000, 0);
	uint32_t sent;

	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_SEND, NULL, 0);
	host_expect_end(g, p.fd);
	sent = host_fill(p.fd);
	close(p.fd);
	p.fd = -1;
	assert_int_equal(guest_drains(g, 5000), sent);
	expect_end(g);
	stop(g, &p);
}

/* Bytes that the guest sends, in packets, while the host's side reads nothing. */
static uint32_t guest_fills(struct guest *g)
{
	uint32_t sent = 0;

	while (sent < 200000) {
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, pattern + sent, 40000);
		sent += 40000;
	}
	return sent;
}

static void host_reads_all(struct guest *g, int fd, uint32_t size)
{
	static uint8_t data[BYTES];

	host_read(g, fd, data, size);
	assert_memory_equal(data, pattern, size);
	host_expect_end(g, fd);
}

/* Towards the host: its end of file comes behind what waited for a slow reader, whether the guest ended half or all. */
static void guests_end_waits_for_its_bytes(void **state)
{
	static const uint32_t halves[] = { PACKET_SHUTDOWN_SEND, PACKET_SHUTDOWN_BOTH };
	struct guest *g = &guest;

	for (unsigned i = 0; i < 2; i++) {
		struct pair p = start(g, GUEST_ROOM, 4096);
		uint32_t sent = guest_fills(g);

		guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, halves[i], NULL, 0);
		host_reads_all(g, p.fd, sent);
		stop(g, &p);
	}
}

/* The host ends its half while the guest's bytes still wait for it. */
static void ends_cross(void **state)
{
	struct guest *g = &guest;
	struct pair p = start(g, GUEST_ROOM, 4096);
	uint32_t sent = guest_fills(g);

	assert_int_equal(send(p.fd, pattern, 30000, 0), 30000);
	assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
	assert_int_equal(guest_drains(g, 10000), 30000);
	expect_end(g);
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_SEND, NULL, 0);
	host_reads_all(g, p.fd, sent);
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_BOTH, NULL, 0);
	do
		assert_true(guest_receive(g, true));
	while (g->last.op == OP(CREDIT_UPDATE));
	assert_int_equal(g->last.op, OP(RST));
	assert_int_equal(g->device.table.n_used, 1);
	stop(g, &p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(end_waits_for_the_last_byte),
		cmocka_unit_test(reset_waits_for_what_has_arrived),
		cmocka_unit_test(late_reset_comes_after_the_end),
		cmocka_unit_test(broken_pipe_does_not_lose_what_was_sent),
		cmocka_unit_test(half_closed_guest_reads_on),
		cmocka_unit_test(guests_end_waits_for_its_bytes),
		cmocka_unit_test(ends_cross),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
