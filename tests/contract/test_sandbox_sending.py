"""What a bot sends at the Telegram stand-in: what is refused and in which words, the pace, faults on the way, what a chat received.
Every answer is held to the description (test_sandbox_telegram.Bot)."""
import http.client
import time

import pytest

from sandbox_process import http_call
from test_sandbox_telegram import TOKEN, Bot

GROUP, SUPERGROUP = -4001, -1004001


@pytest.fixture
def bot(sandbox):
    sandbox.say("hello", 5, TOKEN)
    return Bot(sandbox)


def update(sandbox, **of_kind):
    return sandbox.control(sandbox.telegram, "POST", "telegram/update", {"token": TOKEN, "update": of_kind})


def group_message(sandbox, chat=GROUP, kind="group", **more):
    return update(sandbox, message={"message_id": 7, "date": 1, "chat": {"id": chat, "type": kind, "title": "Club"}, **more})


def received(sandbox, chat=5):
    return sandbox.control(sandbox.telegram, "GET", f"telegram/received?chat={chat}")["items"]


def limits(sandbox, **given):
    return sandbox.control(sandbox.telegram, "POST", "telegram/limits", given)


# ---- what is taken and refused

BOLD = {"type": "bold", "offset": 0, "length": 2}


def test_entities_come_back_and_are_shown(sandbox, bot):
    entities = [BOLD, {"type": "text_link", "offset": 3, "length": 4, "url": "https://example.com/"}]
    text = "\U0001F600 link"
    sent = bot.call("sendMessage", chat_id=5, text=text, entities=entities)
    assert (sent["text"], sent["entities"], sent["chat"]) == (text, entities, {"id": 5, "type": "private", "first_name": sent["chat"]["first_name"]})
    [got] = received(sandbox)
    assert (got["message_id"], got["text"], got["entities"]) == (sent["message_id"], text, entities)
    shown = sandbox.control(sandbox.telegram, "GET", "chat?chat=5")["messages"][-1]
    assert shown["entities"] == entities and shown["from_bot"]


@pytest.mark.parametrize("entity", [
    {**BOLD, "type": "shiny"}, {**BOLD, "offset": -1}, {**BOLD, "length": 0}, {**BOLD, "length": 8}, {**BOLD, "offset": 7, "length": 1},
    {**BOLD, "offset": 1, "length": 2}, {**BOLD, "length": 1}, {**BOLD, "offset": "0"}, {"type": "bold"}, {**BOLD, "type": "text_link"}, 5])
def test_entities_outside_of_the_text(sandbox, bot, entity):
    """The text is 7 units long, and the first two are one character."""
    assert "can't parse MessageEntity" in bot.call("sendMessage", 400, chat_id=5, text="\U0001F600 link", entities=[BOLD, entity])["description"]
    assert received(sandbox) == []


def test_what_cannot_be_sent(sandbox, bot):
    for body, words in (({"text": "x"}, "chat_id is empty"), ({"chat_id": 99, "text": "x"}, "Bad Request: chat not found"),
                        ({"chat_id": "@nobody", "text": "x"}, "Bad Request: chat not found"), ({"chat_id": 5, "text": "x", "entities": {}}, "entities"),
                        ({"chat_id": 5, "text": "<b>x</b>", "parse_mode": "HTML"}, "parse_mode"), ({"chat_id": 5}, "text is empty"),
                        ({"chat_id": 5, "text": "x", "message_thread_id": 9}, "message thread not found")):
        assert words in bot.call("sendMessage", 400, **body)["description"]
    assert received(sandbox) == [] and sandbox.journal(sandbox.telegram, "sent") == []


def test_blocked_and_let_in_again(sandbox, bot):
    for blocked, status in ((True, 403), (False, 200)):
        sandbox.control(sandbox.telegram, "POST", "telegram/block", {"token": TOKEN, "customer": 5, "blocked": blocked})
        answer = bot.call("sendMessage", status, chat_id=5, text="x")
        assert not blocked or answer["description"] == "Forbidden: bot was blocked by the user"
        assert sandbox.control(sandbox.telegram, "GET", "chat?chat=5")["chat"]["blocked"] is blocked
    assert len(received(sandbox)) == 1


def test_groups_topics_and_removal(sandbox, bot):
    bot.call("sendMessage", 400, chat_id=GROUP, text="x")
    group_message(sandbox, text="hi")
    assert bot.call("sendMessage", chat_id=GROUP, text="x")["chat"] == {"id": GROUP, "type": "group", "title": "Club"}
    group_message(sandbox, SUPERGROUP, "supergroup", text="hi")
    sent = bot.call("sendMessage", chat_id=SUPERGROUP, text="in the topic", message_thread_id=42)
    assert (sent["message_thread_id"], sent["is_topic_message"]) == (42, True)
    assert [each["message_thread_id"] for each in received(sandbox, SUPERGROUP)] == [42]
    member = {"chat": {"id": GROUP, "type": "group", "title": "Club"}, "from": {"id": 9, "is_bot": False, "first_name": "Eve"}, "date": 1,
              "old_chat_member": {"user": {"id": 123456, "is_bot": True, "first_name": "B"}, "status": "member"},
              "new_chat_member": {"user": {"id": 123456, "is_bot": True, "first_name": "B"}, "status": "left"}}
    update(sandbox, my_chat_member=member)
    assert bot.call("sendMessage", 403, chat_id=GROUP, text="x")["description"] == "Forbidden: bot was kicked from the group chat"


