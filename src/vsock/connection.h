/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of one vsock device: the table, their life, and credit in both directions.
 *
 * A connection lies between a guest's vsock port and one of ours. What is on our far side is its kind: a host socket
 * (stream.c, datagram.c), or something inside of this program (tsi.c, dns.c). The device (device.c) moves packets; kinds
 * are told what the guest did and say what shall be sent by flags, never by sending themselves: packets to the guest need
 * room in its receive queue, so they go out when there is some, in turn, from connection_serve().
 *
 * Everything here is called from the device's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "base/loop.h"
#include "tsi/tsi_protocol.h"
#include "vsock/packet.h"
#include "vsock/pool.h"

struct device;
struct connection;
TAILQ_HEAD(connection_list, connection);
struct published;

/*
 * What may happen in each state:
 *	FREE		nothing
 *	WAITING		not known to the guest as a connection: a client has not said its port yet, or TSI_CONNECT came and its
 *			OP_REQUEST not yet. In the table by ports only in the latter case.
 *	CONNECTING	OP_REQUEST came from the guest; RESPONSE or RST will follow
 *	REQUESTED	we sent (or will send) OP_REQUEST; the guest answers
 *	OPEN		data both ways, but for halves that are shut
 *	ENDING		RST will be sent, then DETACHED or FREE. Packets of the guest are ignored.
 *	DETACHED	the guest knows it no more; what it sent before still drains into the host's socket
 */
enum connection_state {
	CONNECTION_FREE,
	CONNECTION_WAITING,
	CONNECTION_CONNECTING,
	CONNECTION_REQUESTED,
	CONNECTION_OPEN,
	CONNECTION_ENDING,
	CONNECTION_DETACHED,
};

enum connection_flags {
	/* to be sent to the guest */
	WANT_REQUEST = 1 << 0,
	WANT_RESPONSE = 1 << 1,
	WANT_SHUTDOWN = 1 << 2, /* of our sending half, after all data */
	WANT_RESET = 1 << 3,
	WANT_CREDIT_UPDATE = 1 << 4,
	WANT_CREDIT_REQUEST = 1 << 5,
	WANT_ANY = (1 << 6) - 1,

	/* the far side, as last seen (events are edge-triggered) */
	FAR_READABLE = 1 << 8,
	FAR_WRITABLE = 1 << 9,
	FAR_MORE = 1 << 10,   /* a short read does not mean that nothing is left: end-of-file or an error is to be read too */
	FAR_ENDED = 1 << 11,  /* end-of-file was read */
	FAR_BROKEN = 1 << 12, /* writing failed; `error` says why */

	GUEST_SHUT_RECEIVE = 1 << 16,
	GUEST_SHUT_SEND = 1 << 17,
	SENT_SHUTDOWN = 1 << 18,
	FAR_SHUT = 1 << 19,	   /* the guest's end-of-file was passed on */
	FAR_CONNECTED = 1 << 21,
	CREDIT_REQUESTED = 1 << 20, /* and not answered yet */
	LINGERS = 1 << 22,	    /* the guest's close is to be answered when its bytes have arrived */
	CLOSE_LINGERS = 1 << 23,    /* it came, and has not been answered */

	IN_TABLE = 1 << 24, /* found by its ports */
	IN_READY = 1 << 25,
	IN_PARKED = 1 << 26,
	IN_DRAINING = 1 << 27,
	IN_STUCK = 1 << 28,
	IN_WAITING = 1 << 29,
};

/**
 * struct connection_kind - what is on the far side
 * @type:	VIRTIO_VSOCK_TYPE_*
 * @is_tsi:	the guest's module knows it, so messages about it make sense
 * @opened:	the guest accepted our OP_REQUEST, or our RESPONSE went out. May be NULL.
 * @refused:	the guest answered our OP_REQUEST with RST. NULL: the connection is dropped.
 * @push:	the guest sent `bytes` bytes. Takes them all: now, or into a bounded queue; what is taken for good is
 *		reported with connection_forwarded(). Credit was checked. flags: of the packet.
 * @pull:	send to the guest what the far side has, at most `quantum` bytes, with rx_take(). Called only with credit for at
 *		least a byte. Clears FAR_READABLE when there is nothing more.
 * @shut:	the guest shut the halves in flags (GUEST_SHUT_*), or its queued data went out after it had
 * @closed:	the connection is leaving the table: close and free what is behind it. reset: the guest's end was aborted.
 *		Not called for one that goes DETACHED, until that ends.
 */
struct connection_kind {
	const char *name;
	uint16_t type;
	bool is_tsi;
	void (*opened)(struct connection *c);
	void (*refused)(struct connection *c);
	void (*push)(struct connection *c, const struct iovec *iov, unsigned n, uint32_t bytes, uint32_t flags);
	void (*pull)(struct connection *c, uint32_t quantum);
	void (*shut)(struct connection *c);
	void (*closed)(struct connection *c, bool reset);
};

