/* SPDX-License-Identifier: Apache-2.0 */
/* C01, C03: what a session relays, with pipes and with a terminal. The session runs in a child; the test is its peer. */
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/io.h"
#include "base/own.h"
#include "test.h"

/* Ends of the child's descriptors that we hold. */
static int in, out, err, peer;
static pid_t child;

static void make_pipe(int ret[2])
{
	assert_int_equal(pipe2(ret, O_CLOEXEC), 0);
}

/* The child ends with 100 + outcome, or the status when the process "exited". */
static void run_child(struct session *session, int fd0, int fd1, int fd2, int fd)
{
	struct failure f = { 0 };
	int status = 0, outcome;

	dup2(fd0, 0);
	dup2(fd1, 1);
	dup2(fd2, 2);
	session->fd = fd;
	signal(SIGPIPE, SIG_IGN);
	outcome = session_run(session, &status, &f);
	_exit(outcome == SESSION_EXITED ? status : 100 + outcome);
}

static void begin(struct session session, int terminal)
{
	int p0[2] = { terminal, terminal }, p1[2], p2[2], pair[2];

	make_pipe(p1);
	make_pipe(p2);
	if (terminal < 0)
		make_pipe(p0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	child = fork();
	if (child == 0) {
		close(pair[1]);
		if (terminal < 0)
			close(p0[1]);
		close(p1[0]);
		close(p2[0]);
		run_child(&session, p0[0], p1[1], p2[1], pair[0]);
	}
	close(pair[0]);
	close(p1[1]);
	close(p2[1]);
	if (terminal < 0)
		close(p0[0]);
	in = terminal < 0 ? p0[1] : -1;
	out = p1[0];
	err = p2[0];
	peer = pair[1];
}

static int finish(void)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	in = close_fd(in);
	out = close_fd(out);
	err = close_fd(err);
	peer = close_fd(peer);
	return WEXITSTATUS(status);
}

static void expect_frame(enum frame_type wanted, const char *bytes, size_t n)
{
	_cleanup_free_ char *payload = NULL;
	enum frame_type type;
	size_t size;

	alarm(10);
	assert_int_equal(frame_read(peer, &type, &payload, &size), 0);
	assert_int_equal(type, wanted);
	assert_int_equal(size, n);
	assert_memory_equal(payload, bytes, n);
	alarm(0);
}

static void send_frame(enum frame_type type, const char *bytes, size_t n)
{
	assert_int_equal(frame_write(peer, type, bytes, n), 0);
}

static void streams_stay_apart_and_the_status_comes_through(void **state)
{
	char text[16] = "";

	begin((struct session){ .send_stdin = true }, -1);
	assert_int_equal(write(in, "hello", 5), 5);
	expect_frame(FRAME_STDIN, "hello", 5);
	in = close_fd(in);
	expect_frame(FRAME_STDIN, "", 0);
	send_frame(FRAME_STDOUT, "one\0two", 7);
	send_frame(FRAME_STDERR, "three", 5);
	send_frame(FRAME_STDOUT, "", 0);
	send_frame(FRAME_EXIT, "\x2a\0\0\0", 4);
	assert_int_equal(io_read_full(out, text, 7), 0);
	assert_memory_equal(text, "one\0two", 7);
	assert_int_equal(io_read_full(err, text, 5), 0);
	assert_memory_equal(text, "three", 5);
	assert_int_equal(finish(), 42);
}

static void signals_are_passed_on(void **state)
{
	begin((struct session){ .pass_signals = true }, -1);
	/* A frame that is shown proves that the signals are blocked by now. */
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(io_read_full(out, (char[1]){ 0 }, 1), 0);
	kill(child, SIGTERM);
	expect_frame(FRAME_SIGNAL, "\x0f\0\0\0", 4);
	kill(child, SIGUSR1);
	expect_frame(FRAME_SIGNAL, "\x0a\0\0\0", 4);
	send_frame(FRAME_EXIT, "\x07\0\0\0", 4);
	assert_int_equal(finish(), 7);
}

static void unpassed_signal_ends_the_session(void **state)
{
	begin((struct session){ 0 }, -1);
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(io_read_full(out, (char[1]){ 0 }, 1), 0);
	kill(child, SIGTERM);
	assert_int_equal(finish(), 100 + SESSION_SIGNALED);
}

/* What PID 1 of the box ignores must not keep us: a person at a terminal has only Ctrl-C. */
static void third_interrupt_is_passed_on_and_ends_the_session(void **state)
{
	begin((struct session){ .pass_signals = true }, -1);
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(io_read_full(out, (char[1]){ 0 }, 1), 0);
	kill(child, SIGINT);
	expect_frame(FRAME_SIGNAL, "\x02\0\0\0", 4);
	kill(child, SIGHUP);
	expect_frame(FRAME_SIGNAL, "\x01\0\0\0", 4);
	kill(child, SIGTERM);
	expect_frame(FRAME_SIGNAL, "\x0f\0\0\0", 4);
	kill(child, SIGINT);
	expect_frame(FRAME_SIGNAL, "\x02\0\0\0", 4);
	assert_int_equal(finish(), 100 + SESSION_FORCED);
}

