"""Agents at the Intercom stand-in: what they do, what the API then shows, and the notifications that tell of it."""
import hashlib
import hmac
import http.server
import json
import re
import threading
import time

import pytest

from intercom_contract import the_description
from sandbox_process import Sandbox, http_call
from test_sandbox_intercom import ADMIN, GOOD, Client

SECRET = "client-secret-of-the-app"
ROBIN = "991267460"


class Webhook:
    """Takes notifications; `statuses`: of the first ones, then 200 (None: no answer). `gate` closed: nothing is answered."""

    def __init__(self, statuses=(), head=200):
        webhook = self
        self.statuses, self.head, self.seen, self.heads = list(statuses), head, [], 0
        self.more = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_HEAD(self):
                webhook.heads += 1
                self.send_response(webhook.head)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.gate.wait(10)
                with webhook.more:
                    status = webhook.statuses.pop(0) if webhook.statuses else 200
                    webhook.seen.append((json.loads(body), body, {k.lower(): v for k, v in self.headers.items()}))
                    webhook.more.notify_all()
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}/desks/acme"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def wait(self, count):
        with self.more:
            assert self.more.wait_for(lambda: len(self.seen) >= count, 20), f"{len(self.seen)} of {count} came"
            return [notice for notice, *_ in self.seen]

    def topics(self):
        return [notice["topic"] for notice, *_ in self.seen]


@pytest.fixture
def client(sandbox):
    return Client(sandbox)


@pytest.fixture
def conversation(client):
    return client.conversation(client.contact(name="Ada"))["conversation_id"]


def act(sandbox, what, **body):
    return sandbox.control(sandbox.intercom, "POST", f"inbox/{what}", body)


def join(sandbox, webhook):
    webhook.seen.clear()
    answer = sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": webhook.url, "client_secret": SECRET})
    assert webhook.wait(1)[0]["topic"] == "ping"
    webhook.seen.clear()
    return answer


def outcomes(sandbox):
    return [(e["topic"].split(".", 1)[-1], e["attempt"], e["outcome"]) for e in sandbox.journal(sandbox.intercom, "webhook")]


def until(check):
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline


def parts(client, conversation, how=""):
    return client.ask("GET", f"/conversations/{conversation}{how}")["conversation_parts"]["conversation_parts"]


# ---- what agents do, as the API shows it

def test_parts_of_agents_and_bots(client, sandbox, conversation):
    did = [act(sandbox, "reply", conversation=conversation, html="<p>Hi <b>Ada</b></p>"),
           act(sandbox, "reply", conversation=conversation, body="for us", note=True, admin=ROBIN),
           act(sandbox, "assign", conversation=conversation, body="Robin knows", admin=ROBIN),
           act(sandbox, "assign", conversation=conversation),
           act(sandbox, "snooze", conversation=conversation, until=1999999999),
           act(sandbox, "open", conversation=conversation),
           act(sandbox, "close", conversation=conversation, body="Bye"),
           act(sandbox, "reply", conversation=conversation, body="I am a bot", **{"as": "bot"}),
           act(sandbox, "reply", conversation=conversation, body="I am Fin", **{"as": "fin"}),
           act(sandbox, "reply", conversation=conversation, attachment_urls=["https://files.example/a.png"])]
    found = parts(client, conversation)
    assert [each["id"] for each in found] == [each["id"] for each in did]
    assert [int(each["id"]) for each in found] == sorted({int(each["id"]) for each in found})
    assert [each["created_at"] for each in found] == [each["created_at"] for each in did]
    assert [(each["part_type"], each["body"], each["author"]["name"]) for each in found] == [
        ("comment", "<p>Hi <b>Ada</b></p>", "Alex Agent"), ("note", "<p>for us</p>", "Robin Relay"),
        ("assignment", "<p>Robin knows</p>", "Robin Relay"), ("assignment", None, "Alex Agent"), ("snoozed", None, "Alex Agent"),
        ("open", None, "Alex Agent"), ("close", "<p>Bye</p>", "Alex Agent"), ("comment", "<p>I am a bot</p>", "Operator"),
        ("comment", "<p>I am Fin</p>", "Fin"), ("comment", None, "Alex Agent")]
    assert [each["author"]["type"] for each in found] == ["admin"] * 7 + ["bot", "bot", "admin"]
    assert found[2]["assigned_to"] == {"type": "admin", "id": ROBIN} and found[-1]["attachments"][0]["name"] == "a.png"
    assert [each["author"].get("from_ai_agent") for each in found[6:9]] == [None, False, True]
    assert {each["app_package_code"] for each in found} == {None}
    assert parts(client, conversation, "?display_as=plaintext")[0]["body"] == "Hi Ada"


