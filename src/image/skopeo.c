/* SPDX-License-Identifier: Apache-2.0 */
#include "image/skopeo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/text.h"

#define ARGUMENTS_MAX 32
#define MESSAGES_MAX 8192
#define POLL_MS 200

/* First match counts. `docker` stands in front of what skopeo meant; NULL keeps its words alone. */
static const struct {
	const char *found, *docker;
} explanations[] = {
	{ "not logged into", "not logged in" },
	{ "checking authfile", "not logged in" },
	{ "manifest unknown", "manifest unknown: no such image or tag" },
	{ "name unknown", "repository does not exist, or may require login" },
	{ "repository name not known", "repository does not exist, or may require login" },
	{ "unauthorized", "unauthorized: wrong or missing credentials (see login)" },
	{ "authentication required", "unauthorized: wrong or missing credentials (see login)" },
	{ "invalid username/password", "unauthorized: incorrect user name or password" },
	{ "requested access to the resource is denied", "access denied: repository does not exist, or may require login" },
	{ "denied:", "access denied" },
	{ "connection refused", "connection refused: is the registry running?" },
	{ "no such host", "no such host: the registry's name is not known" },
	{ "server misbehaving", "the registry's name could not be looked up" },
	{ "i/o timeout", "the registry does not answer" },
	{ "network is unreachable", "network is unreachable" },
	{ "no route to host", "no route to the registry" },
	{ "server gave HTTP response to HTTPS client", "the registry speaks plain HTTP, which is used for loopback registries only" },
	{ "certificate signed by unknown authority", "the registry's certificate is signed by an unknown authority" },
	{ "x509:", "the registry's certificate is not valid" },
	{ "toomanyrequests", "too many requests: the registry's rate limit is reached" },
	{ "no space left on device", "no space left on device" },
	{ "Digest did not match", "digest mismatch" },
	{ "does not match provided manifest digest", "digest mismatch" },
	{ "doesn't match", "digest mismatch" },
	{ "unexpected EOF", "the registry broke off" },
	{ "connection reset by peer", "the registry broke off" },
};

/* msg="..." of a logrus line, unescaped in place; the line itself when it has none. */
static char *message_of(char *line)
{
	char *start = strstr(line, "msg=\""), *in, *out;

	if (!start)
		return line;
	start += strlen("msg=\"");
	for (in = out = start; *in && *in != '"'; in++) {
		if (*in == '\\' && in[1])
			in++;
		*out++ = *in;
	}
	*out = '\0';
	return start;
}

/* What skopeo puts in front only repeats what it was asked: the name in quotes ends it. */
static const char *without_preamble(const char *message)
{
	static const char *const preambles[] = { "Error parsing image name \"", "Error initializing source docker://", "initializing source docker://" };

	for (size_t i = 0; i < ARRAY_SIZE(preambles); i++) {
		const char *end = text_starts(message, preambles[i]) ? strstr(message, ": ") : NULL;

		if (end && end[2])
			return end + 2;
	}
	return message;
}

static char *last_line(char *text)
{
	size_t n = strlen(text);
	char *newline;

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	newline = strrchr(text, '\n');
	return newline ? newline + 1 : text;
}

int skopeo_explain(const char *messages, const char *subject, struct failure *f)
{
	_cleanup_free_ char *copy = strdup(messages);
	const char *message = copy ? without_preamble(message_of(last_line(copy))) : "";

	for (size_t i = 0; i < ARRAY_SIZE(explanations); i++)
		if (strcasestr(message, explanations[i].found))
			return fail(f, EXIT_FAILED, "%s: %s (%s)", subject, explanations[i].docker, message);
	return fail(f, EXIT_FAILED, "%s: %s", subject, *message ? message : "skopeo failed without a word");
}

static int open_temporary(const char *directory)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int wait_for(pid_t pid, int pidfd, const struct skopeo_run *run)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int status = 0;

	while (run->poll && poll(&p, 1, POLL_MS) == 0)
		run->poll(run->context);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int open_files(const struct skopeo_run *run, struct proc_spec *spec)
{
	spec->stderr_fd = open_temporary(run->directory);
	if (spec->stderr_fd < 0)
		return spec->stderr_fd;
	if (run->output) {
		spec->stdout_fd = open(run->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (spec->stdout_fd < 0)
			return -errno;
	}
	if (run->input) {
		spec->stdin_fd = open_temporary(run->directory);
		if (spec->stdin_fd < 0)
			return spec->stdin_fd;
		if (pwrite(spec->stdin_fd, run->input, strlen(run->input), 0) != (ssize_t)strlen(run->input))
			return -EIO;
	}
	return 0;
}

static int run_and_wait(const struct skopeo_run *run, const struct proc_spec *spec, struct failure *f)
{
	_cleanup_close_ int pidfd = -1;
	char text[MESSAGES_MAX];
	off_t size;
	ssize_t n;
	pid_t pid;
	int r = proc_spawn(spec, &pid, &pidfd);

	if (r == -ENOENT)
		return fail(f, EXIT_USAGE, "skopeo is missing: install skopeo");
	if (r < 0)
		return fail_errno(f, EXIT_FAILED, r, "start skopeo");
	if (wait_for(pid, pidfd, run) == 0)
		return 0;
	size = lseek(spec->stderr_fd, 0, SEEK_END);
	n = pread(spec->stderr_fd, text, sizeof(text) - 1, MAX(size - (off_t)sizeof(text) + 1, 0));
	text[MAX(n, 0)] = '\0';
	return skopeo_explain(text, run->subject, f);
}

/* Debian's package of skopeo only recommends the one with the trust policy; without a policy anything is accepted, as by docker. */
static bool policy_exists(void)
{
	const char *home = getenv("HOME");
	char path[PATH_MAX];

	if (home && io_path(path, sizeof(path), "%s/.config/containers/policy.json", home) == 0 && access(path, R_OK) == 0)
		return true;
	return access("/etc/containers/policy.json", R_OK) == 0;
}

int skopeo_run(const struct skopeo_run *run, struct failure *f)
{
	struct proc_spec spec = PROC_SPEC_NULL;
	const char *argv[ARGUMENTS_MAX + 5] = { "skopeo", "--tmpdir", run->directory };
	size_t n = 3;
	int r;

	if (!policy_exists())
		argv[n++] = "--insecure-policy";
	for (size_t i = 0; i < ARGUMENTS_MAX && run->arguments[i]; i++)
		argv[n++] = run->arguments[i];
	spec.argv = argv;
	spec.die_with_parent = true;
	r = open_files(run, &spec);
	r = r < 0 ? fail_errno(f, EXIT_FAILED, r, "temporary files in %s", run->directory) : run_and_wait(run, &spec, f);
	(void)close_fd(spec.stdin_fd);
	(void)close_fd(spec.stdout_fd);
	(void)close_fd(spec.stderr_fd);
	return r;
}
