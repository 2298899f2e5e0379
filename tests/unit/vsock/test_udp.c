/* SPDX-License-Identifier: Apache-2.0 */
/* Published UDP (T16 T19 T23 P06): a guest made of a ring driver, published sockets and clients on the host's loopback. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "vsock/policy.h"
#include "vsock/publish.h"
#include "vsock_guest.h"

#define PORT 0x10001u
#define OTHER 0x10002u
#define OP(x) VIRTIO_VSOCK_OP_##x
#define ADDRESS sizeof(struct tsi_address)
#define BOX_PORT 53

static struct guest guest;

/* A UDP socket bound to this literal; *port 0: one of the host's choice. */
static int udp(const char *address, uint16_t *port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .any.sa_family = strchr(address, ':') ? AF_INET6 : AF_INET };
	bool is_v4 = a.any.sa_family == AF_INET;
	socklen_t size = is_v4 ? sizeof(a.v4) : sizeof(a.v6);
	int fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (is_v4)
		a.v4.sin_port = htons(*port);
	else
		a.v6.sin6_port = htons(*port);
	assert_int_equal(inet_pton(a.any.sa_family, address, is_v4 ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr), 1);
	if (!is_v4)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, &a.any, size), 0);
	assert_int_equal(getsockname(fd, &a.any, &size), 0);
	*port = ntohs(is_v4 ? a.v4.sin_port : a.v6.sin6_port);
	return fd;
}

static uint16_t publish(struct guest *g, const char *address)
{
	struct publish_port port = { .is_udp = true, .guest_port = BOX_PORT };
	int fd = udp(address, &port.port);

	snprintf(port.address, sizeof(port.address), "%s", address);
	assert_int_equal(publish_add(&g->device, &port, fd), 0);
	return port.port;
}

static void start(struct guest *g, const struct device_limits *limits)
{
	guest_start(g, true, limits);
	guest_open_tsi(g);
}

static void stop(struct guest *g)
{
	publish_clear(&g->device);
	guest_stop(g);
}

static void send_bound(struct guest *g, uint32_t vsock_port, const struct tsi_address *local, uint32_t bits)
{
	struct tsi_message m = {
		.type = htole16(TSI_DATAGRAM_BOUND), .port = htole32(vsock_port), .value = htole32(bits), .local = *local };

	guest_message(g, &m);
}

/* As the module does when a program binds. */
static void bind_inside(struct guest *g, uint32_t vsock_port, struct tsi_address local, uint32_t bits)
{
	struct tsi_message m = {
		.type = htole16(TSI_DATAGRAM),
		.port = htole32(vsock_port),
		.value = htole32(IPPROTO_UDP),
		.local = { .family = local.family, .port = local.port },
	};

	guest_message(g, &m);
	send_bound(g, vsock_port, &local, bits);
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(REQUEST), vsock_port, TSI_PORT_DATAGRAM, 0, NULL, 0);
	guest_expect(g, OP(RESPONSE), TSI_PORT_DATAGRAM, vsock_port);
}

static struct tsi_address any_v6(void)
{
	return (struct tsi_address){ .family = htole16(TSI_FAMILY_V6), .port = htobe16(BOX_PORT) };
}

static void client_send(int fd, const char *to, uint16_t port, const char *text)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, to, &v4.sin_addr) == 1) {
		assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&v4, sizeof(v4)), strlen(text));
		return;
	}
	assert_int_equal(inet_pton(AF_INET6, to, &v6.sin6_addr), 1);
	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&v6, sizeof(v6)), strlen(text));
}

/* This text comes, from that address and port. */
static void client_expect(struct guest *g, int fd, const char *from, uint16_t port, const char *text)
{
	struct sockaddr_storage s;
	socklen_t size = sizeof(s);
	struct tsi_address got;
	char data[256], name[64] = "";
	ssize_t n;

	while ((n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&s, &size)) < 0)
		guest_turn(g);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, strlen(text));
	got = address_from_sockaddr(&s);
	assert_non_null(inet_ntop(s.ss_family, got.bytes, name, sizeof(name)));
	assert_string_equal(name, from);
	assert_int_equal(address_port(&got), port);
}

