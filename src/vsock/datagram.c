/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams.
 *
 * A datagram socket of the guest has at most one host socket for each address family, made when it first sends there (or
 * is connected). Sending never waits: what the host's socket does not take is lost, as on any network. Receiving goes
 * by the guest's credit; what it has no room for stays in the host's socket, whose buffer drops in the end.
 *
 * Datagrams are received right into the guest's buffers, as many as the last one needed, and behind these into a spill
 * buffer: one that turns out larger, or for which the guest has no credit, is queued in the connection. Messages there
 * are a length (32 bits, ours) and the bytes. Nothing more is read while one waits.
 *
 * ICMP errors are taken from the socket's error queue (IP_RECVERR), so each is told with the destination it concerns.
 *
 * A socket that is neither connected nor bound and was silent for a while is closed, the vsock connection with it: the
 * guest's module opens another when there is something to send.
 *
 * What the program sends to a client of a published port goes out from the published socket (udp.c), everything else from
 * the socket's own. These are never bound to a port of the guest's choice.
 *
 * The host's own loopback (192.0.0.10) is 127.0.0.1 here, and answers from there are said to come from 192.0.0.10.
 */
#include "vsock/datagram.h"

#include <endian.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "vsock/device.h"
#include "vsock/dns.h"
#include "vsock/policy.h"
#include "vsock/udp.h"

#define EVENTS (EPOLLIN | EPOLLET)
#define WAITING_MAX (256u << 10) /* bytes for the guest that wait in a connection */
#define ERRORS_PER_TURN 64
#define HINT_BUFFER 4096u
#define ADDRESS sizeof(struct tsi_address)
#define IOV_MAX_MESSAGE 64

/* Options of both sockets, by family; what they are without being set is 0. */
static const struct datagram_option {
	enum tsi_option option;
	sa_family_t family;
	int level, name, initial;
} options[] = {
	{ TSI_OPTION_TTL, AF_INET, IPPROTO_IP, IP_TTL, -1 },
	{ TSI_OPTION_HOPS, AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1 },
	{ TSI_OPTION_TOS, AF_INET, IPPROTO_IP, IP_TOS, 0 },
	{ TSI_OPTION_TCLASS, AF_INET6, IPPROTO_IPV6, IPV6_TCLASS, 0 },
	{ TSI_OPTION_BROADCAST, AF_INET, SOL_SOCKET, SO_BROADCAST, 0 },
};

struct datagram_socket {
	struct loop_io io;
	struct datagram *owner;
	bool readable;
	bool is_extra; /* the second one: counted in the table */
};

/**
 * struct datagram - what a datagram connection has beside the table's entry
 * @socket:	by family: IPv4, IPv6
 * @peer:	where it is connected; family NONE: nowhere
 * @bound:	takes published datagrams when its port is not 0
 * @left:	bytes of the message at the head of the queue that are still to go; 0: a length comes next
 * @skipping:	the rest of a message that is too large is passed over
 * @listed:	in the device's list of those that may expire
 * @options:	values of options[], as the guest gave them
 */
struct datagram {
	struct connection *connection;
	TAILQ_ENTRY(datagram) entry;
	struct datagram_socket socket[2];
	struct tsi_address peer;
	struct udp_bound bound;
	uint8_t protocol;
	bool is_bound, skipping, listed;
	uint32_t left;
	unsigned turn;
	uint32_t options[ARRAY_SIZE(options)];
};

static uint8_t spill[65536];

static void datagram_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags);
static void datagram_pull(struct connection *c, uint32_t quantum);
static void datagram_closed(struct connection *c, bool reset);

const struct connection_kind datagram_kind = {
	.name = "datagram",
	.type = VIRTIO_VSOCK_TYPE_SEQPACKET,
	.is_tsi = true,
	.push = datagram_push,
	.pull = datagram_pull,
	.closed = datagram_closed,
};

static bool has_socket(const struct datagram *g)
{
	return g->socket[0].io.fd >= 0 || g->socket[1].io.fd >= 0;
}

/* ---- life ---- */

