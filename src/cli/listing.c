/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/template.h"

#define CELLS_MAX 32
#define GAP 3 /* blanks between columns */
#define WIDTH_MIN 10 /* of a column, gap included, as docker's tables have it */

/* Columns on the screen: bytes that begin a character. */
static size_t text_width(const char *s, size_t size)
{
	size_t width = 0;

	for (size_t i = 0; i < size; i++)
		width += ((unsigned char)s[i] & 0xc0) != 0x80;
	return width;
}

static void measure(const char *text, size_t widths[static CELLS_MAX])
{
	size_t cell = 0;

	for (const char *p = text; *p; p++) {
		size_t n = strcspn(p, "\t\n");

		if (p[n] == '\t' && cell < CELLS_MAX)
			widths[cell] = MAX(widths[cell], text_width(p, n));
		cell = p[n] == '\t' ? cell + 1 : 0;
		p += n;
		if (!*p)
			break;
	}
}

/* Lines of cells separated by tabs, as aligned columns; the last cell of a line is not padded. */
static void print_aligned(const char *text)
{
	size_t widths[CELLS_MAX] = { 0 }, cell = 0;

	measure(text, widths);
	for (const char *p = text; *p; p++) {
		size_t n = strcspn(p, "\t\n");

		fwrite(p, 1, n, stdout);
		if (p[n] == '\t' && cell < CELLS_MAX)
			printf("%*s", (int)(MAX(widths[cell] + GAP, WIDTH_MIN) - text_width(p, n)), "");
		else if (p[n] == '\n')
			putchar('\n');
		cell = p[n] == '\t' ? cell + 1 : 0;
		p += n;
		if (!*p)
			break;
	}
}

static json_t *headings(const struct listing *listing)
{
	json_t *row = json_object();

	for (const struct listing_title *t = listing->titles; row && t->field; t++)
		json_object_set_new(row, t->field, json_string(t->heading));
	return row;
}

static int render_rows(const char *template, const json_t *rows, FILE *out, struct failure *f)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (template_render(template, row, out, f) < 0)
			return -1;
		fputc('\n', out);
	}
	return 0;
}

static int print_table(const struct listing *listing, const char *template, const json_t *rows, struct failure *f)
{
	_cleanup_json_ json_t *titles = headings(listing);
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out || !titles)
		return fail(f, EXIT_FAILED, "out of memory");
	r = template_render(template, titles, out, f);
	fputc('\n', out);
	if (r == 0)
		r = render_rows(template, rows, out, f);
	fclose(out);
	if (r == 0)
		print_aligned(text);
	return r;
}

/* Cells only: an object in a row is there for a template to look into. */
static void print_json_lines(const json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		_cleanup_json_ json_t *cells = json_object();
		const char *key;
		json_t *cell;

		json_object_foreach(row, key, cell) {
			if (!json_is_object(cell))
				json_object_set(cells, key, cell);
		}
		json_dumpf(cells, stdout, JSON_COMPACT);
		putchar('\n');
	}
}

static void print_quiet(const struct listing *listing, const json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		puts(json_str(row, listing->quiet, ""));
}

/* A template is checked although there is no row that it could fail on. */
static int check_template(const struct listing *listing, const char *template, struct failure *f)
{
	_cleanup_json_ json_t *titles = headings(listing);
	_cleanup_fclose_ FILE *null = fopen("/dev/null", "we");

	return titles && null ? template_render(template, titles, null, f) : fail(f, EXIT_FAILED, "out of memory");
}

int listing_print(const struct listing *listing, const json_t *rows, const char *format, bool quiet, struct failure *f)
{
	if (quiet && (!format || text_starts(format, "table"))) {
		print_quiet(listing, rows);
		return 0;
	}
	if (!format || !*format || !strcmp(format, "table"))
		return print_table(listing, listing->standard, rows, f);
	if (!strcmp(format, "json")) {
		print_json_lines(rows);
		return 0;
	}
	if (text_starts(format, "table "))
		return print_table(listing, format + strlen("table "), rows, f);
	if (check_template(listing, format, f) < 0)
		return -1;
	return render_rows(format, rows, stdout, f);
}
