/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template_functions.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"

#define WIDTH_MAX 4096

void template_print_value(FILE *out, const json_t *v)
{
	const char *key;
	json_t *item;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_STRING:
		fputs(json_string_value(v), out);
		return;
	case JSON_INTEGER:
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return;
	case JSON_REAL:
		fprintf(out, "%g", json_real_value(v));
		return;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(v) ? "true" : "false", out);
		return;
	case JSON_NULL:
		fputs("<no value>", out);
		return;
	case JSON_ARRAY:
		fputc('[', out);
		json_array_foreach(v, i, item) {
			if (i)
				fputc(' ', out);
			template_print_value(out, item);
		}
		fputc(']', out);
		return;
	case JSON_OBJECT:
		fputs("map[", out);
		i = 0;
		json_object_foreach((json_t *)(uintptr_t)v, key, item) {
			fprintf(out, "%s%s:", i++ ? " " : "", key);
			template_print_value(out, item);
		}
		fputc(']', out);
		return;
	}
}

bool template_is_true(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return *json_string_value(v) != '\0';
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	case JSON_REAL:
		return json_real_value(v) < 0 || json_real_value(v) > 0;
	case JSON_TRUE:
		return true;
	case JSON_FALSE:
	case JSON_NULL:
		return false;
	}
	return false;
}

static json_t *cannot(const char **ret_why, const char *why)
{
	*ret_why = why;
	return NULL;
}

/* The text as a JSON string, freed; NULL and the reason when it was cut within a character. */
static json_t *take_text(char *text, const char **ret_why)
{
	json_t *result = text ? json_string(text) : NULL;

	free(text);
	return result ? result : cannot(ret_why, "no text comes out of");
}

/* All of them printed; Go's print puts a blank between two that are no strings, println between all. */
static char *print_all(json_t **v, size_t n, bool line)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (i && (line || (!json_is_string(v[i]) && !json_is_string(v[i - 1]))))
			fputc(' ', out);
		template_print_value(out, v[i]);
	}
	if (line)
		fputc('\n', out);
	fclose(out);
	return text;
}

static json_t *fn_print(json_t **v, size_t n, const char **ret_why)
{
	return take_text(print_all(v, n, false), ret_why);
}

static json_t *fn_println(json_t **v, size_t n, const char **ret_why)
{
	return take_text(print_all(v, n, true), ret_why);
}

/**
 * struct verb - "%-08.3d", taken apart
 * @precision:	-1: none
 */
struct verb {
	bool left, zeros, plus;
	size_t width;
	int precision;
	char letter;
};

static size_t read_number(const char **at)
{
	size_t n = 0;

	while (isdigit((unsigned char)**at) && n <= WIDTH_MAX)
		n = n * 10 + (size_t)(*(*at)++ - '0');
	return n;
}

/* Behind the "%". False: too wide. */
static bool read_verb(const char **at, struct verb *ret)
{
	*ret = (struct verb){ .precision = -1 };
	for (; **at && strchr("-0+ #", **at); (*at)++) {
		ret->left |= **at == '-';
		ret->zeros |= **at == '0';
		ret->plus |= **at == '+';
	}
	ret->width = read_number(at);
	if (**at == '.') {
		(*at)++;
		ret->precision = (int)read_number(at);
	}
	ret->letter = **at;
	*at += ret->letter != '\0';
	return ret->width <= WIDTH_MAX && ret->precision <= WIDTH_MAX;
}

