/* SPDX-License-Identifier: GPL-2.0 */
/* Socket options. Inet keeps and answers them; those that matter on the host's socket are told to the host. */
#ifndef TSI_OPTIONS_H
#define TSI_OPTIONS_H

#include <linux/net.h>
#include <linux/sockptr.h>

#include "link.h"

int tsi_options_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int len);
int tsi_options_get(struct socket *sock, int level, int name, char __user *value, int __user *len);

/* enum tsi_stream_bits that the socket has set now. */
u32 tsi_options_stream_bits(const struct sock *sk);
/* Tells the host whatever else is not as it is by default. */
int tsi_options_send_all(struct tsi_link *link, const struct sock *sk);
/* SO_KEEPALIVE does not pass here when it is set: what carries data tells the host, if it has changed. */
void tsi_options_check_keepalive(struct tsi_link *link, const struct sock *sk);
/* What TCP's accepted sockets have from their listener. */
void tsi_options_inherit(struct sock *child, const struct sock *listener);

#endif
