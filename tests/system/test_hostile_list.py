"""docs/hostile-inputs.md names tests that are there, and a row for each line of the list."""
import os
import re

ROOT = os.path.join(os.path.dirname(__file__), "../..")
PLACES = {"S": "tests/system", "U": "tests/unit", "T": "tests/store", "F": "tests/fuzz", "C": "tests/crash", "X": "tests/fault"}


def rows():
    """(line or lines, what happens, [(test, path)])"""
    with open(os.path.join(ROOT, "docs/hostile-inputs.md"), encoding="utf-8") as file:
        for line in file:
            cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
            if re.fullmatch(r"\d+(-\d+)?", cells[0]):
                named, waiting = [], []
                for test, place, name in re.findall(r"`(\w+)`|\(([A-Z])/([\w.]+)\)", cells[-1].rstrip("|") if len(cells) > 3 else ""):
                    if test:
                        waiting.append(test)
                    else:
                        named += [(t, os.path.join(ROOT, PLACES[place], name)) for t in waiting]
                        waiting = []
                assert not waiting, f"line {cells[0]}: {waiting} without a file"
                yield cells[0], cells[2], named


def test_every_test_named_in_the_list_is_in_its_file():
    missing = []
    for line, _, named in rows():
        for test, path in named:
            with open(path, encoding="utf-8") as file:
                if not re.search(rf"\b{test}\b", file.read()):
                    missing.append((line, test, path))
    assert not missing


def test_every_line_of_the_list_has_a_row_and_every_row_tests_or_says_why_not():
    seen = []
    for line, happens, named in rows():
        first, _, last = line.partition("-")
        seen += range(int(first), int(last or first) + 1)
        assert named or "not touched" in happens, f"line {line} has no test"
    assert sorted(seen) == sorted(set(seen)), "a line twice"
    assert set(range(1, 79)) == set(seen)
