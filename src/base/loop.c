/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop.
 *
 * epoll's data names a slot and the generation it had when it was filled (32 bits each), never a pointer: an event fetched for a source
 * that was removed, or removed and its slot used again, within the same batch finds another generation and is dropped.
 * Timers are a list sorted by deadline: programs here have a handful. One that needs a timer per connection keeps its own
 * wheel behind one loop timer.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"

#define BATCH 64
#define SLOT_NONE UINT32_MAX

struct slot {
	struct loop_io *io; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct loop {
	int epoll_fd;
	struct slot *slots;
	uint32_t n_slots, free_slot;
	struct loop_timer *timers;
	struct loop_deferred *deferred;
	int64_t now_ms;
	bool fake_clock, quitting;
	int code;
};

static void update_now(struct loop *loop)
{
	if (!loop->fake_clock)
		loop->now_ms = clock_now_ms();
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int r = -errno;

		free(loop);
		return r;
	}
	loop->free_slot = SLOT_NONE;
	update_now(loop);
	*ret_loop = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	close(loop->epoll_fd);
	free(loop->slots);
	free(loop);
	return NULL;
}

static int slots_grow(struct loop *loop)
{
	uint32_t n = loop->n_slots ? loop->n_slots * 2 : 16;
	struct slot *slots = realloc(loop->slots, n * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = loop->n_slots; i < n; i++)
		slots[i] = (struct slot){ .next_free = i + 1 < n ? i + 1 : SLOT_NONE };
	loop->free_slot = loop->n_slots;
	loop->slots = slots;
	loop->n_slots = n;
	return 0;
}

static uint64_t slot_key(const struct loop *loop, uint32_t slot)
{
	return (uint64_t)loop->slots[slot].generation << 32 | slot;
}

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events, loop_io_fn fn)
{
	struct epoll_event event = { .events = events };
	uint32_t slot;
	int r;

	if (loop->free_slot == SLOT_NONE) {
		r = slots_grow(loop);
		if (r < 0)
			return r;
	}
	slot = loop->free_slot;
	event.data.u64 = slot_key(loop, slot);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	loop->free_slot = loop->slots[slot].next_free;
	loop->slots[slot].io = io;
	*io = (struct loop_io){ .loop = loop, .fd = fd, .events = events, .fn = fn, .slot = slot };
	return 0;
}

int loop_io_set(struct loop_io *io, uint32_t events)
{
	struct epoll_event event = { .events = events };

	if (io->events == events)
		return 0;
	event.data.u64 = slot_key(io->loop, io->slot);
	if (epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_io_remove(struct loop_io *io)
{
	struct loop *loop = io->loop;
	struct slot *slot;

	if (!loop || io->fd < 0)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL); /* fails only when the fd was closed too early */
	slot = &loop->slots[io->slot];
	slot->io = NULL;
	slot->generation++;
	slot->next_free = loop->free_slot;
	loop->free_slot = io->slot;
	io->fd = -1;
	io->loop = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t after_ms, loop_timer_fn fn)
{
	struct loop_timer **at = &loop->timers;

	loop_timer_cancel(timer);
	update_now(loop);
	timer->loop = loop;
	timer->fn = fn;
	timer->at_ms = loop->now_ms + after_ms;
	while (*at && (*at)->at_ms <= timer->at_ms)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

void loop_timer_cancel(struct loop_timer *timer)
{
	if (!timer->loop)
		return;
	for (struct loop_timer **at = &timer->loop->timers; *at; at = &(*at)->next) {
		if (*at != timer)
			continue;
		*at = timer->next;
		break;
	}
	timer->loop = NULL;
	timer->next = NULL;
	timer->at_ms = INT64_MAX;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred, loop_deferred_fn fn)
{
	if (deferred->queued)
		return;
	*deferred = (struct loop_deferred){ .fn = fn, .next = loop->deferred, .queued = true };
	loop->deferred = deferred;
}

static void run_deferred(struct loop *loop)
{
	struct loop_deferred *list = loop->deferred;

	loop->deferred = NULL;
	while (list) {
		struct loop_deferred *deferred = list;

		list = deferred->next;
		deferred->queued = false;
		deferred->fn(deferred);
	}
}

/* Only those due at the start: a timer that sets itself to 0 again waits for the next turn. */
static void run_timers(struct loop *loop)
{
	int64_t due = loop->now_ms;

	for (unsigned n = 0; loop->timers && loop->timers->at_ms <= due && n < 1024; n++) {
		struct loop_timer *timer = loop->timers;

		loop->timers = timer->next;
		timer->loop = NULL;
		timer->next = NULL;
		timer->at_ms = INT64_MAX;
		timer->fn(timer);
	}
}

static void deliver(struct loop *loop, const struct epoll_event *event)
{
	uint32_t index = (uint32_t)event->data.u64, generation = (uint32_t)(event->data.u64 >> 32);
	struct slot *slot = &loop->slots[index];

	if (slot->io && slot->generation == generation)
		slot->io->fn(slot->io, event->events);
}

static int turn_timeout(struct loop *loop, int timeout_ms)
{
	int64_t until;

	if (loop->deferred)
		return 0;
	if (!loop->timers || loop->fake_clock)
		return loop->fake_clock ? 0 : timeout_ms;
	until = loop->timers->at_ms - loop->now_ms;
	if (until < 0)
		until = 0;
	if (timeout_ms >= 0 && timeout_ms < until)
		return timeout_ms;
	return (int)MIN(until, INT32_MAX);
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[BATCH];
	int n;

	update_now(loop);
	n = epoll_wait(loop->epoll_fd, events, BATCH, turn_timeout(loop, timeout_ms));
	if (n < 0 && errno != EINTR)
		return -errno;
	update_now(loop);
	if (n == 0 && loop->fake_clock && loop->timers && timeout_ms != 0)
		loop->now_ms = MAX(loop->now_ms, loop->timers->at_ms);
	for (int i = 0; i < n; i++)
		deliver(loop, &events[i]);
	run_timers(loop);
	run_deferred(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->quitting = false;
	while (!loop->quitting) {
		int r = loop_turn(loop, -1);

		if (r < 0)
			return r;
	}
	return loop->code;
}

void loop_quit(struct loop *loop, int code)
{
	loop->quitting = true;
	loop->code = code;
}

int64_t loop_now_ms(struct loop *loop)
{
	return loop->now_ms;
}

void loop_use_fake_clock(struct loop *loop, int64_t start_ms)
{
	loop->fake_clock = true;
	loop->now_ms = start_ms;
}

void loop_fake_advance(struct loop *loop, int64_t ms)
{
	loop->now_ms += ms;
}