def test_states_follow(client, sandbox, conversation):
    state = lambda: [client.ask("GET", f"/conversations/{conversation}")[key] for key in ("state", "open", "snoozed_until")]
    act(sandbox, "snooze", conversation=conversation, until=1999999999)
    assert state() == ["snoozed", True, 1999999999]
    act(sandbox, "open", conversation=conversation)
    assert state() == ["open", True, None]
    act(sandbox, "close", conversation=conversation)
    assert state() == ["closed", False, None]
    act(sandbox, "reply", conversation=conversation, body="an afterthought")
    assert state() == ["closed", False, None]
    act(sandbox, "assign", conversation=conversation, admin=ROBIN)
    assert client.ask("GET", f"/conversations/{conversation}")["admin_assignee_id"] == int(ROBIN)


def test_an_agent_begins(client, sandbox):
    contact = client.contact(name="Ada")
    made = act(sandbox, "start", external_id="telegram:1:5", body="You left\nyour umbrella")
    found = client.ask("GET", f"/conversations/{made['conversation']}")
    assert found["source"]["id"] == made["id"] and found["source"]["delivered_as"] == "admin_initiated"
    assert (found["source"]["author"]["type"], found["source"]["author"]["id"]) == ("admin", ADMIN)
    assert found["source"]["body"] == "<p>You left<br>your umbrella</p>"
    assert found["contacts"]["contacts"][0]["id"] == contact["id"] and found["first_contact_reply"] is None
    assert client.ask("GET", f"/conversations/{made['conversation']}?display_as=plaintext")["source"]["body"] == "You left\nyour umbrella"
    client.reply(made["conversation"], contact, "Thank you!")
    assert client.ask("GET", f"/conversations/{made['conversation']}")["first_contact_reply"]["type"] == "conversation"
    query = {"query": {"field": "source.author.id", "operator": "=", "value": contact["id"]}}
    assert client.ask("POST", "/conversations/search", query)["total_count"] == 0
    page = sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={made['conversation']}")
    assert page["contacts"] == [{"id": contact["id"], "name": "Ada"}]
    assert [(each["author"], each["body"]) for each in page["thread"]["parts"]] == [("Alex Agent", "You left\nyour umbrella"), (None, "Thank you!")]


@pytest.mark.parametrize("what, body", [
    ("reply", {"body": " "}), ("reply", {"body": "x", "conversation": "7"}), ("reply", {"body": "x", "admin": "7"}),
    ("reply", {"body": "x", "as": "parrot"}), ("close", {"conversation": "7"}), ("start", {"body": "x"}),
    ("start", {"external_id": "telegram:1:5"}), ("start", {"external_id": "telegram:1:6", "body": "x"})])
def test_what_an_agent_cannot_do(client, sandbox, conversation, what, body):
    answer = http_call(sandbox.intercom, "POST", f"/sandbox/inbox/{what}", {"conversation": conversation, **body})
    assert answer.status in (400, 404) and answer.json()["error"]
    assert parts(client, conversation) == []


def test_notes_by_api(client, sandbox, conversation):
    me = client.ask("GET", "/me")
    assert (me["id"], me["name"]) == (ROBIN, "Robin Relay")
    note = {"message_type": "note", "type": "admin", "admin_id": me["id"], "body": "<p>Not delivered: blocked</p>"}
    client.ask("POST", f"/conversations/{conversation}/reply", note)
    client.ask("POST", f"/conversations/{conversation}/reply", {**note, "admin_id": "1"}, status=404, code="admin_not_found")
    thread = sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={conversation}")["thread"]
    assert [(each["type"], each["author"], each["body"]) for each in thread["parts"]][1:] == [("note", "Robin Relay", "Not delivered: blocked")]
    [noted] = sandbox.journal(sandbox.intercom, "notes")
    assert (noted["conversation"], noted["text"], noted["by_api"]) == (conversation, "Not delivered: blocked", True)
    assert sandbox.journal(sandbox.intercom, "said") == []


