#!/usr/bin/python3
"""Notifications that are lost while the relay runs are made up for by its search:  tests/crash/loop_lost_notices.py [--rounds 2]

Each round takes up to four minutes, which is how far apart the searches are. Exit status 0 when each answer arrived, once and in order.
"""
import argparse
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.chats import Chats, Sandbox  # noqa: E402
from harness.relay import Relay           # noqa: E402

SEARCH_S = 225 + 20  # three minutes and a quarter more, and some for a busy machine
CUSTOMERS = range(1, 21)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tributary-lost-") as directory, Sandbox("--retry-scale", "0.01") as sandbox:
        chats = Chats(sandbox, lambda accounts, **more: Relay(directory, accounts, **more))
        for customer in CUSTOMERS:
            chats.say(f"I am {customer}", customer)
        chats.fault_intercom(fault="lose")
        said = []
        for number in range(options.rounds):
            began = time.monotonic()
            said += [f"round {number} first", f"round {number} second"]
            for words in said[-2:]:
                for customer in CUSTOMERS:
                    chats.answer(words, customer)
            for customer in CUSTOMERS:
                chats.wait_received(*said, chat=customer, timeout_s=SEARCH_S)
            print(f"round {number}: found after {time.monotonic() - began:.0f} s", flush=True)
        assert not chats.notices(), "all notifications are lost"
        chats.relay.verify()
        chats.relay.finish()
    print("GOOD")
    return 0


if __name__ == "__main__":
    sys.exit(main())
