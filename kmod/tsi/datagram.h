/* SPDX-License-Identifier: GPL-2.0 */
/* UDP and ping sockets that send to somewhere outside, or hear from there. The operations of struct proto_ops that differ from inet's. */
#ifndef TSI_DATAGRAM_H
#define TSI_DATAGRAM_H

#include <linux/net.h>

#include "link.h"

extern const struct tsi_link_kind tsi_carrier_kind;

/* The host is there again: where clients may be for the socket it is told so, from a work. May be called with control's lock. */
void tsi_datagram_announce(struct tsi_link *link);

int tsi_datagram_bind(struct socket *sock, struct sockaddr *name, int len);
int tsi_datagram_connect(struct socket *sock, struct sockaddr *name, int len, int flags);
int tsi_datagram_getname(struct socket *sock, struct sockaddr *name, int peer);
int tsi_datagram_shutdown(struct socket *sock, int how);
int tsi_datagram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
ssize_t tsi_datagram_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags);

/* UDP_CORK may be off now: what it kept is sent. */
void tsi_datagram_push(struct sock *sk);

#endif
