"""Fixtures of the system tests. A test makes relays, desks and platforms with these; at its end each relay must have stopped well, its
log holds no unexpected warning, no secret and no text, and no scripted server found fault with a request."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from harness.desk import ScriptedDesk            # noqa: E402
from harness.intercom import ScriptedIntercom    # noqa: E402
from harness.relay import Relay, account         # noqa: E402
from harness.telegram import ScriptedTelegram    # noqa: E402
from harness.client import WebhookSource         # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, "report_" + report.when, report)
    if report.failed:
        for relay in getattr(item, "relays", []):
            state = "not running" if relay.process is None else "running" if relay.running else f"ended by itself: {relay.process.returncode}"
            report.sections.append((f"log of the relay ({state})", "\n".join(relay.lines[-100:])))


@pytest.fixture
def make_relay(request, tmp_path, make_desk, make_intercom, make_telegram):
    """make_relay(accounts, delivery={...}, ...) writes a configuration; start() it. Needs the servers so as to end before them."""
    relays = request.node.relays = []

    def make(accounts, **more):
        directory = tmp_path / f"relay{len(relays)}" if relays else tmp_path / "relay"
        directory.mkdir()
        relays.append(Relay(directory, accounts, **more))
        return relays[-1]
    yield make
    failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
    for relay in relays:
        if not failed:
            relay.finish()
        elif relay.process is not None:
            relay.kill()


def server_fixture(kind):
    @pytest.fixture
    def fixture(request):
        servers = []

        def make(**more):
            servers.append(kind(**more))
            return servers[-1]
        yield make
        for server in servers:
            server.stop()
        failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
        for server in servers:
            assert failed or not server.trouble, f"{kind.__name__} found fault with:\n" + "\n".join(server.trouble[:20])
    return fixture


make_desk = server_fixture(ScriptedDesk)
make_intercom = server_fixture(ScriptedIntercom)
make_telegram = server_fixture(ScriptedTelegram)


@pytest.fixture
def desk(make_desk):
    return make_desk()


@pytest.fixture
def intercom(make_intercom):
    return make_intercom()


@pytest.fixture
def telegram(make_telegram):
    return make_telegram()


@pytest.fixture
def relay(make_relay, desk):
    """One account "acme": a signed-webhook source "hook" and the scripted desk, one lane per conversation."""
    return make_relay([account("acme", desk.config(), order="conversation")]).start()


@pytest.fixture
def source(relay):
    return WebhookSource(relay, "acme")
