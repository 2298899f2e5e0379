/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a port: first among our boxes' records, then in the kernel's tables of sockets, then by the inode number among the
 * fds of all processes, as far as we may look. Only ever for an error sentence.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "ports.h"

#define TCP_LISTEN_STATE 0x0a

static bool entry_holds(const struct box_entry *entry, const struct box_port *port)
{
	if (!box_status_is_alive(entry->state.status))
		return false;
	for (size_t i = 0; i < entry->state.n_bound; i++)
		if (box_ports_collide(port, &entry->state.bound[i]))
			return true;
	return false;
}

static bool find_box(const struct home *home, const char *own_id, const struct box_port *port, char *ret, size_t size)
{
	struct box_list list;
	struct failure ignored = { 0 };
	bool found = false;

	if (box_list_read(home, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.n && !found; i++) {
		const struct box_entry *e = &list.entries[i];

		found = strcmp(e->config.id, own_id) != 0 && entry_holds(e, port);
		if (found)
			snprintf(ret, size, "box %s", e->config.name ? e->config.name : e->config.id);
	}
	box_list_deinit(&list);
	return found;
}

/* Inode of a socket in one of /proc/net/{tcp,tcp6,udp,udp6} with this local port; 0: none. */
static unsigned long table_find(const char *path, bool tcp, uint16_t port)
{
	_cleanup_fclose_ FILE *table = fopen(path, "re");
	char line[512];

	while (table && fgets(line, sizeof(line), table)) {
		unsigned local_port, state;
		unsigned long inode;

		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &local_port, &state,
			   &inode) == 3 && local_port == port && (!tcp || state == TCP_LISTEN_STATE))
			return inode;
	}
	return 0;
}

static unsigned long find_inode(const struct box_port *port)
{
	bool tcp = port->protocol == BOX_TCP;
	unsigned long inode = table_find(tcp ? "/proc/net/tcp" : "/proc/net/udp", tcp, port->host_port);

	return inode ? inode : table_find(tcp ? "/proc/net/tcp6" : "/proc/net/udp6", tcp, port->host_port);
}

static bool process_has(const char *pid, const char *wanted)
{
	char path[PATH_MAX], target[64];
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	for (struct dirent *e; dir && !found && (e = readdir(dir));) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, e->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0) {
			target[n] = '\0';
			found = strcmp(target, wanted) == 0;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

static void process_name(const char *pid, char *ret, size_t size)
{
	_cleanup_free_ char *name = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	if (io_read_file(path, 256, &name, NULL) == 0)
		name[strcspn(name, "\n")] = '\0';
	snprintf(ret, size, "%s (pid %.16s)", name ? name : "process", pid);
}

void ports_name_holder(const struct home *home, const char *own_id, const struct box_port *port, char *ret, size_t size)
{
	unsigned long inode;
	char wanted[64];
	DIR *dir;

	if (find_box(home, own_id, port, ret, size))
		return;
	snprintf(ret, size, "another process");
	inode = find_inode(port);
	dir = inode ? opendir("/proc") : NULL;
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (isdigit((unsigned char)e->d_name[0]) && process_has(e->d_name, wanted)) {
			process_name(e->d_name, ret, size);
			break;
		}
	}
	if (dir)
		closedir(dir);
}
