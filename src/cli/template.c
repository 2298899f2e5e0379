/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The template is run while it is read: no tree is built. A block that must not run (the other side of an if, the body of a
 * range over nothing) is read with `live` false, which checks its grammar and prints nothing; the body of a range is read
 * once per element. Depth is bounded, so that a template cannot exhaust the stack.
 */
#include "cli/template.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/template_functions.h"

#define DEPTH_MAX 32
#define VARIABLES_MAX 16

struct variable {
	char name[32];
	json_t *value;
};

struct render {
	const char *at; /* next character */
	FILE *out;
	struct failure *f;
	json_t *root;
	struct variable variables[VARIABLES_MAX];
	size_t n_variables;
	unsigned depth;
};

enum block_end { BLOCK_TEXT_END, BLOCK_ELSE, BLOCK_ELSE_IF, BLOCK_END, BLOCK_BROKEN };

static json_t *parse_pipeline(struct render *r, json_t *dot, bool live);
static enum block_end render_block(struct render *r, json_t *dot, bool live);
static bool render_if(struct render *r, json_t *dot, bool live);

static json_t *broken(struct render *r, const char *why)
{
	if (!r->f->code)
		fail(r->f, EXIT_USAGE, "--format: %s at \"%.20s\"", why, r->at);
	return NULL;
}

/* A fault of one word: where it stands says less than what it is. */
static json_t *broken_word(struct render *r, const char *why, const char *word)
{
	if (!r->f->code)
		fail(r->f, EXIT_USAGE, "--format: %s \"%s\"", why, word);
	return NULL;
}

static void skip_blanks(struct render *r)
{
	while (*r->at && isspace((unsigned char)*r->at))
		r->at++;
}

static size_t read_word(struct render *r, char ret[static 32])
{
	size_t n = 0;

	while ((isalnum((unsigned char)r->at[n]) || r->at[n] == '_') && n < 31)
		n++;
	memcpy(ret, r->at, n);
	ret[n] = '\0';
	r->at += n;
	return n;
}

/* ".A.B" from `from` on; takes the reference. A dead block has no values to walk: everything is null there. */
static json_t *parse_path(struct render *r, json_t *from, bool live)
{
	char name[32];

	while (*r->at == '.') {
		json_t *next;

		r->at++;
		if (!read_word(r, name))
			break; /* "." alone */
		if (!live)
			continue;
		next = json_object_get(from, name);
		if (!next && !json_is_null(from)) {
			json_decref(from);
			return broken_word(r, "there is no field", name);
		}
		next = next ? json_incref(next) : json_null();
		json_decref(from);
		from = next;
	}
	return from;
}

