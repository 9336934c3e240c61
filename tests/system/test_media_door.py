"""Kept files as others see them: the signed link, the API, the command line; and an account over its bounds."""
import json
import urllib.parse

import pytest

from harness import client
from harness.client import WebhookSource
from harness.common import key_of, wait_for
from harness.relay import account
from harness.scripted import Answer, Stall

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000


@pytest.fixture
def joined(telegram, desk, make_relay):
    def make(**more):
        telegram.relay = make_relay([account("acme", desk.config(), [telegram.config(), {"name": "hook", "platform": "webhook", "secret": "none"}])], **more)
        return telegram.relay
    return make


def fetch(relay, url, method="GET", **headers):
    """The answer to that link at the port that the relay listens on."""
    parts = urllib.parse.urlsplit(url)
    return client.call(relay.port, method, f"{parts.path}?{parts.query}", headers={name.replace("_", "-"): value for name, value in headers.items()})


def kept(relay, **filters):
    """The first message whose file is kept."""
    return wait_for(lambda: next((m for m in relay.messages(**filters) if any(a["state"] == "kept" for a in m["attachments"])), None), "a kept file")


def test_a_link_gives_the_file_and_the_desk_has_one(joined, telegram, desk):
    relay = joined().start()
    telegram.push(telegram.photo("m1", PICTURE, words="look"))
    desk.wait_taken(1)
    sent = desk.posts()[0].notes["body"]["attachments"][0]
    message = kept(relay)
    shown = message["attachments"][0]
    assert shown["kind"] == "image" and shown["mime"] == "image/png" and shown["size"] == len(PICTURE) and "ref" not in shown
    for url in (sent["url"], shown["url"]):
        assert url.startswith(f"http://127.0.0.1:{relay.port}/media/") and telegram.token not in url
        answer = fetch(relay, url)
        assert answer.status == 200 and answer.body == PICTURE
        assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    part = fetch(relay, shown["url"], Range="bytes=8-107")
    assert part.status == 206 and part.body == PICTURE[8:108] and part.headers["content-range"] == f"bytes 8-107/{len(PICTURE)}"
    assert fetch(relay, shown["url"], method="HEAD").headers["content-length"] == str(len(PICTURE))
    assert fetch(relay, shown["url"].replace("exp=", "exp=1")).status == 403
    assert fetch(relay, shown["url"].replace("/media/", "/media/../")).status == 404
    assert fetch(relay, shown["url"], method="POST").status == 405
    screen = relay.cli("show", message["id"]).stdout
    assert "attachment       image" in screen and "kept" in screen and "/media/" in screen
    assert relay.get("/api/v1/accounts")["items"][0]["file_bytes"] == len(PICTURE) == relay.status()["accounts"][0]["file_bytes"]
    assert json.loads(relay.cli("verify", "--deep", "--json").stdout)["files"] == 1 and "files 1, in" in relay.cli("verify").stdout


def test_a_link_is_over_after_its_time(joined, telegram, desk):
    relay = joined(media={"links": "1s"}).start()
    telegram.push(telegram.photo("m1", PICTURE))
    desk.wait_taken(1)
    url = desk.posts()[0].notes["body"]["attachments"][0]["url"]
    wait_for(lambda: fetch(relay, url).status == 410, "an expired link")
    assert fetch(relay, kept(relay)["attachments"][0]["url"]).status == 200


def test_why_says_which_file_is_waited_for(joined, telegram, desk):
    relay = joined().start()
    update = telegram.document("m1", b"%PDF-1.4 ...", name="bill.pdf")
    telegram.fetched[telegram.file_id_of(update)] = [Stall()]
    telegram.push(update)
    screen = wait_for(lambda: (lambda text: text if "bill.pdf" in text else None)(" ".join(relay.cli("why", "acme").stdout.split())), "the file")
    assert "waits for a file that is being fetched: bill.pdf, at most until 20" in screen and "attempts: 0" in screen
    head = relay.messages()[0]["id"]
    assert relay.get(f"/api/v1/messages/{head}")["attachments"][0]["state"] == "wanted"


def test_an_account_with_too_much_that_waits_is_answered_503(joined, telegram, desk):
    """Then its bots are not asked for more either: what was not taken stays with the platform, in its order."""
    relay = joined(quota={"waiting": 2}).start()
    relay.allow("alarm", "alarm_end", "source_trouble", "desk_suspended")
    desk.scriptable = lambda request: True
    desk.script = lambda request: Answer(503)
    hook = WebhookSource(relay, "acme")
    hook.send("h0")
    hook.send("h1")
    answer = hook.post(hook.event("h2"))
    assert answer.status == 503 and answer.headers["retry-after"] == "60" and "quota.waiting" in answer.json["detail"]
    updates = [telegram.message(f"m{i}") for i in range(3)]
    telegram.push(*updates)
    wait_for(lambda: any(s["name"] == "bot" and "quota.waiting" in (s["text"] or "") for s in relay.status()["sources"]), "the bot's trouble")
    assert [a["name"] for a in relay.status()["alarms"] if a["subject"] == "acme"] == ["quota_waiting"]
    assert relay.status()["pending"] == 2 and not telegram.forgotten
    desk.script = None
    telegram.wait_confirmed(updates[1]["update_id"])
    hook.send("h2")
    relay.wait_settled()
    assert [k for k in desk.keys() if k.startswith("m")] == ["m0", "m1", "m2"]
    assert not [a for a in relay.status()["alarms"] if a["name"] == "quota_waiting"]


def test_an_account_with_too_many_bytes_of_files_takes_texts(joined, telegram, desk):
    relay = joined(quota={"files": "100KiB"}).start()
    relay.allow("alarm", "alarm_end", "source_trouble")
    hook = WebhookSource(relay, "acme")
    telegram.push(telegram.photo("m1", PICTURE))
    kept(relay)
    hook.send("h1")
    answer = hook.post(hook.event("h2", attachments=[{"url": "https://files.example/a.png"}]))
    assert answer.status == 503 and answer.headers["retry-after"] == "60" and "quota.files" in answer.json["detail"]
    assert [a["name"] for a in relay.status()["alarms"]] == ["quota_files"]
    hook.send("h3")
    desk.wait_taken(3)
    assert [key_of(m["text"]) for m in relay.messages() if m["text"]][-2:] == ["h1", "h3"]
    assert [a["name"] for a in relay.status()["alarms"]] == ["quota_files"]  # words alone say nothing of room for files


def test_a_bot_that_is_polled_goes_on_beyond_the_bound_on_files(joined, telegram, desk):
    """All its customers stand in one line: what one of them sends too much is not fetched, and says so."""
    relay = joined(quota={"files": "100KiB"}, media={"wait": "300ms"}).start()
    relay.allow("alarm", "alarm_end")
    telegram.push(telegram.photo("m1", PICTURE, words="look"))
    kept(relay)
    updates = [telegram.message("m2", 2), telegram.photo("m3", PICTURE, words="look", chat=3), telegram.message("m4", 4)]
    telegram.push(*updates)
    telegram.wait_confirmed(updates[-1]["update_id"])
    wait_for(lambda: len({key for key in desk.keys() if key}) == 4, "all four")
    assert sorted(key for key in desk.keys() if key) == ["m1", "m2", "m3", "m4"]  # a file that was late follows without one
    [file] = next(r for r in desk.posts() if r.notes["key"] == "m3").notes["body"]["attachments"]
    assert file["state"] == "wanted" and [a["name"] for a in relay.status()["alarms"]] == ["quota_files"]
