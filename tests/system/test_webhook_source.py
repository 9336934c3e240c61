"""The signed webhook as a source: signatures, what is refused and with which status, once in, and the answer only after the commit."""
import json
import socket
import struct
import threading
import time

import pytest

from harness.client import RawConnection, WebhookSource, call
from harness.common import CANARY, make_secret, sign, text_of
from harness.relay import account, webhook_source
from harness.scripted import Stall

SECRET = make_secret()


@pytest.fixture
def signed_relay(make_relay, desk):
    return make_relay([account("acme", desk.config(), [webhook_source(secret=SECRET)])]).start()


@pytest.fixture
def signed(signed_relay):
    return WebhookSource(signed_relay, "acme", secret=SECRET)


def test_signed_message_reaches_the_desk_as_described(signed, signed_relay, desk):
    event = signed.event("m1", "room 7", sent_at="2026-03-01T10:20:30.456Z")
    answer = signed.post(event)
    assert answer.status == 200
    desk.wait_taken(1)
    body = desk.posts()[0].notes["body"]
    assert body["account"] == "acme" and body["source"] == "hook" and body["platform"] == "webhook" and body["direction"] == "inbound"
    assert body["conversation"] == "room 7" and body["sender"] == {"id": "u-room 7", "name": "Ada"} and body["text"] == event["text"]
    assert body["sent_at"] == "2026-03-01T10:20:30.456Z" and body["late"] is False and body["attachments"] == []


@pytest.mark.parametrize("words", [
    "Grüße 👩‍👩‍👧 ünï", "\u202eright to left\u202c", "zero\u200bwidth", "<script>alert(1)</script> & \"quotes\" 'too'", "=1+1;@SUM(A1)",
    "tab\tnew\nline\r\nback\\slash /slash", "x" * 100_000, "  spaces at the end  ", "\u0001\u007f\u0085\ufeff\uffff"],
    ids=["emoji", "rtl", "zero-width", "html", "formula", "escapes", "long", "spaces", "controls"])
def test_text_arrives_unchanged(source, desk, words):
    event = source.event("m1", words=words)
    assert source.post(event).status == 200
    desk.wait_taken(1)
    assert desk.posts()[0].notes["body"]["text"] == event["text"]


def test_attachments_are_handed_on(source, desk):
    source.relay.allow("file_failed")
    # An address that leads inside is not fetched: it goes on as the sender's, and says so.
    event = source.event("m1", attachments=[{"kind": "image", "url": "http://127.0.0.1:9/a.png", "name": "a.png", "mime": "image/png", "size": 12}])
    assert source.post(event).status == 200
    desk.wait_taken(1)
    (file,) = desk.posts()[0].notes["body"]["attachments"]
    assert file.pop("state") in ("wanted", "failed")
    file.pop("why", None)
    assert [file] == event["attachments"]


def forged(signed):
    """name: headers that must not be taken"""
    body = json.dumps(signed.event("m1")).encode()
    good = signed.signed(body, "evt_1")
    now = int(time.time())
    right = good["webhook-signature"]
    at = lambda stamp: {"webhook-timestamp": str(stamp), "webhook-signature": sign(SECRET, "evt_1", str(stamp), body)}
    changes = {
        "no signature": {"webhook-signature": None},
        "no id": {"webhook-id": None},
        "no timestamp": {"webhook-timestamp": None},
        "empty signature": {"webhook-signature": ""},
        "version without a value": {"webhook-signature": "v1,"},
        "cut signature": {"webhook-signature": right[:-4]},
        "longer signature": {"webhook-signature": right + "AAAA"},
        "other version": {"webhook-signature": "v2" + right[2:]},
        "no version": {"webhook-signature": right[3:]},
        "other secret": {"webhook-signature": sign(make_secret(), "evt_1", good["webhook-timestamp"], body)},
        "other id": {"webhook-id": "evt_2"},
        "other timestamp": {"webhook-timestamp": str(now - 1)},
        "re-serialised body": {"webhook-signature": sign(SECRET, "evt_1", good["webhook-timestamp"], json.dumps(json.loads(body), indent=1).encode())},
        "upper case": {"webhook-signature": "v1," + right[3:].upper()},
        "hexadecimal": {"webhook-signature": "v1," + "ab" * 32},
        "old": at(now - 301 - 5),
        "future": at(now + 301 + 30),
        "timestamp a word": at("hello"),
        "timestamp negative": at(-now),
        "timestamp zero": at(0),
        "timestamp beyond 64 bits": at("9" * 30),
        "timestamp a fraction": at(f"{now}.5"),
    }
    return body, good, changes


