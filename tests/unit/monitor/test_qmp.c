/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's machine protocol against a QEMU played by the test; the generic command line; the console's last words. */
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
#include "base/text.h"
#include "monitor/console.h"
#include "monitor/qemu.h"
#include "monitor/qmp.h"

#include <cmocka.h>

static struct loop *loop;
static struct qmp qmp;
static int far;
static char last_event[32], last_reply[64], last_error[64];
static bool closed;

static void on_event(struct qmp *q, const char *name, const json_t *data)
{
	snprintf(last_event, sizeof(last_event), "%s", name);
}

static void on_closed(struct qmp *q)
{
	closed = true;
}

static void on_reply(struct qmp *q, const char *command, const json_t *result, const char *error)
{
	snprintf(last_reply, sizeof(last_reply), "%s", command);
	snprintf(last_error, sizeof(last_error), "%s", error ? error : "");
}

static int set_up(void **state)
{
	int fds[2];

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	far = fds[1];
	qmp = (struct qmp)QMP_NULL;
	qmp.event = on_event;
	qmp.closed = on_closed;
	closed = false;
	*last_event = *last_reply = *last_error = '\0';
	assert_int_equal(qmp_open(&qmp, loop, fds[0]), 0);
	return 0;
}

static int tear_down(void **state)
{
	qmp_close(&qmp);
	far = close_fd(far);
	loop_free(loop);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(io_write_full(far, text, strlen(text)), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(loop, 0), 0);
}

/* What the monitor sent, and how many fds came with it. */
static void expect(const char *text, size_t n_fds)
{
	char got[256] = "";
	int fds[4];
	size_t n = 4;

	assert_int_equal(io_recv_fds(far, got, sizeof(got) - 1, fds, &n), (ssize_t)strlen(text));
	assert_string_equal(got, text);
	assert_int_equal(n, n_fds);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void test_one_at_a_time(void **state)
{
	char c;

	assert_int_equal(qmp_execute(&qmp, "getfd", json_pack("{s:s}", "fdname", "x"), dup(0), on_reply), 0);
	assert_int_equal(qmp_execute(&qmp, "cont", NULL, -1, on_reply), 0);
	expect("{\"execute\":\"qmp_capabilities\"}", 0);
	assert_int_equal(recv(far, &c, 1, MSG_DONTWAIT), -1);
	say("{\"QMP\": {}}\r\n{\"return\": {}}\r\n");
	expect("{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}", 1);
	assert_int_equal(recv(far, &c, 1, MSG_DONTWAIT), -1);
	say("{\"event\": \"RESUME\"}\r\n{\"return\":");
	assert_string_equal(last_event, "RESUME");
	assert_string_equal(last_reply, "");
	say(" {}}\r\n");
	assert_string_equal(last_reply, "getfd");
	expect("{\"execute\":\"cont\"}", 0);
	say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n");
	assert_string_equal(last_error, "no");
	assert_false(closed);
}

static void test_garbage_ends_it(void **state)
{
	say("what?\r\n");
	assert_true(closed);
	assert_int_equal(qmp_execute(&qmp, "cont", NULL, -1, on_reply), -ENOTCONN);
}

static void test_end(void **state)
{
	assert_int_equal(qmp_execute(&qmp, "cont", NULL, -1, on_reply), 0);
	far = close_fd(far);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 0);
	assert_true(closed);
	assert_string_equal(last_reply, "");
}

static const char *argument_after(char *const *v, const char *option)
{
	for (; *v; v++)
		if (strcmp(*v, option) == 0)
			return v[1];
	return "";
}

static void test_command(void **state)
{
	struct qemu_machine machine = { .accel = ACCEL_TCG, .memory = (64LL << 30) + 1, .cpus = 3, .parameters = "", .qmp = true };
	char **v = qemu_command(&machine);

	assert_string_equal(argument_after(v, "-m"), "65536m");
	assert_string_equal(argument_after(v, "-object"), "memory-backend-memfd,id=ram,size=65536m,share=on");
	assert_string_equal(argument_after(v, "-smp"), "3");
	assert_string_equal(argument_after(v, "-accel"), "tcg,thread=multi");
	assert_non_null(strstr(argument_after(v, "-append"), "tsc=reliable"));
	assert_true(strv_has(v, "-S"));
	strv_free(v);
	machine.accel = ACCEL_KVM;
	machine.parameters = "a3s.poweroff";
	machine.qmp = false;
	v = qemu_command(&machine);
	assert_string_equal(argument_after(v, "-cpu"), "host");
	assert_null(strstr(argument_after(v, "-append"), "tsc=reliable"));
	assert_non_null(strstr(argument_after(v, "-append"), " a3s.poweroff"));
	assert_false(strv_has(v, "-S"));
	strv_free(v);
}

static void test_console(void **state)
{
	struct console console;
	char line[64], tail[256];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(console_open(&console, NULL, fds[0]), 0);
	console_tail(&console, 3, tail, sizeof(tail));
	assert_string_equal(tail, "");
	for (int i = 0; i < 1000; i++) {
		int n = snprintf(line, sizeof(line), "[%4d] \x1b[1mline\r\n\n", i);

		assert_int_equal(write(fds[1], line, (size_t)n), n);
		assert_true(console_read(&console));
	}
	console_tail(&console, 2, tail, sizeof(tail));
	assert_string_equal(tail, "[ 998] [1mline | [ 999] [1mline");
	assert_true(console_contains(&console, "[ 999]"));
	assert_false(console_contains(&console, "[   1]"));
	close(fds[1]);
	assert_false(console_read(&console));
	console_close(&console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_console),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
