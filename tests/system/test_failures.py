"""The failure table on the real thing, where no other test has the row already (test_pattern.py and test_promise.py have the five
attempts, the outages by status, the guard, Retry-After): docs/internals/failures.md lists which test holds which clause."""
import glob
import os
import re
import signal
import threading

import pytest

from harness.client import WebhookSource
from harness.common import SLOW, make_secret, text_of, wait_for
from harness.relay import account
from harness.scripted import Answer, Drop


def test_the_page_of_the_failure_table_names_tests_that_there_are():
    top = os.path.join(os.path.dirname(__file__), "../..")
    with open(os.path.join(top, "docs/internals/failures.md"), encoding="utf-8") as file:
        named = set(re.findall(r"`(test_\w+)`", file.read()))
    there = set()
    for path in glob.glob(top + "/tests/unit/test_*.c") + glob.glob(top + "/tests/system/test_*.py"):
        with open(path, encoding="utf-8") as file:
            there |= set(re.findall(r"^(?:static void|def) (test_\w+)", file.read(), re.M))
    assert len(named) > 80 and not named - there, sorted(named - there)


def is_suspended(relay):
    return {d["state"] for d in relay.status()["desks"]} == {"suspended"}


def test_outage_of_a_desk_that_two_accounts_share_counts_nothing_and_heals_in_order(make_relay, desk):
    relay = make_relay([account(name, desk.config(), order="conversation") for name in ("acme", "zenith")]).allow("desk_suspended").start()
    out = threading.Event()
    out.set()
    at_once = []

    def script(request):
        at_once.append(sum(r.end is None for r in desk.journal if r.method == "HEAD"))
        return Answer(503) if out.is_set() else None
    desk.script = script
    for i in range(6):
        for name in ("acme", "zenith"):
            WebhookSource(relay, name).send(f"{name}-{i}", f"c{i % 2}")
    desk.wait_requests(lambda journal: sum(r.method == "HEAD" for r in journal) >= 3, "probes")
    wait_for(lambda: is_suspended(relay), "both are shown as suspended")
    assert {(m["state"], m["attempts"]) for m in relay.messages()} == {("pending", 0)}
    out.clear()
    desk.wait_taken(12, 60 * SLOW)
    relay.wait_settled()
    assert max(at_once) <= 1, "more than one probe at a time"
    for name in ("acme", "zenith"):
        for lane in range(2):
            assert [k for k in desk.keys() if k in [f"{name}-{i}" for i in range(lane, 6, 2)]] == [f"{name}-{i}" for i in range(lane, 6, 2)]
    assert {m["attempts"] for m in relay.messages()} == {1}


def test_401_then_another_secret_by_reload_goes_on_at_once(make_relay, desk):
    old, new = desk.secret, make_secret()
    relay = make_relay([account("acme", desk.config())]).allow("desk_suspended", "alarm", "alarm_end").start()
    desk.script = lambda request: Answer(401) if desk.secret == old else None
    for i in range(3):
        WebhookSource(relay, "acme").send(f"m{i}")
    wait_for(lambda: [a["name"] for a in relay.status()["alarms"]] == ["desk_refuses"], "an alarm")
    desk.wait_requests(lambda journal: sum(r.method == "HEAD" for r in journal) >= 3, "probes that are refused")
    desk.secret = new
    relay.config["accounts"][0]["desk"]["secret"] = new
    relay.write_config()
    relay.send_signal(signal.SIGHUP)
    desk.wait_taken(3)
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1", "m2"] and {m["attempts"] for m in relay.messages()} == {1}
    relay.wait_event("alarm_end")
    status = relay.status()
    assert not status["alarms"] and not status["desks_suspended"]
    assert len(relay.logged("alarm")) == 1


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_message_at_which_the_desk_fails_is_counted_while_its_probe_is_well(make_relay, desk, status):
    relay = make_relay([account("acme", desk.config())], delivery={"max_attempts": 2}).allow("desk_suspended", "message_skipped").start()
    desk.script = lambda request: Answer(status) if request.notes.get("key") == "m1" else None
    source = WebhookSource(relay, "acme")
    for i in range(3):
        source.send(f"m{i}")
    relay.wait_settled()
    assert desk.keys() == ["m0", "m2"]
    assert [(m["text"], m["attempts"]) for m in relay.messages(state="skipped")] == [(text_of("m1"), 2)]


def test_desk_that_answers_405_to_all_has_one_alarm_until_a_delivery(source, relay, desk):
    relay.allow("desk_suspended", "alarm", "alarm_end")
    desk.script = lambda request: Answer(405)
    source.send("m0")
    desk.wait_requests(lambda journal: sum(r.method == "POST" for r in journal) >= 4, "the head is tried, since it takes no probes")
    assert [a["name"] for a in relay.status()["alarms"]] == ["desk_refuses"] and len(relay.logged("alarm")) == 1
    desk.script = lambda request: Answer(405) if request.method == "HEAD" else None
    desk.wait_taken(1, 60 * SLOW)
    relay.wait_settled()
    assert not relay.status()["alarms"] and len(relay.logged("alarm")) == 1 and relay.messages()[0]["attempts"] == 1


