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
    """Once it has freed one of this size, the C library by itself keeps the next ones, 12 MiB and more. What stays is the cache of the
    store's pages, 4 MiB, and what an arena may keep at its end, 4 more."""
    for number in range(100):
        source.send(f"m{number}", words="x" * 60000)
    relay.wait_settled()
    before = anonymous(relay)
    for _ in range(5):
        assert len(relay.api("GET", "/api/v1/messages?limit=100").body) > 5.5 * MIB
    wait_for(lambda: anonymous(relay) - before < 10 * MIB, "it is given back", 5)
