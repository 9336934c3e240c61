"""Intercom as a desk: contact, conversation, replies; what a lost answer, a limit, a merge or a deletion does. Its API has no
idempotency key: only looking first keeps agents from seeing a message twice."""
import threading
import time

import pytest

from harness.common import CANARY, PATIENCE_S, SLOW, text_of, wait_for
from harness.intercom import IS_CONTACT, IS_CREATE, IS_LOOKUP, IS_REPLY, errors, on
from harness.relay import account
from harness.scripted import Answer, Drop, Raw, Stall

SECRET = "kanarie-telegram-secret"
WHO = "telegram:123456789:77"


@pytest.fixture
def build(telegram, intercom, make_relay):
    """build(delivery={...}) starts a relay from Telegram to Intercom. What a lost answer logs is expected here."""
    def make(delivery=None, desk=None, **more):
        relay = make_relay([account("acme", intercom.config(**(desk or {})), [telegram.config(secret=SECRET)], **more)],
                           delivery=delivery, public_url="https://relay.example.test")
        telegram.relay = intercom.relay = relay.start()
        telegram.wait_registered()
        return relay
    return make


@pytest.fixture
def line(build, telegram, intercom):
    return Line(build(), telegram, intercom)


class Line:
    """A customer's line to the inbox."""

    def __init__(self, relay, telegram, intercom):
        self.relay, self.telegram, self.intercom = relay, telegram, intercom
        self.sent = []

    def say(self, key, chat=77, **more):
        update = self.telegram.message(key, chat, **more)
        answer = self.telegram.post(self.relay, "acme", update, secret=SECRET)
        assert answer.status == 200, answer
        self.sent.append(update["message"]["text"])
        return update["message"]

    def settled(self, timeout_s=None):
        self.relay.wait_settled(timeout_s)
        return self.intercom.bodies()

    def first(self):
        """A conversation exists; returns how many requests that took."""
        self.say("first")
        self.intercom.wait_messages(1)
        self.relay.wait_settled()
        return len(self.intercom.journal)

    def assert_once_in_order(self):
        assert self.settled() == self.sent


def test_first_message_makes_contact_and_conversation_later_ones_are_replies(line, intercom):
    said = [line.say("m0", words="Grüße 👋 <b>plain</b>"), line.say("m1", date=1_700_000_000), line.say("m2")]
    line.assert_once_in_order()
    contact = next(iter(intercom.contacts.values()))
    assert (contact["external_id"], contact["role"]) == (WHO, "user") and "Ada" in contact["name"]
    create, *replies = [r.json for r in intercom.writes()]
    assert create["from"] == {"type": "user", "id": contact["id"]} and create["body"] == said[0]["text"]
    assert [b["created_at"] for b in [create] + replies] == [m["date"] for m in said], "the platform's time, also when smaller than the last"
    for body in replies:
        assert body["message_type"] == "comment" and body["type"] == "user" and body["intercom_user_id"] == contact["id"]
    assert len(intercom.conversations) == 1


def test_steady_state_is_one_call_a_message(line, intercom):
    before = line.first()
    for i in range(10):
        line.say(f"m{i}")
    line.assert_once_in_order()
    assert len(intercom.journal) - before == 10
    line.relay.restart()   # the link is durable
    line.say("after")
    line.assert_once_in_order()
    assert len(intercom.journal) - before == 11


def test_customers_have_conversations_of_their_own(line, intercom):
    for i in range(3):
        for chat in (77, 78, 79):
            line.say(f"c{chat}-{i}", chat)
    line.settled()
    for chat in (77, 78, 79):
        assert intercom.keys(f"telegram:123456789:{chat}") == [f"c{chat}-{i}" for i in range(3)]
    assert len(intercom.conversations) == 3


def test_group_is_one_contact_and_texts_carry_names(line, intercom):
    group = {"id": -100200300, "type": "group", "title": "Family"}
    for chat, name in ((81, "Ada"), (82, "Bob")):
        update = line.telegram.message(f"g{chat}", chat)
        update["message"]["chat"] = group
        update["message"]["from"]["first_name"] = name
        update["message"]["from"].pop("last_name")
        assert line.telegram.post(line.relay, "acme", update, secret=SECRET).status == 200
    assert line.settled() == ["Ada: " + text_of("g81"), "Bob: " + text_of("g82")]
    assert [c["external_id"] for c in intercom.contacts.values()] == ["telegram:123456789:-100200300"]


# Contacts

