/* SPDX-License-Identifier: Apache-2.0 */
/* What a start that comes to nothing leaves behind. */
#include "cli/launch.h"

#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "test.h"

static struct home home;

/* There is no box and, beside this test, no monitor. But there may be a running box whose log this is. */
static void the_log_of_a_running_box_is_kept(void **state)
{
	char top[] = "/tmp/a3s-launch-XXXXXX", id[BOX_ID_LENGTH + 1], path[PATH_MAX];
	static const char words[] = "<4>a3s-box-monitor[1]: words\n";
	_cleanup_free_ char *text = NULL;
	struct launch launch = { .fd = -1 };
	struct failure f;

	assert_non_null(mkdtemp(top));
	snprintf(home.path, sizeof(home.path), "%s", top);
	text_random_id(id);
	assert_int_equal(box_path(&home, id, "", path), 0);
	assert_int_equal(io_make_dirs(path, 0700), 0);
	assert_int_equal(box_path(&home, id, "monitor.log", path), 0);
	assert_int_equal(io_replace_file(path, words, strlen(words), 0600), 0);
	assert_int_equal(launch_begin(&launch, &home, id, &f), -1);
	assert_int_equal(io_read_file(path, 4096, &text, NULL), 0);
	assert_true(text_starts(text, words));
	assert_int_equal(io_remove_tree(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_log_of_a_running_box_is_kept) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
