/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

static json_t *field_to_json(enum record_type type, const void *at)
{
	switch (type) {
	case RECORD_STRING:
		return json_string(*(char *const *)at);
	case RECORD_STRINGS:
		return json_from_strv(*(char **const *)at);
	case RECORD_FLAG:
		return json_boolean(*(const bool *)at);
	case RECORD_INT:
		return json_integer(*(const int *)at);
	case RECORD_UNSIGNED:
		return json_integer(*(const unsigned *)at);
	case RECORD_INT64:
		return json_integer(*(const int64_t *)at);
	case RECORD_SIZE:
		return json_integer((json_int_t)*(const size_t *)at);
	}
	return NULL;
}

/* What a reader starts with anyway: reading a thousand records is mostly parsing, so they are kept short. */
static bool is_left_out(enum record_type type, const void *at)
{
	switch (type) {
	case RECORD_STRING:
		return !*(char *const *)at;
	case RECORD_STRINGS:
		return strv_length(*(char **const *)at) == 0;
	case RECORD_FLAG:
		return !*(const bool *)at;
	case RECORD_INT:
		return false;
	case RECORD_UNSIGNED:
		return *(const unsigned *)at == 0;
	case RECORD_INT64:
		return *(const int64_t *)at == 0;
	case RECORD_SIZE:
		return *(const size_t *)at == 0;
	}
	return false;
}

json_t *record_to_json(const struct record_field *fields, size_t n, const void *record)
{
	json_t *json = json_object();

	for (size_t i = 0; json && i < n; i++) {
		const void *at = (const char *)record + fields[i].offset;

		if (is_left_out(fields[i].type, at))
			continue;
		if (json_object_set_new(json, fields[i].key, field_to_json(fields[i].type, at)) < 0) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

static int string_from_json(const json_t *value, char **at)
{
	char *copy;

	if (!json_is_string(value))
		return -EINVAL;
	copy = strdup(json_string_value(value));
	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static int strings_from_json(const json_t *value, char ***at)
{
	size_t i;
	const json_t *item;

	if (!json_is_array(value))
		return -EINVAL;
	*at = strv_free(*at);
	json_array_foreach(value, i, item) {
		if (!json_is_string(item))
			return -EINVAL;
		if (strv_add(at, json_string_value(item)) < 0)
			return -ENOMEM;
	}
	if (!*at)
		*at = calloc(1, sizeof(char *));
	return *at ? 0 : -ENOMEM;
}

static int integer_from_json(const json_t *value, int64_t min, int64_t max, int64_t *ret)
{
	if (!json_is_integer(value))
		return -EINVAL;
	*ret = json_integer_value(value);
	return *ret < min || *ret > max ? -ERANGE : 0;
}

static int field_from_json(enum record_type type, const json_t *value, void *at)
{
	int64_t number = 0;
	int r = 0;

	switch (type) {
	case RECORD_STRING:
		return string_from_json(value, at);
	case RECORD_STRINGS:
		return strings_from_json(value, at);
	case RECORD_FLAG:
		if (!json_is_boolean(value))
			return -EINVAL;
		*(bool *)at = json_is_true(value);
		return 0;
	case RECORD_INT:
		r = integer_from_json(value, INT_MIN, INT_MAX, &number);
		*(int *)at = r < 0 ? *(int *)at : (int)number;
		return r;
	case RECORD_UNSIGNED:
		r = integer_from_json(value, 0, UINT_MAX, &number);
		*(unsigned *)at = r < 0 ? *(unsigned *)at : (unsigned)number;
		return r;
	case RECORD_INT64:
		return integer_from_json(value, INT64_MIN, INT64_MAX, at);
	case RECORD_SIZE:
		r = integer_from_json(value, 0, INT32_MAX, &number);
		*(size_t *)at = r < 0 ? *(size_t *)at : (size_t)number;
		return r;
	}
	return -EINVAL;
}

int record_from_json(const struct record_field *fields, size_t n, const json_t *json, void *record, struct failure *f)
{
	if (!json_is_object(json))
		return fail(f, EXIT_FAILED, "not a JSON object");
	for (size_t i = 0; i < n; i++) {
		void *at = (char *)record + fields[i].offset;
		const json_t *value = json_object_get(json, fields[i].key);
		int r;

		if (!value && fields[i].type == RECORD_STRINGS && !*(char ***)at)
			*(char ***)at = calloc(1, sizeof(char *));
		if (!value)
			continue;
		r = field_from_json(fields[i].type, value, at);
		if (r < 0)
			return fail_errno(f, EXIT_FAILED, r, "field \"%s\"", fields[i].key);
	}
	return 0;
}

void record_deinit(const struct record_field *fields, size_t n, void *record)
{
	for (size_t i = 0; i < n; i++) {
		void *at = (char *)record + fields[i].offset;

		if (fields[i].type == RECORD_STRING) {
			free(*(char **)at);
			*(char **)at = NULL;
		} else if (fields[i].type == RECORD_STRINGS) {
			*(char ***)at = strv_free(*(char ***)at);
		}
	}
}
