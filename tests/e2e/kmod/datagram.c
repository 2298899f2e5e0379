// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* UDP to somewhere outside. */
#include <fcntl.h>
#include <linux/errqueue.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "host.h"
#include "test.h"

#define OUTSIDE "198.51.100.1"
#define OTHER "198.51.100.2"
#define RESOLVER "192.0.0.9"

static void send_to(int fd, const char *text, const char *to, uint16_t port)
{
	struct sockaddr_storage name = test_name(to, port);

	CHECK_EQ(sendto(fd, text, strlen(text), 0, (void *)&name, test_name_len(&name)), strlen(text));
}

static void expect_from(int fd, const char *text, const char *from)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	char buffer[128];

	CHECK_EQ(recvfrom(fd, buffer, sizeof(buffer), 0, (void *)&name, &len), strlen(text));
	CHECK(!memcmp(buffer, text, strlen(text)));
	if (strcmp(test_format(&name), from))
		test_fail(__FILE__, __LINE__, test_format(&name));
}

/* The host's side: what came for whom; and something from someone. */
static void host_expect(const struct host_stream *host, const char *text, const char *to, uint16_t port)
{
	struct tsi_address wanted = host_address(to, port);
	char message[256];

	CHECK_EQ(recv(host->fd, message, sizeof(message), 0), sizeof(wanted) + strlen(text));
	CHECK(!memcmp(message, &wanted, sizeof(wanted)));
	CHECK(!memcmp(message + sizeof(wanted), text, strlen(text)));
}

static void host_datagram(const struct host_stream *host, const void *data, size_t len, const char *from, uint16_t port)
{
	struct tsi_address address = host_address(from, port);
	static char message[TSI_DATAGRAM_MAX];

	memcpy(message, &address, sizeof(address));
	memcpy(message + sizeof(address), data, len);
	test_send(host->fd, message, sizeof(address) + len);
}

/* As musl's resolver: one socket, several servers, answers by their source. */
static void unconnected(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM);
	struct host_stream host;

	send_to(fd, "question", OUTSIDE, 53);
	send_to(fd, "another", OTHER, 53);
	host = host_take_datagram();
	CHECK_EQ(host.request.value, 17);
	host_expect(&host, "question", OUTSIDE, 53);
	host_expect(&host, "another", OTHER, 53);
	host_datagram(&host, "from other", 10, OTHER, 53);
	host_datagram(&host, "answer", 6, OUTSIDE, 53);
	expect_from(fd, "from other", OTHER " 53");
	expect_from(fd, "answer", OUTSIDE " 53");
	CHECK(test_port(fd));
}

/* As glibc's: connect, send, poll, FIONREAD, recv. */
static void connected(void)
{
	struct sockaddr_storage name = test_name(RESOLVER, 53), nowhere = test_name(OUTSIDE, 1);
	int fd = test_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK), n;
	struct host_stream host;
	char buffer[64];

	CHECK_ERRNO(connect(fd, (void *)&nowhere, test_name_len(&nowhere)), EHOSTUNREACH);
	CHECK_EQ(connect(fd, (void *)&name, test_name_len(&name)), 0);
	CHECK(!strcmp(test_name_of(fd, true), RESOLVER " 53"));
	CHECK(!strcmp(test_name_of(fd, false), "203.0.113.5 50000"));
	test_send(fd, "question", 8);
	host = host_take_datagram();
	host_expect(&host, "question", RESOLVER, 53);
	CHECK_EQ(test_poll(fd, POLLIN, 0), 0);
	host_datagram(&host, "answer", 6, RESOLVER, 53);
	CHECK_EQ(test_poll(fd, POLLIN, TEST_DEADLINE_MS), POLLIN);
	CHECK_EQ(ioctl(fd, FIONREAD, &n), 0);
	CHECK_EQ(n, 6);
	CHECK_EQ(recv(fd, buffer, 2, MSG_PEEK | MSG_TRUNC), 6);
	CHECK_EQ(recv(fd, buffer, sizeof(buffer), 0), 6);
	CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
	CHECK_EQ(shutdown(fd, SHUT_RDWR), 0);
	CHECK_EQ(recv(fd, buffer, sizeof(buffer), 0), 0);
}

