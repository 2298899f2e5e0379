/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pull: name -> manifest (or index, and the platform's manifest in it) -> blobs.
 *
 * The manifest is fetched first, by name, and its digest is what we print and keep. Everything after goes by digest, so a tag that
 * moves meanwhile does no harm. skopeo's `dir:` form keeps manifest and configuration byte for byte (`oci:` would convert docker's), so
 * ids and digests are the registry's. When the catalog has the configuration's digest already, no blob is fetched at all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/install.h"
#include "image/reference.h"
#include "image/skopeo.h"

/**
 * struct pull - one pull
 * @auth:	path of an auth file made from options->creds, or ""
 * @digest:	of what the name meant: the index's, if it is one
 * @blobs:	directory that skopeo fills
 * @total:	bytes of all blobs
 */
struct pull {
	struct home *home;
	struct incoming in;
	const struct image_pull_options *options;
	const struct image_progress *progress;
	struct reference ref;
	struct platform platform;
	char auth[PATH_MAX], blobs[PATH_MAX];
	char digest[DIGEST_TEXT];
	char name[REFERENCE_MAX];
	struct manifest manifest;
	int64_t total;
};

static bool tls_off(const struct pull *p)
{
	return p->options->tls_verify_off || reference_is_loopback(p->ref.domain);
}

/* Credentials are handed over in a file of ours: an argument would show in the process list. */
static int make_auth_file(struct pull *p, struct failure *f)
{
	const char *creds = p->options->creds;
	_cleanup_free_ char *encoded = NULL;
	_cleanup_json_ json_t *root = NULL;
	int r;

	if (!creds)
		return 0;
	if (!strchr(creds, ':'))
		return fail(f, EXIT_USAGE, "credentials are given as USER:PASSWORD");
	encoded = malloc(strlen(creds) * 2 + 8);
	if (!encoded)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "credentials");
	(void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)creds, (int)strlen(creds));
	root = json_pack("{s:{s:{s:s}}}", "auths", p->ref.domain, "auth", encoded);
	r = io_path(p->auth, sizeof(p->auth), "%s/auth.json", p->in.path);
	if (r == 0)
		r = root ? json_write_file(p->auth, root, 0600) : -ENOMEM;
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "write %s", p->auth) : 0;
}

/* The manifest that a name or digest means, and its digest. */
static int fetch_manifest(struct pull *p, const char *name, json_t **ret, char ret_digest[static DIGEST_TEXT], struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	char source[REFERENCE_MAX + 16], output[PATH_MAX];
	const char *arguments[12] = { "inspect", "--raw" };
	struct skopeo_run run = { .arguments = arguments, .directory = p->in.path, .output = output, .subject = p->name };
	size_t n = 2, size;
	int r;

	(void)snprintf(source, sizeof(source), "docker://%s", name);
	if (tls_off(p))
		arguments[n++] = "--tls-verify=false";
	if (p->auth[0]) {
		arguments[n++] = "--authfile";
		arguments[n++] = p->auth;
	}
	arguments[n] = source;
	if (io_path(output, sizeof(output), "%s/manifest", p->in.path) < 0)
		return fail(f, EXIT_FAILED, "%s: the path is too long", p->in.path);
	if (skopeo_run(&run, f) < 0)
		return -1;
	r = io_read_file(output, MANIFEST_MAX, &text, &size);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "the manifest of %s", p->name);
	if (digest_of(text, size, ret_digest) < 0)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "the manifest of %s", p->name);
	return manifest_load(text, size, "the manifest", ret, f);
}

static int check_promise(const char *promised, const char *found, struct failure *f)
{
	if (promised[0] && strcmp(promised, found) != 0)
		return fail(f, EXIT_FAILED, "digest mismatch: the registry answered %s when asked for %s", found, promised);
	return 0;
}

