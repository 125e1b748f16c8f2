"""Moves of a search along the border of thin assumptions: a violation that lives only there is found, and none is made up."""

import math

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.climbing import along_border
from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.objective import Objective
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Integer, Vector
from attnlab.analysis.verdicts.verdict import Outcome


def in_a_ball(n, radius, move, seed=0):
    """The sum of the coordinates in a ball is at most that of its centre plus radius * sqrt(n), attained at one point."""
    centre = torch.as_tensor(np.random.default_rng(seed).uniform(-0.6, 0.6, n))
    return for_all(x=Vector(n, -1, 1)).bound(
        lambda x: x.sum(),
        at_most=float(centre.sum()) + radius * math.sqrt(n) + radius * move,
        assuming={"ball": lambda x: radius**2 - ((x - centre) ** 2).sum()},
    ), centre


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("n", "radius"), [(2, 0.1), (4, 0.01), (6, 0.001)])
def test_a_violation_on_a_cap_of_a_thin_ball_is_found_and_its_neighbour_is_not_refuted(n, radius):
    false, _ = in_a_ball(n, radius, -1e-4)
    true, _ = in_a_ball(n, radius, 1e-4)
    assert check(false, "searched", budget=20_000).outcome is Outcome.REFUTED
    assert check(true, "searched", budget=20_000).holds


@pytest.mark.parametrize("absolute", [True, False])
def test_the_end_is_the_farthest_point_of_the_ball(absolute):
    n, radius = 5, 0.02
    claim, centre = in_a_ball(n, radius, 1e-3)
    objective, latent = Objective(claim, Evaluator(claim, 0)), Latent(claim)
    rng = np.random.default_rng(1)
    starts = {"x": centre.numpy() + radius / 4 * rng.uniform(-1, 1, (3, n))}
    assert (along_border(latent, objective, starts, absolute, lambda: False)["x"] == starts["x"]).all()  # no scales yet
    objective.set_scale({"x": rng.uniform(-1, 1, (64, n))})
    ends = along_border(latent, objective, starts, absolute, lambda: False)["x"]
    # programs aim 1e-9 of the margins' scale (below 8) inside, which shortens the radius by that over 2 radius^2
    short = 1e-9 * 8 / (2 * radius**2)
    np.testing.assert_allclose(ends, np.tile(centre.numpy() + radius / math.sqrt(n), (3, 1)), atol=short * radius)
    assert (((ends - centre.numpy()) ** 2).sum(axis=1) <= radius**2).all()


def test_when_it_is_late_or_nothing_has_a_slope_the_points_stay():
    claim, centre = in_a_ball(2, 0.1, 1e-3)
    objective, latent = Objective(claim, Evaluator(claim, 0)), Latent(claim)
    objective.set_scale({"x": np.random.default_rng(0).uniform(-1, 1, (16, 2))})
    start = {"x": centre.numpy()[None]}
    assert (along_border(latent, objective, start, True, lambda: True)["x"] == start["x"]).all()
    steps = for_all(x=Vector(2, -1, 1), k=Integer(1, 3)).bound(
        lambda x, k: torch.sign(x).sum() * k, at_most=6, assuming={"in": lambda x: 1 - (x * x).sum()}
    )
    objective, latent = Objective(steps, Evaluator(steps, 0)), Latent(steps)
    pool = {"x": np.random.default_rng(0).uniform(-1, 1, (16, 2)), "k": np.ones(16, dtype=np.int64)}
    objective.set_scale(pool)
    ends = along_border(latent, objective, {name: v[:2] for name, v in pool.items()}, True, lambda: False)
    assert set(ends) == {"x", "k"} and (ends["k"] == 1).all() and np.isfinite(ends["x"]).all()
