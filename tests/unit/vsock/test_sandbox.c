/* SPDX-License-Identifier: Apache-2.0 */
/* S03: what the program gave up is gone. Each check runs in a child that has entered the sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"
#include "vsock/sandbox.h"

/* Runs fn inside; it returns an errno or 0, which must be `expected`. */
static void expect_inside(int (*fn)(void), int expected)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(sandbox_enter() < 0 ? 255 : fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), expected);
}

static int try_open(void)
{
	return open("/dev/null", O_RDONLY) < 0 ? errno : 0;
}

static int try_openat_write(void)
{
	return openat(AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600) < 0 ? errno : 0;
}

static int try_execve(void)
{
	char *argv[] = { NULL };

	return execve("/bin/true", argv, argv) < 0 ? errno : 0;
}

static int try_fork(void)
{
	return fork() < 0 ? errno : 0;
}

static int try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}

static int try_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? errno : 0;
}

static int try_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 ? errno : 0;
}

static int try_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd >= 0 && listen(fd, 1) < 0 ? errno : 0;
}

static int try_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int try_inet(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9) };
	int udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (tcp < 0 || (udp < 0 && errno != EAFNOSUPPORT))
		return errno;
	return connect(tcp, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EPERM ? EPERM : 0;
}

static void files_and_programs_are_denied(void **state)
{
	expect_inside(try_open, EPERM);
	expect_inside(try_openat_write, EPERM);
	expect_inside(try_execve, EPERM);
	expect_inside(try_fork, EPERM);
	expect_inside(try_ptrace, EPERM);
	expect_inside(try_code, EPERM);
}

static void sockets_are_internet_ones_that_connect(void **state)
{
	expect_inside(try_unix, EPERM);
	expect_inside(try_netlink, EPERM);
	expect_inside(try_raw, EPERM);
	expect_inside(try_listen, EPERM);
	expect_inside(try_inet, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_programs_are_denied),
		cmocka_unit_test(sockets_are_internet_ones_that_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
