/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS relay.
 *
 * A query is kept, whole, from the moment it arrives until it was answered, in one of IN_FLIGHT_MAX entries; entry and
 * generation are the id under which the resolver knows it, so ids of the guest's never meet. The resolver is asked for
 * with the first query (event "resolver-wanted"); what waits is sent when it comes. A resolver that goes away takes no
 * query along: they are sent to its successor. Whatever is not answered within ANSWER_MS, or finds no free entry, gets
 * SERVFAIL, made of the query itself.
 *
 * Over TCP, queries follow one another with their lengths. Not more than STREAM_IN_FLIGHT of a stream's are under way:
 * the others wait in the stream's queue, and so hold back the guest by credit.
 */
#include "vsock/dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/wire.h"
#include "resolver/protocol.h"
#include "vsock/datagram.h"
#include "vsock/device.h"
#include "vsock/policy.h"

#define IN_FLIGHT_MAX 128u /* a power of two, at most RESOLVER_IN_FLIGHT_MAX */
#define STREAM_IN_FLIGHT 16u
#define STREAM_WAITING_MAX (256u << 10) /* bytes of answers that a stream's guest has not read */
#define ANSWER_MS (RESOLVER_TIMEOUT_MS + 500)
#define DNS_HEADER 12u
#define DNS_PORT 53
#define ANSWERS_PER_TURN 64

_Static_assert(IN_FLIGHT_MAX <= RESOLVER_IN_FLIGHT_MAX, "the resolver refuses more");

/**
 * struct query - one in flight
 * @bytes:	the query; NULL: entry is free
 * @asker, @asker_generation: connection that asked
 */
struct query {
	TAILQ_ENTRY(query) entry;
	uint8_t *bytes;
	uint32_t size, generation;
	uint32_t asker, asker_generation;
	bool sent;
	int64_t until_ms;
};
TAILQ_HEAD(query_list, query);

/**
 * struct dns - exists from the first query or resolver on
 * @in_flight:	oldest first, so soonest to time out first
 */
struct dns {
	struct device *device;
	struct loop_io io;
	struct loop_timer timer;
	struct query query[IN_FLIGHT_MAX];
	struct query_list in_flight, free;
	bool wanted;
};

static void stream_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags);
static void stream_pull(struct connection *c, uint32_t quantum);
static void stream_shut(struct connection *c);
static void stream_closed(struct connection *c, bool reset);
static void take_queries(struct connection *c);

const struct connection_kind dns_stream_kind = {
	.name = "dns",
	.type = VIRTIO_VSOCK_TYPE_STREAM,
	.is_tsi = true,
	.push = stream_push,
	.pull = stream_pull,
	.shut = stream_shut,
	.closed = stream_closed,
};

static struct dns *dns_of(struct device *d)
{
	struct dns *n = d->dns;

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->device = d;
	n->io = (struct loop_io)LOOP_IO_NULL;
	n->timer = (struct loop_timer)LOOP_TIMER_NULL;
	TAILQ_INIT(&n->in_flight);
	TAILQ_INIT(&n->free);
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
		TAILQ_INSERT_TAIL(&n->free, &n->query[i], entry);
	d->dns = n;
	return n;
}

/* ---- answers ---- */

static void answer_stream(struct connection *c, const uint8_t *message, size_t size)
{
	uint8_t length[2] = { (uint8_t)(size >> 8), (uint8_t)size };
	struct pool *pool = &c->device->pool;

	if (c->state != CONNECTION_OPEN)
		return;
	c->dns.in_flight--;
	if (c->out.bytes + size > STREAM_WAITING_MAX || queue_add_bytes(pool, &c->out, length, sizeof(length)) < 0 ||
	    queue_add_bytes(pool, &c->out, message, size) < 0) {
		connection_fail(c, ENOBUFS);
		return;
	}
	take_queries(c);
	if (c->state == CONNECTION_OPEN && (c->flags & GUEST_SHUT_SEND) && !c->dns.in_flight)
		connection_want(c, WANT_SHUTDOWN);
	else
		connection_want(c, 0);
}

static void answer(struct connection *c, const uint8_t *message, size_t size)
{
	struct tsi_address source = address_v4(TSI_ADDRESS_RESOLVER, DNS_PORT);

	if (c->kind == &dns_stream_kind)
		answer_stream(c, message, size);
	else
		datagram_deliver(c, &source, message, size);
}

