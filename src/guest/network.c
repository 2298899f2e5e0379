/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "tsi/tsi_protocol.h"

#define LOOPBACK "lo"
/* A unique local address (RFC 4193) that never leaves the guest, so every guest has the same. */
static const uint8_t tsi_address_v6[16] = { 0xfd, 0x61, 0x33, 0x73, 0xb0, 0x78, [15] = 0x08 };

/* One RTM_NEWADDR with its IFA_LOCAL, for either family. */
struct address_request {
	struct nlmsghdr header;
	struct ifaddrmsg address;
	struct rtattr attribute;
	uint8_t bytes[16];
};

static int netlink_call(void *request, size_t size)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} reply;

	if (fd < 0)
		return -errno;
	if (send(fd, request, size, 0) < 0)
		return -errno;
	/* The error carries our message back, which does not fit and is not wanted. */
	if (recv(fd, &reply, sizeof(reply), MSG_TRUNC) < (ssize_t)sizeof(reply) || reply.header.nlmsg_type != NLMSG_ERROR)
		return -EBADMSG;
	return reply.error.error;
}

static int add_address(int family, const void *bytes, size_t size)
{
	struct address_request request = {
		.header = { .nlmsg_len = (uint32_t)(sizeof(request) - sizeof(request.bytes) + size),
			    .nlmsg_type = RTM_NEWADDR,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL },
		.address = { .ifa_family = (uint8_t)family,
			     .ifa_prefixlen = (uint8_t)(size * 8),
			     .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
			     .ifa_scope = RT_SCOPE_UNIVERSE,
			     .ifa_index = if_nametoindex(LOOPBACK) },
		.attribute = { .rta_len = (unsigned short)RTA_LENGTH(size), .rta_type = IFA_LOCAL },
	};
	int r;

	memcpy(request.bytes, bytes, size);
	r = netlink_call(&request, request.header.nlmsg_len);
	return r == -EEXIST ? 0 : r;
}

int network_add_tsi_addresses(bool ipv6)
{
	uint32_t v4 = htonl(TSI_ADDRESS_GUEST);
	int r = add_address(AF_INET, &v4, sizeof(v4));

	if (r == 0 && ipv6)
		r = add_address(AF_INET6, tsi_address_v6, sizeof(tsi_address_v6));
	return r;
}

static int write_sysctl(const char *path, const char *value)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_write_full(fd, value, strlen(value));
}

int network_up_loopback(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = LOOPBACK };
	int r;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return -errno;
	r = write_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	return r < 0 ? r : write_sysctl("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}
