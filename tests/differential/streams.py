"""Hostile byte streams: those with a name and what our server must make of them, and mutations of valid ones drawn with a seed.

Each stream holds messages rightly signed for a webhook source, so that whoever reads one where it should not be taken stores it. The
signatures are of the moment of sending: a stream is a template until `bytes()`.
"""
import json
import time

from harness.common import sign, text_of

TIME = b"<time~~~~>"  # as long as what takes its place
SIGNATURES = 95       # two of them and a blank
NO_SIGNATURE = "v1," + "A" * 43 + "="


class Stream:
    """`number` tells it from all others of a run, `expected` is one letter for each answer of ours: t(aken), r(efused and closed),
    w(aits for more); with a reason where that is not simply "refused"."""

    def __init__(self, number, name, build, target, expected=None, why=""):
        self.number, self.name, self.target, self.expected, self.why = number, name, target, expected, why
        self.bodies = {}  # letter: the body that is signed, in the order in which they were built: inner ones first
        self.template = build(self)

    def __repr__(self):
        return f"{self.name} ({self.number})"

    def id(self, letter):
        return f"s{self.number}{letter}"

    def bytes(self, secret, also=None, of=None):
        """With `also` the second signature of message `of` is right for that body, as it was read of the bytes before: these keep
        their time."""
        at = self.at = str(int(time.time())) if also is None else self.at
        fields = {TIME: at.encode()}

        def filled(data):
            for field, value in fields.items():
                data = data.replace(field, value)
            return data
        for letter, body in self.bodies.items():
            both = [sign(secret, self.id(letter), at, filled(body)), sign(secret, self.id(letter), at, also) if letter == of else NO_SIGNATURE]
            fields[self._signatures(letter)] = " ".join(both).encode()
        self.sent = {letter: filled(body) for letter, body in self.bodies.items()}  # what is signed
        return filled(self.template)

    def _signatures(self, letter):
        return f"<signatures {letter}".encode().ljust(SIGNATURES, b"~")

    # What streams are built of

    def message(self, letter, words="good day"):
        key = self.id(letter)
        return json.dumps({"id": key, "conversation": "c1", "sender": {"id": "u1", "name": "Ada"}, "text": text_of(key, words)}).encode()

    def head(self, letter, body, lines=(), line=None, host="Host: relay", end="\r\n"):
        """A head up to the empty line, which is the caller's as the body is. In a line {n} is the body's length, {x} the
        same in hexadecimal, {t} the target, {q} its query."""
        self.bodies[letter] = body
        signed = ["webhook-id: " + self.id(letter), "webhook-timestamp: " + TIME.decode(), "webhook-signature: " + self._signatures(letter).decode()]
        lines = [line or "POST {t} HTTP/1.1"] + signed + ([host] if host is not None else []) + list(lines) + ["Content-Type: application/json"]
        known = {"{n}": str(len(body)), "{x}": f"{len(body):x}", "{q}": "?" + self.id(letter), "{t}": f"{self.target}?{self.id(letter)}"}
        text = end.join(lines) + end
        for field, value in known.items():
            text = text.replace(field, value)
        return text.encode("latin-1")

    def post(self, *lines, letter="a", body=None, data=None, framing="Content-Length: {n}", **head):
        """A whole request: valid, but for what is asked for. `data` are the bytes behind the head if they are not the body."""
        body = self.message(letter) if body is None else body
        framing = [framing] if isinstance(framing, str) else list(framing or ())
        return self.head(letter, body, framing + list(lines), **head) + b"\r\n" + (body if data is None else data)

    def chunked(self, *lines, letter="a", size="{x}", first="\r\n", after="\r\n", last="0\r\n\r\n", framing="Transfer-Encoding: chunked", **head):
        """The message in one chunk."""
        body = self.message(letter)
        size = size.replace("{x}", f"{len(body):x}")
        data = (size + first).encode("latin-1") + body + (after + last).encode("latin-1")
        return self.post(*lines, letter=letter, body=body, data=data, framing=framing, **head)


def get(*lines, target="/healthz", version="1.1"):
    return "".join(l + "\r\n" for l in (f"GET {target} HTTP/{version}", "Host: relay", *lines)).encode() + b"\r\n"


# ---- those with a name. (name, builder) is refused by us; else what we do, and why, comes behind.

