// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
#include "host.h"

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "test.h"

#define HOST_TABLE 4096

/* What the guest has said, by port; and connections that came before, or after, the test asked. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int control;
	int refuse;
	unsigned losses;
	uint32_t next_port;
	unsigned turn;
	unsigned n_requests, n_listeners, n_options, n_ready;
	struct tsi_message requests[HOST_TABLE], listeners[HOST_TABLE], options[HOST_TABLE];
	struct host_stream ready[HOST_TABLE];
} host = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.control = -1,
	.next_port = TSI_PORT_HOST_FIRST,
};

static struct timespec host_in_ms(long ms)
{
	struct timespec when;

	clock_gettime(CLOCK_REALTIME, &when);
	when.tv_nsec += ms % 1000 * 1000000;
	when.tv_sec += ms / 1000 + when.tv_nsec / 1000000000;
	when.tv_nsec %= 1000000000;
	return when;
}

static struct timespec host_deadline(void)
{
	return host_in_ms(TEST_DEADLINE_MS);
}

/* With the lock; fails the test when nothing changes in time. */
static void host_wait(const struct timespec *deadline, const char *what)
{
	if (pthread_cond_timedwait(&host.changed, &host.lock, deadline))
		test_fail("host.c", 0, what);
}

static void host_keep(struct tsi_message *table, unsigned *n, const struct tsi_message *message)
{
	if (*n == HOST_TABLE)
		memmove(table, table + 1, --*n * sizeof(*table));
	table[(*n)++] = *message;
}

static void host_forget_listener(uint32_t port)
{
	unsigned i;

	for (i = 0; i < host.n_listeners; i++)
		if (host.listeners[i].port == port)
			host.listeners[i--] = host.listeners[--host.n_listeners];
}

void host_send(const struct tsi_message *message)
{
	ssize_t n = send(host.control, message, sizeof(*message), MSG_NOSIGNAL);

	/* Lost by host_lose_control meanwhile: then nobody waits for the message. */
	CHECK(n == sizeof(*message) || errno == EPIPE || errno == EBADF);
}

void host_send_error(enum tsi_message_type type, uint32_t port, uint32_t error)
{
	struct tsi_message message = { .type = type, .port = port, .error = error };

	host_send(&message);
}

static void host_handle(const struct tsi_message *message)
{
	struct tsi_message answer = { .type = TSI_CONNECTED, .port = message->port };

	switch (message->type) {
	case TSI_CONNECT:
		/* Vsock has said yes already, or is about to: the guest must be able to wait for the name. */
		answer.local = host_address("203.0.113.5", 40000);
		answer.remote = message->remote;
		host_send(&answer);
		host_keep(host.requests, &host.n_requests, message);
		break;
	case TSI_DATAGRAM:
		host_keep(host.requests, &host.n_requests, message);
		break;
	case TSI_PEER:
		if (ntohs(message->remote.port) == 1) {
			host_send_error(TSI_FAILED, message->port, EHOSTUNREACH);
			break;
		}
		answer.local = host_address("203.0.113.5", 50000);
		host_send(&answer);
		break;
	case TSI_LISTEN:
		host_forget_listener(message->port);
		host_keep(host.listeners, &host.n_listeners, message);
		break;
	case TSI_UNLISTEN:
		host_forget_listener(message->port);
		break;
	case TSI_OPTION:
		host_keep(host.options, &host.n_options, message);
		break;
	}
}

static int host_listen(int type, uint32_t port)
{
	struct sockaddr_vm name = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	int fd = socket(AF_VSOCK, type, 0);

	CHECK(fd >= 0);
	CHECK(!bind(fd, (struct sockaddr *)&name, sizeof(name)));
	CHECK(!listen(fd, 4096));
	return fd;
}

static void *host_control(void *arg)
{
	int listener = host_listen(SOCK_STREAM, TSI_PORT_CONTROL);
	struct tsi_message message;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		CHECK(fd >= 0);
		pthread_mutex_lock(&host.lock);
		host.control = fd;
		host.n_listeners = 0;
		pthread_mutex_unlock(&host.lock);
		while (recv(fd, &message, sizeof(message), MSG_WAITALL) == sizeof(message)) {
			pthread_mutex_lock(&host.lock);
			host_handle(&message);
			pthread_cond_broadcast(&host.changed);
			pthread_mutex_unlock(&host.lock);
		}
		pthread_mutex_lock(&host.lock);
		host.control = -1;
		pthread_cond_broadcast(&host.changed);
		pthread_mutex_unlock(&host.lock);
		close(fd);
	}
	return NULL;
}

