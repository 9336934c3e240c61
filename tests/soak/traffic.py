"""What flows through the relay while it soaks, for as long as one likes, and what judges it: the senders, peers and judges of the
system tests and the crash loops, at a steady pace, and with journals that are emptied as they fill."""
import base64
import collections
import hashlib
import http.client
import itertools
import json
import os
import random
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../crash"), os.path.join(HERE, "../system")]
import both_ways                                                              # noqa: E402
import loop_media_kills as media                                              # noqa: E402
from harness import checker                                                   # noqa: E402
from harness.client import WebhookSource                                      # noqa: E402
from harness.common import PATIENCE_S, make_secret                            # noqa: E402
from harness.desk import ScriptedDesk                                         # noqa: E402
from harness.intercom import ScriptedIntercom                                 # noqa: E402
from harness.relay import account, webhook_source                             # noqa: E402
from harness.scripted import Answer                                           # noqa: E402
from harness.telegram import ScriptedTelegram                                 # noqa: E402

SENDERS, LANES_EACH = 4, 10
REFUSED_EACH = 200     # one of so many messages is refused by the desk, and settled by hand
DUPLICATE_EACH = 25    # one of so many events is sent again
FORGED_EACH = 100      # as many requests come with a wrong signature
FILE_EACH = 10         # one of so many answers has a file


class WallClock:
    """The clock of the relay, as its neighbours see it: `offset_s` from ours. While it is `changing` they may be apart."""

    def __init__(self):
        self.offset_s, self.changes, self.steady_at = 0, 0, 0.0

    def set(self, offset_s, within_s):
        self.offset_s, self.changes, self.steady_at = offset_s, self.changes + 1, time.monotonic() + within_s

    @property
    def changing(self):
        return time.monotonic() < self.steady_at

    def now(self):
        return time.time() + self.offset_s


class SoakingSource(WebhookSource):
    """Signs by the relay's clock; refused because that was just set, it tries again."""

    def __init__(self, relay, name, secret, clock):
        super().__init__(relay, name, secret=secret)
        self.clock = clock

    def signed(self, body, message_id=None, timestamp=None):
        return super().signed(body, message_id, int(self.clock.now()) if timestamp is None else timestamp)

    def post(self, event, headers=None, method="POST"):
        answer = super().post(event, headers, method)
        if answer.status == 401 and headers is None and self.clock.changing:
            answer.status = 503
        return answer


