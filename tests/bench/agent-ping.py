#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""agent-ping.py AGENT.SOCK: milliseconds of one ping of the guest's agent, connection included (include/a3s/agent.h)."""
import json
import socket
import struct
import sys
import time

start = time.monotonic()
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect(sys.argv[1])
s.sendall(b"CONNECT 4088\n")
f = s.makefile("rb")
if not f.readline().startswith(b"OK "):
    sys.exit("agent-ping: no agent")
request = json.dumps({"op": "ping"}).encode()
s.sendall(struct.pack("<BxxxI", 1, len(request)) + request)
kind, length = struct.unpack("<BxxxI", f.read(8))
reply = json.loads(f.read(length))
if kind != 2 or not reply.get("ok"):
    sys.exit(f"agent-ping: {reply}")
print(f"{(time.monotonic() - start) * 1000:.1f}")
