/* SPDX-License-Identifier: Apache-2.0 */
/* From blob to squashfs: what arrives in it (I03), what is refused without a trace (I04). Runs tar2sqfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "image/layer.h"
#include "image/lower.h"
#include "tar_maker.h"

#include <cmocka.h> /* last: its fail() is a macro */

static char top[64], blobs[80], work[80];

static int set_up(void **state)
{
	(void)snprintf(top, sizeof(top), "/tmp/a3s-layer-XXXXXX");
	assert_non_null(mkdtemp(top));
	(void)snprintf(blobs, sizeof(blobs), "%s/blobs", top);
	(void)snprintf(work, sizeof(work), "%s/work", top);
	return mkdir(blobs, 0700) | mkdir(work, 0700);
}

static int tear_down(void **state)
{
	return io_remove_tree(top);
}

static void put_blob(const char *name, const void *data, size_t size)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", blobs, name);
	assert_int_equal(io_replace_file(path, data, size, 0600), 0);
}

/* Caller frees. */
static char *pack(const void *data, size_t size, int filter, size_t *ret_size)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	size_t room = size + 65536;
	char *packed = malloc(room);

	assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(a, packed, room, ret_size), ARCHIVE_OK);
	archive_entry_set_filetype(e, S_IFREG);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, data, size), size);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_entry_free(e);
	(void)archive_write_free(a);
	return packed;
}

