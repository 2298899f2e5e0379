/* SPDX-License-Identifier: Apache-2.0 */
/* C01 (streams and exit codes), C04 (log), R02 (main's streams are taken up again), against an agent played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/wire.h"
#include "monitor/streams.h"

#include <cmocka.h>

static char top[32], path[64], log_path[64];
static struct loop *loop;
static struct streams streams;
static int listener, agent;
static struct frame_buffer heard;
static bool started, lost, room;
static int refused_code, status;
static bool oom;
static char out[256], err[256], refused_text[64];

static void on_started(struct streams *s)
{
	started = true;
}

static void on_refused(struct streams *s, int code, const char *error)
{
	refused_code = code;
	snprintf(refused_text, sizeof(refused_text), "%s", error);
}

static void on_output(struct streams *s, enum frame_type type, const uint8_t *data, size_t size)
{
	char *to = type == FRAME_STDOUT ? out : err;

	snprintf(to + strlen(to), sizeof(out) - strlen(to), "%.*s", (int)size, (const char *)data);
}

static void on_ended(struct streams *s, int code, bool killed)
{
	status = code;
	oom = killed;
}

static void on_lost(struct streams *s)
{
	lost = true;
}

static void on_room(struct streams *s)
{
	room = true;
}

static const struct streams_handlers handlers = {
	.started = on_started, .refused = on_refused, .output = on_output, .ended = on_ended, .lost = on_lost, .input_room = on_room,
};

static void turn(void)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_turn(loop, 0), 0);
}

static int set_up(void **state)
{
	strcpy(top, "/tmp/a3s-streams-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/agent.sock", top);
	snprintf(log_path, sizeof(log_path), "%s/log.json", top);
	streams = (struct streams)STREAMS_NULL;
	started = lost = room = oom = false;
	refused_code = status = -1;
	*out = *err = '\0';
	agent = -1;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(log_file_open(&streams.log, log_path, 1 << 20, 2), 0);
	listener = io_unix_listen(path, 0600);
	assert_true(listener >= 0);
	return 0;
}

static int tear_down(void **state)
{
	streams_close(&streams);
	frame_buffer_deinit(&heard);
	close(listener);
	agent = close_fd(agent);
	loop_free(loop);
	return io_remove_tree(top);
}

/* Take the monitor's connection, and say OK as a3s-box-vsock does. */
static void agent_accept(unsigned port)
{
	char line[32] = "", expected[32];

	turn();
	agent = close_fd(agent);
	agent = accept(listener, NULL, NULL);
	assert_true(agent >= 0);
	snprintf(expected, sizeof(expected), "CONNECT %u\n", port);
	assert_int_equal(read(agent, line, sizeof(line)), strlen(expected));
	assert_string_equal(line, expected);
	assert_int_equal(io_write_full(agent, "OK 1234\n", 8), 0);
	turn();
}

static void agent_says(enum frame_type type, const void *payload, size_t size)
{
	assert_int_equal(frame_write(agent, type, payload, size), 0);
	turn();
}

static void agent_replies(const char *text)
{
	agent_says(FRAME_REPLY, text, strlen(text));
}

static void agent_exits(uint32_t code)
{
	uint8_t payload[4];
	struct wire w = wire_writer(payload, sizeof(payload));

	wire_put_le32(&w, code);
	agent_says(FRAME_EXIT, payload, sizeof(payload));
}

/* The next frame that the monitor sent; 0 when there is none. */
static enum frame_type agent_hears(char *text, size_t room_for)
{
	enum frame_type type;
	const uint8_t *payload;
	size_t size;

	turn();
	(void)frame_buffer_receive(&heard, agent);
	if (frame_buffer_next(&heard, &type, &payload, &size) != 1)
		return 0;
	snprintf(text, room_for, "%.*s", (int)size, (const char *)payload);
	return type;
}

static void start(bool tty)
{
	char text[64];

	streams_start(&streams, loop, path, tty, json_pack("{s:s}", "op", "main"), &handlers);
	agent_accept(tty ? 4090 : 4089);
	assert_int_equal(agent_hears(text, sizeof(text)), FRAME_REQUEST);
	assert_string_equal(text, "{\"op\":\"main\"}");
}

