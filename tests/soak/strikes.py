"""What is done to the relay while it soaks: restarts, kills, clocks that are set, too little memory, busy processors, a desk that is
away, slow or wrong, changes of accounts and configuration, backups that are restored. By a schedule that the seed draws.

Only the daemon has the faked clock: a preloaded libfaketime that reads its offset from a file, and leaves the monotonic clock alone.
"""
import contextlib
import glob
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

from harness.common import PATIENCE_S, wait_for
from harness.relay import Relay
from harness.scripted import Answer, Drop

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
CGROUP = "/sys/fs/cgroup/memory"
ROOM = 16 << 20        # beyond what is in use when memory is scarce
RESTARTS = (("kill", 0.05), ("stop", 0.1), ("kill", 0.15), ("kill", 0.3))   # when, as a share of the run; then none, for a long look
STRIKES = ("desk_away", "desk_slow", "desk_wrong", "backup", "clock_back", "scarce_memory", "others_memory", "busy_processors", "frozen", "switched",
           "reloaded", "by_hand", "verified")
AHEAD = ("clock_hour_ahead", "clock_day_ahead")


def schedule(seconds, chance, gap_s):
    """[(when, what)]: restarts at their shares of the run, the others in turns, each once in a round. A clock is set ahead at the beginning
    only: rows of that time stay until it is over."""
    fixed = [(share * seconds, name) for name, share in RESTARTS]
    listed, at, left = list(fixed), gap_s / 2, list(AHEAD)
    while at < seconds - gap_s / 2:
        if not left:
            left = list(STRIKES)
            chance.shuffle(left)
        if all(abs(at - other) > gap_s / 3 for other, _ in fixed):
            listed.append((at, left.pop(0)))
        at += gap_s
    return sorted(listed)


class FakeClock:
    """The wall clock of the daemon alone."""

    def __init__(self, relay, clock):
        self.clock, self.path = clock, os.path.join(relay.directory, "offset")
        self.library = next(iter(glob.glob(FAKETIME)), None)
        self.write(0)
        if self.library:
            relay.environment.update(LD_PRELOAD=self.library, FAKETIME_TIMESTAMP_FILE=self.path, FAKETIME_DONT_FAKE_MONOTONIC="1",
                                     FAKETIME_FORCE_MONOTONIC_FIX="0",  # else waits on condition variables end at once
                                     FAKETIME_CACHE_DURATION="1", NO_FAKE_STAT="1")

    def write(self, offset_s):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(f"{offset_s:+d}\n")
        os.rename(self.path + ".new", self.path)

    def set(self, offset_s):
        self.clock.set(offset_s, within_s=4)
        self.write(offset_s)

    @staticmethod
    def sweep():
        """A killed process leaves what libfaketime shares with its children."""
        for path in glob.glob("/dev/shm/*faketime*_*"):
            pid = path.rpartition("_")[2]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                with contextlib.suppress(OSError):
                    os.unlink(path)


class MemoryBound:
    """A control group around the daemon, where the machine lets us make one."""

    def __init__(self, relay):
        self.directory = os.path.join(CGROUP, f"tributary-soak-{os.getpid()}")
        try:
            os.mkdir(self.directory)
            relay.wrapper = ["sh", "-c", f'echo $$ > {self.directory}/cgroup.procs; exec "$@"', "sh"]
        except OSError:
            self.directory = None

    def number(self, name):
        with open(os.path.join(self.directory, name), encoding="ascii") as file:
            return int(file.read())

    def anonymous(self):
        with open(os.path.join(self.directory, "memory.stat"), encoding="ascii") as file:
            return dict(line.split() for line in file)["rss"]

    def limit(self, size):
        with open(os.path.join(self.directory, "memory.limit_in_bytes"), "w", encoding="ascii") as file:
            file.write(str(size))

    def end(self):
        if self.directory:
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)


