#!/usr/bin/python3
"""An honest platform:  honest.py HOST PORT ACCOUNT SECRET PREFIX RATE   (started by network.py)

Sends signed webhooks, one every 1/RATE s whatever became of those before, in turns over kept connections and over a connection each.
What is not answered 2xx is sent again over a new connection, as platforms do. It goes on until its standard input ends, waits for what
is under way, and prints one JSON object for each message: when it was to be sent and when it was answered 2xx (monotonic clock, s), the
statuses and the breaks before that.
"""
import asyncio
import json
import os
import sys
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.client import WebhookSource  # noqa: E402

LANES, KEPT, ANSWER_S, GIVE_UP_S = 50, 8, 10, 60


class Sender:
    def __init__(self, host, port, account, secret, prefix):
        self.host, self.port, self.prefix = host, port, prefix
        self.source = WebhookSource(types.SimpleNamespace(port=port, starts=0), account, secret=secret)
        self.idle, self.records = [], []

    async def answer(self, streams, data):
        """The status of one answer."""
        reader, writer = streams
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        return int(head.split(b" ")[1])

    async def attempt(self, event, kept):
        """One try: the status, or the name of what went wrong."""
        streams = None
        try:
            if kept and self.idle:
                streams = self.idle.pop(0)  # the one that was idle for longest
            streams = streams or await asyncio.wait_for(asyncio.open_connection(self.host, self.port), ANSWER_S)
            data = self.source.raw(event, "" if kept else "Connection: close\r\n")
            status = await asyncio.wait_for(self.answer(streams, data), ANSWER_S)
            if kept and status == 200:
                self.idle.append(streams)
                streams = None
            return status
        except (OSError, EOFError, ValueError, IndexError, asyncio.TimeoutError) as trouble:
            return type(trouble).__name__
        finally:
            if streams:
                streams[1].close()

    async def deliver(self, number, at):
        event = self.source.event(f"{self.prefix}{number}", f"{self.prefix}c{number % LANES}")
        kept = number % 2 == 0
        record = {"key": event["id"], "event": event, "kept": kept, "at": at, "acked": None, "tries": []}
        self.records.append(record)
        while time.monotonic() < at + GIVE_UP_S:
            record["tries"].append(await self.attempt(event, kept))
            if record["tries"][-1] == 200:
                record["acked"] = time.monotonic()
                return
            await asyncio.sleep(0.1)

    async def warm_up(self):
        """Kept connections that are there before anything begins."""
        for _ in range(KEPT):
            self.idle.append(await asyncio.open_connection(self.host, self.port))


async def run(sender, rate):
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    await sender.warm_up()
    start, tasks, number = time.monotonic(), [], 0
    while not over.is_set():
        at = start + number / rate
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        tasks.append(loop.create_task(sender.deliver(number, at)))
        number += 1
    await asyncio.gather(*tasks)


def main():
    host, port, account, secret, prefix, rate = sys.argv[1:]
    sender = Sender(host, int(port), account, secret, prefix)
    asyncio.run(run(sender, float(rate)))
    for record in sender.records:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