static void test_run(void **state)
{
	_cleanup_free_ char *text = NULL;
	char input[64];

	streams_send(&streams, FRAME_STDIN, "early", 5);
	start(false);
	assert_int_equal(agent_hears(input, sizeof(input)), 0); /* nothing before the process runs */
	assert_false(started);
	agent_replies("{\"ok\":true,\"pid\":7}");
	assert_true(started);
	assert_int_equal(agent_hears(input, sizeof(input)), FRAME_STDIN);
	assert_string_equal(input, "early");
	agent_says(FRAME_STDOUT, "one\n", 4);
	agent_says(FRAME_STDERR, "two", 3);
	agent_says(FRAME_STDERR, NULL, 0);
	agent_says(FRAME_STDOUT, NULL, 0);
	agent_replies("{\"oom\":true}");
	agent_exits(137);
	assert_string_equal(out, "one\n");
	assert_string_equal(err, "two");
	assert_int_equal(status, 137);
	assert_true(oom);
	assert_false(lost);
	assert_int_equal(io_read_file(log_path, 4096, &text, NULL), 0);
	assert_memory_equal(text, "{\"log\":\"one\\n\",\"stream\":\"stdout\"", 32);
	assert_non_null(strstr(text, "\n{\"log\":\"two\",\"stream\":\"stderr\""));
}

static void test_refused(void **state)
{
	start(true);
	agent_replies("{\"ok\":false,\"code\":127,\"error\":\"not found\"}");
	assert_int_equal(refused_code, 127);
	assert_string_equal(refused_text, "not found");
	assert_false(started);
}

static void test_malformed_answer(void **state)
{
	start(false);
	agent_replies("[1,");
	assert_int_equal(refused_code, 125);
	assert_string_equal(refused_text, "the guest's answer is malformed");
}

static void test_no_such_status(void **state)
{
	start(false);
	agent_replies("{\"ok\":true}");
	agent_exits(70000);
	assert_int_equal(status, 255);
}

static void test_taken_up_again(void **state)
{
	char text[64];

	start(false);
	agent_replies("{\"ok\":true}");
	agent = close_fd(agent);
	turn();
	assert_true(lost);
	streams_send(&streams, FRAME_STDIN, "kept", 4);
	streams_reattach(&streams);
	agent_accept(4089);
	assert_int_equal(agent_hears(text, sizeof(text)), FRAME_REQUEST);
	assert_string_equal(text, "{\"op\":\"attach\"}");
	agent_replies("{\"ok\":true}");
	assert_int_equal(agent_hears(text, sizeof(text)), FRAME_STDIN);
	assert_string_equal(text, "kept");
	agent_says(FRAME_STDOUT, "still here\n", 11);
	agent_exits(0);
	assert_string_equal(out, "still here\n");
	assert_int_equal(status, 0);
}

/* A guest that reads nothing: the owner is told that enough waits, and that there is room again. */
static void test_input_is_bounded(void **state)
{
	static char data[64 << 10];
	int n = 0;

	start(false);
	agent_replies("{\"ok\":true}");
	while (!streams_is_full(&streams) && n < 64) {
		streams_send(&streams, FRAME_STDIN, data, sizeof(data));
		n++;
	}
	assert_in_range(n, 4, 16);
	assert_false(room);
	for (int i = 0; i < 1000 && !room; i++) {
		(void)!recv(agent, data, sizeof(data), MSG_DONTWAIT);
		loop_turn(loop, 0);
	}
	assert_true(room);
}

/* A socket that takes all early input at once is never drained: the clients that were held must go on all the same. */
static void test_early_input_lets_go(void **state)
{
	static char data[64 << 10];
	int buffer = 2 * (int)STREAMS_INPUT_MAX;

	while (!streams_is_full(&streams))
		streams_send(&streams, FRAME_STDIN, data, sizeof(data));
	start(false);
	assert_int_equal(setsockopt(streams.agent.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
	assert_false(room);
	agent_replies("{\"ok\":true}");
	assert_true(started);
	if (agent_client_backlog(&streams.agent))
		skip(); /* net.core.wmem_max is less than this test needs */
	assert_true(room);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_run),		  TEST(test_refused),	     TEST(test_malformed_answer),
		TEST(test_no_such_status), TEST(test_taken_up_again), TEST(test_input_is_bounded),
		TEST(test_early_input_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