static void errors(void)
{
	struct sockaddr_storage name = test_name(OUTSIDE, 7);
	int fd = test_socket(AF_INET, SOCK_DGRAM);
	struct host_stream host;
	char byte;

	CHECK_EQ(connect(fd, (void *)&name, test_name_len(&name)), 0);
	test_send(fd, "x", 1);
	host = host_take_datagram();
	host_send_error(TSI_DATAGRAM_ERROR, host.port, ECONNREFUSED);
	CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNREFUSED);
	test_send(fd, "y", 1);
}

static void sizes(void)
{
	static const size_t lens[] = { 0, 1, 1472, 9000, 65507 };
	struct sockaddr_storage name = test_name(OUTSIDE, 7);
	static char data[65508], got[TSI_DATAGRAM_MAX];
	int fd = test_socket(AF_INET6, SOCK_DGRAM);
	struct sockaddr_storage v6 = test_name("2001:db8::7", 7);
	struct host_stream host;
	size_t i;

	memset(data, 'd', sizeof(data));
	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		CHECK_EQ(sendto(fd, data, lens[i], 0, (void *)&v6, test_name_len(&v6)), lens[i]);
		if (!i)
			host = host_take_datagram();
		CHECK_EQ(recv(host.fd, got, sizeof(got), 0), sizeof(struct tsi_address) + lens[i]);
		host_datagram(&host, data, lens[i], "2001:db8::7", 7);
		CHECK_EQ(recv(fd, got, sizeof(got), 0), lens[i]);
		CHECK(!memcmp(got, data, lens[i]));
	}
	fd = test_socket(AF_INET, SOCK_DGRAM);
	CHECK_ERRNO(sendto(fd, data, 65508, 0, (void *)&name, test_name_len(&name)), EMSGSIZE);
}

/* Boundaries hold, and order. */
static void burst(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM), i;
	struct host_stream host;
	char text[16];

	for (i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		send_to(fd, text, OUTSIDE, 7);
	}
	host = host_take_datagram();
	for (i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		host_expect(&host, text, OUTSIDE, 7);
	}
}

static void many_at_once(void)
{
	struct sockaddr_storage one = test_name(OUTSIDE, 7), two = test_name("127.0.0.1", 0);
	int fd = test_socket(AF_INET, SOCK_DGRAM), inside = test_socket(AF_INET, SOCK_DGRAM);
	struct iovec part = { "data", 4 };
	struct mmsghdr messages[2] = {
		{ .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1, .msg_name = &one, .msg_namelen = sizeof(struct sockaddr_in) } },
		{ .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1, .msg_name = &two, .msg_namelen = sizeof(struct sockaddr_in) } },
	};
	struct host_stream host;
	char data[2][16];
	struct iovec into[2] = { { data[0], 16 }, { data[1], 16 } };
	struct mmsghdr got[2] = { { .msg_hdr = { .msg_iov = &into[0], .msg_iovlen = 1 } },
				  { .msg_hdr = { .msg_iov = &into[1], .msg_iovlen = 1 } } };

	CHECK_EQ(bind(inside, (void *)&two, test_name_len(&two)), 0);
	two = test_name("127.0.0.1", test_port(inside));
	/* One to the outside and one to the inside, by one call on one socket. */
	CHECK_EQ(sendmmsg(fd, messages, 2, 0), 2);
	host = host_take_datagram();
	host_expect(&host, "data", OUTSIDE, 7);
	test_expect(inside, "data", 4);
	send_to(inside, "inside", "127.0.0.1", test_port(fd));
	host_datagram(&host, "outside", 7, OUTSIDE, 7);
	CHECK_EQ(recvmmsg(fd, got, 2, MSG_WAITFORONE, NULL) >= 1, 1);
}

/* The carrier expires; the next datagram opens another. */
static void expired(void)
{
	struct sockaddr_storage name = test_name(OUTSIDE, 7);
	int fd = test_socket(AF_INET, SOCK_DGRAM);
	struct host_stream host;

	CHECK_EQ(connect(fd, (void *)&name, test_name_len(&name)), 0);
	test_send(fd, "one", 3);
	host = host_take_datagram();
	host_expect(&host, "one", OUTSIDE, 7);
	close(host.fd);
	/* What is sent before the guest has seen the end is lost, as datagrams may be. */
	do
		test_send(fd, "two", 3);
	while (!host_has_datagram(10));
	host = host_take_datagram();
	host_expect(&host, "two", OUTSIDE, 7);
}

