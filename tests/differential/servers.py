"""nginx, apache2, haproxy and lighttpd of the distribution, each as an origin that tells what it read (recorder.py) and as a reverse proxy
before an upstream. Configurations and all that they write are in a directory of ours; the system's own are not read."""
import os
import shutil
import socket
import subprocess

from harness.common import PATIENCE_S, free_port, wait_for

# Each request that a proxy makes bears this header with a word that no client knows: so many requests there are in its own view.
MARK = "X-Front"

# What is too large is a matter of configuration, and set to no less than ours: heads of 32 KiB, 100 headers, bodies of 4 MiB.
NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  log_format requests escape=json $request; access_log {dir}/requests.log requests;
  client_max_body_size 8m; large_client_header_buffers 8 64k; keepalive_timeout 60s; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
  fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  upstream relay {{ server 127.0.0.1:{upstream}; keepalive 16; }}
  server {{ listen 127.0.0.1:{port}; location / {{ {handler} }} }}
}}"""
NGINX_ORIGIN = """fastcgi_pass unix:{recorder}; fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri;
  fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param SCRIPT_FILENAME x; fastcgi_ignore_client_abort on;"""
NGINX_PROXY = """proxy_pass http://relay; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header {mark} {word}; proxy_next_upstream off; {more}"""

APACHE = """
ServerRoot {dir}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {dir}/pid
DefaultRuntimeDir {dir}
Mutex file:{dir} default
ErrorLog {dir}/error.log
LogLevel crit
LogFormat "%r" requests
CustomLog {dir}/requests.log requests
User www-data
Group www-data
KeepAliveTimeout 60
LimitRequestFieldSize 65536
LimitRequestLine 65536
ServerLimit 1
StartServers 1
ThreadsPerChild 64
ThreadLimit 64
MaxRequestWorkers 64
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
{handler}"""
APACHE_ORIGIN = 'ProxyPass "/" "unix:{recorder}|fcgi://localhost/"'
APACHE_PROXY = 'ProxyPass "/" "http://127.0.0.1:{upstream}/" nocanon ttl=60\nAllowEncodedSlashes NoDecode\nProxyPreserveHost On\nRequestHeader set {mark} {word}'

HAPROXY = """
global
  maxconn 4000
  tune.bufsize 65536
  tune.http.maxhdr 200
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%{{+Q}}r"
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port}
{handler}"""
# With option http-buffer-request the whole body is waited for; what is beyond haproxy's buffer is not told.
HAPROXY_ORIGIN = """  option http-buffer-request
  http-request return status 200 content-type application/json lf-string '{{"method":"%[method]","length":%[req.body_len],"body":"%[req.body,hex,lower]"}}'"""
HAPROXY_PROXY = """  default_backend relay
backend relay
  http-reuse always
  http-request set-header {mark} {word}
  server one 127.0.0.1:{upstream}"""

LIGHTTPD = """
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{dir}"
server.errorlog = "{dir}/error.log"
server.upload-dirs = ("{dir}")
server.max-request-field-size = 65535
server.max-keep-alive-idle = 60
server.max-keep-alive-requests = 100000
server.max-fds = 4096
{handler}
server.modules += ("mod_accesslog")
accesslog.format = "%r"
accesslog.filename = "{dir}/requests.log"
"""
LIGHTTPD_ORIGIN = """server.modules = ("mod_fastcgi")
fastcgi.server = ("/" => (("socket" => "{recorder}", "check-local" => "disable")))"""
LIGHTTPD_PROXY = """server.modules = ("mod_setenv", "mod_proxy")
setenv.set-request-header = ("{mark}" => "{word}")
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {upstream})))
{more}"""

KINDS = {  # the program, how it is told its configuration, the configuration, what it is as an origin, and as a proxy
    "nginx": ("nginx", ["-p", "{dir}", "-c", "{file}", "-e", "{dir}/error.log"], NGINX, NGINX_ORIGIN, NGINX_PROXY),
    "apache2": ("apache2", ["-f", "{file}", "-DFOREGROUND"], APACHE, APACHE_ORIGIN, APACHE_PROXY),
    "haproxy": ("haproxy", ["-db", "-f", "{file}"], HAPROXY, HAPROXY_ORIGIN, HAPROXY_PROXY),
    "lighttpd": ("lighttpd", ["-D", "-f", "{file}"], LIGHTTPD, LIGHTTPD_ORIGIN, LIGHTTPD_PROXY),
}
# A proxy that passes a body on while it comes; haproxy and apache2 do so anyway.
STREAMING = {"nginx": "proxy_request_buffering off;", "lighttpd": "server.stream-request-body = 2"}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    return [kind for kind, (program, *_) in KINDS.items() if not shutil.which(program, path=PATH)]


class Server:
    """One of the four. `recorder`: the path of a Recorder, it is an origin then; else the port of an `upstream`, the proxy's `word`, and
    `more` of its configuration."""

    def __init__(self, kind, directory, recorder=None, upstream=0, word="", more=""):
        self.kind, self.port = kind, free_port()
        self.directory = os.path.join(directory, f"{kind}-{self.port}")
        os.mkdir(self.directory)
        os.chmod(self.directory, 0o777)
        program, arguments, frame, origin, proxy = KINDS[kind]
        known = {"dir": self.directory, "port": self.port, "recorder": recorder, "upstream": upstream or 9, "mark": MARK, "word": word, "more": more,
                 "modules": "/usr/lib/apache2/modules", "file": os.path.join(self.directory, "conf")}
        with open(known["file"], "w") as file:
            file.write(frame.format(**known, handler=(origin if recorder else proxy).format(**known)) + "\n")
        with open(self._said(), "w") as said:
            self.process = subprocess.Popen([shutil.which(program, path=PATH)] + [a.format(**known) for a in arguments], cwd=self.directory,
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            wait_for(self._listens, f"{kind} listens", PATIENCE_S)
        except BaseException:
            self.stop()
            raise

    def _said(self):
        return os.path.join(self.directory, "said")

    def _listens(self):
        if self.process.poll() is not None:
            with open(self._said()) as said:
                raise AssertionError(f"{self.kind} ended: {said.read()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def version(self):
        said = subprocess.run([self.process.args[0], "-v"], capture_output=True, text=True, timeout=PATIENCE_S)
        return (said.stdout + said.stderr).splitlines()[0]

    def requests(self):
        """The request lines that it saw, once it has stopped."""
        path = os.path.join(self.directory, "requests.log")
        with open(path if os.path.exists(path) else self._said(), errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
