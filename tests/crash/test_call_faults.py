"""Calls of the network that fail, a sample; loop_call_faults.py lets each of them fail."""
import shutil

import pytest

from call_faults import Fault
from loop_call_faults import endless_eintr, forgetful_intercom, sweep

pytestmark = [pytest.mark.release_only, pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")]


@pytest.mark.parametrize("desk, platform, fault", [("webhook", "webhook", Fault("relay", "connect", "ECONNREFUSED", True)),
                                                   ("intercom", "webhook", Fault("relay", "recvfrom", "ECONNRESET", False)),
                                                   ("webhook", "webhook", Fault("intake", "accept4", "EMFILE", True)),
                                                   ("webhook", "webhook", Fault("intake", "write", "EPIPE", False))])
def test_calls_that_fail_lose_and_double_nothing(desk, platform, fault):
    count, ends, counts, trouble = sweep(desk, platform, False, fault)
    print(count, counts)
    assert not trouble, "\n".join(trouble)
    assert count >= 3 and ends == 0 and counts["acked"] > 0


def test_a_doubled_message_and_a_call_without_a_pause_are_found_out():
    assert forgetful_intercom() > 0
    assert endless_eintr() > 0
