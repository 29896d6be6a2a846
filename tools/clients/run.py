#!/usr/bin/env python3
"""Runs unmodified Datadog clients against whippet and compares what arrives with what they did.

    make clients          or: python3 tools/clients/run.py [--server target/debug/whippet] [py3 py4 js dd]

Each client gets a whippet with open doors and a fake intake of its own; then two processes of it share another
whippet, over its Unix socket where the client can. Prints what arrived as a table and
exits with 1 if a total, a set of tags or a host differs, if a client logged anything, if whippet logged a
warning, or if a raw statement or a log text was posted. Takes about two and a half minutes, because doors
post a bucket 30 to 90 s after its end. Installs the clients first (pip, npm; see clients.py).
"""
import argparse
import collections
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import clients
import expected
import intake

POSTED_WITHIN = 150


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A whippet with open doors that posts to a fake intake."""

    def __init__(self, program, folder):
        self.intake, self.port, self.admin = intake.Intake(), free_port(), free_port()
        self.socket = folder / "apm.sock"
        variables = {
            "PATH": os.environ["PATH"],
            "DD_API_KEY": "0123456789abcdef0123456789abcdef",
            "DD_DD_URL": self.intake.url(),
            "DD_HOSTNAME": "door-host",
            "DD_RUN_PATH": str(folder),
            "DD_DOGSTATSD_SOCKET": "",
            "DD_DOGSTATSD_PORT": "__random__",
            "DD_SERIALIZER_COMPRESSOR_KIND": "zlib",
            "DD_APM_RECEIVER_PORT": str(self.port),
            "DD_APM_RECEIVER_SOCKET": str(self.socket),
            "WHIPPET_ADMIN_ADDRESS": f"127.0.0.1:{self.admin}",
        }
        self.log = folder / "whippet.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "run"], env=variables, stdout=log, stderr=log)

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self):
        for _ in range(100):
            try:
                return urllib.request.urlopen(self.url() + "/info", timeout=1).read()
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit(f"whippet does not listen on {self.url()}:\n{self.log.read_text()}")

    def counts(self):
        """The doors' lines of /metrics."""
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5).read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in page.splitlines() if line.startswith("whippet_doors_")}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def kept(rows):
    """What an intake keeps: of one series and second the last value. And how often that lost one."""
    last, lost = {}, []
    for one in rows:
        if one["kind"] in ("event", "check"):
            last[id(one)] = one
            continue
        key = (one["metric"], tuple(one["tags"]), one["host"], one["time"])
        if key in last and one["kind"] != "gauge":
            lost.append(f"{one['metric']} {','.join(one['tags'])} twice at {one['time']}")
        last[key] = one
    return list(last.values()), lost


def arrived(rows, want):
    """The value of all rows of one series, in the form of an expectation; none if there is none."""
    kind = want["kind"].split(" ")[0]
    found = [one for one in rows if all(one[key] == want[key] for key in ("metric", "tags", "host")) and one["kind"] == kind]
    if not found:
        return None
    if want["kind"] == "counter":
        return round(sum(one["value"] for one in found), 9)
    if want["kind"] == "distribution":
        return sum(one["count"] for one in found), round(sum(one["value"] for one in found), 9)
    if want["kind"] == "event":
        return len(found)
    if want["kind"] == "gauge most":
        return max(one["value"] for one in found)
    if want["kind"] == "gauge first":
        return min(found, key=lambda one: one["time"])["value"]
    return max(found, key=lambda one: one["time"])["value"]


def text(value):
    if isinstance(value, tuple):
        return f"{text(value[0])} value{'s' if value[0] != 1 else ''}, sum {text(value[1])}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def check_client(name, out, errors, code, problems):
    """Its exit code, its log and its pathway hashes."""
    if code != 0:
        problems.append(f"exit code {code}")
    problems += [f"the client logged: {line}" for line in errors.splitlines()]
    said = json.loads(out.splitlines()[-1]) if out.strip() else {}
    if name == "dd":
        problems += [f"{key}: answered {value}" for key, value in said.items() if key != "version" and value != {"status": "ok"}]
        return
    for word, hash in zip(("produced", "consumed"), expected.HASHES[name]):
        if hash is not None and int(said.get(word, 0)) != hash:
            problems.append(f"the hash of the {word} pathway is {said.get(word)}, not {hash}")


