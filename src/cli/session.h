/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One conversation between this terminal (or these pipes) and a process in a box: run, start -a, attach, exec.
 *
 * Theory of operation. The socket carries frames (base/frame.h) and is non-blocking; standard input is read only while less
 * than SESSION_BACKLOG waits for the socket, so a process that does not read holds up whoever feeds us, not our memory.
 * Standard output and error are written blocking: a reader that does not read holds up the process, as with any pipe.
 * With a terminal it is raw from session_run()'s beginning to its end, whatever signal ends us (but KILL).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SESSION_BACKLOG (256u << 10)
#define SESSION_KEYS_MAX 16

/**
 * struct session - what to relay
 * @fd:		connected socket, borrowed; the request was answered already
 * @send_stdin:	relay standard input; otherwise the process gets none
 * @tty:	the process has a terminal: make ours raw, pass size changes on, watch for the detach keys
 * @pass_signals: pass on what we get (INT, TERM, HUP, ...) instead of ending by it, but for the third INT or TERM; never with
 *		a terminal
 * @keys, @n_keys: the sequence that detaches; none: there is no way out
 */
struct session {
	int fd;
	bool send_stdin, tty, pass_signals;
	uint8_t keys[SESSION_KEYS_MAX];
	size_t n_keys;
};

enum session_end {
	SESSION_EXITED,	  /* the process ended: its status */
	SESSION_DETACHED, /* by the keys */
	SESSION_DISMISSED, /* by the monitor: we read too slowly */
	SESSION_LOST,	  /* the connection ended without a status */
	SESSION_OUTPUT_CLOSED, /* nobody reads our output any more */
	SESSION_FORCED,	  /* by the third INT or TERM, all of them passed on: whoever sends them wants to be rid of us */
	SESSION_SIGNALED, /* a signal that is not passed on: status 128 + its number */
};

/* "ctrl-p,ctrl-q" -> bytes. EXIT_USAGE at anything else. NULL gives docker's ctrl-p,ctrl-q. */
int session_parse_keys(struct session *session, const char *keys, struct failure *f);
/* Outcome, or -1 and a sentence. */
int session_run(struct session *session, int *ret_status, struct failure *f);
/* Size of our terminal; 0 x 0 when there is none. */
void session_terminal_size(uint16_t *ret_columns, uint16_t *ret_rows);
