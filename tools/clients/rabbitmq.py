#!/usr/bin/env python3
"""Messages between lapin and kombu with unmodified ddtrace, through a real RabbitMQ.

    make test-rabbitmq          or: python3 tools/clients/rabbitmq.py PEER FOLDER

PEER is the program of tools/clients/peer, FOLDER where tools/clients/install-rabbitmq unpacked the broker. Starts the
broker on a free port with its data in a temporary folder. The library publishes and Kombu, instrumented by ddtrace,
reads, and the other way round, through the default exchange and a named one: the hashes of both ends must be those that
the other end computes. Exits with 1 if anything differs.
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pathways

STARTED_WITHIN = 300


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Broker:
    """A RabbitMQ that only this machine reaches."""

    def __init__(self, folder, data):
        erlang = folder / "usr/lib/erlang/bin"
        home = next((folder / "usr/lib/rabbitmq/lib").iterdir())
        self.port, distribution, mapper = free_port(), free_port(), free_port()
        config = data / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}\n")
        variables = {
            "PATH": f"{erlang}:{os.environ['PATH']}",
            "HOME": str(data),
            "RABBITMQ_HOME": str(home),
            "RABBITMQ_BASE": str(data),
            "RABBITMQ_CONF_ENV_FILE": str(data / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(data / "log"),
            "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_NODENAME": f"whippet{os.getpid()}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # Erlang's port mapper; one that the broker started would stay behind as a daemon.
        self.mapper = subprocess.Popen([erlang / "epmd"], env=variables)
        while socket.socket().connect_ex(("127.0.0.1", mapper)) != 0:
            time.sleep(0.1)
        self.log = data / "out.log"
        with open(self.log, "wb") as log:
            # A group of its own: the starters are scripts.
            self.process = subprocess.Popen([home / "sbin/rabbitmq-server"], env=variables, stdout=log, stderr=log,
                                            start_new_session=True)

    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"

    def wait_until_ready(self):
        until = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < until and self.process.poll() is None:
            if "Starting broker... completed" in self.log.read_text():
                return
            time.sleep(0.2)
        sys.exit(f"RabbitMQ does not start:\n{self.log.read_text()}")

    def stop(self):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, sign)
            try:
                self.process.wait(timeout=20)
                break
            except subprocess.TimeoutExpired:
                pass
        self.mapper.terminate()
        self.mapper.wait()


def exchange_messages(rust, url, problems):
    import ddtrace
    from ddtrace.internal.datastreams import data_streams_processor

    ddtrace.patch(kombu=True)
    import kombu

    streams = data_streams_processor()

    def receive(queue, wanted):
        """What Kombu reads from a queue, and the pathway it makes of it."""
        got = []

        def take(body, message):
            got.append(body)
            message.ack()

        with kombu.Consumer(connection, queues=[queue], callbacks=[take], accept=["text/plain"]):
            connection.drain_events(timeout=30)
        pathways.check(problems, f"{queue.name}: body", got, [wanted])
        # ddtrace passes its checkpoint after the callback.
        return str(streams._current_context.value.hash)

    with kombu.Connection(url) as connection:
        channel = connection.channel()
        events = kombu.Exchange("events", type="direct", durable=False)
        queues = {
            "": kombu.Queue("orders", routing_key="orders", durable=False),
            "events": kombu.Queue("invoices", exchange=events, routing_key="made", durable=False),
        }
        for exchange, queue in queues.items():
            queue(channel).declare()
            key = queue.routing_key

            # The library publishes, Kombu reads; the library computes what a reader has, from the same parent.
            produced = rust("publish", exchange=exchange, key=key, body="from lapin")["hash"]
            theirs = receive(queue, "from lapin")
            rust("publish", exchange=exchange, key=key, body="from lapin")
            mine = rust("receive", queue=queue.name)["hash"]
            pathways.check(problems, f"lapin to kombu on '{exchange}': hash of the reader", theirs, mine)

            # Kombu publishes, the library reads.
            streams.new_pathway()
            with kombu.Producer(channel) as producer:
                producer.publish("from kombu", exchange=exchange, routing_key=key, content_type="text/plain",
                                 content_encoding="utf-8")
                written = str(streams._current_context.value.hash)
                pathways.check(problems, f"both publish to '{exchange}': hash", written, produced)
            read = rust("receive", queue=queue.name)
            pathways.check(problems, f"kombu to lapin on '{exchange}': hash of the reader", read["hash"], mine)
            pathways.check(problems, f"{queue.name}: body", read["body"], "from kombu")


def inside(program, url):
    rust, problems = pathways.Peer(program, AMQP_URL=url), []
    exchange_messages(rust, url, problems)
    rust.stop()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    sys.stdout.flush()
    os._exit(1 if problems else 0)


def main(program, folder):
    python = pathways.install("rabbitmq", pathways.VERSIONS["pathways4"], "kombu==5.7.0")
    with tempfile.TemporaryDirectory() as data:
        broker = Broker(pathlib.Path(folder).resolve(), pathlib.Path(data))
        try:
            broker.wait_until_ready()
            command = [python, __file__, "--inside", program, broker.url()]
            code = subprocess.run(command, env=pathways.environment(DD_TRACE_ENABLED="true")).returncode
        finally:
            broker.stop()
    sys.exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(sys.argv[2], sys.argv[3])
    main(sys.argv[1], sys.argv[2])
