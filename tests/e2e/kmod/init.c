// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * PID 1 of the test's guest: modules, addresses, the host's stand-in, then the cases, each in a process of its own. The
 * last line is the verdict, which run.sh looks for; the kernel log must have no complaint.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "host.h"
#include "test.h"

static const char *const modules[] = { "vsock.ko", "vmw_vsock_virtio_transport_common.ko", "vsock_loopback.ko" };
static unsigned failed, passed;

static void init_load(const char *name, const char *parameters)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, parameters, 0))
		test_fail("init.c", 0, path);
	close(fd);
}

/* lo is up, and carries an address that is the guest's own beside those of the loopback. */
static void init_addresses(void)
{
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
		struct rtattr attribute;
		uint32_t v4;
	} add = {
		.header = { .nlmsg_len = sizeof(add), .nlmsg_type = RTM_NEWADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE },
		.address = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1 },
		.attribute = { .rta_len = RTA_LENGTH(4), .rta_type = IFA_LOCAL },
		.v4 = htonl(TSI_ADDRESS_GUEST),
	};
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), route = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &up), 0);
	CHECK_EQ(send(route, &add, sizeof(add), 0), sizeof(add));
	close(fd);
	close(route);
}

/* Sockets are freed a little after their processes are gone: by vsock's workers, and after a grace period. */
static int init_unload(void)
{
	long deadline = test_now_ms() + TEST_DEADLINE_MS;
	int r;

	while ((r = syscall(SYS_delete_module, "tsi", O_NONBLOCK)) && errno == EAGAIN && test_now_ms() < deadline)
		usleep(10000);
	return r;
}

static void init_run(const struct test *test)
{
	long start = test_now_ms();
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(4 * TEST_DEADLINE_MS / 1000);
		host_start();
		init_load("tsi.ko", "host_cid=1");
		test->run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	/* Whatever the test left behind is closed now: the module can go. */
	if (init_unload()) {
		printf("# the module stays: %s\n", strerror(errno));
		status = -1;
	}
	printf("%s %s (%ld ms)\n", status ? "not ok" : "ok", test->name, test_now_ms() - start);
	fflush(stdout);
	*(status ? &failed : &passed) += 1;
}

static void init_run_all(const struct test *tests, const char *filter)
{
	for (; tests->name; tests++)
		if (!filter || strstr(tests->name, filter))
			init_run(tests);
}

static const char *init_filter(void)
{
	static char line[2048];
	int fd = open("/proc/cmdline", O_RDONLY);
	char *found;

	if (read(fd, line, sizeof(line) - 1) < 0)
		return NULL;
	close(fd);
	line[strcspn(line, "\n")] = 0;
	found = strstr(line, "tsi.filter=");
	if (!found)
		return NULL;
	found += strlen("tsi.filter=");
	found[strcspn(found, " ")] = 0;
	return found;
}

static bool init_kernel_complained(void)
{
	static char log[1 << 20];
	static const char *const complaints[] = { "BUG:", "WARNING:", "Oops", "refcount_t", "general protection", "blocked for more" };
	int n = klogctl(3, log, sizeof(log) - 1);
	size_t i;

	log[n > 0 ? n : 0] = 0;
	for (i = 0; i < sizeof(complaints) / sizeof(*complaints); i++)
		if (strstr(log, complaints[i])) {
			printf("# the kernel says %s\n%s\n", complaints[i], strstr(log, complaints[i]));
			return true;
		}
	return false;
}

int main(void)
{
	const char *filter;
	size_t i;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("tmp", "/tmp", "tmpfs", 0, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	klogctl(8, NULL, 3);
	for (i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		init_load(modules[i], "");
	init_addresses();
	filter = init_filter();
	init_run_all(tests_stream, filter);
	init_run_all(tests_listen, filter);
	init_run_all(tests_datagram, filter);
	init_run_all(tests_torture, filter);
	if (init_kernel_complained())
		failed++;
	printf("tsi: %u passed, %u failed\n", passed, failed);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
