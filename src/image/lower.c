/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up a path in a stack of layers, top to bottom (overlayfs.rst, "Non-directories" and "whiteouts and opaque directories"):
 * the first layer that has the path decides; a layer with a whiteout or another non-directory on the way, or an opaque directory on
 * the way, hides what is beneath. Symbolic links on the way are not followed: a tar means its paths literally.
 */
#include "image/lower.h"

#include <archive_entry.h>
#include <errno.h>
#include <sqfs/compressor.h>
#include <sqfs/data_reader.h>
#include <sqfs/dir.h>
#include <sqfs/dir_reader.h>
#include <sqfs/error.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>
#include <sqfs/xattr.h>
#include <sqfs/xattr_reader.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/own.h"

#define BLOCK (256u << 10)
#define NAME_LENGTH_MAX 255

struct lower_layer {
	sqfs_file_t *file;
	sqfs_compressor_t *compressor;
	sqfs_dir_reader_t *directories;
	sqfs_data_reader_t *data;
	sqfs_id_table_t *ids;
	sqfs_xattr_reader_t *xattrs;
	sqfs_super_t super;
};

/* Content of a file. The layer belongs to struct lower, which outlives it. */
struct lower_stream {
	struct stream stream;
	struct lower_layer *layer;
	sqfs_inode_generic_t *inode;
	uint64_t at;
	uint8_t block[BLOCK];
};

static void own_inode(sqfs_inode_generic_t **inode)
{
	sqfs_free(*inode);
}
#define _cleanup_inode_ __attribute__((cleanup(own_inode)))

static struct lower_layer *layer_close(struct lower_layer *l)
{
	if (!l)
		return NULL;
	sqfs_destroy(l->xattrs);
	sqfs_destroy(l->ids);
	sqfs_destroy(l->data);
	sqfs_destroy(l->directories);
	sqfs_destroy(l->compressor);
	sqfs_destroy(l->file);
	free(l);
	return NULL;
}

void lower_deinit(struct lower *lower)
{
	for (size_t i = 0; lower->layers && i < lower->n; i++)
		(void)layer_close(lower->layers[i]);
	free(lower->layers);
	lower->layers = NULL;
}

static int damaged(const char *path, struct failure *f)
{
	return fail(f, EXIT_FAILED, "%s is damaged", path);
}

static bool layer_load(struct lower_layer *l, const char *path)
{
	sqfs_compressor_config_t config;

	l->file = sqfs_open_file(path, SQFS_FILE_OPEN_READ_ONLY);
	if (!l->file || sqfs_super_read(&l->super, l->file) != 0 ||
	    sqfs_compressor_config_init(&config, l->super.compression_id, l->super.block_size, SQFS_COMP_FLAG_UNCOMPRESS) != 0 ||
	    sqfs_compressor_create(&config, &l->compressor) != 0)
		return false;
	l->directories = sqfs_dir_reader_create(&l->super, l->compressor, l->file, 0);
	l->data = sqfs_data_reader_create(l->file, l->super.block_size, l->compressor, 0);
	l->ids = sqfs_id_table_create(0);
	l->xattrs = sqfs_xattr_reader_create(0);
	return l->directories && l->data && l->ids && l->xattrs &&
	       sqfs_data_reader_load_fragment_table(l->data, &l->super) == 0 &&
	       sqfs_id_table_read(l->ids, l->file, &l->super, l->compressor) == 0 &&
	       sqfs_xattr_reader_load(l->xattrs, &l->super, l->file, l->compressor) == 0;
}

static struct lower_layer *layer_at(struct lower *lower, size_t i, struct failure *f)
{
	struct lower_layer *l;

	if (!lower->layers)
		lower->layers = calloc(lower->n, sizeof(struct lower_layer *));
	if (!lower->layers) {
		(void)fail_errno(f, EXIT_FAILED, ENOMEM, "read a layer");
		return NULL;
	}
	if (lower->layers[i])
		return lower->layers[i];
	l = calloc(1, sizeof(*l));
	if (l && layer_load(l, lower->files[i]))
		return lower->layers[i] = l;
	(void)layer_close(l);
	(void)damaged(lower->files[i], f);
	return NULL;
}

/* Without the difference between basic and extended inodes. */
static unsigned type_of(const sqfs_inode_generic_t *inode)
{
	return inode->base.type >= SQFS_INODE_EXT_DIR ? inode->base.type - SQFS_INODE_EXT_DIR + SQFS_INODE_DIR : inode->base.type;
}

