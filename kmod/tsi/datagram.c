// SPDX-License-Identifier: GPL-2.0
/*
 * The inet sock does all that it can: what the host sends is made into a packet and put into its receive queue, as if it
 * had come over the wire. So recvmsg, its flags, its control messages, poll, FIONREAD and SO_RCVBUF are UDP's own, and
 * datagrams of the loopback and of the outside come in the order in which they came.
 *
 * What is sent is charged to the inet sock as UDP's packets are, and so SO_SNDBUF, SIOCOUTQ, POLLOUT and blocking are
 * UDP's too. It waits in a queue for its carrier, one SEQPACKET connection for each socket, to open or to have credit.
 * A carrier may go at any time (the host lets idle ones expire): the next datagram opens another.
 *
 * Ping's datagram sockets are no different but for what is in the packet: an ICMP echo, whose identifier is the host
 * socket's out there and the program's in here.
 *
 * A UDP socket that the program has given a port has its carrier from then on, so that the host finds it for clients of a
 * published port. That carrier is opened again when the host has come back. Answers to such clients take the carrier too,
 * even where inet would look inside: a client on the host's own loopback is called 127.0.0.1 here as it is there, and a
 * socket that is bound to loopback may have clients from anywhere. These are remembered (struct outsider); an address
 * that somebody inside has is always theirs.
 *
 * A message of vsock may go out in parts when there is credit for a part only, and a part cannot be taken back. So a
 * datagram is only sent when there is credit for the whole, by one sender at a time (carrier.sending).
 */
#include "datagram.h"

#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jhash.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <net/inet_common.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/ping.h>
#include <net/udp.h>

#include "address.h"
#include "control.h"
#include "errors.h"
#include "input.h"
#include "main.h"
#include "options.h"
#include "socket.h"

#define DATAGRAM_PAYLOAD_MAX 65507
#define DATAGRAM_ANSWER_TIMEOUT (5 * HZ)
#define DATAGRAM_HEADERS (sizeof(struct ipv6hdr) + sizeof(struct udphdr))

/**
 * struct carrier
 * @flush:	sends what waits, when vsock says that there may be room
 * @reopen:	puts a new one in its place; has a reference
 * @sending:	one at a time
 * @answer:	to the last PEER: CARRIER_ASKED, 0, or a negative errno; with link.lock
 * @refused:	why the host would not have the carrier at all, or 0: it knows no such carrier when asked about it then; with link.lock
 * @broadcast:	the host was told that SO_BROADCAST is on
 */
struct carrier {
	struct tsi_link link;
	struct tsi_input input;
	struct work_struct flush;
	struct work_struct reopen;
	struct mutex sending;
	int answer, refused;
	bool broadcast;
};

#define CARRIER_ASKED 1

/* One message at a time is taken out of vsock, whichever carrier's. */
static u8 datagram_scratch[TSI_DATAGRAM_MAX];
static DEFINE_MUTEX(datagram_scratch_lock);

static struct carrier *carrier_of(struct tsi_link *link)
{
	return container_of(link, struct carrier, link);
}

/* ---- clients of the host's that look like ours ---- */

#define OUTSIDER_SETS 256
#define OUTSIDER_WAYS 4
#define OUTSIDER_TIMEOUT (180 * HZ) /* as long as the host remembers them */

/**
 * struct outsider - a client whose address alone does not say that it is outside
 * @seen:	jiffies of the last datagram from there; 0 with an address that is not set: none
 */
struct outsider {
	struct tsi_address address;
	unsigned long seen;
};

static struct outsider outsiders[OUTSIDER_SETS][OUTSIDER_WAYS];
static DEFINE_SPINLOCK(outsiders_lock);

static bool address_is_loopback(const struct tsi_address *address)
{
	if (address->family == cpu_to_le16(TSI_FAMILY_V4))
		return address->bytes[0] == 127;
	return address->family == cpu_to_le16(TSI_FAMILY_V6) &&
	       ipv6_addr_loopback((const struct in6_addr *)address->bytes);
}

static bool sock_is_on_loopback(const struct sock *sk)
{
	struct tsi_address bound = {};

	tsi_address_of_sock(&bound, sk);
	return address_is_loopback(&bound);
}

static struct outsider *outsider_set(const struct tsi_address *address)
{
	u32 hash = jhash(address->bytes, sizeof(address->bytes), (__force u32)address->port);

	return outsiders[hash % OUTSIDER_SETS];
}

/* With the lock. */
static struct outsider *outsider_find(struct outsider *set, const struct tsi_address *address)
{
	int i;

	for (i = 0; i < OUTSIDER_WAYS; i++)
		if (set[i].address.family == address->family && set[i].address.port == address->port &&
		    !memcmp(set[i].address.bytes, address->bytes, sizeof(address->bytes)))
			return &set[i];
	return NULL;
}

