"""Starts the image of this machine's kind from its root file system, as a container runtime would:

    python3 tools/dist/try_image.py target/shipped/image UMOCI

umoci unpacks it, which checks every digest. User, environment, command, health check and stop signal are
those of the image; the network is one of its own. Needs root, and iproute2 and util-linux.
"""

import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
SOCKET = "/var/run/datadog/dsd.socket"


class Image:
    def __init__(self, layout, umoci, work):
        index = json.loads((layout / "index.json").read_text())
        ours = {"os": "linux", "architecture": MACHINES[platform.machine()]}
        entry = next(m for m in index["manifests"] if m["platform"] == ours)
        tag = entry["annotations"]["org.opencontainers.image.ref.name"]
        subprocess.run([umoci, "unpack", "--image", f"{layout}:{tag}", work / "bundle"], check=True)
        # Another user looks into it.
        (work / "bundle").chmod(0o755)
        self.root = work / "bundle" / "rootfs"

        def blob(reference):
            return json.loads((layout / "blobs" / reference["digest"].replace(":", "/")).read_text())

        self.settings = blob(blob(entry)["config"])["config"]
        # An image has no devices; a runtime brings them.
        (self.root / "dev").mkdir()
        for name, minor in (("null", 3), ("urandom", 9)):
            os.mknod(self.root / "dev" / name, 0o020666, os.makedev(1, minor))
        # A first process of the network, which lives as long as this test.
        self.network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
                                        stdout=subprocess.PIPE, text=True)
        assert self.network.stdout.readline() == "up\n", "no network of its own"

    def command(self, *arguments, variables=()):
        """What starts a command in the image, as its user, with its environment alone."""
        nsenter, env, chroot = (shutil.which(name) for name in ("nsenter", "env", "chroot"))
        return [
            *[nsenter, f"--net=/proc/{self.network.pid}/ns/net", env, "-i", *self.settings["Env"], *variables],
            *[chroot, f"--userspec={self.settings['User']}", self.root, *arguments],
        ]

    def runs(self, *arguments):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"

    def may_write(self, folder):
        """Whether its user may, as the kernel decides it."""
        user, group = self.settings["User"].split(":")
        ids = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        return subprocess.run(["setpriv", *ids, "test", "-w", f"{self.root}{folder}"]).returncode == 0


def until(what, holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, f"not within 30 s: {what}"
        time.sleep(0.05)


def tries(image, work):
    assert image.settings["User"].split(":")[0] not in ("", "0", "root"), "it runs as root"
    for folder in ("/var/lib/whippet", "/var/run/datadog", "/tmp"):
        assert image.may_write(folder), f"its user cannot write to {folder}"
    assert not image.may_write("/whippet") and not image.may_write("/etc"), "its user may change the program"

    out, log = work / "out", work / "log"
    start = image.command(
        *image.settings["Entrypoint"], *image.settings["Cmd"], "--set", "interval=1",
        variables=["DD_HOSTNAME=test", "WHIPPET_OUTPUT=jsonl"],
    )
    with open(out, "w") as stdout, open(log, "w") as stderr:
        server = subprocess.Popen(start, stdout=stdout, stderr=stderr)
    try:
        until("its admin server", lambda: "admin 127.0.0.1" in log.read_text() or server.poll() is not None)
        kind, *health = image.settings["Healthcheck"]["Test"]
        assert kind == "CMD"
        image.runs(*health)
        image.runs("/whippet", "send", "metric", "over.udp", "1", "--to", "udp://127.0.0.1:8125")
        image.runs("/whippet", "send", "metric", "over.uds", "1", "--to", f"unix://{SOCKET}")
        until("both metrics", lambda: all(name in out.read_text() for name in ("over.udp", "over.uds")))
        server.send_signal(signal.Signals[image.settings["StopSignal"]])
        assert server.wait(10) == 0, f"it stopped with {server.returncode}"
        assert "2 received = 2 recorded + 0 refused + 0 dropped" in log.read_text(), "the last lines do not balance"
    except BaseException:
        sys.stderr.write(log.read_text())
        raise
    finally:
        server.kill()


def main():
    layout, umoci = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)
        image = Image(layout, umoci, work)
        try:
            tries(image, work)
        finally:
            image.network.kill()
    print("image: starts without root, is healthy, takes UDP and the socket, stops on its signal, balances")


main()
