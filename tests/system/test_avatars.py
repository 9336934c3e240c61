"""The customer's picture at the desk: asked for behind their messages, told once, kept current, and never in a message's way."""
import glob
import hashlib
import os
import sqlite3
import threading
import time
import urllib.parse

import pytest

from harness.client import call
from harness.common import wait_for
from harness.relay import account
from harness.scripted import Answer, Drop
from harness.telegram import wrong

from test_media import rows_without_accounts

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8
OTHER = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(255, -1, -1)) * 8
IS_TELLING = lambda request: request.method == "PUT" and request.path.startswith("/contacts/") and b'"avatar"' in request.body
DAY_US = 86_400_000_000


class Bench:
    """Customer 77 of one bot, whose account has an Intercom."""

    def __init__(self, make_relay, telegram, intercom, desk=None, public=True, **more):
        self.telegram, self.intercom = telegram, intercom
        telegram.max_hold_s = 1
        self.relay = make_relay([account("acme", desk or intercom.config(), [telegram.config(mode="polling")], order="conversation", **more)])
        if public:
            self.relay.config["public_url"] = f"http://127.0.0.1:{self.relay.port}"
            self.relay.write_config()
        self.relay.start()
        self.keys = 0

    def write(self, **more):
        self.keys += 1
        self.telegram.push(self.telegram.message(f"m{self.keys}", **more))
        wait_for(lambda: sum(m["state"] == "delivered" for m in self.relay.messages()) >= self.keys, f"{self.keys} messages delivered")

    def row(self):
        """What is known of the picture."""
        rows = self.relay.query("SELECT due_at, attempts, asked_at, picture, hash, told FROM avatars")
        assert len(rows) <= 1
        return dict(zip(("due", "attempts", "asked", "picture", "hash", "told"), rows[0])) if rows else None

    def settled(self):
        return wait_for(lambda: (lambda row: row if row and not row["due"] else None)(self.row()), "nothing to be done about the picture")

    def asked(self):
        return len(self.telegram.calls("getUserProfilePhotos"))

    def fetched(self):
        return len(self.telegram.calls("file"))

    def told(self):
        """The pictures that the desk was told of, in order."""
        return [r.json["avatar"] for r in self.intercom.requests("PUT") if IS_TELLING(r)]

    def change(self, sql):
        """While the relay is stopped."""
        connection = sqlite3.connect(self.relay.database)
        with connection:
            connection.execute(f"UPDATE avatars SET {sql}, sum = NULL")
        connection.close()

    def next_day(self):
        self.relay.stop()
        self.change(f"asked_at = asked_at - {DAY_US}")
        self.relay.start()

    def kept(self):
        """The files that are there."""
        return {os.path.basename(path) for path in glob.glob(self.relay.database + ".files/??/*")}


@pytest.fixture
def bench(make_relay, telegram, intercom):
    return lambda **more: Bench(make_relay, telegram, intercom, **more)


def fetch(url):
    parts = urllib.parse.urlsplit(url)
    return call(parts.port, "GET", f"{parts.path}?{parts.query}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_a_picture_is_told_once(bench, telegram, intercom):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    row = at.settled()
    [url] = at.told()
    [contact] = intercom.contacts.values()
    assert row["told"] == contact["id"] and contact["avatar"]["image_url"] == url
    assert url.startswith(at.relay.config["public_url"] + f"/media/{sha256(JPEG)}?")
    answer = fetch(url)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, JPEG, "image/jpeg")
    assert at.telegram.calls("getUserProfilePhotos")[0].json == {"user_id": 77, "offset": 0, "limit": 1}
    for _ in range(3):
        at.write()
    at.relay.restart()
    at.write()
    assert (at.asked(), at.fetched(), at.told()) == (1, 1, [url])
    at.relay.verify()


def test_only_what_changed_is_fetched_and_told(bench, telegram):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    at.settled()
    at.next_day()
    at.write()
    at.settled()
    assert (at.asked(), at.fetched(), len(at.told())) == (2, 1, 1), "it is the same one"
    telegram.show_profile_photo(77, OTHER, "two")
    at.next_day()
    at.write()
    at.settled()
    first, second = at.told()
    assert (at.asked(), at.fetched()) == (3, 2) and f"/media/{sha256(OTHER)}?" in second
    assert fetch(second).body == OTHER
    wait_for(lambda: at.kept() == {sha256(OTHER)}, "the old one gone")
    assert fetch(first).status == 404
    at.relay.verify()