def test_known_contact_is_found_not_made(line, intercom):
    contact = intercom.add_contact(WHO, "Ada")
    line.say("m0")
    line.assert_once_in_order()
    assert list(intercom.contacts) == [contact["id"]] and not [r for r in intercom.journal if IS_CONTACT(r) and r.status == 200]


def test_conflict_on_create_names_the_contact(line, intercom):
    contact = intercom.add_contact(WHO, "Ada")
    intercom.fault(on("GET", r"/contacts/find_by_external_id/.*"), Answer(404, errors("not_found", "User Not Found")))
    line.say("m0")
    line.assert_once_in_order()
    assert list(intercom.contacts) == [contact["id"]]


def test_archived_contact_is_unarchived(line, intercom):
    contact = intercom.add_contact(WHO, "Ada", archived=True)
    line.say("m0")
    line.assert_once_in_order()
    assert not intercom.contacts[contact["id"]]["archived"] and len(intercom.contacts) == 1


def test_merged_contact_is_followed_from_the_start(line, intercom):
    old, new = intercom.add_contact(WHO, "Ada"), intercom.add_contact("someone-else", "Ada L.")
    intercom.merge_contact(old["id"], new["id"])
    line.say("m0")
    line.assert_once_in_order()
    assert intercom.writes()[-1].json["from"]["id"] == new["id"]


def test_contact_merged_later_is_followed(line, intercom):
    line.first()
    old = next(iter(intercom.contacts))
    new = intercom.add_contact("someone-else", "Ada L.")
    intercom.merge_contact(old, new["id"])
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()
    assert intercom.writes()[-1].json["intercom_user_id"] == new["id"]
    assert len(intercom.conversations) == 1


def test_lost_answer_on_contact_create_is_repeated_and_409_tells(line, intercom):
    line.relay.allow("desk_suspended", "attempt_.*")
    intercom.fault(IS_CONTACT, Drop(), apply=True)
    line.say("m0")
    line.assert_once_in_order()
    assert len(intercom.contacts) == 1


def test_contact_too_new_is_waited_for_not_counted(line, intercom):
    intercom.fault(IS_CREATE, Answer(404, errors("not_found", "User Not Found")))
    line.say("m0")
    line.assert_once_in_order()
    assert line.relay.messages()[0]["attempts"] <= 1
    assert len(intercom.contacts) == 1


# Conversations

def test_deleted_conversation_is_replaced(line, intercom):
    line.first()
    old = next(iter(intercom.conversations))
    intercom.delete_conversation(old)
    line.say("m1")
    line.say("m2")
    line.settled()
    assert intercom.keys() == ["first", "m1", "m2"]
    assert len(intercom.conversations) == 2 and len(intercom.contacts) == 1
    new = next(c for c in intercom.conversations if c != old)
    assert intercom.writes()[-1].path == f"/conversations/{new}/reply"


# A lost answer

LOST = {"dropped": Drop(), "reset": Drop(reset=True), "cut": Raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"type":"conv'),
        "garbage": Raw(b"\x00\x01\x02\r\n\r\n"), "502": Answer(502), "504": Answer(504), "503": Answer(503, errors("service_unavailable")),
        "500": Answer(500, errors("server_error")), "200 without sense": Answer(200, b"<html>fine</html>"), "200 empty": Answer(200)}


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
@pytest.mark.parametrize("name", LOST)
def test_lost_answer_to_a_reply_is_settled_by_a_look_up(line, intercom, name, applied):
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    line.first()
    intercom.fault(IS_REPLY, LOST[name], apply=applied)
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()
    journal = intercom.journal
    lost = next(i for i, r in enumerate(journal) if IS_REPLY(r))
    assert any(IS_LOOKUP(r) for r in journal[lost + 1:]), "nothing was looked up"
    again = next(i for i, r in enumerate(journal) if i > lost and (IS_REPLY(r) or IS_CREATE(r)))
    assert any(IS_LOOKUP(r) for r in journal[lost + 1:again]), "sent before it was looked up"
    assert journal[again].notes["key"] == ("m2" if applied else "m1")


def test_look_up_waits_for_settle_after_no_answer(build, telegram, intercom):
    """The desk may still be working on the request: the look-up comes at least `settle` after it."""
    line = Line(build(delivery={"settle": "1500ms"}), telegram, intercom)
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    line.first()
    intercom.fault(IS_REPLY, Drop(), apply=True)
    line.say("m1")
    line.assert_once_in_order()
    lost = intercom.writes()[-1]
    looked = next(r for r in intercom.journal if IS_LOOKUP(r) and r.number > lost.number)
    assert looked.start - lost.end >= 1.5 - 0.05


