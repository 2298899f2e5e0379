/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams and the name server, with real UDP sockets on the host's loopback and a resolver that the test plays. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resolver/protocol.h"
#include "vsock/dns.h"
#include "vsock/policy.h"
#include "vsock_guest.h"

#define PORT 0x10001u
#define OP(x) VIRTIO_VSOCK_OP_##x
#define ADDRESS sizeof(struct tsi_address)

static struct guest guest;

static int host_udp(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void open_datagram(struct guest *g)
{
	struct tsi_message m = { .type = htole16(TSI_DATAGRAM), .port = htole32(PORT), .value = htole32(IPPROTO_UDP) };

	guest_message(g, &m);
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(REQUEST), PORT, TSI_PORT_DATAGRAM, 0, NULL, 0);
	guest_expect(g, OP(RESPONSE), TSI_PORT_DATAGRAM, PORT);
	assert_int_equal(g->last.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
}

static void send_datagram(struct guest *g, uint32_t ip, uint16_t port, const void *data, size_t size)
{
	static uint8_t message[ADDRESS + 65507];
	struct tsi_address to = address_v4(ip, port);
	size_t half = (ADDRESS + size) / 2;

	memcpy(message, &to, ADDRESS);
	memcpy(message + ADDRESS, data, size);
	if (size > 1000) { /* in two parts */
		guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RW), PORT, TSI_PORT_DATAGRAM, 0, message, (uint32_t)half);
		guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RW), PORT, TSI_PORT_DATAGRAM, PACKET_SEQ_EOM, message + half,
			   (uint32_t)(ADDRESS + size - half));
		return;
	}
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RW), PORT, TSI_PORT_DATAGRAM, PACKET_SEQ_EOM, message,
		   (uint32_t)(ADDRESS + size));
}

/* Whole message into data; its size. */
static size_t receive_datagram(struct guest *g, uint8_t *data)
{
	size_t size = 0;

	do {
		guest_expect(g, OP(RW), TSI_PORT_DATAGRAM, PORT);
		memcpy(data + size, g->data, g->n_data);
		size += g->n_data;
		g->forwarded += g->n_data;
	} while (!(g->last.flags & PACKET_SEQ_EOM));
	return size;
}

/* T13 */
static void datagrams_pass(void **state)
{
	static const size_t sizes[] = { 0, 1, 1000, 4096, 9000, 65507, 65507, 100 };
	static uint8_t out[65507], in[65536], echo[65536];
	struct guest *g = &guest;
	uint16_t port;
	int fd = host_udp(&port);

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	open_datagram(g);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sockaddr_in from;
		socklen_t from_size = sizeof(from);
		struct tsi_address source = address_v4(TSI_ADDRESS_HOST, port);
		ssize_t n;

		send_datagram(g, TSI_ADDRESS_HOST, port, out, sizes[i]);
		n = recvfrom(fd, echo, sizeof(echo), 0, (struct sockaddr *)&from, &from_size);
		assert_int_equal(n, sizes[i]);
		assert_int_equal(sendto(fd, echo, (size_t)n, 0, (struct sockaddr *)&from, from_size), n);
		assert_int_equal(receive_datagram(g, in), ADDRESS + sizes[i]);
		assert_memory_equal(in, &source, ADDRESS);
		assert_memory_equal(in + ADDRESS, out, sizes[i]);
	}
	close(fd);
	guest_stop(g);
}

/* T13: an ICMP error comes with the destination it is about; T28: the host's loopback is refused. */
static void errors_come_back(void **state)
{
	struct guest *g = &guest;
	struct tsi_address to;
	struct tsi_message m;
	uint16_t port;

	close(host_udp(&port));
	guest_start(g, true, NULL);
	guest_open_tsi(g);
	open_datagram(g);
	send_datagram(g, TSI_ADDRESS_HOST, port, "x", 1);
	m = guest_expect_message(g, TSI_DATAGRAM_ERROR, PORT);
	to = address_v4(TSI_ADDRESS_HOST, port);
	assert_int_equal(le32toh(m.error), ECONNREFUSED);
	assert_memory_equal(&m.remote, &to, ADDRESS);
	assert_int_equal(le32toh(m.value), TSI_ERROR_VALUE(ICMP_DEST_UNREACH, ICMP_PORT_UNREACH));
	to = address_v4(TSI_ADDRESS_HOST, 0);
	assert_memory_equal(&m.local, &to, ADDRESS);
	send_datagram(g, INADDR_LOOPBACK, port, "x", 1);
	m = guest_expect_message(g, TSI_DATAGRAM_ERROR, PORT);
	to = address_v4(INADDR_LOOPBACK, port);
	assert_int_equal(le32toh(m.error), ECONNREFUSED);
	assert_memory_equal(&m.remote, &to, ADDRESS);
	assert_int_equal(m.local.family, TSI_FAMILY_NONE);
	guest_stop(g);
}