/* The value in the form that the letter calls for; NULL: it has none. Caller frees. */
static char *verb_text(const struct verb *verb, json_t *v)
{
	const char *sign = verb->plus && json_number_value(v) >= 0 ? "+" : "";
	long long number = json_integer_value(v);
	char *text = NULL;
	int r = -1;

	if (strchr("svt", verb->letter))
		text = print_all(&v, 1, false);
	else if (verb->letter == 'q')
		text = json_dumps(v, JSON_ENCODE_ANY);
	else if (verb->letter == 'd' && json_is_integer(v))
		r = asprintf(&text, "%s%lld", sign, number);
	else if (verb->letter == 'x' && json_is_integer(v))
		r = asprintf(&text, "%s%llx", sign, number);
	else if (verb->letter == 'X' && json_is_integer(v))
		r = asprintf(&text, "%s%llX", sign, number);
	else if (verb->letter == 'o' && json_is_integer(v))
		r = asprintf(&text, "%s%llo", sign, number);
	else if (verb->letter == 'f' && json_is_real(v))
		r = asprintf(&text, "%s%.*f", sign, verb->precision < 0 ? 6 : verb->precision, json_real_value(v));
	else
		return NULL;
	if (strchr("dxXof", verb->letter))
		return r < 0 ? NULL : text;
	if (text && verb->letter == 's' && verb->precision >= 0 && strlen(text) > (size_t)verb->precision)
		text[verb->precision] = '\0';
	return text;
}

static bool print_verb(FILE *out, const struct verb *verb, json_t *v)
{
	_cleanup_free_ char *text = verb_text(verb, v);
	bool zeros = verb->zeros && !verb->left && json_is_number(v);
	size_t length = text ? strlen(text) : 0, pad = verb->width > length ? verb->width - length : 0;
	const char *p = text;

	if (!text)
		return false;
	if (zeros && (*p == '-' || *p == '+'))
		fputc(*p++, out);
	for (size_t i = 0; !verb->left && i < pad; i++)
		fputc(zeros ? '0' : ' ', out);
	fputs(p, out);
	for (size_t i = 0; verb->left && i < pad; i++)
		fputc(' ', out);
	return true;
}

/* NULL: done, else what is wrong. */
static const char *print_format(FILE *out, const char *at, json_t **v, size_t n)
{
	struct verb verb;
	size_t used = 0;

	while (*at) {
		if (*at != '%') {
			fputc(*at++, out);
			continue;
		}
		at++;
		if (!read_verb(&at, &verb))
			return "a field is too wide in";
		if (verb.letter == '%') {
			fputc('%', out);
			continue;
		}
		if (!verb.letter || !strchr("svtqdxXof", verb.letter))
			return "only %s %v %t %q %d %x %X %o %f are known to";
		if (used == n)
			return "a value is missing behind";
		if (!print_verb(out, &verb, v[used++]))
			return "a value is not of the kind that its verb needs in";
	}
	return used < n ? "there are more values than verbs in" : NULL;
}

static json_t *fn_printf(json_t **v, size_t n, const char **ret_why)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = json_is_string(v[0]) ? open_memstream(&text, &size) : NULL;

	if (!out)
		return cannot(ret_why, "a format is missing behind");
	*ret_why = print_format(out, json_string_value(v[0]), v + 1, n - 1);
	fclose(out);
	if (!*ret_why)
		return take_text(text, ret_why);
	free(text);
	return NULL;
}

static json_t *fn_json(json_t **v, size_t n, const char **ret_why)
{
	return take_text(json_dumps(v[0], JSON_COMPACT | JSON_ENCODE_ANY), ret_why);
}

static json_t *fn_index(json_t **v, size_t n, const char **ret_why)
{
	json_t *at = v[0];

	for (size_t i = 1; i < n; i++) {
		if (json_is_array(at) && json_is_integer(v[i])) {
			at = json_integer_value(v[i]) < 0 ? NULL : json_array_get(at, (size_t)json_integer_value(v[i]));
			if (!at)
				return cannot(ret_why, "out of range:");
		} else if (json_is_object(at) && json_is_string(v[i])) {
			at = json_object_get(at, json_string_value(v[i]));
			if (!at)
				return json_null();
		} else {
			return cannot(ret_why, json_is_null(at) ? "nothing is there for" : "a value does not fit");
		}
	}
	return json_incref(at);
}

static json_t *slice_array(const json_t *array, size_t first, size_t end)
{
	json_t *result = json_array();

	for (size_t i = first; result && i < end; i++)
		json_array_append(result, json_array_get(array, i));
	return result;
}

