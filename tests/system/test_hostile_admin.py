"""What may come to the admin side and the command line: lines 37 to 48 of the list of hostile inputs (docs/hostile-inputs.md says which
test is which line's). One relay for the tests of this file but for those that need a state of their own."""
import base64
import glob
import json
import os
import pty
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest

from harness.client import RawConnection, WebhookSource, call
from harness.common import CANARY, PATIENCE_S, SLOW, text_of, wait_for
from harness.desk import ScriptedDesk
from harness.relay import BINARY, TOKEN, Relay, account, prefix
from harness.scripted import Answer

WEB = os.path.join(os.path.dirname(__file__), "../../web")
BEARER = {"Authorization": "Bearer " + TOKEN}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"`"


class Rig:
    """An account that delivers, and one that is not active, so that its messages wait."""

    def __init__(self, directory):
        self.desk = ScriptedDesk()
        self.relay = Relay(directory, [account("acme", self.desk.config(), order="conversation"), account("quiet", self.desk.config(), order="conversation", active=False)])
        self.relay.allow("admin_wrong_tokens").start()
        self.source, self.quiet = WebhookSource(self.relay, "acme"), WebhookSource(self.relay, "quiet")

    def waiting(self, key, **more):
        """A message that waits; its id."""
        self.quiet.send(key, **more)
        return next(m["id"] for m in self.relay.messages(account="quiet", state="pending") if m["text"].startswith(key + " "))


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("hostile-admin"))
    yield rig
    try:
        rig.relay.verify()
    finally:
        rig.relay.finish()
        rig.desk.stop()


def run(*arguments, **more):
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 3 * PATIENCE_S, **more}
    return subprocess.run(prefix() + [BINARY, *arguments], **options)


# Who may come in

def test_37_only_the_token_itself_opens(rig):
    """Not absent, cut, longer, in other letters, in another place; none of it is logged."""
    basic = base64.b64encode(f"admin:{TOKEN}".encode()).decode()
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": TOKEN}, {"Authorization": "Basic " + basic}, {"Authorization": f'Bearer "{TOKEN}"'},
                    {"Cookie": "token=" + TOKEN}, {"X-Api-Key": TOKEN}, {"X-Authorization": "Bearer " + TOKEN}, {"Proxy-Authorization": "Bearer " + TOKEN}):
        assert call(rig.relay.admin_port, "GET", "/api/v1/status", None, headers).status == 401, headers
    for target in (f"/api/v1/status?token={TOKEN}", f"/api/v1/status?access_token={TOKEN}", f"/api/v1/status?Authorization=Bearer%20{TOKEN}", f"/api/v1/{TOKEN}"):
        assert call(rig.relay.admin_port, "GET", target).status == 401, target
    assert call(rig.relay.admin_port, "GET", "/api/v1/status", None, {"Authorization": "bearer " + TOKEN}).status == 200, "the scheme's case does not matter"
    assert TOKEN not in "\n".join(rig.relay.lines)


@pytest.mark.parametrize("method,target", [("GET", "/api/v1/messages"), ("POST", "/api/v1/reload"), ("PATCH", "/api/v1/accounts/quiet"), ("POST", "/api/v1/messages/1/discard"), ("GET", "/api/v1/verify"),
                                           ("POST", "/api/v1/accounts/acme/desk/resume"), ("DELETE", "/api/v1/accounts/quiet"), ("GET", "/api/v1/nothing"), ("GET", "/api/"), ("GET", "/api/v1/%61ccounts"), ("GET", "/api/v1/messages/%ff")])
def test_37_nothing_below_api_answers_without_it(rig, method, target):
    answer = call(rig.relay.admin_port, method, target, b'{"active": true}' if method == "PATCH" else None)
    assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert not rig.relay.leaks(answer.body.decode())