static void tell_option(struct guest *g, enum tsi_option option, uint32_t value)
{
	struct tsi_message m = { .type = htole16(TSI_OPTION), .port = htole32(PORT), .error = htole32(option), .value = htole32(value) };

	guest_message(g, &m);
}

/* The TTL that a datagram from the guest has at its destination. */
static int seen_ttl(struct guest *g, int fd, uint16_t port)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[64];
	} control;
	char byte;
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int ttl = 0;

	send_datagram(g, TSI_ADDRESS_HOST, port, "x", 1);
	assert_int_equal(recvmsg(fd, &message, 0), 1);
	assert_int_equal(CMSG_FIRSTHDR(&message)->cmsg_type, IP_TTL);
	memcpy(&ttl, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(ttl));
	return ttl;
}

/* T13: options hold for the socket that there is, and for the one that is made later. */
static void options_are_set(void **state)
{
	struct guest *g = &guest;
	uint16_t port;
	int fd = host_udp(&port), on = 1, initial;

	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
	guest_start(g, true, NULL);
	guest_open_tsi(g);
	open_datagram(g);
	tell_option(g, TSI_OPTION_TTL, 17);
	assert_int_equal(seen_ttl(g, fd, port), 17);
	tell_option(g, TSI_OPTION_TTL, 0);
	initial = seen_ttl(g, fd, port);
	assert_true(initial > 17);
	tell_option(g, TSI_OPTION_TTL, 18);
	assert_int_equal(seen_ttl(g, fd, port), 18);
	tell_option(g, TSI_OPTION_TTL, 100000); /* refused by the host's kernel */
	tell_option(g, 77, 1);
	assert_int_equal(seen_ttl(g, fd, port), 18);
	close(fd);
	guest_stop(g);
}

static void peers_are_answered(void **state)
{
	struct guest *g = &guest;
	struct tsi_message m = { .type = htole16(TSI_PEER), .port = htole32(PORT) }, got;
	uint16_t port;
	uint8_t byte;
	int fd = host_udp(&port);

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	open_datagram(g);
	m.remote = address_v4(TSI_ADDRESS_HOST, port);
	guest_message(g, &m);
	got = guest_expect_message(g, TSI_CONNECTED, PORT);
	assert_int_equal(be16toh(got.local.port) != 0, 1);
	m.remote = address_v4(TSI_ADDRESS_HOST, port);
	send_datagram(g, TSI_ADDRESS_HOST, port, "y", 1);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	m.remote = address_v4(INADDR_LOOPBACK, port);
	guest_message(g, &m);
	got = guest_expect_message(g, TSI_FAILED, PORT);
	assert_int_equal(le32toh(got.error), ECONNREFUSED);
	memset(&m.remote, 0, sizeof(m.remote));
	guest_message(g, &m);
	guest_expect_message(g, TSI_CONNECTED, PORT);
	close(fd);
	guest_stop(g);
}

/* A silent socket goes, and everything that it had; a connected one stays. */
static void silent_sockets_expire(void **state)
{
	struct guest *g = &guest;
	uint16_t port;
	int fd = host_udp(&port);

	guest_start(g, true, NULL);
	loop_use_fake_clock(g->loop, 1000);
	guest_open_tsi(g);
	open_datagram(g);
	send_datagram(g, TSI_ADDRESS_HOST, port, "x", 1);
	assert_int_equal(g->device.table.n_used, 2);
	loop_fake_advance(g->loop, g->device.limits.datagram_idle_ms);
	guest_expect(g, OP(RST), TSI_PORT_DATAGRAM, PORT);
	assert_int_equal(g->device.table.n_used, 1);
	close(fd);
	guest_stop(g);
}

static const uint8_t query[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'b', 'o', 'x', 0, 0, 1, 0, 1 };

static void give_resolver(struct guest *g, int *ret_fd)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(dns_set_resolver(&g->device, pair[0]), 0);
	*ret_fd = pair[1];
}

/* The resolver gets the query and answers with its last byte changed. */
static void play_resolver(int fd, uint8_t status)
{
	uint8_t message[512];
	ssize_t n = recv(fd, message, sizeof(message), 0);

	assert_int_equal(n, RESOLVER_HEADER + sizeof(query));
	assert_memory_equal(message + RESOLVER_HEADER, query, sizeof(query));
	message[4] = status;
	message[n - 1] = 42;
	assert_true(send(fd, message, status == RESOLVER_ANSWERED ? (size_t)n : RESOLVER_HEADER, 0) > 0);
}

