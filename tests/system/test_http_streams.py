"""The named hostile streams of tests/differential at the real daemon: each is taken or refused as its line says. `make differential`
sends the same ones, and drawn ones, to other servers as well, and through them."""
import asyncio
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from differential.ours import TARGET, Ours  # noqa: E402
from differential.streams import GROUPS, curated  # noqa: E402
from differential.wire import answers, ask  # noqa: E402
from harness.common import SLOW  # noqa: E402

QUIET_S, PATIENT_S = 0.3 * SLOW, 3.0 * SLOW
AT_ONCE = 32


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    ours = Ours(tmp_path_factory.mktemp("streams"))
    yield ours
    ours.stop()


async def words(ours, streams, quiet_s):
    """{stream: what ours did}"""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(stream):
        async with room:
            return await ask(ours.port, stream.bytes(ours.secret), quiet_s)
    said = await asyncio.gather(*(one(stream) for stream in streams))
    ours.learn()
    return {stream: ours.reading(stream, answers(data), closed).word for stream, (data, closed) in zip(streams, said)}


@pytest.mark.parametrize("group", [group.__name__ for group in GROUPS])
def test_named_streams_are_taken_or_refused_as_their_lines_say(ours, group):
    streams = [s for s in curated(TARGET) if s.name.startswith(group + ":")]
    assert streams
    seen = asyncio.run(words(ours, streams, QUIET_S))
    doubtful = [s for s in streams if seen[s] != s.expected]  # haste, on a busy machine
    seen.update(asyncio.run(words(ours, doubtful, PATIENT_S)))
    wrong = {s.name: f"{seen[s]}, not {s.expected} ({s.why})" for s in streams if seen[s] != s.expected}
    assert not wrong, wrong


def test_nothing_is_stored_of_what_is_refused(ours):
    """A message that should not have been read is in no store, whatever was answered."""
    streams = [s for s in curated(TARGET) if s.expected in ("r", "w")]
    asyncio.run(words(ours, streams, QUIET_S))
    assert {s.name: ours.stored[s.number] for s in streams if ours.stored[s.number]} == {}
