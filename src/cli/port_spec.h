/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports as people write them:
 *
 *	[[HOST-ADDRESS:][HOST-PORT]:]BOX-PORT[/PROTOCOL]
 *
 * HOST-ADDRESS is a literal v4 or v6 address, the latter with or without brackets. HOST-PORT empty or 0: one of the host's
 * choice. Ports are N or N-M: ranges of the same length map one to one, a host range for a single box port means its first
 * free one. PROTOCOL is tcp (default) or udp.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/box.h"

/* Append what `spec` says to the array; the same mapping again is left out. EXIT_USAGE and the rule that it breaks. */
int port_spec_parse(const char *spec, struct box_port **ports, size_t *n, struct failure *f);
/* Two different mappings of one host port: EXIT_USAGE. */
int port_spec_check(const struct box_port *ports, size_t n, struct failure *f);
/* "80/tcp", as images expose it: 0, or -1 when it is something else (a range, sctp). */
int port_spec_parse_exposed(const char *text, enum box_protocol *ret_protocol, uint16_t *ret_port);

/* The same or a range, "8000-8010/udp"; EXIT_USAGE and the reason, and 0 in *ret_first. */
int port_spec_parse_range(const char *text, enum box_protocol *ret_protocol, uint16_t *ret_first, uint16_t *ret_last, struct failure *f);

/* A set of ports, so that boxes with ten thousand of them need no comparison of each with each. */
struct port_set {
	uint8_t has[2][65536 / 8];
};
void port_set_add(struct port_set *set, enum box_protocol protocol, uint16_t port);
bool port_set_has(const struct port_set *set, enum box_protocol protocol, uint16_t port);

/* "0.0.0.0:8080", "[::1]:8080-8090": the host's side as people read it. */
void port_spec_host(const struct box_port *port, char ret[static 80]);
