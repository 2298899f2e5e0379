/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int grow(void *array, uint32_t *room, uint32_t n, size_t size)
{
	void **p = array, *moved;
	uint32_t more = *room ? *room * 2 : 256;

	if (n < *room)
		return 0;
	if (more <= n || more > TREE_NONE / 2)
		return -ENOMEM;
	moved = reallocarray(*p, more, size);
	if (!moved)
		return -ENOMEM;
	*p = moved;
	*room = more;
	return 0;
}

int tree_add_node(struct layer_tree *tree, mode_t type, uint32_t ordinal, uint32_t *ret)
{
	if (grow(&tree->nodes, &tree->room_nodes, tree->n_nodes, sizeof(*tree->nodes)) < 0)
		return -ENOMEM;
	tree->nodes[tree->n_nodes] = (struct tree_node){ .type = type, .ordinal = ordinal, .first = TREE_NONE };
	*ret = tree->n_nodes++;
	return 0;
}

static uint32_t bucket_of(const struct layer_tree *tree, uint32_t dir, const char *text, size_t n)
{
	uint64_t h = tree->seed ^ (dir * 0xff51afd7ed558ccdu);

	for (size_t i = 0; i < n; i++) {
		h = (h ^ (uint8_t)text[i]) * 0x9fb21c651e98df25u;
		h ^= h >> 29;
	}
	h *= 0xc4ceb9fe1a85ec53u;
	return (uint32_t)(h >> 32) & (tree->n_buckets - 1);
}

static void insert(struct layer_tree *tree, uint32_t name)
{
	struct tree_name *n = &tree->names[name];
	uint32_t *bucket = &tree->buckets[bucket_of(tree, n->parent, n->text, strlen(n->text))];

	n->bucket_next = *bucket;
	*bucket = name;
}

static int grow_buckets(struct layer_tree *tree)
{
	uint32_t n = tree->n_buckets ? tree->n_buckets * 4 : 1024;
	uint32_t *buckets;

	if (tree->n_names < tree->n_buckets)
		return 0;
	buckets = malloc(n * sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	memset(buckets, 0xff, n * sizeof(*buckets)); /* TREE_NONE */
	free(tree->buckets);
	tree->buckets = buckets;
	tree->n_buckets = n;
	for (uint32_t i = 0; i < tree->n_names; i++)
		insert(tree, i);
	return 0;
}

int tree_add_name(struct layer_tree *tree, uint32_t parent, const char *text, size_t n, uint32_t node, uint32_t *ret)
{
	struct tree_name name = { .parent = parent, .node = node, .alias = TREE_NONE };

	if (grow(&tree->names, &tree->room_names, tree->n_names, sizeof(*tree->names)) < 0 || grow_buckets(tree) < 0)
		return -ENOMEM;
	name.text = strndup(text, n);
	if (!name.text)
		return -ENOMEM;
	if (parent != TREE_NONE) {
		const struct tree_name *dir = &tree->names[parent];

		name.depth = (uint16_t)(dir->depth + 1);
		name.path_length = (uint16_t)(dir->path_length + (dir->path_length > 0) + n);
	}
	tree->names[tree->n_names] = name;
	insert(tree, tree->n_names);
	*ret = tree->n_names++;
	return 0;
}

int tree_add_whiteout(struct layer_tree *tree, uint32_t dir, const char *name)
{
	if (grow(&tree->whiteouts, &tree->room_whiteouts, tree->n_whiteouts, sizeof(*tree->whiteouts)) < 0)
		return -ENOMEM;
	tree->whiteouts[tree->n_whiteouts] = (struct tree_whiteout){ dir, strdup(name) };
	if (!tree->whiteouts[tree->n_whiteouts].name)
		return -ENOMEM;
	tree->n_whiteouts++;
	return 0;
}

uint32_t tree_find(const struct layer_tree *tree, uint32_t dir, const char *text, size_t n)
{
	uint32_t i = tree->buckets[bucket_of(tree, dir, text, n)];

	for (; i != TREE_NONE; i = tree->names[i].bucket_next) {
		const struct tree_name *name = &tree->names[i];

		/* The newest comes first: the first match decides. */
		if (name->parent == dir && strncmp(name->text, text, n) == 0 && name->text[n] == '\0')
			return name->dead ? TREE_NONE : i;
	}
	return TREE_NONE;
}

int tree_finish(struct layer_tree *tree)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < tree->n_names; i++) /* a parent comes before its children */
		if (tree->names[tree->names[i].parent].dead)
			tree->names[i].dead = true;
	for (uint32_t i = tree->n_names; i-- > 0;) {
		struct tree_name *name = &tree->names[i];

		if (name->dead)
			continue;
		name->alias = tree->nodes[name->node].first;
		tree->nodes[name->node].first = i;
	}
	for (uint32_t i = 0; i < tree->n_nodes; i++)
		if (tree->nodes[i].ordinal != TREE_NONE && tree->nodes[i].ordinal >= n)
			n = tree->nodes[i].ordinal + 1;
	tree->by_ordinal = malloc(n * sizeof(*tree->by_ordinal) + 1);
	if (!tree->by_ordinal)
		return -ENOMEM;
	memset(tree->by_ordinal, 0xff, n * sizeof(*tree->by_ordinal)); /* TREE_NONE */
	tree->n_ordinals = n;
	for (uint32_t i = 0; i < tree->n_nodes; i++)
		if (tree->nodes[i].ordinal != TREE_NONE && tree->nodes[i].first != TREE_NONE)
			tree->by_ordinal[tree->nodes[i].ordinal] = i;
	return 0;
}

void tree_path(const struct layer_tree *tree, uint32_t name, char ret[static TREE_PATH_MAX + 1])
{
	size_t end = tree->names[name].path_length;

	ret[end] = '\0';
	for (; name != TREE_ROOT; name = tree->names[name].parent) {
		size_t n = strlen(tree->names[name].text);

		end -= n;
		memcpy(ret + end, tree->names[name].text, n);
		if (end > 0)
			ret[--end] = '/';
	}
}

struct layer_tree *tree_free(struct layer_tree *tree)
{
	if (!tree)
		return NULL;
	for (uint32_t i = 0; i < tree->n_nodes; i++)
		free(tree->nodes[i].link);
	for (uint32_t i = 0; i < tree->n_names; i++)
		free(tree->names[i].text);
	for (uint32_t i = 0; i < tree->n_whiteouts; i++)
		free(tree->whiteouts[i].name);
	free(tree->nodes);
	free(tree->names);
	free(tree->whiteouts);
	free(tree->buckets);
	free(tree->by_ordinal);
	free(tree);
	return NULL;
}
