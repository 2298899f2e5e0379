/* SPDX-License-Identifier: Apache-2.0 */
/* The device with a guest made of a ring driver and real sockets on the host's loopback. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock/agent.h"
#include "vsock/policy.h"
#include "vsock/publish.h"
#include "vsock_guest.h"

#define PORT 0x10001u
#define LISTENER 0x10002u
#define OP(x) VIRTIO_VSOCK_OP_##x

static struct guest guest;

static void stream_goes_out(void **state)
{
	struct guest *g = &guest;
	char text[5];
	uint16_t port;
	int listener = host_listen(&port), fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	guest_connect(g, PORT, port);
	fd = host_accept(g, listener);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "hello", 5);
	host_read(g, fd, text, 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(write(fd, "world!", 6), 6);
	guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->n_data, 6);
	assert_memory_equal(g->data, "world!", 6);
	assert_int_equal(g->last.fwd_cnt, 5);
	guest_stream(g, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	host_expect_end(g, fd);
	assert_int_equal(g->device.table.n_used, 1);
	close(fd);
	close(listener);
	guest_stop(g);
}

/* T03: the reason comes ahead of the reset. */
static void refused_says_why(void **state)
{
	struct guest *g = &guest;
	struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(PORT) }, got;
	uint16_t port;
	int listener = host_listen(&port);

	close(listener);
	guest_start(g, true, NULL);
	guest_open_tsi(g);
	m.remote = address_v4(TSI_ADDRESS_HOST, port);
	guest_message(g, &m);
	guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
	got = guest_expect_message(g, TSI_FAILED, PORT);
	assert_int_equal(le32toh(got.error), ECONNREFUSED);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->device.table.n_used, 1);
	guest_stop(g);
}

/* The port of a listener that leaves further clients without an answer; the sockets that it takes for that. */
static uint16_t silent_port(struct guest *g, int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htobe32(INADDR_LOOPBACK) };
	socklen_t size = sizeof(name);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fds[0], (struct sockaddr *)&name, size), 0);
	assert_int_equal(listen(fds[0], 0), 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)&name, &size), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&name, size), 0);
	return be16toh(name.sin_port);
}

/* T04: a program gives up on a connect: so does the host, at once. */
static void abandoned_connect(void **state)
{
	static const uint16_t ways[] = { OP(SHUTDOWN), OP(RST) };
	struct guest *g = &guest;
	int fds[2];
	uint16_t port = silent_port(g, fds);

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(PORT), .remote = address_v4(TSI_ADDRESS_HOST, port) };
		struct connection *c;
		int fd;

		guest_message(g, &m);
		guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
		guest_expect_silence(g);
		c = connection_find(&g->device, PORT, TSI_PORT_STREAM);
		assert_non_null(c);
		fd = c->io.fd;
		assert_true(fcntl(fd, F_GETFD) >= 0);
		guest_stream(g, ways[i], PORT, TSI_PORT_STREAM, NULL, 0);
		if (ways[i] == OP(SHUTDOWN))
			guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
		guest_expect_silence(g);
		assert_true(fcntl(fd, F_GETFD) < 0);
		assert_int_equal(g->device.table.n_used, 1);
	}
	close(fds[0]);
	close(fds[1]);
	guest_stop(g);
}

/* T28 */
static void loopback_is_refused(void **state)
{
	static const uint32_t ips[] = { 0x7f000001, 0x7f123456, 0, TSI_ADDRESS_GUEST, TSI_ADDRESS_HOST };
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port);

	guest_start(g, true, NULL);
	g->device.has_host_gateway = false;
	guest_open_tsi(g);
	for (size_t i = 0; i < sizeof(ips) / sizeof(ips[0]); i++) {
		struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(PORT), .remote = address_v4(ips[i], port) };
		struct tsi_message got;

		guest_message(g, &m);
		guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
		got = guest_expect_message(g, TSI_FAILED, PORT);
		assert_int_equal(le32toh(got.error), ECONNREFUSED);
		guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	}
	assert_true(accept(listener, NULL, NULL) < 0);
	close(listener);
	guest_stop(g);
}

/* T07: an option of the stream's. */
static void set_option(struct guest *g, enum tsi_option option, uint32_t value)
{
	struct tsi_message m = { .type = htole16(TSI_OPTION), .port = htole32(PORT), .error = htole32(option), .value = htole32(value) };

	guest_message(g, &m);
}

