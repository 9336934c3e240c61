"""The promise, clause by clause: accounted for at every instant, once in, in order, an outage skips nothing, once out."""
import random
import signal
import threading
import time

import pytest

from harness.client import Crowd, WebhookSource
from harness.common import CANARY, SLOW, make_secret, text_of, wait_for
from harness.record import Sampler, assert_good, webhook_history
from harness.relay import account, webhook_source
from harness.scripted import Answer, Drop, Raw, Server, Stall


def noisy(seed, share=0.2):
    """A desk's script: a share of the requests goes wrong in one way or another."""
    chance = random.Random(seed)
    ways = [lambda: Answer(500), lambda: Answer(502), lambda: Answer(503), lambda: Answer(429), lambda: Drop(), lambda: Drop(reset=True),
            lambda: Raw(b"HTTP/1.1 200 OK\r\nContent-Le"), lambda: Answer(200, delay_s=0.03)]
    return lambda request: chance.choice(ways)() if request.method == "POST" and chance.random() < share else None


@pytest.mark.parametrize("order", ["account", "conversation"])
def test_everything_holds_under_traffic_and_faults(make_relay, desk, order):
    relay = make_relay([account("acme", desk.config(), order=order)], delivery={"max_attempts": 50, "retry_cap": "100ms"}).allow(".*").start()
    source = WebhookSource(relay, "acme")
    desk.script = noisy(5)
    sampler = Sampler(relay)
    crowd = Crowd(source, lanes=6, per_lane=40)
    crowd.join()
    came = lambda: [r.headers.get("webhook-id") for r in desk.posts()]
    wait_for(lambda: len(set(came())) < len(came()), "a message that was sent again")
    desk.script = None
    relay.wait_settled(60 * SLOW)
    report = assert_good(webhook_history(relay, source, desk, lane=order, sums=sampler.end()))
    assert report.counts["acked"] == 240 and report.counts["repeated"] > 0 and len(sampler.samples) > 5
    relay.verify()


