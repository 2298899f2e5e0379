/* SPDX-License-Identifier: Apache-2.0 */
/* C05 (names and prefixes), C10 (1,000 records), R06 (a maker that dies), R08 (corrupt records), S04 (planted links). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "store/box.h"

#include <cmocka.h> /* last: its fail() is a macro */

static char top[PATH_MAX];
static struct home home;

static int set_up(void **state)
{
	struct failure f = { 0 };

	snprintf(top, sizeof(top), "/tmp/a3s-store-XXXXXX");
	assert_non_null(mkdtemp(top));
	setenv("XDG_RUNTIME_DIR", top, 1);
	setenv("A3S_HOME", top, 1);
	if (home_open(&home, &f) < 0 || home_make(&home, &f) < 0)
		fail_msg("%s", f.text);
	return 0;
}

static int tear_down(void **state)
{
	home_close(&home);
	return io_remove_tree(top);
}

static struct box_config sample(const char *name)
{
	struct box_config config = BOX_CONFIG_NULL;

	text_random_id(config.id);
	config.name = name ? strdup(name) : NULL;
	config.created_ns = text_now_ns();
	config.image = strdup("nginx:latest");
	config.image_id = strdup("sha256:0123");
	strv_add(&config.command, "nginx");
	strv_add(&config.env, "PATH=/bin:/usr/bin");
	config.memory = 512 << 20;
	config.ports = calloc(1, sizeof(*config.ports));
	config.ports[0] = (struct box_port){ .host_address = "::1", .host_port = 8080, .guest_port = 80, .protocol = BOX_UDP };
	config.n_ports = 1;
	return config;
}

/* A committed box; its id in ret. */
static void make_box(const char *name, char ret[static BOX_ID_LENGTH + 1])
{
	struct box_config config = sample(name);
	struct failure f = { 0 };
	int pending;

	if (box_create(&home, &config, &pending, &f) < 0 || box_commit(&home, config.id, &pending, &f) < 0)
		fail_msg("%s", f.text);
	memcpy(ret, config.id, sizeof(config.id));
	box_config_deinit(&config);
}

static void write_file(const char *id, const char *file, const char *text)
{
	char path[PATH_MAX];

	assert_int_equal(box_path(&home, id, file, path), 0);
	assert_int_equal(io_replace_file(path, text, strlen(text), 0600), 0);
}

static void record_comes_back_as_it_was(void **state)
{
	struct box_config config = BOX_CONFIG_NULL;
	struct box_state box = BOX_STATE_NULL;
	struct failure f = { 0 };
	char id[BOX_ID_LENGTH + 1];

	make_box("web", id);
	assert_int_equal(box_read_config(&home, id, &config, &f), 0);
	assert_string_equal(config.name, "web");
	assert_string_equal(config.command[0], "nginx");
	assert_int_equal(strv_length(config.dns), 0);
	assert_int_equal(config.n_ports, 1);
	assert_string_equal(config.ports[0].host_address, "::1");
	assert_int_equal(config.ports[0].protocol, BOX_UDP);
	assert_int_equal(box_read_state(&home, id, &box, &f), 0);
	assert_int_equal(box.status, BOX_CREATED);
	box_config_deinit(&config);
	box_state_deinit(&box);
}

static void names_are_checked_and_unique(void **state)
{
	static const char *const bad[] = { "", "-x", "a/b", ".hidden", "_x", "white space",
					   "0123456789012345678901234567890123456789012345678901234567890123x" };
	struct failure f = { 0 };
	char id[BOX_ID_LENGTH + 1], again[BOX_ID_LENGTH + 1];
	struct box_config config;
	int pending;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config = sample(bad[i]);
		assert_int_equal(box_create(&home, &config, &pending, &f), -1);
		assert_int_equal(f.code, EXIT_USAGE);
		assert_int_equal(pending, -1);
		box_config_deinit(&config);
	}
	make_box("web", id);
	config = sample("web");
	assert_int_equal(box_create(&home, &config, &pending, &f), -1);
	assert_int_equal(f.code, EXIT_USAGE);
	id[BOX_SHORT_LENGTH] = '\0';
	assert_non_null(strstr(f.text, id));
	box_config_deinit(&config);
	assert_int_equal(box_resolve(&home, "web", id, &f), 0);
	assert_int_equal(box_remove(&home, id, &f), 0);
	make_box("web", again);
	assert_int_equal(box_resolve(&home, "web", id, &f), 0);
	assert_string_equal(id, again);
}

