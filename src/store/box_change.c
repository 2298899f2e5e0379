/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and removing records. Everything here runs under the home's lock.
 *
 * A record appears and goes by one rename, so nobody ever lists half a box:
 *
 *	boxes/.new-<id>  --rename-->  boxes/<id>  --rename-->  boxes/.gone-<id>, then deleted
 *
 * A maker that dies before its rename leaves a .new, a remover one that leaves a .gone: the sweep takes both, since nobody
 * can be at work on them while it holds the lock. A maker that dies after its rename, but before box_commit(), leaves a
 * `pending` file that nobody holds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "store/box.h"
#include "store/names.h"

static int name_link(const struct home *home, const char *name, char ret[static PATH_MAX])
{
	return io_path(ret, PATH_MAX, "%s/names/%s", home->path, name);
}

/* Replaces a stale link; the caller has made sure that no box holds the name. */
static int name_take(const struct home *home, const char *name, const char *id)
{
	char path[PATH_MAX];
	int r = name_link(home, name, path);

	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return symlink(id, path) < 0 ? -errno : 0;
}

static void name_drop(const struct home *home, const char *id)
{
	struct box_config config = BOX_CONFIG_NULL;
	struct failure ignored = { 0 };
	char path[PATH_MAX], holder[BOX_ID_LENGTH + 1];

	if (box_read_config(home, id, &config, &ignored) == 0 && box_find_name(home, config.name, holder) == 0 &&
	    !strcmp(holder, id) && name_link(home, config.name, path) == 0)
		unlink(path);
	box_config_deinit(&config);
}

static int choose_name(const struct home *home, struct box_config *config, struct failure *f)
{
	char name[BOX_NAME_MAX + 1], holder[BOX_ID_LENGTH + 1];

	for (unsigned attempt = 0; attempt < 1000; attempt++) {
		names_generate(attempt, name, sizeof(name));
		if (box_find_name(home, name, holder) < 0) {
			config->name = strdup(name);
			return config->name ? 0 : fail(f, EXIT_USAGE, "out of memory");
		}
	}
	return fail(f, EXIT_USAGE, "no free name found: give one with --name");
}

int box_check_name(const struct home *home, const char *name, struct failure *f)
{
	char holder[BOX_ID_LENGTH + 1];

	if (!box_name_is_valid(name))
		return fail(f, EXIT_USAGE,
			    "invalid name \"%.80s\": a letter or digit first, then letters, digits, \"_\", \".\" or \"-\", at most %d",
			    name, BOX_NAME_MAX);
	if (box_find_name(home, name, holder) == 0)
		return fail(f, EXIT_USAGE, "the name \"%s\" is in use by box %.12s: remove that box, or choose another name", name, holder);
	return 0;
}

static int check_name(const struct home *home, struct box_config *config, struct failure *f)
{
	if (!config->name)
		return choose_name(home, config, f);
	return box_check_name(home, config->name, f);
}

static int write_new(const char *directory, const char *file, json_t *json)
{
	char path[PATH_MAX];
	int r = json ? io_path(path, sizeof(path), "%s/%s", directory, file) : -ENOMEM;

	if (r == 0)
		r = json_write_file(path, json, 0600);
	json_decref(json);
	return r;
}

/* Fill boxes/.new-<id> and hold its pending file. */
static int make_new(const char *directory, const struct box_config *config, int *ret_pending_fd)
{
	static const struct box_state created = { .status = BOX_CREATED };
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r;

	if (mkdir(directory, 0700) < 0)
		return -errno;
	r = io_path(path, sizeof(path), "%s/pending", directory);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_lock(fd, false);
	if (r == 0)
		r = write_new(directory, "config.json", box_config_to_json(config));
	if (r == 0)
		r = write_new(directory, "state.json", box_state_to_json(&created));
	if (r == 0)
		*ret_pending_fd = take_fd(&fd);
	return r;
}

static int create_locked(struct home *home, struct box_config *config, int *ret_pending_fd, struct failure *f)
{
	char new[PATH_MAX], final[PATH_MAX];
	int r;

	if (check_name(home, config, f) < 0)
		return -1;
	r = io_path(new, sizeof(new), "%s/boxes/.new-%s", home->path, config->id);
	if (r == 0)
		r = box_path(home, config->id, "", final);
	if (r == 0)
		r = make_new(new, config, ret_pending_fd);
	if (r == 0)
		r = name_take(home, config->name, config->id);
	if (r == 0 && rename(new, final) < 0)
		r = -errno;
	if (r < 0) {
		*ret_pending_fd = close_fd(*ret_pending_fd);
		io_remove_tree(new);
		return fail_errno(f, EXIT_USAGE, r, "cannot write the record of box %s in %s", config->name, home->path);
	}
	return 0;
}

