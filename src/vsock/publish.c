/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of published TCP ports; those of UDP ports are the business of udp.c.
 *
 * A client is accepted at once. When nobody listens in the guest, or the box is at its limit, it is reset at once, which
 * to it looks like a port where nobody listens. Else it is offered to the listener whose turn it is: INCOMING, OP_REQUEST.
 *
 * A listener whose backlog is full answers RST. TCP would drop the SYN and the client try again; here the client waits, in
 * order with those that come after it, and is offered again after a pause. How many are under way at once (`window`) starts
 * small after a refusal and doubles with each that was taken, so that a slow program is not stormed and a fast one not
 * kept waiting. What was not taken for GIVE_UP_MS while others were refused is reset.
 *
 * The guest is told the client's true address. An IPv4-only listener cannot be told an IPv6 one: it sees 127.0.0.1 for
 * the host's own ::1, else 192.0.0.10, with the client's port.
 */
#include "vsock/publish.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "vsock/device.h"
#include "vsock/policy.h"
#include "vsock/stream.h"
#include "vsock/udp.h"

#define ACCEPTS_PER_TURN 32
#define PAUSE_MS 100 /* when the host is out of fds or memory */
#define WINDOW_MAX 64u
#define RETRY_FIRST_MS 5
#define RETRY_MAX_MS 200
#define GIVE_UP_MS 60000

/**
 * struct published - one port
 * @udp:	of a UDP port; what is below is for TCP
 * @waiting:	clients that the guest has not been asked about, or has refused, first come first
 * @asked:	clients under way
 * @refused_ms:	when the present run of refusals began; 0: the last one asked was taken
 */
struct published {
	struct loop_io io;
	struct udp_socket udp;
	struct loop_timer resume, retry;
	struct published *next;
	struct device *device;
	struct publish_port port;
	int fd;
	struct connection_list waiting;
	unsigned asked, window;
	int64_t retry_after_ms, refused_ms;
};

#define PUBLISH_HASH 4096u /* a box may publish tens of thousands */

struct publish {
	struct published *bucket[PUBLISH_HASH];
};

static void incoming_opened(struct connection *c);
static void incoming_refused(struct connection *c);
static void incoming_closed(struct connection *c, bool reset);

static const struct connection_kind incoming_kind = {
	.name = "incoming",
	.type = VIRTIO_VSOCK_TYPE_STREAM,
	.is_tsi = true,
	.opened = incoming_opened,
	.refused = incoming_refused,
	.push = stream_push,
	.pull = stream_pull,
	.shut = stream_shut,
	.closed = incoming_closed,
};

/* The listener in the guest for this client, or NULL. */
static struct tsi_listener *listener_for(struct published *p, const struct tsi_address *client)
{
	struct tsi *tsi = &p->device->tsi;

	return tsi->control ? tsi_listener_choose(tsi, p->port.guest_port, le16toh(client->family)) : NULL;
}

static void ask(struct connection *c, const struct tsi_listener *l)
{
	struct published *p = c->incoming.published;
	struct tsi_address local = c->local, remote = c->remote;

	if (l->family == TSI_FAMILY_V4) {
		local = address_for_v4(&local);
		remote = address_for_v4(&remote);
	}
	c->incoming.asked = true;
	p->asked++;
	connection_name(c, l->vsock_port, connection_own_port(c));
	tsi_send(c->device, c, TSI_INCOMING, c->host_port, 0, l->vsock_port, &local, &remote);
	c->state = CONNECTION_REQUESTED;
	connection_want(c, WANT_REQUEST);
}

/* Those at the head of the queue, as many as the window allows. */
static void ask_waiting(struct published *p)
{
	struct connection *c;

	while (p->asked < p->window && (c = TAILQ_FIRST(&p->waiting))) {
		struct tsi_listener *l = listener_for(p, &c->remote);

		publish_forget_waiting(c);
		if (l) {
			ask(c, l);
		} else {
			p->device->stats.refused++;
			connection_drop(c, true);
		}
	}
}

void publish_forget_waiting(struct connection *c)
{
	TAILQ_REMOVE(&c->incoming.published->waiting, c, entry);
	c->flags &= ~(uint32_t)IN_WAITING;
}

static void retry(struct loop_timer *timer)
{
	struct published *p = container_of(timer, struct published, retry);

	ask_waiting(p);
}

static void incoming_opened(struct connection *c)
{
	struct published *p = take_ptr(c->incoming.published);

	stream_opened(c);
	if (!p)
		return;
	p->asked--;
	p->refused_ms = 0;
	p->retry_after_ms = RETRY_FIRST_MS;
	p->window = MIN(p->window * 2, WINDOW_MAX);
	ask_waiting(p);
}

static void wait_again(struct published *p, struct connection *c)
{
	int64_t now = loop_now_ms(p->device->loop);

	p->window = 1;
	if (!p->refused_ms)
		p->refused_ms = now;
	connection_unname(c);
	c->flags |= IN_WAITING;
	TAILQ_INSERT_HEAD(&p->waiting, c, entry);
	if (now - p->refused_ms > GIVE_UP_MS) {
		while ((c = TAILQ_FIRST(&p->waiting)))
			connection_drop(c, true);
		return;
	}
	if (p->retry.loop)
		return; /* others of the same window were refused before */
	loop_timer_set(p->device->loop, &p->retry, p->retry_after_ms, retry);
	p->retry_after_ms = MIN(2 * p->retry_after_ms, RETRY_MAX_MS);
}

static void incoming_refused(struct connection *c)
{
	struct published *p = c->incoming.published;

	if (!p || !listener_for(p, &c->remote)) {
		connection_drop(c, true);
		return;
	}
	c->incoming.asked = false;
	p->asked--;
	wait_again(p, c);
}

