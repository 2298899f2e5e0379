// SPDX-License-Identifier: GPL-2.0
/*
 * The inet sock of a proxied connection stays in TCP_CLOSE; what the core of the kernel and poll look at in it is kept as
 * TCP would keep it:
 *
 *	sk_err		why the connection failed or ended; SO_ERROR, and the next operation, take it
 *	sk_shutdown	RCV_SHUTDOWN after the peer's end of file, SEND_SHUTDOWN after our own, both when all is over
 *	sock->state	SS_CONNECTING until some connect() saw the outcome, as inet has it
 *
 * Vsock's callbacks write the first two and wake the program's wait queue, so a wait here is for a condition on them or on
 * vsock's queues, and a registration with epoll from before the connect is as good as a later one.
 */
#include "stream.h"

#include <linux/sched/signal.h>
#include <linux/splice.h>
#include <linux/sockios.h>
#include <asm/ioctls.h>
#include <net/tcp.h>

#include "address.h"
#include "control.h"
#include "listen.h"
#include "input.h"
#include "options.h"
#include "output.h"
#include "socket.h"

/* How long a blocking connect waits for a host that is being replaced. */
#define STREAM_HOST_TIMEOUT (2 * HZ)
#define STREAM_HOST_TRIES 3

struct stream {
	struct tsi_link link;
	struct tsi_input input;
	struct tsi_output output;
};

static struct stream *stream_of(struct tsi_link *link)
{
	return container_of(link, struct stream, link);
}

static void stream_init(struct tsi_link *link)
{
	tsi_output_init(&stream_of(link)->output, link);
}

/* With link->lock. As tcp_reset(): what the program was in the middle of decides what it is told. */
static int stream_reset_error(const struct tsi_link *link, const struct sock *vsk)
{
	bool local_ended = READ_ONCE(link->owner->sk_shutdown) & SEND_SHUTDOWN;

	if (link->error)
		return link->error;
	if (link->state == TSI_LINK_OPENING)
		return ECONNREFUSED;
	if (vsk->sk_err)
		return vsk->sk_err;
	if (!link->peer_ended)
		return ECONNRESET;
	return local_ended ? 0 : EPIPE;
}

/* With link->lock. */
static void stream_end(struct tsi_link *link, int error)
{
	if (error)
		WRITE_ONCE(link->owner->sk_err, error);
	/* Whoever sees the end sees its reason: stream_poll_mask. */
	smp_wmb();
	WRITE_ONCE(link->owner->sk_shutdown, SHUTDOWN_MASK);
	/* The same for tsi_link_state. */
	smp_store_release(&link->state, TSI_LINK_CLOSED);
}

static void stream_on_change(struct tsi_link *link, struct sock *vsk)
{
	struct sock *sk = link->owner;

	spin_lock(&link->lock);
	if (link->state == TSI_LINK_OPENING && vsk->sk_state == TCP_ESTABLISHED)
		link->state = TSI_LINK_OPEN;
	if (link->state != TSI_LINK_CLOSED && (vsk->sk_err || sock_flag(vsk, SOCK_DONE)))
		stream_end(link, stream_reset_error(link, vsk));
	if (vsock_sk(vsk)->peer_shutdown & SEND_SHUTDOWN) {
		link->peer_ended = true;
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
	}
	spin_unlock(&link->lock);

	sk->sk_state_change(sk);
	if (READ_ONCE(sk->sk_err))
		sk_error_report(sk);
}

static void stream_on_data(struct tsi_link *link, struct sock *vsk)
{
	link->owner->sk_data_ready(link->owner);
}

/* Vsock calls this for every packet that comes in; only a writer who found no room wants to know. */
static void stream_on_space(struct tsi_link *link, struct sock *vsk)
{
	struct socket *sock = link->owner->sk_socket;

	/* Pairs with stream_wants_room. */
	smp_mb();
	if (sock && test_bit(SOCK_NOSPACE, &sock->flags) && tsi_output_has_room(&stream_of(link)->output))
		link->owner->sk_write_space(link->owner);
}