def test_forged_requests_are_401_and_leave_nothing(signed, signed_relay):
    body, good, changes = forged(signed)
    for name, change in changes.items():
        answer = signed.post(body, {**good, **change})
        assert answer.status == 401, f"{name}: {answer}"
        assert CANARY not in answer.body.decode()
    assert signed_relay.status()["accepted"] == 0
    assert signed.post(body, good).status == 200
    assert signed_relay.status()["accepted"] == 1


def test_one_right_signature_among_several_suffices(signed, signed_relay):
    body = json.dumps(signed.event("m1")).encode()
    good = signed.signed(body, "evt_1")
    others = [sign(make_secret(), "evt_1", good["webhook-timestamp"], body), "v2,AAAA", "v1a,AAAA"]
    assert signed.post(body, {**good, "webhook-signature": " ".join(others + [good["webhook-signature"]])}).status == 200
    assert signed_relay.status()["accepted"] == 1


def test_signature_right_for_another_account_is_401(make_relay, desk):
    other = make_secret()
    relay = make_relay([account("acme", desk.config(), [webhook_source(secret=SECRET)]),
                        account("zenith", desk.config(), [webhook_source(secret=other)])]).start()
    acme, zenith = WebhookSource(relay, "acme", secret=SECRET), WebhookSource(relay, "zenith", secret=other)
    body = json.dumps(acme.event("m1")).encode()
    assert zenith.post(body, acme.signed(body)).status == 401
    assert acme.post(body).status == 200


# What is refused

MALFORMED = {
    "empty": b"", "a word": b"hello", "cut": b'{"id":"a","conversation":"c"', "a list": b"[]", "a number": b"1", "null": b"null",
    "trailing junk": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t"} x',
    "no id": b'{"conversation":"c","sender":{"id":"1","name":"n"},"text":"t"}',
    "no conversation": b'{"id":"a","sender":{"id":"1","name":"n"},"text":"t"}',
    "id a number": b'{"id":7,"conversation":"c","sender":{"id":"1","name":"n"},"text":"t"}',
    "id empty": b'{"id":"","conversation":"c","sender":{"id":"1","name":"n"},"text":"t"}',
    "text a list": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":["t"]}',
    "sender a word": b'{"id":"a","conversation":"c","sender":"x","text":"t"}',
    "attachments a word": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t","attachments":"x"}',
    "sent_at junk": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t","sent_at":"yesterday"}',
    "NaN": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t","x":NaN}',
    "single quotes": b"{'id':'a'}",
    "invalid UTF-8": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t\xff\xfe"}',
    "overlong UTF-8": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t\xc0\xaf"}',
    "encoded surrogate": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t\xed\xa0\x80"}',
    "lone surrogate": b'{"id":"a","conversation":"c","sender":{"id":"1","name":"n"},"text":"t\\ud800"}',
}


def test_malformed_bodies_are_400_and_leave_nothing(source, relay):
    wrong = {}
    for name, body in MALFORMED.items():
        status = source.post(body).status
        if status != 400:
            wrong[name] = status
    assert not wrong
    assert relay.status()["accepted"] == 0
    source.send("m1")


def test_body_that_is_odd_but_valid_is_all_there_or_refused(source, relay, desk):
    """A NUL inside a string, a byte order mark, a key twice, a deep nest in a field that we do not read: refused, or handed on to the
    last character; never half."""
    head, tail = '{"id":"%s","conversation":"c","sender":{"id":"1","name":"n"},"text":"', '"}'
    odd = {"nul": (head % "o1" + "o1 " + CANARY + "\\u0000end" + tail).encode(),
           "bom": b"\xef\xbb\xbf" + (head % "o2" + "o2 " + CANARY + tail).encode(),
           "deep": (head % "o4" + "o4 " + CANARY + '","x":' + "[" * 100_000 + "]" * 100_000 + "}").encode(),
           "twice": (head % "o3" + "o3 first" + '","text":"o3 ' + CANARY + tail).encode()}
    texts = {"nul": f"o1 {CANARY}\0end", "bom": f"o2 {CANARY}", "twice": f"o3 {CANARY}", "deep": f"o4 {CANARY}"}
    taken = []
    for name, body in odd.items():
        status = source.post(body).status
        assert status in (200, 400), name
        if status == 200:
            taken.append(texts[name])
    assert relay.status()["accepted"] == len(taken)
    desk.wait_taken(len(taken))
    assert [r.notes["body"]["text"] for r in desk.posts()] == taken


