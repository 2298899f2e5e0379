/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#define GO_ON 1000 /* no outcome yet */
#define ENOUGH 3 /* as docker's command line: the third INT or TERM is meant for us */

/* What docker passes on; CHLD, PIPE, WINCH and those that cannot be caught stay here. */
static const int passed_signals[] = { SIGHUP,  SIGINT,	SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM,
				      SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGXCPU, SIGIO,   SIGVTALRM };
/* Those that would end us with the terminal still raw. */
static const int ending_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

/**
 * struct relay - a session under way
 * @matched:	how many of the detach keys have come; those are held back
 * @insisted:	how many INT and TERM were passed on
 * @stdin_open:	more may come from standard input
 * @saved:	the terminal as it was, when raw is set
 */
struct relay {
	const struct session *session;
	struct frame_buffer in, out;
	int signal_fd;
	size_t matched;
	unsigned insisted;
	bool stdin_open, raw;
	struct termios saved;
	sigset_t old_mask;
	int status;
};

/* One key: a character, or ctrl- and a letter or one of @ [ \ ] ^ _ */
static int parse_key(const char *s, size_t n, uint8_t *ret)
{
	if (n == 1) {
		*ret = (uint8_t)*s;
		return 0;
	}
	if (n != 6 || strncmp(s, "ctrl-", 5) != 0)
		return -EINVAL;
	if (isalpha((unsigned char)s[5]))
		*ret = (uint8_t)(toupper((unsigned char)s[5]) - '@');
	else if (strchr("@[\\]^_", s[5]))
		*ret = (uint8_t)(s[5] - '@');
	else
		return -EINVAL;
	return 0;
}

int session_parse_keys(struct session *session, const char *keys, struct failure *f)
{
	session->n_keys = 0;
	for (const char *p = keys ? keys : "ctrl-p,ctrl-q"; *p;) {
		size_t n = strcspn(p, ",");

		if (session->n_keys == SESSION_KEYS_MAX || parse_key(p, n, &session->keys[session->n_keys]) < 0)
			return fail(f, EXIT_USAGE, "--detach-keys: \"%s\" is not a list like ctrl-p,ctrl-q", keys);
		session->n_keys++;
		p += n + (p[n] == ',');
	}
	return 0;
}

void session_terminal_size(uint16_t *ret_columns, uint16_t *ret_rows)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		size = (struct winsize){ 0 };
	*ret_columns = size.ws_col;
	*ret_rows = size.ws_row;
}

static int send_size(struct relay *r)
{
	uint16_t columns, rows;
	uint8_t payload[FRAME_NUMBERS];

	session_terminal_size(&columns, &rows);
	if (!columns || !rows)
		return 0;
	frame_pack_size(payload, columns, rows);
	return frame_buffer_add(&r->out, FRAME_RESIZE, payload, sizeof(payload));
}

static int send_signal(struct relay *r, uint32_t number)
{
	uint8_t payload[FRAME_NUMBERS];

	frame_pack_signal(payload, number);
	return frame_buffer_add(&r->out, FRAME_SIGNAL, payload, sizeof(payload));
}

