#!/usr/bin/python3
"""Damaged files:  tests/power/loop_damage.py [--states 300] [--seed S] [--again N]

A daemon with messages delivered, waiting and with files is killed or stopped, then one of its files is damaged: bits flipped, a page
zeroed, a sector of garbage, cut short, or gone: the database, its log, the log's index, kept files, the files beside them. Then it is
started on that. Allowed are
  a refusal with a sentence, at the start or when the damage is come upon;
  all the rest arrives, and what does not is told: set aside as damaged, by an alarm or by `verify --deep`;
  of a damaged log: it ends before the damage, all that was accepted before is there (nothing can tell that there was more).
Never allowed: a crash, a hang, a text, a conversation or an order at the desk that nobody sent, a loss that nothing tells.

A line for each kind of file. The negative control: a message that is taken out of the store with all that could tell must be found
missing. Exit status 1 on a violation, or when the control is not found out. A state is drawn by seed and number; what the daemon was at
differs from run to run.
"""
import argparse
import collections
import glob
import http.client
import os
import random
import re
import shutil
import sqlite3
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../system"), os.path.join(HERE, "../crash"), HERE]
from damage_judge import Found, faults_of                 # noqa: E402
from harness.common import PATIENCE_S, key_of             # noqa: E402
from harness.record import arrivals_of                    # noqa: E402
from harness.scripted import Answer                       # noqa: E402
from loop_powerloss import Place                          # noqa: E402
from power_states import ROWS                             # noqa: E402
from power_judge import Row                               # noqa: E402
from recorded_run import CHATS, LANES, Chatter, Writer    # noqa: E402

EACH = 30  # states of one history
PAGE, SECTOR = 4096, 512


# ---- damage: what is done to the bytes of a file

