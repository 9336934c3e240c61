"""A small HTTP proxy for one upstream that shows every exchange to a watcher. What breaks upstream breaks here too: an answer that
does not come is not given."""
import http.client
import http.server
import socket
import threading
import urllib.parse

DROPPED = (ConnectionError, http.client.HTTPException, socket.timeout, OSError)
HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class Proxy:
    """with Proxy(upstream) as proxy: proxy.url. Subclasses look: on_request(method, target, headers, body) before it is sent on,
    on_answer(method, target, status, headers, body) before it is given back; header names in lower case. An exception in them
    is kept in `trouble`."""

    def __init__(self, upstream, timeout_s=120):
        parts = urllib.parse.urlsplit(upstream)
        self.upstream, self.timeout_s = (parts.hostname, parts.port), timeout_s
        self.trouble = []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def on_request(self, method, target, headers, body):
        pass

    def on_answer(self, method, target, status, headers, body):
        pass

    def translated(self, body):
        """The body of an answer as it is given back."""
        return body

    def watch(self, look, *args):
        with self.lock:
            try:
                look(*args)
            except Exception as error:  # a broken watcher must not look like a broken relay
                self.trouble.append(f"{look.__name__}: {error!r}")

    def handler(self):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = proxy.timeout_s

            def log_message(self, *args):
                pass

            def pass_on(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length) if length else b""
                headers = {name.lower(): value for name, value in self.headers.items()}
                proxy.watch(proxy.on_request, self.command, self.path, headers, body)
                upstream = http.client.HTTPConnection(*proxy.upstream, timeout=proxy.timeout_s)
                try:
                    upstream.request(self.command, self.path, body or None,
                                     {name: value for name, value in headers.items() if name not in HOP})
                    answer = upstream.getresponse()
                    data = proxy.translated(answer.read())
                except DROPPED:
                    self.close_connection = True
                    return
                finally:
                    upstream.close()
                given = {name.lower(): value for name, value in answer.getheaders()}
                proxy.watch(proxy.on_answer, self.command, self.path, answer.status, given, data)
                self.give(answer, data)

            def give(self, answer, data):
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = pass_on

        return Handler
