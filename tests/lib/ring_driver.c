/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver's side of split rings and of vhost-user. Barriers mirror those of src/virtio/virtq.c.
 */
#include "ring_driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "virtio/vhost_user_protocol.h"

#define TABLE_SIZE 64u	 /* entries of an indirect table */
#define TIMEOUT_MS 10000 /* of one reply of the device */
#define BIT(n) (1ull << (n))

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Memory */

int driver_ram_init(struct driver_ram *ram, size_t size)
{
	_cleanup_close_ int fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *base;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	*ram = (struct driver_ram){ .fd = take_fd(&fd), .base = base, .size = size };
	return 0;
}

void driver_ram_deinit(struct driver_ram *ram)
{
	if (ram->base)
		munmap(ram->base, ram->size);
	ram->base = NULL;
	ram->fd = close_fd(ram->fd);
}

void *driver_ram_alloc(struct driver_ram *ram, size_t size, size_t alignment)
{
	size_t at = (ram->used + alignment - 1) & ~(alignment - 1);

	if (at > ram->size || size > ram->size - at)
		return NULL;
	ram->used = at + size;
	return ram->base + at;
}

static uint64_t ram_offset(const struct driver_ram *ram, const void *p)
{
	return (uint64_t)((const uint8_t *)p - ram->base);
}

uint64_t driver_ram_gpa(const struct driver_ram *ram, const void *p)
{
	return DRIVER_RAM_GPA + ram_offset(ram, p);
}

uint64_t driver_ram_user(const struct driver_ram *ram, const void *p)
{
	return DRIVER_RAM_USER + ram_offset(ram, p);
}

/* Rings */

int driver_ring_init(struct driver_ring *r, struct driver_ram *ram, uint16_t size, uint64_t features)
{
	*r = (struct driver_ring){ .ram = ram, .size = size, .n_free = size, .kick_fd = -1, .call_fd = -1 };
	r->event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
	r->indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	r->desc = driver_ram_alloc(ram, size * sizeof(*r->desc), 4096);
	r->avail = driver_ram_alloc(ram, sizeof(*r->avail) + (size + 1u) * sizeof(uint16_t), 64);
	r->used = driver_ram_alloc(ram, sizeof(*r->used) + size * sizeof(struct vring_used_elem) + sizeof(uint16_t), 4096);
	r->tables = calloc(size, sizeof(void *));
	r->tokens = calloc(size, sizeof(*r->tokens));
	if (!r->desc || !r->avail || !r->used || !r->tables || !r->tokens)
		return -ENOMEM;
	for (unsigned i = 0; i < size; i++)
		r->desc[i].next = (uint16_t)(i + 1);
	r->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return r->kick_fd < 0 || r->call_fd < 0 ? -errno : 0;
}

void driver_ring_deinit(struct driver_ring *r)
{
	free(take_ptr(r->tables));
	free(take_ptr(r->tokens));
	r->kick_fd = close_fd(r->kick_fd);
	r->call_fd = close_fd(r->call_fd);
}

uint16_t *driver_ring_used_event(struct driver_ring *r)
{
	return &r->avail->ring[r->size];
}

uint16_t *driver_ring_avail_event(struct driver_ring *r)
{
	return (uint16_t *)(void *)&r->used->ring[r->size];
}

static void fill_desc(struct driver_ring *r, struct vring_desc *d, const struct driver_buffer *b, bool writable, bool last)
{
	d->addr = driver_ram_gpa(r->ram, b->data);
	d->len = b->size;
	d->flags = (uint16_t)((writable ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT));
}

static uint16_t take_desc(struct driver_ring *r)
{
	uint16_t i = r->free;

	r->free = r->desc[i].next;
	r->n_free--;
	return i;
}

static int add_indirect(struct driver_ring *r, const struct driver_buffer *buffers, unsigned n_out, unsigned n_in)
{
	uint16_t head = take_desc(r);
	struct vring_desc *table = r->tables[head];

	if (!table)
		table = r->tables[head] = driver_ram_alloc(r->ram, TABLE_SIZE * sizeof(*table), 16);
	if (!table)
		return -ENOMEM;
	for (unsigned i = 0; i < n_out + n_in; i++) {
		fill_desc(r, &table[i], &buffers[i], i >= n_out, i + 1 == n_out + n_in);
		table[i].next = (uint16_t)(i + 1);
	}
	r->desc[head].addr = driver_ram_gpa(r->ram, table);
	r->desc[head].len = (uint32_t)((n_out + n_in) * sizeof(*table));
	r->desc[head].flags = VRING_DESC_F_INDIRECT;
	return head;
}

