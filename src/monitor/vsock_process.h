/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a3s-box-vsock as the monitor keeps it: started, configured, given the sockets of the box (src/vsock/control.h).
 *
 * Requests go out a few at a time and are answered in order; the first refusal ends the process and is told by failed().
 * From the loop's thread.
 */
#pragma once

#include "children.h"
#include "ports.h"

struct vsock_process;

struct vsock_handlers {
	/* It serves the far end of this vhost-user socket, which the handler takes: plug the device. */
	void (*device_ready)(struct vsock_process *vsock, int fd);
	/* The guest's driver is up: agent connections can be opened. */
	void (*device_started)(struct vsock_process *vsock);
	void (*resolver_wanted)(struct vsock_process *vsock);
	/* Figures that were asked for; borrowed. */
	void (*stats)(struct vsock_process *vsock, json_t *stats);
	/* The process is gone; text says why. */
	void (*ended)(struct vsock_process *vsock, const char *text);
};

/**
 * struct vsock_process - embedded in the box
 * @limits:	of struct box_config, borrowed
 * @ports, @agent_fd: borrowed for the box's life; a process started again gets them again
 * @next, @answered: requests sent and answered since the start
 * @port:	sockets of @ports from here on are still to be handed over
 * @resolver_fd:	waits to be handed over; -1: none does
 */
struct vsock_process {
	struct loop *loop;
	const struct vsock_handlers *handlers;
	const char *box_id;
	struct child process;
	int fd, device_fd, agent_fd, resolver_fd;
	struct loop_io io;
	bool tsi, host_gateway, stats_asked;
	char *const *limits;
	const struct ports *ports;
	size_t next, answered, port;
	char why[256];
};
#define VSOCK_PROCESS_NULL \
	{ .process = CHILD_NULL, .fd = -1, .device_fd = -1, .agent_fd = -1, .resolver_fd = -1, .io = LOOP_IO_NULL }

/* Start, or start again after its end, with the members up to `ports` as the owner has set them. */
int vsock_process_start(struct vsock_process *vsock, struct failure *f);
/* Hand over the resolver's socket (borrowed), once everything else was asked for. */
int vsock_process_give_resolver(struct vsock_process *vsock, int fd);
/* The answer is stats(), or ended(). Asked for once more before it: answered once. 0 or a negative errno. */
int vsock_process_ask_stats(struct vsock_process *vsock);
/* SIGKILL; ended() is not called. */
void vsock_process_end(struct vsock_process *vsock);
