/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/user.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"

#define FIELDS 7
#define ID_LAST 4294967294 /* -1 means "unchanged" to the kernel */

enum passwd_field { PASSWD_NAME = 0, PASSWD_UID = 2, PASSWD_GID = 3, PASSWD_HOME = 5 };
enum group_field { GROUP_NAME = 0, GROUP_GID = 2, GROUP_MEMBERS = 3 };

/* A piece of a file's text. */
struct field {
	const char *text;
	size_t size;
};

/* A line of a colon-separated file. Missing fields are empty. */
struct line {
	struct field field[FIELDS];
};

/* The piece up to `end`, or to the end of `whole`; *whole is what follows. */
static struct field cut(struct field *whole, char end)
{
	const char *found = whole->size ? memchr(whole->text, end, whole->size) : NULL;
	struct field piece = { whole->text, found ? (size_t)(found - whole->text) : whole->size };
	size_t step = found ? piece.size + 1 : piece.size;

	whole->text += step;
	whole->size -= step;
	return piece;
}

static bool next_line(struct field *rest, struct line *ret)
{
	struct field line;

	if (!rest->size)
		return false;
	line = cut(rest, '\n');
	for (size_t i = 0; i < FIELDS; i++)
		ret->field[i] = cut(&line, ':');
	return true;
}

static bool is(struct field field, const char *s)
{
	return field.size == strlen(s) && memcmp(field.text, s, field.size) == 0;
}

static bool parse_id(struct field field, uint32_t *ret)
{
	char digits[16];
	int64_t v;

	if (field.size >= sizeof(digits))
		return false;
	memcpy(digits, field.text, field.size);
	digits[field.size] = '\0';
	if (text_to_int(digits, 0, ID_LAST, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static struct field whole(const char *text)
{
	return (struct field){ text, strlen(text) };
}

/* Find a user by name, or by number where `wanted` is one. Fills uid, gid, home and ret_name (which lies in `passwd`). */
static bool find_user(const char *passwd, const char *wanted, struct user *ret, struct field *ret_name)
{
	uint32_t number = 0, uid, gid;
	bool numeric = parse_id(whole(wanted), &number);
	struct field rest = whole(passwd);
	struct line line;

	while (next_line(&rest, &line)) {
		const struct field *name = &line.field[PASSWD_NAME], *home = &line.field[PASSWD_HOME];

		if (!name->size || !parse_id(line.field[PASSWD_UID], &uid) || !parse_id(line.field[PASSWD_GID], &gid))
			continue;
		if (!is(*name, wanted) && !(numeric && uid == number))
			continue;
		ret->uid = uid;
		ret->gid = gid;
		if (home->size)
			snprintf(ret->home, sizeof(ret->home), "%.*s", (int)MIN(home->size, sizeof(ret->home) - 1), home->text);
		*ret_name = *name;
		return true;
	}
	return false;
}

static bool find_group(const char *group, const char *wanted, gid_t *ret)
{
	uint32_t number = 0, gid;
	bool numeric = parse_id(whole(wanted), &number);
	struct field rest = whole(group);
	struct line line;

	while (next_line(&rest, &line)) {
		if (!parse_id(line.field[GROUP_GID], &gid) || (!is(line.field[GROUP_NAME], wanted) && !(numeric && gid == number)))
			continue;
		*ret = gid;
		return true;
	}
	if (numeric)
		*ret = number;
	return numeric;
}

static bool is_member(struct field members, struct field name)
{
	while (members.size) {
		struct field member = cut(&members, ',');

		if (member.size == name.size && memcmp(member.text, name.text, name.size) == 0)
			return true;
	}
	return false;
}

static void add_memberships(const char *group, struct field name, struct user *user)
{
	struct field rest = whole(group);
	struct line line;
	uint32_t gid;

	while (user->n_groups < USER_GROUPS_MAX && next_line(&rest, &line))
		if (parse_id(line.field[GROUP_GID], &gid) && is_member(line.field[GROUP_MEMBERS], name))
			user->groups[user->n_groups++] = gid;
}

int user_resolve(const char *passwd, const char *group, const char *wanted, struct user *ret, struct failure *f)
{
	const char *colon = strchr(wanted, ':'), *group_part = colon ? colon + 1 : "";
	size_t n = colon ? (size_t)(colon - wanted) : strlen(wanted);
	struct field name = { 0 };
	char user_part[NAME_MAX];
	uint32_t uid;

	*ret = (struct user){ .home = "/" };
	if (n >= sizeof(user_part))
		return fail(f, EXIT_NOT_RUNNABLE, "the user's name is too long");
	snprintf(user_part, sizeof(user_part), "%.*s", n ? (int)n : 1, n ? wanted : "0");
	if (!find_user(passwd, user_part, ret, &name)) {
		if (!parse_id(whole(user_part), &uid))
			return fail(f, EXIT_NOT_RUNNABLE, "unable to find user %s: no matching entries in passwd file", user_part);
		ret->uid = uid;
	}
	if (!*group_part) {
		if (name.size)
			add_memberships(group, name, ret);
		return 0;
	}
	if (!find_group(group, group_part, &ret->gid))
		return fail(f, EXIT_NOT_RUNNABLE, "unable to find group %s: no matching entries in group file", group_part);
	return 0;
}
