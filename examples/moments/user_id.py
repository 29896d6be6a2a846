#!/usr/bin/env python3
"""A client adds user_id as a tag: within one flush whippet names metric, tag and sender.

    python3 examples/moments/user_id.py

Memory stays flat: contexts beyond `contexts_max` are folded into one per name.
"""
import json

from whippet import Whippet, promise, until

CONTEXTS_MAX = 2_000
USERS = 40_000
GUILTY, INNOCENT = "127.0.0.3", "127.0.0.2"


def main():
    with Whippet(interval=2, output="none", contexts_max=CONTEXTS_MAX) as server:
        guilty, innocent = server.socket(GUILTY), server.socket(INNOCENT)
        sent = 0

        def burst(users):
            nonlocal sent
            for first in range(users.start, users.stop, 20):
                lines = [f"logins:1|c|#env:prod,user_id:{user}" for user in range(first, first + 20)]
                guilty.send("\n".join(lines).encode())
                innocent.send(b"web.requests:1|c|#env:prod,status:200")
                sent += 21
                if first % 2_000 == 0:
                    # No faster than the smallest receive buffer allows.
                    until(lambda: received() >= sent, "lines arrive")

        def received():
            senders = json.loads(server.says("top", "--once", "--json", "--every", "0.1"))["senders"]
            return sum(row["lines"] for row in senders)

        burst(range(0, USERS // 4))
        warning = until(lambda: server.logged("out of contexts"), "the log reports it", seconds=10)
        print(warning)
        top = until(
            lambda: (top := json.loads(server.says("top", "--once", "--json", "--every", "0.1")))["overflow"] and top,
            "top reports it")
        worst = top["overflow"]["names"][0]
        promise(worst["name"] == "logins", f"metric: {worst['name']}")
        key = worst["tag_keys"][0]
        promise(key["key"] == "user_id", f"tag: {key['key']} with about {key['values']} values")
        promise(top["overflow"]["sender"] == GUILTY, f"sender: {top['overflow']['sender']}")
        promise(top["by_contexts"]["names"][0]["name"] == "logins", "top ranks it first by contexts")

        before = server.memory()
        burst(range(USERS // 4, USERS))
        grown = server.memory() - before
        promise(grown < 8 << 20, f"{USERS * 3 // 4:,} more users: memory grew by {max(grown, 0) >> 10} KiB")

        status = until(
            lambda: (status := server.status())["lines"]["received"] == sent and not status["lines_open"] and status,
            "every line is flushed")
        lines = status["lines"]
        promise(status["contexts"]["live"] <= CONTEXTS_MAX + 10,
                f"{status['contexts']['live']:,} contexts live, contexts_max is {CONTEXTS_MAX:,}")
        promise(lines["balances"] and lines["recorded"]["total"] == sent,
                f"all {sent:,} lines are recorded, {lines['folded']:,} of them folded")
        print()
        print(server.says("top", "--once", "--every", "0.1"))


if __name__ == "__main__":
    main()
