/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "image/image.h"

struct images_options {
	bool all, quiet, whole, digests;
	const char *format;
};

#define AT(member) offsetof(struct images_options, member)
static const struct option_spec options_table[] = {
	{ "all", 'a', NULL, "Accepted for docker's sake: there are no hidden images", option_set_switch, AT(all) },
	{ "digests", 0, NULL, "Show digests", option_set_switch, AT(digests) },
	{ "format", 0, "FORMAT", "table, json, or a template like '{{.Repository}}:{{.Tag}}'", option_set_text, AT(format) },
	{ "no-trunc", 0, NULL, "Do not cut ids", option_set_switch, AT(whole) },
	{ "quiet", 'q', NULL, "Print ids only", option_set_switch, AT(quiet) },
	{ 0 },
};
static const char *const later[] = { "filter", "f", "tree", NULL };

static const struct listing_title titles[] = {
	{ "Repository", "REPOSITORY" }, { "Tag", "TAG" },	    { "Digest", "DIGEST" }, { "ID", "IMAGE ID" },
	{ "CreatedSince", "CREATED" },	{ "CreatedAt", "CREATED AT" }, { "Size", "SIZE" },
	{ 0 },
};
static const struct listing listing = {
	.standard = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
	.quiet = "ID",
	.titles = titles,
};
static const struct listing listing_digests = {
	.standard = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
	.quiet = "ID",
	.titles = titles,
};

/* Cut "host:5000/a/b:tag" or "a/b@sha256:..": what follows the last slash has the colon of the tag. */
static void split_reference(const char *reference, char *repository, size_t size, const char **ret_tag)
{
	const char *slash = strrchr(reference, '/'), *name = slash ? slash + 1 : reference, *at = strchr(name, '@');
	const char *colon = at ? NULL : strchr(name, ':');
	size_t n = at ? (size_t)(at - reference) : colon ? (size_t)(colon - reference) : strlen(reference);

	snprintf(repository, size, "%.*s", (int)n, reference);
	*ret_tag = colon ? colon + 1 : at ? "<none>" : "latest";
}

/* Digest under which this repository gave the image. */
static const char *find_digest(const struct image *image, const char *repository)
{
	size_t n = strlen(repository);

	for (char **d = image->digests; d && *d; d++) {
		char familiar[512];

		image_familiar(*d, familiar);
		if (!strncmp(familiar, repository, n) && familiar[n] == '@')
			return strchr(*d, '@') + 1;
	}
	return "<none>";
}

static json_t *make_row(const struct image *image, const char *reference, bool whole)
{
	char familiar[512] = "<none>", repository[512] = "<none>", size[16], ago[TEXT_TIME_MAX], since[TEXT_TIME_MAX + 8], at[64] = "", id[80];
	const char *tag = "<none>";
	time_t seconds = (time_t)(image->created_ns / 1000000000);
	struct tm tm;

	if (reference) {
		image_familiar(reference, familiar);
		split_reference(familiar, repository, sizeof(repository), &tag);
	}
	text_duration((text_now_ns() - image->created_ns) / 1000000000, ago);
	snprintf(since, sizeof(since), image->created_ns ? "%s ago" : "N/A", ago);
	if (localtime_r(&seconds, &tm))
		strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S %z %Z", &tm);
	text_size(image->size, size);
	if (whole)
		snprintf(id, sizeof(id), "%s", image->id);
	else
		snprintf(id, sizeof(id), "%.12s", text_starts(image->id, "sha256:") ? image->id + 7 : image->id);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Repository", repository, "Tag", tag, "Digest",
			 find_digest(image, repository), "ID", id, "CreatedSince", since, "CreatedAt", at, "Size", size);
}

/* "nginx" matches every tag of it, "nginx:latest" that one. */
static bool is_wanted(const char *reference, const char *wanted)
{
	char familiar[512], repository[512];
	const char *tag;

	if (!wanted)
		return true;
	if (!reference)
		return false;
	image_familiar(reference, familiar);
	split_reference(familiar, repository, sizeof(repository), &tag);
	if (!strcmp(repository, wanted) || !strcmp(familiar, wanted))
		return true;
	snprintf(familiar, sizeof(familiar), "%.350s:%.130s", repository, tag);
	return !strcmp(familiar, wanted);
}

static int images(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct images_options *o = options;
	_cleanup_json_ json_t *rows = json_array();
	struct image *list = NULL;
	size_t n = 0;

	if (image_list(&cli->home, &list, &n, f) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		char **reference = list[i].references;

		if ((!reference || !*reference) && is_wanted(NULL, args[0]))
			json_array_append_new(rows, make_row(&list[i], NULL, o->whole));
		for (; reference && *reference; reference++) {
			if (is_wanted(*reference, args[0]))
				json_array_append_new(rows, make_row(&list[i], *reference, o->whole));
		}
	}
	image_list_free(list, n);
	return listing_print(o->digests ? &listing_digests : &listing, rows, o->format, o->quiet, f);
}

const struct command cmd_images = {
	.name = "images",
	.summary = "List images",
	.usage = "[OPTIONS] [REPOSITORY[:TAG]]",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct images_options),
	.max_args = 1,
	.argument = ARGUMENT_IMAGE,
	.run = images,
};
