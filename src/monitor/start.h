/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with the command line that starts a box (control.h, 1). From the loop's thread. */
#pragma once

#include "base/err.h"
#include "base/frame.h"
#include "base/loop.h"

struct start;

struct start_handlers {
	void (*go)(struct start *start);
	/* The command line is gone before "commit": undo everything. */
	void (*abandoned)(struct start *start);
};

/**
 * struct start - embedded in the box
 * @remove:	a start that comes to nothing takes the record along
 * @committed:	the box lives without the command line
 */
struct start {
	const struct start_handlers *handlers;
	int fd;
	struct loop_io io;
	struct frame_buffer in, out;
	bool gone_ahead, remove, committed;
};
#define START_NULL { .fd = -1, .io = LOOP_IO_NULL }

/* Takes fd, also on an error. */
int start_open(struct start *start, struct loop *loop, int fd, const struct start_handlers *handlers);
void start_close(struct start *start);
/* event: "listening" or "started". */
void start_tell(struct start *start, const char *event);
void start_tell_failure(struct start *start, const struct failure *failure);