def test_order_rule_changed_under_traffic_keeps_each_conversation_in_order(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow(".*").start()
    source = WebhookSource(relay, "acme")
    desk.script = noisy(9, 0.1)
    crowd = Crowd(source, lanes=6, per_lane=40)
    for i, step in enumerate((40, 80, 120, 160)):
        wait_for(lambda: crowd.acked() >= step or crowd.done(), "traffic")
        relay.config["accounts"][0]["order"] = "conversation" if i % 2 else "account"
        relay.write_config()
        relay.cli("reload")
        source.deliver(f"after-{i}", "after-reloads")  # there is one behind the first reload, however fast the crowd was
        if i == 2:
            relay.kill()
            relay.start()
    crowd.join()
    desk.script = None
    relay.wait_settled(60 * SLOW)
    assert_good(webhook_history(relay, source, desk))
    lanes = relay.query("SELECT DISTINCT lane & 3 FROM messages")
    assert {kind for kind, in lanes} == {0, 1}  # both rules were in force
    relay.verify()


@pytest.mark.parametrize("seed", range(2))
def test_definitions_changed_again_and_again_under_traffic_lose_nothing(make_relay, desk, make_telegram, seed):
    """Whatever a reload can change of an account while its messages are on their way: rule, activity, secrets, the bot's mode and secret,
    sources that go and come. All at once, two reloads at a time now and then."""
    chance, bot = random.Random(seed), make_telegram()
    sources = [webhook_source(), webhook_source("site", make_secret()), bot.config()]
    relay = make_relay([account("acme", desk.config(), list(sources), order="conversation")], public_url="https://relay.example.test").allow(".*").start()
    source, definition = WebhookSource(relay, "acme"), relay.config["accounts"][0]
    changes = [lambda: definition.update(order=chance.choice(["account", "conversation"])), lambda: definition.update(active=chance.random() < 0.6),
               lambda: sources[1].update(secret=make_secret()), lambda: sources[2].update(secret=f"kanarie-{chance.randrange(10**9)}"),
               lambda: sources[2].update(mode=chance.choice(["webhook", "polling"])), lambda: definition.update(sources=sources[:chance.randrange(1, 4)])]
    sampler, crowd = Sampler(relay), Crowd(source, lanes=6, per_lane=60 // SLOW)
    reloads = 0
    while not crowd.done() or reloads < 20:
        chance.choice(changes)()
        relay.write_config()
        if chance.random() < 0.3:
            relay.send_signal(signal.SIGHUP)
        relay.cli("reload")
        reloads += 1
    crowd.join()
    definition.update(active=True, sources=sources)
    relay.write_config()
    relay.cli("reload")
    relay.wait_settled(60 * SLOW)
    assert_good(webhook_history(relay, source, desk, sums=sampler.end()))
    relay.verify()


def test_sum_holds_at_every_moment_through_kills_and_switches(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow(".*").start()
    source = WebhookSource(relay, "acme")
    desk.script = noisy(6, 0.1)
    sampler = Sampler(relay)
    crowd = Crowd(source, lanes=6, per_lane=60)
    for i, step in enumerate((60, 120, 180, 240)):
        wait_for(lambda: crowd.acked() >= step or crowd.done(), "traffic")
        if i % 2:
            relay.set_active("acme", False)
            relay.set_active("acme", True)
        else:
            relay.kill()
            relay.start()
    crowd.join()
    desk.script = None
    relay.wait_settled(60 * SLOW)
    report = assert_good(webhook_history(relay, source, desk, sums=sampler.end()))
    assert report.counts["acked"] == 360
    relay.verify()


def test_events_sent_again_while_the_first_are_on_their_way(source, relay, desk):
    desk.script = noisy(7, 0.1)
    relay.allow(".*")
    doubles = [Crowd(source, lanes=4, per_lane=30) for _ in range(3)]
    for crowd in doubles:
        crowd.join()
    desk.script = None
    relay.wait_settled(60 * SLOW)
    assert relay.status()["accepted"] == 120
    keys = list(dict.fromkeys(r.notes["key"] for r in desk.posts()))
    for lane in range(4):
        assert [k for k in keys if k.startswith(f"{lane}-")] == [f"{lane}-{i:05d}" for i in range(30)]


@pytest.mark.parametrize("order", ["account", "conversation"])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart_with_a_backlog_goes_on_in_order(make_relay, desk, order, how):
    relay = make_relay([account("acme", desk.config(), order=order)]).allow("desk_suspended").start()
    source = WebhookSource(relay, "acme")
    desk.refuse()
    for i in range(40):
        source.send(f"m{i}", f"c{i % 4}")
    for _ in range(2):
        (relay.stop if how == "stop" else relay.kill)()
        relay.start()
        assert relay.status()["pending"] == 40
    desk.listen()
    desk.wait_taken(40)
    relay.wait_settled()
    assert_good(webhook_history(relay, source, desk, lane=order))
    if order == "account":
        assert desk.keys() == [f"m{i}" for i in range(40)]
    else:
        for c in range(4):
            assert [k for k in desk.keys() if int(k[1:]) % 4 == c] == [f"m{i}" for i in range(c, 40, 4)]


def test_order_account_is_one_at_a_time_over_all_conversations_and_sources(make_relay, desk):
    sources = [{"name": n, "platform": "webhook", "secret": "none"} for n in ("one", "two")]
    relay = make_relay([account("acme", desk.config(), sources, order="account")]).start()
    desk.script = lambda request: Answer(200, delay_s=0.01)
    senders = [WebhookSource(relay, "acme", name) for name in ("one", "two")]
    for i in range(20):
        senders[i % 2].send(f"m{i}", f"c{i % 5}")
    desk.wait_taken(20)
    relay.wait_settled()
    posts = desk.posts()
    assert [r.notes["key"] for r in posts] == [f"m{i}" for i in range(20)]
    assert all(before.end <= after.start for before, after in zip(posts, posts[1:]))


def test_conversation_that_fails_holds_no_other_up(source, relay, desk):
    gate = threading.Event()
    relay.allow("attempt_.*", "message_.*")
    desk.script = lambda request: Answer(500) if request.notes.get("key") == "bad-0" and not gate.is_set() else None
    source.send("bad-0", "c-bad")
    source.send("bad-1", "c-bad")
    for i in range(10):
        source.send(f"m{i}", f"c{i}")
    desk.wait_requests(lambda _: len(desk.keys()) >= 10, "the others")
    assert not [k for k in desk.keys() if k == "bad-1"]
    gate.set()
    relay.wait_settled()


# Once out

def test_request_on_a_reused_connection_that_is_closed_is_not_repeated_behind_our_back(make_relay, desk):
    """libcurl sends a POST again by itself when a reused connection is closed without an answer, and reports one success. Then a message
    would reach the desk twice with one attempt on record. Every request at the desk must be an attempt that the relay knows of."""
    relay = make_relay([account("acme", desk.config())]).allow("desk_suspended", "attempt_.*", "message_.*").start()
    source = WebhookSource(relay, "acme")
    source.send("m0")
    desk.wait_taken(1)
    relay.wait_settled()
    reused = []

    def script(request):
        if request.method == "POST" and request.on_connection > 1 and len(reused) < 5 and request.notes["key"] not in reused:
            reused.append(request.notes["key"])
            return Drop()
        return None
    desk.script = script
    for i in range(1, 11):
        source.send(f"m{i}")
        relay.wait_settled()
    assert len(reused) == 5, "no request came on a reused connection"
    for item in relay.messages():
        key = item["text"].split(" ")[0]
        posts = [r for r in desk.posts() if r.notes["key"] == key]
        known = item["attempts"]  # the desk is well otherwise, so that a lost answer counts
        assert len(posts) == (2 if key in reused else 1)
        assert len({r.notes["webhook_id"] for r in posts}) == 1
        assert known == len(posts), f"{key}: {len(posts)} requests at the desk, {known} attempts on record"


def test_webhook_id_is_the_same_on_every_attempt_and_of_no_other_message(source, relay, desk):
    relay.allow(".*")
    failures = [Answer(500), Drop(), Answer(503), Answer(429), Raw(b"HTTP/1.1 2")]
    desk.next_actions += failures
    source.send("m0")
    source.send("m1")
    relay.wait_settled()
    ids = [(r.notes["key"], r.notes["webhook_id"]) for r in desk.posts()]
    assert len({i for k, i in ids if k == "m0"}) == 1 and len({i for k, i in ids if k == "m1"}) == 1 and len(set(i for _, i in ids)) == 2


# An outage skips nothing

OUTAGES = {"503": lambda desk: Answer(503), "502": lambda desk: Answer(502), "504": lambda desk: Answer(504), "429": lambda desk: Answer(429), "408": lambda desk: Answer(408),
           "401": lambda desk: Answer(401), "403": lambda desk: Answer(403), "404": lambda desk: Answer(404), "405": lambda desk: Answer(405), "410": lambda desk: Answer(410),
           "dropped": lambda desk: Drop(), "reset": lambda desk: Drop(reset=True)}


@pytest.mark.parametrize("name", OUTAGES)
def test_outage_counts_no_attempt_and_skips_nothing(source, relay, desk, name):
    """For as long as it lasts: many more tries than max_attempts would allow."""
    relay.allow("desk_suspended", "attempt_.*", *(["alarm", "alarm_end"] if name in ("401", "403", "404", "405", "410") else []))
    out = threading.Event()
    out.set()
    desk.script = lambda request: OUTAGES[name](desk) if out.is_set() else None
    for i in range(4):
        source.send(f"m{i}", f"c{i % 2}")
    desk.wait_requests(3, "tries during the outage")
    wait_for(lambda: [d["state"] for d in relay.status()["desks"]] == ["suspended"], "the desk is shown as suspended")
    if name in ("401", "403", "404", "405", "410"):
        wait_for(lambda: relay.status()["alarms"], "an alarm")
    else:
        assert not relay.status()["alarms"]
    assert {m["attempts"] for m in relay.messages()} <= {0} and relay.status()["skipped"] == 0
    out.clear()
    desk.wait_taken(4, 60 * SLOW)
    relay.wait_settled()
    status = relay.status()
    assert status["delivered"] == 4 and not status["alarms"] and [d["state"] for d in status["desks"]] == ["ok"]


def test_receiver_that_knows_only_post_is_found_well_again(source, relay, desk):
    """It answers 405 to the probe: whoever answers can take a message."""
    relay.allow("desk_suspended")
    failures = [Answer(429), Drop(), Answer(503)]
    desk.script = lambda request: Answer(405) if request.method == "HEAD" else failures.pop() if failures else None
    source.send("m0")
    relay.wait_settled(60 * SLOW)
    assert desk.keys() == ["m0"] and relay.status()["delivered"] == 1


def test_desk_that_cannot_be_reached_at_all(source, relay, desk):
    relay.allow("desk_suspended")
    desk.refuse()
    for i in range(20):
        source.send(f"m{i}", f"c{i}")
    wait_for(lambda: [d["state"] for d in relay.status()["desks"]] == ["suspended"], "suspended")
    assert {m["attempts"] for m in relay.messages()} == {0}
    desk.listen()
    desk.wait_taken(20)
    relay.wait_settled()


def test_message_that_breaks_the_desk_does_not_block_its_lane_for_ever(make_relay, desk):
    """The desk drops one message's request each time and is well otherwise: counted, given up, the lane goes on."""
    relay = make_relay([account("acme", desk.config())], delivery={"max_attempts": 3}).allow("desk_suspended", "attempt_.*", "message_skipped").start()
    source = WebhookSource(relay, "acme")
    desk.script = lambda request: Drop() if request.notes.get("key") == "m1" else None
    for i in range(3):
        source.send(f"m{i}")
    relay.wait_settled()
    assert desk.keys() == ["m0", "m2"]
    assert [m["text"] for m in relay.messages(state="skipped")] == [text_of("m1")]


def test_refused_message_is_skipped_at_once(source, relay, desk):
    relay.allow("message_skipped", "attempt_.*")
    for i, status in enumerate((400, 413, 415, 422)):
        desk.next_actions += [Answer(status), Answer(200)]
        source.send(f"bad{i}")
        source.send(f"good{i}")
        relay.wait_settled()
    assert desk.keys() == [f"good{i}" for i in range(4)] and len(desk.posts()) == 8
    assert [(m["attempts"], m["reason"]) for m in relay.messages(state="skipped")] == [(1, "rejected")] * 4


@pytest.mark.parametrize("status", [400, 500])
def test_mass_skip_guard(make_relay, desk, status):
    """A desk that refuses everything skips five in a row at most; then it is an outage that calls for help. A person says go on."""
    relay = make_relay([account("acme", desk.config())], delivery={"max_attempts": 2}).allow(".*").start()
    source = WebhookSource(relay, "acme")
    bad = threading.Event()
    bad.set()
    desk.script = lambda request: Answer(status) if request.method == "POST" and bad.is_set() else None
    for i in range(12):
        source.send(f"m{i:02d}")
    seen = wait_for(lambda: (lambda s: (s["alarms"] or not s["pending"]) and s)(relay.status()), "an alarm", 60 * SLOW)
    assert (seen["skipped"], seen["pending"]) == (5, 7)
    assert [(d["state"], d["reason"]) for d in seen["desks"]] == [("suspended", "guard")]
    relay.restart()  # count and suspension are in the store
    seen = wait_for(lambda: (lambda s: s["desks"][0]["reason"] == "guard" and s)(relay.status()), "the guard outlives the restart")
    assert (seen["skipped"], seen["pending"]) == (5, 7)
    bad.clear()
    assert relay.api("POST", "/api/v1/accounts/acme/desk/resume").status in (200, 202, 204)
    relay.wait_settled()
    assert desk.keys() == [f"m{i:02d}" for i in range(5, 12)]
    assert not relay.status()["alarms"]


# What a desk may answer

@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(source, relay, desk, status):
    desk.next_actions.append(Answer(status))
    source.send("m0")
    relay.wait_settled()
    assert relay.status()["delivered"] == 1 and len(desk.posts()) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(source, relay, desk, status):
    """Neither text nor signature may go where an answer points."""
    relay.allow("attempt_.*", "message_.*")
    elsewhere = Server()
    try:
        desk.next_actions.append(Answer(status, headers=[("Location", elsewhere.url + "/in")]))
        source.send("m0")
        relay.wait_settled()
        assert relay.status()["delivered"] == 1 and len(desk.posts()) == 2 and not elsewhere.journal
    finally:
        elsewhere.stop()


RETRY_AFTER = {"seconds": ("2", 1.9, 8), "date": (None, 1.0, 8), "zero": ("0", 0, 8), "negative": ("-5", 0, 8), "junk": ("soon", 0, 8),
               "fraction": ("1.5", 0, 8)}


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_retry_after(source, relay, desk, name):
    relay.allow("desk_suspended")
    value, least, most = RETRY_AFTER[name]
    if value is None:
        value = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
    desk.next_actions.append(Answer(429, headers=[("Retry-After", value)]))
    source.send("m0")
    relay.wait_settled()
    first, second = desk.posts()
    assert least <= second.start - first.end <= most * SLOW
    assert not [r for r in desk.requests("HEAD") if first.end < r.start < first.end + least], "asked before its time"


HOSTILE = {
    "headers without end": lambda: Raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200_000),
    "a header of a MiB": lambda: Raw(b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (1 << 20) + b"\r\n\r\n"),
    "chunked garbage": lambda: Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
    "a head cut in a header": lambda: Raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a head cut after a line": lambda: Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
    "a cut status line": lambda: Raw(b"HTTP/1.1 200"),
    "100 and no more": lambda: Raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "101": lambda: Raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    "a shorter body": lambda: Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
    "a flood of 1xx": lambda: Raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000),
    "no status line": lambda: Raw(b"hello\r\n\r\n"),
    "a status of two digits": lambda: Raw(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    "a status beyond all": lambda: Raw(b"HTTP/1.1 666 Beast\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/0.9": lambda: Raw(b"fine"),
    "another protocol": lambda: Raw(b"220 mail.example ESMTP\r\n"),
    "compressed without being asked": lambda: Raw(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_lose_nothing_and_double_nothing(source, relay, desk, name):
    relay.allow("desk_suspended", "attempt_.*")
    desk.next_actions.append(HOSTILE[name]())
    source.send("m0")
    source.send("m1")
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"], "only a whole answer means taken"
    assert relay.status()["delivered"] == 2


@pytest.mark.release_only
def test_answer_of_gigabytes_is_not_kept_in_memory(source, relay, desk):
    """Sent until the relay has enough of it; its memory stays bounded."""
    relay.allow("desk_suspended", "attempt_.*")
    desk.next_actions.append(Raw(b"HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n" + b"x" * (200 << 20)))
    source.send("m0")
    relay.wait_settled(60)
    with open(f"/proc/{relay.process.pid}/status") as file:
        peak = int(next(l for l in file if l.startswith("VmHWM")).split()[1])
    assert peak < 100 * 1024, f"{peak} KiB"
    assert desk.keys() == ["m0"]


def test_answer_that_trickles_ends_with_the_timeout(make_relay, desk):
    relay = make_relay([account("acme", desk.config())], delivery={"timeout": "1s"}).allow("desk_suspended", "attempt_.*").start()
    source = WebhookSource(relay, "acme")
    desk.next_actions += [Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000, trickle_s=0.05), Stall()]
    source.send("m0")
    source.send("m1")
    relay.wait_settled(60 * SLOW)
    assert desk.keys() == ["m0", "m1"]
    assert all(r.end - r.start < 3 * SLOW for r in desk.posts())


# Skew between what is asked and what comes

def test_backlog_of_one_lane_holds_no_other_account_up(make_relay, desk):
    """Fairness: with thousands waiting in one lane, a message of another account is at the desk soon."""
    count = 2000 // SLOW
    relay = make_relay([account("acme", desk.config()), account("zenith", desk.config())]).start()
    desk.script = lambda request: Answer(200, delay_s=0.01)
    acme, zenith = WebhookSource(relay, "acme"), WebhookSource(relay, "zenith")
    acme.flood(count)
    began = time.monotonic()
    zenith.send("z0")
    desk.wait_requests(lambda journal: any(r.notes.get("key") == "z0" for r in journal[-400:]), "the other account's message")
    took, backlog = time.monotonic() - began, relay.status()["pending"]
    assert took < 1 * SLOW and backlog > count // 2, (took, backlog)
    desk.script = None
    relay.wait_settled(120 * SLOW)
    assert [k for k in desk.keys() if k != "z0"] == [f"m{i:05d}" for i in range(count)]


def test_mixed_text_of_every_kind_is_in_no_log(source, relay):
    for i, words in enumerate(("\x1b[31mred\x1b[0m", "line\r\nbreak", '"level":"error"')):
        source.send(f"m{i}", f"conv\u2028{i}", words=words)
    relay.wait_settled()
    assert CANARY not in "\n".join(relay.lines)


@pytest.mark.release_only
def test_more_requests_in_flight_than_one_client_of_libcurl_carries(make_relay, desk):
    """Beyond 128 they are another one's: all the same to lanes, order and a stop."""
    relay = make_relay([account("acme", desk.config(), order="conversation")], delivery={"concurrency": 300}).start()
    source = WebhookSource(relay, "acme")
    in_flight = []

    def slow(request):
        if request.method != "POST":
            return None
        in_flight.append(sum(1 for r in desk.posts() if r.end is None))
        return Answer(200, delay_s=1)  # long beside what a busy machine adds: the window grows up to twice the best time
    desk.script = slow
    crowd = Crowd(source, lanes=400, per_lane=4)
    crowd.join()
    relay.wait_settled(60 * SLOW)
    assert_good(webhook_history(relay, source, desk, lane="conversation"))
    assert 140 < max(in_flight) <= 300
