// SPDX-License-Identifier: GPL-2.0
/*
 * The twin's clients are the host's connections to it; who they are for, and from whom, the host has said ahead in an
 * INCOMING message. Its address is kept in a list until the connection is accepted. An entry is pending until the
 * connection itself arrives, which is at once, or never when vsock has no room for it; so the pending ones are few, and of
 * too many the oldest go. Those that have arrived are as many as vsock's queue holds.
 */
#include "listen.h"

#include <linux/list.h>
#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/ipv6.h>

#include "address.h"
#include "control.h"
#include "options.h"
#include "socket.h"
#include "stream.h"

#define LISTEN_PENDING_MAX 256
/* A client that finds TCP's queue full asks again; one that finds the twin's full is refused. So let it not be short. */
#define LISTEN_BACKLOG_MIN 128

struct listen_client {
	struct list_head node;
	u32 port;
	struct tsi_address local;
	struct tsi_address remote;
};

/**
 * struct listener
 * @pending:	announced, not arrived yet; with @pending_count protected by link.lock
 * @arrived:	in vsock's accept queue, or being accepted
 * @turn:	which queue accept looks at first, so that neither starves the other
 */
struct listener {
	struct tsi_link link;
	struct list_head pending;
	struct list_head arrived;
	unsigned int pending_count;
	bool turn;
};

static struct listener *listener_of(struct tsi_link *link)
{
	return container_of(link, struct listener, link);
}

static struct listen_client *listen_find(struct list_head *list, u32 port)
{
	struct listen_client *client;

	list_for_each_entry(client, list, node)
		if (client->port == port)
			return client;
	return NULL;
}

/* With link.lock. Returns the entry that has to go, if any. */
static struct listen_client *listen_make_room(struct listener *self, u32 port)
{
	struct listen_client *old = listen_find(&self->pending, port);

	if (!old && self->pending_count >= LISTEN_PENDING_MAX)
		old = list_first_entry(&self->pending, struct listen_client, node);
	if (old) {
		list_del(&old->node);
		self->pending_count--;
	}
	return old;
}

static void listen_on_message(struct tsi_link *link, const struct tsi_message *message)
{
	struct listener *self = listener_of(link);
	struct listen_client *client, *old;

	if (le16_to_cpu(message->type) != TSI_INCOMING)
		return;
	/* Without it the client is accepted all the same, from nowhere. */
	client = kmalloc(sizeof(*client), GFP_KERNEL);
	if (!client)
		return;
	client->port = le32_to_cpu(message->port);
	client->local = message->local;
	client->remote = message->remote;
	spin_lock_bh(&link->lock);
	old = listen_make_room(self, client->port);
	list_add_tail(&client->node, &self->pending);
	self->pending_count++;
	spin_unlock_bh(&link->lock);
	kfree(old);
}

/* Vsock's sock is locked, and the connection that arrived is the last of its queue. */
static void listen_on_data(struct tsi_link *link, struct sock *vsk)
{
	struct list_head *queue = &vsock_sk(vsk)->accept_queue;
	struct listener *self = listener_of(link);
	struct listen_client *client = NULL;

	if (!list_empty(queue)) {
		struct vsock_sock *last = list_last_entry(queue, struct vsock_sock, accept_queue);

		spin_lock_bh(&link->lock);
		client = listen_find(&self->pending, last->remote_addr.svm_port);
		if (client) {
			list_move_tail(&client->node, &self->arrived);
			self->pending_count--;
		}
		spin_unlock_bh(&link->lock);
	}
	link->owner->sk_data_ready(link->owner);
}

static void listen_init(struct tsi_link *link)
{
	INIT_LIST_HEAD(&listener_of(link)->pending);
	INIT_LIST_HEAD(&listener_of(link)->arrived);
}

static void listen_free(struct list_head *list)
{
	struct listen_client *client, *next;

	list_for_each_entry_safe(client, next, list, node)
		kfree(client);
}

