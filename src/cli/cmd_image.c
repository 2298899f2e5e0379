/* SPDX-License-Identifier: Apache-2.0 */
/* pull, load, tag, rmi: what changes the set of images. */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/pull.h"
#include "store/box.h"

struct pull_options {
	bool quiet, tls_verify;
	const char *creds, *platform;
};
static const struct pull_options pull_defaults = { .tls_verify = true };

static const struct option_spec pull_table[] = {
	{ "creds", 0, "USER:PASSWORD", "Credentials, instead of those of login", option_set_text, offsetof(struct pull_options, creds) },
	{ "platform", 0, "OS/ARCH", "Platform to take from an index (default: this host's)", option_set_text,
	  offsetof(struct pull_options, platform) },
	{ "quiet", 'q', NULL, "Print the reference only", option_set_switch, offsetof(struct pull_options, quiet) },
	{ "tls-verify", 0, NULL, "Check the registry's certificate (default true)", option_set_switch,
	  offsetof(struct pull_options, tls_verify) },
	{ 0 },
};
static const char *const pull_later[] = { "all-tags", "a", "disable-content-trust", NULL };

struct load_options {
	bool quiet;
	const char *input;
};
static const struct option_spec load_table[] = {
	{ "input", 'i', "FILE", "Read this archive or directory (default: standard input)", option_set_text,
	  offsetof(struct load_options, input) },
	{ "quiet", 'q', NULL, "Show no progress", option_set_switch, offsetof(struct load_options, quiet) },
	{ 0 },
};
static const char *const load_later[] = { "platform", NULL };

struct rmi_options {
	bool force, no_prune;
};
static const struct option_spec rmi_table[] = {
	{ "force", 'f', NULL, "Remove the image under all its names; no failure when there is none", option_set_switch,
	  offsetof(struct rmi_options, force) },
	{ "no-prune", 0, NULL, "Accepted for docker's sake", option_set_switch, offsetof(struct rmi_options, no_prune) },
	{ 0 },
};
static const char *const rmi_later[] = { "platform", NULL };

static const char *digest_of(const struct image *image)
{
	const char *at = image->digests && image->digests[0] ? strchr(image->digests[0], '@') : NULL;

	return at ? at + 1 : NULL;
}

/* Id of the image that has this name now; "" when none has. */
static void known_id(struct cli *cli, const char *reference, char ret[static sizeof((struct image){ 0 }.id)])
{
	struct failure ignored = { 0 };
	struct image image = { 0 };

	*ret = '\0';
	if (image_find(&cli->home, reference, &image, &ignored) == 0)
		memcpy(ret, image.id, sizeof(image.id));
	image_deinit(&image);
}

static int pull(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct pull_options *o = options;
	struct image_pull_options how = { .creds = o->creds, .tls_verify_off = !o->tls_verify, .platform = o->platform };
	struct pull_progress progress;
	struct image image = { 0 };
	char normal[512], before[sizeof(image.id)];
	int r;

	if (image_normalize(args[0], normal, f) < 0)
		return -1;
	known_id(cli, normal, before);
	pull_progress_init(&progress, o->quiet);
	r = image_pull(&cli->home, args[0], &how, progress.progress.fn ? &progress.progress : NULL, &image, f);
	pull_progress_done(&progress);
	if (r < 0)
		return -1;
	if (!o->quiet && digest_of(&image))
		printf("Digest: %s\n", digest_of(&image));
	if (!o->quiet)
		printf("Status: %s for %s\n", strcmp(before, image.id) ? "Downloaded newer image" : "Image is up to date", args[0]);
	puts(normal);
	image_deinit(&image);
	return EXIT_DONE;
}

static void print_loaded(void *context, const char *reference)
{
	char familiar[512];

	if (text_starts(reference, "sha256:")) {
		printf("Loaded image ID: %s\n", reference);
		return;
	}
	image_familiar(reference, familiar);
	printf("Loaded image: %s\n", familiar);
}

static int load(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct load_options *o = options;
	struct pull_progress progress;
	int r;

	if (!o->input && isatty(STDIN_FILENO))
		return fail(f, EXIT_USAGE, "give an archive with -i FILE, or on standard input");
	pull_progress_init(&progress, o->quiet);
	r = image_load(&cli->home, o->input ? o->input : "-", progress.progress.fn ? &progress.progress : NULL, print_loaded, NULL, f);
	pull_progress_done(&progress);
	return r < 0 ? -1 : EXIT_DONE;
}

static int tag(struct cli *cli, void *options, char **args, struct failure *f)
{
	return image_tag(&cli->home, args[0], args[1], f) < 0 ? -1 : EXIT_DONE;
}

/* A box that has the image, running or not. */
static int image_in_use(void *context, const char *id, char ret_holder[static 128], struct failure *f)
{
	const struct cli *cli = context;
	struct box_list list;
	bool found = false;

	if (box_list_read(&cli->home, &list, f) < 0)
		return -1;
	for (size_t i = 0; !found && i < list.n; i++) {
		const struct box_config *c = &list.entries[i].config;

		found = !strcmp(c->image_id, id);
		if (found)
			snprintf(ret_holder, 128, "%s (%.12s)", c->name, c->id);
	}
	box_list_deinit(&list);
	return found;
}

static void print_line(void *context, const char *line)
{
	puts(line);
}

static int remove_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	const struct rmi_options *o = context;

	if (image_remove(&cli->home, name, o->force, image_in_use, print_line, cli, f) == 0)
		return 0;
	return o->force && f->code == EXIT_FAILED ? (cli_report(f), 0) : -1; /* docker's -f: one that is not there is no failure */
}

static int rmi(struct cli *cli, void *options, char **args, struct failure *f)
{
	return cli_each(cli, args, remove_one, options);
}

const struct command cmd_pull = {
	.name = "pull",
	.summary = "Fetch an image from a registry",
	.usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
	.options = { .tables = { pull_table }, .later = pull_later },
	.options_size = sizeof(struct pull_options),
	.defaults = &pull_defaults,
	.min_args = 1,
	.max_args = 1,
	.argument = ARGUMENT_NONE,
	.run = pull,
};

const struct command cmd_load = {
	.name = "load",
	.summary = "Take images from an archive that docker, podman or skopeo wrote",
	.usage = "[OPTIONS]",
	.options = { .tables = { load_table }, .later = load_later },
	.options_size = sizeof(struct load_options),
	.argument = ARGUMENT_FILE,
	.run = load,
};

const struct command cmd_tag = {
	.name = "tag",
	.summary = "Give an image another name",
	.usage = "IMAGE NAME[:TAG]",
	.min_args = 2,
	.max_args = 2,
	.argument = ARGUMENT_IMAGE,
	.run = tag,
};

const struct command cmd_rmi = {
	.name = "rmi",
	.summary = "Remove images",
	.usage = "[OPTIONS] IMAGE [IMAGE...]",
	.options = { .tables = { rmi_table }, .later = rmi_later },
	.options_size = sizeof(struct rmi_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_IMAGE,
	.run = rmi,
};
