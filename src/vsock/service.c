/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "vsock/agent.h"
#include "vsock/control.h"
#include "vsock/dns.h"
#include "vsock/publish.h"

#define REQUEST_FDS 2
#define FDS_SPARE 128u
#define PORTS_MAX (4u * 65536u) /* two protocols, two families */

/**
 * struct request - one message, and what its handler says to it
 * @fd:		the first that came along; handlers that keep it leave -1
 * @answer:	members beside "ok"; may stay NULL
 * @problem:	a sentence, where errno alone would not say it
 */
struct request {
	json_t *body;
	int fd;
	json_t *answer;
	const char *problem;
};

static void service_send(struct service *s, json_t *message)
{
	char text[VSOCK_CONTROL_MAX];
	size_t size = json_dumpb(message, text, sizeof(text), JSON_COMPACT);
	ssize_t n;

	if (size == 0 || size > sizeof(text)) {
		log_error("message to the monitor is too large");
		return;
	}
	n = io_send_fds(s->fd, text, size, NULL, 0);
	if (n < 0)
		log_warn("cannot answer the monitor: %s", strerror((int)-n));
}

static void on_event(struct device *d, const char *event)
{
	struct service *s = d->owner;
	_cleanup_json_ json_t *message = json_pack("{s:s}", "event", event);

	service_send(s, message);
}

static uint32_t limit(const json_t *limits, const char *key, uint32_t fallback, uint32_t max)
{
	int64_t v = json_int(limits, key, fallback);

	return v < 1 ? 1 : (uint32_t)MIN(v, (int64_t)max);
}

/* Fewer where the host grants fewer fds: one for each, those of published ports, and some for ourselves. */
static uint32_t connections_for_fds(uint32_t wanted, uint32_t ports)
{
	struct rlimit fds;
	rlim_t taken = FDS_SPARE + ports;

	if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur == RLIM_INFINITY)
		return wanted;
	return (uint32_t)MIN((rlim_t)wanted, MAX(fds.rlim_cur, taken + FDS_SPARE) - taken);
}

static int configure(struct service *s, struct request *q)
{
	struct device *d = &s->device;
	const struct device_limits fallback = DEVICE_LIMITS_DEFAULT;
	const json_t *limits = json_object_get(q->body, "limits");
	const char *network = json_str(q->body, "network", "tsi");
	int r;

	if (s->configured)
		return -EALREADY;
	if (strcmp(network, "tsi") != 0 && strcmp(network, "none") != 0)
		return -EINVAL;
	*d = (struct device){
		.guest_cid = (uint32_t)json_int(q->body, "cid", VSOCK_GUEST_CID),
		.has_tsi = strcmp(network, "tsi") == 0,
		.has_host_gateway = json_flag(q->body, "host_gateway", false),
		.on_event = on_event,
		.owner = s,
		.limits = {
			.connections = connections_for_fds(limit(limits, "connections", fallback.connections, CONNECTIONS_MAX),
							   limit(q->body, "ports", 1, PORTS_MAX)),
			.datagrams = limit(limits, "datagrams", fallback.datagrams, CONNECTIONS_MAX),
			.listeners = limit(limits, "listeners", fallback.listeners, 65536),
			.queued_bytes = limit(limits, "queued_bytes", (uint32_t)fallback.queued_bytes, UINT32_MAX / 2),
			.flows = limit(limits, "flows", fallback.flows, 1u << 20),
			.flow_idle_ms = limit(limits, "flow_idle_ms", (uint32_t)fallback.flow_idle_ms, INT32_MAX),
			.datagram_idle_ms = limit(limits, "datagram_idle_ms", (uint32_t)fallback.datagram_idle_ms, INT32_MAX),
		},
	};
	r = device_init(d, s->loop);
	if (r < 0) {
		device_deinit(d);
		return r;
	}
	d->tsi.host_families = s->host_families;
	s->configured = true;
	return 0;
}

static int attach_device(struct service *s, struct request *q)
{
	return device_attach(&s->device, take_fd(&q->fd));
}

static int serve_agent(struct service *s, struct request *q)
{
	return agent_listen(&s->device, take_fd(&q->fd));
}

static int give_resolver(struct service *s, struct request *q)
{
	return dns_set_resolver(&s->device, take_fd(&q->fd));
}

static int request_port(struct request *q, struct publish_port *ret)
{
	const char *protocol = json_str(q->body, "protocol", "tcp"), *address = json_str(q->body, "address", "");
	int64_t port = json_int(q->body, "port", 0), guest_port = json_int(q->body, "guest_port", port);

	if ((strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0) || strlen(address) >= sizeof(ret->address) || port < 0 ||
	    port > UINT16_MAX || guest_port < 1 || guest_port > UINT16_MAX)
		return -EINVAL;
	*ret = (struct publish_port){
		.is_udp = strcmp(protocol, "udp") == 0,
		.port = (uint16_t)port,
		.guest_port = (uint16_t)guest_port,
	};
	snprintf(ret->address, sizeof(ret->address), "%s", address);
	return 0;
}

static int publish(struct service *s, struct request *q)
{
	struct publish_port port;
	int r = request_port(q, &port);

	if (r < 0)
		return r;
	if (!s->device.has_tsi) {
		q->problem = "ports are published in network mode tsi only";
		return -EOPNOTSUPP;
	}
	return publish_add(&s->device, &port, take_fd(&q->fd));
}

