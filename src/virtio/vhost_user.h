/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user, back end: the device's side of one connection to a front end (QEMU 7.2, DPDK virtio_user, tests).
 *
 * Messages: header, number of fds and payload size are checked against a table before a handler runs. What is malformed,
 * unknown or cannot be done closes this connection and calls disconnected(); other connections of the process never notice.
 * A front end that does not read its replies is closed as well. Nothing here blocks.
 *
 * Negotiated: VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1, indirect descriptors and EVENT_IDX besides the device's
 * own features; protocol features CONFIG, MQ and REPLY_ACK. Not offered: dirty log, IOTLB, in-flight memory, back-end channel.
 *
 * A queue runs while it has memory, size, addresses and a kick fd, is enabled, and the connection stands. The device hears
 * of that alone: started(), then kicked() any number of times, then stopped(). SET_MEM_TABLE on running queues is
 * stopped() and started() around the change. In stopped() the device must forget chains and pointers into guest memory;
 * they come again (virtq.h). One started() may follow another's stopped() at once.
 *
 * Memory that was lost (gmem.h) is noticed after started() and kicked(). A device that touches guest memory at other times
 * looks at mem.lost afterwards and calls vhost_user_disconnect(vu, -EFAULT).
 *
 * All callbacks come from the loop. None but disconnected() may call vhost_user_deinit().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "virtio/gmem.h"
#include "virtio/virtq.h"

#define VHOST_USER_QUEUES_MAX 16u
#define VHOST_USER_CONFIG_MAX 256u
#define VHOST_USER_MESSAGE_MAX 280u /* header and the largest payload taken, bytes */

struct vhost_user;

/**
 * struct vhost_user_ops - a kind of device
 * @features:	virtio feature bits of the device type, beyond those above
 * @n_queues:	1 .. VHOST_USER_QUEUES_MAX
 * @started:	queue runs: chains may be waiting already, no kick need follow
 * @kicked:	the driver kicked it (eventfd already drained)
 * @stopped:	queue no longer runs; virtq calls on it do nothing
 * @disconnected: all queues stopped, fds closed; error is 0 when the front end hung up. Last callback.
 * started and stopped may be NULL.
 */
struct vhost_user_ops {
	uint64_t features;
	unsigned n_queues;
	void (*started)(struct vhost_user *vu, unsigned queue);
	void (*kicked)(struct vhost_user *vu, unsigned queue);
	void (*stopped)(struct vhost_user *vu, unsigned queue);
	void (*disconnected)(struct vhost_user *vu, int error);
};

/**
 * struct vhost_user_queue - what the front end said so far, and the ring while it runs
 * @kick_fd, @call_fd, @err_fd: ours; -1 none
 */
struct vhost_user_queue {
	struct virtq ring;
	struct vhost_user *vu;
	struct loop_io kick;
	struct virtq_setup setup;
	int kick_fd, call_fd, err_fd;
	bool has_addresses, enabled;
};

/**
 * struct vhost_user - one connection; embedded in the device, zero but for what vhost_user_init() sets
 * @features:	acknowledged by the driver, valid in started()
 * @config:	device configuration space, set by the device before vhost_user_init()
 */
struct vhost_user {
	const struct vhost_user_ops *ops;
	struct loop *loop;
	struct loop_io io;
	int fd;
	uint64_t features, protocol_features;
	uint8_t config[VHOST_USER_CONFIG_MAX];
	size_t config_size;
	struct gmem mem;
	struct vhost_user_queue queue[VHOST_USER_QUEUES_MAX];
	/* message being received */
	uint8_t message[VHOST_USER_MESSAGE_MAX];
	size_t received;
	int fds[GMEM_REGIONS_MAX + 1]; /* one more than is ever right, so that too many show */
	unsigned n_fds;
};

/* Serve a connected AF_UNIX stream socket. Takes fd, also on failure. 0 or a negative errno. */
int vhost_user_init(struct vhost_user *vu, struct loop *loop, int fd, const struct vhost_user_ops *ops);
/* Stop queues (with stopped()) and close everything, without disconnected(). Fine twice. */
void vhost_user_deinit(struct vhost_user *vu);
/* End the connection as if the front end had gone wrong: stopped() for each queue, disconnected(error) before it returns. */
void vhost_user_disconnect(struct vhost_user *vu, int error);

/* The running ring, or NULL. */
struct virtq *vhost_user_ring(struct vhost_user *vu, unsigned queue);
static inline bool vhost_user_has_feature(const struct vhost_user *vu, unsigned bit)
{
	return vu->features >> bit & 1;
}

/* System calls that a seccomp filter must allow for all of src/virtio (besides what base/loop needs). */
extern const int vhost_user_syscalls[];
extern const unsigned vhost_user_n_syscalls;
