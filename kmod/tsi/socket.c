// SPDX-License-Identifier: GPL-2.0
#include "socket.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <net/inet_common.h>

#include "datagram.h"
#include "family.h"
#include "listen.h"
#include "options.h"
#include "stream.h"

/* Inet's operations, and ours made from them. */
static struct socket_ops {
	const struct proto_ops *base;
	struct proto_ops ops;
} socket_stream_ops[TSI_FAMILIES], socket_datagram_ops[TSI_FAMILIES], socket_ping_ops[TSI_FAMILIES];

static enum tsi_family_index socket_index(const struct sock *sk)
{
	return sk->sk_family == AF_INET6 ? TSI_INET6 : TSI_INET;
}

static struct socket_ops *socket_ops_of(const struct sock *sk)
{
	struct socket_ops *of_kind = sk->sk_type == SOCK_STREAM		? socket_stream_ops :
				     sk->sk_protocol == IPPROTO_UDP	? socket_datagram_ops :
									  socket_ping_ops;

	return &of_kind[socket_index(sk)];
}

const struct proto_ops *tsi_socket_base(const struct sock *sk)
{
	return socket_ops_of(sk)->base;
}

static int socket_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct tsi_socket *socket;
	struct tsi_link *link;

	/* An accept that failed. */
	if (!sk)
		return 0;
	socket = tsi_socket_of(sk);
	if (!socket)
		return tsi_socket_base(sk)->release(sock);

	lock_sock(sk);
	link = tsi_socket_take_link(socket);
	release_sock(sk);
	if (link && link->kind == &tsi_stream_kind)
		tsi_stream_linger(link);
	if (link)
		link->kind->retire(link);
	skb_queue_purge(&socket->queue);
	kfree_skb(socket->corked);
	write_lock_bh(&sk->sk_callback_lock);
	rcu_assign_sk_user_data(sk, NULL);
	write_unlock_bh(&sk->sk_callback_lock);
	kfree_rcu(socket, rcu);
	return tsi_socket_base(sk)->release(sock);
}

static void socket_make_stream_ops(struct socket_ops *entry)
{
	entry->ops = *entry->base;
	entry->ops.owner = THIS_MODULE;
	entry->ops.release = socket_release;
	entry->ops.bind = tsi_stream_bind;
	entry->ops.connect = tsi_stream_connect;
	entry->ops.accept = tsi_listen_accept;
	entry->ops.getname = tsi_stream_getname;
	entry->ops.poll = tsi_stream_poll;
	entry->ops.ioctl = tsi_stream_ioctl;
	entry->ops.listen = tsi_listen_listen;
	entry->ops.shutdown = tsi_stream_shutdown;
	entry->ops.setsockopt = tsi_options_set;
	entry->ops.getsockopt = tsi_options_get;
	entry->ops.sendmsg = tsi_stream_sendmsg;
	entry->ops.recvmsg = tsi_stream_recvmsg;
	entry->ops.sendpage = tsi_stream_sendpage;
	entry->ops.splice_read = tsi_stream_splice_read;
}

static void socket_make_datagram_ops(struct socket_ops *entry)
{
	entry->ops = *entry->base;
	entry->ops.owner = THIS_MODULE;
	entry->ops.release = socket_release;
	entry->ops.bind = tsi_datagram_bind;
	entry->ops.connect = tsi_datagram_connect;
	entry->ops.getname = tsi_datagram_getname;
	entry->ops.shutdown = tsi_datagram_shutdown;
	entry->ops.setsockopt = tsi_options_set;
	entry->ops.sendmsg = tsi_datagram_sendmsg;
	entry->ops.sendpage = tsi_datagram_sendpage;
}

/* Inet's operations are what a socket of the kernel's own gets. */
static int socket_find_base(int family, int type, int protocol, const struct proto_ops **ret_base)
{
	struct socket *sock;
	int err = sock_create_kern(&init_net, family, type, protocol, &sock);

	if (err)
		return err;
	*ret_base = sock->ops;
	sock_release(sock);
	return 0;
}

static int socket_init_family(int family, enum tsi_family_index i)
{
	int err = socket_find_base(family, SOCK_STREAM, 0, &socket_stream_ops[i].base);

	if (!err)
		err = socket_find_base(family, SOCK_DGRAM, 0, &socket_datagram_ops[i].base);
	/* Ping's are those of raw sockets, and not everybody may have a ping socket. */
	if (!err)
		err = socket_find_base(family, SOCK_RAW, IPPROTO_RAW, &socket_ping_ops[i].base);
	if (err)
		return err;
	socket_make_stream_ops(&socket_stream_ops[i]);
	socket_make_datagram_ops(&socket_datagram_ops[i]);
	socket_make_datagram_ops(&socket_ping_ops[i]);
	return 0;
}

