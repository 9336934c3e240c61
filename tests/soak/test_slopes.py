"""What stays flat and what does not: the soak's analyser on series that are made up."""
import math
import random
import re

import pytest

from slopes import LEAST, MIB, RULES, Rule, findings, fit, picture, short_lives, unjudged

RSS = {"rss": RULES["rss"]}
HOUR, EVERY = 3600, 5


def series(value, seconds=HOUR, start=1, begin=0, calm=lambda t: True):
    """Samples each EVERY seconds; `value` of the seconds since the start of this life."""
    return [{"t": begin + t, "start": start, "calm": calm(begin + t), "rss": value(t)} for t in range(0, seconds, EVERY)]


def verdicts(samples, rules=None, warm_up_s=300, settle_s=600):
    return [each.flat for each in findings(samples, warm_up_s, settle_s, rules or RSS)]


def noisy(chance, level=40 * MIB, width=3 * MIB):
    return lambda t: level + chance.uniform(-width, width)


def test_a_line_is_found_again():
    slope, mean = fit([(t, 7 + 0.5 * t) for t in range(100)])
    assert slope == pytest.approx(0.5) and mean == pytest.approx(7 + 0.5 * 49.5)
    assert fit([(3, 1), (3, 5)]) == (0.0, 3)


def test_noise_is_flat():
    assert verdicts(series(noisy(random.Random(1)))) == [True]


def test_a_wave_is_flat():
    assert verdicts(series(lambda t: 40 * MIB + 8 * MIB * math.sin(t / 40))) == [True]


def test_a_slow_leak_in_noise_is_not():
    """4 MiB an hour where 40 are in use: 20 bytes for each of 60 messages a second."""
    noise = noisy(random.Random(2))
    [found] = findings(series(lambda t: noise(t) + 4 * MIB * t / HOUR), 300, 600, RSS)
    assert not found.flat and found.slope == pytest.approx(4, abs=1)


def test_of_what_comes_and_goes_the_least_counts():
    """Bursts, more of them later; and a leak of eight an hour below bursts that become fewer."""
    chance = random.Random(3)
    bursts = lambda share: 80 if chance.random() < share else chance.randint(0, 10)
    rules = {"rss": RULES["descriptors"]}
    assert verdicts(series(lambda t: 100 + bursts(0.1 + 0.3 * t / HOUR)), {"rss": rules["rss"]._replace(least_of=1)}) == [False]
    assert verdicts(series(lambda t: 100 + bursts(0.1 + 0.3 * t / HOUR)), rules) == [True]
    assert verdicts(series(lambda t: 100 + 8 * t / HOUR + bursts(0.4 - 0.3 * t / HOUR)), rules) == [False]


def test_a_short_life_may_have_the_bursts_of_a_judged_one():
    bursts = lambda t: 100 if t % 60 else 180
    rules = {"rss": RULES["descriptors"]}
    samples = series(bursts, 300, start=1) + series(bursts, start=2, begin=300)
    found = findings(samples, 300, 600, rules)
    assert [each.flat for each in found] == [True] and [each.well for each in short_lives(samples, found, rules)] == [True]


def test_what_falls_is_no_leak():
    assert verdicts(series(lambda t: (60 - 30 * t / HOUR) * MIB)) == [True]


def test_the_warm_up_of_each_life_is_left_out():
    warm = lambda t: (20 + min(t, 280) / 14) * MIB
    lives = series(warm, 1500, start=1) + series(warm, 1500, start=2, begin=1500)
    assert verdicts(lives) == [True, True]
    assert verdicts(lives, warm_up_s=0) == [False, False]


def test_a_leak_that_each_restart_clears_is_found():
    lives = [s for life in range(3) for s in series(lambda t: (30 + 20 * t / HOUR) * MIB, 1500, start=life, begin=1500 * life)]
    assert verdicts(lives) == [False] * 3


def test_files_outlive_restarts_and_are_judged_over_the_whole_run():
    rules = {"rss": Rule("MiB", MIB, 0.05, MIB, False, False)}
    growing = [{**s, "rss": (10 + s["t"] / 600) * MIB} for life in range(3) for s in series(lambda t: 0, 1200, start=life, begin=1200 * life)]
    assert verdicts(growing, rules) == [False]
    saw = [s for life in range(3) for s in series(lambda t: (10 + t / 1200) * MIB, 1200, start=life, begin=1200 * life)]
    assert verdicts(saw, rules) == [True]


def test_what_is_measured_during_a_strike_does_not_count_where_calm_is_asked_for():
    struck = lambda t: 2000 < t < 3300
    samples = series(lambda t: (400 if struck(t) else 40) * MIB, calm=lambda t: not struck(t))
    assert verdicts(samples) == [True]
    assert verdicts(samples, {"rss": RULES["rss"]._replace(calm=False)}) == [False]


def test_a_few_samples_say_nothing_and_that_is_told():
    samples = series(lambda t: t * MIB, 100 + EVERY * (LEAST - 1))
    assert findings(samples, 100, 600, RSS) == [] and unjudged([], RSS) == ["rss"]
    samples = series(lambda t: t * MIB, 100 + EVERY * LEAST)
    assert verdicts(samples, warm_up_s=100) == [False]


def test_a_life_of_less_than_two_warm_ups_says_nothing():
    """After half the warm-up that it needs, the end of a filling cache looks like a leak. Nor is less than a warm-up enough to see one."""
    fills = lambda t: (20 + 30 * (1 - math.exp(-t / 100))) * MIB
    assert verdicts(series(fills, 590)) == []
    assert verdicts(series(fills, 610)) == [True]
    assert verdicts(series(fills, 450), warm_up_s=150) == [False]
    assert verdicts(series(lambda t: (40 + 40 * t / HOUR) * MIB, 610)) == [False]


def test_a_short_life_may_have_no_more_than_half_as_much_again_as_a_long_one():
    calm = lambda t: 40 * MIB
    for most, well in ((59, True), (61, False)):
        lives = series(lambda t: most * MIB, 590) + series(calm, 610, start=2, begin=700)
        assert [(each.name, each.end, each.well) for each in short_lives(lives, findings(lives, 300, 600, RSS), RSS)] == [("rss", 585, well)]
    assert short_lives(series(calm, 590), [], RSS) == []  # `unjudged` tells


def test_steps_that_never_go_back_are_found():
    """Free memory that is kept, and every few minutes a little more of it."""
    assert verdicts(series(lambda t: (60 + 2 * (t // 600)) * MIB)) == [False]
    assert verdicts(series(lambda t: (60 + 2 * (t // 600 % 2)) * MIB)) == [True]


def test_one_thread_more_is_found():
    samples = [{"t": t, "start": 1, "calm": True, "threads": 11 + (t > 1900)} for t in range(0, HOUR, EVERY)]
    assert verdicts(samples, {"threads": RULES["threads"]}) == [False]


def test_what_was_not_measured_is_left_out():
    samples = series(lambda t: 40 * MIB)
    for sample in samples[::2]:
        sample["rss"] = None
    assert verdicts(samples) == [True]


def test_the_picture_shows_lines_and_strikes():
    samples = series(lambda t: (40 + t / 60) * MIB)
    drawn = picture(samples, [{"t": 100, "name": "kill"}], findings(samples, 300, 600, RSS), RSS)
    assert drawn.startswith("<svg") and "<title>kill</title>" in drawn and "#c22" in drawn
    assert len(re.findall("<polyline", drawn)) == 2
