"""Servers that read as ours must not, for the controls: a server and a proxy that are careless about where a request ends."""
import asyncio

from .recorder import echo


TROUBLE = (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError)


class Request:
    def __init__(self, head, raw_body, body):
        self.head, self.raw_body, self.body = head, raw_body, body
        self.line = head.split(b"\r\n")[0].decode("latin-1")
        words = self.line.split(" ") + [""]
        self.method, self.target = words[0], words[1]


async def read_request(reader, length, prefers):
    """By its own, careless reading: lengths by `length`, and of length and chunks whichever is preferred ("length" or "chunks"); a coding
    is chunked when it holds the word."""
    head = b""
    while not head:
        head = (await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n")
    fields = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        fields[line.partition(":")[0].strip().lower()] = line.partition(":")[2].strip()
    chunked = "chunked" in fields.get("transfer-encoding", "")
    raw = body = b""
    if chunked and not (prefers == "length" and "content-length" in fields):
        while True:
            line = await reader.readuntil(b"\n")
            size = int(line.split(b";")[0].strip() or b"0", 16)
            chunk = await reader.readexactly(size)
            body, raw = body + chunk, raw + line + chunk
            raw += await reader.readuntil(b"\n")
            if size == 0:
                break
    elif "content-length" in fields:
        raw = body = await reader.readexactly(max(0, length(fields["content-length"])))
    return Request(head, raw, body)


class Lenient:
    def __init__(self, length=int, prefers="chunks"):
        self.length, self.prefers = length, prefers
        self.lines = []  # of the requests that were read, in its own view

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self.server.sockets[0].getsockname()[1]

    def stop(self):
        self.server.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                request = await read_request(reader, self.length, self.prefers)
                self.lines.append(request.line)
                writer.write(await self.answer(request))
                await writer.drain()
                if b"\r\nconnection: close\r\n" in request.head.lower():
                    break
        except TROUBLE:
            pass
        finally:
            writer.close()


class LenientServer(Lenient):
    """Tells what it read, as the origins do."""

    async def answer(self, request):
        text = echo(request.method, request.target, request.body)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


class LenientProxy(Lenient):
    """Passes on what it read as it came, with its mark, over one connection that all clients share."""

    def __init__(self, upstream, mark, word, patience_s, **reading):
        super().__init__(**reading)
        self.upstream, self.mark = upstream, f"\r\n{mark}: {word}\r\n".encode()
        self.patience_s, self.turn, self.connection = patience_s, asyncio.Lock(), None

    async def answer(self, request):
        async with self.turn:
            try:
                return await asyncio.wait_for(self._pass_on(request), self.patience_s)
            except asyncio.TimeoutError:
                self._hang_up()
                return b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"
            except TROUBLE:
                self._hang_up()
                return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

    def _hang_up(self):
        if self.connection:
            self.connection[1].close()
        self.connection = None

    async def _pass_on(self, request):
        if self.connection is None:
            self.connection = await asyncio.open_connection("127.0.0.1", self.upstream)
        reader, writer = self.connection
        writer.write(request.head.replace(b"\r\n", self.mark, 1) + request.raw_body)
        head = b"HTTP/1.1 100 "
        while head.startswith(b"HTTP/1.1 100 "):
            head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:-2])
        body = await reader.readexactly(0 if request.method == "HEAD" else int(fields.get("content-length", 0)))
        if fields.get("connection") == "close":
            self._hang_up()
        return head + body

    def requests(self):
        return "\n".join(self.lines)
