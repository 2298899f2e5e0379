/* SPDX-License-Identifier: Apache-2.0 */
/* The image's configuration: OCI image-spec, config.md. */
#include <a3s/agent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/manifest.h"

/* Keys of an object, or "key=value" of an object of strings. NULL: no memory. */
static char **strv_from_object(const json_t *object, bool values)
{
	char **v = calloc(1, sizeof(*v));
	const char *key;
	json_t *value;

	if (!v || !json_is_object(object))
		return v;
	/* jansson's iterator wants a non-const object but does not change it */
	for (void *i = json_object_iter((json_t *)(uintptr_t)object); i;
	     i = json_object_iter_next((json_t *)(uintptr_t)object, i)) {
		_cleanup_free_ char *text = NULL;

		key = json_object_iter_key(i);
		value = json_object_iter_value(i);
		if (values && (!json_is_string(value) || asprintf(&text, "%s=%s", key, json_string_value(value)) < 0)) {
			text = NULL;
			continue;
		}
		if (strv_add(&v, values ? text : key) < 0)
			return strv_free(v);
	}
	return v;
}

static int parse_runtime(const json_t *config, struct image *ret, struct failure *f)
{
	ret->entrypoint = json_strv(config, "Entrypoint");
	ret->command = json_strv(config, "Cmd");
	ret->env = json_strv(config, "Env");
	ret->exposed = strv_from_object(json_object_get(config, "ExposedPorts"), false);
	ret->volumes = strv_from_object(json_object_get(config, "Volumes"), false);
	ret->labels = strv_from_object(json_object_get(config, "Labels"), true);
	ret->workdir = strdup(json_str(config, "WorkingDir", ""));
	ret->user = strdup(json_str(config, "User", ""));
	ret->stop_signal = text_to_signal(json_str(config, "StopSignal", ""));
	if (!ret->entrypoint || !ret->command || !ret->env || !ret->exposed || !ret->volumes || !ret->labels || !ret->workdir ||
	    !ret->user)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an image's configuration");
	return 0;
}

static int parse_diff_ids(const json_t *root, char ***ret, struct failure *f)
{
	const json_t *ids = json_object_get(json_object_get(root, "rootfs"), "diff_ids"), *id;
	size_t i;

	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an image's configuration");
	if (!json_is_array(ids))
		return fail(f, EXIT_FAILED, "not an image configuration: it has no rootfs.diff_ids");
	if (json_array_size(ids) > MANIFEST_LAYERS_MAX)
		return fail(f, EXIT_FAILED, "the configuration has %zu layers, more than %u", json_array_size(ids), MANIFEST_LAYERS_MAX);
	json_array_foreach(ids, i, id) {
		const char *text = json_string_value(id);

		if (!text || !digest_is_valid(text))
			return fail(f, EXIT_FAILED, "layer %zu has no usable diff_id", i + 1);
		if (strv_add(ret, text) < 0)
			return fail_errno(f, EXIT_FAILED, ENOMEM, "read an image's configuration");
	}
	return 0;
}

int config_parse(const char *text, size_t size, struct image *ret, char ***ret_diff_ids, struct failure *f)
{
	_cleanup_json_ json_t *root = NULL;
	char **diff_ids = NULL;

	*ret = (struct image){ 0 };
	*ret_diff_ids = NULL;
	if (manifest_load(text, size, "the image's configuration", &root, f) < 0)
		return -1;
	ret->architecture = strdup(json_str(root, "architecture", ""));
	ret->os = strdup(json_str(root, "os", ""));
	if (!ret->architecture || !ret->os) {
		(void)fail_errno(f, EXIT_FAILED, ENOMEM, "read an image's configuration");
		goto failed;
	}
	if (text_to_time(json_str(root, "created", ""), &ret->created_ns) < 0)
		ret->created_ns = 0;
	if (parse_runtime(json_object_get(root, "config"), ret, f) < 0 || parse_diff_ids(root, &diff_ids, f) < 0)
		goto failed;
	ret->n_layers = (unsigned)strv_length(diff_ids);
	*ret_diff_ids = diff_ids;
	return 0;
failed:
	image_deinit(ret);
	(void)strv_free(diff_ids);
	return -1;
}

char *config_make(const char *diff_id)
{
	struct platform host;
	struct failure ignored;
	_cleanup_json_ json_t *root = NULL;

	(void)platform_parse(NULL, &host, &ignored);
	root = json_pack("{s:s, s:s, s:{s:[s], s:[s]}, s:{s:s, s:[s]}, s:[{s:s}]}", "architecture", host.architecture, "os", host.os,
			 "config", "Env", "PATH=" AGENT_PATH_DEFAULT, "Cmd", "/bin/sh", "rootfs",
			 "type", "layers", "diff_ids", diff_id, "history", "created_by", "imported root file system");
	return root ? json_dumps(root, JSON_COMPACT) : NULL;
}