static void outsider_remember(const struct tsi_address *address)
{
	struct outsider *set = outsider_set(address), *entry;
	int i;

	spin_lock_bh(&outsiders_lock);
	entry = outsider_find(set, address);
	for (i = 0; !entry && i < OUTSIDER_WAYS; i++)
		if (!tsi_address_is_set(&set[i].address))
			entry = &set[i];
	if (!entry) {
		entry = &set[0];
		for (i = 1; i < OUTSIDER_WAYS; i++)
			if (time_before(set[i].seen, entry->seen))
				entry = &set[i];
	}
	entry->address = *address;
	entry->seen = jiffies;
	spin_unlock_bh(&outsiders_lock);
}

static bool outsider_is_known(const struct tsi_address *address)
{
	struct outsider *entry;
	bool known;

	spin_lock_bh(&outsiders_lock);
	entry = outsider_find(outsider_set(address), address);
	known = entry && time_before(jiffies, entry->seen + OUTSIDER_TIMEOUT);
	if (known)
		entry->seen = jiffies;
	spin_unlock_bh(&outsiders_lock);
	return known;
}

/* Whether a socket in here would get what is sent to that loopback address. */
static bool datagram_is_taken_inside(const struct tsi_address *to, struct sock *sk)
{
	struct in6_addr v6;
	struct sock *found;
	__be32 v4;

	rcu_read_lock();
	if (to->family == cpu_to_le16(TSI_FAMILY_V4)) {
		memcpy(&v4, to->bytes, sizeof(v4));
		found = __udp4_lib_lookup(sock_net(sk), htonl(INADDR_LOOPBACK), inet_sk(sk)->inet_sport, v4, to->port,
					  LOOPBACK_IFINDEX, 0, &udp_table, NULL);
	} else {
		memcpy(&v6, to->bytes, sizeof(v6));
		found = __udp6_lib_lookup(sock_net(sk), &in6addr_loopback, inet_sk(sk)->inet_sport, &v6, to->port,
					  LOOPBACK_IFINDEX, 0, &udp_table, NULL);
	}
	rcu_read_unlock();
	return found;
}

static bool datagram_is_outside(const struct tsi_address *to, struct sock *sk)
{
	bool loopback = address_is_loopback(to);

	if (tsi_address_is_outside(to, sk))
		return true;
	if (sk->sk_protocol != IPPROTO_UDP || (!loopback && !sock_is_on_loopback(sk)) || !outsider_is_known(to))
		return false;
	return !loopback || !datagram_is_taken_inside(to, sk);
}

/* ---- from the host ---- */

static void datagram_fill_v4(struct sk_buff *skb, const struct tsi_address *source, const struct sock *sk)
{
	struct in_pktinfo *info = PKTINFO_SKB_CB(skb);
	struct iphdr *ip = ip_hdr(skb);

	skb->protocol = htons(ETH_P_IP);
	memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = sk->sk_protocol;
	ip->tot_len = htons(min_t(size_t, skb->len + sizeof(*ip) + sizeof(struct udphdr), U16_MAX));
	memcpy(&ip->saddr, source->bytes, sizeof(ip->saddr));
	ip->daddr = htonl(TSI_ADDRESS_GUEST);
	if (sk->sk_family == AF_INET) {
		info->ipi_ifindex = LOOPBACK_IFINDEX;
		info->ipi_spec_dst.s_addr = ip->daddr;
	} else {
		IPCB(skb)->iif = LOOPBACK_IFINDEX;
	}
}

static void datagram_fill_v6(struct sk_buff *skb, const struct tsi_address *source, const struct sock *sk)
{
	struct ipv6hdr *ip = ipv6_hdr(skb);

	skb->protocol = htons(ETH_P_IPV6);
	memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->hop_limit = 64;
	ip->nexthdr = sk->sk_protocol;
	ip->payload_len = htons(min_t(size_t, skb->len + sizeof(struct udphdr), U16_MAX));
	memcpy(&ip->saddr, source->bytes, sizeof(ip->saddr));
	ip->daddr = in6addr_loopback;
	IP6CB(skb)->iif = LOOPBACK_IFINDEX;
}

static bool datagram_is_ping(const struct sock *sk)
{
	return sk->sk_protocol != IPPROTO_UDP;
}

static void datagram_fill_udp(struct sk_buff *skb, __be16 source, const struct sock *sk)
{
	struct udphdr *udp = udp_hdr(skb);

	udp->source = source;
	udp->dest = inet_sk(sk)->inet_sport;
	udp->len = htons(min_t(size_t, skb->len + sizeof(*udp), U16_MAX));
	udp->check = 0;
}

