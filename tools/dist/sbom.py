"""Writes what a program is made of, as a CycloneDX document in JSON:

    python3 tools/dist/sbom.py x86_64-unknown-linux-musl FILE

Every crate that is linked for that target with the default features, with its licence, the checksum of
Cargo.lock and what it depends on. Crates that only run while building are not in the program, nor here.
"""

import datetime
import json
import os
import subprocess
import sys
import tomllib
import uuid


def main():
    target, path = sys.argv[1], sys.argv[2]
    output = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"],
        check=True,
        capture_output=True,
    )
    metadata = json.loads(output.stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    with open("Cargo.lock", "rb") as lock:
        sums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(lock)["package"]}

    def linked(node):
        """What it depends on in the program: procedural macros end in the compiler."""
        for dependency in nodes[node]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            macro = any("proc-macro" in t["kind"] for t in packages[dependency["pkg"]]["targets"])
            if None in kinds and not macro:
                yield dependency["pkg"]

    def purl(node):
        package = packages[node]
        return f"pkg:cargo/{package['name']}@{package['version']}"

    def component(node):
        package = packages[node]
        about = {
            "type": "application" if node == root else "library",
            "bom-ref": purl(node),
            "name": package["name"],
            "version": package["version"],
            "purl": purl(node),
        }
        if package["description"]:
            about["description"] = " ".join(package["description"].split())
        if package["license"]:
            about["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        checksum = sums.get((package["name"], package["version"]))
        if checksum:
            about["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package["repository"]:
            about["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return about

    found, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(linked(node))
    libraries = sorted(found - {root}, key=purl)
    when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(root),
            "properties": [{"name": "target", "value": target}],
        },
        "components": [component(node) for node in libraries],
        "dependencies": [
            {"ref": purl(node), "dependsOn": sorted({purl(other) for other in linked(node)})}
            for node in [root, *libraries]
        ],
    }
    # The same content, the same number.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    with open(path, "w") as file:
        json.dump(document, file, indent=1, sort_keys=True)
        file.write("\n")
    print(f"{path}: {len(libraries)} libraries")


main()