static void box_is_found_by_id_name_and_prefix(void **state)
{
	struct failure f = { 0 };
	char one[BOX_ID_LENGTH + 1], found[BOX_ID_LENGTH + 1], name[BOX_ID_LENGTH + 1];

	make_box("web", one);
	assert_int_equal(box_resolve(&home, one, found, &f), 0);
	assert_int_equal(box_resolve(&home, "web", found, &f), 0);
	assert_string_equal(found, one);
	memcpy(name, one, 6);
	name[6] = '\0';
	assert_int_equal(box_resolve(&home, name, found, &f), 0);
	assert_string_equal(found, one);
	/* a name wins over a prefix */
	make_box(name, found);
	assert_int_equal(box_resolve(&home, name, one, &f), 0);
	assert_string_equal(one, found);
	for (int i = 0; i < 17; i++)
		make_box(NULL, found);
	found[1] = '\0';
	for (const char *c = "0123456789abcdef"; *c; c++) {
		found[0] = *c;
		if (box_resolve(&home, found, one, &f) < 0 && strstr(f.text, "more than one"))
			break;
		assert_int_not_equal(*c, 'f');
	}
	assert_int_equal(f.code, EXIT_FAILED);
	assert_int_equal(box_resolve(&home, "", one, &f), BOX_UNKNOWN);
	assert_int_equal(box_resolve(&home, "../boxes", one, &f), BOX_UNKNOWN);
	assert_string_equal(f.text, "no such box: ../boxes");
}

