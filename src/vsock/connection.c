/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a connection, and credit.
 *
 * Towards the guest: nothing is read from a far side for which the guest has no room, so nothing ever waits here in that
 * direction but what this program made itself. Room is counted in bytes, as the specification says, and in packets: Linux
 * guests charge each queued packet with about PACKET_COST bytes of their own and reset a connection that goes over its
 * buffer in that way. How many packets a guest still holds is not told by it, only bytes: packets are counted in two
 * generations, and the older one is forgotten when all bytes before the checkpoint between them were forwarded.
 *
 * From the guest: its packets are always taken. What the far side does not take at once is kept in `in`, never more than
 * the credit that we gave. Credit starts at CONNECTION_ROOM and doubles, up to CONNECTION_ROOM_MAX, each time a quarter
 * of it went through without anything left waiting. It never shrinks: older guest kernels compute with the difference unsigned.
 *
 * A guest that lies about its credit can only make us send more than its own buffer takes, or nothing.
 */
#include "vsock/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/own.h"
#include "vsock/device.h"
#include "vsock/publish.h"

#define PACKET_COST 576u /* of a queued packet in the guest, beyond what it carries */
#define PACKET_SPARE 8u
#define RESERVE 64u /* entries that the guest cannot take from its own agent and control connection */
#define DRAIN_LOOK_MS 5000
#define STUCK_MS 50

