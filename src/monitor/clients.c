/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/wire.h"
#include "clients.h"

/* Once the box is down, whoever does not read gets this long before the monitor leaves. A foreground run has all the time. */
#define CLIENT_LINGER_MS 5000

#define ACCEPT_PAUSE_MS 200

enum client_kind {
	CLIENT_NEW,	 /* request to come */
	CLIENT_ASKED,	 /* the owner will answer */
	CLIENT_WAITING,	 /* for the box to be down */
	CLIENT_STATS,	 /* for figures */
	CLIENT_ATTACHED,
	CLIENT_LEAVING,	 /* gone when its buffer is sent */
	CLIENT_GONE,
};

struct client {
	struct client *next;
	struct clients *owner;
	enum client_kind kind;
	int fd;
	struct loop_io io;
	struct loop_timer linger;
	struct frame_buffer in, out;
	bool wants_input, closed_input, waits;
};

static void clients_update_hold(struct clients *clients)
{
	bool hold = false;

	for (struct client *c = clients->first; c; c = c->next) {
		size_t limit = clients->holding ? CLIENT_HOLD_AT / 4 : CLIENT_HOLD_AT;

		hold |= c->kind == CLIENT_ATTACHED && c->waits && frame_buffer_size(&c->out) > limit;
	}
	if (hold != clients->holding) {
		clients->holding = hold;
		clients->handlers->hold(clients, hold);
	}
}

/* Clients are freed after the batch of events: the loop may still hold one for them. */
static void clients_reap(struct loop_deferred *deferred)
{
	struct clients *clients = container_of(deferred, struct clients, reap);
	struct client *client;

	while ((client = clients->gone)) {
		clients->gone = client->next;
		free(client);
	}
	if (clients->finished && !clients->first)
		clients->handlers->empty(clients);
}

static void client_drop(struct client *client)
{
	struct clients *clients = client->owner;
	bool lost_input = client->kind == CLIENT_ATTACHED && client->wants_input && !client->closed_input;
	struct client **p;

	if (client->kind == CLIENT_GONE)
		return;
	client->kind = CLIENT_GONE;
	loop_io_remove(&client->io);
	loop_timer_cancel(&client->linger);
	client->fd = close_fd(client->fd);
	frame_buffer_deinit(&client->in);
	frame_buffer_deinit(&client->out);
	for (p = &clients->first; *p != client; p = &(*p)->next)
		;
	*p = client->next;
	client->next = clients->gone;
	clients->gone = client;
	clients->n--;
	loop_defer(clients->loop, &clients->reap, clients_reap);
	clients_update_hold(clients);
	if (lost_input && !clients->finished)
		clients->handlers->input_lost(clients);
}

static void client_watch(struct client *client)
{
	bool held = client->kind == CLIENT_ATTACHED && client->wants_input && client->owner->input_held;
	uint32_t events = held || client->kind == CLIENT_LEAVING ? 0 : EPOLLIN;

	if (frame_buffer_size(&client->out))
		events |= EPOLLOUT;
	loop_io_set(&client->io, events);
}

static void client_flush(struct client *client)
{
	int r = frame_buffer_send(&client->out, client->fd);

	if ((r == 0 && client->kind == CLIENT_LEAVING) || (r < 0 && r != -EAGAIN))
		client_drop(client);
	else
		client_watch(client);
}

static void client_send(struct client *client, enum frame_type type, const void *payload, size_t size)
{
	if (frame_buffer_add(&client->out, type, payload, size) < 0)
		client_drop(client);
	else
		client_flush(client);
}

static void client_on_linger(struct loop_timer *timer)
{
	client_drop(container_of(timer, struct client, linger));
}

/* Send this last frame, then close. */
static void client_send_last(struct client *client, enum frame_type type, const void *payload, size_t size)
{
	if (client->kind == CLIENT_GONE || client->kind == CLIENT_LEAVING)
		return;
	client->kind = CLIENT_LEAVING;
	if (!client->waits)
		loop_timer_set(client->owner->loop, &client->linger, CLIENT_LINGER_MS, client_on_linger);
	client_send(client, type, payload, size);
}

