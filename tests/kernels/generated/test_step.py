"""Random programs of the known operations against torch, and lanes that never see each other, whatever is in them."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import pytest
from made import known, made

REPLICAS = 3


def transposed(choice, x):
    return x.transpose(1, 2)


def folded(choice, x):
    return x.reshape(len(x), x.shape[2], x.shape[1])


def merged(choice, x):
    return x.reshape(len(x), 1, -1)


def half(choice, x):
    n = (x.shape[1] + 1) // 2
    return x[:, -n:] if choice else x[:, :n]


def joined(choice, x):
    return torch.cat([x, x * x], dim=1)


def spread(choice, x):
    return x[:, :1].expand(-1, 3, -1) + 0.0


def gram(choice, x):
    return torch.tanh(x @ x.mT / x.shape[2] ** 0.5) @ x


def weights(choice, x):
    return torch.softmax(x, choice)


def normed(choice, x):
    return x / (1 + torch.linalg.vector_norm(x, dim=2, keepdim=True))


def chosen(choice, x):
    """Rows at places that are data, ties of the largest included."""
    place = (x.detach() * 2).int().argmax(1)  # (replica, column)
    return x.gather(1, place[:, None].expand(-1, 2, -1))


def positive(choice, x):
    return torch.where(x > 0.1, x, -0.5 * x).clamp_max(1.5)


def scanned(choice, x):
    return x.cumsum(1).flip(1) / x.shape[1]


def largest(choice, x):
    return x - x.amax(2, keepdim=True)


def summed(choice, x):
    return x.sum(1, keepdim=True) * x


def scattered(choice, x):
    place = (x.detach().abs() * 3).long() % x.shape[1]
    return torch.zeros_like(x).scatter_add(1, place, x)


STEPS = [
    transposed, folded, merged, half, joined, spread, gram, weights, normed, chosen, positive, scanned, largest, summed, scattered,
]  # fmt: skip


@st.composite
def programs(draw):
    """A loss of a random chain of steps, with a sum of an earlier and a later value where their shapes allow it."""
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=3, max_size=9))
    seed = draw(st.integers(0, 2**20))
    choices = [draw(st.booleans()) for _ in steps], [draw(st.sampled_from([1, 2])) for _ in steps]

    def loss(p, o):
        values = [torch.tanh(p["a"] * o["x"]) + p["b"][:, None]]
        for index, step in enumerate(steps):
            x = values[-1]
            y = step(choices[1 if step is weights else 0][index], x)
            same = next((value for value in values if value.shape == y.shape), None)
            values.append(torch.tanh(y if same is None else y * same + y) if y.numel() < 20_000 else x)
        flat = values[-1].flatten(1)
        return (flat * torch.linspace(1, 2, flat.shape[1], dtype=flat.dtype)).sum(1) + (
            values[len(values) // 2] ** 2
        ).flatten(1).mean(1)

    return loss, seed, "-".join(step.__name__ for step in steps)


def tensors(seed):
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(REPLICAS, *shape, generator=rng, dtype=torch.float64)

    return {"a": normal(4, 6), "b": normal(6)}, {"x": normal(4, 6)}


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(programs())
def test_a_random_program_and_its_gradient_are_those_of_torch(needs_c, program):
    loss, seed, _ = program
    value, gradient = made(loss, *tensors(seed))
    expected, slope = known(loss, *tensors(seed))
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)
    for name, each in slope.items():  # a chain of tanh and cumsum enlarges roundings by less than its largest gradient
        torch.testing.assert_close(gradient[name], each, rtol=1e-10, atol=1e-11 * max(1.0, float(each.abs().max())))


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(programs(), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300]))
def test_what_is_in_one_lane_stays_there(needs_c, program, bad):
    loss, seed, _ = program
    parameters, others = tensors(seed)
    value, gradient = made(loss, parameters, others)
    others["x"][1, 2, 3] = bad
    spoilt, slope = made(loss, parameters, others)
    for row in (0, 2):
        assert torch.equal(value[row], spoilt[row])
        assert all(torch.equal(gradient[name][row], slope[name][row]) for name in slope)
