/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems: init's own, the box's root joined from its disks, and what a process in the box sees beside it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define MOUNTS_ROOT "/box"	  /* the box's root, in init's mount namespace */
#define MOUNTS_FILES "/run/files" /* hosts, hostname, resolv.conf: bound over the box's own, so rewritten in place */
#define MOUNTS_LAYERS_MAX 127

/**
 * struct mounts_plan - what the box's root is made of
 * @layers:	partitions 1 (lowest) .. layers of the disk "image"
 * @writable:	changes go to the disk "writable", else they are kept in memory
 * @read_only:	root is remounted read-only once everything is in place
 * @tmpfs:	NULL-terminated "path:options"
 */
struct mounts_plan {
	unsigned layers;
	bool writable, read_only;
	char **tmpfs;
};

/* /proc, /sys, /dev, /run for init itself. 0 or a negative errno. */
int mounts_system(void);

/* Wait for the disks and join them at MOUNTS_ROOT. 0, or -1 with a sentence. */
int mounts_join(const struct mounts_plan *plan, struct failure *f);

/* Undo mounts_join() after the last process of the box is gone: afterwards the writable disk is clean. 0 or a negative errno. */
int mounts_leave(const struct mounts_plan *plan);

/* Write one of the files under MOUNTS_FILES in place. 0 or a negative errno. */
int mounts_write_file(const char *name, const char *text);

/**
 * In the first process of the box, already in its own PID and mount namespace: make MOUNTS_ROOT the root and mount what
 * docker mounts (/proc, /dev, /sys, tmpfs, /etc/hosts...). `privileged` leaves /proc/sys and /sys writable.
 * All paths of the image are looked up after the root was changed, so no link can lead out of it. 0, or -1 with a sentence.
 */
int mounts_enter(const struct mounts_plan *plan, bool privileged, struct failure *f);

/* Then, when nothing needs to be made in it any more: read-only where the plan says so. 0, or -1 with a sentence. */
int mounts_seal(const struct mounts_plan *plan, struct failure *f);

/* Put a detached mount (open_tree) over `target`, which is made, with its directories, when it is missing. 0 or a negative errno. */
int mounts_bind(int tree_fd, const char *target);

/* docker's options of a tmpfs, "ro,size=64m": mount(2)'s flags, and what is left for tmpfs itself. 0, or -E2BIG. */
int mounts_parse_tmpfs(const char *options, unsigned long *ret_flags, char *ret_rest, size_t size);

/* Bytes used on the box's writable file system. */
unsigned long long mounts_used(void);
