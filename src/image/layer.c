/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/io.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/text.h"
#include "image/lower.h"
#include "image/stream.h"
#include "image/tree.h"

#define RATIO_FLOOR (1LL << 30) /* bytes unpacked before the ratio counts */
#define HOLE_BLOCK 4096u

/**
 * struct tap - a stream that counts and hashes what passes, and may keep a copy
 * @spool:	file for the copy, or -1; zero blocks become holes
 * @limit:	bytes that may pass
 * @packed:	the tap before unpacking, for the ratio; or NULL
 */
struct tap {
	struct stream stream, *inner;
	EVP_MD_CTX *digest;
	int64_t passed, limit, ratio;
	int spool;
	const struct tap *packed;
	const struct image_progress *progress;
	const char *label;
	int64_t total;
};

static bool is_zero(const char *p, size_t n)
{
	return n > 0 && *p == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static int spool_write(int fd, int64_t at, const char *data, size_t size)
{
	while (size > 0) {
		size_t n = MIN(size, HOLE_BLOCK - (size_t)(at % HOLE_BLOCK));
		ssize_t written = (ssize_t)n;

		if (!is_zero(data, n)) {
			while (n < size && !is_zero(data + n, MIN(HOLE_BLOCK, size - n)))
				n += MIN(HOLE_BLOCK, size - n);
			written = pwrite(fd, data, n, at);
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		at += written;
		size -= (size_t)written;
	}
	return 0;
}

static int tap_check(const struct tap *tap, struct failure *f)
{
	if (tap->passed > tap->limit)
		return fail(f, EXIT_FAILED, "it unpacks to more than %lld bytes (A3S_IMAGE_MAX_LAYER)", (long long)tap->limit);
	if (tap->packed && tap->passed > RATIO_FLOOR && tap->passed / tap->ratio > tap->packed->passed)
		return fail(f, EXIT_FAILED, "it unpacks to more than %lld times its size (A3S_IMAGE_MAX_RATIO)", (long long)tap->ratio);
	return 0;
}

static ssize_t tap_read(struct stream *s, const void **ret_block, struct failure *f)
{
	struct tap *tap = container_of(s, struct tap, stream);
	ssize_t n = tap->inner->read(tap->inner, ret_block, f);
	int r = 0;

	if (n <= 0)
		return n;
	digest_add(tap->digest, *ret_block, (size_t)n);
	if (tap->spool >= 0)
		r = spool_write(tap->spool, tap->passed, *ret_block, (size_t)n);
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "unpack");
	tap->passed += n;
	if (tap->progress && tap->progress->fn)
		tap->progress->fn(tap->progress->context, tap->label, tap->passed, tap->total);
	return tap_check(tap, f) < 0 ? -1 : n;
}

static void tap_deinit(struct tap *tap)
{
	(void)digest_free(tap->digest);
	(void)stream_free(tap->inner);
	(void)close_fd(tap->spool);
}

/* What the end marker of the tar leaves behind belongs to the digest too. */
static int drain(struct stream *s, struct failure *f)
{
	const void *block;
	ssize_t n;

	do {
		n = s->read(s, &block, f);
	} while (n > 0);
	return (int)n;
}

/**
 * struct conversion - one layer on its way
 * @spool:	unpacked tar, when the blob was packed; else -1
 */
struct conversion {
	const struct layer_source *source;
	const char *directory;
	struct tree_limits limits;
	struct layer_tree *tree;
	int spool;
};

static int make_spool(const char *directory, struct failure *f)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? fail_errno(f, EXIT_FAILED, errno, "make a temporary file in %s", directory) : fd;
}

static int check_digest(const char *what, const char *expected, const char *found, struct failure *f)
{
	if (expected && strcmp(expected, found) != 0)
		return fail(f, EXIT_FAILED, "%s mismatch: expected %s, found %s", what, expected, found);
	return 0;
}

