/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#define LIST_MAX 4096

int modules_load(const char *file, const char *parameters)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r = io_path(path, sizeof(path), MODULES_DIR "/%s", file);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters, 0) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int modules_load_list(const char *list)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *rest, *name;
	size_t size;
	int r = io_path(path, sizeof(path), MODULES_DIR "/%s", list), first = 0;

	if (r == 0)
		r = io_read_file(path, LIST_MAX, &text, &size);
	if (r < 0)
		return r;
	for (rest = text; (name = strsep(&rest, "\n"));) {
		if (!*name)
			continue;
		r = modules_load(name, "");
		if (r < 0)
			log_error("cannot load %s: %s", name, strerror(-r));
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}
