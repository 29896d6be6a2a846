#!/usr/bin/env python3
"""A restart during an outage: everything counted before, during and after it arrives.

    python3 examples/moments/restart.py

The intake is down, payloads wait, the server is stopped and started again; when the intake is back,
the totals there exactly equal what was sent.
"""
import os
import shutil
import tempfile
import time

from whippet import KEY, Intake, Whippet, promise, until


def main():
    intake = Intake()
    folder = tempfile.mkdtemp(prefix="whippet-moment-")
    sent = 0

    def server():
        return Whippet(
            folder=os.path.join(folder, "run"),
            interval=2,
            api_key=KEY,
            dd_url=intake.url,
            forwarder_storage_max_size_in_bytes=10 << 20,
            forwarder_storage_path=os.path.join(folder, "spool"),
            # Independent of how full this machine's disk is.
            forwarder_storage_max_disk_ratio=1.0,
            forwarder_stop_timeout=1,
            aggregator_stop_timeout=1,
            forwarder_backoff_base=1,
            forwarder_backoff_max=1,
            **{"use_v2_api.series": "false"},
        )

    def send(client, count):
        nonlocal sent
        for _ in range(count):
            client.send(b"orders:1|c|#shop:web")
            sent += 1
            if sent % 200 == 0:
                time.sleep(0.005)

    try:
        os.mkdir(os.path.join(folder, "run"))
        first = server()
        send(first.socket(), 1_000)
        until(lambda: intake.total("orders") == sent, "the first thousand arrive")
        promise(True, f"intake up: {sent:,} orders sent, {intake.total('orders'):,.0f} arrived")

        intake.down = True
        send(first.socket(), 700)
        until(lambda: intake.refused > 0, "the intake refuses a payload")
        send(first.socket(), 300)
        first.stop()
        print("stopped:", first.logged("^payloads "))
        promise(intake.total("orders") == 1_000, "the outage continues, nothing new arrived")

        second = server()
        send(second.socket(), 500)
        until(lambda: second.status()["lines"]["received"] == 500, "the second process counts")
        intake.down = False
        until(lambda: intake.total("orders") == sent, f"all {sent:,} orders arrive after the outage")
        promise(True, f"intake back: {sent:,} orders sent, {intake.total('orders'):,.0f} arrived")
        second.stop()
        promise(intake.total("orders") == sent, f"unchanged after the shutdown: {second.logged('^payloads ')}")
    finally:
        for one in ("first", "second"):
            if one in locals():
                locals()[one].__exit__()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
