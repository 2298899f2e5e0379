// SPDX-License-Identifier: Apache-2.0
/*
 * usage: same ADDRESS [ADDRESS6]
 *
 * Does the same with an echo server on the loopback, which is the kernel's own, and with port 7 of ADDRESS (as IPv4, and
 * v4-mapped, T23), and compares what a program sees: results, errors, option values, events. One line for each case, "ok
 * ..." or "not ok ...", with the words that differ. Exit status 1 when one differed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 20000
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Where the present run connects to, and what it has to say. */
static struct sockaddr_storage target;
static socklen_t target_size;
static FILE *account;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(account, format, arguments);
	va_end(arguments);
	fputc(' ', account);
}

/* The result of a system call: its value, or the error's name. */
static long told(const char *what, long r)
{
	if (r < 0)
		say("%s=%s", what, strerrorname_np(errno));
	else
		say("%s=%ld", what, r);
	return r;
}
#define TELL(call) told(#call, (long)(call))
/* Only whether it worked: the value is nobody's business. */
#define TRY(call) told(#call, (long)(call) < 0 ? -1 : 0)

static void hex(const char *what, const void *data, ssize_t n)
{
	say("%s=", what);
	for (ssize_t i = 0; i < n && i < 32; i++)
		fprintf(account, "%02x", ((const uint8_t *)data)[i]);
	fputc(' ', account);
}

static int new_socket(int flags)
{
	return socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int connected(void)
{
	int fd = new_socket(0);

	if (connect(fd, (struct sockaddr *)&target, target_size) < 0)
		told("connect", -1);
	return fd;
}

/* Until the echo of so many bytes waits to be read. */
static void await_bytes(int fd, int want)
{
	int n = 0;

	for (int i = 0; i < LIMIT_MS && n < want; i++) {
		ioctl(fd, FIONREAD, &n);
		poll(NULL, 0, 1);
	}
	say("waiting=%d", n);
}

static void put(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		told("put", -1);
	await_bytes(fd, (int)strlen(text));
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, name, &value, &size) < 0 ? -errno : value;
}

/* ---- T09 ---- */

#define OPTION(level, name) { level, name, #name }
static const struct {
	int level, name;
	const char *text;
} options[] = {
	OPTION(SOL_SOCKET, SO_TYPE), OPTION(SOL_SOCKET, SO_DOMAIN), OPTION(SOL_SOCKET, SO_PROTOCOL),
	OPTION(SOL_SOCKET, SO_ACCEPTCONN), OPTION(SOL_SOCKET, SO_ERROR), OPTION(SOL_SOCKET, SO_REUSEADDR),
	OPTION(SOL_SOCKET, SO_REUSEPORT), OPTION(SOL_SOCKET, SO_KEEPALIVE), OPTION(SOL_SOCKET, SO_BROADCAST),
	OPTION(SOL_SOCKET, SO_OOBINLINE), OPTION(SOL_SOCKET, SO_PRIORITY), OPTION(SOL_SOCKET, SO_RCVLOWAT),
	OPTION(SOL_SOCKET, SO_SNDLOWAT), OPTION(SOL_SOCKET, SO_DONTROUTE), OPTION(SOL_SOCKET, SO_TIMESTAMP),
	OPTION(SOL_SOCKET, SO_PASSCRED), OPTION(SOL_SOCKET, SO_MARK), OPTION(SOL_SOCKET, SO_ZEROCOPY),
	OPTION(SOL_SOCKET, SO_BUSY_POLL), OPTION(SOL_SOCKET, SO_DEBUG), OPTION(SOL_SOCKET, SO_NO_CHECK),
	OPTION(SOL_TCP, TCP_NODELAY), OPTION(SOL_TCP, TCP_CORK), OPTION(SOL_TCP, TCP_KEEPIDLE), OPTION(SOL_TCP, TCP_KEEPINTVL),
	OPTION(SOL_TCP, TCP_KEEPCNT), OPTION(SOL_TCP, TCP_SYNCNT), OPTION(SOL_TCP, TCP_LINGER2),
	OPTION(SOL_TCP, TCP_DEFER_ACCEPT), OPTION(SOL_TCP, TCP_QUICKACK), OPTION(SOL_TCP, TCP_USER_TIMEOUT),
	OPTION(SOL_TCP, TCP_FASTOPEN), OPTION(SOL_TCP, TCP_FASTOPEN_CONNECT), OPTION(SOL_TCP, TCP_NOTSENT_LOWAT),
	OPTION(SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS), OPTION(SOL_TCP, TCP_INQ), OPTION(SOL_TCP, 1000),
	OPTION(SOL_IP, IP_TOS), OPTION(SOL_IP, IP_TTL), OPTION(SOL_IP, IP_RECVERR), OPTION(SOL_IP, IP_PKTINFO),
	OPTION(SOL_IP, IP_FREEBIND), OPTION(SOL_IP, IP_BIND_ADDRESS_NO_PORT), OPTION(SOL_IPV6, IPV6_V6ONLY),
	OPTION(SOL_IPV6, IPV6_TCLASS), OPTION(SOL_IPV6, IPV6_UNICAST_HOPS), OPTION(SOL_IPV6, IPV6_RECVPKTINFO),
	OPTION(1234, SO_TYPE),
};

