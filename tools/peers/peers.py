"""The servers that can be measured: how each is started, what it speaks, how its flushes are read.

A command and the configuration files are templates: $program is what PEERS gives (one or more
words), $port the UDP port to bind, $sink the port of the listener that gets the flushes, $spare a
free port for whatever else it wants to bind, $folder an empty folder for it, $seconds the interval
between two flushes; $spare2 is another free port. Everything is on 127.0.0.1. The command replaces its shell,
so that the process that is measured is the server; variables are set with `env`.
"""

from dataclasses import dataclass, field

import flushes


@dataclass(frozen=True)
class Peer:
    """One server."""

    # As in PEERS, in the record and on the pictures.
    name: str
    # Language, and what a reader must know about the comparison.
    about: str
    command: str
    # Tags of DogStatsD on the wire; without them the names are longer instead, and as many.
    tags: bool = True
    # File name in $folder to its content.
    files: dict = field(default_factory=dict)
    # Where the flushes go: `sinks.KINDS`.
    sink: str = "none"
    # The page that is asked for, where the sink asks.
    page: str = "/metrics"
    # How they are read: a function of `flushes`; None means that they cannot be.
    read: object = None
    # The form in which names and tags come back: a function of `flushes`.
    key: object = flushes.plain_key
    # Flushes at fixed times of so many seconds, whatever $seconds says.
    fixed_seconds: int = 0
    # Within so many intervals after a metric, its flush has begun.
    intervals: int = 1
    # A command that is run before, in a shell.
    prepare: str = ""
    # Prints its version when started so.
    version: str = ""
    # More files or folders that belong to the program, relative to its last word.
    beside: tuple = ()
    # True once it was started by this script and its sums were right.
    tried: bool = True
    # Why `tools/peers/get` does not bring it, or not by itself.
    hard_to_get: str = ""


DATADOG = """api_key: 0123456789abcdef0123456789abcdef
hostname: bench
dd_url: http://127.0.0.1:$sink
dogstatsd_port: $port
dogstatsd_so_rcvbuf: 4194304
dogstatsd_socket: ""
serializer_compressor_kind: zlib
"""

# On its own, without an Agent; by itself it aggregates 5,000 contexts, and drops those beyond.
DATA_PLANE = (
    DATADOG
    + """log_level: error
ipc_cert_file_path: $folder/ipc.pem
aggregate_window_duration: {secs: $seconds, nanos: 0}
aggregate_flush_interval: {secs: $seconds, nanos: 0}
aggregate_context_limit: 10000000
flush_timeout_secs: 0
data_plane:
  enabled: true
  standalone_mode: true
  api_listen_address: tcp://127.0.0.1:$spare
  secure_api_listen_address: tcp://127.0.0.1:$spare2
  dogstatsd: {enabled: true}
"""
)

# Nothing but its statsd server, each metric in a chart so that it can be asked for.
NETDATA = """[global]
    run as user = root
[directories]
    config = $folder
    stock config = $folder
    plugins = $folder
    web = $folder
    health config = $folder
    cache = $folder
    lib = $folder
    log = $folder
[db]
    mode = ram
    retention = 60
[plugins]
    enable running new plugins = no
    timex = no
    checks = no
    idlejitter = no
    tc = no
    diskspace = no
    proc = no
    cgroups = no
    netdata monitoring = no
    profile = no
    apps = no
    perf = no
    slabinfo = no
    nfacct = no
    statsd = yes
[web]
    bind to = 127.0.0.1:$sink
    web server threads = 1
[statsd]
    update every (flushInterval) = $seconds
    bind to = udp:127.0.0.1:$port
    max private charts hard limit = 10000000
[registry]
    enabled = no
[health]
    enabled = no
[ml]
    enabled = no
"""

