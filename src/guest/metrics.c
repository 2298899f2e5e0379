/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/metrics.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "guest/mounts.h"

#define PROC_FILE_MAX (64u << 10)
#define PROCESSES_MAX 4096

static char *read_proc(const char *path)
{
	char *text = NULL;
	size_t size;

	return io_read_file(path, PROC_FILE_MAX, &text, &size) < 0 ? NULL : text;
}

/* Number after `key`, which is searched at the start of a line. */
static uint64_t find_number(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0)
		if (strncmp(line, key, length) == 0)
			return strtoull(line + length, NULL, 10);
	return 0;
}

/* Time that the guest's processors did not idle: all fields of "cpu" but idle and iowait. */
static uint64_t cpu_ns(void)
{
	_cleanup_free_ char *text = read_proc("/proc/stat");
	uint64_t ticks[8] = { 0 };

	if (!text || sscanf(text, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
			    &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) < 4)
		return 0;
	return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
}

static json_t *read_load(void)
{
	_cleanup_free_ char *text = read_proc("/proc/loadavg");
	double load[3] = { 0 };

	if (text)
		(void)!sscanf(text, "%lf %lf %lf", &load[0], &load[1], &load[2]);
	return json_pack("[f,f,f]", load[0], load[1], load[2]);
}

/* Call fn for each process of the namespace, at most PROCESSES_MAX; returns how many there are. */
static size_t each_process(int pid_ns, void (*fn)(const char *pid, void *context), void *context)
{
	struct stat wanted, found;
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir = pid_ns >= 0 && fstat(pid_ns, &wanted) == 0 ? opendir("/proc") : NULL;

	if (!dir)
		return 0;
	while (n < PROCESSES_MAX && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || io_path(path, sizeof(path), "/proc/%s/ns/pid", entry->d_name) < 0 ||
		    stat(path, &found) < 0 || found.st_ino != wanted.st_ino)
			continue;
		if (fn)
			fn(entry->d_name, context);
		n++;
	}
	closedir(dir);
	return n;
}

/* Of all whole disks, since boot; the kernel counts sectors of 512 bytes. */
static void read_disks(uint64_t *ret_read, uint64_t *ret_written)
{
	_cleanup_free_ char *text = read_proc("/proc/diskstats");

	*ret_read = *ret_written = 0;
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0) {
		uint64_t got, put;
		char name[32];

		if (sscanf(line, " %*u %*u %31s %*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64, name, &got, &put) != 3 ||
		    strncmp(name, "vd", 2) != 0 || isdigit((unsigned char)name[strlen(name) - 1]))
			continue;
		*ret_read += got * 512;
		*ret_written += put * 512;
	}
}

json_t *metrics_read(int pid_ns)
{
	_cleanup_free_ char *memory = read_proc("/proc/meminfo");
	int64_t total = (int64_t)find_number(memory, "MemTotal:") * 1024;
	int64_t available = (int64_t)find_number(memory, "MemAvailable:") * 1024;

	uint64_t disk_read, disk_written;

	read_disks(&disk_read, &disk_written);
	return json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "ok", 1, "cpu_ns", (json_int_t)cpu_ns(), "memory_used",
			 (json_int_t)(total - available), "memory_total", (json_int_t)total, "pids",
			 (json_int_t)each_process(pid_ns, NULL, NULL), "disk_used", (json_int_t)mounts_used(), "disk_read",
			 (json_int_t)disk_read, "disk_written", (json_int_t)disk_written, "load", read_load());
}

/**
 * struct process_line - fields of /proc/PID/stat and status that `ps -ef` shows
 * @pid, @ppid:	as the box sees them
 */
struct process_line {
	uint64_t pid, ppid, uid;
	int tty;
	uint64_t user_ticks, system_ticks, start_ticks;
	char name[64];
};

/* Last number of the line "NSpid:\t123\t7". */
static uint64_t last_number(const char *status, const char *key)
{
	const char *line = strstr(status, key), *end;
	uint64_t v = 0;

	if (!line)
		return 0;
	for (line += strlen(key); *line && *line != '\n'; line = end) {
		char *after;

		v = strtoull(line, &after, 10);
		if (after == line)
			break;
		end = after;
		while (*end == ' ' || *end == '\t')
			end++;
	}
	return v;
}

