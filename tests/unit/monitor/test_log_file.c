/* SPDX-License-Identifier: Apache-2.0 */
/* C04: json-file lines, partial lines, rotation, bytes that are no UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "monitor/log_file.h"

#include <cmocka.h>

static char top[] = "/tmp/a3s-log-XXXXXX", path[64];

static int set_up(void **state)
{
	strcpy(top, "/tmp/a3s-log-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/log.json", top);
	return 0;
}

static int tear_down(void **state)
{
	return io_remove_tree(top);
}

static json_t *line_at(const char *file, unsigned index)
{
	_cleanup_free_ char *text = NULL;
	char *at;

	assert_int_equal(io_read_file(file, 1 << 24, &text, NULL), 0);
	at = text;
	for (unsigned i = 0; i < index && at; i++) {
		at = strchr(at, '\n');
		at += at != NULL;
	}
	return at && *at ? json_loads(at, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL) : NULL;
}

static void check_line(unsigned index, const char *stream, const char *text)
{
	_cleanup_json_ json_t *line = line_at(path, index);

	assert_non_null(line);
	assert_string_equal(json_str(line, "stream", ""), stream);
	assert_string_equal(json_str(line, "log", ""), text);
	assert_int_equal(strlen(json_str(line, "time", "")), 30);
}

static void add(struct log_file *log, enum log_stream stream, const char *text)
{
	log_file_add(log, stream, text, strlen(text));
}

static void test_lines(void **state)
{
	struct log_file log;

	assert_int_equal(log_file_open(&log, path, 1 << 20, 3), 0);
	add(&log, LOG_STDOUT, "one\ntwo");
	add(&log, LOG_STDERR, "\"quoted\"\\ <&>\t\x01 \xc3\xa4\n");
	add(&log, LOG_STDOUT, " and a half\nlast");
	log_file_close(&log);
	check_line(0, "stdout", "one\n");
	check_line(1, "stderr", "\"quoted\"\\ <&>\t\x01 \xc3\xa4\n");
	check_line(2, "stdout", "two and a half\n");
	check_line(3, "stdout", "last");
	assert_null(line_at(path, 4));
}

static void test_exact_text(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct log_file log;

	assert_int_equal(log_file_open(&log, path, 1 << 20, 3), 0);
	add(&log, LOG_STDOUT, "a<b\x1f\n");
	log_file_close(&log);
	assert_int_equal(io_read_file(path, 4096, &text, NULL), 0);
	assert_memory_equal(text, "{\"log\":\"a\\u003cb\\u001f\\n\",\"stream\":\"stdout\",\"time\":\"20", 54);
}

static void test_not_utf8(void **state)
{
	static const char bytes[] = "a\xff\xc3(\xed\xa0\x80\n";
	_cleanup_json_ json_t *line = NULL;
	struct log_file log;

	assert_int_equal(log_file_open(&log, path, 1 << 20, 3), 0);
	log_file_add(&log, LOG_STDOUT, bytes, sizeof(bytes) - 1);
	log_file_close(&log);
	line = line_at(path, 0);
	assert_string_equal(json_str(line, "log", ""), "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n");
	assert_string_equal(json_str(line, "bytes", ""), "Yf/DKO2ggAo=");
}

/* A long line is cut at 16 KiB, but not within a character, and nothing of it is lost. */
static void test_long_line(void **state)
{
	_cleanup_free_ char *text = malloc(50002);
	size_t at = 0;
	struct log_file log;

	for (size_t i = 0; i < 50001; i++)
		text[i] = "x\xe2\x82\xac"[i % 4];
	text[50000] = '\n';
	text[50001] = '\0';
	assert_int_equal(log_file_open(&log, path, 1 << 20, 3), 0);
	for (size_t i = 0; i < 50001; i += 7001)
		log_file_add(&log, LOG_STDOUT, text + i, MIN((size_t)7001, 50001 - i));
	log_file_close(&log);
	for (unsigned i = 0; i < 4; i++) {
		_cleanup_json_ json_t *line = line_at(path, i);
		const char *part = json_str(line, "log", "");

		assert_null(json_object_get(line, "bytes"));
		assert_in_range(strlen(part), 1, LOG_LINE_MAX);
		assert_memory_equal(part, text + at, strlen(part));
		at += strlen(part);
	}
	assert_int_equal(at, 50001);
}

static void test_rotation(void **state)
{
	struct log_file log;
	struct stat st;
	char older[80];

	assert_int_equal(log_file_open(&log, path, 1000, 3), 0);
	for (int i = 0; i < 100; i++)
		add(&log, LOG_STDOUT, "0123456789\n");
	add(&log, LOG_STDOUT, "the end\n");
	log_file_close(&log);
	for (int i = 1; i <= 2; i++) {
		snprintf(older, sizeof(older), "%s.%d", path, i);
		assert_int_equal(stat(older, &st), 0);
		assert_in_range(st.st_size, 900, 1000);
	}
	snprintf(older, sizeof(older), "%s.3", path);
	assert_int_equal(stat(older, &st), -1);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 1000);
}

static void test_one_file(void **state)
{
	struct log_file log;
	struct stat st;

	assert_int_equal(log_file_open(&log, path, 1000, 1), 0);
	for (int i = 0; i < 100; i++)
		add(&log, LOG_STDOUT, "0123456789\n");
	log_file_close(&log);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 1000);
}

/* A second start appends, and counts what is there. */
static void test_append(void **state)
{
	struct log_file log;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(log_file_open(&log, path, 1000, 2), 0);
		add(&log, LOG_STDOUT, i ? "second\n" : "first\n");
		log_file_close(&log);
	}
	check_line(0, "stdout", "first\n");
	check_line(1, "stdout", "second\n");
}

/* A full disk: the box goes on, the loss is counted. */
static void test_disk_full(void **state)
{
	struct log_file log;

	assert_int_equal(log_file_open(&log, "/dev/full", 1 << 20, 1), 0);
	add(&log, LOG_STDOUT, "lost\n");
	log_file_flush(&log);
	assert_int_equal(log.dropped, 1);
	log_file_close(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_exact_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_utf8, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_append, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk_full, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
