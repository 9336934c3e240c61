"""The committed cuts are what the script makes of the published descriptions (where those are at hand)."""
import json
import os

import pytest
import yaml

import cut_description

HERE = os.path.dirname(os.path.abspath(__file__))
PUBLISHED = os.path.join(HERE, "..", "..", "..", "shared")


def committed(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def published(name):
    path = os.path.join(PUBLISHED, name)
    if not os.path.exists(path):
        pytest.skip(f"the published description ({name}) is not at hand: the cut was not compared with it")
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader=yaml.CSafeLoader) if name.endswith(".yaml") else json.load(file)


def test_intercom_cut_is_that_of_the_published_file():
    assert committed("intercom-2.16.yaml") == cut_description.intercom_text(published("desks/intercom-openapi.yaml"))


def test_telegram_cut_is_that_of_the_published_file():
    assert committed("telegram-10.1.json") == cut_description.telegram_text(published("platforms/telegram-bot-api.json"))


def test_both_name_origin_and_licence():
    for name in ("intercom-2.16.yaml", "telegram-10.1.json"):
        assert "MIT License, Copyright (c)" in committed(name)
    assert "Permission is hereby granted, free of charge" in committed("intercom-2.16.yaml")
