"""The report as one picture: SVG written by hand, readable on a light and on a dark background. Four panels, each left out when its
scenarios were not measured: what was wanted and what was found; rates by lanes; times; CPU of the relay per message by part."""
import html
import math

WIDTH, MARGIN, ROW = 900, 24, 22
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2733; } .quiet { fill: #5b6b7b; font-size: 12px; } .title { font-size: 16px; font-weight: 600; }
.page { fill: #ffffff; } .line { stroke: #c6d0da; stroke-width: 1; } .goal { stroke: #1c2733; stroke-width: 1.5; stroke-dasharray: 4 3; }
.met, .a { fill: #1f8a5b; } .missed { fill: #c4452f; } .b { fill: #2b6cb0; } .c { fill: #c77d0a; } .d { fill: #8a94a0; }
.sa { stroke: #1f8a5b; } .sb { stroke: #2b6cb0; } polyline { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4eaf0; } .quiet { fill: #9aa8b6; } .page { fill: #14191f; } .line { stroke: #3a4653; } .goal { stroke: #e4eaf0; }
  .met, .a { fill: #4cc38a; } .missed { fill: #f07862; } .b { fill: #63a4e8; } .c { fill: #eab155; } .d { fill: #77828e; }
  .sa { stroke: #4cc38a; } .sb { stroke: #63a4e8; }
}"""


class Drawing:
    """Shapes from the top down; `y` is where the next panel begins."""

    def __init__(self):
        self.y = MARGIN
        self.parts = []

    def text(self, x, y, words, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(str(words))}</text>')

    def box(self, x, y, width, height, kind, tip=""):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" class="{kind}">'
                          f'<title>{html.escape(tip)}</title></rect>')

    def line(self, x1, y1, x2, y2, kind="line"):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def grid(self, where, x, top, words, kind="line"):
        """A line from `top` down to here, behind what was drawn since `where`."""
        self.parts.insert(where, f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{self.y:.1f}" class="{kind}"/>')
        self.text(x, self.y + 14, words, "quiet", "middle")

    def title(self, words, about):
        self.y += 10
        self.text(MARGIN, self.y + 12, words, "title")
        self.text(MARGIN, self.y + 30, about, "quiet")
        self.y += 44

    def whole(self):
        height = self.y + MARGIN
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img">'
                f'<title>Tributary: benchmark</title><style>{STYLE}</style><rect class="page" width="100%" height="100%"/>'
                + "\n".join(self.parts) + "</svg>\n")


def short(value):
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.3g}"


def score(figure):
    """1: just what was wanted; 2: twice as good."""
    value, target = max(figure["value"], 1e-9), max(figure["target"], 1e-9)
    return value / target if figure["better"] == "more" else target / value


def targets(drawing, report):
    figures = [f for f in report.figures if f["target"] is not None]
    if not figures:
        return
    drawing.title("What is wanted, and what was found", "times better than wanted (the dashed line); each step of the scale is a factor of two")
    left, right = 430, WIDTH - 130
    at = lambda s: left + (right - left) * (min(max(math.log2(s), -3), 3) + 3) / 6
    top, where = drawing.y, len(drawing.parts)
    for f in figures:
        drawing.text(left - 10, drawing.y + 14, f"{f['scenario']}: {f['figure'].strip()}"[:66], "quiet", "end")
        x, kind = at(score(f)), "met" if f["met"] else "missed"
        drawing.box(min(x, at(1)), drawing.y + 3, max(abs(x - at(1)), 2), ROW - 8, kind, f"{f['value']:.6g} {f['unit']}, wanted {f['target']:.6g}")
        drawing.text(right + 8, drawing.y + 14, f"{short(f['value'])} {f['unit']}")
        drawing.y += ROW
    for power in range(-3, 4):
        drawing.grid(where, at(2.0**power), top, f"{2**power}x" if power >= 0 else f"1/{2**-power}", "goal" if power == 0 else "line")
    drawing.y += 26


def curves(report):
    """Rate by number of lanes, one list of points for each desk."""
    found = {}
    for r in report.runs:
        if r["scenario"] == "delivery" and r["seconds"]:
            number, desk = r["run"].split(" lanes, ")
            found.setdefault(desk, []).append((int(number.replace(",", "")), r["messages"] / r["seconds"]))
    return found


def lanes(drawing, report):
    found = curves(report)
    points = [p for curve in found.values() for p in curve]
    if len(points) < 2:
        return
    drawing.title("End to end by the number of lanes", "messages a second, both scales logarithmic; one line for each desk's delay")
    left, right, top, height = 90, WIDTH - 130, drawing.y + 6, 200
    low, high = (math.floor(math.log10(min(p[1] for p in points))), math.ceil(math.log10(max(p[1] for p in points))))
    most = max(math.log10(max(p[0] for p in points)), 1)
    x = lambda n: left + (right - left) * math.log10(n) / most
    y = lambda rate: top + height - height * (math.log10(rate) - low) / max(high - low, 1)
    for power in range(low, high + 1):
        drawing.line(left, y(10.0**power), right, y(10.0**power))
        drawing.text(left - 8, y(10.0**power) + 4, short(10.0**power), "quiet", "end")
    for n in sorted({p[0] for p in points}):
        drawing.text(x(n), top + height + 18, f"{n:,}", "quiet", "middle")
    for kind, (desk, curve) in zip("ab", found.items()):
        path = " ".join(f"{x(n):.1f},{y(rate):.1f}" for n, rate in curve)
        drawing.parts.append(f'<polyline class="s{kind}" points="{path}"/>')
        for n, rate in curve:
            drawing.parts.append(f'<circle class="{kind}" cx="{x(n):.1f}" cy="{y(rate):.1f}" r="4"><title>{n:,} lanes: {rate:,.0f}/s</title></circle>')
        drawing.box(right + 16, top + 20 * "ab".index(kind), 12, 12, kind)
        drawing.text(right + 33, top + 11 + 20 * "ab".index(kind), f"desk of {desk}", "quiet")
    drawing.y = top + height + 30


def latencies(drawing, report):
    runs = [(r, r["answered_us"] if r["scenario"] == "ingest" else r["arrived_us"]) for r in report.runs if r["scenario"] in ("ingest", "idle", "hot")]
    runs = [(r, times) for r, times in runs if times and times["count"]]
    if not runs:
        return
    drawing.title("How long it takes", "p50 to p99.9, the mark is p99; milliseconds, logarithmic. Ingest: to the answer; idle, hot: to the arrival at the desk")
    low = min(math.floor(math.log10(max(t["p50"], 1))) for _, t in runs)
    high = max(math.ceil(math.log10(max(t["p999"], 10))) for _, t in runs)
    left, right, top, where = 270, WIDTH - 60, drawing.y, len(drawing.parts)
    x = lambda us: left + (right - left) * (math.log10(max(us, 10.0**low)) - low) / max(high - low, 1)
    for r, t in runs:
        drawing.text(left - 10, drawing.y + 14, f"{r['scenario']}: {r['run'].strip()}", "quiet", "end")
        drawing.box(x(t["p50"]), drawing.y + 5, max(x(t["p999"]) - x(t["p50"]), 2), ROW - 12, "b",
                    ", ".join(f"{p} {t[p] / 1e3:.2f} ms" for p in ("p50", "p99", "p999")))
        drawing.line(x(t["p99"]), drawing.y + 2, x(t["p99"]), drawing.y + ROW - 4, "goal")
        drawing.y += ROW
    for power in range(low, high + 1):
        drawing.grid(where, x(10.0**power), top, f"{10.0**(power - 3):g} ms")
    drawing.y += 26


def cost(drawing, report):
    runs = [r for r in report.runs if r["cpu_us_per_message"] and r["scenario"] not in ("idle", "bodies")]
    if not runs:
        return
    drawing.title("CPU of the relay per message", "microseconds, by part (its threads)")
    left, right = 270, WIDTH - 90
    sums = sorted(sum(r["cpu_us_per_message"].values()) for r in runs)
    most = min(sums[-1], 3 * sums[len(sums) // 2])  # what a single lane costs goes off the scale
    for i, (part, kind) in enumerate(zip(("in", "commit", "deliver", "rest"), "abcd")):
        drawing.box(left + 90 * i, drawing.y, 12, 12, kind)
        drawing.text(left + 90 * i + 17, drawing.y + 11, part, "quiet")
    drawing.y += ROW
    for r in runs:
        drawing.text(left - 10, drawing.y + 14, f"{r['scenario']}: {r['run'].strip()}", "quiet", "end")
        x = left
        for (part, us), kind in zip(r["cpu_us_per_message"].items(), "abcd"):
            width = min((right - left) * us / most, right - x)
            drawing.box(x, drawing.y + 3, width, ROW - 8, kind, f"{part} {us:.1f} us")
            x += width
        drawing.text(x + 8, drawing.y + 14, f"{sum(r['cpu_us_per_message'].values()):.0f} us")
        drawing.y += ROW


def picture(report, host):
    drawing = Drawing()
    drawing.text(MARGIN, drawing.y + 8, f"Tributary {host['commit'] or ''}: {host['cpus']} x {host['cpu']}, Linux {host['kernel']}; "
                 "generator, relay and sink on one machine", "quiet")
    drawing.y += 20
    noise = max(report.others.values(), default=0)
    if noise > 5:
        drawing.text(MARGIN, drawing.y + 8, f"Other programs used up to {noise:.0f} % of the machine meanwhile: for orientation only", "quiet")
        drawing.y += 20
    for panel in (targets, lanes, latencies, cost):
        panel(drawing, report)
    return drawing.whole()
