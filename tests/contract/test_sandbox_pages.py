"""The two pages: what they are made of, what they ask for, how quickly they hear of a change, and that texts stay texts."""
import glob
import http.client
import os
import re
import time
import urllib.parse

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select, WebDriverWait

from sandbox_process import ROOT, http_call

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


# ---- in a browser (Debian's chromium-driver and python3-selenium)

@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield browser
    complaints = [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    browser.quit()
    assert not complaints


def wait_for(browser, what):
    return WebDriverWait(browser, 20).until(lambda _: what())


def lines(browser, kind=""):
    """The texts of the thread, read in one go: the page may be at work on it."""
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", f"#thread {kind}")


@pytest.mark.release_only
def test_typed_as_a_customer(sandbox, browser):
    text = '<img src=x onerror="document.title=1"> & <b>'
    http_call(sandbox.telegram, "GET", f"/bot{TOKEN}/getMe")
    browser.get(sandbox.telegram)
    wait_for(browser, lambda: browser.find_element("id", "send").is_enabled())
    browser.find_element("id", "text").send_keys(text + "\n")
    wait_for(browser, lambda: lines(browser, ".body") == [text])
    assert browser.title.startswith("Chat")
    [entry] = sandbox.journal(sandbox.telegram)
    assert entry["text"] == text


@pytest.mark.release_only
def test_a_bots_text_with_its_formatting(sandbox, browser):
    sandbox.say("hello", 5, TOKEN)
    browser.get(sandbox.telegram + "/#5")
    text = "\U0001F600 bold and italic, <b>, a link"
    entities = [{"type": "bold", "offset": 3, "length": 15}, {"type": "italic", "offset": 12, "length": 6},
                {"type": "text_link", "offset": 27, "length": 4, "url": "https://example.com/x"}, {"type": "code", "offset": 20, "length": 3}]
    assert http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": text, "entities": entities}).status == 200
    bad = [{"type": "text_link", "offset": 0, "length": 4, "url": "javascript:alert(1)"}]
    assert http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": "evil", "entities": bad}).status == 200
    wait_for(browser, lambda: lines(browser, ".body") == ["hello", text, "evil"])
    found = {tag: lines(browser, tag) for tag in ("strong", "strong em", "code", "a")}
    assert found == {"strong": ["bold and italic"], "strong em": ["italic"], "code": ["<b>"], "a": ["link", "evil"]}
    assert [each.get_attribute("href") for each in browser.find_elements("css selector", "#thread a")] == ["https://example.com/x", None]


@pytest.mark.release_only
def test_the_bot_blocked_by_a_button(sandbox, browser):
    sandbox.say("hello", 5, TOKEN)
    browser.get(sandbox.telegram + "/#5")
    button = browser.find_element("id", "block")
    for says, status in (("Block the bot", 403), ("Let the bot in", 200)):
        wait_for(browser, lambda: button.text == says)
        button.click()
        wait_for(browser, lambda: button.text not in (says, ""))
        assert http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": "x"}).status == status


@pytest.mark.release_only
def test_an_agents_ways_to_answer(sandbox, browser):
    headers = {"Authorization": "Bearer token", "Accept": "application/json"}
    ada = http_call(sandbox.intercom, "POST", "/contacts", {"role": "user", "external_id": "x:1", "name": "Ada"}, headers).json()
    browser.get(sandbox.intercom)
    wait_for(browser, lambda: browser.find_element("id", "new").is_displayed())
    browser.find_element("id", "new").click()
    wait_for(browser, lambda: browser.find_element("id", "text").is_displayed())
    browser.find_element("id", "text").send_keys("You left <b>your</b> umbrella\n")
    wait_for(browser, lambda: lines(browser, ".body") == ["You left <b>your</b> umbrella"])
    for count, (how, text) in enumerate((("reply", "one"), ("note", "two"), ("assign", "three"), ("bot", "four"), ("close", "five")), 2):
        Select(browser.find_element("id", "how")).select_by_value(how)
        browser.find_element("id", "text").send_keys(text + "\n")
        wait_for(browser, lambda: len(lines(browser, ".body")) == count)
        wait_for(browser, lambda: browser.find_element("id", "how").get_attribute("value") == "reply")
    assert lines(browser, ".body")[1:] == ["one", "two", "three", "four", "five"] and lines(browser, ".note .body") == ["two"]
    for button, says in (("close", "opened the conversation"), ("snooze", "snoozed the conversation"), ("snooze", "opened the conversation"),
                         ("assign", "assigned the conversation"), ("close", "closed the conversation")):
        done = len(lines(browser, ".event"))
        browser.find_element("id", button).click()
        wait_for(browser, lambda: len(lines(browser, ".event")) == done + 1)
        assert says in lines(browser, ".event")[-1]
    found = http_call(sandbox.intercom, "GET", "/conversations/1001", headers=headers).json()
    assert (found["contacts"]["contacts"][0]["id"], found["state"]) == (ada["id"], "closed")
    assert [(each["part_type"], each["body"], each["author"]["type"]) for each in found["conversation_parts"]["conversation_parts"]] == [
        ("comment", "<p>one</p>", "admin"), ("note", "<p>two</p>", "admin"), ("assignment", "<p>three</p>", "admin"),
        ("comment", "<p>four</p>", "bot"), ("close", "<p>five</p>", "admin"), ("open", None, "admin"), ("snoozed", None, "admin"),
        ("open", None, "admin"), ("assignment", None, "admin"), ("close", None, "admin")]
