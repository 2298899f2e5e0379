/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ps_filter.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "cli/port_spec.h"
#include "cli/values.h"

/**
 * struct ps_filter - one, parsed
 * @number:	exit code, time of creation of the box named, or first port
 * @last:	last port
 * @protocol:	of the ports
 */
struct ps_filter {
	const struct filter_key *key;
	const char *value;
	int64_t number, last;
	enum box_protocol protocol;
};

/**
 * struct filter_key - what may stand before the "="
 * @parse:	check the value; NULL: any will do
 * @each:	all values of this key must fit, not one of them
 * @all:	means boxes that do not run, too
 */
struct filter_key {
	const char *name;
	int (*parse)(const struct home *home, struct ps_filter *filter, struct failure *f);
	bool (*matches)(const struct ps_filter *filter, const struct box_entry *e);
	bool each, all;
};

/* docker's words. We never have the last three: boxes are not paused, and restart and rm leave no such state. */
static const char *const states[] = { "created", "starting", "running", "exited", "dead", "paused", "restarting", "removing" };
static const char *const later[] = { "health", "is-task", "volume" };

static int parse_status(const struct home *home, struct ps_filter *filter, struct failure *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (!strcmp(states[i], filter->value))
			return 0;
	}
	return fail(f, EXIT_USAGE, "\"%.40s\" is none of created, starting, running, exited, dead, paused, restarting, removing",
		    filter->value);
}

static int parse_exited(const struct home *home, struct ps_filter *filter, struct failure *f)
{
	if (text_to_int(filter->value, 0, 255, &filter->number) < 0)
		return fail(f, EXIT_USAGE, "\"%.40s\" is not an exit code from 0 to 255", filter->value);
	return 0;
}

/* The time of creation of the box that is named. */
static int parse_box(const struct home *home, struct ps_filter *filter, struct failure *f)
{
	struct box_config config;
	char id[BOX_ID_LENGTH + 1];

	if (box_resolve(home, filter->value, id, f) < 0 || box_read_config(home, id, &config, f) < 0)
		return -1;
	filter->number = config.created_ns;
	box_config_deinit(&config);
	return 0;
}

/* "80", "80/udp", "80-89/tcp". */
static int parse_ports(const struct home *home, struct ps_filter *filter, struct failure *f)
{
	const char *p = filter->value;
	char *end = NULL;
	bool good = isdigit((unsigned char)*p);

	filter->number = filter->last = good ? strtol(p, &end, 10) : 0;
	if (good && *end == '-' && isdigit((unsigned char)end[1]))
		filter->last = strtol(end + 1, &end, 10);
	if (good && !strcmp(end, "/udp"))
		filter->protocol = BOX_UDP;
	else if (good && *end && strcmp(end, "/tcp") != 0)
		good = false;
	if (!good || filter->number < 1 || filter->last < filter->number || filter->last > UINT16_MAX)
		return fail(f, EXIT_USAGE, "\"%.40s\" is not PORT[-PORT][/tcp|/udp]", filter->value);
	return 0;
}

static int parse_network(const struct home *home, struct ps_filter *filter, struct failure *f)
{
	if (strcmp(filter->value, "tsi") != 0 && strcmp(filter->value, "none") != 0)
		return fail(f, EXIT_USAGE, "\"%.40s\" is neither tsi nor none", filter->value);
	return 0;
}

static bool matches_id(const struct ps_filter *filter, const struct box_entry *e)
{
	return text_starts(e->config.id, filter->value);
}

static bool regex_finds(const regex_t *pattern, const char *text)
{
	return regexec(pattern, text, 0, NULL, 0) == 0;
}

/* A regular expression, for which the name may begin with docker's slash; a malformed one counts as plain text. */
static bool matches_name(const struct ps_filter *filter, const struct box_entry *e)
{
	char with_slash[BOX_NAME_MAX + 2];
	regex_t pattern;
	bool found;

	if (regcomp(&pattern, filter->value, REG_EXTENDED | REG_NOSUB) != 0)
		return strstr(e->config.name, filter->value) != NULL;
	snprintf(with_slash, sizeof(with_slash), "/%s", e->config.name);
	found = regex_finds(&pattern, e->config.name) || regex_finds(&pattern, with_slash);
	regfree(&pattern);
	return found;
}

static bool matches_label(const struct ps_filter *filter, const struct box_entry *e)
{
	const char *value = filter->value;

	return strchr(value, '=') ? strv_has(e->config.labels, value) : value_of(e->config.labels, value) != NULL;
}

static bool matches_status(const struct ps_filter *filter, const struct box_entry *e)
{
	return !strcmp(box_status_name(e->state.status), filter->value);
}

static bool matches_exited(const struct ps_filter *filter, const struct box_entry *e)
{
	return e->state.status == BOX_EXITED && e->state.exit_code == filter->number;
}

static bool matches_ancestor(const struct ps_filter *filter, const struct box_entry *e)
{
	const char *value = filter->value, *image = e->config.image, *id = e->config.image_id;
	size_t n = strlen(value);

	if (!strcmp(image, value) || (!strncmp(image, value, n) && !strcmp(image + n, ":latest")))
		return true;
	return text_starts(id, value) || (text_starts(id, "sha256:") && n >= 4 && text_starts(id + 7, value));
}

