/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/install.h"
#include "image/layer_name.h"

static void own_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Call fn for each name in images/<sub> but "." and "..". */
static void each_name(const struct home *home, const char *sub, void (*fn)(const struct home *, const char *, void *), void *context)
{
	_cleanup_(own_dir) DIR *dir = NULL;
	char path[PATH_MAX];
	struct failure ignored;
	const struct dirent *e;

	if (images_path(home, path, &ignored, "%s", sub) < 0)
		return;
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fn(home, e->d_name, context);
}

static void sweep_incoming(const struct home *home, const char *name, void *context)
{
	char path[PATH_MAX], lock[PATH_MAX];
	struct failure ignored;

	if (images_path(home, path, &ignored, "incoming/%s", name) == 0 && io_path(lock, sizeof(lock), "%s/lock", path) == 0 &&
	    !io_is_locked(lock))
		(void)io_remove_tree(path);
}

static void sweep_image(const struct home *home, const char *name, void *context)
{
	char path[PATH_MAX], id[DIGEST_TEXT];
	struct failure ignored;

	if (!digest_hex_is_valid(name))
		return;
	(void)snprintf(id, sizeof(id), "sha256:%.64s", name);
	if (!catalog_by_id(context, id) && images_path(home, path, &ignored, "%s", name) == 0)
		(void)io_remove_tree(path);
}

static void sweep_layer(const struct home *home, const char *name, void *context)
{
	char path[PATH_MAX], **needed = context;
	struct failure ignored;

	if (layer_name_is_valid(name) && !strv_has(needed, name) && images_path(home, path, &ignored, "layers/%s", name) == 0)
		(void)unlink(path);
}

/* File names of all images' layers. -1 when one cannot be read: then nothing may be removed. */
static int needed_layers(const struct home *home, const struct catalog *c, char ***ret)
{
	struct failure ignored = { 0 };
	json_t *entry;
	size_t i;

	json_array_foreach(c->images, i, entry) {
		struct image image;
		char **diff_ids = NULL, **names = NULL;
		int r = install_read_image(home, json_str(entry, "id", ""), &image, &diff_ids, &ignored);

		if (r < 0)
			return -1;
		image_deinit(&image);
		r = layer_names_in_store(home, diff_ids, &names);
		for (char **name = names; r == 0 && name && *name; name++)
			r = strv_has(*ret, *name) ? 0 : strv_add(ret, *name);
		(void)strv_free(names);
		(void)strv_free(diff_ids);
		if (r < 0)
			return -1;
	}
	return 0;
}

void install_sweep(const struct home *home)
{
	struct catalog c = { 0 };
	struct failure ignored = { 0 };
	char **needed = NULL;

	each_name(home, "incoming", sweep_incoming, NULL);
	if (catalog_read(home, &c, &ignored) < 0)
		return;
	each_name(home, "", sweep_image, &c);
	if (needed_layers(home, &c, &needed) == 0)
		each_name(home, "layers", sweep_layer, needed);
	(void)strv_free(needed);
	catalog_deinit(&c);
}

static int make_locked(const struct home *home, struct incoming *in, struct failure *f)
{
	char id[65], lock[PATH_MAX], layers[PATH_MAX];
	int r;

	install_sweep(home);
	r = text_random_id(id);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "make a random name");
	if (images_path(home, in->path, f, "incoming/%.16s", id) < 0 || images_path(home, layers, f, "layers") < 0)
		return -1;
	r = io_path(lock, sizeof(lock), "%s/lock", in->path);
	if (r == 0)
		r = io_make_dirs(layers, 0700);
	if (r == 0)
		r = io_make_dirs(in->path, 0700);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot make %s", in->path);
	in->lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = in->lock_fd < 0 ? -errno : io_lock(in->lock_fd, false);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot lock %s", lock) : 0;
}

int incoming_make(struct home *home, struct incoming *ret, struct failure *f)
{
	int r;

	*ret = (struct incoming)INCOMING_NULL;
	if (home_lock(home, f) < 0)
		return -1;
	r = make_locked(home, ret, f);
	home_unlock(home);
	if (r < 0)
		incoming_remove(ret);
	return r;
}

void incoming_remove(struct incoming *in)
{
	if (in->path[0])
		(void)io_remove_tree(in->path);
	in->lock_fd = close_fd(in->lock_fd);
	in->path[0] = '\0';
}
