"""Generated steps against autograd, and what they promise about bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from attnlab.kernels.compiled import compiler
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent, NormalisedGradientDescent
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.trainer import train

pytestmark = pytest.mark.skipif(compiler.working_target()[0] is None, reason="no C compiler: nothing can be generated")


@dataclasses.dataclass(frozen=True)
class Net:
    """Two layers and a softmax; ``scale`` is one number per replica."""

    scale: Tensor

    def part(self, rows: slice) -> Net:
        return Net(self.scale[rows])

    def initialise(self, streams, dtype):
        return {
            "first": torch.stack([torch.randn(5, 7, generator=each, dtype=dtype) for each in streams]) * 0.4,
            "bias": torch.zeros(len(streams), 7, dtype=dtype),
            "second": torch.stack([torch.randn(7, 3, generator=each, dtype=dtype) for each in streams]) * 0.4,
        }

    def __call__(self, parameters, x):
        hidden = torch.tanh(x @ parameters["first"] + parameters["bias"][:, None])
        return torch.log_softmax(self.scale[:, None, None].to(x) * (hidden @ parameters["second"]), dim=-1)


@dataclasses.dataclass(frozen=True)
class Batches:
    """Which of three directions is largest, on fresh batches of 12."""

    batch: int = 12
    blow_up: Tensor | None = None

    def part(self, rows: slice) -> Batches:
        return self if self.blow_up is None else Batches(self.batch, self.blow_up[rows])

    @property
    def numbers_per_step(self) -> int:
        return 5 * self.batch

    def fill(self, numbers, stream):
        numbers.normal_(generator=stream)

    def loss(self, model, parameters, numbers):
        x = numbers.view(len(numbers), self.batch, 5)
        if self.blow_up is not None:
            x = x * self.blow_up[:, None, None].to(x)
        right = x[..., :3].argmax(-1, keepdim=True)
        return -model(parameters, x).gather(2, right)[..., 0].mean(1)

    def largest_array(self, model):
        return 7 * self.batch


def run(rows, path="generated", n_steps=40, dtype=torch.float32, optimiser=None, task=None, seed=5, **plan):
    """Train the replicas of some rows."""
    seeds = [np.random.SeedSequence(seed, spawn_key=(row,)) for row in rows]
    model = Net(torch.tensor([1.0 + row / 10 for row in rows]))
    optimiser = optimiser or Adam(0.02, schedule=cosine(n_steps))
    return train(model, task or Batches(), optimiser, seeds, Plan(n_steps, dtype=dtype, path=path, **plan))


@pytest.mark.parametrize(
    "optimiser",
    [
        Adam(0.02, weight_decay=0.01),
        GradientDescent(0.1, momentum=0.9, weight_decay=0.1),
        NormalisedGradientDescent(0.1),
    ],
    ids=lambda each: type(each).__name__,
)
def test_generated_training_follows_autograd(optimiser):
    """In float64, 40 steps amplify rounding by less than a million times."""
    made, known = (run(range(5), path, dtype=torch.float64, optimiser=optimiser) for path in ("generated", "autograd"))
    assert made.path.startswith("generated (") and known.path == "autograd (as the plan says)"
    np.testing.assert_allclose(made.loss, known.loss, rtol=1e-9)
    for name, value in known.parameters.items():
        torch.testing.assert_close(made.parameters[name], value, rtol=1e-9, atol=1e-10)


def test_bits_do_not_depend_on_the_replicas_beside():
    whole = run(range(9))
    for rows in ([4], [8, 7, 4], range(3, 6)):
        part = run(rows)
        for name, value in part.parameters.items():
            assert torch.equal(value, whole.parameters[name][list(rows)])
        assert np.array_equal(part.loss, whole.loss[list(rows)])


def test_a_replica_that_diverges_leaves_the_others_alone():
    rows = range(6)
    blow = torch.ones(6)
    calm = run(rows, task=Batches(blow_up=blow))
    blow[2], blow[5] = torch.nan, 1e30
    mixed = run(rows, task=Batches(blow_up=blow))
    assert mixed.diverged_at[2] == 0 and (mixed.diverged_at[[0, 1, 3, 4]] == -1).all()
    assert mixed.parameters["first"][2].isnan().all()
    for row in (0, 1, 3, 4):
        assert torch.equal(mixed.parameters["first"][row], calm.parameters["first"][row])


def test_what_cannot_be_generated_says_why():
    class Odd(Batches):
        def loss(self, model, parameters, numbers):
            return super().loss(model, parameters, numbers) + torch.special.i0(parameters["bias"]).sum(1)

    with pytest.raises(ValueError, match=r"path='generated' cannot be had: .*i0"):
        run(range(2), task=Odd())
    assert "i0" in run(range(2), path="auto", n_steps=1600, task=Odd()).path
    assert run(range(2), path="auto", n_steps=10).path == "autograd (10 steps of 2 replicas are less than 3000)"