static json_t *parse_quoted(struct render *r)
{
	char quote = *r->at++;
	char *text = NULL;
	size_t size = 0;
	json_t *result;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return broken(r, "out of memory");
	while (*r->at && *r->at != quote) {
		char c = *r->at++;

		if (c == '\\' && quote == '"' && *r->at) {
			c = *r->at++;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		fputc(c, out);
	}
	fclose(out);
	result = *r->at ? json_string(text) : broken(r, "a quote is not closed");
	free(text);
	if (*r->at)
		r->at++;
	return result;
}

static json_t *parse_number(struct render *r)
{
	char *end;
	long long n = strtoll(r->at, &end, 10);

	r->at = end;
	return json_integer(n);
}

static json_t *parse_variable(struct render *r, bool live)
{
	char name[32];

	r->at++; /* $ */
	if (!read_word(r, name))
		return parse_path(r, json_incref(r->root), live);
	for (size_t i = r->n_variables; i-- > 0;) {
		if (!strcmp(r->variables[i].name, name))
			return parse_path(r, json_incref(r->variables[i].value), live);
	}
	return broken(r, "unknown variable");
}

static json_t *parse_group(struct render *r, json_t *dot, bool live)
{
	json_t *value;

	r->at++;
	value = parse_pipeline(r, dot, live);
	skip_blanks(r);
	if (value && *r->at != ')') {
		json_decref(value);
		return broken(r, "\")\" is missing");
	}
	if (value)
		r->at++;
	return value ? parse_path(r, value, live) : NULL;
}

static json_t *parse_operand(struct render *r, json_t *dot, bool live)
{
	skip_blanks(r);
	if (*r->at == '.')
		return parse_path(r, json_incref(dot), live);
	if (*r->at == '$')
		return parse_variable(r, live);
	if (*r->at == '"' || *r->at == '`')
		return parse_quoted(r);
	if (*r->at == '(')
		return parse_group(r, dot, live);
	if (isdigit((unsigned char)*r->at) || (*r->at == '-' && isdigit((unsigned char)r->at[1])))
		return parse_number(r);
	return broken(r, "a value is missing");
}

static bool at_operand_end(struct render *r)
{
	skip_blanks(r);
	return !*r->at || *r->at == ')' || *r->at == '|' || !strncmp(r->at, "}}", 2) || !strncmp(r->at, "-}}", 3);
}

/* A function with its arguments; `piped` (taken) becomes the last one. */
static json_t *parse_call(struct render *r, json_t *dot, json_t *piped, bool live)
{
	json_t *v[TEMPLATE_ARGUMENTS_MAX + 1], *result = NULL;
	const struct template_function *fn;
	const char *why = NULL;
	char name[32];
	size_t n = 0;
	bool ok = true;

	read_word(r, name);
	fn = template_function_find(name);
	if (!fn) {
		json_decref(piped);
		return broken_word(r, "unknown function", name);
	}
	while (ok && n < TEMPLATE_ARGUMENTS_MAX && !at_operand_end(r)) {
		v[n] = parse_operand(r, dot, live);
		ok = v[n] != NULL;
		n += ok;
	}
	if (piped)
		v[n++] = piped;
	if (ok && (n < fn->min || n > fn->max))
		broken_word(r, "wrong number of arguments of", name);
	else if (ok)
		result = live ? fn->call(v, n, &why) : json_null();
	if (why)
		broken_word(r, why, name);
	while (n)
		json_decref(v[--n]);
	return result;
}

static bool at_label(const struct render *r)
{
	const char *p = r->at + strlen(".Label");

	return text_starts(r->at, ".Label") && isspace((unsigned char)*p) && (p[strspn(p, " \t\n")] == '"' || p[strspn(p, " \t\n")] == '`');
}

/* A heading is the last part of the label's name. */
static json_t *label_heading(const char *label)
{
	const char *dot = strrchr(label, '.');
	char text[80];

	snprintf(text, sizeof(text), "%s", dot ? dot + 1 : label);
	for (char *p = text; *p; p++)
		*p = *p == '-' || *p == '_' ? ' ' : *p;
	return json_string(text);
}

/* {{.Label "key"}}, the one method that rows have: its value, or nothing. */
static json_t *parse_label(struct render *r, json_t *dot, bool live)
{
	_cleanup_json_ json_t *key = NULL;
	const json_t *labels = json_object_get(dot, "Label");
	const char *value;

	r->at += strlen(".Label");
	skip_blanks(r);
	key = parse_quoted(r);
	if (!key || !live)
		return key ? json_null() : NULL;
	if (!labels)
		return broken_word(r, "there is no field", "Label");
	if (!json_is_object(labels))
		return label_heading(json_string_value(key));
	value = json_string_value(json_object_get(labels, json_string_value(key)));
	return json_string(value ? value : "");
}

static json_t *parse_first(struct render *r, json_t *dot, bool live)
{
	if (isalpha((unsigned char)*r->at))
		return parse_call(r, dot, NULL, live);
	return at_label(r) ? parse_label(r, dot, live) : parse_operand(r, dot, live);
}

static json_t *parse_pipeline(struct render *r, json_t *dot, bool live)
{
	json_t *value;

	if (++r->depth > DEPTH_MAX)
		return broken(r, "too deep");
	skip_blanks(r);
	value = parse_first(r, dot, live);
	for (skip_blanks(r); value && *r->at == '|'; skip_blanks(r)) {
		r->at++;
		skip_blanks(r);
		value = parse_call(r, dot, value, live);
	}
	r->depth--;
	return value;
}

/* "}}" or "-}}", which eats the blanks after it. */
static bool close_action(struct render *r)
{
	skip_blanks(r);
	if (!strncmp(r->at, "-}}", 3)) {
		r->at += 3;
		skip_blanks(r);
		return true;
	}
	if (!strncmp(r->at, "}}", 2)) {
		r->at += 2;
		return true;
	}
	broken(r, "\"}}\" is missing");
	return false;
}

static bool take_keyword(struct render *r, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(r->at, word, n) != 0 || isalnum((unsigned char)r->at[n]))
		return false;
	r->at += n;
	return true;
}