int datagram_announced(struct connection *c, uint32_t protocol)
{
	struct datagram *g;

	if (protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
		return EPROTONOSUPPORT;
	if (c->device->n_datagrams >= c->device->limits.datagrams)
		return EMFILE;
	g = calloc(1, sizeof(*g));
	if (!g)
		return ENOBUFS;
	g->connection = c;
	g->protocol = (uint8_t)protocol;
	g->is_bound = address_port(&c->local) != 0;
	g->bound = (struct udp_bound){ .connection = c, .peer = &g->peer };
	for (unsigned i = 0; i < ARRAY_SIZE(g->socket); i++) {
		g->socket[i].io = (struct loop_io)LOOP_IO_NULL;
		g->socket[i].owner = g;
	}
	c->datagram = g;
	c->device->n_datagrams++;
	return 0;
}

static void unlist(struct datagram *g)
{
	if (g->listed)
		TAILQ_REMOVE(&g->connection->device->datagrams, g, entry);
	g->listed = false;
}

void datagram_bound(struct connection *c, const struct tsi_address *local, uint32_t bits)
{
	struct datagram *g = c->datagram;

	if (g->protocol != IPPROTO_UDP)
		return;
	g->is_bound = true;
	unlist(g); /* it does not expire any more */
	udp_bound_set(c->device, &g->bound, local, bits);
}

void datagram_requested(struct connection *c)
{
	c->state = CONNECTION_CONNECTING;
	if (c->error)
		connection_fail(c, c->error);
	else
		connection_want(c, WANT_RESPONSE);
}

static void socket_close(struct datagram_socket *s)
{
	int fd = s->io.fd;

	loop_io_remove(&s->io);
	close_fd(fd);
	s->readable = false;
	if (s->is_extra)
		s->owner->connection->device->table.n_extra--;
	s->is_extra = false;
}

static void close_sockets(struct datagram *g)
{
	for (unsigned i = 0; i < ARRAY_SIZE(g->socket); i++)
		socket_close(&g->socket[i]);
}

static void datagram_closed(struct connection *c, bool reset)
{
	struct datagram *g = take_ptr(c->datagram);

	if (!g)
		return;
	c->device->n_datagrams--;
	unlist(g);
	udp_bound_remove(&g->bound);
	close_sockets(g);
	free(g);
}

static void expire(struct loop_timer *timer)
{
	struct device *d = container_of(timer, struct device, datagram_timer);
	int64_t now = loop_now_ms(d->loop), idle = d->limits.datagram_idle_ms;
	struct datagram *g;

	while ((g = TAILQ_FIRST(&d->datagrams)) && now - g->connection->active_ms >= idle)
		connection_fail(g->connection, 0);
	if (g)
		loop_timer_set(d->loop, timer, g->connection->active_ms + idle - now, expire);
}

/* It sent or received: it goes to the end of the list of those that may expire, if it may. */
static void touch(struct datagram *g)
{
	struct device *d = g->connection->device;

	unlist(g);
	g->connection->active_ms = loop_now_ms(d->loop);
	if (g->is_bound || g->peer.family || !has_socket(g))
		return;
	if (!d->datagram_timer.loop)
		loop_timer_set(d->loop, &d->datagram_timer, d->limits.datagram_idle_ms, expire);
	TAILQ_INSERT_TAIL(&d->datagrams, g, entry);
	g->listed = true;
}

/* ---- the host's sockets ---- */

/* value and local say which ICMP message it was; local NULL: none. */
static void tell_error(struct datagram *g, int error, uint32_t value, const struct tsi_address *local,
		       const struct tsi_address *remote)
{
	struct connection *c = g->connection;
	struct connection *control = c->device->tsi.control;

	if (control && control->out.bytes < TSI_QUEUE_MAX / 4) /* answers to connects matter more */
		tsi_send(c->device, NULL, TSI_DATAGRAM_ERROR, c->guest_port, (uint32_t)error, value, local, remote);
}

/* An address of the host's as the guest knows it. */
static struct tsi_address from_host(const struct sockaddr_storage *s)
{
	struct tsi_address a = address_from_sockaddr(s);

	return address_is_loopback(&a) ? address_v4(TSI_ADDRESS_HOST, address_port(&a)) : a;
}

/* The kernel's description of an error, and behind it the address of who sent the ICMP message. */
struct described_error {
	struct sock_extended_err error;
	union {
		sa_family_t family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} offender;
};

static void tell_described(struct datagram *g, const struct described_error *e, struct tsi_address remote, const uint8_t echo[8])
{
	struct sockaddr_storage s = { .ss_family = AF_UNSPEC };
	struct tsi_address local;

	memcpy(&s, &e->offender, sizeof(e->offender));
	local = from_host(&s);
	if (local.family)
		local.port = htobe16((uint16_t)MIN(e->error.ee_info, (uint32_t)UINT16_MAX));
	if (g->protocol != IPPROTO_UDP)
		memcpy(&remote.port, echo + 6, sizeof(remote.port)); /* its sequence number */
	tell_error(g, (int)e->error.ee_errno, TSI_ERROR_VALUE(e->error.ee_type, e->error.ee_code), &local, &remote);
}

/* One entry of the error queue. False: there is none. */
static bool read_error(struct datagram_socket *s)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[256];
	} control;
	struct sockaddr_storage to = { .ss_family = AF_UNSPEC };
	uint8_t echo[8] = { 0 };
	struct iovec part = { echo, sizeof(echo) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct described_error e = { .error.ee_errno = 0 };

	if (recvmsg(s->io.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
		if ((h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_RECVERR) ||
		    (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_RECVERR))
			memcpy(&e, CMSG_DATA(h), MIN(h->cmsg_len - CMSG_LEN(0), sizeof(e)));
	}
	if (e.error.ee_errno && e.error.ee_origin != SO_EE_ORIGIN_LOCAL)
		tell_described(s->owner, &e, from_host(&to), echo);
	return true;
}

static void read_errors(struct datagram_socket *s)
{
	int error;
	socklen_t size = sizeof(error);

	for (unsigned i = 0; i < ERRORS_PER_TURN && read_error(s); i++)
		;
	(void)getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &size); /* told already: forget it */
}

