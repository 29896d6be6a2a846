"""Where a measured server's flushes go: listeners on 127.0.0.1, or a file. They only keep bytes while a
run lasts; what the bytes mean is worked out after it, so that it costs the run nothing."""

import http.client
import http.server
import pathlib
import socket
import threading
import time
import urllib.request
from collections import namedtuple

# `path` and `encoding` are those of a request; empty elsewhere.
Part = namedtuple("Part", "body path encoding", defaults=("", ""))


class Nothing:
    """For a server that flushes nowhere.

    `folder` is the server's, `seconds` the interval of flushes, `load_seconds` how long the load lasts
    and `page` what can be asked for. With `keeps` set to false, everything is taken and forgotten."""

    keeps = True

    def __init__(self, folder, seconds, load_seconds, page):
        self.port = free_port(socket.SOCK_STREAM)
        self.parts = []

    def add(self, body, path="", encoding=""):
        """Something arrived."""
        if self.keeps:
            self.parts.append(Part(body, path, encoding))

    def started(self):
        """Called when the server's socket is bound."""

    def close(self):
        """Ends; `parts` is complete afterwards."""


class File(Nothing):
    """A file `flushed` in the server's folder."""

    def __init__(self, folder, *rest):
        super().__init__(folder, *rest)
        self.file = pathlib.Path(folder, "flushed")

    def close(self):
        if self.keeps and self.file.exists():
            self.add(self.file.read_bytes())


class Carbon(Nothing):
    """Graphite's plain-text listener; the parts are the connections, one after the other."""

    def __init__(self, *_):
        self.parts, self.threads = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.read, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def read(self, connection):
        pieces = []
        with connection:
            while True:
                try:
                    piece = connection.recv(1 << 20)
                except OSError:
                    break
                if not piece:
                    break
                if self.keeps:
                    pieces.append(piece)
        self.add(b"".join(pieces))

    def close(self):
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


class Http(Nothing):
    """An intake that accepts everything."""

    def __init__(self, *_):
        sink = self
        self.parts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(200, b'{"valid":true}')

            def do_POST(self):
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    body = self.chunks()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sink.add(body, self.path, self.headers.get("Content-Encoding", ""))
                self.answer(202, b'{"status":"ok"}')

            def chunks(self):
                pieces = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Requests are not worth a line each."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """A server that is stopped does not wait for its answers."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Scrape(Nothing):
    """Asks the server itself, as often as others flush; only the last answer is kept."""

    def __init__(self, folder, seconds, load_seconds, page):
        super().__init__(folder, seconds, load_seconds, page)
        self.seconds, self.first, self.page = seconds, 0.0, page
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def started(self):
        self.thread.start()

    def ask(self):
        due = time.monotonic() + self.first
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += self.seconds
            try:
                url = f"http://127.0.0.1:{self.port}{self.page}"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    body = answer.read()
                self.parts.clear()
                self.add(body)
            except (OSError, http.client.HTTPException):
                continue

    def close(self):
        self.over.set()
        if self.thread.ident:
            self.thread.join(60)


class Ask(Scrape):
    """Asks only after the load, a server whose metrics nobody fetches otherwise."""

    def __init__(self, folder, seconds, load_seconds, page):
        super().__init__(folder, seconds, load_seconds, page)
        self.seconds, self.first = seconds / 4, load_seconds + seconds / 4


KINDS = {
    "none": Nothing,
    "file": File,
    "carbon": Carbon,
    "http": Http,
    "scrape": Scrape,
    "ask": Ask,
}


def free_port(kind):
    """A port that nothing has bound at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
