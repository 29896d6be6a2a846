"""Tests of the scripts beside this file: `python3 tools/peers/tests.py`, run by `cargo test` too.

With WHIPPET=PROGRAM one of them runs a server under a real, small load.
"""

import contextlib
import json
import os
import pathlib
import socket
import string
import struct
import sys
import tempfile
import time
import unittest
import urllib.request
import xml.etree.ElementTree
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check
import draw
import flushes
import page
import peers
import run
import sinks
from record import Record, Row
from sinks import Part


class Flushes(unittest.TestCase):
    """Every format is read as its store would read it."""

    def test_carbon_adds_seconds_and_a_second_value_of_one_second_overwrites(self):
        text = b"a.b 3 10\na.b 4 20\nc 1.5 20\nc 2 20\nbroken line\n"
        sums = flushes.carbon([Part(text[:9]), Part(text[9:])], 10)
        self.assertEqual(sums, {("a.b", ""): 7.0, ("c", ""): 2.0})

    def test_etsy_counters_stand_below_its_prefix(self):
        text = b"stats.counters.a.rate 5 1\nstats.counters.a.count 10 1\nstats.gauges.a.count 7 1\n"
        self.assertEqual(flushes.etsy([Part(text)], 2), {("a", ""): 10.0})

    def test_statsite_marks_counters(self):
        text = b"counts.a|3.000000|1\ncounts.a|4.000000|2\ngauges.a|9.000000|2\n"
        self.assertEqual(flushes.statsite([Part(text)], 2), {("a", ""): 7.0})

    def test_the_last_page_of_metrics_counts(self):
        new = (
            b'# TYPE a_b counter\na_b{env="prod",x_y="1"} 7\na_b 2\n# TYPE g gauge\ng 3\n'
            b'# TYPE t summary\nt_sum 4\n'
        )
        sums = flushes.prometheus([Part(b"# TYPE a_b counter\na_b 1\n"), Part(new)], 2)
        self.assertEqual(sums, {("a_b", "env:prod,x_y:1"): 7.0, ("a_b", ""): 2.0})
        self.assertEqual(
            flushes.prometheus_key("a.b", ["x-y:1", "env:prod"]), ("a_b", "env:prod,x_y:1")
        )

    def test_netdata_names_counters_by_their_charts(self):
        text = (
            b'n_total{chart="statsd_a.b_counter",family="counters",dimension="counter"} 12 1795\n'
            b'n{chart="statsd_g_gauge",family="gauges",dimension="gauge"} 3000 1795\n'
        )
        self.assertEqual(flushes.netdata([Part(text)], 2), {("a.b", ""): 12.0})

    def test_vector_writes_increments(self):
        rows = [
            {"name": "a", "tags": {"x": "1"}, "kind": "incremental", "counter": {"value": 2.0}},
            {"name": "a", "tags": {"x": "1"}, "kind": "incremental", "counter": {"value": 3.0}},
            {"name": "g", "gauge": {"value": 3.0}},
        ]
        text = "\n".join(map(json.dumps, rows)).encode()
        self.assertEqual(flushes.vector([Part(text)], 2), {("a", "x:1"): 5.0})

    def test_series_of_version_1_are_rates_or_counts(self):
        series = [
            {"metric": "a", "type": "rate", "interval": 10, "points": [[10, 0.5]], "tags": ["y", "x"]},
            {"metric": "a", "type": "rate", "interval": 10, "points": [[20, 1]], "tags": ["x", "y"]},
            {"metric": "b", "type": "count", "points": [[10, 4]]},
            {"metric": "b", "type": "gauge", "points": [[20, 4]]},
        ]
        body = zlib.compress(json.dumps({"series": series}).encode())
        parts = [Part(body, "/api/v1/series?api_key=x", "deflate"), Part(b"{}", "/intake/", "")]
        self.assertEqual(flushes.datadog(parts, 2), {("a", "x,y"): 15.0, ("b", ""): 4.0})

    def test_gostatsd_posts_counts_as_gauges_beside_its_rates(self):
        series = [
            {"metric": "a", "type": "rate", "interval": 2, "points": [[10.5, 1.9]], "tags": ["x"]},
            {"metric": "a.count", "type": "gauge", "points": [[10.5, 4]], "tags": ["x"]},
            {"metric": "a.count", "type": "gauge", "points": [[12.5, 3]], "tags": ["x"]},
            {"metric": "b", "type": "gauge", "points": [[10.5, 7]]},
        ]
        body = zlib.compress(json.dumps({"series": series}).encode())
        parts = [Part(body, "/api/v1/series?api_key=x", "deflate")]
        self.assertEqual(flushes.gostatsd(parts, 2), {("a", "x"): 7.0})

    def test_series_of_version_2_are_protobuf(self):
        def field(number, body):
            return bytes([number << 3 | 2, len(body)]) + body

        def series(kind, interval, second, value):
            point = b"\x09" + struct.pack("<d", value) + b"\x10" + bytes([second])
            return field(1, field(1, b"\x0a\x04host") + field(2, b"a") + field(3, b"x:1")
                         + field(4, point) + bytes([5 << 3, kind, 8 << 3, interval]))

        body = series(2, 10, 20, 0.5) + series(2, 10, 30, 2.0) + series(3, 0, 30, 9.0)
        parts = [Part(zlib.compress(body), "/api/v2/series", "deflate")]
        self.assertEqual(flushes.datadog(parts, 2), {("a", "x:1"): 25.0})


