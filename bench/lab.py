"""What the benchmark's scenarios stand on: the processes (relay, generator, sink, nginx), what is read of them, the machine's limits.

Everything listens on the loopback on free ports, writes below one directory of its own that goes when the lab is closed, and is ended
with the lab: children run in sessions of their own and are told to end (SIGTERM) when this process dies in whatever way.
"""
import base64
import ctypes
import glob
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
PROGRAMS = os.path.join(ROOT, "build", "release")
RELAY = os.path.abspath(os.environ.get("TRIBUTARY_BIN") or os.path.join(ROOT, "build", "tributary"))
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

    def generate(self, port, **options):
        """Runs the generator to its end; its report, with the counts file's path as "counts"."""
        self.runs += 1
        counts = self.path(f"counts-{self.runs}")
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
        child = self.start([f"{PROGRAMS}/bench_load", f"--port={port}", f"--counts={counts}"] + words, stdout=subprocess.PIPE)
        with child.stdout:
            out = child.stdout.read()
        child.wait()
        self.children.remove(child)
        if not out:
            raise Trouble(f"the generator ended with {child.returncode} and said nothing")
        return {**json.loads(out), "counts": counts}


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

    def report(self):
        return json.loads(self.ask("GET", "/report"))

    def reset(self):
        self.ask("POST", "/reset")

    def expect(self, *counts):
        """Tells what must come: the generator's counts files; of a lane that is in several, the last."""
        for path in counts:
            with open(path, "rb") as file:
                self.ask("POST", "/expect", file.read())

    def wait_for(self, count, idle_s=15):
        """Waits for so many different messages; gives up when none came for idle_s. The report, whatever it says."""
        last, since = -1, time.monotonic()
        while True:
            report = self.report()
            if report["received"] >= count:
                time.sleep(0.3)  # what is sent twice may come after the last
                return self.report()
            if report["deliveries"] != last:
                last, since = report["deliveries"], time.monotonic()
            if time.monotonic() - since > idle_s:
                return report
            time.sleep(0.05)

    def close(self):
        self.control.close()
        self.lab.end(self.child)
        self.child.stdout.close()


class Nginx:
    """nginx answering every POST with an empty 200: what an HTTP server costs that does nothing."""

    CONF = """
daemon off; worker_processes {workers}; pid {dir}/nginx.pid; error_log {dir}/nginx.log; {user}
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; client_max_body_size 16m;
    client_body_temp_path {dir}/nginx-body; proxy_temp_path {dir}/nginx-1; fastcgi_temp_path {dir}/nginx-2;
    uwsgi_temp_path {dir}/nginx-3; scgi_temp_path {dir}/nginx-4;
    server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200; }} }}
}}
"""

    def __init__(self, lab):
        self.lab = lab
        self.port = free_port()
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if not program:
            raise Trouble("nginx is not installed (script/deps bench)")
        with open(lab.path("nginx.conf"), "w") as file:
            file.write(self.CONF.format(dir=lab.dir, port=self.port, workers=os.cpu_count(), user="user root;" if os.getuid() == 0 else ""))
        self.child = lab.start([program, "-p", lab.dir, "-c", lab.path("nginx.conf"), "-e", lab.path("nginx.log")],
                               stderr=subprocess.DEVNULL)
        wait_until("nginx", self.answers, 10)

    def answers(self):
        if self.child.poll() is not None:
            raise Trouble(f"nginx ended with {self.child.returncode}")
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except OSError:
            return False

    def close(self):
        self.lab.end(self.child)


CONFIG = """listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
  token: bench-token
  socket: {dir}/admin.sock
store: sqlite:{dir}/tributary.db
accounts:
"""
ACCOUNT = """  - name: {name}
    active: {active}
    order: {order}
    sources:
      - {{name: in, platform: webhook, secret: "{secret}"}}
    desk: {{platform: webhook, url: "http://127.0.0.1:{desk}/{name}", secret: "{desk_secret}"}}
"""


