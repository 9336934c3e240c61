"""kill -9 at system calls of one thread, a sample; loop_kill_calls.py kills at every one."""
import os
import shutil

import pytest

from call_kills import PROGRAM, drop_last_commit, is_found, scenarios, sweep

pytestmark = [pytest.mark.release_only, pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")]
SAMPLES = {"accept": 97, "deliver-webhook": 89, "deliver-intercom": 79, "deliver-intercom-one-lane": 23, "settle-skip-retry": 149, "settle-hold-discard": 139, "checkpoint-idle": 199,
           "migrate-from-1": 109, "start-after-unclean-end": 113, "stop": 23}


@pytest.mark.parametrize("name", SAMPLES)
def test_kill_9_at_system_calls(name):
    assert os.path.exists(PROGRAM), "make build/release/crash_scenario"
    assert name in scenarios()
    result = sweep(name, SAMPLES[name], offset=5)
    print(result.line(name))
    assert not result.bad, result.bad[0]
    assert sum(result.points.values()) >= 3 and result.counts["acked"] > 0


@pytest.mark.parametrize("name, code, stride, broken", [("accept", "lost", 61, {"early": True}), ("accept", "lost", 61, {"tamper": drop_last_commit}),
                                                        ("deliver-intercom-one-lane", "doubled", 13, {"tamper": drop_last_commit})])
def test_a_relay_that_breaks_its_promise_is_found_out(name, code, stride, broken):
    found, result = is_found(name, code, stride, **broken)
    assert found, result.line(name)


def test_a_process_that_ends_by_itself_is_found_out():
    result = sweep("stop", 23, sent="ABRT")
    assert result.bad and not sum(result.points.values()), result.line("stop")
