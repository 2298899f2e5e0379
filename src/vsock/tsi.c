/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control connection.
 *
 * Messages to the guest wait in the connection's own queue and go out before anything else does (device.c); a connection
 * that a message concerns notes the position behind it and sends its next packet only after that. So what explains a
 * packet is always ahead of it, and many messages share one packet.
 *
 * A guest that does not read its control connection gets no answers any more once TSI_QUEUE_MAX bytes wait: messages are
 * then lost and counted, and connections proceed without them.
 */
#include "vsock/tsi.h"

#include <endian.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/own.h"
#include "vsock/datagram.h"
#include "vsock/device.h"
#include "vsock/dns.h"
#include "vsock/policy.h"
#include "vsock/stream.h"

static void control_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags);
static void control_pull(struct connection *c, uint32_t quantum);
static void control_shut(struct connection *c);
static void control_closed(struct connection *c, bool reset);

static const struct connection_kind control_kind = {
	.name = "control",
	.type = VIRTIO_VSOCK_TYPE_STREAM,
	.push = control_push,
	.pull = control_pull,
	.shut = control_shut,
	.closed = control_closed,
};

int tsi_init(struct tsi *t, uint32_t listeners)
{
	*t = (struct tsi){ .size = listeners };
	t->listeners = calloc(listeners, sizeof(*t->listeners));
	return t->listeners ? 0 : -ENOMEM;
}

void tsi_deinit(struct tsi *t)
{
	free(t->listeners);
	t->listeners = NULL;
}

void tsi_reset(struct tsi *t)
{
	if (t->listeners && t->high)
		memset(t->listeners, 0, t->high * sizeof(*t->listeners));
	memset(t->hash, 0, sizeof(t->hash));
	t->n_listeners = t->high = t->free = 0;
	t->n_partial = 0;
	t->greeted = false;
	t->sent = t->queued;
}

uint32_t tsi_host_families(void)
{
	struct ifaddrs *all = NULL;
	uint32_t families = 0;

	if (getifaddrs(&all) < 0)
		return TSI_HELLO_V4;
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP))
			continue;
		if (a->ifa_addr->sa_family == AF_INET) {
			families |= TSI_HELLO_V4;
		} else if (a->ifa_addr->sa_family == AF_INET6) {
			struct sockaddr_in6 v6;

			memcpy(&v6, a->ifa_addr, sizeof(v6));
			if (!IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr))
				families |= TSI_HELLO_V6;
		}
	}
	freeifaddrs(all);
	return families;
}

/* ---- to the guest ---- */

void tsi_send(struct device *d, struct connection *c, enum tsi_message_type type, uint32_t port, uint32_t error, uint32_t value,
	      const struct tsi_address *local, const struct tsi_address *remote)
{
	struct connection *control = d->tsi.control;
	struct tsi_message m = {
		.type = htole16((uint16_t)type),
		.port = htole32(port),
		.error = htole32(error),
		.value = htole32(value),
	};

	if (!control)
		return;
	if (local)
		m.local = *local;
	if (remote)
		m.remote = *remote;
	if (control->out.bytes > TSI_QUEUE_MAX || queue_add_bytes(&d->pool, &control->out, &m, sizeof(m)) < 0) {
		d->tsi.lost++;
		return;
	}
	d->tsi.queued += sizeof(m);
	if (c)
		c->after = d->tsi.queued;
	connection_want(control, 0);
}

static void control_pull(struct connection *c, uint32_t quantum)
{
	c->device->tsi.sent += rx_send_queue(c, MIN(quantum, c->out.bytes), false);
}

uint32_t tsi_port_of(const struct connection *c)
{
	if (!c->kind->is_tsi || !c->device->tsi.control)
		return 0;
	return c->host_port >= TSI_PORT_HOST_FIRST ? c->host_port : c->guest_port;
}

/* ---- from the guest ---- */

static void on_hello(struct device *d, const struct tsi_message *m)
{
	log_debug("guest's module speaks version %u", le32toh(m->port));
	if (d->tsi.greeted)
		return;
	d->tsi.greeted = true;
	tsi_send(d, NULL, TSI_HELLO, TSI_VERSION, 0, d->tsi.host_families, NULL, NULL);
	d->on_event(d, "tsi-started");
}

/* A connection that the guest has announced, under the ports that its OP_REQUEST will name. NULL: the box has too many. */
static struct connection *announce(struct device *d, const struct tsi_message *m, const struct connection_kind *kind,
				   enum tsi_port host_port)
{
	uint32_t port = le32toh(m->port);
	struct connection *c;

