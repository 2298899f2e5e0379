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

/* A line of a colon-separated file, cut in place. Missing fields are "". */
struct line {
	char *field[FIELDS];
};

/* Cut the next line off *text. False at the end. */
static bool next_line(char **text, struct line *ret)
{
	static char nothing[1];
	char *line = strsep(text, "\n");

	if (!line)
		return false;
	for (size_t i = 0; i < FIELDS; i++) {
		char *field = strsep(&line, ":");

		ret->field[i] = field ? field : nothing;
	}
	return true;
}

static bool parse_id(const char *s, uint32_t *ret)
{
	int64_t v;

	if (text_to_int(s, 0, ID_LAST, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Find a user by name, or by number where `wanted` is one. Fills uid, gid, home and ret_name. */
static bool find_user(const char *passwd, const char *wanted, struct user *ret, char **ret_name)
{
	_cleanup_free_ char *copy = strdup(passwd);
	uint32_t number = 0, uid, gid;
	bool numeric = parse_id(wanted, &number);
	struct line line;
	char *rest = copy;

	while (copy && next_line(&rest, &line)) {
		if (!*line.field[PASSWD_NAME] || !parse_id(line.field[PASSWD_UID], &uid) || !parse_id(line.field[PASSWD_GID], &gid))
			continue;
		if (strcmp(line.field[PASSWD_NAME], wanted) != 0 && !(numeric && uid == number))
			continue;
		ret->uid = uid;
		ret->gid = gid;
		if (*line.field[PASSWD_HOME])
			snprintf(ret->home, sizeof(ret->home), "%s", line.field[PASSWD_HOME]);
		*ret_name = strdup(line.field[PASSWD_NAME]);
		return true;
	}
	return false;
}

static bool find_group(const char *group, const char *wanted, gid_t *ret)
{
	_cleanup_free_ char *copy = strdup(group);
	uint32_t number = 0, gid;
	bool numeric = parse_id(wanted, &number);
	struct line line;
	char *rest = copy;

	while (copy && next_line(&rest, &line)) {
		if (!parse_id(line.field[GROUP_GID], &gid))
			continue;
		if (strcmp(line.field[GROUP_NAME], wanted) != 0 && !(numeric && gid == number))
			continue;
		*ret = gid;
		return true;
	}
	if (numeric)
		*ret = number;
	return numeric;
}

static bool is_member(char *members, const char *name)
{
	char *member;

	while ((member = strsep(&members, ",")))
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

static void add_memberships(const char *group, const char *name, struct user *user)
{
	_cleanup_free_ char *copy = strdup(group);
	struct line line;
	char *rest = copy;
	uint32_t gid;

	while (copy && user->n_groups < USER_GROUPS_MAX && next_line(&rest, &line))
		if (parse_id(line.field[GROUP_GID], &gid) && is_member(line.field[GROUP_MEMBERS], name))
			user->groups[user->n_groups++] = gid;
}

int user_resolve(const char *passwd, const char *group, const char *wanted, struct user *ret, struct failure *f)
{
	_cleanup_free_ char *copy = strdup(*wanted ? wanted : "0"), *name = NULL;
	char *group_part = copy, *user_part, zero[] = "0";
	uint32_t uid;

	*ret = (struct user){ .home = "/" };
	if (!copy)
		return fail(f, EXIT_USAGE, "out of memory");
	user_part = strsep(&group_part, ":");
	if (!*user_part)
		user_part = zero;
	if (!find_user(passwd, user_part, ret, &name)) {
		if (!parse_id(user_part, &uid))
			return fail(f, EXIT_NOT_RUNNABLE, "unable to find user %s: no matching entries in passwd file", user_part);
		ret->uid = uid;
	}
	if (group_part && *group_part) {
		if (!find_group(group, group_part, &ret->gid))
			return fail(f, EXIT_NOT_RUNNABLE, "unable to find group %s: no matching entries in group file", group_part);
	} else if (name) {
		add_memberships(group, name, ret);
	}
	return 0;
}
