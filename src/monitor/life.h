/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one box, from the command line's "go" to the last word to its clients.
 *
 *	ANNOUNCED -> BOOTING -> CONFIGURING -> STARTING -> RUNNING -> CLOSING -> DOWN
 *	     |          |            |            |           |          |
 *	     +----------+------------+------------+-----------+----------+----> DOWN
 *
 * There is one door, life_enter(); a phase is never entered twice. Everything that goes wrong before RUNNING is a failed
 * start: one sentence, everything undone. From RUNNING on it is an exit, with a code and perhaps a sentence.
 */
#pragma once

#include "agent_client.h"
#include "clients.h"
#include "ports.h"
#include "resolver_process.h"
#include "start.h"
#include "store/box.h"
#include "streams.h"
#include "vm.h"
#include "vsock_process.h"

enum life_phase {
	LIFE_ANNOUNCED,	  /* the control socket is there; waits for "go" */
	LIFE_BOOTING,	  /* VM and vsock process run; the agent is awaited */
	LIFE_CONFIGURING, /* the agent was told what box this is */
	LIFE_STARTING,	  /* the main process was asked for */
	LIFE_RUNNING,
	LIFE_CLOSING,	  /* the main process has ended; the guest writes out its file systems */
	LIFE_DOWN,	  /* all is undone and written down; clients hear it, then the program ends */
};

/**
 * struct replacement - a3s-box-vsock, put back into a running box (replace.c)
 * @plugging:	QEMU was told to, and has not answered
 * @plugged:	the VM has a vsock device
 * @since_ms:	when the present process was started
 * @delay_ms:	before the next is started; grows while they die young
 */
struct replacement {
	bool plugging, plugged, under_way;
	int64_t since_ms;
	int delay_ms;
};

/**
 * struct life - one box and all that runs for it
 * @lock_fd:	the box's lock, held as long as anything of it runs
 * @agent_fd:	listening agent.sock
 * @failure:	why the start failed (code != 0), or what ended the box beside its exit code
 * @layers:	of the image's disk
 * @columns, @rows: of the terminal, 0: not known
 * @since_ms:	when the monitor started, by the loop's clock
 */
struct life {
	struct loop *loop;
	struct home home;
	struct box_config config;
	struct box_state state;
	enum life_phase phase;
	int lock_fd, agent_fd;
	char agent_path[PATH_MAX];
	struct start start;
	struct clients clients;
	struct ports ports;
	struct vm vm;
	struct vsock_process vsock;
	struct resolver_process resolver;
	struct agent_client control;
	struct streams streams;
	struct loop_timer deadline, replace_timer;
	struct replacement replacement;
	struct loop_deferred take_down;
	struct failure failure;
	enum accel_kind accel;
	unsigned layers;
	uint16_t columns, rows;
	int64_t since_ms;
	unsigned signals_unanswered;
	bool ran, killed;
};
#define LIFE_NULL                                                                                              \
	{                                                                                                      \
		.home = HOME_NULL, .config = BOX_CONFIG_NULL, .lock_fd = -1, .agent_fd = -1, .start = START_NULL, \
		.clients = CLIENTS_NULL, .vm = VM_NULL, .vsock = VSOCK_PROCESS_NULL,                           \
		.resolver = RESOLVER_PROCESS_NULL, .control = AGENT_CLIENT_NULL, .streams = STREAMS_NULL,      \
		.deadline = LOOP_TIMER_NULL, .replace_timer = LOOP_TIMER_NULL                                  \
	}

/* Lock the box, read its record, make its runtime directory and control socket. The loop and home are the caller's. */
int life_announce(struct life *life, const char *id, struct failure *f);
/* Take up the conversation with the command line; takes fd. fd -1: nobody waits, the box starts at once. */
int life_serve(struct life *life, int start_fd);
/* Stop as `a3s-box stop` does. */
void life_stop(struct life *life, int signal, int timeout);
void life_deinit(struct life *life);

/* begin.c: ports, VM, vsock process. On -1 what was begun is undone by the caller. */
int life_begin(struct life *life, struct failure *f);
extern const struct vsock_handlers life_vsock_handlers;
void life_on_vm_event(struct vm *vm, enum vm_event event, const char *text);
void life_on_resolver(struct resolver_process *resolver, int fd);

/* replace.c: a vsock process that ended in a running box. */
void life_replace_vsock(struct life *life, const char *why);
/* Takes fd, the VM's end of what the process serves. */
int life_plug_vsock(struct life *life, int fd);
void life_on_vsock_unplugged(struct life *life);
void life_on_vsock_plugged(struct life *life);
void life_on_vsock_refused(struct life *life, const char *why);
/* life.c: the box cannot go on: a failed start, or an exit with 255. */
void life_fault(struct life *life, const char *text);
void life_write_state(struct life *life, enum box_status status);

/* requests.c: what clients ask for. */
extern const struct clients_handlers life_clients_handlers;
/* Kill the main process, and the VM when that does not help. */
void life_kill(struct life *life);
/* Signal the running main process; arrives even when its standard input is full. */
void life_signal(struct life *life, int signal);
/* Whether something is left to be stopped. */
bool life_is_running(const struct life *life);
