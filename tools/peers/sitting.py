"""One sitting: whippet, the floor and every other server that is given, measured in turns.

    python3 tools/peers/sitting.py --peers "Brubeck=target/peers/bin/brubeck;etsy=node stats.js"

`make bench-peers` builds what it needs and starts it; `tools/peers/get` brings the peers that can be
had. The load, the clock and the pinning are those of `whippet bench` (docs/performance.md). Nothing
leaves the machine: servers flush to listeners of this script on 127.0.0.1.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import peers
import run
from record import LIMITED, Record, Row

# Measure, profile and rate of the rows about CPU.
LOADS = (
    ("single paced", "single", 50_000),
    ("packed paced", "packed", 100_000),
    ("single saturated", "single", None),
    ("packed saturated", "packed", None),
)
CONTEXTS = (10_000, 100_000, 1_000_000)
# Metrics a second while contexts are learned, low enough for every server that is known here, and
# seconds between two flushes meanwhile.
MEMORY_RATE, MEMORY_INTERVAL = 50_000, 10
# A server that may have missed a larger share of the contexts does not hold what the others do.
CONTEXTS_UNSEEN_MAX = 0.02
# Seconds between two flushes under the other loads.
INTERVAL = 2
PARTS = ("size", "idle", "memory", "cpu", "rate")


def main():
    """Reads the arguments, measures, writes."""
    options = arguments()
    # The sinks stay off the server's processor.
    os.sched_setaffinity(0, {run.OTHER_CPU})
    sitting = Sitting(options)
    for part in options.parts:
        sitting.measure(part)
    print(f"\n{sitting.path}")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whippet", default="target/dist/whippet", help="empty: leave it out")
    parser.add_argument("--floor", default="target/dist/examples/floor", help="the same")
    parser.add_argument("--generator", help="the program with `bench` [default: that of --whippet]")
    parser.add_argument("--peers", default="", help="name=command;name=command")
    parser.add_argument("--revision", default=said("git rev-parse --short HEAD"), help="of both")
    parser.add_argument("--parts", default=",".join(PARTS), type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="measured in each run")
    parser.add_argument("--at-once", type=int, default=3, help="servers, of the part memory")
    parser.add_argument("--contexts", default=CONTEXTS, help="of the part memory, by commas",
                        type=lambda text: [int(number) for number in text.split(",")])
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--budget", type=float, default=1e9, help="seconds; then no run begins")
    parser.add_argument("--record", default="target/peers/record", help="folder of the dated file")
    parser.add_argument(
        "--add", action="store_true", help="keep what today's file has of other parts and servers"
    )
    parser.add_argument(
        "--more", action="store_true", help="of the part cpu, add rounds to those of today's file"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(unknown)} is none of {', '.join(PARTS)}")
    options.generator = options.generator or options.whippet
    return options


class Sitting:
    """The servers, the record and the time that is left."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.first_round = 1
        self.until = time.monotonic() + options.budget
        pairs = f"whippet={options.whippet};floor={options.floor};{options.peers}".split(";")
        named = ((name.strip(), program.strip()) for name, _, program in
                 (pair.partition("=") for pair in pairs))
        self.given = [run.Given(peers.named(name), program) for name, program in named if program]
        date = time.strftime("%Y-%m-%d", time.gmtime())
        folder = pathlib.Path(options.record)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"peers-{date}.tsv"
        before = Record.read(self.path) if options.add and self.path.exists() else Record()
        # Who is missing is a fact of this sitting only.
        kept = {name: fact for name, fact in before.facts.items() if "not measured" not in name}
        self.record = Record({**kept, **facts(date, self.given, before.peers())}, before.rows)

    def measure(self, part):
        """One part; its rows replace those of an earlier sitting."""
        load = os.getloadavg()[0]
        begun = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        fact = f"{begun} UTC, revision {self.options.revision}, load average {load:.2f} at its start"
        measures = {
            "size": ["size"],
            "idle": ["idle"],
            "memory": [f"memory {contexts}" for contexts in self.options.contexts],
            "cpu": [measure for measure, _, _ in LOADS],
            "rate": ["rate single", "rate packed"],
        }[part]
        names = [given.peer.name for given in self.given]
        self.first_round = 1
        if part == "cpu" and self.options.more:
            self.first_round += self.record.rounds(measures, names)
        if self.first_round > 1:
            fact = f"from round {self.first_round} on {fact}"
        else:
            self.record.drop([*measures, *(["start"] if part == "cpu" else [])], names)
        whole = f"part {part}"
        # Of those measures, or of other sizes of memory, some stay as they were.
        if any(row.measure in measures or row.measure.startswith(part) for row in self.record.rows):
            sizes = f", {', '.join(measures)}" if part == "memory" else ""
            fact = f"{self.record.facts.get(whole)}; {', '.join(names)}{sizes}: {fact}"
        self.record.facts[whole] = fact
        getattr(self, part)()
        self.record.write(self.path)

    def add(self, *cells):
        """A row, shown and kept at once: an interrupted sitting loses nothing."""
        row = Row(*cells)
        with self.lock:
            print(row.line(), flush=True)
            self.record.rows.append(row)
            self.record.write(self.path)

    def over(self):
        """True when the time is used up."""
        return time.monotonic() > self.until

    def size(self):
        """Bytes of the programs."""
        for given in self.given:
            program = pathlib.Path(given.program.split()[-1])
            first = pathlib.Path(which(given.program.split()[0]))
            files = {first.resolve()}
            for beside in given.peer.beside:
                folder = program.parent / beside
                files |= {path.resolve() for path in folder.rglob("*") if path.is_file()}
            size = sum(path.stat().st_size for path in files) / 1e6
            self.add("size", given.peer.name, 1, size, "MB")

    def idle(self):
        """CPU without any load, with flushes every 10 s."""
        for name, found in run.idle(self.given, self.options.idle_seconds).items():
            failed = isinstance(found, str)
            self.add("idle", name, 1, None if failed else found, "%", found if failed else "")

    def memory(self):
        """Resident memory at the end of a load that holds every context; several servers at once, since
        none is busy and no time is measured."""
        for contexts in self.options.contexts:
            with ThreadPoolExecutor(self.options.at_once) as pool:
                servers = [given for given in self.given if given.peer.name != "floor"]
                list(pool.map(lambda given: self.one_memory(contexts, given), servers))

    def one_memory(self, contexts, given):
        """One size of one server."""
        if self.over():
            return
        seconds = contexts / MEMORY_RATE + MEMORY_INTERVAL + 2
        load = run.Load("cardinality", seconds, MEMORY_RATE, 0, contexts)
        result = run.bench(self.options.generator, given, load, MEMORY_INTERVAL)
        used = result.run["memory"]["rss_bytes"] / (1 << 20) if result.run else None
        verdict, lost = result.verdict, dropped(result)
        # Each context is sent so many times; all of them may have been lost.
        if lost ** (seconds * MEMORY_RATE / contexts) > CONTEXTS_UNSEEN_MAX:
            used, verdict = None, f"FAILED: {100 * lost:.0f} % of the datagrams lost"
        self.add(f"memory {contexts}", given.peer.name, 1, used, "MiB", verdict, note(result))

    def cpu(self):
        """CPU per metric; one round holds every load and every server once."""
        for turn in range(self.first_round, self.first_round + self.options.rounds):
            for measure, profile, rate in LOADS:
                for given in self.given:
                    if self.over():
                        return
                    self.one_cpu(turn, measure, profile, rate, given)

    def one_cpu(self, turn, measure, profile, rate, given):
        """One run, which also tells how long the server took to start."""
        load = run.Load(profile, self.options.seconds, rate)
        result = run.bench(self.options.generator, given, load, INTERVAL)
        cpu = result.run.get("cpu")
        value = cpu["ns_per_line"] / 1e3 if cpu else None
        self.add(measure, given.peer.name, turn, value, "µs", result.verdict, note(result))
        if result.run:
            number = turn * len(LOADS) + [name for name, _, _ in LOADS].index(measure)
            self.add("start", given.peer.name, number, result.run["start_ms"], "ms")

    def rate(self):
        """The highest rate without loss, and whether the sums at that rate are right."""
        for profile in ("packed", "single"):
            for given in self.given:
                if self.over():
                    return
                self.one_rate(profile, given)

    def one_rate(self, profile, given):
        """Searches from half of what the CPU of the saturated row allows."""
        known = self.record.spread(f"{profile} saturated", given.peer.name)
        start = 0.5e6 / known.median if known else 50_000
        search = run.Load(profile, 1, start, 0.3, search=True)
        found = run.bench(self.options.generator, given, search, INTERVAL)
        rate, verdict, why = found.search.get("lines_per_second"), found.verdict, note(found)
        if rate and given.peer.read:
            again = run.Load(profile, 1, rate, 0.3)
            verdict = run.bench(self.options.generator, given, again, INTERVAL).verdict
        if rate:
            why = f"{LIMITED}{found.search['limited_by']}"
        self.add(f"rate {profile}", given.peer.name, 1, rate, "metrics/s", verdict, why)


