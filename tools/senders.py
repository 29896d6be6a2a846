#!/usr/bin/env python3
"""Instructions per packet with and without sender accounts, counted by callgrind.

    cargo build --release && python3 tools/senders.py target/release/whippet

Starts the program under `valgrind --tool=callgrind` for each load with `sender_accounts` on and off,
with few and with many packets; the difference of the two counts is what the packets cost, start and
end of the program left out. Needs valgrind.
"""
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

FEW, MANY = 2_000, 12_000
LINES = [
    f"http.request.duration:{n % 50}|{'c g ms'.split()[n % 3]}|#env:prod,service:checkout,pod:web-{n % 100:07}\n".encode()
    for n in range(1_500)
]
LIMIT = 1.03
# Datagrams that come together. Unix sockets hold ten on many systems.
BATCH = {"udp": 50, "uds": 10}


def packed(size):
    """Datagrams of whole lines, each as near to `size` bytes as it goes."""
    datagrams, now = [], b""
    for line in LINES:
        if len(now) + len(line) > size:
            datagrams.append(now)
            now = b""
        now += line
    return datagrams


LOADS = {
    "udp, one line": ("udp", LINES),
    "udp, 1,432 bytes": ("udp", packed(1_432)),
    "uds, one line": ("uds", LINES),
    "uds, 8 KiB": ("uds", packed(8_192)),
}


def state(pid):
    """R, S or T: running, asleep or stopped."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def waiting(client, transport, port):
    """Whether datagrams wait to be read."""
    if transport == "uds":
        answer = fcntl.ioctl(client, termios.TIOCOUTQ, struct.pack("i", 0))
        return struct.unpack("i", answer)[0] > 1
    with open("/proc/net/udp") as sockets:
        wanted = f":{port:04X}"
        rows = [row.split() for row in sockets if row.split()[1].endswith(wanted)]
    return any(row[4].split(":")[1].strip("0") for row in rows)


def count(program, transport, datagrams, packets, accounts, folder):
    """Instructions of one run that receives `packets` datagrams."""
    path = os.path.join(folder, "dsd.socket")
    settings = {
        "interval": 600,
        "output": "none",
        "admin_address": "",
        "lanes": 1,
        "dogstatsd_port": "__random__",
        "dogstatsd_socket": path,
        "dogstatsd_origin_detection": "true",
        "self_telemetry": "false",
        "sender_accounts": accounts,
    }
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, "run"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    port, log = None, ""
    for line in server.stderr:
        log += line
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        port = port or (found and int(found.group(1)))
        if port and os.path.exists(path):
            break
    else:
        sys.exit(f"it did not start:\n{log}")
    if transport == "udp":
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", port))
    else:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.connect(path)
    lines = 0
    # The server sleeps while datagrams come, so that it finds batches of equal size. A full Unix
    # socket would block us; it holds more than this everywhere.
    batch = BATCH[transport]
    for first in range(0, packets, batch):
        server.send_signal(signal.SIGSTOP)
        while state(server.pid) != "T":
            pass
        for number in range(first, first + batch):
            datagram = datagrams[number % len(datagrams)]
            client.send(datagram)
            lines += datagram.count(b"\n")
        server.send_signal(signal.SIGCONT)
        while waiting(client, transport, port) or state(server.pid) != "S":
            time.sleep(0.001)
    time.sleep(0.5)
    server.send_signal(signal.SIGTERM)
    log += server.stderr.read()
    server.wait(60)
    received = re.search(r"lines +(\d+) received", log)
    if not received or int(received.group(1)) != lines:
        sys.exit(f"{lines} lines were sent:\n{log}")
    return int(re.search(r"Collected : (\d+)", log).group(1))


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/whippet"
    wanted = sys.argv[2:] or list(LOADS)
    worst = 0
    for name in wanted:
        transport, datagrams = LOADS[name]
        few, many = (FEW, MANY) if len(datagrams[0]) < 200 else (FEW // 10, MANY // 10)
        cost = {}
        for accounts in ("true", "false"):
            with tempfile.TemporaryDirectory() as folder:
                runs = [count(program, transport, datagrams, packets, accounts, folder) for packets in (few, many)]
            cost[accounts] = (runs[1] - runs[0]) / (many - few)
        ratio = cost["true"] / cost["false"]
        worst = max(worst, ratio)
        print(f"{name:17} {cost['false']:9.1f} without, {cost['true']:9.1f} with: {(ratio - 1) * 100:+.2f} %", flush=True)
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
