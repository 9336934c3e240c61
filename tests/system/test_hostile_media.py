"""Hostile files and what asks for them: addresses that lead inside, servers that lie, links that were changed, a directory of files that
is tampered with, and the bot's token in all of it (docs/hostile-inputs.md, lines 32 and following)."""
import os
import re
import shutil
import socket
import time
import urllib.parse

import pytest

from harness.client import RawConnection, WebhookSource, call
from harness.common import PATIENCE_S, SLOW, wait_for
from harness.relay import account, webhook_source
from harness.scripted import Answer, Drop, Raw

SECRET = "kanarie-telegram-secret"
PUBLIC = "https://relay.example.test"


@pytest.fixture
def listener():
    """(port, heard()): a port that answers nothing; heard() is whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)

        def heard():
            try:
                server.accept()
                return True
            except TimeoutError:
                return False
        yield server.getsockname()[1], heard


@pytest.fixture
def build(telegram, desk, make_relay):
    """build(media={...}) starts a relay with an open source "site" and a bot, to a signed-webhook desk."""
    def make(environment=None, wrapper=None, wait="20s", **more):
        relay = make_relay([account("acme", desk.config(), [webhook_source("site"), telegram.config(secret=SECRET)], order="conversation")],
                           public_url=PUBLIC, media={"wait": wait}, **more)
        relay.environment = environment or {}
        relay.wrapper = wrapper or []
        relay.start()
        telegram.wait_registered()
        return relay
    return make


def attachments_of(desk, key, count=None):
    """The attachments of the message with that key, once it is delivered."""
    find = lambda: [r.notes["body"]["attachments"] for r in desk.posts() if r.notes["key"] == key and r.status == 200]
    return wait_for(find, f"{key} is delivered")[0]


def everything(relay):
    """All that the relay wrote and says: log, files beside the store, answers of its API, command line."""
    found = {"log": "\n".join(relay.lines).encode()}
    for folder, _, names in os.walk(relay.directory):
        for name in names:
            if name.startswith("tributary.db"):
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = file.read()
    for path in ("/api/v1/status", "/api/v1/messages?limit=1000", "/api/v1/accounts", "/metrics"):
        found[path] = relay.api("GET", path).body
    for message in relay.messages():
        path = f"/api/v1/messages/{message['id']}"
        found[path] = relay.api("GET", path).body
    found["why"] = relay.cli("why", "--socket", relay.socket, "acme").stdout.encode()
    return found


INSIDE = ["http://127.0.0.1:{port}/", "http://0x7f.1:{port}/", "http://2130706433:{port}/", "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://0:{port}/",
          "http://[::ffff:127.0.0.1]:{port}/", "http://[::127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/", "http://[::1]:{port}/",
          "http://localhost:{port}/", "http://LOCALHOST.:{port}/", "http://127.0.0.1.:{port}/", "http://\uff11\uff12\uff17.0.0.1:{port}/", "http://169.254.169.254/latest/meta-data/",
          "http://user:secret@127.0.0.1:{port}/", "http://127.0.0.1:{port}#@example.com/", "http://127.0.0.1:{port}\\@example.com/", "http://[fe80::1%25lo]:{port}/",
          "http://127.0.0.1:{port}/%0d%0aX: y", "http://127.0.0.1:{port}/\r\nX: y", "https://127.0.0.1:{port}/"]


@pytest.mark.parametrize("proxy", [False, True])
def test_32_addresses_that_lead_inside_are_not_connected_to(build, desk, listener, proxy):
    """Whatever they are written as, and whatever proxy the environment names, which would have connected for us."""
    port, heard = listener
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
    relay = build({n: f"http://127.0.0.1:{port}" for n in names} if proxy else {}, wait="2s").allow("file_failed")
    source = WebhookSource(relay, "acme", "site")
    urls = [each.format(port=port) for each in INSIDE]
    assert source.post(source.event("l32", "c32", attachments=[{"url": u, "size": 4 << 30} for u in urls])).status == 200
    got = attachments_of(desk, "l32")
    assert [each["url"] for each in got] == urls, "the desk reads what was said"
    for url, each in zip(urls, got):
        host = urllib.parse.urlsplit(url.split("#")[0].split("\\")[0]).netloc
        if each.get("state") == "wanted": # no name server knows it
            assert not host.isascii() or "." == host.partition(":")[0][-1], (url, each)
            continue
        assert each.get("state") == "failed", (url, each)
        assert each["why"] in ("its address is not a public one", "its address is none that can be fetched"), (url, each)
    assert not heard()
    for url in ("file:///etc/passwd", "gopher://x/", "//x/y", "", "javascript:alert(1)", "data:text/html,x"):
        assert source.post(source.event("l32-bad", attachments=[{"url": url}])).status == 400, url


def test_the_token_is_nowhere_whatever_telegram_does_with_it(build, telegram, desk, listener):
    """Telegram's addresses hold it: errors that say them, redirects to others, answers that make no sense."""
    port, heard = listener
    relay = build().allow("file_failed", "alarm", "alarm_end")
    token, coded = telegram.token, urllib.parse.quote(telegram.token)
    say = f"/file/bot{token}/documents/x http://127.0.0.1/bot{coded}/getFile bot{token}"
    wrong = lambda status: Answer(status, {"ok": False, "error_code": status, "description": say})
    away = Answer(302, b"", [("Location", f"http://127.0.0.1:{port}/bot{token}")])
    cases = [("asked_for", [wrong(400)]), ("asked_for", [wrong(401), wrong(400)]), ("asked_for", [wrong(500), wrong(400)]), ("asked_for", [away, wrong(400)]),
             ("asked_for", [Answer(200, say.encode()), wrong(400)]), ("asked_for", [Answer(200, {"ok": True, "result": {"file_path": f"../bot{token}/x"}})]),
             ("asked_for", [Answer(200, {"ok": True, "result": {"file_path": f"/var/bot{token}/x"}})]),
             ("asked_for", [Answer(200, {"ok": True, "result": {"file_path": f"http://127.0.0.1:{port}/{token}"}})]),
             ("fetched", [away, away, away]), ("fetched", [wrong(404), wrong(404)]), ("fetched", [Answer(500, say.encode())]),
             ("fetched", [Raw(f"HTTP/1.1 200 {say}\r\nContent-Length: 5\r\n\r\nab".encode())]), ("fetched", [Raw(say.encode())]), ("fetched", [Drop(True)]),
             ("fetched", [Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nab")])]
    for i, (where, actions) in enumerate(cases):
        update = telegram.document(f"t{i}", b"bytes", chat=100 + i, words="look")
        getattr(telegram, where)[telegram.file_id_of(update)] = actions
        assert telegram.post(relay, "acme", update).status == 200
    for i in range(len(cases)):
        attachments_of(desk, f"t{i}")
    relay.wait_settled()
    assert not heard(), "a redirect of Telegram's was followed"
    secret = token.split(":")[1]
    for place, content in everything(relay).items():
        if not place.endswith((".db", "-wal", ".log")):
            assert secret.encode() not in content, place
    for name in ("last_error", "attachments", "text", "desk_ref"):
        assert relay.query(f"SELECT count(*) FROM messages WHERE {name} LIKE ?", f"%{secret}%") == [(0,)], name
    assert relay.query("SELECT count(*) FROM files WHERE attachment LIKE ?", f"%{secret}%") == [(0,)]
    assert relay.query("SELECT count(*) FROM attempts WHERE error LIKE ?", f"%{secret}%") == [(0,)]
    for request in desk.posts():
        assert secret.encode() not in request.body


HOSTILE_NAMES = ['a"b.png', "a\r\nSet-Cookie: x=1\r\n\r\n<script>.png", "..", "../../etc/passwd", "C:\\windows\\a.exe", "\u202egnp.exe", "a\u2028b", "con", "x" * 1000, "\U0001f600.png", "%0d%0a", "';x=\"y", "a;filename=b", ".htaccess"]


def test_what_a_file_is_called_makes_no_header_and_no_page(build, telegram, desk):
    relay = build()
    page = b"<!doctype html><script>alert(1)</script>"
    mimes = ["text/html", "image/svg+xml", "image/png\r\nSet-Cookie: x=1", "image/png; charset=\"x\"", "application/xhtml+xml", "text/xml", "image/png"]
    for i, name in enumerate(HOSTILE_NAMES):
        update = telegram.document(f"n{i}", page + str(i).encode(), name=name, mime=mimes[i % len(mimes)], chat=100 + i, words="look")
        assert telegram.post(relay, "acme", update).status == 200
    for i, name in enumerate(HOSTILE_NAMES):
        file, = attachments_of(desk, f"n{i}")
        assert file["url"].startswith(PUBLIC + "/media/"), file
        answer = call(relay.port, "GET", file["url"][len(PUBLIC):])
        assert (answer.status, answer.body) == (200, page + str(i).encode()), (name, answer)
        assert answer.headers["content-type"] == "application/octet-stream", (name, answer.headers)
        assert answer.headers["content-disposition"].startswith("attachment"), (name, answer.headers)
        assert (answer.headers["x-content-type-options"], answer.headers["content-security-policy"]) == ("nosniff", "sandbox; default-src 'none'")
        assert "set-cookie" not in answer.headers
        head = answer.headers["content-disposition"]
        plain = re.fullmatch(r"attachment(?:; filename=\"([^\"\\/]*)\"; filename\*=UTF-8''([A-Za-z0-9%._~!-]*))?", head)
        assert plain, head
        if plain[1]:
            assert not plain[1].startswith(".") and "/" not in urllib.parse.unquote(plain[2]) and "\u202e" not in urllib.parse.unquote(plain[2]), head


def test_links_that_were_changed_open_nothing(build, telegram, desk):
    relay = build()
    update = telegram.photo("p", b"\x89PNG\r\n\x1a\n" + bytes(1000), words="look")
    assert telegram.post(relay, "acme", update).status == 200
    file, = attachments_of(desk, "p")
    link = file["url"][len(PUBLIC):]
    digits = link.split("/media/")[1][:64]
    parts = urllib.parse.urlsplit(link)
    query = dict(urllib.parse.parse_qsl(parts.query))
    again = lambda **changes: parts.path + "?" + urllib.parse.urlencode({**query, **changes})
    assert call(relay.port, "GET", link).status == 200
    other = "0" * 64
    for target, status in ((again(exp=int(query["exp"]) + 1), 403), (again(exp="9" * 30), 403), (again(exp="-1"), 403), (again(exp=""), 403), (again(exp=" " + query["exp"]), 403),
                           (again(sig=query["sig"].upper() if query["sig"] != query["sig"].upper() else "0" * 64), 403), (again(sig=query["sig"][:-1]), 403), (again(sig=""), 403), (again(sig=query["sig"] + "0"), 403),
                           (again(name="x.html"), 403), (again(mime="text/html"), 403), (link + "&name=x.html", 403), (link + "&exp=99999999999", 403), (link + "&sig=" + "0" * 64, 403),
                           (link.replace(digits, other), 403), (link.replace(digits, digits.upper()), 404), (f"/media/..%2f{digits[6:]}?{parts.query}", 404), (f"/media/{digits}/../{digits}?{parts.query}", 404),
                           (f"//media/{digits}?{parts.query}", 404), (parts.path, 403), ("/media/", 404), ("/media/" + digits[:63], 404), (f"/media/{digits[:63]}%00?{parts.query}", 404)):
        assert call(relay.port, "GET", target).status == status, target
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert call(relay.port, method, link).status == 405, method
    head = call(relay.port, "HEAD", link)
    assert (head.status, head.headers["content-length"], head.body) == (200, "1008", b"")


def test_ranges_out_of_all_reason(build, telegram, desk):
    relay = build()
    data = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
    assert telegram.post(relay, "acme", telegram.photo("r", data, words="look")).status == 200
    file, = attachments_of(desk, "r")
    link = file["url"][len(PUBLIC):]
    n, top = len(data), 2 ** 63 - 1
    whole = ["bytes=0-0,1-1", "bytes=" + ",".join("0-" for _ in range(1000)), "bytes=5-2", f"bytes={top + 1}-", f"bytes=0-{10 ** 40}", "bytes=-", "bytes=a-b", "bytes=--5", "bytes=+1-2", "lines=0-1", "bytes", "", "bytes=0-1;q", "bytes=0x0-1"]
    for range_ in whole:
        answer = call(relay.port, "GET", link, headers={"Range": range_})
        assert (answer.status, answer.body) == (200, data), range_
    for range_, expected in ((f"bytes=0-{top}", data), ("bytes=1-1", data[1:2]), (f"bytes=-{top}", data), ("bytes=-1", data[-1:]), (f"bytes={n - 1}-", data[-1:])):
        answer = call(relay.port, "GET", link, headers={"Range": range_})
        assert (answer.status, answer.body) == (206, expected), range_
    for range_ in (f"bytes={top}-{top}", f"bytes={n}-", "bytes=-0"):
        assert call(relay.port, "GET", link, headers={"Range": range_}).status == 416, range_
    both = call(relay.port, "HEAD", link, headers={"Range": "bytes=1-5"})
    assert both.body == b"" and both.status in (200, 206)


def test_so_many_downloads_by_clients_that_do_not_read_and_webhooks_are_answered(build, telegram, desk):
    """And the file is removed meanwhile, and they hang up in the middle."""
    relay = build().allow("media_unreadable")
    data = b"\x89PNG\r\n\x1a\n" + os.urandom(15 << 20)
    assert telegram.post(relay, "acme", telegram.document("big", data, words="look", mime="image/png")).status == 200
    file, = attachments_of(desk, "big")
    link = file["url"][len(PUBLIC):]
    slow = [RawConnection(relay.port) for _ in range(80)]
    for i, each in enumerate(slow):
        each.send(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert each.sock.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
    source = WebhookSource(relay, "acme", "site")
    began = time.monotonic()
    for i in range(50):
        assert source.post(source.event(f"w{i}", "cw")).status == 200
    assert time.monotonic() - began < 5 * SLOW
    assert call(relay.port, "GET", link).status == 503
    for each in slow[:40]:
        each.sock.close()
    digits = link.split("/media/")[1][:64]
    os.remove(os.path.join(relay.database + ".files", digits[:2], digits))
    for each in slow[40:]:
        each.sock.settimeout(PATIENCE_S)
        try:
            while each.sock.recv(1 << 20):
                pass
        except OSError:
            pass  # reset: it is not whole
        each.sock.close()
    wait_for(lambda: call(relay.port, "GET", link).status == 404, "the places are free again")
    relay.wait_settled()


def test_a_directory_of_files_that_is_tampered_with(build, telegram, desk, tmp_path):
    relay = build(wait="1s").allow("alarm", "alarm_end", "media_unreadable", "file_not_removed", "files_unread")
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0")
    assert telegram.post(relay, "acme", telegram.document("a", b"one file", words="look")).status == 200
    link = attachments_of(desk, "a")[0]["url"][len(PUBLIC):]
    digits = link.split("/media/")[1][:64]
    folder = os.path.join(relay.database + ".files", digits[:2])
    path = os.path.join(folder, digits)
    assert (os.stat(relay.database + ".files").st_mode & 0o777, os.stat(path).st_mode & 0o777) == (0o700, 0o600)
    os.rename(path, path + ".kept")
    os.symlink(secret, path)
    assert call(relay.port, "GET", link).status == 404, "a link is not followed"
    os.remove(path)
    os.mkdir(path)
    assert call(relay.port, "GET", link).status == 404
    os.rmdir(path)
    os.mkfifo(path)
    assert call(relay.port, "GET", link).status == 404
    os.remove(path)
    os.rename(path + ".kept", path)
    assert call(relay.port, "GET", link).body == b"one file"
    os.rename(folder, folder + "x")
    os.symlink(folder + "x", folder)
    assert call(relay.port, "GET", link).status == 404
    os.remove(folder)
    os.rename(folder + "x", folder)
    # Nothing can be written: text goes on, and the file comes when that is over.
    new = os.path.join(relay.database + ".files", "new")
    os.rmdir(new)
    open(new, "w").close()
    assert telegram.post(relay, "acme", telegram.document("b", b"another", chat=78, words="look")).status == 200
    wait_for(lambda: [a for a in relay.status()["alarms"] if a["name"] == "files_full"], "the alarm")
    os.remove(new)
    assert attachments_of(desk, "b")[0].get("state") == "wanted"
    wait_for(lambda: [r for r in desk.posts() if any(f["size"] == 7 and "/media/" in (f["url"] or "") for f in r.notes["body"]["attachments"])], "the file", 45 * SLOW)
    assert not [a for a in relay.status()["alarms"] if a["name"] == "files_full"]
    # All of it was removed: what was kept is lost, and the next is kept.
    shutil.rmtree(relay.database + ".files")
    assert call(relay.port, "GET", link).status == 404
    assert telegram.post(relay, "acme", telegram.document("c", b"the third", chat=79, words="look")).status == 200
    assert call(relay.port, "GET", attachments_of(desk, "c")[0]["url"][len(PUBLIC):]).body == b"the third"


def test_a_limit_on_the_size_of_files_ends_nothing(build, telegram, desk):
    """ulimit -f: what is larger cannot be written, and that stops neither the relay nor smaller ones."""
    relay = build(wrapper=["prlimit", f"--fsize={17 << 20}", "--"], wait="1s").allow("file_failed")
    for i in range(5):
        assert telegram.post(relay, "acme", telegram.document(f"big{i}", b"x" * (18 << 20), chat=10, words="look")).status == 200
    assert telegram.post(relay, "acme", telegram.document("small", b"small", chat=11, words="look")).status == 200
    wait_for(lambda: [r for r in desk.posts() if any(f["size"] == 5 and "/media/" in (f["url"] or "") for f in r.notes["body"]["attachments"])], "the small one")
    wait_for(lambda: sum(f.get("why") == "it is larger than a file may be where the relay keeps them" for r in desk.posts() for f in r.notes["body"]["attachments"]) == 5, "the large ones are told of")


def test_the_alarm_of_a_bound_ends_with_its_account(make_relay, desk):
    relay = make_relay([], quota={"waiting": 1}).allow("alarm", "alarm_end", "desk_suspended", "desk_resumed").start()
    assert relay.api("POST", "/api/v1/accounts", account("acme", desk.config())).status == 201
    source = WebhookSource(relay, "acme")
    desk.refuse()
    assert source.post(source.event("q1", "c")).status == 200
    assert source.post(source.event("q2", "c")).status == 503
    alarms = lambda: [(a["name"], a["subject"]) for a in relay.status()["alarms"] if a["name"].startswith("quota")]
    assert alarms() == [("quota_waiting", "acme")]
    relay.set_active("acme", False)
    answer = relay.api("DELETE", "/api/v1/accounts/acme?discard=true")
    assert answer.status == 200, answer
    assert not alarms()
