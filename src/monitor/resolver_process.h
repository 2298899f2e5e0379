/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a3s-box-resolver as the monitor keeps it: started at the first query, started again when it dies and one is wanted, no
 * more than once in RESOLVER_PAUSE_MS. From the loop's thread.
 */
#pragma once

#include "children.h"

#define RESOLVER_PAUSE_MS 1000

struct resolver_process;
/* A resolver runs; its socket is borrowed. */
typedef void (*resolver_ready_fn)(struct resolver_process *resolver, int fd);

/**
 * struct resolver_process - embedded in the box
 * @servers:	borrowed vector of --dns addresses, may be NULL
 */
struct resolver_process {
	struct loop *loop;
	const char *box_id;
	char *const *servers;
	resolver_ready_fn ready;
	struct child process;
	struct loop_timer pause;
	int64_t started_ms;
};
#define RESOLVER_PROCESS_NULL { .process = CHILD_NULL, .pause = LOOP_TIMER_NULL, .started_ms = -RESOLVER_PAUSE_MS }

/* Somebody asks and there is none: one is started now or soon, and ready() called. */
void resolver_process_want(struct resolver_process *resolver);
void resolver_process_end(struct resolver_process *resolver);
