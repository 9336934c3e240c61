"""What the scenarios found: figures against their targets, runs with their times, cost and counters, and the tables and the file of it."""
import json
import os

COUNTERS = ("lost", "duplicated", "reordered")
WRONG = COUNTERS + ("unexpected", "misplaced", "malformed")
PARTS = {"in": ("intake",), "commit": ("committer", "flusher"), "deliver": ("relay",)}  # the relay's threads by name; what is left is "rest"


class Report:
    """A figure is one number with the target that it may have; a run is one stretch of messages through the relay."""

    def __init__(self, options):
        self.options = options
        self.figures = []
        self.runs = []
        self.details = {}
        self.troubles = []
        self.others = {}  # percent of the machine that others used, by scenario
        self.took_s = {}  # by scenario
        self.known = {}   # figures that others are compared with, by key

    def add(self, scenario, what, value, unit, target=None, better="more", book=None, key=None):
        met = None if target is None else (value >= target if better == "more" else value <= target)
        self.figures.append({"scenario": scenario, "figure": what, "value": value, "unit": unit, "target": target, "better": better, "met": met})
        if book:
            self.figures[-1].update({name: book[name] for name in COUNTERS})
        if key:
            self.known[key] = value

    def ratio(self, scenario, what, value, key, target=None):
        """`value` as a part of a figure of this run; left out when that was not measured (--only)."""
        if self.known.get(key):
            self.add(scenario, what, value / self.known[key], "", target)

    def run(self, scenario, name, load=None, book=None, cpu=None, seconds=None, memory=None, arrived="latency_us"):
        """`load` and `book` are the reports of generator and sink, `cpu` the relay's by thread."""
        messages = (load or book)["answered" if load else "received"]
        used = {thread: s * 1e6 / messages for thread, s in (cpu or {}).items()}
        parts = {part: round(sum(used.pop(thread, 0) for thread in threads), 2) for part, threads in PARTS.items()}
        parts["rest"] = round(sum(used.values()), 2)
        self.runs.append({
            "scenario": scenario, "run": name, "messages": messages, "seconds": seconds, "cpu_us_per_message": parts if cpu else None,
            "memory_mib": memory, "answered_us": load and load["latency_us"], "arrived_us": book and book[arrived],
            "generator_percent": load and seconds and round(load["cpu_us_per_message"] * load["answered"] / seconds / 1e4, 1),
            "sink_percent": book and seconds and round(book["cpu_s"] / seconds * 100, 1), "load": load, "sink": book})
        wrong = {what: book[what] for what in WRONG if book[what]} if book else None
        if wrong:
            self.trouble(scenario, f"{name}: {wrong}, the first lost: {book['lost_first']}")

    def trouble(self, scenario, why):
        self.troubles.append(f"{scenario}: {why}")

    def figure_table(self):
        rows = [("scenario", "figure", "value", "target", "", "lost", "twice", "late")]
        for f in self.figures:
            sign = ">=" if f["better"] == "more" else "<="
            rows.append((f["scenario"], f["figure"], f"{shown(f['value'])} {f['unit']}".strip(),
                         f"{sign} {shown(f['target'])}" if f["target"] is not None else "",
                         {True: "met", False: "NOT MET", None: ""}[f["met"]], *(str(f.get(k, "")) for k in COUNTERS)))
        return aligned(rows, left=(0, 1, 4))

    def run_table(self):
        rows = [("run", "messages", "answered", "p99", "p99.9", "arrived", "p99", "p99.9", "in", "commit", "deliver", "rest", "MiB", "gen", "sink")]
        rows.append(("", "", "p50 ms", "ms", "ms", "p50 ms", "ms", "ms", "us", "us", "us", "us", "", "%", "%"))
        for r in self.runs:
            cpu = r["cpu_us_per_message"]
            rows.append((f"{r['scenario']} {r['run']}", f"{r['messages']:,}", *times(r["answered_us"]), *times(r["arrived_us"]),
                         *(f"{cpu[part]:.1f}" if cpu else "" for part in (*PARTS, "rest")),
                         *(f"{r[k]:.0f}" if r[k] is not None else "" for k in ("memory_mib", "generator_percent", "sink_percent"))))
        return aligned(rows, left=(0,), heads=2)

    def write(self, path, machine, took_s):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as file:
            json.dump({"machine": machine, "options": vars(self.options), "took_s": round(took_s, 1), "took_s_by_scenario": self.took_s,
                       "others_percent": self.others,
                       "figures": self.figures, "runs": self.runs, "troubles": self.troubles, "details": self.details}, file, indent=1)
        os.replace(path + ".new", path)


def aligned(rows, left, heads=1):
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(row[i].ljust(width[i]) if i in left else row[i].rjust(width[i]) for i in range(len(row))).rstrip() for row in rows]
    return "\n".join(lines[:heads] + ["-" * max(map(len, lines))] + lines[heads:])


def times(us):
    """p50, p99, p99.9 in milliseconds."""
    if not us or not us["count"]:
        return "", "", ""
    return tuple(f"{us[p] / 1e3:.2f}" if us[p] < 1e5 else f"{us[p] / 1e3:,.0f}" for p in ("p50", "p99", "p999"))


def shown(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
