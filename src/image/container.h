/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the blobs of an image lie: a directory (OCI layout, or what skopeo fetched), or a tar with the same inside. Names that come
 * from such a place (a manifest's) reach only what is in it: a directory's files by components without ".." and never through
 * links, an archive's members by comparing names.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/stream.h"

struct container;

/* A directory. NULL and a sentence. */
struct container *container_from_directory(const char *path, struct failure *f);
/* A plain tar in a file that can be read again (takes the fd). NULL and a sentence when it is none. */
struct container *container_from_archive(int fd, struct failure *f);
/* NULL is fine; returns NULL. */
struct container *container_free(struct container *c);
static inline void own_container(struct container **c)
{
	(void)container_free(*c);
}
#define _cleanup_container_ __attribute__((cleanup(own_container)))

/* The name of an archive as a whole. */
#define CONTAINER_WHOLE "."

bool container_has(struct container *c, const char *name);
/* Content of a regular file. *ret_size in bytes. 0, or -1 and a sentence that names it. */
int container_open(struct container *c, const char *name, struct stream **ret, int64_t *ret_size, struct failure *f);
/* Whole, NUL-terminated, at most `max` bytes. Caller frees. */
int container_read(struct container *c, const char *name, size_t max, char **ret, size_t *ret_size, struct failure *f);
