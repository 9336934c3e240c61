"""The real daemon on a disk that writes down all that is asked of it: customers at a signed webhook and at a scripted Telegram (texts,
documents, albums), a scripted desk that fails now and then; one kill -9 and one orderly stop on the way. What customers and desk saw has
times on the clock of the disk's log, so that a power cut at any place of the log can be judged."""
import hashlib
import http.client
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../system"), os.path.join(HERE, "../crash")]
from harness.client import Sent, WebhookSource        # noqa: E402
from harness.common import PATIENCE_S, wait_for       # noqa: E402
from harness.desk import ScriptedDesk                 # noqa: E402
from harness.record import arrivals_of                # noqa: E402
from harness.relay import Relay, account, webhook_source  # noqa: E402
from harness.telegram import ScriptedTelegram         # noqa: E402
from kill_loop import webhook_faults                  # noqa: E402
from small_disk import PLUGIN, SmallDisk                   # noqa: E402

LANES, CHATS = 4, 3
SECRET, PUBLIC = "telegram-secret-kanarie", "https://relay.example.test"
DELIVERY = {"settle": "200ms", "timeout": "2s", "max_attempts": 100, "shutdown": "1s", "retry_base": "20ms", "retry_cap": "200ms"}
RETENTION = {"bodies": "1s", "dedupe": "1s"}
WEAK = os.path.join(os.path.dirname(PLUGIN), "weak_flush.so")


class LoggedDisk(SmallDisk):
    """Its log is `disk.log`. Not as small as it may be: files are kept only where much room is left."""
    MIB = {"btrfs": 768}

    def __init__(self, directory, kind):
        super().__init__(directory, kind, self.MIB.get(kind, 400))

    @property
    def log(self):
        return os.path.join(self.directory, "blocks.log")

    def served(self):
        return [PLUGIN, f"size={self.mib}M", "log=" + self.log]


class World:
    """Relay and peers; the store is on the file system that is mounted at `mount`. Each worker has one, for recordings and states."""

    def __init__(self, directory, mount):
        self.desk, self.telegram = ScriptedDesk(), ScriptedTelegram()
        config = account("acme", self.desk.config(), [webhook_source(), self.telegram.config(secret=SECRET)], order="conversation")
        self.relay = Relay(directory, [config], delivery=DELIVERY, media={"wait": "300ms"}, public_url=PUBLIC, store=f"sqlite:{mount}/t.db").allow(".*")
        self.relay.database = f"{mount}/t.db"
        self.source = WebhookSource(self.relay, "acme")

    def begin(self, retention=None, given=None):
        """Nothing is remembered of an earlier history. `given`: the files that Telegram has, from a Record."""
        relay = self.relay
        assert relay.process is None
        relay.lines.clear(), relay.events.clear(), relay.junk.clear(), relay.readers.clear(), relay.outages.clear()
        relay.environment, relay.config["retention"] = {}, retention or {"bodies": "30d"}
        relay.write_config()
        self.desk.script = None
        self.telegram.files = dict(given or {})
        for peer in (self.desk, self.telegram):
            with peer.lock:
                peer.journal.clear()

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        self.desk.stop()
        self.telegram.stop()


class Customer(threading.Thread):
    """Says one thing after the other, each until it is answered 2xx, until `over`; what it said is in `sent` (harness.client.Sent)."""

    def __init__(self, world, name, chance, over):
        super().__init__(daemon=True)
        self.world, self.name_, self.chance, self.over = world, name, chance, over
        self.sent, self.files, self.failure = [], {}, None  # files: sha256: key

    def run(self):
        try:
            for number in itertools.count(1):
                if self.over.wait(self.chance.random() * self.pause_s):
                    break
                self.say(number)
        except BaseException as trouble:  # shown by who waits for it
            self.failure = trouble
        finally:
            self.world.source.hang_up()

    def try_until_taken(self, one, post):
        self.sent.append(one)
        one.first_try = time.monotonic()

        def is_taken():
            try:
                status = post().status
            except (OSError, http.client.HTTPException):
                return False  # the relay is dead
            assert status in (200, 202, 429, 502, 503), f"{one.key}: {status}"
            return status < 300
        wait_for(lambda: is_taken() or self.over.is_set(), f"a 2xx for {one.key}", 3 * PATIENCE_S)
        one.acked = None if self.over.is_set() else time.monotonic()


