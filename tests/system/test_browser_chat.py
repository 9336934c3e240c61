"""A customer and an agent chat through the relay, each in a tab of a real browser: the sandbox's two pages, with the daemon between."""
import os
import struct
import sys
import zlib

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select

from harness.common import wait_for
from harness.relay import account

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "contract"))
from sandbox_process import Sandbox               # noqa: E402

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
CLIENT_SECRET = "client-secret-of-the-browser-test"

pytestmark = pytest.mark.release_only


@pytest.fixture
def sandbox():
    with Sandbox("--bot", TOKEN) as running:
        yield running


@pytest.fixture
def relay(make_relay, sandbox):
    """As script/server joins the two, but that the relay is asked for its webhook (HEAD, then a ping) as a real desk does."""
    source = {"name": "bot", "platform": "telegram", "token": TOKEN, "api_url": sandbox.telegram}
    desk = {"platform": "intercom", "token": "workspace-token", "client_secret": CLIENT_SECRET, "api_url": sandbox.intercom}
    return make_relay([account("acme", desk, [source], order="conversation")]).start()


@pytest.fixture
def told(sandbox, relay):
    """The stand-in of the desk tells the relay of what agents do."""
    sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": f"http://127.0.0.1:{relay.port}/desks/acme", "client_secret": CLIENT_SECRET})


class Page:
    """One of the two pages, in a tab of its own."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.switch_to.new_window("tab")
        browser.get(url)
        self.tab = browser.current_window_handle

    def front(self):
        self.browser.switch_to.window(self.tab)
        return self.browser

    def lines(self, kind=".bubble .body"):
        """The texts of the thread, read in one go: the page may be at work on it."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        return self.front().execute_script(script, f"#thread {kind}")

    def shows(self, *texts, kind=".bubble .body"):
        wait_for(lambda: self.lines(kind) == list(texts), f"{self.browser.title}: {texts}, not {self.lines(kind)}")

    def write(self, text):
        box = self.front().find_element("id", "text")
        wait_for(box.is_displayed, "a place to write")
        box.send_keys(text + "\n")


class Chat(Page):
    def __init__(self, browser, sandbox):
        super().__init__(browser, sandbox.telegram)
        wait_for(browser.find_element("id", "send").is_enabled, "a bot to write to")


class Inbox(Page):
    def __init__(self, browser, sandbox):
        super().__init__(browser, sandbox.intercom)

    def open_first(self):
        wait_for(lambda: self.front().find_elements("css selector", "#rows .row"), "a conversation in the inbox")
        self.browser.find_element("css selector", "#rows .row").click()

    def answer(self, text, how="reply"):
        Select(self.front().find_element("id", "how")).select_by_value(how)
        self.write(text)


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield browser
    browser.quit()


def test_what_a_customer_writes_is_in_the_inbox(browser, sandbox, relay):
    chat, inbox = Chat(browser, sandbox), Inbox(browser, sandbox)
    chat.write("Hello, is anyone there?")
    inbox.open_first()
    inbox.shows("Hello, is anyone there?")
    chat.write("My parcel <b>has not</b> arrived")
    inbox.shows("Hello, is anyone there?", "My parcel <b>has not</b> arrived")
    chat.shows("✓✓", "✓✓", kind=".tick")


