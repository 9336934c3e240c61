"""The pattern that this relay grew from, one test per statement: received messages go into a table; a per-user messenger takes a
bounded batch of that user's messages in time order and sends each only after the one before succeeded; a message that has failed
five times is reported and skipped; a user can be deactivated and activated again."""
import random
import threading

from harness.client import Crowd, WebhookSource
from harness.common import SLOW, text_of, wait_for
from harness.record import Sampler, assert_good, webhook_history
from harness.relay import account
from harness.scripted import Answer, Drop


def test_received_messages_are_in_the_table_in_order(source, relay, desk):
    """The secondary queue is a table: what was received is there, readable, in order of acceptance, delivered or not."""
    relay.allow("desk_suspended")
    desk.script = lambda request: Answer(503) if request.method == "POST" else None
    for i in range(5):
        source.send(f"m{i}", f"c{i % 2}")
    items = relay.messages(account="acme")
    assert [m["text"] for m in items] == [text_of(f"m{i}") for i in range(5)]
    assert {m["state"] for m in items} == {"pending"}
    desk.script = None
    relay.wait_settled()
    assert [m["state"] for m in relay.messages(account="acme")] == ["delivered"] * 5


def test_order_is_kept_though_the_desk_is_slow_and_fails_now_and_then(source, relay, desk):
    chance = random.Random(7)
    faults = [lambda: Answer(500), lambda: Answer(503), lambda: Answer(429, headers=[("Retry-After", "0")]), lambda: Drop(), lambda: Drop(reset=True),
              lambda: Answer(301, headers=[("Location", "/elsewhere")]), lambda: Answer(200, delay_s=0.05)]
    desk.script = lambda request: chance.choice(faults)() if request.method == "POST" and chance.random() < 0.15 else Answer(200, delay_s=0.002)
    relay.allow(".*")
    sampler = Sampler(relay)
    crowd = Crowd(source, lanes=4, per_lane=25)
    crowd.join()
    desk.script = lambda request: None
    relay.wait_settled()
    report = assert_good(webhook_history(relay, source, desk, sums=sampler.end()))
    assert report.counts["acked"] == 100 and report.counts["repeated"] > 0


def test_next_message_starts_only_after_the_one_before_was_taken(source, relay, desk):
    """Every request of a lane begins after the one before was answered, and a message that fails is tried again before any later one."""
    failing = {"m1": 3, "m3": 2}

    def script(request):
        key = request.notes.get("key")
        if failing.get(key, 0):
            failing[key] -= 1
            return Answer(500)
        return Answer(200, delay_s=0.01)
    desk.script = script
    relay.allow("message_.*", "attempt_.*")
    for i in range(6):
        source.send(f"m{i}")
    relay.wait_settled()
    posts = desk.posts()
    assert [r.notes["key"] for r in posts] == ["m0", "m1", "m1", "m1", "m1", "m2", "m3", "m3", "m3", "m4", "m5"]
    assert all(before.end <= after.start for before, after in zip(posts, posts[1:]))
    assert len({r.notes["webhook_id"] for r in posts}) == 6


def test_many_users_side_by_side(make_relay, make_desk):
    """One user's slow desk holds nobody else up: all others are done while it still has its first message."""
    slow, quick = make_desk(), make_desk()
    gate = threading.Event()
    slow.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    others = [f"user{i}" for i in range(40)]
    relay = make_relay([account("slow", slow.config())] + [account(name, quick.config()) for name in others], delivery={"timeout": "60s"}).start()
    WebhookSource(relay, "slow").send("slow-0")
    slow.wait_requests(lambda journal: any(r.method == "POST" for r in journal), "the slow desk has its message")
    sources = [WebhookSource(relay, name) for name in others]
    for i in range(3):
        for source in sources:
            source.send(f"{source.account}-{i}")
    quick.wait_taken(3 * len(others))
    for name in others:
        assert [k for k in quick.keys() if k.startswith(name + "-")] == [f"{name}-{i}" for i in range(3)]
    wait_for(lambda: relay.status()["pending"] == 1, "all but one on record")
    gate.set()
    slow.wait_taken(1)
    relay.wait_settled()


