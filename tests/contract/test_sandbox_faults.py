"""What goes wrong on request: each kind of fault, on the wire, and whether the request took effect."""
import http.client
import json
import socket
import subprocess
import time
import urllib.parse

import pytest

from sandbox_process import BIN, Sandbox, http_call

GOOD = {"Authorization": "Bearer token", "Accept": "application/json"}


def add_contact(sandbox, external_id="x:1", **more):
    return http_call(sandbox.intercom, "POST", "/contacts", {"role": "user", "external_id": external_id}, GOOD, **more)


def applied(sandbox):
    return [entry["external_id"] for entry in sandbox.journal(sandbox.intercom)]


def faults(sandbox):
    return sandbox.control(sandbox.intercom, "GET", "faults")["faults"]


@pytest.mark.parametrize("fault, takes_effect", [("drop_after", True), ("drop_before", False)])
def test_dropped(sandbox, fault, takes_effect):
    sandbox.fault(sandbox.intercom, fault=fault, count=1)
    with pytest.raises(http.client.RemoteDisconnected):
        add_contact(sandbox)
    assert applied(sandbox) == (["x:1"] if takes_effect else [])
    assert add_contact(sandbox, "x:2").status == 200


def test_reset(sandbox):
    sandbox.fault(sandbox.intercom, fault="reset", count=1)
    with pytest.raises(ConnectionResetError):
        add_contact(sandbox)
    assert applied(sandbox) == []


@pytest.mark.parametrize("apply", [True, False])
def test_hang(sandbox, apply):
    sandbox.fault(sandbox.intercom, fault="hang", count=1, apply=apply)
    with pytest.raises(socket.timeout):
        add_contact(sandbox, timeout_s=0.5)
    assert applied(sandbox) == (["x:1"] if apply else [])
    sandbox.fault(sandbox.intercom, fault="hang", count=1, ms=200)
    with pytest.raises(http.client.RemoteDisconnected):
        add_contact(sandbox, "x:2")


def test_clearing_lets_what_hangs_go(sandbox):
    sandbox.fault(sandbox.intercom, fault="hang")
    parts = urllib.parse.urlsplit(sandbox.intercom)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", "/me", headers=GOOD)
    deadline = time.monotonic() + 5
    while faults(sandbox)[0]["hits"] == 0:
        assert time.monotonic() < deadline
    sandbox.control(sandbox.intercom, "DELETE", "faults")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()


def test_truncated(sandbox):
    sandbox.fault(sandbox.intercom, fault="truncate", count=1)
    with pytest.raises(http.client.IncompleteRead):
        add_contact(sandbox)
    assert applied(sandbox) == ["x:1"]


def test_garbage(sandbox):
    sandbox.fault(sandbox.intercom, fault="garbage", count=1)
    sandbox.fault(sandbox.intercom, fault="garbage", count=1, apply=False, body="not what you think")
    for external_id in ("x:1", "x:2"):
        answer = add_contact(sandbox, external_id)
        assert answer.status == 200
        with pytest.raises(ValueError):
            answer.json()
    assert applied(sandbox) == ["x:1"]


def test_status_with_and_without_effect(sandbox):
    sandbox.fault(sandbox.intercom, fault="status", status=503, retry_after=7, count=1)
    sandbox.fault(sandbox.intercom, fault="status", status=500, apply=True, count=1)
    sandbox.fault(sandbox.intercom, fault="status", status=418, body={"own": "words"}, count=1)
    first, second, third = (add_contact(sandbox, f"x:{i}") for i in range(3))
    assert (first.status, first.headers["retry-after"], first.json()["type"]) == (503, "7", "error.list")
    assert (second.status, second.json()["errors"][0]["code"]) == (500, "server_error")
    assert (third.status, third.json()) == (418, {"own": "words"})
    assert applied(sandbox) == ["x:1"]


def test_rate_limit_in_both_languages(sandbox):
    sandbox.fault(sandbox.intercom, fault="rate_limit", retry_after=3, count=1)
    answer = add_contact(sandbox)
    assert answer.status == 429 and answer.headers["x-ratelimit-remaining"] == "0"
    assert 2 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 4
    sandbox.fault(sandbox.telegram, fault="rate_limit", retry_after=3, path="getMe")
    answer = http_call(sandbox.telegram, "GET", "/bot1:x/getMe")
    assert (answer.status, answer.headers["retry-after"], answer.json()["parameters"]) == (429, "3", {"retry_after": 3})


@pytest.mark.parametrize("apply", [True, False])
def test_latency(sandbox, apply):
    sandbox.fault(sandbox.intercom, fault="latency", ms=700, apply=apply)
    with pytest.raises(socket.timeout):
        add_contact(sandbox, timeout_s=0.3)
    assert applied(sandbox) == (["x:1"] if apply else [])
    began = time.monotonic()
    assert add_contact(sandbox, "x:2").status == 200
    assert time.monotonic() - began >= 0.7
    assert applied(sandbox) == ["x:1", "x:2"]


def test_refused(sandbox):
    kept = http.client.HTTPConnection(*urllib.parse.urlsplit(sandbox.intercom).netloc.split(":"), timeout=5)
    kept.request("GET", "/me", headers=GOOD)
    kept.getresponse().read()
    sandbox.fault(sandbox.intercom, fault="refuse", ms=600)
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        add_contact(sandbox)
    with pytest.raises((ConnectionError, http.client.HTTPException)):  # one that was open is closed too
        kept.request("GET", "/me", headers=GOOD)
        kept.getresponse()
    while True:
        try:
            assert add_contact(sandbox).status == 200
            break
        except ConnectionRefusedError:
            assert time.monotonic() - began < 10
    assert time.monotonic() - began >= 0.5
    assert http_call(sandbox.telegram, "GET", "/bot1:x/getMe").status == 200


