"""Files through the real daemon, both ways: byte for byte, in order with the words, whatever goes wrong on the way; albums, edits,
redactions; signed links; what is never fetched; quotas, verify, retention, kills. What each side has is asked of the stand-ins."""
import base64
import glob
import hashlib
import json
import os
import sqlite3
import time
import urllib.parse

import pytest

from harness.chats import Chats, Sandbox, joined, reached_by, token_of
from harness.client import WebhookSource, call
from harness.common import CANARY, SLOW, wait_for
from harness.intercom import on
from harness.relay import account, webhook_source
from harness.scripted import Answer, Server

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\x40\0\0\0\xf0\x08\2\0\0\0" + bytes(range(256)) * 40
OGG = b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead\1" + bytes(range(256)) * 40
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def sandbox():
    with Sandbox("--retry-scale", "0.01") as running:
        yield running


@pytest.fixture
def build(sandbox, make_relay):
    return lambda wait=f"{3 * SLOW}s", **more: Chats(sandbox, make_relay, top={"media": {"wait": wait}, **more.pop("top", {})}, **more)


@pytest.fixture
def chats(build, sandbox):
    """One bot, its customer 77 has written, and shows at the desk: what is asked of Telegram from now on is the test's."""
    made = build()
    made.say("Hello")
    wait_for(lambda: sandbox.control(sandbox.intercom, "GET", "inbox")["conversations"][0]["avatar"], "the picture at the desk")
    return made


def settled(chats):
    wait_for(lambda: chats.relay.status()["pending"] == 0, "all settled")


def upload(data, name="a.png", mime="image/png"):
    return {"name": name, "content_type": mime, "data": base64.b64encode(data).decode()}


# To the desk

@pytest.mark.parametrize("mime, name", [("image/png", "a.png"), ("audio/ogg", "v.ogg"), ("application/pdf", "Grüße & <b>.pdf"), ("video/mp4", "v.mp4")])
def test_a_file_arrives_byte_for_byte_with_its_words(chats, mime, name):
    made = chats.send_file("look at this", size=300_000, mime=mime, file_name=name)
    chats.say("and then")
    parts = chats.wait_parts(lambda parts: len(parts) >= 3, "the file and what was said then")
    assert [words for words, _ in parts] == ["Hello", "look at this", "and then"]
    [(shown, kind, digest)] = parts[1][1]
    assert digest == made["file"]["sha256"] and (mime in ("image/png", "audio/ogg") or shown == name)
    assert mime == "application/pdf" or kind == mime
    settled(chats)
    assert chats.relay.messages()[1]["state"] == "delivered"


def test_a_conversation_begins_with_a_picture(build):
    chats = build()
    made = chats.send_file("my first words", size=50_000, mime="image/png")
    chats.say("the second")
    parts = chats.wait_parts(lambda parts: len(parts) >= 2 and parts[-1][0] == "the second" and any(files and files[0][2] for _, files in parts), "the picture")
    assert parts[0][0] == "my first words" and [d for _, files in parts for _, _, d in files] == [made["file"]["sha256"]]


def test_a_picture_without_words(chats):
    made = chats.send_file(size=1000, mime="image/png")
    chats.wait_parts(lambda parts: len(parts) == 2 and parts[1][1], "the picture")
    assert chats.hashes() == [made["file"]["sha256"]]


def test_the_words_of_a_file_that_hangs_do_not_wait_for_ever(build, sandbox):
    chats = build(wait="1s")
    chats.say("Hello")
    sandbox.fault(sandbox.telegram, fault="hang", path="/file/bot")
    began = time.monotonic()
    made = chats.send_file("see", size=1000, mime="application/pdf", file_name="late.pdf")
    chats.say("next")
    assert time.monotonic() - began > 0.9, "it waits for the file at first"
    words = [words for words, _ in chats.parts()]
    assert words[0] == "Hello" and words[1].startswith("see") and "late.pdf" in words[1] and words[2] == "next"
    chats.clear()
    parts = chats.wait_parts(lambda parts: len(parts) == 4, "the file itself", timeout_s=60)
    assert [len(files) for _, files in parts] == [0, 0, 0, 1] and chats.hashes() == [made["file"]["sha256"]]
    settled(chats)
    chats.relay.verify()


