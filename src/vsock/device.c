/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device: from queues to connections and back.
 *
 * Transmit queue (guest to host). Packets are always taken, whatever state the receive queue or any socket is in: payload
 * goes straight from guest memory into the host's socket, and what that does not take is copied into the connection's
 * bounded queue. So a slow reader costs its own connection alone. Consecutive payloads for one stream are gathered and
 * written by one system call.
 *
 * Receive queue (host to guest). Nothing is sent from where it arises. Connections that have something are in the list
 * `ready`; the pump, once after each batch of events, serves one after the other, CONNECTION_QUANTUM bytes each, while the
 * guest provides buffers. Stream payload is read from the host's socket right into these buffers, several at a time. When
 * there are no buffers left the pump stops where it is, asks for a kick, and nothing is lost: what was not sent is still
 * a flag or still in the socket. The control connection of TSI goes first, since its messages explain packets that follow.
 *
 * The event queue is left alone: there is no migration.
 *
 * A driver that begins anew (reboot) starts at used index 0, one that was paused where it stopped: that tells whether what
 * was open still is.
 */
#include "vsock/device.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "vsock/dns.h"

#define TX_BUDGET 512u	     /* packets taken in a turn */
#define TX_ROOM 300u	     /* entries that one packet may take */
#define PUMP_BUDGET 256u     /* connections served in a turn */
#define TX_NOTIFY_MS 1	     /* longest that a guest waits to hear that its packets were taken */

static void vu_started(struct vhost_user *vu, unsigned queue);
static void vu_kicked(struct vhost_user *vu, unsigned queue);
static void vu_disconnected(struct vhost_user *vu, int error);
static void pump(struct loop_deferred *deferred);

static const struct vhost_user_ops ops = {
	.features = 1ull << VIRTIO_VSOCK_F_SEQPACKET,
	.n_queues = DEVICE_QUEUES,
	.started = vu_started,
	.kicked = vu_kicked,
	.disconnected = vu_disconnected,
};

int device_init(struct device *d, struct loop *loop)
{
	int r;

	d->loop = loop;
	TAILQ_INIT(&d->ready);
	TAILQ_INIT(&d->parked);
	TAILQ_INIT(&d->draining);
	TAILQ_INIT(&d->stuck);
	TAILQ_INIT(&d->datagrams);
	udp_init(d);
	d->drain_timer = d->stuck_timer = d->tx_timer = d->datagram_timer = (struct loop_timer)LOOP_TIMER_NULL;
	r = connection_table_init(&d->table, d->limits.connections);
	if (r == 0)
		r = pool_init(&d->pool, d->limits.queued_bytes);
	if (r == 0)
		r = tsi_init(&d->tsi, d->limits.listeners);
	return r;
}

void device_reset(struct device *d)
{
	for (uint32_t i = 0; i < d->table.high; i++) {
		struct connection *c = &d->table.all[i];

		if (c->state != CONNECTION_FREE && c->state != CONNECTION_DETACHED && (c->flags & IN_TABLE))
			connection_drop(c, true);
	}
	tsi_reset(&d->tsi);
	udp_clear(d);
	d->n_strays = 0;
	d->starving = false;
}

static void drop_all(struct device *d)
{
	for (uint32_t i = 0; i < d->table.high; i++)
		connection_drop(&d->table.all[i], true);
}

void device_deinit(struct device *d)
{
	drop_all(d);
	if (d->attached)
		vhost_user_deinit(&d->vu);
	loop_timer_cancel(&d->drain_timer);
	loop_timer_cancel(&d->stuck_timer);
	loop_timer_cancel(&d->tx_timer);
	loop_timer_cancel(&d->datagram_timer);
	dns_clear(d);
	udp_clear(d);
	tsi_deinit(&d->tsi);
	pool_deinit(&d->pool);
	connection_table_deinit(&d->table);
}

int device_attach(struct device *d, int fd)
{
	struct virtio_vsock_config config = { .guest_cid = htole64(d->guest_cid) };
	int r;

	if (d->attached) {
		close_fd(fd);
		return -EBUSY;
	}
	memset(&d->vu, 0, sizeof(d->vu));
	memcpy(d->vu.config, &config, sizeof(config));
	d->vu.config_size = sizeof(config);
	r = vhost_user_init(&d->vu, d->loop, fd, &ops);
	if (r < 0)
		return r;
	d->attached = true;
	d->started = false;
	return 0;
}

