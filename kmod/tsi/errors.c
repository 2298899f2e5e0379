// SPDX-License-Identifier: GPL-2.0
/*
 * The host has the ICMP message; here one is made that looks to recvmsg(MSG_ERRQUEUE) as if it had come in: its sender's
 * header, its own, and the header of the datagram that it is about. What it quotes of that datagram's payload is not known,
 * but for the echo header that ping looks at.
 */
#include "errors.h"

#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/icmp.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>

#include "address.h"
#include "control.h"

#define ERRORS_HOPS 64

struct errors_v4 {
	struct iphdr sender;
	struct icmphdr icmp;
	struct iphdr about;
};

struct errors_v6 {
	struct ipv6hdr sender;
	struct icmp6hdr icmp;
	struct ipv6hdr about;
};

static bool errors_is_v6(const struct tsi_message *message)
{
	return message->remote.family == cpu_to_le16(TSI_FAMILY_V6);
}

static bool errors_is_ping(const struct sock *sk)
{
	return sk->sk_protocol != IPPROTO_UDP;
}

static u16 errors_fill_v4(struct sk_buff *skb, const struct tsi_message *message)
{
	struct errors_v4 *packet = skb_put_zero(skb, sizeof(*packet));

	skb->protocol = htons(ETH_P_IP);
	packet->sender.ttl = ERRORS_HOPS;
	memcpy(&packet->sender.saddr, message->local.bytes, sizeof(packet->sender.saddr));
	memcpy(&packet->about.daddr, message->remote.bytes, sizeof(packet->about.daddr));
	skb_pull(skb, sizeof(*packet));
	return offsetof(struct errors_v4, about.daddr);
}

static u16 errors_fill_v6(struct sk_buff *skb, const struct tsi_message *message)
{
	struct errors_v6 *packet = skb_put_zero(skb, sizeof(*packet));

	skb->protocol = htons(ETH_P_IPV6);
	packet->sender.hop_limit = ERRORS_HOPS;
	memcpy(&packet->sender.saddr, message->local.bytes, sizeof(packet->sender.saddr));
	memcpy(&packet->about.daddr, message->remote.bytes, sizeof(packet->about.daddr));
	IP6CB(skb)->iif = LOOPBACK_IFINDEX;
	skb_pull(skb, sizeof(*packet));
	return offsetof(struct errors_v6, about.daddr);
}

/* The echo request's sequence number comes where a port would be; its identifier is the program's in here. */
static void errors_quote_echo(struct sk_buff *skb, const struct sock *sk, const struct tsi_message *message)
{
	struct icmphdr *echo = skb_put_zero(skb, sizeof(*echo));

	echo->type = errors_is_v6(message) ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
	echo->un.echo.id = inet_sk(sk)->inet_sport;
	echo->un.echo.sequence = message->remote.port;
}

static void errors_describe(struct sk_buff *skb, const struct tsi_message *message, int error, u16 address)
{
	struct sock_exterr_skb *described = SKB_EXT_ERR(skb);
	u32 value = le32_to_cpu(message->value);

	described->ee.ee_errno = error;
	described->ee.ee_origin = errors_is_v6(message) ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP;
	described->ee.ee_type = TSI_ERROR_TYPE(value);
	described->ee.ee_code = TSI_ERROR_CODE(value);
	described->ee.ee_info = ntohs(message->local.port);
	described->addr_offset = address;
	described->port = message->remote.port;
}

static void errors_queue(struct sock *sk, const struct tsi_message *message, int error)
{
	struct sk_buff *skb = alloc_skb(sizeof(struct errors_v6) + sizeof(struct icmphdr), GFP_KERNEL);
	u16 address;

	if (!skb)
		return;
	skb_reset_network_header(skb);
	address = errors_is_v6(message) ? errors_fill_v6(skb, message) : errors_fill_v4(skb, message);
	skb_reset_transport_header(skb);
	errors_describe(skb, message, error, address);
	if (errors_is_ping(sk)) {
		errors_quote_echo(skb, sk, message);
		SKB_EXT_ERR(skb)->port = 0;
	}
	if (sock_queue_err_skb(sk, skb))
		kfree_skb(skb);
}

/* As __udp4_lib_err() and __udp6_lib_err(): such an error may pass, and a program that did not ask is not told. */
static bool errors_is_passing(const struct tsi_message *message)
{
	u8 type = TSI_ERROR_TYPE(le32_to_cpu(message->value)), code = TSI_ERROR_CODE(le32_to_cpu(message->value));
	int ignored;

	if (!tsi_address_is_set(&message->local))
		return false;
	if (errors_is_v6(message))
		return !icmpv6_err_convert(type, code, &ignored);
	return type == ICMP_TIME_EXCEEDED ||
	       (type == ICMP_DEST_UNREACH && (code > NR_ICMP_UNREACH || !icmp_err_convert[code].fatal));
}

static bool errors_are_wanted(const struct sock *sk, const struct tsi_message *message)
{
	if (errors_is_v6(message))
		return sk->sk_family == AF_INET6 && inet6_sk(sk)->recverr;
	return inet_sk(sk)->recverr;
}

void tsi_errors_take(struct sock *sk, const struct tsi_message *message, bool connected)
{
	int error = tsi_control_errno(message, ENETUNREACH);
	bool wanted = errors_are_wanted(sk, message);

	if (!wanted && (!connected || errors_is_passing(message)))
		return;
	/* What the host's own kernel refused to send is in nobody's ICMP message. */
	if (wanted && tsi_address_is_set(&message->local))
		errors_queue(sk, message, error);
	WRITE_ONCE(sk->sk_err, error);
	sk_error_report(sk);
}
