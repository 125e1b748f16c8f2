"""The compiled steps behind the trainer: equal to autograd on the same batches, resumable, and silent where they cannot be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.kernels import icl_step
from attnlab.kernels.icl_step import fused
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import warmup
from attnlab.simulators.ensemble.trainer import autograd_step, train
from attnlab.simulators.in_context_regression.compiled import CompiledSteps, compiled_steps
from attnlab.simulators.in_context_regression.model import AttentionRegressor
from attnlab.simulators.in_context_regression.several_tasks_task import MultiRegressionTask
from attnlab.simulators.tasks.regression import RegressionTask

MODEL = AttentionRegressor(dim=3, n_heads=2)
TASK = RegressionTask(dim=3, n_context=7, batch=5, noise_std=0.3)
SHAPE = icl_step.Shape(3, 7, 2, 5)
SEEDS = np.random.SeedSequence(5).spawn(3)
SUPPORTS = ((0, 1), (1, 2))
TASKS = {
    "one": (MODEL, TASK),
    "correlated": (MODEL, replace(TASK, covariance_decay=0.5)),
    "several": (AttentionRegressor(dim=3, n_heads=2, n_labels=2), MultiRegressionTask(3, SUPPORTS, 7, 5, 0.3, 0.8)),
}

needs_compiler = pytest.mark.skipif(
    not fused.available(SHAPE, "float32"), reason="no C compiler: the compiled path is not there"
)


class Given:
    """The task on given batches x (replica, step, batch, pair, dim), y (replica, step, batch, pair[, label])."""

    def __init__(self, batches):
        self.x, self.y = (torch.from_numpy(a.astype(np.float64)) for a in (batches.x, batches.y))

    def loss(self, model, parameters, step):
        x, y = self.x[:, step], self.y[:, step].reshape(*self.x[:, step].shape[:3], -1)
        tokens = torch.cat([x[:, :, :-1], y[:, :, :-1]], dim=-1)
        return ((model(parameters, tokens, x[:, :, -1]) - y[:, :, -1]) ** 2).mean((-2, -1))


@pytest.mark.sampled(4)
@needs_compiler
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("n_steps", [1, 100])
def test_compiled_and_autograd_steps_agree_on_the_same_batches(n_steps, kind):
    model, task = TASKS[kind]
    steps = compiled_steps(model, task, Adam(1e-2), SEEDS, torch.float32)
    drawn = icl_step.draw(steps.shape, steps.data, 0, n_steps)
    batches = icl_step.Batches(drawn.x.astype(np.float64), drawn.y.astype(np.float64))
    streams = [torch.Generator().manual_seed(i) for i in range(3)]
    start = model.initialise(streams, torch.float64)
    layout = Layout({name: v.shape[1:] for name, v in start.items()})
    values = layout.join(start)

    adam = Adam(1e-2)
    mine, own = values.clone(), adam.start(values)
    step = autograd_step(model, Given(batches), adam, layout)
    losses = np.stack([step(mine, own, k, k).numpy() for k in range(n_steps)], axis=1)
    theirs, state = values.clone(), adam.start(values)
    compiled = CompiledSteps(steps.shape, batches, icl_step.Optimiser(1e-2)).run(theirs, state, 0, n_steps)
    # 1e-14 per step from rounding; 100 Adam steps of 1e-2 on this smooth loss amplify it by less than 1e4
    bound = 1e-13 if n_steps == 1 else 1e-9
    assert np.abs(compiled - losses).max() < bound and (theirs - mine).abs().max() < bound
    wrong = CompiledSteps(steps.shape, batches, icl_step.Optimiser(1.01e-2)).run(
        values.clone(), adam.start(values), 0, n_steps
    )
    assert n_steps == 1 or np.abs(wrong - losses).max() > 1e3 * bound  # the twin: a rate 1 % larger


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("kind", TASKS)
def test_the_training_law_is_that_of_the_autograd_step(kind):
    seeds = np.random.SeedSequence(1).spawn(16)
    model, task = TASKS[kind]
    task = replace(task, n_context=12, batch=32)
    ends = [
        train(model, task, Adam(1e-2), seeds, Plan(600, loss_steps=(400, 600), compiled=compiled)).loss[:, -1]
        for compiled in (compiled_steps, None)
    ]
    spread = np.hypot(*[end.std(ddof=1) / len(end) ** 0.5 for end in ends])
    assert abs(ends[0].mean() - ends[1].mean()) < 5 * spread  # 5 standard errors of the difference
    assert ends[0].mean() < 0.8 * (2 * 0.8**2 if kind == "several" else 1.09)  # both have learnt: this is the null risk


@needs_compiler
@pytest.mark.parametrize("kind", TASKS)
def test_the_compiled_batches_have_the_law_of_the_task(kind):
    """Second moments of (covariates, labels) of a pair, and of the query, on either path, within 5 standard errors."""
    model, task = TASKS[kind]
    task = replace(task, batch=8000)
    drawn = compiled_steps(model, task, Adam(1e-2), SEEDS[:1], torch.float32)
    batch = icl_step.draw(drawn.shape, drawn.data, 0, 1)
    numbers = torch.empty(1, task.numbers_per_step, dtype=torch.float64)
    task.fill(numbers, torch.Generator().manual_seed(0))
    made = task.sequences(numbers)
    tokens, query, target = made if kind == "several" else (made.tokens, made.query, made.target[..., None])
    mine = np.concatenate([batch.x, batch.y.reshape(*batch.x.shape[:-1], -1)], -1)[0, 0].astype(float)
    theirs = np.concatenate([tokens[0].numpy(), torch.cat([query, target], -1)[0, :, None].numpy()], 1)
    for a, b in (
        (mine[:, 2], theirs[:, 2]),
        (mine[:, -1], theirs[:, -1]),
        (mine[:, 1] * mine[:, -1], theirs[:, 1] * theirs[:, -1]),
    ):
        first, second = (x[:, :, None] * x[:, None] for x in (a, b))
        error = np.sqrt(first.var(0) / len(first) + second.var(0) / len(second))
        assert (np.abs(first.mean(0) - second.mean(0)) < 5 * error).all()


@pytest.mark.parametrize(
    "model, task, optimiser, dtype",
    [
        (AttentionRegressor(3, 2, n_labels=2), TASK, Adam(1e-2), torch.float32),
        (MODEL, TASKS["several"][1], Adam(1e-2), torch.float32),
        (MODEL, object(), Adam(1e-2), torch.float32),
        (MODEL, TASK, GradientDescent(1e-2), torch.float32),
        (MODEL, TASK, Adam(1e-2, weight_decay=0.1), torch.float32),
        (MODEL, TASK, Adam(1e-2, schedule=warmup(10)), torch.float32),
        (MODEL, TASK, Adam(1e-2), torch.float64),
    ],
)
def test_what_the_compiled_step_cannot_do_is_left_to_autograd(model, task, optimiser, dtype):
    assert compiled_steps(model, task, optimiser, SEEDS, dtype) is None
