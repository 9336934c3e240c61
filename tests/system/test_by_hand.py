"""Retry, discard and hold by hand, one test per clause of INTERFACE.md: POST /api/v1/messages/{id}/retry and /discard, and
/api/v1/accounts/{account}/retry?state=skipped; the command line goes through the same."""
import sqlite3
import threading

from harness.client import WebhookSource
from harness.common import SLOW, wait_for
from harness.relay import account
from harness.scripted import Answer, Drop
from test_intercom import IS_LOOKUP, IS_REPLY, Line, build   # noqa: F401 (a fixture)


def by_hand(relay, what, message_id, status=200):
    answer = relay.api("POST", f"/api/v1/messages/{message_id}/{what}")
    assert answer.status == status, answer
    return answer.json


def message(relay, message_id):
    return relay.get(f"/api/v1/messages/{message_id}")


def wait_state(relay, message_id, **wanted):
    return wait_for(lambda: (lambda m: all(m[k] == v for k, v in wanted.items()) and m)(message(relay, message_id)), f"message {message_id} is {wanted}")


def refuse(key):
    """Refuses the message of that key, takes all others."""
    return lambda request: Answer(422, body=b"no such field") if request.notes.get("key") == key else None


def test_a_skipped_one_goes_to_the_tail_of_its_lane_with_attempts_from_0_and_late(source, relay, desk):
    relay.allow("message_skipped")
    desk.script = refuse("m0")
    source.send("m0")
    first = relay.messages()[0]["id"]
    wait_state(relay, first, state="skipped", attempts=1, reason="rejected")
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.notes.get("key") == "m1" else None
    source.send("m1")
    source.send("m2")
    again = by_hand(relay, "retry", first)
    assert (again["state"], again["attempts"], again["late"], again["reason"]) == ("pending", 0, True, None)
    assert by_hand(relay, "retry", first)["state"] == "pending"     # twice is once
    assert [m["id"] for m in relay.messages()] == sorted((m["id"] for m in relay.messages()), key=int)
    gate.set()
    desk.wait_taken(3)
    assert desk.keys() == ["m1", "m2", "m0"]
    assert [r.notes["body"]["late"] for r in desk.posts()] == [False, False, False, True]
    relay.wait_settled()
    answer = relay.api("POST", f"/api/v1/messages/{first}/retry")
    assert answer.status == 409 and "skipped or a pending" in answer.json["detail"]


def test_a_waiting_head_is_tried_now_and_keeps_its_attempts(make_relay, desk):
    relay = make_relay([account("acme", desk.config())], delivery={"retry_base": "60s", "retry_cap": "60s"}).start()
    desk.script = lambda request: Answer(500) if request.method == "POST" else None
    source = WebhookSource(relay, "acme")
    source.send("m0")
    source.send("m1")
    head, behind = [m["id"] for m in relay.messages()]
    wait_state(relay, head, attempts=1)
    assert by_hand(relay, "retry", behind)["attempts"] == 0          # not the head: nothing to be done
    by_hand(relay, "retry", head)
    waiting = wait_state(relay, head, attempts=2)
    assert waiting["next_attempt_at"] is not None and len(desk.posts()) == 2
    desk.script = None
    assert relay.cli("retry", head).returncode == 0
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"]
    assert message(relay, head)["attempts"] == 3