static void record_of_a_dead_maker_is_swept(void **state)
{
	struct box_config config = sample("web");
	struct failure f = { 0 };
	char kept[BOX_ID_LENGTH + 1], found[BOX_ID_LENGTH + 1], path[PATH_MAX];
	int pending;

	make_box("kept", kept);
	assert_int_equal(box_create(&home, &config, &pending, &f), 0);
	assert_int_equal(box_sweep(&home, &f), 0);
	assert_int_equal(box_resolve(&home, "web", found, &f), 0);
	close(pending); /* the maker dies */
	assert_int_equal(io_path(path, sizeof(path), "%s/boxes/.new-%s", home.path, kept), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(box_sweep(&home, &f), 0);
	assert_int_equal(box_resolve(&home, "web", found, &f), BOX_UNKNOWN);
	assert_int_equal(box_resolve(&home, "kept", found, &f), 0);
	assert_int_equal(access(path, F_OK), -1);
	box_config_deinit(&config);
}

static void corrupt_files_are_named_and_kept(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{}", "{\"id\": 7}", "{\"name\": \"x\"}" };
	struct box_config config;
	struct box_state box;
	struct box_list list;
	struct failure f = { 0 };
	char id[BOX_ID_LENGTH + 1], path[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	size_t size;

	make_box("web", id);
	assert_int_equal(box_path(&home, id, "config.json", path), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file(id, "config.json", bad[i]);
		assert_int_equal(box_read_config(&home, id, &config, &f), -1);
		assert_non_null(strstr(f.text, path));
		assert_int_equal(box_list_read(&home, &list, &f), 0);
		assert_int_equal(list.n, 0);
		assert_int_equal(list.broken, 1);
		box_list_deinit(&list);
	}
	write_file(id, "state.json", "{ half");
	assert_int_equal(box_read_state(&home, id, &box, &f), -1);
	box = (struct box_state){ .status = BOX_EXITED };
	assert_int_equal(box_write_state(&home, id, &box, &f), 0);
	assert_int_equal(box_path(&home, id, "state.json.corrupt", path), 0);
	assert_int_equal(io_read_file(path, 100, &text, &size), 0);
	assert_string_equal(text, "{ half");
	assert_int_equal(box_remove(&home, id, &f), 0);
	make_box("web", id);
}

static void running_is_the_lock_not_the_word(void **state)
{
	struct box_state box = { .status = BOX_RUNNING, .monitor_pid = 1 };
	struct failure f = { 0 };
	char id[BOX_ID_LENGTH + 1], path[PATH_MAX];
	int fd;

	make_box("web", id);
	assert_int_equal(box_write_state(&home, id, &box, &f), 0);
	assert_int_equal(box_read_state(&home, id, &box, &f), 0);
	assert_int_equal(box.status, BOX_DEAD);
	box_state_deinit(&box);
	assert_int_equal(box_path(&home, id, "lock", path), 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(io_lock(fd, false), 0);
	assert_int_equal(box_read_state(&home, id, &box, &f), 0);
	assert_int_equal(box.status, BOX_RUNNING);
	assert_int_equal(box_remove(&home, id, &f), -1);
	assert_int_equal(f.code, EXIT_IN_USE);
	close(fd);
	assert_int_equal(box_remove(&home, id, &f), 0);
	box_state_deinit(&box);
}

static void planted_links_are_refused(void **state)
{
	struct home other;
	struct failure f = { 0 };
	char path[PATH_MAX], link[PATH_MAX];

	assert_int_equal(io_path(path, sizeof(path), "%s/elsewhere", top), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(io_path(link, sizeof(link), "%s/victim", top), 0);
	setenv("A3S_HOME", link, 1);
	assert_int_equal(home_open(&other, &f), 0);
	assert_int_equal(home_make(&other, &f), 0);
	home_close(&other);
	/* boxes/ led elsewhere */
	assert_int_equal(io_path(link, sizeof(link), "%s/victim/boxes", top), 0);
	assert_int_equal(io_remove_tree(link), 0);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(home_open(&other, &f), -1);
	assert_int_equal(f.code, EXIT_USAGE);
	assert_non_null(strstr(f.text, "symbolic link"));
	/* a store that others may write to */
	assert_int_equal(chmod(path, 0777), 0);
	setenv("A3S_HOME", path, 1);
	assert_int_equal(home_open(&other, &f), -1);
	setenv("A3S_HOME", top, 1);
}

static void runtime_directory_is_one_for_all(void **state)
{
	struct home other;
	struct failure f = { 0 };

	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(home_open(&other, &f), 0);
	assert_string_equal(other.runtime, home.runtime);
	home_close(&other);
	/* gone after a reboot: chosen anew */
	assert_int_equal(io_remove_tree(home.runtime), 0);
	setenv("XDG_RUNTIME_DIR", top, 1);
	assert_int_equal(home_open(&other, &f), 0);
	assert_string_equal(other.runtime, home.runtime);
	home_close(&other);
}

static void thousand_records_are_listed_fast(void **state)
{
	struct box_config config = sample("b");
	struct failure f = { 0 };
	struct timespec start, end;
	struct box_list list;
	double ms;

	for (int i = 0; i < 1000; i++) {
		char path[PATH_MAX], id[65];
		json_t *json = box_config_to_json(&config);

		snprintf(id, sizeof(id), "%064x", i);
		json_object_set_new(json, "id", json_string(id));
		assert_int_equal(box_path(&home, id, "", path), 0);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(box_path(&home, id, "config.json", path), 0);
		assert_int_equal(json_dump_file(json, path, JSON_INDENT(2)), 0);
		assert_int_equal(box_path(&home, id, "state.json", path), 0);
		assert_int_equal(io_replace_file(path, "{}", 2, 0600), 0);
		json_decref(json);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(box_list_read(&home, &list, &f), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6;
	print_message("1000 records read in %.1f ms\n", ms);
	assert_int_equal(list.n, 1000);
	assert_int_equal(list.broken, 0);
	box_list_deinit(&list);
	box_config_deinit(&config);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(record_comes_back_as_it_was),	TEST(names_are_checked_and_unique),
		TEST(box_is_found_by_id_name_and_prefix), TEST(record_of_a_dead_maker_is_swept),
		TEST(corrupt_files_are_named_and_kept), TEST(running_is_the_lock_not_the_word),
		TEST(planted_links_are_refused),	TEST(runtime_directory_is_one_for_all),
		TEST(thousand_records_are_listed_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