def lengths():
    values = ["+{n}", "-{n}", "0x{x}", "{n},{n}", "{n}, {n}", "0,{n}", ",{n}", "{n},", "{n};", "{n}.0", "{n} {n}", "{n} 0", "", "1e3", '"{n}"', "{n}\x0b", "{n}\x0c", "\x0b{n}",
              "{n}\x00", "1_0", "\xd9\xa1\xd9\xa2", "\xef\xbc\x91", "9223372036854775808", "18446744073709551616", "18446744073709551617", "9" * 40, "-1", "-0", "{n}L", "{n}\r", "a"]
    for value in values:
        yield f"length {value!r}", lambda s, value=value: s.post(framing="Content-Length: " + value)
    for name, value in {"zeros": "000{n}", "blanks before": "   {n}", "tab before": "\t{n}", "blanks behind": "{n}  "}.items():
        yield f"length, {name}", lambda s, value=value: s.post(framing="Content-Length:" + (value if value[0] in " \t" else " " + value)), "t", "digits; RFC 9110 8.6, 5.5"
    yield "length, tab behind", lambda s: s.post(framing="Content-Length: {n}\t")
    yield "length of 20 digits", lambda s: s.post(framing="Content-Length: " + "0" * 18 + "{n}")
    yield "no blank after the colon", lambda s: s.post(framing="Content-Length:{n}"), "t", "RFC 9112 5: the blank is optional"
    yield "lower case", lambda s: s.post(framing="content-length: {n}"), "t", "names know no case"
    for name in ("Content-Length ", "Content-Length\t", " Content-Length", "\tContent-Length", "Content-Length\x00", "Content-Length\x0b", "\x00Content-Length", "Content Length", "Content-Length:", "\xa0Content-Length"):
        yield f"length's name {name!r}", lambda s, name=name: s.post(framing=name + ": {n}")
    for name in ("Content_Length", "Content-Lengt", "X-Content-Length", "Content.Length"):
        yield f"another name {name!r}", lambda s, name=name: s.post(framing=name + ": {n}"), "tr", "another header: there is no body, and what follows is no request"
    yield "twice equal", lambda s: s.post(framing=["Content-Length: {n}"] * 2)
    yield "twice different", lambda s: s.post(framing=["Content-Length: {n}", "Content-Length: 0"])
    yield "twice, zero first", lambda s: s.post(framing=["Content-Length: 0", "Content-Length: {n}"])
    yield "twice, far apart", lambda s: s.post("X-A: 1", "X-B: 2", "content-length: {n}")
    yield "zero and an inner request", lambda s: s.post(framing="Content-Length: 0", data=s.post(letter="b")), "tt", "two requests by the length's word, the first without a body"
    yield "none and an inner request", lambda s: s.post(framing=None, data=s.post(letter="b")), "tt", "without a length there is no body: RFC 9112 6.3"
    yield "one byte less", lambda s: s.post(body=s.message("a"), framing="Content-Length: " + str(len(s.message("a")) - 1)), "tr", "the byte behind is no request"