ALL = (
    Peer(
        name="whippet",
        about="Rust",
        command="env WHIPPET_INTERVAL=$seconds WHIPPET_ADMIN_ADDRESS= WHIPPET_OUTPUT=datadog"
        " $program run -c $folder/datadog.yaml",
        files={"datadog.yaml": DATADOG + "run_path: $folder\n"},
        sink="http",
        read=flushes.datadog,
        version="$program --version",
    ),
    Peer(
        name="floor",
        about="Rust; receives, finds lines, adds: the least, no server",
        command="$program --target udp://127.0.0.1:$port",
    ),
    Peer(
        name="Brubeck",
        about="C; no tags",
        command="$program --config=$folder/brubeck.json",
        tags=False,
        files={
            "brubeck.json": """{"sharding": false, "server_name": "bench",
 "dumpfile": "$folder/dump", "capacity": 17, "expire": 20, "http": "127.0.0.1:$spare",
 "backends": [{"type": "carbon", "address": "127.0.0.1", "port": $sink, "frequency": $seconds}],
 "samplers": [{"type": "statsd", "address": "127.0.0.1", "port": $port, "workers": 1,
   "multisock": true, "multimsg": 8}]}
"""
        },
        sink="carbon",
        read=flushes.carbon,
    ),
    Peer(
        name="statsite",
        about="C; no tags",
        command="$program -f $folder/statsite.conf",
        tags=False,
        files={
            "statsite.conf": """[statsite]
bind_address = 127.0.0.1
port = $spare
udp_port = $port
udp_rcvbuf = 4194304
log_level = WARN
flush_interval = $seconds
stream_cmd = cat >> $folder/flushed
"""
        },
        sink="file",
        read=flushes.statsite,
    ),
    Peer(
        name="Veneur",
        about="Go",
        command="$program -f $folder/veneur.yaml",
        files={
            "veneur.yaml": """statsd_listen_addresses: ["udp://127.0.0.1:$port"]
http_address: "127.0.0.1:$spare"
interval: "${seconds}s"
flush_on_shutdown: true
hostname: bench
stats_address: "127.0.0.1:$spare"
percentiles: [0.5, 0.95]
aggregates: ["min", "max", "count"]
num_workers: 1
num_readers: 1
metric_max_length: 4096
read_buffer_size_bytes: 4194304
metric_sinks:
  - kind: datadog
    name: datadog
    config:
      api_key: "0123456789abcdef0123456789abcdef"
      api_hostname: "http://127.0.0.1:$sink"
      flush_max_per_body: 25000
"""
        },
        sink="http",
        read=flushes.datadog,
    ),
    Peer(
        name="statsd_exporter",
        about="Go; scraped by Prometheus",
        command="$program --web.listen-address=127.0.0.1:$sink --statsd.listen-udp=127.0.0.1:$port"
        " --statsd.listen-tcp= --statsd.read-buffer=4194304 --log.level=error",
        sink="scrape",
        read=flushes.prometheus,
        key=flushes.prometheus_key,
        version="$program --version",
    ),
    Peer(
        name="etsy statsd",
        about="JavaScript; no tags",
        command="$program $folder/config.js",
        tags=False,
        files={
            "config.js": """{
  address: "127.0.0.1", port: $port, mgmt_address: "127.0.0.1", mgmt_port: $spare,
  flushInterval: ${seconds}000, backends: ["./backends/graphite"],
  graphiteHost: "127.0.0.1", graphitePort: $sink, graphite: {legacyNamespace: false}
}
"""
        },
        sink="carbon",
        read=flushes.etsy,
        beside=("..",),
    ),
    Peer(
        name="netdata",
        about="C; no tags; stores in memory instead of flushing",
        command="$program -D -c $folder/netdata.conf",
        tags=False,
        files={"netdata.conf": NETDATA},
        sink="ask",
        page="/api/v1/allmetrics?format=prometheus&source=raw&help=no",
        read=flushes.netdata,
        version="$program -v",
    ),
    Peer(
        name="gostatsd",
        about="Go",
        command="$program --metrics-addr=127.0.0.1:$port --flush-interval=${seconds}s"
        " --backends=datadog --hostname=bench --ignore-host --config-path=$folder/gostatsd.toml",
        files={
            "gostatsd.toml": """[datadog]
api_key = "0123456789abcdef0123456789abcdef"
api_endpoint = "http://127.0.0.1:$sink"
compress_payload = true
"""
        },
        sink="http",
        read=flushes.gostatsd,
        version="$program --version",
    ),
    Peer(
        name="Vector",
        about="Rust",
        command="$program --quiet --config $folder/vector.yaml",
        files={
            "vector.yaml": """data_dir: $folder
sources:
  statsd: {type: statsd, mode: udp, address: "127.0.0.1:$port", receive_buffer_bytes: 4194304}
transforms:
  sums: {type: aggregate, inputs: [statsd], interval_ms: ${seconds}000}
sinks:
  out: {type: file, inputs: [sums], path: $folder/flushed, encoding: {codec: json}}
"""
        },
        sink="file",
        read=flushes.vector,
        version="$program --version",
        tried=False,
        hard_to_get="its dependencies come from git, and building takes more than an hour on two processors",
    ),
    Peer(
        name="dogstatsd",
        about="Go; the Datadog Agent's",
        command="$program start -c $folder",
        files={"dogstatsd.yaml": DATADOG, "datadog.yaml": DATADOG},
        sink="http",
        read=flushes.datadog,
        fixed_seconds=10,
        version="$program version",
        tried=False,
        hard_to_get="building needs the Go module proxy and a newer Go than Debian's",
    ),
    Peer(
        name="Agent Data Plane",
        about="Rust; the Datadog Agent's",
        command="$program --config $folder/datadog.yaml run",
        prepare="openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        " -keyout $folder/ipc.pem -out $folder/ipc.pem",
        files={"datadog.yaml": DATA_PLANE},
        sink="http",
        read=flushes.datadog,
        intervals=2,
        hard_to_get="building it takes long, so `tools/peers/get` does so only when it is named",
    ),
)


def named(name):
    """The peer of this name; case and what is no letter or digit do not count."""

    def bare(text):
        return "".join(letter for letter in text.lower() if letter.isalnum())

    aliases = {"etsy": "etsystatsd", "adp": "agentdataplane", "statsd": "etsystatsd"}
    wanted = aliases.get(bare(name), bare(name))
    for peer in ALL:
        if bare(peer.name) == wanted:
            return peer
    raise SystemExit(f"PEERS: {name} is none of {', '.join(peer.name for peer in ALL)}")
