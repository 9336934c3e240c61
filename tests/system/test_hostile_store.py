"""RELIABILITY.md section 6, items 57 to 63, with the whole daemon: a store that others hold, copy, move or take the room from. The rest is
in tests/store/test_hostile_store.c and elsewhere; docs/hostile-inputs.md lists it all."""
import os
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from harness.client import Crowd, WebhookSource, call
from harness.common import PATIENCE_S, SLOW, wait_for
from harness.relay import account
from harness.scripted import Answer, Stall
from test_disk_error import built, refused_or_gone, strace, under_strace  # noqa: F401 (a fixture)

pytestmark = pytest.mark.timeout(180)


def stored(relay):
    return {m["text"].split(" ")[0] for m in relay.messages()}


# 59, 60

@strace
@pytest.mark.release_only
@pytest.mark.parametrize("what", ["pwrite64:error=EROFS", "pwrite64:error=EIO", "pread64:error=EIO"])
def test_59_disk_that_turns_read_only_or_fails(built, desk, what):  # noqa: F811
    """As after errors=remount-ro: no more 2xx, the process ends with a sentence, what was answered 2xx is there at the next start."""
    relay = built.start()
    source = WebhookSource(relay, "acme")
    acked = []
    for i in range(3):
        source.send(f"before{i}")
        acked.append(f"before{i}")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=pwrite64,pread64", "-e", "inject=" + what, "-p", str(relay.pid)])
    try:
        for i in range(2000):
            if refused_or_gone(source, source.event(f"m{i}", f"c{i % 3}", words="x" * 20_000)) == 200:
                acked.append(f"m{i}")
            elif not relay.running:
                break
        assert relay.wait_end() > 0
    finally:
        tracer.kill()
        tracer.wait()
    assert relay.logged("fatal")
    relay.start()
    assert not set(acked) - stored(relay)
    relay.verify()
    desk.script = None
    relay.wait_settled()


@strace
@pytest.mark.release_only
def test_60_quota_is_503_and_passes(built, desk):  # noqa: F811
    """EDQUOT at each write, then room again: 503 meanwhile, no restart, nothing lost."""
    relay = built.start()
    source = WebhookSource(relay, "acme")
    source.send("m0")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EDQUOT", "-p", str(relay.pid)])
    try:
        wait_for(lambda: source.post(source.event("refused")).status == 503, "refused")
        wait_for(lambda: [a["name"] for a in relay.status()["alarms"]] == ["disk_full"], "the alarm")
    finally:
        tracer.terminate()
        tracer.wait()
    wait_for(lambda: source.post(source.event("again")).status == 200, "taken again", poll_s=0.1)
    assert {"m0", "again"} <= stored(relay)
    desk.script = None
    desk.refuse()
    desk.listen()
    relay.wait_settled()


def mounted(request, where, options):
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(where)], check=True))
    return where


def cannot_start(relay):
    """The one sentence."""
    relay.allow("cannot_start").start(wait=False)
    assert relay.wait_end() == 1
    return relay.logged("cannot_start")[-1]["why"]


@pytest.mark.parametrize("inodes", [2, 3, 4])
def test_60_no_inodes_left(make_relay, desk, tmp_path, request, inodes):
    where = mounted(request, tmp_path / "few", f"size=64m,nr_inodes={inodes}")
    relay = make_relay([account("acme", desk.config())], store=f"sqlite:{where}/t.db")
    assert str(where) in cannot_start(relay)


# 61, 63

def test_61_damaged_rows_found_at_the_start_are_an_alarm(source, relay, desk):
    """Neither delivered nor silently gone: the rest goes on."""
    relay.allow("alarm", "alarm_end", "message_.*", "attempt_.*")
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    for i in range(4):
        source.send(f"m{i}", f"c{i}")
    relay.kill()
    connection = sqlite3.connect(relay.database)
    connection.execute("UPDATE messages SET text = 'something else' WHERE text LIKE 'm2 %'")
    connection.commit()
    connection.close()
    gate.set()
    relay.start()
    assert [a["name"] for a in relay.status()["alarms"]].count("store_damaged") == 1
    relay.wait_settled()
    assert sorted(set(desk.keys())) == ["m0", "m1", "m3"]
    assert relay.cli("verify", "--deep", "--socket", relay.socket, check=False).returncode == 1


def flip(relay, text):
    """One bit of the first byte of the text's first place in the file itself. The relay is stopped."""
    with open(relay.database, "r+b") as file:
        at = file.read().index(text.encode())
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def alarms(relay):
    return [a for a in relay.status()["alarms"] if a["name"] == "store_damaged"]