static void listen_destroy(struct tsi_link *link)
{
	listen_free(&listener_of(link)->pending);
	listen_free(&listener_of(link)->arrived);
}

static void listen_retire(struct tsi_link *link)
{
	struct tsi_message message = { .type = cpu_to_le16(TSI_UNLISTEN), .port = cpu_to_le32(link->port) };

	/* Not to be announced again from here on: either the host hears of the end, or it does not hear of it at all. */
	spin_lock_bh(&link->lock);
	link->state = TSI_LINK_CLOSED;
	spin_unlock_bh(&link->lock);
	(void)tsi_control_send(&message);
	tsi_link_close(link);
}

const struct tsi_link_kind tsi_listener_kind = {
	.size = sizeof(struct listener),
	.init = listen_init,
	.data = listen_on_data,
	.message = listen_on_message,
	.retire = listen_retire,
	.destroy = listen_destroy,
};

void tsi_listen_describe(struct tsi_link *link, struct tsi_message *message)
{
	struct sock *sk = link->owner;

	memset(message, 0, sizeof(*message));
	message->type = cpu_to_le16(TSI_LISTEN);
	message->port = cpu_to_le32(link->port);
	if (sk->sk_family == AF_INET6 && ipv6_only_sock(sk))
		message->value = cpu_to_le32(TSI_LISTEN_V6ONLY);
	tsi_address_of_sock(&message->local, sk);
	/* ::ffff:0.0.0.0 and 0.0.0.0 are the same; [::] must not become that. */
	if (sk->sk_family == AF_INET6 && ipv6_addr_any(&sk->sk_v6_rcv_saddr))
		message->local.family = cpu_to_le16(TSI_FAMILY_V6);
}

/* With the sock locked. The link, new or old, or ERR_PTR. Nothing when somebody has ended the listening meanwhile. */
static struct tsi_link *listen_twin(struct sock *sk, bool *ret_new)
{
	struct tsi_socket *socket = sk->sk_state == TCP_LISTEN ? tsi_socket_make(sk) : NULL;
	struct tsi_link *link = socket ? tsi_link_get(&socket->link) : ERR_PTR(-ENOMEM);

	*ret_new = !link;
	if (link)
		return link;
	link = tsi_link_new(&tsi_listener_kind, SOCK_STREAM, sk);
	if (IS_ERR(link))
		return link;
	refcount_inc(&link->references);
	tsi_socket_set_link(socket, link);
	return link;
}

/* Nobody outside can reach it without the twin, but it works inside: inet's answer is the answer. */
int tsi_listen_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	struct tsi_message message;
	struct tsi_link *link;
	bool fresh;
	int err;

	err = tsi_socket_base(sk)->listen(sock, backlog);
	if (err)
		return err;
	lock_sock(sk);
	link = listen_twin(sk, &fresh);
	release_sock(sk);
	if (IS_ERR(link))
		return 0;
	if (link->kind == &tsi_listener_kind)
		(void)kernel_listen(link->vsock, max_t(u32, READ_ONCE(sk->sk_max_ack_backlog), LISTEN_BACKLOG_MIN));
	if (fresh) {
		tsi_listen_describe(link, &message);
		(void)tsi_control_send(&message);
	}
	tsi_link_put(link);
	return 0;
}

void tsi_listen_check(struct sock *sk)
{
	struct tsi_socket *socket = tsi_socket_of(sk);
	struct tsi_link *link;

	if (!socket)
		return;
	lock_sock(sk);
	link = rcu_dereference_protected(socket->link, lockdep_sock_is_held(sk));
	if (link && link->kind == &tsi_listener_kind && sk->sk_state != TCP_LISTEN)
		tsi_socket_take_link(socket);
	else
		link = NULL;
	release_sock(sk);
	if (!link)
		return;
	listen_retire(link);
	/* Whoever waits in accept finds that there is nothing to wait for. */
	sk->sk_state_change(sk);
}

