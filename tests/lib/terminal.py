#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command on a terminal, as a person at it would.

terminal.py ROWSxCOLUMNS STEP... -- COMMAND...
    expect:REGEX    wait (A3S_LIMIT seconds) until the output since the last expect matches
    send:TEXT       type it; \\x10 and the like are understood
    resize:RxC      the window changes
    end             wait for the command to end; its exit status becomes ours
Everything printed goes to standard output, with carriage returns removed. A step that fails: status 99 and what was seen.
"""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

LIMIT = float(os.environ.get("A3S_LIMIT", "120"))


def set_size(fd, size):
    rows, columns = map(int, size.split("x"))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read(fd, seconds):
    """What comes within so many seconds; None at the end."""
    if not select.select([fd], [], [], seconds)[0]:
        return b""
    try:
        return os.read(fd, 65536) or None
    except OSError:
        return None


def main():
    split = sys.argv.index("--")
    size, steps, command = sys.argv[1], sys.argv[2:split], sys.argv[split + 1:]
    pid, fd = pty.fork()
    if pid == 0:
        signal.alarm(0)
        set_size(0, size)
        os.execvp(command[0], command)
    set_size(fd, size)
    seen, mark, over = b"", 0, False
    end = time.monotonic() + LIMIT

    def until(done):
        nonlocal seen, over
        while not done():
            data = b"" if over else read(fd, max(0.0, end - time.monotonic()))
            if data is None:
                over = True
                return done()
            if not data:
                return False
            seen += data
        return True

    status = None
    for step in steps:
        word, _, rest = step.partition(":")
        if word == "expect":
            if not until(lambda: re.search(rest.encode(), seen[mark:])):
                sys.stdout.write(seen.decode(errors="replace").replace("\r", ""))
                print(f"\nterminal: nothing like /{rest}/ in what came after {mark} bytes; ended: {over}")
                os.kill(pid, signal.SIGKILL)
                return 99
            mark += re.search(rest.encode(), seen[mark:]).end()
        elif word == "send":
            os.write(fd, codecs.decode(rest, "unicode_escape").encode("latin-1"))
        elif word == "resize":
            set_size(fd, rest)
            os.kill(pid, signal.SIGWINCH)
        elif word == "end":
            until(lambda: False)
            status = 0
    sys.stdout.write(seen.decode(errors="replace").replace("\r", ""))
    if status is None or not over:
        os.kill(pid, signal.SIGKILL)
    _, result = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(result) % 256 if over else 98


sys.exit(main())