static void socket_event(struct loop_io *io, uint32_t events)
{
	struct datagram_socket *s = container_of(io, struct datagram_socket, io);

	if (events & EPOLLERR)
		read_errors(s);
	if (events & EPOLLIN) {
		s->readable = true;
		connection_readable(s->owner->connection);
	}
}

static void apply_option(const struct datagram *g, size_t i, int fd)
{
	const struct datagram_option *o = &options[i];
	int value = g->options[i] ? (int)g->options[i] : o->initial;

	(void)setsockopt(fd, o->level, o->name, &value, sizeof(value));
}

void datagram_option(struct connection *c, uint32_t option, uint32_t value)
{
	struct datagram *g = c->datagram;

	for (size_t i = 0; g && i < ARRAY_SIZE(options); i++) {
		const struct datagram_socket *s = &g->socket[options[i].family == AF_INET6];

		if (options[i].option != option)
			continue;
		g->options[i] = value;
		if (s->io.fd >= 0)
			apply_option(g, i, s->io.fd);
	}
}

/* The host socket for this family, made when there is none; or a negative errno. */
static int socket_for(struct datagram *g, sa_family_t family)
{
	struct datagram_socket *s = &g->socket[family == AF_INET6];
	struct connection_table *table = &g->connection->device->table;
	bool is_v6 = family == AF_INET6, is_extra = has_socket(g);
	int protocol = 0, one = 1, fd, r;

	if (s->io.fd >= 0)
		return s->io.fd;
	if (is_extra && !connection_table_has_room(table))
		return -EMFILE;
	if (g->protocol != IPPROTO_UDP)
		protocol = is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, is_v6 ? IPV6_RECVERR : IP_RECVERR, &one, sizeof(one));
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].family == family && g->options[i])
			apply_option(g, i, fd);
	}
	r = loop_io_add(g->connection->device->loop, &s->io, fd, EVENTS, socket_event);
	if (r < 0) {
		close(fd);
		return r;
	}
	s->is_extra = is_extra;
	table->n_extra += is_extra;
	return fd;
}

/* ---- from the guest ---- */

/* Where on the host a destination of the guest's is: an enum destination, or a negative errno. */
static int resolve(struct datagram *g, const struct tsi_address *to, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	int r = policy_destination(to, g->connection->device->has_host_gateway);
	struct tsi_address loopback = address_v4(INADDR_LOOPBACK, address_port(to));

	memset(ret, 0, sizeof(*ret));
	if (r == DESTINATION_RESOLVER && g->protocol != IPPROTO_UDP)
		return -ECONNREFUSED;
	if (r == DESTINATION_LOOPBACK && address_to_sockaddr(&loopback, ret, ret_size))
		return DESTINATION_HOST;
	if (r == DESTINATION_HOST && !address_to_sockaddr(to, ret, ret_size))
		return -EAFNOSUPPORT;
	return r;
}

