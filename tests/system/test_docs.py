"""docs/operations.md, section by section, on a running relay: every command works as it stands there. Commands in other pages exist."""
import glob
import os
import re
import shlex
import signal
import subprocess

import pytest

from harness.client import WebhookSource
from harness.common import wait_for
from harness.relay import BINARY, account, prefix, webhook_source
from harness.scripted import Answer

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def page(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def commands(text):
    """The lines of its ```sh blocks, without what is said of them behind two blanks and a #."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    lines = [re.sub(r"  +#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def sections():
    parts = re.split(r"^## ", page("docs/operations.md"), flags=re.M)[1:]
    return [(part.split("\n", 1)[0], commands(part)) for part in parts if commands(part)]


@pytest.fixture
def scene(make_relay, make_desk):
    """An account with two delivered messages and two that its desk refused, which takes everything now."""
    desk = make_desk()
    relay = make_relay([account("acme", desk.config(), [webhook_source("hook")])]).allow("message_skipped", "account_.*", "desk_.*").start()
    source = WebhookSource(relay, "acme")
    desk.script = lambda request: Answer(400) if b"refused" in request.body else None
    for i, text in enumerate(("one", "refused", "two", "refused too")):
        source.send(f"k{i}", conversation="c1", text=text)
    relay.wait_settled()
    desk.script = None
    for name in ("hook.secret", "desk.secret"):
        with open(os.open(os.path.join(relay.directory, name), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(SECRET + "\n")
    relay.places = {"MESSAGE": str(relay.messages(state="skipped")[0]["id"]), "URL": desk.config()["url"]}
    return relay


def follow(relay, words):
    """A command that goes on until it is told to end: it shows something, and ends well."""
    process = subprocess.Popen(prefix() + [BINARY, *words], cwd=relay.directory, stdout=subprocess.PIPE, text=True)
    source = WebhookSource(relay, "acme")
    numbers = iter(range(1000))
    try:
        lines = []
        wait_for(lambda: source.send(f"follow{next(numbers)}", conversation="c1", text="see") and select_line(process, lines), "a line of --follow")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "c1" in lines[0]


def select_line(process, lines):
    import select
    if select.select([process.stdout], [], [], 0.2)[0]:
        lines.append(process.stdout.readline())
    return lines


@pytest.mark.parametrize("title, lines", sections(), ids=[title for title, _ in sections()])
def test_every_command_of_the_operations_page_works(scene, title, lines):
    for line in lines:
        words = [scene.places.get(word, word) for word in shlex.split(line)]
        assert words[0] == "tributary", line
        if "--follow" in words:
            follow(scene, words[1:])
        else:
            done = scene.cli(*words[1:])
            assert done.stdout.strip() or words[1] in ("reload", "check"), f"{line} says nothing"


def mentioned():
    """`tributary WORDS` in any page, in code."""
    found = {}
    for path in ["README.md", *glob.glob("docs/**/*.md", root_dir=ROOT, recursive=True)]:
        path = path if path == "README.md" else os.path.join("docs", os.path.relpath(path, "docs"))
        text = page(path)
        code = re.findall(r"`(tributary [^`\n]+)`", text) + re.findall(r"^ *(?:build/)?(tributary [a-z].*)$", text, re.M)
        for line in code:
            found.setdefault(re.sub(r"(  +|#).*", "", line).strip(), path)
    return found


def test_commands_that_the_pages_name_exist():
    help_text = subprocess.run(prefix() + [BINARY, "help"], capture_output=True, text=True, check=True).stdout
    known = {"help", *re.findall(r"^  ((?:[a-z]+ )?[a-z]+)\b", help_text, re.M)}
    lines = mentioned()
    assert len(lines) > 30
    for line, path in lines.items():
        words = line.split()[1:3]
        if re.fullmatch(r"[a-z]+", words[0]):
            assert known & {" ".join(words), words[0]} or any(name.split()[0] == words[0] for name in known if "|" in line), f"{path}: {line}"


def test_every_alarm_is_explained(scene):
    """The metric has one line for each alarm there is."""
    text = scene.api("GET", "/metrics").body.decode()
    names = set(re.findall(r'tributary_alarm\{name="([a-z_]+)"', text))
    assert len(names) > 8
    assert names == set(re.findall(r"^\| `([a-z_]+)` \|", page("docs/operations.md").split("## Alarms")[1].split("## ")[0], re.M))
