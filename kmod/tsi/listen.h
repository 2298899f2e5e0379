/* SPDX-License-Identifier: GPL-2.0 */
/* Listeners: inet's own for the guest's loopback, and a vsock twin beside it for the clients of published ports. */
#ifndef TSI_LISTEN_H
#define TSI_LISTEN_H

#include <linux/net.h>
#include <linux/poll.h>

#include "link.h"

int tsi_listen_listen(struct socket *sock, int backlog);
int tsi_listen_accept(struct socket *sock, struct socket *newsock, int flags, bool kern);

/* What the twin adds to inet's answer. */
__poll_t tsi_listen_poll(struct tsi_link *link);
/* Takes the twin away if inet does not listen any more. */
void tsi_listen_check(struct sock *sk);
/* The message that announces the listener. */
void tsi_listen_describe(struct tsi_link *link, struct tsi_message *message);

extern const struct tsi_link_kind tsi_listener_kind;

#endif
