/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that images share (I05), and those that they must not: what a layer takes from its base stays with that base. Runs tar2sqfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
#include "image/image.h"
#include "image/layer_name.h"
#include "image/lower.h"
#include "tar_maker.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define LAYERS_MAX 3

static char top[64], layout[80];
static struct home home = HOME_NULL;

static int set_up(void **state)
{
	struct failure f;

	(void)snprintf(top, sizeof(top), "/tmp/a3s-store-XXXXXX");
	assert_non_null(mkdtemp(top));
	(void)snprintf(layout, sizeof(layout), "%s/layout", top);
	assert_int_equal(setenv("A3S_HOME", top, 1), 0);
	return home_open(&home, &f);
}

static int tear_down(void **state)
{
	home_close(&home);
	return io_remove_tree(top);
}

static void put_file(const char *name, const void *data, size_t size)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", layout, name);
	assert_int_equal(io_replace_file(path, data, size, 0600), 0);
}

static void put_blob(const void *data, size_t size, char ret_digest[static DIGEST_TEXT])
{
	char name[128];

	assert_int_equal(digest_of(data, size, ret_digest), 0);
	(void)snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(ret_digest));
	put_file(name, data, size);
}

static void ignore_line(void *context, const char *line)
{
}

/* A layout with one image of these layers, loaded. ret_id: room for DIGEST_TEXT. */
static void load(const struct tar_item *const *layers, char *ret_id)
{
	char diff_ids[LAYERS_MAX * 80] = "", blobs[LAYERS_MAX * 160] = "", digest[DIGEST_TEXT], text[2048];
	struct failure f = { 0 };
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/blobs/sha256", layout);
	assert_int_equal(io_make_dirs(path, 0700), 0);
	for (size_t i = 0; layers[i]; i++) {
		size_t size, n = strlen(diff_ids), m = strlen(blobs);
		_cleanup_free_ char *tar = tar_make(layers[i], &size);

		put_blob(tar, size, digest);
		(void)snprintf(diff_ids + n, sizeof(diff_ids) - n, "%s\"%s\"", i ? "," : "", digest);
		(void)snprintf(blobs + m, sizeof(blobs) - m, "%s{\"digest\":\"%s\",\"size\":%zu}", i ? "," : "", digest, size);
	}
	(void)snprintf(text, sizeof(text), "{\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}", diff_ids);
	put_blob(text, strlen(text), ret_id);
	(void)snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\"},\"layers\":[%s]}", ret_id, blobs);
	put_blob(text, strlen(text), digest);
	(void)snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\"}]}", digest);
	put_file("index.json", text, strlen(text));
	put_file("oci-layout", "{}", 2);
	if (image_load(&home, layout, NULL, ignore_line, NULL, &f) < 0)
		fail_msg("%s", f.text);
	assert_int_equal(io_remove_tree(layout), 0);
}

/* "mode uid [content]" of a path in an image. Caller frees. */
static char *look(const char *id, const char *path)
{
	char vmdk[4096], **files, *text = NULL;
	struct archive_entry *e = NULL;
	struct stream *s = NULL;
	struct failure f = { 0 };
	const void *block = "";
	ssize_t n = 0;

	assert_int_equal(image_disk(&home, id, vmdk, &files, &f), 0);
	struct lower lower = { .files = files + 1, .n = strv_length(files) - 1 };

	assert_int_equal(lower_find(&lower, path, &e, &f), 1);
	if (archive_entry_filetype(e) == S_IFREG) {
		assert_int_equal(lower_open(&lower, path, &s, &f), 0);
		n = s->read(s, &block, &f);
	}
	assert_true(asprintf(&text, "%o %lld %.*s", archive_entry_perm(e), (long long)archive_entry_uid(e), (int)n, (const char *)block) > 0);
	archive_entry_free(e);
	(void)stream_free(s);
	lower_deinit(&lower);
	(void)strv_free(files);
	return text;
}

static void expect(const char *id, const char *path, const char *is)
{
	_cleanup_free_ char *text = look(id, path);

	assert_string_equal(text, is);
}

static unsigned stored(void)
{
	char path[PATH_MAX];
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/images/layers", top);
	dir = opendir(path);
	assert_non_null(dir);
	for (const struct dirent *e; (e = readdir(dir));) {
		n += e->d_name[0] != '.';
		assert_true(e->d_name[0] == '.' || layer_name_is_valid(e->d_name));
	}
	closedir(dir);
	return n;
}

static void forget(const char *id)
{
	struct failure f = { 0 };

	if (image_remove(&home, id, true, NULL, ignore_line, NULL, &f) < 0)
		fail_msg("%s", f.text);
}

