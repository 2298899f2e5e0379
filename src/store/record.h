/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs as JSON objects by a table: one line a field serves writing, reading, checking and freeing, so these four cannot
 * come apart. Unknown keys are left alone by a reader: a newer program may have written them.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

enum record_type {
	RECORD_STRING,	/* char *, absent: NULL */
	RECORD_STRINGS, /* char **, absent: an empty vector */
	RECORD_FLAG,	/* bool */
	RECORD_INT,	/* int, whose default need not be zero */
	RECORD_UNSIGNED, /* unsigned */
	RECORD_INT64,	/* int64_t */
	RECORD_SIZE,	/* size_t */
};

struct record_field {
	const char *key;
	enum record_type type;
	size_t offset;
};

/* A new object, NULL without memory. Absent strings, empty vectors, false and zero are left out, but for a RECORD_INT. */
json_t *record_to_json(const struct record_field *fields, size_t n, const void *record);
/* Fields that the object lacks keep their value. -1 and a sentence at a value of another type or out of range. */
int record_from_json(const struct record_field *fields, size_t n, const json_t *json, void *record, struct failure *f);
/* Free strings and vectors. */
void record_deinit(const struct record_field *fields, size_t n, void *record);
