/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TCP sockets that are connected through the host: those that connect to somewhere outside, and those accepted from a
 * published port. The operations of struct proto_ops; each passes on to inet what is not for us.
 */
#ifndef TSI_STREAM_H
#define TSI_STREAM_H

#include <linux/net.h>
#include <linux/poll.h>

#include "link.h"

int tsi_stream_bind(struct socket *sock, struct sockaddr *name, int len);
int tsi_stream_connect(struct socket *sock, struct sockaddr *name, int len, int flags);
int tsi_stream_getname(struct socket *sock, struct sockaddr *name, int peer);
__poll_t tsi_stream_poll(struct file *file, struct socket *sock, poll_table *wait);
int tsi_stream_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg);
int tsi_stream_shutdown(struct socket *sock, int how);
int tsi_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int tsi_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);
ssize_t tsi_stream_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags);
ssize_t tsi_stream_splice_read(struct socket *sock, loff_t *pos, struct pipe_inode_info *pipe, size_t len,
			       unsigned int flags);

/*
 * Makes @sock, on which there is a fresh inet sock, the program's end of a connection that came from the host. Takes
 * @vsock, also when it fails. The addresses are what the host's accept said.
 */
int tsi_stream_adopt(struct socket *sock, struct socket *vsock, const struct tsi_address *local,
		     const struct tsi_address *remote);

/* What SO_LINGER asks of close(): waits until the peer has everything, the time is over, or a signal comes. */
void tsi_stream_linger(struct tsi_link *link);

/* An option that held bytes back may not do so any more. */
void tsi_stream_push(struct tsi_link *link, const struct sock *sk);

/* The state that a TCP socket would be in, or -1 when the socket is inet's. */
int tsi_stream_tcp_state(const struct sock *sk);

extern const struct tsi_link_kind tsi_stream_kind;

#endif
