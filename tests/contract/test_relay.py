"""The real relay between the two stand-ins, with every request, answer and update held to the official descriptions: polling and
webhook, and with answers of the desk lost, so that look-ups are held to them too."""
import os
import signal
import socket
import subprocess
import time

import pytest

from intercom_contract import IntercomContract
from sandbox_process import ROOT, Sandbox
from telegram_contract import TelegramContract

BIN = os.environ.get("TRIBUTARY_BIN", os.path.join(ROOT, "build", "tributary"))
TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(directory, mode, telegram, intercom):
    port = free_port()
    return f"""
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:0", token: contract-test-token-0123456789}}
store: sqlite:{directory}/relay.db
{f'public_url: http://127.0.0.1:{port}' if mode == 'webhook' else ''}
delivery: {{settle: 200ms, retry_base: 50ms}}
accounts:
  - name: acme
    order: conversation
    sources: [{{name: bot, platform: telegram, mode: {mode}, token: "{TOKEN}", api_url: "{telegram}"}}]
    desk: {{platform: intercom, token: desk-token, api_url: "{intercom}"}}
"""


class Relay:
    def __init__(self, directory, text):
        self.log_path = os.path.join(directory, "relay.log")
        path = os.path.join(directory, "tributary.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen([BIN, "serve", "-c", path], stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=40)
        self.log.close()
        if exc[0] is None:
            assert status == 0, status


def applied(sandbox):
    said = {}
    for entry in sandbox.journal(sandbox.intercom):
        if entry["kind"] in ("conversation", "reply"):
            said.setdefault(int(entry["external_id"].rpartition(":")[2]), []).append(entry["body"])
    return said


def wait_until_all_applied(sandbox, count, relay, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while sandbox.control(sandbox.intercom, "GET", "status")["applied"] < count:
        assert relay.process.poll() is None, "the relay ended"
        assert time.monotonic() < deadline, (count, applied(sandbox))
        time.sleep(0.02)  # asks over HTTP for an event that has no other sign


@pytest.mark.parametrize("mode", ["polling", "webhook"])
def test_what_the_relay_asks_is_what_the_descriptions_allow(tmp_path, mode):
    with Sandbox("--bot", TOKEN) as sandbox:
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, mode, platform.url, desk.url)) as relay:
                said = [{"customer": i % 7 + 1, "text": f"{i} <b> & \u00fc\u4e2d\U0001F600"} for i in range(70)]
                sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": said})
                wait_until_all_applied(sandbox, 70, relay)
            expected = {}
            for each in said:
                expected.setdefault(each["customer"], []).append(each["text"])
            assert applied(sandbox) == expected
            desk.check()
            platform.check()
            # Steady state is one call a message: beside the messages there are only the contacts' look-up and creation.
            assert len(desk.requests) <= 70 + 7 * 2 + 2


def wait_until_answered(sandbox, count, relay, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while True:
        presses = [each["answered"] for each in sandbox.journal(sandbox.telegram) if each["kind"] == "callback_query"]
        if sum(presses) == count:
            return
        assert relay.process.poll() is None and time.monotonic() < deadline, presses
        time.sleep(0.02)  # asks over HTTP for an event that has no other sign


@pytest.mark.parametrize("mode", ["polling", "webhook"])
def test_buttons_that_were_pressed_are_answered(tmp_path, mode):
    """In the webhook's answer, or by a call of our own after a polled batch is stored; and each is a message at the desk."""
    with Sandbox("--bot", TOKEN) as sandbox:
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, mode, platform.url, desk.url)) as relay:
                for i in range(5):
                    sandbox.control(sandbox.telegram, "POST", "telegram/press",
                                    {"token": TOKEN, "customer": 9, "label": f"Refund \u00fc{i}", "data": f"r:{i}"})
                wait_until_all_applied(sandbox, 5, relay)
                wait_until_answered(sandbox, 5, relay)
            assert applied(sandbox) == {9: [f"(pressed a button: Refund \u00fc{i} [r:{i}])" for i in range(5)]}
            desk.check()
            platform.check()
            own = [name for name, _ in platform.requests if name == "answerCallbackQuery"]
            assert len(own) == (5 if mode == "polling" else 0)
            calls = [each for each in sandbox.control(sandbox.telegram, "GET", "journal?of=requests&limit=1000")["items"]
                     if each["target"].endswith("/answerCallbackQuery")]
            assert [each["status"] for each in calls] == [200] * 5


@pytest.mark.parametrize("path", ["POST /conversations", "POST /conversations/*/reply", "POST /contacts"])
def test_look_ups_after_lost_answers_too(tmp_path, path):
    with Sandbox("--bot", TOKEN) as sandbox:
        sandbox.fault(sandbox.intercom, fault="drop_after", path=path, count=1)
        with IntercomContract(sandbox.intercom) as desk, TelegramContract(sandbox.telegram) as platform:
            with Relay(str(tmp_path), config(tmp_path, "polling", platform.url, desk.url)) as relay:
                sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": [
                    {"customer": 5, "text": text} for text in ("one", "two", "three")]})
                wait_until_all_applied(sandbox, 3, relay)
            assert applied(sandbox) == {5: ["one", "two", "three"]}
            desk.check()
            platform.check()
        [fault] = sandbox.control(sandbox.intercom, "GET", "faults")["faults"]
        assert fault["hits"] == 1