def dropped(result):
    """Share of the datagrams that the kernel dropped."""
    sent = result.run["sent"]["datagrams"] if result.run else 0
    return (result.run["kernel_dropped"] or 0) / sent if sent else 0.0


def note(result):
    """The warnings of `whippet bench`."""
    return "; ".join(result.run.get("warnings", ()))


def facts(date, given, measured):
    """Where and with what."""
    known = {
        "date": date,
        "machine": f"{processor()}, {os.cpu_count()} processors, Linux {os.uname().release}",
        "load": "1,000 contexts, a third each of counters, gauges and timers, about 68 B a line",
    }
    known |= {f"version {one.peer.name}": version(one) for one in given}
    for peer in peers.ALL:
        if peer.name not in {"floor", *measured, *(one.peer.name for one in given)}:
            why = f" ({peer.hard_to_get})" if peer.hard_to_get else ""
            never = "" if peer.tried else "; its description was never run"
            known[f"not measured {peer.name}"] = f"its program was not given{why}{never}"
    return known


def processor():
    """Its model."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def version(given):
    """What `get` noted beside the program, else what the program says."""
    noted = pathlib.Path(given.program.split()[-1] + ".version")
    if noted.exists():
        return " ".join(noted.read_text().split())
    if given.peer.version:
        return said(given.peer.version.replace("$program", given.program)) or "unknown"
    return said("git rev-parse --short HEAD") if given.peer.name == "floor" else "unknown"


def said(command):
    """First line of a command's output."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def which(program):
    """Its path."""
    return said(f"command -v {program}") or sys.exit(f"there is no program {program}")


if __name__ == "__main__":
    main()