def test_slow_lanes_run_at_the_same_time(source, relay, desk):
    """Lanes do not wait for one another: each has its request at the desk at the same time (a desk that is new to us gets eight at most)."""
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    for i in range(8):
        source.send(f"m{i}", f"c{i}")
    desk.wait_requests(lambda journal: sum(1 for r in journal if r.method == "POST") == 8, "eight requests at once")
    assert all(r.end is None for r in desk.posts())
    gate.set()
    relay.wait_settled()


def test_bounded_batch_drains_a_long_backlog_in_order(make_relay, desk):
    """A backlog of thousands in one lane: one request at a time, in order, with a window of ten; memory does not grow with it."""
    count = 2000 // SLOW
    relay = make_relay([account("acme", desk.config())], delivery={"window": 10}).start()
    source = WebhookSource(relay, "acme")
    relay.set_active("acme", False)
    source.flood(count)
    assert relay.status()["pending"] == count and not desk.posts()
    relay.restart()
    relay.set_active("acme", True)
    assert desk.wait_taken(count, timeout_s=60 * SLOW) == [f"m{i:05d}" for i in range(count)]
    relay.wait_settled()
    report = assert_good(webhook_history(relay, source, desk, lane="account"))
    assert report.counts["repeated"] == 0


def test_message_that_fails_five_times_is_reported_and_skipped(source, relay, desk):
    desk.script = lambda request: Answer(500) if request.notes.get("key") == "m1" else None
    relay.allow("message_skipped", "attempt_failed")
    for i in range(3):
        source.send(f"m{i}")
    desk.wait_taken(2)
    relay.wait_settled()
    assert [r.notes["key"] for r in desk.posts()] == ["m0"] + ["m1"] * 5 + ["m2"]
    skipped = relay.messages(state="skipped")
    assert [m["text"] for m in skipped] == [text_of("m1")]
    assert skipped[0]["attempts"] == 5 and skipped[0]["last_error"]
    relay.wait_event("message_skipped")
    errors = [e for e in relay.events if e["level"] == "error"]
    assert len(errors) == 1 and skipped[0]["id"] in str(errors[0]), "a skip is one error event that names the message"
    assert relay.metrics()['tributary_messages_skipped_total{platform="webhook",direction="inbound"}'] == 1


def test_deactivated_user_is_silent_and_goes_on_where_it_stopped(make_relay, desk):
    relay = make_relay([account("acme", desk.config()), account("zenith", desk.config())]).start()
    acme, zenith = WebhookSource(relay, "acme"), WebhookSource(relay, "zenith")
    acme.send("a0")
    desk.wait_taken(1)
    assert relay.set_active("acme", False)["active"] is False
    for i in range(1, 25):
        acme.send(f"a{i}")       # still taken: a stop of delivery loses nothing
    zenith.send("z0")
    desk.wait_taken(2)
    assert desk.keys() == ["a0", "z0"]
    relay.restart()              # the switch is durable
    zenith.send("z1")
    desk.wait_taken(3)
    assert desk.keys() == ["a0", "z0", "z1"]
    wait_for(lambda: relay.status()["pending"] == 24, "all but the stopped user's on record")
    assert relay.set_active("acme", True)["active"] is True
    desk.wait_taken(27)
    assert [k for k in desk.keys() if k[0] == "a"] == [f"a{i}" for i in range(25)]
    relay.wait_settled()


def test_deactivation_lets_the_request_in_flight_end_and_starts_no_other(make_relay, desk):
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    relay = make_relay([account("acme", desk.config())], delivery={"timeout": "60s"}).start()
    source = WebhookSource(relay, "acme")
    for i in range(3):
        source.send(f"m{i}")
    desk.wait_requests(lambda journal: len(journal) >= 1, "the first request")
    relay.set_active("acme", False)
    gate.set()
    wait_for(lambda: relay.status()["delivered"] == 1, "the outcome of the request in flight is recorded")
    desk.script = None
    relay.set_active("acme", True)
    desk.wait_taken(3)
    assert desk.keys() == ["m0", "m1", "m2"]
    relay.wait_settled()
    assert all(m["attempts"] <= 1 for m in relay.messages())
