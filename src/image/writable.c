/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/own.h"
#include "base/proc.h"
#include "image/image.h"

#define WRITABLE_MIN (4LL << 20)

static int make_sparse(const char *path, int64_t size)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

static int run_mkfs(const char *program, const char *path, char **ret_output)
{
	const char *const argv[] = { program, "-q", "-F", "-m", "0", "-O", "^resize_inode,metadata_csum", "-E",
				     "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", path, NULL };

	return proc_run(argv, ret_output);
}

/*
 * Lazy initialisation leaves inode tables and journal as holes, which read as zeros: that is all they need here. The guest would
 * otherwise fill them in the background (the init_itable thread): mount with noinit_itable.
 */
int image_make_writable(const char *path, int64_t size, struct failure *f)
{
	_cleanup_free_ char *output = NULL;
	int r;

	if (size < WRITABLE_MIN)
		return fail(f, EXIT_USAGE, "a writable disk of %lld bytes is too small", (long long)size);
	r = make_sparse(path, size);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "make %s", path);
	r = run_mkfs("mkfs.ext4", path, &output);
	if (r == -ENOENT)
		r = run_mkfs("/usr/sbin/mkfs.ext4", path, &output); /* not in an ordinary user's PATH everywhere */
	if (r == 0)
		return 0;
	(void)unlink(path);
	if (r == -ENOENT)
		return fail(f, EXIT_USAGE, "mkfs.ext4 is missing: install e2fsprogs");
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "start mkfs.ext4") :
		       fail(f, EXIT_FAILED, "make %s: %s", path, output && *output ? output : "mkfs.ext4 failed");
}
