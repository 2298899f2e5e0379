/* SPDX-License-Identifier: Apache-2.0 */
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/text.h"
#include "image/tree.h"
#include "image/tree_nodes.h"

#define XATTRS_MAX 512 /* looked at in one entry */
#define XATTR_NAME_MAX 255
#define XATTR_VALUE_MAX (64u << 10)
#define OPAQUE_NAME "trusted.overlay.opaque"

struct writer {
	const struct layer_tree *tree;
	const struct tree_lower *lower;
	struct archive *out;
	int fd, error;
	bool given_up; /* freeing writes the end marker: not into a broken archive */
	char path[TREE_PATH_MAX + 1];
};

static void own_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}
#define _cleanup_entry_ __attribute__((cleanup(own_entry)))

static la_ssize_t writer_write(struct archive *a, void *context, const void *data, size_t size)
{
	struct writer *w = context;
	ssize_t n;

	if (w->given_up)
		return (la_ssize_t)size;
	do {
		n = write(w->fd, data, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		w->error = errno;
		archive_set_error(a, errno, "write");
	}
	return n;
}

static int writer_fail(struct writer *w, struct failure *f)
{
	const char *text = archive_error_string(w->out);

	if (w->error)
		return fail_errno(f, EXIT_FAILED, w->error, "write a layer");
	return fail(f, EXIT_FAILED, "entry \"%.200s\": %s", w->path, text ? text : "cannot be written");
}

static int put_header(struct writer *w, struct archive_entry *e, struct failure *f)
{
	int r = archive_write_header(w->out, e);

	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : writer_fail(w, f);
}

static bool xattr_is_kept(const char *name, size_t size)
{
	if (strlen(name) > XATTR_NAME_MAX || size > XATTR_VALUE_MAX || text_starts(name, "trusted.overlay."))
		return false;
	return text_starts(name, "user.") || text_starts(name, "security.") || text_starts(name, "trusted.");
}

static bool has_xattr(struct archive_entry *e, const char *wanted)
{
	const char *name;
	const void *value;
	size_t size;

	(void)archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
		if (strcmp(name, wanted) == 0)
			return true;
	return false;
}

/* Some archives say each one twice, in two dialects. */
static void copy_xattrs(struct archive_entry *to, struct archive_entry *from)
{
	const char *name;
	const void *value;
	size_t size;

	(void)archive_entry_xattr_reset(from);
	for (int i = 0; i < XATTRS_MAX && archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK; i++)
		if (name && xattr_is_kept(name, size) && !has_xattr(to, name))
			archive_entry_xattr_add_entry(to, name, value, size);
}

static void copy_holes(struct archive_entry *to, struct archive_entry *from)
{
	la_int64_t offset, length;

	/* libarchive drops a map that is one piece as long as the file here, but not its cursor: then there is nothing to go through. */
	if (archive_entry_sparse_reset(from) == 0)
		return;
	while (archive_entry_sparse_next(from, &offset, &length) == ARCHIVE_OK)
		archive_entry_sparse_add_entry(to, offset, length);
}

/* A new entry with what we keep of `from`, and the path in w->path. NULL: no memory. */
static struct archive_entry *make_entry(struct writer *w, mode_t type, struct archive_entry *from)
{
	struct archive_entry *e = archive_entry_new();
	int64_t mtime = from ? archive_entry_mtime(from) : 0;

	if (!e)
		return NULL;
	archive_entry_set_pathname(e, *w->path ? w->path : "./");
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, from ? archive_entry_perm(from) : 0755);
	archive_entry_set_uid(e, from ? archive_entry_uid(from) & UINT32_MAX : 0);
	archive_entry_set_gid(e, from ? archive_entry_gid(from) & UINT32_MAX : 0);
	archive_entry_set_mtime(e, MIN(MAX(mtime, 0), (int64_t)UINT32_MAX), 0); /* what squashfs can hold */
	archive_entry_set_size(e, 0);
	if (!from)
		return e;
	copy_xattrs(e, from);
	if (type == S_IFLNK)
		archive_entry_set_symlink(e, archive_entry_symlink(from));
	if (type == S_IFCHR || type == S_IFBLK) {
		archive_entry_set_rdevmajor(e, archive_entry_rdevmajor(from));
		archive_entry_set_rdevminor(e, archive_entry_rdevminor(from));
	}
	if (type == S_IFREG) {
		archive_entry_set_size(e, archive_entry_size(from));
		copy_holes(e, from);
	}
	return e;
}

