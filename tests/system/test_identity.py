"""One person who writes from several sources (`identity: phone | email`): one contact at the desk, a conversation for each source, and each
answer in the chat that it belongs to."""
import pytest

from harness.chats import Chats, Sandbox, http_call, joined, token_of
from harness.client import WebhookSource
from harness.common import CANARY, wait_for
from harness.relay import webhook_source

PHONE, EMAIL = "+15550001111", "ada@example.com"
CARD = f"(contact: Ada, {PHONE[1:]})"  # as Telegram writes it


@pytest.fixture
def sandbox():
    with Sandbox("--retry-scale", "0.01") as running:
        yield running


@pytest.fixture
def build(sandbox, make_relay):
    """build(identity) starts a relay of one account with a bot and two signed webhooks."""
    def make(identity, **settings):
        given = joined(sandbox, identity=identity)
        given["sources"] += [webhook_source("site"), webhook_source("shop")]
        person = Person(sandbox, Chats(sandbox, lambda accounts, **more: make_relay([given], **more)))
        sandbox.control(sandbox.intercom, "POST", "intercom/settings", settings)
        return person
    return make


class Person:
    """Ada: chat 77 of the bot, conversation `c1` of the webhooks."""

    def __init__(self, sandbox, chats):
        self.sandbox, self.chats = sandbox, chats
        self.keys = 0

    def share_phone(self):
        self.keys += 1
        who = {"id": 77, "is_bot": False, "first_name": "Ada", "last_name": "L."}
        self.sandbox.control(self.sandbox.telegram, "POST", "telegram/update", {"token": token_of(0), "update": {"message": {
            "message_id": 1000 + self.keys, "date": 1_700_000_000, "chat": {"id": 77, "type": "private", "first_name": "Ada"}, "from": who,
            "contact": {"phone_number": PHONE[1:], "first_name": "Ada", "user_id": 77}}}})
        self.wait_words(CARD)

    def write(self, source, words, **sender):
        self.keys += 1
        answer = WebhookSource(self.chats.relay, "acme", source).post({
            "id": f"k{self.keys}", "conversation": "c1", "text": f"{words} {CANARY}", "sender": {"id": f"{source}-u1", "name": "Ada of the site", **sender}})
        assert answer.status == 200, answer
        self.chats.relay.wait_settled()

    def say(self, words):
        self.sandbox.say(f"{words} {CANARY}", 77, token_of(0))
        self.wait_words(words)

    def wait_words(self, words):
        wait_for(lambda: any(words in texts for texts in self.threads().values()), f"“{words}” at the desk")

    def contacts(self):
        """[(name, phone, e-mail address)]"""
        self.sandbox.control(self.sandbox.intercom, "POST", "intercom/settings", {"search_lag_ms": 0})  # lists lag, too
        answer = http_call(self.sandbox.intercom, "GET", "/contacts", None, {"Authorization": "Bearer token", "Accept": "application/json"})
        return [(c["name"], c["phone"], c["email"] or None) for c in answer.json()["data"]]

    def threads(self):
        """{(conversation, external id): what customers said in it}"""
        inbox = lambda query: self.sandbox.control(self.sandbox.intercom, "GET", f"inbox{query}")
        return {(row["id"], row["external_id"]): [(p["body"] or "").replace(f" {CANARY}", "") for p in inbox(f"?conversation={row['id']}")["thread"]["parts"] if p["author"] is None]
                for row in inbox("")["conversations"]}

    def thread_of(self, words):
        return next(conversation for (conversation, _), texts in self.threads().items() if words in texts)

    def answer(self, words, to):
        self.chats.act("reply", conversation=self.thread_of(to), body=f"{words} {CANARY}")


def test_one_phone_is_one_contact_and_each_answer_goes_to_its_chat(build):
    person = build("phone")
    person.write("site", "from the site", phone=PHONE)
    person.share_phone()
    for n in range(3):
        person.say(f"from the chat {n}")
        person.write("site", f"from the site {n}", phone=PHONE)
    assert person.contacts() == [("Ada of the site", PHONE, None)], "the name that the contact had stays"
    threads = sorted(person.threads().values(), key=lambda texts: texts[-1])
    assert threads == [[CARD] + [f"from the chat {n}" for n in range(3)],
                       ["from the site"] + [f"from the site {n}" for n in range(3)]]
    person.answer("to the chat", "from the chat 0")
    person.chats.wait_received("to the chat")
    person.chats.relay.allow("message_skipped")
    person.answer("to the site", "from the site 0")
    wait_for(lambda: person.chats.relay.messages(direction="note"), "a note: nothing can be sent to a signed webhook")
    person.chats.relay.wait_settled()
    person.answer("again to the chat", "from the chat 0")
    person.chats.wait_received("to the chat", "again to the chat")


def test_what_the_search_does_not_show_yet_has_a_contact_of_its_own(build):
    person = build("phone", search_lag_ms=600000)
    person.write("site", "from the site", phone=PHONE)
    person.share_phone()
    assert [phone for _, phone, _ in person.contacts()] == [PHONE, PHONE]
    assert sorted(person.threads().values()) == [[CARD], ["from the site"]]


def test_a_search_that_is_refused_hinders_nothing(build, sandbox):
    person = build("phone")
    sandbox.fault(sandbox.intercom, path="POST /contacts/search", fault="status", status=403)
    person.write("site", "from the site", phone=PHONE)
    person.write("shop", "from the shop", phone=PHONE)
    assert len(person.contacts()) == 2 and sorted(person.threads().values()) == [["from the shop"], ["from the site"]]


@pytest.mark.parametrize("lag_ms", [0, 600000], ids=["found", "told by the conflict"])
def test_one_address_is_one_contact(build, lag_ms):
    person = build("email", search_lag_ms=lag_ms)
    person.write("site", "from the site", email=EMAIL)
    person.write("shop", "from the shop", email=EMAIL, phone=PHONE)
    person.write("shop", "once more", email=EMAIL, phone="+15550002222")
    assert person.contacts() == [("Ada of the site", None, EMAIL)]
    assert sorted(person.threads().values()) == [["from the shop", "once more"], ["from the site"]]


def test_without_identity_everybody_is_their_own(build):
    person = build("none")
    person.write("site", "from the site", phone=PHONE, email=EMAIL)
    person.write("shop", "from the shop", phone=PHONE, email=EMAIL)
    assert person.contacts() == [("Ada of the site", PHONE, None)] * 2, "an address is not told"
    requests = person.sandbox.journal(person.sandbox.intercom, "requests")
    assert not [r for r in requests if r["target"] == "/contacts/search"]
