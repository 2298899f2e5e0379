/* SPDX-License-Identifier: GPL-2.0 */
/* Internet endpoints between struct sockaddr and the protocol, and which of them are outside of the guest. */
#ifndef TSI_ADDRESS_H
#define TSI_ADDRESS_H

#include <linux/net.h>
#include <net/sock.h>

#include "tsi_protocol.h"

/* True for an IPv4 or IPv6 endpoint; a v4-mapped one comes out as IPv4. */
bool tsi_address_parse(struct tsi_address *address, const struct sockaddr *name, int len);
/* As a socket of that family sees it: IPv4 is v4-mapped for AF_INET6. Returns the length. */
int tsi_address_format(const struct tsi_address *address, int family, struct sockaddr_storage *name);
/* What the inet sock is bound to. */
void tsi_address_of_sock(struct tsi_address *address, const struct sock *sk);
/* The same for the host: the port only if the program asked for it, the address only if it is not one of the guest's own. */
void tsi_address_for_host(struct tsi_address *address, const struct sock *sk);
/*
 * Whether @address is reached through the host: it is not the guest's own, and no interface of the guest has a route to
 * it. Always false for a socket that is bound to a device or to a loopback address, or cannot speak that family: inet
 * knows the right error.
 */
bool tsi_address_is_outside(const struct tsi_address *address, struct sock *sk);

static inline bool tsi_address_is_set(const struct tsi_address *address)
{
	return address->family != cpu_to_le16(TSI_FAMILY_NONE);
}

#endif