def test_answer_that_never_comes_is_settled_by_a_look_up(build, telegram, intercom):
    line = Line(build(delivery={"timeout": "1s"}), telegram, intercom)
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    line.first()
    for applied in (True, False):
        intercom.fault(IS_REPLY, Stall(), apply=applied)
        line.say(f"m{applied}")
    line.assert_once_in_order()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
def test_equal_messages_of_one_second_are_told_apart_by_count(line, intercom, applied):
    """Three times "hello" in one second, the answer to the middle one lost: three in the inbox, not two, not four."""
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    line.first()
    same = {"raw_text": "hello " + CANARY, "date": 1_700_000_000}
    line.say("x", **same)
    line.settled()
    intercom.fault(IS_REPLY, Drop(), apply=applied)
    line.say("x", **same)
    line.settled()
    line.say("x", **same)
    line.assert_once_in_order()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
@pytest.mark.parametrize("name", ["dropped", "500", "504", "cut", "200 empty"])
def test_lost_answer_to_a_conversation_create(line, intercom, name, applied):
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    intercom.fault(IS_CREATE, LOST[name], apply=applied)
    line.say("m0")
    line.say("m1")
    line.assert_once_in_order()
    assert len(intercom.conversations) == 1 and len(intercom.contacts) == 1


def test_conversation_create_is_looked_up_twice_settle_apart_before_it_is_repeated(build, telegram, intercom):
    line = Line(build(delivery={"settle": "700ms"}), telegram, intercom)
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    intercom.fault(IS_CREATE, Drop())
    line.say("m0")
    line.assert_once_in_order()
    first, second = intercom.writes()
    looks = [r for r in intercom.journal if first.number < r.number < second.number
             and (r.path == "/conversations/search" or (r.method == "GET" and r.path == "/conversations"))]
    assert len(looks) >= 2 and looks[-1].start - looks[0].start >= 0.65, looks
    assert looks[0].start - first.end >= 0.65


def test_created_conversation_is_found_though_the_search_index_lags(line, intercom):
    """The first look sees nothing yet, the second does."""
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    intercom.fault(IS_CREATE, Drop(), apply=True)
    intercom.search_sees = False
    seen = []

    def script(request):
        if request.path == "/conversations/search" or (request.method == "GET" and request.path == "/conversations"):
            seen.append(request)
            intercom.search_sees = len(seen) > 1
        return None
    intercom.script = script
    line.say("m0")
    line.say("m1")
    line.assert_once_in_order()
    assert len(intercom.conversations) == 1


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
@pytest.mark.parametrize("what", ["reply", "create"])
def test_kill_9_while_a_request_is_at_the_desk(line, intercom, what, applied):
    if what == "reply":
        line.first()
    fault = IS_REPLY if what == "reply" else IS_CREATE
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*", ".*in_doubt.*", "clean.*", "unclean.*", "store_.*")
    intercom.fault(fault, Stall(), apply=applied)
    line.say("m1")
    intercom.wait_requests(lambda journal: any(fault(r) and r.end is None for r in journal), "the request at the desk")
    line.relay.kill()
    line.relay.start()
    line.say("m2")
    line.assert_once_in_order()


def test_retry_by_hand_after_kill_9_still_looks_first(line, intercom):
    """The message had failed once before, so that a person may see it wait and try it now; it is at the desk already."""
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*", ".*in_doubt.*", "clean.*", "unclean.*", "store_.*")
    line.first()
    intercom.fault(IS_REPLY, Answer(302, {}))
    intercom.fault(IS_REPLY, Stall(), apply=True)
    line.say("m1")
    intercom.wait_requests(lambda journal: any(IS_REPLY(r) and r.end is None for r in journal), "the second try")
    line.relay.kill()
    line.relay.start()
    [waiting] = line.relay.messages(state="pending")
    assert line.relay.api("POST", f"/api/v1/messages/{waiting['id']}/retry").status < 300
    line.say("m2")
    line.assert_once_in_order()


def test_look_up_that_fails_decides_nothing(line, intercom):
    """While the desk cannot be asked nothing is sent again."""
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*", "alarm.*")
    line.first()
    intercom.fault(IS_REPLY, Drop(), apply=True)
    intercom.fault(IS_LOOKUP, Answer(500, errors("server_error")), times=2)
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()


