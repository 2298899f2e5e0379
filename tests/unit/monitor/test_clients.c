/* SPDX-License-Identifier: Apache-2.0 */
/* control.h 2: attached clients, a slow one among them, one that makes the box wait, waiting for the end. */
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
#include "monitor/clients.h"

#include <cmocka.h>

static char top[32], path[64];
static struct loop *loop;
static struct clients clients;
static struct client *asked;
static bool held, empty, input_lost;
static char input[256];
static size_t input_size;

static void on_request(struct clients *c, struct client *client, const char *op, const json_t *request)
{
	asked = client;
	if (strcmp(op, "wait") == 0)
		client_wait(client);
	else
		client_reply_error(client, op, 125);
}

static void on_input(struct clients *c, enum frame_type type, const uint8_t *payload, size_t size)
{
	assert_int_equal(type, FRAME_STDIN);
	memcpy(input + input_size, payload, size);
	input_size += size;
}

static void on_input_lost(struct clients *c)
{
	input_lost = true;
}

static void on_hold(struct clients *c, bool hold)
{
	held = hold;
}

static void on_empty(struct clients *c)
{
	empty = true;
}

static const struct clients_handlers handlers = {
	.request = on_request, .input = on_input, .input_lost = on_input_lost, .hold = on_hold, .empty = on_empty,
};

static int set_up(void **state)
{
	strcpy(top, "/tmp/a3s-clients-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/s", top);
	clients = (struct clients)CLIENTS_NULL;
	held = empty = input_lost = false;
	input_size = 0;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(clients_open(&clients, loop, path, &handlers), 0);
	return 0;
}

static int tear_down(void **state)
{
	clients_close(&clients);
	loop_turn(loop, 0);
	loop_free(loop);
	return io_remove_tree(top);
}

/* Turns until nothing is left to do. */
static void turn(void)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_turn(loop, 0), 0);
}

static int ask(const char *request)
{
	int fd = io_unix_connect(path);

	assert_true(fd >= 0);
	assert_int_equal(frame_write(fd, FRAME_REQUEST, request, strlen(request)), 0);
	turn();
	return fd;
}

/* Read while the clients' side turns: a frame may be larger than what a socket holds. */
static void read_turning(int fd, void *data, size_t size)
{
	for (int i = 0; size && i < 1000; i++) {
		ssize_t n = recv(fd, data, size, MSG_DONTWAIT);

		if (n > 0) {
			data = (char *)data + n;
			size -= (size_t)n;
		} else {
			assert_true(n < 0 && errno == EAGAIN);
		}
		assert_int_equal(loop_turn(loop, 0), 0);
	}
	assert_int_equal(size, 0);
}

static enum frame_type read_frame(int fd, uint8_t *payload, size_t *ret_size)
{
	uint8_t header[FRAME_HEADER] = { 0 };
	struct wire w = wire_reader(header, sizeof(header));
	enum frame_type type;

	read_turning(fd, header, sizeof(header));
	type = wire_u8(&w);
	wire_take(&w, 3);
	*ret_size = wire_le32(&w);
	assert_in_range(*ret_size, 0, FRAME_DATA_MAX);
	read_turning(fd, payload, *ret_size);
	return type;
}

static void expect(int fd, enum frame_type type, const void *payload, size_t size)
{
	static uint8_t got[FRAME_DATA_MAX];
	size_t got_size;

	assert_int_equal(read_frame(fd, got, &got_size), type);
	assert_int_equal(got_size, size);
	assert_memory_equal(got, payload, size);
}

static void expect_text(int fd, enum frame_type type, const char *text)
{
	expect(fd, type, text, strlen(text));
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
}