def test_a_held_lane_is_released_by_retry_and_by_discard(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), on_failure="hold", order="conversation")]).start()
    relay.allow("message_held")
    desk.script = refuse("m0")
    source = WebhookSource(relay, "acme")
    source.send("m0")
    source.send("m1")
    head = relay.messages()[0]["id"]
    wait_for(lambda: [lane["state"] for lane in relay.get("/api/v1/lanes")["items"]] == ["held"], "the lane is held")
    assert message(relay, head)["next_attempt_at"] is None
    by_hand(relay, "retry", head)
    wait_for(lambda: len(desk.posts()) == 2, "tried again")
    held = wait_for(lambda: (lambda l: l["state"] == "held" and l["head"]["attempts"] == 1 and l)(relay.get("/api/v1/lanes")["items"][0]), "held again")
    assert held["head"]["id"] == head and held["waiting"] == 2 and desk.keys() == []
    for _ in range(2):
        assert by_hand(relay, "discard", head)["state"] == "discarded"
    relay.wait_settled()
    assert desk.keys() == ["m1"] and relay.check_sum()["discarded"] == 1
    desk.script = refuse("m2")
    source.send("m2")
    second = relay.messages()[-1]["id"]
    wait_for(lambda: [lane["state"] for lane in relay.get("/api/v1/lanes")["items"]] == ["held"], "the lane is held")
    desk.script = None
    by_hand(relay, "retry", second)
    relay.wait_settled()
    assert desk.keys() == ["m1", "m2"]


def test_a_suspended_desk_stays_so(make_relay, desk):
    relay = make_relay([account("acme", desk.config())]).start()
    relay.allow("desk_suspended")
    desk.fallback = desk.script = lambda request: Answer(503, headers=[("Retry-After", "3000")]) if request.method == "POST" else None
    source = WebhookSource(relay, "acme")
    source.send("m0")
    head = relay.messages()[0]["id"]
    lane = wait_for(lambda: (lambda l: l and l[0]["state"] == "suspended" and l[0])(relay.get("/api/v1/lanes")["items"]), "suspended")
    assert lane["waits_for"] == "desk" and lane["until"]
    before = len(desk.posts())
    by_hand(relay, "retry", head)
    assert relay.get("/api/v1/lanes")["items"][0]["state"] == "suspended" and len(desk.posts()) == before
    desk.script = None
    assert relay.api("POST", "/api/v1/accounts/acme/desk/resume").status == 200
    relay.wait_settled()


def test_a_discard_in_flight_takes_effect_if_the_attempt_fails(make_relay, desk):
    relay = make_relay([account("acme", desk.config())], delivery={"retry_base": "60s", "retry_cap": "60s"}).start()
    source = WebhookSource(relay, "acme")
    for key, status, state in (("m0", 500, "discarded"), ("m1", 200, "delivered"), ("m2", 422, "discarded")):
        gate = threading.Event()
        desk.script = lambda request, gate=gate, status=status: Answer(status, after=gate) if request.method == "POST" else None
        source.send(key)
        message_id = relay.messages()[-1]["id"]
        desk.wait_requests(lambda journal: any(r.notes.get("key") == key for r in journal), "in flight")
        for _ in range(2):
            assert by_hand(relay, "discard", message_id, status=202)["state"] == "pending"
        gate.set()
        wait_state(relay, message_id, state=state)
    answer = relay.api("POST", f"/api/v1/messages/{relay.messages()[1]['id']}/discard")
    assert answer.status == 409
    assert relay.check_sum()["discarded"] == 2


