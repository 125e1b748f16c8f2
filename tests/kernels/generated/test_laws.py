"""Numbers drawn in C follow their reference, and their law is read off the function that draws in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.kernels.generated import laws, optimisers
from attnlab.kernels.generated.laws import Part
from attnlab.kernels.generated.step import Step, text_of

SEEDS = np.array([3, 2**63 + 11, 2**64 - 1, 7, 0, 1, 2, 9, 2**40, 5], dtype=np.uint64)


def mixed(numbers, stream):
    numbers[:, :37].uniform_(-1, 3, generator=stream)
    numbers[:, 37:].normal_(0.5, 2, generator=stream)


def test_a_law_is_read_off_what_draws_it():
    assert laws.parts_of(mixed, 90) == (Part("uniform", 0, 37, -1.0, 3.0), Part("normal", 37, 53, 0.5, 2.0))
    assert laws.parts_of(lambda numbers, stream: numbers.normal_(generator=stream), 5) == (Part("normal", 0, 5, 0, 1),)


@pytest.mark.parametrize(
    "fill",
    [
        lambda numbers, stream: numbers[:, :3].normal_(generator=stream),  # leaves numbers out
        lambda numbers, stream: numbers.uniform_(generator=stream).add_(1),  # changes them
        lambda numbers, stream: numbers.copy_(torch.randint(5, numbers.shape, generator=stream)),
        lambda numbers, stream: [numbers.normal_(generator=stream), numbers.uniform_(generator=stream)],
    ],
)
def test_any_other_law_stays_with_torch(fill):
    assert laws.parts_of(fill, 8) is None


@pytest.mark.parametrize("n_replicas", [1, 3, 8, 10])
def test_drawn_numbers_are_those_of_the_reference(needs_c, n_replicas):
    """The gradient of p . numbers is the numbers, so that a step of rate -1 from zero ends at them.

    Float32 against float64: 2e-7 relative in the radius, 6e-8 in the angle, both of numbers below 6, times the width 2.
    """
    parts = laws.parts_of(mixed, 90)
    text = text_of(
        lambda p, others: (p["p"] * others["numbers"]).sum(1),
        {"p": torch.zeros(1, 90)},
        {"numbers": torch.zeros(1, 90)},
        optimisers.descent(0.0, 0.0),
        0,
        parts,
    )
    step = Step(text, {"numbers": None}, n_replicas, SEEDS[:n_replicas])
    for first in (0, 5, 2**33):
        values = torch.zeros(n_replicas, 90)
        step.run(values, [], None, -np.ones(n_replicas), np.ones((1, 2)), first)
        expected = np.stack([laws.drawn(parts, int(seed), first) for seed in SEEDS[:n_replicas]])
        np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=2 * 6 * 4e-7)
        assert np.abs(expected - np.roll(expected, 1)).max() > 1  # the twin: numbers at other places
