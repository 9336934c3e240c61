"""Telegram by webhook: registration, the secret, what a message becomes, and once in."""
import json
import re
import time

import pytest

from harness.common import CANARY, text_of, wait_for
from harness.relay import account
from harness.scripted import Raw

PUBLIC = "https://relay.example.test"
URL = PUBLIC + "/hooks/acme/bot"


@pytest.fixture
def bot(telegram, desk, make_relay):
    """A relay with one registered bot."""
    relay = make_relay([account("acme", desk.config(), [telegram.config()], order="conversation")], public_url=PUBLIC).start()
    telegram.wait_registered(URL)
    telegram.relay = relay
    return telegram


def take(bot, update, **more):
    answer = bot.post(bot.relay, "acme", update, **more)
    assert answer.status == 200, answer
    return answer


def bodies(desk):
    return [r.notes["body"] for r in desk.posts()]


# Registration

def test_registers_itself_with_a_secret_of_its_own(bot):
    assert re.fullmatch(r"[A-Za-z0-9_-]{16,256}", bot.webhook["secret"])
    assert {"message", "edited_message"} <= set(bot.webhook["allowed_updates"])
    assert len(bot.calls("setWebhook")) == 1
    assert bot.webhook["secret"] not in json.dumps(bot.relay.status())


def test_made_secret_outlives_restart_and_kill(bot, desk):
    secret = bot.webhook["secret"]
    for again in (bot.relay.restart, lambda: (bot.relay.kill(), bot.relay.start())):
        again()
        take(bot, bot.message("m" + again.__name__.strip("<>")), secret=secret)
    assert bot.webhook["secret"] == secret and bot.webhook["url"] == URL
    desk.wait_taken(2)


def test_made_secret_outlives_a_reload(bot, desk):
    """Of another value of the same account: what Telegram signs with is still taken, and nothing is registered anew."""
    secret = bot.webhook["secret"]
    bot.relay.config["accounts"][0]["on_failure"] = "hold"
    bot.relay.write_config()
    bot.relay.cli("reload", "--socket", bot.relay.socket)
    take(bot, bot.message("m1"), secret=secret)
    desk.wait_taken(1)
    assert len(bot.calls("setWebhook")) == 1


def test_configured_secret_is_registered(telegram, desk, make_relay):
    relay = make_relay([account("acme", desk.config(), [telegram.config(secret="kanarie-secret-1")])], public_url=PUBLIC).start()
    assert telegram.wait_registered(URL)["secret"] == "kanarie-secret-1"
    assert telegram.post(relay, "acme", telegram.message("m1")).status == 200
    assert telegram.post(relay, "acme", telegram.message("m2"), secret="kanarie-secret-2").status == 401


def test_another_webhook_of_the_bot_is_respected(telegram, desk, make_relay):
    telegram.webhook["url"] = "https://elsewhere.example/other-hook"
    relay = make_relay([account("acme", desk.config(), [telegram.config()])], public_url=PUBLIC).allow("source_.*", "alarm.*")
    relay.start()
    telegram.wait_calls("getWebhookInfo")
    wait_for(lambda: "elsewhere.example" in json.dumps(relay.status()), "the status says where the webhook points")
    assert not telegram.calls("setWebhook") and not telegram.calls("deleteWebhook")
    assert relay.status()["alarms"]


def test_take_over_replaces_another_webhook(telegram, desk, make_relay):
    telegram.webhook["url"] = "https://elsewhere.example/other-hook"
    make_relay([account("acme", desk.config(), [telegram.config(take_over=True)])], public_url=PUBLIC).start()
    telegram.wait_registered(URL)
    assert not any(str(r.notes["parameters"].get("drop_pending_updates", "")).lower() == "true" for r in telegram.journal)


def test_webhook_registered_by_this_store_is_ours_when_the_public_url_changes(bot):
    relay = bot.relay
    relay.wait_source("acme", "bot")
    relay.stop()
    relay.config["public_url"] = "https://new.example.test"
    relay.write_config()
    relay.start()
    bot.wait_registered("https://new.example.test/hooks/acme/bot")