def test_two_operators_at_once(make_relay, desk):
    """Retries and discards of the same messages from many sides: each is settled once, delivered at most once, and the sum holds."""
    relay = make_relay([account("acme", desk.config(), order="conversation")]).start()
    relay.allow("message_skipped", "alarm", "desk_suspended")
    source = WebhookSource(relay, "acme")
    bad = [f"m{i}" for i in range(12)]
    desk.script = lambda request: Answer(422) if request.notes.get("key") in bad else None
    for i, key in enumerate(bad):
        source.send(key, f"c{i}")
        source.send("good-" + key, f"c{i}")  # a delivery between them keeps the guard open
        wait_for(lambda: relay.status()["pending"] == 0, "settled")
    ids = [m["id"] for m in relay.messages(state="skipped")]
    assert len(ids) == len(bad)
    desk.script = lambda request: Answer(200, delay_s=0.002)
    answers = []

    def operate(n):
        for i, message_id in enumerate(ids):
            what = "retry" if (i + n) % 2 else "discard"
            answers.append((what, relay.api("POST", f"/api/v1/messages/{message_id}/{what}").status))
    threads = [threading.Thread(target=operate, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    relay.wait_settled()
    assert {status for _, status in answers} <= {200, 202, 409}
    ends = {m["id"]: m["state"] for m in relay.messages() if m["id"] in ids}
    assert set(ends.values()) <= {"delivered", "discarded"}
    taken = [r.notes["webhook_id"].rsplit("_", 1)[1] for r in desk.posts() if r.status == 200 and r.notes["key"] in bad]
    assert sorted(taken) == sorted(i for i, state in ends.items() if state == "delivered"), "delivered means taken once, discarded never"
    relay.check_sum()


def test_a_settle_time_is_waited_out(build, telegram, intercom):         # noqa: F811
    line = Line(build(delivery={"settle": f"{2 * SLOW}s"}), telegram, intercom)
    relay = line.relay.allow("desk_suspended")
    line.first()
    relay.wait_settled()
    intercom.fault(IS_REPLY, Drop(), apply=True)
    line.say("second")
    doubtful = wait_for(lambda: (lambda m: len(m) == 1 and m[0]["in_doubt"] and m[0])(relay.messages(state="pending")), "in doubt")
    lane = relay.get("/api/v1/lanes")["items"][0]
    assert lane["waits_for"] == "settle" and lane["until"]
    by_hand(relay, "retry", doubtful["id"])
    relay.wait_settled()
    lost = next(r for r in intercom.journal if IS_REPLY(r))
    looked = next(r for r in intercom.journal if IS_LOOKUP(r) and r.number > lost.number)
    assert looked.start - lost.end >= 2 * SLOW - 0.05
    assert sum(1 for r in intercom.journal if IS_REPLY(r)) == 1


def make_skipped(relay, count):
    """Turns the last `count` pending messages into skipped ones, as if each had failed; the relay is down."""
    connection = sqlite3.connect(relay.database)
    with connection:
        connection.execute("UPDATE messages SET state = 2, reason = 2, attempts = 5, changed_at = received_at + 1 WHERE state = 0")
        connection.execute("DELETE FROM waiting")
        connection.execute("UPDATE totals SET skipped = skipped + ?, sum = NULL", (count,))
    connection.close()


def test_all_skipped_ones_of_an_account_oldest_first(make_relay, desk):
    count = 1500 // SLOW
    relay = make_relay([account("acme", desk.config(), order="conversation"), account("other", desk.config())]).start()
    relay.set_active("acme", False)
    relay.set_active("other", False)
    WebhookSource(relay, "acme").flood(count)
    WebhookSource(relay, "other").send("o0")
    relay.stop()
    make_skipped(relay, count + 1)
    relay.start()
    assert relay.check_sum()["skipped"] == count + 1
    done = relay.cli("retry", "--account", "acme", "--skipped")
    assert done.stdout == f"{count} skipped messages of acme go to the tails of their lanes\n" and done.stderr == ""
    assert relay.check_sum()["skipped"] == 1, "the other account's stay"
    assert relay.api("POST", "/api/v1/accounts/acme/retry?state=skipped").json == {"retried": 0, "more": False, "next": None}
    lanes = {}
    for place, lane in relay.query("SELECT id, lane FROM messages WHERE account_id = 1 ORDER BY place"):
        lanes.setdefault(lane, []).append(place)
    assert all(ids == sorted(ids) for ids in lanes.values()), "oldest first in each lane"
    relay.set_active("acme", True)
    desk.wait_taken(count, timeout_s=60 * SLOW)
    wait_for(lambda: relay.status()["pending"] == 0, "all delivered")
    relay.set_active("other", True)
    relay.cli("retry", "--account", "other", "--skipped")
    desk.wait_taken(count + 1)
    for target, status in (("/api/v1/accounts/nobody/retry?state=skipped", 404), ("/api/v1/accounts/acme/retry", 400),
                           ("/api/v1/accounts/acme/retry?state=pending", 400), ("/api/v1/accounts/acme/retry?state=skipped&after=zz", 400)):
        assert relay.api("POST", target).status == status, target