static json_t *fn_slice(json_t **v, size_t n, const char **ret_why)
{
	size_t size = json_is_string(v[0]) ? json_string_length(v[0]) : json_array_size(v[0]);
	json_int_t first = n > 1 ? json_integer_value(v[1]) : 0, end = n > 2 ? json_integer_value(v[2]) : (json_int_t)size;
	json_t *result;

	if ((!json_is_string(v[0]) && !json_is_array(v[0])) || (n > 1 && !json_is_integer(v[1])) || (n > 2 && !json_is_integer(v[2])))
		return cannot(ret_why, "a value does not fit");
	if (first < 0 || end < first || end > (json_int_t)size)
		return cannot(ret_why, "out of range:");
	if (json_is_array(v[0]))
		return slice_array(v[0], (size_t)first, (size_t)end);
	result = json_stringn(json_string_value(v[0]) + first, (size_t)(end - first));
	return result ? result : cannot(ret_why, "a character is cut by");
}

static json_t *fn_len(json_t **v, size_t n, const char **ret_why)
{
	if (json_is_string(v[0]))
		return json_integer((json_int_t)json_string_length(v[0]));
	return json_integer((json_int_t)(json_is_array(v[0]) ? json_array_size(v[0]) : json_object_size(v[0])));
}

static json_t *fn_join(json_t **v, size_t n, const char **ret_why)
{
	char *text = NULL;
	size_t size = 0, i;
	json_t *item;
	FILE *out;

	if (!json_is_array(v[0]) || !json_is_string(v[1]))
		return cannot(ret_why, "a list and a separator are needed by");
	out = open_memstream(&text, &size);
	if (!out)
		return cannot(ret_why, "out of memory in");
	json_array_foreach(v[0], i, item) {
		if (i)
			fputs(json_string_value(v[1]), out);
		template_print_value(out, item);
	}
	fclose(out);
	return take_text(text, ret_why);
}

static json_t *fn_split(json_t **v, size_t n, const char **ret_why)
{
	const char *at = json_string_value(v[0]), *separator = json_string_value(v[1]), *next;
	json_t *list = at && separator && *separator ? json_array() : NULL;

	if (!list)
		return cannot(ret_why, "a text and a separator are needed by");
	for (; (next = strstr(at, separator)); at = next + strlen(separator))
		json_array_append_new(list, json_stringn(at, (size_t)(next - at)));
	json_array_append_new(list, json_string(at));
	return list;
}

static json_t *change_case(const json_t *v, bool upper, bool first_only, const char **ret_why)
{
	char *copy = json_is_string(v) ? strdup(json_string_value(v)) : NULL;

	if (!copy)
		return cannot(ret_why, "a text is needed by");
	for (char *p = copy; *p && !(first_only && p > copy); p++)
		*p = (char)(upper ? toupper((unsigned char)*p) : tolower((unsigned char)*p));
	return take_text(copy, ret_why);
}

static json_t *fn_upper(json_t **v, size_t n, const char **ret_why)
{
	return change_case(v[0], true, false, ret_why);
}

static json_t *fn_lower(json_t **v, size_t n, const char **ret_why)
{
	return change_case(v[0], false, false, ret_why);
}

static json_t *fn_title(json_t **v, size_t n, const char **ret_why)
{
	return change_case(v[0], true, true, ret_why);
}

/* docker's: blanks before and behind a text, unless it is empty. */
static json_t *fn_pad(json_t **v, size_t n, const char **ret_why)
{
	json_int_t before = json_integer_value(v[1]), behind = json_integer_value(v[2]);
	const char *s = json_string_value(v[0]);
	char *text;

	if (!s || !json_is_integer(v[1]) || !json_is_integer(v[2]) || before < 0 || behind < 0 || before > WIDTH_MAX || behind > WIDTH_MAX)
		return cannot(ret_why, "a text and two widths are needed by");
	if (!*s)
		return json_string("");
	return take_text(asprintf(&text, "%*s%s%*s", (int)before, "", s, (int)behind, "") < 0 ? NULL : text, ret_why);
}

