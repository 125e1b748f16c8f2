"""The fused induction step against the same step as tensor operations, against sums by hand, and its sequences against their law."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.kernels.induction_step import (
    Batches,
    Law,
    Optimiser,
    Shape,
    State,
    Stream,
    draw,
    fused,
    loss_and_gradient,
    reference,
    replica_seeds,
    train,
)

SEEDS = replica_seeds(np.random.SeedSequence(1).spawn(5))
SMALL = Shape(dim=6, n_context=4, n_positions=11, n_labels=8, batch=13)


def stream(shape, law, n_replicas=2, n_classes=None):
    rng, D = np.random.default_rng(7), shape.dim
    vectors = [
        rng.normal(0, D**-0.5, (5, n, D)).astype(np.float32) for n in (n_classes or 2 * shape.n_labels, shape.n_labels)
    ]
    return Stream(SEEDS[:n_replicas], *(v[:n_replicas] for v in vectors), law)


def begin(shape, n_replicas=2, dtype=np.float32):
    """A state at the published initial variances."""
    rng, n = np.random.default_rng(3), shape.n_embd
    variance = {"W": 2 / n, "b": 1 / n, "R": 1 / n}
    return State.start(
        {
            name: rng.normal(0, variance.get(name[0], 1 / shape.dim) ** 0.5, (n_replicas, *size)).astype(dtype)
            for name, size in shape.parameter_shapes().items()
        }
    )


def worst(a, b):
    return max(np.abs(a[name] - b[name]).max() for name in a)


def rows(state, which):
    return State({name: a[which] for name, a in state.params.items()}, state.step, state.diverged_at[which])


def law_of(**knobs):
    return Law(**{"n_novel": 8, **knobs})


def test_loss_is_the_published_formula_summed_by_hand(needs_c):
    shape = Shape(dim=3, n_context=2, n_positions=7, n_labels=4, batch=3)
    state, given = begin(shape, 1, np.float64), stream(shape, law_of(), 1)
    batch, _ = draw(shape, given, 0, 1)
    p, total = {name: a[0] for name, a in state.params.items()}, 0.0
    for s in range(3):
        contents = []
        for i in range(2):
            contents += [batch.items[0, 0, s, i], batch.labels[0, batch.label[0, 0, s, i]]]
        contents.append(batch.items[0, 0, s, 2])
        u = [np.concatenate([np.eye(7)[batch.start[0, 0, s] + i], c.astype(float)]) for i, c in enumerate(contents)]
        v = []
        for i in range(5):
            weight = np.exp([(p["K1"] @ u[j]) @ (p["Q1"] @ u[i]) for j in range(i + 1)])
            v.append(u[i] + p["V1"] @ sum(w * x for w, x in zip(weight, u, strict=False)) / weight.sum())
        weight = np.exp([(p["K2"] @ v[j]) @ (p["Q2"] @ v[4]) for j in range(5)])
        h = v[4] + p["V2"] @ sum(w * x for w, x in zip(weight, v, strict=True)) / weight.sum()
        for k in range(3):
            h = np.maximum(p[f"W{k + 1}"] @ h + p["b"][k], 0)
        total -= math.log(np.exp((p["R"] @ h)[batch.target[0, 0, s]]) / np.exp(p["R"] @ h).sum())
    for path in ("c", "reference"):
        assert abs(loss_and_gradient(shape, state, batch, path=path)[0][0] - total / 3) < 1e-13 * total


@pytest.mark.parametrize(
    "shape",
    [
        Shape(63, 8, 65, 32, 24),
        Shape(31, 4, 33, 16, 17),
        Shape(1, 1, 3, 1, 1),
        Shape(20, 11, 23, 40, 9),
        Shape(17, 3, 40, 5, 16),
    ],
    ids=["published", "small", "smallest", "many pairs", "odd sizes"],
)
def test_fused_gradient_is_the_gradient(shape, needs_c):
    """float64: the paths differ by the order of sums only; 1e-13 of the largest entry is 450 roundings, and the longest
    chain has 30 products, sums of at most 264 terms that cancel at random."""
    state, law = begin(shape, 2, np.float64), Law(n_novel=2 * shape.n_labels, p_novel=0.5, p_bursty=0.5)
    data, _ = draw(shape, stream(shape, law), 4, 1)
    (loss, gradient), (want, expected) = (
        loss_and_gradient(shape, state, data, path=path) for path in ("c", "reference")
    )
    assert np.abs(loss - want).max() < 1e-13 * max(1, want.max())
    for name, g in expected.items():
        assert np.abs(gradient[name] - g).max() <= 1e-13 * np.abs(g).max()
        assert shape.n_labels == 1 or name == "b" or np.abs(g).max() > 1e-4  # one label: nothing to learn


@pytest.mark.sampled(4)
@pytest.mark.parametrize("shape", [Shape(63, 8, 65, 32, 32), SMALL], ids=["published", "small"])
def test_fused_and_generic_agree_after_1_and_after_100_steps_in_float32(shape, needs_c):
    """One step rounds a parameter once on each path, 2^-24 |p|, and moves it by rate g. A gradient is a chain of at most 30
    products of sums of n terms, whose roundings cancel at random: 30 sqrt(n) 2^-24 of its size on each path. Over 100
    steps roundings add like a random walk, 10 times as much, and 100 steps of rate 0.01 along a loss of curvature below
    2.3 stretch them at most by exp(2.3) = 10.
    """
    state, optimiser = begin(shape), Optimiser(np.array([0.01, 0.005]), decay=1e-4)
    data, _ = draw(shape, stream(shape, law_of(n_novel=shape.n_labels, p_novel=0.8)), 0, 100)
    size = max(np.abs(a).max() for a in state.params.values())
    slope = max(np.abs(g).max() for g in loss_and_gradient(shape, state, data.at(0), path="reference")[1].values())
    one = 2 * 2**-24 * (size + 0.01 * slope * 30 * shape.n_embd**0.5)
    for n_steps, bound in ((1, one), (100, 100 * one)):
        part = Batches(
            *(getattr(data, name)[:, :n_steps] for name in ("items", "label", "target", "start")), data.labels
        )
        (mine, losses), (generic, expected) = (
            train(shape, state, n_steps, data=part, optimiser=optimiser, path=path) for path in ("c", "reference")
        )
        assert worst(mine.params, generic.params) < bound
        assert np.abs(losses - expected).max() < 30 * shape.n_embd**0.5 * 2**-23 * expected.max() + bound * slope * 100
        for rival in (
            replace(optimiser, learning_rate=optimiser.learning_rate * 1.01),
            replace(optimiser, decay=0.0),
        ):  # twins
            other, _ = train(shape, state, n_steps, data=part, optimiser=rival, path="c")
            assert worst(other.params, generic.params) > 2 * bound


def test_the_update_is_that_of_torch_with_decay_apart_from_the_rate():
    state, given = begin(SMALL, 1, np.float64), stream(SMALL, law_of(), 1)
    data, _ = draw(SMALL, given, 0, 20, path="reference")
    leaves = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in state.params.items()}
    sgd = torch.optim.SGD(list(leaves.values()), lr=0.1, weight_decay=1e-2)  # the library multiplies it by the rate
    for t in range(20):
        sgd.zero_grad()
        reference.loss(SMALL, leaves, data.at(t)).sum().backward()
        sgd.step()
    after, _ = train(SMALL, state, 20, data=data, optimiser=Optimiser(0.1, decay=1e-3), path="reference")
    assert worst(after.params, {name: a.detach().numpy() for name, a in leaves.items()}) < 1e-13


def test_stream_and_fed_batches_train_to_the_same_bits(needs_c):
    given, state, optimiser = stream(SMALL, law_of(p_novel=0.5)), begin(SMALL), Optimiser(0.05, 1e-5)
    streamed, losses = train(SMALL, state, 7, data=given, optimiser=optimiser, path="c")
    fed, same = train(SMALL, state, 7, data=draw(SMALL, given, 0, 7)[0], optimiser=optimiser, path="c")
    assert worst(streamed.params, fed.params) == 0 and np.array_equal(losses, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cutting_a_run_or_choosing_replicas_does_not_change_a_bit(dtype, needs_c):
    given, state, optimiser = stream(SMALL, law_of(p_novel=0.5), 5), begin(SMALL, 5, dtype), Optimiser(0.05)
    whole, losses = train(SMALL, state, 9, data=given, optimiser=optimiser, path="c")
    first, early = train(SMALL, state, 4, data=given, optimiser=optimiser, path="c")
    second, late = train(SMALL, first, 5, data=given, optimiser=optimiser, path="c")
    assert worst(whole.params, second.params) == 0 and np.array_equal(losses, np.concatenate([early, late], 1))
    some = Stream(given.seeds[[1, 3]], given.classes[[1, 3]], given.labels[[1, 3]], given.law)
    chosen, _ = train(SMALL, rows(state, [1, 3]), 9, data=some, optimiser=optimiser, path="c")
    assert worst(chosen.params, rows(whole, [1, 3]).params) == 0
    torch.set_num_threads(2)
    threaded, _ = train(SMALL, state, 9, data=given, optimiser=optimiser, path="c")
    assert worst(threaded.params, whole.params) == 0


def test_a_diverging_replica_is_stopped_and_the_others_go_on(needs_c):
    """Alone, a replica has the same bits in C. Torch's batched products promise no such thing: there, each of 30 updates may
    differ by the step times 1e-13 of the largest gradient (see above) and by a rounding of the largest parameter; that these
    differences grow by no more than a factor of two in 30 small steps is the only assumption."""
    given, state = stream(SMALL, law_of(), 3), begin(SMALL, 3, np.float64)
    batch = draw(SMALL, given, 0, 1)[0]
    steepest = max(np.abs(g).max() for g in loss_and_gradient(SMALL, state, batch, path="reference")[1].values())
    largest = max(np.abs(p).max() for p in state.params.values())
    allowed = {"c": 0.0, "reference": 2 * 30 * (0.01 * 1e-13 * steepest + np.finfo(np.float64).eps * largest)}
    for path in ("c", "reference"):
        after, losses = train(SMALL, state, 30, data=given, optimiser=Optimiser(np.array([0.01, 1e6, 0.01])), path=path)
        assert after.diverged_at[0] == -1 and after.diverged_at[2] == -1 and 0 < after.diverged_at[1] < 30
        assert np.isfinite(losses[[0, 2]]).all() and np.isnan(losses[1, after.diverged_at[1] + 1 :]).all()
        assert all(np.isfinite(a).all() for a in after.params.values())
        alone = Stream(given.seeds[2:], given.classes[2:], given.labels[2:], given.law)
        same, _ = train(SMALL, rows(state, [2]), 30, data=alone, optimiser=Optimiser(0.01), path=path)
        assert worst(same.params, rows(after, [2]).params) <= allowed[path]
        assert worst(same.params, rows(after, [0]).params) > 1e-3  # another replica's run is far away


def test_training_learns_classes_in_weights(needs_c):
    """8 classes of 8 labels, independent items: the loss falls from ln 8 = 2.08 towards 0."""
    shape = Shape(16, 2, 6, 8, 32)
    _, losses = train(
        shape, begin(shape), 1500, data=stream(shape, law_of(p_bursty=0.0), n_classes=8), optimiser=Optimiser(0.1)
    )
    assert losses[:, 0].min() > 1.5 and losses[:, -100:].mean() < 0.1


# ---- the sequences ----

KNOBS = {
    "bursty": {},
    "pairs": {"burstiness": 2},
    "fourfold": {"burstiness": 4},
    "independent": {"p_bursty": 0.0, "rank_exponent": 1.5},
    "mixed": {"p_novel": 0.3, "p_bursty": 0.5, "rank_exponent": 1.0},
    "novel": {"p_novel": 1.0, "n_novel": 24},
    "repeats": {"distinct_labels": False, "rank_exponent": 1.0, "p_novel": 0.2},
    "exact": {"within_class_noise": 0.0},
    "noisy": {"within_class_noise": 3.0, "p_novel": 0.5},
    "shifted": {"label_shift": 3},
}


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_compiled_sequences_are_the_reference_stream(knobs, needs_c):
    """Choices to the bit. Normals are at most 5.8 and differ by 1e-6 of it; items are sums of two over sqrt(dim)."""
    given = stream(SMALL, law_of(**knobs))
    for first in (0, 2**32 - 1):
        (got, classes), (want, expected) = (draw(SMALL, given, first, 2, path=path) for path in ("c", "reference"))
        assert np.array_equal(classes, expected)
        assert all(np.array_equal(getattr(got, name), getattr(want, name)) for name in ("label", "target", "start"))
        assert np.abs(got.items - want.items).max() < 2 * 5.8 * 1e-6 / SMALL.dim**0.5
    assert not np.array_equal(classes[0], classes[1]) and not np.array_equal(classes[:, 0], classes[:, 1])


SEQUENCES = 40_000


def sample(shape=SMALL, n_classes=16, **knobs):
    shape = replace(shape, batch=SEQUENCES)
    batches, classes = draw(shape, stream(shape, law_of(**knobs), 1, n_classes), 5, 1)
    return batches, classes[0, 0]


def near(found, expected, n):
    """Shares of n draws within 5 standard errors."""
    expected = np.asarray(expected)
    return (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / n) + 1e-12).all()


def shares(index, count):
    return np.bincount(index.ravel(), minlength=count) / index.size


@pytest.mark.parametrize("burstiness", [1, 2, 4])
def test_bursty_sequences_repeat_classes_of_distinct_labels_in_random_order(burstiness, needs_c):
    batches, classes = sample(burstiness=burstiness)
    same = classes[:, :-1, None] == classes[:, None, :-1]
    assert (same.sum(-1) == burstiness).all() and ((classes[:, :-1] == classes[:, -1:]).sum(1) == burstiness).all()
    labels = batches.label[0, 0]
    assert np.array_equal(labels[:, :, None] == labels[:, None], same)  # labels differ where classes do
    assert np.array_equal(labels, classes[:, :-1] % 8) and np.array_equal(batches.target[0, 0], classes[:, -1] % 8)
    for place in (0, 3, 4):
        assert near(shares(classes[:, place], 16), 1 / 16, SEQUENCES)
    second, alike = classes[classes[:, 0] == 5, 1], (burstiness - 1) / 3
    assert near(shares(second, 16)[[3, 5, 13]], [(1 - alike) / 14, alike, 0.0], len(second))  # 13 has the label of 5
    assert near((classes[:, :-1] == classes[:, -1:]).mean(0), burstiness / 4, SEQUENCES)  # the target's place


def test_the_shares_of_the_kinds_of_sequences_and_the_window_are_as_given(needs_c):
    batches, classes = sample(p_novel=0.3, p_bursty=0.6, burstiness=4, n_novel=24)
    novel = (classes >= 16).all(1)
    assert np.array_equal(novel, (classes >= 16).any(1)) and near(novel.mean(), 0.3, SEQUENCES)
    bursty = (classes[:, :1] == classes).all(1)
    alike = 0.6 + 0.4 * 16.0**-4  # five independent draws may agree, too
    assert bursty[novel].all() and near(bursty[~novel].mean(), alike, (~novel).sum())
    assert near(shares(classes[novel, 0] - 16, 24), 1 / 24, novel.sum())
    assert near(shares(batches.start, 3), 1 / 3, SEQUENCES) and near(
        shares(batches.start[0, 0][novel], 3), 1 / 3, novel.sum()
    )


def test_independent_and_repeated_classes_follow_the_rank_frequency_law(needs_c):
    law = np.arange(1, 17) ** -1.2
    law /= law.sum()
    _, classes = sample(p_bursty=0.0, rank_exponent=1.2)
    for place in (0, 4):
        assert near(shares(classes[:, place], 16), law, SEQUENCES)
    assert near((classes[:, 0] == classes[:, 4]).mean(), (law**2).sum(), SEQUENCES)
    _, classes = sample(distinct_labels=False, rank_exponent=1.2, burstiness=2)
    assert near(shares(classes[:, 4], 16), law, SEQUENCES)
    pairs = (classes[:, :1] == classes[:, :-1]).sum(1)  # the other class may be the same by chance
    assert near((pairs == 4).mean(), (law**2).sum(), SEQUENCES) and set(np.unique(pairs)) == {2, 4}


def test_items_vary_around_their_class_and_novel_classes_last_one_batch(needs_c):
    shape = replace(SMALL, batch=4000)
    given = stream(shape, law_of(p_novel=0.5, within_class_noise=0.4), 1)
    (batches, classes), n = draw(shape, given, 0, 2), 2 * 4000 * 5
    old = classes[0, 0] < 16
    noise = batches.items[0, 0] * math.sqrt(1.16) - given.classes[0][np.minimum(classes[0, 0], 15)]
    noise = noise[old] * math.sqrt(6) / 0.4
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size) and abs(noise.var() - 1) < 5 * math.sqrt(2 / noise.size)
    assert abs((noise[:-1] * noise[1:]).mean()) < 5 / math.sqrt(noise.size)  # fresh for each occurrence
    means = [
        np.stack([batches.items[0, t][classes[0, t] == 16 + c].mean(0) for c in range(8)]) * math.sqrt(1.16)
        for t in range(2)
    ]
    error = 0.4 / math.sqrt(6) / math.sqrt(n / 2 / 8 / 2)
    for t in range(2):
        found = batches.items[0, t] * math.sqrt(1.16) - means[t][np.maximum(classes[0, t] - 16, 0)]
        assert abs(found[classes[0, t] >= 16].std() - 0.4 / math.sqrt(6)) < 5 * error
    assert np.abs(means[0] - means[1]).max() > 20 * error  # drawn anew for the next batch
    both = np.concatenate(means) * math.sqrt(6)
    assert abs((both**2).mean() - 1) < 5 * math.sqrt(2 / both.size)  # variance 1/dim


def test_labels_are_moved_on_by_the_shift(needs_c):
    (plain, classes), (moved, same) = sample(), sample(label_shift=3)
    assert np.array_equal(classes, same) and np.array_equal(moved.label, (plain.label + 3) % 8)
    assert np.array_equal(moved.target, (plain.target + 3) % 8)


# ---- at the door ----


def test_without_a_compiler_the_same_call_runs_as_tensor_operations(monkeypatch):
    monkeypatch.setenv("ATTNLAB_CC", "")
    fused._library.cache_clear()
    try:
        state, given = begin(SMALL), stream(SMALL, law_of())
        auto, _ = train(SMALL, state, 2, data=given, optimiser=Optimiser(0.1))
        plain, _ = train(SMALL, state, 2, data=given, optimiser=Optimiser(0.1), path="reference")
        assert worst(auto.params, plain.params) == 0
        with pytest.raises(RuntimeError, match="compiler_report"):
            train(SMALL, state, 1, data=given, optimiser=Optimiser(0.1), path="c")
    finally:
        fused._library.cache_clear()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Shape(0, 4, 11, 8, 3), "dim=0"),
        (lambda: Shape(6, 4, 8, 8, 3), "n_positions=8"),
        (lambda: law_of(p_novel=1.5), "p_novel=1.5"),
        (lambda: law_of(burstiness=0), "p_bursty=0"),
        (lambda: law_of(within_class_noise=-1.0), "within_class_noise=-1.0"),
        (lambda: Optimiser(float("nan")), "learning_rate"),
        (lambda: Optimiser(0.1, -1.0), "decay=-1.0"),
        (lambda: draw(SMALL, stream(SMALL, law_of(burstiness=3)), 0, 1), "burstiness=3 does not divide n_context=4"),
        (lambda: draw(SMALL, stream(SMALL, law_of(n_novel=12)), 0, 1), "n_novel=12 is not a multiple"),
        (lambda: draw(SMALL, stream(SMALL, law_of(), n_classes=12), 0, 1), "n_classes=12 is not a multiple"),
        (
            lambda: draw(replace(SMALL, n_labels=2), stream(replace(SMALL, n_labels=2), law_of()), 0, 1),
            "use more labels",
        ),
        (
            lambda: train(SMALL, begin(SMALL, 3), 1, data=stream(SMALL, law_of()), optimiser=Optimiser(0.1)),
            "seeds must be 3",
        ),
        (lambda: train(SMALL, begin(SMALL), 0, data=stream(SMALL, law_of()), optimiser=Optimiser(0.1)), "n_steps=0"),
        (
            lambda: train(
                SMALL, begin(SMALL), 2, data=draw(SMALL, stream(SMALL, law_of()), 0, 1)[0], optimiser=Optimiser(0.1)
            ),
            "items has shape",
        ),
        (
            lambda: train(
                replace(SMALL, dim=5), begin(SMALL), 1, data=stream(SMALL, law_of()), optimiser=Optimiser(0.1)
            ),
            "Q1 has shape",
        ),
        (
            lambda: train(SMALL, begin(SMALL), 1, data=stream(SMALL, law_of()), optimiser=Optimiser(np.ones(3))),
            "a number or (2,)",
        ),
        (
            lambda: train(SMALL, begin(SMALL), 1, data=stream(SMALL, law_of()), optimiser=Optimiser(0.1), path="gpu"),
            "use one of",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert message in str(error.value)


def test_labels_and_starts_out_of_range_are_refused():
    data, _ = draw(SMALL, stream(SMALL, law_of()), 0, 1)
    for name, top in (("label", 8), ("target", 8), ("start", 3)):
        bad = replace(data, **{name: np.full_like(getattr(data, name), top)})
        with pytest.raises(ValueError, match=f"{name} must be integers from 0 to {top - 1}"):
            train(SMALL, begin(SMALL), 1, data=bad, optimiser=Optimiser(0.1))


@pytest.mark.parametrize("path", ["c", "reference"])
def test_a_start_shared_by_broadcasting_or_reversed_is_read_as_it_is(path, needs_c):
    data = stream(SMALL, Law())
    one = {name: x[:1] for name, x in begin(SMALL, 1).params.items()}
    plain = State.start({name: np.repeat(x, 2, 0) for name, x in one.items()})
    right = train(SMALL, plain, 3, data=data, optimiser=Optimiser(0.01), path=path)
    slope = loss_and_gradient(SMALL, plain, data, path=path)
    for odd in (
        {name: np.broadcast_to(x, (2, *x.shape[1:])) for name, x in one.items()},
        {name: np.repeat(x[:, ::-1].copy(), 2, 0)[:, ::-1] for name, x in one.items()},
        {name: np.asfortranarray(np.repeat(x, 2, 0)) for name, x in one.items()},
    ):
        state, losses = train(SMALL, State.start(odd), 3, data=data, optimiser=Optimiser(0.01), path=path)
        assert np.array_equal(losses, right[1])
        assert all(np.array_equal(state.params[name], right[0].params[name]) for name in one)
        value, gradient = loss_and_gradient(SMALL, State.start(odd), data, path=path)
        assert np.array_equal(value, slope[0]) and all(np.array_equal(gradient[n], slope[1][n]) for n in one)
