"""Telegram by long polling: an offset forgets updates at Telegram for good, so it may be sent only after the commit."""
import json
import random
import shutil
import sqlite3
import threading

import pytest

from harness.common import SLOW, key_of, wait_for
from harness.relay import account
from harness.scripted import Answer, Drop, Raw
from harness.telegram import wrong


@pytest.fixture
def polled(telegram, desk, make_relay):
    """A relay without a public URL: a bot token alone is enough."""
    telegram.relay = make_relay([account("acme", desk.config(), [telegram.config()])])
    return telegram


def stored_keys(relay):
    return [key_of(m["text"]) for m in relay.messages()]


def test_token_alone_is_enough(polled, desk):
    polled.relay.start()
    polled.push(polled.message("m1"), polled.message("m2", chat=78))
    polled.push(polled.message("m3"))
    desk.wait_taken(3)
    assert desk.keys() == ["m1", "m2", "m3"]
    assert not polled.calls("setWebhook")
    first = polled.calls("getUpdates")[0].notes["parameters"]
    allowed = first["allowed_updates"]
    assert {"message", "edited_message"} <= set(json.loads(allowed) if isinstance(allowed, str) else allowed)
    assert int(first["timeout"]) >= 5, "long polling, no busy asking"


def test_updates_are_confirmed_once_stored(polled, desk):
    polled.relay.start()
    for i in range(3):
        update = polled.message(f"m{i}")
        polled.push(update)
        polled.wait_confirmed(update["update_id"])
        assert f"m{i}" in stored_keys(polled.relay)
    desk.wait_taken(3)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.release_only
def test_offset_waits_for_the_flush(polled, desk):
    """With a disk that takes 400 ms for a flush, the confirming offset comes at least that long after the updates."""
    polled.relay.wrapper = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=400000"]
    polled.relay.start()
    polled.wait_calls("getUpdates")
    update = polled.message("m1")
    polled.push(update)
    polled.wait_confirmed(update["update_id"])
    given = next(r for r in polled.calls("getUpdates") if update["update_id"] in r.notes.get("given", []))
    confirming = next(r for r in polled.calls("getUpdates") if int(r.notes["parameters"].get("offset") or 0) > update["update_id"])
    assert confirming.start - given.end >= 0.4


