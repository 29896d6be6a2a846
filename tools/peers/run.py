"""One run: a server in a folder of its own, the load of `whippet bench`, its flushes, the check."""

import json
import os
import pathlib
import socket
import string
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

import check
import sinks

# The server's processor and the one of everything else: generator, sinks, this script.
SERVER_CPU, OTHER_CPU = 0, 1

# A line with name and tags is about as long as one with three tags of the usual load.
LONG_NAMES = ["--tags", "0", "--name-bytes", "58-62"]

# A server that outgrows this is stopped: the machine is shared, and swapping measures nothing.
MEMORY_MAX = 4 << 30

# With more contexts, reading the flushes would take longer and more memory than the run.
CHECKED_CONTEXTS_MAX = 100_000

# What a server may take for a flush beyond the interval: so much, and so much for each context.
FLUSH_TIME, FLUSH_TIME_OF_A_CONTEXT = 1.0, 60e-6


@dataclass(frozen=True)
class Given:
    """A peer and the words that start its program."""

    peer: object
    program: str


@dataclass(frozen=True)
class Load:
    """What `whippet bench` sends: a profile for so many seconds, after so many of warm-up."""

    profile: str
    seconds: float
    # Metrics a second; None is as many as it can send.
    rate: float | None = None
    warmup: float = 0.5
    contexts: int = 1_000
    # Search for the highest rate without loss from `rate` on.
    search: bool = False

    def arguments(self):
        """For the command line."""
        return [
            *("--profile", self.profile, "--contexts", str(self.contexts)),
            *("--block-lines", str(max(self.contexts, 30_000))),
            *("--warmup", str(self.warmup), "--duration", str(self.seconds)),
            *(["--rate", f"{self.rate:.0f}"] if self.rate else []),
            *(["--find-max-rate"] if self.search else []),
        ]


@dataclass
class Result:
    """What one invocation of `whippet bench` found; `run` is its last run."""

    run: dict
    search: dict
    # A `check.Check`, or None where flushes cannot be read.
    check: object = None
    failed: str = ""

    @property
    def verdict(self):
        """In a word or two."""
        if self.failed:
            return self.failed
        return str(self.check) if self.check else "not checked"


class Place:
    """A started sink and a folder with the configuration of one server."""

    def __init__(self, given, seconds, load_seconds=0.0):
        peer = given.peer
        # What a stopped server still writes is of no interest.
        self.temporary = tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True)
        self.folder = self.temporary.name
        self.seconds = peer.fixed_seconds or seconds
        self.sink = sinks.KINDS[peer.sink](self.folder, self.seconds, load_seconds, peer.page)
        self.port = sinks.free_port(socket.SOCK_DGRAM)
        words = {
            "program": given.program,
            "folder": self.folder,
            "port": self.port,
            "sink": self.sink.port,
            "spare": sinks.free_port(socket.SOCK_STREAM),
            "spare2": sinks.free_port(socket.SOCK_STREAM),
            "seconds": self.seconds,
        }
        for name, text in peer.files.items():
            pathlib.Path(self.folder, name).write_text(string.Template(text).substitute(words))
        self.command = string.Template(peer.command).substitute(words)
        if peer.prepare:
            prepare = string.Template(peer.prepare).substitute(words)
            subprocess.run(prepare, shell=True, check=True, capture_output=True)

    def bound(self):
        """True once something listens at the port."""
        wanted = f":{self.port:04X}"
        for table in ("/proc/net/udp", "/proc/net/udp6"):
            rows = pathlib.Path(table)
            if rows.exists() and any(
                line.split()[1].endswith(wanted) for line in rows.read_text().splitlines()[1:]
            ):
                return True
        return False

    def close(self):
        """The sink is complete afterwards."""
        self.sink.close()
        self.temporary.cleanup()


