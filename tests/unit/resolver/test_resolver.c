/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder between a peer and three name servers of our own on 127.0.0.1, .2 and .3, on a clock that we turn.
 * Packets on the loopback interface arrive at once, so a few turns of the loop see everything through.
 */
#include "../../lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "resolver/dns.h"
#include "resolver/protocol.h"
#include "resolver/resolver.h"

#define N_SERVERS RESOLVER_SERVERS_MAX

/* A query or answer as a test sees it. */
struct packet {
	uint8_t data[70000];
	size_t size;
	struct sockaddr_in from;
};

struct bench {
	struct loop *loop;
	struct resolver *resolver;
	struct servers servers;
	int peer, peer_other;
	int udp[N_SERVERS], tcp[N_SERVERS];
};

static int bind_socket(unsigned server, int type, uint16_t *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + server),
		.sin_port = htons(*port),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	assert_true(fd >= 0);
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || (type == SOCK_STREAM && listen(fd, 10) < 0))
		return close_fd(fd);
	getsockname(fd, (struct sockaddr *)&address, &size);
	*port = ntohs(address.sin_port);
	return fd;
}

/* All servers on one port, which the kernel chooses; another when one of the six is taken. */
static bool bind_servers(struct bench *b, uint16_t *port)
{
	bool ok = true;

	*port = 0;
	for (unsigned i = 0; i < N_SERVERS; i++) {
		b->tcp[i] = bind_socket(i, SOCK_STREAM, port);
		b->udp[i] = b->tcp[i] >= 0 ? bind_socket(i, SOCK_DGRAM, port) : -1;
		ok = ok && b->udp[i] >= 0;
	}
	for (unsigned i = 0; i < N_SERVERS && !ok; i++) {
		b->tcp[i] = close_fd(b->tcp[i]);
		b->udp[i] = close_fd(b->udp[i]);
	}
	return ok;
}

static void bench_init(struct bench *b, unsigned n_servers)
{
	int fds[2];
	uint16_t port;

	*b = (struct bench){ .peer = -1 };
	assert_int_equal(loop_new(&b->loop), 0);
	loop_use_fake_clock(b->loop, 1000);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	b->peer = fds[0];
	b->peer_other = fds[1];
	for (unsigned tries = 0; !bind_servers(b, &port); tries++)
		assert_true(tries < 100);
	servers_init(&b->servers, NULL, port);
	for (unsigned i = 0; i < n_servers; i++)
		assert_int_equal(servers_add(&b->servers, (const char *[]){ "127.0.0.1", "127.0.0.2", "127.0.0.3" }[i]), 0);
	assert_int_equal(resolver_new(&b->resolver, b->loop, b->peer_other, &b->servers), 0);
}

static void bench_deinit(struct bench *b)
{
	resolver_free(b->resolver);
	close_fd(b->peer);
	close_fd(b->peer_other);
	for (unsigned i = 0; i < N_SERVERS; i++) {
		close_fd(b->udp[i]);
		close_fd(b->tcp[i]);
	}
	loop_free(b->loop);
}

static void settle(struct bench *b)
{
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(loop_turn(b->loop, 0), 0);
}

static void advance(struct bench *b, int64_t ms)
{
	loop_fake_advance(b->loop, ms);
	settle(b);
}

static size_t make_query(uint8_t *ret, uint16_t dns_id, const char *name)
{
	size_t label = strlen(name), at = DNS_HEADER;

	memset(ret, 0, DNS_HEADER);
	dns_set_id(ret, dns_id);
	ret[2] = 1; /* RD */
	ret[5] = 1;
	ret[at++] = (uint8_t)label;
	memcpy(ret + at, name, label); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	at += label;
	memcpy(ret + at, "\0\0\1\0\1", 5); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	return at + 5;
}

