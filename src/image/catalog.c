/* SPDX-License-Identifier: Apache-2.0 */
#include "image/catalog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/digest.h"
#include "image/reference.h"

void catalog_deinit(struct catalog *c)
{
	json_decref(c->images);
	c->images = NULL;
}

int images_path(const struct home *home, char ret[static PATH_MAX], struct failure *f, const char *format, ...)
{
	_cleanup_free_ char *rest = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&rest, format, args);
	va_end(args);
	if (r < 0) {
		rest = NULL;
		return fail_errno(f, EXIT_FAILED, ENOMEM, "images");
	}
	r = io_path(ret, PATH_MAX, "%s/images/%s", home->path, rest);
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "%s/images", home->path) : 0;
}

static bool entry_is_valid(const json_t *entry)
{
	return digest_is_valid(json_str(entry, "id", "")) && json_is_array(json_object_get(entry, "references")) &&
	       json_is_array(json_object_get(entry, "digests"));
}

int catalog_read(const struct home *home, struct catalog *ret, struct failure *f)
{
	_cleanup_json_ json_t *root = NULL;
	char path[PATH_MAX];
	json_t *entry;
	size_t i;
	int r;

	ret->images = NULL;
	if (images_path(home, path, f, "index.json") < 0)
		return -1;
	r = json_read_file(path, &root, f);
	if (r == -ENOENT) {
		ret->images = json_array();
		return ret->images ? 0 : fail_errno(f, EXIT_FAILED, ENOMEM, "%s", path);
	}
	if (r < 0)
		return -1;
	if (!json_is_array(json_object_get(root, "images")))
		return fail(f, EXIT_FAILED, "%s is damaged: it has no list of images; it was left as it is", path);
	json_array_foreach(json_object_get(root, "images"), i, entry)
		if (!entry_is_valid(entry))
			return fail(f, EXIT_FAILED, "%s is damaged: image %zu is malformed; it was left as it is", path, i + 1);
	ret->images = json_incref(json_object_get(root, "images"));
	return 0;
}

int catalog_write(const struct home *home, const struct catalog *c, struct failure *f)
{
	_cleanup_json_ json_t *root = json_pack("{s:i, s:O}", "version", 1, "images", c->images);
	char path[PATH_MAX];
	int r;

	if (images_path(home, path, f, "index.json") < 0)
		return -1;
	r = root ? json_write_file(path, root, 0600) : -ENOMEM;
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "write %s", path) : 0;
}

json_t *catalog_by_id(const struct catalog *c, const char *id)
{
	json_t *entry;
	size_t i;

	json_array_foreach(c->images, i, entry)
		if (strcmp(json_str(entry, "id", ""), id) == 0)
			return entry;
	return NULL;
}

/* Index of a string in an array, -1 when it is not there. */
static int64_t index_of(const json_t *array, const char *text)
{
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return (int64_t)i;
	return -1;
}

static json_t *by_list(const struct catalog *c, const char *list, const char *text)
{
	json_t *entry;
	size_t i;

	json_array_foreach(c->images, i, entry)
		if (index_of(json_object_get(entry, list), text) >= 0)
			return entry;
	return NULL;
}

json_t *catalog_by_reference(const struct catalog *c, const char *reference)
{
	return by_list(c, "references", reference);
}

json_t *catalog_by_digest(const struct catalog *c, const char *digest)
{
	return by_list(c, "digests", digest);
}

static json_t *by_prefix(const struct catalog *c, const char *hex, bool *ret_ambiguous)
{
	json_t *entry, *found = NULL;
	size_t i;

	*ret_ambiguous = false;
	if (!*hex || strspn(hex, "0123456789abcdef") != strlen(hex))
		return NULL;
	json_array_foreach(c->images, i, entry) {
		if (!text_starts(digest_hex(json_str(entry, "id", "")), hex))
			continue;
		if (found)
			*ret_ambiguous = true;
		found = entry;
	}
	return *ret_ambiguous ? NULL : found;
}

json_t *catalog_resolve(const struct catalog *c, const char *name, struct failure *f)
{
	struct failure malformed = { 0 };
	char normalized[REFERENCE_MAX];
	struct reference ref;
	bool ambiguous = false;
	json_t *entry = NULL;

	if (reference_parse(name, &ref, &malformed) == 0) {
		reference_print(&ref, normalized);
		entry = ref.digest[0] ? catalog_by_digest(c, normalized) : catalog_by_reference(c, normalized);
	}
	if (!entry)
		entry = by_prefix(c, text_starts(name, "sha256:") ? name + 7 : name, &ambiguous);
	if (ambiguous)
		(void)fail(f, EXIT_FAILED, "image id prefix \"%s\" is ambiguous: more than one image has it", name);
	else if (!entry)
		(void)fail(f, EXIT_FAILED, "no such image: %.300s", name);
	return entry;
}

bool catalog_drop(json_t *entry, const char *list, const char *text)
{
	json_t *array = json_object_get(entry, list);
	int64_t i = index_of(array, text);

	if (i >= 0)
		(void)json_array_remove(array, (size_t)i);
	return i >= 0;
}

static int add_text(json_t *entry, const char *list, const char *text)
{
	json_t *array = json_object_get(entry, list);

	if (!text || index_of(array, text) >= 0)
		return 0;
	return json_array_append_new(array, json_string(text)) < 0 ? -ENOMEM : 0;
}

int catalog_add(struct catalog *c, const char *id, const char *reference, const char *digest)
{
	json_t *entry = catalog_by_id(c, id), *holder = reference ? catalog_by_reference(c, reference) : NULL;

	if (holder && holder != entry)
		(void)catalog_drop(holder, "references", reference);
	if (!entry) {
		entry = json_pack("{s:s, s:[], s:[]}", "id", id, "references", "digests");
		if (json_array_insert_new(c->images, 0, entry) < 0)
			return -ENOMEM;
	}
	return add_text(entry, "references", reference) < 0 || add_text(entry, "digests", digest) < 0 ? -ENOMEM : 0;
}

void catalog_remove(struct catalog *c, const char *id)
{
	json_t *entry;
	size_t i;

	json_array_foreach(c->images, i, entry)
		if (strcmp(json_str(entry, "id", ""), id) == 0) {
			(void)json_array_remove(c->images, i);
			return;
		}
}
