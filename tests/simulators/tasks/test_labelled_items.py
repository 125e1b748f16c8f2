"""The law of the sequences: every knob against counts and moments, within 5 standard errors of the sample."""

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from attnlab.kernels import induction_step
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.induction_heads import training
from attnlab.simulators.induction_heads.circuit import CircuitSetting
from attnlab.simulators.tasks.labelled_items import ClassificationTask, tables

DIM, K, L, N, BATCH = 6, 24, 8, 4, 20_000


@pytest.fixture
def task(seeds):
    made = tables(generators(seeds(1), "tables"), K, L, DIM, torch.float64)
    return ClassificationTask(**made, n_context=N, n_positions=12, batch=BATCH)


def draw(task, seed=0):
    numbers = torch.empty(len(task.classes), task.numbers_per_step, dtype=torch.float64)
    for row, each in enumerate(numbers):
        task.fill(each[None], torch.Generator().manual_seed(seed + row))
    return task.sequences(numbers)


def shares(index, count):
    return torch.bincount(index.flatten(), minlength=count) / index.numel()


def near(found, expected, n):
    """Shares of n draws within 5 standard errors."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    return bool(((found - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-12).all())


def nearest(items, means):
    """Index of the nearest mean of every item."""
    return torch.cdist(items.reshape(-1, DIM), means).argmin(-1).view(items.shape[:-1])


def test_contents_alternate_items_and_the_labels_of_their_classes(task):
    batch = draw(replace(task, within_class_noise=0.0))
    items, labels = batch.contents[0, :, 0::2], batch.contents[0, :, 1::2]
    classes = nearest(items, task.classes[0])
    assert torch.equal(task.classes[0][classes], items)
    assert torch.equal(classes % L, torch.cat([batch.context_labels, batch.label[..., None]], dim=-1)[0])
    assert torch.equal(task.labels[0][batch.context_labels[0]], labels)
    assert torch.equal(batch.match[0], classes[:, :-1] == classes[:, -1:])


@pytest.mark.parametrize("burstiness", [1, 2, 4])
def test_bursty_sequences_hold_each_class_burstiness_times(task, burstiness):
    batch = draw(replace(task, burstiness=burstiness))
    counts = torch.stack([(batch.context_labels[0] == label).sum(-1) for label in range(L)], dim=-1)
    assert set(counts.unique().tolist()) == {0, burstiness}  # labels of the classes differ
    assert torch.equal(batch.match[0].sum(-1), torch.full((BATCH,), burstiness))
    assert near(batch.match[0].double().mean(0), [burstiness / N] * N, BATCH)
    assert not near(batch.match[0].double().mean(0), [burstiness / N * 1.2] * N, BATCH)  # the twin
    assert near(shares(batch.label, L), [1 / L] * L, BATCH)
    pairs = batch.context_labels[0, :, 0] * L + batch.context_labels[0, :, -1]
    same = (burstiness - 1) / (N - 1)
    expected = np.full((L, L), (1 - same) / (L * (L - 1)))
    np.fill_diagonal(expected, same / L)
    assert near(shares(pairs, L * L), expected.ravel(), BATCH)  # in random order


def test_other_sequences_are_independent_draws_of_the_rank_law(task):
    batch = draw(replace(task, p_bursty=0.0, rank_exponent=1.0, within_class_noise=0.0))
    classes = nearest(batch.contents[0, :, 0::2], task.classes[0])
    law = 1 / np.arange(1, K + 1)
    law /= law.sum()
    assert near(shares(classes, K), law, classes.numel())
    assert not near(shares(classes, K), np.full(K, 1 / K), classes.numel())
    assert near(batch.match.double().mean(), float((law**2).sum()), BATCH * N / 2)  # matches share a target: halved


def test_classes_of_bursts_follow_the_law_if_labels_may_coincide(task):
    given = replace(task, rank_exponent=1.0, within_class_noise=0.0, burstiness=2)
    law = 1 / np.arange(1, K + 1)
    for distinct, expected in ((False, law / law.sum()), (True, np.full(K, 1 / K))):
        batch = draw(replace(given, distinct_labels=distinct))
        classes = nearest(batch.contents[0, :, -1], task.classes[0])
        assert near(shares(classes, K), expected, BATCH)
        assert bool((batch.match.sum(-1) >= 2).all())


def test_novel_classes_are_new_in_every_batch_and_shared_within_it(task):
    given = replace(task, p_novel=1.0, n_novel=16, within_class_noise=0.0)
    one, other = draw(given), draw(given, seed=1)
    means = one.contents[0, :, -1].unique(dim=0)
    assert len(means) == 16
    assert torch.cdist(means, other.contents[0, :, -1].unique(dim=0)).min() > 1e-3
    assert torch.cdist(means, task.classes[0]).min() > 1e-3
    assert abs(one.contents[0, :, -1].square().mean() * DIM - 1) < 5 * (2 / (16 * DIM)) ** 0.5
    assert torch.equal(one.match.sum(-1), torch.ones(1, BATCH, dtype=torch.long))


def test_shares_of_novel_and_bursty_sequences(task):
    batch = draw(replace(task, p_novel=0.3, p_bursty=0.6, within_class_noise=0.0))
    old = (torch.cdist(batch.contents[0, :, -1], task.classes[0]).amin(-1) < 1e-6).double().mean()
    assert near(old, 0.7, BATCH)
    bursty = 0.3 + 0.7 * 0.6
    expected = bursty + (1 - bursty) * (1 - (1 - 1 / K) ** N)
    assert near(batch.match.any(-1).double().mean(), expected, BATCH)
    assert not near(batch.match.any(-1).double().mean(), 0.6, BATCH)


def test_items_vary_around_their_means_and_keep_their_size(task):
    noise = 0.5
    batch = draw(replace(task, within_class_noise=noise, p_bursty=0.0, rank_exponent=30.0))  # class 0 almost always
    items = batch.contents[0, :, 0]
    centre = task.classes[0, 0] / (1 + noise**2) ** 0.5
    spread = noise / (1 + noise**2) ** 0.5 / DIM**0.5
    assert ((items.mean(0) - centre).abs() < 5 * spread / BATCH**0.5).all()
    assert ((items.std(0) / spread - 1).abs() < 5 / (2 * BATCH) ** 0.5).all()


def test_starts_are_uniform_over_the_window(task):
    starts = draw(task).start
    assert near(shares(starts, 4), [0.25] * 4, BATCH) and int(starts.max()) == 3


def test_shifted_labels_change_the_context_and_the_answer(task):
    plain, shifted = draw(task), draw(replace(task, label_shift=1))
    assert torch.equal((plain.context_labels + 1) % L, shifted.context_labels)
    assert torch.equal((plain.label + 1) % L, shifted.label)
    assert torch.equal(task.labels[0][shifted.context_labels[0]], shifted.contents[0, :, 1::2])
    assert torch.equal(plain.contents[:, :, 0::2], shifted.contents[:, :, 0::2])


def test_loss_is_the_mean_cross_entropy(seeds):
    made = tables(generators(seeds(2), "tables"), K, L, DIM, torch.float64)
    task = ClassificationTask(**made, n_context=N, n_positions=12, batch=50)
    numbers = torch.empty(2, task.numbers_per_step, dtype=torch.float64)
    for row, stream in enumerate(generators(seeds(2), "data")):
        task.fill(numbers[row : row + 1], stream)
    batch = task.sequences(numbers)
    logits = torch.randn(2, 50, L, dtype=torch.float64)
    found = task.loss(lambda parameters, contents, start: logits, {}, numbers)
    for r in range(2):
        assert abs(found[r] - cross_entropy(logits[r], batch.label[r])) < 1e-14
    alone = task.part(slice(1, 2)).sequences(numbers[1:])
    assert torch.equal(alone.contents[0], batch.contents[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_bursty": 1.5}, "p_bursty=1.5"),
        ({"n_novel": 12}, "n_novel=12 is not a multiple"),
        ({"burstiness": 3}, "burstiness=3 does not divide"),
        ({"n_positions": 8}, "n_positions=8 is below"),
        ({"n_context": 16, "n_positions": 40}, "needs as many labels"),
    ],
)
def test_impossible_tasks_are_named(task, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(task, **changes)


def test_the_declarations_of_the_law_agree_field_by_field():
    """The task, the compiled step and two settings declare one law (docs/decisions/008-flat-settings.md)."""

    def defaults(kind):
        return {each.name: each.default for each in fields(kind) if each.default is not MISSING}

    task, law = defaults(ClassificationTask), defaults(induction_step.Law)
    assert task == law
    network, circuit = defaults(training.Setting), defaults(CircuitSetting)
    assert set(task) - {"label_shift"} <= set(network) & set(circuit)  # a setting never shifts labels
    shared = set(network) & set(circuit) - {"n_steps"}  # the circuit learns faster
    assert {name: network[name] for name in shared} == {name: circuit[name] for name in shared}
    other = {name for name in set(task) & set(network) if task[name] != network[name]}
    assert other == {"p_novel"}  # settings train on novel classes by default, so that the head must form
