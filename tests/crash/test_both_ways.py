"""Customers and agents talk while answers and notifications are lost and the relay is killed. loop_both_ways.py does it for longer."""
import copy

import pytest

from both_ways import BothWays, is_good, judge
from harness.common import SLOW

KILLS = {1: 6, 3: 3, 6: 2}[SLOW]


@pytest.mark.parametrize("seed", [11])
def test_both_ways_lose_nothing_and_reorder_nothing(tmp_path, seed):
    world = BothWays(tmp_path, bots=3, chats=24, each=10, kills=KILLS, seed=seed, lost=0.03)
    try:
        world.begin()
        world.talk()
        # What no notification told of is searched for after a start, and minutes apart.
        world.relay.kill()
        world.relay.start()
        world.wait_all(60 * SLOW)
        world.relay.wait_settled()
        world.relay.verify()
        world.relay.check_sum()
        record = world.record()
        world.relay.finish()
    finally:
        world.end()
    faults = judge(record)
    assert is_good(faults), faults
    assert len(record.came) == len(record.said) == 240

    # The judge can fail: one less, one twice, two swapped, either way.
    for field, way in (("came", "in"), ("sent", "out")):
        for spoil, code in ((remove, "lost"), (double, "doubled"), (swap, "reordered")):
            other = copy.copy(record)
            setattr(other, field, spoil(list(getattr(record, field)), record.twice))
            assert any(name.startswith(f"{way} {code}") for name in judge(other)), f"{way} {code} would have gone unseen"


def of_one_chat(pairs):
    chat = pairs[0][0]
    return [i for i, pair in enumerate(pairs) if pair[0] == chat]


def remove(pairs, _):
    text = pairs[0][1]
    return [pair for pair in pairs if pair[1] != text]


def double(pairs, told):
    """Not one that the agent was told of: that one may come twice."""
    at = next(i for i in reversed(of_one_chat(pairs)) if not told[pairs[i][1]])
    return pairs[:at] + [pairs[at]] + pairs[at:]


def swap(pairs, _):
    texts = dict.fromkeys(pairs[i][1] for i in of_one_chat(pairs))
    first, second = list(texts)[:2]
    places = {first: second, second: first}
    return [(chat, places.get(text, text)) for chat, text in pairs]