def test_journal_of_what_was_said(client, sandbox, conversation):
    act(sandbox, "reply", conversation=conversation, body="one")
    act(sandbox, "reply", conversation=conversation, body="between us", note=True)
    act(sandbox, "assign", conversation=conversation)
    act(sandbox, "close", conversation=conversation, body="two")
    act(sandbox, "reply", conversation=conversation, body="three", **{"as": "bot"})
    act(sandbox, "start", external_id="telegram:1:5", body="four")
    said = sandbox.journal(sandbox.intercom, "said")
    assert [(e["kind"], e["author"], e["body"], e["text"]) for e in said] == [
        ("comment", "admin", "<p>one</p>", "one"), ("close", "admin", "<p>two</p>", "two"), ("comment", "bot", "<p>three</p>", "three"),
        ("conversation", "admin", "<p>four</p>", "four")]
    assert {e["external_id"] for e in said} == {"telegram:1:5"} and not any(e["by_api"] for e in said)
    assert [e["text"] for e in sandbox.journal(sandbox.intercom, "notes")] == ["between us"]


def test_search_for_what_changed(client, sandbox):
    contacts = [client.contact(f"c:{i}") for i in range(7)]
    made = [client.conversation(each, created_at=1700000000)["conversation_id"] for each in contacts]
    for each in made[:5]:
        act(sandbox, "reply", conversation=each, body="x")
    since = client.ask("GET", f"/conversations/{made[0]}")["updated_at"]
    found, cursor = [], None
    while True:
        pagination = {"per_page": 2, **({"starting_after": cursor} if cursor else {})}
        page = client.ask("POST", "/conversations/search", {
            "query": {"operator": "AND", "value": [{"field": "updated_at", "operator": ">", "value": str(since - 1)}]}, "pagination": pagination})
        found += [each["id"] for each in page["conversations"]]
        assert len(page["conversations"]) <= 2 and "conversation_parts" not in page["conversations"][0]
        cursor = (page["pages"].get("next") or {}).get("starting_after")
        if not cursor:
            break
    assert found[:5] == made[4::-1] and len(set(found)) == len(found)
    later = {"query": {"field": "updated_at", "operator": ">", "value": since + 3600}}
    assert client.ask("POST", "/conversations/search", later)["conversations"] == []


# ---- notifications

def test_joining_probes_and_pings(client, sandbox):
    with Webhook() as webhook:
        assert join(sandbox, webhook)["state"] == "on" and webhook.heads == 1
        assert sandbox.control(sandbox.intercom, "GET", "intercom/webhook")["url"] == webhook.url
        assert sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": None})["state"] == "off"
    with Webhook(head=405) as webhook:
        body = {"url": webhook.url, "client_secret": SECRET}
        answer = http_call(sandbox.intercom, "POST", "/sandbox/intercom/webhook", body)
        assert (answer.status, webhook.heads, webhook.seen) == (400, 1, []) and "405" in answer.json()["error"]
        assert http_call(sandbox.intercom, "POST", "/sandbox/intercom/webhook", {"url": webhook.url}).status == 400
    assert sandbox.control(sandbox.intercom, "GET", "intercom/webhook")["state"] == "off"