/* The guest's socket gets this text; returns from whom. */
static struct tsi_address guest_gets(struct guest *g, uint32_t vsock_port, const char *text)
{
	struct tsi_address from;

	guest_expect(g, OP(RW), TSI_PORT_DATAGRAM, vsock_port);
	assert_int_equal(g->n_data, ADDRESS + strlen(text));
	assert_memory_equal(g->data + ADDRESS, text, strlen(text));
	memcpy(&from, g->data, ADDRESS);
	return from;
}

static void guest_answers(struct guest *g, uint32_t vsock_port, const struct tsi_address *to, const char *text)
{
	uint8_t message[ADDRESS + 256];

	memcpy(message, to, ADDRESS);
	memcpy(message + ADDRESS, text, strlen(text));
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RW), vsock_port, TSI_PORT_DATAGRAM, PACKET_SEQ_EOM, message,
		   (uint32_t)(ADDRESS + strlen(text)));
}

static void check_address(const struct tsi_address *a, uint32_t ip, uint16_t port)
{
	struct tsi_address want = address_v4(ip, port);

	assert_memory_equal(a, &want, ADDRESS);
}

/* T19, P06: true addresses, each answer to its client, from the address that it spoke to. */
static void answers_go_back_as_they_came(void **state)
{
	struct guest *g = &guest;
	struct tsi_address from[3];
	uint16_t port, client_port[3] = { 0 };
	int fd[3];
	static const char *const to[] = { "127.0.0.1", "127.0.0.2", "127.8.9.10" };

	start(g, NULL);
	port = publish(g, "0.0.0.0");
	bind_inside(g, PORT, address_v4(0, BOX_PORT), 0);
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = udp(i ? "0.0.0.0" : "127.0.0.1", &client_port[i]);
		client_send(fd[i], to[i], port, to[i]);
		from[i] = guest_gets(g, PORT, to[i]);
		assert_int_equal(address_port(&from[i]), client_port[i]);
	}
	check_address(&from[0], INADDR_LOOPBACK, client_port[0]);
	assert_int_equal(g->device.udp.flows.n, 3);
	for (unsigned i = 3; i-- > 0;) {
		guest_answers(g, PORT, &from[i], "answer");
		client_expect(g, fd[i], to[i], port, "answer");
		guest_answers(g, PORT, &from[i], "and more");
		client_expect(g, fd[i], to[i], port, "and more");
		close(fd[i]);
	}
	/* what `stats` shows: the box's sockets, not the control connection */
	assert_int_equal(g->device.stats.net_connections, 1);
	assert_int_equal(g->device.stats.net_in, 3 * ADDRESS + strlen(to[0]) + strlen(to[1]) + strlen(to[2]));
	assert_int_equal(g->device.stats.net_out, 3 * (2 * ADDRESS + strlen("answer") + strlen("and more")));
	stop(g);
}

/* T16: what is not published has no address on the host, whatever the guest says; P06: dropped when nobody is bound. */
static void unpublished_ports_stay_inside(void **state)
{
	struct tsi_message m = { .type = htole16(TSI_DATAGRAM), .port = htole32(PORT), .value = htole32(IPPROTO_UDP) };
	struct tsi_address to;
	struct guest *g = &guest;
	uint16_t port = 0, published, free_port = 0;
	int client = udp("127.0.0.1", &port), fd;

	close(udp("127.0.0.2", &free_port));
	start(g, NULL);
	published = publish(g, "127.0.0.1");
	client_send(client, "127.0.0.1", published, "nobody");
	for (int i = 0; i < 100 && !g->device.stats.datagrams_lost; i++)
		guest_turn(g);
	assert_int_equal(g->device.stats.datagrams_lost, 1);
	m.local = address_v4(0x7f000002, free_port);
	guest_message(g, &m);
	send_bound(g, PORT, &m.local, 0);
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(REQUEST), PORT, TSI_PORT_DATAGRAM, 0, NULL, 0);
	guest_expect(g, OP(RESPONSE), TSI_PORT_DATAGRAM, PORT);
	to = address_v4(TSI_ADDRESS_HOST, port);
	guest_answers(g, PORT, &to, "x");
	fd = udp("127.0.0.2", &free_port);
	client_send(client, "127.0.0.1", published, "not for that port");
	guest_expect_silence(g);
	assert_int_equal(g->device.udp.flows.n, 0);
	close(fd);
	close(client);
	stop(g);
}

