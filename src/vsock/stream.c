/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock stream and a host socket, joined.
 *
 * The socket is registered once, edge-triggered; FAR_READABLE and FAR_WRITABLE remember what the kernel said. This relies
 * on epoll(7): after a read that gave less than was asked for, or a write that took less, the kernel reports the next
 * change. Not so at end-of-file, error and urgent data: FAR_MORE makes us read on until nothing comes.
 *
 * Half-close: the guest's SHUTDOWN(send) becomes shutdown(SHUT_WR) when its last byte has gone out; the socket's
 * end-of-file becomes SHUTDOWN(send) to the guest after the last byte. The vsock connection itself lasts until the guest
 * closes it (SHUTDOWN of both halves), which we answer with RST as the specification asks; the host's socket is closed as
 * soon as both directions have ended. A reset on either side is a reset on the other.
 *
 * TCP_NODELAY is always on: the guest's module has coalesced already what its program wanted coalesced.
 */
#include "vsock/stream.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "vsock/device.h"
#include "vsock/policy.h"

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)
#define DRAIN_IOV 64
#define HINT_BUFFER 4096u /* bytes that a guest's receive buffer usually has */

const struct connection_kind stream_kind = {
	.name = "stream",
	.type = VIRTIO_VSOCK_TYPE_STREAM,
	.is_tsi = true,
	.opened = stream_opened,
	.push = stream_push,
	.pull = stream_pull,
	.shut = stream_shut,
	.closed = stream_closed,
};

void stream_abort_fd(int fd)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

void stream_closed(struct connection *c, bool reset)
{
	int fd = c->io.fd;
	bool both_ended = (c->flags & FAR_ENDED) && (c->flags & FAR_SHUT);

	if (fd < 0)
		return;
	loop_io_remove(&c->io);
	if (reset && !both_ended)
		stream_abort_fd(fd);
	else
		close(fd);
}

/* Both directions have ended: the socket has nothing left to do, whenever the guest closes its end. */
static void close_if_finished(struct connection *c)
{
	if ((c->flags & FAR_ENDED) && (c->flags & FAR_SHUT))
		stream_closed(c, false);
}

/* ---- guest to host ---- */

/*
 * The host's end is gone for writing. What it sent before is still to be read; then, or at once when the guest does not
 * read, comes the reset.
 */
static void write_failed(struct connection *c, int error)
{
	uint32_t waiting = c->in.bytes;

	c->flags |= FAR_BROKEN;
	c->error = error == EPIPE ? ECONNRESET : error;
	queue_clear(&c->device->pool, &c->in);
	if (c->state != CONNECTION_OPEN) {
		connection_drained(c);
		return;
	}
	connection_forwarded(c, waiting);
	if ((c->flags & (FAR_ENDED | GUEST_SHUT_RECEIVE)) || connection_credit(c) == 0) {
		connection_fail(c, c->error);
		return;
	}
	c->flags |= FAR_MORE;
	connection_readable(c);
}

/* Bytes that the socket took, or -1 when it has failed. */
static ssize_t send_some(struct connection *c, struct iovec *iov, unsigned n, size_t bytes)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent = sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
		write_failed(c, errno);
		return -1;
	}
	if (sent < (ssize_t)bytes)
		c->flags &= ~(uint32_t)FAR_WRITABLE;
	return MAX(sent, 0);
}

void stream_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags)
{
	ssize_t sent = 0;

	if (c->io.fd < 0 || (c->flags & FAR_BROKEN)) {
		connection_forwarded(c, bytes);
		return;
	}
	if (!c->in.bytes && (c->flags & FAR_WRITABLE)) {
		union {
			const struct iovec *in;
			struct iovec *out;
		} entries = { .in = iov }; /* sendmsg only reads */

		sent = send_some(c, entries.out, n, bytes);
		if (sent < 0)
			return;
	}
	if (sent)
		connection_forwarded(c, (uint32_t)sent);
	if ((size_t)sent < bytes && queue_add(&c->device->pool, &c->in, iov, n, (size_t)sent, bytes - (size_t)sent) < 0)
		connection_fail(c, ENOBUFS);
}

/* Whether the peer has everything, our FIN included. The kernel reports when it has: EPOLLOUT. */
static bool is_acknowledged(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return true;
	return info.tcpi_state == TCP_FIN_WAIT2 || info.tcpi_state == TCP_TIME_WAIT || info.tcpi_state == TCP_CLOSE;
}

static void end_lingering(struct connection *c)
{
	if (c->state != CONNECTION_OPEN || !(c->flags & CLOSE_LINGERS) || !(c->flags & FAR_SHUT))
		return;
	if (c->io.fd < 0 || is_acknowledged(c->io.fd))
		connection_lingered(c);
}