/* Send, and once more when what came back was an error of an earlier datagram. */
static int send_to(struct datagram *g, const struct sockaddr_storage *to, socklen_t size, struct iovec *iov, unsigned n)
{
	union {
		const struct sockaddr_storage *in;
		void *out;
	} name = { .in = to }; /* only read */
	struct msghdr message = { .msg_name = name.out, .msg_namelen = size, .msg_iov = iov, .msg_iovlen = n };
	int fd = socket_for(g, to->ss_family);

	if (fd < 0)
		return fd;
	if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH)
		return -errno;
	read_errors(&g->socket[to->ss_family == AF_INET6]);
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Cut the address off the front into *ret. False: there is none. */
static bool cut_address(struct iovec *iov, unsigned *n, struct tsi_address *ret)
{
	size_t done = 0;
	unsigned i = 0;

	while (i < *n && done < ADDRESS) {
		size_t part = MIN(iov[i].iov_len, ADDRESS - done);

		memcpy((uint8_t *)ret + done, iov[i].iov_base, part);
		done += part;
		iov[i].iov_base = (uint8_t *)iov[i].iov_base + part;
		iov[i].iov_len -= part;
		if (!iov[i].iov_len)
			i++;
	}
	*n -= i;
	memmove(iov, iov + i, *n * sizeof(*iov));
	return done == ADDRESS;
}

static void to_resolver(struct connection *c, const struct iovec *iov, unsigned n)
{
	size_t size = 0;

	for (unsigned i = 0; i < n; i++) {
		if (iov[i].iov_len > DNS_QUERY_MAX - size)
			return;
		memcpy(spill + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	dns_query(c, spill, size);
}

/* A whole message, in entries that may be written to. */
static void send_message(struct datagram *g, struct iovec *iov, unsigned n)
{
	struct connection *c = g->connection;
	struct sockaddr_storage s;
	struct tsi_address to;
	socklen_t size = 0;
	struct flow *flow;
	int r;

	if (!cut_address(iov, &n, &to)) {
		c->device->stats.bad_packets++;
		return;
	}
	if (!to.family)
		to = g->peer;
	flow = udp_flow(c->device, &g->bound, &to);
	r = flow ? udp_reply(c->device, flow, iov, n) : resolve(g, &to, &s, &size);
	if (!flow && r == DESTINATION_RESOLVER) {
		to_resolver(c, iov, n);
		return;
	}
	if (!flow && r == DESTINATION_HOST)
		r = send_to(g, &s, size, iov, n);
	if (r == 0)
		c->device->stats.datagrams_out++;
	else
		c->device->stats.datagrams_lost++;
	if (r < 0 && r != -EAGAIN && r != -ENOBUFS)
		tell_error(g, -r, 0, NULL, &to);
	touch(g);
}

static void send_gathered(struct datagram *g)
{
	struct connection *c = g->connection;
	struct iovec iov[IOV_MAX_MESSAGE];
	unsigned n = queue_peek(&c->device->pool, &c->in, iov, IOV_MAX_MESSAGE, SIZE_MAX);

	send_message(g, iov, n);
	queue_clear(&c->device->pool, &c->in);
}

static void datagram_push(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags)
{
	struct pool *pool = &c->device->pool;
	struct datagram *g = c->datagram;
	bool is_last = flags & PACKET_SEQ_EOM;
	struct iovec mine[IOV_MAX_MESSAGE];

	connection_forwarded(c, bytes);
	if (is_last && !c->in.bytes && !g->skipping && n <= ARRAY_SIZE(mine)) {
		memcpy(mine, iov, n * sizeof(*iov));
		send_message(g, mine, n);
		return;
	}
	if (c->in.bytes + bytes > TSI_DATAGRAM_MAX || queue_add(pool, &c->in, iov, n, 0, bytes) < 0) {
		queue_clear(pool, &c->in);
		g->skipping = true;
	}
	if (is_last && !g->skipping)
		send_gathered(g);
	if (is_last)
		g->skipping = false;
}

/* ---- peers ---- */

static void answer_peer(struct connection *c, int r, const struct tsi_address *local, const struct tsi_address *remote)
{
	if (r < 0)
		tsi_send(c->device, NULL, TSI_FAILED, c->guest_port, (uint32_t)-r, 0, NULL, remote);
	else
		tsi_send(c->device, NULL, TSI_CONNECTED, c->guest_port, 0, 0, local, remote);
}

static void disconnect(struct datagram *g)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	for (unsigned i = 0; i < ARRAY_SIZE(g->socket); i++) {
		if (g->socket[i].io.fd >= 0)
			(void)connect(g->socket[i].io.fd, &none, sizeof(none));
	}
	memset(&g->peer, 0, sizeof(g->peer));
	touch(g);
}

/* What the guest's socket is called while it talks to this program or the host's loopback. */
static struct tsi_address inner_name(const struct connection *c)
{
	uint16_t port = address_port(&c->local);

	return address_v4(TSI_ADDRESS_GUEST, port ? port : (uint16_t)(c->guest_port | 0x8000));
}

static int connect_peer(struct datagram *g, const struct sockaddr_storage *to, socklen_t size, struct tsi_address *ret_local)
{
	struct sockaddr_storage here = { .ss_family = AF_UNSPEC };
	socklen_t here_size = sizeof(here);
	int fd = socket_for(g, to->ss_family);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)to, size) < 0)
		return -errno;
	(void)getsockname(fd, (struct sockaddr *)&here, &here_size);
	*ret_local = address_from_sockaddr(&here);
	if (address_is_loopback(ret_local))
		*ret_local = inner_name(g->connection);
	return 0;
}