/* Up to two names "$k, $v :=" before a range. Returns how many, their names in `names`. */
static size_t parse_range_variables(struct render *r, char names[2][32])
{
	const char *start = r->at;
	size_t n = 0;

	for (skip_blanks(r); *r->at == '$' && n < 2; skip_blanks(r)) {
		r->at++;
		if (!read_word(r, names[n]))
			break;
		n++;
		skip_blanks(r);
		if (*r->at == ',')
			r->at++;
	}
	if (n && !strncmp(r->at, ":=", 2)) {
		r->at += 2;
		return n;
	}
	r->at = start;
	return 0;
}

static void set_variable(struct render *r, const char *name, json_t *value)
{
	struct variable *v = &r->variables[r->n_variables++];

	snprintf(v->name, sizeof(v->name), "%s", name);
	v->value = value;
}

/* One turn of a range's body. `key` is taken. */
static enum block_end render_turn(struct render *r, char names[2][32], size_t n_names, json_t *key, json_t *item, bool live)
{
	size_t kept = r->n_variables;
	enum block_end end;

	if (r->n_variables + 2 > VARIABLES_MAX) {
		json_decref(key);
		broken(r, "too many variables");
		return BLOCK_BROKEN;
	}
	if (n_names == 2)
		set_variable(r, names[0], key);
	if (n_names)
		set_variable(r, names[n_names - 1], item);
	end = render_block(r, item, live);
	json_decref(key);
	r->n_variables = kept;
	return end;
}

/* All turns over an array or object. Every turn reads the body anew, from `body` on. */
static enum block_end render_turns(struct render *r, char names[2][32], size_t n_names, json_t *over)
{
	const char *body = r->at;
	enum block_end end = BLOCK_END;
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_array(over)) {
		json_array_foreach(over, i, item) {
			r->at = body;
			end = render_turn(r, names, n_names, json_integer((json_int_t)i), item, true);
			if (end == BLOCK_BROKEN)
				return end;
		}
	} else {
		json_object_foreach(over, key, item) {
			r->at = body;
			end = render_turn(r, names, n_names, json_string(key), item, true);
			if (end == BLOCK_BROKEN)
				return end;
		}
	}
	return end;
}

/* After the body comes "else" (read with `live`), "else if", whose end is ours as well, or the end. */
static bool finish_block(struct render *r, enum block_end end, json_t *dot, bool live)
{
	if (end == BLOCK_ELSE_IF)
		return render_if(r, dot, live);
	if (end == BLOCK_ELSE)
		end = render_block(r, dot, live);
	if (end != BLOCK_END)
		broken(r, "{{end}} is missing");
	return end == BLOCK_END;
}

static bool render_range(struct render *r, json_t *dot, bool live)
{
	char names[2][32] = { "", "" };
	size_t n_names = parse_range_variables(r, names);
	_cleanup_json_ json_t *over = parse_pipeline(r, dot, live);
	_cleanup_json_ json_t *nothing = json_null();
	enum block_end end;
	bool some;

	if (!over || !close_action(r))
		return false;
	some = live && (json_is_array(over) || json_is_object(over)) && template_is_true(over);
	end = some ? render_turns(r, names, n_names, over) : render_turn(r, names, n_names, json_null(), nothing, false);
	return finish_block(r, end, dot, live && !some);
}

