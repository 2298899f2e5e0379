/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/own.h"
#include "base/text.h"
#include "image/tree_nodes.h"

#define LINKS_FOLLOWED_MAX 40
#define NAME_LENGTH_MAX 255

#define WHITEOUT ".wh."
#define WHITEOUT_PRIVATE ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

static const struct {
	const char *name;
	int64_t fallback;
	bool bytes;
} limit_variables[] = {
	{ "A3S_IMAGE_MAX_ENTRIES", 1000000, false },
	{ "A3S_IMAGE_MAX_LAYER", 64LL << 30, true },
	{ "A3S_IMAGE_MAX_RATIO", 200, false },
};

int tree_limits_read(struct tree_limits *ret, struct failure *f)
{
	int64_t *values[] = { &ret->entries, &ret->bytes, &ret->ratio };

	for (size_t i = 0; i < ARRAY_SIZE(limit_variables); i++) {
		const char *name = limit_variables[i].name, *text = getenv(name);
		int r = 0;

		*values[i] = limit_variables[i].fallback;
		if (text && *text)
			r = limit_variables[i].bytes ? text_to_bytes(text, values[i]) :
						       text_to_int(text, 1, UINT32_MAX - 1, values[i]);
		if (r < 0)
			return fail(f, EXIT_USAGE, "%s=%s: not a number", name, text);
	}
	return 0;
}

struct layer_tree *tree_new(const struct tree_limits *limits)
{
	struct layer_tree *tree = calloc(1, sizeof(*tree));
	uint32_t root;

	if (!tree)
		return NULL;
	tree->limits = *limits;
	if (getrandom(&tree->seed, sizeof(tree->seed), 0) < 0)
		tree->seed = 0x9e3779b97f4a7c15u;
	if (tree_add_node(tree, S_IFDIR, TREE_NONE, &root) < 0 || tree_add_name(tree, TREE_NONE, "", 0, root, &root) < 0)
		return tree_free(tree);
	return tree;
}

static int no_memory(struct failure *f)
{
	return fail_errno(f, EXIT_FAILED, ENOMEM, "read a layer");
}

static int refuse(struct failure *f, const char *path, const char *why)
{
	return fail(f, EXIT_FAILED, "entry \"%.200s\" %s", path, why);
}

/**
 * struct walk - a way through the tree, link by link
 * @rest:	what is still to be gone, owned; grows when a link is put in front
 * @at:		where in it
 * @dir:	name (index) of the directory reached
 */
struct walk {
	char *rest;
	const char *at;
	uint32_t dir;
	unsigned followed;
};

/* Next component: its length, 0 at the end; "." is passed over. */
static size_t walk_next(struct walk *w, const char **ret)
{
	for (;;) {
		size_t n;

		w->at += strspn(w->at, "/");
		n = strcspn(w->at, "/");
		if (n == 1 && *w->at == '.') {
			w->at++;
			continue;
		}
		*ret = w->at;
		w->at += n;
		return n;
	}
}

static bool walk_is_last(const struct walk *w)
{
	const char *p = w->at;

	for (;;) {
		p += strspn(p, "/");
		if (*p != '.' || (p[1] != '/' && p[1] != '\0'))
			return *p == '\0';
		p++;
	}
}

static int walk_follow(struct layer_tree *tree, struct walk *w, const char *target, const char *path, struct failure *f)
{
	char *rest = NULL;

	if (++w->followed > LINKS_FOLLOWED_MAX)
		return refuse(f, path, "goes through too many symbolic links");
	if (asprintf(&rest, "%s/%s", target, w->at) < 0)
		return no_memory(f);
	if (*target == '/')
		w->dir = TREE_ROOT;
	free(w->rest);
	w->at = w->rest = rest;
	return 0;
}

static int walk_up(struct layer_tree *tree, struct walk *w, const char *path, struct failure *f)
{
	if (w->dir == TREE_ROOT)
		return refuse(f, path, "goes through a link that leads out of the image");
	w->dir = tree->names[w->dir].parent;
	return 0;
}

/* Step into an inner component. `make`: directories that are not there are made; else missing gives 1. */
static int walk_into(struct layer_tree *tree, struct walk *w, const char *name, size_t n, bool make, const char *path,
		     struct failure *f)
{
	uint32_t found = tree_find(tree, w->dir, name, n), node;
	const struct tree_node *target;

