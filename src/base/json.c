/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#define FILE_MAX (16u << 20)

const char *json_str(const json_t *object, const char *key, const char *fallback)
{
	const json_t *v = json_object_get(object, key);

	return json_is_string(v) ? json_string_value(v) : fallback;
}

int64_t json_int(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

bool json_flag(const json_t *object, const char *key, bool fallback)
{
	const json_t *v = json_object_get(object, key);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

char **json_strv(const json_t *object, const char *key)
{
	const json_t *array = json_object_get(object, key), *item;
	char **v = calloc(1, sizeof(*v));
	size_t i;

	if (!v || !json_is_array(array))
		return v;
	json_array_foreach(array, i, item)
		if (json_is_string(item) && strv_add(&v, json_string_value(item)) < 0)
			return strv_free(v);
	return v;
}

json_t *json_from_strv(char *const *v)
{
	json_t *array = json_array();

	for (; array && v && *v; v++) {
		if (json_array_append_new(array, json_string(*v)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

int json_read_file(const char *path, json_t **ret, struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	json_error_t error;
	size_t size;
	int r = io_read_file(path, FILE_MAX, &text, &size);

	if (r < 0) {
		fail_errno(f, EXIT_FAILED, r, "cannot read %s", path);
		return r;
	}
	*ret = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (!*ret) {
		fail(f, EXIT_FAILED, "%s is damaged (line %d: %s); it was left as it is: mend it or move it away", path, error.line,
		     error.text);
		return -EBADMSG;
	}
	return 0;
}

int json_write_file(const char *path, const json_t *value, mode_t mode)
{
	_cleanup_free_ char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	if (!text)
		return -ENOMEM;
	return io_replace_file(path, text, strlen(text), mode);
}