class Checks(unittest.TestCase):
    """A loss is named, unless the kernel had it."""

    SENT = {("a", ""): 600.0, ("b", ""): 400.0}

    def verdict(self, flushed, dropped=0.0):
        return str(check.compare(self.SENT, flushed, dropped))

    def test_equal_sums_are_exact_and_other_series_do_not_matter(self):
        self.assertEqual(self.verdict({**self.SENT, ("own", ""): 3.0}), "exact")

    def test_a_loss_and_a_swap_are_wrong(self):
        self.assertRegex(self.verdict({("a", ""): 600.0}), "^WRONG: 600 of 1000 .*1 of 2 series")
        self.assertRegex(self.verdict({("a", ""): 400.0, ("b", ""): 600.0}), "^WRONG.* 0 of 2")
        self.assertRegex(self.verdict({}), "^WRONG: 0 of 1000")

    def test_what_the_kernel_dropped_is_not_expected(self):
        half = {("a", ""): 301.0, ("b", ""): 198.0}
        self.assertEqual(self.verdict(half, 0.5), "right, 50.0 % dropped by the kernel")
        self.assertRegex(self.verdict({("a", ""): 301.0}, 0.5), "^WRONG: 60.2 % of what arrived")

    def test_the_file_of_the_load_is_read_under_the_names_of_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "sent")
            path.write_text('{"metric":"a.b","tags":"y:1,x:2","sum":3.0}\n')
            self.assertEqual(check.sums_sent(path, flushes.plain_key), {("a.b", "x:2,y:1"): 3.0})
            self.assertEqual(
                check.sums_sent(path, flushes.prometheus_key), {("a_b", "x:2,y:1"): 3.0}
            )


