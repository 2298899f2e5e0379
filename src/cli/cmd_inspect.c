/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "cli/command.h"
#include "cli/image_view.h"
#include "cli/template.h"
#include "cli/view.h"

struct inspect_options {
	const char *format, *type;
	json_t *found;
};

static const struct option_spec options_table[] = {
	{ "format", 'f', "FORMAT", "json, or a template like '{{.State.ExitCode}}'", option_set_text,
	  offsetof(struct inspect_options, format) },
	{ "type", 0, "TYPE", "Look for a box or an image only", option_set_text, offsetof(struct inspect_options, type) },
	{ 0 },
};
static const char *const later[] = { "size", "s", NULL };

static int read_box(struct cli *cli, const char *name, json_t **ret, struct failure *f)
{
	struct box_entry entry = { .config = BOX_CONFIG_NULL, .state = BOX_STATE_NULL };
	char id[BOX_ID_LENGTH + 1];
	int r = box_resolve(&cli->home, name, id, f);

	if (r < 0)
		return r == BOX_UNKNOWN ? 0 : -1;
	r = box_read_config(&cli->home, id, &entry.config, f);
	if (r == 0)
		r = box_read_state(&cli->home, id, &entry.state, f);
	if (r == 0)
		*ret = view_box_inspect(&entry);
	box_config_deinit(&entry.config);
	box_state_deinit(&entry.state);
	return r < 0 ? -1 : 1;
}

static bool wants(const struct inspect_options *o, const char *type, const char *other)
{
	return !o->type || !strcmp(o->type, type) || !strcmp(o->type, other);
}

static int inspect_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	struct inspect_options *o = context;
	json_t *object = NULL;
	int r = 0;

	if (wants(o, "box", "container")) {
		r = read_box(cli, name, &object, f);
		if (r < 0)
			return -1;
	}
	if (r == 0 && wants(o, "image", "image")) {
		struct failure ignored = { 0 };

		if (image_view_find(cli, name, &object, &ignored) < 0)
			return fail(f, EXIT_FAILED, "no such %s: %s", o->type ? o->type : "box or image", name);
	}
	if (!object)
		return -1;
	json_array_append_new(o->found, object);
	return 0;
}

static int print_found(const struct inspect_options *o, struct failure *f)
{
	json_t *object;
	size_t i;

	if (!o->format || !*o->format) {
		json_dumpf(o->found, stdout, JSON_INDENT(4));
		putchar('\n');
		return 0;
	}
	json_array_foreach(o->found, i, object) {
		if (!strcmp(o->format, "json"))
			json_dumpf(object, stdout, JSON_COMPACT);
		else if (template_render(o->format, object, stdout, f) < 0)
			return -1;
		putchar('\n');
	}
	return 0;
}

static int inspect(struct cli *cli, void *options, char **args, struct failure *f)
{
	struct inspect_options *o = options;
	_cleanup_json_ json_t *found = json_array();
	int code;

	if (o->type && strcmp(o->type, "box") != 0 && strcmp(o->type, "container") != 0 && strcmp(o->type, "image") != 0)
		return fail(f, EXIT_USAGE, "--type: \"%s\" is neither box nor image", o->type);
	o->found = found;
	code = cli_each(cli, args, inspect_one, o);
	return print_found(o, f) < 0 ? -1 : code;
}

const struct command cmd_inspect = {
	.name = "inspect",
	.summary = "Show all that is known of boxes and images, as JSON",
	.usage = "[OPTIONS] NAME [NAME...]",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct inspect_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_BOX,
	.run = inspect,
};
