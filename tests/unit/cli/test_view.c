/* SPDX-License-Identifier: Apache-2.0 */
/* C09, P10: cells of ps, and what inspect and port read. */
#include "cli/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/port_spec.h"
#include "test.h"

/* A running box that has these ports bound, in this order. */
static void bind_ports(struct box_state *state, const char *const *specs)
{
	struct failure f = { 0 };

	*state = (struct box_state){ .status = BOX_RUNNING };
	for (; *specs; specs++)
		assert_int_equal(port_spec_parse(*specs, &state->bound, &state->n_bound, &f), 0);
}

static const struct {
	const char *specs[6], *exposed, *cell;
} cells[] = {
	{ { NULL }, NULL, "" },
	{ { NULL }, "80/tcp", "80/tcp" },
	{ { "0.0.0.0:8080:80", NULL }, "80/tcp", "0.0.0.0:8080->80/tcp" },
	{ { "0.0.0.0:8080:80", "[::]:8080:80", NULL }, NULL, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" },
	{ { "0.0.0.0:80-82:80-82", "[::]:80-82:80-82", NULL }, NULL, "0.0.0.0:80-82->80-82/tcp, [::]:80-82->80-82/tcp" },
	{ { "0.0.0.0:8000-8001:80-81", NULL }, NULL, "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->81/tcp" },
	{ { "0.0.0.0:80:80", "0.0.0.0:82:82", NULL }, NULL, "0.0.0.0:80->80/tcp, 0.0.0.0:82->82/tcp" },
	{ { "127.0.0.1:9:9", "0.0.0.0:7:7", "0.0.0.0:8:8", "127.0.0.1:7:7", NULL },
	  "53/udp",
	  "0.0.0.0:7-8->7-8/tcp, 127.0.0.1:7->7/tcp, 127.0.0.1:9->9/tcp, 53/udp" },
	{ { "0.0.0.0:53:53/udp", "0.0.0.0:53:53", NULL }, NULL, "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp" },
};

static void ports_are_folded(void **test)
{
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++) {
		struct box_config config = BOX_CONFIG_NULL;
		struct box_state state;
		_cleanup_free_ char *cell = NULL, *stopped = NULL;

		bind_ports(&state, cells[i].specs);
		if (cells[i].exposed)
			strv_add(&config.exposed, cells[i].exposed);
		cell = view_ports(&config, &state);
		assert_string_equal(cell, cells[i].cell);
		state.status = BOX_EXITED;
		stopped = view_ports(&config, &state);
		assert_string_equal(stopped, "");
		box_config_deinit(&config);
		box_state_deinit(&state);
	}
}

static void port_map_has_all_addresses_and_what_is_only_exposed(void **test)
{
	static const char *const specs[] = { "[::]:8080:80", "0.0.0.0:8080:80", "0.0.0.0:9:9/udp", NULL };
	struct box_config config = BOX_CONFIG_NULL;
	struct box_state state;
	_cleanup_free_ char *text = NULL;
	json_t *map;

	bind_ports(&state, specs);
	strv_add(&config.exposed, "443/tcp");
	strv_add(&config.exposed, "80/tcp");
	map = view_port_map(&config, &state);
	text = json_dumps(map, JSON_COMPACT);
	assert_string_equal(text, "{\"9/udp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"9\"}],"
				  "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"},{\"HostIp\":\"::\",\"HostPort\":\"8080\"}],"
				  "\"443/tcp\":null}");
	json_decref(map);
	box_config_deinit(&config);
	box_state_deinit(&state);
}

static void status_is_dockers_sentence(void **test)
{
	static const struct {
		struct box_state state;
		const char *sentence;
	} states[] = {
		{ { .status = BOX_CREATED }, "Created" },
		{ { .status = BOX_RUNNING, .started_ns = 1000000000 }, "Up 5 minutes" },
		{ { .status = BOX_EXITED, .exit_code = 137, .finished_ns = 300000000000 }, "Exited (137) 1 second ago" },
		{ { .status = BOX_DEAD }, "Dead" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		_cleanup_free_ char *text = view_status(&states[i].state, 301500000000);

		assert_string_equal(text, states[i].sentence);
	}
}

static void long_text_is_cut_by_characters(void **test)
{
	static const struct {
		const char *text, *cut;
	} texts[] = {
		{ "", "" },
		{ "12345", "12345" },
		{ "123456", "1234\xe2\x80\xa6" },
		{ "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4" },
		{ "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xe2\x80\xa6" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *cut = view_ellipsis(texts[i].text, 5);

		assert_string_equal(cut, texts[i].cut);
	}
}

/* A command of the image may hold anything: it must not upset the table or the terminal. */
static void row_shows_no_control_characters(void **test)
{
	struct box_entry entry = { .config = BOX_CONFIG_NULL, .state = BOX_STATE_NULL };
	_cleanup_json_ json_t *row = NULL;

	text_random_id(entry.config.id);
	entry.config.name = strdup("web");
	entry.config.image = strdup("nginx");
	strv_add(&entry.config.command, "a\n\x1b[31m\"");
	row = view_box_row(&entry, text_now_ns(), false, "0B");
	assert_string_equal(json_str(row, "Command", ""), "\"a\\n\\x1b[31m\\\"\"");
	assert_int_equal(strlen(json_str(row, "ID", "")), BOX_SHORT_LENGTH);
	box_config_deinit(&entry.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_folded),
		cmocka_unit_test(port_map_has_all_addresses_and_what_is_only_exposed),
		cmocka_unit_test(status_is_dockers_sentence),
		cmocka_unit_test(long_text_is_cut_by_characters),
		cmocka_unit_test(row_shows_no_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
