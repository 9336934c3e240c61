#!/usr/bin/python3
"""Both ways at once, with lost answers, lost notifications and kills:  tests/crash/loop_both_ways.py [--bots 20] [--chats 2000] [--each 50]

See both_ways.py. Exit status 0 when nothing was lost, doubled (but for replies whose agent was told so) or reordered.
"""
import argparse
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from both_ways import BothWays, is_good, judge  # noqa: E402


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--bots", type=int, default=20)
    parser.add_argument("--chats", type=int, default=2000)
    parser.add_argument("--each", type=int, default=50, help="messages of each chat, and answers to it")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--lost", type=float, default=0.01, help="share of answers and notifications that are lost")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two messages of one chat")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tributary-both-") as directory:
        world = BothWays(directory, options.bots, options.chats, options.each, options.kills, options.seed, options.lost, pace_s=options.pace)
        try:
            began = time.monotonic()
            world.begin()
            world.talk()
            print(f"all said after {time.monotonic() - began:.0f} s, {world.relay.starts - 1} kills", flush=True)
            world.wait_all(600)
            world.relay.wait_settled(300)
            print(f"all there after {time.monotonic() - began:.0f} s", flush=True)
            world.relay.verify()
            status = world.relay.check_sum()
            record = world.record()
            world.relay.stop()
        finally:
            world.end()
    faults = judge(record)
    print(f"{len(record.came)} came in, {len(record.said)} answers, {len(record.sent)} sent, {sum(record.twice.values())} told as perhaps twice, "
          f"{record.doubted} notes; accepted {status['accepted']}, skipped {status['skipped']}")
    print(dict(faults) if faults else "no faults")
    ok = is_good(faults) and len(record.came) == len(record.said) == options.chats * options.each
    print("GOOD" if ok else "BAD")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
