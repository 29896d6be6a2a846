"""Sent against flushed: was anything lost or summed wrongly?"""

import json
from dataclasses import dataclass

# Which datagrams the kernel dropped is not known, so what they held is estimated by the mean; with
# thousands of datagrams that is closer than this.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Check:
    """The comparison of one run."""

    # Sum of every counter sent, and of the same series as flushed.
    sent: float
    flushed: float
    # Counter series sent, and those whose sum is exact.
    series: int
    exact: int
    # Share of the datagrams that the kernel dropped before the server could take them.
    dropped: float

    @property
    def right(self):
        """True when everything that reached the server was flushed, and nothing else."""
        if not self.dropped:
            return self.exact == self.series > 0
        expect = self.sent * (1 - self.dropped)
        return abs(self.flushed - expect) <= TOLERANCE * expect

    def __str__(self):
        if not self.dropped:
            if self.right:
                return "exact"
            return (
                f"WRONG: {self.flushed:.0f} of {self.sent:.0f} flushed,"
                f" {self.exact} of {self.series} series exact"
            )
        share = f"{100 * self.dropped:.1f} % dropped by the kernel"
        if self.right:
            return f"right, {share}"
        rest = self.flushed / (self.sent * (1 - self.dropped)) if self.dropped < 1 else 0.0
        return f"WRONG: {100 * rest:.1f} % of what arrived was flushed, {share}"


def sums_sent(path, key):
    """The file of `whippet bench --sent`, under the names that the server gives them."""
    sums = {}
    with open(path, encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            series = key(row["metric"], row["tags"].split(","))
            sums[series] = sums.get(series, 0.0) + row["sum"]
    return sums


def compare(sent, flushed, dropped):
    """Every contribution is whole, so less than half a count may be missing through rounding."""
    found = [(amount, flushed.get(series, 0.0)) for series, amount in sent.items()]
    return Check(
        sent=sum(amount for amount, _ in found),
        flushed=sum(got for _, got in found),
        series=len(found),
        exact=sum(abs(amount - got) < 0.5 for amount, got in found),
        dropped=dropped,
    )