/* As a packet looks when UDP, or ping, has checked it and is about to queue it. */
static struct sk_buff *datagram_make(const struct tsi_address *source, const void *payload, size_t len,
				     const struct sock *sk)
{
	bool v4 = source->family == cpu_to_le16(TSI_FAMILY_V4);
	struct sk_buff *skb;

	if (!v4 && (source->family != cpu_to_le16(TSI_FAMILY_V6) || sk->sk_family != AF_INET6))
		return NULL;
	skb = alloc_skb(DATAGRAM_HEADERS + len, GFP_KERNEL);
	if (!skb)
		return NULL;
	skb_reset_network_header(skb);
	skb_reserve(skb, v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	skb_reset_transport_header(skb);
	if (!datagram_is_ping(sk))
		skb_reserve(skb, sizeof(struct udphdr));
	skb_put_data(skb, payload, len);
	if (v4)
		datagram_fill_v4(skb, source, sk);
	else
		datagram_fill_v6(skb, source, sk);
	if (!datagram_is_ping(sk))
		datagram_fill_udp(skb, source->port, sk);
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->skb_iif = LOOPBACK_IFINDEX;
	__net_timestamp(skb);
	return skb;
}

/* The program's filter sees the datagram with its UDP header. */
static bool datagram_passes_filter(struct sock *sk, struct sk_buff *skb)
{
	if (datagram_is_ping(sk))
		return true; /* sock_queue_rcv_skb asks it */
	skb_push(skb, sizeof(struct udphdr));
	if (sk_filter_trim_cap(sk, skb, sizeof(struct udphdr)))
		return false;
	skb_pull(skb, sizeof(struct udphdr));
	return true;
}

/* Takes the packet. */
static void datagram_enqueue(struct sock *sk, struct sk_buff *skb)
{
	/* Made for the receive path of the network, which softirqs do not interrupt. */
	local_bh_disable();
	if (datagram_is_ping(sk))
		ping_queue_rcv_skb(sk, skb);
	else if (__udp_enqueue_schedule_skb(sk, skb))
		kfree_skb(skb);
	local_bh_enable();
}

/* The identifier is in the same place in both families. */
static bool datagram_restore_identifier(struct sock *sk, struct sk_buff *skb)
{
	struct icmphdr *icmp = (struct icmphdr *)skb->data;

	if (skb->len < sizeof(*icmp))
		return false;
	icmp->un.echo.id = inet_sk(sk)->inet_sport;
	return true;
}

static void datagram_deliver(struct sock *sk, const u8 *message, size_t len)
{
	struct tsi_address source;
	struct sk_buff *skb;

	if (len < sizeof(source) || len > TSI_DATAGRAM_MAX)
		return;
	/* Connected to somebody inside. */
	if (READ_ONCE(sk->sk_state) == TCP_ESTABLISHED && !datagram_is_ping(sk))
		return;
	memcpy(&source, message, sizeof(source));
	if (!datagram_is_ping(sk) && (address_is_loopback(&source) || sock_is_on_loopback(sk)))
		outsider_remember(&source);
	skb = datagram_make(&source, message + sizeof(source), len - sizeof(source), sk);
	if (!skb)
		return;
	if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN || !datagram_passes_filter(sk, skb) ||
	    (datagram_is_ping(sk) && !datagram_restore_identifier(sk, skb)))
		kfree_skb(skb);
	else
		datagram_enqueue(sk, skb);
}

/* Vsock's sock is locked; whole messages only. */
static void datagram_on_data(struct tsi_link *link, struct sock *vsk)
{
	struct vsock_sock *vsock = vsock_sk(vsk);
	size_t len;

	mutex_lock(&datagram_scratch_lock);
	while (tsi_input_message_locked(&carrier_of(link)->input, vsock, datagram_scratch, sizeof(datagram_scratch), &len))
		datagram_deliver(link->owner, datagram_scratch, len);
	mutex_unlock(&datagram_scratch_lock);
}

static void datagram_on_space(struct tsi_link *link, struct sock *vsk)
{
	struct tsi_socket *socket = tsi_socket_of(link->owner);

	if (socket && !skb_queue_empty_lockless(&socket->queue))
		queue_work(tsi_workqueue, &carrier_of(link)->flush);
}

static void datagram_on_change(struct tsi_link *link, struct sock *vsk)
{
	spin_lock(&link->lock);
	if (link->state == TSI_LINK_OPENING && vsk->sk_state == TCP_ESTABLISHED)
		link->state = TSI_LINK_OPEN;
	if (vsk->sk_err || sock_flag(vsk, SOCK_DONE) || vsock_sk(vsk)->peer_shutdown)
		link->state = TSI_LINK_CLOSED;
	if (link->state == TSI_LINK_CLOSED && carrier_of(link)->answer == CARRIER_ASKED)
		carrier_of(link)->answer = -ENETUNREACH;
	spin_unlock(&link->lock);
	link->owner->sk_state_change(link->owner);
	queue_work(tsi_workqueue, &carrier_of(link)->flush);
}