static int finish_packed(struct tap *tap, const struct layer_source *source, struct failure *f)
{
	char found[DIGEST_TEXT];

	if (drain(&tap->stream, f) < 0)
		return -1;
	digest_end(tap->digest, found);
	if (source->size >= 0 && tap->passed != source->size)
		return fail(f, EXIT_FAILED, "size mismatch: expected %lld bytes, found %lld", (long long)source->size,
			    (long long)tap->passed);
	return check_digest("digest", source->digest, found, f);
}

/* A damaged blob fails somewhere inside; that it is not the promised one is the better sentence. */
static int explain(struct tap *packed, const struct layer_source *source, struct failure *f)
{
	struct failure damage = { 0 };

	if ((source->digest || source->size >= 0) && finish_packed(packed, source, &damage) < 0)
		*f = damage;
	return -1;
}

/* Read the tree, then everything to its end, and compare what was promised. */
static int read_plain(struct conversion *c, struct tap *packed, struct tap *plain, char *ret_diff_id, struct failure *f)
{
	if (tree_read(c->tree, &plain->stream, f) < 0 || drain(&plain->stream, f) < 0)
		return explain(packed, c->source, f);
	digest_end(plain->digest, ret_diff_id);
	if (plain->spool >= 0 && ftruncate(plain->spool, plain->passed) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "unpack");
	if (finish_packed(packed, c->source, f) < 0)
		return -1;
	return check_digest("content digest", c->source->diff_id, ret_diff_id, f);
}

static int prepare_taps(struct conversion *c, struct tap *packed, struct tap *plain, const struct image_progress *progress,
			struct failure *f)
{
	packed->limit = plain->limit = c->limits.bytes;
	packed->progress = progress;
	packed->label = c->source->label;
	plain->ratio = c->limits.ratio;
	plain->packed = packed;
	packed->digest = digest_new();
	plain->digest = digest_new();
	if (!packed->digest || !plain->digest)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "unpack");
	return container_open(c->source->container, c->source->blob, &packed->inner, &packed->total, f);
}

/* First reading. */
static int examine(struct conversion *c, const struct image_progress *progress, char *ret_diff_id, struct failure *f)
{
	_cleanup_(tap_deinit) struct tap packed = { .stream = { .read = tap_read }, .spool = -1 };
	_cleanup_(tap_deinit) struct tap plain = { .stream = { .read = tap_read }, .spool = -1 };
	bool is_packed = false;

	if (prepare_taps(c, &packed, &plain, progress, f) < 0)
		return -1;
	plain.inner = stream_unpack(&packed.stream, &is_packed, f);
	if (!plain.inner)
		return explain(&packed, c->source, f);
	if (is_packed) {
		c->spool = make_spool(c->directory, f);
		if (c->spool < 0)
			return -1;
		plain.spool = fcntl(c->spool, F_DUPFD_CLOEXEC, 3);
	}
	return read_plain(c, &packed, &plain, ret_diff_id, f);
}

/**
 * struct packer - tar2sqfs at work
 * @in:		its standard input
 * @messages:	what it says
 */
struct packer {
	pid_t pid;
	int in, messages;
};

static int packer_start(struct packer *p, const char *directory, const char *path, struct failure *f)
{
	/* Times come from the tar, the superblock's from nowhere: equal layers make equal files. */
	const char *const argv[] = { "tar2sqfs", "-q", "-f", "-s", "-c", "lz4", "-b", "131072", path, NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	int pipe_fds[2], r;

	p->messages = make_spool(directory, f);
	if (p->messages < 0)
		return -1;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "start tar2sqfs");
	(void)fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
	spec.argv = argv;
	spec.stdin_fd = pipe_fds[0];
	spec.stdout_fd = spec.stderr_fd = p->messages;
	spec.die_with_parent = true;
	r = proc_spawn(&spec, &p->pid, NULL);
	(void)close_fd(pipe_fds[0]);
	p->in = pipe_fds[1];
	if (r == -ENOENT)
		return fail(f, EXIT_USAGE, "tar2sqfs is missing: install squashfs-tools-ng");
	return r < 0 ? fail_errno(f, EXIT_FAILED, r, "start tar2sqfs") : 0;
}