static bool listen_has_client(struct tsi_link *link)
{
	struct list_head *queue = &vsock_sk(link->vsock->sk)->accept_queue;

	return READ_ONCE(queue->next) != queue;
}

__poll_t tsi_listen_poll(struct tsi_link *link)
{
	return listen_has_client(link) ? EPOLLIN | EPOLLRDNORM : 0;
}

static void listen_take_address(struct tsi_link *link, u32 port, struct tsi_address *local, struct tsi_address *remote)
{
	struct listen_client *client;

	spin_lock_bh(&link->lock);
	client = listen_find(&listener_of(link)->arrived, port);
	if (client)
		list_del(&client->node);
	spin_unlock_bh(&link->lock);
	if (!client)
		return;
	*local = client->local;
	*remote = client->remote;
	kfree(client);
}

/* The next of vsock's queue, or -EAGAIN. */
static int listen_dequeue(struct tsi_link *link, struct socket **ret_vsock)
{
	struct socket *vsock;
	int err;

	/* Vsock's own accept sleeps for a tick when there is nothing. */
	if (!listen_has_client(link))
		return -EAGAIN;
	err = sock_create_lite(AF_VSOCK, SOCK_STREAM, 0, &vsock);
	if (err)
		return err;
	err = link->vsock->ops->accept(link->vsock, vsock, O_NONBLOCK, true);
	if (err) {
		sock_release(vsock);
		/* Someone else took it; a signal, if there is one, is seen by whoever waits. */
		return err == -EAGAIN || err == -EINTR || err == -ERESTARTSYS ? -EAGAIN : err;
	}
	vsock->ops = link->vsock->ops;
	__module_get(vsock->ops->owner);
	*ret_vsock = vsock;
	return 0;
}

static int listen_accept_host(struct socket *sock, struct tsi_link *link, struct socket *newsock)
{
	struct tsi_address local = {}, remote = {};
	struct socket *vsock;
	int err = listen_dequeue(link, &vsock);

	if (err)
		return err;
	listen_take_address(link, vsock_sk(vsock->sk)->remote_addr.svm_port, &local, &remote);
	err = tsi_socket_create_inet(newsock, sock->sk->sk_family);
	if (err) {
		sock_release(vsock);
		return err;
	}
	tsi_options_inherit(newsock->sk, sock->sk);
	return tsi_stream_adopt(newsock, vsock, &local, &remote);
}

static int listen_accept_any(struct socket *sock, struct tsi_link *link, struct socket *newsock, int flags, bool kern)
{
	bool host_first = (listener_of(link)->turn = !listener_of(link)->turn);
	int err;

	if (host_first) {
		err = listen_accept_host(sock, link, newsock);
		if (err != -EAGAIN)
			return err;
	}
	err = tsi_socket_base(sock->sk)->accept(sock, newsock, flags | O_NONBLOCK, kern);
	if (err != -EAGAIN || host_first)
		return err;
	return listen_accept_host(sock, link, newsock);
}

static bool listen_can_accept(struct sock *sk, struct tsi_link *link)
{
	return listen_has_client(link) || sk->sk_state != TCP_LISTEN || tsi_link_state(link) == TSI_LINK_CLOSED ||
	       !reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue);
}

int tsi_listen_accept(struct socket *sock, struct socket *newsock, int flags, bool kern)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link = tsi_socket_link(sk);
	long timeout;
	int err;

	if (!link || link->kind != &tsi_listener_kind) {
		err = tsi_socket_base(sock->sk)->accept(sock, newsock, flags, kern);
		goto out;
	}
	timeout = sock_rcvtimeo(sk, flags & O_NONBLOCK);
	do {
		err = listen_accept_any(sock, link, newsock, flags, kern);
		if (err != -EAGAIN)
			break;
		err = tsi_socket_wait(sk, link, &timeout, listen_can_accept, true);
	} while (!err);
out:
	if (link)
		tsi_link_put(link);
	return err;
}
