/* SPDX-License-Identifier: Apache-2.0 */
#include "tar_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> /* last: its fail() is a macro */

#define TAR_MAX (4u << 20) /* holes take no room */

static mode_t type_of(char c)
{
	switch (c) {
	case 'd':
		return S_IFDIR;
	case 'l':
		return S_IFLNK;
	case 'c':
		return S_IFCHR;
	case 'b':
		return S_IFBLK;
	case 'p':
		return S_IFIFO;
	default:
		return S_IFREG;
	}
}

static void set_text(struct archive_entry *e, const struct tar_item *item)
{
	unsigned major = 0, minor = 0;

	if (item->type == 'l')
		archive_entry_set_symlink(e, item->text);
	if (item->type == 'h')
		archive_entry_set_hardlink(e, item->text);
	if ((item->type == 'c' || item->type == 'b') && sscanf(item->text, "%u,%u", &major, &minor) == 2) {
		archive_entry_set_rdevmajor(e, major);
		archive_entry_set_rdevminor(e, minor);
	}
	if (item->type == 'f' && item->text)
		archive_entry_set_size(e, (int64_t)strlen(item->text));
	if (item->sparse_size > 0) {
		archive_entry_set_size(e, item->sparse_size);
		archive_entry_sparse_add_entry(e, item->sparse_size - (int64_t)strlen(item->text), (int64_t)strlen(item->text));
	}
}

static void put_item(struct archive *a, const struct tar_item *item)
{
	struct archive_entry *e = archive_entry_new();
	static const char zeros[65536];
	const char *equals;

	archive_entry_set_pathname(e, item->path);
	archive_entry_set_filetype(e, type_of(item->type));
	archive_entry_set_perm(e, item->mode ? item->mode : item->type == 'd' ? 0755 : 0644);
	archive_entry_set_uid(e, item->uid);
	archive_entry_set_gid(e, item->gid);
	archive_entry_set_mtime(e, item->mtime, 0);
	set_text(e, item);
	if (item->xattr && (equals = strchr(item->xattr, '='))) {
		char name[256];

		(void)snprintf(name, sizeof(name), "%.*s", (int)(equals - item->xattr), item->xattr);
		archive_entry_xattr_add_entry(e, name, equals + 1, strlen(equals + 1));
	}
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	for (int64_t left = item->sparse_size > 0 ? item->sparse_size - (int64_t)strlen(item->text) : 0; left > 0;)
		left -= archive_write_data(a, zeros, (size_t)(left < 65536 ? left : 65536));
	if (item->type == 'f' && item->text)
		assert_int_equal(archive_write_data(a, item->text, strlen(item->text)), strlen(item->text));
	archive_entry_free(e);
}

char *tar_make(const struct tar_item *items, size_t *ret_size)
{
	struct archive *a = archive_write_new();
	char *tar = malloc(TAR_MAX);

	assert_int_equal(archive_write_set_format_pax(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(a, tar, TAR_MAX, ret_size), ARCHIVE_OK);
	for (; items->path; items++)
		put_item(a, items);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	(void)archive_write_free(a);
	return tar;
}

static void list_content(FILE *out, struct archive *a, struct archive_entry *e)
{
	char text[64] = "";
	la_ssize_t n = archive_read_data(a, text, sizeof(text) - 1);

	assert_true(n >= 0);
	if (archive_entry_size(e) > n || strlen(text) < (size_t)n)
		fprintf(out, " = %lld bytes", (long long)archive_entry_size(e));
	else
		fprintf(out, " = %s", text);
}

static void list_entry(FILE *out, struct archive *a, struct archive_entry *e)
{
	const char *name, *letter = "?";
	const void *value;
	size_t size;
	static const struct {
		mode_t type;
		const char *letter;
	} letters[] = { { S_IFDIR, "d" }, { S_IFREG, "f" }, { S_IFLNK, "l" }, { S_IFCHR, "c" }, { S_IFBLK, "b" }, { S_IFIFO, "p" } };

	if (archive_entry_hardlink(e)) {
		fprintf(out, "h %s -> %s\n", archive_entry_pathname(e), archive_entry_hardlink(e));
		return;
	}
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (letters[i].type == archive_entry_filetype(e))
			letter = letters[i].letter;
	fprintf(out, "%s %04o %lld:%lld %s", letter, archive_entry_perm(e), (long long)archive_entry_uid(e),
		(long long)archive_entry_gid(e), archive_entry_pathname(e));
	if (*letter == 'l')
		fprintf(out, " -> %s", archive_entry_symlink(e));
	if (*letter == 'c' || *letter == 'b')
		fprintf(out, " (%u,%u)", (unsigned)archive_entry_rdevmajor(e), (unsigned)archive_entry_rdevminor(e));
	if (*letter == 'f')
		list_content(out, a, e);
	if (archive_entry_mtime(e))
		fprintf(out, " @%lld", (long long)archive_entry_mtime(e));
	(void)archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
		fprintf(out, " {%s=%.*s}", name, (int)size, (const char *)value);
	fputc('\n', out);
}

char *tar_list(const void *tar, size_t size)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char *text = NULL;
	size_t text_size;
	FILE *out = open_memstream(&text, &text_size);
	int r;

	(void)archive_read_support_format_tar(a);
	(void)archive_read_support_format_empty(a);
	assert_int_equal(archive_read_open_memory(a, tar, size), ARCHIVE_OK);
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN)
		list_entry(out, a, e);
	assert_int_equal(r, ARCHIVE_EOF);
	(void)archive_read_free(a);
	assert_int_equal(fclose(out), 0);
	return text;
}
