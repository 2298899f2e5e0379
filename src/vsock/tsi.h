/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the control connection (kmod/tsi/tsi_protocol.h): the guest's announcements, our messages to it, and
 * the listeners that the guest has told of.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tsi/tsi_protocol.h"

struct device;
struct connection;
struct packet;

/**
 * struct tsi_listener - a socket in the guest that takes published clients
 * @vsock_port:	its name; 0: entry not used
 * @port:	inet port in host order
 * @round:	when it was last chosen, for fairness between listeners on one port
 */
struct tsi_listener {
	uint32_t vsock_port;
	uint16_t port, family;
	bool v6_only;
	uint32_t next; /* with the same hash of port, or in the list of free ones; index + 1, 0: end */
	uint64_t round;
};

#define TSI_LISTENER_HASH 1024u
#define TSI_QUEUE_MAX (2u << 20) /* bytes of messages that the guest has not taken */

/**
 * struct tsi - state of one box
 * @control:	the control connection, or NULL
 * @partial:	a message that came in pieces
 * @queued, @sent: position in the stream of our messages; never go back
 */
struct tsi {
	struct connection *control;
	uint8_t partial[sizeof(struct tsi_message)];
	unsigned n_partial;
	bool greeted; /* the first HELLO came, and the monitor knows */
	uint64_t queued, sent;
	uint32_t host_families; /* TSI_HELLO_* */
	struct tsi_listener *listeners;
	uint32_t n_listeners, size, high, free;
	uint32_t hash[TSI_LISTENER_HASH];
	uint64_t round, lost;
};

int tsi_init(struct tsi *t, uint32_t listeners);
void tsi_deinit(struct tsi *t);
/* The guest began anew: no control connection, no listeners. */
void tsi_reset(struct tsi *t);
/* Families in which this host has addresses beyond loopback: TSI_HELLO_* bits. Before the sandbox. */
uint32_t tsi_host_families(void);
/* OP_REQUEST to one of TSI's ports. True: answered or will be; false: there is no such connection. */
bool tsi_request(struct device *d, const struct packet *p);

/* Queue a message. What concerns c is sent before c's next packet. */
void tsi_send(struct device *d, struct connection *c, enum tsi_message_type type, uint32_t port, uint32_t error, uint32_t value,
	      const struct tsi_address *local, const struct tsi_address *remote);
/* The listener whose turn it is among those that take clients of this family at this port. NULL: nobody listens. */
struct tsi_listener *tsi_listener_choose(struct tsi *t, uint16_t port, uint16_t family);
/* Does this connection belong to the guest's module, so that messages about it make sense? The port that names it. */
uint32_t tsi_port_of(const struct connection *c);
