/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a3s-box-vsock, put back into a running box.
 *
 *	process ends -> device_del -> guest lets go -> new process -> it serves -> device_add -> guest's driver is up
 *
 * The guest's connections are reset by the unplugging; its processes live. The bound sockets of published ports never
 * closed, since the monitor holds them too, so clients wait in their queues meanwhile. The main process's streams are taken up
 * again when the device is up. A process that dies young is started again after a delay that doubles, since whatever kills
 * it may be the guest's doing.
 */
#include <signal.h>

#include "base/log.h"
#include "base/own.h"
#include "life.h"

#define DELAY_FIRST_MS 10
#define DELAY_LAST_MS 10000
/* A process that lived this long was all right: its successor starts without delay. */
#define GROWN_UP_MS 30000
/* A guest that does not let go of the device is stuck. */
#define UNPLUG_LIMIT_MS 10000
/* From its start until its device is plugged. */
#define SERVE_LIMIT_MS 10000

static void on_unplug_limit(struct loop_timer *timer)
{
	life_fault(container_of(timer, struct life, replace_timer), "a3s-box-vsock failed, and the guest does not let go of its device");
}

/* One that hangs freezes QEMU too, which waits for it: no mercy. Its end starts the next. */
static void on_serve_limit(struct loop_timer *timer)
{
	child_signal(&container_of(timer, struct life, replace_timer)->vsock.process, SIGKILL);
}

static void start_again(struct loop_timer *timer)
{
	struct life *life = container_of(timer, struct life, replace_timer);
	struct failure why = { 0 };

	life->replacement.since_ms = loop_now_ms(life->loop);
	if (vsock_process_start(&life->vsock, &why) < 0) {
		life_fault(life, why.text);
		return;
	}
	life->state.vsock_pid = life->vsock.process.pid;
	loop_timer_set(life->loop, &life->replace_timer, SERVE_LIMIT_MS, on_serve_limit);
}

static void schedule(struct life *life)
{
	struct replacement *r = &life->replacement;

	if (loop_now_ms(life->loop) - r->since_ms > GROWN_UP_MS)
		r->delay_ms = 0;
	loop_timer_set(life->loop, &life->replace_timer, r->delay_ms, start_again);
	r->delay_ms = r->delay_ms ? MIN(r->delay_ms * 2, DELAY_LAST_MS) : DELAY_FIRST_MS;
}

void life_replace_vsock(struct life *life, const char *why)
{
	struct replacement *r = &life->replacement;

	if (life->phase < LIFE_RUNNING) {
		life_fault(life, why);
		return;
	}
	if (life->phase == LIFE_DOWN)
		return;
	log_warn("%s; it is replaced", why);
	r->under_way = true;
	agent_client_close(&life->control);
	if (r->plugging)
		return; /* QEMU will say what became of it */
	if (!r->plugged)
		schedule(life);
	else if (vm_remove_vsock(&life->vm) < 0)
		life_fault(life, why);
	else
		loop_timer_set(life->loop, &life->replace_timer, UNPLUG_LIMIT_MS, on_unplug_limit);
}

int life_plug_vsock(struct life *life, int fd)
{
	life->replacement.plugging = true;
	return vm_add_vsock(&life->vm, fd);
}

void life_on_vsock_unplugged(struct life *life)
{
	life->replacement.plugged = false;
	if (life->replacement.under_way && life->phase < LIFE_DOWN)
		schedule(life);
}

void life_on_vsock_plugged(struct life *life)
{
	struct replacement *r = &life->replacement;

	r->plugging = false;
	r->plugged = true;
	if (!life->vsock.process.pid) {
		life_replace_vsock(life, "a3s-box-vsock ended while its device was plugged");
	} else if (r->under_way) {
		r->under_way = false;
		loop_timer_cancel(&life->replace_timer);
		life_write_state(life, life->state.status);
	}
}

void life_on_vsock_refused(struct life *life, const char *why)
{
	life->replacement.plugging = false;
	if (life->phase < LIFE_RUNNING)
		life_fault(life, why);
	else if (life->phase < LIFE_DOWN && life->vsock.process.pid)
		child_signal(&life->vsock.process, SIGKILL); /* of no use; its end starts the next */
	else if (life->phase < LIFE_DOWN)
		schedule(life);
}