static void packet_info(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM), on = 1;
	char control[256], data[16];
	struct iovec part = { data, sizeof(data) };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct host_stream host;

	CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
	send_to(fd, "x", OUTSIDE, 7);
	host = host_take_datagram();
	host_datagram(&host, "y", 1, OUTSIDE, 7);
	CHECK_EQ(recvmsg(fd, &msg, 0), 1);
	CHECK(CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_type == IP_PKTINFO);
}

/* One call, many datagrams: what QUIC does. */
static void segments(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM), size = 4;
	struct host_stream host;

	CHECK_EQ(setsockopt(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size)), 0);
	send_to(fd, "one1two2end", OUTSIDE, 7);
	host = host_take_datagram();
	host_expect(&host, "one1", OUTSIDE, 7);
	host_expect(&host, "two2", OUTSIDE, 7);
	host_expect(&host, "end", OUTSIDE, 7);
}

/* MSG_MORE and UDP_CORK make one datagram of many writes; its destination is that of the first. */
static void corked(void)
{
	struct sockaddr_storage to = test_name(OUTSIDE, 7), other = test_name(OTHER, 8);
	int fd = test_socket(AF_INET, SOCK_DGRAM), on = 1, off = 0;
	static char block[40000];
	struct host_stream host;

	CHECK_EQ(sendto(fd, "one ", 4, MSG_MORE, (void *)&to, test_name_len(&to)), 4);
	CHECK_EQ(sendto(fd, "two ", 4, MSG_MORE, (void *)&other, test_name_len(&other)), 4);
	CHECK_EQ(send(fd, "three", 5, 0), 5);
	host = host_take_datagram();
	host_expect(&host, "one two three", OUTSIDE, 7);
	CHECK_EQ(connect(fd, (void *)&to, test_name_len(&to)), 0);
	CHECK_EQ(setsockopt(fd, IPPROTO_UDP, 1 /* UDP_CORK */, &on, sizeof(on)), 0);
	test_send(fd, "a", 1);
	test_send(fd, "b", 1);
	CHECK_EQ(test_poll(host.fd, POLLIN, 20), 0);
	CHECK_EQ(setsockopt(fd, IPPROTO_UDP, 1, &off, sizeof(off)), 0);
	host_expect(&host, "ab", OUTSIDE, 7);
	/* Too much of it is lost, all of it. */
	CHECK_EQ(send(fd, block, sizeof(block), MSG_MORE), sizeof(block));
	CHECK_ERRNO(send(fd, block, sizeof(block), 0), EMSGSIZE);
	test_send(fd, "next", 4);
	host_expect(&host, "next", OUTSIDE, 7);
}

struct queued_error {
	struct sockaddr_storage about, offender;
	struct sock_extended_err error;
	uint8_t payload[64];
	ssize_t len;
};

static struct queued_error take_error(int fd)
{
	struct queued_error e = {};
	struct iovec part = { e.payload, sizeof(e.payload) };
	char control[256];
	struct msghdr msg = { .msg_name = &e.about, .msg_namelen = sizeof(e.about), .msg_iov = &part, .msg_iovlen = 1,
			      .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;

	CHECK_EQ(test_poll(fd, 0, TEST_DEADLINE_MS), POLLERR);
	e.len = recvmsg(fd, &msg, MSG_ERRQUEUE);
	CHECK(e.len >= 0 && msg.msg_flags & MSG_ERRQUEUE);
	c = CMSG_FIRSTHDR(&msg);
	CHECK(c && (c->cmsg_type == IP_RECVERR || c->cmsg_type == IPV6_RECVERR));
	memcpy(&e.error, CMSG_DATA(c), sizeof(e.error));
	memcpy(&e.offender, CMSG_DATA(c) + sizeof(e.error), c->cmsg_len - CMSG_LEN(sizeof(e.error)));
	return e;
}

static void tell_error(uint32_t port, int error, int type, int code, struct tsi_address about, struct tsi_address offender)
{
	struct tsi_message message = { .type = TSI_DATAGRAM_ERROR, .port = port, .error = error,
				       .value = TSI_ERROR_VALUE(type, code), .local = offender, .remote = about };

	host_send(&message);
}

/* A port unreachable is for a connected socket too; a time exceeded only for who asked. As traceroute has it. */
static void error_queue(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM), fd6 = test_socket(AF_INET6, SOCK_DGRAM), on = 1;
	struct host_stream host;
	struct queued_error e;

	CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	send_to(fd, "x", OUTSIDE, 33434);
	host = host_take_datagram();
	tell_error(host.port, EHOSTUNREACH, 11, 0, host_address(OUTSIDE, 33434), host_address("192.0.2.1", 0));
	e = take_error(fd);
	CHECK(!strcmp(test_format(&e.about), OUTSIDE " 33434"));
	CHECK(!strcmp(test_format(&e.offender), "192.0.2.1 0"));
	CHECK_EQ(e.error.ee_errno, EHOSTUNREACH);
	CHECK_EQ(e.error.ee_origin, SO_EE_ORIGIN_ICMP);
	CHECK_EQ(e.error.ee_type, 11);
	tell_error(host.port, EMSGSIZE, 3, 4, host_address(OUTSIDE, 33434), host_address("192.0.2.1", 1400));
	e = take_error(fd);
	CHECK_EQ(e.error.ee_info, 1400);
	CHECK_EQ(e.error.ee_code, 4);

	CHECK_EQ(setsockopt(fd6, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)), 0);
	send_to(fd6, "x", "2001:db8::7", 9);
	host = host_take_datagram();
	tell_error(host.port, ECONNREFUSED, 1, 4, host_address("2001:db8::7", 9), host_address("2001:db8::7", 0));
	e = take_error(fd6);
	CHECK(!strcmp(test_format(&e.about), "2001:db8::7 9"));
	CHECK(!strcmp(test_format(&e.offender), "2001:db8::7 0"));
	CHECK_EQ(e.error.ee_origin, SO_EE_ORIGIN_ICMP6);
}

static void errors_by_kind(void)
{
	struct sockaddr_storage name = test_name(OUTSIDE, 7);
	int fd = test_socket(AF_INET, SOCK_DGRAM);
	struct host_stream host;
	char byte;

	CHECK_EQ(connect(fd, (void *)&name, test_name_len(&name)), 0);
	test_send(fd, "x", 1);
	host = host_take_datagram();
	tell_error(host.port, EHOSTUNREACH, 3, 1, host_address(OUTSIDE, 7), host_address("192.0.2.1", 0));
	tell_error(host.port, ECONNREFUSED, 3, 3, host_address(OUTSIDE, 7), host_address(OUTSIDE, 0));
	CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNREFUSED);
	CHECK_ERRNO(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
}

/* TTL and TOS are the host's socket's business, whenever they are set. */
static void told_options(void)
{
	int fd = test_socket(AF_INET, SOCK_DGRAM), ttl = 3, tos = 0x10, on = 1;
	struct host_stream host;

	CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
	send_to(fd, "x", OUTSIDE, 7);
	host = host_take_datagram();
	host_await_option(host.port, TSI_OPTION_TTL, 3);
	CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
	host_await_option(host.port, TSI_OPTION_TOS, 0x10);
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	send_to(fd, "x", "255.255.255.255", 7);
	host_await_option(host.port, TSI_OPTION_BROADCAST, 1);
}

/* What ping prints "Destination Host Unreachable" from. */
static void errors_of_ping(int fd, const struct host_stream *host, const char *to, bool v6)
{
	struct queued_error e;
	int on = 1;

	CHECK_EQ(setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on)), 0);
	tell_error(host->port, EHOSTUNREACH, v6 ? 1 : 3, v6 ? 3 : 1, host_address(to, 0x1234), host_address(to, 0));
	e = take_error(fd);
	CHECK_EQ(e.len, 8);
	CHECK_EQ(e.payload[0], v6 ? 128 : 8);
	CHECK_EQ(e.payload[4] << 8 | e.payload[5], test_port(fd));
	CHECK_EQ(e.payload[6] << 8 | e.payload[7], 0x1234);
}

