/* SPDX-License-Identifier: Apache-2.0 */
/* usage: resolve-musl NAME: all addresses that musl's resolver finds, one a line. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *a;
	int r = argc == 2 ? getaddrinfo(argv[1], 0, &hints, &found) : EAI_NONAME;

	if (r) {
		printf("%s\n", gai_strerror(r));
		return 1;
	}
	for (a = found; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN];
		const void *address = a->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr :
								(const void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;

		puts(inet_ntop(a->ai_family, address, text, sizeof(text)));
	}
	freeaddrinfo(found);
	return 0;
}