def test_envelope_and_signature(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        did = act(sandbox, "reply", conversation=conversation, html="<p>Hi <b>Ada</b> &amp; all</p><p>Bye</p>")
        webhook.wait(1)
        [(notice, body, headers)] = webhook.seen
    expected = "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    assert headers["x-hub-signature"] == expected and headers["user-agent"] == "intercom-parrot-service-client/1.0"
    assert headers["content-type"] == "application/json"
    item = notice["data"].pop("item")
    assert re.fullmatch("notif_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", notice.pop("id"))
    assert abs(notice.pop("created_at") - time.time()) < 60 and abs(notice.pop("first_sent_at") - time.time()) < 60
    assert notice == {"type": "notification_event", "topic": "conversation.admin.replied", "app_id": client.ask("GET", "/me")["app"]["id_code"],
                      "delivery_attempts": 1, "data": {"type": "notification_event_data"}}
    assert the_description().check({"$ref": "#/components/schemas/conversation"}, item, "item") == []
    [part] = item["conversation_parts"]["conversation_parts"]
    assert (item["id"], part["id"], part["body"]) == (conversation, did["id"], "Hi Ada & all\nBye")
    assert item["source"]["body"] == "Hello there"


def test_own_vector_of_the_signature():
    """desks/intercom.md, section 5: secret test_client_secret, body {"type":"ping"}: how the checks above reckon."""
    digest = hmac.new(b"test_client_secret", b'{"type":"ping"}', hashlib.sha1).hexdigest()
    assert digest == "97c99000ac14939aa185cdd331a580a4989e85ae"


def test_topics(client, sandbox, conversation):
    contact = client.ask("GET", "/contacts/find_by_external_id/telegram%3A1%3A5")
    doings = [("reply", {"body": "x"}, "admin.replied", "comment"), ("reply", {"body": "x", "note": True}, "admin.noted", "note"),
              ("assign", {}, "admin.assigned", "assignment"), ("assign", {"body": "x"}, "admin.replied", "assignment"),
              ("snooze", {}, "admin.snoozed", "snoozed"), ("open", {}, "admin.unsnoozed", "open"), ("close", {"body": "x"}, "admin.closed", "close"),
              ("open", {"body": "x"}, "admin.opened", "open"), ("reply", {"body": "x", "as": "bot"}, "operator.replied", "comment")]
    with Webhook() as webhook:
        join(sandbox, webhook)
        for what, body, topic, kind in doings:
            webhook.seen.clear()
            act(sandbox, what, conversation=conversation, **body)
            [notice] = webhook.wait(1)
            [part] = notice["data"]["item"]["conversation_parts"]["conversation_parts"]
            assert (notice["topic"], part["part_type"], part["body"]) == (f"conversation.{topic}", kind, "x" if "body" in body else None)
        webhook.seen.clear()
        act(sandbox, "start", contact=contact["id"], body="x")
        [notice] = webhook.wait(1)
        assert notice["topic"] == "conversation.admin.single.created"
        assert notice["data"]["item"]["source"]["body"] == "x" and notice["data"]["item"]["conversation_parts"]["conversation_parts"] == []
        webhook.seen.clear()
        client.reply(conversation, contact, "customers are not told of")
        client.ask("POST", f"/conversations/{conversation}/reply", {"message_type": "note", "type": "admin", "admin_id": ROBIN, "body": "by the app"})
        [notice] = webhook.wait(1)
        assert notice["topic"] == "conversation.admin.noted"
        assert notice["data"]["item"]["conversation_parts"]["conversation_parts"][0]["author"]["id"] == ROBIN


def test_one_retry_then_dropped_for_ever(client, sandbox, conversation):
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"webhook_retry_ms": 10})
    with Webhook([200, 503, None, 500, 200]) as webhook:
        join(sandbox, webhook)
        act(sandbox, "reply", conversation=conversation, body="lost")
        first, second = webhook.wait(2)
        assert (first["id"], first["delivery_attempts"], second["delivery_attempts"]) == (second["id"], 1, 2)
        until(lambda: len(outcomes(sandbox)) == 3)
        act(sandbox, "reply", conversation=conversation, body="saved")
        assert webhook.wait(4)[3]["delivery_attempts"] == 2
        until(lambda: len(outcomes(sandbox)) == 5)
        assert outcomes(sandbox) == [("ping", 1, "delivered"), ("admin.replied", 1, "failed"), ("admin.replied", 2, "dropped"),
                                     ("admin.replied", 1, "failed"), ("admin.replied", 2, "delivered")]
        assert sandbox.control(sandbox.intercom, "GET", "intercom/webhook")["open"] == 0


def test_the_retry_waits_as_long_as_asked():
    with Sandbox("--retry-scale", "0.01") as sandbox, Webhook([200, 500]) as webhook:  # 600 ms for a minute
        client = Client(sandbox)
        conversation = client.conversation(client.contact())["conversation_id"]
        join(sandbox, webhook)
        began = time.monotonic()
        act(sandbox, "reply", conversation=conversation, body="x")
        webhook.wait(2)
        assert time.monotonic() - began >= 0.6


def test_a_slow_webhook_has_failed(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"webhook_timeout_ms": 100, "webhook_retry_ms": 10})
        webhook.gate.clear()
        act(sandbox, "reply", conversation=conversation, body="x")
        until(lambda: outcomes(sandbox)[1:] == [("admin.replied", 1, "failed"), ("admin.replied", 2, "dropped")])


def test_410_ends_it(client, sandbox, conversation):
    with Webhook([200, 410]) as webhook:
        join(sandbox, webhook)
        act(sandbox, "reply", conversation=conversation, body="x")
        until(lambda: sandbox.control(sandbox.intercom, "GET", "intercom/webhook")["state"] == "disabled")
        act(sandbox, "reply", conversation=conversation, body="y")
        assert outcomes(sandbox)[1:] == [("admin.replied", 1, "dropped")]
        assert join(sandbox, webhook)["state"] == "on"
        act(sandbox, "reply", conversation=conversation, body="z")
        webhook.wait(1)


