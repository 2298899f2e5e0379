/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stream.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"

#define BLOCK (256u << 10)

/**
 * struct fd_stream - @at: position of the next block, or -1: the fd's own
 */
struct fd_stream {
	struct stream stream;
	int fd;
	int64_t at;
	char block[BLOCK];
};

struct memory_stream {
	struct stream stream;
	const void *data;
	size_t size;
};

struct unpack_stream {
	struct stream stream;
	struct stream_reader reader;
	struct archive *archive;
	bool ended;
};

struct stream *stream_free(struct stream *s)
{
	if (s)
		s->free(s);
	return NULL;
}

static ssize_t fd_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct fd_stream *self = container_of(s, struct fd_stream, stream);
	ssize_t n;

	do {
		n = self->at < 0 ? read(self->fd, self->block, sizeof(self->block)) :
				   pread(self->fd, self->block, sizeof(self->block), self->at);
	} while (n < 0 && errno == EINTR);
	if (self->at >= 0 && n > 0)
		self->at += n;
	*ret_block = self->block;
	return n < 0 ? fail_errno(f, EXIT_FAILED, errno, "read") : n;
}

static int64_t fd_skip(struct stream *s, int64_t size)
{
	struct fd_stream *self = container_of(s, struct fd_stream, stream);

	if (self->at < 0 || size > INT64_MAX - self->at)
		return 0;
	self->at += size;
	return size;
}

static void fd_free(struct stream *s)
{
	struct fd_stream *self = container_of(s, struct fd_stream, stream);

	(void)close_fd(self->fd);
	free(self);
}

struct stream *stream_from_fd(int fd)
{
	struct fd_stream *self = malloc(sizeof(*self));

	if (!self) {
		(void)close_fd(fd);
		return NULL;
	}
	self->stream = (struct stream){ .read = fd_read, .skip = fd_skip, .free = fd_free };
	self->fd = fd;
	self->at = -1;
	return &self->stream;
}

static ssize_t memory_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct memory_stream *self = container_of(s, struct memory_stream, stream);
	size_t n = self->size;

	*ret_block = self->data;
	self->size = 0;
	return (ssize_t)n;
}

static void memory_free(struct stream *s)
{
	free(container_of(s, struct memory_stream, stream));
}

struct stream *stream_from_memory(const void *data, size_t size)
{
	struct memory_stream *self = malloc(sizeof(*self));

	if (!self)
		return NULL;
	*self = (struct memory_stream){ .stream = { .read = memory_read, .free = memory_free }, .data = data, .size = size };
	return &self->stream;
}

struct stream *stream_from_file(int fd, struct failure *f)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct stream *s = own < 0 ? NULL : stream_from_fd(own);

	if (s)
		container_of(s, struct fd_stream, stream)->at = 0;
	else
		(void)fail_errno(f, EXIT_FAILED, own < 0 ? errno : ENOMEM, "read a file");
	return s;
}

static la_ssize_t reader_read(struct archive *a, void *context, const void **ret_block)
{
	struct stream_reader *reader = context;
	ssize_t n = reader->stream->read(reader->stream, ret_block, &reader->failure);

	if (n < 0)
		archive_set_error(a, EIO, "%s", reader->failure.text);
	return n;
}

static la_int64_t reader_skip(struct archive *a, void *context, la_int64_t size)
{
	struct stream_reader *reader = context;

	return reader->stream->skip ? reader->stream->skip(reader->stream, size) : 0;
}

int stream_reader_open(struct stream_reader *reader, struct archive *a)
{
	return archive_read_open2(a, reader, NULL, reader_read, reader_skip, NULL);
}

int stream_reader_fail(const struct stream_reader *reader, struct archive *a, struct failure *f)
{
	const char *text = archive_error_string(a);

	if (reader->failure.code)
		*f = reader->failure;
	else
		(void)fail(f, EXIT_FAILED, "%s", text ? text : "truncated, or of an unknown format");
	return -1;
}

static ssize_t unpack_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct unpack_stream *self = container_of(s, struct unpack_stream, stream);
	la_int64_t offset;
	size_t size = 0;

	while (!self->ended && size == 0) {
		int r = archive_read_data_block(self->archive, ret_block, &size, &offset);

		if (r == ARCHIVE_EOF)
			self->ended = true;
		else if (r != ARCHIVE_OK)
			return stream_reader_fail(&self->reader, self->archive, f);
	}
	return self->ended ? 0 : (ssize_t)size;
}

static void unpack_free(struct stream *s)
{
	struct unpack_stream *self = container_of(s, struct unpack_stream, stream);

	(void)archive_read_free(self->archive);
	free(self);
}

static int unpack_begin(struct unpack_stream *self, struct failure *f)
{
	struct archive *a = self->archive;
	struct archive_entry *entry;
	int r;

	if (!a)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "unpack");
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_filter_bzip2(a);
	(void)archive_read_support_filter_xz(a);
	(void)archive_read_support_format_raw(a);
	(void)archive_read_support_format_empty(a);
	r = stream_reader_open(&self->reader, a);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(a, &entry);
	self->ended = r == ARCHIVE_EOF;
	return r == ARCHIVE_OK || r == ARCHIVE_EOF ? 0 : stream_reader_fail(&self->reader, a, f);
}

struct stream *stream_unpack(struct stream *inner, bool *ret_packed, struct failure *f)
{
	struct unpack_stream *self = calloc(1, sizeof(*self));

	if (!self) {
		(void)fail_errno(f, EXIT_FAILED, ENOMEM, "unpack");
		return NULL;
	}
	self->stream = (struct stream){ .read = unpack_read, .free = unpack_free };
	self->reader.stream = inner;
	self->archive = archive_read_new();
	if (unpack_begin(self, f) < 0)
		return stream_free(&self->stream);
	if (ret_packed)
		*ret_packed = archive_filter_code(self->archive, 0) != ARCHIVE_FILTER_NONE;
	return &self->stream;
}
