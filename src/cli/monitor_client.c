/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/monitor_client.h"

#include <a3s/agent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "monitor/control.h"

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

/* A request that ends with the box's end. Losing it to an end that came from elsewhere is what was asked for. */
static int ask_to_end(const struct home *home, const char *id, json_t *request, struct failure *f)
{
	int r = monitor_ask(home, id, request, NULL, f);

	if (r < 0 && box_is_held(home, id))
		return -1;
	r = box_wait_released(home, id);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "waiting for box %.12s", id) : 0;
}

int monitor_kill(const struct home *home, const char *id, struct failure *f)
{
	return ask_to_end(home, id, json_pack("{s:s}", "op", "kill"), f);
}

int monitor_stop(const struct home *home, const char *id, int signal, int timeout, struct failure *f)
{
	return ask_to_end(home, id, json_pack("{s:s, s:i, s:i}", "op", "stop", "signal", signal, "timeout", timeout), f);
}

/* "CONNECT <port>\n" -> "OK <n>\n", byte by byte: what follows belongs to the service. */
static int agent_hello(int fd, unsigned port)
{
	char line[64];
	size_t n = (size_t)snprintf(line, sizeof(line), "CONNECT %u\n", port);
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