static void test_attach(void **state)
{
	int one = ask("{\"op\":\"attach\",\"stdin\":true}"), two = ask("{\"op\":\"attach\"}");

	clients_output(&clients, FRAME_STDOUT, (const uint8_t *)"out", 3);
	clients_output(&clients, FRAME_STDERR, (const uint8_t *)"err", 3);
	frame_write(one, FRAME_STDIN, "typed", 5);
	frame_write(two, FRAME_STDIN, "ignored", 7);
	turn();
	clients_finish(&clients, 7);
	turn();
	for (int i = 0; i < 2; i++) {
		int fd = i ? two : one;

		expect_text(fd, FRAME_REPLY, "{\"ok\":true}");
		expect_text(fd, FRAME_STDOUT, "out");
		expect_text(fd, FRAME_STDERR, "err");
		expect(fd, FRAME_EXIT, "\x07\0\0", 4);
		expect_end(fd);
	}
	assert_int_equal(input_size, 5);
	assert_true(empty);
	assert_false(input_lost);
}

/* One that does not read is told to leave, the other hears everything. */
static void test_slow_client(void **state)
{
	static uint8_t data[64 << 10];
	int slow = ask("{\"op\":\"attach\"}"), quick = ask("{\"op\":\"attach\"}");
	enum frame_type type = FRAME_REPLY;
	size_t size;

	expect_text(quick, FRAME_REPLY, "{\"ok\":true}");
	for (int i = 0; i < 40; i++) {
		clients_output(&clients, FRAME_STDOUT, data, sizeof(data));
		turn();
		expect(quick, FRAME_STDOUT, data, sizeof(data));
	}
	assert_false(held);
	while (type != FRAME_DETACH)
		type = read_frame(slow, data, &size);
	expect_end(slow);
	close(quick);
}

static void test_waiting_client(void **state)
{
	static uint8_t data[64 << 10];
	int fd = ask("{\"op\":\"attach\",\"wait\":true}"), n = 0;

	while (!held && n < 100) {
		clients_output(&clients, FRAME_STDOUT, data, sizeof(data));
		n++;
	}
	assert_in_range(n, 2, 50);
	expect_text(fd, FRAME_REPLY, "{\"ok\":true}");
	for (int i = 0; i < n; i++) {
		expect(fd, FRAME_STDOUT, data, sizeof(data));
		turn();
	}
	assert_false(held);
	close(fd);
}

static void test_hold_ends_with_client(void **state)
{
	static uint8_t data[64 << 10];
	int fd = ask("{\"op\":\"attach\",\"wait\":true}");

	while (!held)
		clients_output(&clients, FRAME_STDOUT, data, sizeof(data));
	close(fd);
	turn();
	assert_false(held);
}

static void test_input_lost(void **state)
{
	int fd = ask("{\"op\":\"attach\",\"stdin\":true}");

	close(fd);
	turn();
	assert_true(input_lost);
	input_lost = false;
	fd = ask("{\"op\":\"attach\",\"stdin\":true}");
	frame_write(fd, FRAME_DETACH, NULL, 0);
	turn();
	assert_false(input_lost);
	close(fd);
}

static void test_wait_and_errors(void **state)
{
	int waiting = ask("{\"op\":\"wait\"}"), unknown = ask("{\"op\":\"fly\"}"), bad = ask("no json"), silent = io_unix_connect(path);

	frame_write(silent, FRAME_STDOUT, "x", 1);
	turn();
	expect_end(silent);
	expect_text(unknown, FRAME_REPLY, "{\"ok\":false,\"error\":\"fly\",\"code\":125}");
	expect_end(unknown);
	expect_text(bad, FRAME_REPLY, "{\"ok\":false,\"error\":\"malformed request\",\"code\":125}");
	expect_end(bad);
	clients_finish(&clients, 3);
	turn();
	expect_text(waiting, FRAME_REPLY, "{\"ok\":true,\"exit_code\":3}");
	expect_end(waiting);
	assert_true(empty);
}

static void test_failed_start(void **state)
{
	int attached = ask("{\"op\":\"attach\",\"wait\":true}");

	clients_fail(&clients, "no luck", 127);
	turn();
	expect_text(attached, FRAME_REPLY, "{\"ok\":true}");
	expect_text(attached, FRAME_REPLY, "{\"ok\":false,\"error\":\"no luck\",\"code\":127}");
	expect_end(attached);
	assert_true(empty);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_attach),	   TEST(test_slow_client),     TEST(test_waiting_client), TEST(test_hold_ends_with_client),
		TEST(test_input_lost), TEST(test_wait_and_errors), TEST(test_failed_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
