/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "guest/metrics.h"
#include "guest/modules.h"
#include "guest/network.h"

#define BACKLOG 128
#define SIGNAL_LAST 64
#define SEED_MAX 512
#define STOP_TIMEOUT_MS 5000
#define NS 1000000000

json_t *agent_error(const struct failure *f)
{
	return json_pack("{s:b,s:s,s:i}", "ok", 0, "error", f->text, "code", f->code);
}

static json_t *answer_ping(struct agent *agent, const json_t *request, struct failure *f)
{
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	return json_pack("{s:b,s:I,s:b}", "ok", 1, "uptime_ms", (json_int_t)up.tv_sec * 1000 + up.tv_nsec / 1000000, "configured",
			 (int)agent->configured);
}

static json_t *answer_metrics(struct agent *agent, const json_t *request, struct failure *f)
{
	return metrics_read(agent->processes.pid_ns);
}

static json_t *answer_processes(struct agent *agent, const json_t *request, struct failure *f)
{
	return metrics_processes(agent->processes.pid_ns);
}

/* {"path":"options"} -> "path:options". */
static char **read_tmpfs(const json_t *request)
{
	char **v = calloc(1, sizeof(*v));
	const char *path;
	json_t *options;

	json_object_foreach(json_object_get(request, "tmpfs"), path, options) {
		_cleanup_free_ char *entry = NULL;

		if (!v || asprintf(&entry, "%s:%s", path, json_is_string(options) ? json_string_value(options) : "") < 0)
			return strv_free(v);
		if (strv_add(&v, entry) < 0)
			return strv_free(v);
	}
	return v;
}

static int set_clock(int64_t time_ns, struct failure *f)
{
	struct timespec now = { .tv_sec = time_ns / NS, .tv_nsec = time_ns % NS };

	if (time_ns <= 0 || clock_settime(CLOCK_REALTIME, &now) == 0)
		return 0;
	return fail_errno(f, EXIT_USAGE, errno, "cannot set the clock");
}

static int parse_hex(const char *hex, unsigned char *ret, size_t room)
{
	size_t n = strlen(hex) / 2;

	if (n > room || strspn(hex, "0123456789abcdefABCDEF") != 2 * n || hex[2 * n])
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		ret[i] = (unsigned char)strtoul((const char[]){ hex[2 * i], hex[2 * i + 1], 0 }, NULL, 16);
	return (int)n;
}

/* Every clone of one saved guest starts with the same state: what the host gives is credited, and used at once. */
static int seed_random(const char *hex, struct failure *f)
{
	union {
		struct rand_pool_info info;
		unsigned char room[sizeof(struct rand_pool_info) + SEED_MAX];
	} seed;
	int n = parse_hex(hex, seed.room + sizeof(seed.info), SEED_MAX);
	_cleanup_close_ int fd = -1;

	if (n < 0)
		return fail(f, EXIT_USAGE, "\"entropy\" is not hexadecimal, or longer than %d bytes", SEED_MAX);
	if (n == 0)
		return 0;
	seed.info.entropy_count = 8 * n;
	seed.info.buf_size = n;
	fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &seed) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot seed the random numbers");
	explicit_bzero(&seed, sizeof(seed));
	return 0;
}

static int write_files(const json_t *request, struct failure *f)
{
	static const struct {
		const char *key, *file;
	} files[] = { { "hosts", "hosts" }, { "resolv_conf", "resolv.conf" } };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const char *text = json_str(request, files[i].key, NULL);
		int r = text ? mounts_write_file(files[i].file, text) : 0;

		if (r < 0)
			return fail_errno(f, EXIT_FAILED, r, "cannot write the box's %s", files[i].file);
	}
	return 0;
}

static int set_hostname(struct agent *agent, const char *name, struct failure *f)
{
	char line[sizeof(agent->hostname) + 1];
	size_t n = strlen(name);

	if (n == 0 || n >= sizeof(agent->hostname))
		return fail(f, EXIT_USAGE, "a host name has 1 to %zu characters", sizeof(agent->hostname) - 1);
	memcpy(agent->hostname, name, n + 1);
	memcpy(line, name, n);
	memcpy(line + n, "\n", 2);
	if (sethostname(name, n) < 0 || mounts_write_file("hostname", line) < 0)
		return fail(f, EXIT_FAILED, "cannot set the host name");
	return 0;
}

static int set_up_network(const json_t *request, struct failure *f)
{
	int r;

	if (strcmp(json_str(request, "network", "none"), "tsi") != 0)
		return 0;
	r = network_add_tsi_addresses(json_flag(request, "ipv6", false));
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot set the addresses of lo");
	r = modules_load("tsi.ko", "");
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot load tsi.ko") : 0;
}

static int configure(struct agent *agent, const json_t *request, struct failure *f)
{
	int64_t layers = json_int(request, "layers", 0);

	if (layers < 0 || layers > MOUNTS_LAYERS_MAX)
		return fail(f, EXIT_USAGE, "the image has too many layers: at most %d can be joined", MOUNTS_LAYERS_MAX);
	agent->plan = (struct mounts_plan){ .layers = (unsigned)layers,
					    .writable = json_flag(request, "writable", false),
					    .read_only = json_flag(request, "read_only", false),
					    .tmpfs = read_tmpfs(request) };
	if (set_clock(json_int(request, "time_ns", 0), f) < 0 || seed_random(json_str(request, "entropy", ""), f) < 0)
		return -1;
	if (set_hostname(agent, json_str(request, "hostname", "localhost"), f) < 0 || write_files(request, f) < 0)
		return -1;
	if (set_up_network(request, f) < 0)
		return -1;
	return mounts_join(&agent->plan, f);
}

