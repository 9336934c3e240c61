"""The updates that the unit tests read (tests/data/telegram) are such as the description allows."""
import glob
import json
import os

import pytest

from sandbox_process import ROOT
from telegram_contract import Types, parameters_of

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
                                        if not os.path.basename(path).startswith(("api_response", "kinds", "replies"))), ids=os.path.basename)
def test_every_sample_is_an_update(path):
    with open(path, encoding="utf-8") as file:
        assert TYPES.update(json.load(file)) == []


def replies(key):
    with open(os.path.join(DATA, "replies.json"), encoding="utf-8") as file:
        return json.load(file)[key]


@pytest.mark.parametrize("case", replies("sends"), ids=lambda case: case["what"])
def test_every_request_of_a_reply_is_a_call(case):
    assert TYPES.call("sendMessage", case["request"]) == []


@pytest.mark.parametrize("case", replies("uploads"), ids=lambda case: case["what"])
def test_every_upload_is_a_call(case):
    form = "".join(f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value if isinstance(value, str) else json.dumps(value)}\r\n'
                   for name, value in case["fields"].items())
    form += f'--b\r\ncontent-disposition: form-data; name="{case["field"]}"; filename="{case["filename"]}"\r\n\r\nbytes\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    parameters = parameters_of(TYPES, case["method"], f"/bot1:x/{case['method']}", headers, form.encode())
    assert set(parameters) == {*case["fields"], case["field"]}
    assert TYPES.call(case["method"], parameters) == []


@pytest.mark.parametrize("case", replies("acts"), ids=lambda case: case["what"])
def test_every_act_is_a_call(case):
    assert TYPES.call(case["method"], case["request"]) == []


def test_what_no_form_may_hold_is_seen():
    assert TYPES.call("sendPhoto", {"chat_id": "1", "photo": {}, "text": "t"}) == ["sendPhoto.text: no such member"]
    assert TYPES.call("sendPhoto", {"chat_id": "1"}) == ["sendPhoto.photo: is missing"]
    assert TYPES.call("deleteMessage", {"chat_id": 1, "message_id": "77"}) == ["deleteMessage.message_id: '77' is no Integer"]


@pytest.mark.parametrize("case", replies("replies"), ids=lambda case: case["what"])
def test_every_reply_is_a_text_with_entities(case):
    """As the description and its page on formatting want them: what two entities share belongs to one of them wholly, code and
    quotes apart, and code holds nothing."""
    for text in case["texts"]:
        assert TYPES.call("sendMessage", {"chat_id": 1, **text}) == []
        units = text["text"].encode("utf-16-le")
        assert 1 <= len(units) // 2 <= 4096
        spans = [(each["offset"], each["offset"] + each["length"], each["type"]) for each in text.get("entities", [])]
        assert spans == sorted(spans, key=lambda span: (span[0], -span[1]))
        for i, (start, end, kind) in enumerate(spans):
            said = units[2 * start:2 * end].decode("utf-16-le")
            assert said and said == said.strip(), kind
            for from_, to, other in spans[i + 1:]:
                assert from_ >= end or to <= end, (kind, other)
                assert from_ >= end or (kind not in ("code", "pre") and (other not in ("code", "pre") or kind == "blockquote"))
                assert from_ >= end or other != "blockquote"
