/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rmi. A reference is untagged; when it was the last one, or an id was given, the image goes, and with it the layers that no other image
 * has. How many need a layer is counted when it matters, never stored: a count in a file would be wrong after the first crash.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/install.h"
#include "image/reference.h"

struct removal {
	struct home *home;
	bool force;
	int (*in_use)(void *context, const char *id, char ret_holder[static 128], struct failure *f);
	void (*fn)(void *context, const char *line);
	void *context;
};

static void say(const struct removal *r, const char *what, const char *object)
{
	char line[REFERENCE_MAX + 32];

	(void)snprintf(line, sizeof(line), "%s: %s", what, object);
	r->fn(r->context, line);
}

static void say_untagged(const struct removal *r, const char *reference)
{
	char familiar[REFERENCE_MAX];

	image_familiar(reference, familiar);
	say(r, "Untagged", familiar);
}

/* Whether the name means the image itself rather than one of its references. */
static bool names_reference(const json_t *entry, const char *name, char ret[static REFERENCE_MAX], const char **ret_list)
{
	struct failure ignored;
	struct reference ref;
	const json_t *item;
	size_t i;

	if (reference_parse(name, &ref, &ignored) < 0)
		return false;
	reference_print(&ref, ret);
	*ret_list = ref.digest[0] ? "digests" : "references";
	json_array_foreach(json_object_get(entry, *ret_list), i, item)
		if (strcmp(json_string_value(item), ret) == 0)
			return true;
	return false;
}

static int refuse_in_use(const struct removal *r, const char *id, const char *name, struct failure *f)
{
	char holder[128] = "";

	int used = r->in_use ? r->in_use(r->context, id, holder, f) : 0;

	if (used <= 0)
		return used;
	return fail(f, EXIT_IN_USE, "cannot remove %s: image %.12s is used by box %s; remove that box first", name, digest_hex(id), holder);
}

static void untag_all(const struct removal *r, json_t *entry)
{
	static const char *const lists[] = { "references", "digests" };

	for (size_t k = 0; k < 2; k++) {
		json_t *list = json_object_get(entry, lists[k]), *item;
		size_t i;

		json_array_foreach(list, i, item)
			say_untagged(r, json_string_value(item));
		(void)json_array_clear(list);
	}
}

/* After the untagging of `reference` the image stays: it has other names, or a box needs it and force was given. */
static int untag_one(const struct removal *r, struct catalog *c, json_t *entry, const char *list, const char *reference,
		     struct failure *f)
{
	(void)catalog_drop(entry, list, reference);
	if (catalog_write(r->home, c, f) < 0)
		return -1;
	say_untagged(r, reference);
	return 0;
}

static int remove_locked(const struct removal *r, const char *name, struct catalog *c, struct failure *f)
{
	char reference[REFERENCE_MAX], id[80];
	const char *list = "references";
	json_t *entry = catalog_resolve(c, name, f);
	bool by_name;
	size_t n;

	if (!entry)
		return -1;
	by_name = names_reference(entry, name, reference, &list);
	n = json_array_size(json_object_get(entry, "references"));
	(void)snprintf(id, sizeof(id), "%s", json_str(entry, "id", ""));
	if (by_name && (strcmp(list, "digests") == 0 ? n > 0 : n > 1))
		return untag_one(r, c, entry, list, reference, f);
	if (refuse_in_use(r, id, name, f) < 0)
		return by_name && r->force && f->code == EXIT_IN_USE ? untag_one(r, c, entry, list, reference, f) : -1;
	if (!by_name && n > 1 && !r->force)
		return fail(f, EXIT_FAILED, "image %.12s has %zu names: remove them one by one, or use force", digest_hex(id), n);
	untag_all(r, entry);
	catalog_remove(c, id);
	if (catalog_write(r->home, c, f) < 0)
		return -1;
	install_sweep(r->home);
	say(r, "Deleted", id);
	return 0;
}

int image_remove(struct home *home, const char *name, bool force,
		 int (*in_use)(void *context, const char *id, char ret_holder[static 128], struct failure *f),
		 void (*fn)(void *context, const char *line), void *context, struct failure *f)
{
	const struct removal removal = { .home = home, .force = force, .in_use = in_use, .fn = fn, .context = context };
	struct catalog c = { 0 };
	int r;

	if (home_lock(home, f) < 0)
		return -1;
	r = catalog_read(home, &c, f);
	if (r == 0)
		r = remove_locked(&removal, name, &c, f);
	catalog_deinit(&c);
	home_unlock(home);
	return r;
}