class Strikes:
    def __init__(self, relay, talk, hooks, spare, clock, scratch, chance, scale=1.0):
        self.relay, self.talk, self.hooks, self.spare, self.scratch, self.chance, self.scale = relay, talk, hooks, spare, scratch, chance, scale
        self.fake, self.memory = FakeClock(relay, clock), MemoryBound(relay)
        self.done, self.undone = [], []   # what was done and when; what could not be
        self.pause = threading.Event()

    def hold(self, seconds):
        self.pause.wait(seconds * self.scale)

    def strike(self, name, t):
        began = time.monotonic()
        said = getattr(self, name)()
        (self.undone if said == "not here" else self.done).append({"t": t, "name": name, "s": round(time.monotonic() - began, 1), "said": said})
        return said

    # ---- the process

    def kill(self):
        self.relay.kill()
        return self.start()

    def stop(self):
        self.relay.stop()
        return self.start()

    def start(self):
        began = time.monotonic()
        self.relay.start()
        ready = time.monotonic() - began
        self.verified()
        return f"ready after {ready:.2f} s"

    def frozen(self):
        self.relay.send_signal(signal.SIGSTOP)
        self.hold(3 + 4 * self.chance.random())
        self.relay.send_signal(signal.SIGCONT)

    def verified(self):
        deep = ["--deep"] if self.chance.random() < 0.5 else []
        done = self.relay.cli("verify", *deep, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.relay.check_sum()

    # ---- the desk

    def desk_away(self):
        cut = [time.monotonic(), None]
        self.hooks.cuts.append(cut)
        self.hooks.desk.refuse()
        self.hold(10 + 15 * self.chance.random())
        self.hooks.desk.listen()
        cut[1] = time.monotonic() + 1

    @contextlib.contextmanager
    def scripted(self, script):
        ordinary = self.hooks.desk.script
        self.hooks.desk.script = lambda request: ordinary(request) or script(request)
        try:
            yield
        finally:
            self.hooks.desk.script = ordinary

    def desk_slow(self):
        with self.scripted(lambda request: Answer(200, delay_s=0.1 + 0.3 * self.chance.random())):
            self.hold(15)

    def desk_wrong(self):
        ways = [lambda: Answer(500), lambda: Answer(503), Drop, lambda: Answer(429, headers=[("Retry-After", "1")])]
        with self.scripted(lambda request: self.chance.choice(ways)() if request.method == "POST" and self.chance.random() < 0.05 else None):
            self.hold(20)

    # ---- the clock

    def clock_at(self, offset_s, seconds):
        if not self.fake.library:
            return "not here"
        self.hooks.desk.skew_s = abs(offset_s) + 60
        self.talk.may_answer.clear()
        self.pause.wait(2)
        try:
            self.fake.set(offset_s)
            self.hold(seconds)
        finally:
            self.fake.set(0)
            self.pause.wait(4)
            self.talk.may_answer.set()
        self.hooks.desk.skew_s = 60
        return f"{offset_s:+d} s"

    def clock_back(self):
        return self.clock_at(-3600, 30)

    def clock_hour_ahead(self):
        return self.clock_at(3600, 30)

    def clock_day_ahead(self):
        return self.clock_at(86400, 40)

    # ---- the machine

    def scarce_memory(self):
        if not self.memory.directory:
            return "not here"
        size = int(self.memory.anonymous()) + ROOM
        used = self.memory.number("memory.usage_in_bytes")
        began, said = time.monotonic(), f"{size >> 20} MiB where {used >> 20} were in use"
        try:
            self.memory.limit(size)
            self.hold(20)
        except OSError:
            said += ", which the kernel did not take"
        finally:
            self.memory.limit(-1)
        if self.relay.running:
            return said
        self.relay.kill()   # the kernel has, for want of memory
        self.relay.outages[-1][0] = began
        return f"{said}; the kernel ended it, {self.start()}"

    def others(self, *arguments):
        program = shutil.which("stress-ng")
        if not program:
            return "not here"
        subprocess.run(["nice", "-n", "10", program, "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return None

    def others_memory(self):
        return self.others("--vm", "1", "--vm-bytes", "1G", "--timeout", f"{max(1, int(15 * self.scale))}s")

    def busy_processors(self):
        return self.others("--cpu", str(os.cpu_count()), "--timeout", f"{max(1, int(15 * self.scale))}s")

    # ---- people

    def switched(self):
        self.relay.cli("account", "deactivate", self.hooks.name)
        self.hold(8)
        self.relay.cli("account", "activate", self.hooks.name)

    def reloaded(self):
        """A ceiling on the desk's rate comes and goes: by the file and SIGHUP, and by command."""
        [mine] = [each for each in self.relay.config["accounts"] if each["name"] == self.hooks.name]
        mine["desk"]["rate"] = "500/s"
        self.relay.write_config()
        before = len(self.relay.logged("reloaded"))
        self.relay.send_signal(signal.SIGHUP)
        wait_for(lambda: len(self.relay.logged("reloaded")) > before, "the configuration is read again")
        self.hold(5)
        del mine["desk"]["rate"]
        self.relay.write_config()
        self.relay.cli("reload")

    def by_hand(self):
        assert self.spare.turn(), "an account could not be made, used or removed"

    # ---- backups

    def backup(self):
        """As docs/operations.md says: the files, the store by VACUUM INTO, the files that came meanwhile. Then it is restored beside, and looked at."""
        copy = os.path.join(self.scratch, "restored")
        shutil.rmtree(copy, ignore_errors=True)
        os.mkdir(copy)
        there = os.path.join(copy, "tributary.db")
        files = self.relay.database + ".files"
        self.copy_files(files, there + ".files")
        connection = sqlite3.connect(f"file:{self.relay.database}?mode=ro", uri=True, timeout=PATIENCE_S)
        connection.execute("VACUUM INTO ?", (there,))
        connection.close()
        self.copy_files(files, there + ".files")
        second = Relay(copy, []).allow(".*")
        second.start()
        try:
            done = second.cli("verify", "--deep", "--json", check=False)
            assert done.returncode == 0, "a restored backup: " + done.stdout + done.stderr
            status = second.check_sum()
        finally:
            second.stop()
            shutil.rmtree(copy)
        return f"{status['accepted']} accepted, {status['pending']} waiting, {json.loads(done.stdout).get('messages', '?')} rows"

    @staticmethod
    def copy_files(source, target):
        """What goes meanwhile is not wanted any more."""
        for directory, _, names in os.walk(source):
            there = os.path.join(target, os.path.relpath(directory, source))
            os.makedirs(there, exist_ok=True)
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    if not os.path.exists(os.path.join(there, name)):
                        shutil.copy2(os.path.join(directory, name), os.path.join(there, name))

    def end(self):
        self.memory.end()
        self.fake.sweep()