/* Bytes of header and question; header alone when the question is not one. */
static size_t question_end(const uint8_t *q, size_t size)
{
	struct wire w = wire_reader(q, size);
	uint8_t label;

	(void)wire_take(&w, 4);
	if (wire_be16(&w) != 1)
		return DNS_HEADER;
	(void)wire_take(&w, 6);
	for (unsigned i = 0; i < 128 && (label = wire_u8(&w)) != 0 && label < 64; i++)
		(void)wire_take(&w, label);
	(void)wire_take(&w, 4);
	return w.bad ? DNS_HEADER : w.at;
}

static void answer_failure(struct connection *c, const uint8_t *q, size_t size)
{
	uint8_t message[DNS_HEADER + 256 + 4] = { 0 };
	size_t end;

	c->device->stats.dns_failures++;
	if (size < DNS_HEADER)
		return;
	end = question_end(q, size);
	if (end > sizeof(message))
		end = DNS_HEADER;
	memcpy(message, q, end);
	message[2] = (uint8_t)(0x80 | (q[2] & 0x79)); /* QR; opcode and RD as asked */
	message[3] = 0x80 | 2;			       /* RA, SERVFAIL */
	message[4] = 0;
	message[5] = end > DNS_HEADER;
	memset(message + 6, 0, 6);
	answer(c, message, end);
}

/* ---- queries ---- */

static void query_free(struct dns *n, struct query *q)
{
	TAILQ_REMOVE(&n->in_flight, q, entry);
	free(q->bytes);
	q->bytes = NULL;
	q->generation++;
	TAILQ_INSERT_HEAD(&n->free, q, entry);
}

static void query_fail(struct dns *n, struct query *q)
{
	struct connection *c = connection_at(n->device, q->asker, q->asker_generation);
	uint8_t *bytes = take_ptr(q->bytes);
	uint32_t size = q->size;

	query_free(n, q);
	if (c)
		answer_failure(c, bytes, size);
	free(bytes);
}

static void time_out(struct loop_timer *timer)
{
	struct dns *n = container_of(timer, struct dns, timer);
	int64_t now = loop_now_ms(n->device->loop);
	struct query *q;

	while ((q = TAILQ_FIRST(&n->in_flight)) && q->until_ms <= now)
		query_fail(n, q);
	if (q)
		loop_timer_set(n->device->loop, timer, q->until_ms - now, time_out);
}

static void resolver_gone(struct dns *n)
{
	int fd = n->io.fd;
	struct query *q;

	loop_io_remove(&n->io);
	close_fd(fd);
	n->wanted = false;
	TAILQ_FOREACH(q, &n->in_flight, entry)
		q->sent = false;
}

static void want_resolver(struct dns *n)
{
	if (n->wanted)
		return;
	n->wanted = true;
	n->device->on_event(n->device, "resolver-wanted");
}

static void query_send(struct dns *n, struct query *q)
{
	bool over_tcp = false;
	struct connection *c = connection_at(n->device, q->asker, q->asker_generation);
	uint8_t message[RESOLVER_HEADER + DNS_QUERY_MAX];
	struct wire w = wire_writer(message, sizeof(message));
	ssize_t sent;

	if (n->io.fd < 0) {
		want_resolver(n);
		return;
	}
	over_tcp = c && c->kind == &dns_stream_kind;
	wire_put_le32(&w, (q->generation * IN_FLIGHT_MAX) | (uint32_t)(q - n->query));
	wire_put_u8(&w, over_tcp ? RESOLVER_TCP : RESOLVER_UDP);
	wire_put(&w, "\0\0\0", 3);
	wire_put(&w, q->bytes, q->size);
	sent = send(n->io.fd, message, w.at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent >= 0)
		q->sent = true;
	else if (errno != EAGAIN) {
		resolver_gone(n);
		want_resolver(n);
	}
}

void dns_query(struct connection *c, const uint8_t *query, size_t size)
{
	struct device *d = c->device;
	struct dns *n = dns_of(d);
	struct query *q = n ? TAILQ_FIRST(&n->free) : NULL;

	d->stats.dns_queries++;
	if (c->kind == &dns_stream_kind)
		c->dns.in_flight++;
	if (!q || size < DNS_HEADER || size > DNS_QUERY_MAX || !(q->bytes = malloc(size))) {
		answer_failure(c, query, size);
		return;
	}
	memcpy(q->bytes, query, size);
	q->size = (uint32_t)size;
	q->asker = c->index;
	q->asker_generation = c->generation;
	q->sent = false;
	q->until_ms = loop_now_ms(d->loop) + ANSWER_MS;
	TAILQ_REMOVE(&n->free, q, entry);
	if (TAILQ_EMPTY(&n->in_flight))
		loop_timer_set(d->loop, &n->timer, ANSWER_MS, time_out);
	TAILQ_INSERT_TAIL(&n->in_flight, q, entry);
	query_send(n, q);
}

/* ---- the resolver ---- */

