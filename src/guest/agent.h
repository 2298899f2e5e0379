/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: listens for the host, keeps the box's state, answers requests (include/a3s/agent.h). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "guest/conversation.h"
#include "guest/process.h"

#define AGENT_CONVERSATIONS_MAX 256

struct agent_listener {
	struct agent *agent;
	enum agent_port port;
	struct loop_io io;
};

/**
 * struct agent - one per guest
 * @system:	we are PID 1 and may mount, load modules, set the clock; off in unit tests
 * @stopping:	"shutdown" was answered: power off when that reply is out
 */
struct agent {
	struct loop *loop;
	bool system, configured, main_started, stopping;
	char hostname[65];
	struct mounts_plan plan;
	struct process_table processes;
	struct conversation *conversations;
	size_t n_conversations;
	struct agent_listener listeners[4];
};

/* Prepare an empty agent on `loop`. */
void agent_init(struct agent *agent, struct loop *loop, bool system);
/* Free what it has; processes are left to themselves. */
void agent_deinit(struct agent *agent);
/* Listen on the vsock ports; the device may come and go, before and after. 0 or a negative errno. */
int agent_listen(struct agent *agent);
/* Call when children may have ended. */
void agent_reap(struct agent *agent);

/* Answer one request of AGENT_PORT_CONTROL. NULL only without memory; caller frees. */
json_t *agent_answer(struct agent *agent, const json_t *request);
/* {"ok":false,"error":...,"code":...}. */
json_t *agent_error(const struct failure *f);