def test_desk_without_a_probe_is_sent_nothing_but_messages(make_relay, desk):
    relay = make_relay([account("acme", desk.config(probe="none"), order="conversation")]).allow("desk_suspended").start()
    source = WebhookSource(relay, "acme")
    out = threading.Event()
    out.set()
    desk.script = lambda request: Drop() if out.is_set() else None
    for i in range(4):
        source.send(f"m{i}", f"c{i}")
    desk.wait_requests(lambda journal: len({r.notes["key"] for r in journal}) >= 3, "heads of different lanes are tried")
    assert {m["attempts"] for m in relay.messages()} == {0}
    out.clear()
    desk.wait_taken(4, 60 * SLOW)
    relay.wait_settled()
    assert not desk.requests("HEAD") and {m["attempts"] for m in relay.messages()} == {1}


@pytest.mark.parametrize("what", ["retry", "discard"])
def test_hold_keeps_the_lane_for_a_person(make_relay, desk, what):
    relay = make_relay([account("acme", desk.config(), order="conversation", on_failure="hold")]).allow("message_held").start()
    source = WebhookSource(relay, "acme")
    refuses = threading.Event()
    refuses.set()
    desk.script = lambda request: Answer(422) if request.notes.get("key") == "m0" and refuses.is_set() else None
    for i in range(3):
        source.send(f"m{i}", "held")
        source.send(f"free{i}", "free")
    desk.wait_taken(3)
    relay.wait_event("message_held")
    relay.restart()
    assert [(m["text"], m["state"], m["reason"]) for m in relay.messages(conversation="held")][0] == (text_of("m0"), "pending", "rejected")
    refuses.clear()
    relay.cli(what, relay.messages(conversation="held")[0]["id"], "--socket", relay.socket)
    relay.wait_settled()
    assert [k for k in desk.keys() if k[0] == "m"] == (["m0"] if what == "retry" else []) + ["m1", "m2"]


def test_closed_guard_is_shown_from_the_first_answer_on(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("desk_suspended", "message_skipped", "alarm", "alarm_end").start()
    desk.script = lambda request: Answer(400)
    for i in range(7):
        WebhookSource(relay, "acme").send(f"m{i}", f"c{i}")
    wait_for(lambda: is_suspended(relay), "the guard")
    relay.set_active("acme", False)  # nothing is read at the start that could bring it to mind
    relay.stop()
    relay.start()
    status = relay.status()
    assert [(d["state"], d["reason"]) for d in status["desks"]] == [("suspended", "guard")]
    assert [a["name"] for a in status["alarms"]] == ["skip_guard"]
    assert (status["skipped"], status["pending"]) == (5, 2)


@pytest.mark.parametrize("status", [500, 400, 502])
def test_request_in_flight_at_a_deactivation_is_not_counted(make_relay, desk, status):
    gate = threading.Event()
    relay = make_relay([account("acme", desk.config())], delivery={"timeout": "60s"}).allow("desk_suspended").start()
    desk.script = lambda request: Answer(status, after=gate) if request.method == "POST" else None
    source = WebhookSource(relay, "acme")
    source.send("m0")
    source.send("m1")
    desk.wait_requests(1)
    relay.set_active("acme", False)
    gate.set()
    wait_for(lambda: relay.messages()[0]["last_error"], "the outcome is on record")
    assert [(m["state"], m["attempts"]) for m in relay.messages()] == [("pending", 0)] * 2
    desk.script = None
    relay.set_active("acme", True)
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"]


def test_lane_that_brought_the_process_down_twice_is_held_until_a_person_lets_it_go(make_relay, desk):
    """The file beside the store says so (written by a process that aborts: tests/unit/test_lane_trouble.c)."""
    relay = make_relay([account("acme", desk.config()), account("zenith", desk.config())]).allow("alarm", "alarm_end").start()
    relay.set_active("acme", False)
    WebhookSource(relay, "acme").send("a0")
    WebhookSource(relay, "acme").send("a1")
    lane = relay.query("SELECT DISTINCT lane FROM messages")[0][0]
    relay.stop()
    with open(relay.database + ".lane-trouble", "w") as file:
        file.write(f"{lane} 1700000000\n{lane} 1700000300\n")
    relay.start()
    relay.set_active("acme", True)
    WebhookSource(relay, "zenith").send("z0")
    desk.wait_taken(1)
    assert desk.keys() == ["z0"]
    alarms = relay.status()["alarms"]
    assert [(a["name"], a["subject"]) for a in alarms] == [("lane_held", "acme")] and str(lane) in alarms[0]["text"]
    relay.cli("retry", relay.messages(account="acme")[0]["id"], "--socket", relay.socket)
    desk.wait_taken(3)
    relay.wait_settled()
    assert desk.keys() == ["z0", "a0", "a1"] and not relay.status()["alarms"]
    relay.restart()
    WebhookSource(relay, "acme").send("a2")
    desk.wait_taken(4)
    relay.wait_settled()
    assert not relay.status()["alarms"] and os.stat(relay.database + ".lane-trouble").st_size < 100
