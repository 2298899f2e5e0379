/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's conversations over socketpairs, with real processes but without namespaces: streams, ends, exit codes,
 * back-pressure, lost connections. The test plays the host: it turns the agent's loop until the frames that it waits for
 * are there, or a deadline has passed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "base/wire.h"
#include "guest/agent.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define DEADLINE_MS 20000

/**
 * struct host - the other side of one conversation
 * @out, @err:	what has arrived; ended when the empty frame has
 * @status:	-1 until FRAME_EXIT
 */
struct host {
	int fd;
	struct frame_buffer received, sending;
	char *out, *err;
	size_t out_size, err_size;
	bool out_ended, err_ended, closed, paused;
	json_t *reply;
	unsigned n_replies;
	int status;
};

static struct agent agent;
static struct loop *loop;
static struct loop_io children;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_child(struct loop_io *io, uint32_t events)
{
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) > 0)
		;
}

static int set_up(void **state)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	children = (struct loop_io)LOOP_IO_NULL;
	if (loop_new(&loop) < 0 || loop_io_add(loop, &children, fd, EPOLLIN, on_child) < 0)
		return -1;
	agent_init(&agent, loop, false);
	return 0;
}

static int tear_down(void **state)
{
	int fd = children.fd;

	agent_deinit(&agent);
	loop_io_remove(&children);
	close(fd);
	loop = loop_free(loop);
	return 0;
}

static void open_host(struct host *h, enum agent_port port)
{
	int fds[2];

	*h = (struct host){ .status = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	h->fd = fds[0];
	assert_int_equal(conversation_open(&agent, port, fds[1]), 0);
}

static void close_host(struct host *h)
{
	h->fd = close_fd(h->fd);
	frame_buffer_deinit(&h->received);
	frame_buffer_deinit(&h->sending);
	free(h->out);
	free(h->err);
	json_decref(h->reply);
}

static void append(char **text, size_t *size, bool *ended, const uint8_t *data, size_t n)
{
	if (n == 0)
		*ended = true;
	*text = realloc(*text, *size + n + 1);
	assert_non_null(*text);
	memcpy(*text + *size, data, n);
	*size += n;
	(*text)[*size] = '\0';
}

static void take(struct host *h, enum frame_type type, const uint8_t *data, size_t size)
{
	struct wire w = wire_reader(data, size);

	assert_int_equal(h->status, -1); /* FRAME_EXIT is the last one */
	if (type == FRAME_STDOUT) {
		append(&h->out, &h->out_size, &h->out_ended, data, size);
	} else if (type == FRAME_STDERR) {
		append(&h->err, &h->err_size, &h->err_ended, data, size);
	} else if (type == FRAME_EXIT) {
		h->status = (int)wire_le32(&w);
	} else {
		assert_int_equal(type, FRAME_REPLY);
		json_decref(h->reply);
		h->reply = json_loadb((const char *)data, size, 0, NULL);
		assert_non_null(h->reply);
		h->n_replies++;
	}
}

static void host_turn(struct host *h)
{
	enum frame_type type;
	const uint8_t *data;
	size_t size;
	int r;

	if (h->fd < 0)
		return;
	(void)frame_buffer_send(&h->sending, h->fd);
	if (h->paused)
		return;
	r = frame_buffer_receive(&h->received, h->fd);
	h->closed |= r == 0 || (r < 0 && r != -EAGAIN);
	while (frame_buffer_next(&h->received, &type, &data, &size) == 1)
		take(h, type, data, size);
}

static void turn(void)
{
	assert_true(loop_turn(loop, 10) >= 0);
	agent_reap(&agent);
}

static bool has_reply(const struct host *h) { return h->n_replies > 0; }
static bool has_exit(const struct host *h) { return h->status >= 0; }
static bool is_closed(const struct host *h) { return h->closed; }
static bool has_output(const struct host *h) { return h->out_size > 0; }
static bool out_ended(const struct host *h) { return h->out_ended; }

static void wait_for(struct host *h, bool (*condition)(const struct host *h))
{
	int64_t deadline = now_ms() + DEADLINE_MS;

	while (!condition(h)) {
		assert_true(now_ms() < deadline);
		turn();
		host_turn(h);
	}
}

static void request(struct host *h, const char *text)
{
	assert_int_equal(frame_buffer_add(&h->sending, FRAME_REQUEST, text, strlen(text)), 0);
	host_turn(h);
}

static void send_stdin(struct host *h, const void *data, size_t size)
{
	assert_int_equal(frame_buffer_add(&h->sending, FRAME_STDIN, data, size), 0);
	host_turn(h);
}

static void send_signal(struct host *h, uint32_t number)
{
	uint8_t bytes[4];
	struct wire w = wire_writer(bytes, sizeof(bytes));

	wire_put_le32(&w, number);
	assert_int_equal(frame_buffer_add(&h->sending, FRAME_SIGNAL, bytes, sizeof(bytes)), 0);
	host_turn(h);
}

/* The user is named, so that the tests run the same for root and for others. */
static void run_shell(struct host *h, const char *op, const char *script, bool with_stdin)
{
	json_t *r = json_pack("{s:s,s:[s,s,s],s:s+,s:b}", "op", op, "argv", "/bin/sh", "-c", script, "user",
			      getuid() == 0 ? "0" : "", "", "stdin", (int)with_stdin);
	_cleanup_free_ char *text = NULL;
	char user[16];

	snprintf(user, sizeof(user), "%u", getuid());
	json_object_set_new(r, "user", json_string(user));
	text = json_dumps(r, 0);
	json_decref(r);
	request(h, text);
}

static void outputs_are_kept_apart_and_ended(void **state) /* C01 */
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "echo out; echo err >&2; exit 7", false);
	wait_for(&h, has_exit);
	assert_true(json_is_true(json_object_get(h.reply, "ok")));
	assert_string_equal(h.out, "out\n");
	assert_string_equal(h.err, "err\n");
	assert_true(h.out_ended && h.err_ended);
	assert_int_equal(h.status, 7);
	wait_for(&h, is_closed);
	close_host(&h);
}