static void host_echo(int fd, bool back)
{
	char buffer[65536];
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		if (back && send(fd, buffer, n, MSG_NOSIGNAL) != n)
			break;
	shutdown(fd, SHUT_WR);
	close(fd);
}

static void *host_serve_echo(void *arg)
{
	host_echo((int)(intptr_t)arg, true);
	return NULL;
}

static void *host_serve_discard(void *arg)
{
	host_echo((int)(intptr_t)arg, false);
	return NULL;
}

static void host_spawn(void *(*run)(void *), intptr_t arg)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	CHECK(!pthread_create(&thread, &attributes, run, (void *)arg));
	pthread_attr_destroy(&attributes);
}

/*
 * With the lock. The request that was sent ahead of a connection must have been read by now, or is being read; unless it
 * went down with a control connection.
 */
static bool host_request(uint32_t port, struct tsi_message *ret_request)
{
	struct timespec deadline = host_in_ms(host.losses ? 300 : TEST_DEADLINE_MS);
	unsigned i;

	for (;;) {
		for (i = 0; i < host.n_requests; i++)
			if (host.requests[i].port == port) {
				*ret_request = host.requests[i];
				host.requests[i] = host.requests[--host.n_requests];
				return true;
			}
		if (!pthread_cond_timedwait(&host.changed, &host.lock, &deadline))
			continue;
		if (!host.losses)
			test_fail(__FILE__, __LINE__, "a connection without a request ahead of it");
		return false;
	}
}

static void host_arrived(int fd, uint32_t port)
{
	struct host_stream stream = { .fd = fd, .port = port };
	uint16_t to;

	pthread_mutex_lock(&host.lock);
	if (!host_request(port, &stream.request)) {
		close(fd);
		pthread_mutex_unlock(&host.lock);
		return;
	}
	to = ntohs(stream.request.remote.port);
	if (stream.request.type == TSI_CONNECT && to == HOST_ECHO)
		host_spawn(host_serve_echo, fd);
	else if (stream.request.type == TSI_CONNECT && to == HOST_DISCARD)
		host_spawn(host_serve_discard, fd);
	else
		host.ready[host.n_ready++ % HOST_TABLE] = stream;
	pthread_cond_broadcast(&host.changed);
	pthread_mutex_unlock(&host.lock);
}

static void host_accept(int listener)
{
	struct sockaddr_vm name;
	socklen_t len = sizeof(name);
	int fd = accept(listener, (struct sockaddr *)&name, &len);

	CHECK(fd >= 0);
	host_arrived(fd, name.svm_port);
}

static void *host_accept_datagrams(void *arg)
{
	int listener = host_listen(SOCK_SEQPACKET, TSI_PORT_DATAGRAM);

	for (;;)
		host_accept(listener);
	return NULL;
}

static void *host_accept_streams(void *arg)
{
	struct pollfd ready[2] = { { .fd = (int)(intptr_t)arg, .events = POLLIN }, { .fd = host.refuse, .events = POLLIN } };

	for (;;) {
		CHECK(poll(ready, 2, -1) > 0);
		if (ready[1].revents)
			break;
		host_accept(ready[0].fd);
	}
	close(ready[0].fd);
	pthread_mutex_lock(&host.lock);
	CHECK_EQ(eventfd_read(host.refuse, &(eventfd_t){ 0 }), 0);
	pthread_cond_broadcast(&host.changed);
	pthread_mutex_unlock(&host.lock);
	return NULL;
}

void host_start(void)
{
	host_spawn(host_control, 0);
	host.refuse = eventfd(0, EFD_CLOEXEC);
	host_refuse(false);
	host_spawn(host_accept_datagrams, 0);
}

static struct host_stream host_take_type(int type)
{
	struct timespec deadline = host_deadline();
	struct host_stream stream;
	unsigned i;

	pthread_mutex_lock(&host.lock);
	for (;;) {
		for (i = 0; i < host.n_ready; i++)
			if (host.ready[i].request.type == type)
				goto found;
		host_wait(&deadline, "no connection came to the host");
	}
found:
	stream = host.ready[i];
	memmove(host.ready + i, host.ready + i + 1, (--host.n_ready - i) * sizeof(*host.ready));
	pthread_mutex_unlock(&host.lock);
	return stream;
}

struct host_stream host_take(void)
{
	return host_take_type(TSI_CONNECT);
}

