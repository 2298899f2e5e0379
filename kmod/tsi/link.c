// SPDX-License-Identifier: GPL-2.0
#include "link.h"

#include <linux/hashtable.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/virtio_vsock.h>

#include "main.h"

#define LINK_PORT_TRIES 64
/* The largest payload of which vsock's packet still fits an allocation that does not need many pages in a row. */
#define LINK_SMALL_PACKET 3072

static DEFINE_HASHTABLE(links, 10);
static DEFINE_SPINLOCK(links_lock);
static atomic_t link_next_port = ATOMIC_INIT(0);
static atomic_t link_count = ATOMIC_INIT(0);

static void link_on_data(struct sock *vsk)
{
	struct tsi_link *link = vsk->sk_user_data;

	/* Vsock's sock is locked here, and detaching needs that lock. */
	if (link && link->kind->data)
		link->kind->data(link, vsk);
}

static void link_on_space(struct sock *vsk)
{
	struct tsi_link *link;

	read_lock_bh(&vsk->sk_callback_lock);
	link = vsk->sk_user_data;
	if (link && link->kind->space)
		link->kind->space(link, vsk);
	read_unlock_bh(&vsk->sk_callback_lock);
}

static void link_on_change(struct sock *vsk)
{
	struct tsi_link *link;

	read_lock_bh(&vsk->sk_callback_lock);
	link = vsk->sk_user_data;
	if (link && link->kind->changed)
		link->kind->changed(link, vsk);
	read_unlock_bh(&vsk->sk_callback_lock);
}

/* What a sock is born with. A detached one gets them back: it may outlive this module. */
static struct {
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*error_report)(struct sock *sk);
} link_defaults;

static void link_attach(struct tsi_link *link)
{
	struct sock *vsk = link->vsock->sk;

	lock_sock(vsk);
	write_lock_bh(&vsk->sk_callback_lock);
	WRITE_ONCE(link_defaults.data_ready, vsk->sk_data_ready);
	WRITE_ONCE(link_defaults.write_space, vsk->sk_write_space);
	WRITE_ONCE(link_defaults.state_change, vsk->sk_state_change);
	WRITE_ONCE(link_defaults.error_report, vsk->sk_error_report);
	vsk->sk_user_data = link;
	vsk->sk_data_ready = link_on_data;
	vsk->sk_write_space = link_on_space;
	vsk->sk_state_change = link_on_change;
	vsk->sk_error_report = link_on_change;
	write_unlock_bh(&vsk->sk_callback_lock);
	release_sock(vsk);
}

static void link_detach(struct tsi_link *link)
{
	struct sock *vsk = link->vsock->sk;

	lock_sock(vsk);
	write_lock_bh(&vsk->sk_callback_lock);
	vsk->sk_user_data = NULL;
	vsk->sk_data_ready = link_defaults.data_ready;
	vsk->sk_write_space = link_defaults.write_space;
	vsk->sk_state_change = link_defaults.state_change;
	vsk->sk_error_report = link_defaults.error_report;
	write_unlock_bh(&vsk->sk_callback_lock);
	release_sock(vsk);
}

static void link_insert(struct tsi_link *link)
{
	spin_lock_bh(&links_lock);
	hash_add_rcu(links, &link->node, link->port);
	spin_unlock_bh(&links_lock);
}

static void link_remove(struct tsi_link *link)
{
	spin_lock_bh(&links_lock);
	hash_del_rcu(&link->node);
	spin_unlock_bh(&links_lock);
}

static u32 link_pick_port(void)
{
	u32 step = atomic_inc_return(&link_next_port);

	return TSI_PORT_GUEST_FIRST + step % (TSI_PORT_HOST_FIRST - TSI_PORT_GUEST_FIRST);
}

static int link_bind(struct socket *vsock, u32 *ret_port)
{
	int tries, err = -EADDRINUSE;

	for (tries = 0; tries < LINK_PORT_TRIES && err == -EADDRINUSE; tries++) {
		struct sockaddr_vm name = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };

		name.svm_port = *ret_port = link_pick_port();
		err = kernel_bind(vsock, (struct sockaddr *)&name, sizeof(name));
	}
	return err;
}

