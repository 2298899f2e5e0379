#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of sockets, run in a box and, as a control, where the product runs: plain Linux must pass them too.

net.py CASE [ARGUMENT...]     one line per check, "ok ..." or "not ok ...: what was seen"; exit status 1 when one failed
"""
import array
import ctypes
import errno
import fcntl
import hashlib
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

LIMIT = 20.0  # seconds until a wait counts as hung
failures = 0
BLOCK = bytes(range(251)) * 1044  # as tests/lib/outside.py sends


def check(name, good, seen=""):
    global failures
    if not good:
        failures += 1
    print(f"ok {name}" if good else f"not ok {name}: {seen}", flush=True)
    return good


def equal(name, got, want):
    return check(name, got == want, f"got {got!r}, expected {want!r}")


def name_of(error):
    return errno.errorcode.get(error, str(error)) if error else "0"


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def new(host, kind=socket.SOCK_STREAM):
    s = socket.socket(family_of(host), kind)
    s.settimeout(LIMIT)
    return s


def connect(host, port):
    s = new(host)
    s.connect((host, port))
    return s


def read_all(s):
    parts = []
    while data := s.recv(1 << 18):
        parts.append(data)
    return b"".join(parts)


# --- T02

def case_send(host, count):
    """So many bytes out; the server answers with their number and digest."""
    left, digest, s = int(count), hashlib.sha256(), connect(host, 9)
    while left > 0:
        block = os.urandom(min(left, 65536)) * min(16, -(-left // 65536))
        block = block[:left]
        digest.update(block)
        s.sendall(block)
        left -= len(block)
    s.shutdown(socket.SHUT_WR)
    equal(f"T02 {count} bytes out to {host}", read_all(s).decode().split(), [count, digest.hexdigest()])


def case_receive(host, count):
    s, total = connect(host, 19), int(count)
    s.sendall(b"%d\n" % total)
    got, want, left = hashlib.sha256(), hashlib.sha256(), total
    while left > 0:
        want.update(BLOCK[:left])
        left -= len(BLOCK)
    seen = 0
    while data := s.recv(1 << 18):
        got.update(data)
        seen += len(data)
    equal(f"T02 {count} bytes in from {host}", (seen, got.hexdigest()), (total, want.hexdigest()))


# --- T03

def case_errors(*targets):
    """Prints what connect says for each "host/port": the caller compares with plain Linux. A non-blocking connect may say
    EINPROGRESS where Linux knows at once (no route): what counts is the error that the program ends up with."""
    for target in targets:
        host, port = target.rsplit("/", 1)
        s = new(host)
        s.settimeout(None)
        started = time.monotonic()
        error = s.connect_ex((host, int(port)))
        kind = "at once" if time.monotonic() - started < 1.0 else "later"
        print(target, name_of(error), kind, flush=True)
        s.close()
        s = new(host)
        s.setblocking(False)
        first = s.connect_ex((host, int(port)))
        _, writable, _ = select.select([], [s], [], 30)
        late = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        print(target, "non-blocking", bool(writable), name_of(late if first == errno.EINPROGRESS else first), flush=True)
        s.close()


# --- T04

def disconnect(s):
    """connect() to AF_UNSPEC, for which Python has no word."""
    return ctypes.CDLL(None, use_errno=True).connect(s.fileno(), bytes(16), 16)


def pending(hole):
    s = socket.socket(family_of(hole))
    s.setblocking(False)
    equal("T04 non-blocking connect", name_of(s.connect_ex((hole, 80))), "EINPROGRESS")
    return s


def failing(label, want, action):
    try:
        check(label, False, f"no error, {action()!r}")
    except OSError as e:
        equal(label, name_of(e.errno), want)


def case_pending(host, hole):
    """What may be done with a socket that is being connected, and that it holds up nobody else."""
    s = pending(hole)
    equal("T04 connect again", name_of(s.connect_ex((hole, 80))), "EALREADY")
    equal("T04 SO_ERROR", s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
    equal("T04 no event", select.select([s], [s], [], 0.1), ([], [], []))
    failing("T04 getpeername", "ENOTCONN", s.getpeername)
    failing("T04 send", "EAGAIN", lambda: s.send(b"x"))
    failing("T04 recv", "EAGAIN", lambda: s.recv(1))
    started = time.monotonic()
    other = connect(host, 7)
    other.sendall(b"other")
    equal("T04 another connection", other.recv(10), b"other")
    check("T04 it was not delayed", time.monotonic() - started < 1.0, time.monotonic() - started)
    equal("T04 disconnect", disconnect(s), 0)
    s.settimeout(None)  # with a timeout, Python's connect() is a non-blocking one and a wait
    equal("T04 connect elsewhere", s.connect_ex((host, 7)), 0)
    equal("T04 connect once more", name_of(s.connect_ex((host, 7))), "EISCONN")
    s.sendall(b"same")
    equal("T04 and it works", s.recv(10), b"same")

    s = socket.socket(family_of(hole))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 100000))
    equal("T04 SO_SNDTIMEO", name_of(s.connect_ex((hole, 80))), "EINPROGRESS")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    signal.signal(signal.SIGALRM, lambda *_: None)
    libc = ctypes.CDLL(None, use_errno=True)
    name = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(80), socket.inet_aton(hole))
    s = socket.socket()
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    check("T04 a signal", libc.connect(s.fileno(), name, 16) == -1 and ctypes.get_errno() == errno.EINTR, name_of(ctypes.get_errno()))
    s.setblocking(False)
    equal("T04 the connect goes on", name_of(s.connect_ex((hole, 80))), "EALREADY")


def case_abandon(way, hole):
    """Gives up on a connect that nobody answers, says so, and lives on."""
    if way == "killed":
        print("connecting", flush=True)
        socket.create_connection((hole, 80))
    elif way == "timeout":
        try:
            socket.create_connection((hole, 80), 0.3)
        except TimeoutError:
            pass
    else:
        s = pending(hole)
        {"close": s.close, "disconnect": lambda: disconnect(s), "shutdown": lambda: s.shutdown(socket.SHUT_WR)}[way]()
    print("gave up", flush=True)
    sys.stdin.read()


# --- T05

class Waiter:
    """One way of waiting for events, each with the same few words: r readable, w writable, e error or hang-up, h peer's FIN."""

    def __init__(self, kind):
        self.kind = kind
        if kind.startswith("epoll"):
            self.epoll = select.epoll()
        elif kind == "poll":
            self.poll = select.poll()

    def flags(self, words):
        bits = sum({"r": select.EPOLLIN, "w": select.EPOLLOUT, "h": select.EPOLLRDHUP}.get(w, 0) for w in words)
        return bits | {"epoll-et": select.EPOLLET, "epoll-oneshot": select.EPOLLONESHOT}.get(self.kind, 0)

    def watch(self, s, words):
        self.s, self.words = s, words
        if self.kind.startswith("epoll"):
            self.epoll.register(s, self.flags(words))
        elif self.kind == "poll":
            self.poll.register(s, self.flags(words))

    def change(self, words):
        self.words = words
        if self.kind.startswith("epoll"):
            self.epoll.modify(self.s, self.flags(words))
        elif self.kind == "poll":
            self.poll.modify(self.s, self.flags(words))

    def wait(self, seconds=LIMIT):
        if self.kind == "select":
            r, w, _ = select.select([self.s] if "r" in self.words else [], [self.s] if "w" in self.words else [], [], seconds)
            return ("r" if r else "") + ("w" if w else "")
        events = self.epoll.poll(seconds) if self.kind.startswith("epoll") else self.poll.poll(seconds * 1000)
        bits = events[0][1] if events else 0
        return "".join(word for word, bit in (("r", select.EPOLLIN), ("w", select.EPOLLOUT), ("h", select.EPOLLRDHUP),
                                              ("e", select.EPOLLERR | select.EPOLLHUP)) if bits & bit)

    def wait_for(self, word):
        """Wait until `word` is among the events; an event that does not have it is taken and the wait goes on."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            got = self.wait(max(0.0, end - time.monotonic()))
            if word in got:
                return got
            if not got:
                break
        return ""


def one_event_run(kind, before, host):
    label = f"T05 {kind}, registered {'before' if before else 'after'} connect, {host}"
    s = socket.socket(family_of(host), socket.SOCK_STREAM)
    s.setblocking(False)
    w = Waiter(kind)
    words = "rwh" if kind != "select" else "rw"
    if before:
        w.watch(s, words)
    error = s.connect_ex((host, 7))
    if not check(label + ": connect starts", error in (0, errno.EINPROGRESS), name_of(error)):
        return
    if not before:
        w.watch(s, words)
    elif kind == "epoll-oneshot":
        w.change(words)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:  # an unconnected socket counts as hung up and writable: wait for the connection itself
        w.wait_for("w")
        try:
            s.getpeername()
            break
        except OSError:
            if kind == "epoll-oneshot":
                w.change(words)
    equal(label + ": SO_ERROR", s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
    rounds = 0
    for i in range(50):
        w.change("r" if kind == "select" else "rh")
        message = b"%d" % i
        s.send(message)
        if "r" not in w.wait_for("r"):
            break
        if s.recv(100) != message:
            break
        rounds += 1
    equal(label + ": rounds without a missed wake-up", rounds, 50)
    try:
        s.recv(1)
        check(label + ": nothing more to read", False, "read something")
    except BlockingIOError:
        check(label + ": nothing more to read", True)
    w.change("r" if kind == "select" else "rh")
    s.shutdown(socket.SHUT_WR)
    got = w.wait_for("r")
    check(label + ": the peer's end", "r" in got and (kind == "select" or "h" in got), got)
    equal(label + ": end of file", s.recv(10), b"")
    s.close()


def edge_only_once(host):
    s = connect(host, 7)
    s.setblocking(False)
    e = select.epoll()
    e.register(s, select.EPOLLIN | select.EPOLLET)
    s.send(b"abcdef")
    equal("T05 edge: first event", len(e.poll(LIMIT)), 1)
    s.recv(2)
    equal("T05 edge: none for what is left", e.poll(0.2), [])
    s.send(b"ghi")
    equal("T05 edge: one for what comes", len(e.poll(LIMIT)), 1)
    s.close()


def one_shot_is_one(host):
    s = connect(host, 7)
    e = select.epoll()
    e.register(s, select.EPOLLIN | select.EPOLLONESHOT)
    s.send(b"abc")
    equal("T05 one shot: first event", len(e.poll(LIMIT)), 1)
    equal("T05 one shot: no second", e.poll(0.2), [])
    e.modify(s, select.EPOLLIN | select.EPOLLONESHOT)
    equal("T05 one shot: again after re-arming", len(e.poll(LIMIT)), 1)
    s.close()


def exclusive_wakes_one_at_least(host):
    s = connect(host, 7)
    polls = [select.epoll(), select.epoll()]
    for e in polls:
        e.register(s, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    s.send(b"x")
    woken = []
    threads = [threading.Thread(target=lambda e=e: woken.append(len(e.poll(2)))) for e in polls]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("T05 exclusive: somebody woke", sum(woken) >= 1, woken)
    s.close()


def poller_woken_from_elsewhere(host):
    """A thread sleeps in poll while another connects and sends: the sleeper must hear of it."""
    s = socket.socket(family_of(host), socket.SOCK_STREAM)
    s.setblocking(False)
    e = select.epoll()
    e.register(s, select.EPOLLIN)
    seen = []

    def sleeper():
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and not seen:
            for _, bits in e.poll(LIMIT):
                if bits & select.EPOLLIN:
                    seen.append(s.recv(10))

    t = threading.Thread(target=sleeper)
    t.start()
    s.connect_ex((host, 7))
    select.select([], [s], [], LIMIT)
    s.send(b"wake")
    t.join()
    equal("T05 a sleeper in epoll_wait hears of a later connect", seen, [b"wake"])
    s.close()


def refused_event(host):
    for kind in ("epoll", "poll", "select"):
        s = socket.socket(family_of(host), socket.SOCK_STREAM)
        s.setblocking(False)
        w = Waiter(kind)
        error = s.connect_ex((host, 1))
        w.watch(s, "rw")
        got = w.wait()
        late = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        check(f"T05 {kind}: a refused connect is an event", bool(got) and errno.ECONNREFUSED in (error, late), (got, name_of(error), name_of(late)))
        s.close()


def case_events(*hosts):
    for host in hosts:
        for kind in ("epoll", "epoll-et", "epoll-oneshot", "poll", "select"):
            for before in (True, False):
                one_event_run(kind, before, host)
    host = hosts[0]
    edge_only_once(host)
    one_shot_is_one(host)
    exclusive_wakes_one_at_least(host)
    poller_woken_from_elsewhere(host)
    refused_event(host)


# --- T07

def case_close(host):
    data = os.urandom(200000)
    s = connect(host, 7)
    sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    sender.start()
    equal("T07 our half-close: everything comes back, then EOF", hashlib.sha256(read_all(s)).hexdigest(), hashlib.sha256(data).hexdigest())
    sender.join()
    s.close()

    s = connect(host, 82)
    equal("T07 peer's half-close: data, then EOF", read_all(s), b"hello\n")
    s.sendall(b"x" * 5000)
    print("port", s.getsockname()[1], flush=True)
    s.close()

    s = connect(host, 79)
    s.recv(100)
    started = time.monotonic()
    equal("T07 peer closes: EOF", s.recv(10), b"")
    check("T07 peer closes: EOF at once", time.monotonic() - started < 1.0, time.monotonic() - started)
    s.close()

    s = connect(host, 79)
    read_all(s)
    s.send(b"too late")
    poller = select.poll()
    poller.register(s, 0)
    check("T07 a reset behind the end is seen", poller.poll(LIMIT * 1000), "nothing")
    try:
        equal("T07 a reset behind the end: readers see the end", s.recv(10), b"")
    except OSError as e:
        check("T07 a reset behind the end: readers see the end", False, name_of(e.errno))
    try:
        s.send(b"x")
        check("T07 a reset behind the end: writers see it", False, "no error")
    except OSError as e:
        equal("T07 a reset behind the end: writers see it", name_of(e.errno), "EPIPE")
    s.close()

    s = connect(host, 81)
    s.sendall(b"x")
    try:
        equal("T07 RST", s.recv(10), "ECONNRESET")
    except OSError as e:
        equal("T07 RST", name_of(e.errno), "ECONNRESET")
    try:
        equal("T07 after RST: EOF", s.recv(10), b"")
    except OSError as e:
        check("T07 after RST: EOF", False, name_of(e.errno))
    try:
        s.send(b"x")
        check("T07 send after RST", False, "no error")
    except OSError as e:
        equal("T07 send after RST", name_of(e.errno), "EPIPE")
    s.close()

    s = connect(host, 83)
    print("aborted", s.getsockname()[1], flush=True)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    s = connect(host, 83)
    print("closed", s.getsockname()[1], flush=True)
    s.close()
    close_lingers(host)


def close_lingers(host):
    s = connect(host, 86)  # which never reads
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
    s.setblocking(False)
    while select.select([], [s], [], 0.5)[1]:  # until all that is between the two is full
        s.send(bytes(65536))
    started = time.monotonic()
    s.close()
    check("T07 SO_LINGER: close waits for the peer, as long as it is told to", 0.9 < time.monotonic() - started < LIMIT, time.monotonic() - started)
    s = connect(host, 9)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    s.sendall(bytes(300000))
    started = time.monotonic()
    s.close()
    check("T07 SO_LINGER: close returns when the peer has everything", time.monotonic() - started < LIMIT, time.monotonic() - started)


# --- T12

def tcp_pair(address):
    listener = socket.socket(family_of(address), socket.SOCK_STREAM)
    listener.settimeout(LIMIT)
    listener.bind((address, 0))
    listener.listen()
    client = new(address)
    client.connect((address, listener.getsockname()[1]))
    server, peer = listener.accept()
    return listener, client, server, peer


def case_loopback():
    for address in ("127.0.0.1", "127.8.9.10", "::1"):
        listener, client, server, peer = tcp_pair(address)
        equal(f"T12 {address}: the peer's address", peer[:2], client.getsockname()[:2])
        client.sendall(b"over")
        equal(f"T12 {address}: data", server.recv(10), b"over")
        for s in (listener, client, server):
            s.close()
        a, b = new(address, socket.SOCK_DGRAM), new(address, socket.SOCK_DGRAM)
        a.bind((address, 0))
        b.sendto(b"datagram", a.getsockname())
        data, source = a.recvfrom(100)
        equal(f"T12 {address}: datagram", data, b"datagram")
        a.sendto(b"back", source)
        equal(f"T12 {address}: answer", b.recvfrom(100)[0], b"back")
    refused = new("127.0.0.1")
    equal("T12 nobody listens: refused", name_of(refused.connect_ex(("127.0.0.1", 9))), "ECONNREFUSED")
    own = socket.gethostbyname(socket.gethostname())
    listener = new(own)
    listener.bind(("0.0.0.0", 0))
    listener.listen()
    client = connect(own, listener.getsockname()[1])
    equal(f"T12 own host name ({own}): the peer's address", listener.accept()[1], client.getsockname())
    reuse_port()
    unix_sockets()
    n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    n.send(struct.pack("=IHHII", 20, 18, 0x301, 1, 0) + b"\0\0\0\0")  # RTM_GETLINK, dump
    check("T12 netlink answers", len(n.recv(65536)) > 100)


def reuse_port():
    listeners = []
    port = 0
    for _ in range(2):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", port))
        port = s.getsockname()[1]
        s.listen(64)
        listeners.append(s)
    clients = [connect("127.0.0.1", port) for _ in range(40)]
    counts = []
    for s in listeners:
        s.setblocking(False)
        n = 0
        try:
            while True:
                s.accept()
                n += 1
        except BlockingIOError:
            counts.append(n)
    check("T12 SO_REUSEPORT shares among listeners", sum(counts) == 40 and min(counts) > 0, counts)
    for s in clients + listeners:
        s.close()


def unix_sockets():
    a, b = socket.socketpair()
    a.send(b"pair")
    equal("T12 unix pair", b.recv(10), b"pair")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("\0abstract")
    c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    c.sendto(b"unix", "\0abstract")
    equal("T12 unix datagram", s.recv(10), b"unix")
    socket.send_fds(a, [b"fd"], [s.fileno()])
    equal("T12 a descriptor passed", len(socket.recv_fds(b, 10, 1)[1]), 1)


# --- T22

def case_interrupt(host):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    signal.signal(signal.SIGALRM, ring)
    s = connect(host, 83)
    s.settimeout(None)
    for label, action in (("recv", lambda: s.recv(1)), ("poll", lambda: select.select([s], [], []))):
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            action()
            check(f"T22 {label} is interrupted", False, "it returned")
        except Alarm:
            check(f"T22 {label} is interrupted", True)
    s.sendall(b"still works")
    listener = socket.socket()
    listener.bind(("0.0.0.0", 0))
    listener.listen()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        listener.accept()
    except Alarm:
        check("T22 accept is interrupted", True)


def case_hold(host):
    s = connect(host, 83)
    s.settimeout(None)
    print("holding", s.getsockname()[1], flush=True)
    s.recv(1)


# --- UDP, names, S06, T28

def case_udp(*hosts):
    one = new(hosts[0], socket.SOCK_DGRAM)
    for host in hosts:
        one.sendto(b"to " + host.encode(), (host, 7))
    seen = {}
    for _ in hosts:
        data, source = one.recvfrom(2000)
        seen[source[0]] = data
    equal("UDP to several peers: each answer from where it was sent to", seen, {h: b"to " + h.encode() for h in hosts})
    one.connect((hosts[0], 7))
    for size in (0, 1, 1400, 9000, 65507):
        one.send(b"z" * size)
        equal(f"UDP connected, {size} bytes", len(one.recv(70000)), size)
    try:
        one.send(b"z" * 65508)
        check("UDP too large", False, "no error")
    except OSError as e:
        equal("UDP too large", name_of(e.errno), "EMSGSIZE")
    who = new(hosts[0], socket.SOCK_DGRAM)
    who.connect((hosts[0], 79))
    who.send(b"?")
    equal("UDP getsockname is what the peer sees", who.recv(100).decode().split(), [str(x) for x in who.getsockname()[:2]])
    closed = new(hosts[0], socket.SOCK_DGRAM)
    closed.connect((hosts[0], 1))
    closed.send(b"?")
    try:
        closed.recv(10)
        check("UDP refused", False, "no error")
    except OSError as e:
        equal("UDP refused", name_of(e.errno), "ECONNREFUSED")


def case_echo(address, port, reuse=""):
    """A UDP server: back comes who sent it, and what."""
    s = socket.socket(family_of(address), socket.SOCK_DGRAM)
    if reuse:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((address, int(port)))
    print("listening", port, flush=True)
    while True:
        data, peer = s.recvfrom(70000)
        s.sendto(f"{peer[0]} {peer[1]} ".encode() + data[:60000], peer)


def case_ask(host, port, clients, *lines):
    """So many UDP clients at once, each connected, so that an answer from elsewhere is not seen. A lost datagram is sent
    again. Checks that each got its own answer; prints the addresses as the server saw them."""
    everyone, seen = [], set()
    for i in range(int(clients)):
        s = new(host, socket.SOCK_DGRAM)
        s.connect((host, int(port)))
        everyone.append(s)
    for word in lines or ("hello",):
        waiting = dict(enumerate(everyone))
        deadline = time.monotonic() + LIMIT
        while waiting and time.monotonic() < deadline:
            for i, s in waiting.items():
                s.send(f"{word} {i}".encode())
            again = time.monotonic() + 2
            while waiting and time.monotonic() < again:
                for s in select.select(list(waiting.values()), [], [], max(0, again - time.monotonic()))[0]:
                    i = everyone.index(s)
                    address, source_port, *rest = s.recv(70000).decode().split()
                    seen.add(address)
                    if rest != [word, str(i)] or int(source_port) != s.getsockname()[1]:
                        check(f"client {i}", False, f"{address} {source_port} {rest}, is at port {s.getsockname()[1]}")
                    waiting.pop(i, None)
        check(f"T19 {clients} clients of {host}, {word}", not waiting, f"{len(waiting)} without an answer")
    print("seen", *sorted(seen), flush=True)


def case_hoard(host, port, count):
    """Opens connections, then UDP sockets, until there is an error; prints how many of each and the error."""
    held = []
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        error, n = 0, 0
        for n in range(int(count)):
            s = new(host, kind)
            held.append(s)
            error = s.connect_ex((host, int(port)))
            if error:
                break
        print("stream" if kind == socket.SOCK_STREAM else "datagram", n, name_of(error), flush=True)
        if kind == socket.SOCK_STREAM:
            for s in held:
                s.close()
            held = []


def case_mute(host, port):
    """Nobody answers, and nothing but silence or a refusal is seen."""
    s = new(host, socket.SOCK_DGRAM)
    s.settimeout(0.5)
    s.connect((host, int(port)))
    try:
        s.send(b"anybody?")
        print("answered", s.recv(100), flush=True)
    except TimeoutError:
        print("silence", flush=True)
    except OSError as e:
        print(name_of(e.errno), flush=True)


# --- T13, T14

def queued_error(s, data, to):
    """Sends until an error comes, since routers say such things once a second: errno, origin, type, code, about whom and
    from whom, from the error queue."""
    p = select.poll()
    p.register(s, 0)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        s.sendto(data, to)
        if p.poll(1000):
            break
    data, control, _, about = s.recvmsg(200, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    error, origin, kind, code = struct.unpack_from("=IBBB", control[0][2])
    six = s.family == socket.AF_INET6
    offender = socket.inet_ntop(s.family, control[0][2][24:40] if six else control[0][2][20:24])
    return (name_of(error), origin, kind, code, about[0], about[1], offender), data


def case_udp_errors(host, host6, unreachable, far, hop):
    ip_recverr, ipv6_recverr = 11, 25
    s = new(host, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, ip_recverr, 1)
    equal("T13 port unreachable", queued_error(s, b"x", (host, 1))[0], ("ECONNREFUSED", 2, 3, 3, host, 1, host))
    equal("T13 host unreachable", queued_error(s, b"x", (unreachable, 5))[0], ("EHOSTUNREACH", 2, 3, 1, unreachable, 5, hop))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    equal("T13 time exceeded, as traceroute looks for it", queued_error(s, b"x", (far, 33434))[0],
          ("EHOSTUNREACH", 2, 11, 0, far, 33434, hop))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    s.sendto(b"still", (host, 7))
    equal("T13 and it still works", s.recv(10), b"still")
    s = new(host6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, ipv6_recverr, 1)
    equal("T13 port unreachable, v6", queued_error(s, b"x", (host6, 1))[0], ("ECONNREFUSED", 3, 1, 4, host6, 1, host6))
    s = new(host, socket.SOCK_DGRAM)
    s.connect((unreachable, 5))
    s.send(b"x")
    s.settimeout(0.5)
    try:
        check("T13 connected: an error that may pass is no error", False, s.recv(10))
    except TimeoutError:
        check("T13 connected: an error that may pass is no error", True)
    except OSError as e:
        check("T13 connected: an error that may pass is no error", False, name_of(e.errno))


def case_udp_cork(host):
    s = new(host, socket.SOCK_DGRAM)
    s.sendto(b"one ", socket.MSG_MORE, (host, 7))
    s.sendto(b"two", (host, 7))
    equal("T13 MSG_MORE", s.recv(100), b"one two")
    s.connect((host, 7))
    s.setsockopt(socket.IPPROTO_UDP, 1, 1)
    for part in (b"a", b"b", b"c"):
        s.send(part)
    s.setsockopt(socket.IPPROTO_UDP, 1, 0)
    equal("T13 UDP_CORK", s.recv(100), b"abc")
    s.setsockopt(socket.IPPROTO_UDP, 103, 3)
    s.setsockopt(socket.IPPROTO_UDP, 104, 1)
    s.send(b"abcdefgh")
    got = [s.recv(100)]
    while len(b"".join(got)) < 8:
        got.append(s.recv(100))
    equal("T13 UDP_SEGMENT, UDP_GRO: all of it", b"".join(got), b"abcdefgh")


def case_ping(host, host6, unreachable):
    for address, family, protocol, request, reply in ((host, socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
                                                      (host6, socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129)):
        s = socket.socket(family, socket.SOCK_DGRAM, protocol)
        s.settimeout(LIMIT)
        s.sendto(struct.pack(">BBHHH", request, 0, 0, 0, 7) + b"ping", (address, 0))
        data, source = s.recvfrom(100)
        equal(f"T14 ping {address}", (data[0], data[6:], source[0]), (reply, b"\0\7ping", address))
        equal("T14 the identifier is the socket's", struct.unpack(">H", data[4:6])[0], s.getsockname()[1])
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    s.settimeout(LIMIT)
    s.setsockopt(socket.IPPROTO_IP, 11, 1)
    error, data = queued_error(s, struct.pack(">BBHHH", 8, 0, 0, 0, 9), (unreachable, 0))
    equal("T14 host unreachable", error[:5], ("EHOSTUNREACH", 2, 3, 1, unreachable))
    equal("T14 about which request", (data[0], data[4:8]), (8, struct.pack(">HH", s.getsockname()[1], 9)))


def case_raw():
    """In the box only: elsewhere it is a question of who asks. Vsock is the host's way to control the box, not the box's."""
    failing("S01 vsock", "EPERM", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
    for family, protocol in ((socket.AF_INET, socket.IPPROTO_ICMP), (socket.AF_INET6, socket.IPPROTO_ICMPV6), (socket.AF_PACKET, 0)):
        failing(f"T14 raw socket of family {family.name}", "EPERM", lambda: socket.socket(family, socket.SOCK_RAW, protocol))


def case_names(*names):
    """Addresses of each name, or the error, as glibc gives them to a program that asks for TCP."""
    for name in names:
        try:
            found = sorted({a[4][0] for a in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
        except socket.gaierror as e:
            found = [{socket.EAI_NONAME: "NONAME", socket.EAI_AGAIN: "AGAIN", socket.EAI_NODATA: "NODATA"}.get(e.errno, str(e))]
        print(name, *found, flush=True)


def case_try(*targets):
    """"host/port" each: "open" or the error, and no waiting for longer than two seconds."""
    for target in targets:
        host, port = target.rsplit("/", 1)
        s = new(host)
        s.settimeout(2)
        try:
            s.connect((host, int(port)))
            print(target, "open", flush=True)
        except socket.timeout:
            print(target, "timeout", flush=True)
        except OSError as e:
            print(target, name_of(e.errno), flush=True)
        s.close()


def case_nothing_leaves(host4, host6):
    """S06: every kind of socket, towards the outside. Whatever is refused is fine; an answer is not."""
    for kind, host, action in (("tcp", host4, lambda s: s.connect((host4, 80))), ("tcp", host6, lambda s: s.connect((host6, 80))),
                               ("udp", host4, lambda s: (s.sendto(b"x", (host4, 7)), s.recv(10))),
                               ("udp", host6, lambda s: (s.sendto(b"x", (host6, 7)), s.recv(10))),
                               ("dns", "192.0.0.9", lambda s: (s.sendto(b"x" * 30, ("192.0.0.9", 53)), s.recv(10))),
                               ("tcp", "192.0.0.9", lambda s: s.connect(("192.0.0.9", 53))),
                               ("tcp", "192.0.0.10", lambda s: s.connect(("192.0.0.10", 80)))):
        s = new(host, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(1)
        try:
            action(s)
            check(f"S06 {kind} to {host}", False, "it got through")
        except OSError as e:
            check(f"S06 {kind} to {host}", True)
            print("  ", e)
    for port in (1024, 1025, 1026, 4088, 9999):
        v = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        v.settimeout(2)
        try:
            v.connect((2, port))
            check(f"S06 vsock port {port} of the host", False, "it took the connection")
        except OSError as e:
            check(f"S06 vsock port {port} of the host", True)
            print("  ", e)
    for proto, label in ((socket.IPPROTO_ICMP, "icmp"), (255, "raw")):
        try:
            r = socket.socket(socket.AF_INET, socket.SOCK_RAW, proto)
            r.sendto(b"\x08\x00\xf7\xff\0\0\0\0", (host4, 0))
            check(f"S06 {label}", False, "sent")
        except OSError as e:
            check(f"S06 {label}", True)
            print("  ", e)


# --- servers (T15 to T18)

def answer(s, peer, word):
    """One line: who is served, and by which process; then echo until the end."""
    own = s.getsockname()
    s.setblocking(True)
    s.sendall(f"{word} {peer[0]} {peer[1]} {own[0]} {own[1]} {os.getpid()}\n".encode())
    try:
        while data := s.recv(65536):
            s.sendall(data)
    except OSError:
        pass
    s.close()


def listener_on(address, port):
    family = family_of(address)
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, int(port)))
    s.listen(128)
    print("listening", s.getsockname()[1], flush=True)
    return s


def accepted(s, mode):
    """Accepts for ever in one of the ways that servers do it."""
    if mode in ("nonblocking", "epoll", "poll", "select"):
        s.setblocking(False)
    e = select.epoll() if mode == "epoll" else select.poll()
    e.register(s, select.EPOLLIN)
    while True:
        try:
            if mode in ("epoll", "poll"):
                e.poll()
            elif mode in ("select", "nonblocking"):
                select.select([s], [], [])
            yield s.accept()  # accept4(SOCK_CLOEXEC)
        except BlockingIOError:
            pass


def case_serve(mode, address, port):
    s = listener_on(address, port)
    if mode == "prefork":
        for _ in range(3):
            if os.fork() == 0:
                break
        mode = "blocking"
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for client, peer in accepted(s, mode):
        flags = fcntl.fcntl(client, fcntl.F_GETFD)
        word = "cloexec" if flags & fcntl.FD_CLOEXEC else "inherited"
        threading.Thread(target=answer, args=(client, peer, word), daemon=True).start()


def case_restart(port):
    """T18: a listener closed while a connection lives binds again at once with SO_REUSEADDR; bind(0) gives a port that works."""
    for round_ in range(3):
        listener = listener_on("0.0.0.0", port)
        client = connect("127.0.0.1", int(port))
        server, _ = listener.accept()
        listener.close()
        server.close()
        client.close()
        check(f"T18 restart {round_}", True)
    listener = listener_on("0.0.0.0", 0)
    client = connect("127.0.0.1", listener.getsockname()[1])
    equal("T18 bind(0): the port that getsockname says works", listener.accept()[1], client.getsockname())
    listener.setblocking(False)
    try:
        listener.accept()
        check("T18 non-blocking accept with nobody there", False, "it accepted")
    except BlockingIOError:
        check("T18 non-blocking accept with nobody there", True)


def case_tell(host, port, *lines):
    """A client: prints the first line of a server, then what comes back for each line."""
    s = connect(host, int(port))
    f = s.makefile("rwb")
    print(f.readline().decode().strip(), flush=True)
    for line in lines:
        f.write(line.encode() + b"\n")
        f.flush()
        print(f.readline().decode().strip(), flush=True)


def case_idle():
    print("idle", flush=True)
    signal.sigwait({signal.SIGTERM})


def main():
    function = globals().get("case_" + sys.argv[1].replace("-", "_"))
    if not function:
        sys.exit(__doc__)
    try:
        function(*sys.argv[2:])
    except OSError as e:
        check(sys.argv[1], False, f"{type(e).__name__} {e}")
        raise
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
