/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client writes "CONNECT <port>\n", gets "OK <n>\n" when the guest has accepted, and talks to the agent from then on.
 * Anything else, a port that is not the agent's, or a guest that refuses: the socket is closed. The first line is read
 * without a byte of what follows.
 */
#include "vsock/agent.h"

#include <a3s/agent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "vsock/device.h"
#include "vsock/stream.h"

#define LINE_MAX_BYTES 32
#define ACCEPTS_PER_TURN 16
#define PAUSE_MS 100

struct agent {
	struct loop_io io;
	struct loop_timer resume;
	struct device *device;
	int fd;
};

static void opened(struct connection *c);

static const struct connection_kind agent_kind = {
	.name = "agent",
	.type = VIRTIO_VSOCK_TYPE_STREAM,
	.opened = opened,
	.push = stream_push,
	.pull = stream_pull,
	.shut = stream_shut,
	.closed = stream_closed,
};

static void opened(struct connection *c)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (send(c->io.fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
		connection_fail(c, ECONNRESET);
		return;
	}
	stream_opened(c);
}

/* The port in a whole first line; 0 while the line is not whole; negative errno. */
static int parse_line(const char *line, size_t size)
{
	const char *end = memchr(line, '\n', size);
	char number[LINE_MAX_BYTES];
	size_t prefix = strlen("CONNECT ");
	int64_t port;

	if (!end)
		return size < LINE_MAX_BYTES ? 0 : -EBADMSG;
	if ((size_t)(end - line) < prefix || memcmp(line, "CONNECT ", prefix) != 0)
		return -EBADMSG;
	memcpy(number, line + prefix, (size_t)(end - line) - prefix);
	number[(size_t)(end - line) - prefix] = '\0';
	if (text_to_int(number, AGENT_PORT_CONTROL, AGENT_PORT_ATTESTATION, &port) < 0)
		return -EBADMSG;
	return (int)port;
}

static void begin(struct connection *c, int port)
{
	int fd = c->io.fd;

	loop_io_remove(&c->io);
	if (stream_adopt(c, fd) < 0) {
		connection_drop(c, false);
		return;
	}
	connection_name(c, (uint32_t)port, connection_own_port(c));
	c->state = CONNECTION_REQUESTED;
	connection_want(c, WANT_REQUEST);
}

static void line_event(struct loop_io *io, uint32_t events)
{
	struct connection *c = container_of(io, struct connection, io);
	char line[LINE_MAX_BYTES];
	ssize_t n = recv(c->io.fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	int port;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	port = n > 0 ? parse_line(line, (size_t)n) : -ENODATA;
	if (port == 0 && !(events & (EPOLLRDHUP | EPOLLHUP)))
		return;
	if (port <= 0) {
		connection_drop(c, false);
		return;
	}
	n = (const char *)memchr(line, '\n', (size_t)n) - line + 1;
	(void)!recv(c->io.fd, line, (size_t)n, MSG_DONTWAIT);
	begin(c, port);
}

static void resume(struct loop_timer *timer)
{
	struct agent *a = container_of(timer, struct agent, resume);

	(void)loop_io_set(&a->io, EPOLLIN);
}

/* The host is out of fds or memory: do not spin on a client that cannot be taken. */
static void pause_accepting(struct agent *a)
{
	(void)loop_io_set(&a->io, 0);
	loop_timer_set(a->device->loop, &a->resume, PAUSE_MS, resume);
}

static void accept_event(struct loop_io *io, uint32_t events)
{
	struct agent *a = container_of(io, struct agent, io);

	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct connection *c;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
			pause_accepting(a);
		if (fd < 0)
			return;
		c = connection_new(a->device, &agent_kind);
		if (!c) {
			close(fd);
			continue;
		}
		/* Edge-triggered: a line that is not whole yet is looked at again when more of it comes. */
		if (loop_io_add(a->device->loop, &c->io, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, line_event) < 0) {
			c->io.fd = close_fd(fd);
			connection_drop(c, false);
		}
	}
}

int agent_listen(struct device *d, int fd)
{
	struct agent *a;
	int r;

	agent_clear(d);
	a = calloc(1, sizeof(*a));
	r = a ? io_set_nonblock(fd, true) : -ENOMEM;
	if (r < 0) {
		free(a);
		close_fd(fd);
		return r;
	}
	*a = (struct agent){ .io = LOOP_IO_NULL, .resume = LOOP_TIMER_NULL, .device = d, .fd = fd };
	d->agent = a;
	r = loop_io_add(d->loop, &a->io, fd, EPOLLIN, accept_event);
	if (r < 0)
		agent_clear(d);
	return r;
}

void agent_clear(struct device *d)
{
	struct agent *a = take_ptr(d->agent);

	if (!a)
		return;
	loop_timer_cancel(&a->resume);
	loop_io_remove(&a->io);
	close_fd(a->fd);
	free(a);
}
