"""How programs of the global tier come to a real broker: topics that are missing, too small or made by whippet, TLS
with a certificate authority of our own, certificates of clients, logins.

    python3 tools/global/connect.py [NAME...]     all trials, or those named

Tansu has no TLS that can be switched on, so stunnel stands before it (`stunnel4` on Debian), and `openssl` makes the
certificates. It keeps no users either, so `login.py` asks for them. WHIPPET is a program built with the feature
`global-tls`.
"""
import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE)]
from broker import Broker, free_port  # noqa: E402
from login import MECHANISMS, Login  # noqa: E402
import trial  # noqa: E402

TOPIC, PARTITIONS = "whippet-global", trial.PARTITIONS
FOLDER = ROOT / "target" / "global"


def world(folder, brokers):
    """What programs need to know."""
    return types.SimpleNamespace(folder=folder, brokers=brokers, topic=TOPIC, intake=trial.Intake(), sent=0)


def works(here, **env):
    """A sender and an owner start, and the intake gets what was sent."""
    programs = [trial.Program(here, f"{mode}-{time.time_ns()}", mode, **env) for mode in ("own", "send")]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(200):
        client.sendto(f"g.count:{number}|c|#k:{number % 20}".encode(), ("127.0.0.1", programs[1].port))
        here.sent += number
    until = time.monotonic() + 60
    # What an earlier owner had not settled comes again, and changes nothing.
    while (arrived := here.intake.totals()["g.count"]) != here.sent:
        if time.monotonic() > until:
            raise SystemExit(f"sent {here.sent}, arrived {arrived}; logs in {here.folder}")
        time.sleep(0.2)
    for program in reversed(programs):
        program.end()


def refused(here, expected, mode="send", **env):
    """The start ends, and says so."""
    name = f"refused-{time.time_ns()}"
    try:
        program = trial.Program(here, name, mode, **env)
    except SystemExit as ended:
        if expected not in str(ended):
            raise SystemExit(f"no {expected!r} in {ended}")
        return
    program.end()
    raise SystemExit(f"it starts, and should say {expected!r}: {program.tail()}")


def topics(folder):
    """Missing, made by the tool of the broker, too small for what is wanted, larger, made by whippet."""
    broker = Broker(FOLDER)
    with contextlib.closing(types.SimpleNamespace(close=broker.stop)):
        here = world(folder, broker.address)
        create = f"run: kafka-topics.sh --bootstrap-server {broker.address} --create --topic {TOPIC}"
        refused(here, f"global_topic: {TOPIC} does not exist; {create} --partitions {PARTITIONS}")
        refused(here, f"global_topic: {TOPIC} does not exist; {create}", mode="own")
        broker.create(TOPIC, PARTITIONS)
        works(here)
        wanted = {"WHIPPET_GLOBAL_PARTITIONS": str(PARTITIONS + 4)}
        refused(here, f"{TOPIC} has {PARTITIONS} partitions, {PARTITIONS + 4} are needed", **wanted)
        here.topic = "made-by-whippet"
        works(here, WHIPPET_GLOBAL_CREATE_TOPIC="true")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(folder):
    """An authority, another that nobody trusts, and what the first signed for a broker and a client."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN=trial {name}")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("broker", "client"):
        openssl(folder, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.pem")


@contextlib.contextmanager
def tls_front(folder, port, target, *more):
    """Ends TLS on a port of loopback and passes the rest on."""
    program = shutil.which("stunnel4") or shutil.which("stunnel")
    if program is None:
        raise SystemExit("no stunnel: install it (stunnel4 on Debian and its relatives)")
    settings = ["foreground = yes", "pid =", "[brokers]", f"accept = 127.0.0.1:{port}",
                f"connect = 127.0.0.1:{target}", f"cert = {folder}/broker.pem", f"key = {folder}/broker.key", *more]
    (folder / "stunnel.conf").write_text("\n".join(settings) + "\n")
    log = open(folder / "stunnel.log", "ab")
    process = subprocess.Popen([program, folder / "stunnel.conf"], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 20
        while process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if time.monotonic() > until:
                raise SystemExit("stunnel does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def with_tls(folder, ca="ca"):
    return {"WHIPPET_GLOBAL_TLS": "true", "WHIPPET_GLOBAL_CA_FILE": str(folder / f"{ca}.pem")}


def tls(folder):
    """Values go through TLS; an authority that did not sign, or no certificate where one is wanted, ends the start."""
    certificates(folder)
    port = free_port()
    broker = Broker(FOLDER, TOPIC, PARTITIONS, advertised=port)
    with contextlib.closing(types.SimpleNamespace(close=broker.stop)):
        here = world(folder, f"127.0.0.1:{port}")
        with tls_front(folder, port, broker.port):
            works(here, **with_tls(folder))
            for mode in ("send", "own"):
                refused(here, "certificate verify failed", mode, **with_tls(folder, "other"))
        with tls_front(folder, port, broker.port, "verifyChain = yes", f"CAfile = {folder}/ca.pem"):
            ours = {"WHIPPET_GLOBAL_CERT_FILE": str(folder / "client.pem"),
                    "WHIPPET_GLOBAL_KEY_FILE": str(folder / "client.key")}
            works(here, **with_tls(folder), **ours)
            refused(here, "see global_tls, global_ca_file and global_cert_file", **with_tls(folder))


def login(folder):
    """Logins by every mechanism, through TLS; a wrong password or an unknown user ends the start."""
    certificates(folder)
    port = free_port()
    broker = Broker(FOLDER, TOPIC, PARTITIONS, advertised=port)
    front = Login(broker.port, {"alice": "password of alice"})

    def user(mechanism, name="alice", password="password of alice"):
        return {"WHIPPET_GLOBAL_SASL_MECHANISM": mechanism, "WHIPPET_GLOBAL_SASL_USERNAME": name,
                "WHIPPET_GLOBAL_SASL_PASSWORD": password, **with_tls(folder)}

    with contextlib.closing(types.SimpleNamespace(close=broker.stop)), tls_front(folder, port, front.port):
        here = world(folder, f"127.0.0.1:{port}")
        for mechanism in MECHANISMS:
            before = front.logins
            works(here, **user(mechanism))
            if front.logins == before:
                raise SystemExit(f"no login by {mechanism}")
            for wrong in ({"password": "not it"}, {"name": "bob"}):
                refused(here, "see global_sasl_mechanism, global_sasl_username and global_sasl_password",
                        **user(mechanism, **wrong))
    front.stop()


TRIALS = [topics, tls, login]


def main():
    wanted = sys.argv[1:] or [one.__name__ for one in TRIALS]
    unknown = set(wanted) - {one.__name__ for one in TRIALS}
    if unknown:
        raise SystemExit(f"no trial {', '.join(sorted(unknown))}")
    for one in TRIALS:
        if one.__name__ in wanted:
            began = time.monotonic()
            folder = pathlib.Path(tempfile.mkdtemp(prefix=f"whippet-{one.__name__}-"))
            one(folder)
            shutil.rmtree(folder)
            print(f"{one.__name__}: as it should [{time.monotonic() - began:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
