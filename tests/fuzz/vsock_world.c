/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock_world.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "ring_driver.h"
#include "vsock/agent.h"
#include "vsock/dns.h"
#include "vsock/publish.h"

#define RX_BUFFERS 48
#define RX_SIZE 4096
#define CLIENTS 8
#define UDP_CLIENTS 4

static struct {
	struct loop *loop;
	struct device device;
	struct ring_driver driver;
	uint8_t *rx[RX_BUFFERS], *tx;
	int tcp, udp, published, agent, resolver, client[CLIENTS], udp_client[UDP_CLIENTS];
	struct sockaddr_storage agent_name;
	socklen_t agent_name_size;
	bool made, holding;
} w;

static void on_event(struct device *d, const char *event)
{
}

static bool isolate(void)
{
	struct ifreq lo = { .ifr_name = "lo" };
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	lo.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		return false;
	close(fd);
	return true;
}

static int server(int type, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	fuzz_check(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	if (type == SOCK_STREAM)
		fuzz_check(listen(fd, 16) == 0);
	return fd;
}

static void post(uint8_t *buffer)
{
	(void)driver_ring_put(&w.driver.ring[DEVICE_QUEUE_RX], NULL, 0, buffer, RX_SIZE, buffer);
}

static void give_resolver(void)
{
	int pair[2];

	close_fd(w.resolver);
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	fuzz_check(dns_set_resolver(&w.device, pair[0]) == 0);
	w.resolver = pair[1];
}

static void make_services(void)
{
	struct publish_port port = { .address = "127.0.0.1", .port = WORLD_PUBLISHED_PORT, .guest_port = 80 };
	struct sockaddr_un_short {
		sa_family_t family;
	} unnamed = { AF_UNIX };

	w.tcp = server(SOCK_STREAM, WORLD_TCP_PORT);
	w.udp = server(SOCK_DGRAM, WORLD_UDP_PORT);
	w.published = server(SOCK_STREAM, WORLD_PUBLISHED_PORT);
	fuzz_check(publish_add(&w.device, &port, dup(w.published)) == 0);
	port.is_udp = true;
	fuzz_check(publish_add(&w.device, &port, server(SOCK_DGRAM, WORLD_PUBLISHED_PORT)) == 0);
	for (unsigned i = 0; i < UDP_CLIENTS; i++)
		w.udp_client[i] = server(SOCK_DGRAM, (uint16_t)(WORLD_CLIENT_PORT + i));
	w.agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	w.agent_name_size = sizeof(w.agent_name);
	fuzz_check(bind(w.agent, (struct sockaddr *)(void *)&unnamed, sizeof(unnamed)) == 0 && listen(w.agent, 16) == 0);
	fuzz_check(getsockname(w.agent, (struct sockaddr *)&w.agent_name, &w.agent_name_size) == 0);
	fuzz_check(agent_listen(&w.device, dup(w.agent)) == 0);
	w.resolver = -1;
}

static void turn(void *context)
{
	fuzz_check(loop_turn(w.loop, 0) == 0);
}

static void make(void)
{
	const struct device_limits limits = {
		.connections = 64,
		.datagrams = 24,
		.listeners = 8,
		.flows = 3,
		.queued_bytes = 4 << 20,
		.datagram_idle_ms = 60000,
		.flow_idle_ms = 60000,
	};
	struct ring_driver_spec spec = {
		.features = 1ull << VIRTIO_VSOCK_F_SEQPACKET | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.n_queues = DEVICE_QUEUES,
		.queue_size = 64,
		.ram_size = 1 << 20,
		.turn = turn,
	};
	int pair[2];

	w.device = (struct device){ .limits = limits, .guest_cid = 3, .has_tsi = true, .has_host_gateway = true, .on_event = on_event };
	fuzz_check(loop_new(&w.loop) == 0);
	loop_use_fake_clock(w.loop, 1000);
	fuzz_check(device_init(&w.device, w.loop) == 0);
	make_services();
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	fuzz_check(device_attach(&w.device, pair[0]) == 0);
	fuzz_check(ring_driver_connect(&w.driver, pair[1], &spec) == 0);
	w.tx = driver_ram_alloc(&w.driver.ram, PACKET_HEADER + 65536, 64);
	for (unsigned i = 0; i < RX_BUFFERS; i++) {
		w.rx[i] = driver_ram_alloc(&w.driver.ram, RX_SIZE, 64);
		post(w.rx[i]);
	}
	driver_ring_kick(&w.driver.ring[DEVICE_QUEUE_RX]);
	for (unsigned i = 0; i < CLIENTS; i++)
		w.client[i] = -1;
}

struct device *world(void)
{
	static bool tried, possible;

	if (!tried)
		possible = isolate();
	tried = true;
	if (possible && !w.made)
		make();
	w.made = possible;
	return possible ? &w.device : NULL;
}

void world_forget(void)
{
	int fd;

	w.holding = false;
	for (unsigned i = 0; i < CLIENTS; i++)
		w.client[i] = close_fd(w.client[i]);
	w.resolver = close_fd(w.resolver);
	for (int i = 0; i < 4; i++)
		world_turn(false); /* takes who still stands at the door */
	for (uint32_t i = 0; i < w.device.table.high; i++)
		connection_drop(&w.device.table.all[i], true);
	device_reset(&w.device);
	while ((fd = accept(w.tcp, NULL, NULL)) >= 0)
		close(fd);
	loop_fake_advance(w.loop, 120000);
	for (int i = 0; i < 4; i++)
		world_turn(false);
	fuzz_check(w.device.table.n_used == 0 && w.device.pool.n_used == 0 && w.device.n_datagrams == 0);
}

void world_send(const struct packet *p, const void *data, uint32_t size, unsigned cuts)
{
	struct driver_ring *tx = &w.driver.ring[DEVICE_QUEUE_TX];
	struct driver_buffer parts[8];
	unsigned n = 0;
	uint32_t at = 0, whole = PACKET_HEADER + size, step = whole / (cuts % 7 + 1) + 1;

	packet_encode(p, w.tx);
	if (size)
		memcpy(w.tx + PACKET_HEADER, data, size);
	for (; at < whole; at += step)
		parts[n++] = (struct driver_buffer){ w.tx + at, MIN(step, whole - at) };
	fuzz_check(driver_ring_add(tx, parts, n, 0, &w) == 0);
	driver_ring_kick(tx);
	for (int i = 0; i < 10 && !driver_ring_take(tx, NULL); i++)
		turn(NULL);
}

void world_packet(uint16_t type, uint16_t op, uint32_t from, uint32_t to, uint32_t flags, const void *data, uint32_t size)
{
	struct connection *c = connection_find(&w.device, from, to);
	struct packet p = {
		.src_cid = 3,
		.dst_cid = PACKET_HOST_CID,
		.src_port = from,
		.dst_port = to,
		.len = size,
		.type = type,
		.op = op,
		.flags = flags,
		.buf_alloc = 65536,
		.fwd_cnt = c ? c->sent : 0,
	};

	world_send(&p, data, size, 0);
}

void world_open_control(void)
{
	world_packet(VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_REQUEST, WORLD_CONTROL, TSI_PORT_CONTROL, 0, NULL, 0);
	world_turn(true);
}

void world_turn(bool accepts)
{
	struct driver_ring *rx = &w.driver.ring[DEVICE_QUEUE_RX];
	uint8_t *buffer;
	uint32_t written;

	turn(NULL);
	while (!w.holding && (buffer = driver_ring_take(rx, &written))) {
		struct packet p;

		fuzz_check(written >= PACKET_HEADER && written <= RX_SIZE);
		packet_decode(&p, buffer);
		fuzz_check(p.len == written - PACKET_HEADER && p.src_cid == PACKET_HOST_CID && p.dst_cid == 3);
		post(buffer);
		driver_ring_kick(rx);
		if (accepts && p.op == VIRTIO_VSOCK_OP_REQUEST)
			world_packet(p.type, VIRTIO_VSOCK_OP_RESPONSE, p.dst_port, p.src_port, 0, NULL, 0);
	}
}

static int inet_client(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)!connect(fd, (struct sockaddr *)&a, sizeof(a));
	return fd;
}