def test_a_file_that_cannot_be_had_is_a_line(chats, sandbox):
    chats.relay.allow("file_failed")
    sandbox.fault(sandbox.telegram, fault="status", status=400, path="getFile",
                  body={"ok": False, "error_code": 400, "description": "Bad Request: invalid file_id"})
    chats.send_file("see", size=1000, mime="application/pdf", file_name="gone.pdf")
    chats.say("next")
    parts = chats.parts()
    assert parts[1][0].startswith("see") and "gone.pdf" in parts[1][0] and "could not be fetched" in parts[1][0] and parts[2] == ("next", [])
    [_, message, _] = chats.relay.messages()
    assert message["state"] == "delivered" and message["attachments"][0]["state"] == "failed"
    assert token_of(0) not in json.dumps(message) + parts[1][0]


def test_a_file_over_the_limit_is_a_line(chats):
    chats.relay.allow("file_failed")
    for said in ({}, {"told_size": -1}):
        chats.send_file("large", size=(20 << 20) + 1, mime="video/mp4", file_name="film.mp4", **said)
    chats.say("next")
    parts = chats.parts()
    assert [words.split()[0] for words, _ in parts] == ["Hello", "large", "large", "next"] and chats.hashes() == []
    assert all("film.mp4" in words and "could not be fetched" in words for words, _ in parts[1:3])


@pytest.mark.parametrize("fault", [{"fault": "file_truncated"}, {"fault": "file_slow", "ms": 500}, {"fault": "file_404"}, {"fault": "reset", "path": "/file/bot"},
                                   {"fault": "status", "status": 500, "path": "getFile"}, {"fault": "rate_limit", "retry_after": 1, "path": "getFile"},
                                   {"fault": "drop_before", "path": "getFile"}, {"fault": "garbage", "path": "getFile"}, {"fault": "truncate", "path": "/file/bot"}],
                         ids=lambda fault: "-".join(str(v) for v in fault.values() if v != "getFile"))
def test_a_fetch_that_fails_is_tried_again(build, sandbox, fault):
    chats = build(wait="60s")
    chats.say("Hello")
    sandbox.fault(sandbox.telegram, count=1, **fault)
    made = chats.send_file("see", size=300_000, mime="image/png")
    chats.say("next")
    assert chats.hashes() == [made["file"]["sha256"]] and [words for words, _ in chats.parts()] == ["Hello", "see", "next"]


def test_an_address_that_expired_is_asked_for_again(build, sandbox):
    chats = build(wait="60s")
    chats.say("Hello")
    for fault in ("file_expires", "file_truncated"):
        sandbox.fault(sandbox.telegram, fault=fault, count=1)
    made = chats.send_file("see", size=3000, mime="image/png")
    chats.say("next")
    assert chats.hashes() == [made["file"]["sha256"]]


@pytest.mark.parametrize("fault", ["file_endless", "file_claims"])
def test_a_file_without_an_end_is_a_line(chats, sandbox, fault):
    chats.relay.allow("file_failed")
    sandbox.fault(sandbox.telegram, fault=fault)
    chats.send_file("see", size=1000, mime="image/png")
    chats.say("next")
    assert "could not be fetched" in chats.parts()[1][0] and chats.hashes() == []


def test_what_a_file_is_its_bytes_say(chats, sandbox):
    sandbox.fault(sandbox.telegram, fault="file_wrong_type", count=1)
    chats.send_file("see", size=1000, mime="image/png")
    parts = chats.wait_parts(lambda parts: len(parts) == 2 and parts[1][1], "the file")
    [(_, kind, digest)] = parts[1][1]
    assert not kind.startswith("image/") and digest


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_upload_that_the_desk_refuses_costs_the_file_and_not_the_words(make_relay, telegram, intercom, status):
    relay = make_relay([account("acme", intercom.config(), [telegram.config(mode="polling")], order="conversation")]).start()
    telegram.max_hold_s = 1
    telegram.push(telegram.message("m1"))
    intercom.wait_messages(1)
    intercom.fault(lambda request: b"attachment_files" in request.body, Answer(status, {"type": "error.list", "errors": [{"code": "parameter_invalid", "message": "no"}]}))
    telegram.push(telegram.document("m2", PDF, name="a.pdf", words="see"), telegram.message("m3"))
    intercom.wait_messages(3)
    assert intercom.keys() == ["m1", "m2", "m3"] and "a.pdf" in intercom.bodies()[1]
    relay.wait_settled()


