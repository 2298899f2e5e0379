/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "log_file.h"

/* The longest object: every byte six characters or base64 beside U+FFFD, and the rest of the object. */
#define OBJECT_MAX (LOG_LINE_MAX * 6 + LOG_LINE_MAX * 4 / 3 + 256)

static const char *const stream_names[LOG_STREAMS] = { "stdout", "stderr" };

static char *put(char *out, const char *text)
{
	return stpcpy(out, text);
}

static char *put_escape(char *out, unsigned c)
{
	static const char hex[] = "0123456789abcdef";

	out = put(out, "\\u00");
	*out++ = hex[c >> 4];
	*out++ = hex[c & 15];
	return out;
}

/* One ASCII character as docker's encoder writes it. */
static char *put_ascii(char *out, uint8_t c)
{
	switch (c) {
	case '"':
		return put(out, "\\\"");
	case '\\':
		return put(out, "\\\\");
	case '\n':
		return put(out, "\\n");
	case '\r':
		return put(out, "\\r");
	case '\t':
		return put(out, "\\t");
	default:
		if (c < 0x20 || c == '<' || c == '>' || c == '&')
			return put_escape(out, c);
		*out++ = (char)c;
		return out;
	}
}

static char *put_string(char *out, const uint8_t *data, size_t size, bool *ret_exact)
{
	*ret_exact = true;
	for (size_t i = 0; i < size;) {
		size_t n = data[i] < 0x80 ? 1 : text_utf8_length(data + i, size - i);

		if (n == 1) {
			out = put_ascii(out, data[i]);
		} else if (n == 0) {
			out = put(out, "\\ufffd");
			*ret_exact = false;
			n = 1;
		} else {
			memcpy(out, data + i, n);
			out += n;
		}
		i += n;
	}
	return out;
}

static int file_open(struct log_file *log, int flags)
{
	struct stat st;

	log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0600);
	if (log->fd < 0 || fstat(log->fd, &st) < 0)
		return -errno;
	log->size = st.st_size;
	return 0;
}

int log_file_open(struct log_file *log, const char *path, int64_t max_size, unsigned max_files)
{
	int r;

	*log = (struct log_file)LOG_FILE_NULL;
	log->max_size = max_size;
	log->max_files = max_files;
	r = io_path(log->path, sizeof(log->path), "%s", path);
	if (r == 0)
		r = file_open(log, 0);
	if (r == 0 && !(log->buffer = malloc(LOG_BUFFER_MAX + OBJECT_MAX)))
		r = -ENOMEM;
	if (r < 0)
		log_file_close(log);
	return r;
}

/* log.json.1 -> .2 and so on, the oldest falls off; with one file the present one is emptied. */
static void file_rotate(struct log_file *log)
{
	char from[PATH_MAX + 16], to[PATH_MAX + 16];

	log->fd = close_fd(log->fd);
	for (unsigned i = log->max_files - 1; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%u", log->path, i);
		snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", log->path, i - 1);
		rename(from, to);
	}
	if (file_open(log, O_TRUNC) < 0)
		log_warn("cannot open %s again: %s", log->path, strerror(errno));
}

void log_file_flush(struct log_file *log)
{
	int r;

	if (!log->used)
		return;
	r = log->fd < 0 ? -EBADF : io_write_full(log->fd, log->buffer, log->used);
	if (r < 0) {
		if (!log->dropped++)
			log_warn("the box's output cannot be logged and is dropped: %s", strerror(-r));
	}
	log->used = 0;
}

static char *put_object(char *out, enum log_stream stream, const uint8_t *data, size_t size)
{
	char time[TEXT_TIME_MAX];
	bool exact;

	out = put(out, "{\"log\":\"");
	out = put_string(out, data, size, &exact);
	out = put(put(put(out, "\",\"stream\":\""), stream_names[stream]), "\",\"time\":\"");
	text_time(text_now_ns(), time);
	out = put(out, time);
	if (!exact)
		out = text_put_base64(put(out, "\",\"bytes\":\""), data, size);
	return put(out, "\"}\n");
}

static void write_object(struct log_file *log, enum log_stream stream, const uint8_t *data, size_t size)
{
	char *start = log->buffer + log->used;
	size_t written = (size_t)(put_object(start, stream, data, size) - start);

	if (log->size > 0 && log->size + (int64_t)written > log->max_size) {
		log_file_flush(log);
		memmove(log->buffer, start, written);
		file_rotate(log);
	}
	log->used += written;
	log->size += (int64_t)written;
	if (log->used >= LOG_BUFFER_MAX)
		log_file_flush(log);
}

/* Where to cut a line that is too long: not within a character that is whole so far. */
static size_t cut_length(const uint8_t *data, size_t size)
{
	for (size_t back = 1; back <= 3 && back < size; back++) {
		uint8_t c = data[size - back];
		size_t n = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;

		if ((c & 0xc0) == 0x80)
			continue;
		return n > back ? size - back : size;
	}
	return size;
}

/* Keep bytes until their line is whole, cutting it when it is too long. */
static void keep_partial(struct log_file *log, enum log_stream stream, const uint8_t *data, size_t size)
{
	struct log_partial *partial = &log->partial[stream];

	if (!partial->data && !(partial->data = malloc(LOG_LINE_MAX))) {
		log->dropped++;
		return;
	}
	while (size) {
		size_t n = MIN(size, LOG_LINE_MAX - partial->size);

		memcpy(partial->data + partial->size, data, n);
		partial->size += n;
		data += n;
		size -= n;
		if (partial->size == LOG_LINE_MAX) {
			size_t cut = cut_length((const uint8_t *)partial->data, partial->size);

			write_object(log, stream, (const uint8_t *)partial->data, cut);
			memmove(partial->data, partial->data + cut, partial->size - cut);
			partial->size -= cut;
		}
	}
}

static void take_partial(struct log_file *log, enum log_stream stream)
{
	struct log_partial *partial = &log->partial[stream];

	if (partial->size)
		write_object(log, stream, (const uint8_t *)partial->data, partial->size);
	partial->size = 0;
}

void log_file_add(struct log_file *log, enum log_stream stream, const void *data, size_t size)
{
	const uint8_t *at = data, *end = at + size, *newline;

	if (!log->buffer)
		return;
	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		size_t n = (size_t)(newline + 1 - at);

		if (log->partial[stream].size || n > LOG_LINE_MAX) {
			keep_partial(log, stream, at, n);
			take_partial(log, stream);
		} else {
			write_object(log, stream, at, n);
		}
		at += n;
	}
	if (at < end)
		keep_partial(log, stream, at, (size_t)(end - at));
}

void log_file_end(struct log_file *log, enum log_stream stream)
{
	if (log->buffer)
		take_partial(log, stream);
	log_file_flush(log);
}

void log_file_close(struct log_file *log)
{
	for (int i = 0; i < LOG_STREAMS; i++) {
		log_file_end(log, i);
		free(log->partial[i].data);
	}
	free(log->buffer);
	close_fd(log->fd);
	*log = (struct log_file)LOG_FILE_NULL;
}
