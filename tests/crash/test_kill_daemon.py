"""kill -9 at system calls of the real daemon, a sample; loop_kill_daemon.py kills at many more."""
import shutil

import pytest

from daemon_kills import Point, kill_at
from harness.common import PATIENCE_S

pytestmark = [pytest.mark.release_only, pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")]
POINTS = [Point("pwrite64", 240), Point("fdatasync", 14), Point("sendto", 9), Point("recvfrom", 7)]


@pytest.mark.parametrize("desk, order", [("webhook", "conversation"), ("intercom", "account")])
def test_kill_9_at_system_calls_of_the_daemon(desk, order):
    report, reached = kill_at(POINTS, desk, order, seed=7, reach_s=PATIENCE_S)
    print(report, reached)
    assert report.good, "\n" + str(report)
    assert sum(reached.values()) == len(POINTS) and report.counts["acked"] > 0


def test_a_disk_that_loses_its_last_commit_is_found_out():
    report, _ = kill_at([Point("pwrite64", n) for n in (200, 220, 240, 261, 283, 307)], "webhook", "conversation", seed=8, tamper=True)
    assert report.of("A1"), "\n" + str(report)