static int try_send_query(struct bench *b, uint32_t id, enum resolver_transport transport, const void *message, size_t size)
{
	uint8_t packet[RESOLVER_HEADER + RESOLVER_DNS_MAX] = { (uint8_t)id, (uint8_t)(id >> 8), 0, 0, (uint8_t)transport };

	memcpy(packet + RESOLVER_HEADER, message, size);
	return send(b->peer, packet, RESOLVER_HEADER + size, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void ask(struct bench *b, uint32_t id, enum resolver_transport transport, const char *name)
{
	uint8_t query[512];
	size_t size = make_query(query, (uint16_t)(id + 7), name);

	assert_int_equal(try_send_query(b, id, transport, query, size), 0);
	settle(b);
}

static bool server_has(struct bench *b, unsigned server, struct packet *ret)
{
	socklen_t size = sizeof(ret->from);
	ssize_t n = recvfrom(b->udp[server], ret->data, sizeof(ret->data), 0, (struct sockaddr *)&ret->from, &size);

	ret->size = n < 0 ? 0 : (size_t)n;
	return n >= 0;
}

/* Send what a server got back as an answer, with the rcode and `extra` bytes behind the question. */
static void server_answers(struct bench *b, unsigned server, const struct packet *query, enum dns_rcode rcode, size_t extra)
{
	struct packet answer = *query;

	answer.data[2] |= 0x80;
	answer.data[3] = (uint8_t)rcode;
	memset(answer.data + query->size, 'x', extra);
	assert_true(sendto(b->udp[server], answer.data, query->size + extra, 0, (const struct sockaddr *)&query->from,
			   sizeof(query->from)) >= 0);
	settle(b);
}

static bool peer_has(struct bench *b, struct packet *ret)
{
	ssize_t n = recv(b->peer, ret->data, sizeof(ret->data), MSG_DONTWAIT);

	ret->size = n < 0 ? 0 : (size_t)n;
	return n >= 0;
}

static void assert_answer(struct bench *b, uint32_t id, enum dns_rcode rcode)
{
	struct packet answer;

	assert_true(peer_has(b, &answer));
	assert_true(answer.size >= RESOLVER_HEADER + DNS_HEADER);
	assert_int_equal(answer.data[0] | answer.data[1] << 8, id);
	assert_int_equal(answer.data[4], RESOLVER_ANSWERED);
	assert_int_equal(dns_id(answer.data + RESOLVER_HEADER), id + 7);
	assert_int_equal(dns_rcode(answer.data + RESOLVER_HEADER), rcode);
	assert_false(peer_has(b, &answer));
}

static void assert_no_answer(struct bench *b, uint32_t id)
{
	struct packet answer;

	assert_true(peer_has(b, &answer));
	assert_int_equal(answer.size, RESOLVER_HEADER);
	assert_int_equal(answer.data[0] | answer.data[1] << 8, id);
	assert_int_equal(answer.data[4], RESOLVER_NO_ANSWER);
	assert_false(peer_has(b, &answer));
}

static void assert_silent(struct bench *b)
{
	struct packet answer;

	assert_false(peer_has(b, &answer));
}

/* D07: NOERROR and NXDOMAIN are final, at whichever server. */
static void test_answered(void **state)
{
	const enum dns_rcode final[] = { DNS_NOERROR, DNS_NXDOMAIN, DNS_FORMERR };
	struct packet p;
	struct bench b;

	bench_init(&b, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(final); i++) {
		ask(&b, i + 1, RESOLVER_UDP, "wWw");
		assert_true(server_has(&b, 0, &p));
		assert_memory_equal(p.data + DNS_HEADER, "\3wWw", 5);
		assert_int_equal(p.data[2], 1);
		server_answers(&b, 0, &p, final[i], 100);
		assert_answer(&b, i + 1, final[i]);
		assert_false(server_has(&b, 1, &p));
	}
	assert_int_equal(resolver_in_flight(b.resolver), 0);
	bench_deinit(&b);
}

/* D07: SERVFAIL and REFUSED pass the query on at once. */
static void test_next_server(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 3);
	ask(&b, 1, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 0, &p));
	server_answers(&b, 0, &p, DNS_SERVFAIL, 0);
	assert_silent(&b);
	assert_true(server_has(&b, 1, &p));
	server_answers(&b, 1, &p, DNS_REFUSED, 0);
	assert_silent(&b);
	assert_true(server_has(&b, 2, &p));
	server_answers(&b, 2, &p, DNS_NOERROR, 10);
	assert_answer(&b, 1, DNS_NOERROR);

	/* All fail: the first failure is the answer, without waiting. */
	ask(&b, 2, RESOLVER_UDP, "name");
	for (unsigned i = 0; i < 3; i++) {
		assert_true(server_has(&b, i, &p));
		server_answers(&b, i, &p, i == 0 ? DNS_REFUSED : DNS_SERVFAIL, 0);
	}
	assert_answer(&b, 2, DNS_REFUSED);
	bench_deinit(&b);
}

