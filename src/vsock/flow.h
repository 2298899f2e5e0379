/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of published UDP ports, so that what the box answers goes back the way that they came.
 *
 * A flow is named as the guest knows it: the box's port and the client's address there. There are never more than `size`
 * of them: a new one takes the place of the one that was silent longest. One that was silent for idle_ms ends.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/loop.h"
#include "tsi/tsi_protocol.h"

struct udp_socket;

/**
 * struct flow_path - both ends of a datagram, as the host's kernel gave them
 * @local:	the address that the client spoke to
 */
struct flow_path {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} client;
	union {
		struct in_addr v4;
		struct in6_pktinfo v6;
	} local;
};

/**
 * struct flow - one client of one port
 * @via:	the published socket that it came in by; borrowed, see flow_forget()
 * @active_ms:	last datagram, either way
 */
struct flow {
	TAILQ_ENTRY(flow) entry;
	struct flow *hash_next;
	struct udp_socket *via;
	struct flow_path path;
	struct tsi_address name;
	uint16_t guest_port;
	int64_t active_ms;
};

/**
 * struct flow_table - all of a box
 * @hash:	made with the first flow
 * @order:	longest silent first
 * @evicted:	flows that were ended before their time, since the start
 */
struct flow_table {
	struct loop *loop;
	struct flow **hash;
	uint32_t size, mask, n, seed;
	int64_t idle_ms;
	TAILQ_HEAD(, flow) order;
	struct loop_timer timer;
	uint64_t evicted;
};

void flow_table_init(struct flow_table *t, struct loop *loop, uint32_t size, int64_t idle_ms);
/* Ends all flows; the table can be used again. */
void flow_table_clear(struct flow_table *t);

/* NULL: there is none. The scope of IPv6 addresses does not count: guest and host number interfaces differently. */
struct flow *flow_find(struct flow_table *t, uint16_t guest_port, const struct tsi_address *name);
/* One that is not there yet. NULL: no memory. */
struct flow *flow_add(struct flow_table *t, uint16_t guest_port, const struct tsi_address *name);
/* It has sent or received. */
void flow_touch(struct flow_table *t, struct flow *f);
/* A published socket is about to go: so do its flows. */
void flow_forget(struct flow_table *t, const struct udp_socket *via);
/* A hash of an address, with the table's secret: the same for the same client. */
uint32_t flow_hash(const struct flow_table *t, uint16_t guest_port, const struct tsi_address *name);