def test_unknown_places_methods_types_and_sizes(source, relay):
    event = source.event("m1")
    body = json.dumps(event).encode()
    headers = source.signed(body)
    to = lambda method, target, body=body, headers=headers: call(relay.port, method, target, body, headers).status
    assert to("POST", "/hooks/acme/nothing") == 404
    assert to("POST", "/hooks/nobody/hook") == 404
    assert to("POST", "/hooks/acme") == 404
    assert to("POST", "/hooks/acme/hook/more") == 404
    assert to("POST", "/") == 404
    assert to("GET", "/api/v1/status", None, {}) == 404, "the admin API is not for the public"
    assert to("POST", "/hooks/acme%00/hook") in (400, 404)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert to(method, "/hooks/acme/hook") == 405, method
    assert to("GET", "/hooks/acme/hook", None, {}) in (404, 405), "no handshake on this platform"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"):
        assert to("POST", "/hooks/acme/hook", headers={**headers, "Content-Type": kind}) == 415, kind
    assert to("POST", "/hooks/acme/hook", headers={**headers, "Content-Encoding": "gzip"}) == 415
    assert call(relay.port, "GET", "/healthz").status == 200
    assert relay.status()["accepted"] == 0
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        assert to("POST", "/hooks/acme/hook", headers={**headers, "Content-Type": kind}) == 200, kind
    assert relay.status()["accepted"] == 1


# Once in

def test_same_event_again_is_200_and_stored_once(source, relay, desk):
    for _ in range(5):
        assert source.post(source.event("m1")).status == 200
    source.send("m2")
    desk.wait_taken(2)
    relay.wait_settled()
    assert desk.keys() == ["m1", "m2"] and relay.status()["accepted"] == 2
    assert relay.metrics()['tributary_messages_duplicate_total{platform="webhook",direction="inbound"}'] == 4


def test_same_event_again_after_restart_and_kill(source, relay, desk):
    source.send("m1")
    desk.wait_taken(1)
    relay.restart()
    assert source.post(source.event("m1")).status == 200
    relay.kill()
    relay.start()
    assert source.post(source.event("m1")).status == 200
    source.send("m2")
    assert desk.wait_taken(2)[-1] == "m2"
    relay.wait_settled()
    assert relay.status()["accepted"] == 2


def test_same_event_on_many_connections_at_once_is_stored_once(source, relay):
    for round_number in range(10):
        event = source.event(f"m{round_number}")
        start = threading.Barrier(8)
        statuses = []

        def post():
            start.wait()
            statuses.append(source.post(event).status)
        threads = [threading.Thread(target=post) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert statuses == [200] * 8
    assert relay.status()["accepted"] == 10


def test_equal_ids_of_two_accounts_and_sources_are_different_messages(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), [webhook_source("hook"), webhook_source("two")]), account("zenith", desk.config())]).start()
    for name, source_name in (("acme", "hook"), ("acme", "two"), ("zenith", "hook")):
        sender = WebhookSource(relay, name, source_name)
        assert sender.post(sender.event("same")).status == 200
    relay.wait_settled()
    assert relay.status()["accepted"] == 3
    assert sorted((r.notes["body"]["account"], r.notes["body"]["source"]) for r in desk.posts()) == [("acme", "hook"), ("acme", "two"), ("zenith", "hook")]


def test_client_that_leaves_before_the_answer_loses_nothing(source, relay, desk):
    """The event may be stored although the client never saw the answer; its retry must not double it."""
    for i in range(20):
        with RawConnection(relay.port) as connection:
            if i % 2:  # with a reset
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.send(source.raw(source.event(f"m{i}")))
    for i in range(20):
        assert source.post(source.event(f"m{i}")).status == 200
    relay.wait_settled()
    assert relay.status()["accepted"] == 20
    assert sorted(desk.keys()) == sorted({f"m{i}" for i in range(20)})


# Answered only after the commit

def test_message_answered_200_survives_kill_9_at_once(source, relay, desk):
    desk.script = lambda request: Stall() if request.method == "POST" else None
    for i in range(8):
        if i % 2:  # a group: several at once, killed as the first is answered
            first = threading.Event()
            acked = []

            def post(n):
                try:
                    if source.post(source.event(f"m{i}-{n}")).status == 200:
                        acked.append(f"m{i}-{n}")
                        first.set()
                except OSError:
                    pass
                except Exception:  # the connection broke in the middle of an answer
                    pass
            threads = [threading.Thread(target=post, args=(n,)) for n in range(16)]
            [t.start() for t in threads]
            assert first.wait(20)
            relay.kill()
            [t.join() for t in threads]
        else:
            source.send(f"m{i}")
            acked = [f"m{i}"]
            relay.kill()
        relay.start()
        stored = {m["text"] for m in relay.messages()}
        missing = [k for k in acked if text_of(k) not in stored]
        assert not missing
        relay.check_sum()
    desk.script = None
    relay.allow("desk_suspended")
    desk.refuse()  # cuts the request that hangs
    desk.listen()
    relay.wait_settled()
