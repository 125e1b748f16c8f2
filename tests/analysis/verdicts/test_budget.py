"""The pieces of an error budget bound the errors that they name."""

import math

import numpy as np
import pytest
from scipy import stats

from attnlab.analysis import (
    ErrorLedger,
    agrees,
    budget,
    euler_step,
    finite_size,
    relative,
    rounding,
    sampling,
    step_size,
)
from attnlab.analysis import replicas as replicas_piece
from attnlab.analysis.statistics.intervals import guarded_mean_interval


@pytest.mark.parametrize("order", [1, 2])
def test_the_step_size_piece_is_the_error_of_the_coarser_scheme(order):
    def scheme(h):
        factor = 1 - h if order == 1 else 1 - h + h * h / 2
        return factor ** round(1 / h)

    h = 1 / 64
    piece = step_size(scheme(h), scheme(h / 2), order)
    assert piece.size == pytest.approx(abs(scheme(h) - math.exp(-1)), rel=0.05)


@pytest.mark.parametrize("x", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_euler_steps_stay_within_their_piece_of_the_flow_and_need_most_of_it(x):
    k = np.arange(20_000)
    worst = float(np.max(np.abs(np.exp(-x * k) - (1 - x) ** k)))
    piece = euler_step(0.1, x / 0.1, amplitude=3.0)
    assert 3 * worst <= piece.size * (1 + 1e-12) and piece.size < 1.45 * 3 * worst
    assert euler_step(1e-4, 1.0).size == pytest.approx(1e-4 / (2 * math.e), rel=1e-3)
    with pytest.raises(ValueError, match="must lie in"):
        euler_step(1.0, 2.0)


def test_finite_size_rounding_sampling_and_relative_are_their_formulas():
    assert finite_size(64, 0.02).size == 0.02 / 64 and finite_size(64, -3, 0.5, of="d").size == 3 / 8
    assert finite_size(64, of="d", power=2).name == "1/d^2"
    assert rounding(8, 2.0).size == 16 * 2**-52 and sampling(0.5, 100, 3).size == pytest.approx(0.15)
    assert relative(0.01, -5.0, "quadrature").size == 0.05


def test_the_replicas_piece_is_the_interval_that_judges_use_and_three_standard_errors():
    x = np.random.default_rng(0).standard_normal(12)
    for of, draws in ("mean over replicas", 1), ("mean over replicas of 50 draws", 50):
        low, high = guarded_mean_interval(x, 0.999, draws)
        half = (high - low) / 2 * math.sqrt(stats.chi2.ppf(0.975, 11) / 11) + 3 * np.std(x, ddof=1) / math.sqrt(12)
        assert replicas_piece(np.std(x, ddof=1), 12, 0.999, of).size == pytest.approx(half, rel=1e-4)
    ledger = ErrorLedger(0.01)
    with ledger.claim("c", share=0.002, parts=2):
        inside = replicas_piece(1.0, 12)
        assert ledger.spent == 0.0
    assert inside.size == pytest.approx(replicas_piece(1.0, 12, 0.999).size)
    assert replicas_piece(1.0, 12).size == pytest.approx(replicas_piece(1.0, 12, 0.99).size)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("of", ["mean over replicas", "mean over replicas of 900 draws", "median over replicas"])
@pytest.mark.parametrize("n", [16, 32])
def test_with_the_replicas_piece_a_true_prediction_holds_and_one_two_margins_away_does_not(of, n):
    rng = np.random.default_rng(n)
    within = budget(replicas_piece(1.0, n, 0.999, of))
    truth = [
        agrees(rng.standard_normal(n), 0, within=within, twin=9, of=of, confidence=0.999).outcome for _ in range(200)
    ]
    assert sum(outcome.value == "HOLDS" for outcome in truth) >= 190
    shift = 2 * float(within)
    false = [
        agrees(rng.standard_normal(n) + shift, 0, within=within, twin=9, of=of, confidence=0.999).holds
        for _ in range(50)
    ]
    assert not any(false)


def test_the_replicas_piece_of_a_path_counts_its_points_and_refuses_what_it_does_not_know():
    one, many = (replicas_piece(1.0, 16, 0.999, "mean trajectory", points=k).size for k in (1, 20))
    assert many > one == replicas_piece(1.0, 16, 0.999).size
    for bad, word in (dict(of="every replica"), "means and medians"), (dict(points=0), "points"):
        with pytest.raises(ValueError, match=word):
            replicas_piece(1.0, 16, 0.999, **bad)
    with pytest.raises(ValueError, match="more replicas"):
        replicas_piece(1.0, 8, 0.999, "median over replicas")


def test_a_budget_adds_up_its_pieces_serves_as_a_margin_and_is_told_by_the_verdict():
    within = budget(finite_size(100, 1.0, of="d"), rounding(1))
    assert float(within) == pytest.approx(0.01)
    verdict = agrees(np.full(8, 1.001), 1.0, within=within, of="every replica", twin=1.1)
    assert verdict.holds and verdict.margin == pytest.approx(0.01)
    assert verdict.margin_from == "0.01 = 1/d 0.01 + rounding 2.22e-16" == verdict.record()["margin_from"]


def test_pieces_must_be_finite_and_a_budget_positive():
    with pytest.raises(ValueError, match="finite"):
        finite_size(10, math.nan)
    with pytest.raises(ValueError, match="at least one piece"):
        budget(rounding(0))
