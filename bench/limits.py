"""What the machine can do, for the ratios: nginx with the same requests, the disk's flush, and how much of it others took meanwhile."""
import os
import re
import resource
import shutil
import socket
import subprocess
import time

from lab import ROOT, SOURCE_SECRET, Trouble, free_port, wait_until


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


def nginx_rate(lab, seconds):
    """The generator's report of the same POSTs, over 64 connections."""
    nginx = Nginx(lab)
    load = lab.generate(nginx.port, seconds=seconds, connections=64, lanes=1000, secret=SOURCE_SECRET)
    nginx.close()
    if set(load["status"]) != {"200"} or load["broken"] or load["unanswered"]:
        raise Trouble(f"nginx: answers {load['status']}, {load['broken']} connections broken")
    return load


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