static int unpublish(struct service *s, struct request *q)
{
	struct publish_port port;
	int r = request_port(q, &port);

	return r < 0 ? r : publish_remove(&s->device, &port);
}

static int stats(struct service *s, struct request *q)
{
	const struct device *d = &s->device;
	const struct device_stats *n = &d->stats;
	const struct {
		const char *key;
		uint64_t value;
	} values[] = {
		{ "connections", d->table.n_used },
		{ "connections_max", d->table.size },
		{ "datagram_sockets", d->n_datagrams },
		{ "connections_total", n->connections_total },
		{ "refused", n->refused },
		{ "failed", n->failed },
		{ "listeners", d->tsi.n_listeners },
		{ "bytes_in", n->bytes_in },
		{ "bytes_out", n->bytes_out },
		{ "net_in", n->net_in },
		{ "net_out", n->net_out },
		{ "net_connections", n->net_connections },
		{ "net_connections_total", n->net_connections_total },
		{ "packets_in", n->packets_in },
		{ "packets_out", n->packets_out },
		{ "datagrams_in", n->datagrams_in },
		{ "datagrams_out", n->datagrams_out },
		{ "datagrams_lost", n->datagrams_lost },
		{ "flows", d->udp.flows.n },
		{ "flows_evicted", d->udp.flows.evicted },
		{ "dns_queries", n->dns_queries },
		{ "dns_failures", n->dns_failures },
		{ "queued_bytes", (uint64_t)d->pool.n_used * POOL_CHUNK },
		{ "bad_packets", n->bad_packets },
		{ "bad_credit", n->bad_credit },
		{ "forged", n->forged },
		{ "unknown", n->unknown },
		{ "lost", n->strays_lost + d->tsi.lost },
	};
	json_t *all = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		json_object_set_new(all, values[i].key, json_integer((json_int_t)values[i].value));
	q->answer = json_pack("{s:o}", "stats", all);
	return q->answer ? 0 : -ENOMEM;
}

static int ping(struct service *s, struct request *q)
{
	return 0;
}

static const struct {
	const char *op;
	bool needs_fd, before_configure;
	int (*fn)(struct service *s, struct request *q);
} operations[] = {
	{ "configure", false, true, configure },
	{ "ping", false, true, ping },
	{ "device", true, false, attach_device },
	{ "agent", true, false, serve_agent },
	{ "resolver", true, false, give_resolver },
	{ "publish", true, false, publish },
	{ "unpublish", false, false, unpublish },
	{ "stats", false, false, stats },
};

static int carry_out(struct service *s, struct request *q)
{
	const char *op = json_str(q->body, "op", "");

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (strcmp(op, operations[i].op) != 0)
			continue;
		if (!s->configured && !operations[i].before_configure) {
			q->problem = "not configured yet";
			return -EINVAL;
		}
		if (operations[i].needs_fd && q->fd < 0) {
			q->problem = "no fd came with the request";
			return -EBADF;
		}
		return operations[i].fn(s, q);
	}
	q->problem = "unknown op";
	return -ENOSYS;
}

static void answer(struct service *s, struct request *q)
{
	int r = carry_out(s, q);
	_cleanup_json_ json_t *message = NULL;

	if (r < 0)
		message = json_pack("{s:b,s:s,s:i}", "ok", 0, "error", q->problem ? q->problem : strerror(-r), "errno", -r);
	else
		message = json_pack("{s:b}", "ok", 1);
	if (r >= 0 && q->answer)
		json_object_update(message, q->answer);
	service_send(s, message);
}

static void control_event(struct loop_io *io, uint32_t events)
{
	struct service *s = container_of(io, struct service, io);
	char text[VSOCK_CONTROL_MAX];
	int fds[REQUEST_FDS] = { -1, -1 };
	size_t n_fds = REQUEST_FDS;
	ssize_t n = io_recv_fds(s->fd, text, sizeof(text), fds, &n_fds);
	struct request q = { .fd = n_fds > 0 ? fds[0] : -1 };

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_quit(s->loop, 0);
		return;
	}
	if (n_fds > 1)
		close_fd(fds[1]);
	q.body = json_loadb(text, (size_t)n, 0, NULL);
	answer(s, &q);
	json_decref(q.body);
	json_decref(q.answer);
	close_fd(q.fd);
}

int service_init(struct service *s, struct loop *loop, int fd)
{
	int r;

	s->loop = loop;
	s->fd = fd;
	s->configured = false;
	s->io = (struct loop_io)LOOP_IO_NULL;
	s->host_families = tsi_host_families();
	json_object_seed(0); /* reads /dev/urandom: later is too late */
	r = io_set_nonblock(fd, true);
	return r < 0 ? r : loop_io_add(loop, &s->io, fd, EPOLLIN, control_event);
}

void service_deinit(struct service *s)
{
	loop_io_remove(&s->io);
	s->fd = close_fd(s->fd);
	if (!s->configured)
		return;
	publish_clear(&s->device);
	agent_clear(&s->device);
	device_deinit(&s->device);
	s->configured = false;
}