static void tell_options(int fd)
{
	for (size_t i = 0; i < COUNT(options); i++)
		say("%s=%d", options[i].text, option(fd, options[i].level, options[i].name));
}

static void options_fresh(void)
{
	int fd = new_socket(0);

	tell_options(fd);
	close(fd);
}

static void options_connected(void)
{
	int fd = connected();

	tell_options(fd);
	close(fd);
}

/* Each set on a connection, read back; and on a socket before it is connected, read after. */
static void options_set(bool before)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		int fd = before ? new_socket(0) : connected(), value = 3;

		if (options[i].name == SO_DONTROUTE && options[i].level == SOL_SOCKET)
			continue; /* then there is no way out indeed */
		say("%s:", options[i].text);
		TELL(setsockopt(fd, options[i].level, options[i].name, &value, sizeof(value)));
		TELL(setsockopt(fd, options[i].level, options[i].name, &value, 1));
		if (before)
			TELL(connect(fd, (struct sockaddr *)&target, target_size));
		say("%d", option(fd, options[i].level, options[i].name));
		close(fd);
	}
}

static void options_set_after(void)
{
	options_set(false);
}

static void options_set_before(void)
{
	options_set(true);
}

static void buffers(void)
{
	int fd = connected(), size = 20000;

	TELL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	TELL(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	TELL(option(fd, SOL_SOCKET, SO_SNDBUF));
	TELL(option(fd, SOL_SOCKET, SO_RCVBUF));
	put(fd, "works");
	close(fd);
}

static void timeouts(void)
{
	struct timeval time = { 0, 50000 }, got;
	socklen_t size = sizeof(got);
	int fd = connected();
	char byte;

	TELL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	TELL(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &size));
	say("%ld", (long)got.tv_usec);
	TELL(recv(fd, &byte, 1, 0));
	TELL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, 1));
	time.tv_usec = 1000000;
	TELL(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)));
	close(fd);
}

static void congestion(void)
{
	char name[16] = "";
	socklen_t size = sizeof(name);
	int fd = connected();

	TELL(getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &size));
	say("%s", name);
	TELL(setsockopt(fd, SOL_TCP, TCP_CONGESTION, "reno", 4));
	size = sizeof(name);
	TELL(getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &size));
	say("%s", name);
	TELL(setsockopt(fd, SOL_TCP, TCP_CONGESTION, "nothing", 7));
	put(fd, "works");
	close(fd);
}

static void maxseg(void)
{
	int fd = new_socket(0), size = 1000;

	TELL(setsockopt(fd, SOL_TCP, TCP_MAXSEG, &size, sizeof(size)));
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	say("%d", option(fd, SOL_TCP, TCP_MAXSEG) > 0);
	size = 1;
	TELL(setsockopt(fd, SOL_TCP, TCP_MAXSEG, &size, sizeof(size)));
	close(fd);
}

static void tcp_state(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);

	TELL(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &size));
	say("state=%d size=%u", info.tcpi_state, size);
}

/* A peer's end is seen some time after our own: until then it may be FIN_WAIT1 or 2. */
static void info(void)
{
	int fd = new_socket(0);
	char byte;

	tcp_state(fd);
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	tcp_state(fd);
	TELL(shutdown(fd, SHUT_WR));
	TELL(recv(fd, &byte, 1, 0));
	close(fd);
}

static void oddities(void)
{
	int fd = connected(), cpu = option(fd, SOL_SOCKET, SO_INCOMING_CPU);
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	say("%d", cpu >= -1);
	TELL(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size));
	say("%d", cookie != 0);
	size = 2;
	TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &cpu, &size));
	say("%u", size);
	TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, (void *)8, &size));
	TELL(setsockopt(fd, SOL_TCP, TCP_NODELAY, (void *)8, 4));
	TELL(setsockopt(fd, SOL_TCP, TCP_NODELAY, &cpu, 0));
	TELL(ioctl(fd, 0x12345678, &cpu));
	TELL(ioctl(fd, SIOCATMARK, &cpu));
	say("%d", cpu);
	close(fd);
}

/* ---- T10 ---- */

static void ioctls(void)
{
	int fd = connected(), n = -1;

	put(fd, "hello");
	TELL(ioctl(fd, FIONREAD, &n));
	say("%d", n);
	TELL(ioctl(fd, SIOCOUTQ, &n));
	n = 1;
	TELL(ioctl(fd, FIONBIO, &n));
	TELL(fcntl(fd, F_GETFL) & O_NONBLOCK);
	TELL(ioctl(fd, FIONREAD, (void *)8));
	close(fd);
}