/* The free list is linked through `next`, so a chain that is taken from its front is linked already. */
static int add_direct(struct driver_ring *r, const struct driver_buffer *buffers, unsigned n_out, unsigned n_in)
{
	uint16_t head = r->free;

	for (unsigned i = 0; i < n_out + n_in; i++)
		fill_desc(r, &r->desc[take_desc(r)], &buffers[i], i >= n_out, i + 1 == n_out + n_in);
	return head;
}

int driver_ring_add(struct driver_ring *r, const struct driver_buffer *buffers, unsigned n_out, unsigned n_in, void *token)
{
	unsigned n = n_out + n_in;
	bool indirect = r->indirect && n > 1 && n <= TABLE_SIZE;
	int head;

	if (r->n_free < (indirect ? 1 : n))
		return -ENOSPC;
	head = indirect ? add_indirect(r, buffers, n_out, n_in) : add_direct(r, buffers, n_out, n_in);
	if (head < 0)
		return head;
	r->tokens[head] = token;
	r->avail->ring[r->avail_idx++ % r->size] = (uint16_t)head;
	return 0;
}

int driver_ring_put(struct driver_ring *r, void *out, uint32_t out_size, void *in, uint32_t in_size, void *token)
{
	struct driver_buffer buffers[2];
	unsigned n = 0;

	if (out)
		buffers[n++] = (struct driver_buffer){ out, out_size };
	if (in)
		buffers[n++] = (struct driver_buffer){ in, in_size };
	return driver_ring_add(r, buffers, out ? 1 : 0, in ? 1 : 0, token);
}

void driver_ring_publish(struct driver_ring *r)
{
	__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
}

bool driver_ring_kick(struct driver_ring *r)
{
	uint16_t old = r->kicked_idx;
	uint64_t one = 1;
	bool wanted;

	driver_ring_publish(r);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->kicked_idx = r->avail_idx;
	if (r->event_idx)
		wanted = vring_need_event(__atomic_load_n(driver_ring_avail_event(r), __ATOMIC_RELAXED), r->avail_idx, old);
	else
		wanted = !(__atomic_load_n(&r->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
	if (!wanted)
		return false;
	r->n_kicks++;
	(void)!write(r->kick_fd, &one, sizeof(one));
	return true;
}

static void free_chain(struct driver_ring *r, uint16_t head)
{
	uint16_t last = head, n = 1;

	while (r->desc[last].flags & VRING_DESC_F_NEXT && n < r->size) {
		last = r->desc[last].next;
		n++;
	}
	r->desc[last].next = r->free;
	r->free = head;
	r->n_free = (uint16_t)(r->n_free + n);
}

void *driver_ring_take(struct driver_ring *r, uint32_t *ret_written)
{
	struct vring_used_elem *elem;
	uint32_t head;

	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->used_idx)
		return NULL;
	elem = &r->used->ring[r->used_idx++ % r->size];
	head = elem->id % r->size;
	if (ret_written)
		*ret_written = elem->len;
	free_chain(r, (uint16_t)head);
	return take_ptr(r->tokens[head]);
}

bool driver_ring_arm(struct driver_ring *r)
{
	if (r->event_idx)
		__atomic_store_n(driver_ring_used_event(r), r->used_idx, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&r->avail->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) != r->used_idx;
}

static void wait_call(struct driver_ring *r, int64_t left)
{
	struct pollfd p = { .fd = r->call_fd, .events = POLLIN };
	uint64_t count;

	if (r->turn) {
		r->turn(r->context);
		return;
	}
	poll(&p, 1, (int)left);
	(void)!read(r->call_fd, &count, sizeof(count));
}

void *driver_ring_wait(struct driver_ring *r, uint32_t *ret_written, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		void *token = driver_ring_take(r, ret_written);
		int64_t left = deadline - now_ms();

		if (token || left <= 0)
			return token;
		if (!driver_ring_arm(r))
			wait_call(r, left);
	}
}

