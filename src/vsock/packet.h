/* SPDX-License-Identifier: Apache-2.0 */
/* One vsock packet's header (VIRTIO 1.2 section 5.10.6), in our byte order. */
#pragma once

#include <linux/virtio_vsock.h>
#include <stdint.h>

#define PACKET_HEADER 44u /* bytes on the queue */
#define PACKET_HOST_CID 2u

/**
 * struct packet - header fields as the specification names them
 * @len:	payload bytes
 * @type:	VIRTIO_VSOCK_TYPE_*; @op: VIRTIO_VSOCK_OP_*; @flags: of SHUTDOWN or of a SEQPACKET payload
 * @buf_alloc:	sender's receive room for this connection, bytes
 * @fwd_cnt:	bytes that the sender's reader has taken so far, modulo 2^32
 */
struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
};

#define PACKET_SHUTDOWN_RECEIVE 1u /* the sender will take no more */
#define PACKET_SHUTDOWN_SEND 2u	   /* the sender will send no more */
#define PACKET_SHUTDOWN_BOTH 3u
#define PACKET_SEQ_EOM 1u /* last packet of a message */

void packet_decode(struct packet *p, const uint8_t bytes[static PACKET_HEADER]);
void packet_encode(const struct packet *p, uint8_t bytes[static PACKET_HEADER]);