static void flags(void)
{
	int fd = connected();
	char buffer[64] = "";

	put(fd, "hello world");
	TELL(recv(fd, buffer, 5, MSG_PEEK));
	TELL(recv(fd, buffer, 5, MSG_PEEK | MSG_WAITALL));
	TELL(recv(fd, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT));
	TELL(recv(fd, buffer, 3, 0));
	hex("got", buffer, 3);
	TELL(recv(fd, NULL, 3, MSG_TRUNC));
	TELL(recv(fd, buffer, 5, MSG_WAITALL));
	hex("got", buffer, 5);
	TELL(recv(fd, buffer, 5, MSG_DONTWAIT));
	TELL(recv(fd, buffer, 5, MSG_ERRQUEUE));
	TELL(recv(fd, buffer, 5, MSG_OOB));
	TELL(recv(fd, buffer, 0, MSG_DONTWAIT));
	TELL(send(fd, buffer, 0, 0));
	TELL(send(fd, (void *)8, 10, 0));
	put(fd, "x");
	TELL(recv(fd, buffer, 0, 0));
	TELL(recv(fd, (void *)8, 10, 0));
	TELL(recv(fd, buffer, 10, 0));
	close(fd);
}

static void names_in_messages(void)
{
	struct sockaddr_storage name = { .ss_family = 99 };
	char buffer[16], control[64];
	struct iovec part = { buffer, sizeof(buffer) };
	struct msghdr message = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof(control) };
	socklen_t size = sizeof(name);
	int fd = connected();

	put(fd, "name");
	TELL(recvmsg(fd, &message, 0));
	say("namelen=%u family=%d control=%zu flags=%x", message.msg_namelen, name.ss_family, message.msg_controllen, message.msg_flags);
	TELL(sendto(fd, "to", 2, 0, (struct sockaddr *)&target, target_size));
	TELL(recvfrom(fd, buffer, 2, MSG_WAITALL, (struct sockaddr *)&name, &size));
	say("size=%u", size);
	size = 3;
	TELL(getpeername(fd, (struct sockaddr *)&name, &size));
	say("size=%u", size);
	message.msg_iovlen = 2000;
	TELL(recvmsg(fd, &message, MSG_DONTWAIT));
	close(fd);
}

static void rest_of_queue(void)
{
	char buffer[4], control[64];
	struct iovec part = { buffer, sizeof(buffer) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control };
	int fd = connected(), on = 1, rest;

	TELL(setsockopt(fd, SOL_TCP, TCP_INQ, &on, sizeof(on)));
	put(fd, "hello");
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			shutdown(fd, SHUT_WR);
		poll(&(struct pollfd){ fd, i < 2 ? POLLIN : POLLRDHUP, 0 }, 1, LIMIT_MS);
		message.msg_controllen = sizeof(control);
		TELL(recvmsg(fd, &message, 0));
		memcpy(&rest, CMSG_DATA((struct cmsghdr *)control), sizeof(rest));
		say("%zu %d", message.msg_controllen, i == 1 ? 0 : rest); /* the end may or may not be there yet */
	}
	close(fd);
}

static void vectors(void)
{
	char one[3] = "abc", two[4] = "defg", a[5] = "", b[2] = "";
	struct iovec out[] = { { one, 3 }, { NULL, 0 }, { two, 4 } }, in[] = { { a, 5 }, { b, 2 } };
	int fd = connected();

	TELL(writev(fd, out, 3));
	await_bytes(fd, 7);
	TELL(readv(fd, in, 2));
	hex("a", a, 5);
	hex("b", b, 2);
	TELL(pwrite(fd, one, 3, 0));
	TELL(lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void many_messages(void)
{
	char data[3][4] = { "one", "two", "end" }, got[3][3];
	struct iovec out[3], in[3];
	struct mmsghdr messages[3] = { 0 }, answers[3] = { 0 };
	int fd = connected();

	for (int i = 0; i < 3; i++) {
		out[i] = (struct iovec){ data[i], 3 };
		in[i] = (struct iovec){ got[i], 3 };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &out[i], .msg_iovlen = 1 };
		answers[i].msg_hdr = (struct msghdr){ .msg_iov = &in[i], .msg_iovlen = 1 };
	}
	TELL(sendmmsg(fd, messages, 3, 0));
	await_bytes(fd, 9);
	TELL(recvmmsg(fd, answers, 3, MSG_WAITFORONE, NULL));
	hex("got", got, 9);
	TELL(recvmmsg(fd, answers, 3, MSG_DONTWAIT, NULL));
	close(fd);
}

/* A file of so many bytes, without a name. */
static int file_of(size_t size)
{
	int fd = memfd_create("same", 0);
	uint8_t block[4096];

	for (size_t done = 0; done < size; done += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)(done / 4096 + i * 7);
		if (write(fd, block, sizeof(block)) != sizeof(block))
			told("write", -1);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static uint32_t digest(const uint8_t *data, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ data[i]) * 16777619u;
	return sum;
}

static void digest_of_echo(int fd, size_t want)
{
	static uint8_t buffer[65536];
	uint32_t sum = 2166136261u;
	size_t got = 0;

	while (got < want) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		if (n <= 0)
			break;
		sum = digest(buffer, (size_t)n, sum);
		got += (size_t)n;
	}
	say("echo=%zu/%08x", got, sum);
}

#define FILE_SIZE (96u << 10) /* less than what the way there and back holds: nobody reads meanwhile */

