"""The trainer: ensembles, chunks, interruptions, divergence, population losses."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.monitor import Monitor, use
from attnlab.simulators.ensemble.optimisers import Adam, Clipped, GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.trainer import SEGMENT, autograd_step, train
from attnlab.simulators.in_context_regression.model import AttentionRegressor
from attnlab.simulators.tasks.regression import RegressionTask

MODEL = AttentionRegressor(dim=2, n_heads=2)
TASK = RegressionTask(dim=2, n_context=4, batch=3, noise_std=0.3)
EPS64 = np.finfo(np.float64).eps
N_STEPS = 50
# Float64, sums in another order: each step has relative errors below 1e-14 in losses and gradients (about 50 roundings);
# in 50 Adam steps of size 1e-2, whose map doubles a perturbation at most every 5 steps, they stay below 1e-14 * 2^10 * 10.
ROUNDING = 1e-10


def run(seeds, record=(), task=TASK, optimiser=None, **plan):
    plan = Plan(**{"n_steps": N_STEPS, "dtype": torch.float64, "loss_steps": tuple(range(N_STEPS + 1))} | plan)
    return train(MODEL, task, optimiser or Adam(1e-2), seeds, plan, record)


def flat(result):
    return torch.cat([value.flatten(1) for value in result.parameters.values()], dim=1).numpy()


class Quadratic:
    """The population loss sum_i c_i z_i^2 / 2, with exact gradient descent path (1 - h c_i)^t z_i."""

    numbers_per_step = 0
    curvature = torch.tensor([1.0, 0.5], dtype=torch.float64)

    def initialise(self, streams, dtype):
        return {"z": torch.ones(len(streams), 2, dtype=dtype), "shift": torch.zeros(len(streams), dtype=dtype)}

    def loss(self, model, parameters, numbers):
        assert numbers is None
        return (self.curvature * parameters["z"] ** 2 / 2).sum(-1) + parameters["shift"] ** 2

    def largest_array(self, model):
        return 2


def test_population_loss_follows_its_exact_path_at_the_recorded_steps():
    quadratic, steps = Quadratic(), (0, 1, 7, 40)
    plan = Plan(40, loss_steps=tuple(range(41)), dtype=torch.float64)
    result = train(
        quadratic,
        quadratic,
        GradientDescent(0.1),
        [np.random.SeedSequence(0)] * 2,
        plan,
        [Record(lambda model, parameters: {"z": parameters["z"].clone()}, steps)],
    )
    path = (1 - 0.1 * np.array([1.0, 0.5])) ** np.arange(41)[:, None]
    assert np.abs(result.records["z"] - path[list(steps)]).max() < 40 * 4 * EPS64  # 4 roundings per step, size 1
    losses = (np.array([1.0, 0.5]) * path**2 / 2).sum(1)
    assert np.abs(result.loss[:, 1:] - losses[:-1]).max() < 40 * 8 * EPS64  # loss at the start of each update
    assert np.abs(result.loss[:, 1:] - losses[1:]).max() > 0.01  # not at its end
    assert np.allclose(result.loss[:, 0], losses[0], rtol=4 * EPS64)


def test_loss_is_averaged_over_the_updates_between_records(seeds):
    fine, coarse = run(seeds(2)), run(seeds(2), loss_steps=(0, 10, 37, N_STEPS))
    for column, (low, high) in enumerate([(0, 10), (10, 37), (37, N_STEPS)], start=1):
        expected = fine.loss[:, low + 1 : high + 1].mean(1)
        assert np.allclose(coarse.loss[:, column], expected, rtol=50 * EPS64)
    assert np.array_equal(coarse.loss[:, 0], fine.loss[:, 0])


def test_an_ensemble_equals_separate_runs(seeds):
    together = run(seeds(5))
    for row, seed in enumerate(seeds(5)):
        alone = run([seed])
        assert alone.loss[0, 0] == pytest.approx(together.loss[row, 0], rel=100 * EPS64)
        assert np.abs(flat(alone)[0] - flat(together)[row]).max() < ROUNDING
        assert np.abs(flat(alone)[0] - flat(together)[row - 1]).max() > 1e6 * ROUNDING


def test_every_replica_sees_the_same_bits_whatever_is_beside_it(seeds):
    seen = []

    class Seen(RegressionTask):
        def loss(self, model, parameters, numbers):
            seen[-1].append(numbers.clone())
            return super().loss(model, parameters, numbers)

    for chosen, chunk in [(seeds(4), 0), (seeds(4)[3:], 0), (seeds(4), 1)]:
        seen.append([])
        run(chosen, task=Seen(**TASK.__dict__), chunk=chunk)
    together, alone, chunked = seen
    assert all(torch.equal(a[3], b[0]) for a, b in zip(together, alone, strict=True))
    assert len(chunked) == 4 * N_STEPS  # chunks of one replica take turns
    assert {step[0].numpy().tobytes() for step in chunked} == {
        row.numpy().tobytes() for step in together for row in step
    }


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunk_size_changes_results_within_rounding_only(seeds, chunk):
    whole, parts = run(seeds(5), chunk=5), run(seeds(5), chunk=chunk)
    assert np.abs(flat(whole) - flat(parts)).max() < ROUNDING
    assert np.abs(whole.loss - parts.loss).max() < ROUNDING


def test_same_seeds_give_same_bits(seeds):
    first, again = (
        run(seeds(3), [Record(AttentionRegressor.observe, (0, 3, N_STEPS))], dtype=torch.float32) for _ in range(2)
    )
    assert np.array_equal(flat(first), flat(again)) and np.array_equal(first.loss, again.loss)
    for name, array in first.records.items():
        assert np.array_equal(array, again.records[name], equal_nan=True)  # NaN: a sign group without heads


class Killed(RuntimeError):
    pass


class Kept(Monitor):
    """Keeps checkpoints as a file would, and is killed while it keeps a chosen one."""

    def __init__(self, kill_at):
        self.kept, self.saves, self.kill_at, self.shown = None, 0, kill_at, []

    def restore(self):
        return self.kept

    def save(self, arrays):
        self.saves += 1
        if self.saves == self.kill_at:
            raise Killed
        self.kept = {name: np.array(array, copy=True) for name, array in arrays.items()}

    def progress(self, step, n_steps, loss=None):
        self.shown.append((step, n_steps, loss))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kill_at", np.random.default_rng(5).integers(1, 9, size=3).tolist())
@pytest.mark.parametrize("optimiser", [Adam([1e-2, 2e-2, 3e-2]), GradientDescent(1e-2, momentum=0.9)])
def test_a_killed_run_goes_on_with_the_same_bits(seeds, kill_at, optimiser):
    record = [Record(AttentionRegressor.observe, (0, 5, 100, 290, 300)), Record(AttentionRegressor.matrices, (1, 299))]
    options = {"n_steps": 300, "loss_steps": (0, 10, 150, 300), "dtype": torch.float32, "checkpoint_steps": SEGMENT}
    whole = run(seeds(3), record, optimiser=optimiser, **options)
    monitor = Kept(kill_at)
    with use(monitor):
        with pytest.raises(Killed):
            run(seeds(3), record, optimiser=optimiser, **options)
        resumed = run(seeds(3), record, optimiser=optimiser, **options)
    assert np.array_equal(flat(whole), flat(resumed))
    assert np.array_equal(whole.loss, resumed.loss, equal_nan=True)
    for name, array in whole.records.items():
        assert np.array_equal(array, resumed.records[name], equal_nan=True)
    # 9 saves in the whole run (300 steps, a multiple of 32 below 300): the resumed run made only those that were missing
    assert monitor.saves == 9 + 1
    assert monitor.shown[-1][:2] == (300, 300) and np.isfinite(monitor.shown[-1][2])


def test_a_resumed_run_without_its_random_streams_would_differ(seeds):
    options = {"n_steps": 100, "loss_steps": (100,), "checkpoint_steps": SEGMENT}
    monitor = Kept(3)
    with use(monitor), pytest.raises(Killed):
        run(seeds(1), **options)
    fresh = Kept(100)
    with use(fresh):
        run(seeds(1), n_steps=33, loss_steps=(33,), checkpoint_steps=SEGMENT)
    monitor.kept["streams"] = fresh.kept["streams"]  # the streams of an earlier step
    with use(monitor):
        assert not np.array_equal(flat(run(seeds(1), **options)), flat(run(seeds(1), **options | {"label": "x"})))


def test_a_checkpoint_of_another_training_is_left_alone_and_one_of_another_size_refused(seeds):
    monitor = Kept(100)
    options = {"n_steps": 64, "loss_steps": (64,), "checkpoint_steps": SEGMENT}
    with use(monitor):
        run(seeds(2), **options)
        assert monitor.kept["step"] == 32
        other = run(seeds(2), **options | {"label": "second"})
        assert np.array_equal(flat(other), flat(run(seeds(2), **options | {"label": "third"})))
        with pytest.raises(ValueError, match="another run"):
            run(seeds(3), **options | {"label": "third"})


def test_a_diverging_replica_is_recorded_and_the_others_go_on(seeds):
    record = [Record(AttentionRegressor.observe, tuple(range(0, N_STEPS + 1, 10)))]
    rates = [1e-2, 1e6, 1e-2]
    result = run(seeds(3), record, optimiser=GradientDescent(rates))
    calm = run(seeds(3), record, optimiser=GradientDescent(1e-2))
    assert result.diverged_at[[0, 2]].tolist() == [-1, -1] and 1 <= result.diverged_at[1] < N_STEPS
    assert np.isnan(flat(result)[1]).all()
    step = int(result.diverged_at[1])
    assert np.isfinite(result.loss[1, : step + 1]).all() and np.isnan(result.loss[1, step + 1 :]).all()
    assert np.isnan(result.records["omega"][1, -1]).all() and np.isfinite(result.records["omega"][1, 0]).all()
    for row in (0, 2):
        assert np.abs(flat(result)[row] - flat(calm)[row]).max() < ROUNDING
        assert np.isfinite(result.loss[row]).all()


def test_a_run_of_diverged_replicas_ends_and_is_recorded(seeds):
    result = run(seeds(2), optimiser=Adam(1e6), dtype=torch.float32)
    assert (result.diverged_at == 1).all() and np.isnan(flat(result)).all()  # parameters of size 1e6 at step 1
    kept = run(seeds(2), optimiser=Adam(1e6), dtype=torch.float32, diverged_above=float("inf"))
    assert (kept.diverged_at == -1).all() and (kept.loss[:, -1] > 1e8).all()  # finite, but lost


def test_noise_and_learning_rate_per_replica_act_on_their_replica_only(seeds):
    task = RegressionTask(2, 4, 3, noise_std=np.array([0.0, 0.3, 1.0]))
    together = run(seeds(3), task=task, optimiser=Adam([1e-2, 2e-2, 3e-2]), chunk=2)
    for row, (noise, rate) in enumerate([(0.0, 1e-2), (0.3, 2e-2), (1.0, 3e-2)]):
        alone = run(seeds(3)[row : row + 1], task=RegressionTask(2, 4, 3, noise), optimiser=Adam(rate))
        assert np.abs(flat(alone)[0] - flat(together)[row]).max() < ROUNDING


def test_gradient_equals_finite_differences(seeds):
    values = torch.cat([value.flatten(1) for value in run(seeds(1)).parameters.values()], dim=1)
    layout = Layout({name: value.shape[1:] for name, value in run(seeds(1)).parameters.items()})
    numbers = torch.randn(1, TASK.numbers_per_step, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    after = values.clone()
    autograd_step(MODEL, TASK, GradientDescent(1.0), layout)(after, {}, numbers.clone(), 0)
    gradient, h = (values - after)[0], 1e-5
    for index in range(values.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = values.clone()
            moved[0, index] += sign * h
            ends.append(TASK.loss(MODEL, layout.split(moved), numbers.clone()).item())
        # central difference: third derivatives below 100 times h^2 / 6, rounding 10 EPS64 over 2 h
        assert abs((ends[0] - ends[1]) / (2 * h) - gradient[index]) < 100 * h**2 / 6 + 10 * EPS64 / (2 * h)


def test_global_random_state_and_gradient_mode_are_untouched(seeds):
    before = torch.get_rng_state()
    with torch.no_grad():
        run(seeds(1))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_log_spaced_steps_start_at_zero_and_one_and_end_at_the_last():
    steps = log_spaced_steps(20_000, 100)
    assert steps[:3] == (0, 1, 2) and steps[-1] == 20_000 and list(steps) == sorted(set(steps))
    assert log_spaced_steps(1, 5) == (0, 1) and log_spaced_steps(7, 1) == (0, 7)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_steps": 0}, "n_steps=0"),
        ({"loss_steps": (0, 99)}, "loss_steps"),
        ({"loss_steps": (3, 3)}, "loss_steps"),
        ({"chunk": -1}, "chunk=-1"),
    ],
)
def test_plans_that_contradict_themselves_are_named(seeds, options, name):
    with pytest.raises(ValueError, match=name):
        run(seeds(1), **options)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize(
    ("given", "rates", "text"),
    [
        (lambda seeds: 16, 0.1, r"seeds=16 is no sequence of numpy SeedSequences.*spawn\(16\)"),
        (lambda seeds: [], 0.1, r"seeds=\[\] is no sequence"),
        (
            lambda seeds: seeds(4),
            np.geomspace(0.1, 1.0, 3),
            "3 rates for 4 replicas; give one rate, or one per replica",
        ),
    ],
)
def test_what_holds_no_seeds_and_rates_of_another_number_are_named(seeds, given, rates, text, clipped):
    optimiser = Clipped(Adam(rates)) if clipped else Adam(rates)
    with pytest.raises(ValueError, match=text):
        train(Quadratic(), Quadratic(), optimiser, given(seeds), Plan(3, dtype=torch.float64))


@pytest.mark.parametrize("name", ["initialise", "loss", "fill", "largest_array", "numbers_per_step"])
def test_a_part_that_the_trainer_needs_is_asked_for_by_its_name(seeds, name):
    def part(self, *_):
        raise AssertionError("nothing is called before the parts are there")

    whole = {"initialise": part, "loss": part, "fill": part, "largest_array": part, "numbers_per_step": 3}
    lacking = type("Lacking", (), {key: value for key, value in whole.items() if key != name})()
    with pytest.raises(ValueError, match=f"Lacking has no {name}; give it {name}"):
        train(lacking, lacking, GradientDescent(0.1), seeds(1), Plan(3))


def test_sizes_that_do_not_fit_are_shown_with_what_the_loss_was_given(seeds):
    class TooWide(Quadratic):
        curvature = torch.ones(3, dtype=torch.float64)

    pattern = (
        r"TooWide.loss with TooWide does not fit .*: parameters z \(2, 2\), shift \(2,\); numbers none; .*torch said"
    )
    with pytest.raises(ValueError, match=pattern):
        train(TooWide(), TooWide(), GradientDescent(0.1), seeds(2), Plan(3, dtype=torch.float64))