def test_61_a_flipped_bit_far_behind_is_an_alarm_with_verify_and_set_aside_in_its_turn(source, relay, desk):
    relay.allow("alarm", "alarm_end", "message_.*", "attempt_.*")
    relay.set_active("acme", False)
    for i in range(60):
        source.send(f"m{i}", "c", words=f"this is number {i}.")
    relay.stop()
    flip(relay, "this is number 55.")
    relay.start()
    assert not alarms(relay)
    done = relay.cli("verify", "--socket", relay.socket, check=False)
    damaged = relay.messages(state="pending")[-5]
    assert damaged["reason"] == "damaged" and "uhis is number 55." in damaged["text"]
    assert done.returncode == 1 and f"damaged: message {damaged['id']} (pending) is not what was stored" in done.stdout
    assert damaged["id"] in alarms(relay)[0]["text"]
    assert relay.metrics()['tributary_alarm{name="store_damaged"}'] == 1
    relay.set_active("acme", True)
    relay.wait_settled()
    assert desk.keys() == [f"m{i}" for i in range(60) if i != 55]
    one = relay.messages(state="skipped")
    assert [(m["id"], m["reason"]) for m in one] == [(damaged["id"], "damaged")]
    refused = relay.cli("retry", damaged["id"], "--socket", relay.socket, check=False)
    assert refused.returncode == 1 and "is damaged: it is never delivered" in refused.stderr
    assert relay.cli("verify", "--socket", relay.socket, check=False).returncode == 1
    relay.cli("discard", damaged["id"], "--socket", relay.socket)
    assert "1 damaged messages were discarded by hand" in relay.cli("verify", "--socket", relay.socket).stdout
    assert not alarms(relay)


def test_61_a_damaged_account_of_the_file_is_taken_again_and_one_by_hand_waits_for_a_person(source, relay, desk):
    relay.allow("alarm", "alarm_end", "account_damaged")
    hook = {"name": "hook", "platform": "webhook", "secret": "none"}
    made = relay.api("POST", "/api/v1/accounts", {"name": "byhand", "sources": [hook], "desk": desk.config()})
    assert made.status == 201, made
    relay.stop()
    connection = sqlite3.connect(relay.database)
    connection.execute("UPDATE accounts SET desk_url = replace(desk_url, '127', '128')")
    connection.commit()
    connection.close()
    relay.start()
    assert [e["account"] for e in relay.logged("account_damaged")] == ["acme"]
    source.send("m1")
    relay.wait_settled()
    assert desk.keys() == ["m1"]
    assert [a["subject"] for a in alarms(relay)] == ["byhand"]
    assert relay.api("GET", "/api/v1/accounts/byhand").json["active"] is False
    other = WebhookSource(relay, "byhand")
    other.send("m2")
    assert relay.status()["pending"] == 1
    assert "account byhand (2) is not what was stored" in relay.cli("verify", "--socket", relay.socket, check=False).stdout
    relay.cli("desk", "set", "byhand", "--url", desk.config()["url"], "--socket", relay.socket)
    relay.set_active("byhand", True)
    relay.wait_settled()
    assert desk.keys() == ["m1", "m2"]
    relay.verify()
    assert not alarms(relay)


@pytest.mark.parametrize("what", ["accounts SET desk_platform = 'wabhook' WHERE id = 2", "sources SET platform = 'wabhook' WHERE account_id = 2"])
def test_61_a_definition_that_names_what_there_is_not_waits_for_a_person(relay, desk, what):
    """With messages that wait, webhooks that come, and somebody who activates it without a look: the process ended by itself."""
    relay.allow("alarm", "alarm_end")
    hook = {"name": "hook", "platform": "webhook", "secret": "none"}
    made = relay.api("POST", "/api/v1/accounts", {"name": "byhand", "active": False, "sources": [hook], "desk": desk.config()})
    assert made.status == 201, made
    source = WebhookSource(relay, "byhand")
    source.send("m1")
    relay.stop()
    change(relay, f"UPDATE {what}; UPDATE accounts SET sum = NULL; UPDATE sources SET sum = NULL")
    relay.start()
    assert [a["subject"] for a in alarms(relay)] == ["byhand"]
    assert source.post(source.event("m2", "d")).status == (503 if what.startswith("sources") else 200)
    assert relay.api("POST", "/api/v1/accounts/byhand/desk/resume").status < 500
    assert relay.api("PATCH", "/api/v1/accounts/byhand", {"active": True}).status in (400, 409, 422)
    assert relay.cli("account", "activate", "--all", "--socket", relay.socket, check=False).returncode == 0
    assert relay.api("GET", "/api/v1/accounts/byhand").json["active"] is False
    relay.stop()
    relay.start()
    relay.api("PUT", "/api/v1/accounts/byhand/desk", desk.config())
    relay.api("PATCH", "/api/v1/accounts/byhand/sources/hook", {"platform": "webhook", "secret": "none"})
    relay.set_active("byhand", True)
    relay.wait_settled()
    assert desk.keys()[0] == "m1" and not alarms(relay)


