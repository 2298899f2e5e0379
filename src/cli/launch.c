/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/proc.h"
#include "cli/port_spec.h"

#define START_FD 3

/* The monitor outlives us: its words go into a file beside the record. It empties the file once it holds the box. */
static int open_log(const struct home *home, const char *id)
{
	char path[PATH_MAX];

	if (box_path(home, id, "monitor.log", path) < 0)
		return -1;
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int spawn_monitor(const struct home *home, const char *id, int socket, struct failure *f)
{
	struct proc_fd fds[] = { { .parent = socket, .child = START_FD } };
	_cleanup_close_ int log = open_log(home, id), pidfd = -1;
	char program[PATH_MAX];
	const char *argv[] = { program, "--box", id, "--start-fd", "3", NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	pid_t pid;
	int r = proc_find_program("a3s-box-monitor", program, sizeof(program));

	if (r < 0)
		return fail(f, EXIT_USAGE, "a3s-box-monitor is missing beside this program and in %s: install a3s-box again",
			    A3S_LIBEXECDIR);
	spec.argv = argv;
	spec.fds = fds;
	spec.n_fds = 1;
	spec.stderr_fd = log;
	spec.new_session = true;
	/* The same store for it, even when ours was named relative to a directory or by a link. */
	setenv("A3S_HOME", home->path, 1);
	r = proc_spawn(&spec, &pid, &pidfd);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot start %s", program) : 0;
}

/* The last line that the monitor wrote before it ended without an answer. */
static int fail_silent(const struct home *home, const char *id, struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *line, *end;
	size_t size;

	if (box_path(home, id, "monitor.log", path) < 0 || io_read_file(path, 1 << 20, &text, &size) < 0 || size == 0)
		return fail(f, EXIT_USAGE, "the box's monitor ended without a word");
	for (end = text + size; end > text && end[-1] == '\n';)
		*--end = '\0';
	line = strrchr(text, '\n');
	return fail(f, EXIT_USAGE, "the box's monitor ended: %.300s", line ? line + 1 : text);
}

/* Wait for the event. -1 at "failed", or -ENODATA when the monitor is gone. */
static int wait_event(int fd, const char *wanted, struct failure *f)
{
	for (;;) {
		_cleanup_free_ char *payload = NULL;
		_cleanup_json_ json_t *event = NULL;
		enum frame_type type;
		const char *name;
		size_t size;

		if (frame_read(fd, &type, &payload, &size) < 0)
			return -ENODATA;
		event = json_loadb(payload, size, 0, NULL);
		name = json_str(event, "event", "");
		if (type == FRAME_REPLY && !strcmp(name, wanted))
			return 0;
		if (type == FRAME_REPLY && !strcmp(name, "failed"))
			return fail(f, (int)json_int(event, "code", EXIT_USAGE), "%s", json_str(event, "error", "the box did not start"));
	}
}

static int send_request(int fd, json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);

	json_decref(request);
	return text ? frame_write(fd, FRAME_REQUEST, text, strlen(text)) : -ENOMEM;
}

int launch_begin(struct launch *launch, const struct home *home, const char *id, struct failure *f)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	if (spawn_monitor(home, id, theirs, f) < 0)
		return -1;
	close(take_fd(&theirs));
	r = wait_event(ours, "listening", f);
	if (r == -ENODATA)
		return fail_silent(home, id, f);
	if (r < 0)
		return -1;
	launch->fd = take_fd(&ours);
	return 0;
}

int launch_go(struct launch *launch, bool remove, struct failure *f)
{
	int r = send_request(launch->fd, json_pack("{s:s, s:b}", "op", "go", "remove", remove));

	if (r == 0)
		r = wait_event(launch->fd, "started", f);
	return r == 0 ? 0 : r == -1 ? -1 : fail(f, EXIT_USAGE, "the box's monitor ended while the box was starting");
}

int launch_commit(struct launch *launch, struct failure *f)
{
	int r = send_request(launch->fd, json_pack("{s:s}", "op", "commit"));

	launch_close(launch);
	return r < 0 ? fail(f, EXIT_USAGE, "the box's monitor ended just after the start") : 0;
}

void launch_close(struct launch *launch)
{
	launch->fd = close_fd(launch->fd);
}

static int fail_port_taken(const struct box_port *port, const struct box_config *holder, struct failure *f)
{
	char host[80];

	port_spec_host(port, host);
	return fail(f, EXIT_USAGE, "port %s/%s is published by box %s (%.12s): stop that box, or choose another port", host,
		    box_protocol_name(port->protocol), holder->name, holder->id);
}

static int check_against(const struct box_config *config, const struct port_set *wanted, const struct box_entry *other,
			 struct failure *f)
{
	for (size_t k = 0; k < other->state.n_bound; k++) {
		const struct box_port *bound = &other->state.bound[k];

		if (!port_set_has(wanted, bound->protocol, bound->host_port))
			continue;
		for (size_t i = 0; i < config->n_ports; i++) {
			if (box_ports_collide(&config->ports[i], bound))
				return fail_port_taken(&config->ports[i], &other->config, f);
		}
	}
	return 0;
}

int launch_check_ports(const struct home *home, const struct box_config *config, struct failure *f)
{
	struct port_set wanted = { 0 };
	struct box_list list;
	int r = 0;

	if (config->n_ports == 0)
		return 0;
	for (size_t i = 0; i < config->n_ports; i++)
		port_set_add(&wanted, config->ports[i].protocol, config->ports[i].host_port);
	if (box_list_read(home, &list, f) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		const struct box_entry *other = &list.entries[i];

		if (box_status_is_alive(other->state.status) && strcmp(other->config.id, config->id) != 0)
			r = check_against(config, &wanted, other, f);
	}
	box_list_deinit(&list);
	return r;
}
