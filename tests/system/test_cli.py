"""The command line against a running relay, and where there is none."""
import json
import os
import re
import subprocess

import pytest

from harness.client import WebhookSource
from harness.common import CANARY, PATIENCE_S, wait_for
from harness.relay import BINARY, account, prefix


def run(*arguments, **more):
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 3 * PATIENCE_S, **more}
    return subprocess.run(prefix() + [BINARY, *arguments], **options)


@pytest.fixture
def relay(make_relay, make_desk):
    relay = make_relay([account("acme", make_desk().config()), account("other", make_desk().config(), active=False)])
    relay.start()
    WebhookSource(relay, "acme").send("one")
    WebhookSource(relay, "other").send("two")
    wait_for(lambda: relay.status()["delivered"] == 1, "one delivered")
    return relay


def test_commands_find_the_relay_by_its_configuration(relay):
    assert "accepted 2  delivered 1  pending 1" in relay.cli("status").stdout
    assert "accepted 2" in run("status", "-c", relay.path, cwd="/").stdout
    assert "accepted 2" in run("status", "--socket", relay.socket, cwd="/").stdout
    assert "accepted 2" in run("status", "--socket=" + relay.socket, cwd="/").stdout


def test_json_is_what_the_api_answers(relay):
    assert json.loads(relay.cli("status", "--json").stdout)["accepted"] == 2
    listed = json.loads(relay.cli("account", "list", "--json").stdout)
    assert [a["name"] for a in listed["items"]] == ["acme", "other"] and listed["next"] is None
    shown = json.loads(relay.cli("messages", "--json").stdout)
    assert [m["account"] for m in shown["items"]] == ["acme", "other"]
    one = json.loads(relay.cli("show", shown["items"][0]["id"], "--json").stdout)
    assert one["state"] == "delivered"
    assert json.loads(relay.cli("verify", "--json").stdout)["ok"] is True
    assert json.loads(relay.cli("check", "--json").stdout)["ok"] is True


def test_accounts_are_switched(relay):
    assert "other is active" in relay.cli("account", "activate", "other").stdout
    relay.wait_settled()
    assert "other is inactive; 0 messages wait" in relay.cli("account", "deactivate", "other").stdout
    assert re.search(r"^other +inactive +", relay.cli("account", "list").stdout, re.M)
    shown = relay.cli("account", "show", "acme").stdout
    assert "source\n" in shown and "desk\n" in shown and "set" in shown
    for secret in relay.secrets():
        assert secret not in shown
    relay.restart()
    assert {a["name"]: a["active"] for a in relay.status()["accounts"]} == {"acme": True, "other": False}


def test_a_deactivation_outlives_a_restart(relay):
    relay.cli("account", "deactivate", "acme")
    relay.restart()
    assert {a["name"]: a["active"] for a in relay.status()["accounts"]}["acme"] is False
    relay.config["accounts"][0]["active"] = True  # the file says something new
    relay.write_config()
    relay.cli("reload")
    assert {a["name"]: a["active"] for a in relay.status()["accounts"]}["acme"] is True


def test_messages_are_listed_shown_and_discarded(relay):
    lines = relay.cli("messages").stdout.splitlines()
    assert len(lines) == 3 and lines[0].split()[0] == "ID"
    assert len(relay.cli("messages", "--state", "pending").stdout.splitlines()) == 2
    limited = relay.cli("messages", "--limit", "1")
    assert len(limited.stdout.splitlines()) == 2 and "more" in limited.stderr
    waiting = relay.messages(state="pending")[0]["id"]
    assert CANARY in relay.cli("show", waiting).stdout
    assert f"{waiting}: discarded" in relay.cli("discard", waiting).stdout
    assert f"{waiting}: discarded" in relay.cli("discard", waiting).stdout
    assert relay.check_sum()["discarded"] == 1
    good = "discarded: true\nevery row's checksum and the order in each lane: good\n"
    assert re.fullmatch(r"looked at: messages 2, conversations \d, lanes with something delivered 1, files 0, in \d\.\d+ s\naccepted = .* " + good,
                        relay.cli("verify").stdout)
    deep = relay.cli("verify", "--deep")
    assert deep.stdout.endswith(good + "the whole file: good\n") and deep.stderr == ""
    assert json.loads(relay.cli("verify", "--json").stdout)["messages"] == 2


