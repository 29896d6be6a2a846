"""The unmodified clients: where they are installed, and how each is started."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Outside of what git sees; CLIENTS=FOLDER uses another one.
HOME = pathlib.Path(os.environ.get("CLIENTS", HERE.parent.parent / "target" / "clients"))

PIP = {"py3": "ddtrace==3.10.2", "py4": "ddtrace==4.16.0", "dd": "datadog==0.56.0"}
NPM = "dd-trace@5.132.0"
NAMES = ["py3", "py4", "js", "dd"]
TITLES = {"py3": PIP["py3"], "py4": PIP["py4"], "js": NPM.replace("@", "=="), "dd": PIP["dd"]}


def install():
    """Installs what is missing, with the ordinary package managers."""
    for name, package in PIP.items():
        if not (HOME / name / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", HOME / name], check=True)
            subprocess.run([HOME / name / "bin" / "pip", "install", "--quiet", package], check=True)
    modules = HOME / "js"
    if not (modules / "node_modules" / "dd-trace").exists():
        modules.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", modules, NPM], check=True)


def environment(name, url):
    """What an operator sets so that the client finds the server at `url`."""
    if name == "dd":
        return {"API_HOST": url}
    variables = {
        "DD_SERVICE": "shop",
        "DD_ENV": "prod",
        "DD_VERSION": "1.2",
        "DD_TRACE_AGENT_URL": url,
        "DD_TRACE_STATS_COMPUTATION_ENABLED": "true",
        "DD_DATA_STREAMS_ENABLED": "true",
        # Only so that the run need not last a minute.
        "DD_TELEMETRY_HEARTBEAT_INTERVAL": "5",
    }
    if name == "js":
        variables["CLIENT_MODULES"] = str(HOME / "js" / "node_modules")
    return variables


def start(name, url, seconds, more=None):
    """Starts the driver of client `name`; it stays `seconds` after its last call."""
    if name == "js":
        command = ["node", HERE / "drive_js.js", str(seconds)]
    elif name == "dd":
        command = [HOME / "dd" / "bin" / "python", HERE / "drive_dd.py"]
    else:
        command = [HOME / name / "bin" / "python", HERE / "drive_py.py", str(seconds)]
    # Nothing of the caller's own configuration.
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("DD_", "WHIPPET_", "OTEL_"))}
    variables = {**ours, "NO_PROXY": "127.0.0.1", **environment(name, url), **(more or {})}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
