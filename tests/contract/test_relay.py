"""The real relay between the two stand-ins, with every request, answer and update held to the official descriptions: polling and
webhook, both ways, and with answers and notifications lost, so that look-ups are held to them too."""
import base64
import hashlib
import itertools
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from intercom_contract import IntercomContract
from sandbox_process import ROOT, Sandbox
from telegram_contract import TelegramContract

BIN = os.environ.get("TRIBUTARY_BIN", os.path.join(ROOT, "build", "tributary"))
CLIENT_SECRET = "client-secret-of-the-app"
TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(directory, mode, telegram, intercom):
    port = free_port()
    return f"""
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:0", token: contract-test-token-0123456789}}
store: sqlite:{directory}/relay.db
{f'public_url: http://127.0.0.1:{port}' if mode == 'webhook' else ''}
delivery: {{settle: 200ms, retry_base: 50ms}}
accounts:
  - name: acme
    order: conversation
    sources: [{{name: bot, platform: telegram, mode: {mode}, token: "{TOKEN}", api_url: "{telegram}"}}]
    desk: {{platform: intercom, token: desk-token, client_secret: {CLIENT_SECRET}, api_url: "{intercom}"}}
"""


class Relay:
    def __init__(self, directory, text):
        self.log_path = os.path.join(directory, "relay.log")
        path = os.path.join(directory, "tributary.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen([BIN, "serve", "-c", path], stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=40)
        self.log.close()
        if exc[0] is None:
            assert status == 0, status


def applied(sandbox):
    said = {}
    for entry in sandbox.journal(sandbox.intercom):
        if entry["kind"] in ("conversation", "reply"):
            said.setdefault(int(entry["external_id"].rpartition(":")[2]), []).append(entry["body"])
    return said


def wait_until_all_applied(sandbox, count, relay, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while sandbox.control(sandbox.intercom, "GET", "status")["applied"] < count:
        assert relay.process.poll() is None, "the relay ended"
        assert time.monotonic() < deadline, (count, applied(sandbox))
        time.sleep(0.02)  # asks over HTTP for an event that has no other sign


def wait_until_shown(sandbox, count, relay, timeout_s=30):
    """Contacts with their customer's picture."""
    deadline = time.monotonic() + timeout_s
    while sum(1 for each in sandbox.control(sandbox.intercom, "GET", "inbox")["conversations"] if each["avatar"]) < count:
        assert relay.process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)  # asks over HTTP for an event that has no other sign


@pytest.mark.parametrize("mode", ["polling", "webhook"])
def test_what_the_relay_asks_is_what_the_descriptions_allow(tmp_path, mode):
    with Sandbox("--bot", TOKEN) as sandbox:
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, mode, platform.url, desk.url)) as relay:
                said = [{"customer": i % 7 + 1, "text": f"{i} <b> & \u00fc\u4e2d\U0001F600"} for i in range(70)]
                sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": said})
                wait_until_all_applied(sandbox, 70, relay)
                pictures = 7 if mode == "webhook" else 0  # a link to them needs a public_url
                wait_until_shown(sandbox, pictures, relay)
            expected = {}
            for each in said:
                expected.setdefault(each["customer"], []).append(each["text"])
            assert applied(sandbox) == expected
            desk.check()
            platform.check()
            # Steady state is one call a message: beside the messages there are only the contacts' look-up and creation, and what a contact
            # is told of its customer, which is tried without attributes where the workspace has none of that name.
            assert len(desk.requests) <= 70 + 7 * 4 + 2 + pictures
            assert [name for name, _ in platform.requests].count("getUserProfilePhotos") == pictures


def wait_until_answered(sandbox, count, relay, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while True:
        presses = [each["answered"] for each in sandbox.journal(sandbox.telegram) if each["kind"] == "callback_query"]
        if sum(presses) == count:
            return
        assert relay.process.poll() is None and time.monotonic() < deadline, presses
        time.sleep(0.02)  # asks over HTTP for an event that has no other sign


@pytest.mark.parametrize("mode", ["polling", "webhook"])
def test_buttons_that_were_pressed_are_answered(tmp_path, mode):
    """In the webhook's answer, or by a call of our own after a polled batch is stored; and each is a message at the desk."""
    with Sandbox("--bot", TOKEN) as sandbox:
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, mode, platform.url, desk.url)) as relay:
                for i in range(5):
                    sandbox.control(sandbox.telegram, "POST", "telegram/press",
                                    {"token": TOKEN, "customer": 9, "label": f"Refund \u00fc{i}", "data": f"r:{i}"})
                wait_until_all_applied(sandbox, 5, relay)
                wait_until_answered(sandbox, 5, relay)
            assert applied(sandbox) == {9: [f"(pressed a button: Refund \u00fc{i} [r:{i}])" for i in range(5)]}
            desk.check()
            platform.check()
            own = [name for name, _ in platform.requests if name == "answerCallbackQuery"]
            assert len(own) == (5 if mode == "polling" else 0)
            calls = [each for each in sandbox.control(sandbox.telegram, "GET", "journal?of=requests&limit=1000")["items"]
                     if each["target"].endswith("/answerCallbackQuery")]
            assert [each["status"] for each in calls] == [200] * 5


