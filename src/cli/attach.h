/* SPDX-License-Identifier: Apache-2.0 */
/* Being at a box's own standard streams: what run, start -a and attach share. */
#pragma once

#include <stdbool.h>

#include "cli/session.h"
#include "store/box.h"

#define ATTACH_SIG_PROXY_HELP "Pass signals on, without a terminal; the third INT or TERM ends this command only (default true)"

/**
 * struct attach - how to be attached
 * @send_stdin: relay standard input, when the box keeps its own open
 * @hold:	the box waits for us when we are slow, instead of sending us away
 * @pass_signals: as in struct session
 * @keys:	detach keys, NULL: docker's
 */
struct attach {
	bool send_stdin, hold, pass_signals;
	const char *keys;
};

/* A terminal was asked for, with input: ours must be one. EXIT_USAGE otherwise. */
int attach_check_terminal(bool tty, bool send_stdin, struct failure *f);
/* Attach to the box; the socket or -1. Nothing is read or written yet. */
int attach_open(const struct home *home, const struct box_config *config, const struct attach *attach, struct failure *f);
/* Relay until the box ends (its exit code; its monitor has let go of it) or we leave (0). Takes the socket. */
int attach_run(const struct home *home, const struct box_config *config, const struct attach *attach, int fd, struct failure *f);
