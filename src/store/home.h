/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are kept.
 *
 * A3S_HOME (default ~/.a3s, made 0700):
 *	names/<name>			link to the id: an index of the records, see box.c
 *	runtime				link to the runtime directory: whoever was first has chosen it for all
 *	lock				taken for every change of the set of boxes or images
 *	boxes/<id>/config.json		what was asked for (struct box_config); written by the command line under the lock
 *	boxes/<id>/state.json		what happened (struct box_state); written by the box's monitor, or by whoever holds the box's lock
 *	boxes/<id>/lock			held by the monitor: "running" is this lock, not a pid in a file
 *	boxes/<id>/pending		exists until the command that makes the box is done, and is locked by it: a box whose
 *					pending file nobody holds is garbage and is removed by the next command
 *	boxes/<id>/writable.ext4	the box's own changes
 *	boxes/<id>/reserve		room for the last state.json, while the box runs
 *	boxes/<id>/log.json{,.1,.2}	docker's json-file lines
 *	images/				see src/image/image.h
 *	guest.json			verdict of the accelerator probe
 * Runtime directory (sockets, gone after a reboot): $XDG_RUNTIME_DIR/a3s-<8 hex of A3S_HOME>/, else /run/a3s-<8 hex>/ as
 * root, else a 0700 directory of our own under the temporary directory. runtime/<short id>/ per running box.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

struct home {
	char path[PATH_MAX];
	char runtime[PATH_MAX];
	int lock_fd; /* -1 unless home_lock() */
	bool made;   /* both directories are there */
};
#define HOME_NULL { .lock_fd = -1 }

/**
 * Find both directories. A store that is not there yet is one without boxes and images: nothing is made for whoever only looks.
 * Fails with a sentence when they cannot be written, are not ours, are links of others, or when A3S_HOME names a directory that
 * has something else in it.
 */
int home_open(struct home *home, struct failure *f);
/* Make what home_open() did not find; what is about to write calls it. */
int home_make(struct home *home, struct failure *f);
void home_close(struct home *home);
/* Exclusive lock over changes, which makes the store when it is not there; waits. */
int home_lock(struct home *home, struct failure *f);
void home_unlock(struct home *home);
