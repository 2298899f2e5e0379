/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In init's mount namespace:
 *
 *	/layers/1..N	squashfs, one per partition of the disk "image"
 *	/writable	ext4 of the disk "writable" (or tmpfs): upper/ and work/
 *	/box		overlay of these
 *	/run/files	hosts, hostname, resolv.conf
 *
 * The box's first process takes a copy of this namespace, moves /box over /, changes its root there and mounts the rest.
 * Whatever lies below the moved root cannot be reached from the box: ".." at its root stays there, and its own mount table
 * (mountinfo) does not show it. As the root is changed before any of the image's paths is used, links in the image,
 * dangling or absolute, are followed inside the box only.
 */
#include "guest/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "guest/disks.h"

#define DISK_TIMEOUT_MS 15000
#define RELEASE_TIMEOUT_MS 5000
#define WRITABLE "/writable"
#define LINKS_MAX 8

/**
 * struct mount_entry - one mount(2), its target made first
 * @optional:	a kernel without it is no reason to fail
 */
struct mount_entry {
	const char *source, *target, *type;
	unsigned long flags;
	const char *options;
	bool optional;
};

static const struct mount_entry system_mounts[] = {
	{ "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "dev", "/dev", "devtmpfs", MS_NOSUID, NULL, false },
	{ "run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m", false },
};

static const struct mount_entry box_mounts[] = {
	{ "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k", false },
	{ "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5", false },
	{ "mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true },
	{ "shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k", false },
	{ "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "cgroup", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true },
};

static const struct {
	const char *path;
	unsigned major, minor;
} box_nodes[] = {
	{ "/dev/null", 1, 3 },	  { "/dev/zero", 1, 5 },    { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 },  { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static const struct {
	const char *path, *to;
} box_links[] = {
	{ "/dev/ptmx", "pts/ptmx" },	      { "/dev/fd", "/proc/self/fd" },	      { "/dev/stdin", "/proc/self/fd/0" },
	{ "/dev/stdout", "/proc/self/fd/1" }, { "/dev/stderr", "/proc/self/fd/2" }, { "/dev/core", "/proc/kcore" },
};

/* Docker's lists: what a box cannot read, and what it cannot write, unless it is privileged. */
static const char *const masked_paths[] = {
	"/proc/asound",	    "/proc/acpi",	 "/proc/kcore", "/proc/keys",	 "/proc/latency_stats",
	"/proc/timer_list", "/proc/sched_debug", "/proc/scsi",	"/sys/firmware", "/sys/devices/virtual/powercap",
};
static const char *const read_only_paths[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
					       "/sys/fs/cgroup", "/sys" };

static const char *const box_files[] = { "hosts", "hostname", "resolv.conf" };

static int mount_one(const struct mount_entry *m, struct failure *f)
{
	int r = io_make_dirs(m->target, 0755);

	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot make %s in the box", m->target);
	if (mount(m->source, m->target, m->type, m->flags, m->options) < 0 && !m->optional)
		return fail_errno(f, EXIT_USAGE, errno, "cannot mount %s", m->target);
	return 0;
}

int mounts_system(void)
{
	struct failure f = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(system_mounts); i++)
		if (mount_one(&system_mounts[i], &f) < 0)
			return -errno;
	return io_make_dirs(MOUNTS_FILES, 0755);
}

static int mount_layers(unsigned n, struct failure *f)
{
	for (unsigned i = 1; i <= n; i++) {
		char device[PATH_MAX], target[32];
		int r = disks_wait("image", i, DISK_TIMEOUT_MS, device, sizeof(device));

		if (r < 0)
			return fail_errno(f, EXIT_USAGE, r, "layer %u of the image's disk did not appear", i);
		snprintf(target, sizeof(target), "/layers/%u", i);
		r = io_make_dirs(target, 0755);
		if (r < 0)
			return fail_errno(f, EXIT_USAGE, r, "cannot make %s", target);
		if (mount(device, target, "squashfs", MS_RDONLY, NULL) < 0)
			return fail_errno(f, EXIT_USAGE, errno, "cannot mount layer %u (%s)", i, device);
	}
	return 0;
}

static int mount_writable(bool disk, struct failure *f)
{
	char device[PATH_MAX] = "tmpfs";
	int r = disk ? disks_wait("writable", 0, DISK_TIMEOUT_MS, device, sizeof(device)) : 0;

	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "the writable disk did not appear");
	/* noinit_itable: the tables were left out to keep the file small; nobody shall write them behind our back. */
	if (disk)
		r = mount(device, WRITABLE, "ext4", 0, "noinit_itable");
	else
		r = mount(device, WRITABLE, "tmpfs", 0, "mode=0755");
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot mount the writable disk (%s)", device);
	if (io_make_dirs(WRITABLE "/upper", 0755) < 0 || io_make_dirs(WRITABLE "/work", 0755) < 0)
		return fail(f, EXIT_USAGE, "cannot write to the writable disk");
	return 0;
}

/* lowerdir lists the highest first; a page holds 127 of them and the rest. */
static int mount_overlay(unsigned layers, struct failure *f)
{
	char options[4096];
	size_t n = (size_t)snprintf(options, sizeof(options), "index=off,metacopy=off,redirect_dir=on,upperdir=" WRITABLE
				    "/upper,workdir=" WRITABLE "/work,lowerdir=");

	for (unsigned i = layers; i >= 1; i--)
		n += (size_t)snprintf(options + n, sizeof(options) - n, "/layers/%u%s", i, i > 1 ? ":" : "");
	if (layers == 0)
		snprintf(options + n, sizeof(options) - n, "/layers/0");
	if (mount("overlay", MOUNTS_ROOT, "overlay", 0, options) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot join the box's layers");
	return 0;
}

int mounts_join(const struct mounts_plan *plan, struct failure *f)
{
	if (plan->layers > MOUNTS_LAYERS_MAX)
		return fail(f, EXIT_USAGE, "the image has %u layers: at most %d can be joined", plan->layers, MOUNTS_LAYERS_MAX);
	if (io_make_dirs("/layers/0", 0755) < 0 || io_make_dirs(WRITABLE, 0755) < 0 || io_make_dirs(MOUNTS_ROOT, 0755) < 0)
		return fail(f, EXIT_USAGE, "cannot make the mount points");
	if (mount_layers(plan->layers, f) < 0 || mount_writable(plan->writable, f) < 0)
		return -1;
	return mount_overlay(plan->layers, f);
}

int mounts_leave(const struct mounts_plan *plan)
{
	char device[PATH_MAX];

	if (umount2(MOUNTS_ROOT, 0) < 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	if (umount2(WRITABLE, 0) < 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	if (!plan->writable || disks_wait("writable", 0, 0, device, sizeof(device)) < 0)
		return 0;
	/* The box's namespace is torn down by the kernel a moment after its last process was reaped. */
	return disks_wait_free(device, RELEASE_TIMEOUT_MS);
}

int mounts_write_file(const char *name, const char *text)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r = io_path(path, sizeof(path), MOUNTS_FILES "/%s", name);

	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	return io_write_full(fd, text, strlen(text));
}

static int make_nodes(struct failure *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(box_nodes); i++)
		if (mknod(box_nodes[i].path, S_IFCHR | 0666, makedev(box_nodes[i].major, box_nodes[i].minor)) < 0)
			return fail_errno(f, EXIT_USAGE, errno, "cannot make %s", box_nodes[i].path);
	for (size_t i = 0; i < ARRAY_SIZE(box_links); i++)
		if (symlink(box_links[i].to, box_links[i].path) < 0)
			return fail_errno(f, EXIT_USAGE, errno, "cannot make %s", box_links[i].path);
	return 0;
}

/* Make an empty file for a bind mount; where the name is a dangling link, at the place that it points to. */
static int make_mount_point(const char *path, int links_left)
{
	char parent[PATH_MAX], target[PATH_MAX], next[PATH_MAX], *slash;
	ssize_t n;
	int fd, r = io_path(parent, sizeof(parent), "%s", path);

	slash = r == 0 ? strrchr(parent, '/') : NULL;
	if (slash && slash != parent) {
		*slash = '\0';
		r = io_make_dirs(parent, 0755);
	}
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0 || links_left == 0)
		return n <= 0 ? -errno : -ELOOP;
	target[n] = '\0';
	if (target[0] == '/')
		r = io_path(next, sizeof(next), "%s", target);
	else
		r = io_path(next, sizeof(next), "%s/%s", parent, target);
	return r < 0 ? r : make_mount_point(next, links_left - 1);
}

int mounts_bind(int tree_fd, const char *target)
{
	int r = make_mount_point(target, LINKS_MAX);

	if (r < 0)
		return r;
	if (syscall(SYS_move_mount, tree_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
		return -errno;
	return 0;
}

/* Detached copies of the files' mounts, taken while their paths still mean something. */
static int open_files(int ret_fds[static ARRAY_SIZE(box_files)])
{
	for (size_t i = 0; i < ARRAY_SIZE(box_files); i++) {
		char path[PATH_MAX];

		ret_fds[i] = -1;
		if (io_path(path, sizeof(path), MOUNTS_FILES "/%s", box_files[i]) == 0)
			ret_fds[i] = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (ret_fds[i] < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int bind_files(const int fds[static ARRAY_SIZE(box_files)], struct failure *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(box_files); i++) {
		char target[64];
		int r;

		if (fds[i] < 0)
			continue;
		snprintf(target, sizeof(target), "/etc/%s", box_files[i]);
		r = mounts_bind(fds[i], target);
		close(fds[i]);
		if (r < 0)
			return fail_errno(f, EXIT_USAGE, r, "cannot put %s into the box", target);
	}
	return 0;
}

/* docker's options are mount(8)'s: flags by name, the rest for tmpfs itself. */
static const struct {
	const char *name;
	unsigned long set, clear;
} tmpfs_flags[] = {
	{ "ro", MS_RDONLY, 0 },	   { "rw", 0, MS_RDONLY },	 { "nosuid", MS_NOSUID, 0 },	 { "suid", 0, MS_NOSUID },
	{ "nodev", MS_NODEV, 0 },  { "dev", 0, MS_NODEV },	 { "noexec", MS_NOEXEC, 0 },	 { "exec", 0, MS_NOEXEC },
	{ "sync", MS_SYNCHRONOUS, 0 }, { "noatime", MS_NOATIME, 0 }, { "relatime", MS_RELATIME, 0 }, { "nodiratime", MS_NODIRATIME, 0 },
	{ "strictatime", MS_STRICTATIME, 0 }, { "defaults", 0, 0 },
};

static bool take_flag(const char *option, size_t n, unsigned long *flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(tmpfs_flags); i++) {
		if (strlen(tmpfs_flags[i].name) != n || memcmp(option, tmpfs_flags[i].name, n) != 0)
			continue;
		*flags = (*flags | tmpfs_flags[i].set) & ~tmpfs_flags[i].clear;
		return true;
	}
	return false;
}

int mounts_parse_tmpfs(const char *options, unsigned long *ret_flags, char *ret_rest, size_t size)
{
	size_t used = 0, n;

	*ret_flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	*ret_rest = '\0';
	for (; *options; options += n + (options[n] == ',')) {
		n = strcspn(options, ",");
		if (n == 0 || take_flag(options, n, ret_flags))
			continue;
		if (used + (used > 0) + n >= size)
			return -E2BIG;
		used += (size_t)snprintf(ret_rest + used, size - used, "%s%.*s", used ? "," : "", (int)n, options);
	}
	return 0;
}

static int mount_tmpfs(const char *entry, struct failure *f)
{
	size_t n = strcspn(entry, ":");
	char path[PATH_MAX], rest[1024];
	unsigned long flags;

	if (io_path(path, sizeof(path), "%.*s", (int)n, entry) < 0)
		return fail(f, EXIT_USAGE, "the path of a tmpfs is too long");
	if (mounts_parse_tmpfs(entry[n] ? entry + n + 1 : "", &flags, rest, sizeof(rest)) < 0)
		return fail(f, EXIT_USAGE, "the options of tmpfs %s are too long", path);
	return mount_one(&(struct mount_entry){ "tmpfs", path, "tmpfs", flags, rest, false }, f);
}

static void mask(const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return;
	if (S_ISDIR(status.st_mode))
		(void)mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0");
	else
		(void)mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static void make_read_only(const char *path)
{
	unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	/* A mount of its own is remounted; anything else becomes one first. EINVAL: not a mount point. */
	if (mount(NULL, path, NULL, flags, NULL) == 0 || errno != EINVAL)
		return;
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == 0)
		(void)mount(NULL, path, NULL, flags, NULL);
}

static void restrict_paths(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(masked_paths); i++)
		mask(masked_paths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(read_only_paths); i++)
		make_read_only(read_only_paths[i]);
}

static int change_root(struct failure *f)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot separate the box's mounts");
	if (chdir(MOUNTS_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot enter the box's root");
	return 0;
}

int mounts_enter(const struct mounts_plan *plan, bool privileged, struct failure *f)
{
	int files[ARRAY_SIZE(box_files)], r = open_files(files);

	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot open the box's files");
	if (change_root(f) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(box_mounts); i++)
		if (mount_one(&box_mounts[i], f) < 0)
			return -1;
	if (make_nodes(f) < 0 || bind_files(files, f) < 0)
		return -1;
	for (char **t = plan->tmpfs; t && *t; t++)
		if (mount_tmpfs(*t, f) < 0)
			return -1;
	if (!privileged)
		restrict_paths();
	return 0;
}

int mounts_seal(const struct mounts_plan *plan, struct failure *f)
{
	if (plan->read_only && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot make the box's root read-only");
	return 0;
}

unsigned long long mounts_used(void)
{
	struct statvfs status;

	if (statvfs(WRITABLE, &status) < 0)
		return 0;
	return (unsigned long long)(status.f_blocks - status.f_bfree) * status.f_frsize;
}
