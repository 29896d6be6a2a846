"""Compares builds of the program, such as one for musl with one for glibc:

    python3 tools/dist/compare.py PROGRAM...

A PROGRAM may begin with a variable, for another allocator: LD_PRELOAD=/usr/lib/…/libjemalloc.so.2,target/dist/whippet

Processor time of the lane and of all other threads, and resident memory, under lines that fill the Unix socket, with a
flush every second and an intake on loopback: of 1,000 known contexts, of 50,000 known ones, and of 50,000 that are new in
every pass and forgotten 3 s later. The programs take turns; the table shows medians of ROUNDS (5).
"""

import http.server
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONTEXTS = 50_000
ROUNDS = int(os.environ.get("ROUNDS") or "5")
IDLE_SECONDS = 4
VARIABLES = {
    "DD_API_KEY": "0" * 32,
    "DD_HOSTNAME": "compared",
    "DD_DOGSTATSD_PORT": "0",
    "WHIPPET_ADMIN_ADDRESS": "",
    "WHIPPET_LANES": "1",
}


class Intake(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self):
        self.send_response(202)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def datagrams(contexts, generation=0):
    """One line of each context: a third each counters, gauges and timers, 8 KiB at a time."""
    block, out = b"", []
    for number in range(contexts):
        kind = (b"c", b"g", b"ms")[number % 3]
        line = b"http.request.duration:%d|%s|#env:prod,service:checkout,pod:web-%d-%07d\n" % (number % 97, kind, generation, number)
        if len(block) + len(line) > 8_192:
            out.append(block)
            block = b""
        block += line
    return out + [block]


class Server:
    def __init__(self, program, work, url):
        *variables, path = program.split(",")
        self.path = work / "dsd.socket"
        self.path.unlink(missing_ok=True)
        settings = {
            "dogstatsd_socket": self.path,
            "interval": 1,
            "dd_url": url,
            "run_path": work,
            "dogstatsd_expiry_seconds": 3,
            "dogstatsd_context_expiry_seconds": 3,
        }
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.log = work / "log"
        self.process = subprocess.Popen(
            [path, "run", *words],
            env={**os.environ, **VARIABLES, **dict(variable.split("=", 1) for variable in variables)},
            stdout=subprocess.DEVNULL,
            stderr=open(self.log, "w"),
        )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sent = 0
        end = time.monotonic() + 120
        while True:
            try:
                return self.socket.connect(str(self.path))
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)

    def send(self, block, lines):
        for datagram in block:
            self.socket.send(datagram)
        self.sent += lines

    def spent(self):
        """Nanoseconds of CPU of the lanes, and of the other threads."""
        lanes = others = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                name, nanoseconds = (task / "comm").read_text(), int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                continue
            if name.startswith("lane"):
                lanes += nanoseconds
            else:
                others += nanoseconds
        return lanes, others

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        """Every line must have been recorded."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(180)
        text = self.log.read_text()
        assert f" {self.sent} received = {self.sent} recorded" in text and self.process.returncode == 0, text


def measure(program, work, url):
    """For each load: nanoseconds of the lane and of the others for a line, MiB; then MiB when idle."""
    server = Server(program, work, url)
    results = []
    for generations, contexts in ([0] * 5_000, 1_000), ([0] * 60, CONTEXTS), (range(1, 7), CONTEXTS):
        blocks = {generation: datagrams(contexts, generation) for generation in generations}
        if blocks.keys() == {0}:
            server.send(blocks[0], contexts)
        before = server.spent()
        for generation in generations:
            server.send(blocks[generation], contexts)
        lines = len(generations) * contexts
        results += [(after - earlier) / lines for after, earlier in zip(server.spent(), before)]
        results.append(server.resident())
    time.sleep(IDLE_SECONDS)
    results.append(server.resident())
    server.stop()
    return results


def main():
    programs = sys.argv[1:]
    intake = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Intake)
    multiprocessing.get_context("fork").Process(target=intake.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{intake.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        times = {program: [] for program in programs}
        for _ in range(ROUNDS):
            for program in programs:
                times[program].append(measure(program, work, url))
    print("| program |", end="")
    for load in ("1,000 contexts", "50,000", "50,000 new"):
        print(f" {load}: lane, ns a line | others, ns a line | MiB |", end="")
    print(" idle, MiB |\n" + "|---" * 11 + "|")
    for program in programs:
        medians = [statistics.median(column) for column in zip(*times[program])]
        print(f"| {program} | {' | '.join(f'{value:.1f}' for value in medians)} |")


main()
