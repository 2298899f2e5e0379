/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of struct layer_tree, shared by tree.c (which builds it), tree_nodes.c (which stores it) and tree_write.c.
 * As in a file system, names point to nodes and a node may have many. Everything is an index into an array; nothing is freed
 * before the tree is, so that a name's parent always has a smaller index than the name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "image/tree.h"

#define TREE_NONE UINT32_MAX
#define TREE_ROOT 0u
#define TREE_WHITEOUT ((mode_t)0170000) /* beside the S_IF types */

/**
 * struct tree_node - a file
 * @type:	S_IFMT bits, or TREE_WHITEOUT
 * @opaque:	a directory that hides the lower one's content
 * @ordinal:	the tar's entry that has attributes and data; TREE_NONE: implicit directory, whiteout, or link to a lower file
 * @first:	first living name, once tree_finish() was called
 * @link:	symbolic link: its target. Regular file without ordinal: the path in a lower layer
 */
struct tree_node {
	mode_t type;
	bool opaque;
	uint32_t ordinal;
	uint32_t first;
	char *link;
};

/**
 * struct tree_name - a directory entry
 * @parent:	name of the directory it is in
 * @bucket_next: next in the hash bucket, newest first
 * @alias:	next living name of the same node
 */
struct tree_name {
	uint32_t parent, node, bucket_next, alias;
	uint16_t depth, path_length;
	bool dead;
	char *text;
};

struct tree_whiteout {
	uint32_t dir;
	char *name;
};

struct layer_tree {
	struct tree_limits limits;
	int64_t bytes;
	uint64_t seed; /* of the hash: names are chosen by others */
	struct tree_node *nodes;
	struct tree_name *names;
	struct tree_whiteout *whiteouts;
	uint32_t n_nodes, n_names, n_whiteouts, room_nodes, room_names, room_whiteouts;
	uint32_t *buckets, n_buckets;	  /* power of two */
	uint32_t *by_ordinal, n_ordinals; /* tree_finish(): node of each entry of the tar that passes */
};

/* 0 or -ENOMEM. */
int tree_add_node(struct layer_tree *tree, mode_t type, uint32_t ordinal, uint32_t *ret);
int tree_add_name(struct layer_tree *tree, uint32_t parent, const char *text, size_t n, uint32_t node, uint32_t *ret);
int tree_add_whiteout(struct layer_tree *tree, uint32_t dir, const char *name);
/* The living name in a directory, or TREE_NONE. */
uint32_t tree_find(const struct layer_tree *tree, uint32_t dir, const char *text, size_t n);
/* Find out which names live, and which node each entry of the tar belongs to. */
int tree_finish(struct layer_tree *tree);
/* Path of a name without leading slash; "" for the root. */
void tree_path(const struct layer_tree *tree, uint32_t name, char ret[static TREE_PATH_MAX + 1]);
