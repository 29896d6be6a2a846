"""A real Prometheus scrapes a real whippet, with the alert rules and the queries of the dashboards.

    python3 tools/dist/alerts.py FOLDER_WITH_PROMETHEUS WHIPPET

1. promtool accepts the rules, and their unit tests pass.
2. Every query of dist/grafana and every rule evaluates; the dashboard's panels show data.
3. No alert fires while all is well. Then the intake refuses the key, and lines are refused: those two
   alerts fire, and no other. Then whippet stops, and WhippetDown fires.

Everything listens on loopback on a free port, and is stopped at the end.
"""

import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

DIST = pathlib.Path(__file__).resolve().parents[2] / "dist"
RULES = DIST / "prometheus" / "whippet.rules.yaml"
# Panels that are empty while nothing is wrong.
EMPTY_IN_CALM = {"Lines refused and dropped"}


class Intake(http.server.BaseHTTPRequestHandler):
    """Accepts everything, or refuses the key."""

    answer = 202
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.reply(Intake.answer)

    def do_GET(self):
        self.reply(200 if Intake.answer == 202 else 403)

    def reply(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, seconds, look):
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            sys.exit(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


class Prometheus:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression):
        data = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(self.url + "/api/v1/query", data, timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            sys.exit(f"Prometheus refuses {expression}: {error.read().decode()}")

    def firing(self):
        alerts = json.loads(get(self.url + "/api/v1/alerts"))["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def panels():
    """Title and query of every target, with Grafana's variables filled in."""
    dashboard = json.loads((DIST / "grafana" / "whippet.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "30s")
            yield panel["title"], re.sub(r"\$(instance|job)", ".*", expression)
    for annotation in dashboard["annotations"]["list"]:
        yield None, re.sub(r"\$(instance|job)", ".*", annotation["expr"])


def main():
    binaries, whippet = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    promtool = binaries / "promtool"
    for arguments in (
        ["check", "rules", RULES, DIST / "prometheus" / "whippet-global.rules.yaml"],
        ["test", "rules", DIST / "prometheus" / "whippet.rules.test.yaml"],
        ["check", "config", "--syntax-only", DIST / "prometheus" / "prometheus.yaml"],
    ):
        subprocess.run([promtool, *arguments], check=True)

    intake = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Intake)
    threading.Thread(target=intake.serve_forever, daemon=True).start()
    statsd, admin, port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # As shipped, but an alert does not wait: minutes are too long for a test.
        rules = re.sub(r"\n +for: \w+", "", RULES.read_text())
        (folder / "rules.yaml").write_text(rules)
        (folder / "prometheus.yaml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yaml"],
                    "scrape_configs": [
                        {"job_name": "whippet", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}
                    ],
                }
            )
        )
        settings = {
            "dogstatsd_port": statsd,
            "dogstatsd_socket": folder / "dsd.socket",
            "admin_address": f"127.0.0.1:{admin}",
            "interval": 1,
            "api_key": "0" * 32,
            "dd_url": f"http://127.0.0.1:{intake.server_port}",
            "run_path": folder,
            "hostname": "test-host",
            "forwarder_apikey_validation_interval": 1,
        }
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        log = open(folder / "log", "w")
        server = subprocess.Popen([whippet, "run", *sets], stdout=log, stderr=log)
        scraper = subprocess.Popen(
            [
                binaries / "prometheus",
                f"--config.file={folder}/prometheus.yaml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )
        try:
            check(Prometheus(port), server, statsd, admin, folder)
        except SystemExit:
            print((folder / "log").read_text(), file=sys.stderr)
            raise
        finally:
            for process in (server, scraper):
                process.terminate()
                process.wait(20)


def check(prometheus, server, statsd, admin, folder):
    until("whippet answers", 20, lambda: get(f"http://127.0.0.1:{admin}/ready"))
    until("Prometheus answers", 30, lambda: get(prometheus.url + "/-/ready"))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    uds = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    uds.connect(str(folder / "dsd.socket"))

    def send(line):
        udp.sendto(line, ("127.0.0.1", statsd))
        uds.send(line)

    def delivered():
        send(b"page.views:1|c|#env:test\nrequest.time:12|d\nqueue.depth:3|g")
        rates = prometheus.query('sum(rate(whippet_payloads{state="delivered"}[10s]))')
        return rates and float(rates[0]["value"][1]) > 0 and len(prometheus.query("up[5s]")[0]["values"]) >= 5

    until("payloads delivered, several times", 30, delivered)
    silent = []
    count = 0
    for title, expression in panels():
        count += 1
        if not prometheus.query(expression) and title and title not in EMPTY_IN_CALM and " > 0" not in expression:
            silent.append(f"{title}: {expression}")
    if silent:
        sys.exit("panels without data:\n" + "\n".join(silent))
    print(f"  {count} queries of the dashboard answered")
    if prometheus.firing():
        sys.exit(f"fires although all is well: {prometheus.firing()}")

    Intake.answer = 403

    def trouble():
        send(b"not a metric")
        send(b"page.views:1|c")
        return {"WhippetKeyRefused", "WhippetLinesRefused"} <= prometheus.firing()

    until("alerts for the key and the lines", 40, trouble)
    others = prometheus.firing() - {"WhippetKeyRefused", "WhippetLinesRefused"}
    if others:
        sys.exit(f"also fires: {others}")
    panel = next(expression for title, expression in panels() if title == "Lines refused and dropped")
    if not prometheus.query(panel):
        sys.exit(f"refused lines are not on the dashboard: {panel}")
    server.terminate()
    until("an alert for a server that is gone", 40, lambda: "WhippetDown" in prometheus.firing())
    print("  alerts fired at a refused key, refused lines and a stopped server, and not before")


main()