static json_t *fn_truncate(json_t **v, size_t n, const char **ret_why)
{
	const char *s = json_string_value(v[0]);
	json_int_t max = json_integer_value(v[1]);
	size_t end = 0;

	if (!s || !json_is_integer(v[1]) || max < 0)
		return cannot(ret_why, "a text and a length are needed by");
	for (; s[end] && max > 0; max--)
		for (end++; ((unsigned char)s[end] & 0xc0) == 0x80; end++)
			;
	return json_stringn(s, end);
}

static json_t *fn_eq(json_t **v, size_t n, const char **ret_why)
{
	for (size_t i = 1; i < n; i++) {
		if (json_equal(v[0], v[i]))
			return json_true();
	}
	return json_false();
}

static json_t *fn_ne(json_t **v, size_t n, const char **ret_why)
{
	return json_boolean(!json_equal(v[0], v[1]));
}

static json_t *fn_not(json_t **v, size_t n, const char **ret_why)
{
	return json_boolean(!template_is_true(v[0]));
}

static json_t *fn_and(json_t **v, size_t n, const char **ret_why)
{
	size_t i = 0;

	while (i + 1 < n && template_is_true(v[i]))
		i++;
	return json_incref(v[i]);
}

static json_t *fn_or(json_t **v, size_t n, const char **ret_why)
{
	size_t i = 0;

	while (i + 1 < n && !template_is_true(v[i]))
		i++;
	return json_incref(v[i]);
}

/* < 0, 0, > 0; numbers with numbers, texts with texts. False: neither. */
static bool compare(json_t **v, int *ret)
{
	if (json_is_string(v[0]) && json_is_string(v[1])) {
		*ret = strcmp(json_string_value(v[0]), json_string_value(v[1]));
		return true;
	}
	*ret = json_number_value(v[0]) < json_number_value(v[1]) ? -1 : json_number_value(v[0]) > json_number_value(v[1]);
	return json_is_number(v[0]) && json_is_number(v[1]);
}

static json_t *fn_lt(json_t **v, size_t n, const char **ret_why)
{
	int order;

	return compare(v, &order) ? json_boolean(order < 0) : cannot(ret_why, "two numbers or two texts are needed by");
}

static json_t *fn_le(json_t **v, size_t n, const char **ret_why)
{
	int order;

	return compare(v, &order) ? json_boolean(order <= 0) : cannot(ret_why, "two numbers or two texts are needed by");
}

static json_t *fn_gt(json_t **v, size_t n, const char **ret_why)
{
	int order;

	return compare(v, &order) ? json_boolean(order > 0) : cannot(ret_why, "two numbers or two texts are needed by");
}

static json_t *fn_ge(json_t **v, size_t n, const char **ret_why)
{
	int order;

	return compare(v, &order) ? json_boolean(order >= 0) : cannot(ret_why, "two numbers or two texts are needed by");
}

#define MANY TEMPLATE_ARGUMENTS_MAX
static const struct template_function functions[] = {
	{ "and", 1, MANY, fn_and },	{ "eq", 2, MANY, fn_eq },	  { "ge", 2, 2, fn_ge },
	{ "gt", 2, 2, fn_gt },		{ "index", 1, MANY, fn_index },	  { "join", 2, 2, fn_join },
	{ "json", 1, 1, fn_json },	{ "le", 2, 2, fn_le },		  { "len", 1, 1, fn_len },
	{ "lower", 1, 1, fn_lower },	{ "lt", 2, 2, fn_lt },		  { "ne", 2, 2, fn_ne },
	{ "not", 1, 1, fn_not },	{ "or", 1, MANY, fn_or },	  { "pad", 3, 3, fn_pad },
	{ "print", 0, MANY, fn_print }, { "printf", 1, MANY, fn_printf }, { "println", 0, MANY, fn_println },
	{ "slice", 1, 3, fn_slice },	{ "split", 2, 2, fn_split },	  { "title", 1, 1, fn_title },
	{ "truncate", 2, 2, fn_truncate }, { "upper", 1, 1, fn_upper },
};

const struct template_function *template_function_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (!strcmp(functions[i].name, name))
			return &functions[i];
	}
	return NULL;
}
