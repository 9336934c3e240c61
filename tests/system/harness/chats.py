"""Customers and agents talk through the relay: the sandbox's stand-ins of Telegram and Intercom, joined by a daemon.

What each side has is asked of the stand-ins, never of the relay.
"""
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.parse

from .client import call
from .common import CANARY, SLOW, wait_for
from .relay import account

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contract"))
from sandbox_process import Sandbox, http_call  # noqa: E402, F401

CLIENT_SECRET = "client-secret-kanarie-of-the-app"


def token_of(bot):
    return f"{100 + bot}:AAkanarie-of-the-stand-in-{bot:020}"


def joined(sandbox, bots=1, name="acme", **more):
    """An account whose bots are at the one stand-in, and whose desk is the other."""
    sources = [{"name": f"bot{i}", "platform": "telegram", "token": token_of(i), "api_url": sandbox.telegram} for i in range(bots)]
    desk = {"platform": "intercom", "token": "workspace-kanarie-token", "client_secret": CLIENT_SECRET, "api_url": sandbox.intercom}
    return account(name, desk, sources, **{"order": "conversation", **more})


def reached_by(relay):
    """The relay's bots register webhooks at the stand-in, which knows no other address of it."""
    relay.config["public_url"] = f"http://127.0.0.1:{relay.port}"
    relay.write_config()
    return relay


def tell(sandbox, relay, name="acme"):
    """From now on the relay is told of what agents do, as it enters its webhook in a workspace: HEAD, then a ping."""
    sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": f"http://127.0.0.1:{relay.port}/desks/{name}", "client_secret": CLIENT_SECRET})