/* Where the program connected to through the host, if it did. */
static bool datagram_peer(const struct sock *sk, struct tsi_address *ret_peer)
{
	struct tsi_socket *socket;
	bool set = false;

	/* The control connection may have a word about a socket that is being closed. */
	rcu_read_lock();
	socket = tsi_socket_of(sk);
	if (socket) {
		spin_lock_bh(&socket->lock);
		*ret_peer = socket->peer;
		spin_unlock_bh(&socket->lock);
		set = tsi_address_is_set(ret_peer);
	}
	rcu_read_unlock();
	return set;
}

static void datagram_set_peer(struct tsi_socket *socket, const struct tsi_address *peer)
{
	spin_lock_bh(&socket->lock);
	socket->peer = *peer;
	spin_unlock_bh(&socket->lock);
}

/* With link->lock. What is said unasked is about the carrier itself. */
static void carrier_take_failure(struct tsi_link *link, int err)
{
	struct carrier *carrier = carrier_of(link);

	if (carrier->answer == CARRIER_ASKED)
		carrier->answer = -(err == ENOTCONN && carrier->refused ? carrier->refused : err);
	else if (err != ENOTCONN)
		carrier->refused = err;
}

static void datagram_on_message(struct tsi_link *link, const struct tsi_message *message)
{
	u16 type = le16_to_cpu(message->type);
	struct tsi_address peer;

	if (type == TSI_DATAGRAM_ERROR) {
		tsi_errors_take(link->owner, message, datagram_peer(link->owner, &peer));
		return;
	}
	if (type != TSI_CONNECTED && type != TSI_FAILED)
		return;
	/* Refused while something waits to be sent: there is no call that would wait for the word, so the next one gets it. */
	if (type == TSI_FAILED && READ_ONCE(carrier_of(link)->answer) != CARRIER_ASKED &&
	    tsi_link_state(link) == TSI_LINK_OPENING && sk_wmem_alloc_get(link->owner)) {
		WRITE_ONCE(link->owner->sk_err, tsi_control_errno(message, ENETUNREACH));
		sk_error_report(link->owner);
	}
	spin_lock_bh(&link->lock);
	if (type == TSI_FAILED) {
		carrier_take_failure(link, tsi_control_errno(message, ENETUNREACH));
	} else {
		carrier_of(link)->answer = 0;
		link->local = message->local;
	}
	spin_unlock_bh(&link->lock);
	link->owner->sk_state_change(link->owner);
}

/* ---- to the host ---- */

static bool carrier_can_take(struct tsi_link *link, const struct sk_buff *skb)
{
	return tsi_link_state(link) == TSI_LINK_OPEN && tsi_link_writable(link) >= skb->len;
}

static bool carrier_send(struct tsi_link *link, struct sk_buff *skb)
{
	struct kvec part = { .iov_base = skb->data, .iov_len = skb->len };
	struct msghdr msg = {};

	iov_iter_kvec(&msg.msg_iter, WRITE, &part, 1, part.iov_len);
	return tsi_link_send(link, &msg, part.iov_len) == part.iov_len;
}

/* Half a message makes what follows unreadable. */
static void carrier_break(struct tsi_link *link)
{
	spin_lock_bh(&link->lock);
	link->state = TSI_LINK_CLOSED;
	spin_unlock_bh(&link->lock);
	kernel_sock_shutdown(link->vsock, SHUT_RDWR);
}

static void carrier_flush(struct tsi_link *link, struct sk_buff_head *queue)
{
	struct sk_buff *skb;

	mutex_lock(&carrier_of(link)->sending);
	while ((skb = skb_dequeue(queue))) {
		if (!carrier_can_take(link, skb)) {
			skb_queue_head(queue, skb);
			/* A dead carrier takes what was given to it along. */
			if (tsi_link_state(link) == TSI_LINK_CLOSED)
				skb_queue_purge(queue);
			break;
		}
		if (!carrier_send(link, skb))
			carrier_break(link);
		consume_skb(skb);
	}
	mutex_unlock(&carrier_of(link)->sending);
}

static void carrier_flush_work(struct work_struct *work)
{
	struct carrier *self = container_of(work, struct carrier, flush);
	struct tsi_socket *socket = tsi_socket_of(self->link.owner);

	if (socket)
		carrier_flush(&self->link, &socket->queue);
}

static void carrier_reopen_work(struct work_struct *work);

static void carrier_init(struct tsi_link *link)
{
	INIT_WORK(&carrier_of(link)->reopen, carrier_reopen_work);
	INIT_WORK(&carrier_of(link)->flush, carrier_flush_work);
	mutex_init(&carrier_of(link)->sending);
}

/* The socket and its queue stay until this has returned. */
static void carrier_retire(struct tsi_link *link)
{
	struct carrier *self = carrier_of(link);

	refcount_inc(&link->references);
	tsi_link_close(link);
	cancel_work_sync(&self->flush);
	tsi_link_put(link);
}

