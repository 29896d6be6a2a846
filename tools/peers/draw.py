"""Draws a record as SVG: bars on a log scale, whiskers from the smallest to the largest round.

    python3 tools/peers/draw.py benches/record/peers-2026-11-27.tsv docs/img

No fonts and no scripts; the colours follow the reader's light or dark setting.
"""

import math
import pathlib
import sys
from xml.sax.saxutils import escape

from record import Record

WIDTH, LABELS, VALUES, ROW, MARGIN = 760, 130, 160, 22, 16
HEAD, FOOT, GAP = 44, 8, 16

STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-weight:600}.small{font-size:11px;fill:#59636e}.us{font-weight:600}
.page{fill:#fff}.grid{stroke:#d8dee4}.whisker{stroke:#1f2328;fill:none}
.bar{fill:#9aa4af}.bar.us{fill:#0969da}.bar.floor{fill:#fff;stroke:#9aa4af;stroke-dasharray:3 2}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.small{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#2a313c}
.whisker{stroke:#e6edf3}.bar{fill:#656e79}.bar.us{fill:#4493f8}.bar.floor{fill:#0d1117;stroke:#656e79}}
"""

# Picture, and its panels: measure, title, unit, whether more is better.
CPU = (
    ("single paced", "One metric a datagram, 50,000 a second: CPU of a metric", "µs"),
    ("packed paced", "Packed datagrams, 100,000 metrics a second: CPU of a metric", "µs"),
    ("single saturated", "One metric a datagram, as many as arrive: CPU of a metric", "µs"),
    ("packed saturated", "Packed datagrams, as many as arrive: CPU of a metric", "µs"),
)
REST = (
    ("rate packed", "Packed datagrams: highest rate without loss (more is better)", "/s"),
    ("rate single", "One metric a datagram: highest rate without loss (more is better)", "/s"),
    ("memory 10000", "Resident memory with 10,000 contexts", "MiB"),
    ("memory 100000", "Resident memory with 100,000 contexts", "MiB"),
    ("memory 1000000", "Resident memory with 1,000,000 contexts", "MiB"),
)
PICTURES = {
    "peers-cpu.svg": CPU,
    "peers-rest.svg": REST,
    "peers.svg": (CPU[1], CPU[3], REST[3]),
}


def main():
    """Draws every picture of which the record has a panel."""
    record, folder = Record.read(sys.argv[1]), pathlib.Path(sys.argv[2])
    for name, panels in PICTURES.items():
        if picture := draw(record, panels):
            (folder / name).write_text(picture, encoding="utf-8")
            print(folder / name)


def draw(record, panels):
    """One picture; nothing without figures."""
    parts, top = [], MARGIN
    for measure, title, unit in panels:
        drawn, height = panel(record, measure, title, unit, top)
        parts += drawn
        top += height
    if not parts:
        return ""
    height = top - GAP + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img">\n<style>{STYLE}</style>\n'
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def panel(record, measure, title, unit, top):
    """The parts of one chart below `top`, and its height."""
    more_is_better = unit == "/s"
    spreads = [(peer, record.spread(measure, peer)) for peer in record.peers()]
    bars = [(peer, spread) for peer, spread in spreads if spread]
    if not bars:
        return [], 0
    bars.sort(key=lambda bar: bar[1].median, reverse=more_is_better)
    failed = [(peer, why) for peer, _ in spreads if (why := record.failure(measure, peer))]
    scale = Scale([(spread.low, spread.high) for _, spread in bars])
    bottom = top + HEAD + ROW * (len(bars) + len(failed))
    parts = [text(MARGIN, top + 16, title, "title")]
    for value in scale.marks():
        x = scale.x(value)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{top + HEAD - 6}" x2="{x:.1f}" y2="{bottom}"/>'
        )
        parts.append(text(x, top + HEAD - 10, short(value, unit), "small", "middle"))
    for place, (peer, spread) in enumerate(bars):
        parts += bar(top + HEAD + ROW * place, peer, spread, unit, scale)
    for place, (peer, why) in enumerate(failed, len(bars)):
        y = top + HEAD + ROW * place
        parts.append(text(LABELS - 8, y + 15, peer, "", "end"))
        parts.append(text(LABELS, y + 15, why.removeprefix("FAILED: "), "small"))
    return parts, bottom - top + FOOT + GAP


def bar(y, peer, spread, unit, scale):
    """Label, bar, whisker and figure of one server."""
    kind = {"whippet": "us", "floor": "floor"}.get(peer, "")
    x, end = scale.x(scale.low), scale.x(spread.median)
    left, right = scale.x(spread.low), scale.x(spread.high)
    figure = ("≥ " if spread.at_least else "") + short(spread.median, unit)
    if spread.wrong:
        figure += ", sums differ"
    parts = [
        text(LABELS - 8, y + 15, peer, kind, "end"),
        f'<rect class="bar {kind}" x="{x:.1f}" y="{y + 4}" width="{max(1, end - x):.1f}"'
        f' height="{ROW - 8}"><title>{escape(peer)}: {short(spread.low, unit)} to'
        f" {short(spread.high, unit)}, {spread.rounds} rounds</title></rect>",
    ]
    if spread.rounds > 1:
        middle = y + ROW / 2
        parts.append(
            f'<path class="whisker" d="M{left:.1f} {middle}H{right:.1f}'
            f'M{left:.1f} {middle - 3}v6M{right:.1f} {middle - 3}v6"/>'
        )
    parts.append(text(max(end, right) + 6, y + 15, figure, kind or "plain"))
    return parts


class Scale:
    """Values on a logarithmic axis, from a round number below the smallest."""

    def __init__(self, ranges):
        smallest = min(low for low, _ in ranges)
        self.low = 10 ** math.floor(math.log10(smallest) - 0.15)
        self.high = max(max(high for _, high in ranges), self.low * 10)

    def x(self, value):
        """Where a value is."""
        width = WIDTH - LABELS - VALUES
        share = math.log10(value / self.low) / math.log10(self.high / self.low)
        return LABELS + width * share

    def marks(self):
        """Powers of ten."""
        first = round(math.log10(self.low))
        return [10.0**power for power in range(first, math.floor(math.log10(self.high)) + 1)]


def text(x, y, words, kind="", anchor="start"):
    """A line of text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def short(value, unit):
    """Three digits and the unit: `0.165 µs`, `1.2 M/s`, `3,190 MiB`."""
    if unit == "/s":
        for factor, letter in ((1e6, "M"), (1e3, "k")):
            if value >= factor:
                return f"{value / factor:.3g} {letter}/s"
        return f"{value:.0f}/s"
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(digits, 4)}f}".rstrip("0").rstrip(".") + f" {unit}" if digits else f"{value:,.0f} {unit}"


if __name__ == "__main__":
    main()
