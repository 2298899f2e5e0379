/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "start.h"

void start_close(struct start *start)
{
	loop_io_remove(&start->io);
	start->fd = close_fd(start->fd);
	frame_buffer_deinit(&start->in);
	frame_buffer_deinit(&start->out);
}

static void start_take(struct start *start, const uint8_t *payload, size_t size)
{
	_cleanup_json_ json_t *request = json_loadb((const char *)payload, size, 0, NULL);
	const char *op = json_str(request, "op", "");

	if (strcmp(op, "go") == 0 && !start->gone_ahead) {
		start->gone_ahead = true;
		start->remove = json_flag(request, "remove", false);
		start->handlers->go(start);
	} else if (strcmp(op, "commit") == 0) {
		start->committed = true;
		start_close(start);
	}
}

static void start_on_io(struct loop_io *io, uint32_t events)
{
	struct start *start = container_of(io, struct start, io);
	enum frame_type type;
	const uint8_t *payload;
	size_t size;
	int r;

	if (events & EPOLLOUT && frame_buffer_send(&start->out, start->fd) == 0)
		loop_io_set(&start->io, EPOLLIN);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	r = frame_buffer_receive(&start->in, start->fd);
	if (r == -EAGAIN)
		return;
	while (start->fd >= 0 && frame_buffer_next(&start->in, &type, &payload, &size) == 1)
		if (type == FRAME_REQUEST)
			start_take(start, payload, size);
	if (r <= 0 && start->fd >= 0) {
		start_close(start);
		start->handlers->abandoned(start);
	}
}

int start_open(struct start *start, struct loop *loop, int fd, const struct start_handlers *handlers)
{
	int r;

	start->handlers = handlers;
	start->fd = fd;
	r = io_set_nonblock(fd, true);
	if (r == 0)
		r = loop_io_add(loop, &start->io, fd, EPOLLIN, start_on_io);
	if (r < 0)
		start_close(start);
	return r;
}

static void start_send(struct start *start, json_t *message)
{
	_cleanup_json_ json_t *owned = message;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	if (!text || start->fd < 0 || frame_buffer_add(&start->out, FRAME_REPLY, text, strlen(text)) < 0)
		return;
	if (frame_buffer_send(&start->out, start->fd) == -EAGAIN)
		loop_io_set(&start->io, EPOLLIN | EPOLLOUT);
}

void start_tell(struct start *start, const char *event)
{
	start_send(start, json_pack("{s:s}", "event", event));
}

void start_tell_failure(struct start *start, const struct failure *failure)
{
	start_send(start, json_pack("{s:s,s:s,s:i}", "event", "failed", "error", failure->text, "code", failure->code));
}
