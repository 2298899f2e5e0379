/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "qemu.h"
#include "store/net_limit.h"
#include "vsock/control.h"
#include "vsock_process.h"

#define CONTROL_FD 3
/* Requests on their way: a socket's buffer holds more than these. */
#define WINDOW 16

/* What is asked for after the start, in this order; from STEP_PORTS on one request for each bound socket. */
#define STEPS_DONE 1
enum vsock_step { STEP_CONFIGURE, STEP_DEVICE, STEP_AGENT, STEP_PORTS };

static int vsock_send(struct vsock_process *v, json_t *request, int fd)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = io_send_fds(v->fd, text, strlen(text), &fd, fd >= 0 ? 1 : 0);
	return n < 0 ? (int)n : 0;
}

static int vsock_send_device(struct vsock_process *v)
{
	_cleanup_close_ int far = -1;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	close_fd(v->device_fd);
	v->device_fd = fds[0];
	far = fds[1];
	return vsock_send(v, json_pack("{s:s}", "op", "device"), far);
}

static int vsock_send_port(struct vsock_process *v, const struct port_socket *p)
{
	return vsock_send(v, json_pack("{s:s,s:s,s:s,s:i,s:i}", "op", "publish", "protocol",
				       p->port.protocol == BOX_TCP ? "tcp" : "udp", "address", p->port.host_address, "port",
				       p->port.host_port, "guest_port", p->port.guest_port), p->fd);
}

/* The next socket to hand over, or NULL. */
static const struct port_socket *vsock_next_port(struct vsock_process *v)
{
	while (v->port < v->ports->n && v->ports->sockets[v->port].fd < 0)
		v->port++;
	return v->port < v->ports->n ? &v->ports->sockets[v->port++] : NULL;
}

/* 0, a negative errno, or STEPS_DONE. */
static int vsock_send_step(struct vsock_process *v)
{
	const struct port_socket *p;

	switch (v->next) {
	case STEP_CONFIGURE:
		return vsock_send(v, json_pack("{s:s,s:s,s:b,s:i,s:i,s:o}", "op", "configure", "network", v->tsi ? "tsi" : "none",
					       "host_gateway", v->host_gateway, "cid", (int)VSOCK_GUEST_CID, "ports", (int)v->ports->n,
					       "limits", net_limit_to_json(v->limits)), -1);
	case STEP_DEVICE:
		return vsock_send_device(v);
	case STEP_AGENT:
		return vsock_send(v, json_pack("{s:s}", "op", "agent"), v->agent_fd);
	default:
		p = vsock_next_port(v);
		return p ? vsock_send_port(v, p) : STEPS_DONE;
	}
}

static void vsock_give_up(struct vsock_process *v, const char *why)
{
	snprintf(v->why, sizeof(v->why), "%s", why);
	child_signal(&v->process, SIGKILL);
}

/* After all steps, so that a request's number tells its step. */
static void vsock_send_resolver(struct vsock_process *v)
{
	int r = vsock_send(v, json_pack("{s:s}", "op", "resolver"), v->resolver_fd);

	v->resolver_fd = close_fd(v->resolver_fd);
	if (r < 0)
		log_warn("the resolver could not be handed over: %s", strerror(-r));
	else
		v->next++;
}

static void vsock_send_more(struct vsock_process *v)
{
	while (v->next - v->answered < WINDOW) {
		int r = vsock_send_step(v);

		if (r == STEPS_DONE && v->resolver_fd >= 0)
			vsock_send_resolver(v);
		if (r == STEPS_DONE)
			return;
		if (r < 0) {
			vsock_give_up(v, strerror(-r));
			return;
		}
		v->next++;
	}
}

static void vsock_take_answer(struct vsock_process *v, const json_t *answer)
{
	size_t step = v->answered++;

	if (!json_flag(answer, "ok", false)) {
		vsock_give_up(v, json_str(answer, "error", "no reason given"));
		return;
	}
	if (json_object_get(answer, "stats")) {
		v->stats_asked = false;
		v->handlers->stats(v, json_object_get(answer, "stats"));
	}
	if (step == STEP_DEVICE)
		v->handlers->device_ready(v, take_fd(&v->device_fd));
	vsock_send_more(v);
}

