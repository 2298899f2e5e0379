/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer's tar, as anybody may write it: whatever it says, what comes out names only what is inside, each name once, links after
 * what they link to; and reading that again gives no complaint (I04).
 */
#include "input.h"

#include <archive_entry.h>
#include <locale.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/text.h"
#include "image/tree.h"

static const struct tree_limits limits = { .entries = 500, .bytes = 1 << 20, .ratio = 100 };

/* Every path has something beneath it, a directory or a file by its last letter. */
static int find_lower(void *context, const char *path, struct archive_entry **ret, struct failure *f)
{
	size_t n = strlen(path);

	if (n == 0 || path[n - 1] == 'x')
		return 0;
	*ret = archive_entry_new();
	archive_entry_set_filetype(*ret, path[n - 1] % 2 ? S_IFDIR : S_IFREG);
	archive_entry_set_size(*ret, path[n - 1] % 2 ? 0 : 5);
	return 1;
}

static int open_lower(void *context, const char *path, struct stream **ret, struct failure *f)
{
	*ret = stream_from_memory("lower", 5);
	fuzz_check(*ret);
	return 0;
}

static void check_path(const char *path)
{
	fuzz_check(path && path[0] != '/' && strlen(path) <= TREE_PATH_MAX + 1);
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		fuzz_check((p != path && p[-1] != '/') || (p[2] != '/' && p[2] != '\0'));
}

static void check_output(const void *tar, size_t size)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char **names = calloc(1, sizeof(*names));
	int r;

	fuzz_check(a && names && archive_read_support_format_tar(a) == ARCHIVE_OK);
	(void)archive_read_support_format_empty(a);
	fuzz_check(archive_read_open_memory(a, tar, size) == ARCHIVE_OK);
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		const char *path = archive_entry_pathname(e), *link = archive_entry_hardlink(e);

		check_path(path);
		fuzz_check(!strv_has(names, path));
		fuzz_check(!link || strv_has(names, link));
		fuzz_check(strv_add(&names, path) == 0);
	}
	fuzz_check(r == ARCHIVE_EOF);
	(void)archive_read_free(a);
	(void)strv_free(names);
}

static void read_again(const void *tar, size_t size)
{
	const struct tree_limits wide = { .entries = 1 << 20, .bytes = 1 << 30, .ratio = 100 };
	struct stream *s = stream_from_memory(tar, size);
	struct layer_tree *tree = tree_new(&wide);
	struct failure f = { 0 };

	fuzz_check(s && tree);
	if (tree_read(tree, s, &f) < 0)
		fprintf(stderr, "%s\n", f.text);
	fuzz_check(f.code == 0);
	(void)tree_free(tree);
	(void)stream_free(s);
}

static void write_out(struct layer_tree *tree, const uint8_t *data, size_t size)
{
	const struct tree_lower lower = { .find = find_lower, .open = open_lower };
	struct stream *s = stream_from_memory(data, size);
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct failure f = { 0 };
	void *map;
	off_t n;

	fuzz_check(s && fd >= 0);
	if (tree_write(tree, s, &lower, fd, &f) == 0) {
		n = lseek(fd, 0, SEEK_END);
		map = mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0);
		fuzz_check(map != MAP_FAILED);
		check_output(map, (size_t)n);
		read_again(map, (size_t)n);
		(void)munmap(map, (size_t)n);
	}
	(void)stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream *s = stream_from_memory(data, size);
	struct layer_tree *tree = tree_new(&limits);
	struct failure f = { 0 };

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	fuzz_check(s && tree);
	if (tree_read(tree, s, &f) == 0)
		write_out(tree, data, size);
	(void)tree_free(tree);
	(void)stream_free(s);
	return 0;
}
