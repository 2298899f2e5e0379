/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and making the two directories.
 *
 * Both may lie in places that others can write to (a shared temporary directory), so nothing is taken on trust: the
 * directory must be a directory, ours, and closed to others' writing. What we make ourselves is 0700.
 *
 * The runtime directory depends on the environment of whoever made it (XDG_RUNTIME_DIR differs between a login and a cron
 * job), but a box started from one must be reached from the other. So the first one to choose leaves a link,
 * $A3S_HOME/runtime, and everybody follows it for as long as its target is there and ours.
 */
#include "store/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/own.h"

static uint32_t path_hash(const char *path)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *path; path++)
		h = (h ^ (unsigned char)*path) * 16777619u;
	return h;
}

/* Where the user wants the store: not yet resolved, may not exist. *ret_given: A3S_HOME says so. */
static int home_choose(char ret[static PATH_MAX], bool *ret_given, struct failure *f)
{
	const char *env = getenv("A3S_HOME"), *user_home = getenv("HOME");
	const struct passwd *pw;
	int r;

	*ret_given = env && *env;
	if (*ret_given) {
		r = io_path(ret, PATH_MAX, "%s", env);
	} else {
		if (!user_home || user_home[0] != '/') {
			pw = getpwuid(geteuid());
			user_home = pw ? pw->pw_dir : NULL;
		}
		if (!user_home)
			return fail(f, EXIT_USAGE, "no home directory for user %d: set A3S_HOME", (int)geteuid());
		r = io_path(ret, PATH_MAX, "%s/.a3s", user_home);
	}
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "path of the store");
	return 0;
}

/* What is wrong with this directory as a place for our files; NULL when nothing is. */
static const char *directory_fault(const char *path, bool follow)
{
	struct stat st;

	if ((follow ? stat(path, &st) : lstat(path, &st)) < 0)
		return strerror(errno);
	if (S_ISLNK(st.st_mode))
		return "it is a symbolic link";
	if (!S_ISDIR(st.st_mode))
		return "it is not a directory";
	if (st.st_uid != geteuid())
		return "it belongs to another user";
	if (st.st_mode & 022)
		return "others may write to it (chmod go-w helps)";
	if (access(path, W_OK | X_OK) < 0)
		return strerror(errno);
	return NULL;
}

enum content { CONTENT_NONE, CONTENT_OURS, CONTENT_FOREIGN };

static bool is_ours(const char *name)
{
	return !strcmp(name, "boxes") || !strcmp(name, "images") || !strcmp(name, "guest.json");
}

/* What is in the directory; a new file system's lost+found counts as nothing. */
static enum content look_into(const char *path)
{
	enum content content = CONTENT_NONE;
	DIR *dir = opendir(path);

	if (!dir)
		return CONTENT_NONE;
	for (const struct dirent *e; content != CONTENT_OURS && (e = readdir(dir));) {
		if (is_ours(e->d_name))
			content = CONTENT_OURS;
		else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "lost+found") != 0)
			content = CONTENT_FOREIGN;
	}
	closedir(dir);
	return content;
}

/* 1: it is there and has been used; 0: it is to be made. home->path is where. */
static int home_find_store(struct home *home, struct failure *f)
{
	enum content content;
	const char *fault;
	struct stat st;
	bool given;

	if (home_choose(home->path, &given, f) < 0)
		return -1;
	/* A link that another user planted would lead our files to a place of their choice, even one that is ours. */
	if (lstat(home->path, &st) == 0 && S_ISLNK(st.st_mode) && st.st_uid != geteuid() && st.st_uid != 0)
		return fail(f, EXIT_USAGE, "store %s: it is a symbolic link of another user; set A3S_HOME to a directory of your own",
			    home->path);
	if (stat(home->path, &st) < 0 && errno == ENOENT)
		return 0;
	fault = directory_fault(home->path, true);
	if (fault)
		return fail(f, EXIT_USAGE, "store %s: %s; A3S_HOME chooses another place", home->path, fault);
	content = look_into(home->path);
	if (given && content == CONTENT_FOREIGN)
		return fail(f, EXIT_USAGE, "store %s: there are other files in it, and no boxes or images: set A3S_HOME to a new directory",
			    home->path);
	return content == CONTENT_OURS;
}