class Relay:
    """The daemon, with a store and a configuration of its own."""

    def __init__(self, lab, name):
        self.lab = lab
        self.dir = lab.path(name)
        os.mkdir(self.dir, mode=0o700)
        self.port, self.admin_port = free_port(), free_port()
        self.config = os.path.join(self.dir, "tributary.yaml")
        self.log = os.path.join(self.dir, "log")
        self.child = None

    def configure(self, desk, accounts=1, active=True, order="conversation"):
        with open(self.config, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(CONFIG.format(port=self.port, admin_port=self.admin_port, dir=self.dir))
            for i in range(accounts):
                file.write(ACCOUNT.format(name="bench" if accounts == 1 else f"bench-{i:06}", active=str(active).lower(), order=order,
                                          secret=SOURCE_SECRET, desk=desk, desk_secret=DESK_SECRET))

    def start(self, patience_s=60):
        """Returns the seconds until it was ready."""
        if not os.path.exists(RELAY):
            raise Trouble(f"{RELAY} is not there")
        began = time.monotonic()
        with open(self.log, "wb") as log:
            self.child = self.lab.start([RELAY, "serve", "-c", self.config], stdout=subprocess.DEVNULL, stderr=log, cwd=self.dir)
        wait_until("relay ready", self.ready, patience_s, pause_s=0.005)
        return time.monotonic() - began

    def lines(self):
        with open(self.log, errors="replace") as log:
            return log.read().splitlines()

    def ready(self):
        if any(re.search(r'"event":\s*"ready"', line) for line in self.lines()):
            return True
        if self.child.poll() is not None:
            raise Trouble(f"the relay ended with {self.child.returncode}: " + " | ".join(self.lines()[-3:]))
        return False

    def complaints(self):
        """Log lines at warning or error."""
        return [line for line in self.lines() if re.search(r'"level":\s*"(warn|warning|error|fatal)"', line)]

    def stop(self):
        self.lab.end(self.child)
        if self.child.returncode != 0:
            raise Trouble(f"the relay ended with {self.child.returncode}: " + " | ".join(self.lines()[-3:]))

    def status(self):
        """The counts of GET /api/v1/status, {} where there is no such thing."""
        control = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            control.request("GET", "/api/v1/status", headers={"Authorization": "Bearer bench-token"})
            answer = control.getresponse()
            found = json.loads(answer.read()) if answer.status == 200 else {}
        except (OSError, ValueError):
            found = {}
        control.close()
        return {key: found[key] for key in ("accepted", "delivered", "pending", "skipped", "discarded", "in_doubt") if key in found}

    def rss_mib(self):
        with open(f"/proc/{self.child.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) / 1024

    def cpu(self):
        """Seconds of CPU so far, by name of the thread (the scheduler's count, nanoseconds exact)."""
        used = {}
        for task in glob.glob(f"/proc/{self.child.pid}/task/*"):
            try:
                with open(task + "/comm") as file:
                    name = file.read().strip()
                with open(task + "/schedstat") as file:
                    used[name] = used.get(name, 0) + int(file.read().split()[0]) / 1e9
            except OSError:  # a thread that has just ended
                pass
        return used


def cpu_since(relay, before):
    now = relay.cpu()
    return {name: now[name] - before.get(name, 0) for name in now}


def flush_probe(directory, seconds=2.0, group=64, row=400):
    """What the disk takes: append a group's bytes and fdatasync, again and again. Rates and times of one flush."""
    path = os.path.join(directory, "flush-probe")
    block = os.urandom(group * row)
    times = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        began = last = time.monotonic()
        while last - began < seconds:
            os.write(fd, block)
            os.fdatasync(fd)
            now = time.monotonic()
            times.append(now - last)
            last = now
    finally:
        os.close(fd)
        os.unlink(path)
    times.sort()
    return {"group": group, "row_bytes": row, "flushes_per_s": len(times) / (last - began), "rows_per_s": group * len(times) / (last - began),
            "flush_ms": {"p50": times[len(times) // 2] * 1e3, "p99": times[len(times) * 99 // 100] * 1e3, "max": times[-1] * 1e3}}


class Others:
    """How much of the machine others took meanwhile, in percent of all its CPUs: what was busy less what our children used. To be
    read when all children have ended. Stolen time (the host ran somebody else) counts."""

    def __init__(self):
        self.began = self.read()

    @staticmethod
    def read():
        with open("/proc/stat") as file:
            user, nice, system, idle, iowait, irq, softirq, steal = (int(n) for n in file.readline().split()[1:9])
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return busy, own, time.monotonic()

    def percent(self):
        busy, own, seconds = (now - then for now, then in zip(self.read(), self.began))
        return max(0.0, (busy - own) / seconds / os.cpu_count() * 100)


def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal:\s+(\d+)", file.read()).group(1)) // 1024
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {"cpus": os.cpu_count(), "cpu": model.group(1) if model else "?", "memory_mib": memory, "kernel": os.uname().release,
            "load_before": os.getloadavg()[0], "commit": commit.stdout.strip() or None}