def sample():
    """A record with a spread, a wrong sum, a failure and a missing peer."""
    rows = [
        Row(measure, peer, turn, round(value * factor, 6), "µs", verdict, "a note")
        for measure in ("single paced", "packed paced", "single saturated", "packed saturated")
        for peer, factor, verdict in (
            ("whippet", 0.1, "exact"),
            ("floor", 0.08, "not checked"),
            ("Slow", 5.0, "WRONG: 1 of 2 flushed"),
        )
        for turn, value in ((1, 1.0), (2, 1.2), (3, 1.1))
    ]
    rows += [
        Row("memory 100000", "whippet", 1, 37.0, "MiB", "exact"),
        Row("memory 100000", "Slow", 1, None, "MiB", "FAILED: above 6144 MiB"),
        Row("rate packed", "whippet", 1, 4.2e6, "metrics/s", "exact", "limited by loss"),
        Row("rate single", "whippet", 1, 4.3e5, "metrics/s", "exact", "limited by generator"),
    ]
    facts = {"date": "2026-11-27", "machine": "M", "load": "L",
             "part cpu": "03:00", "version Slow": "1.0", "not measured Vector": "no program"}
    return Record(facts, rows)


class Records(unittest.TestCase):
    """What is written is what is read."""

    def test_a_round_trip_changes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "peers.tsv")
            sample().write(path)
            read = Record.read(path)
        self.assertEqual((read.facts, read.rows), (sample().facts, sample().rows))

    def test_medians_ratios_and_failures(self):
        record = sample()
        spread = record.spread("packed saturated", "Slow")
        self.assertEqual((spread.low, spread.median, spread.high), (5.0, 5.5, 6.0))
        self.assertEqual((spread.rounds, spread.wrong), (3, 3))
        self.assertAlmostEqual(record.ratio("packed saturated", "Slow", "whippet"), 50.0)
        self.assertIsNone(record.spread("memory 100000", "Slow"))
        self.assertEqual(record.failure("memory 100000", "Slow"), "FAILED: above 6144 MiB")
        self.assertEqual(record.failure("memory 100000", "floor"), "")
        self.assertEqual(record.rounds({"single paced", "size"}, {"Slow"}), 3)
        self.assertEqual(record.rounds({"size"}, {"Slow"}), 0)


class Pictures(unittest.TestCase):
    """Bars in order, to scale, legible in light and dark."""

    def elements(self, panels=draw.CPU):
        root = xml.etree.ElementTree.fromstring(draw.draw(sample(), panels))
        name = "{http://www.w3.org/2000/svg}"
        texts = [item.text for item in root.iter(name + "text")]
        bars = [item for item in root.iter(name + "rect") if "bar" in item.get("class")]
        return texts, bars, root

    def test_each_server_has_a_bar_and_the_cheapest_is_first(self):
        texts, bars, root = self.elements()
        self.assertEqual(len(bars), 12)
        order = [text for text in texts if text in ("whippet", "floor", "Slow")]
        self.assertEqual(order[:3], ["floor", "whippet", "Slow"])
        self.assertIn("0.11 µs", texts)
        self.assertIn("5.5 µs, sums differ", texts)
        self.assertIn("prefers-color-scheme:dark", root[0].text)

    def test_a_factor_is_a_length_wherever_it_is_on_the_scale(self):
        scale = draw.Scale([(0.1, 100.0)])
        lengths = [scale.x(10 * value) - scale.x(value) for value in (0.1, 0.7, 9.0)]
        for length in lengths:
            self.assertAlmostEqual(length, lengths[0])
        self.assertGreater(scale.x(0.1), draw.LABELS)
        self.assertAlmostEqual(scale.x(100.0), draw.WIDTH - draw.VALUES)

    def test_more_is_better_for_rates_and_failures_are_named(self):
        texts, bars, _ = self.elements(draw.REST)
        self.assertEqual(len(bars), 3)
        self.assertIn("4.2 M/s", texts)
        self.assertIn("≥ 430 k/s", texts)
        self.assertIn("above 6144 MiB", texts)

    def test_figures_have_three_digits(self):
        figures = [draw.short(value, "µs") for value in (0.16512, 2.4, 37.04, 3190.4)]
        self.assertEqual(figures, ["0.165 µs", "2.4 µs", "37 µs", "3,190 µs"])
        self.assertEqual(draw.short(0.0026, "%"), "0.0026 %")


