// SPDX-License-Identifier: GPL-2.0
#include "address.h"

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/string.h>
#include <net/inet_sock.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>

static __be32 address_v4(const struct tsi_address *address)
{
	__be32 v4;

	memcpy(&v4, address->bytes, sizeof(v4));
	return v4;
}

static void address_set_v4(struct tsi_address *address, __be32 v4, __be16 port)
{
	memset(address, 0, sizeof(*address));
	address->family = cpu_to_le16(TSI_FAMILY_V4);
	address->port = port;
	memcpy(address->bytes, &v4, sizeof(v4));
}

static void address_set_v6(struct tsi_address *address, const struct in6_addr *v6, __be16 port, u32 scope)
{
	if (ipv6_addr_v4mapped(v6)) {
		address_set_v4(address, v6->s6_addr32[3], port);
		return;
	}
	address->family = cpu_to_le16(TSI_FAMILY_V6);
	address->port = port;
	address->scope = cpu_to_le32(scope);
	memcpy(address->bytes, v6, sizeof(*v6));
}

bool tsi_address_parse(struct tsi_address *address, const struct sockaddr *name, int len)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)name;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)name;

	if (len >= (int)sizeof(*sin) && name->sa_family == AF_INET) {
		address_set_v4(address, sin->sin_addr.s_addr, sin->sin_port);
		return true;
	}
	if (len >= SIN6_LEN_RFC2133 && name->sa_family == AF_INET6) {
		address_set_v6(address, &sin6->sin6_addr, sin6->sin6_port,
			       len >= (int)sizeof(*sin6) ? sin6->sin6_scope_id : 0);
		return true;
	}
	return false;
}

static int address_format_v4(const struct tsi_address *address, struct sockaddr_in *sin)
{
	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_port = address->port;
	if (address->family == cpu_to_le16(TSI_FAMILY_V4))
		sin->sin_addr.s_addr = address_v4(address);
	return sizeof(*sin);
}

static int address_format_v6(const struct tsi_address *address, struct sockaddr_in6 *sin6)
{
	memset(sin6, 0, sizeof(*sin6));
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = address->port;
	if (address->family == cpu_to_le16(TSI_FAMILY_V4)) {
		ipv6_addr_set_v4mapped(address_v4(address), &sin6->sin6_addr);
	} else if (address->family == cpu_to_le16(TSI_FAMILY_V6)) {
		memcpy(&sin6->sin6_addr, address->bytes, sizeof(sin6->sin6_addr));
		sin6->sin6_scope_id = le32_to_cpu(address->scope);
	}
	return sizeof(*sin6);
}

int tsi_address_format(const struct tsi_address *address, int family, struct sockaddr_storage *name)
{
	return family == AF_INET6 ? address_format_v6(address, (struct sockaddr_in6 *)name) :
				    address_format_v4(address, (struct sockaddr_in *)name);
}

void tsi_address_of_sock(struct tsi_address *address, const struct sock *sk)
{
	if (sk->sk_family == AF_INET6)
		address_set_v6(address, &sk->sk_v6_rcv_saddr, inet_sk(sk)->inet_sport, 0);
	else
		address_set_v4(address, inet_sk(sk)->inet_rcv_saddr, inet_sk(sk)->inet_sport);
}

void tsi_address_for_host(struct tsi_address *address, const struct sock *sk)
{
	memset(address, 0, sizeof(*address));
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK))
		return;
	address->family = cpu_to_le16(sk->sk_family == AF_INET6 ? TSI_FAMILY_V6 : TSI_FAMILY_V4);
	address->port = inet_sk(sk)->inet_sport;
}

static bool address_is_routed_v4(__be32 v4, const struct sock *sk)
{
	struct flowi4 flow = { .daddr = v4, .flowi4_oif = sk->sk_bound_dev_if };
	struct rtable *route;

	if (v4 == htonl(INADDR_ANY) || ipv4_is_loopback(v4))
		return true;
	route = ip_route_output_key(sock_net(sk), &flow);
	if (IS_ERR(route))
		return false;
	ip_rt_put(route);
	return true;
}

static bool address_is_routed_v6(const struct tsi_address *address, const struct sock *sk)
{
	struct flowi6 flow = { .flowi6_oif = le32_to_cpu(address->scope) };
	struct dst_entry *route;
	bool routed;

	memcpy(&flow.daddr, address->bytes, sizeof(flow.daddr));
	if (ipv6_addr_any(&flow.daddr) || ipv6_addr_loopback(&flow.daddr))
		return true;
	route = ip6_route_output(sock_net(sk), NULL, &flow);
	routed = !route->error;
	dst_release(route);
	return routed;
}

static bool address_sock_stays_inside(const struct sock *sk)
{
	if (sk->sk_bound_dev_if)
		return true;
	if (sk->sk_family == AF_INET6 && !ipv6_addr_v4mapped(&sk->sk_v6_rcv_saddr))
		return ipv6_addr_loopback(&sk->sk_v6_rcv_saddr);
	return ipv4_is_loopback(inet_sk(sk)->inet_rcv_saddr);
}

bool tsi_address_is_outside(const struct tsi_address *address, struct sock *sk)
{
	bool v4 = address->family == cpu_to_le16(TSI_FAMILY_V4);

	if (address_sock_stays_inside(sk))
		return false;
	if (v4)
		return !(sk->sk_family == AF_INET6 && ipv6_only_sock(sk)) && !address_is_routed_v4(address_v4(address), sk);
	return sk->sk_family == AF_INET6 && !address_is_routed_v6(address, sk);
}