def test_customer_and_agent_chat_both_ways(browser, sandbox, relay, told):
    chat, inbox = Chat(browser, sandbox), Inbox(browser, sandbox)
    said = []
    for turn in ("first", "second"):
        said.append(f"{turn} question")
        chat.write(said[-1])
        if turn == "first":
            inbox.open_first()
        inbox.shows(*said)
        for number in range(3):
            said.append(f"{turn} answer, part {number} <&>")
            inbox.answer(said[-1])
            inbox.shows(*said)
        chat.shows(*said)
    inbox.answer("between agents", "note")
    inbox.answer("Good bye", "close")
    inbox.shows(*said, "between agents", "Good bye")
    chat.shows(*said, "Good bye")
    chat.write("Thank you")
    inbox.shows(*said, "between agents", "Good bye", "Thank you")
    assert sandbox.journal(sandbox.intercom, "notes")[0]["text"] == "between agents"
    wait_for(lambda: relay.status()["pending"] == 0, "everything delivered")
    assert [each["text"] for each in sandbox.journal(sandbox.telegram, "sent")] == [text for text in said if "answer" in text] + ["Good bye"]
    assert len(sandbox.journal(sandbox.intercom, "notes")) == 1, "success is silent"


def test_an_agent_hears_that_the_customer_blocked_the_bot(browser, sandbox, relay, told):
    chat, inbox = Chat(browser, sandbox), Inbox(browser, sandbox)
    relay.allow("message_skipped")
    chat.write("Leave me alone")
    inbox.open_first()
    inbox.shows("Leave me alone")
    chat.front().find_element("id", "block").click()
    wait_for(lambda: chat.front().find_element("id", "block").text == "Let the bot in", "the bot blocked")
    wait_for(lambda: len(inbox.lines()) == 2, "a line that says so")
    inbox.answer("One last thing")
    wait_for(lambda: inbox.lines(".note .body"), "a note to the agent")
    [note] = inbox.lines(".note .body")
    assert "blocked" in note
    assert inbox.lines(".bubble .body")[-2:] == ["One last thing", note], "in its place in the order"
    assert "Robin Relay" in inbox.lines(".note .author")[0]
    chat.shows("Leave me alone")


def picture(path, width=64, height=48):
    """A PNG that a browser can show."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def shown_pictures(page):
    """The width of each picture in the thread, as the browser has it; 0: it has come to nothing."""
    return page.front().execute_script("return [...document.querySelectorAll('#thread .file img')].map((each) => each.complete ? each.naturalWidth : -1)")


def test_pictures_go_both_ways(browser, sandbox, relay, told, tmp_path):
    chat, inbox = Chat(browser, sandbox), Inbox(browser, sandbox)
    chat.write("Hello")
    inbox.open_first()
    inbox.shows("Hello")
    for page, other, name, width, words in ((chat, inbox, "theirs.png", 64, "This is broken"), (inbox, chat, "ours.png", 32, "This is a new one")):
        page.front().find_element("id", "files").send_keys(str(picture(tmp_path / name, width)))
        wait_for(lambda: page.front().find_element("id", "chosen").text.startswith(name), "the picture chosen")
        page.write(words)
        for each in (page, other):
            wait_for(lambda: shown_pictures(each) and shown_pictures(each)[-1] == width, f"{name} shown in {each.browser.title}: {shown_pictures(each)}")
    assert shown_pictures(chat) == shown_pictures(inbox) == [64, 32]
    chat.shows("Hello", "This is broken", "This is a new one", "")
    # What is taken back at the desk is gone from the chat.
    inbox.front().find_elements("css selector", "#thread [aria-label='Take this message back']")[-1].click()
    wait_for(lambda: shown_pictures(chat) == [64], "the agent's picture gone")
    chat.shows("Hello", "This is broken")


def test_the_inbox_shows_the_customers_picture(browser, sandbox, relay):
    relay.stop()
    relay.config["public_url"] = f"http://127.0.0.1:{relay.port}"
    relay.config["accounts"][0]["sources"][0]["mode"] = "polling"
    relay.write_config()
    relay.start()
    chat, inbox = Chat(browser, sandbox), Inbox(browser, sandbox)
    chat.write("Hello")
    inbox.open_first()
    faces = lambda: inbox.front().execute_script("return [...document.querySelectorAll('#rows .face img')].map((each) => each.complete ? each.naturalWidth : -1)")
    wait_for(lambda: faces() == [320], f"the picture in the inbox: {faces()}")
