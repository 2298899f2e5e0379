/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program has written to a stream and vsock has not been given yet. Vsock makes a packet of every write, and a
 * packet costs the same whether it carries one byte or sixty thousand; so small writes are held for a moment while earlier
 * packets are on their way, as TCP does: TCP_NODELAY turns it off, MSG_MORE and TCP_CORK hold for longer. The pages of a
 * sendfile or splice are held by reference until there are enough for a large packet, and so are copied once.
 */
#ifndef TSI_OUTPUT_H
#define TSI_OUTPUT_H

#include <linux/bvec.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/socket.h>
#include <linux/workqueue.h>

#include "link.h"

#define OUTPUT_PAGES 16

/**
 * struct tsi_output
 * @sending:	one writer at a time; protects all below, and writes of @held
 * @data:	NULL, or @room bytes of which @copied are in use
 * @pages:	@n_pages of them, which follow @data
 * @held:	bytes in @data and @pages. There is always credit for them
 * @corked:	the timer is the long one
 * @timer, @work: send what is held when nothing else does
 */
struct tsi_output {
	struct tsi_link *link;
	struct mutex sending;
	u8 *data;
	size_t held, copied, room;
	struct bio_vec pages[OUTPUT_PAGES];
	unsigned int n_pages;
	bool corked;
	struct hrtimer timer;
	struct work_struct work;
};

void tsi_output_init(struct tsi_output *output, struct tsi_link *link);
/* After tsi_link_close, with a reference: no timer or work is left then, and none will be. */
void tsi_output_stop(struct tsi_output *output);

/*
 * Takes what there is room for, never waiting for room. Bytes, -EAGAIN or another errno. @by_page: @msg is a part of one page,
 * which may be kept instead of being copied.
 */
int tsi_output_send(struct tsi_output *output, struct msghdr *msg, const struct sock *sk, bool by_page);
/* The program turns to something else, or wants it sent. Only what TCP_CORK holds stays, unless @all. */
void tsi_output_flush(struct tsi_output *output, const struct sock *sk, bool all);

/* Bytes that a program can write now; whether it is worth waking one for them. */
size_t tsi_output_room(const struct tsi_output *output);
bool tsi_output_has_room(const struct tsi_output *output);

static inline size_t tsi_output_held(const struct tsi_output *output)
{
	return READ_ONCE(output->held);
}

#endif
