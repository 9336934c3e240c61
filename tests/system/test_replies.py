"""Agents' replies through the real daemon: in order, formatted, at the chat's pace; what is not sent; what the agent reads of one that
did not simply arrive; lost notifications, lost answers, kills."""
import datetime
import json
import re

import pytest

from harness.chats import SOON_S, Chats, Sandbox, http_call, joined, notice, post_notice, token_of
from harness.client import WebhookSource, call
from harness.common import CANARY, SLOW, wait_for
from harness.relay import account, webhook_source
from test_events import listen                # noqa: F401 (a fixture)
from test_openapi import check
from test_why import lanes, screen, wait_lane


@pytest.fixture
def sandbox():
    with Sandbox("--retry-scale", "0.01") as running:
        yield running


@pytest.fixture
def build(sandbox, make_relay):
    return lambda **more: Chats(sandbox, make_relay, **more)


@pytest.fixture
def chats(build):
    """One bot, its customer 77 has written."""
    made = build()
    made.say("Hello")
    return made


def seconds(stamp):
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def metric(chats, name):
    return chats.relay.metrics()[name]


# What arrives

def test_answers_arrive_in_order_and_formatted(chats, sandbox):
    chats.act("reply", conversation=chats.known[0, 77], html=f"<p>Dear <b>Ada</b> &amp; all, see <a href=\"https://example.com/a\">here</a> {CANARY}</p>")
    for words in ("second", "third"):
        chats.answer(words)
    chats.wait_received("Dear Ada & all, see here", "second", "third")
    first = sandbox.journal(sandbox.telegram, "sent")[0]
    assert first["chat_id"] == 77
    assert first["entities"] == [{"type": "bold", "offset": 5, "length": 3},
                                 {"type": "text_link", "offset": 20, "length": 4, "url": "https://example.com/a"}]
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")
    assert [(m["state"], m["sender"]["name"], m["desk_ref"]) for m in chats.replies()] == \
           [("delivered", "Alex Agent", str(n)) for n in (m["message_id"] for m in sandbox.journal(sandbox.telegram, "sent"))]
    assert chats.notes() == [], "success is silent"


