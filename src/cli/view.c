/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/view.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/port_spec.h"

#define COMMAND_WIDTH 20
#define NS 1000000000LL

static const struct listing_title titles[] = {
	{ "ID", "CONTAINER ID" },	   { "Image", "IMAGE" },   { "Command", "COMMAND" },   { "CreatedAt", "CREATED AT" },
	{ "RunningFor", "CREATED" }, { "State", "STATE" }, { "Status", "STATUS" },     { "Ports", "PORTS" },
	{ "Names", "NAMES" },	   { "Labels", "LABELS" }, { "Networks", "NETWORKS" }, { "Mounts", "MOUNTS" },
	{ "LocalVolumes", "LOCAL VOLUMES" }, { "Size", "SIZE" }, { "Label", "LABEL" },
	{ 0 },
};

#define COLUMNS "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

const struct listing view_box_listing = {
	.standard = COLUMNS,
	.quiet = "ID",
	.titles = titles,
};

const struct listing view_box_listing_sized = {
	.standard = COLUMNS "\t{{.Size}}",
	.quiet = "ID",
	.titles = titles,
};

char *view_ellipsis(const char *text, size_t max)
{
	size_t width = 0, cut = 0;
	char *copy;

	for (size_t i = 0; text[i]; i++) {
		if (((unsigned char)text[i] & 0xc0) == 0x80)
			continue;
		if (width++ == max - 1)
			cut = i;
	}
	if (width <= max)
		return strdup(text);
	return asprintf(&copy, "%.*s\xe2\x80\xa6", (int)cut, text) < 0 ? NULL : copy;
}

static char *join(char *const *words, const char *separator)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (char *const *w = words; w && *w; w++)
		fprintf(out, "%s%s", w == words ? "" : separator, *w);
	fclose(out);
	return text;
}

/* In quotes, with what would upset a table or a terminal made visible. */
static char *quoted(const char *s)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '\n' || c == '\t')
			fprintf(out, "\\%c", c == '\n' ? 'n' : 't');
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
	fclose(out);
	return text;
}

char *view_status(const struct box_state *state, int64_t now_ns)
{
	char since[TEXT_TIME_MAX];
	char *text = NULL;
	int r = -1;

	switch (state->status) {
	case BOX_CREATED:
		return strdup("Created");
	case BOX_STARTING:
		return strdup("Starting");
	case BOX_RUNNING:
		text_duration((now_ns - state->started_ns) / NS, since);
		r = asprintf(&text, "Up %s", since);
		break;
	case BOX_EXITED:
		text_duration((now_ns - state->finished_ns) / NS, since);
		r = asprintf(&text, "Exited (%d) %s ago", state->exit_code, since);
		break;
	case BOX_DEAD:
		return strdup("Dead");
	}
	return r < 0 ? NULL : text;
}

static const char *shown_address(const struct box_port *p)
{
	return *p->host_address ? p->host_address : "0.0.0.0";
}

/* Whether `next` continues the run that begins at `first` and has `length` ports. */
static bool continues(const struct box_port *first, const struct box_port *next, unsigned length)
{
	return first->protocol == next->protocol && !strcmp(first->host_address, next->host_address) &&
	       next->host_port == first->host_port + length && next->guest_port == first->guest_port + length &&
	       first->host_port == first->guest_port;
}

static void print_run(FILE *out, const struct box_port *p, unsigned length)
{
	const char *address = shown_address(p);
	bool v6 = strchr(address, ':') != NULL;

	fprintf(out, "%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", p->host_port);
	if (length > 1)
		fprintf(out, "-%u", p->host_port + length - 1);
	fprintf(out, "->%u", p->guest_port);
	if (length > 1)
		fprintf(out, "-%u", p->guest_port + length - 1);
	fprintf(out, "/%s", box_protocol_name(p->protocol));
}

static int compare_bound(const void *a, const void *b)
{
	const struct box_port *x = a, *y = b;

	if (x->guest_port != y->guest_port)
		return (int)x->guest_port - (int)y->guest_port;
	if (x->protocol != y->protocol)
		return (int)x->protocol - (int)y->protocol;
	if (strcmp(x->host_address, y->host_address) != 0)
		return strcmp(x->host_address, y->host_address);
	return (int)x->host_port - (int)y->host_port;
}

/* For folding: all ports of one address together. */
static int compare_by_address(const void *a, const void *b)
{
	const struct box_port *x = a, *y = b;
	int r = strcmp(x->host_address, y->host_address);

	if (r == 0 && x->protocol != y->protocol)
		r = (int)x->protocol - (int)y->protocol;
	return r ? r : compare_bound(a, b);
}

