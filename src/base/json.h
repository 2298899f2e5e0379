/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers around jansson: typed reads with defaults, and files. Numbers are int64. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

static inline void own_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(own_json)))

/* Borrowed; `fallback` when missing or of another type. */
const char *json_str(const json_t *object, const char *key, const char *fallback);
int64_t json_int(const json_t *object, const char *key, int64_t fallback);
bool json_flag(const json_t *object, const char *key, bool fallback);
/* Array of strings -> NULL-terminated vector, caller frees with strv_free(). Missing: an empty vector. NULL: no memory. */
char **json_strv(const json_t *object, const char *key);
/* NULL-terminated vector -> new array. NULL vector: an empty array. NULL: no memory, or a string is not UTF-8. */
json_t *json_from_strv(char *const *v);

/* Read a whole file of at most 16 MiB. 0; else a sentence and -ENOENT (no file: the caller may take that for an answer), -EBADMSG (not
 * JSON: the sentence has the place) or another negative errno. */
int json_read_file(const char *path, json_t **ret, struct failure *f);
/* Indented, keys in insertion order, replaced atomically. */
int json_write_file(const char *path, const json_t *value, mode_t mode);
