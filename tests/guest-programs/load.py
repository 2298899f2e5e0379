#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many connections from one process, in a box or outside of it. Ports are those of tests/lib/outside.py.

load.py echo ADDRESS PORT           an echo server for any number of connections, until SIGTERM
load.py hold HOST PORT COUNT        opens COUNT connections, sends and reads on each, prints "holding", and when its standard
                                    input ends sends and reads again on each, and closes them
load.py sequence COUNT HOST...      COUNT connections to the echo port of these, one after the other: a byte each way
load.py busy HOST COUNT SECONDS     COUNT connections echo all the time; after SECONDS three stalled ones join: a reader that
                                    stops, a peer that stops, an echo of which nothing is read; after as long, the
                                    stalled ones resume; every byte is checked
load.py objects                     sockets in this kernel, by kind (root)
"""
import collections
import errno
import resource
import select
import signal
import socket
import sys
import time

LIMIT = 120.0  # seconds without any progress until a run counts as hung
BLOCK = bytes(range(251)) * 1044  # as tests/lib/outside.py sends
WINDOW = 200  # connects under way at a time: a listener's queue is finite


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connect(host, port):
    s = socket.socket(family_of(host))
    s.settimeout(LIMIT)
    s.connect((host, port))
    return s


def start_connect(host, port):
    s = socket.socket(family_of(host))
    s.setblocking(False)
    error = s.connect_ex((host, port))
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, "connect")
    return s


def die(*words):
    print("not ok", *words, flush=True)
    sys.exit(1)


# --- an echo server

def case_echo(address, port):
    listener = socket.socket(family_of(address))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    listener.listen(4096)
    listener.setblocking(False)
    poll, clients = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    print("listening", flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                accept_all(listener, poll, clients)
                continue
            s, data = clients[fd], b""
            try:
                data = s.recv(65536)
                s.sendall(data)
            except OSError:
                pass
            if not data:
                del clients[fd]
                s.close()


def accept_all(listener, poll, clients):
    try:
        while True:
            s, _ = listener.accept()
            s.settimeout(LIMIT)
            clients[s.fileno()] = s
            poll.register(s, select.EPOLLIN)
    except BlockingIOError:
        pass


# --- T20

def open_many(host, port, count):
    """Connections, a window of them under way at a time."""
    poll, under_way, done = select.epoll(), {}, []
    while len(done) < count:
        while len(under_way) < WINDOW and len(under_way) + len(done) < count:
            s = start_connect(host, port)
            under_way[s.fileno()] = s
            poll.register(s, select.EPOLLOUT)
        events = poll.poll(LIMIT)
        if not events:
            die("connects stall after", len(done))
        for fd, _ in events:
            s = under_way.pop(fd)
            error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                die("connect", len(done), errno.errorcode[error])
            poll.unregister(s)
            done.append(s)
    return done


def exchange_on_all(sockets, word):
    """Its own number over each and back: all are sent before the first is read."""
    poll, waiting = select.epoll(), {}
    for i, s in enumerate(sockets):
        message = f"{word} {i:6}".encode()
        s.send(message)
        waiting[s.fileno()] = (s, message)
        poll.register(s, select.EPOLLIN)
    while waiting:
        events = poll.poll(LIMIT)
        if not events:
            die(len(waiting), "connections stall")
        for fd, _ in events:
            s, message = waiting.pop(fd)
            got = s.recv(1000)
            if got != message:
                die("got", got, "instead of", message)
            poll.unregister(s)


def case_hold(host, port, count):
    sockets = open_many(host, int(port), int(count))
    names = {s.getsockname() for s in sockets}
    if len(names) != len(sockets):
        die(len(names), "names of", len(sockets), "connections")
    exchange_on_all(sockets, "first")
    print("holding", len(sockets), flush=True)
    sys.stdin.read()
    exchange_on_all(sockets, "second")
    for s in sockets:
        s.close()
    print("good", len(sockets), flush=True)


def case_sequence(count, *hosts):
    for i in range(int(count)):
        s = connect(hosts[i % len(hosts)], 7)
        byte = bytes([i % 256])
        s.send(byte)
        if s.recv(10) != byte:
            die("connection", i)
        s.close()
    print("good", count, flush=True)


def case_objects():
    """A line "KIND COUNT" for sockets of each kind; free ones that a CPU keeps at hand are counted as well."""
    with open("/proc/slabinfo", encoding="ascii") as f:
        for line in f:
            word = line.split()
            if word[0] in ("AF_VSOCK", "TCP", "TCPv6", "sock_inode_cache"):
                print(word[0], word[1], flush=True)


# --- T08

class Busy:
    """One connection that always has a message under way, and when it last made progress."""
    MESSAGE = b"m" * 512

    def __init__(self, host):
        self.s, self.rounds, self.missing, self.last, self.longest = connect(host, 7), 0, 0, time.monotonic(), 0.0
        self.s.setblocking(False)
        self.send()

    def send(self):
        self.s.send(self.MESSAGE)
        self.missing = len(self.MESSAGE)

    def ready(self, now):
        data = self.s.recv(4096)
        if not data:
            die("a busy connection ended")
        self.longest, self.last = max(self.longest, now - self.last), now
        self.missing -= len(data)
        if self.missing == 0:
            self.rounds += 1
            self.send()


def run_busy(busy, poll, seconds):
    """The longest time that one of them went without progress, and how many rounds they made."""
    started = now = time.monotonic()
    for b in busy:
        b.rounds, b.longest, b.last = 0, 0.0, now
    by_fd = {b.s.fileno(): b for b in busy}
    while now < started + seconds:
        events = poll.poll(1)
        now = time.monotonic()
        for fd, _ in events:
            by_fd[fd].ready(now)
    return max(max(b.longest, now - b.last) for b in busy), sum(b.rounds for b in busy), min(b.rounds for b in busy)


class Stalled:
    """Three ways of not reading. What was sent and not read yet is counted, and checked when reading goes on."""
    SOURCE = 32 << 20

    def __init__(self, host):
        self.reader = connect(host, 19)  # the peer sends, we do not read
        self.reader.sendall(b"%d\n" % self.SOURCE)
        self.writer = connect(host, 86)  # we send, the peer does not read
        self.echo = connect(host, 7)  # what comes back is not read
        self.sent = collections.Counter()

    def fill(self):
        """Until neither takes any more: nothing for a second."""
        for s in (self.writer, self.echo):
            s.setblocking(False)
        poll = select.epoll()
        poll.register(self.writer, select.EPOLLOUT)
        poll.register(self.echo, select.EPOLLOUT)
        while events := poll.poll(1):
            for fd, _ in events:
                s = self.writer if fd == self.writer.fileno() else self.echo
                at = self.sent[s] % len(BLOCK)
                self.sent[s] += s.send(BLOCK[at:at + 65536])
                if self.sent[s] > 64 << 20:
                    die("a stalled connection takes bytes without bound")

    @staticmethod
    def drain(s, count):
        s.settimeout(LIMIT)
        got = 0
        while got < count:
            data = s.recv(min(1 << 18, count - got))
            at = got % len(BLOCK)
            if not data or data != (BLOCK + BLOCK)[at:at + len(data)]:
                die("lost or changed at", got, "of", count)
            got += len(data)

    def resume(self):
        self.drain(self.reader, self.SOURCE)
        self.drain(self.echo, self.sent[self.echo])
        self.echo.setblocking(True)
        self.echo.sendall(b"again")
        if self.echo.recv(100) != b"again":
            die("the echo does not go on")


def case_busy(host, count, seconds):
    busy = [Busy(host) for _ in range(int(count))]
    poll = select.epoll()
    for b in busy:
        poll.register(b.s, select.EPOLLIN)
    gap, rounds, least = run_busy(busy, poll, float(seconds))
    print(f"alone: longest gap {gap:.3f} s, {rounds} rounds, at least {least} each", flush=True)
    stalled = Stalled(host)
    stalled.fill()
    print("stalled", flush=True)
    with_gap, rounds, least = run_busy(busy, poll, float(seconds))
    print(f"beside stalled ones: longest gap {with_gap:.3f} s, {rounds} rounds, at least {least} each", flush=True)
    if least < 1 or with_gap > gap + 1.0:
        die("a connection made no progress for", with_gap)
    stalled.resume()
    run_busy(busy, poll, 0.5)
    print("good", flush=True)


def main():
    function = globals().get("case_" + sys.argv[1])
    if not function:
        sys.exit(__doc__)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    function(*sys.argv[2:])


if __name__ == "__main__":
    main()
