"""Writes an image of static programs as an OCI layout, without a daemon:

    python3 tools/dist/image.py FOLDER PROGRAM...

One image per program (their machines are read from their headers), behind one index. The same programs
and the same SOURCE_DATE_EPOCH make the same bytes. `skopeo copy oci:FOLDER docker://…` publishes it;
what is in it is what dist/Dockerfile makes.
"""

import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINES = {62: "amd64", 183: "arm64"}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def settings():
    """What the Dockerfile says, so that there is one list."""
    text = (ROOT / "dist" / "Dockerfile").read_text().split("FROM scratch\n", 1)[1]
    text = text.replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]

    def of(name):
        return [rest for word, rest in lines if word == name]

    def pairs(name):
        return [pair for rest in of(name) for pair in re.findall(r'([\w.]+)=("[^"]*"|\S+)', rest)]

    health = re.fullmatch(r"--interval=(\d+)s --timeout=(\d+)s CMD (.*)", of("HEALTHCHECK")[0])
    return {
        "User": of("USER")[0],
        "ExposedPorts": {port: {} for port in of("EXPOSE")},
        "Env": [f"{name}={value}" for name, value in pairs("ENV")],
        "Entrypoint": json.loads(of("ENTRYPOINT")[0]),
        "Cmd": json.loads(of("CMD")[0]),
        "Labels": {name: value.strip('"') for name, value in pairs("LABEL")},
        "StopSignal": of("STOPSIGNAL")[0],
        "Healthcheck": {
            "Test": ["CMD", *json.loads(health[3])],
            "Interval": int(health[1]) * 10**9,
            "Timeout": int(health[2]) * 10**9,
        },
    }


def layer(program, epoch, user):
    """The files of the second half of the Dockerfile, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name, mode, content=None, owner=0):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, epoch
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

        for folder in ("etc", "etc/ssl", "etc/ssl/certs"):
            add(folder, 0o755)
        add("etc/ssl/certs/ca-certificates.crt", 0o644, pathlib.Path(CERTIFICATES).read_bytes())
        add("tmp", 0o1777, owner=user)
        for folder in ("var", "var/lib", "var/lib/whippet", "var/run", "var/run/datadog"):
            add(folder, 0o755, owner=user)
        add("whippet", 0o755, program)
    return out.getvalue()


def main():
    out = pathlib.Path(sys.argv[1])
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    version = re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
    blobs = out / "blobs" / "sha256"
    shutil.rmtree(out, ignore_errors=True)
    blobs.mkdir(parents=True)

    def blob(content, kind):
        if not isinstance(content, bytes):
            content = json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    manifests = []
    for path in sys.argv[2:]:
        program = pathlib.Path(path).read_bytes()
        machine = MACHINES[int.from_bytes(program[18:20], "little")]
        config = settings()
        config["Labels"]["org.opencontainers.image.version"] = version
        content = layer(program, epoch, int(config["User"].split(":")[0]))
        packed = blob(gzip.compress(content, 9, mtime=0), "layer.v1.tar+gzip")
        when = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {
            "created": when,
            "architecture": machine,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
            "history": [{"created": when, "created_by": "tools/dist/image.py"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(about, "config.v1+json"),
            "layers": [packed],
        }
        entry = blob(manifest, "manifest.v1+json")
        entry["platform"] = {"os": "linux", "architecture": machine}
        entry["annotations"] = {"org.opencontainers.image.ref.name": f"{version}-{machine}"}
        manifests.append(entry)
        print(f"{out}:{version}-{machine}  {packed['size'] / 1e6:.1f} MB")
    (out / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    (out / "index.json").write_text(json.dumps(index, sort_keys=True))


main()
