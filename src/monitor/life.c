/* SPDX-License-Identifier: Apache-2.0 */
#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "a3s/agent.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "control.h"
#include "guest_config.h"

/* The guest comes up within a few seconds even when emulated; on a host that is busy it may be slow. */
#define BOOT_LIMIT_KVM_MS 30000
#define BOOT_LIMIT_TCG_MS 60000
/* File systems that are not clean by then are left to ext4's journal. */
#define CLOSE_LIMIT_MS 20000
#define CONSOLE_LINES 4
#define RESERVE_FILE "reserve"
#define RESERVE_SIZE (16 << 10)

static void life_enter(struct life *life, enum life_phase phase);

static void log_step(const struct life *life, const char *step)
{
	log_debug("%6lld ms: %s", (long long)(loop_now_ms(life->loop) - life->since_ms), step);
}

/* On a full disk the end of the box would be lost: a little room is kept for it. */
static bool reserve_is_freed(struct life *life)
{
	char path[PATH_MAX];

	return box_path(&life->home, life->config.id, RESERVE_FILE, path) == 0 && unlink(path) == 0;
}

static void reserve_make(struct life *life)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (box_path(&life->home, life->config.id, RESERVE_FILE, path) < 0)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, RESERVE_SIZE) != 0)
		log_info("no room could be kept for the state of the box");
}

void life_write_state(struct life *life, enum box_status status)
{
	struct failure why = { 0 };

	life->state.status = status;
	if (box_write_state(&life->home, life->config.id, &life->state, &why) == 0)
		return;
	if (!reserve_is_freed(life) || box_write_state(&life->home, life->config.id, &life->state, &why) < 0)
		log_error("%s", why.text);
}

