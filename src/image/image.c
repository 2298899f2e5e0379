/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/disk.h"
#include "image/install.h"
#include "image/layer_name.h"
#include "image/manifest.h"
#include "image/reference.h"

void image_deinit(struct image *image)
{
	char ***vectors[] = { &image->references, &image->digests, &image->entrypoint, &image->command, &image->env,
			      &image->exposed,	  &image->labels,  &image->volumes };

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		(void)strv_free(*vectors[i]);
	free(image->workdir);
	free(image->user);
	free(image->architecture);
	free(image->os);
	*image = (struct image){ 0 };
}

int install_read_image(const struct home *home, const char *id, struct image *ret, char ***ret_diff_ids, struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t size;
	int r;

	if (images_path(home, path, f, "%s/config.json", digest_hex(id)) < 0)
		return -1;
	r = io_read_file(path, CONFIG_MAX, &text, &size);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "image %.19s is damaged: %s", id, path);
	if (config_parse(text, size, ret, ret_diff_ids, f) < 0)
		return fail_wrap(f, "image %.19s is damaged: %s", id, path);
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	return 0;
}

/* Each layer counts once, as it is stored. */
static int64_t size_of_layers(const struct home *home, char *const *diff_ids)
{
	_cleanup_strv_ char **names = NULL;
	struct failure ignored;
	char path[PATH_MAX];
	struct stat st;
	int64_t size = 0;

	(void)layer_names_in_store(home, diff_ids, &names);
	for (size_t i = 0; names && names[i]; i++) {
		bool again = false;

		for (size_t k = 0; k < i && !again; k++)
			again = strcmp(names[k], names[i]) == 0;
		if (!again && images_path(home, path, &ignored, "layers/%s", names[i]) == 0 && stat(path, &st) == 0)
			size += st.st_size;
	}
	return size;
}

/* Stands for an image whose configuration is damaged, so that lists show it and it can be removed. */
static int read_as_empty(const char *id, struct image *ret, char ***ret_diff_ids, struct failure *f)
{
	static const char nothing[] = "{\"rootfs\":{\"diff_ids\":[]}}";

	if (config_parse(nothing, strlen(nothing), ret, ret_diff_ids, f) < 0)
		return -1;
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	return 0;
}

static int image_from_entry(const struct home *home, const json_t *entry, bool damaged_too, struct image *ret, struct failure *f)
{
	const char *id = json_str(entry, "id", "");
	char **diff_ids = NULL;

	if (install_read_image(home, id, ret, &diff_ids, f) < 0 && (!damaged_too || read_as_empty(id, ret, &diff_ids, f) < 0))
		return -1;
	ret->size = size_of_layers(home, diff_ids);
	(void)strv_free(diff_ids);
	ret->references = json_strv(entry, "references");
	ret->digests = json_strv(entry, "digests");
	if (ret->references && ret->digests)
		return 0;
	image_deinit(ret);
	return fail_errno(f, EXIT_FAILED, ENOMEM, "read an image");
}

int image_find(const struct home *home, const char *name, struct image *ret, struct failure *f)
{
	struct catalog c = { 0 };
	json_t *entry;
	int r = catalog_read(home, &c, f);

	*ret = (struct image){ 0 };
	if (r < 0)
		return r;
	entry = catalog_resolve(&c, name, f);
	r = entry ? image_from_entry(home, entry, false, ret, f) : -1;
	catalog_deinit(&c);
	return r;
}

int image_list(const struct home *home, struct image **ret, size_t *ret_n, struct failure *f)
{
	struct catalog c = { 0 };
	struct image *images;
	json_t *entry;
	size_t i, n = 0;
	int r = catalog_read(home, &c, f);

	*ret = NULL;
	*ret_n = 0;
	if (r < 0)
		return r;
	images = calloc(json_array_size(c.images) + 1, sizeof(*images));
	if (!images)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "list images");
	json_array_foreach(c.images, i, entry) {
		if (r < 0)
			break;
		r = image_from_entry(home, entry, true, &images[n], f);
		if (r == 0)
			n++;
	}
	catalog_deinit(&c);
	if (r < 0) {
		image_list_free(images, n);
		return r;
	}
	*ret = images;
	*ret_n = n;
	return 0;
}

void image_list_free(struct image *images, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image_deinit(&images[i]);
	free(images);
}

