"""Starting and stopping: the orderly end, with requests in flight and without; reload; two starts at once."""
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from harness.client import Crowd, RawConnection, WebhookSource
from harness.common import SLOW, wait_for
from harness.relay import BINARY, account, prefix
from harness.scripted import Answer, Stall


def ended(relay, number=signal.SIGTERM):
    """Stops it; the seconds that took."""
    began = time.monotonic()
    relay.stop(number)
    return time.monotonic() - began


def marks(relay):
    return relay.query("SELECT count(*) FROM messages WHERE in_flight <> 0")[0][0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_relay_ends_at_once_with_0(relay, number):
    assert ended(relay, number) < 1 * SLOW


def test_request_in_flight_may_end_and_is_recorded(make_relay, desk):
    """The stop waits for the request, records its outcome, and starts no other."""
    gate = threading.Event()
    relay = make_relay([account("acme", desk.config())], delivery={"shutdown": "20s", "timeout": "60s"}).start()
    source = WebhookSource(relay, "acme")
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    for i in range(3):
        source.send(f"m{i}")
    desk.wait_requests(1)
    relay.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses(relay.port), "no new connections")
    gate.set()
    assert relay.wait_end() == 0
    assert desk.keys() == ["m0"] and marks(relay) == 0
    desk.script = None
    relay.start()
    assert desk.wait_taken(3) == ["m0", "m1", "m2"]
    relay.wait_settled()
    assert len(desk.posts()) == 3