class Pages(unittest.TestCase):
    """Tables rest on the record and on nothing else."""

    def test_what_stands_between_the_marks_is_replaced(self):
        text = "top\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nbottom\n"
        new = page.written(text, sample())
        self.assertTrue(new.startswith("top\n") and new.endswith("bottom\n") and "old" not in new)
        self.assertIn("| Slow | 5.5 µs (5–6) 50.00 × **sums** |", new)
        self.assertIn("| whippet | ≥ 430 k/s | 4.2 M/s | 37 MiB |", new)
        self.assertIn("Not measured – Vector: no program.", new)
        self.assertIn("- Slow, packed saturated: WRONG: 1 of 2 flushed (and 2 more rounds)", new)
        self.assertEqual(page.written(new, sample()), new)

    def test_the_caption_names_what_was_not_measured(self):
        text = "<!-- peers caption: begin -->\n<!-- peers caption: end -->\n"
        new = page.written(text, sample())
        self.assertIn("\nMedians of 2026-11-27, M; not measured: Vector.\n", new)


class Sinks(unittest.TestCase):
    """What a server sends is kept, byte for byte."""

    def test_carbon_keeps_what_connections_send(self):
        with tempfile.TemporaryDirectory() as folder:
            sink = sinks.Carbon(folder, 1, 1, "")
            with socket.create_connection(("127.0.0.1", sink.port)) as connection:
                connection.sendall(b"a 1 2\n")
            deadline = time.monotonic() + 10
            while not sink.parts and time.monotonic() < deadline:
                time.sleep(0.005)
            sink.close()
            self.assertEqual(sink.parts, [Part(b"a 1 2\n")])

    def test_the_intake_keeps_paths_and_encodings(self):
        sink = sinks.Http("", 1, 1, "")
        url = f"http://127.0.0.1:{sink.port}/api/v1/series"
        request = urllib.request.Request(url, b"body", {"Content-Encoding": "deflate"})
        with contextlib.closing(urllib.request.urlopen(request)) as answer:
            self.assertEqual(answer.status, 202)
        sink.close()
        self.assertEqual(sink.parts, [Part(b"body", "/api/v1/series", "deflate")])


class Peers(unittest.TestCase):
    """The table of servers."""

    def test_every_template_can_be_filled(self):
        words = dict.fromkeys(("program", "port", "sink", "spare", "spare2", "folder", "seconds"), "1")
        for peer in peers.ALL:
            for template in (peer.command, peer.prepare, peer.version, *peer.files.values()):
                string.Template(template).substitute(words)
            self.assertIn(peer.sink, sinks.KINDS)
            self.assertNotIn("0.0.0.0", str(peer))
        brubeck = string.Template(peers.named("brubeck").files["brubeck.json"]).substitute(words)
        self.assertEqual(json.loads(brubeck)["backends"][0]["frequency"], 1)

    def test_names_are_found_as_people_write_them(self):
        for text, name in (("etsy", "etsy statsd"), ("ADP", "Agent Data Plane"),
                           ("statsd-exporter", "statsd_exporter"), ("Veneur", "Veneur")):
            self.assertEqual(peers.named(text).name, name)
        with self.assertRaises(SystemExit):
            peers.named("unheard of")


@unittest.skipUnless(os.environ.get("WHIPPET") and (os.cpu_count() or 1) > 1, "needs WHIPPET, 2 CPUs")
class Running(unittest.TestCase):
    """A server under load."""

    def test_what_whippet_posts_is_what_was_sent(self):
        program = os.environ["WHIPPET"]
        load = run.Load("packed", seconds=1, rate=2_000, warmup=0)
        result = run.bench(program, run.Given(peers.named("whippet"), program), load, 1)
        self.assertEqual(result.verdict, "exact")
        self.assertGreater(result.check.series, 300)
        self.assertGreater(result.run["cpu"]["seconds"], 0)


if __name__ == "__main__":
    unittest.main()