static const struct tar_item base_items[] = {
	{ .type = 'd', .path = "app/", .mode = 0700, .uid = 5 },
	{ .type = 'f', .path = "app/run", .text = "honest" },
	{ .path = NULL },
};
static const struct tar_item other_base_items[] = {
	{ .type = 'd', .path = "app/", .mode = 0777, .uid = 666 },
	{ .type = 'f', .path = "app/run", .text = "evil" },
	{ .path = NULL },
};
/* Both things that a layer may leave to what is beneath. */
static const struct tar_item linking_items[] = {
	{ .type = 'h', .path = "start", .text = "app/run" },
	{ .path = NULL },
};
static const struct tar_item adding_items[] = {
	{ .type = 'f', .path = "app/more", .text = "more" },
	{ .path = NULL },
};
/* Says everything but the root, as nearly all do. */
static const struct tar_item whole_items[] = {
	{ .type = 'd', .path = "etc/", .mode = 0755, .uid = 3 },
	{ .type = 'f', .path = "etc/name", .text = "whole" },
	{ .type = 'f', .path = ".wh.gone" },
	{ .path = NULL },
};

static void test_hard_link(void **state)
{
	const struct tar_item *const evil[] = { other_base_items, linking_items, NULL }, *const good[] = { base_items, linking_items, NULL };
	char evil_id[DIGEST_TEXT], good_id[DIGEST_TEXT];

	load(evil, evil_id);
	load(good, good_id);
	expect(evil_id, "start", "644 0 evil");
	expect(good_id, "start", "644 0 honest");
	assert_int_equal(stored(), 4);
	forget(evil_id);
	expect(good_id, "start", "644 0 honest");
	assert_int_equal(stored(), 2);
	forget(good_id);
	assert_int_equal(stored(), 0);
}

static void test_directory(void **state)
{
	const struct tar_item *const evil[] = { other_base_items, adding_items, NULL }, *const good[] = { base_items, adding_items, NULL };
	char evil_id[DIGEST_TEXT], good_id[DIGEST_TEXT];

	load(evil, evil_id);
	load(good, good_id);
	expect(evil_id, "app", "777 666 ");
	expect(good_id, "app", "700 5 ");
	forget(evil_id);
	forget(good_id);
}

/* The lowest layer's chain id is its diff id: that must not make it the file of the same layer on a base. */
static void test_alone_and_upon(void **state)
{
	const struct tar_item *const alone[] = { adding_items, NULL }, *const upon[] = { base_items, adding_items, NULL };
	char alone_id[DIGEST_TEXT], upon_id[DIGEST_TEXT];

	load(alone, alone_id);
	load(upon, upon_id);
	expect(alone_id, "app", "755 0 ");
	expect(upon_id, "app", "700 5 ");
	forget(alone_id);
	forget(upon_id);
}

static void test_stored_once(void **state)
{
	const struct tar_item *const one[] = { base_items, whole_items, NULL }, *const two[] = { other_base_items, whole_items, NULL };
	const struct tar_item *const three[] = { base_items, linking_items, NULL };
	const struct tar_item *const four[] = { base_items, linking_items, whole_items, NULL };
	char ids[4][DIGEST_TEXT];

	load(one, ids[0]);
	load(two, ids[1]);
	assert_int_equal(stored(), 3); /* another base beneath */
	load(three, ids[2]);
	load(four, ids[3]);
	assert_int_equal(stored(), 4); /* the same base beneath */
	expect(ids[3], "start", "644 0 honest");
	expect(ids[3], "etc/name", "644 0 whole");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		forget(ids[i]);
	assert_int_equal(stored(), 0);
}

/* OCI image-spec, config.md, "Layer ChainID". */
static void test_names(void **state)
{
	static const char a[] = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct layer_name name = { 0 };

	assert_int_equal(layer_name_next(&name, a), 0);
	assert_string_equal(name.chain_id, a);
	assert_string_not_equal(name.chain, name.alone);
	assert_int_equal(layer_name_next(&name, a), 0);
	/* sha256 of "<a> <a>" */
	assert_string_equal(name.chain_id, "sha256:9d2cc34dc7dc748dba0ed439e6987c2f2c39ec504fa0c1527531d9bc7d0f1052");
	assert_false(layer_name_is_valid("x.squashfs"));
	assert_false(layer_name_is_valid(""));
	assert_false(layer_name_is_valid(a + 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hard_link),   cmocka_unit_test(test_directory), cmocka_unit_test(test_alone_and_upon),
		cmocka_unit_test(test_stored_once), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