	if (port < TSI_PORT_GUEST_FIRST || port >= TSI_PORT_HOST_FIRST)
		return NULL;
	c = connection_find(d, port, host_port);
	if (c)
		connection_drop(c, true); /* the guest has closed it without our knowing, and uses the port again */
	c = connection_new(d, kind);
	if (!c) {
		d->stats.refused++;
		tsi_send(d, NULL, TSI_FAILED, port, EMFILE, 0, NULL, NULL);
		return NULL;
	}
	c->remote = m->remote;
	c->local = m->local;
	connection_name(c, port, host_port);
	return c;
}

static void on_connect(struct device *d, const struct tsi_message *m)
{
	bool to_resolver = policy_destination(&m->remote, false) == DESTINATION_RESOLVER;
	struct connection *c = announce(d, m, to_resolver ? &dns_stream_kind : &stream_kind, TSI_PORT_STREAM);

	if (!c || to_resolver)
		return;
	stream_connect(c);
	if (le32toh(m->value) & TSI_STREAM_KEEPALIVE)
		stream_option(c, TSI_OPTION_KEEPALIVE, 1);
}

static void on_datagram(struct device *d, const struct tsi_message *m)
{
	struct connection *c = announce(d, m, &datagram_kind, TSI_PORT_DATAGRAM);

	if (c)
		c->error = datagram_announced(c, le32toh(m->value));
}

static void on_peer(struct device *d, const struct tsi_message *m)
{
	struct connection *c = connection_find(d, le32toh(m->port), TSI_PORT_DATAGRAM);

	if (c && c->datagram)
		datagram_set_peer(c, &m->remote);
	else
		tsi_send(d, NULL, TSI_FAILED, le32toh(m->port), ENOTCONN, 0, NULL, &m->remote);
}

static void on_datagram_bound(struct device *d, const struct tsi_message *m)
{
	struct connection *c = connection_find(d, le32toh(m->port), TSI_PORT_DATAGRAM);

	if (c && c->datagram)
		datagram_bound(c, &m->local, le32toh(m->value));
}

static uint32_t *listener_bucket(struct tsi *t, uint16_t port)
{
	return &t->hash[port % TSI_LISTENER_HASH];
}

static void on_unlisten(struct device *d, const struct tsi_message *m)
{
	struct tsi *t = &d->tsi;
	uint32_t port = le32toh(m->port);

	for (uint32_t i = 0; i < t->high; i++) {
		struct tsi_listener *l = &t->listeners[i];
		uint32_t *at;

		if (l->vsock_port != port || !port)
			continue;
		for (at = listener_bucket(t, l->port); *at != i + 1; at = &t->listeners[*at - 1].next)
			;
		*at = l->next;
		*l = (struct tsi_listener){ .next = t->free };
		t->free = i + 1;
		t->n_listeners--;
		return;
	}
}

static void on_listen(struct device *d, const struct tsi_message *m)
{
	struct tsi *t = &d->tsi;
	uint16_t port = address_port(&m->local);
	struct tsi_listener *l;
	uint32_t index;

	on_unlisten(d, m);
	if (!le32toh(m->port) || !port)
		return;
	if (t->free) {
		index = t->free;
		t->free = t->listeners[index - 1].next;
	} else if (t->high < t->size) {
		index = ++t->high;
	} else {
		t->lost++;
		return;
	}
	l = &t->listeners[index - 1];
	*l = (struct tsi_listener){
		.vsock_port = le32toh(m->port),
		.port = port,
		.family = le16toh(m->local.family),
		.v6_only = le32toh(m->value) & TSI_LISTEN_V6ONLY,
		.next = *listener_bucket(t, port),
	};
	*listener_bucket(t, port) = index;
	t->n_listeners++;
}

static bool listener_takes(const struct tsi_listener *l, uint16_t port, uint16_t family)
{
	if (l->port != port)
		return false;
	return family == TSI_FAMILY_V6 || l->family == TSI_FAMILY_V4 || !l->v6_only;
}

struct tsi_listener *tsi_listener_choose(struct tsi *t, uint16_t port, uint16_t family)
{
	struct tsi_listener *best = NULL;