@pytest.mark.parametrize("by", ["update", "control"])
def test_a_group_becomes_a_supergroup(sandbox, bot, by):
    group_message(sandbox, text="hi")
    if by == "update":
        group_message(sandbox, migrate_to_chat_id=SUPERGROUP)
    else:
        sandbox.control(sandbox.telegram, "POST", "telegram/migrate", {"chat": GROUP, "to": SUPERGROUP})
    answer = bot.call("sendMessage", 400, chat_id=GROUP, text="x")
    assert answer["parameters"] == {"migrate_to_chat_id": SUPERGROUP} and "upgraded to a supergroup" in answer["description"]
    assert bot.call("sendMessage", chat_id=SUPERGROUP, text="x")["chat"]["type"] == "supergroup"
    for body in ({"chat": -9, "to": -10}, {"chat": GROUP}, {"chat": GROUP, "to": 5}):
        assert http_call(sandbox.telegram, "POST", "/sandbox/telegram/migrate", body).status == 400


# ---- pace

def test_pace_of_a_chat(sandbox, bot):
    sandbox.say("hello", 6)
    bot.call("sendMessage", chat_id=5, text="before there is a limit")
    assert limits(sandbox, chat_ms=600000, chat_burst=3) == {"chat_ms": 600000, "chat_burst": 3, "bot_per_s": 0}
    for i in range(3):
        bot.call("sendMessage", chat_id=5, text=f"m{i}")
    answer = bot.call("sendMessage", 429, chat_id=5, text="m3")
    wait = answer["parameters"]["retry_after"]
    assert 590 <= wait <= 600 and answer["description"] == f"Too Many Requests: retry after {wait}"
    assert bot.last.headers["retry-after"] == str(wait)
    bot.call("sendMessage", chat_id=6, text="other chats go on")
    limits(sandbox, chat_ms=0)
    bot.call("sendMessage", chat_id=5, text="m3")
    assert [each["text"] for each in received(sandbox)] == ["before there is a limit", "m0", "m1", "m2", "m3"]


def test_the_wait_that_is_said_is_enough(sandbox, bot):
    limits(sandbox, chat_ms=300, chat_burst=1)
    bot.call("sendMessage", chat_id=5, text="a")
    wait = bot.call("sendMessage", 429, chat_id=5, text="b")["parameters"]["retry_after"]
    assert wait == 1
    deadline = time.monotonic() + wait
    while True:
        late = time.monotonic() >= deadline
        if http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": "b"}).status == 200:
            break
        assert not late


def test_pace_of_a_bot(sandbox, bot):
    limits(sandbox, bot_per_s=2)
    sandbox.control(sandbox.telegram, "POST", "telegram/say", {"say": [{"customer": 10 + i, "text": "x"} for i in range(5)]})
    statuses = [http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 10 + i, "text": "x"}).status for i in range(5)]
    assert statuses[:2] == [200, 200] and 429 in statuses
    other = "77:x"
    sandbox.say("hello", 5, other)
    Bot(sandbox, other).call("sendMessage", chat_id=5, text="another bot has a pace of its own")


# ---- on the way

@pytest.mark.parametrize("fault, arrives", [({"fault": "drop_after"}, True), ({"fault": "drop_before"}, False), ({"fault": "reset", "apply": True}, True),
                                            ({"fault": "status", "status": 500, "apply": True}, True), ({"fault": "status", "status": 502}, False)])
def test_answers_lost_and_spoilt(sandbox, bot, fault, arrives):
    sandbox.fault(sandbox.telegram, path="sendMessage", count=1, **fault)
    try:
        assert http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": "x"}).status >= 500
    except (http.client.RemoteDisconnected, ConnectionResetError):
        assert fault["fault"] != "status"
    assert [each["text"] for each in received(sandbox)] == ["x"] * arrives
    assert bot.call("getMe") and bot.call("sendMessage", chat_id=5, text="y")


def test_answers_lost_by_chance(sandbox, bot):
    sandbox.fault(sandbox.telegram, fault="drop_after", path="POST /bot*/sendMessage", chance=0.3)
    lost = 0
    for i in range(100):
        try:
            bot.call("sendMessage", chat_id=5, text=str(i))
        except http.client.RemoteDisconnected:
            lost += 1
    assert 10 <= lost <= 60 and [each["text"] for each in received(sandbox)] == [str(i) for i in range(100)]


def test_answers_late(sandbox, bot):
    sandbox.fault(sandbox.telegram, fault="latency", path="sendMessage", ms=300, apply=True, count=1)
    began = time.monotonic()
    bot.call("sendMessage", chat_id=5, text="x")
    assert time.monotonic() - began >= 0.3


def test_what_each_chat_received(sandbox, bot):
    sandbox.say("hello", 6)
    for i in range(6):
        bot.call("sendMessage", chat_id=5 + i % 2, text=f"m{i}")
    assert [each["text"] for each in received(sandbox, 5)] == ["m0", "m2", "m4"]
    assert [each["text"] for each in received(sandbox, 6)] == ["m1", "m3", "m5"]
    items = received(sandbox, 5)
    assert [each["message_id"] for each in items] == sorted({each["message_id"] for each in items})
    assert [each["at"] for each in items] == sorted(each["at"] for each in items)
    sent = sandbox.journal(sandbox.telegram, "sent")
    assert [(each["chat_id"], each["text"]) for each in sent] == [(5 + i % 2, f"m{i}") for i in range(6)]
    assert http_call(sandbox.telegram, "GET", "/sandbox/telegram/received?chat=99").status == 404
