"""multipart/form-data, read to the letter: what a platform might forgive is an error here."""
import re


def read(content_type, body):
    """{name: text} and {name: (file name, type, bytes)}. ValueError says what is wrong."""
    found = re.fullmatch(r'multipart/form-data; ?boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?', content_type)
    if not found:
        raise ValueError(f"Content-Type {content_type!r}")
    mark = b"--" + found.group(1).encode()
    if not body.startswith(mark + b"\r\n") or not body.rstrip(b"\r\n").endswith(b"\r\n" + mark + b"--"):
        raise ValueError("the body does not begin and end with the boundary")
    inner = body[len(mark) + 2:body.rindex(b"\r\n" + mark + b"--")]
    texts, files = {}, {}
    for part in inner.split(b"\r\n" + mark + b"\r\n"):
        head, gap, data = part.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode().split("\r\n"):
            name, colon, value = line.partition(":")
            if not gap or not colon or name.lower() in headers:
                raise ValueError(f"head {head!r}")
            headers[name.lower()] = value.strip()
        said = re.fullmatch(r'form-data; name="([a-z_0-9]+)"(?:; filename="((?:[^"\\\r\n]|\\.)*)")?', headers.pop("content-disposition", ""))
        if not said or said.group(1) in texts or said.group(1) in files:
            raise ValueError(f"Content-Disposition in {head!r}")
        if said.group(2) is None:
            texts[said.group(1)] = data.decode()
        else:
            name = re.sub(r"\\(.)", r"\1", said.group(2))
            files[said.group(1)] = (name, headers.pop("content-type", None), data)
        if headers:
            raise ValueError(f"headers {sorted(headers)}")
    return texts, files
