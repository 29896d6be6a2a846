"""The global tier under faults: real programs, a real broker, a fake intake that keeps the last write of a series
and second. Each trial starts senders and owners, sends for a while, does harm, waits, and compares what was sent
with what the intake holds.

    python3 tools/global/trial.py [NAME...]     all trials, or those named; a Markdown table at the end
    python3 tools/global/trial.py --list

Environment: WHIPPET (the program, built with the feature `global`), BROKERS (host:port,... of brokers that run
already; without it a Tansu is installed and started), SERIES, SECONDS.
"""
import atexit
import collections
import http.server
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]
from broker import Broker, free_port  # noqa: E402
import intake  # noqa: E402

WHIPPET = os.environ.get("WHIPPET", ROOT / "target" / "debug" / "whippet")
SERIES = int(os.environ.get("SERIES", "200"))
SECONDS = int(os.environ.get("SECONDS", "20"))
INTERVAL, GRACE, LATE, SESSION, PARTITIONS = 2, 1, 10, 6, 12


class Intake(http.server.ThreadingHTTPServer):
    """Keeps the last write, and notes when each point came first and what it was before."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.away, self.kept, self.first, self.shrunk = threading.Lock(), False, {}, {}, []
        self.hosts, self.corrections = set(), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, rows):
        now = time.time()
        with self.lock:
            for row in rows:
                if not row["metric"].startswith("g."):
                    continue
                self.hosts.add(row["host"])
                key = (row["metric"], tuple(row["tags"]), row["time"])
                before = self.kept.get(key)
                if before is not None and row["value"] != before:
                    self.corrections += 1
                    # A value may grow by what came late, and never shrinks.
                    if row["value"] < before and row["metric"] in ("g.count", "g.set", "g.time.count"):
                        self.shrunk.append((key, before, row["value"]))
                self.kept[key] = row["value"]
                if row["value"]:
                    self.first.setdefault(key, now)

    def totals(self):
        with self.lock:
            totals = collections.Counter()
            for (metric, _, _), value in self.kept.items():
                totals[metric] += value
            return {name: round(totals[name]) for name in ("g.count", "g.set", "g.time.count")}

    def longest_delay(self):
        with self.lock:
            return max((came - second - INTERVAL for (_, _, second), came in self.first.items()), default=0.0)

    def handle_error(self, request, client_address):
        pass


class Handler(intake.Handler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.away:
            return self.reply(503, b"{}")
        if self.headers.get("Content-Encoding") in ("deflate", "zlib"):
            body = zlib.decompress(body)
        if self.path.split("?")[0] == "/api/v2/series":
            self.server.take(list(intake.read_series(body)))
        self.reply(202, b"{}")


class Program:
    """One whippet; `mode` as in global_mode."""

    def __init__(self, world, name, mode, **more):
        self.world, self.name, self.port, self.admin = world, name, free_port(), free_port()
        folder = pathlib.Path(world.folder) / name
        folder.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "DD_API_KEY": "0123456789abcdef0123456789abcdef",
            "DD_DD_URL": world.intake.url(),
            "DD_HOSTNAME": name,
            "DD_RUN_PATH": str(folder),
            "DD_DOGSTATSD_SOCKET": "",
            "DD_DOGSTATSD_PORT": str(self.port),
            "DD_SERIALIZER_COMPRESSOR_KIND": "zlib",
            "WHIPPET_ADMIN_ADDRESS": f"127.0.0.1:{self.admin}",
            "WHIPPET_INTERVAL": f"{INTERVAL}s",
            "WHIPPET_GLOBAL_MODE": mode,
            "WHIPPET_GLOBAL_BROKERS": world.brokers,
            "WHIPPET_GLOBAL_TOPIC": world.topic,
            "WHIPPET_GLOBAL_PARTITIONS": str(PARTITIONS),
            "WHIPPET_GLOBAL_METRICS": "g.*",
            "WHIPPET_GLOBAL_GRACE": f"{GRACE}s",
            "WHIPPET_GLOBAL_LATE": f"{LATE}s",
            "WHIPPET_GLOBAL_SESSION_TIMEOUT": f"{SESSION}s",
            "WHIPPET_GLOBAL_SPOOL_PATH": str(folder / "global"),
            **more,
        }
        self.log = open(folder / "log", "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen([WHIPPET, "run"], env=self.env, stdout=self.log, stderr=self.log)
        # A trial that fails leaves no program behind.
        atexit.register(self.process.kill)
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.admin), 1).close()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise SystemExit(f"{self.name} does not start:\n{self.tail()}")
                time.sleep(0.05)

    def tail(self):
        return pathlib.Path(self.log.name).read_text()[-3000:]

    def tell(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.tell(signal.SIGCONT)
            self.tell(number)
        self.process.wait(30)


class World:
    """A broker, an intake, programs, and what was sent."""

    def __init__(self, senders=2, owners=2):
        self.folder = tempfile.mkdtemp(prefix="whippet-trial-")
        self.topic = f"trial-{os.getpid()}-{time.time_ns() % 10**9}"
        self.intake, self.sent, self.lock = Intake(), collections.Counter(), threading.Lock()
        self.broker = None
        if "BROKERS" in os.environ:
            self.brokers = os.environ["BROKERS"]
        else:
            self.broker = Broker(ROOT / "target" / "global", self.topic, PARTITIONS)
            self.brokers = self.broker.address
        create = {"WHIPPET_GLOBAL_CREATE_TOPIC": "true"} if self.broker is None else {}
        self.owners = [Program(self, f"owner-{n}", "own", **create) for n in range(owners)]
        self.senders = [Program(self, f"sender-{n}", "send", **create) for n in range(senders)]
        self.paused, self.ended, self.rounds = set(), threading.Event(), 0
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(senders)]
        for thread in self.threads:
            thread.start()

    def send(self, number):
        """Four rounds a second: a counter for each series, set members that are never sent again, timers."""
        client, member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
        while not self.ended.is_set():
            if number not in self.paused:
                address = ("127.0.0.1", self.senders[number].port)
                lines, counts = [], collections.Counter()
                for series in range(SERIES):
                    lines.append(f"g.count:{1 + series % 3}|c|#k:{series},host:h{number}")
                    counts["g.count"] += 1 + series % 3
                for series in range(10):
                    member += 1
                    lines.append(f"g.set:{number}-{member}|s|#k:{series}")
                    lines.append(f"g.time:{member % 100}|ms|#k:{series}")
                    counts.update({"g.set": 1, "g.time.count": 1})
                for at in range(0, len(lines), 30):
                    client.sendto("\n".join(lines[at : at + 30]).encode(), address)
                with self.lock:
                    self.sent.update(counts)
            self.ended.wait(0.25)

    def quiet(self, number):
        """Stops sending to one sender and waits until what was sent has been read."""
        self.paused.add(number)
        time.sleep(0.6)

    def finish(self, patience=60):
        """Ends sending, and waits until the intake holds what was sent, or does not."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        until = time.monotonic() + patience
        while self.intake.totals() != dict(self.sent) and time.monotonic() < until:
            time.sleep(0.25)
        # Corrections to something else would come now.
        time.sleep(3)
        for program in self.senders + self.owners:
            program.end()
        if self.broker:
            self.broker.stop()


