#!/usr/bin/env python3
"""A flood: when the kernel drops datagrams, whippet reports how many and which sysctl helps.

    python3 examples/moments/flood.py

The server is paused, as on a machine without a free CPU, while more datagrams arrive than its receive
buffer holds.
"""
import signal

from whippet import Whippet, promise, until

SENT = 4_000


def main():
    with Whippet(interval=1, output="none") as server:
        client = server.socket()
        # 27 MB in total; the buffer holds 4 MiB unless the system grants less.
        datagram = "\n".join(f"page.views:1|c|#env:prod,shard:{n}" for n in range(200)).encode()
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(SENT):
            client.send(datagram)
        server.process.send_signal(signal.SIGCONT)

        warning = until(lambda: server.logged("kernel dropped"), "the log reports it")
        print(warning)
        promise("sysctl -w net.core.rmem_max=" in warning, "the warning names the sysctl")

        def settled():
            status = server.status()
            read = sum(one.get("datagrams", 0) for one in status["listeners"])
            return read + status["kernel"]["dropped"] == SENT and status

        status = until(settled, f"read + dropped by the kernel = the {SENT} datagrams that were sent")
        kernel = status["kernel"]
        promise(kernel["dropped"] > 0 and status["lines"]["balances"],
                f"of {SENT} datagrams the kernel dropped {kernel['dropped']}, and every other one is accounted for")
        promise("sysctl -w net.core.rmem_max=" in kernel["listeners"][0]["remedy"],
                f"status names the fix: {kernel['listeners'][0]['remedy']}")
        for line in server.says("status").splitlines():
            if "kernel drops" in line or "fix:" in line:
                print(line)


if __name__ == "__main__":
    main()
