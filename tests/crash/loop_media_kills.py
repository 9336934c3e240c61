#!/usr/bin/python3
"""Files through kills and failing peers:  tests/crash/loop_media_kills.py [--desk webhook|intercom] [--rounds 4] [--seconds 12] [--seed S]

Customers of a scripted Telegram send texts, documents and albums, each until it gets a 200. A quarter of what the desk is asked to take
fails, before or after it was taken, or is answered late; fetches of files are slow, cut or fail; the relay is killed or stopped at random
moments and started again. Then all drains, while the peers go on to fail, and what is at the desk is judged: each text once, in its
conversation's order, each file once, whole, in its conversation. Without --desk, rounds at both. A round's seed draws order rule, faults
and moments; what happens in between is the machine's.

One line a round, then the negative control: a judge that overlooks what was spoiled in the last round's outcome has failed. Exit status 1
when anything was lost, doubled, reordered or misplaced.
"""
import argparse
import collections
import copy
import hashlib
import html
import http.client
import itertools
import os
import random
import re
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.client import call                                   # noqa: E402
from harness.common import CANARY, PATIENCE_S, wait_for           # noqa: E402
from harness.desk import ScriptedDesk                             # noqa: E402
from harness.intercom import IS_CREATE, IS_REPLY, ScriptedIntercom  # noqa: E402
from harness.relay import Relay, account                          # noqa: E402
from harness.scripted import Answer, Drop, Raw                    # noqa: E402
from harness.telegram import ScriptedTelegram                     # noqa: E402

CHATS, DESKS = 4, ("webhook", "intercom")
SECRET = "telegram-secret-kanarie"
PUBLIC = "https://relay.example.test"
DELIVERY = {"settle": "200ms", "timeout": "1500ms", "max_attempts": 50, "shutdown": "500ms", "retry_base": "20ms", "retry_cap": "200ms"}
UNWELL = 0.25  # the share of messages that the desk does not simply take
LATE = object()
# How the desk answers, and how often it has taken the message nevertheless. A 429 is rare: nothing fails in the second that it asks for.
WAYS = [(Drop, 0.7), (lambda: Answer(500), 0.5), (lambda: Answer(503), 0), (LATE, 1)] * 8 + [(lambda: Answer(429, headers=[("Retry-After", "1")]), 0)]
KEY = re.compile(r"\b(c\d+n\d+(?:p\d+)?) " + re.escape(CANARY))  # as a text begins; names of files go without the canary
LINK = re.compile(re.escape(PUBLIC) + r"(/media/[^\s\"<>\]]+)")

# sent: {conversation: [keys in order]}, given: {key of a file: conversation}; what came of them: texts: as sent, files: [(conversation, key)],
# where the key is None of bytes that nobody sent.
Outcome = collections.namedtuple("Outcome", "sent given texts files")


# ---- the judge


def judge(outcome):
    """{what is wrong: [whose]}; nothing when all is well."""
    faults = collections.defaultdict(list)
    for conversation in sorted(outcome.sent.keys() | outcome.texts.keys()):
        sent, came = outcome.sent.get(conversation, []), outcome.texts.get(conversation, [])
        times = collections.Counter(came)
        faults["lost texts"] += [key for key in sent if not times[key]]
        faults["doubled texts"] += [key for key in sent if times[key] > 1]
        faults["strange texts"] += [key for key in times if key not in sent]
        once = [key for key in dict.fromkeys(came) if key in sent]
        faults["reordered texts"] += [key for key, due in zip(once, [key for key in sent if times[key]]) if key != due]
    times = collections.Counter(key for _, key in outcome.files)
    faults["lost files"] += [key for key in outcome.given if not times[key]]
    faults["doubled files"] += [key for key in outcome.given if times[key] > 1]
    faults["misplaced files"] += [key for conversation, key in outcome.files if outcome.given.get(key, conversation) != conversation]
    faults["strange files"] += [key for _, key in outcome.files if key not in outcome.given]
    return {what: whose for what, whose in faults.items() if whose}


def swap(texts):
    texts[0], texts[1] = texts[1], texts[0]


def misplace(outcome, texts):
    conversation, key = outcome.files[0]
    outcome.files[0] = next(other for other in outcome.sent if other != conversation), key


# What the judge must find: how to bring it about, in an outcome and the texts of a conversation of at least two.
SPOILS = {"lost texts": lambda outcome, texts: texts.pop(0), "doubled texts": lambda outcome, texts: texts.append(texts[0]),
          "reordered texts": lambda outcome, texts: swap(texts), "strange texts": lambda outcome, texts: texts.append("nobody's"),
          "lost files": lambda outcome, texts: outcome.files.pop(), "doubled files": lambda outcome, texts: outcome.files.append(outcome.files[0]),
          "misplaced files": misplace, "strange files": lambda outcome, texts: outcome.files.append((next(iter(outcome.sent)), None))}


def overlooked(outcome):
    """Which faults the judge does not find when a good outcome is spoiled."""
    found = []
    for what, spoil in SPOILS.items():
        other = copy.deepcopy(outcome)
        spoil(other, next(texts for texts in other.texts.values() if len(texts) > 1))
        if what not in judge(other):
            found.append(what)
    return found


