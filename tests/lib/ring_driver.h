/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of src/virtio, for tests and benchmarks: guest memory in a memfd, the driver's side of split rings in
 * it, and a vhost-user front end that hands them to a device. Everything is as an honest guest does it; tests that want
 * to be dishonest scribble into the public fields.
 *
 *	struct ring_driver_spec spec = { .n_queues = 2, .features = ..., .turn = turn_the_loop, .context = loop };
 *	ring_driver_connect(&d, fd, &spec);		// handshake: all queues run afterwards
 *	driver_ring_put(&d.ring[TX], packet, size, NULL, 0, token);
 *	driver_ring_kick(&d.ring[TX]);
 *	token = driver_ring_wait(&d.ring[TX], &written, 1000);
 *	ring_driver_disconnect(&d);
 *
 * Where the device runs on a loop of the same thread, `turn` is called instead of waiting; it must not block for long.
 * Functions that return int give 0 or a negative errno. Not thread-safe.
 */
#pragma once

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIVER_RAM_GPA 0x40000000ull	    /* where the guest finds its memory */
#define DRIVER_RAM_USER 0x7f0000000000ull   /* where the front end claims to have it */
#define DRIVER_RINGS_MAX 16u

/* A memfd, shared with the device; memory in it is handed out and never taken back. */
struct driver_ram {
	int fd;
	uint8_t *base;
	size_t size, used;
};
int driver_ram_init(struct driver_ram *ram, size_t size);
void driver_ram_deinit(struct driver_ram *ram);
/* Zeroed; NULL when full. */
void *driver_ram_alloc(struct driver_ram *ram, size_t size, size_t alignment);
uint64_t driver_ram_gpa(const struct driver_ram *ram, const void *p);
uint64_t driver_ram_user(const struct driver_ram *ram, const void *p);

/* One buffer of a chain; data lies in driver_ram. */
struct driver_buffer {
	void *data;
	uint32_t size;
};

/**
 * struct driver_ring - driver's side of one queue
 * @avail_idx:	chains made available so far; written to the ring by driver_ring_publish()
 * @free, @n_free: descriptors not in use, linked through `next`
 * @tokens:	what the caller gave with each head
 */
struct driver_ring {
	struct driver_ram *ram;
	uint16_t size, free, n_free;
	uint16_t avail_idx, kicked_idx, used_idx;
	bool event_idx, indirect;
	struct vring_desc *desc, **tables;
	struct vring_avail *avail;
	struct vring_used *used;
	void **tokens;
	int kick_fd, call_fd; /* ours; eventfds, non-blocking */
	void (*turn)(void *context);
	void *context;
	uint64_t n_kicks;
};
/* features: EVENT_IDX and INDIRECT_DESC bits count */
int driver_ring_init(struct driver_ring *r, struct driver_ram *ram, uint16_t size, uint64_t features);
void driver_ring_deinit(struct driver_ring *r);
uint16_t *driver_ring_used_event(struct driver_ring *r);
uint16_t *driver_ring_avail_event(struct driver_ring *r);

/*
 * Make a chain available: n_out buffers that the device reads, then n_in that it writes. token must not be NULL. Uses an
 * indirect table where that was negotiated and there is more than one buffer. -ENOSPC when the ring is full.
 * The device sees it with driver_ring_publish() or driver_ring_kick().
 */
int driver_ring_add(struct driver_ring *r, const struct driver_buffer *buffers, unsigned n_out, unsigned n_in, void *token);
/* As add, of one or two buffers: out and in may be NULL, not both. */
int driver_ring_put(struct driver_ring *r, void *out, uint32_t out_size, void *in, uint32_t in_size, void *token);
void driver_ring_publish(struct driver_ring *r);
/* Publish, and kick if the device wants to know. Returns whether it was kicked. */
bool driver_ring_kick(struct driver_ring *r);

/* Next used chain's token, or NULL. */
void *driver_ring_take(struct driver_ring *r, uint32_t *ret_written);
/* Ask for an interrupt at the next used chain. True: there is one already. */
bool driver_ring_arm(struct driver_ring *r);
/* Take, waiting for the call eventfd (or taking turns). NULL after timeout_ms. */
void *driver_ring_wait(struct driver_ring *r, uint32_t *ret_written, int timeout_ms);

/**
 * struct ring_driver_spec - what to negotiate
 * @features:	wanted besides VERSION_1 and F_PROTOCOL_FEATURES; those that the device offers are acknowledged
 * @n_queues:	at most DRIVER_RINGS_MAX
 * @queue_size:	0: 128
 * @ram_size:	0: 16 MiB
 */
struct ring_driver_spec {
	uint64_t features;
	unsigned n_queues;
	uint16_t queue_size;
	size_t ram_size;
	void (*turn)(void *context);
	void *context;
};

/* A vhost-user front end. */
struct ring_driver {
	struct ring_driver_spec spec;
	int fd;
	uint64_t features, protocol_features; /* acknowledged */
	struct driver_ram ram;
	struct driver_ring ring[DRIVER_RINGS_MAX];
};

/* Whole handshake on a connected socket, which it takes (also on failure): make memory and rings, negotiate, start all queues. */
int ring_driver_connect(struct ring_driver *d, int fd, const struct ring_driver_spec *spec);
/* Close socket, rings and memory. Fine twice. */
void ring_driver_disconnect(struct ring_driver *d);

/* Pieces of the handshake, for tests that leave some out or repeat them. */
int ring_driver_open(struct ring_driver *d, int fd, const struct ring_driver_spec *spec); /* memory and rings alone */
int ring_driver_send(struct ring_driver *d, uint32_t request, uint32_t flags, const void *payload, size_t size, const int *fds,
		     size_t n_fds);
/* Receive a reply to `request` into payload[size]; the size must agree. -ENODATA when the device hung up, -ETIMEDOUT. */
int ring_driver_receive(struct ring_driver *d, uint32_t request, void *payload, size_t size);
int ring_driver_negotiate(struct ring_driver *d);
int ring_driver_share_memory(struct ring_driver *d);
int ring_driver_start_queue(struct ring_driver *d, unsigned queue);
/* GET_VRING_BASE: the queue stops; ret_base may be NULL. */
int ring_driver_stop_queue(struct ring_driver *d, unsigned queue, uint32_t *ret_base);
int ring_driver_get_config(struct ring_driver *d, void *data, uint32_t size);
/* Round trip: all messages sent so far have been served. */
int ring_driver_sync(struct ring_driver *d);
