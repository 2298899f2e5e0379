/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From flags and image to a record, by docker's rules: a flag beats the image; --entrypoint drops the image's command too;
 * the environment is the image's, then the files', then -e.
 */
#include "cli/box_options.h"

#include <a3s/agent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "base/text.h"
#include "cli/port_spec.h"
#include "cli/pull.h"
#include "cli/values.h"
#include "image/image.h"
#include "store/net_limit.h"

#define MEMORY_DEFAULT (512LL << 20)

#define AT(member) offsetof(struct box_options, member)

const struct option_spec box_option_table[] = {
	{ "add-host", 0, "HOST:ADDRESS", "Add a line to the box's hosts file; host-gateway is this host's loopback", option_add_text,
	  AT(hosts) },
	{ "cpus", 0, "NUMBER", "Virtual processors, fractions rounded up (default 2, or all of a smaller host)", option_set_text,
	  AT(cpus) },
	{ "dns", 0, "ADDRESS", "Name server to use instead of this host's", option_add_text, AT(dns) },
	{ "dns-option", 0, "OPTION", "Option line of the box's resolv.conf, like ndots:2, instead of this host's", option_add_text,
	  AT(dns_options) },
	{ "dns-opt", 0, "OPTION", "The same as --dns-option", option_add_text, AT(dns_options) },
	{ "dns-search", 0, "DOMAIN", "Domain that names are searched in, instead of this host's; . for none", option_add_text,
	  AT(dns_searches) },
	{ "entrypoint", 0, "COMMAND", "Replace the image's entrypoint", option_set_text, AT(entrypoint) },
	{ "env", 'e', "NAME[=VALUE]", "Set an environment variable, or pass ours on", option_add_text, AT(env) },
	{ "env-file", 0, "FILE", "Read environment variables from a file", option_add_text, AT(env_file) },
	{ "expose", 0, "PORT[/udp]", "Declare a port of the box, or a range, for --publish-all", option_add_text, AT(expose) },
	{ "hostname", 'h', "NAME", "Host name in the box (default: its short id)", option_set_text, AT(hostname) },
	{ "init", 0, NULL, "Run a small init as process 1 that passes signals on and reaps", option_set_switch, AT(init) },
	{ "interactive", 'i', NULL, "Keep standard input open", option_set_switch, AT(interactive) },
	{ "label", 'l', "KEY[=VALUE]", "Put a label on the box", option_add_text, AT(labels) },
	{ "log-opt", 0, "KEY=VALUE", "max-size (default 10m) and max-file (default 3) of the log", option_add_text, AT(log_options) },
	{ "memory", 'm', "SIZE", "Memory of the microVM (default 512m)", option_set_bytes, AT(memory) },
	{ "name", 0, "NAME", "Name of the box", option_set_text, AT(name) },
	{ "net-limit", 0, "NAME=NUMBER", "Bound what the box may have open: connections, datagrams, flows, listeners, queued_bytes",
	  option_add_text, AT(net_limits) },
	{ "network", 0, "MODE", "tsi (default): sockets are the host's; none: no network", option_set_text, AT(network) },
	{ "net", 0, "MODE", "The same as --network", option_set_text, AT(network) },
	{ "publish", 'p', "[[ADDRESS:]PORT:]PORT[/udp]", "Publish a port of the box, or a range, on the host", option_add_text, AT(publish) },
	{ "publish-all", 'P', NULL, "Publish every exposed port on a port of the host's choice", option_set_switch, AT(publish_all) },
	{ "pull", 0, "WHEN", "Pull the image: missing (default), always, never", option_set_text, AT(pull) },
	{ "read-only", 0, NULL, "Mount the box's root file system read-only", option_set_switch, AT(read_only) },
	{ "rm", 0, NULL, "Remove the box when it ends", option_set_switch, AT(remove) },
	{ "stop-signal", 0, "SIGNAL", "Signal that asks the box to stop", option_set_text, AT(stop_signal) },
	{ "stop-timeout", 0, "SECONDS", "How long stop waits before it kills; -1: for ever (default 10)", option_set_integer,
	  AT(stop_timeout) },
	{ "tmpfs", 0, "PATH[:OPTIONS]", "Mount a file system in memory", option_add_text, AT(tmpfs) },
	{ "tty", 't', NULL, "Give the box a terminal", option_set_switch, AT(tty) },
	{ "user", 'u', "NAME|UID[:GROUP|GID]", "User that the command runs as", option_set_text, AT(user) },
	{ "workdir", 'w', "PATH", "Working directory in the box", option_set_text, AT(workdir) },
	{ 0 },
};