# ---- peers that fail


def desk_faults(desk, chance, counts, unwell=UNWELL):
    is_message = (lambda r: r.method == "POST") if isinstance(desk, ScriptedDesk) else (lambda r: IS_REPLY(r) or IS_CREATE(r))

    def script(request):
        if not is_message(request) or chance.random() >= unwell:
            return None
        counts["failures"] += 1
        way, taken = chance.choice(WAYS)
        if chance.random() >= taken:
            return way()
        request.notes["taken"] = True
        answer = desk.respond(request)
        answer.delay_s = 0.3
        return answer if way is LATE else way()
    return script


def spoil_fetches(telegram, update, chance, counts):
    """The first question for this file and the first fetch of it go wrong or take long, some of them."""
    file_id = telegram.file_id_of(update)
    data = telegram.files[file_id]
    if chance.random() < 0.3:
        telegram.asked_for[file_id] = [chance.choice([Answer(500), Answer(502), Drop()])]
        counts["fetches"] += 1
    if chance.random() < 0.4:
        whole = Answer(200, data)
        cut = Raw(whole.head() + data[:len(data) // 2])
        telegram.fetched[file_id] = [chance.choice([Drop(), cut, Answer(200, data, delay_s=0.2), Answer(200, data, delay_s=0.4), Answer(200, data, delay_s=1)])]
        counts["fetches"] += 1


class Customer(threading.Thread):
    """Says one thing after the other, until `over`."""

    def __init__(self, world, chat, chance):
        super().__init__(daemon=True)
        self.world, self.chat, self.chance = world, chat, chance
        self.sent, self.digests = [], {}  # keys in order; sha256 of a file: key
        self.well = False                 # it came to its end

    def run(self):
        for number in itertools.count(1):
            if self.world.over.wait(self.chance.random() * self.world.pause_s):
                break
            kind, key = self.chance.random(), f"c{self.chat}n{number}"
            if kind < 0.4:
                self.say(key, self.world.telegram.message(key, self.chat))
            elif kind < 0.7:
                self.say_file(key)
            else:
                self.say_album(key)
        self.well = True

    def say_album(self, key):
        for i in range(self.chance.randrange(2, 4)):
            self.say_file(f"{key}p{i}", media_group_id="g" + key)
            if self.chance.random() < 0.2:
                threading.Event().wait(0.3)  # so that another part may come when the first has gone

    def say_file(self, key, **more):
        size = self.chance.randrange(2000) if self.chance.random() < 0.9 else 300_000
        data = b"%PDF-1.7\n" + key.encode() + self.chance.randbytes(size)
        self.digests[hashlib.sha256(data).digest()] = key
        update = self.world.telegram.document(key, data, name=key + ".pdf", chat=self.chat, words="a file", **more)
        spoil_fetches(self.world.telegram, update, self.chance, self.world.counts)
        self.say(key, update)

    def say(self, key, update):
        """As Telegram does it: again until a 200."""
        self.sent.append(key)
        wait_for(lambda: self.post(update), f"a 200 for {key}", 3 * PATIENCE_S)

    def post(self, update):
        try:
            return self.world.telegram.post(self.world.relay, self.world.account, update, secret=SECRET).status == 200
        except (OSError, http.client.HTTPException):
            return False  # the relay is dead


# ---- a round


class World:
    account = "acme"
    pause_s = 0.15  # between two things that a customer says, at most

    def __init__(self, directory, desk="webhook", seed=1):
        self.chance = random.Random(seed)
        self.kind, self.order = desk, self.chance.choice(["conversation", "account"])
        self.counts, self.over = collections.Counter(), threading.Event()
        self.telegram = ScriptedTelegram()
        self.desk = ScriptedDesk() if desk == "webhook" else ScriptedIntercom()
        self.desk.script = desk_faults(self.desk, random.Random(seed + 1), self.counts)
        self.relay = Relay(directory, [account(self.account, self.desk.config(), [self.telegram.config(secret=SECRET)], order=self.order)], delivery=DELIVERY,
                           media={"wait": self.chance.choice(["300ms", "800ms"])}, public_url=PUBLIC).allow(".*")
        self.customers = [Customer(self, chat, random.Random(f"{seed} {chat}")) for chat in range(1, CHATS + 1)]

    def run(self, seconds):
        self.relay.start()
        self.telegram.wait_registered()
        for customer in self.customers:
            customer.start()
        try:
            self.strike(seconds)
        finally:
            self.over.set()
            for customer in self.customers:
                customer.join()
        assert all(customer.well for customer in self.customers), "a customer was not heard"
        self.drain()
        outcome = self.outcome()
        self.relay.verify()
        return outcome

    def strike(self, seconds):
        """Kills and stops at random moments, while the customers talk."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            threading.Event().wait(self.chance.random() * 2)
            assert self.relay.running, "the daemon ended by itself:\n" + "\n".join(self.relay.lines[-30:])
            way = self.chance.random()
            if way < 0.8:
                self.counts["kills" if way < 0.7 else "stops"] += 1
                (self.relay.kill if way < 0.7 else self.relay.stop)()
                self.relay.start()

    def drain(self):
        """Until no message is pending and no file is wanted, and still so a moment later: a file makes a message when it comes late."""
        for _ in range(2):
            wait_for(lambda: not self.wanted() and self.relay.status()["pending"] == 0, "all settled", 3 * PATIENCE_S, poll_s=0.1)
            threading.Event().wait(0.3)

    def wanted(self):
        return self.relay.query("SELECT count(*) FROM files WHERE state = 0")[0][0]

    # What came of it

    def outcome(self):
        digests = {digest: key for customer in self.customers for digest, key in customer.digests.items()}
        texts, files = collections.defaultdict(list), []
        for conversation, words, found in self.seen_at_webhook() if self.kind == "webhook" else self.seen_at_intercom():
            texts[conversation] += KEY.findall(words)
            files += [(conversation, digests.get(hashlib.sha256(data).digest())) for data in found]
        return Outcome({str(customer.chat): customer.sent for customer in self.customers},
                       {key: str(customer.chat) for customer in self.customers for key in customer.digests.values()}, dict(texts), files)

    def seen_at_webhook(self):
        """(conversation, text, [files]) in order, as one sees them who drops what has an id that was there."""
        seen = set()
        for request in self.desk.posts():
            if (request.notes.get("taken") or request.status == 200) and request.notes["webhook_id"] not in seen:
                seen.add(request.notes["webhook_id"])
                body = request.notes["body"]
                yield body["conversation"], body["text"], self.fetch(" ".join(a["url"] or "" for a in body["attachments"]))

    def seen_at_intercom(self):
        """The same, as an agent sees them: files are uploads, or links in the text."""
        for inner in self.desk.conversations.values():
            conversation = self.desk.contacts[inner["contact"]]["external_id"].rpartition(":")[2]
            for part in [inner["source"], *inner["parts"]]:
                body = html.unescape(part["body"])
                uploads = [self.desk.agents_files[urllib.parse.urlsplit(a["url"]).path][1] for a in part.get("attachments", ())]
                yield conversation, body, uploads + self.fetch(body)

    def fetch(self, words):
        """The files behind the links in it, as who follows them gets them; of one that gives nothing the answer's text, which nobody sent."""
        return [call(self.relay.port, "GET", target).body for target in LINK.findall(words)]

    def traces(self, keys):
        """What the store knows of these."""
        rows = self.relay.query("SELECT id, conversation, text, attachments, state, reason, in_doubt, attempts, desk_ref FROM readable_messages ORDER BY id")
        return [str(row) for row in rows if any(key and re.search(rf"\b{key}\b", str(row)) for key in keys)]

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        for peer in (self.telegram, self.desk):
            peer.stop()
        trouble = self.telegram.trouble + self.desk.trouble
        if trouble:
            raise AssertionError("\n".join(trouble[:20]))


def line_of(world, outcome, faults):
    wrong = ", ".join(f"{len(whose)} {what}" for what, whose in faults.items()) or "0 lost, doubled, reordered, misplaced"
    return (f"{world.kind}, order {world.order}: {sum(map(len, outcome.sent.values()))} texts, {len(outcome.given)} files, {world.counts['kills']} kills, "
            f"{world.counts['stops']} stops, {world.counts['failures']} failures of the desk, {world.counts['fetches']} spoiled fetches: {wrong}")


def play(desk, seed, seconds):
    """(outcome, faults) of a round; prints its line."""
    with tempfile.TemporaryDirectory(prefix="tributary-media-kills-") as directory:
        world = World(directory, desk, seed)
        try:
            outcome = world.run(seconds)
            faults = judge(outcome)
            print(f"seed {seed}, {line_of(world, outcome, faults)}", flush=True)
            if faults:
                print("\n".join([str(faults), *world.traces({key for whose in faults.values() for key in whose})]), flush=True)
            world.relay.finish()
        finally:
            world.end()
    return outcome, faults


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--desk", choices=DESKS)
    parser.add_argument("--rounds", type=int, default=4, help="at each desk")
    parser.add_argument("--seconds", type=float, default=12, help="of each round, before all drains")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    texts = files = rounds = 0
    good, outcome = True, None
    for seed in range(options.seed, options.seed + options.rounds):
        for desk in [options.desk] if options.desk else DESKS:
            try:
                outcome, faults = play(desk, seed, options.seconds)
            except AssertionError as wrong:
                print(f"seed {seed}, {desk}: {wrong}", flush=True)
                good = False
                continue
            good = good and not faults
            rounds, texts, files = rounds + 1, texts + sum(map(len, outcome.sent.values())), files + len(outcome.given)
    missed = overlooked(outcome) if good and outcome else []
    print("control, an outcome spoiled in each way: " + ("NOT found: " + ", ".join(missed) if missed else "found out" if good and outcome else "not done"))
    good = good and outcome is not None and not missed
    print(f"{rounds} rounds, {texts} texts, {files} files: " + ("GOOD" if good else "BAD"), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
