/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "a3s/kernel.h"
#include "accel.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/text.h"
#include "console.h"
#include "qemu.h"

#define KVM_DEVICE "/dev/kvm"
#define PROBE_MEMORY (256LL << 20)

/* What a verdict was reached with: it counts for the same boot, QEMU and guest only. */
struct accel_basis {
	char boot_id[64], qemu_path[4096], qemu[64];
	struct guest_bundle bundle;
};

const char *accel_name(enum accel_kind kind)
{
	return kind == ACCEL_KVM ? "kvm" : "tcg";
}

static int verdict(struct accel_verdict *v, enum accel_kind kind, const char *reason)
{
	v->kind = kind;
	snprintf(v->reason, sizeof(v->reason), "%s", reason);
	return 0;
}

static void read_boot_id(char ret[static 64])
{
	_cleanup_free_ char *text = NULL;

	*ret = '\0';
	if (io_read_file("/proc/sys/kernel/random/boot_id", 63, &text, NULL) == 0)
		snprintf(ret, 64, "%.*s", (int)strcspn(text, "\n"), text);
}

static int verdict_path(const struct home *home, const char *file, char ret[static PATH_MAX])
{
	return io_path(ret, PATH_MAX, "%s/%s", home->path, file);
}

/* Whether there is a verdict that still counts. A file that cannot be read counts as none: it is only a memory. */
static bool verdict_recall(const struct home *home, const struct accel_basis *basis, struct accel_verdict *ret)
{
	_cleanup_json_ json_t *file = NULL;
	struct failure ignored = { 0 };
	char path[PATH_MAX];

	if (verdict_path(home, "guest.json", path) < 0 || json_read_file(path, &file, &ignored) < 0)
		return false;
	if (strcmp(json_str(file, "boot_id", ""), basis->boot_id) != 0 || strcmp(json_str(file, "qemu", ""), basis->qemu) != 0 ||
	    strcmp(json_str(file, "bundle", ""), basis->bundle.identity) != 0)
		return false;
	verdict(ret, strcmp(json_str(file, "accelerator", ""), "kvm") == 0 ? ACCEL_KVM : ACCEL_TCG, json_str(file, "reason", ""));
	return true;
}

static void verdict_remember(const struct home *home, const struct accel_basis *basis, const struct accel_verdict *v)
{
	_cleanup_json_ json_t *file = json_pack("{s:s,s:s,s:s,s:s,s:s}", "accelerator", accel_name(v->kind), "reason", v->reason,
						"boot_id", basis->boot_id, "qemu", basis->qemu, "bundle", basis->bundle.identity);
	char path[PATH_MAX];

	if (file && verdict_path(home, "guest.json", path) == 0)
		(void)json_write_file(path, file, 0600); /* not remembered: probed again next time */
}

static int probe_spawn(const struct accel_basis *basis, int console_fd, int stderr_fd, pid_t *ret_pid, int *ret_pidfd)
{
	static const struct qemu_machine machine = {
		.accel = ACCEL_KVM, .memory = PROBE_MEMORY, .cpus = 1, .parameters = KERNEL_INIT_POWEROFF,
	};
	char **argv = qemu_command(&machine);
	struct proc_fd fds[] = {
		{ basis->bundle.kernel_fd, QEMU_FD_KERNEL },
		{ basis->bundle.initramfs_fd, QEMU_FD_INITRAMFS },
		{ console_fd, QEMU_FD_CONSOLE },
	};
	struct proc_spec spec = PROC_SPEC_NULL;
	int r;

	if (!argv)
		return -ENOMEM;
	spec.argv = (const char *const *)argv;
	spec.fds = fds;
	spec.n_fds = ARRAY_SIZE(fds);
	spec.stderr_fd = stderr_fd;
	spec.die_with_parent = true;
	qemu_identity(NULL, ACCEL_KVM, &spec.uid, &spec.gid);
	r = proc_spawn(&spec, ret_pid, ret_pidfd);
	strv_free(argv);
	return r;
}

enum probe_outcome { PROBE_UP, PROBE_ENDED, PROBE_LATE };

/* Until the guest says that it is up, QEMU ends, or the time is over. */
static enum probe_outcome probe_watch(struct console *console, int64_t deadline)
{
	struct pollfd p = { .fd = console->fd, .events = POLLIN };
	bool open = true;

	while (open && !console_contains(console, KERNEL_INIT_UP)) {
		int64_t left = deadline - clock_now_ms();

		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			return PROBE_LATE;
		open = console_read(console);
	}
	return console_contains(console, KERNEL_INIT_UP) ? PROBE_UP : PROBE_ENDED;
}

