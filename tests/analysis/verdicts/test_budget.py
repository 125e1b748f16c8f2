"""The pieces of an error budget bound the errors that they name."""

import math

import numpy as np
import pytest

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
from attnlab.analysis.statistics.intervals import mean_interval


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


def test_the_replicas_piece_is_the_half_width_at_the_confidence_that_the_claim_has():
    x = np.random.default_rng(0).standard_normal(12)
    low, high = mean_interval(x, 0.999)
    assert replicas_piece(np.std(x, ddof=1), 12, 0.999).size == pytest.approx((high - low) / 2)
    ledger = ErrorLedger(0.01)
    with ledger.claim("c", share=0.002, parts=2):
        inside = replicas_piece(1.0, 12)
        assert ledger.spent == 0.0
    assert inside.size == pytest.approx(replicas_piece(1.0, 12, 0.999).size)
    assert replicas_piece(1.0, 12).size == pytest.approx(replicas_piece(1.0, 12, 0.99).size)


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