void datagram_set_peer(struct connection *c, const struct tsi_address *remote)
{
	struct datagram *g = c->datagram;
	struct tsi_address local = inner_name(c);
	struct sockaddr_storage s;
	struct flow *flow;
	socklen_t size = 0;
	int r;

	if (!remote->family) {
		disconnect(g);
		answer_peer(c, 0, NULL, NULL);
		return;
	}
	flow = udp_flow(c->device, &g->bound, remote);
	if (flow) {
		close_sockets(g); /* nobody else is heard any more */
		local = udp_flow_local(flow);
	}
	r = flow ? 0 : resolve(g, remote, &s, &size);
	if (!flow && r == DESTINATION_HOST)
		r = connect_peer(g, &s, size, &local);
	if (r >= 0) {
		g->peer = *remote;
		touch(g);
	}
	local = address_as(&local, remote);
	answer_peer(c, r, &local, remote);
}

/* ---- to the guest ---- */

void datagram_deliver(struct connection *c, const struct tsi_address *source, const void *data, size_t size)
{
	struct pool *pool = &c->device->pool;
	uint32_t length = (uint32_t)(ADDRESS + size);

	/* The other half of the pool is for streams, which cannot do without. */
	if (!c->datagram || c->out.bytes + length > WAITING_MAX ||
	    (size_t)pool->n_used * POOL_CHUNK + length + POOL_CHUNK > (size_t)pool->n_chunks * POOL_CHUNK / 2) {
		c->device->stats.datagrams_lost++;
		return;
	}
	(void)queue_add_bytes(pool, &c->out, &length, sizeof(length));
	(void)queue_add_bytes(pool, &c->out, source, ADDRESS);
	(void)queue_add_bytes(pool, &c->out, data, size);
	connection_want(c, 0);
}

/* What waits in the queue. True: there is nothing left of it, and room to go on. */
static bool pull_queue(struct connection *c)
{
	struct pool *pool = &c->device->pool;
	struct datagram *g = c->datagram;

	while (c->out.bytes) {
		uint32_t sent;

		if (!g->left) {
			(void)queue_copy(pool, &c->out, 0, &g->left, sizeof(g->left));
			queue_drop(pool, &c->out, sizeof(g->left));
			c->need = g->left;
			if (g->left > c->peer_room) { /* the guest will never have room for it */
				queue_drop(pool, &c->out, g->left);
				g->left = c->need = 0;
				c->device->stats.datagrams_lost++;
				continue;
			}
		}
		if (connection_credit(c) < c->need)
			return false;
		c->need = 0;
		sent = rx_send_queue(c, g->left, true);
		if (!sent)
			return false;
		g->left -= sent;
		c->device->stats.datagrams_in += g->left == 0;
	}
	return true;
}