static void send_file(void)
{
	int fd = connected(), file = file_of(FILE_SIZE);
	off_t at = 4096;

	for (size_t done = 0; done < FILE_SIZE;) {
		ssize_t n = sendfile(fd, file, NULL, FILE_SIZE - done);

		if (n <= 0) {
			told("sendfile", n);
			break;
		}
		done += (size_t)n;
	}
	digest_of_echo(fd, FILE_SIZE);
	TELL(sendfile(fd, file, NULL, 10));
	TELL(sendfile(fd, file, &at, 10));
	say("at=%ld", (long)at);
	TELL(sendfile(file, fd, NULL, 10));
	close(file);
	close(fd);
}

static void splices(void)
{
	int fd = connected(), file = file_of(FILE_SIZE), out = memfd_create("out", 0), ends[2];
	static uint8_t back[FILE_SIZE];
	size_t done, got;

	TELL(pipe(ends));
	for (done = 0, got = 0; got < FILE_SIZE;) {
		ssize_t n;

		if (done < FILE_SIZE) {
			n = splice(file, NULL, ends[1], NULL, 16384, SPLICE_F_MOVE);
			for (ssize_t part = 0, k; part < n; part += k) {
				k = splice(ends[0], NULL, fd, NULL, (size_t)(n - part), SPLICE_F_MORE);
				if (k <= 0) {
					told("splice out", k);
					return;
				}
			}
			done += (size_t)n;
		}
		n = splice(fd, NULL, ends[1], NULL, 16384, SPLICE_F_MOVE);
		if (n <= 0) {
			told("splice in", n);
			return;
		}
		got += (size_t)n;
		for (ssize_t k; n > 0; n -= k) {
			k = splice(ends[0], NULL, out, NULL, (size_t)n, 0);
			if (k <= 0) {
				told("splice to file", k);
				return;
			}
		}
	}
	lseek(out, 0, SEEK_SET);
	TELL(read(out, back, sizeof(back)));
	say("%08x", digest(back, sizeof(back), 0));
	TELL(fcntl(fd, F_SETFL, O_NONBLOCK));
	TELL(splice(fd, NULL, ends[1], NULL, 10, 0));
	TELL(vmsplice(ends[1], &(struct iovec){ back, 100 }, 1, 0));
	TELL(splice(ends[0], NULL, fd, NULL, 100, 0));
	await_bytes(fd, 100);
	TELL(shutdown(fd, SHUT_WR));
	fcntl(fd, F_SETFL, 0);
	TELL(splice(fd, NULL, ends[1], NULL, 200, 0));
	TELL(splice(fd, NULL, ends[1], NULL, 200, 0));
	close(fd);
	close(file);
	close(out);
	close(ends[0]);
	close(ends[1]);
}

static void low_water(void)
{
	int fd = connected(), mark = 6;
	struct pollfd p = { fd, POLLIN, 0 };
	char buffer[16];

	TELL(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)));
	put(fd, "hello");
	TELL(poll(&p, 1, 30));
	put(fd, "hello!");
	TELL(poll(&p, 1, LIMIT_MS));
	TELL(recv(fd, buffer, sizeof(buffer), 0));
	close(fd);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	signals = signals + 1;
}

static void asynchronous(void)
{
	struct sigaction action = { .sa_handler = count_signal };
	int fd = connected();

	sigaction(SIGIO, &action, NULL);
	TELL(fcntl(fd, F_SETOWN, getpid()));
	TELL(fcntl(fd, F_SETFL, O_ASYNC));
	signals = 0;
	put(fd, "signal");
	for (int i = 0; i < LIMIT_MS && !signals; i++)
		poll(NULL, 0, 1);
	say("signals=%d", signals > 0);
	fcntl(fd, F_SETFL, 0);
	close(fd);
}

/* ---- io_uring, by hand ---- */

struct ring {
	int fd;
	struct io_uring_params params;
	uint8_t *submit, *complete;
	struct io_uring_sqe *entries;
};

static bool ring_open(struct ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 8, &ring->params);
	if (ring->fd < 0) {
		told("io_uring_setup", -1);
		return false;
	}
	ring->submit = mmap(NULL, ring->params.sq_off.array + ring->params.sq_entries * 4, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->complete = mmap(NULL, ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe),
			      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_CQ_RING);
	ring->entries = mmap(NULL, ring->params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	return true;
}