/* Name -> p->digest, p->manifest, p->name by the digest of the image's own manifest. */
static int resolve(struct pull *p, struct failure *f)
{
	_cleanup_json_ json_t *root = NULL, *chosen = NULL;
	struct descriptor d = { 0 };
	char name[REFERENCE_MAX];

	if (fetch_manifest(p, p->name, &root, p->digest, f) < 0 || check_promise(p->ref.digest, p->digest, f) < 0)
		return -1;
	(void)snprintf(d.digest, sizeof(d.digest), "%s", p->digest);
	if (manifest_is_index(root)) {
		char found[DIGEST_TEXT];

		if (manifest_choose(root, &p->platform, &d, f) < 0)
			return -1;
		reference_print_digest(&p->ref, d.digest, name);
		if (fetch_manifest(p, name, &chosen, found, f) < 0 || check_promise(d.digest, found, f) < 0)
			return -1;
	}
	reference_print_digest(&p->ref, d.digest, p->name);
	return manifest_parse(chosen ? chosen : root, &p->manifest, f);
}

/* Bytes that arrived so far, finished or not. */
static int64_t bytes_in(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	int64_t sum = 0;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			sum += st.st_size;
	if (dir)
		closedir(dir);
	return sum;
}

static void report_download(void *context)
{
	const struct pull *p = context;

	if (p->progress && p->progress->fn)
		p->progress->fn(p->progress->context, "downloading", MIN(bytes_in(p->blobs), p->total), p->total);
}

static int fetch_blobs(struct pull *p, struct failure *f)
{
	char source[REFERENCE_MAX + 16], destination[PATH_MAX + 8];
	const char *arguments[16] = { "copy", "--quiet" };
	struct skopeo_run run = { .arguments = arguments, .directory = p->in.path, .subject = p->name, .poll = report_download, .context = p };
	size_t n = 2;

	(void)snprintf(source, sizeof(source), "docker://%s", p->name);
	if (io_path(p->blobs, sizeof(p->blobs), "%s/blobs", p->in.path) < 0)
		return fail(f, EXIT_FAILED, "%s: the path is too long", p->in.path);
	(void)snprintf(destination, sizeof(destination), "dir:%s", p->blobs);
	for (size_t i = 0; i < p->manifest.n_layers; i++)
		p->total += MAX(p->manifest.layers[i].size, 0);
	if (tls_off(p))
		arguments[n++] = "--src-tls-verify=false";
	if (p->auth[0]) {
		arguments[n++] = "--src-authfile";
		arguments[n++] = p->auth;
	}
	arguments[n++] = source;
	arguments[n] = destination;
	if (skopeo_run(&run, f) < 0)
		return -1;
	report_download(p);
	return 0;
}

/* A name that is no index gives one platform, wished for or not. Only a wish that was spoken is insisted on. */
static int check_wish(const struct pull *p, const struct image *image, struct failure *f)
{
	if (!p->options->platform || (strcmp(image->os, p->platform.os) == 0 && strcmp(image->architecture, p->platform.architecture) == 0))
		return 0;
	return fail(f, EXIT_FAILED, "%s was found but does not match the specified platform: wanted %s/%s, actual: %s/%s", p->name,
		    p->platform.os, p->platform.architecture, image->os, image->architecture);
}

static int check_configured_platform(const struct pull *p, const struct bundle *b, struct failure *f)
{
	struct image image;
	char **diff_ids;
	int r = config_parse(b->config, b->config_size, &image, &diff_ids, f);

	if (r < 0)
		return r;
	r = check_wish(p, &image, f);
	image_deinit(&image);
	(void)strv_free(diff_ids);
	return r;
}

/* Read what arrived; the configuration is checked here, the layers while they are converted. */
static int make_bundle(struct pull *p, struct container *c, struct bundle *b, struct failure *f)
{
	char found[DIGEST_TEXT];

	if (container_read(c, digest_hex(p->manifest.config.digest), CONFIG_MAX, &b->config, &b->config_size, f) < 0)
		return -1;
	if (digest_of(b->config, b->config_size, found) < 0 || strcmp(found, p->manifest.config.digest) != 0)
		return fail(f, EXIT_FAILED, "digest mismatch: the configuration should be %s", p->manifest.config.digest);
	if (check_configured_platform(p, b, f) < 0)
		return -1;
	b->layers = take_ptr(p->manifest.layers);
	b->n_layers = p->manifest.n_layers;
	for (size_t i = 0; i < b->n_layers; i++)
		if (strv_add(&b->blobs, digest_hex(b->layers[i].digest)) < 0)
			return fail_errno(f, EXIT_FAILED, ENOMEM, "read an image");
	return 0;
}

