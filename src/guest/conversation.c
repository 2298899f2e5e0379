/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes flow:
 *
 *	host --received--> stdin_data --> process->in_fd
 *	host <--sending--- stream     <-- process->out_fd, err_fd
 *
 * Each arrow stops its source when it cannot go on: while stdin_data is not empty nothing more is received, and while
 * `sending` holds CONVERSATION_BACKLOG nothing more is read from the process, which then blocks on its pipe. That is also
 * why a signal for main has a way of its own (op "signal"): behind standard input that nobody reads it would wait for ever.
 *
 * The end: a process has ended when it was reaped, whoever may still hold its pipes. What a pipe holds at that moment is
 * sent (it can be no more than the pipe's size), then the two ends of file, then FRAME_EXIT.
 */
#include "guest/conversation.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/wire.h"
#include "guest/agent.h"
#include "guest/terminal.h"

#define TERMINAL_HOLDS (128u << 10) /* an upper limit of what a terminal holds for its master */
#define SIGNAL_LAST 64
#define LINGER_MS 5000

static void update_events(struct conversation *c);
static bool send_frame(struct conversation *c, enum frame_type type, const void *payload, size_t size);

static void free_now(struct loop_deferred *deferred)
{
	struct conversation *c = container_of(deferred, struct conversation, free);

	frame_buffer_deinit(&c->received);
	frame_buffer_deinit(&c->sending);
	free(c);
}

/*
 * A connection that is lost may be seen only when it refuses what was read from main already. What vsock has taken is gone;
 * a frame of which it has taken a part is, too.
 */
static void keep_unsent(struct conversation *c, struct process *p)
{
	if (c->state != CONVERSATION_STREAMING || c->sending.start > 0)
		return;
	frame_buffer_deinit(&p->unsent);
	p->unsent = c->sending;
	c->sending = (struct frame_buffer){ 0 };
}

static bool send_unsent(struct conversation *c)
{
	struct frame_buffer unsent = c->process->unsent;
	enum frame_type type;
	const uint8_t *data;
	size_t size;
	bool r = true;

	c->process->unsent = (struct frame_buffer){ 0 };
	while (r && frame_buffer_next(&unsent, &type, &data, &size) == 1)
		if (size && (type == FRAME_STDOUT || type == FRAME_STDERR))
			r = send_frame(c, type, data, size);
	frame_buffer_deinit(&unsent);
	return r;
}

/* Let go of the process: an exec'd one is told that its terminal is gone. */
static void leave_process(struct conversation *c)
{
	struct process *p = c->process;

	loop_io_remove(&c->setup_io);
	loop_io_remove(&c->stdin_io);
	loop_io_remove(&c->out.io);
	loop_io_remove(&c->err.io);
	c->process = NULL;
	if (!p)
		return;
	p->owner = NULL;
	if (p->main) {
		keep_unsent(c, p);
		return;
	}
	(void)process_signal(p, SIGHUP);
	process_free(&c->agent->processes, p);
}

void conversation_close(struct conversation *c)
{
	struct conversation **p = &c->agent->conversations;

	if (c->fd < 0)
		return;
	leave_process(c);
	loop_timer_cancel(&c->linger);
	loop_io_remove(&c->io);
	c->fd = close_fd(c->fd);
	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
	c->agent->n_conversations--;
	loop_defer(c->agent->loop, &c->free, free_now);
}

static void on_linger(struct loop_timer *timer)
{
	conversation_close(container_of(timer, struct conversation, linger));
}

/* Send what there is; false when the conversation was closed. */
static bool flush(struct conversation *c)
{
	int r = frame_buffer_send(&c->sending, c->fd);

	if (r < 0 && r != -EAGAIN) {
		conversation_close(c);
		return false;
	}
	/* All said: wait for the host to close, so that nothing of it is lost to a reset; not for ever. */
	if (r == 0 && c->state == CONVERSATION_CLOSING) {
		c->state = CONVERSATION_CLOSED;
		(void)shutdown(c->fd, SHUT_WR);
		loop_timer_set(c->agent->loop, &c->linger, LINGER_MS, on_linger);
	}
	return true;
}

static bool send_frame(struct conversation *c, enum frame_type type, const void *payload, size_t size)
{
	if (frame_buffer_add(&c->sending, type, payload, size) < 0) {
		conversation_close(c);
		return false;
	}
	return true;
}

/* Takes reply. */
static bool send_reply(struct conversation *c, json_t *reply)
{
	_cleanup_free_ char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	if (!text) {
		conversation_close(c);
		return false;
	}
	return send_frame(c, FRAME_REPLY, text, strlen(text));
}

static void refuse(struct conversation *c, const struct failure *f)
{
	c->state = CONVERSATION_CLOSING;
	if (send_reply(c, agent_error(f)) && flush(c))
		update_events(c);
}

static void send_exit(struct conversation *c)
{
	struct process *p = c->process;
	uint8_t status[4];
	struct wire w = wire_writer(status, sizeof(status));

	wire_put_le32(&w, (uint32_t)p->status);
	if (p->oom && !send_reply(c, json_pack("{s:b,s:b}", "ok", 1, "oom", 1)))
		return;
	if (!send_frame(c, FRAME_EXIT, status, sizeof(status)))
		return;
	c->state = CONVERSATION_CLOSING;
	leave_process(c); /* has ended, so nothing is signalled */
	if (flush(c))
		update_events(c);
}

/* One read of an output. False when the conversation was closed. */
static bool pump(struct conversation *c, struct stream *s)
{
	char data[FRAME_DATA_MAX];
	size_t room = c->ended ? MIN(s->left, sizeof(data)) : sizeof(data);
	ssize_t n = room ? read(s->io.fd, data, room) : 0;

	if (n < 0 && (errno == EINTR || (errno == EAGAIN && !c->ended)))
		return true;
	if (n <= 0) { /* the end; EIO on a terminal; EAGAIN after the process */
		loop_io_remove(&s->io);
		s->done = true;
		return send_frame(c, s->type, NULL, 0);
	}
	if (c->ended)
		s->left -= (size_t)n;
	return send_frame(c, s->type, data, (size_t)n);
}

static void finish_if_over(struct conversation *c)
{
	if (c->state == CONVERSATION_STREAMING && c->ended && c->out.done && c->err.done)
		send_exit(c);
	else if (flush(c))
		update_events(c);
}

static void on_output(struct loop_io *io, uint32_t events)
{
	struct stream *s = container_of(io, struct stream, io);
	struct conversation *c = s->type == FRAME_STDOUT ? container_of(s, struct conversation, out)
							 : container_of(s, struct conversation, err);

	if (pump(c, s))
		finish_if_over(c);
}

/* After the end of the process nothing is waited for: read until the pipes are empty or the host is slow. */
static void drain(struct conversation *c)
{
	struct stream *streams[] = { &c->out, &c->err };

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		while (!streams[i]->done && frame_buffer_size(&c->sending) < CONVERSATION_BACKLOG)
			if (!pump(c, streams[i]))
				return;
	finish_if_over(c);
}

static void start_draining(struct conversation *c)
{
	struct stream *streams[] = { &c->out, &c->err };

	c->ended = true;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		int size = streams[i]->done || c->process->tty ? -1 : fcntl(streams[i]->io.fd, F_GETPIPE_SZ);

		streams[i]->left = size > 0 ? (size_t)size : TERMINAL_HOLDS;
	}
	drain(c);
}

