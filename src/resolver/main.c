/* SPDX-License-Identifier: Apache-2.0 */
/* a3s-box-resolver: see protocol.h. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "resolver/resolver.h"

#define DNS_PORT 53
#define RESOLV_CONF "/etc/resolv.conf"

struct options {
	int64_t fd, port;
	const char *resolv_conf;
	char **dns;
};

static const struct option long_options[] = {
	{ "fd", required_argument, NULL, 'f' },
	{ "dns", required_argument, NULL, 'd' },
	{ "resolv-conf", required_argument, NULL, 'r' }, /* another file than the host's */
	{ "port", required_argument, NULL, 'p' },	 /* of all servers */
	{ 0 },
};

static int parse_options(int argc, char **argv, struct options *o)
{
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		if (c == 'f')
			r = text_to_int(optarg, 0, INT32_MAX, &o->fd);
		else if (c == 'p')
			r = text_to_int(optarg, 1, 65535, &o->port);
		else if (c == 'd')
			r = strv_add(&o->dns, optarg);
		else if (c == 'r')
			o->resolv_conf = optarg;
		else
			r = -EINVAL;
	}
	return r < 0 || o->fd < 0 || optind < argc ? -EINVAL : 0;
}

static int add_servers(struct servers *servers, const struct options *o)
{
	bool given = strv_length(o->dns) > 0;

	servers_init(servers, given ? NULL : o->resolv_conf, (uint16_t)o->port);
	for (char **dns = o->dns; given && *dns; dns++) {
		if (servers_add(servers, *dns) < 0) {
			log_error("--dns \"%s\" is neither an IPv4 nor an IPv6 address", *dns);
			return -EINVAL;
		}
	}
	return 0;
}

static int run(const struct options *o, struct servers *servers)
{
	struct resolver *resolver;
	struct loop *loop;
	int r = loop_new(&loop);

	if (r < 0)
		return r;
	r = resolver_new(&resolver, loop, (int)o->fd, servers);
	if (r == 0) {
		r = resolver_confine();
		if (r == 0)
			r = loop_run(loop);
		resolver_free(resolver);
	}
	loop_free(loop);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = { .fd = -1, .port = DNS_PORT, .resolv_conf = RESOLV_CONF };
	struct servers servers;
	int r;

	log_open("a3s-box-resolver");
	if (parse_options(argc, argv, &options) < 0) {
		log_error("usage: a3s-box-resolver --fd N [--dns ADDRESS]... [--resolv-conf FILE] [--port N]");
		return EXIT_USAGE;
	}
	if (add_servers(&servers, &options) < 0)
		return EXIT_USAGE;
	r = run(&options, &servers);
	strv_free(options.dns);
	if (r < 0)
		log_error("cannot go on: %s", strerror(-r));
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