	if (found == TREE_NONE) {
		if (!make)
			return 1;
		if (n >= strlen(WHITEOUT) && memcmp(name, WHITEOUT, strlen(WHITEOUT)) == 0)
			return refuse(f, path, "lies below a whiteout");
		if (tree->names[w->dir].depth >= TREE_DEPTH_MAX || tree->names[w->dir].path_length + n + 1 > TREE_PATH_MAX)
			return refuse(f, path, "lies too deep");
		if (tree_add_node(tree, S_IFDIR, TREE_NONE, &node) < 0 ||
		    tree_add_name(tree, w->dir, name, n, node, &found) < 0)
			return no_memory(f);
	}
	target = &tree->nodes[tree->names[found].node];
	if (target->type == S_IFLNK)
		return walk_follow(tree, w, target->link, path, f);
	if (target->type != S_IFDIR)
		return refuse(f, path, "lies below something that is not a directory");
	w->dir = found;
	return 0;
}

static bool has_dot_dot(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
			return true;
	return false;
}

/*
 * Find the directory (a name's index) that holds the last component of `path`, and that component, owned by the caller; NULL when
 * the path is the root itself. Returns 1 when !make and a directory on the way is missing.
 */
static int tree_walk(struct layer_tree *tree, const char *path, bool make, uint32_t *ret_dir, char **ret_last, struct failure *f)
{
	struct walk w = { .rest = strdup(path), .dir = TREE_ROOT };
	const char *name;
	size_t n;
	int r = 0;

	*ret_last = NULL;
	if (!w.rest)
		return no_memory(f);
	for (w.at = w.rest; r == 0 && (n = walk_next(&w, &name)) > 0;) {
		if (n > NAME_LENGTH_MAX)
			r = refuse(f, path, "has a name longer than 255 bytes");
		else if (n == 2 && memcmp(name, "..", 2) == 0)
			r = walk_up(tree, &w, path, f);
		else if (walk_is_last(&w)) {
			*ret_last = strndup(name, n);
			r = *ret_last ? 0 : no_memory(f);
			break;
		} else
			r = walk_into(tree, &w, name, n, make, path, f);
	}
	if (r == 0 && *ret_last && tree->names[w.dir].path_length + strlen(*ret_last) + 1 > TREE_PATH_MAX)
		r = refuse(f, path, "has a path longer than 4095 bytes");
	*ret_dir = w.dir;
	free(w.rest);
	return r;
}

static int add_whiteout(struct layer_tree *tree, uint32_t dir, const char *last, const char *path, struct failure *f)
{
	const char *name = last + strlen(WHITEOUT);

	if (strcmp(last, WHITEOUT_OPAQUE) == 0) {
		tree->nodes[tree->names[dir].node].opaque = true;
		return 0;
	}
	if (text_starts(last, WHITEOUT_PRIVATE))
		return 0;
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return refuse(f, path, "is no valid whiteout");
	return tree_add_whiteout(tree, dir, name) < 0 ? no_memory(f) : 0;
}

/* Give the name to a node: a directory over a directory keeps its content. */
static int put_name(struct layer_tree *tree, uint32_t dir, const char *last, uint32_t node, struct failure *f)
{
	uint32_t old = tree_find(tree, dir, last, strlen(last)), name;

	if (old != TREE_NONE) {
		struct tree_node *was = &tree->nodes[tree->names[old].node];

		if (was->type == S_IFDIR && tree->nodes[node].type == S_IFDIR) {
			was->ordinal = tree->nodes[node].ordinal;
			return 0;
		}
		tree->names[old].dead = true;
	}
	return tree_add_name(tree, dir, last, strlen(last), node, &name) < 0 ? no_memory(f) : 0;
}

static int add_hard_link(struct layer_tree *tree, uint32_t dir, const char *last, const char *path, const char *target,
			 struct failure *f)
{
	_cleanup_free_ char *target_last = NULL;
	uint32_t target_dir, found = TREE_NONE, node;
	int r;

	if (*target == '/' || has_dot_dot(target))
		return fail(f, EXIT_FAILED, "entry \"%.200s\" is a hard link out of the image, to \"%.200s\"", path, target);
	r = tree_walk(tree, target, false, &target_dir, &target_last, f);
	if (r < 0)
		return r;
	if (r == 0 && target_last)
		found = tree_find(tree, target_dir, target_last, strlen(target_last));
	if (found == TREE_NONE) {
		if (tree_add_node(tree, S_IFREG, TREE_NONE, &node) < 0)
			return no_memory(f);
		tree->nodes[node].link = strdup(target);
		return tree->nodes[node].link ? put_name(tree, dir, last, node, f) : no_memory(f);
	}
	node = tree->names[found].node;
	if (tree->nodes[node].type == S_IFDIR)
		return fail(f, EXIT_FAILED, "entry \"%.200s\" is a hard link to a directory, \"%.200s\"", path, target);
	if (tree_find(tree, dir, last, strlen(last)) == found)
		return 0; /* a link to itself changes nothing */
	return put_name(tree, dir, last, node, f);
}

static bool type_is_known(mode_t type)
{
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR || type == S_IFBLK || type == S_IFIFO;
}