static void vu_disconnected(struct vhost_user *vu, int error)
{
	struct device *d = container_of(vu, struct device, vu);

	if (error)
		log_warn("vhost-user connection ended: %s", strerror(-error));
	vhost_user_deinit(vu);
	d->attached = d->started = d->tx_waits = false;
	d->used[0] = d->used[1] = 0;
	device_reset(d);
	d->on_event(d, "device-gone");
}

static void vu_started(struct vhost_user *vu, unsigned queue)
{
	struct device *d = container_of(vu, struct device, vu);
	struct virtq *q = vhost_user_ring(vu, queue);

	if (queue == DEVICE_QUEUE_EVENT || !q)
		return;
	if (q->next_used != d->used[queue])
		device_reset(d);
	d->used[queue] = q->next_used;
	d->starving = false;
	if (queue == DEVICE_QUEUE_TX && (!d->started || q->next_used == 0)) {
		d->started = true;
		d->on_event(d, "device-started");
	}
	device_wake(d);
	vu_kicked(vu, DEVICE_QUEUE_TX);
}

/* ---- transmit queue: guest to host ---- */

static void stray_reset(struct device *d, const struct packet *p)
{
	d->stats.unknown++;
	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	if (d->n_strays == DEVICE_STRAYS) {
		d->stats.strays_lost++;
		return;
	}
	d->strays[(d->first_stray + d->n_strays++) % DEVICE_STRAYS] = (struct packet){
		.src_cid = PACKET_HOST_CID,
		.dst_cid = d->guest_cid,
		.src_port = p->dst_port,
		.dst_port = p->src_port,
		.type = p->type,
		.op = VIRTIO_VSOCK_OP_RST,
	};
	device_wake(d);
}

static bool packet_valid(struct device *d, const struct packet *p, uint32_t payload)
{
	if (p->src_cid != d->guest_cid || p->dst_cid != PACKET_HOST_CID) {
		d->stats.forged++;
		return false;
	}
	if (p->len != payload || p->op == VIRTIO_VSOCK_OP_INVALID || p->op > VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
		d->stats.bad_packets++;
		return false;
	}
	return true;
}

static void dispatch(struct device *d, const struct packet *p, const struct iovec *iov, unsigned n)
{
	struct connection *c;

	if (p->op == VIRTIO_VSOCK_OP_REQUEST) {
		if (!tsi_request(d, p)) {
			d->stats.refused++;
			stray_reset(d, p);
		}
		return;
	}
	c = connection_find(d, p->src_port, p->dst_port);
	if (!c || c->state == CONNECTION_WAITING || c->kind->type != p->type)
		stray_reset(d, p);
	else
		connection_packet(c, p, iov, n);
}

/* Deliver what was gathered, and give all its buffers back, in order. */
static void batch_flush(struct device *d, struct virtq *q)
{
	struct device_batch *b = &d->batch;

	if (b->connection && b->bytes && b->connection->state == CONNECTION_OPEN)
		b->connection->kind->push(b->connection, b->iov, b->n_iov, b->bytes, 0);
	for (unsigned i = 0; i < b->n; i++)
		virtq_push(q, &b->chain[i], 0);
	b->connection = NULL;
	b->n = b->n_iov = 0;
	b->bytes = 0;
}

/* Cut the header off the front of the entries; those emptied are left out. Returns their number. */
static unsigned skip_header(struct iovec *iov, unsigned n)
{
	size_t skip = PACKET_HEADER;
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t part = MIN(skip, iov[i].iov_len);

		skip -= part;
		if (part == iov[i].iov_len)
			continue;
		iov[kept++] = (struct iovec){ (uint8_t *)iov[i].iov_base + part, iov[i].iov_len - part };
	}
	return kept;
}