int connection_table_init(struct connection_table *t, uint32_t size)
{
	uint32_t n_hash = 1024;
	void *all;

	*t = (struct connection_table){ .size = MIN(size, CONNECTIONS_MAX) };
	while (n_hash < t->size)
		n_hash *= 2;
	all = mmap(NULL, t->size * sizeof(*t->all), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return -errno;
	t->all = all;
	t->hash = calloc(n_hash, sizeof(struct connection *));
	t->hash_mask = n_hash - 1;
	if (!t->hash || getrandom(&t->hash_seed, sizeof(t->hash_seed), GRND_NONBLOCK) < 0) {
		connection_table_deinit(t);
		return -ENOMEM;
	}
	return 0;
}

void connection_table_deinit(struct connection_table *t)
{
	if (t->all)
		munmap(t->all, t->size * sizeof(*t->all));
	free(t->hash);
	*t = (struct connection_table){ .size = 0 };
}

static struct connection **bucket(struct connection_table *t, uint32_t guest_port, uint32_t host_port)
{
	uint64_t h = ((uint64_t)guest_port << 32 | host_port) ^ t->hash_seed;

	/* Mixed twice, or ports that share a bucket under one seed would under all. */
	h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
	return &t->hash[(h >> 32) & t->hash_mask];
}

struct connection *connection_find(struct device *d, uint32_t guest_port, uint32_t host_port)
{
	struct connection *c = *bucket(&d->table, guest_port, host_port);

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->hash_next;
	return c;
}

struct connection *connection_find_opened(struct device *d, uint32_t port, uint32_t host_port)
{
	struct connection *c = connection_find(d, port, host_port);
	uint32_t index = port & (CONNECTIONS_MAX - 1);

	if (c || !(port & CONNECTION_HOST_PORT) || index >= d->table.high)
		return c;
	c = &d->table.all[index];
	return (c->flags & IN_TABLE) && c->host_port == port ? c : NULL;
}

struct connection *connection_at(struct device *d, uint32_t index, uint32_t generation)
{
	struct connection *c = index < d->table.high ? &d->table.all[index] : NULL;

	return c && c->state != CONNECTION_FREE && c->generation == generation ? c : NULL;
}

static void table_remove(struct connection *c)
{
	struct connection **at = bucket(&c->device->table, c->guest_port, c->host_port);

	if (!(c->flags & IN_TABLE))
		return;
	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	c->flags &= ~(uint32_t)IN_TABLE;
}

bool connection_table_has_room(const struct connection_table *t)
{
	return t->n_used + t->n_extra + MIN(RESERVE, t->size / 8) < t->size;
}

struct connection *connection_new(struct device *d, const struct connection_kind *kind)
{
	struct connection_table *t = &d->table;
	struct connection *c = t->free;
	uint32_t index, generation;

	if (kind->is_tsi && !connection_table_has_room(t))
		return NULL;
	if (c)
		t->free = c->hash_next;
	else if (t->high < t->size)
		c = &t->all[t->high++];
	else
		return NULL;
	index = (uint32_t)(c - t->all);
	generation = c->generation + 1;
	*c = (struct connection){
		.io = LOOP_IO_NULL,
		.device = d,
		.kind = kind,
		.state = CONNECTION_WAITING,
		.index = index,
		.generation = generation,
		.room = CONNECTION_ROOM,
		.in = QUEUE_NULL,
		.out = QUEUE_NULL,
		.active_ms = loop_now_ms(d->loop),
	};
	t->n_used++;
	d->stats.connections_total++;
	d->stats.net_connections += kind->is_tsi;
	d->stats.net_connections_total += kind->is_tsi;
	return c;
}

uint32_t connection_own_port(const struct connection *c)
{
	return CONNECTION_HOST_PORT | (c->generation & 0x7fff) << 16 | c->index;
}

void connection_name(struct connection *c, uint32_t guest_port, uint32_t host_port)
{
	struct connection *older = connection_find(c->device, guest_port, host_port);
	struct connection **at = bucket(&c->device->table, guest_port, host_port);

	if (older)
		connection_drop(older, true);
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->hash_next = *at;
	*at = c;
	c->flags |= IN_TABLE;
}

static void lists_remove(struct connection *c)
{
	struct device *d = c->device;

	if (c->flags & IN_READY)
		TAILQ_REMOVE(&d->ready, c, entry);
	if (c->flags & IN_PARKED)
		TAILQ_REMOVE(&d->parked, c, entry);
	if (c->flags & IN_DRAINING)
		TAILQ_REMOVE(&d->draining, c, entry);
	if (c->flags & IN_STUCK)
		TAILQ_REMOVE(&d->stuck, c, entry);
	if (c->flags & IN_WAITING)
		publish_forget_waiting(c);
	c->flags &= ~(uint32_t)(IN_READY | IN_PARKED | IN_DRAINING | IN_STUCK | IN_WAITING);
}

void connection_unname(struct connection *c)
{
	lists_remove(c);
	table_remove(c);
	c->state = CONNECTION_WAITING;
}

void connection_drop(struct connection *c, bool reset)
{
	struct device *d = c->device;

	if (c->state == CONNECTION_FREE)
		return;
	lists_remove(c);
	table_remove(c);
	c->state = CONNECTION_FREE;
	c->kind->closed(c, reset);
	queue_clear(&d->pool, &c->in);
	queue_clear(&d->pool, &c->out);
	c->flags = 0;
	c->hash_next = d->table.free;
	d->table.free = c;
	d->table.n_used--;
	d->stats.net_connections -= c->kind->is_tsi;
}

/* Packets that the guest may hold before it thinks of resetting us. */
static uint32_t packet_limit(const struct connection *c)
{
	uint32_t n = c->peer_room / PACKET_COST;

	return n > 2 * PACKET_SPARE ? n - PACKET_SPARE : 1;
}

static bool packets_exhausted(const struct connection *c)
{
	return c->packets + c->packets_before >= packet_limit(c);
}

uint32_t connection_credit(const struct connection *c)
{
	uint32_t in_flight = c->sent - c->peer_forwarded;

	if (in_flight >= c->peer_room || packets_exhausted(c))
		return 0;
	return c->peer_room - in_flight;
}

void connection_forwarded(struct connection *c, uint32_t bytes)
{
	/* Linux sends no more ahead than its own buffer is large, whatever room we give: a writer that waits for a part of that waits
	 * for what it has not been told. */
	uint32_t window = MIN(c->room, c->peer_room), untold;

	c->forwarded += bytes;
	untold = c->forwarded - c->told;
	if (untold < window / 4)
		return;
	if (!c->in.bytes && c->room < CONNECTION_ROOM_MAX)
		c->room *= 2;
	connection_want(c, WANT_CREDIT_UPDATE);
}

bool connection_accept_payload(struct connection *c, uint32_t bytes)
{
	if (c->state != CONNECTION_OPEN) {
		if (c->state != CONNECTION_ENDING)
			connection_fail(c, EPROTO);
		return false;
	}
	if ((c->flags & GUEST_SHUT_SEND) || c->received + bytes - c->forwarded > c->room) {
		c->device->stats.bad_credit++;
		connection_fail(c, EPROTO);
		return false;
	}
	c->received += bytes;
	c->device->stats.bytes_out += bytes;
	if (c->kind->is_tsi)
		c->device->stats.net_out += bytes;
	return true;
}

static bool has_credit(const struct connection *c)
{
	uint32_t credit = connection_credit(c);

	return credit > 0 && credit >= c->need;
}

/* Is there payload that could go, if the guest had room? */
static bool has_payload(const struct connection *c)
{
	return c->state == CONNECTION_OPEN && !(c->flags & (SENT_SHUTDOWN | GUEST_SHUT_RECEIVE)) &&
	       ((c->flags & FAR_READABLE) || c->out.bytes);
}

static bool has_work(const struct connection *c)
{
	if (c->state == CONNECTION_FREE || c->state == CONNECTION_WAITING || c->state == CONNECTION_DETACHED)
		return false;
	if (c->flags & (WANT_REQUEST | WANT_RESPONSE | WANT_RESET))
		return true;
	if (c->state != CONNECTION_OPEN)
		return false;
	if (c->flags & (WANT_CREDIT_UPDATE | WANT_CREDIT_REQUEST))
		return true;
	if (!has_payload(c))
		return c->flags & WANT_SHUTDOWN;
	return has_credit(c) || !(c->flags & CREDIT_REQUESTED);
}

static void make_ready(struct connection *c)
{
	struct device *d = c->device;

	if ((c->flags & (IN_READY | IN_PARKED)) || !has_work(c))
		return;
	if (c->flags & IN_STUCK)
		lists_remove(c);
	c->flags |= IN_READY;
	TAILQ_INSERT_TAIL(&d->ready, c, entry);
	device_wake(d);
}

void connection_want(struct connection *c, uint32_t flags)
{
	c->flags |= flags;
	make_ready(c);
}

void connection_readable(struct connection *c)
{
	c->flags |= FAR_READABLE;
	make_ready(c);
}

static void ask_stuck_again(struct loop_timer *timer)
{
	struct device *d = container_of(timer, struct device, stuck_timer);
	struct connection *c;

	while ((c = TAILQ_FIRST(&d->stuck))) {
		lists_remove(c);
		c->flags &= ~(uint32_t)CREDIT_REQUESTED;
		make_ready(c);
	}
}

/*
 * It answered that it still holds too many packets. Guests tell of their own accord when they have read many bytes; that
 * many small packets were read they do not tell, so ask again in a while.
 */
static void wait_stuck(struct connection *c)
{
	struct device *d = c->device;

	if (c->flags & (IN_READY | IN_PARKED | IN_STUCK))
		return;
	if (TAILQ_EMPTY(&d->stuck))
		loop_timer_set(d->loop, &d->stuck_timer, STUCK_MS, ask_stuck_again);
	c->flags |= IN_STUCK;
	TAILQ_INSERT_TAIL(&d->stuck, c, entry);
}

void connection_take_credit(struct connection *c, const struct packet *p)
{
	c->peer_room = p->buf_alloc;
	if ((int32_t)(p->fwd_cnt - c->peer_forwarded) > 0) /* two CPUs of the guest's may queue packets in the other order */
		c->peer_forwarded = p->fwd_cnt;
	if ((int32_t)(c->peer_forwarded - c->checkpoint) >= 0) {
		c->packets_before = c->peer_forwarded == c->sent ? 0 : c->packets;
		c->packets = 0;
		c->checkpoint = c->sent;
	}
	if (has_credit(c))
		c->flags &= ~(uint32_t)CREDIT_REQUESTED;
	else if (p->op == VIRTIO_VSOCK_OP_CREDIT_UPDATE && (c->need || packets_exhausted(c)) && has_payload(c))
		wait_stuck(c);
	if (c->state == CONNECTION_OPEN)
		make_ready(c);
}

/* Close the far side now, unless it still has to be given what the guest sent. */
static void end_far_side(struct connection *c, bool reset)
{
	if (!reset && c->in.bytes && c->io.fd >= 0 && !(c->flags & FAR_BROKEN))
		return;
	c->kind->closed(c, reset);
	queue_clear(&c->device->pool, &c->in);
}

static void end(struct connection *c, bool reset)
{
	c->state = CONNECTION_ENDING;
	c->flags &= ~(uint32_t)WANT_ANY;
	queue_clear(&c->device->pool, &c->out);
	end_far_side(c, reset);
	connection_want(c, WANT_RESET);
}

void connection_fail(struct connection *c, int error)
{
	enum connection_state state = c->state;
	uint32_t port = tsi_port_of(c);

	if (state == CONNECTION_FREE || state == CONNECTION_ENDING)
		return;
	if (state == CONNECTION_DETACHED || (state == CONNECTION_WAITING && !(c->flags & IN_TABLE))) {
		connection_drop(c, true);
		return;
	}
	c->error = error;
	if (state == CONNECTION_WAITING) {
		c->kind->closed(c, true);
		return; /* the guest learns it when its OP_REQUEST comes */
	}
	c->device->stats.failed++;
	if (port && state == CONNECTION_CONNECTING)
		tsi_send(c->device, c, TSI_FAILED, port, (uint32_t)error, 0, NULL, NULL);
	else if (port && error && error != ECONNRESET)
		tsi_send(c->device, c, TSI_RESET, port, (uint32_t)error, 0, NULL, NULL);
	end(c, true);
}

static void look_at_draining(struct loop_timer *timer)
{
	struct device *d = container_of(timer, struct device, drain_timer);
	int64_t now = loop_now_ms(d->loop);
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&d->draining); c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (now - c->active_ms >= CONNECTION_DRAIN_MS)
			connection_drop(c, true);
	}
	if (!TAILQ_EMPTY(&d->draining))
		loop_timer_set(d->loop, &d->drain_timer, DRAIN_LOOK_MS, look_at_draining);
}

