/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of the box's main process: one ordered reader of its output, and the way in for its input.
 *
 * What is read goes to the log first, then to the owner (for attached clients). The guest is read no faster than both take
 * it: the log writes synchronously, and the owner pauses with streams_hold(). When the vsock device is replaced the connection
 * is lost and taken up again with streams_reattach(); the process lives on meanwhile.
 */
#pragma once

#include "agent_client.h"
#include "log_file.h"

/* Input that may wait for the guest before clients are asked to stop sending. */
#define STREAMS_INPUT_MAX (256u << 10)

enum streams_state {
	STREAMS_IDLE,	 /* input is kept until the process runs */
	STREAMS_OPENING, /* "main" will be asked for, or was */
	STREAMS_RUNNING,
	STREAMS_LOST,	 /* runs, but nobody hears it */
	STREAMS_ENDED,
};

struct streams;

struct streams_handlers {
	void (*started)(struct streams *streams);
	/* The process could not be started: code 125, 126 or 127. */
	void (*refused)(struct streams *streams, int code, const char *error);
	void (*output)(struct streams *streams, enum frame_type type, const uint8_t *data, size_t size);
	/* All output was delivered. */
	void (*ended)(struct streams *streams, int status, bool oom);
	/* The connection went while the process ran; streams_reattach() when there is a device again. */
	void (*lost)(struct streams *streams);
	/* Less than STREAMS_INPUT_MAX waits again. */
	void (*input_room)(struct streams *streams);
};

/**
 * struct streams - embedded in the box
 * @log:	opened by the owner before the start; closed here at the end
 * @early:	input that came before the process ran
 */
struct streams {
	struct loop *loop;
	const struct streams_handlers *handlers;
	enum streams_state state;
	struct agent_client agent;
	struct log_file log;
	struct frame_buffer early;
	json_t *request;
	bool oom, full;
};
#define STREAMS_NULL { .agent = AGENT_CLIENT_NULL, .log = LOG_FILE_NULL }

/* Ask the agent for the main process. Takes request (the "main" object). tty picks the agent's port. */
void streams_start(struct streams *streams, struct loop *loop, const char *agent_path, bool tty, json_t *request,
		   const struct streams_handlers *handlers);
void streams_reattach(struct streams *streams);
/* FRAME_STDIN, FRAME_RESIZE or FRAME_SIGNAL for the process. */
void streams_send(struct streams *streams, enum frame_type type, const void *payload, size_t size);
void streams_signal(struct streams *streams, int signal);
/* More than STREAMS_INPUT_MAX waits: send no more input until input_room(). */
bool streams_is_full(const struct streams *streams);
/* Read no more output until released. */
void streams_hold(struct streams *streams, bool hold);
void streams_close(struct streams *streams);