def test_told_from_the_command_line():
    with Webhook() as webhook, Sandbox("--intercom-webhook", webhook.url, "--intercom-secret", SECRET) as sandbox:
        client = Client(sandbox)
        act(sandbox, "reply", conversation=client.conversation(client.contact())["conversation_id"], body="x")
        assert webhook.wait(1)[0]["topic"] == "conversation.admin.replied" and webhook.heads == 0


# ---- what goes wrong with notifications

def bodies(webhook):
    return [notice["data"]["item"]["conversation_parts"]["conversation_parts"][0]["body"] for notice, *_ in webhook.seen]


def test_notifications_lost(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        fault = sandbox.fault(sandbox.intercom, fault="lose", path="admin.replied", count=2, after=1)
        for text in "abcd":
            act(sandbox, "reply", conversation=conversation, body=text)
        act(sandbox, "close", conversation=conversation, body="e")
        webhook.wait(3)
        assert sorted(bodies(webhook)) == ["a", "d", "e"]
        assert [e["attempt"] for e in sandbox.journal(sandbox.intercom, "webhook") if e["outcome"] == "lost"] == [0, 0]
        [listed] = sandbox.control(sandbox.intercom, "GET", "faults")["faults"]
        assert (listed["id"], listed["seen"], listed["hits"]) == (fault, 3, 2)


def test_faults_of_requests_and_of_notifications_are_two_things(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.fault(sandbox.intercom, fault="status", status=503)
        act(sandbox, "reply", conversation=conversation, body="a")
        webhook.wait(1)
        client.ask("GET", "/me", status=503)
        sandbox.control(sandbox.intercom, "DELETE", "faults")
        sandbox.fault(sandbox.intercom, fault="lose")
        client.ask("GET", "/me")
        act(sandbox, "reply", conversation=conversation, body="b")
        assert outcomes(sandbox)[-1] == ("admin.replied", 0, "lost")


def test_notifications_lost_by_chance(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.fault(sandbox.intercom, fault="lose", chance=0.5)
        for i in range(100):
            act(sandbox, "reply", conversation=conversation, body=str(i))
        until(lambda: len(outcomes(sandbox)) == 101)
        lost = [each for each in outcomes(sandbox) if each[2] == "lost"]
        assert 20 < len(lost) < 80 and len(webhook.seen) == 100 - len(lost)


def test_notifications_twice(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.fault(sandbox.intercom, fault="twice", count=1)
        act(sandbox, "reply", conversation=conversation, body="a")
        webhook.wait(2)
        act(sandbox, "reply", conversation=conversation, body="b")
        notices = webhook.wait(3)
        assert bodies(webhook) == ["a", "a", "b"] and notices[0]["id"] == notices[1]["id"] != notices[2]["id"]


def test_notifications_late(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.fault(sandbox.intercom, fault="late", ms=300, count=1)
        began = time.monotonic()
        act(sandbox, "reply", conversation=conversation, body="a")
        webhook.wait(1)
        assert time.monotonic() - began >= 0.3


def test_notifications_out_of_order(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        sandbox.fault(sandbox.intercom, fault="swap", ms=60000, count=1)
        for text in "abc":
            act(sandbox, "reply", conversation=conversation, body=text)
        webhook.wait(3)
        assert bodies(webhook).index("a") > bodies(webhook).index("b")
        sandbox.fault(sandbox.intercom, fault="swap", ms=50, count=1)
        act(sandbox, "reply", conversation=conversation, body="alone")
        webhook.wait(4)


def test_faults_of_notifications_belong_to_who_notifies(sandbox):
    answer = http_call(sandbox.telegram, "POST", "/sandbox/faults", {"fault": "lose"})
    assert answer.status == 400 and "no notifications" in answer.json()["error"]


def test_many_at_once_and_a_reset(client, sandbox, conversation):
    with Webhook() as webhook:
        join(sandbox, webhook)
        webhook.gate.clear()
        for i in range(100):
            act(sandbox, "reply", conversation=conversation, body=str(i))
        assert sandbox.control(sandbox.intercom, "GET", "intercom/webhook")["open"] == 100
        webhook.gate.set()
        webhook.wait(100)
        assert sorted(bodies(webhook), key=int) == [str(i) for i in range(100)]
        webhook.gate.clear()
        act(sandbox, "reply", conversation=conversation, body="forgotten")
        sandbox.control(sandbox.intercom, "POST", "reset")
        left = sandbox.control(sandbox.intercom, "GET", "intercom/webhook")
        assert (left["open"], left["state"]) == (0, "on") and sandbox.journal(sandbox.intercom, "webhook") == []