static struct box_port *sorted_bound(const struct box_state *state, int (*compare)(const void *, const void *))
{
	struct box_port *ports = calloc(state->n_bound + 1, sizeof(*ports));

	if (!ports)
		return NULL;
	if (state->n_bound) {
		memcpy(ports, state->bound, state->n_bound * sizeof(*ports));
		qsort(ports, state->n_bound, sizeof(*ports), compare);
	}
	return ports;
}

static bool is_published(const struct port_set *published, const char *exposed)
{
	enum box_protocol protocol;
	uint16_t port;

	return port_spec_parse_exposed(exposed, &protocol, &port) == 0 && port_set_has(published, protocol, port);
}

/* Consecutive ports of one address: `first` of them all, in the array that is sorted by address. */
struct run {
	const struct box_port *first;
	unsigned length;
};

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return compare_bound(x->first, y->first);
}

/* Fold sorted ports into runs, in the order that people look for: by the box's port. Returns how many. */
static size_t fold_ports(const struct box_port *ports, size_t n, struct run *ret)
{
	size_t runs = 0;

	for (size_t i = 0; i < n; i += ret[runs - 1].length) {
		unsigned length = 1;

		while (i + length < n && continues(&ports[i], &ports[i + length], length))
			length++;
		ret[runs++] = (struct run){ &ports[i], length };
	}
	if (runs)
		qsort(ret, runs, sizeof(*ret), compare_runs);
	return runs;
}

static void print_ports(FILE *out, const struct box_config *config, const struct box_state *state, const struct run *runs, size_t n)
{
	struct port_set published = { 0 };
	const char *separator = "";

	for (size_t i = 0; i < state->n_bound; i++)
		port_set_add(&published, state->bound[i].protocol, state->bound[i].guest_port);
	for (size_t i = 0; i < n; i++) {
		fputs(separator, out);
		print_run(out, runs[i].first, runs[i].length);
		separator = ", ";
	}
	for (char **e = config->exposed; e && *e; e++) {
		if (is_published(&published, *e))
			continue;
		fprintf(out, "%s%s", separator, *e);
		separator = ", ";
	}
}

char *view_ports(const struct box_config *config, const struct box_state *state)
{
	_cleanup_free_ struct box_port *ports = sorted_bound(state, compare_by_address);
	_cleanup_free_ struct run *runs = calloc(state->n_bound + 1, sizeof(*runs));
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	if (!box_status_is_alive(state->status))
		return strdup("");
	out = ports && runs ? open_memstream(&text, &size) : NULL;
	if (!out)
		return NULL;
	print_ports(out, config, state, runs, fold_ports(ports, state->n_bound, runs));
	fclose(out);
	return text;
}

static void set_text(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, json_string(value ? value : ""));
}

/* Takes the text. */
static void set_taken(json_t *object, const char *key, char *value)
{
	set_text(object, key, value);
	free(value);
}

/* "key=value" vector -> object. */
static json_t *pairs_to_object(char *const *pairs, char separator)
{
	json_t *object = json_object();

	for (; pairs && *pairs; pairs++) {
		const char *at = strchr(*pairs, separator);
		_cleanup_free_ char *key = strndup(*pairs, at ? (size_t)(at - *pairs) : strlen(*pairs));

		if (key)
			set_text(object, key, at ? at + 1 : "");
	}
	return object;
}

static void row_times(json_t *row, int64_t created_ns, int64_t now_ns)
{
	char duration[TEXT_TIME_MAX], ago[TEXT_TIME_MAX + 8], at[64] = "";
	time_t seconds = (time_t)(created_ns / NS);
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S %z %Z", &tm);
	set_text(row, "CreatedAt", at);
	text_duration((now_ns - created_ns) / NS, duration);
	snprintf(ago, sizeof(ago), "%s ago", duration);
	set_text(row, "RunningFor", ago);
}

