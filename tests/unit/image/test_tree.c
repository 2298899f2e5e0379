/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer's tar means (I03), and what is refused (I04). No process, no file but a memfd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "image/tree.h"
#include "tar_maker.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define LONG_100 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiijjjjjjjjjj"
#define LONG_200 LONG_100 LONG_100
#define LONG_256 LONG_200 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"

/* What lies beneath in these tests: directory `low` (0700, 5:6, mtime 7) and file `low/f` with a capability. */
static int find_low(void *context, const char *path, struct archive_entry **ret, struct failure *f)
{
	bool dir = strcmp(path, "low") == 0;

	if (!dir && strcmp(path, "low/f") != 0)
		return 0;
	*ret = archive_entry_new();
	archive_entry_set_filetype(*ret, dir ? S_IFDIR : S_IFREG);
	archive_entry_set_perm(*ret, dir ? 0700 : 04711);
	archive_entry_set_uid(*ret, 5);
	archive_entry_set_gid(*ret, 6);
	archive_entry_set_mtime(*ret, 7, 0);
	if (!dir) {
		archive_entry_set_size(*ret, 5);
		archive_entry_xattr_add_entry(*ret, "security.capability", "cap", 3);
	}
	return 1;
}

static int open_low(void *context, const char *path, struct stream **ret, struct failure *f)
{
	*ret = stream_from_memory("lower", 5);
	return *ret ? 0 : fail_errno(f, EXIT_FAILED, ENOMEM, "lower");
}

static const struct tree_limits wide = { .entries = 1000, .bytes = 1 << 30, .ratio = 100 };

/* The root is always written; as nobody named it, it says nothing. */
static void drop_default_root(char *text)
{
	static const char root[] = "d 0755 0:0 ./\n";
	char *line = strstr(text, root);

	if (line)
		memmove(line, line + strlen(root), strlen(line + strlen(root)) + 1);
}

static int write_to_memory(struct layer_tree *tree, const void *tar, size_t size, char **ret_text, struct failure *f)
{
	const struct tree_lower lower = { .find = find_low, .open = open_low };
	_cleanup_stream_ struct stream *s = stream_from_memory(tar, size);
	_cleanup_close_ int fd = memfd_create("clean", MFD_CLOEXEC);
	off_t n;
	void *map;
	int r = tree_write(tree, s, &lower, fd, f);

	if (r < 0)
		return r;
	n = lseek(fd, 0, SEEK_END);
	map = mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	*ret_text = tar_list(map, (size_t)n);
	drop_default_root(*ret_text);
	(void)munmap(map, (size_t)n);
	return 0;
}

static int clean(const struct tar_item *items, const struct tree_limits *limits, char **ret_text, struct failure *f)
{
	size_t size;
	_cleanup_free_ char *tar = tar_make(items, &size);
	_cleanup_stream_ struct stream *s = stream_from_memory(tar, size);
	struct layer_tree *tree = tree_new(limits);
	int r = tree_read(tree, s, f);

	*ret_text = NULL;
	if (r == 0)
		r = write_to_memory(tree, tar, size, ret_text, f);
	(void)tree_free(tree);
	return r;
}

/* Exactly one of `becomes` and `refused` is set. */
struct tree_case {
	const char *name;
	struct tar_item items[8];
	const char *becomes, *refused;
};

