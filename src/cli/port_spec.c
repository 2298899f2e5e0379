/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/port_spec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/own.h"
#include "base/text.h"

struct range {
	unsigned first, last; /* both 0: left to the host */
};

/**
 * struct parts - the spec, cut
 * @address:	"" when not given, in the form of inet_ntop()
 */
struct parts {
	char address[46];
	struct range host, box;
	enum box_protocol protocol;
};

static unsigned range_length(struct range r)
{
	return r.last - r.first + 1;
}

/* Digits only: no sign, no blanks. */
static int parse_number(const char *s, size_t n, unsigned *ret)
{
	unsigned value = 0;

	if (n == 0 || n > 5)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -1;
		value = value * 10 + (unsigned)(s[i] - '0');
	}
	*ret = value;
	return value <= 65535 ? 0 : -1;
}

static int parse_range(const char *what, const char *s, struct range *ret, struct failure *f)
{
	const char *dash = strchr(s, '-');
	size_t n = dash ? (size_t)(dash - s) : strlen(s);

	if (parse_number(s, n, &ret->first) < 0 || (dash && parse_number(dash + 1, strlen(dash + 1), &ret->last) < 0))
		return fail(f, EXIT_USAGE, "%s port \"%s\" is not a number from 1 to 65535, or a range of them", what, s);
	if (!dash)
		ret->last = ret->first;
	if (ret->first > ret->last)
		return fail(f, EXIT_USAGE, "%s range \"%s\" ends before it begins", what, s);
	return 0;
}

static int parse_protocol(const char *s, enum box_protocol *ret, struct failure *f)
{
	if (!strcasecmp(s, "tcp"))
		*ret = BOX_TCP;
	else if (!strcasecmp(s, "udp"))
		*ret = BOX_UDP;
	else if (!strcasecmp(s, "sctp"))
		return fail(f, EXIT_USAGE, "not supported yet: sctp");
	else
		return fail(f, EXIT_USAGE, "protocol \"%s\" is neither tcp nor udp", s);
	return 0;
}

/* Brackets around a v6 address are taken off. */
static int parse_address(char *s, char ret[static 46], struct failure *f)
{
	unsigned char binary[sizeof(struct in6_addr)];
	size_t n = strlen(s);
	bool bracketed = n >= 2 && s[0] == '[' && s[n - 1] == ']';

	if (n == 0)
		return 0;
	if (bracketed) {
		s[n - 1] = '\0';
		s++;
	}
	for (size_t i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET;

		if ((family == AF_INET6 || !bracketed) && inet_pton(family, s, binary) == 1)
			return inet_ntop(family, binary, ret, 46) ? 0 : -1;
	}
	return fail(f, EXIT_USAGE, "host address \"%s\" is not a literal IPv4 or IPv6 address", s);
}

/* Cut from the right: the last two colons part ports, everything before them is the address, its colons included. */
static int parse_parts(char *text, struct parts *ret, struct failure *f)
{
	char *slash = strchr(text, '/'), *box, *host = NULL, *address = NULL;

	if (slash) {
		*slash = '\0';
		if (parse_protocol(slash + 1, &ret->protocol, f) < 0)
			return -1;
	}
	box = strrchr(text, ':');
	if (box) {
		*box++ = '\0';
		host = strrchr(text, ':');
		if (host) {
			*host++ = '\0';
			address = text;
		} else {
			host = text;
		}
	} else {
		box = text;
	}
	if (!*box)
		return fail(f, EXIT_USAGE, "the box's port is missing");
	if (address && parse_address(address, ret->address, f) < 0)
		return -1;
	if (host && *host && parse_range("host", host, &ret->host, f) < 0)
		return -1;
	return parse_range("box", box, &ret->box, f);
}

static int check_parts(const struct parts *p, struct failure *f)
{
	if (p->box.first == 0)
		return fail(f, EXIT_USAGE, "0 is no port of a box");
	if (p->host.first == 0 && p->host.last != 0)
		return fail(f, EXIT_USAGE, "a range cannot begin with port 0");
	if (p->host.first && range_length(p->host) != range_length(p->box) && range_length(p->box) != 1)
		return fail(f, EXIT_USAGE, "the ranges differ in length: %u-%u has %u ports, %u-%u has %u", p->host.first,
			    p->host.last, range_length(p->host), p->box.first, p->box.last, range_length(p->box));
	return 0;
}

static bool same_mapping(const struct box_port *a, const struct box_port *b)
{
	return a->protocol == b->protocol && a->guest_port == b->guest_port && a->host_port == b->host_port &&
	       a->host_port_last == b->host_port_last && !strcmp(a->host_address, b->host_address);
}

static bool is_there(const struct box_port *ports, size_t n, const struct box_port *port)
{
	for (size_t i = 0; i < n; i++) {
		if (same_mapping(&ports[i], port))
			return true;
	}
	return false;
}

