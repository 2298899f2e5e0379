/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection from the host: requests and replies, or the streams of a process (include/a3s/agent.h).
 *
 * A conversation takes any stream socket. Memory is bounded: what a process prints is read only while less than
 * CONVERSATION_BACKLOG waits for the host, and what the host sends only when the process has taken what came before.
 */
#pragma once

#include <stdbool.h>

#include "a3s/agent.h"
#include "base/frame.h"
#include "base/loop.h"
#include "guest/process.h"

#define CONVERSATION_BACKLOG (256u << 10)

struct agent;

enum conversation_state {
	CONVERSATION_IDLE,     /* waits for a request */
	CONVERSATION_STARTING, /* its process is being set up: no reply yet */
	CONVERSATION_STREAMING, /* streams of a process, until FRAME_EXIT */
	CONVERSATION_CLOSING,  /* the last bytes are on their way */
	CONVERSATION_CLOSED,   /* they have gone: wait for the host to close */
};

/**
 * struct stream - one output of a process
 * @type:	FRAME_STDOUT or FRAME_STDERR
 * @left:	after the end of the process: how much more is read, at most what a pipe can hold
 */
struct stream {
	struct loop_io io;
	enum frame_type type;
	bool done;
	size_t left;
};

struct conversation {
	struct agent *agent;
	enum agent_port port;
	enum conversation_state state;
	int fd;
	struct loop_io io, setup_io, stdin_io;
	struct stream out, err;
	struct frame_buffer received, sending;
	struct process *process;
	const uint8_t *stdin_data; /* what the process has not taken yet, inside `received` */
	size_t stdin_size;
	bool ended; /* the process has: drain, then FRAME_EXIT */
	struct loop_timer linger;
	struct loop_deferred free;
	struct conversation *next;
};

/* Takes fd, also on failure. 0 or a negative errno. */
int conversation_open(struct agent *agent, enum agent_port port, int fd);
/* Drop it: its exec'd process gets SIGHUP, main lives on. Freed after the present batch of events. */
void conversation_close(struct conversation *c);
/* Its process has ended (process->owner is the conversation). */
void conversation_process_ended(struct conversation *c);