static void pass_on_end(struct connection *c)
{
	if (c->io.fd >= 0 && !c->in.bytes && !(c->flags & FAR_SHUT) && (c->flags & GUEST_SHUT_SEND)) {
		c->flags |= FAR_SHUT;
		(void)shutdown(c->io.fd, SHUT_WR);
		close_if_finished(c);
	}
	end_lingering(c);
}

void stream_shut(struct connection *c)
{
	pass_on_end(c);
}

static void drain(struct connection *c)
{
	struct pool *pool = &c->device->pool;
	struct iovec iov[DRAIN_IOV];

	while (c->in.bytes && (c->flags & FAR_WRITABLE)) {
		unsigned n = queue_peek(pool, &c->in, iov, DRAIN_IOV, SIZE_MAX);
		size_t offered = 0;
		ssize_t sent;

		for (unsigned i = 0; i < n; i++)
			offered += iov[i].iov_len;
		sent = send_some(c, iov, n, offered);
		if (sent < 0)
			return;
		queue_drop(pool, &c->in, (size_t)sent);
		if (c->state == CONNECTION_OPEN)
			connection_forwarded(c, (uint32_t)sent);
		c->active_ms = loop_now_ms(c->device->loop);
	}
	if (c->in.bytes)
		return;
	if (c->state == CONNECTION_OPEN)
		pass_on_end(c);
	else
		connection_drained(c);
}

/* ---- host to guest ---- */

static void learn(struct connection *c, uint32_t got, uint32_t offered)
{
	uint32_t hint = got == offered ? 2 * offered : got;

	c->hint = MIN(hint, CONNECTION_QUANTUM);
}

static void read_failed(struct connection *c, int error)
{
	c->flags &= ~(uint32_t)FAR_READABLE;
	connection_fail(c, error);
}

static void read_end(struct connection *c)
{
	c->flags = (c->flags & ~(uint32_t)FAR_READABLE) | FAR_ENDED;
	if (c->flags & FAR_BROKEN) {
		connection_fail(c, c->error);
		return;
	}
	c->flags |= WANT_SHUTDOWN;
	close_if_finished(c);
}

void stream_pull(struct connection *c, uint32_t quantum)
{
	struct device *d = c->device;
	ssize_t n;

	if (!rx_take(d, c->hint / HINT_BUFFER + 2, quantum))
		return;
	n = readv(c->io.fd, d->rx.payload, (int)d->rx.n_payload);
	if (n > 0) {
		uint32_t offered = d->rx.bytes;

		learn(c, (uint32_t)n, offered);
		if (n < offered && !(c->flags & FAR_MORE))
			c->flags &= ~(uint32_t)FAR_READABLE;
		rx_commit(c, (uint32_t)n, false);
		return;
	}
	rx_put_back(d);
	if (n == 0)
		read_end(c);
	else if (errno == EAGAIN)
		c->flags &= ~(uint32_t)FAR_READABLE;
	else if (errno != EINTR)
		read_failed(c, errno);
}

void stream_opened(struct connection *c)
{
	connection_readable(c);
}

/* ---- events, and how streams begin ---- */

static void tell_connected(struct connection *c)
{
	struct sockaddr_storage s = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(s);
	struct tsi_address local;

	(void)getsockname(c->io.fd, (struct sockaddr *)&s, &size);
	local = address_from_sockaddr(&s);
	if (c->stream.attempt) /* through 192.0.0.10: the host's loopback addresses would mean the guest's own there */
		local = address_v4(TSI_ADDRESS_GUEST, address_port(&local));
	local = address_as(&local, &c->remote);
	tsi_send(c->device, c, TSI_CONNECTED, c->guest_port, 0, 0, &local, &c->remote);
	connection_want(c, WANT_RESPONSE);
}

static void connect_failed(struct connection *c, int error);

/* The outcome of a connect() that was under way. */
static void connect_event(struct connection *c)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error) {
		connect_failed(c, error);
		return;
	}
	c->flags |= FAR_CONNECTED | FAR_WRITABLE;
	if (c->state == CONNECTION_CONNECTING)
		tell_connected(c);
}

/* After its end-of-file nothing is read any more, but a reset may still come. */
static void late_error(struct connection *c)
{
	int error = 0;
	socklen_t size = sizeof(error);

	(void)getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error && c->state == CONNECTION_OPEN)
		connection_fail(c, error);
}