static void a_signal_is_128_more(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "echo up; exec sleep 1000", false);
	wait_for(&h, has_output);
	send_signal(&h, SIGTERM);
	wait_for(&h, has_exit);
	assert_int_equal(h.status, 128 + SIGTERM);
	close_host(&h);
}

static void what_cannot_run_is_said_before_ok(void **state) /* C03: 126, 127 */
{
	static const struct {
		const char *argv, *cwd, *user, *error;
		int code;
	} cases[] = {
		{ "[\"no-such-program\"]", "/", NULL, "exec: \"no-such-program\": executable file not found in $PATH", 127 },
		{ "[\"/no/such\"]", "/", NULL, "exec: \"/no/such\": no such file or directory", 127 },
		{ "[\"/etc\"]", "/", NULL, "exec: \"/etc\": is a directory", 126 },
		{ "[\"/etc/passwd\"]", "/", NULL, "exec: \"/etc/passwd\": permission denied", 126 },
		{ "[\"\"]", "/", NULL, "exec: \"\": executable file not found in $PATH", 127 },
		{ "[\"true\"]", "/no/such", NULL, "cannot change to the working directory \"/no/such\": No such file or directory", 127 },
		{ "[\"true\"]", "relative", NULL, "the working directory 'relative' is invalid: it needs to be an absolute path", 125 },
		{ "[\"true\"]", "/", "no-such-user", "unable to find user no-such-user: no matching entries in passwd file", 126 },
		{ "[]", "/", NULL, "no command given", 125 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512], user[16];
		struct host h;

		snprintf(user, sizeof(user), "%u", getuid());
		snprintf(text, sizeof(text), "{\"op\":\"exec\",\"argv\":%s,\"cwd\":\"%s\",\"user\":\"%s\"}", cases[i].argv, cases[i].cwd,
			 cases[i].user ? cases[i].user : user);
		open_host(&h, AGENT_PORT_EXEC);
		request(&h, text);
		wait_for(&h, is_closed);
		assert_true(json_is_false(json_object_get(h.reply, "ok")));
		assert_string_equal(json_str(h.reply, "error", ""), cases[i].error);
		assert_int_equal(json_int(h.reply, "code", 0), cases[i].code);
		assert_int_equal(h.n_replies, 1);
		assert_int_equal(h.status, -1);
		close_host(&h);
	}
}

static void input_comes_back_byte_for_byte(void **state) /* C03 at a small size */
{
	size_t size = 3u << 20;
	_cleanup_free_ char *data = malloc(size);
	struct host h;
	uint32_t x = 1;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (char)(x >> 24);
	}
	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "cat; echo end >&2", true);
	for (size_t i = 0; i < size; i += FRAME_DATA_MAX)
		send_stdin(&h, data + i, MIN(FRAME_DATA_MAX, size - i));
	send_stdin(&h, NULL, 0);
	wait_for(&h, has_exit);
	assert_int_equal(h.out_size, size);
	assert_memory_equal(h.out, data, size);
	assert_string_equal(h.err, "end\n");
	close_host(&h);
}

