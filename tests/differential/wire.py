"""A stream of bytes to a port, and what came back: many at a time, and no answer is an answer, too. Nothing is waited for but silence."""
import asyncio
import json


async def ask(port, data, quiet_s):
    """(all that was answered, whether the peer closed). Silence for `quiet_s` ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got, closed = b"", False
    try:
        writer.write(data)
        while not closed:
            more = await asyncio.wait_for(reader.read(1 << 16), quiet_s)
            got, closed = got + more, not more
    except asyncio.TimeoutError:
        pass
    except OSError:
        closed = True  # reset
    finally:
        writer.transport.abort()
    return got, closed


def unchunked(data):
    """(the body, what is behind it) of an answer in chunks."""
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        length = int(size or b"0", 16)
        body, data = body + rest[:length], rest[length + 2:]
        if length == 0:
            return body, data


class Answer:
    def __init__(self, status, body):
        self.status, self.body = status, body

    def __repr__(self):
        return f"{self.status}"

    @property
    def told(self):
        """What an origin read, as it told (recorder.py), or {}."""
        try:
            told = json.loads(self.body)
            return told if isinstance(told, dict) else {}
        except ValueError:
            return {}


OLD = 9  # the status of an answer without a head: HTTP/0.9


def answers(data):
    """The final ones, in order. Bodies that are absent (of HEAD) are noticed by the next answer standing in their place."""
    found = []
    while data:
        if not data.startswith(b"HTTP/"):
            return found + [Answer(OLD, data)]
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            break
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {l.partition(":")[0].lower(): l.partition(":")[2].strip() for l in lines[1:]}
        length = int(headers.get("content-length", -1))
        if status < 200 and status != 101:
            data = rest
            continue
        if status in (101, 204, 304) or rest.startswith(b"HTTP/"):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body, rest = unchunked(rest)
        else:
            body, rest = (rest, b"") if length < 0 else (rest[:length], rest[length:])
        found.append(Answer(status, body))
        data = rest
    return found
