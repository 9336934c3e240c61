"""Intercom's way back, held to the official description: the requests that the unit tests (tests/unit/test_intercom_back.c,
test_desk_intercom.c) hold the connector to, and the samples of answers that they and the fuzz targets read."""
import json
import os

import pytest

from intercom_contract import the_description
from sandbox_process import ROOT

HEADERS = {"authorization": "Bearer token", "accept": "application/json", "intercom-version": "2.16"}
SAMPLES = os.path.join(ROOT, "tests", "fuzz", "corpus", "intercom_fetch")

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "intercom_requests.json"), encoding="utf-8") as file:
    REQUESTS = [each for group in json.load(file).values() for each in group]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: f"{each['method']} {each['target']}")
def test_requests_are_ones_that_the_description_knows(request_):
    headers = {**HEADERS, **({"content-type": "application/json"} if request_["body"] else {})}
    assert the_description().request(request_["method"], request_["target"], headers, request_["body"]) == []


@pytest.mark.parametrize("name", ["talk", "begun_by_an_agent", "begun_by_a_campaign", "of_two_contacts", "of_many_parts"])
def test_samples_of_conversations_are_ones_that_the_description_knows(name):
    with open(os.path.join(SAMPLES, name), encoding="utf-8") as file:
        conversation = json.load(file)
    assert the_description().answer("GET", "/conversations/499", 200, {"content-type": "application/json"}, conversation) == []


def test_what_the_description_does_not_know_is_found():
    wrong = {"message_type": "note", "type": "admin", "body": "x", "admin": "1"}
    assert the_description().request("POST", "/conversations/499/reply", {**HEADERS, "content-type": "application/json"}, wrong)
    sorted_ = {"query": {"field": "updated_at", "operator": ">", "value": 1}, "sort": {"field": "updated_at"}}
    assert the_description().request("POST", "/conversations/search", {**HEADERS, "content-type": "application/json"}, sorted_)
