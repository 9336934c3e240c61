"""The benchmark says "0 lost, 0 repeated, 0 out of order" only because its counters could say otherwise: its own tests show it."""
import os
import subprocess
import sys

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


@pytest.mark.release_only
def test_the_counters_of_the_benchmark_can_fail():
    assert os.path.exists(f"{ROOT}/build/release/bench_sink"), "not built: make bench"
    run = subprocess.run([sys.executable, f"{ROOT}/bench/selftest.py"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert run.returncode == 0, run.stdout
