/* SPDX-License-Identifier: Apache-2.0 */
/* logs: what the box has written, from its record; --follow waits for changes of the record's directory. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/lifecycle.h"
#include "cli/log_reader.h"
#include "cli/values.h"

struct logs_options {
	bool follow, timestamps;
	const char *tail, *since, *until;
};

#define AT(member) offsetof(struct logs_options, member)
static const struct option_spec options_table[] = {
	{ "follow", 'f', NULL, "Go on showing what comes", option_set_switch, AT(follow) },
	{ "since", 0, "TIME", "Show what was written after a time (2026-01-31T12:00:00Z) or since a duration (10m)", option_set_text,
	  AT(since) },
	{ "tail", 'n', "NUMBER", "Show that many lines from the end (default all)", option_set_text, AT(tail) },
	{ "timestamps", 't', NULL, "Put the time before each line", option_set_switch, AT(timestamps) },
	{ "until", 0, "TIME", "Show what was written before a time", option_set_text, AT(until) },
	{ 0 },
};
static const char *const later[] = { "details", NULL };

/* What to show: times in ns since 1970. */
struct show {
	int64_t tail, since, until;
	bool timestamps;
};

static int parse_show(const struct logs_options *o, struct show *ret, struct failure *f)
{
	*ret = (struct show){ .tail = -1, .since = INT64_MIN, .until = INT64_MAX, .timestamps = o->timestamps };
	if (o->tail && strcmp(o->tail, "all") != 0 && text_to_int(o->tail, INT32_MIN, INT32_MAX, &ret->tail) < 0)
		return fail(f, EXIT_USAGE, "--tail: \"%s\" is neither a number nor all", o->tail);
	if (o->since && value_parse_time(o->since, &ret->since, f) < 0)
		return fail_wrap(f, "--since");
	if (o->until && value_parse_time(o->until, &ret->until, f) < 0)
		return fail_wrap(f, "--until");
	return 0;
}

/* 1: shown; 0: beyond --until, nothing later will be wanted. */
static int show_entry(const struct show *show, const struct log_entry *e)
{
	FILE *out = strcmp(e->stream, "stderr") ? stdout : stderr;
	char time[TEXT_TIME_MAX];

	if (e->time_ns > show->until)
		return 0;
	if (e->time_ns < show->since)
		return 1;
	/* Both may lead to one place: what stdio keeps back for the one must not be overtaken by the other. */
	if (out == stderr)
		fflush(stdout);
	if (show->timestamps) {
		text_time(e->time_ns, time);
		fprintf(out, "%s ", time);
	}
	fwrite(e->text, 1, e->size, out);
	return 1;
}

/* 1: all shown that is there; 0: enough. */
static int show_available(const struct show *show, struct log_reader *reader, struct failure *f)
{
	struct log_entry e;
	int more = 1;

	while (more && log_reader_next(reader, &e))
		more = show_entry(show, &e);
	return cli_flush(f) < 0 ? -1 : more;
}

static bool is_alive(struct cli *cli, const char *id)
{
	struct box_state state;
	struct failure ignored = { 0 };
	bool alive;

	if (box_read_state(&cli->home, id, &state, &ignored) < 0)
		return false;
	alive = box_status_is_alive(state.status);
	box_state_deinit(&state);
	return alive;
}

/* Something happened in the directory, or a second passed. False: nobody reads our output any more. */
static bool wait_for_change(int fd)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = STDOUT_FILENO } };
	char events[4096];

	if (poll(p, ARRAY_SIZE(p), 1000) > 0 && p[0].revents)
		(void)!read(fd, events, sizeof(events));
	return !(p[1].revents & POLLERR);
}

/*
 * A write to the log, a rotation or a new state wakes us. That the box's monitor was killed shows in its lock alone, which
 * the kernel lets go of just after the event of closing it: hence the look once a second.
 */
static int follow(struct cli *cli, const struct show *show, const char *id, struct log_reader *reader, struct failure *f)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
	char path[PATH_MAX];
	bool alive = true;
	int more = 1;

	if (fd < 0 || box_path(&cli->home, id, "", path) < 0 ||
	    inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "cannot watch the log of box %.12s", id);
	/* The state is looked at before the log, so that the last words of a box that ends are shown. */
	while (more == 1 && alive) {
		alive = is_alive(cli, id);
		more = show_available(show, reader, f);
		if (more == 1 && alive && !wait_for_change(fd))
			break;
	}
	return more < 0 ? -1 : 0;
}

static int logs(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct logs_options *o = options;
	char id[BOX_ID_LENGTH + 1];
	struct log_reader reader;
	struct show show;
	int r;

	if (parse_show(o, &show, f) < 0 || box_resolve(&cli->home, args[0], id, f) < 0)
		return -1;
	if (log_reader_init(&reader, &cli->home, id, show.tail, f) < 0)
		return -1;
	if (o->follow)
		r = follow(cli, &show, id, &reader, f);
	else
		r = show_available(&show, &reader, f) < 0 ? -1 : 0;
	log_reader_deinit(&reader);
	return r;
}

const struct command cmd_logs = {
	.name = "logs",
	.summary = "Show what a box has written",
	.usage = "[OPTIONS] BOX",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct logs_options),
	.min_args = 1,
	.max_args = 1,
	.argument = ARGUMENT_BOX,
	.run = logs,
};