/**
 * struct connection - one of them
 * @io:		the host's socket; fd -1: none
 * @after:	position in the control stream that must have been sent before this connection's next packet
 * @sent, @peer_forwarded, @peer_room: credit towards the guest, bytes modulo 2^32 (specification: tx_cnt, fwd_cnt, buf_alloc)
 * @received, @forwarded, @told, @room: credit of the guest; told: `forwarded` in the last packet that went out
 * @need:	credit without which pulling makes no sense: 0 or the size of a message
 * @packets, @packets_before, @checkpoint: packets the guest may still hold: sent since `sent` was at checkpoint, and before
 * @in:		guest's bytes that the far side has not taken
 * @out:	bytes for the guest, for kinds without a socket
 * @error:	errno for TSI_FAILED or TSI_RESET
 * @hint:	bytes that the last read brought: how many buffers to offer to the next
 * @remote, @local: TSI: destination as the guest named it, source as it is told
 */
struct connection {
	struct loop_io io;
	struct device *device;
	const struct connection_kind *kind;
	struct connection *hash_next;
	TAILQ_ENTRY(connection) entry;
	enum connection_state state;
	uint32_t flags;
	uint32_t index, generation;
	uint32_t guest_port, host_port;
	uint64_t after;
	uint32_t sent, peer_forwarded, peer_room;
	uint32_t received, forwarded, told, room;
	uint32_t need;
	uint32_t packets, packets_before, checkpoint;
	uint32_t hint;
	int error;
	struct queue in, out;
	struct tsi_address remote, local;
	int64_t active_ms;
	union {
		struct {
			uint8_t attempt; /* addresses of the host's loopback tried */
		} stream;
		struct {
			struct published *published; /* until the guest has accepted it */
			bool asked;		     /* OP_REQUEST is on its way */
		} incoming;
		struct datagram *datagram;
		struct {
			unsigned in_flight; /* queries whose answers this stream waits for */
			bool taking;	    /* queries are being taken out of its queue */
		} dns;
	};
};

/**
 * struct connection_table - all of them, found by index or by ports
 * @n_extra:	fds beyond one for each connection; they count like connections
 * @n_used, @high: in use; entries from `high` on were never touched
 */
struct connection_table {
	struct connection *all;
	struct connection **hash;
	uint32_t size, hash_mask, n_used, n_extra, high;
	uint64_t hash_seed;
	struct connection *free; /* through hash_next */
};

#define CONNECTIONS_MAX 65536u /* so that index and generation make a port */
#define CONNECTION_HOST_PORT 0x80000000u
#define CONNECTION_ROOM 262144u	     /* credit given to the guest at first, bytes */
#define CONNECTION_ROOM_MAX 1048576u /* and to one whose far side keeps up */
#define CONNECTION_QUANTUM 65536u    /* bytes towards the guest before the next connection has its turn */
#define CONNECTION_DRAIN_MS 60000    /* a closed connection's last bytes may wait that long for their reader */

int connection_table_init(struct connection_table *t, uint32_t size);
void connection_table_deinit(struct connection_table *t);

/* A fresh one in state WAITING, without ports and fd. NULL: the box's limit is reached. */
struct connection *connection_new(struct device *d, const struct connection_kind *kind);
/* Whether the guest may have one more connection, or one more fd for one. */
bool connection_table_has_room(const struct connection_table *t);
/* Give it its ports; an older one under the same ports is dropped. */
void connection_name(struct connection *c, uint32_t guest_port, uint32_t host_port);
/* A port of ours that no other living connection has. */
uint32_t connection_own_port(const struct connection *c);
/* Take its name away again: it is WAITING as before. */
void connection_unname(struct connection *c);
struct connection *connection_find(struct device *d, uint32_t guest_port, uint32_t host_port);
/* By the port of the end that opened it; guest-opened ones by their host port too. NULL when there is none. */
struct connection *connection_find_opened(struct device *d, uint32_t port, uint32_t host_port);

/* It has something for the guest: flags to add to those already wanted. */
void connection_want(struct connection *c, uint32_t flags);
/* Its far side may have data. */
void connection_readable(struct connection *c);
/* The far side has taken bytes for good. */
void connection_forwarded(struct connection *c, uint32_t bytes);
/* Bytes that may be sent to the guest now; 0 also when it holds too many packets. */
uint32_t connection_credit(const struct connection *c);
/* For objects that outlive it: the connection of that index if it is still the same one, else NULL. */
struct connection *connection_at(struct device *d, uint32_t index, uint32_t generation);

/* Reset towards the guest; error is told before, when the guest can make use of it. Fine in any state. */
void connection_fail(struct connection *c, int error);
/* Out of the table at once, without a word to the guest. */
void connection_drop(struct connection *c, bool reset);
/* Its bytes have arrived: answers a close that waited for that (CLOSE_LINGERS). */
void connection_lingered(struct connection *c);
/* Its last byte has gone out: for one in DETACHED. */
void connection_drained(struct connection *c);
/* A packet of the guest for it; iov holds its payload. */
void connection_packet(struct connection *c, const struct packet *p, const struct iovec *iov, unsigned n);
/* The credit part of a packet for it. */
void connection_take_credit(struct connection *c, const struct packet *p);
/* Bookkeeping of a payload: false when it broke its credit (the connection is then reset) or is to be ignored. */
bool connection_accept_payload(struct connection *c, uint32_t bytes);

/* Send what it wants and can. True: it was served as far as it goes for now; false: the receive queue has no room. */
bool connection_serve(struct connection *c);