static const struct tree_case kept[] = {
	{ "nothing", { { 0 } }, "", NULL },
	{ "types, modes, owners, times",
	  { { 'd', "./", NULL, 01777, 1, 2, 99, NULL, 0 },
	    { 'd', "d/", NULL, 02750, 70000, 4000000000, 0, NULL, 0 },
	    { 'f', "d/su", "x", 06755, 0, 0, 0, NULL, 0 },
	    { 'c', "d/null", "1,3", 0666, 0, 0, 0, NULL, 0 },
	    { 'b', "d/disk", "254,300", 0660, 0, 6, 0, NULL, 0 },
	    { 'p', "d/pipe", NULL, 0600, 0, 0, 0, NULL, 0 },
	    { 'l', "d/link", "/absolute/../target", 0777, 0, 0, 0, NULL, 0 } },
	  "d 1777 1:2 ./ @99\nd 2750 70000:4000000000 d/\nf 6755 0:0 d/su = x\nc 0666 0:0 d/null (1,3)\nb 0660 0:6 d/disk (254,300)\n"
	  "p 0600 0:0 d/pipe\nl 0777 0:0 d/link -> /absolute/../target\n",
	  NULL },
	{ "names are relative to the root",
	  { { .type = 'f', .path = "/etc/a", .text = "1" }, { .type = 'f', .path = ".//./etc///b", .text = "2" } },
	  "f 0644 0:0 etc/a = 1\nf 0644 0:0 etc/b = 2\nd 0755 0:0 etc/\n",
	  NULL },
	{ "dots that are no components",
	  { { .type = 'f', .path = "..a/b../...", .text = "1" } },
	  "f 0644 0:0 ..a/b../... = 1\nd 0755 0:0 ..a/\nd 0755 0:0 ..a/b../\n",
	  NULL },
	{ "long names",
	  { { .type = 'f', .path = "d/" LONG_200 "/" LONG_200, .text = "1" }, { .type = 'h', .path = "h", .text = "d/" LONG_200 "/" LONG_200 } },
	  "f 0644 0:0 d/" LONG_200 "/" LONG_200 " = 1\nh h -> d/" LONG_200 "/" LONG_200 "\nd 0755 0:0 d/\nd 0755 0:0 d/" LONG_200 "/\n",
	  NULL },
	{ "odd names",
	  { { .type = 'f', .path = "a\\x2db", .text = "1" },
	    { .type = 'f', .path = "a\nb \"c", .text = "2" },
	    { .type = 'f', .path = "\xc3\xa9\xe2\x82\xac", .text = "3" } },
	  "f 0644 0:0 a\\x2db = 1\nf 0644 0:0 a\nb \"c = 2\nf 0644 0:0 \xc3\xa9\xe2\x82\xac = 3\n",
	  NULL },
	{ "extended attributes",
	  { { .type = 'f', .path = "a", .text = "1", .xattr = "security.capability=\1\2" },
	    { .type = 'f', .path = "b", .text = "2", .xattr = "user.x=y" },
	    { .type = 'd', .path = "c", .xattr = "trusted.overlay.redirect=/etc" },
	    { .type = 'd', .path = "d", .xattr = "trusted.overlay.opaque=y" },
	    { .type = 'f', .path = "e", .text = "3", .xattr = "system.posix_acl_access=zz" } },
	  "f 0644 0:0 a = 1 {security.capability=\1\2}\nf 0644 0:0 b = 2 {user.x=y}\nd 0755 0:0 c/\nd 0755 0:0 d/\nf 0644 0:0 e = 3\n",
	  NULL },
	{ "holes", { { .type = 'f', .path = "a", .text = "end", .sparse_size = 300000 } }, "f 0644 0:0 a = 300000 bytes\n", NULL },
};

