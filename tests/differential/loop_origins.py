#!/usr/bin/python3
"""The same hostile bytes to our server and to nginx, apache2, haproxy and lighttpd:
tests/differential/loop_origins.py [--count 10000] [--seed S] [--only NUMBER] [--table]

Every stream of streams.py, and as many drawn ones. A finding is a request that ours takes and all others refuse, or one that it reads
with another end than most of them (judge.py). Exit status 0 when there is none, and the control is found out: a careless
server in place of ours.
"""
import argparse
import asyncio
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from differential.judge import OTHER, compare, expected, of_origin  # noqa: E402
from differential.lenient import LenientServer  # noqa: E402
from differential.mutations import drawn  # noqa: E402
from differential.ours import TARGET, Ours  # noqa: E402
from differential.recorder import Recorder  # noqa: E402
from differential.servers import KINDS, Server, missing  # noqa: E402
from differential.streams import curated  # noqa: E402
from differential.wire import answers, ask  # noqa: E402
from harness.common import make_secret  # noqa: E402

QUIET_S = 0.3    # of a server that has nothing more to say; what looks like a finding is asked again with
PATIENT_S = 3.0
AT_ONCE = 100
BATCH = 400


class Control:
    """In place of ours: a server that takes lengths as Python's int() does, before chunks. It stores nothing, it tells."""

    def __init__(self, server):
        self.port, self.secret = server.port, make_secret()

    def learn(self):
        pass

    def reading(self, stream, said, closed):
        return of_origin(said, closed)


class Comparison:
    def __init__(self, ours, others):
        self.ours, self.others = ours, others
        self.ports = {"ours": ours.port, **{kind: server.port for kind, server in others.items()}}
        self.room, self.learning = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def ask(self, port, data, quiet_s):
        async with self.room:
            return await ask(port, data, quiet_s)

    async def readings(self, streams, quiet_s):
        """[(ours, {kind: reading})] of each."""
        sent = [stream.bytes(self.ours.secret) for stream in streams]
        said = await asyncio.gather(*(self.ask(port, data, quiet_s) for data in sent for port in self.ports.values()))
        async with self.learning:
            await asyncio.to_thread(self.ours.learn)
        found, width = [], len(self.ports)
        for i, stream in enumerate(streams):
            (first, closed), *rest = said[i * width:(i + 1) * width]
            found.append((self.ours.reading(stream, answers(first), closed),
                          {kind: of_origin(answers(data), over) for kind, (data, over) in zip(self.others, rest)}))
        return found

    async def read_the_same(self, finding):
        """Ours read a whole request, but not what was signed. If the signature is right for what the others read, does it fit?"""
        for letter in finding.stream.bodies:
            said, _ = await self.ask(self.ours.port, finding.stream.bytes(self.ours.secret, finding.wanted, letter), PATIENT_S)
            said = answers(said)
            if len(said) > finding.at and said[finding.at].status != 401:
                return True
        return False

    async def settled(self, stream):
        """The stream once more, with patience: its finding, or None when it was haste or is none."""
        (ours, others), = await self.readings([stream], PATIENT_S)
        while found := compare(stream, ours, others):
            finding, = found
            if finding.kind != "body" or ours.taken[finding.at] is not OTHER or not await self.read_the_same(finding):
                return finding
            ours.taken[finding.at] = finding.wanted
        return next(iter(expected(stream, ours, others)), None)

    async def run(self, streams, tally):
        """Findings of all streams."""
        found = []
        for i in range(0, len(streams), BATCH):
            batch = streams[i:i + BATCH]
            suspects = []
            for stream, (ours, others) in zip(batch, await self.readings(batch, QUIET_S)):
                tally.note(stream, ours, others)
                suspects += [stream] if compare(stream, ours, others) or expected(stream, ours, others) else []
            for one in await asyncio.gather(*(self.settled(suspect) for suspect in suspects)):
                found += [one] if one else []
        return found


class Tally:
    """How strict each is: of how many streams it took the first request. With `rows` a line for each named stream."""

    def __init__(self):
        self.streams, self.rows, self.took = 0, [], collections.Counter()
        self.stricter = 0  # ours refused what most of the others took

    def note(self, stream, ours, others):
        self.streams += 1
        for name, reading in {"ours": ours, **others}.items():
            self.took[name] += bool(reading.taken)
        self.stricter += not ours.taken and 2 * sum(bool(r.taken) for r in others.values()) > len(others)
        if stream.expected is not None:
            self.rows.append((stream.name, ours.word, *(r.word for r in others.values())))

    def __str__(self):
        return f"{self.streams} streams; the first request taken by " + ", ".join(f"{name} {count}" for name, count in self.took.items()) + \
            f"; refused by ours and taken by most of the others {self.stricter}"


async def main(options, directory, stack):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # so that nothing is left running
    recorder = Recorder(os.path.join(directory, "recorder"))
    await recorder.start()
    others = {}
    for kind in KINDS:
        others[kind] = Server(kind, directory, recorder.path)
        stack.callback(others[kind].stop)
    if not options.only:
        print("; ".join(f"{kind}: {server.version()}" for kind, server in others.items()), flush=True)
    ours = Ours(directory)
    stack.callback(ours.stop)
    streams = curated(TARGET)
    streams += [drawn(10_000 + i, options.seed, TARGET) for i in range(options.count)]
    if options.only:
        streams = [s for s in streams if s.number == options.only]
        print(streams[0].bytes(ours.secret))
    tally = Tally()
    found = await Comparison(ours, others).run(streams, tally)
    if options.table:
        print("\n".join(" | ".join(row) for row in tally.rows))
    for finding in found:
        print(f"FOUND {finding}", flush=True)
    print(f"origins, seed {options.seed}: {tally}; {len(found)} findings", flush=True)
    if options.only:
        return not found
    control = LenientServer(length=int, prefers="length")
    await control.start()
    stack.callback(control.stop)
    named = [stream for stream in curated(TARGET) if stream.name.startswith(("lengths:", "smuggled:"))]
    caught = {(finding.kind, finding.stream.name) for finding in await Comparison(Control(control), others).run(named, Tally())}
    wanted = {("alone", "lengths: length '+{n}'"), ("alone", "lengths: length '1_0'"), ("body", "smuggled: CL.TE 0")}
    kinds = collections.Counter(kind for kind, _ in caught)
    print(f"control, a careless server in place of ours: {kinds['alone']} requests taken alone, {kinds['body']} read with another end" +
          ("" if wanted <= caught else f"; NOT FOUND OUT: {wanted - caught}"), flush=True)
    return not found and wanted <= caught


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="drawn streams")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--only", type=int, help="the number of one stream; its bytes are shown")
    parser.add_argument("--table", action="store_true", help="a line for each named stream: what ours and each of the others did")
    given = parser.parse_args()
    if missing():
        sys.exit(f"did not run: {', '.join(missing())} not installed (script/deps lab)")
    with tempfile.TemporaryDirectory(prefix="tributary-differential-") as place, contextlib.ExitStack() as stack:
        os.chmod(place, 0o755)
        sys.exit(0 if asyncio.run(main(given, place, stack)) else 1)
