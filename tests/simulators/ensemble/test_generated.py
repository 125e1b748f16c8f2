"""Generated steps against autograd, and what they promise about bits."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from attnlab.kernels.compiled import compiler
from attnlab.simulators.ensemble import generated, random_streams
from attnlab.simulators.ensemble.generated import GeneratedSteps
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.monitor import Monitor, use
from attnlab.simulators.ensemble.optimisers import Adam, Clipped, GradientDescent, NormalisedGradientDescent
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.ensemble.trainings import trained_simulations, training_of
from attnlab.simulators.task_matrix.cells import CellSetting, cell

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


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "optimiser",
    [
        Adam(0.02, weight_decay=0.01),
        GradientDescent(0.1, momentum=0.9, weight_decay=0.1),
        NormalisedGradientDescent(0.1),
        Clipped(Adam(0.02, eps=0.01, weight_decay=0.01), 0.1),
        Clipped(GradientDescent(0.1, momentum=0.9, weight_decay=0.1), 0.1),
    ],
    ids=lambda each: type(each).__name__ + getattr(each, "optimiser", each).__class__.__name__,
)
def test_generated_training_follows_autograd(optimiser):
    """In float64, 40 steps amplify rounding by less than a million times."""
    made, known = (run(range(5), path, dtype=torch.float64, optimiser=optimiser) for path in ("generated", "autograd"))
    assert made.path.startswith("generated (") and known.path == "autograd (as the plan says)"
    np.testing.assert_allclose(made.loss, known.loss, rtol=1e-9)
    for name, value in known.parameters.items():
        torch.testing.assert_close(made.parameters[name], value, rtol=1e-9, atol=1e-10)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("optimiser", [Adam(0.02), Clipped(Adam(0.02), 0.1)], ids=["free", "clipped"])
def test_bits_do_not_depend_on_the_replicas_beside(optimiser):
    whole = run(range(9), optimiser=optimiser)
    for rows in ([4], [8, 7, 4], range(3, 6)):
        part = run(rows, optimiser=optimiser)
        for name, value in part.parameters.items():
            assert torch.equal(value, whole.parameters[name][list(rows)])
        assert np.array_equal(part.loss, whole.loss[list(rows)])


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_clipped_gradient_is_as_exact_as_that_of_autograd(size):
    """Against float64: at most 4 times the error of float32 autograd, and of 16 roundings where that is luckily exact."""
    model, task, largest = Net(torch.linspace(0.5, 2, 5) * size), Batches(), 0.05
    seeds = [np.random.SeedSequence(5, spawn_key=(row,)) for row in range(5)]
    initial = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    layout = Layout({name: tuple(value.shape[1:]) for name, value in initial.items()})
    values, optimiser = layout.join(initial), Clipped(Adam(1e-3, betas=(0.0, 0.999)), largest)
    numbers = torch.randn(5, 1, task.numbers_per_step, generator=torch.Generator().manual_seed(3))

    def clipped(kind):
        leaves = {name: value.to(kind).requires_grad_() for name, value in layout.split(values).items()}
        loss = task.loss(model, leaves, numbers[:, 0].to(kind))
        found = layout.join(dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True)))
        state = optimiser.start(found)
        optimiser.update(values.to(kind, copy=True), found, state, 0)  # without memory, the mean is the gradient
        return state["mean"].double(), found.double().norm(dim=1)

    (exact, free), (eager, _) = clipped(torch.float64), clipped(torch.float32)
    state = optimiser.start(values)
    GeneratedSteps(model, task, optimiser, layout, values).run(values.clone(), state, numbers, 0, 1)
    error, known = (state["mean"].double() - exact).norm(dim=1), (eager - exact).norm(dim=1)
    assert (error <= 4 * known + 16 * 2**-23 * exact.norm(dim=1)).all(), (error, known)
    assert ((exact.norm(dim=1) - free.clamp_max(largest)).abs() < 1e-12).all()
    if size >= 1:  # the false twin, a gradient that is not clipped, is far away
        assert (free > 1.5 * largest).all()


@pytest.mark.slow
def test_the_bound_of_a_gradient_is_part_of_what_ran_and_what_is_unknown_beneath_it_is_refused():
    paths = {
        run(range(2), n_steps=2, optimiser=each).path
        for each in (Adam(0.02), *(Clipped(Adam(0.02), c) for c in (1.0, 2.0)))
    }
    assert len(paths) == 3

    class Own(Adam):
        pass

    with pytest.raises(ValueError, match="cannot be had: optimiser Own"):
        run(range(2), optimiser=Clipped(Own(0.02)))


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


@pytest.mark.slow
def test_what_cannot_be_generated_says_why():
    class Odd(Batches):
        def loss(self, model, parameters, numbers):
            return super().loss(model, parameters, numbers) + torch.special.i0(parameters["bias"]).sum(1)

    with pytest.raises(ValueError, match=r"path='generated' cannot be had: .*i0"):
        run(range(2), task=Odd())
    assert "i0" in run(range(2), path="auto", n_steps=1600, task=Odd()).path
    few = run(range(2), path="auto", n_steps=10).path
    assert few == "autograd (10 steps of 2 replicas are less than 3000 updates, too few for making the step to pay)"


class Killed(Exception):
    pass


class Kept(Monitor):
    """Keeps the second checkpoint and stops the run there; gives it back to the next one."""

    def __init__(self):
        self.saved, self.count = None, 0

    def save(self, kept):
        self.count += 1
        if self.count == 2:
            self.saved = kept
            raise Killed

    def restore(self):
        return self.saved


def test_a_killed_run_goes_on_with_the_same_bits():
    whole, monitor = run(range(3), n_steps=100), Kept()
    with use(monitor), pytest.raises(Killed):
        run(range(3), n_steps=100, checkpoint_steps=32)
    assert monitor.saved["step"] == 64
    with use(monitor):
        resumed = run(range(3), n_steps=100, checkpoint_steps=32)
    assert all(torch.equal(value, whole.parameters[name]) for name, value in resumed.parameters.items())
    assert np.array_equal(resumed.loss, whole.loss)


def digest_of_a_run(path="generated"):
    """A hash of the bits of a run; what the processes of the next test print."""
    found = run(range(9), path, n_steps=24)
    return found.path.split()[0] + " " + hashlib.sha256(found.parameters["first"].numpy().tobytes()).hexdigest()


def in_processes(*environments, path="generated"):
    """What that prints in processes of other environments, all started at once."""
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_generated as t; print(t.digest_of_a_run({path!r}))"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | each,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in environments
    ]
    outputs = [process.communicate(timeout=600) for process in started]
    return [out.strip().splitlines()[-1] if out.strip() else error[-2000:] for out, error in outputs]


@pytest.mark.slow
def test_two_builders_at_once_and_a_cache_that_cannot_be_written(tmp_path):
    fresh, full = {"ATTNLAB_CACHE": str(tmp_path / "fresh")}, {"ATTNLAB_CACHE": "/proc/attnlab"}
    here = digest_of_a_run()
    assert in_processes(fresh, fresh) == [here, here]
    (kept,) = in_processes(full, path="auto")
    assert kept.startswith("autograd")


@pytest.mark.slow
def test_without_a_compiler_training_goes_on():
    (found,) = in_processes({"ATTNLAB_CC": ""}, path="auto")
    assert found.startswith("autograd")


@pytest.mark.slow
def test_clang_gives_the_same_bits_on_three_instruction_sets(tmp_path):
    if "clang" not in str(compiler.compiler_report()["version"]):
        pytest.skip("gcc places products and sums in one rounding as it likes")
    flags = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    sets = [
        arch for arch, flag in (("x86-64-v3", "avx2"), ("haswell", "avx2"), ("x86-64-v4", "avx512vl")) if flag in flags
    ]
    if len(sets) < 2:
        pytest.skip("this processor has no two of the instruction sets")
    found = in_processes(*({"ATTNLAB_ARCH": arch, "ATTNLAB_CACHE": str(tmp_path)} for arch in sets))
    assert len(set(found)) == 1 and found[0].startswith("generated"), found


CELLS = (
    ("base_scores/dot_product", "recall_4"), ("positive_features/performer", "match"), ("sparse_selection/delta", "successor"),
    ("base_scores/dot_product", "grid"), ("controls/sigmoid_sum", "count"),
)  # fmt: skip
TRAINED = {name: (simulation, None) for name, simulation in trained_simulations(train).items()}
TRAINED |= {f"cell {operator} {task}": (cell, CellSetting(operator, task)) for operator, task in CELLS}
QUICK = ("max_margin_attention.train", "linear_attention.train")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRAINED]
)
def test_the_gradient_of_a_training_is_as_exact_as_that_of_autograd(name):
    """At the start and after 20 steps: at most 4 times the error of float32 autograd, against float64. A float64 training has no
    more exact one beside it: within 1e-10, far above rounding and far below a wrong formula."""
    training = training_of(*TRAINED[name], n_replicas=3)
    model, task, seeds, dtype = training.model, training.task, training.seeds, training.plan.dtype
    initial = model.initialise(random_streams.generators(seeds, "parameters"), dtype)
    layout = Layout({each: tuple(value.shape[1:]) for each, value in initial.items()})
    values, optimiser = layout.join(initial), Adam(1e-3, betas=(0.0, 0.999))
    made = GeneratedSteps(model, task, optimiser, layout, values)
    held = generated._held(model, task)
    others = {each: tensor for each, (_, _, tensor) in held.items()}
    if task.numbers_per_step:
        numbers = torch.empty(len(seeds), 1, task.numbers_per_step, dtype=dtype)
        for own, stream in zip(numbers, random_streams.generators(seeds, "data"), strict=True):
            task.fill(own, stream)
        others[generated.NUMBERS] = numbers[:, 0]

    def slope(kind):
        def moved(x):
            return x.to(kind) if x.is_floating_point() else x

        leaves = {each: value.to(kind).requires_grad_() for each, value in layout.split(values.clone()).items()}
        given = {each: moved(tensor).clone() for each, tensor in others.items()}
        own = [generated._with(thing, which, held, given) for which, thing in enumerate((model, task))]
        loss = own[1].loss(own[0], leaves, given.get(generated.NUMBERS))
        return layout.join(
            dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))
        ).double()

    for steps in (0, 20):
        state = optimiser.start(values)
        drawn = None if not task.numbers_per_step else numbers.expand(-1, max(steps, 1), -1)
        made.run(values, state, drawn, 0, steps) if steps else None
        exact, eager = slope(torch.float64), slope(dtype)
        state = optimiser.start(values)
        made.run(values.clone(), state, None if drawn is None else numbers, 0, 1)
        size = exact.norm(dim=1)
        error, known = (state["mean"].double() - exact).norm(dim=1), (eager - exact).norm(dim=1)
        least = 1e-10 if dtype == torch.float64 else 16 * torch.finfo(dtype).eps
        assert (error <= 4 * known + least * size).all(), (steps, error / size, known / size)
