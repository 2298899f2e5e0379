/* SPDX-License-Identifier: Apache-2.0 */
#include "image/install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/disk.h"
#include "image/layer.h"
#include "image/layer_name.h"

/**
 * struct installation - one bundle on its way into the store
 * @names:	what the layers' files are called, lowest first; @files: they, in the incoming directory
 * @name:	of the layer at hand
 */
struct installation {
	struct home *home;
	struct incoming *in;
	const struct bundle *bundle;
	char id[DIGEST_TEXT];
	char **diff_ids, **names, **files;
	struct layer_name name;
};

void bundle_deinit(struct bundle *b)
{
	free(b->config);
	(void)strv_free(b->blobs);
	free(b->layers);
	(void)strv_free(b->references);
	free(b->digest);
	*b = (struct bundle){ 0 };
}

static int check_platform(const struct image *image, struct failure *f)
{
	if (*image->os && strcmp(image->os, "linux") != 0)
		return fail(f, EXIT_FAILED, "the image is for %s, not for linux", image->os);
	return 0;
}

static int check_layers(const struct installation *n, struct failure *f)
{
	size_t promised = strv_length(n->diff_ids);

	if (promised != n->bundle->n_layers)
		return fail(f, EXIT_FAILED, "the image's configuration has %zu layers, its manifest %zu", promised, n->bundle->n_layers);
	if (promised > DISK_LAYERS_MAX)
		return fail(f, EXIT_FAILED, "the image has %zu layers; at most %d can be used", promised, DISK_LAYERS_MAX);
	return 0;
}

/* The next layer's file in the incoming directory; moved there from `made`, unless NULL. */
static int add_file(struct installation *n, const char *name, const char *made, struct failure *f)
{
	char path[PATH_MAX];
	int r = io_path(path, sizeof(path), "%s/%s", n->in->path, name);

	if (r == 0 && made && rename(made, path) < 0)
		r = -errno;
	if (r == 0)
		r = strv_add(&n->names, name);
	if (r == 0)
		r = strv_add(&n->files, path);
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "%s", n->in->path) : 0;
}

/* 1: it is in the store, or was in this image already; 0: it has to be made. */
static int find_layer(struct installation *n, const char *name, struct failure *f)
{
	char path[PATH_MAX], stored[PATH_MAX];
	int r = io_path(path, sizeof(path), "%s/%s", n->in->path, name);

	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "%s", n->in->path);
	if (images_path(n->home, stored, f, "layers/%s", name) < 0)
		return -1;
	if (access(path, F_OK) < 0 && link(stored, path) < 0)
		return 0;
	return add_file(n, name, NULL, f) < 0 ? -1 : 1;
}

static int make_layer(struct installation *n, struct container *container, size_t i, const struct image_progress *progress,
		      struct failure *f)
{
	const struct descriptor *d = &n->bundle->layers[i];
	char path[PATH_MAX], label[16];
	struct layer_source source = { .container = container, .blob = n->bundle->blobs[i], .size = d->size, .label = label };
	struct layer_result result;
	int r = io_path(path, sizeof(path), "%s/new.squashfs", n->in->path);

	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "%s", n->in->path);
	(void)snprintf(label, sizeof(label), "%.12s", digest_hex(d->digest[0] ? d->digest : n->diff_ids[i]));
	source.digest = d->digest[0] ? d->digest : NULL;
	source.diff_id = n->diff_ids[i];
	source.lower = n->files;
	source.n_lower = i;
	if (layer_convert(&source, n->in->path, path, progress, &result, f) < 0)
		return -1;
	return add_file(n, result.asked_lower ? n->name.chain : n->name.alone, path, f);
}

static int get_layer(struct installation *n, struct container *container, size_t i, const struct image_progress *progress,
		     struct failure *f)
{
	const char *const names[] = { n->name.chain, n->name.alone };

	if (layer_name_next(&n->name, n->diff_ids[i]) < 0)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "%s", n->in->path);
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		int r = find_layer(n, names[k], f);

		if (r != 0)
			return r < 0 ? r : 0;
	}
	return make_layer(n, container, i, progress, f);
}

static int layer_sizes(const struct installation *n, uint64_t *ret_sectors, struct failure *f)
{
	for (size_t i = 0; n->files && n->files[i]; i++) {
		struct stat st;

		if (stat(n->files[i], &st) < 0)
			return fail_errno(f, EXIT_FAILED, errno, "%s", n->files[i]);
		if (st.st_size <= 0 || st.st_size % 4096 != 0)
			return fail(f, EXIT_FAILED, "%s is damaged: its size is no multiple of 4096", n->files[i]);
		ret_sectors[i] = (uint64_t)st.st_size / DISK_SECTOR;
	}
	return 0;
}

/* The table's GUID comes from the id: equal images have equal disks. */
static void make_guid(const char *id, uint8_t ret[static 16])
{
	for (size_t i = 0; i < 16; i++) {
		unsigned byte = 0;

		(void)sscanf(digest_hex(id) + 2 * i, "%2x", &byte);
		ret[i] = (uint8_t)byte;
	}
}