void conversation_process_ended(struct conversation *c)
{
	if (c->state == CONVERSATION_STREAMING)
		start_draining(c);
}

static void forget_stdin(struct conversation *c)
{
	loop_io_remove(&c->stdin_io);
	c->process->in_fd = close_fd(c->process->in_fd);
	c->stdin_size = 0;
}

/* Give the process what waits for it. Once it does not listen any more, the rest is thrown away. */
static void feed(struct conversation *c)
{
	while (c->stdin_size && c->process && c->process->in_fd >= 0) {
		ssize_t n = write(c->process->in_fd, c->stdin_data, c->stdin_size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			forget_stdin(c);
			return;
		}
		c->stdin_data += n;
		c->stdin_size -= (size_t)n;
	}
	c->stdin_size = 0;
}

static void take_stdin(struct conversation *c, const uint8_t *data, size_t size)
{
	if (c->process->in_fd < 0)
		return;
	if (size == 0) {
		if (!c->process->tty) /* a terminal has no end of file but ^D, which its user types */
			forget_stdin(c);
		return;
	}
	c->stdin_data = data;
	c->stdin_size = size;
	feed(c);
}

static void take_resize(struct conversation *c, const uint8_t *data, size_t size)
{
	struct wire w = wire_reader(data, size);
	uint16_t columns = wire_le16(&w), rows = wire_le16(&w);

	if (!w.bad && c->process->tty && c->process->out_fd >= 0)
		(void)terminal_resize(c->process->out_fd, columns, rows);
}

static void take_signal(struct conversation *c, const uint8_t *data, size_t size)
{
	struct wire w = wire_reader(data, size);
	uint32_t signal = wire_le32(&w);

	if (!w.bad && signal >= 1 && signal <= SIGNAL_LAST)
		(void)process_signal(c->process, (int)signal);
}

