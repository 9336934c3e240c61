"""What block_log.c wrote down, and the disks that a power cut may leave behind at any place of it.

A place is a number of records: those before it have happened. On the disk is then what a flush that had ended covers: the requests
that had ended when it began. Of every other write any part may be there, sector by sector; a disk writes 512 bytes whole or not at all.
"""
import mmap
import os
import struct
from collections import namedtuple

WRITE, ZERO, FLUSH, END, FUA = 1, 2, 3, 4, 0x100
RECORD = struct.Struct("=QQQII")
SECTOR = 512

Event = namedtuple("Event", "kind number at_ns")                       # kind: WRITE, ZERO, FLUSH or END of that request
Request = namedtuple("Request", "number kind fua offset length at")    # at: where its bytes are in the log
Piece = namedtuple("Piece", "offset length at")                        # at: as above; None: zeros


class BlockLog:
    """The log as it lies in a file: `events` in their order, `requests` by number."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.events, self.requests = [], {}
        at = 0
        while at + RECORD.size <= len(self.bytes):
            number, at_ns, offset, length, kind = RECORD.unpack_from(self.bytes, at)
            at += RECORD.size
            self.events.append(Event(kind & ~FUA, number, at_ns))
            if kind != END:
                self.requests[number] = Request(number, kind & ~FUA, bool(kind & FUA), offset, length, at)
            if kind & ~FUA == WRITE:
                at += length

    def place_of(self, at_ns):
        """How many records there were at that moment."""
        low, high = 0, len(self.events)
        while low < high:
            middle = (low + high) // 2
            if self.events[middle].at_ns <= at_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def moment_of(self, place):
        """The last moment at which the disk could have lost its power there (ns); what anybody was told before it, holds."""
        return self.events[place].at_ns if place < len(self.events) else self.events[-1].at_ns + 1

    def data(self, piece):
        return self.bytes[piece.at:piece.at + piece.length]

    def close(self):
        self.bytes.close()


def whole(request):
    return Piece(request.offset, request.length, request.at if request.kind == WRITE else None)


class Replay:
    """Goes through a log, forwards. `settled(piece)` is called with what is on the disk for good, in order; `pending` is what may be."""

    def __init__(self, log, settled):
        self.log, self.settled, self.place = log, settled, 0
        self.pending = {}           # number: request
        self.ended = set()          # of the pending ones
        self.flushes = {}           # number of a flush that goes on: what it covers

    def advance(self, place):
        assert place >= self.place, "a log is replayed forwards"
        for event in self.log.events[self.place:place]:
            if event.kind in (WRITE, ZERO):
                self.pending[event.number] = self.log.requests[event.number]
            elif event.kind == FLUSH:
                self.flushes[event.number] = sorted(self.ended)
            else:
                self._end(self.log.requests[event.number])
        self.place = place
        return self

    def _end(self, request):
        if request.kind == FLUSH:
            for number in self.flushes.pop(request.number):
                self._settle(number)
            return
        self.ended.add(request.number)
        if request.fua:
            self._settle(request.number)

    def _settle(self, number):
        if number not in self.pending:
            return  # another flush was quicker
        request = self.pending.pop(number)
        self.ended.discard(number)
        self.settled(whole(request))
        # What came before it to the same place, and is nowhere yet, has no way back over it.
        end = request.offset + request.length
        for other in [o for o in self.pending.values() if o.number < number and o.offset < end and request.offset < o.offset + o.length]:
            assert request.offset <= other.offset and other.offset + other.length <= end, "two writes at once to parts of a place"
            del self.pending[other.number]
            self.ended.discard(other.number)


# What a power cut leaves of the pending ones

def some(share):
    return lambda writes, chance: [w for w in writes if chance.random() < share]


WAYS = {"none": lambda writes, chance: [], "all": lambda writes, chance: writes, "some": some(0.5), "few": some(0.15), "most": some(0.85),
        "prefix": lambda writes, chance: writes[:chance.randrange(len(writes) + 1)],
        "all but one": lambda writes, chance: (lambda i: writes[:i] + writes[i + 1:])(chance.randrange(len(writes) or 1)),
        "one": lambda writes, chance: [chance.choice(writes)] if writes else []}


def part(piece, first, count):
    """So many sectors of it."""
    offset = first * SECTOR
    length = min(count * SECTOR, piece.length - offset)
    return Piece(piece.offset + offset, length, None if piece.at is None else piece.at + offset)


def torn(piece, chance):
    """A prefix of its sectors, or any of them."""
    sectors = -(-piece.length // SECTOR)
    if chance.random() < 0.5:
        kept = range(chance.randrange(sectors))
    else:
        share = chance.random()
        kept = [i for i in range(sectors) if chance.random() < share]
    runs = []
    for i in kept:
        if runs and sum(runs[-1]) == i:
            runs[-1][1] += 1
        else:
            runs.append([i, 1])
    return [part(piece, first, count) for first, count in runs]


Left = namedtuple("Left", "way pieces lost torn")  # lost: writes of which nothing is there; torn: of which a part is


def left_of(pending, chance, tears=True):
    """What a cut leaves of these requests, drawn by `chance`; the pieces are in the order in which they were written."""
    way = chance.choice(list(WAYS))
    share = chance.choice([0, 0.3, 1]) if tears else 0
    writes = list(pending)
    kept = WAYS[way](writes, chance)
    pieces, count = [], 0
    for request in kept:
        piece = whole(request)
        if piece.length > SECTOR and chance.random() < share:
            pieces += torn(piece, chance)
            count += 1
        else:
            pieces.append(piece)
    return Left(way, pieces, len(writes) - len(kept), count)


class Image:
    """A disk as a sparse file."""

    ZEROS = bytes(1 << 20)

    def __init__(self, path, size=None):
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if size is not None:
            os.ftruncate(self.fd, size)

    def put(self, log, piece):
        if piece.at is not None:
            os.pwrite(self.fd, log.data(piece), piece.offset)
            return
        for at in range(piece.offset, piece.offset + piece.length, len(self.ZEROS)):
            n = min(len(self.ZEROS), piece.offset + piece.length - at)
            if os.pread(self.fd, n, at) != self.ZEROS[:n]:  # a hole stays one
                os.pwrite(self.fd, self.ZEROS[:n], at)

    def copy_to(self, path):
        """Another one with the same bytes; what was there is gone."""
        size = os.fstat(self.fd).st_size
        with open(path, "wb") as file:
            os.ftruncate(file.fileno(), size)
            at = 0
            while at < size:
                try:
                    begin = os.lseek(self.fd, at, os.SEEK_DATA)
                except OSError:
                    break  # nothing but a hole
                at = os.lseek(self.fd, begin, os.SEEK_HOLE)
                while begin < at:
                    begin += os.copy_file_range(self.fd, file.fileno(), at - begin, begin, begin)
        return path

    def close(self):
        os.close(self.fd)
