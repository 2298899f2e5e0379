/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"

#if defined(__x86_64__)
#define HOST_ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define HOST_ARCHITECTURE "arm64"
#else
#error "which architecture do images for this machine have?"
#endif

void manifest_deinit(struct manifest *m)
{
	free(m->layers);
	*m = (struct manifest){ 0 };
}

static bool platform_word(const char *s, size_t n, char ret[static 32])
{
	if (n == 0 || n >= 32 || strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") < n)
		return false;
	memcpy(ret, s, n);
	ret[n] = '\0';
	return true;
}

int platform_parse(const char *text, struct platform *ret, struct failure *f)
{
	const char *p = text;
	char(*words[])[32] = { &ret->os, &ret->architecture, &ret->variant };

	*ret = (struct platform){ .os = "linux", .architecture = HOST_ARCHITECTURE };
	if (!text)
		return 0;
	if (!strchr(text, '/'))
		return fail(f, EXIT_USAGE, "platform \"%.64s\": give os/architecture[/variant], like linux/amd64", text);
	for (size_t i = 0; p; i++) {
		size_t n = strcspn(p, "/");

		if (i == ARRAY_SIZE(words) || !platform_word(p, n, *words[i]))
			return fail(f, EXIT_USAGE, "platform \"%.64s\": give os/architecture[/variant], like linux/amd64", text);
		p = p[n] ? p + n + 1 : NULL;
	}
	return 0;
}

int manifest_load(const char *text, size_t size, const char *what, json_t **ret, struct failure *f)
{
	json_error_t error;

	*ret = json_loadb(text, size, 0, &error);
	if (!*ret)
		return fail(f, EXIT_FAILED, "%s is not valid JSON: %s", what, error.text);
	return 0;
}

bool manifest_is_index(const json_t *json)
{
	return json_is_array(json_object_get(json, "manifests"));
}

int manifest_parse_descriptor(const json_t *json, const char *what, struct descriptor *ret, struct failure *f)
{
	const char *digest = json_str(json, "digest", "");

	if (!digest_is_valid(digest))
		return fail(f, EXIT_FAILED, "%s has no usable digest (\"%.80s\")", what, digest);
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", digest);
	ret->size = json_int(json, "size", -1);
	return 0;
}

/* How well an entry of an index fits: 0 not at all. Without a wish, plain amd64 is better than amd64/v3. */
static int platform_fit(const json_t *entry, const struct platform *want)
{
	const json_t *p = json_object_get(entry, "platform");
	const char *variant = json_str(p, "variant", "");

	if (strcmp(json_str(p, "os", ""), want->os) != 0 ||
	    strcmp(json_str(p, "architecture", ""), want->architecture) != 0)
		return 0;
	if (want->variant[0])
		return strcmp(variant, want->variant) == 0 ? 3 : 0;
	return !*variant || strcmp(variant, "v1") == 0 || strcmp(variant, "v8") == 0 ? 3 : 2;
}

int manifest_choose(const json_t *index, const struct platform *platform, struct descriptor *ret, struct failure *f)
{
	const json_t *entry, *best = NULL;
	int best_fit = 0;
	size_t i;

	json_array_foreach(json_object_get(index, "manifests"), i, entry) {
		int fit = platform_fit(entry, platform);

		if (fit > best_fit) {
			best_fit = fit;
			best = entry;
		}
	}
	if (!best)
		return fail(f, EXIT_FAILED, "no matching manifest for %s/%s%s%s in the manifest list entries", platform->os,
			    platform->architecture, platform->variant[0] ? "/" : "", platform->variant);
	return manifest_parse_descriptor(best, "manifest of the index", ret, f);
}

int manifest_parse(const json_t *json, struct manifest *ret, struct failure *f)
{
	const json_t *layers = json_object_get(json, "layers"), *layer;
	size_t i;

	if (json_int(json, "schemaVersion", 2) != 2)
		return fail(f, EXIT_FAILED, "the image's manifest has schema version %lld, which is no longer supported",
			    (long long)json_int(json, "schemaVersion", 0));
	if (!json_is_array(layers) || !json_is_object(json_object_get(json, "config")))
		return fail(f, EXIT_FAILED, "not an image manifest: it has no config and layers");
	if (json_array_size(layers) > MANIFEST_LAYERS_MAX)
		return fail(f, EXIT_FAILED, "the manifest has %zu layers, more than %u", json_array_size(layers), MANIFEST_LAYERS_MAX);
	if (manifest_parse_descriptor(json_object_get(json, "config"), "config", &ret->config, f) < 0)
		return -1;
	ret->layers = calloc(json_array_size(layers) + 1, sizeof(*ret->layers));
	if (!ret->layers)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read a manifest");
	json_array_foreach(layers, i, layer)
		if (manifest_parse_descriptor(layer, "layer", &ret->layers[ret->n_layers++], f) < 0)
			return -1;
	return 0;
}
