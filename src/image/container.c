/* SPDX-License-Identifier: Apache-2.0 */
#include "image/container.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "base/text.h"

#define MEMBERS_MAX 100000u /* no archive of images has as many: what comes after is not looked at */
#define LINKS_MAX 8

/**
 * struct member - one entry of the archive
 * @link:	full name of what it is a link to, or NULL
 */
struct member {
	char *name, *link;
	int64_t size;
	bool regular;
};

/**
 * struct container - `dir` of a directory, or `fd` of an archive
 */
struct container {
	int dir, fd;
	struct member *members;
	uint32_t n_members, room;
};

struct member_stream {
	struct stream stream, *file;
	struct stream_reader reader;
	struct archive *archive;
	bool ended;
};

struct container *container_free(struct container *c)
{
	if (!c)
		return NULL;
	for (uint32_t i = 0; i < c->n_members; i++) {
		free(c->members[i].name);
		free(c->members[i].link);
	}
	free(c->members);
	(void)close_fd(c->dir);
	(void)close_fd(c->fd);
	free(c);
	return NULL;
}

static struct container *container_new(int dir, int fd)
{
	struct container *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close_fd(dir);
		(void)close_fd(fd);
		return NULL;
	}
	c->dir = dir;
	c->fd = fd;
	return c;
}

struct container *container_from_directory(const char *path, struct failure *f)
{
	struct container *c;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0) {
		(void)fail_errno(f, EXIT_FAILED, errno, "%s", path);
		return NULL;
	}
	c = container_new(dir, -1);
	if (!c)
		(void)fail_errno(f, EXIT_FAILED, ENOMEM, "%s", path);
	return c;
}

/* "./a//b/" -> "a/b"; "dir/../x" is resolved by name. NULL: leads out, or no memory. */
static char *clean_name(const char *dir, size_t dir_length, const char *name)
{
	char *out = malloc(dir_length + strlen(name) + 2), *end = out;

	if (!out)
		return NULL;
	memcpy(out, dir, dir_length);
	end += dir_length;
	while (*name) {
		size_t n;

		name += strspn(name, "/");
		n = strcspn(name, "/");
		if (n == 2 && memcmp(name, "..", 2) == 0) {
			if (end == out) {
				free(out);
				return NULL;
			}
			while (end > out && *--end != '/')
				;
		} else if (n > 0 && !(n == 1 && *name == '.')) {
			if (end > out)
				*end++ = '/';
			memcpy(end, name, n);
			end += n;
		}
		name += n;
	}
	*end = '\0';
	return out;
}

static int add_member(struct container *c, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry), *hard = archive_entry_hardlink(entry),
		   *soft = archive_entry_symlink(entry), *slash;
	struct member m = { .size = archive_entry_size(entry) };

	if (c->n_members == c->room) {
		struct member *more = reallocarray(c->members, c->room * 2 + 64, sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->members = more;
		c->room = c->room * 2 + 64;
	}
	m.name = clean_name("", 0, name ? name : "");
	if (!m.name)
		return 0; /* no name that anybody could ask for */
	slash = strrchr(m.name, '/');
	if (hard)
		m.link = clean_name("", 0, hard);
	else if (soft)
		m.link = clean_name(m.name, slash ? (size_t)(slash - m.name) : 0, soft);
	m.regular = !m.link && archive_entry_filetype(entry) == S_IFREG;
	c->members[c->n_members++] = m;
	return 0;
}

static int open_tar(struct stream_reader *reader, struct archive **ret)
{
	*ret = archive_read_new();
	if (!*ret)
		return ARCHIVE_FATAL;
	(void)archive_read_support_format_tar(*ret);
	return stream_reader_open(reader, *ret);
}

static int list_members(struct container *c, struct failure *f)
{
	_cleanup_stream_ struct stream *file = stream_from_file(c->fd, f);
	_cleanup_archive_read_ struct archive *a = NULL;
	struct stream_reader reader = { .stream = file };
	struct archive_entry *entry;
	int r;

	if (!file)
		return -1;
	r = open_tar(&reader, &a);
	while (r == ARCHIVE_OK) {
		r = archive_read_next_header(a, &entry);
		if (r == ARCHIVE_WARN)
			r = ARCHIVE_OK;
		if (r != ARCHIVE_OK)
			break;
		if (c->n_members >= MEMBERS_MAX)
			return 0;
		if (add_member(c, entry) < 0)
			return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	}
	if (r == ARCHIVE_EOF)
		return 0;
	return a ? stream_reader_fail(&reader, a, f) : fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
}

struct container *container_from_archive(int fd, struct failure *f)
{
	struct container *c = container_new(-1, fd);

	if (!c) {
		(void)fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
		return NULL;
	}
	return list_members(c, f) < 0 ? container_free(c) : c;
}