static void stream_on_message(struct tsi_link *link, const struct tsi_message *message)
{
	spin_lock_bh(&link->lock);
	switch (le16_to_cpu(message->type)) {
	case TSI_CONNECTED:
		link->local = message->local;
		if (message->remote.family)
			link->remote = message->remote;
		break;
	case TSI_FAILED:
	case TSI_RESET:
		link->error = tsi_control_errno(message, ECONNRESET);
		break;
	}
	spin_unlock_bh(&link->lock);
}

/* What is unread is lost to the program's peer too, who must not think that it was read: TCP resets then. */
static bool stream_should_reset(struct tsi_link *link)
{
	struct sock *sk = link->owner;

	return (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime) || tsi_link_has_data(link);
}

static bool stream_is_closed(struct sock *sk, struct tsi_link *link)
{
	return tsi_link_state(link) == TSI_LINK_CLOSED;
}

void tsi_stream_linger(struct tsi_link *link)
{
	struct sock *sk = link->owner;
	long timeout = sk->sk_lingertime;

	if (!sock_flag(sk, SOCK_LINGER) || !timeout || current->flags & PF_EXITING)
		return;
	if (tsi_link_state(link) != TSI_LINK_OPEN || stream_should_reset(link))
		return;
	tsi_output_flush(&stream_of(link)->output, sk, true);
	if (tsi_control_option(link->port, TSI_OPTION_LINGER, DIV_ROUND_UP(timeout, HZ)))
		return;
	kernel_sock_shutdown(link->vsock, SHUT_RDWR);
	(void)tsi_socket_wait(sk, link, &timeout, stream_is_closed, false);
}

static void stream_retire(struct tsi_link *link)
{
	struct tsi_output *output = &stream_of(link)->output;

	tsi_output_flush(output, link->owner, true);
	if (tsi_link_state(link) == TSI_LINK_OPEN && stream_should_reset(link))
		(void)tsi_control_option(link->port, TSI_OPTION_LINGER, 0);
	refcount_inc(&link->references);
	tsi_link_close(link);
	tsi_output_stop(output);
	tsi_link_put(link);
}

const struct tsi_link_kind tsi_stream_kind = {
	.size = sizeof(struct stream),
	.init = stream_init,
	.data = stream_on_data,
	.space = stream_on_space,
	.changed = stream_on_change,
	.message = stream_on_message,
	.retire = stream_retire,
};

/* The socket's link if it is a stream; a listener is served elsewhere. */
static struct tsi_link *stream_link(const struct sock *sk)
{
	struct tsi_link *link = tsi_socket_link(sk);

	if (!link || link->kind == &tsi_stream_kind)
		return link;
	tsi_link_put(link);
	return NULL;
}

void tsi_stream_push(struct tsi_link *link, const struct sock *sk)
{
	tsi_output_flush(&stream_of(link)->output, sk, tcp_sk(sk)->nonagle & TCP_NAGLE_OFF);
}

int tsi_stream_tcp_state(const struct sock *sk)
{
	struct tsi_link *link = stream_link(sk);
	int shutdown = READ_ONCE(sk->sk_shutdown);
	int state = TCP_CLOSE;

	if (!link)
		return -1;
	if (tsi_link_state(link) == TSI_LINK_OPENING)
		state = TCP_SYN_SENT;
	else if (tsi_link_state(link) == TSI_LINK_OPEN)
		state = !shutdown ? TCP_ESTABLISHED : shutdown == RCV_SHUTDOWN ? TCP_CLOSE_WAIT :
			shutdown == SEND_SHUTDOWN ? TCP_FIN_WAIT2 : TCP_LAST_ACK;
	tsi_link_put(link);
	return state;
}

/* ---- connect ---- */

/* With the sock locked. Makes it as it was before the connect, so that it can be connected again. */
static void stream_forget(struct socket *sock)
{
	struct tsi_socket *socket = tsi_socket_of(sock->sk);
	struct tsi_link *link = socket ? tsi_socket_take_link(socket) : NULL;

	sock->state = SS_UNCONNECTED;
	sock->sk->sk_shutdown = 0;
	if (!link)
		return;
	link->kind->retire(link);
	/* Whoever waits for that link finds it closed. */
	sock->sk->sk_state_change(sock->sk);
}