/* D07: three silent servers share five seconds; each is sent the query twice. */
static void test_time_out(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 3);
	ask(&b, 1, RESOLVER_UDP, "name");
	for (unsigned i = 0; i < 3; i++) {
		assert_true(server_has(&b, i, &p));
		advance(&b, 830);
		assert_false(server_has(&b, i, &p));
		advance(&b, 5);
		assert_true(server_has(&b, i, &p)); /* once more, half-way */
		assert_silent(&b);
		advance(&b, i == 2 ? 820 : 832);
	}
	assert_silent(&b);
	advance(&b, 20);
	assert_no_answer(&b, 1);
	assert_int_equal(resolver_in_flight(b.resolver), 0);

	/* One server has them all. */
	b.servers.n = 1;
	ask(&b, 2, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 0, &p));
	advance(&b, 4990);
	assert_silent(&b);
	assert_true(server_has(&b, 0, &p));
	server_answers(&b, 0, &p, DNS_NOERROR, 1);
	assert_answer(&b, 2, DNS_NOERROR);
	bench_deinit(&b);
}

static void test_late_answer(void **state)
{
	struct packet p, first;
	struct bench b;

	bench_init(&b, 2);
	ask(&b, 1, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 0, &first));
	advance(&b, 2600);
	assert_true(server_has(&b, 1, &p));
	server_answers(&b, 0, &first, DNS_NOERROR, 5);
	assert_answer(&b, 1, DNS_NOERROR);

	/* One said SERVFAIL, the other nothing: at the end SERVFAIL it is. */
	ask(&b, 2, RESOLVER_UDP, "name");
	while (server_has(&b, 0, &p))
		first = p;
	server_answers(&b, 0, &first, DNS_SERVFAIL, 0);
	advance(&b, 2501);
	assert_silent(&b);
	advance(&b, 2500);
	assert_answer(&b, 2, DNS_SERVFAIL);
	bench_deinit(&b);
}

/* Answers with another id, question or sender are ignored, and the right one still counts. */
static void test_forged(void **state)
{
	struct packet p, forged;
	struct bench b;

	bench_init(&b, 2);
	ask(&b, 1, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 0, &p));
	forged = p;
	forged.data[1] ^= 1;
	server_answers(&b, 0, &forged, DNS_NOERROR, 0);
	forged = p;
	forged.data[DNS_HEADER + 1] = 'x';
	server_answers(&b, 0, &forged, DNS_NOERROR, 0);
	forged = p;
	forged.size = 5;
	server_answers(&b, 0, &forged, DNS_NOERROR, 0);
	server_answers(&b, 2, &p, DNS_NOERROR, 0); /* right, but from another's address */
	assert_silent(&b);
	p.data[DNS_HEADER + 1] = 'N';
	server_answers(&b, 0, &p, DNS_NOERROR, 0);
	assert_answer(&b, 1, DNS_NOERROR);
	assert_false(server_has(&b, 1, &p));
	bench_deinit(&b);
}

static void test_ids_and_ports_vary(void **state)
{
	unsigned same_id = 0, same_port = 0;
	struct packet p, last = { .size = 0 };
	struct bench b;

	bench_init(&b, 1);
	for (unsigned i = 0; i < 64; i++) {
		ask(&b, i, RESOLVER_UDP, "name");
		assert_true(server_has(&b, 0, &p));
		same_id += dns_id(p.data) == (uint16_t)(dns_id(last.data) + 1) || dns_id(p.data) == i + 7;
		same_port += abs(ntohs(p.from.sin_port) - ntohs(last.from.sin_port)) <= 2;
		last = p;
	}
	assert_true(same_id < 5);
	assert_true(same_port < 16);
	bench_deinit(&b);
}

