"""What goes between a proxy and its upstream, kept by connection: so many requests the proxy made (each bears its word), and so many
were answered."""
import asyncio
import re

REQUEST = re.compile(rb"\?s(\d+)([a-z]+) HTTP/1\.[01]\r\n((?:[^\r\n]+\r\n)*)\r\n")
FINAL = re.compile(rb"HTTP/1\.1 [2-5]\d\d ")  # no body of these upstreams has that in it


class Passed:
    def __init__(self, word):
        self.word, self.up, self.down = word.encode(), bytearray(), bytearray()
        self.unasked = False  # at some moment there were more answers than requests: later requests may make up for it

    @property
    def requests(self):
        return self.up.count(self.word)

    def own(self):
        """The messages whose request has the word in its own head."""
        return {(int(n), letter.decode()) for n, letter, head in REQUEST.findall(self.up) if self.word in head}

    def answered(self):
        self.unasked |= len(FINAL.findall(self.down)) > self.requests


class Tap:
    def __init__(self, upstream, word):
        self.upstream, self.word, self.connections, self.open = upstream, word, [], set()

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self):
        """What is open is cut: its proxy has gone."""
        self.server.close()
        for task in self.open:
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)

    async def _serve(self, reader, writer):
        passed, ends = Passed(self.word), [writer]
        self.connections.append(passed)
        self.open.add(asyncio.current_task())
        try:
            below = await asyncio.open_connection("127.0.0.1", self.upstream)
            ends.append(below[1])
            await asyncio.gather(self._pump(reader, below[1], passed.up), self._pump(below[0], writer, passed.down, passed.answered))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.close()
            self.open.discard(asyncio.current_task())

    async def _pump(self, reader, writer, kept, note=lambda: None):
        try:
            while data := await reader.read(1 << 16):
                kept += data
                note()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()

    def unasked(self):
        """Connections on which the upstream answered what the proxy had not asked."""
        return [c for c in self.connections if c.unasked]

    def own(self):
        """{(stream, letter)} of all requests that the proxy made as ones of its own."""
        return set().union(*(c.own() for c in self.connections))

    def requests(self):
        return sum(c.requests for c in self.connections)
