/* SPDX-License-Identifier: Apache-2.0 */
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/values.h"
#include "cli/view.h"

struct ps_options {
	bool all, quiet, whole, latest;
	struct option_integer last;
	const char *format;
	char **filters;
};

#define AT(member) offsetof(struct ps_options, member)
static const struct option_spec options_table[] = {
	{ "all", 'a', NULL, "Show boxes that do not run too", option_set_switch, AT(all) },
	{ "filter", 'f', "KEY=VALUE", "Show those only: id, name, label, status, ancestor, exited", option_add_text, AT(filters) },
	{ "format", 0, "FORMAT", "table, json, or a template like '{{.Names}}'", option_set_text, AT(format) },
	{ "last", 'n', "NUMBER", "Show the newest ones, running or not", option_set_integer, AT(last) },
	{ "latest", 'l', NULL, "Show the newest one, running or not", option_set_switch, AT(latest) },
	{ "no-trunc", 0, NULL, "Do not cut ids and commands", option_set_switch, AT(whole) },
	{ "quiet", 'q', NULL, "Print ids only", option_set_switch, AT(quiet) },
	{ 0 },
};
static const char *const later[] = { "size", "s", NULL };

static bool matches_id(const struct box_entry *e, const char *value)
{
	return text_starts(e->config.id, value);
}

/* A regular expression, as in docker; one that is malformed counts as plain text. */
static bool matches_name(const struct box_entry *e, const char *value)
{
	regex_t pattern;
	bool found;

	if (regcomp(&pattern, value, REG_EXTENDED | REG_NOSUB) != 0)
		return strstr(e->config.name, value) != NULL;
	found = regexec(&pattern, e->config.name, 0, NULL, 0) == 0;
	regfree(&pattern);
	return found;
}

static bool matches_label(const struct box_entry *e, const char *value)
{
	const char *equals = strchr(value, '=');

	return equals ? strv_has(e->config.labels, value) : value_of(e->config.labels, value) != NULL;
}

static bool matches_status(const struct box_entry *e, const char *value)
{
	return !strcmp(box_status_name(e->state.status), value);
}

static bool matches_ancestor(const struct box_entry *e, const char *value)
{
	const char *image = e->config.image, *id = e->config.image_id;
	size_t n = strlen(value);

	if (!strcmp(image, value) || (!strncmp(image, value, n) && !strcmp(image + n, ":latest")))
		return true;
	return text_starts(id, value) || (text_starts(id, "sha256:") && n >= 4 && text_starts(id + 7, value));
}

static bool matches_exited(const struct box_entry *e, const char *value)
{
	int64_t code;

	return text_to_int(value, 0, 255, &code) == 0 && e->state.status == BOX_EXITED && e->state.exit_code == code;
}

/* Values of one key are alternatives, but every label must be there. */
static const struct filter {
	const char *key;
	bool (*matches)(const struct box_entry *e, const char *value);
	bool each;
} filter_kinds[] = {
	{ "id", matches_id },		  { "name", matches_name },	    { "label", matches_label, true },
	{ "status", matches_status },	  { "ancestor", matches_ancestor }, { "exited", matches_exited },
};

static const struct filter *find_filter(const char *text, const char **ret_value)
{
	size_t n = strcspn(text, "=");

	for (size_t i = 0; text[n] && i < ARRAY_SIZE(filter_kinds); i++) {
		if (strlen(filter_kinds[i].key) == n && !strncmp(filter_kinds[i].key, text, n)) {
			*ret_value = text + n + 1;
			return &filter_kinds[i];
		}
	}
	return NULL;
}

static int check_filters(char **filters, struct failure *f)
{
	const char *value;

	for (; filters && *filters; filters++) {
		if (!find_filter(*filters, &value))
			return fail(f, EXIT_USAGE, "--filter: \"%s\" is not KEY=VALUE with one of id, name, label, status, ancestor, exited",
				    *filters);
	}
	return 0;
}

static bool passes_kind(const struct filter *kind, char **filters, const struct box_entry *e)
{
	bool any = false, hit = false;
	const char *value;

	for (; filters && *filters; filters++) {
		if (find_filter(*filters, &value) != kind)
			continue;
		any = true;
		if (kind->matches(e, value))
			hit = true;
		else if (kind->each)
			return false;
	}
	return !any || hit;
}

static bool passes(char **filters, const struct box_entry *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(filter_kinds); i++) {
		if (!passes_kind(&filter_kinds[i], filters, e))
			return false;
	}
	return true;
}

static bool has_filter(char **filters, const char *prefix)
{
	for (; filters && *filters; filters++) {
		if (text_starts(*filters, prefix))
			return true;
	}
	return false;
}

static json_t *make_rows(const struct ps_options *o, const struct box_list *list)
{
	bool all = o->all || o->latest || o->last.given || has_filter(o->filters, "status=") || has_filter(o->filters, "exited=");
	int64_t left = o->latest ? 1 : o->last.given && o->last.value >= 0 ? o->last.value : INT64_MAX, now = text_now_ns();
	json_t *rows = json_array();

	for (size_t i = 0; i < list->n && left > 0; i++) {
		const struct box_entry *e = &list->entries[i];

		if ((!all && !box_status_is_alive(e->state.status)) || !passes(o->filters, e))
			continue;
		json_array_append_new(rows, view_box_row(e, now, o->whole));
		left--;
	}
	return rows;
}

static int ps(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct ps_options *o = options;
	_cleanup_json_ json_t *rows = NULL;
	struct box_list list;
	size_t broken;
	int r;

	if (check_filters(o->filters, f) < 0 || box_list_read(&cli->home, &list, f) < 0)
		return -1;
	rows = make_rows(o, &list);
	r = listing_print(&view_box_listing, rows, o->format, o->quiet, f);
	broken = list.broken;
	if (r == 0 && broken == 1)
		r = fail(f, EXIT_FAILED, "%s", list.reason.text);
	else if (r == 0 && broken)
		r = fail(f, EXIT_FAILED, "%zu boxes have no readable record; %s", broken, list.reason.text);
	box_list_deinit(&list);
	return r;
}

const struct command cmd_ps = {
	.name = "ps",
	.aliases = "ls list",
	.summary = "List boxes",
	.usage = "[OPTIONS]",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct ps_options),
	.argument = ARGUMENT_NONE,
	.run = ps,
};