static const struct tree_case changed[] = {
	{ "the last of two counts",
	  { { .type = 'f', .path = "a", .text = "1" }, { .type = 'f', .path = "b", .text = "2" }, { .type = 'f', .path = "./a", .text = "3" } },
	  "f 0644 0:0 b = 2\nf 0644 0:0 a = 3\n",
	  NULL },
	{ "directories merge",
	  { { .type = 'd', .path = "d", .mode = 0700 }, { .type = 'f', .path = "d/a", .text = "1" }, { .type = 'd', .path = "d", .mode = 0711 } },
	  "f 0644 0:0 d/a = 1\nd 0711 0:0 d/\n",
	  NULL },
	{ "a file replaces a directory and all in it",
	  { { .type = 'd', .path = "d" }, { .type = 'f', .path = "d/e/a", .text = "1" }, { .type = 'f', .path = "d", .text = "2" } },
	  "f 0644 0:0 d = 2\n",
	  NULL },
	{ "a directory replaces a link",
	  { { .type = 'l', .path = "d", .text = "/etc" }, { .type = 'd', .path = "d" }, { .type = 'f', .path = "d/a", .text = "1" } },
	  "d 0755 0:0 d/\nf 0644 0:0 d/a = 1\n",
	  NULL },
	{ "a path through links stays in the tree",
	  { { .type = 'd', .path = "usr/lib" }, { .type = 'l', .path = "lib", .text = "usr/lib" }, { .type = 'f', .path = "lib/a", .text = "1" },
	    { .type = 'l', .path = "x", .text = "/usr/../lib" }, { .type = 'f', .path = "x/b", .text = "2" } },
	  "d 0755 0:0 usr/lib/\nl 0644 0:0 lib -> usr/lib\nf 0644 0:0 usr/lib/a = 1\nl 0644 0:0 x -> /usr/../lib\nf 0644 0:0 usr/lib/b = 2\n"
	  "d 0755 0:0 usr/\n",
	  NULL },
	{ "hard links",
	  { { .type = 'f', .path = "a", .text = "1" }, { .type = 'h', .path = "b", .text = "./a" }, { .type = 'h', .path = "d/c", .text = "b" } },
	  "f 0644 0:0 a = 1\nh b -> a\nh d/c -> a\nd 0755 0:0 d/\n",
	  NULL },
	{ "a hard link keeps what its target was",
	  { { .type = 'f', .path = "a", .text = "1" }, { .type = 'h', .path = "b", .text = "a" }, { .type = 'f', .path = "a", .text = "2" } },
	  "f 0644 0:0 b = 1\nf 0644 0:0 a = 2\n",
	  NULL },
	{ "a hard link to itself", { { .type = 'f', .path = "a", .text = "1" }, { .type = 'h', .path = "a", .text = "a" } }, "f 0644 0:0 a = 1\n", NULL },
	{ "a hard link to a link",
	  { { .type = 'l', .path = "a", .text = "/x" }, { .type = 'h', .path = "b", .text = "a" } },
	  "l 0644 0:0 a -> /x\nh b -> a\n",
	  NULL },
	{ "a hard link to what only a lower layer has",
	  { { .type = 'h', .path = "b", .text = "low/f" }, { .type = 'h', .path = "c", .text = "b" } },
	  "f 4711 5:6 b = lower @7 {security.capability=cap}\nh c -> b\n",
	  NULL },
	{ "a directory nobody names is as it was beneath", { { .type = 'f', .path = "low/x", .text = "1" } }, "f 0644 0:0 low/x = 1\nd 0700 5:6 low/ @7\n", NULL },
};

static const struct tree_case whiteouts[] = {
	{ "whiteout", { { .type = 'f', .path = "d/.wh.a" } }, "d 0755 0:0 d/\nc 0000 0:0 d/a (0,0)\n", NULL },
	{ "opaque after the fact",
	  { { .type = 'd', .path = "d", .mode = 0700 }, { .type = 'f', .path = "d/a", .text = "1" }, { .type = 'f', .path = "d/.wh..wh..opq" } },
	  "d 0700 0:0 d/ {trusted.overlay.opaque=y}\nf 0644 0:0 d/a = 1\n",
	  NULL },
	{ "opaque without an entry for the directory",
	  { { .type = 'f', .path = "low/.wh..wh..opq" } },
	  "d 0700 5:6 low/ @7 {trusted.overlay.opaque=y}\n",
	  NULL },
	{ "whiteout and file: the file hides the lower one",
	  { { .type = 'f', .path = "a", .text = "1" }, { .type = 'f', .path = ".wh.a" } },
	  "f 0644 0:0 a = 1\n",
	  NULL },
	{ "whiteout and directory: it is new",
	  { { .type = 'f', .path = ".wh.d" }, { .type = 'd', .path = "d" }, { .type = 'f', .path = "d/a", .text = "1" } },
	  "d 0755 0:0 d/ {trusted.overlay.opaque=y}\nf 0644 0:0 d/a = 1\n",
	  NULL },
	{ "in aufs's own", { { .type = 'd', .path = "./.wh..wh.plnk/" }, { .type = 'f', .path = "./.wh..wh.plnk/1.2", .text = "1" } }, "", NULL },
	{ "aufs's own", { { .type = 'f', .path = ".wh..wh.plnk" }, { .type = 'f', .path = ".wh..wh.orph" } }, "", NULL },
	{ "twice", { { .type = 'f', .path = ".wh.a" }, { .type = 'f', .path = ".wh.a" } }, "c 0000 0:0 a (0,0)\n", NULL },
	{ "a name that only looks like one", { { .type = 'f', .path = "a.wh.b", .text = "1" } }, "f 0644 0:0 a.wh.b = 1\n", NULL },
};