/* The other names of a node, as hard links to its first, whose path is in w->path. */
static int put_aliases(struct writer *w, const struct tree_node *node, struct failure *f)
{
	char first[TREE_PATH_MAX + 1];

	memcpy(first, w->path, sizeof(first));
	for (uint32_t i = w->tree->names[node->first].alias; i != TREE_NONE; i = w->tree->names[i].alias) {
		_cleanup_entry_ struct archive_entry *e = archive_entry_new();

		if (!e)
			return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
		tree_path(w->tree, i, w->path);
		archive_entry_set_pathname(e, w->path);
		archive_entry_set_filetype(e, S_IFREG);
		archive_entry_set_hardlink(e, first);
		if (put_header(w, e, f) < 0)
			return -1;
	}
	return 0;
}

static int put_bytes(struct writer *w, const char *data, size_t size, struct failure *f)
{
	while (size > 0) {
		la_ssize_t n = archive_write_data(w->out, data, size);

		if (n <= 0)
			return writer_fail(w, f);
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int put_zeros(struct writer *w, int64_t size, struct failure *f)
{
	static const char zeros[64 << 10];

	for (; size > 0; size -= MIN(size, (int64_t)sizeof(zeros)))
		if (put_bytes(w, zeros, (size_t)MIN(size, (int64_t)sizeof(zeros)), f) < 0)
			return -1;
	return 0;
}

/* Data of the entry at which `in` stands, holes as zeros: `size` bytes in all. */
static int put_data(struct writer *w, struct archive *in, struct stream_reader *reader, int64_t size, struct failure *f)
{
	const void *block;
	la_int64_t offset;
	int64_t at = 0;
	size_t n;
	int r;

	while ((r = archive_read_data_block(in, &block, &n, &offset)) == ARCHIVE_OK) {
		if (n == 0)
			continue;
		if (offset < at || offset > size || (int64_t)n > size - offset)
			return fail(f, EXIT_FAILED, "entry \"%.200s\" has data beyond its size", w->path);
		if (put_zeros(w, offset - at, f) < 0 || put_bytes(w, block, n, f) < 0)
			return -1;
		at = offset + (int64_t)n;
	}
	if (r != ARCHIVE_EOF)
		return stream_reader_fail(reader, in, f);
	return put_zeros(w, size - at, f);
}

static int put_node(struct writer *w, const struct tree_node *node, struct archive_entry *from, struct archive *in,
		    struct stream_reader *reader, struct failure *f)
{
	_cleanup_entry_ struct archive_entry *e = NULL;

	if (archive_entry_filetype(from) != node->type)
		return fail(f, EXIT_FAILED, "it changed while it was read");
	tree_path(w->tree, node->first, w->path);
	e = make_entry(w, node->type, from);
	if (!e)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
	if (node->opaque)
		archive_entry_xattr_add_entry(e, OPAQUE_NAME, "y", 1);
	if (put_header(w, e, f) < 0)
		return -1;
	if (node->type == S_IFREG && put_data(w, in, reader, archive_entry_size(e), f) < 0)
		return -1;
	return put_aliases(w, node, f);
}

/* Second reading: what survived passes. */
static int put_survivors(struct writer *w, struct stream *tar, struct failure *f)
{
	_cleanup_archive_read_ struct archive *in = archive_read_new();
	struct stream_reader reader = { .stream = tar };
	struct archive_entry *from;
	int r;

	if (!in)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
	(void)archive_read_support_format_tar(in);
	(void)archive_read_support_format_empty(in);
	r = stream_reader_open(&reader, in);
	if (r != ARCHIVE_OK)
		return stream_reader_fail(&reader, in, f);
	for (uint32_t ordinal = 0; ordinal < w->tree->n_ordinals; ordinal++) {
		uint32_t node;

		r = archive_read_next_header(in, &from);
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return stream_reader_fail(&reader, in, f);
		node = w->tree->by_ordinal[ordinal];
		if (node != TREE_NONE && put_node(w, &w->tree->nodes[node], from, in, &reader, f) < 0)
			return -1;
	}
	return 0;
}

static int put_stream(struct writer *w, struct stream *s, int64_t size, struct failure *f)
{
	const void *block;
	ssize_t n;

	while ((n = s->read(s, &block, f)) > 0) {
		if (n > size)
			return fail(f, EXIT_FAILED, "\"%.200s\" of a lower layer has changed", w->path);
		if (put_bytes(w, block, (size_t)n, f) < 0)
			return -1;
		size -= n;
	}
	return n < 0 ? -1 : put_zeros(w, size, f);
}

/* A hard link to what only a lower layer has: a copy of that. */
static int put_lower_copy(struct writer *w, const struct tree_node *node, struct failure *f)
{
	_cleanup_entry_ struct archive_entry *from = NULL, *e = NULL;
	_cleanup_stream_ struct stream *data = NULL;
	int r = w->lower ? w->lower->find(w->lower->context, node->link, &from, f) : 0;
	mode_t type;

	if (r < 0)
		return -1;
	tree_path(w->tree, node->first, w->path);
	type = r > 0 ? archive_entry_filetype(from) : 0;
	if (r == 0 || type == S_IFDIR)
		return fail(f, EXIT_FAILED, "entry \"%.200s\" is a hard link to \"%.200s\", which is no file of the image", w->path,
			    node->link);
	e = make_entry(w, type, from);
	if (!e)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
	if (type == S_IFREG && w->lower->open(w->lower->context, node->link, &data, f) < 0)
		return -1;
	if (put_header(w, e, f) < 0 || (data && put_stream(w, data, archive_entry_size(e), f) < 0))
		return -1;
	return put_aliases(w, node, f);
}

/* Directories that no entry of the tar named: overlayfs would show their attributes (but the root's), so they take the lower one's. */
static int put_implicit_directory(struct writer *w, const struct tree_node *node, struct failure *f)
{
	_cleanup_entry_ struct archive_entry *from = NULL, *e = NULL;

	tree_path(w->tree, node->first, w->path);
	if (*w->path && w->lower && w->lower->find(w->lower->context, w->path, &from, f) < 0)
		return -1;
	if (from && archive_entry_filetype(from) != S_IFDIR) {
		archive_entry_free(from);
		from = NULL;
	}
	e = make_entry(w, S_IFDIR, from);
	if (!e)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
	if (node->opaque)
		archive_entry_xattr_add_entry(e, OPAQUE_NAME, "y", 1);
	return put_header(w, e, f);
}

static int put_whiteout(struct writer *w, const struct tree_node *node, struct failure *f)
{
	_cleanup_entry_ struct archive_entry *e = NULL;

	tree_path(w->tree, node->first, w->path);
	e = make_entry(w, S_IFCHR, NULL);
	if (!e)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "write a layer");
	archive_entry_set_perm(e, 0);
	archive_entry_set_rdevmajor(e, 0);
	archive_entry_set_rdevminor(e, 0);
	return put_header(w, e, f);
}

static int put_the_rest(struct writer *w, struct failure *f)
{
	for (uint32_t i = 0; i < w->tree->n_nodes; i++) {
		const struct tree_node *node = &w->tree->nodes[i];
		int r = 0;

		if (node->ordinal != TREE_NONE || node->first == TREE_NONE)
			continue;
		if (node->type == TREE_WHITEOUT)
			r = put_whiteout(w, node, f);
		else if (node->type == S_IFDIR)
			r = put_implicit_directory(w, node, f);
		else
			r = put_lower_copy(w, node, f);
		if (r < 0)
			return -1;
	}
	return 0;
}

bool tree_asks_lower(const struct layer_tree *tree)
{
	for (uint32_t i = 0; i < tree->n_nodes; i++) {
		const struct tree_node *node = &tree->nodes[i];
		bool made_up = node->ordinal == TREE_NONE && node->first != TREE_NONE && node->type != TREE_WHITEOUT;

		if (made_up && node->first != TREE_ROOT)
			return true;
	}
	return false;
}

static int open_output(struct writer *w, struct failure *f)
{
	struct archive *out = w->out;

	if (!out || archive_write_set_format_pax_restricted(out) != ARCHIVE_OK ||
	    archive_write_set_options(out, "xattrheader=SCHILY") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(out, 64 << 10) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(out, 1) != ARCHIVE_OK ||
	    archive_write_open(out, w, NULL, writer_write, NULL) != ARCHIVE_OK)
		return fail(f, EXIT_FAILED, "write a layer: %s", out ? archive_error_string(out) : "no memory");
	return 0;
}

int tree_write(struct layer_tree *tree, struct stream *tar, const struct tree_lower *lower, int fd, struct failure *f)
{
	struct writer w = { .tree = tree, .lower = lower, .out = archive_write_new(), .fd = fd };
	int r = open_output(&w, f);

	if (r == 0)
		r = put_survivors(&w, tar, f);
	if (r == 0)
		r = put_the_rest(&w, f);
	if (r == 0 && archive_write_close(w.out) != ARCHIVE_OK)
		r = writer_fail(&w, f);
	w.given_up = r < 0;
	(void)archive_write_free(w.out);
	return r;
}