static void without_input_there_is_dev_null(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "cat; readlink /proc/self/fd/0", false);
	wait_for(&h, has_exit);
	assert_string_equal(h.out, "/dev/null\n");
	close_host(&h);
}

static void a_slow_host_holds_up_the_process_not_memory(void **state) /* C04 */
{
	struct conversation *c;
	struct host h;
	size_t biggest = 0;

	open_host(&h, AGENT_PORT_EXEC);
	c = agent.conversations;
	run_shell(&h, "exec", "head -c 4000000 /dev/zero", false);
	wait_for(&h, has_reply);
	h.paused = true;
	for (int i = 0; i < 20 || biggest < CONVERSATION_BACKLOG; i++) {
		turn();
		biggest = MAX(biggest, frame_buffer_size(&c->sending));
	}
	assert_true(biggest <= CONVERSATION_BACKLOG + 2 * (FRAME_DATA_MAX + FRAME_HEADER));
	assert_false(agent.processes.list->ended);
	h.paused = false;
	wait_for(&h, has_exit);
	assert_int_equal(h.out_size, 4000000);
	close_host(&h);
}

static void a_deaf_process_holds_up_the_host(void **state)
{
	static const char data[FRAME_DATA_MAX];
	struct conversation *c;
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	c = agent.conversations;
	run_shell(&h, "exec", "echo up; kill -STOP $$; exit 3", true);
	wait_for(&h, has_output);
	for (int i = 0; i < 64; i++)
		send_stdin(&h, data, sizeof(data));
	for (int i = 0; i < 20; i++) {
		turn();
		host_turn(&h);
	}
	assert_true(frame_buffer_size(&h.sending) > 0); /* 4 MiB do not fit in between */
	assert_true(frame_buffer_size(&c->received) <= FRAME_MAX + FRAME_HEADER);
	assert_int_equal(kill((pid_t)json_int(h.reply, "pid", 0), SIGCONT), 0);
	wait_for(&h, has_exit); /* whatever it has not read */
	assert_int_equal(h.status, 3);
	close_host(&h);
}

static void a_process_in_the_background_delays_nothing(void **state)
{
	struct host h;
	int64_t start = now_ms();

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "sleep 30 & echo $!", false);
	wait_for(&h, has_exit);
	assert_true(now_ms() - start < 10000);
	assert_int_equal(h.status, 0);
	assert_int_equal(kill((pid_t)atoi(h.out), SIGKILL), 0);
	close_host(&h);
}

static void a_noisy_one_in_the_background_neither(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "yes & echo $! >&2", false);
	wait_for(&h, has_exit);
	assert_true(h.out_ended);
	assert_int_equal(kill((pid_t)atoi(h.err), SIGKILL), 0);
	close_host(&h);
}

static void an_output_may_end_before_the_process(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "echo first; exec >&-; read line; echo second >&2", true);
	wait_for(&h, out_ended);
	assert_int_equal(h.status, -1);
	send_stdin(&h, "\n", 1);
	wait_for(&h, has_exit);
	assert_string_equal(h.out, "first\n");
	assert_string_equal(h.err, "second\n");
	close_host(&h);
}

static void a_lost_connection_hangs_up(void **state)
{
	int64_t deadline = now_ms() + DEADLINE_MS;
	struct host h;
	pid_t pid;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "echo up; exec sleep 1000", false);
	wait_for(&h, has_output);
	pid = (pid_t)json_int(h.reply, "pid", 0);
	close_host(&h);
	while (kill(pid, 0) == 0) {
		assert_true(now_ms() < deadline);
		turn();
	}
	assert_null(agent.processes.list);
	assert_int_equal(agent.n_conversations, 0);
}

/* R02: the loss is seen only when the connection refuses what was read from main. */
static void output_that_was_refused_comes_again(void **state)
{
	int64_t deadline = now_ms() + DEADLINE_MS;
	struct host h, again;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "main", "echo one; read line; echo $line; read line; exit 5", true);
	wait_for(&h, has_output);
	send_stdin(&h, "kept\n", 5);
	assert_int_equal(shutdown(h.fd, SHUT_RD), 0);
	while (agent.n_conversations) {
		assert_true(now_ms() < deadline);
		turn();
	}
	close_host(&h);
	open_host(&again, AGENT_PORT_EXEC);
	request(&again, "{\"op\":\"attach\"}");
	wait_for(&again, has_output);
	assert_string_equal(again.out, "kept\n");
	send_stdin(&again, "\n", 1);
	wait_for(&again, has_exit);
	assert_int_equal(again.status, 5);
	close_host(&again);
}