/* The RST is out, or came: the guest has forgotten it. */
static void guest_gone(struct connection *c)
{
	struct device *d = c->device;

	if (!c->in.bytes || c->io.fd < 0) {
		connection_drop(c, false);
		return;
	}
	lists_remove(c);
	table_remove(c);
	c->state = CONNECTION_DETACHED;
	c->flags = (c->flags & ~(uint32_t)WANT_ANY) | IN_DRAINING;
	c->active_ms = loop_now_ms(d->loop);
	if (TAILQ_EMPTY(&d->draining))
		loop_timer_set(d->loop, &d->drain_timer, DRAIN_LOOK_MS, look_at_draining);
	TAILQ_INSERT_TAIL(&d->draining, c, entry);
}

void connection_drained(struct connection *c)
{
	if (c->state == CONNECTION_DETACHED)
		connection_drop(c, false);
	else if (c->state == CONNECTION_ENDING)
		c->kind->closed(c, false);
}

static void on_response(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	if (c->state != CONNECTION_REQUESTED || (c->flags & WANT_REQUEST)) {
		connection_fail(c, EPROTO);
		return;
	}
	c->state = CONNECTION_OPEN;
	if (c->kind->opened)
		c->kind->opened(c);
}

static void on_reset(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	bool both_ended = (c->flags & GUEST_SHUT_SEND) && (c->flags & (FAR_ENDED | SENT_SHUTDOWN));

	if (c->state == CONNECTION_ENDING)
		guest_gone(c);
	else if (c->state == CONNECTION_REQUESTED && !(c->flags & WANT_REQUEST) && c->kind->refused)
		c->kind->refused(c);
	else
		connection_drop(c, !both_ended);
}