json_t *view_box_row(const struct box_entry *entry, int64_t now_ns, bool whole, const char *size)
{
	const struct box_config *c = &entry->config;
	_cleanup_free_ char *command = join(c->command, " ");
	_cleanup_free_ char *cut = command ? view_ellipsis(command, whole ? SIZE_MAX : COMMAND_WIDTH) : NULL;
	char id[BOX_ID_LENGTH + 1];
	json_t *row = json_object();

	snprintf(id, sizeof(id), "%.*s", whole ? BOX_ID_LENGTH : BOX_SHORT_LENGTH, c->id);
	set_text(row, "ID", id);
	set_text(row, "Image", c->image);
	set_taken(row, "Command", cut ? quoted(cut) : NULL);
	row_times(row, c->created_ns, now_ns);
	set_text(row, "State", box_status_name(entry->state.status));
	set_taken(row, "Status", view_status(&entry->state, now_ns));
	set_taken(row, "Ports", view_ports(c, &entry->state));
	set_text(row, "Names", c->name);
	set_taken(row, "Labels", join(c->labels, ","));
	set_text(row, "Networks", box_network_name(c->network));
	set_text(row, "Mounts", "");
	set_text(row, "LocalVolumes", "0");
	set_text(row, "Size", size);
	json_object_set_new(row, "Label", pairs_to_object(c->labels, '='));
	return row;
}

json_t *view_port_map(const struct box_config *config, const struct box_state *state)
{
	_cleanup_free_ struct box_port *ports = sorted_bound(state, compare_bound);
	json_t *map = json_object();

	if (!ports || !box_status_is_alive(state->status))
		return map;
	for (size_t i = 0; i < state->n_bound; i++) {
		char key[16], number[8];
		json_t *list;

		snprintf(key, sizeof(key), "%u/%s", ports[i].guest_port, box_protocol_name(ports[i].protocol));
		snprintf(number, sizeof(number), "%u", ports[i].host_port);
		list = json_object_get(map, key);
		if (!list) {
			list = json_array();
			json_object_set_new(map, key, list);
		}
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "HostIp", shown_address(&ports[i]), "HostPort", number));
	}
	for (char **e = config->exposed; e && *e; e++) {
		if (!json_object_get(map, *e))
			json_object_set_new(map, *e, json_null());
	}
	return map;
}

/* {"80/tcp":[{"HostIp":"","HostPort":"8080"}]}: what was asked for. */
static json_t *asked_ports(const struct box_config *config)
{
	json_t *map = json_object();

	for (size_t i = 0; i < config->n_ports; i++) {
		const struct box_port *p = &config->ports[i];
		char key[16], number[16] = "";
		json_t *list;

		snprintf(key, sizeof(key), "%u/%s", p->guest_port, box_protocol_name(p->protocol));
		if (p->host_port_last)
			snprintf(number, sizeof(number), "%u-%u", p->host_port, p->host_port_last);
		else if (p->host_port)
			snprintf(number, sizeof(number), "%u", p->host_port);
		list = json_object_get(map, key);
		if (!list) {
			list = json_array();
			json_object_set_new(map, key, list);
		}
		json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", p->host_address, "HostPort", number));
	}
	return map;
}

static void set_time(json_t *object, const char *key, int64_t ns)
{
	char text[TEXT_TIME_MAX];

	/* docker's zero time: "it has not happened". */
	if (ns)
		text_time(ns, text);
	set_text(object, key, ns ? text : "0001-01-01T00:00:00Z");
}

static json_t *inspect_state(const struct box_state *s)
{
	json_t *state = json_object();

	set_text(state, "Status", box_status_name(s->status));
	json_object_set_new(state, "Running", json_boolean(s->status == BOX_RUNNING));
	json_object_set_new(state, "Paused", json_false());
	json_object_set_new(state, "Restarting", json_false());
	json_object_set_new(state, "OOMKilled", json_boolean(s->oom_killed));
	json_object_set_new(state, "Dead", json_boolean(s->status == BOX_DEAD));
	json_object_set_new(state, "Pid", json_integer(box_status_is_alive(s->status) ? s->vm_pid : 0));
	json_object_set_new(state, "ExitCode", json_integer(s->exit_code));
	set_text(state, "Error", s->error);
	json_object_set_new(state, "Health", json_null()); /* there are no health checks: nothing is known */
	set_time(state, "StartedAt", s->started_ns);
	set_time(state, "FinishedAt", box_status_is_alive(s->status) ? 0 : s->finished_ns);
	return state;
}

