/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing one box's files, finding a box, listing all.
 *
 * names/<name> is a link whose target is the id: it makes names unique without reading every record, and a lookup one system
 * call. The record is the truth, the link an index: a link without its box is stale and gets replaced (box_change.c).
 */
#include "store/box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"

#define BROKEN_ADVICE "the file is left as it is; repair it, or remove the box with rm -f"

int box_path(const struct home *home, const char *id, const char *file, char ret[static PATH_MAX])
{
	return io_path(ret, PATH_MAX, *file ? "%s/boxes/%s/%s" : "%s/boxes/%s%s", home->path, id, file);
}

int box_runtime_path(const struct home *home, const char *id, const char *file, char ret[static PATH_MAX])
{
	return io_path(ret, PATH_MAX, *file ? "%s/%.12s/%s" : "%s/%.12s%s", home->runtime, id, file);
}

bool box_is_held(const struct home *home, const char *id)
{
	char path[PATH_MAX];

	return box_path(home, id, "lock", path) == 0 && io_is_locked(path);
}

static int read_box_file(const struct home *home, const char *id, const char *file, char path[static PATH_MAX], json_t **ret,
			 struct failure *f)
{
	struct failure why = { 0 };
	int r;

	r = box_path(home, id, file, path);
	if (r == 0)
		r = json_read_file(path, ret, &why);
	if (r == -ENOENT)
		return fail(f, EXIT_FAILED, "box %.12s has no %s (%s)", id, file, path);
	if (r < 0 && why.code)
		return fail(f, EXIT_FAILED, "corrupt record %s: %s; " BROKEN_ADVICE, path, why.text);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "cannot read %s", path);
	return 0;
}

int box_read_config(const struct home *home, const char *id, struct box_config *ret, struct failure *f)
{
	_cleanup_json_ json_t *json = NULL;
	struct failure why = { 0 };
	char path[PATH_MAX];

	*ret = (struct box_config)BOX_CONFIG_NULL;
	if (read_box_file(home, id, "config.json", path, &json, f) < 0)
		return -1;
	if (box_config_from_json(json, ret, &why) < 0)
		return fail(f, EXIT_FAILED, "corrupt record %s: %s; " BROKEN_ADVICE, path, why.text);
	if (strcmp(ret->id, id) != 0) {
		box_config_deinit(ret);
		return fail(f, EXIT_FAILED, "corrupt record %s: it is of another box; " BROKEN_ADVICE, path);
	}
	return 0;
}

int box_read_state(const struct home *home, const char *id, struct box_state *ret, struct failure *f)
{
	_cleanup_json_ json_t *json = NULL;
	struct failure why = { 0 };
	char path[PATH_MAX];

	*ret = (struct box_state)BOX_STATE_NULL;
	if (read_box_file(home, id, "state.json", path, &json, f) < 0)
		return -1;
	if (box_state_from_json(json, ret, &why) < 0)
		return fail(f, EXIT_FAILED, "corrupt record %s: %s; " BROKEN_ADVICE, path, why.text);
	if (box_status_is_alive(ret->status) && !box_is_held(home, id)) {
		ret->status = BOX_DEAD;
		ret->exit_code = 255;
		free(ret->error);
		ret->error = strdup("its monitor ended without a word");
	}
	return 0;
}

/* A state that nobody can read is evidence: move it out of the way instead of writing over it. */
static void keep_corrupt_aside(const char *path)
{
	_cleanup_json_ json_t *json = NULL;
	struct box_state old = BOX_STATE_NULL;
	struct failure why = { 0 };
	char aside[PATH_MAX];
	int r;

	r = json_read_file(path, &json, &why);
	if (r == -ENOENT || (r == 0 && box_state_from_json(json, &old, &why) == 0)) {
		box_state_deinit(&old);
		return;
	}
	if (io_path(aside, sizeof(aside), "%s.corrupt", path) == 0)
		rename(path, aside);
}

int box_write_state(const struct home *home, const char *id, const struct box_state *state, struct failure *f)
{
	_cleanup_json_ json_t *json = box_state_to_json(state);
	char path[PATH_MAX];
	int r = json ? box_path(home, id, "state.json", path) : -ENOMEM;

	if (r == 0) {
		keep_corrupt_aside(path);
		r = json_write_file(path, json, 0600);
	}
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "cannot write the state of box %.12s", id) : 0;
}

/* 1 when there is a box of this id. */
static int box_exists(const struct home *home, const char *id)
{
	char path[PATH_MAX];

	return box_path(home, id, "", path) == 0 && access(path, F_OK) == 0;
}

bool box_is_gone(const struct home *home, const char *id)
{
	return !box_exists(home, id);
}

int box_find_name(const struct home *home, const char *name, char ret_id[static BOX_ID_LENGTH + 1])
{
	char path[PATH_MAX], id[BOX_ID_LENGTH + 2];
	ssize_t n;

	if (!box_name_is_valid(name) || io_path(path, sizeof(path), "%s/names/%s", home->path, name) < 0)
		return -ENOENT;
	n = readlink(path, id, sizeof(id) - 1);
	if (n < 0)
		return -ENOENT;
	id[n] = '\0';
	if (!box_id_is_valid(id) || !box_exists(home, id))
		return -ENOENT;
	memcpy(ret_id, id, BOX_ID_LENGTH + 1);
	return 0;
}

