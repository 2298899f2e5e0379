/* SPDX-License-Identifier: Apache-2.0 */
/* Streams to a socket of the host's: the guest's outgoing TCP, clients of published ports, clients of agent.sock. */
#pragma once

#include <stdint.h>

#include "vsock/connection.h"

extern const struct connection_kind stream_kind;

/* Put the socket under the connection; takes fd. Edge-triggered from now on. 0, or a negative errno (fd is closed). */
int stream_adopt(struct connection *c, int fd);
/* TSI_CONNECT: start to connect to c->remote. How it went is told when the guest's OP_REQUEST is there too. */
void stream_connect(struct connection *c);
/* Its OP_REQUEST has come. */
void stream_requested(struct connection *c);
/* TSI_OPTION: enum tsi_option. */
void stream_option(struct connection *c, uint32_t option, uint32_t value);
/* close() that sends a reset. */
void stream_abort_fd(int fd);

/* For kinds that are streams but for how they begin. */
void stream_opened(struct connection *c);
void stream_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags);
void stream_pull(struct connection *c, uint32_t quantum);
void stream_shut(struct connection *c);
void stream_closed(struct connection *c, bool reset);