static uint64_t pid_inside(const char *pid)
{
	_cleanup_free_ char *status = NULL;
	char path[PATH_MAX];

	if (io_path(path, sizeof(path), "/proc/%s/status", pid) < 0 || !(status = read_proc(path)))
		return 0;
	return last_number(status, "\nNSpid:");
}

static bool read_line(const char *pid, struct process_line *ret)
{
	_cleanup_free_ char *stat = NULL, *status = NULL;
	char path[PATH_MAX], parent[24];
	const char *name, *rest;
	int ppid;

	if (io_path(path, sizeof(path), "/proc/%s/stat", pid) < 0 || !(stat = read_proc(path)) ||
	    io_path(path, sizeof(path), "/proc/%s/status", pid) < 0 || !(status = read_proc(path)))
		return false;
	name = strchr(stat, '(');
	rest = strrchr(stat, ')'); /* a name may hold anything, parentheses too */
	if (!name || !rest || rest < name)
		return false;
	snprintf(ret->name, sizeof(ret->name), "[%.*s]", (int)(rest - name - 1), name + 1);
	if (sscanf(rest + 1, " %*c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %*d %*d %*d %*d %*d %*d %" SCNu64,
		   &ppid, &ret->tty, &ret->user_ticks, &ret->system_ticks, &ret->start_ticks) != 5)
		return false;
	snprintf(parent, sizeof(parent), "%d", ppid);
	ret->pid = last_number(status, "\nNSpid:");
	ret->ppid = ret->pid == 1 ? 0 : pid_inside(parent);
	ret->uid = find_number(status, "Uid:");
	return true;
}

/* Arguments with spaces between, or the name in brackets. */
static void read_command(const char *pid, const char *name, char *ret, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	ssize_t n = 0;

	if (io_path(path, sizeof(path), "/proc/%s/cmdline", pid) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, ret, size - 1);
	if (n <= 0) {
		snprintf(ret, size, "%s", name);
		return;
	}
	ret[n] = '\0';
	for (ssize_t i = 0; i < n - 1; i++)
		if (ret[i] == '\0' || ret[i] == '\n')
			ret[i] = ' ';
}

static void add_process(const char *pid, void *context)
{
	struct process_line line = { 0 };
	struct timespec up;
	char number[4][24], time_used[24], started[16] = "?", terminal[16] = "?", command[1024];
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), used;
	struct tm tm;
	time_t begin;

	if (!read_line(pid, &line))
		return;
	read_command(pid, line.name, command, sizeof(command));
	clock_gettime(CLOCK_BOOTTIME, &up);
	used = (line.user_ticks + line.system_ticks) / hz;
	begin = time(NULL) - up.tv_sec + (time_t)(line.start_ticks / hz);
	if (gmtime_r(&begin, &tm))
		strftime(started, sizeof(started), "%H:%M", &tm);
	if (line.tty)
		snprintf(terminal, sizeof(terminal), "pts/%d", line.tty & 0xff);
	snprintf(number[0], sizeof(number[0]), "%" PRIu64, line.uid);
	snprintf(number[1], sizeof(number[1]), "%" PRIu64, line.pid);
	snprintf(number[2], sizeof(number[2]), "%" PRIu64, line.ppid);
	snprintf(number[3], sizeof(number[3]), "0");
	snprintf(time_used, sizeof(time_used), "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, used / 3600, used / 60 % 60, used % 60);
	json_array_append_new(context, json_pack("[s,s,s,s,s,s,s,s+]", number[0], number[1], number[2], number[3], started, terminal,
						 time_used, command, ""));
}

json_t *metrics_processes(int pid_ns)
{
	json_t *processes = json_array();

	each_process(pid_ns, add_process, processes);
	return json_pack("{s:b,s:[s,s,s,s,s,s,s,s],s:o}", "ok", 1, "titles", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD",
			 "processes", processes);
}
