#!/usr/bin/python3
"""Does what an input costs grow as the input does?  tests/fuzz/growth.py [TARGET...]

A fuzzer's inputs are small, and what takes the square of a size takes no time there. Here inputs of the corpora are made large, in two
sizes, one four times the other: a piece of it again and again, the same with a number behind it each time, a list of a JSON document
with many entries, an object with many keys, a string with much in it that readers look out for. Each is given to the target's program
as `make check` runs it (build/release). What is in proportion takes four times the processor time and memory, the square sixteen times:
what takes more than SUSPECT times, and is worth a word (SLOW_S, LARGE_MB at the larger size), is told with the file, kept in
build/growth, and the exit status is 1.
"""
import argparse
import glob
import itertools
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import typing

SMALL, FACTOR = 64 << 10, 4
SLOW_S, LARGE_MB, SUSPECT, HANG_S, MEMORY_MB = 0.25, 64, 8.0, 60, 8192
SEEDS_MAX, SEED_SIZE_MAX, PIECES_MAX, MARKS_APART, DEPTH_MAX = 60, 8 << 10, 1000, 7, 50
CORPUS, KEPT = "tests/fuzz/corpus", "build/growth"
NO_READERS = {"database"}  # its input is a list of changes to a store, each of which costs

# What readers of texts look out for: marks that begin something and are never ended, and such as are ended.
MARKS = ["((((", "(a://b)", "&amp", "&", "<a ", "<img src='", "://", "a b ", "\u202e", "\U0001F600", "\n", "[](", "**", "@a ", "#x ",
         "a\u0300", "\"", "%41", "\u00e9", "\0", "http://a/ "]


# ---- growing ----