def test_change_by_hand_that_waits_for_a_held_store_does_not_keep_the_stop(make_relay, desk):
    relay = make_relay([account("acme", desk.config())]).allow("alarm.*", "accept_failed").start()
    lock = sqlite3.connect(relay.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answers = []
    change = threading.Thread(target=lambda: answers.append(relay.api("PATCH", "/api/v1/accounts/acme", {"active": False}).status))
    change.start()
    relay.wait_event("alarm", lambda e: e["name"] == "store_busy")
    assert ended(relay) < relay.shutdown_s + 1 * SLOW
    change.join()
    assert answers == [503]
    lock.close()


def refuses(port):
    try:
        RawConnection(port).sock.close()
        return False
    except OSError:
        return True


def test_request_without_an_answer_does_not_keep_the_relay(make_relay, desk):
    """Within delivery.shutdown and a second, with 0; the message is sent again with the same id after the next start."""
    relay = make_relay([account("acme", desk.config())], delivery={"shutdown": "500ms", "timeout": "60s"}).start()
    source = WebhookSource(relay, "acme")
    desk.script = lambda request: Stall() if request.method == "POST" else None
    source.send("m0")
    desk.wait_requests(1)
    took = ended(relay)
    assert 0.4 <= took < 1.5 * SLOW
    assert marks(relay) == 0
    desk.script = None
    relay.start()
    desk.wait_taken(1)
    assert len({r.notes["webhook_id"] for r in desk.posts()}) == 1 and len(desk.posts()) == 2
    relay.wait_settled()


def test_store_that_somebody_else_locks_does_not_keep_the_relay(make_relay, desk):
    """Item 62: the stop takes no longer for it. What could not be recorded is sent again with the same id after the next start."""
    gate = threading.Event()
    relay = make_relay([account("acme", desk.config())], delivery={"shutdown": "500ms", "timeout": "60s"}).start()
    relay.allow("alarm", "alarm_end")
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    WebhookSource(relay, "acme").send("m0")
    desk.wait_requests(1)
    lock = sqlite3.connect(relay.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    gate.set()
    wait_for(lambda: desk.keys() == ["m0"], "the desk's answer")
    began = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert relay.wait_end(30 * SLOW) == 0
    assert time.monotonic() - began < 1.5 * SLOW
    lock.execute("ROLLBACK")
    lock.close()
    desk.script = None
    relay.start()
    relay.wait_settled()
    assert len({r.notes["webhook_id"] for r in desk.posts()}) == 1


def test_second_signal_ends_at_once_and_loses_nothing(make_relay, desk):
    relay = make_relay([account("acme", desk.config())], delivery={"shutdown": "60s", "timeout": "60s"}).start()
    source = WebhookSource(relay, "acme")
    desk.script = lambda request: Stall() if request.method == "POST" else None
    for i in range(3):
        source.send(f"m{i}")
    desk.wait_requests(1)
    relay.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses(relay.port), "no new connections")
    began = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    relay.wait_end()
    assert time.monotonic() - began < 1 * SLOW
    desk.script = None
    relay.start()
    assert desk.wait_taken(3) == ["m0", "m1", "m2"]
    relay.wait_settled()


def test_what_was_answered_while_stopping_is_kept(source, relay, desk):
    """Senders at work when the stop comes: each is answered 2xx and stored, or not answered 2xx."""
    for round_number in range(3):
        crowd = Crowd(source, lanes=8, per_lane=10_000, prefix=f"r{round_number}-")
        wait_for(lambda: crowd.acked() > 100 * (round_number + 1), "traffic")
        relay.stop()
        crowd.stop.set()
        crowd.join()
        relay.start()
    wait_for(lambda: relay.status()["pending"] == 0, "drained")
    stored = {m["text"] for m in relay.messages()}
    assert not [s.key for s in source.sent if s.acked and s.text not in stored]


def test_stop_at_any_moment_of_the_start(make_relay, desk):
    """A signal before, while and after everything is up: it ends, and the next start is good."""
    chance = random.Random(3)
    pause = threading.Event()
    relay = make_relay([account("acme", desk.config())])
    for _ in range(6):
        relay.start(wait=False)
        pause.wait(chance.random() * 0.15 * SLOW)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait_end() in (0, -signal.SIGTERM)
    relay.start()
    WebhookSource(relay, "acme").send("m0")
    desk.wait_taken(1)


def test_start_after_kill_9_needs_no_hand(source, relay, desk):
    """A stale admin socket, lock file and log of the store are no reason not to start."""
    for i in range(3):
        source.send(f"m{i}")
        relay.kill()
        relay.start()
    desk.wait_taken(3)
    relay.wait_settled()


# Reload

def reload_by_signal(relay):
    seen = len(relay.events)
    relay.send_signal(signal.SIGHUP)
    wait_for(lambda: any("reload" in e["event"] for e in relay.events[seen:]), "a log line that says how the reload went")


def test_reload_takes_new_accounts_and_keeps_what_is_in_flight(source, relay, desk, make_desk):
    other = make_desk()
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    source.send("m0")
    desk.wait_requests(1)
    relay.config["accounts"].append(account("zenith", other.config()))
    relay.write_config()
    reload_by_signal(relay)
    zenith = WebhookSource(relay, "zenith")
    zenith.send("z0")
    other.wait_taken(1)
    gate.set()
    desk.wait_taken(1)
    assert len(desk.posts()) == 1
    relay.wait_settled()


def test_reload_by_command_applies_a_changed_value(source, relay, desk):
    relay.config["accounts"][0]["active"] = False
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    source.send("m0")
    assert relay.status()["pending"] == 1
    relay.config["accounts"][0]["active"] = True
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    desk.wait_taken(1)
    relay.wait_settled()


def test_reloads_all_the_time_and_a_stop_among_them(make_relay, desk):
    """A storm of SIGHUP, then SIGTERM and more SIGHUP: the stop is orderly, nobody frees what a reload still reads."""
    relay = make_relay([account("acme", desk.config())])
    for _ in range(3):
        relay.start()
        for _ in range(20):
            relay.send_signal(signal.SIGHUP)
        relay.send_signal(signal.SIGTERM)
        for _ in range(20):
            if relay.running:
                relay.send_signal(signal.SIGHUP)
        assert relay.wait_end() == 0


def hold_a_message(source, relay, desk):
    """One that waits for its answer until the gate is set; the order rule of its account, and the other one."""
    gate = threading.Event()
    relay.allow("alarm", "alarm_end")
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    source.send("m0")
    desk.wait_requests(1)
    before = relay.config["accounts"][0].get("order", "account")
    other = "conversation" if before == "account" else "account"
    return gate, before, other


def test_order_rule_is_changed_once_at_a_time(source, relay, desk):
    gate, before, other = hold_a_message(source, relay, desk)
    for rule, alarms in ((other, []), (before, ["order_waits"]), (other, [])):
        relay.config["accounts"][0]["order"] = rule
        relay.write_config()
        reload_by_signal(relay)
        wait_for(lambda: [a["name"] for a in relay.status()["alarms"]] == alarms, f"alarms {alarms}")
    gate.set()
    relay.wait_settled()


def test_order_rule_that_was_refused_is_taken_by_a_later_reload(source, relay, desk):
    """What the file said was not taken: it counts as changed until it is, though the file stays as it is."""
    gate, before, other = hold_a_message(source, relay, desk)

    def reload_with(rule, alarms, in_force):
        relay.config["accounts"][0]["order"] = rule
        relay.write_config()
        reload_by_signal(relay)
        wait_for(lambda: [a["name"] for a in relay.status()["alarms"]] == alarms, f"alarms {alarms}")
        wait_for(lambda: relay.get("/api/v1/accounts/acme")["order"] == in_force, f"order {in_force}")
    reload_with(other, [], other)
    reload_with(before, ["order_waits"], other)
    reload_with(before, ["order_waits"], other)
    gate.set()
    relay.wait_settled()
    reload_with(before, [], before)


def test_broken_file_leaves_the_old_one_in_force(source, relay, desk):
    relay.allow(".*reload.*", ".*config.*")
    good = open(relay.path).read()
    with open(relay.path, "w") as file:
        file.write(good + "\nnonsense: true\n")
    reload_by_signal(relay)
    done = relay.cli("reload", "--socket", relay.socket, check=False)
    assert done.returncode == 1 and "nonsense" in done.stdout + done.stderr
    source.send("m0")
    desk.wait_taken(1)


def test_account_that_leaves_the_file_is_deactivated_and_kept(source, relay, desk, make_desk):
    other = make_desk()
    desk.script = lambda request: Stall() if request.method == "POST" else None
    source.send("m0")
    desk.wait_requests(1)
    kept = relay.config["accounts"]
    relay.config["accounts"] = [account("zenith", other.config())]
    relay.write_config()
    relay.allow(".*account.*", "desk_suspended")
    reload_by_signal(relay)
    acme = next(a for a in relay.status()["accounts"] if a["name"] == "acme")
    assert acme["active"] is False and acme["pending"] == 1
    desk.script = None
    desk.refuse()  # cuts the request that hangs
    desk.listen()
    relay.config["accounts"] = kept
    relay.write_config()
    reload_by_signal(relay)
    if not next(a for a in relay.status()["accounts"] if a["name"] == "acme")["active"]:
        relay.set_active("acme", True)
    relay.wait_settled()


def test_deactivation_by_hand_outlives_restart_until_the_file_says_something_new(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), active=True)]).start()
    relay.set_active("acme", False)
    relay.restart()
    assert relay.status()["accounts"][0]["active"] is False
    relay.config["accounts"][0]["active"] = False
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    relay.config["accounts"][0]["active"] = True
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    assert relay.status()["accounts"][0]["active"] is True


