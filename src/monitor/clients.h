/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's side of monitor.sock (control.h): listening, requests, and the clients attached to the main process.
 *
 * A client is one connection with one request. At most CLIENTS_MAX at a time. Output is copied to each attached client's own
 * buffer: one that does not read is dropped with FRAME_DETACH at CLIENT_BACKLOG_MAX, unless it asked "wait", which makes
 * clients_hold() true instead. From the loop's thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/loop.h"

#define CLIENTS_MAX 256u
#define CLIENT_BACKLOG_MAX (1u << 20)
/* A waiting client holds the box above this, and lets it go on at a quarter of it. */
#define CLIENT_HOLD_AT (256u << 10)

struct client;
struct clients;

struct clients_handlers {
	/* A request other than "attach"; answer with client_reply(), now or when the box is down (client_wait()). */
	void (*request)(struct clients *clients, struct client *client, const char *op, const json_t *request);
	/* FRAME_STDIN, FRAME_RESIZE, FRAME_SIGNAL of an attached client; STDIN only when it asked for it. */
	void (*input)(struct clients *clients, enum frame_type type, const uint8_t *payload, size_t size);
	/* An attached client with stdin is gone without having closed it. */
	void (*input_lost)(struct clients *clients);
	/* clients_hold() changed. */
	void (*hold)(struct clients *clients, bool hold);
	/* After clients_finish(): the last one was told and is gone. */
	void (*empty)(struct clients *clients);
};

struct clients {
	struct loop *loop;
	const struct clients_handlers *handlers;
	int fd;
	struct loop_io io;
	struct client *first, *gone;
	struct loop_timer pause;
	struct loop_deferred reap;
	unsigned n;
	bool holding, input_held, finished;
};
#define CLIENTS_NULL { .fd = -1, .io = LOOP_IO_NULL, .pause = LOOP_TIMER_NULL }

/* Listen; path is made with mode 0600. 0 or a negative errno. */
int clients_open(struct clients *clients, struct loop *loop, const char *path, const struct clients_handlers *handlers);
/* Everybody is dropped. */
void clients_close(struct clients *clients);

/* One reply, after which the connection is closed. Takes reply. */
void client_reply(struct client *client, json_t *reply);
void client_reply_error(struct client *client, const char *error, int code);
/* Answered by clients_tell_stats(). */
void client_wait_stats(struct client *client);
/* stats (borrowed) for all who wait for them; NULL: there are none. */
void clients_tell_stats(struct clients *clients, json_t *stats);
/* Answer {"ok":true,"exit_code":N} when the box is down. */
void client_wait(struct client *client);

/* Output of the main process, for all that are attached. */
void clients_output(struct clients *clients, enum frame_type type, const uint8_t *data, size_t size);
/* Take no more input from clients, or go on. */
void clients_hold_input(struct clients *clients, bool hold);
/* The box is down: FRAME_EXIT to the attached, replies to those who wait, no new ones. empty() follows. */
void clients_finish(struct clients *clients, int exit_code);
/* The box never ran: attached and waiting clients hear the sentence. empty() follows. */
void clients_fail(struct clients *clients, const char *error, int code);