def test_61_the_alarm_about_a_damaged_account_ends_with_the_account(relay, desk):
    relay.allow("alarm", "alarm_end")
    hook = {"name": "hook", "platform": "webhook", "secret": "none"}
    assert relay.api("POST", "/api/v1/accounts", {"name": "byhand", "sources": [hook], "desk": desk.config()}).status == 201
    relay.stop()
    change(relay, "UPDATE accounts SET on_failure = 1 WHERE id = 2")
    relay.start()
    assert alarms(relay)
    assert relay.api("DELETE", "/api/v1/accounts/byhand").status == 200
    assert not alarms(relay)


def test_61_an_alarm_about_damaged_totals_outlives_the_verify_that_finds_them_wrong(source, relay, desk):
    """It said that no row was damaged, and the alarm ended while the sum was not true."""
    relay.allow("alarm", "alarm_end")
    source.send("m1")
    relay.wait_settled()
    relay.stop()
    change(relay, "UPDATE totals SET delivered = delivered + 4")
    relay.start()
    source.send("m2")
    assert alarms(relay)
    assert relay.cli("verify", "--socket", relay.socket, check=False).returncode == 1
    assert "sum" in alarms(relay)[0]["text"]
    relay.stop()
    relay.start()
    assert not alarms(relay)
    assert relay.cli("verify", "--socket", relay.socket, check=False).returncode == 1
    assert alarms(relay)
    relay.stop()
    change(relay, "UPDATE totals SET delivered = delivered - 4, sum = NULL")
    relay.start()
    relay.verify()
    assert not alarms(relay)


def test_61_a_page_that_a_look_comes_upon_is_an_alarm(source, relay, desk):
    """After an orderly end nothing is looked through at the start. The status could not be read, and that was all that was said."""
    relay.allow("alarm", "alarm_end")
    source.send("m1")
    relay.wait_settled()
    relay.stop()
    page, size = relay.query("SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = 'messages_in_doubt'")[0]
    with open(relay.database, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    relay.start()
    answer = relay.api("GET", "/api/v1/status")
    assert answer.status == 503 and "damaged" in answer.json["detail"] and "tributary verify --deep" in answer.json["detail"]
    assert relay.api("GET", "/api/v1/status").status == 503
    assert relay.metrics()['tributary_alarm{name="store_damaged"}'] == 1
    assert [e["name"] for e in relay.logged("alarm")] == ["store_damaged"]
    assert "put a backup in its place" in relay.cli("verify", "--deep", "--socket", relay.socket, check=False).stdout
    relay.kill()


def change(relay, sql):
    """The relay is stopped."""
    connection = sqlite3.connect(relay.database)
    connection.executescript(sql)
    connection.close()


@pytest.mark.parametrize("order, bad, named", [("account", 1, 2), ("account", 10, 9), ("conversation", 1, 9), ("conversation", 10, 2)])
def test_61_an_index_that_names_another_account_sends_nothing_to_its_desk(make_relay, make_desk, order, bad, named):
    right, wrong = make_desk(), make_desk()
    relay = make_relay([account("acme", right.config(), order=order), account("bolt", wrong.config())])
    relay.allow("alarm", "alarm_end", "message_.*", "attempt_.*").start()
    relay.set_active("acme", False)
    source = WebhookSource(relay, "acme")
    for i in range(13):
        source.send(f"m{i}", "c")
    relay.stop()
    change(relay, f"UPDATE waiting SET account_id = {named} WHERE id <= {bad}; UPDATE accounts SET active = 1, sum = NULL")
    relay.start()
    relay.wait_settled()
    assert right.keys() == [f"m{i}" for i in range(bad, 13)] and not wrong.keys()
    assert [m["reason"] for m in relay.messages(state="skipped")] == ["damaged"] * bad
    assert alarms(relay)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["moved", "removed", "replaced by a copy"])
def test_63_store_taken_away_while_in_use(make_relay, desk, suffix, how):
    """Noticed with the next commit: no 2xx for what the next start would not find, and the process ends. With the file put back all is there."""
    if how == "removed" and suffix != "-shm":
        how = "moved"  # what nobody has any more cannot be had back
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("alarm", "alarm_end", "store_failed", "fatal").start()
    source = WebhookSource(relay, "acme")
    for i in range(5):
        source.send(f"m{i}", f"c{i}")
    relay.wait_settled()
    path = relay.database + suffix
    if how == "replaced by a copy":
        shutil.copy(path, path + ".copy")
    os.rename(path, path + ".away")
    if how == "replaced by a copy":
        os.rename(path + ".copy", path)
    assert refused_or_gone(source, source.event("lost")) != 200
    assert relay.wait_end() > 0
    assert relay.logged("alarm")[-1]["name"] == "store_moved" and relay.logged("fatal")
    if how == "removed":
        os.unlink(path + ".away")
    else:
        os.rename(path + ".away", path)
    relay.start()
    assert {f"m{i}" for i in range(5)} <= stored(relay)
    relay.wait_settled()
    assert {f"m{i}" for i in range(5)} <= set(desk.keys())
    relay.verify()