class Hooks:
    """Signed webhooks in, signed webhooks out: order, duplicates, forged requests, messages that the desk refuses."""
    name = "hook"

    def __init__(self, relay, rate, clock, chance):
        self.relay, self.rate, self.clock, self.chance = relay, rate, clock, chance
        self.desk = ScriptedDesk()
        self.desk.script = self.refuse
        self.secret = make_secret()
        self.source = SoakingSource(relay, self.name, self.secret, clock)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(i, random.Random(chance.random())), daemon=True) for i in range(SENDERS)]
        self.failures = []
        self.sent, self.arrivals = [], []   # for the judge; what the peers noted is moved here
        self.refused = set()                # keys that were, once
        self.counts = collections.Counter()
        self.cuts = []                      # [closed, open again]: what the desk answered about then may not have come through
        self.latest = []                    # (when it came, how long that took) since the last look
        self.first_try = {}                 # of what is under way

    def account(self):
        return account(self.name, self.desk.config(), [webhook_source(secret=self.secret)], order="conversation")

    def refuse(self, request):
        key = request.notes.get("key", "")
        if request.method != "POST" or not key.endswith("00") or int(key.rpartition("-")[2]) % REFUSED_EACH or key in self.refused:
            return None
        self.refused.add(key)
        return Answer(422)

    # ---- senders

    def begin(self):
        for thread in self.threads:
            thread.start()

    def send(self, mine, chance):
        due, pause = time.monotonic(), threading.Event()
        try:
            for serial in itertools.count(1):
                due = max(due + SENDERS / self.rate, time.monotonic() - 1)
                pause.wait(max(0.0, due - time.monotonic()))
                if self.over.is_set():
                    return
                lane, change = f"c{mine}-{serial % LANES_EACH}", self.clock.changes
                key = f"{lane}-{serial:07d}"
                self.first_try[key] = time.monotonic()
                one = self.source.deliver(key, lane, words="x" * chance.choice([10, 100, 1000]))
                if serial % DUPLICATE_EACH == 0 and change == self.clock.changes and not self.clock.changing:
                    self.repeat(one, change)
                if serial % FORGED_EACH == 0:
                    self.forge(lane)
        except BaseException as trouble:
            self.failures.append(trouble)
        finally:
            self.source.hang_up()

    def repeat(self, one, change):
        """The same event once more. Not once the clock has been set: what a clock ahead takes away is no duplicate any more."""
        try:
            answer = self.source.post(one.event)
        except (OSError, http.client.HTTPException):
            return
        assert answer.status in (200, 503) or change != self.clock.changes, answer
        self.counts["duplicates"] += 1

    def forge(self, lane):
        try:
            answer = self.source.post(self.source.event("forged", lane), {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()})
        except (OSError, http.client.HTTPException):
            return
        assert answer.status in (401, 503), answer
        self.counts["forged"] += 1

    # ---- the judge's books

    def collect(self):
        """Moves what is done from the peers' journals into ours."""
        with self.source.lock:
            done = [one for one in self.source.sent if one.acked]
            self.source.sent = [one for one in self.source.sent if not one.acked]
        texts = {}
        for one in done:
            texts[one.key] = one.text
            self.sent.append(checker.Sent(one.key, one.lane, one.text, one.first_try, one.acked))
        with self.desk.lock:
            journal = self.desk.journal
            ended = [r for r in journal if r.end is not None]
            self.desk.journal = [r for r in journal if r.end is None]
        for r in ended:
            if r.method == "POST" and "key" in r.notes:
                self.note(r, texts)

    def note(self, r, texts):
        key, body = r.notes["key"], r.notes["body"]
        text = texts.get(key)
        self.arrivals.append(checker.Arrival(key, sys.intern(body["conversation"]), text if text == body["text"] else body["text"], r.start, r.end, r.status,
                                             r.notes["webhook_id"], applied=r.status is not None and 200 <= r.status < 300))
        began = self.first_try.pop(key, None)
        if began is not None:
            self.latest.append(r.start - began)

    def latency(self):
        """Sorted seconds from the first try to the desk, of what came since the last call."""
        took, self.latest = sorted(self.latest), []
        return took

    def settle(self):
        """What a person does about refused messages: half are sent again, the others are not wanted."""
        done = self.relay.cli("messages", "--account", self.name, "--state", "skipped", "--json", "--limit", "1000", check=False)
        if done.returncode:
            return
        for item in json.loads(done.stdout)["items"]:
            again = int(item["id"]) % 2 == 0
            done = self.relay.cli("retry" if again else "discard", item["id"], check=False)
            self.counts["settled without an answer" if done.returncode else "retried" if again else "discarded"] += 1

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(10 * PATIENCE_S)
            assert not thread.is_alive(), "a sender is still busy"

    def history(self, sums):
        self.collect()
        return checker.History(sent=self.sent, arrivals=sorted(self.arrivals, key=lambda a: a.start), kills=self.relay.outages + self.cuts,
                               retried_by_hand=self.refused, sums=sums)

    def judge(self, sums):
        """(anomalies, figures). What was refused and is not at the desk: so many were discarded."""
        history = self.history(sums)
        report = checker.check(history)
        gone = [a for a in report.of("A1") if a.key in self.refused]
        most = self.counts["discarded"] + self.counts["settled without an answer"]
        counts = {**report.counts, "lost": len(report.of("A1")) - len(gone), **self.counts, "refused": len(self.refused), "discarded and not at the desk": len(gone)}
        return [a for a in report.anomalies if a not in gone[:most]], counts