static void main_outlives_its_connection(void **state) /* R02 */
{
	struct host h, again;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "main", "echo one; read line; echo $line; read line; exit 5", true);
	wait_for(&h, has_output);
	close_host(&h);
	turn();

	open_host(&again, AGENT_PORT_EXEC);
	request(&again, "{\"op\":\"attach\"}");
	send_stdin(&again, "two\n", 4);
	wait_for(&again, has_output);
	assert_string_equal(again.out, "two\n");
	close_host(&again);

	open_host(&h, AGENT_PORT_EXEC);
	request(&h, "{\"op\":\"attach\"}");
	open_host(&again, AGENT_PORT_EXEC); /* while the older one is still open */
	request(&again, "{\"op\":\"attach\"}");
	wait_for(&h, is_closed);
	send_stdin(&again, "\n", 1);
	wait_for(&again, has_exit);
	assert_int_equal(again.status, 5);
	close_host(&h);
	close_host(&again);

	open_host(&h, AGENT_PORT_EXEC); /* its end can be asked for again */
	request(&h, "{\"op\":\"attach\"}");
	wait_for(&h, has_exit);
	assert_int_equal(h.status, 5);
	close_host(&h);

	open_host(&h, AGENT_PORT_EXEC); /* once per boot */
	run_shell(&h, "main", "true", false);
	wait_for(&h, is_closed);
	assert_int_equal(json_int(h.reply, "code", 0), EXIT_FAILED);
	close_host(&h);
}

static void a_signal_overtakes_input(void **state)
{
	static const char data[FRAME_DATA_MAX];
	struct host h, control;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "main", "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done", true);
	wait_for(&h, has_output);
	for (int i = 0; i < 32; i++)
		send_stdin(&h, data, sizeof(data));
	open_host(&control, AGENT_PORT_CONTROL);
	request(&control, "{\"op\":\"signal\",\"signal\":15}");
	wait_for(&control, has_reply);
	assert_true(json_is_true(json_object_get(control.reply, "ok")));
	wait_for(&h, has_exit);
	assert_int_equal(h.status, 9);
	close_host(&control);
	close_host(&h);
}

static void a_terminal_has_a_size_and_one_output(void **state) /* 4090 */
{
	char text[256];
	struct host h;

	open_host(&h, AGENT_PORT_TERMINAL);
	snprintf(text, sizeof(text),
		 "{\"op\":\"exec\",\"argv\":[\"/bin/sh\",\"-c\",\"stty size; tty; echo err >&2; exit 4\"],\"tty\":true,\"stdin\":true,"
		 "\"columns\":91,\"rows\":17,\"user\":\"%u\"}", getuid());
	request(&h, text);
	wait_for(&h, has_exit);
	assert_int_equal(h.status, 4);
	assert_int_equal(strncmp(h.out, "17 91\r\n/dev/pts/", 16), 0);
	assert_non_null(strstr(h.out, "\r\nerr\r\n"));
	assert_int_equal(h.err_size, 0);
	close_host(&h);
}

static bool saw_up(const struct host *h) { return h->out && strstr(h->out, "up"); }

static void a_terminal_can_be_resized_and_lost(void **state)
{
	static const uint8_t size[] = { 100, 0, 50, 0 };
	int64_t deadline = now_ms() + DEADLINE_MS;
	char text[256];
	struct host h;
	pid_t pid;

	open_host(&h, AGENT_PORT_TERMINAL);
	snprintf(text, sizeof(text),
		 "{\"op\":\"exec\",\"argv\":[\"/bin/sh\",\"-c\",\"read x; stty size; echo up; cat\"],\"tty\":true,"
		 "\"stdin\":true,\"user\":\"%u\"}", getuid());
	request(&h, text);
	wait_for(&h, has_reply);
	assert_int_equal(frame_buffer_add(&h.sending, FRAME_RESIZE, size, sizeof(size)), 0);
	send_stdin(&h, "\n", 1);
	wait_for(&h, saw_up);
	assert_non_null(strstr(h.out, "50 100"));
	pid = (pid_t)json_int(h.reply, "pid", 0);
	close_host(&h);
	while (kill(pid, 0) == 0) {
		assert_true(now_ms() < deadline);
		turn();
	}
}