static void send_waiting(struct dns *n)
{
	struct query *q, *next;

	for (q = TAILQ_FIRST(&n->in_flight); q && n->io.fd >= 0; q = next) {
		next = TAILQ_NEXT(q, entry);
		if (!q->sent)
			query_send(n, q);
	}
}

static void handle_answer(struct dns *n, uint8_t *message, size_t size)
{
	struct wire w = wire_reader(message, size);
	uint32_t id = wire_le32(&w);
	uint8_t status = wire_u8(&w);
	struct query *q = &n->query[id % IN_FLIGHT_MAX];
	struct connection *c;

	(void)wire_take(&w, 3);
	if (w.bad || !q->bytes || q->generation * IN_FLIGHT_MAX != (id & ~(IN_FLIGHT_MAX - 1)))
		return;
	if (status != RESOLVER_ANSWERED || wire_left(&w) < DNS_HEADER) {
		query_fail(n, q);
		return;
	}
	c = connection_at(n->device, q->asker, q->asker_generation);
	query_free(n, q);
	if (c)
		answer(c, message + w.at, wire_left(&w));
}

static void resolver_event(struct loop_io *io, uint32_t events)
{
	static uint8_t message[RESOLVER_HEADER + RESOLVER_DNS_MAX];
	struct dns *n = container_of(io, struct dns, io);

	for (unsigned i = 0; i < ANSWERS_PER_TURN && n->io.fd >= 0; i++) {
		ssize_t size = recv(n->io.fd, message, sizeof(message), MSG_DONTWAIT);

		if (size < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (size <= 0) {
			resolver_gone(n);
			if (!TAILQ_EMPTY(&n->in_flight))
				want_resolver(n);
			return;
		}
		handle_answer(n, message, (size_t)size);
		send_waiting(n);
	}
}

int dns_set_resolver(struct device *d, int fd)
{
	struct dns *n = dns_of(d);
	int r = n ? io_set_nonblock(fd, true) : -ENOMEM;

	if (r == 0) {
		resolver_gone(n);
		r = loop_io_add(d->loop, &n->io, fd, EPOLLIN, resolver_event);
	}
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	send_waiting(n);
	return 0;
}

void dns_clear(struct device *d)
{
	struct dns *n = take_ptr(d->dns);

	if (!n)
		return;
	loop_timer_cancel(&n->timer);
	resolver_gone(n);
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
		free(n->query[i].bytes);
	free(n);
}

/* ---- over TCP ---- */

void dns_stream_requested(struct connection *c)
{
	struct tsi_address local = address_v4(TSI_ADDRESS_GUEST, (uint16_t)(c->guest_port | 0x8000));

	local = address_as(&local, &c->remote);
	c->state = CONNECTION_CONNECTING;
	tsi_send(c->device, c, TSI_CONNECTED, c->guest_port, 0, 0, &local, &c->remote);
	connection_want(c, WANT_RESPONSE);
}

/* Whole queries out of the stream's queue, while it may have more in flight. */
static void take_queries(struct connection *c)
{
	struct pool *pool = &c->device->pool;
	uint8_t message[2 + DNS_QUERY_MAX];

	if (c->dns.taking)
		return; /* a query that failed at once was answered from the loop below */
	c->dns.taking = true;
	while (c->state == CONNECTION_OPEN && c->dns.in_flight < STREAM_IN_FLIGHT && c->in.bytes >= 2) {
		size_t size;

		(void)queue_copy(pool, &c->in, 0, message, 2);
		size = (size_t)(message[0] << 8 | message[1]);
		if (size < DNS_HEADER || size > DNS_QUERY_MAX) {
			connection_fail(c, ECONNRESET);
			break;
		}
		if (c->in.bytes < 2 + size)
			break;
		(void)queue_copy(pool, &c->in, 0, message, 2 + size);
		queue_drop(pool, &c->in, 2 + size);
		connection_forwarded(c, (uint32_t)(2 + size));
		dns_query(c, message + 2, size);
	}
	c->dns.taking = false;
}

static void stream_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags)
{
	if (queue_add(&c->device->pool, &c->in, iov, n, 0, bytes) < 0) {
		connection_fail(c, ENOBUFS);
		return;
	}
	take_queries(c);
}

static void stream_pull(struct connection *c, uint32_t quantum)
{
	(void)rx_send_queue(c, MIN(quantum, c->out.bytes), false);
}

static void stream_shut(struct connection *c)
{
	if ((c->flags & GUEST_SHUT_SEND) && !c->dns.in_flight)
		connection_want(c, WANT_SHUTDOWN);
}

static void stream_closed(struct connection *c, bool reset)
{
}
