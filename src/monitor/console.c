/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/own.h"
#include "console.h"

/* Bytes of one turn: a guest that floods its console gets at most this share of the loop. */
#define CONSOLE_TURN 4096

bool console_read(struct console *console)
{
	char data[CONSOLE_TURN];
	ssize_t n = recv(console->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t i = 0; i < n; i++)
		console->data[console->at++ % CONSOLE_MAX] = data[i];
	return n > 0;
}

void console_drain(struct console *console)
{
	for (size_t before = console->at + 1, i = 0; console->fd >= 0 && before != console->at && i < 64; i++) {
		before = console->at;
		console_read(console);
	}
}

static void console_on_io(struct loop_io *io, uint32_t events)
{
	struct console *console = container_of(io, struct console, io);

	if (!console_read(console))
		loop_io_remove(&console->io);
}

int console_open(struct console *console, struct loop *loop, int fd)
{
	int r;

	*console = (struct console){ .io = LOOP_IO_NULL, .fd = fd };
	r = loop ? loop_io_add(loop, &console->io, fd, EPOLLIN, console_on_io) : 0;
	if (r < 0)
		console_close(console);
	return r;
}

void console_close(struct console *console)
{
	loop_io_remove(&console->io);
	console->fd = close_fd(console->fd);
}

/* Oldest first, printable characters and newlines only. */
static size_t console_copy(const struct console *console, char out[static CONSOLE_MAX + 1])
{
	size_t first = console->at > CONSOLE_MAX ? console->at - CONSOLE_MAX : 0, n = 0;

	for (size_t i = first; i < console->at; i++) {
		char c = console->data[i % CONSOLE_MAX];

		if (c == '\n' || (c >= 0x20 && c < 0x7f))
			out[n++] = c;
	}
	out[n] = '\0';
	return n;
}

bool console_contains(const struct console *console, const char *text)
{
	char copy[CONSOLE_MAX + 1];

	console_copy(console, copy);
	return strstr(copy, text);
}

void console_tail(const struct console *console, unsigned lines, char *ret, size_t size)
{
	char copy[CONSOLE_MAX + 1];
	size_t start = console_copy(console, copy), end = start;

	while (end && copy[end - 1] == '\n')
		copy[--end] = '\0';
	for (start = end; start; start--)
		if (copy[start - 1] == '\n' && (start == end || copy[start] != '\n') && --lines == 0)
			break;
	*ret = '\0';
	for (char *save, *line = strtok_r(copy + start, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(ret);

		snprintf(ret + n, size - n, "%s%s", n ? " | " : "", line);
	}
}