def test_63_log_left_alone_is_no_new_store(make_relay, desk):
    relay = make_relay([account("acme", desk.config())]).start()
    WebhookSource(relay, "acme").send("m0")
    relay.kill()
    os.rename(relay.database, relay.database + ".away")
    assert "-wal" in cannot_start(relay)
    os.rename(relay.database + ".away", relay.database)
    relay.start()
    desk.wait_taken(1)
    relay.wait_settled()
    assert stored(relay) == {"m0"}


# 62

@pytest.mark.release_only
def test_62_foreign_writer_for_long_is_503_and_passes(source, relay, desk):
    """Longer than the store waits for it: webhooks 503, outcomes kept in memory, an alarm; then all goes on, nothing twice."""
    relay.allow("alarm", "alarm_end")
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    for i in range(3):
        source.send(f"m{i}", f"c{i}")
    desk.wait_requests(3)
    lock = sqlite3.connect(relay.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    gate.set()
    assert source.post(source.event("refused")).status == 503
    wait_for(lambda: [a["name"] for a in relay.status()["alarms"]] == ["store_busy"], "the alarm")
    assert call(relay.admin_port, "GET", "/readyz").status == 503
    assert source.post(source.event("refused")).status == 503
    assert call(relay.port, "GET", "/healthz").status == 200
    lock.execute("ROLLBACK")
    lock.close()
    ready = lambda: not relay.status()["alarms"] and call(relay.admin_port, "GET", "/readyz").status == 200
    wait_for(ready, "well again, though nobody sends")
    source.send("again", "c9")
    relay.wait_settled()
    assert sorted(desk.keys()) == ["again", "m0", "m1", "m2"] and len(desk.posts()) == 4


def test_62_operator_backs_up_vacuums_and_checkpoints_under_traffic(make_relay, desk, tmp_path):
    """SQLite's own ways, again and again while messages flow. Each backup opens as a store and its sum is true."""
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("alarm", "alarm_end").start()
    source = WebhookSource(relay, "acme")
    crowd = Crowd(source, lanes=4, per_lane=100_000)
    backups = []
    for i in range(4):
        wait_for(lambda: crowd.acked() > 50 * (i + 1), "traffic")
        connection = sqlite3.connect(relay.database, timeout=PATIENCE_S, isolation_level=None)
        backups.append(str(tmp_path / f"backup{i}.db"))
        copy = sqlite3.connect(backups[-1])
        connection.backup(copy)
        copy.close()
        connection.execute(["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "ANALYZE", "PRAGMA wal_checkpoint(PASSIVE)"][i]).fetchall()
        connection.close()
    crowd.stop.set()
    crowd.join()
    relay.wait_settled(120 * SLOW)
    assert not [s.key for s in source.sent if s.acked and s.key not in stored(relay)]
    relay.verify()
    relay.stop()
    for backup in backups:
        other = make_relay([account("acme", desk.config(), order="conversation", active=False)], store=f"sqlite:{backup}")
        other.start()
        other.check_sum()
        assert other.cli("verify", "--deep", "--socket", other.socket).returncode == 0
        other.stop()


def test_62_reader_that_stays_does_not_stop_the_work(source, relay, desk):
    """An operator's query that never ends: the log grows, work goes on; when it ends, the log is used from its beginning again."""
    reader = sqlite3.connect(relay.database, isolation_level=None)
    source.send("first")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    size = lambda: os.stat(relay.database + "-wal").st_size
    before = size()
    for i in range(150):
        source.send(f"a{i}", f"c{i % 5}", words="x" * 100_000)
    relay.wait_settled()
    grown = size()
    assert before < grown < 100 << 20
    reader.execute("COMMIT")
    reader.close()
    for i in range(150):
        source.send(f"b{i}", f"c{i % 5}", words="x" * 100_000)
    relay.wait_settled()
    assert size() < grown + (4 << 20)
    relay.restart()
    assert size() < grown


# 57

def test_57_store_of_a_newer_version_is_refused(make_relay, desk):
    relay = make_relay([account("acme", desk.config())]).start()
    WebhookSource(relay, "acme").send("m0")
    relay.wait_settled()
    relay.stop()
    connection = sqlite3.connect(relay.database, isolation_level=None)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert "newer version" in cannot_start(relay)
    connection = sqlite3.connect(relay.database, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    relay.start()
    assert stored(relay) == {"m0"}