static void ping(const char *to, int family, int protocol, int request, int reply)
{
	int fd = socket(family, SOCK_DGRAM, protocol);
	uint8_t echo[12] = { request, 0, 0, 0, 0xab, 0xcd, 0, 1, 'p', 'i', 'n', 'g' }, got[64];
	struct sockaddr_storage name = test_name(to, 0);
	struct host_stream host;
	uint16_t id;

	CHECK(fd >= 0);
	CHECK_EQ(sendto(fd, echo, sizeof(echo), 0, (void *)&name, test_name_len(&name)), sizeof(echo));
	host = host_take_datagram();
	CHECK_EQ(host.request.value, protocol);
	CHECK_EQ(recv(host.fd, got, sizeof(got), 0), sizeof(struct tsi_address) + sizeof(echo));
	echo[0] = reply;
	host_datagram(&host, echo, sizeof(echo), to, 0);
	CHECK_EQ(recv(fd, got, sizeof(got), 0), sizeof(echo));
	/* Back comes the identifier that the socket has in here. */
	memcpy(&id, got + 4, sizeof(id));
	CHECK_EQ(ntohs(id), test_port(fd));
	CHECK(got[0] == reply && !memcmp(got + 6, echo + 6, sizeof(echo) - 6));
	errors_of_ping(fd, &host, to, family == AF_INET6);
	/* No other kind of message goes out. */
	echo[0] = 5;
	CHECK_ERRNO(sendto(fd, echo, sizeof(echo), 0, (void *)&name, test_name_len(&name)), EINVAL);
}

static void pings(void)
{
	int range = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);

	CHECK_EQ(write(range, "0 2147483647", 12), 12);
	ping(OUTSIDE, AF_INET, IPPROTO_ICMP, 8, 0);
	ping("2001:db8::7", AF_INET6, IPPROTO_ICMPV6, 128, 129);
}