static int install_blobs(struct pull *p, const char *reference, const char *digest, struct image *ret, struct failure *f)
{
	_cleanup_container_ struct container *c = container_from_directory(p->blobs, f);
	struct bundle b = { 0 };
	int r = c ? make_bundle(p, c, &b, f) : -1;

	if (r == 0 && reference && strv_add(&b.references, reference) < 0)
		r = fail_errno(f, EXIT_FAILED, ENOMEM, "install an image");
	b.digest = strdup(digest);
	if (r == 0)
		r = bundle_install(p->home, &p->in, c, &b, p->progress, ret, f);
	bundle_deinit(&b);
	return r;
}

/* Whether the image is here with all its files: one that lost a layer is fetched again. */
static bool is_here(const struct pull *p, const struct catalog *c, const char *id)
{
	struct failure ignored = { 0 };
	char vmdk[PATH_MAX], **files = NULL;
	bool whole = catalog_by_id(c, id) && image_disk(p->home, id, vmdk, &files, &ignored) == 0;

	(void)strv_free(files);
	return whole;
}

/* The image may be here already: then it only gets the name. 1 when it was. */
static int name_if_here(struct pull *p, const char *reference, const char *digest, struct image *ret, struct failure *f)
{
	const char *id = p->manifest.config.digest;
	struct catalog c = { 0 };
	int r;

	if (home_lock(p->home, f) < 0)
		return -1;
	r = catalog_read(p->home, &c, f);
	if (r == 0 && is_here(p, &c, id) && image_find(p->home, id, ret, f) == 0) {
		r = check_wish(p, ret, f);
		if (r == 0 && catalog_add(&c, id, reference, digest) < 0)
			r = fail_errno(f, EXIT_FAILED, ENOMEM, "tag");
		if (r == 0)
			r = catalog_write(p->home, &c, f);
		image_deinit(ret); /* as it was before */
		r = r == 0 ? 1 : r;
	}
	catalog_deinit(&c);
	home_unlock(p->home);
	if (r == 1 && image_find(p->home, id, ret, f) < 0)
		return -1;
	return r;
}

static int pull(struct pull *p, struct image *ret, struct failure *f)
{
	char reference[REFERENCE_MAX], digest[REFERENCE_MAX];
	const char *tag = p->ref.digest[0] ? NULL : reference;
	int r;

	reference_print(&p->ref, reference);
	(void)snprintf(p->name, sizeof(p->name), "%s", reference);
	if (incoming_make(p->home, &p->in, f) < 0 || make_auth_file(p, f) < 0 || resolve(p, f) < 0)
		return -1;
	reference_print_digest(&p->ref, p->digest, digest);
	r = name_if_here(p, tag, digest, ret, f);
	if (r != 0)
		return r < 0 ? r : 0;
	if (fetch_blobs(p, f) < 0)
		return -1;
	return install_blobs(p, tag, digest, ret, f);
}

int image_pull(struct home *home, const char *reference, const struct image_pull_options *options,
	       const struct image_progress *progress, struct image *ret, struct failure *f)
{
	static const struct image_pull_options none;
	struct pull p = { .home = home, .in = INCOMING_NULL, .options = options ? options : &none, .progress = progress };
	int r;

	*ret = (struct image){ 0 };
	if (reference_parse(reference, &p.ref, f) < 0 || platform_parse(p.options->platform, &p.platform, f) < 0)
		return -1;
	if (home_make(home, f) < 0) /* before anything is fetched that could not be kept */
		return -1;
	r = pull(&p, ret, f);
	incoming_remove(&p.in);
	manifest_deinit(&p.manifest);
	return r;
}