# Albums

def album(chats, count=3, first=0, name="881", words="all of them"):
    return [chats.send_file(words if i == 0 else None, size=2000, seed=i + 1, mime="image/jpeg", album=name)["file"]["sha256"] for i in range(first, count)]


def one_message_of(chats, hashes):
    """The album is one message with these files, in their order; the other parts are joined."""
    parts = chats.wait_parts(lambda parts: any(files for _, files in parts), "the album")
    [(words, files)] = [part for part in parts if part[1]]
    assert words == "all of them" and [digest for _, _, digest in files] == hashes
    settled(chats)
    joined_ = [m for m in chats.relay.messages() if m["reason"] == "joined"]
    assert len(joined_) == len(hashes) - 1 and all(m["state"] == "discarded" for m in joined_)


def test_an_album_is_one_message(chats):
    hashes = album(chats)
    one_message_of(chats, hashes)
    chats.say("next")
    assert chats.parts()[-1] == ("next", []) and len(chats.parts()) == 3


@pytest.mark.parametrize("after", [1, 2])
def test_an_album_survives_a_kill_between_its_parts(build, sandbox, after):
    chats = build(wait=f"{20 * SLOW}s")
    chats.say("Hello")
    sandbox.fault(sandbox.telegram, fault="status", status=500, path="getFile")
    hashes = album(chats, after)
    wait_for(lambda: chats.relay.status()["accepted"] == 1 + after, "the first parts stored")
    chats.relay.kill()
    chats.relay.start()
    hashes += album(chats, 3, after)
    wait_for(lambda: chats.relay.status()["accepted"] == 4, "all parts stored")
    chats.clear()
    one_message_of(chats, hashes)


def test_an_album_of_which_a_part_comes_late_loses_nothing(chats):
    hashes = album(chats, 2)
    chats.wait_parts(lambda parts: any(files for _, files in parts), "the first two")
    hashes += album(chats, 3, 2)
    chats.wait_parts(lambda parts: sum(len(files) for _, files in parts) == 3, "the third")
    assert chats.hashes() == hashes


# Addresses that came in a message

class Listener(Server):
    """Where nobody may come."""

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.trouble.append("somebody connected")
            sock.close()


@pytest.fixture
def forbidden():
    with_trouble = Listener()
    yield with_trouble
    with_trouble.stop()
    assert not with_trouble.trouble


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0", "127.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "[fe80::1]"])
def test_private_addresses_of_a_webhook_are_never_connected_to(make_relay, desk, forbidden, host):
    relay = make_relay([account("acme", desk.config())], media={"wait": "60s"}).allow("file_failed").start()
    port = 80 if host == "169.254.169.254" else forbidden.port
    source = WebhookSource(relay, "acme")
    source.send("m1", attachments=[{"kind": "image", "url": f"http://{host}:{port}/latest/meta-data/", "name": "a.png"}])
    source.send("m2")
    desk.wait_taken(2)
    first, second = desk.posts()
    [file] = first.notes["body"]["attachments"]
    assert (first.notes["key"], second.notes["key"]) == ("m1", "m2") and file["state"] == "failed" and file["why"]


@pytest.mark.parametrize("leads_on", [True, False], ids=["leads on", "elsewhere"])
def test_only_the_desks_own_address_may_be_private(make_relay, telegram, intercom, forbidden, leads_on):
    """The desk's own address is the operator's to give; where it leads on to is not, nor what stands in a message."""
    telegram.max_hold_s = 1
    relay = make_relay([account("acme", intercom.config(), [telegram.config(mode="polling")], order="conversation")]).allow("file_failed").start()
    telegram.push(telegram.message("m1"))
    intercom.wait_messages(1)
    [conversation] = intercom.conversations
    file = intercom.attachment(PNG)
    if leads_on:
        intercom.fault(on("GET", r"/attachments/.*"), Answer(302, b"", [("Location", f"{forbidden.url}/meta-data/")]), times=5)
    else:
        file["url"] = f"{forbidden.url}/meta-data/a.png"
    intercom.agent_says(conversation, "<p>see</p>", file)
    notify(relay, intercom, conversation)
    wait_for(lambda: len(telegram.sent) >= 2, "the words, and what is said of the file")
    assert telegram.sent[0]["text"] == "see" and telegram.sent[1]["file"] is None