const struct tsi_link_kind tsi_carrier_kind = {
	.size = sizeof(struct carrier),
	.init = carrier_init,
	.data = datagram_on_data,
	.space = datagram_on_space,
	.changed = datagram_on_change,
	.message = datagram_on_message,
	.retire = carrier_retire,
};

/* Clients of a published port may be for it: the program has chosen its port. */
static bool datagram_takes_clients(const struct sock *sk)
{
	return !datagram_is_ping(sk) && sk->sk_userlocks & SOCK_BINDPORT_LOCK && !sk->sk_bound_dev_if;
}

static int carrier_send_bound(struct tsi_link *link, const struct sock *sk)
{
	struct tsi_message message = {
		.type = cpu_to_le16(TSI_DATAGRAM_BOUND),
		.port = cpu_to_le32(link->port),
	};
	u32 bits = 0;

	if (sk->sk_family == AF_INET6 && ipv6_only_sock(sk))
		bits |= TSI_BOUND_V6ONLY;
	if (sk->sk_reuseport)
		bits |= TSI_BOUND_REUSEPORT;
	message.value = cpu_to_le32(bits);
	tsi_address_of_sock(&message.local, sk);
	return tsi_control_send(&message);
}

static int carrier_announce(struct tsi_link *link, struct sock *sk)
{
	struct tsi_message message = {
		.type = cpu_to_le16(TSI_DATAGRAM),
		.port = cpu_to_le32(link->port),
		.value = cpu_to_le32(sk->sk_protocol),
	};
	int err;

	if (!datagram_is_ping(sk))
		tsi_address_for_host(&message.local, sk);
	err = tsi_control_send(&message);
	if (!err)
		err = tsi_options_send_all(link, sk);
	if (!err && datagram_takes_clients(sk))
		err = carrier_send_bound(link, sk);
	return err ? err : tsi_link_connect(link, TSI_PORT_DATAGRAM);
}

static int carrier_send_peer(struct tsi_link *link, const struct tsi_address *peer)
{
	struct tsi_message message = {
		.type = cpu_to_le16(TSI_PEER),
		.port = cpu_to_le32(link->port),
		.remote = *peer,
	};

	return tsi_control_send(&message);
}

/* With the sock locked. A carrier that is not dead, with a reference, or ERR_PTR. */
static struct tsi_link *carrier_ensure(struct sock *sk)
{
	struct tsi_socket *socket = tsi_socket_make(sk);
	struct tsi_link *link;
	int err;

	if (!socket)
		return ERR_PTR(-ENOMEM);
	link = tsi_link_get(&socket->link);
	if (link && tsi_link_state(link) != TSI_LINK_CLOSED)
		return link;
	if (link) {
		tsi_link_put(link);
		carrier_retire(tsi_socket_take_link(socket));
	}
	link = tsi_link_new(&tsi_carrier_kind, SOCK_SEQPACKET, sk);
	if (IS_ERR(link))
		return link;
	refcount_inc(&link->references);
	tsi_socket_set_link(socket, link);
	err = carrier_announce(link, sk);
	if (!err && tsi_address_is_set(&socket->peer))
		err = carrier_send_peer(link, &socket->peer);
	if (!err)
		return link;
	if (datagram_takes_clients(sk))
		carrier_break(link); /* found, and opened again, when the host is there */
	else
		carrier_retire(tsi_socket_take_link(socket));
	tsi_link_put(link);
	return ERR_PTR(err == -ENODEV || err == -ENOTCONN ? -ENETUNREACH : err);
}

static bool datagram_has_carrier(const struct sock *sk, const struct tsi_link *link)
{
	struct tsi_socket *socket;
	bool has;

	rcu_read_lock();
	socket = tsi_socket_of(sk);
	has = socket && rcu_access_pointer(socket->link) == link;
	rcu_read_unlock();
	return has;
}

/* With its carrier in place the socket is not being closed, and is not while it is locked. */
static void carrier_reopen_work(struct work_struct *work)
{
	struct tsi_link *old = &container_of(work, struct carrier, reopen)->link, *link;
	struct sock *sk = old->owner;

	lock_sock(sk);
	if (datagram_has_carrier(sk, old)) {
		link = carrier_ensure(sk);
		if (!IS_ERR(link))
			tsi_link_put(link);
	}
	release_sock(sk);
	tsi_link_put(old);
}

void tsi_datagram_announce(struct tsi_link *link)
{
	if (!datagram_takes_clients(link->owner))
		return;
	refcount_inc(&link->references);
	if (!queue_work(tsi_workqueue, &carrier_of(link)->reopen))
		tsi_link_put(link);
}