static void stream_event(struct loop_io *io, uint32_t events)
{
	struct connection *c = container_of(io, struct connection, io);

	if (!(c->flags & FAR_CONNECTED) && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		connect_event(c);
	if (!(c->flags & FAR_CONNECTED))
		return; /* else go on: a peer in a hurry has sent and closed already, and this is the one event that says so */
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
		c->flags |= FAR_MORE;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		c->flags |= FAR_WRITABLE;
		if (c->in.bytes)
			drain(c);
		end_lingering(c);
	}
	if (c->io.fd < 0)
		return;
	if ((events & EPOLLERR) && (c->flags & FAR_ENDED))
		late_error(c);
	else if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		connection_readable(c);
}

int stream_adopt(struct connection *c, int fd)
{
	int r = loop_io_add(c->device->loop, &c->io, fd, EVENTS, stream_event);

	if (r < 0) {
		c->io.fd = close_fd(fd);
		return r;
	}
	c->flags |= FAR_CONNECTED | FAR_WRITABLE;
	return 0;
}

static int connect_to(struct connection *c, const struct sockaddr_storage *to, socklen_t size)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, r;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)to, size) < 0 && errno != EINPROGRESS) {
		r = -errno;
		close(fd);
		return r;
	}
	r = stream_adopt(c, fd);
	c->flags &= ~(uint32_t)(FAR_CONNECTED | FAR_WRITABLE);
	return r;
}

/* The next address of the host's own loopback: 127.0.0.1, then ::1. */
static int connect_loopback(struct connection *c)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = c->remote.port, .sin_addr.s_addr = htobe32(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = c->remote.port, .sin6_addr = in6addr_loopback };
	struct sockaddr_storage s = { 0 };

	if (c->stream.attempt++ == 0) {
		memcpy(&s, &v4, sizeof(v4));
		return connect_to(c, &s, sizeof(v4));
	}
	memcpy(&s, &v6, sizeof(v6));
	return connect_to(c, &s, sizeof(v6));
}

static void connect_failed(struct connection *c, int error)
{
	stream_closed(c, false);
	if (c->stream.attempt == 1 && error == ECONNREFUSED && connect_loopback(c) == 0)
		return;
	connection_fail(c, error);
}

void stream_connect(struct connection *c)
{
	struct sockaddr_storage s = { 0 };
	socklen_t size = 0;
	int r = policy_destination(&c->remote, c->device->has_host_gateway);

	if (r == DESTINATION_LOOPBACK)
		r = connect_loopback(c);
	else if (r == DESTINATION_HOST)
		r = address_to_sockaddr(&c->remote, &s, &size) ? connect_to(c, &s, size) : -EAFNOSUPPORT;
	else if (r >= 0)
		r = -ECONNREFUSED;
	if (r < 0)
		connect_failed(c, -r);
}

void stream_requested(struct connection *c)
{
	c->state = CONNECTION_CONNECTING;
	if (c->error)
		connection_fail(c, c->error);
	else if (c->flags & FAR_CONNECTED)
		tell_connected(c);
}

/* enum tsi_option to the host's; values are checked by the host's kernel. */
static const struct {
	int level, name;
} options[] = {
	[TSI_OPTION_KEEPALIVE] = { SOL_SOCKET, SO_KEEPALIVE },
	[TSI_OPTION_KEEPIDLE] = { IPPROTO_TCP, TCP_KEEPIDLE },
	[TSI_OPTION_KEEPINTVL] = { IPPROTO_TCP, TCP_KEEPINTVL },
	[TSI_OPTION_KEEPCNT] = { IPPROTO_TCP, TCP_KEEPCNT },
	[TSI_OPTION_USER_TIMEOUT] = { IPPROTO_TCP, TCP_USER_TIMEOUT },
	[TSI_OPTION_TTL] = { IPPROTO_IP, IP_TTL },
	[TSI_OPTION_HOPS] = { IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	[TSI_OPTION_TOS] = { IPPROTO_IP, IP_TOS },
	[TSI_OPTION_TCLASS] = { IPPROTO_IPV6, IPV6_TCLASS },
};

static int option_value(uint32_t option, uint32_t value)
{
	if (!value && (option == TSI_OPTION_TTL || option == TSI_OPTION_HOPS))
		return -1; /* the kernel's word for its default */
	return (int)value;
}

void stream_option(struct connection *c, uint32_t option, uint32_t value)
{
	if (c->io.fd < 0 || c->kind->push != stream_push)
		return;
	if (option == TSI_OPTION_LINGER) {
		/* The host's own close never waits: with other values it is the guest's that does. */
		struct linger linger = { .l_onoff = value == 0 };

		(void)setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		c->flags = value && value != UINT32_MAX ? c->flags | LINGERS : c->flags & ~(uint32_t)LINGERS;
	} else if (option < ARRAY_SIZE(options) && options[option].level) {
		int v = option_value(option, value);

		(void)setsockopt(c->io.fd, options[option].level, options[option].name, &v, sizeof(v));
	}
}