/* T19: connected sockets have their own client alone; the others the rest. */
static void connected_sockets_come_first(void **state)
{
	struct guest *g = &guest;
	struct tsi_message m = { .type = htole16(TSI_PEER), .port = htole32(OTHER) }, got;
	struct tsi_address from;
	uint16_t port, one_port = 0, two_port = 0;
	int one = udp("127.0.0.1", &one_port), two = udp("127.0.0.1", &two_port);

	start(g, NULL);
	port = publish(g, "127.0.0.1");
	bind_inside(g, PORT, address_v4(0, BOX_PORT), 0);
	client_send(one, "127.0.0.1", port, "hello");
	from = guest_gets(g, PORT, "hello");
	bind_inside(g, OTHER, address_v4(0, BOX_PORT), 0);
	m.remote = from;
	guest_message(g, &m);
	got = guest_expect_message(g, TSI_CONNECTED, OTHER);
	check_address(&got.local, INADDR_LOOPBACK, port);
	client_send(one, "127.0.0.1", port, "to mine");
	guest_gets(g, OTHER, "to mine");
	client_send(two, "127.0.0.1", port, "to all");
	guest_gets(g, PORT, "to all");
	guest_answers(g, OTHER, &from, "mine");
	client_expect(g, one, "127.0.0.1", port, "mine");
	memset(&m.remote, 0, sizeof(m.remote));
	guest_message(g, &m);
	guest_expect_message(g, TSI_CONNECTED, OTHER);
	client_send(two, "127.0.0.1", port, "the youngest has it");
	guest_gets(g, OTHER, "the youngest has it");
	close(one);
	close(two);
	stop(g);
}

/* T23: dual-stack, V6ONLY and IPv4 alone, with clients of both families. */
static void families_meet(void **state)
{
	struct guest *g = &guest;
	struct tsi_address from, again;
	uint16_t port4, port6, four_port = 0, six_port = 0;
	int four = udp("127.0.0.1", &four_port), six = udp("::1", &six_port);

	start(g, NULL);
	port4 = publish(g, "127.0.0.1");
	port6 = publish(g, "::1");
	bind_inside(g, PORT, any_v6(), 0);
	client_send(four, "127.0.0.1", port4, "four");
	from = guest_gets(g, PORT, "four");
	check_address(&from, INADDR_LOOPBACK, four_port);
	guest_answers(g, PORT, &from, "four too");
	client_expect(g, four, "127.0.0.1", port4, "four too");
	client_send(six, "::1", port6, "six");
	from = guest_gets(g, PORT, "six");
	assert_int_equal(le16toh(from.family), TSI_FAMILY_V6);
	from.scope = htole32(1); /* the guest's number of its lo */
	guest_answers(g, PORT, &from, "six too");
	client_expect(g, six, "::1", port6, "six too");
	send_bound(g, PORT, &(struct tsi_address){ .family = htole16(TSI_FAMILY_V6), .port = htobe16(BOX_PORT) }, TSI_BOUND_V6ONLY);
	client_send(four, "127.0.0.1", port4, "dropped");
	guest_expect_silence(g);
	bind_inside(g, OTHER, address_v4(0, BOX_PORT), 0);
	client_send(four, "127.0.0.1", port4, "to v4");
	from = guest_gets(g, OTHER, "to v4");
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RST), PORT, TSI_PORT_DATAGRAM, 0, NULL, 0);
	/* the host's ::1 is 127.0.0.1 for a socket that knows IPv4 alone; two of the same name are told apart */
	close(six);
	six_port = four_port;
	six = udp("::1", &six_port);
	client_send(six, "::1", port6, "six to v4");
	again = guest_gets(g, OTHER, "six to v4");
	check_address(&again, INADDR_LOOPBACK, (uint16_t)(four_port + 1));
	guest_answers(g, OTHER, &again, "to six");
	client_expect(g, six, "::1", port6, "to six");
	guest_answers(g, OTHER, &from, "to four");
	client_expect(g, four, "127.0.0.1", port4, "to four");
	close(four);
	close(six);
	stop(g);
}

