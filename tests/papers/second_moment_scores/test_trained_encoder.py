"""The comparison of laws with a trained model's heads: Gaussian heads follow, a planted sink departs."""

import math

import numpy as np
import pytest

from attnlab.papers.second_moment_scores.trained_encoder import Law, drawn, laws, table
from attnlab.simulators.outside.head_scores import head_scores

N, DIM = 128, 32


def texts(sink, n_texts=24, n_heads=2):
    """Heads of independent Gaussian queries and keys of spread 1; with ``sink`` all queries have 6 nats for key 0."""
    found = []
    for seed in range(n_texts):
        rng = np.random.default_rng(seed)
        q, k = (rng.standard_normal((n_heads, N, DIM)) / DIM**0.25 for _ in range(2))
        if sink:
            q[..., 0], k[..., 0] = 1.0, 0.0
            k[:, 0, 0] = 6.0
        found.append(head_scores(q, k))
    return found


@pytest.mark.slow
def test_gaussian_heads_follow_and_heads_with_a_sink_depart():
    plain, sunk = ({law.name: law for law in laws(texts(sink), N, DIM)} for sink in (False, True))
    for name in (
        "exact at n, d, within rows",
        "mean ln P = -ln n - s^2/2, within rows",
        "two moments",
        "local rule agrees",
    ):
        assert plain[name].verdicts()[1].all(), name
    assert sunk["exact at n, d, within rows"].verdicts()[2].all()  # depart
    assert sunk["ln of largest column"].verdicts()[2].all()
    assert sunk["two moments"].verdicts()[1].all()  # the sink is local: the bulk is what it was


def test_a_law_is_judged_by_the_interval_over_texts():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20, 3)) * 0.02
    law = Law("", np.zeros((20, 3)), noise + np.array([0.0, 0.1, 0.3]), 0.1)
    mean, follow, depart = law.verdicts()
    assert follow.tolist() == [True, False, False] and depart.tolist() == [False, False, True]
    assert abs(mean[2] - 0.3) < 5 * 0.02 / math.sqrt(20)


def test_the_table_counts_every_head_once_and_the_figure_has_its_points():
    shape = (6, 4)
    names = ("exact at n, d, within rows", "two moments", "local rule agrees", "ln of largest column")
    rng = np.random.default_rng(1)
    made = [Law(name, np.ones(shape) + np.arange(4), np.ones(shape) + rng.random(shape), 0.1) for name in names]
    found = [head_scores(*(rng.standard_normal((4, 60, 4)) for _ in range(2))) for _ in range(3)]
    for line in table(found, made).splitlines()[2:]:
        follow, depart, rest = (int(cell) for cell in line.split("|")[2:5])
        assert follow + depart + rest == 4
    plate = drawn(made, 6)
    assert sum(mark.kind == "estimate" for mark in plate.marks) == 4
