/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A link is one vsock socket of ours: the control connection, a proxied stream, a listener's twin, the carrier of a UDP
 * socket's datagrams. It is named by the vsock port of the end that opened it, and found by that name when the host says
 * something about it on the control connection.
 *
 * Vsock's own operations are only ever called without blocking; whoever waits, waits on the wait queue of the program's
 * socket, to which the link reports through @owner.
 *
 * Locking. Vsock calls back with its sock locked, in the work that empties the receive queue, or, when the device goes
 * away, unlocked and atomic. A callback therefore takes nothing that sleeps, but for @data, which is only called with
 * vsock's sock locked. Detaching takes vsock's sock lock and then sk_callback_lock for writing, so after tsi_link_close no
 * callback runs and none will. Order: lock_sock(owner), control's mutex, lock_sock(vsock), sk_callback_lock, link->lock.
 */
#ifndef TSI_LINK_H
#define TSI_LINK_H

#include <linux/net.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/af_vsock.h>
#include <net/sock.h>

#include "tsi_protocol.h"

/**
 * enum tsi_link_state
 * @TSI_LINK_IDLE:	bound, not connected; a listener stays here
 * @TSI_LINK_OPENING:	the request is on its way, or the host's own connect is
 * @TSI_LINK_OPEN:	either half may have ended
 * @TSI_LINK_CLOSED:	nothing will come or go any more; the only way out is another link
 */
enum tsi_link_state { TSI_LINK_IDLE, TSI_LINK_OPENING, TSI_LINK_OPEN, TSI_LINK_CLOSED };

struct tsi_link;

/**
 * struct tsi_link_kind - what a link is for
 * @size:	of the structure around struct tsi_link, which comes first in it
 * @init:	before anybody can find it
 * @data:	something arrived; vsock's sock is locked, may sleep
 * @space:	the peer may have room again; atomic
 * @changed:	vsock's sock changed state or has an error; atomic
 * @message:	the host said something about this link, before the packet that it explains; may sleep
 * @retire:	the program closes its socket, or uses it for something else: say so, close; takes the reference
 * @destroy:	the last reference is gone; may sleep
 */
struct tsi_link_kind {
	size_t size;
	void (*init)(struct tsi_link *link);
	void (*data)(struct tsi_link *link, struct sock *vsk);
	void (*space)(struct tsi_link *link, struct sock *vsk);
	void (*changed)(struct tsi_link *link, struct sock *vsk);
	void (*message)(struct tsi_link *link, const struct tsi_message *message);
	void (*retire)(struct tsi_link *link);
	void (*destroy)(struct tsi_link *link);
};

/**
 * struct tsi_link
 * @owner:	the program's inet sock, held; NULL for the control connection
 * @vsock:	ours until the last reference is gone
 * @port:	the name
 * @lock:	protects what follows it, and owner->sk_shutdown and sk_err as far as the link writes them
 * @error:	what the host said the end's reason is, positive; 0: nothing
 * @peer_ended: the peer's half is over (its SHUTDOWN was seen)
 * @keepalive: what the host was told last
 * @local, @remote: as the host gave them
 */
struct tsi_link {
	struct hlist_node node;
	refcount_t references;
	struct rcu_head rcu;
	const struct tsi_link_kind *kind;
	struct sock *owner;
	struct socket *vsock;
	u32 port;

	spinlock_t lock;
	enum tsi_link_state state;
	int error;
	bool peer_ended;
	bool keepalive;
	struct tsi_address local;
	struct tsi_address remote;
};

/* A new link on a vsock socket of that type, bound to a port of its own; one reference, the caller's. ERR_PTR. */
struct tsi_link *tsi_link_new(const struct tsi_link_kind *kind, int type, struct sock *owner);
/* The same around a vsock socket that came from an accept. Takes @vsock, also when it fails. */
struct tsi_link *tsi_link_adopt(const struct tsi_link_kind *kind, struct socket *vsock, struct sock *owner);
/* Sends the request; the outcome arrives through kind->changed. 0 or -errno. */
int tsi_link_connect(struct tsi_link *link, u32 remote_port);
/* Ends both halves, detaches from owner, gives up the name and the caller's reference. */
void tsi_link_close(struct tsi_link *link);

/* Complains if there is a link left. */
void tsi_link_exit(void);

struct tsi_link *tsi_link_find(u32 port);
struct tsi_link *tsi_link_get(struct tsi_link __rcu **slot);
void tsi_link_put(struct tsi_link *link);
/* Calls @fn for every link of @kind, or all when NULL; it may sleep. */
void tsi_link_for_each(const struct tsi_link_kind *kind, void (*fn)(struct tsi_link *link));
/* Says that a link that is still opening will not open: the control connection was lost. */
void tsi_link_fail(struct tsi_link *link);

/* Whether anything can be read; bytes that can be read, and written, now. */
bool tsi_link_has_data(struct tsi_link *link);
size_t tsi_link_readable(struct tsi_link *link);
size_t tsi_link_writable(struct tsi_link *link);
/* Bytes that the peer has not taken yet. */
size_t tsi_link_unsent(struct tsi_link *link);
/* What the peer is willing to hold, in bytes. */
size_t tsi_link_window(struct tsi_link *link);
/* As much as there is room for, never blocking. Bytes, -EAGAIN or another errno. Only what msg_iter says is sent. */
int tsi_link_send(struct tsi_link *link, struct msghdr *msg, size_t len);

static inline enum tsi_link_state tsi_link_state(const struct tsi_link *link)
{
	/* Pairs with where it is set: what led to the state, the owner's sk_err, is to be seen with it. */
	return smp_load_acquire(&link->state);
}

#endif