int tsi_socket_init(void)
{
	int err = socket_init_family(PF_INET, TSI_INET);

	if (err)
		return err;
	err = socket_init_family(PF_INET6, TSI_INET6);
	/* A kernel that was told to do without IPv6. */
	return err == -EAFNOSUPPORT ? 0 : err;
}

static bool socket_is_served(const struct sock *sk)
{
	if (sk->sk_type == SOCK_STREAM)
		return sk->sk_protocol == IPPROTO_TCP;
	if (sk->sk_type != SOCK_DGRAM)
		return false;
	return sk->sk_protocol == IPPROTO_UDP ||
	       sk->sk_protocol == (sk->sk_family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

void tsi_socket_adopt(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct socket_ops *entry;

	if (!socket_is_served(sk))
		return;
	entry = socket_ops_of(sk);
	if (sock->ops != entry->base)
		return;
	sock->ops = &entry->ops;
}

int tsi_socket_create_inet(struct socket *sock, int family)
{
	const struct proto_ops *ops = sock->ops;
	int err = tsi_family_create_inet(sock, family, IPPROTO_TCP);

	if (!err) {
		tsi_socket_adopt(sock);
		return 0;
	}
	/* The caller holds the module for these, and releases with these. */
	sock->ops = ops;
	sock->sk = NULL;
	return err;
}

struct tsi_socket *tsi_socket_of(const struct sock *sk)
{
	struct tsi_socket *socket;

	rcu_read_lock();
	socket = rcu_dereference_sk_user_data(sk);
	if (socket && socket->sk != sk)
		socket = NULL;
	rcu_read_unlock();
	return socket;
}

struct tsi_socket *tsi_socket_make(struct sock *sk)
{
	struct tsi_socket *socket = tsi_socket_of(sk);

	if (socket)
		return socket;
	socket = kzalloc(sizeof(*socket), GFP_KERNEL_ACCOUNT);
	if (!socket)
		return NULL;
	socket->sk = sk;
	spin_lock_init(&socket->lock);
	skb_queue_head_init(&socket->queue);
	write_lock_bh(&sk->sk_callback_lock);
	if (!sk->sk_user_data)
		/* What a listener's children inherit must not be this. */
		__rcu_assign_sk_user_data_with_flags(sk, socket, SK_USER_DATA_NOCOPY);
	else
		kfree(socket), socket = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
	return socket;
}

struct tsi_link *tsi_socket_link(const struct sock *sk)
{
	struct tsi_socket *socket = tsi_socket_of(sk);

	return socket ? tsi_link_get(&socket->link) : NULL;
}

struct tsi_link *tsi_socket_take_link(struct tsi_socket *socket)
{
	struct tsi_link *link = rcu_dereference_protected(socket->link, lockdep_sock_is_held(socket->sk));

	RCU_INIT_POINTER(socket->link, NULL);
	return link;
}

void tsi_socket_set_link(struct tsi_socket *socket, struct tsi_link *link)
{
	rcu_assign_pointer(socket->link, link);
}

int tsi_socket_begin_zerocopy(struct sock *sk, struct msghdr *msg, struct ubuf_info **ret_done)
{
	*ret_done = NULL;
	if (!(msg->msg_flags & MSG_ZEROCOPY) || !msg_data_left(msg) || !sock_flag(sk, SOCK_ZEROCOPY))
		return 0;
	*ret_done = msg_zerocopy_realloc(sk, msg_data_left(msg), NULL);
	if (!*ret_done)
		return -ENOBUFS;
	uarg_to_msgzc(*ret_done)->zerocopy = 0;
	return 0;
}

void tsi_socket_end_zerocopy(struct ubuf_info *done, bool sent)
{
	if (sent)
		net_zcopy_put(done);
	else
		net_zcopy_put_abort(done, true);
}

int tsi_socket_wait(struct sock *sk, struct tsi_link *link, long *timeout, tsi_condition done, bool exclusive)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = 0;

	if (exclusive)
		add_wait_queue_exclusive(sk_sleep(sk), &wait);
	else
		add_wait_queue(sk_sleep(sk), &wait);
	while (!done(sk, link)) {
		if (!*timeout)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(*timeout);
		if (err)
			break;
		*timeout = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeout);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}
