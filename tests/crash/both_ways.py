"""Customers and agents talk through the relay while answers and notifications are lost and the relay is killed.

The peers are the sandbox's stand-ins of Telegram and Intercom: 1 % of the answers to sends, replies and new conversations are lost after
they took effect, 1 % of the notifications are never sent. What every customer and every agent said is numbered, so that the judge can tell
what was lost, doubled and reordered: from the stand-ins' journals, never from what the relay says of itself, but for what it counts as in
doubt.
"""
import collections
import http.client
import json
import os
import random
import re
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.chats import Sandbox, joined, reached_by, tell, token_of  # noqa: E402
from harness.common import PATIENCE_S, wait_for                       # noqa: E402
from harness.relay import Relay                                       # noqa: E402

TWICE = re.compile(r"This reply may have arrived twice: “(out \d+ \d+)”")


class Door:
    """A connection of one thread to one door of the sandbox."""

    def __init__(self, base):
        parts = urllib.parse.urlsplit(base)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)

    def call(self, method, path, body=None):
        self.connection.request(method, "/sandbox/" + path, None if body is None else json.dumps(body))
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 201), (path, answer.status, text)
        return json.loads(text)

    def journal(self, of="", after=0):
        """What came behind `after`, and the number to go on from."""
        items = []
        while True:
            page = self.call("GET", f"journal?after={after}&limit=1000" + (f"&of={of}" if of else ""))
            assert not page["dropped"], "the journal is too short"
            items += page["items"]
            after = page["items"][-1]["seq"] if page["items"] else after
            if page["next"] is None:
                return items, after

    def close(self):
        self.connection.close()


def chat_of(external_id):
    return int(external_id.rpartition(":")[2])