static void raw_sockets(void)
{
	struct sockaddr_storage out = test_name(OUTSIDE, 7);

	CHECK_ERRNO(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
	CHECK_ERRNO(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), EPERM);
	CHECK_ERRNO(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	/* Nothing of all this in another namespace, which has interfaces of its own, or none. */
	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	CHECK(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
	CHECK(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
	CHECK_ERRNO(connect(test_socket(AF_INET, SOCK_STREAM), (void *)&out, test_name_len(&out)), ENETUNREACH);
	CHECK_ERRNO(connect(test_socket(AF_INET, SOCK_DGRAM), (void *)&out, test_name_len(&out)), ENETUNREACH);
}

static void inside(void)
{
	struct sockaddr_storage name = test_name("127.0.0.1", 0);
	int one = test_socket(AF_INET, SOCK_DGRAM), two = test_socket(AF_INET, SOCK_DGRAM);

	CHECK_EQ(bind(one, (void *)&name, test_name_len(&name)), 0);
	send_to(two, "hello", "127.0.0.1", test_port(one));
	test_expect(one, "hello", 5);
	name = test_name("127.0.0.1", 1);
	CHECK_EQ(connect(two, (void *)&name, test_name_len(&name)), 0);
	test_send(two, "x", 1);
	CHECK_ERRNO(recv(two, &name, 1, 0), ECONNREFUSED);
}

static int bound(const char *address, uint16_t port)
{
	struct sockaddr_storage name = test_name(address, port);
	int fd = test_socket(name.ss_family, SOCK_DGRAM), one = 1;

	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	CHECK_EQ(bind(fd, (void *)&name, test_name_len(&name)), 0);
	return fd;
}

/* A client of a published port, as the host tells of it, and the answer. */
static void client_of(int fd, const struct host_stream *host, const char *from, uint16_t port)
{
	char seen[128];

	host_datagram(host, "question", 8, from, port);
	snprintf(seen, sizeof(seen), "%s %u", from, port);
	expect_from(fd, "question", seen);
	send_to(fd, "answer", from, port);
	host_expect(host, "answer", from, port);
}

/* T19: the carrier is there from bind() on; a client on the host's loopback is answered there. */
static void published(void)
{
	int fd = bound("0.0.0.0", 5300), other;
	struct host_stream host = host_take_datagram();

	client_of(fd, &host, OUTSIDE, 40000);
	client_of(fd, &host, "127.0.0.1", 40001);
	/* Somebody inside of that address is nearer. */
	other = bound("127.0.0.1", 40001);
	(void)host_take_datagram();
	send_to(fd, "inside", "127.0.0.1", 40001);
	expect_from(other, "inside", "127.0.0.1 5300");
	close(other);
	send_to(fd, "outside", "127.0.0.1", 40001);
	host_expect(&host, "outside", "127.0.0.1", 40001);
}

/* T15, T19: as listeners, those on the loopback have clients from anywhere. */
static void published_on_loopback(void)
{
	int fd = bound("127.0.0.1", 5301);
	struct host_stream host = host_take_datagram();
	struct sockaddr_storage name = test_name(OTHER, 1);

	client_of(fd, &host, OUTSIDE, 40000);
	client_of(fd, &host, "127.0.0.1", 40002);
	CHECK(sendto(fd, "x", 1, 0, (void *)&name, test_name_len(&name)) < 0);
	fd = bound("::1", 5301);
	host = host_take_datagram();
	client_of(fd, &host, "2001:db8::7", 40000);
	client_of(fd, &host, "::1", 40003);
}

/* T23 */
static void published_dual_stack(void)
{
	int fd = bound("::", 5302);
	struct host_stream host = host_take_datagram();

	host_datagram(&host, "question", 8, OUTSIDE, 40000);
	expect_from(fd, "question", "::ffff:" OUTSIDE " 40000");
	send_to(fd, "answer", "::ffff:" OUTSIDE, 40000);
	host_expect(&host, "answer", OUTSIDE, 40000);
	host_datagram(&host, "question", 8, "127.0.0.1", 40004);
	expect_from(fd, "question", "::ffff:127.0.0.1 40004");
	send_to(fd, "answer", "::ffff:127.0.0.1", 40004);
	host_expect(&host, "answer", "127.0.0.1", 40004);
	client_of(fd, &host, "::1", 40005);
}

/* As DTLS servers do: a second socket on the port, connected to the client. */
static void published_connected(void)
{
	int fd = bound("0.0.0.0", 5303), two;
	struct host_stream host = host_take_datagram(), second;
	struct sockaddr_storage name = test_name("127.0.0.1", 40006);
	struct tsi_message answer = { .type = TSI_CONNECTED };

	client_of(fd, &host, "127.0.0.1", 40006);
	two = bound("0.0.0.0", 5303);
	second = host_take_datagram();
	answer.port = second.port;
	answer.local = host_address("127.0.0.1", 53);
	answer.remote = host_address("127.0.0.1", 40006);
	host_send(&answer);
	CHECK_EQ(fcntl(two, F_SETFL, O_NONBLOCK), 0);
	(void)connect(two, (void *)&name, test_name_len(&name));
	test_send(two, "mine", 4);
	host_expect(&second, "mine", "127.0.0.1", 40006);
}

/* Who asked for no port in particular is not announced; and after the host was lost those who did are again. */
static void published_again(void)
{
	struct sockaddr_storage name = test_name("0.0.0.0", 0);
	int any = test_socket(AF_INET, SOCK_DGRAM), fd = bound("0.0.0.0", 5304);
	struct host_stream host = host_take_datagram();

	CHECK_EQ(bind(any, (void *)&name, test_name_len(&name)), 0);
	CHECK(!host_has_datagram(50));
	client_of(fd, &host, OUTSIDE, 40000);
	close(host.fd);
	host_lose_control();
	host = host_take_datagram();
	client_of(fd, &host, OUTSIDE, 40000);
}

const struct test tests_datagram[] = {
	{ "T13 unconnected, several peers", unconnected },
	{ "T13 T27 connected, as glibc's resolver", connected },
	{ "T13 ECONNREFUSED", errors },
	{ "T13 0 to 65507 bytes", sizes },
	{ "T13 burst of 1000", burst },
	{ "T13 sendmmsg, recvmmsg, inside and outside", many_at_once },
	{ "T13 PKTINFO", packet_info },
	{ "T13 UDP_SEGMENT", segments },
	{ "T13 MSG_MORE and UDP_CORK", corked },
	{ "T13 the error queue", error_queue },
	{ "T13 which errors a connected socket hears of", errors_by_kind },
	{ "T13 TTL, TOS and SO_BROADCAST are told", told_options },
	{ "T13 the carrier expires", expired },
	{ "T14 ping", pings },
	{ "T19 published UDP", published },
	{ "T15 T19 published UDP, bound to loopback", published_on_loopback },
	{ "T19 T23 published UDP, dual-stack", published_dual_stack },
	{ "T19 published UDP, connected", published_connected },
	{ "T19 published UDP, the host goes and comes", published_again },
	{ "T14 T24 raw and packet sockets are refused; another namespace is left alone", raw_sockets },
	{ "T12 UDP inside", inside },
	{},
};