class Talk(both_ways.BothWays):
    """Telegram and Intercom, both ways: one bot by webhook, one that is polled; every now and then an answer with a file."""

    def __init__(self, directory, seed, pace_s, chats):
        super().__init__(directory, bots=2, chats=chats, each=1 << 30, kills=0, seed=seed, lost=0.01, pace_s=pace_s)
        self.relay.config["accounts"][0]["sources"][1]["mode"] = "polling"
        self.given = collections.Counter()   # (chat, sha256): files of agents
        # While the relay's clock is ahead of the desk's by more than it remembers, two parts of one second are not told apart: nobody answers then.
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.threads = [threading.Thread(target=self.customers, daemon=True), threading.Thread(target=self.agents, daemon=True)]

    def talk(self):
        for thread in self.threads:
            thread.start()

    def reply(self, chat, number):
        self.may_answer.wait()
        said = super().reply(chat, number)
        if number % FILE_EACH == chat % FILE_EACH:
            data = b"%PDF-1.7\n" + f"{chat} {number} ".encode() + random.Random(chat * 1000003 + number).randbytes(5000)
            said["attachment_files"] = [{"name": f"a{number}.pdf", "content_type": "application/pdf", "data": base64.b64encode(data).decode()}]
            self.given[chat, hashlib.sha256(data).hexdigest()] += 1
        return said

    def hush(self):
        """Nobody says more than all have said when this returns. Agents catch up, who were silent while the clock was set."""
        self.pace_s = min(self.pace_s, 0.3)
        self.each = max(self.rounds, self.said // self.chats + 1) + 1
        for thread in self.threads:
            thread.join(10 * PATIENCE_S + self.each)
            assert not thread.is_alive(), "somebody still talks"

    def traces(self, record):
        """Of answers that did not arrive: when they were said, and what became of the notifications of their conversations."""
        came, found = {text for _, text in record.sent}, []
        desk = both_ways.Door(self.intercom)
        notices = desk.journal("webhook")[0] if set(text for _, text in record.said) - came else []
        for item in desk.journal("said")[0]:
            if item["text"] not in came:
                told = [(n["at"], n["topic"], n["outcome"]) for n in notices if n["conversation"] == item["conversation"] and n.get("part") == item["id"]]
                found.append(f"{item['text']!r} of {item['at']}: {told}")
        desk.close()
        return found

    def files_lost(self, record):
        got = collections.Counter(record.files)
        return {"out files lost": len(set(self.given) - set(got)), "out files strange": len(set(got) - set(self.given)),
                "files resent": sum(got.values()) - len(got)}


LINKED = re.compile(r"/media/[0-9a-f]{64}\?\S*name=(c\d+n\d+(?:p\d+)?)\.pdf")


class Files(media.World):
    """Customers who send documents and albums, at a desk and a platform that fail now and then."""
    account, pause_s = "files", 4.0

    def __init__(self, relay, seed, customers=6):
        self.relay, self.kind, self.order = relay, "intercom", "conversation"
        self.counts, self.over = collections.Counter(), threading.Event()
        self.telegram, self.desk = ScriptedTelegram(), ScriptedIntercom()
        self.telegram.https_only = False
        self.desk.script = media.desk_faults(self.desk, random.Random(seed), self.counts, unwell=0.05)
        self.customers = [media.Customer(self, chat, random.Random(f"{seed} {chat}")) for chat in range(1, customers + 1)]

    def config(self):
        return account(self.account, self.desk.config(), [self.telegram.config(secret=media.SECRET)], order=self.order)

    def begin(self):
        self.telegram.wait_registered()
        for customer in self.customers:
            customer.start()

    def collect(self):
        """Forgets what was asked; what came of it is in the peers."""
        for peer in (self.telegram, self.desk):
            with peer.lock:
                peer.journal = [r for r in peer.journal if r.end is None]

    def outcome(self):
        """As in the loop of kills; but a link (from the third attempt on) is not followed here, hours later: its bytes have aged out. Counted."""
        outcome = super().outcome()
        came = {key for _, key in outcome.files}
        linked = {key for _, words, _ in self.seen_at_intercom() for key in LINKED.findall(words)} - came
        self.counts["linked"] = len(linked)
        return outcome._replace(given={key: chat for key, chat in outcome.given.items() if key not in linked})

    def hush(self):
        self.over.set()
        for customer in self.customers:
            customer.join(10 * PATIENCE_S)
        assert all(customer.well for customer in self.customers), "a customer was not heard"

    def stop(self):
        for peer in (self.telegram, self.desk):
            peer.stop()
        return self.telegram.trouble + self.desk.trouble


class Spare:
    """An account that is made by hand, used, and removed, again and again."""

    def __init__(self, relay, desk_url):
        self.relay, self.desk_url, self.turns = relay, desk_url, 0
        for name in ("spare.secret", "spare-desk.secret"):
            with open(os.open(os.path.join(relay.directory, name), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(make_secret() + "\n")

    def turn(self):
        """True when all of it was carried out; the relay may have been killed in between."""
        name = f"spare{self.turns}"
        self.turns += 1
        steps = [("account", "add", name, "--source-name", "hook", "--source-platform", "webhook", "--source-secret-file", "spare.secret", "--desk-platform",
                  "webhook", "--desk-url", self.desk_url, "--desk-secret-file", "spare-desk.secret"),
                 ("source", "add", name, "second", "--platform", "webhook", "--secret-file", "spare.secret"), ("desk", "set", name, "--rate", "100/s"),
                 ("account", "deactivate", name), ("account", "activate", name), ("source", "remove", name, "second"),
                 ("why", name), ("account", "remove", name, "--discard")]
        return all([self.relay.cli(*step, check=False).returncode == 0 for step in steps])

    def clear(self):
        """Removes what a kill left."""
        for each in self.relay.status()["accounts"]:
            if each["name"].startswith("spare"):
                self.relay.cli("account", "remove", each["name"], "--discard")