/* A closed port answers at once through ICMP: no waiting. */
static void test_nobody_there(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 2);
	b.udp[0] = close_fd(b.udp[0]);
	ask(&b, 1, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 1, &p));
	server_answers(&b, 1, &p, DNS_NOERROR, 0);
	assert_answer(&b, 1, DNS_NOERROR);
	b.udp[1] = close_fd(b.udp[1]);
	ask(&b, 2, RESOLVER_UDP, "name");
	assert_no_answer(&b, 2);
	for (unsigned i = 0; i < 3; i++)
		b.tcp[i] = close_fd(b.tcp[i]);
	ask(&b, 3, RESOLVER_TCP, "name");
	assert_no_answer(&b, 3);
	b.servers.n = 0;
	ask(&b, 4, RESOLVER_UDP, "name");
	assert_no_answer(&b, 4);
	bench_deinit(&b);
}

/* D09: TC goes through over UDP; over TCP the whole answer comes. */
static void test_truncation(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 1);
	ask(&b, 1, RESOLVER_UDP, "name");
	assert_true(server_has(&b, 0, &p));
	p.data[2] |= 0x02;
	server_answers(&b, 0, &p, DNS_NOERROR, 0);
	assert_true(peer_has(&b, &p));
	assert_true(p.data[RESOLVER_HEADER + 2] & 0x02);
	bench_deinit(&b);
}

static int tcp_accept(struct bench *b, unsigned server, struct packet *ret)
{
	int fd = accept4(b->tcp[server], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	ssize_t n;

	assert_true(fd >= 0);
	settle(b);
	n = recv(fd, ret->data, sizeof(ret->data), 0);
	assert_true(n > 2 + (ssize_t)DNS_HEADER);
	ret->size = (size_t)n;
	assert_int_equal(n - 2, ret->data[0] << 8 | ret->data[1]);
	return fd;
}

/* Answer in pieces of `step` bytes; `cut`: hang up one byte before the end. */
static void tcp_answer(struct bench *b, int fd, struct packet *p, size_t extra, size_t step, bool cut)
{
	size_t size = p->size + extra, end = cut ? size - 1 : size;

	p->data[0] = (uint8_t)((size - 2) >> 8);
	p->data[1] = (uint8_t)(size - 2);
	p->data[4] |= 0x80;
	memset(p->data + p->size, 'y', extra);
	for (size_t at = 0; at < end;) {
		ssize_t n = send(fd, p->data + at, MIN(step, end - at), MSG_NOSIGNAL);

		assert_true(n > 0 || errno == EAGAIN);
		at += n > 0 ? (size_t)n : 0;
		settle(b);
	}
	close(fd);
	settle(b);
}

static void test_tcp(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 2);
	ask(&b, 1, RESOLVER_TCP, "name");
	tcp_answer(&b, tcp_accept(&b, 0, &p), &p, 0, 1, false);
	assert_answer(&b, 1, DNS_NOERROR);

	ask(&b, 2, RESOLVER_TCP, "name");
	{
		int fd = tcp_accept(&b, 0, &p);

		tcp_answer(&b, fd, &p, 65535 + 2 - p.size, 20000, false);
	}
	assert_true(peer_has(&b, &p));
	assert_int_equal(p.size, RESOLVER_HEADER + 65535);

	/* Cut short, then the next server. */
	ask(&b, 3, RESOLVER_TCP, "name");
	tcp_answer(&b, tcp_accept(&b, 0, &p), &p, 10, 7, true);
	assert_silent(&b);
	tcp_answer(&b, tcp_accept(&b, 1, &p), &p, 10, 100, false);
	assert_answer(&b, 3, DNS_NOERROR);

	/* Accepted and silent: its turn ends. */
	ask(&b, 4, RESOLVER_TCP, "name");
	{
		int fd = tcp_accept(&b, 0, &p);

		advance(&b, 2501);
		tcp_answer(&b, tcp_accept(&b, 1, &p), &p, 0, 100, false);
		close(fd);
	}
	assert_answer(&b, 4, DNS_NOERROR);
	assert_int_equal(resolver_in_flight(b.resolver), 0);
	bench_deinit(&b);
}