int box_create(struct home *home, struct box_config *config, int *ret_pending_fd, struct failure *f)
{
	int r;

	*ret_pending_fd = -1;
	if (!box_id_is_valid(config->id))
		return fail(f, EXIT_USAGE, "a box needs an id before its record is made");
	if (home_lock(home, f) < 0)
		return -1;
	r = create_locked(home, config, ret_pending_fd, f);
	home_unlock(home);
	return r;
}

int box_commit(struct home *home, const char *id, int *pending_fd, struct failure *f)
{
	char path[PATH_MAX];
	int r = box_path(home, id, "pending", path);

	/* Unlinked before it is let go: a sweep never sees it free. */
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	*pending_fd = close_fd(*pending_fd);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot write the record of box %.12s", id) : 0;
}

/* Under the home's lock, with the box's own lock held when it has one. */
static int discard(struct home *home, const char *id, struct failure *f)
{
	char path[PATH_MAX], gone[PATH_MAX], runtime[PATH_MAX];
	int r = box_path(home, id, "", path);

	if (r == 0)
		r = io_path(gone, sizeof(gone), "%s/boxes/.gone-%s", home->path, id);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "cannot remove box %.12s", id);
	name_drop(home, id);
	if (rename(path, gone) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "cannot remove box %.12s", id);
	r = io_remove_tree(gone);
	if (box_runtime_path(home, id, "", runtime) == 0)
		io_remove_tree(runtime);
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "cannot remove all files of box %.12s", id) : 0;
}

/* The box's lock, so that no monitor starts on a record that goes away. -EAGAIN: one is running. */
static int hold_box(const struct home *home, const char *id, int *ret_fd)
{
	char path[PATH_MAX];
	int fd, r = box_path(home, id, "lock", path);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_lock(fd, false);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

static int remove_locked(struct home *home, const char *id, struct failure *f)
{
	_cleanup_close_ int held = -1;
	int r = hold_box(home, id, &held);

	if (r == -EAGAIN)
		return fail(f, EXIT_IN_USE, "box %.12s is running: stop it first, or use rm -f", id);
	if (r == -ENOENT)
		return fail(f, EXIT_FAILED, "no such box: %.12s", id);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "cannot lock box %.12s", id);
	return discard(home, id, f);
}

int box_remove(struct home *home, const char *id, struct failure *f)
{
	int r;

	if (home_lock(home, f) < 0)
		return -1;
	r = remove_locked(home, id, f);
	home_unlock(home);
	return r;
}

int box_wait_released(const struct home *home, const char *id)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r = box_path(home, id, "lock", path);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return io_lock(fd, true);
}

/* Whether the maker of this record died before it was done. */
static bool is_abandoned(const struct home *home, const char *id)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char path[PATH_MAX];

	if (box_path(home, id, "pending", path) < 0)
		return false;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	/* Committed between open and lock: the file is no longer there, and the box is somebody's. */
	return fd >= 0 && io_lock(fd, false) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

static void sweep_entry(struct home *home, const char *name)
{
	_cleanup_close_ int held = -1;
	struct failure ignored = { 0 };
	char path[PATH_MAX];

	if (text_starts(name, ".new-") || text_starts(name, ".gone-")) {
		if (io_path(path, sizeof(path), "%s/boxes/%s", home->path, name) == 0)
			io_remove_tree(path);
	} else if (box_id_is_valid(name) && is_abandoned(home, name) && hold_box(home, name, &held) == 0) {
		discard(home, name, &ignored);
	}
}

/* Without the lock, so that a command that only reads need not wait for one that changes: is there anything to sweep? */
static bool wants_sweep(const struct home *home, DIR *dir)
{
	char path[PATH_MAX];

	for (const struct dirent *e; (e = readdir(dir));) {
		if (text_starts(e->d_name, ".new-") || text_starts(e->d_name, ".gone-"))
			return true;
		if (box_id_is_valid(e->d_name) && box_path(home, e->d_name, "pending", path) == 0 && access(path, F_OK) == 0 &&
		    !io_is_locked(path))
			return true;
	}
	return false;
}

int box_sweep(struct home *home, struct failure *f)
{
	char path[PATH_MAX];
	DIR *dir;

	if (io_path(path, sizeof(path), "%s/boxes", home->path) < 0 || !(dir = opendir(path)))
		return errno == ENOENT ? 0 : fail_errno(f, EXIT_USAGE, errno, "cannot read %s/boxes", home->path);
	if (wants_sweep(home, dir)) {
		if (home_lock(home, f) < 0) {
			closedir(dir);
			return -1;
		}
		rewinddir(dir);
		for (const struct dirent *e; (e = readdir(dir));)
			sweep_entry(home, e->d_name);
		home_unlock(home);
	}
	closedir(dir);
	return 0;
}
