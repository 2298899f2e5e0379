/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load: find out what was given, turn it into bundles, install them.
 *
 *	directory or archive with oci-layout and index.json	OCI layout: each manifest of the index for this machine
 *	archive with manifest.json				what `docker save` and `podman save` write, old or new: each of its list
 *	any other tar						a root file system: one layer, a plain configuration
 *
 * An archive that is compressed, or comes through a pipe, is first unpacked into a nameless temporary file, because its members are
 * read in another order than they come. When an archive has both index.json and manifest.json, manifest.json counts: it has the names.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/install.h"
#include "image/layer.h"
#include "image/reference.h"
#include "image/tree.h"

#define IMAGES_MAX 1000u
#define INDEX_DEPTH_MAX 4

/**
 * struct load - one archive or directory
 * @name:	for images that have none: from the file's name; "" when that makes no name
 * @container:	what was given
 * @fd:		the plain tar, of an archive
 */
struct load {
	struct home *home;
	struct incoming in;
	const struct image_progress *progress;
	void (*fn)(void *context, const char *reference);
	void *context;
	char name[REFERENCE_MAX];
	struct platform platform;
	struct container *container;
	int fd;
	unsigned loaded;
};

static const char *const archive_suffixes[] = { ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".oci", ".docker" };

/* "/x/nginx.tar.gz" -> "docker.io/library/nginx:latest" */
static void name_from_path(const char *path, char ret[static REFERENCE_MAX])
{
	_cleanup_free_ char *copy = strdup(path);
	struct failure ignored;
	char *base;

	*ret = '\0';
	if (!copy || strcmp(path, "-") == 0)
		return;
	base = basename(copy);
	for (size_t i = ARRAY_SIZE(archive_suffixes); i-- > 0;) {
		size_t n = strlen(base), suffix = strlen(archive_suffixes[i]);

		if (n > suffix && strcmp(base + n - suffix, archive_suffixes[i]) == 0)
			base[n - suffix] = '\0';
	}
	if (strchr(base, ':') || strchr(base, '@') || image_normalize(base, ret, &ignored) < 0)
		*ret = '\0';
}

static int install(struct load *l, struct bundle *b, struct failure *f)
{
	struct image image;
	char familiar[REFERENCE_MAX];
	int r = bundle_install(l->home, &l->in, l->container, b, l->progress, &image, f);

	if (r < 0)
		return r;
	for (char **ref = b->references; ref && *ref; ref++) {
		image_familiar(*ref, familiar);
		l->fn(l->context, familiar);
	}
	if (!b->references || !*b->references)
		l->fn(l->context, image.id);
	l->loaded++;
	image_deinit(&image);
	return 0;
}

/* --- OCI layout --- */

static void blob_name(const char *digest, char ret[static 96])
{
	(void)snprintf(ret, 96, "blobs/sha256/%s", digest_hex(digest));
}

/* A JSON blob, its digest checked. */
static int read_blob(struct load *l, const struct descriptor *d, size_t max, char **ret, size_t *ret_size, struct failure *f)
{
	char name[96], found[DIGEST_TEXT];

	blob_name(d->digest, name);
	if (container_read(l->container, name, max, ret, ret_size, f) < 0)
		return -1;
	if (digest_of(*ret, *ret_size, found) < 0 || strcmp(found, d->digest) != 0)
		return fail(f, EXIT_FAILED, "digest mismatch: %s contains %s", name, found);
	return 0;
}

/* The name an index gives to a manifest: containerd's annotation is whole, OCI's may be a tag alone. */
static int name_from_annotations(const struct load *l, const json_t *entry, struct bundle *b)
{
	const json_t *a = json_object_get(entry, "annotations");
	const char *whole = json_str(a, "io.containerd.image.name", NULL), *ref = json_str(a, "org.opencontainers.image.ref.name", NULL);
	char normalized[REFERENCE_MAX], tagged[REFERENCE_MAX + 130];
	struct failure ignored;
	const char *colon = strrchr(l->name, ':');

	if (!whole && ref && (strchr(ref, ':') || strchr(ref, '/')))
		whole = ref;
	if (whole && image_normalize(whole, normalized, &ignored) == 0)
		return strv_add(&b->references, normalized);
	if (!colon)
		return 0;
	(void)snprintf(tagged, sizeof(tagged), "%.*s:%.128s", (int)(colon - l->name), l->name, ref ? ref : "latest");
	if (image_normalize(tagged, normalized, &ignored) == 0)
		return strv_add(&b->references, normalized);
	return strv_add(&b->references, l->name);
}

