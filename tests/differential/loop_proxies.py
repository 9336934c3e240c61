#!/usr/bin/python3
"""nginx, apache2, haproxy and lighttpd as reverse proxies before our server, and hostile bytes to them:
tests/differential/loop_proxies.py [--count 2000] [--seed S]

Every stream of streams.py, and as many drawn ones, each followed by a victim's ordinary request on a connection of its own. Wanted are
  no smuggled request    our server took no message that the proxy does not know as a request of its own (by its log, or its word in the
                         head), and answered no more requests on any connection than the proxy made
  no answer of others    each victim gets the answer to what it asked, and its message is stored
The same with two careless proxies before ours. The control, a careless proxy before a careless server, must be found out in each respect.
"""
import argparse
import asyncio
import contextlib
import os
import random
import re
import secrets
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from differential.lenient import LenientProxy, LenientServer  # noqa: E402
from differential.mutations import drawn  # noqa: E402
from differential.ours import TARGET, Ours  # noqa: E402
from differential.servers import MARK, STREAMING, Server, missing  # noqa: E402
from differential.streams import Stream, curated, get  # noqa: E402
from differential.tap import Tap  # noqa: E402
from differential.wire import answers, ask  # noqa: E402
from harness.common import make_secret  # noqa: E402

QUIET_S, PATIENT_S = 0.2, 10.0
AT_ONCE = 8      # streams at a proxy
VICTIMS = 1_000_000   # their numbers begin there
EACH = 20_000         # numbers of streams at one proxy: one store is behind all of them
SHOWN = 5


def victim(number):
    """(an ordinary request, what its answer must be): every way of answering in turn, so that another's answer is seen to be it."""
    last = ["Connection: close"]
    ways = [(lambda s: s.post(*last, letter="v"), lambda a: a.status == 200 and not a.body), (lambda s: get(*last, target=f"/healthz?{s.id('v')}"), lambda a: a.status == 200 and a.body),
            (lambda s: s.post(*last, letter="v", data=s.message("v") + b" ", framing="Content-Length: " + str(len(s.message("v")) + 1)), lambda a: a.status == 401), (lambda s: s.post(*last, letter="v", line="POST /hooks/acme/nowhere?" + s.id("v") + " HTTP/1.1"), lambda a: a.status == 404)]
    build, fits = ways[number % len(ways)]
    return Stream(VICTIMS + number, "victim", build, TARGET), fits


def told_its_own(stream):
    """Of a server that tells what it read."""
    return lambda answer: answer.told.get("target", "").endswith(stream.id("v"))


class Daemon:
    def __init__(self, ours):
        self.port, self.secret, self.ours, self.name = ours.port, ours.secret, ours, "tributary"

    def victim(self, number):
        return victim(number)

    def took(self):
        """{(stream, letter)} of the messages that it took, since it was asked last."""
        self.ours.stored.clear()
        self.ours.learn()
        return {(number, letter) for number, letters in self.ours.stored.items() for letter in letters}


class Careless:
    """The control's upstream, in place of ours."""

    def __init__(self, server):
        self.port, self.secret, self.server, self.name = server.port, make_secret(), server, "a careless server"

    def victim(self, number):
        stream, _ = victim(number)
        return stream, told_its_own(stream)

    def took(self):
        return {(int(n), letter) for n, letter in re.findall(r"\?s(\d+)([a-z]+) ", "\n".join(self.server.lines))}


