#!/usr/bin/env python3
"""Trace stats at a steady rate, and what they cost the server.

    cargo build --release && python3 tools/clients/load.py --server target/release/whippet

Starts the server with open doors and output `none`, sends PAYLOADS payloads of GROUPS groups per second over
a few connections that stay open, and prints the CPU time of the server as a share of one core. The payloads
are those of ddtrace 4: 100 resources of one service, a latency sketch of 20 bins each, ten services in turn.
Exits with 1 if an answer was not 200, if a group was not recorded, or if the rate was not reached.
"""
import argparse
import math
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from run import free_port

GAMMA, OFFSET = 1.015625, 1338.5


def length(short, limit, long, size):
    """The head of a text, list or map: one byte where its length fits."""
    return bytes([short + size]) if size < limit else long + struct.pack(">H", size)


def packed(value):
    """msgpack of what a payload holds, as short as clients write it."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return length(0xA0, 32, b"\xda", len(value)) + value.encode()
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, list):
        return length(0x90, 16, b"\xdc", len(value)) + b"".join(map(packed, value))
    return length(0x80, 16, b"\xde", len(value)) + b"".join(packed(key) + packed(one) for key, one in value.items())


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def sketch(counts, first):
    """A DDSketch with libdatadog's mapping and these bins."""
    mapping = b"\x09" + struct.pack("<d", GAMMA) + b"\x11" + struct.pack("<d", OFFSET)
    doubles = b"".join(struct.pack("<d", count) for count in counts)
    store = (b"\x12" + varint(len(doubles)) + doubles + b"\x18" + varint(first << 1)) if counts else b""
    return b"\x0a" + varint(len(mapping)) + mapping + b"\x12" + varint(len(store)) + store + b"\x1a\x00"


def payload(service, groups, chance):
    """A payload whose bucket starts at a mark, and the place of the mark."""
    mark = 0x1122334455667788
    # Requests of 1 to 100 ms.
    first = int(math.log(10e6) / math.log(GAMMA) + OFFSET)
    stats = [{
        "Service": service, "Name": "web.request", "Resource": f"GET /resource/{number}/detail", "HTTPStatusCode": 200,
        "Type": "web", "DBType": "", "Hits": 40, "Errors": 0, "Duration": chance.randrange(10**8, 10**9),
        "OkSummary": sketch([2] * 20, first + chance.randrange(50)), "ErrorSummary": sketch([], 0), "Synthetics": False,
        "TopLevelHits": 40, "SpanKind": "server", "PeerTags": [], "IsTraceRoot": 1, "GRPCStatusCode": "",
        "HTTPMethod": "", "HTTPEndpoint": "", "srv_src": "m", "SpanDerivedPrimaryTags": [], "AdditionalMetricTags": [],
    } for number in range(groups)]
    body = packed({
        "Hostname": "", "Env": "prod", "Version": "1.2", "Lang": "", "TracerVersion": "", "RuntimeID": service,
        "Sequence": 1, "AgentAggregation": "", "Service": service, "ContainerID": "", "Tags": [],
        "Stats": [{"Start": mark, "Duration": 10**10, "Stats": stats, "AgentTimeShift": 0}],
    })
    head = (f"POST /v0.6/stats HTTP/1.1\r\nHost: localhost\r\nDatadog-Meta-Lang: python\r\n"
            f"Content-Type: application/msgpack\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    whole = bytearray(head + body)
    return whole, whole.index(struct.pack(">Q", mark))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(port, rate, seconds, payloads, connections):
    """Sends at the rate; how many requests were sent and how many were answered 200."""
    selector = selectors.DefaultSelector()
    free = []
    for _ in range(connections):
        opened = socket.create_connection(("127.0.0.1", port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(opened, selectors.EVENT_READ)
        free.append(opened)
    waiting, sent, good = {}, 0, 0
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < seconds or waiting:
        due = int(min(now, seconds) * rate)
        while sent < due and free:
            whole, place = payloads[sent % len(payloads)]
            # The bucket before the open one, as clients send it.
            whole[place : place + 8] = struct.pack(">Q", (int(time.time()) // 10 - 1) * 10**10)
            connection = free.pop()
            connection.sendall(whole)
            waiting[connection] = b""
            sent += 1
        for key, _ in selector.select(timeout=0.0005):
            waiting[key.fileobj] += key.fileobj.recv(4096)
            if b"\r\n\r\n{}" in waiting[key.fileobj]:
                good += waiting.pop(key.fileobj).startswith(b"HTTP/1.1 200")
                free.append(key.fileobj)
            elif waiting[key.fileobj][9:12] not in (b"", b"200"):
                sys.exit(f"answer: {waiting[key.fileobj]!r}")
    return sent, good


def recorded(admin):
    page = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5).read().decode()
    found = re.findall(r'^whippet_doors_parts_recorded_total\{[^}]*route="stats"[^}]*\} (\S+)', page, re.M)
    return sum(map(float, found))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--server", default="target/release/whippet")
    arguments.add_argument("--rate", type=int, default=1000, help="payloads per second")
    arguments.add_argument("--groups", type=int, default=100)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--connections", type=int, default=10)
    arguments = arguments.parse_args()
    chance = random.Random(1)
    payloads = [payload(f"shop-{number}", arguments.groups, chance) for number in range(10)]
    port, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "PATH": os.environ["PATH"], "WHIPPET_OUTPUT": "none", "DD_HOSTNAME": "load", "DD_RUN_PATH": folder,
            "DD_DOGSTATSD_PORT": "__random__", "DD_DOGSTATSD_SOCKET": "", "DD_APM_RECEIVER_PORT": str(port),
            "WHIPPET_ADMIN_ADDRESS": f"127.0.0.1:{admin}",
        }
        server = subprocess.Popen([arguments.server, "run"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(50):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/info", timeout=1).read()
                    break
                except OSError:
                    time.sleep(0.1)
            # The contexts are made once; that is not what a steady load costs.
            send(port, 10, 2, payloads, arguments.connections)
            before, begin, parts = cpu_seconds(server.pid), time.monotonic(), recorded(admin)
            sent, good = send(port, arguments.rate, arguments.seconds, payloads, arguments.connections)
            took = time.monotonic() - begin
            share, parts = (cpu_seconds(server.pid) - before) / took, recorded(admin) - parts
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)
    size = len(payloads[0][0])
    print(f"{sent} payloads of {arguments.groups} groups ({size} bytes) in {took:.1f} s: {sent / took:.0f}/s, {good} answered 200")
    print(f"{parts:.0f} values recorded; {share:.2f} of a core, {share * took / sent * 1e6:.0f} µs per payload")
    # Hits, duration and the distribution of each group.
    complete = good == sent and parts >= 3 * arguments.groups * sent and sent / took > 0.97 * arguments.rate
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
