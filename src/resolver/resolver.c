/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a query.
 *
 * Up to three servers share RESOLVER_TIMEOUT_MS: each has its turn, an equal part of what is left, which ends early when
 * the server fails (ICMP error, connection refused or cut, SERVFAIL, REFUSED, NOTIMP). Half-way through its turn a UDP
 * server is sent the query once more, since one of the two packets may have been lost. Sockets of earlier turns stay open:
 * a slow server's answer counts until the end. When the last turn is over without an answer, the first failure that came
 * as a DNS message is the answer (it may carry an explanation), else there is none.
 *
 * Against forged answers: each attempt has a socket of its own, connected (the kernel drops what others send) and on a
 * port of the kernel's random choice, and a random id; id and question must agree. What does not is ignored, and does not
 * end the attempt.
 *
 * Slots: a query occupies one from its arrival until its answer was handed to the peer. While the peer does not take
 * answers we do not take queries, so nothing grows.
 */
#include "resolver/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/wire.h"
#include "resolver/dns.h"
#include "resolver/protocol.h"

#define PACKETS_PER_TURN 32
#define TCP_LENGTH 2u /* a message over TCP has its size in front */

struct query;

/**
 * struct attempt - one server being asked
 * @fd:		-1 when not begun or over
 * @id:		DNS id on the wire
 * @sent:	TCP: bytes gone out, length included
 * @length:	TCP: the answer's length as it comes in
 * @answer:	TCP: the answer, once its length is known
 * @received:	TCP: bytes of length and answer
 */
struct attempt {
	struct query *query;
	struct loop_io io;
	int fd;
	uint16_t id;
	size_t sent, received;
	uint8_t length[TCP_LENGTH];
	uint8_t *answer;
};

/**
 * struct query - a slot
 * @message:	with room for TCP's length in front; the id is the peer's
 * @servers:	as the list was when the query came
 * @begun:	attempts begun; the last of them has its turn
 * @resent:	in this turn
 * @answer:	to be given if nothing better comes; final once `finished`
 */
struct query {
	struct resolver *resolver;
	struct query *next;
	uint32_t id;
	enum resolver_transport transport;
	uint8_t *message;
	size_t size;
	union server servers[RESOLVER_SERVERS_MAX];
	struct attempt attempts[RESOLVER_SERVERS_MAX];
	unsigned n_servers, begun;
	bool resent;
	int64_t deadline_ms, turn_end_ms;
	struct loop_timer timer;
	uint8_t *answer;
	size_t answer_size;
};

/**
 * struct resolver - the forwarder
 * @free:	slots given back; those from n_used on were never used
 * @outgoing:	finished queries whose answers the peer has no room for, oldest first
 * @buffer:	one packet at a time, in either direction
 */
struct resolver {
	struct loop *loop;
	struct servers *servers;
	int peer;
	struct loop_io peer_io;
	struct query slots[RESOLVER_IN_FLIGHT_MAX];
	struct query *free, *outgoing, **outgoing_end;
	unsigned n_used, in_flight;
	uint8_t buffer[RESOLVER_HEADER + RESOLVER_DNS_MAX + 1];
};

static void next_turn(struct query *q);

/* Slots */

static struct query *query_new(struct resolver *r)
{
	struct query *q = r->free;

	if (q)
		r->free = q->next;
	else if (r->n_used < RESOLVER_IN_FLIGHT_MAX)
		q = &r->slots[r->n_used++];
	else
		return NULL;
	*q = (struct query){ .resolver = r, .timer = LOOP_TIMER_NULL };
	for (unsigned i = 0; i < RESOLVER_SERVERS_MAX; i++)
		q->attempts[i] = (struct attempt){ .query = q, .io = LOOP_IO_NULL, .fd = -1 };
	r->in_flight++;
	return q;
}

static void attempt_close(struct attempt *a)
{
	loop_io_remove(&a->io);
	a->fd = close_fd(a->fd);
	free(take_ptr(a->answer));
}

static void query_stop(struct query *q)
{
	loop_timer_cancel(&q->timer);
	for (unsigned i = 0; i < q->begun; i++)
		attempt_close(&q->attempts[i]);
}

