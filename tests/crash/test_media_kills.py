"""Files through kills and failing peers, a short one; loop_media_kills.py does it for longer."""
import pytest

from loop_media_kills import Outcome, World, judge, overlooked

pytestmark = [pytest.mark.release_only]

SENT = {"1": ["a", "b", "c"], "2": ["d", "e"]}
GIVEN = {"b": "1", "c": "1", "e": "2"}
FILES = [("1", "b"), ("2", "e"), ("1", "c")]


@pytest.mark.parametrize("texts, files, found", [
    (SENT, FILES, {}),
    (SENT, FILES[::-1], {}),
    ({**SENT, "1": ["a", "c"]}, FILES, {"lost texts": ["b"]}),
    ({"1": SENT["1"]}, FILES, {"lost texts": ["d", "e"]}),
    ({**SENT, "1": ["a", "b", "c", "a"]}, FILES, {"doubled texts": ["a"]}),
    ({**SENT, "1": ["a", "b", "b", "c"]}, FILES, {"doubled texts": ["b"]}),
    ({**SENT, "1": ["b", "a", "c"]}, FILES, {"reordered texts": ["b", "a"]}),
    ({**SENT, "1": ["c", "a"]}, FILES, {"lost texts": ["b"], "reordered texts": ["c", "a"]}),
    ({"1": ["a", "b"], "2": ["d", "e", "c"]}, FILES, {"lost texts": ["c"], "strange texts": ["c"]}),
    ({**SENT, "3": ["a"]}, FILES, {"strange texts": ["a"]}),
    (SENT, FILES[1:], {"lost files": ["b"]}),
    (SENT, FILES + FILES[:1], {"doubled files": ["b"]}),
    (SENT, [("2", "b"), *FILES[1:]], {"misplaced files": ["b"]}),
    (SENT, [("2", "b"), *FILES], {"doubled files": ["b"], "misplaced files": ["b"]}),
    (SENT, [("1", None), *FILES[1:]], {"lost files": ["b"], "strange files": [None]})])
def test_what_is_wrong_is_found_out(texts, files, found):
    assert judge(Outcome(SENT, GIVEN, texts, files)) == found


@pytest.mark.parametrize("desk, seed", [("webhook", 201), ("intercom", 202)])
def test_kills_and_failing_peers_lose_and_double_no_file(tmp_path, desk, seed):
    world = World(tmp_path, desk, seed)
    try:
        outcome = world.run(6)
        faults = judge(outcome)
        assert not faults, "\n".join([str(faults), *world.traces({key for whose in faults.values() for key in whose})])
        world.relay.finish()
    finally:
        world.end()
    assert world.counts["kills"] and world.counts["failures"] and world.counts["fetches"] and len(outcome.given) > 10

    # The judge can fail: this outcome, spoiled in each way, is found out.
    assert not overlooked(outcome)