@pytest.mark.parametrize("path", ["POST /conversations", "POST /conversations/*/reply", "POST /contacts"])
def test_look_ups_after_lost_answers_too(tmp_path, path):
    with Sandbox("--bot", TOKEN) as sandbox:
        sandbox.fault(sandbox.intercom, fault="drop_after", path=path, count=1)
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, "polling", platform.url, desk.url)) as relay:
                sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": [
                    {"customer": 5, "text": text} for text in ("one", "two", "three")]})
                wait_until_all_applied(sandbox, 3, relay)
            assert applied(sandbox) == {5: ["one", "two", "three"]}
            desk.check()
            platform.check()
        [fault] = sandbox.control(sandbox.intercom, "GET", "faults")["faults"]
        assert fault["hits"] == 1


# ---- agents' replies

class BothWays:
    """A conversation of each of some customers, and a desk that tells the relay of what agents do."""

    def __init__(self, sandbox, relay, text, customers):
        self.sandbox, self.relay = sandbox, relay
        # Two messages of each: when the second one is there the relay has stored what the first one began.
        said = [{"customer": each, "text": text} for each in customers for text in ("hi", "hello")]
        sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": said})
        wait_until_all_applied(sandbox, len(said), relay)
        address = re.search(r"listen: (127\S+)", text).group(1)
        sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": f"http://{address}/desks/acme", "client_secret": CLIENT_SECRET})
        self.conversations = {int(e["external_id"].rpartition(":")[2]): e["conversation"]
                              for e in sandbox.journal(sandbox.intercom) if e["kind"] == "conversation"}

    def act(self, customer, what, **body):
        self.sandbox.control(self.sandbox.intercom, "POST", f"inbox/{what}", {"conversation": self.conversations[customer], **body})

    def received(self, customer):
        return [each["text"] for each in self.sandbox.control(self.sandbox.telegram, "GET", f"telegram/received?chat={customer}")["items"]]

    def wait(self, customer, *texts):
        self.until(lambda: self.received(customer)[-len(texts):] == list(texts), lambda: self.received(customer))

    def wait_for_note(self, text):
        notes = lambda: [each["text"] for each in self.sandbox.journal(self.sandbox.intercom, "notes")]
        self.until(lambda: any(text in each for each in notes()), notes)

    def until(self, check, what):
        deadline = time.monotonic() + 60
        while not check():
            assert self.relay.process.poll() is None and time.monotonic() < deadline, what()
            time.sleep(0.02)  # asks over HTTP for an event that has no other sign


def run_both_ways(tmp_path, customers, doings):
    with Sandbox("--bot", TOKEN, "--retry-scale", "0.01") as sandbox:
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            text = config(tmp_path, "polling", platform.url, desk.url)
            with Relay(str(tmp_path), text) as relay:
                doings(sandbox, BothWays(sandbox, relay, text, customers))
            desk.check()
            platform.check()


def test_replies_of_every_kind(tmp_path):
    def doings(sandbox, chat):
        chat.act(5, "reply", html="<p>Hello <b>Ada</b> &amp; <i>all</i></p><p><a href='https://example.com/'>here</a></p>")
        chat.act(5, "reply", body="between agents", note=True)
        chat.act(5, "assign", body="Robin will help", admin="991267460")
        chat.act(5, "snooze")
        chat.act(5, "reply", body="word " * 1000)
        chat.act(5, "close", body="Good bye")
        sandbox.control(sandbox.intercom, "POST", "inbox/start", {"external_id": "telegram:123456:6", "body": "You left your umbrella"})
        chat.wait(5, "Good bye")
        chat.wait(6, "You left your umbrella")
        first, second, *long, last = chat.received(5)
        assert (second, last) == ("Robin will help", "Good bye")
        assert "Hello Ada & all" in first and "here" in first
        assert len(long) == 2 and " ".join(" ".join(long).split()) == " ".join(["word"] * 1000)
        entities = sandbox.control(sandbox.telegram, "GET", "telegram/received?chat=5")["items"][0]["entities"]
        assert {each["type"] for each in entities} >= {"bold", "italic", "text_link"}
        assert [each["text"] for each in sandbox.journal(sandbox.intercom, "notes")] == ["between agents"]
    run_both_ways(tmp_path, [5, 6], doings)