void connection_lingered(struct connection *c)
{
	c->flags &= ~(uint32_t)CLOSE_LINGERS;
	end(c, false);
}

/* The guest has closed its socket and waits for our RST. */
static void on_close(struct connection *c)
{
	if (!(c->flags & LINGERS) || !c->kind->shut) {
		end(c, false);
		return;
	}
	/* One more, and it has waited long enough. */
	c->flags = (c->flags & ~(uint32_t)LINGERS) | CLOSE_LINGERS;
	c->kind->shut(c);
}

static void on_shutdown(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	if (c->state != CONNECTION_OPEN) {
		if (c->state == CONNECTION_CONNECTING || c->state == CONNECTION_REQUESTED)
			end(c, true);
		return;
	}
	if (p->flags & PACKET_SHUTDOWN_RECEIVE)
		c->flags |= GUEST_SHUT_RECEIVE;
	if (p->flags & PACKET_SHUTDOWN_SEND)
		c->flags |= GUEST_SHUT_SEND;
	if ((p->flags & PACKET_SHUTDOWN_BOTH) == PACKET_SHUTDOWN_BOTH)
		on_close(c);
	else if (c->kind->shut)
		c->kind->shut(c);
}

static void on_payload(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	if (connection_accept_payload(c, p->len))
		c->kind->push(c, iov, n, p->len, p->flags);
}