def test_trouble_with_registration_is_tried_again_and_never_fatal(telegram, desk, make_relay):
    telegram.refuse()
    relay = make_relay([account("acme", desk.config(), [telegram.config(secret="kanarie-secret-1")])], public_url=PUBLIC).allow("source_.*", "alarm.*")
    relay.start()
    # Taken although the platform cannot be reached: the secret is known.
    assert telegram.post(relay, "acme", telegram.message("m1"), secret="kanarie-secret-1").status == 200
    desk.wait_taken(1)
    telegram.listen()
    telegram.wait_registered(URL, timeout_s=60)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"ok\":",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"garbage\r\n\r\n",
    b'HTTP/1.1 429 Too Many Requests\r\nContent-Length: 87\r\n\r\n{"ok":false,"error_code":429,"description":"Too Many","parameters":{"retry_after":1}}   '],
    ids=["500", "cut", "no json", "a list", "garbage", "429"])
def test_odd_answers_at_registration_are_tried_again(telegram, desk, make_relay, answer):
    telegram.next_actions += [Raw(answer), Raw(answer)]
    make_relay([account("acme", desk.config(), [telegram.config()])], public_url=PUBLIC).allow("source_.*", "alarm.*").start()
    telegram.wait_registered(URL, timeout_s=60)


# The secret

def test_wrong_or_missing_secret_is_401_and_leaves_nothing(bot):
    right = bot.webhook["secret"]
    for secret in ("", "x", right[:-1], right + "x", right.swapcase(), "x" * 300):
        answer = bot.post(bot.relay, "acme", bot.message("m1"), secret=secret)
        assert answer.status == 401, (secret and "wrong", answer)
    assert bot.relay.status()["accepted"] == 0
    take(bot, bot.message("m1"))


def test_answer_is_empty(bot):
    """A body with "method" would be carried out by Telegram as a call."""
    assert take(bot, bot.message("m1")).body == b""


# What a message becomes

def test_private_text_message_is_unchanged(bot, desk):
    words = "Grüße 👋🏽 <b>no html</b> *no markdown* \u202ertl\u202c\nsecond line  "
    update = bot.message("m1", words=words)
    take(bot, update)
    desk.wait_taken(1)
    body = bodies(desk)[0]
    assert body["text"] == update["message"]["text"]
    assert body["conversation"] == "77" and body["platform"] == "telegram" and body["source"] == "bot"
    assert body["sender"]["id"] == "77" and "Ada" in body["sender"]["name"]
    assert body["sent_at"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(update["message"]["date"]))


