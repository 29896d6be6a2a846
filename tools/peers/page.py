"""Writes the tables of docs/performance.md and README.md that rest on a record.

    python3 tools/peers/page.py benches/record/peers-2026-11-27.tsv docs/performance.md README.md

A page keeps everything but what stands between its marks `<!-- peers: begin -->` and `<!-- peers: end -->`
(the tables), or `<!-- peers caption: begin -->` and its end (a sentence for below a picture).
"""

import pathlib
import sys

from draw import short
from record import Record

COLUMNS = (
    ("single paced", "single, 50 k/s", "µs"),
    ("packed paced", "packed, 100 k/s", "µs"),
    ("single saturated", "single, saturated", "µs"),
    ("packed saturated", "packed, saturated", "µs"),
    ("rate single", "rate, single", "/s"),
    ("rate packed", "rate, packed", "/s"),
    ("memory 10000", "10 k contexts", "MiB"),
    ("memory 100000", "100 k contexts", "MiB"),
    ("memory 1000000", "1 M contexts", "MiB"),
    ("idle", "idle, of a core", "%"),
    ("start", "start", "ms"),
    ("size", "program", "MB"),
)


def main():
    """Replaces what stands between the marks of each page."""
    record = Record.read(sys.argv[1])
    for path in map(pathlib.Path, sys.argv[2:]):
        page = path.read_text(encoding="utf-8")
        path.write_text(written(page, record), encoding="utf-8")
        print(path)


def written(page, record):
    """The page with the tables of this record."""
    for mark, text in (("peers", tables), ("peers caption", caption)):
        begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
        if begin in page:
            head, _, rest = page.partition(begin)
            _, found, tail = rest.partition(end)
            if not found:
                raise SystemExit(f"there is no {end.strip()}")
            page = f"{head}{begin}\n{text(record)}\n{end}{tail}"
    return page


def tables(record):
    """CPU, then the rest, then where and with what."""
    facts = record.facts
    paragraphs = [
        f"{facts['date']}, {facts['machine']}. Load: {facts['load']}."
        " Medians; smallest and largest in parentheses; × is the median of the ratios to whippet, round by"
        " round.\n",
        *table(record, COLUMNS[:4]),
        *table(record, COLUMNS[4:9]),
        *table(record, COLUMNS[9:]),
        f"Measured – {listed(facts, 'part ')}.\n",
        f"Versions – {listed(facts, 'version ')}.\n",
    ]
    if missing_peers(record):
        paragraphs.append(f"Not measured – {listed(facts, 'not measured ')}.\n")
    if wrong := remarks(record):
        paragraphs.append("Not right:\n\n" + "\n".join(f"- {line}" for line in wrong) + "\n")
    return "\n".join(paragraphs)


def listed(facts, kind):
    """Facts of a kind in one sentence."""
    found = ((name, value) for name, value in facts.items() if name.startswith(kind))
    return "; ".join(f"{name.removeprefix(kind)}: {value}" for name, value in found)


def table(record, columns):
    """One row for each server."""
    columns = [column for column in columns
               if any(row.measure == column[0] for row in record.rows)]
    if not columns:
        return
    lines = ["| | " + " | ".join(title for _, title, _ in columns) + " |",
             "|---" * (len(columns) + 1) + "|"]
    for peer in record.peers():
        cells = [cell(record, measure, peer, unit) for measure, _, unit in columns]
        if any(cells):
            lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    yield "\n".join(lines) + "\n"


def cell(record, measure, peer, unit):
    """The median with its spread, or why there is none."""
    spread = record.spread(measure, peer)
    if not spread:
        return record.failure(measure, peer).removeprefix("FAILED: ")
    figure = ("≥ " if spread.at_least else "") + short(spread.median, unit).strip()
    if measure != "start" and spread.rounds > 1:
        low, high = (short(value, unit).split(" ")[0] for value in (spread.low, spread.high))
        figure += f" ({low}–{high})"
        ratio = record.ratio(measure, peer, "whippet")
        figure += f" {ratio:.2f} ×" if ratio and peer != "whippet" else ""
    return figure + (" **sums**" if spread.wrong else "")


def remarks(record):
    """Every verdict that says that a sum was wrong, once with its count."""
    lines = {}
    for row in record.rows:
        if row.verdict.startswith("WRONG"):
            lines.setdefault((row.peer, row.measure), []).append(row.verdict)
    return [f"{peer}, {measure}: {verdicts[0]}" + (f" (and {len(verdicts) - 1} more rounds)"
            if len(verdicts) > 1 else "") for (peer, measure), verdicts in lines.items()]


def caption(record):
    """One sentence below a picture."""
    facts = record.facts
    missing = missing_peers(record)
    return (
        f"Medians of {facts['date']}, {facts['machine']}"
        + (f"; not measured: {', '.join(missing)}" if missing else "")
        + ".\n"
    )


def missing_peers(record):
    """The names of those whose program was not given."""
    words = "not measured "
    return [name.removeprefix(words) for name in record.facts if name.startswith(words)]


if __name__ == "__main__":
    main()
