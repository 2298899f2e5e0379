/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's datagram sockets (UDP, ICMP echo), each a SEQPACKET connection. */
#pragma once

#include <stdint.h>

#include "vsock/connection.h"

extern const struct connection_kind datagram_kind;

/* TSI_DATAGRAM: protocol is IPPROTO_UDP, _ICMP or _ICMPV6; local is in c. 0 or a positive errno. */
int datagram_announced(struct connection *c, uint32_t protocol);
/* Its OP_REQUEST has come. */
void datagram_requested(struct connection *c);
/* TSI_DATAGRAM_BOUND: it takes datagrams that come to the published port. bits: TSI_BOUND_*. */
void datagram_bound(struct connection *c, const struct tsi_address *local, uint32_t bits);
/* TSI_PEER: to c's socket; always answered. */
void datagram_set_peer(struct connection *c, const struct tsi_address *remote);
/* TSI_OPTION: enum tsi_option, for the sockets that it has and those that it will have. */
void datagram_option(struct connection *c, uint32_t option, uint32_t value);
/* A datagram for the guest from inside this program. Lost, and counted, when too many wait already. */
void datagram_deliver(struct connection *c, const struct tsi_address *source, const void *data, size_t size);
