/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published UDP: from host sockets that the monitor bound to the guest's sockets that are bound to that port, and the
 * answers back. Nothing of what the guest binds is ever bound on the host: only what is published has an address there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "base/loop.h"
#include "tsi/tsi_protocol.h"
#include "vsock/flow.h"

struct connection;
struct device;

/**
 * struct udp_socket - a published socket
 * @fd:		borrowed
 */
struct udp_socket {
	struct loop_io io;
	struct device *device;
	int fd;
	uint16_t guest_port;
};

/**
 * struct udp_bound - a socket of the guest's that datagrams may be for
 * @connection:	its datagram connection
 * @peer:	where it is connected; family NONE: nowhere
 * @port:	inet port in host order; 0: not in the list
 * @bits:	TSI_BOUND_*
 */
struct udp_bound {
	LIST_ENTRY(udp_bound) entry;
	struct connection *connection;
	const struct tsi_address *peer;
	uint16_t port, family;
	bool is_loopback;
	uint32_t bits;
};

#define UDP_BOUND_HASH 256u

struct udp {
	struct flow_table flows;
	LIST_HEAD(, udp_bound) bound[UDP_BOUND_HASH];
};

/* Limits of the device have been set. */
void udp_init(struct device *d);
void udp_clear(struct device *d);

/* Datagrams that come to fd (borrowed, bound) are for guest_port. 0 or a negative errno. */
int udp_socket_start(struct udp_socket *u, struct device *d, uint16_t guest_port, int fd);
/* Its flows end. Fine on one that was never started. */
void udp_socket_stop(struct udp_socket *u);

/* The guest's socket is bound to local, for which b's other members have been set. Again: with other bits. */
void udp_bound_set(struct device *d, struct udp_bound *b, const struct tsi_address *local, uint32_t bits);
void udp_bound_remove(struct udp_bound *b);

/* The live flow of this socket's port to that client, or NULL. */
struct flow *udp_flow(struct device *d, const struct udp_bound *b, const struct tsi_address *to);
/* What the client calls the box. */
struct tsi_address udp_flow_local(const struct flow *f);
/* Send to its client from where it spoke to. 0 or a negative errno. */
int udp_reply(struct device *d, struct flow *f, struct iovec *iov, unsigned n);