def test_replies_while_answers_and_notifications_get_lost(tmp_path):
    """Nothing is lost and nothing changes places; what may have arrived comes once more at most."""
    def doings(sandbox, chat):
        sandbox.fault(sandbox.intercom, fault="lose", after=1, count=2)
        sandbox.fault(sandbox.intercom, fault="twice", chance=0.3)
        sandbox.fault(sandbox.intercom, fault="swap", chance=0.3)
        sandbox.fault(sandbox.telegram, fault="drop_after", path="sendMessage", after=2, count=2)
        sandbox.fault(sandbox.telegram, fault="status", status=502, path="sendMessage", after=5, count=1)
        sandbox.fault(sandbox.telegram, fault="rate_limit", retry_after=1, path="sendMessage", after=7, count=1)
        sandbox.fault(sandbox.intercom, fault="drop_after", path="GET /conversations/*", after=1, count=2)
        for number in range(6):
            for customer in (5, 6):
                chat.act(customer, "reply", body=f"{customer}: answer {number}")
        for customer in (5, 6):
            expected = [f"{customer}: answer {number}" for number in range(6)]
            chat.wait(customer, expected[-1])
            assert [text for text, _ in itertools.groupby(chat.received(customer))] == expected
        assert len(chat.received(5) + chat.received(6)) <= 12 + 3
    run_both_ways(tmp_path, [5, 6], doings)


def test_replies_that_cannot_be_delivered_come_back_as_notes(tmp_path):
    def doings(sandbox, chat):
        sandbox.control(sandbox.telegram, "POST", "telegram/block", {"token": TOKEN, "customer": 5})
        wait_until_all_applied(sandbox, 5, chat.relay)  # that the bot was blocked is a line at the desk, too
        chat.act(5, "reply", body="are you there?")
        chat.act(6, "reply", body="others go on")
        chat.wait(6, "others go on")
        chat.wait_for_note("blocked")
        assert chat.received(5) == []
        thread = sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={chat.conversations[5]}")["thread"]["parts"]
        assert [each["author"] for each in thread] == [None, None, None, "Alex Agent", "Robin Relay"]
    run_both_ways(tmp_path, [5, 6], doings)


# ---- files, edits, what is taken back

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\x40\0\0\0\xf0\x08\2\0\0\0" + bytes(range(256)) * 4
OGG = b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead\1" + bytes(range(256)) * 4


def test_files_both_ways_edits_and_redactions(tmp_path):
    def doings(sandbox, chat):
        for said in ({"mime": "image/png", "caption": "look"}, {"mime": "application/pdf", "file_name": "\u00fc.pdf"}, {"mime": "audio/ogg"}):
            sandbox.control(sandbox.telegram, "POST", "telegram/file", {"token": TOKEN, "customer": 5, "size": 20000, **said})
        at_desk = lambda: [a for e in sandbox.journal(sandbox.intercom) if e["kind"] == "reply" for a in e["attachments"]]
        chat.until(lambda: len(at_desk()) == 3, at_desk)
        upload = lambda data, name, mime: {"name": name, "content_type": mime, "data": base64.b64encode(data).decode()}
        part = sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": chat.conversations[5], "body": "two files", "attachment_files": [
            upload(PNG, "a.png", "image/png"), upload(OGG, "v.ogg", "audio/ogg")]})["id"]
        chat.act(5, "reply", body="then words")
        chat.wait(5, "two files", "", "", "then words")
        files = [each["file"] for each in sandbox.control(sandbox.telegram, "GET", "telegram/received?chat=5")["items"]]
        assert [each and (each["kind"], each["sha256"]) for each in files] == [
            None, ("photo", hashlib.sha256(PNG).hexdigest()), ("voice", hashlib.sha256(OGG).hexdigest()), None]
        time.sleep(1.1)  # the desk's times are whole seconds
        chat.act(5, "edit", part=part, body="two new files")
        chat.act(5, "reply", body="last")
        chat.wait(5, "two new files", "", "", "then words", "last")
        chat.act(5, "redact", part=part)
        chat.wait(5, "then words", "last")
        chat.until(lambda: len(chat.received(5)) == 2, lambda: chat.received(5))
    run_both_ways(tmp_path, [5], doings)