def calm(world):
    time.sleep(SECONDS)


def owner_killed(world):
    time.sleep(SECONDS / 2)
    world.owners[0].end(signal.SIGKILL)
    time.sleep(SECONDS)


def owner_stalled(world):
    time.sleep(SECONDS / 2)
    world.owners[0].tell(signal.SIGSTOP)
    time.sleep(SESSION * 2)
    world.owners[0].tell(signal.SIGCONT)
    time.sleep(SECONDS / 2)


def owners_come_and_go(world):
    time.sleep(SECONDS / 2)
    world.owners.append(Program(world, "owner-new", "own"))
    time.sleep(SECONDS / 2)
    world.owners[0].end()
    time.sleep(SECONDS / 2)


def no_owner_for_a_while(world):
    time.sleep(SECONDS / 4)
    for owner in world.owners:
        owner.end()
    time.sleep(SECONDS)
    for owner in world.owners:
        owner.start()
    time.sleep(SECONDS / 4)


def sender_restarted(world):
    time.sleep(SECONDS / 2)
    for _ in range(3):
        world.quiet(0)
        world.senders[0].end()
        world.senders[0].start()
        world.paused.discard(0)
        time.sleep(1.3)
    time.sleep(SECONDS / 2)


def broker_away(world):
    """Stopped, not ended: this broker keeps its log in memory."""
    time.sleep(SECONDS / 2)
    world.broker.process.send_signal(signal.SIGSTOP)
    time.sleep(SECONDS)
    world.broker.process.send_signal(signal.SIGCONT)
    time.sleep(SECONDS / 2)


