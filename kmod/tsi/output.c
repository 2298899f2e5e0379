// SPDX-License-Identifier: GPL-2.0
/*
 * Held bytes are sent by whichever comes first: the buffer is full; a write that does not fit; the program reads, polls,
 * shuts down or closes; an option that uncorks; the timer. So a program that writes twice and reads waits for nothing.
 *
 * Bytes are held only while there is credit for them, and credit is not given to anyone else meanwhile, so sending them
 * never waits and close can always get rid of them.
 */
#include "output.h"

#include <linux/slab.h>
#include <linux/virtio_vsock.h>
#include <net/tcp.h>

#include "main.h"

#define OUTPUT_MAX 32768u
#define OUTPUT_PAGED_MAX (OUTPUT_PAGES * PAGE_SIZE)
#define OUTPUT_FIRST 2048u /* a header, or a few small writes; twice as much whenever that is full */
/* A write of more than this is worth a packet of its own. */
#define OUTPUT_SMALL 4096u
#define OUTPUT_DELAY_NS (200 * NSEC_PER_USEC)
#define OUTPUT_CORK_NS (200 * NSEC_PER_MSEC) /* as TCP's */

static enum hrtimer_restart output_timer(struct hrtimer *timer)
{
	struct tsi_output *output = container_of(timer, struct tsi_output, timer);

	queue_work(tsi_workqueue, &output->work);
	return HRTIMER_NORESTART;
}

/* With sending. */
static void output_arm(struct tsi_output *output, bool more)
{
	if (hrtimer_active(&output->timer) && (more || !output->corked))
		return;
	output->corked = more;
	hrtimer_start(&output->timer, ns_to_ktime(more ? OUTPUT_CORK_NS : OUTPUT_DELAY_NS), HRTIMER_MODE_REL);
}

/* With sending. Forget the first bytes of what is held. */
static void output_drop(struct tsi_output *output, size_t bytes)
{
	size_t part = min(bytes, output->copied);
	unsigned int i;

	WRITE_ONCE(output->held, output->held - bytes);
	output->copied -= part;
	if (output->copied)
		memmove(output->data, output->data + part, output->copied);
	bytes -= part;
	for (i = 0; i < output->n_pages && bytes >= output->pages[i].bv_len; i++) {
		bytes -= output->pages[i].bv_len;
		put_page(output->pages[i].bv_page);
	}
	output->n_pages -= i;
	memmove(output->pages, output->pages + i, output->n_pages * sizeof(*output->pages));
	if (bytes) {
		output->pages[0].bv_offset += bytes;
		output->pages[0].bv_len -= bytes;
	}
}

/* With sending. */
static void output_release(struct tsi_output *output)
{
	output_drop(output, output->held);
	kfree(output->data);
	output->data = NULL;
	output->room = 0;
}

