/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of the box.
 *
 * The first one ("main") gets a PID and a mount namespace of its own, in which it is PID 1 (or its reaper is); the later
 * ones join these. Init stays outside, is their parent and reaps them. A process that could not be started says why: it
 * keeps a socket to init that closes by itself at execve, and writes its reason there before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/frame.h"
#include "guest/mounts.h"
#include "guest/spec.h"

/**
 * struct process - one process started by the agent
 * @pid:	as init sees it
 * @setup_fd:	readable until process_finish_setup() has said how the start went; -1 afterwards
 * @in_fd, @out_fd, @err_fd: init's ends, non-blocking, -1 when there is none; on a terminal in_fd and out_fd are its master
 * @ended:	reaped; @status is valid: exit code, or 128 + signal
 * @oom:	killed by the kernel for want of memory
 * @owner:	whoever wants to hear of its end, NULL: nobody
 */
struct process {
	pid_t pid;
	int setup_fd;
	int in_fd, out_fd, err_fd;
	bool tty, main, ended, oom;
	int status;
	void *owner;
	struct frame_buffer unsent; /* main's output that a lost connection did not take, for the next */
	struct process *next;
};

/**
 * struct process_table - everything started and not yet freed
 * @isolate:	give the box its own namespaces; off in unit tests only
 * @plan:	borrowed
 * @main:	the box's first process, until freed
 * @pid_ns:	PID namespace of the box, and init's own; -1 before main is started
 */
struct process_table {
	bool isolate;
	const struct mounts_plan *plan;
	struct process *list, *main;
	int pid_ns, own_pid_ns;
	uint64_t oom_kills;
};
#define PROCESS_TABLE_NULL { .pid_ns = -1, .own_pid_ns = -1 }

/**
 * Start a process (as the box's main, or in main's namespaces). Returns 0 and a process whose setup_fd will become readable
 * when it runs or has failed; or -1 with a sentence.
 */
int process_start(struct process_table *table, struct spec *spec, bool main, struct process **ret, struct failure *f);

/* When setup_fd is readable: 0 runs, 1 call again later, -1 failed with a sentence (the process ends by itself). */
int process_finish_setup(struct process *process, struct failure *f);

/* Reap what has ended; ended() is called for each process of the table, which stays in it until process_free(). */
void process_reap(struct process_table *table, void (*ended)(struct process *process));

/* Signal a process; one that has ended is -ESRCH. 0 or a negative errno. */
int process_signal(const struct process *process, int signal);

/* Close init's ends and forget it; NULL is fine. It must have ended, or be left to itself: it is then only reaped. Returns NULL. */
struct process *process_free(struct process_table *table, struct process *process);
