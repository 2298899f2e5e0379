/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock_guest.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/own.h"
#include "vsock/policy.h"

static void on_event(struct device *d, const char *event)
{
	struct guest *g = container_of(d, struct guest, device);

	snprintf(g->event, sizeof(g->event), "%s", event);
}

static void turn(void *context)
{
	struct guest *g = context;

	assert_int_equal(loop_turn(g->loop, 1), 0);
}

void guest_turn(struct guest *g)
{
	assert_int_equal(loop_turn(g->loop, 0), 0);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void post(struct guest *g, uint8_t *buffer)
{
	struct driver_ring *rx = &g->driver.ring[DEVICE_QUEUE_RX];
	struct driver_buffer parts[2] = { { buffer, PACKET_HEADER }, { buffer + PACKET_HEADER, GUEST_RX_SIZE - PACKET_HEADER } };

	assert_int_equal(driver_ring_add(rx, parts, 0, 2, buffer), 0);
}

void guest_start(struct guest *g, bool has_tsi, const struct device_limits *limits)
{
	struct device_limits fallback = DEVICE_LIMITS_DEFAULT;
	struct ring_driver_spec spec = {
		.features = 1ull << VIRTIO_VSOCK_F_SEQPACKET | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.n_queues = DEVICE_QUEUES,
		.turn = turn,
		.context = g,
	};
	int pair[2];

	memset(g, 0, sizeof(*g));
	g->room = GUEST_ROOM;
	g->device.limits = limits ? *limits : fallback;
	g->device.guest_cid = GUEST_CID;
	g->device.has_tsi = has_tsi;
	g->device.has_host_gateway = true;
	g->device.on_event = on_event;
	assert_int_equal(loop_new(&g->loop), 0);
	assert_int_equal(device_init(&g->device, g->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(device_attach(&g->device, pair[0]), 0);
	assert_int_equal(ring_driver_connect(&g->driver, pair[1], &spec), 0);
	g->tx_buffer = driver_ram_alloc(&g->driver.ram, PACKET_HEADER + 65536, 64);
	for (unsigned i = 0; i < GUEST_RX_BUFFERS; i++) {
		g->rx_buffer[i] = driver_ram_alloc(&g->driver.ram, GUEST_RX_SIZE, 64);
		post(g, g->rx_buffer[i]);
	}
	driver_ring_kick(&g->driver.ring[DEVICE_QUEUE_RX]);
	assert_string_equal(g->event, "device-started");
}

void guest_stop(struct guest *g)
{
	device_deinit(&g->device);
	ring_driver_disconnect(&g->driver);
	loop_free(g->loop);
}

void guest_send_raw(struct guest *g, const struct packet *p, const void *data, uint32_t size)
{
	struct driver_ring *tx = &g->driver.ring[DEVICE_QUEUE_TX];
	struct driver_buffer parts[2] = { { g->tx_buffer, PACKET_HEADER }, { g->tx_buffer + PACKET_HEADER, size } };

	packet_encode(p, g->tx_buffer);
	if (size)
		memcpy(g->tx_buffer + PACKET_HEADER, data, size);
	assert_int_equal(driver_ring_add(tx, parts, size ? 2 : 1, 0, g), 0);
	driver_ring_kick(tx);
	assert_non_null(driver_ring_wait(tx, NULL, WAIT_MS));
}

void guest_send(struct guest *g, uint16_t type, uint16_t op, uint32_t from, uint32_t to, uint32_t flags, const void *data,
		uint32_t size)
{
	struct packet p = {
		.src_cid = GUEST_CID,
		.dst_cid = PACKET_HOST_CID,
		.src_port = from,
		.dst_port = to,
		.len = size,
		.type = type,
		.op = op,
		.flags = flags,
		.buf_alloc = g->room,
		.fwd_cnt = to == TSI_PORT_CONTROL ? g->control_forwarded : g->forwarded,
	};

	guest_send_raw(g, &p, data, size);
}

void guest_stream(struct guest *g, uint16_t op, uint32_t from, uint32_t to, const void *data, uint32_t size)
{
	guest_send(g, VIRTIO_VSOCK_TYPE_STREAM, op, from, to, op == VIRTIO_VSOCK_OP_SHUTDOWN ? PACKET_SHUTDOWN_BOTH : 0, data, size);
}

bool guest_receive(struct guest *g, bool wait)
{
	struct driver_ring *rx = &g->driver.ring[DEVICE_QUEUE_RX];
	uint32_t written = 0;
	uint8_t *buffer = wait ? driver_ring_wait(rx, &written, WAIT_MS) : driver_ring_take(rx, &written);

	if (!buffer)
		return false;
	assert_true(written >= PACKET_HEADER);
	packet_decode(&g->last, buffer);
	assert_int_equal(g->last.len, written - PACKET_HEADER);
	assert_int_equal(g->last.src_cid, PACKET_HOST_CID);
	assert_int_equal(g->last.dst_cid, GUEST_CID);
	g->n_data = g->last.len;
	memcpy(g->data, buffer + PACKET_HEADER, g->n_data);
	if (g->last.src_port == TSI_PORT_CONTROL)
		g->control_forwarded += g->n_data;
	post(g, buffer);
	driver_ring_kick(rx);
	return true;
}

void guest_expect(struct guest *g, uint16_t op, uint32_t from, uint32_t to)
{
	assert_true(guest_receive(g, true));
	assert_int_equal(g->last.op, op);
	assert_int_equal(g->last.src_port, from);
	assert_int_equal(g->last.dst_port, to);
}

void guest_expect_silence(struct guest *g)
{
	for (int i = 0; i < 5; i++)
		guest_turn(g);
	assert_false(guest_receive(g, false));
}

void guest_open_tsi(struct guest *g)
{
	struct tsi_message hello = { .type = htole16(TSI_HELLO), .port = htole32(TSI_VERSION) };

	guest_stream(g, VIRTIO_VSOCK_OP_REQUEST, GUEST_CONTROL, TSI_PORT_CONTROL, NULL, 0);
	guest_expect(g, VIRTIO_VSOCK_OP_RESPONSE, TSI_PORT_CONTROL, GUEST_CONTROL);
	guest_message(g, &hello);
	guest_expect_message(g, TSI_HELLO, TSI_VERSION);
	assert_string_equal(g->event, "tsi-started");
}

void guest_message(struct guest *g, const struct tsi_message *m)
{
	guest_stream(g, VIRTIO_VSOCK_OP_RW, GUEST_CONTROL, TSI_PORT_CONTROL, m, sizeof(*m));
}

struct tsi_message guest_expect_message(struct guest *g, enum tsi_message_type type, uint32_t port)
{
	struct tsi_message m;

	guest_expect(g, VIRTIO_VSOCK_OP_RW, TSI_PORT_CONTROL, GUEST_CONTROL);
	assert_int_equal(g->n_data, sizeof(m));
	memcpy(&m, g->data, sizeof(m));
	assert_int_equal(le16toh(m.type), type);
	assert_int_equal(le32toh(m.port), port);
	return m;
}

void guest_connect(struct guest *g, uint32_t port, uint16_t tcp_port)
{
	struct tsi_message m = {
		.type = htole16(TSI_CONNECT),
		.port = htole32(port),
		.remote = address_v4(TSI_ADDRESS_HOST, tcp_port),
	};

	guest_message(g, &m);
	guest_stream(g, VIRTIO_VSOCK_OP_REQUEST, port, TSI_PORT_STREAM, NULL, 0);
	guest_expect_message(g, TSI_CONNECTED, port);
	guest_expect(g, VIRTIO_VSOCK_OP_RESPONSE, TSI_PORT_STREAM, port);
}

void guest_listen(struct guest *g, uint32_t port, uint16_t tcp_port)
{
	struct tsi_message m = { .type = htole16(TSI_LISTEN), .port = htole32(port), .local = address_v4(0, tcp_port) };

	guest_message(g, &m);
}

void guest_accept(struct guest *g, uint32_t to, uint32_t from)
{
	guest_stream(g, VIRTIO_VSOCK_OP_RESPONSE, from, to, NULL, 0);
}

int host_listen(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

int host_accept(struct guest *g, int listener)
{
	for (int64_t end = now_ms() + WAIT_MS; now_ms() < end; turn(g)) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			return fd;
	}
	assert_true(false);
	return -1;
}

int host_connect(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* read() that turns the loop until it gives something; -errno. */
static ssize_t read_turning(struct guest *g, int fd, void *data, size_t size)
{
	for (int64_t end = now_ms() + WAIT_MS; now_ms() < end; turn(g)) {
		ssize_t n = recv(fd, data, size, MSG_DONTWAIT);

		if (n >= 0 || errno != EAGAIN)
			return n < 0 ? -errno : n;
	}
	return -ETIMEDOUT;
}

void host_read(struct guest *g, int fd, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read_turning(g, fd, (uint8_t *)data + done, size - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
}

void host_expect_end(struct guest *g, int fd)
{
	char byte;

	assert_int_equal(read_turning(g, fd, &byte, 1), 0);
}

void host_expect_error(struct guest *g, int fd, int error)
{
	char byte;

	assert_int_equal(read_turning(g, fd, &byte, 1), -error);
}
