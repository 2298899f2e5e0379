/* SPDX-License-Identifier: Apache-2.0 */
/* Credit, back-pressure, turns, and guests that do not keep to the rules. */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "vsock/policy.h"
#include "vsock_guest.h"

#define PORT 0x10001u
#define OP(x) VIRTIO_VSOCK_OP_##x

static struct guest guest;
static uint8_t block[65536];

struct pair {
	int listener, fd;
};

static struct pair open_pair(struct guest *g)
{
	struct pair p;
	uint16_t port;

	p.listener = host_listen(&port);
	guest_open_tsi(g);
	guest_connect(g, PORT, port);
	p.fd = host_accept(g, p.listener);
	return p;
}

static void close_pair(struct pair *p)
{
	close_fd(p->fd);
	close(p->listener);
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

/* T08: a reader that stops holds up its own connection alone; when it goes on, no byte is missing. */
static void slow_reader_stops_its_own_connection(void **state)
{
	struct guest *g = &guest;
	uint64_t sent = 0, got = 0;
	uint32_t told = 0, room = CONNECTION_ROOM;
	struct pair p;

	guest_start(g, true, NULL);
	p = open_pair(g);
	for (;;) { /* until our credit is used up and the host's socket takes no more */
		while (guest_receive(g, false)) {
			told = g->last.fwd_cnt;
			room = g->last.buf_alloc;
		}
		if (sent - told + sizeof(block) > room)
			break;
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = pattern(sent + i);
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, sizeof(block));
		sent += sizeof(block);
		guest_turn(g);
		guest_turn(g);
	}
	assert_true(g->device.pool.n_used > 0);
	assert_true((uint64_t)g->device.pool.n_used * POOL_CHUNK <= CONNECTION_ROOM_MAX + POOL_CHUNK);
	shutdown(p.fd, SHUT_WR);
	guest_expect(g, OP(SHUTDOWN), TSI_PORT_STREAM, PORT); /* the other direction lives */
	guest_stream(g, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT); /* and the guest's close waits for nothing */
	while (got < sent) {
		size_t n = MIN(sizeof(block), sent - got);

		host_read(g, p.fd, block, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(block[i], pattern(got + i));
		got += n;
	}
	host_expect_end(g, p.fd);
	assert_int_equal(g->device.table.n_used, 1);
	assert_int_equal(g->device.pool.n_used, 0);
	close_pair(&p);
	guest_stop(g);
}

/* A closed connection whose peer never reads does not stay for ever. */
static void draining_ends(void **state)
{
	struct guest *g = &guest;
	struct pair p;

	guest_start(g, true, NULL);
	p = open_pair(g);
	loop_use_fake_clock(g->loop, 1000);
	for (uint32_t i = 0, told = 0, room = CONNECTION_ROOM; i * sizeof(block) - told + sizeof(block) <= room; i++) {
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, sizeof(block));
		guest_turn(g);
		guest_turn(g);
		while (guest_receive(g, false)) {
			told = g->last.fwd_cnt;
			room = g->last.buf_alloc;
		}
	}
	guest_stream(g, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->device.table.n_used, 2);
	for (int i = 0; i < 14; i++) {
		loop_fake_advance(g->loop, 5000);
		guest_turn(g);
	}
	assert_int_equal(g->device.table.n_used, 1);
	assert_int_equal(g->device.pool.n_used, 0);
	close_pair(&p);
	guest_stop(g);
}

/* T02: a guest that sends no more ahead than its own buffer is large, and waits for a quarter of that, is told in time. */
static void a_guest_with_a_window_of_its_own_goes_on(void **state)
{
	struct guest *g = &guest;
	uint32_t sent = 0, told = 0;
	struct pair p;

	guest_start(g, true, NULL);
	p = open_pair(g);
	memset(block, 1, sizeof(block));
	while (sent < 8 * CONNECTION_ROOM_MAX) {
		while (guest_receive(g, false))
			told = g->last.fwd_cnt;
		if (sent - told > GUEST_ROOM - GUEST_ROOM / 4) { /* all was read below: there must be word of it */
			assert_true(guest_receive(g, true));
			told = g->last.fwd_cnt;
			continue;
		}
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, 1024);
		sent += 1024;
		host_read(g, p.fd, block, 1024);
	}
	close_pair(&p);
	guest_stop(g);
}

/* Not a byte more than the guest has room for; it goes on where it stopped. */
static void guest_room_is_kept(void **state)
{
	struct guest *g = &guest;
	uint64_t got = 0, total = 1 << 20, written = 0;
	struct pair p;

	guest_start(g, true, NULL);
	g->room = 20000;
	p = open_pair(g);
	g->forwarded = 0;
	assert_int_equal(io_set_nonblock(p.fd, true), 0);
	while (got < total) {
		uint32_t since = 0;

		while (written < total) {
			ssize_t n = MIN(sizeof(block), total - written);

			for (ssize_t i = 0; i < n; i++)
				block[i] = pattern(written + (uint64_t)i);
			n = write(p.fd, block, (size_t)n);
			if (n < 0)
				break;
			written += (uint64_t)n;
		}
		while (since < g->room && got < total) {
			assert_true(guest_receive(g, true));
			if (g->last.op != OP(RW))
				continue;
			for (uint32_t i = 0; i < g->n_data; i++)
				assert_int_equal(g->data[i], pattern(got + i));
			got += g->n_data;
			since += g->n_data;
			assert_true(since <= g->room);
		}
		if (got < total) {
			for (int i = 0; i < 3; i++)
				guest_turn(g);
			while (guest_receive(g, false))
				assert_int_equal(g->last.op, OP(CREDIT_REQUEST));
		}
		g->forwarded = (uint32_t)got;
		guest_stream(g, OP(CREDIT_UPDATE), PORT, TSI_PORT_STREAM, NULL, 0);
	}
	close_pair(&p);
	guest_stop(g);
}