static int agent_client(struct fuzz_input *in)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char line[32] = "CONNECT 4088\n";

	(void)!connect(fd, (struct sockaddr *)&w.agent_name, w.agent_name_size);
	if (fuzz_u8(in) & 1)
		fuzz_take(in, line, 13);
	(void)!send(fd, line, 13, MSG_NOSIGNAL);
	return fd;
}

static void echo_udp(void)
{
	uint8_t data[2048];
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	ssize_t n = recvfrom(w.udp, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &size);

	for (int i = 0; n >= 0 && i < 3; i++)
		(void)!sendto(w.udp, data, (size_t)n, 0, (struct sockaddr *)&from, size);
}

/* A client of the published UDP port: what it has got is gone, and it says something. */
static void udp_client(int fd, uint16_t size)
{
	static uint8_t data[65536];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(WORLD_PUBLISHED_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	while (recv(fd, data, sizeof(data), MSG_DONTWAIT) >= 0)
		;
	(void)!sendto(fd, data, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

static void answer_dns(struct fuzz_input *in)
{
	uint8_t message[8192];
	ssize_t n;

	if (w.resolver < 0) {
		give_resolver();
		return;
	}
	n = recv(w.resolver, message, sizeof(message), MSG_DONTWAIT);
	if (n > 0)
		(void)!send(w.resolver, message, (size_t)n - fuzz_u8(in) % (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void stream_act(int *fd, uint8_t what, struct fuzz_input *in)
{
	static uint8_t data[70000];
	struct linger hard = { .l_onoff = 1 };

	switch (what % 6) {
	case 0:
		(void)!send(*fd, data, fuzz_u16(in), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 1:
		(void)!recv(*fd, data, sizeof(data), MSG_DONTWAIT);
		break;
	case 2:
		(void)!shutdown(*fd, SHUT_WR);
		break;
	case 3:
		(void)!setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		/* fall through */
	case 4:
		*fd = close_fd(*fd);
		break;
	default:
		(void)!send(*fd, "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_OOB);
		break;
	}
}

void world_act(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	int *fd = &w.client[what >> 4 & (CLIENTS - 1)];

	switch (what & 15) {
	case 0:
		close_fd(*fd);
		*fd = accept4(w.tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		break;
	case 1:
		close_fd(*fd);
		*fd = inet_client(WORLD_PUBLISHED_PORT);
		break;
	case 2:
		close_fd(*fd);
		*fd = agent_client(in);
		break;
	case 3:
		echo_udp();
		break;
	case 4:
		answer_dns(in);
		break;
	case 5:
		w.resolver = close_fd(w.resolver);
		break;
	case 6:
		loop_fake_advance(w.loop, fuzz_u16(in));
		break;
	case 7:
		w.holding = !w.holding;
		break;
	case 8:
		udp_client(w.udp_client[what >> 4 & (UDP_CLIENTS - 1)], fuzz_u16(in));
		break;
	default:
		if (*fd >= 0)
			stream_act(fd, what & 7, in);
		break;
	}
}

void world_check(void)
{
	const struct device *d = &w.device;
	uint32_t used = 0;

	for (uint32_t i = 0; i < d->table.high; i++) {
		const struct connection *c = &d->table.all[i];

		used += c->state != CONNECTION_FREE;
		fuzz_check(c->in.bytes <= CONNECTION_ROOM_MAX);
		fuzz_check(c->state != CONNECTION_FREE || (c->io.fd < 0 && !c->in.bytes && !c->out.bytes && !c->flags));
	}
	fuzz_check(used == d->table.n_used && used <= d->table.size);
	fuzz_check(d->tsi.n_listeners <= d->limits.listeners);
	fuzz_check(d->n_datagrams <= d->limits.datagrams && d->udp.flows.n <= d->limits.flows);
	fuzz_check(d->pool.n_used <= d->pool.n_chunks);
}