def test_a_broken_file_leaves_the_old_one_in_force(relay):
    relay.allow("reload_refused", "old_configuration_stays")
    with open(relay.path, "a") as file:
        file.write("zzz: 1\n")
    done = relay.cli("reload", check=False)
    assert done.returncode == 1
    assert re.search(r"tributary\.yaml:\d+: zzz: is no key of this file", done.stderr)
    assert relay.cli("check", check=False).returncode == 1
    assert relay.status()["accepted"] == 2


def test_what_fails_says_so_and_exits_with_1(relay):
    for arguments, words in [(("account", "show", "nobody"), "no account of that name"), (("show", "999"), "no message of that id"),
                             (("discard", relay.messages(account="acme")[0]["id"]), "delivered already"),
                             (("messages", "--state", "lost"), "state is"), (("messages", "--account", "no/body?&"), "no account")]:
        done = relay.cli(*arguments, check=False)
        assert done.returncode == 1 and words in done.stderr and done.stdout == "", (arguments, done)


def test_without_a_relay_a_sentence_says_so(tmp_path):
    (tmp_path / "tributary.yaml").write_text("accounts: []\n")
    done = run("status", cwd=tmp_path)
    assert done.returncode == 1 and "the relay does not run" in done.stderr and "--socket" in done.stderr
    done = run("status", cwd=tmp_path, env={**os.environ, "HOME": "/nonexistent"})
    assert done.returncode == 1
    done = run("status", "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 1 and "none.yaml: is not there" in done.stderr


def test_usage_exits_with_2(tmp_path):
    for arguments in [(), ("nonsense",), ("account",), ("account", "show"), ("account", "show", "a", "b"), ("status", "--nonsense"), ("status", "-x"),
                      ("status", "--deep"), ("messages", "--limit"), ("status", "--json=1"), ("messages", "--limit", "0"), ("retry",),
                      ("retry", "--skipped"), ("retry", "1", "--skipped"), ("serve", "--nonsense")]:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("tributary") and done.stdout == "", arguments
    assert run("help").returncode == 0 and "usage" in run("help").stdout


def test_usage_says_what_would_be_right(tmp_path):
    for arguments, words in [(("account",), "what is missing behind account: list, show, add, set, remove, activate, deactivate"),
                             (("source", "lst"), "there is no command source lst; there are, with source: list, add, set, remove, check"),
                             (("--socket", "x", "status"), "the command comes first, its options behind it: tributary status --socket"),
                             (("messages", "--all", "--limit", "3"), "--limit N or --all, not both"),
                             (("account", "deactivate", ""), "an argument is empty, where NAME... is wanted")]:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr and done.stdout == "", (arguments, done)


def test_every_command_takes_help(tmp_path):
    for arguments in [("--help",), ("-h",), ("why", "--help"), ("account", "--help"), ("account", "set", "-h"), ("retry", "1", "--help"), ("serve", "--help")]:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith("usage: tributary COMMAND") and done.stderr == "", (arguments, done)
    assert run("show", "--", "--help", cwd=tmp_path).returncode == 1  # an argument
    assert run("--version").stdout.startswith("tributary ")


def test_output_that_cannot_be_written_fails(relay):
    with open("/dev/full", "w") as full:
        done = run("status", "--socket", relay.socket, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "No space left on device" in done.stderr
    shell = f"{' '.join(prefix() + [BINARY])} status --socket {relay.socket}"
    done = subprocess.run(["bash", "-c", shell + " >&- <&-"], capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.returncode == 1 and "cannot write" in done.stderr
    done = subprocess.run(["bash", "-c", f"({shell}; echo $? >&2) | true"], capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.stderr.strip() in ("0", "1")


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8", "nonsense"])
def test_locales_change_nothing(relay, locale):
    done = run("status", "--socket", relay.socket, env={**os.environ, "LC_ALL": locale})
    assert done.returncode == 0 and "accepted 2" in done.stdout


def test_a_terminal_of_few_columns(relay):
    import fcntl
    import pty
    import struct
    import termios
    for columns in (1, 20, 80):
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        done = run("messages", "--socket", relay.socket, capture_output=False, stdout=child, stderr=subprocess.PIPE)
        os.close(child)
        assert done.returncode == 0
        text = os.read(parent, 65536).decode()
        os.close(parent)
        assert columns < 60 or all(len(line) <= columns for line in text.splitlines()), text