static json_t *inspect_config(const struct box_config *c)
{
	json_t *config = json_object(), *exposed = json_object();
	size_t n = strv_length(c->command), split = MIN(c->entrypoint_length, n);
	json_t *entrypoint = json_array();
	char signal_name[16];

	for (size_t i = 0; i < split; i++)
		json_array_append_new(entrypoint, json_string(c->command[i]));
	for (char **e = c->exposed; e && *e; e++)
		json_object_set_new(exposed, *e, json_object());
	snprintf(signal_name, sizeof(signal_name), "SIG%s", sigabbrev_np(c->stop_signal) ? sigabbrev_np(c->stop_signal) : "TERM");
	set_text(config, "Hostname", c->hostname);
	set_text(config, "User", c->user);
	json_object_set_new(config, "ExposedPorts", exposed);
	json_object_set_new(config, "Tty", json_boolean(c->tty));
	json_object_set_new(config, "OpenStdin", json_boolean(c->open_stdin));
	json_object_set_new(config, "Env", json_from_strv(c->env));
	json_object_set_new(config, "Cmd", json_from_strv(c->command ? c->command + split : NULL));
	json_object_set_new(config, "Image", json_string(c->image));
	set_text(config, "WorkingDir", c->workdir);
	if (split)
		json_object_set_new(config, "Entrypoint", entrypoint);
	else
		json_decref(entrypoint);
	if (!split)
		json_object_set_new(config, "Entrypoint", json_null());
	json_object_set_new(config, "Labels", pairs_to_object(c->labels, '='));
	set_text(config, "StopSignal", sigabbrev_np(c->stop_signal) ? signal_name : "");
	json_object_set_new(config, "StopTimeout", json_integer(c->stop_timeout));
	return config;
}

static json_t *inspect_log(const struct box_config *c)
{
	char size[24], files[16];

	snprintf(size, sizeof(size), "%lld", (long long)c->log_max_size);
	snprintf(files, sizeof(files), "%u", c->log_max_files);
	return json_pack("{s:s, s:{s:s, s:s}}", "Type", "json-file", "Config", "max-file", files, "max-size", size);
}

static json_t *inspect_host_config(const struct box_config *c)
{
	json_t *host = json_object();

	set_text(host, "NetworkMode", box_network_name(c->network));
	json_object_set_new(host, "PortBindings", asked_ports(c));
	json_object_set_new(host, "AutoRemove", json_boolean(c->auto_remove));
	json_object_set_new(host, "Memory", json_integer(c->memory));
	json_object_set_new(host, "NanoCpus", json_integer((json_int_t)c->cpus * NS));
	json_object_set_new(host, "Dns", json_from_strv(c->dns));
	json_object_set_new(host, "DnsOptions", json_from_strv(c->dns_option));
	json_object_set_new(host, "DnsSearch", json_from_strv(c->dns_search));
	json_object_set_new(host, "ExtraHosts", json_from_strv(c->hosts));
	json_object_set_new(host, "Tmpfs", pairs_to_object(c->tmpfs, ':'));
	json_object_set_new(host, "ReadonlyRootfs", json_boolean(c->read_only));
	json_object_set_new(host, "Init", json_boolean(c->init));
	json_object_set_new(host, "LogConfig", inspect_log(c));
	json_object_set_new(host, "RestartPolicy", json_pack("{s:s, s:i}", "Name", "no", "MaximumRetryCount", 0));
	return host;
}

/* A box has no address of its own: docker's fields are there, and empty. */
static json_t *inspect_network(const struct box_config *c, const struct box_state *s)
{
	static const char *const empty[] = { "IPAddress", "Gateway", "MacAddress", "GlobalIPv6Address", "IPv6Gateway" };
	json_t *network = json_object(), *networks = json_object(), *one = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		set_text(network, empty[i], "");
		set_text(one, empty[i], "");
	}
	set_text(one, "NetworkID", "");
	json_object_set_new(networks, box_network_name(c->network), one);
	set_text(network, "Mode", box_network_name(c->network));
	json_object_set_new(network, "Ports", view_port_map(c, s));
	json_object_set_new(network, "Networks", networks);
	return network;
}

json_t *view_box_inspect(const struct box_entry *entry)
{
	const struct box_config *c = &entry->config;
	const struct box_state *s = &entry->state;
	json_t *box = json_object();
	size_t n = strv_length(c->command);

	json_object_set_new(box, "Id", json_string(c->id));
	set_time(box, "Created", c->created_ns);
	set_text(box, "Path", n ? c->command[0] : "");
	json_object_set_new(box, "Args", json_from_strv(n ? c->command + 1 : NULL));
	json_object_set_new(box, "State", inspect_state(s));
	set_text(box, "Image", c->image_id);
	set_text(box, "Name", c->name);
	json_object_set_new(box, "RestartCount", json_integer(0));
	set_text(box, "Driver", "microvm");
	set_text(box, "Accelerator", s->accelerator);
	json_object_set_new(box, "HostConfig", inspect_host_config(c));
	json_object_set_new(box, "Mounts", json_array());
	json_object_set_new(box, "Config", inspect_config(c));
	json_object_set_new(box, "NetworkSettings", inspect_network(c, s));
	return box;
}
