/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP errors about datagrams: what IP_RECVERR and IPV6_RECVERR promise, and what a connected socket is told without. */
#ifndef TSI_ERRORS_H
#define TSI_ERRORS_H

#include <net/sock.h>

#include "tsi_protocol.h"

/* TSI_DATAGRAM_ERROR about a datagram of @sk's. @connected: through the host. May sleep. */
void tsi_errors_take(struct sock *sk, const struct tsi_message *message, bool connected);

#endif
