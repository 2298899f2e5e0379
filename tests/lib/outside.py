#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The outside of the test bed: small servers on fixed ports, and what they saw, one line per event on standard output.

outside.py serve ADDRESS... all servers below: TCP on 0.0.0.0 and [::], UDP on these addresses
outside.py dns ADDRESS...   only DNS, on port 53 of these addresses; NAME is answered by the table below

TCP  7 echo          9 sink: after the client's FIN sends "<bytes> <sha256>\\n"      19 source: "<bytes>\\n" in, that many bytes out
    79 who: "<address> <port>\\n" of the client         80 http: /who and everything else
    81 reset: RST at the first byte                     82 hello: sends "hello\\n" and FIN, then reads; 83 hold: reads, never writes
    85 linger: closes with RST after it has sent "last words"; 86 late: accepts, never reads
UDP  7 echo         79 who
"""
import asyncio
import hashlib
import re
import socket
import struct
import sys

BLOCK = bytes(range(251)) * 1044  # 262044 bytes, no power of two
A, AAAA, PTR = 1, 28, 12
# name -> {type: address}; "+server" in a name is replaced by the last octet or group of the server that answers
NAMES = {
    "v4.test": {A: "198.51.100.7"},
    "v6.test": {AAAA: "2001:db8:7::7"},
    "both.test": {A: "198.51.100.7", AAAA: "2001:db8:7::7"},
    "short.search.test": {A: "198.51.100.8"},
}


def event(*words):
    print(*words, flush=True)


def pattern(total):
    """The bytes that a source sends: BLOCK again and again."""
    while total > 0:
        yield BLOCK[:total]
        total -= len(BLOCK)


def set_linger_zero(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def sink(reader, writer):
    digest, total = hashlib.sha256(), 0
    while data := await reader.read(1 << 18):
        digest.update(data)
        total += len(data)
    writer.write(f"{total} {digest.hexdigest()}\n".encode())
    await writer.drain()


async def source(reader, writer):
    for block in pattern(int(await reader.readline())):
        writer.write(block)
        await writer.drain()


async def who(reader, writer):
    peer = writer.get_extra_info("peername")
    writer.write(f"{peer[0]} {peer[1]}\n".encode())
    await writer.drain()


async def http(reader, writer):
    request = (await reader.readline()).decode("latin-1").split()
    while (await reader.readline()).strip():
        pass
    peer = writer.get_extra_info("peername")
    body = f"{peer[0]}\n" if request[1:2] == ["/who"] else "the outside\n"
    writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await writer.drain()


async def reset(reader, writer):
    await reader.read(1)
    set_linger_zero(writer)
    writer.transport.abort()


async def hello(reader, writer):
    writer.write(b"hello\n")
    writer.write_eof()
    total = 0
    while data := await reader.read(1 << 16):
        total += len(data)
    event("hello", writer.get_extra_info("peername")[1], "then", total, "bytes")


async def hold(reader, writer):
    port = writer.get_extra_info("peername")[1]
    event("hold", port, "open")
    try:
        while await reader.read(1 << 16):
            pass
        event("hold", port, "eof")
    except ConnectionError:
        event("hold", port, "reset")


async def linger(reader, writer):
    await reader.read(1)
    writer.write(b"last words")
    await writer.drain()
    set_linger_zero(writer)
    writer.transport.abort()


async def late(reader, writer):
    writer.transport.pause_reading()
    await asyncio.sleep(3600)


TCP = {7: echo, 9: sink, 19: source, 79: who, 80: http, 81: reset, 82: hello, 83: hold, 85: linger, 86: late}


def guarded(function):
    async def serve(reader, writer):
        try:
            await function(reader, writer)
        except (ConnectionError, ValueError) as error:
            event(function.__name__, "error", type(error).__name__)
        finally:
            writer.close()
    return serve


def serve_datagrams(address, port, answer):
    """Answer each datagram at once, empty ones included (which asyncio's own transport leaves out)."""
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    s.bind((address, port))

    def ready():
        try:
            data, peer = s.recvfrom(70000)
            reply = answer(data, peer)
            if reply is not None:
                s.sendto(reply, peer)
        except OSError as error:
            event("datagram", port, error)

    asyncio.get_running_loop().add_reader(s, ready)


def dns_answer(query, server):
    """A DNS answer for one question; unknown names are NXDOMAIN, known ones without the type are empty."""
    if len(query) < 17:
        return None
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
        at += query[at] + 1
    question = query[12:at + 5]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    event("dns", server, name, kind)
    table = dict(NAMES)
    table["server.test"] = {A: "198.51.100." + str(int(re.split(r"[.:]", server)[-1] or "0", 16) % 256)}
    known = table.get(name)
    data = known.get(kind) if known else None
    records = b""
    if data:
        family = socket.AF_INET if kind == A else socket.AF_INET6
        packed = socket.inet_pton(family, data)
        records = struct.pack(">HHHIH", 0xc00c, kind, 1, 1, len(packed)) + packed
    header = query[:2] + struct.pack(">HHHHH", 0x8180 | (0 if known else 3), 1, 1 if records else 0, 0, 0)
    return header + question + records


def dns_tcp(server):
    async def serve(reader, writer):
        while True:
            try:
                size = struct.unpack(">H", await reader.readexactly(2))[0]
                reply = dns_answer(await reader.readexactly(size), server)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            writer.write(struct.pack(">H", len(reply)) + reply)
            await writer.drain()
        writer.close()
    return serve


async def serve_dns(addresses):
    for address in addresses:
        serve_datagrams(address, 53, lambda data, _, a=address: dns_answer(data, a))
        await asyncio.start_server(dns_tcp(address), address, 53)


async def serve_all(addresses):
    for port, function in TCP.items():
        for address in ("0.0.0.0", "::"):
            await asyncio.start_server(guarded(function), address, port, limit=1 << 18, backlog=1024)
    for port, answer in {7: lambda data, addr: data, 79: lambda data, addr: f"{addr[0]} {addr[1]}".encode()}.items():
        for address in addresses:  # a reply from a wildcard socket would carry another address of ours
            serve_datagrams(address, port, answer)


async def main():
    if sys.argv[1] == "serve":
        await serve_all(sys.argv[2:])
    else:
        await serve_dns(sys.argv[2:])
    event("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started us goes away


if __name__ == "__main__":
    asyncio.run(main())