/* The host's part may fail: nobody outside can reach the socket then, but it works inside. Inet's answer is the answer. */
int tsi_datagram_bind(struct socket *sock, struct sockaddr *name, int len)
{
	struct sock *sk = sock->sk;
	struct tsi_link *link;
	int err;

	err = tsi_socket_base(sk)->bind(sock, name, len);
	if (err || !datagram_takes_clients(sk))
		return err;
	lock_sock(sk);
	link = tsi_socket_link(sk);
	if (link && tsi_link_state(link) != TSI_LINK_CLOSED) {
		(void)carrier_send_bound(link, sk);
	} else {
		if (link)
			tsi_link_put(link);
		link = carrier_ensure(sk);
	}
	release_sock(sk);
	if (!IS_ERR(link))
		tsi_link_put(link);
	return 0;
}

/* SO_BROADCAST does not pass here when it is set. */
static void carrier_check_broadcast(struct tsi_link *link, const struct sock *sk)
{
	struct carrier *self = carrier_of(link);

	if (!sock_flag(sk, SOCK_BROADCAST) || READ_ONCE(self->broadcast))
		return;
	WRITE_ONCE(self->broadcast, true);
	(void)tsi_control_option(link->port, TSI_OPTION_BROADCAST, 1);
}

static struct tsi_link *carrier_get(struct sock *sk)
{
	struct tsi_link *link = tsi_socket_link(sk);

	if (link && tsi_link_state(link) != TSI_LINK_CLOSED)
		return link;
	if (link)
		tsi_link_put(link);
	lock_sock(sk);
	link = carrier_ensure(sk);
	release_sock(sk);
	return link;
}