/* How many names `work` has. */
static unsigned leftovers(void)
{
	DIR *dir = opendir(work);
	unsigned n = 0;

	assert_non_null(dir);
	for (const struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* work/<name> from the blob of the same name. */
static int convert(const char *name, const struct layer_source *promised, char *const *lower, struct layer_result *ret,
		   struct failure *f)
{
	struct container *c = container_from_directory(blobs, f);
	struct layer_source source = promised ? *promised : (struct layer_source){ .size = -1 };
	char path[PATH_MAX];
	int r;

	assert_non_null(c);
	source.container = c;
	source.blob = source.label = name;
	source.lower = lower;
	source.n_lower = strv_length(lower);
	(void)snprintf(path, sizeof(path), "%s/%s", work, name);
	r = layer_convert(&source, work, path, NULL, ret, f);
	(void)container_free(c);
	return r;
}

/* "mode uid:gid mtime [size content] [-> target] {xattrs}" of a path in a stack of layers; "-" when there is none. Caller frees. */
static char *describe(struct lower *lower, const char *path)
{
	struct archive_entry *e = NULL;
	struct failure f = { 0 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r = lower_find(lower, path, &e, &f);
	const char *name;
	const void *value;

	if (r < 0)
		fail_msg("%s", f.text);
	if (r == 0)
		fputc('-', out);
	if (e) {
		fprintf(out, "%06o %lld:%lld %lld", archive_entry_mode(e), (long long)archive_entry_uid(e), (long long)archive_entry_gid(e),
			(long long)archive_entry_mtime(e));
		if (archive_entry_symlink(e))
			fprintf(out, " -> %s", archive_entry_symlink(e));
		if (archive_entry_filetype(e) == S_IFCHR)
			fprintf(out, " (%u,%u)", (unsigned)archive_entry_rdevmajor(e), (unsigned)archive_entry_rdevminor(e));
		(void)archive_entry_xattr_reset(e);
		while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
			fprintf(out, " {%s=%.*s}", name, (int)size, (const char *)value);
	}
	if (e && archive_entry_filetype(e) == S_IFREG) {
		struct stream *s = NULL;
		ssize_t n;

		assert_int_equal(lower_open(lower, path, &s, &f), 0);
		n = s->read(s, &value, &f);
		fprintf(out, " %lld %.*s", (long long)archive_entry_size(e), n < 40 ? (int)n : 0, (const char *)value);
		(void)stream_free(s);
	}
	archive_entry_free(e);
	assert_int_equal(fclose(out), 0);
	return text;
}

struct expectation {
	const char *path, *is;
};

static void expect(char *const *files, const struct expectation *expected, size_t n)
{
	struct lower lower = { .files = files, .n = strv_length(files) };

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *is = describe(&lower, expected[i].path);

		if (strcmp(is, expected[i].is) != 0)
			fail_msg("%s: %s", expected[i].path, is);
	}
	lower_deinit(&lower);
}

static const struct tar_item first_items[] = {
	{ 'd', "./", NULL, 0755, 1, 1, 5, NULL, 0 },
	{ 'd', "etc/", NULL, 02755, 70000, 4000000000, 1700000000, NULL, 0 },
	{ 'f', "etc/a", "lower a", 04755, 3, 4, 6, "security.capability=\1\2cap", 0 },
	{ 'd', "gone/", NULL, 0755, 0, 0, 0, NULL, 0 },
	{ 'f', "gone/x", "x", 0644, 0, 0, 0, NULL, 0 },
	{ 'd', "opaque/", NULL, 0755, 0, 0, 0, NULL, 0 },
	{ 'f', "opaque/x", "x", 0644, 0, 0, 0, NULL, 0 },
	{ 'l', "link", "etc", 0777, 0, 0, 0, NULL, 0 },
	{ 'c', "null", "1,3", 0666, 0, 0, 0, NULL, 0 },
	{ 'f', "holes", "end", 0600, 0, 0, 0, NULL, 50 << 20 },
	{ .path = NULL },
};

static const struct tar_item second_items[] = {
	{ .type = 'f', .path = "etc/b", .text = "upper b" },
	{ .type = 'h', .path = "etc/c", .text = "etc/a" },
	{ .type = 'h', .path = "dev0", .text = "null" },
	{ .type = 'f', .path = ".wh.gone" },
	{ .type = 'f', .path = "opaque/.wh..wh..opq" },
	{ .type = 'f', .path = "opaque/y", .text = "y" },
	{ .path = NULL },
};

static const struct expectation first_is[] = {
	{ "", "040755 1:1 5" },
	{ "etc", "042755 70000:4000000000 1700000000" },
	{ "etc/a", "104755 3:4 6 {security.capability=\1\2cap} 7 lower a" },
	{ "etc/b", "-" },
	{ "link", "120777 0:0 0 -> etc" },
	{ "link/a", "-" },
	{ "null", "020666 0:0 0 (1,3)" },
	{ "holes", "100600 0:0 0 52428800 " },
};

static const struct expectation both_are[] = {
	{ "", "040755 0:0 0" },
	{ "etc", "042755 70000:4000000000 1700000000" },
	{ "etc/a", "104755 3:4 6 {security.capability=\1\2cap} 7 lower a" },
	{ "etc/b", "100644 0:0 0 7 upper b" },
	{ "./etc//c", "104755 3:4 6 {security.capability=\1\2cap} 7 lower a" },
	{ "dev0", "020666 0:0 0 (1,3)" },
	{ "gone", "-" },
	{ "gone/x", "-" },
	{ "opaque/x", "-" },
	{ "opaque/y", "100644 0:0 0 1 y" },
	{ "opaque", "040755 0:0 0 {trusted.overlay.opaque=y}" },
};

static void make_layer(const char *name, const struct tar_item *items, int filter, char *const *lower)
{
	size_t size, packed_size;
	_cleanup_free_ char *tar = tar_make(items, &size);
	_cleanup_free_ char *packed = pack(tar, size, filter, &packed_size);
	char promised[DIGEST_TEXT], content[DIGEST_TEXT];
	struct layer_result found;
	const struct layer_source source = { .digest = promised, .diff_id = content, .size = (int64_t)packed_size };
	struct failure f = { 0 };

	assert_int_equal(digest_of(packed, packed_size, promised), 0);
	assert_int_equal(digest_of(tar, size, content), 0);
	put_blob(name, packed, packed_size);
	if (convert(name, &source, lower, &found, &f) < 0)
		fail_msg("%s", f.text);
	assert_string_equal(found.diff_id, content);
	assert_int_equal(found.asked_lower, lower != NULL);
}

static void test_two_layers(void **state)
{
	static const int filters[] = { ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD };

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		char lower[PATH_MAX], upper[PATH_MAX];
		char *files[] = { lower, NULL, NULL };
		struct stat st;

		(void)snprintf(lower, sizeof(lower), "%s/first", work);
		(void)snprintf(upper, sizeof(upper), "%s/second", work);
		make_layer("first", first_items, filters[i], NULL);
		expect(files, first_is, ARRAY_SIZE(first_is));
		make_layer("second", second_items, filters[i], files);
		files[1] = upper;
		expect(files, both_are, ARRAY_SIZE(both_are));
		assert_int_equal(stat(lower, &st), 0);
		assert_true(st.st_size < 1 << 20 && st.st_size % 4096 == 0); /* holes take no room */
		assert_int_equal(leftovers(), 2);
		assert_int_equal(unlink(lower) | unlink(upper), 0);
	}
}

static void test_equal_layers(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	char path[PATH_MAX];
	size_t a_size, b_size;

	(void)snprintf(path, sizeof(path), "%s/first", work);
	make_layer("first", first_items, ARCHIVE_FILTER_GZIP, NULL);
	assert_int_equal(io_read_file(path, 1 << 20, &a, &a_size), 0);
	make_layer("first", first_items, ARCHIVE_FILTER_NONE, NULL);
	assert_int_equal(io_read_file(path, 1 << 20, &b, &b_size), 0);
	assert_int_equal(a_size, b_size);
	assert_memory_equal(a, b, a_size);
	assert_int_equal(unlink(path), 0);
}

/* The blob is refused, the sentence says why, nothing stays. */
static void refuse(const void *blob, size_t size, const struct layer_source *promised, const char *says)
{
	struct layer_result found;
	struct failure f = { 0 };

	put_blob("bad", blob, size);
	if (convert("bad", promised, NULL, &found, &f) == 0)
		fail_msg("accepted, not: %s", says);
	if (!strstr(f.text, says) || !text_starts(f.text, "layer bad: "))
		fail_msg("\"%s\" instead of \"%s\"", f.text, says);
	assert_int_equal(leftovers(), 0);
}

#define ZEROS "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static void test_damaged(void **state)
{
	const struct layer_source none = { .size = -1 }, digest = { .size = -1, .digest = ZEROS }, content = { .size = -1, .diff_id = ZEROS },
				  small = { .size = 3 };
	size_t size, packed_size;
	_cleanup_free_ char *tar = tar_make(first_items + 1, &size);
	_cleanup_free_ char *packed = pack(tar, size, ARCHIVE_FILTER_GZIP, &packed_size);
	_cleanup_free_ char *zstd = NULL;
	size_t zstd_size;

	refuse(packed, packed_size, &digest, "digest mismatch: expected sha256:00");
	refuse(packed, packed_size, &content, "content digest mismatch: expected sha256:00");
	refuse(packed, packed_size, &small, "size mismatch: expected 3 bytes, found");
	refuse(packed, packed_size / 2, &none, "truncated gzip input");
	refuse(packed, packed_size / 2, &digest, "digest mismatch");
	refuse(tar, 700, &none, "runcated");
	refuse("hello world, this is no tar", 27, &none, "nrecognized archive format");
	packed[packed_size / 2] ^= 0x55;
	refuse(packed, packed_size, &digest, "digest mismatch");
	zstd = pack(tar, size, ARCHIVE_FILTER_ZSTD, &zstd_size);
	refuse(zstd, zstd_size - 9, &none, "runcated zstd input");
}

static void test_bombs(void **state)
{
	const struct layer_source none = { .size = -1 };
	size_t size = 8 << 20, packed_size;
	_cleanup_free_ char *zeros = calloc(1, size);
	_cleanup_free_ char *packed = pack(zeros, size, ARCHIVE_FILTER_GZIP, &packed_size);

	assert_int_equal(setenv("A3S_IMAGE_MAX_LAYER", "1m", 1), 0);
	refuse(packed, packed_size, &none, "unpacks to more than 1048576 bytes (A3S_IMAGE_MAX_LAYER)");
	assert_int_equal(unsetenv("A3S_IMAGE_MAX_LAYER"), 0);
}

static void test_no_packer(void **state)
{
	_cleanup_free_ char *path = strdup(getenv("PATH"));
	const struct layer_source none = { .size = -1 };
	size_t size;
	_cleanup_free_ char *tar = tar_make(second_items + 4, &size);

	assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
	refuse(tar, size, &none, "tar2sqfs is missing: install squashfs-tools-ng");
	assert_int_equal(setenv("PATH", path, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_layers), cmocka_unit_test(test_equal_layers), cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_bombs),	   cmocka_unit_test(test_no_packer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
