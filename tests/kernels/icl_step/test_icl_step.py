"""The fused training step against the same step as tensor operations, and against independent oracles."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.icl_step import (
    Batches,
    Law,
    Optimiser,
    Shape,
    State,
    Stream,
    draw,
    loss_and_gradient,
    reference,
    replica_seeds,
    train,
)

SEEDS = replica_seeds(np.random.SeedSequence(1).spawn(5))


def start(shape, n_replicas, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return State.start(
        {
            name: (rng.uniform(-1, 1, (n_replicas, *size)) / math.sqrt(size[-1])).astype(dtype)
            for name, size in shape.parameter_shapes().items()
        }
    )


def worst(a, b):
    return max(np.abs(a[name] - b[name]).max() for name in a)


@pytest.mark.parametrize("causal", [False, True])
def test_loss_is_the_published_formula_summed_by_hand(causal, needs_c):
    shape = Shape(dim=2, n_context=3, n_heads=2, batch=2, causal=causal)
    state = start(shape, 1, np.float64)
    data = draw(shape, Stream(SEEDS[:1], 0.5), 0, 1)
    wq, wk, wv, wo = (state.params[name][0] for name in ("wq", "wk", "wv", "wo"))
    total, rows = 0.0, range(1, 4) if causal else [3]
    for x, y in zip(data.x[0, 0].astype(float), data.y[0, 0].astype(float), strict=True):
        for i in rows:
            prediction = 0.0
            for h in range(2):
                query = wq[h] @ np.append(x[i], 0.0)
                tokens = [np.append(x[j], y[j]) for j in range(i)]
                weights = np.exp([wk[h] @ z @ query / math.sqrt(3) for z in tokens])
                mean = sum(w * z for w, z in zip(weights, tokens, strict=True)) / weights.sum()
                prediction += wo[h] @ wv[h] @ mean
            total += (prediction - y[i]) ** 2
    for path in ("c", "reference"):
        loss, _ = loss_and_gradient(shape, state, data, path=path)
        assert abs(loss[0] - total / (2 * len(rows))) < 1e-13 * total


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "shape",
    [
        Shape(dim=5, n_context=12, n_heads=4, batch=21),
        Shape(dim=5, n_context=12, n_heads=4, batch=21, causal=True),
        Shape(dim=1, n_context=1, n_heads=1, batch=1, width=3),
        Shape(dim=3, n_context=7, n_heads=2, batch=8, width=2, causal=True),
        Shape(dim=6, n_context=12, n_heads=4, batch=21, n_labels=2),
        Shape(dim=2, n_context=5, n_heads=3, batch=9, n_labels=3, causal=True),
    ],
    ids=["query", "causal", "smallest", "narrow", "two labels", "three labels, causal"],
)
def test_fused_gradient_is_the_gradient(shape, needs_c):
    """float64: the two orders of summation differ by roundings only; 1e-13 allows a few hundred of them."""
    state = start(shape, 2, np.float64)
    data = draw(shape, Stream(SEEDS[:2], 0.3), 4, 1)
    (loss, gradient), (want, expected) = (
        loss_and_gradient(shape, state, data, path=path) for path in ("c", "reference")
    )
    assert np.abs(loss - want).max() < 1e-13
    assert worst(gradient, expected) < 1e-13
    assert max(np.abs(g).max() for g in expected.values()) > 1e-3


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("causal", [False, True])
def test_fused_and_generic_agree_after_1_and_after_100_steps(kind, causal, needs_c):
    """Single-step agreement is rounding; over 100 smooth steps roundings add up like a random walk, not exponentially.

    Adam divides by sqrt(v): a relative error r of a gradient becomes an absolute error of order r * rate, and where the
    gradient is near zero one of up to eps_32 * |batch terms| / |g| * rate; 100 steps of rate 1e-3 bound the sum by
    100 * 1e-3 * 1e-3, the last factor a generous relative error of a single-precision gradient.
    """
    shape = Shape(dim=5, n_context=12, n_heads=4, batch=21, causal=causal)
    state, optimiser = start(shape, 3), Optimiser(np.array([1e-3, 5e-4, 1e-3]), kind=kind)
    data = draw(shape, Stream(SEEDS[:3], np.array([0.0, 0.3, 1.0])), 0, 100)
    for n_steps, bound in ((1, 1e-6), (100, 1e-4)):
        part = Batches(data.x[:, :n_steps], data.y[:, :n_steps])
        (fused, losses), (generic, expected) = (
            train(shape, state, n_steps, data=part, optimiser=optimiser, path=path) for path in ("c", "reference")
        )
        assert worst(fused.params, generic.params) < bound
        assert np.abs(losses - expected).max() < bound
    assert worst(fused.params, state.params) > 10 * bound  # training did something


def test_adam_is_the_adam_of_torch():
    shape = Shape(dim=3, n_context=5, n_heads=2, batch=4)
    state = start(shape, 1, np.float64)
    data = draw(shape, Stream(SEEDS[:1], 0.3), 0, 20, path="reference")
    leaves = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in state.params.items()}
    adam = torch.optim.Adam(list(leaves.values()), lr=1e-2)
    for t in range(20):
        adam.zero_grad()
        reference.loss(shape, leaves, *(torch.from_numpy(a[:, t]).double() for a in (data.x, data.y))).sum().backward()
        adam.step()
    after, _ = train(shape, state, 20, data=data, optimiser=Optimiser(1e-2), path="reference")
    assert worst(after.params, {name: a.detach().numpy() for name, a in leaves.items()}) < 1e-13


def test_stream_and_fed_batches_train_to_the_same_bits(needs_c):
    shape, stream = Shape(dim=5, n_context=10, n_heads=2, batch=19), Stream(SEEDS[:2], 0.3)
    state = start(shape, 2)
    streamed, losses = train(shape, state, 7, data=stream, optimiser=Optimiser(1e-2), path="c")
    fed, same = train(shape, state, 7, data=draw(shape, stream, 0, 7), optimiser=Optimiser(1e-2), path="c")
    assert worst(streamed.params, fed.params) == 0 and np.array_equal(losses, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cutting_a_run_or_choosing_replicas_does_not_change_a_bit(dtype, needs_c):
    shape, stream = Shape(dim=3, n_context=6, n_heads=2, batch=11, causal=True), Stream(SEEDS, 0.3)
    state, optimiser = start(shape, 5, dtype), Optimiser(1e-2)
    whole, losses = train(shape, state, 9, data=stream, optimiser=optimiser, path="c")
    first, early = train(shape, state, 4, data=stream, optimiser=optimiser, path="c")
    second, late = train(shape, first, 5, data=stream, optimiser=optimiser, path="c")
    assert worst(whole.params, second.params) == 0 and np.array_equal(losses, np.concatenate([early, late], 1))
    some = State(
        *({name: a[[1, 3]] for name, a in part.items()} for part in (state.params, state.moment1, state.moment2)),
        0,
        state.diverged_at[[1, 3]],
    )
    chosen, _ = train(shape, some, 9, data=Stream(SEEDS[[1, 3]], 0.3), optimiser=optimiser, path="c")
    assert worst(chosen.params, {name: a[[1, 3]] for name, a in whole.params.items()}) == 0
    torch.set_num_threads(2)
    threaded, _ = train(shape, state, 9, data=stream, optimiser=optimiser, path="c")
    assert worst(threaded.params, whole.params) == 0


def test_compiled_batches_are_the_reference_stream_and_have_its_law(needs_c):
    shape = Shape(dim=4, n_context=9, n_heads=1, batch=300)
    stream = Stream(SEEDS[:2], np.array([0.0, 0.7]))
    got, want = draw(shape, stream, 3, 2, path="c"), draw(shape, stream, 3, 2, path="reference")
    assert np.abs(got.x - want.x).max() < 6e-6 and np.abs(got.y - want.y).max() < 3e-5
    n = got.y[1].size
    # y has variance 1 + sigma^2 but depends on beta within a sequence: 300*2 sequences, |beta|^2 has variance 2/d
    error = math.sqrt(2 * 1.49**2 / n + (2 / 4) / 600)
    assert abs(got.y[1].var() - 1.49) < 5 * error
    clean = got.x[0, 0].astype(float), got.y[0, 0].astype(float)
    beta, residual, *_ = np.linalg.lstsq(clean[0][0], clean[1][0], rcond=None)
    assert residual < 1e-10 and 0.05 < np.linalg.norm(beta) < 4  # labels are linear without noise


SEVERAL = Shape(dim=4, n_context=9, n_heads=1, batch=300, n_labels=2)
LAWS = {
    "correlated": (Shape(4, 9, 1, 300), Law(np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(range(4), range(4)))))),
    "several": (SEVERAL, Law(supports=((0, 1), (2,)), coefficient_std=0.8, noise_scale=(1.0, 2.0), clean_query=True)),
}


@pytest.mark.parametrize(("shape", "law"), LAWS.values(), ids=LAWS)
def test_compiled_batches_of_other_laws_are_the_reference_stream(shape, law, needs_c):
    """A label is a sum of 5 products of numbers up to 5.8, each off by 1e-6 of it: 3e-5 twice over."""
    stream = Stream(SEEDS[:2], np.array([0.0, 0.7]), law)
    got, want = draw(shape, stream, 3, 2, path="c"), draw(shape, stream, 3, 2, path="reference")
    assert np.abs(got.x - want.x).max() < 1e-5 and np.abs(got.y - want.y).max() < 6e-5
    x, y = got.x[1].reshape(-1, 4).astype(float), got.y[1]
    if law.covariance_root is not None:
        error = 5 * math.sqrt(2 / len(x))
        assert np.abs(x.T @ x / len(x) - law.covariance_root @ law.covariance_root.T).max() < error
    else:  # the second label: variance b^2 (1 + noise), query without noise
        n = y[..., 0].size / 10
        assert abs(y[:, :, -1, 1].var() - 0.64) < 5 * 0.64 * math.sqrt(8 / n)  # fourth moment 9 of a product
        ratio = y[:, :, :, 1] / got.x[1][..., 2]
        assert (
            np.abs(np.diff(got.y[0][..., 1] / got.x[0][..., 2], axis=-1)).max()
            < 1e-4
            < np.abs(np.diff(ratio, axis=-1)).max()
        )


def test_stream_and_fed_batches_of_several_labels_train_to_the_same_bits(needs_c):
    stream = Stream(SEEDS[:2], 0.3, LAWS["several"][1])
    state, optimiser = start(SEVERAL, 2), Optimiser(1e-2)
    streamed, losses = train(SEVERAL, state, 7, data=stream, optimiser=optimiser, path="c")
    fed, same = train(SEVERAL, state, 7, data=draw(SEVERAL, stream, 0, 7), optimiser=optimiser, path="c")
    assert worst(streamed.params, fed.params) == 0 and np.array_equal(losses, same)


def test_a_diverging_replica_is_stopped_and_the_others_go_on(needs_c):
    shape, stream = Shape(dim=3, n_context=6, n_heads=2, batch=8), Stream(SEEDS[:3], 0.3)
    state = start(shape, 3)
    rates = np.array([1e-2, 1e6, 1e-2])
    for path in ("c", "reference"):
        after, losses = train(shape, state, 30, data=stream, optimiser=Optimiser(rates, kind="sgd"), path=path)
        assert after.diverged_at[0] == -1 and after.diverged_at[2] == -1 and 0 < after.diverged_at[1] < 30
        assert np.isfinite(losses[[0, 2]]).all() and np.isnan(losses[1, after.diverged_at[1] + 1 :]).all()
        assert all(np.isfinite(a).all() for a in after.params.values())
        alone, _ = train(
            shape,
            State(
                *({name: a[:1] for name, a in part.items()} for part in (state.params, state.moment1, state.moment2)),
                0,
                state.diverged_at[:1],
            ),
            30,
            data=Stream(SEEDS[:1], 0.3),
            optimiser=Optimiser(1e-2, kind="sgd"),
            path=path,
        )
        assert worst(alone.params, {name: a[:1] for name, a in after.params.items()}) == 0


def test_training_reaches_the_risk_of_in_context_gradient_descent(needs_c):
    """Two heads, d = 2, no noise: the loss falls from the null risk 1 towards 1 - (L-1)/(L + d) = 0.136 (debiased GD)."""
    shape = Shape(dim=2, n_context=20, n_heads=2, batch=64)
    _, losses = train(shape, start(shape, 2, seed=3), 4000, data=Stream(SEEDS[:2]), optimiser=Optimiser(5e-3))
    assert losses[:, :50].mean() > 0.8
    assert losses[:, -500:].mean() < 0.5  # the one-head plateau is 1 - 1/(1 + e d/L) = 0.21


def draw_checked(shape, law):
    return train(shape, start(shape, 2), 1, data=Stream(SEEDS[:2], 0.1, law), optimiser=Optimiser(1.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda s: Shape(dim=0, n_context=1, n_heads=1, batch=1), "dim=0"),
        (lambda s: Optimiser(float("nan")), "learning_rate"),
        (lambda s: Optimiser(1.0, kind="adamw"), "'adam' or 'sgd'"),
        (lambda s: train(s, start(s, 2), 1, data=Stream(SEEDS[:3]), optimiser=Optimiser(1.0)), "seeds must be 2"),
        (lambda s: train(s, start(s, 2), 1, data=Stream(SEEDS[:2], -1.0), optimiser=Optimiser(1.0)), "noise_std"),
        (lambda s: train(s, start(s, 2), 0, data=Stream(SEEDS[:2]), optimiser=Optimiser(1.0)), "n_steps=0"),
        (lambda s: draw_checked(s, Law(np.ones((2, 2)))), "lower triangular, 2 by 2"),
        (lambda s: draw_checked(s, Law(supports=((0, 2),))), "supports=((0, 2),)"),
        (lambda s: draw_checked(s, Law(supports=((0,), (1,)))), "each of 1 labels"),
        (lambda s: draw_checked(s, Law(coefficient_std=-1.0)), "coefficient_std=-1.0"),
        (lambda s: draw_checked(s, Law(noise_scale=(1.0, 1.0))), "1 numbers, one per label"),
        (
            lambda s: train(
                Shape(2, 3, 2, 5, causal=True),
                start(s, 2),
                1,
                data=Stream(SEEDS[:2], 0.0, Law(clean_query=True)),
                optimiser=Optimiser(1.0),
            ),
            "needs a single query",
        ),
        (
            lambda s: train(s, start(s, 2), 2, data=draw(s, Stream(SEEDS[:2]), 0, 1), optimiser=Optimiser(1.0)),
            "expected (2, 2",
        ),
        (
            lambda s: train(Shape(4, 3, 2, 5), start(s, 2), 1, data=Stream(SEEDS[:2]), optimiser=Optimiser(1.0)),
            "wq has shape",
        ),
        (
            lambda s: train(s, start(s, 2), 1, data=Stream(SEEDS[:2]), optimiser=Optimiser(np.ones(3))),
            "expected a number or (2,)",
        ),
        (
            lambda s: train(s, start(s, 2), 1, data=Stream(SEEDS[:2]), optimiser=Optimiser(1.0), path="gpu"),
            "use one of",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError) as error:
        build(Shape(dim=2, n_context=3, n_heads=2, batch=5))
    assert message in str(error.value)


@pytest.mark.parametrize("path", ["c", "reference"])
def test_a_start_shared_by_broadcasting_or_reversed_is_read_as_it_is(path, needs_c):
    shape, stream = Shape(dim=3, n_context=5, n_heads=2, batch=4), Stream(SEEDS[:3])
    one = {name: x[:1] for name, x in start(shape, 1).params.items()}
    odd = {
        "broadcast": {name: np.broadcast_to(x, (3, *x.shape[1:])) for name, x in one.items()},
        "reversed": {name: np.repeat(x[:, ::-1].copy(), 3, 0)[:, ::-1] for name, x in one.items()},
        "other order": {name: np.asfortranarray(np.repeat(x, 3, 0)) for name, x in one.items()},
    }
    plain = State.start({name: np.repeat(x, 3, 0) for name, x in one.items()})
    right = train(shape, plain, 3, data=stream, optimiser=Optimiser(0.01), path=path)
    slope = loss_and_gradient(shape, plain, stream, path=path)
    for params in odd.values():
        state, losses = train(shape, State.start(params), 3, data=stream, optimiser=Optimiser(0.01), path=path)
        assert np.array_equal(losses, right[1])
        assert all(np.array_equal(state.params[name], right[0].params[name]) for name in one)
        value, gradient = loss_and_gradient(shape, State.start(params), stream, path=path)
        assert np.array_equal(value, slope[0]) and all(np.array_equal(gradient[n], slope[1][n]) for n in one)


@pytest.mark.parametrize("path", ["auto", "reference"])
def test_arguments_that_do_not_fit_are_named(path):
    shape = Shape(dim=2, n_context=3, n_heads=1, batch=2)
    params = {name: np.ones((3, *size)) for name, size in shape.parameter_shapes().items()}
    x, y = np.ones((3, 1, 2, 4, 2)), np.ones((3, 1, 2, 4))
    stream = Stream(np.arange(3, dtype=np.uint64))

    def run(params=params, data=None, n_steps=1):
        data = Batches(x, y) if data is None else data
        return train(shape, State.start(params), n_steps, data=data, optimiser=Optimiser(0.1), path=path)

    run()
    for error, message, call in (
        (TypeError, "x must be a numpy array of real numbers", lambda: run(data=Batches(x + 0j, y))),
        (TypeError, "y must be a numpy array of real numbers", lambda: run(data=Batches(x, y.tolist()))),
        (TypeError, "native byte order", lambda: run(data=Batches(x.astype(x.dtype.newbyteorder()), y))),
        (ValueError, "noise_std has shape", lambda: run(data=Stream(stream.seeds, noise_std=np.ones(2)))),
        (ValueError, "at least one replica", lambda: run({name: a[:0] for name, a in params.items()})),
        (ValueError, "n_steps=1.5", lambda: run(n_steps=1.5)),
        (ValueError, "path='x'", lambda: loss_and_gradient(shape, State.start(params), Batches(x, y), path="x")),
        (ValueError, "path='x'", lambda: draw(shape, stream, 0, 1, path="x")),
        (ValueError, "first_step=-1", lambda: draw(shape, stream, -1, 1, path=path)),
    ):
        with pytest.raises(error, match=message):
            call()
