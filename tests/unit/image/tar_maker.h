/* SPDX-License-Identifier: Apache-2.0 */
/* Tars as test tables write them, made in memory with libarchive; and tars as text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/**
 * struct tar_item - one entry; the table ends with path NULL
 * @type:	'f' file, 'd' directory, 'l' symbolic link, 'h' hard link, 'c' 'b' devices, 'p' fifo
 * @text:	a file's content, a link's target, a device's "major,minor"
 * @xattr:	"name=value" or NULL
 */
struct tar_item {
	char type;
	const char *path, *text;
	unsigned mode;
	int64_t uid, gid, mtime;
	const char *xattr;
	int64_t sparse_size; /* > 0: the text stands at the file's end, a hole before it */
};

/* Caller frees. */
char *tar_make(const struct tar_item *items, size_t *ret_size);
/*
 * One line for each entry, in order, caller frees: "f 0644 0:0 path = content", "d 0755 0:0 path", "l ... path -> target",
 * "h path -> target", "c ... path (1,3)", then " @mtime" when not 0 and " {name=value}" for each extended attribute.
 */
char *tar_list(const void *tar, size_t size);
