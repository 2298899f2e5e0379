/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading what vsock has queued. Vsock's own recvmsg tells the peer of the room after every message, and after every read
 * that empties a stream's queue, which is a packet for each request of a client. This one tells it when a good part of the
 * room was used up since it was told last; whatever is sent tells it too, and it may ask.
 */
#ifndef TSI_INPUT_H
#define TSI_INPUT_H

#include "link.h"

/**
 * struct tsi_input
 * @packets:	read since the peer was told; the peer counts packets as well as bytes. With vsock's sock locked
 */
struct tsi_input {
	unsigned int packets;
};

/* Never blocks. Bytes, 0 when there is nothing, -EFAULT. Of flags only MSG_PEEK means something. */
int tsi_input_receive(struct tsi_input *input, struct tsi_link *link, struct msghdr *msg, size_t len, int flags);

/* For where vsock's sock is locked already: bytes of a stream, 0 when there are none; the next message, if there is one. */
size_t tsi_input_read_locked(struct tsi_input *input, struct vsock_sock *vsk, void *buffer, size_t size);
bool tsi_input_message_locked(struct tsi_input *input, struct vsock_sock *vsk, void *buffer, size_t size,
			      size_t *ret_len);

#endif