/* Index of the regular file that the name means, links followed; -1 when there is none. The last of two counts, as in tar. */
static int64_t find_member(const struct container *c, const char *name)
{
	_cleanup_free_ char *clean = clean_name("", 0, name);
	const char *wanted = clean;

	for (int followed = 0; wanted && *wanted && followed < LINKS_MAX; followed++) {
		uint32_t i = c->n_members;

		while (i > 0 && strcmp(c->members[i - 1].name, wanted) != 0)
			i--;
		if (i == 0)
			return -1;
		if (c->members[i - 1].regular)
			return i - 1;
		wanted = c->members[i - 1].link;
	}
	return -1;
}

/* In a directory: every component but the last a real directory, the last a real file. */
static int open_beneath(int dir, const char *name)
{
	_cleanup_free_ char *clean = clean_name("", 0, name);
	_cleanup_close_ int at = dup(dir);
	char *part = clean, *slash;
	int fd;

	if (!clean || at < 0)
		return -ENOENT;
	for (; (slash = strchr(part, '/')); part = slash + 1) {
		int next;

		*slash = '\0';
		next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close(at);
		at = next;
	}
	fd = openat(at, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

bool container_has(struct container *c, const char *name)
{
	_cleanup_close_ int fd = -1;

	if (c->fd >= 0)
		return find_member(c, name) >= 0;
	fd = open_beneath(c->dir, name);
	return fd >= 0;
}

static int open_file(struct container *c, const char *name, struct stream **ret, int64_t *ret_size, struct failure *f)
{
	_cleanup_close_ int fd = open_beneath(c->dir, name);
	struct stat st;

	if (fd < 0)
		return fail_errno(f, EXIT_FAILED, fd, "%.200s", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return fail(f, EXIT_FAILED, "%.200s: not a file", name);
	*ret_size = st.st_size;
	*ret = stream_from_fd(take_fd(&fd));
	return *ret ? 0 : fail_errno(f, EXIT_FAILED, ENOMEM, "%.200s", name);
}

static ssize_t member_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct member_stream *self = container_of(s, struct member_stream, stream);
	la_int64_t offset;
	size_t size = 0;

	while (!self->ended && size == 0) {
		int r = archive_read_data_block(self->archive, ret_block, &size, &offset);

		if (r == ARCHIVE_EOF)
			self->ended = true;
		else if (r != ARCHIVE_OK)
			return stream_reader_fail(&self->reader, self->archive, f);
	}
	return self->ended ? 0 : (ssize_t)size;
}

static void member_free(struct stream *s)
{
	struct member_stream *self = container_of(s, struct member_stream, stream);

	(void)archive_read_free(self->archive);
	(void)stream_free(self->file);
	free(self);
}

static int open_member(struct container *c, uint32_t index, struct stream **ret, struct failure *f)
{
	struct member_stream *self = calloc(1, sizeof(*self));
	struct archive_entry *entry;
	int r;

	if (!self)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read an archive");
	self->stream = (struct stream){ .read = member_read, .free = member_free };
	*ret = &self->stream;
	self->reader.stream = self->file = stream_from_file(c->fd, f);
	if (!self->file)
		goto out;
	r = open_tar(&self->reader, &self->archive);
	for (uint32_t i = 0; i <= index && (r == ARCHIVE_OK || r == ARCHIVE_WARN); i++)
		r = archive_read_next_header(self->archive, &entry);
	if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
		return 0;
	(void)stream_reader_fail(&self->reader, self->archive, f);
out:
	*ret = stream_free(*ret);
	return -1;
}

int container_open(struct container *c, const char *name, struct stream **ret, int64_t *ret_size, struct failure *f)
{
	int64_t i;

	if (c->fd < 0)
		return open_file(c, name, ret, ret_size, f);
	if (strcmp(name, CONTAINER_WHOLE) == 0) {
		*ret = stream_from_file(c->fd, f);
		*ret_size = *ret ? lseek(c->fd, 0, SEEK_END) : -1;
		return *ret ? 0 : -1;
	}
	i = find_member(c, name);
	if (i < 0)
		return fail(f, EXIT_FAILED, "%.200s: not in the archive", name);
	*ret_size = c->members[i].size;
	return open_member(c, (uint32_t)i, ret, f);
}

int container_read(struct container *c, const char *name, size_t max, char **ret, size_t *ret_size, struct failure *f)
{
	_cleanup_stream_ struct stream *s = NULL;
	_cleanup_free_ char *text = NULL;
	const void *block;
	size_t size = 0;
	int64_t expected;
	ssize_t n;

	if (container_open(c, name, &s, &expected, f) < 0)
		return -1;
	while ((n = s->read(s, &block, f)) > 0) {
		char *more = (size_t)n <= max - size ? realloc(text, size + (size_t)n + 1) : NULL;

		if (!more)
			return fail(f, EXIT_FAILED, "%.200s: larger than %zu bytes", name, max);
		text = more;
		memcpy(text + size, block, (size_t)n);
		size += (size_t)n;
	}
	if (n < 0)
		return fail_wrap(f, "%.200s", name);
	if (!text && !(text = malloc(1)))
		return fail_errno(f, EXIT_FAILED, ENOMEM, "%.200s", name);
	text[size] = '\0';
	*ret_size = size;
	*ret = take_ptr(text);
	return 0;
}
