"""RELIABILITY.md section 6, items 49 to 56: files that are none, limits, signals, clocks. The number is in each test's name;
docs/hostile-inputs.md lists them with those that have other names."""
import datetime
import glob
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness.client import Crowd, WebhookSource
from harness.common import PATIENCE_S, SLOW, VARIANT, make_secret, wait_for
from harness.relay import BINARY, account, prefix
from harness.scripted import Answer, Stall
from test_shutdown import one_sentence, reload_by_signal, run_serve

pytestmark = pytest.mark.timeout(180)
EMPTY = {k: v for k, v in os.environ.items() if not k.startswith("TRIBUTARY_")}


def check(path):
    """`tributary check -c`, which must not hang: exit status and what was said."""
    done = subprocess.run(prefix() + [BINARY, "check", "-c", str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, env=EMPTY)
    return done.returncode, done.stdout + done.stderr


# 49

def make_sparse(path):
    with open(path, "w") as file:
        file.truncate(1 << 30)


def make_fifo(path):
    os.mkfifo(path)


def make_loop(path):
    os.symlink(path, path)


def make_open(path):
    path.write_text("accounts: []\n")
    path.chmod(0o666)


NO_FILES = {"empty": (lambda p: p.write_bytes(b""), "is empty"), "binary": (lambda p: shutil.copy("/bin/true", p), "is no text"), "1 GiB": (make_sparse, "larger than"),
            "zeros": (lambda p: p.write_bytes(bytes(100_000)), "is no text"), "FIFO": (make_fifo, "no regular file"), "directory": (lambda p: p.mkdir(), "is a directory"),
            "link to a device": (lambda p: p.symlink_to("/dev/zero"), "no regular file"), "link to nothing": (lambda p: p.symlink_to("nowhere"), "is not there"),
            "link to itself": (make_loop, "cannot be read"), "world-writable": (make_open, "others could change it"),
            "UTF-16": (lambda p: p.write_bytes("accounts: []\n".encode("utf-16")), "is no text")}


@pytest.mark.parametrize("name", NO_FILES)
def test_49_what_is_no_configuration_is_refused_with_the_reason(tmp_path, name):
    make, words = NO_FILES[name]
    path = tmp_path / "t.yaml"
    make(path)
    status, said = check(path)
    assert status == 1 and words in said and "t.yaml" in said, said
    assert words in one_sentence(run_serve(str(path), str(tmp_path)))


def test_49_file_of_another_user_that_cannot_be_read(make_relay, desk, tmp_path):
    """For who is not root: "Permission denied", whoever owns it. Root reads what it is given."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    path = tmp_path / "t.yaml"
    path.write_text("accounts: []\n")
    path.chmod(0o600)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent != parent.parent and not os.stat(parent).st_mode & 1:
            os.chmod(parent, os.stat(parent).st_mode | 1)
    binary = str(tmp_path / "tributary")  # the tree may not be open to others
    shutil.copy(BINARY, binary)
    libraries = glob.glob(os.path.join(os.path.dirname(BINARY), "deps/lib/libyyjson.so*")) + glob.glob(os.path.join(os.path.dirname(BINARY), "../deps/lib/libyyjson.so*"))
    for library in libraries:
        shutil.copy(library, tmp_path)
    done = subprocess.run(prefix() + ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "check", "-c", str(path)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE_S, env={**EMPTY, "LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 1 and "Permission denied" in done.stdout + done.stderr, done


@pytest.mark.parametrize("kind", ["mode 0644", "mode 0660", "FIFO", "directory", "binary"])
def test_49_secrets_file_that_is_none_is_refused(make_relay, desk, kind):
    relay = make_relay([account("acme", desk.config(secret="${DESK_SECRET}"))])
    path = os.path.join(relay.directory, "tributary.env")
    if kind == "FIFO":
        os.mkfifo(path, 0o600)
    elif kind == "directory":
        os.mkdir(path)
    else:
        with open(path, "wb") as file:
            file.write(b"\0\xff\n" if kind == "binary" else f"DESK_SECRET={desk.secret}\n".encode())
        os.chmod(path, int(kind[5:], 8) if kind.startswith("mode") else 0o600)
    said = one_sentence(run_serve(relay.path, relay.directory))
    assert "tributary.env" in said and desk.secret not in said


# 50

WRONG = {"unknown key": ("delivery", {"timeuot": "3s"}, "timeuot"), "wrong unit": ("delivery", {"timeout": "3 parsecs"}, "timeout"), "no unit": ("delivery", {"timeout": 3}, "timeout"),
         "negative": ("delivery", {"window": -1}, "window"), "overflow": ("delivery", {"max_attempts": 10 ** 30}, "max_attempts"), "fraction": ("delivery", {"window": 1.5}, "window"),
         "a list": ("delivery", {"window": [1]}, "window"), "missing variable": ("public_url", "https://${NO_SUCH_NAME}/", "NO_SUCH_NAME"), "a word for a flag": ("accounts", None, "active")}


@pytest.mark.parametrize("name", WRONG)
def test_50_mistakes_are_refused_at_the_start_with_line_and_key(make_relay, desk, name):
    key, value, word = WRONG[name]
    relay = make_relay([account("acme", desk.config(), **({"active": "perhaps"} if value is None else {}))])
    if value is not None:
        relay.config[key] = value
    relay.write_config()
    said = one_sentence(run_serve(relay.path, relay.directory))
    assert "tributary.yaml:" in said and word in said


def test_50_duplicate_keys_are_refused(make_relay, desk):
    relay = make_relay([account("acme", desk.config())])
    with open(relay.path, "a") as file:
        file.write("listen: 127.0.0.1:1\n")
    assert "listen" in one_sentence(run_serve(relay.path, relay.directory))


# 51

@pytest.mark.parametrize("name", NO_FILES)
def test_51_reload_with_a_file_that_is_none_leaves_the_old_in_force(source, relay, desk, tmp_path, name):
    relay.allow("reload_refused", "old_configuration_stays")
    os.unlink(relay.path)
    NO_FILES[name][0](type(tmp_path)(relay.path))
    reload_by_signal(relay)
    assert relay.cli("reload", "--socket", relay.socket, check=False).returncode == 1
    source.send("m0")
    desk.wait_taken(1)
    if os.path.isdir(relay.path) and not os.path.islink(relay.path):
        os.rmdir(relay.path)
    else:
        os.unlink(relay.path)
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    source.send("m1")
    desk.wait_taken(2)


# 53

def test_53_secrets_file_replaced_again_and_again_while_it_is_read(make_relay, desk):
    """Renamed into its place, as it should be: every reload takes one of the two whole, messages flow on, none is signed by half a secret."""
    relay = make_relay([account("acme", desk.config(secret="${DESK_SECRET}"), order="conversation")])
    other = make_secret()
    path = os.path.join(relay.directory, "tributary.env")

    def write(secret):
        with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("".join(f"FILL_{i}=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" for i in range(500)) + f"DESK_SECRET={secret}\n")
        os.rename(path + ".new", path)
    write(desk.secret)
    relay.start()
    stop = threading.Event()

    def rewrite():
        while not stop.is_set():
            write(desk.secret)
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        source = WebhookSource(relay, "acme")
        for i in range(20):
            relay.cli("reload", "--socket", relay.socket)
            source.send(f"m{i}", f"c{i}")
    finally:
        stop.set()
        writer.join()
    relay.wait_settled()
    assert len(desk.keys()) == 20
    desk.secret = other  # the desk checks by it from here on
    write(other)
    relay.cli("reload", "--socket", relay.socket)
    source.send("after")
    relay.wait_settled()
    assert desk.keys()[-1] == "after"


# 54

def test_54_signal_storms_at_each_phase(make_relay, desk):
    """SIGHUP, SIGINT, SIGTERM, SIGKILL in any order, while it starts, works, stops: what was answered 2xx is delivered, once, in order."""
    chance = random.Random(54)
    relay = make_relay([account("acme", desk.config(), order="conversation")], delivery={"shutdown": "1s"}).allow("desk_suspended", "reload_refused", "old_configuration_stays")
    pause = threading.Event()
    acked = []
    for i in range(12):
        relay.start(wait=i % 3 > 0)
        phase = i % 4
        if i % 3 > 0:
            source = WebhookSource(relay, "acme")
            desk.script = (lambda request: Stall() if request.method == "POST" else None) if phase == 2 else None
            for n in range(3):
                source.send(f"m{i}-{n}")
                acked.append(f"m{i}-{n}")
        numbers = [signal.SIGHUP] * 4 + [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM], [signal.SIGKILL]][phase]
        for number in numbers:
            pause.wait(chance.random() * 0.02)
            try:
                relay.send_signal(number)
            except (ProcessLookupError, IndexError):
                break
        early = [-signal.SIGHUP] if i % 3 == 0 else []  # before the program's first line nobody can ask it to wait
        assert relay.wait_end() in [0, 1, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL, *early]
        desk.script = None
    relay.start()
    relay.wait_settled()
    first = list(dict.fromkeys(desk.keys()))
    assert first == acked
    relay.check_sum()
    relay.verify()


@pytest.mark.parametrize("content", ["the pid of another process", "our parent's", "1", "", "no number", "99999999999999999999"])
def test_54_stale_lock_file_and_reused_pid(make_relay, desk, content):
    """The number in the lock file is for people: what counts is the lock, which ends with its process."""
    relay = make_relay([account("acme", desk.config())])
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        with open(relay.database + ".lock", "w") as file:
            file.write({"the pid of another process": str(sleeper.pid), "our parent's": str(os.getpid())}.get(content, content) + "\n")
        relay.start()
        WebhookSource(relay, "acme").send("m0")
        desk.wait_taken(1)
        with open(relay.database + ".lock") as file:
            assert int(file.readline()) == relay.pid
    finally:
        sleeper.kill()
        sleeper.wait()


# 55

@pytest.mark.release_only
def test_55_64_descriptors(make_relay, desk):
    """With more clients than it can have: those served are served well, others wait or are dropped; nothing that was answered 2xx is lost."""
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("desk_suspended", "alarm", "alarm_end", "accept.*", "connections_full", "attempt_.*")
    relay.wrapper = ["prlimit", "--nofile=64:64"]
    relay.start()
    source = WebhookSource(relay, "acme")
    crowd = Crowd(source, lanes=100, per_lane=5)
    crowd.join(5 * PATIENCE_S)
    relay.wait_settled()
    assert set(desk.keys()) == {s.key for s in source.sent if s.acked} and len([s for s in source.sent if s.acked]) == 500


@pytest.mark.release_only
def test_55_desks_without_an_answer_leave_descriptors_for_webhooks(make_relay, make_desk):
    """With 64 descriptors as many requests are wanted, and all hang: half of those beyond its own 50 is for them, who sends now is served
    all the same."""
    desks = [make_desk() for _ in range(8)]
    accounts = [account(f"a{i}", desk.config(), order="conversation") for i, desk in enumerate(desks)]
    relay = make_relay(accounts, delivery={"timeout": "600s", "shutdown": "100ms"})
    relay.wrapper = ["prlimit", "--nofile=64:64"]
    relay.start()
    for i, desk in enumerate(desks):
        desk.script = lambda request: Stall() if request.method == "POST" else None
        source = WebhookSource(relay, f"a{i}")
        for k in range(8):
            source.send(f"m{k}", f"c{k}")
        source.hang_up()
    wait_for(lambda: sum(len(desk.posts()) for desk in desks) >= 7, "requests")
    source.send("again")  # by a connection of its own
    assert sum(len(desk.posts()) for desk in desks) == 7


@pytest.mark.release_only
def test_55_limit_on_file_sizes_is_503_and_passes(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("alarm", "alarm_end")
    relay.wrapper = ["prlimit", f"--fsize={9 << 20}:{1 << 40}"]
    relay.start()
    source = WebhookSource(relay, "acme")
    acked, refused = [], None
    for i in range(400):
        answer = source.post(source.event(f"m{i}", f"c{i % 7}", words="x" * 100_000))
        if answer.status != 200:
            refused = answer
            break
        acked.append(f"m{i}")
    assert refused is not None and refused.status == 503 and "retry-after" in refused.headers
    assert relay.running
    subprocess.run(["prlimit", "--pid", str(relay.pid), f"--fsize={1 << 40}"], check=True)
    wait_for(lambda: source.post(source.event("again")).status == 200, "taken again", poll_s=0.1)
    relay.wait_settled()
    assert set(acked) | {"again"} == set(desk.keys())
    relay.verify()


@pytest.mark.release_only
@pytest.mark.parametrize("mib", [200, 400])
def test_55_address_space_that_is_short(make_relay, desk, mib):
    """It refuses, or ends; what was answered 2xx is there afterwards, and an end is not before a 2xx is on the disk."""
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow(".*")
    relay.start()
    relay.stop()
    relay.wrapper = ["prlimit", f"--as={mib << 20}"]
    relay.start(wait=False)
    wait_for(lambda: [e for e in relay.logged("ready") if e["_start"] == relay.starts] or not relay.running, "ready, or ended")
    source = WebhookSource(relay, "acme")
    crowd = None
    if relay.running:
        crowd = Crowd(source, lanes=16, per_lane=40, words="x" * 500_000)
        # How much fits differs by the libraries: where little does it refuses, again and again.
        wait_for(lambda: crowd.done() or crowd.acked() > 100 or crowd.tries() > 1000 or not relay.running, "traffic")
        crowd.stop.set()
        crowd.join(5 * PATIENCE_S)
    if relay.running:
        relay.kill()
    else:
        relay.wait_end()
    relay.wrapper = []
    relay.start()
    relay.wait_settled(120)
    stored = {m["text"].split(" ")[0] for m in relay.messages()}
    assert not [s.key for s in source.sent if s.acked and s.key not in stored]
    relay.verify()


@pytest.mark.release_only
def test_55_no_dev_at_all(make_relay, desk):
    """No /dev/urandom, no /dev/null: chance comes from the kernel by getrandom."""
    relay = make_relay([account("acme", desk.config())])
    relay.wrapper = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    relay.start()
    WebhookSource(relay, "acme").send("m0")
    desk.wait_taken(1)
    relay.wait_settled()


def test_55_read_only_file_system(make_relay, desk, tmp_path, request):
    where = tmp_path / "ro"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(where)], check=True))
    relay = make_relay([account("acme", desk.config())], store=f"sqlite:{where}/t.db").start()
    WebhookSource(relay, "acme").send("m0")
    relay.wait_settled()
    relay.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(where)], check=True)
    said = one_sentence(run_serve(relay.path, relay.directory))
    assert str(where) in said and "Read-only file system" in said
    subprocess.run(["mount", "-o", "remount,rw", str(where)], check=True)
    relay.start()
    assert relay.status()["delivered"] == 1
    relay.finish()


def test_55_no_names(make_relay, desk):
    """A desk whose name cannot be found: suspended, nothing counted; another address by reload, and it goes on."""
    relay = make_relay([account("acme", {**desk.config(), "url": f"http://desk.invalid:{desk.port}/in"})]).allow("desk_suspended").start()
    source = WebhookSource(relay, "acme")
    for i in range(3):
        source.send(f"m{i}")
    wait_for(lambda: [d["state"] for d in relay.status()["desks"]] == ["suspended"], "suspended")
    assert {m["attempts"] for m in relay.messages()} == {0}
    relay.config["accounts"][0]["desk"]["url"] = desk.url + "/in"
    relay.write_config()
    relay.cli("reload", "--socket", relay.socket)
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1", "m2"]


# 56

FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
faked = pytest.mark.skipif(not FAKETIME or VARIANT != "release", reason="libfaketime is not installed, or a sanitizer stands in its place")


class Clock:
    """The wall clock of a relay; its monotonic clock goes on."""

    def __init__(self, relay, desk):
        self.path, self.desk = os.path.join(relay.directory, "clock"), desk
        self.set("+0")
        relay.environment.update(LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=self.path, FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_FAKE_MONOTONIC="1")

    def set(self, offset):
        with open(self.path + ".new", "w") as file:
            file.write(offset + "\n")
        os.rename(self.path + ".new", self.path)

    def forgive(self):
        """The desk's complaints about timestamps are what is wanted here."""
        self.desk.trouble[:] = [t for t in self.desk.trouble if "webhook-timestamp" not in t]


@faked
@pytest.mark.parametrize("step", ["+3600", "-3600", "+31536000", "-31536000"])
def test_56_clock_steps_under_a_working_relay(make_relay, desk, step):
    """While a message waits for its next attempt, a desk is suspended, and messages come: nothing waits for the clock to come back."""
    relay = make_relay([account("acme", desk.config(), order="conversation")], delivery={"retry_base": "500ms"}).allow("desk_suspended", "attempt_.*")
    clock = Clock(relay, desk)
    relay.start()
    source = WebhookSource(relay, "acme")
    desk.next_actions += [Answer(200), Answer(500), Answer(503), Answer(503)]
    source.send("m0", "c0")
    desk.wait_requests(1)
    source.send("m1", "c1")
    desk.wait_requests(lambda journal: any(r.notes.get("key") == "m1" for r in journal))
    clock.set(step)
    for i in range(2, 6):
        source.send(f"m{i}", f"c{i}")
    relay.wait_settled(20)
    clock.set("+0")
    source.send("m6", "c6")
    relay.wait_settled(20)
    assert sorted(desk.keys()) == [f"m{i}" for i in range(7)]
    relay.check_sum()
    relay.verify()
    clock.forgive()


@faked
@pytest.mark.parametrize("step", ["+3600", "-3600", "-31536000"])
def test_56_clock_steps_between_two_starts(make_relay, desk, step):
    """A message with an attempt behind it and a time before it: not waited for longer than the wait was."""
    relay = make_relay([account("acme", desk.config())], delivery={"retry_base": "1s"}).allow("attempt_.*", "desk_suspended")
    clock = Clock(relay, desk)
    relay.start()
    source = WebhookSource(relay, "acme")
    desk.next_actions.append(Answer(500))
    source.send("m0")
    source.send("m1")
    wait_for(lambda: relay.messages()[0]["attempts"] == 1, "an attempt")
    relay.stop()
    clock.set(step)
    relay.start()
    relay.wait_settled(20)
    assert desk.keys() == ["m0", "m1"]
    clock.forgive()


@faked
def test_56_year_2040_and_another_time_zone(make_relay, desk):
    relay = make_relay([account("acme", desk.config())])
    clock = Clock(relay, desk)
    seconds = int((datetime.datetime(2040, 2, 29, 12) - datetime.datetime.utcnow()).total_seconds())
    clock.set(f"+{seconds}")
    relay.environment["TZ"] = "Asia/Tokyo"
    relay.start()
    source = WebhookSource(relay, "acme")
    source.send("m0")
    relay.wait_settled()
    message = relay.messages()[0]
    assert message["received_at"].startswith("2040-02-29T1") and message["received_at"].endswith("Z")
    assert relay.logged("ready")[-1]["time"].startswith("2040-02-29T1")
    assert relay.query("SELECT received_at FROM messages")[0][0] > 2_200_000_000 * 1_000_000
    relay.restart()
    source.send("m1")
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"]
    clock.forgive()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns", "nonsense/zone", ":/dev/zero"])
def test_56_time_zones_change_nothing(make_relay, desk, zone):
    relay = make_relay([account("acme", desk.config())])
    relay.environment["TZ"] = zone
    relay.start()
    WebhookSource(relay, "acme").send("m0", sent_at="2026-03-29T02:30:00.000Z")
    relay.wait_settled()
    body = desk.posts()[0].notes["body"]
    assert body["sent_at"] == "2026-03-29T02:30:00.000Z"
    received = datetime.datetime.strptime(body["received_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs((received - datetime.datetime.utcnow()).total_seconds()) < 60