def test_a_link_stays_the_same(bench, telegram):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    at.settled()
    telegram.show_profile_photo(77, JPEG, "the same bytes")
    at.next_day()
    at.write()
    at.settled()
    first, second = at.told()
    assert first == second and int(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(first).query))["exp"]) > 4_000_000_000
    assert fetch(first).body == JPEG


def test_a_customer_without_a_picture_is_remembered(bench):
    at = bench()
    for _ in range(3):
        at.write()
        assert at.settled()["picture"] is None
    assert (at.asked(), at.fetched(), at.told()) == (1, 0, [])


def test_a_picture_that_was_taken_back_is_taken_from_the_desk(bench, telegram, intercom):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    at.settled()
    telegram.show_profile_photo(77, None, "")
    at.next_day()
    at.write()
    assert at.settled()["hash"] is None
    assert at.told()[1:] == [None] and [c["avatar"] for c in intercom.contacts.values()] == [None]
    wait_for(lambda: not at.kept(), "its bytes gone")


def test_what_is_no_picture_is_not_told(bench, telegram):
    telegram.show_profile_photo(77, b"<html><script>alert(1)</script>" * 9, "one")
    at = bench()
    at.write()
    assert at.settled()["hash"] is None and at.fetched() == 1
    wait_for(lambda: not at.kept(), "its bytes gone")
    at.next_day()
    at.write()
    at.settled()
    assert (at.asked(), at.fetched(), at.told()) == (2, 1, [])


@pytest.mark.parametrize("how", ["no public_url", "a signed webhook"])
def test_nothing_is_asked_where_nothing_can_be_shown(bench, telegram, desk, how):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench(public=how != "no public_url", desk=desk.config() if how == "a signed webhook" else None)
    for _ in range(3):
        at.write()
    at.relay.restart()
    assert at.asked() == 0 and at.row() is None and at.told() == []


def test_a_group_has_no_picture(bench, telegram):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    update = telegram.message("g1")
    update["message"]["chat"] = {"id": -100200, "type": "supergroup", "title": "All of us"}
    telegram.push(update)
    wait_for(lambda: [m["state"] for m in at.relay.messages()] == ["delivered"], "the message delivered")
    assert at.asked() == 0 and at.row() is None


@pytest.mark.parametrize("photos, file", [([Answer(500, b"oops")], []), ([Drop()], []), ([wrong(429, "Too Many Requests: retry after 7", retry_after=7)], []),
                                          ([Answer(200, b'{"ok":true,"result":{"photos":17}}')], []), ([], [Answer(502)]), ([], [Drop(), Drop()])],
                         ids=["an error", "no answer", "too many requests", "an answer that is none", "no file", "a connection that breaks"])
def test_a_failure_hinders_nothing(bench, telegram, photos, file):
    file_id = telegram.show_profile_photo(77, JPEG, "one")
    telegram.asked_photos += photos
    telegram.fetched[file_id] = list(file)
    at = bench()
    at.write()
    wait_for(lambda: at.row()["attempts"] == 1, "tried once")
    at.write()
    assert at.row()["due"] > 0 and at.told() == []
    at.relay.stop()
    at.change("due_at = 1")  # a minute later
    at.relay.start()
    at.settled()
    assert len(at.told()) == 1
    assert at.relay.logged("file_failed") == []


def test_messages_do_not_wait_for_a_picture_that_hangs(bench, telegram):
    gate = threading.Event()
    file_id = telegram.show_profile_photo(77, JPEG, "one")
    telegram.fetched[file_id] = [Answer(200, JPEG, after=gate)]
    at = bench()
    at.write()
    telegram.wait_calls("file")
    for _ in range(3):
        at.write()
    assert at.told() == []
    gate.set()
    at.settled()
    assert len(at.told()) == 1


@pytest.mark.parametrize("answer, tries", [(Answer(500), 2), (Answer(429, headers=[("Retry-After", "1")]), 2), (Answer(400), 1), (Answer(404), 1)],
                         ids=["an error", "too many requests", "refused", "not there"])
