/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/monitor_client.h"

#include <a3s/agent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "monitor/control.h"

#define KILL_LIMIT_S 15 /* a monitor takes its box down at once: one that takes longer hangs */

static int connect_socket(const struct home *home, const char *id, const char *file, struct failure *f)
{
	char path[PATH_MAX];
	int r = box_runtime_path(home, id, file, path);

	if (!box_is_held(home, id))
		return fail(f, EXIT_FAILED, "box %.12s is not running", id);
	if (r == 0)
		r = io_unix_connect(path);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail(f, EXIT_FAILED, "box %.12s is just starting or ending: try again", id);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot reach the monitor of box %.12s at %s", id, path);
	return r;
}

int monitor_connect(const struct home *home, const char *id, struct failure *f)
{
	return connect_socket(home, id, CONTROL_SOCKET, f);
}

int monitor_request(int fd, json_t *request, json_t **ret_reply, struct failure *f)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT), *payload = NULL;
	_cleanup_json_ json_t *reply = NULL;
	enum frame_type type;
	size_t size;
	int r;

	json_decref(request);
	r = text ? frame_write(fd, FRAME_REQUEST, text, strlen(text)) : -ENOMEM;
	if (r == 0)
		r = frame_read(fd, &type, &payload, &size);
	if (r < 0)
		return fail(f, EXIT_USAGE, "the box ended before it could answer");
	if (type == FRAME_REPLY)
		reply = json_loadb(payload, size, 0, NULL);
	if (!json_is_object(reply))
		return fail(f, EXIT_USAGE, "the box gave an answer that makes no sense");
	if (!json_flag(reply, "ok", false))
		return fail(f, (int)json_int(reply, "code", EXIT_FAILED), "%s", json_str(reply, "error", "the box refused"));
	if (ret_reply)
		*ret_reply = take_ptr(reply);
	return 0;
}

int monitor_ask(const struct home *home, const char *id, json_t *request, json_t **ret_reply, struct failure *f)
{
	_cleanup_close_ int fd = monitor_connect(home, id, f);

	if (fd < 0) {
		json_decref(request);
		return -1;
	}
	return monitor_request(fd, request, ret_reply, f);
}

/*
 * Last resort against a monitor that does not answer: everything of the box goes with it. The pid is that of the lock's holder
 * as long as the lock is held, and the pidfd keeps meaning that process.
 */
static int kill_monitor(const struct home *home, const char *id, struct failure *f)
{
	_cleanup_close_ int pidfd = -1;
	struct box_state state;

	if (box_read_state(home, id, &state, f) < 0)
		return -1;
	pidfd = state.monitor_pid > 1 ? (int)syscall(SYS_pidfd_open, state.monitor_pid, 0) : -1;
	box_state_deinit(&state);
	if (!box_is_held(home, id))
		return 0;
	if (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		return fail(f, EXIT_FAILED, "the monitor of box %.12s does not answer, and cannot be killed", id);
	return box_wait_released(home, id);
}

int monitor_kill(const struct home *home, const char *id, struct failure *f)
{
	struct timeval limit = { .tv_sec = KILL_LIMIT_S };
	_cleanup_close_ int fd = monitor_connect(home, id, f);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* However the answer was lost, what counts is that the box is down. */
	if ((fd < 0 || monitor_request(fd, json_pack("{s:s}", "op", "kill"), NULL, f) < 0) && box_is_held(home, id))
		return kill_monitor(home, id, f);
	return box_wait_released(home, id) < 0 ? fail(f, EXIT_USAGE, "waiting for box %.12s failed", id) : 0;
}

int monitor_stop(const struct home *home, const char *id, int signal, int timeout, struct failure *f)
{
	json_t *request = json_pack("{s:s, s:i, s:i}", "op", "stop", "signal", signal, "timeout", timeout);
	int r = monitor_ask(home, id, request, NULL, f);

	/* An answer that was lost to an end that came from elsewhere: the box is down, as was asked for. */
	if (r < 0 && box_is_held(home, id))
		return -1;
	return box_wait_released(home, id) < 0 ? fail(f, EXIT_USAGE, "waiting for box %.12s failed", id) : 0;
}

/* "CONNECT <port>\n" -> "OK <n>\n", byte by byte: what follows belongs to the service. */
static int agent_hello(int fd, unsigned port)
{
	char line[64];
	size_t n = (size_t)snprintf(line, sizeof(line), AGENT_CONNECT, port);
	int r = io_write_full(fd, line, n);

	for (n = 0; r == 0 && n < sizeof(line); n++) {
		r = io_read_full(fd, line + n, 1);
		if (r == 0 && line[n] == '\n')
			return text_starts(line, "OK ") ? 0 : -EPROTO;
	}
	return r < 0 ? r : -EPROTO;
}

int agent_connect(const struct home *home, const char *id, unsigned port, struct failure *f)
{
	_cleanup_close_ int fd = connect_socket(home, id, AGENT_SOCKET, f);
	int r;

	if (fd < 0)
		return -1;
	r = agent_hello(fd, port);
	if (r < 0)
		return fail(f, EXIT_USAGE, "box %.12s does not answer: its agent cannot be reached", id);
	return take_fd(&fd);
}