/* Its last words, one line. */
static int packer_fail(const struct packer *p, struct failure *f)
{
	char text[512];
	ssize_t n = pread(p->messages, text, sizeof(text) - 1, 0);

	text[MAX(n, 0)] = '\0';
	if (strstr(text, strerror(ENOSPC)))
		return fail_errno(f, EXIT_FAILED, ENOSPC, "write a layer");
	return fail(f, EXIT_FAILED, "tar2sqfs: %s", n > 0 ? text : "failed");
}

/* `written`: how the writing to it ended. */
static int packer_finish(struct packer *p, int written, struct failure *f)
{
	int status = 0;

	p->in = close_fd(p->in);
	if (p->pid > 0) {
		while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
			;
		p->pid = 0;
		if (status != 0 && (written == 0 || strstr(f->text, strerror(EPIPE))))
			written = packer_fail(p, f);
	}
	p->messages = close_fd(p->messages);
	return written;
}

static int sync_file(const char *path, struct failure *f)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return fail_errno(f, EXIT_FAILED, errno, "write %s", path);
	return 0;
}

static struct stream *second_reading(struct conversion *c, struct failure *f)
{
	struct stream *s = NULL;
	int64_t size;

	if (c->spool >= 0)
		return stream_from_file(c->spool, f);
	(void)container_open(c->source->container, c->source->blob, &s, &size, f);
	return s;
}

/* Second reading. tar2sqfs that fails closes its end: EPIPE instead of a signal. */
static int write_squashfs(struct conversion *c, const char *path, struct failure *f)
{
	_cleanup_stream_ struct stream *tar = second_reading(c, f);
	struct lower lower = { .files = c->source->lower, .n = c->source->n_lower };
	const struct tree_lower asks = { .find = lower_find, .open = lower_open, .context = &lower };
	struct packer p = { .in = -1, .messages = -1 };
	sigset_t pipe_signal, old;
	const struct timespec now = { 0 };
	int r;

	if (!tar)
		return -1;
	(void)sigemptyset(&pipe_signal);
	(void)sigaddset(&pipe_signal, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
	r = packer_start(&p, c->directory, path, f);
	if (r == 0)
		r = tree_write(c->tree, tar, tree_asks_lower(c->tree) ? &asks : NULL, p.in, f);
	r = packer_finish(&p, r, f);
	(void)sigtimedwait(&pipe_signal, NULL, &now);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	lower_deinit(&lower);
	if (r == 0)
		r = sync_file(path, f);
	if (r < 0)
		(void)unlink(path);
	return r;
}

static int convert(struct conversion *c, const char *path, const struct image_progress *progress, struct layer_result *ret,
		   struct failure *f)
{
	if (tree_limits_read(&c->limits, f) < 0)
		return -1;
	c->tree = tree_new(&c->limits);
	if (!c->tree)
		return fail_errno(f, EXIT_FAILED, ENOMEM, "read a layer");
	if (examine(c, progress, ret->diff_id, f) < 0)
		return -1;
	ret->asked_lower = tree_asks_lower(c->tree);
	return write_squashfs(c, path, f);
}

int layer_convert(const struct layer_source *source, const char *directory, const char *path,
		  const struct image_progress *progress, struct layer_result *ret, struct failure *f)
{
	struct conversion c = { .source = source, .directory = directory, .spool = -1 };
	/* libarchive gives names as bytes only under a locale that can hold them; this thread's alone is changed. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), old = (locale_t)0;
	int r;

	if (utf8)
		old = uselocale(utf8);
	r = convert(&c, path, progress, ret, f);
	if (utf8) {
		(void)uselocale(old);
		freelocale(utf8);
	}
	(void)tree_free(c.tree);
	(void)close_fd(c.spool);
	return r < 0 ? fail_wrap(f, "layer %s", source->label) : 0;
}
