"""The claims on positional heads, judged on planted runs: the truth holds, errors of a few per cent do not."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.simulators.positional_attention.heads import heads
from attnlab.theory.positional_attention import gates, locality

paper = load("convit_gpsa")
EXACT = ("gaussian_weights", "even_kernels", "how_far_and_how_evenly", "convolution", "borders")


def judged(name, make, scale="smoke", **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.at(scale), **changes), PlantedLab(make))


@cache
def real(setting):
    return heads(setting, [np.random.SeedSequence(3)], "cpu")


@pytest.mark.parametrize("name", EXACT)
def test_heads_hold_and_an_error_of_a_millionth_is_seen(name):
    few = {"localities": (0.5, 8.0)}
    assert judged(name, real, **few).holds
    assert judged(name, lambda s: {key: x * (1 + 1e-6) for key, x in real(s).items()}, **few).outcome.value == "REFUTED"


def test_heads_that_feel_the_border_are_outside():
    assert judged("gaussian_weights", real, localities=(0.01,)).outcome.value == "VACUOUS"
    assert judged("convolution", real, side=9).outcome.value == "VACUOUS"


@pytest.mark.parametrize(("limit", "outcome"), [(False, "HOLDS"), (True, "REFUTED")])
def test_uniform_distance(limit, outcome):
    def make(setting):
        law = locality.uniform_distance_limit if limit else locality.uniform_distance_exact
        return {"distance": np.array([[law(side) for side in setting.sides]])}

    assert judged("uniform_distance", make).outcome.value == outcome


def test_rows_and_gradient_hold_live_and_a_spoiled_gradient_is_seen():
    claim = paper.claims["rows_and_gradient"]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds
    for name in ("row_sum", "gate_gradient"):
        spoiled = LiveLab(lambda runs, name=name: runs | {name: runs[name] * (1 + 1e-6)})
        assert claim.judge(claim.setting.smoke, spoiled).outcome.value == "REFUTED"


@pytest.mark.parametrize(("slower", "outcome"), [(1.0, "HOLDS"), (0.98, "REFUTED")])
def test_gates_on_windows(slower, outcome):
    """Gates by the recursion itself, with the right speed and with one 2 % lower."""

    def make(setting):
        at = np.arange(49)
        near = np.maximum(abs(at[:, None] // 7 - at // 7), abs(at[:, None] % 7 - at % 7)) <= setting.radius
        T = near / near.sum(1, keepdims=True)
        P = np.array([locality.weights_on_grid_exact((7, 7), (i // 7, i % 7), (0, 0), 1.0).ravel() for i in at])
        best, size = gates.best_gate_exact(P, np.full_like(P, 1 / 49), T), ((P - 1 / 49) ** 2).sum() / 49
        steps = np.array([0, 10, 100, 1000])
        starts = np.linspace(0.4, 0.9, 8)
        rate = slower * setting.learning_rate
        curves = np.array([gates.gate_descent_exact(g, best, size, rate, steps) for g in starts])
        maps = {"positional": np.tile(P, (8, 1, 1)), "target": np.tile(T, (8, 1, 1))}
        return maps | {"gate": curves, "steps": np.tile(steps, (8, 1))}

    assert judged("gates_follow_the_window", make).outcome.value == outcome


@pytest.mark.parametrize(
    ("factor", "match", "outcome"), [(1, 0.99, "HOLDS"), (1.03, 0.99, "REFUTED"), (1, 0.9, "UNDECIDED")]
)
def test_gates_on_matching(factor, match, outcome):
    def make(setting):
        at = np.arange(16)
        blur = np.array([locality.weights_on_grid_exact((4, 4), (i // 4, i % 4), (0, 0), 1.0).ravel() for i in at])
        apart = np.hypot((at // 4)[:, None] - at // 4, (at % 4)[:, None] - at % 4)
        g = factor * gates.matching_gate_exact(setting.local_share, match, 0.001, blur)
        near, far = (blur * apart).sum() / 16, apart.sum() / 240
        ends = {"gate": g, "match": match, "own": 0.001, "distance": g * near + (1 - g) * far * 0.999}
        starts = {"gate": 0.7310586, "match": 0.06, "own": 0.06, "distance": 0.731 * near + 0.269 * far * 0.94}
        return {name: np.tile([starts[name], ends[name]], (8, 1)) for name in ends}

    assert judged("gates_share_matching", make).outcome.value == outcome


@pytest.mark.parametrize(("start", "outcome"), [(0.7310586, "HOLDS"), (0.73107, "REFUTED")])
def test_the_gate_at_start(start, outcome):
    assert judged("gate_at_start", {"gate": np.full((8, 2), start)}).outcome.value == outcome