def test_kinds_of_message_become_readable(bot, desk):
    """A caption is the text; an edit says so; a file speaks for itself; anything else is one readable line, in its place in the order."""
    base = bot.message("base")["message"]
    plain = {k: v for k, v in base.items() if k != "text"}
    kinds = [
        ("caption", {"message": {**plain, "photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}], "caption": text_of("caption")}}),
        ("edit", {"edited_message": {**base, "edit_date": base["date"] + 5, "text": text_of("edit")}}),
        ("photo", {"message": {**plain, "photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]}}),
        ("sticker", {"message": {**plain, "sticker": {"file_id": "f", "file_unique_id": "u", "type": "regular", "width": 1, "height": 1,
                                                      "is_animated": False, "is_video": False, "emoji": "😀"}}}),
        ("location", {"message": {**plain, "location": {"latitude": 48.1, "longitude": 11.5}}}),
        ("contact", {"message": {**plain, "contact": {"phone_number": "+491234", "first_name": "Bob"}}}),
        ("voice", {"message": {**plain, "voice": {"file_id": "f", "file_unique_id": "u", "duration": 3}}}),
        ("dice", {"message": {**plain, "dice": {"emoji": "🎲", "value": 3}}}),
        ("of the future", {"message": {**plain, "hologram": {"depth": 3}}}),
    ]
    for i, (name, update) in enumerate(kinds):
        part = next(iter(update.values()))
        part["message_id"] = 500 + i
        update["update_id"] = 9000 + i
        take(bot, update)
    bot.relay.wait_settled()
    texts = [b["text"] for b in bodies(desk)]
    assert bot.relay.status()["accepted"] == len(kinds)
    assert len(texts) == len(kinds)
    assert texts[0].endswith(text_of("caption"))
    assert text_of("edit") in texts[1] and texts[1] != text_of("edit"), "an edit is marked"
    assert texts[0] == text_of("caption")
    for (name, _), body in list(zip(kinds, bodies(desk)))[2:]:
        text = body["text"].strip()
        assert (text or body["attachments"]) and "\n" not in text, f"{name}: {text!r}"
        assert '"file_id"' not in text
        assert bool(body["attachments"]) == (name in ("photo", "sticker", "voice")), name


def test_unknown_kinds_of_update_are_200(bot):
    """Never 500, which the platform would repeat for a day."""
    for i, update in enumerate([{"poll_answer": {"poll_id": "1", "option_ids": []}}, {"shipping_query": {"id": "1"}}, {"kind_of_2031": {"a": [1]}},
                                {"message_reaction": {"chat": {"id": 1, "type": "private"}, "message_id": 1, "date": 1, "old_reaction": [], "new_reaction": []}}, {}]):
        take(bot, {"update_id": 100 + i, **update})
    bot.relay.check_sum()


def test_kinds_without_meaning_are_discarded_and_counted(bot, desk):
    """Stored and counted, never sent; what this version does not know can be read as it came."""
    take(bot, {"update_id": 1, "inline_query": {"id": "1", "from": {"id": 77, "is_bot": False, "first_name": "Ada"}, "query": "x", "offset": ""}})
    take(bot, {"update_id": 2, "kind_of_2031": {"chat": {"id": 77, "type": "private"}, "shape": "round"}})
    last = bot.message("last")
    take(bot, {**last, "update_id": 3})
    bot.relay.wait_settled()
    status = bot.relay.status()
    assert (status["accepted"], status["delivered"], status["discarded"]) == (3, 1, 2)
    assert [b["text"] for b in bodies(desk)] == [last["message"]["text"]]
    assert [(m["state"], m["reason"]) for m in bot.relay.messages()[:2]] == [("discarded", "no_meaning"), ("discarded", "unknown_kind")]
    assert bot.relay.metrics()['tributary_messages_discarded_total{platform="telegram",direction="inbound"}'] == 2
    [[raw]] = bot.relay.query("SELECT raw FROM messages WHERE reason = 7")
    assert json.loads(raw)["kind_of_2031"]["shape"] == "round"
    bot.relay.check_sum()


def test_pressed_button_is_answered_in_the_webhooks_answer(bot, desk):
    press = {"id": "q1", "from": {"id": 77, "is_bot": False, "first_name": "Ada"}, "chat_instance": "1", "data": "refund"}
    for again in range(2):  # a repeated update is answered again: the first answer may never have come
        answer = bot.post(bot.relay, "acme", {"update_id": 7, "callback_query": press})
        assert answer.status == 200 and answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body) == {"method": "answerCallbackQuery", "callback_query_id": "q1"}
    assert bot.post(bot.relay, "acme", bot.message("m1")).body == b""
    bot.relay.wait_settled()
    assert [b["text"] for b in bodies(desk)][0] == "(pressed a button: refund)"
    assert bot.relay.status()["accepted"] == 2


def test_group_that_becomes_a_supergroup_goes_on_as_one_conversation(bot, desk):
    old, new = {"id": -987, "type": "group", "title": "Family"}, {"id": -1009876, "type": "supergroup", "title": "Family"}
    def said(id, chat, **says):
        update = bot.message("x")
        update["message"].update(chat=chat, message_id=id, **says)
        if "text" not in says:
            del update["message"]["text"]
        update["update_id"] = 4000 + id
        take(bot, update)
    said(1, old, text="before")
    said(2, old, migrate_to_chat_id=-1009876)
    said(3, new, migrate_from_chat_id=-987)
    said(4, new, text="after")
    bot.relay.restart()
    said(5, new, text="later")
    bot.relay.wait_settled()
    assert [(b["conversation"], b["text"]) for b in bodies(desk)] == [
        ("-987", "before"), ("-987", "(the group became a supergroup)"), ("-987", "after"), ("-987", "later")]
    assert bot.relay.status()["discarded"] == 1
    bot.relay.check_sum()


def test_group_and_forum_topic_are_conversations_of_their_own(bot, desk):
    group = {"id": -1001234567890123, "type": "supergroup", "title": "Family"}
    plain = bot.message("g1")
    plain["message"]["chat"] = group
    take(bot, plain)
    topic = bot.message("t1")
    topic["message"].update(chat={**group, "is_forum": True}, message_thread_id=42, is_topic_message=True)
    take(bot, topic)
    desk.wait_taken(2)
    assert sorted(b["conversation"] for b in bodies(desk)) == ["-1001234567890123", "-1001234567890123:42"]


def test_malformed_updates_are_400_and_other_types_415(bot):
    for body in (b"", b"hello", b"[]", b"null", b'{"update_id":1', b'{"message":{}}', b'{"update_id":"x","message":{}}', b'{"update_id":1,"message":[]}',
                 b'{"update_id":1,"message":{"text":"x"}}', b'{"update_id":1,"message":{"chat":{"id":"a"}}}', b'{"update_id":1}x', b"\xff\xfe"):
        assert bot.post(bot.relay, "acme", body).status == 400, body
    assert bot.post(bot.relay, "acme", bot.message("m1"), headers={"Content-Type": "text/plain"}).status == 415
    assert bot.relay.status()["accepted"] == 0


def test_ids_of_52_bits_and_negative_chats(bot, desk):
    update = bot.message("m1", chat=2**52 - 3)
    update["update_id"] = 2**31 - 1
    update["message"]["message_id"] = 2**31 - 1
    take(bot, update)
    desk.wait_taken(1)
    assert bodies(desk)[0]["conversation"] == str(2**52 - 3)


# Once in

def test_repeated_updates_across_restarts_are_stored_once(bot, desk):
    updates = [bot.message(f"m{i}") for i in range(4)]
    for update in updates:
        take(bot, update)
    for again in (lambda: None, bot.relay.restart, lambda: (bot.relay.kill(), bot.relay.start())):
        again()
        for update in reversed(updates):
            take(bot, update)
    bot.relay.wait_settled()
    assert bot.relay.status()["accepted"] == 4
    assert list(dict.fromkeys(desk.keys())) == [f"m{i}" for i in range(4)]


def test_update_ids_may_jump_and_restart_lower(bot, desk):
    for i, number in enumerate([900_000, 900_001, 17, 18, 2_000_000_000]):
        take(bot, {**bot.message(f"m{i}"), "update_id": number})
    bot.relay.wait_settled()
    assert desk.keys() == [f"m{i}" for i in range(5)]


def test_same_update_id_with_another_message_is_stored_with_a_warning(bot, desk):
    """After an idle week ids may come round again: a different message behind a known id must not be taken for a repeat."""
    bot.relay.allow(".*twin.*", ".*dedupe.*", ".*same.*")
    take(bot, {**bot.message("m1"), "update_id": 4711})
    take(bot, {**bot.message("m2"), "update_id": 4711})
    desk.wait_taken(2)
    assert desk.keys() == ["m1", "m2"]
    bot.relay.wait_event("same_key_other_event", lambda e: e["level"] == "warn")
    take(bot, {**bot.message("m3"), "update_id": 4712})
    assert desk.wait_taken(3)[-1] == "m3"


def test_two_bots_of_one_account_do_not_mix(make_telegram, desk, make_relay):
    one, two = make_telegram(), make_telegram(token="222222222:BBkanarieTelegramToken_0123456789abcd")
    sources = [one.config(), two.config(name="two")]
    relay = make_relay([account("acme", desk.config(), sources)], public_url=PUBLIC).start()
    one.wait_registered(URL)
    two.wait_registered(PUBLIC + "/hooks/acme/two")
    assert one.webhook["secret"] != two.webhook["secret"]
    same = one.message("m1")
    assert one.post(relay, "acme", same).status == 200
    assert two.post(relay, "acme", same, source="two").status == 200
    assert two.post(relay, "acme", two.message("m2"), source="two", secret=one.webhook["secret"]).status == 401
    relay.wait_settled()
    assert relay.status()["accepted"] == 2


def test_token_is_in_no_answer_and_no_metric(bot):
    take(bot, bot.message("m1"))
    relay = bot.relay
    for target in ("/api/v1/status", "/api/v1/accounts", "/api/v1/accounts/acme", "/api/v1/accounts/acme/sources", "/metrics"):
        answer = relay.api("GET", target)
        assert answer.status in (200, 404)
        text = answer.body.decode()
        assert not [s for s in relay.secrets() if s in text] and bot.webhook["secret"] not in text, target
    assert CANARY not in relay.api("GET", "/metrics").body.decode()
    assert bot.webhook["secret"] not in "\n".join(relay.lines)