/* vhost-user */

int ring_driver_send(struct ring_driver *d, uint32_t request, uint32_t flags, const void *payload, size_t size, const int *fds,
		     size_t n_fds)
{
	uint8_t message[512];
	struct vhost_user_header header = { .request = request, .flags = VHOST_USER_VERSION | flags, .size = (uint32_t)size };
	ssize_t n;

	if (size > sizeof(message) - sizeof(header))
		return -EMSGSIZE;
	memcpy(message, &header, sizeof(header));
	if (size > 0)
		memcpy(message + sizeof(header), payload, size);
	n = io_send_fds(d->fd, message, sizeof(header) + size, fds, n_fds);
	return n < 0 ? (int)n : 0;
}

static int receive_full(struct ring_driver *d, void *data, size_t size)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;
	size_t got = 0;

	while (got < size) {
		struct pollfd p = { .fd = d->fd, .events = POLLIN };
		ssize_t n = recv(d->fd, (uint8_t *)data + got, size - got, MSG_DONTWAIT);

		if (n == 0)
			return -ENODATA;
		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		if (errno != EAGAIN)
			return -errno;
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		if (d->spec.turn)
			d->spec.turn(d->spec.context);
		else
			poll(&p, 1, TIMEOUT_MS);
	}
	return 0;
}

int ring_driver_receive(struct ring_driver *d, uint32_t request, void *payload, size_t size)
{
	struct vhost_user_header header;
	int r = receive_full(d, &header, sizeof(header));

	if (r < 0)
		return r;
	if (header.request != request || header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY) || header.size != size)
		return -EBADMSG;
	return receive_full(d, payload, size);
}

static int get_u64(struct ring_driver *d, uint32_t request, uint64_t *ret)
{
	int r = ring_driver_send(d, request, 0, NULL, 0, NULL, 0);

	return r < 0 ? r : ring_driver_receive(d, request, ret, sizeof(*ret));
}

static int set_u64(struct ring_driver *d, uint32_t request, uint64_t v, int fd)
{
	return ring_driver_send(d, request, 0, &v, sizeof(v), &fd, fd >= 0 ? 1 : 0);
}

static int set_state(struct ring_driver *d, uint32_t request, unsigned queue, uint32_t num)
{
	struct vhost_user_vring_state state = { .index = queue, .num = num };

	return ring_driver_send(d, request, 0, &state, sizeof(state), NULL, 0);
}

int ring_driver_sync(struct ring_driver *d)
{
	uint64_t features;

	return get_u64(d, VHOST_USER_GET_FEATURES, &features);
}

int ring_driver_negotiate(struct ring_driver *d)
{
	uint64_t offered, protocol;
	int r = get_u64(d, VHOST_USER_GET_FEATURES, &offered);

	if (r < 0)
		return r;
	d->features = offered & (d->spec.features | BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES));
	if (offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES)) {
		r = get_u64(d, VHOST_USER_GET_PROTOCOL_FEATURES, &protocol);
		if (r < 0)
			return r;
		d->protocol_features = protocol & (BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
						   BIT(VHOST_USER_PROTOCOL_F_CONFIG));
		r = set_u64(d, VHOST_USER_SET_PROTOCOL_FEATURES, d->protocol_features, -1);
	}
	if (r == 0)
		r = ring_driver_send(d, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
	return r < 0 ? r : set_u64(d, VHOST_USER_SET_FEATURES, d->features, -1);
}

int ring_driver_share_memory(struct ring_driver *d)
{
	struct vhost_user_memory table = { .n_regions = 1 };

	table.region[0] = (struct vhost_user_memory_region){ .gpa = DRIVER_RAM_GPA, .user = DRIVER_RAM_USER, .size = d->ram.size };
	return ring_driver_send(d, VHOST_USER_SET_MEM_TABLE, 0, &table,
				offsetof(struct vhost_user_memory, region) + sizeof(table.region[0]), &d->ram.fd, 1);
}