/* A chain of "else if" is a depth, too. */
static bool render_if(struct render *r, json_t *dot, bool live)
{
	_cleanup_json_ json_t *condition = ++r->depth > DEPTH_MAX ? broken(r, "too deep") : parse_pipeline(r, dot, live);
	bool yes, ok;

	if (!condition || !close_action(r))
		return false;
	yes = live && template_is_true(condition);
	ok = finish_block(r, render_block(r, dot, yes), dot, live && !yes);
	r->depth--;
	return ok;
}

static bool render_with(struct render *r, json_t *dot, bool live)
{
	_cleanup_json_ json_t *value = parse_pipeline(r, dot, live);
	bool yes;

	if (!value || !close_action(r))
		return false;
	yes = live && template_is_true(value);
	return finish_block(r, render_block(r, value, yes), dot, live && !yes);
}

static bool render_value(struct render *r, json_t *dot, bool live)
{
	_cleanup_json_ json_t *value = parse_pipeline(r, dot, live);

	if (!value)
		return false;
	if (live)
		template_print_value(r->out, value);
	return close_action(r);
}

static bool skip_comment(struct render *r)
{
	const char *end = strstr(r->at, "*/");

	if (end)
		r->at = end + 2;
	return end ? close_action(r) : broken(r, "a comment is not closed") != NULL;
}

/* Behind "{{". Returns BLOCK_TEXT_END to go on. */
static enum block_end render_action(struct render *r, json_t *dot, bool live)
{
	bool ok;

	skip_blanks(r);
	if (take_keyword(r, "end"))
		return close_action(r) ? BLOCK_END : BLOCK_BROKEN;
	if (take_keyword(r, "else")) {
		skip_blanks(r);
		if (take_keyword(r, "if"))
			return BLOCK_ELSE_IF;
		return close_action(r) ? BLOCK_ELSE : BLOCK_BROKEN;
	}
	if (take_keyword(r, "range"))
		ok = render_range(r, dot, live);
	else if (take_keyword(r, "if"))
		ok = render_if(r, dot, live);
	else if (take_keyword(r, "with"))
		ok = render_with(r, dot, live);
	else if (!strncmp(r->at, "/*", 2))
		ok = skip_comment(r);
	else
		ok = render_value(r, dot, live);
	return ok ? BLOCK_TEXT_END : BLOCK_BROKEN;
}

/* Literal text up to the next "{{" or the end. */
static void render_text(struct render *r, bool live)
{
	const char *open = strstr(r->at, "{{"), *end = open ? open : r->at + strlen(r->at);

	if (open && open[2] == '-' && isspace((unsigned char)open[3])) {
		while (end > r->at && isspace((unsigned char)end[-1]))
			end--;
	}
	for (const char *p = r->at; live && p < end; p++) {
		char c = *p;

		if (c == '\\' && p + 1 < end && (p[1] == 't' || p[1] == 'n')) {
			p++;
			c = *p == 't' ? '\t' : '\n';
		}
		fputc(c, r->out);
	}
	r->at = open ? open : end;
}

static enum block_end render_block(struct render *r, json_t *dot, bool live)
{
	enum block_end end = BLOCK_TEXT_END;

	if (++r->depth > DEPTH_MAX) {
		broken(r, "too deep");
		return BLOCK_BROKEN;
	}
	while (end == BLOCK_TEXT_END && *r->at) {
		render_text(r, live);
		if (!*r->at)
			break;
		r->at += 2;
		if (r->at[0] == '-' && isspace((unsigned char)r->at[1]))
			r->at++;
		end = render_action(r, dot, live);
	}
	r->depth--;
	return end;
}

int template_render(const char *text, const json_t *value, FILE *out, struct failure *f)
{
	json_t *dot = (json_t *)(uintptr_t)value;
	struct render r = { .at = text, .out = out, .f = f, .root = dot };

	f->code = 0;
	switch (render_block(&r, dot, true)) {
	case BLOCK_TEXT_END:
		return 0;
	case BLOCK_ELSE:
	case BLOCK_ELSE_IF:
	case BLOCK_END:
		broken(&r, "{{end}} or {{else}} without its beginning");
		return -1;
	case BLOCK_BROKEN:
		return -1;
	}
	return -1;
}
