#!/usr/bin/env python3
"""Pathways between the library and unmodified ddtrace, both ways.

    make test-pathways          or: python3 tools/clients/pathways.py PEER

PEER is the program of tools/clients/peer. For ddtrace 3 and 4, each in an environment of its own that is made first
(pip): a message that one end writes is read by both, and the hashes must be equal; so must those of a chain of
messages that goes to and fro. Then the library's body is read: its fields with msgpack, and its sketches byte by byte
against those that ddtrace's own library makes of the same values. Exits with 1 if anything differs.
"""
import base64
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
HOME = pathlib.Path(os.environ.get("CLIENTS", HERE.parent.parent / "target" / "clients"))
VERSIONS = {"pathways3": "ddtrace==3.10.2", "pathways4": "ddtrace==4.16.0"}


class Peer:
    """The library, told what to do."""

    def __init__(self, program, **variables):
        ours = {key: value for key, value in os.environ.items() if not key.startswith("DD_")}
        self.process = subprocess.Popen([program], env={**ours, "DD_SERVICE": "shop", "DD_ENV": "prod", **variables},
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, do, **order):
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise SystemExit(f"{do} {order}: {answer['error']}")
        return answer

    def stop(self):
        self.process.stdin.close()
        return self.process.wait(timeout=10)


def check(problems, what, got, want):
    print(f"  {what}: {str(got)[:120]}")
    if got != want:
        problems.append(f"{what} is {got}, not {want}")


def compare_hashes(rust, problems):
    from ddtrace.data_streams import set_consume_checkpoint, set_produce_checkpoint

    # The library writes; both read.
    written = rust("produce", type="kafka", topic="orders")
    python = set_consume_checkpoint("kafka", "orders", lambda _: written["context"])
    read = rust("consume", type="kafka", topic="orders", context=written["context"])
    check(problems, "rust to python: hash of the reader", str(python.hash), read["hash"])

    # ddtrace goes on from there; the library reads, and goes on as well.
    carrier = {}
    python = set_produce_checkpoint("sqs", "invoices", carrier.__setitem__)
    context = carrier["dd-pathway-ctx-base64"]
    onward = rust("continue", type="sqs", topic="invoices")
    check(problems, "both write what follows: hash", onward["hash"], str(python.hash))
    mine = rust("consume", type="sqs", topic="invoices", context=context)
    theirs = set_consume_checkpoint("sqs", "invoices", lambda _: context)
    check(problems, "python to rust: hash of the reader", mine["hash"], str(theirs.hash))

    # To and fro, with names that are no ASCII.
    for turn, topic in enumerate(["a", "ümläut", "日本", "d" * 300]):
        onward = rust("continue", type="kafka", topic=topic)
        python = set_consume_checkpoint("kafka", topic, lambda _: onward["context"], manual_checkpoint=True)
        carrier = {}
        after = set_produce_checkpoint("kafka", "next", carrier.__setitem__)
        mine = rust("consume", type="kafka", topic="next", context=carrier["dd-pathway-ctx-base64"])
        theirs = set_consume_checkpoint("kafka", "next", carrier.get)
        check(problems, f"turn {turn}: hash after {python.hash} and {after.hash}", mine["hash"], str(theirs.hash))

    # What cannot be read begins a pathway at both ends.
    mine = rust("consume", type="kafka", topic="orders", context="")
    theirs = set_consume_checkpoint("kafka", "orders", lambda _: "")
    check(problems, "without a context: hash", mine["hash"], str(theirs.hash))


def compare_bodies(rust, problems):
    import msgpack
    from ddtrace.internal.datastreams import processor

    sketch = getattr(processor, "DDSketch", None) or processor.LogCollapsingLowestDenseDDSketch
    rust("flush")
    sizes = [0, 0, 1, 2, 7, 9, 250, 250, 1000, 1_000_000, 123_456_789]
    body = {"Stats": []}
    # Again where the border of two buckets lies between.
    while len(body["Stats"]) != 1:
        written = rust("produce", type="kafka", topic="orders")
        rust("consume", type="kafka", topic="orders", context=written["context"], sizes=sizes)
        rust("offsets", topic="orders")
        body = msgpack.unpackb(base64.b64decode(rust("flush")["body"]))
    check(problems, "fields", sorted(body), ["Env", "Hostname", "Lang", "Service", "Stats", "TracerVersion"])
    stats = [point for bucket in body["Stats"] for point in bucket["Stats"]]
    backlogs = [backlog for bucket in body["Stats"] for backlog in bucket["Backlogs"]]
    check(problems, "edge tags", [point["EdgeTags"] for point in stats],
          [[f"direction:{way}", "manual_checkpoint:true", "topic:orders", "type:kafka"] for way in ("in", "out")])
    check(problems, "parent", stats[0]["ParentHash"], stats[1]["Hash"])
    wanted = sketch()
    for size in sizes:
        wanted.add(size)
    check(problems, "sketch of sizes", stats[0]["PayloadSize"].hex(), wanted.to_proto().hex())
    one = sketch()
    one.add(28 + 21)
    check(problems, "sketch of the header's size", stats[1]["PayloadSize"].hex(), one.to_proto().hex())
    check(problems, "offsets", [(backlog["Tags"], backlog["Value"]) for backlog in backlogs],
          [(["type:kafka_commit", "consumer_group:g1", "topic:orders", "partition:1"], 40),
           (["type:kafka_produce", "topic:orders", "partition:1"], 42)])


def inside(program):
    """Inside an environment with ddtrace."""
    import ddtrace

    print(f"ddtrace {ddtrace.__version__}")
    rust, problems = Peer(program), []
    compare_hashes(rust, problems)
    compare_bodies(rust, problems)
    if rust.stop() != 0:
        problems.append("the peer failed")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    sys.stdout.flush()
    # Without the last flush: nothing listens.
    os._exit(1 if problems else 0)


def install(name, package, *more):
    """Makes the environment if it is missing, with the ordinary package manager."""
    python = HOME / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", HOME / name], check=True)
        subprocess.run([HOME / name / "bin" / "pip", "install", "--quiet", package, *more], check=True)
    return python


def environment(**more):
    """What switches data streams on, and everything else off."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("DD_")}
    return {**ours, "DD_SERVICE": "shop", "DD_ENV": "prod", "DD_DATA_STREAMS_ENABLED": "true",
            "DD_TRACE_ENABLED": "false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false", "DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED": "false",
            "DD_TRACE_AGENT_URL": "http://127.0.0.1:9", **more}


def main(program):
    failed = 0
    for name, package in VERSIONS.items():
        python = install(name, package, "msgpack")
        failed |= subprocess.run([python, __file__, "--inside", program], env=environment()).returncode
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(sys.argv[2])
    main(sys.argv[1])