static void what_is_malformed_ends_the_conversation(void **state) /* S01 */
{
	int64_t deadline = now_ms() + DEADLINE_MS;
	static const struct {
		const char *bytes;
		size_t size;
		enum agent_port port;
		bool replied;
	} cases[] = {
		{ "\0\0\0\0\0\0\0\0", 8, AGENT_PORT_CONTROL, false },		    /* no such type */
		{ "\1\0\0\0\377\377\377\377", 8, AGENT_PORT_CONTROL, false },	    /* too long */
		{ "\3\0\0\0\0\0\0\0", 8, AGENT_PORT_CONTROL, false },		    /* input of nothing */
		{ "\1\0\0\0\1\0\0\0{", 9, AGENT_PORT_EXEC, true },		    /* not JSON */
		{ "\1\0\0\0\2\0\0\0[]", 10, AGENT_PORT_EXEC, true },		    /* not an object */
		{ "\1\0\0\0\2\0\0\0{}", 10, AGENT_PORT_EXEC, true },		    /* no op */
		{ "\1\0\0\0\16\0\0\0{\"op\":\"exec\"}\n", 22, AGENT_PORT_EXEC, true }, /* no command */
		{ "\1\0\0\0\17\0\0\0{\"op\":\"attach\"}", 23, AGENT_PORT_EXEC, true }, /* nothing to attach to */
		{ "\1\0\0\0\2\0\0\0{}", 10, AGENT_PORT_ATTESTATION, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host h;

		open_host(&h, cases[i].port);
		assert_int_equal(write(h.fd, cases[i].bytes, cases[i].size), cases[i].size);
		wait_for(&h, is_closed);
		assert_int_equal(h.n_replies, cases[i].replied);
		assert_false(h.reply && json_is_true(json_object_get(h.reply, "ok")));
		close_host(&h);
	}
	while (agent.n_conversations) {
		assert_true(now_ms() < deadline);
		turn();
	}
}

static void control_answers_many_times(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_CONTROL);
	for (unsigned i = 1; i <= 100; i++)
		request(&h, "{\"op\":\"ping\"}");
	request(&h, "{\"op\":\"nonsense\"}");
	while (h.n_replies < 101) {
		turn();
		host_turn(&h);
		if (h.n_replies == 100)
			assert_true(json_is_true(json_object_get(h.reply, "ok")));
	}
	assert_string_equal(json_str(h.reply, "error", ""), "unknown request \"nonsense\"");
	close_host(&h);
}

static void attestation_says_that_there_is_none(void **state)
{
	struct host h;

	open_host(&h, AGENT_PORT_ATTESTATION);
	request(&h, "{\"op\":\"report\"}");
	wait_for(&h, is_closed);
	assert_string_equal(json_str(h.reply, "error", ""), "this machine has no attestation hardware");
	close_host(&h);
}

static void a_child_inherits_nothing_of_ours(void **state) /* S: no fd of the agent reaches the box */
{
	struct host h;

	open_host(&h, AGENT_PORT_EXEC);
	run_shell(&h, "exec", "ls /proc/self/fd | wc -l; umask; grep -E 'SigBlk|SigIgn' /proc/self/status", false);
	wait_for(&h, has_exit);
	assert_string_equal(h.out, "4\n0022\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	close_host(&h);
}

/* make starts its commands by posix_spawn, which leaves the C library's own two signals ignored; sigaction() refuses them. */
static void default_internal_signals(void)
{
	const unsigned long kernel_sigaction[4] = { 0 }; /* SIG_DFL */

	for (long sig = 32; sig <= 33; sig++)
		(void)syscall(SYS_rt_sigaction, sig, kernel_sigaction, NULL, 8L);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(outputs_are_kept_apart_and_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signal_is_128_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_run_is_said_before_ok, set_up, tear_down),
		cmocka_unit_test_setup_teardown(input_comes_back_byte_for_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_input_there_is_dev_null, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_host_holds_up_the_process_not_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_deaf_process_holds_up_the_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_process_in_the_background_delays_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_noisy_one_in_the_background_neither, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_output_may_end_before_the_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_connection_hangs_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(output_that_was_refused_comes_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(main_outlives_its_connection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signal_overtakes_input, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_terminal_has_a_size_and_one_output, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_terminal_can_be_resized_and_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_malformed_ends_the_conversation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(control_answers_many_times, set_up, tear_down),
		cmocka_unit_test_setup_teardown(attestation_says_that_there_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_child_inherits_nothing_of_ours, set_up, tear_down),
	};

	default_internal_signals();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
