/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user back end.
 *
 * One message is in hand at a time: header, then payload, are gathered without blocking, and fds that come along are
 * held until the message is whole. Then the table says whether number of fds and size can be right, and the handler
 * runs. Handlers take the fds that they keep (the entry becomes -1); what is left is closed.
 *
 * A handler returns 0; a positive value for a request that is refused, which REPLY_ACK can tell and nothing else happens;
 * or a negative errno for one that no sane front end sends, which ends the connection.
 *
 * Handlers write down what the front end says and leave it to queue_update() to compare that with what runs. A queue's
 * parameters are never changed while it runs: it is stopped, changed, and started again.
 *
 * A callback may end the connection (fd becomes -1, queues stop, everything is closed), so whoever calls one looks at fd
 * before going on.
 */
#include "virtio/vhost_user.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "virtio/vhost_user_protocol.h"

#define REFUSED 1
#define MESSAGES_PER_TURN 32 /* then other sources of the loop have their turn */
#define REPLY_MAX (sizeof(struct vhost_user_config) + VHOST_USER_CONFIG_MAX)

#define BIT(n) (1ull << (n))
#define TRANSPORT_FEATURES \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VHOST_USER_F_PROTOCOL_FEATURES))
#define PROTOCOL_FEATURES \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_USER_PROTOCOL_F_CONFIG))

const int vhost_user_syscalls[] = {
	SYS_recvmsg, SYS_sendto, SYS_mmap,  SYS_munmap, SYS_madvise, SYS_fstat,	       SYS_newfstatat,
	SYS_fcntl,   SYS_read,	 SYS_write, SYS_close,	SYS_epoll_ctl, SYS_rt_sigreturn, SYS_rt_sigaction,
};
const unsigned vhost_user_n_syscalls = ARRAY_SIZE(vhost_user_syscalls);

/**
 * struct request - a whole message
 * @reply, @reply_size: filled by handlers of requests that have an answer of their own
 */
struct request {
	struct vhost_user_header header;
	const uint8_t *payload;
	uint8_t reply[REPLY_MAX];
	size_t reply_size;
};

/* Queues */

static void queue_stop(struct vhost_user_queue *q)
{
	struct vhost_user *vu = q->vu;

	if (!q->ring.started)
		return;
	loop_io_remove(&q->kick);
	virtq_stop(&q->ring);
	if (vu->ops->stopped)
		vu->ops->stopped(vu, (unsigned)(q - vu->queue));
}

/* A region that was lost under our hands was replaced by zeros: nothing that the device read since can be trusted. */
static void check_memory(struct vhost_user *vu)
{
	if (vu->fd >= 0 && vu->mem.lost)
		vhost_user_disconnect(vu, -EFAULT);
}

static void on_kick(struct loop_io *io, uint32_t events)
{
	struct vhost_user_queue *q = container_of(io, struct vhost_user_queue, kick);
	struct vhost_user *vu = q->vu;

	vu->ops->kicked(vu, (unsigned)(q - vu->queue));
	if (q->ring.broken)
		loop_io_remove(&q->kick); /* nothing that the driver says about it will help */
	check_memory(vu);
}

static int queue_start(struct vhost_user_queue *q)
{
	struct vhost_user *vu = q->vu;
	int r;

	q->setup.features = vu->features;
	q->setup.call_fd = q->call_fd;
	q->setup.err_fd = q->err_fd;
	r = virtq_start(&q->ring, &vu->mem, &q->setup);
	if (r < 0)
		return r;
	/* By edges: every kick is one, and the count need never be read. One from before comes at once. */
	r = loop_io_add(vu->loop, &q->kick, q->kick_fd, EPOLLIN | EPOLLET, on_kick);
	if (r < 0) {
		virtq_stop(&q->ring);
		return r;
	}
	if (vu->ops->started)
		vu->ops->started(vu, (unsigned)(q - vu->queue));
	check_memory(vu);
	return 0;
}

