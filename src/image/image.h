/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: fetched by skopeo or loaded from archives, checked, kept as one read-only squashfs per layer.
 *
 * $A3S_HOME/images/
 *	index.json			the images: id, references, digests as pulled; what is not named here is garbage and is swept
 *	<image id hex>/config.json	the OCI image configuration, byte for byte (its digest is the id)
 *	<image id hex>/disk.vmdk	one disk made of a partition table and the image's layers, lowest first: partition k is layer k
 *	<image id hex>/table.gpt	that partition table, and its backup for the end of the disk
 *	layers/<diff id hex>.squashfs	a layer that says the same on every base: shared by all images that have it
 *	layers/<chain id hex>.chain.squashfs	one whose tar leaves something to the layers beneath (a hard link to their file, a directory
 *					that it does not describe): shared by images with the same layers beneath. See layer_name.h
 *	incoming/<random>/		downloads under way, locked by their owner, swept when nobody holds them
 *
 * disk.vmdk is a text that makes QEMU concatenate files: the table, the layers, the table's backup copy. It names them relative
 * to its own directory ("../layers/<name>"), so a QEMU that may read A3S_HOME needs no more than its path:
 *
 *	{"driver":"vmdk","node-name":"image","read-only":true,
 *	 "file":{"driver":"file","filename":"<image_disk()'s path>","read-only":true}}
 *	virtio-blk-pci,drive=image,serial=image
 *
 * A QEMU that may open nothing (it runs under another uid) gets the files as fd sets: open the files of image_disk() read-only and
 * add file k as set FIRST + k (`-add-fd fd=N,set=FIRST+k`, or QMP add-fd with "fdset-id" and SCM_RIGHTS), put the text of
 * image_disk_descriptor(FIRST) into a memfd and add it as one more set, and name that one: "filename":"/dev/fdset/<set>". QEMU 7.2
 * does so both on the command line and by blockdev-add, under `-sandbox on`. The fd sets are needed until the disk is unplugged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/home.h"

/**
 * struct image - what `run` and `inspect` need to know of an image; strings owned
 * @id:		"sha256:<64 hex>", digest of the configuration
 * @references:	normalised names, "docker.io/library/nginx:latest"; empty for an untagged one
 * @digests:	"repository@sha256:..." as pulled
 * @size:	bytes of its layers on disk
 */
struct image {
	char id[72];
	char **references, **digests;
	int64_t size, created_ns;
	unsigned n_layers;
	char **entrypoint, **command, **env, **exposed, **labels, **volumes;
	char *workdir, *user;
	char *architecture, *os;
	int stop_signal; /* 0: not set */
};
void image_deinit(struct image *image);

/* Progress for a person: `text` is a short line; `done` and `total` in bytes, total 0 when unknown. NULL progress: quiet. */
struct image_progress {
	void (*fn)(void *context, const char *what, int64_t done, int64_t total);
	void *context;
};

/* Normal form: "docker.io/library/nginx:latest", "127.0.0.1:5000/a/b:tag", "host/name@sha256:...". 125 and the rule when malformed. */
int image_normalize(const char *reference, char ret[static 512], struct failure *f);
/* The way people write it: docker.io/ and docker.io/library/ left out; the tag stays, as in docker's own lists. */
void image_familiar(const char *normalized, char ret[static 512]);

struct image_pull_options {
	const char *creds;    /* "user:password", or NULL: auth files */
	bool tls_verify_off;  /* loopback registries are plain HTTP anyway */
	const char *platform; /* "linux/amd64" or NULL: the host's */
};
int image_pull(struct home *home, const char *reference, const struct image_pull_options *options,
	       const struct image_progress *progress, struct image *ret, struct failure *f);
/* path "-" reads standard input. Each loaded image is reported through fn (reference, or its id when untagged). */
int image_load(struct home *home, const char *path, const struct image_progress *progress,
	       void (*fn)(void *context, const char *reference), void *context, struct failure *f);

/* By reference, id, or unambiguous id prefix. Not there: -1, code 1, "no such image: ...". */
int image_find(const struct home *home, const char *name, struct image *ret, struct failure *f);
/* Newest first. One whose configuration is damaged has id, references and digests only. */
int image_list(const struct home *home, struct image **ret, size_t *ret_n, struct failure *f);
/* NULL is fine. */
void image_list_free(struct image *images, size_t n);
int image_tag(struct home *home, const char *source, const char *target, struct failure *f);
/**
 * Remove a reference, and the image with its layers when it was the last one. `in_use` says whether a box needs the image:
 * 1 and its holder's name, 0, or -1 and a sentence when that cannot be known, and nothing is removed. fn hears "Untagged: ..." and "Deleted: ..." lines.
 */
int image_remove(struct home *home, const char *name, bool force,
		 int (*in_use)(void *context, const char *id, char ret_holder[static 128], struct failure *f),
		 void (*fn)(void *context, const char *line), void *context, struct failure *f);
/* Path of disk.vmdk, and the files that it names in order: table, then layers (NULL-terminated vector, freed with strv_free()). */
int image_disk(const struct home *home, const char *id, char ret_vmdk[static 4096], char ***ret_files, struct failure *f);
/* The same descriptor with "/dev/fdset/<first_fdset + k>" in place of file k. Caller frees. */
int image_disk_descriptor(const struct home *home, const char *id, unsigned first_fdset, char **ret_text, struct failure *f);
/* A sparse ext4 for a box's changes, `size` bytes at most. */
int image_make_writable(const char *path, int64_t size, struct failure *f);
/* Credentials, kept where skopeo keeps them. Password from the caller. */
int image_login(const char *registry, const char *user, const char *password, bool tls_verify_off, struct failure *f);
int image_logout(const char *registry, struct failure *f);
