/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of images, as written by others: OCI image-spec 1.0 (index, manifest, config) and docker's manifest v2 schema 2, which differ in
 * media types only. Everything is checked here once; sizes and counts are bounded.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image/digest.h"
#include "image/image.h"

#define MANIFEST_MAX (4u << 20) /* bytes; as registries and their clients have it */
#define CONFIG_MAX (8u << 20)
#define MANIFEST_LAYERS_MAX 1024u

/* One blob as a manifest promises it; size -1 when it says none. */
struct descriptor {
	char digest[DIGEST_TEXT];
	int64_t size;
};

struct manifest {
	struct descriptor config;
	struct descriptor *layers;
	size_t n_layers;
};
void manifest_deinit(struct manifest *m);

/* os/architecture[/variant], as GOARCH says it. */
struct platform {
	char os[32], architecture[32], variant[32];
};
/* NULL: this machine's. -1 and a sentence, code 125, when malformed. */
int platform_parse(const char *text, struct platform *ret, struct failure *f);

/* Text to JSON object or -1; `what` names it in the sentence. */
int manifest_load(const char *text, size_t size, const char *what, json_t **ret, struct failure *f);
/* Whether it lists manifests instead of layers. */
bool manifest_is_index(const json_t *json);
/* The manifest in an index for a platform; "no matching manifest for linux/arm64 ...". */
int manifest_choose(const json_t *index, const struct platform *platform, struct descriptor *ret, struct failure *f);
int manifest_parse(const json_t *json, struct manifest *ret, struct failure *f);
/* A descriptor object; -1 and a sentence. */
int manifest_parse_descriptor(const json_t *json, const char *what, struct descriptor *ret, struct failure *f);

/**
 * The image's configuration -> what image.h promises (without id, references, digests, size), and the content digests of its layers,
 * lowest first (NULL-terminated).
 */
int config_parse(const char *text, size_t size, struct image *ret, char ***ret_diff_ids, struct failure *f);
/* A configuration for a root file system that came without one. Caller frees. NULL: no memory. */
char *config_make(const char *diff_id);
