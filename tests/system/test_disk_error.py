"""A disk that fails or is full: nothing is answered 2xx that is not on it."""
import os
import shutil
import subprocess
import time

import pytest

from harness.client import Crowd, WebhookSource, call
from harness.common import wait_for
from harness.relay import account
from harness.scripted import Stall

strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
pytestmark = [pytest.mark.release_only]  # sanitizers and ptrace exclude one another


def under_strace(relay, inject):
    relay.wrapper = ["strace", "-f", "-q", "-o", os.path.join(relay.directory, "strace.txt"), "-e", "trace=fdatasync,fsync", "-e", "inject=" + inject]
    return relay


@pytest.fixture
def built(make_relay, desk):
    """A relay whose store exists already; not running."""
    desk.script = lambda request: Stall() if request.method == "POST" else None
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow(".*").start()
    relay.stop()
    return relay


def refused_or_gone(source, event):
    try:
        return source.post(event).status
    except (OSError, Exception):
        return None


@strace
def test_answer_waits_for_the_flush(built, desk):
    """A flush that takes 300 ms: no answer comes before."""
    relay = under_strace(built, "fdatasync,fsync:delay_enter=300000")
    relay.start()
    source = WebhookSource(relay, "acme")
    for i in range(3):
        began = time.monotonic()
        source.send(f"m{i}")
        assert time.monotonic() - began >= 0.3


@strace
@pytest.mark.parametrize("sync", [1, 2, 3, 5, 8, 13, 30])
def test_failed_flush_ends_the_process_and_nothing_was_promised_in_vain(built, desk, sync):
    """From the n-th flush of any thread on every one fails: no more 2xx, the process ends with an error; what was answered 2xx is there at the next start."""
    relay = under_strace(built, f"fdatasync,fsync:error=EIO:when={sync}+")
    relay.start(wait=False)
    source = WebhookSource(relay, "acme")
    wait_for(lambda: [e for e in relay.logged("ready") if e["_start"] == relay.starts] or not relay.running, "ready, or ended")
    acked = []
    if relay.running:
        for i in range(200):
            if refused_or_gone(source, source.event(f"m{i}", f"c{i % 3}")) == 200:
                acked.append(f"m{i}")
            else:
                break
    assert relay.wait_end() > 0, "the process must end with an error"
    assert len(acked) < sync + 1
    relay.wrapper = []
    relay.start()
    stored = {m["text"].split(" ")[0] for m in relay.messages()}
    assert not set(acked) - stored
    relay.check_sum()
    relay.verify()
    desk.script = None
    relay.wait_settled()


@strace
def test_single_failed_flush_is_enough(built, desk):
    """The error passes at once (the page cache calls the pages clean afterwards): going on would acknowledge what is not there."""
    relay = under_strace(built, "fdatasync,fsync:error=EIO:when=12")
    relay.start()
    source = WebhookSource(relay, "acme")
    crowd = Crowd(source, lanes=4, per_lane=1000)
    assert relay.wait_end() > 0
    crowd.stop.set()
    crowd.join()
    relay.wrapper = []
    relay.start()
    stored = {m["text"] for m in relay.messages()}
    assert not [s.key for s in source.sent if s.acked and s.text not in stored]
    relay.verify()
    desk.script = None
    relay.wait_settled()


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "small"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_full_disk_is_503_with_retry_after_and_passes(make_relay, desk, small_disk):
    """While there is no room: 503, nothing lost, nothing promised. When there is room again: 200, without a hand or a restart."""
    relay = make_relay([account("acme", desk.config(), order="conversation")], store=f"sqlite:{small_disk}/t.db").allow(".*")
    relay.database = f"{small_disk}/t.db"
    relay.start()
    source = WebhookSource(relay, "acme")
    source.send("m0")
    filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(filler, b"x" * 4096)
    except OSError:
        os.close(filler)
    acked, answers = ["m0"], []
    for i in range(1, 3000):
        event = source.event(f"m{i}", f"c{i % 5}", words="x" * 10_000)
        answer = source.post(event)
        if answer.status != 200:
            answers.append(answer)
            break
        acked.append(f"m{i}")
    assert [a.status for a in answers] == [503] and "retry-after" in answers[0].headers
    wait_for(lambda: call(relay.admin_port, "GET", "/readyz").status == 503, "/readyz says so")
    assert relay.running
    relay.check_sum()
    os.unlink(small_disk / "filler")
    wait_for(lambda: call(relay.admin_port, "GET", "/readyz").status == 200 and not relay.status()["alarms"], "well again, though nobody sends", poll_s=0.1)
    source.send("again")
    acked.append("again")
    relay.wait_settled()
    stored = {m["text"].split(" ")[0] for m in relay.messages()}
    assert not set(acked) - stored and set(desk.keys()) >= set(acked)
    relay.finish()
