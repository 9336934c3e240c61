"""README's "A real bot and a real workspace", done as written, with the sandbox's stand-ins in the place of the two services (api_url).
What the relay asks of them, and what they answer, is held to the official descriptions."""
import os
import re
import subprocess
import sys

import yaml

from harness.common import wait_for
from harness.relay import BINARY

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "contract"))
from intercom_contract import IntercomContract    # noqa: E402
from sandbox_process import Sandbox               # noqa: E402
from telegram_contract import TelegramContract    # noqa: E402

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def readme():
    """The configuration and the lines of tributary.env, as README.md shows them."""
    text = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
    part = text.split("## A real bot and a real workspace")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", part, re.S | re.M)
    config = next(body for kind, body in blocks if kind == "yaml")
    env = next(body for kind, body in blocks if kind == "" and "=" in body and "build/" not in body)
    return config, env


def readme_webhook():
    """What one enters at the desk."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(r"enter `(https://relay\.example\.com/desks/acme)`", file.read()).group(1)


def unindented(block):
    return "\n".join(line[3:] for line in block.splitlines()) + "\n"


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def test_the_configuration_of_the_readme_passes_the_check(tmp_path):
    config, env = readme()
    path = write(tmp_path, "tributary.yaml", unindented(config))
    write(tmp_path, "tributary.env", unindented(env).replace("123456:ABC...", TOKEN))
    done = subprocess.run([BINARY, "check", "-c", path], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bot_token_and_a_workspace_token_are_enough(make_relay):
    accounts = yaml.safe_load(unindented(readme()[0]))["accounts"]
    with Sandbox() as sandbox, TelegramContract(sandbox.telegram) as telegram, IntercomContract(sandbox.intercom) as intercom:
        accounts[0]["sources"][0].update(token=TOKEN, api_url=telegram.url)
        accounts[0]["desk"].update(token="workspace-token", client_secret="app-secret", api_url=intercom.url)
        relay = make_relay(accounts).start()
        for number in range(5):
            sandbox.say(f"hello {number}", customer=1001, token=TOKEN)
            sandbox.say(f"hallo {number}", customer=1002, token=TOKEN)
        wait_for(lambda: relay.status()["delivered"] == 10, "all ten delivered")
        webhook = readme_webhook().replace("https://relay.example.com", f"http://127.0.0.1:{relay.port}")
        sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": webhook, "client_secret": "app-secret"})
        thread = next(i["conversation"] for i in sandbox.journal(sandbox.intercom) if i["kind"] == "conversation")
        sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": thread, "body": "How can I help?"})
        wait_for(lambda: [i["text"] for i in sandbox.journal(sandbox.telegram, "sent")] == ["How can I help?"], "the answer in the chat")
        relay.stop()
        telegram.check()
        intercom.check()
        journal = sandbox.journal(sandbox.intercom)
    bodies = [entry["body"] for entry in journal if entry.get("body")]
    assert [b for b in bodies if b.startswith("hello")] == [f"hello {n}" for n in range(5)]
    assert [b for b in bodies if b.startswith("hallo")] == [f"hallo {n}" for n in range(5)]
    writes = [request for request in intercom.requests if request[0] == "POST" and request[1].startswith("/conversations")]
    assert len(writes) == 10, "one call a message"
