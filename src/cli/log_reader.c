/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"

#define FILES_MAX 1000
#define BLOCK 65536

/* Name of the n-th file, 0 the one being written. */
static int log_path(const struct log_reader *r, unsigned n, char ret[static PATH_MAX])
{
	int size = n ? snprintf(ret, PATH_MAX, "%s.%u", r->base, n) : snprintf(ret, PATH_MAX, "%s", r->base);

	return size < 0 || size >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int open_file(struct log_reader *r, unsigned n)
{
	char path[PATH_MAX];
	struct stat st;
	FILE *file;

	if (log_path(r, n, path) < 0 || !(file = fopen(path, "re")))
		return -ENOENT;
	if (fstat(fileno(file), &st) < 0) {
		fclose(file);
		return -EIO;
	}
	if (r->file)
		fclose(r->file);
	r->file = file;
	r->inode = st.st_ino;
	r->rest = 0;
	return 0;
}

static unsigned count_files(const struct log_reader *r)
{
	char path[PATH_MAX];
	struct stat st;
	unsigned n = 1;

	while (n < FILES_MAX && log_path(r, n, path) == 0 && stat(path, &st) == 0)
		n++;
	return n;
}

/* Which of the names has the open file: 0 the one being written; -1: none any more. */
static int find_open(const struct log_reader *r, unsigned n)
{
	char path[PATH_MAX];
	struct stat st;

	for (unsigned i = 0; i < n; i++) {
		if (log_path(r, i, path) == 0 && stat(path, &st) == 0 && st.st_ino == r->inode)
			return (int)i;
	}
	return -1;
}

/* Go to the file after this one, or to the oldest. 0, or -ENOENT while there is none. */
static int open_next(struct log_reader *r)
{
	unsigned n = count_files(r);
	int at = r->file ? find_open(r, n) : -1;

	if (at < 0)
		return open_file(r, n - 1);
	return at ? open_file(r, (unsigned)at - 1) : -ENOENT;
}

/* Go back from the end of the file until `lines` newlines are behind us. Returns how many were there. */
static int64_t seek_back(FILE *file, int64_t lines)
{
	char block[BLOCK];
	off_t end;
	int64_t found = 0;

	if (fseeko(file, 0, SEEK_END) < 0)
		return 0;
	for (end = ftello(file); end > 0;) {
		size_t size = (size_t)MIN(end, (off_t)BLOCK);
		off_t start = end - (off_t)size;

		if (fseeko(file, start, SEEK_SET) < 0 || fread(block, 1, size, file) != size)
			break;
		for (size_t i = size; i-- > 0;) {
			/* The newline before the first wanted line is one more than there are lines. */
			if (block[i] == '\n' && found++ == lines) {
				fseeko(file, start + (off_t)i + 1, SEEK_SET);
				return lines;
			}
		}
		end = start;
	}
	rewind(file);
	return found;
}

/* Open the file in which the last `tail` entries begin, at their beginning. */
static void seek_tail(struct log_reader *r, int64_t tail)
{
	unsigned files = count_files(r);

	for (unsigned n = 0; n < files; n++) {
		if (open_file(r, n) < 0)
			continue;
		tail -= seek_back(r->file, tail);
		if (tail <= 0)
			return;
	}
}

int log_reader_init(struct log_reader *r, const struct home *home, const char *id, int64_t tail, struct failure *f)
{
	*r = (struct log_reader){ 0 };
	if (box_path(home, id, "log.json", r->base) < 0)
		return fail(f, EXIT_FAILED, "the path of the log is too long");
	if (tail >= 0)
		seek_tail(r, tail);
	else
		open_next(r);
	return 0;
}

void log_reader_deinit(struct log_reader *r)
{
	if (r->file)
		fclose(r->file);
	free(r->line);
	free(r->bytes);
	json_decref(r->parsed);
	*r = (struct log_reader){ 0 };
}

/* One more line, its newline included: 1; 0 at the end of what is written so far. */
static int read_line(struct log_reader *r)
{
	for (;;) {
		size_t n;

		if (r->room - r->rest < BLOCK) {
			char *larger = realloc(r->line, r->room + BLOCK);

			if (!larger)
				return 0;
			r->line = larger;
			r->room += BLOCK;
		}
		r->line[r->rest] = '\0';
		if (!fgets(r->line + r->rest, BLOCK, r->file)) {
			clearerr(r->file);
			return 0;
		}
		n = strlen(r->line + r->rest);
		r->rest += n;
		if (n && r->line[r->rest - 1] == '\n')
			return 1;
	}
}

/* What is no UTF-8 cannot stand in a JSON string: the line has it once more, in base64. */
static void take_true_bytes(struct log_reader *r, struct log_entry *entry)
{
	const char *encoded = json_str(r->parsed, "bytes", NULL);
	size_t size;

	if (!encoded)
		return;
	free(r->bytes);
	r->bytes = strdup(encoded);
	if (r->bytes && text_decode_base64(r->bytes, &size) == 0) {
		entry->text = r->bytes;
		entry->size = size;
	}
}

static bool parse_line(struct log_reader *r, struct log_entry *ret)
{
	json_t *text;

	json_decref(r->parsed);
	r->parsed = json_loadb(r->line, r->rest, JSON_ALLOW_NUL, NULL);
	text = json_object_get(r->parsed, "log");
	if (!json_is_string(text))
		return false;
	ret->text = json_string_value(text);
	ret->size = json_string_length(text);
	take_true_bytes(r, ret);
	ret->stream = json_str(r->parsed, "stream", "stdout");
	if (text_to_time(json_str(r->parsed, "time", ""), &ret->time_ns) < 0)
		ret->time_ns = 0;
	return true;
}

static int next_in_file(struct log_reader *r, struct log_entry *ret)
{
	while (read_line(r)) {
		bool good = parse_line(r, ret);

		r->rest = 0;
		if (good)
			return 1;
	}
	return 0;
}

int log_reader_next(struct log_reader *r, struct log_entry *ret)
{
	for (;;) {
		if (!r->file && open_next(r) < 0)
			return 0;
		if (next_in_file(r, ret))
			return 1;
		if (find_open(r, 1) == 0)
			return 0;
		/* Nobody writes to it any more, but something may have come since we saw its end. */
		if (next_in_file(r, ret))
			return 1;
		if (open_next(r) < 0)
			return 0;
	}
}
