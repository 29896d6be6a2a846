"""The dated file of a sitting: every single figure, and how the pages and pictures read it.

    # date\t2026-11-27
    # version Brubeck\tebbd222
    measure\tpeer\tround\tvalue\tunit\tverdict\tnote
    single paced\tBrubeck\t1\t2.71\tµs\texact\t
"""

import pathlib
import statistics
from dataclasses import dataclass

COLUMNS = ("measure", "peer", "round", "value", "unit", "verdict", "note")

# Begins the note of a highest rate; behind it what ended the search, as in the JSON of `whippet bench`.
LIMITED = "limited by "


@dataclass(frozen=True)
class Row:
    """One figure of one run; without a value it could not be had, and the verdict says why."""

    measure: str
    peer: str
    round: int
    value: float | None
    unit: str
    verdict: str = ""
    note: str = ""

    def line(self):
        """As in the file."""
        value = "" if self.value is None else f"{self.value:.6g}"
        cells = (self.measure, self.peer, self.round, value, self.unit, self.verdict, self.note)
        return "\t".join(" ".join(str(cell).split()) for cell in cells)


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of the rounds."""

    low: float
    median: float
    high: float
    rounds: int
    # Of the rounds, those whose flushed sums were wrong.
    wrong: int
    # True where the server could have had more, but the generator had no more to give.
    at_least: bool = False


class Record:
    """Facts about the sitting by name, and its rows."""

    def __init__(self, facts=None, rows=None):
        self.facts, self.rows = dict(facts or {}), list(rows or ())

    @staticmethod
    def read(path):
        """The inverse of `write`."""
        record = Record()
        for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            cells = line.split("\t")
            if line.startswith("# "):
                record.facts[cells[0][2:]] = cells[1]
            elif len(cells) == len(COLUMNS) and cells[0] != COLUMNS[0]:
                measure, peer, turn, value, unit, verdict, note = cells
                number = float(value) if value else None
                record.rows.append(Row(measure, peer, int(turn), number, unit, verdict, note))
        return record

    def write(self, path):
        """Replaces the file."""
        lines = [f"# {name}\t{value}" for name, value in self.facts.items()]
        lines.append("\t".join(COLUMNS))
        lines += [row.line() for row in self.rows]
        pathlib.Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def drop(self, measures, peers):
        """Forgets what these servers had of these measures."""
        self.rows = [row for row in self.rows
                     if row.measure not in measures or row.peer not in peers]

    def rounds(self, measures, peers):
        """How many rounds there are of any of these measures and servers."""
        return max((row.round for row in self.rows
                    if row.measure in measures and row.peer in peers), default=0)

    def peers(self):
        """In the order in which they were measured."""
        return list(dict.fromkeys(row.peer for row in self.rows))

    def spread(self, measure, peer):
        """None when there is no figure."""
        rows = [row for row in self.rows if (row.measure, row.peer) == (measure, peer)]
        values = [row.value for row in rows if row.value is not None]
        if not values:
            return None
        wrong = sum(row.verdict.startswith("WRONG") for row in rows)
        at_least = any(row.note == f"{LIMITED}generator" for row in rows)
        middle = statistics.median(values)
        return Spread(min(values), middle, max(values), len(values), wrong, at_least)

    def failure(self, measure, peer):
        """Why there is no figure: the verdict of the last round, or nothing when never tried."""
        rows = [row for row in self.rows if (row.measure, row.peer) == (measure, peer)]
        return rows[-1].verdict if rows and rows[-1].value is None else ""

    def ratio(self, measure, peer, other):
        """Median of the ratios to `other`, round by round; None without a common round."""
        by_round = [
            {row.round: row.value for row in self.rows
             if (row.measure, row.peer) == (measure, name) and row.value}
            for name in (peer, other)
        ]
        ratios = [value / by_round[1][turn] for turn, value in by_round[0].items()
                  if turn in by_round[1]]
        return statistics.median(ratios) if ratios else None
