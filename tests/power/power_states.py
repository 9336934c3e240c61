"""Disks that a power cut left, mounted, and the daemon started on them: each state of a recorded run is judged (power_judge.py)."""
import base64
import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../system"), os.path.join(HERE, "../crash"), HERE]
from block_log import END, FLUSH, BlockLog, Image, Replay, left_of   # noqa: E402
from harness.client import call                          # noqa: E402
from harness.common import PATIENCE_S, wait_for          # noqa: E402
from harness.record import arrivals_of                   # noqa: E402
from harness.scripted import Answer                      # noqa: E402
from power_judge import Row, faults_at_start, faults_when_drained, seen_until  # noqa: E402
from recorded_run import SECRET                          # noqa: E402
from small_disk import run                               # noqa: E402

ROWS = ("SELECT r.source, r.conversation, r.text, r.state FROM readable_messages r WHERE r.direction = 'inbound' ORDER BY r.id")

State = namedtuple("State", "number place left")               # place: of the log, left: block_log.Left
Verdict = namedtuple("Verdict", "faults acked drained mended")  # mended: the file system's own tool was needed before it could be mounted


def places_of(log, record, count, chance):
    """Where the power is cut: at each kind of place, those where much is pending more often than they come."""
    first, last = (log.place_of(at_ns) for at_ns in record.places)
    pending, busy, edges = 0, [], []
    replay = Replay(log, lambda piece: None)
    for place in range(first, last + 1):
        replay.advance(place)
        if len(replay.pending) >= 2:
            busy.append(place)
        if place < last and log.events[place].kind == END and log.requests[log.events[place].number].kind == FLUSH:
            edges += [place, place + 1]
    drawn = []
    for _ in range(count):
        kind = chance.random()
        drawn.append(chance.choice(busy) if kind < 0.5 and busy else chance.choice(edges) if kind < 0.75 and edges else chance.randrange(first, last + 1))
    return sorted(drawn)


class States:
    """All states of one record: `for state in states`, and the disk of each while it is its turn."""

    def __init__(self, log, record, count, directory, size, tears=True):
        self.log, self.record, self.tears = log, record, tears
        self.places = places_of(log, record, count, random.Random(f"{record.seed} places"))
        self.durable = Image(os.path.join(directory, "durable"), size)
        self.directory = directory

    def __iter__(self):
        replay = Replay(self.log, lambda piece: self.durable.put(self.log, piece))
        for number, place in enumerate(self.places):
            replay.advance(place)
            yield State(number, place, left_of(replay.pending.values(), random.Random(f"{self.record.seed} {number}"), self.tears))

    def make(self, state):
        """The path of its disk: a file of its own, since a loop device may outlive its mount by a moment."""
        image = Image(self.durable.copy_to(os.path.join(self.directory, f"state{state.number}")))
        for piece in state.left.pieces:
            image.put(self.log, piece)
        image.close()
        return image.path

    def end(self):
        self.durable.close()
        os.unlink(self.durable.path)


class Mounted:
    """with Mounted(kind, image, where) as mounted; what the file system needed for it is in mounted.mended."""

    def __init__(self, kind, image, where):
        self.kind, self.image, self.where, self.mended = kind, image, where, False

    def __enter__(self):
        mount = ("mount", "-t", self.kind, "-o", "loop,noatime", self.image, self.where)
        try:
            run(*mount)
        except RuntimeError:
            if self.kind != "btrfs":
                raise
            # Its superblock was torn: the operator takes the copy, which is as old as the file system's last commit (a flush of a file alone
            # writes the first superblock and not its copies). 2: that was done; 0: there was nothing to do.
            run("btrfs", "rescue", "super-recover", "-y", self.image, good=(2,))
            self.mended = True
            run(*mount)
        return self

    def __exit__(self, *_):
        wait_for(lambda: subprocess.run(["umount", self.where], capture_output=True).returncode == 0, f"{self.where} unmounted")