static const struct tree_case refused[] = {
	{ "..", { { .type = 'f', .path = "../a", .text = "1" } }, NULL, "\"../a\" leads out of the image" },
	{ "inner ..", { { .type = 'f', .path = "a/b/../../../c", .text = "1" } }, NULL, "leads out of the image" },
	{ "harmless ..", { { .type = 'f', .path = "a/../b", .text = "1" } }, NULL, "leads out of the image" },
	{ "trailing ..", { { .type = 'd', .path = "a/.." } }, NULL, "leads out of the image" },
	{ "absolute and ..", { { .type = 'f', .path = "/../etc/passwd", .text = "1" } }, NULL, "leads out of the image" },
	{ "through a link out of the tree",
	  { { .type = 'l', .path = "x", .text = "../../etc" }, { .type = 'f', .path = "x/passwd", .text = "1" } },
	  NULL, "\"x/passwd\" goes through a link that leads out of the image" },
	{ "through a link in a directory",
	  { { .type = 'l', .path = "d/x", .text = "../../etc" }, { .type = 'f', .path = "d/x/passwd", .text = "1" } },
	  NULL, "leads out of the image" },
	{ "links in a circle",
	  { { .type = 'l', .path = "a", .text = "b" }, { .type = 'l', .path = "b", .text = "a" }, { .type = 'f', .path = "a/x", .text = "1" } },
	  NULL, "too many symbolic links" },
	{ "link to itself", { { .type = 'l', .path = "a", .text = "a/a" }, { .type = 'f', .path = "a/x", .text = "1" } }, NULL, "too many symbolic links" },
	{ "absolute hard link", { { .type = 'h', .path = "a", .text = "/etc/shadow" } }, NULL, "\"a\" is a hard link out of the image, to \"/etc/shadow\"" },
	{ "hard link with ..", { { .type = 'h', .path = "a", .text = "../../etc/shadow" } }, NULL, "hard link out of the image" },
	{ "hard link through a link",
	  { { .type = 'l', .path = "x", .text = "../.." }, { .type = 'h', .path = "a", .text = "x/etc/shadow" } },
	  NULL, "leads out of the image" },
	{ "hard link to nothing", { { .type = 'h', .path = "a", .text = "b" } }, NULL, "hard link to \"b\", which is no file of the image" },
	{ "hard link to a directory", { { .type = 'd', .path = "d" }, { .type = 'h', .path = "a", .text = "d" } }, NULL, "hard link to a directory" },
	{ "hard link to a lower directory", { { .type = 'h', .path = "a", .text = "low" } }, NULL, "no file of the image" },
	{ "hard link to the root", { { .type = 'h', .path = "a", .text = "./" } }, NULL, "no file of the image" },
	{ "below a file", { { .type = 'f', .path = "a", .text = "1" }, { .type = 'f', .path = "a/b", .text = "2" } }, NULL, "not a directory" },
	{ "root is no file", { { .type = 'f', .path = ".", .text = "1" } }, NULL, "replaces the root directory" },
	{ "root is no link", { { .type = 'l', .path = ".", .text = "/etc" } }, NULL, "replaces the root directory" },
	{ "whiteout of nothing", { { .type = 'f', .path = ".wh." } }, NULL, "no valid whiteout" },
	{ "whiteout of ..", { { .type = 'f', .path = "d/.wh..." } }, NULL, "no valid whiteout" },
	{ "below a whiteout", { { .type = 'f', .path = ".wh.d/a", .text = "1" } }, NULL, "lies below a whiteout" },
	{ "below a whiteout through a link",
	  { { .type = 'l', .path = "l", .text = ".wh.d" }, { .type = 'f', .path = "l/a", .text = "1" } },
	  NULL, "lies below a whiteout" },
	{ "too long a name", { { .type = 'f', .path = LONG_256, .text = "1" } }, NULL, "longer than 255" },
};

static void check(const struct tree_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct failure f = { 0 };
		_cleanup_free_ char *text = NULL;
		int r = clean(cases[i].items, &wide, &text, &f);

		if (cases[i].refused) {
			if (r == 0 || !strstr(f.text, cases[i].refused))
				fail_msg("%s: %s", cases[i].name, r == 0 ? text : f.text);
			continue;
		}
		if (r < 0)
			fail_msg("%s: %s", cases[i].name, f.text);
		if (strcmp(text, cases[i].becomes) != 0)
			fail_msg("%s: got\n%s", cases[i].name, text);
	}
}

static void test_kept(void **state)
{
	check(kept, ARRAY_SIZE(kept));
}

static void test_changed(void **state)
{
	check(changed, ARRAY_SIZE(changed));
}

