/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends any packets in any order (S01). The input is records: a byte that says what (packet, message, act,
 * turn) and operands. Ports come from a small set, so that packets meet connections.
 */
#include "vsock_world.h"

#include <endian.h>

#include "vsock/policy.h"

static const uint32_t guest_ports[] = { WORLD_CONTROL, 0x10001, 0x10002, 0x10003, 4088, 80, 0, 0x80000000 };
static const uint32_t host_ports[] = { TSI_PORT_CONTROL, TSI_PORT_STREAM, TSI_PORT_DATAGRAM, 0x80010000, 0x80010001, 0x80010002, 4, 0 };

/* The host's port of whatever connection is at that place of the table, else one of the set. */
static uint32_t host_port(const struct device *d, uint8_t choice)
{
	uint32_t index = choice >> 3;

	if (choice & 0x80 && (index & 15) < d->table.high)
		return d->table.all[index & 15].host_port;
	return host_ports[choice & 7];
}

static void any_packet(struct device *d, struct fuzz_input *in)
{
	uint8_t data[2048], how = fuzz_u8(in), ports = fuzz_u8(in), host = fuzz_u8(in);
	uint32_t size = fuzz_u16(in) & 0x7ff;
	struct connection *c;
	struct packet p = {
		.src_cid = how & 0x80 ? fuzz_u8(in) : 3,
		.dst_cid = PACKET_HOST_CID,
		.op = how & 15,
		.type = how & 0x10 ? 2 : 1,
		.flags = ports >> 4,
		.src_port = guest_ports[ports & 7],
		.dst_port = host_port(d, host),
		.buf_alloc = how & 0x20 ? fuzz_u16(in) : 65536,
	};

	c = connection_find(d, p.src_port, p.dst_port);
	p.fwd_cnt = how & 0x40 ? fuzz_u16(in) : c ? c->sent : 0;
	size = (uint32_t)fuzz_take(in, data, size);
	p.len = ports & 8 ? fuzz_u16(in) : size;
	world_send(&p, data, size, fuzz_u8(in));
}

/* As the module would: a connection under way with two records instead of a hundred lucky bytes. */
static void announce(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	uint32_t port = guest_ports[1 + what % 3];
	static const uint16_t remotes[] = { WORLD_TCP_PORT, WORLD_UDP_PORT, 53, 9 };
	struct tsi_message m = {
		.port = htole32(port),
		.type = htole16(what & 8 ? TSI_CONNECT : what & 16 ? TSI_DATAGRAM : TSI_LISTEN),
		.value = htole32(what & 8 ? 0 : 17),
		.local = address_v4(0, 80),
	};
	uint16_t remote = remotes[what >> 5 & 3];

	m.remote = address_v4(remote == 53 ? TSI_ADDRESS_RESOLVER : TSI_ADDRESS_HOST, remote);
	world_packet(VIRTIO_VSOCK_TYPE_STREAM, VIRTIO_VSOCK_OP_RW, WORLD_CONTROL, TSI_PORT_CONTROL, 0, &m, sizeof(m));
	if (what & 24)
		world_packet(what & 8 ? 1 : 2, VIRTIO_VSOCK_OP_REQUEST, port, what & 8 ? TSI_PORT_STREAM : TSI_PORT_DATAGRAM, 0, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct device *d = world();

	if (!d || size > 4096)
		return 0;
	while (in.size) {
		uint8_t what = fuzz_u8(&in);

		switch (what & 7) {
		case 0:
			world_open_control();
			break;
		case 1:
			announce(&in);
			break;
		case 2:
		case 3:
			world_act(&in);
			break;
		case 4:
			world_turn(what & 8);
			break;
		default:
			any_packet(d, &in);
			break;
		}
		world_check();
	}
	world_forget();
	return 0;
}
