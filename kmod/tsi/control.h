/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control connection: one for the guest, opened when the module is loaded and again whenever it was lost.
 *
 * What the host says is read where vsock delivers it, in the order of the one receive queue: the explanation of a packet
 * has been dealt with when the packet is. What the guest says goes into the one transmit queue the same way, so what
 * tsi_control_send took goes ahead of whatever the caller sends after it.
 */
#ifndef TSI_CONTROL_H
#define TSI_CONTROL_H

#include "link.h"

void tsi_control_start(void);
void tsi_control_stop(void);

/*
 * Process context, no lock but the owner's sock lock held. 0, or -ENOTCONN while there is no connection to the host: then
 * nothing was sent, and after the next connect every listener is announced again.
 */
int tsi_control_send(const struct tsi_message *message);
int tsi_control_option(u32 port, enum tsi_option option, u32 value);

/* What the host says an error is, made one that a program may see; @otherwise when it says none, or nonsense. Positive. */
static inline int tsi_control_errno(const struct tsi_message *message, int otherwise)
{
	u32 error = le32_to_cpu(message->error);

	return error && error <= EHWPOISON ? error : otherwise;
}

/* Waits until the host is there. 0, -EINTR and the like, -ENOTCONN when it is not after *timeout jiffies; counts down. */
int tsi_control_wait(long *timeout);

#endif
