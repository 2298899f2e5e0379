/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/ps_filter.h"
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
	{ "filter", 'f', "KEY=VALUE", "Show those only: by name, id, label, status, exited, ancestor, before, since, publish, expose, network", option_add_text, AT(filters) },
	{ "format", 0, "FORMAT", "table, json, or a template like '{{.Names}}'", option_set_text, AT(format) },
	{ "last", 'n', "NUMBER", "Show the newest ones, running or not", option_set_integer, AT(last) },
	{ "latest", 'l', NULL, "Show the newest one, running or not", option_set_switch, AT(latest) },
	{ "no-trunc", 0, NULL, "Do not cut ids and commands", option_set_switch, AT(whole) },
	{ "quiet", 'q', NULL, "Print ids only", option_set_switch, AT(quiet) },
	{ 0 },
};
static const char *const later[] = { "size", "s", NULL };

static json_t *make_rows(const struct ps_options *o, const struct ps_filters *filters, const struct box_list *list)
{
	bool all = o->all || o->latest || o->last.given || ps_filters_want_all(filters);
	int64_t left = o->latest ? 1 : o->last.given && o->last.value >= 0 ? o->last.value : INT64_MAX, now = text_now_ns();
	json_t *rows = json_array();

	for (size_t i = 0; i < list->n && left > 0; i++) {
		const struct box_entry *e = &list->entries[i];

		if ((!all && !box_status_is_alive(e->state.status)) || !ps_filters_pass(filters, e))
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
	struct ps_filters filters;
	struct box_list list;
	size_t broken;
	int r;

	if (ps_filters_parse(&cli->home, o->filters, &filters, f) < 0)
		return -1;
	if (box_list_read(&cli->home, &list, f) < 0) {
		ps_filters_deinit(&filters);
		return -1;
	}
	rows = make_rows(o, &filters, &list);
	ps_filters_deinit(&filters);
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
