"""Waiting for conditions, free ports, canaries, Standard Webhooks signatures."""
import base64
import hashlib
import hmac
import os
import random
import socket
import time

VARIANT = os.environ.get("TRIBUTARY_VARIANT") or next(
    (v for v in ("asan", "tsan", "cov") if f"/{v}/" in os.environ.get("TRIBUTARY_BIN", "")), "release")
# Sanitizers are slow, and so is a machine that runs several things at once: deadlines are generous, only failures wait for them.
SLOW = {"release": 1, "asan": 3, "tsan": 6, "cov": 3}[VARIANT]
PATIENCE_S = 20 * SLOW

# Stands in every text that the tests send: it must never appear in a log or a metric (A12).
CANARY = "Xyzzy-kanarie"


def wait_for(condition, what, timeout_s=None, poll_s=0.02):
    """The value of `condition()` once it is true; for what nothing announces. Fails after the deadline, saying what was awaited."""
    timeout_s = PATIENCE_S if timeout_s is None else timeout_s
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(poll_s)


given_ports = set()


def own_ports():
    """The tests of each variant, and each process of theirs, have ports of their own, below the range of outgoing connections; the
    loops of `make crash` have what is left, since nobody may take a port of theirs while its daemon is dead."""
    if "PYTEST_CURRENT_TEST" not in os.environ:
        return 31600, 32760
    variant = ("release", "asan", "tsan").index(VARIANT) if VARIANT in ("release", "asan", "tsan") else 0
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
    first = 10000 + (variant * 8 + worker) * 900
    return first, first + 900


def free_port():
    """A port that nobody listens on, and that stays free between two starts of a daemon. None is given twice: the one who has it may
    not listen yet."""
    while True:
        port = random.SystemRandom().randrange(*own_ports())
        if port in given_ports:
            continue
        given_ports.add(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def make_secret():
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def sign(secret, message_id, timestamp, body):
    """The value of `webhook-signature` (Standard Webhooks 1.0.0, v1)."""
    raw = secret[len("whsec_"):] if secret.startswith("whsec_") else secret
    key = base64.b64decode(raw + "=" * (-len(raw) % 4))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def text_of(key, words="good day"):
    """A text that says which message it is, so that any copy of it can be traced back."""
    return f"{key} {CANARY} {words}"


def key_of(text):
    return text.split(" ", 1)[0] if text else ""