def encodings():
    values = ["xchunked", "chunkedx", "chunked, chunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, gzip", "gzip", "identity", "chunked;q=1", '"chunked"', "'chunked'",
              "\x0bchunked", "chunked\x0b", "\x0cchunked", "chunked\x00", "\x00chunked", "chun\x00ked", "chun ked", "chunked chunked", ",chunked", "chunked,", ", chunked", "", " ", "\xffchunked", "\xa0chunked", "cow",
              "\r\n chunked", "x\r\n chunked", "\tchunked", "chunked\t", "  chunked", "\nchunked", "\rchunked", "chunked\r", "x\nTransfer-Encoding: chunked", "x\rTransfer-Encoding: chunked"]
    for value in values:
        yield f"coding {value!r}", lambda s, value=value: s.chunked(framing="Transfer-Encoding: " + value if value[:1] != "\t" else "Transfer-Encoding:" + value)
        yield f"coding {value!r} and a length", lambda s, value=value: s.chunked(framing=["Transfer-Encoding: " + value, "Content-Length: 4"])
    for name in ("Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding", "\tTransfer-Encoding", "Transfer-Encoding\x0b", "Transfer-Encoding\x00", "\x00Transfer-Encoding", "Transfer Encoding", "Transfer-Encoding:", "\x0bTransfer-Encoding"):
        yield f"coding's name {name!r}", lambda s, name=name: s.chunked(framing=name + ": chunked")
        yield f"coding's name {name!r} and a length", lambda s, name=name: s.post(framing=["Content-Length: {n}", name + ": chunked"])
    for name in ("Transfer_Encoding", "X-Transfer-Encoding", "Transfer-Encodin", "TE", "Content-Transfer-Encoding"):
        yield f"another name {name!r}", lambda s, name=name: s.chunked(framing=name + ": chunked"), "tr", "another header: there is no body, and what follows is no request"
        yield f"another name {name!r} and a length", lambda s, name=name: s.post(framing=["Content-Length: {n}", name + ": chunked"]), "t", "another header: the length counts"
    for value in ("chunked", "CHUNKED", "Chunked", "chunked "):
        yield f"good: {value!r}", lambda s, value=value: s.chunked(framing="Transfer-Encoding: " + value), "t", "the one coding that is spoken"
    yield "good: no blank", lambda s: s.chunked(framing="transfer-encoding:chunked"), "t", "RFC 9112 5: the blank is optional"
    yield "twice", lambda s: s.chunked(framing=["Transfer-Encoding: chunked"] * 2)
    yield "twice, one unknown", lambda s: s.chunked(framing=["Transfer-Encoding: chunked", "Transfer-Encoding: cow"])
    yield "twice, unknown first", lambda s: s.chunked(framing=["Transfer-Encoding: cow", "Transfer-Encoding: chunked"])
    yield "twice, identity first", lambda s: s.chunked(framing=["Transfer-Encoding: identity", "Transfer-Encoding: chunked"])
    yield "identity with a length", lambda s: s.post(framing=["Content-Length: {n}", "Transfer-Encoding: identity"])
    for framing in (["Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Connection: keep-alive"], ["Content-Length: 4", "Transfer-Encoding: chunked"], ["Transfer-Encoding: identity", "Content-Length: 4"]):
        yield f"HTTP/1.0 {framing}", lambda s, framing=framing: s.chunked(framing=framing, line="POST {t} HTTP/1.0")
    yield "a GET with chunks", lambda s: s.chunked(line="GET {t} HTTP/1.1")