def test_a_long_answer_arrives_in_pieces_and_the_next_behind_it(chats, sandbox):
    paragraphs = [f"{n:04} " + "word " * 300 for n in range(8)]
    chats.act("reply", conversation=chats.known[0, 77], html="".join(f"<p>{each}</p>" for each in paragraphs))
    chats.answer("and then")
    wait_for(lambda: "and then" in chats.received(), "the answer behind the long one")
    texts = chats.received()
    assert len(texts) > 3 and texts[-1] == "and then" and all(len(t.encode("utf-16-le")) // 2 <= 4096 for t in texts)
    assert re.findall(r"\d{4}", " ".join(texts)) == [f"{n:04}" for n in range(8)]
    assert "".join("".join(texts[:-1]).split()) == "".join("".join(paragraphs).split()), "no word is lost or doubled"


def test_what_an_agent_does_with_words_arrives_and_a_note_never(chats):
    chats.act("assign", conversation=chats.known[0, 77])
    chats.act("close", conversation=chats.known[0, 77])
    chats.act("open", conversation=chats.known[0, 77])
    said = []
    for how in ("assign", "snooze", "open", "close", "reply"):
        chats.answer(f"secret before {how}", note=True)
        said.append(f"words with {how}")
        chats.answer(said[-1], how=how)
    chats.wait_received(*said)
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")
    assert len(chats.replies()) == len(said)


def test_files_that_cannot_be_fetched_arrive_as_links(build):
    """Here: since their host is none that can be found, or is no public one."""
    chats = build(top={"media": {"wait": "1s"}})
    chats.relay.allow("file_failed")
    chats.say("Hello")
    chats.act("reply", conversation=chats.known[0, 77], attachment_urls=["https://files.example/a.png"])
    chats.answer("next")
    chats.wait_received("a.png: https://files.example/a.png", "next")


def test_an_agent_begins_a_conversation(chats):
    made = chats.act("start", external_id="telegram:100:77", body=f"You left your umbrella {CANARY}")
    chats.wait_received("You left your umbrella")
    chats.act("reply", conversation=made["conversation"], body=f"It is red {CANARY}")
    chats.answer("in the old one")
    wait_for(lambda: len(chats.received()) == 3, "answers in both conversations")
    assert chats.received()[0] == "You left your umbrella" and set(chats.received()[1:]) == {"It is red", "in the old one"}


@pytest.mark.parametrize("policy, arrives", [("agents", ["person"]), ("agents+bots", ["robot", "fin", "person"])])
def test_what_bots_say_goes_by_policy(build, policy, arrives):
    chats = build(replies=policy)
    chats.say("Hello")
    chats.answer("robot", **{"as": "bot"})
    chats.answer("fin", **{"as": "fin"})
    chats.answer("person")
    chats.wait_received(*arrives)
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")
    assert chats.received() == arrives


def test_each_conversation_goes_back_to_its_own_bot_and_chat(build):
    chats = build(bots=2)
    for bot in (0, 1):
        for chat in (77, 78):
            chats.say(f"Hello {bot} {chat}", chat, bot)
    for number in range(2):
        for bot, chat in chats.known:
            chats.answer(f"for {bot} {chat} {number}", chat, bot)
    for bot, chat in chats.known:
        chats.wait_received(f"for {bot} {chat} 0", f"for {bot} {chat} 1", chat=chat, bot=bot)


def test_what_the_relay_wrote_itself_is_never_sent(chats):
    """A note of ours, and what the customer said, are parts like all others, and their notifications come like all others."""
    chats.relay.allow("message_skipped")
    chats.block()
    chats.answer("one")
    chats.wait_note("blocked")
    chats.block(False)
    chats.say("me again")
    chats.answer("two")
    chats.wait_received("two")
    chats.relay.restart()      # reads all again
    chats.answer("three")
    chats.wait_received("two", "three")
    assert [m["text"].split()[0] for m in chats.replies()] == ["one", "two", "three"]


def test_nothing_to_read_is_not_sent(chats):
    chats.act("reply", conversation=chats.known[0, 77], html="<p> </p><script>alert(1)</script>")
    chats.act("reply", conversation=chats.known[0, 77], html="<p><br></p>")
    chats.answer("then")
    chats.wait_received("then")
    assert len(chats.replies()) == 1


def test_an_answer_in_a_topic_goes_to_that_topic(build, sandbox):
    chats = build()
    forum = -1004001
    chats.group_says("in the topic", forum, kind="supergroup", thread=f"{forum}:42", message_thread_id=42, is_topic_message=True)
    chats.answer("there", f"{forum}:42")
    wait_for(lambda: sandbox.journal(sandbox.telegram, "sent"), "the answer")
    assert [(i["chat_id"], i["message_thread_id"]) for i in sandbox.journal(sandbox.telegram, "sent")] == [(forum, 42)]


def test_answers_behind_hundreds_of_notes_are_found(chats):
    """The desk shows no more than 500 parts at a time."""
    for number in range(520):
        chats.act("reply", conversation=chats.known[0, 77], body=f"between us {number}", note=True)
    chats.answer("far behind")
    chats.wait_received("far behind")


def test_a_deleted_conversation_is_replaced_and_answered(chats, sandbox):
    chats.answer("in the old one")
    chats.wait_received("in the old one")
    old = chats.known.pop((0, 77))
    headers = {"Authorization": "Bearer agent", "Intercom-Version": "2.16", "Accept": "application/json"}
    assert http_call(sandbox.intercom, "DELETE", f"/conversations/{old}", headers=headers).status == 200
    chats.say("Hello again")
    assert chats.known[0, 77] != old
    chats.answer("in the new one")
    chats.wait_received("in the old one", "in the new one")


@pytest.mark.parametrize("ends", ["answer lost", "killed"])
def test_an_answer_before_the_relay_knows_the_conversation_arrives(build, ends):
    """The answer to the request that made it never came: it is found again when that has settled."""
    chats = build(delivery={"settle": "2s"})
    chats.relay.allow("desk_suspended")
    chats.fault_intercom(fault="drop_after" if ends == "answer lost" else "hang", path="POST /conversations", count=1)
    chats.say("Hello")
    chats.answer("quick")
    wait_for(chats.notices, "the notification")
    if ends == "killed":
        chats.relay.kill()
        chats.relay.start()
    chats.answer("quick too")
    chats.wait_received("quick", "quick too", timeout_s=40 * SLOW)
    assert len([i for i in chats.thread() if i[0] == "user"]) == 1


def test_answers_go_on_after_a_merge(chats, sandbox):
    """The contact is another one then; the conversation and the chat are the same."""
    contact = next(i["contact"] for i in sandbox.journal(sandbox.intercom) if i.get("conversation") == chats.known[0, 77])
    headers = {"Authorization": "Bearer agent", "Intercom-Version": "2.16", "Accept": "application/json"}
    other = http_call(sandbox.intercom, "POST", "/contacts", {"role": "user", "external_id": "somebody-else", "name": "Ada L."}, headers).json()["id"]
    merged = http_call(sandbox.intercom, "POST", "/contacts/merge", {"from": contact, "into": other, "skip_duplicate_validation": True}, headers)
    assert merged.status == 200, merged.body
    chats.answer("after the merge")
    chats.wait_received("after the merge")
    sandbox.say(f"still me {CANARY}", 77, token_of(0))
    wait_for(lambda: [who for who, _ in chats.thread()] == ["user", "admin", "user"], "the customer at the desk")
    chats.answer("and again")
    chats.wait_received("after the merge", "and again")


def test_bots_that_answer_each_other_are_stopped_and_people_are_not(build):
    chats = build(replies="agents+bots")
    chats.relay.allow("reply_loop")
    chats.say("Hello")
    for number in range(25):
        chats.answer(f"bot {number}", **{"as": "bot"})
    wait_for(lambda: len(chats.replies()) == 25, "all are there")
    discarded = chats.replies(state="discarded")
    assert [m["text"].split(f" {CANARY}")[0] for m in discarded] == [f"bot {n}" for n in range(20, 25)]
    assert {m["reason"] for m in discarded} == {"loop"}
    chats.answer("a person")
    assert chats.wait_reply("a person")["state"] != "discarded"


# Notifications

def test_what_is_answered_to_a_notification(chats, sandbox):
    relay, conversation = chats.relay, chats.known[0, 77]
    body = notice(conversation)
    assert post_notice(relay, body)[0].status == 200
    for given, name, status in ((None, "acme", 401), ("another-secret", "acme", 401), ("client-secret-kanarie-of-the-app", "nobody", 404)):
        assert post_notice(relay, body, given, name)[0].status == status
    assert post_notice(relay, b"no JSON")[0].status == 400
    assert call(relay.port, "HEAD", "/desks/acme").status == 200 and call(relay.port, "HEAD", "/desks/nobody").status == 404
    assert call(relay.port, "GET", "/desks/acme").status == 405
    ping = json.dumps({"type": "notification_event", "app_id": "abc123", "topic": "ping", "id": None,
                       "data": {"item": {"type": "ping", "message": "a test"}}}).encode()
    assert post_notice(relay, ping)[0].status == 200
    assert [i["status"] for i in sandbox.journal(sandbox.intercom, "webhook") if i["topic"] == "ping"] == [200]
    counted = {a: metric(chats, f'tributary_notices_total{{desk="intercom",answer="{a}"}}') for a in ("taken", "nothing", "forged", "refused")}
    assert counted == {"taken": 1, "nothing": 2, "forged": 2, "refused": 1}


def test_a_notification_is_answered_at_once_also_while_the_desk_hangs(chats):
    chats.fault_intercom(fault="hang", path="GET /conversations/*")
    body = notice(chats.known[0, 77])
    for _ in range(5):
        answer, took_s = post_notice(chats.relay, body)
        assert answer.status == 200 and took_s < SOON_S, (answer, took_s)
    chats.relay.allow("replies_unread")
    chats.answer("later")
    wait_for(chats.notices, "the notification")
    chats.clear()
    chats.wait_received("later")


def test_a_forged_notification_reads_nothing(chats):
    before = len(chats.reads())
    for _ in range(3):
        assert post_notice(chats.relay, notice(chats.known[0, 77]), "another-secret")[0].status == 401
    assert post_notice(chats.relay, notice("999999999"))[0].status == 200  # of a conversation that there is not
    wait_for(lambda: len(chats.reads()) > before, "the true one is read")
    assert [r["target"].split("?")[0] for r in chats.reads()[before:] if r["method"] == "GET"] == ["/conversations/999999999"]


def test_a_lost_notification_is_found_after_a_restart(chats):
    chats.fault_intercom(fault="lose", count=2)
    chats.answer("lost one")
    chats.answer("lost two")
    wait_for(lambda: len(chats.notices("lost")) == 2, "both lost")
    chats.relay.restart()
    chats.wait_received("lost one", "lost two")
    chats.answer("told")
    chats.wait_received("lost one", "lost two", "told")


def test_what_was_said_while_the_relay_was_down_is_found_after_it(chats):
    chats.say("and I", 78)
    chats.relay.stop()
    for number in range(3):
        chats.answer(f"down {number}")
        chats.answer(f"down too {number}", 78)
    wait_for(lambda: len(chats.notices("dropped")) == 6, "notifications given up")
    chats.relay.start()
    chats.wait_received(*(f"down {n}" for n in range(3)))
    chats.wait_received(*(f"down too {n}" for n in range(3)), chat=78)


def test_a_lost_notification_of_one_is_made_up_for_by_the_next(chats):
    chats.fault_intercom(fault="lose", count=1)
    chats.answer("lost")
    chats.answer("told")
    chats.wait_received("lost", "told")


def test_notifications_doubled_late_and_in_another_order_change_nothing(chats):
    for fault in ("twice", "late", "swap"):
        chats.fault_intercom(fault=fault, count=3, ms=300)
    for number in range(9):
        chats.answer(f"answer {number}")
    chats.wait_received(*(f"answer {n}" for n in range(9)), timeout_s=40 * SLOW)
    wait_for(lambda: len(chats.notices()) >= 12, "all notifications")
    assert len(chats.replies()) == 9


def test_a_desk_that_cannot_be_read_is_an_alarm_and_nothing_is_lost(chats):
    chats.relay.allow("replies_unread", "alarm.*")
    chats.fault_intercom(fault="status", status=503, path="GET /conversations/*")
    chats.answer("one")
    find = lambda: [a for a in chats.relay.status()["alarms"] if a["name"] == "replies_unread"]
    wait_for(find, "the alarm", 40 * SLOW)
    assert metric(chats, 'tributary_alarm{name="replies_unread"}') == 1
    chats.clear()
    chats.wait_received("one", timeout_s=40 * SLOW)
    wait_for(lambda: not find(), "its end")


def test_notifications_of_conversations_that_are_not_ours_hold_nothing_up(chats):
    """A workspace has many that never were a customer's of ours."""
    for number in range(300):
        assert post_notice(chats.relay, notice(str(10_000_000 + number)))[0].status == 200
    chats.answer("in between")
    chats.wait_received("in between")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_end_while_a_conversation_is_read_loses_nothing(chats, end):
    chats.fault_intercom(fault="hang", path="GET /conversations/*")
    chats.answer("one")
    wait_for(chats.notices, "the notification")
    getattr(chats.relay, end)()
    chats.clear()
    chats.relay.start()
    chats.wait_received("one")


def test_what_an_agent_began_while_the_relay_was_down_arrives(chats):
    chats.relay.stop()
    made = chats.act("start", external_id="telegram:100:77", body=f"You left your umbrella {CANARY}")
    chats.act("reply", conversation=made["conversation"], body=f"It is red {CANARY}")
    wait_for(lambda: len(chats.notices("dropped")) == 2, "notifications given up")
    chats.relay.start()
    chats.wait_received("You left your umbrella", "It is red")


def test_doors_of_other_accounts(make_relay, desk, sandbox):
    """Who has no such desk, who has no secret, who is inactive."""
    quiet = joined(sandbox, name="quiet", active=False)
    quiet["sources"] = [webhook_source()]
    careless = joined(sandbox, name="careless")
    careless["sources"] = [webhook_source()]
    del careless["desk"]["client_secret"]
    relay = make_relay([account("hooked", desk.config()), quiet, careless]).start()
    assert [post_notice(relay, notice("1"), name=name)[0].status for name in ("hooked", "quiet", "careless")] == [404, 200, 401]
    assert post_notice(relay, b"[" + b"1," * 3_000_000 + b"1]", name="quiet")[0].status == 413
    assert post_notice(relay, b"", name="quiet")[0].status == 400
    assert "without client_secret" in relay.cli("desk", "check", "careless", check=False).stdout


# Switches

def test_an_inactive_account_sends_and_reads_nothing_and_goes_on_where_it_stopped(chats):
    chats.fault_telegram(fault="status", status=500, count=2)
    chats.relay.allow("message_.*")
    chats.answer("tried")
    wait_for(lambda: len(chats.sends()) >= 1, "a try")
    chats.relay.set_active("acme", False)
    wait_for(lambda: all(lane["state"] == "stopped" for lane in lanes(chats.relay)), "stopped")
    sent, read = len(chats.sends()), len(chats.reads())
    for number in range(3):
        chats.answer(f"inactive {number}")
    wait_for(lambda: len(chats.notices()) == 4, "notifications are taken")
    assert post_notice(chats.relay, notice(chats.known[0, 77]))[0].status == 200
    chats.relay.restart()
    assert (len(chats.sends()), len(chats.reads())) == (sent, read)
    chats.clear()
    chats.relay.set_active("acme", True)
    wait_for(lambda: "inactive 2" in chats.received(), "it goes on")
    # The answer to "tried" was a 500: it may have arrived, so it could come twice, but it did not arrive then.
    assert chats.received() == ["tried", "inactive 0", "inactive 1", "inactive 2"]


def test_what_was_lost_while_the_account_was_inactive_is_found(chats):
    chats.relay.set_active("acme", False)
    chats.fault_intercom(fault="lose", count=2)
    chats.answer("one")
    chats.answer("two")
    wait_for(lambda: len(chats.notices("lost")) == 2, "both lost")
    chats.relay.set_active("acme", True)
    chats.wait_received("one", "two")


# Refusals

def refuse_next(chats, description):
    chats.fault_telegram(fault="status", status=400, count=1, body=json.dumps({"ok": False, "error_code": 400, "description": description}))


def test_a_blocked_bot_is_final_for_that_reply_and_told_in_its_place(chats):
    chats.relay.allow("message_skipped")
    chats.say("and I", 78)
    chats.block()
    wait_for(lambda: len(chats.thread()) >= 2, "the block is told at the desk")
    told = chats.thread()
    chats.answer("before")
    chats.answer("other chat", 78)
    chats.wait_note("blocked the bot", "“before", "not tried again")
    chats.wait_received("other chat", chat=78)
    chats.say("back again")
    chats.block(False)
    reply = chats.wait_reply("before", state="skipped", reason="rejected", attempts=1)
    assert "blocked the bot" in reply["last_error"]
    chats.answer("after")
    chats.wait_received("after")
    who = [who for who, _ in chats.thread()]
    assert who[:len(told) + 3] == [w for w, _ in told] + ["admin", "note", "user"]
    assert len([s for s in chats.sends() if s["status"] == 403]) == 1
    assert [m["direction"] for m in chats.relay.messages(direction="note")] == ["note"]
    assert metric(chats, 'tributary_messages_skipped_total{platform="telegram",direction="reply"}') == 1
    assert metric(chats, 'tributary_messages_delivered_total{platform="telegram",direction="note"}') == 1
    assert not chats.relay.status()["alarms"]


def test_a_chat_that_is_gone_is_skipped_at_once_and_the_next_is_tried(chats):
    chats.relay.allow("message_skipped")
    refuse_next(chats, "Bad Request: chat not found")
    chats.answer("to nowhere")
    chats.wait_note("the chat was not found")
    chats.answer("there again")
    chats.wait_received("there again")
    assert len(chats.sends()) == 2


def test_many_blocked_chats_are_no_mass_skip(build):
    chats = build()
    chats.relay.allow("message_skipped")
    for chat in range(1, 9):
        chats.say(f"I am {chat}", chat)
        chats.block(chat=chat)
        chats.answer("into the void", chat)
    for chat in range(1, 9):
        chats.wait_note("blocked", chat=chat)
    assert not chats.relay.status()["alarms"]
    chats.block(False, 1)
    chats.answer("you are back", 1)
    chats.wait_received("you are back", chat=1)


def test_held_by_policy_and_retried_by_hand(build):
    chats = build(on_failure="hold")
    chats.relay.allow("message_held")
    chats.say("Hello")
    chats.block()
    chats.answer("held")
    chats.answer("behind it")
    chats.wait_note("is held", "“held", "blocked")
    lane = wait_lane(chats.relay, direction="reply", state="held")
    assert lane["waiting"] == 2 and "held for a person" in screen(chats.relay, "acme/bot0/77")
    chats.block(False)
    chats.relay.cli("retry", lane["head"]["id"])
    chats.wait_received("held", "behind it")
    assert len(chats.notes()) == 1, "success is silent"


def test_a_reply_that_was_skipped_is_retried_by_hand(chats):
    chats.relay.allow("message_skipped")
    chats.block()
    chats.answer("again, please")
    chats.wait_note("blocked")
    chats.block(False)
    chats.relay.cli("retry", chats.wait_reply("again", state="skipped")["id"])
    chats.wait_received("again, please")
    assert chats.wait_reply("again", state="delivered")["late"]


def test_five_failures_then_skipped_and_told_and_the_next_goes(build):
    chats = build(delivery={"retry_base": "20ms", "retry_cap": "100ms", "settle": "20ms"})
    chats.relay.allow("message_skipped")
    chats.say("Hello")
    chats.fault_telegram(fault="status", status=500, count=5)
    chats.answer("broken")
    chats.answer("whole")
    chats.wait_note("It failed 5 times", "“broken", "may have arrived all the same", "not tried again")
    chats.wait_received("whole")
    reply = chats.wait_reply("broken", state="skipped", reason="gave_up", attempts=5)
    assert reply["in_doubt"] and len(chats.sends()) == 6


def test_a_note_that_is_refused_is_reported_and_retried_by_hand(chats):
    chats.relay.allow("message_skipped")
    refuse_next(chats, "Bad Request: chat not found")
    chats.fault_intercom(fault="status", status=422, path="POST /conversations/*/reply", count=1)
    chats.answer("refused")
    note = wait_for(lambda: chats.relay.messages(direction="note", state="skipped"), "the note is refused")[0]
    chats.say("heard")
    chats.answer("next")
    chats.wait_received("next")
    assert len(chats.relay.messages(direction="note")) == 1, "a note makes no note"
    chats.relay.cli("retry", note["id"])
    chats.wait_note("the chat was not found")


def test_who_cannot_take_replies_is_told_to_the_agent(make_relay, sandbox):
    """A source of a platform to which nothing can be sent, and a bot that is removed."""
    hooked = joined(sandbox, bots=1)
    hooked["sources"].append(webhook_source())
    chats = Chats(sandbox, lambda accounts, **more: make_relay([hooked], **more))
    chats.relay.allow("message_skipped")
    WebhookSource(chats.relay, "acme").send("k0", conversation="c1")
    chats.known["hook", "c1"] = wait_for(lambda: next((i["conversation"] for i in sandbox.journal(sandbox.intercom) if i["kind"] == "conversation"), None), "at the desk")
    chats.answer("hello", "c1", "hook")
    chats.wait_note("“hello", "cannot be sent to customers on this channel (hook)", chat="c1", bot="hook")
    chats.say("Hello")
    chats.relay.config["accounts"][0]["sources"] = [webhook_source()]
    chats.relay.write_config()
    chats.relay.cli("reload", "--socket", chats.relay.socket)
    chats.answer("too late")
    chats.wait_note("“too late", "no longer connected")
    assert chats.received() == []


# Limits

WAIT_S = 3 * SLOW  # what a 429 asks for: long enough for what goes on meanwhile


def limit(chats, **limits):
    chats.sandbox.control(chats.sandbox.telegram, "POST", "telegram/limits", limits)


def test_a_limited_chat_waits_as_long_as_it_is_told_and_no_other(chats):
    chats.say("and I", 78)
    chats.fault_telegram(fault="rate_limit", retry_after=WAIT_S, count=1)
    chats.answer("limited")
    wait_lane(chats.relay, direction="reply", state="waiting", waits_for="time")
    chats.answer("behind it")
    assert "429" in screen(chats.relay, "acme/bot0/77") or "Too Many" in screen(chats.relay, "acme/bot0/77")
    chats.answer("elsewhere", 78)
    chats.wait_received("elsewhere", chat=78)
    assert chats.received() == []
    chats.wait_received("limited", "behind it")
    first, *others = chats.sends()
    assert first["status"] == 429
    waited = [seconds(other["began_at"]) - seconds(first["began_at"]) for other in others]
    assert waited[0] < WAIT_S <= waited[1] + 0.1 < WAIT_S + 2 * SLOW, waited  # the other chat's, then this chat's
    chats.relay.wait_settled()  # the last outcome is stored
    assert all(m["attempts"] == 1 for m in chats.replies()), "a limit counts no attempt"
    assert chats.notes() == [] and not chats.relay.status()["alarms"]


def test_limits_of_several_chats_hold_the_bot(build):
    chats = build(bots=2)
    chats.relay.allow("desk_suspended")
    for chat in (1, 2, 3, 4):
        chats.say(f"I am {chat}", chat)
    chats.say("at the other bot", 5, bot=1)
    chats.fault_telegram(fault="rate_limit", retry_after=WAIT_S, count=3)
    for chat in (1, 2, 3):
        chats.answer(f"for {chat}", chat)
    bots = lambda: {s["name"]: s["bot"]["state"] for s in chats.relay.status()["sources"]}
    wait_for(lambda: bots() == {"bot0": "suspended", "bot1": "ok"}, "the bot is suspended")
    before = len(chats.sends())
    chats.answer("for 4", 4)
    wait_lane(chats.relay, direction="reply", conversation="4", state="suspended")
    chats.answer("for 5", 5, bot=1)
    chats.wait_received("for 5", chat=5, bot=1)
    assert len(chats.sends()) == before + 1, "nothing is sent by the bot meanwhile"
    for chat in (1, 2, 3, 4):
        chats.wait_received(f"for {chat}", chat=chat)
    last_429 = max(seconds(s["began_at"]) for s in chats.sends() if s["status"] == 429)
    to_bot = [seconds(s["began_at"]) - last_429 for s in chats.sends() if s["status"] == 200 and "100:" in s["target"]]
    assert min(to_bot) >= WAIT_S - 0.1, to_bot
    assert bots() == {"bot0": "ok", "bot1": "ok"}


def test_ten_answers_at_once_keep_the_pace_of_the_chat(chats):
    """Telegram's own limits stand: whoever is too fast is told so."""
    limit(chats, chat_ms=900, chat_burst=5)
    for number in range(10):
        chats.answer(f"answer {number}")
    chats.wait_received(*(f"answer {n}" for n in range(10)))
    times = [seconds(s["began_at"]) for s in chats.sends()]
    assert all(s["status"] == 200 for s in chats.sends()), "never too fast"
    assert times[3] - times[0] < 1 * SLOW, "the first ones go at once"
    assert 5.8 <= times[9] - times[0] < 8 * SLOW, "then about one a second"


def test_a_kill_between_ten_answers_loses_none_and_keeps_their_order(chats):
    for number in range(10):
        chats.answer(f"answer {number}")
    wait_for(lambda: len(chats.received()) >= 2, "some arrived")
    chats.relay.kill()
    chats.relay.start()
    wait_for(lambda: "answer 9" in chats.received(), "the last one", 40 * SLOW)
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")
    got = chats.received()
    assert list(dict.fromkeys(got)) == [f"answer {n}" for n in range(10)]
    again = [words for i, words in enumerate(got) if words in got[:i]]
    noted = [note.split("“")[1].split("”")[0] for note in chats.notes()]  # the one on its way may not have left when the relay was killed
    assert len(noted) <= 1 and set(again) <= set(noted) and len(again) <= 1, (got, chats.notes())


# The bot

def test_a_dead_token_is_an_alarm_that_names_the_bot_and_inbound_goes_on(chats):
    chats.relay.allow("desk_suspended", "alarm.*", "source_.*")
    chats.fault_telegram(fault="status", status=401, path="sendMessage")
    chats.fault_telegram(fault="status", status=401, path="getMe")
    chats.answer("waits")
    alarm = wait_for(lambda: next((a for a in chats.relay.status()["alarms"] if a["name"] == "bot_refuses"), None), "the alarm")
    assert alarm["subject"] == "acme/bot0" and metric(chats, 'tributary_alarm{name="bot_refuses"}') == 1
    assert "401" in screen(chats.relay, "acme/bot0/77")
    chats.say("still heard")
    assert chats.relay.status()["desks"][0]["state"] == "ok"
    chats.clear()
    chats.relay.cli("desk", "resume", "acme")
    chats.wait_received("waits")
    wait_for(lambda: not chats.relay.status()["alarms"], "its end")
    assert chats.replies()[0]["attempts"] == 1, "an outage counts nothing"


def test_a_group_that_moved_is_followed(build, sandbox):
    chats = build()
    group, super_group = -4001, -1004001
    chats.group_says("We all", group)
    chats.answer("before", group)
    chats.wait_received("before", chat=group)
    sandbox.control(sandbox.telegram, "POST", "telegram/migrate", {"token": token_of(0), "chat": group, "to": super_group})
    chats.answer("followed", group)
    chats.answer("known", group)
    chats.wait_received("followed", "known", chat=super_group)
    assert [s["status"] for s in chats.sends()] == [200, 400, 200, 200], "asked once"
    assert chats.notes(group) == []


# In doubt

def test_in_doubt_is_sent_again_once_and_told(chats):
    chats.relay.allow("desk_suspended")  # until the probe that is sent at once says that all is well
    chats.fault_telegram(fault="drop_after", count=1)
    chats.answer("twice")
    chats.answer("once")
    chats.wait_received("twice", "twice", "once")
    chats.wait_note("may have arrived twice", "“twice")
    assert metric(chats, 'tributary_in_doubt_total{outcome="resent"}') == 1
    first, second, _ = chats.sends()
    assert seconds(second["began_at"]) - seconds(first["began_at"]) >= 0.29, "after delivery.settle"


@pytest.mark.parametrize("how", ["retry", "discard"])
@pytest.mark.parametrize("where", ["cli", "api"])
def test_in_doubt_is_held_until_a_person_decides(build, how, where):
    chats = build(in_doubt="hold")
    chats.relay.allow("message_held", "desk_suspended")
    chats.say("Hello")
    chats.fault_telegram(fault="drop_after", count=1)
    chats.answer("doubtful")
    chats.answer("behind it")
    chats.wait_note("not known whether this reply arrived", "“doubtful", "held")
    head = wait_lane(chats.relay, direction="reply", state="held")["head"]["id"]
    assert metric(chats, 'tributary_in_doubt_total{outcome="held"}') == 1 and chats.relay.status()["in_doubt"] == 1
    shown = screen(chats.relay, "acme/bot0/77")
    assert "held" in shown and f"tributary retry {head}" in shown and f"tributary discard {head}" in shown
    chats.say("are you there?")  # what customers say is not held up
    assert chats.received() == ["doubtful"]
    if where == "cli":
        chats.relay.cli(how, head)
    else:
        assert chats.relay.api("POST", f"/api/v1/messages/{head}/{how}").status in (200, 202)
    chats.wait_received("doubtful", *(["doubtful"] if how == "retry" else []), "behind it")
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")
    assert chats.wait_reply("doubtful")["state"] == {"retry": "delivered", "discard": "discarded"}[how]
    resent = [note for note in chats.notes() if "arrived twice" in note]
    assert len(resent) == (how == "retry") and len(chats.notes()) == 1 + len(resent)


# What people and programs see

def test_replies_are_shown_like_all_messages(chats, listen):
    relay = chats.relay.allow("message_skipped")
    events = listen(relay)
    chats.answer("arrives")
    chats.wait_received("arrives")
    reply = chats.wait_reply("arrives", state="delivered")
    events.wait("message_delivered", message=reply["id"])
    chats.block()
    chats.answer("refused")
    chats.wait_note("blocked")
    refused = chats.wait_reply("refused", state="skipped")
    assert events.wait("message_skipped", message=refused["id"])["reason"] == "rejected"
    note = wait_for(lambda: relay.messages(direction="note", state="delivered"), "the note")[0]
    events.wait("message_delivered", message=note["id"])
    for each in (reply, refused, note):
        one = check(relay.api("GET", f"/api/v1/messages/{each['id']}"), "GET", "/api/v1/messages/{id}").json
        assert (one["account"], one["source"], one["conversation"], one["platform"]) == ("acme", "bot0", "77", "telegram")
    for direction, ids in (("reply", [reply["id"], refused["id"]]), ("note", [note["id"]])):
        page = check(relay.api("GET", f"/api/v1/messages?direction={direction}"), "GET", "/api/v1/messages").json
        assert [m["id"] for m in page["items"]] == ids
        listed = json.loads(relay.cli("messages", "--direction", direction, "--json").stdout)
        assert [m["id"] for m in (listed["items"] if isinstance(listed, dict) else listed)] == ids
    shown = relay.cli("show", refused["id"]).stdout
    assert "reply" in shown and "Alex Agent" in shown and "the customer has blocked the bot" in shown
    for path in ("/api/v1/status", "/api/v1/lanes", "/api/v1/accounts"):
        check(relay.api("GET", path), "GET", path)
    check(relay.api("GET", "/api/v1/accounts/acme/why"), "GET", "/api/v1/accounts/{account}/why")
    counted = {(event, direction): metric(chats, f'tributary_messages_{event}_total{{platform="telegram",direction="{direction}"}}')
               for event in ("accepted", "delivered", "skipped") for direction in ("reply", "note")}
    assert counted == {("accepted", "reply"): 2, ("delivered", "reply"): 1, ("skipped", "reply"): 1,
                       ("accepted", "note"): 1, ("delivered", "note"): 1, ("skipped", "note"): 0}
    assert metric(chats, 'tributary_attempts_total{desk="telegram",verdict="delivered"}') == 1
    assert metric(chats, 'tributary_attempts_total{desk="telegram",verdict="rejected"}') == 1
    relay.verify()


def test_a_lane_of_replies_is_shown_while_it_waits(chats):
    chats.fault_telegram(fault="hang")
    chats.answer("hangs")
    chats.answer("behind it")
    lane = wait_lane(chats.relay, direction="reply", state="sending")
    check(chats.relay.api("GET", f"/api/v1/lanes/{lane['id']}"), "GET", "/api/v1/lanes/{id}")
    wait_for(lambda: chats.relay.get(f"/api/v1/lanes/{lane['id']}")["waiting"] == 2, "both wait")
    assert (lane["kind"], lane["source"], lane["conversation"]) == ("reply", "bot0", "77")
    assert CANARY not in screen(chats.relay, "acme/bot0/77") and CANARY not in json.dumps(lane)
    chats.clear()
    chats.relay.allow("desk_suspended")
