/* SPDX-License-Identifier: Apache-2.0 */
/* C04: a reader finds every line across rotations, and the last ones quickly. */
#include "cli/log_reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "test.h"

static char id[BOX_ID_LENGTH + 1], log_path[PATH_MAX];
static struct home home;
static struct log_reader reader;
static struct failure f;

static int set_up(void **state)
{
	char path[PATH_MAX] = "/tmp/a3s-logs-XXXXXX";

	assert_non_null(mkdtemp(path));
	snprintf(home.path, sizeof(home.path), "%s", path);
	text_random_id(id);
	assert_int_equal(box_path(&home, id, "", path), 0);
	assert_int_equal(io_make_dirs(path, 0700), 0);
	return box_path(&home, id, "log.json", log_path);
}

static int tear_down(void **state)
{
	log_reader_deinit(&reader);
	return io_remove_tree(home.path);
}

static void add(const char *text)
{
	FILE *out = fopen(log_path, "a");

	fprintf(out, "%s", text);
	fclose(out);
}

static void add_line(int n)
{
	char line[200];

	snprintf(line, sizeof(line), "{\"log\":\"%d\\n\",\"stream\":\"%s\",\"time\":\"2026-01-31T12:00:00.%09dZ\"}\n", n,
		 n % 2 ? "stderr" : "stdout", n);
	add(line);
}

static void rotate(void)
{
	char from[PATH_MAX + 8], to[PATH_MAX + 8];

	for (int i = 2; i >= 0; i--) {
		snprintf(from, sizeof(from), i ? "%s.%d" : "%s", log_path, i);
		snprintf(to, sizeof(to), "%s.%d", log_path, i + 1);
		rename(from, to);
	}
	add("");
}

static void expect(int first, int last)
{
	struct log_entry e;

	for (int n = first; n <= last; n++) {
		if (log_reader_next(&reader, &e) != 1)
			fail_msg("%d is missing", n);
		assert_int_equal(atoi(e.text), n);
		assert_string_equal(e.stream, n % 2 ? "stderr" : "stdout");
		assert_int_equal(e.time_ns % 1000000000, n);
	}
	assert_int_equal(log_reader_next(&reader, &e), 0);
}

static void lines_come_in_order_across_rotations(void **state)
{
	assert_int_equal(log_reader_init(&reader, &home, id, -1, &f), 0);
	expect(0, -1);
	for (int n = 0; n < 10; n++) {
		add_line(n);
		if (n == 3 || n == 6)
			rotate();
	}
	expect(0, 9);
	/* half a line waits for its rest */
	add("{\"log\":\"10\\n\",\"stream\":\"stdout\",");
	expect(10, 9);
	add("\"time\":\"2026-01-31T12:00:00.000000010Z\"}\n");
	expect(10, 10);
	/* written after our look, then rotated away */
	add_line(11);
	rotate();
	add_line(12);
	rotate();
	add_line(13);
	expect(11, 13);
}

static void lost_files_are_stepped_over(void **state)
{
	add_line(0);
	assert_int_equal(log_reader_init(&reader, &home, id, -1, &f), 0);
	expect(0, 0);
	for (int n = 1; n < 6; n++) {
		rotate();
		add_line(n);
	}
	expect(2, 5); /* 0 and 1 are gone */
}

static void tail_counts_across_files(void **state)
{
	static const int tails[] = { 0, 1, 3, 4, 5, 9, 10, 11, 1000 };

	for (int n = 0; n < 10; n++) {
		add_line(n);
		if (n == 2 || n == 5)
			rotate();
	}
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		assert_int_equal(log_reader_init(&reader, &home, id, tails[i], &f), 0);
		expect(tails[i] < 10 ? 10 - tails[i] : 0, 9);
		log_reader_deinit(&reader);
	}
}

static void what_is_no_entry_is_left_out(void **state)
{
	add("garbage\n\n{}\n{\"log\":7}\n");
	add_line(0);
	assert_int_equal(log_reader_init(&reader, &home, id, -1, &f), 0);
	expect(0, 0);
}

static void what_is_no_text_comes_as_it_was_written(void **state)
{
	struct log_entry e;

	add("{\"log\":\"\\ufffd\\ufffd\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-31T12:00:00.000000000Z\",\"bytes\":\"/wAK\"}\n");
	assert_int_equal(log_reader_init(&reader, &home, id, -1, &f), 0);
	assert_int_equal(log_reader_next(&reader, &e), 1);
	assert_int_equal(e.size, 3);
	assert_memory_equal(e.text, "\xff\0\n", 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_come_in_order_across_rotations),
		TEST(lost_files_are_stepped_over),
		TEST(tail_counts_across_files),
		TEST(what_is_no_entry_is_left_out),
		TEST(what_is_no_text_comes_as_it_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