def test_37_guessing_is_slow_and_hinders_nobody_who_knows(rig):
    """Ten wrong ones a minute are answered at once, each further one after a second; one warning says that it happens."""
    stop = threading.Event()
    tried = []

    def guess(n):
        while not stop.is_set():
            began = time.monotonic()
            call(rig.relay.admin_port, "GET", "/api/v1/status", None, {"Authorization": f"Bearer guess-{n}"})
            tried.append(time.monotonic() - began)
    threads = [threading.Thread(target=guess, args=(n,)) for n in range(16)]
    [t.start() for t in threads]
    try:
        wait_for(lambda: len(tried) > 30, "guesses")
        for _ in range(5):
            began = time.monotonic()
            assert rig.relay.api("GET", "/api/v1/status").status == 200
            assert rig.relay.api("GET", "/api/v1/status", where="socket").status == 200
            assert time.monotonic() - began < 1 * SLOW
    finally:
        stop.set()
        [t.join() for t in threads]
    assert sorted(tried)[-10] >= 0.9
    assert not re.search("guess-", "\n".join(rig.relay.lines))
    assert len(rig.relay.logged("admin_wrong_tokens")) in (1, 2)


HOSTS = {"evil.example": 421, "evil.example:8081": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "localhost.": 421, "0x7f.1": 421, "x.lan.evil": 421, "relay": 200, "localhost": 200, "LOCALHOST:8081": 200,
         "127.0.0.1": 200, "[::1]:8081": 200, "relay.internal": 200}


@pytest.mark.parametrize("host", HOSTS)
def test_38_a_name_that_a_stranger_can_buy_is_no_name_of_ours(rig, host):
    """DNS rebinding: a page of evil.example whose name now leads to 127.0.0.1. Also for what needs no token."""
    for target in ("/api/v1/status", "/metrics", "/readyz", "/", "/status.js"):
        answer = call(rig.relay.admin_port, "GET", target, None, {**BEARER, "Host": host, "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"})
        assert answer.status == HOSTS[host], target


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null", "https://127.0.0.1.evil.example", "file://", "", "http://127.0.0.1", "http://{us}.evil.example", "http://evil.example#{us}"])
def test_38_requests_of_other_pages_are_refused(rig, origin):
    us = f"127.0.0.1:{rig.relay.admin_port}"
    headers = {**BEARER, "Origin": origin.replace("{us}", us)}
    for method, target, body in (("POST", "/api/v1/reload", None), ("PATCH", "/api/v1/accounts/quiet", b'{"active": true}'), ("GET", "/api/v1/messages", None)):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
            answer = call(rig.relay.admin_port, method, target, body, {**headers, "Content-Type": kind, "Sec-Fetch-Site": "cross-site"})
            assert answer.status == 403, (method, kind)
            assert not [name for name in answer.headers if name.startswith("access-control")]
    assert {a["name"]: a["active"] for a in rig.relay.status()["accounts"]}["quiet"] is False
    assert call(rig.relay.admin_port, "GET", "/api/v1/status", None, {**BEARER, "Origin": f"http://{us}"}).status == 200


