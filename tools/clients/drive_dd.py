#!/usr/bin/env python3
"""Uses an unmodified datadogpy the way an application does; tools/clients/run.py starts it.

ThreadStats: 10 increments of 2, gauge 7 then 8, histogram 1 to 4, distribution 5 and 6, one event; and
with compressed bodies one increment of 4.
datadog.api: a metric of each type, a distribution, an event and a service check. Prints the answers as
JSON. The address comes from API_HOST.
"""
import importlib.metadata
import json
import os
import time

from datadog import ThreadStats, api, initialize

initialize(api_key="0" * 32, app_key="1" * 40, api_host=os.environ["API_HOST"], mute=False, hostname_from_config=False)

stats = ThreadStats(namespace="ts", constant_tags=["const:yes"])
stats.start(flush_interval=1, roll_up_interval=1, flush_in_thread=False)
now = time.time()
for _ in range(10):
    stats.increment("count", 2, timestamp=now, tags=["a:b"])
stats.gauge("gauge", 7, timestamp=now)
stats.gauge("gauge", 8, timestamp=now)
for value in range(1, 5):
    stats.histogram("histogram", value, timestamp=now)
stats.distribution("dist", 5, timestamp=now)
stats.distribution("dist", 6, timestamp=now)
stats.event("deployed", "by ThreadStats", alert_type="info")
stats.flush(now + 5)

packed = ThreadStats(namespace="ts", compress_payload=True)
packed.start(flush_interval=1, roll_up_interval=1, flush_in_thread=False)
packed.increment("packed", 4, timestamp=now)
packed.flush(now + 5)

answers = {
    "version": importlib.metadata.version("datadog"),
    "gauge": api.Metric.send(metric="api.gauge", points=[(int(now), 3.5)], tags=["a:b"]),
    "count": api.Metric.send(metric="api.count", points=[(int(now), 5)], type="count", tags=["a:b"]),
    "rate": api.Metric.send(metric="api.rate", points=[(int(now), 2)], type="rate", interval=10, tags=["a:b"]),
    "untyped": api.Metric.send(metric="api.untyped", points=9, host="db-1", device="sda"),
    "distribution": api.Distribution.send(
        distributions=[{"metric": "api.dist", "points": [(int(now), [1.0, 2.0, 3.0])], "tags": ["a:b"]}]
    ),
    "event": api.Event.create(title="deploy", text="of the api", tags=["a:b"], alert_type="warning"),
    "check": api.ServiceCheck.check(check="app.ok", host_name="web-1", status=0, message="fine", tags=["a:b"]),
}
print(json.dumps(answers), flush=True)