/* Submits one, waits for `wait` completions. */
static void ring_submit(struct ring *ring, const struct io_uring_sqe *entry, unsigned wait)
{
	uint32_t *tail = (uint32_t *)(ring->submit + ring->params.sq_off.tail);
	uint32_t mask = *(uint32_t *)(ring->submit + ring->params.sq_off.ring_mask), index = *tail & mask;

	ring->entries[index] = *entry;
	((uint32_t *)(ring->submit + ring->params.sq_off.array))[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	syscall(SYS_io_uring_enter, ring->fd, 1, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
}

/* The result of the next completion: they come one after the other here. */
static int ring_result(struct ring *ring)
{
	uint32_t *head = (uint32_t *)(ring->complete + ring->params.cq_off.head);
	uint32_t *tail = (uint32_t *)(ring->complete + ring->params.cq_off.tail);
	uint32_t mask = *(uint32_t *)(ring->complete + ring->params.cq_off.ring_mask);
	const struct io_uring_cqe *events = (void *)(ring->complete + ring->params.cq_off.cqes);
	int result;

	while (__atomic_load_n(tail, __ATOMIC_ACQUIRE) == *head)
		syscall(SYS_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	result = events[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

static int ring_do(struct ring *ring, struct io_uring_sqe entry)
{
	ring_submit(ring, &entry, 1);
	return ring_result(ring);
}

static void uring(void)
{
	struct ring ring;
	int fd = new_socket(0);
	char buffer[16] = "";
	struct io_uring_sqe receive = { .opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)buffer, .len = sizeof(buffer) };

	if (!ring_open(&ring))
		return;
	say("connect=%d", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd,
		.addr = (uintptr_t)&target, .off = target_size }));
	/* The receive is there before anything comes. */
	ring_submit(&ring, &receive, 0);
	say("sent=%ld", (long)send(fd, "uring", 5, 0));
	say("recv=%d", ring_result(&ring));
	hex("got", buffer, 5);
	say("send=%d", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_SEND, .fd = fd, .addr = (uintptr_t)"again", .len = 5 }));
	say("poll=%x", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_POLL_ADD, .fd = fd, .poll32_events = POLLIN }));
	say("read=%d", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)buffer, .len = 5 }));
	say("write=%d", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_WRITE, .fd = fd, .addr = (uintptr_t)"more", .len = 4 }));
	await_bytes(fd, 4);
	ring_submit(&ring, &(struct io_uring_sqe){ .opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)buffer, .len = 16,
		.msg_flags = MSG_WAITALL }, 0);
	say("shutdown=%d", shutdown(fd, SHUT_WR));
	say("rest=%d", ring_result(&ring));
	say("close=%d", ring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_CLOSE, .fd = fd }));
	munmap(ring.entries, ring.params.sq_entries * sizeof(struct io_uring_sqe));
	close(ring.fd);
}

/* ---- T07, T11: states, and several holders ---- */

static void wrong_state(void)
{
	struct sockaddr_storage any = { .ss_family = target.ss_family };
	int fd = connected();
	char byte;

	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	TELL(listen(fd, 1));
	TELL(bind(fd, (struct sockaddr *)&any, target_size));
	TELL(accept(fd, NULL, NULL));
	TELL(shutdown(fd, 17));
	TELL(shutdown(fd, SHUT_RD));
	TELL(recv(fd, &byte, 1, 0));
	TELL(send(fd, "x", 1, MSG_NOSIGNAL));
	TELL(shutdown(fd, SHUT_WR));
	TELL(send(fd, "x", 1, MSG_NOSIGNAL));
	close(fd);
	fd = new_socket(0);
	TELL(send(fd, "x", 1, MSG_NOSIGNAL));
	TELL(recv(fd, &byte, 1, 0));
	TELL(shutdown(fd, SHUT_RDWR));
	TELL(getpeername(fd, (struct sockaddr *)&any, &target_size));
	TELL(connect(fd, (struct sockaddr *)&target, 4));
	TELL(connect(fd, (struct sockaddr *)&(struct sockaddr){ .sa_family = AF_UNIX }, 16));
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	close(fd);
	TELL(recv(fd, &byte, 1, 0));
}

static void events(void)
{
	int fd = new_socket(0), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP };
	char byte;

	TELL(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	TELL(epoll_wait(epoll, &event, 1, 0));
	say("fresh=%x", event.events);
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	TELL(epoll_wait(epoll, &event, 1, 0));
	say("connected=%x", event.events);
	put(fd, "x");
	epoll_wait(epoll, &event, 1, 0);
	say("data=%x", event.events);
	TELL(recv(fd, &byte, 1, 0));
	shutdown(fd, SHUT_RD);
	epoll_wait(epoll, &event, 1, 0);
	say("no more in=%x", event.events);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < LIMIT_MS && !(event.events & EPOLLHUP); i++)
		epoll_wait(epoll, &event, 1, 1);
	say("over=%x", event.events);
	close(fd);
	close(epoll);
}