def broker_away_sender_restarted(world):
    time.sleep(SECONDS / 2)
    world.broker.process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    world.quiet(0)
    world.senders[0].end()
    world.broker.process.send_signal(signal.SIGCONT)
    world.senders[0].start()
    world.paused.discard(0)
    time.sleep(SECONDS / 2)


def intake_away(world):
    time.sleep(SECONDS / 2)
    world.intake.away = True
    time.sleep(SECONDS)
    world.intake.away = False
    time.sleep(SECONDS / 2)


def sender_cut_off(world):
    """One sender stands still for longer than `global_late`, then sends what it had."""
    time.sleep(SECONDS / 2)
    world.quiet(0)
    world.senders[0].tell(signal.SIGSTOP)
    time.sleep(LATE * 2)
    world.senders[0].tell(signal.SIGCONT)
    world.paused.discard(0)
    time.sleep(SECONDS / 2)


def all_at_once(world):
    """An owner is killed, a sender restarts, the broker stands still, in one run."""
    time.sleep(SECONDS / 2)
    world.owners[0].end(signal.SIGKILL)
    time.sleep(2)
    world.quiet(1)
    world.senders[1].end()
    world.senders[1].start()
    world.paused.discard(1)
    time.sleep(2)
    world.broker.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    world.broker.process.send_signal(signal.SIGCONT)
    time.sleep(SECONDS)


TRIALS = [calm, owner_killed, owner_stalled, owners_come_and_go, no_owner_for_a_while, sender_restarted, broker_away,
          broker_away_sender_restarted, intake_away, sender_cut_off, all_at_once]


def run(trial):
    began = time.monotonic()
    world = World()
    try:
        trial(world)
    finally:
        world.finish()
    sent, arrived = dict(world.sent), world.intake.totals()
    good = sent == arrived and not world.intake.shrunk and world.intake.hosts <= {""}
    name = trial.__name__.replace("_", " ")
    row = (f"| {name} | {sent['g.count']:,} | {arrived['g.count']:,} | {sent['g.set']:,} / {arrived['g.set']:,} | "
           f"{sent['g.time.count']:,} / {arrived['g.time.count']:,} | {world.intake.corrections:,} | "
           f"{world.intake.longest_delay():.1f} s | {'equal' if good else '**differs**'} |")
    print(row, f"[{time.monotonic() - began:.0f} s]", flush=True)
    if not good:
        print("  shrunk:", world.intake.shrunk[:3], "hosts:", sorted(world.intake.hosts), "logs in", world.folder)
    return good, row


def main():
    if "--list" in sys.argv:
        return print("\n".join(trial.__name__ for trial in TRIALS))
    wanted = sys.argv[1:] or [trial.__name__ for trial in TRIALS]
    unknown = set(wanted) - {trial.__name__ for trial in TRIALS}
    if unknown:
        raise SystemExit(f"no trial {', '.join(sorted(unknown))}; --list shows them")
    results = [run(trial) for trial in TRIALS if trial.__name__ in wanted]
    print("\n| trial | sent | arrived | set members sent / arrived | timer values sent / arrived | corrected points "
          "| longest wait for a first value | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row for _, row in results))
    if not all(good for good, _ in results):
        raise SystemExit("what was sent and what arrived differ")


if __name__ == "__main__":
    main()
