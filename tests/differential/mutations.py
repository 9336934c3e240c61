"""Streams drawn with a seed: a valid one with one to three things changed, out of what the named ones are made of, and some with bytes
changed on top. The same seed and number give the same stream."""
import random
import re

from .streams import Stream, get

LENGTHS = ["{n}", "+{n}", "-{n}", "0{n}", "{n},{n}", "{n}, {n}", "{n} ", "\t{n}", "  {n}", "0x{x}", "", "0", "1", "{n}0", "{n}.", "{n}\x0b", "99999999999999999999", "{n}\x00", "{n};", "{n}\r\n ", "\r\n {n}", "{n}\t"]
CODINGS = ["chunked", "Chunked", "xchunked", "chunked, chunked", "identity", "gzip, chunked", "chunked, identity", "\x0bchunked", "\tchunked", "chunked\t", "chunked ", " chunked", ",chunked", "chunked,", "", "cow", "chunked;a=b", "\x00chunked", "chunked\x00", "\r\n chunked", '"chunked"', "chunked\x0c"]
LENGTH_NAMES = ["Content-Length"] * 12 + ["content-length", "Content-Length ", "Content_Length", " Content-Length", "Content-Length\t", "\x0bContent-Length", "Content-Length\x00", "X\nContent-Length", "X: y\rContent-Length", "X: y\nContent-Length"]
CODING_NAMES = ["Transfer-Encoding"] * 12 + ["transfer-encoding", "Transfer-Encoding ", "Transfer_Encoding", " Transfer-Encoding", "Transfer-Encoding\t", "\x0bTransfer-Encoding", "Transfer-Encoding\x00", "X\nTransfer-Encoding", "X: y\rTransfer-Encoding", "X: y\nTransfer-Encoding"]
LINES = ["POST {t} HTTP/1.0", "POST {t} HTTP/1.2", "POST {t} HTTP/2.0", "POST {t} http/1.1", "POST  {t} HTTP/1.1", "POST {t}  HTTP/1.1", "POST\t{t} HTTP/1.1", "POST {t} HTTP/1.1 ", "POST {t}", "post {t} HTTP/1.1", "POST {t}\x00 HTTP/1.1", "POST {t}\xff HTTP/1.1", "POST {t} x HTTP/1.1", "POST http://other{t} HTTP/1.1",
         "GET {t} HTTP/1.1", "PUT {t} HTTP/1.1", "POST {t}#a HTTP/1.1", "POST {t} HTTP/01.1", "POST {t} HTTP/1.1\x0b", "\r\nPOST {t} HTTP/1.1", "\nPOST {t} HTTP/1.1", "POST {t} HTTP/1.1\r", "POST {t}\rHTTP/1.1", "OPTIONS * HTTP/1.1", "POST //x{t} HTTP/1.1"]
HOSTS = [None, "Host: relay\r\nHost: relay", "Host: a@b", "Host:", "Host : relay", "host:relay", "Host: relay:1", "Host: relay,other", "Host: re lay", "Host: relay\x00", " Host: relay", "Host: [::1]:80", "Host:\trelay"]
EXTRAS = ["X-A: 1", "X-A:", "X-A : 1", "X-A", ": 1", "X A: 1", "X-A: 1\r\n 2", "X-A: 1\n", "X-A: 1\r", "X-A: \x00", "X-A: \x7f", "X-A: \xff", "X\xff: 1", "Expect: 100-continue", "Expect: x", "Connection: close", "Connection: keep-alive", "Connection: Transfer-Encoding", "Connection: Content-Length", "Upgrade: h2c\r\nConnection: Upgrade",
          "TE: trailers", "Trailer: X", "Content-Encoding: identity", "X-A: " + "x" * 9000, "Keep-Alive: max=1", "X-A: 1\r\n\t2", "\tX-A: 1", "Range: bytes=0-0", "X-A: a\x0bb", "Content-Type: text/plain"]
