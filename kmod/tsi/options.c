// SPDX-License-Identifier: GPL-2.0
#include "options.h"

#include <linux/tcp.h>
#include <linux/uaccess.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "control.h"
#include "datagram.h"
#include "listen.h"
#include "socket.h"
#include "stream.h"

static u32 options_keepalive(const struct sock *sk)
{
	return sock_flag(sk, SOCK_KEEPOPEN);
}

static u32 options_keepidle(const struct sock *sk)
{
	return READ_ONCE(tcp_sk(sk)->keepalive_time) / HZ;
}

static u32 options_keepintvl(const struct sock *sk)
{
	return READ_ONCE(tcp_sk(sk)->keepalive_intvl) / HZ;
}

static u32 options_keepcnt(const struct sock *sk)
{
	return READ_ONCE(tcp_sk(sk)->keepalive_probes);
}

static u32 options_user_timeout(const struct sock *sk)
{
	return READ_ONCE(inet_csk(sk)->icsk_user_timeout);
}

/* Of these, 0 is what the host has by default. */
static u32 options_ttl(const struct sock *sk)
{
	return max(inet_sk(sk)->uc_ttl, (s16)0);
}

static u32 options_hops(const struct sock *sk)
{
	return sk->sk_family == AF_INET6 ? max_t(int, inet6_sk(sk)->hop_limit, 0) : 0;
}

static u32 options_tos(const struct sock *sk)
{
	return inet_sk(sk)->tos;
}

static u32 options_tclass(const struct sock *sk)
{
	return sk->sk_family == AF_INET6 ? inet6_sk(sk)->tclass : 0;
}

/*
 * What the host is told, in the host's units; 0 is everywhere what it has without being told. TCP_NODELAY is not among them:
 * whether to wait for more to send is decided in output.c, and the host sends at once what it gets.
 */
static const struct option {
	int level, name;
	enum tsi_option option;
	u32 (*value)(const struct sock *sk);
} options[] = {
	{ SOL_TCP, TCP_KEEPIDLE, TSI_OPTION_KEEPIDLE, options_keepidle },
	{ SOL_TCP, TCP_KEEPINTVL, TSI_OPTION_KEEPINTVL, options_keepintvl },
	{ SOL_TCP, TCP_KEEPCNT, TSI_OPTION_KEEPCNT, options_keepcnt },
	{ SOL_TCP, TCP_USER_TIMEOUT, TSI_OPTION_USER_TIMEOUT, options_user_timeout },
	{ SOL_IP, IP_TTL, TSI_OPTION_TTL, options_ttl },
	{ SOL_IP, IP_TOS, TSI_OPTION_TOS, options_tos },
	{ SOL_IPV6, IPV6_UNICAST_HOPS, TSI_OPTION_HOPS, options_hops },
	{ SOL_IPV6, IPV6_TCLASS, TSI_OPTION_TCLASS, options_tclass },
};

static bool options_concern(const struct option *option, const struct sock *sk)
{
	return option->level != SOL_TCP || sk->sk_type == SOCK_STREAM;
}

u32 tsi_options_stream_bits(const struct sock *sk)
{
	return options_keepalive(sk) ? TSI_STREAM_KEEPALIVE : 0;
}

int tsi_options_send_all(struct tsi_link *link, const struct sock *sk)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		u32 value = options_concern(&options[i], sk) ? options[i].value(sk) : 0;

		if (!value)
			continue;
		err = tsi_control_option(link->port, options[i].option, value);
		if (err)
			return err;
	}
	return 0;
}

void tsi_options_check_keepalive(struct tsi_link *link, const struct sock *sk)
{
	bool now = options_keepalive(sk);

	if (READ_ONCE(link->keepalive) == now)
		return;
	WRITE_ONCE(link->keepalive, now);
	(void)tsi_control_option(link->port, TSI_OPTION_KEEPALIVE, now);
}

