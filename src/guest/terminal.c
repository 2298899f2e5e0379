/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/own.h"

int terminal_open(struct terminal *ret)
{
	_cleanup_close_ int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0, number, slave;

	if (master < 0)
		return -errno;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	snprintf(ret->name, sizeof(ret->name), "/dev/pts/%d", number);
	ret->slave = slave;
	ret->master = take_fd(&master);
	return 0;
}

int terminal_resize(int fd, uint16_t columns, uint16_t rows)
{
	struct winsize size = { .ws_col = columns, .ws_row = rows };

	if (!columns && !rows)
		return 0;
	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
