"""The daemon as it reads: what it answered, and what is in its store."""
import collections
import re

from harness.common import make_secret
from harness.desk import ScriptedDesk
from harness.relay import Relay, account, webhook_source

from .judge import of_ours

TARGET = "/hooks/acme/hook"


class Ours:
    """The daemon: what it took is what is in its store. The account is switched off, so that nothing leaves it."""

    def __init__(self, directory):
        self.desk, self.secret = ScriptedDesk(), make_secret()
        self.relay = Relay(directory, [account("acme", self.desk.config(), [webhook_source("hook", self.secret)], active=False)])
        self.relay.allow("alarm", "alarm_end").start()
        self.port, self.seen, self.stored = self.relay.port, 0, collections.defaultdict(list)

    def learn(self):
        """The letters of the messages that were stored, by stream, in their order."""
        for number, text in self.relay.query("SELECT id, text FROM messages WHERE id > ? ORDER BY id", self.seen):
            self.seen = number
            if known := re.match(r"s(\d+)([a-z]+) ", text):  # else one that was changed, and signed anew
                self.stored[int(known[1])].append(known[2])

    def reading(self, stream, said, closed):
        return of_ours(said, closed, [stream.sent[letter] for letter in self.stored[stream.number]])

    def stop(self):
        try:
            self.relay.finish()
        finally:
            self.desk.stop()