/* Recent guests charge each packet with more than its bytes: small ones stop before that is too much. */
static void packets_are_metered(void **state)
{
	struct guest *g = &guest;
	unsigned n = 0, bytes = 0, packets = 0;
	struct pair p;
	int one = 1;

	guest_start(g, true, NULL);
	g->room = 64 << 10;
	p = open_pair(g);
	assert_int_equal(setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	loop_use_fake_clock(g->loop, 1000);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(write(p.fd, "tiny", 4), 4);
		guest_turn(g);
		guest_turn(g);
		while (guest_receive(g, false)) {
			if (g->last.op == OP(RW))
				n++;
			else
				assert_int_equal(g->last.op, OP(CREDIT_REQUEST));
		}
	}
	assert_true(n > 50 && n <= g->room / 576);
	/* The guest answers that it holds them all: it is asked again later, not at once. */
	guest_stream(g, OP(CREDIT_UPDATE), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect_silence(g);
	loop_fake_advance(g->loop, 100);
	guest_expect(g, OP(CREDIT_REQUEST), TSI_PORT_STREAM, PORT);
	g->forwarded = n * 4;
	guest_stream(g, OP(CREDIT_UPDATE), PORT, TSI_PORT_STREAM, NULL, 0);
	for (; bytes < 300 * 4 - n * 4; bytes += g->n_data, packets++)
		guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
	assert_int_equal(bytes, 300 * 4 - n * 4);
	assert_true(packets < (300 - n) / 4); /* what came meanwhile is put together */
	close_pair(&p);
	guest_stop(g);
}

static void credit_request_is_answered(void **state)
{
	struct guest *g = &guest;
	struct pair p;

	guest_start(g, true, NULL);
	p = open_pair(g);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "12345", 5);
	guest_stream(g, OP(CREDIT_REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect(g, OP(CREDIT_UPDATE), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->last.fwd_cnt, 5);
	assert_int_equal(g->last.buf_alloc, CONNECTION_ROOM);
	close_pair(&p);
	guest_stop(g);
}

/* More than its credit: the connection is reset, and nothing else. */
static void credit_lies_end_the_connection(void **state)
{
	struct guest *g = &guest;
	struct pair p;
	unsigned n = 0;

	guest_start(g, true, NULL);
	p = open_pair(g);
	while (!g->device.stats.bad_credit && n++ < 1000) {
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, sizeof(block));
		guest_turn(g);
	}
	assert_int_equal(g->device.stats.bad_credit, 1);
	assert_true((uint64_t)g->device.pool.n_used * POOL_CHUNK <= CONNECTION_ROOM_MAX + POOL_CHUNK);
	while (guest_receive(g, true) && g->last.op != OP(RST))
		;
	for (int i = 0; i < 3; i++)
		guest_turn(g);
	assert_int_equal(g->device.table.n_used, 1);
	assert_int_equal(g->device.pool.n_used, 0);
	close_pair(&p);
	guest_stop(g);
}

/* What makes no sense is dropped or reset, and the next connection works. */
static void hostile_packets_harm_nobody(void **state)
{
	static const struct packet bad[] = {
		{ .src_cid = 4, .dst_cid = 2, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = OP(RST) },
		{ .src_cid = GUEST_CID, .dst_cid = 1, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = OP(RST) },
		{ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = 0 },
		{ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = 8 },
		{ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = OP(RW), .len = 99 },
		{ .src_cid = GUEST_CID, .dst_cid = 2, .src_port = PORT, .dst_port = TSI_PORT_STREAM, .type = 1, .op = OP(RW), .len = ~0u },
	};
	struct guest *g = &guest;
	struct pair p;
	char text[2];

	guest_start(g, true, NULL);
	p = open_pair(g);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		guest_send_raw(g, &bad[i], "x", 1);
	assert_int_equal(g->device.stats.forged, 2);
	assert_int_equal(g->device.stats.bad_packets, 4);
	guest_expect_silence(g);
	guest_stream(g, OP(RW), PORT + 1, TSI_PORT_STREAM, "x", 1); /* no such connection */
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT + 1);
	guest_stream(g, OP(RST), PORT + 1, TSI_PORT_STREAM, NULL, 0); /* a reset is never answered */
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RW), PORT, TSI_PORT_STREAM, PACKET_SEQ_EOM, "x", 1); /* wrong type */
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	guest_send(g, 7, OP(REQUEST), PORT + 2, TSI_PORT_STREAM, 0, NULL, 0);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT + 2);
	guest_stream(g, OP(REQUEST), PORT + 2, 22, NULL, 0); /* no such service */
	guest_expect(g, OP(RST), 22, PORT + 2);
	guest_stream(g, OP(REQUEST), PORT + 2, TSI_PORT_STREAM, NULL, 0); /* not announced */
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT + 2);
	guest_stream(g, OP(RESPONSE), PORT + 3, TSI_PORT_HOST_FIRST, NULL, 0); /* to a request that we never made */
	guest_expect(g, OP(RST), TSI_PORT_HOST_FIRST, PORT + 3);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "ok", 2);
	host_read(g, p.fd, text, 2);
	guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0); /* opened once more */
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->device.table.n_used, 1);
	close_pair(&p);
	guest_stop(g);
}

