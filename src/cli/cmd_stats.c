/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What boxes use, with docker's columns. Processor, memory, disks and processes are what the guest's kernel says (the agent's
 * metrics), so MEM USAGE is what the box has in use of its microVM's memory; the network is what a3s-box-vsock has counted.
 *
 * CPU % needs two looks. So the first figures come a second after the first look, and then every second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "a3s/agent.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/monitor_client.h"

#define PERIOD_S 1
#define ANSWER_S 5 /* a guest that does not answer shows zeros */
#define CLEAR_SCREEN "\033[H\033[J"

struct stats_options {
	bool all, once, whole;
	const char *format;
};

#define AT(member) offsetof(struct stats_options, member)
static const struct option_spec options_table[] = {
	{ "all", 'a', NULL, "Show boxes that do not run too", option_set_switch, AT(all) },
	{ "format", 0, "FORMAT", "table, json, or a template like '{{.Name}}: {{.CPUPerc}}'", option_set_text, AT(format) },
	{ "no-stream", 0, NULL, "Print once and end", option_set_switch, AT(once) },
	{ "no-trunc", 0, NULL, "Do not cut ids", option_set_switch, AT(whole) },
	{ 0 },
};

static const struct listing_title titles[] = {
	{ "Container", "CONTAINER" },
	{ "ID", "CONTAINER ID" },
	{ "Name", "NAME" },
	{ "CPUPerc", "CPU %" },
	{ "MemUsage", "MEM USAGE / LIMIT" },
	{ "MemPerc", "MEM %" },
	{ "NetIO", "NET I/O" },
	{ "BlockIO", "BLOCK I/O" },
	{ "PIDs", "PIDS" },
	{ "BytesIn", "BYTES IN" },
	{ "BytesOut", "BYTES OUT" },
	{ "Connections", "CONNECTIONS" },
	{ "ConnectionsTotal", "CONNECTIONS TOTAL" },
	{ "ConnectionsRefused", "CONNECTIONS REFUSED" },
	{ "DatagramsIn", "DATAGRAMS IN" },
	{ "DatagramsOut", "DATAGRAMS OUT" },
	{ "DatagramsLost", "DATAGRAMS LOST" },
	{ 0 },
};

static const struct listing stats_listing = {
	.standard = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
	.quiet = "ID",
	.titles = titles,
};

/* What a3s-box-vsock counts, under the names of ours. */
static const struct {
	const char *field, *counter;
} counters[] = {
	{ "BytesIn", "net_in" },
	{ "BytesOut", "net_out" },
	{ "Connections", "net_connections" },
	{ "ConnectionsTotal", "net_connections_total" },
	{ "ConnectionsRefused", "refused" },
	{ "DatagramsIn", "datagrams_in" },
	{ "DatagramsOut", "datagrams_out" },
	{ "DatagramsLost", "datagrams_lost" },
};

/**
 * struct target - a box that is looked at
 * @cpu_ns, @at_ns: at the last look; at_ns 0: there was none
 */
struct target {
	char id[BOX_ID_LENGTH + 1];
	char *name;
	const char *asked; /* as the user called it, or NULL */
	int64_t cpu_ns, at_ns;
};

struct targets {
	struct target *all;
	size_t n;
};

static void targets_deinit(struct targets *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->all[i].name);
	free(t->all);
	*t = (struct targets){ 0 };
}

static int add_target(struct targets *t, const struct box_config *config, const char *asked, struct failure *f)
{
	struct target *more = reallocarray(t->all, t->n + 1, sizeof(*more)), *new;

	if (!more)
		return fail(f, EXIT_FAILED, "out of memory");
	t->all = more;
	new = &more[t->n];
	*new = (struct target){ .asked = asked, .name = strdup(config->name) };
	memcpy(new->id, config->id, sizeof(new->id));
	if (!new->name)
		return fail(f, EXIT_FAILED, "out of memory");
	t->n++;
	return 0;
}

static int find_named(struct cli *cli, char **names, struct targets *t, struct failure *f)
{
	for (; *names; names++) {
		struct box_config config = BOX_CONFIG_NULL;
		char id[BOX_ID_LENGTH + 1];
		int r = box_resolve(&cli->home, *names, id, f);

		if (r == 0)
			r = box_read_config(&cli->home, id, &config, f);
		if (r == 0)
			r = add_target(t, &config, *names, f);
		box_config_deinit(&config);
		if (r < 0)
			return -1;
	}
	return 0;
}

static const struct target *find_target(const struct targets *t, const char *id)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->all[i].id, id))
			return &t->all[i];
	}
	return NULL;
}

/* All that run now, or that there are: boxes come and go while we look. What is known of those that stay is kept. */
static int find_all(struct cli *cli, bool all, struct targets *t, struct failure *f)
{
	struct targets now = { 0 };
	struct box_list list;
	int r = 0;

	if (box_list_read(&cli->home, &list, f) < 0)
		return -1;
	for (size_t i = 0; i < list.n && r == 0; i++) {
		const struct target *before = find_target(t, list.entries[i].config.id);

		if (!all && !box_status_is_alive(list.entries[i].state.status))
			continue;
		r = add_target(&now, &list.entries[i].config, NULL, f);
		if (r == 0 && before) {
			now.all[now.n - 1].cpu_ns = before->cpu_ns;
			now.all[now.n - 1].at_ns = before->at_ns;
		}
	}
	box_list_deinit(&list);
	targets_deinit(t);
	*t = now;
	return r;
}