static void handed_on(void)
{
	int fd = connected(), copy = dup(fd), pair[2], status = -1, got = -1;
	char buffer[16] = "", control[CMSG_SPACE(sizeof(int))] = "", number[16];
	struct iovec part = { buffer, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	pid_t pid;

	TELL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	TELL(sendmsg(pair[0], &message, 0));
	close(fd);
	message.msg_controllen = sizeof(control);
	TELL(recvmsg(pair[1], &message, 0));
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(got));
	put(copy, "passed");
	TELL(recv(got, buffer, 16, 0));
	pid = fork();
	if (!pid) {
		/* A program that knows nothing but the descriptor. */
		snprintf(number, sizeof(number), "%d", copy);
		fcntl(copy, F_SETFD, 0);
		execl("/proc/self/exe", "same", "--child", number, (char *)NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	say("child=%d", WEXITSTATUS(status));
	TELL(recv(got, buffer, 16, 0));
	close(copy);
	TELL(send(got, "last", 4, 0));
	TELL(recv(got, buffer, 4, MSG_WAITALL));
	close(got);
	close(pair[0]);
	close(pair[1]);
}

static void *receive_all(void *arg)
{
	int fd = *(int *)arg;
	char buffer[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		total += (size_t)n;
	return (void *)total;
}

static void *ask_all(void *arg)
{
	int fd = *(int *)arg;
	size_t good = 0;

	for (int i = 0; i < 200; i++) {
		struct sockaddr_storage name;
		socklen_t size = sizeof(name);
		struct pollfd p = { fd, POLLIN | POLLOUT, 0 };

		good += getsockname(fd, (struct sockaddr *)&name, &size) == 0;
		good += getpeername(fd, (struct sockaddr *)&name, &size) == 0;
		good += poll(&p, 1, 0) >= 0;
		good += option(fd, SOL_SOCKET, SO_ERROR) == 0;
	}
	return (void *)good;
}

static void *send_all(void *arg)
{
	int fd = *(int *)arg;
	char block[1000] = "";
	size_t total = 0;

	for (int i = 0; i < 100; i++)
		total += (size_t)send(fd, block, sizeof(block), 0);
	return (void *)total;
}

static void threads(void)
{
	void *(*const work[])(void *) = { receive_all, ask_all, send_all, send_all, ask_all };
	pthread_t thread[COUNT(work)];
	int fd = connected();
	void *result;

	for (size_t i = 0; i < COUNT(work); i++)
		pthread_create(&thread[i], NULL, work[i], &fd);
	for (size_t i = COUNT(work); i-- > 0;) {
		if (i == 0)
			TELL(shutdown(fd, SHUT_WR));
		pthread_join(thread[i], &result);
		say("%zu: %zu", i, (size_t)result);
	}
	close(fd);
}

/* ---- T13: UDP, whose echo is on the same port ---- */

static int new_datagram(void)
{
	return socket(target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int connected_datagram(void)
{
	struct timeval limit = { LIMIT_MS / 1000, 0 };
	int fd = new_datagram();

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&target, target_size) < 0)
		told("connect", -1);
	return fd;
}

static void datagram_options(void)
{
	int fd = connected_datagram(), value = 1;

	tell_options(fd);
	for (size_t i = 0; i < COUNT(options); i++) {
		if (options[i].name == SO_DONTROUTE && options[i].level == SOL_SOCKET)
			continue;
		say("%s:", options[i].text);
		TELL(setsockopt(fd, options[i].level, options[i].name, &value, sizeof(value)));
		say("%d", option(fd, options[i].level, options[i].name));
	}
	put(fd, "works");
	close(fd);
}

static void datagram_sizes(void)
{
	static const size_t sizes[] = { 0, 1, 1472, 1473, 9000, 65507 };
	static char out[65536], in[65536];
	int fd = connected_datagram(), n = -1;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		TELL(send(fd, out, sizes[i], 0));
		TELL(recv(fd, in, sizeof(in), 0));
	}
	TELL(send(fd, out, 65536, 0));
	put(fd, "hello");
	TELL(recv(fd, in, 2, MSG_PEEK));
	TELL(recv(fd, in, 2, MSG_PEEK | MSG_TRUNC));
	TELL(recv(fd, in, 2, 0));
	TELL(recv(fd, in, 2, MSG_DONTWAIT));
	TELL(ioctl(fd, SIOCOUTQ, &n));
	TELL(ioctl(fd, FIONREAD, &n));
	say("%d", n);
	TELL(send(fd, (void *)8, 10, 0));
	TELL(recv(fd, in, 2, MSG_OOB | MSG_DONTWAIT));
	TELL(recv(fd, in, 2, MSG_ERRQUEUE));
	TELL(send(fd, "x", 1, MSG_OOB));
	close(fd);
}

static void datagram_messages(void)
{
	struct sockaddr_storage name = { .ss_family = 0 };
	char buffer[3], control[256];
	struct iovec part = { buffer, sizeof(buffer) };
	struct msghdr message = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = connected_datagram(), on = 1;

	if (target.ss_family == AF_INET) {
		TELL(setsockopt(fd, SOL_IP, IP_PKTINFO, &on, sizeof(on)));
		TELL(setsockopt(fd, SOL_IP, IP_RECVTTL, &on, sizeof(on)));
		TELL(setsockopt(fd, SOL_IP, IP_RECVTOS, &on, sizeof(on)));
	} else {
		TELL(setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)));
		TELL(setsockopt(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on)));
		TELL(setsockopt(fd, SOL_IPV6, IPV6_RECVTCLASS, &on, sizeof(on)));
	}
	TELL(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
	put(fd, "message");
	TELL(recvmsg(fd, &message, 0));
	say("namelen=%u same=%d flags=%x", message.msg_namelen, !memcmp(&name, &target, 8), message.msg_flags);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		say("cmsg=%d/%d/%zu", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
	close(fd);
}

static void datagram_states(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage any = { .ss_family = target.ss_family }, name;
	socklen_t size = sizeof(name);
	int fd = new_datagram();
	char byte;

	TELL(send(fd, "x", 1, 0));
	TELL(sendto(fd, "x", 1, 0, (struct sockaddr *)&target, 4));
	TELL(sendto(fd, "x", 1, 0, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(struct sockaddr_in6)));
	TELL(getpeername(fd, (struct sockaddr *)&name, &size));
	TELL(listen(fd, 1));
	TELL(accept(fd, NULL, NULL));
	TELL(shutdown(fd, SHUT_RDWR));
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	TELL(bind(fd, (struct sockaddr *)&any, target_size));
	TELL(getpeername(fd, (struct sockaddr *)&name, &size));
	say("size=%u same=%d", size, !memcmp(&name, &target, size));
	size = sizeof(name);
	TELL(getsockname(fd, (struct sockaddr *)&name, &size));
	say("size=%u port=%d", size, ((struct sockaddr_in *)&name)->sin_port != 0);
	TELL(sendto(fd, "x", 1, 0, (struct sockaddr *)&target, target_size));
	TELL(recv(fd, &byte, 1, 0));
	TELL(connect(fd, &none, sizeof(none)));
	TELL(send(fd, "x", 1, 0));
	TELL(getpeername(fd, (struct sockaddr *)&name, &size));
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	TELL(connect(fd, (struct sockaddr *)&target, target_size));
	TELL(shutdown(fd, SHUT_WR));
	TELL(send(fd, "x", 1, MSG_NOSIGNAL));
	TELL(shutdown(fd, SHUT_RD));
	TELL(recv(fd, &byte, 1, 0));
	close(fd);
}

/* Nobody is on port 1. */
static void datagram_refused(void)
{
	struct sockaddr_storage nobody = target;
	int fd = new_datagram();
	struct pollfd p = { fd, POLLIN, 0 };
	char byte;

	((struct sockaddr_in *)&nobody)->sin_port = htons(1);
	TELL(connect(fd, (struct sockaddr *)&nobody, target_size));
	TELL(send(fd, "x", 1, 0));
	TELL(poll(&p, 1, LIMIT_MS));
	say("events=%x", p.revents);
	TELL(recv(fd, &byte, 1, 0));
	TELL(recv(fd, &byte, 1, MSG_DONTWAIT));
	TELL(send(fd, "x", 1, 0));
	TELL(poll(&p, 1, LIMIT_MS));
	TELL(-option(fd, SOL_SOCKET, SO_ERROR));
	TELL(option(fd, SOL_SOCKET, SO_ERROR));
	close(fd);
}

/* What the program waits for before it uses its buffer again. */
static void datagram_zerocopy(void)
{
	char data[100] = "", control[100];
	struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = connected_datagram(), on = 1;
	struct pollfd p = { fd, 0, 0 };

	TELL(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
	TELL(send(fd, data, sizeof(data), MSG_ZEROCOPY));
	TELL(poll(&p, 1, LIMIT_MS));
	TELL(recvmsg(fd, &message, MSG_ERRQUEUE));
	TELL(recv(fd, data, sizeof(data), 0));
	close(fd);
}

static void datagrams_at_once(void)
{
	char data[8][4], got[8][4];
	struct iovec out[8], in[8];
	struct mmsghdr messages[8] = { 0 }, answers[8] = { 0 };
	struct timespec limit = { LIMIT_MS / 1000, 0 };
	int fd = connected_datagram();

	for (int i = 0; i < 8; i++) {
		memset(data[i], 'a' + i, 4);
		out[i] = (struct iovec){ data[i], 4 };
		in[i] = (struct iovec){ got[i], 4 };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &out[i], .msg_iovlen = 1 };
		answers[i].msg_hdr = (struct msghdr){ .msg_iov = &in[i], .msg_iovlen = 1 };
	}
	TELL(sendmmsg(fd, messages, 8, 0));
	TELL(recvmmsg(fd, answers, 8, 0, &limit));
	hex("got", got, sizeof(got));
	TELL(writev(fd, out, 3));
	TELL(recv(fd, got, sizeof(got), 0));
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "T09 options of a fresh socket", options_fresh },
	{ "T09 options of a connection", options_connected },
	{ "T09 options set on a connection", options_set_after },
	{ "T09 options set before the connect", options_set_before },
	{ "T09 SO_SNDBUF, SO_RCVBUF", buffers },
	{ "T09 SO_RCVTIMEO, SO_SNDTIMEO", timeouts },
	{ "T09 TCP_CONGESTION", congestion },
	{ "T09 TCP_MAXSEG", maxseg },
	{ "T09 TCP_INFO", info },
	{ "T09 SO_INCOMING_CPU, SO_COOKIE, wrong sizes and pointers", oddities },
	{ "T10 FIONREAD, SIOCOUTQ, FIONBIO", ioctls },
	{ "T10 MSG_PEEK, WAITALL, DONTWAIT, TRUNC, ERRQUEUE, OOB; bad buffers", flags },
	{ "T10 recvmsg, sendto, names", names_in_messages },
	{ "T10 TCP_INQ", rest_of_queue },
	{ "T10 readv, writev", vectors },
	{ "T10 sendmmsg, recvmmsg", many_messages },
	{ "T10 sendfile", send_file },
	{ "T10 splice both ways, vmsplice", splices },
	{ "T10 SO_RCVLOWAT", low_water },
	{ "T10 O_ASYNC", asynchronous },
	{ "T10 io_uring", uring },
	{ "T07 calls in the wrong state", wrong_state },
	{ "T05 events", events },
	{ "T11 dup, fork, exec, SCM_RIGHTS", handed_on },
	{ "T11 threads", threads },
	{ "T13 UDP: options", datagram_options },
	{ "T13 UDP: sizes and flags", datagram_sizes },
	{ "T13 UDP: recvmsg", datagram_messages },
	{ "T13 UDP: calls in all states", datagram_states },
	{ "T13 UDP: refused", datagram_refused },
	{ "T10 UDP: MSG_ZEROCOPY", datagram_zerocopy },
	{ "T13 UDP: sendmmsg, recvmmsg, writev", datagrams_at_once },
};

