/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's module that says anything on the control connection, in pieces of any size, and opens what it announced or
 * not (S01). The input is records: a byte that says what, and operands; messages have type, port and addresses chosen
 * from what the host knows, and other fields as they come.
 */
#include "vsock_world.h"

#include <endian.h>

#include "vsock/policy.h"

static const uint32_t ports[] = { 0x10001, 0x10002, 0x10003, 0x10004, 0, 0xffff, 0x80000000, 0xffffffff };
static const uint32_t ips[] = { TSI_ADDRESS_HOST, TSI_ADDRESS_RESOLVER, TSI_ADDRESS_GUEST, 0x7f000001, 0, 0xffffffff, 0xe0000001, 0x0a000001 };
static const uint16_t inet_ports[] = { WORLD_TCP_PORT, WORLD_UDP_PORT, 53, 80, 0, WORLD_CLIENT_PORT, WORLD_PUBLISHED_PORT, 65535 };

static struct tsi_address address(struct fuzz_input *in)
{
	uint8_t choice = fuzz_u8(in);
	struct tsi_address a = address_v4(ips[choice & 7], inet_ports[choice >> 3 & 7]), v6 = { .family = htole16(TSI_FAMILY_V6) };

	switch (choice >> 6) {
	case 0:
		return a;
	case 1:
		return address_as(&a, &v6);
	case 2:
		fuzz_take(in, v6.bytes, sizeof(v6.bytes));
		v6.port = a.port;
		return v6;
	default:
		fuzz_take(in, &a, sizeof(a));
		return a;
	}
}

static struct tsi_message message(struct fuzz_input *in)
{
	uint8_t type = fuzz_u8(in);
	struct tsi_message m = {
		.type = htole16(type & 0x80 ? fuzz_u16(in) : (type & 15) % (TSI_DATAGRAM_BOUND + 2)),
		.port = htole32(ports[fuzz_u8(in) & 7]),
		.error = htole32(fuzz_u8(in)),
		.value = htole32(fuzz_u8(in)),
	};

	m.local = address(in);
	m.remote = address(in);
	return m;
}

static void say(const void *data, uint32_t size)
{
	world_packet(VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_RW, WORLD_CONTROL, TSI_PORT_CONTROL, 0, data, size);
}

static void say_messages(struct fuzz_input *in, uint8_t how)
{
	struct tsi_message m[8];
	unsigned n = (how >> 4 & 7) + 1;
	uint32_t cut;

	for (unsigned i = 0; i < n; i++)
		m[i] = message(in);
	cut = fuzz_u8(in) % (n * sizeof(*m)) + 1;
	say(m, cut);
	say((uint8_t *)m + cut, (uint32_t)(n * sizeof(*m) - cut));
}

static void open_one(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	bool datagram = what & 8;

	world_packet(datagram ? 2 : 1, VIRTIO_VSOCK_OP_REQUEST, ports[what & 7], datagram ? TSI_PORT_DATAGRAM : TSI_PORT_STREAM, 0, NULL, 0);
}

static void use_one(struct fuzz_input *in)
{
	static const uint16_t op_of[] = { VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_CREDIT_REQUEST };
	uint8_t what = fuzz_u8(in), data[1024];
	bool datagram = what & 8;
	struct tsi_address to = address(in);
	uint16_t op = op_of[what >> 4 & 3];
	uint32_t size = 0;

	if (op == VIRTIO_VSOCK_OP_RW) {
		memcpy(data, &to, sizeof(to));
		size = (uint32_t)(sizeof(to) + fuzz_take(in, data + sizeof(to), fuzz_u16(in) % (sizeof(data) - sizeof(to))));
	}
	world_packet(datagram ? 2 : 1, op, ports[what & 7], datagram ? TSI_PORT_DATAGRAM : TSI_PORT_STREAM, what >> 6, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	if (!world() || size > 4096)
		return 0;
	world_open_control();
	while (in.size) {
		uint8_t what = fuzz_u8(&in);

		switch (what & 7) {
		case 0:
		case 1:
			say_messages(&in, what);
			break;
		case 2:
		case 3:
			open_one(&in);
			break;
		case 4:
			use_one(&in);
			break;
		case 5:
			world_act(&in);
			break;
		case 6:
			world_turn(what & 8);
			break;
		default:
			if (what & 8)
				world_open_control();
			break;
		}
		world_check();
	}
	world_forget();
	return 0;
}
