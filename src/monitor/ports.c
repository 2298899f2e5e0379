/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "ports.h"

/* How many numbers of the host's choice are tried until one is free in both families. */
#define EPHEMERAL_ROUNDS 64

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int address_parse(const char *text, uint16_t port, union address *ret, socklen_t *ret_size)
{
	*ret = (union address){ 0 };
	if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		*ret_size = sizeof(ret->v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		*ret_size = sizeof(ret->v6);
		return 0;
	}
	return -EINVAL;
}

/* SO_REUSEADDR not for UDP: there it would let a second one take the port over. */
static int socket_prepare(int fd, int family, bool tcp, bool dual)
{
	int on = 1, v6_only = !dual;

	if (tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) < 0)
		return -errno;
	return 0;
}

/* dual: an address of IPv6 for IPv4 too. The fd, or a negative errno. */
static int socket_reserve(const char *host_address, bool dual, uint16_t port, enum box_protocol protocol, uint16_t *ret_port)
{
	bool tcp = protocol == BOX_TCP;
	union address address;
	socklen_t size;
	_cleanup_close_ int fd = -1;
	int r = address_parse(host_address, port, &address, &size);

	if (r < 0)
		return r;
	fd = socket(address.any.sa_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = socket_prepare(fd, address.any.sa_family, tcp, dual);
	if (r < 0)
		return r;
	if (bind(fd, &address.any, size) < 0 || (tcp && listen(fd, SOMAXCONN) < 0) || getsockname(fd, &address.any, &size) < 0)
		return -errno;
	*ret_port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
	return take_fd(&fd);
}

/* Takes *fd when it succeeds. */
static int ports_add(struct ports *ports, const struct box_port *wanted, const char *address, uint16_t number, int *fd)
{
	struct port_socket *bigger = realloc(ports->sockets, (ports->n + 1) * sizeof(*bigger)), *p;

	if (!bigger)
		return -ENOMEM;
	ports->sockets = bigger;
	p = &bigger[ports->n++];
	*p = (struct port_socket){ .port = *wanted, .fd = take_fd(fd) };
	snprintf(p->port.host_address, sizeof(p->port.host_address), "%s", address);
	p->port.host_port = number;
	p->port.host_port_last = 0;
	return 0;
}

static bool family_is_missing(int err)
{
	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL;
}

/* All addresses: 0, or a negative errno and nothing. */
static int reserve_all(struct ports *ports, const struct box_port *wanted, uint16_t number)
{
	_cleanup_close_ int fd = -1;
	bool dual = true;
	uint16_t got = number;
	int none = -1, r;

	fd = socket_reserve("::", true, number, wanted->protocol, &got);
	if (family_is_missing(fd)) {
		dual = false;
		fd = socket_reserve("0.0.0.0", false, number, wanted->protocol, &got);
	}
	if (fd < 0)
		return fd;
	r = ports_add(ports, wanted, "0.0.0.0", got, &fd);
	return r == 0 && dual ? ports_add(ports, wanted, "::", got, &none) : r;
}

/* One number; 0: of the host's choice. 0, or a negative errno and nothing. */
static int reserve_number(struct ports *ports, const struct box_port *wanted, uint16_t number)
{
	_cleanup_close_ int fd = -1;
	uint16_t got = number;

	if (!*wanted->host_address)
		return reserve_all(ports, wanted, number);
	fd = socket_reserve(wanted->host_address, false, number, wanted->protocol, &got);
	return fd < 0 ? fd : ports_add(ports, wanted, wanted->host_address, got, &fd);
}

static int reserve_ephemeral(struct ports *ports, const struct box_port *wanted, uint16_t kept)
{
	int r = kept ? reserve_number(ports, wanted, kept) : -EADDRINUSE;

	for (int i = 0; r == -EADDRINUSE && i < EPHEMERAL_ROUNDS; i++)
		r = reserve_number(ports, wanted, 0);
	return r;
}

static int reserve_range(struct ports *ports, const struct box_port *wanted, uint16_t kept)
{
	int r = kept >= wanted->host_port && kept <= wanted->host_port_last ? reserve_number(ports, wanted, kept) : -EADDRINUSE;

	for (unsigned n = wanted->host_port; r == -EADDRINUSE && n <= wanted->host_port_last; n++)
		r = reserve_number(ports, wanted, (uint16_t)n);
	return r;
}

static bool is_bound_for(const struct box_port *bound, const struct box_port *wanted)
{
	bool wildcard = strcmp(bound->host_address, "0.0.0.0") == 0 || strcmp(bound->host_address, "::") == 0;

	return bound->guest_port == wanted->guest_port && bound->protocol == wanted->protocol &&
	       (*wanted->host_address ? strcmp(bound->host_address, wanted->host_address) == 0 : wildcard);
}

/*
 * The number that this port had when the box last ran; 0: none. What was bound stands in the order of what is wanted, with
 * one or two sockets for each: *at walks along.
 */
static uint16_t port_kept(const struct box_state *previous, const struct box_port *wanted, size_t *at)
{
	const struct box_port *b = previous->bound;
	uint16_t number;

	if (*at >= previous->n_bound || !is_bound_for(&b[*at], wanted))
		return 0;
	number = b[(*at)++].host_port;
	if (!*wanted->host_address && *at < previous->n_bound && is_bound_for(&b[*at], wanted) && b[*at].host_port == number)
		(*at)++;
	return number;
}

static void port_name(const struct box_port *port, char *ret, size_t size)
{
	const char *address = *port->host_address ? port->host_address : "0.0.0.0";
	bool v6 = strchr(address, ':');
	int n = snprintf(ret, size, "%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", port->host_port);

	if (port->host_port_last && (size_t)n < size)
		n += snprintf(ret + n, size - (size_t)n, "-%u", port->host_port_last);
	if ((size_t)n < size)
		snprintf(ret + n, size - (size_t)n, "/%s", port->protocol == BOX_TCP ? "tcp" : "udp");
}

static int port_failure(const struct home *home, const struct box_config *config, const struct box_port *wanted, int err,
			struct failure *f)
{
	char name[96], holder[256];
	struct rlimit files;

	port_name(wanted, name, sizeof(name));
	if (err == -EADDRINUSE && wanted->host_port_last)
		return fail(f, EXIT_USAGE, "cannot publish %s: every port of the range is taken", name);
	if (err == -EADDRINUSE && !wanted->host_port)
		return fail(f, EXIT_USAGE, "cannot publish a port of the host's choice for %u: none is free", wanted->guest_port);
	if (err == -EADDRINUSE) {
		ports_name_holder(home, config->id, wanted, holder, sizeof(holder));
		return fail(f, EXIT_USAGE, "cannot publish %s: the port is held by %s", name, holder);
	}
	if (err == -EADDRNOTAVAIL)
		return fail(f, EXIT_USAGE, "cannot publish %s: this host has no such address", name);
	if (err == -EACCES)
		return fail(f, EXIT_USAGE, "cannot publish %s: ports below net.ipv4.ip_unprivileged_port_start need root", name);
	if (err == -EMFILE && getrlimit(RLIMIT_NOFILE, &files) == 0)
		return fail(f, EXIT_USAGE, "cannot publish %s: too many ports for the limit of open files, %llu; raise it (ulimit -Hn)", name,
			    (unsigned long long)files.rlim_max);
	return fail_errno(f, EXIT_USAGE, err, "cannot publish %s", name);
}

int ports_reserve(const struct home *home, const struct box_config *config, const struct box_state *previous, struct ports *ret,
		  struct failure *f)
{
	size_t at = 0;

	*ret = (struct ports)PORTS_NULL;
	for (size_t i = 0; i < config->n_ports; i++) {
		const struct box_port *wanted = &config->ports[i];
		uint16_t kept = port_kept(previous, wanted, &at);
		int r;

		if (!wanted->host_port)
			r = reserve_ephemeral(ret, wanted, kept);
		else if (wanted->host_port_last > wanted->host_port)
			r = reserve_range(ret, wanted, kept);
		else
			r = reserve_number(ret, wanted, wanted->host_port);
		if (r < 0) {
			ports_release(ret);
			return port_failure(home, config, wanted, r, f);
		}
	}
	return 0;
}

void ports_release(struct ports *ports)
{
	for (size_t i = 0; i < ports->n; i++)
		close_fd(ports->sockets[i].fd);
	free(ports->sockets);
	*ports = (struct ports)PORTS_NULL;
}

struct box_port *ports_bound(const struct ports *ports)
{
	struct box_port *copy = ports->n ? calloc(ports->n, sizeof(*copy)) : NULL;

	for (size_t i = 0; copy && i < ports->n; i++)
		copy[i] = ports->sockets[i].port;
	return copy;
}