static int install_manifest(struct load *l, const json_t *json, const json_t *entry, struct failure *f)
{
	struct manifest m = { 0 };
	struct bundle b = { 0 };
	char name[96];
	int r = manifest_parse(json, &m, f);

	if (r == 0)
		r = read_blob(l, &m.config, CONFIG_MAX, &b.config, &b.config_size, f);
	b.n_layers = m.n_layers;
	b.layers = take_ptr(m.layers);
	for (size_t i = 0; r == 0 && i < b.n_layers; i++) {
		blob_name(b.layers[i].digest, name);
		if (strv_add(&b.blobs, name) < 0)
			r = fail_errno(f, EXIT_FAILED, ENOMEM, "read an image");
	}
	if (r == 0 && name_from_annotations(l, entry, &b) < 0)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "read an image");
	if (r == 0)
		r = install(l, &b, f);
	bundle_deinit(&b);
	manifest_deinit(&m);
	return r;
}

/* An entry of the layout's index: a manifest, or an index with one per platform. The outermost entry has the name. */
static int load_descriptor(struct load *l, const json_t *entry, struct failure *f)
{
	struct descriptor d;

	if (manifest_parse_descriptor(entry, "entry of index.json", &d, f) < 0)
		return -1;
	for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
		_cleanup_json_ json_t *json = NULL;
		_cleanup_free_ char *text = NULL;
		size_t size;

		if (read_blob(l, &d, MANIFEST_MAX, &text, &size, f) < 0 || manifest_load(text, size, "a manifest", &json, f) < 0)
			return -1;
		if (!manifest_is_index(json))
			return install_manifest(l, json, entry, f);
		if (manifest_choose(json, &l->platform, &d, f) < 0)
			return -1;
	}
	return fail(f, EXIT_FAILED, "indexes lie in one another more than %d deep", INDEX_DEPTH_MAX);
}

/* Whether an entry names a platform that is not ours: a layout may hold one image for many. */
static bool is_for_others(const struct load *l, const json_t *entry)
{
	const json_t *p = json_object_get(entry, "platform");

	return p && (strcmp(json_str(p, "os", ""), l->platform.os) != 0 ||
		     strcmp(json_str(p, "architecture", ""), l->platform.architecture) != 0);
}

static int load_layout(struct load *l, struct failure *f)
{
	_cleanup_json_ json_t *index = NULL;
	_cleanup_free_ char *text = NULL;
	const json_t *manifests, *entry;
	size_t size, i;

	if (container_read(l->container, "index.json", MANIFEST_MAX, &text, &size, f) < 0 ||
	    manifest_load(text, size, "index.json", &index, f) < 0)
		return -1;
	manifests = json_object_get(index, "manifests");
	if (!json_is_array(manifests) || json_array_size(manifests) > IMAGES_MAX)
		return fail(f, EXIT_FAILED, "index.json has no list of at most %u manifests", IMAGES_MAX);
	json_array_foreach(manifests, i, entry)
		if (!is_for_others(l, entry) && load_descriptor(l, entry, f) < 0)
			return -1;
	if (l->loaded == 0)
		return fail(f, EXIT_FAILED, "no image for %s/%s in it", l->platform.os, l->platform.architecture);
	return 0;
}

/* --- docker-archive --- */

static int add_names(struct bundle *b, const json_t *tags, struct failure *f)
{
	char normalized[REFERENCE_MAX];
	const json_t *tag;
	size_t i;

	json_array_foreach(tags, i, tag) {
		if (!json_is_string(tag) || image_normalize(json_string_value(tag), normalized, f) < 0)
			return fail_wrap(f, "name of an image in the archive");
		if (strv_add(&b->references, normalized) < 0)
			return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	}
	return 0;
}