def notify(relay, intercom, conversation):
    from harness.chats import notice, post_notice
    answer, _ = post_notice(relay, notice(conversation), intercom.config()["client_secret"])
    assert answer.status == 200


# Links

@pytest.fixture
def linked(make_relay, telegram, desk):
    """A bot, and a signed webhook for a desk, which gets links; one picture has arrived."""
    relay = make_relay([account("acme", desk.config(), [telegram.config(mode="polling")], order="conversation")], media={"links": f"{5 * SLOW}s"}).start()
    telegram.max_hold_s = 1
    telegram.push(telegram.photo("m1", PNG, words="look"))
    desk.wait_taken(1)
    [file] = desk.posts()[0].notes["body"]["attachments"]
    return relay, file


def fetch(url, **headers):
    parts = urllib.parse.urlsplit(url)
    return call(parts.port, "GET", f"{parts.path}?{parts.query}", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_webhook_desk_gets_links(linked, telegram):
    relay, file = linked
    assert (file["kind"], file["mime"], file["size"]) == ("image", "image/png", len(PNG)) and "state" not in file
    assert file["url"].startswith(f"http://127.0.0.1:{relay.port}/media/{sha256(PNG)}?")
    answer = fetch(file["url"])
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, PNG, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff" and telegram.token not in file["url"] + str(answer.headers)
    for asked, part in (("bytes=0-9", PNG[:10]), ("bytes=100-", PNG[100:]), ("bytes=-7", PNG[-7:])):
        answer = fetch(file["url"], Range=asked)
        assert (answer.status, answer.body) == (206, part)
    assert fetch(file["url"], Range=f"bytes={len(PNG)}-").status == 416


def test_links_that_were_changed_or_have_expired(linked):
    relay, file = linked
    parts = urllib.parse.urlsplit(file["url"])
    query = dict(urllib.parse.parse_qsl(parts.query))
    for changed in ({"exp": str(int(query["exp"]) + 1)}, {"sig": query["sig"][:-1] + ("0" if query["sig"][-1] != "0" else "1")}, {"sig": ""}, {"name": "other.png"}, {"mime": "text/html"}):
        assert call(relay.port, "GET", f"{parts.path}?{urllib.parse.urlencode({**query, **changed})}").status == 403, changed
    assert call(relay.port, "GET", f"/media/{sha256(b'other')}?{parts.query}").status == 403
    assert call(relay.port, "GET", f"/media/{sha256(PNG)}").status == 403
    wait_for(lambda: fetch(file["url"]).status == 410, "the link expired")


def test_the_bots_token_is_nowhere(make_relay, telegram, desk, make_intercom):
    """Neither where the file is named, nor in what went wrong with it."""
    intercom = make_intercom()
    other = telegram.config(mode="polling")
    relay = make_relay([account("acme", desk.config(), [other], order="conversation")], media={"wait": "1s"}).start()
    telegram.max_hold_s = 1
    good, bad = telegram.photo("m1", PNG), telegram.document("m2", PDF)
    telegram.fetched[telegram.file_id_of(bad)] = [Answer(500, f"https://api.telegram.org/file/bot{telegram.token}/x".encode()) for _ in range(50)]
    telegram.push(good, bad, telegram.message("m3"))
    desk.wait_requests(lambda journal: sum(1 for r in journal if r.method == "POST") >= 3, "three messages")
    answers = [relay.api("GET", target).body for target in ("/api/v1/messages", "/api/v1/status", "/api/v1/lanes", "/api/v1/accounts", "/metrics")]
    answers += [relay.api("GET", f"/api/v1/messages/{m['id']}").body for m in relay.messages()]
    link = desk.posts()[0].notes["body"]["attachments"][0]["url"]
    answer = fetch(link)
    places = {"log": "\n".join(relay.lines), "answers": b"".join(answers), "links": link + str(answer.headers),
              "desk": b"".join(r.body + str(r.headers).encode() for r in desk.requests())}
    relay.stop()
    media = os.path.join(relay.directory, "tributary.db.files")
    found = glob.glob(media + "/**", recursive=True)
    places["names of files"] = "\n".join(found)
    places["files"] = b"".join(open(path, "rb").read() for path in found if os.path.isfile(path))
    places["rows"] = rows_without_accounts(relay)
    assert sha256(PNG) in places["names of files"]
    for name, text in places.items():
        assert telegram.token not in (text if isinstance(text, str) else text.decode("latin-1")), name
    assert intercom.journal == []


def rows_without_accounts(relay):
    """All that the store has, but for the settings of sources and desks, where the token belongs."""
    connection = sqlite3.connect(f"file:{relay.database}?mode=ro", uri=True)
    names = [name for name, in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name not in ("accounts", "sources", "desks")]
    text = "\n".join(repr(row) for name in names for row in connection.execute(f'SELECT * FROM "{name}"'))
    connection.close()
    return text


# To the customer

@pytest.mark.parametrize("data, name, mime, kind", [(PNG, "a.png", "image/png", "photo"), (OGG, "v.ogg", "audio/ogg", "voice"), (PDF, "Grüße \"x\".pdf", "application/pdf", "document"),
                                                    (b"\0\0\0\x20ftypisom" + bytes(5000), "v.mp4", "video/mp4", "video")],
                         ids=["photo", "voice", "document", "video"])
def test_an_agents_file_arrives_as_what_it_is(chats, data, name, mime, kind):
    chats.act("reply", conversation=chats.known[0, 77], body=f"here {CANARY}", attachment_files=[upload(data, name, mime)])
    chats.answer("next")
    wait_for(lambda: len(chats.chat_files()) == 3, "words, file, words")
    assert chats.chat_files() == [("here", None, None), ("", kind, sha256(data)), ("next", None, None)]
    settled(chats)


def test_an_agents_files_without_words(chats):
    chats.act("reply", conversation=chats.known[0, 77], attachment_files=[upload(PNG), upload(PDF, "b.pdf", "application/pdf")])
    wait_for(lambda: len(chats.chat_files()) == 2, "both files")
    assert [(kind, digest) for _, kind, digest in chats.chat_files()] == [("photo", sha256(PNG)), ("document", sha256(PDF))]


@pytest.mark.parametrize("fault", ["file_truncated", "file_404", "file_slow"])
def test_an_agents_file_is_fetched_again(chats, sandbox, fault):
    chats.relay.allow("file_failed")
    sandbox.fault(sandbox.intercom, fault=fault, count=1, ms=500)
    chats.act("reply", conversation=chats.known[0, 77], body=f"here {CANARY}", attachment_files=[upload(PDF, "b.pdf", "application/pdf")])
    chats.answer("next")
    wait_for(lambda: len(chats.chat_files()) == 3, "words, file, words")
    shown = chats.chat_files()
    assert [shown[0][0], shown[2][0]] == ["here", "next"]
    assert shown[1][2] == sha256(PDF) or fault == "file_404" and "b.pdf" in shown[1][0]


@pytest.mark.parametrize("fault", [{"fault": "drop_before"}, {"fault": "status", "status": 502}, {"fault": "rate_limit", "retry_after": 1}])
def test_an_upload_that_fails_is_sent_again(chats, sandbox, fault):
    chats.relay.allow("desk_suspended")
    sandbox.fault(sandbox.telegram, path="sendPhoto", count=1, **fault)
    chats.act("reply", conversation=chats.known[0, 77], attachment_files=[upload(PNG)])
    chats.answer("next")
    wait_for(lambda: len(chats.chat_files()) == 2, "the picture and the words")
    assert [digest for _, _, digest in chats.chat_files()] == [sha256(PNG), None]


# Changed and taken back

def test_an_agent_takes_back_what_the_customer_has(chats):
    one, two = chats.answer("one"), chats.answer("two")
    chats.wait_received("one", "two")
    chats.act("redact", conversation=chats.known[0, 77], part=one["id"])
    wait_for(lambda: chats.received() == ["two"], "the first gone")
    picture = chats.act("reply", conversation=chats.known[0, 77], body=f"see {CANARY}", attachment_files=[upload(PNG)])
    wait_for(lambda: len(chats.chat_files()) == 3, "words and picture")
    chats.act("redact", conversation=chats.known[0, 77], part=picture["id"])
    wait_for(lambda: chats.chat_files() == [("two", None, None)], "both of them gone")
    settled(chats)


def test_an_agent_changes_what_the_customer_has(chats):
    one = chats.answer("helo")
    chats.answer("two")
    chats.wait_received("helo", "two")
    wait_for(lambda: int(time.time()) > one["created_at"], "another second")
    chats.act("edit", conversation=chats.known[0, 77], part=one["id"], body=f"hello {CANARY}")
    chats.answer("three")       # the desk tells nobody of a change: it is seen when the conversation is read
    wait_for(lambda: chats.received() == ["hello", "two", "three"], "the change")
    assert len(chats.sandbox.journal(chats.sandbox.telegram, "changed")) == 1


def test_a_customers_change_is_a_message_that_says_so(chats, sandbox):
    said = chats.say("I have 2 parcells")
    picture = chats.send_file("befor", size=1000, mime="image/png")
    chats.wait_parts(lambda parts: len(parts) == 3, "both")
    sandbox.say(f"I have 2 parcels {CANARY}", 77, token_of(0), edit=said["message_id"])
    sandbox.say(f"before {CANARY}", 77, token_of(0), edit=picture["message_id"])
    parts = chats.wait_parts(lambda parts: len(parts) == 5, "the changes")
    assert [words for words, _ in parts[3:]] == ["(edited) I have 2 parcels", "(edited) before"]
    assert set(chats.hashes()) == {picture["file"]["sha256"]}


# Who it is

def test_a_customers_name_is_kept_current_with_few_calls(chats, sandbox):
    names = lambda: [r["name"] for r in sandbox.control(sandbox.intercom, "GET", "inbox")["conversations"]]
    sandbox.say(f"it is me {CANARY}", 77, token_of(0), name="Ada Lovelace")
    wait_for(lambda: names() == ["Ada Lovelace"], f"the name at the desk, not {names()}")
    changed = lambda: sum(i["method"] == "PUT" for i in sandbox.journal(sandbox.intercom, "requests"))
    before = changed()
    for i in range(5):
        chats.say(f"still me {i}")
    assert changed() == before, "it is told of what changed, and of nothing else"
    sandbox.say(f"married {CANARY}", 77, token_of(0), name="Ada King")
    wait_for(lambda: names() == ["Ada King"], f"the new name at the desk, not {names()}")
    assert changed() <= before + 2


# Bounds, verify, retention

def test_an_account_over_its_quota_of_files(make_relay, telegram, make_telegram, desk):
    second = make_telegram(token="222222222:AAkanarieTelegramToken_0123456789abcd")
    telegrams = [telegram, second]
    relay = make_relay([account(f"acme{i}", desk.config(), [t.config(mode="webhook")], order="conversation") for i, t in enumerate(telegrams)],
                       quota={"files": "64KiB"}, public_url="https://relay.example.com")
    relay.allow("alarm").start()
    for each in telegrams:
        each.wait_registered()
    assert telegram.post(relay, "acme0", telegram.document("m1", bytes(100_000), words="m1")).status == 200
    desk.wait_taken(1)
    refused = telegram.document("m2", PDF, words="m2")
    answer = telegram.post(relay, "acme0", refused)
    assert answer.status == 503 and "retry-after" in answer.headers
    assert telegram.post(relay, "acme0", telegram.message("m3", chat=5)).status == 200, "texts are taken"
    assert second.post(relay, "acme1", second.document("m4", PDF, words="m4")).status == 200, "others are not concerned"
    desk.wait_taken(3)
    assert [(a["name"], a["subject"]) for a in relay.status()["alarms"] if a["name"].startswith("quota")] == [("quota_files", "acme0")]


def media_file(relay, data):
    path = os.path.join(relay.directory, "tributary.db.files", sha256(data)[:2], sha256(data))
    assert os.path.exists(path)
    return path


@pytest.mark.parametrize("how", ["removed", "altered", "cut"])
def test_verify_finds_a_file_that_is_not_as_it_was(linked, how):
    relay, _ = linked
    relay.allow("alarm")
    relay.wait_settled()
    relay.verify()
    path = media_file(relay, PNG)
    if how == "removed":
        os.unlink(path)
    else:
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.truncate(100) if how == "cut" else file.write(b"x")
    done = relay.cli("verify", "--deep", "--socket", relay.socket, check=False)
    assert done.returncode == 1 and sha256(PNG)[:8] in done.stdout + done.stderr


def test_retention_takes_the_files_too(make_relay, telegram, desk):
    relay = make_relay([account("acme", desk.config(), [telegram.config(mode="polling")])], retention={"bodies": "1s"}).start()
    telegram.max_hold_s = 1
    telegram.push(telegram.photo("m1", PNG))
    desk.wait_taken(1)
    path = media_file(relay, PNG)
    # A start looks for what is too old, and for files that nobody has, as the daemon does every half minute and every ten minutes.
    wait_for(lambda: not os.path.exists(path) or not relay.restart(), "the file removed")
    [file] = desk.posts()[0].notes["body"]["attachments"]
    assert fetch(file["url"]).status == 404
    relay.verify()


# Kills

@pytest.mark.parametrize("kills", [1, 4])
def test_kills_in_the_middle_of_fetching_lose_nothing(build, sandbox, kills):
    chats = build(wait=f"{60 * SLOW}s")
    chats.say("Hello")
    sandbox.fault(sandbox.telegram, fault="file_slow", ms=300)
    made = []
    for kill in range(kills):
        made += [chats.send_file(f"file {kill} {i}", size=20_000, seed=10 * kill + i + 1, mime="application/pdf", file_name=f"{kill}-{i}.pdf")["file"]["sha256"] for i in range(4)]
        wait_for(lambda: chats.relay.status()["accepted"] > 1 + 4 * kill, "some of them stored")
        wait_for(lambda: sandbox.control(sandbox.telegram, "GET", "status")["open"] > 0, "a fetch under way")
        chats.relay.kill()
        chats.relay.start()
    wait_for(lambda: chats.relay.status()["accepted"] == 1 + len(made), "all stored")
    chats.clear()
    chats.wait_parts(lambda parts: sum(len(files) for _, files in parts) >= len(made), "all files", timeout_s=60 * SLOW)
    assert chats.hashes() == made
    settled(chats)
    chats.relay.verify()


def test_a_kill_during_an_upload_doubles_no_words(chats, sandbox):
    """What may have arrived is looked for: the answer to the upload is lost with the relay."""
    sandbox.fault(sandbox.intercom, fault="hang", path="POST /conversations/*/reply", count=1)
    made = chats.send_file("see", size=100_000, mime="application/pdf", file_name="a.pdf")
    chats.wait_parts(lambda parts: len(parts) == 2, "the upload taken")
    chats.relay.kill()
    chats.relay.start()
    chats.clear()
    chats.say("next")
    assert [words for words, _ in chats.parts()] == ["Hello", "see", "next"] and chats.hashes() == [made["file"]["sha256"]]


def test_both_accounts_keep_one_file_once(sandbox, make_relay):
    """Kept by content: the same bytes from two bots are one file, and it stays while one of the two messages has it."""
    relay = reached_by(make_relay([joined(sandbox, 2)])).start()
    for i in (0, 1):
        relay.wait_source("acme", f"bot{i}")
        sandbox.control(sandbox.telegram, "POST", "telegram/file", {"token": token_of(i), "customer": 7, "mime": "image/png", "data": base64.b64encode(PNG).decode()})
    wait_for(lambda: relay.status()["accepted"] == 2, "both stored")
    relay.wait_settled()
    media_file(relay, PNG)
    relay.verify()
