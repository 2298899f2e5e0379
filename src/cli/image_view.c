/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_view.h"

#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/image.h"

static json_t *keys_to_object(char *const *keys)
{
	json_t *object = json_object();

	for (; keys && *keys; keys++)
		json_object_set_new(object, *keys, json_object());
	return object;
}

static json_t *labels_to_object(char *const *labels)
{
	json_t *object = json_object();

	for (; labels && *labels; labels++) {
		const char *equals = strchr(*labels, '=');
		_cleanup_free_ char *key = strndup(*labels, equals ? (size_t)(equals - *labels) : strlen(*labels));

		if (key)
			json_object_set_new(object, key, json_string(equals ? equals + 1 : ""));
	}
	return object;
}

static json_t *familiar_references(char *const *references)
{
	json_t *list = json_array();
	char familiar[512];

	for (; references && *references; references++) {
		image_familiar(*references, familiar);
		json_array_append_new(list, json_string(familiar));
	}
	return list;
}

static json_t *image_config(const struct image *image)
{
	json_t *config = json_object();

	json_object_set_new(config, "User", json_string(image->user ? image->user : ""));
	json_object_set_new(config, "ExposedPorts", keys_to_object(image->exposed));
	json_object_set_new(config, "Env", json_from_strv(image->env));
	json_object_set_new(config, "Entrypoint", json_from_strv(image->entrypoint));
	json_object_set_new(config, "Cmd", json_from_strv(image->command));
	json_object_set_new(config, "Volumes", keys_to_object(image->volumes));
	json_object_set_new(config, "WorkingDir", json_string(image->workdir ? image->workdir : ""));
	json_object_set_new(config, "Labels", labels_to_object(image->labels));
	return config;
}

int image_view_find(struct cli *cli, const char *name, json_t **ret, struct failure *f)
{
	struct image image = { 0 };
	char created[TEXT_TIME_MAX] = "";
	json_t *object;

	if (image_find(&cli->home, name, &image, f) < 0)
		return -1;
	if (image.created_ns)
		text_time(image.created_ns, created);
	object = json_object();
	json_object_set_new(object, "Id", json_string(image.id));
	json_object_set_new(object, "RepoTags", familiar_references(image.references));
	json_object_set_new(object, "RepoDigests", familiar_references(image.digests));
	json_object_set_new(object, "Created", json_string(created));
	json_object_set_new(object, "Architecture", json_string(image.architecture ? image.architecture : ""));
	json_object_set_new(object, "Os", json_string(image.os ? image.os : ""));
	json_object_set_new(object, "Size", json_integer(image.size));
	json_object_set_new(object, "Layers", json_integer(image.n_layers));
	json_object_set_new(object, "Config", image_config(&image));
	image_deinit(&image);
	*ret = object;
	return 0;
}
