"""The compiled steps behind the trainer: equal to autograd on the same batches, resumable, and silent where they cannot be."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from attnlab.kernels import induction_step
from attnlab.kernels.induction_step import fused, reference
from attnlab.papers.lab.run.fingerprint import code_fingerprint, forget
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.schedules import warmup
from attnlab.simulators.ensemble.trainer import autograd_step, train
from attnlab.simulators.induction_heads.compiled import CompiledSteps, compiled_steps
from attnlab.simulators.induction_heads.model import InductionNetwork
from attnlab.simulators.tasks.labelled_items import ClassificationTask, tables

SEEDS = np.random.SeedSequence(5).spawn(3)
MODEL = InductionNetwork(dim=9, n_positions=11, n_labels=8)
TASK = ClassificationTask(
    **tables(generators(SEEDS, "tables"), 16, 8, 9, torch.float32),
    n_context=4,
    n_positions=11,
    batch=10,
    p_novel=0.5,
    p_bursty=0.5,
    n_novel=8,
    rank_exponent=1.0,
)
SGD = GradientDescent(0.05, weight_decay=1e-3)

needs_compiler = pytest.mark.skipif(
    not fused.available("float32"), reason="no C compiler: the compiled path is not there"
)


class Given:
    """The task on given batches."""

    def __init__(self, shape, batches):
        self.steps = [reference.tokens(shape, batches.at(t), torch.float64) for t in range(batches.items.shape[1])]

    def loss(self, model, parameters, step):
        contents, start, target = self.steps[step]
        logits = model(parameters, contents, start)
        return cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)


@needs_compiler
@pytest.mark.parametrize("n_steps", [1, 100])
def test_compiled_and_autograd_steps_agree_on_the_same_batches(n_steps):
    steps = compiled_steps(MODEL, TASK, SGD, SEEDS, torch.float32)
    batches, _ = induction_step.draw(steps.shape, steps.data, 0, n_steps)
    start = MODEL.initialise(generators(SEEDS, "parameters"), torch.float64)
    layout = Layout({name: v.shape[1:] for name, v in start.items()})
    values = layout.join(start)

    mine = values.clone()
    step = autograd_step(MODEL, Given(steps.shape, batches), SGD, layout)
    losses = np.stack([step(mine, {}, k, k).numpy() for k in range(n_steps)], axis=1)
    theirs = values.clone()
    compiled = CompiledSteps(steps.shape, batches, steps.optimiser).run(theirs, {}, 0, n_steps)
    # float64: a gradient has some 30 products one after the other with sums of at most 20 terms, 1e-13 with room for
    # the size of the numbers; 100 steps of 0.05 on a loss with curvature below 100 amplify it by less than 1e3 each way
    bound = 1e-13 if n_steps == 1 else 1e-9
    assert np.abs(compiled - losses).max() < bound and (theirs - mine).abs().max() < bound
    faster = CompiledSteps(steps.shape, batches, induction_step.Optimiser(0.0505, 5e-5)).run(
        values.clone(), {}, 0, n_steps
    )
    fixed = CompiledSteps(steps.shape, batches, induction_step.Optimiser(0.05)).run(values.clone(), {}, 0, n_steps)
    for wrong in (faster, fixed):  # the twins: a rate 1 % larger, and no decay
        assert n_steps == 1 or np.abs(wrong - losses).max() > 1e3 * bound


@pytest.mark.slow
@needs_compiler
def test_the_training_law_is_that_of_the_autograd_step():
    """Loss of the last fifth of 300 steps over 16 replicas, each with its own vectors: the same mean on either path."""
    seeds = np.random.SeedSequence(1).spawn(16)
    task = replace(TASK, **tables(generators(seeds, "tables"), 16, 8, 9, torch.float32), batch=16)
    ends = [
        train(MODEL, task, GradientDescent(0.1), seeds, Plan(300, loss_steps=(240, 300), compiled=compiled)).loss[:, -1]
        for compiled in (compiled_steps, None)
    ]
    error = (ends[0] - ends[1]).std(ddof=1) / len(seeds) ** 0.5  # same start and vectors, other batches
    assert abs(ends[0].mean() - ends[1].mean()) < 5 * error
    assert ends[0].mean() < np.log(8) - 10 * error  # both have learnt: chance is ln 8


@dataclass(frozen=True)
class Other(InductionNetwork):
    """A network with other logits."""

    def forward(self, parameters, contents, start):
        logits, first, second = super().forward(parameters, contents, start)
        return 2 * logits, first, second


@pytest.mark.parametrize(
    "model, task, optimiser, dtype",
    [
        (Other(9, 11, 8), TASK, SGD, torch.float32),
        (MODEL, object(), SGD, torch.float32),
        (MODEL, TASK, Adam(0.05), torch.float32),
        (MODEL, TASK, GradientDescent(0.05, momentum=0.5), torch.float32),
        (MODEL, TASK, SGD, torch.float64),
        (MODEL, TASK, GradientDescent(0.05, schedule=warmup(10)), torch.float32),
        (InductionNetwork(9, 12, 8), TASK, SGD, torch.float32),
    ],
    ids=["logits", "task", "adam", "momentum", "float64", "schedule", "positions"],
)
def test_what_the_compiled_step_cannot_do_is_left_to_autograd(model, task, optimiser, dtype):
    assert compiled_steps(model, task, optimiser, SEEDS, dtype) is None


def test_without_a_compiler_training_goes_on_by_autograd(monkeypatch):
    monkeypatch.setattr(fused, "available", lambda dtype: False)
    assert compiled_steps(MODEL, TASK, SGD, SEEDS, torch.float32) is None
    asked, plain = (train(MODEL, TASK, SGD, SEEDS, Plan(70, compiled=steps)) for steps in (compiled_steps, None))
    assert asked.path == plain.path != "compiled"
    assert all(torch.equal(asked.parameters[name], plain.parameters[name]) for name in plain.parameters)


@pytest.mark.parametrize("name", ["induction_step.c", "batches.h", "philox.h"])
def test_the_c_sources_are_part_of_the_identity_of_a_result(name, monkeypatch):
    module, read = "attnlab.simulators.induction_heads.compiled", Path.read_bytes
    before = code_fingerprint(module)
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: read(path) + b" " * (path.name == name))
        assert code_fingerprint(module) != before
    forget()
