/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/box.h"

/* Families that an address stands for: 1 IPv4, 2 IPv6, 3 both. */
static unsigned families(const char *address)
{
	return !*address ? 3 : strchr(address, ':') ? 2 : 1;
}

static bool is_wildcard(const char *address)
{
	return !*address || !strcmp(address, "0.0.0.0") || !strcmp(address, "::");
}

bool box_ports_collide(const struct box_port *a, const struct box_port *b)
{
	if (a->protocol != b->protocol || !a->host_port || a->host_port != b->host_port || a->host_port_last || b->host_port_last)
		return false;
	if (!(families(a->host_address) & families(b->host_address)))
		return false;
	return is_wildcard(a->host_address) || is_wildcard(b->host_address) || !strcmp(a->host_address, b->host_address);
}