static void vsock_take_event(struct vsock_process *v, const char *event)
{
	log_debug("vsock: event %s", event);
	if (strcmp(event, "device-started") == 0)
		v->handlers->device_started(v);
	else if (strcmp(event, "resolver-wanted") == 0)
		v->handlers->resolver_wanted(v);
}

static void vsock_on_message(struct loop_io *io, uint32_t events)
{
	struct vsock_process *v = container_of(io, struct vsock_process, io);
	_cleanup_json_ json_t *message = NULL;
	char text[VSOCK_CONTROL_MAX];
	ssize_t n = recv(v->fd, text, sizeof(text), MSG_DONTWAIT);
	const char *event;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* the process's end tells the rest */
		loop_io_remove(&v->io);
		child_signal(&v->process, SIGKILL);
		return;
	}
	message = json_loadb(text, (size_t)n, 0, NULL);
	event = json_str(message, "event", NULL);
	if (event)
		vsock_take_event(v, event);
	else
		vsock_take_answer(v, message);
}

static void vsock_clean(struct vsock_process *v)
{
	loop_io_remove(&v->io);
	v->fd = close_fd(v->fd);
	v->device_fd = close_fd(v->device_fd);
	v->resolver_fd = close_fd(v->resolver_fd);
}

static void vsock_on_end(struct child *child, int status)
{
	struct vsock_process *v = container_of(child, struct vsock_process, process);
	char text[CHILD_LINE_MAX + 64];

	if (*v->why)
		snprintf(text, sizeof(text), "%s", v->why);
	else if (status > 128)
		snprintf(text, sizeof(text), "killed by signal %d", status - 128);
	else if (*child->last)
		snprintf(text, sizeof(text), "%s", child->last);
	else
		snprintf(text, sizeof(text), "ended with %d", status);
	vsock_clean(v);
	v->handlers->ended(v, text);
}

static int vsock_spawn(struct vsock_process *v, const char *program, int control_fd)
{
	const char *const argv[] = { program, "--control-fd", "3", NULL };
	struct proc_fd fds[] = { { control_fd, CONTROL_FD } };
	struct proc_spec spec = PROC_SPEC_NULL;

	spec.argv = argv;
	spec.fds = fds;
	spec.n_fds = ARRAY_SIZE(fds);
	qemu_identity(v->box_id, ACCEL_TCG, &spec.uid, &spec.gid);
	return child_start(&v->process, v->loop, VSOCK_PROGRAM, &spec, vsock_on_end);
}

int vsock_process_start(struct vsock_process *v, struct failure *f)
{
	_cleanup_close_ int far = -1;
	char program[PATH_MAX];
	int fds[2], r;

	if (proc_find_program(VSOCK_PROGRAM, program, sizeof(program)) < 0)
		return fail(f, EXIT_USAGE, "%s not found: run `make` in the source tree, or reinstall a3s-box", VSOCK_PROGRAM);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot start %s", VSOCK_PROGRAM);
	v->fd = fds[0];
	far = fds[1];
	v->next = v->answered = v->port = 0;
	v->stats_asked = false;
	*v->why = '\0';
	r = loop_io_add(v->loop, &v->io, v->fd, EPOLLIN, vsock_on_message);
	if (r == 0)
		r = vsock_spawn(v, program, far);
	if (r < 0) {
		vsock_clean(v);
		return fail_errno(f, EXIT_USAGE, r, "cannot start %s", program);
	}
	vsock_send_more(v);
	return 0;
}

int vsock_process_give_resolver(struct vsock_process *v, int fd)
{
	if (v->fd < 0)
		return -ENOTCONN;
	close_fd(v->resolver_fd);
	v->resolver_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (v->resolver_fd < 0)
		return -errno;
	vsock_send_more(v);
	return 0;
}

int vsock_process_ask_stats(struct vsock_process *v)
{
	int r;

	if (v->fd < 0 || v->next < STEP_PORTS)
		return -ENOTCONN;
	if (v->stats_asked)
		return 0;
	r = vsock_send(v, json_pack("{s:s}", "op", "stats"), -1);
	if (r == 0) {
		v->next++;
		v->stats_asked = true;
	}
	return r;
}

void vsock_process_end(struct vsock_process *v)
{
	child_end(&v->process);
	vsock_clean(v);
}
