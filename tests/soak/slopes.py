"""Whether what was measured over time stays flat: least squares over each stretch, and a stated bound.

A sample is {"t": seconds since the run began, "start": which start of the daemon, "calm": whether nothing was done to it, name: value}.
A stretch is one life of the daemon without its first `warm_up_s`; of what outlives it (files), the whole run without its first
`settle_s`. Over a stretch a value may grow by no more than a share of its mean, or by a floor where the mean is small:

    slope x length of the stretch <= max(share x mean, floor)

The line through what comes and goes with what is under way goes by the least of each `least_of` samples in a row alone: what leaks is in
the least, too.

What falls is no leak. A stretch that is shorter than what was left out before it, or of fewer than LEAST samples, is not judged so: what
fills in that time, as caches do, could not be told from what leaks. A life of that kind may have no more of anything than CEILING times the
most that a judged one had.
"""
from collections import namedtuple

LEAST, CEILING = 40, 1.5
MIB = 1 << 20

# `lives`: judged per life of the daemon; else over the whole run. `calm`: only of samples that were taken while nothing was done to it.
Rule = namedtuple("Rule", "unit scale share floor lives calm least_of", defaults=[1])
RULES = {
    "rss": Rule("MiB", MIB, 0.05, 2 * MIB, True, True),
    "anonymous": Rule("MiB", MIB, 0.05, 2 * MIB, True, True),
    "descriptors": Rule("", 1, 0.05, 4, True, True, 12),   # a minute's
    "threads": Rule("", 1, 0, 0.5, True, True),
    "used": Rule("MiB", MIB, 0.05, MIB, False, True),
    "database": Rule("MiB", MIB, 0.25, MIB, False, False),   # never shrinks, so it shows the most that was ever used
    "log": Rule("MiB", MIB, 0.25, 4 * MIB, False, False),
    "files_bytes": Rule("MiB", MIB, 0.5, MIB, False, True),   # a saw: what nobody has any more is removed each ten minutes
    "files_count": Rule("", 1, 0.5, 50, False, True),
    "others": Rule("", 1, 0, 0.5, False, False),
    "waiting": Rule("", 1, 0.25, 100, False, True),
    "oldest_s": Rule("s", 1, 0.25, 5, False, True),
    "cpu_us": Rule("us", 1, 0.25, 100, False, True),
}
# Drawn and not judged: an outage of the desk is in them for as long as its backlog lasts, and so are the machine's other users.
SHOWN = {"p50_ms": Rule("ms", 1, 0, 0, False, False), "p99_ms": Rule("ms", 1, 0, 0, False, False)}

Finding = namedtuple("Finding", "name unit begin end samples mean least most slope growth bound flat")
Short = namedtuple("Short", "name unit begin end most allowed well")


def fit(points):
    """(slope, mean) of [(t, value)] by least squares."""
    count = len(points)
    mean_t, mean = sum(t for t, _ in points) / count, sum(v for _, v in points) / count
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return (sum((t - mean_t) * (v - mean) for t, v in points) / spread if spread else 0.0), mean


def lives_of(samples):
    """[[sample]]"""
    lives = {}
    for sample in samples:
        lives.setdefault(sample["start"], []).append(sample)
    return list(lives.values())


def least_of_each(points, count):
    """Of each so many in a row the one with the least value."""
    return [min(points[i:i + count], key=lambda point: point[1]) for i in range(0, len(points) - count + 1, count)]


def stretches(samples, name, rule, warm_up_s, settle_s):
    """[[(t, value)]]"""
    left_out_s, found = warm_up_s if rule.lives else settle_s, []
    for life in lives_of(samples) if rule.lives else [samples]:
        begin, end = life[0]["t"] + left_out_s, life[-1]["t"]
        points = [(s["t"], s[name] / rule.scale) for s in life if s.get(name) is not None and s["t"] >= begin and (s["calm"] or not rule.calm)]
        if len(points) >= LEAST and end - begin >= left_out_s:
            found.append(points)
    return found


