"""The rivals of the induction bench compute the same loss, and its records are finite."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.benchmarks import induction_step as bench_induction
from attnlab.kernels.induction_step import Batches, Shape, loss_and_gradient, reference

SHAPE = Shape(dim=6, n_context=4, n_positions=11, n_labels=8, batch=13)


@pytest.mark.parametrize("form", ["query row", "folded"])
def test_the_rivals_compute_the_loss_of_the_step(form):
    state = bench_induction.start(SHAPE, 2)
    labels = np.random.default_rng(0).normal(size=(2, 8, 6)).astype(np.float32)
    contents, begin, target = bench_induction._sequences(SHAPE, torch.from_numpy(labels))
    given = (contents[:, :, 1::2, None] == torch.from_numpy(labels)[:, None, None]).all(-1).int().argmax(-1)
    batch = Batches(
        contents[:, None, :, ::2].numpy(),
        given[:, None].numpy(),
        target[:, None].numpy(),
        begin[:, None].numpy(),
        labels,
    )
    again, *_ = reference.tokens(SHAPE, batch, torch.float32)
    assert torch.equal(again, contents)
    assert (given == target[..., None]).sum(-1).eq(1).all()  # the target's label is once in the context
    expected, _ = loss_and_gradient(SHAPE, state, batch)
    params = {name: torch.from_numpy(a) for name, a in state.params.items()}
    got = bench_induction.eager_loss(SHAPE, params, contents, begin, target, form).numpy()
    assert (
        np.abs(got - expected).max() < 100 * np.finfo(np.float32).eps * expected.max()
    )  # sums of 17 terms in a dozen products


def test_records_are_finite_and_the_base_has_speed_one(needs_c):
    records = bench_induction.induction_records(rounds=1, n_replicas=1, n_steps=1, shapes=(SHAPE,))
    assert {r["candidate"] for r in records} == {
        "fused",
        *(f"{a}, {b}" for a in ("batched", "loop") for b in ("query row", "folded")),
    }
    assert all(math.isfinite(x) and x > 0 for r in records for x in r.values() if isinstance(x, float))
    assert next(r for r in records if r["candidate"] == bench_induction.BASE)["speed_against_base"] == 1