/* T27 */
static void names_are_asked_over_udp(void **state)
{
	struct guest *g = &guest;
	struct tsi_address source = address_v4(TSI_ADDRESS_RESOLVER, 53);
	uint8_t in[512];
	int fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	open_datagram(g);
	send_datagram(g, TSI_ADDRESS_RESOLVER, 53, query, sizeof(query));
	assert_string_equal(g->event, "resolver-wanted");
	give_resolver(g, &fd);
	play_resolver(fd, RESOLVER_ANSWERED);
	assert_int_equal(receive_datagram(g, in), ADDRESS + sizeof(query));
	assert_memory_equal(in, &source, ADDRESS);
	assert_int_equal(in[ADDRESS + sizeof(query) - 1], 42);
	send_datagram(g, TSI_ADDRESS_RESOLVER, 53, query, sizeof(query));
	play_resolver(fd, RESOLVER_NO_ANSWER);
	assert_int_equal(receive_datagram(g, in), ADDRESS + sizeof(query));
	assert_int_equal(in[ADDRESS + 3] & 15, 2); /* SERVFAIL */
	assert_memory_equal(in + ADDRESS, query, 2);
	send_datagram(g, TSI_ADDRESS_RESOLVER, 53, query, sizeof(query)); /* one in flight when the resolver dies */
	guest_turn(g);
	strcpy(g->event, "");
	close(fd);
	for (int i = 0; i < 3; i++)
		guest_turn(g);
	assert_string_equal(g->event, "resolver-wanted");
	give_resolver(g, &fd);
	play_resolver(fd, RESOLVER_ANSWERED);
	receive_datagram(g, in);
	close(fd);
	guest_stop(g);
}

static void no_resolver_is_a_failure(void **state)
{
	struct guest *g = &guest;
	uint8_t in[512];

	guest_start(g, true, NULL);
	loop_use_fake_clock(g->loop, 1000);
	guest_open_tsi(g);
	open_datagram(g);
	send_datagram(g, TSI_ADDRESS_RESOLVER, 53, query, sizeof(query));
	guest_expect_silence(g);
	loop_fake_advance(g->loop, 6000);
	assert_int_equal(receive_datagram(g, in), ADDRESS + sizeof(query));
	assert_int_equal(in[ADDRESS + 3] & 15, 2);
	guest_stop(g);
}

static void names_are_asked_over_tcp(void **state)
{
	struct guest *g = &guest;
	struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(PORT), .remote = address_v4(TSI_ADDRESS_RESOLVER, 53) };
	uint8_t message[2 + sizeof(query)] = { 0, sizeof(query) };
	int fd;

	guest_start(g, true, NULL);
	guest_open_tsi(g);
	give_resolver(g, &fd);
	guest_message(g, &m);
	guest_stream(g, OP(REQUEST), PORT, TSI_PORT_STREAM, NULL, 0);
	guest_expect_message(g, TSI_CONNECTED, PORT);
	guest_expect(g, OP(RESPONSE), TSI_PORT_STREAM, PORT);
	memcpy(message + 2, query, sizeof(query));
	for (int i = 0; i < 3; i++) { /* cut at another place each time */
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, message, (uint32_t)(1 + 9 * i));
		guest_stream(g, OP(RW), PORT, TSI_PORT_STREAM, message + 1 + 9 * i, (uint32_t)(sizeof(message) - 1 - 9 * (size_t)i));
	}
	for (int i = 0; i < 3; i++) {
		play_resolver(fd, RESOLVER_ANSWERED);
		guest_expect(g, OP(RW), TSI_PORT_STREAM, PORT);
		assert_int_equal(g->n_data, sizeof(message));
		assert_int_equal(g->data[1], sizeof(query));
	}
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, OP(SHUTDOWN), PORT, TSI_PORT_STREAM, PACKET_SHUTDOWN_SEND, NULL, 0);
	guest_expect(g, OP(SHUTDOWN), TSI_PORT_STREAM, PORT);
	close(fd);
	guest_stop(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_pass),
		cmocka_unit_test(errors_come_back),
		cmocka_unit_test(options_are_set),
		cmocka_unit_test(peers_are_answered),
		cmocka_unit_test(silent_sockets_expire),
		cmocka_unit_test(names_are_asked_over_udp),
		cmocka_unit_test(no_resolver_is_a_failure),
		cmocka_unit_test(names_are_asked_over_tcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