int ring_driver_start_queue(struct ring_driver *d, unsigned queue)
{
	struct driver_ring *r = &d->ring[queue];
	struct vhost_user_vring_addr addr = {
		.index = queue,
		.desc = driver_ram_user(&d->ram, r->desc),
		.avail = driver_ram_user(&d->ram, r->avail),
		.used = driver_ram_user(&d->ram, r->used),
	};
	int err = set_state(d, VHOST_USER_SET_VRING_NUM, queue, r->size);

	if (err == 0)
		err = set_state(d, VHOST_USER_SET_VRING_BASE, queue, r->used->idx);
	if (err == 0)
		err = ring_driver_send(d, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	if (err == 0)
		err = set_u64(d, VHOST_USER_SET_VRING_KICK, queue, r->kick_fd);
	if (err == 0)
		err = set_u64(d, VHOST_USER_SET_VRING_CALL, queue, r->call_fd);
	if (err == 0 && d->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		err = set_state(d, VHOST_USER_SET_VRING_ENABLE, queue, 1);
	return err;
}

int ring_driver_stop_queue(struct ring_driver *d, unsigned queue, uint32_t *ret_base)
{
	struct vhost_user_vring_state state;
	int r = set_state(d, VHOST_USER_GET_VRING_BASE, queue, 0);

	if (r == 0)
		r = ring_driver_receive(d, VHOST_USER_GET_VRING_BASE, &state, sizeof(state));
	if (r == 0 && ret_base)
		*ret_base = state.num;
	return r;
}

int ring_driver_get_config(struct ring_driver *d, void *data, uint32_t size)
{
	uint8_t message[sizeof(struct vhost_user_config) + 256] = { 0 };
	struct vhost_user_config config = { .size = size };
	int r;

	if (size > 256)
		return -EMSGSIZE;
	memcpy(message, &config, sizeof(config));
	r = ring_driver_send(d, VHOST_USER_GET_CONFIG, 0, message, sizeof(config) + size, NULL, 0);
	if (r == 0)
		r = ring_driver_receive(d, VHOST_USER_GET_CONFIG, message, sizeof(config) + size);
	if (r == 0)
		memcpy(data, message + sizeof(config), size);
	return r;
}

int ring_driver_open(struct ring_driver *d, int fd, const struct ring_driver_spec *spec)
{
	int r;

	*d = (struct ring_driver){ .spec = *spec, .fd = fd, .ram.fd = -1 };
	for (unsigned i = 0; i < DRIVER_RINGS_MAX; i++)
		d->ring[i].kick_fd = d->ring[i].call_fd = -1;
	if (spec->n_queues > DRIVER_RINGS_MAX)
		return -EINVAL;
	r = driver_ram_init(&d->ram, spec->ram_size ? spec->ram_size : 16u << 20);
	for (unsigned i = 0; r == 0 && i < spec->n_queues; i++) {
		r = driver_ring_init(&d->ring[i], &d->ram, spec->queue_size ? spec->queue_size : 128, spec->features);
		d->ring[i].turn = spec->turn;
		d->ring[i].context = spec->context;
	}
	return r;
}

/* What the rings may use is what was acknowledged, not what was wanted. */
static void rings_take_features(struct ring_driver *d)
{
	for (unsigned i = 0; i < d->spec.n_queues; i++) {
		d->ring[i].event_idx = d->features >> VIRTIO_RING_F_EVENT_IDX & 1;
		d->ring[i].indirect = d->features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	}
}

int ring_driver_connect(struct ring_driver *d, int fd, const struct ring_driver_spec *spec)
{
	int r = ring_driver_open(d, fd, spec);

	if (r == 0)
		r = ring_driver_negotiate(d);
	if (r == 0) {
		rings_take_features(d);
		r = ring_driver_share_memory(d);
	}
	for (unsigned i = 0; r == 0 && i < spec->n_queues; i++)
		r = ring_driver_start_queue(d, i);
	if (r == 0)
		r = ring_driver_sync(d);
	if (r < 0)
		ring_driver_disconnect(d);
	return r;
}

void ring_driver_disconnect(struct ring_driver *d)
{
	d->fd = close_fd(d->fd);
	for (unsigned i = 0; i < DRIVER_RINGS_MAX; i++)
		driver_ring_deinit(&d->ring[i]);
	driver_ram_deinit(&d->ram);
}