@pytest.mark.release_only
def test_updates_that_a_held_store_does_not_take_are_not_confirmed(polled, desk):
    """Another program writes, for longer than the store waits: the bot's updates are asked for again until they are stored."""
    polled.relay.allow("alarm", "alarm_end", "source_trouble").start()
    polled.wait_calls("getUpdates")
    lock = sqlite3.connect(polled.relay.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    update = polled.message("m1")
    polled.push(update)
    wait_for(lambda: polled.relay.logged("source_trouble"), "the source in trouble")
    asked = polled.wait_calls("getUpdates", 2)
    assert not [r for r in asked if int(r.notes["parameters"].get("offset") or 0) > update["update_id"]]
    lock.execute("ROLLBACK")
    lock.close()
    polled.wait_confirmed(update["update_id"])
    assert stored_keys(polled.relay) == ["m1"]
    assert desk.wait_taken(1) == ["m1"]


def test_kill_9_between_updates_and_offset_loses_and_doubles_nothing(polled, desk):
    """Killed again and again just after updates were handed over: each is stored exactly once in the end, in order."""
    chance = random.Random(11)
    pause = threading.Event()
    keys = []
    for round_number in range(8):
        calls = len(polled.calls("getUpdates"))
        relay = polled.relay.start()
        polled.wait_calls("getUpdates", calls + 1)
        batch = [polled.message(f"m{round_number}-{i}") for i in range(3)]
        keys += [key_of(u["message"]["text"]) for u in batch]
        polled.push(*batch)
        polled.wait_requests(lambda journal: any(batch[-1]["update_id"] in r.notes.get("given", []) or batch[-1] in polled.forgotten for r in journal[-50:]),
                             "the updates handed over")
        pause.wait(chance.random() * 0.02)
        relay.kill()
    polled.relay.start()
    last = polled.message("end")
    polled.push(last)
    polled.wait_confirmed(last["update_id"])
    assert stored_keys(polled.relay) == keys + ["end"]
    polled.relay.wait_settled(60 * SLOW)
    assert list(dict.fromkeys(desk.keys())) == keys + ["end"]
    polled.relay.check_sum()


def test_no_stale_offset_after_an_idle_week(polled, desk):
    """After a week without updates ids start anew at random, also lower. An offset kept from before would forget them unseen."""
    polled.max_hold_s = 0.3
    polled.relay.start()
    polled.push(polled.message("m1"))
    desk.wait_taken(1)
    calls = len(polled.calls("getUpdates"))
    polled.wait_calls("getUpdates", calls + 3)  # idle: several empty answers
    polled.next_update = 12
    for i in range(2, 5):
        polled.push(polled.message(f"m{i}"))
    assert desk.wait_taken(4) == ["m1", "m2", "m3", "m4"]


def test_no_stale_offset_after_a_restart(polled, desk):
    polled.relay.start()
    polled.push(polled.message("m1"))
    desk.wait_taken(1)
    polled.relay.restart()
    polled.relay.stop()
    polled.next_update = 12
    polled.push(polled.message("m2"), polled.message("m3"))
    polled.relay.start()
    assert desk.wait_taken(3) == ["m1", "m2", "m3"]


def test_backlog_longer_than_a_page_is_drained_in_order(polled, desk):
    polled.push(*[polled.message(f"m{i:03d}", chat=70 + i % 3) for i in range(250)])
    polled.relay.start()
    assert desk.wait_taken(250, 60 * SLOW) == [f"m{i:03d}" for i in range(250)]


FAULTS = {
    "500": lambda r: Answer(500), "502": lambda r: wrong(502, "Bad Gateway"), "429": lambda r: wrong(429, "Too Many Requests: retry after 1", retry_after=1),
    "dropped": lambda r: Drop(), "reset": lambda r: Drop(reset=True), "garbage": lambda r: Raw(b"\x00\xff\r\n\r\n"),
    "cut": lambda r: Raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"ok":true,"result":[{"update_id"'),
    "not json": lambda r: Answer(200, b"<html>"), "not ok": lambda r: Answer(200, {"ok": False}), "result a word": lambda r: Answer(200, {"ok": True, "result": "x"}),
    "409": lambda r: wrong(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_trouble_at_the_platform_is_tried_again_and_loses_nothing(polled, desk, name):
    polled.relay.allow("source_.*", "alarm.*").start()
    polled.push(polled.message("m1"))
    desk.wait_taken(1)
    fault = FAULTS[name]
    left = [2]

    def script(request):
        if left[0] and request.path.lower().endswith("getupdates"):
            left[0] -= 1
            polled.respond(request)  # the offset counts, whatever is answered
            return fault(request)
        return None
    polled.script = script
    polled.push(polled.message("m2"))  # may be given by the call that waits already
    polled.wait_requests(lambda _: left[0] == 0, "the trouble", 60 * SLOW)
    polled.push(polled.message("m3"))
    assert desk.wait_taken(3, 60 * SLOW) == ["m1", "m2", "m3"]


def test_one_update_that_makes_no_sense_does_not_hold_up_the_others(polled, desk):
    polled.relay.allow("source_.*", "alarm.*", "event_.*", "update_.*").start()
    odd = polled.message("odd")
    odd["message"] = {"message_id": 7}
    polled.push(polled.message("m1"), odd, polled.message("m2"))
    desk.wait_requests(lambda _: {"m1", "m2"} <= set(desk.keys()), "the others")
    polled.wait_confirmed(odd["update_id"])


def test_another_webhook_is_respected_and_shown(polled, desk):
    polled.webhook["url"] = "https://elsewhere.example/other-hook"
    polled.relay.allow("source_.*", "alarm.*").start()
    wait_for(lambda: "elsewhere.example" in json.dumps(polled.relay.status()), "the status says where the webhook points")
    assert not polled.calls("deleteWebhook") and polled.webhook["url"]


def test_take_over_removes_another_webhook_and_keeps_its_updates(telegram, desk, make_relay):
    telegram.webhook["url"] = "https://elsewhere.example/other-hook"
    telegram.queue.append(telegram.message("m1"))
    make_relay([account("acme", desk.config(), [telegram.config(take_over=True)])]).allow("source_.*").start()
    desk.wait_taken(1)
    assert telegram.webhook["url"] == ""


def test_change_from_webhook_to_polling_needs_no_take_over(telegram, desk, make_relay):
    """The webhook was registered by this store: it is ours to remove."""
    relay = make_relay([account("acme", desk.config(), [telegram.config()])], public_url="https://relay.example.test").start()
    telegram.wait_registered()
    relay.wait_source("acme", "bot")
    relay.stop()
    del relay.config["public_url"]
    relay.write_config()
    relay.start()
    telegram.push(telegram.message("m1"))
    desk.wait_taken(1)
    assert telegram.webhook["url"] == ""


def test_polling_ends_at_once_when_asked_to_stop(polled):
    """A long poll in flight is no reason to wait."""
    polled.relay.start()
    polled.wait_calls("getUpdates")
    polled.relay.stop()
    polled.relay.start()
    polled.wait_calls("getUpdates", 2)


def test_bad_token_is_shown_and_not_hammered(telegram, desk, make_relay):
    telegram.script = lambda request: wrong(401, "Unauthorized")
    relay = make_relay([account("acme", desk.config(), [telegram.config()])]).allow("source_.*", "alarm.*").start()
    wait_for(lambda: relay.status()["alarms"], "an alarm")
    assert len(telegram.journal) < 20