/* Keep payload of a stream for one write together with what follows. False: it is no such packet. */
static bool batch_add(struct device *d, struct virtq *q, const struct packet *p, const struct virtq_chain *chain, unsigned n)
{
	struct device_batch *b = &d->batch;
	struct connection *c = b->connection;

	if (p->op != VIRTIO_VSOCK_OP_RW || p->type != VIRTIO_VSOCK_TYPE_STREAM)
		return false;
	if (!c || c->guest_port != p->src_port || c->host_port != p->dst_port) {
		c = connection_find(d, p->src_port, p->dst_port);
		if (!c || c->state != CONNECTION_OPEN || c->kind->type != VIRTIO_VSOCK_TYPE_STREAM)
			return false;
		if (b->n_iov) {
			struct iovec *mine = chain->iov;

			batch_flush(d, q);
			memmove(b->iov, mine, n * sizeof(*mine));
		}
	}
	connection_take_credit(c, p);
	if (!connection_accept_payload(c, p->len)) {
		batch_flush(d, q);
		virtq_push(q, chain, 0);
		return true;
	}
	b->connection = c;
	b->chain[b->n++] = *chain;
	b->n_iov += n;
	b->bytes += p->len;
	return true;
}

/* One packet. False: nothing waits, or the queue is broken. */
static bool take_packet(struct device *d, struct virtq *q)
{
	struct device_batch *b = &d->batch;
	uint32_t size = d->vu.queue[DEVICE_QUEUE_TX].setup.size;
	uint8_t header[PACKET_HEADER];
	struct virtq_chain chain;
	struct packet p;
	unsigned n;

	if (b->n == ARRAY_SIZE(b->chain) || DEVICE_IOV - b->n_iov < (size <= 256 ? TX_ROOM : DEVICE_IOV))
		batch_flush(d, q);
	if (virtq_pop(q, &chain, b->iov + b->n_iov, DEVICE_IOV - b->n_iov) <= 0)
		return false;
	d->stats.packets_out++;
	if (virtq_chain_read(&chain, 0, header, sizeof(header)) != sizeof(header) || chain.n_in) {
		d->stats.bad_packets++;
		batch_flush(d, q);
		virtq_push(q, &chain, 0);
		return true;
	}
	packet_decode(&p, header);
	n = skip_header(chain.iov, chain.n_out);
	if (!packet_valid(d, &p, chain.out_bytes - PACKET_HEADER)) {
		batch_flush(d, q);
		virtq_push(q, &chain, 0);
		return true;
	}
	if (batch_add(d, q, &p, &chain, n))
		return true;
	batch_flush(d, q); /* our entries lie behind the batch's and stay where they are */
	dispatch(d, &p, chain.iov, n);
	virtq_push(q, &chain, 0);
	return true;
}

static void notify_tx(struct loop_timer *timer)
{
	struct device *d = container_of(timer, struct device, tx_timer);
	struct virtq *q = d->attached ? vhost_user_ring(&d->vu, DEVICE_QUEUE_TX) : NULL;

	if (q)
		virtq_notify(q);
}

/*
 * That its packets were taken interests the guest only when it runs out of entries, and frees some memory; each interrupt
 * costs it as much as a packet does. So they are gathered.
 */
static void notify_tx_lazily(struct device *d, struct virtq *q)
{
	if (virtq_unnotified(q) > q->size_mask / 4)
		virtq_notify(q);
	else if (virtq_unnotified(q) && d->tx_timer.at_ms == INT64_MAX)
		loop_timer_set(d->loop, &d->tx_timer, TX_NOTIFY_MS, notify_tx);
}

static void vu_kicked(struct vhost_user *vu, unsigned queue)
{
	struct device *d = container_of(vu, struct device, vu);
	struct virtq *q = vhost_user_ring(vu, DEVICE_QUEUE_TX);
	unsigned budget = TX_BUDGET;
	bool more = false;

	if (queue == DEVICE_QUEUE_RX) {
		d->starving = false;
		device_wake(d);
		return;
	}
	if (queue != DEVICE_QUEUE_TX || !q)
		return;
	do {
		virtq_kicks_off(q);
		while (budget && take_packet(d, q))
			budget--;
		batch_flush(d, q);
		virtq_publish(q);
		notify_tx_lazily(d, q);
		d->used[DEVICE_QUEUE_TX] = q->next_used;
		more = !budget;
	} while (!more && virtq_kicks_on(q));
	if (more)
		loop_defer(d->loop, &d->pump, pump);
	d->tx_waits = more;
}