static int stream_request(struct tsi_link *link, struct sock *sk, const struct tsi_address *remote)
{
	struct tsi_message message = {
		.type = cpu_to_le16(TSI_CONNECT),
		.port = cpu_to_le32(link->port),
		.value = cpu_to_le32(tsi_options_stream_bits(sk)),
		.remote = *remote,
	};
	int err;

	tsi_address_for_host(&message.local, sk);
	err = tsi_control_send(&message);
	if (!err)
		err = tsi_options_send_all(link, sk);
	return err ? err : tsi_link_connect(link, TSI_PORT_STREAM);
}

/* With the sock locked. -ENOTCONN: the host is not there. */
static int stream_begin(struct socket *sock, const struct tsi_address *remote)
{
	struct sock *sk = sock->sk;
	struct tsi_socket *socket = tsi_socket_make(sk);
	struct tsi_link *link;
	int err;

	if (!socket)
		return -ENOMEM;
	/* A listener that was one until just now. */
	stream_forget(sock);
	link = tsi_link_new(&tsi_stream_kind, SOCK_STREAM, sk);
	if (IS_ERR(link))
		return PTR_ERR(link);
	link->remote = *remote;
	link->keepalive = sock_flag(sk, SOCK_KEEPOPEN);
	sk->sk_err = 0;
	sk->sk_shutdown = 0;
	tsi_socket_set_link(socket, link);
	sock->state = SS_CONNECTING;
	err = stream_request(link, sk, remote);
	if (!err)
		return 0;
	tsi_link_close(tsi_socket_take_link(socket));
	sock->state = SS_UNCONNECTED;
	return err == -ENODEV ? -ENOTCONN : err;
}

static bool stream_is_decided(struct sock *sk, struct tsi_link *link)
{
	return tsi_link_state(link) != TSI_LINK_OPENING;
}

/* With the sock locked, which it is not while it waits. */
static int stream_await_open(struct sock *sk, struct tsi_link *link, int flags)
{
	long timeout = sock_sndtimeo(sk, flags & O_NONBLOCK);
	int err;

	if (stream_is_decided(sk, link))
		return 0;
	if (!timeout)
		return -EAGAIN;
	release_sock(sk);
	err = tsi_socket_wait(sk, link, &timeout, stream_is_decided, false);
	lock_sock(sk);
	return err;
}

/* With the sock locked. As __inet_stream_connect() from where the request is on its way. */
static int stream_finish_connect(struct socket *sock, struct tsi_link *link, int flags, int err)
{
	int waited = stream_await_open(sock->sk, link, flags);

	if (waited)
		return waited == -EAGAIN ? err : waited;
	/* Somebody else disconnected it, and may have connected it anew. */
	if (link != rcu_access_pointer(tsi_socket_of(sock->sk)->link))
		return -EPIPE;
	if (tsi_link_state(link) == TSI_LINK_OPEN || link->peer_ended) {
		sock->state = SS_CONNECTED;
		return 0;
	}
	err = sock_error(sock->sk);
	stream_forget(sock);
	return err ? err : -ECONNABORTED;
}

/* With the sock locked. */
static int stream_connect_locked(struct socket *sock, const struct tsi_address *remote, int flags)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link;
	int err = -EALREADY;

	if (sock->state == SS_CONNECTED)
		return -EISCONN;
	if (sock->state == SS_UNCONNECTED) {
		if (sk->sk_state != TCP_CLOSE)
			return -EISCONN;
		err = stream_begin(sock, remote);
		if (err)
			return err;
		err = -EINPROGRESS;
	}
	link = stream_link(sk);
	if (!link)
		return -EINVAL;
	err = stream_finish_connect(sock, link, flags, err);
	tsi_link_put(link);
	return err;
}

static int stream_disconnect(struct socket *sock, struct sockaddr *name, int len, int flags)
{
	lock_sock(sock->sk);
	stream_forget(sock);
	release_sock(sock->sk);
	return tsi_socket_base(sock->sk)->connect(sock, name, len, flags);
}

