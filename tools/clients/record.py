#!/usr/bin/env python3
"""An HTTP server that clients take for an Agent or for the metrics API, and that keeps what they send.

    python3 tools/clients/record.py FOLDER [--port 8126] [--drive [--bodies tests/doors/bodies]]

`--drive` starts the unmodified clients against it (see clients.py), each with a folder of its own, and ends
with them; without it the server runs until it is interrupted. Each request becomes two files in FOLDER: `0001-POST-v0.4-traces.headers` (request line and headers, as
they came) and `0001-POST-v0.4-traces.body` (the body as it came, without chunk sizes; still compressed).
Prints the port, then one line per request. Standard library only.
"""
import argparse
import gzip
import http.server
import json
import pathlib
import re
import threading
import zlib

import clients

INFO = {
    "version": "7.70.0",
    "endpoints": [
        "/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.6/stats", "/v0.1/pipeline_stats",
        "/telemetry/proxy/", "/dogstatsd/v1/proxy", "/dogstatsd/v2/proxy",
    ],
    "client_drop_p0s": True,
    "span_meta_structs": False,
    "long_running_spans": False,
    "span_events": False,
    "evp_proxy_allowed_headers": [],
    "peer_tags": [],
    "config": {"default_env": "none", "receiver_port": 8126, "statsd_port": 8125},
}


def answer(method, path):
    """Status and JSON body of what an Agent or the API answers."""
    if path == "/info":
        return 200, INFO
    if path in ("/v0.4/traces", "/v0.5/traces"):
        return 200, {"rate_by_service": {}}
    if path == "/api/v1/validate":
        return 200, {"valid": True}
    if path.startswith("/api/v1/"):
        return 202, {"status": "ok"}
    if path.startswith("/api/v2/"):
        return 202, {"errors": []}
    if path in ("/v0.6/stats", "/v0.1/pipeline_stats") or path.startswith(("/telemetry/", "/dogstatsd/")):
        return 200, {}
    return 404, {"errors": ["Not found"]}


def read_chunks(stream):
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = read_chunks(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0]
        self.server.keep(self, path, body)
        status, reply = answer(self.command, path)
        reply = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PUT = take

    def log_message(self, *_):
        pass


class Recorder(http.server.ThreadingHTTPServer):
    def __init__(self, port, folder):
        super().__init__(("127.0.0.1", port), Handler)
        self.folder, self.number, self.lock = folder, 0, threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def handle_error(self, request, client_address):
        pass  # A client that ends breaks its connection.

    def keep(self, request, path, body):
        with self.lock:
            self.number += 1
            word = re.sub("[^a-zA-Z0-9.]+", "-", path).strip("-")
            name = f"{self.number:04}-{request.command}-{word}"
            lines = [request.requestline] + [f"{key}: {value}" for key, value in request.headers.items()]
            (self.folder / f"{name}.headers").write_text("\n".join(lines) + "\n")
            (self.folder / f"{name}.body").write_bytes(body)
            print(f"{name} {len(body)} bytes", flush=True)


def kind(request, body):
    """The name under which a request is kept in tests/doors/bodies."""
    path, text = request.split(" ")[1], body
    if path.startswith("/telemetry/"):
        message = json.loads(body)
        words = [message["request_type"].replace("message-batch", "batch")]
        if isinstance(message.get("payload"), list):
            words.append(message["payload"][0]["request_type"])
        return "telemetry-" + "-".join(words)
    if path.startswith("/api/"):
        if body[:1] == b"\x78":
            text = zlib.decompress(body)
        series = json.loads(text).get("series")
        word = path.split("?")[0].rsplit("/", 1)[1].replace("_", "-")
        return f"{word}-{series[0]['metric']}" if series else word
    if path == "/v0.6/stats":
        return "stats" if b"Hits" in body else "stats-idle"
    if path == "/v0.1/pipeline_stats":
        return "data-streams" if b"EdgeTags" in gzip.decompress(body) else "data-streams-offsets"
    if path.startswith("/dogstatsd/"):
        return "dogstatsd" if b"js.count" in body else "dogstatsd-own"
    return path.strip("/").split("/")[-1]


def keep_kinds(recorded, bodies):
    """Copies the first request of each kind and client to `bodies`."""
    for headers in sorted(recorded.glob("*/*.headers")):
        body = headers.with_suffix(".body").read_bytes()
        target = bodies / headers.parent.name / kind(headers.read_text(), body)
        target.parent.mkdir(parents=True, exist_ok=True)
        # No `with_suffix`: names of metrics have dots.
        if not pathlib.Path(f"{target}.headers").exists():
            pathlib.Path(f"{target}.headers").write_text(headers.read_text())
            pathlib.Path(f"{target}.body").write_bytes(body)


def drive(folder):
    """Records what each client sends."""
    clients.install()
    running = []
    for name in clients.NAMES:
        server = Recorder(0, folder / name)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(clients.start(name, f"http://127.0.0.1:{server.server_address[1]}", 25))
    for name, process in zip(clients.NAMES, running):
        out, errors = process.communicate()
        print(f"{clients.TITLES[name]}: exit code {process.returncode}\n{out}{errors}", end="")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--port", type=int, default=8126)
    arguments.add_argument("--drive", action="store_true")
    arguments.add_argument("--bodies", type=pathlib.Path, help="with --drive: keep one request of each kind here")
    arguments = arguments.parse_args()
    if arguments.drive:
        drive(arguments.folder)
        if arguments.bodies:
            keep_kinds(arguments.folder, arguments.bodies)
    else:
        server = Recorder(arguments.port, arguments.folder)
        print(server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