SIZES = ["{x}"] * 8 + ["0{x}", "+{x}", "-{x}", "0x{x}", " {x}", "{x} ", "{x}\t", "{x};a", "{x};a=b", '{x};a="b"', "{x};", "{x} ;a", "{x};a\x00", "{x}\x00", "000000000000000000{x}", "10000000000000000{x}", "{x}_", "{x},", "1", "{x}0"]
FIRSTS = ["\r\n"] * 12 + ["\n", "\r", "\r\r\n", "\n\r\n", " \r\n", ";\n\r\n"]
AFTERS = ["\r\n"] * 12 + ["\n", "\r", "", "xx", "\n\n", "\r\n\r\n", "\r\r"]
LASTS = ["0\r\n\r\n"] * 10 + ["0\n\n", "0\r\n\n", "00\r\n\r\n", "0;a\r\n\r\n", "0\r\nX-A: 1\r\n\r\n", "0\r\nContent-Length: 3\r\n\r\n", "0 \r\n\r\n", "0\r\nX-A\r\n\r\n", "0\r\n X: 1\r\n\r\n", "\r\n", "0\r\n", "0\r\nX-A: 1\n\r\n", "-0\r\n\r\n", "0x0\r\n\r\n"]
BYTES = [b"\x00", b"\t", b"\n", b"\r", b"\r\n", b" ", b":", b";", b",", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b'"', b"0", b"1", b"a", b"X", b"\\", b"/", b"\x1b"]


class Drawing:
    def __init__(self, chance):
        self.chance = chance

    def odd(self, ordinary, others, likely=0.15):
        return self.chance.choice(others) if self.chance.random() < likely else ordinary

    def framing(self):
        lines = []
        for names, values, good in ((LENGTH_NAMES, LENGTHS, "{n}"), (CODING_NAMES, CODINGS, "chunked")):
            count = self.chance.choice((0, 1, 1, 1, 1, 2)) if self.chance.random() < (0.6 if good == "{n}" else 0.45) else 0
            for _ in range(count):
                lines.append(self.chance.choice(names) + ":" + self.odd(" ", ["", "\t", "  "], 0.1) + self.odd(good, values, 0.35))
        self.chance.shuffle(lines)
        return lines

    def data(self, body, framing):
        """The bytes behind the head: the body as it is, or in chunks, mostly as the framing says."""
        in_chunks = any("hunked" in line for line in framing)
        if self.chance.random() < (0.1 if in_chunks else 0.9):
            return body
        size = self.chance.choice(SIZES).replace("{x}", f"{len(body):x}")
        parts = [size, self.chance.choice(FIRSTS)], [self.chance.choice(AFTERS), self.chance.choice(LASTS)]
        return "".join(parts[0]).encode("latin-1") + body + "".join(parts[1]).encode("latin-1")

    def post(self, stream, letter):
        framing = self.framing()
        body = stream.message(letter)
        if self.chance.random() < 0.08:  # the body is itself what another reading takes for a request
            body = self.chance.choice([b"", b"0\r\n\r\n"]) + stream.post(letter=letter + letter)
        extras = [self.chance.choice(EXTRAS) for _ in range(self.chance.choice((0, 0, 0, 1, 1, 2)))]
        return stream.post(*extras, letter=letter, body=body, data=self.data(body, framing), framing=framing,
                           line=self.odd(None, LINES), host=self.odd("Host: relay", HOSTS, 0.1))

    def build(self, stream):
        data = self.post(stream, "a")
        tail = self.chance.random()
        if tail < 0.25:
            data += self.odd(b"", [b"\r\n", b"\n", b" ", b"x", b"\r\n\r\n", b"\x00"]) + (self.post(stream, "b") if tail < 0.1 else stream.post(letter="b"))
        elif tail < 0.3:
            data += self.chance.choice([get(), b"0\r\n\r\n", b"x", b"GET / HTTP/1.1\r\n"])
        if self.chance.random() < 0.35:
            for _ in range(self.chance.choice((1, 1, 2))):
                data = self.changed(data)
        return data

    def changed(self, data):
        """One byte more, less or another one. What the signature needs stays as it is: without it nobody could tell what was read."""
        kept = [m.span() for m in re.finditer(rb"\r?\n?webhook-[^\r\n]*\r?\n?|\??s\d+[a-z]+ ?", data)]
        free = [m.start() for m in re.finditer(rb"[\r\n :;,]|(?<=[\r\n :])[^\r\n]", data) if not any(a <= m.start() <= b for a, b in kept)]
        if not free:
            return data
        at, what = self.chance.choice(free), self.chance.choice(BYTES)
        return data[:at] + self.chance.choice([what, what, b""]) + data[at + self.chance.choice((0, 1, 1)):]


def drawn(number, seed, target):
    return Stream(number, f"seed {seed}", Drawing(random.Random(f"{seed}/{number}")).build, target)