/* T07: SO_LINGER: the close is answered when the peer has everything, or at the second one. */
static void close_lingers(void **state)
{
	static uint8_t block[32768];
	struct guest *g = &guest;
	int small = 4096;
	uint16_t port;
	int listener = host_listen(&port);

	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (int again = 0; again < 2; again++) {
		int fd;

		guest_start(g, true, NULL);
		guest_open_tsi(g);
		guest_connect(g, PORT, port);
		fd = host_accept(g, listener);
		for (int i = 0; i < 4; i++)
			guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, block, sizeof(block));
		set_option(g, TSI_OPTION_LINGER, 10);
		guest_stream(g, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, NULL, 0);
		for (int i = 0; i < 5; i++)
			guest_turn(g);
		while (guest_receive(g, false))
			assert_int_equal(g->last.op, OP(CREDIT_UPDATE));
		if (again)
			guest_stream(g, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, NULL, 0);
		else
			for (int i = 0; i < 4; i++)
				host_read(g, fd, block, sizeof(block));
		do
			assert_true(guest_receive(g, true));
		while (g->last.op == OP(CREDIT_UPDATE));
		assert_int_equal(g->last.op, OP(RST));
		for (int i = 0; again && i < 4; i++)
			host_read(g, fd, block, sizeof(block));
		host_expect_end(g, fd);
		assert_int_equal(g->device.table.n_used, 1);
		close(fd);
		guest_stop(g);
	}
	close(listener);
}

static void shut_half(struct guest *g, uint32_t from, uint32_t to, uint32_t halves)
{
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), from, to, halves, NULL, 0);
}

/* T07: the guest has sent everything and still reads. */
static void guest_half_closes(void **state)
{
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port), fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	guest_connect(g, PORT, port);
	fd = host_accept(g, listener);
	shut_half(g, PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_SEND);
	host_expect_end(g, fd);
	assert_int_equal(write(fd, "late", 4), 4);
	guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->n_data, 4);
	close(fd);
	guest_expect(g, OP(SHUTDOWN), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->last.flags, PACKET_SHUTDOWN_SEND);
	guest_expect_silence(g);
	shut_half(g, PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_BOTH);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->device.table.n_used, 1);
	close(listener);
	guest_stop(g);
}

/* T07: the host has sent everything and still reads. */
static void host_half_closes(void **state)
{
	struct guest *g = &guest;
	char text[4];
	uint16_t port;
	int listener = host_listen(&port), fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	guest_connect(g, PORT, port);
	fd = host_accept(g, listener);
	assert_int_equal(write(fd, "bye", 3), 3);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
	guest_expect(g, OP(SHUTDOWN), TSI_PORT_STREAM, PORT);
	assert_int_equal(g->last.flags, PACKET_SHUTDOWN_SEND);
	guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, "more", 4);
	host_read(g, fd, text, 4);
	shut_half(g, PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_BOTH);
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	host_expect_end(g, fd);
	close(fd);
	close(listener);
	guest_stop(g);
}

/* T07: the peer has sent and closed before the guest knows that it is connected. */
static void peer_in_a_hurry(void **state)
{
	struct guest *g = &guest;
	struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(PORT) };
	uint16_t port;
	int listener = host_listen(&port), fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	m.remote = address_v4(TSI_ADDRESS_HOST, port);
	guest_message(g, &m);
	do
		fd = accept(listener, NULL, NULL); /* without a turn of the device's loop */
	while (fd < 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect_message(g, TSI_CONNECTED, PORT);
	guest_expect(g, OP(RESPONSE), TSI_PORT_STREAM, PORT);
	guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
	guest_expect(g, OP(SHUTDOWN), TSI_PORT_STREAM, PORT);
	close(listener);
	guest_stop(g);
}

static void abort_fd(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(fd);
}

/* T07: a reset is a reset, either way. */
static void resets_pass(void **state)
{
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port), fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	guest_connect(g, PORT, port);
	abort_fd(host_accept(g, listener));
	guest_expect(g, OP(RST), TSI_PORT_STREAM, PORT);
	guest_connect(g, PORT, port);
	fd = host_accept(g, listener);
	guest_stream(g, OP(RST), PORT, TSI_PORT_STREAM, NULL, 0);
	host_expect_error(g, fd, ECONNRESET);
	guest_expect_silence(g);
	assert_int_equal(g->device.table.n_used, 1);
	close(fd);
	close(listener);
	guest_stop(g);
}