/* NULL when the guest does not answer, or the box does not run. */
static json_t *ask_agent(struct cli *cli, const char *id)
{
	struct timeval limit = { .tv_sec = ANSWER_S };
	struct failure ignored = { 0 };
	json_t *reply = NULL;
	_cleanup_close_ int fd = agent_connect(&cli->home, id, AGENT_PORT_CONTROL, &ignored);

	if (fd < 0)
		return NULL;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return monitor_request(fd, json_pack("{s:s}", "op", "metrics"), &reply, &ignored) < 0 ? NULL : reply;
}

static json_t *ask_vsock(struct cli *cli, const char *id)
{
	struct failure ignored = { 0 };
	json_t *reply = NULL;

	return monitor_ask(&cli->home, id, json_pack("{s:s}", "op", "stats"), &reply, &ignored) < 0 ? NULL : reply;
}

/* Binary, four digits, as docker says memory: "12.34MiB". */
static void print_binary(int64_t bytes, char ret[static 24])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t unit = 0;

	for (; v >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		v /= 1024;
	snprintf(ret, 24, "%.4g%s", v, units[unit]);
}

static void set_pair(json_t *row, const char *field, const char *first, const char *second)
{
	json_object_set_new(row, field, json_sprintf("%s / %s", first, second));
}

static void set_sizes(json_t *row, const char *field, int64_t first, int64_t second)
{
	char a[16], b[16];

	text_size(first, a);
	text_size(second, b);
	set_pair(row, field, a, b);
}

static void set_memory(json_t *row, int64_t used, int64_t total)
{
	char a[24], b[24];

	print_binary(used, a);
	print_binary(total, b);
	set_pair(row, "MemUsage", a, b);
	json_object_set_new(row, "MemPerc", json_sprintf("%.2f%%", total > 0 ? 100.0 * (double)used / (double)total : 0.0));
}

/* Of one processor of the host's, since the last look. */
static double cpu_percent(struct target *t, const json_t *metrics)
{
	int64_t cpu = json_int(metrics, "cpu_ns", 0), now = text_now_ns(), before = t->cpu_ns, then = t->at_ns;

	if (!metrics)
		cpu = now = 0;
	t->cpu_ns = cpu;
	t->at_ns = now;
	return then && now > then && cpu > before ? 100.0 * (double)(cpu - before) / (double)(now - then) : 0.0;
}

static json_t *look_at(struct cli *cli, struct target *t, bool whole)
{
	_cleanup_json_ json_t *metrics = ask_agent(cli, t->id), *reply = metrics ? ask_vsock(cli, t->id) : NULL;
	const json_t *net = json_object_get(reply, "stats");
	json_t *row = json_object();

	json_object_set_new(row, "ID", json_sprintf("%.*s", whole ? BOX_ID_LENGTH : BOX_SHORT_LENGTH, t->id));
	json_object_set_new(row, "Container", t->asked ? json_string(t->asked) : json_sprintf("%.*s", BOX_SHORT_LENGTH, t->id));
	json_object_set_new(row, "Name", json_string(t->name));
	json_object_set_new(row, "CPUPerc", json_sprintf("%.2f%%", cpu_percent(t, metrics)));
	set_memory(row, json_int(metrics, "memory_used", 0), json_int(metrics, "memory_total", 0));
	set_sizes(row, "NetIO", json_int(net, "net_in", 0), json_int(net, "net_out", 0));
	set_sizes(row, "BlockIO", json_int(metrics, "disk_read", 0), json_int(metrics, "disk_written", 0));
	json_object_set_new(row, "PIDs", json_sprintf("%lld", (long long)json_int(metrics, "pids", 0)));
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		json_object_set_new(row, counters[i].field, json_sprintf("%lld", (long long)json_int(net, counters[i].counter, 0)));
	return row;
}

static json_t *look_at_all(struct cli *cli, struct targets *t, bool whole)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(rows, look_at(cli, &t->all[i], whole));
	return rows;
}

/* One look; printed when show is set. */
static int take_turn(struct cli *cli, const struct stats_options *o, char **names, struct targets *t, bool show, struct failure *f)
{
	bool clears = !o->once && isatty(STDOUT_FILENO);
	_cleanup_json_ json_t *rows = NULL;

	if (!*names && find_all(cli, o->all, t, f) < 0)
		return -1;
	rows = look_at_all(cli, t, o->whole);
	if (!show)
		return 0;
	if (clears)
		fputs(CLEAR_SCREEN, stdout);
	return listing_print(&stats_listing, rows, o->format, false, f) < 0 ? -1 : cli_flush(f);
}

static int stats(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct timespec period = { .tv_sec = PERIOD_S };
	const struct stats_options *o = options;
	struct targets t = { 0 };
	int r = find_named(cli, args, &t, f);

	if (r == 0)
		r = take_turn(cli, o, args, &t, false, f);
	while (r == 0) {
		if (t.n || !o->once)
			nanosleep(&period, NULL);
		r = take_turn(cli, o, args, &t, true, f);
		if (o->once)
			break;
	}
	targets_deinit(&t);
	return r;
}

const struct command cmd_stats = {
	.name = "stats",
	.summary = "Show what boxes use: processor, memory, network, disks",
	.usage = "[OPTIONS] [BOX...]",
	.details = "MEM USAGE is what is in use of the microVM's memory, CPU % is of one processor of this host. NET I/O is what the box "
		   "received and sent through the host's sockets; with --format json there are also the bytes, connections and datagrams "
		   "that were counted.",
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct stats_options),
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = stats,
};
