"""kill -9 at the system calls of one thread: crash_scenario under strace, killed at its n-th call, taken up by another process, judged.

A scenario's calls are listed by a run that nobody kills. strace counts each call by its name, so the n-th call is the k-th of its name;
it is killed before that one is carried out. See scenario.c for what is judged.
"""
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PROGRAM = os.environ.get("TRIBUTARY_SCENARIO_BIN", os.path.join(ROOT, "build/release/crash_scenario"))
MARKER = "getppid"
COUNTS = ("acked", "lost", "doubled", "reordered", "wrong")
LIMIT_S = 60

Kill = collections.namedtuple("Kill", "call number")  # the number-th call of that name


class Result:
    def __init__(self):
        self.points = collections.Counter()  # by the call's name
        self.counts = collections.Counter()
        self.bad = []                        # (kill, what was said of it)

    def line(self, name):
        kinds = ", ".join(f"{call} {n}" for call, n in self.points.most_common(6))
        return f"{name}: {sum(self.points.values())} kill points ({kinds}), " + ", ".join(f"{k} {self.counts[k]}" for k in COUNTS)


def scenarios():
    """{name: how far apart the full run kills}"""
    out = subprocess.run([PROGRAM, "list"], check=True, capture_output=True, text=True, timeout=LIMIT_S).stdout
    return {name: int(stride) for name, stride in (line.split() for line in out.splitlines())}


def program(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT_S)


def drop_last_commit(store):
    """Takes the last committed transaction out of the log, as a disk does that lied about its flush. False: the log has none."""
    try:
        with open(store + "-wal", "r+b") as log:
            head = log.read(32)
            if len(head) < 32:
                return False
            page, salt = struct.unpack(">I", head[8:12])[0], head[16:24]
            ends, at = [], 32
            while True:
                frame = log.read(24)
                if len(frame) < 24 or frame[8:16] != salt:
                    break
                at += 24 + page
                log.seek(at)
                if frame[4:8] != b"\0\0\0\0":
                    ends.append(at)
            if not ends:
                return False
            begin = ends[-2] if len(ends) > 1 else 32
            log.seek(begin)
            log.write(b"\0" * (ends[-1] - begin))
            return True
    except FileNotFoundError:
        return False


class Scenario:
    def __init__(self, name, directory, early=False, tamper=None, sent="KILL"):
        self.name, self.directory, self.early, self.tamper, self.sent = name, directory, early, tamper, sent
        self.template = os.path.join(directory, "before")
        os.mkdir(self.template)
        done = program("prepare", name, self.template)
        assert done.returncode == 0, f"{name} cannot be prepared: {done.stdout}{done.stderr}"
        self.calls = self._list_calls()

    def _run(self, work, options):
        trace = work + ".trace"
        command = ["strace", "-q", "-o", trace, *options, PROGRAM, "run", self.name, work] + (["early"] if self.early else [])
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S).returncode
        with open(trace, errors="replace") as file:
            calls = re.findall(r"^(\w+)\(", file.read(), re.M)
        os.unlink(trace)
        return status, calls

    def _list_calls(self):
        work = self._copy("listed")
        status, calls = self._run(work, [])
        assert status == 0, f"{self.name} ended with {status} though nobody killed it"
        shutil.rmtree(work)
        numbers, found = collections.Counter(), []
        begin = calls.index(MARKER)
        for i, call in enumerate(calls):
            numbers[call] += 1
            if i > begin:
                found.append(Kill(call, numbers[call]))
        return found

    def _copy(self, name):
        work = os.path.join(self.directory, name)
        shutil.copytree(self.template, work)
        return work

    def kill_at(self, place):
        """(kill, counts, why it is bad or None, whether the process was killed and the control was done)

        A process that was not killed, because the call was made once less than when they were listed, came to its end and is
        judged as well; one that ended in another way is bad by that alone."""
        kill = self.calls[place]
        work = self._copy(str(place))
        try:
            status, calls = self._run(work, ["-e", f"inject={kill.call}:signal={self.sent}:when={kill.number}"])
            killed = status in (-signal.SIGKILL, 128 + signal.SIGKILL)
            tampered = self.tamper is None or self.tamper(os.path.join(work, "store.db"))
            done = program("finish", self.name, work)
            counts = dict(re.findall(r"(acked|lost|doubled|reordered|wrong) (\d+)", done.stdout))
            why = None if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}{done.stderr[-600:]}"
            if not killed and status != 0:
                why = f"it ended by itself with status {status}; {why or 'all was there'}"
            return kill, {k: int(v) for k, v in counts.items()}, why, killed and tampered
        finally:
            shutil.rmtree(work)

    def sweep(self, places, workers=2, until_bad=False):
        result = Result()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            places = list(places)
            for begin in range(0, len(places), 50):
                for kill, counts, why, counted in pool.map(self.kill_at, places[begin:begin + 50]):
                    result.points[kill.call] += counted
                    result.counts.update(counts)
                    if why and (counted or self.tamper is None):  # a control says nothing where it could not be done
                        result.bad.append((kill, why))
                if until_bad and result.bad:
                    break
        return result


def sweep(name, stride=1, offset=0, workers=2, **more):
    """Kills at each `stride`-th call of the scenario."""
    with tempfile.TemporaryDirectory(prefix="tributary-calls-") as directory:
        scenario = Scenario(name, directory, **{k: v for k, v in more.items() if k != "until_bad"})
        return scenario.sweep(range(offset, len(scenario.calls), stride), workers, more.get("until_bad", False))


def is_found(name, code, stride=1, **more):
    """A negative control: whether a broken relay is found out, by that count."""
    result = sweep(name, stride, until_bad=True, **more)
    return result.counts[code] > 0 and bool(result.bad), result
