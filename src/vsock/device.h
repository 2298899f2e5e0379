/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-vsock device of one box (VIRTIO 1.2 section 5.10): queues, dispatch, turns. One loop, one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vhost_user.h"
#include "vsock/connection.h"
#include "vsock/tsi.h"
#include "vsock/udp.h"

#define DEVICE_RX_CHAINS 32u  /* receive buffers filled by one read */
#define DEVICE_IOV 1024u      /* entries, as many as one system call takes */
#define DEVICE_STRAYS 512u    /* resets for connections that do not exist, waiting */

enum device_queue { DEVICE_QUEUE_RX, DEVICE_QUEUE_TX, DEVICE_QUEUE_EVENT, DEVICE_QUEUES };

struct device_limits {
	uint32_t connections, datagrams, listeners, flows;
	uint64_t queued_bytes;
	int64_t datagram_idle_ms, flow_idle_ms;
};
#define DEVICE_LIMITS_DEFAULT                                                                        \
	{                                                                                            \
		.connections = 32768, .datagrams = 8192, .listeners = 4096, .flows = 16384,          \
		.queued_bytes = 256u << 20, .datagram_idle_ms = 60000, .flow_idle_ms = 180000,       \
	}

/* Counters, from the start of the program. "in" is towards the guest. */
struct device_stats {
	uint64_t bytes_in, bytes_out, packets_in, packets_out; /* with the agent's */
	uint64_t net_in, net_out, net_connections, net_connections_total; /* of the host's sockets alone; the third: now */
	uint64_t connections_total, refused, failed;
	uint64_t bad_packets, bad_credit, unknown, strays_lost, forged;
	uint64_t datagrams_in, datagrams_out, datagrams_lost;
	uint64_t dns_queries, dns_failures;
};

/**
 * struct device_rx - receive buffers taken for one read, not yet given back or committed
 * @payload:	where payload goes: what follows the headers' places, in order
 */
struct device_rx {
	struct virtq_chain chain[DEVICE_RX_CHAINS];
	unsigned n;
	struct iovec iov[DEVICE_IOV];
	unsigned n_iov;
	struct iovec payload[DEVICE_IOV];
	unsigned n_payload;
	uint32_t bytes;
};

/**
 * struct device_batch - consecutive payloads for one stream, delivered by one call
 */
struct device_batch {
	struct connection *connection;
	struct virtq_chain chain[64];
	unsigned n;
	struct iovec iov[DEVICE_IOV];
	unsigned n_iov;
	uint32_t bytes;
};

TAILQ_HEAD(datagram_list, datagram);

/**
 * struct device - one box's
 * @ready:	connections with something for the guest, in turn
 * @parked:	likewise, but the control stream must get ahead first
 * @draining:	DETACHED ones, oldest first
 * @stuck:	the guest holds too many packets of theirs; asked again by a timer
 * @on_event:	tells the monitor: "device-started", "device-gone", "tsi-started", "resolver-wanted". Never NULL.
 */
struct device {
	struct loop *loop;
	struct vhost_user vu;
	bool attached, started;
	uint16_t used[2]; /* of both queues, when we last looked: a driver that starts anew starts at 0 */
	struct device_limits limits;
	uint32_t guest_cid;
	bool has_tsi, has_host_gateway;
	struct connection_table table;
	struct pool pool;
	struct connection_list ready, parked, draining, stuck;
	struct loop_timer drain_timer, stuck_timer, tx_timer;
	struct loop_deferred pump;
	struct packet strays[DEVICE_STRAYS];
	unsigned n_strays, first_stray;
	bool starving; /* something waits for receive buffers */
	bool tx_waits; /* the transmit queue was left for the next turn */
	struct device_rx rx;
	struct device_batch batch;
	struct tsi tsi;
	struct agent *agent;
	struct publish *publish;
	struct udp udp;
	struct dns *dns;
	uint32_t n_datagrams;
	struct datagram_list datagrams; /* with host sockets that may expire, longest silent first */
	struct loop_timer datagram_timer;
	struct device_stats stats;
	void (*on_event)(struct device *d, const char *event);
	void *owner;
};

/* Limits, cid, has_tsi and has_host_gateway are set by the caller before. 0 or a negative errno. */
int device_init(struct device *d, struct loop *loop);
void device_deinit(struct device *d);
/* Serve a vhost-user socket; takes fd. -EBUSY: one is attached already. */
int device_attach(struct device *d, int fd);
/* Run the receive side after this batch of events. */
void device_wake(struct device *d);
/* Forget every connection and listener: the guest's driver is gone or began anew. */
void device_reset(struct device *d);

/*
 * Receive buffers: take some for at most max bytes of payload (none: false, and the caller's turn comes again when
 * there are), then either commit what was written or put all back.
 */
bool rx_take(struct device *d, unsigned chains, uint32_t max);
/* As one packet after the other, each filling its buffer. Sets EOM on the last when it ends a message. */
void rx_commit(struct connection *c, uint32_t bytes, bool end_of_message);
void rx_put_back(struct device *d);
/* The next bytes of c->out, at most `bytes`: how many went. The last of them ends a message if it is the last of `bytes`. */
uint32_t rx_send_queue(struct connection *c, uint32_t bytes, bool is_message);
/* A packet without payload. */
bool rx_send(struct connection *c, uint16_t op, uint32_t flags);