static uint32_t device_of(const sqfs_inode_generic_t *inode)
{
	return inode->base.type >= SQFS_INODE_EXT_DIR ? inode->data.dev_ext.devno : inode->data.dev.devno;
}

static bool is_whiteout(const sqfs_inode_generic_t *inode)
{
	return type_of(inode) == SQFS_INODE_CDEV && device_of(inode) == 0;
}

/* Calls fn for each extended attribute until it returns true. -1: damaged. */
static int each_xattr(struct lower_layer *l, const sqfs_inode_generic_t *inode,
		      bool (*fn)(void *context, const char *name, const void *value, size_t size), void *context)
{
	sqfs_xattr_id_t desc;
	sqfs_u32 index;
	bool done = false;

	if (sqfs_inode_get_xattr_index(inode, &index) != 0 || index == 0xffffffffu)
		return 0;
	if (sqfs_xattr_reader_get_desc(l->xattrs, index, &desc) != 0 || sqfs_xattr_reader_seek_kv(l->xattrs, &desc) != 0)
		return -1;
	for (uint32_t i = 0; i < desc.count && !done; i++) {
		sqfs_xattr_entry_t *key = NULL;
		sqfs_xattr_value_t *value = NULL;

		if (sqfs_xattr_reader_read_key(l->xattrs, &key) != 0)
			return -1;
		if (sqfs_xattr_reader_read_value(l->xattrs, key, &value) != 0) {
			sqfs_free(key);
			return -1;
		}
		done = fn(context, (const char *)key->key, value->value, value->size);
		sqfs_free(key);
		sqfs_free(value);
	}
	return 0;
}

static bool note_opaque(void *context, const char *name, const void *value, size_t size)
{
	bool *opaque = context;

	*opaque = strcmp(name, "trusted.overlay.opaque") == 0 && size == 1 && *(const char *)value == 'y';
	return *opaque;
}

static bool copy_xattr(void *context, const char *name, const void *value, size_t size)
{
	archive_entry_xattr_add_entry(context, name, value, size);
	return false;
}

enum found {
	FOUND,
	ABSENT, /* look further down */
	HIDDEN, /* nothing further down counts */
	DAMAGED,
};

/* Next component: its length, 0 at the end; "." is passed over. */
static size_t next_component(const char **path, const char **ret)
{
	for (;;) {
		size_t n;

		*path += strspn(*path, "/");
		n = strcspn(*path, "/");
		*ret = *path;
		*path += n;
		if (n != 1 || **ret != '.')
			return n;
	}
}

static enum found step(struct lower_layer *l, sqfs_inode_generic_t **at, const char *name, size_t n)
{
	sqfs_inode_generic_t *next = NULL;
	char text[NAME_LENGTH_MAX + 1];
	int r;

	if (n > NAME_LENGTH_MAX)
		return HIDDEN;
	memcpy(text, name, n);
	text[n] = '\0';
	if (sqfs_dir_reader_open_dir(l->directories, *at, 0) != 0)
		return DAMAGED;
	r = sqfs_dir_reader_find(l->directories, text);
	if (r != 0)
		return r == SQFS_ERROR_NO_ENTRY ? ABSENT : DAMAGED;
	if (sqfs_dir_reader_get_inode(l->directories, &next) != 0)
		return DAMAGED;
	sqfs_free(*at);
	*at = next;
	return is_whiteout(next) ? HIDDEN : FOUND;
}

/* The path in one layer. *opaque: a directory on the way hides what is beneath. */
static enum found find_in_layer(struct lower_layer *l, const char *path, sqfs_inode_generic_t **ret, bool *ret_opaque)
{
	_cleanup_inode_ sqfs_inode_generic_t *at = NULL;
	enum found found = FOUND;
	const char *name;
	size_t n;

	if (sqfs_dir_reader_get_root_inode(l->directories, &at) != 0)
		return DAMAGED;
	while ((n = next_component(&path, &name)) > 0 && found == FOUND) {
		bool opaque = false;

		if (type_of(at) != SQFS_INODE_DIR)
			return HIDDEN;
		if (each_xattr(l, at, note_opaque, &opaque) < 0)
			return DAMAGED;
		*ret_opaque |= opaque;
		found = step(l, &at, name, n);
	}
	if (found == FOUND)
		*ret = take_ptr(at);
	return found;
}

