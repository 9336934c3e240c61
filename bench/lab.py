"""What the benchmark's scenarios stand on: a directory and processes of their own, generator and sink. relay.py has the daemon, limits.py
what the machine can do.

Everything listens on the loopback on free ports, writes below one directory of its own that goes when the lab is closed, and is ended
with the lab: children run in sessions of their own and are told to end (SIGTERM) when this process dies in whatever way.
"""
import base64
import ctypes
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
PROGRAMS = os.path.join(ROOT, "build", "release")
SOURCE_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
DESK_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
PREFIX = "tributary-bench-"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Trouble(Exception):
    """A scenario could not be measured; says why."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def end_child(child, patience_s=12):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def wait_until(what, ready, patience_s, pause_s=0.02):
    deadline = time.monotonic() + patience_s
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Trouble(f"{what}: not within {patience_s} s")
        time.sleep(pause_s)


def sweep(directory):
    """Removes the directories of runs that were killed."""
    for path in glob.glob(os.path.join(directory, PREFIX + "*")):
        if not os.path.exists("/proc/" + os.path.basename(path)[len(PREFIX):].split("-")[0]):
            shutil.rmtree(path, ignore_errors=True)


class Lab:
    """Owner of the directory and of all children."""

    def __init__(self, directory=None, priority=False):
        self.priority = priority
        if directory:
            directory = os.path.abspath(directory)
            os.makedirs(directory, exist_ok=True)
        self.dir = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=directory)
        self.children = []
        self.runs = 0  # of the generator

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            end_child(child)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def certificate(self):
        """Paths of a certificate for 127.0.0.1 and of its key, made when first asked for."""
        paths = self.path("certificate.pem"), self.path("key.pem")
        if not os.path.exists(paths[0]):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return paths

    def start(self, command, **options):
        def in_child():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if self.priority:
                os.nice(-19)
                if os.path.exists("/proc/self/autogroup"):  # else niceness counts within the session only
                    with open("/proc/self/autogroup", "w") as file:
                        file.write("-19")

        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=in_child, **options)
        self.children.append(child)
        return child

    def end(self, child):
        end_child(child)
        self.children.remove(child)

    def launch(self, port, **options):
        """Starts the generator. What it returns waits for its end and gives its report, with the counts file's path as "counts"."""
        self.runs += 1
        counts = self.path(f"counts-{self.runs}")
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
        child = self.start([f"{PROGRAMS}/bench_load", f"--port={port}", f"--counts={counts}"] + words, stdout=subprocess.PIPE)

        def finish():
            with child.stdout:
                out = child.stdout.read()
            child.wait()
            self.children.remove(child)
            if not out:
                raise Trouble(f"the generator ended with {child.returncode} and said nothing")
            return {**json.loads(out), "counts": counts}

        return finish

    def generate(self, port, **options):
        return self.launch(port, **options)()


class Sink:
    """bench/sink.c: a desk that keeps book, and its control requests. `tls`: all of it behind TLS, with a certificate of the lab's own."""

    def __init__(self, lab, delay_ms=0, desk="webhook", tls=False, port=0):
        self.lab = lab
        self.desk = desk
        words = ["--certificate=" + lab.certificate()[0], "--key=" + lab.certificate()[1]] if tls else []
        self.child = lab.start([f"{PROGRAMS}/bench_sink", f"--delay-ms={delay_ms}", f"--desk={desk}", f"--port={port}"] + words,
                               stdout=subprocess.PIPE)
        said = self.child.stdout.readline()
        if not said:
            raise Trouble("the sink did not start")
        self.port = json.loads(said)["port"]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.control = (http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl.create_default_context(cafile=lab.certificate()[0]))
                        if tls else http.client.HTTPConnection("127.0.0.1", self.port))

    def exchange(self, method, path, body=None):
        self.control.request(method, path, body)
        answer = self.control.getresponse()
        return answer.status, answer.read(), answer.headers

    def ask(self, method, path, body=None):
        status, data, _ = self.exchange(method, path, body)
        if status != 200:
            raise Trouble(f"sink {path}: {status}")
        return data

    def begin_conversations(self, count):
        """As Intercom: so many contacts, each with a conversation whose first message is serial 1 of its lane. Ids of the last; `begun`
        is a counts file of it."""
        compact = {"separators": (",", ":")}  # as the relay writes it
        for lane in range(count):
            made = self.ask("POST", "/contacts", json.dumps({"role": "user", "external_id": f"webhook:bench:c{lane}"}, **compact))
            contact = json.loads(made)["id"]
            text = f"tributary-bench {lane:07} {1:09} {time.monotonic_ns():019}"
            made = self.ask("POST", "/conversations", json.dumps({"from": {"type": "user", "id": contact}, "body": text, "created_at": 1700000000}, **compact))
        self.begun = self.lab.path(f"begun-{self.port}")
        with open(self.begun, "w") as file:
            file.writelines(f"{lane} 1\n" for lane in range(count))
        return contact, json.loads(made)["conversation_id"]

    def report(self):
        return json.loads(self.ask("GET", "/report"))

    def split(self, lane=9999999):
        """Latencies are counted anew, those of lanes from this one on apart."""
        self.ask("POST", "/split", str(lane))

    def expect(self, *counts):
        """Tells what must come: the generator's counts files; of a lane that is in several, the last."""
        for path in counts:
            with open(path, "rb") as file:
                self.ask("POST", "/expect", file.read())

    def wait_for(self, count, idle_s=15):
        """Waits for so many different messages; gives up when none came for idle_s. The report, whatever it says."""
        last, since = -1, time.monotonic()
        while True:
            progress = json.loads(self.ask("GET", "/progress"))
            if progress["received"] >= count:
                time.sleep(0.3)  # what is sent twice may come after the last
                return self.report()
            if progress["deliveries"] != last:
                last, since = progress["deliveries"], time.monotonic()
            if time.monotonic() - since > idle_s:
                return self.report()
            time.sleep(0.05)

    def close(self):
        self.control.close()
        self.lab.end(self.child)
        self.child.stdout.close()