class Writer(Customer):
    """At the signed webhook; lane and conversation are its name."""
    pause_s = 0.03

    def say(self, number):
        key = f"{self.name_}-{number:05d}"
        words = "x" * self.chance.choice([10, 100, 1000, 9000])
        one = Sent(key, self.name_, self.world.source.event(key, self.name_, words=words))
        self.try_until_taken(one, lambda: self.world.source.post(one.event))


class Chatter(Customer):
    """In a chat of Telegram; its name is the chat's number."""
    pause_s = 0.15

    def say(self, number):
        kind, key = self.chance.random(), f"c{self.name_}n{number}"
        if kind < 0.4:
            self.send(key, self.world.telegram.message(key, int(self.name_)))
        elif kind < 0.8:
            self.send_file(key)
        else:
            for i in range(self.chance.randrange(2, 4)):
                self.send_file(f"{key}p{i}", media_group_id="g" + key)

    def send_file(self, key, **more):
        size = self.chance.randrange(2000) if self.chance.random() < 0.8 else self.chance.choice([50_000, 300_000])
        data = b"%PDF-1.7\n" + key.encode() + self.chance.randbytes(size)
        self.files[hashlib.sha256(data).digest()] = key
        self.send(key, self.world.telegram.document(key, data, name=key + ".pdf", chat=int(self.name_), words="a file", **more))

    def send(self, key, update):
        one = Sent(key, self.name_, update)
        self.try_until_taken(one, lambda: self.world.telegram.post(self.world.relay, "acme", update, secret=SECRET))


# What was seen, with times of the log's clock. sent: at the webhook, chats: in Telegram (lists of harness.client.Sent); arrivals:
# harness.checker.Arrival, bodies: what they carried; files: (chat, key) by sha256; places: between which moments (ns) cuts are judged; given:
# what Telegram gives for each file_id.
Record = namedtuple("Record", "kind seed sent chats files arrivals bodies kills places retention given")


def record(world, disk, seed, seconds=4, weak=None):
    """A Record; the disk's log is complete then. `weak`: what flushes do instead (weak_flush.c)."""
    chance = random.Random(f"{seed} record")
    retention = chance.random() < 0.3
    world.begin(RETENTION if retention else None)
    if weak:
        world.relay.environment = {"LD_PRELOAD": WEAK, "WEAK_FLUSH": weak}
    world.desk.script = webhook_faults(random.Random(f"{seed} desk"))
    over = threading.Event()
    customers = [Writer(world, f"w{i}", random.Random(f"{seed} w{i}"), over) for i in range(LANES)]
    customers += [Chatter(world, str(chat), random.Random(f"{seed} {chat}"), over) for chat in range(1, CHATS + 1)]
    began_ns = time.monotonic_ns()
    relay = world.relay.start()
    world.telegram.wait_registered()
    for customer in customers:
        customer.start()
    ways = [relay.kill, relay.stop]
    chance.shuffle(ways)
    for way in ways:
        over.wait(seconds / 3)
        way()
        relay.start()
    over.wait(seconds / 3)
    ended_ns = time.monotonic_ns()
    relay.kill()
    over.set()
    for customer in customers:
        customer.join()
        if customer.failure:
            raise customer.failure
    by_writer = [customer for customer in customers if isinstance(customer, Writer)]
    chats = {customer.name_: customer for customer in customers if isinstance(customer, Chatter)}
    arrivals = arrivals_of(world.desk)
    return Record(disk.kind, seed, [one for writer in by_writer for one in writer.sent], {name: chat.sent for name, chat in chats.items()},
                  {digest: (name, key) for name, chat in chats.items() for digest, key in chat.files.items()},
                  arrivals, [r.notes["body"] for r in world.desk.posts()], [list(outage) for outage in relay.outages[:-1]], (began_ns, ended_ns), retention,
                  dict(world.telegram.files))
