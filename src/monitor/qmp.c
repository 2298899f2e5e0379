/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "qmp.h"

/* The longest line of QEMU's that we ever ask for is far below; more is taken for a fault. */
#define QMP_LINE_MAX (256u << 10)

struct qmp_command {
	struct qmp_command *next;
	char *name, *text;
	int fd;
	qmp_reply_fn fn;
};

static void qmp_command_free(struct qmp_command *command)
{
	close_fd(command->fd);
	free(command->name);
	free(command->text);
	free(command);
}

static void qmp_lose(struct qmp *qmp)
{
	void (*closed)(struct qmp *qmp) = qmp->closed;

	qmp_close(qmp);
	if (closed)
		closed(qmp);
}

/*
 * A command is far smaller than a socket's buffer and only one is under way, so a full buffer means a QEMU gone wrong.
 * The loop then sees the end of the connection: callers of qmp_execute() are not called back from within.
 */
static void qmp_send_next(struct qmp *qmp)
{
	struct qmp_command *command = qmp->first;
	size_t size;

	if (qmp->sent || !command)
		return;
	size = strlen(command->text);
	if (io_send_fds(qmp->fd, command->text, size, &command->fd, command->fd >= 0 ? 1 : 0) != (ssize_t)size) {
		shutdown(qmp->fd, SHUT_RDWR);
		return;
	}
	command->fd = close_fd(command->fd);
	qmp->sent = true;
}

static void qmp_take_reply(struct qmp *qmp, const json_t *message)
{
	struct qmp_command *command = qmp->first;
	const json_t *error = json_object_get(message, "error");

	if (!qmp->sent || !command)
		return;
	qmp->first = command->next;
	if (!qmp->first)
		qmp->last = NULL;
	qmp->sent = false;
	if (command->fn)
		command->fn(qmp, command->name, json_object_get(message, "return"),
			    error ? json_str(error, "desc", "no reason given") : NULL);
	qmp_command_free(command);
	if (qmp->fd >= 0)
		qmp_send_next(qmp);
}

static void qmp_take_message(struct qmp *qmp, const json_t *message)
{
	const char *event = json_str(message, "event", NULL);

	if (event)
		qmp->event(qmp, event, json_object_get(message, "data"));
	else if (json_object_get(message, "return") || json_object_get(message, "error"))
		qmp_take_reply(qmp, message);
}

/* Handlers may close the connection: then `in` is gone and the loop ends. */
static int qmp_take_lines(struct qmp *qmp)
{
	char *end;

	while (qmp->fd >= 0 && (end = memchr(qmp->in, '\n', qmp->in_size))) {
		size_t size = (size_t)(end - qmp->in) + 1;
		_cleanup_json_ json_t *message = json_loadb(qmp->in, size, JSON_ALLOW_NUL, NULL);

		if (!message)
			return -EBADMSG;
		memmove(qmp->in, qmp->in + size, qmp->in_size - size);
		qmp->in_size -= size;
		qmp_take_message(qmp, message);
	}
	return 0;
}

static void qmp_on_io(struct loop_io *io, uint32_t events)
{
	struct qmp *qmp = container_of(io, struct qmp, io);
	char *bigger = qmp->in_size > QMP_LINE_MAX ? NULL : realloc(qmp->in, qmp->in_size + 4096);
	ssize_t n;

	if (!bigger) {
		qmp_lose(qmp);
		return;
	}
	qmp->in = bigger;
	n = recv(qmp->fd, qmp->in + qmp->in_size, 4096, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		qmp->in_size += (size_t)n;
	if (n <= 0 || qmp_take_lines(qmp) < 0)
		qmp_lose(qmp);
}

int qmp_open(struct qmp *qmp, struct loop *loop, int fd)
{
	int r;

	qmp->fd = fd;
	r = loop_io_add(loop, &qmp->io, fd, EPOLLIN, qmp_on_io);
	if (r == 0)
		r = qmp_execute(qmp, "qmp_capabilities", NULL, -1, NULL);
	if (r < 0)
		qmp_close(qmp);
	return r;
}

void qmp_close(struct qmp *qmp)
{
	struct qmp_command *command;

	loop_io_remove(&qmp->io);
	qmp->fd = close_fd(qmp->fd);
	while ((command = qmp->first)) {
		qmp->first = command->next;
		qmp_command_free(command);
	}
	qmp->last = NULL;
	qmp->sent = false;
	free(take_ptr(qmp->in));
	qmp->in_size = 0;
}

static char *qmp_format(const char *name, json_t *arguments)
{
	_cleanup_json_ json_t *body = arguments ? json_pack("{s:s,s:O}", "execute", name, "arguments", arguments)
						: json_pack("{s:s}", "execute", name);

	return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

int qmp_execute(struct qmp *qmp, const char *name, json_t *arguments, int fd, qmp_reply_fn fn)
{
	_cleanup_json_ json_t *owned = arguments;
	struct qmp_command *command = calloc(1, sizeof(*command));

	if (!command || qmp->fd < 0) {
		int r = command ? -ENOTCONN : -ENOMEM;

		free(command);
		close_fd(fd);
		return r;
	}
	command->fd = fd;
	command->fn = fn;
	command->name = strdup(name);
	command->text = qmp_format(name, owned);
	if (!command->name || !command->text) {
		qmp_command_free(command);
		return -ENOMEM;
	}
	if (qmp->last)
		qmp->last->next = command;
	else
		qmp->first = command;
	qmp->last = command;
	qmp_send_next(qmp);
	return 0;
}