class BothWays:
    def __init__(self, directory, bots=2, chats=20, each=10, kills=5, seed=1, lost=0.01, in_doubt="resend", pace_s=0.0):
        self.chance = random.Random(seed)
        self.chats, self.each, self.kills, self.pace_s = chats, each, kills, pace_s
        self.tokens = [token_of(i) for i in range(bots)]
        self.sandbox = Sandbox("--retry-scale", "0.05", "--journal", "2000000", "--seed", str(seed)).__enter__()
        self.telegram, self.intercom = self.sandbox.telegram, self.sandbox.intercom
        delivery = {"settle": "500ms", "retry_base": "50ms", "retry_cap": "500ms", "max_attempts": 100}
        self.relay = reached_by(Relay(directory, [joined(self.sandbox, bots, in_doubt=in_doubt)], delivery)).allow(".*")
        self.lost = lost
        self.known = {}  # chat -> its conversation at the desk
        self.said = 0    # by agents
        self.rounds = 0  # of customers

    def token_of(self, chat):
        return self.tokens[chat % len(self.tokens)]

    def begin(self):
        telegram, intercom = Door(self.telegram), Door(self.intercom)
        self.relay.start()
        tell(self.sandbox, self.relay)
        intercom.call("POST", "intercom/settings", {"webhook_retry_ms": 1000, "limit": 10000000, "contact_ready_ms": 0})
        for source in self.relay.config["accounts"][0]["sources"]:
            if source.get("mode") != "polling":  # that one is well when the first update has come
                self.relay.wait_source("acme", source["name"])
        if self.lost:
            telegram.call("POST", "faults", {"fault": "drop_after", "path": "POST /bot*/sendMessage", "chance": self.lost})
            intercom.call("POST", "faults", {"fault": "drop_after", "path": "POST /conversations/*/reply", "chance": self.lost})
            intercom.call("POST", "faults", {"fault": "drop_after", "path": "POST /conversations", "chance": self.lost})
            intercom.call("POST", "faults", {"fault": "lose", "chance": self.lost})
        telegram.close()
        intercom.close()

    # ---- who talks

    def customers(self):
        """Each says its numbered things, all take turns. `each` may be made less meanwhile."""
        telegram = Door(self.telegram)
        while self.rounds < self.each:
            self.rounds += 1
            for i, token in enumerate(self.tokens):
                say = [{"customer": chat, "name": f"Customer {chat}", "text": f"in {chat} {self.rounds}"} for chat in range(1, self.chats + 1) if self.token_of(chat) == token]
                if say:
                    telegram.call("POST", "telegram/say", {"token": token, "say": say})
            threading.Event().wait(self.pace_s)
        telegram.close()

    def newcomers(self, intercom, after):
        """Chats whose conversations have come to the desk, and the journal's number to go on from."""
        items, after = intercom.journal(after=after)
        new = {chat_of(item["external_id"]): item["conversation"] for item in items if item["kind"] == "conversation"}
        new = {chat: conversation for chat, conversation in new.items() if chat not in self.known}
        self.known.update(new)
        return list(new), after

    def meet(self):
        """Until every customer has a conversation at the desk."""
        intercom, after = Door(self.intercom), 0

        def all_there():
            nonlocal after
            after = self.newcomers(intercom, after)[1]
            return len(self.known) == self.chats
        wait_for(all_there, "all conversations at the desk", 10 * PATIENCE_S)
        intercom.close()

    def agents(self):
        """Answer whoever is there, in turns drawn, each conversation's answers numbered."""
        intercom, after = Door(self.intercom), 0
        open_, number = [], collections.Counter()
        while open_ or len(self.known) < self.chats:
            if len(self.known) < self.chats:
                new, after = self.newcomers(intercom, after)
                open_ += new
            for chat in self.chance.sample(open_, len(open_)):
                number[chat] += 1
                intercom.call("POST", "inbox/reply", self.reply(chat, number[chat]))
                self.said += 1
            open_ = [chat for chat in self.known if number[chat] < self.each]
            threading.Event().wait(max(self.pace_s, 0.01))
        intercom.close()

    def reply(self, chat, number):
        return {"conversation": self.known[chat], "body": f"out {chat} {number}"}

    def talk(self):
        """All that is said, and all the kills between."""
        threads = [threading.Thread(target=self.customers), threading.Thread(target=self.agents)]
        kill_at = sorted(self.chance.sample(range(1, self.chats * self.each), self.kills))
        for thread in threads:
            thread.start()
        for at in kill_at:
            wait_for(lambda: self.said >= at or not threads[1].is_alive(), "more answers", 10 * PATIENCE_S, poll_s=0.01)
            threading.Event().wait(self.chance.random() * 0.05)
            self.relay.kill()
            self.relay.start()
        for thread in threads:
            thread.join()

    # ---- the end

    def wait_all(self, timeout_s):
        """Until both sides have what the other one said: lost notifications are found by the next search."""
        telegram, intercom = Door(self.telegram), Door(self.intercom)
        total = self.chats * self.each
        seen = {"in": set(), "out": set()}
        after = {"in": 0, "out": 0}

        def all_there():
            got, after["out"] = telegram.journal("sent", after["out"])
            seen["out"].update(item["text"] for item in got if item["file"] is None)
            got, after["in"] = intercom.journal("", after["in"])
            seen["in"].update(item["body"] for item in got if item["author"] == "user")
            return len(seen["in"]) >= total and len(seen["out"]) >= total
        try:
            wait_for(all_there, f"{total} things said by each side", timeout_s, poll_s=0.2)
        except AssertionError:
            print(f"at the end of patience: {len(seen['in'])} of {total} came in, {len(seen['out'])} went out", flush=True)
        telegram.close()
        intercom.close()

    def record(self):
        telegram, intercom = Door(self.telegram), Door(self.intercom)
        everything, said, notes = intercom.journal()[0], intercom.journal("said")[0], intercom.journal("notes")[0]
        sent = telegram.journal("sent")[0]
        telegram.close()
        intercom.close()
        return Record(chats=self.chats, each=self.each,
                      came=[(chat_of(i["external_id"]), i["body"]) for i in everything if i["author"] == "user" and i["kind"] in ("conversation", "reply", "comment", "open")],
                      said=[(chat_of(i["external_id"]), i["text"]) for i in said],
                      sent=[(i["chat_id"], i["text"]) for i in sent if i["file"] is None],
                      files=[(i["chat_id"], i["file"]["sha256"]) for i in sent if i["file"] is not None],
                      twice=collections.Counter(m.group(1) for i in notes for m in TWICE.finditer(i["text"])),
                      doubted=len(notes))

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        self.sandbox.__exit__(*sys.exc_info())


class Record:
    def __init__(self, **facts):
        self.__dict__.update(facts)


def by_chat(pairs):
    found = collections.defaultdict(list)
    for chat, text in pairs:
        found[chat].append(text)
    return found


def judge(record):
    """{code: count}: what was lost, doubled or reordered, either way. `resent` is no fault: what an agent was told may have come twice."""
    faults = collections.Counter()
    came, said, sent = by_chat(record.came), by_chat(record.said), by_chat(record.sent)
    for chat in range(1, record.chats + 1):
        wanted = [f"in {chat} {n}" for n in range(1, record.each + 1)]
        got = came.get(chat, [])
        faults["in lost"] += len(set(wanted) - set(got))
        faults["in doubled"] += len(got) - len(set(got))
        faults["in strange"] += len(set(got) - set(wanted))
        faults["in reordered"] += [t for t in wanted if t in set(got)] != list(dict.fromkeys(got))
        wanted, got = said.get(chat, []), sent.get(chat, [])
        faults["out lost"] += len(set(wanted) - set(got))
        faults["out strange"] += len(set(got) - set(wanted))
        once = [text for i, text in enumerate(got) if i == 0 or got[i - 1] != text]
        faults["out reordered"] += [t for t in wanted if t in set(got)] != once
        for text, count in collections.Counter(got).items():
            faults["resent"] += count - 1
            faults["out doubled without a word"] += count > 1 and not record.twice[text]
    return +faults


def is_good(faults):
    return not set(faults) - {"resent"}