/* To the guest itself; or a disconnect, which ends a listener too. */
static int stream_connect_inet(struct socket *sock, struct sockaddr *name, int len, int flags)
{
	int err = tsi_socket_base(sock->sk)->connect(sock, name, len, flags);

	tsi_listen_check(sock->sk);
	return err;
}

int tsi_stream_connect(struct socket *sock, struct sockaddr *name, int len, int flags)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = stream_link(sk);
	long timeout = STREAM_HOST_TIMEOUT;
	int tries = 0;
	struct tsi_address remote;
	int err;

	if (link)
		tsi_link_put(link);
	if (link && len >= (int)sizeof(name->sa_family) && name->sa_family == AF_UNSPEC)
		return stream_disconnect(sock, name, len, flags);
	if (!link) {
		if (sock->state != SS_UNCONNECTED || !tsi_address_parse(&remote, name, len) || name->sa_family != sk->sk_family ||
		    !tsi_address_is_outside(&remote, sk))
			return stream_connect_inet(sock, name, len, flags);
	} else if (!tsi_address_parse(&remote, name, len)) {
		return -EINVAL;
	}
	do {
		lock_sock(sk);
		err = stream_connect_locked(sock, &remote, flags);
		release_sock(sk);
		if (err != -ENOTCONN || flags & O_NONBLOCK)
			break;
		err = tsi_control_wait(&timeout);
	} while (!err && ++tries < STREAM_HOST_TRIES);
	return err == -ENOTCONN ? -ENETUNREACH : err;
}

int tsi_stream_adopt(struct socket *sock, struct socket *vsock, const struct tsi_address *local,
		     const struct tsi_address *remote)
{
	struct sock *sk = sock->sk;
	struct tsi_socket *socket;
	struct tsi_link *link;

	lock_sock(sk);
	link = tsi_link_adopt(&tsi_stream_kind, vsock, sk);
	socket = IS_ERR(link) ? NULL : tsi_socket_make(sk);
	if (socket) {
		link->local = *local;
		link->remote = *remote;
		sock->state = SS_CONNECTED;
		tsi_socket_set_link(socket, link);
		/* What happened before we were called back for it. */
		read_lock_bh(&vsock->sk->sk_callback_lock);
		stream_on_change(link, vsock->sk);
		read_unlock_bh(&vsock->sk->sk_callback_lock);
	} else if (!IS_ERR(link)) {
		tsi_link_close(link);
	}
	release_sock(sk);
	return socket ? 0 : -ENOMEM;
}

/* A connected socket has a port, though inet does not know it. */
int tsi_stream_bind(struct socket *sock, struct sockaddr *name, int len)
{
	struct tsi_link *link = stream_link(sock->sk);

	if (!link)
		return tsi_socket_base(sock->sk)->bind(sock, name, len);
	tsi_link_put(link);
	return -EINVAL;
}

int tsi_stream_getname(struct socket *sock, struct sockaddr *name, int peer)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = stream_link(sk);
	struct tsi_address address;
	enum tsi_link_state state;

	if (!link)
		return tsi_socket_base(sk)->getname(sock, name, peer);
	spin_lock_bh(&link->lock);
	state = link->state;
	address = peer ? link->remote : link->local;
	spin_unlock_bh(&link->lock);
	tsi_link_put(link);
	/* 2 is accept's: the address of a client that may have gone already. */
	if (peer == 1 && state != TSI_LINK_OPEN)
		return -ENOTCONN;
	if (!tsi_address_is_set(&address) && !peer)
		return tsi_socket_base(sk)->getname(sock, name, peer);
	return tsi_address_format(&address, sk->sk_family, (struct sockaddr_storage *)name);
}

/* ---- poll and ioctl ---- */

/* Pairs with stream_on_space: either it sees the bit, or we see the room. */
static bool stream_wants_room(struct sock *sk, struct tsi_link *link)
{
	const struct tsi_output *output = &stream_of(link)->output;

	if (tsi_output_has_room(output))
		return false;
	set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, sk);
	/* As said above: the bit before the second look. */
	smp_mb__after_atomic();
	return !tsi_output_has_room(output);
}