# Limits and errors

def test_429_is_obeyed_until_reset_and_counts_no_attempt(line, intercom):
    line.relay.allow("desk_suspended")
    line.first()
    reset = int(time.time()) + 3
    limits = [("X-RateLimit-Limit", "167"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(reset))]
    intercom.fault(IS_REPLY, Answer(429, errors("rate_limit_exceeded", "Exceeded rate limit of 167 in 10_seconds"), limits))
    offset = time.time() - time.monotonic()
    line.say("m1")
    line.say("m2", 78)
    line.settled()
    assert sorted(intercom.keys()) == ["first", "m1", "m2"]
    limited = next(r for r in intercom.journal if r.status == 429)
    later = [r for r in intercom.journal if r.number > limited.number]
    assert later[0].start + offset >= reset, "asked before the window was over"
    assert all(m["attempts"] <= 1 for m in line.relay.messages())


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_message_that_the_desk_refuses_is_skipped_at_once_and_reported(line, intercom, status):
    line.relay.allow("message_skipped", "attempt_.*")
    line.first()
    intercom.fault(IS_REPLY, Answer(status, errors("parameter_invalid", "no")))
    line.say("m1")
    line.say("m2")
    line.settled()
    assert intercom.keys() == ["first", "m2"]
    skipped = line.relay.messages(state="skipped")
    assert [m["text"] for m in skipped] == [text_of("m1")] and skipped[0]["attempts"] == 1 and skipped[0]["reason"] == "rejected"


@pytest.mark.parametrize("status, code", [(401, "unauthorized"), (403, "api_plan_restricted")])
def test_refused_credentials_suspend_the_desk_with_an_alarm_and_lose_nothing(line, intercom, status, code):
    line.relay.allow("desk_suspended", "alarm", "alarm_end")
    line.first()
    bad = threading.Event()
    bad.set()
    intercom.script = lambda request: Answer(status, errors(code)) if bad.is_set() else None
    line.say("m1")
    wait_for(lambda: line.relay.status()["alarms"], "an alarm")
    assert [d["state"] for d in line.relay.status()["desks"]] == ["suspended"]
    asked = len(intercom.journal)
    bad.clear()
    line.say("m2")
    line.assert_once_in_order()
    assert asked < 10, "a desk that refuses us is not hammered"
    wait_for(lambda: not line.relay.status()["alarms"], "the alarm ends")
    assert all(m["attempts"] <= 1 for m in line.relay.messages())


def test_five_failures_then_skipped_but_looked_up_first(build, telegram, intercom):
    """A message that gets 500 for ever: each further attempt comes after a look-up, then it is skipped and the lane goes on."""
    line = Line(build(delivery={"max_attempts": 3}), telegram, intercom)
    line.relay.allow("message_skipped", "attempt_.*")
    line.first()
    intercom.script = lambda request: Answer(500, errors("server_error")) if IS_REPLY(request) and request.notes["key"] == "m1" else None
    line.say("m1")
    line.say("m2")
    line.settled()
    assert intercom.keys() == ["first", "m2"]
    assert [r.notes["key"] for r in intercom.writes()] == ["first", "m1", "m1", "m1", "m2"]
    skipped = line.relay.messages(state="skipped")
    assert skipped[0]["attempts"] == 3 and skipped[0]["in_doubt"] is False


def test_operators_ceiling_is_kept(build, telegram, intercom):
    line = Line(build(desk={"rate": "5/s"}), telegram, intercom)
    line.first()
    for i in range(10):
        line.say(f"m{i}")
    line.assert_once_in_order()
    replies = intercom.writes()[1:]
    for i in range(len(replies) - 6):
        assert replies[i + 6].start - replies[i].start >= 0.8, "more than 5 (and one) within a second"


def test_no_customer_waits_for_another_with_order_conversation(build, telegram, intercom):
    line = Line(build(order="conversation", delivery={"timeout": "30s"}), telegram, intercom)
    line.first()
    gate = threading.Event()
    intercom.fault(IS_REPLY, Answer(200, {"type": "conversation"}, after=gate))
    line.say("held")
    intercom.wait_requests(lambda journal: any(IS_REPLY(r) for r in journal), "the first customer's reply at the desk")
    for i in range(5):
        line.say(f"other-{i}", 90 + i)
    intercom.wait_messages(6)
    line.relay.allow(".*")
    gate.set()
    line.settled(3 * PATIENCE_S * SLOW)
