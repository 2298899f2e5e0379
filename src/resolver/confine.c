/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to the program once it runs: internet sockets, reading files (resolv.conf may be anywhere), memory, its
 * event loop. No new program, no file written, no other kind of socket. What is not allowed fails with EPERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "resolver/resolver.h"

#define NOBODY 65534u
#define SOCK_TYPE_MASK 0xfu

static const int allowed[] = {
	SCMP_SYS(epoll_wait),	 SCMP_SYS(epoll_pwait),	 SCMP_SYS(epoll_ctl),	    SCMP_SYS(recvfrom),	  SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),	 SCMP_SYS(sendmsg),	 SCMP_SYS(connect),	    SCMP_SYS(read),	  SCMP_SYS(write),
	SCMP_SYS(close),	 SCMP_SYS(fstat),	 SCMP_SYS(newfstatat),	    SCMP_SYS(fcntl),	  SCMP_SYS(munmap),
	SCMP_SYS(mremap),	 SCMP_SYS(brk),		 SCMP_SYS(madvise),	    SCMP_SYS(getrandom),  SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),	 SCMP_SYS(time),	 SCMP_SYS(getpid),	    SCMP_SYS(gettid),	  SCMP_SYS(futex),
	SCMP_SYS(rt_sigreturn),	 SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(tgkill),	 SCMP_SYS(stat),	 SCMP_SYS(sigaltstack), /* the last for builds with sanitizers */
};

static int allow_socket(scmp_filter_ctx ctx, int family, int type)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family),
				SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_TYPE_MASK, (scmp_datum_t)type));
}

static int allow_with_arguments(scmp_filter_ctx ctx)
{
	const scmp_datum_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, SIOCGIFINDEX));
	for (unsigned i = 0; i < 4 && r == 0; i++)
		r = allow_socket(ctx, i & 1 ? AF_INET6 : AF_INET, i & 2 ? SOCK_STREAM : SOCK_DGRAM);
	return r;
}

static int load_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? 0 : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_SIZE(allowed) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = allow_with_arguments(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static int drop_identity(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

int resolver_confine(void)
{
	int r = drop_identity();

	if (r < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return load_filter();
}