static void test_malformed_queries(void **state)
{
	struct packet p;
	struct bench b;
	uint8_t query[100], huge[RESOLVER_DNS_MAX] = { 0 };
	size_t size = make_query(query, 1, "name");

	bench_init(&b, 1);
	for (size_t n = 0; n < size; n++) {
		assert_int_equal(try_send_query(&b, 5, RESOLVER_UDP, query, n), 0);
		settle(&b);
		assert_no_answer(&b, 5);
	}
	assert_int_equal(try_send_query(&b, 6, 2, query, size), 0); /* no such transport */
	settle(&b);
	assert_no_answer(&b, 6);
	assert_int_equal(try_send_query(&b, 7, RESOLVER_UDP, huge, sizeof(huge)), 0);
	settle(&b);
	assert_no_answer(&b, 7);
	assert_int_equal(send(b.peer, "short", 5, 0), 5);
	settle(&b);
	assert_silent(&b);
	assert_false(server_has(&b, 0, &p));
	memcpy(huge, query, size); /* the largest there is: too large for a datagram, right for TCP */
	assert_int_equal(try_send_query(&b, 8, RESOLVER_UDP, huge, sizeof(huge)), 0);
	settle(&b);
	assert_no_answer(&b, 8);
	bench_deinit(&b);
}

static void test_too_many_in_flight(void **state)
{
	struct packet p;
	struct bench b;

	bench_init(&b, 1);
	for (unsigned i = 0; i < RESOLVER_IN_FLIGHT_MAX; i++)
		ask(&b, i, RESOLVER_UDP, "name");
	assert_int_equal(resolver_in_flight(b.resolver), RESOLVER_IN_FLIGHT_MAX);
	assert_silent(&b);
	ask(&b, 999, RESOLVER_UDP, "name");
	assert_no_answer(&b, 999);
	assert_true(server_has(&b, 0, &p));
	server_answers(&b, 0, &p, DNS_NOERROR, 0);
	assert_answer(&b, 0, DNS_NOERROR);
	ask(&b, 1000, RESOLVER_UDP, "name");
	assert_silent(&b);
	advance(&b, 5001);
	for (unsigned i = 0; i < RESOLVER_IN_FLIGHT_MAX; i++) {
		assert_true(peer_has(&b, &p));
		assert_int_equal(p.data[4], RESOLVER_NO_ANSWER);
	}
	assert_silent(&b);
	assert_int_equal(resolver_in_flight(b.resolver), 0);
	bench_deinit(&b);
}

/* A peer that does not read gets every answer in the end, and cannot make us grow. */
static void test_slow_peer(void **state)
{
	unsigned asked = 0, answered = 0;
	struct packet p;
	struct bench b;
	uint8_t query[100];
	size_t size = make_query(query, 7, "name");

	bench_init(&b, 1);
	for (unsigned rounds = 0; rounds < RESOLVER_IN_FLIGHT_MAX; rounds++) {
		asked += try_send_query(&b, 0, RESOLVER_UDP, query, size) == 0;
		settle(&b);
		while (server_has(&b, 0, &p))
			server_answers(&b, 0, &p, DNS_NOERROR, 4000);
	}
	assert_true(resolver_in_flight(b.resolver) > 0);
	assert_true(resolver_in_flight(b.resolver) <= RESOLVER_IN_FLIGHT_MAX);
	for (unsigned idle = 0; idle < 20; idle++) {
		while (peer_has(&b, &p)) {
			assert_int_equal(p.data[4], RESOLVER_ANSWERED);
			answered++;
			idle = 0;
		}
		settle(&b);
		while (server_has(&b, 0, &p))
			server_answers(&b, 0, &p, DNS_NOERROR, 4000);
	}
	assert_int_equal(asked, answered);
	assert_int_equal(resolver_in_flight(b.resolver), 0);
	bench_deinit(&b);
}

static void test_peer_closes(void **state)
{
	struct bench b;

	bench_init(&b, 1);
	ask(&b, 1, RESOLVER_UDP, "name");
	b.peer = close_fd(b.peer);
	assert_int_equal(loop_run(b.loop), 0); /* ends by itself */
	bench_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered),	cmocka_unit_test(test_next_server),
		cmocka_unit_test(test_time_out),	cmocka_unit_test(test_late_answer),
		cmocka_unit_test(test_forged),		cmocka_unit_test(test_ids_and_ports_vary),
		cmocka_unit_test(test_nobody_there),	cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_tcp),		cmocka_unit_test(test_malformed_queries),
		cmocka_unit_test(test_too_many_in_flight), cmocka_unit_test(test_slow_peer),
		cmocka_unit_test(test_peer_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
