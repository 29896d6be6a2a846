"""What must arrive for what the drivers do: metric, kind, tags and value, by client."""

SECRETS = (b"SELECT", b"users", b"boom happened")
TELEMETRY = "dd.instrumentation_telemetry_data.tracers"
EDGE = ["manual_checkpoint:true", "topic:orders", "type:kafka", "service:shop", "env:prod"]
LANGUAGES = {"py3": ("python", "3.10.2"), "py4": ("python", "4.16.0"), "js": ("nodejs", "5.132.0")}
# Known hashes of the pathway of the drivers, with process tags off.
HASHES = {
    "py3": (6189836063794947354, 18165093400377220725),
    "py4": (6189836063794947354, 18165093400377220725),
    "js": (1258849064919783460, None),
}


class Between:
    """A value that depends on how fast the machine is."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    def __eq__(self, value):
        return value is not None and self.low <= value <= self.high

    def __mul__(self, factor):
        return Between(self.low * factor, self.high * factor)

    def __str__(self):
        return f"{self.low} to {self.high}"


def row(what, metric, kind, value, tags, host="door-host"):
    return {"what": what, "metric": metric, "kind": kind, "value": value, "tags": sorted(tags), "host": host}


def stats(name):
    shop = ["service:shop", "env:prod", "version:1.2"]
    # ddtrace 3 does not send the kind of a span.
    kind = [] if name == "py3" else ["span.kind:server"]
    web = shop + kind + ["resource_name:get_/a"]
    good = web + ["http.status_code:200", "http.status_class:2xx"]
    bad = web + ["http.status_code:500", "http.status_class:5xx"]
    yield row("2 requests, 200", "trace.web.request.hits", "counter", 2, good)
    yield row("1 request, 500", "trace.web.request.hits", "counter", 1, bad)
    yield row("1 error", "trace.web.request.errors", "counter", 1, bad)
    yield row("2 times 20 ms", "trace.web.request.duration", "counter", Between(0.04, 10), good)
    yield row("2 times 20 ms", "trace.web.request", "distribution", (2, Between(0.04, 10)), good)
    yield row("20 ms", "trace.web.request.duration", "counter", Between(0.02, 10), bad)
    yield row("20 ms", "trace.web.request", "distribution", (1, Between(0.02, 10)), bad)
    yield row("1 sql statement", "trace.postgres.query.hits", "counter", 1, shop)
    yield row("5 ms", "trace.postgres.query", "distribution", (1, Between(0.005, 10)), shop)


def streams(name):
    incoming, outgoing = EDGE + ["direction:in"], EDGE + ["direction:out"]
    yield row("1 message out", "data_streams.throughput", "counter", 1, outgoing)
    yield row("1 message in", "data_streams.throughput", "counter", 1, incoming)
    for pathway in ("full", "edge"):
        tags = incoming + [f"pathway_type:{pathway}"]
        yield row("50 ms on the way", "data_streams.latency", "distribution", (1, Between(0.049, 10)), tags)
    if name != "py3":
        # The context that travels with the message, at least.
        yield row("size of the message", "data_streams.payload_size", "distribution", (1, Between(20, 200)), outgoing)
        size = row("size of the message", "data_streams.payload_size", "distribution", (1, Between(0, 200)), incoming)
        yield size
    partition = ["topic:orders", "partition:1", "env:prod"]
    group = partition + ["consumer_group:g1"]
    yield row("offset 42 produced", "data_streams.kafka.produce_offset", "gauge", 42, partition)
    yield row("offset 40 committed", "data_streams.kafka.commit_offset", "gauge", 40, group)
    yield row("3 messages unread", "data_streams.kafka.lag_messages", "gauge", 3, group)
    yield row("3 messages unread", "data_streams.kafka.lag_seconds", "gauge first", Between(0, 20), group)


def telemetry(name):
    language, version = LANGUAGES[name]
    ours = ["service:shop", "env:prod", "version:1.2", f"language:{language}", f"tracer_version:{version}"]
    yield row("count 3", f"{TELEMETRY}.my.count", "counter", 3, ours + ["a:b"])
    yield row("gauge 4.5", f"{TELEMETRY}.my.gauge", "gauge", 4.5, ours)
    yield row("rate 12", f"{TELEMETRY}.my.rate", "counter", 12, ours)
    # Points of ddtrace 3 are values; the others send bins, which are exact within 1.6 %.
    total = 16 if name == "py3" else Between(15.74, 16.26)
    yield row("distribution 7, 9", f"{TELEMETRY}.my.dist", "distribution", (2, total), ours)
    # Of equal logs ddtrace 3 sends one; the driver for js writes only one.
    logs = 2 if name == "py4" else 1
    yield row("error logs", "whippet.telemetry.logs", "counter", logs, ours + ["level:error"])
    yield row("the process", "whippet.telemetry.runtimes", "gauge most", 1, ours)


def dogstatsd():
    tags = ["service:shop", "env:prod", "version:1.2"]
    yield row("100 increments of 2", "js.count", "counter", 200, tags + ["a:b"])
    yield row("gauge 1.5", "js.gauge", "gauge", 1.5, tags)
    yield row("distribution 3, 5", "js.dist", "distribution", (2, 8), tags)


def datadogpy(host):
    constant = ["const:yes"]
    yield row("ThreadStats: 10 increments of 2", "ts.count", "counter", 20, constant + ["a:b"])
    yield row("ThreadStats: gauge 7, 8", "ts.gauge", "gauge", 8, constant)
    yield row("ThreadStats: histogram 1 to 4", "ts.histogram.count", "counter", 4, constant)
    yield row("ThreadStats: histogram 1 to 4", "ts.histogram.max", "gauge", 4, constant)
    yield row("ThreadStats: histogram 1 to 4", "ts.histogram.avg", "gauge", 2.5, constant)
    yield row("ThreadStats: distribution 5, 6", "ts.dist", "distribution", (2, 11), constant)
    yield row("ThreadStats: event", "deployed", "event", 1, constant, host)
    yield row("ThreadStats, compressed: 4", "ts.packed", "counter", 4, [])
    yield row("Metric.send: 3.5", "api.gauge", "gauge", 3.5, ["a:b"], host)
    yield row("Metric.send: count 5", "api.count", "counter", 5, ["a:b"], host)
    yield row("Metric.send: rate 2 in 10 s", "api.rate", "counter", 20, ["a:b"], host)
    yield row("Metric.send: host, device", "api.untyped", "gauge", 9, ["device:sda"], "db-1")
    yield row("Distribution.send: 1, 2, 3", "api.dist", "distribution", (3, 6), ["a:b"], host)
    yield row("Event.create", "deploy", "event", 1, ["a:b"], host)
    yield row("ServiceCheck.check", "app.ok", "check", 0, ["a:b"], "web-1")


def several(want, processes):
    """The same of several processes at once: what adds up is multiplied."""
    if want["kind"] == "distribution":
        return {**want, "value": tuple(part * processes for part in want["value"])}
    if want["kind"] in ("counter", "event", "gauge most"):
        return {**want, "value": want["value"] * processes}
    return want


def rows(name, processes, host):
    """Every row that is expected of so many drivers of a client; `host` is the one that datadogpy finds."""
    if name == "dd":
        found = list(datadogpy(host))
    else:
        found = [*stats(name), *streams(name), *telemetry(name)]
        found += dogstatsd() if name == "js" else []
    return [several(want, processes) for want in found]
