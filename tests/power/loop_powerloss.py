#!/usr/bin/python3
"""The power goes:  tests/power/loop_powerloss.py [--states 2000] [--kinds ext4,xfs,btrfs] [--seed S]   (make powerloss)

The real daemon works on a disk that writes down each write and each flush (recorded_run.py, block_log.c). From each such log a hundred
states of the disk are made, as a power cut may leave them: what was flushed, and of the rest any part, sectors of 512 bytes torn off
(block_log.py). Each is mounted, the daemon is started on it and looks itself through (`verify --deep`), and is judged by what customers
and desk had seen until then: nothing acknowledged is lost, altered, stored twice or out of order, and no lane went on before its message
was settled on the disk (power_judge.py). Every tenth is drained after platforms have sent again what was not answered: nothing lost,
doubled or out of order at the desk, each file whole.

A line for each file system; then its negative controls, a daemon whose flushes do nothing, or come after the answer (weak_flush.c): each
must be found out. Exit status 1 on a violation or when a control is not found out. What a violation needs is kept under build/powerloss:
  tests/power/loop_powerloss.py --again build/powerloss/ext4-1 --number 17
Needs root and script/deps crash; says so where it cannot run, and fails.
"""
import argparse
import concurrent.futures
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../system"), os.path.join(HERE, "../crash"), HERE]
from block_log import BlockLog                          # noqa: E402
from harness.common import given_ports, own_ports       # noqa: E402
from power_states import Judge, States, judge_state     # noqa: E402
from recorded_run import LoggedDisk, World, record      # noqa: E402
from small_disk import missing, mount_apart             # noqa: E402

KINDS = ("ext4", "xfs", "btrfs")
CONTROLS = {"never": "no flush does anything", "log": "synchronous=NORMAL and no flush of ours", "later": "the answer comes before the flush",
            "files": "files are kept without a flush"}
EACH, DRAINED = 100, 10  # states of one recording; one in so many is drained
CONTROL_STATES = 60
KEPT = os.path.join(HERE, "../../build/powerloss")
WORKERS = 2

ending = False  # what was given to a worker before is not begun any more


class Place:
    """A directory in memory, world and disk in it, for one recording and its states."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="tributary-power-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.path = self.temporary.name
        self.mount = os.path.join(self.path, "disk")
        os.mkdir(self.mount)
        self.world = World(self.path, self.mount)
        return self

    def __exit__(self, *_):
        self.world.end()
        self.temporary.cleanup()

    def record(self, kind, seed, weak=None):
        """(disk, record)"""
        with LoggedDisk(self.path, kind) as disk:
            made = record(self.world, disk, seed, weak=weak)
        return disk, made


def keep(disk, made):
    """What is needed to judge its states again."""
    where = os.path.join(KEPT, f"{made.kind}-{made.seed}")
    os.makedirs(where, exist_ok=True)
    shutil.copy(disk.log, os.path.join(where, "blocks.log"))
    with open(os.path.join(where, "record"), "wb") as file:
        pickle.dump((disk.mib, made), file)
    return os.path.relpath(where)


def play(kind, seed, count, weak=None, until_found=False):
    """(counts, [(number, faults)]) of one recording's states."""
    if ending:
        sys.exit(1)
    counts, bad = Counter(recordings=1), []
    with Place() as place:
        disk, made = place.record(kind, seed, weak)
        log = BlockLog(disk.log)
        states = States(log, made, count, place.path, disk.mib << 20)
        judge = Judge(place.world, made)
        for state in states:
            verdict = judge_state(states, state, judge, place.mount, state.number % DRAINED == 0 and not weak)
            left = state.left
            counts.update(states=1, incomplete=bool(left.lost or left.torn), torn=bool(left.torn), acked=verdict.acked, drained=verdict.drained,
                          mended=verdict.mended)
            if verdict.faults:
                bad.append((state.number, verdict.faults))
                if until_found:
                    break
        states.end()
        log.close()
        if bad and not weak:
            print(f"powerloss, {kind}: kept: {keep(disk, made)}", flush=True)
    return counts, bad


