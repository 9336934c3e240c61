#!/usr/bin/python3
"""The benchmark:  script/bench [--long] [--only NAME[,NAME]] [--directory DIR] [--report FILE] [--priority]

Starts the relay, a generator, a sink that stands for the desk, and nginx, all on the loopback of this machine; measures; prints what was
found beside what is wanted, and writes build/bench/report.json and report.svg. docs/performance.md says what each figure means. Ends with
1 when something could not be measured or a message was lost, repeated or out of order; a target that is not met is shown, and is no
failure, since targets belong to the machine they were set for.
"""
import argparse
import os
import signal
import sys
import time

import lab as labs
import limits
import plot
import scenarios_size
import scenarios_speed
import selftest
from drive import say
from lab import Trouble
from report import Report

NOISE_PERCENT = 5  # of the machine, used by others during a scenario: more is said under the table
SCENARIOS = {f.__name__: f for f in scenarios_speed.SCENARIOS + scenarios_size.SCENARIOS}


def names(text):
    found = text.split(",")
    unknown = [name for name in found if name not in SCENARIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: there are {', '.join(SCENARIOS)}")
    return found


def arguments():
    about = __doc__ + "\nScenarios:\n" + "\n".join(f"  {name:10} {f.__doc__.splitlines()[0]}" for name, f in SCENARIOS.items())
    parser = argparse.ArgumentParser(prog="script/bench", description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="all sizes: about an hour, 6 GB of disk and of memory")
    parser.add_argument("--only", type=names, action="extend", metavar="NAME[,NAME]", help="these scenarios; ratios to others are left out")
    parser.add_argument("--report", default=os.path.join(labs.ROOT, "build", "bench", "report.json"), help="where it goes; the plot beside it")
    parser.add_argument("--directory", default=os.path.join(labs.ROOT, "build", "bench"), help="where the stores lie; its disk is measured")
    parser.add_argument("--priority", action="store_true", help="before other programs of the machine (nice -19; needs root)")
    return parser.parse_args()


def measure(report, options):
    with labs.Lab(options.directory, options.priority) as lab:
        say("self-test of generator and sink")
        selftest.run(lab)
    for name in options.only or SCENARIOS:
        say(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}")
        others, began = limits.Others(), time.monotonic()
        with labs.Lab(options.directory, options.priority) as lab:
            try:
                SCENARIOS[name](report, lab)
            except (Trouble, OSError) as trouble:
                report.trouble(name, str(trouble))
        report.others[name] = round(others.percent(), 1)
        report.took_s[name] = round(time.monotonic() - began, 1)


def show(report, host, took_s):
    print(f"{host['cpus']} x {host['cpu']}, {host['memory_mib']} MiB, Linux {host['kernel']}, commit {host['commit']}; all on the loopback, "
          f"load before {host['load_before']:.1f}; {took_s:.0f} s\n")
    print(report.figure_table() + "\n\n" + report.run_table())
    noisy = {name: percent for name, percent in report.others.items() if percent > NOISE_PERCENT}
    if noisy:
        print("\nNOISY  other programs used the machine meanwhile: " + ", ".join(f"{n} {p:.0f} %" for n, p in noisy.items()))
    for trouble in report.troubles:
        print(f"\nWRONG  {trouble}")


def main():
    options = arguments()
    report = Report(options)
    host = limits.machine()
    path = os.path.abspath(options.report)
    picture = os.path.splitext(path)[0] + ".svg"
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    labs.sweep(options.directory)
    try:
        measure(report, options)
    except KeyboardInterrupt:
        print("bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    took_s = time.monotonic() - began
    report.write(path, host, took_s)
    with open(picture, "w") as file:
        file.write(plot.picture(report, host))
    show(report, host, took_s)
    print(f"\nreport: {os.path.relpath(path)}, plot: {os.path.relpath(picture)}")
    return 1 if report.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
