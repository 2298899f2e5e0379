/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One conversation with the guest's agent through the box's agent.sock. From the loop's thread.
 *
 * Opening is tried again, after 4 ms at first and 25 ms at last, until it works or the owner closes: a guest that boots has
 * no listener for a while. Back-pressure is the owner's: agent_client_pause() stops reading, agent_client_backlog() says how much
 * was not sent yet.
 */
#pragma once

#include <jansson.h>
#include <limits.h>

#include "base/frame.h"
#include "base/loop.h"

struct agent_client;

/* All may close the client. Payload is valid until the handler returns; JSON frames are not checked yet. */
struct agent_handlers {
	void (*opened)(struct agent_client *client);
	void (*frame)(struct agent_client *client, enum frame_type type, const uint8_t *payload, size_t size);
	/* All frames of one receive were delivered. May be NULL. */
	void (*batch_end)(struct agent_client *client);
	/* The backlog was sent. May be NULL. */
	void (*drained)(struct agent_client *client);
	/* After `opened`: the connection is lost. The client is closed already. */
	void (*lost)(struct agent_client *client);
};

enum agent_client_state { AGENT_CLOSED, AGENT_WAITING, AGENT_GREETING, AGENT_OPEN };

struct agent_client {
	struct loop *loop;
	const struct agent_handlers *handlers;
	enum agent_client_state state;
	char path[PATH_MAX];
	unsigned port;
	int fd, delay_ms;
	bool paused;
	struct loop_io io;
	struct loop_timer retry;
	struct frame_buffer in, out;
};
#define AGENT_CLIENT_NULL { .fd = -1, .io = LOOP_IO_NULL, .retry = LOOP_TIMER_NULL }

/* Start trying. Closes what was open before. path may be client->path. */
void agent_client_open(struct agent_client *client, struct loop *loop, const char *path, unsigned port,
		       const struct agent_handlers *handlers);
void agent_client_close(struct agent_client *client);
/* Queue a frame and send what is possible. 0, -ENOTCONN, -ENOMEM. */
int agent_client_send(struct agent_client *client, enum frame_type type, const void *payload, size_t size);
/* The same with a JSON object; takes it. */
int agent_client_request(struct agent_client *client, json_t *request);
size_t agent_client_backlog(const struct agent_client *client);
void agent_client_pause(struct agent_client *client, bool pause);
