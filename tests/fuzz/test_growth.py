"""Growth: inputs that are made large, and which of them are told as too much work."""
import json
import os
import stat
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import growth  # noqa: E402
from growth import ENDLESS, FACTOR, SLOW_S, SMALL, Cost, costs, examine, grown_json, is_suspect, numbered, pieces, repeated, shapes  # noqa: E402


def test_a_piece_is_repeated_where_it_stands():
    assert repeated(b"<a", b" href", b">x", 12) == b"<a href href>x"
    assert numbered(b"<a", b" b", b">x", 8) == b"<a b0 b1 b2>x"


def test_pieces_are_words_with_what_parts_them():
    assert list(pieces(b"<a b>")) == [(b"", b"<a", b" b>"), (b"", b"<a b", b">"), (b"<a", b" b", b">"), (b"<a", b" b>", b""), (b"<a b", b">", b"")]


def test_json_grows_in_each_of_its_places():
    around = b"\3" + b'{"a":[{"id":"7","at":1}],"text":"hi"}' + b"\x1e" + b"[1]"
    made = [make(3000).decode() for make in grown_json(around, set())]
    assert all(text.startswith("\3") and "\x1e" in text for text in made)
    documents = [json.loads(text[1:text.index("\x1e")]) for text in made]
    lists = [len(each["a"]) for each in documents if len(each["a"]) > 1]
    assert lists and min(lists) > 50
    assert any([entry["id"] for entry in each["a"][:3]] == ["0", "1", "2"] for each in documents)
    assert any(len(each) > 100 for each in documents) and any(len(each["a"][0]) > 100 for each in documents)
    assert any(len(each["text"]) > 100 for each in documents) and any(len(each["a"][0]["id"]) > 100 for each in documents)
    assert any(len(json.loads(text[text.index("\x1e") + 1:])) > 100 for text in made)


def test_deep_nests_are_left_alone():
    assert list(grown_json(b"[" * 900 + b"7" + b"]" * 900, set())) == []


def test_every_target_has_inputs_that_are_as_large_as_asked():
    for target in ("html", "telegram", "http"):
        makes = shapes(growth.seeds(target))
        assert len(makes) > 200
        sizes = [len(make(16 << 10)) for make in makes]
        assert sum(8 << 10 < size < 32 << 10 for size in sizes) > 0.9 * len(sizes)


def test_the_same_inputs_each_time():
    one, other = ([make(1000) for make in shapes(growth.seeds("html"))] for _ in range(2))
    assert one == other


@pytest.mark.parametrize("small, large, suspect", [
    ((0.1, 1), (0.4, 4), False), ((0.1, 1), (1.6, 4), True), ((0.001, 1), (0.016, 4), False), ((0.05, 1), (0.3, 4), False),
    ((0.02, 1), (SLOW_S + 0.01, 4), True), ((0.01, 20), (0.04, 80), False), ((0.01, 20), (0.04, 320), True),
    ((0.01, 3), (0.04, 48), False), (ENDLESS, ENDLESS, True)])
def test_what_takes_the_square_is_told(small, large, suspect):
    assert is_suspect(Cost(*small), Cost(*large)) == suspect


def test_files_are_kept_of_what_is_told(tmp_path):
    work = [lambda n: Cost(0.1 * n, n), lambda n: Cost(0.1 * n * n, n), lambda n: Cost(0.0001 * n, 10 * n * n), lambda n: ENDLESS]

    def measure(files):
        return {file: work[int(file.rsplit("-", 1)[1])](os.path.getsize(file) / SMALL) for file in files}
    found = examine("t", [lambda size: b"x" * size] * 4, str(tmp_path), measure)
    assert [os.path.basename(path) for path, _, _ in found] == ["t-1", "t-2", "t-3"]
    assert found[0][2].seconds / found[0][1].seconds == found[1][2].mb / found[1][1].mb == FACTOR ** 2
    assert sorted(os.listdir(tmp_path)) == ["t-1", "t-2", "t-3"] and os.path.getsize(tmp_path / "t-1") == SMALL * FACTOR


def program(tmp_path, body):
    path = tmp_path / "program"
    path.write_text("#!/usr/bin/python3\nimport os, sys\nassert sys.argv[1] == '--times'\nfor path in sys.argv[2:]:\n" + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_one_that_does_not_end_does_not_hide_those_behind_it(tmp_path):
    ends = program(tmp_path, "    if 'bad' in path: os.kill(os.getpid(), 24)\n    print(path, 'took 0.5 s 2048 KiB', flush=True)\n")
    assert costs(ends, ["a", "bad", "b", "bad2"]) == {"a": Cost(0.5, 2), "b": Cost(0.5, 2), "bad": ENDLESS, "bad2": ENDLESS}


def test_one_behind_long_ones_gets_its_time(tmp_path):
    ends = program(tmp_path, "    if sys.argv.index(path) == 4: os.kill(os.getpid(), 24)\n"
                   "    print(path, 'took 0.5 s 2048 KiB', flush=True)\n")
    assert costs(ends, ["a", "b", "c", "d", "e"]) == {file: Cost(0.5, 2) for file in "abcde"}


def test_a_program_that_says_nothing_is_no_success(tmp_path):
    with pytest.raises(RuntimeError):
        costs(program(tmp_path, "    pass\n"), ["a"])
