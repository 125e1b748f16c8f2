"""Merging pieces of attention: equal to all keys at once in 40 digits, associative, stable at huge logits."""

import itertools

import mpmath
import numpy as np
import pytest

from attnlab.theory.softmax_attention import online_softmax as theory

EPS = 2.0**-52


def piece(x, v):
    """Log weight and output in 40 digits."""
    with mpmath.workdps(40):
        weights = [mpmath.exp(mpmath.mpf(float(a))) for a in x]
        total = mpmath.fsum(weights)
        return float(mpmath.log(total)), float(
            mpmath.fsum(w * mpmath.mpf(float(b)) for w, b in zip(weights, v, strict=True)) / total
        )


def merge(a, b):
    return theory.merged_log_weight(a[0], b[0]), theory.merged_output(*a, *b)


def test_every_order_and_grouping_of_blocks_gives_the_output_of_all_keys():
    generator = np.random.default_rng(0)
    x, v = generator.normal(size=9) * 5, generator.normal(size=9)
    whole = piece(x, v)
    blocks = [piece(x[k : k + 3], v[k : k + 3]) for k in (0, 3, 6)]
    for a, b, c in itertools.permutations(blocks):
        for got in (merge(merge(a, b), c), merge(a, merge(b, c))):
            assert got == pytest.approx(whole, rel=0, abs=64 * EPS * 20)  # two merges of numbers below 20


def test_merging_without_weights_is_not_associative():
    """The twin: outputs averaged as if all pieces weighed the same."""
    a, b, c = (1.0, 3.0, 9.0)
    average = theory.merged_output
    assert abs(average(0, average(0, a, 0, b), 0, c) - average(0, a, 0, average(0, b, 0, c))) > 1


def test_equal_pieces_average_and_a_negligible_piece_changes_nothing():
    assert theory.merged_output(2.0, 1.0, 2.0, 3.0) == 2.0
    assert theory.merged_log_weight(2.0, 2.0) == pytest.approx(2 + np.log(2), rel=1e-15)
    assert theory.merged_output(-800.0, 1.0, 0.0, 5.0) == 5.0 and theory.merged_log_weight(0.0, -800.0) == 0.0
    with np.errstate(over="ignore"):  # exp(800) is infinite, its inverse 0
        assert theory.merged_output(0.0, 1.0, -800.0, 5.0) == 1.0