/* "blobs/sha256/<hex>" and "<hex>.json" promise a digest by their names. */
static int check_named_digest(const char *name, const char *found, struct failure *f)
{
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	char hex[DIGEST_HEX + 1];

	(void)snprintf(hex, sizeof(hex), "%s", base);
	if (!digest_hex_is_valid(hex) || (base[DIGEST_HEX] && strcmp(base + DIGEST_HEX, ".json") != 0) ||
	    strcmp(hex, digest_hex(found)) == 0)
		return 0;
	return fail(f, EXIT_FAILED, "digest mismatch: %.100s contains %s", name, found);
}

static int add_layers(struct bundle *b, const json_t *layers, struct failure *f)
{
	const json_t *layer;
	size_t i;

	if (!json_is_array(layers) || json_array_size(layers) > MANIFEST_LAYERS_MAX)
		return fail(f, EXIT_FAILED, "manifest.json names no list of at most %u layers", MANIFEST_LAYERS_MAX);
	b->layers = calloc(json_array_size(layers) + 1, sizeof(*b->layers));
	if (!b->layers)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	json_array_foreach(layers, i, layer) {
		const char *name = json_string_value(layer);
		struct descriptor *d = &b->layers[b->n_layers++];

		d->size = -1;
		if (!name || strv_add(&b->blobs, name) < 0)
			return fail(f, EXIT_FAILED, "manifest.json has a layer without a name");
		if (text_starts(name, "blobs/sha256/") && digest_hex_is_valid(name + strlen("blobs/sha256/")))
			(void)snprintf(d->digest, sizeof(d->digest), "sha256:%.64s", name + strlen("blobs/sha256/"));
	}
	return 0;
}

static int load_docker_image(struct load *l, const json_t *entry, struct failure *f)
{
	const char *config = json_str(entry, "Config", "");
	char found[DIGEST_TEXT];
	struct bundle b = { 0 };
	int r = container_read(l->container, config, CONFIG_MAX, &b.config, &b.config_size, f);

	if (r == 0)
		r = digest_of(b.config, b.config_size, found) < 0 ? fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive") :
								     check_named_digest(config, found, f);
	if (r == 0)
		r = add_layers(&b, json_object_get(entry, "Layers"), f);
	if (r == 0)
		r = add_names(&b, json_object_get(entry, "RepoTags"), f);
	if (r == 0)
		r = install(l, &b, f);
	bundle_deinit(&b);
	return r;
}

static int load_docker_archive(struct load *l, struct failure *f)
{
	_cleanup_json_ json_t *images = NULL;
	_cleanup_free_ char *text = NULL;
	const json_t *entry;
	size_t size, i;

	if (container_read(l->container, "manifest.json", MANIFEST_MAX, &text, &size, f) < 0 ||
	    manifest_load(text, size, "manifest.json", &images, f) < 0)
		return -1;
	if (!json_is_array(images) || json_array_size(images) == 0 || json_array_size(images) > IMAGES_MAX)
		return fail(f, EXIT_FAILED, "manifest.json has no list of at most %u images", IMAGES_MAX);
	json_array_foreach(images, i, entry)
		if (load_docker_image(l, entry, f) < 0)
			return -1;
	return 0;
}

/* --- root file system --- */

static int digest_of_archive(struct load *l, char ret[static DIGEST_TEXT], struct failure *f)
{
	_cleanup_stream_ struct stream *s = NULL;
	EVP_MD_CTX *digest = digest_new();
	const void *block;
	int64_t size;
	ssize_t n = -1;

	if (!digest)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	if (container_open(l->container, CONTAINER_WHOLE, &s, &size, f) == 0)
		while ((n = s->read(s, &block, f)) > 0)
			digest_add(digest, block, (size_t)n);
	digest_end(digest, ret);
	(void)digest_free(digest);
	return (int)n;
}

