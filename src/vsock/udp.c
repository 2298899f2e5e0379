/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published UDP.
 *
 * A datagram at a published port goes to one of the guest's sockets that are bound to the box's port: the one that is
 * connected to that very client; else one that is not connected, by rank: bound to more than loopback, of the client's
 * family. Of several of the same rank the youngest has it, as in Linux, or with SO_REUSEPORT always the same one for the
 * same client. It waits in that socket's bounded queue; what finds it full, or nobody bound, is lost and counted. The
 * client is not told that nobody is there: a socket cannot send ICMP errors for datagrams that it has received.
 *
 * The guest sees the client's true address. It answers there, and the flow of that name says by which socket, from which
 * of the host's addresses and to which interface: so the client hears from the address that it spoke to. A socket that is
 * bound to IPv4 alone cannot be told an IPv6 address: it sees 127.0.0.1 for the host's own ::1, else 192.0.0.10, with the
 * client's port, or, when another client has that name, one beside it.
 *
 * Whatever the guest sends that is not for a live flow is no business of the published socket's: see datagram.c.
 */
#include "vsock/udp.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"
#include "vsock/datagram.h"
#include "vsock/device.h"
#include "vsock/policy.h"

#define DATAGRAMS_PER_TURN 64
#define NAMES_TRIED 16 /* for clients whose true address cannot be told */

union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

void udp_init(struct device *d)
{
	flow_table_init(&d->udp.flows, d->loop, d->limits.flows, d->limits.flow_idle_ms);
	for (unsigned i = 0; i < UDP_BOUND_HASH; i++)
		LIST_INIT(&d->udp.bound[i]);
}

void udp_clear(struct device *d)
{
	if (d->udp.flows.loop)
		flow_table_clear(&d->udp.flows);
}

/* ---- the guest's sockets ---- */

void udp_bound_remove(struct udp_bound *b)
{
	if (b->port)
		LIST_REMOVE(b, entry);
	b->port = 0;
}

void udp_bound_set(struct device *d, struct udp_bound *b, const struct tsi_address *local, uint32_t bits)
{
	udp_bound_remove(b);
	b->port = address_port(local);
	b->family = le16toh(local->family);
	b->is_loopback = address_is_loopback(local);
	b->bits = bits;
	if (b->port)
		LIST_INSERT_HEAD(&d->udp.bound[b->port % UDP_BOUND_HASH], b, entry);
}

static bool same_address(const struct tsi_address *a, const struct tsi_address *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* The client as this socket is told of it. */
static struct tsi_address client_for(const struct udp_bound *b, const struct tsi_address *client)
{
	return b->family == TSI_FAMILY_V4 ? address_for_v4(client) : *client;
}

/* 0: it is not for this socket. */
static unsigned rank(const struct udp_bound *b, uint16_t port, const struct tsi_address *client)
{
	uint16_t family = le16toh(client->family);
	struct tsi_address name = client_for(b, client);

	if (b->port != port || (b->family == TSI_FAMILY_V6 && family == TSI_FAMILY_V4 && (b->bits & TSI_BOUND_V6ONLY)))
		return 0;
	if (b->peer->family)
		return same_address(b->peer, &name) ? 8 : 0;
	return 1 + (b->family == family ? 1 : 0) + (b->is_loopback ? 0 : 2);
}

static struct udp_bound *choose(struct device *d, uint16_t port, const struct tsi_address *client)
{
	struct udp_bound *b, *best = NULL;
	unsigned best_rank = 0, n = 0;

	LIST_FOREACH(b, &d->udp.bound[port % UDP_BOUND_HASH], entry) {
		unsigned r = rank(b, port, client);

		if (r > best_rank) {
			best = b;
			best_rank = r;
			n = 0;
		}
		n += r && r == best_rank;
	}
	if (n < 2 || !(best->bits & TSI_BOUND_REUSEPORT))
		return best;
	n = flow_hash(&d->udp.flows, port, client) % n;
	for (b = best; b; b = LIST_NEXT(b, entry)) {
		if (rank(b, port, client) == best_rank && n-- == 0)
			return b;
	}
	return best;
}

/* ---- from clients ---- */

static bool same_client(const struct flow_path *a, const struct flow_path *b)
{
	if (a->client.any.sa_family != b->client.any.sa_family)
		return false;
	if (a->client.any.sa_family == AF_INET)
		return a->client.v4.sin_port == b->client.v4.sin_port && a->client.v4.sin_addr.s_addr == b->client.v4.sin_addr.s_addr;
	return a->client.v6.sin6_port == b->client.v6.sin6_port && a->client.v6.sin6_scope_id == b->client.v6.sin6_scope_id &&
	       memcmp(&a->client.v6.sin6_addr, &b->client.v6.sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* The flow that this datagram belongs to, new or old. NULL: no memory, or no name is left for its client. */
static struct flow *flow_for(struct udp_socket *u, const struct udp_bound *b, const struct tsi_address *client,
			     const struct flow_path *path)
{
	struct flow_table *t = &u->device->udp.flows;
	struct tsi_address name = client_for(b, client);
	unsigned tries = same_address(&name, client) ? 1 : NAMES_TRIED;
	struct flow *f = NULL;

	for (unsigned i = 0; i < tries; i++) {
		name.port = htobe16((uint16_t)(address_port(client) + i));
		f = flow_find(t, u->guest_port, &name);
		if (!f || same_client(&f->path, path) || tries == 1)
			break;
		f = NULL;
		if (i == tries - 1)
			return NULL;
	}
	if (f)
		flow_touch(t, f);
	else
		f = flow_add(t, u->guest_port, &name);
	if (f) {
		f->path = *path;
		f->via = u;
	}
	return f;
}

static void deliver(struct udp_socket *u, const struct flow_path *path, const void *data, size_t size)
{
	struct device *d = u->device;
	struct sockaddr_storage s = { 0 };
	struct tsi_address client;
	struct udp_bound *b;
	struct flow *f;

	memcpy(&s, &path->client, sizeof(path->client));
	client = address_from_sockaddr(&s);
	b = d->tsi.control ? choose(d, u->guest_port, &client) : NULL;
	f = b && client.port ? flow_for(u, b, &client, path) : NULL;
	if (!f) {
		d->stats.datagrams_lost++;
		return;
	}
	datagram_deliver(b->connection, &f->name, data, size);
}

static void read_local(struct msghdr *message, struct flow_path *path)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
		struct in_pktinfo v4;

		if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
			memcpy(&v4, CMSG_DATA(h), sizeof(v4));
			path->local.v4 = v4.ipi_spec_dst; /* of a broadcast, too, an address of ours */
		} else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
			memcpy(&path->local.v6, CMSG_DATA(h), sizeof(path->local.v6));
		}
	}
}