const char *const box_options_later[] = {
	"annotation", "attach", "a", "blkio-weight", "blkio-weight-device", "cap-add", "cap-drop", "cgroup-parent", "cgroupns",
	"cidfile", "cpu-count", "cpu-percent", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "c",
	"cpuset-cpus", "cpuset-mems", "device", "device-cgroup-rule", "device-read-bps", "device-read-iops", "device-write-bps",
	"device-write-iops", "disable-content-trust", "domainname", "gpus",
	"group-add", "health-cmd", "health-interval", "health-retries", "health-start-interval", "health-start-period",
	"health-timeout", "io-maxbandwidth", "io-maxiops", "ip", "ip6", "ipc", "isolation", "kernel-memory", "label-file", "link",
	"link-local-ip", "log-driver", "mac-address", "memory-reservation", "memory-swap", "memory-swappiness", "mount", "net-alias",
	"network-alias", "no-healthcheck", "oom-kill-disable", "oom-score-adj", "pid", "pids-limit", "platform", "privileged",
	"quiet", "q", "restart", "runtime", "security-opt", "shm-size", "storage-opt", "sysctl", "ulimit",
	"use-api-socket", "userns", "uts", "volume", "v", "volume-driver", "volumes-from", NULL,
};

static int no_memory(struct failure *f)
{
	return fail(f, EXIT_USAGE, "out of memory");
}

/* A copy of `s`, or of the fallback when it is NULL; NULL when both are. */
static int put_text(char **at, const char *s, const char *fallback, struct failure *f)
{
	const char *value = s ? s : fallback;

	if (!value || !*value)
		return 0;
	*at = strdup(value);
	return *at ? 0 : no_memory(f);
}

static int add_all(char ***to, char *const *from, struct failure *f)
{
	for (; from && *from; from++) {
		if (strv_add(to, *from) < 0)
			return no_memory(f);
	}
	return 0;
}

static int build_command(const struct box_options *o, const struct image *image, char **arguments, struct box_config *c,
			 struct failure *f)
{
	char *const *rest = *arguments || o->entrypoint ? arguments : image->command;
	int r = 0;

	if (!o->entrypoint)
		r = add_all(&c->command, image->entrypoint, f);
	else if (*o->entrypoint)
		r = strv_add(&c->command, o->entrypoint) < 0 ? no_memory(f) : 0;
	if (r < 0)
		return -1;
	c->entrypoint_length = strv_length(c->command);
	if (add_all(&c->command, rest, f) < 0)
		return -1;
	if (strv_length(c->command) == 0)
		return fail(f, EXIT_USAGE, "no command given, and image %s has none", c->image);
	return 0;
}

static int build_env(const struct box_options *o, const struct image *image, struct box_config *c, struct failure *f)
{
	if (!value_of(image->env, "PATH") && strv_add(&c->env, "PATH=" AGENT_PATH_DEFAULT) < 0)
		return no_memory(f);
	if (add_all(&c->env, image->env, f) < 0)
		return -1;
	for (char **file = o->env_file; file && *file; file++) {
		if (value_read_env_file(&c->env, *file, f) < 0)
			return fail_wrap(f, "--env-file");
	}
	for (char **e = o->env; e && *e; e++) {
		if (value_add_env(&c->env, *e, f) < 0)
			return fail_wrap(f, "--env");
	}
	return 0;
}

static int build_labels(const struct box_options *o, const struct image *image, struct box_config *c, struct failure *f)
{
	if (add_all(&c->labels, image->labels, f) < 0)
		return -1;
	for (char **l = o->labels; l && *l; l++) {
		_cleanup_free_ char *pair = NULL;

		if (**l == '=' || !**l)
			return fail(f, EXIT_USAGE, "--label: \"%s\" has no key", *l);
		if (asprintf(&pair, "%s%s", *l, strchr(*l, '=') ? "" : "=") < 0) {
			pair = NULL;
			return no_memory(f);
		}
		if (value_add_env(&c->labels, pair, f) < 0)
			return -1;
	}
	return 0;
}