/* Read once more than others: the configuration needs the content digest, which only reading tells. */
static int load_rootfs(struct load *l, struct failure *f)
{
	char diff_id[DIGEST_TEXT];
	struct bundle b = { 0 };
	int r = digest_of_archive(l, diff_id, f);

	if (r < 0)
		return r;
	b.config = config_make(diff_id);
	b.layers = calloc(1, sizeof(*b.layers));
	if (!b.config || !b.layers || strv_add(&b.blobs, CONTAINER_WHOLE) < 0 || (*l->name && strv_add(&b.references, l->name) < 0)) {
		bundle_deinit(&b);
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	}
	b.config_size = strlen(b.config);
	b.n_layers = 1;
	b.layers[0].size = -1;
	r = install(l, &b, f);
	bundle_deinit(&b);
	return r;
}

/* --- what is it? --- */

static int copy_to_file(struct stream *s, int fd, int64_t limit, struct failure *f)
{
	const void *block;
	int64_t size = 0;
	ssize_t n;

	while ((n = s->read(s, &block, f)) > 0) {
		int r;

		size += n;
		if (size > limit)
			return fail(f, EXIT_FAILED, "it unpacks to more than %lld bytes (A3S_IMAGE_MAX_LAYER)", (long long)limit);
		r = io_write_full(fd, block, (size_t)n);
		if (r < 0)
			return fail_errno(f, EXIT_FAILED, r, "unpack");
	}
	return (int)n;
}

/* A plain tar that can be read again: the file itself, or a temporary one. -1 and a sentence. */
static int open_plain(struct load *l, int fd, struct failure *f)
{
	_cleanup_stream_ struct stream *file = stream_from_fd(fd), *plain = NULL;
	_cleanup_close_ int copy = -1;
	struct tree_limits limits;
	bool packed = false;

	if (!file)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	plain = stream_unpack(file, &packed, f);
	if (!plain || tree_limits_read(&limits, f) < 0)
		return -1;
	if (!packed && lseek(fd, 0, SEEK_SET) == 0)
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	copy = open(l->in.path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (copy < 0)
		return fail_errno(f, EXIT_FAILED, errno, "make a temporary file in %s", l->in.path);
	return copy_to_file(plain, copy, limits.bytes, f) < 0 ? -1 : take_fd(&copy);
}

static int load_archive(struct load *l, int fd, struct failure *f)
{
	int plain = open_plain(l, fd, f);

	if (plain < 0)
		return -1;
	l->container = container_from_archive(plain, f);
	if (!l->container)
		return fail_wrap(f, "not an image archive");
	if (container_has(l->container, "manifest.json"))
		return load_docker_archive(l, f);
	if (container_has(l->container, "index.json") && container_has(l->container, "oci-layout"))
		return load_layout(l, f);
	return load_rootfs(l, f);
}

static int load_directory(struct load *l, const char *path, struct failure *f)
{
	l->container = container_from_directory(path, f);
	if (!l->container)
		return -1;
	if (!container_has(l->container, "index.json") || !container_has(l->container, "oci-layout"))
		return fail(f, EXIT_FAILED, "not an OCI layout: it has no index.json and oci-layout");
	return load_layout(l, f);
}

static int load(struct load *l, const char *path, struct failure *f)
{
	int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "cannot open");
	if (incoming_make(l->home, &l->in, f) < 0) {
		(void)close_fd(fd);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return load_archive(l, fd, f); /* takes the fd */
	(void)close_fd(fd);
	return load_directory(l, path, f);
}

int image_load(struct home *home, const char *path, const struct image_progress *progress,
	       void (*fn)(void *context, const char *reference), void *context, struct failure *f)
{
	struct load l = { .home = home, .in = INCOMING_NULL, .progress = progress, .fn = fn, .context = context };
	int r;

	name_from_path(path, l.name);
	if (platform_parse(NULL, &l.platform, f) < 0)
		return -1;
	r = load(&l, path, f);
	(void)container_free(l.container);
	incoming_remove(&l.in);
	return r < 0 ? fail_wrap(f, "load %s", strcmp(path, "-") == 0 ? "standard input" : path) : 0;
}