/* False: there is no more. */
static bool receive(struct udp_socket *u)
{
	static uint8_t data[65536];
	struct flow_path path = { .client.any.sa_family = AF_UNSPEC };
	struct iovec iov = { data, sizeof(data) };
	union control control;
	struct msghdr message = {
		.msg_name = &path.client,
		.msg_namelen = sizeof(path.client),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(u->fd, &message, MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR;
	read_local(&message, &path);
	deliver(u, &path, data, (size_t)n);
	return true;
}

static void udp_event(struct loop_io *io, uint32_t events)
{
	struct udp_socket *u = container_of(io, struct udp_socket, io);

	for (unsigned i = 0; i < DATAGRAMS_PER_TURN && receive(u); i++)
		;
}

int udp_socket_start(struct udp_socket *u, struct device *d, uint16_t guest_port, int fd)
{
	struct sockaddr_storage here = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(here);
	int one = 1, r;

	*u = (struct udp_socket){ .io = LOOP_IO_NULL, .device = d, .fd = fd, .guest_port = guest_port };
	if (getsockname(fd, (struct sockaddr *)&here, &size) < 0)
		return -errno;
	if (here.ss_family == AF_INET)
		r = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	else
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	return r < 0 ? -errno : loop_io_add(d->loop, &u->io, fd, EPOLLIN, udp_event);
}

void udp_socket_stop(struct udp_socket *u)
{
	if (!u->device)
		return;
	flow_forget(&u->device->udp.flows, u);
	loop_io_remove(&u->io);
}

/* ---- to clients ---- */

struct flow *udp_flow(struct device *d, const struct udp_bound *b, const struct tsi_address *to)
{
	return b->port ? flow_find(&d->udp.flows, b->port, to) : NULL;
}

struct tsi_address udp_flow_local(const struct flow *f)
{
	struct sockaddr_storage s = { 0 };
	socklen_t size = sizeof(s);
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	(void)getsockname(f->via->fd, (struct sockaddr *)&s, &size);
	if (f->path.client.any.sa_family == AF_INET) {
		memcpy(&v4, &s, sizeof(v4));
		v4.sin_addr = f->path.local.v4;
		memcpy(&s, &v4, sizeof(v4));
	} else {
		memcpy(&v6, &s, sizeof(v6));
		v6.sin6_addr = f->path.local.v6.ipi6_addr;
		memcpy(&s, &v6, sizeof(v6));
	}
	return address_from_sockaddr(&s);
}

/* The address that the client spoke to, as the source of what is sent. Returns the size of control data. */
static size_t put_local(const struct flow_path *path, union control *control)
{
	struct cmsghdr *h = &control->header;

	memset(control, 0, sizeof(*control));
	if (path->client.any.sa_family == AF_INET) {
		struct in_pktinfo v4 = { .ipi_spec_dst = path->local.v4 };

		*h = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(v4)) };
		memcpy(CMSG_DATA(h), &v4, sizeof(v4));
		return CMSG_SPACE(sizeof(v4));
	} else {
		struct in6_pktinfo v6 = path->local.v6;

		if (!IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
			v6.ipi6_ifindex = 0; /* the way back is the routing table's business */
		*h = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(v6)) };
		memcpy(CMSG_DATA(h), &v6, sizeof(v6));
		return CMSG_SPACE(sizeof(v6));
	}
}

int udp_reply(struct device *d, struct flow *f, struct iovec *iov, unsigned n)
{
	union control control;
	bool is_v4 = f->path.client.any.sa_family == AF_INET;
	struct msghdr message = {
		.msg_name = &f->path.client,
		.msg_namelen = is_v4 ? sizeof(f->path.client.v4) : sizeof(f->path.client.v6),
		.msg_iov = iov,
		.msg_iovlen = n,
		.msg_control = &control,
		.msg_controllen = put_local(&f->path, &control),
	};

	flow_touch(&d->udp.flows, f);
	if (sendmsg(f->via->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	if (errno != EINVAL && errno != EADDRNOTAVAIL)
		return -errno;
	/* The client spoke to a broadcast address, or to one that has gone since. */
	message.msg_control = NULL;
	message.msg_controllen = 0;
	return sendmsg(f->via->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