static bool queue_is_ready(const struct vhost_user_queue *q)
{
	const struct vhost_user *vu = q->vu;
	bool enabled = q->enabled || !(vu->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return vu->fd >= 0 && vu->mem.n_regions > 0 && q->setup.size > 0 && q->has_addresses && q->kick_fd >= 0 && enabled;
}

/* Make what runs agree with what the front end has said. */
static int queue_update(struct vhost_user_queue *q)
{
	bool ready = queue_is_ready(q);

	if (ready == q->ring.started)
		return 0;
	if (ready)
		return queue_start(q);
	queue_stop(q);
	return 0;
}

static int queues_update(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->ops->n_queues; i++) {
		int r = queue_update(&vu->queue[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static struct vhost_user_queue *queue_get(struct vhost_user *vu, uint64_t index)
{
	return index < vu->ops->n_queues ? &vu->queue[index] : NULL;
}

/* The queue that a vring message is about, stopped so that it can be changed. NULL: no such queue, or no more. */
static struct vhost_user_queue *queue_for_change(struct vhost_user *vu, uint64_t index)
{
	struct vhost_user_queue *q = queue_get(vu, index);

	if (q)
		queue_stop(q);
	return vu->fd >= 0 ? q : NULL;
}

static void queue_close(struct vhost_user_queue *q)
{
	queue_stop(q);
	q->kick_fd = close_fd(q->kick_fd);
	q->call_fd = close_fd(q->call_fd);
	q->err_fd = close_fd(q->err_fd);
}

/* Handlers */

static uint64_t payload_u64(const struct request *request)
{
	uint64_t v;

	memcpy(&v, request->payload, sizeof(v));
	return v;
}

static struct vhost_user_vring_state payload_state(const struct request *request)
{
	struct vhost_user_vring_state state;

	memcpy(&state, request->payload, sizeof(state));
	return state;
}

static int reply_u64(struct request *request, uint64_t v)
{
	memcpy(request->reply, &v, sizeof(v));
	request->reply_size = sizeof(v);
	return 0;
}

static uint64_t offered(const struct vhost_user *vu)
{
	return vu->ops->features | TRANSPORT_FEATURES;
}

static int get_features(struct vhost_user *vu, struct request *request)
{
	return reply_u64(request, offered(vu));
}

static int set_features(struct vhost_user *vu, struct request *request)
{
	uint64_t features = payload_u64(request);

	if (features & ~offered(vu))
		return -EPROTO;
	vu->features = features;
	return queues_update(vu);
}

static int get_protocol_features(struct vhost_user *vu, struct request *request)
{
	return reply_u64(request, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_user *vu, struct request *request)
{
	uint64_t features = payload_u64(request);

	if (features & ~PROTOCOL_FEATURES)
		return -EPROTO;
	vu->protocol_features = features;
	return 0;
}

static int get_queue_num(struct vhost_user *vu, struct request *request)
{
	return reply_u64(request, vu->ops->n_queues);
}

static int set_owner(struct vhost_user *vu, struct request *request)
{
	return 0;
}

static int reset_owner(struct vhost_user *vu, struct request *request)
{
	for (unsigned i = 0; i < vu->ops->n_queues; i++)
		vu->queue[i].enabled = false;
	return queues_update(vu);
}

static int set_mem_table(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_memory table = { .n_regions = 0 };
	struct gmem_share shares[GMEM_REGIONS_MAX];
	int r;

	memcpy(&table, request->payload, MIN(request->header.size, sizeof(table)));
	if (table.n_regions != vu->n_fds || table.n_regions > GMEM_REGIONS_MAX ||
	    request->header.size < offsetof(struct vhost_user_memory, region) + table.n_regions * sizeof(table.region[0]))
		return -EPROTO;
	for (unsigned i = 0; i < table.n_regions; i++) {
		shares[i] = (struct gmem_share){
			.gpa = table.region[i].gpa,
			.user = table.region[i].user,
			.size = table.region[i].size,
			.offset = table.region[i].mmap_offset,
			.fd = vu->fds[i],
		};
	}
	for (unsigned i = 0; i < vu->ops->n_queues; i++)
		queue_stop(&vu->queue[i]);
	if (vu->fd < 0)
		return 0;
	r = gmem_set(&vu->mem, shares, table.n_regions);
	return r < 0 ? r : queues_update(vu);
}

static int set_vring_num(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_vring_state state = payload_state(request);
	struct vhost_user_queue *q = queue_for_change(vu, state.index);

	if (!q || state.num == 0 || state.num > VIRTQ_SIZE_MAX || (state.num & (state.num - 1)) != 0)
		return -EPROTO;
	q->setup.size = state.num;
	return queue_update(q);
}

static int set_vring_addr(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_vring_addr addr;
	struct vhost_user_queue *q;

	memcpy(&addr, request->payload, sizeof(addr));
	q = queue_for_change(vu, addr.index);
	if (!q)
		return -EPROTO;
	q->setup.desc = addr.desc;
	q->setup.avail = addr.avail;
	q->setup.used = addr.used;
	q->has_addresses = true;
	return queue_update(q);
}

/* The used index in memory says where to go on (virtq.h); a front end's base says the same, or it is mistaken. */
static int set_vring_base(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_vring_state state = payload_state(request);

	return queue_get(vu, state.index) && state.num <= UINT16_MAX ? 0 : -EPROTO;
}

/* Also how a queue is told to stop. Where it never ran, nothing was used. */
static int get_vring_base(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_vring_state state = payload_state(request);
	struct vhost_user_queue *q = queue_get(vu, state.index);

	if (!q)
		return -EPROTO;
	state.num = q->ring.started ? q->ring.published : 0;
	queue_close(q);
	memcpy(request->reply, &state, sizeof(state));
	request->reply_size = sizeof(state);
	return 0;
}

/*
 * The fd of a KICK, CALL or ERR message into *ret_fd (-1: none). It must be an anonymous inode, as eventfds are: writing
 * to a pipe, socket or file of the front end's choice could do more than count. It is made non-blocking, as QEMU's are
 * already: a full counter must not stop us.
 */
static int take_eventfd(struct vhost_user *vu, const struct request *request, int *ret_fd)
{
	bool none = payload_u64(request) & VHOST_USER_VRING_NO_FD;
	struct stat st;

	*ret_fd = -1;
	if (payload_u64(request) & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NO_FD) || vu->n_fds != (none ? 0 : 1))
		return -EPROTO;
	if (none)
		return 0;
	if (fstat(vu->fds[0], &st) < 0 || (st.st_mode & S_IFMT) != 0)
		return -EPROTO;
	*ret_fd = take_fd(&vu->fds[0]);
	return io_set_nonblock(*ret_fd, true);
}

static int set_vring_kick(struct vhost_user *vu, struct request *request)
{
	_cleanup_close_ int fd = -1;
	struct vhost_user_queue *q;
	int r = take_eventfd(vu, request, &fd);

	if (r < 0)
		return r;
	if (fd < 0)
		return -EOPNOTSUPP; /* a front end that wants to be polled would burn a CPU of the host's */
	q = queue_for_change(vu, payload_u64(request) & VHOST_USER_VRING_INDEX_MASK);
	if (!q)
		return -EPROTO;
	close_fd(q->kick_fd);
	q->kick_fd = take_fd(&fd);
	return queue_update(q);
}

static int set_vring_call(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_queue *q = queue_get(vu, payload_u64(request) & VHOST_USER_VRING_INDEX_MASK);
	_cleanup_close_ int fd = -1;
	int r = take_eventfd(vu, request, &fd);

	if (r < 0)
		return r;
	if (!q)
		return -EPROTO;
	close_fd(q->call_fd);
	q->call_fd = take_fd(&fd);
	if (q->ring.started)
		virtq_set_call(&q->ring, q->call_fd);
	return 0;
}

static int set_vring_err(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_queue *q = queue_get(vu, payload_u64(request) & VHOST_USER_VRING_INDEX_MASK);
	_cleanup_close_ int fd = -1;
	int r = take_eventfd(vu, request, &fd);

	if (r < 0)
		return r;
	if (!q)
		return -EPROTO;
	close_fd(q->err_fd);
	q->err_fd = take_fd(&fd);
	q->ring.err_fd = q->err_fd;
	return 0;
}

static int set_vring_enable(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_vring_state state = payload_state(request);
	struct vhost_user_queue *q = queue_get(vu, state.index);

	if (!q || state.num > 1)
		return -EPROTO;
	q->enabled = state.num;
	return queue_update(q);
}

/* The reply has the size asked for; what lies beyond the device's configuration is zero. */
static int get_config(struct vhost_user *vu, struct request *request)
{
	struct vhost_user_config config;

	memcpy(&config, request->payload, sizeof(config));
	if (config.size > VHOST_USER_CONFIG_MAX || config.offset > VHOST_USER_CONFIG_MAX - config.size ||
	    request->header.size != sizeof(config) + config.size)
		return -EPROTO;
	memcpy(request->reply, &config, sizeof(config));
	memset(request->reply + sizeof(config), 0, config.size);
	if (config.offset < vu->config_size)
		memcpy(request->reply + sizeof(config), vu->config + config.offset, MIN(config.size, vu->config_size - config.offset));
	request->reply_size = sizeof(config) + config.size;
	return 0;
}

static int set_config(struct vhost_user *vu, struct request *request)
{
	return REFUSED; /* nothing in the devices that we have can be written */
}

/**
 * struct handler - what a request must look like, and who serves it
 * @min_size, @max_size: of the payload, bytes
 * @replies:	has an answer of its own, so REPLY_ACK adds none
 */
static const struct handler {
	int (*fn)(struct vhost_user *vu, struct request *request);
	const char *name;
	uint16_t min_size, max_size;
	uint8_t max_fds;
	bool replies;
} handlers[VHOST_USER_REQUEST_MAX + 1] = {
#define U64 sizeof(uint64_t), sizeof(uint64_t)
#define STATE sizeof(struct vhost_user_vring_state), sizeof(struct vhost_user_vring_state)
#define ADDR sizeof(struct vhost_user_vring_addr), sizeof(struct vhost_user_vring_addr)
#define MEMORY offsetof(struct vhost_user_memory, region), sizeof(struct vhost_user_memory)
#define CONFIG sizeof(struct vhost_user_config), REPLY_MAX
	[VHOST_USER_GET_FEATURES] = { get_features, "GET_FEATURES", 0, 0, 0, true },
	[VHOST_USER_SET_FEATURES] = { set_features, "SET_FEATURES", U64, 0, false },
	[VHOST_USER_SET_OWNER] = { set_owner, "SET_OWNER", 0, 0, 0, false },
	[VHOST_USER_RESET_OWNER] = { reset_owner, "RESET_OWNER", 0, 0, 0, false },
	[VHOST_USER_SET_MEM_TABLE] = { set_mem_table, "SET_MEM_TABLE", MEMORY, GMEM_REGIONS_MAX, false },
	[VHOST_USER_SET_VRING_NUM] = { set_vring_num, "SET_VRING_NUM", STATE, 0, false },
	[VHOST_USER_SET_VRING_ADDR] = { set_vring_addr, "SET_VRING_ADDR", ADDR, 0, false },
	[VHOST_USER_SET_VRING_BASE] = { set_vring_base, "SET_VRING_BASE", STATE, 0, false },
	[VHOST_USER_GET_VRING_BASE] = { get_vring_base, "GET_VRING_BASE", STATE, 0, true },
	[VHOST_USER_SET_VRING_KICK] = { set_vring_kick, "SET_VRING_KICK", U64, 1, false },
	[VHOST_USER_SET_VRING_CALL] = { set_vring_call, "SET_VRING_CALL", U64, 1, false },
	[VHOST_USER_SET_VRING_ERR] = { set_vring_err, "SET_VRING_ERR", U64, 1, false },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { get_protocol_features, "GET_PROTOCOL_FEATURES", 0, 0, 0, true },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { set_protocol_features, "SET_PROTOCOL_FEATURES", U64, 0, false },
	[VHOST_USER_GET_QUEUE_NUM] = { get_queue_num, "GET_QUEUE_NUM", 0, 0, 0, true },
	[VHOST_USER_SET_VRING_ENABLE] = { set_vring_enable, "SET_VRING_ENABLE", STATE, 0, false },
	[VHOST_USER_GET_CONFIG] = { get_config, "GET_CONFIG", CONFIG, 0, true },
	[VHOST_USER_SET_CONFIG] = { set_config, "SET_CONFIG", CONFIG, 0, false },
#undef U64
#undef STATE
#undef ADDR
#undef MEMORY
#undef CONFIG
};

/* The connection */

/* At most one reply is on its way, so a full socket means a front end that does not read. */
static int send_reply(struct vhost_user *vu, const struct request *request, const void *payload, size_t size)
{
	uint8_t message[sizeof(struct vhost_user_header) + REPLY_MAX];
	struct vhost_user_header header = {
		.request = request->header.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = (uint32_t)size,
	};
	ssize_t n;

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), payload, size);
	size += sizeof(header);
	n = send(vu->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EPIPE;
}

static int send_ack(struct vhost_user *vu, const struct request *request, int result)
{
	uint64_t failed = result != 0;

	if (!(request->header.flags & VHOST_USER_NEED_REPLY) ||
	    !(vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)))
		return 0;
	return send_reply(vu, request, &failed, sizeof(failed));
}

static struct vhost_user_header message_header(const struct vhost_user *vu)
{
	struct vhost_user_header header;

	memcpy(&header, vu->message, sizeof(header));
	return header;
}

static const struct handler *find_handler(const struct vhost_user_header *header)
{
	const struct handler *h;

	if (header->request > VHOST_USER_REQUEST_MAX)
		return NULL;
	h = &handlers[header->request];
	if (!h->fn || (header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION || header->flags & VHOST_USER_REPLY)
		return NULL;
	return header->size >= h->min_size && header->size <= h->max_size ? h : NULL;
}

/* Returns 0, or a negative errno that ends the connection. */
static int serve_message(struct vhost_user *vu)
{
	struct request request = { .header = message_header(vu), .payload = vu->message + sizeof(struct vhost_user_header) };
	const struct handler *h = find_handler(&request.header);
	int r, sent = 0;

	if (!h || vu->n_fds > h->max_fds)
		return -EPROTO;
	r = h->fn(vu, &request);
	if (r < 0)
		log_peer(LOG_LEVEL_DEBUG, "vhost-user: %s failed: %s", h->name, strerror(-r));
	if (vu->fd < 0)
		return 0;
	if (!h->replies)
		sent = send_ack(vu, &request, r);
	else if (r == 0)
		sent = send_reply(vu, &request, request.reply, request.reply_size);
	return r < 0 ? r : sent;
}

static void drop_message(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->n_fds; i++)
		close_fd(vu->fds[i]);
	vu->n_fds = 0;
	vu->received = 0;
}

/* Bytes that the message in hand still lacks; 0 when it is whole, a negative errno when it can be none. */
static ssize_t message_lacks(const struct vhost_user *vu)
{
	struct vhost_user_header header;

	if (vu->received < sizeof(header))
		return (ssize_t)(sizeof(header) - vu->received);
	header = message_header(vu);
	if (!find_handler(&header))
		return -EPROTO;
	return (ssize_t)(sizeof(header) + header.size - vu->received);
}

/* Gather the message. 1: whole; -EAGAIN: later; -ENODATA: the front end hung up; or another negative errno. */
static int receive(struct vhost_user *vu)
{
	for (;;) {
		size_t n_fds = ARRAY_SIZE(vu->fds) - vu->n_fds;
		ssize_t n = message_lacks(vu);

		if (n <= 0)
			return n == 0 ? 1 : (int)n;
		n = io_recv_fds(vu->fd, vu->message + vu->received, (size_t)n, vu->fds + vu->n_fds, &n_fds);
		if (n <= 0)
			return n == 0 ? (vu->received > 0 ? -EPROTO : -ENODATA) : (int)n;
		vu->n_fds += (unsigned)n_fds;
		vu->received += (size_t)n;
	}
}

static void on_message(struct loop_io *io, uint32_t events)
{
	struct vhost_user *vu = container_of(io, struct vhost_user, io);

	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		int r = receive(vu);

		if (r == -EAGAIN)
			return;
		if (r > 0)
			r = serve_message(vu);
		if (vu->fd < 0)
			return;
		if (r < 0) {
			vhost_user_disconnect(vu, r == -ENODATA || r == -ECONNRESET ? 0 : r);
			return;
		}
		drop_message(vu);
	}
}

int vhost_user_init(struct vhost_user *vu, struct loop *loop, int fd, const struct vhost_user_ops *ops)
{
	int r;

	if (ops->n_queues > VHOST_USER_QUEUES_MAX || vu->config_size > VHOST_USER_CONFIG_MAX) {
		vu->fd = close_fd(fd);
		return -EINVAL;
	}
	vu->ops = ops;
	vu->loop = loop;
	vu->io = (struct loop_io)LOOP_IO_NULL;
	vu->fd = fd;
	vu->features = vu->protocol_features = 0;
	vu->mem = (struct gmem)GMEM_NULL;
	vu->received = 0;
	vu->n_fds = 0;
	for (unsigned i = 0; i < VHOST_USER_QUEUES_MAX; i++) {
		vu->queue[i] = (struct vhost_user_queue){
			.ring = VIRTQ_NULL, .vu = vu, .kick = LOOP_IO_NULL, .kick_fd = -1, .call_fd = -1, .err_fd = -1,
		};
	}
	r = io_set_nonblock(fd, true);
	if (r == 0)
		r = loop_io_add(loop, &vu->io, fd, EPOLLIN, on_message);
	if (r < 0)
		vu->fd = close_fd(fd);
	return r;
}

void vhost_user_deinit(struct vhost_user *vu)
{
	if (vu->fd < 0)
		return;
	loop_io_remove(&vu->io);
	vu->fd = close_fd(vu->fd);
	for (unsigned i = 0; i < vu->ops->n_queues; i++)
		queue_close(&vu->queue[i]);
	drop_message(vu);
	gmem_deinit(&vu->mem);
}

void vhost_user_disconnect(struct vhost_user *vu, int error)
{
	if (vu->fd < 0)
		return;
	vhost_user_deinit(vu);
	vu->ops->disconnected(vu, error);
}

struct virtq *vhost_user_ring(struct vhost_user *vu, unsigned queue)
{
	return queue < vu->ops->n_queues && vu->queue[queue].ring.started ? &vu->queue[queue].ring : NULL;
}
