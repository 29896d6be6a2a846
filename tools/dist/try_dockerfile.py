"""Compares what dist/Dockerfile makes with the image of tools/dist/image.py:

    python3 tools/dist/try_dockerfile.py target/shipped/image UMOCI BUILDAH_ROOT

buildah, unpacked from Debian into BUILDAH_ROOT, runs the second half of the Dockerfile, without a daemon.
Of the first half, which compiles in an image of Alpine, only the line that makes the folders runs here.
Both images must have the same files, owners, modes and settings. Needs root.
"""

import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
SETTINGS = ("User", "ExposedPorts", "Entrypoint", "Cmd", "StopSignal", "Healthcheck")
# What buildah adds of its own, and image.py.
ADDED_LABELS = {"io.buildah.version", "org.opencontainers.image.version"}


def run(*arguments, **more):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == 0, f"{arguments}: {done.stdout}"
    return done.stdout


def tree(root):
    """Path to mode, owner, group and digest of everything below."""
    found = {}
    for folder, folders, files in os.walk(root):
        for path in (pathlib.Path(folder, name) for name in folders + files):
            about = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "folder"
            found[str(path.relative_to(root))] = (oct(about.st_mode), about.st_uid, about.st_gid, digest)
    return found


def main():
    layout, umoci = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    tools = pathlib.Path(sys.argv[3]).resolve()
    index = json.loads((layout / "index.json").read_text())
    ours = {"os": "linux", "architecture": MACHINES[platform.machine()]}
    entry = next(m for m in index["manifests"] if m["platform"] == ours)

    def blob(reference):
        return json.loads((layout / "blobs" / reference["digest"].replace(":", "/")).read_text())

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        tag = entry["annotations"]["org.opencontainers.image.ref.name"]
        run(umoci, "unpack", "--image", f"{layout}:{tag}", work / "ours")
        first, second = (ROOT / "dist" / "Dockerfile").read_text().split("\nFROM scratch\n")
        (work / "Dockerfile").write_text(f"FROM scratch\n{second}")
        # What the first half leaves behind, at the places that the second half copies from.
        build = work / "build"
        for source, place in re.findall(r"(?m)^COPY --from=build (\S+) (\S+)$", second):
            path = build / source.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(work / "ours/rootfs" / place.lstrip("/"), path)
        path.chmod(0o755)
        (folders,) = re.findall(r"(?m)^RUN (mkdir -p /image.*)$", first)
        run("sh", "-c", folders.replace("/image", f"{build}/image"))

        (work / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (work / "empty").mkdir()
        buildah = [tools / "usr/bin/buildah", "--storage-driver=vfs", f"--root={work}/root", f"--runroot={work}/run"]
        policy = f"--signature-policy={work}/policy.json"
        libraries = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, (tools / "usr/lib").glob("*-linux-gnu")))}
        run(*buildah, "bud", "--isolation=chroot", "--format=docker", policy, f"--build-context=build={build}",
            "-f", work / "Dockerfile", "-t", "theirs", work / "empty", env=libraries)
        run(*buildah, "push", policy, "theirs", f"oci:{work}/layout:theirs", env=libraries)
        run(umoci, "unpack", "--image", f"{work}/layout:theirs", work / "theirs")
        about = json.loads(run(*buildah, "inspect", "--type=image", "theirs", env=libraries))["Docker"]["config"]

        settings = blob(blob(entry)["config"])["config"]
        wrong = [f"{key}: {settings[key]} and {about[key]}" for key in SETTINGS if settings[key] != about[key]]
        labels = [{k: v for k, v in of["Labels"].items() if k not in ADDED_LABELS} for of in (settings, about)]
        variables = [{v for v in of["Env"] if not v.startswith("PATH=")} for of in (settings, about)]
        wrong += [f"{one} and {other}" for one, other in (labels, variables) if one != other]
        one, other = tree(work / "ours/rootfs"), tree(work / "theirs/rootfs")
        wrong += [f"{p}: {one.get(p)} and {other.get(p)}" for p in sorted({*one, *other}) if one.get(p) != other.get(p)]
        assert not wrong, "image.py and the Dockerfile differ:\n" + "\n".join(wrong)
    print(f"image: dist/Dockerfile makes the same {len(one)} files and settings")


main()