def test_38_a_preflight_allows_nothing(rig):
    answer = call(rig.relay.admin_port, "OPTIONS", "/api/v1/status", None, {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"})
    assert answer.status in (401, 405) and not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("target", ["/", "/index.html", "/status.js", "/style.css", "/icon.svg", "/api/v1/status", "/api/v1/messages", "/metrics", "/readyz", "/nothing", "/api/v1/nothing"])
def test_38_every_answer_forbids_frames_sniffing_and_foreign_scripts(rig, target):
    headers = call(rig.relay.admin_port, "GET", target, None, BEARER).headers
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split(";")}
    assert policy["frame-ancestors"] == ["'none'"] and policy["default-src"] == ["'none'"]
    assert "'unsafe-inline'" not in headers["content-security-policy"] and "'unsafe-eval'" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin" and "set-cookie" not in headers


# What is shown

def test_39_the_page_has_no_way_to_make_markup_of_data():
    """Texts become text nodes; nothing in web/ parses HTML, makes code of texts, or sets an address or a handler out of data."""
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\b|new Function|setTimeout\(\s*[\"'`]|srcdoc|\.(href|src|action)\s*=|setAttribute\(\s*[\"'`]on|javascript:"
    files = [p for p in glob.glob(WEB + "/**", recursive=True) if os.path.isfile(p)]
    assert files
    for path in files:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert not re.search(forbidden, text), path
        if path.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+\s*=|\sstyle\s*=|<style", text), f"{path}: inline"


def test_39_names_files_and_errors_full_of_markup_are_json_only(rig):
    """In every answer that shows them they are JSON, which no browser takes for a page."""
    rig.desk.next_actions.append(Answer(422, {"error": SCRIPT}))
    rig.relay.allow("message_skipped", "attempt_.*")
    event = rig.source.event("l39", "c39", attachments=[{"url": "https://x/a", "name": SCRIPT}])
    event["sender"]["name"] = SCRIPT
    assert rig.source.post(event).status == 200
    message = wait_for(lambda: rig.relay.messages(state="skipped", conversation="c39"), "skipped")[0]
    for target in (f"/api/v1/messages/{message['id']}", "/api/v1/messages", "/api/v1/messages?q=" + urllib.parse.quote(SCRIPT), "/api/v1/messages?" + urllib.parse.quote(SCRIPT), "/api/v1/" + urllib.parse.quote(SCRIPT),
                   "/api/v1/accounts/" + urllib.parse.quote(SCRIPT), "/" + urllib.parse.quote(SCRIPT)):
        answer = rig.relay.api("GET", target)
        assert answer.headers["content-type"] in ("application/json", "application/problem+json") and answer.headers["x-content-type-options"] == "nosniff", target
        assert answer.json
    shown = rig.relay.get(f"/api/v1/messages/{message['id']}")
    assert shown["sender"]["name"] == shown["attachments"][0]["name"] == SCRIPT and SCRIPT[:20] in shown["last_error"]
    for arguments in (["messages", "--conversation", "c39"], ["show", message["id"]]):
        assert SCRIPT[:15] in rig.relay.cli(*arguments, "--socket", rig.relay.socket).stdout


@pytest.mark.release_only
def test_39_the_status_page_shows_markup_as_text(make_relay, make_desk, tmp_path):
    """In a browser: a desk's words and a platform's, full of markup, in alarms and tables."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser"):
        options.add_argument(argument)
    try:
        browser = webdriver.Chrome(options=options)
    except Exception as error:
        pytest.skip(f"no browser: {error}")
    try:
        desk = make_desk()
        relay = make_relay([account("acme", desk.config())]).allow("desk_.*", "alarm.*", "attempt_.*").start()
        desk.script = lambda request: Answer(410, {"message": SCRIPT}, [("X-Error", "<b>x</b>")])
        WebhookSource(relay, "acme").send("m1")
        wait_for(lambda: relay.status()["alarms"], "an alarm")
        browser.get(f"http://127.0.0.1:{relay.admin_port}/#{TOKEN}")
        wait_for(lambda: "suspended" in browser.find_element("id", "desks").text, "it is shown", PATIENCE_S)
        for tag in ("img", "b"):
            assert not browser.find_elements("css selector", f"main {tag}")
        assert len(browser.find_elements("css selector", "script")) == 1
    finally:
        browser.quit()


# Searching and paging

TERMS = ["%", "_", "' OR '1'='1", "'; DROP TABLE messages; --", "\" OR \"\"=\"", "\\", "*", "a* OR b", "$.text", "$[0]", "(a+)+$", "[", "NULL", "0x00", "\u202e", "😀", "x" * 1000]


@pytest.mark.parametrize("name", ["q", "conversation"])
def test_40_terms_of_a_search_are_data(rig, name):
    rig.source.send("l40", "c40")
    for term in TERMS:
        answer = rig.relay.api("GET", f"/api/v1/messages?{name}=" + urllib.parse.quote(term))
        assert answer.status == 200 and not [m for m in answer.json["items"] if m["conversation"] == "c40"], term
    event = rig.source.event(f"l40-{name}", "c40 %_' OR 1=1", words="100%_' OR \"1\"=\"1")
    assert rig.source.post(event).status == 200
    found = {term: [m["text"] for m in rig.relay.messages(**{name: term})] for term in ("%_' OR", "c40 %_' OR 1=1", "100%_'")}
    whole = {"q": ["%_' OR", "100%_'"], "conversation": ["c40 %_' OR 1=1"]}[name]
    assert all((event["text"] in texts) == (term in whole) for term, texts in found.items()), found
    assert rig.relay.status()["accepted"], "the tables are there"


def test_40_a_search_term_of_a_megabyte_is_refused(rig):
    for size, statuses in ((1001, (400,)), (20_000, (414, 431)), (1 << 20, (414, 431))):
        with RawConnection(rig.relay.admin_port) as connection:
            connection.try_send(f"GET /api/v1/messages?q={'a' * size} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            answer = connection.answer()
            assert answer is None and size > 20_000 or answer.status in statuses, size
    done = run("messages", "--q", "a" * 100_000, "--socket", rig.relay.socket)
    assert done.returncode == 1 and not done.stdout, "a filter that is too long is not left out"
    done = run("retry", "--skipped", "--account", "a" * 100_000, "--socket", rig.relay.socket)
    assert done.returncode == 1 and not done.stdout


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "limit=2147483648", "limit=9223372036854775808", "limit=1e3", "limit=", "limit=10%00", "limit=1&limit=2", "after=0", "after=-1", "after=x", "after=%00",
                                   "after=6d31aaaaaaaa", "after=" + "a" * 4000, "sort=id", "order=desc", "offset=1", "page=2", "limit[]=1", "state=", "state=PENDING", "state=pending,skipped", "direction=sideways"])
def test_41_what_cannot_be_a_page_is_400(rig, query):
    answer = rig.relay.api("GET", "/api/v1/messages?" + query)
    assert answer.status == 400 and len(answer.json["detail"]) > 10


def test_41_a_cursor_of_one_list_is_none_of_another_and_survives_what_it_pointed_at(rig):
    for i in range(3):
        rig.source.send(f"l41-{i}", "c41")
    page = rig.relay.get("/api/v1/messages", limit=1)
    accounts = rig.relay.get("/api/v1/accounts", limit=1)
    assert rig.relay.api("GET", "/api/v1/accounts?after=" + page["next"]).status == 400
    assert rig.relay.api("GET", "/api/v1/messages?after=" + accounts["next"]).status == 400
    changed = page["next"][:-1] + ("0" if page["next"][-1] != "0" else "1")
    assert rig.relay.api("GET", "/api/v1/messages?after=" + changed).status == 400
    seen, after = [], None
    while True:
        page = rig.relay.get("/api/v1/messages", limit=1, after=after)
        seen += [m["id"] for m in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(set(seen), key=int) and len(seen) == len(rig.relay.messages())


# By hand

@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"active":1}', b'{"active":"false"}', b'{"active":null}', b'{"active":true,"active":false}', b'{"active":false,"active":true}', b'{"active":false}x', b'{"active":false,"x":1}',
                                  b"\xef\xbb\xbf" + b'{"active":false}', b'{"active":false,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"active":NaN}', b" " * (1 << 20) + b'{"active":false}', b'{"active":false\0}'],
                         ids=lambda b: b[:32].decode("latin-1"))
def test_26_odd_bodies_to_the_admin_side_change_nothing(rig, body):
    """What could mean two things, or more than one asked for, is refused whole."""
    assert rig.relay.api("PATCH", "/api/v1/accounts/acme", body, {"Content-Type": "application/json"}).status in (400, 409, 413)
    assert {a["name"]: a["active"] for a in rig.relay.status()["accounts"]}["acme"] is True


def together(count, work):
    """The results of `work(n)` of so many threads that begin at once."""
    barrier, results = threading.Barrier(count), []

    def one(n):
        barrier.wait()
        results.append(work(n))
    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return results


def test_42_discard_by_two_operators_at_once(rig):
    """Once or many times, over both doors: one message is settled, once; each asking is in the log."""
    before = rig.relay.check_sum()
    ids = [rig.waiting(f"l42-d{i}") for i in range(5)]
    for message in ids:
        answers = together(8, lambda n: rig.relay.api("POST", f"/api/v1/messages/{message}/discard", where="socket" if n % 2 else None).status)
        assert answers == [200] * 8
        assert run("discard", message, message, "--socket", rig.relay.socket).stdout.count("discarded") == 2
        wait_for(lambda: len([e for e in rig.relay.logged("by_hand") if e["request"].endswith("/discard") and e.get("message") == int(message)]) == 10, "each asking is in the log")
    after = rig.relay.check_sum()
    assert after["discarded"] == before["discarded"] + 5 and after["pending"] == before["pending"]


def test_42_retry_by_two_operators_at_once_sends_once(rig):
    rig.relay.allow("message_skipped", "attempt_.*")
    rig.desk.next_actions.append(Answer(422))
    rig.source.send("l42-r", "c42r")
    message, = wait_for(lambda: rig.relay.messages(state="skipped", conversation="c42r"), "skipped")
    answers = together(8, lambda n: rig.relay.api("POST", f"/api/v1/messages/{message['id']}/retry").status)
    assert set(answers) <= {200, 409} and 200 in answers
    wait_for(lambda: rig.relay.messages(conversation="c42r")[0]["state"] == "delivered", "delivered")
    assert [r.status for r in rig.desk.posts() if r.notes["key"] == "l42-r"] == [422, 200]
    assert rig.relay.api("POST", f"/api/v1/messages/{message['id']}/retry").status == 409, "it is delivered"
    assert rig.relay.api("POST", f"/api/v1/messages/{message['id']}/discard").status == 409
    rig.relay.check_sum()


def test_42_discard_against_retry(rig):
    """Whoever comes first: the message ends in one state and counts once."""
    rig.relay.allow("message_skipped", "attempt_.*")
    for i in range(5):
        rig.desk.next_actions.append(Answer(422))
        rig.source.send(f"l42-x{i}", "c42x")
        message, = wait_for(lambda: rig.relay.messages(state="skipped", conversation="c42x"), "skipped")
        answers = together(6, lambda n: rig.relay.api("POST", f"/api/v1/messages/{message['id']}/{'retry' if n % 2 else 'discard'}").status)
        assert set(answers) <= {200, 202, 409}, answers
        wait_for(lambda: rig.relay.get(f"/api/v1/messages/{message['id']}")["state"] in ("delivered", "discarded"), "settled")
        rig.relay.check_sum()


def test_42_by_hand_on_what_is_not_there(rig):
    for message in ("0", "-1", "999999999", "9223372036854775807", "9223372036854775808", "1x", "%00", "..", "1%2F..", "'"):
        for verb in ("retry", "discard"):
            assert rig.relay.api("POST", f"/api/v1/messages/{message}/{verb}").status in (400, 404), message
    rig.relay.check_sum()


def skipped_ones(relay, desk, count):
    """So many skipped messages, each with a delivery between, so that the guard stays open. From now on the desk takes all."""
    source = WebhookSource(relay, "acme")
    refused = set()
    desk.script = lambda request: Answer(422) if request.method == "POST" and request.notes["key"].startswith("bad") and request.notes["key"] not in refused and not refused.add(request.notes["key"]) else None
    for i in range(count):
        source.send(f"bad{i:03d}", f"c{i % 7}")
        source.send(f"good{i:03d}", f"c{i % 7}")
        desk.wait_taken(i + 1)
    relay.wait_settled()
    assert relay.check_sum()["skipped"] == count


def test_43_a_bulk_retry_that_is_killed_goes_on_where_it_was(make_relay, make_desk):
    """The command is killed half-way, then the relay; asked again, the rest follows. Nothing is lost, nothing is a second message."""
    count, desk = 40, make_desk()
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("message_skipped", "attempt_.*").start()
    skipped_ones(relay, desk, count)
    arguments = prefix() + [BINARY, "retry", "--account", "acme", "--skipped", "--socket", relay.socket]
    for victim in ("command", "relay"):
        before = relay.status()["skipped"]
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while relay.status()["skipped"] > before - 3 and process.poll() is None:
            relay.check_sum()
        if victim == "command":
            process.kill()
        else:
            relay.kill()
        process.wait(PATIENCE_S)
        if victim == "relay":
            relay.start()
        relay.check_sum()
    relay.cli("retry", "--account", "acme", "--skipped", "--socket", relay.socket)
    relay.wait_settled()
    status = relay.check_sum()
    assert status["delivered"] == status["accepted"] == 2 * count
    for message in relay.messages():
        assert message["late"] == message["text"].startswith("bad")
    identities = {}
    for request in desk.posts():
        if request.status is not None and 200 <= request.status < 300:
            identities.setdefault(request.notes["key"], set()).add(request.notes["webhook_id"])
    assert len(identities) == 2 * count and all(len(ids) == 1 for ids in identities.values())
    relay.verify()


@pytest.mark.release_only
@pytest.mark.timeout(240)
def test_44_listings_during_load_do_not_keep_the_log_from_its_beginning(rig):
    """Readers that list everything again and again, and one that asks and never reads its answer: the write-ahead log is moved into
    the store and written from its beginning again all the same (its salt changes then), since no snapshot outlives its query."""
    stop, listed = threading.Event(), [0] * 3

    def list_all(n):
        while not stop.is_set():
            listed[n] += len(rig.relay.messages(account="acme"))
    threads = [threading.Thread(target=list_all, args=(n,)) for n in range(3)]
    [t.start() for t in threads]
    stuck = socket.create_connection(("127.0.0.1", rig.relay.admin_port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(f"GET /api/v1/messages?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    salts, rounds, deadline = [], 0, time.monotonic() + 5 * PATIENCE_S
    try:
        while (len(set(salts)) < 4 or rounds < 4) and time.monotonic() < deadline:
            rig.source.flood(1000 // SLOW, f"c44-{rounds}", f"l44-{rounds}-")
            with open(rig.relay.database + "-wal", "rb") as file:
                salts.append(file.read(24)[16:])
            rounds += 1
    finally:
        stop.set()
        [t.join() for t in threads]
        stuck.close()
    assert all(listed), "the listings went on"
    assert len(set(salts)) >= 4, "the log only grew"
    assert not rig.relay.logged("store_log_long")
    rig.relay.wait_settled()


# The command line

def test_45_an_operators_words_reach_no_log(rig):
    evil = urllib.parse.quote(CANARY + '"}\n\x1b[2J\u009b2J')
    for method, target in (("GET", f"/api/v1/messages?q={evil}&conversation={evil}"), ("GET", f"/api/v1/messages?{evil}=1"), ("POST", f"/api/v1/messages/{evil}/retry"), ("PATCH", f"/api/v1/accounts/{evil}"), ("GET", f"/{evil}"), ("GET", f"/api/v1/messages?after={evil}")):
        rig.relay.api(method, target, {"active": True, CANARY: evil} if method == "PATCH" else None, {"User-Agent": CANARY, "Referer": CANARY})
    for arguments in (["messages", "--q", CANARY], ["show", CANARY], ["account", "show", CANARY], ["retry", CANARY]):
        run(*arguments, "--socket", rig.relay.socket)
    assert not rig.relay.leaks("\n".join(rig.relay.lines))


COMMANDS = [("status",), ("messages",), ("account", "list"), ("account", "show", "acme"), ("desk", "show", "acme"), ("verify",), ("status", "--json"), ("messages", "--json"), ("help",), ("--version",)]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_47_every_command_survives_closed_and_full_streams(rig, arguments):
    rig.source.send("l47-" + "-".join(arguments).replace("--", ""), "c47")
    where = [] if arguments[0] in ("help", "--version") else ["--socket", rig.relay.socket]
    shell = " ".join(prefix() + [BINARY, *arguments, *where])
    bash = lambda script: subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert bash(shell + " <&-").returncode == 0, "standard input closed"
    done = bash(shell + " >/dev/full")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert bash(shell + " >&-").returncode == 1, "standard output closed"
    assert bash(shell + " 2>&-").returncode == 0, "standard error closed"
    assert bash(shell + " <&- >&- 2>&-").returncode == 1
    assert bash(f"{{ {shell}; echo status $? >&2; }} | true").stderr.splitlines()[-1] in ("status 0", "status 1"), "no signal ends it"
    assert bash(f"set -o pipefail; trap '' PIPE; {shell} | head -c 1").returncode in (0, 1)


@pytest.mark.parametrize("locale", ["C", "POSIX", "tr_TR.UTF-8", "tr_TR", "C.UTF-8", "xx_YY.nonsense", "", "de_DE@euro"])
def test_47_locales_change_nothing(rig, locale):
    """Turkish has other small letters for I; C has no letters beyond ASCII; none of it matters to what is said or understood."""
    rig.source.send("l47-locale", "c47-İıIi")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    listing = ("messages", "--conversation", "c47-İıIi", "--state", "delivered", "--direction", "inbound", "--socket", rig.relay.socket)
    wait_for(lambda: "delivered" in run(*listing, env=plain).stdout, "delivered")
    for arguments in (listing, ("account", "list", "--socket", rig.relay.socket)):
        wanted, got = run(*arguments, env=plain), run(*arguments, env={**plain, "LC_ALL": locale, "LANG": locale, "LANGUAGE": locale})
        assert got.returncode == wanted.returncode == 0 and got.stdout == wanted.stdout
    assert "İıIi" in run(*listing, env={**plain, "LC_ALL": locale}).stdout


@pytest.mark.parametrize("columns", [0, 1, 2, 3, 10, 40, 65535])
def test_47_terminals_of_any_width(rig, columns):
    import fcntl
    import struct
    import termios
    rig.source.send("l47-width", "c47", words="wide 漢字 😀 " + "\u0301" * 50 + " \x1b[31m\u009b31m\u202e end")
    for arguments in (("messages",), ("status",), ("account", "list")):
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(prefix() + [BINARY, *arguments, "--socket", rig.relay.socket], stdin=child, stdout=child, stderr=subprocess.PIPE)
        os.close(child)
        text = b""
        while True:
            try:
                more = os.read(parent, 65536)
            except OSError:
                break
            if not more:
                break
            text += more
        os.close(parent)
        process.stderr.close()
        assert process.wait(PATIENCE_S) == 0 and text
        assert b"\x1b" not in text and "\u009b" not in text.decode() and "\u202e" not in text.decode()


def test_47_two_commands_at_once(rig):
    """Each does what it was asked; what can run once only says so."""
    def one(n):
        arguments = [("status",), ("messages",), ("account", "activate", "acme"), ("reload",), ("verify",), ("account", "list")][n % 6]
        return run(*arguments, "--socket", rig.relay.socket)
    for done in together(18, one):
        assert done.returncode == 0 or "already" in done.stderr or "again" in done.stderr, done
    assert rig.relay.api("GET", "/api/v1/status").status == 200


class OtherRelay:
    """Something at a Unix socket that answers as a relay of another version might."""

    def __init__(self, path, answers):
        self.path, self.answers = str(path), answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        break
                    data += more
                target = data.split(b" ")[1].decode() if data else ""
                status, body = next((v for k, v in self.answers.items() if target.startswith(k)), (404, {"title": "Not Found", "status": 404, "detail": "There is nothing at this path."}))
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                connection.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE_S)


STATUS = {"accepted": 7, "delivered": 6, "pending": 1, "skipped": 0, "discarded": 0, "in_doubt": 0, "lanes_waiting": 1, "oldest_pending_s": 1.5, "ready": True, "version": "99.7", "started_at": "2026-01-01T00:00:00.000Z",
          "accounts_total": 0, "desks_suspended": 0, "alarms": [], "accounts": [], "desks": [], "sources": []}


def test_47_a_newer_relay_is_understood_as_far_as_known(tmp_path):
    """Fields, states and kinds that this command does not know are passed over or shown as they are."""
    new = {"brand": {"new": [1, 2]}, "more": None}
    message = {"id": "1", "account": "a", "source": "s", "conversation": "c", "sender": {"id": "1", "name": "n", **new}, "text": "t", "state": "quarantined", "reason": "newly_invented", "received_at": "2026-01-01T00:00:00.000Z", "attempts": 1, **new}
    answers = {"/api/v1/status": (200, {**STATUS, **new, "alarms": [{"name": "new_alarm", "subject": "x", "text": "y", "since": "2026-01-01T00:00:00.000Z", **new}]}),
               "/api/v1/messages/1": (200, {**message, "attempt_history": [{"at": "2026-01-01T00:00:00.000Z", "verdict": "pondered", "error": None, **new}]}), "/api/v1/messages": (200, {"items": [message], "next": None, **new}),
               "/api/v1/accounts": (200, {"items": [{"name": "a", "active": True, **new}], "next": None, **new})}
    with OtherRelay(tmp_path / "s", answers):
        for arguments, word in ((["status"], "accepted 7"), (["messages"], "quarantined"), (["show", "1"], "pondered"), (["account", "list"], "a")):
            done = run(*arguments, "--socket", str(tmp_path / "s"))
            assert done.returncode == 0 and word in done.stdout, done
        assert json.loads(run("status", "--json", "--socket", str(tmp_path / "s")).stdout)["brand"] == {"new": [1, 2]}


def test_47_an_older_relay_is_named_as_such(tmp_path):
    """What it does not know yet: its own words, and both versions. What it leaves out is empty."""
    with OtherRelay(tmp_path / "s", {"/api/v1/status": (200, {"version": "0.0.1", "accepted": 1})}):
        for arguments in (["messages"], ["verify"], ["show", "1"], ["discard", "1"], ["account", "show", "a"], ["account", "activate", "a"]):
            done = run(*arguments, "--socket", str(tmp_path / "s"))
            assert done.returncode == 1 and "There is nothing at this path." in done.stderr, done
            assert "the relay that runs is version 0.0.1, this command is " in done.stderr, done
        assert run("status", "--socket", str(tmp_path / "s")).returncode in (0, 1)


@pytest.mark.parametrize("body", [b"", b"hello", b"<html>", b"{", b"[]", b"1", b"null", b'{"items":7}', b'{"items":[1,null,"x",[]]}', b'{"items":[{}],"next":7}', b"\xff\xfe", b"[" * 100_000], ids=lambda b: b[:20].decode("latin-1"))
def test_47_whatever_answers_at_the_socket_ends_no_command_by_a_signal(tmp_path, body):
    with OtherRelay(tmp_path / "s", {"/": (200, body)}):
        for arguments in (["status"], ["messages"], ["messages", "--json"], ["show", "1"], ["account", "list"], ["account", "show", "a"], ["desk", "show", "a"], ["retry", "1"], ["verify"], ["reload"]):
            done = run(*arguments, "--socket", str(tmp_path / "s"))
            assert done.returncode in (0, 1), (arguments, done)


def test_48_what_operators_ask_adds_no_series(rig):
    before = set(rig.relay.metrics())
    for i in range(50):
        rig.relay.api("GET", f"/api/v1/accounts/kanarie{i}")
        rig.relay.api("GET", f"/api/v1/kanarie{i}")
        rig.relay.api("POST", f"/api/v1/messages/{i + 10**9}/retry")
    assert set(rig.relay.metrics()) == before