static void incoming_closed(struct connection *c, bool reset)
{
	struct published *p = take_ptr(c->incoming.published);

	stream_closed(c, reset);
	if (!p)
		return;
	p->asked -= c->incoming.asked;
	if (!p->asked && TAILQ_EMPTY(&p->waiting))
		p->refused_ms = 0; /* nobody waits any more: the next one's time begins with its own refusal */
	if (!c->incoming.asked)
		return;
	if (!p->retry.loop && !TAILQ_EMPTY(&p->waiting))
		loop_timer_set(p->device->loop, &p->retry, 0, retry);
}

/* A client, new: fd is taken. */
static void take_client(struct published *p, int fd, const struct sockaddr_storage *peer)
{
	struct device *d = p->device;
	struct sockaddr_storage here = { .ss_family = AF_UNSPEC };
	struct tsi_address remote = address_from_sockaddr(peer);
	socklen_t size = sizeof(here);
	struct connection *c = listener_for(p, &remote) ? connection_new(d, &incoming_kind) : NULL;

	if (!c) {
		d->stats.refused++;
		stream_abort_fd(fd);
		return;
	}
	(void)getsockname(fd, (struct sockaddr *)&here, &size);
	c->local = address_from_sockaddr(&here);
	c->remote = remote;
	c->incoming.published = p;
	c->flags |= IN_WAITING;
	TAILQ_INSERT_TAIL(&p->waiting, c, entry);
	if (stream_adopt(c, fd) < 0)
		connection_drop(c, true);
	else if (!p->retry.loop)
		ask_waiting(p);
}

static void accept_event(struct loop_io *io, uint32_t events);

static void resume(struct loop_timer *timer)
{
	struct published *p = container_of(timer, struct published, resume);

	(void)loop_io_set(&p->io, EPOLLIN);
}

/* False: there is nobody more to accept. */
static bool accept_one(struct published *p)
{
	struct device *d = p->device;
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(peer);
	int fd = accept4(p->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			(void)loop_io_set(&p->io, 0);
			loop_timer_set(d->loop, &p->resume, PAUSE_MS, resume);
		}
		return errno == ECONNABORTED || errno == EINTR;
	}
	take_client(p, fd, &peer);
	return true;
}

static void accept_event(struct loop_io *io, uint32_t events)
{
	struct published *p = container_of(io, struct published, io);

	for (unsigned i = 0; i < ACCEPTS_PER_TURN && accept_one(p); i++)
		;
}

/* Where the entry hangs in the list; NULL there when there is none. */
static struct published **find(struct device *d, const struct publish_port *port)
{
	struct published **at = &d->publish->bucket[port->port % PUBLISH_HASH];

	while (*at && ((*at)->port.is_udp != port->is_udp || (*at)->port.port != port->port ||
		       strcmp((*at)->port.address, port->address) != 0))
		at = &(*at)->next;
	return at;
}

/* Clients under way stay, those that wait do not. */
static void forget_clients(struct published *p)
{
	struct connection_table *t = &p->device->table;
	struct connection *c;

	while ((c = TAILQ_FIRST(&p->waiting)))
		connection_drop(c, true);
	for (uint32_t i = 0; i < t->high && p->asked; i++) {
		c = &t->all[i];
		if (c->state != CONNECTION_FREE && c->kind == &incoming_kind && c->incoming.published == p) {
			c->incoming.published = NULL;
			p->asked--;
		}
	}
}

static void published_free(struct published *p)
{
	forget_clients(p);
	udp_socket_stop(&p->udp);
	loop_timer_cancel(&p->retry);
	loop_timer_cancel(&p->resume);
	loop_io_remove(&p->io);
	close_fd(p->fd);
	free(p);
}

static int publish_new(struct device *d)
{
	if (!d->publish)
		d->publish = calloc(1, sizeof(*d->publish));
	return d->publish ? 0 : -ENOMEM;
}

static int accept_clients(struct published *p)
{
	int one = 1, r = io_set_nonblock(p->fd, true);

	(void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* accepted ones inherit it */
	return r < 0 ? r : loop_io_add(p->device->loop, &p->io, p->fd, EPOLLIN, accept_event);
}

/* Takes fd. */
static int published_new(struct device *d, const struct publish_port *port, int fd, struct published **ret)
{
	struct published *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		close_fd(fd);
		return -ENOMEM;
	}
	*p = (struct published){
		.io = LOOP_IO_NULL,
		.resume = LOOP_TIMER_NULL,
		.retry = LOOP_TIMER_NULL,
		.device = d,
		.port = *port,
		.fd = fd,
		.window = WINDOW_MAX,
		.retry_after_ms = RETRY_FIRST_MS,
	};
	TAILQ_INIT(&p->waiting);
	r = port->is_udp ? udp_socket_start(&p->udp, d, port->guest_port, fd) : accept_clients(p);
	if (r < 0) {
		published_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int publish_add(struct device *d, const struct publish_port *port, int fd)
{
	struct published **at;
	int r = publish_new(d);

	if (r == 0 && *(at = find(d, port)))
		r = -EEXIST;
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	return published_new(d, port, fd, at);
}

int publish_remove(struct device *d, const struct publish_port *port)
{
	struct published **at = d->publish ? find(d, port) : NULL, *p = at ? *at : NULL;

	if (!p)
		return -ENOENT;
	*at = p->next;
	published_free(p);
	return 0;
}

void publish_clear(struct device *d)
{
	struct published *p, *next;

	for (unsigned i = 0; d->publish && i < PUBLISH_HASH; i++) {
		for (p = d->publish->bucket[i]; p; p = next) {
			next = p->next;
			published_free(p);
		}
	}
	free(d->publish);
	d->publish = NULL;
}
