/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder behind the protocol of protocol.h: takes queries from the peer, asks servers, sends answers.
 *
 * Allocates nothing that is not bounded by RESOLVER_IN_FLIGHT_MAX queries of RESOLVER_DNS_MAX bytes (and as many answers).
 * One loop, one thread.
 */
#pragma once

#include "base/loop.h"
#include "resolver/servers.h"

struct resolver;

/*
 * Serve `peer`, a SOCK_SEQPACKET socket, borrowed; made non-blocking. `servers` is borrowed too. The loop quits with 0 when
 * the peer closes. 0 or a negative errno.
 */
int resolver_new(struct resolver **ret, struct loop *loop, int peer, struct servers *servers);
/* NULL is fine; returns NULL. */
struct resolver *resolver_free(struct resolver *r);
/* Queries not yet answered. */
unsigned resolver_in_flight(const struct resolver *r);

/* Give up what the program does not need from here on: identity, new privileges, system calls. 0 or a negative errno. */
int resolver_confine(void);
