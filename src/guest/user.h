/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups as the box's own files name them: /etc/passwd and /etc/group, formats of passwd(5) and group(5). */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define USER_GROUPS_MAX 256

/**
 * struct user - who a process runs as
 * @groups:	supplementary groups, at most USER_GROUPS_MAX; more are ignored
 * @home:	"/" when the user has no entry
 */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX];
	size_t n_groups;
	char home[PATH_MAX];
};

/**
 * "name|uid[:group|gid]", "" is root. The files' texts may be empty. As docker: a number without an entry is taken as it
 * is (gid 0), a name without one is refused; supplementary groups only when no group is named.
 * Returns 0, or -1 with a sentence.
 */
int user_resolve(const char *passwd, const char *group, const char *wanted, struct user *ret, struct failure *f);