def check_server(server, wanted, counts, code, problems):
    """Its exit code, its log, its books, and what must never leave."""
    if code != 0:
        problems.append(f"whippet: exit code {code}")
    for line in server.log.read_text().splitlines():
        if re.search(r"\b(WARN|ERROR|warning|error|panicked)\b|/info|/config|not_found", line) and "received = " not in line:
            problems.append(f"whippet logged: {line}")
    for body in server.intake.bytes:
        problems += [f"posted: {secret.decode()}" for secret in expected.SECRETS if secret in body]
    by_route = collections.defaultdict(lambda: [0, 0, 0])
    for series, value in counts.items():
        found = re.match(r'whippet_doors_(requests|recorded|refused)_total\{.*?route="([a-z_]+)"', series)
        if found:
            by_route[found[2]][("requests", "recorded", "refused").index(found[1])] += value
    for route, (requests, recorded, refused) in by_route.items():
        if requests != recorded + refused:
            problems.append(f"route {route}: {requests} requests = {recorded} recorded + {refused} refused")
        # Clients ask for remote configuration, and get a 404.
        if refused and route != "other":
            problems.append(f"route {route}: {refused} refused")
    rows, lost = kept(server.intake.rows)
    problems += [f"overwritten: {one}" for one in lost]
    names = {want["metric"] for want in wanted if want["kind"] not in ("event", "check")}
    for one in rows:
        known = [want for want in wanted if want["metric"] == one["metric"]]
        if one["metric"] in names and not any(want["tags"] == one["tags"] and want["host"] == one["host"] for want in known):
            problems.append(f"not expected: {one['metric']} {one['host']} {','.join(one['tags'])} = {one['value']}")


def check_sums(rows, problems):
    """The sum of a latency is exact: that of its duration."""
    sums = collections.defaultdict(float)
    for one in rows:
        if one["metric"].startswith("trace."):
            name, sign = one["metric"].removesuffix(".duration"), 1
            if one["kind"] == "distribution":
                sign = -1
            elif name == one["metric"]:
                continue
            sums[name, tuple(one["tags"])] += sign * one["value"]
    problems += [f"{name} {','.join(tags)}: sums differ by {sum}" for (name, tags), sum in sums.items() if abs(sum) > 1e-9]


def run(name, program, processes, results):
    problems = []
    over_socket = processes > 1 and name != "dd"
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, pathlib.Path(folder))
        server.wait_until_ready()
        # Without process tags the pathway hashes are known.
        more = {"DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED": "false"}
        url = f"unix://{server.socket}" if over_socket else server.url()
        for process in [clients.start(name, url, 25, more) for _ in range(processes)]:
            out, errors = process.communicate()
            check_client(name, out, errors, process.returncode, problems)
        wanted = expected.rows(name, processes, socket.gethostname())
        deadline = time.monotonic() + POSTED_WITHIN
        while time.monotonic() < deadline:
            with server.intake.lock:
                rows, _ = kept(server.intake.rows)
            if all(want["value"] == arrived(rows, want) for want in wanted):
                break
            time.sleep(1)
        counts = server.counts()
        code = server.stop()
        check_server(server, wanted, counts, code, problems)
        rows, _ = kept(server.intake.rows)
        check_sums(rows, problems)
        log = server.log.read_text()
    table = []
    for want in wanted:
        value = arrived(rows, want)
        good = want["value"] == value
        table.append((want, value, good))
        if not good:
            problems.append(f"{want['metric']} {','.join(want['tags'])}: {text(value)} instead of {text(want['value'])}")
    title = clients.TITLES[name] + (f", {processes} processes" if processes > 1 else "")
    title += " over the Unix socket" if over_socket else ""
    results[name, processes] = title, table, problems, counts, rows, log


def show(title, table, problems, counts, rows, log, verbose):
    print(f"\n## {title}\n\n| what it did | metric | tags | value |\n|---|---|---|---|")
    for want, value, good in table:
        cell = text(value) if good else f"**{text(value)}**, expected {text(want['value'])}"
        tags = " ".join(want["tags"]) + ("" if want["host"] == "door-host" else f" (host {want['host']})")
        print(f"| {want['what']} | `{want['metric']}` | {tags} | {cell} |")
    print()
    for series, value in sorted(counts.items()):
        if value and re.search("requests_total|refused_total|late_total", series):
            print(f"    {series} {value:.0f}")
    if verbose or problems:
        for one in sorted(rows, key=lambda one: (one["metric"], one["time"])):
            print("   ", json.dumps(one))
        print(log)
    print(f"\n{'No difference.' if not problems else 'Differences:'}")
    for problem in problems:
        print(f"- {problem}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--server", default="target/debug/whippet", help="the program (default: %(default)s)")
    arguments.add_argument("--verbose", action="store_true", help="every row and the log, also when all is well")
    arguments.add_argument("names", nargs="*", metavar="CLIENT", help=f"of {' '.join(clients.NAMES)}; default: all")
    arguments = arguments.parse_args()
    clients.install()
    results, threads = {}, []
    for name in arguments.names or clients.NAMES:
        for processes in (1, 2):
            threads.append(threading.Thread(target=run, args=(name, arguments.server, processes, results)))
            threads[-1].start()
    for thread in threads:
        thread.join()
    for _, result in sorted(results.items()):
        show(*result, arguments.verbose)
    missing = len(threads) - len(results)
    sys.exit(1 if missing or any(problems for _, _, problems, *_ in results.values()) else 0)


if __name__ == "__main__":
    main()
