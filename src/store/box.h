/* SPDX-License-Identifier: Apache-2.0 */
/* Records of boxes: what was asked for, what happened, and who is alive. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/home.h"

#define BOX_ID_LENGTH 64
#define BOX_SHORT_LENGTH 12
#define BOX_NAME_MAX 64
#define BOX_MEMORY_MIN (96LL << 20) /* bytes: kernel, initramfs and agent with some room for a program */
/* Where neither flag nor image says anything. */
#define BOX_LOG_MAX_SIZE (10LL << 20)
#define BOX_LOG_MAX_FILES 3
#define BOX_STOP_TIMEOUT 10

enum box_network { BOX_NETWORK_TSI, BOX_NETWORK_NONE };
enum box_protocol { BOX_TCP, BOX_UDP };

/**
 * struct box_port - one published port, after ranges were expanded
 * @host_address:	"" for all addresses, else a literal v4 or v6 address without brackets
 * @host_port:		0: one of the host's choice, kept in the record once chosen
 * @host_port_last:	> host_port: the first free one of this range
 */
struct box_port {
	char host_address[46];
	uint16_t host_port, host_port_last, guest_port;
	enum box_protocol protocol;
};

/**
 * struct box_config - config.json; strings are owned, vectors NULL-terminated, absent strings NULL
 * @created_ns:		time of creation, ns since 1970
 * @command:		what runs: entrypoint and arguments already joined from image and flags
 * @entrypoint_length:	how many of `command` are the entrypoint
 * @memory:		bytes
 * @cpus:		virtual CPUs
 * @hosts:		--add-host, "name:address" or "name:host-gateway"
 * @stop_timeout:	seconds, -1: no limit
 * @log_max_size:	bytes per file
 */
struct box_config {
	char id[BOX_ID_LENGTH + 1];
	char *name;
	int64_t created_ns;
	char *image;	/* as the user wrote it, normalised for display */
	char *image_id; /* "sha256:..." */
	char **command;
	size_t entrypoint_length;
	char **env;
	char *workdir, *user, *hostname;
	int64_t memory;
	unsigned cpus;
	bool tty, open_stdin, init, read_only, auto_remove, detached;
	enum box_network network;
	struct box_port *ports;
	size_t n_ports;
	char **exposed; /* "80/tcp", image and flags */
	char **dns, **dns_search, **dns_option, **hosts;
	char **labels;	/* "key=value" */
	char **tmpfs;	/* "/path:options" */
	char **net_limits; /* "connections=1000": store/net_limit.h */
	int stop_signal;
	int stop_timeout;
	int64_t log_max_size;
	unsigned log_max_files;
};

enum box_status { BOX_CREATED, BOX_STARTING, BOX_RUNNING, BOX_EXITED, BOX_DEAD };

/**
 * struct box_state - state.json
 * @status:	as last written; box_read_state() corrects it by the lock: a running one without holder reads BOX_DEAD
 * @monitor_pid: for people; truth is the lock
 * @exit_code:	valid when exited; 255 and `error` when nobody could say
 * @accelerator: "kvm" or "tcg"
 * @bound:	published ports as bound: same order as config.ports, with wildcards split per family
 */
struct box_state {
	enum box_status status;
	pid_t monitor_pid, vm_pid, vsock_pid;
	int64_t started_ns, finished_ns;
	int exit_code;
	bool oom_killed;
	char *error;
	char *accelerator;
	struct box_port *bound;
	size_t n_bound;
};

#define BOX_CONFIG_NULL { .stop_timeout = BOX_STOP_TIMEOUT }
#define BOX_STATE_NULL { 0 }

void box_config_deinit(struct box_config *config);
void box_state_deinit(struct box_state *state);
json_t *box_config_to_json(const struct box_config *config);
int box_config_from_json(const json_t *json, struct box_config *ret, struct failure *f);
json_t *box_state_to_json(const struct box_state *state);
int box_state_from_json(const json_t *json, struct box_state *ret, struct failure *f);

const char *box_status_name(enum box_status status);   /* docker's words: created running exited dead ... */
bool box_status_is_alive(enum box_status status);
const char *box_network_name(enum box_network network);
const char *box_protocol_name(enum box_protocol protocol);
/* Whether both cannot be bound at once. Ports still to be chosen collide with none. */
bool box_ports_collide(const struct box_port *a, const struct box_port *b);
bool box_id_is_valid(const char *id);		       /* 64 lower-case hexadecimal digits */
bool box_name_is_valid(const char *name);	       /* letter or digit first, then letters digits _ . -, at most 64 */
/* Whether a new box may have the name: valid, and no other box's. -1 and a sentence, code 125. */
int box_check_name(const struct home *home, const char *name, struct failure *f);
/* "$A3S_HOME/boxes/<id>/<file>" and "<runtime>/<short id>/<file>"; file "" gives the directory. */
int box_path(const struct home *home, const char *id, const char *file, char ret[static PATH_MAX]);
int box_runtime_path(const struct home *home, const char *id, const char *file, char ret[static PATH_MAX]);

/**
 * Make a new record (directory, config.json, pending) under the home's lock, name checked: letter or digit first, then letters
 * digits _ . -, at most 64; taken names are refused with their holder. *ret_pending_fd holds the record until box_commit().
 * config->id must be set; an absent name is generated as adjective_noun.
 */
int box_create(struct home *home, struct box_config *config, int *ret_pending_fd, struct failure *f);
int box_commit(struct home *home, const char *id, int *pending_fd, struct failure *f);
/* Remove records whose maker died; the first thing that every command does. Takes the lock when there are any. */
int box_sweep(struct home *home, struct failure *f);
/* Remove a box that is not running; one that is: EXIT_IN_USE. The record need not be readable. */
int box_remove(struct home *home, const char *id, struct failure *f);

/* A missing or corrupt file: -1 and a sentence with its name; a corrupt one is kept as it is. */
int box_read_config(const struct home *home, const char *id, struct box_config *ret, struct failure *f);
int box_read_state(const struct home *home, const char *id, struct box_state *ret, struct failure *f);
int box_write_state(const struct home *home, const char *id, const struct box_state *state, struct failure *f);

/* Full id, then exact name, then unambiguous prefix of an id (docker's order). Unknown: BOX_UNKNOWN; ambiguous: -1; both with a
 * sentence, code 1. */
#define BOX_UNKNOWN -2
int box_resolve(const struct home *home, const char *name, char ret_id[static BOX_ID_LENGTH + 1], struct failure *f);

/* Holder of a name: 0 and its id, or -ENOENT. */
int box_find_name(const struct home *home, const char *name, char ret_id[static BOX_ID_LENGTH + 1]);
/* Whether there is no record of this id any more. */
bool box_is_gone(const struct home *home, const char *id);
/* Whether a monitor holds the box's lock. */
bool box_is_held(const struct home *home, const char *id);
/* Wait until none holds it any more. A box that was removed meanwhile is fine: 0. */
int box_wait_released(const struct home *home, const char *id);

/**
 * struct box_list - all boxes, newest first. A record that cannot be read is left out and counted in `broken`, with the first
 * reason in `reason`.
 */
struct box_entry {
	struct box_config config;
	struct box_state state;
};
struct box_list {
	struct box_entry *entries;
	size_t n, broken;
	struct failure reason;
};
int box_list_read(const struct home *home, struct box_list *ret, struct failure *f);
void box_list_deinit(struct box_list *list);
