// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

void test_fail(const char *file, int line, const char *what)
{
	printf("# %s:%d: %s (errno %d: %s)\n", file, line, what, errno, strerror(errno));
	fflush(stdout);
	_exit(1);
}

void test_equal(const char *file, int line, const char *what, long long a, long long b)
{
	char text[256];

	if (a == b)
		return;
	snprintf(text, sizeof(text), "%s is %lld, not %lld", what, a, b);
	test_fail(file, line, text);
}

void test_errno(const char *file, int line, const char *what, long long r, int error)
{
	char text[256];

	if (r == -1 && errno == error)
		return;
	snprintf(text, sizeof(text), "%s gave %lld, not %s", what, r, strerror(error));
	test_fail(file, line, text);
}

long test_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct sockaddr_storage test_name(const char *text, uint16_t port)
{
	struct sockaddr_storage name = {};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&name;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&name;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return name;
	}
	CHECK_EQ(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return name;
}

socklen_t test_name_len(const struct sockaddr_storage *name)
{
	return name->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

int test_socket(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	return fd;
}

int test_connect(const char *text, uint16_t port)
{
	struct sockaddr_storage name = test_name(text, port);
	int fd = test_socket(name.ss_family, SOCK_STREAM);

	CHECK_EQ(connect(fd, (struct sockaddr *)&name, test_name_len(&name)), 0);
	return fd;
}

int test_listen(const char *text, uint16_t port)
{
	struct sockaddr_storage name = test_name(text, port);
	int fd = test_socket(name.ss_family, SOCK_STREAM), on = 1;

	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&name, test_name_len(&name)), 0);
	CHECK_EQ(listen(fd, 128), 0);
	return fd;
}

const char *test_format(const struct sockaddr_storage *name)
{
	static char text[2][INET6_ADDRSTRLEN + 8];
	static unsigned turn;
	char *out = text[turn++ % 2], address[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)name;

	if (name->ss_family == AF_INET)
		snprintf(out, sizeof(text[0]), "%s %u", inet_ntop(AF_INET, &v4->sin_addr, address, sizeof(address)),
			 ntohs(v4->sin_port));
	else
		snprintf(out, sizeof(text[0]), "%s %u", inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof(address)),
			 ntohs(v6->sin6_port));
	return out;
}

static struct sockaddr_storage test_name_get(int fd, bool peer)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	CHECK_EQ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&name, &len), 0);
	return name;
}

uint16_t test_port(int fd)
{
	struct sockaddr_storage name = test_name_get(fd, false);

	return ntohs(((struct sockaddr_in *)&name)->sin_port);
}

const char *test_name_of(int fd, bool peer)
{
	struct sockaddr_storage name = test_name_get(fd, peer);

	return test_format(&name);
}

void test_await_name(int fd, const char *name)
{
	long deadline = test_now_ms() + TEST_DEADLINE_MS;

	while (strcmp(test_name_of(fd, false), name)) {
		if (test_now_ms() > deadline)
			test_fail(__FILE__, __LINE__, test_name_of(fd, false));
		sched_yield();
	}
}

short test_poll(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	CHECK(poll(&p, 1, ms) >= 0);
	return p.revents;
}

void test_send(int fd, const void *data, size_t len)
{
	CHECK_EQ(send(fd, data, len, MSG_NOSIGNAL), len);
}

void test_expect(int fd, const void *data, size_t len)
{
	char buffer[4096];

	CHECK(len <= sizeof(buffer));
	CHECK_EQ(recv(fd, buffer, len, MSG_WAITALL), len);
	CHECK(!memcmp(buffer, data, len));
}

void test_expect_eof(int fd)
{
	char byte;

	CHECK_EQ(recv(fd, &byte, 1, 0), 0);
}
