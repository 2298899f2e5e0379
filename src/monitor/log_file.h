/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box's log, in docker's json-file form: one JSON object a line,
 *
 *	{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
 *
 * A line of the program is one object; one longer than LOG_LINE_MAX is cut into several, of which only the last has "\n", never
 * within a UTF-8 character. Bytes that are no UTF-8 become U+FFFD as docker does, and the object then has a fourth member
 * "bytes" with the true ones in base64. What a program wrote without a newline is logged when the newline or the end comes.
 *
 * Files are rotated by size: log.json, log.json.1 and so on, max_files in all. Memory: one partial line for each stream and
 * one output buffer. Writing blocks when the disk is slow: the caller reads no more from the guest meanwhile. When the disk is
 * full, lines are dropped and counted, and the box goes on.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX (16u << 10)
#define LOG_BUFFER_MAX (64u << 10)

enum log_stream { LOG_STDOUT, LOG_STDERR, LOG_STREAMS };

struct log_partial {
	char *data; /* LOG_LINE_MAX, allocated at the first partial line */
	size_t size;
};

/**
 * struct log_file - embedded in its owner
 * @size:	bytes in the present file, buffer included
 * @dropped:	objects that could not be written
 */
struct log_file {
	int fd;
	char path[PATH_MAX];
	int64_t max_size, size;
	unsigned max_files;
	uint64_t dropped;
	struct log_partial partial[LOG_STREAMS];
	char *buffer;
	size_t used;
};
#define LOG_FILE_NULL { .fd = -1 }

/* Append to what is there. max_size in bytes, at least 1; max_files at least 1. 0 or a negative errno. */
int log_file_open(struct log_file *log, const char *path, int64_t max_size, unsigned max_files);
void log_file_add(struct log_file *log, enum log_stream stream, const void *data, size_t size);
/* Write what is buffered; call at the end of a batch. Partial lines stay. */
void log_file_flush(struct log_file *log);
/* End of a stream: its partial line becomes an object without "\n". */
void log_file_end(struct log_file *log, enum log_stream stream);
void log_file_close(struct log_file *log);