void client_reply(struct client *client, json_t *reply)
{
	_cleanup_json_ json_t *owned = reply;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	if (text)
		client_send_last(client, FRAME_REPLY, text, strlen(text));
	else
		client_drop(client);
}

void client_reply_error(struct client *client, const char *error, int code)
{
	client_reply(client, json_pack("{s:b,s:s,s:i}", "ok", 0, "error", error, "code", code));
}

void client_wait(struct client *client)
{
	client->kind = CLIENT_WAITING;
}

void client_wait_stats(struct client *client)
{
	client->kind = CLIENT_STATS;
}

void clients_tell_stats(struct clients *clients, json_t *stats)
{
	struct client *next;

	for (struct client *c = clients->first; c; c = next) {
		next = c->next;
		if (c->kind != CLIENT_STATS)
			continue;
		if (stats)
			client_reply(c, json_pack("{s:b,s:O}", "ok", 1, "stats", stats));
		else
			client_reply_error(c, "there are no figures now", 1);
	}
}

static void client_attach(struct client *client, const json_t *request)
{
	static const char ok[] = "{\"ok\":true}";

	client->kind = CLIENT_ATTACHED;
	client->wants_input = json_flag(request, "stdin", false);
	client->waits = json_flag(request, "wait", false);
	client_send(client, FRAME_REPLY, ok, sizeof(ok) - 1);
}

static void client_take_request(struct client *client, const uint8_t *payload, size_t size)
{
	_cleanup_json_ json_t *request = json_loadb((const char *)payload, size, 0, NULL);
	const char *op = json_str(request, "op", NULL);

	client->kind = CLIENT_ASKED;
	if (!op)
		client_reply_error(client, "malformed request", 125);
	else if (strcmp(op, "attach") == 0)
		client_attach(client, request);
	else
		client->owner->handlers->request(client->owner, client, op, request);
}

static void client_take_input(struct client *client, enum frame_type type, const uint8_t *payload, size_t size)
{
	if (type == FRAME_DETACH) {
		client->closed_input = true;
		client_drop(client);
		return;
	}
	if (type == FRAME_STDIN && (!client->wants_input || client->closed_input))
		return;
	if (type == FRAME_STDIN && size == 0)
		client->closed_input = true;
	if (type == FRAME_STDIN || type == FRAME_RESIZE || type == FRAME_SIGNAL)
		client->owner->handlers->input(client->owner, type, payload, size);
}

static void client_take_frames(struct client *client)
{
	enum frame_type type;
	const uint8_t *payload;
	size_t size;
	int r = 0;

	while (client->kind != CLIENT_GONE && client->kind != CLIENT_LEAVING &&
	       (r = frame_buffer_next(&client->in, &type, &payload, &size)) == 1) {
		if (client->kind == CLIENT_NEW && type == FRAME_REQUEST)
			client_take_request(client, payload, size);
		else if (client->kind == CLIENT_ATTACHED)
			client_take_input(client, type, payload, size);
		else
			r = -EBADMSG;
		if (r < 0)
			break;
	}
	if (r < 0)
		client_drop(client);
}