/* The first line that QEMU wrote to stderr, made printable. */
static void read_first_line(int fd, char *ret, size_t size)
{
	ssize_t n = recv(fd, ret, size - 1, MSG_DONTWAIT);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	for (char *c = ret; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
}

static void probe_judge(enum probe_outcome outcome, int64_t took_ms, int stderr_fd, struct accel_verdict *ret)
{
	char words[160];

	read_first_line(stderr_fd, words, sizeof(words));
	ret->kind = outcome == PROBE_UP ? ACCEL_KVM : ACCEL_TCG;
	if (outcome == PROBE_UP)
		snprintf(ret->reason, sizeof(ret->reason), KVM_DEVICE " booted the guest in %.1f s", (double)took_ms / 1000);
	else if (outcome == PROBE_LATE)
		snprintf(ret->reason, sizeof(ret->reason), KVM_DEVICE " is there, but did not boot the guest within %d s",
			 ACCEL_PROBE_MS / 1000);
	else
		snprintf(ret->reason, sizeof(ret->reason), KVM_DEVICE " is there, but does not run the guest%s%s", *words ? ": " : "",
			 words);
}

static int probe_run(const struct accel_basis *basis, struct accel_verdict *ret)
{
	_cleanup_close_ int pidfd = -1, words = -1;
	_cleanup_(console_close) struct console console = CONSOLE_NULL;
	int console_fds[2], words_fds[2], r;
	int64_t start = clock_now_ms();
	enum probe_outcome outcome;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, words_fds) < 0)
		return -errno;
	words = words_fds[0];
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console_fds) < 0 ? -errno : 0;
	if (r == 0) {
		console_open(&console, NULL, console_fds[0]);
		r = probe_spawn(basis, console_fds[1], words_fds[1], &pid, &pidfd);
		close(console_fds[1]);
	}
	close(words_fds[1]);
	if (r < 0)
		return r;
	outcome = probe_watch(&console, start + ACCEL_PROBE_MS);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	waitpid(pid, NULL, 0);
	probe_judge(outcome, clock_now_ms() - start, words, ret);
	return 0;
}

/* Under the lock, so that of two that start at once one probes and the other reads. */
static int probe_once(const struct home *home, const struct accel_basis *basis, struct accel_verdict *ret, struct failure *f)
{
	_cleanup_close_ int lock = -1;
	char path[PATH_MAX];
	int r = verdict_path(home, "guest.lock", path);

	if (r == 0) {
		lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		r = lock < 0 ? -errno : io_lock(lock, true);
	}
	if (r == -ENOENT) /* no store yet, and `info` makes none: the verdict is found out and forgotten */
		r = 0;
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot lock %s", path);
	if (verdict_recall(home, basis, ret))
		return 0;
	r = probe_run(basis, ret);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot start %s", basis->qemu_path);
	verdict_remember(home, basis, ret);
	return 0;
}

/* What needs no probe. 1 when it is decided. */
static int decide_at_once(struct accel_verdict *ret, struct failure *f)
{
	const char *wish = getenv("A3S_ACCEL");
	char reason[256];
	int fd;

	if (wish && (strcmp(wish, "kvm") == 0 || strcmp(wish, "tcg") == 0)) {
		verdict(ret, strcmp(wish, "kvm") == 0 ? ACCEL_KVM : ACCEL_TCG, "A3S_ACCEL says so");
		return 1;
	}
	if (wish && *wish)
		return fail(f, EXIT_USAGE, "A3S_ACCEL=%.32s: kvm or tcg is meant", wish);
	fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == ENOENT)
		snprintf(reason, sizeof(reason), "%s does not exist", KVM_DEVICE);
	else if (errno == EACCES)
		snprintf(reason, sizeof(reason), "no permission to use %s: join the group that owns it", KVM_DEVICE);
	else
		snprintf(reason, sizeof(reason), "%s does not open: %s", KVM_DEVICE, strerror(errno));
	verdict(ret, ACCEL_TCG, reason);
	return 1;
}

int accel_decide(const struct home *home, struct accel_verdict *ret, struct failure *f)
{
	struct accel_basis basis = { .bundle = GUEST_BUNDLE_NULL };
	int r = decide_at_once(ret, f);

	if (r != 0)
		return r < 0 ? -1 : 0;
	if (qemu_find(basis.qemu_path, basis.qemu, f) < 0 || guest_bundle_open(&basis.bundle, f) < 0)
		return -1;
	read_boot_id(basis.boot_id);
	r = verdict_recall(home, &basis, ret) ? 0 : probe_once(home, &basis, ret, f);
	guest_bundle_close(&basis.bundle);
	return r;
}
