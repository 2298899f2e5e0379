/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a box's log: docker's json-file lines in log.json and its rotated predecessors, log.json.1 being the newest of them.
 *
 * Theory of operation. The monitor rotates by renaming, so the file that is open keeps its inode under its next name. At the
 * end of a file the reader looks which of the names has its inode now: the next newer one goes on where this one ended. A file
 * that is no longer among the names was rotated away while we slept: reading goes on with the oldest that is left.
 */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/err.h"
#include "store/box.h"

/**
 * struct log_entry - one line
 * @text:	with its newline, if it had one; valid until the next call
 */
struct log_entry {
	const char *text;
	size_t size;
	const char *stream;
	int64_t time_ns;
};

/**
 * struct log_reader - a place in a box's log
 * @base:	path of log.json
 * @rest:	bytes of a line whose end has not been written yet
 * @bytes:	those of the entry read last, if it is not UTF-8
 */
struct log_reader {
	char base[PATH_MAX];
	FILE *file;
	ino_t inode;
	char *line;
	size_t room, rest;
	json_t *parsed;
	char *bytes;
};

/* tail < 0: from the beginning; else the last `tail` entries. A box without a log yet is fine. */
int log_reader_init(struct log_reader *r, const struct home *home, const char *id, int64_t tail, struct failure *f);
void log_reader_deinit(struct log_reader *r);
/* 1 and an entry; 0: nothing more for now. Lines that are no log entries are left out. */
int log_reader_next(struct log_reader *r, struct log_entry *ret);
