"""Shared by the three demonstrations: a whippet on free ports, and an intake to post to."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef0123456789abcdef"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def binary():
    """$WHIPPET, the last one cargo built, or the one in the PATH."""
    built = [os.path.join(ROOT, "target", kind, "whippet") for kind in ("release", "debug")]
    for path in [os.environ.get("WHIPPET"), *filter(os.path.exists, built), shutil.which("whippet")]:
        if path:
            return os.path.abspath(path)
    sys.exit("no whippet found: cargo build --release, or set WHIPPET")


def promise(holds, sentence):
    """Prints whether a guarantee holds; exits if it does not."""
    print(("ok      " if holds else "BROKEN  ") + sentence, flush=True)
    if not holds:
        sys.exit(1)


def until(condition, what, seconds=20):
    """Waits until `condition` is true and returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    promise(False, f"{what} within {seconds} s")


class Whippet:
    """A running server in its own directory. Stops at the end of the `with` block."""

    def __init__(self, **settings):
        self.folder = settings.pop("folder", None) or tempfile.mkdtemp(prefix="whippet-")
        self.admin = os.path.join(self.folder, "admin.sock")
        settings = {
            "dogstatsd_port": "__random__",
            "dogstatsd_socket": "",
            "admin_address": self.admin,
            "self_telemetry": "false",
            "hostname": "web-1",
            "run_path": self.folder,
            **settings,
        }
        self.arguments = [part for pair in settings.items() for part in ("--set", "=".join(map(str, pair)))]
        # An empty environment: no key and no proxy of this machine.
        self.process = subprocess.Popen(
            [binary(), "run", *self.arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={}, cwd=self.folder,
        )
        self.log = []
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.port = until(self._port, "it listens")
        except SystemExit:
            print("".join(self.log), file=sys.stderr)
            self.process.kill()
            raise

    def _listen(self):
        for line in self.process.stderr:
            self.log.append(re.sub(r"^\d{4}-\d\d-\d\dT\S+Z ", "", line))

    def _port(self):
        found = re.search(r"udp +127\.0\.0\.1:(\d+)", "".join(self.log))
        return found and os.path.exists(self.admin) and int(found.group(1))

    def socket(self, source="127.0.0.1"):
        """A UDP socket that sends to it."""
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((source, 0))
        client.connect(("127.0.0.1", self.port))
        return client

    def says(self, *command):
        """The output of one of its commands."""
        done = subprocess.run(
            [binary(), *command, *self.arguments], capture_output=True, text=True, env={}, timeout=30)
        if done.returncode:
            promise(False, f"whippet {' '.join(command)} works: {done.stderr.strip()}")
        return done.stdout

    def status(self):
        return json.loads(self.says("status", "--json"))

    def logged(self, pattern):
        """The first line of its log that matches."""
        return next((line.strip() for line in list(self.log) if re.search(pattern, line)), None)

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        """Stops it, and waits for its summary."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        until(lambda: self.logged(r"^payloads "), "its summary is logged")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Intake:
    """As much of the Datadog intake as counters need: v1 series, the last write per second wins.
    While `down`, it answers 503."""

    def __init__(self):
        self.down = False
        self.refused = 0
        self.points = {}
        intake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(200)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if intake.down:
                    intake.refused += 1
                    return self.answer(503)
                if self.headers.get("Content-Encoding") == "deflate":
                    body = zlib.decompress(body)
                for series in json.loads(body).get("series", []):
                    for second, value in series["points"]:
                        scale = series.get("interval") or 1 if series["type"] == "rate" else 1
                        intake.points[series["metric"], tuple(sorted(series["tags"])), second] = value * scale
                return self.answer(202)

            def answer(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionError:
                    pass  # a server that exits closes its connections

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def total(self, name):
        return sum(value for (metric, _, _), value in self.points.items() if metric == name)