/* The sentence may be the guest's and ends on somebody's terminal: no control characters. */
static void set_failure(struct life *life, int code, const char *text)
{
	fail(&life->failure, code, "%s", text);
	for (char *c = life->failure.text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* A start that comes to nothing; later calls do not change the sentence. */
static void life_fail(struct life *life, int code, const char *text)
{
	if (life->phase == LIFE_DOWN)
		return;
	if (!life->failure.code)
		set_failure(life, code, text);
	life_enter(life, LIFE_DOWN);
}

/* A box that ran ends without a word from its main process. */
static void life_break(struct life *life, const char *text)
{
	if (life->phase == LIFE_RUNNING) {
		life->state.exit_code = life->killed ? 128 + SIGKILL : 255;
		if (!life->killed)
			set_failure(life, EXIT_FAILED, text);
	}
	if (life->phase != LIFE_DOWN)
		life_enter(life, LIFE_DOWN);
}

void life_fault(struct life *life, const char *text)
{
	if (life->phase < LIFE_RUNNING)
		life_fail(life, EXIT_USAGE, text);
	else
		life_break(life, text);
}

/* What the guest's console said last belongs to the sentence: it is all that there is to see of a guest that does not come up. */
static void fault_with_console(struct life *life, const char *text)
{
	char tail[400], sentence[900];

	console_drain(&life->vm.console);
	console_tail(&life->vm.console, CONSOLE_LINES, tail, sizeof(tail));
	snprintf(sentence, sizeof(sentence), "%s%s%s", text, *tail ? "; its console said: " : "", tail);
	life_fault(life, sentence);
}

void life_on_vm_event(struct vm *vm, enum vm_event event, const char *text)
{
	struct life *life = container_of(vm, struct life, vm);
	char sentence[512];

	switch (event) {
	case VM_REFUSED:
		life_fault(life, text);
		break;
	case VM_ENDED:
		snprintf(sentence, sizeof(sentence), "the VM ended%s%s", *text ? ": " : " by itself", text);
		fault_with_console(life, sentence);
		break;
	case VM_VSOCK_ADDED:
		life_on_vsock_plugged(life);
		break;
	case VM_VSOCK_REMOVED:
		life_on_vsock_unplugged(life);
		break;
	case VM_VSOCK_REFUSED:
		life_on_vsock_refused(life, text);
		break;
	case VM_RUNNING:
		log_step(life, "the machine runs");
		break;
	}
}

/* The agent's control connection. */

static void on_agent_opened(struct agent_client *client)
{
	struct life *life = container_of(client, struct life, control);

	log_step(life, "the agent answers");
	if (life->phase == LIFE_BOOTING)
		life_enter(life, LIFE_CONFIGURING);
	else if (life->phase == LIFE_CLOSING)
		agent_client_request(client, json_pack("{s:s}", "op", "shutdown"));
}

static void on_agent_frame(struct agent_client *client, enum frame_type type, const uint8_t *payload, size_t size)
{
	struct life *life = container_of(client, struct life, control);
	_cleanup_json_ json_t *reply = json_loadb((const char *)payload, size, 0, NULL);
	bool ok = json_flag(reply, "ok", false);

	if (type != FRAME_REPLY)
		return;
	if (life->signals_unanswered > 0) { /* replies come in the order of the requests; the end of main shows elsewhere */
		life->signals_unanswered--;
		return;
	}
	if (life->phase == LIFE_CONFIGURING && ok)
		life_enter(life, LIFE_STARTING);
	else if (life->phase == LIFE_CONFIGURING)
		life_fail(life, (int)json_int(reply, "code", EXIT_USAGE), json_str(reply, "error", "the guest refused its configuration"));
	else if (life->phase == LIFE_CLOSING)
		life_enter(life, LIFE_DOWN);
}

static void on_agent_lost(struct agent_client *client)
{
	struct life *life = container_of(client, struct life, control);

	life->signals_unanswered = 0;
	if (life->phase == LIFE_CONFIGURING)
		fault_with_console(life, "the guest hung up while it was configured");
	else if (life->phase == LIFE_CLOSING)
		life_enter(life, LIFE_DOWN);
}

static const struct agent_handlers agent_handlers = {
	.opened = on_agent_opened,
	.frame = on_agent_frame,
	.lost = on_agent_lost,
};

/* a3s-box-vsock */

static struct life *life_of_vsock(struct vsock_process *vsock)
{
	return container_of(vsock, struct life, vsock);
}

static void on_device_ready(struct vsock_process *vsock, int fd)
{
	struct life *life = life_of_vsock(vsock);

	log_step(life, "a3s-box-vsock serves");
	if (life_plug_vsock(life, fd) < 0 || (life->phase == LIFE_BOOTING && vm_continue(&life->vm) < 0))
		life_fault(life, "qemu cannot be talked to");
}

static void on_device_started(struct vsock_process *vsock)
{
	struct life *life = life_of_vsock(vsock);

	log_step(life, "the vsock device is up");
	if (life->phase == LIFE_DOWN)
		return;
	agent_client_open(&life->control, life->loop, life->agent_path, AGENT_PORT_CONTROL, &agent_handlers);
	streams_reattach(&life->streams);
}

static void on_resolver_wanted(struct vsock_process *vsock)
{
	resolver_process_want(&life_of_vsock(vsock)->resolver);
}

static void on_stats(struct vsock_process *vsock, json_t *stats)
{
	clients_tell_stats(&life_of_vsock(vsock)->clients, stats);
}

static void on_vsock_ended(struct vsock_process *vsock, const char *text)
{
	char sentence[512];

	clients_tell_stats(&life_of_vsock(vsock)->clients, NULL);
	snprintf(sentence, sizeof(sentence), "a3s-box-vsock failed: %s", text);
	life_replace_vsock(life_of_vsock(vsock), sentence);
}

const struct vsock_handlers life_vsock_handlers = {
	.device_ready = on_device_ready,
	.device_started = on_device_started,
	.resolver_wanted = on_resolver_wanted,
	.stats = on_stats,
	.ended = on_vsock_ended,
};

void life_on_resolver(struct resolver_process *resolver, int fd)
{
	struct life *life = container_of(resolver, struct life, resolver);

	if (vsock_process_give_resolver(&life->vsock, fd) < 0)
		log_warn("the resolver could not be handed over");
}

/* The main process */

static struct life *life_of_streams(struct streams *streams)
{
	return container_of(streams, struct life, streams);
}

static void on_main_started(struct streams *streams)
{
	life_enter(life_of_streams(streams), LIFE_RUNNING);
}

static void on_main_refused(struct streams *streams, int code, const char *error)
{
	life_fail(life_of_streams(streams), code, error);
}

static void on_main_output(struct streams *streams, enum frame_type type, const uint8_t *data, size_t size)
{
	clients_output(&life_of_streams(streams)->clients, type, data, size);
}

static void on_main_ended(struct streams *streams, int status, bool oom)
{
	struct life *life = life_of_streams(streams);

	life->state.exit_code = status;
	life->state.oom_killed = oom;
	if (life->phase == LIFE_RUNNING)
		life_enter(life, LIFE_CLOSING);
}

static void on_main_lost(struct streams *streams)
{
	struct life *life = life_of_streams(streams);

	if (life->phase == LIFE_STARTING)
		fault_with_console(life, "the guest hung up while the main process was started");
}

static void on_input_room(struct streams *streams)
{
	clients_hold_input(&life_of_streams(streams)->clients, false);
}

static const struct streams_handlers streams_handlers = {
	.started = on_main_started,
	.refused = on_main_refused,
	.output = on_main_output,
	.ended = on_main_ended,
	.lost = on_main_lost,
	.input_room = on_input_room,
};

/* The command line that starts the box */

static void on_go(struct start *start)
{
	life_enter(container_of(start, struct life, start), LIFE_BOOTING);
}

static void on_abandoned(struct start *start)
{
	struct life *life = container_of(start, struct life, start);

	life->killed = true;
	if (!life->failure.code)
		fail(&life->failure, EXIT_USAGE, "the command that started the box ended before it was done");
	if (life->phase != LIFE_DOWN)
		life_enter(life, LIFE_DOWN);
}

static const struct start_handlers start_handlers = {
	.go = on_go,
	.abandoned = on_abandoned,
};

/* Phases: what is done on entering each. */

static void on_boot_limit(struct loop_timer *timer)
{
	fault_with_console(container_of(timer, struct life, deadline), "the guest did not come up in time");
}

static void enter_booting(struct life *life)
{
	struct failure why = { 0 };
	int limit;

	if (life_begin(life, &why) < 0) {
		life_fail(life, why.code, why.text);
		return;
	}
	limit = life->accel == ACCEL_KVM ? BOOT_LIMIT_KVM_MS : BOOT_LIMIT_TCG_MS;
	loop_timer_set(life->loop, &life->deadline, limit, on_boot_limit);
}

static bool host_has_ipv6(void)
{
	_cleanup_fclose_ FILE *table = fopen("/proc/net/if_inet6", "re");
	char line[256], name[32];
	unsigned scope;

	while (table && fgets(line, sizeof(line), table))
		if (sscanf(line, "%*s %*x %*x %x %*x %31s", &scope, name) == 2 && scope == 0 && strcmp(name, "lo") != 0)
			return true;
	return false;
}

static void enter_configuring(struct life *life)
{
	_cleanup_free_ char *resolv_conf = NULL;
	struct guest_facts facts = { .layers = life->layers, .host_has_ipv6 = host_has_ipv6() };

	if (io_read_file("/etc/resolv.conf", 64 << 10, &resolv_conf, NULL) < 0)
		resolv_conf = NULL;
	facts.host_resolv_conf = resolv_conf ? resolv_conf : "";
	if (agent_client_request(&life->control, guest_config_configure(&life->config, &facts)) < 0)
		life_fail(life, EXIT_USAGE, "the box's configuration cannot be told to the guest");
}

static void enter_starting(struct life *life)
{
	json_t *request = guest_config_main(&life->config, life->columns, life->rows);

	if (request)
		streams_start(&life->streams, life->loop, life->agent_path, life->config.tty, request, &streams_handlers);
	else
		life_fail(life, EXIT_USAGE, "the box's command cannot be told to the guest");
}

static void enter_running(struct life *life)
{
	loop_timer_cancel(&life->deadline);
	life->ran = true;
	life->state.started_ns = text_now_ns();
	life->state.finished_ns = 0;
	life->state.exit_code = 0;
	if (!life->config.auto_remove)
		reserve_make(life);
	life_write_state(life, BOX_RUNNING);
	start_tell(&life->start, "started");
	malloc_trim(0); /* starting takes far more memory than watching, when there are thousands of ports */
}

static void on_close_limit(struct loop_timer *timer)
{
	log_warn("the guest did not write out its file systems in time");
	life_enter(container_of(timer, struct life, deadline), LIFE_DOWN);
}

static void enter_closing(struct life *life)
{
	if (life->config.auto_remove) { /* nobody will read its disk */
		life_enter(life, LIFE_DOWN);
		return;
	}
	loop_timer_set(life->loop, &life->deadline, CLOSE_LIMIT_MS, on_close_limit);
	if (agent_client_request(&life->control, json_pack("{s:s}", "op", "shutdown")) < 0)
		agent_client_open(&life->control, life->loop, life->agent_path, AGENT_PORT_CONTROL, &agent_handlers);
}

/* Nothing of the box runs on the host after this. */
static void end_processes(struct life *life)
{
	vm_end(&life->vm);
	vsock_process_end(&life->vsock);
	resolver_process_end(&life->resolver);
	ports_release(&life->ports);
	life->agent_fd = close_fd(life->agent_fd);
}

static void remove_sockets(struct life *life)
{
	char path[PATH_MAX];

	if (box_runtime_path(&life->home, life->config.id, "", path) == 0)
		io_remove_tree(path);
}

static void note_end(struct life *life)
{
	struct box_state *s = &life->state;

	s->monitor_pid = s->vm_pid = s->vsock_pid = 0;
	if (life->ran)
		s->finished_ns = text_now_ns();
	else
		s->exit_code = life->failure.code;
	if (life->failure.code && !s->error)
		s->error = strdup(life->failure.text);
	life_write_state(life, s->started_ns ? BOX_EXITED : BOX_CREATED);
	(void)reserve_is_freed(life);
}

static void remove_record(struct life *life)
{
	struct failure why = { 0 };

	if (box_remove(&life->home, life->config.id, &why) < 0)
		log_warn("%s", why.text);
}

/* Deferred: the objects that are ended here may be the ones that called. */
static void life_take_down(struct loop_deferred *deferred)
{
	struct life *life = container_of(deferred, struct life, take_down);
	bool came_to_nothing = !life->start.committed;
	bool remove = life->config.auto_remove || (came_to_nothing && life->start.remove);

	if (came_to_nothing && !life->failure.code && life->ran)
		remove = life->config.auto_remove; /* it ran to its end before the command line said "commit" */
	end_processes(life);
	if (!remove)
		note_end(life);
	remove_sockets(life);
	life->lock_fd = close_fd(life->lock_fd);
	if (remove)
		remove_record(life);
	if (life->ran && (!came_to_nothing || !life->failure.code)) {
		clients_finish(&life->clients, life->state.exit_code);
	} else {
		start_tell_failure(&life->start, &life->failure);
		clients_fail(&life->clients, life->failure.text, life->failure.code);
	}
}

static void enter_down(struct life *life)
{
	loop_timer_cancel(&life->deadline);
	loop_timer_cancel(&life->replace_timer);
	agent_client_close(&life->control);
	streams_close(&life->streams);
	loop_defer(life->loop, &life->take_down, life_take_down);
}

static void (*const entries[])(struct life *life) = {
	[LIFE_BOOTING] = enter_booting,	  [LIFE_CONFIGURING] = enter_configuring,
	[LIFE_STARTING] = enter_starting, [LIFE_RUNNING] = enter_running,
	[LIFE_CLOSING] = enter_closing,	  [LIFE_DOWN] = enter_down,
};

static void life_enter(struct life *life, enum life_phase phase)
{
	static const char *const names[] = { "announced", "booting", "configuring", "starting", "running", "closing", "down" };

	if (phase <= life->phase)
		return;
	log_step(life, names[phase]);
	life->phase = phase;
	entries[phase](life);
}

/* Stopping */

bool life_is_running(const struct life *life)
{
	return life->phase == LIFE_RUNNING;
}

/* On the control connection; on main's own, behind what it has not read yet, while there is none. */
void life_signal(struct life *life, int signal)
{
	if (agent_client_request(&life->control, json_pack("{s:s, s:i}", "op", "signal", "signal", signal)) == 0)
		life->signals_unanswered++;
	else
		streams_signal(&life->streams, signal);
}

static void on_kill_limit(struct loop_timer *timer)
{
	life_break(container_of(timer, struct life, deadline), "killed");
}

void life_kill(struct life *life)
{
	life->killed = true;
	if (life->phase < LIFE_RUNNING) {
		life_fail(life, EXIT_FAILED, "the box was stopped before it had started");
		return;
	}
	if (life->phase != LIFE_RUNNING)
		return;
	life_signal(life, SIGKILL);
	loop_timer_set(life->loop, &life->deadline, 5000, on_kill_limit);
}

static void on_stop_limit(struct loop_timer *timer)
{
	life_kill(container_of(timer, struct life, deadline));
}

void life_stop(struct life *life, int signal, int timeout)
{
	if (life->phase != LIFE_RUNNING || timeout == 0) {
		life_kill(life);
		return;
	}
	life_signal(life, signal);
	/* Of several who stop it the least patient counts, as when each had a clock of its own. */
	if (timeout > 0 && loop_now_ms(life->loop) + timeout * 1000LL < life->deadline.at_ms)
		loop_timer_set(life->loop, &life->deadline, timeout * 1000LL, on_stop_limit);
}

/* Beginning and end of the program */

static int take_lock(struct life *life, const char *id, struct failure *f)
{
	char path[PATH_MAX];
	int r = box_path(&life->home, id, "lock", path);

	if (r == 0) {
		life->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = life->lock_fd < 0 ? -errno : io_lock(life->lock_fd, false);
	}
	if (r == -EAGAIN)
		return fail(f, EXIT_FAILED, "box %.12s is running already", id);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot lock box %.12s", id) : 0;
}

static int make_runtime(struct life *life, struct failure *f)
{
	char path[PATH_MAX];
	int r = box_runtime_path(&life->home, life->config.id, "", path);

	if (r == 0) {
		io_remove_tree(path); /* of a monitor that was killed */
		r = io_make_dirs(path, 0700);
	}
	if (r == 0)
		r = box_runtime_path(&life->home, life->config.id, AGENT_SOCKET, life->agent_path);
	if (r == 0)
		r = box_runtime_path(&life->home, life->config.id, CONTROL_SOCKET, path);
	if (r == 0)
		r = clients_open(&life->clients, life->loop, path, &life_clients_handlers);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot make %s", path) : 0;
}

int life_announce(struct life *life, const char *id, struct failure *f)
{
	struct failure ignored = { 0 };

	life->since_ms = loop_now_ms(life->loop);
	if (take_lock(life, id, f) < 0 || box_read_config(&life->home, id, &life->config, f) < 0 || make_runtime(life, f) < 0)
		return -1;
	if (box_read_state(&life->home, id, &life->state, &ignored) < 0)
		life->state = (struct box_state)BOX_STATE_NULL;
	return 0;
}

int life_serve(struct life *life, int start_fd)
{
	int r;

	if (start_fd < 0) {
		life->start.committed = true;
		life_enter(life, LIFE_BOOTING);
		return 0;
	}
	r = start_open(&life->start, life->loop, start_fd, &start_handlers);
	if (r == 0)
		start_tell(&life->start, "listening");
	return r;
}

void life_deinit(struct life *life)
{
	clients_close(&life->clients);
	start_close(&life->start);
	agent_client_close(&life->control);
	streams_close(&life->streams);
	end_processes(life);
	life->lock_fd = close_fd(life->lock_fd);
	box_config_deinit(&life->config);
	box_state_deinit(&life->state);
}
