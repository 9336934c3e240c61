"""Every operation of the Intercom stand-in, good and bad, with each answer held to the official description."""
import json
import re
import time

import pytest

from description import Description
from intercom_contract import IntercomContract, the_description
from sandbox_process import Sandbox, http_call

GOOD = {"Authorization": "Bearer token", "Accept": "application/json", "Intercom-Version": "2.16"}
ADMIN = "991267459"


class Client:
    """Asks the stand-in; every answer must be one that the description allows, whatever was asked."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.description = the_description()

    def ask(self, method, target, body=None, status=200, headers=None, code=None):
        answer = http_call(self.sandbox.intercom, method, target, body, {**GOOD, **(headers or {})})
        assert answer.status == status, (method, target, answer.status, answer.body)
        value = answer.json()
        assert self.description.answer(method, target, status, answer.headers, value) == []
        if code:
            assert value["errors"][0]["code"] == code
        self.last = answer
        return value

    def contact(self, external_id="telegram:1:5", **more):
        return self.ask("POST", "/contacts", {"role": "user", "external_id": external_id, **more})

    def conversation(self, contact, body="Hello there", **more):
        return self.ask("POST", "/conversations", {"from": {"type": "user", "id": contact["id"]}, "body": body, **more})

    def reply(self, conversation_id, contact, body, status=200, **more):
        return self.ask("POST", f"/conversations/{conversation_id}/reply",
                        {"message_type": "comment", "type": "user", "intercom_user_id": contact["id"], "body": body, **more}, status)


@pytest.fixture
def client(sandbox):
    return Client(sandbox)


# ---- the gate

def test_me_and_admins(client):
    me = client.ask("GET", "/me")
    assert me["app"]["region"] == "US"
    assert me["id"] in [each["id"] for each in client.ask("GET", "/admins")["admins"]]


@pytest.mark.parametrize("authorization", ["", "Basic dXNlcg==", "Bearer ", "Bearer invalid"])
def test_bad_credentials_are_401_without_rate_headers(client, authorization):
    client.ask("GET", "/me", status=401, headers={"Authorization": authorization}, code="unauthorized")
    assert not [name for name in client.last.headers if name.startswith("x-ratelimit")]


def test_accept_and_version(client, sandbox):
    client.ask("GET", "/me", status=406, headers={"Accept": "text/html"})
    client.ask("GET", "/me", headers={"Accept": "text/html, application/*;q=0.5"})
    client.ask("GET", "/me", status=400, headers={"Intercom-Version": "7.1"}, code="intercom_version_invalid")
    assert client.ask("GET", "/me", headers={"Intercom-Version": "2.11"}) and client.last.headers["intercom-version"] == "2.11"


def test_unknown_paths_methods_and_bodies(client):
    client.ask("GET", "/nothing", status=404)
    client.ask("PATCH", "/contacts", {}, status=404)
    client.ask("POST", "/contacts", b"{broken", status=400, headers={"Content-Type": "application/json"}, code="parameter_invalid")
    client.ask("POST", "/contacts", b"role=user", status=415, headers={"Content-Type": "application/x-www-form-urlencoded"})
    client.ask("POST", "/contacts", [], status=400)


def test_rate_headers_and_429(client, sandbox):
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"limit": 3, "window_ms": 600000})
    for left in (2, 1, 0):
        client.ask("GET", "/me")
        assert client.last.headers["x-ratelimit-limit"] == "3"
        assert client.last.headers["x-ratelimit-remaining"] == str(left)
    client.ask("GET", "/me", status=429, code="rate_limit_exceeded")
    assert int(client.last.headers["x-ratelimit-reset"]) >= time.time() - 1
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"limit": 2, "window_ms": 10})
    deadline = time.monotonic() + 5
    while http_call(sandbox.intercom, "GET", "/me", headers=GOOD).status == 429:  # a new window
        assert time.monotonic() < deadline


# ---- contacts

def test_contact_made_found_changed(client):
    contact = client.contact(name="Ada", phone="+49123", avatar="https://example.com/a.png")
    assert re.fullmatch("[0-9a-f]{24}", contact["id"])
    assert client.ask("GET", "/contacts/find_by_external_id/telegram%3A1%3A5")["id"] == contact["id"]
    assert client.ask("GET", f"/contacts/{contact['id']}?include_merge_history=true")["name"] == "Ada"
    changed = client.ask("PUT", f"/contacts/{contact['id']}", {"name": None, "email": "ada@example.com"})
    assert (changed["name"], changed["email"], changed["external_id"]) == (None, "ada@example.com", "telegram:1:5")
    assert client.ask("GET", "/contacts")["total_count"] == 1


def test_contact_not_found(client):
    client.ask("GET", "/contacts/find_by_external_id/nobody", status=404, code="not_found")
    client.ask("GET", "/contacts/0123456789abcdef01234567", status=404)
    client.ask("PUT", "/contacts/x", {"name": "x"}, status=404)


@pytest.mark.parametrize("body", [{}, {"role": 5}, {"role": "admin"}, {"external_id": ["x"]}, {"role": "user", "name": {}},
                                  {"role": "user", "custom_attributes": {"undefined": "x"}}, {"role": None}])
def test_bad_contacts_are_refused(client, body):
    client.ask("POST", "/contacts", body, status=400)


def test_the_same_external_id_is_a_conflict(client):
    contact = client.contact()
    error = client.ask("POST", "/contacts", {"role": "user", "external_id": "telegram:1:5"}, status=409, code="conflict")
    assert error["errors"][0]["message"] == f"A contact matching those details already exists with id={contact['id']}"
    other = client.contact("telegram:1:6")
    client.ask("PUT", f"/contacts/{other['id']}", {"external_id": "telegram:1:5"}, status=409)


def test_archived_contact(client):
    contact = client.contact()
    client.ask("POST", f"/contacts/{contact['id']}/archive")
    client.ask("GET", "/contacts/find_by_external_id/telegram%3A1%3A5", status=404)
    client.ask("POST", "/conversations", {"from": {"type": "user", "id": contact["id"]}, "body": "x"}, status=404)
    error = client.ask("POST", "/contacts", {"role": "user", "external_id": "telegram:1:5"}, status=409)
    assert error["errors"][0]["message"] == f"An archived contact matching those details already exists with id={contact['id']}"
    assert client.ask("POST", f"/contacts/{contact['id']}/unarchive")["archived"] is False
    client.conversation(contact)


def test_merged_contact_points_to_the_last(client):
    first, second, third = (client.contact(f"c:{i}") for i in range(3))
    conversation = client.conversation(first)
    client.ask("POST", "/contacts/merge", {"from": first["id"], "into": second["id"]}, status=400, code="invalid_merge")
    for a, b in ((first, second), (second, third)):
        client.ask("POST", "/contacts/merge", {"from": a["id"], "into": b["id"], "skip_duplicate_validation": True})
    for target in ("/contacts/find_by_external_id/c%3A0", f"/contacts/{first['id']}"):
        client.ask("GET", target, status=410, code="contact_merged")
        assert client.last.headers["link"] == f'</contacts/{third["id"]}>; rel="canonical"'
    client.ask("GET", "/contacts/find_by_external_id/c%3A0", status=404, headers={"Intercom-Version": "2.15"})
    client.reply(conversation["conversation_id"], first, "as the old one", status=404)
    client.reply(conversation["conversation_id"], third, "as the new one")
    history = client.ask("GET", f"/contacts/{third['id']}?include_merge_history=true")["merge_history"]
    assert [each["source_contact_id"] for each in history] == [second["id"]]


def test_contact_deleted(client):
    contact = client.contact()
    conversation = client.conversation(contact)
    assert client.ask("DELETE", f"/contacts/{contact['id']}")["deleted"] is True
    client.ask("GET", f"/contacts/{contact['id']}", status=404)
    client.ask("GET", f"/conversations/{conversation['conversation_id']}", status=404)


def test_contact_search(client):
    for i in range(5):
        client.contact(f"c:{i}", name=f"Name {i}")
    query = {"field": "external_id", "operator": "=", "value": "c:3"}
    assert [each["name"] for each in client.ask("POST", "/contacts/search", {"query": query})["data"]] == ["Name 3"]
    either = {"operator": "OR", "value": [query, {"field": "name", "operator": "~", "value": "4"}]}
    page = client.ask("POST", "/contacts/search", {"query": either, "pagination": {"per_page": 1}})
    assert (page["total_count"], len(page["data"]), page["pages"]["next"]["starting_after"]) == (2, 1, "1")
    client.ask("POST", "/contacts/search", {}, status=400)
    client.ask("POST", "/contacts/search", {"query": {"field": "shoe", "operator": "=", "value": "4"}}, status=400)
    client.ask("POST", "/contacts/search", {"query": query, "sort": {"field": "name", "order": "desc"}}, status=400,
               code="invalid_sort_order")


def test_contacts_are_found_by_phone_and_by_address(client):
    """As the relay asks for one person across sources."""
    def search(field, value):
        return client.ask("POST", "/contacts/search", {"query": {"operator": "AND", "value": [
            {"field": field, "operator": "=", "value": value}, {"field": "role", "operator": "=", "value": "user"}]}, "pagination": {"per_page": 2}})
    first = client.contact("c:1", phone="+15550001111", email="ann@example.com")
    client.contact("c:2", phone="+15550002222")
    client.ask("POST", "/contacts", {"role": "lead", "phone": "+15550002222"})
    assert [c["id"] for c in search("phone", "+15550001111")["data"]] == [c["id"] for c in search("email", "ann@example.com")["data"]] == [first["id"]]
    assert [c["external_id"] for c in search("phone", "+15550002222")["data"]] == ["c:2"]
    assert search("phone", "+1555000111")["data"] == [] and search("email", "ann@example.org")["total_count"] == 0
    for i in range(2):
        client.contact(f"c:{i + 3}", phone="+15550001111")
    several = search("phone", "+15550001111")
    assert (len(several["data"]), several["total_count"]) == (2, 3)


def test_custom_attributes_must_be_defined(client):
    made = client.ask("POST", "/data_attributes", {"name": "origin", "model": "contact", "data_type": "string"})
    assert made["full_name"] == "custom_attributes.origin"
    assert client.contact(custom_attributes={"origin": "telegram"})["custom_attributes"] == {"origin": "telegram"}
    client.ask("POST", "/data_attributes", {"name": "origin", "model": "contact", "data_type": "string"}, status=400)


# ---- conversations

def test_conversation_begun_and_continued(client):
    contact = client.contact(name="Ada")
    made = client.conversation(contact, "first", created_at=1671028894)
    assert made["created_at"] == 1671028894 and made["id"] != made["conversation_id"]
    client.ask("GET", f"/conversations/{made['id']}", status=404)
    answer = client.reply(made["conversation_id"], contact, "a < b & \"c\"\nsecond line", created_at=1671028890)
    parts = answer["conversation_parts"]
    assert parts["total_count"] == 1 and parts["conversation_parts"][0]["created_at"] == 1671028890
    assert "&lt;" in parts["conversation_parts"][0]["body"]
    whole = client.ask("GET", f"/conversations/{made['conversation_id']}?display_as=plaintext")
    assert whole["source"]["body"] == "first" and whole["source"]["author"]["id"] == contact["id"]
    [part] = whole["conversation_parts"]["conversation_parts"]
    assert part["body"] == "a < b & \"c\"\nsecond line"
    assert part["author"]["id"] == contact["id"] and part["app_package_code"]
    for way in ({"user_id": "telegram:1:5"},):
        body = {"message_type": "comment", "type": "user", "body": "x", **way}
        client.ask("POST", f"/conversations/{made['conversation_id']}/reply", body)
        client.ask("POST", "/conversations/last/reply", body)


def test_attachments(client):
    contact = client.contact()
    made = client.conversation(contact, attachment_urls=["https://example.com/a.png?x=1"])
    answer = client.reply(made["conversation_id"], contact, "",
                          attachment_files=[{"content_type": "image/png", "data": "aGFsbG8=", "name": "b.png"}])
    assert answer["source"]["attachments"][0]["name"] == "a.png"
    assert answer["conversation_parts"]["conversation_parts"][0]["attachments"][0]["name"] == "b.png"


@pytest.mark.parametrize("change", [
    {"body": None}, {"body": ""}, {"body": 5}, {"from": None}, {"from": {"type": "user"}}, {"from": {"type": "bot", "id": "x" * 24}},
    {"from": {"type": "user", "id": "short"}}, {"created_at": "yesterday"}, {"created_at": 1.5},
    {"attachment_urls": ["https://example.com/x"] * 11}, {"attachment_urls": ["no url"]}])
def test_bad_conversations_are_refused(client, change):
    contact = client.contact()
    body = {"from": {"type": "user", "id": contact["id"]}, "body": "x", **change}
    client.ask("POST", "/conversations", {key: value for key, value in body.items() if value is not None}, status=400)
    assert client.sandbox.control(client.sandbox.intercom, "GET", "status")["applied"] == 0


def test_conversation_of_nobody(client):
    client.ask("POST", "/conversations", {"from": {"type": "user", "id": "0" * 24}, "body": "x"}, status=404, code="not_found")


def test_contact_too_new(client, sandbox):
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"contact_ready_ms": 600000})
    contact = client.contact()
    body = {"from": {"type": "user", "id": contact["id"]}, "body": "x"}
    client.ask("POST", "/conversations", body, status=404)
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"contact_ready_ms": 0})
    client.ask("POST", "/conversations", body)


@pytest.mark.parametrize("change", [
    {"message_type": None}, {"message_type": "shout"}, {"type": None}, {"type": "bot"}, {"intercom_user_id": None}, {"body": None},
    {"body": ""}, {"user_id": "telegram:1:5"}, {"created_at": "now"}, {"message_type": "note"}])
def test_bad_replies_are_refused(client, change):
    contact = client.contact()
    conversation = client.conversation(contact)["conversation_id"]
    body = {"message_type": "comment", "type": "user", "intercom_user_id": contact["id"], "body": "x", **change}
    client.ask("POST", f"/conversations/{conversation}/reply", {key: value for key, value in body.items() if value is not None},
               status=400)
    assert client.sandbox.control(client.sandbox.intercom, "GET", "status")["applied"] == 1


def test_reply_to_what_is_not_there(client):
    contact, other = client.contact(), client.contact("other")
    conversation = client.conversation(contact)["conversation_id"]
    client.reply("999999", contact, "x", status=404)
    client.reply("abc", contact, "x", status=404)
    client.reply(conversation, other, "not mine", status=404)
    client.reply("last", other, "none yet", status=400)


def test_admin_replies_notes_and_states(client):
    contact = client.contact()
    conversation = client.conversation(contact)["conversation_id"]
    say = {"type": "admin", "admin_id": ADMIN, "body": "<p>Hi <b>there</b></p>"}
    for message_type in ("comment", "note"):
        answer = client.ask("POST", f"/conversations/{conversation}/reply", {**say, "message_type": message_type})
        assert answer["conversation_parts"]["conversation_parts"][0]["part_type"] == message_type
    client.ask("POST", f"/conversations/{conversation}/reply", {**say, "message_type": "comment", "admin_id": "1"}, status=404)
    client.ask("POST", f"/conversations/{conversation}/reply", {"type": "admin", "message_type": "comment", "body": "x"}, status=400)
    manage = {"type": "admin", "admin_id": ADMIN}
    for body, state in (({"message_type": "close"}, "closed"), ({"message_type": "open"}, "open"),
                        ({"message_type": "snoozed", "snoozed_until": 1999999999}, "snoozed"),
                        ({"message_type": "assignment", "assignee_id": ADMIN}, "snoozed")):
        assert client.ask("POST", f"/conversations/{conversation}/parts", {**manage, **body})["state"] == state
    client.ask("POST", f"/conversations/{conversation}/parts", {**manage, "message_type": "burn"}, status=400)
    answer = client.reply(conversation, contact, "are you there?")
    assert answer["state"] == "open" and answer["conversation_parts"]["conversation_parts"][0]["part_type"] == "open"
    plain = client.ask("GET", f"/conversations/{conversation}?display_as=plaintext")["conversation_parts"]["conversation_parts"]
    assert plain[0]["body"] == "Hi there"


def test_conversation_updated_tagged_deleted(client):
    conversation = client.conversation(client.contact())["conversation_id"]
    changed = client.ask("PUT", f"/conversations/{conversation}", {"title": "T", "read": True, "custom_attributes": {"Origin": "telegram"}})
    assert (changed["title"], changed["read"], changed["custom_attributes"]) == ("T", True, {"Origin": "telegram"})
    client.ask("PUT", f"/conversations/{conversation}", {"read": "yes"}, status=400)
    tag = client.ask("POST", "/tags", {"name": "telegram"})
    assert client.ask("POST", "/tags", {"name": "Telegram"})["id"] == tag["id"]
    client.ask("POST", "/tags", {}, status=400)
    assert len(client.ask("GET", "/tags")["data"]) == 1
    for _ in range(2):
        client.ask("POST", f"/conversations/{conversation}/tags", {"id": tag["id"], "admin_id": ADMIN})
    client.ask("POST", f"/conversations/{conversation}/tags", {"id": "1", "admin_id": ADMIN}, status=404)
    assert [each["id"] for each in client.ask("GET", f"/conversations/{conversation}")["tags"]["tags"]] == [tag["id"]]
    assert client.ask("DELETE", f"/conversations/{conversation}?retain_metrics=true")["deleted"] is True
    for method, body in (("GET", None), ("PUT", {"read": True}), ("DELETE", None)):
        client.ask(method, f"/conversations/{conversation}", body, status=404)
    [gone] = client.ask("GET", "/conversations/deleted")["conversations"]
    assert gone["id"] == conversation and gone["metrics_retained"] is True


def test_conversation_lists_and_search(client):
    contacts = [client.contact(f"c:{i}") for i in range(4)]
    made = [client.conversation(each, f"text {i}", created_at=1700000000 + i)["conversation_id"] for i, each in enumerate(contacts)]
    client.reply(made[0], contacts[0], "newest activity")
    page = client.ask("GET", "/conversations?per_page=3")
    assert [each["id"] for each in page["conversations"]] == [made[0], made[3], made[2]]
    rest = client.ask("GET", f"/conversations?per_page=3&starting_after={page['pages']['next']['starting_after']}")
    assert [each["id"] for each in rest["conversations"]] == [made[1]]

    def search(*filters):
        value = [dict(zip(("field", "operator", "value"), each)) for each in filters]
        found = client.ask("POST", "/conversations/search", {"query": {"operator": "AND", "value": value}})
        return [each["id"] for each in found["conversations"]]

    assert search(("contact_ids", "=", contacts[2]["id"]), ("created_at", ">", "1700000000")) == [made[2]]
    assert search(("contact_ids", "=", contacts[2]["id"]), ("created_at", ">", 1700000002)) == []
    assert search(("source.body", "~", "text"), ("created_at", "<", 1700000002)) == [made[0], made[1]]
    assert search(("state", "IN", ["open", "closed"]), ("id", "!=", made[0])) == [made[3], made[2], made[1]]
    for bad in ({}, {"query": {}}, {"query": {"field": "created_at", "operator": "==", "value": 1}},
                {"query": {"operator": "AND", "value": []}}, {"query": {"field": "colour", "operator": "=", "value": "x"}}):
        client.ask("POST", "/conversations/search", bad, status=400)


def test_search_lags_on_request(client, sandbox):
    contact = client.contact()
    client.conversation(contact)
    query = {"query": {"field": "contact_ids", "operator": "=", "value": contact["id"]}}
    assert client.ask("POST", "/conversations/search", query)["total_count"] == 1
    sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"search_lag_ms": 600000})
    assert client.ask("POST", "/conversations/search", query)["total_count"] == 0


def test_at_most_500_parts_are_shown(client):
    contact = client.contact()
    conversation = client.conversation(contact)["conversation_id"]
    client.sandbox.control(client.sandbox.intercom, "POST", "intercom/settings", {"limit": 0})
    for i in range(505):
        http_call(client.sandbox.intercom, "POST", f"/conversations/{conversation}/reply",
                  {"message_type": "comment", "type": "user", "user_id": "telegram:1:5", "body": str(i)}, GOOD)
    parts = client.ask("GET", f"/conversations/{conversation}?display_as=plaintext")["conversation_parts"]
    assert parts["total_count"] == 505
    assert [each["body"] for each in parts["conversation_parts"]] == [str(i) for i in range(5, 505)]


# ---- the journal, and what an agent does on the page

def test_journal_says_what_was_applied(client, sandbox):
    contact = client.contact()
    conversation = client.conversation(contact, "one", created_at=5)["conversation_id"]
    client.reply(conversation, contact, "two", created_at=6)
    client.reply(conversation, contact, "", status=400)
    kinds = [(e["kind"], e["body"], e["created_at"], e["external_id"]) for e in sandbox.journal(sandbox.intercom) if e["kind"] != "contact"]
    assert kinds == [("conversation", "one", 5, "telegram:1:5"), ("reply", "two", 6, "telegram:1:5")]
    outcomes = [(e["method"], e["target"], e["status"]) for e in sandbox.journal(sandbox.intercom, "requests")]
    assert outcomes[-1] == ("POST", f"/conversations/{conversation}/reply", 400) and len(outcomes) == 4
    assert [e["seq"] for e in sandbox.journal(sandbox.intercom)] == [1, 2, 3]
    assert sandbox.control(sandbox.intercom, "GET", "journal?after=1&limit=1")["next"] == 2
    sandbox.control(sandbox.intercom, "POST", "reset")
    assert sandbox.journal(sandbox.intercom) == [] and sandbox.journal(sandbox.intercom, "requests") == []
    client.ask("GET", f"/contacts/{contact['id']}", status=404)


def test_journal_forgets_the_oldest_and_says_so():
    with Sandbox("--journal", "300") as sandbox:
        for i in range(305):
            http_call(sandbox.intercom, "POST", "/contacts", {"role": "user", "external_id": f"x:{i}"}, GOOD)
        page = sandbox.control(sandbox.intercom, "GET", "journal?limit=1000")
        assert page["dropped"] == 5 and [e["external_id"] for e in page["items"]] == [f"x:{i}" for i in range(5, 305)]


def test_an_agent_answers_on_the_page(client, sandbox):
    contact = client.contact()
    conversation = client.conversation(contact)["conversation_id"]
    sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": conversation, "body": "a <b> & c"})
    sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": conversation, "body": "psst", "note": True})
    sandbox.control(sandbox.intercom, "POST", "inbox/close", {"conversation": conversation})
    parts = client.ask("GET", f"/conversations/{conversation}")["conversation_parts"]["conversation_parts"]
    assert [(p["part_type"], p["body"], p["author"]["type"]) for p in parts] == [
        ("comment", "<p>a &lt;b&gt; &amp; c</p>", "admin"), ("note", "<p>psst</p>", "admin"), ("close", None, "admin")]
    thread = sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={conversation}")["thread"]
    assert [p["body"] for p in thread["parts"]] == ["Hello there", "a <b> & c", "psst", None]


# ---- the watcher that system tests put between relay and sandbox

def test_contract_lets_good_requests_pass(sandbox):
    with IntercomContract(sandbox.intercom) as contract:
        contact = http_call(contract.url, "POST", "/contacts", {"role": "user", "external_id": "x:1", "name": None}, GOOD).json()
        made = http_call(contract.url, "POST", "/conversations",
                         {"from": {"type": "user", "id": contact["id"]}, "body": "hi", "created_at": 5}, GOOD).json()
        http_call(contract.url, "POST", f"/conversations/{made['conversation_id']}/reply",
                  {"message_type": "comment", "type": "user", "intercom_user_id": contact["id"], "body": "x", "created_at": 5}, GOOD)
        http_call(contract.url, "GET", f"/conversations/{made['conversation_id']}?display_as=plaintext", headers=GOOD)
        http_call(contract.url, "POST", "/conversations/search", {"query": {"operator": "AND", "value": [
            {"field": "contact_ids", "operator": "=", "value": contact["id"]}, {"field": "created_at", "operator": ">", "value": "5"}]}}, GOOD)
        contract.check()
        assert [each[:2] for each in contract.requests][:2] == [("POST", "/contacts"), ("POST", "/conversations")]


REPLY = {"message_type": "comment", "type": "user", "intercom_user_id": "0" * 24, "body": "x"}


@pytest.mark.parametrize("method, target, body, headers, breach", [
    ("GET", "/me", None, {"Authorization": ""}, "bearer"),
    ("GET", "/me", None, {"Accept": "*/*"}, "Accept"),
    ("GET", "/me", None, {"Intercom-Version": "9"}, "Intercom-Version"),
    ("GET", "/nothing", None, {}, "no such operation"),
    ("DELETE", "/me", None, {}, "no such operation"),
    ("GET", "/contacts/find_by_external_id/x?colour=red", None, {}, "query parameter colour"),
    ("GET", "/conversations/abc", None, {}, "conversation_id is not an integer"),
    ("POST", "/contacts", {}, {}, "body"),
    ("POST", "/contacts", None, {}, "body is missing"),
    ("POST", "/contacts", {"role": "user", "nickname": "x"}, {}, "nickname"),
    ("POST", "/contacts", {"role": "user", "name": 5}, {}, "name"),
    ("POST", "/conversations", {"from": {"type": "user", "id": "short"}, "body": "x"}, {}, "id"),
    ("POST", "/conversations", {"from": {"type": "user", "id": "0" * 24}, "body": "x", "created_at": "5"}, {}, "created_at"),
    ("POST", "/conversations", {"from": {"type": "user", "id": "0" * 24, "name": "x"}, "body": "x"}, {}, "from.name"),
    ("POST", "/conversations/5/reply", {**REPLY, "user_id": "x"}, {}, "valid under each of|is not valid under any"),
    ("POST", "/conversations/5/reply", {"message_type": "comment", "type": "user", "body": "x"}, {}, "is not valid under any"),
    ("POST", "/conversations/5/reply", REPLY, {"Content-Type": "text/plain"}, "Content-Type"),
    ("POST", "/conversations/5/reply", {**REPLY, "attachment_urls": ["https://x/"] * 11}, {}, "is not valid under any"),
])
def test_contract_sees_bad_requests(sandbox, method, target, body, headers, breach):
    with IntercomContract(sandbox.intercom) as contract:
        http_call(contract.url, method, target, body, {**GOOD, **headers})
        with pytest.raises(AssertionError, match=breach):
            contract.check()


@pytest.mark.parametrize("target, body", [
    ("/me", {"type": "admin", "id": 5}), ("/me", []), ("/me", {"type": "admin", "shoe_size": 5}),
    ("/conversations/5", {"type": "conversation", "state": "asleep"}), ("/conversations/5", {"created_at": "today"}),
])
def test_description_sees_bad_answers(target, body):
    assert Description().answer("GET", target, 200, {"content-type": "application/json"}, body)


def test_description_sees_answers_that_cannot_be(sandbox):
    described = Description()
    good = {"content-type": "application/json"}
    assert described.answer("GET", "/me", 204, good, {})
    assert described.answer("GET", "/me", 500, good, {"error": "x"})
    assert described.answer("GET", "/me", 500, good, {"type": "error.list", "errors": [{"message": "no code"}]})
    assert described.answer("GET", "/me", 200, {"content-type": "text/html"}, {})
    assert described.answer("POST", "/conversations", 200, good, {"type": "user_message", "id": "1", "created_at": 1, "body": "x",
                                                                  "message_type": "inapp"})


def test_contract_gives_no_answer_where_there_is_none(sandbox):
    sandbox.fault(sandbox.intercom, fault="drop_after", path="POST /contacts")
    with IntercomContract(sandbox.intercom) as contract:
        with pytest.raises((ConnectionError, OSError, Exception)):
            http_call(contract.url, "POST", "/contacts", {"role": "user", "external_id": "x:1"}, GOOD)
        contract.check()
    assert [e["external_id"] for e in sandbox.journal(sandbox.intercom)] == ["x:1"]
