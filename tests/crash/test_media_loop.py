"""Files beside texts, a short one; loop_media.py sends ten gigabytes."""
import base64
import os
import subprocess
import sys

import pytest

from loop_media import faults_of
from media_peers import Content

pytestmark = [pytest.mark.release_only]


def report(words, files, odd=()):
    return {"words": words, "files": files, "odd": list(odd)}


GOOD_WORDS = [("c0", "file 0"), ("c1", "file 1"), ("c0", "file 2\n[2.pdf follows]"), ("c0", "2.pdf")]
GOOD_FILES = [("c0", 0), ("c1", 1), ("c0", 2)]


@pytest.mark.parametrize("words, files, odd, found", [
    (GOOD_WORDS, GOOD_FILES, (), {}),
    (GOOD_WORDS[1:], GOOD_FILES, (), {"lost texts": 1, "misplaced files": 1}),
    (GOOD_WORDS, GOOD_FILES[:2], (), {"lost files": 1}),
    (GOOD_WORDS + GOOD_WORDS[1:2], GOOD_FILES, (), {"doubled texts": 1}),
    (GOOD_WORDS, GOOD_FILES + [("c0", 2)], (), {"doubled files": 1}),
    (GOOD_WORDS, [("c0", -1)] + GOOD_FILES[1:], ["x"], {"lost files": 1, "changed files": 1}),
    (GOOD_WORDS, GOOD_FILES[::-1], (), {"reordered files": 1}),
    ([GOOD_WORDS[2], GOOD_WORDS[0], GOOD_WORDS[1]], GOOD_FILES, (), {"reordered texts": 1}),
    (GOOD_WORDS, [("c0", 0), ("c0", 1), ("c0", 2)], (), {"misplaced files": 1})])
def test_what_is_wrong_is_found_out(words, files, odd, found):
    assert faults_of(3, 2, report(words, files, odd)) == found


def test_a_file_that_changed_is_found_out():
    content = Content(1000)
    whole = base64.b64encode(content.head(7) + content.tail)
    assert content.number(memoryview(whole)) == 7
    for other in (whole[:-4], whole + b"AAAA", whole[:500] + b"A" + whole[501:], b"AAAA" + whole[4:]):
        assert other != whole and content.number(memoryview(other)) == -1


def test_files_beside_texts():
    loop = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loop_media.py")
    done = subprocess.run([sys.executable, loop, "--messages", "150", "--chats", "10", "--calm", "1", "--patience", "90"], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("GOOD\n")
