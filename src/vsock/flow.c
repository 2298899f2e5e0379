/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock/flow.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/own.h"

void flow_table_init(struct flow_table *t, struct loop *loop, uint32_t size, int64_t idle_ms)
{
	*t = (struct flow_table){
		.loop = loop,
		.size = size,
		.idle_ms = idle_ms,
		.timer = LOOP_TIMER_NULL,
	};
	TAILQ_INIT(&t->order);
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) < 0)
		t->seed = (uint32_t)loop_now_ms(loop);
}

uint32_t flow_hash(const struct flow_table *t, uint16_t guest_port, const struct tsi_address *name)
{
	uint64_t h = t->seed, part[2];

	memcpy(part, name->bytes, sizeof(part));
	h = (h ^ guest_port) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32 ^ name->port) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32 ^ part[0]) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32 ^ part[1]) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static struct flow **bucket(struct flow_table *t, uint16_t guest_port, const struct tsi_address *name)
{
	return &t->hash[flow_hash(t, guest_port, name) & t->mask];
}

struct flow *flow_find(struct flow_table *t, uint16_t guest_port, const struct tsi_address *name)
{
	struct flow *f = t->n ? *bucket(t, guest_port, name) : NULL;

	while (f && (f->guest_port != guest_port || f->name.family != name->family || f->name.port != name->port ||
		     memcmp(f->name.bytes, name->bytes, sizeof(name->bytes)) != 0))
		f = f->hash_next;
	return f;
}

static void flow_end(struct flow_table *t, struct flow *f)
{
	struct flow **at = bucket(t, f->guest_port, &f->name);

	while (*at != f)
		at = &(*at)->hash_next;
	*at = f->hash_next;
	TAILQ_REMOVE(&t->order, f, entry);
	t->n--;
	free(f);
}

static void expire(struct loop_timer *timer)
{
	struct flow_table *t = container_of(timer, struct flow_table, timer);
	int64_t now = loop_now_ms(t->loop);
	struct flow *f;

	while ((f = TAILQ_FIRST(&t->order)) && now - f->active_ms >= t->idle_ms)
		flow_end(t, f);
	if (f)
		loop_timer_set(t->loop, timer, f->active_ms + t->idle_ms - now, expire);
}

static bool make_hash(struct flow_table *t)
{
	uint32_t n = 64;

	while (n < t->size)
		n *= 2;
	t->hash = calloc(n, sizeof(struct flow *));
	t->mask = n - 1;
	return t->hash;
}

struct flow *flow_add(struct flow_table *t, uint16_t guest_port, const struct tsi_address *name)
{
	struct flow *f, **at;

	if (!t->hash && !make_hash(t))
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	if (t->n && t->n >= t->size) {
		flow_end(t, TAILQ_FIRST(&t->order));
		t->evicted++;
	}
	f->guest_port = guest_port;
	f->name = *name;
	f->active_ms = loop_now_ms(t->loop);
	at = bucket(t, guest_port, name);
	f->hash_next = *at;
	*at = f;
	TAILQ_INSERT_TAIL(&t->order, f, entry);
	t->n++;
	if (!t->timer.loop)
		loop_timer_set(t->loop, &t->timer, t->idle_ms, expire);
	return f;
}

void flow_touch(struct flow_table *t, struct flow *f)
{
	f->active_ms = loop_now_ms(t->loop);
	TAILQ_REMOVE(&t->order, f, entry);
	TAILQ_INSERT_TAIL(&t->order, f, entry);
}

void flow_forget(struct flow_table *t, const struct udp_socket *via)
{
	struct flow *next;

	for (struct flow *f = TAILQ_FIRST(&t->order); f; f = next) {
		next = TAILQ_NEXT(f, entry);
		if (f->via == via)
			flow_end(t, f);
	}
}

void flow_table_clear(struct flow_table *t)
{
	struct flow *f;

	while ((f = TAILQ_FIRST(&t->order)))
		flow_end(t, f);
	loop_timer_cancel(&t->timer);
	free(t->hash);
	t->hash = NULL;
}