static void watch(struct conversation *c, struct stream *s, enum frame_type type, int fd)
{
	*s = (struct stream){ .io = LOOP_IO_NULL, .type = type, .done = true };
	if (fd < 0)
		return;
	s->done = loop_io_add(c->agent->loop, &s->io, fd, EPOLLIN, on_output) < 0;
}

static void on_stdin_ready(struct loop_io *io, uint32_t events);

/* The process runs: say so, then let its streams flow. */
static void start_streaming(struct conversation *c)
{
	struct process *p = c->process;

	c->state = CONVERSATION_STREAMING;
	p->owner = c;
	watch(c, &c->out, FRAME_STDOUT, p->out_fd);
	watch(c, &c->err, FRAME_STDERR, p->err_fd);
	if (p->in_fd >= 0)
		(void)loop_io_add(c->agent->loop, &c->stdin_io, p->in_fd, 0, on_stdin_ready);
	if (!send_reply(c, json_pack("{s:b,s:i}", "ok", 1, "pid", (int)p->pid)) || !send_unsent(c))
		return;
	if (p->ended)
		start_draining(c);
	else if (flush(c))
		update_events(c);
}

static void on_setup(struct loop_io *io, uint32_t events)
{
	struct conversation *c = container_of(io, struct conversation, setup_io);
	struct failure f = { 0 };
	int r = process_finish_setup(c->process, &f);

	if (r > 0)
		return;
	loop_io_remove(&c->setup_io);
	if (r == 0) {
		start_streaming(c);
		return;
	}
	c->process->owner = NULL;
	c->process = process_free(&c->agent->processes, c->process);
	refuse(c, &f);
}

static void await_setup(struct conversation *c)
{
	c->process->owner = c;
	c->state = CONVERSATION_STARTING;
	if (loop_io_add(c->agent->loop, &c->setup_io, c->process->setup_fd, EPOLLIN, on_setup) < 0)
		conversation_close(c);
}

static int start(struct conversation *c, const json_t *request, bool main, struct failure *f)
{
	struct agent *agent = c->agent;
	const struct process *box = agent->processes.main;
	struct spec spec = SPEC_NULL;
	int r;

	if (agent->processes.isolate && !agent->configured)
		return fail(f, EXIT_FAILED, "the box is not configured yet");
	if (main && agent->main_started)
		return fail(f, EXIT_FAILED, "the box's main process was started already");
	if (!main && agent->processes.isolate && (!box || box->ended))
		return fail(f, EXIT_FAILED, "the box is not running");
	r = spec_from_json(request, agent->hostname, &spec, f);
	if (r == 0 && spec.tty != (c->port == AGENT_PORT_TERMINAL))
		r = fail(f, EXIT_USAGE, "terminals are on port %d, pipes on port %d", AGENT_PORT_TERMINAL, AGENT_PORT_EXEC);
	if (r == 0)
		r = process_start(&agent->processes, &spec, main, &c->process, f);
	spec_deinit(&spec);
	if (r < 0)
		return -1;
	agent->main_started |= main;
	await_setup(c);
	return 0;
}

static int attach(struct conversation *c, struct failure *f)
{
	struct process *p = c->agent->processes.main;

	if (!p)
		return fail(f, EXIT_FAILED, "there is no main process to attach to");
	if (p->owner)
		conversation_close(p->owner); /* the older connection was lost, or is being replaced */
	c->process = p;
	if (p->setup_fd >= 0)
		await_setup(c);
	else
		start_streaming(c);
	return 0;
}

static void begin(struct conversation *c, const json_t *request)
{
	const char *op = json_str(request, "op", "");
	struct failure f = { 0 };
	int r;

	if (c->port == AGENT_PORT_ATTESTATION)
		r = fail(&f, EXIT_FAILED, "this machine has no attestation hardware");
	else if (strcmp(op, "main") == 0 || strcmp(op, "exec") == 0)
		r = start(c, request, *op == 'm', &f);
	else if (strcmp(op, "attach") == 0)
		r = attach(c, &f);
	else
		r = fail(&f, EXIT_USAGE, "unknown request \"%.32s\"", op);
	if (r < 0)
		refuse(c, &f);
}

static void take_request(struct conversation *c, const uint8_t *payload, size_t size)
{
	json_t *request = json_loadb((const char *)payload, size, JSON_REJECT_DUPLICATES, NULL);
	struct failure f = { 0 };

	if (!json_is_object(request)) {
		fail(&f, EXIT_USAGE, "the request is not a JSON object");
		refuse(c, &f);
	} else if (c->port != AGENT_PORT_CONTROL) {
		begin(c, request);
	} else if (send_reply(c, agent_answer(c->agent, request))) {
		(void)flush(c);
	}
	json_decref(request);
}

