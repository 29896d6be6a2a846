#!/usr/bin/env python3
"""Uses an unmodified ddtrace (3 or 4) the way an application does; tools/clients/run.py starts it.

Three web requests (one of them a 500 with an error), one sql statement, a data streams produce and
consume pair 50 ms apart, Kafka offsets 42 (produced) and 40 (committed), and instrumentation telemetry:
count 3, gauge 4.5, rate 12, distribution 7 and 9, two error logs. Prints the two pathway hashes as JSON.
Everything is configured by DD_* variables.
"""
import json
import sys
import time

import ddtrace
from ddtrace.data_streams import set_consume_checkpoint, set_produce_checkpoint
from ddtrace.internal.datastreams import data_streams_processor
from ddtrace.internal.telemetry import telemetry_writer
from ddtrace.internal.telemetry.constants import TELEMETRY_LOG_LEVEL, TELEMETRY_NAMESPACE

try:
    from ddtrace.trace import tracer
except ImportError:
    from ddtrace import tracer


def web(status, duration):
    with tracer.trace("web.request", resource="GET /a", span_type="web") as span:
        span.set_tag("span.kind", "server")
        span.set_tag("http.status_code", str(status))
        if status >= 500:
            span.error = 1
        time.sleep(duration)


def main(seconds):
    web(200, 0.02)
    web(200, 0.02)
    web(500, 0.02)
    with tracer.trace("postgres.query", resource="SELECT * FROM users WHERE id = 42", span_type="sql"):
        time.sleep(0.005)

    carrier = {}
    produced = set_produce_checkpoint("kafka", "orders", carrier.__setitem__)
    time.sleep(0.05)
    consumed = set_consume_checkpoint("kafka", "orders", carrier.get)
    streams = data_streams_processor()
    streams.track_kafka_produce("orders", 1, 42, time.time())
    streams.track_kafka_commit("g1", "orders", 1, 40, time.time())

    tracers = TELEMETRY_NAMESPACE.TRACERS
    telemetry_writer.add_count_metric(tracers, "my.count", 3, (("a", "b"),))
    telemetry_writer.add_gauge_metric(tracers, "my.gauge", 4.5)
    telemetry_writer.add_rate_metric(tracers, "my.rate", 12)
    telemetry_writer.add_distribution_metric(tracers, "my.dist", 7.0)
    telemetry_writer.add_distribution_metric(tracers, "my.dist", 9.0)
    for _ in range(2):
        telemetry_writer.add_log(TELEMETRY_LOG_LEVEL.ERROR, "boom happened", stack_trace="st", tags={"k": "v"})

    print(json.dumps({"version": ddtrace.__version__, "produced": produced.hash, "consumed": consumed.hash}), flush=True)
    time.sleep(seconds)


main(float(sys.argv[1]) if len(sys.argv) > 1 else 12)