def repeated(begin, piece, end, size):
    return begin + piece * (size // len(piece)) + end


def numbered(begin, piece, end, size):
    rounds = (piece + b"%d" % i for i in itertools.count())
    out, length = [], 0
    while length < size:
        out.append(next(rounds))
        length += len(out[-1])
    return begin + b"".join(out) + end


def pieces(data):
    """(begin, piece, end) for each word of the input, with what parts it from the one before, and for two in a row."""
    words = [(m.start(), m.end()) for m in re.finditer(rb"[^A-Za-z0-9]*[A-Za-z0-9]+|[^A-Za-z0-9]+$", data)]
    for i, (start, stop) in enumerate(words):
        yield data[:start], data[start:stop], data[stop:]
        if i + 1 < len(words):
            yield data[:start], data[start:words[i + 1][1]], data[words[i + 1][1]:]


def grown_bytes(data, seen):
    for begin, piece, end in pieces(data):
        if piece in seen or len(piece) > 200:
            continue
        seen.add(piece)
        for grow in (repeated, numbered):
            for rest in (b"", end):
                yield lambda size, a=(grow, begin, piece, rest): a[0](a[1], a[2], a[3], size)


def with_numbers(value, number):
    """A copy of an entry that is another one: its ids and places are `number`."""
    if isinstance(value, dict):
        return {key: (str(number) if isinstance(inner, str) else number) if key in ("id", "offset") else with_numbers(inner, number)
                for key, inner in value.items()}
    return [with_numbers(inner, number) for inner in value] if isinstance(value, list) else value


def larger(value, nth):
    """Ways to make a JSON value large: functions of the size. The nth string has its share of the marks."""
    if isinstance(value, list) and value:
        count = lambda size: max(1, size // len(json.dumps(value)))
        yield lambda size: value * count(size)
        yield lambda size: [with_numbers(value[i % len(value)], i) for i in range(count(size) * len(value))]
    elif isinstance(value, dict):
        keys = lambda size: {f"k{i}": i for i in range(size // 14)}
        yield lambda size: {**value, **keys(size)}
        yield lambda size: {**keys(size), **value}
    elif isinstance(value, str):
        for mark in MARKS[nth % MARKS_APART::MARKS_APART]:
            yield lambda size, mark=mark: value + mark * (size // len(json.dumps(mark)[1:-1]))


def places(value, path=()):
    yield path, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, path + (key,))


def replaced(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def is_deep(value):
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level if isinstance(each, (dict, list)) for inner in (each.values() if isinstance(each, dict) else each)]
    return bool(level)


def documents(text):
    """(start, stop, value) of each JSON document in the text."""
    at, reader = 0, json.JSONDecoder()
    while (found := re.compile(r"[{\[]").search(text, at)) is not None:
        try:
            value, stop = reader.raw_decode(text, found.start())
            if not is_deep(value):  # it is walked by recursion here
                yield found.start(), stop, value
            at = stop
        except (ValueError, RecursionError):
            at = found.start() + 1


def grown_json(data, seen):
    text = data.decode("utf-8", "surrogateescape")
    around = [(text[:start], value, text[stop:]) for start, stop, value in documents(text)]
    for begin, document, end in around:
        for path, value in places(document):
            kind = (tuple(key for key in path if isinstance(key, str)), type(value))
            if kind in seen:
                continue
            seen.add(kind)
            for grow in larger(value, len(seen)):
                yield lambda size, a=(begin, document, end, path, grow): "".join(
                    (a[0], json.dumps(replaced(a[1], a[3], a[4](size))), a[2])).encode("utf-8", "surrogateescape")


def seeds(target):
    directory = f"{CORPUS}/{target}"
    named = sorted(f for f in os.listdir(directory) if not re.fullmatch(r"[0-9a-f]{40}", f))
    found = sorted(set(os.listdir(directory)) - set(named))
    random.Random(1).shuffle(found)
    for file in (named + found)[:SEEDS_MAX]:
        with open(f"{directory}/{file}", "rb") as seed:
            data = seed.read()
        if 0 < len(data) <= SEED_SIZE_MAX:
            yield data


def shapes(inputs):
    """Functions that make an input of the size they are given: all of the JSON, and a sample of the pieces, always the same."""
    of_bytes, of_json, seen = [], [], set()
    for data in inputs:
        of_json += grown_json(data, seen)
        of_bytes += grown_bytes(data, seen)
    chance = random.Random(1)
    return of_json + (chance.sample(of_bytes, PIECES_MAX) if len(of_bytes) > PIECES_MAX else of_bytes)


# ---- measuring ----

class Cost(typing.NamedTuple):
    """Of one run."""
    seconds: float
    mb: float

    def __str__(self):
        return f"{self.seconds:.3f} s, {self.mb:.1f} MiB"


ENDLESS = Cost(HANG_S, MEMORY_MB)  # of one that was ended


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (HANG_S, HANG_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))


def costs(program, files):
    """{file: Cost} of each."""
    found, left = {}, list(files)
    while left:
        run = subprocess.run([program, "--times"] + left, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                             preexec_fn=limit)
        said = re.findall(r"^(\S+) took (\S+) s (\d+) KiB$", run.stdout, re.M)
        found.update({file: Cost(float(seconds), int(kib) / 1024) for file, seconds, kib in said})
        left = [file for file in left if file not in found]
        if run.returncode == 0 and left:
            raise RuntimeError(f"{program} said nothing of {left[0]}")
        if run.returncode and left and not said:  # the first had all the time there is; one behind it shall have that, too
            found[left.pop(0)] = ENDLESS
    return found


def grows_too_fast(small, large, worth):
    return large > worth and large > SUSPECT * small


def is_suspect(small, large):
    return ENDLESS in (small, large) or grows_too_fast(small.seconds, large.seconds, SLOW_S) or grows_too_fast(small.mb, large.mb, LARGE_MB)


def is_worth_a_look(small):
    """Not even the cube of what is less would be worth a word."""
    return small.seconds > SLOW_S / FACTOR ** 3 or small.mb > LARGE_MB / FACTOR ** 3


def examine(target, makes, directory, measure):
    """The files whose cost grows faster than they do, with their two costs."""
    os.makedirs(directory, exist_ok=True)
    paths = []
    for i, make in enumerate(makes):
        paths.append(f"{directory}/{target}-{i}")
        with open(paths[-1], "wb") as out:
            out.write(make(SMALL))
    small = measure(paths)
    looked_at = [path for path in paths if is_worth_a_look(small[path]) and small[path] != ENDLESS]
    for path in looked_at:
        with open(path, "wb") as out:
            out.write(makes[paths.index(path)](FACTOR * SMALL))
    large = {**small, **measure(looked_at)}
    suspects = [(path, small[path], large[path]) for path in paths if is_suspect(small[path], large[path])]
    for path in set(paths) - {suspect[0] for suspect in suspects}:
        os.unlink(path)
    return suspects


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("targets", nargs="*")
    names = sorted({re.sub(r".*/fuzz_(.*)\.c", r"\1", path) for path in glob.glob("tests/fuzz/fuzz_*.c")} - NO_READERS)
    options = parser.parse_args()
    for unknown in set(options.targets) - set(names):
        parser.error(f"there is no target {unknown}; there are {', '.join(names)}")
    shutil.rmtree(KEPT, ignore_errors=True)
    good = True
    for target in options.targets or names:
        program, makes = f"build/release/tests/fuzz/fuzz_{target}", shapes(seeds(target))
        suspects = examine(target, makes, KEPT, lambda files, program=program: costs(program, files))
        good = good and not suspects and bool(makes)
        print(f"{target:16} {len(makes):5} inputs  {'good' if makes and not suspects else 'BAD'}", flush=True)
        for path, small, large in suspects:
            print(f"  {path}: {large}; a quarter of it: {small}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
