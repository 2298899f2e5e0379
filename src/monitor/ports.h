/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports, reserved before anything starts: bound, and for TCP listening, so that whoever has one has it alone.
 *
 * "All addresses" is one socket for both families (a box may publish ten thousand ports), or an IPv4 one where the host has
 * no IPv6. SO_REUSEADDR lets a box start again within 2 MSL;
 * SO_REUSEPORT is never set, so two boxes cannot share a port. The fds stay with the monitor for the box's life: a vsock
 * process that is replaced gets them again, with the clients that wait in their queues.
 */
#pragma once

#include "store/box.h"

/**
 * struct port_socket - one address family of one published port
 * @port:	as bound: address "0.0.0.0", "::" or a literal, host_port set, host_port_last 0
 * @fd:		-1: the socket before it serves this family too
 */
struct port_socket {
	struct box_port port;
	int fd;
};

struct ports {
	struct port_socket *sockets;
	size_t n;
};
#define PORTS_NULL { 0 }

/**
 * Reserve what config asks for, all or nothing. previous: what was bound last time, so that a number of the host's choice is kept
 * while it is free. A port that is taken: -1, code 125, and the sentence names the box or the process that has it.
 */
int ports_reserve(const struct home *home, const struct box_config *config, const struct box_state *previous, struct ports *ret,
		  struct failure *f);
void ports_release(struct ports *ports);
/* Copy of what is bound, for struct box_state; NULL without memory or without ports. Caller frees. */
struct box_port *ports_bound(const struct ports *ports);

/* Who has this TCP or UDP port: "box \"web\"", "nginx (pid 123)", "another process". For the sentence; searches all of /proc. */
void ports_name_holder(const struct home *home, const char *own_id, const struct box_port *port, char *ret, size_t size);