static int build_network(const struct box_options *o, struct box_config *c, struct failure *f)
{
	const char *mode = o->network ? o->network : "tsi";

	if (!strcmp(mode, "none"))
		c->network = BOX_NETWORK_NONE;
	else if (strcmp(mode, "tsi") != 0 && strcmp(mode, "default") != 0)
		return fail(f, EXIT_USAGE, "not supported yet: --network %.80s; tsi and none are", mode);
	for (char **p = o->publish; p && *p; p++) {
		if (port_spec_parse(*p, &c->ports, &c->n_ports, f) < 0)
			return fail_wrap(f, "--publish");
	}
	for (char **e = o->expose; e && *e; e++) {
		enum box_protocol protocol;
		uint16_t first, last;

		if (port_spec_parse_range(*e, &protocol, &first, &last, f) < 0)
			return fail_wrap(f, "--expose");
	}
	for (char **l = o->net_limits; l && *l; l++) {
		if (net_limit_check(*l, f) < 0)
			return fail_wrap(f, "--net-limit");
	}
	if (add_all(&c->net_limits, o->net_limits, f) < 0)
		return -1;
	if (c->network == BOX_NETWORK_NONE && (c->n_ports || o->publish_all))
		return fail(f, EXIT_USAGE, "--publish: a box with --network none has no ports to publish");
	return port_spec_check(c->ports, c->n_ports, f);
}

static int build_names(const struct box_options *o, struct box_config *c, struct failure *f)
{
	char short_id[BOX_SHORT_LENGTH + 1], host[320];

	snprintf(short_id, sizeof(short_id), "%.12s", c->id);
	if (o->hostname && *o->hostname && value_check_hostname(o->hostname, f) < 0)
		return fail_wrap(f, "--hostname");
	if (put_text(&c->hostname, o->hostname && *o->hostname ? o->hostname : short_id, NULL, f) < 0)
		return -1;
	for (char **d = o->dns; d && *d; d++) {
		if (value_check_address(*d, f) < 0)
			return fail_wrap(f, "--dns");
	}
	for (char **d = o->dns_searches; d && *d; d++) {
		if (value_check_domain(*d, f) < 0)
			return fail_wrap(f, "--dns-search");
	}
	for (char **d = o->dns_options; d && *d; d++) {
		if (!**d || strpbrk(*d, " \t\r\n"))
			return fail(f, EXIT_USAGE, "--dns-option: \"%.80s\" is not one word like ndots:2", *d);
	}
	if (add_all(&c->dns, o->dns, f) < 0 || add_all(&c->dns_search, o->dns_searches, f) < 0 ||
	    add_all(&c->dns_option, o->dns_options, f) < 0)
		return -1;
	for (char **h = o->hosts; h && *h; h++) {
		if (value_parse_host(*h, host, f) < 0)
			return fail_wrap(f, "--add-host");
		if (strv_add(&c->hosts, host) < 0)
			return no_memory(f);
	}
	return 0;
}

static int expose(struct box_config *c, struct port_set *there, enum box_protocol protocol, unsigned port, struct failure *f)
{
	char text[16];

	if (port_set_has(there, protocol, (uint16_t)port))
		return 0;
	port_set_add(there, protocol, (uint16_t)port);
	snprintf(text, sizeof(text), "%u/%s", port, box_protocol_name(protocol));
	return strv_add(&c->exposed, text) < 0 ? no_memory(f) : 0;
}

/* Words of the image's or of --expose. What an image says that is no port of ours (sctp) stays as it is, for inspect. */
static int expose_all(struct box_config *c, struct port_set *there, char *const *words, struct failure *f)
{
	for (; words && *words; words++) {
		struct failure ignored = { 0 };
		enum box_protocol protocol;
		uint16_t first, last;
		int r = 0;

		if (port_spec_parse_range(*words, &protocol, &first, &last, &ignored) < 0)
			r = strv_add(&c->exposed, *words) < 0 ? no_memory(f) : 0;
		for (unsigned port = first; r == 0 && port && port <= last; port++)
			r = expose(c, there, protocol, port, f);
		if (r < 0)
			return -1;
	}
	return 0;
}

