/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "tsi/tsi_protocol.h"

#define FILE_MAX (1u << 20)
#define BLANK " \t\r"

void servers_init(struct servers *s, const char *path, uint16_t port)
{
	*s = (struct servers){ .path = path, .port = port };
}

socklen_t server_size(const union server *server)
{
	return server->any.sa_family == AF_INET ? sizeof(server->v4) : sizeof(server->v6);
}

/* A guest's name for this very process's asker: a query sent there would come back to us, if it went anywhere. */
static bool leads_back(const union server *server)
{
	uint32_t v4;

	if (server->any.sa_family == AF_INET)
		v4 = ntohl(server->v4.sin_addr.s_addr);
	else if (IN6_IS_ADDR_V4MAPPED(&server->v6.sin6_addr))
		v4 = ntohl(server->v6.sin6_addr.s6_addr32[3]);
	else
		return false;
	return v4 == TSI_ADDRESS_GUEST || v4 == TSI_ADDRESS_RESOLVER || v4 == TSI_ADDRESS_HOST;
}

/* Index of an interface by name or number, 0 when there is none. Not if_nametoindex(): that wants an AF_UNIX socket. */
static uint32_t scope_id(const char *text)
{
	_cleanup_close_ int fd = -1;
	struct ifreq request = { 0 };
	int64_t number;

	if (text_to_int(text, 1, INT32_MAX, &number) == 0)
		return (uint32_t)number;
	if (strlen(text) >= sizeof(request.ifr_name))
		return 0;
	memcpy(request.ifr_name, text, strlen(text) + 1);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return 0;
	return (uint32_t)request.ifr_ifindex;
}

static int parse_v6(const char *text, uint16_t port, union server *ret)
{
	char address[INET6_ADDRSTRLEN + IF_NAMESIZE + 1], *scope;

	if (strlen(text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, strlen(text) + 1);
	scope = strchr(address, '%');
	if (scope)
		*scope++ = '\0';
	ret->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
	if (inet_pton(AF_INET6, address, &ret->v6.sin6_addr) != 1)
		return -EINVAL;
	if (scope)
		ret->v6.sin6_scope_id = scope_id(scope);
	return scope && ret->v6.sin6_scope_id == 0 ? -EINVAL : 0;
}

int servers_add(struct servers *s, const char *text)
{
	union server server = { .v4 = { .sin_family = AF_INET, .sin_port = htons(s->port) } };

	if (inet_pton(AF_INET, text, &server.v4.sin_addr) != 1) {
		int r = parse_v6(text, s->port, &server);

		if (r < 0)
			return r;
	}
	if (s->n < RESOLVER_SERVERS_MAX && !leads_back(&server))
		s->list[s->n++] = server;
	return 0;
}

/* resolv.conf(5): "nameserver", white space, address; the keyword must begin the line. */
static void parse_file(struct servers *s, char *text)
{
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		char *save, *word = line[0] == 'n' ? strtok_r(line, BLANK, &save) : NULL;

		if (!word || strcmp(word, "nameserver") != 0)
			continue;
		word = strtok_r(NULL, BLANK, &save);
		if (word && servers_add(s, word) < 0)
			log_peer(LOG_LEVEL_WARN, "%s: nameserver \"%.64s\" is no address of this host's networks", s->path, word);
	}
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void servers_refresh(struct servers *s)
{
	_cleanup_free_ char *text = NULL;
	struct stat now;
	size_t size;

	if (!s->path)
		return;
	if (stat(s->path, &now) < 0)
		now = (struct stat){ 0 };
	if (s->loaded && !s->recent && same_file(&now, &s->seen))
		return;
	s->n = 0;
	s->seen = now;
	s->loaded = true;
	s->recent = now.st_ino != 0 && time(NULL) - now.st_ctim.tv_sec <= 1;
	if (io_read_file(s->path, FILE_MAX, &text, &size) == 0)
		parse_file(s, text);
	if (s->n == 0)
		(void)servers_add(s, "127.0.0.1"); /* what resolv.conf(5) promises when it names none */
}
