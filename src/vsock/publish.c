/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of published ports.
 *
 * A client is accepted at once and offered to the listener in the guest whose turn it is; when nobody listens there, or
 * the box is at its limit, it is reset at once, which to it looks like a port where nobody listens. The guest resets what
 * its backlog has no room for.
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

#define ACCEPTS_PER_TURN 32
#define PAUSE_MS 100 /* when the host is out of fds or memory */

struct published {
	struct loop_io io;
	struct loop_timer resume;
	TAILQ_ENTRY(published) entry;
	struct device *device;
	struct publish_port port;
	int fd;
};
TAILQ_HEAD(published_list, published);

struct publish {
	struct published_list all;
};

static struct tsi_address as_v4(const struct tsi_address *a)
{
	uint32_t ip;

	if (address_is_v4(a, &ip))
		return *a;
	return address_v4(address_is_loopback(a) ? INADDR_LOOPBACK : TSI_ADDRESS_HOST, address_port(a));
}

/* Takes fd. */
static void offer(struct device *d, const struct tsi_listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage here = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(here);
	struct connection *c = connection_new(d, &stream_kind);

	if (!c) {
		d->stats.refused++;
		stream_abort_fd(fd);
		return;
	}
	(void)getsockname(fd, (struct sockaddr *)&here, &size);
	c->local = address_from_sockaddr(&here);
	c->remote = address_from_sockaddr(peer);
	if (l->family == TSI_FAMILY_V4) {
		c->local = as_v4(&c->local);
		c->remote = as_v4(&c->remote);
	}
	if (stream_adopt(c, fd) < 0) {
		connection_drop(c, true);
		return;
	}
	connection_name(c, l->vsock_port, connection_own_port(c));
	tsi_send(d, c, TSI_INCOMING, c->host_port, 0, l->vsock_port, &c->local, &c->remote);
	c->state = CONNECTION_REQUESTED;
	connection_want(c, WANT_REQUEST);
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
	struct tsi_listener *l;
	int fd = accept4(p->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			(void)loop_io_set(&p->io, 0);
			loop_timer_set(d->loop, &p->resume, PAUSE_MS, resume);
		}
		return errno == ECONNABORTED || errno == EINTR;
	}
	l = d->tsi.control ? tsi_listener_choose(&d->tsi, p->port.guest_port, le16toh(address_from_sockaddr(&peer).family)) : NULL;
	if (l) {
		offer(d, l, fd, &peer);
	} else {
		d->stats.refused++;
		stream_abort_fd(fd);
	}
	return true;
}

static void accept_event(struct loop_io *io, uint32_t events)
{
	struct published *p = container_of(io, struct published, io);

	for (unsigned i = 0; i < ACCEPTS_PER_TURN && accept_one(p); i++)
		;
}

static struct published *find(struct device *d, const struct publish_port *port)
{
	struct published *p;

	if (!d->publish)
		return NULL;
	TAILQ_FOREACH(p, &d->publish->all, entry) {
		if (p->port.is_udp == port->is_udp && p->port.port == port->port && strcmp(p->port.address, port->address) == 0)
			return p;
	}
	return NULL;
}

static void published_free(struct published *p)
{
	loop_timer_cancel(&p->resume);
	loop_io_remove(&p->io);
	close_fd(p->fd);
	TAILQ_REMOVE(&p->device->publish->all, p, entry);
	free(p);
}

static int publish_new(struct device *d)
{
	if (d->publish)
		return 0;
	d->publish = calloc(1, sizeof(*d->publish));
	if (!d->publish)
		return -ENOMEM;
	TAILQ_INIT(&d->publish->all);
	return 0;
}

int publish_add(struct device *d, const struct publish_port *port, int fd)
{
	struct published *p = NULL;
	int one = 1, r = 0;

	if (find(d, port))
		r = -EEXIST;
	else if (port->is_udp)
		r = -EOPNOTSUPP;
	else if (publish_new(d) < 0 || !(p = calloc(1, sizeof(*p))))
		r = -ENOMEM;
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	*p = (struct published){ .io = LOOP_IO_NULL, .resume = LOOP_TIMER_NULL, .device = d, .port = *port, .fd = fd };
	TAILQ_INSERT_TAIL(&d->publish->all, p, entry);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* accepted ones inherit it */
	r = io_set_nonblock(fd, true);
	if (r == 0)
		r = loop_io_add(d->loop, &p->io, fd, EPOLLIN, accept_event);
	if (r < 0)
		published_free(p);
	return r;
}

int publish_remove(struct device *d, const struct publish_port *port)
{
	struct published *p = find(d, port);

	if (!p)
		return -ENOENT;
	published_free(p);
	return 0;
}

void publish_clear(struct device *d)
{
	struct published *p;

	while (d->publish && (p = TAILQ_FIRST(&d->publish->all)))
		published_free(p);
	free(d->publish);
	d->publish = NULL;
}