static void query_free(struct query *q)
{
	struct resolver *r = q->resolver;

	query_stop(q);
	free(take_ptr(q->message));
	free(take_ptr(q->answer));
	q->next = r->free;
	r->free = q;
	r->in_flight--;
}

/* Towards the peer */

/* Returns 0, -EAGAIN, or another negative errno when the peer is gone. */
static int send_answer(struct resolver *r, uint32_t id, const uint8_t *answer, size_t size)
{
	uint8_t header[RESOLVER_HEADER];
	struct wire w = wire_writer(header, sizeof(header));
	struct iovec iov[] = { { header, sizeof(header) }, { (uint8_t *)(uintptr_t)answer, size } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };

	wire_put_le32(&w, id);
	wire_put_u8(&w, answer ? RESOLVER_ANSWERED : RESOLVER_NO_ANSWER);
	wire_put(&w, "\0\0", 3);
	return sendmsg(r->peer, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Hand out finished answers, as many as the peer takes. */
static void send_outgoing(struct resolver *r)
{
	while (r->outgoing) {
		struct query *q = r->outgoing;
		int err = send_answer(r, q->id, q->answer, q->answer_size);

		if (err == -EAGAIN)
			break;
		if (err < 0)
			log_peer(LOG_LEVEL_DEBUG, "answer lost: %s", strerror(-err));
		r->outgoing = q->next;
		if (!r->outgoing)
			r->outgoing_end = &r->outgoing;
		query_free(q);
	}
	(void)loop_io_set(&r->peer_io, r->outgoing ? EPOLLOUT : EPOLLIN);
}

/* The query is over, with what `answer` holds. */
static void finish(struct query *q)
{
	struct resolver *r = q->resolver;

	query_stop(q);
	q->next = NULL;
	*r->outgoing_end = q;
	r->outgoing_end = &q->next;
	send_outgoing(r);
}

/* Towards the servers */

static bool any_attempt_open(const struct query *q)
{
	for (unsigned i = 0; i < q->begun; i++)
		if (q->attempts[i].fd >= 0)
			return true;
	return false;
}

/* This server will not answer. When it has its turn, that ends. The query may be gone afterwards. */
static void attempt_fail(struct attempt *a)
{
	struct query *q = a->query;

	attempt_close(a);
	if (a == &q->attempts[q->begun - 1] && q->begun < q->n_servers)
		next_turn(q);
	else if (q->begun == q->n_servers && !any_attempt_open(q))
		finish(q);
}

static void keep_answer(struct query *q, const uint8_t *answer, size_t size)
{
	uint8_t *copy = malloc(size);

	if (!copy)
		return;
	memcpy(copy, answer, size);
	dns_set_id(copy, dns_id(q->message + TCP_LENGTH));
	free(q->answer);
	q->answer = copy;
	q->answer_size = size;
}

static bool is_final(enum dns_rcode rcode)
{
	return rcode != DNS_SERVFAIL && rcode != DNS_REFUSED && rcode != DNS_NOTIMP;
}

static bool is_answer(const struct attempt *a, const uint8_t *answer, size_t size)
{
	return dns_answers(answer, size, a->query->message + TCP_LENGTH, a->query->size, a->id);
}

/* A message for which is_answer() holds. The query may be gone afterwards. */
static void take_answer(struct attempt *a, const uint8_t *answer, size_t size)
{
	struct query *q = a->query;

	if (is_final(dns_rcode(answer))) {
		keep_answer(q, answer, size);
		finish(q);
		return;
	}
	if (!q->answer)
		keep_answer(q, answer, size);
	attempt_fail(a);
}

static int send_udp(struct attempt *a)
{
	struct query *q = a->query;
	uint8_t id[2] = { (uint8_t)(a->id >> 8), (uint8_t)a->id };
	struct iovec iov[] = { { id, 2 }, { q->message + TCP_LENGTH + 2, q->size - 2 } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };

	if (sendmsg(a->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOBUFS)
		return -errno;
	return 0;
}

static void on_udp(struct loop_io *io, uint32_t events)
{
	struct attempt *a = container_of(io, struct attempt, io);
	uint8_t *buffer = a->query->resolver->buffer;

	for (unsigned i = 0; i < PACKETS_PER_TURN; i++) {
		ssize_t n = recv(a->fd, buffer, RESOLVER_DNS_MAX, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			attempt_fail(a);
			return;
		}
		if (is_answer(a, buffer, (size_t)n)) {
			take_answer(a, buffer, (size_t)n);
			return;
		}
	}
}

/* 1 when all is sent, 0 later, negative errno. */
static int send_tcp(struct attempt *a)
{
	struct query *q = a->query;
	uint8_t head[TCP_LENGTH + 2] = { (uint8_t)(q->size >> 8), (uint8_t)q->size, (uint8_t)(a->id >> 8), (uint8_t)a->id };
	size_t head_sent = MIN(a->sent, sizeof(head)), body_sent = a->sent - head_sent;
	struct iovec iov[] = {
		{ head + head_sent, sizeof(head) - head_sent },
		{ q->message + sizeof(head) + body_sent, q->size - 2 - body_sent },
	};
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	ssize_t n = sendmsg(a->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	a->sent += (size_t)n;
	return a->sent == TCP_LENGTH + q->size;
}

static size_t tcp_answer_size(const struct attempt *a)
{
	return (size_t)(a->length[0] << 8 | a->length[1]);
}

/* 1 when the answer is whole, 0 later, negative errno. */
static int receive_tcp(struct attempt *a)
{
	for (unsigned i = 0; i < PACKETS_PER_TURN; i++) {
		size_t have = a->received, want;
		uint8_t *to;
		ssize_t n;

		if (have < TCP_LENGTH) {
			to = a->length + have;
			want = TCP_LENGTH - have;
		} else {
			if (!a->answer)
				a->answer = malloc(tcp_answer_size(a) + 1);
			if (!a->answer)
				return -ENOMEM;
			to = a->answer + (have - TCP_LENGTH);
			want = tcp_answer_size(a) - (have - TCP_LENGTH);
			if (want == 0)
				return 1;
		}
		n = recv(a->fd, to, want, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		a->received += (size_t)n;
	}
	return 0;
}

static void on_tcp(struct loop_io *io, uint32_t events)
{
	struct attempt *a = container_of(io, struct attempt, io);
	int r;

	if (a->sent < TCP_LENGTH + a->query->size) {
		r = send_tcp(a);
		if (r == 1)
			r = loop_io_set(io, EPOLLIN);
	} else {
		r = receive_tcp(a);
	}
	if (r == 1 && is_answer(a, a->answer, tcp_answer_size(a)))
		take_answer(a, a->answer, tcp_answer_size(a));
	else if (r != 0)
		attempt_fail(a);
}

static int attempt_begin(struct attempt *a, const union server *server)
{
	bool tcp = a->query->transport == RESOLVER_TCP;

	if (getrandom(&a->id, sizeof(a->id), 0) != sizeof(a->id))
		return -EIO;
	a->fd = socket(server->any.sa_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return -errno;
	if (connect(a->fd, &server->any, server_size(server)) < 0 && errno != EINPROGRESS)
		return -errno;
	if (tcp)
		return loop_io_add(a->query->resolver->loop, &a->io, a->fd, EPOLLOUT, on_tcp);
	return loop_io_add(a->query->resolver->loop, &a->io, a->fd, EPOLLIN, on_udp) < 0 ? -ENOMEM : send_udp(a);
}

static void on_timer(struct loop_timer *timer)
{
	struct query *q = container_of(timer, struct query, timer);
	struct attempt *a = &q->attempts[q->begun - 1];
	int64_t left = q->turn_end_ms - loop_now_ms(q->resolver->loop);

	if (left <= 0 && q->begun == q->n_servers) {
		finish(q);
		return;
	}
	if (left <= 0) {
		next_turn(q);
		return;
	}
	if (!q->resent && q->transport == RESOLVER_UDP && a->fd >= 0)
		(void)send_udp(a);
	q->resent = true;
	loop_timer_set(q->resolver->loop, timer, left, on_timer);
}

/* Ask the next server that can be asked at all; none left: wait for those asked before, or give up. */
static void next_turn(struct query *q)
{
	struct loop *loop = q->resolver->loop;

	while (q->begun < q->n_servers) {
		struct attempt *a = &q->attempts[q->begun];
		int64_t left = q->deadline_ms - loop_now_ms(loop), turn = left / (q->n_servers - q->begun);
		int r = attempt_begin(a, &q->servers[q->begun++]);

		q->turn_end_ms = loop_now_ms(loop) + turn;
		q->resent = false;
		if (r == 0) {
			loop_timer_set(loop, &q->timer, turn / 2, on_timer);
			return;
		}
		attempt_close(a);
	}
	if (!any_attempt_open(q))
		finish(q);
	else
		loop_timer_set(loop, &q->timer, q->deadline_ms - loop_now_ms(loop), on_timer);
}

/* From the peer */

static int query_fill(struct query *q, enum resolver_transport transport, const uint8_t *message, size_t size)
{
	struct resolver *r = q->resolver;

	q->message = malloc(TCP_LENGTH + size);
	if (!q->message)
		return -ENOMEM;
	memcpy(q->message + TCP_LENGTH, message, size);
	q->size = size;
	q->transport = transport;
	q->deadline_ms = loop_now_ms(r->loop) + RESOLVER_TIMEOUT_MS;
	servers_refresh(r->servers);
	memcpy(q->servers, r->servers->list, sizeof(q->servers));
	q->n_servers = r->servers->n;
	return 0;
}

/* One packet of the peer's. What cannot be asked is answered at once. */
static void take_query(struct resolver *r, const uint8_t *packet, size_t size)
{
	struct wire w = wire_reader(packet, size);
	uint32_t id = wire_le32(&w);
	uint8_t transport = wire_u8(&w);
	struct query *q = NULL;

	wire_take(&w, 3);
	if (w.bad)
		return; /* not even an id to answer to */
	if (transport <= RESOLVER_TCP && wire_left(&w) <= RESOLVER_DNS_MAX && dns_is_query(packet + w.at, wire_left(&w)))
		q = query_new(r);
	if (!q) {
		(void)send_answer(r, id, NULL, 0); /* no room: the peer is in no state to miss it */
		return;
	}
	q->id = id;
	if (query_fill(q, transport, packet + w.at, wire_left(&w)) < 0)
		finish(q);
	else
		next_turn(q);
}

static void on_peer(struct loop_io *io, uint32_t events)
{
	struct resolver *r = container_of(io, struct resolver, peer_io);

	if (events & EPOLLOUT)
		send_outgoing(r);
	for (unsigned i = 0; i < PACKETS_PER_TURN && !r->outgoing; i++) {
		ssize_t n = recv(r->peer, r->buffer, sizeof(r->buffer), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			loop_quit(r->loop, 0);
			return;
		}
		take_query(r, r->buffer, (size_t)n);
	}
	if (r->outgoing && events & (EPOLLHUP | EPOLLERR))
		loop_quit(r->loop, 0);
}

int resolver_new(struct resolver **ret, struct loop *loop, int peer, struct servers *servers)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->servers = servers;
	r->peer = peer;
	r->peer_io = (struct loop_io)LOOP_IO_NULL;
	r->outgoing_end = &r->outgoing;
	err = io_set_nonblock(peer, true);
	if (err == 0)
		err = loop_io_add(loop, &r->peer_io, peer, EPOLLIN, on_peer);
	if (err < 0) {
		free(r);
		return err;
	}
	*ret = r;
	return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
	if (!r)
		return NULL;
	loop_io_remove(&r->peer_io);
	for (unsigned i = 0; i < r->n_used; i++) {
		query_stop(&r->slots[i]);
		free(r->slots[i].message);
		free(r->slots[i].answer);
	}
	free(r);
	return NULL;
}

unsigned resolver_in_flight(const struct resolver *r)
{
	return r->in_flight;
}
