/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T02, T08 in small: connections that all talk at once, both ways, in pieces of any size, with little room in the guest,
 * receive buffers held back at times, and halves that close when they have sent their share. Every byte arrives, in
 * order, once, and then nothing is left. The random numbers are the same each time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "vsock/policy.h"
#include "vsock_guest.h"

#define FIRST 0x10001u
#define N 24
#define SHARE 300000u /* bytes each way and connection */
#define OP(x) VIRTIO_VSOCK_OP_##x

static struct guest guest;

/**
 * struct talk - one connection
 * guest: sent, received, what we told (fwd), what the device told (peer_*); host: sent, received
 */
static struct talk {
	int fd;
	uint32_t room;
	uint64_t guest_sent, guest_got, guest_told, host_sent, host_got;
	uint32_t peer_forwarded, peer_room;
	bool guest_shut, host_shut, guest_saw_end, host_saw_end;
} talks[N];

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

/* Of what is left, some; at times much. */
static uint32_t piece(uint64_t left)
{
	uint32_t n = 1 + rnd(rnd(4) ? 3000 : 65536);

	return (uint32_t)MIN(left, (uint64_t)n);
}

static uint8_t byte_of(unsigned i, uint64_t at, bool from_guest)
{
	return (uint8_t)(at * 7 + at / 253 + i + (from_guest ? 100 : 0));
}

static void fill(uint8_t *data, size_t size, unsigned i, uint64_t at, bool from_guest)
{
	for (size_t k = 0; k < size; k++)
		data[k] = byte_of(i, at + k, from_guest);
}

static void check(const uint8_t *data, size_t size, unsigned i, uint64_t at, bool from_guest)
{
	for (size_t k = 0; k < size; k++)
		assert_int_equal(data[k], byte_of(i, at + k, from_guest));
}

static void send_packet(struct guest *g, unsigned i, uint16_t op, uint32_t flags, const void *data, uint32_t size)
{
	struct talk *t = &talks[i];
	struct packet p = { .src_cid = GUEST_CID, .dst_cid = PACKET_HOST_CID, .src_port = FIRST + i, .dst_port = TSI_PORT_STREAM,
			    .len = size, .type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .flags = flags, .buf_alloc = t->room,
			    .fwd_cnt = (uint32_t)t->guest_told };

	guest_send_raw(g, &p, data, size);
}

static void take_packets(struct guest *g, unsigned max)
{
	while (max-- && guest_receive(g, false)) {
		unsigned i = g->last.dst_port - FIRST;
		struct talk *t = &talks[i];

		assert_true(i < N && g->last.op != OP(RST));
		t->peer_forwarded = g->last.fwd_cnt;
		t->peer_room = g->last.buf_alloc;
		assert_true(t->peer_room <= CONNECTION_ROOM_MAX);
		if (g->last.op == OP(RW)) {
			check(g->data, g->n_data, i, t->guest_got, false);
			t->guest_got += g->n_data;
			assert_true(t->guest_got - t->guest_told <= t->room && !t->guest_saw_end);
		} else if (g->last.op == OP(SHUTDOWN)) {
			assert_int_equal(g->last.flags, PACKET_SHUTDOWN_SEND);
			t->guest_saw_end = true;
		} else if (g->last.op == OP(CREDIT_REQUEST) && rnd(2)) {
			send_packet(g, i, OP(CREDIT_UPDATE), 0, NULL, 0);
		}
	}
}

static void guest_talks(struct guest *g, unsigned i)
{
	struct talk *t = &talks[i];
	uint64_t room = t->peer_room - ((uint32_t)t->guest_sent - t->peer_forwarded);
	uint32_t size = piece(MIN(room, SHARE - t->guest_sent));
	static uint8_t data[65536];

	if (size) {
		fill(data, size, i, t->guest_sent, true);
		send_packet(g, i, OP(RW), 0, data, size);
		t->guest_sent += size;
	} else if (t->guest_sent == SHARE && !t->guest_shut) {
		t->guest_shut = true;
		send_packet(g, i, OP(SHUTDOWN), PACKET_SHUTDOWN_SEND, NULL, 0);
	}
}

static void guest_reads(struct guest *g, unsigned i)
{
	struct talk *t = &talks[i];

	if (t->guest_told == t->guest_got)
		return;
	t->guest_told += 1 + rnd((uint32_t)(t->guest_got - t->guest_told));
	send_packet(g, i, OP(CREDIT_UPDATE), 0, NULL, 0);
}

static void host_talks(unsigned i)
{
	struct talk *t = &talks[i];
	static uint8_t data[65536];
	size_t size = piece(SHARE - t->host_sent);
	ssize_t n;

	if (size) {
		fill(data, size, i, t->host_sent, false);
		n = send(t->fd, data, size, MSG_DONTWAIT);
		t->host_sent += (uint64_t)MAX(n, 0);
	} else if (!t->host_shut) {
		t->host_shut = true;
		assert_int_equal(shutdown(t->fd, SHUT_WR), 0);
	}
}

static void host_reads(unsigned i)
{
	struct talk *t = &talks[i];
	static uint8_t data[65536];
	ssize_t n = recv(t->fd, data, 1 + rnd(65536), MSG_DONTWAIT);

	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		return;
	}
	check(data, (size_t)n, i, t->host_got, true);
	t->host_got += (uint64_t)n;
	t->host_saw_end |= n == 0;
}

static bool finished(const struct talk *t)
{
	return t->guest_saw_end && t->host_saw_end;
}

static void act(struct guest *g, unsigned i)
{
	switch (rnd(7)) {
	case 0:
		guest_talks(g, i);
		break;
	case 1:
		host_talks(i);
		break;
	case 2:
		host_reads(i);
		break;
	case 3:
		guest_reads(g, i);
		break;
	case 4:
		take_packets(g, rnd(64));
		break;
	default:
		guest_turn(g);
		break;
	}
}

static void everybody_talks(void **state)
{
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port);
	unsigned left = N;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	for (unsigned i = 0; i < N; i++) {
		talks[i] = (struct talk){ .room = 4000 + rnd(60000) };
		g->room = talks[i].room;
		guest_connect(g, FIRST + i, port);
		talks[i].peer_room = g->last.buf_alloc;
		talks[i].fd = host_accept(g, listener);
		g->room = GUEST_ROOM;
	}
	for (unsigned step = 0; left; step++) {
		assert_true(step < 5000000);
		act(g, rnd(N));
		if (step % 1024 == 0) {
			left = 0;
			for (unsigned i = 0; i < N; i++)
				left += !finished(&talks[i]);
		}
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(talks[i].host_got, SHARE);
		assert_int_equal(talks[i].guest_got, SHARE);
		send_packet(g, i, OP(SHUTDOWN), PACKET_SHUTDOWN_BOTH, NULL, 0);
		guest_expect(g, OP(RST), TSI_PORT_STREAM, FIRST + i);
		close(talks[i].fd);
	}
	assert_int_equal(g->device.table.n_used, 1);
	assert_int_equal(g->device.pool.n_used, 0);
	close(listener);
	guest_stop(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_talks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