static void on_credit_request(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	if (c->state == CONNECTION_OPEN)
		connection_want(c, WANT_CREDIT_UPDATE);
}

typedef void (*packet_fn)(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n);

static const packet_fn by_op[] = {
	[VIRTIO_VSOCK_OP_RESPONSE] = on_response,
	[VIRTIO_VSOCK_OP_RST] = on_reset,
	[VIRTIO_VSOCK_OP_SHUTDOWN] = on_shutdown,
	[VIRTIO_VSOCK_OP_RW] = on_payload,
	[VIRTIO_VSOCK_OP_CREDIT_UPDATE] = NULL, /* taken before */
	[VIRTIO_VSOCK_OP_CREDIT_REQUEST] = on_credit_request,
};

void connection_packet(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n)
{
	connection_take_credit(c, p);
	if (by_op[p->op])
		by_op[p->op](c, p, iov, n);
}

static bool serve_start(struct connection *c)
{
	if (c->flags & WANT_REQUEST) {
		if (!rx_send(c, VIRTIO_VSOCK_OP_REQUEST, 0))
			return false;
		c->flags &= ~(uint32_t)WANT_REQUEST;
	}
	if (c->flags & WANT_RESPONSE) {
		if (!rx_send(c, VIRTIO_VSOCK_OP_RESPONSE, 0))
			return false;
		c->flags &= ~(uint32_t)WANT_RESPONSE;
		c->state = CONNECTION_OPEN;
		if (c->kind->opened)
			c->kind->opened(c);
	}
	return true;
}

/* Only when it is stuck: guests tell of their own accord when much was read, but never think of packets. */
static void ask_for_credit(struct connection *c)
{
	if (!has_payload(c) || has_credit(c) || (c->flags & CREDIT_REQUESTED))
		return;
	c->flags |= WANT_CREDIT_REQUEST;
}

static bool serve_open(struct connection *c)
{
	if (has_payload(c) && has_credit(c)) {
		c->kind->pull(c, MIN(connection_credit(c), CONNECTION_QUANTUM));
		if (c->device->starving)
			return false;
		if (c->state != CONNECTION_OPEN)
			return true; /* it failed, and is in the ready list for that */
	}
	if ((c->flags & WANT_SHUTDOWN) && !has_payload(c)) {
		if (!rx_send(c, VIRTIO_VSOCK_OP_SHUTDOWN, PACKET_SHUTDOWN_SEND))
			return false;
		c->flags = (c->flags & ~(uint32_t)WANT_SHUTDOWN) | SENT_SHUTDOWN;
	}
	ask_for_credit(c);
	if (c->flags & WANT_CREDIT_REQUEST) {
		if (!rx_send(c, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0))
			return false;
		c->flags = (c->flags & ~(uint32_t)WANT_CREDIT_REQUEST) | CREDIT_REQUESTED;
	}
	return !(c->flags & WANT_CREDIT_UPDATE) || rx_send(c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
}

static bool serve(struct connection *c)
{
	if (c->flags & WANT_RESET) {
		if (!rx_send(c, VIRTIO_VSOCK_OP_RST, 0))
			return false;
		guest_gone(c);
		return true;
	}
	if (!serve_start(c))
		return false;
	return c->state != CONNECTION_OPEN || serve_open(c);
}

bool connection_serve(struct connection *c)
{
	struct device *d = c->device;

	if (c->after > d->tsi.sent) {
		lists_remove(c);
		c->flags |= IN_PARKED;
		TAILQ_INSERT_TAIL(&d->parked, c, entry);
		return true;
	}
	if (!serve(c))
		return false;
	if (c->flags & IN_READY) {
		TAILQ_REMOVE(&d->ready, c, entry);
		c->flags &= ~(uint32_t)IN_READY;
	}
	make_ready(c);
	return true;
}
