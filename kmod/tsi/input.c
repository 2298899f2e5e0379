// SPDX-License-Identifier: GPL-2.0
#include "input.h"

#include <linux/skbuff.h>
#include <linux/virtio_vsock.h>

/* Far below what makes a peer stop that thinks a packet costs the guest half a KiB of its 256. */
#define INPUT_PACKETS 64

/* With vsock's sock locked. */
static void input_consume(struct tsi_input *input, struct virtio_vsock_sock *vvs, struct sk_buff *skb)
{
	u32 len = le32_to_cpu(virtio_vsock_hdr(skb)->len);

	spin_lock_bh(&vvs->rx_lock);
	vvs->rx_bytes -= len;
	vvs->fwd_cnt += len;
	__skb_unlink(skb, &vvs->rx_queue);
	spin_unlock_bh(&vvs->rx_lock);
	consume_skb(skb);
	input->packets++;
}

/* With vsock's sock locked, and so nothing comes or goes meanwhile. */
static int input_copy(struct tsi_input *input, struct virtio_vsock_sock *vvs, struct msghdr *msg, size_t len, bool peek)
{
	struct sk_buff *skb, *next;
	size_t copied = 0;

	skb_queue_walk_safe(&vvs->rx_queue, skb, next) {
		size_t part = min_t(size_t, len - copied, skb->len);

		if (skb_copy_datagram_iter(skb, 0, &msg->msg_iter, part))
			return copied ? copied : -EFAULT;
		copied += part;
		if (!peek) {
			skb_pull(skb, part);
			if (!skb->len)
				input_consume(input, vvs, skb);
		}
		if (copied == len)
			break;
	}
	return copied;
}

/* With vsock's sock locked. */
static void input_tell(struct tsi_input *input, struct vsock_sock *vsk, struct virtio_vsock_sock *vvs)
{
	u64 room = READ_ONCE(vvs->buf_alloc);
	u32 unknown;

	spin_lock_bh(&vvs->rx_lock);
	unknown = vvs->fwd_cnt - vvs->last_fwd_cnt;
	spin_unlock_bh(&vvs->rx_lock);
	if (!unknown)
		input->packets = 0;
	if (unknown < room / 4 && input->packets < INPUT_PACKETS)
		return;
	input->packets = 0;
	/* Says what it is, since it has not changed; that is what the peer is to hear. */
	vsk->transport->notify_buffer_size(vsk, &room);
}

int tsi_input_receive(struct tsi_input *input, struct tsi_link *link, struct msghdr *msg, size_t len, int flags)
{
	struct vsock_sock *vsk = vsock_sk(link->vsock->sk);
	struct virtio_vsock_sock *vvs;
	int n = 0;

	lock_sock(&vsk->sk);
	vvs = vsk->trans;
	if (vvs) {
		n = input_copy(input, vvs, msg, len, flags & MSG_PEEK);
		if (!(flags & MSG_PEEK))
			input_tell(input, vsk, vvs);
	}
	release_sock(&vsk->sk);
	return n;
}

size_t tsi_input_read_locked(struct tsi_input *input, struct vsock_sock *vsk, void *buffer, size_t size)
{
	struct kvec part = { .iov_base = buffer, .iov_len = size };
	struct virtio_vsock_sock *vvs = vsk->trans;
	struct msghdr msg = {};
	int n;

	if (!vvs)
		return 0;
	iov_iter_kvec(&msg.msg_iter, READ, &part, 1, size);
	n = input_copy(input, vvs, &msg, size, false);
	input_tell(input, vsk, vvs);
	return n > 0 ? n : 0;
}

/* With vsock's sock locked. Takes the first packet; what does not fit is lost. Whether it ended a message. */
static bool input_take_part(struct tsi_input *input, struct virtio_vsock_sock *vvs, struct sk_buff *skb, void *buffer,
			    size_t size, size_t *len)
{
	bool last = virtio_vsock_hdr(skb)->flags & cpu_to_le32(VIRTIO_VSOCK_SEQ_EOM);
	size_t part = min_t(size_t, size - *len, skb->len);

	(void)skb_copy_bits(skb, 0, buffer + *len, part);
	*len += part;
	input_consume(input, vvs, skb);
	return last;
}

bool tsi_input_message_locked(struct tsi_input *input, struct vsock_sock *vsk, void *buffer, size_t size,
			      size_t *ret_len)
{
	struct virtio_vsock_sock *vvs = vsk->trans;
	struct sk_buff *skb;

	if (!vvs || !vvs->msg_count)
		return false;
	*ret_len = 0;
	while ((skb = skb_peek(&vvs->rx_queue)))
		if (input_take_part(input, vvs, skb, buffer, size, ret_len))
			break;
	spin_lock_bh(&vvs->rx_lock);
	vvs->msg_count--;
	spin_unlock_bh(&vvs->rx_lock);
	input_tell(input, vsk, vvs);
	return true;
}
