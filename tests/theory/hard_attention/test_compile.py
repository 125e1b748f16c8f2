"""Compiled encoders are data of the promised form; the limits are those of direct computations."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import linprog

from attnlab.theory.hard_attention import limits
from attnlab.theory.hard_attention.compile import compiled
from attnlab.theory.hard_attention.encoder import Attention
from attnlab.theory.hard_attention.syntax import parse


def test_one_attention_layer_for_each_temporal_operator_and_two_for_a_count():
    assert compiled(parse("a U (b S X a)", "ab"), "ab").depth == 3
    assert compiled(parse("a & !b", "ab"), "ab").depth == 0
    parity = compiled(parse("#(a) % 2 == 0", "ab"), "ab")
    assert parity.depth == 2 and parity.kind == "average" and parity.start


def test_unique_attention_refuses_to_count_and_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="AC0"):
        compiled(parse("#(a) > 1", "ab"), "ab", kind="unique")
    with pytest.raises(ValueError, match="'unique' or 'average'"):
        compiled(parse("a", "ab"), "ab", kind="soft")


def test_the_text_holds_plain_numbers_and_every_coordinate_exists_when_it_is_read():
    encoder = compiled(parse("#<(a) >= 2 U b", "ab"), "ab")
    record = json.loads(encoder.text([1, 3]))
    assert set(record["encodings"]) == {"1", "3"} and len(record["encodings"]["3"]) == 4  # the start, and three letters
    width = 2 + len(encoder.encodings)
    for layer, data in zip(encoder.layers, record["layers"], strict=True):
        sums = [*data["queries"], *data["keys"]] if isinstance(layer, Attention) else [data["sum"]]
        assert all(k < width for each in sums for k, _ in each[0])
        assert not isinstance(layer, Attention) or max(data["copies"]) < width
        width += len(data["copies"]) if isinstance(layer, Attention) else 1
    assert width == encoder.width and 0 <= record["output"] < width


@pytest.mark.parametrize("n", [3, 4])
def test_prefix_means_need_keys_of_width_n_minus_1_and_a_simplex_has_them(n):
    keys = np.eye(n)[:, : limits.width_for_prefix_means(n)]  # corners of a simplex, the last at 0
    assert keys.shape == (n, n - 1) and all(_is_face(keys, i) for i in range(n - 1))
    rng = np.random.default_rng(n)
    for _ in range(200):  # one dimension fewer: no keys, whichever
        narrow = rng.standard_normal((n, n - 2))
        assert not all(_is_face(narrow, i) for i in range(n - 1))


def _is_face(keys, i):
    """Whether some linear score has its maximum at keys 0..i and nowhere else."""
    inside, outside = keys[: i + 1], keys[i + 1 :]
    found = linprog(
        np.zeros(keys.shape[1]),
        A_ub=outside - inside[0],
        b_ub=-np.ones(len(outside)),
        A_eq=inside - inside[0],
        b_eq=np.zeros(i + 1),
        bounds=(None, None),
    )
    return found.status == 0


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_sharpness_law_is_where_the_weight_of_the_hardest_b_passes_one_half(n):
    beta = limits.least_inverse_temperature_exact(n)

    def lightest(beta):
        p = np.array([2.0 ** (n - 1 - j) for j in range(n)])
        weights = []
        for k in range(n):
            scores = beta * (2 * p[0] * p - p**2 - 4.0**n * (np.arange(n) < k))
            weights.append(math.exp(scores[k] - scores.max()) / np.exp(scores - scores.max()).sum())
        return min(weights)

    assert lightest(beta * (1 + 1e-9)) > 0.5 > lightest(beta * (1 - 1e-9))


def test_the_limit_is_the_plastic_number_and_is_reached_like_2_to_the_minus_n():
    rho = limits.PLASTIC_NUMBER
    assert rho**3 == pytest.approx(rho + 1, rel=1e-15)
    gaps = [1 - limits.least_inverse_temperature_limit(n) / limits.least_inverse_temperature_exact(n) for n in (10, 14)]
    assert gaps[0] / gaps[1] == pytest.approx(16, rel=0.02)
    assert limits.least_inverse_temperature_exact(2) == 0.0
    for law in (
        limits.least_inverse_temperature_exact,
        limits.least_inverse_temperature_limit,
        limits.width_for_prefix_means,
    ):
        with pytest.raises(ValueError, match="whole number"):
            law(0.5)