/* Name for a sentence: that of the record, else the short id. */
static void describe_box(const struct home *home, const char *id, char *ret, size_t size)
{
	struct box_config config = BOX_CONFIG_NULL;
	struct failure ignored = { 0 };

	if (box_read_config(home, id, &config, &ignored) == 0)
		snprintf(ret, size, "%.12s (%s)", id, config.name);
	else
		snprintf(ret, size, "%.12s", id);
	box_config_deinit(&config);
}

static int fail_ambiguous(const struct home *home, const char *prefix, const char *one, const char *other, struct failure *f)
{
	char a[BOX_NAME_MAX + 20], b[BOX_NAME_MAX + 20];

	describe_box(home, one, a, sizeof(a));
	describe_box(home, other, b, sizeof(b));
	return fail(f, EXIT_FAILED, "\"%s\" begins the id of more than one box, among them %s and %s: write more of it, or the name",
		    prefix, a, b);
}

static int resolve_prefix(const struct home *home, const char *prefix, char ret_id[static BOX_ID_LENGTH + 1], struct failure *f)
{
	size_t n = strlen(prefix), found = 0;
	char path[PATH_MAX];
	DIR *dir;

	if (n > BOX_ID_LENGTH || strspn(prefix, "0123456789abcdef") != n)
		return 0;
	if (io_path(path, sizeof(path), "%s/boxes", home->path) < 0 || !(dir = opendir(path)))
		return 0;
	for (const struct dirent *e; (e = readdir(dir));) {
		if (!box_id_is_valid(e->d_name) || strncmp(e->d_name, prefix, n) != 0)
			continue;
		if (found++) {
			fail_ambiguous(home, prefix, ret_id, e->d_name, f);
			closedir(dir);
			return -1;
		}
		memcpy(ret_id, e->d_name, BOX_ID_LENGTH + 1);
	}
	closedir(dir);
	return found == 1;
}

int box_resolve(const struct home *home, const char *name, char ret_id[static BOX_ID_LENGTH + 1], struct failure *f)
{
	int r;

	if (box_id_is_valid(name) && box_exists(home, name)) {
		memcpy(ret_id, name, BOX_ID_LENGTH + 1);
		return 0;
	}
	if (box_find_name(home, name, ret_id) == 0)
		return 0;
	r = *name ? resolve_prefix(home, name, ret_id, f) : 0;
	if (r < 0)
		return -1;
	if (r)
		return 0;
	fail(f, EXIT_FAILED, "no such box: %s", name);
	return BOX_UNKNOWN;
}

static int compare_newest_first(const void *a, const void *b)
{
	const struct box_entry *one = a, *other = b;

	if (one->config.created_ns != other->config.created_ns)
		return one->config.created_ns < other->config.created_ns ? 1 : -1;
	return strcmp(one->config.id, other->config.id);
}

static int list_add(const struct home *home, const char *id, struct box_list *list, size_t *room, struct failure *f)
{
	struct box_entry entry = { .config = BOX_CONFIG_NULL, .state = BOX_STATE_NULL }, *larger;
	struct failure why = { 0 };

	if (box_read_config(home, id, &entry.config, &why) < 0 || box_read_state(home, id, &entry.state, &why) < 0) {
		box_config_deinit(&entry.config);
		/* Removed since its name was read: nothing is wrong. */
		if (!box_exists(home, id))
			return 0;
		if (list->broken++ == 0)
			list->reason = why;
		return 0;
	}
	if (list->n == *room) {
		*room = *room ? 2 * *room : 32;
		larger = reallocarray(list->entries, *room, sizeof(*larger));
		if (!larger) {
			box_config_deinit(&entry.config);
			box_state_deinit(&entry.state);
			return fail(f, EXIT_FAILED, "out of memory");
		}
		list->entries = larger;
	}
	list->entries[list->n++] = entry;
	return 0;
}

int box_list_read(const struct home *home, struct box_list *ret, struct failure *f)
{
	char path[PATH_MAX];
	size_t room = 0;
	int r = 0;
	DIR *dir;

	*ret = (struct box_list){ 0 };
	if (io_path(path, sizeof(path), "%s/boxes", home->path) < 0 || !(dir = opendir(path)))
		return errno == ENOENT ? 0 : fail_errno(f, EXIT_FAILED, errno, "cannot read %s/boxes", home->path);
	for (const struct dirent *e; r == 0 && (e = readdir(dir));) {
		if (box_id_is_valid(e->d_name))
			r = list_add(home, e->d_name, ret, &room, f);
	}
	closedir(dir);
	if (r < 0) {
		box_list_deinit(ret);
		return -1;
	}
	if (ret->n)
		qsort(ret->entries, ret->n, sizeof(*ret->entries), compare_newest_first);
	return 0;
}

void box_list_deinit(struct box_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		box_config_deinit(&list->entries[i].config);
		box_state_deinit(&list->entries[i].state);
	}
	free(list->entries);
	*list = (struct box_list){ 0 };
}