/* ---- receive queue: host to guest ---- */

void device_wake(struct device *d)
{
	if (!d->starving)
		loop_defer(d->loop, &d->pump, pump);
}

static void put_header(struct device *d, const struct virtq_chain *chain, const struct packet *p)
{
	uint8_t header[PACKET_HEADER];

	packet_encode(p, header);
	virtq_chain_write(chain, 0, header, sizeof(header));
	d->stats.packets_in++;
}

static struct packet packet_for(struct connection *c, uint16_t op, uint32_t flags)
{
	c->told = c->forwarded;
	c->flags &= ~(uint32_t)WANT_CREDIT_UPDATE;
	return (struct packet){
		.src_cid = PACKET_HOST_CID,
		.dst_cid = c->device->guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.type = c->kind->type,
		.op = op,
		.flags = flags,
		.buf_alloc = c->room,
		.fwd_cnt = c->forwarded,
	};
}

/* One buffer, with room for a header and more. */
static int rx_pop(struct device *d, struct virtq *q, struct virtq_chain *chain, struct iovec *iov, unsigned room)
{
	int r = virtq_pop(q, chain, iov, room);

	if (r > 0 && chain->in_bytes <= PACKET_HEADER)
		r = virtq_break(q, -EPROTO);
	if (r <= 0)
		d->starving = true; /* for good, when the queue is broken */
	return r;
}

static bool send_packet(struct device *d, const struct packet *p)
{
	struct virtq *q = vhost_user_ring(&d->vu, DEVICE_QUEUE_RX);
	struct virtq_chain chain;

	if (!q || rx_pop(d, q, &chain, d->rx.iov, DEVICE_IOV) <= 0)
		return false;
	/* Readable entries of a receive buffer mean nothing; the writable ones come after them. */
	chain.iov += chain.n_out;
	chain.n_out = 0;
	put_header(d, &chain, p);
	virtq_push(q, &chain, PACKET_HEADER);
	return true;
}

bool rx_send(struct connection *c, uint16_t op, uint32_t flags)
{
	struct packet p = packet_for(c, op, flags);

	return send_packet(c->device, &p);
}

/* Where payload goes in this buffer, at most max bytes. */
static uint32_t add_payload(struct device_rx *rx, const struct virtq_chain *chain, uint32_t max)
{
	size_t skip = PACKET_HEADER;
	uint32_t bytes = 0;

	for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && bytes < max; i++) {
		size_t part = MIN(skip, chain->iov[i].iov_len), n = MIN(chain->iov[i].iov_len - part, (size_t)(max - bytes));

		skip -= part;
		if (!n)
			continue;
		rx->payload[rx->n_payload++] = (struct iovec){ (uint8_t *)chain->iov[i].iov_base + part, n };
		bytes += (uint32_t)n;
	}
	return bytes;
}

bool rx_take(struct device *d, unsigned chains, uint32_t max)
{
	struct virtq *q = vhost_user_ring(&d->vu, DEVICE_QUEUE_RX);
	struct device_rx *rx = &d->rx;

	rx->n = rx->n_iov = rx->n_payload = 0;
	rx->bytes = 0;
	if (!q)
		return false;
	chains = MIN(chains, DEVICE_RX_CHAINS);
	while (rx->n < chains && rx->bytes < max) {
		struct virtq_chain *chain = &rx->chain[rx->n];
		unsigned room = DEVICE_IOV - rx->n_iov;

		if (rx->n && room < TX_ROOM)
			break;
		if (rx_pop(d, q, chain, rx->iov + rx->n_iov, room) <= 0)
			break;
		rx->n++;
		rx->n_iov += chain->n_out + chain->n_in;
		rx->bytes += add_payload(rx, chain, max - rx->bytes);
	}
	if (rx->n && d->starving)
		d->starving = false; /* some is enough for this turn */
	return rx->n > 0;
}

void rx_put_back(struct device *d)
{
	struct virtq *q = vhost_user_ring(&d->vu, DEVICE_QUEUE_RX);

	if (q && d->rx.n)
		virtq_unpop(q, d->rx.n);
	d->rx.n = 0;
}

