"""Manifests and chart: valid for every supported Kubernetes, and full of settings that whippet knows.

Run by tools/dist/kubernetes, with the folder of helm and kubectl, and the program.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

TOOLS, WHIPPET = pathlib.Path(sys.argv[1]), sys.argv[2]
DIST = pathlib.Path("dist")
CHART = DIST / "helm" / "whippet"
VERSIONS = [f"1.{minor}" for minor in range(25, 38)]
# A sidecar that starts before the application is on by default since 1.29.
SIDECAR_SINCE = 29
KEY = ["--set", "datadog.apiKey=0123456789abcdef0123456789abcdef"]
# What users set: each is rendered, validated and tried.
CHOICES = {
    "defaults": KEY,
    "a secret of one's own": ["--set", "datadog.existingSecret=mine"],
    "metrics and settings": [*KEY, "--set", "metrics.enabled=true,config.interval=5,clusterName=prod,tags={team:a,b:c}"],
    "only the socket": [*KEY, "--set", "udp.enabled=false,originDetection.enabled=false"],
    "only UDP": [*KEY, "--set", "socket.enabled=false,udp.port=9125,udp.hostPort=false"],
    "least rights": [*KEY, "--set", "rbac.fineGrained=true,priorityClassName=system-node-critical"],
}
REFUSED = {
    "no key": ([], "set datadog.apiKey, or datadog.existingSecret"),
    "a typing mistake": ([*KEY, "--set", "udp.prot=9125"], "prot"),
    "a port that is none": ([*KEY, "--set", "udp.port=70000"], "port"),
    "a relative path": ([*KEY, "--set", "socket.hostPath=run"], "hostPath"),
}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def helm(*arguments):
    return run(TOOLS / "helm", *arguments)


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def validate(what, document, since=25):
    for version in VERSIONS[since - 25 :]:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:  # of several kinds, all of them a refusal
            sys.exit(f"{what}: {document['kind']} is not valid for Kubernetes {version}: {error}")


def containers(document):
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    every = pod.get("initContainers", []) + pod.get("containers", [])
    return [container for container in every if container["name"] == "whippet"]


def settings_are_known(what, container, folder, files):
    """The program takes each variable of the container over, and has no fault to find."""
    given = {entry["name"]: entry.get("value", "node-1") for entry in container["env"]}
    given["DD_API_KEY"] = "0123456789abcdef0123456789abcdef"
    # Only a program with the feature `global` takes another mode than `off`; the other keys are known to all.
    given.pop("WHIPPET_GLOBAL_MODE", None)
    # The folder of the node is one of ours here.
    given = {name: value.replace("/var/run/datadog", str(folder)) for name, value in given.items()}
    arguments = [str(folder / pathlib.Path(word).name) if word.startswith("/") else word for word in container["args"][1:]]
    for name, content in files.items():
        (folder / name).write_text(content)
    checked = run(WHIPPET, "check-config", *arguments, env={"PATH": os.environ["PATH"], **given})
    if checked.returncode != 0 or "\nwarning" in checked.stdout + checked.stderr:
        sys.exit(f"{what}: whippet does not accept its settings:\n{checked.stdout}{checked.stderr}")
    for name in given:
        if name != "POD_NAME" and f"  <- {name}\n" not in checked.stdout:
            sys.exit(f"{what}: whippet does not know the variable {name}:\n{checked.stdout}")
    return len(given)


def main():
    known = valid = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sources = {}
        for path in sorted((DIST / "kubernetes").glob("*.yaml")):
            if path.name != "kustomization.yaml":
                sources[path.name] = documents(path.read_text())
        built = run(TOOLS / "kubectl", "kustomize", DIST / "kubernetes")
        if built.returncode != 0:
            sys.exit(built.stderr)
        sources["kustomize"] = documents(built.stdout)
        kinds = sorted(document["kind"] for document in sources["kustomize"])
        assert kinds == ["ClusterRole", "ClusterRoleBinding", "DaemonSet", "Namespace", "Service", "ServiceAccount"], kinds
        built = run(TOOLS / "kubectl", "kustomize", DIST / "kubernetes-global", "--load-restrictor=LoadRestrictionsNone")
        if built.returncode != 0:
            sys.exit(built.stderr)
        sources["kustomize, global tier"] = documents(built.stdout)
        # Only that image knows the mode of the global tier, which settings_are_known() leaves out.
        for container in (c for document in sources["kustomize, global tier"] for c in containers(document)):
            assert container["image"].endswith("-global"), container["image"]
        lint = helm("lint", "--strict", CHART, *KEY)
        if lint.returncode != 0:
            sys.exit(lint.stdout + lint.stderr)
        for name, arguments in CHOICES.items():
            rendered = helm("template", "whippet", CHART, "--namespace", "whippet", *arguments)
            if rendered.returncode != 0:
                sys.exit(f"helm, {name}: {rendered.stderr}")
            sources[f"helm, {name}"] = documents(rendered.stdout)
        for name, (arguments, expected) in REFUSED.items():
            rendered = helm("template", "whippet", CHART, *arguments)
            if rendered.returncode == 0 or expected not in rendered.stderr:
                sys.exit(f"helm should refuse {name}, naming {expected}: {rendered.stderr}")

        for what, found in sources.items():
            files = {}
            for document in found:
                valid += 1
                validate(what, document, SIDECAR_SINCE if what == "sidecar.yaml" else 25)
                if document["kind"] == "ConfigMap":
                    files = document["data"]
            for document in found:
                for container in containers(document):
                    known += settings_are_known(what, container, folder, files)
        # The validator itself finds what is wrong.
        wrong = json.loads(json.dumps(next(d for d in sources["kustomize"] if d["kind"] == "DaemonSet")))
        wrong["spec"]["template"]["spec"]["hostPid"] = True
        try:
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
        except Exception:
            pass
        else:
            sys.exit("the validator accepts a field that does not exist")
        package = helm("package", CHART, "--destination", folder)
        if package.returncode != 0:
            sys.exit(package.stderr)
    for path in ("docker-compose.yml", "global/docker-compose.yml"):
        services = yaml.safe_load((DIST / path).read_text())["services"]
        for service in (s for s in services.values() if "whippet-metrics/whippet" in s["image"]):
            given = service["environment"]
            if isinstance(given, list):
                given = dict((entry.split("=") + ["datadoghq.eu"])[:2] for entry in given)
            env = [{"name": name, "value": value} for name, value in given.items()]
            with tempfile.TemporaryDirectory() as folder:
                known += settings_are_known(path, {"args": ["run"], "env": env}, pathlib.Path(folder), {})
    print(f"  {valid} objects valid for Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}, {known} variables known, {len(REFUSED)} mistakes refused")


main()
