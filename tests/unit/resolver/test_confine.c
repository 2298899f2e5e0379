/* SPDX-License-Identifier: Apache-2.0 */
/* S03: what the program may no longer do once it serves; and the program itself, from its start to its peer's end. */
#include "../../lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/proc.h"
#include "resolver/dns.h"
#include "resolver/protocol.h"
#include "resolver/resolver.h"

static bool denied(int result)
{
	return result < 0 && (errno == EPERM || errno == EACCES);
}

/* Number of the first line that went otherwise than it should, 0 when none did. */
static int confined_child(void)
{
	char *const argv[] = { (char[]){ "true" }, NULL };
	int fd;

	if (resolver_confine() < 0)
		return __LINE__ & 0x7f;
	if (!denied(open("/tmp/resolver-wrote-this", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)))
		return __LINE__ & 0x7f;
	if (!denied(open("/etc/hosts", O_RDWR | O_CLOEXEC)))
		return __LINE__ & 0x7f;
	if (!denied(execv("/bin/true", argv)))
		return __LINE__ & 0x7f;
	if (!denied(socket(AF_UNIX, SOCK_STREAM, 0)) || !denied(socket(AF_NETLINK, SOCK_RAW, 0)) || !denied(socket(AF_INET, SOCK_RAW, 1)))
		return __LINE__ & 0x7f;
	if (!denied(unlink("/tmp/resolver-nothing")) || !denied(mkdir("/tmp/resolver-nothing", 0700)))
		return __LINE__ & 0x7f;
	if (!denied(kill(getppid(), 0)) || !denied(setuid(0)))
		return __LINE__ & 0x7f;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return __LINE__ & 0x7f;
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || close(fd) < 0)
		return __LINE__ & 0x7f;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? __LINE__ & 0x7f : 0;
}

static void test_confined(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(confined_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A name server's socket on the loopback interface, and its port in text. */
static int serve(char ret_port[static 8])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	getsockname(fd, (struct sockaddr *)&address, &size);
	snprintf(ret_port, 8, "%u", ntohs(address.sin_port));
	return fd;
}

static void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 20000), 1);
}

static void test_program(void **state)
{
	static const uint8_t query[] = "\1\0\0\0" "\0" "\0\0\0" "\x12\x34\1\0\0\1\0\0\0\0\0\0" "\4name\0" "\0\1\0\1";
	const size_t size = sizeof(query) - 1;
	char directory[] = "/tmp/test-resolver-XXXXXX", path[64], port[8];
	const char *program = getenv("A3S_TEST_RESOLVER");
	const char *argv[] = { program, "--fd", "3", "--resolv-conf", path, "--port", port, NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	struct sockaddr_in from;
	socklen_t from_size = sizeof(from);
	uint8_t buffer[600];
	int server = serve(port), pair[2], pidfd, status;
	ssize_t n;
	pid_t pid;

	assert_non_null(program);
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chmod(directory, 0755), 0);
	snprintf(path, sizeof(path), "%s/resolv.conf", directory);
	assert_int_equal(io_replace_file(path, "nameserver 192.0.0.9\n", 21, 0644), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	spec.argv = argv;
	spec.fds = &(struct proc_fd){ .parent = pair[1], .child = 3 };
	spec.n_fds = 1;
	spec.stderr_fd = 2;
	spec.die_with_parent = true;
	assert_int_equal(proc_spawn(&spec, &pid, &pidfd), 0);
	close(pair[1]);

	/* Inside its sandbox it still follows the file: first there is no usable server but the default, then another way to say it. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(send(pair[0], query, size, 0), size);
		wait_readable(server);
		n = recvfrom(server, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &from_size);
		assert_int_equal(n, size - RESOLVER_HEADER);
		buffer[2] |= 0x80;
		assert_int_equal(sendto(server, buffer, (size_t)n, 0, (struct sockaddr *)&from, from_size), n);
		wait_readable(pair[0]);
		n = recv(pair[0], buffer, sizeof(buffer), 0);
		assert_int_equal(n, size);
		assert_int_equal(buffer[4], RESOLVER_ANSWERED);
		assert_int_equal(dns_id(buffer + RESOLVER_HEADER), 0x1234);
		assert_int_equal(io_replace_file(path, "nameserver ::ffff:127.0.0.1\n", 28, 0644), 0);
	}
	close(pair[0]);
	wait_readable(pidfd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(pidfd);
	close(server);
	io_remove_tree(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_confined), cmocka_unit_test(test_program) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
