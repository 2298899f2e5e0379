/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest may go, and the address forms on both sides.
 *
 * The host's loopback and unspecified addresses, in every spelling, are refused, and 192.0.0.8/29 means only what
 * kmod/tsi/tsi_protocol.h says. Everything else is the host's routing table's business: the box is an ordinary program
 * of this host, and reaches published ports through the host's own addresses.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "tsi/tsi_protocol.h"

enum destination {
	DESTINATION_HOST = 0,	  /* an address to connect or send to */
	DESTINATION_RESOLVER = 1, /* the DNS relay */
	DESTINATION_LOOPBACK = 2, /* the host's own loopback, asked for by its owner */
};

/* An enum destination, or the negative errno that a connect() there gives: -ECONNREFUSED, -ENETUNREACH, -EAFNOSUPPORT. */
int policy_destination(const struct tsi_address *a, bool has_host_gateway);

/* To sockaddr; v4-mapped IPv6 becomes IPv4. False: no such family. The scope id is the guest's and is left out. */
bool address_to_sockaddr(const struct tsi_address *a, struct sockaddr_storage *ret, socklen_t *ret_size);
/* From sockaddr; other families give TSI_FAMILY_NONE. v4-mapped IPv6 becomes IPv4. */
struct tsi_address address_from_sockaddr(const struct sockaddr_storage *s);
/* IPv4 in host order, port in host order. */
struct tsi_address address_v4(uint32_t ip, uint16_t port);
/* In the family of `like`: IPv4 for an IPv6 socket becomes v4-mapped. */
struct tsi_address address_as(const struct tsi_address *a, const struct tsi_address *like);
/* As a socket sees it that knows IPv4 alone: 127.0.0.1 stands for ::1, 192.0.0.10 for everything else of IPv6's. */
struct tsi_address address_for_v4(const struct tsi_address *a);
uint16_t address_port(const struct tsi_address *a);
/* Is it an IPv4 address (v4-mapped included)? Its value in host order. */
bool address_is_v4(const struct tsi_address *a, uint32_t *ret_ip);
bool address_is_unspecified(const struct tsi_address *a);
bool address_is_loopback(const struct tsi_address *a);