static int tag_locked(struct home *home, const char *source, const char *target, struct failure *f)
{
	struct catalog c = { 0 };
	json_t *entry;
	int r = catalog_read(home, &c, f);

	if (r < 0)
		return r;
	entry = catalog_resolve(&c, source, f);
	r = entry ? 0 : -1;
	if (r == 0 && catalog_add(&c, json_str(entry, "id", ""), target, NULL) < 0)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "tag an image");
	if (r == 0)
		r = catalog_write(home, &c, f);
	catalog_deinit(&c);
	return r;
}

int image_tag(struct home *home, const char *source, const char *target, struct failure *f)
{
	char normalized[REFERENCE_MAX];
	struct reference ref;
	int r;

	if (reference_parse(target, &ref, f) < 0)
		return -1;
	if (ref.digest[0])
		return fail(f, EXIT_USAGE, "refusing to create a tag with a digest reference: \"%s\"", target);
	reference_print(&ref, normalized);
	if (home_lock(home, f) < 0)
		return -1;
	r = tag_locked(home, source, normalized, f);
	home_unlock(home);
	return r;
}

/* Files of the disk: table.gpt, then the layers, and their sizes. */
static int disk_files(const struct home *home, const char *id, char ***ret_files, uint64_t *ret_sectors, struct failure *f)
{
	char path[PATH_MAX], **diff_ids = NULL, **names = NULL;
	struct image image;
	struct stat st;
	int r = install_read_image(home, id, &image, &diff_ids, f);

	if (r < 0)
		return r;
	image_deinit(&image);
	if (strv_length(diff_ids) > DISK_LAYERS_MAX)
		r = fail(f, EXIT_FAILED, "image %.19s is damaged: too many layers", id);
	if (r == 0)
		r = images_path(home, path, f, "%s/table.gpt", digest_hex(id));
	if (r == 0 && strv_add(ret_files, path) < 0)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "%s", path);
	if (r == 0 && layer_names_in_store(home, diff_ids, &names) < 0)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "image %.19s", id);
	for (size_t i = 0; r == 0 && names && names[i]; i++) {
		r = images_path(home, path, f, "layers/%s", names[i]);
		if (r == 0 && stat(path, &st) < 0)
			r = fail_errno(f, EXIT_FAILED, errno, "image %.19s is damaged: %s", id, path);
		if (r == 0 && strv_add(ret_files, path) < 0)
			r = fail_errno(f, EXIT_FAILED, ENOMEM, "%s", path);
		if (r == 0 && ret_sectors)
			ret_sectors[i] = (uint64_t)st.st_size / DISK_SECTOR;
	}
	(void)strv_free(names);
	(void)strv_free(diff_ids);
	return r;
}

int image_disk(const struct home *home, const char *id, char ret_vmdk[static 4096], char ***ret_files, struct failure *f)
{
	*ret_files = NULL;
	if (!digest_is_valid(id))
		return fail(f, EXIT_FAILED, "no such image: %.100s", id);
	if (images_path(home, ret_vmdk, f, "%s/disk.vmdk", digest_hex(id)) == 0 && disk_files(home, id, ret_files, NULL, f) == 0)
		return 0;
	*ret_files = strv_free(*ret_files);
	return -1;
}

int image_disk_descriptor(const struct home *home, const char *id, unsigned first_fdset, char **ret_text, struct failure *f)
{
	uint64_t sectors[DISK_LAYERS_MAX];
	char **files = NULL, **names = NULL, name[64];
	int r = 0;

	*ret_text = NULL;
	if (!digest_is_valid(id))
		return fail(f, EXIT_FAILED, "no such image: %.100s", id);
	if (disk_files(home, id, &files, sectors, f) < 0) {
		(void)strv_free(files);
		return -1;
	}
	for (size_t i = 0; files[i] && r == 0; i++) {
		(void)snprintf(name, sizeof(name), "/dev/fdset/%zu", first_fdset + i);
		r = strv_add(&names, name);
	}
	if (r == 0)
		*ret_text = disk_make_descriptor((const char *const *)names, sectors, strv_length(files) - 1);
	(void)strv_free(files);
	(void)strv_free(names);
	return *ret_text ? 0 : fail_errno(f, EXIT_FAILED, ENOMEM, "image %.19s", id);
}
