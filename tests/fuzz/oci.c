/* SPDX-License-Identifier: Apache-2.0 */
/* What registries, archives and people say of images: JSON, member names, references, skopeo's words. First byte: which. */
#include "input.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/container.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/skopeo.h"

static void fuzz_config(const char *text, size_t size)
{
	struct failure f = { 0 };
	struct image image;
	char **diff_ids;

	if (config_parse(text, size, &image, &diff_ids, &f) == 0) {
		fuzz_check(image.n_layers == strv_length(diff_ids) && image.stop_signal >= 0 && image.stop_signal <= 64);
		(void)strv_free(diff_ids);
		image_deinit(&image);
	}
}

static void fuzz_manifest(const char *text, size_t size)
{
	_cleanup_json_ json_t *json = NULL;
	struct manifest m = { 0 };
	struct failure f = { 0 };
	struct platform platform;
	struct descriptor d;

	fuzz_check(platform_parse(NULL, &platform, &f) == 0);
	if (manifest_load(text, size, "fuzz", &json, &f) < 0)
		return;
	if (manifest_is_index(json)) {
		if (manifest_choose(json, &platform, &d, &f) == 0)
			fuzz_check(digest_is_valid(d.digest));
	} else if (manifest_parse(json, &m, &f) == 0) {
		for (size_t i = 0; i < m.n_layers; i++)
			fuzz_check(digest_is_valid(m.layers[i].digest));
	}
	manifest_deinit(&m);
}

static void fuzz_reference(const char *text, size_t size)
{
	char normal[REFERENCE_MAX], familiar[REFERENCE_MAX], again[REFERENCE_MAX];
	struct failure f = { 0 };

	if (image_normalize(text, normal, &f) < 0)
		return;
	image_familiar(normal, familiar);
	fuzz_check(image_normalize(familiar, again, &f) == 0 && strcmp(again, normal) == 0);
}

static void fuzz_skopeo(const char *text, size_t size)
{
	struct failure f = { 0 };

	fuzz_check(skopeo_explain(text, "x", &f) == -1 && f.text[0] && !strchr(f.text, '\n'));
}

static void fuzz_archive(const char *text, size_t size)
{
	static const char *const names[] = { "manifest.json", "index.json", "a/../b", "../x", "", "blobs/sha256/00" };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct failure f = { 0 };
	struct container *c;

	fuzz_check(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	c = container_from_archive(fd, &f);
	for (size_t i = 0; c && i < ARRAY_SIZE(names); i++) {
		char *content = NULL;
		size_t content_size;

		if (container_has(c, names[i]) && container_read(c, names[i], 4096, &content, &content_size, &f) == 0)
			free(content);
	}
	(void)container_free(c);
}

static void (*const targets[])(const char *text, size_t size) = { fuzz_config, fuzz_manifest, fuzz_reference, fuzz_skopeo, fuzz_archive };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t which = fuzz_u8(&in);
	char *text = malloc(in.size + 1);

	fuzz_check(text);
	size = fuzz_take(&in, text, in.size);
	text[size] = '\0';
	targets[which % ARRAY_SIZE(targets)](text, size);
	free(text);
	return 0;
}