	for (uint32_t at = *listener_bucket(t, port); at; at = t->listeners[at - 1].next) {
		struct tsi_listener *l = &t->listeners[at - 1];
		bool same, best_same;

		if (!listener_takes(l, port, family))
			continue;
		same = l->family == family;
		best_same = best && best->family == family;
		if (!best || (same && !best_same) || (same == best_same && l->round < best->round))
			best = l;
	}
	if (best)
		best->round = ++t->round;
	return best;
}

static void on_option(struct device *d, const struct tsi_message *m)
{
	struct connection *c = connection_find_opened(d, le32toh(m->port), TSI_PORT_STREAM);
	struct connection *g = c ? NULL : connection_find(d, le32toh(m->port), TSI_PORT_DATAGRAM);

	if (c)
		stream_option(c, le32toh(m->error), le32toh(m->value));
	else if (g)
		datagram_option(g, le32toh(m->error), le32toh(m->value));
}

static const struct {
	void (*fn)(struct device *d, const struct tsi_message *m);
} handlers[] = {
	[TSI_HELLO] = { on_hello },
	[TSI_CONNECT] = { on_connect },
	[TSI_LISTEN] = { on_listen },
	[TSI_UNLISTEN] = { on_unlisten },
	[TSI_DATAGRAM] = { on_datagram },
	[TSI_PEER] = { on_peer },
	[TSI_OPTION] = { on_option },
	[TSI_DATAGRAM_BOUND] = { on_datagram_bound },
};

static void handle_message(struct device *d, const struct tsi_message *m)
{
	uint16_t type = le16toh(m->type);

	if (type < ARRAY_SIZE(handlers) && handlers[type].fn)
		handlers[type].fn(d, m);
}

static void control_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags)
{
	struct device *d = c->device;
	struct tsi *t = &d->tsi;

	connection_forwarded(c, bytes);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *at = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left && t->control == c) {
			size_t part = MIN(left, sizeof(t->partial) - t->n_partial);
			struct tsi_message m;

			memcpy(t->partial + t->n_partial, at, part);
			t->n_partial += (unsigned)part;
			at += part;
			left -= part;
			if (t->n_partial < sizeof(t->partial))
				continue;
			t->n_partial = 0;
			memcpy(&m, t->partial, sizeof(m));
			handle_message(d, &m);
		}
	}
}

static void control_shut(struct connection *c)
{
	if (c->flags & GUEST_SHUT_SEND)
		connection_fail(c, 0);
}

/* The module is gone, or will open another. What was established lives on; what was announced is no more. */
static void control_closed(struct connection *c, bool reset)
{
	struct tsi *t = &c->device->tsi;

	if (t->control != c)
		return;
	t->control = NULL;
	tsi_reset(t);
	device_wake(c->device);
}

/* ---- requests ---- */

/* What was announced on a control connection that is gone, and never requested. */
static void drop_announced(struct device *d)
{
	for (uint32_t i = 0; i < d->table.high; i++) {
		struct connection *c = &d->table.all[i];

		if (c->state == CONNECTION_WAITING && c->kind->is_tsi)
			connection_drop(c, true);
	}
}

/* The module opens it before the box has any process, and again after it was lost: whoever else asks is none of it. */
static bool open_control(struct device *d, const struct packet *p)
{
	struct connection *c;

	if (d->tsi.control)
		return false;
	drop_announced(d);
	c = connection_new(d, &control_kind);
	if (!c)
		return false;
	connection_name(c, p->src_port, p->dst_port);
	d->tsi.control = c;
	c->state = CONNECTION_CONNECTING;
	connection_take_credit(c, p);
	connection_want(c, WANT_RESPONSE);
	return true;
}

static bool open_announced(struct device *d, const struct packet *p)
{
	struct connection *c = connection_find(d, p->src_port, p->dst_port);

	if (!c || c->kind->type != p->type)
		return false;
	if (c->state != CONNECTION_WAITING) {
		connection_drop(c, true); /* whatever the guest means by it, it is no longer this one */
		return false;
	}
	connection_take_credit(c, p);
	if (c->kind == &datagram_kind)
		datagram_requested(c);
	else if (c->kind == &dns_stream_kind)
		dns_stream_requested(c);
	else
		stream_requested(c);
	return true;
}

bool tsi_request(struct device *d, const struct packet *p)
{
	if (!d->has_tsi)
		return false;
	if (p->dst_port == TSI_PORT_CONTROL && p->type == VIRTIO_VSOCK_TYPE_STREAM)
		return open_control(d, p);
	return open_announced(d, p);
}
