/* SPDX-License-Identifier: Apache-2.0 */
/* The name server that the guest sees at 192.0.0.9:53, UDP and TCP: a relay to the resolver helper. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vsock/connection.h"

#define DNS_QUERY_MAX 4096u /* larger queries are not DNS as anybody sends it */

/* A TCP connection of the guest's to the name server. */
extern const struct connection_kind dns_stream_kind;
/* Its OP_REQUEST has come. */
void dns_stream_requested(struct connection *c);

/* A query from a datagram connection or a stream of the above kind; it will be answered there if it still exists. */
void dns_query(struct connection *c, const uint8_t *query, size_t size);

/* The resolver's socket (src/resolver/protocol.h), in place of an earlier one; takes fd. 0 or a negative errno. */
int dns_set_resolver(struct device *d, int fd);
void dns_clear(struct device *d);
