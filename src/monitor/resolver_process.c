/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/own.h"
#include "qemu.h"
#include "resolver/protocol.h"
#include "resolver_process.h"

#define PROGRAM "a3s-box-resolver"
#define SOCKET_FD 3

static void resolver_on_end(struct child *child, int status)
{
	log_info("%s ended with %d", PROGRAM, status); /* the vsock process says when the next one is wanted */
}

static int resolver_spawn(struct resolver_process *r, int fd)
{
	const char *argv[3 + 2 * RESOLVER_SERVERS_MAX + 1] = { PROGRAM, "--fd", "3" };
	struct proc_fd fds[] = { { fd, SOCKET_FD } };
	struct proc_spec spec = PROC_SPEC_NULL;
	char program[PATH_MAX];
	int n = proc_find_program(PROGRAM, program, sizeof(program));

	if (n < 0)
		return n;
	argv[0] = program;
	n = 3;
	for (size_t i = 0; r->servers && r->servers[i] && i < RESOLVER_SERVERS_MAX; i++) {
		argv[n++] = "--dns";
		argv[n++] = r->servers[i];
	}
	spec.argv = argv;
	spec.fds = fds;
	spec.n_fds = ARRAY_SIZE(fds);
	qemu_identity(r->box_id, ACCEL_TCG, &spec.uid, &spec.gid);
	return child_start(&r->process, r->loop, PROGRAM, &spec, resolver_on_end);
}

static void resolver_start(struct resolver_process *r)
{
	_cleanup_close_ int near = -1, far = -1;
	int fds[2], err;

	r->started_ms = loop_now_ms(r->loop);
	child_end(&r->process); /* one that runs has lost its socket, or would not be wanted */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return;
	near = fds[0];
	far = fds[1];
	err = resolver_spawn(r, far);
	if (err < 0)
		log_warn("cannot start %s: %s; names will not resolve", PROGRAM, strerror(-err));
	else
		r->ready(r, near);
}

static void resolver_on_pause(struct loop_timer *timer)
{
	resolver_start(container_of(timer, struct resolver_process, pause));
}

void resolver_process_want(struct resolver_process *r)
{
	int64_t wait = r->started_ms + RESOLVER_PAUSE_MS - loop_now_ms(r->loop);

	if (wait > 0)
		loop_timer_set(r->loop, &r->pause, wait, resolver_on_pause);
	else
		resolver_start(r);
}

void resolver_process_end(struct resolver_process *r)
{
	loop_timer_cancel(&r->pause);
	child_end(&r->process);
}