static struct tsi_link *link_alloc(const struct tsi_link_kind *kind, struct socket *vsock, struct sock *owner)
{
	struct tsi_link *link = kzalloc(kind->size, GFP_KERNEL_ACCOUNT);

	if (!link)
		return NULL;
	atomic_inc(&link_count);
	refcount_set(&link->references, 1);
	spin_lock_init(&link->lock);
	link->kind = kind;
	link->vsock = vsock;
	link->owner = owner;
	if (owner)
		sock_hold(owner);
	if (kind->init)
		kind->init(link);
	return link;
}

struct tsi_link *tsi_link_new(const struct tsi_link_kind *kind, int type, struct sock *owner)
{
	struct socket *vsock;
	struct tsi_link *link;
	u32 port;
	int err;

	err = sock_create_kern(&init_net, AF_VSOCK, type, 0, &vsock);
	if (err)
		return ERR_PTR(err);
	err = link_bind(vsock, &port);
	if (err)
		goto err_release;
	err = -ENOMEM;
	link = link_alloc(kind, vsock, owner);
	if (!link)
		goto err_release;
	link->port = port;
	link_insert(link);
	link_attach(link);
	return link;

err_release:
	sock_release(vsock);
	return ERR_PTR(err);
}

struct tsi_link *tsi_link_adopt(const struct tsi_link_kind *kind, struct socket *vsock, struct sock *owner)
{
	struct tsi_link *link = link_alloc(kind, vsock, owner);

	if (!link) {
		sock_release(vsock);
		return ERR_PTR(-ENOMEM);
	}
	link->port = vsock_sk(vsock->sk)->remote_addr.svm_port;
	link->state = TSI_LINK_OPEN;
	link_insert(link);
	link_attach(link);
	return link;
}

/*
 * Vsock gives up after a time of its own, and pins the sock that long when the connect does not block. When to give up is
 * the host's decision: its own connect ends one day.
 */
static void link_cancel_timeout(struct sock *vsk)
{
	if (cancel_delayed_work(&vsock_sk(vsk)->connect_work))
		sock_put(vsk);
}

int tsi_link_connect(struct tsi_link *link, u32 remote_port)
{
	struct sockaddr_vm name = {
		.svm_family = AF_VSOCK, .svm_cid = tsi_host_cid, .svm_port = remote_port };
	int err;

	spin_lock_bh(&link->lock);
	link->state = TSI_LINK_OPENING;
	spin_unlock_bh(&link->lock);
	err = link->vsock->ops->connect(link->vsock, (struct sockaddr *)&name, sizeof(name), O_NONBLOCK);
	link_cancel_timeout(link->vsock->sk);
	return err == -EINPROGRESS ? 0 : err;
}

/*
 * Vsock says nothing to the peer when a socket that is still connecting is released, and may wait for seconds with one
 * that is connected: so say SHUTDOWN first, whatever the state.
 */
void tsi_link_close(struct tsi_link *link)
{
	link_remove(link);
	link_detach(link);
	spin_lock_bh(&link->lock);
	link->state = TSI_LINK_CLOSED;
	spin_unlock_bh(&link->lock);
	kernel_sock_shutdown(link->vsock, SHUT_RDWR);
	tsi_link_put(link);
}

static void link_free(struct tsi_link *link)
{
	if (link->kind->destroy)
		link->kind->destroy(link);
	sock_release(link->vsock);
	if (link->owner)
		sock_put(link->owner);
	kfree_rcu(link, rcu);
	atomic_dec(&link_count);
}

void tsi_link_exit(void)
{
	WARN_ON(atomic_read(&link_count));
}

void tsi_link_put(struct tsi_link *link)
{
	if (refcount_dec_and_test(&link->references))
		link_free(link);
}

struct tsi_link *tsi_link_get(struct tsi_link __rcu **slot)
{
	struct tsi_link *link;

	rcu_read_lock();
	link = rcu_dereference(*slot);
	if (link && !refcount_inc_not_zero(&link->references))
		link = NULL;
	rcu_read_unlock();
	return link;
}

struct tsi_link *tsi_link_find(u32 port)
{
	struct tsi_link *link;

	rcu_read_lock();
	hash_for_each_possible_rcu(links, link, node, port)
		if (link->port == port && refcount_inc_not_zero(&link->references)) {
			rcu_read_unlock();
			return link;
		}
	rcu_read_unlock();
	return NULL;
}

