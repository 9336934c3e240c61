"""The updates that the unit tests read (tests/data/telegram) are such as the description allows."""
import glob
import json
import os

import pytest

from sandbox_process import ROOT
from telegram_contract import Types

DATA = os.path.join(ROOT, "tests", "data", "telegram")
TYPES = Types()


def kinds():
    with open(os.path.join(DATA, "kinds.json"), encoding="utf-8") as file:
        cases = json.load(file)
    for each in cases["messages"]:
        yield {each.get("kind", "message"): {**cases["base"], **each["says"]}}
    for each in cases["updates"]:
        yield {each["kind"]: each["value"]}


def test_every_case_is_an_update():
    wrong = [w for update in kinds() for w in TYPES.update({"update_id": 1, **update})]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted(path for path in glob.glob(os.path.join(DATA, "*.json"))
                                        if not os.path.basename(path).startswith(("api_response", "kinds"))), ids=os.path.basename)
def test_every_sample_is_an_update(path):
    with open(path, encoding="utf-8") as file:
        assert TYPES.update(json.load(file)) == []
