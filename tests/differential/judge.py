"""Who read what of one stream, and where ours stands alone.

A server's reading is a list of bodies, one for each request that it took, up to its first refusal. Findings:
  alone    ours took a request that none of the others took
  body     ours took it with another body than most of those who took it: they differ on where it ends
  waits    ours wants more bytes where most of the others have taken another request: it reads a body as longer
  expected ours did not do what the stream's line in streams.py says
"""
import collections

from .wire import OLD

UNKNOWN = None      # a body that nobody told: a GET's answer of ours, TRACE and OPTIONS of others
OTHER = object()    # of ours: a whole request, but its body is not what was signed


class Reading:
    def __init__(self, taken, refused, closed, answers=()):
        self.taken, self.refused, self.closed, self.answers = taken, refused, closed, answers

    @property
    def word(self):
        """As Stream.expected."""
        end = "r" if self.refused or (self.closed and not self.taken) else "" if self.taken else "w"
        return "t" * len(self.taken) + end

    def __repr__(self):
        return f"{self.word} {self.answers}{' closed' if self.closed else ''}"


def of_origin(answers, closed):
    """By what an origin told."""
    taken = []
    for answer in answers:
        if not (200 <= answer.status < 300 or answer.status == OLD):
            return Reading(taken, True, closed, answers)
        told = answer.told
        taken.append(bytes.fromhex(told["body"]) if "body" in told and 2 * told["length"] == len(told["body"]) else UNKNOWN)
    return Reading(taken, False, closed, answers)


def of_ours(answers, closed, stored):
    """By what the daemon answered and stored: `stored` are the bodies of the stream's messages, in the order in which they were taken."""
    taken, stored = [], list(stored)
    for answer in answers:
        if answer.status == 200 and not answer.body:
            taken.append(stored.pop(0) if stored else UNKNOWN)
        elif answer.status == 200:
            taken.append(UNKNOWN)
        elif answer.status == 401:
            taken.append(OTHER)
        else:
            return Reading(taken, True, closed, answers)
    return Reading(taken, False, closed, answers)


class Finding:
    def __init__(self, kind, stream, at, readings, wanted=UNKNOWN):
        self.kind, self.stream, self.at, self.readings, self.wanted = kind, stream, at, readings, wanted

    def __str__(self):
        return f"{self.kind} at request {self.at + 1} of {self.stream}: " + ", ".join(f"{name} {reading}" for name, reading in self.readings.items())


def most(bodies):
    """What most say, UNKNOWN when nobody knows; of several that are equally often said, all."""
    known = collections.Counter(b for b in bodies if b is not UNKNOWN)
    return [body for body, count in known.items() if count == max(known.values())]


def compare(stream, ours, others):
    """Findings. `others` are readings by name."""
    readings = {"ours": ours, **others}
    for at, body in enumerate(ours.taken):
        takers = [o.taken[at] for o in others.values() if len(o.taken) > at]
        if not takers:
            return [Finding("alone", stream, at, readings)]
        wanted = most(takers)
        if body is not UNKNOWN and wanted and body not in wanted:
            return [Finding("body", stream, at, readings, wanted[0])]
    further = [o for o in others.values() if len(o.taken) > len(ours.taken)]
    if not ours.refused and not ours.closed and 2 * len(further) > len(others):
        return [Finding("waits", stream, len(ours.taken), readings)]
    return []


def expected(stream, ours, others):
    """A finding when ours did not do what the stream's line says; drawn streams have none."""
    if stream.expected in (None, ours.word):
        return []
    return [Finding("expected", stream, 0, {"ours": ours, **others})]