void rx_commit(struct connection *c, uint32_t bytes, bool end_of_message)
{
	struct device *d = c->device;
	struct device_rx *rx = &d->rx;
	struct virtq *q = vhost_user_ring(&d->vu, DEVICE_QUEUE_RX);
	struct packet p = packet_for(c, VIRTIO_VSOCK_OP_RW, 0);
	unsigned used = 0;

	c->sent += bytes;
	d->stats.bytes_in += bytes;
	if (c->kind->is_tsi)
		d->stats.net_in += bytes;
	while (q && used < rx->n && (bytes || (end_of_message && used == 0))) {
		struct virtq_chain chain = rx->chain[used++];

		chain.iov += chain.n_out;
		chain.n_out = 0;
		p.len = MIN(bytes, chain.in_bytes - PACKET_HEADER);
		bytes -= p.len;
		p.flags = end_of_message && !bytes ? PACKET_SEQ_EOM : 0;
		put_header(d, &chain, &p);
		virtq_push(q, &chain, PACKET_HEADER + p.len);
		c->packets++;
	}
	if (q && used < rx->n)
		virtq_unpop(q, rx->n - used);
	rx->n = 0;
}

uint32_t rx_send_queue(struct connection *c, uint32_t bytes, bool is_message)
{
	struct device *d = c->device;
	uint32_t done = 0;

	if (!rx_take(d, DEVICE_RX_CHAINS, MIN(bytes, c->out.bytes)))
		return 0;
	for (unsigned i = 0; i < d->rx.n_payload; i++) {
		const struct iovec *part = &d->rx.payload[i];

		done += (uint32_t)queue_copy(&d->pool, &c->out, done, part->iov_base, part->iov_len);
	}
	queue_drop(&d->pool, &c->out, done);
	rx_commit(c, done, is_message && done == bytes);
	return done;
}

static bool send_strays(struct device *d)
{
	while (d->n_strays) {
		if (!send_packet(d, &d->strays[d->first_stray]))
			return false;
		d->first_stray = (d->first_stray + 1) % DEVICE_STRAYS;
		d->n_strays--;
	}
	return true;
}

/* Messages first; what waited for them goes on. */
static bool serve_control(struct device *d)
{
	struct connection *c = d->tsi.control;

	if (c && (c->flags & IN_READY) && !connection_serve(c))
		return false;
	while ((c = TAILQ_FIRST(&d->parked)) && c->after <= d->tsi.sent) {
		TAILQ_REMOVE(&d->parked, c, entry);
		TAILQ_INSERT_TAIL(&d->ready, c, entry);
		c->flags = (c->flags & ~(uint32_t)IN_PARKED) | IN_READY;
	}
	return true;
}

/* True: there is no more to do, or no room to do it; false: the budget is spent. */
static bool serve_all(struct device *d, unsigned *budget)
{
	struct connection *c;

	/* A refusal says why ahead of the RST. */
	if (!serve_control(d) || !send_strays(d))
		return true;
	while ((c = TAILQ_FIRST(&d->ready))) {
		if (!*budget)
			return false;
		--*budget;
		if (!connection_serve(c) || !serve_control(d))
			return true;
	}
	return true;
}

static void pump(struct loop_deferred *deferred)
{
	struct device *d = container_of(deferred, struct device, pump);
	struct virtq *q;
	unsigned budget = PUMP_BUDGET;
	bool more = false;

	if (d->tx_waits)
		vu_kicked(&d->vu, DEVICE_QUEUE_TX);
	q = d->attached ? vhost_user_ring(&d->vu, DEVICE_QUEUE_RX) : NULL;
	if (!q)
		return;
	virtq_kicks_off(q);
	do {
		d->starving = false;
		more = !serve_all(d, &budget);
		virtq_flush(q);
		d->used[DEVICE_QUEUE_RX] = q->next_used;
	} while (!more && d->starving && virtq_kicks_on(q));
	if (more)
		loop_defer(d->loop, &d->pump, pump);
	if (d->vu.mem.lost) /* the library looks after its own callbacks only */
		vhost_user_disconnect(&d->vu, -EFAULT);
}
