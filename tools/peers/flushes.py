"""What a server flushed, as sums of counters: one reader per format.

A reader takes what a sink got (a list of `sinks.Part`) and the interval, and returns
{(name, tags): sum} over the whole run. Values of one series at one second overwrite each other where
the store behind the format does so; a server that flushes a second twice is therefore found out.
"""

import gzip
import json
import re
import struct
import zlib


def plain_key(name, tags):
    """A name with the sorted tags."""
    return name, ",".join(sorted(tag for tag in tags if tag))


def prometheus_key(name, tags):
    """Names and labels as statsd_exporter writes them."""
    labels = [tag.partition(":") for tag in tags if tag]
    return _label(name), ",".join(sorted(f"{_label(key)}:{value}" for key, _, value in labels))


def _label(text):
    return re.sub("[^a-zA-Z0-9_]", "_", text)


def carbon(parts, _seconds, before="", after=""):
    """Graphite's lines: `name value second`; the last value of a second counts."""
    points = {}
    for line in b"".join(part.body for part in parts).decode(errors="replace").splitlines():
        words = line.split(" ")
        if len(words) == 3 and words[0].startswith(before) and words[0].endswith(after):
            name = words[0][len(before) : len(words[0]) - len(after)]
            points[plain_key(name, ()), words[2]] = _number(words[1])
    return _over_time(points)


def etsy(parts, seconds):
    """Counters of etsy's statsd below its prefix."""
    return carbon(parts, seconds, "stats.counters.", ".count")


def statsite(parts, _seconds):
    """`counts.name|value|second`."""
    points = {}
    for line in b"".join(part.body for part in parts).decode(errors="replace").splitlines():
        words = line.split("|")
        if len(words) == 3 and words[0].startswith("counts."):
            points[plain_key(words[0][len("counts.") :], ()), words[2]] = _number(words[1])
    return _over_time(points)


def vector(parts, _seconds):
    """One JSON object a line; incremental counters add up."""
    sums = {}
    for line in b"".join(part.body for part in parts).splitlines():
        row = json.loads(line)
        if "counter" in row:
            tags = [f"{key}:{value}" for key, value in (row.get("tags") or {}).items()]
            key = plain_key(row["name"], tags)
            sums[key] = sums.get(key, 0.0) + row["counter"]["value"]
    return sums


SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def prometheus(parts, _seconds):
    """The last page of /metrics: counters are sums already."""
    counters, sums = set(), {}
    for line in (parts[-1].body if parts else b"").decode(errors="replace").splitlines():
        if line.startswith("# TYPE ") and line.endswith(" counter"):
            counters.add(line.split(" ")[2])
        sample = SAMPLE.match(line)
        if sample and sample[1] in counters:
            tags = [f"{key}:{value}" for key, value in LABEL.findall(sample[2] or "")]
            sums[plain_key(sample[1], tags)] = _number(sample[3])
    return sums


CHART = re.compile(r'chart="statsd_(.*?)_counter",[^}]*\} (\S+)')


def netdata(parts, _seconds):
    """The last page of raw values: counters since the start, by their charts."""
    page = (parts[-1].body if parts else b"").decode(errors="replace")
    return {plain_key(name, ()): _number(value) for name, value in CHART.findall(page)}


def datadog(parts, seconds):
    """What was posted to Datadog's intake."""
    points = {}
    for name, tags, kind, interval, values in _series(parts):
        factor = {"rate": interval or seconds, "count": 1}.get(kind)
        if factor:
            for second, value in values:
                points[plain_key(name, tags), second] = value * factor
    return _over_time(points)


def gostatsd(parts, _seconds):
    """Its rates are of the time that has really passed, which it does not post; the gauges `name.count` are exact."""
    points = {}
    for name, tags, kind, _interval, values in _series(parts):
        if kind == "gauge" and name.endswith(".count"):
            for second, value in values:
                points[plain_key(name.removesuffix(".count"), tags), second] = value
    return _over_time(points)


def _series(parts):
    """Series of v1 (JSON) and v2 (protobuf): name, tags, kind, interval, points."""
    for part in parts:
        if part.path.startswith("/api/v1/series"):
            yield from map(_v1, json.loads(_unpacked(part))["series"])
        elif part.path.startswith("/api/v2/series"):
            yield from map(_v2, _messages(_unpacked(part), 1))


def _v1(row):
    return row["metric"], row.get("tags") or (), row["type"], row.get("interval"), row["points"]


def _v2(message):
    """MetricSeries: metric 2, tags 3, points 4 (value 1, timestamp 2), type 5, interval 8."""
    name, tags, kind, interval, points = "", [], 0, 0, []
    for number, value in _fields(message):
        if number == 2:
            name = value.decode()
        elif number == 3:
            tags.append(value.decode())
        elif number == 4:
            point = dict(_fields(value))
            points.append((point.get(2, 0), struct.unpack("<d", point.get(1, bytes(8)))[0]))
        elif number == 5:
            kind = value
        elif number == 8:
            interval = value
    return name, tags, {1: "count", 2: "rate", 3: "gauge"}.get(kind, ""), interval, points


def _messages(body, wanted):
    return (value for number, value in _fields(body) if number == wanted)


def _fields(body):
    """Numbers and values of a protobuf message; fixed-width ones as bytes."""
    at = 0
    while at < len(body):
        head, at = _varint(body, at)
        number, kind = head >> 3, head & 7
        if kind == 0:
            value, at = _varint(body, at)
        else:
            if kind == 2:
                length, at = _varint(body, at)
            else:
                length = {1: 8, 5: 4}[kind]
            value, at = bytes(body[at : at + length]), at + length
        yield number, value


def _varint(body, at):
    value = shift = 0
    while True:
        byte = body[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _unpacked(part):
    if part.encoding == "gzip":
        return gzip.decompress(part.body)
    if part.encoding in ("deflate", "zlib"):
        return zlib.decompress(part.body)
    return part.body


def _number(text):
    try:
        return float(text)
    except ValueError:
        return 0.0


def _over_time(points):
    sums = {}
    for (key, _second), value in points.items():
        sums[key] = sums.get(key, 0.0) + value
    return sums
