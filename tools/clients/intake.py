"""A fake intake: takes what whippet posts and reads it with a protobuf reader of its own."""
import http.server
import json
import struct
import threading
import zlib


def fields(message):
    """(number, value) of each field: integers, bytes, or raw eight bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        elif kind == 1:
            yield number, message[at : at + 8]
            at += 8
        elif kind == 2:
            size = varint()
            yield number, message[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind}")


def all_of(message, number):
    return [value for found, value in fields(message) if found == number]


def one_of(message, number, default):
    return (all_of(message, number) or [default])[-1]


def double(raw):
    return struct.unpack("<d", raw)[0] if raw else 0.0


def text(message, number):
    return one_of(message, number, b"").decode()


def read_series(body):
    """Rows of /api/v2/series: a rate is given as its total, so that rows of several buckets add up."""
    for series in all_of(body, 1):
        kind = {1: "count", 2: "rate", 3: "gauge"}.get(one_of(series, 5, 0), "unspecified")
        resources = {text(resource, 1): text(resource, 2) for resource in all_of(series, 1)}
        # The tag `device:` is posted as a resource.
        others = [f"{name}:{value}" for name, value in resources.items() if name != "host"]
        for point in all_of(series, 4):
            value = double(one_of(point, 1, b""))
            yield {
                "kind": "counter" if kind in ("count", "rate") else kind,
                "metric": text(series, 2),
                "tags": sorted([tag.decode() for tag in all_of(series, 3)] + others),
                "host": resources.get("host", ""),
                "time": one_of(point, 2, 0),
                "value": value * one_of(series, 8, 0) if kind == "rate" else value,
            }


def read_sketches(body):
    for sketch in all_of(body, 1):
        for dogsketch in all_of(sketch, 7):
            yield {
                "kind": "distribution",
                "metric": text(sketch, 1),
                "tags": sorted(tag.decode() for tag in all_of(sketch, 4)),
                "host": text(sketch, 2),
                "time": one_of(dogsketch, 1, 0),
                "count": one_of(dogsketch, 2, 0),
                "min": double(one_of(dogsketch, 3, b"")),
                "max": double(one_of(dogsketch, 4, b"")),
                "value": double(one_of(dogsketch, 6, b"")),
            }


def read_checks(body):
    for check in json.loads(body):
        yield {"kind": "check", "metric": check["check"], "tags": sorted(check.get("tags") or []),
               "host": check.get("host_name", ""), "time": check["timestamp"], "value": check["status"]}


def read_events(body):
    for events in json.loads(body)["events"].values():
        for event in events:
            yield {"kind": "event", "metric": event["msg_title"], "tags": sorted(event.get("tags") or []),
                   "host": event.get("host", ""), "time": event["timestamp"], "value": event["msg_text"]}


READERS = {
    "/api/v2/series": read_series,
    "/api/beta/sketches": read_sketches,
    "/api/v1/check_run": read_checks,
    "/intake/": read_events,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two packets; the second would wait 40 ms for the client's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        self.reply(200, b'{"valid":true}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") in ("deflate", "zlib"):
            body = zlib.decompress(body)
        path = self.path.split("?")[0]
        with self.server.lock:
            if path in READERS:
                self.server.rows.extend(READERS[path](body))
            else:
                self.server.other.append(path)
            # Texts that must never leave are looked for in the bytes.
            self.server.bytes.append(body)
        self.reply(202, b"{}")

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Intake(http.server.ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1; `rows` holds every point that was posted."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.rows, self.other, self.bytes, self.lock = [], [], [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # A connection that the server drops at its end.