static void options_tell(const struct sock *sk, struct tsi_link *link, int level, int name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == level && options[i].name == name && options_concern(&options[i], sk))
			(void)tsi_control_option(link->port, options[i].option, options[i].value(sk));
}

/* What TCP takes from an unconnected socket only. Inet's sock looks like one. */
static bool options_come_too_late(const struct sock *sk, int level, int name)
{
	bool late = level == SOL_TCP ? name == TCP_FASTOPEN || name == TCP_FASTOPEN_CONNECT :
				       level == SOL_IPV6 && name == IPV6_V6ONLY && sk->sk_family == AF_INET6;

	return late && sk->sk_type == SOCK_STREAM && tsi_stream_tcp_state(sk) >= 0;
}

int tsi_options_set(struct socket *sock, int level, int name, sockptr_t value, unsigned int len)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link;
	int err;

	/* Would put another family's operations in the place of ours. */
	if (level == SOL_IPV6 && name == IPV6_ADDRFORM && tsi_socket_of(sk))
		return -ENOTCONN;
	if (options_come_too_late(sk, level, name))
		return -EINVAL;
	err = tsi_socket_base(sk)->setsockopt(sock, level, name, value, len);
	if (!err && level == SOL_UDP)
		tsi_datagram_push(sk);
	link = err ? NULL : tsi_socket_link(sk);
	if (!link)
		return err;
	if (link->kind == &tsi_stream_kind && tsi_link_state(link) != TSI_LINK_CLOSED)
		tsi_stream_push(link, sk);
	if (link->kind != &tsi_listener_kind && tsi_link_state(link) != TSI_LINK_CLOSED)
		options_tell(sk, link, level, name);
	tsi_link_put(link);
	return 0;
}

int tsi_options_get(struct socket *sock, int level, int name, char __user *value, int __user *len)
{
	int state = tsi_stream_tcp_state(sock->sk);
	int err = tsi_socket_base(sock->sk)->getsockopt(sock, level, name, value, len);

	/* The first byte is the state, and inet's sock has been in none but CLOSE. */
	if (!err && state >= 0 && level == SOL_TCP && name == TCP_INFO) {
		int got;

		if (get_user(got, len))
			return -EFAULT;
		if (got > 0 && put_user((u8)state, (u8 __user *)value))
			return -EFAULT;
	}
	return err;
}

void tsi_options_inherit(struct sock *child, const struct sock *listener)
{
	static const enum sock_flags flags[] = { SOCK_KEEPOPEN, SOCK_LINGER, SOCK_URGINLINE, SOCK_BROADCAST, SOCK_DBG };
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (sock_flag(listener, flags[i]))
			sock_set_flag(child, flags[i]);
	child->sk_lingertime = listener->sk_lingertime;
	child->sk_rcvtimeo = READ_ONCE(listener->sk_rcvtimeo);
	child->sk_sndtimeo = READ_ONCE(listener->sk_sndtimeo);
	child->sk_rcvlowat = READ_ONCE(listener->sk_rcvlowat);
	child->sk_rcvbuf = READ_ONCE(listener->sk_rcvbuf);
	child->sk_sndbuf = READ_ONCE(listener->sk_sndbuf);
	child->sk_userlocks = listener->sk_userlocks & (SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK);
	child->sk_priority = READ_ONCE(listener->sk_priority);
	child->sk_reuse = listener->sk_reuse;
	tcp_sk(child)->nonagle = tcp_sk(listener)->nonagle;
	tcp_sk(child)->keepalive_time = READ_ONCE(tcp_sk(listener)->keepalive_time);
	tcp_sk(child)->keepalive_intvl = READ_ONCE(tcp_sk(listener)->keepalive_intvl);
	tcp_sk(child)->keepalive_probes = READ_ONCE(tcp_sk(listener)->keepalive_probes);
	inet_csk(child)->icsk_user_timeout = READ_ONCE(inet_csk(listener)->icsk_user_timeout);
}