bool host_has_datagram(int ms)
{
	long deadline = test_now_ms() + ms;
	bool found = false;
	unsigned i;

	do {
		pthread_mutex_lock(&host.lock);
		for (i = 0; i < host.n_ready && !found; i++)
			found = host.ready[i].request.type == TSI_DATAGRAM;
		pthread_mutex_unlock(&host.lock);
	} while (!found && test_now_ms() < deadline && !sched_yield());
	return found;
}

struct host_stream host_take_datagram(void)
{
	return host_take_type(TSI_DATAGRAM);
}

/* With the lock. Listeners that share a port take turns. */
static uint32_t host_listener(uint16_t port)
{
	unsigned i;

	for (i = 0; i < host.n_listeners; i++) {
		const struct tsi_message *listener = &host.listeners[(i + host.turn) % host.n_listeners];

		if (ntohs(listener->local.port) == port)
			return listener->port;
	}
	return 0;
}

bool host_knows_listener(uint16_t port)
{
	bool known;

	pthread_mutex_lock(&host.lock);
	known = host_listener(port);
	pthread_mutex_unlock(&host.lock);
	return known;
}

void host_await_listener(uint16_t port, bool there)
{
	struct timespec deadline = host_deadline();

	pthread_mutex_lock(&host.lock);
	while (!!host_listener(port) != there)
		host_wait(&deadline, there ? "the listener is not announced" : "the listener does not go");
	pthread_mutex_unlock(&host.lock);
}

int host_client(uint16_t port, const char *from, uint16_t from_port)
{
	struct sockaddr_vm name = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	struct sockaddr_vm to = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL };
	struct tsi_message incoming = { .type = TSI_INCOMING };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	host_await_listener(port, true);
	pthread_mutex_lock(&host.lock);
	name.svm_port = host.next_port++;
	to.svm_port = host_listener(port);
	host.turn++;
	incoming.port = name.svm_port;
	incoming.value = to.svm_port;
	incoming.local = host_address("203.0.113.5", 8080);
	incoming.remote = host_address(from, from_port);
	CHECK(!bind(fd, (struct sockaddr *)&name, sizeof(name)));
	host_send(&incoming);
	pthread_mutex_unlock(&host.lock);
	CHECK(!connect(fd, (struct sockaddr *)&to, sizeof(to)));
	return fd;
}

/* With the lock. */
static bool host_has_option(uint32_t port, enum tsi_option option, uint32_t value)
{
	unsigned i;

	for (i = host.n_options; i-- > 0;)
		if (host.options[i].port == port && host.options[i].error == option)
			return host.options[i].value == value;
	return false;
}

void host_await_option(uint32_t port, enum tsi_option option, uint32_t value)
{
	struct timespec deadline = host_deadline();

	pthread_mutex_lock(&host.lock);
	while (!host_has_option(port, option, value))
		host_wait(&deadline, "the host was not told of an option");
	pthread_mutex_unlock(&host.lock);
}

void host_lose_control_if_there(void)
{
	pthread_mutex_lock(&host.lock);
	if (host.control >= 0) {
		host.losses++;
		host.n_listeners = 0;
		shutdown(host.control, SHUT_RDWR);
	}
	pthread_mutex_unlock(&host.lock);
}

void host_lose_control(void)
{
	CHECK(host.control >= 0);
	host_lose_control_if_there();
}

void host_close_ready(void)
{
	pthread_mutex_lock(&host.lock);
	while (host.n_ready)
		close(host.ready[--host.n_ready].fd);
	pthread_mutex_unlock(&host.lock);
}

void host_refuse(bool refuse)
{
	struct timespec deadline = host_deadline();
	struct pollfd pending = { .fd = host.refuse, .events = POLLIN };

	if (!refuse) {
		host_spawn(host_accept_streams, host_listen(SOCK_STREAM, TSI_PORT_STREAM));
		return;
	}
	pthread_mutex_lock(&host.lock);
	CHECK_EQ(eventfd_write(host.refuse, 1), 0);
	while (poll(&pending, 1, 0))
		host_wait(&deadline, "the port does not close");
	pthread_mutex_unlock(&host.lock);
}

struct tsi_address host_address(const char *text, uint16_t port)
{
	struct tsi_address address = { .port = htons(port) };

	if (inet_pton(AF_INET, text, address.bytes) == 1)
		address.family = TSI_FAMILY_V4;
	else if (inet_pton(AF_INET6, text, address.bytes) == 1)
		address.family = TSI_FAMILY_V6;
	return address;
}