def test_refused_while_one_hangs_and_another_waits(sandbox):
    sandbox.fault(sandbox.telegram, fault="hang", path="getMe")
    with pytest.raises(socket.timeout):
        http_call(sandbox.telegram, "GET", "/bot1:x/getMe", timeout_s=0.2)
    with pytest.raises(socket.timeout):
        http_call(sandbox.telegram, "GET", "/bot1:x/getUpdates?timeout=20", timeout_s=0.2)
    for _ in range(2):
        sandbox.fault(sandbox.telegram, fault="refuse", ms=50)
        deadline = time.monotonic() + 10
        while True:
            try:
                assert http_call(sandbox.telegram, "GET", "/bot1:x/getWebhookInfo").status == 200
                break
            except ConnectionError:
                assert time.monotonic() < deadline


def test_refuse_on_a_request(sandbox):
    sandbox.fault(sandbox.intercom, fault="refuse", path="POST /contacts", count=1, ms=300)
    assert http_call(sandbox.intercom, "GET", "/me", headers=GOOD).status == 200
    with pytest.raises(http.client.RemoteDisconnected):
        add_contact(sandbox)
    with pytest.raises(ConnectionRefusedError):
        add_contact(sandbox)
    assert applied_later(sandbox) == []


def applied_later(sandbox):
    deadline = time.monotonic() + 10
    while True:
        try:
            return applied(sandbox)
        except ConnectionError:
            assert time.monotonic() < deadline


def test_path_after_count_and_hits(sandbox):
    sandbox.fault(sandbox.intercom, fault="status", status=500, path="POST /contacts", after=1, count=2)
    sandbox.fault(sandbox.intercom, fault="status", status=502, path="find_by")
    assert [add_contact(sandbox, f"x:{i}").status for i in range(4)] == [200, 500, 500, 200]
    assert http_call(sandbox.intercom, "POST", "/contacts/search", {"query": {}}, GOOD).status == 400
    assert http_call(sandbox.intercom, "GET", "/contacts/find_by_external_id/x", headers=GOOD).status == 502
    first, second = faults(sandbox)
    assert (first["seen"], first["hits"], first["left"], second["hits"], second["left"]) == (3, 2, 0, 1, None)
    assert sandbox.control(sandbox.intercom, "DELETE", f"faults?id={second['id']}") == {"cleared": 1}
    assert http_call(sandbox.intercom, "GET", "/contacts/find_by_external_id/x", headers=GOOD).status == 404


def test_chance(sandbox):
    sandbox.fault(sandbox.intercom, fault="status", status=500, path="/me", chance=0.5)
    statuses = [http_call(sandbox.intercom, "GET", "/me", headers=GOOD).status for _ in range(60)]
    assert 10 < statuses.count(500) < 50


def test_pages_and_control_are_never_hit(sandbox):
    sandbox.fault(sandbox.intercom, fault="drop_before")
    assert http_call(sandbox.intercom, "GET", "/").status == 200
    assert http_call(sandbox.intercom, "GET", "/web/style.css").status == 200
    assert applied(sandbox) == []


@pytest.mark.parametrize("spec", [
    {}, {"fault": "flood"}, {"fault": "status", "status": 99}, {"fault": "status", "status": "500"}, {"fault": "latency", "ms": -1},
    {"fault": "reset", "count": 0}, {"fault": "reset", "paths": "/x"}, {"fault": "reset", "path": ""}, {"fault": "reset", "chance": 2},
    {"fault": "hang", "apply": "yes"}, []])
def test_faults_that_make_no_sense(sandbox, spec):
    answer = http_call(sandbox.intercom, "POST", "/sandbox/faults", spec)
    assert answer.status == 400 and len(answer.json()["error"]) > 10
    assert faults(sandbox) == []


def test_fault_on_the_command_line():
    spec = {"on": "intercom", "fault": "status", "status": 503, "path": "/me"}
    with Sandbox("--fault", json.dumps(spec)) as sandbox:
        assert http_call(sandbox.intercom, "GET", "/me", headers=GOOD).status == 503
        assert http_call(sandbox.telegram, "GET", "/bot1:x/getMe").status == 200


@pytest.mark.parametrize("options", [["--fault", "{}"], ["--fault", '{"on":"intercom","fault":"x"}'], ["--bot", "nothing"], ["--rate", "x"],
                                     ["--customers"], ["--colour", "red"], ["--telegram", "127.0.0.1:99999999"]])
def test_bad_command_lines_are_refused_with_a_sentence(options):
    done = subprocess.run([BIN, *options], capture_output=True, text=True, timeout=10)
    assert done.returncode in (1, 2) and done.stderr.startswith("tributary-sandbox: ") and done.stdout == ""


def test_a_taken_port_is_said():
    with Sandbox() as sandbox:
        taken = urllib.parse.urlsplit(sandbox.intercom).netloc
        done = subprocess.run([BIN, "--intercom", taken], capture_output=True, text=True, timeout=10)
        assert done.returncode == 1 and "--intercom" in done.stderr
