/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/ps_filter.h"
#include "cli/view.h"
#include "image/image.h"

struct ps_options {
	bool all, quiet, whole, latest, size;
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
	{ "size", 's', NULL, "Show how large the box's own changes and its image are", option_set_switch, AT(size) },
	{ 0 },
};

/* "1.2MB (virtual 188MB)": what the box's disk takes up, and with its image. */
static void describe_size(struct cli *cli, const struct box_config *c, char *ret, size_t size)
{
	struct failure ignored = { 0 };
	struct image image = { 0 };
	char path[PATH_MAX], own_text[16], all_text[16];
	int64_t own = 0;
	struct stat st;

	if (box_path(&cli->home, c->id, "writable.ext4", path) == 0 && stat(path, &st) == 0)
		own = (int64_t)st.st_blocks * 512;
	if (image_find(&cli->home, c->image_id, &image, &ignored) < 0)
		image.size = 0;
	text_size(own, own_text);
	text_size(own + image.size, all_text);
	snprintf(ret, size, "%s (virtual %s)", own_text, all_text);
	image_deinit(&image);
}

static json_t *make_rows(struct cli *cli, const struct ps_options *o, const struct ps_filters *filters, const struct box_list *list)
{
	bool all = o->all || o->latest || o->last.given || ps_filters_want_all(filters);
	int64_t left = o->latest ? 1 : o->last.given && o->last.value >= 0 ? o->last.value : INT64_MAX, now = text_now_ns();
	bool sized = o->size || (o->format && strstr(o->format, ".Size"));
	json_t *rows = json_array();
	char size[48] = "0B";

	for (size_t i = 0; i < list->n && left > 0; i++) {
		const struct box_entry *e = &list->entries[i];

		if ((!all && !box_status_is_alive(e->state.status)) || !ps_filters_pass(filters, e))
			continue;
		if (sized)
			describe_size(cli, &e->config, size, sizeof(size));
		json_array_append_new(rows, view_box_row(e, now, o->whole, size));
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
	rows = make_rows(cli, o, &filters, &list);
	ps_filters_deinit(&filters);
	r = listing_print(o->size ? &view_box_listing_sized : &view_box_listing, rows, o->format, o->quiet, f);
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
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct ps_options),
	.argument = ARGUMENT_NONE,
	.run = ps,
};
