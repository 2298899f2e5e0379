/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock/policy.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#define PREFIX_RESERVED 0xc0000008u /* 192.0.0.8/29 */
#define DNS_PORT 53

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static uint16_t family_of(const struct tsi_address *a)
{
	return le16toh(a->family);
}

uint16_t address_port(const struct tsi_address *a)
{
	return be16toh(a->port);
}

bool address_is_v4(const struct tsi_address *a, uint32_t *ret_ip)
{
	const uint8_t *bytes = a->bytes;
	uint32_t ip;

	if (family_of(a) == TSI_FAMILY_V6 && memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0)
		bytes += sizeof(mapped_prefix);
	else if (family_of(a) != TSI_FAMILY_V4)
		return false;
	memcpy(&ip, bytes, sizeof(ip));
	*ret_ip = be32toh(ip);
	return true;
}

bool address_is_unspecified(const struct tsi_address *a)
{
	static const uint8_t zero[16];
	uint32_t ip;

	if (address_is_v4(a, &ip))
		return ip == 0;
	return memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

bool address_is_loopback(const struct tsi_address *a)
{
	uint32_t ip;

	if (address_is_v4(a, &ip))
		return ip >> 24 == 127;
	return memcmp(a->bytes, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

static int reserved_destination(uint32_t ip, uint16_t port, bool has_host_gateway)
{
	switch (ip) {
	case TSI_ADDRESS_RESOLVER:
		return port == DNS_PORT ? DESTINATION_RESOLVER : -ECONNREFUSED;
	case TSI_ADDRESS_HOST:
		return has_host_gateway ? DESTINATION_LOOPBACK : -ECONNREFUSED;
	case TSI_ADDRESS_GUEST:
		return -ECONNREFUSED;
	default:
		return -ENETUNREACH;
	}
}

int policy_destination(const struct tsi_address *a, bool has_host_gateway)
{
	uint32_t ip;

	if (family_of(a) != TSI_FAMILY_V4 && family_of(a) != TSI_FAMILY_V6)
		return -EAFNOSUPPORT;
	if (address_is_unspecified(a) || address_is_loopback(a))
		return -ECONNREFUSED;
	if (!address_is_v4(a, &ip))
		return DESTINATION_HOST;
	if (ip >> 24 == 0)
		return -ENETUNREACH; /* "this network": no destination */
	if ((ip & ~7u) == PREFIX_RESERVED)
		return reserved_destination(ip, address_port(a), has_host_gateway);
	return DESTINATION_HOST;
}

bool address_to_sockaddr(const struct tsi_address *a, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	uint32_t ip;

	if (address_is_v4(a, &ip)) {
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = a->port, .sin_addr.s_addr = htobe32(ip) };

		memcpy(ret, &v4, sizeof(v4));
		*ret_size = sizeof(v4);
		return true;
	}
	if (family_of(a) == TSI_FAMILY_V6) {
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = a->port };

		memcpy(&v6.sin6_addr, a->bytes, sizeof(v6.sin6_addr));
		memcpy(ret, &v6, sizeof(v6));
		*ret_size = sizeof(v6);
		return true;
	}
	return false;
}

struct tsi_address address_v4(uint32_t ip, uint16_t port)
{
	struct tsi_address a = { .family = htole16(TSI_FAMILY_V4), .port = htobe16(port) };

	ip = htobe32(ip);
	memcpy(a.bytes, &ip, sizeof(ip));
	return a;
}

struct tsi_address address_from_sockaddr(const struct sockaddr_storage *s)
{
	struct tsi_address a = { .family = htole16(TSI_FAMILY_NONE) };
	uint32_t ip;

	if (s->ss_family == AF_INET) {
		struct sockaddr_in v4;

		memcpy(&v4, s, sizeof(v4));
		a = address_v4(be32toh(v4.sin_addr.s_addr), be16toh(v4.sin_port));
	} else if (s->ss_family == AF_INET6) {
		struct sockaddr_in6 v6;

		memcpy(&v6, s, sizeof(v6));
		a = (struct tsi_address){ .family = htole16(TSI_FAMILY_V6), .port = v6.sin6_port };
		memcpy(a.bytes, &v6.sin6_addr, sizeof(a.bytes));
		if (address_is_v4(&a, &ip))
			a = address_v4(ip, be16toh(v6.sin6_port));
	}
	return a;
}

struct tsi_address address_as(const struct tsi_address *a, const struct tsi_address *like)
{
	struct tsi_address mapped = { .family = htole16(TSI_FAMILY_V6), .port = a->port };

	if (family_of(like) != TSI_FAMILY_V6 || family_of(a) != TSI_FAMILY_V4)
		return *a;
	memcpy(mapped.bytes, mapped_prefix, sizeof(mapped_prefix));
	memcpy(mapped.bytes + sizeof(mapped_prefix), a->bytes, 4);
	return mapped;
}

struct tsi_address address_for_v4(const struct tsi_address *a)
{
	uint32_t ip;

	if (address_is_v4(a, &ip))
		return *a;
	return address_v4(address_is_loopback(a) ? INADDR_LOOPBACK : TSI_ADDRESS_HOST, address_port(a));
}