class Chats:
    """One account, and what its customers and agents do and see. A text is its first words and the canary, so that no log may show it."""

    def __init__(self, sandbox, make_relay, bots=1, delivery=None, top=None, **more):
        """`top`: sections of the configuration."""
        self.sandbox = sandbox
        self.relay = reached_by(make_relay([joined(sandbox, bots, **more)], delivery=delivery, **(top or {}))).start()
        sandbox.control(sandbox.intercom, "POST", "intercom/settings", {"contact_ready_ms": 0, "webhook_retry_ms": 200})
        for i in range(bots):
            self.relay.wait_source("acme", f"bot{i}")
        tell(sandbox, self.relay)
        self.known = {}  # (bot, chat): its conversation at the desk

    # Customers

    def say(self, words, chat=77, bot=0):
        """It is at the desk when this returns."""
        said = self.sandbox.say(f"{words} {CANARY}", chat, token_of(bot))
        thread = wait_for(lambda: self.find_thread(words, chat, bot), f"“{words}” at the desk")
        self.known.setdefault((bot, chat), thread)
        return said

    def send_file(self, words=None, chat=77, bot=0, **said):
        """The answer of the stand-in's control API, with the file's hash; it is on its way when this returns."""
        if words is not None:
            said["caption"] = f"{words} {CANARY}"
        return self.sandbox.control(self.sandbox.telegram, "POST", "telegram/file", {"token": token_of(bot), "customer": chat, **said})

    def conversations(self, chat=77, bot=0):
        """Ids of the customer's, as the inbox has them, the oldest first."""
        rows = self.sandbox.control(self.sandbox.intercom, "GET", "inbox")["conversations"]
        return sorted((r["id"] for r in rows if r["external_id"] == f"telegram:{100 + bot}:{chat}"), key=int)

    def parts(self, chat=77, bot=0):
        """What an agent sees of the customer's messages, in order: [(words, [(name, type, sha256 of the bytes)])]. A file that the desk
        has only the address of stands with None for its hash."""
        found = []
        for conversation in self.conversations(chat, bot):
            self.known.setdefault((bot, chat), conversation)
            thread = self.sandbox.control(self.sandbox.intercom, "GET", f"inbox?conversation={conversation}")["thread"]["parts"]
            found += [((p["body"] or "").replace(f" {CANARY}", ""), [self.file_at_desk(a) for a in p["attachments"]]) for p in thread if p["author"] is None]
        return found

    def file_at_desk(self, attachment):
        digest, url = None, urllib.parse.urlsplit(attachment["url"])
        if attachment["url"].startswith(self.sandbox.intercom):
            answer = http_call(self.sandbox.intercom, "GET", f"{url.path}?{url.query}")
            assert answer.status == 200, attachment
            digest = hashlib.sha256(answer.body).hexdigest()
        return attachment["name"], attachment["content_type"], digest

    def hashes(self, chat=77, bot=0):
        """Of the files, in the order in which an agent sees them."""
        return [digest for _, files in self.parts(chat, bot) for _, _, digest in files]

    def wait_parts(self, check, what, chat=77, bot=0, timeout_s=None):
        try:
            return wait_for(lambda: (lambda parts: check(parts) and parts)(self.parts(chat, bot)), what, timeout_s)
        except AssertionError as late:
            raise AssertionError(f"{late}; there is {self.parts(chat, bot)}") from None

    def chat_files(self, chat=77, bot=0):
        """What the chat shows from the bot, in order: [(words, kind, sha256)]; of texts the last two are None."""
        got = self.sandbox.control(self.sandbox.telegram, "GET", f"telegram/received?bot={100 + bot}&chat={chat}")["items"]
        return [(i["text"].replace(f" {CANARY}", ""), i["file"] and i["file"]["kind"], i["file"] and i["file"]["sha256"]) for i in got]

    def group_says(self, words, chat, bot=0, kind="group", thread=None, **more):
        """`thread`: the relay's name of the conversation, where that is not the chat's id."""
        message = {"message_id": 7, "date": 1_700_000_000, "chat": {"id": chat, "type": kind, "title": "Club"},
                   "from": {"id": 9, "is_bot": False, "first_name": "Eve"}, "text": f"{words} {CANARY}", **more}
        self.sandbox.control(self.sandbox.telegram, "POST", "telegram/update", {"token": token_of(bot), "update": {"message": message}})
        self.known[bot, thread or chat] = wait_for(lambda: self.find_thread(words, chat, bot), "the group at the desk")

    def find_thread(self, words, chat, bot):
        external = f"telegram:{100 + bot}:{chat}"
        return next((i["conversation"] for i in self.sandbox.journal(self.sandbox.intercom)
                     if i.get("author") == "user" and i["external_id"] == external and words in (i["body"] or "")), None)

    def block(self, blocked=True, chat=77, bot=0):
        self.sandbox.control(self.sandbox.telegram, "POST", "telegram/block", {"token": token_of(bot), "customer": chat, "blocked": blocked})

    def received(self, chat=77, bot=0):
        """The words that the chat shows from the bot, in order."""
        got = self.sandbox.control(self.sandbox.telegram, "GET", f"telegram/received?bot={100 + bot}&chat={chat}")["items"]
        return [i["text"].replace(f" {CANARY}", "") for i in got]

    def wait_received(self, *wanted, chat=77, bot=0, timeout_s=None):
        try:
            wait_for(lambda: len(self.received(chat, bot)) >= len(wanted), "answers in the chat", timeout_s)
        except AssertionError:
            pass
        assert self.received(chat, bot) == list(wanted), self.received(chat, bot)

    # Agents

    def act(self, how, **body):
        return self.sandbox.control(self.sandbox.intercom, "POST", f"inbox/{how}", body)

    def answer(self, words, chat=77, bot=0, how="reply", **more):
        return self.act(how, conversation=self.known[bot, chat], body=f"{words} {CANARY}", **more)

    def thread(self, chat=77, bot=0):
        """What agents read in the conversation, in order: [(who, words)]; notes are the relay's."""
        shown = [i for i in self.sandbox.journal(self.sandbox.intercom) if i.get("conversation") == self.known[bot, chat] and i.get("body")]
        return [("note" if i["kind"] == "note" else i["author"], i["body"].replace(f" {CANARY}", "")) for i in shown]

    def notes(self, chat=77, bot=0):
        return [words for who, words in self.thread(chat, bot) if who == "note"]

    def wait_note(self, *words, chat=77, bot=0):
        """The only note there is; it has these words."""
        wait_for(lambda: self.notes(chat, bot), "a note to the agent")
        [note] = self.notes(chat, bot)
        assert all(each in note for each in words), note
        return note

    def notices(self, outcome="delivered"):
        """Topics of notifications that the relay took (or that were dropped or lost)."""
        return [i["topic"] for i in self.sandbox.journal(self.sandbox.intercom, "webhook") if i["outcome"] == outcome and i["topic"] != "ping"]

    # Faults and requests

    def fault_telegram(self, **spec):
        return self.sandbox.fault(self.sandbox.telegram, **{"path": "POST /bot*/sendMessage", **spec})

    def fault_intercom(self, **spec):
        return self.sandbox.fault(self.sandbox.intercom, **spec)

    def clear(self):
        for base in (self.sandbox.telegram, self.sandbox.intercom):
            self.sandbox.control(base, "DELETE", "faults")

    def sends(self):
        """Requests to send, in the order in which they came; `began_at` in RFC 3339."""
        return [i for i in self.sandbox.journal(self.sandbox.telegram, "requests") if i["target"].endswith("/sendMessage")]

    def reads(self):
        """Requests that read a conversation or search for some."""
        return [i for i in self.sandbox.journal(self.sandbox.intercom, "requests")
                if i["method"] == "GET" and i["target"].startswith("/conversations/") or i["target"] == "/conversations/search"]

    # The relay

    def replies(self, **filters):
        return self.relay.messages(direction="reply", **filters)

    def wait_reply(self, words, **wanted):
        """The reply with these words, once it is as wanted."""
        find = lambda: next((m for m in self.replies() if m["text"].startswith(words)), {})
        return wait_for(lambda: (lambda m: m and all(m[k] == v for k, v in wanted.items()) and m)(find()), f"“{words}” is {wanted}")


def notice(conversation, topic="conversation.admin.replied"):
    return json.dumps({"type": "notification_event", "app_id": "abc123", "topic": topic, "id": "notif_1", "created_at": int(time.time()),
                       "data": {"type": "notification_event_data", "item": {"type": "conversation", "id": conversation}}}).encode()


def post_notice(relay, body, secret=CLIENT_SECRET, name="acme", method="POST"):
    """(the answer, how long it took in seconds): a notification as Intercom sends it; `secret` None: not signed."""
    signed = {"X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()} if secret else {}
    began = time.monotonic()
    answer = call(relay.port, method, f"/desks/{name}", body, {"Content-Type": "application/json", **signed})
    return answer, time.monotonic() - began


SOON_S = 0.5 * SLOW  # within which a notification is answered
