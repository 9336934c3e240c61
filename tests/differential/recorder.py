"""What a server read, by its own word: a FastCGI application that answers each request with its method, target and body. FastCGI frames
by lengths of its own, so nothing of HTTP is read a second time on the way here."""
import asyncio
import json
import os
import struct

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
SHOWN = 4096  # bytes of a body that are told as they are


def echo(method, target, body):
    """The body of an origin's answer; haproxy's is written by its configuration (servers.py)."""
    return json.dumps({"method": method, "target": target, "length": len(body), "body": body[:SHOWN].hex()}).encode()


def parameters(data):
    found, at = {}, 0

    def length():
        nonlocal at
        if data[at] < 0x80:
            at += 1
            return data[at - 1]
        at += 4
        return struct.unpack(">I", data[at - 4:at])[0] & 0x7FFFFFFF
    while at < len(data):
        name_n, value_n = length(), length()
        found[data[at:at + name_n].decode("latin-1")] = data[at + name_n:at + name_n + value_n].decode("latin-1")
        at += name_n + value_n
    return found


def record(kind, number, content=b""):
    return struct.pack(">BBHHBB", 1, kind, number, len(content), 0, 0) + content


class Recorder:
    def __init__(self, path):
        self.path, self.server = path, None

    async def start(self):
        self.server = await asyncio.start_unix_server(self._serve, self.path)
        os.chmod(self.path, 0o666)  # apache's workers are somebody else

    async def _serve(self, reader, writer):
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass  # the server gave the request up
        finally:
            writer.close()

    async def _one(self, reader, writer):
        params, body, keep = b"", b"", False
        while True:
            _, kind, number, length, padding, _ = struct.unpack(">BBHHBB", await reader.readexactly(8))
            content = (await reader.readexactly(length + padding))[:length]
            if kind == BEGIN:
                keep = bool(content[2] & 1)
            elif kind == PARAMS:
                params += content
            elif kind == STDIN and content:
                body += content
            elif kind == STDIN:
                break
        told = parameters(params)
        text = echo(told.get("REQUEST_METHOD", ""), told.get("REQUEST_URI", ""), body)
        answer = b"Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        writer.write(record(STDOUT, number, answer) + record(STDOUT, number) + record(END, number, bytes(8)))
        await writer.drain()
        return keep