/* 1 and the inode with its layer, 0 when there is none, -1 and a sentence. */
static int find(struct lower *lower, const char *path, struct lower_layer **ret_layer, sqfs_inode_generic_t **ret, struct failure *f)
{
	for (size_t i = lower->n; i-- > 0;) {
		struct lower_layer *l = layer_at(lower, i, f);
		bool opaque = false;
		enum found found;

		if (!l)
			return -1;
		found = find_in_layer(l, path, ret, &opaque);
		if (found == DAMAGED)
			return damaged(lower->files[i], f);
		if (found == FOUND) {
			*ret_layer = l;
			return 1;
		}
		if (found == HIDDEN || opaque)
			return 0;
	}
	return 0;
}

static const mode_t types[] = {
	[SQFS_INODE_DIR] = S_IFDIR,  [SQFS_INODE_FILE] = S_IFREG,  [SQFS_INODE_SLINK] = S_IFLNK,    [SQFS_INODE_BDEV] = S_IFBLK,
	[SQFS_INODE_CDEV] = S_IFCHR, [SQFS_INODE_FIFO] = S_IFIFO, [SQFS_INODE_SOCKET] = S_IFSOCK,
};

static void set_kind(struct archive_entry *e, const sqfs_inode_generic_t *inode)
{
	uint32_t device = device_of(inode);
	sqfs_u64 size = 0;

	switch (type_of(inode)) {
	case SQFS_INODE_FILE:
		(void)sqfs_inode_get_file_size(inode, &size);
		archive_entry_set_size(e, (int64_t)size);
		break;
	case SQFS_INODE_SLINK:
		archive_entry_set_symlink(e, (const char *)inode->extra);
		break;
	case SQFS_INODE_BDEV:
	case SQFS_INODE_CDEV: /* as the kernel's new_encode_dev() */
		archive_entry_set_rdevmajor(e, (device & 0xfff00) >> 8);
		archive_entry_set_rdevminor(e, (device & 0xff) | ((device >> 12) & 0xfff00));
		break;
	default:
		break;
	}
}

static int make_entry(struct lower_layer *l, const sqfs_inode_generic_t *inode, struct archive_entry **ret)
{
	struct archive_entry *e = archive_entry_new();
	sqfs_u32 uid = 0, gid = 0;
	unsigned type = type_of(inode);

	if (!e || type >= ARRAY_SIZE(types) || sqfs_id_table_index_to_id(l->ids, inode->base.uid_idx, &uid) != 0 ||
	    sqfs_id_table_index_to_id(l->ids, inode->base.gid_idx, &gid) != 0 || each_xattr(l, inode, copy_xattr, e) < 0) {
		archive_entry_free(e);
		return -1;
	}
	archive_entry_set_filetype(e, types[type]);
	archive_entry_set_perm(e, inode->base.mode & 07777);
	archive_entry_set_uid(e, uid);
	archive_entry_set_gid(e, gid);
	archive_entry_set_mtime(e, inode->base.mod_time, 0);
	set_kind(e, inode);
	*ret = e;
	return 0;
}

int lower_find(void *context, const char *path, struct archive_entry **ret, struct failure *f)
{
	_cleanup_inode_ sqfs_inode_generic_t *inode = NULL;
	struct lower_layer *l;
	int r = find(context, path, &l, &inode, f);

	if (r <= 0)
		return r;
	return make_entry(l, inode, ret) < 0 ? fail(f, EXIT_FAILED, "\"%.200s\" of a lower layer is damaged", path) : 1;
}

static ssize_t lower_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct lower_stream *self = container_of(s, struct lower_stream, stream);
	sqfs_s32 n = sqfs_data_reader_read(self->layer->data, self->inode, self->at, self->block, sizeof(self->block));

	if (n < 0)
		return fail(f, EXIT_FAILED, "a file of a lower layer is damaged");
	self->at += (uint64_t)n;
	*ret_block = self->block;
	return n;
}

static void lower_free(struct stream *s)
{
	struct lower_stream *self = container_of(s, struct lower_stream, stream);

	sqfs_free(self->inode);
	free(self);
}

int lower_open(void *context, const char *path, struct stream **ret, struct failure *f)
{
	_cleanup_inode_ sqfs_inode_generic_t *inode = NULL;
	struct lower_stream *self;
	struct lower_layer *l;
	int r = find(context, path, &l, &inode, f);

	if (r < 0)
		return r;
	if (r == 0 || type_of(inode) != SQFS_INODE_FILE)
		return fail(f, EXIT_FAILED, "\"%.200s\" is no file of a lower layer", path);
	self = malloc(sizeof(*self));
	if (!self)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read a layer");
	self->stream = (struct stream){ .read = lower_read, .free = lower_free };
	self->layer = l;
	self->inode = take_ptr(inode);
	self->at = 0;
	*ret = &self->stream;
	return 0;
}