/* SO_REUSEPORT: every client has one of the sockets, always the same; none of them is left out. */
static void shared_ports_are_shared(void **state)
{
	struct guest *g = &guest;
	uint32_t first[32];
	unsigned count[2] = { 0 };
	uint16_t port;
	int fd[32];

	start(g, NULL);
	port = publish(g, "127.0.0.1");
	bind_inside(g, PORT, address_v4(0, BOX_PORT), TSI_BOUND_REUSEPORT);
	bind_inside(g, OTHER, address_v4(0, BOX_PORT), TSI_BOUND_REUSEPORT);
	for (unsigned i = 0; i < 64; i++) {
		uint16_t own = 0;

		if (i < 32)
			fd[i] = udp("127.0.0.1", &own);
		client_send(fd[i % 32], "127.0.0.1", port, "x");
		assert_true(guest_receive(g, true));
		if (i < 32)
			count[(first[i] = g->last.dst_port) == OTHER]++;
		else
			assert_int_equal(g->last.dst_port, first[i - 32]);
	}
	assert_true(count[0] && count[1]);
	for (unsigned i = 0; i < 32; i++)
		close(fd[i]);
	stop(g);
}

/* T13, T19: a socket whose program does not read loses its own datagrams alone. */
static void full_queues_drop(void **state)
{
	static char large[8192 + 1];
	struct guest *g = &guest;
	struct tsi_address from;
	uint16_t port, own = 0;
	int fd = udp("127.0.0.1", &own);

	memset(large, 'x', sizeof(large) - 1);
	start(g, NULL);
	port = publish(g, "127.0.0.1");
	g->room = 16384;
	bind_inside(g, PORT, address_v4(0x7f000001, BOX_PORT), 0);
	for (unsigned i = 0; i < 100 && !g->device.stats.datagrams_lost; i++) {
		client_send(fd, "127.0.0.1", port, large);
		guest_turn(g);
	}
	assert_true(g->device.stats.datagrams_lost > 0);
	assert_true(g->device.pool.n_used * POOL_CHUNK <= (256u << 10) + POOL_CHUNK);
	while (guest_receive(g, false))
		;
	bind_inside(g, OTHER, address_v4(0, BOX_PORT), 0);
	client_send(fd, "127.0.0.1", port, "not stalled");
	from = guest_gets(g, OTHER, "not stalled");
	guest_answers(g, OTHER, &from, "answer");
	client_expect(g, fd, "127.0.0.1", port, "answer");
	close(fd);
	stop(g);
}

/* T19: flows expire, and of too many the longest silent goes; then the guest's socket speaks for itself. */
static void flows_are_bounded(void **state)
{
	struct device_limits limits = DEVICE_LIMITS_DEFAULT;
	struct guest *g = &guest;
	struct tsi_address from[3];
	struct tsi_message m;
	uint16_t port, own[3] = { 0 };
	int fd[3];

	limits.flows = 2;
	start(g, &limits);
	loop_use_fake_clock(g->loop, 1000);
	port = publish(g, "127.0.0.1");
	bind_inside(g, PORT, address_v4(0, BOX_PORT), 0);
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = udp("127.0.0.1", &own[i]);
		client_send(fd[i], "127.0.0.1", port, "x");
		from[i] = guest_gets(g, PORT, "x");
	}
	assert_int_equal(g->device.udp.flows.n, 2);
	assert_int_equal(g->device.udp.flows.evicted, 1);
	guest_answers(g, PORT, &from[0], "too late"); /* the host's loopback is nobody's business */
	m = guest_expect_message(g, TSI_DATAGRAM_ERROR, PORT);
	assert_int_equal(le32toh(m.error), ECONNREFUSED);
	loop_fake_advance(g->loop, limits.flow_idle_ms - 1);
	guest_answers(g, PORT, &from[1], "in time");
	client_expect(g, fd[1], "127.0.0.1", port, "in time");
	loop_fake_advance(g->loop, 2);
	guest_turn(g);
	assert_int_equal(g->device.udp.flows.n, 1);
	loop_fake_advance(g->loop, limits.flow_idle_ms);
	guest_turn(g);
	assert_int_equal(g->device.udp.flows.n, 0);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	stop(g);
}