/* Source address and start of the datagram into the guest's buffers, the rest behind them. */
static ssize_t receive(struct datagram_socket *s, struct device_rx *rx, uint32_t room, struct sockaddr_storage *ret_source)
{
	struct iovec iov[DEVICE_IOV];
	struct msghdr message = { .msg_name = ret_source, .msg_namelen = sizeof(*ret_source), .msg_iov = iov };
	size_t skip = ADDRESS;
	unsigned n = 0;

	for (unsigned i = 0; i < rx->n_payload && room > ADDRESS && n < DEVICE_IOV - 1; i++) {
		size_t part = MIN(skip, rx->payload[i].iov_len);

		skip -= part;
		if (rx->payload[i].iov_len > part)
			iov[n++] = (struct iovec){ (uint8_t *)rx->payload[i].iov_base + part, rx->payload[i].iov_len - part };
	}
	iov[n++] = (struct iovec){ spill, sizeof(spill) };
	message.msg_iovlen = n;
	return recvmsg(s->io.fd, &message, MSG_DONTWAIT);
}

static void put_address(struct device_rx *rx, const struct tsi_address *a)
{
	size_t done = 0;

	for (unsigned i = 0; i < rx->n_payload && done < ADDRESS; i++) {
		size_t part = MIN(rx->payload[i].iov_len, ADDRESS - done);

		memcpy(rx->payload[i].iov_base, (const uint8_t *)a + done, part);
		done += part;
	}
}

/* It did not fit into the guest's buffers: put it together and queue it. */
static void queue_spilled(struct connection *c, const struct tsi_address *source, size_t size)
{
	static uint8_t whole[sizeof(spill)];
	struct device_rx *rx = &c->device->rx;
	size_t done = 0, skip = ADDRESS;

	for (unsigned i = 0; i < rx->n_payload && rx->bytes > ADDRESS; i++) {
		size_t part = MIN(skip, rx->payload[i].iov_len), n = rx->payload[i].iov_len - part;

		skip -= part;
		memcpy(whole + done, (uint8_t *)rx->payload[i].iov_base + part, n);
		done += n;
	}
	memcpy(whole + done, spill, size - done);
	rx_put_back(c->device);
	datagram_deliver(c, source, whole, size);
}

/* One datagram of this socket's. False: there is none, or no room. */
static bool pull_one(struct connection *c, struct datagram_socket *s, uint32_t credit)
{
	struct device *d = c->device;
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	struct tsi_address source;
	ssize_t n;

	if (!rx_take(d, c->hint / HINT_BUFFER + 1, MIN(credit, (uint32_t)TSI_DATAGRAM_MAX)))
		return false;
	n = receive(s, &d->rx, d->rx.bytes, &peer);
	if (n < 0) {
		int error = errno;

		rx_put_back(d);
		if (error == EAGAIN)
			s->readable = false;
		else
			read_errors(s);
		return false;
	}
	source = from_host(&peer);
	c->hint = (uint32_t)n + ADDRESS;
	if ((size_t)n + ADDRESS > d->rx.bytes) {
		queue_spilled(c, &source, (size_t)n);
		return true;
	}
	put_address(&d->rx, &source);
	rx_commit(c, (uint32_t)((size_t)n + ADDRESS), true);
	d->stats.datagrams_in++;
	return true;
}

static void datagram_pull(struct connection *c, uint32_t quantum)
{
	struct datagram *g = c->datagram;

	if (!pull_queue(c))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(g->socket); i++) {
		struct datagram_socket *s = &g->socket[(g->turn + i) % ARRAY_SIZE(g->socket)];
		uint32_t left = quantum, before = c->sent;

		while (s->readable && left && !c->out.bytes && connection_credit(c) > 0 && pull_one(c, s, connection_credit(c))) {
			left -= MIN(left, c->sent - before);
			before = c->sent;
		}
	}
	g->turn++;
	touch(g);
	if (!g->socket[0].readable && !g->socket[1].readable)
		c->flags &= ~(uint32_t)FAR_READABLE;
}
