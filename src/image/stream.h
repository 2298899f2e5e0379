/* SPDX-License-Identifier: Apache-2.0 */
/* Sources of bytes that are read block by block: files, members of archives, and what comes out when they are unpacked. */
#pragma once

#include <archive.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/**
 * struct stream - embedded in its kinds
 * @read:	the next block, in place until the next call: its size > 0, 0 at the end, -1 and a sentence
 * @skip:	pass over some of the next bytes: how many, 0 when that cannot be done. NULL: it never can
 * @free:	frees the kind
 */
struct stream {
	ssize_t (*read)(struct stream *s, const void **ret_block, struct failure *f);
	int64_t (*skip)(struct stream *s, int64_t size);
	void (*free)(struct stream *s);
};

/* NULL is fine; returns NULL. */
struct stream *stream_free(struct stream *s);
static inline void own_stream(struct stream **s)
{
	(void)stream_free(*s);
}
#define _cleanup_stream_ __attribute__((cleanup(own_stream)))

/* Takes the fd, reads from where it stands. NULL: no memory (the fd is closed). */
struct stream *stream_from_fd(int fd);
/* Borrows the bytes. NULL: no memory. */
struct stream *stream_from_memory(const void *data, size_t size);
/* A file (borrowed, duplicated) from its start, whatever others do with its position. NULL and a sentence. */
struct stream *stream_from_file(int fd, struct failure *f);

/**
 * What `inner` (borrowed) holds after gzip, zstd, bzip2 or xz; itself when it is none of these. *ret_packed (may be NULL) says which.
 * NULL and a sentence when the beginning is already broken.
 */
struct stream *stream_unpack(struct stream *inner, bool *ret_packed, struct failure *f);

/**
 * struct stream_reader - lets libarchive read a stream, and keeps the stream's own sentence when that fails
 */
struct stream_reader {
	struct stream *stream;
	struct failure failure;
};
/* Open `a` on the reader's stream (borrowed, as is the reader). An ARCHIVE_ code. */
int stream_reader_open(struct stream_reader *reader, struct archive *a);
/* The stream's sentence if it has one, else libarchive's: -1. */
int stream_reader_fail(const struct stream_reader *reader, struct archive *a, struct failure *f);

static inline void own_archive_read(struct archive **a)
{
	(void)archive_read_free(*a);
}
#define _cleanup_archive_read_ __attribute__((cleanup(own_archive_read)))