class Judge:
    """Starts the daemon on what is mounted, and looks."""

    def __init__(self, world, record):
        self.world, self.record, self.relay = world, record, world.relay

    def rows(self):
        connection = sqlite3.connect(f"file:{self.relay.database}?mode=ro", uri=True, timeout=PATIENCE_S)
        try:
            return [Row(*row) for row in connection.execute(ROWS)]
        finally:
            connection.close()

    def verify(self):
        found = self.relay.get("/api/v1/verify", deep="true")
        return [] if found["ok"] else [f"verify: {finding['kind']}: {finding['text']}" for finding in found["findings"]]

    def look(self, until, drains, older):
        """(faults, messages acknowledged until then) of a store after a power cut at that moment (s). Of an `older` state than the disk
        was told to keep nothing is asked but that it is whole: what is in it was not ours to save."""
        world, relay = self.world, self.relay
        seen = seen_until(self.record, until)
        world.begin(given=self.record.given)
        world.desk.script = lambda request: Answer(503)  # all stays as it was found, until it is looked at
        try:
            relay.start()
            ready = time.monotonic()
            faults = self.verify() + ([] if older else faults_at_start(seen, self.rows()))
            relay.check_sum()
            if drains and not faults and not older:
                faults = self.drain(seen, [until, ready])
        except AssertionError as wrong:
            faults = [f"{wrong}"]
        finally:
            if relay.process is not None:
                relay.kill()
        return faults, 0 if older else sum(one.acked is not None for sent in (seen.sent, *seen.chats.values()) for one in sent)

    # All goes on

    def send_again(self, one, post):
        wait_for(lambda: post().status < 300, f"a 2xx for {one.key}")
        one.acked = one.acked or time.monotonic()

    def platforms_go_on(self, seen):
        """What was not answered is sent again, in its order; and the last ones that were, as platforms do when the answer was lost (where it is
        known for long enough that they were there)."""
        world = self.world
        again = lambda sent: [one for one in sent[-3:] if one.acked is None or not seen.gone_ok]
        lanes = {one.lane: [other for other in seen.sent if other.lane == one.lane] for one in seen.sent}
        for sent in lanes.values():
            for one in again(sent):
                self.send_again(one, lambda: world.source.post(one.event))
        for sent in seen.chats.values():
            for one in again(sent):
                self.send_again(one, lambda: world.telegram.post(world.relay, "acme", one.event, secret=SECRET))

    def fetch(self, url):
        return hashlib.sha256(call(self.relay.port, "GET", "/" + url.split("/", 3)[3]).body).digest()

    def drain(self, seen, outage):
        world, relay = self.world, self.relay
        self.platforms_go_on(seen)
        world.desk.script = None
        assert relay.api("POST", "/api/v1/accounts/acme/desk/resume").status == 200
        wanted = "SELECT count(*) FROM files WHERE state = 0"
        wait_for(lambda: relay.query(wanted)[0][0] == 0 and relay.status()["pending"] == 0, "all settled", 3 * PATIENCE_S)
        posts = world.desk.posts()
        arrivals = seen.arrivals + [a for a in arrivals_of(world.desk)]
        bodies = seen.bodies + [r.notes["body"] for r in posts]
        faults = faults_when_drained(seen, self.rows(), arrivals, bodies, self.record.files, self.fetch, outage)
        return faults + self.verify()


def judge_state(states, state, judge, mount, drains):
    kind = judge.record.kind
    image = states.make(state)
    until = states.log.moment_of(state.place) / 1e9
    try:
        with Mounted(kind, image, mount) as mounted:
            return Verdict(*judge.look(until, drains, mounted.mended), drains and not mounted.mended, mounted.mended)
    except RuntimeError as wrong:
        return Verdict([f"the file system cannot be mounted: {wrong}"], 0, False, False)
    finally:
        os.unlink(image)
