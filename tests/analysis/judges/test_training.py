import numpy as np
import pytest

from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.judges.training import settles
from attnlab.analysis.verdicts.verdict import Outcome, Twin

STEPS = np.unique(np.geomspace(1, 1024, 40).astype(int))


def curves(shape, noise=0.01, n=16, seed=0):
    """Replicas of a curve with normal noise."""
    return shape(STEPS) + noise * np.random.default_rng(seed).normal(size=(n, STEPS.size))


def test_a_curve_that_has_arrived_holds_and_its_rival_is_refuted():
    verdict = settles(STEPS, curves(lambda t: 1 - 1 / t), 1.0, within=0.1, twin=0.7)
    assert verdict.outcome is Outcome.HOLDS and verdict.twin_outcome is Outcome.REFUTED
    assert verdict.interval[0] < verdict.measured < verdict.interval[1] and verdict.n == 16


def test_a_curve_on_its_way_is_undecided_and_one_that_has_stopped_is_refuted():
    on_its_way = settles(STEPS, curves(lambda t: 1 - t**-0.1), 1.0, within=0.1, twin=-3.0)
    assert on_its_way.outcome is Outcome.UNDECIDED and on_its_way.wants == "training"
    stopped = settles(STEPS, curves(lambda t: 0.5 + 0 * t), 1.0, within=0.1, twin=-3.0)
    assert stopped.outcome is Outcome.REFUTED and "stopped approaching" in stopped.reason
    leaving = settles(STEPS, curves(lambda t: 1 + t**0.1), 1.0, within=0.1, twin=-3.0)
    assert leaving.outcome is Outcome.REFUTED


@unresolved()
def test_a_value_at_the_edge_of_the_margin_holds_at_most_as_often_as_stated():
    held = sum(
        settles(
            STEPS, curves(lambda t: 1.1 + 0 * t, noise=0.02, n=8, seed=s), 1.0, within=0.1, twin=-3.0, confidence=0.9
        ).outcome
        is Outcome.HOLDS
        for s in range(400)
    )
    assert held <= 20 + 4 * np.sqrt(400 * 0.05 * 0.95)  # alpha / 2 = 5 %, plus 4 standard errors


def test_predictions_may_differ_by_replica():
    own = np.linspace(1, 1.4, 16)
    verdict = settles(
        STEPS,
        own[:, None] + curves(lambda t: -1 / t),
        own,
        within=0.1,
        twin=Twin.of("twice the value", predicted=2 * own),
    )
    assert verdict.outcome is Outcome.HOLDS


def test_a_twin_within_the_margin_makes_the_check_vacuous():
    verdict = settles(STEPS, curves(lambda t: 1 + 0 * t, noise=0.2), 1.0, within=0.1, twin=1.05)
    assert verdict.outcome in (Outcome.VACUOUS, Outcome.INVALID)


def test_no_replicas_is_vacuous_and_bad_shapes_are_named():
    assert settles(STEPS, np.empty((0, STEPS.size)), 1.0, within=0.1, twin=0.0).outcome is Outcome.VACUOUS
    with pytest.raises(ValueError, match="shape \\(replica, record\\)"):
        settles(STEPS, np.ones((4, 3)), 1.0, within=0.1, twin=0.0)
    with pytest.raises(ValueError, match="curves"):
        settles(STEPS, np.full((4, STEPS.size), np.nan), 1.0, within=0.1, twin=0.0)