/* After its end-of-file the guest sends more. */
static void payload_after_shutdown_is_a_reset(void **state)
{
	struct guest *g = &guest;
	struct pair p;

	guest_start(g, true, NULL);
	p = open_pair(g);
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_SEND, NULL, 0);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "x", 1);
	guest_expect_message(g, TSI_RESET, PORT);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	close_pair(&p);
	guest_stop(g);
}

#define MANY 1000

/* T08: one of a thousand does not read; the others have their turn. */
static void one_blocked_among_many(void **state)
{
	struct guest *g = &guest;
	static int fd[MANY];
	uint16_t port;
	uint32_t sent = 0, told = 0, room = CONNECTION_ROOM;
	int listener = host_listen(&port);

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	for (unsigned i = 0; i < MANY; i++) {
		guest_connect(g, PORT + i, port);
		fd[i] = host_accept(g, listener);
	}
	while (sent - told + sizeof(block) <= room) {
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, sizeof(block));
		sent += sizeof(block);
		guest_turn(g);
		guest_turn(g);
		while (guest_receive(g, false)) {
			told = g->last.fwd_cnt;
			room = g->last.buf_alloc;
		}
	}
	for (unsigned i = 1; i < MANY; i++) {
		char text[3];

		guest_stream(g, OP(RW), PORT + i, TSI_PORT_STREAM, "abc", 3);
		host_read(g, fd[i], text, 3);
		assert_int_equal(write(fd[i], "de", 2), 2);
	}
	for (unsigned i = 1; i < MANY; i++) { /* in turn, each its own */
		assert_true(guest_receive(g, true));
		assert_int_equal(g->last.op, OP(RW));
		assert_int_equal(g->n_data, 2);
	}
	for (unsigned i = 0; i < MANY; i++)
		close(fd[i]);
	close(listener);
	guest_stop(g);
}

/* The box's limit: told why, and the agent's entries are kept. */
static void limit_is_told(void **state)
{
	const struct device_limits limits = { .connections = 16, .listeners = 2, .queued_bytes = 1 << 20, .datagram_idle_ms = 60000 };
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port);
	struct tsi_message m = { .type = htole16(TSI_CONNECT), .remote = address_v4(TSI_ADDRESS_HOST, port) }, got;
	uint32_t i;

	guest_start(g, true, &limits);
	guest_open_tsi(g);
	for (i = 0; g->device.table.n_used < 14; i++)
		guest_connect(g, PORT + i, port);
	m.port = htole32(PORT + i);
	guest_message(g, &m);
	got = guest_expect_message(g, TSI_FAILED, PORT + i);
	assert_int_equal(le32toh(got.error), EMFILE);
	for (i = 1; i <= 4; i++)
		guest_listen(g, PORT + i, 80);
	assert_int_equal(g->device.tsi.n_listeners, 2);
	close(listener);
	guest_stop(g);
}

/* No receive buffers for a while: nothing is lost, nothing spins. */
static void no_buffers_lose_nothing(void **state)
{
	struct guest *g = &guest;
	struct pair p;
	uint64_t got = 0;

	guest_start(g, true, NULL);
	p = open_pair(g);
	assert_int_equal(write(p.fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(write(p.fd, block, sizeof(block)), sizeof(block));
	for (int i = 0; i < 20; i++)
		guest_turn(g); /* buffers are not taken: 64 of 4 KiB hold 256 KiB, credit ends first or with them */
	while (got < 2 * sizeof(block)) {
		assert_true(guest_receive(g, true));
		if (g->last.op == OP(RW))
			got += g->n_data;
	}
	close_pair(&p);
	guest_stop(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_reader_stops_its_own_connection),
		cmocka_unit_test(draining_ends),
		cmocka_unit_test(a_guest_with_a_window_of_its_own_goes_on),
		cmocka_unit_test(guest_room_is_kept),
		cmocka_unit_test(packets_are_metered),
		cmocka_unit_test(credit_request_is_answered),
		cmocka_unit_test(credit_lies_end_the_connection),
		cmocka_unit_test(hostile_packets_harm_nobody),
		cmocka_unit_test(payload_after_shutdown_is_a_reset),
		cmocka_unit_test(one_blocked_among_many),
		cmocka_unit_test(limit_is_told),
		cmocka_unit_test(no_buffers_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