static int append(const struct parts *p, struct box_port **ports, size_t *n, struct failure *f)
{
	unsigned count = range_length(p->box);
	struct box_port *larger = reallocarray(*ports, *n + count, sizeof(*larger));
	size_t before = *n;

	if (!larger)
		return fail(f, EXIT_USAGE, "out of memory");
	*ports = larger;
	for (unsigned i = 0; i < count; i++) {
		struct box_port port = {
			.guest_port = (uint16_t)(p->box.first + i),
			.host_port = (uint16_t)(p->host.first ? p->host.first + i : 0),
			.protocol = p->protocol,
		};

		memcpy(port.host_address, p->address, sizeof(port.host_address));
		if (count == 1 && range_length(p->host) > 1)
			port.host_port_last = (uint16_t)p->host.last;
		/* A range has no double within itself. */
		if (!is_there(larger, before, &port))
			larger[(*n)++] = port;
	}
	return 0;
}

int port_spec_parse(const char *spec, struct box_port **ports, size_t *n, struct failure *f)
{
	_cleanup_free_ char *text = strdup(spec);
	struct parts parts = { 0 };

	if (!text)
		return fail(f, EXIT_USAGE, "out of memory");
	if (parse_parts(text, &parts, f) < 0 || check_parts(&parts, f) < 0)
		return fail_wrap(f, "invalid port \"%.100s\"", spec);
	return append(&parts, ports, n, f);
}

/* For the check of thousands of ports: those that can collide come to lie beside each other. */
static int compare_ports(const void *a, const void *b)
{
	const struct box_port *x = a, *y = b;

	if (x->protocol != y->protocol)
		return (int)x->protocol - (int)y->protocol;
	return (int)x->host_port - (int)y->host_port;
}

int port_spec_check(const struct box_port *ports, size_t n, struct failure *f)
{
	_cleanup_free_ struct box_port *sorted = calloc(n + 1, sizeof(*sorted));
	char host[80];

	if (!sorted)
		return fail(f, EXIT_USAGE, "out of memory");
	if (n) {
		memcpy(sorted, ports, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), compare_ports);
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = i + 1; sorted[i].host_port && k < n && compare_ports(&sorted[i], &sorted[k]) == 0; k++) {
			if (!box_ports_collide(&sorted[i], &sorted[k]))
				continue;
			port_spec_host(&sorted[i], host);
			return fail(f, EXIT_USAGE, "port %s/%s is published twice in one command: to %u and to %u", host,
				    box_protocol_name(sorted[i].protocol), sorted[i].guest_port, sorted[k].guest_port);
		}
	}
	return 0;
}

int port_spec_parse_exposed(const char *text, enum box_protocol *ret_protocol, uint16_t *ret_port)
{
	size_t n = strcspn(text, "/");
	struct failure ignored = { 0 };
	unsigned port;

	*ret_protocol = BOX_TCP;
	if (parse_number(text, n, &port) < 0 || (text[n] && parse_protocol(text + n + 1, ret_protocol, &ignored) < 0))
		return -1;
	*ret_port = (uint16_t)port;
	return 0;
}

int port_spec_parse_range(const char *text, enum box_protocol *ret_protocol, uint16_t *ret_first, uint16_t *ret_last, struct failure *f)
{
	struct parts parts = { 0 };
	_cleanup_free_ char *copy = strdup(text);

	*ret_first = *ret_last = 0;
	if (!copy)
		return fail(f, EXIT_USAGE, "out of memory");
	if (strchr(copy, ':'))
		return fail(f, EXIT_USAGE, "invalid port \"%.100s\": ports of the box alone are expected", text);
	if (parse_parts(copy, &parts, f) < 0 || check_parts(&parts, f) < 0)
		return fail_wrap(f, "invalid port \"%.100s\"", text);
	*ret_protocol = parts.protocol;
	*ret_first = (uint16_t)parts.box.first;
	*ret_last = (uint16_t)parts.box.last;
	return 0;
}

void port_set_add(struct port_set *set, enum box_protocol protocol, uint16_t port)
{
	set->has[protocol == BOX_UDP][port / 8] |= (uint8_t)(1u << port % 8);
}

bool port_set_has(const struct port_set *set, enum box_protocol protocol, uint16_t port)
{
	return set->has[protocol == BOX_UDP][port / 8] & 1u << port % 8;
}

void port_spec_host(const struct box_port *port, char ret[static 80])
{
	const char *address = *port->host_address ? port->host_address : "0.0.0.0";
	bool bracket = strchr(address, ':') != NULL;
	int n = snprintf(ret, 80, "%s%s%s:%u", bracket ? "[" : "", address, bracket ? "]" : "", port->host_port);

	if (port->host_port_last)
		snprintf(ret + n, 80 - (size_t)n, "-%u", port->host_port_last);
}
