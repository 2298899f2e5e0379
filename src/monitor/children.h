/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that the monitor keeps: started with die_with_parent, watched through its pidfd, its stderr kept short.
 *
 * What a child writes to stderr goes into the monitor's log line by line, up to CHILD_LOG_MAX bytes in its life, and the
 * last line is remembered for error sentences. All calls from the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "base/proc.h"

#define CHILD_LOG_MAX (64u << 10)
#define CHILD_LINE_MAX 512

struct child;
/* status as a shell gives it: exit code, or 128 + signal. The child is already reaped; it may be started again in here. */
typedef void (*child_ended_fn)(struct child *child, int status);

/**
 * struct child - embedded in its owner
 * @pid:	0 when not running
 * @last:	last whole line of stderr, "" when there was none
 */
struct child {
	const char *name;
	struct loop *loop;
	pid_t pid;
	int pidfd, stderr_fd;
	struct loop_io exit_io, stderr_io;
	char line[CHILD_LINE_MAX], last[CHILD_LINE_MAX];
	size_t line_size, logged;
	child_ended_fn ended;
};
#define CHILD_NULL { .pidfd = -1, .stderr_fd = -1, .exit_io = LOOP_IO_NULL, .stderr_io = LOOP_IO_NULL }

/* Start it; spec->stderr_fd and spec->die_with_parent are filled in. 0 or a negative errno, that of execve included. */
int child_start(struct child *child, struct loop *loop, const char *name, struct proc_spec *spec, child_ended_fn ended);
void child_signal(struct child *child, int signal);
/* SIGKILL and reap; ended() is not called. Fine on one that does not run. */
void child_end(struct child *child);