/* With sending. Room for len bytes more, OUTPUT_MAX in all at most. */
static int output_grow(struct tsi_output *output, size_t len)
{
	size_t room = max_t(size_t, roundup_pow_of_two(output->copied + len), OUTPUT_FIRST);
	u8 *data;

	if (output->copied + len <= output->room)
		return 0;
	data = krealloc(output->data, room, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
	if (!data)
		return -ENOMEM;
	output->data = data;
	output->room = room;
	return 0;
}

/* With sending. As what is to be sent. */
static unsigned int output_gather(const struct tsi_output *output, struct bio_vec *parts)
{
	unsigned int n = 0;

	if (output->copied) {
		parts[n].bv_page = virt_to_page(output->data);
		parts[n].bv_offset = offset_in_page(output->data);
		parts[n++].bv_len = output->copied;
	}
	memcpy(parts + n, output->pages, output->n_pages * sizeof(*parts));
	return n + output->n_pages;
}

/*
 * With sending. Something may remain if the host took credit back; it is tried again until the connection ends. What a
 * connection that has ended leaves is lost with it.
 */
static void output_send_held(struct tsi_output *output)
{
	struct bio_vec parts[OUTPUT_PAGES + 1];
	struct msghdr msg = {};

	if (!output->held)
		return;
	iov_iter_bvec(&msg.msg_iter, WRITE, parts, output_gather(output, parts), output->held);
	while (msg_data_left(&msg))
		if (tsi_link_send(output->link, &msg, msg_data_left(&msg)) <= 0)
			break;
	if (!msg_data_left(&msg) || tsi_link_state(output->link) != TSI_LINK_OPEN) {
		output_release(output);
		return;
	}
	output_drop(output, output->held - msg_data_left(&msg));
	output_arm(output, true);
}

static void output_work(struct work_struct *work)
{
	struct tsi_output *output = container_of(work, struct tsi_output, work);

	mutex_lock(&output->sending);
	output_send_held(output);
	mutex_unlock(&output->sending);
}

void tsi_output_init(struct tsi_output *output, struct tsi_link *link)
{
	output->link = link;
	mutex_init(&output->sending);
	hrtimer_init(&output->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	output->timer.function = output_timer;
	INIT_WORK(&output->work, output_work);
}

void tsi_output_stop(struct tsi_output *output)
{
	/* A writer that was not done when the link closed; those to come find it closed. */
	mutex_lock(&output->sending);
	mutex_unlock(&output->sending);
	hrtimer_cancel(&output->timer);
	cancel_work_sync(&output->work);
	/* Another thread of a program that disconnects may be flushing still. */
	mutex_lock(&output->sending);
	output_release(output);
	mutex_unlock(&output->sending);
}

/*
 * Whether packets of this socket are still in the guest's hands. Each holds a reference to vsock's sock until the device
 * has taken it; beside them there are the socket itself, vsock's tables, and what has been received. Being off by one now
 * and then makes a packet smaller or a little later, no more.
 */
static bool output_is_busy(struct tsi_link *link)
{
	struct vsock_sock *vsk = vsock_sk(link->vsock->sk);
	struct virtio_vsock_sock *vvs = vsk->trans;
	int others = 1 + !list_empty(&vsk->bound_table) + !list_empty(&vsk->connected_table);

	return vvs && refcount_read(&vsk->sk.sk_refcnt) > others + (int)skb_queue_len_lockless(&vvs->rx_queue);
}

static bool output_is_corked(const struct sock *sk)
{
	return tcp_sk(sk)->nonagle & TCP_NAGLE_CORK;
}

/* With sending. */
static bool output_may_hold(struct tsi_output *output, const struct sock *sk, size_t len, size_t most, bool more)
{
	if (len > OUTPUT_SMALL && !more)
		return false;
	if (output->held + len > most || output->held + len > tsi_link_writable(output->link))
		return false;
	if (more)
		return true;
	return !(tcp_sk(sk)->nonagle & TCP_NAGLE_OFF) && output_is_busy(output->link);
}

/* With sending. Bytes, or -errno. */
static int output_append(struct tsi_output *output, struct msghdr *msg, size_t len)
{
	if (output_grow(output, len) < 0)
		return -ENOMEM;
	if (!copy_from_iter_full(output->data + output->copied, len, &msg->msg_iter))
		return -EFAULT;
	output->copied += len;
	WRITE_ONCE(output->held, output->held + len);
	return len;
}

/* With sending, and room for a page. */
static int output_append_page(struct tsi_output *output, struct msghdr *msg, size_t len)
{
	struct bio_vec *part = &output->pages[output->n_pages++];

	*part = *msg->msg_iter.bvec;
	part->bv_offset += msg->msg_iter.iov_offset;
	part->bv_len = len;
	get_page(part->bv_page);
	iov_iter_advance(&msg->msg_iter, len);
	WRITE_ONCE(output->held, output->held + len);
	return len;
}

/* With sending. Whether len bytes more can stand behind what is held. */
static bool output_has_place(const struct tsi_output *output, size_t len, bool by_page)
{
	if (by_page)
		return output->n_pages < OUTPUT_PAGES && output->held + len <= OUTPUT_PAGED_MAX;
	return !output->n_pages && output->held + len <= OUTPUT_MAX;
}

/* What is held could not be sent: for want of credit, which a writer waits for, or of memory, which it does not. */
static int output_lacks(const struct tsi_output *output)
{
	return tsi_link_writable(output->link) >= output->held ? -ENOBUFS : -EAGAIN;
}

/* With sending. */
static int output_send(struct tsi_output *output, struct msghdr *msg, const struct sock *sk, bool by_page)
{
	bool more = msg->msg_flags & (MSG_MORE | MSG_SENDPAGE_NOTLAST) || output_is_corked(sk);
	size_t len = msg_data_left(msg), most = by_page ? OUTPUT_PAGED_MAX : OUTPUT_MAX;
	bool hold;
	int n;

	if (tsi_link_state(output->link) != TSI_LINK_OPEN)
		return -EPIPE;
	if (!output_has_place(output, len, by_page) || output->held + len > tsi_link_writable(output->link))
		output_send_held(output);
	if (output->held && !output_has_place(output, len, by_page))
		return output_lacks(output);
	hold = output_may_hold(output, sk, len, most, more);
	if (!hold && !output->held)
		return tsi_link_send(output->link, msg, len);
	n = by_page ? output_append_page(output, msg, len) : output_append(output, msg, len);
	if (n == -ENOMEM) {
		output_send_held(output);
		return output->held ? output_lacks(output) : tsi_link_send(output->link, msg, len);
	}
	/* The last part goes with what was held for it. */
	if (hold && output_has_place(output, 1, by_page))
		output_arm(output, more);
	else
		output_send_held(output);
	return n;
}

int tsi_output_send(struct tsi_output *output, struct msghdr *msg, const struct sock *sk, bool by_page)
{
	int n;

	mutex_lock(&output->sending);
	n = output_send(output, msg, sk, by_page);
	mutex_unlock(&output->sending);
	return n;
}

void tsi_output_flush(struct tsi_output *output, const struct sock *sk, bool all)
{
	if (!tsi_output_held(output) || (!all && output_is_corked(sk)))
		return;
	mutex_lock(&output->sending);
	output_send_held(output);
	mutex_unlock(&output->sending);
}

size_t tsi_output_room(const struct tsi_output *output)
{
	size_t room = tsi_link_writable(output->link), held = tsi_output_held(output);

	return room > held ? room - held : 0;
}

bool tsi_output_has_room(const struct tsi_output *output)
{
	size_t room = tsi_output_room(output);

	return room && room >= tsi_link_window(output->link) / 4;
}