static json_t *answer_configure(struct agent *agent, const json_t *request, struct failure *f)
{
	if (agent->configured) {
		fail(f, EXIT_FAILED, "the box is configured already");
		return NULL;
	}
	if (!agent->system) {
		fail(f, EXIT_FAILED, "there is no guest to configure");
		return NULL;
	}
	if (configure(agent, request, f) < 0)
		return NULL;
	agent->configured = true;
	return json_pack("{s:b}", "ok", 1);
}

static json_t *answer_files(struct agent *agent, const json_t *request, struct failure *f)
{
	if (!agent->configured) {
		fail(f, EXIT_FAILED, "the box is not configured yet");
		return NULL;
	}
	return write_files(request, f) < 0 ? NULL : json_pack("{s:b}", "ok", 1);
}

static json_t *answer_signal(struct agent *agent, const json_t *request, struct failure *f)
{
	int64_t number = json_int(request, "signal", 0);
	int r;

	if (number < 1 || number > SIGNAL_LAST) {
		fail(f, EXIT_USAGE, "there is no such signal");
		return NULL;
	}
	r = agent->processes.main ? process_signal(agent->processes.main, (int)number) : -ESRCH;
	if (r < 0) {
		fail_errno(f, EXIT_FAILED, r, "cannot signal the box's main process");
		return NULL;
	}
	return json_pack("{s:b}", "ok", 1);
}

/* End whatever still runs; the rest of main's PID namespace goes with it. */
static void kill_box(struct agent *agent)
{
	const struct process *box = agent->processes.main;
	struct pollfd p = { .fd = -1, .events = POLLIN };

	if (!box || box->ended)
		return;
	p.fd = pidfd_open(box->pid, 0);
	(void)process_signal(box, SIGKILL);
	if (p.fd >= 0)
		(void)poll(&p, 1, STOP_TIMEOUT_MS);
	close_fd(p.fd);
	agent_reap(agent);
}

static json_t *answer_shutdown(struct agent *agent, const json_t *request, struct failure *f)
{
	int r = 0;

	kill_box(agent);
	if (agent->system && agent->configured)
		r = mounts_leave(&agent->plan);
	if (agent->system)
		sync();
	agent->stopping = true;
	if (r == 0)
		return json_pack("{s:b}", "ok", 1);
	fail_errno(f, EXIT_FAILED, r, "the box's disk is not clean");
	return NULL;
}

/* One row per "op" of AGENT_PORT_CONTROL. NULL with f->code 0: no memory. */
static const struct {
	const char *op;
	json_t *(*answer)(struct agent *agent, const json_t *request, struct failure *f);
} answers[] = {
	{ "ping", answer_ping },	 { "metrics", answer_metrics }, { "processes", answer_processes },
	{ "configure", answer_configure }, { "files", answer_files },	{ "signal", answer_signal },
	{ "shutdown", answer_shutdown },
};

json_t *agent_answer(struct agent *agent, const json_t *request)
{
	const char *op = json_str(request, "op", "");
	struct failure f = { 0 };
	json_t *reply = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		if (strcmp(answers[i].op, op) != 0)
			continue;
		reply = answers[i].answer(agent, request, &f);
		return reply || !f.code ? reply : agent_error(&f);
	}
	fail(&f, EXIT_USAGE, "unknown request \"%.32s\"", op);
	return agent_error(&f);
}

static void on_ended(struct process *process)
{
	if (process->owner)
		conversation_process_ended(process->owner);
}

void agent_reap(struct agent *agent)
{
	process_reap(&agent->processes, on_ended);
}

void agent_init(struct agent *agent, struct loop *loop, bool system)
{
	*agent = (struct agent){ .loop = loop, .system = system, .hostname = "localhost", .processes = PROCESS_TABLE_NULL };
	agent->processes.isolate = system;
	agent->processes.plan = &agent->plan;
	for (size_t i = 0; i < ARRAY_SIZE(agent->listeners); i++)
		agent->listeners[i].io = (struct loop_io)LOOP_IO_NULL;
}

void agent_deinit(struct agent *agent)
{
	while (agent->conversations)
		conversation_close(agent->conversations);
	(void)loop_turn(agent->loop, 0); /* frees them */
	while (agent->processes.list)
		process_free(&agent->processes, agent->processes.list);
	agent->processes.pid_ns = close_fd(agent->processes.pid_ns);
	agent->processes.own_pid_ns = close_fd(agent->processes.own_pid_ns);
	agent->plan.tmpfs = strv_free(agent->plan.tmpfs);
}

/* Only the host is a peer: vsock_loopback is not loaded. */
static void on_connection(struct loop_io *io, uint32_t events)
{
	struct agent_listener *listener = container_of(io, struct agent_listener, io);
	struct sockaddr_vm peer = { 0 };
	socklen_t size = sizeof(peer);
	int fd = accept4(io->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (peer.svm_cid != VMADDR_CID_HOST || listener->agent->n_conversations >= AGENT_CONVERSATIONS_MAX) {
		close(fd);
		return;
	}
	(void)conversation_open(listener->agent, listener->port, fd);
}

static int listen_on(struct agent *agent, struct agent_listener *listener, enum agent_port port)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	listener->agent = agent;
	listener->port = port;
	r = loop_io_add(agent->loop, &listener->io, fd, EPOLLIN, on_connection);
	if (r == 0)
		(void)take_fd(&fd);
	return r;
}

int agent_listen(struct agent *agent)
{
	static const enum agent_port ports[] = { AGENT_PORT_CONTROL, AGENT_PORT_EXEC, AGENT_PORT_TERMINAL, AGENT_PORT_ATTESTATION };

	for (size_t i = 0; i < ARRAY_SIZE(agent->listeners); i++) {
		int r = listen_on(agent, &agent->listeners[i], ports[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