static int add_file(struct layer_tree *tree, uint32_t dir, const char *last, const char *path, struct archive_entry *entry,
		    uint32_t ordinal, struct failure *f)
{
	mode_t type = archive_entry_filetype(entry);
	const char *link = archive_entry_symlink(entry);
	uint32_t node;

	if (!type_is_known(type))
		return refuse(f, path, "is of an unknown type");
	if (type == S_IFLNK && (!link || !*link || strlen(link) > TREE_PATH_MAX))
		return refuse(f, path, "is a symbolic link without a usable target");
	if (tree_add_node(tree, type, ordinal, &node) < 0)
		return no_memory(f);
	if (type == S_IFLNK) {
		tree->nodes[node].link = strdup(link);
		if (!tree->nodes[node].link)
			return no_memory(f);
	}
	return put_name(tree, dir, last, node, f);
}

/* In one of aufs's own directories, which lie in the root. */
static bool is_below_private(const char *path)
{
	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path++;
	return text_starts(path, WHITEOUT_PRIVATE) && strchr(path, '/');
}

static int add_entry(struct layer_tree *tree, struct archive_entry *entry, uint32_t ordinal, struct failure *f)
{
	const char *path = archive_entry_pathname(entry), *hard = archive_entry_hardlink(entry);
	_cleanup_free_ char *last = NULL;
	uint32_t dir;

	if (!path || strlen(path) > TREE_PATH_MAX)
		return fail(f, EXIT_FAILED, "entry %u has no usable name", ordinal);
	if (has_dot_dot(path))
		return refuse(f, path, "leads out of the image");
	if (is_below_private(path))
		return 0;
	if (tree_walk(tree, path, true, &dir, &last, f) < 0)
		return -1;
	if (!last) {
		if (archive_entry_filetype(entry) != S_IFDIR || hard)
			return refuse(f, path, "replaces the root directory");
		tree->nodes[tree->names[TREE_ROOT].node].ordinal = ordinal;
		return 0;
	}
	if (text_starts(last, WHITEOUT))
		return add_whiteout(tree, dir, last, path, f);
	if (hard)
		return add_hard_link(tree, dir, last, path, hard, f);
	return add_file(tree, dir, last, path, entry, ordinal, f);
}

static int check_limits(struct layer_tree *tree, struct archive_entry *entry, uint32_t ordinal, struct failure *f)
{
	int64_t size = archive_entry_hardlink(entry) ? 0 : archive_entry_size(entry);

	if (ordinal >= tree->limits.entries)
		return fail(f, EXIT_FAILED, "more than %lld entries (A3S_IMAGE_MAX_ENTRIES)", (long long)tree->limits.entries);
	if (size < 0 || size > tree->limits.bytes - tree->bytes)
		return fail(f, EXIT_FAILED, "its files are larger than %lld bytes (A3S_IMAGE_MAX_LAYER)",
			    (long long)tree->limits.bytes);
	tree->bytes += size;
	return 0;
}

/* Whiteouts and opaque marks count only for what lies beneath, wherever in the tar they stand. */
static int apply_whiteouts(struct layer_tree *tree, struct failure *f)
{
	for (uint32_t i = 0; i < tree->n_whiteouts; i++) {
		const struct tree_whiteout *w = &tree->whiteouts[i];
		uint32_t found = tree_find(tree, w->dir, w->name, strlen(w->name)), node;

		if (found == TREE_NONE) {
			if (tree_add_node(tree, TREE_WHITEOUT, TREE_NONE, &node) < 0 || put_name(tree, w->dir, w->name, node, f) < 0)
				return no_memory(f);
		} else if (tree->nodes[tree->names[found].node].type == S_IFDIR) {
			tree->nodes[tree->names[found].node].opaque = true;
		}
	}
	return 0;
}

int tree_read(struct layer_tree *tree, struct stream *tar, struct failure *f)
{
	_cleanup_archive_read_ struct archive *a = archive_read_new();
	struct stream_reader reader = { .stream = tar };
	struct archive_entry *entry;
	int r;

	if (!a)
		return no_memory(f);
	(void)archive_read_support_format_tar(a);
	(void)archive_read_support_format_empty(a);
	r = stream_reader_open(&reader, a);
	for (uint32_t ordinal = 0; r == ARCHIVE_OK; ordinal++) {
		r = archive_read_next_header(a, &entry);
		if (r == ARCHIVE_EOF)
			break;
		if (r == ARCHIVE_WARN)
			r = ARCHIVE_OK;
		if (r == ARCHIVE_OK && (check_limits(tree, entry, ordinal, f) < 0 || add_entry(tree, entry, ordinal, f) < 0))
			return -1;
	}
	if (r != ARCHIVE_EOF)
		return stream_reader_fail(&reader, a, f);
	if (apply_whiteouts(tree, f) < 0)
		return -1;
	return tree_finish(tree) < 0 ? no_memory(f) : 0;
}