/* Echo requests are all that a ping socket sends, wherever to. */
static bool datagram_is_echo(const struct sock *sk, const struct sk_buff *skb)
{
	const struct icmphdr *icmp = (const void *)(skb->data + sizeof(struct tsi_address));

	if (skb->len < sizeof(struct tsi_address) + sizeof(*icmp) || icmp->code)
		return false;
	return icmp->type == (sk->sk_family == AF_INET6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

/* A message for the carrier: what @head holds, or only the address, and the next @len bytes. Charged to the sock. */
static struct sk_buff *datagram_gather(struct sock *sk, const struct sk_buff *head, const struct tsi_address *to,
				       struct msghdr *msg, size_t len)
{
	size_t before = head ? head->len : sizeof(*to);
	struct sk_buff *skb;
	int err = -ENOBUFS;

	/* What it holds is charged as well, and would wait for itself: as in UDP, a part that goes on never waits. */
	if (head)
		skb = sk_wmem_alloc_get(sk) < 2 * READ_ONCE(sk->sk_sndbuf) ? sock_wmalloc(sk, before + len, 1, sk->sk_allocation) : NULL;
	else
		skb = sock_alloc_send_skb(sk, before + len, msg->msg_flags & MSG_DONTWAIT, &err);
	if (!skb)
		return ERR_PTR(err);
	skb_put_data(skb, head ? (const void *)head->data : to, before);
	err = memcpy_from_msg(skb_put(skb, len), msg, len);
	if (!err)
		return skb;
	kfree_skb(skb);
	return ERR_PTR(err);
}

static void datagram_queue_skb(struct sock *sk, struct tsi_link *link, struct sk_buff *skb)
{
	struct sk_buff_head *queue = &tsi_socket_of(sk)->queue;

	skb_queue_tail(queue, skb);
	carrier_flush(link, queue);
}

static int datagram_queue(struct sock *sk, struct tsi_link *link, const struct tsi_address *to, struct msghdr *msg,
			  size_t len)
{
	struct sk_buff *skb = datagram_gather(sk, NULL, to, msg, len);

	if (IS_ERR(skb))
		return PTR_ERR(skb);
	if (datagram_is_ping(sk) && !datagram_is_echo(sk, skb)) {
		kfree_skb(skb);
		return -EINVAL;
	}
	datagram_queue_skb(sk, link, skb);
	return 0;
}

/* ---- MSG_MORE and UDP_CORK ---- */

static bool datagram_is_corked(const struct sock *sk)
{
	struct tsi_socket *socket = datagram_is_ping(sk) ? NULL : tsi_socket_of(sk);

	return socket && READ_ONCE(socket->corked);
}

static bool datagram_wants_more(const struct sock *sk, const struct msghdr *msg)
{
	return !datagram_is_ping(sk) && (msg->msg_flags & MSG_MORE || udp_test_bit(CORK, sk));
}

static void datagram_drop_corked(struct tsi_socket *socket)
{
	kfree_skb(socket->corked);
	WRITE_ONCE(socket->corked, NULL);
}

/* With the sock locked. What begins a datagram says where it goes. An error loses all of it, as UDP's do. */
static int datagram_append(struct sock *sk, const struct tsi_address *to, struct msghdr *msg, size_t len)
{
	struct tsi_socket *socket = tsi_socket_make(sk);
	struct sk_buff *old, *skb;

	if (!socket)
		return -ENOMEM;
	old = socket->corked;
	/* Somebody else finished it, and this was to be a part of it. */
	if (!old && !tsi_address_is_set(to))
		return -EDESTADDRREQ;
	if (old && old->len + len > TSI_DATAGRAM_MAX)
		skb = ERR_PTR(-EMSGSIZE);
	else
		skb = datagram_gather(sk, old, to, msg, len);
	datagram_drop_corked(socket);
	if (IS_ERR(skb))
		return PTR_ERR(skb);
	WRITE_ONCE(socket->corked, skb);
	return 0;
}

/* With the sock locked. */
static int datagram_uncork(struct sock *sk)
{
	struct tsi_socket *socket = tsi_socket_of(sk);
	struct tsi_link *link;

	if (!socket || !socket->corked)
		return 0;
	link = carrier_ensure(sk);
	if (IS_ERR(link)) {
		datagram_drop_corked(socket);
		return PTR_ERR(link);
	}
	carrier_check_broadcast(link, sk);
	datagram_queue_skb(sk, link, socket->corked);
	WRITE_ONCE(socket->corked, NULL);
	tsi_link_put(link);
	return 0;
}

static int datagram_send_corked(struct sock *sk, const struct tsi_address *to, struct msghdr *msg, size_t len)
{
	int err;

	lock_sock(sk);
	err = datagram_append(sk, to, msg, len);
	if (!err && !datagram_wants_more(sk, msg))
		err = datagram_uncork(sk);
	release_sock(sk);
	return err;
}

void tsi_datagram_push(struct sock *sk)
{
	if (!datagram_is_corked(sk) || udp_test_bit(CORK, sk))
		return;
	lock_sock(sk);
	(void)datagram_uncork(sk);
	release_sock(sk);
}

/* UDP_SEGMENT: one call sends many datagrams of that size. 0: it does not; or -errno. */
static int datagram_segment_size(const struct sock *sk, struct msghdr *msg)
{
	struct cmsghdr *cmsg;
	int size = datagram_is_ping(sk) ? 0 : READ_ONCE(udp_sk(sk)->gso_size);

	if (!msg->msg_controllen || datagram_is_ping(sk))
		return size;
	for_each_cmsghdr(cmsg, msg) {
		if (!CMSG_OK(msg, cmsg))
			return -EINVAL;
		if (cmsg->cmsg_level != SOL_UDP)
			continue;
		if (cmsg->cmsg_type != UDP_SEGMENT || cmsg->cmsg_len != CMSG_LEN(sizeof(__u16)))
			return -EINVAL;
		size = *(__u16 *)CMSG_DATA(cmsg);
	}
	return size;
}

static int datagram_queue_all(struct sock *sk, struct tsi_link *link, const struct tsi_address *to, struct msghdr *msg,
			      size_t len)
{
	int segment = datagram_segment_size(sk, msg);
	size_t part = segment > 0 ? segment : len;
	int err;

	if (segment < 0)
		return segment;
	if (segment && len > part * UDP_MAX_SEGMENTS)
		return -EINVAL;
	do {
		err = datagram_queue(sk, link, to, msg, min(part, msg_data_left(msg)));
	} while (!err && msg_data_left(msg));
	return err;
}

static int datagram_send(struct sock *sk, const struct tsi_address *to, struct msghdr *msg, size_t len)
{
	static const struct tsi_address broadcast = {
		.family = cpu_to_le16(TSI_FAMILY_V4), .bytes = { 255, 255, 255, 255 } };
	struct ubuf_info *done;
	struct tsi_link *link;
	int err;

	if (len > DATAGRAM_PAYLOAD_MAX)
		return -EMSGSIZE;
	/* UDP over IPv6 has never looked. */
	if (msg->msg_flags & MSG_OOB && (datagram_is_ping(sk) || to->family == broadcast.family))
		return -EOPNOTSUPP;
	if (!memcmp(to->bytes, broadcast.bytes, 4) && to->family == broadcast.family && !sock_flag(sk, SOCK_BROADCAST))
		return -EACCES;
	err = inet_send_prepare(sk);
	if (err)
		return err;
	/* Somebody else finished the datagram of which this was to be a part. */
	if (!datagram_is_corked(sk) && !tsi_address_is_set(to))
		return -EDESTADDRREQ;
	if (datagram_is_corked(sk) || datagram_wants_more(sk, msg)) {
		err = datagram_send_corked(sk, to, msg, len);
		return err ? err : len;
	}
	link = carrier_get(sk);
	if (IS_ERR(link))
		return PTR_ERR(link);
	carrier_check_broadcast(link, sk);
	err = tsi_socket_begin_zerocopy(sk, msg, &done);
	if (!err) {
		err = datagram_queue_all(sk, link, to, msg, len);
		tsi_socket_end_zerocopy(done, !err);
	}
	tsi_link_put(link);
	return err ? err : len;
}

int tsi_datagram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	static const struct tsi_address nowhere;
	struct sock *sk = sock->sk;
	struct tsi_address to;
	bool outside;

	if (datagram_is_corked(sk))
		return datagram_send(sk, &nowhere, msg, len);
	if (!datagram_is_ping(sk) && READ_ONCE(udp_sk(sk)->pending))
		outside = false;
	else if (msg->msg_namelen && msg->msg_name)
		outside = tsi_address_parse(&to, msg->msg_name, msg->msg_namelen) && datagram_is_outside(&to, sk);
	else
		outside = datagram_peer(sk, &to);
	return outside ? datagram_send(sk, &to, msg, len) : tsi_socket_base(sk)->sendmsg(sock, msg, len);
}

ssize_t tsi_datagram_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
{
	struct tsi_address peer;

	if (!datagram_peer(sock->sk, &peer))
		return tsi_socket_base(sock->sk)->sendpage(sock, page, offset, size, flags);
	return sock_no_sendpage(sock, page, offset, size, flags);
}

/* ---- connect ---- */

static bool datagram_is_answered(struct sock *sk, struct tsi_link *link)
{
	return READ_ONCE(carrier_of(link)->answer) != CARRIER_ASKED;
}

/* With the sock locked. Asks the host for a route, and for the address that packets will have. */
static int datagram_ask_peer(struct sock *sk, struct tsi_link *link, const struct tsi_address *peer)
{
	long timeout = DATAGRAM_ANSWER_TIMEOUT;
	int err;

	spin_lock_bh(&link->lock);
	carrier_of(link)->answer = CARRIER_ASKED;
	spin_unlock_bh(&link->lock);
	err = carrier_send_peer(link, peer);
	if (!err)
		err = tsi_socket_wait(sk, link, &timeout, datagram_is_answered, false);
	return err ? (err == -EAGAIN || err == -ENOTCONN ? -ENETUNREACH : err) : carrier_of(link)->answer;
}

/* With the sock locked. */
static int datagram_connect_outside(struct sock *sk, const struct tsi_address *peer)
{
	struct tsi_link *link = carrier_ensure(sk);
	struct tsi_socket *socket = tsi_socket_of(sk);
	int err;

	if (IS_ERR(link))
		return PTR_ERR(link);
	err = datagram_ask_peer(sk, link, peer);
	if (!err) {
		datagram_set_peer(socket, peer);
		sk->sk_err = 0;
	}
	tsi_link_put(link);
	return err;
}

/* With the sock locked. */
static void datagram_disconnect(struct sock *sk)
{
	static const struct tsi_address nowhere;
	struct tsi_socket *socket = tsi_socket_of(sk);
	struct tsi_link *link;

	if (!socket || !tsi_address_is_set(&socket->peer))
		return;
	datagram_set_peer(socket, &nowhere);
	link = tsi_link_get(&socket->link);
	if (!link)
		return;
	(void)carrier_send_peer(link, &nowhere);
	spin_lock_bh(&link->lock);
	memset(&link->local, 0, sizeof(link->local));
	spin_unlock_bh(&link->lock);
	tsi_link_put(link);
}

int tsi_datagram_connect(struct socket *sock, struct sockaddr *name, int len, int flags)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	struct sock *sk = sock->sk;
	struct tsi_address peer;
	int err;

	if (!tsi_address_parse(&peer, name, len) || !datagram_is_outside(&peer, sk)) {
		err = tsi_socket_base(sk)->connect(sock, name, len, flags);
		if (err)
			return err;
		lock_sock(sk);
		datagram_disconnect(sk);
		release_sock(sk);
		return 0;
	}
	err = inet_send_prepare(sk);
	if (err)
		return err;
	/* Inet must not go on thinking that it is connected to someone inside. */
	if (sk->sk_state == TCP_ESTABLISHED)
		(void)tsi_socket_base(sk)->connect(sock, &unspec, sizeof(unspec), flags);
	lock_sock(sk);
	err = datagram_connect_outside(sk, &peer);
	release_sock(sk);
	return err;
}

int tsi_datagram_getname(struct socket *sock, struct sockaddr *name, int peer)
{
	struct sock *sk = sock->sk;
	struct tsi_address address;
	struct tsi_link *link;
	bool known = datagram_peer(sk, &address);

	link = known && !peer ? tsi_socket_link(sk) : NULL;
	if (link) {
		spin_lock_bh(&link->lock);
		address = link->local;
		spin_unlock_bh(&link->lock);
		tsi_link_put(link);
	}
	if (!known || !tsi_address_is_set(&address) || (!peer && !link))
		return tsi_socket_base(sk)->getname(sock, name, peer);
	return tsi_address_format(&address, sk->sk_family, (struct sockaddr_storage *)name);
}

/* Inet marks the ends and wakes who waits, connected or not; only its answer is about its own connection. */
int tsi_datagram_shutdown(struct socket *sock, int how)
{
	int err = tsi_socket_base(sock->sk)->shutdown(sock, how);
	struct tsi_address peer;

	return err == -ENOTCONN && datagram_peer(sock->sk, &peer) ? 0 : err;
}