static bool stream_is_readable(struct sock *sk, struct tsi_link *link)
{
	int target = sock_rcvlowat(sk, 0, INT_MAX);

	return target <= 1 ? tsi_link_has_data(link) : tsi_link_readable(link) >= target;
}

/* As tcp_poll(). */
static __poll_t stream_poll_mask(struct sock *sk, struct tsi_link *link)
{
	enum tsi_link_state state = tsi_link_state(link);
	u8 shutdown = READ_ONCE(sk->sk_shutdown);
	__poll_t mask = 0;

	if (shutdown == SHUTDOWN_MASK || state == TSI_LINK_CLOSED)
		mask |= EPOLLHUP;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (state != TSI_LINK_OPENING) {
		if (stream_is_readable(sk, link))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (shutdown & SEND_SHUTDOWN || !stream_wants_room(sk, link))
			mask |= EPOLLOUT | EPOLLWRNORM;
	}
	/* Pairs with the order in stream_end. */
	smp_rmb();
	if (READ_ONCE(sk->sk_err) || !skb_queue_empty_lockless(&sk->sk_error_queue))
		mask |= EPOLLERR;
	return mask;
}

__poll_t tsi_stream_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link;
	__poll_t mask;

	sock_poll_wait(file, sock, wait);
	link = tsi_socket_link(sk);
	if (!link)
		return tsi_socket_base(sk)->poll(file, sock, NULL);
	if (link->kind == &tsi_stream_kind) {
		tsi_output_flush(&stream_of(link)->output, sk, false);
		mask = stream_poll_mask(sk, link);
	} else {
		mask = tsi_socket_base(sk)->poll(file, sock, NULL) | tsi_listen_poll(link);
	}
	tsi_link_put(link);
	return mask;
}

int tsi_stream_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = stream_link(sk);
	int answer = -1;

	if (!link)
		return tsi_socket_base(sk)->ioctl(sock, cmd, arg);
	switch (cmd) {
	case SIOCINQ:
		answer = tsi_link_readable(link);
		break;
	case SIOCOUTQ:
		answer = tsi_link_unsent(link) + tsi_output_held(&stream_of(link)->output);
		break;
	case SIOCOUTQNSD:
		answer = tsi_output_held(&stream_of(link)->output);
		break;
	case SIOCATMARK:
		answer = 0;
		break;
	}
	tsi_link_put(link);
	if (answer < 0)
		return tsi_socket_base(sk)->ioctl(sock, cmd, arg);
	return put_user(answer, (int __user *)arg);
}

/* ---- shutdown ---- */

/*
 * Nothing is said to the host of a SHUT_RD: TCP says nothing either, goes on taking what comes, and hands out what there
 * is before the end of file.
 */
static int stream_shutdown_link(struct socket *sock, struct tsi_link *link, int how)
{
	struct sock *sk = sock->sk;
	bool end_sending;

	if (tsi_link_state(link) == TSI_LINK_OPENING) {
		stream_forget(sock);
		return 0;
	}
	spin_lock_bh(&link->lock);
	end_sending = how & ~sk->sk_shutdown & SEND_SHUTDOWN;
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
	spin_unlock_bh(&link->lock);
	tsi_output_flush(&stream_of(link)->output, sk, true);
	if (end_sending)
		kernel_sock_shutdown(link->vsock, SHUT_WR);
	sk->sk_state_change(sk);
	return tsi_link_state(link) == TSI_LINK_CLOSED ? -ENOTCONN : 0;
}

int tsi_stream_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link;
	int err;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	link = tsi_socket_link(sk);
	if (!link)
		return tsi_socket_base(sk)->shutdown(sock, how);
	if (link->kind == &tsi_stream_kind) {
		lock_sock(sk);
		err = stream_shutdown_link(sock, link, how + 1);
		release_sock(sk);
	} else {
		err = tsi_socket_base(sk)->shutdown(sock, how);
		tsi_listen_check(sk);
	}
	tsi_link_put(link);
	return err;
}

