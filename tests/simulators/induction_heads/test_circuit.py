"""The circuits: forward pass by hand, what they learn, their readout, and the population against its own sums."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.induction_heads.circuit import CircuitSetting, InductionCircuit, train_circuit
from attnlab.simulators.induction_heads.population import PopulationSetting, all_sequences, train_population

EPS64 = np.finfo(np.float64).eps
TINY = CircuitSetting(
    dim=15,
    n_context=2,
    n_labels=8,
    n_classes=8,
    n_positions=5,
    n_novel=16,
    n_steps=400,
    n_records=4,
    n_test=200,
    n_replicas=2,
    width=32,
)


def sequence(seed=0, tokens=7, dim=4):
    return torch.randn(1, 3, tokens, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("label_bias", [True, False])
def test_forward_pass_is_the_formula(label_bias):
    labels = sequence(1, 5, 4)[:, 0]
    circuit = InductionCircuit(labels, label_bias, "linear")
    parameters = {"beta1": torch.tensor([1.5]).double(), "alpha": torch.tensor([0.7], dtype=torch.float64), "R": labels}
    if label_bias:
        parameters["beta2"] = torch.tensor([0.3], dtype=torch.float64)
    contents = sequence()
    logits, first, second = circuit.forward(parameters, contents, torch.zeros(1, 3))
    for b in range(3):
        c = contents[0, b]
        scores = torch.zeros(7, dtype=torch.float64)
        for i in range(7):
            q = torch.softmax(torch.tensor([1.5 * (j == i - 1) for j in range(i + 1)], dtype=torch.float64), 0)
            assert (first[0, b, i, : i + 1] - q).abs().max() < 4 * EPS64
            scores[i] = 0.7 * (q @ c[: i + 1]) @ c[-1] + 0.3 * label_bias * (i % 2)
        p = torch.softmax(scores, 0)
        assert (second[0, b] - p).abs().max() < 100 * EPS64
        assert (logits[0, b] - labels[0] @ (p @ c)).abs().max() < 200 * EPS64
    blind = replace(circuit, layer_1=False).forward(parameters, contents, torch.zeros(1, 3))[1]
    assert (blind[0, 0, 3, :4] - 0.25).abs().max() < 4 * EPS64


def test_overlap_of_an_aligned_readout_is_its_factor(seeds):
    labels = torch.eye(6, dtype=torch.float64)[None, :4]
    circuit = InductionCircuit(labels, readout="linear", alignment=3.0)
    parameters = circuit.initialise(generators(seeds(1), "parameters"), torch.float64)
    assert abs(circuit.overlap(parameters).item() - 3.0) < 10 * EPS64
    assert (
        abs(circuit.overlap(dict(parameters, R=parameters["R"] + 1.7)).item() - 3.0) < 50 * EPS64
    )  # a constant does not count


@pytest.mark.slow
def test_a_circuit_learns_small_sequences_and_needs_layer_1(seeds):
    seen, blind = (train_circuit(replace(TINY, layer_1=layer_1), seeds(2), "cpu") for layer_1 in (True, False))
    assert seen["accuracy_context"][:, -1].min() > 0.9 > blind["accuracy_context"][:, -1].max()
    assert seen["beta1"][:, -1].min() > 1 and (blind["beta1"] == 0).all()
    assert (seen["beta2"][:, -1] > 0).all() and np.isfinite(seen["xi"]).all()


def test_all_sequences_hold_every_choice_once():
    batch = all_sequences(3, 4).batch
    assert batch.contents.shape == (1, 24 * 3, 7, 7)
    assert len({tuple(row.tolist()) for row in batch.contents[0].flatten(1)}) == 72
    assert torch.equal(batch.contents[0, :, :6].sum((1, 2)), torch.full((72,), 6.0, dtype=torch.float64))
    target = batch.contents[0, :, -1, :3].argmax(-1)
    assert torch.equal(batch.context_labels[0].gather(1, target[:, None])[:, 0], batch.label[0])
    assert torch.equal(batch.match[0].int().argmax(-1), target)


def test_population_descent_lowers_the_loss_and_keeps_the_labels_alike(seeds):
    setting = PopulationSetting(n_context=2, n_labels=4, init_scale=0.3, n_steps=200, n_records=20, label_bias=True)
    found = train_population(setting, seeds(2), "cpu")
    assert (np.diff(found["loss"]) < 0).all() and (found["time"][:, -1] == 100).all()
    assert (found["xi"][:, -1] > found["xi"][:, 0]).all() and (found["beta2"][:, -1] > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(TINY, readout="deep"), "readout='deep'"),
        (lambda: replace(TINY, width=0), "width=0"),
        (lambda: PopulationSetting(n_context=4, n_labels=8), "at most 3 more"),
        (lambda: PopulationSetting(n_context=4, n_labels=3), "n_labels=3"),
    ],
)
def test_impossible_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
