/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/unit.h"

#include "base/loop.h"
#include "base/own.h"

struct pipe_source {
	struct loop_io io;
	int ends[2];
	unsigned calls;
	struct pipe_source *victim; /* removed from inside the callback */
};

static void on_readable(struct loop_io *io, uint32_t events)
{
	struct pipe_source *source = container_of(io, struct pipe_source, io);

	source->calls++;
	if (source->victim)
		loop_io_remove(&source->victim->io);
	loop_io_remove(io);
}

static void source_open(struct loop *loop, struct pipe_source *source)
{
	assert_int_equal(pipe2(source->ends, O_CLOEXEC), 0);
	assert_int_equal(loop_io_add(loop, &source->io, source->ends[0], EPOLLIN, on_readable), 0);
	assert_int_equal(write(source->ends[1], "x", 1), 1);
}

static void source_close(struct pipe_source *source)
{
	close(source->ends[0]);
	close(source->ends[1]);
}

static void removed_sources_hear_nothing_of_the_same_batch(void **state)
{
	struct pipe_source a = { 0 }, b = { 0 };
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	source_open(loop, &a);
	source_open(loop, &b);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(a.calls + b.calls, 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	assert_int_equal(a.calls + b.calls, 1);
	loop_free(loop);
	source_close(&a);
	source_close(&b);
}

struct ticking {
	struct loop_timer timer;
	int64_t fired_at[4];
	unsigned n;
};

static void on_tick(struct loop_timer *timer)
{
	struct ticking *t = container_of(timer, struct ticking, timer);
	struct loop *loop = *(struct loop **)(void *)(t + 1);

	t->fired_at[t->n++] = loop_now_ms(loop);
	if (t->n < 3)
		loop_timer_set(loop, timer, 100, on_tick);
}

static void timers_follow_the_fake_clock(void **state)
{
	struct {
		struct ticking t;
		struct loop *loop;
	} s = { 0 };

	assert_int_equal(loop_new(&s.loop), 0);
	loop_use_fake_clock(s.loop, 1000);
	loop_timer_set(s.loop, &s.t.timer, 50, on_tick);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(s.loop, -1), 0);
	assert_int_equal(s.t.n, 3);
	assert_int_equal(s.t.fired_at[0], 1050);
	assert_int_equal(s.t.fired_at[1], 1150);
	assert_int_equal(s.t.fired_at[2], 1250);
	loop_timer_set(s.loop, &s.t.timer, 10, on_tick);
	loop_timer_cancel(&s.t.timer);
	loop_timer_cancel(&s.t.timer);
	loop_fake_advance(s.loop, 100);
	assert_int_equal(loop_turn(s.loop, 0), 0);
	assert_int_equal(s.t.n, 3);
	loop_free(s.loop);
}

struct later {
	struct loop_deferred deferred;
	unsigned calls;
};

static void on_later(struct loop_deferred *deferred)
{
	container_of(deferred, struct later, deferred)->calls++;
}

static void deferred_calls_run_once_after_the_batch(void **state)
{
	struct later later = { 0 };
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	loop_defer(loop, &later.deferred, on_later);
	loop_defer(loop, &later.deferred, on_later);
	assert_int_equal(later.calls, 0);
	assert_int_equal(loop_turn(loop, -1), 0);
	assert_int_equal(later.calls, 1);
	loop_free(loop);
}

static void slots_are_used_again(void **state)
{
	struct pipe_source sources[40] = { 0 };
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
			source_open(loop, &sources[i]);
		assert_int_equal(loop_turn(loop, 0), 0);
		for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
			assert_int_equal(sources[i].calls, round + 1);
			source_close(&sources[i]);
		}
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removed_sources_hear_nothing_of_the_same_batch),
		cmocka_unit_test(timers_follow_the_fake_clock),
		cmocka_unit_test(deferred_calls_run_once_after_the_batch),
		cmocka_unit_test(slots_are_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