/* Those that are exposed and not published otherwise. */
static int publish_exposed(struct box_config *c, const struct port_set *there, struct failure *f)
{
	static const enum box_protocol protocols[] = { BOX_TCP, BOX_UDP };
	struct port_set published = { 0 };
	struct box_port *larger;

	for (size_t i = 0; i < c->n_ports; i++)
		port_set_add(&published, c->ports[i].protocol, c->ports[i].guest_port);
	larger = reallocarray(c->ports, c->n_ports + strv_length(c->exposed) + 1, sizeof(*larger));
	if (!larger)
		return no_memory(f);
	c->ports = larger;
	for (size_t p = 0; p < ARRAY_SIZE(protocols); p++) {
		for (unsigned port = 1; port <= UINT16_MAX; port++) {
			if (port_set_has(there, protocols[p], (uint16_t)port) && !port_set_has(&published, protocols[p], (uint16_t)port))
				c->ports[c->n_ports++] = (struct box_port){ .guest_port = (uint16_t)port, .protocol = protocols[p] };
		}
	}
	return 0;
}

/* What the image declares, --expose and what is published: the keys that inspect shows. */
static int build_exposed(const struct box_options *o, const struct image *image, struct box_config *c, struct failure *f)
{
	struct port_set there = { 0 };

	if (expose_all(c, &there, image->exposed, f) < 0 || expose_all(c, &there, o->expose, f) < 0)
		return -1;
	for (size_t i = 0; i < c->n_ports; i++) {
		if (expose(c, &there, c->ports[i].protocol, c->ports[i].guest_port, f) < 0)
			return -1;
	}
	return o->publish_all ? publish_exposed(c, &there, f) : 0;
}

static int build_size(const struct box_options *o, struct box_config *c, struct failure *f)
{
	long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	unsigned max = host_cpus < 1 ? 1 : (unsigned)host_cpus;

	c->cpus = MIN(2u, max);
	if (o->cpus && value_parse_cpus(o->cpus, max, &c->cpus, f) < 0)
		return fail_wrap(f, "--cpus");
	c->memory = o->memory ? o->memory : MEMORY_DEFAULT;
	if (pages > 0 && c->memory / page > pages)
		return fail(f, EXIT_USAGE, "--memory: %lldm is more than this host's %lldm", (long long)(c->memory >> 20),
			    (long long)(pages * page >> 20));
	if (c->memory < BOX_MEMORY_MIN)
		return fail(f, EXIT_USAGE, "--memory: a microVM needs at least %lldm", BOX_MEMORY_MIN >> 20);
	return 0;
}

static int build_tmpfs(const struct box_options *o, struct box_config *c, struct failure *f)
{
	for (char **t = o->tmpfs; t && *t; t++) {
		if (**t != '/' || (*t)[1] == ':' || !(*t)[1])
			return fail(f, EXIT_USAGE, "--tmpfs: \"%s\" is not PATH[:OPTIONS] with an absolute path below /", *t);
	}
	return add_all(&c->tmpfs, o->tmpfs, f);
}

static int build_log(const struct box_options *o, struct box_config *c, struct failure *f)
{
	int64_t files;

	c->log_max_size = BOX_LOG_MAX_SIZE;
	c->log_max_files = BOX_LOG_MAX_FILES;
	for (char **l = o->log_options; l && *l; l++) {
		if (text_starts(*l, "max-size=")) {
			if (text_to_bytes(*l + strlen("max-size="), &c->log_max_size) < 0 || c->log_max_size < 1)
				return fail(f, EXIT_USAGE, "--log-opt: \"%s\" is not a size like 10m", *l);
		} else if (text_starts(*l, "max-file=")) {
			if (text_to_int(*l + strlen("max-file="), 1, 1000, &files) < 0)
				return fail(f, EXIT_USAGE, "--log-opt: \"%s\" is not a number from 1 to 1000", *l);
			c->log_max_files = (unsigned)files;
		} else {
			return fail(f, EXIT_USAGE, "--log-opt: unknown option \"%s\"; max-size and max-file are known", *l);
		}
	}
	return 0;
}