/* ---- data ---- */

static bool stream_can_send(struct sock *sk, struct tsi_link *link)
{
	if (tsi_link_state(link) == TSI_LINK_OPENING)
		return false;
	if (tsi_link_state(link) == TSI_LINK_CLOSED || READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
		return true;
	return !stream_wants_room(sk, link);
}

static int stream_send_some(struct sock *sk, struct tsi_link *link, struct msghdr *msg, bool by_page)
{
	int n;

	if (READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
		return -EPIPE;
	if (tsi_link_state(link) == TSI_LINK_OPENING)
		return -EAGAIN;
	if (tsi_link_state(link) == TSI_LINK_CLOSED)
		return -EPIPE;
	n = tsi_output_send(&stream_of(link)->output, msg, sk, by_page);
	/* Vsock's words for a connection that ended meanwhile; whoever ended it has said why in sk_err. */
	return n == -ENOTCONN || n == -ECONNRESET ? -EPIPE : n;
}

static int stream_send(struct sock *sk, struct tsi_link *link, struct msghdr *msg, bool by_page)
{
	long timeout = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	size_t sent = 0;
	int n = 0;

	while (msg_data_left(msg)) {
		n = stream_send_some(sk, link, msg, by_page);
		if (n > 0) {
			sent += n;
			continue;
		}
		if (n == -EAGAIN || !n)
			n = tsi_socket_wait(sk, link, &timeout, stream_can_send, false);
		if (n)
			break;
	}
	if (sent)
		return sent;
	return n < 0 ? sk_stream_error(sk, msg->msg_flags, n) : 0;
}

/* The connect that MSG_FASTOPEN asks a send for. */
static int stream_connect_for_send(struct socket *sock, struct msghdr *msg)
{
	struct tsi_address remote;

	if (!(msg->msg_flags & MSG_FASTOPEN) || !msg->msg_name ||
	    !tsi_address_parse(&remote, msg->msg_name, msg->msg_namelen) || !tsi_address_is_outside(&remote, sock->sk))
		return 0;
	return tsi_stream_connect(sock, msg->msg_name, msg->msg_namelen,
				  msg->msg_flags & MSG_DONTWAIT ? O_NONBLOCK : 0);
}

static int stream_send_any(struct sock *sk, struct tsi_link *link, struct msghdr *msg)
{
	struct ubuf_info *done;
	int n;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	n = tsi_socket_begin_zerocopy(sk, msg, &done);
	if (n)
		return n;
	n = stream_send(sk, link, msg, false);
	tsi_socket_end_zerocopy(done, n >= 0);
	return n;
}

int tsi_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = stream_link(sk);
	int err;

	if (!link) {
		err = stream_connect_for_send(sock, msg);
		if (err)
			return err;
		link = stream_link(sk);
		if (!link)
			return tsi_socket_base(sk)->sendmsg(sock, msg, len);
	}
	tsi_options_check_keepalive(link, sk);
	err = stream_send_any(sk, link, msg);
	tsi_link_put(link);
	return err;
}

ssize_t tsi_stream_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
{
	struct bio_vec part = { .bv_page = page, .bv_offset = offset, .bv_len = size };
	struct msghdr msg = { .msg_flags = flags };
	struct tsi_link *link = stream_link(sock->sk);
	int n;

	if (!link)
		return tsi_socket_base(sock->sk)->sendpage(sock, page, offset, size, flags);
	iov_iter_bvec(&msg.msg_iter, WRITE, &part, 1, size);
	tsi_options_check_keepalive(link, sock->sk);
	n = stream_send(sock->sk, link, &msg, sendpage_ok(page));
	tsi_link_put(link);
	return n;
}

static bool stream_has_ended(struct sock *sk, struct tsi_link *link)
{
	return tsi_link_state(link) == TSI_LINK_CLOSED || READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN;
}

static bool stream_can_receive(struct sock *sk, struct tsi_link *link)
{
	return tsi_link_has_data(link) || stream_has_ended(sk, link) || READ_ONCE(sk->sk_err);
}

/*
 * Bytes, 0 for the end of file, or -errno; -EAGAIN when the program might wait. The last bytes come before the end: they
 * are there once it has been seen. Looked at in the other order there may be none yet, then come bytes and end, and what
 * is returned is an end too early.
 */
static int stream_receive_some(struct sock *sk, struct tsi_link *link, struct msghdr *msg, size_t len, int flags)
{
	bool ended = stream_has_ended(sk, link), failed = READ_ONCE(sk->sk_err);
	int n;

	/* Pairs with stream_end. */
	smp_rmb();
	n = tsi_link_has_data(link) ? tsi_input_receive(&stream_of(link)->input, link, msg, len, flags) : 0;
	if (n)
		return n;
	/* Somebody else has them. */
	if (tsi_link_has_data(link))
		return -EAGAIN;
	/* EPIPE, a reset behind the end of file, is for writers: TCP's readers go on seeing the end of file. */
	n = failed && READ_ONCE(sk->sk_err) != EPIPE ? sock_error(sk) : 0;
	return n || ended ? n : -EAGAIN;
}

static int stream_receive(struct sock *sk, struct tsi_link *link, struct msghdr *msg, size_t len, int flags)
{
	long timeout = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	size_t target = sock_rcvlowat(sk, flags & MSG_WAITALL, len);
	size_t copied = 0;
	int n = 0;

	/* One that wants nothing waits for something nevertheless. */
	if (!len && !stream_can_receive(sk, link))
		return tsi_socket_wait(sk, link, &timeout, stream_can_receive, false);
	while (copied < len) {
		/* An error is for the next call when there is something to return now. */
		if (copied && !tsi_link_has_data(link) && READ_ONCE(sk->sk_err))
			break;
		n = stream_receive_some(sk, link, msg, len - copied, flags);
		if (n > 0) {
			copied += n;
			if (copied >= target || flags & MSG_PEEK)
				break;
			continue;
		}
		if (n == -EAGAIN)
			n = tsi_socket_wait(sk, link, &timeout, stream_can_receive, false);
		else if (!n)
			break;
		if (n)
			break;
	}
	return copied ? copied : n;
}

/* TCP_INQ, and io_uring: what the next read finds, an end of file counting as one. */
static void stream_tell_rest(struct sock *sk, struct tsi_link *link, struct msghdr *msg)
{
	int rest;

	if (!tcp_sk(sk)->recvmsg_inq && !msg->msg_get_inq)
		return;
	rest = tsi_link_readable(link);
	if (!rest && stream_has_ended(sk, link))
		rest = 1;
	msg->msg_inq = rest;
	if (tcp_sk(sk)->recvmsg_inq)
		put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(rest), &rest);
}

