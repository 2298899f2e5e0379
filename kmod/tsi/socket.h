/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The program's sockets. Each keeps the inet sock that it was born with, for good: it answers for the options, takes
 * part in loopback, holds the error and the shutdown state that the core of the kernel looks at. A socket that has to do
 * with the host has a struct tsi_socket beside it, found through the inet sock's sk_user_data, and in that a link.
 *
 * Operations come through our proto_ops, copies of inet's with some replaced; all that is not for us goes on to inet's.
 *
 * lock_sock(sk) is what serialises connect, listen and the rest of what replaces a link. Data goes without it: an
 * operation gets a reference to the link, and whoever replaces it closes it, which lets the others out.
 */
#ifndef TSI_SOCKET_H
#define TSI_SOCKET_H

#include <linux/net.h>
#include <linux/skbuff.h>
#include <net/sock.h>

#include "link.h"

enum tsi_family_index { TSI_INET, TSI_INET6, TSI_FAMILIES };

/**
 * struct tsi_socket
 * @sk:		the inet sock that points here
 * @link:	stream, listener or datagram carrier; RCU, written with the sock locked
 * @lock:	protects @peer; taken with nothing else held but link->lock
 * @peer:	datagrams: where the program connected to through the host; family NONE: nowhere
 * @queue:	datagrams: what waits for its carrier to open or to have credit, charged to the inet sock
 * @corked:	datagrams: the one that MSG_MORE or UDP_CORK leaves unfinished, or NULL; with the sock locked
 */
struct tsi_socket {
	struct sock *sk;
	struct rcu_head rcu;
	struct tsi_link __rcu *link;
	spinlock_t lock;
	struct tsi_address peer;
	struct sk_buff_head queue;
	struct sk_buff *corked;
};

int tsi_socket_init(void);

/* Makes the socket ours if it is of a kind that we serve. */
void tsi_socket_adopt(struct socket *sock);
/* A fresh inet sock on @sock, an accepted one, as inet would create it; and ours. 0 or -errno. */
int tsi_socket_create_inet(struct socket *sock, int family);

/* What inet would have done. */
const struct proto_ops *tsi_socket_base(const struct sock *sk);

/* NULL while the socket has had nothing to do with the host. Stays as long as the socket, or RCU's read lock. */
struct tsi_socket *tsi_socket_of(const struct sock *sk);
/* The same, but makes one. With the sock locked. NULL: out of memory, or someone else uses the sock (sockmap). */
struct tsi_socket *tsi_socket_make(struct sock *sk);

/* A reference to the socket's link, or NULL. */
struct tsi_link *tsi_socket_link(const struct sock *sk);
/* With the sock locked: takes the link out, or puts one in. */
struct tsi_link *tsi_socket_take_link(struct tsi_socket *socket);
void tsi_socket_set_link(struct tsi_socket *socket, struct tsi_link *link);

/*
 * Nothing is sent without a copy, but a program that asked for it with MSG_ZEROCOPY waits to hear when its buffer is free:
 * at once, and that it was copied. Around each send; *ret_done is NULL when it was not asked for. 0 or -ENOBUFS.
 */
int tsi_socket_begin_zerocopy(struct sock *sk, struct msghdr *msg, struct ubuf_info **ret_done);
void tsi_socket_end_zerocopy(struct ubuf_info *done, bool sent);

/* Whether anybody waits for has not been true yet, called over and over. */
typedef bool (*tsi_condition)(struct sock *sk, struct tsi_link *link);

/*
 * Waits on the program's wait queue until @done, with the sock not locked. 0, -EAGAIN when *timeout is used up, or what
 * a signal makes of it. @exclusive: one of many waiters is enough.
 */
int tsi_socket_wait(struct sock *sk, struct tsi_link *link, long *timeout, tsi_condition done, bool exclusive);

#endif