/* The first link of the bucket at or after @skip others. */
static struct tsi_link *link_nth(int bucket, int skip)
{
	struct tsi_link *link, *found = NULL;

	rcu_read_lock();
	hlist_for_each_entry_rcu(link, &links[bucket], node)
		if (skip-- <= 0 && refcount_inc_not_zero(&link->references)) {
			found = link;
			break;
		}
	rcu_read_unlock();
	return found;
}

void tsi_link_for_each(const struct tsi_link_kind *kind, void (*fn)(struct tsi_link *link))
{
	struct tsi_link *link;
	int bucket, i;

	/* New links come in front: one may be seen twice then, none that was there is missed. */
	for (bucket = 0; bucket < HASH_SIZE(links); bucket++)
		for (i = 0; (link = link_nth(bucket, i)); i++) {
			if (!kind || link->kind == kind)
				fn(link);
			tsi_link_put(link);
		}
}

void tsi_link_fail(struct tsi_link *link)
{
	struct sock *vsk = link->vsock->sk;

	lock_sock(vsk);
	if (tsi_link_state(link) == TSI_LINK_OPENING && vsk->sk_user_data == link) {
		vsk->sk_state = TCP_CLOSE;
		vsk->sk_err = ECONNRESET;
		link_on_change(vsk);
	}
	release_sock(vsk);
}

/*
 * Vsock's own count still has the bytes of a packet that was read in part, so it is good for "is there something", while
 * FIONREAD wants to know what a read would give.
 */
size_t tsi_link_readable(struct tsi_link *link)
{
	struct virtio_vsock_sock *vvs = vsock_sk(link->vsock->sk)->trans;
	struct sk_buff *skb;
	size_t bytes = 0;

	if (!vvs)
		return 0;
	spin_lock_bh(&vvs->rx_lock);
	skb_queue_walk(&vvs->rx_queue, skb)
		bytes += skb->len;
	spin_unlock_bh(&vvs->rx_lock);
	return bytes;
}

bool tsi_link_has_data(struct tsi_link *link)
{
	struct virtio_vsock_sock *vvs = vsock_sk(link->vsock->sk)->trans;

	return vvs && READ_ONCE(vvs->rx_bytes);
}

size_t tsi_link_window(struct tsi_link *link)
{
	struct virtio_vsock_sock *vvs = vsock_sk(link->vsock->sk)->trans;

	return vvs ? min(READ_ONCE(vvs->peer_buf_alloc), READ_ONCE(vvs->buf_alloc)) : 0;
}

size_t tsi_link_unsent(struct tsi_link *link)
{
	struct virtio_vsock_sock *vvs = vsock_sk(link->vsock->sk)->trans;
	u32 bytes;

	if (!vvs)
		return 0;
	spin_lock_bh(&vvs->tx_lock);
	bytes = vvs->tx_cnt - vvs->peer_fwd_cnt;
	spin_unlock_bh(&vvs->tx_lock);
	return bytes;
}

size_t tsi_link_writable(struct tsi_link *link)
{
	size_t window = tsi_link_window(link), unsent = tsi_link_unsent(link);

	return window > unsent ? window - unsent : 0;
}

int tsi_link_send(struct tsi_link *link, struct msghdr *msg, size_t len)
{
	struct msghdr inner = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL, .msg_iter = msg->msg_iter };
	int n;

	n = link->vsock->ops->sendmsg(link->vsock, &inner, len);
	if (n == -ENOMEM && len > LINK_SMALL_PACKET && iov_iter_count(&msg->msg_iter) == len) {
		/* No room for a large packet does not mean that there is none for a small one. */
		inner.msg_iter = msg->msg_iter;
		iov_iter_truncate(&inner.msg_iter, LINK_SMALL_PACKET);
		n = link->vsock->ops->sendmsg(link->vsock, &inner, LINK_SMALL_PACKET);
	}
	if (n > 0)
		iov_iter_advance(&msg->msg_iter, n);
	/* Vsock's word for a buffer that is not there as well. */
	if (n == -ENOMEM && fault_in_iov_iter_readable(&msg->msg_iter, 1))
		return -EFAULT;
	return n;
}
