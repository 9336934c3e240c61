"""What the judge of power cuts must find is found: a good history, spoiled in each way."""
import copy

import pytest

from harness.checker import Arrival
from harness.client import Sent
from harness.common import text_of
from power_judge import Row, faults_at_start, faults_when_drained, seen_until
from recorded_run import Record


def sent(key, lane, first_try, acked):
    one = Sent(key, lane, {"text": text_of(key)})
    one.first_try, one.acked = first_try, acked
    return one


def arrival(key, lane, start, status=200):
    return Arrival(key, lane, text_of(key), start, start + 0.5, status, "msg_" + key, status == 200)


def body(key, lane, source="hook", files=()):
    return {"source": source, "conversation": lane, "text": text_of(key), "attachments": [{"name": name, "url": "/media/" + name} for name in files]}


@pytest.fixture
def record():
    """Lane w: three messages, the first two delivered; chat 1: a text and a file. Times are seconds; all is over at 100."""
    writes = [sent("w-0", "w", 1, 2), sent("w-1", "w", 3, 4), sent("w-2", "w", 5, 6)]
    chat = [sent("c1n1", "1", 1, 2), sent("c1n2", "1", 3, 4)]
    arrivals = [arrival("w-0", "w", 10), arrival("w-1", "w", 20), arrival("c1n1", "1", 10), arrival("c1n2", "1", 30)]
    bodies = [body("w-0", "w"), body("w-1", "w"), body("c1n1", "1", "bot"), body("c1n2", "1", "bot", ["c1n2.pdf"])]
    return Record("ext4", 1, writes, {"1": chat}, {b"sum": ("1", "c1n2")}, arrivals, bodies, [], (0, 100 * 10**9), False, {})


def rows_of(*states):
    """w-0, w-1, w-2, c1n1, c1n2 in such states; None: not there."""
    keys = [("hook", "w", "w-0"), ("hook", "w", "w-1"), ("hook", "w", "w-2"), ("bot", "1", "c1n1"), ("bot", "1", "c1n2")]
    return [Row(source, lane, text_of(key), state) for (source, lane, key), state in zip(keys, states) if state]


GOOD = ("delivered", "delivered", "pending", "delivered", "delivered")


def test_a_good_store_is_good(record):
    assert faults_at_start(seen_until(record, 50), rows_of(*GOOD)) == []


def test_before_its_end_a_request_is_open_and_an_answer_was_not_given(record):
    seen = seen_until(record, 5.5)
    assert [(one.key, one.acked) for one in seen.sent] == [("w-0", 2), ("w-1", 4), ("w-2", None)] and not seen.arrivals
    seen = seen_until(record, 10.2)
    assert [(a.key, a.status, a.applied) for a in seen.arrivals] == [("w-0", None, False), ("c1n1", None, False)]
    assert faults_at_start(seen_until(record, 5.5), rows_of("pending", "pending", None, "pending", "pending")) == []
    assert record.sent[2].acked == 6 and record.arrivals[0].status == 200  # the record itself stays


@pytest.mark.parametrize("spoil, found", [
    (lambda rows: rows.pop(2), "A1 w-2"),
    (lambda rows: rows.pop(0), "A1 w-0"),
    (lambda rows: rows.insert(0, rows[0]), "A13 w-0"),
    (lambda rows: rows.insert(0, rows.pop(1)), "A4"),
    (lambda rows: rows.__setitem__(2, rows[2]._replace(text="w-2 something else")), "A3 w-2"),
    (lambda rows: rows.append(Row("hook", "w", text_of("w-9"), "pending")), "A2 w-9"),
    (lambda rows: rows.__setitem__(2, rows[2]._replace(state="delivered")), "A1 w-2"),
    (lambda rows: rows.__setitem__(0, rows[0]._replace(state="pending")), "w-0 is pending, though w-1 was tried after it"),
    (lambda rows: rows.__setitem__(3, rows[3]._replace(state="pending")), "c1n1 is pending, though c1n2 was tried after it"),
    (lambda rows: rows.pop(4), "c1n2 is lost"),
    (lambda rows: rows.append(rows[4]), "c1n2 is stored 2 times"),
    (lambda rows: rows.insert(3, rows.pop(4)), "c1n2 is stored in the place of c1n1"),
    (lambda rows: rows.append(Row("bot", "1", text_of("c1n9"), "pending")), "c1n9 is stored, and nobody sent it")])
def test_what_is_wrong_at_the_start_is_found(record, spoil, found):
    rows = rows_of(*GOOD)
    spoil(rows)
    faults = faults_at_start(seen_until(record, 50), rows)
    assert any(fault.startswith(found) for fault in faults), faults


def test_what_the_desk_has_may_have_aged_out_where_that_is_short(record):
    rows = rows_of(None, "delivered", "pending", None, "delivered")
    assert faults_at_start(seen_until(record._replace(retention=True), 50), rows) == []
    assert any(fault.startswith("A1 w-2") for fault in faults_at_start(seen_until(record._replace(retention=True), 50), rows_of(*GOOD[:2], None, *GOOD[3:])))


DRAINED = ("delivered",) * 5


def drained(record, until=50, rows=DRAINED, more=(("w-2", "w", "hook"),), spoil=lambda arrivals, bodies: None, fetch=lambda url: b"sum"):
    seen = seen_until(record, until)
    arrivals = seen.arrivals + [arrival(key, lane, 200 + i) for i, (key, lane, _) in enumerate(more)]
    bodies = seen.bodies + [body(key, lane, source) for key, lane, source in more]
    spoil(arrivals, bodies)
    return faults_when_drained(seen, rows_of(*rows), arrivals, bodies, record.files, fetch, [until, 150])


def test_a_good_drain_is_good(record):
    assert drained(record) == []


def test_the_one_that_was_under_way_may_come_again(record):
    assert drained(record, more=(("w-1", "w", "hook"), ("w-2", "w", "hook"))) == []


@pytest.mark.parametrize("more, found", [
    ({"more": ()}, "A1 w-2"),
    ({"rows": DRAINED[:2] + ("pending",) + DRAINED[3:]}, "A8 w-2"),
    ({"more": (("w-2", "w", "hook"), ("w-0", "w", "hook"))}, "A7 w-0"),
    ({"more": (("w-2", "w", "hook"), ("w-2", "w", "hook"))}, "A5 w-2"),
    ({"fetch": lambda url: b"another"}, "lost files"),
    ({"spoil": lambda arrivals, bodies: bodies[3]["attachments"].clear()}, "lost files: c1n2"),
    ({"spoil": lambda arrivals, bodies: bodies[2].update(text=text_of("c1n2"))}, "lost texts: c1n1")])
def test_what_is_wrong_when_drained_is_found(record, more, found):
    faults = drained(record, **more)
    assert any(fault.startswith(found) for fault in faults), faults


def test_another_store_for_each_cut(record):
    before = copy.deepcopy(record)
    faults_at_start(seen_until(record, 20), rows_of(*GOOD))
    assert [vars(one) for one in before.sent] == [vars(one) for one in record.sent] and before.arrivals == record.arrivals