static void test_whiteouts(void **state)
{
	check(whiteouts, ARRAY_SIZE(whiteouts));
}

static void test_refused(void **state)
{
	check(refused, ARRAY_SIZE(refused));
}

static void test_limits(void **state)
{
	static const struct tar_item three[] = { { .type = 'f', .path = "a", .text = "1" },
						 { .type = 'f', .path = "b", .text = "1" },
						 { .type = 'f', .path = "a", .text = "1" },
						 { 0 } };
	static const struct tar_item huge[] = { { .type = 'f', .path = "a", .text = "end", .sparse_size = 2 << 20 }, { 0 } };
	struct tree_limits narrow = { .entries = 2, .bytes = 1 << 20, .ratio = 10 };
	_cleanup_free_ char *text = NULL;
	struct failure f = { 0 };

	assert_int_equal(clean(three, &narrow, &text, &f), -1);
	assert_non_null(strstr(f.text, "more than 2 entries"));
	narrow.entries = 3;
	assert_int_equal(clean(three, &narrow, &text, &f), 0);
	free(take_ptr(text));
	assert_int_equal(clean(huge, &narrow, &text, &f), -1);
	assert_non_null(strstr(f.text, "larger than 1048576 bytes"));
}

/* Directories through links may go as deep as they like in a tar, but not in the tree. */
static void test_depth(void **state)
{
	struct tar_item items[40] = { { 0 } };
	char paths[40][600], deep[512];
	_cleanup_free_ char *text = NULL;
	struct failure f = { 0 };

	memset(deep, 0, sizeof(deep));
	for (int i = 0; i < 20; i++)
		memcpy(deep + 2 * i, "d/", 2);
	for (int i = 0; i < 38; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "%s%s%s", i > 0 ? "l" : "", i > 0 ? "/" : "", deep);
		items[i] = (struct tar_item){ .type = 'd', .path = paths[i] };
		if (i % 2 == 1) {
			(void)snprintf(paths[i], sizeof(paths[i]), "%s", "l");
			items[i] = (struct tar_item){ .type = 'l', .path = paths[i], .text = i == 1 ? deep : paths[39] };
		}
	}
	items[2].path = "l/x";
	assert_int_equal(clean(items, &wide, &text, &f), 0);
	free(take_ptr(text));
	memset(paths[0], 0, sizeof(paths[0]));
	for (int i = 0; i < 260; i++)
		memcpy(paths[0] + 2 * i, "d/", 2);
	items[0] = (struct tar_item){ .type = 'd', .path = paths[0] };
	items[1] = (struct tar_item){ 0 };
	assert_int_equal(clean(items, &wide, &text, &f), -1);
	assert_non_null(strstr(f.text, "too deep"));
}

static void test_truncated(void **state)
{
	static const struct tar_item items[] = { { .type = 'f', .path = "a", .text = "0123456789" }, { 0 } };
	size_t size;
	_cleanup_free_ char *tar = tar_make(items, &size);

	for (size_t cut = 0; cut < size; cut += 37) {
		_cleanup_stream_ struct stream *s = stream_from_memory(tar, cut);
		struct layer_tree *tree = tree_new(&wide);
		struct failure f = { 0 };
		int r = tree_read(tree, s, &f);

		/* a tar may end without its end marker, but not inside an entry */
		assert_true(r == 0 || f.code == EXIT_FAILED);
		if (cut > 512 && cut < 1536 && cut % 512 != 0)
			assert_int_equal(r, -1);
		(void)tree_free(tree);
	}
}

static void test_limit_variables(void **state)
{
	struct tree_limits limits;
	struct failure f = { 0 };

	assert_int_equal(tree_limits_read(&limits, &f), 0);
	assert_int_equal(limits.bytes, 64ll << 30);
	setenv("A3S_IMAGE_MAX_LAYER", "1g", 1);
	assert_int_equal(tree_limits_read(&limits, &f), 0);
	assert_int_equal(limits.bytes, 1 << 30);
	setenv("A3S_IMAGE_MAX_LAYER", "many", 1);
	assert_int_equal(tree_limits_read(&limits, &f), -1);
	assert_int_equal(f.code, EXIT_USAGE);
	unsetenv("A3S_IMAGE_MAX_LAYER");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),	  cmocka_unit_test(test_changed), cmocka_unit_test(test_whiteouts),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_limits),  cmocka_unit_test(test_depth),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_limit_variables),
	};

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
