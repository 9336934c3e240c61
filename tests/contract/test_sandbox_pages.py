"""The two pages: what they are made of, what they ask for, how quickly they hear of a change, and that texts stay texts."""
import glob
import http.client
import os
import re
import time
import urllib.parse

import pytest

from sandbox_process import ROOT, Sandbox, http_call

WEB = os.path.join(ROOT, "sandbox", "web")
TOKEN = "123456:abc"


def read(name):
    with open(os.path.join(WEB, name), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("door, page, says", [("telegram", "chat.html", "A stand-in of Telegram"),
                                              ("intercom", "inbox.html", "A stand-in of Intercom")])
def test_page_says_what_it_is_and_needs_nothing_from_elsewhere(sandbox, door, page, says):
    answer = http_call(sandbox.ready[door], "GET", "/")
    text = answer.body.decode()
    assert answer.status == 200 and text == read(page) and says in text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    for address in re.findall(r'(?:src|href)="([^"#]+)"', text):
        assert http_call(sandbox.ready[door], "GET", address).status == 200, address
    assert http_call(sandbox.ready[door], "GET", "/web/../main.c").status in (400, 404)
    assert http_call(sandbox.ready[door], "GET", "/web/none.js").status == 404


def test_scripts_make_text_nodes_only():
    for path in glob.glob(WEB + "/*.js"):
        code = read(os.path.basename(path))
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setTimeout(\"", "javascript:"):
            assert way not in code, f"{path}: {way}"
    for path in glob.glob(WEB + "/*"):
        outside = [each for each in re.findall(r"https?://[^\s\"')]+", read(os.path.basename(path))) if "www.w3.org" not in each]
        assert not outside, f"{path}: {outside}"
    for name in ("chat.html", "inbox.html"):
        assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*src=)", read(name))


class Stream:
    """The live stream of a door."""

    def __init__(self, base):
        parts = urllib.parse.urlsplit(base)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        self.connection.request("GET", "/sandbox/live")
        self.answer = self.connection.getresponse()
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def change(self):
        while not self.answer.readline().startswith(b"event: change"):
            pass
        return time.monotonic()


def test_pages_hear_of_a_change_at_once(sandbox):
    stream = Stream(sandbox.telegram)
    sandbox.say("first", 5, TOKEN)
    stream.change()
    began = time.monotonic()
    sandbox.say("second", 5)
    assert stream.change() - began < 0.3
    state = sandbox.control(sandbox.telegram, "GET", "chat?chat=5")
    assert [each["text"] for each in state["messages"]] == ["first", "second"]


def test_many_listeners_have_a_bound(sandbox):
    streams = [Stream(sandbox.intercom) for _ in range(64)]
    assert http_call(sandbox.intercom, "GET", "/sandbox/live").status == 503
    streams.pop().connection.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            Stream(sandbox.intercom)
            break
        except AssertionError:
            assert time.monotonic() < deadline


def test_lists_are_bounded(sandbox):
    for start in range(0, 1000, 500):
        sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": [
            {"customer": start + i + 1, "text": f"m{i}"} for i in range(500)]})
    sandbox.control(sandbox.telegram, "POST", "telegram/say", {"say": [{"customer": 7, "text": str(i)} for i in range(500)]})
    state = sandbox.control(sandbox.telegram, "GET", "chat?chat=7")
    assert len(state["chats"]) == 200 and state["chats"][0]["id"] == "7" and state["bots"][0]["chats"] == 1000
    assert [each["text"] for each in state["messages"]] == [str(i) for i in range(300, 500)]


def test_ticks(sandbox):
    made = sandbox.say("x", 5, TOKEN)

    def state():
        return sandbox.control(sandbox.telegram, "GET", "chat?chat=5")["messages"][0]["state"]

    assert state() == "waiting"
    http_call(sandbox.telegram, "GET", f"/bot{TOKEN}/getUpdates")
    assert state() == "waiting"
    http_call(sandbox.telegram, "GET", f"/bot{TOKEN}/getUpdates?offset={made['update_id'] + 1}")
    assert state() == "confirmed"


@pytest.mark.release_only
def test_in_a_browser(tmp_path):
    """Typed as a customer, read as text; needs Debian's chromium-driver and python3-selenium."""
    selenium = pytest.importorskip("selenium.webdriver", reason="no selenium: the pages were not tried in a browser")
    if not os.path.exists("/usr/bin/chromedriver"):
        pytest.skip("no chromedriver: the pages were not tried in a browser")
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    options = selenium.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    text = '<img src=x onerror="document.title=1"> & <b>'
    with Sandbox("--bot", TOKEN) as sandbox:
        browser = selenium.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            wait = WebDriverWait(browser, 20)
            browser.get(sandbox.telegram)
            wait.until(lambda b: b.find_element("id", "send").is_enabled())
            browser.find_element("id", "text").send_keys(text + "\n")
            wait.until(lambda b: [each.text for each in b.find_elements("css selector", "#thread .body")] == [text])
            assert browser.title.startswith("Chat")
            [entry] = sandbox.journal(sandbox.telegram)
            assert entry["text"] == text
        finally:
            browser.quit()
