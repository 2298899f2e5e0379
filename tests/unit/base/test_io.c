/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/unit.h"

#include "base/err.h"
#include "base/frame.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/wire.h"

static char dir[] = "/tmp/a3s-test-XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return io_remove_tree(dir);
}

static void replaced_files_are_whole_and_leave_nothing(void **state)
{
	char path[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	struct stat st;

	assert_int_equal(io_path(path, sizeof(path), "%s/file", dir), 0);
	assert_int_equal(io_replace_file(path, "one", 3, 0600), 0);
	assert_int_equal(io_replace_file(path, "three", 5, 0600), 0);
	assert_int_equal(io_read_file(path, 100, &text, NULL), 0);
	assert_string_equal(text, "three");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(io_read_file(path, 4, &text, NULL), -EFBIG);
}

static void trees_are_removed_without_following_links(void **state)
{
	char path[PATH_MAX], outside[PATH_MAX];

	assert_int_equal(io_path(outside, sizeof(outside), "%s/outside/kept", dir), 0);
	assert_int_equal(io_make_dirs(outside, 0700), 0);
	assert_int_equal(io_path(path, sizeof(path), "%s/tree/a/b", dir), 0);
	assert_int_equal(io_make_dirs(path, 0700), 0);
	assert_int_equal(io_path(path, sizeof(path), "%s/tree/a/link", dir), 0);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_equal(io_path(path, sizeof(path), "%s/tree", dir), 0);
	assert_int_equal(io_remove_tree(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(outside, F_OK), 0);
	assert_int_equal(io_remove_tree(path), 0);
}

static void sockets_work_behind_long_paths(void **state)
{
	char path[PATH_MAX];
	_cleanup_close_ int listener = -1, client = -1;

	assert_int_equal(io_path(path, sizeof(path), "%s/%0120d", dir, 0), 0);
	assert_int_equal(io_make_dirs(path, 0700), 0);
	assert_int_equal(io_path(path, sizeof(path), "%s/%0120d/sock", dir, 0), 0);
	listener = io_unix_listen(path, 0600);
	assert_true(listener >= 0);
	client = io_unix_connect(path);
	assert_true(client >= 0);
}

static void locks_die_with_their_holder(void **state)
{
	char path[PATH_MAX];
	int fd;

	assert_int_equal(io_path(path, sizeof(path), "%s/lock", dir), 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_false(io_is_locked(path));
	assert_int_equal(io_lock(fd, false), 0);
	assert_true(io_is_locked(path));
	close(fd);
	assert_false(io_is_locked(path));
}

static void fds_travel_and_none_leaks(void **state)
{
	int pair[2], ends[2], got[1];
	size_t n = 1;
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(io_send_fds(pair[0], "x", 1, (int[]){ ends[1], ends[1] }, 2), 1);
	assert_int_equal(io_recv_fds(pair[1], &byte, 1, got, &n), 1);
	assert_int_equal(n, 1);
	close(got[0]);
	close(ends[1]);
	/* every writer is closed, the copy that found no room included: end of file */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	close(pair[0]);
	close(pair[1]);
}

static void frames_round_trip_in_pieces(void **state)
{
	struct frame_buffer out = { 0 }, in = { 0 };
	const uint8_t *payload;
	enum frame_type type;
	int pair[2];
	size_t size;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(frame_buffer_add(&out, FRAME_STDOUT, "hello", 5), 0);
	assert_int_equal(frame_buffer_add(&out, FRAME_STDIN, NULL, 0), 0);
	for (size_t i = 0; i < out.size; i++) {
		assert_int_equal(write(pair[0], out.data + i, 1), 1);
		assert_int_equal(frame_buffer_receive(&in, pair[1]), 1);
		if (i == FRAME_HEADER + 4)
			break;
		assert_int_equal(frame_buffer_next(&in, &type, &payload, &size), 0);
	}
	assert_int_equal(frame_buffer_next(&in, &type, &payload, &size), 1);
	assert_int_equal(type, FRAME_STDOUT);
	assert_memory_equal(payload, "hello", 5);
	assert_int_equal(write(pair[0], "\x63\0\0\0\0\0\0\0", 8), 8);
	assert_int_equal(frame_buffer_receive(&in, pair[1]), 8);
	assert_int_equal(frame_buffer_next(&in, &type, &payload, &size), -EBADMSG);
	frame_buffer_deinit(&in);
	frame_buffer_deinit(&out);
	close(pair[0]);
	close(pair[1]);
}

static void wire_errors_stick(void **state)
{
	const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7 };
	struct wire w = wire_reader(bytes, sizeof(bytes));

	assert_int_equal(wire_be16(&w), 0x0102);
	assert_int_equal(wire_le32(&w), 0x06050403);
	assert_int_equal(wire_be16(&w), 0);
	assert_true(w.bad);
	assert_int_equal(wire_u8(&w), 0);
	assert_int_equal(wire_left(&w), 0);
	assert_null(wire_take(&w, 1));
}

static void children_get_exactly_their_fds(void **state)
{
	const char *argv[] = { "/bin/sh", "-c", "ls /proc/self/fd | tr '\\n' ' ' >&9; readlink /proc/self/fd/9 >&2", NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	char text[64] = { 0 };
	int ends[2], pidfd, stray = open("/dev/null", O_RDONLY); /* not close-on-exec on purpose */
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	spec.argv = argv;
	spec.fds = &(struct proc_fd){ .parent = ends[1], .child = 9 };
	spec.n_fds = 1;
	assert_int_equal(proc_spawn(&spec, &pid, &pidfd), 0);
	close(ends[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	/* ls itself opens the directory as 3 */
	assert_string_equal(text, "0 1 2 3 9 ");
	close(ends[0]);
	close(pidfd);
	close(stray);
}

static void failed_exec_is_reported(void **state)
{
	struct proc_spec spec = PROC_SPEC_NULL;
	pid_t pid;

	spec.argv = (const char *[]){ "/nonexistent/program", NULL };
	assert_int_equal(proc_spawn(&spec, &pid, NULL), -ENOENT);
}

/* In a process of its own, where pidfd_open() is refused: no child may be left that nobody can watch. */
static void spawn_without_pidfd(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EMFILE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { ARRAY_SIZE(code), code };
	const char *argv[] = { "sleep", "1000", NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	int pidfd = -1;
	pid_t pid = 0;

	spec.argv = argv;
	spec.die_with_parent = true;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		_exit(1);
	if (proc_spawn(&spec, &pid, &pidfd) != -EMFILE)
		_exit(2);
	_exit(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 3);
}

static void unwatchable_children_are_not_left(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		spawn_without_pidfd();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void fds_beyond_the_room_are_refused(void **state)
{
	static const int numbers[] = { 0, 2, 256, 300 };
	const char *argv[] = { "true", NULL };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct proc_fd fds[] = { { STDIN_FILENO, numbers[i] } };
		struct proc_spec spec = PROC_SPEC_NULL;
		pid_t pid;

		spec.argv = argv;
		spec.fds = fds;
		spec.n_fds = 1;
		assert_int_equal(proc_spawn(&spec, &pid, NULL), -EINVAL);
	}
}

static void runs_give_status_and_output(void **state)
{
	char *output = NULL;

	assert_int_equal(proc_run((const char *[]){ "sh", "-c", "echo out; echo err >&2; exit 3", NULL }, &output), 3);
	assert_string_equal(output, "out\nerr\n");
	free(output);
	assert_int_equal(proc_run((const char *[]){ "sh", "-c", "kill -9 $$", NULL }, NULL), 128 + SIGKILL);
}

static void failures_read_from_outside_in(void **state)
{
	struct failure f = { 0 };

	assert_int_equal(fail(&f, EXIT_USAGE, "port %d is taken\n", 80), -1);
	fail_wrap(&f, "box %s", "web");
	assert_string_equal(f.text, "box web: port 80 is taken");
	assert_int_equal(f.code, 125);
	fail_errno(&f, EXIT_FAILED, -ENOSPC, "cannot write %s", "x");
	assert_string_equal(f.text, "cannot write x: No space left on device");
}

static void damaged_files_are_named_and_kept(void **state)
{
	char path[PATH_MAX];
	struct failure f = { 0 };
	json_t *value = NULL;

	assert_int_equal(io_path(path, sizeof(path), "%s/bad.json", dir), 0);
	assert_int_equal(io_replace_file(path, "{\"a\":", 5, 0600), 0);
	assert_int_equal(json_read_file(path, &value, &f), -EBADMSG);
	assert_non_null(strstr(f.text, path));
	assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaced_files_are_whole_and_leave_nothing),
		cmocka_unit_test(trees_are_removed_without_following_links),
		cmocka_unit_test(sockets_work_behind_long_paths),
		cmocka_unit_test(locks_die_with_their_holder),
		cmocka_unit_test(fds_travel_and_none_leaks),
		cmocka_unit_test(frames_round_trip_in_pieces),
		cmocka_unit_test(wire_errors_stick),
		cmocka_unit_test(children_get_exactly_their_fds),
		cmocka_unit_test(failed_exec_is_reported),
		cmocka_unit_test(unwatchable_children_are_not_left),
		cmocka_unit_test(fds_beyond_the_room_are_refused),
		cmocka_unit_test(runs_give_status_and_output),
		cmocka_unit_test(failures_read_from_outside_in),
		cmocka_unit_test(damaged_files_are_named_and_kept),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
