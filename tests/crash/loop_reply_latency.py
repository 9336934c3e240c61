#!/usr/bin/python3
"""How soon an agent's answer is in the chat:  tests/crash/loop_reply_latency.py [--rate 100] [--seconds 30] [--bots 20] [--chats 2000]

From before the agent's request at the stand-in of Intercom to when the stand-in of Telegram has the message; nothing is lost on purpose.
Exit status 0 when 99 % were there within a second, and none was lost, doubled or reordered.
"""
import argparse
import collections
import datetime
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from both_ways import BothWays, Door, judge  # noqa: E402
from harness.common import wait_for           # noqa: E402

AGENTS = 8        # who answer side by side
WITHIN_S = 1.0    # 99 of 100


def answer_at_a_rate(world, rate, seconds):
    """{text: when the agent began to say it}; each agent has chats of its own, so that a chat's answers are said in order."""
    began, start = {}, time.monotonic() + 0.5

    def agent(mine):
        door = Door(world.intercom)
        for number in range(mine, rate * seconds, AGENTS):
            chat = number % world.chats + 1
            text = f"out {chat} {number // world.chats + 1}"
            threading.Event().wait(max(0.0, start + number / rate - time.monotonic()))
            began[text] = time.time()
            door.call("POST", "inbox/reply", {"conversation": world.known[chat], "body": text})
        door.close()
    agents = [threading.Thread(target=agent, args=(mine,)) for mine in range(AGENTS)]
    for each in agents:
        each.start()
    for each in agents:
        each.join()
    print(f"{len(began)} answers in {time.monotonic() - start:.1f} s", flush=True)
    return began


def arrived(world):
    """{text: when it was first in the chat}"""
    door = Door(world.telegram)
    found = {}
    for item in door.journal("sent")[0]:
        found.setdefault(item["text"], datetime.datetime.fromisoformat(item["at"].replace("Z", "+00:00")).timestamp())
    door.close()
    return found


def wait_all(world, texts):
    """A minute at most: what is not there by then is lost."""
    try:
        wait_for(lambda: texts <= set(arrived(world)), "all answers in their chats", 60, poll_s=0.5)
    except AssertionError as late:
        print(late, flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="answers a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--bots", type=int, default=20)
    parser.add_argument("--chats", type=int, default=2000)
    options = parser.parse_args()
    assert options.chats % AGENTS == 0, f"a multiple of {AGENTS} chats"
    with tempfile.TemporaryDirectory(prefix="tributary-latency-") as directory:
        world = BothWays(directory, options.bots, options.chats, each=1, kills=0, lost=0)
        try:
            world.begin()
            world.customers()
            world.meet()
            began = answer_at_a_rate(world, options.rate, options.seconds)
            wait_all(world, set(began))
            world.relay.wait_settled(60)
            there, record = arrived(world), world.record()
            world.relay.verify()
            world.relay.stop()
        finally:
            world.end()
    faults = collections.Counter({code: count for code, count in judge(record).items() if code.startswith("out")})
    took = sorted(there[text] - at for text, at in began.items() if text in there)
    share = lambda part: took[min(len(took) - 1, int(len(took) * part))]
    print(f"to the chat: p50 {share(0.5) * 1000:.0f} ms, p99 {share(0.99) * 1000:.0f} ms, longest {took[-1] * 1000:.0f} ms; "
          f"lost {faults['out lost']}, doubled {faults['out doubled without a word'] + faults['resent']}, reordered {faults['out reordered']}")
    good = len(took) == len(began) == options.rate * options.seconds and not faults and share(0.99) < WITHIN_S
    print("GOOD" if good else "BAD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