static bool matches_before(const struct ps_filter *filter, const struct box_entry *e)
{
	return e->config.created_ns < filter->number;
}

static bool matches_since(const struct ps_filter *filter, const struct box_entry *e)
{
	return e->config.created_ns > filter->number;
}

static bool in_range(const struct ps_filter *filter, enum box_protocol protocol, uint16_t port)
{
	return protocol == filter->protocol && port >= filter->number && port <= filter->last;
}

/* docker looks at the box's side; people mean the host's as well. */
static bool matches_publish(const struct ps_filter *filter, const struct box_entry *e)
{
	for (size_t i = 0; i < e->config.n_ports; i++) {
		const struct box_port *p = &e->config.ports[i];

		if (in_range(filter, p->protocol, p->guest_port) || in_range(filter, p->protocol, p->host_port))
			return true;
	}
	for (size_t i = 0; i < e->state.n_bound; i++) {
		if (in_range(filter, e->state.bound[i].protocol, e->state.bound[i].host_port))
			return true;
	}
	return false;
}

static bool matches_expose(const struct ps_filter *filter, const struct box_entry *e)
{
	enum box_protocol protocol;
	uint16_t port;

	for (char **exposed = e->config.exposed; exposed && *exposed; exposed++) {
		if (port_spec_parse_exposed(*exposed, &protocol, &port) == 0 && in_range(filter, protocol, port))
			return true;
	}
	return false;
}

static bool matches_network(const struct ps_filter *filter, const struct box_entry *e)
{
	return !strcmp(box_network_name(e->config.network), filter->value);
}

static const struct filter_key keys[] = {
	{ "ancestor=", NULL, matches_ancestor, false, false },
	{ "before=", parse_box, matches_before, true, false },
	{ "exited=", parse_exited, matches_exited, false, true },
	{ "expose=", parse_ports, matches_expose, false, false },
	{ "id=", NULL, matches_id, false, false },
	{ "label=", NULL, matches_label, true, false },
	{ "name=", NULL, matches_name, false, false },
	{ "network=", parse_network, matches_network, false, false },
	{ "publish=", parse_ports, matches_publish, false, false },
	{ "since=", parse_box, matches_since, true, false },
	{ "status=", parse_status, matches_status, false, true },
};

const char *ps_filter_key(size_t i)
{
	return i < ARRAY_SIZE(keys) ? keys[i].name : NULL;
}

const char *ps_filter_status(size_t i)
{
	return i < ARRAY_SIZE(states) ? states[i] : NULL;
}

static int fail_unknown(const char *text, struct failure *f)
{
	int n = (int)strcspn(text, "=");

	for (size_t i = 0; i < ARRAY_SIZE(later); i++) {
		if (strlen(later[i]) == (size_t)n && !strncmp(later[i], text, (size_t)n))
			return fail(f, EXIT_USAGE, "not supported yet: --filter %s", later[i]);
	}
	return fail(f, EXIT_USAGE,
		    "--filter: \"%.60s\" is not KEY=VALUE with one of ancestor, before, exited, expose, id, label, name, network, publish, "
		    "since, status", text);
}

static int parse_one(const struct home *home, const char *text, struct ps_filter *ret, struct failure *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!text_starts(text, keys[i].name))
			continue;
		*ret = (struct ps_filter){ .key = &keys[i], .value = text + strlen(keys[i].name) };
		if (keys[i].parse && keys[i].parse(home, ret, f) < 0) {
			f->code = EXIT_USAGE;
			return fail_wrap(f, "--filter %.*s", (int)strlen(keys[i].name) - 1, text);
		}
		return 0;
	}
	return fail_unknown(text, f);
}

int ps_filters_parse(const struct home *home, char *const *texts, struct ps_filters *ret, struct failure *f)
{
	*ret = (struct ps_filters){ .list = calloc(strv_length(texts) + 1, sizeof(*ret->list)) };
	if (!ret->list)
		return fail(f, EXIT_USAGE, "out of memory");
	for (; texts && *texts; texts++, ret->n++) {
		if (parse_one(home, *texts, &ret->list[ret->n], f) < 0) {
			ps_filters_deinit(ret);
			return -1;
		}
	}
	return 0;
}

void ps_filters_deinit(struct ps_filters *filters)
{
	free(filters->list);
	*filters = (struct ps_filters){ 0 };
}

static bool passes_key(const struct filter_key *key, const struct ps_filters *filters, const struct box_entry *e)
{
	bool any = false, hit = false;

	for (size_t i = 0; i < filters->n; i++) {
		const struct ps_filter *filter = &filters->list[i];

		if (filter->key != key)
			continue;
		any = true;
		if (key->matches(filter, e))
			hit = true;
		else if (key->each)
			return false;
	}
	return !any || hit;
}

bool ps_filters_pass(const struct ps_filters *filters, const struct box_entry *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!passes_key(&keys[i], filters, entry))
			return false;
	}
	return true;
}

bool ps_filters_want_all(const struct ps_filters *filters)
{
	for (size_t i = 0; i < filters->n; i++) {
		if (filters->list[i].key->all)
			return true;
	}
	return false;
}
