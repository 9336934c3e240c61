"""What a power cut may leave of a disk, and what not: block_log.py, over logs written by hand. Needs no disk."""
import random

import pytest

from block_log import END, FLUSH, FUA, RECORD, SECTOR, WRITE, ZERO, BlockLog, Image, Replay, WAYS, left_of

BLOCK = 8 * SECTOR


@pytest.fixture
def log_of(tmp_path):
    """log_of(steps): ("w", number, block) and so on; the bytes of a write say its number. Ends by ("end", number)."""
    opened = []

    def make(*steps):
        path = tmp_path / "log"
        with open(path, "wb") as file:
            for at, (what, number, *more) in enumerate(steps):
                kind = {"w": WRITE, "fua": WRITE | FUA, "z": ZERO, "flush": FLUSH, "end": END}[what]
                offset, length = (more[0] * BLOCK, BLOCK) if more else (0, 0)
                file.write(RECORD.pack(number, 1000 + at, offset, length, kind))
                if kind & ~FUA == WRITE:
                    file.write(bytes([number]) * length)
        opened.append(BlockLog(path))
        return opened[-1]
    yield make
    for log in opened:
        log.close()


def replayed(log, place=None):
    """(numbers that are on the disk for good, in order; those that are pending)"""
    settled = []
    replay = Replay(log, lambda piece: settled.append(log.data(piece)[0] if piece.at is not None else "zeros"))
    replay.advance(len(log.events) if place is None else place)
    return settled, list(replay.pending)


def test_only_what_ended_before_a_flush_began_is_covered(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("w", 1, 1), ("flush", 2), ("end", 1), ("w", 3, 2), ("end", 3), ("end", 2))
    assert replayed(log) == ([0], [1, 3])


def test_a_flush_counts_when_it_has_ended(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("flush", 1), ("end", 1))
    assert replayed(log, 3) == ([], [0])
    assert replayed(log, 4) == ([0], [])


def test_a_write_with_fua_is_there_when_it_has_ended_and_nothing_else(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("fua", 1, 1), ("end", 1))
    assert replayed(log, 3) == ([], [0, 1])
    assert replayed(log) == ([1], [0])


def test_what_was_overwritten_for_good_does_not_come_back(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("fua", 1, 0), ("end", 1))
    assert replayed(log) == ([1], [])


def test_zeros_are_writes(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("z", 1, 0), ("end", 1), ("flush", 2), ("end", 2))
    assert replayed(log) == ([0, "zeros"], [])


def test_two_flushes_side_by_side(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("flush", 1), ("w", 2, 1), ("end", 2), ("flush", 3), ("end", 3), ("end", 1))
    assert replayed(log) == ([0, 2], [])


def test_a_log_cut_within_a_record_ends_before_it(log_of, tmp_path):
    log = log_of(("w", 0, 0), ("end", 0))
    (tmp_path / "cut").write_bytes((tmp_path / "log").read_bytes() + bytes(RECORD.size - 1))
    assert BlockLog(tmp_path / "cut").events == log.events


def test_moments_and_places(log_of):
    log = log_of(("w", 0, 0), ("end", 0), ("flush", 1), ("end", 1))
    assert [log.place_of(at_ns) for at_ns in (999, 1000, 1001, 5000)] == [0, 1, 2, 4]
    # What was told before this moment was told before the record that is not there.
    assert [log.moment_of(place) for place in range(5)] == [1000, 1001, 1002, 1003, 1004]


def blocks(log, left, disk):
    for piece in left.pieces:
        disk[piece.offset:piece.offset + piece.length] = log.data(piece)
    return [disk[at:at + SECTOR] for at in range(0, len(disk), SECTOR)]


def test_what_is_left_is_sectors_of_what_was_written_and_each_way_is_drawn(log_of):
    count = 6
    log = log_of(*[("w", n + 1, n) for n in range(count)])
    pending = list(log.requests.values())
    seen, subsets, torn = set(), set(), 0
    for seed in range(400):
        left = left_of(pending, random.Random(seed))
        sectors = blocks(log, left, bytearray(count * BLOCK))
        for i, sector in enumerate(sectors):
            assert bytes(sector) in (bytes(SECTOR), bytes([i // 8 + 1]) * SECTOR)
        written = [[any(sector) for sector in sectors[n * 8:n * 8 + 8]] for n in range(count)]
        seen.add(left.way)
        if not left.torn:
            assert all(len(set(block)) == 1 for block in written)
            subsets.add(tuple(block[0] for block in written))
            assert left.lost == sum(not block[0] for block in written)
        torn += any(len(set(block)) == 2 for block in written)
    assert seen == set(WAYS)
    assert len(subsets) > 20 and torn > 50


def test_a_later_write_lies_over_an_earlier_one(log_of):
    log = log_of(("w", 1, 0), ("end", 1), ("w", 2, 0), ("end", 2))
    for seed in range(100):
        left = left_of(list(log.requests.values()), random.Random(seed), tears=False)
        sectors = blocks(log, left, bytearray(BLOCK))
        if left.way == "all":
            assert {bytes(sector) for sector in sectors} == {bytes([2]) * SECTOR}


def test_an_image_is_copied_whole_and_stays_sparse(log_of, tmp_path):
    log = log_of(("w", 7, 3), ("z", 8, 3), ("w", 9, 100))
    image = Image(tmp_path / "image", 200 * BLOCK)
    replay = Replay(log, None).advance(3)
    for request in replay.pending.values():
        piece = left_of([request], random.Random(0), tears=False).pieces
        for one in piece:
            image.put(log, one)
    other = image.copy_to(tmp_path / "other")
    image.close()
    assert (tmp_path / "image").read_bytes() == (tmp_path / "other").read_bytes()
    assert other == tmp_path / "other" and (tmp_path / "other").stat().st_blocks * 512 < 100 * BLOCK
