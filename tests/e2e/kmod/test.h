/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Cases of the module's test: each a function that returns, or fails by CHECK. One process for each. */
#pragma once

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST_DEADLINE_MS 20000

void test_fail(const char *file, int line, const char *what) __attribute__((noreturn));

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			test_fail(__FILE__, __LINE__, #condition);                                                     \
	} while (0)

/* Two numbers that should be equal, with what they are. */
#define CHECK_EQ(a, b) test_equal(__FILE__, __LINE__, #a, (long long)(a), (long long)(b))
void test_equal(const char *file, int line, const char *what, long long a, long long b);
/* A system call that failed with that error. */
#define CHECK_ERRNO(call, error) test_errno(__FILE__, __LINE__, #call, (long long)(call), error)
void test_errno(const char *file, int line, const char *what, long long r, int error);

long test_now_ms(void);

/* Sockets, with text addresses: "198.51.100.1", "2001:db8::1". */
struct sockaddr_storage test_name(const char *text, uint16_t port);
socklen_t test_name_len(const struct sockaddr_storage *name);
int test_socket(int family, int type);
int test_connect(const char *text, uint16_t port);
int test_listen(const char *text, uint16_t port);
uint16_t test_port(int fd);
/* The socket's own or its peer's, as "address port" (static). */
const char *test_name_of(int fd, bool peer);
/* Waits until it is that: vsock sockets answer a request before the stand-in has seen it. */
void test_await_name(int fd, const char *name);
const char *test_format(const struct sockaddr_storage *name);
/* Events of one descriptor within the time, or 0. */
short test_poll(int fd, short events, int ms);
void test_send(int fd, const void *data, size_t len);
void test_expect(int fd, const void *data, size_t len);
void test_expect_eof(int fd);

extern const struct test tests_stream[], tests_listen[], tests_datagram[], tests_torture[];