# Cannot start

def run_serve(path, cwd):
    return subprocess.run(prefix() + [BINARY, "serve", "-c", path], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          env={k: v for k, v in os.environ.items() if not k.startswith("TRIBUTARY_")})


def one_sentence(done):
    lines = [l for l in (done.stdout + done.stderr).splitlines() if l.strip()]
    assert done.returncode not in (0, None) and done.returncode > 0, done
    assert len(lines) == 1, done
    return lines[0]


def test_second_start_on_the_same_store_is_refused(relay, make_relay, desk):
    second = make_relay([account("acme", desk.config())])
    second.config["store"] = relay.config["store"]
    second.write_config()
    said = one_sentence(run_serve(second.path, second.directory))
    assert str(relay.process.pid) in said or "already" in said or "another" in said or "in use" in said, said


def test_two_starts_at_the_same_moment(make_relay, desk):
    """One of them runs, the other says why not; in each of several tries."""
    for _ in range(3):
        pair = [make_relay([account("acme", desk.config())]) for _ in range(2)]
        pair[1].config["store"] = pair[0].config["store"]
        pair[1].write_config()
        started = [subprocess.Popen(prefix() + [BINARY, "serve", "-c", r.path], cwd=r.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, start_new_session=True) for r in pair]
        try:
            wait_for(lambda: any(p.poll() is not None for p in started), "one of the two gives up")
            loser = next(p for p in started if p.poll() is not None)
            winner = started[1 - started.index(loser)]
            assert loser.returncode > 0
            wait_for(lambda: not refuses(pair[started.index(winner)].port), "the other one runs")
            assert winner.poll() is None
        finally:
            for p in started:
                if p.poll() is None:
                    p.send_signal(signal.SIGTERM)
                    assert p.wait(30) == 0


def test_reasons_not_to_start_are_one_sentence(make_relay, desk, tmp_path):
    taken = make_relay([account("acme", desk.config())])
    with RawListener() as port:
        taken.config["listen"] = f"127.0.0.1:{port}"
        taken.write_config()
        assert str(port) in one_sentence(run_serve(taken.path, taken.directory))
    nowhere = make_relay([account("acme", desk.config())], store="sqlite:/nonexistent/dir/t.db")
    assert "/nonexistent/dir" in one_sentence(run_serve(nowhere.path, nowhere.directory))
    assert "absent.yaml" in one_sentence(run_serve(str(tmp_path / "absent.yaml"), str(tmp_path)))
    garbage = make_relay([account("acme", desk.config())])
    with open(garbage.database, "w") as file:
        file.write("this is no database " * 1000)
    assert "tributary.db" in one_sentence(run_serve(garbage.path, garbage.directory))


class RawListener:
    def __enter__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        return self.sock.getsockname()[1]

    def __exit__(self, *_):
        self.sock.close()