/* Frames that a running process takes; anything else is the end of the conversation. */
static const struct {
	enum frame_type type;
	void (*take)(struct conversation *c, const uint8_t *data, size_t size);
} stream_frames[] = {
	{ FRAME_STDIN, take_stdin },
	{ FRAME_RESIZE, take_resize },
	{ FRAME_SIGNAL, take_signal },
};

static void take_frame(struct conversation *c, enum frame_type type, const uint8_t *data, size_t size)
{
	if (c->state == CONVERSATION_IDLE && type == FRAME_REQUEST) {
		take_request(c, data, size);
		return;
	}
	for (size_t i = 0; c->state == CONVERSATION_STREAMING && i < ARRAY_SIZE(stream_frames); i++) {
		if (stream_frames[i].type == type) {
			stream_frames[i].take(c, data, size);
			return;
		}
	}
	conversation_close(c);
}

/* Frames are taken while the last one's bytes have found their place, and not while a process is being set up. */
static bool takes_frames(const struct conversation *c)
{
	return c->fd >= 0 && c->stdin_size == 0 && frame_buffer_size(&c->sending) < CONVERSATION_BACKLOG &&
	       (c->state == CONVERSATION_IDLE || c->state == CONVERSATION_STREAMING);
}

static void take_frames(struct conversation *c)
{
	enum frame_type type;
	const uint8_t *data;
	size_t size;

	while (takes_frames(c)) {
		int r = frame_buffer_next(&c->received, &type, &data, &size);

		if (r == 0)
			break;
		if (r < 0)
			conversation_close(c);
		else
			take_frame(c, type, data, size);
	}
	if (c->fd >= 0)
		update_events(c);
}

static void on_stdin_ready(struct loop_io *io, uint32_t events)
{
	struct conversation *c = container_of(io, struct conversation, stdin_io);

	if (c->stdin_size == 0 && (events & (EPOLLERR | EPOLLHUP))) {
		forget_stdin(c); /* the last reader has gone */
		return;
	}
	feed(c);
	take_frames(c);
}

/* What the host still sends after the last frame concerns nobody. */
static void discard(struct conversation *c)
{
	char data[4096];
	ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conversation_close(c);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct conversation *c = container_of(io, struct conversation, io);
	int r;

	if (c->state == CONVERSATION_CLOSED) {
		discard(c);
		return;
	}
	if ((events & EPOLLOUT) && !flush(c))
		return;
	if ((events & EPOLLOUT) && c->ended) {
		drain(c);
		if (c->fd < 0)
			return;
	}
	if (events & EPOLLIN) {
		r = frame_buffer_receive(&c->received, c->fd);
		if (r == 0 || (r < 0 && r != -EAGAIN)) {
			conversation_close(c);
			return;
		}
	} else if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
		conversation_close(c);
		return;
	}
	take_frames(c);
}

static void want(struct loop_io *io, uint32_t events)
{
	if (io->loop)
		(void)loop_io_set(io, events);
}

/* Ask for exactly what can be used now. */
static void update_events(struct conversation *c)
{
	size_t waiting = frame_buffer_size(&c->sending);
	uint32_t output = waiting < CONVERSATION_BACKLOG && !c->ended ? EPOLLIN : 0;

	if (c->fd < 0)
		return;
	want(&c->io, (takes_frames(c) || c->state == CONVERSATION_CLOSED ? EPOLLIN : 0) | (waiting ? EPOLLOUT : 0) | EPOLLRDHUP);
	want(&c->out.io, output);
	want(&c->err.io, output);
	want(&c->stdin_io, c->stdin_size ? EPOLLOUT : 0);
}

int conversation_open(struct agent *agent, enum agent_port port, int fd)
{
	struct conversation *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct conversation){ .agent = agent, .port = port, .fd = fd, .io = LOOP_IO_NULL, .setup_io = LOOP_IO_NULL,
				    .stdin_io = LOOP_IO_NULL, .linger = LOOP_TIMER_NULL, .out.io = LOOP_IO_NULL, .err.io = LOOP_IO_NULL };
	r = loop_io_add(agent->loop, &c->io, fd, EPOLLIN | EPOLLRDHUP, on_socket);
	if (r < 0) {
		close(fd);
		free(c);
		return r;
	}
	c->next = agent->conversations;
	agent->conversations = c;
	agent->n_conversations++;
	return 0;
}
