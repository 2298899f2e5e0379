/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "a3s/agent.h"
#include "agent_client.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

#define RETRY_FIRST_MS 4
#define RETRY_LAST_MS 25

static void agent_try(struct agent_client *client);

static void agent_disconnect(struct agent_client *client)
{
	loop_io_remove(&client->io);
	client->fd = close_fd(client->fd);
	frame_buffer_deinit(&client->in);
	frame_buffer_deinit(&client->out);
}

void agent_client_close(struct agent_client *client)
{
	agent_disconnect(client);
	loop_timer_cancel(&client->retry);
	client->state = AGENT_CLOSED;
	client->paused = false;
}

static void agent_lose(struct agent_client *client)
{
	agent_client_close(client);
	client->handlers->lost(client);
}

static void agent_on_retry(struct loop_timer *timer)
{
	agent_try(container_of(timer, struct agent_client, retry));
}

static void agent_retry(struct agent_client *client)
{
	agent_disconnect(client);
	client->state = AGENT_WAITING;
	loop_timer_set(client->loop, &client->retry, client->delay_ms, agent_on_retry);
	client->delay_ms = MIN(client->delay_ms * 2, RETRY_LAST_MS);
}

/* What the socket shall wake us for. */
static void agent_watch(struct agent_client *client)
{
	uint32_t events = client->paused ? 0 : EPOLLIN;

	if (frame_buffer_size(&client->out))
		events |= EPOLLOUT;
	loop_io_set(&client->io, events);
}

/* "OK 1073741824\n", byte by byte: what follows are frames. 1 when it is whole, 0 when there is more to come. */
static int agent_read_greeting(struct agent_client *client)
{
	char c;

	for (int i = 0; i < 32; i++) {
		ssize_t n = recv(client->fd, &c, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		if (c == '\n')
			return 1;
	}
	return -EBADMSG;
}

static void agent_greet(struct agent_client *client)
{
	int r = agent_read_greeting(client);

	if (r < 0) {
		agent_retry(client);
	} else if (r > 0) {
		client->state = AGENT_OPEN;
		client->handlers->opened(client);
	}
}

static void agent_deliver(struct agent_client *client)
{
	enum frame_type type;
	const uint8_t *payload;
	size_t size;
	int r = 0;

	while (client->state == AGENT_OPEN && (r = frame_buffer_next(&client->in, &type, &payload, &size)) == 1)
		client->handlers->frame(client, type, payload, size);
	if (r < 0 && client->state == AGENT_OPEN)
		agent_lose(client);
}

static void agent_receive(struct agent_client *client)
{
	int r = frame_buffer_receive(&client->in, client->fd);

	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		agent_lose(client);
		return;
	}
	agent_deliver(client);
	if (client->state == AGENT_OPEN && client->handlers->batch_end)
		client->handlers->batch_end(client);
}

static void agent_flush(struct agent_client *client)
{
	int r = frame_buffer_send(&client->out, client->fd);

	if (r == -EAGAIN) {
		agent_watch(client);
		return;
	}
	if (r < 0) {
		/* What the agent said before it hung up is still to be read: reading finds the end. */
		frame_buffer_deinit(&client->out);
	}
	agent_watch(client);
}

static void agent_on_io(struct loop_io *io, uint32_t events)
{
	struct agent_client *client = container_of(io, struct agent_client, io);

	if (client->state == AGENT_GREETING) {
		agent_greet(client);
		return;
	}
	if (events & EPOLLOUT) {
		agent_flush(client);
		if (!frame_buffer_size(&client->out) && client->handlers->drained)
			client->handlers->drained(client);
	}
	if (client->state == AGENT_OPEN && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		agent_receive(client);
}

static void agent_try(struct agent_client *client)
{
	char line[32];
	int size = snprintf(line, sizeof(line), AGENT_CONNECT, client->port);

	client->fd = io_unix_connect(client->path);
	if (client->fd < 0 || io_set_nonblock(client->fd, true) < 0 ||
	    send(client->fd, line, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) != size ||
	    loop_io_add(client->loop, &client->io, client->fd, EPOLLIN, agent_on_io) < 0) {
		agent_retry(client);
		return;
	}
	client->state = AGENT_GREETING;
}

void agent_client_open(struct agent_client *client, struct loop *loop, const char *path, unsigned port,
		       const struct agent_handlers *handlers)
{
	agent_client_close(client);
	client->loop = loop;
	client->handlers = handlers;
	client->port = port;
	client->delay_ms = RETRY_FIRST_MS;
	if (path != client->path)
		snprintf(client->path, sizeof(client->path), "%s", path);
	agent_try(client);
}

int agent_client_send(struct agent_client *client, enum frame_type type, const void *payload, size_t size)
{
	int r;

	if (client->state != AGENT_OPEN)
		return -ENOTCONN;
	r = frame_buffer_add(&client->out, type, payload, size);
	if (r == 0)
		agent_flush(client);
	return r;
}

int agent_client_request(struct agent_client *client, json_t *request)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	return text ? agent_client_send(client, FRAME_REQUEST, text, strlen(text)) : -ENOMEM;
}

size_t agent_client_backlog(const struct agent_client *client)
{
	return frame_buffer_size(&client->out);
}

void agent_client_pause(struct agent_client *client, bool pause)
{
	if (client->state != AGENT_OPEN || client->paused == pause)
		return;
	client->paused = pause;
	agent_watch(client);
}