def say(kind, seed, number, faults):
    print(f"powerloss, {kind}, seed {seed}, state {number}: " + "; ".join(fault[:300] for fault in faults[:5]), flush=True)


def loop(kind, states, seed, pool):
    """Whether no state was in violation."""
    began = time.monotonic()
    counts, bad = Counter(), 0
    shares = [EACH] * (states // EACH) + ([states % EACH] if states % EACH else [])
    runs = {pool.submit(play, kind, seed + i, share): seed + i for i, share in enumerate(shares)}
    for done in concurrent.futures.as_completed(runs):
        more, found = done.result()
        counts.update(more)
        bad += len(found)
        for number, faults in found:
            say(kind, runs[done], number, faults)
    mended = f", {counts['mended']} mounted by an older copy of the superblock, and held to be whole alone" if counts["mended"] else ""
    print(f"powerloss, {kind}: seed {seed}, {counts['recordings']} recordings, {counts['states']} states ({counts['incomplete']} without some writes, "
          f"{counts['torn']} of them torn{mended}), {counts['acked']} acknowledged messages looked for, {counts['drained']} drained: {bad} violations, "
          f"{time.monotonic() - began:.0f} s", flush=True)
    return bad == 0 and counts["states"] == states


def control(kind, weak, seed, pool):
    """Whether a daemon with such flushes is found out."""
    counts, bad = pool.submit(play, kind, seed, CONTROL_STATES, weak, True).result()
    what = f"control, {kind}, {weak} ({CONTROLS[weak]}): "
    print(what + (f"found out at state {bad[0][0]}: {bad[0][1][0][:120]}" if bad else f"NOT found in {counts['states']} states"), flush=True)
    return bool(bad)


def all_of(kind, options, pool):
    """States and controls of one file system."""
    why = missing(kind)
    if why:
        print(f"powerloss, {kind}: NOT RUN: {why}")
        return False
    good = options.states == 0 or loop(kind, options.states, options.seed, pool)
    return all([control(kind, weak, options.seed, pool) for weak in options.controls.split(",") if weak]) and good


def own_ports_of(count):
    """A worker takes no port of another one, whose daemon may just be dead."""
    with count.get_lock():
        count.value += 1
        number = count.value
    given_ports.update(port for port in range(*own_ports()) if port % WORKERS != number % WORKERS)


def end_soon(*_):
    """In each process, so that nothing stays mounted."""
    global ending
    ending = True
    sys.exit(1)


def again(where, number):
    """One state of what was kept; the faults."""
    with open(os.path.join(where, "record"), "rb") as file:
        mib, made = pickle.load(file)
    log = BlockLog(os.path.join(where, "blocks.log"))
    with Place() as place:
        states = States(log, made, EACH, place.path, mib << 20)
        for state in states:
            if state.number == number:
                faults = judge_state(states, state, Judge(place.world, made), place.mount, True).faults
                print("\n".join(place.world.relay.lines))
                print(f"place {state.place} of {len(log.events)}, {state.left.way}: {state.left.lost} writes lost, {state.left.torn} torn\n" + "\n".join(faults))
                return not faults
    raise SystemExit(f"there is no state {number}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--states", type=int, default=2000, help="of each file system")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--controls", default=",".join(CONTROLS))
    parser.add_argument("--again", metavar="DIRECTORY")
    parser.add_argument("--number", type=int)
    options = parser.parse_args()
    if os.geteuid() == 0:
        mount_apart()
    if options.again:
        return 0 if again(options.again, options.number) else 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_soon)
    with concurrent.futures.ProcessPoolExecutor(WORKERS, initializer=own_ports_of, initargs=(multiprocessing.Value("i", 0),)) as pool:
        try:
            good = [all_of(kind, options, pool) for kind in options.kinds.split(",")]
        except SystemExit:
            pool.shutdown(cancel_futures=True)
            raise
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