static void publish(struct guest *g, int fd, uint16_t port)
{
	struct publish_port entry = { .address = "127.0.0.1", .port = port, .guest_port = 80 };

	assert_int_equal(publish_add(&g->device, &entry, dup(fd)), 0);
}

/* T15, T17, T18 */
static void published_port_serves(void **state)
{
	struct guest *g = &guest;
	struct sockaddr_in self;
	socklen_t size = sizeof(self);
	struct tsi_message m;
	struct tsi_address expected;
	uint16_t port;
	char text[3];
	int listener = host_listen(&port), fd;
	uint32_t from;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	publish(g, listener, port);
	fd = host_connect(port);
	host_expect_error(g, fd, ECONNRESET); /* nobody listens */
	close(fd);
	guest_listen(g, LISTENER, 80);
	fd = host_connect(port);
	assert_int_equal(write(fd, "GET", 3), 3);
	guest_expect(g, OP(RW), TSI_PORT_CONTROL, GUEST_CONTROL);
	memcpy(&m, g->data, sizeof(m));
	assert_int_equal(le16toh(m.type), TSI_INCOMING);
	assert_int_equal(le32toh(m.value), LISTENER);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &size), 0);
	expected = address_v4(INADDR_LOOPBACK, ntohs(self.sin_port));
	assert_memory_equal(&m.remote, &expected, sizeof(expected));
	from = le32toh(m.port);
	assert_true(from >= TSI_PORT_HOST_FIRST);
	guest_expect(g, OP(REQUEST), from, LISTENER);
	guest_accept(g, from, LISTENER);
	guest_expect(g, OP(RW), from, LISTENER);
	assert_memory_equal(g->data, "GET", 3);
	guest_stream(g, OP(RW), LISTENER, from, "200", 3);
	host_read(g, fd, text, 3);
	guest_stream(g, OP(SHUTDOWN), LISTENER, from, NULL, 0);
	guest_expect(g, OP(RST), from, LISTENER);
	host_expect_end(g, fd);
	close(fd);
	publish_clear(&g->device);
	close(listener);
	guest_stop(g);
}

/* The next two packets are a client's; its port. */
static uint32_t expect_client(struct guest *g)
{
	struct tsi_message m;
	uint32_t from;

	guest_expect(g, OP(RW), TSI_PORT_CONTROL, GUEST_CONTROL);
	memcpy(&m, g->data, sizeof(m));
	assert_int_equal(le16toh(m.type), TSI_INCOMING);
	from = le32toh(m.port);
	guest_expect(g, OP(REQUEST), from, LISTENER);
	return from;
}

/* T18: a full backlog makes clients wait, first come first; they are reset when nobody listens any more. */
static void full_backlog_makes_clients_wait(void **state)
{
	struct tsi_message unlisten = { .type = htole16(TSI_UNLISTEN), .port = htole32(LISTENER) };
	struct guest *g = &guest;
	uint16_t port;
	int listener = host_listen(&port), first, second;
	uint32_t from, opened;

	guest_start(g, true, NULL);
	loop_use_fake_clock(g->loop, 1000);
	guest_open_tsi(g);
	publish(g, listener, port);
	guest_listen(g, LISTENER, 80);
	first = host_connect(port);
	from = expect_client(g);
	guest_stream(g, OP(RST), LISTENER, from, NULL, 0);
	second = host_connect(port);
	guest_expect_silence(g);
	loop_fake_advance(g->loop, 10);
	opened = expect_client(g);
	guest_expect_silence(g); /* one at a time */
	guest_accept(g, opened, LISTENER);
	assert_int_equal(write(first, "1", 1), 1);
	assert_int_equal(write(second, "2", 1), 1);
	from = expect_client(g);
	guest_expect(g, OP(RW), opened, LISTENER);
	assert_int_equal(g->data[0], '1');
	guest_stream(g, OP(RST), LISTENER, from, NULL, 0);
	guest_message(g, &unlisten);
	loop_fake_advance(g->loop, 1000);
	host_expect_error(g, second, ECONNRESET);
	assert_int_equal(g->device.table.n_used, 2);
	close(first);
	close(second);
	publish_clear(&g->device);
	close(listener);
	guest_stop(g);
}