static int build_stop(const struct box_options *o, const struct image *image, struct box_config *c, struct failure *f)
{
	c->stop_signal = image->stop_signal ? image->stop_signal : SIGTERM;
	if (o->stop_signal && value_parse_signal(o->stop_signal, &c->stop_signal, f) < 0)
		return fail_wrap(f, "--stop-signal");
	if (o->stop_timeout.given) {
		if (o->stop_timeout.value < -1)
			return fail(f, EXIT_USAGE, "--stop-timeout: %lld is neither seconds nor -1",
				    (long long)o->stop_timeout.value);
		c->stop_timeout = (int)o->stop_timeout.value;
	}
	return 0;
}

static int check_texts(const struct box_options *o, char **args, struct failure *f)
{
	const struct {
		const char *flag, *text;
	} texts[] = { { "--entrypoint", o->entrypoint }, { "--user", o->user }, { "--workdir", o->workdir } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (value_check_text(texts[i].text, f) < 0)
			return fail_wrap(f, "%s", texts[i].flag);
	}
	if (value_check_texts(o->env, "--env", f) < 0 || value_check_texts(o->labels, "--label", f) < 0 ||
	    value_check_texts(o->tmpfs, "--tmpfs", f) < 0 || value_check_texts(o->dns_options, "--dns-option", f) < 0)
		return -1;
	return value_check_texts(args + 1, "argument", f);
}

/* All that needs no image: refused before anything is fetched. */
static int build_from_flags(const struct box_options *o, struct box_config *c, struct failure *f)
{
	int r = text_random_id(c->id);

	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot make an id");
	if (o->workdir && *o->workdir && *o->workdir != '/')
		return fail(f, EXIT_USAGE, "--workdir: \"%.80s\" is not an absolute path", o->workdir);
	c->created_ns = text_now_ns();
	c->tty = o->tty;
	c->open_stdin = o->interactive;
	c->init = o->init;
	c->read_only = o->read_only;
	c->auto_remove = o->remove;
	if (put_text(&c->name, o->name, NULL, f) < 0 || build_network(o, c, f) < 0 || build_names(o, c, f) < 0 ||
	    build_size(o, c, f) < 0 || build_tmpfs(o, c, f) < 0 || build_log(o, c, f) < 0)
		return -1;
	return 0;
}

static int build_from_image(const struct box_options *o, const struct image *image, char **args, struct box_config *c,
			    struct failure *f)
{
	if (put_text(&c->image, args[0], NULL, f) < 0 || put_text(&c->image_id, image->id, NULL, f) < 0 ||
	    put_text(&c->workdir, o->workdir && *o->workdir ? o->workdir : NULL, image->workdir, f) < 0 ||
	    put_text(&c->user, o->user, image->user, f) < 0)
		return -1;
	if (build_command(o, image, args + 1, c, f) < 0 || build_env(o, image, c, f) < 0 || build_labels(o, image, c, f) < 0 ||
	    build_exposed(o, image, c, f) < 0 || build_stop(o, image, c, f) < 0)
		return -1;
	return 0;
}

int box_options_build(struct cli *cli, const struct box_options *options, char **args, struct box_config *ret, struct failure *f)
{
	enum pull_policy policy = PULL_MISSING;
	struct image image = { 0 };
	int r;

	*ret = (struct box_config)BOX_CONFIG_NULL;
	if (check_texts(options, args, f) < 0 || pull_parse_policy(options->pull, &policy, f) < 0 ||
	    build_from_flags(options, ret, f) < 0)
		return -1;
	/* The name is taken for good by box_create(); asking now spares a pull that would be in vain. */
	if (ret->name && box_check_name(&cli->home, ret->name, f) < 0)
		return -1;
	if (pull_ensure(cli, args[0], policy, &image, f) < 0)
		return -1;
	r = build_from_image(options, &image, args, ret, f);
	image_deinit(&image);
	return r;
}
