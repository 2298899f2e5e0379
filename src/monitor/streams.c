/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "a3s/agent.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/wire.h"
#include "streams.h"

static struct streams *streams_of(struct agent_client *client)
{
	return container_of(client, struct streams, agent);
}

static void streams_on_opened(struct agent_client *client)
{
	struct streams *s = streams_of(client);
	json_t *request = s->state == STREAMS_LOST ? json_pack("{s:s}", "op", "attach") : json_incref(s->request);

	if (agent_client_request(client, request) < 0)
		log_warn("cannot ask the guest for the main process");
}

static void streams_tell_room(struct streams *s)
{
	if (s->full && !streams_is_full(s)) {
		s->full = false;
		s->handlers->input_room(s);
	}
}

static void streams_pass_early_input(struct streams *s)
{
	enum frame_type type;
	const uint8_t *payload;
	size_t size;

	while (frame_buffer_next(&s->early, &type, &payload, &size) == 1)
		agent_client_send(&s->agent, type, payload, size);
	frame_buffer_deinit(&s->early);
}

/* Replies: to "main" or "attach", or the note that the kernel killed the process for memory. */
static void streams_take_reply(struct streams *s, const uint8_t *payload, size_t size)
{
	_cleanup_json_ json_t *reply = json_loadb((const char *)payload, size, 0, NULL);
	bool first = s->state == STREAMS_OPENING, again = s->state == STREAMS_LOST;

	if (s->state == STREAMS_RUNNING) {
		s->oom |= json_flag(reply, "oom", false);
	} else if ((first || again) && json_flag(reply, "ok", false)) {
		s->state = STREAMS_RUNNING;
		streams_pass_early_input(s);
		if (first)
			s->handlers->started(s);
		streams_tell_room(s); /* the socket may have taken all at once: then nothing is ever drained */
	} else if (first) {
		s->handlers->refused(s, (int)json_int(reply, "code", 125), json_str(reply, "error", "the guest's answer is malformed"));
	} else if (again) {
		log_warn("main process cannot be heard any more: %s", json_str(reply, "error", "no reason given"));
		agent_client_close(&s->agent);
	}
}

static void streams_take_output(struct streams *s, enum frame_type type, const uint8_t *data, size_t size)
{
	enum log_stream stream = type == FRAME_STDOUT ? LOG_STDOUT : LOG_STDERR;

	if (size)
		log_file_add(&s->log, stream, data, size);
	else
		log_file_end(&s->log, stream);
	s->handlers->output(s, type, data, size);
}

static void streams_take_exit(struct streams *s, const uint8_t *payload, size_t size)
{
	struct wire w = wire_reader(payload, size);
	uint32_t status = wire_le32(&w);

	s->state = STREAMS_ENDED;
	log_file_close(&s->log);
	agent_client_close(&s->agent);
	s->handlers->ended(s, w.bad || status > 255 ? 255 : (int)status, s->oom);
}

static void streams_on_frame(struct agent_client *client, enum frame_type type, const uint8_t *payload, size_t size)
{
	struct streams *s = streams_of(client);
	bool data = type == FRAME_STDOUT || type == FRAME_STDERR;

	if (type == FRAME_REPLY)
		streams_take_reply(s, payload, size);
	else if (s->state == STREAMS_RUNNING && data)
		streams_take_output(s, type, payload, size);
	else if (s->state == STREAMS_RUNNING && type == FRAME_EXIT)
		streams_take_exit(s, payload, size);
}

static void streams_on_batch_end(struct agent_client *client)
{
	log_file_flush(&streams_of(client)->log);
}

static void streams_on_drained(struct agent_client *client)
{
	streams_tell_room(streams_of(client));
}

static void streams_on_lost(struct agent_client *client)
{
	struct streams *s = streams_of(client);

	if (s->state == STREAMS_RUNNING)
		s->state = STREAMS_LOST;
	s->handlers->lost(s);
}

static const struct agent_handlers streams_agent_handlers = {
	.opened = streams_on_opened,
	.frame = streams_on_frame,
	.batch_end = streams_on_batch_end,
	.drained = streams_on_drained,
	.lost = streams_on_lost,
};

void streams_start(struct streams *s, struct loop *loop, const char *agent_path, bool tty, json_t *request,
		   const struct streams_handlers *handlers)
{
	s->loop = loop;
	s->handlers = handlers;
	s->request = request;
	s->state = STREAMS_OPENING;
	agent_client_open(&s->agent, loop, agent_path, tty ? AGENT_PORT_TERMINAL : AGENT_PORT_EXEC, &streams_agent_handlers);
}

void streams_reattach(struct streams *s)
{
	if (s->state == STREAMS_LOST || s->state == STREAMS_OPENING)
		agent_client_open(&s->agent, s->loop, s->agent.path, s->agent.port, &streams_agent_handlers);
}

void streams_send(struct streams *s, enum frame_type type, const void *payload, size_t size)
{
	if (s->state == STREAMS_RUNNING)
		agent_client_send(&s->agent, type, payload, size);
	else if (s->state != STREAMS_ENDED)
		frame_buffer_add(&s->early, type, payload, size);
	s->full = streams_is_full(s);
}

void streams_signal(struct streams *s, int signal)
{
	uint8_t payload[FRAME_NUMBERS];

	frame_pack_signal(payload, (uint32_t)signal);
	streams_send(s, FRAME_SIGNAL, payload, sizeof(payload));
}

bool streams_is_full(const struct streams *s)
{
	return agent_client_backlog(&s->agent) + frame_buffer_size(&s->early) > STREAMS_INPUT_MAX;
}

void streams_hold(struct streams *s, bool hold)
{
	agent_client_pause(&s->agent, hold);
}

void streams_close(struct streams *s)
{
	agent_client_close(&s->agent);
	log_file_close(&s->log);
	frame_buffer_deinit(&s->early);
	json_decref(s->request);
	s->request = NULL;
}