static int agent_socket(struct guest *g)
{
	struct sockaddr_un { sa_family_t family; } unnamed = { AF_UNIX };
	struct sockaddr_storage name = { 0 };
	socklen_t size = sizeof(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)(void *)&unnamed, sizeof(unnamed)), 0); /* a name of the kernel's choice */
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&name, size), 0);
	assert_int_equal(agent_listen(&g->device, fd), 0);
	return client;
}

/* In mode none the agent is reached, and nothing that the guest opens is answered (S06). */
/* S01: another process of the box cannot take the module's place, and one that says HELLO again is heard once. */
static void control_belongs_to_the_first(void **state)
{
	struct tsi_message hello = { .type = htole16(TSI_HELLO), .port = htole32(TSI_VERSION) };
	struct guest *g = &guest;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	guest_stream(g, OP(REQUEST), 0x20000, TSI_PORT_CONTROL, NULL, 0);
	guest_expect(g, OP(RST), TSI_PORT_CONTROL, 0x20000);
	g->event[0] = '\0';
	for (int i = 0; i < 100; i++)
		guest_message(g, &hello);
	guest_expect_silence(g);
	assert_string_equal(g->event, "");
	guest_stream(g, OP(RST), GUEST_CONTROL, TSI_PORT_CONTROL, NULL, 0);
	g->control_forwarded = 0;
	guest_open_tsi(g);
	guest_stop(g);
}

static void agent_is_reached_without_network(void **state)
{
	struct guest *g = &guest;
	char line[32] = "", expected[32];
	uint32_t from;
	int fd;

	guest_start(g, false, NULL);
	fd = agent_socket(g);
	assert_int_equal(write(fd, "CONNECT 40", 10), 10);
	guest_expect_silence(g);
	assert_int_equal(write(fd, "88\nping", 7), 7);
	assert_true(guest_receive(g, true));
	assert_int_equal(g->last.op, OP(REQUEST));
	assert_int_equal(g->last.dst_port, 4088);
	from = g->last.src_port;
	guest_accept(g, from, 4088);
	snprintf(expected, sizeof(expected), "OK %u\n", from);
	host_read(g, fd, line, strlen(expected));
	assert_string_equal(line, expected);
	guest_expect(g, OP(RW), from, 4088);
	assert_memory_equal(g->data, "ping", 4);
	close(fd);
	guest_expect(g, OP(SHUTDOWN), from, 4088);
	for (uint32_t port = TSI_PORT_CONTROL; port <= TSI_PORT_DATAGRAM; port++) {
		guest_stream(g, OP(REQUEST), GUEST_CONTROL, port, NULL, 0);
		guest_expect(g, OP(RST), port, GUEST_CONTROL);
	}
	agent_clear(&g->device);
	guest_stop(g);
}

static void agent_port_is_checked(void **state)
{
	static const char *const lines[] = { "CONNECT 22\n", "CONNECT 4092\n", "HELLO\n", "CONNECT 40881234567890123456789012345678901", "CONNECT \n" };

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct guest *g = &guest;
		char byte;
		int fd;

		guest_start(g, false, NULL);
		fd = agent_socket(g);
		assert_int_equal(write(fd, lines[i], strlen(lines[i])), strlen(lines[i]));
		for (int n = 0; n < 3; n++)
			guest_turn(g);
		assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
		close(fd);
		agent_clear(&g->device);
		guest_stop(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stream_goes_out),
		cmocka_unit_test(refused_says_why),
		cmocka_unit_test(abandoned_connect),
		cmocka_unit_test(close_lingers),
		cmocka_unit_test(loopback_is_refused),
		cmocka_unit_test(guest_half_closes),
		cmocka_unit_test(host_half_closes),
		cmocka_unit_test(peer_in_a_hurry),
		cmocka_unit_test(resets_pass),
		cmocka_unit_test(published_port_serves),
		cmocka_unit_test(full_backlog_makes_clients_wait),
		cmocka_unit_test(control_belongs_to_the_first),
		cmocka_unit_test(agent_is_reached_without_network),
		cmocka_unit_test(agent_port_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