def look_at(points, name, rule):
    """What one stretch says; `slope` is per hour."""
    slope, _ = fit(least_of_each(points, rule.least_of))
    _, mean = fit(points)
    begin, end = points[0][0], points[-1][0]
    growth, bound = slope * (end - begin), max(rule.share * mean, rule.floor / rule.scale)
    values = [value for _, value in points]
    return Finding(name, rule.unit, begin, end, len(points), mean, min(values), max(values), slope * 3600, growth, bound, growth <= bound)


def findings(samples, warm_up_s, settle_s, rules=None):
    rules = rules or RULES
    return [look_at(points, name, rule) for name, rule in rules.items() for points in stretches(samples, name, rule, warm_up_s, settle_s)]


def unjudged(found, rules=None):
    """What no stretch was long enough for."""
    return sorted(set(rules or RULES) - {each.name for each in found})


def short_lives(samples, found, rules=None):
    """[Short] of what no stretch of a life of the daemon was long enough for."""
    told = []
    for name, rule in (rules or RULES).items():
        judged = [each for each in found if each.name == name]
        for life in lives_of(samples) if rule.lives and judged else []:
            begin, end = life[0]["t"], life[-1]["t"]
            values = [s[name] / rule.scale for s in life if s.get(name) is not None and (s["calm"] or not rule.calm)]
            if values and not any(begin <= each.begin <= end for each in judged):
                allowed = CEILING * max(each.most for each in judged)
                told.append(Short(name, rule.unit, begin, end, max(values), allowed, max(values) <= allowed))
    return told


def line_of(each):
    unit = " " + each.unit if each.unit else ""
    return (f"{each.name:12} {each.begin:6.0f}..{each.end:6.0f} s, {each.samples:4} samples: mean {each.mean:10.2f}{unit} "
            f"({each.least:.2f} to {each.most:.2f}), slope {each.slope:+9.3f}{unit}/h, grown {each.growth:+8.3f} of at most {each.bound:.3f}{unit}: "
            + ("flat" if each.flat else "NOT FLAT"))


# ---- a picture

WIDTH, HEIGHT, LEFT = 900, 90, 130


def panel(samples, name, rule, top, span, found):
    points = [(s["t"], s[name] / rule.scale) for s in samples if s.get(name) is not None]
    if not points:
        return []
    most = max(v for _, v in points) or 1
    place = lambda t, v: f"{LEFT + t / span * (WIDTH - LEFT - 10):.1f},{top + HEIGHT - 12 - v / most * (HEIGHT - 30):.1f}"
    out = [f'<text x="4" y="{top + 30}">{name} {rule.unit}</text><text x="4" y="{top + 46}" fill="#777">0 to {most:.4g}</text>',
           f'<polyline fill="none" stroke="#36c" points="{" ".join(place(t, v) for t, v in points)}"/>']
    for each in (f for f in found if f.name == name):
        half = each.growth / 2
        ends = place(each.begin, each.mean - half) + " " + place(each.end, each.mean + half)
        out.append(f'<polyline fill="none" stroke="{"#2a2" if each.flat else "#c22"}" stroke-width="2" points="{ends}"/>')
    return out


def picture(samples, strikes, found, rules=None):
    """An SVG: what was measured, the fitted lines, and above it when what was done."""
    rules = rules or {**RULES, **SHOWN}
    names = [name for name in rules if any(s.get(name) is not None for s in samples)]
    span = max((s["t"] for s in samples), default=1) or 1
    height = 20 + HEIGHT * len(names)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>']
    for strike in strikes:
        x = LEFT + strike["t"] / span * (WIDTH - LEFT - 10)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="{height}" stroke="#ddd"/><title>{strike["name"]}</title>')
    for i, name in enumerate(names):
        out += panel(samples, name, rules[name], 20 + i * HEIGHT, span, found)
    return "\n".join(out + ["</svg>", ""])
