"""Memory that was needed for a moment goes back to the system."""
import re

import pytest

from harness.common import wait_for

MIB = 1 << 20
pytestmark = [pytest.mark.release_only]   # a sanitizer keeps what was freed, to find what uses it


def anonymous(relay):
    with open(f"/proc/{relay.pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Anonymous: +(\d+) kB", file.read(), re.M)[1]) << 10


def test_what_large_answers_took_is_given_back(relay, source):
    """Once it has freed one of this size, the C library by itself keeps the next ones, 12 MiB and more. What stays is what an arena may keep
    at its end, 4 MiB, and a cache of the store's pages."""
    for number in range(100):
        source.send(f"m{number}", words="x" * 60000)
    relay.wait_settled()
    before = anonymous(relay)
    for _ in range(5):
        assert len(relay.api("GET", "/api/v1/messages?limit=100").body) > 5.5 * MIB
    wait_for(lambda: anonymous(relay) - before < 10 * MIB, "it is given back", 5)


def test_looks_at_the_store_leave_little(relay, source):
    """Each is taken by one of four threads, and what it freed stays in that thread's arena: with 4 MiB of pages for each look that came to 16."""
    for number in range(80):
        source.send(f"m{number}", words="x" * 60000)
    relay.wait_settled()
    relay.verify()
    before = anonymous(relay)
    for number in range(8):
        source.send(f"between{number}")   # what was read before is of no use to the next look
        relay.verify()
    assert anonymous(relay) - before < 4 * MIB