def test_a_desk_that_does_not_take_it(bench, telegram, intercom, answer, tries):
    telegram.show_profile_photo(77, JPEG, "one")
    intercom.fault(IS_TELLING, answer)
    at = bench()
    at.write()
    if tries > 1:
        wait_for(lambda: (at.row() or {}).get("attempts") == 1, "tried once")
        at.relay.stop()
        at.change("due_at = 1")
        at.relay.start()
    at.settled()
    at.write()
    at.settled()
    assert len(at.told()) == tries and at.fetched() == 1


def test_a_new_contact_is_told(bench, telegram, intercom):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    at.settled()
    with intercom.lock:
        [gone] = intercom.contacts
        del intercom.contacts[gone]
    at.write()
    wait_for(lambda: len(at.told()) == 2, "the new contact told")
    at.settled()
    [contact] = intercom.contacts.values()
    assert contact["avatar"]["image_url"] == at.told()[0] == at.told()[1] and (at.asked(), at.fetched()) == (1, 1)


def test_killed_between_the_fetch_and_the_telling(bench, telegram, intercom):
    gate = threading.Event()
    telegram.show_profile_photo(77, JPEG, "one")
    intercom.fault(IS_TELLING, Answer(200, {}, after=gate))
    at = bench()
    at.write()
    wait_for(lambda: len(at.told()) == 1, "it is being told")
    assert at.row()["hash"] == sha256(JPEG) and at.row()["told"] is None
    at.relay.kill()
    gate.set()
    at.relay.start()
    row = at.settled()
    assert row["told"] and len(at.told()) == 2 and at.told()[0] == at.told()[1], "a PUT may be repeated"
    assert (at.asked(), at.fetched()) == (1, 1), "what was kept is not fetched again"
    at.write()
    assert len(at.told()) == 2
    at.relay.verify()


def test_killed_while_it_is_fetched(bench, telegram):
    gate = threading.Event()
    file_id = telegram.show_profile_photo(77, JPEG, "one")
    telegram.fetched[file_id] = [Answer(200, JPEG, after=gate)]
    at = bench()
    at.write()
    telegram.wait_calls("file")
    at.relay.kill()
    gate.set()
    at.relay.start()
    at.settled()
    assert len(at.told()) == 1 and at.kept() == {sha256(JPEG)}


def test_retention_leaves_the_picture_that_is_shown(bench, telegram):
    telegram.show_profile_photo(77, JPEG, "one")
    at = bench()
    at.write()
    at.settled()
    [url] = at.told()
    at.relay.stop()
    at.relay.config["retention"] = {"bodies": "1s", "dedupe": "1s"}
    at.relay.write_config()
    settled_us, = at.relay.query("SELECT changed_at FROM messages")[0]
    wait_for(lambda: time.time() > settled_us / 1e6 + 1.1, "it is old")  # at its start the relay looks for what is
    at.relay.start()
    wait_for(lambda: at.relay.query("SELECT count(*) FROM messages WHERE text IS NOT NULL") == [(0,)], "the messages' bodies gone")
    at.relay.restart()  # what nobody has is removed at the start
    assert fetch(url).body == JPEG
    at.relay.verify()


def test_the_bots_token_is_nowhere(bench, telegram, intercom):
    """Neither where the picture lies and is told, nor in what went wrong with it."""
    file_id = telegram.show_profile_photo(77, JPEG, "one")
    telegram.fetched[file_id] = [Answer(500, f"https://api.telegram.org/file/bot{telegram.token}/x".encode())]
    telegram.asked_photos += [Answer(500, {"ok": False, "error_code": 500, "description": f"https://api.telegram.org/bot{telegram.token}/getUserProfilePhotos"})]
    at = bench()
    at.write()
    for attempts in (1, 2):
        wait_for(lambda: at.row()["attempts"] == attempts, f"{attempts} tries")
        at.relay.stop()
        at.change("due_at = 1")
        at.relay.start()
    at.settled()
    [url] = at.told()
    answers = [at.relay.api("GET", target).body for target in ("/api/v1/messages", "/api/v1/status", "/api/v1/lanes", "/api/v1/accounts", "/metrics")]
    places = {"log": "\n".join(at.relay.lines), "answers": b"".join(answers), "link": url + str(fetch(url).headers),
              "desk": b"".join(r.body + str(r.headers).encode() for r in intercom.requests())}
    at.relay.stop()
    places["rows"] = rows_without_accounts(at.relay)
    assert sha256(JPEG) in places["rows"]
    for name, text in places.items():
        assert telegram.token not in (text if isinstance(text, str) else text.decode("latin-1")), name
