/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device at native speed: a ring driver stands in for the guest, loopback TCP is on the other side. Beside each
 * figure, the same through a plain TCP relay in one process: read() 64 KiB, write().
 *
 *	usage: bench_vsock [SECONDS]
 *
 * Three processes: this one drives the rings (or, for the relay, a TCP socket), one is device or relay, one is the server.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/own.h"
#include "ring_driver.h"
#include "vsock/device.h"
#include "vsock/policy.h"

#define CONTROL 0x10000u
#define RX_BUFFERS 100u
#define RX_SIZE (4096u + PACKET_HEADER)
#define TX_BUFFERS 32u
#define BLOCK 65536u
#define ROOM (1u << 20)
#define OPEN_CONNECTIONS 10000u

enum service { SERVICE_SINK, SERVICE_SOURCE, SERVICE_ECHO };

static double seconds = 1;
static char block[BLOCK];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int listener(uint16_t *ret_port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, 1024) < 0 || getsockname(fd, (struct sockaddr *)&a, &size) < 0)
		err(1, "listen");
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err(1, "connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void serve_one(int fd, enum service service)
{
	ssize_t n;
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (service == SERVICE_SOURCE) {
		while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
			;
		return;
	}
	while ((n = read(fd, block, sizeof(block))) > 0) {
		if (service == SERVICE_ECHO && send(fd, block, (size_t)n, MSG_NOSIGNAL) < 0)
			return;
	}
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static pid_t start_server(enum service service, uint16_t *ret_port)
{
	int fd = listener(ret_port);
	pid_t pid = child();

	while (pid == 0) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			_exit(1);
		serve_one(client, service);
		close(client);
	}
	close(fd);
	return pid;
}

/* ---- the relay ---- */

static bool relay_some(int from, int to)
{
	ssize_t n = read(from, block, sizeof(block));

	return n > 0 && send(to, block, (size_t)n, MSG_NOSIGNAL) == n;
}

static pid_t start_relay(uint16_t to, uint16_t *ret_port)
{
	int fd = listener(ret_port);
	pid_t pid = child();

	while (pid == 0) {
		struct pollfd p[2] = { { .fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC), .events = POLLIN }, { .events = POLLIN } };
		bool alive = true;
		int one = 1;

		(void)setsockopt(p[0].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		p[1].fd = dial(to);
		while (alive && poll(p, 2, -1) > 0) {
			for (int i = 0; i < 2 && alive; i++) {
				if (p[i].revents)
					alive = relay_some(p[i].fd, p[!i].fd);
			}
		}
		close(p[0].fd);
		close(p[1].fd);
	}
	close(fd);
	return pid;
}

/* ---- the device ---- */

static void on_event(struct device *d, const char *event)
{
}

static pid_t start_device(int *ret_fd)
{
	static struct device device;
	struct device_limits limits = DEVICE_LIMITS_DEFAULT;
	struct loop *loop;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	pid = child();
	if (pid == 0) {
		close(pair[1]);
		device = (struct device){ .limits = limits, .guest_cid = 3, .has_tsi = true, .has_host_gateway = true, .on_event = on_event };
		if (loop_new(&loop) < 0 || device_init(&device, loop) < 0 || device_attach(&device, pair[0]) < 0)
			_exit(1);
		_exit(loop_run(loop) < 0);
	}
	close(pair[0]);
	*ret_fd = pair[1];
	return pid;
}

/* A guest: one connection of interest, its credit both ways. */
static struct {
	struct ring_driver driver;
	uint8_t *tx[TX_BUFFERS], *free[TX_BUFFERS];
	unsigned n_free;
	uint32_t port, sent, peer_forwarded, peer_room, received, told, control_received;
	bool answered, ended;
	uint64_t payload;
} g;

static void post(uint8_t *buffer)
{
	struct driver_buffer parts[2] = { { buffer, PACKET_HEADER }, { buffer + PACKET_HEADER, RX_SIZE - PACKET_HEADER } };

	(void)driver_ring_add(&g.driver.ring[DEVICE_QUEUE_RX], parts, 0, 2, buffer);
}

static void guest_start(int fd)
{
	struct ring_driver_spec spec = {
		.features = 1ull << VIRTIO_VSOCK_F_SEQPACKET | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.n_queues = DEVICE_QUEUES,
	};

	if (ring_driver_connect(&g.driver, fd, &spec) < 0)
		errx(1, "no device");
	for (unsigned i = 0; i < RX_BUFFERS; i++)
		post(driver_ram_alloc(&g.driver.ram, RX_SIZE, 64));
	for (unsigned i = 0; i < TX_BUFFERS; i++)
		g.free[g.n_free++] = driver_ram_alloc(&g.driver.ram, PACKET_HEADER + BLOCK, 64);
	driver_ring_kick(&g.driver.ring[DEVICE_QUEUE_RX]);
}

/* Take what the device sent. True: there was something. */
static bool guest_take(void)
{
	struct driver_ring *rx = &g.driver.ring[DEVICE_QUEUE_RX], *tx = &g.driver.ring[DEVICE_QUEUE_TX];
	uint8_t *buffer;
	uint32_t written;
	bool some = false;

	while ((buffer = driver_ring_take(tx, NULL)))
		g.free[g.n_free++] = buffer;
	while ((buffer = driver_ring_take(rx, &written))) {
		struct packet p;

		some = true;
		packet_decode(&p, buffer);
		if (p.src_port == TSI_PORT_CONTROL) {
			g.control_received += p.len;
			g.answered |= p.op == VIRTIO_VSOCK_OP_RESPONSE;
		} else if (p.dst_port == g.port) {
			g.peer_forwarded = p.fwd_cnt;
			g.peer_room = p.buf_alloc;
			g.received += p.len;
			g.payload += p.len;
			g.answered |= p.op == VIRTIO_VSOCK_OP_RESPONSE;
			g.ended |= p.op == VIRTIO_VSOCK_OP_RST || p.op == VIRTIO_VSOCK_OP_SHUTDOWN;
		}
		post(buffer);
	}
	if (some)
		driver_ring_kick(rx);
	return some;
}

/* Until the device did something: sent, or gave transmit buffers back. */
static void guest_wait(bool for_tx)
{
	struct pollfd p[2] = { { .fd = g.driver.ring[DEVICE_QUEUE_RX].call_fd, .events = POLLIN },
			       { .fd = g.driver.ring[DEVICE_QUEUE_TX].call_fd, .events = POLLIN } };
	uint64_t count;

	if (driver_ring_arm(&g.driver.ring[DEVICE_QUEUE_RX]) || (for_tx && driver_ring_arm(&g.driver.ring[DEVICE_QUEUE_TX]))) {
		guest_take();
		return;
	}
	if (poll(p, for_tx ? 2 : 1, 1000) <= 0)
		errx(1, "the device is silent");
	for (int i = 0; i < 2; i++) {
		if (p[i].revents)
			(void)!read(p[i].fd, &count, sizeof(count));
	}
	guest_take();
}

static void guest_put(uint16_t op, uint32_t from, uint32_t to, uint32_t size, const void *data)
{
	struct packet p = { .src_cid = 3, .dst_cid = 2, .src_port = from, .dst_port = to, .len = size, .type = VIRTIO_VSOCK_TYPE_STREAM,
			    .op = op, .flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? 3 : 0, .buf_alloc = ROOM };
	uint8_t *buffer;

	while (!g.n_free)
		guest_wait(true);
	buffer = g.free[--g.n_free];
	p.fwd_cnt = to == TSI_PORT_CONTROL ? g.control_received : g.received;
	if (to != TSI_PORT_CONTROL)
		g.told = g.received;
	packet_encode(&p, buffer);
	if (data)
		memcpy(buffer + PACKET_HEADER, data, size);
	(void)driver_ring_put(&g.driver.ring[DEVICE_QUEUE_TX], buffer, PACKET_HEADER + size, NULL, 0, buffer);
}

static void guest_kick(void)
{
	driver_ring_kick(&g.driver.ring[DEVICE_QUEUE_TX]);
}

static void guest_open_control(void)
{
	guest_put(VIRTIO_VSOCK_OP_REQUEST, CONTROL, TSI_PORT_CONTROL, 0, NULL);
	guest_kick();
	for (g.answered = false; !g.answered;)
		guest_wait(false);
}

static void guest_connect(uint16_t to)
{
	struct tsi_message m = { .type = htole16(TSI_CONNECT), .port = htole32(++g.port), .remote = address_v4(TSI_ADDRESS_HOST, to) };

	g.sent = g.received = g.told = g.peer_forwarded = 0;
	g.answered = g.ended = false;
	guest_put(VIRTIO_VSOCK_OP_RW, CONTROL, TSI_PORT_CONTROL, sizeof(m), &m);
	guest_put(VIRTIO_VSOCK_OP_REQUEST, g.port, TSI_PORT_STREAM, 0, NULL);
	guest_kick();
	while (!g.answered && !g.ended)
		guest_wait(false);
	if (g.ended)
		errx(1, "refused");
}

static void guest_close(void)
{
	guest_put(VIRTIO_VSOCK_OP_SHUTDOWN, g.port, TSI_PORT_STREAM, 0, NULL);
	guest_kick();
	while (!g.ended)
		guest_wait(false);
}

/* ---- what is measured: each gives a rate ---- */

static double device_out(uint16_t to, uint32_t size)
{
	uint64_t bytes = 0;
	double start;

	guest_connect(to);
	for (start = now(); now() - start < seconds;) {
		for (unsigned i = 0; i < 16 && g.sent + size - g.peer_forwarded <= g.peer_room && g.n_free; i++) {
			guest_put(VIRTIO_VSOCK_OP_RW, g.port, TSI_PORT_STREAM, size, NULL);
			g.sent += size;
			bytes += size;
		}
		guest_kick();
		if (!guest_take() && (g.sent + size - g.peer_forwarded > g.peer_room || !g.n_free))
			guest_wait(!g.n_free);
	}
	start = now() - start;
	guest_close();
	return (double)bytes / start;
}

static double device_in(uint16_t to, uint32_t size)
{
	double start = now();

	guest_connect(to);
	for (g.payload = 0; now() - start < seconds;) {
		guest_wait(false);
		if (g.received - g.told >= ROOM / 4) {
			guest_put(VIRTIO_VSOCK_OP_CREDIT_UPDATE, g.port, TSI_PORT_STREAM, 0, NULL);
			guest_kick();
		}
	}
	start = now() - start;
	guest_close();
	return (double)g.payload / start;
}

static double device_turns(uint16_t to, uint32_t size)
{
	double start = now();
	uint64_t n = 0;

	guest_connect(to);
	for (; now() - start < seconds; n++) {
		uint32_t until = g.received + size;

		guest_put(VIRTIO_VSOCK_OP_RW, g.port, TSI_PORT_STREAM, size, NULL);
		guest_kick();
		while (g.received != until)
			guest_wait(false);
	}
	start = now() - start;
	guest_close();
	return (double)n / start;
}

static double device_connects(uint16_t to, uint32_t size)
{
	double start = now();
	uint64_t n = 0;

	for (; now() - start < seconds; n++) {
		guest_connect(to);
		guest_put(VIRTIO_VSOCK_OP_RW, g.port, TSI_PORT_STREAM, 1, NULL);
		guest_kick();
		while (!g.received)
			guest_wait(false);
		guest_close();
	}
	return (double)n / (now() - start);
}

static double relay_out(uint16_t to, uint32_t size)
{
	int fd = dial(to);
	double start = now();
	uint64_t bytes = 0;

	while (now() - start < seconds) {
		for (int i = 0; i < 16; i++)
			bytes += (uint64_t)MAX(write(fd, block, size), 0);
	}
	start = now() - start;
	close(fd);
	return (double)bytes / start;
}

static double relay_in(uint16_t to, uint32_t size)
{
	int fd = dial(to);
	double start = now();
	uint64_t bytes = 0;

	while (now() - start < seconds)
		bytes += (uint64_t)MAX(read(fd, block, sizeof(block)), 0);
	start = now() - start;
	close(fd);
	return (double)bytes / start;
}

static double relay_turns(uint16_t to, uint32_t size)
{
	int fd = dial(to);
	double start = now();
	uint64_t n = 0;

	for (; now() - start < seconds; n++) {
		if (write(fd, block, size) < 0 || read(fd, block, size) <= 0)
			err(1, "relay");
	}
	start = now() - start;
	close(fd);
	return (double)n / start;
}

static double relay_connects(uint16_t to, uint32_t size)
{
	double start = now();
	uint64_t n = 0;

	for (; now() - start < seconds; n++) {
		int fd = dial(to);

		if (write(fd, block, 1) < 0 || read(fd, block, 1) <= 0)
			err(1, "relay");
		close(fd);
	}
	return (double)n / (now() - start);
}

static const struct {
	const char *what, *unit;
	double scale;
	enum service service;
	uint32_t size;
	double (*device)(uint16_t to, uint32_t size);
	double (*relay)(uint16_t to, uint32_t size);
} figures[] = {
	{ "out, 64 KiB writes", "Gbit/s", 8e-9, SERVICE_SINK, 65536, device_out, relay_out },
	{ "out, 4 KiB writes", "Gbit/s", 8e-9, SERVICE_SINK, 4096, device_out, relay_out },
	{ "out, 64 B writes", "Gbit/s", 8e-9, SERVICE_SINK, 64, device_out, relay_out },
	{ "in", "Gbit/s", 8e-9, SERVICE_SOURCE, 0, device_in, relay_in },
	{ "64 B there and back", "/s", 1, SERVICE_ECHO, 64, device_turns, relay_turns },
	{ "connect, 1 B, close", "/s", 1, SERVICE_ECHO, 1, device_connects, relay_connects },
};

static double cpu_seconds(pid_t pid)
{
	char path[64];
	unsigned long user = 0, system = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		warn("%s", path);
	if (f)
		fclose(f);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* KiB that are the process's own: neither the guest's memory nor the program's text. */
static long own_memory(pid_t pid)
{
	char path[64], line[128];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Pss_Anon: %ld", &kib) != 1)
		;
	if (!kib)
		warnx("%s says nothing", path);
	if (f)
		fclose(f);
	return kib;
}

/* Streams that have carried a byte each way and stay open. Their far ends are in this process. */
static void memory_per_connection(void)
{
	struct rlimit files;
	uint16_t port;
	int fd, far = listener(&port);
	unsigned n = 0;
	long before;
	pid_t device;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	device = start_device(&fd);
	memset(&g, 0, sizeof(g));
	g.port = CONTROL;
	guest_start(fd);
	guest_open_control();
	before = own_memory(device);
	for (; n < OPEN_CONNECTIONS && n + 100 < files.rlim_cur; n++) {
		char byte;
		int end;

		guest_connect(port);
		end = accept4(far, NULL, NULL, SOCK_CLOEXEC);
		guest_put(VIRTIO_VSOCK_OP_RW, g.port, TSI_PORT_STREAM, 1, "x");
		guest_kick();
		if (end < 0 || read(end, &byte, 1) != 1 || write(end, &byte, 1) != 1)
			err(1, "connection %u", n);
		while (!g.received)
			guest_wait(false);
	}
	printf("%-22s %10ld %10s          of the device's own, with %u open; limit 2048\n", "B per open connection",
	       (own_memory(device) - before) * 1024 / (long)n, "", n);
	end(device);
	ring_driver_disconnect(&g.driver);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atof(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	printf("%-22s %10s %10s  ratio   cpu of device, relay (s)\n", "", "device", "relay");
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		uint16_t server_port, relay_port;
		pid_t server = start_server(figures[i].service, &server_port), relay, device;
		double ours, theirs, cpu, relay_cpu;
		int fd;

		device = start_device(&fd);
		memset(&g, 0, sizeof(g));
		g.port = CONTROL;
		guest_start(fd);
		guest_open_control();
		ours = figures[i].device(server_port, figures[i].size);
		cpu = cpu_seconds(device);
		end(device);
		ring_driver_disconnect(&g.driver);
		relay = start_relay(server_port, &relay_port);
		theirs = figures[i].relay(relay_port, figures[i].size);
		relay_cpu = cpu_seconds(relay);
		end(relay);
		end(server);
		printf("%-22s %10.2f %10.2f %6.2f   %.2f %.2f  %s\n", figures[i].what, ours * figures[i].scale, theirs * figures[i].scale,
		       ours / theirs, cpu, relay_cpu, figures[i].unit);
	}
	memory_per_connection();
	return 0;
}
