/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images/index.json: {"version":1,"images":[{"id":S,"references":[S],"digests":[S]}]}, newest first.
 * Read without the lock (a reader never sees half a file); read, changed and written under the home's lock.
 */
#pragma once

#include <jansson.h>
#include <limits.h>

#include "base/err.h"
#include "store/home.h"

struct catalog {
	json_t *images; /* array */
};
void catalog_deinit(struct catalog *c);

/* A missing file is an empty catalog; a corrupt one is kept, named and refused. */
int catalog_read(const struct home *home, struct catalog *ret, struct failure *f);
int catalog_write(const struct home *home, const struct catalog *c, struct failure *f);

/* Borrowed entries, NULL when there is none. */
json_t *catalog_by_id(const struct catalog *c, const char *id);
json_t *catalog_by_reference(const struct catalog *c, const char *reference);
json_t *catalog_by_digest(const struct catalog *c, const char *digest);
/* What a person typed: reference, "sha256:" id, id or unambiguous prefix. NULL and a sentence, code 1. */
json_t *catalog_resolve(const struct catalog *c, const char *name, struct failure *f);

/* Add an image, or its further reference or digest (each may be NULL); a reference is taken from whoever had it. 0 or -ENOMEM. */
int catalog_add(struct catalog *c, const char *id, const char *reference, const char *digest);
/* Take a string out of an entry's list ("references", "digests"); whether it was there. */
bool catalog_drop(json_t *entry, const char *list, const char *text);
void catalog_remove(struct catalog *c, const char *id);

/* "<home>/images/" and the rest. -1 and a sentence when too long. */
int images_path(const struct home *home, char ret[static PATH_MAX], struct failure *f, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