int tsi_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = stream_link(sk);
	struct iov_iter buffer;
	int n;

	if (!link || flags & (MSG_ERRQUEUE | MSG_OOB)) {
		n = tsi_socket_base(sk)->recvmsg(sock, msg, len, flags);
		goto out;
	}
	tsi_options_check_keepalive(link, sk);
	tsi_output_flush(&stream_of(link)->output, sk, false);
	buffer = msg->msg_iter;
	/* TCP's meaning of MSG_TRUNC: throw away. */
	if (flags & MSG_TRUNC)
		iov_iter_discard(&msg->msg_iter, READ, len);
	msg->msg_namelen = 0;
	n = stream_receive(sk, link, msg, len, flags);
	if (flags & MSG_TRUNC)
		msg->msg_iter = buffer;
	if (n >= 0)
		stream_tell_rest(sk, link, msg);
out:
	if (link)
		tsi_link_put(link);
	return n;
}

ssize_t tsi_stream_splice_read(struct socket *sock, loff_t *pos, struct pipe_inode_info *pipe, size_t len,
			       unsigned int flags)
{
	struct tsi_link *link = stream_link(sock->sk);

	if (!link)
		return tsi_socket_base(sock->sk)->splice_read(sock, pos, pipe, len, flags);
	tsi_link_put(link);
	return generic_file_splice_read(sock->file, pos, pipe, len, flags);
}