static int home_make_store(struct home *home, struct failure *f)
{
	static const char *const subs[] = { "boxes", "names" };
	char chosen[PATH_MAX], sub[PATH_MAX];
	const char *fault;
	int r;

	memcpy(chosen, home->path, sizeof(chosen));
	r = io_make_dirs(chosen, 0700);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot make the store %s (A3S_HOME chooses another place)", chosen);
	if (!realpath(chosen, home->path))
		return fail_errno(f, EXIT_USAGE, errno, "store %s", chosen);
	fault = directory_fault(home->path, true);
	if (fault)
		return fail(f, EXIT_USAGE, "store %s: %s; A3S_HOME chooses another place", home->path, fault);
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
		if (io_path(sub, sizeof(sub), "%s/%s", home->path, subs[i]) < 0)
			return fail(f, EXIT_USAGE, "store %s: the path is too long", home->path);
		if (mkdir(sub, 0700) < 0 && errno != EEXIST)
			return fail_errno(f, EXIT_USAGE, errno, "cannot make %s", sub);
		fault = directory_fault(sub, false);
		if (fault)
			return fail(f, EXIT_USAGE, "%s: %s", sub, fault);
	}
	return 0;
}

/* The place for sockets that this process' environment calls for. */
static int runtime_choose(const struct home *home, char ret[static PATH_MAX])
{
	const char *xdg = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR");
	uint32_t hash = path_hash(home->path);

	if (xdg && xdg[0] == '/' && !directory_fault(xdg, true))
		return io_path(ret, PATH_MAX, "%s/a3s-%08x", xdg, hash);
	if (geteuid() == 0)
		return io_path(ret, PATH_MAX, "/run/a3s-%08x", hash);
	if (!tmp || tmp[0] != '/')
		tmp = "/tmp";
	return io_path(ret, PATH_MAX, "%s/a3s-%d-%08x", tmp, (int)geteuid(), hash);
}

/* Follow $A3S_HOME/runtime; 1 when it leads to a usable directory. */
static int runtime_follow(const char *link, char ret[static PATH_MAX])
{
	ssize_t n = readlink(link, ret, PATH_MAX - 1);

	if (n < 0)
		return 0;
	ret[n] = '\0';
	return ret[0] == '/' && !directory_fault(ret, false);
}

static int home_make_runtime(struct home *home, struct failure *f)
{
	char link[PATH_MAX];
	const char *fault;

	if (io_path(link, sizeof(link), "%s/runtime", home->path) < 0)
		return fail(f, EXIT_USAGE, "store %s: the path is too long", home->path);
	if (runtime_follow(link, home->runtime))
		return 0;
	if (runtime_choose(home, home->runtime) < 0)
		return fail(f, EXIT_USAGE, "the path of the runtime directory is too long: set XDG_RUNTIME_DIR to a shorter one");
	if (mkdir(home->runtime, 0700) < 0 && errno != EEXIST)
		return fail_errno(f, EXIT_USAGE, errno, "cannot make the runtime directory %s", home->runtime);
	fault = directory_fault(home->runtime, false);
	if (fault)
		return fail(f, EXIT_USAGE, "runtime directory %s: %s; XDG_RUNTIME_DIR chooses another place", home->runtime, fault);
	unlink(link);
	if (symlink(home->runtime, link) < 0 && errno != EEXIST)
		return fail_errno(f, EXIT_USAGE, errno, "cannot write in the store %s", home->path);
	/* Whoever was first has chosen. */
	if (!runtime_follow(link, home->runtime))
		return fail(f, EXIT_USAGE, "%s leads to no directory of ours", link);
	return 0;
}

int home_make(struct home *home, struct failure *f)
{
	if (home->made)
		return 0;
	if (home_make_store(home, f) < 0 || home_make_runtime(home, f) < 0)
		return -1;
	home->made = true;
	return 0;
}

int home_open(struct home *home, struct failure *f)
{
	int r;

	*home = (struct home)HOME_NULL;
	r = home_find_store(home, f);
	if (r < 0)
		return -1;
	if (r)
		return home_make(home, f); /* the runtime directory is gone after a reboot */
	/* Only for showing it: the path is too long for a socket's only when one is made. */
	if (runtime_choose(home, home->runtime) < 0)
		*home->runtime = '\0';
	return 0;
}

void home_close(struct home *home)
{
	home_unlock(home);
}

int home_lock(struct home *home, struct failure *f)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r;

	if (home_make(home, f) < 0)
		return -1;
	if (io_path(path, sizeof(path), "%s/lock", home->path) < 0)
		return fail(f, EXIT_USAGE, "store %s: the path is too long", home->path);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot open %s", path);
	r = io_lock(fd, true);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot lock %s", path);
	home->lock_fd = take_fd(&fd);
	return 0;
}

void home_unlock(struct home *home)
{
	home->lock_fd = close_fd(home->lock_fd);
}
