/* SPDX-License-Identifier: Apache-2.0 */
/* The image functions from a shell, for tests that need no box: image-tool COMMAND ARGUMENTS, under A3S_HOME. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "image/image.h"

static struct home home = HOME_NULL;

static void show_progress(void *context, const char *what, int64_t done, int64_t total)
{
	fprintf(stderr, "progress: %s %lld/%lld\n", what, (long long)done, (long long)total);
}

static void print_line(void *context, const char *line)
{
	puts(line);
}

static void print_loaded(void *context, const char *reference)
{
	printf("Loaded image: %s\n", reference);
}

/* IMAGE_IN_USE names an image id that a box is said to have. */
static int in_use(void *context, const char *id, char ret_holder[static 128], struct failure *f)
{
	const char *used = getenv("IMAGE_IN_USE");

	(void)snprintf(ret_holder, 128, "web");
	return used && strcmp(used, id) == 0;
}

static void print_vector(const char *name, char *const *v)
{
	for (; v && *v; v++)
		printf("%s: %s\n", name, *v);
}

static void print_image(const struct image *image)
{
	printf("id: %s\nsize: %lld\nlayers: %u\nos: %s/%s\ncreated: %lld\nworkdir: %s\nuser: %s\nsignal: %d\n", image->id,
	       (long long)image->size, image->n_layers, image->os, image->architecture, (long long)image->created_ns, image->workdir,
	       image->user, image->stop_signal);
	print_vector("reference", image->references);
	print_vector("digest", image->digests);
	print_vector("entrypoint", image->entrypoint);
	print_vector("command", image->command);
	print_vector("env", image->env);
	print_vector("exposed", image->exposed);
	print_vector("label", image->labels);
	print_vector("volume", image->volumes);
}

static int do_pull(char **argv, struct failure *f)
{
	struct image_pull_options options = { .creds = getenv("CREDS"), .platform = getenv("PLATFORM") };
	const struct image_progress progress = { .fn = getenv("PROGRESS") ? show_progress : NULL };
	struct image image;

	if (image_pull(&home, argv[0], &options, &progress, &image, f) < 0)
		return -1;
	print_image(&image);
	image_deinit(&image);
	return 0;
}

static int do_load(char **argv, struct failure *f)
{
	return image_load(&home, argv[0], NULL, print_loaded, NULL, f);
}

static int do_find(char **argv, struct failure *f)
{
	struct image image;

	if (image_find(&home, argv[0], &image, f) < 0)
		return -1;
	print_image(&image);
	image_deinit(&image);
	return 0;
}

static int do_list(char **argv, struct failure *f)
{
	struct image *images;
	size_t n;

	if (image_list(&home, &images, &n, f) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		printf("%.19s %lld %s\n", images[i].id, (long long)images[i].size,
		       images[i].references[0] ? images[i].references[0] : "<none>");
	image_list_free(images, n);
	return 0;
}

static int do_tag(char **argv, struct failure *f)
{
	return image_tag(&home, argv[0], argv[1], f);
}

static int do_remove(char **argv, struct failure *f)
{
	return image_remove(&home, argv[0], getenv("FORCE") != NULL, in_use, print_line, NULL, f);
}

static int do_disk(char **argv, struct failure *f)
{
	char vmdk[4096], **files, *text;
	struct image image;

	if (image_find(&home, argv[0], &image, f) < 0)
		return -1;
	if (image_disk(&home, image.id, vmdk, &files, f) < 0 || image_disk_descriptor(&home, image.id, 10, &text, f) < 0)
		return -1;
	printf("vmdk: %s\n", vmdk);
	print_vector("file", files);
	fputs(text, stdout);
	free(text);
	(void)strv_free(files);
	image_deinit(&image);
	return 0;
}

static int do_writable(char **argv, struct failure *f)
{
	int64_t size;

	if (text_to_bytes(argv[1], &size) < 0)
		return fail(f, EXIT_USAGE, "bad size");
	return image_make_writable(argv[0], size, f);
}

static int do_login(char **argv, struct failure *f)
{
	return image_login(argv[0], argv[1], argv[2], false, f);
}

static int do_logout(char **argv, struct failure *f)
{
	return image_logout(argv[0], f);
}

static const struct {
	const char *name;
	int arguments;
	int (*fn)(char **argv, struct failure *f);
} commands[] = {
	{ "pull", 1, do_pull },	    { "load", 1, do_load },	    { "find", 1, do_find },   { "list", 0, do_list },
	{ "tag", 2, do_tag },	    { "rmi", 1, do_remove },	    { "disk", 1, do_disk },   { "writable", 2, do_writable },
	{ "login", 3, do_login },   { "logout", 1, do_logout },
};

int main(int argc, char **argv)
{
	struct failure f = { 0 };

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		int r;

		if (strcmp(argv[1], commands[i].name) != 0 || argc - 2 != commands[i].arguments)
			continue;
		r = home_open(&home, &f);
		if (r == 0)
			r = commands[i].fn(argv + 2, &f);
		home_close(&home);
		if (r < 0)
			fprintf(stderr, "image-tool: %s\n", f.text);
		return r < 0 ? f.code : 0;
	}
	fprintf(stderr, "usage: image-tool pull|load|find|list|tag|rmi|disk|writable|login|logout ...\n");
	return EXIT_USAGE;
}
