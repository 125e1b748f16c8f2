"""Hand-written steps inside the trainer: what chunks, checkpoints and divergence do to their bits, for each of them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from attnlab.kernels import icl_step, induction_step
from attnlab.simulators.ensemble.monitor import Monitor, use
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.in_context_regression.compiled import compiled_steps as regression_steps
from attnlab.simulators.in_context_regression.model import AttentionRegressor
from attnlab.simulators.induction_heads.compiled import compiled_steps as induction_steps
from attnlab.simulators.induction_heads.model import InductionNetwork
from attnlab.simulators.tasks.labelled_items import ClassificationTask, tables
from attnlab.simulators.tasks.regression import RegressionTask

SEEDS = [np.random.SeedSequence(3, spawn_key=(r,)) for r in range(3)]


@dataclass(frozen=True)
class Case:
    """A model and a task with a hand-written step, a rate at which it trains and one at which it diverges."""

    available: bool
    model: Any
    task: Any
    steps: Callable[..., Any]
    optimiser: Callable[[Any], Any]
    rate: float
    too_large: float
    weight: str

    def run(self, n_steps: int = 70, rate: Any = None, compiled: bool = True, **plan: Any) -> Any:
        """Three replicas trained with four records of one weight."""
        plan = Plan(n_steps, **{"loss_steps": (0, 10, n_steps), "compiled": self.steps if compiled else None} | plan)
        record = Record(lambda model, p: {"first": p[self.weight].flatten(1)[:, 0]}, (0, 10, 33, n_steps))
        return train(self.model, self.task, self.optimiser(rate or self.rate), SEEDS, plan, [record])


CASES = {
    "in_context_regression": Case(
        icl_step.fused.available(icl_step.Shape(3, 7, 2, 5), "float32"),
        AttentionRegressor(dim=3, n_heads=2),
        RegressionTask(dim=3, n_context=7, batch=5, noise_std=0.3),
        regression_steps,
        Adam,
        1e-2,
        1e30,
        "Q",
    ),
    "induction_heads": Case(
        induction_step.fused.available("float32"),
        InductionNetwork(dim=9, n_positions=11, n_labels=8),
        ClassificationTask(
            **tables(generators(SEEDS, "tables"), 16, 8, 9, torch.float32),
            n_context=4,
            n_positions=11,
            batch=10,
            p_novel=0.5,
            p_bursty=0.5,
            n_novel=8,
            rank_exponent=1.0,
        ),
        induction_steps,
        lambda rate: GradientDescent(rate, weight_decay=1e-3),
        0.05,
        1e6,
        "Q1",
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    """A hand-written step, where a compiler can make it."""
    if not CASES[request.param].available:
        pytest.skip("no C compiler: the compiled path is not there")
    return CASES[request.param]


def flat(result):
    return torch.cat([value.flatten(1) for value in result.parameters.values()], dim=1).numpy()


def test_chunks_and_observation_points_do_not_change_a_bit(case):
    whole = case.run()
    assert whole.path == "compiled"
    assert np.array_equal(flat(whole), flat(case.run(chunk=1)))
    assert np.array_equal(flat(whole), flat(case.run(loss_steps=(70,))))
    assert whole.records["first"].shape == (3, 4) and np.isfinite(whole.loss).all()
    assert not np.array_equal(flat(whole), flat(case.run(compiled=False)))  # another batch stream


class Interrupted(Exception):
    """Stops a run at a checkpoint."""


class Keeper(Monitor):
    """Keeps a checkpoint, and stops the first run there."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def save(self, arrays):
        self.kept = {name: np.array(a) for name, a in arrays.items()}
        raise Interrupted

    def restore(self):
        return self.kept


def test_an_interrupted_run_goes_on_with_the_same_bits(case):
    whole, keeper = case.run(n_steps=200), Keeper()
    with use(keeper), pytest.raises(Interrupted):
        case.run(n_steps=200, checkpoint_steps=64)
    assert 0 < int(keeper.kept["step"]) < 200
    with use(keeper):
        again = case.run(n_steps=200, checkpoint_seconds=1e9)
    assert np.array_equal(flat(whole), flat(again)) and np.array_equal(whole.loss, again.loss)


def test_a_replica_that_diverges_is_recorded_and_the_others_go_on(case):
    bad = case.run(n_steps=64, rate=(case.rate, case.too_large, case.rate))
    good = case.run(n_steps=64)
    assert bad.diverged_at[1] >= 0 and (bad.diverged_at[[0, 2]] == -1).all()
    assert np.array_equal(flat(bad)[[0, 2]], flat(good)[[0, 2]]) and np.isnan(flat(bad)[1]).all()