/* ---- both, and the comparison ---- */

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	static __thread char buffer[65536];
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	shutdown(fd, SHUT_WR);
	close(fd);
	return NULL;
}

static void *echo_datagrams(void *arg)
{
	static __thread char buffer[65536];
	int fd = (int)(intptr_t)arg;

	for (;;) {
		struct sockaddr_storage name;
		socklen_t size = sizeof(name);
		ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&name, &size);

		if (n >= 0)
			sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&name, size);
	}
	return NULL;
}

static void *serve(void *arg)
{
	int listener = *(int *)arg, fd;
	pthread_t thread;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		if (!pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd))
			pthread_detach(thread);
	return NULL;
}

static bool parse(const char *text, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(ret, &v4, *ret_size = sizeof(v4));
		return true;
	}
	memcpy(ret, &v6, *ret_size = sizeof(v6));
	return inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)ret)->sin6_addr) == 1;
}

/* A server for TCP and UDP on the loopback of that family; its port. */
static uint16_t start_server(const char *address)
{
	static int listeners[3];
	static size_t n;
	int *listener = &listeners[n++], fd;
	pthread_t thread;

	if (!parse(address, 0, &target, &target_size))
		return 0;
	*listener = new_socket(0);
	if (bind(*listener, (struct sockaddr *)&target, target_size) < 0 || listen(*listener, 64) < 0 ||
	    getsockname(*listener, (struct sockaddr *)&target, &target_size) < 0)
		return 0;
	fd = new_datagram();
	if (bind(fd, (struct sockaddr *)&target, target_size) < 0)
		return 0;
	pthread_create(&thread, NULL, echo_datagrams, (void *)(intptr_t)fd);
	pthread_create(&thread, NULL, serve, listener);
	return ntohs(((struct sockaddr_in *)&target)->sin_port); /* in the same place for IPv6 */
}