def flip(data, chance):
    for _ in range(chance.choice([1, 1, 2, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def zero(data, chance):
    at = chance.randrange(len(data)) // PAGE * PAGE
    data[at:at + PAGE] = bytes(len(data[at:at + PAGE]))


def garbage(data, chance):
    at = chance.randrange(len(data)) // SECTOR * SECTOR
    data[at:at + SECTOR] = chance.randbytes(len(data[at:at + SECTOR]))


def cut(data, chance):
    del data[chance.randrange(len(data)):]


def lose(data, chance):
    data.clear()


WAYS = {"bits flipped": flip, "a page zeroed": zero, "a sector of garbage": garbage, "cut short": cut, "emptied": lose}
# Which files of the directory, and how often. Beside the store stand its lock and what is known of lanes that brought the process down.
FILES = {"database": ("t.db", 10), "log": ("t.db-wal", 5), "index of the log": ("t.db-shm", 1), "kept file": ("t.db.files/??/*", 2), "beside": ("t.db.l*", 1)}


def used(path, data):
    """Of the log only what is not zeros yet: else most damage would be none."""
    return len(bytes(data).rstrip(b"\0")) if path.endswith("-wal") else len(data)


def damage(directory, chance):
    """(kind of file, what was done); something that is there is chosen."""
    while True:
        kind = chance.choices(list(FILES), [often for _, often in FILES.values()])[0]
        paths = sorted(glob.glob(os.path.join(directory, FILES[kind][0])))
        paths = [path for path in paths if os.path.getsize(path)]
        if paths:
            break
    path, way = chance.choice(paths), chance.choice(list(WAYS))
    with open(path, "rb") as file:
        data = bytearray(file.read())
    n = used(path, data)
    head = data[:n] if n else data
    WAYS[way](head, chance)
    with open(path, "wb") as file:
        file.write(head + (data[n:] if way in ("bits flipped", "a page zeroed", "a sector of garbage") and n else b""))
    return kind, f"{os.path.basename(path)}: {way}"


# ---- a history

class Before:
    """What customers and desk saw until the damage; the directory as it was then is in `template`."""

    def __init__(self, place, seed):
        world, chance = place.world, random.Random(f"{seed} before")
        world.begin()
        over = threading.Event()
        customers = [Writer(world, f"w{i}", random.Random(f"{seed} w{i}"), over) for i in range(LANES)]
        customers += [Chatter(world, str(chat), random.Random(f"{seed} {chat}"), over) for chat in range(1, CHATS + 1)]
        world.relay.start()
        world.telegram.wait_registered()
        for customer in customers:
            customer.start()
        over.wait(1)
        world.desk.script = lambda request: Answer(503)
        over.wait(1)
        self.ended = chance.choice(["killed", "stopped"])
        over.set()
        for customer in customers:
            customer.join()
        (world.relay.kill if self.ended == "killed" else world.relay.stop)()
        self.at = time.monotonic()
        self.sent = [one for customer in customers if isinstance(customer, Writer) for one in customer.sent]
        self.chats = {customer.name_: customer.sent for customer in customers if isinstance(customer, Chatter)}
        self.arrivals, self.bodies = arrivals_of(world.desk), [r.notes["body"] for r in world.desk.posts()]
        self.given = dict(world.telegram.files)
        with open(os.path.join(place.mount, "t.db.lane-trouble"), "a") as file:
            file.write(f"4001 {int(time.time())}\n")  # of a lane that is not there
        self.template = os.path.join(place.path, "template")
        shutil.copytree(place.mount, self.template)
        self.rows = rows_of(world.relay.database)

    def restore(self, place):
        shutil.rmtree(place.mount)
        shutil.copytree(self.template, place.mount)


def rows_of(database):
    """As far as they can be read."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=PATIENCE_S)
    try:
        return [Row(*row) for row in connection.execute(ROWS)]
    finally:
        connection.close()


# ---- what the daemon makes of it

class After:
    """The daemon on damaged files, until all is settled, it has ended, or nothing moves any more."""
    CALM_S = 1.5

    def __init__(self, place, before):
        self.world, self.relay, self.before = place.world, place.world.relay, before
        self.world.begin(given=before.given)
        self.told, self.odd, self.rows, self.last_words = [], [], None, ""

    def run(self):
        relay = self.relay
        relay.start(wait=False)
        try:
            self.watch()
            if relay.running:
                self.look()
        finally:
            if relay.process is not None and relay.running:
                relay.kill()
            elif relay.process is not None:
                self.note_end()
        return self.found()

    def watch(self):
        """Until it is calm."""
        since, seen, end = time.monotonic(), None, time.monotonic() + PATIENCE_S
        while self.relay.running and time.monotonic() - since < self.CALM_S:
            if time.monotonic() > end:
                self.odd.append(f"it comes to no end: {seen}")
                return
            now = self.progress()
            if now != seen:
                seen, since = now, time.monotonic()
            elif now[:2] == (0, 0):
                return
            time.sleep(0.02)

    def progress(self):
        pending = wanted = alarms = None  # it starts, or ends, or cannot read that any more
        try:
            answer = self.relay.api("GET", "/api/v1/status")
            if answer.status == 200:
                pending, wanted, alarms = answer.json["pending"], self.wanted(), len(answer.json["alarms"])
        except (OSError, http.client.HTTPException):
            pass
        return pending, wanted, alarms, len(self.world.desk.journal)

    def wanted(self):
        try:
            return self.relay.query("SELECT count(*) FROM files WHERE state = 0")[0][0]
        except sqlite3.Error:
            return 0

    def look(self):
        """What it says of itself."""
        self.told += [f"alarm {e['name']}: {e['text']}" for e in self.relay.logged("alarm")]
        try:
            found = self.relay.api("GET", "/api/v1/verify?deep=true")
        except (OSError, http.client.HTTPException) as wrong:
            if self.relay.running:
                self.odd.append(f"it answers no more: {wrong}")
            return
        if found.status != 200:
            self.odd.append(f"verify: {found}")
        elif not found.json["ok"]:
            self.told += [f"verify: {finding['text']}" for finding in found.json["findings"]]
        try:
            self.rows = rows_of(self.relay.database)
        except sqlite3.Error as wrong:
            self.told.append(f"SQL: {wrong}")

    def note_end(self):
        status = self.relay.wait_end()
        words = [e for e in self.relay.logged("cannot_start") + self.relay.logged("fatal")]
        self.last_words = str(words[-1].get("why", words[-1].get("text", words[-1]))) if words else ""
        if status != 1 or not words:
            self.odd.append(f"it ended with status {status}, and said {self.last_words or 'nothing'}: " + " / ".join(self.relay.lines[-3:]))

    def found(self):
        arrivals = self.before.arrivals + arrivals_of(self.world.desk)
        bodies = self.before.bodies + [r.notes["body"] for r in self.world.desk.posts()]
        return Found(arrivals, bodies, self.rows, self.told, self.last_words, self.odd)


# ---- states

def control(place, before):
    """A message that waits is taken out, with all that could tell of it."""
    before.restore(place)
    connection = sqlite3.connect(place.world.relay.database, isolation_level=None)
    acked = [one.key for one in before.sent if one.acked]
    waiting = connection.execute("SELECT id, text FROM messages WHERE state = 0 ORDER BY id DESC").fetchall()
    number = next(number for number, text in waiting if key_of(text) in acked)
    connection.executescript(f"DELETE FROM messages WHERE id = {number}; DELETE FROM waiting WHERE id = {number}; UPDATE totals SET accepted = accepted - 1, sum = NULL")
    connection.close()
    found = After(place, before).run()
    faults = faults_of(before, found, "database")
    print("control, a message taken out: " + (f"found out: {faults[0]}" if faults else f"NOT found out; told: {found.told}"), flush=True)
    return bool(faults)


def one_state(place, before, seed, number):
    """(kind of file, what came of it in a word, faults)"""
    before.restore(place)
    kind, done = damage(place.mount, random.Random(f"{seed} {number}"))
    found = After(place, before).run()
    faults = faults_of(before, found, kind)
    if faults:
        print(f"state {number}, {before.ended}, {done}: " + "; ".join(faults[:5]) + f"\n  told: {found.told[:5]}, last words: {found.last_words}", flush=True)
    came = "refused" if found.last_words else "told" if found.told else "no harm"
    return kind, "wrong" if faults else came, faults


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--states", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--again", type=int, metavar="N", help="this state alone")
    options = parser.parse_args()
    came, began, good = collections.defaultdict(collections.Counter), time.monotonic(), False
    print(f"damage: seed {options.seed}", flush=True)
    for first in range(0, options.states, EACH):
        numbers = [n for n in range(first, min(first + EACH, options.states)) if options.again in (None, n)]
        if not numbers:
            continue
        with Place() as place:
            before = Before(place, options.seed + first)
            for number in numbers:
                kind, what, _ = one_state(place, before, options.seed, number)
                came[kind][what] += 1
            if not good:
                good = control(place, before)
    for kind, counts in sorted(came.items()):
        print(f"damage, {kind}: {sum(counts.values())} states: " + ", ".join(f"{what} {n}" for what, n in counts.most_common()), flush=True)
    wrong = sum(counts["wrong"] for counts in came.values())
    print(f"damage: {wrong} violations, {time.monotonic() - began:.0f} s", flush=True)
    return 0 if good and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