def smuggled():
    """The classes by their usual names: what one reads as a body the other reads as a request."""
    inner = lambda s: s.post(letter="b")
    te, length = "Transfer-Encoding: chunked", "Content-Length: "
    for first in (0, 1):
        turn = (lambda a, b: [a, b]) if first else (lambda a, b: [b, a])
        yield f"CL.TE {first}", lambda s, turn=turn: (lambda data: s.post(framing=turn(length + str(len(data)), te), data=data))(b"0\r\n\r\n" + inner(s))
        yield f"TE.CL {first}", lambda s, turn=turn: (lambda data: s.post(framing=turn(length + str(len(b"%x\r\n" % len(data))), te), data=b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)))(inner(s))
        yield f"CL.CL {first}", lambda s, turn=turn: (lambda data: s.post(framing=turn(length + "0", length + str(len(data))), data=data))(inner(s))
    for odd in ("Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, cow", "Transfer-Encoding:\tchunked", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding\r\n : chunked", "X: x\nTransfer-Encoding: chunked",
                "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked\x00", "Transfer-Encoding", "transfer-encoding: identity", "Transfer_Encoding: chunked", "Transfer-Encoding: chunked\r", "Foo: bar\r Transfer-Encoding: chunked", "Transfer-Encoding;: chunked"):
        expected = ("t", "another header: the length counts") if "_" in odd else ()
        yield f"CL.TE by {odd!r}", lambda s, odd=odd: (lambda data: s.post(framing=[length + str(len(data)), odd], data=data))(b"0\r\n\r\n" + inner(s)), *expected
        yield f"TE.TE by {odd!r}", lambda s, odd=odd: (lambda data: s.post(framing=["Transfer-Encoding: chunked", odd], data=data))(b"0\r\n\r\n" + inner(s)), *(("tt", "chunked, and another header") if expected else ())
    for odd in ("Content-Length : {}", "Content-Length:\x0b{}", "Content-Length: +{}", "Content-Length: {}, {}", "Content-Length\x00: {}", "X: x\nContent-Length: {}", "Content-Length:\r\n {}", "Content-Length: 0{}"):
        expected = ("t", "digits; the inner one is the body") if odd.endswith("0{}") else ()
        yield f"0.CL by {odd!r}", lambda s, odd=odd: (lambda data: s.post(framing=odd.replace("{}", str(len(data))), data=data))(inner(s)), *expected
        yield f"CL.0 by {odd!r}", lambda s, odd=odd: (lambda data: s.post(framing=[odd.replace("{}", str(len(data))), "Content-Length: 0"], data=data))(inner(s))
    yield "CL.0 on a path without a body", lambda s: (lambda data: get(f"Content-Length: {len(data)}") + data)(inner(s))
    yield "a GET without a length and more", lambda s: get() + inner(s), "tt", "two requests"
    for name, lines in {"Expect": ["Expect: 100-continue"], "Expect with a blank": ["Expect: 100-continue "], "Expect twice": ["Expect: 100-continue"] * 2, "Expect folded": ["Expect:\r\n 100-continue"], "Expect y": ["Expect: y 100-continue"]}.items():
        expected = ("t", "RFC 9110 10.1.1") if name in ("Expect", "Expect with a blank") else ()
        yield f"0.CL by {name}", lambda s, lines=lines: (lambda data: s.post(*lines, framing=f"Content-Length: {len(data)}", data=data))(inner(s)), *expected
    # The line of a chunk's size ends in one view where it does not in another.
    for name, line in {"LF ends an extension": "2;\n", "CR ends an extension": "2;\r", "LF in an extension": "2;a\nb\r\n", "CR in an extension": "2;a\rb\r\n", "LF ends a size": "2\n", "CR ends a size": "2\r", "CR CR LF": "2\r\r\n", "blank LF": "2 \n"}.items():
        yield f"chunks: {name}", lambda s, line=line: s.post(framing=te, data=line.encode() + b"xx\r\n45\r\n0\r\n\r\n" + inner(s))
    for name, after in {"two bytes for CRLF": "xx", "LF": "\n", "CR": "\r", "nothing": "", "LF LF": "\n\n", "CR CR": "\r\r", "LF CR": "\n\r"}.items():
        yield f"chunks: {name} behind the data", lambda s, after=after: s.post(framing=te, data=b"5\r\nxxxxx" + after.encode() + b"0\r\n\r\n" + inner(s))
    for name, last in {"LF": "0\n\n", "CRLF LF": "0\r\n\n", "LF CRLF": "0\n\r\n", "CR": "0\r\r", "two zeros": "0\r\n0\r\n\r\n", "no end": "0\r\n", "a word": "0\r\nx\r\n\r\n", "00": "00\r\n\r\n", "0;": "0;\r\n\r\n", "0 ": "0 \r\n\r\n"}.items():
        expected = ("tt", "a size of zeros is the last") if name == "00" else ()
        yield f"chunks: ended by {name}", lambda s, last=last: s.chunked(last=last) + inner(s), *expected
    for name, lines in {"a length": "Content-Length: 300\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "a host": "Host: other\r\n", "a request": "POST /x HTTP/1.1\r\n"}.items():
        expected = ("tt", "trailers are read over") if name == "a host" else ()
        yield f"trailers with {name}", lambda s, lines=lines: s.chunked(last="0\r\n" + lines + "\r\n") + inner(s), *expected


def chunks():
    sizes = ["+{x}", "-{x}", "0x{x}", " {x}", "\t{x}", "{x}_0", "{x}.0", "{x},", "", "g", "hello", "{x}h", "\x00{x}", "{x}\x00", "FFFFFFFFFFFFFFFFF{x}", "100000000000000{x}", "1000000000000000{x}", "-1", "-0", "ffffffffffffffff", "8000000000000000", "{x}\x0b", "{x} x", "{x}:"]
    for size in sizes:
        yield f"size {size!r}", lambda s, size=size: s.chunked(size=size)
    for size in ("0{x}", "00000000{x}"):
        yield f"size {size!r}", lambda s, size=size: s.chunked(size=size), "t", "hexadecimal digits"
    yield "size in capitals", lambda s: s.post(framing="Transfer-Encoding: chunked", data=b"%X\r\n%s\r\n0\r\n\r\n" % (len(s.message("a")), s.message("a"))), "t", "hexadecimal digits"
    yield "zeros by the thousand", lambda s: s.chunked(size="0" * 1000 + "{x}"), "t", "hexadecimal digits"
    for name, extension in {"one": ";a=b", "quoted": ';a="b;c"', "without a value": ";a", "many": ";a=b" * 50}.items():
        yield f"extension: {name}", lambda s, extension=extension: s.chunked(size="{x}" + extension), "t", "extensions are read over: RFC 9112 7.1.1"
    for name, extension in {"nameless": ";", "blanks": " ; a = b", "quote left open": ';a="b', "line in quotes": ';a="b\r\nc"', "LF in quotes": ';a="\n"', "NUL": ";a=\x00", "backslash": ';a="\\"', "control": ";\x01", "blank": " ", "tab": "\t", "bytes": ";\xff\xfe", "huge": ";" + "a" * 100_000}.items():
        yield f"extension: {name}", lambda s, extension=extension: s.chunked(size="{x}" + extension)
    yield "one byte each", lambda s: s.post(framing="Transfer-Encoding: chunked", data=b"".join(b"1\r\n%c\r\n" % c for c in s.message("a")) + b"0\r\n\r\n"), "t", "any number of chunks"
    for name, options in {"LF": {"first": "\n"}, "CR": {"first": "\r"}, "LF behind the data": {"after": "\n"}, "nothing behind the data": {"after": ""}, "CRLF CRLF behind the data": {"after": "\r\n\r\n"}, "a byte behind the data": {"after": "x\r\n"}}.items():
        yield f"line ends: {name}", lambda s, options=options: s.chunked(**options)
    yield "trailers", lambda s: s.chunked(last="0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"), "t", "trailers are read over"
    for name, lines in {"folded": "X-A: 1\r\n 2\r\n", "LF": "X-A: 1\nX-B: 2\r\n", "NUL": "X-A: \x00\r\n", "no colon": "X-A\r\n", "blank before colon": "X-A : 1\r\n", "empty name": ": 1\r\n", "endless": "a: b\r\n" * 60_000}.items():
        yield f"trailers: {name}", lambda s, lines=lines: s.chunked(last="0\r\n" + lines + "\r\n")


def heads():
    lines = {"LF": "X-A: 1\nX-B: 2", "CR": "X-A: 1\rX-B: 2", "CR CR LF": "X-A: 1\r", "NUL in value": "X-A: 1\x002", "NUL in name": "X\x00A: 1", "folded": "X-A: 1\r\n 2", "folded by a tab": "X-A: 1\r\n\t2", "an empty fold": "X-A: 1\r\n ",
             "blank before colon": "X-A : 1", "tab before colon": "X-A\t: 1", "empty name": ": 1", "blank name": " : 1", "no colon": "X-A", "only a colon": ":", "tab in name": "X\tA: 1", "blank in name": "X A: 1", "bracket in name": "X(A): 1", "slash in name": "X/A: 1",
             "quote in name": 'X"A: 1', "byte over 127 in name": "X\xe9: 1", "control in value": "X-A: a\x01b", "DEL in value": "X-A: a\x7fb", "control in name": "X\x01A: 1", "blank line first": " X-A: 1", "VT": "X-A: a\x0bb", "FF": "X-A: a\x0cb", "backspace": "X-A: a\x08b"}
    for name, line in lines.items():
        yield f"header: {name}", lambda s, line=line: s.post(line)
    for name, line in {"byte over 127 in value": "X-A: \xe9\xff", "tab in value": "X-A: a\tb", "empty value": "X-A:", "blanks": "X-A:    ", "odd token": "!#$%&'*+-.^_`|~: 1", "twice": "X-A: 1\r\nX-A: 2", "digits": "1: 1"}.items():
        yield f"header: {name}", lambda s, line=line: s.post(line), "t", "RFC 9110 5.5, 5.6.2"
    yield "first header folded", lambda s: s.post().replace(b"\r\n", b"\r\n ", 1)
    yield "head of LF only", lambda s: s.post(end="\n").replace(b"\n\r\n", b"\n\n", 1)
    yield "head of LF, empty line of CRLF", lambda s: s.post(end="\n")
    yield "head of CR only", lambda s: s.post(end="\r").replace(b"\r\r\n", b"\r\r", 1)
    yield "request line ends with LF", lambda s: s.post().replace(b"\r\n", b"\n", 1)
    yield "empty line of LF", lambda s: s.head("a", s.message("a"), ["Content-Length: {n}"]) + b"\n" + s.message("a")
    yield "last header ends with LF", lambda s: s.head("a", s.message("a"), ["Content-Length: {n}"])[:-2] + b"\n\r\n" + s.message("a")
    yield "empty line of CR", lambda s: s.head("a", s.message("a"), ["Content-Length: {n}"]) + b"\r" + s.message("a")
    for name, lead in {"CRLF": "\r\n", "two": "\r\n\r\n", "a hundred": "\r\n" * 100, "LF": "\n", "CR": "\r"}.items():
        yield f"before the request: {name}", lambda s, lead=lead: lead.encode() + s.post(), "t", "empty lines before a request are read over: RFC 9112 2.2; no body can end there"
    for name, lead in {"blank": " ", "tab": "\t", "NUL": "\x00", "BOM": "\xef\xbb\xbf", "blank line": " \r\n", "a word": "x", "a header": "X-A: 1\r\n", "PROXY": "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"}.items():
        yield f"before the request: {name}", lambda s, lead=lead: lead.encode("latin-1") + s.post()
    yield "100 headers", lambda s: s.post(*[f"X-{i}: 1" for i in range(94)]), "t", "the limit"
    yield "101 headers", lambda s: s.post(*[f"X-{i}: 1" for i in range(95)])
    yield "10,000 headers", lambda s: s.post(*[f"X-{i}: 1" for i in range(10_000)])
    yield "a name of 40 KiB", lambda s: s.post("X" * 40_960 + ": 1")
    yield "a value of 64 KiB", lambda s: s.post("X-A: " + "x" * 65_536)
    yield "a value of 7 KiB", lambda s: s.post("X-A: " + "x" * 7_168), "t", "within the limit of 32 KiB"


def hosts():
    for name, host in {"none": None, "twice": "Host: relay\r\nHost: relay", "two": "Host: relay\r\nHost: other", "userinfo": "Host: a@relay", "port junk": "Host: relay:8x", "port range": "Host: relay:99999", "blank inside": "Host: re lay", "path": "Host: relay/x",
                       "two in one": "Host: relay, other", "empty": "Host:", "NUL": "Host: relay\x00", "tab inside": "Host: re\tlay", "query": "Host: relay?x", "byte over 127": "Host: rel\xe9", "blank before colon": "Host : relay", "bracket": "Host: [::1", "negative port": "Host: relay:-1", "two ports": "Host: relay:80:80"}.items():
        yield f"host: {name}", lambda s, host=host: s.post(host=host)
    for name, host in {"port": "Host: relay:8080", "IPv6": "Host: [::1]:80", "no port": "Host: relay:", "dot": "Host: relay.", "lower case": "host: RELAY"}.items():
        yield f"host: {name}", lambda s, host=host: s.post(host=host), "t", "RFC 3986 3.2.2"
    yield "absolute form", lambda s: s.post(line="POST http://relay{t} HTTP/1.1")
    yield "absolute form, another host", lambda s: s.post(line="POST http://other{t} HTTP/1.1")
    yield "HTTP/1.0 without a host", lambda s: s.post(host=None, line="POST {t} HTTP/1.0"), "t", "RFC 9112 3.2: only 1.1 must have one"


def request_lines():
    for name, line in {"two blanks": "POST  {t} HTTP/1.1", "two blanks behind": "POST {t}  HTTP/1.1", "tabs": "POST\t{t}\tHTTP/1.1", "VT": "POST\x0b{t} HTTP/1.1", "blank at the end": "POST {t} HTTP/1.1 ", "blank first": " POST {t} HTTP/1.1", "CR inside": "POST {t}\rHTTP/1.1", "no version": "POST {t}",
                       "no target": "POST HTTP/1.1", "only a method": "POST", "blank in target": "POST {t} x HTTP/1.1", "NUL in target": "POST {t}\x00 HTTP/1.1", "control in target": "POST {t}\x01 HTTP/1.1", "DEL in target": "POST {t}\x7f HTTP/1.1", "byte over 127 in target": "POST {t}\xe9 HTTP/1.1",
                       "fragment": "POST {t}#x HTTP/1.1", "tab in target": "POST {t}\tx HTTP/1.1", "authority form": "POST relay:80 HTTP/1.1", "asterisk": "POST * HTTP/1.1", "backslashes": "POST \\hooks\\acme\\hook{q} HTTP/1.1", "relative": "POST hooks/acme/hook{q} HTTP/1.1",
                       "dots": "POST /hooks/../hooks/acme/hook{q} HTTP/1.1", "encoded dots": "POST /hooks/%2e%2e/hooks/acme/hook{q} HTTP/1.1", "encoded slash": "POST /hooks/acme%2Fhook{q} HTTP/1.1", "two slashes": "POST //hooks/acme/hook{q} HTTP/1.1", "encoded NUL": "POST /hooks/acme/hook%00{q} HTTP/1.1", "bad escape": "POST /hooks/acme/%hook{q} HTTP/1.1",
                       "encoded letter": "POST /hooks/%61cme/hook{q} HTTP/1.1", "64 KiB": "POST {t}" + "x" * 65_536 + " HTTP/1.1", "9 KiB": "POST {t}" + "x" * 9_216 + " HTTP/1.1"}.items():
        yield f"line: {name}", lambda s, line=line: s.post(line=line)
    for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/01.1", "HTTP/1.01", "HTTP/1.10", "HTTP/11.1", "HTTP/-1.1", "HTTP/1,1", "HTTP/1.1.1", "HTTP/1.x", "http/1.1", "Http/1.1", "HTTP /1.1", "HTTP/ 1.1", "HTTP/1 .1", "HTTPS/1.1", "HTP/1.1", "ICE/1.0", "RTSP/1.0", "HTTP\\1.1", "HTTP/1.1\x00", "HTTP/1.1\x0b", "HTTP/1.1x"):
        yield f"version {version!r}", lambda s, version=version: s.post(line="POST {t} " + version)
    for method in ("post", "Post", "POSt", "BREW", "P", "POSTX", "POST\x00", "PO-ST", "P\xd6ST", "PO(ST", "X" * 100, "X" * 20_000, "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI", "SOURCE", "M-SEARCH", "QUERY", "1POST", "!POST", '"POST"'):
        yield f"method {method[:20]!r}, {len(method)}", lambda s, method=method: s.post(line=method + " {t} HTTP/1.1")
    yield "HTTP/0.9", lambda s: b"GET /healthz\r\n", "w", "refused with the empty line that ends the head"
    yield "HTTP/0.9 and more", lambda s: b"GET /healthz\r\n" + s.post()
    yield "HTTP/2 preface", lambda s: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000") + s.post()
    yield "TLS", lambda s: bytes.fromhex("16030100c8010000c40303") + bytes(200)
    yield "an answer", lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + s.post()


def manners():
    """Expect, Upgrade, Connection, and what ends a connection."""
    for value in ("100-Continue", "100-continue"):
        yield f"Expect: {value}", lambda s, value=value: s.post("Expect: " + value), "t", "RFC 9110 10.1.1"
    for value in ("100-continue, x", "200-ok", "", "100", "x", "100-continue;x=1", "100-continue\x00"):
        yield f"Expect: {value!r}", lambda s, value=value: s.post("Expect: " + value)
    yield "Expect to HTTP/1.0", lambda s: s.post("Expect: 100-continue", line="POST {t} HTTP/1.0"), "t", "no 100 is sent to 1.0, the body is there"
    for name, lines in {"h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"], "websocket": ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"], "unknown": ["Connection: upgrade", "Upgrade: x/1"], "TLS": ["Connection: Upgrade", "Upgrade: TLS/1.0"]}.items():
        yield f"upgrade: {name}", lambda s, lines=lines: s.post(*lines), "t", "an offer to speak something else is not taken up: RFC 9110 7.8"
        yield f"upgrade: {name}, and more", lambda s, lines=lines: s.post(*lines) + s.post(letter="b"), "tt", "and HTTP goes on"
    for value, expected in {"close": "t", "Close": "t", "keep-alive": "tt", "close, keep-alive": "t", "keep-alive, close": "t", "x": "tt", "": "tt", "close;x": "tt", "Content-Length": "tt", "Transfer-Encoding": "tt", "Host": "tt", "webhook-signature": "tt", "close\r\nConnection: keep-alive": "t"}.items():
        yield f"connection: {value!r} and more", lambda s, value=value: s.post("Connection: " + value) + s.post(letter="b"), expected, "nothing is read behind close; names of headers there are for proxies"
    for value, expected in {"keep-alive": "tt", "close": "t", "x": "t", "Keep-Alive": "tt"}.items():
        yield f"HTTP/1.0, connection: {value} and more", lambda s, value=value: s.post("Connection: " + value, line="POST {t} HTTP/1.0") + s.post(letter="b"), expected, "1.0 goes on only when asked to"
    yield "HTTP/1.0 and more", lambda s: s.post(line="POST {t} HTTP/1.0") + s.post(letter="b"), "t", "1.0 ends the connection"
    yield "Keep-Alive of zero", lambda s: s.post("Keep-Alive: timeout=0, max=0") + s.post(letter="b"), "tt", "a word of no weight"
    yield "gzip", lambda s: s.post("Content-Encoding: gzip")
    yield "Max-Forwards", lambda s: s.post("Max-Forwards: 0"), "t", "for proxies"
    for name in ("X-HTTP-Method-Override: GET", "X-Original-URL: /x", "Forwarded: for=1.2.3.4", "X-Forwarded-Host: x", "Range: bytes=0-1", "If-Match: x", "If-None-Match: *", "TE: trailers", "Trailer: Content-Length", "Via: 1.1 x"):
        yield f"header {name}", lambda s, name=name: s.post(name), "t", "means nothing here"


def sequences():
    yield "one", lambda s: s.post(), "t", "the message"
    yield "two", lambda s: s.post() + s.post(letter="b"), "tt", "pipelined"
    yield "five", lambda s: b"".join(s.post(letter=l) for l in "abcde"), "ttttt", "pipelined"
    yield "chunked, then plain", lambda s: s.chunked() + s.post(letter="b"), "tt", "pipelined"
    yield "with CRLF between", lambda s: s.post() + b"\r\n" + s.post(letter="b"), "tt", "old clients send one: RFC 9112 2.2"
    yield "with LF between", lambda s: s.post() + b"\n" + s.post(letter="b"), "tt", "as CRLF"
    yield "with a blank between", lambda s: s.post() + b" " + s.post(letter="b"), "tr", "no request begins so"
    yield "with a NUL between", lambda s: s.post() + b"\x00" + s.post(letter="b"), "tr", "no request begins so"
    yield "good, refused, good", lambda s: s.post() + s.post(framing="Content-Length: +1", letter="b") + s.post(letter="c"), "tr", "nothing is read behind a refusal"
    yield "refused, good", lambda s: s.post(host=None) + s.post(letter="b")
    yield "404, good", lambda s: s.post(line="POST /nowhere HTTP/1.1") + s.post(letter="b")
    yield "a GET between", lambda s: s.post() + get() + s.post(letter="b"), "ttt", "pipelined"
    yield "a HEAD between", lambda s: s.post() + get().replace(b"GET", b"HEAD") + s.post(letter="b"), "ttt", "its answer has no body"
    yield "OPTIONS *", lambda s: b"OPTIONS * HTTP/1.1\r\nHost: relay\r\n\r\n" + s.post()
    yield "CONNECT", lambda s: b"CONNECT relay:80 HTTP/1.1\r\nHost: relay:80\r\n\r\n" + s.post()
    yield "nothing", lambda s: b"", "w", "nothing came"
    yield "CRLF only", lambda s: b"\r\n\r\n", "w", "nothing came"
    for name, cut in {"the method": 3, "the target": 20, "a header": 60}.items():
        yield f"cut in {name}", lambda s, cut=cut: s.post()[:cut], "w", "more may come"
    yield "cut before the empty line", lambda s: s.head("a", s.message("a"), ["Content-Length: {n}"]), "w", "more may come"
    yield "cut within the empty line", lambda s: s.head("a", s.message("a"), ["Content-Length: {n}"]) + b"\r", "w", "more may come"
    yield "cut before the body", lambda s: s.post(data=b""), "w", "more may come"
    yield "cut in the body", lambda s: s.post()[:-1], "w", "more may come"
    for name, data in {"before chunks": b"", "in a size": b"5", "in a size's CR": b"5\r", "in a chunk": b"5\r\nxx", "behind a chunk": b"5\r\nxxxxx", "before the last": b"5\r\nxxxxx\r\n", "in the last": b"5\r\nxxxxx\r\n0\r\n", "in the last's CR": b"5\r\nxxxxx\r\n0\r\n\r"}.items():
        yield f"cut {name}", lambda s, data=data: s.post(framing="Transfer-Encoding: chunked", data=data), "w", "more may come"
    yield "a body that is too large", lambda s: s.post(framing="Content-Length: 4194305")
    yield "a body of an exabyte", lambda s: s.post(framing="Content-Length: 1000000000000000000")


GROUPS = (lengths, encodings, smuggled, chunks, heads, hosts, request_lines, manners, sequences)


def curated(target, base=0):
    """All that have a name, numbered behind `base`."""
    found = []
    for group in GROUPS:
        for name, build, *verdict in group():
            expected, why = verdict or ("r", "")
            found.append(Stream(base + len(found) + 1, f"{group.__name__}: {name}", build, target, expected, why))
    return found
