/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Whatever a person, a server or a tool put in: the sentence stays on one line, and can be sent on as JSON. */
static void make_clean(char *text)
{
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
		text[n - 1] = '\0';
	text_mend_utf8(text); /* a cut may go through a character */
}

int fail(struct failure *f, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(f->text, sizeof(f->text), format, args); /* a cut sentence is better than none */
	va_end(args);
	make_clean(f->text);
	f->code = code;
	return -1;
}

int fail_errno(struct failure *f, int code, int err, const char *format, ...)
{
	va_list args;
	size_t n;

	va_start(args, format);
	(void)vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	n = strlen(f->text);
	(void)snprintf(f->text + n, sizeof(f->text) - n, ": %s", strerror(abs(err)));
	make_clean(f->text);
	f->code = code;
	return -1;
}

int fail_wrap(struct failure *f, const char *format, ...)
{
	char context[sizeof(f->text)], whole[2 * sizeof(f->text) + 3];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(context, sizeof(context), format, args);
	va_end(args);
	(void)snprintf(whole, sizeof(whole), "%s: %s", context, f->text);
	memcpy(f->text, whole, sizeof(f->text));
	f->text[sizeof(f->text) - 1] = '\0';
	make_clean(f->text);
	return -1;
}
