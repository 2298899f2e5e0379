#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of TSI beside its peers (Q01), measured from the outside namespace.

tsi.py ADDRESS ROUNDS NETBENCH INSIDE GUEST... with GUEST = NAME:PORT:PID,PID...

Each guest has connected a shell to ADDRESS:7070 and said its name; its nginx is at INSIDE:PORT; the PIDs are the host's processes
of the guest. Guests take turns within each round. The first GUEST is ours. Lines: what, ours, each peer with the ratio, the spread.
CPU seconds are those of the host's processes (the guest's work is in them), and of the guest as it counts itself.
"""
import json
import os
import re
import socket
import statistics
import subprocess
import sys

SHELLS, SERVICE, IPERF = 7070, 7071, 5201
SECONDS = 3
TICKS = os.sysconf("SC_CLK_TCK")


class Guest:
    def __init__(self, text):
        self.name, self.port, pids = text.split(":")
        self.pids = pids.split(",")
        self.shell = None

    def run(self, command):
        """Output of a command in the guest."""
        self.shell.write(f"{command} 2>&1; echo; echo =END=\n")
        self.shell.flush()
        lines = []
        for line in self.shell:
            if line == "=END=\n":
                return "".join(lines).strip()
            lines.append(line)
        raise SystemExit(f"{self.name}: the guest hung up in {command}: {''.join(lines)}")

    def host_cpu(self):
        total = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def guest_cpu(self):
        """Seconds not idle, as the guest's kernel counts."""
        fields = [int(word) for word in self.run("head -n 1 /proc/stat").split()[1:]]
        return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS


def number(guest, command):
    out = guest.run(command)
    if not re.fullmatch(r"[0-9.]+", out):
        raise SystemExit(f"{guest.name}: {command}: {out}")
    return float(out)


def iperf(arguments):
    def measure(guest, host):
        out = guest.run(f"iperf3 -c {host.address} -p {IPERF} -t {SECONDS} -J {arguments}")
        result = json.loads(out)
        if "error" in result:
            raise SystemExit(f"{guest.name}: iperf3 {arguments}: {result['error']}")
        total = result["end"]["sum_received"]
        return total["bits_per_second"] / 8 / 2**20, total["bytes"] / 2**30
    return measure


def netbench(what):
    def measure(guest, host):
        return number(guest, f"/usr/local/bin/netbench {what} {host.address} {SERVICE} {SECONDS}"), None
    return measure


def sendfile(guest, host):
    return number(guest, f"/usr/local/bin/netbench sendfile {host.address} {SERVICE} /srv/256m") / 2**20, 0.25


def wrk(headers):
    def measure(guest, host):
        out = subprocess.run(["wrk", "-t", "1", "-c", "100", "-d", f"{SECONDS}s", "--latency", *headers,
                              f"http://{host.inside}:{guest.port}/64.txt"], check=True, stdout=subprocess.PIPE, text=True).stdout
        if "Socket errors" in out or "Non-2xx" in out:
            print(f"   {guest.name}:", " ".join(line.strip() for line in out.splitlines() if "errors" in line or "Non-2xx" in line))
        host.p99.setdefault(guest.name, []).append(re.search(r"99%\s+(\S+)", out)[1])
        return float(re.search(r"Requests/sec:\s+(\S+)", out)[1]), None
    return measure


FIGURES = [
    ("stream out, 1", "MiB/s", iperf("-l 128K")),
    ("stream out, 8", "MiB/s", iperf("-l 128K -P 8")),
    ("stream in, 1", "MiB/s", iperf("-l 128K -R")),
    ("stream in, 8", "MiB/s", iperf("-l 128K -R -P 8")),
    ("stream of 1 KiB writes", "MiB/s", iperf("-l 1K")),
    ("sendfile of 256 MiB", "MiB/s", sendfile),
    ("64-byte request/response", "/s", netbench("rr")),
    ("connect, a byte each way, close", "/s", netbench("crr")),
    ("published, wrk -c 100, keep-alive", "req/s", wrk([])),
    ("published, wrk -c 100, each its connection", "req/s", wrk(["-H", "Connection: close"])),
]


class Host:
    def __init__(self, address, inside, program):
        self.address, self.inside, self.p99 = address, inside, {}
        quiet = {"stdout": subprocess.DEVNULL}
        self.servers = [subprocess.Popen(["iperf3", "-s", "-B", address, "-p", str(IPERF)], **quiet),
                        subprocess.Popen([program, "serve", address, str(SERVICE)], **quiet)]

    def take_shells(self, guests):
        listener = socket.create_server((self.address, SHELLS))
        listener.settimeout(300)
        print("ready", flush=True)
        while any(guest.shell is None for guest in guests):
            stream = listener.accept()[0].makefile("rw", encoding="ascii", errors="replace", newline="\n")
            name = stream.readline().strip()
            for guest in guests:
                if guest.name == name:
                    guest.shell = stream

    def close(self):
        for server in self.servers:
            server.kill()


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def measure(figure, guests, host, rounds):
    what, unit, fn = figure
    rates = {guest.name: [] for guest in guests}
    cpu = {guest.name: [] for guest in guests}
    host.p99 = {}
    for _ in range(rounds):
        for guest in guests:
            host_before, guest_before = guest.host_cpu(), guest.guest_cpu()
            rate, gib = fn(guest, host)
            rates[guest.name].append(rate)
            if gib:
                cpu[guest.name].append(((guest.host_cpu() - host_before) / gib, (guest.guest_cpu() - guest_before) / gib))
    ours = statistics.median(rates[guests[0].name])
    line = f"{what:<42} {spread(rates[guests[0].name])} {unit}"
    for guest in guests[1:]:
        line += f"  {guest.name}: {spread(rates[guest.name])} ratio {ours / statistics.median(rates[guest.name]):.2f}"
    print(line)
    for name, values in cpu.items():
        if values:
            host_cpu, guest_cpu = (statistics.median(v) for v in zip(*values))
            print(f"   {name}: CPU seconds per GiB: host {host_cpu:.1f}, as the guest counts {guest_cpu:.1f}")
    for name, values in host.p99.items():
        print(f"   {name}: 99th percentiles: {' '.join(values)}")
    sys.stdout.flush()


def main():
    address, rounds, program, inside, *names = sys.argv[1:]
    guests = [Guest(name) for name in names]
    host = Host(address, inside, program)
    try:
        host.take_shells(guests)
        for guest in guests:
            guest.run("cat /srv/256m >/dev/null")
        for figure in FIGURES:
            measure(figure, guests, host, int(rounds))
    finally:
        host.close()


main()
