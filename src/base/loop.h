/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One small event loop: level-triggered epoll, timers, signals, deferred calls. One loop, one thread.
 *
 * Sources are embedded in their owners and must be removed before the owner is freed. It is safe to remove any source,
 * the running one included, from inside a callback: events already fetched for it are not delivered. Free the *owner*
 * of a source through loop_defer() when other events of the same batch may still point at it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_io;
struct loop_timer;
struct loop_deferred;

/* `events` is what happened: EPOLLIN, EPOLLOUT, EPOLLRDHUP; EPOLLHUP and EPOLLERR always included. */
typedef void (*loop_io_fn)(struct loop_io *io, uint32_t events);
typedef void (*loop_timer_fn)(struct loop_timer *timer);
typedef void (*loop_deferred_fn)(struct loop_deferred *deferred);

/**
 * struct loop_io - interest in one fd
 * @fd:		borrowed; -1 when not registered
 * @events:	EPOLLIN | EPOLLOUT | EPOLLRDHUP that are waited for
 */
struct loop_io {
	struct loop *loop;
	int fd;
	uint32_t events;
	loop_io_fn fn;
	uint32_t slot;
};

/**
 * struct loop_timer - one shot
 * @at_ms:	loop_now_ms() value at which it fires; INT64_MAX when not set
 */
struct loop_timer {
	struct loop *loop;
	int64_t at_ms;
	loop_timer_fn fn;
	struct loop_timer *next;
};

struct loop_deferred {
	loop_deferred_fn fn;
	struct loop_deferred *next;
	bool queued;
};

#define LOOP_IO_NULL { .fd = -1 }
#define LOOP_TIMER_NULL { .at_ms = INT64_MAX }

/* Returns 0 and the loop, or a negative errno. */
int loop_new(struct loop **ret_loop);
/* NULL is fine; returns NULL. */
struct loop *loop_free(struct loop *loop);

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events, loop_io_fn fn);
/* Change what is waited for; no system call when nothing changes. */
int loop_io_set(struct loop_io *io, uint32_t events);
/* Fine on one that was never added. Call it before closing the fd. */
void loop_io_remove(struct loop_io *io);

/* (Re)arm; `after_ms` 0 fires in this turn of the loop. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t after_ms, loop_timer_fn fn);
void loop_timer_cancel(struct loop_timer *timer);

/* Call fn once after the present batch of events; queueing it twice calls it once. */
void loop_defer(struct loop *loop, struct loop_deferred *deferred, loop_deferred_fn fn);

/* CLOCK_MONOTONIC in ms, as of the start of this turn. */
int64_t loop_now_ms(struct loop *loop);
/* Run until loop_quit(); returns its code, or a negative errno. */
int loop_run(struct loop *loop);
/* One turn: wait at most timeout_ms (-1: until something happens), deliver. Returns 0 or a negative errno. */
int loop_turn(struct loop *loop, int timeout_ms);
void loop_quit(struct loop *loop, int code);

/* Replaces CLOCK_MONOTONIC and makes loop_turn() jump to the next timer instead of waiting: for scenario tests. */
void loop_use_fake_clock(struct loop *loop, int64_t start_ms);
void loop_fake_advance(struct loop *loop, int64_t ms);