/* T19: 100 clients at once. A published socket that goes takes its flows along. */
static void many_clients(void **state)
{
	struct guest *g = &guest;
	struct publish_port gone = { .is_udp = true, .address = "127.0.0.1", .guest_port = BOX_PORT };
	uint16_t port;
	char text[16];
	int fd[100];

	start(g, NULL);
	port = publish(g, "127.0.0.1");
	bind_inside(g, PORT, address_v4(0, BOX_PORT), 0);
	for (unsigned i = 0; i < 100; i++) {
		uint16_t own = 0;

		fd[i] = udp("127.0.0.1", &own);
		snprintf(text, sizeof(text), "%u", own);
		client_send(fd[i], "127.0.0.1", port, text);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct tsi_address from;

		assert_true(guest_receive(g, true));
		memcpy(&from, g->data, ADDRESS);
		snprintf(text, sizeof(text), "%u", address_port(&from));
		assert_int_equal(g->n_data, ADDRESS + strlen(text));
		assert_memory_equal(g->data + ADDRESS, text, strlen(text));
		guest_answers(g, PORT, &from, text);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct sockaddr_in here;
		socklen_t size = sizeof(here);

		assert_int_equal(getsockname(fd[i], (struct sockaddr *)&here, &size), 0);
		snprintf(text, sizeof(text), "%u", ntohs(here.sin_port));
		client_expect(g, fd[i], "127.0.0.1", port, text);
		close(fd[i]);
	}
	assert_int_equal(g->device.udp.flows.n, 100);
	gone.port = port;
	assert_int_equal(publish_remove(&g->device, &gone), 0);
	assert_int_equal(g->device.udp.flows.n, 0);
	stop(g);
}

/* Bad input: a guest that opens sockets without limit gets EMFILE, and the others go on. */
static void sockets_are_limited(void **state)
{
	struct tsi_message m = { .type = htole16(TSI_DATAGRAM), .port = htole32(OTHER), .value = htole32(IPPROTO_UDP) };
	struct device_limits limits = DEVICE_LIMITS_DEFAULT;
	struct guest *g = &guest;

	limits.datagrams = 1;
	start(g, &limits);
	bind_inside(g, PORT, address_v4(0, BOX_PORT), 0);
	for (int i = 0; i < 3; i++) {
		guest_message(g, &m);
		guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(REQUEST), OTHER, TSI_PORT_DATAGRAM, 0, NULL, 0);
		assert_int_equal(le32toh(guest_expect_message(g, TSI_FAILED, OTHER).error), EMFILE);
		guest_expect(g, OP(RST), TSI_PORT_DATAGRAM, OTHER);
	}
	guest_send(g, VIRTIO_VSOCK_TYPE_SEQPACKET, OP(RST), PORT, TSI_PORT_DATAGRAM, 0, NULL, 0);
	bind_inside(g, OTHER, address_v4(0, BOX_PORT), 0);
	assert_int_equal(g->device.n_datagrams, 1);
	stop(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_go_back_as_they_came),
		cmocka_unit_test(unpublished_ports_stay_inside),
		cmocka_unit_test(connected_sockets_come_first),
		cmocka_unit_test(families_meet),
		cmocka_unit_test(shared_ports_are_shared),
		cmocka_unit_test(full_queues_drop),
		cmocka_unit_test(flows_are_bounded),
		cmocka_unit_test(many_clients),
		cmocka_unit_test(sockets_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