class Passage:
    """One proxy before one upstream, and all streams through it."""

    def __init__(self, name, upstream):
        self.name, self.upstream, self.word = name, upstream, secrets.token_hex(16)
        self.tap = Tap(upstream.port, self.word)
        self.wrong, self.served = [], set()

    async def run(self, make_proxy, streams):
        await self.tap.start()
        try:
            self.proxy = await make_proxy(self)
            try:
                waiting = iter(streams)
                await asyncio.gather(*(self._some(waiting) for _ in range(AT_ONCE)))
            finally:
                await asyncio.to_thread(self.proxy.stop)  # its log is whole then
        finally:
            await self.tap.stop()

    async def _some(self, waiting):
        for stream in waiting:
            await ask(self.proxy.port, stream.bytes(self.upstream.secret), QUIET_S)
            await self._serve_victim(stream)

    async def _serve_victim(self, after):
        stream, fits = self.upstream.victim(after.number)
        said, _ = await ask(self.proxy.port, stream.bytes(self.upstream.secret), PATIENT_S)
        said = answers(said)
        if len(said) != 1 or not fits(said[0]):
            self.wrong.append(f"after {after} the victim {stream.number % 4} was answered {said}")
        elif said[0].status == 200 and not said[0].body:
            self.served.add((stream.number, "v"))

    def judge(self, took):
        """(smuggled, unasked, wrong): what the upstream took without the proxy's knowledge, connections with more answers than requests,
        victims with another's answer or without their message."""
        # A request whose client went away meanwhile is in no log of lighttpd's.
        seen = {(int(n), letter) for n, letter in re.findall(r"\?s(\d+)([a-z]+)\b", self.proxy.requests())} | self.tap.own()
        lost = [f"the message of victim {number} was answered 200 and is not there" for number, letter in sorted(self.served - took)]
        return sorted(took - seen), self.tap.unasked(), self.wrong + lost

    def told(self, smuggled, unasked, wrong, streams):
        print(f"{self.name} before {self.upstream.name}: {len(streams)} streams, {self.tap.requests()} requests passed on over {len(self.tap.connections)} connections: "
              f"{len(smuggled)} smuggled, {len(unasked)} connections with answers to nobody, {len(wrong)} victims answered wrongly", flush=True)

    def explain(self, smuggled, unasked, wrong, streams):
        names = {s.number: s.name for s in streams}
        for number, letter in smuggled[:SHOWN]:
            print(f"  SMUGGLED message {letter} of {names.get(number, 'a victim')} ({number})")
        for passed in unasked[:SHOWN]:
            print(f"  UNASKED up {bytes(passed.up)[:3000]!r}\n    down {bytes(passed.down)[:2000]!r}")
        for line in wrong[:SHOWN]:
            print("  WRONG " + line)


async def through(name, upstream, make_proxy, options, base):
    streams = curated(TARGET, base) + [drawn(base + 10_000 + i, options.seed, TARGET) for i in range(options.count)]
    passage = Passage(name, upstream)
    await passage.run(make_proxy, streams)
    return passage, streams


def packaged(kind, directory, more=""):
    async def make(passage):
        return Server(kind, directory, None, passage.tap.port, passage.word, more)
    return make


def careless(prefers, patience_s=3.0):
    async def make(passage):
        proxy = LenientProxy(passage.tap.port, MARK, passage.word, patience_s, prefers=prefers)
        await proxy.start()
        return proxy
    return make


async def main(options, directory, stack):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # so that nothing is left running
    ours = Ours(directory)
    stack.callback(ours.stop)
    before_ours = {kind: packaged(kind, directory) for kind in ("nginx", "apache2", "haproxy", "lighttpd")}
    before_ours.update({f"{kind}, streaming": packaged(kind, directory, more) for kind, more in STREAMING.items()})
    before_ours.update({f"a careless proxy that prefers {which}": careless(which) for which in ("length", "chunks")})
    passages = await asyncio.gather(*(through(name, Daemon(ours), make, options, EACH * i) for i, (name, make) in enumerate(before_ours.items())))
    took, bad = Daemon(ours).took(), 0
    for i, (passage, streams) in enumerate(passages):
        own = {(n, letter) for n, letter in took if n % VICTIMS // EACH == i}
        found = passage.judge(own)
        passage.told(*found, streams)
        passage.explain(*found, streams)
        bad += any(found)
    server = LenientServer(prefers="chunks")
    await server.start()
    stack.callback(server.stop)
    upstream = Careless(server)
    options.count = 0
    passage, streams = await through("control: a careless proxy that prefers length", upstream, careless("length", 0.3), options, 0)
    found = passage.judge(upstream.took())
    passage.told(*found, streams)
    if not all(found):
        print("the control was NOT FOUND OUT")
    return not bad and all(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="drawn streams for each proxy")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    given = parser.parse_args()
    if missing():
        sys.exit(f"did not run: {', '.join(missing())} not installed (script/deps lab)")
    with tempfile.TemporaryDirectory(prefix="tributary-differential-") as place, contextlib.ExitStack() as stack:
        os.chmod(place, 0o755)
        print(f"proxies, seed {given.seed}", flush=True)
        sys.exit(0 if asyncio.run(main(given, place, stack)) else 1)