static int handle_signal(struct relay *r)
{
	struct signalfd_siginfo info;

	if (read(r->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return GO_ON;
	if (info.ssi_signo == SIGWINCH)
		return send_size(r) < 0 ? -ENOMEM : GO_ON;
	if (r->session->pass_signals) {
		r->insisted += info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM;
		if (send_signal(r, info.ssi_signo) < 0)
			return -ENOMEM;
		return r->insisted == ENOUGH ? SESSION_FORCED : GO_ON;
	}
	r->status = 128 + (int)info.ssi_signo;
	return SESSION_SIGNALED;
}

/*
 * One more byte. What was held back and this one may still begin the keys from a later byte on ("a,a,b" in "aaab"): the longest
 * such end is held back now, what is before it goes out. Returns how many bytes those are.
 */
static size_t match_key(struct relay *r, uint8_t byte, uint8_t *ret)
{
	const struct session *s = r->session;
	uint8_t held[SESSION_KEYS_MAX + 1];
	size_t n = r->matched + 1, gone = 0;

	memcpy(held, s->keys, r->matched);
	held[r->matched] = byte;
	while (gone < n && (n - gone > s->n_keys || memcmp(held + gone, s->keys, n - gone) != 0))
		gone++;
	memcpy(ret, held, gone);
	r->matched = n - gone;
	return gone;
}

/* Take the detach keys out of the input: bytes that may begin them are held back until it is clear. Returns the new size. */
static size_t filter_keys(struct relay *r, const uint8_t *data, size_t size, uint8_t *ret, bool *ret_detach)
{
	size_t n = 0;

	*ret_detach = false;
	for (size_t i = 0; i < size && !*ret_detach; i++) {
		n += match_key(r, data[i], ret + n);
		*ret_detach = r->session->n_keys && r->matched == r->session->n_keys;
	}
	return n;
}

static int handle_stdin(struct relay *r)
{
	uint8_t data[FRAME_DATA_MAX / 2], filtered[FRAME_DATA_MAX / 2 + SESSION_KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));
	bool detach = false;
	size_t size;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return GO_ON;
	if (n <= 0) {
		r->stdin_open = false;
		return frame_buffer_add(&r->out, FRAME_STDIN, NULL, 0) < 0 ? -ENOMEM : GO_ON;
	}
	if (!r->session->tty)
		return frame_buffer_add(&r->out, FRAME_STDIN, data, (size_t)n) < 0 ? -ENOMEM : GO_ON;
	size = filter_keys(r, data, (size_t)n, filtered, &detach);
	if (size && frame_buffer_add(&r->out, FRAME_STDIN, filtered, size) < 0)
		return -ENOMEM;
	return detach ? SESSION_DETACHED : GO_ON;
}

/* Whole, also on a terminal that somebody else has made non-blocking. */
static int write_out(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int handle_frame(struct relay *r, enum frame_type type, const uint8_t *payload, size_t size)
{
	if (type == FRAME_STDOUT || type == FRAME_STDERR)
		return write_out(type == FRAME_STDOUT ? STDOUT_FILENO : STDERR_FILENO, payload, size) < 0 ? SESSION_OUTPUT_CLOSED :
													    GO_ON;
	if (type == FRAME_DETACH)
		return SESSION_DISMISSED;
	if (type != FRAME_EXIT || size < 4)
		return GO_ON; /* FRAME_REPLY with "oom": the record has it */
	r->status = payload[0] | payload[1] << 8;
	return SESSION_EXITED;
}

static int handle_socket(struct relay *r)
{
	int received = frame_buffer_receive(&r->in, r->session->fd);
	const uint8_t *payload;
	enum frame_type type;
	size_t size;
	int next, outcome;

	while ((next = frame_buffer_next(&r->in, &type, &payload, &size)) == 1) {
		outcome = handle_frame(r, type, payload, size);
		if (outcome != GO_ON)
			return outcome;
	}
	if (next < 0 || received == 0 || (received < 0 && received != -EAGAIN))
		return SESSION_LOST;
	return GO_ON;
}

/* One wait and what it brings. */
static int relay_turn(struct relay *r)
{
	size_t backlog = frame_buffer_size(&r->out);
	bool take_stdin = r->stdin_open && backlog < SESSION_BACKLOG;
	struct pollfd fds[] = {
		{ .fd = r->signal_fd, .events = POLLIN },
		{ .fd = r->session->fd, .events = (short)(backlog ? POLLIN | POLLOUT : POLLIN) },
		{ .fd = take_stdin ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int outcome = GO_ON, sent;

	if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		return errno == EINTR ? GO_ON : -errno;
	if (fds[0].revents)
		outcome = handle_signal(r);
	if (outcome == GO_ON && fds[2].revents)
		outcome = handle_stdin(r);
	if (frame_buffer_size(&r->out)) {
		/* A peer that is gone may have left its last words: they are read below. */
		sent = frame_buffer_send(&r->out, r->session->fd);
		if (sent < 0 && sent != -EAGAIN) {
			frame_buffer_deinit(&r->out);
			r->stdin_open = false;
		}
	}
	if (outcome == GO_ON && fds[1].revents & (POLLIN | POLLHUP | POLLERR))
		outcome = handle_socket(r);
	return outcome;
}

static int begin_signals(struct relay *r)
{
	const int *list = r->session->pass_signals ? passed_signals : ending_signals;
	size_t n = r->session->pass_signals ? ARRAY_SIZE(passed_signals) : ARRAY_SIZE(ending_signals);
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGWINCH);
	for (size_t i = 0; i < n; i++)
		sigaddset(&mask, list[i]);
	sigprocmask(SIG_BLOCK, &mask, &r->old_mask);
	r->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signal_fd < 0 ? -errno : 0;
}

static void begin_raw(struct relay *r)
{
	struct termios raw;

	if (!r->session->tty || !r->session->send_stdin || tcgetattr(STDIN_FILENO, &r->saved) < 0)
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	r->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

int session_run(struct session *session, int *ret_status, struct failure *f)
{
	struct relay r = { .session = session, .signal_fd = -1, .stdin_open = session->send_stdin };
	int outcome = begin_signals(&r);

	if (outcome == 0)
		outcome = io_set_nonblock(session->fd, true);
	if (outcome == 0 && session->tty)
		outcome = send_size(&r);
	if (outcome == 0) {
		begin_raw(&r);
		do
			outcome = relay_turn(&r);
		while (outcome == GO_ON);
	}
	if (r.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &r.saved);
	r.signal_fd = close_fd(r.signal_fd);
	sigprocmask(SIG_SETMASK, &r.old_mask, NULL);
	frame_buffer_deinit(&r.in);
	frame_buffer_deinit(&r.out);
	*ret_status = r.status;
	return outcome < 0 ? fail_errno(f, EXIT_USAGE, outcome, "relaying the box's input and output") : outcome;
}
