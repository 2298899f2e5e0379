/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes with exactly the fds, identity and signals we mean. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct proc_fd - an fd that the child shall have
 * @parent:	our number, borrowed
 * @child:	its number in the child
 */
struct proc_fd {
	int parent, child; /* child: 3 to 255 */
};

/**
 * struct proc_spec - what to start
 * @argv:	NULL-terminated; argv[0] is searched in PATH when it has no slash
 * @envp:	NULL means our own environment
 * @fds:	every other fd above 2 is closed in the child
 * @stdin_fd, @stdout_fd, @stderr_fd: -1 means /dev/null
 * @die_with_parent: SIGKILL when the *thread* that started it ends (set after any change of identity)
 * @uid, @gid:	identity to take, supplementary groups dropped; (uid_t)-1 keeps ours
 * @new_session: setsid()
 */
struct proc_spec {
	const char *const *argv;
	char *const *envp;
	const struct proc_fd *fds;
	size_t n_fds;
	int stdin_fd, stdout_fd, stderr_fd;
	bool die_with_parent;
	bool new_session;
	uid_t uid;
	gid_t gid;
};
#define PROC_SPEC_NULL { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 }

/*
 * Returns 0 with pid and pidfd (caller closes; NULL: none is wanted), or a negative errno, that of execve included; then there is no
 * child. Signal mask is emptied.
 */
int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, int *ret_pidfd);
/* Run to its end: exit code, 128+signal, or a negative errno. ret_output (may be NULL): stdout and stderr, at most 64 KiB, freed by caller. */
int proc_run(const char *const *argv, char **ret_output);
/* Our own programs: beside /proc/self/exe (build tree), else the libexec directory. -ENOENT with the name in ret_path. */
int proc_find_program(const char *name, char *ret_path, size_t size);
/* Shared files (the guest bundle): A3S_GUEST_DIR, else beside /proc/self/exe, else the data directory. */
int proc_find_data(const char *name, char *ret_path, size_t size);
