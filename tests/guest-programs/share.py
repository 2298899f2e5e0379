#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""T11: one connection in many hands, in a box and, as a control, where the product runs. Output as net.py's.

share.py HOST    tests/lib/outside.py serves there
"""
import os
import select
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
import net  # noqa: E402  (its checks are counted there)
from net import LIMIT, check, connect, equal  # noqa: E402

ECHO, HOLD = 7, 83


def echo(s, data):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        part = s.recv(len(data) - len(got))
        if not part:
            break
        got += part
    return got


def duplicated(host):
    s = connect(host, ECHO)
    other = s.dup()
    other.settimeout(LIMIT)
    s.close()
    equal("T11 dup: lives on after the first is closed", echo(other, b"dup"), b"dup")
    third = socket.socket(fileno=os.dup(other.fileno()))
    third.settimeout(LIMIT)
    third.shutdown(socket.SHUT_WR)
    equal("T11 dup: a shutdown is everybody's", other.recv(10), b"")


def forked(host):
    s = connect(host, ECHO)
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(w, echo(s, b"child"))
        os._exit(0)
    os.waitpid(child, 0)
    equal("T11 fork: the child uses it", os.read(r, 100), b"child")
    equal("T11 fork: its end leaves the connection alone", echo(s, b"parent"), b"parent")
    child = os.fork()
    if child == 0:
        os.write(w, echo(s, b"orphan"))
        os._exit(0)
    s.close()
    equal("T11 fork: lives on after the parent closes", os.read(r, 100), b"orphan")
    os.waitpid(child, 0)


def executed(host):
    s = connect(host, ECHO)
    s.settimeout(None)
    program = "import os,sys; s=int(sys.argv[1]); os.write(s, b'exec'); print(os.read(s, 100).decode(), end='')"
    done = subprocess.run([sys.executable, "-c", program, str(s.fileno())], pass_fds=[s.fileno()], stdout=subprocess.PIPE,
                          timeout=LIMIT * 3, check=False)
    equal("T11 exec: another program goes on with it", done.stdout, b"exec")
    equal("T11 exec: and it goes on here", echo(s, b"back"), b"back")


def passed(host):
    a, b = socket.socketpair()
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        _, fds, _, _ = socket.recv_fds(b, 10, 1)
        s = socket.socket(fileno=fds[0])
        s.settimeout(LIMIT)
        peer = s.getpeername()
        os.write(w, echo(s, b"passed") + b" %d" % peer[1])
        os._exit(0)
    s = connect(host, ECHO)
    socket.send_fds(a, [b"fd"], [s.fileno()])
    s.close()
    equal("T11 SCM_RIGHTS: the receiver uses it, the sender's is closed", os.read(r, 100), b"passed 7")
    os.waitpid(child, 0)
    s = connect(host, HOLD)
    socket.send_fds(a, [b"fd"], [s.fileno()])  # nobody takes it: it must close with the pair
    print("unclaimed", s.getsockname()[1], flush=True)
    s.close()
    a.close()
    b.close()


def many_hands(host):
    """A thread sleeps in recv; others send, poll, ask for names and options on the same socket, and all get on."""
    s = connect(host, ECHO)
    s.settimeout(None)
    rounds, size, done, got = 300, 100, [], bytearray()

    def read():
        while len(got) < 2 * rounds * size:
            got.extend(s.recv(65536))
        done.append("reader")

    def send():
        for _ in range(rounds):
            s.sendall(b"s" * size)
        done.append("sender")

    def ask():
        names = {(s.getsockname(), s.getpeername(), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) for _ in range(rounds)}
        done.append("asker" if len(names) == 1 else names)

    def wait():
        for _ in range(rounds):
            select.select([], [s], [], LIMIT)
        done.append("poller")

    def share():
        for _ in range(rounds):
            s.dup().close()
        done.append("sharer")

    run_all([read, send, send, ask, wait, share])
    equal("T11 threads: every one of them gets on", sorted(map(str, done)), ["asker", "poller", "reader", "sender", "sender", "sharer"])
    equal("T11 threads: every byte came back", len(got), 2 * rounds * size)


def asleep_in_recv(host):
    s = connect(host, HOLD)
    s.settimeout(None)
    woken, busy = [], connect(host, ECHO)
    sleeper = threading.Thread(target=lambda: woken.append(s.recv(10)))
    sleeper.start()
    for _ in range(100):
        s.sendall(b"x" * 1000)
        s.getsockname()
        select.select([], [s], [], LIMIT)
    equal("T11 one sleeps in recv: the same socket is sent on, and another works", echo(busy, b"work"), b"work")
    check("T11 one sleeps in recv: it does", not woken, woken)
    s.shutdown(socket.SHUT_RD)
    sleeper.join(LIMIT)
    equal("T11 one sleeps in recv: shutdown wakes it", woken, [b""])
    other = connect(host, HOLD)
    other.settimeout(None)
    sleeper = threading.Thread(target=lambda fd=other.fileno(): woken.append(select.select([fd], [], [], 0.5)))
    sleeper.start()
    other.close()
    sleeper.join(LIMIT)
    check("T11 one closes what another polls: both get on", not sleeper.is_alive())


def run_all(functions):
    threads = [threading.Thread(target=f, daemon=True) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join(LIMIT * 3)


def main():
    for function in (duplicated, forked, executed, passed, many_hands, asleep_in_recv):
        function(sys.argv[1])
    return 1 if net.failures else 0


if __name__ == "__main__":
    sys.exit(main())