static void client_on_io(struct loop_io *io, uint32_t events)
{
	struct client *client = container_of(io, struct client, io);
	int r;

	if (events & EPOLLOUT) {
		client_flush(client);
		clients_update_hold(client->owner);
	}
	if (client->kind == CLIENT_GONE || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	r = frame_buffer_receive(&client->in, client->fd);
	if (r > 0)
		client_take_frames(client);
	else if (r != -EAGAIN)
		client_drop(client);
}

static void clients_on_pause(struct loop_timer *timer)
{
	struct clients *clients = container_of(timer, struct clients, pause);

	if (clients->fd >= 0)
		loop_io_set(&clients->io, EPOLLIN);
}

/* Out of fds or memory: the caller stays in the queue, and would wake us again at once. */
static void clients_pause(struct clients *clients)
{
	loop_io_set(&clients->io, 0);
	loop_timer_set(clients->loop, &clients->pause, ACCEPT_PAUSE_MS, clients_on_pause);
}

static void clients_on_connection(struct loop_io *io, uint32_t events)
{
	struct clients *clients = container_of(io, struct clients, io);
	_cleanup_close_ int fd = accept4(clients->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *client;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
		clients_pause(clients);
	if (fd < 0 || clients->n == CLIENTS_MAX)
		return;
	client = calloc(1, sizeof(*client));
	if (!client)
		return;
	*client = (struct client){ .owner = clients, .io = LOOP_IO_NULL, .linger = LOOP_TIMER_NULL, .next = clients->first };
	if (loop_io_add(clients->loop, &client->io, fd, EPOLLIN, client_on_io) < 0) {
		free(client);
		return;
	}
	client->fd = take_fd(&fd);
	clients->first = client;
	clients->n++;
}

int clients_open(struct clients *clients, struct loop *loop, const char *path, const struct clients_handlers *handlers)
{
	int r;

	clients->loop = loop;
	clients->handlers = handlers;
	clients->fd = io_unix_listen(path, 0600);
	if (clients->fd < 0)
		return clients->fd;
	r = io_set_nonblock(clients->fd, true);
	return r < 0 ? r : loop_io_add(loop, &clients->io, clients->fd, EPOLLIN, clients_on_connection);
}

static void clients_stop_listening(struct clients *clients)
{
	loop_io_remove(&clients->io);
	loop_timer_cancel(&clients->pause);
	clients->fd = close_fd(clients->fd);
}

void clients_close(struct clients *clients)
{
	clients->finished = true;
	clients_stop_listening(clients);
	while (clients->first)
		client_drop(clients->first);
	clients->finished = false; /* the deferred reaping calls nobody */
}

void clients_output(struct clients *clients, enum frame_type type, const uint8_t *data, size_t size)
{
	struct client *next;

	for (struct client *c = clients->first; c; c = next) {
		next = c->next;
		if (c->kind != CLIENT_ATTACHED)
			continue;
		if (!c->waits && frame_buffer_size(&c->out) + size > CLIENT_BACKLOG_MAX)
			client_send_last(c, FRAME_DETACH, NULL, 0);
		else
			client_send(c, type, data, size);
	}
	clients_update_hold(clients);
}

void clients_hold_input(struct clients *clients, bool hold)
{
	clients->input_held = hold;
	for (struct client *c = clients->first; c; c = c->next)
		if (c->kind == CLIENT_ATTACHED)
			client_watch(c);
}

static void clients_end(struct clients *clients)
{
	clients->finished = true;
	clients_stop_listening(clients);
	loop_defer(clients->loop, &clients->reap, clients_reap);
}

void clients_finish(struct clients *clients, int exit_code)
{
	uint8_t status[4];
	struct wire w = wire_writer(status, sizeof(status));
	struct client *next;

	wire_put_le32(&w, (uint32_t)exit_code);
	clients_end(clients);
	for (struct client *c = clients->first; c; c = next) {
		next = c->next;
		if (c->kind == CLIENT_ATTACHED)
			client_send_last(c, FRAME_EXIT, status, sizeof(status));
		else if (c->kind == CLIENT_WAITING)
			client_reply(c, json_pack("{s:b,s:i}", "ok", 1, "exit_code", exit_code));
		else if (c->kind != CLIENT_LEAVING)
			client_drop(c);
	}
}

void clients_fail(struct clients *clients, const char *error, int code)
{
	struct client *next;

	clients_end(clients);
	for (struct client *c = clients->first; c; c = next) {
		next = c->next;
		if (c->kind == CLIENT_ATTACHED || c->kind == CLIENT_WAITING)
			client_reply_error(c, error, code);
		else if (c->kind != CLIENT_LEAVING)
			client_drop(c);
	}
}