static char *run(void (*run_case)(void), const char *address, uint16_t port)
{
	char *text = NULL;
	size_t size;

	parse(address, port, &target, &target_size);
	account = open_memstream(&text, &size);
	alarm(60);
	run_case();
	alarm(0);
	fclose(account);
	return text;
}

/* The words that differ, since an account may be long. */
static void show_difference(char *a, char *b)
{
	char *save_a, *save_b, *x = strtok_r(a, " ", &save_a), *y = strtok_r(b, " ", &save_b);

	for (; x || y; x = x ? strtok_r(NULL, " ", &save_a) : NULL, y = y ? strtok_r(NULL, " ", &save_b) : NULL)
		if (!x || !y || strcmp(x, y))
			printf("#   loopback: %s   outside: %s\n", x ? x : "-", y ? y : "-");
}

static int compare(const char *loopback, const char *address)
{
	uint16_t port = start_server(loopback);
	int bad = 0;

	for (size_t i = 0; i < COUNT(cases); i++) {
		char *a = run(cases[i].run, loopback, port), *b = run(cases[i].run, address, 7);
		bool good = port && !strcmp(a, b);

		printf("%s %s, %s\n", good ? "ok" : "not ok", cases[i].name, address);
		if (getenv("SAME_VERBOSE"))
			printf("#   %s\n", a);
		if (!good)
			show_difference(a, b);
		fflush(stdout);
		bad |= !good;
		free(a);
		free(b);
	}
	return bad;
}

int main(int argc, char **argv)
{
	char mapped[64];
	int bad;

	if (argc == 3 && !strcmp(argv[1], "--child"))
		return send(atoi(argv[2]), "child", 5, 0) == 5 ? 7 : 8;
	if (argc < 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	bad = compare("127.0.0.1", argv[1]);
	snprintf(mapped, sizeof(mapped), "::ffff:%s", argv[1]);
	bad |= compare("::ffff:127.0.0.1", mapped);
	if (argc > 2)
		bad |= compare("::1", argv[2]);
	return bad;
}