def bench(whippet, given, load, seconds):
    """Measures `given` under a `Load`, flushing every `seconds`. One server that behaves as no other does
    is a failed run, not the end of a sitting."""
    try:
        return _bench(whippet, given, load, seconds)
    except Exception as why:  # pylint: disable=broad-exception-caught
        return Result({}, {}, failed=f"FAILED: {type(why).__name__}: {why}")


def _bench(whippet, given, load, seconds):
    peer, place = given.peer, Place(given, seconds, load.warmup + load.seconds)
    report, sent = pathlib.Path(place.folder, "report"), pathlib.Path(place.folder, "sent")
    linger = 0
    place.sink.keeps = load.contexts <= CHECKED_CONTEXTS_MAX and not load.search
    if peer.read and place.sink.keeps:
        linger = place.seconds * peer.intervals + FLUSH_TIME + load.contexts * FLUSH_TIME_OF_A_CONTEXT
    arguments = [
        *(whippet, "bench", "--json", "--no-check", "--target", f"udp://127.0.0.1:{place.port}"),
        *("--server", place.command, "--sent", str(sent), "--linger", str(linger)),
        *("--server-cpus", str(SERVER_CPU), "--generator-cpus", str(OTHER_CPU)),
        *([] if peer.tags else LONG_NAMES),
        *load.arguments(),
    ]
    try:
        with open(report, "wb") as out:
            process = subprocess.Popen(arguments, stdout=out, stderr=subprocess.PIPE)
        too_big = threading.Event()
        watch = threading.Thread(target=_watch, args=(process, place, too_big))
        watch.start()
        said = process.communicate()[1].decode(errors="replace")
        watch.join()
        if process.returncode or not report.stat().st_size:
            why = f"above {MEMORY_MAX >> 20} MiB" if too_big.is_set() else _last_line(said)
            return Result({}, {}, failed=f"FAILED: {why}")
        place.sink.close()
        found = json.loads(report.read_text())
        result = Result(found["runs"][-1], found["ladder"] or {})
        if linger:
            result.check = _check(peer, place, sent, result.run)
        return result
    finally:
        place.close()


def _check(peer, place, sent, run):
    dropped = (run["kernel_dropped"] or 0) / max(1, run["sent"]["datagrams"])
    flushed = peer.read(place.sink.parts, place.seconds)
    return check.compare(check.sums_sent(sent, peer.key), flushed, dropped)


def _watch(process, place, too_big):
    """Tells the sink that the server listens, and stops a server that takes too much memory."""
    told = False
    while process.poll() is None:
        if not told and place.bound():
            place.sink.started()
            told = True
        for child in _children(process.pid):
            if _resident(child) > MEMORY_MAX:
                too_big.set()
                os.kill(child, 9)
        time.sleep(0.1 if told else 0.01)


def _children(pid):
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _resident(pid):
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["no output"])[-1][:200]


def idle(givens, whole_seconds, seconds=10):
    """Percent of a core of each server that gets nothing, all at once; by name, or why not."""
    found, running = {}, []
    try:
        for given in givens:
            place = Place(given, seconds)
            try:
                running.append((given.peer.name, place, _start(place)))
            except RuntimeError as why:
                found[given.peer.name] = f"FAILED: {why}"
                place.close()
        time.sleep(2)
        before = [_cpu_seconds(process.pid) for _, _, process in running]
        time.sleep(whole_seconds)
        for (name, _, process), then in zip(running, before):
            found[name] = 100 * (_cpu_seconds(process.pid) - then) / whole_seconds
        return {given.peer.name: found[given.peer.name] for given in givens}
    finally:
        for _, place, process in running:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            place.close()


def _start(place):
    process = subprocess.Popen(
        ["sh", "-c", f"exec {place.command}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    began = time.monotonic()
    while not place.bound():
        if process.poll() is not None or time.monotonic() - began > 10:
            process.kill()
            process.wait()
            raise RuntimeError(f"`{place.command}` did not start listening")
        time.sleep(0.01)
    place.sink.started()
    return process


def _cpu_seconds(pid):
    """The process clock: all threads, also those that ended (see clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)