static void lost_connection_and_dismissal_are_told_apart(void **state)
{
	begin((struct session){ 0 }, -1);
	peer = close_fd(peer);
	assert_int_equal(finish(), 100 + SESSION_LOST);
	begin((struct session){ 0 }, -1);
	send_frame(FRAME_DETACH, "", 0);
	assert_int_equal(finish(), 100 + SESSION_DISMISSED);
	begin((struct session){ 0 }, -1);
	assert_int_equal(io_write_full(peer, "garbage garbage garbage", 23), 0);
	assert_int_equal(finish(), 100 + SESSION_LOST);
}

/* A status that came before the peer went away counts, although we still had something to say. */
static void last_words_of_a_closed_peer_are_read(void **state)
{
	begin((struct session){ .send_stdin = true }, -1);
	send_frame(FRAME_STDOUT, "bye", 3);
	send_frame(FRAME_EXIT, "\x05\0\0\0", 4);
	peer = close_fd(peer);
	(void)!write(in, "more", 4);
	assert_int_equal(finish(), 5);
}

static void nobody_reads_the_output(void **state)
{
	begin((struct session){ 0 }, -1);
	out = close_fd(out);
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(finish(), 100 + SESSION_OUTPUT_CLOSED);
}

/* A process that does not read holds up whoever feeds us: we keep a bounded part. */
static void backlog_is_bounded(void **state)
{
	static char block[65536];
	size_t fed = 0;
	struct pollfd p;

	begin((struct session){ .send_stdin = true }, -1);
	assert_int_equal(io_set_nonblock(in, true), 0);
	p = (struct pollfd){ .fd = in, .events = POLLOUT };
	while (fed < 16u << 20 && poll(&p, 1, 200) == 1) {
		ssize_t n = write(in, block, sizeof(block));

		fed += n > 0 ? (size_t)n : 0;
	}
	assert_in_range(fed, 1, 2u << 20);
	send_frame(FRAME_EXIT, "\0\0\0\0", 4);
	assert_int_equal(finish(), 0);
}

static void terminal_is_raw_meanwhile_and_its_keys_detach(void **state)
{
	struct winsize size = { .ws_row = 33, .ws_col = 101 };
	struct session session = { .send_stdin = true, .tty = true };
	struct failure f = { 0 };
	struct termios before, after;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	assert_int_equal(session_parse_keys(&session, NULL, &f), 0);
	begin(session, slave);
	expect_frame(FRAME_RESIZE, "\x65\0\x21\0", 4);
	/* The terminal is raw as soon as output is shown. */
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(io_read_full(out, (char[1]){ 0 }, 1), 0);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag & (ICANON | ECHO | ISIG), 0);
	assert_int_equal(write(master, "\x03", 1), 1);
	expect_frame(FRAME_STDIN, "\x03", 1);
	/* Half of the sequence is held back until it is clear that it is none. */
	assert_int_equal(write(master, "\x10x", 2), 2);
	expect_frame(FRAME_STDIN, "\x10x", 2);
	assert_int_equal(write(master, "\x10\x10\x11", 3), 3);
	expect_frame(FRAME_STDIN, "\x10", 1);
	assert_int_equal(finish(), 100 + SESSION_DETACHED);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	close(master);
	close(slave);
}

/* The keys may begin again within their own beginning. */
static void keys_that_repeat_are_found(void **state)
{
	struct session session = { .send_stdin = true, .tty = true };
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct failure f = { 0 };
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	assert_int_equal(session_parse_keys(&session, "a,a,b", &f), 0);
	begin(session, slave);
	expect_frame(FRAME_RESIZE, "\x50\0\x18\0", 4);
	send_frame(FRAME_STDOUT, "x", 1);
	assert_int_equal(io_read_full(out, (char[1]){ 0 }, 1), 0);
	assert_int_equal(write(master, "aacaaab", 7), 7);
	expect_frame(FRAME_STDIN, "aaca", 4);
	assert_int_equal(finish(), 100 + SESSION_DETACHED);
	close(master);
	close(slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_stay_apart_and_the_status_comes_through),
		cmocka_unit_test(signals_are_passed_on),
		cmocka_unit_test(third_interrupt_is_passed_on_and_ends_the_session),
		cmocka_unit_test(unpassed_signal_ends_the_session),
		cmocka_unit_test(lost_connection_and_dismissal_are_told_apart),
		cmocka_unit_test(last_words_of_a_closed_peer_are_read),
		cmocka_unit_test(nobody_reads_the_output),
		cmocka_unit_test(backlog_is_bounded),
		cmocka_unit_test(terminal_is_raw_meanwhile_and_its_keys_detach),
		cmocka_unit_test(keys_that_repeat_are_found),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