static int put_file(const char *dir, const char *name, const void *data, size_t size, struct failure *f)
{
	char path[PATH_MAX];
	int r = io_path(path, sizeof(path), "%s/%s", dir, name);

	if (r == 0)
		r = io_replace_file(path, data, size, 0600);
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "write %s/%s", dir, name) : 0;
}

/* <incoming>/image/: what becomes images/<id>/. */
static int make_image_directory(const struct installation *n, const char *dir, struct failure *f)
{
	uint64_t sectors[DISK_LAYERS_MAX];
	uint8_t table[DISK_TABLE_BYTES], guid[16];
	_cleanup_strv_ char **names = NULL;
	_cleanup_free_ char *text = NULL;
	size_t n_layers = n->bundle->n_layers;
	int r = strv_add(&names, "table.gpt");

	for (size_t i = 0; i < n_layers && r == 0; i++) {
		char name[128];

		(void)snprintf(name, sizeof(name), "../layers/%s", n->names[i]);
		r = strv_add(&names, name);
	}
	if (r < 0 || (mkdir(dir, 0700) < 0 && (r = -errno) < 0))
		return fail_errno(f, EXIT_FAILED, r, "make %s", dir);
	if (layer_sizes(n, sectors, f) < 0)
		return -1;
	make_guid(n->id, guid);
	disk_make_table(sectors, n_layers, guid, table);
	text = disk_make_descriptor((const char *const *)names, sectors, n_layers);
	if (!text)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "make %s", dir);
	if (put_file(dir, "table.gpt", table, sizeof(table), f) < 0 || put_file(dir, "disk.vmdk", text, strlen(text), f) < 0)
		return -1;
	return put_file(dir, "config.json", n->bundle->config, n->bundle->config_size, f);
}

static int sync_directory(const struct home *home, const char *sub, struct failure *f)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (images_path(home, path, f, "%s", sub) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? fail_errno(f, EXIT_FAILED, errno, "write %s", path) : 0;
}

/* The image is there but cannot be read; a missing one counts too. */
static bool is_damaged(const struct installation *n)
{
	struct failure ignored = { 0 };
	char **diff_ids = NULL;
	struct image image;

	if (install_read_image(n->home, n->id, &image, &diff_ids, &ignored) < 0)
		return true;
	image_deinit(&image);
	(void)strv_free(diff_ids);
	return false;
}

static int move_into_place(const struct installation *n, const char *dir, struct failure *f)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < n->bundle->n_layers; i++) {
		if (images_path(n->home, path, f, "layers/%s", n->names[i]) < 0)
			return -1;
		if (access(path, F_OK) < 0 && rename(n->files[i], path) < 0)
			return fail_errno(f, EXIT_FAILED, errno, "make %s", path);
	}
	if (images_path(n->home, path, f, "%s", digest_hex(n->id)) < 0)
		return -1;
	if (is_damaged(n))
		(void)io_remove_tree(path);
	if (access(path, F_OK) < 0 && rename(dir, path) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "make %s", path);
	return sync_directory(n->home, "layers", f) < 0 ? -1 : sync_directory(n->home, "", f);
}

static int enter_catalog(const struct installation *n, struct failure *f)
{
	struct catalog c = { 0 };
	int r = catalog_read(n->home, &c, f);

	if (r < 0)
		return r;
	r = catalog_add(&c, n->id, NULL, n->bundle->digest);
	for (char **ref = n->bundle->references; r == 0 && ref && *ref; ref++)
		r = catalog_add(&c, n->id, *ref, NULL);
	r = r < 0 ? fail_errno(f, EXIT_FAILED, r, "enter an image") : catalog_write(n->home, &c, f);
	catalog_deinit(&c);
	return r;
}

static int commit(const struct installation *n, struct failure *f)
{
	char dir[PATH_MAX];
	int r = io_path(dir, sizeof(dir), "%s/image", n->in->path);

	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "%s", n->in->path);
	if (make_image_directory(n, dir, f) < 0 || home_lock(n->home, f) < 0)
		return -1;
	r = move_into_place(n, dir, f);
	if (r == 0)
		r = enter_catalog(n, f);
	home_unlock(n->home);
	(void)io_remove_tree(dir); /* still there when the image was */
	return r;
}

static int install(struct installation *n, struct container *container, const struct image_progress *progress, struct failure *f)
{
	struct image image;
	int r = config_parse(n->bundle->config, n->bundle->config_size, &image, &n->diff_ids, f);

	if (r < 0)
		return r;
	r = check_platform(&image, f);
	image_deinit(&image);
	if (r == 0)
		r = check_layers(n, f);
	for (size_t i = 0; r == 0 && i < n->bundle->n_layers; i++)
		r = get_layer(n, container, i, progress, f);
	return r < 0 ? r : commit(n, f);
}

int bundle_install(struct home *home, struct incoming *in, struct container *container, const struct bundle *bundle,
		   const struct image_progress *progress, struct image *ret, struct failure *f)
{
	struct installation n = { .home = home, .in = in, .bundle = bundle };
	int r = digest_of(bundle->config, bundle->config_size, n.id);

	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "install an image");
	r = install(&n, container, progress, f);
	if (r == 0)
		r = image_find(home, n.id, ret, f);
	(void)strv_free(n.diff_ids);
	(void)strv_free(n.names);
	(void)strv_free(n.files);
	return r;
}
